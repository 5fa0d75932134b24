//! Something to read that lies over a screen: its lines, how they are broken on this screen, and what is copied of it.

use std::ops::Range;

use bytes::Bytes;

use crate::console::keymap::Action;
use crate::console::widget::text::{rows, width_up_to};

/// A text that lies over a screen. It is broken into rows when it opens and when the screen has another size, not for each frame:
/// a record may have megabytes.
#[derive(Clone, Debug)]
pub struct Text {
    /// What stands above it.
    pub title: String,
    lines: Vec<String>,
    /// What is copied where that is not its lines.
    record: Option<Bytes>,
    /// Scrolled by that many rows.
    at: usize,
    /// Opens at its end.
    ends: bool,
    laid: Laid,
}

/// How a text stands on a screen.
#[derive(Clone, Debug, Default)]
struct Laid {
    /// The columns and rows of that screen.
    size: (u16, u16),
    /// The columns of the box.
    width: u16,
    /// The line that each row is of, and which part of it.
    rows: Vec<(usize, Range<usize>)>,
}

impl Text {
    /// A text that is read from its beginning, and copied as it is shown.
    pub fn new(title: impl Into<String>, lines: Vec<String>) -> Self {
        Self { title: title.into(), lines, record: None, at: 0, ends: false, laid: Laid::default() }
    }

    /// Its end is what is looked for.
    #[must_use]
    pub fn from_its_end(self) -> Self {
        Self { ends: true, ..self }
    }

    /// It shows this record, which is what is copied of it.
    #[must_use]
    pub fn of_record(self, record: Bytes) -> Self {
        Self { record: Some(record), ..self }
    }

    /// Goes on with these lines.
    pub fn add(&mut self, lines: Vec<String>) {
        self.lines.push(String::new());
        self.lines.extend(lines);
        self.laid = Laid::default();
    }

    /// What is copied of it; `None` where its record is no text.
    pub fn copied(&self) -> Option<String> {
        match &self.record {
            Some(record) => String::from_utf8(record.to_vec()).ok(),
            None => Some(self.lines.join("\n")),
        }
    }

    /// Breaks it for a screen of so many columns and rows, unless it is broken for that.
    pub fn lay_out(&mut self, size: (u16, u16)) {
        if self.laid.size == size {
            return;
        }
        let most = usize::from(size.0.saturating_sub(4).max(40));
        let widest = self.lines.iter().map(|line| width_up_to(line, most) + 6).max().unwrap_or_default();
        let width = widest.clamp(40, most).min(usize::from(size.0));
        let room = width.saturating_sub(4);
        let all = self.lines.iter().enumerate();
        let all = all.flat_map(|(at, line)| rows(line, room).into_iter().map(move |row| (at, row)));
        self.laid = Laid { size, width: width as u16, rows: all.collect() };
        self.at = if std::mem::take(&mut self.ends) { self.last() } else { self.at.min(self.last()) };
    }

    /// How far it can be scrolled: the box has a border, and the footer stays in sight.
    fn last(&self) -> usize {
        let in_sight = usize::from(self.laid.size.1.saturating_sub(3)).max(1);
        self.laid.rows.len().saturating_sub(in_sight)
    }

    /// Scrolls it as a key does.
    pub fn scroll(&mut self, action: Action) {
        let at = match action {
            Action::Up => self.at.saturating_sub(1),
            Action::Down => self.at + 1,
            Action::PageUp => self.at.saturating_sub(10),
            Action::PageDown => self.at + 10,
            Action::First => 0,
            Action::Last => usize::MAX,
            _ => self.at,
        };
        self.at = at.min(self.last());
    }

    /// The columns and rows of a box that shows all of it.
    pub fn size(&self) -> (u16, u16) {
        (self.laid.width, u16::try_from(self.laid.rows.len() + 2).unwrap_or(u16::MAX))
    }

    /// The rows that are in sight in a box so high inside.
    pub fn in_sight(&self, height: u16) -> impl Iterator<Item = &str> {
        let height = usize::from(height);
        let first = self.at.min(self.laid.rows.len().saturating_sub(height));
        self.laid.rows.iter().skip(first).take(height).map(|(line, row)| &self.lines[*line][row.clone()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(text: &Text) -> Vec<&str> {
        text.in_sight(4).collect()
    }

    #[test]
    fn a_line_of_many_rows_is_read_to_its_end_and_stays_broken_until_the_screen_changes() {
        let mut text = Text::new("record", vec!["key k".to_owned(), "ab".repeat(1 << 19)]);
        text.lay_out((40, 7));
        assert_eq!(text.size(), (40, ((1_usize << 20).div_ceil(36) + 3) as u16));
        assert_eq!(seen(&text)[0], "key k");
        for _ in 0..10_000 {
            text.scroll(Action::PageDown);
        }
        assert_eq!(seen(&text).concat().len(), 3 * 36 + (1 << 20) % 36);
        text.scroll(Action::Up);
        assert_eq!(seen(&text).concat().len(), 4 * 36);
        text.lay_out((120, 7));
        assert_eq!((text.size().0, seen(&text)[0].len()), (116, 112));
        text.scroll(Action::First);
        assert_eq!(seen(&text)[0], "key k");
    }

    #[test]
    fn more_rows_than_a_screen_can_have_are_no_fault() {
        let mut text = Text::new("bytes", vec!["x".repeat(70_000 * 36)]).from_its_end();
        text.lay_out((40, 7));
        assert_eq!(text.size(), (40, u16::MAX));
        assert_eq!(seen(&text).len(), 4);
        let mut none = Text::new("nothing", Vec::new());
        none.lay_out((1, 1));
        none.scroll(Action::Last);
        assert_eq!((none.size(), seen(&none).len()), ((1, 2), 0));
    }

    #[test]
    fn a_record_is_copied_as_it_is_and_bytes_that_are_no_text_are_not() {
        let lines = || vec!["\u{a0}\u{a0}\"a\": 1".to_owned()];
        assert_eq!(Text::new("log", lines()).copied().as_deref(), Some("\u{a0}\u{a0}\"a\": 1"));
        let record = Text::new("record", lines()).of_record(Bytes::from_static(b"{\"a\":1}"));
        assert_eq!(record.copied().as_deref(), Some("{\"a\":1}"));
        assert_eq!(Text::new("record", lines()).of_record(Bytes::from_static(b"\xff")).copied(), None);
    }
}
