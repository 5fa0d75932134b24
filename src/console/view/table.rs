//! One table: what it has and what is used of it, its indexes, and two charts of the selected row.
//!
//! ```text
//! ┌ table historical ───────────────────────────────────────────────────── ACTIVE ┐
//! │ items 31.2k   size 9.4 MB   key id (S)   $0.0858/h   written by r-7f3a         │
//! │ OF                WCU USED / PROV        RCU USED / PROV   THROTTLED/S  GIVE BACK TO │
//! │▸the table             129 / 130  █████▉         0 / 10              41             - │
//! │ by_day                 12 / 50   ██             0 / 5                0             - │
//! ├ write, WCU/s ─────────────────────── 1h ┬ read, RCU/s ─────────────────────────┤
//! │                                         │                                      │
//! └─────────────────────────────────────────┴──────────────────────────────────────┘
//! ```

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::charts::{self, Titled};
use super::job::pane;
use super::{boxed, say};
use crate::capacity::Resource;
use crate::cloud::inventory::{Provisioned, Table};
use crate::cloud::price;
use crate::console::app::App;
use crate::console::charts::{Lines, TableChart};
use crate::console::widget::bar::bar;
use crate::console::widget::chart::{Chart, Series, Shape};
use crate::console::widget::quantity::{bytes, count, dollars, exact, rate};
use crate::console::widget::table::{self as rows, Cell, Column, left, right};
use crate::console::widget::text::shown;
use crate::console::widget::{below, write};

const COLUMNS: [Column; 9] = [
    left("OF", 40, 0),
    left("STATUS", 9, 5),
    right("WCU USED", 8, 0),
    right("/ PROV", 11, 0),
    left("", 10, 4),
    right("RCU USED", 8, 2),
    right("/ PROV", 11, 2),
    right("THROTTLED/S", 11, 1),
    right("GIVE BACK TO", 12, 3),
];
/// From this width on, columns, both charts are beside each other.
const WIDE: u16 = 100;

/// Draws it.
pub fn draw(buf: &mut Buffer, area: Rect, app: &App, name: &str) {
    let theme = &app.theme;
    let Some(table) = app.table(name) else {
        let gone = app.table_names.rows.as_ref().is_some_and(|names| !names.iter().any(|known| known == name));
        let words = if gone {
            format!("There is no table {} any more: {} goes back to the list.", shown(name), super::back_key(app))
        } else if app.trouble.is_some() {
            format!("{} can't be described: see above.", shown(name))
        } else {
            format!("Describing {}…", shown(name))
        };
        return say(buf, area, theme, &words);
    };
    let status = Style::new().patch(if table.status == "ACTIVE" { theme.dim } else { theme.accent });
    let inner = boxed(
        buf,
        area,
        theme,
        Line::styled(format!(" table {} ", shown(name)), theme.strong),
        Line::styled(format!(" {} ", table.status), status),
    );
    let small = inner.height < 12;
    if !small {
        write(buf, inner, 0, &facts(app, table));
    }
    let top = u16::from(!small);
    let chart = app.charts.get(name);
    let cells: Vec<Vec<Cell>> = std::iter::once((None, table.provisioned, table.status.as_str()))
        .chain(table.indexes.iter().map(|i| (Some(i.name.as_str()), i.provisioned, i.status.as_str())))
        .map(|(index, provisioned, status)| cells(app, table, chart, index, provisioned, status))
        .collect();
    // The charts are what the screen is for: many indexes scroll.
    let most = if small { inner.height } else { (cells.len() as u16 + 1).min(inner.height / 3).max(3) };
    let list = Rect { height: most, ..below(inner, top) };
    rows::draw(buf, list, theme, &COLUMNS, &cells, Some(app.index_at.min(cells.len().saturating_sub(1))));
    if small {
        return;
    }
    draw_charts(buf, below(inner, top + most), app, table, chart);
}

fn facts(app: &App, table: &Table) -> Line<'static> {
    let theme = &app.theme;
    let key = [Some(&table.key.partition), table.key.sort.as_ref()];
    let key: Vec<String> = key.into_iter().flatten().map(|a| format!("{} ({:?})", shown(&a.name), a.kind)).collect();
    let mut facts = vec![
        ("items", count(table.items as f64)),
        ("size", bytes(table.bytes as f64)),
        ("key", key.join(", ")),
        ("stream", super::tables::stream_word(table.stream.as_deref()).to_owned()),
    ];
    if let Some(dollars) = dollars_per_hour(table) {
        facts.push(("costs", format!("{dollars}/h")));
    }
    if let Some(provisioned) = table.provisioned {
        facts.push(("decreases today", provisioned.decreases_today.to_string()));
    }
    if let Some(job) = app.writer(&table.name) {
        facts.push(("written by", job.id.0.clone()));
    }
    let spans = facts
        .into_iter()
        .flat_map(|(name, value)| [Span::styled(format!(" {name} "), theme.dim), Span::raw(value), Span::raw("  ")]);
    Line::from(spans.collect::<Vec<_>>())
}

/// What the table and its indexes cost in an hour; `None` on demand.
fn dollars_per_hour(table: &Table) -> Option<String> {
    let all = std::iter::once(table.provisioned).chain(table.indexes.iter().map(|index| index.provisioned));
    let cost = |p: Provisioned| price::write_dollars_per_hour(p.write) + price::read_dollars_per_hour(p.read);
    table.provisioned.map(|_| dollars(all.flatten().map(cost).sum()))
}

/// The newest value, unless it is so old that it says nothing of now.
fn newest(app: &App, chart: &TableChart, sums: &[(i64, f64)]) -> Option<f64> {
    let all = chart.per_second(sums, app.now_ms);
    let (at, value) = all.last()?;
    (app.now_ms - at <= chart.period_ms + 240_000).then_some(*value)
}

fn cells(
    app: &App,
    table: &Table,
    chart: Option<&TableChart>,
    index: Option<&str>,
    provisioned: Option<Provisioned>,
    status: &str,
) -> Vec<Cell> {
    let theme = &app.theme;
    let plain = Style::new();
    let resource = index.map_or_else(
        || Resource::Table(table.name.clone()),
        |index| Resource::Index { table: table.name.clone(), index: index.to_owned() },
    );
    let lines = chart.and_then(|chart| Some((chart, chart.lines(index)?)));
    let of_lines = |of: fn(&Lines) -> &[(i64, f64)]| lines.and_then(|(chart, lines)| newest(app, chart, of(lines)));
    let refused = of_lines(|l| &l.writes_refused).unwrap_or(0.0) + of_lines(|l| &l.reads_refused).unwrap_or(0.0);
    let (written, refused) = match index {
        // Our own writers' last seconds are newer than CloudWatch's last minute.
        None => {
            let load = app.table_load(&table.name);
            (
                Some(of_lines(|l| &l.written).unwrap_or(0.0)).map(|w| if load.used > 0.0 { load.used } else { w }),
                load.throttled.max(if app.writer(&table.name).is_some() { 0.0 } else { refused }),
            )
        }
        Some(_) => (of_lines(|l| &l.written), refused),
    };
    let read = of_lines(|l| &l.read);
    let units =
        |of: fn(Provisioned) -> u64| provisioned.map_or("/ on demand".to_owned(), |p| format!("/ {}", exact(of(p))));
    let is_full = provisioned.zip(written).is_some_and(|(p, used)| used >= p.write as f64 * 0.95);
    let busy = if refused >= 0.5 || is_full { theme.warn } else { plain };
    let gauge: String = provisioned
        .map(|p| bar(theme, written.unwrap_or(0.0), p.write as f64, 10, plain, false))
        .map(|spans| spans.iter().map(|s| s.content.to_string()).collect())
        .unwrap_or_default();
    let number = |n: Option<f64>| n.map_or("-".to_owned(), rate);
    let owed = app.bump(&resource).map_or("-".to_owned(), |bump| exact(bump.before));
    vec![
        (index.map_or("the table".to_owned(), shown), plain),
        (status.to_owned(), if status == "ACTIVE" { theme.dim } else { theme.accent }),
        (number(written), busy),
        (units(|p| p.write), plain),
        (gauge, busy),
        (number(read), plain),
        (units(|p| p.read), plain),
        (rate(refused), if refused >= 0.5 { theme.warn } else { theme.dim }),
        (owed, if app.bump(&resource).is_some() { theme.accent } else { theme.dim }),
    ]
}

fn draw_charts(buf: &mut Buffer, area: Rect, app: &App, table: &Table, chart: Option<&TableChart>) {
    if area.height < 4 {
        return;
    }
    let both = area.width >= WIDE;
    let areas = Layout::horizontal(if both {
        vec![Constraint::Fill(3), Constraint::Fill(2)]
    } else {
        vec![Constraint::Fill(1)]
    })
    .split(area);
    let index = app.selected_index().map(|index| index.name.as_str());
    let of = index.map_or(String::new(), |index| format!(" of {}", shown(index)));
    let inner = pane(buf, areas[0], app, &format!("write, WCU/s{of}"), charts::time_line(app), false);
    charts::draw(buf, inner, app, &write_chart(app, table, chart, index));
    if both {
        let inner = pane(buf, areas[1], app, &format!("read, RCU/s{of}"), Line::default(), true);
        charts::draw(buf, inner, app, &read_chart(app, chart, index));
    }
}

/// What a table's charts show.
pub(super) fn charts<'a>(app: &'a App, name: &str) -> Vec<Titled<'a>> {
    let Some(table) = app.table(name) else { return Vec::new() };
    let chart = app.charts.get(name);
    let index = app.selected_index().map(|index| index.name.as_str());
    vec![
        Titled { title: "write, WCU/s".to_owned(), chart: write_chart(app, table, chart, index) },
        Titled { title: "read, RCU/s".to_owned(), chart: read_chart(app, chart, index) },
    ]
}

/// The lines of all that use the table: what it has, and what is used of it.
fn of_all<'a>(app: &App, chart: &TableChart, has: &[(i64, f64)], used: &[(i64, f64)]) -> Vec<Series<'a>> {
    let holds = chart.provisioned_holds_ms();
    vec![
        Series { name: "provisioned", style: app.theme.dim, shape: Shape::Step(holds), points: has.to_vec() },
        Series {
            name: chart.all_name(),
            style: Style::new(),
            shape: Shape::Step(chart.period_ms),
            points: chart.per_second(used, app.now_ms),
        },
    ]
}

fn write_chart<'a>(app: &App, table: &Table, chart: Option<&TableChart>, index: Option<&str>) -> Chart<'a> {
    let lines = chart.and_then(|chart| Some((chart, chart.lines(index)?)));
    let from = app.span_of_table().from_ms;
    let mut series = lines.map(|(chart, l)| of_all(app, chart, &l.write_provisioned, &l.written)).unwrap_or_default();
    let mut marks: Vec<i64> = lines
        .map(|(_, l)| l.writes_refused.iter().filter(|(_, n)| *n > 0.0).map(|(at, _)| *at).collect())
        .unwrap_or_default();
    // Our samples know the table and its indexes together: they are shown with the table where it has none.
    if index.is_none() && table.indexes.is_empty() {
        let ours = app.ours(&table.name, from, |c| c.wcu);
        if !ours.points.is_empty() {
            let shape = Shape::Line(ours.gap_ms);
            series.push(Series { name: "ours", style: app.theme.accent, shape, points: ours.points });
        }
    }
    if index.is_none() {
        let refused = app.ours(&table.name, from, |c| c.throttled as f64);
        marks.extend(refused.points.into_iter().filter(|(_, n)| *n > 0.0).map(|(at, _)| at));
    }
    charts::framed(
        app,
        app.span_of_table(),
        series,
        Some(("throttled", marks)),
        charts::no_minute(app, lines.is_some()),
    )
}

fn read_chart<'a>(app: &App, chart: Option<&TableChart>, index: Option<&str>) -> Chart<'a> {
    let lines = chart.and_then(|chart| Some((chart, chart.lines(index)?)));
    let series = lines.map(|(chart, l)| of_all(app, chart, &l.read_provisioned, &l.read)).unwrap_or_default();
    let marks = lines.map(|(_, l)| l.reads_refused.iter().filter(|(_, n)| *n > 0.0).map(|(at, _)| *at).collect());
    let empty = charts::no_minute(app, lines.is_some());
    charts::framed(app, app.span_of_table(), series, Some(("throttled", marks.unwrap_or_default())), empty)
}
