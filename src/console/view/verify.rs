//! What a verify found: the first keys that differ, each with its attribute.
//!
//! ```text
//! ├ differences ──────────────────────────────── first 3, all in v-1a2b.differences.jsonl ┤
//! │ different  {"id":{"S":"a"}}   rate   {"N":"0.65"} → {"N":"0.66"}                      │
//! │ missing    {"id":{"S":"b"}}                                                           │
//! ```

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use serde_json::Value;

use super::job::pane;
use crate::console::app::App;
use crate::console::widget::text::{clip, shown};
use crate::console::widget::write;
use crate::jobs::journal::Job;

/// The longest key shown, columns, where there is an attribute beside it.
const KEY: usize = 48;

/// Draws them in the place of the charts. False when there is nothing to show: the verify runs, or all is equal.
pub fn draw(buf: &mut Buffer, area: Rect, app: &App, job: &Job) -> bool {
    let Some((_, lines)) = app.differences.as_ref().filter(|(of, lines)| *of == job.id && !lines.is_empty()) else {
        return false;
    };
    let list = format!("first {}, all in {}.differences.jsonl", lines.len(), job.id);
    let inner = pane(buf, area, app, "differences: source → table", Line::raw(format!(" {list} ")), false);
    for (row, line) in lines.iter().take(usize::from(inner.height)).enumerate() {
        write(buf, inner, row as u16, &in_columns(app, line, usize::from(inner.width)));
    }
    true
}

fn in_columns(app: &App, line: &str, width: usize) -> Line<'static> {
    let Ok(found) = serde_json::from_str::<Value>(line) else { return Line::raw(clip(&shown(line), width)) };
    let text = |field: &str| found[field].as_str().map(shown);
    let style = if found["difference"] == "extra" { app.theme.warn } else { app.theme.bad };
    let key = shown(&found["key"].to_string());
    let mut spans = vec![Span::styled(format!(" {:<11}", text("difference").unwrap_or_default()), style)];
    match text("attribute") {
        None => spans.push(Span::raw(clip(&key, width.saturating_sub(12)))),
        Some(attribute) => {
            let side = |value: Option<String>| value.unwrap_or_else(|| "nothing".to_owned());
            spans.push(Span::raw(format!("{}   ", clip(&key, KEY))));
            spans.push(Span::styled(format!("{attribute}   "), app.theme.strong));
            spans.push(Span::styled(format!("{} → {}", side(text("source")), side(text("table"))), Style::new()));
        }
    }
    Line::from(spans)
}
