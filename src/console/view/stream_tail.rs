//! A tail: records as they arrive, the newest below, and the selected one decoded.
//!
//! ```text
//! ┌ tail of restore, 4 shards ─────────────────────────────── stops in 42 s or after 880 more ┐
//! │ TIME          SHARD  KEY     BYTES  WHAT   RECORD                                         │
//! │ 14:03:27.119  3      id-17     120  put    historical  id=id-17                           │
//! ├ put into historical: id=id-17 ────────────────────────────────────────────────────────────┤
//! │ {                                                                                         │
//! ```

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::Line;

use super::{boxed, say};
use crate::cloud::streams::short;
use crate::console::app::App;
use crate::console::keymap::{Action, Scope};
use crate::console::stream::{TAIL, TailLine, TailState};
use crate::console::widget::quantity::{clock, exact};
use crate::console::widget::table::{self, Cell, Column, left, right};
use crate::console::widget::text::{indented, shown};
use crate::console::widget::{below, write};

const COLUMNS: [Column; 6] = [
    left("ARRIVED", 12, 0),
    left("SHARD", 6, 3),
    left("KEY", 20, 4),
    right("BYTES", 7, 2),
    left("WHAT", 10, 1),
    left("RECORD", 200, 0),
];
/// From so many rows on, the selected record stands below the list.
const WITH_RECORD: u16 = 16;

/// Draws it.
pub fn draw(buf: &mut Buffer, area: Rect, app: &App, name: &str, shard: Option<&str>) {
    let theme = &app.theme;
    let tail = &app.at_stream.tail;
    let of = shard.map_or(String::new(), |shard| format!(" shard {}", shown(short(shard))));
    let title = format!(" tail of {}{of} ", shown(name));
    let list = if area.height >= WITH_RECORD && !tail.lines.is_empty() {
        Rect { height: area.height / 2, ..area }
    } else {
        area
    };
    let right = Line::raw(format!(" {} ", state(app, tail)));
    let inner = boxed(buf, list, theme, Line::styled(title, theme.strong), right);
    let mut top = 0;
    if inner.height >= 5 {
        write(buf, inner, 0, &Line::styled(format!(" {}", costs(app, tail)), theme.dim));
        top = 1;
    }
    let body = below(inner, top);
    if tail.lines.is_empty() {
        let words = match &tail.ended {
            Some(why) => {
                let key = app.keymap.chord(Scope::Tail, Action::GoOn).unwrap_or_default();
                format!("No records: {}. {key} goes on.", shown(why))
            }
            None => format!(
                "Waiting for the next record: only what arrives from now on is shown. sluice load -k {} sends some; {} goes back.",
                shown(name),
                super::back_key(app)
            ),
        };
        return say(buf, body, theme, &words);
    }
    let height = usize::from(body.height.saturating_sub(u16::from(body.height > 2))).max(1);
    let selected = tail.lines.len() - 1 - tail.at;
    // The newest stand at the bottom, as in a terminal.
    let first =
        selected.saturating_sub(height - 1).max(if tail.at == 0 { tail.lines.len().saturating_sub(height) } else { 0 });
    let cells: Vec<Vec<Cell>> = tail.lines.iter().skip(first).take(height).map(|line| cells(app, line)).collect();
    table::draw(buf, body, theme, &COLUMNS, &cells, Some(selected - first));
    if list.height < area.height
        && let Some(line) = tail.selected()
    {
        let title =
            format!(" {} of shard {}, {} bytes ", line.kind, shown(short(&line.shard)), exact(line.data.len() as u64));
        let inner = boxed(buf, below(area, list.height), theme, Line::raw(title), Line::default());
        for (i, text) in line.pretty.iter().take(usize::from(inner.height)).enumerate() {
            write(buf, inner, i as u16, &Line::raw(format!(" {}", shown(text))));
        }
    }
}

/// Whether it runs, and until when.
fn state(app: &App, tail: &TailState) -> String {
    if let Some(why) = &tail.ended {
        let key = app.keymap.chord(Scope::Tail, Action::GoOn).unwrap_or_default();
        return format!("{}; {key} goes on", shown(why));
    }
    let seconds = ((tail.began_ms + TAIL.0 - app.now_ms).max(0) + 999) / 1000;
    format!("stops in {seconds} s or after {} records", exact(TAIL.1))
}

/// What came, what was lost of it, and what it costs.
fn costs(app: &App, tail: &TailState) -> String {
    let (shards, left_out) = tail.shards;
    let mut words = vec![format!("{} records so far", exact(tail.seen))];
    if tail.dropped > 0 {
        words.push(format!("{} not shown any more", exact(tail.dropped)));
    }
    match shards {
        0 => {}
        1 => words.push("up to 1 read/s of the shard's 5, which its consumers share".to_owned()),
        n => {
            words.push(format!("up to 1 read/s of each of {} shards, of the 5 that consumers share", exact(n as u64)));
            words.push(format!("{} reads/s in all", app.api.budget));
        }
    }
    if left_out > 0 {
        words.push(format!("{} shards left out", exact(left_out as u64)));
    }
    words.join("; ")
}

fn cells(app: &App, line: &TailLine) -> Vec<Cell> {
    let plain = Style::new();
    let odd = matches!(line.kind, "bytes" | "aggregated");
    vec![
        (moment(line.arrived_us), plain),
        (shown(short(&line.shard)), plain),
        (shown(&line.partition_key), plain),
        (exact(line.data.len() as u64), plain),
        (line.kind.to_owned(), if odd { app.theme.dim } else { plain }),
        (shown(&line.line), plain),
    ]
}

/// The whole record, escaped.
pub fn exact_lines(line: &TailLine) -> Vec<String> {
    let mut lines = vec![
        format!(
            "arrived   {}",
            jiff::Timestamp::from_microsecond(line.arrived_us).map_or(String::new(), |t| t.to_string())
        ),
        format!("shard     {}", shown(&line.shard)),
        format!("sequence  {}", shown(&line.sequence)),
        format!("key       {}", shown(&line.partition_key)),
        format!("size      {} bytes", exact(line.data.len() as u64)),
        String::new(),
    ];
    lines.extend(line.pretty.iter().map(|text| indented(&shown(text))));
    lines
}

/// `14:03:27.119`.
fn moment(us: i64) -> String {
    let ms = us.div_euclid(1000);
    format!("{}.{:03}", clock(ms), ms.rem_euclid(1000))
}
