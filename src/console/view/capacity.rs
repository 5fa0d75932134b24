//! The capacity of a table and of each of its indexes, over the screen: one is selected, and keys change it.
//!
//! ```text
//! ┌ capacity of quotes ────────────────────────────────────────┐
//! │ OF         WCU  RCU  STATUS  DECREASES LEFT  GIVE BACK TO   │
//! │▸quotes     500   10  ACTIVE               3             -   │
//! │ by_day     250   10  ACTIVE   0, next 14:03           130   │
//! └────────────────────────────────────────────────────────────┘
//! ```

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::{over, say};
use crate::capacity::decreases::clock;
use crate::capacity::{Decreases, Resource};
use crate::console::app::App;
use crate::console::widget::quantity::exact;
use crate::console::widget::table::{self, Cell, Column, left, right};
use crate::console::widget::text::shown;

const COLUMNS: [Column; 6] = [
    left("OF", 32, 0),
    right("WCU", 9, 0),
    right("RCU", 9, 4),
    left("STATUS", 10, 3),
    right("DECREASES LEFT", 14, 1),
    right("GIVE BACK TO", 12, 2),
];

/// The table and its indexes, in the order of the list.
pub fn resources(app: &App, table: &str) -> Vec<Resource> {
    let indexes = app.table(table).into_iter().flat_map(|table| &table.indexes);
    let indexes = indexes.map(|index| Resource::of_table(table, Some(&index.name)));
    std::iter::once(Resource::Table(table.to_owned())).chain(indexes).collect()
}

/// Draws it, row `at` selected.
pub fn draw(buf: &mut Buffer, area: Rect, app: &App, table: &str, at: usize) {
    let rows = resources(app, table);
    let title = format!("capacity of {}", shown(table));
    let inner = over(buf, area, &app.theme, &title, 96, rows.len() as u16 + 3);
    let Some(described) = app.table(table) else {
        return say(buf, inner, &app.theme, "Asking for it…");
    };
    let cells: Vec<Vec<Cell>> = rows.iter().map(|resource| cells(app, described, resource)).collect();
    table::draw(buf, inner, &app.theme, &COLUMNS, &cells, Some(at.min(rows.len() - 1)));
}

fn cells(app: &App, table: &crate::cloud::inventory::Table, resource: &Resource) -> Vec<Cell> {
    let plain = Style::new();
    let index = table.indexes.iter().find(|index| Some(index.name.as_str()) == resource.index());
    let status = index.map_or(&table.status, |index| &index.status);
    let provisioned = table.throughput(resource.index());
    let units = |units: Option<u64>| units.map_or("on demand".to_owned(), exact);
    let left = provisioned.map(|p| Decreases::from(p).left(app.now_ms));
    let left = left.map_or("-".to_owned(), |left| match left.next_ms {
        Some(next) => format!("0, next {}", clock(next)),
        None => left.now.to_string(),
    });
    vec![
        (shown(resource.name()), plain),
        (units(provisioned.map(|p| p.write)), plain),
        (units(provisioned.map(|p| p.read)), plain),
        (status.clone(), if status == "ACTIVE" { plain } else { app.theme.accent }),
        (left, plain),
        (app.bump(resource).map_or("-".to_owned(), |bump| exact(bump.before)), plain),
    ]
}
