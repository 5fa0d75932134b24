//! A chart over time: axes, a legend beside the lines, the window's length, and gaps as gaps.
//!
//! ```text
//!  195│        ┌────── provisioned 195
//!     │────────┘  ⡠⠤⠤  used 171
//!    0│⡠⠤⠤⠒⠉⠉
//!     │   ▾▾ ▾▾▾       throttled
//!     └────────────
//!      -15m     now
//! ```

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use unicode_width::UnicodeWidthStr as _;

use super::quantity;
use super::text::clip;
use super::write;
use crate::console::theme::Theme;

/// How the points of a series become a line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shape {
    /// Joined; points further apart than this many ms leave a gap.
    Line(i64),
    /// Each value holds until the next one, for at most this many ms; drawn dashed.
    Step(i64),
}

/// One line of a chart.
#[derive(Clone, Debug)]
pub struct Series<'a> {
    /// As the legend calls it.
    pub name: &'a str,
    /// Its colour.
    pub style: Style,
    /// How its points are joined.
    pub shape: Shape,
    /// Ms since epoch and value, oldest first.
    pub points: Vec<(i64, f64)>,
}

/// A chart of some series over one window.
#[derive(Clone, Debug)]
pub struct Chart<'a> {
    /// Start of the window, ms since epoch.
    pub from_ms: i64,
    /// End of the window, ms since epoch.
    pub to_ms: i64,
    /// What is drawn, later ones over earlier ones.
    pub series: Vec<Series<'a>>,
    /// Moments that are marked below the lines, with the marks' name.
    pub marks: Option<(&'a str, Vec<i64>)>,
    /// What else happened: drawn over the marks.
    pub notable: Vec<Notable>,
    /// As the left end of the time axis is called.
    pub start: String,
    /// As the right end of the time axis is called.
    pub end: String,
    /// What is said instead of lines where none has a point in the window.
    pub empty: &'a str,
    /// The moment that is pointed at, ms since epoch, and as the axis calls it: the legend has the values there.
    pub cursor: Option<(i64, String)>,
}

/// Something that happened at a moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Notable {
    /// When, ms since epoch.
    pub at_ms: i64,
    /// Its mark, one column wide.
    pub glyph: &'static str,
    /// Its colour.
    pub style: Style,
}

impl Chart<'_> {
    /// Draws it into `area`; returns where its lines are, for what is pointed at.
    pub fn draw(&self, buf: &mut Buffer, area: Rect, theme: &Theme) -> Option<Rect> {
        let area = area.intersection(*buf.area());
        if area.width < 8 || area.height < 3 {
            return None;
        }
        let (top, peak) = self.scale();
        let top_label = quantity::rate(top);
        let gutter = top_label.len().max(3) as u16;
        let legend_beside = area.width >= 44;
        let legend_width = if legend_beside { self.legend_width().min(area.width * 2 / 5) } else { 0 };
        let legend_rows = u16::from(!legend_beside);
        let mark_rows = u16::from(self.has_marks());
        let axis_rows = if area.height > 5 + legend_rows + mark_rows { 2 } else { 1 };
        let plot = Rect {
            x: area.x + gutter + 1,
            y: area.y + legend_rows,
            width: area.width.saturating_sub(gutter + 1 + legend_width),
            height: area.height.saturating_sub(legend_rows + mark_rows + axis_rows),
        };
        // An odd height has a row in its middle, for the label of half.
        let plot = Rect { height: if plot.height >= 10 { (plot.height - 1) | 1 } else { plot.height }, ..plot };
        if plot.width < 2 || plot.height == 0 {
            return None;
        }
        let mut canvas = Canvas::new(plot.width, plot.height, theme.glyphs.braille);
        for (i, series) in self.series.iter().enumerate() {
            canvas.draw(series, i, (self.from_ms, self.to_ms), top);
        }
        canvas.paint(buf, plot);
        if !self.has_points() {
            self.draw_empty(buf, plot, theme);
        }
        self.draw_cursor(buf, plot, theme);
        self.draw_axes(buf, area, plot, theme, top, axis_rows);
        if let Some(peak) = peak {
            let words = format!("peak {} ", quantity::rate(peak));
            let x = plot.right().saturating_sub(words.len() as u16).max(plot.x);
            buf.set_stringn(x, plot.y, &words, usize::from(plot.right() - x), theme.dim);
        }
        if legend_beside {
            let beside = Rect { x: plot.right(), width: legend_width, ..plot };
            self.draw_legend_beside(buf, beside, top);
        } else {
            self.draw_legend_above(buf, area);
        }
        let y = plot.bottom();
        let mut put = |at: i64, glyph: &'static str, style: Style| {
            if (self.from_ms..self.to_ms).contains(&at) {
                let x = column(at, self.from_ms, self.to_ms, u32::from(plot.width));
                buf[(plot.x + x as u16, y)].set_symbol(glyph).set_style(style);
            }
        };
        if let Some((_, marks)) = &self.marks {
            marks.iter().for_each(|at| put(*at, theme.glyphs.mark, theme.warn));
        }
        self.notable.iter().for_each(|one| put(one.at_ms, one.glyph, one.style));
        if let Some((name, marks)) = &self.marks
            && legend_beside
            && !marks.is_empty()
        {
            let row = Rect { x: plot.right(), y, width: legend_width, height: 1 };
            write(buf, row, 0, &Line::styled(format!(" {name}"), theme.warn));
        }
        Some(plot)
    }

    /// Whether any line is seen in the window.
    fn has_points(&self) -> bool {
        self.series.iter().any(|series| {
            let held = match series.shape {
                Shape::Line(_) => 0,
                Shape::Step(hold) => hold,
            };
            series.points.iter().any(|(at, _)| *at <= self.to_ms && at.saturating_add(held) >= self.from_ms)
        })
    }

    /// An empty chart says why, rather than look like a line at zero.
    fn draw_empty(&self, buf: &mut Buffer, plot: Rect, theme: &Theme) {
        let words = clip(self.empty, usize::from(plot.width));
        let x = plot.x + (plot.width - words.width() as u16) / 2;
        buf.set_stringn(x, plot.y + (plot.height - 1) / 2, &words, usize::from(plot.width), theme.dim);
    }

    fn has_marks(&self) -> bool {
        self.marks.is_some() || !self.notable.is_empty()
    }

    /// The moment that is pointed at: a line behind what is drawn there.
    fn draw_cursor(&self, buf: &mut Buffer, plot: Rect, theme: &Theme) {
        let Some((at, _)) = self.cursor.as_ref().filter(|(at, _)| (self.from_ms..=self.to_ms).contains(at)) else {
            return;
        };
        let x = plot.x + column(*at, self.from_ms, self.to_ms, u32::from(plot.width)) as u16;
        for y in plot.y..plot.bottom() + u16::from(self.has_marks()) {
            let cell = &mut buf[(x, y)];
            if cell.symbol() == " " {
                cell.set_symbol(theme.glyphs.axes[0]).set_style(theme.accent);
            }
        }
    }

    /// The top of the axis, and the highest value where that is beyond it: one second far above all others, such as the
    /// first burst of a restore, would press the rest of the night against the floor.
    fn scale(&self) -> (f64, Option<f64>) {
        let within = |p: &&(i64, f64)| p.0 >= self.from_ms && p.0 <= self.to_ms && p.1.is_finite();
        let (mut usual, mut highest) = (0.0_f64, 0.0_f64);
        for series in &self.series {
            let mut values: Vec<f64> = series.points.iter().filter(within).map(|p| p.1).collect();
            values.sort_by(f64::total_cmp);
            highest = values.last().copied().unwrap_or(0.0).max(highest);
            let common = match series.shape {
                Shape::Line(_) => values.get(values.len() * 9 / 10),
                Shape::Step(_) => values.last(),
            };
            usual = common.copied().unwrap_or(0.0).max(usual);
        }
        if usual > 0.0 && highest > usual * 3.0 {
            (ceiling(usual * 1.5), Some(highest))
        } else {
            (ceiling(highest), None)
        }
    }

    fn draw_axes(&self, buf: &mut Buffer, area: Rect, plot: Rect, theme: &Theme, top: f64, rows: u16) {
        let gutter = plot.x - area.x - 1;
        let [vertical, corner, horizontal] = theme.glyphs.axes;
        let floor = plot.bottom() + u16::from(self.has_marks());
        for y in plot.y..floor {
            buf.set_stringn(plot.x - 1, y, vertical, 1, theme.dim);
        }
        let label = |buf: &mut Buffer, y: u16, text: &str| {
            let pad = usize::from(gutter).saturating_sub(text.len());
            buf.set_stringn(area.x + pad as u16, y, text, usize::from(gutter), theme.dim);
        };
        label(buf, plot.y, &quantity::rate(top));
        if plot.height > 1 {
            label(buf, plot.bottom() - 1, "0");
        }
        if plot.height >= 9 && plot.height % 2 == 1 {
            label(buf, plot.y + plot.height / 2, &quantity::rate(top / 2.0));
        }
        if rows == 2 {
            buf.set_stringn(plot.x - 1, floor, corner, 1, theme.dim);
            for x in plot.x..plot.right() {
                buf.set_stringn(x, floor, horizontal, 1, theme.dim);
            }
        }
        let y = floor + rows - 1;
        buf.set_stringn(plot.x, y, &self.start, usize::from(plot.width), theme.dim);
        if usize::from(plot.width) > self.start.chars().count() + self.end.len() + 1 {
            let x = plot.right() - self.end.len() as u16;
            buf.set_stringn(x, y, &self.end, self.end.len(), theme.dim);
        }
        if let Some((at, words)) = self.cursor.as_ref().filter(|(at, _)| (self.from_ms..=self.to_ms).contains(at)) {
            // The moment pointed at is named below it, over the ends where it is near them.
            let x = column(*at, self.from_ms, self.to_ms, u32::from(plot.width)) as u16;
            let wide = (words.chars().count() as u16).min(plot.width);
            let x = (plot.x + x).saturating_sub(wide / 2).clamp(plot.x, plot.right() - wide);
            buf.set_stringn(x, y, words, usize::from(wide), theme.accent);
        }
    }

    fn legend(&self) -> impl Iterator<Item = (String, &Series<'_>, Option<f64>)> {
        // What is drawn on top is named first.
        self.series.iter().rev().map(|series| {
            let last = match &self.cursor {
                Some((at, _)) => self.value_at(series, *at),
                None => self.newest_of(series),
            };
            let text = match last {
                Some(value) => format!(" {} {}", series.name, quantity::rate(value)),
                None => format!(" {} -", series.name),
            };
            (text, series, last)
        })
    }

    fn newest_of(&self, series: &Series<'_>) -> Option<f64> {
        // The newest period of CloudWatch's is whole a minute or two after it ended.
        let hold = match series.shape {
            Shape::Line(ms) => ms,
            Shape::Step(ms) => ms * 4,
        };
        let last = series.points.iter().rev().find(|p| p.0 <= self.to_ms);
        last.filter(|p| self.to_ms.saturating_sub(p.0) <= hold.max(10_000)).map(|p| p.1)
    }

    /// The value of a line at a moment: of the point that is nearest, or of the period that it lies in.
    pub fn value_at(&self, series: &Series<'_>, at_ms: i64) -> Option<f64> {
        let after = series.points.partition_point(|p| p.0 <= at_ms);
        let before = after.checked_sub(1).and_then(|i| series.points.get(i));
        match series.shape {
            Shape::Step(hold) => before.filter(|p| at_ms - p.0 < hold).map(|p| p.1),
            Shape::Line(gap) => {
                let far = |p: &&(i64, f64)| (p.0 - at_ms).abs();
                let near = before.into_iter().chain(series.points.get(after)).min_by_key(far);
                near.filter(|p| far(p) <= (gap / 2).max((self.to_ms - self.from_ms) / 200)).map(|p| p.1)
            }
        }
    }

    fn legend_width(&self) -> u16 {
        let marks = self.marks.as_ref().map_or(0, |(name, _)| name.len() + 1);
        self.legend().map(|(text, ..)| text.len()).max().unwrap_or(0).max(marks) as u16
    }

    // Each name stands beside the end of its line, or as near as the others leave room.
    fn draw_legend_beside(&self, buf: &mut Buffer, beside: Rect, top: f64) {
        let height = i32::from(beside.height);
        let mut names: Vec<(i32, String, Style)> = self
            .legend()
            .map(|(text, series, last)| {
                let share = last.map_or(0.0, |v| (v / top).clamp(0.0, 1.0));
                (((1.0 - share) * f64::from(height - 1)).round() as i32, text, series.style)
            })
            .collect();
        names.sort_by_key(|(row, ..)| *row);
        for i in 1..names.len() {
            names[i].0 = names[i].0.max(names[i - 1].0 + 1);
        }
        let mut limit = height - 1;
        for name in names.iter_mut().rev() {
            name.0 = name.0.min(limit);
            limit = name.0 - 1;
        }
        for (row, text, style) in names {
            if let Ok(row) = u16::try_from(row) {
                write(buf, beside, row, &Line::styled(clip(&text, usize::from(beside.width)), style));
            }
        }
    }

    fn draw_legend_above(&self, buf: &mut Buffer, area: Rect) {
        let spans: Vec<Span<'_>> = self.legend().map(|(text, series, _)| Span::styled(text, series.style)).collect();
        write(buf, area, 0, &Line::from(spans));
    }
}

/// The smallest of 1, 2, 2.5, 5 times a power of ten that is not below `highest`.
fn ceiling(highest: f64) -> f64 {
    if highest <= 1.0 || !highest.is_finite() {
        return 1.0;
    }
    let power = 10_f64.powf(highest.log10().floor());
    [1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 7.5, 10.0]
        .iter()
        .map(|step| step * power)
        .find(|step| *step >= highest)
        .unwrap_or(highest)
}

/// The length of a window: `30s`, `15m`, `6h`, `15d`.
pub fn window_name(ms: i64) -> String {
    let minutes = ms / 60_000;
    match minutes {
        0 => format!("{}s", ms / 1000),
        m if m % 1_440 == 0 && m > 1_440 => format!("{}d", m / 1_440),
        m if m % 60 == 0 => format!("{}h", m / 60),
        m => format!("{m}m"),
    }
}

fn column(at: i64, from: i64, to: i64, columns: u32) -> u32 {
    let share = (at - from) as f64 / (to - from).max(1) as f64;
    ((share * f64::from(columns)) as u32).min(columns.saturating_sub(1))
}

/// Dots, several to a cell in braille, one to a cell in ASCII.
struct Canvas {
    width: u32,
    height: u32,
    per_x: u32,
    per_y: u32,
    cells: Vec<(u8, usize, Style)>,
}

impl Canvas {
    fn new(width: u16, height: u16, braille: bool) -> Self {
        let (per_x, per_y) = if braille { (2, 4) } else { (1, 1) };
        let cells = vec![(0, 0, Style::new()); usize::from(width) * usize::from(height)];
        Self { width: u32::from(width) * per_x, height: u32::from(height) * per_y, per_x, per_y, cells }
    }

    fn dot(&mut self, x: u32, y: u32, series: usize, style: Style) {
        // Dots of a braille cell, by column and row (Unicode 2800).
        const BITS: [[u8; 4]; 2] = [[0x01, 0x02, 0x04, 0x40], [0x08, 0x10, 0x20, 0x80]];
        if x >= self.width || y >= self.height {
            return;
        }
        let at = (y / self.per_y) * (self.width / self.per_x) + x / self.per_x;
        if let Some(cell) = self.cells.get_mut(at as usize) {
            cell.0 |= BITS[(x % self.per_x) as usize][(y % self.per_y) as usize];
            cell.1 = series;
            cell.2 = style;
        }
    }

    fn draw(&mut self, series: &Series<'_>, number: usize, (from, to): (i64, i64), top: f64) {
        let height = self.height;
        let y_of = |value: f64| {
            let share = (value / top).clamp(0.0, 1.0);
            ((1.0 - share) * f64::from(height - 1)).round() as u32
        };
        match series.shape {
            Shape::Line(gap) => {
                let mut before: Option<(i64, u32, u32)> = None;
                for (at, x, value) in self.columns(series, from, to) {
                    let y = y_of(value);
                    match before {
                        Some((was, x0, y0)) if at - was <= gap.max((to - from) / i64::from(self.width) * 2) => {
                            self.line((x0, y0), (x, y), number, series.style);
                        }
                        _ => self.dot(x, y, number, series.style),
                    }
                    before = Some((at, x, y));
                }
            }
            Shape::Step(hold) => {
                let mut last: Option<u32> = None;
                for (i, (at, value)) in series.points.iter().enumerate() {
                    let next = series.points.get(i + 1).map_or(i64::MAX, |p| p.0);
                    let until = next.min(at.saturating_add(hold)).min(to);
                    if until <= from || *at >= to {
                        continue;
                    }
                    let y = y_of(*value);
                    let (x0, x1) = (column((*at).max(from), from, to, self.width), column(until, from, to, self.width));
                    if let Some(y0) = last.filter(|y0| *y0 != y) {
                        self.line((x0, y0), (x0, y), number, series.style);
                    }
                    let solid = self.per_x == 1;
                    for x in (x0..=x1).filter(|x| solid || x % 4 != 3) {
                        self.dot(x, y, number, series.style);
                    }
                    last = (until == next).then_some(y);
                }
            }
        }
    }

    /// One mean value for each column that has points.
    fn columns(&self, series: &Series<'_>, from: i64, to: i64) -> Vec<(i64, u32, f64)> {
        let mut out: Vec<(i64, u32, f64)> = Vec::new();
        let mut n = 0.0;
        for (at, value) in series.points.iter().filter(|p| p.0 >= from && p.0 <= to) {
            let x = column(*at, from, to, self.width);
            match out.last_mut() {
                Some(last) if last.1 == x => {
                    n += 1.0;
                    last.0 = *at;
                    last.2 += (value - last.2) / n;
                }
                _ => {
                    n = 1.0;
                    out.push((*at, x, *value));
                }
            }
        }
        out
    }

    fn line(&mut self, (x0, y0): (u32, u32), (x1, y1): (u32, u32), series: usize, style: Style) {
        let (dx, dy) = (i64::from(x1) - i64::from(x0), i64::from(y1) - i64::from(y0));
        let steps = dx.abs().max(dy.abs()).max(1);
        for step in 0..=steps {
            let x = i64::from(x0) + (dx * step + dx.signum() * steps / 2) / steps;
            let y = i64::from(y0) + (dy * step + dy.signum() * steps / 2) / steps;
            self.dot(x as u32, y as u32, series, style);
        }
    }

    fn paint(&self, buf: &mut Buffer, plot: Rect) {
        // In ASCII the character tells the series.
        const POINTS: [&str; 4] = ["-", "*", "+", "o"];
        for (i, (dots, series, style)) in self.cells.iter().enumerate().filter(|(_, cell)| cell.0 != 0) {
            let (x, y) = (i as u16 % plot.width, i as u16 / plot.width);
            let cell = &mut buf[(plot.x + x, plot.y + y)];
            if self.per_x == 2 {
                cell.set_char(char::from_u32(0x2800 + u32::from(*dots)).unwrap_or(' '));
            } else {
                cell.set_symbol(POINTS[series % POINTS.len()]);
            }
            cell.set_style(*style);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(chart: &Chart<'_>, width: u16, height: u16, unicode: bool) -> String {
        let area = Rect::new(0, 0, width, height);
        let mut buf = Buffer::empty(area);
        chart.draw(&mut buf, area, &Theme::plain(unicode));
        let rows = (0..height).map(|y| (0..width).map(|x| buf[(x, y)].symbol()).collect::<String>());
        rows.map(|row| row.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
    }

    fn chart() -> Chart<'static> {
        let used = (0..60).filter(|s| !(20..35).contains(s)).map(|s| (s * 1000, if s < 20 { 60.0 } else { 120.0 }));
        Chart {
            from_ms: 0,
            to_ms: 60_000,
            series: vec![
                Series {
                    name: "provisioned",
                    style: Style::new(),
                    shape: Shape::Step(5000),
                    points: (0..60).map(|s| (s * 1000, if s < 40 { 130.0 } else { 195.0 })).collect(),
                },
                Series { name: "used", style: Style::new(), shape: Shape::Line(5000), points: used.collect() },
            ],
            marks: Some(("throttled", vec![5000, 6000])),
            notable: Vec::new(),
            start: "-1m".to_owned(),
            end: "now".to_owned(),
            empty: "no sample in this window",
            cursor: None,
        }
    }

    #[test]
    fn a_chart_has_axes_a_legend_its_window_and_its_gaps() {
        insta::assert_snapshot!(drawn(&chart(), 60, 9, true));
    }

    #[test]
    fn without_unicode_each_series_has_its_own_character() {
        insta::assert_snapshot!(drawn(&chart(), 60, 9, false));
    }

    #[test]
    fn a_narrow_chart_has_its_legend_above() {
        insta::assert_snapshot!(drawn(&chart(), 34, 8, true));
    }

    #[test]
    fn the_crosshair_tells_the_values_of_every_line_at_its_moment() {
        let mut pointed = chart();
        let used = &pointed.series[1];
        assert_eq!(pointed.value_at(used, 10_400), Some(60.0));
        assert_eq!(pointed.value_at(used, 27_000), None, "in a gap there is no value");
        assert_eq!(pointed.value_at(&pointed.series[0], 39_999), Some(130.0));
        assert_eq!(pointed.value_at(&pointed.series[0], 64_000), None, "a value holds only so long");
        pointed.cursor = Some((45_000, "00:00:45".to_owned()));
        pointed.notable = vec![Notable { at_ms: 40_000, glyph: "◆", style: Style::new() }];
        insta::assert_snapshot!(drawn(&pointed, 60, 9, true));
    }

    #[test]
    fn the_top_of_the_axis_is_a_round_number() {
        assert!((ceiling(130.0) - 150.0).abs() < 1e-9);
        assert!((ceiling(0.0) - 1.0).abs() < 1e-9);
        assert!((ceiling(1389.0) - 1500.0).abs() < 1e-9);
        assert!((ceiling(195.0) - 200.0).abs() < 1e-9);
    }

    #[test]
    fn one_burst_does_not_press_the_rest_against_the_floor() {
        let mut burst = chart();
        assert_eq!(burst.scale(), (200.0, None));
        burst.series[1].points[3].1 = 5000.0;
        assert_eq!(burst.scale(), (300.0, Some(5000.0)));
        assert!(drawn(&burst, 60, 9, true).contains("peak 5.00k"));
    }

    #[test]
    fn a_chart_without_a_point_in_its_window_says_so_and_one_with_a_line_at_zero_does_not() {
        let mut empty = chart();
        assert!(!drawn(&empty, 60, 9, true).contains("no sample"));
        for series in &mut empty.series {
            series.points = vec![(-60_000, 5.0), (90_000, 5.0)];
        }
        assert!(drawn(&empty, 60, 9, true).contains("no sample in this window"));
        empty.series[1].points = vec![(30_000, 0.0)];
        assert!(!drawn(&empty, 60, 9, true).contains("no sample"));
        // What a period of CloudWatch's said holds until its end.
        empty.series[1].points.clear();
        empty.series[0].points = vec![(-2_000, 130.0)];
        assert!(!drawn(&empty, 60, 9, true).contains("no sample"));
    }

    #[test]
    fn no_size_and_no_value_panics() {
        let mut odd = chart();
        odd.series[1].points = vec![(0, f64::NAN), (1000, f64::INFINITY), (30_000, -5.0)];
        let empty = Chart { series: Vec::new(), ..odd.clone() };
        odd.notable = vec![Notable { at_ms: 59_999, glyph: "◆", style: Style::new() }];
        for cursor in [None, Some(0), Some(60_000), Some(-5), Some(i64::MAX)] {
            odd.cursor = cursor.map(|at| (at, "14:03:27".to_owned()));
            for width in 0..50 {
                for height in 0..9 {
                    drawn(&odd, width, height, true);
                    drawn(&empty, width, height, true);
                }
            }
        }
    }
}
