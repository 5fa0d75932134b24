//! Questions to the person at the terminal.

use std::io::{IsTerminal as _, Write as _};

use super::report::Report;
use super::session::Session;
use crate::cloud::Mode;

/// The line that is typed next; empty when there is none.
pub(super) fn answer() -> String {
    std::io::stderr().flush().ok();
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).ok();
    answer
}

/// Asks for a whole word, unless the person said yes before.
pub(super) fn ask(session: &Session, question: &str, word: &str) -> Result<(), Report> {
    if session.global.yes || session.mode() != Mode::Normal {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        return Err(Report::bad_arguments(format!("{question}, and nobody is there to ask"), "pass --yes"));
    }
    eprint!("{question}\ntype {word} to do it: ");
    if answer().trim() == word { Ok(()) } else { Err(Report::failed("nothing was changed", "")) }
}
