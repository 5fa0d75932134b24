//! A screen as a picture: SVG in which each character stands in its own cell, so that any viewer draws charts right, or plain
//! text.

use std::fmt::Write as _;

use ratatui::buffer::{Buffer, Cell};
use ratatui::style::{Color, Modifier};

/// A cell's size, pixels, and how far below its top the text stands.
const CELL: (usize, usize) = (9, 18);
const BASELINE: usize = 14;

/// What the terminal's own colours look like in a picture.
#[derive(Clone, Copy, Debug)]
pub struct Ground {
    /// Behind everything.
    pub background: &'static str,
    /// Text that has no colour of its own.
    pub foreground: &'static str,
    /// The 16 colours by number.
    pub colours: [&'static str; 16],
}

/// Light text on a dark ground.
pub const DARK: Ground = Ground {
    background: "#15181c",
    foreground: "#c5c8c6",
    colours: [
        "#1d1f21", "#cc6666", "#8fb573", "#e0a33e", "#6699cc", "#b294bb", "#4fb3bf", "#c5c8c6", "#70757a", "#e07a7a",
        "#a9d18e", "#f0c674", "#81a2be", "#c9a6d4", "#70c8d4", "#ffffff",
    ],
};

/// Dark text on a light ground.
pub const LIGHT: Ground = Ground {
    background: "#fdfdfb",
    foreground: "#24292e",
    colours: [
        "#24292e", "#b31d28", "#22863a", "#735c0f", "#005cc5", "#5a32a3", "#1b7c83", "#6a737d", "#959da5", "#cb2431",
        "#28a745", "#b08800", "#2188ff", "#8a63d2", "#3192aa", "#d1d5da",
    ],
};

impl Ground {
    fn colour(&self, colour: Color, otherwise: &str) -> String {
        let number = match colour {
            Color::Reset => return otherwise.to_owned(),
            Color::Rgb(r, g, b) => return format!("#{r:02x}{g:02x}{b:02x}"),
            Color::Indexed(n) => n,
            Color::Black => 0,
            Color::Red => 1,
            Color::Green => 2,
            Color::Yellow => 3,
            Color::Blue => 4,
            Color::Magenta => 5,
            Color::Cyan => 6,
            Color::Gray => 7,
            Color::DarkGray => 8,
            Color::LightRed => 9,
            Color::LightGreen => 10,
            Color::LightYellow => 11,
            Color::LightBlue => 12,
            Color::LightMagenta => 13,
            Color::LightCyan => 14,
            Color::White => 15,
        };
        match number {
            0..16 => self.colours[usize::from(number)].to_owned(),
            // xterm's cube of six steps a colour, then 24 greys.
            16..232 => {
                let step = |n: u8| if n == 0 { 0 } else { 55 + n * 40 };
                let n = number - 16;
                format!("#{:02x}{:02x}{:02x}", step(n / 36), step(n / 6 % 6), step(n % 6))
            }
            _ => {
                let grey = 8 + (number - 232) * 10;
                format!("#{grey:02x}{grey:02x}{grey:02x}")
            }
        }
    }

    /// Text and ground of a cell.
    fn of(&self, cell: &Cell) -> (String, String) {
        let pair = (self.colour(cell.fg, self.foreground), self.colour(cell.bg, self.background));
        if cell.modifier.contains(Modifier::REVERSED) { (pair.1, pair.0) } else { pair }
    }
}

/// What neighbours have in common when they are one element.
#[derive(PartialEq)]
struct Look {
    colour: String,
    bold: bool,
    dim: bool,
    underlined: bool,
}

/// The screen as SVG.
pub fn svg(screen: &Buffer, ground: &Ground) -> String {
    let area = screen.area;
    let (width, height) = (usize::from(area.width) * CELL.0, usize::from(area.height) * CELL.1);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"'DejaVu Sans Mono',Menlo,Consolas,monospace\" font-size=\"15\" xml:space=\"preserve\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"{}\"/>\n",
        ground.background
    );
    for row in 0..area.height {
        draw_grounds(&mut svg, screen, row, ground);
        draw_text(&mut svg, screen, row, ground);
    }
    svg.push_str("</svg>\n");
    svg
}

/// Cells with a ground of their own, neighbours joined.
fn draw_grounds(svg: &mut String, screen: &Buffer, row: u16, ground: &Ground) {
    let area = screen.area;
    let mut run: Option<(String, u16)> = None;
    for column in 0..=area.width {
        let cell = (column < area.width).then(|| &screen[(area.x + column, area.y + row)]);
        let back = cell.map(|cell| ground.of(cell).1).filter(|back| *back != ground.background);
        if run.as_ref().map(|(colour, _)| colour) != back.as_ref() {
            if let Some((colour, from)) = run.take() {
                let (x, y, width) =
                    (usize::from(from) * CELL.0, usize::from(row) * CELL.1, usize::from(column - from) * CELL.0);
                let _ = writeln!(
                    svg,
                    "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{}\" fill=\"{colour}\"/>",
                    CELL.1
                );
            }
            run = back.map(|back| (back, column));
        }
    }
}

fn draw_text(svg: &mut String, screen: &Buffer, row: u16, ground: &Ground) {
    let area = screen.area;
    let y = usize::from(row) * CELL.1 + BASELINE;
    // ASCII neighbours of one look are one element; the list of x holds each to its cell. Other characters may come from
    // another font, after which some viewers lose the list: each is an element of its own.
    let (mut xs, mut text): (String, String) = Default::default();
    let mut run: Option<Look> = None;
    for column in 0..=area.width {
        let cell = (column < area.width).then(|| &screen[(area.x + column, area.y + row)]);
        let cell = cell.filter(|cell| !cell.symbol().trim().is_empty() && !cell.modifier.contains(Modifier::HIDDEN));
        let look = cell.map(|cell| Look {
            colour: ground.of(cell).0,
            bold: cell.modifier.contains(Modifier::BOLD),
            dim: cell.modifier.contains(Modifier::DIM),
            underlined: cell.modifier.contains(Modifier::UNDERLINED),
        });
        let is_plain = text.is_ascii() && cell.is_none_or(|cell| cell.symbol().is_ascii());
        if look != run || !is_plain || column == area.width {
            if let Some(look) = run.take().filter(|_| !text.is_empty()) {
                let _ = write!(svg, "<text y=\"{y}\" fill=\"{}\"", look.colour);
                for (is, attribute) in [
                    (look.bold, " font-weight=\"bold\""),
                    (look.dim, " opacity=\"0.65\""),
                    (look.underlined, " text-decoration=\"underline\""),
                ] {
                    svg.push_str(if is { attribute } else { "" });
                }
                let _ = writeln!(svg, " x=\"{}\">{}</text>", xs.trim_end(), escaped(&text));
            }
            xs.clear();
            text.clear();
            run = look;
        }
        if let Some(cell) = cell {
            let _ = write!(xs, "{} ", usize::from(column) * CELL.0);
            text.push_str(cell.symbol());
        }
    }
}

/// As XML takes it: what it can't hold at all is left out.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\u{fffe}' | '\u{ffff}' => {}
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out
}

/// The screen as text, without what trails in a line.
pub fn text(screen: &Buffer) -> String {
    let area = screen.area;
    let mut out = String::new();
    for y in area.top()..area.bottom() {
        let mut line = String::new();
        let mut covered = 0;
        for x in area.left()..area.right() {
            // A wide character covers the cell after it.
            if covered > 0 {
                covered -= 1;
                continue;
            }
            let symbol = screen[(x, y)].symbol();
            covered = ratatui::text::Span::raw(symbol).width().saturating_sub(1);
            line.push_str(symbol);
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// What keeps a text from being well-formed XML, as far as pictures and reports use it; a check for tests.
#[cfg(test)]
pub(crate) fn xml_fault(text: &str) -> Option<String> {
    let mut open: Vec<String> = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(['<', '&']) {
        if rest[..at].chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t')) {
            return Some(format!("a control character in {:?}", &rest[..at]));
        }
        if rest.as_bytes()[at] == b'&' {
            let end = rest[at..].find(';').map(|n| at + n);
            let Some(end) = end else { return Some("& without ;".to_owned()) };
            if !["amp", "lt", "gt", "quot", "apos"].contains(&&rest[at + 1..end]) {
                return Some(format!("an unknown entity {}", &rest[at..=end]));
            }
            rest = &rest[end + 1..];
            continue;
        }
        let Some(end) = rest[at..].find('>').map(|n| at + n) else { return Some("< without >".to_owned()) };
        let tag = &rest[at + 1..end];
        if tag.matches('"').count() % 2 == 1 {
            return Some(format!("an odd quote in <{tag}>"));
        }
        let name = tag.trim_matches('/').split([' ', '\n']).next().unwrap_or_default().to_owned();
        if let Some(closed) = tag.strip_prefix('/') {
            if open.pop().as_deref() != Some(closed) {
                return Some(format!("</{closed}> closes nothing"));
            }
        } else if !tag.ends_with('/') {
            open.push(name);
        }
        rest = &rest[end + 1..];
    }
    open.pop().map(|name| format!("<{name}> is not closed"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use ratatui::layout::Rect;
    use ratatui::style::Style;

    use super::*;

    fn screen(lines: &[(&str, Style)]) -> Buffer {
        let mut buf = Buffer::empty(Rect::new(0, 0, 20, lines.len() as u16));
        for (y, (line, style)) in lines.iter().enumerate() {
            buf.set_string(0, y as u16, line, *style);
        }
        buf
    }

    #[test]
    fn each_character_stands_in_its_cell_and_what_xml_means_is_escaped() {
        let buf = screen(&[("a <b> & c", Style::new().fg(Color::Red)), ("▁▂", Style::new().fg(Color::Indexed(214)))]);
        let svg = svg(&buf, &DARK);
        assert_eq!(xml_fault(&svg), None, "{svg}");
        assert!(svg.contains("fill=\"#cc6666\" x=\"18 27 36\">&lt;b&gt;</text>"), "{svg}");
        assert!(svg.contains("x=\"54\">&amp;</text>"), "{svg}");
        assert!(svg.contains("<text y=\"32\" fill=\"#ffaf00\" x=\"9\">▂</text>"), "{svg}");
        assert!(svg.contains("width=\"180\" height=\"36\""));
    }

    #[test]
    fn a_selected_row_keeps_its_ground_and_weight_its_weight() {
        let reversed = Style::new().add_modifier(Modifier::REVERSED | Modifier::BOLD);
        let svg = svg(&screen(&[("row", reversed)]), &LIGHT);
        assert!(svg.contains("<rect x=\"0\" y=\"0\" width=\"27\" height=\"18\" fill=\"#24292e\"/>"), "{svg}");
        assert!(svg.contains("fill=\"#fdfdfb\" font-weight=\"bold\""), "{svg}");
    }

    #[test]
    fn wide_characters_are_one_in_text_and_nothing_trails() {
        assert_eq!(text(&screen(&[("日本 x   ", Style::new()), ("", Style::new())])), "日本 x\n\n");
    }

    #[test]
    fn the_check_finds_what_is_not_well_formed() {
        for fault in ["<a>", "<a></b>", "a & b", "<a x=\"1></a>", "<a>\u{1b}</a>", "&nbsp;"] {
            assert!(xml_fault(fault).is_some(), "{fault:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_at_all_breaks_the_picture(text in "\\PC{0,30}", odd in any::<char>(), fg in any::<u8>()) {
            let mut buf = screen(&[(&text, Style::new().fg(Color::Indexed(fg)))]);
            buf[(0, 0)].set_symbol(&odd.to_string());
            let svg = svg(&buf, &DARK);
            prop_assert_eq!(xml_fault(&svg), None);
        }
    }
}
