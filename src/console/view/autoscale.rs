//! An autoscaler: its rules, and what it decided last.
//!
//! ```text
//! ┌ autoscale a-12ab  running  autoscale.toml ──────────────────────── every 1m, dry run ┐
//! │ TABLES     WRITE              READ                INDEXES  WHEN NOT                   │
//! │ events-    1-500 at 30-90 %   1-1000 at 30-90 %   yes      no decreases within 22:00… │
//! ├ decisions 12 ────────────────────────────────────────────────────────────────────────┤
//! │ TIME (UTC)   DECIDED  OF                 FROM    TO     USED   WHY                    │
//! │ 14:03:27     raised   events-7 write      130   195    95.0 %  over 90 % used         │
//! └───────────────────────────────────────────────────────────────────────────────────────┘
//! ```

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::Line;

use super::{boxed, say};
use crate::capacity::config::{self, Config};
use crate::capacity::rules::Bounds;
use crate::console::app::App;
use crate::console::widget::below;
use crate::console::widget::quantity::{date, exact};
use crate::console::widget::table::{self, Cell, Column, left, right};
use crate::console::widget::text::shown;
use crate::jobs::journal::{Decided, Decision, Job};
use crate::jobs::spec::{JobId, Spec};

const RULES: [Column; 5] =
    [left("TABLES", 24, 0), left("WRITE", 24, 1), left("READ", 24, 2), left("INDEXES", 7, 4), left("WHEN NOT", 60, 3)];

const DECISIONS: [Column; 8] = [
    left("TIME (UTC)", 16, 1),
    right("TIMES", 5, 6),
    left("DECIDED", 10, 0),
    left("OF", 40, 0),
    right("FROM", 7, 2),
    right("TO", 7, 2),
    right("USED", 8, 4),
    left("WHY", WHY, 3),
];
/// The widest that a reason gets, columns; and the narrowest that is worth showing.
const WHY: usize = 80;
const SHORTEST_WHY: usize = 16;

/// The decisions that concern the place of `job`, newest first.
pub fn decisions<'a>(app: &'a App, job: &'a Job) -> impl Iterator<Item = &'a Decision> {
    app.decisions.iter().rev().filter(|decision| decision.context.is_same_place(&job.context))
}

/// The selected one; the newest where that is not there any more.
pub fn selected<'a>(app: &'a App, job: &'a Job) -> Option<&'a Decision> {
    let is_selected = |decision: &&Decision| Some(decision.number) == app.decision_at;
    decisions(app, job).find(is_selected).or_else(|| decisions(app, job).next())
}

/// Draws it.
pub fn draw(buf: &mut Buffer, area: Rect, app: &App, id: &JobId) {
    let theme = &app.theme;
    let Some(job) = app.job(id) else {
        let words = match &app.jobs {
            Some(_) => format!("There is no job {id} in the journal: {} goes back.", super::back_key(app)),
            None => super::unread(app).to_owned(),
        };
        return say(buf, area, theme, &words);
    };
    let Spec::Autoscale(spec) = &job.spec else {
        return say(buf, area, theme, "This job is no autoscaler.");
    };
    let config = config::parse(&spec.rules);
    let rules = config.as_ref().map_or(0, |config| config.tables.len()) as u16;
    // Rules above, at most a third of the screen.
    let height = (rules + 4).min((area.height / 3).max(4)).min(area.height);
    let file = spec.config.rsplit('/').next().unwrap_or_default();
    let title = format!(" autoscale {id}  {}  {} ", job.state.as_str(), shown(file));
    let right = config.as_ref().map_or(String::new(), |config| {
        let every = humantime::format_duration(config.every);
        let dry = if config.dry_run { ", dry run" } else { "" };
        let webhook = if config.webhook.is_some() { ", asks a webhook" } else { "" };
        format!(" every {every}{dry}{webhook} ")
    });
    let top = Rect { height, ..area };
    let inner = boxed(buf, top, theme, Line::styled(title, theme.strong), Line::raw(right));
    match &config {
        Err(error) => say(buf, inner, theme, &shown(&error.to_string())),
        Ok(config) => {
            let cells: Vec<Vec<Cell>> = config.tables.iter().map(|rule| rule_cells(config, rule)).collect();
            table::draw(buf, inner, theme, &RULES, &cells, None);
        }
    }
    let rows: Vec<&Decision> = decisions(app, job).collect();
    let title = Line::styled(format!(" decisions {} ", rows.len()), theme.strong);
    let inner = boxed(buf, below(area, height), theme, title, Line::raw(" sluice autoscale --log prints them "));
    if rows.is_empty() {
        let words = if job.limit.is_empty() {
            "Nothing was decided yet: the first look comes within a minute.".to_owned()
        } else {
            format!("Nothing had to be changed yet: {}.", shown(&job.limit))
        };
        return say(buf, inner, theme, &words);
    }
    let selected = rows.iter().position(|one| Some(one.number) == app.decision_at).unwrap_or(0);
    let page = table::page(inner, rows.len(), selected);
    let first = page.start;
    let cells: Vec<Vec<Cell>> = rows[page].iter().map(|decision| decision_cells(app, decision)).collect();
    let columns = decision_columns(usize::from(inner.width), &cells);
    table::draw(buf, inner, theme, &columns, &cells, Some(selected - first));
}

/// The columns of decisions: a reason is cut short rather than left out.
fn decision_columns(width: usize, cells: &[Vec<Cell>]) -> [Column; 8] {
    let mut columns = DECISIONS;
    let Some((why, others)) = columns.split_last_mut() else { return DECISIONS };
    let widest = |n: usize| cells.iter().filter_map(|row| row.get(n)).map(|(text, _)| text.chars().count()).max();
    let taken: usize = others
        .iter()
        .enumerate()
        .filter(|(_, column)| column.leaves <= why.leaves)
        .map(|(n, column)| 2 + widest(n).unwrap_or(0).min(column.most).max(column.title.len()))
        .sum();
    why.most = width.saturating_sub(taken + 1).clamp(SHORTEST_WHY, WHY);
    columns
}

fn rule_cells(config: &Config, rule: &config::TableRule) -> Vec<Cell> {
    let plain = Style::new();
    let bounds = |bounds: Option<Bounds>| {
        bounds.map_or("left alone".to_owned(), |b| {
            format!("{}-{} at {}-{} %", exact(b.min), exact(b.max), b.lower_under, b.raise_over)
        })
    };
    let name = rule.name.as_str().trim_start_matches("^(?:").trim_end_matches(')');
    let windows: Vec<String> = config.windows.iter().map(|(_, window)| window.to_string()).collect();
    vec![
        (shown(name), plain),
        (bounds(rule.write), plain),
        (bounds(rule.read), plain),
        (if rule.indexes { "yes" } else { "no" }.to_owned(), plain),
        (shown(&windows.join("; ")), plain),
    ]
}

fn decision_cells(app: &App, decision: &Decision) -> Vec<Cell> {
    let plain = Style::new();
    let style = match decision.decided {
        Decided::Failed => app.theme.bad,
        Decided::Refused => app.theme.warn,
        Decided::Raised | Decided::Lowered => app.theme.accent,
        Decided::Nothing | Decided::Skipped => app.theme.dim,
    };
    let of = decision.index.as_ref().map_or(decision.table.clone(), |index| format!("{}/{index}", decision.table));
    let used = if decision.from == 0 {
        "-".to_owned()
    } else {
        format!("{:.1} %", decision.consumed * 100.0 / decision.from as f64)
    };
    let dry = if decision.dry_run && decision.decided.is_change() { "*" } else { "" };
    // Nothing has a capacity of 0: it was not looked at.
    let units = |units: u64| if units == 0 { "-".to_owned() } else { exact(units) };
    vec![
        (date(decision.last_ms), plain),
        (exact(decision.times), plain),
        (format!("{}{dry}", decision.decided.as_str()), style),
        (format!("{} {}", shown(&of), decision.direction), plain),
        (units(decision.from), plain),
        (units(decision.to), plain),
        (used, plain),
        (shown(&decision.reason), plain),
    ]
}

/// Everything about a decision.
pub fn whole(decision: &Decision) -> Vec<String> {
    let mut lines = vec![
        format!("{} {}", decision.resource(), decision.direction),
        format!(
            "decided  {}{}",
            decision.decided.as_str(),
            if decision.dry_run { " (dry run: nothing was sent)" } else { "" }
        ),
        format!("from     {}", exact(decision.from)),
        format!("to       {}", exact(decision.to)),
        format!("used     {:.2} each second", decision.consumed),
        format!("why      {}", shown(&decision.reason)),
        format!("when     {} UTC, by {}", date(decision.at_ms), decision.job),
    ];
    if decision.times > 1 {
        lines.push(format!("again    {} times, last {} UTC", exact(decision.times - 1), date(decision.last_ms)));
    }
    lines
}
