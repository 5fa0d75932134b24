//! The list of tables.
//!
//! ```text
//! ┌ tables 12 ──────────────────────────────── /hist ──────────────────── sort: used ▼ ┐
//! │ NAME          STATUS   ITEMS    SIZE   WCU USED/PROV            LAST 5 MIN    THROTTLED/S  STREAM │
//! │▸historical    ACTIVE   31.2k  9.4 MB     130 / 130  ██████████  ▁▂▅▇███████▇           41  –      │
//! └────────────────────────────────────────────────────────────────────────────────────┘
//! ```

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::{beside, boxed, listed, none_match, say};
use crate::capacity::Resource;
use crate::cloud::inventory::Table;
use crate::cloud::price;
use crate::console::app::App;
use crate::console::columns::{Arranged, KNOWN_OF_NAMES, List};
use crate::console::effect::PlaceId;
use crate::console::keymap::{Action, Scope};
use crate::console::load::{TableLoad, TableRow};
use crate::console::spot::Spot;
use crate::console::widget::bar::bar;
use crate::console::widget::quantity::{bytes, count, dollars, duration, exact, rate};
use crate::console::widget::sparkline::sparkline;
use crate::console::widget::table::{self, Cell, Column, left, right};
use crate::console::widget::text::shown;

/// From this age on it is said, ms: three rounds of descriptions.
const OLD_MS: i64 = 15_000;

const COLUMNS: [Column; 10] = [
    left("TABLE", 40, 0),
    left("STATUS", 10, 6),
    right("ITEMS", 7, 5),
    right("SIZE", 7, 7),
    right("WCU USED", 8, 0),
    right("/ PROV", 11, 1),
    left("USED %", 10, 3),
    left("LAST 5 MIN", 12, 4),
    right("THROTTLED/S", 11, 2),
    left("STREAM", 7, 8),
];

/// Draws it.
pub fn draw(buf: &mut Buffer, area: Rect, app: &App) {
    let theme = &app.theme;
    let Arranged { rows, unknown } = app.arranged_tables();
    let unknown = unknown.len();
    let known = app.table_names.rows.as_ref().map(Vec::len);
    let list = &app.tables_list;
    // What is not described has no numbers to sort by.
    let undescribed = rows.iter().filter(|row| row.table.is_none()).count();
    let of_known = match undescribed {
        0 => String::new(),
        _ if KNOWN_OF_NAMES.contains(&List::Tables.sorted_by(list).name) => String::new(),
        n => format!("of the {} described ", rows.len() - n),
    };
    let is_many = app.is_many();
    let everywhere = || app.all_seen().iter().map(|seen| seen.table_names.rows.as_ref().map_or(0, Vec::len)).sum();
    let known = if is_many { known.map(|_| everywhere()) } else { known };
    let (mut right, columns) = listed(app, List::Tables, COLUMNS, unknown);
    right.spans.push(Span::raw(of_known));
    let inner = boxed(
        buf,
        area,
        theme,
        Line::from(vec![
            Span::styled(format!(" tables {} ", known.map_or(String::new(), |n| n.to_string())), theme.strong),
            Span::styled(age(app, &rows), theme.warn),
        ]),
        right,
    );
    let inner = beside::draw(buf, inner, app, |seen| seen.table_names.rows.is_some());
    match known {
        None if is_many && !rows.is_empty() => draw_rows(buf, inner, app, &rows, &columns),
        None if app.trouble.is_some() => {
            say(buf, inner, theme, "The tables can't be listed: see above. It is tried again every few seconds.");
        }
        None => say(buf, inner, theme, &format!("Listing the tables of {}…", app.place.region)),
        Some(0) => {
            let elsewhere = match app.keymap.chord(Scope::Global, Action::Contexts) {
                Some(key) => format!("{key} goes to another profile or region"),
                None => "start sluice with another --region or --profile".to_owned(),
            };
            let words = format!("No tables in {}: {elsewhere}, or run sluice demo.", app.place.region);
            say(buf, inner, theme, &words);
        }
        Some(n) if rows.is_empty() => {
            say(buf, inner, theme, &none_match(app, List::Tables, n, unknown));
        }
        Some(_) => {
            draw_rows(buf, inner, app, &rows, &columns);
        }
    }
}

fn draw_rows(buf: &mut Buffer, area: Rect, app: &App, rows: &[TableRow<'_>], columns: &[Column]) {
    let theme = &app.theme;
    let selected = app.tables_list.index(rows.iter().map(TableRow::key));
    let is_many = app.is_many();
    let columns = beside::columns(app, List::Tables, columns);
    table::draw_page(buf, area, theme, &columns, rows.len(), selected, |at| {
        let row = &rows[at];
        let mut cells = match row.table {
            Some(table) => cells(app, row.place, table, &row.load()),
            None => vec![(shown(row.name), theme.dim), ("…".to_owned(), theme.dim)],
        };
        if is_many {
            cells.insert(1, (shown(row.region), theme.dim));
        }
        cells
    });
}

/// How old what is on screen is, where the budget or AWS keeps it waiting.
fn age(app: &App, rows: &[TableRow<'_>]) -> String {
    if let Some(at) = app.kept.tables_ms {
        return kept_age(app, at);
    }
    let old = app.oldest_among_ms(rows).map_or(0, |at| app.now_ms - at);
    if old >= OLD_MS { format!("as of {} ago ", duration(old as f64)) } else { String::new() }
}

/// How old what was kept from another time is.
pub(super) fn kept_age(app: &App, at_ms: i64) -> String {
    format!("as of {} ago, asking AWS ", duration((app.now_ms - at_ms).max(0) as f64))
}

fn cells(app: &App, place: PlaceId, table: &Table, load: &TableLoad) -> Vec<Cell> {
    let theme = &app.theme;
    let plain = Style::new();
    let provisioned = table.provisioned.map(|p| p.write);
    let is_full = provisioned.is_some_and(|p| load.used >= p as f64 * 0.95);
    let is_throttled = load.throttled >= 0.5;
    let busy = if is_throttled || is_full { theme.warn } else { plain };
    let peak = load.recent.iter().flatten().copied().fold(0.0, f64::max);
    let top = provisioned.map_or(peak, |p| (p as f64).max(peak));
    let gauge: String = provisioned
        .map(|p| bar(theme, load.used, p as f64, 10, plain, false).iter().map(|s| s.content.to_string()).collect())
        .unwrap_or_default();
    vec![
        (app.marked_in(place, shown(&table.name), || Spot::Table(table.name.clone())), plain),
        (table.status.clone(), if table.status == "ACTIVE" { plain } else { theme.accent }),
        (count(table.items as f64), plain),
        (bytes(table.bytes as f64), plain),
        (rate(load.used), busy),
        (provisioned.map_or("/ on demand".to_owned(), |p| format!("/ {}", exact(p))), plain),
        (gauge, busy),
        (sparkline(theme, &load.recent, top), busy),
        (rate(load.throttled), if is_throttled { theme.warn } else { theme.dim }),
        (stream_word(table.stream.as_deref()).to_owned(), plain),
    ]
}

pub fn stream_word(view: Option<&str>) -> &'static str {
    match view {
        None => "-",
        Some("NEW_AND_OLD_IMAGES") => "new+old",
        Some("NEW_IMAGE") => "new",
        Some("OLD_IMAGE") => "old",
        Some("KEYS_ONLY") => "keys",
        Some(_) => "on",
    }
}

/// Everything about a table, exact.
pub fn exact_lines(app: &App, table: &Table) -> Vec<String> {
    let load = app.table_load(&table.name);
    let key = |attr: &crate::item::KeyAttr| format!("{} ({:?})", shown(&attr.name), attr.kind);
    let mut lines = vec![
        format!("status         {}", table.status),
        format!("partition key  {}", key(&table.key.partition)),
        format!("sort key       {}", table.key.sort.as_ref().map_or("none".to_owned(), key)),
        format!("items          {} (AWS counts them about every six hours)", exact(table.items)),
        format!("bytes          {}", exact(table.bytes)),
        format!("stream         {}", table.stream.as_deref().unwrap_or("none")),
    ];
    match table.provisioned {
        Some(p) => {
            lines.push(format!("write          {} WCU, {:.1} used", exact(p.write), load.used));
            lines.push(format!("read           {} RCU", exact(p.read)));
            let hour = price::write_dollars_per_hour(p.write) + price::read_dollars_per_hour(p.read);
            lines.push(format!("cost           {}/h at the us-east-1 on-page price", dollars(hour)));
            lines.push(format!("decreases      {} since midnight UTC", p.decreases_today));
        }
        None => lines.push(format!("capacity       on demand, {:.1} WCU used", load.used)),
    }
    lines.push(format!("throttled      {:.1} writes/s", load.throttled));
    if let Some(bump) = app.bump(&Resource::Table(table.name.clone())) {
        lines.push(format!("to give back   {} WCU, from {}", exact(bump.before), exact(bump.after)));
    }
    for index in &table.indexes {
        let capacity = index
            .provisioned
            .map_or("on demand".to_owned(), |p| format!("{} WCU  {} RCU", exact(p.write), exact(p.read)));
        lines.push(format!("index          {}  {}  {capacity}", shown(&index.name), index.status));
    }
    lines
}
