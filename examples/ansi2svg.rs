//! Turns a terminal's screen into a picture: `tmux capture-pane -e -p | cargo run --example ansi2svg > docs/console.svg`.

use std::io::{self, Read as _, Write as _};

use anstyle_svg::Term;

fn main() -> io::Result<()> {
    let mut screen = String::new();
    io::stdin().read_to_string(&mut screen)?;
    io::stdout().write_all(Term::new().render_svg(screen.trim_end()).as_bytes())
}
