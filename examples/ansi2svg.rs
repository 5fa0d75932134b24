//! Turns a terminal's screen into a picture, as the console's own key does:
//! `tmux capture-pane -e -p | cargo run --example ansi2svg -- 116 34 > screen.svg`.

use std::io::{self, Read as _};

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use sluicegate::console::picture;

fn colour(colour: vt100::Color) -> Color {
    match colour {
        vt100::Color::Default => Color::Reset,
        vt100::Color::Idx(n) => Color::Indexed(n),
        vt100::Color::Rgb(r, g, b) => Color::Rgb(r, g, b),
    }
}

fn style(cell: &vt100::Cell) -> Style {
    let mut style = Style::new().fg(colour(cell.fgcolor())).bg(colour(cell.bgcolor()));
    for (is, modifier) in [
        (cell.bold(), Modifier::BOLD),
        (cell.dim(), Modifier::DIM),
        (cell.underline(), Modifier::UNDERLINED),
        (cell.inverse(), Modifier::REVERSED),
    ] {
        if is {
            style = style.add_modifier(modifier);
        }
    }
    style
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let size: Vec<u16> = std::env::args().skip(1).map(|argument| argument.parse()).collect::<Result<_, _>>()?;
    let [columns, rows] = size.as_slice() else { return Err("usage: ansi2svg COLUMNS ROWS < SCREEN".into()) };
    let mut screen = String::new();
    io::stdin().read_to_string(&mut screen)?;
    let mut parser = vt100::Parser::new(*rows, *columns, 0);
    parser.process(screen.trim_end_matches('\n').replace('\n', "\r\n").as_bytes());

    let mut buffer = Buffer::empty(Rect::new(0, 0, *columns, *rows));
    for row in 0..*rows {
        for column in 0..*columns {
            if let Some(cell) = parser.screen().cell(row, column) {
                let contents = if cell.has_contents() { cell.contents() } else { " " };
                buffer[(column, row)].set_symbol(contents).set_style(style(cell));
            }
        }
    }
    print!("{}", picture::svg(&buffer, &picture::DARK));
    Ok(())
}
