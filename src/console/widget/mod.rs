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
use unicode_width::UnicodeWidthStr as _;

/// Writes `line` into row `row` of `area`, clipped at its right edge, with `…` where words were left out; rows below the
/// area are dropped.
pub fn write(buf: &mut Buffer, area: Rect, row: u16, line: &Line<'_>) {
    let area = area.intersection(*buf.area());
    if row >= area.height {
        return;
    }
    let (end, _) = buf.set_line(area.x, area.y + row, line, area.width);
    // What ends before the last column was not cut; a wide character may have been left out there.
    if end > area.x && end + 1 >= area.right() && usize::from(area.width) < text::width_of_words(line) {
        let (last, y) = (area.right() - 1, area.y + row);
        if last > area.x && buf[(last - 1, y)].symbol().width() == 2 {
            buf[(last - 1, y)].set_symbol(" ");
        }
        buf[(last, y)].set_symbol("…");
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

#[cfg(test)]
mod tests {
    use ratatui::text::Span;

    use super::*;

    fn written(text: &str, width: u16) -> String {
        let area = Rect::new(0, 0, width, 1);
        let mut buf = Buffer::empty(area);
        write(&mut buf, area, 0, &Line::from(vec![Span::raw(text), Span::raw("  ")]));
        (0..width).map(|x| buf[(x, 0)].symbol()).collect()
    }

    #[test]
    fn what_is_cut_says_so_and_blanks_are_nothing_to_cut() {
        assert_eq!(written("historical", 12), "historical  ");
        assert_eq!(written("historical", 10), "historical");
        assert_eq!(written("historical", 6), "histo…");
        assert_eq!(written("historical", 1), "…");
    }

    #[test]
    fn half_a_wide_character_is_not_left_beside_the_mark() {
        assert_eq!(written("日本語", 4), "日  …");
        assert_eq!(written("日本語", 5), "日 本 …");
        assert_eq!(written("日本語", 6), "日 本 語 ");
    }
}
