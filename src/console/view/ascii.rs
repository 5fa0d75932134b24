//! Text on a terminal that shows ASCII alone: shapes have glyphs for it, and here the few marks that our words are set
//! with get theirs.

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};

/// A mark and what stands for it: one column each, so that nothing moves.
const MARKS: [(&str, &str); 6] = [("…", "~"), ("·", "-"), ("→", ">"), ("←", "<"), ("×", "x"), ("µ", "u")];

/// Replaces the marks of `area`. What AWS or a person called something stays as it is.
pub fn spell(buf: &mut Buffer, area: Rect) {
    for at in area.intersection(buf.area).positions() {
        let Some(cell) = buf.cell_mut(Position { x: at.x, y: at.y }) else { continue };
        if let Some((_, ascii)) = MARKS.iter().find(|(mark, _)| *mark == cell.symbol()) {
            cell.set_symbol(ascii);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_replaced_and_names_are_not() {
        let mut buf = Buffer::with_lines(["größe · 3 → 4…", "×2"]);
        let first = Rect { height: 1, ..buf.area };
        spell(&mut buf, first);
        assert_eq!(buf, Buffer::with_lines(["größe - 3 > 4~", "×2"]));
    }
}
