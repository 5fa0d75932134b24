//! `sluice-lambda`: the same put, pump and replicate logic on AWS Lambda; the handler is chosen by `SLUICE_HANDLER`.

use std::process::ExitCode;

fn main() -> ExitCode {
    sluicegate::lambda::main()
}
