//! The line that is typed into, where the hint would be, and above it what is wrong with it.
//!
//! ```text
//!  it ends in .csv, .json, .svg, .txt, .html or .md
//!  file: …e/op/tables-20261121140327.xls
//! ```

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use unicode_width::UnicodeWidthStr as _;

use crate::console::app::{App, Overlay, Prompt, Purpose};
use crate::console::columns::List;
use crate::console::widget::text::{shown, typed, wrap};
use crate::console::widget::{below, write};

/// Rows that are taken by what is wrong, at most.
const WRONG: usize = 3;

/// What is wrong with what was typed, on a screen so wide, in at most so many rows.
pub fn wrong(app: &App, width: u16, most: u16) -> Vec<Line<'static>> {
    let Some(Overlay::Prompt(Prompt { error: Some(error), .. })) = &app.overlay else { return Vec::new() };
    let lines = wrap(&shown(error), usize::from(width).saturating_sub(1));
    let lines = lines.into_iter().take(WRONG.min(usize::from(most)));
    lines.map(|line| Line::styled(format!(" {line}"), app.theme.bad)).collect()
}

/// Draws it at the top of `area`, what is wrong first; returns where the cursor stands.
pub fn draw(buf: &mut Buffer, area: Rect, app: &App, wrong: &[Line<'_>]) -> Option<(u16, u16)> {
    let Some(Overlay::Prompt(prompt)) = &app.overlay else { return None };
    for (row, line) in wrong.iter().enumerate() {
        write(buf, area, row as u16, line);
    }
    let area = below(area, wrong.len() as u16);
    let width = usize::from(area.width);
    let (long, short) = labels(&prompt.purpose);
    // What is typed comes before what is said of it; the cursor has a column of its own.
    let value = shown(prompt.input.value()).width() + 1;
    let label = if long.width() + value <= width { long } else { short.to_owned() };
    let (seen, cursor) = typed(&prompt.input, width.saturating_sub(label.width()));
    let mut spans = vec![Span::styled(label.clone(), app.theme.accent), Span::raw(seen)];
    if prompt.purpose == Purpose::Filter
        && prompt.input.value().is_empty()
        && let Some(list) = List::of(&app.screen)
    {
        let columns: Vec<&str> = list.fields().iter().map(|field| field.name).collect();
        let words = format!("  words, !not, column>value, of {}", columns.join(" "));
        spans.push(Span::styled(words, app.theme.dim));
    }
    write(buf, area, 0, &Line::from(spans));
    Some((area.x + (label.width() + cursor) as u16, area.y))
}

/// What stands before what is typed, and the same where there is less room.
fn labels(purpose: &Purpose) -> (String, &'static str) {
    match purpose {
        Purpose::Filter => (" filter: ".to_owned(), " filter: "),
        Purpose::Moment => (" go to (a time, a date, now, or how long ago; UTC): ".to_owned(), " go to (UTC): "),
        Purpose::EventFilter => (" only events with: ".to_owned(), " with: "),
        Purpose::Rate(id) => (format!(" items per second for {id}, nothing for no cap: "), " items/s: "),
        Purpose::Export => (" file (.csv .json .svg .txt, of a job .html .md): ".to_owned(), " file: "),
        Purpose::Retention(stream) => (format!(" hours that records of {} stay: ", shown(stream)), " hours: "),
        Purpose::Capacity(resource) => {
            (format!(" {} of {}: ", resource.unit(), shown(&resource.to_string())), " capacity: ")
        }
    }
}
