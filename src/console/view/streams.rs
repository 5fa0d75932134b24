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
use super::{beside, boxed, listed, none_match, say};
use crate::console::app::App;
use crate::console::columns::{Arranged, List, StreamRow};
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
    let unknown = unknown.len();
    let is_many = app.is_many();
    let known = app.streams.rows.as_ref().map(Vec::len);
    let everywhere = || app.all_seen().iter().map(|seen| seen.streams.rows.as_ref().map_or(0, Vec::len)).sum();
    let known = if is_many { known.map(|_| everywhere()) } else { known };
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
    let inner = beside::draw(buf, inner, app, |seen| seen.streams.rows.is_some());
    match known {
        None if is_many && !rows.is_empty() => draw_rows(buf, inner, app, &rows, &columns),
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
            draw_rows(buf, inner, app, &rows, &columns);
        }
    }
}

fn draw_rows(buf: &mut Buffer, area: Rect, app: &App, rows: &[StreamRow<'_>], columns: &[Column]) {
    let selected = app.streams_list.index(rows.iter().map(StreamRow::key));
    let is_many = app.is_many();
    let columns = beside::columns(app, List::Streams, columns);
    table::draw_page(buf, area, &app.theme, &columns, rows.len(), selected, |at| {
        let mut cells = cells(app, &rows[at]);
        if is_many {
            cells.insert(1, (shown(rows[at].region), app.theme.dim));
        }
        cells
    });
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

fn cells(app: &App, row: &StreamRow<'_>) -> Vec<Cell> {
    let StreamRow { stream, load, .. } = row;
    let plain = Style::new();
    if stream.status.is_empty() {
        return vec![(shown(&stream.name), app.theme.dim), ("…".to_owned(), app.theme.dim)];
    }
    let number = |n: Option<f64>| n.map_or(("-".to_owned(), app.theme.dim), |n| (rate(n), plain));
    vec![
        (app.marked_in(row.place, shown(&stream.name), || Spot::Stream(stream.name.clone())), plain),
        (stream.status.clone(), if stream.status == "ACTIVE" { plain } else { app.theme.accent }),
        (stream.mode.to_lowercase().replace('_', " "), plain),
        (exact(stream.open_shards()), plain),
        (kept(stream.retention_hours), plain),
        number(load.records),
        load.bytes.map_or(("-".to_owned(), app.theme.dim), |n| (bytes(n), plain)),
        number(load.read),
        lag_cell(app, load.lag_ms),
        (stream.consumers.to_string(), if stream.consumers == 0 { app.theme.dim } else { plain }),
    ]
}
