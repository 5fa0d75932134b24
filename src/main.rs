//! `sluice`: parse, dispatch, exit.

use std::process::ExitCode;

fn main() -> ExitCode {
    sluicegate::cli::main()
}
