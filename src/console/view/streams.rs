//! The list of streams.
//!
//! ```text
//! ┌ streams 2 ────────────────────────────────────────────────────────────┐
//! │ STREAM   STATUS  MODE         OPEN SHARDS  KEPT  IN/S  READ/S  LAG    │
//! └───────────────────────────────────────────────────────────────────────┘
//! ```

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::tables::kept_age;
use super::{boxed, listed, none_match, say};
use crate::cloud::inventory::Stream;
use crate::console::app::App;
use crate::console::columns::{Arranged, List};
use crate::console::keymap::{Action, Scope};
use crate::console::spot::Spot;
use crate::console::widget::quantity::{bytes, duration, exact, rate};
use crate::console::widget::table::{self, Cell, Column, left, right};
use crate::console::widget::text::shown;

const COLUMNS: [Column; 10] = [
    left("STREAM", 40, 0),
    left("STATUS", 9, 4),
    left("MODE", 11, 6),
    right("SHARDS", 7, 2),
    right("KEPT", 7, 7),
    right("IN/S", 7, 1),
    right("IN B/S", 9, 5),
    right("READ/S", 7, 3),
    right("LAG", 9, 0),
    right("FAN-OUT", 7, 8),
];

/// A lag from here on is marked as behind, ms.
pub const BEHIND_MS: u64 = 10_000;

/// Draws it.
pub fn draw(buf: &mut Buffer, area: Rect, app: &App) {
    let theme = &app.theme;
    let Arranged { rows, unknown } = app.arranged_streams();
    let (rows, unknown): (Vec<&Stream>, usize) = (rows.iter().map(|row| row.stream).collect(), unknown.len());
    let known = app.streams.rows.as_ref().map(Vec::len);
    let list = &app.streams_list;
    let (right, columns) = listed(app, List::Streams, COLUMNS, unknown);
    let inner = boxed(
        buf,
        area,
        theme,
        Line::from(vec![
            Span::styled(format!(" streams {} ", known.map_or(String::new(), |n| n.to_string())), theme.strong),
            Span::styled(app.kept.streams_ms.map_or(String::new(), |at| kept_age(app, at)), theme.warn),
        ]),
        right,
    );
    match known {
        None if app.trouble.is_some() => say(buf, inner, theme, "The streams can't be listed: see above."),
        None => say(buf, inner, theme, &format!("Listing the streams of {}…", app.place.region)),
        Some(0) => {
            let words = format!(
                "No streams in {}. A restore needs none: without one it writes straight into its table ({} shows the \
                     tables). sluice demo shows one with a stream.",
                app.place.region,
                app.keymap.chord(Scope::Streams, Action::Tables).unwrap_or_default()
            );
            say(buf, inner, theme, &words);
        }
        Some(n) if rows.is_empty() => {
            say(buf, inner, theme, &none_match(app, List::Streams, n, unknown));
        }
        Some(_) => {
            let selected = list.index(rows.iter().map(|stream| stream.name.as_str()));
            table::draw_page(buf, inner, theme, &columns, rows.len(), selected, |at| cells(app, rows[at]));
        }
    }
}

pub(super) fn lag_cell(app: &App, lag_ms: Option<u64>) -> Cell {
    match lag_ms {
        Some(ms) if ms >= BEHIND_MS => (duration(ms as f64), app.theme.warn),
        Some(0) => ("0 s".to_owned(), Style::new()),
        Some(ms) => (duration(ms as f64), Style::new()),
        None => ("-".to_owned(), app.theme.dim),
    }
}

pub(super) fn kept(hours: u32) -> String {
    if hours >= 72 && hours.is_multiple_of(24) { format!("{} d", hours / 24) } else { format!("{hours} h") }
}

fn cells(app: &App, stream: &Stream) -> Vec<Cell> {
    let plain = Style::new();
    if stream.status.is_empty() {
        return vec![(shown(&stream.name), app.theme.dim), ("…".to_owned(), app.theme.dim)];
    }
    let number = |n: Option<f64>| n.map_or(("-".to_owned(), app.theme.dim), |n| (rate(n), plain));
    let byte_rate = app.stream_byte_rate(&stream.name);
    vec![
        (app.marked(shown(&stream.name), || Spot::Stream(stream.name.clone())), plain),
        (stream.status.clone(), if stream.status == "ACTIVE" { plain } else { app.theme.accent }),
        (stream.mode.to_lowercase().replace('_', " "), plain),
        (exact(stream.open_shards()), plain),
        (kept(stream.retention_hours), plain),
        number(app.stream_rate(&stream.name)),
        byte_rate.map_or(("-".to_owned(), app.theme.dim), |n| (bytes(n), plain)),
        number(app.stream_read_rate(&stream.name)),
        lag_cell(app, app.stream_lag_ms(&stream.name)),
        (stream.consumers.to_string(), if stream.consumers == 0 { app.theme.dim } else { plain }),
    ]
}
