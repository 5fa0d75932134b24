//! A stream: what goes in and out, and the family of its shards.
//!
//! ```text
//! ┌ stream restore  ACTIVE  provisioned ───────── 4 open of 7 shards  kept 24 h  $0.06/h ┐
//! │ in 130/s, 24 kB/s   read 128/s   lag 12.3 s   lambda: put-requests Enabled            │
//! │ SHARD             BY     STATE   KEYS %   IN/S  READ/S     LAG  HOLDER               │
//! │ 000000000000      -      closed    25.0                                              │
//! │ ├ 000000000004    split  open      12.5     16      16  12.3 s  r-7f3a               │
//! └───────────────────────────────────────────────────────────────────────────────────────┘
//! ```

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::Line;

use super::charts::{self, Titled};
use super::job::pane;
use super::streams::{kept, lag_cell};
use super::{boxed, listed, none_match, say};
use crate::cloud::inventory::{Shard, Stream};
use crate::cloud::streams::{self, Birth, Life, Relative, StreamMinutes, short};
use crate::cloud::{Class, price};
use crate::console::app::App;
use crate::console::columns::List;
use crate::console::keymap::{Action, Scope};
use crate::console::stream::{Leases, Readings};
use crate::console::widget::chart::{Series, Shape};
use crate::console::widget::quantity::{bytes, dollars, exact, rate};
use crate::console::widget::table::{self, Cell, Column, left, right};
use crate::console::widget::text::shown;
use crate::console::widget::{below, write};

const COLUMNS: [Column; 8] = [
    left("SHARD", 44, 0),
    left("BY", 12, 5),
    left("STATE", 7, 2),
    right("KEYS %", 6, 4),
    right("IN/S", 6, 6),
    right("READ/S", 6, 3),
    right("LAG", 8, 0),
    left("HOLDER", 22, 1),
];

/// From this height on, rows, there is room for charts, and so many they take.
const TALL: u16 = 26;
const CHARTS: u16 = 10;

/// Draws it.
pub fn draw(buf: &mut Buffer, area: Rect, app: &App, name: &str) {
    let theme = &app.theme;
    let state = &app.at_stream;
    let Some(stream) = state.described.as_ref().filter(|stream| stream.name == name) else {
        let title = Line::styled(format!(" stream {} ", shown(name)), theme.strong);
        let inner = boxed(buf, area, theme, title, Line::default());
        let words = match &app.notice {
            Some(notice) if notice.is_bad => "The stream can't be described: see below.".to_owned(),
            _ if app.trouble.is_some() => "The stream can't be described: see above.".to_owned(),
            _ => format!("Describing stream {}…", shown(name)),
        };
        return say(buf, inner, theme, &words);
    };
    let list = &state.list;
    let (title, columns) = listed(app, List::Shards, COLUMNS, 0);
    let left = format!(" stream {}  {}  {} ", shown(name), stream.status, stream.mode.to_lowercase().replace('_', " "));
    let inner = boxed(buf, area, theme, Line::styled(left, theme.strong), title);
    let mut top = 0;
    if inner.height >= 8 {
        for line in [numbers(app, stream), readers(app)] {
            write(buf, inner, top, &line);
            top += 1;
        }
    }
    let (readings, leases) = (app.readings(name), app.leases(name));
    let rows = state.rows(&readings, &leases);
    let body = below(inner, top);
    // The shards are what the screen is for: charts take what a long screen has beyond them.
    let charts = if inner.height >= TALL { CHARTS } else { 0 };
    let body = Rect { height: body.height - charts, ..body };
    draw_charts(buf, below(inner, inner.height - charts), app);
    if rows.is_empty() {
        return say(buf, body, theme, &none_match(app, List::Shards, state.family.len(), 0));
    }
    let selected = list.index(rows.iter().map(|(_, shard)| shard.id.as_str()));
    table::draw_page(buf, body, theme, &columns, rows.len(), selected, |at| {
        cells(app, rows[at].0, rows[at].1, &readings, &leases)
    });
}

fn draw_charts(buf: &mut Buffer, area: Rect, app: &App) {
    if area.height == 0 {
        return;
    }
    let areas = Layout::horizontal([Constraint::Fill(3), Constraint::Fill(2)]).split(area);
    let times = [charts::time_line(app), Line::default()];
    for (i, ((titled, area), time)) in self::charts(app).iter().zip(&*areas).zip(times).enumerate() {
        let inner = pane(buf, *area, app, &titled.title, time, i > 0);
        charts::draw(buf, inner, app, &titled.chart);
    }
}

/// What a stream's charts show, as CloudWatch knows it of all that put and poll.
pub(super) fn charts(app: &App) -> Vec<Titled<'_>> {
    let span = app.span_of_table();
    let none = (StreamMinutes::default(), 60_000);
    let (lines, period_ms) = app.at_stream.chart.as_ref().unwrap_or(&none);
    let is_whole = |at: i64| at + period_ms <= app.now_ms;
    let line = |name, style, points: &[(i64, f64)], per: f64| {
        let points = points.iter().filter(|(at, _)| is_whole(*at)).map(|(at, value)| (*at, value / per));
        Series { name, style, shape: Shape::Step(*period_ms), points: points.collect() }
    };
    let seconds = *period_ms as f64 / 1000.0;
    let records =
        vec![line("in", Style::new(), &lines.records, seconds), line("read", app.theme.accent, &lines.read, seconds)];
    let empty = charts::no_minute(app, app.at_stream.chart.is_some());
    let lag = vec![line("oldest read", Style::new(), &lines.lag_ms, 1000.0)];
    vec![
        Titled { title: "records/s".to_owned(), chart: charts::framed(app, span, records, None, empty) },
        Titled { title: "lag, s".to_owned(), chart: charts::framed(app, span, lag, None, empty) },
    ]
}

/// What goes in and out of the whole stream.
fn numbers(app: &App, stream: &Stream) -> Line<'static> {
    let load = app.stream_load(&stream.name);
    let number = |n: Option<f64>| n.map_or("-".to_owned(), rate);
    let mut words = format!(
        " {} open of {} shards, kept {}   in {}/s, {}/s   read {}/s   lag {}",
        exact(stream.open_shards()),
        exact(stream.shards.len() as u64),
        kept(stream.retention_hours),
        number(load.records),
        load.bytes.map_or("-".to_owned(), bytes),
        number(load.read),
        lag_cell(app, load.lag_ms).0,
    );
    if stream.mode == "PROVISIONED" {
        words = format!("{words}   {}/h", dollars(price::shard_dollars_per_hour(stream.open_shards())));
    }
    Line::raw(words)
}

/// Who else reads it.
fn readers(app: &App) -> Line<'static> {
    let theme = &app.theme;
    let fan_out = app.at_stream.described.as_ref().map_or(0, |stream| stream.consumers);
    let fan_out = if fan_out == 0 { String::new() } else { format!(" {fan_out} by fan-out  ") };
    let key = app.keymap.chord(Scope::Stream, Action::Mappings).unwrap_or_default();
    match &app.at_stream.mappings {
        None => Line::styled(format!("{fan_out} lambda: asking…"), theme.dim),
        Some(Err(error)) if error.class == Class::Auth => Line::styled(
            format!("{fan_out} lambda: not known, these credentials may not list event source mappings"),
            theme.dim,
        ),
        Some(Err(error)) => Line::styled(format!("{fan_out} lambda: not known, {}", shown(&error.what)), theme.dim),
        Some(Ok(all)) if all.is_empty() => Line::styled(format!("{fan_out} lambda: no function reads it"), theme.dim),
        Some(Ok(all)) => {
            let names: Vec<String> =
                all.iter().take(3).map(|(m, _)| format!("{} {}", shown(m.function()), m.state)).collect();
            let more = if all.len() > 3 { format!(" and {} more", all.len() - 3) } else { String::new() };
            let troubled = all.iter().any(|(m, _)| m.last_result.starts_with("PROBLEM"));
            let style = if troubled { theme.warn } else { Style::new() };
            Line::styled(format!("{fan_out} lambda: {}{more}   ({key} shows them)", names.join(", ")), style)
        }
    }
}

fn cells(app: &App, relative: &Relative, shard: &Shard, readings: &Readings<'_>, leases: &Leases<'_>) -> Vec<Cell> {
    let theme = &app.theme;
    let plain = Style::new();
    let dash = || ("-".to_owned(), theme.dim);
    let reading = readings.get(&shard.id);
    let life = app.at_stream.life(shard);
    let branch = if app.at_stream.is_family() { drawn(&relative.branch, theme.glyphs.braille) } else { String::new() };
    let number = |n: Option<f64>| n.map_or_else(dash, |n| (rate(n), plain));
    let holder = App::holder(shard, readings, leases);
    let waits = holder.starts_with("waits");
    vec![
        (
            format!("{branch}{}", shown(shard.id.trim_start_matches("shardId-"))),
            if shard.open { plain } else { theme.dim },
        ),
        match relative.birth {
            Birth::First => dash(),
            Birth::Split => ("split".to_owned(), theme.dim),
            Birth::Merge => (format!("merged {}", merged(shard)), theme.dim),
        },
        (life.as_str().to_owned(), if life == Life::Open { plain } else { theme.dim }),
        (format!("{:.1}", streams::share(shard) * 100.0), plain),
        number(app.at_stream.rates.get(&shard.id).copied()),
        number(reading.and_then(|reading| reading.per_second)),
        if reading.is_some() { lag_cell(app, reading.map(|reading| reading.lag_ms)) } else { dash() },
        if holder == "-" { dash() } else { (shown(&holder), if waits { theme.accent } else { plain }) },
    ]
}

fn merged(shard: &Shard) -> String {
    shard.adjacent_parent.as_deref().map_or(String::new(), |id| format!("+{}", shown(short(id))))
}

/// A branch in what the terminal has.
pub(super) fn drawn(branch: &str, unicode: bool) -> String {
    if unicode { branch.to_owned() } else { branch.replace('│', "|").replace('├', "+").replace('└', "`") }
}

/// Everything about a shard, exact.
pub fn exact_lines(app: &App, stream: &str, shard: &Shard) -> Vec<String> {
    let readings = app.readings(stream);
    let reading = readings.get(&shard.id);
    let parents: Vec<&str> =
        [&shard.parent, &shard.adjacent_parent].into_iter().flatten().map(String::as_str).collect();
    let children: Vec<&str> = app
        .at_stream
        .described
        .iter()
        .flat_map(|stream| &stream.shards)
        .filter(|child| [&child.parent, &child.adjacent_parent].into_iter().flatten().any(|id| *id == shard.id))
        .map(|child| child.id.as_str())
        .collect();
    let or_none = |ids: &[&str]| if ids.is_empty() { "none".to_owned() } else { shown(&ids.join(", ")) };
    let life = app.at_stream.life(shard);
    let means = match life {
        Life::Open => "it takes records",
        Life::Closed => "it was split or merged; what it holds can be read",
        Life::Expired => "all it held is past its retention",
    };
    vec![
        format!("state      {}: {means}", life.as_str()),
        format!("parents    {}", or_none(&parents)),
        format!("children   {}", or_none(&children)),
        format!("hash keys  {}", shard.from),
        format!("        to {}", shard.to),
        format!("share      {:.3} % of all keys", streams::share(shard) * 100.0),
        format!("holder     {}", shown(&App::holder(shard, &readings, &app.leases(stream)))),
        format!("lag        {}", reading.map_or("-".to_owned(), |r| format!("{} ms", exact(r.lag_ms)))),
        format!("read       {}", reading.and_then(|r| r.per_second).map_or("-".to_owned(), |n| format!("{n:.1}/s"))),
        format!(
            "in         {}",
            match app.at_stream.rates.get(&shard.id) {
                Some(n) => format!("{n:.1}/s (CloudWatch, newest minute)"),
                None => "- (CloudWatch knows shards only with enhanced monitoring)".to_owned(),
            }
        ),
    ]
}
