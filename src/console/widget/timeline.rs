//! A time line: a histogram over a ruler with a range and a playhead, and the times below it.
//!
//! ```text
//!        ▁▂▃▅▇█▇▅▃▂▁           ▁▂▃▅▇██▇▅▃▂▁         ▁▁▂▃▂▁    ░░░░░░
//!  ───────────[━━━━━━━━━━━━━━━━━╋━━━━━━━━━━━━━━━]───────────────────
//!  14:00         14:12       14:23:07.121          14:36          15:00
//! ```

use jiff::Timestamp;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use crate::console::theme::Theme;

/// A column of the histogram.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Column {
    /// Events in it.
    pub count: f64,
    /// The part of it that is counted, 0 to 1: the rest is taken to be alike.
    pub known: f64,
    /// True when no more events can come into it.
    pub complete: bool,
}

/// What is drawn.
#[derive(Clone, Debug)]
pub struct Timeline {
    /// Start of the window, µs since epoch.
    pub from_us: i64,
    /// Its length, µs.
    pub span_us: i64,
    /// The histogram, one for each column of the area.
    pub columns: Vec<Column>,
    /// The playhead, µs since epoch.
    pub head_us: i64,
    /// Start and end of the range, µs since epoch.
    pub marks: (Option<i64>, Option<i64>),
}

const MINUTE: i64 = 60_000_000;

/// What a time line is drawn with.
struct Ink {
    rail: &'static str,
    range: &'static str,
    head: &'static str,
    open: &'static str,
    unknown: &'static str,
}

const UNICODE: Ink = Ink { rail: "─", range: "━", head: "╋", open: "░", unknown: "·" };
const ASCII: Ink = Ink { rail: "-", range: "=", head: "+", open: ":", unknown: "?" };

impl Timeline {
    /// Draws it: the last two rows are ruler and times, the others the histogram.
    pub fn draw(&self, buf: &mut Buffer, area: Rect, theme: &Theme) {
        let area = area.intersection(*buf.area());
        if area.width == 0 || area.height < 2 {
            return;
        }
        let bars = Rect { height: area.height - 2, ..area };
        self.draw_bars(buf, bars, theme);
        self.draw_ruler(buf, Rect { y: bars.bottom(), height: 1, ..area }, theme);
        self.draw_times(buf, Rect { y: bars.bottom() + 1, height: 1, ..area }, theme);
    }

    fn ink(theme: &Theme) -> &'static Ink {
        if theme.glyphs.braille { &UNICODE } else { &ASCII }
    }

    fn draw_bars(&self, buf: &mut Buffer, area: Rect, theme: &Theme) {
        let ink = Self::ink(theme);
        let sparks = theme.glyphs.sparks;
        let steps = usize::from(area.height) * sparks.len();
        let scaled = |column: &Column| if column.known > 0.0 { column.count / column.known } else { 0.0 };
        let most = self.columns.iter().map(scaled).fold(0.0, f64::max).max(1.0);
        for (x, column) in self.columns.iter().enumerate().take(usize::from(area.width)) {
            let share = (scaled(column) / most).clamp(0.0, 1.0);
            // Something is never shown as nothing.
            let filled =
                ((share * steps as f64).round() as usize).max(usize::from(column.known > 0.0 && column.count > 0.0));
            let inside = self.marks_hold(x);
            let style = if inside { theme.accent } else { Style::new() };
            for row in 0..area.height {
                let level = filled.saturating_sub(usize::from(row) * sparks.len());
                let (symbol, style) = match level {
                    0 if !column.complete => (ink.open, theme.dim),
                    0 if row == 0 && column.known <= 0.0 => (ink.unknown, theme.dim),
                    0 => continue,
                    level => (sparks[level.min(sparks.len()) - 1], style),
                };
                buf[(area.x + x as u16, area.bottom() - 1 - row)].set_symbol(symbol).set_style(style);
            }
        }
    }

    /// True when a column is in the range.
    fn marks_hold(&self, x: usize) -> bool {
        let (Some(from), Some(to)) = self.marks else { return false };
        let width = self.columns.len().max(1) as i128;
        let at = self.from_us + (x as i128 * i128::from(self.span_us) / width) as i64;
        let end = self.from_us + ((x as i128 + 1) * i128::from(self.span_us) / width) as i64;
        from < end && at < to
    }

    /// The column of a moment; `None` outside of the window.
    fn column(&self, us: i64, width: u16) -> Option<u16> {
        let into = i128::from(us) - i128::from(self.from_us);
        if into < 0 || into >= i128::from(self.span_us) {
            return None;
        }
        u16::try_from(into * i128::from(width) / i128::from(self.span_us)).ok()
    }

    fn draw_ruler(&self, buf: &mut Buffer, area: Rect, theme: &Theme) {
        let ink = Self::ink(theme);
        let (from, to) = self.marks;
        for x in 0..area.width {
            let inside = from.is_some() && to.is_some() && self.marks_hold(usize::from(x));
            let (symbol, style) = if inside { (ink.range, theme.accent) } else { (ink.rail, theme.dim) };
            buf[(area.x + x, area.y)].set_symbol(symbol).set_style(style);
        }
        let ends = [(from, "["), (to.map(|to| to - 1), "]")];
        for (at, symbol) in ends {
            if let Some(x) = at.and_then(|at| self.column(at, area.width)) {
                buf[(area.x + x, area.y)].set_symbol(symbol).set_style(theme.accent);
            }
        }
        if let Some(x) = self.column(self.head_us, area.width) {
            buf[(area.x + x, area.y)].set_symbol(ink.head).set_style(theme.strong);
        }
    }

    fn draw_times(&self, buf: &mut Buffer, area: Rect, theme: &Theme) {
        let width = usize::from(area.width);
        let mut taken = vec![false; width];
        let mut put = |text: &str, middle: usize, style: Style| {
            let at = middle.saturating_sub(text.len() / 2).min(width.saturating_sub(text.len()));
            // A blank on each side keeps two times apart.
            let around = at.saturating_sub(1)..(at + text.len() + 1).min(width);
            if text.len() > width || taken[around.clone()].iter().any(|taken| *taken) {
                return;
            }
            taken[at..at + text.len()].iter_mut().for_each(|taken| *taken = true);
            buf.set_stringn(area.x + at as u16, area.y, text, text.len(), style);
        };
        if let Some(x) = self.column(self.head_us, area.width) {
            put(&self.label(self.head_us, true), usize::from(x), theme.strong);
        }
        let parts = if width >= 100 { 4 } else { 2 };
        put(&self.label(self.from_us, false), 0, theme.dim);
        put(&self.label(self.from_us + self.span_us, false), width, theme.dim);
        for part in 1..parts {
            let us = self.from_us + self.span_us / parts * part;
            put(&self.label(us, false), width * part as usize / parts as usize, theme.dim);
        }
    }

    /// A moment as finely as the window is; the playhead's finer.
    fn label(&self, us: i64, head: bool) -> String {
        let shown = format!("{:.6}", Timestamp::from_microsecond(us).unwrap_or_default());
        let part = |range: std::ops::Range<usize>| shown.get(range).unwrap_or_default().replace('T', " ");
        match (self.span_us, head) {
            (span, true) if span <= MINUTE => part(11..26),
            (span, true) if span <= 24 * 60 * MINUTE => part(11..23),
            (_, true) => part(0..19),
            (span, false) if span <= 10_000_000 => part(11..23),
            (span, false) if span <= 5 * MINUTE => part(11..19),
            (span, false) if span <= 24 * 60 * MINUTE => part(11..16),
            (span, false) if span <= 7 * 24 * 60 * MINUTE => part(5..16),
            _ => part(0..10),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000_000;

    fn drawn(timeline: &Timeline, width: u16, height: u16, unicode: bool) -> String {
        let area = Rect { x: 0, y: 0, width, height };
        let mut buf = Buffer::empty(area);
        timeline.draw(&mut buf, area, &Theme::plain(unicode));
        let rows = buf.content().chunks(usize::from(width));
        rows.map(|row| row.iter().map(ratatui::buffer::Cell::symbol).collect::<String>().trim_end().to_owned())
            .collect::<Vec<_>>()
            .join("\n")
    }

    fn hour(width: usize) -> Timeline {
        let from: Timestamp = "2018-03-04T14:00:00Z".parse().unwrap();
        let from_us = from.as_microsecond();
        let columns = (0..width).map(|x| {
            let count = ((x % 20) as f64 - 10.0).abs() * 3.0;
            Column { count, known: if x < width / 8 { 0.0 } else { 1.0 }, complete: x < width * 9 / 10 }
        });
        Timeline {
            from_us,
            span_us: HOUR,
            columns: columns.collect(),
            head_us: from_us + 23 * 60_000_000 + 7_121_000,
            marks: (Some(from_us + HOUR / 5), Some(from_us + HOUR * 2 / 3)),
        }
    }

    #[test]
    fn a_time_line_has_its_counts_its_range_its_playhead_and_its_times() {
        insta::assert_snapshot!(drawn(&hour(100), 100, 5, true));
    }

    #[test]
    fn without_unicode_it_says_the_same() {
        let drawn = drawn(&hour(60), 60, 4, false);
        assert!(drawn.is_ascii(), "{drawn}");
        for sign in ["[", "]", "=", "+", ":", "?"] {
            assert!(drawn.contains(sign), "no {sign}\n{drawn}");
        }
    }

    #[test]
    fn no_size_panics() {
        for width in 0..40 {
            for height in 0..4 {
                drawn_if_any(width, height);
            }
        }
    }

    fn drawn_if_any(width: u16, height: u16) {
        let area = Rect { x: 0, y: 0, width, height };
        let mut buf = Buffer::empty(area);
        hour(usize::from(width)).draw(&mut buf, area, &Theme::plain(true));
    }
}
