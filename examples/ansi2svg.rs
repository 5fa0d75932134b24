//! Turns a terminal's screen into a picture, each character in its own cell, so that any viewer draws the charts right:
//! `tmux capture-pane -e -p | cargo run --example ansi2svg -- 116 34 > docs/console.svg`.

use std::fmt::Write as _;
use std::io::{self, Read as _};

use vt100::{Cell, Color};

/// A cell's size, pixels.
const CELL: (usize, usize) = (9, 18);
/// The 16 colours by number, then the terminal's own foreground and background.
const COLOURS: [&str; 16] = [
    "#1d1f21", "#cc6666", "#8fb573", "#e0a33e", "#6699cc", "#b294bb", "#4fb3bf", "#c5c8c6", "#70757a", "#e07a7a",
    "#a9d18e", "#f0c674", "#81a2be", "#c9a6d4", "#70c8d4", "#ffffff",
];
const FOREGROUND: &str = "#c5c8c6";
const BACKGROUND: &str = "#15181c";

fn colour(colour: Color, otherwise: &str) -> String {
    match colour {
        Color::Default => otherwise.to_owned(),
        Color::Idx(n) => COLOURS[usize::from(n) % COLOURS.len()].to_owned(),
        Color::Rgb(r, g, b) => format!("#{r:02x}{g:02x}{b:02x}"),
    }
}

fn colours(cell: &Cell) -> (String, String) {
    let pair = (colour(cell.fgcolor(), FOREGROUND), colour(cell.bgcolor(), BACKGROUND));
    if cell.inverse() { (pair.1, pair.0) } else { pair }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let size: Vec<u16> = std::env::args().skip(1).map(|argument| argument.parse()).collect::<Result<_, _>>()?;
    let [columns, rows] = size.as_slice() else { return Err("usage: ansi2svg COLUMNS ROWS < SCREEN".into()) };
    let mut screen = String::new();
    io::stdin().read_to_string(&mut screen)?;
    let mut parser = vt100::Parser::new(*rows, *columns, 0);
    parser.process(screen.trim_end_matches('\n').replace('\n', "\r\n").as_bytes());

    let (width, height) = (usize::from(*columns) * CELL.0, usize::from(*rows) * CELL.1);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"'DejaVu Sans Mono',Menlo,Consolas,monospace\" font-size=\"15\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"{BACKGROUND}\"/>\n"
    );
    for row in 0..*rows {
        let y = usize::from(row) * CELL.1;
        // ASCII neighbours of one style are one element; the list of x holds each to its cell. Other characters may come
        // from another font, after which some viewers lose the list: each is an element of its own.
        let mut run: Option<(String, String, bool)> = None;
        let (mut xs, mut text) = (String::new(), String::new());
        for column in 0..=*columns {
            let cell = parser.screen().cell(row, column).filter(|cell| cell.has_contents() && cell.contents() != " ");
            let style = cell.map(|cell| (colours(cell), cell.bold())).map(|((front, back), bold)| (front, back, bold));
            let plain = text.is_ascii() && cell.is_none_or(|cell| cell.contents().is_ascii());
            if style != run || !plain || column == *columns {
                if let Some((front, _, bold)) = run.take().filter(|_| !text.is_empty()) {
                    let weight = if bold { " font-weight=\"bold\"" } else { "" };
                    writeln!(
                        svg,
                        "<text y=\"{}\" fill=\"{front}\"{weight} x=\"{}\">{}</text>",
                        y + 14,
                        xs.trim_end(),
                        escaped(&text)
                    )?;
                }
                xs.clear();
                text.clear();
                run = style;
            }
            let x = usize::from(column) * CELL.0;
            if let Some(cell) = parser.screen().cell(row, column) {
                let (_, back) = colours(cell);
                if back != BACKGROUND {
                    writeln!(
                        svg,
                        "<rect x=\"{x}\" y=\"{y}\" width=\"{}\" height=\"{}\" fill=\"{back}\"/>",
                        CELL.0, CELL.1
                    )?;
                }
            }
            if let Some(cell) = cell {
                write!(xs, "{x} ")?;
                text.push_str(cell.contents());
            }
        }
    }
    svg.push_str("</svg>\n");
    print!("{svg}");
    Ok(())
}
