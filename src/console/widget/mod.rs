//! What screens are made of: one file per widget, none of which knows the application.

pub mod bar;
pub mod chart;
pub mod form;
pub mod quantity;
pub mod sparkline;
pub mod table;
pub mod text;
pub mod timeline;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;

/// Writes `line` into row `row` of `area`, clipped at its right edge, with `…` where words were left out; rows below the
/// area are dropped.
pub fn write(buf: &mut Buffer, area: Rect, row: u16, line: &Line<'_>) {
    let area = area.intersection(*buf.area());
    if row >= area.height {
        return;
    }
    let (end, _) = buf.set_line(area.x, area.y + row, line, area.width);
    if usize::from(area.width) < text::width_of_words(line) && end > area.x {
        buf[(area.right() - 1, area.y + row)].set_symbol("…");
    }
}

/// Writes `line` into row `row` of `area`, against its right edge.
pub fn write_right(buf: &mut Buffer, area: Rect, row: u16, line: &Line<'_>) {
    let width = (line.width() as u16).min(area.width);
    write(buf, Rect { x: area.right() - width, width, ..area }, row, line);
}

/// The part of `area` below its first `rows` rows.
pub fn below(area: Rect, rows: u16) -> Rect {
    let rows = rows.min(area.height);
    Rect { y: area.y + rows, height: area.height - rows, ..area }
}
