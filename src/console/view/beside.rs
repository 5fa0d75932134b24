//! Several regions in one list: the column that tells them apart, and a line for each that can't be listed.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;

use crate::console::app::App;
use crate::console::columns::List;
use crate::console::places::Seen;
use crate::console::widget::table::{self, Column, left};
use crate::console::widget::text::{clip, shown};
use crate::console::widget::{below, write};

/// Those columns, with the region after the name where there are several.
pub fn columns(app: &App, list: List, columns: &[Column]) -> Vec<Column> {
    let mut columns = columns.to_vec();
    if app.is_many() {
        columns.insert(1, left("REGION", 16, 1));
        let listing = app.listing(list);
        let glyph = app.theme.glyphs.sorted[usize::from(!list.is_falling(listing))];
        table::mark_sorted(&mut columns[1..2], list.sorted_by(listing).title, glyph);
    }
    columns
}

/// A line above the list for each region beside the one at hand that is not listed; returns what is left of the area.
/// `is_listed` tells whether a list of it ever came.
pub fn draw(buf: &mut Buffer, area: Rect, app: &App, is_listed: impl Fn(Seen<'_>) -> bool) -> Rect {
    let width = usize::from(area.width);
    let lines = app.beside().filter_map(|known| {
        let region = shown(&known.place.region);
        let was = if is_listed(known.seen()) { " Its rows are as of before." } else { "" };
        match &known.trouble {
            Some(error) => {
                // A region that an account has not enabled knows none of its credentials.
                let perhaps =
                    if error.is_login && app.lost.is_none() { " Is the region enabled in this account?" } else { "" };
                let error = shown(&error.to_string());
                let words =
                    format!("{} {region}: {}.{perhaps}{was}", app.theme.glyphs.warn, error.trim_end_matches('.'));
                Some(Line::styled(clip(&words, width), app.theme.bad))
            }
            None if !is_listed(known.seen()) => Some(Line::styled(format!("  {region}: listing…"), app.theme.dim)),
            None => None,
        }
    });
    // At least half of the area stays the list's.
    let lines: Vec<Line<'_>> = lines.take(usize::from(area.height / 2)).collect();
    for (row, line) in lines.iter().enumerate() {
        write(buf, area, row as u16, line);
    }
    below(area, lines.len() as u16)
}
