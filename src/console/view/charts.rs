//! The charts of a screen: what they show, apart from where they are drawn, so that the crosshair and the exports see the
//! same lines as the eye.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;

use super::{job, replica, stream, table};
use crate::console::anomaly::{self, Anomaly, Kind};
use crate::console::app::{App, Screen};
use crate::console::mouse::{Target, mark};
use crate::console::range::{End, Span};
use crate::console::widget::chart::{Chart, Notable, Series};
use crate::console::widget::quantity::{clock, date};
use crate::jobs::journal::Job;

/// A chart with its name.
#[derive(Clone, Debug)]
pub struct Titled<'a> {
    /// What it shows, with the unit.
    pub title: String,
    /// Its lines.
    pub chart: Chart<'a>,
}

/// The charts on screen, in their order.
pub fn on_screen(app: &App) -> Vec<Titled<'_>> {
    match &app.screen {
        Screen::Job(id) => app.job(id).map_or_else(Vec::new, |job| match replica::charts(app, job) {
            Some(charts) => charts,
            None => job::charts(app, job),
        }),
        Screen::Table(name) => table::charts(app, name),
        Screen::Stream(_) => stream::charts(app),
        _ => Vec::new(),
    }
}

/// The moments that lines on screen have points at within `span`, in order.
pub fn moments(app: &App, span: Span) -> Vec<i64> {
    let charts = on_screen(app);
    let points = charts.iter().flat_map(|titled| &titled.chart.series).flat_map(|series| &series.points);
    let mut moments: Vec<i64> = points.map(|(at, _)| *at).filter(|at| span.contains(*at)).collect();
    moments.sort_unstable();
    moments.dedup();
    moments
}

/// What stands out in what the screen's charts show, in order of time, also outside of the window.
pub fn anomalies(app: &App) -> Vec<Anomaly> {
    match &app.screen {
        Screen::Job(id) => app.histories.get(id).map_or_else(Vec::new, anomaly::of_job),
        Screen::Table(name) => {
            let Some(chart) = app.charts.get(name) else { return Vec::new() };
            let index = app.selected_index().map(|index| index.name.as_str());
            let Some(lines) = chart.lines(index) else { return Vec::new() };
            let named = |mut one: Anomaly, what: &str| {
                one.words = format!("{what} {}", one.words);
                one
            };
            let mut all: Vec<Anomaly> = Vec::new();
            all.extend(
                anomaly::steps(lines.write_provisioned.iter().copied()).into_iter().map(|one| named(one, "write")),
            );
            all.extend(
                anomaly::steps(lines.read_provisioned.iter().copied()).into_iter().map(|one| named(one, "read")),
            );
            all.extend(anomaly::refusals(&lines.writes_refused, chart.period_ms, "writes"));
            all.extend(anomaly::refusals(&lines.reads_refused, chart.period_ms, "reads"));
            all.sort_by_key(|one| one.at_ms);
            all
        }
        _ => Vec::new(),
    }
}

/// What happened at the crosshair, or as near to it as a column of a chart is wide.
pub fn at_cursor(app: &App) -> Option<String> {
    let at = app.time.cursor_ms?;
    let near = app.span().window_ms() / 100;
    let there = anomalies(app).into_iter().filter(|one| one.at_ms - near <= at && at <= one.until_ms + near);
    let words: Vec<String> = there.map(|one| format!("{}: {}", one.kind.as_str(), one.words)).collect();
    (!words.is_empty()).then(|| format!("{}  {}", moment_words(app, at), words.join("; ")))
}

/// The list of what stands out, newest last.
pub fn anomaly_lines(app: &App) -> Vec<String> {
    let unicode = app.theme.glyphs.braille;
    let line = |one: &Anomaly| {
        let (at, kind) = (moment_words(app, one.at_ms), one.kind);
        format!("{at}  {} {:<9}  {}", kind.glyph(unicode), kind.as_str(), one.words)
    };
    anomalies(app).iter().map(line).collect()
}

/// Why a chart of a job's samples is empty.
pub(super) fn no_sample(app: &App, job: &Job) -> &'static str {
    match app.time.end {
        End::Live if job.state.is_live() => "no sample yet: its worker leaves one each second",
        _ => "no worker ran in this window",
    }
}

/// Why a chart of CloudWatch's lines is empty; `is_known` is whether it has answered.
pub(super) fn no_minute(app: &App, is_known: bool) -> &'static str {
    match (is_known, app.time.end) {
        (false, _) => "asking CloudWatch",
        (true, End::Live) => "nothing from CloudWatch yet",
        (true, _) => "CloudWatch has nothing in this window",
    }
}

/// A chart of `series` over `span`; without a point it says `empty`.
pub(super) fn framed<'a>(
    app: &App,
    span: Span,
    series: Vec<Series<'a>>,
    marks: Option<(&'a str, Vec<i64>)>,
    empty: &'a str,
) -> Chart<'a> {
    let (start, end) = app.axis_words(span);
    let cursor = app.time.cursor_ms.map(|at| (at, moment_words(app, at)));
    let unicode = app.theme.glyphs.braille;
    // Refusals are marked one by one where a chart has marks. A chart that is held still shows nothing that ended since.
    let is_held = matches!(app.time.end, End::Frozen(_));
    let is_shown = |one: &Anomaly| {
        span.contains(one.at_ms)
            && (marks.is_none() || one.kind != Kind::Throttled)
            && (!is_held || one.until_ms <= span.to_ms)
    };
    let notable = |one: Anomaly| Notable {
        at_ms: one.at_ms,
        glyph: one.kind.glyph(unicode),
        style: if one.kind == Kind::Throttled { app.theme.warn } else { app.theme.accent },
    };
    let notable = anomalies(app).into_iter().filter(is_shown).map(notable).collect();
    Chart { from_ms: span.from_ms, to_ms: span.to_ms, series, marks, notable, start, end, empty, cursor }
}

/// A moment to the second, with its day where that is not today's.
pub fn moment_words(app: &App, at_ms: i64) -> String {
    if (app.now_ms - at_ms).abs() < 12 * 3_600_000 {
        clock(at_ms)
    } else {
        format!("{}:{:02}", date(at_ms), at_ms.div_euclid(1000).rem_euclid(60))
    }
}

/// Draws a chart.
pub(super) fn draw(buf: &mut Buffer, area: Rect, app: &App, chart: &Chart<'_>) {
    if let Some(plot) = chart.draw(buf, area, &app.theme) {
        mark(plot, Target::Plot(chart.from_ms, chart.to_ms));
    }
}

/// What a chart's title says of its time, so that a past that is looked at is never taken for now.
pub(super) fn time_line(app: &App) -> Line<'static> {
    let style = if app.time.end == End::Live { ratatui::style::Style::new() } else { app.theme.warn };
    Line::styled(format!(" {} ", app.time_words()), style)
}
