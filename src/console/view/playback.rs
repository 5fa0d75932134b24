//! The scrubber: time line, events around the playhead, and the one that it is on; and the list of event tables.
//!
//! ```text
//! ┌ playback   events   2018-03-04 14:00 → 15:00   complete to 14:58:12 ─────── ×10 ▶ ┐
//! │        ▁▂▃▅▇█▇▅▃▂▁           ▁▂▃▅▇██▇▅▃▂▁         ▁▁▂▃▂▁       ▂▅▇▅▂        ░░░░  │
//! │ ───────────[━━━━━━━━━━━━━━━━━╋━━━━━━━━━━━━━━━]─────────────────────────────────── │
//! │ 14:00         14:12       14:23:07.121          14:36            14:48     15:00  │
//! ├ events ─────────────────────────┬ event ──────────────────────────────────────────┤
//! │ 14:23:07.119  Claps-3f   182 B  │ {                                               │
//! │▸14:23:07.121  Claps-0c   179 B  │   "MessageType": "Claps", …                     │
//! └─────────────────────────────────┴─────────────────────────────────────────────────┘
//! ```

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::{WHOLE, boxed, listed, none_match, say};
use crate::console::app::App;
use crate::console::columns::List;
use crate::console::keymap::{Action, Scope};
use crate::console::mouse::{Target, mark};
use crate::console::playback::{Scrubber, event_tables, keys, time};
use crate::console::spot::Spot;
use crate::console::widget::quantity::{bytes, count, exact};
use crate::console::widget::table::{self, Column, left, right};
use crate::console::widget::text::{clip, shown};
use crate::console::widget::timeline::{self, Timeline};
use crate::console::widget::{below, write, write_right};
use crate::event::Event;
use crate::item::legible::{as_json, hex_lines, json_lines};

const TABLES: [Column; 4] =
    [left("EVENT TABLE", 50, 0), left("LAYOUT", 9, 1), right("ITEMS", 8, 0), right("SIZE", 9, 2)];

/// Draws the list of event tables.
pub fn draw_list(buf: &mut Buffer, area: Rect, app: &App) {
    let theme = &app.theme;
    let found = event_tables(app).len();
    let (right, columns) = listed(app, List::EventTables, TABLES, 0);
    let inner = boxed(buf, area, theme, Line::styled(format!(" event tables {found} "), theme.strong), right);
    let names = app.table_names.rows.as_ref().map(Vec::len);
    let described = app.tables.rows.as_ref().map_or(0, Vec::len);
    if found == 0 {
        let words = match names {
            None if app.trouble.is_some() => "The tables can't be listed: see above.".to_owned(),
            None => format!("Listing the tables of {}…", app.place.region),
            Some(names) if described < names && described < 100 => format!("Looking at {names} tables…"),
            Some(names) => format!(
                "None of the {described} of {names} tables that were looked at is an event table. sluice pump --create-tables makes \
                 one; on the list of tables, {} opens the selected one.",
                app.keymap.chord(Scope::Tables, Action::Playback).unwrap_or_default()
            ),
        };
        say(buf, inner, theme, &words);
        return;
    }
    let shown_tables = app.shown_event_tables();
    if shown_tables.is_empty() {
        return say(buf, inner, theme, &none_match(app, List::EventTables, found, 0));
    }
    let selected = app.event_tables_list.index(shown_tables.iter().map(|(table, _)| table.name.as_str()));
    table::draw_page(buf, inner, theme, &columns, shown_tables.len(), selected, |at| {
        let (table, layout) = &shown_tables[at];
        vec![
            (app.marked(shown(&table.name), || Spot::Playback(table.name.clone())), Style::new()),
            (layout.to_string(), theme.dim),
            (count(table.items as f64), Style::new()),
            (bytes(table.bytes as f64), theme.dim),
        ]
    });
}

/// Draws the scrubber.
pub fn draw(buf: &mut Buffer, area: Rect, app: &App) {
    let Some(scrubber) = &app.scrubber else { return };
    let screen = *buf.area();
    let whole = screen.width >= WHOLE.0 && screen.height >= WHOLE.1;
    // Bars take a third of the height at most, and a row at least.
    let bars = if whole { (area.height / 4).clamp(1, 8) } else { 1 };
    let wanted = bars + 2 + if whole { 2 } else { 0 };
    let top = Rect { height: wanted.min(area.height), ..area };
    let (left, right) = titles(app, scrubber, area.width);
    let inner = boxed(buf, top, &app.theme, left, right);
    if scrubber.layout.is_none() {
        let words = match &scrubber.trouble {
            Some(error) => shown(&error.to_string()),
            None => format!("Opening {}…", shown(&scrubber.table)),
        };
        say(buf, inner, &app.theme, &words);
        return;
    }
    timeline_of(scrubber, inner.width).draw(buf, inner, &app.theme);
    let rest = below(area, top.height);
    if rest.height == 0 {
        return;
    }
    let beside = if whole && rest.width >= 90 { rest.width * 2 / 5 } else { rest.width };
    draw_events(buf, Rect { width: beside, ..rest }, app, scrubber);
    if beside < rest.width {
        draw_event(buf, Rect { x: rest.x + beside, width: rest.width - beside, ..rest }, app, scrubber);
    }
}

fn titles(app: &App, scrubber: &Scrubber, width: u16) -> (Line<'static>, Line<'static>) {
    let theme = &app.theme;
    let (window, speed) = keys::names(scrubber);
    let day = |us: i64| format!("{:.0}", time(us)).replace('T', " ").chars().take(16).collect::<String>();
    let arrow = if theme.glyphs.braille { "→" } else { "to" };
    // The ruler says it too.
    let (first, last) = (day(scrubber.from_us), day(scrubber.to_us()));
    // A day is said once.
    let last = if first[..10] == last[..10] { last[11..].to_owned() } else { last };
    let to = if width >= 100 { format!(" {arrow} {last}") } else { String::new() };
    let gap = if width >= 100 { "   " } else { " " };
    let mut left = vec![
        Span::styled(" playback", theme.strong),
        Span::raw(format!("{gap}{}{gap}{}{to} ({window})", shown(&scrubber.table), first)),
    ];
    let complete = match scrubber.watermark_us {
        Some(us) => {
            let at = format!("{:.0}", time(us)).replace(['T', 'Z'], " ");
            format!("{gap}complete to {} ", at.strip_prefix(&first[..10]).unwrap_or(&at).trim())
        }
        None if scrubber.layout.is_some() => format!("{gap}no pump said up to when it is complete "),
        None => String::new(),
    };
    left.push(Span::styled(complete, if scrubber.watermark_us.is_some() { theme.dim } else { theme.warn }));
    let known = scrubber.known(app.now_ms);
    let loaded = if known < 1.0 && scrubber.layout.is_some() {
        format!(" {} % counted", (known * 100.0).floor())
    } else {
        String::new()
    };
    let play = match (scrubber.is_playing(), theme.glyphs.braille) {
        (true, true) => "▶",
        (true, false) => ">",
        (false, true) => "▮▮",
        (false, false) => "||",
    };
    (Line::from(left), Line::from(vec![Span::styled(loaded, theme.warn), Span::raw(format!(" {speed} {play} "))]))
}

fn timeline_of(scrubber: &Scrubber, width: u16) -> Timeline {
    let (from_us, span_us) = (scrubber.from_us, scrubber.span_us());
    let counted = scrubber.hours.columns(from_us, span_us, usize::from(width));
    let columns = counted.into_iter().enumerate().map(|(x, column)| {
        let end = from_us + ((x as i128 + 1) * i128::from(span_us) / i128::from(width.max(1))) as i64;
        timeline::Column {
            count: column.count,
            known: column.known,
            complete: scrubber.watermark_us.is_some_and(|complete| end <= complete),
        }
    });
    Timeline { from_us, span_us, columns: columns.collect(), head_us: scrubber.head_us, marks: scrubber.marks }
}

fn draw_events(buf: &mut Buffer, area: Rect, app: &App, scrubber: &Scrubber) {
    let theme = &app.theme;
    let filter = if scrubber.filter.is_empty() { String::new() } else { format!("/{} ", shown(&scrubber.filter)) };
    let reading = if scrubber.is_reading_events() { " reading… " } else { "" };
    let inner = boxed(
        buf,
        area,
        theme,
        Line::from(vec![Span::styled(" events ", theme.strong), Span::styled(filter, theme.accent)]),
        Line::styled(reading, theme.dim),
    );
    if let Some(error) = &scrubber.trouble {
        say(buf, inner, theme, &shown(&error.to_string()));
        return;
    }
    if scrubber.events.is_empty() {
        let words = match scrubber.covered {
            None => "Reading the events here…".to_owned(),
            Some(_) if scrubber.filter.is_empty() && scrubber.watermark_us.is_none() => format!(
                "No events here, as far as a directory says: no pump published one up to a time. If the table was written by \
                 something else, sluice pump --repair --events {} makes its directory.",
                shown(&scrubber.table)
            ),
            Some(covered) if scrubber.filter.is_empty() => format!(
                "No events from {:.0} to {:.0}. {} looks further on, {} back; {} goes to a time, {} widens the time line.",
                covered.from(),
                covered.to(),
                app.keymap.chord(Scope::Playback, Action::NextEvent).unwrap_or_default(),
                app.keymap.chord(Scope::Playback, Action::PreviousEvent).unwrap_or_default(),
                app.keymap.chord(Scope::Playback, Action::GoTo).unwrap_or_default(),
                app.keymap.chord(Scope::Playback, Action::Zoom).unwrap_or_default()
            ),
            Some(covered) => format!(
                "None of {} events from {:.0} to {:.0} contains {:?}. {} looks further on, {} back.",
                exact(scrubber.looked_at),
                covered.from(),
                covered.to(),
                scrubber.filter,
                app.keymap.chord(Scope::Playback, Action::NextEvent).unwrap_or_default(),
                app.keymap.chord(Scope::Playback, Action::PreviousEvent).unwrap_or_default()
            ),
        };
        say(buf, inner, theme, &words);
        return;
    }
    let selected = scrubber.selected();
    let middle = selected
        .unwrap_or_else(|| scrubber.events.partition_point(|event| event.time.as_microsecond() <= scrubber.head_us));
    let visible = usize::from(inner.height);
    // The playhead keeps its row while events come and go around it.
    let first = middle.saturating_sub(visible / 2).min(scrubber.events.len().saturating_sub(visible));
    for (row, (at, event)) in scrubber.events.iter().enumerate().skip(first).take(visible).enumerate() {
        let place = Rect { y: inner.y + row as u16, height: 1, ..inner };
        mark(place, Target::Row(at as isize - selected.unwrap_or(middle) as isize));
        draw_row(buf, inner, row as u16, app, scrubber, event, selected == Some(at));
    }
}

fn draw_row(buf: &mut Buffer, area: Rect, row: u16, app: &App, scrubber: &Scrubber, event: &Event, selected: bool) {
    let theme = &app.theme;
    let shown_time = format!("{:.6}", event.time);
    let narrow = scrubber.span_us() <= 60_000_000;
    let wide = scrubber.span_us() > 24 * 3_600_000_000;
    let part = match (narrow, wide) {
        (true, _) => shown_time.get(11..26),
        (_, true) => shown_time.get(5..23),
        _ => shown_time.get(11..23),
    };
    let part = part.unwrap_or_default().replace('T', " ");
    let size = format!(" {} ", bytes(event.payload.len() as f64));
    let mark = if selected { theme.glyphs.cursor } else { " " };
    let beyond = scrubber.watermark_us.is_some_and(|complete| event.time.as_microsecond() >= complete);
    let room = usize::from(area.width).saturating_sub(part.len() + size.len() + 3);
    let style = if beyond { theme.dim } else { Style::new() };
    write(
        buf,
        area,
        row,
        &Line::from(vec![
            Span::styled(mark, theme.accent),
            Span::styled(part, style),
            Span::styled(format!("  {}", clip(&shown(&event.partition_key), room)), style),
        ]),
    );
    if usize::from(area.width) > size.len() + 16 {
        write_right(buf, Rect { height: area.height, ..area }, row, &Line::styled(size, theme.dim));
    }
    if selected && row < area.height {
        buf.set_style(Rect { y: area.y + row, height: 1, ..area }, theme.selected);
    }
}

fn draw_event(buf: &mut Buffer, area: Rect, app: &App, scrubber: &Scrubber) {
    let theme = &app.theme;
    let event = scrubber.selected().and_then(|at| scrubber.events.get(at));
    let right = event.map_or(String::new(), |event| format!(" {} ", shown(&event.id.to_string())));
    let right = clip(&right, usize::from(area.width).saturating_sub(12));
    let inner = boxed(buf, area, theme, Line::styled(" event ", theme.strong), Line::styled(right, theme.dim));
    let Some(event) = event else {
        say(buf, inner, theme, "No event at or before the playhead is loaded.");
        return;
    };
    let lines = detail_lines(&event.payload);
    let hidden = lines.len().saturating_sub(usize::from(inner.height));
    for (row, line) in lines.iter().take(usize::from(inner.height)).enumerate() {
        write(
            buf,
            inner,
            row as u16,
            &Line::raw(format!(" {}", clip(line, usize::from(inner.width).saturating_sub(1)))),
        );
    }
    if hidden > 0 && inner.height > 0 {
        let key = app.keymap.chord(Scope::Playback, Action::Detail).unwrap_or_default();
        let more = format!(" {} more lines: {key} ", exact(hidden as u64 + 1));
        let last = Rect { y: inner.bottom() - 1, height: 1, ..inner };
        write(buf, last, 0, &Line::raw(" ".repeat(usize::from(inner.width))));
        write(buf, last, 0, &Line::styled(more, theme.dim));
    }
}

/// Lines of a payload that are worth laying out: a megabyte of them helps nobody.
const MOST_LINES: usize = 5_000;

/// A payload for reading: JSON indented with every digit that it has, text as it is, else hex; escaped.
pub fn detail_lines(payload: &[u8]) -> Vec<String> {
    if let Some(json) = as_json(payload) {
        return json_lines(json).take(MOST_LINES).map(|line| shown(&line)).collect();
    }
    if let Ok(text) = std::str::from_utf8(payload)
        && !text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t' | '\r'))
    {
        return text.split('\n').take(MOST_LINES).map(shown).collect();
    }
    let lines: Vec<String> = hex_lines(payload).take(MOST_LINES).collect();
    if lines.is_empty() { vec!["(no bytes)".to_owned()] } else { lines }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_indented_and_keeps_every_digit() {
        let payload = br#"{"id":12345678901234567890,"z":1.10,"a":[1,{"b":"x, {y}: \"\\"}],"e":{},"l":[ ]}"#;
        assert_eq!(
            detail_lines(payload).join("\n"),
            "{\n  \"id\": 12345678901234567890,\n  \"z\": 1.10,\n  \"a\": [\n    1,\n    {\n      \"b\": \"x, {y}: \\\"\\\\\"\n    }\n  ],\n  \"e\": {},\n  \"l\": []\n}"
        );
    }

    #[test]
    fn what_is_no_text_is_hex_and_nothing_is_obeyed_by_the_terminal() {
        assert_eq!(detail_lines(b"\x00\xffAb")[0], format!("00000000  {:<47}  ..Ab", "00 ff 41 62"));
        let lines = detail_lines("{\"a\":\"\u{202e}\u{7f}\"}".as_bytes());
        assert!(lines.iter().all(|line| line.chars().all(|c| !c.is_control() && c != '\u{202e}')), "{lines:?}");
        assert_eq!(detail_lines(b"plain\ttext"), ["plain\\ttext"]);
        assert!(detail_lines(b"\x1b[2J")[0].contains("1b 5b 32 4a"));
    }
}
