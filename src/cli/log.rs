//! Where log lines go: nowhere unless asked for, and never into the console's screen.

use std::fs::OpenOptions;

use tracing_appender::non_blocking::WorkerGuard;
use tracing_subscriber::EnvFilter;

use super::args::Global;
use super::report::Report;

/// Starts logging. Lines are written until the guard is dropped.
pub fn start(global: &Global, on_screen: bool) -> Result<Option<WorkerGuard>, Report> {
    let level = match global.verbose {
        0 if global.log_file.is_none() => return Ok(None),
        0 | 1 => "sluicegate=info,warn",
        2 => "sluicegate=debug,info",
        _ => "debug",
    };
    let filter = EnvFilter::try_from_env("SLUICE_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    let (writer, guard) = if let Some(path) = &global.log_file {
        let file = OpenOptions::new().create(true).append(true).open(path).map_err(|error| {
            Report::bad_arguments(format!("could not open the log file {}: {error}", path.display()), "")
        })?;
        tracing_appender::non_blocking(file)
    } else if on_screen {
        return Err(Report::bad_arguments("the console owns the terminal", "pass --log-file FILE along with -v"));
    } else {
        tracing_appender::non_blocking(std::io::stderr())
    };
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(writer).init();
    Ok(Some(guard))
}
