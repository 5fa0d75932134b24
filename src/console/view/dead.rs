//! The dead letters of a job: records that can never succeed, and why.
//!
//! ```text
//! ┌ dead letters of r-7f3a  2 ──────────────────────────────────────────┐
//! │  NO.  WHERE              STATE   REASON                             │
//! │▸   1  backup.csv:17      open    not base64: invalid byte 33 …      │
//! └─────────────────────────────────────────────────────────────────────┘
//! ```

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::Line;

use super::{back_key, boxed, listed, none_match, say};
use crate::console::app::App;
use crate::console::columns::List;
use crate::console::widget::quantity::{date, exact};
use crate::console::widget::table::{self, Cell, Column, left, right};
use crate::console::widget::text::{indented, shown, shown_bytes};
use crate::flow::Letter;
use crate::item::legible::set_out;
use crate::jobs::JobId;
use crate::jobs::dead::content;
use crate::jobs::journal::{DeadLetter, Job};

const COLUMNS: [Column; 5] =
    [right("NO.", 6, 1), left("WHERE", 44, 2), left("STATE", 8, 3), left("REASON", 100, 0), left("RECORD", 60, 4)];

/// How much of a record the list shows, bytes.
const GLIMPSE: usize = 80;

/// Draws it.
pub fn draw(buf: &mut Buffer, area: Rect, app: &App, id: &JobId) {
    let theme = &app.theme;
    let letters = app.letters.as_ref().filter(|letters| letters.job == *id);
    let total = letters.map_or(0, |letters| letters.total);
    let shown_of = match letters.map(|letters| letters.rows.len()) {
        Some(first) if (first as u64) < total => format!("first {first} of {} ", exact(total)),
        _ => format!("{} ", exact(total)),
    };
    let title = Line::styled(format!(" dead letters of {id}  {shown_of}"), theme.strong);
    let (right, columns) = listed(app, List::Letters, COLUMNS, 0);
    let inner = boxed(buf, area, theme, title, right);
    match letters {
        None => say(buf, inner, theme, super::unread(app)),
        Some(letters) if letters.rows.is_empty() => {
            let words = format!(
                "None is open: every record that was read has been written or will be, or was given up on purpose. \
                 sluice dead list {id} --all shows those that are settled; {} goes back to the job.",
                back_key(app)
            );
            say(buf, inner, theme, &words);
        }
        Some(letters) => {
            let rows = app.shown_letters();
            if rows.is_empty() {
                return say(buf, inner, theme, &none_match(app, List::Letters, letters.rows.len(), 0));
            }
            let selected = app.letters_list.index(rows.iter().map(|letter| letter.number.to_string()));
            table::draw_page(buf, inner, theme, &columns, rows.len(), selected, |at| cells(rows[at]));
        }
    }
}

/// `file:line` or `shard sequence`: where a record came from.
pub fn place(letter: &Letter) -> String {
    let source = shown(&letter.source);
    let source = source.rsplit('/').next().unwrap_or(&source).to_owned();
    match (letter.line, &letter.shard, &letter.sequence) {
        (Some(line), ..) => format!("{source}:{line}"),
        (None, Some(shard), Some(sequence)) => {
            let end = sequence.len().saturating_sub(8);
            format!("{} …{}", shown(shard), shown(sequence.get(end..).unwrap_or(sequence)))
        }
        _ => source,
    }
}

fn cells(letter: &DeadLetter) -> Vec<Cell> {
    let plain = Style::new();
    let payload = &letter.letter.payload;
    vec![
        (letter.number.to_string(), plain),
        (place(&letter.letter), plain),
        (letter.state().to_owned(), plain),
        (shown(letter.why()), plain),
        (shown_bytes(&payload[..payload.len().min(GLIMPSE)]), plain),
    ]
}

/// Everything about a dead letter, with the whole record.
pub fn whole(job: Option<&Job>, dead: &DeadLetter) -> Vec<String> {
    let letter = &dead.letter;
    let mut lines = vec![
        format!("reason    {}", shown(&letter.reason)),
        format!("source    {}", shown(&letter.source)),
        format!("met at    {}Z", date(dead.at_ms)),
    ];
    let mut known = |name: &str, value: Option<String>| lines.extend(value.map(|value| format!("{name:<10}{value}")));
    known("line", letter.line.map(exact));
    known("offset", letter.offset.map(|n| format!("byte {}", exact(n))));
    known("shard", letter.shard.as_deref().map(shown));
    known("sequence", letter.sequence.as_deref().map(shown));
    known("tried", dead.tried.as_deref().map(shown));
    lines.push(format!("bytes     {}", exact(letter.payload.len() as u64)));
    if let Some(job) = job {
        let content = content(job, dead);
        lines.push(format!("table     {}", shown(&content.table)));
        if dead.draft.is_some() || content.item != letter.payload {
            lines.push(String::new());
            lines.push(if dead.draft.is_some() { "as it was edited:" } else { "its item:" }.to_owned());
            lines.extend(set_out(&content.item).lines().map(|line| indented(&shown(line))));
        }
    }
    lines.push(String::new());
    lines.push("as it came:".to_owned());
    lines.push(shown_bytes(&letter.payload));
    lines
}
