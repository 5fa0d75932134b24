//! The one place that prints to stdout: aligned columns for a person, one JSON object a line for a script.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::Value;
use unicode_width::UnicodeWidthStr;

use super::report::{Exit, Report};
use super::session::Session;
pub use crate::item::legible::shown;
pub use crate::jobs::plan::grouped;

/// Which side a column's text keeps to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// Rows under headings, laid out when shown.
#[derive(Clone, Debug, Default)]
pub struct Columns {
    heads: Vec<(&'static str, Side)>,
    rows: Vec<Vec<String>>,
}

impl Columns {
    /// Columns with these headings.
    pub fn new(heads: &[(&'static str, Side)]) -> Self {
        Self { heads: heads.to_vec(), rows: Vec::new() }
    }

    /// Adds a row; a missing cell is empty.
    pub fn row<const N: usize>(&mut self, cells: &[String; N]) {
        self.rows.push(cells.iter().map(|cell| shown(cell)).collect());
    }

    /// The text, one line a row, headings first.
    pub fn to_text(&self) -> String {
        let mut widths: Vec<usize> = self.heads.iter().map(|(head, _)| head.width()).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.width());
            }
        }
        let heads: Vec<String> = self.heads.iter().map(|(head, _)| (*head).to_owned()).collect();
        let mut text = String::new();
        for row in std::iter::once(&heads).chain(&self.rows) {
            let mut line = String::new();
            for ((cell, width), (_, side)) in row.iter().zip(&widths).zip(&self.heads) {
                let gap = " ".repeat(width - cell.width());
                if !line.is_empty() {
                    line.push_str("  ");
                }
                match side {
                    Side::Left => line.extend([cell.as_str(), &gap]),
                    Side::Right => line.extend([&gap, cell.as_str()]),
                }
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// Prints one line of text.
pub fn line(text: &str) -> Result<(), Report> {
    written(write_line(text))
}

/// Prints one JSON object as one line.
pub fn json(value: &impl Serialize) -> Result<(), Report> {
    line(&to_json(value))
}

/// Prints what a command did, or why there was nothing to do: words for a person, `row` for a script.
pub fn said(session: &Session, words: &str, row: &Value) -> Result<(), Report> {
    if session.global.json { json(row) } else { line(words) }
}

/// A number that may not be known.
pub fn rate(rate: Option<f64>) -> String {
    rate.map_or_else(|| "-".to_owned(), |rate| format!("{rate:.1}"))
}

/// Prints columns.
pub fn columns(columns: &Columns) -> Result<(), Report> {
    line(columns.to_text().trim_end_matches('\n'))
}

/// `value` as compact JSON.
pub fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("our rows have string keys and no failing serialisers")
}

/// Seconds as people say them: `3h 12m`, `3m 24s`, `8s`.
pub fn duration(seconds: f64) -> String {
    let whole = seconds.max(0.0).round() as u64;
    match (whole / 3600, whole / 60 % 60, whole % 60) {
        (0, 0, s) => format!("{s}s"),
        (0, m, s) => format!("{m}m {s:02}s"),
        (h, m, _) => format!("{h}h {m:02}m"),
    }
}

fn write_line(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.write_all(b"\n")?;
    out.flush()
}

fn written(result: io::Result<()>) -> Result<(), Report> {
    match result {
        Ok(()) => Ok(()),
        // `sluice tables | head -1`: the reader has what it wanted.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
            Err(Report { sentence: String::new(), hint: String::new(), exit: Exit::Done })
        }
        Err(error) => Err(Report::failed(format!("could not write to stdout: {error}"), "")),
    }
}

/// RFC 3339, UTC.
pub fn time(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).map(|time| time.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_line_up_on_the_right_and_words_on_the_left() {
        let mut columns = Columns::new(&[("TABLE", Side::Left), ("ITEMS", Side::Right)]);
        columns.row(&["historical".into(), "31,200".into()]);
        columns.row(&["é".into(), "7".into()]);
        assert_eq!(columns.to_text(), "TABLE        ITEMS\nhistorical  31,200\né                7\n");
    }

    #[test]
    fn control_characters_in_a_cell_are_shown_not_obeyed() {
        let mut columns = Columns::new(&[("TABLE", Side::Left)]);
        columns.row(&["a\u{1b}[2Jb\n\u{202e}".into()]);
        assert_eq!(columns.to_text(), "TABLE\na\\u{1b}[2Jb\\n\\u{202e}\n");
    }

    #[test]
    fn thousands_are_set_apart() {
        assert_eq!(
            [grouped(0), grouped(999), grouped(1_000), grouped(12_345_678)],
            ["0", "999", "1,000", "12,345,678"]
        );
    }

    #[test]
    fn durations_keep_their_two_largest_units() {
        assert_eq!([duration(8.4), duration(204.0), duration(11_520.0)], ["8s", "3m 24s", "3h 12m"]);
    }
}
