//! A chart as SVG text: axes with round ticks, units, a legend, the window, gaps as gaps, and marks below the lines.
//!
//! ```text
//!  records/s                       ── read  ╌╌ written
//!   2k ┤        ╭──╮
//!   1k ┤  ╭─────╯  ╰──    ──╮
//!    0 ┼───────────────────────
//!         ▾▾ ▾   throttled
//!      14:00    14:05    14:10
//! ```
//!
//! A pure function of its series. Lines differ by dashes as well as by colour; the colours are Okabe and Ito's.

use std::fmt::Write as _;

use super::text::{format, html};

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 240.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 44.0;
const BOTTOM: f64 = 40.0;

/// The looks of every chart. A page that holds charts has it once. Colours stand where they are used, not in variables:
/// many viewers of pictures know none.
pub const STYLE: &str = "\
.sg{font:12px system-ui,sans-serif}.sg text{fill:#333}.sg .r{stroke:#ddd}.sg .x{stroke:#333}\
.sg path{fill:none;stroke-width:1.6}.sg .l0{stroke:#0072b2}.sg .l1{stroke:#d55e00;stroke-dasharray:5 3}\
.sg .l2{stroke:#009e73;stroke-dasharray:1.5 2.5}.sg .m{fill:#a33}.sg .t{font-weight:600}\
@media(prefers-color-scheme:dark){.sg text{fill:#ccc}.sg .r{stroke:#3a3d42}.sg .x{stroke:#ccc}\
.sg .l0{stroke:#56b4e9}.sg .l1{stroke:#e69f00}.sg .l2{stroke:#2fc796}.sg .m{fill:#ff8a80}}";

/// A chart of some series over one window. Times are ms since epoch.
#[derive(Clone, Debug, Default)]
pub struct Chart {
    /// What it shows.
    pub title: String,
    /// The unit of its values.
    pub unit: &'static str,
    /// Start of the window.
    pub from_ms: i64,
    /// End of the window.
    pub to_ms: i64,
    /// What is drawn: three at the most.
    pub series: Vec<Series>,
    /// Moments that are marked below the lines, with the marks' name.
    pub marks: Option<(&'static str, Vec<i64>)>,
}

/// One line of a chart.
#[derive(Clone, Debug, Default)]
pub struct Series {
    /// As the legend calls it.
    pub name: String,
    /// Each value holds until the next one: a setting, not a measurement.
    pub is_step: bool,
    /// Values over even parts of the window; `None` is a gap.
    pub values: Vec<Option<f64>>,
}

impl Chart {
    /// The SVG, with its looks inside when it stands `alone`.
    pub fn svg(&self, alone: bool) -> String {
        let peak = self.series.iter().flat_map(|s| &s.values).filter_map(|v| *v).filter(|v| v.is_finite());
        let (step, top) = scale(peak.fold(0.0, f64::max));
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" class=\"sg\" role=\"img\">\
             <title>{}</title>",
            html(&self.title)
        );
        if alone {
            let _ = write!(out, "<style>{STYLE}</style>");
        }
        let _ = write!(out, "<text class=\"t\" x=\"0\" y=\"14\">{}</text>", html(&self.title));
        let _ = write!(out, "<text x=\"0\" y=\"{}\">{}</text>", TOP - 14.0, html(self.unit));
        value_axis(step, top, &mut out);
        self.time_axis(&mut out);
        for (i, series) in self.series.iter().enumerate() {
            let path = self.path(series, top);
            if !path.is_empty() {
                let _ = write!(out, "<path class=\"l{}\" d=\"{path}\"/>", i % 3);
            }
        }
        self.legend(&mut out);
        self.draw_marks(&mut out);
        if self.series.iter().all(|series| series.values.iter().all(Option::is_none)) {
            let _ = write!(
                out,
                "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">nothing was measured</text>",
                f64::midpoint(LEFT, WIDTH),
                HEIGHT / 2.0
            );
        }
        out.push_str("</svg>");
        out
    }

    fn x(&self, at_ms: f64) -> f64 {
        let window = (self.to_ms - self.from_ms).max(1) as f64;
        LEFT + (at_ms - self.from_ms as f64) / window * (WIDTH - LEFT - RIGHT)
    }

    fn time_axis(&self, out: &mut String) {
        let (bottom, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
        let _ = write!(out, "<line class=\"x\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{bottom}\" y2=\"{bottom}\"/>");
        let (every, form) = ticks(self.to_ms - self.from_ms);
        let mut at = self.from_ms.div_euclid(every) * every;
        while at <= self.to_ms {
            if at >= self.from_ms {
                let x = self.x(at as f64);
                let anchor = if x > right - 30.0 { "end" } else { "middle" };
                let _ = write!(
                    out,
                    "<line class=\"x\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{bottom}\" y2=\"{}\"/>\
                     <text x=\"{x:.1}\" y=\"{}\" text-anchor=\"{anchor}\">{}</text>",
                    bottom + 4.0,
                    bottom + 30.0,
                    format(at, form)
                );
            }
            at += every;
        }
    }

    fn path(&self, series: &Series, top: f64) -> String {
        let mut path = String::new();
        let part = (self.to_ms - self.from_ms) as f64 / series.values.len().max(1) as f64;
        let mut last: Option<f64> = None;
        for (i, value) in series.values.iter().enumerate() {
            let Some(value) = value.filter(|value| value.is_finite()) else {
                last = None;
                continue;
            };
            let start = self.from_ms as f64 + part * i as f64;
            let (x0, x1, y1) = (self.x(start), self.x(start + part), y(value, top));
            match (series.is_step, last) {
                (true, Some(_)) => {
                    let _ = write!(path, "V{y1:.1}H{x1:.1}");
                }
                (true, None) => {
                    let _ = write!(path, "M{x0:.1} {y1:.1}H{x1:.1}");
                }
                (false, Some(_)) => {
                    let _ = write!(path, "L{:.1} {y1:.1}", f64::midpoint(x0, x1));
                }
                // A value alone between gaps is a dash, not an invisible point.
                (false, None) => {
                    let alone = series.values.get(i + 1).is_none_or(Option::is_none);
                    let from = if alone { x0 } else { f64::midpoint(x0, x1) };
                    let _ = write!(path, "M{from:.1} {y1:.1}");
                    if alone {
                        let _ = write!(path, "L{x1:.1} {y1:.1}");
                    }
                }
            }
            last = Some(value);
        }
        path
    }

    fn legend(&self, out: &mut String) {
        let mut x = WIDTH - RIGHT;
        for (i, series) in self.series.iter().enumerate().rev() {
            let _ = write!(
                out,
                "<text x=\"{x:.1}\" y=\"{}\" text-anchor=\"end\">{}</text>",
                TOP - 14.0,
                html(&series.name)
            );
            x -= series.name.chars().count() as f64 * 6.6 + 8.0;
            let line = TOP - 18.0;
            let _ = write!(out, "<path class=\"l{}\" d=\"M{:.1} {line}H{x:.1}\"/>", i % 3, x - 22.0);
            x -= 40.0;
        }
    }

    fn draw_marks(&self, out: &mut String) {
        let Some((name, marks)) = self.marks.as_ref().filter(|(_, marks)| !marks.is_empty()) else { return };
        let above = HEIGHT - BOTTOM + 6.0;
        for at in marks.iter().filter(|at| (self.from_ms..=self.to_ms).contains(at)) {
            let x = self.x(*at as f64);
            let _ = write!(out, "<path class=\"m\" d=\"M{:.1} {above}h6l-3 7z\"/>", x - 3.0);
        }
        let _ = write!(out, "<text class=\"m\" x=\"0\" y=\"{}\">▾ {}</text>", above + 8.0, html(name));
    }
}

fn y(value: f64, top: f64) -> f64 {
    HEIGHT - BOTTOM - value / top * (HEIGHT - BOTTOM - TOP)
}

/// The distance of ticks and the top of an axis that holds `peak`: 1, 2 or 5 times a power of ten, four to six of them.
fn scale(peak: f64) -> (f64, f64) {
    if peak <= 0.0 || !peak.is_finite() {
        return (1.0, 1.0);
    }
    let rough = peak / 5.0;
    let power = 10_f64.powf(rough.log10().floor());
    let step =
        [1.0, 2.0, 5.0, 10.0].into_iter().map(|n| n * power).find(|step| *step >= rough * 0.999).unwrap_or(rough);
    (step, step * (peak / step).ceil().max(1.0))
}

/// How far apart the ticks of a window of `window_ms` are, ms, and how they are labelled.
fn ticks(window_ms: i64) -> (i64, &'static str) {
    const SECOND: i64 = 1_000;
    const MINUTE: i64 = 60 * SECOND;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    let seconds = [1, 2, 5, 10, 15, 30].map(|n| (n * SECOND, "%H:%M:%S"));
    let minutes = [1, 2, 5, 10, 15, 30].map(|n| (n * MINUTE, "%H:%M"));
    let hours = [1, 2, 3].map(|n| (n * HOUR, "%H:%M"));
    let parts = [6, 12].map(|n| (n * HOUR, "%b %d %H:%M"));
    let days = [1, 2, 7, 14, 30].map(|n| (n * DAY, "%b %d"));
    let all = seconds.into_iter().chain(minutes).chain(hours).chain(parts).chain(days);
    let mut longest = (365 * DAY, "%Y-%m-%d");
    for (every, form) in all {
        if window_ms / every < 9 {
            longest = (every, form);
            break;
        }
    }
    longest
}

/// A tick's value: `0`, `0.5`, `250`, `1.5k`, `20M`.
fn short(value: f64) -> String {
    let (scaled, unit) = match value {
        v if v >= 1e9 => (v / 1e9, "G"),
        v if v >= 1e6 => (v / 1e6, "M"),
        v if v >= 1e3 => (v / 1e3, "k"),
        v => (v, ""),
    };
    let rounded = (scaled * 1000.0).round() / 1000.0;
    format!("{rounded}{unit}")
}

fn value_axis(step: f64, top: f64, out: &mut String) {
    let right = WIDTH - RIGHT;
    let mut value = 0.0;
    while value <= top + step / 2.0 {
        let y = y(value, top);
        let _ = write!(
            out,
            "<line class=\"r\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
             <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            LEFT - 6.0,
            y + 4.0,
            short(value)
        );
        value += step;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(values: &[Option<f64>]) -> Chart {
        Chart {
            title: "records".into(),
            unit: "records/s",
            from_ms: 0,
            to_ms: values.len() as i64 * 1_000,
            series: vec![Series { name: "read".into(), is_step: false, values: values.to_vec() }],
            marks: None,
        }
    }

    #[test]
    fn ticks_are_round_and_hold_the_peak() {
        assert_eq!(scale(0.0), (1.0, 1.0));
        assert_eq!(scale(195.0), (50.0, 200.0));
        assert_eq!(scale(100.0), (20.0, 100.0));
        assert_eq!(scale(1_389.0), (500.0, 1_500.0));
        for peak in [0.03, 1.0, 7.7, 24.9, 1e3, 123_456.0] {
            let (step, top) = scale(peak);
            assert!(top >= peak && top < peak + step && (2.0..=6.0).contains(&(top / step).round()), "{peak}");
        }
        assert_eq!([short(0.5), short(1_500.0), short(2e7)], ["0.5", "1.5k", "20M"]);
    }

    #[test]
    fn a_window_has_few_ticks_whatever_its_length() {
        for window in [1_000_i64, 59_000, 240_000, 3_600_000, 50_400_000, 604_800_000, 31_536_000_000] {
            let (every, _) = ticks(window);
            assert!((1..=9).contains(&(window / every).max(1)), "{window}: every {every}");
        }
        assert_eq!(ticks(14 * 3_600_000).0, 2 * 3_600_000);
    }

    #[test]
    fn a_gap_breaks_the_line() {
        let whole = chart(&[Some(1.0), Some(2.0), Some(3.0), Some(2.0)]);
        let broken = chart(&[Some(1.0), Some(2.0), None, Some(2.0)]);
        let pieces = |chart: &Chart| chart.path(&chart.series[0], 3.0).matches('M').count();
        assert_eq!((pieces(&whole), pieces(&broken)), (1, 2));
        assert_eq!(pieces(&chart(&[None, Some(f64::NAN), None])), 0);
        assert!(chart(&[None, None]).svg(true).contains("nothing was measured"));
    }

    #[test]
    fn a_step_holds_its_value_until_the_next() {
        let mut chart = chart(&[Some(130.0), Some(195.0)]);
        chart.series[0].is_step = true;
        let path = chart.path(&chart.series[0], 200.0);
        assert!(path.contains('H') && path.contains('V') && !path.contains('L'), "{path}");
    }

    #[test]
    fn names_in_a_picture_are_escaped_and_it_stands_alone_when_asked() {
        let mut chart = chart(&[Some(1.0)]);
        chart.title = "</title><script>".into();
        chart.marks = Some(("throttled", vec![500]));
        let svg = chart.svg(true);
        assert!(!svg.contains("<script>") && svg.contains("prefers-color-scheme:dark") && svg.contains("▾ throttled"));
        assert!(!chart.svg(false).contains("<style>"));
    }
}
