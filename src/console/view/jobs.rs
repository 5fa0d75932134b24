//! The list of jobs.
//!
//! ```text
//! ┌ jobs 3 ──────────────────────────────────────────────────────────────── sort: newest ▼ ┐
//! │ JOB       STATE    WHAT                        DONE  RECORDS/S    LEFT  DEAD  STARTED   │
//! │▸r-7f3a    running  historical ← s3://b/k via…  46 %        130  3m 24s     2  14:00     │
//! └─────────────────────────────────────────────────────────────────────────────────────────┘
//! ```

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::Line;

use super::{boxed, listed, none_match, say};
use crate::console::app::App;
use crate::console::columns::List;
use crate::console::keymap::{Action, Scope};
use crate::console::spot::Spot;
use crate::console::theme::Theme;
use crate::console::widget::quantity::{count, date, duration, percent, rate};
use crate::console::widget::table::{self, Cell, Column, left, rest, right};
use crate::console::widget::text::shown;
use crate::jobs::journal::{Job, State};

const COLUMNS: [Column; 8] = [
    left("JOB", 10, 0),
    left("STATE", 11, 1),
    rest("WHAT", 24, 4),
    right("DONE", 9, 0),
    right("RECORDS/S", 9, 3),
    right("LEFT", 8, 2),
    right("DEAD", 6, 5),
    left("STARTED (UTC)", 16, 6),
];

/// The colour of a state: red for lost or failed, yellow for waiting, green for none but what was proven.
pub fn state_style(theme: &Theme, job: &Job) -> Style {
    match job.state {
        State::Failed | State::Interrupted => theme.bad,
        State::Paused => theme.warn,
        State::Running | State::Starting => theme.accent,
        State::Done | State::Cancelled => Style::new(),
    }
}

/// Draws it.
pub fn draw(buf: &mut Buffer, area: Rect, app: &App) {
    let theme = &app.theme;
    let rows = app.shown_jobs();
    let list = &app.jobs_list;
    let known = app.jobs.as_ref().map(Vec::len);
    let (right, columns) = listed(app, List::Jobs, COLUMNS, 0);
    let inner = boxed(
        buf,
        area,
        theme,
        Line::styled(format!(" jobs {} ", known.map_or(String::new(), |n| n.to_string())), theme.strong),
        right,
    );
    match known {
        None => say(buf, inner, theme, super::unread(app)),
        Some(0) => {
            let key = app.keymap.chord(Scope::Jobs, Action::Restore).unwrap_or_default();
            say(buf, inner, theme, &format!("No jobs yet: {key} starts a restore, or run sluice demo."));
        }
        Some(n) if rows.is_empty() => {
            say(buf, inner, theme, &none_match(app, List::Jobs, n, 0));
        }
        Some(_) => {
            let selected = list.index(rows.iter().map(|job| job.id.0.as_str()));
            table::draw_page(buf, inner, theme, &columns, rows.len(), selected, |at| cells(app, rows[at]));
        }
    }
}

fn cells(app: &App, job: &Job) -> Vec<Cell> {
    let plain = Style::new();
    let progress = app.progress(job);
    let dead = progress.counters.dead;
    let done = match progress.total {
        Some(total) if total > 0 => format!("{} %", percent(progress.settled, total)),
        _ => count(progress.settled as f64),
    };
    vec![
        (app.marked(job.id.0.clone(), || Spot::Job(job.id.0.clone())), plain),
        (job.state.as_str().to_owned(), state_style(&app.theme, job)),
        (shown(&job.spec.title()), plain),
        (done, plain),
        (progress.per_second.map_or("-".to_owned(), rate), plain),
        (progress.left_ms.map_or("-".to_owned(), duration), plain),
        (count(dead as f64), if dead > 0 { app.theme.bad } else { app.theme.dim }),
        (date(job.started_ms.unwrap_or(job.created_ms)), plain),
    ]
}
