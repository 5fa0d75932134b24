//! Rows under headers: numbers right, the least important columns gone first when it gets narrow.

use std::ops::Range;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::text::clip;
use super::write;
use crate::console::mouse::{Target, mark};
use crate::console::theme::Theme;

/// One column.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Its header, with the unit.
    pub title: &'static str,
    /// Numbers stand right.
    pub right: bool,
    /// The widest that it gets, columns; longer cells are clipped.
    pub most: usize,
    /// It gets what the others leave it, but for this many columns, which are kept before others leave.
    pub gives_to: Option<usize>,
    /// Columns with the largest number leave first; 0 stays.
    pub leaves: u8,
    /// What marks it as the one that the rows are sorted by.
    pub sorted: &'static str,
}

impl Column {
    fn header(&self) -> String {
        if self.sorted.is_empty() { self.title.to_owned() } else { format!("{} {}", self.title, self.sorted) }
    }
}

/// Marks the column of that title as the one that the rows are sorted by; it stays as long as there is room.
pub fn mark_sorted(columns: &mut [Column], title: &str, glyph: &'static str) {
    for column in columns.iter_mut().filter(|column| column.title == title) {
        column.sorted = glyph;
        column.leaves = column.leaves.min(1);
    }
}

/// A left-aligned column.
pub const fn left(title: &'static str, most: usize, leaves: u8) -> Column {
    Column { title, right: false, most, gives_to: None, leaves, sorted: "" }
}

/// A left-aligned column that is clipped down to `least` before others leave.
pub const fn rest(title: &'static str, least: usize, leaves: u8) -> Column {
    Column { title, right: false, most: usize::MAX, gives_to: Some(least), leaves, sorted: "" }
}

/// A right-aligned column.
pub const fn right(title: &'static str, most: usize, leaves: u8) -> Column {
    Column { title, right: true, most, gives_to: None, leaves, sorted: "" }
}

/// A cell: one style throughout.
pub type Cell = (String, Style);

/// Draws headers and rows, scrolled so that the selected row, if there is one, is visible.
pub fn draw(
    buf: &mut Buffer,
    area: Rect,
    theme: &Theme,
    columns: &[Column],
    rows: &[Vec<Cell>],
    selected: Option<usize>,
) {
    if area.is_empty() {
        return;
    }
    let has_header = area.height > 2;
    if has_header {
        let header: Vec<Cell> = columns.iter().map(|c| (c.header(), theme.dim)).collect();
        let widths = widths(columns, rows, usize::from(area.width).saturating_sub(1));
        write(buf, area, 0, &row_line(columns, &widths, &header, " ", theme.dim));
        let mut x = area.x + 1;
        for (column, width) in columns.iter().zip(&widths) {
            let Some(width) = *width else { continue };
            mark(Rect { x, width: width as u16, height: 1, ..area }.intersection(area), Target::Header(column.title));
            x = x.saturating_add(width as u16 + 2);
        }
    }
    draw_rows(buf, area, theme, columns, rows, selected, u16::from(has_header));
}

/// Draws rows without headers.
pub fn draw_bare(
    buf: &mut Buffer,
    area: Rect,
    theme: &Theme,
    columns: &[Column],
    rows: &[Vec<Cell>],
    selected: Option<usize>,
) {
    if !area.is_empty() {
        draw_rows(buf, area, theme, columns, rows, selected, 0);
    }
}

fn draw_rows(
    buf: &mut Buffer,
    area: Rect,
    theme: &Theme,
    columns: &[Column],
    rows: &[Vec<Cell>],
    selected: Option<usize>,
    top: u16,
) {
    let widths = widths(columns, rows, usize::from(area.width).saturating_sub(1));
    let visible = usize::from(area.height - top);
    let first = selected.unwrap_or(0).saturating_sub(visible.saturating_sub(1));
    for (i, row) in rows.iter().enumerate().skip(first).take(visible) {
        let cursor = if Some(i) == selected { theme.glyphs.cursor } else { " " };
        let line = row_line(columns, &widths, row, cursor, theme.accent);
        let y = top + (i - first) as u16;
        write(buf, area, y, &line);
        if let Some(selected) = selected.filter(|_| y < area.height) {
            mark(Rect { y: area.y + y, height: 1, ..area }, Target::Row(i as isize - selected as isize));
        }
        if Some(i) == selected && y < area.height {
            buf.set_style(Rect { y: area.y + y, height: 1, ..area }, theme.selected);
        }
    }
}

/// Which of `count` rows are visible: the selected one is.
pub fn page(area: Rect, count: usize, selected: usize) -> Range<usize> {
    let height = usize::from(area.height - u16::from(area.height > 2)).max(1);
    let first = selected.saturating_sub(height - 1);
    first..count.min(first + height)
}

/// Draws a list of `count` rows of which only those that are visible are made, by `row`: a list may be ten thousand long.
pub fn draw_page(
    buf: &mut Buffer,
    area: Rect,
    theme: &Theme,
    columns: &[Column],
    count: usize,
    selected: usize,
    row: impl FnMut(usize) -> Vec<Cell>,
) {
    let page = page(area, count, selected);
    let first = page.start;
    let rows: Vec<Vec<Cell>> = page.map(row).collect();
    draw(buf, area, theme, columns, &rows, Some(selected - first));
}

fn widths(columns: &[Column], rows: &[Vec<Cell>], room: usize) -> Vec<Option<usize>> {
    let mut widths: Vec<Option<usize>> = columns
        .iter()
        .enumerate()
        .map(|(i, column)| {
            let widest = rows.iter().filter_map(|row| row.get(i)).map(|cell| Span::raw(&cell.0).width()).max();
            Some(widest.unwrap_or(0).min(column.most).max(Span::raw(column.header()).width()))
        })
        .collect();
    loop {
        let used: usize = widths.iter().flatten().map(|w| w + 2).sum::<usize>().saturating_sub(2);
        if used <= room {
            return widths;
        }
        // What gives does so before anything leaves, and only as much as is wanting.
        let wanting = used - room;
        let gives =
            |i: &usize| matches!((widths[*i], columns[*i].gives_to), (Some(w), Some(least)) if w >= least + wanting);
        if let Some(i) = (0..columns.len()).find(gives) {
            widths[i] = widths[i].map(|width| width - wanting);
            return widths;
        }
        let last = (0..columns.len()).filter(|i| widths[*i].is_some() && columns[*i].leaves > 0);
        if let Some(i) = last.max_by_key(|i| columns[*i].leaves) {
            widths[i] = None;
            continue;
        }
        // Only what must stay is left: its first column gives way.
        let rest: usize = widths.iter().skip(1).flatten().map(|w| w + 2).sum();
        if let Some(first) = widths.first_mut() {
            *first = Some(room.saturating_sub(rest));
        }
        return widths;
    }
}

fn row_line(
    columns: &[Column],
    widths: &[Option<usize>],
    cells: &[Cell],
    mark: &str,
    mark_style: Style,
) -> Line<'static> {
    let mut spans = vec![Span::styled(mark.to_owned(), mark_style)];
    let mut gap = "";
    for ((column, width), (text, style)) in columns.iter().zip(widths).zip(cells) {
        let Some(width) = *width else { continue };
        let text = clip(text, width);
        let pad = " ".repeat(width.saturating_sub(Span::raw(&text).width()));
        spans.push(Span::raw(gap));
        if column.right {
            spans.extend([Span::raw(pad), Span::styled(text, *style)]);
        } else {
            spans.extend([Span::styled(text, *style), Span::raw(pad)]);
        }
        gap = "  ";
    }
    Line::from(spans)
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 3] = [left("NAME", 20, 0), right("ITEMS", 8, 1), left("STREAM", 8, 2)];

    fn drawn(width: u16) -> Vec<String> {
        let area = Rect::new(0, 0, width, 4);
        let mut buf = Buffer::empty(area);
        let row =
            |name: &str, items: &str| [name, items, "new+old"].map(|text| (text.to_owned(), Style::new())).to_vec();
        let rows = [row("historical", "31.2k"), row("quotes", "7")];
        draw(&mut buf, area, &Theme::plain(true), &COLUMNS, &rows, Some(1));
        (0..4).map(|y| (0..width).map(|x| buf[(x, y)].symbol()).collect::<String>().trim_end().to_owned()).collect()
    }

    #[test]
    fn numbers_stand_right_and_the_selected_row_is_marked() {
        assert_eq!(
            drawn(40),
            [" NAME        ITEMS  STREAM", " historical  31.2k  new+old", "▸quotes          7  new+old", ""]
        );
    }

    #[test]
    fn the_column_that_rows_are_sorted_by_is_marked_and_stays() {
        let area = Rect::new(0, 0, 30, 3);
        let mut buf = Buffer::empty(area);
        let mut columns = COLUMNS;
        mark_sorted(&mut columns, "STREAM", "▼");
        let row = ["historical", "31.2k", "new+old"].map(|text| (text.to_owned(), Style::new())).to_vec();
        draw(&mut buf, area, &Theme::plain(true), &columns, &[row], None);
        let header: String = (0..30).map(|x| buf[(x, 0)].symbol()).collect();
        assert_eq!(header.trim_end(), " NAME        ITEMS  STREAM ▼");
    }

    #[test]
    fn rows_are_drawn_when_none_is_selected() {
        let area = Rect::new(0, 0, 12, 2);
        let mut buf = Buffer::empty(area);
        let rows = [vec![("a".to_owned(), Style::new())], vec![("b".to_owned(), Style::new())]];
        draw(&mut buf, area, &Theme::plain(true), &COLUMNS[..1], &rows, None);
        assert_eq!((buf[(1, 0)].symbol(), buf[(1, 1)].symbol()), ("a", "b"));
    }

    #[test]
    fn a_column_gives_before_others_leave_and_takes_again_what_they_leave() {
        let columns = [left("JOB", 10, 0), rest("WHAT", 8, 1), left("STARTED", 16, 2)];
        let row = ["r-7f3a", "historical <- s3://b/k", "2026-11-20 14:00"].map(|text| (text.to_owned(), Style::new()));
        let at = |room| widths(&columns, &[row.to_vec()], room);
        assert_eq!(at(60), [Some(6), Some(22), Some(16)]);
        assert_eq!(at(40), [Some(6), Some(14), Some(16)]);
        assert_eq!(at(34), [Some(6), Some(8), Some(16)]);
        assert_eq!(at(33), [Some(6), Some(22), None]);
        assert_eq!(at(20), [Some(6), Some(12), None]);
        assert_eq!(at(14), [Some(6), None, None]);
    }

    #[test]
    fn the_least_important_column_leaves_first_and_the_name_is_clipped_last() {
        assert_eq!(drawn(20)[1], " historical  31.2k");
        assert_eq!(drawn(8)[1], " histor…");
    }
}
