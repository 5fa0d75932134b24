//! What a shell and `man` need: completions and the manual page, both made from the tree of commands.

use std::io::Write as _;

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::args::Cli;
use super::print;
use super::report::{Exit, Report};

/// Which shell.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell that is to complete.
    pub shell: Shell,
}

/// Prints completions.
pub fn completions(args: &CompletionsArgs) -> Result<Exit, Report> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "sluice", &mut script);
    print::line(String::from_utf8_lossy(&script).trim_end())?;
    Ok(Exit::Done)
}

/// Prints the manual: a page for `sluice`, followed by one for each command.
pub fn man() -> Result<Exit, Report> {
    let mut root = Cli::command().disable_help_subcommand(true);
    root.build();
    let mut pages = Vec::new();
    let failed = |error: std::io::Error| Report::failed(format!("could not render the manual: {error}"), "");
    clap_mangen::Man::new(root.clone()).render(&mut pages).map_err(failed)?;
    for command in root.get_subcommands().filter(|command| !command.is_hide_set()) {
        writeln!(pages).map_err(failed)?;
        clap_mangen::Man::new(command.clone()).render(&mut pages).map_err(failed)?;
    }
    print::line(String::from_utf8_lossy(&pages).trim_end())?;
    Ok(Exit::Done)
}
