//! The command line: arguments become a job, a query or a screen, and the outcome becomes lines and an exit code.
//!
//! ```text
//!   main ─ args ─▶ session (context, state folder, guard) ─▶ one file per command ─▶ print │ report
//! ```

mod args;
mod ask;
mod audit;
mod autoscale;
mod backup;
mod capacity;
mod complete;
mod control;
mod dead;
#[cfg(feature = "local")]
mod demo;
mod guarded;
mod iam;
mod info;
mod jobs;
mod keymap;
mod leases;
mod load;
#[cfg(feature = "local")]
mod local;
mod log;
mod minutes;
mod owed;
mod plan;
mod playback;
mod preview;
mod print;
mod progress;
mod pump;
mod replicate;
mod report;
mod restore;
mod resume;
mod session;
mod settings;
mod shell;
mod signal;
mod source;
mod streams;
mod tables;
mod track;
mod verify;
mod watch;
mod work;

use std::process::ExitCode;

use clap::Parser as _;

use args::{Cli, Command};
pub use report::{Exit, Report};
use session::Session;

/// Parses the arguments, runs what they ask for, and says how it ended.
pub fn main() -> ExitCode {
    if complete::answered() {
        return ExitCode::SUCCESS;
    }
    let cli = Cli::parse();
    let on_screen = match &cli.command {
        None => true,
        #[cfg(feature = "local")]
        Some(Command::Demo(demo)) => !demo.headless,
        Some(_) => false,
    };
    let outcome = log::start(&cli.global, on_screen).and_then(|_log| {
        let session = Session::new(cli.global)?;
        tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(|error| Report::failed(format!("could not start: {error}"), ""))?
            .block_on(run(cli.command, &session))
    });
    match outcome {
        Ok(exit) => exit.into(),
        Err(report) => {
            if !report.sentence.is_empty() {
                eprintln!("{report}");
            }
            report.exit.into()
        }
    }
}

async fn run(command: Option<Command>, session: &Session) -> Result<Exit, Report> {
    let guarded = match &command {
        Some(command) => guarded::guarded(command, session).await?,
        // The console guards each context that it goes to.
        None => session.clone(),
    };
    let session = &guarded;
    if let Some(command) = &command {
        owed::tell(command, session).await;
    }
    match command {
        None => session.console(None).await,
        #[cfg(feature = "local")]
        Some(Command::Demo(args)) => demo::run(args, session).await,
        #[cfg(feature = "local")]
        Some(Command::Local(args)) => local::run(args).await,
        Some(Command::Tables(args)) => tables::run(args, session).await,
        Some(Command::Streams(args)) => streams::run(args, session).await,
        Some(Command::Jobs(args)) => jobs::run(args, session).await,
        Some(Command::Restore(args)) => restore::run(args, session).await,
        Some(Command::Backup(args)) => backup::run(args, session).await,
        Some(Command::Verify(args)) => verify::run(args, session).await,
        Some(Command::Capacity(args)) => capacity::run(args, session).await,
        Some(Command::Autoscale(args)) => autoscale::run(args, session).await,
        Some(Command::Work(args)) => work::run(args, session).await,
        Some(Command::Load(args)) => load::run(args, session).await,
        Some(Command::Track(args)) => track::run(args, session).await,
        Some(Command::Pump(args)) => pump::run(args, session).await,
        Some(Command::Playback(args)) => playback::run(args, session).await,
        Some(Command::Replicate(args)) => replicate::run(*args, session).await,
        Some(Command::Iam(args)) => iam::run(args, session).await,
        Some(Command::Leases(args)) => leases::run(&args, session).await,
        Some(Command::Pause(args)) => control::pause(&args, session),
        Some(Command::Resume(args)) => control::resume(&args, session),
        Some(Command::Cancel(args)) => control::cancel(&args, session),
        Some(Command::Rate(args)) => control::rate(&args, session),
        Some(Command::Dead(args)) => dead::run(args, session).await,
        Some(Command::Audit(args)) => audit::run(&args, session).await,
        Some(Command::Info(args)) => info::run(&args, session).await,
        Some(Command::Keymap(args)) => keymap::run(&args, session),
        Some(Command::Completions(args)) => shell::completions(&args),
        Some(Command::Man(args)) => shell::man(&args),
        Some(Command::Remember) => complete::remember(session).await,
        Some(Command::Worker(args)) => jobs::work(args, session).await,
    }
}
