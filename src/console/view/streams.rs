//! The list of streams, and the shards of the selected one.
//!
//! ```text
//! ┌ streams 2 ───────────────────────────────────────────┐
//! │ STREAM   STATUS  MODE         SHARDS  RECORDS/S  LAG │
//! ├ shards of restore ───────────────────────────────────┤
//! │ SHARD                 STATE  SHARE OF KEYS  LAG      │
//! └──────────────────────────────────────────────────────┘
//! ```

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::Line;

use super::{boxed, say};
use crate::cloud::inventory::{Shard, Stream};
use crate::console::app::App;
use crate::console::load::STREAM_SORTS;
use crate::console::widget::below;
use crate::console::widget::quantity::{duration, exact, rate};
use crate::console::widget::table::{self, Cell, Column, left, right};
use crate::console::widget::text::shown;

const COLUMNS: [Column; 7] = [
    left("STREAM", 40, 0),
    left("STATUS", 9, 3),
    left("MODE", 11, 4),
    right("OPEN SHARDS", 11, 2),
    right("KEPT", 6, 5),
    right("RECORDS/S", 9, 1),
    right("LAG", 9, 0),
];
const SHARDS: [Column; 6] = [
    left("SHARD", 24, 0),
    left("STATE", 6, 2),
    right("SHARE OF KEYS", 13, 1),
    right("READ/S", 9, 0),
    right("LAG", 9, 0),
    left("PARENTS", 50, 3),
];

/// A lag from here on is marked as behind, ms.
pub const BEHIND_MS: u64 = 10_000;

/// Draws it.
pub fn draw(buf: &mut Buffer, area: Rect, app: &App) {
    let theme = &app.theme;
    let rows = app.shown_streams();
    let known = app.streams.rows.as_ref().map(Vec::len);
    let list = &app.streams_list;
    let share = if area.height >= 16 && !rows.is_empty() {
        (rows.len() as u16 + 3).clamp(5, area.height / 2)
    } else {
        area.height
    };
    let sort = STREAM_SORTS[list.sort % STREAM_SORTS.len()];
    let filter = if list.filter.is_empty() { String::new() } else { format!("/{} ", shown(&list.filter)) };
    let top = Rect { height: share.max(8).min(area.height), ..area };
    let inner = boxed(
        buf,
        top,
        theme,
        Line::styled(format!(" streams {} ", known.map_or(String::new(), |n| n.to_string())), theme.strong),
        Line::raw(format!(" {filter}sort: {sort} {} ", theme.glyphs.sorted[usize::from(sort == "name")])),
    );
    match known {
        None if app.trouble.is_some() => say(buf, inner, theme, "The streams can't be listed: see above."),
        None => say(buf, inner, theme, &format!("Listing the streams of {}…", app.place.region)),
        Some(0) => {
            let words =
                format!("No streams in {}. A restore without one writes straight into its table.", app.place.region);
            say(buf, inner, theme, &words);
        }
        Some(n) if rows.is_empty() => {
            say(
                buf,
                inner,
                theme,
                &format!("None of the {n} streams contains {:?}: / then esc shows all.", list.filter),
            );
        }
        Some(_) => {
            let selected = list.index(rows.iter().map(|stream| stream.name.as_str()));
            let cells: Vec<Vec<Cell>> = rows.iter().map(|stream| cells(app, stream)).collect();
            table::draw(buf, inner, theme, &COLUMNS, &cells, Some(selected));
        }
    }
    if let Some(stream) = app.selected_stream().filter(|_| top.height < area.height) {
        let title = format!(" shards of {} ", shown(&stream.name));
        let inner = boxed(buf, below(area, top.height), theme, Line::styled(title, theme.strong), Line::default());
        let cells: Vec<Vec<Cell>> = open_first(stream).map(|shard| shard_cells(app, stream, shard)).collect();
        table::draw(buf, inner, theme, &SHARDS, &cells, None);
    }
}

fn open_first(stream: &Stream) -> impl Iterator<Item = &Shard> {
    let (open, closed): (Vec<&Shard>, Vec<&Shard>) = stream.shards.iter().partition(|shard| shard.open);
    open.into_iter().chain(closed)
}

fn lag_cell(app: &App, lag_ms: Option<u64>) -> Cell {
    match lag_ms {
        Some(ms) if ms >= BEHIND_MS => (duration(ms as f64), app.theme.warn),
        Some(0) => ("0 s".to_owned(), Style::new()),
        Some(ms) => (duration(ms as f64), Style::new()),
        None => ("-".to_owned(), app.theme.dim),
    }
}

fn cells(app: &App, stream: &Stream) -> Vec<Cell> {
    let plain = Style::new();
    let open = stream.shards.iter().filter(|shard| shard.open).count();
    vec![
        (shown(&stream.name), plain),
        (stream.status.clone(), if stream.status == "ACTIVE" { plain } else { app.theme.accent }),
        (stream.mode.to_lowercase().replace('_', " "), plain),
        (open.to_string(), plain),
        (format!("{} h", stream.retention_hours), plain),
        (app.stream_rate(&stream.name).map_or("-".to_owned(), rate), plain),
        lag_cell(app, app.stream_lag_ms(&stream.name)),
    ]
}

fn shard_cells(app: &App, stream: &Stream, shard: &Shard) -> Vec<Cell> {
    let plain = Style::new();
    let keys = (shard.to.saturating_sub(shard.from) as f64 + 1.0) / u128::MAX as f64 * 100.0;
    let parents: Vec<&str> =
        [&shard.parent, &shard.adjacent_parent].into_iter().flatten().map(String::as_str).collect();
    vec![
        (shown(&shard.id), plain),
        (if shard.open { "open" } else { "closed" }.to_owned(), if shard.open { plain } else { app.theme.dim }),
        (format!("{keys:.1} %"), plain),
        app.shard_rate(&stream.name, &shard.id).map_or(("-".to_owned(), app.theme.dim), |n| (rate(n), plain)),
        lag_cell(app, app.shard_lag_ms(&stream.name, &shard.id)),
        (shown(&parents.join(" + ")), plain),
    ]
}

/// Everything about a stream, exact.
pub fn exact_lines(app: &App, stream: &Stream) -> Vec<String> {
    let mut lines = vec![
        format!("status     {}", stream.status),
        format!("mode       {}", stream.mode),
        format!("retention  {} h", stream.retention_hours),
        format!(
            "shards     {} open, {} in all",
            stream.shards.iter().filter(|s| s.open).count(),
            exact(stream.shards.len() as u64)
        ),
        String::new(),
    ];
    for shard in open_first(stream) {
        let lag = lag_cell(app, app.shard_lag_ms(&stream.name, &shard.id)).0;
        lines.push(format!("{}  {}  lag {lag}", shown(&shard.id), if shard.open { "open  " } else { "closed" }));
        lines.push(format!("    keys {} to {}", shard.from, shard.to));
    }
    lines
}
