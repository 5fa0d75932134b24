//! One job: how far it is, what limits it, and three charts of why.
//!
//! ```text
//! ┌ restore r-7f3a   historical ← s3://backups/h.csv via restore ─────────────────── running ┐
//! │ ███████████████▌────────────────────  46 %   23,120 of 50,000    3m 24s left   limit: …  │
//! │ read 24,000   on stream 23,980   written 23,120   dead 2   resent 41   throttled 38/s     │
//! ├ records/s ──────────── 15m ─┬ shard lag ───────────────┬ write capacity, WCU ─────────────┤
//! │                             │                          │                                  │
//! ├─────────────────────────────┴──────────────────────────┴──────────────────────────────────┤
//! │ 14:03:21  raised historical from 130 to 195 WCU                                           │
//! └───────────────────────────────────────────────────────────────────────────────────────────┘
//! ```

use std::collections::HashSet;

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Widget as _};

use super::charts::{self, Titled};
use super::jobs::state_style;
use super::streams::BEHIND_MS;
use super::{boxed, say};
use crate::console::app::App;
use crate::console::history::History;
use crate::console::load::Progress;
use crate::console::range::End;
use crate::console::widget::bar::bar;
use crate::console::widget::chart::{Chart, Series, Shape};
use crate::console::widget::quantity::{bytes, clock, count, date, duration, exact, percent, rate};
use crate::console::widget::text::{clip, shown};
use crate::console::widget::{below, write, write_right};
use crate::flow::Counters;
use crate::jobs::JobId;
use crate::jobs::journal::{Job, Note};
use crate::jobs::spec::{Kind, Spec};

/// From this width on, columns, everything has its place beside everything else.
const WIDE: u16 = 100;
/// The bar is never shorter, columns.
const SHORTEST_BAR: usize = 24;

/// Draws it.
pub fn draw(buf: &mut Buffer, area: Rect, app: &App, id: &JobId) {
    let Some(job) = app.job(id) else {
        let words = if app.jobs.is_some() {
            format!(
                "There is no job {id} in the journal: {} goes back, sluice jobs lists those there are.",
                super::back_key(app)
            )
        } else {
            super::unread(app).to_owned()
        };
        return say(buf, area, &app.theme, &words);
    };
    let progress = app.progress(job);
    if area.width < 60 || area.height < 11 {
        return draw_essential(buf, area, app, job, &progress);
    }
    let state = Line::styled(format!(" {} ", job.state.as_str()), state_style(&app.theme, job));
    let room = usize::from(area.width).saturating_sub(job.state.as_str().len() + 6);
    let title = clip(&title(job, room), room);
    let inner = boxed(buf, area, &app.theme, Line::styled(format!(" {title} "), app.theme.strong), state);
    let limit_is_said = draw_bar(buf, inner, app, job, &progress);
    let counts = counts_lines(app, job, &progress, inner.width, !limit_is_said);
    for (i, line) in counts.iter().enumerate() {
        write(buf, inner, 1 + i as u16, line);
    }
    let top = 1 + counts.len() as u16;
    let notes = if inner.height >= 28 { 6 } else { 3.min(inner.height.saturating_sub(top + 7)) };
    let charts = below(inner, top);
    let charts = Rect { height: charts.height.saturating_sub(notes), ..charts };
    draw_charts(buf, charts, app, job);
    draw_notes(buf, below(inner, inner.height - notes), app, job);
}

/// What the job is about; where there is no room for it, without the folders of its source.
fn title(job: &Job, room: usize) -> String {
    let whole = format!("{} {}   {}", job.kind(), job.id, shown(&job.spec.title()));
    match job.spec.sources() {
        [one] if Span::raw(&whole).width() > room => match one.rsplit_once('/') {
            Some((_, name)) => whole.replace(&shown(one), &format!("…/{}", shown(name))),
            None => whole,
        },
        _ => whole,
    }
}

/// The limit that binds now, if the job is in somebody's hands.
fn limit(job: &Job) -> Option<String> {
    (job.state.is_live() && !job.limit.is_empty()).then(|| shown(&job.limit))
}

/// Below 60×15: the bar and three numbers.
fn draw_essential(buf: &mut Buffer, area: Rect, app: &App, job: &Job, progress: &Progress) {
    let theme = &app.theme;
    let share = progress.total.map(|total| percent(progress.settled, total));
    let title = Line::from(vec![
        Span::styled(job.id.0.clone(), theme.strong),
        Span::raw(" "),
        Span::styled(job.state.as_str(), state_style(theme, job)),
        Span::raw(format!("  {}", shown(&job.spec.title()))),
    ]);
    let mut lines = vec![title];
    if area.width > 10 {
        let label = share.map_or(String::new(), |share| format!(" {share} %"));
        let width = usize::from(area.width).saturating_sub(label.len());
        let mut spans =
            bar(theme, progress.settled as f64, progress.total.unwrap_or(0) as f64, width, theme.accent, true);
        spans.push(Span::styled(label, theme.strong));
        lines.push(Line::from(spans));
    }
    lines.push(Line::raw(format!("{} records/s", progress.per_second.map_or("-".to_owned(), rate))));
    let of_a_replica = super::replica::essentials(app, job);
    lines.extend(of_a_replica.into_iter().map(|(words, style)| Line::styled(words, style)));
    lines.push(Line::raw(
        progress.left_ms.map_or("time left unknown".to_owned(), |ms| format!("{} left", duration(ms))),
    ));
    let throttled = Style::new().patch(if progress.throttled >= 0.5 { theme.warn } else { Style::new() });
    lines.push(Line::styled(format!("{} throttled/s", rate(progress.throttled)), throttled));
    if progress.counters.dead > 0 {
        lines.push(Line::styled(format!("{} dead", exact(progress.counters.dead)), theme.bad));
    }
    for (i, line) in lines.iter().enumerate() {
        write(buf, area, i as u16, line);
    }
}

/// Returns true when the limit that binds had room beside the bar.
fn draw_bar(buf: &mut Buffer, inner: Rect, app: &App, job: &Job, progress: &Progress) -> bool {
    let theme = &app.theme;
    let words = match progress.total {
        Some(total) => {
            format!("  {:>3} %   {} of {}", percent(progress.settled, total), exact(progress.settled), exact(total))
        }
        None => format!("  {} so far", exact(progress.settled)),
    };
    let mut words = vec![Span::styled(words, theme.strong)];
    if let Some(left) = progress.left_ms {
        words.push(Span::raw(format!("   {} left", duration(left))));
    } else if let (Some(started), Some(ended)) = (job.started_ms, job.ended_ms) {
        let took = if job.active_ms > 0 { job.active_ms } else { ended - started };
        words.push(Span::raw(format!("   took {}", duration(took as f64))));
    }
    let mut words = Line::from(words);
    let mut limit_is_here = false;
    if let Some(limit) = limit(job) {
        let limit = Line::from(vec![Span::raw("   limit: "), Span::styled(limit, theme.accent)]);
        // It never takes the bar's place: there is another line.
        limit_is_here = words.width() + limit.width() + SHORTEST_BAR <= usize::from(inner.width);
        if limit_is_here {
            words.spans.extend(limit.spans);
        }
    }
    let width = usize::from(inner.width).saturating_sub(words.width() + 3).clamp(8, 50);
    let mut spans = vec![Span::raw(" ")];
    let total = progress.total.unwrap_or(0) as f64;
    spans.extend(bar(theme, progress.settled as f64, total, width, theme.accent, true));
    spans.extend(words.spans);
    write(buf, inner, 0, &Line::from(spans));
    limit_is_here
}

fn counts_lines(app: &App, job: &Job, progress: &Progress, width: u16, with_limit: bool) -> Vec<Line<'static>> {
    let theme = &app.theme;
    let c = &progress.counters;
    let plain = Style::new();
    let mut cells: Vec<(&str, String, Style)> = Vec::new();
    if let Some(limit) = limit(job).filter(|_| with_limit) {
        cells.push(("limit:", limit, theme.accent));
    }
    cells.push(("read", exact(c.read), plain));
    if matches!(&job.spec, Spec::Restore(spec) if spec.stream.is_some()) {
        cells.push(("on stream", exact(c.on_stream), plain));
    }
    match job.kind() {
        Kind::Restore | Kind::Work | Kind::Replicate => cells.push(("written", exact(c.written), plain)),
        // What counts of a backup is what would survive now.
        Kind::Backup => cells.push(("stored", exact(c.written), plain)),
        Kind::Playback => cells.push(("played", exact(c.written + c.on_stream), plain)),
        _ => {}
    }
    if c.deleted > 0 {
        cells.push(("deleted", exact(c.deleted), plain));
    }
    if c.skipped > 0 {
        cells.push(("left alone", exact(c.skipped), plain));
    }
    cells.push(("dead", exact(c.dead), if c.dead > 0 { theme.bad } else { plain }));
    if matches!(job.kind(), Kind::Restore | Kind::Backup | Kind::Work | Kind::Replicate) {
        cells.push(("resent", count(c.retried as f64), plain));
        let throttled =
            if job.state.is_live() { format!("{}/s", rate(progress.throttled)) } else { count(c.throttled as f64) };
        cells.push(("throttled", throttled, if progress.throttled >= 0.5 { theme.warn } else { plain }));
        cells.push(if job.kind() == Kind::Backup {
            ("RCU", count(c.rcu), plain)
        } else {
            ("WCU", count(c.wcu), plain)
        });
    }
    cells.push(("bytes", bytes(c.bytes as f64), plain));
    if let Some(rate_cap) = job.rate {
        cells.push(("capped at", format!("{}/s", rate(rate_cap)), theme.accent));
    }
    let mut lines = vec![Line::default()];
    for (name, value, style) in cells {
        let cell = [Span::styled(format!(" {name} "), theme.dim), Span::styled(value, style), Span::raw("  ")];
        let wide: usize = cell.iter().map(Span::width).sum();
        let line = lines.last_mut().expect("begun with one line, and only pushed to");
        if line.width() + wide > usize::from(width) {
            lines.push(Line::from(cell.to_vec()));
        } else {
            line.spans.extend(cell);
        }
    }
    lines
}

fn draw_charts(buf: &mut Buffer, area: Rect, app: &App, job: &Job) {
    if area.height < 4 || super::verify::draw(buf, area, app, job) || super::replica::draw(buf, area, app, job) {
        return;
    }
    let empty = History::default();
    let past = app.histories.get(&job.id).unwrap_or(&empty);
    let has_shards = past.newest.as_ref().is_some_and(|sample| !sample.shards.is_empty());
    let writes = matches!(job.kind(), Kind::Restore | Kind::Work);
    let constraints: Vec<Constraint> = match (writes, has_shards || !past.holders.is_empty(), area.width >= WIDE) {
        (false, ..) if job.spec.table_here().is_empty() => vec![Constraint::Fill(1)],
        (false, ..) => vec![Constraint::Fill(1), Constraint::Fill(1)],
        (true, true, true) => vec![Constraint::Fill(10), Constraint::Fill(7), Constraint::Fill(11)],
        (true, ..) => vec![Constraint::Fill(1), Constraint::Fill(1)],
    };
    let areas = Layout::horizontal(constraints).split(area);
    let worst = past.worst_lag_ms().map_or(String::new(), |ms| format!(" lag {}", duration(ms as f64)));
    let mut time = charts::time_line(app);
    if has_shards && areas.len() == 2 && app.time.end == End::Live {
        time.spans.insert(0, Span::raw(worst));
    }
    let shown = self::charts(app, job);
    let mut shown = shown.iter();
    let mut next = |buf: &mut Buffer, area: Rect, right: Line<'static>, divided: bool| {
        if let Some(titled) = shown.next() {
            let inner = pane(buf, area, app, &titled.title, right, divided);
            charts::draw(buf, inner, app, &titled.chart);
        }
    };
    next(buf, areas[0], time, false);
    if areas.len() == 3 {
        if past.holders.is_empty() {
            let inner = pane(buf, areas[1], app, "shard lag", Line::default(), true);
            draw_shards(buf, inner, app, past);
        } else {
            let summary = Line::raw(format!(" {} ", super::leases::summary(past)));
            let inner = pane(buf, areas[1], app, "readers", summary, true);
            super::leases::draw(buf, inner, app, past);
        }
    }
    if areas.len() > 1 {
        next(buf, areas[areas.len() - 1], Line::default(), true);
    }
}

/// What a job's charts show.
pub(super) fn charts<'a>(app: &'a App, job: &Job) -> Vec<Titled<'a>> {
    let empty = History::default();
    let past = app.histories.get(&job.id).unwrap_or(&empty);
    let writes = matches!(job.kind(), Kind::Restore | Kind::Work);
    let mut charts = vec![Titled { title: "records/s".to_owned(), chart: records_chart(app, job, past) }];
    if writes || !job.spec.table_here().is_empty() {
        let title = if writes { "write capacity, WCU/s" } else { "read capacity, RCU/s" };
        charts.push(Titled { title: title.to_owned(), chart: capacity_chart(app, job, past) });
    }
    charts
}

/// A pane under a line with its title, and a line to its left unless it is the first.
pub(super) fn pane(buf: &mut Buffer, area: Rect, app: &App, title: &str, right: Line<'_>, divided: bool) -> Rect {
    let borders = if divided { Borders::TOP | Borders::LEFT } else { Borders::TOP };
    let mut block = Block::new()
        .borders(borders)
        .border_set(app.theme.glyphs.border)
        .border_style(app.theme.dim)
        .title_top(Line::styled(format!(" {title} "), app.theme.strong));
    if right.width() > 0 {
        block = block.title_top(right.right_aligned());
    }
    let inner = block.inner(area);
    block.render(area, buf);
    inner
}

fn records_chart<'a>(app: &App, job: &Job, past: &History) -> Chart<'a> {
    let span = app.span_of_job(job);
    let from = span.from_ms;
    let line = |name, style, points| Series { name, style, shape: Shape::Line(past.gap_ms()), points };
    let mut series = vec![line("read", app.theme.dim, past.rates(from, |c| c.read as f64))];
    if matches!(&job.spec, Spec::Restore(spec) if spec.stream.is_some()) {
        series.push(line("on stream", Style::new(), past.rates(from, |c| c.on_stream as f64)));
    }
    if matches!(job.kind(), Kind::Restore | Kind::Backup | Kind::Work) {
        let name = if job.kind() == Kind::Backup { "stored" } else { "written" };
        series.push(line(name, app.theme.accent, past.rates(from, |c| c.written as f64)));
    }
    charts::framed(app, span, series, None, charts::no_sample(app, job))
}

/// What our writers consumed each second, what the table consumed in all in each period of CloudWatch's, and what it
/// has: two truths on one chart, so that live traffic beside ours is seen.
fn capacity_chart<'a>(app: &App, job: &Job, past: &History) -> Chart<'a> {
    let span = app.span_of_job(job);
    let from = span.from_ms;
    // What is known of a table is of the context at hand: a job elsewhere may write another of the same name.
    let table = Some(job.spec.table_here()).filter(|_| app.is_here(&job.context));
    let known = table.and_then(|table| app.charts.get(table)).and_then(|chart| Some((chart, chart.lines(None)?)));
    let reads = !matches!(job.kind(), Kind::Restore | Kind::Work);
    let mut has = past.provisioned(from);
    let mut holds = past.gap_ms();
    let mut all = None;
    let mut marks: Vec<i64> = Vec::new();
    if let Some((chart, lines)) = known {
        let (had, used, refused) = if reads {
            (&lines.read_provisioned, &lines.read, &lines.reads_refused)
        } else {
            (&lines.write_provisioned, &lines.written, &lines.writes_refused)
        };
        // Samples tell a change or a refusal to the second: CloudWatch tells of the periods without them.
        let sampled: HashSet<i64> =
            past.seconds.iter().map(|second| second.at_ms.div_euclid(chart.period_ms)).collect();
        let is_told = |at: i64| sampled.contains(&at.div_euclid(chart.period_ms));
        if reads {
            has.clone_from(had);
        } else {
            has.extend(had.iter().filter(|(at, _)| !is_told(*at)));
            has.sort_by_key(|(at, _)| *at);
        }
        holds = chart.provisioned_holds_ms();
        let points = chart.per_second(used, app.now_ms);
        all = Some(Series { name: chart.all_name(), style: Style::new(), shape: Shape::Step(chart.period_ms), points });
        marks.extend(refused.iter().filter(|(at, n)| *n > 0.0 && !is_told(*at)).map(|(at, _)| *at));
    }
    let mut series = vec![Series { name: "provisioned", style: app.theme.dim, shape: Shape::Step(holds), points: has }];
    series.extend(all);
    let of: fn(&Counters) -> f64 = if reads { |c| c.rcu } else { |c| c.wcu };
    // What a reply says of capacity is of the table and its indexes together.
    let has_indexes = table.and_then(|table| app.table(table)).is_some_and(|table| !table.indexes.is_empty());
    series.push(Series {
        name: if has_indexes && !reads { "ours, indexes too" } else { "ours" },
        style: app.theme.accent,
        shape: Shape::Line(past.gap_ms()),
        points: past.rates(from, of),
    });
    let throttled = past.rates(from, |c| c.throttled as f64).into_iter().filter(|(_, n)| *n > 0.0);
    marks.extend(throttled.map(|(at, _)| at));
    charts::framed(app, span, series, Some(("throttled", marks)), charts::no_sample(app, job))
}

fn draw_shards(buf: &mut Buffer, area: Rect, app: &App, past: &History) {
    let theme = &app.theme;
    let Some(sample) = &past.newest else { return };
    let mut shards: Vec<_> = sample.shards.iter().collect();
    let worst = shards.iter().map(|shard| shard.lag_ms).max().unwrap_or(0);
    let rows = usize::from(area.height);
    let hidden = shards.len().saturating_sub(rows);
    if hidden > 0 {
        // Those furthest behind are the ones to see.
        shards.sort_by_key(|shard| std::cmp::Reverse(shard.lag_ms));
        shards.truncate(rows.saturating_sub(1));
        shards.sort_by(|a, b| a.shard.cmp(&b.shard));
    }
    let width = usize::from(area.width).saturating_sub(17);
    for (row, shard) in shards.iter().enumerate() {
        let style = if shard.lag_ms >= BEHIND_MS { theme.warn } else { Style::new() };
        let id = shown(&shard.shard);
        let short = id.get(id.len().saturating_sub(3)..).unwrap_or(&id);
        let mut spans = vec![Span::styled(format!(" {short} "), theme.dim)];
        spans.extend(bar(theme, shard.lag_ms as f64, worst as f64, width, style, false));
        write(buf, area, row as u16, &Line::from(spans));
        let lag = if shard.lag_ms == 0 { "0 s".to_owned() } else { duration(shard.lag_ms as f64) };
        write_right(buf, area, row as u16, &Line::styled(format!("{lag} "), style));
    }
    if hidden > 0 {
        let more = sample.shards.len() - shards.len();
        let words = format!(" … {more} more, worst {}", duration(worst as f64));
        write(buf, area, area.height - 1, &Line::styled(words, theme.dim));
    }
}

fn note_line(app: &App, note: &Note) -> Line<'static> {
    let style = match note.level.as_str() {
        "warn" => app.theme.warn,
        "error" => app.theme.bad,
        _ => Style::new(),
    };
    let words = Span::styled(shown(&note.words), style);
    Line::from(vec![Span::styled(format!(" {}  ", clock(note.at_ms)), app.theme.dim), words])
}

fn draw_notes(buf: &mut Buffer, area: Rect, app: &App, job: &Job) {
    if area.height < 2 {
        return;
    }
    let inner = pane(buf, area, app, "log", Line::default(), false);
    let notes = app.histories.get(&job.id).map_or(&[][..], |past| &past.notes);
    let first = notes.len().saturating_sub(usize::from(inner.height));
    if notes.is_empty() {
        let words = match (job.started_ms, job.pid) {
            (Some(at), Some(pid)) => format!(" {}  taken up by process {pid}", clock(at)),
            _ => " waiting for its worker".to_owned(),
        };
        write(buf, inner, 0, &Line::styled(words, app.theme.dim));
    }
    for (row, note) in notes[first..].iter().enumerate() {
        write(buf, inner, row as u16, &note_line(app, note));
    }
}

/// Everything that happened to a job.
pub fn log_lines(app: &App, id: &JobId) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(job) = app.job(id) {
        lines.push(format!("{}Z  written down", date(job.created_ms)));
        if job.runs > 1 {
            lines.push(format!("taken up {} times since", job.runs - 1));
        }
    }
    let notes = app.histories.get(id).map_or(&[][..], |past| &past.notes);
    lines.extend(notes.iter().map(|note| format!("{}  {:<5}  {}", clock(note.at_ms), note.level, shown(&note.words))));
    if let Some(job) = app.job(id).filter(|job| !job.message.is_empty()) {
        lines.push(format!("{}: {}", job.state.as_str(), shown(&job.message)));
    }
    lines
}
