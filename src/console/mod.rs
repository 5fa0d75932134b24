//! The terminal console: what an operator sees and does.
//!
//! ```text
//!  terminal ── keys ──▶ ┌─────────┐ ── Msg ──▶ update(App) ──▶ App ──▶ view ──▶ terminal
//!  journal ─ watcher ─▶ │ runtime │                 │
//!  AWS ───── hands ───▶ └─────────┘ ◀── Effect ─────┘
//! ```
//!
//! `update` is pure; `hands` do what it asks for; the `watcher` tells what workers wrote into the journal. Nothing here
//! talks to a worker but through the journal.

mod anomaly;
mod api;
pub mod app;
mod backup;
mod charts;
mod chord;
mod columns;
mod commands;
mod confirm;
mod controls;
mod copy;
mod due;
mod effect;
mod export;
mod filter;
#[cfg(test)]
pub(crate) mod fixture;
mod form;
mod forms;
mod hands;
mod history;
mod kept;
pub mod keymap;
mod keys;
mod letters;
mod listing;
mod load;
mod memory;
mod mouse;
mod msg;
mod palette;
mod pending;
pub mod picture;
mod playback;
mod raise;
mod range;
mod replica;
mod runtime;
mod spot;
mod stream;
mod stream_hands;
#[cfg(test)]
mod stream_tests;
pub mod term;
#[cfg(test)]
mod tests;
pub(crate) mod theme;
mod trail;
mod update;
mod view;
mod watcher;
mod widget;
mod words;

use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use tokio::sync::mpsc;

use crate::capacity::Step;
use crate::cloud::{Cloud, CloudError, Guard, budget, cache, guard};
use crate::jobs::JobId;
use crate::jobs::journal::now_ms;
use app::{App, Screen};
use hands::{Hands, ScreenWitness};
use keymap::KeymapError;
use msg::Msg;
use runtime::Runtime;
use theme::Theme;
use watcher::Watcher;

/// Where the console opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// One job.
    Job(JobId),
    /// The list of tables.
    Tables,
    /// The list of streams.
    Streams,
    /// The list of jobs.
    Jobs,
}

/// What a console needs.
#[derive(Debug)]
pub struct Options {
    /// Where it acts.
    pub cloud: Cloud,
    /// The journal's file.
    pub journal_path: PathBuf,
    /// What becomes of changes.
    pub mode: guard::Mode,
    /// What it shows first; when `None`, where it was left in this context.
    pub open: Option<Place>,
    /// Questions to AWS a second; the console's own when `None`.
    pub api_rate: Option<f64>,
    /// A keymap file that overlays the shipped one.
    pub keymap: Option<PathBuf>,
    /// By how much + and - change a capacity.
    pub step: Step,
}

/// Why there is no console, or no more.
#[derive(Debug, thiserror::Error)]
pub enum ConsoleError {
    /// The keymap is wrong.
    #[error(transparent)]
    Keymap(#[from] KeymapError),
    /// The clients could not be made.
    #[error(transparent)]
    Cloud(#[from] CloudError),
    /// Input or output is no terminal.
    #[error("the console needs a terminal: sluice tables, streams and jobs print the same, also with --json")]
    NoTerminal,
    /// The terminal failed.
    #[error("the terminal failed: {0}")]
    Terminal(#[from] io::Error),
}

/// How often time is told, ms: the clock and what it moves are shown to the second.
const TICK: Duration = Duration::from_millis(250);

/// Runs the console until it is left.
///
/// # Errors
/// A wrong keymap, no terminal, or a terminal that fails.
pub async fn run(options: Options) -> Result<(), ConsoleError> {
    let keymap = keymap::load(options.keymap.as_deref())?;
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        return Err(ConsoleError::NoTerminal);
    }
    let (to, mailbox) = mpsc::channel(256);
    // The console's own guard: its changes are witnessed on screen, where a command prints them.
    let witness = ScreenWitness::new(&options.journal_path, &options.cloud.context, to.clone());
    let cloud = Cloud::connect(&options.cloud.context, Guard::new(options.mode, witness)).await?;
    cloud.budget().set(options.api_rate.unwrap_or(budget::CONSOLE_PER_SECOND));
    let place = app::Place {
        profile: profile(&cloud),
        region: cloud.region.clone(),
        context: cloud.context.clone(),
        mode: options.mode,
    };
    let is_free = options.open.is_none();
    let screen = match options.open {
        None | Some(Place::Tables) => Screen::Tables,
        Some(Place::Streams) => Screen::Streams,
        Some(Place::Jobs) => Screen::Jobs,
        Some(Place::Job(id)) => Screen::Job(id),
    };
    let theme = Theme::from_environment(|name| std::env::var_os(name));
    let mut app = App::new(place, keymap, theme, screen, now_ms());
    app.step = options.step;
    app.mouse = std::env::var_os("SLUICE_NO_MOUSE").is_none();
    if let Some(state) = options.journal_path.parent()
        && let Some(kept) = cache::load(state, &options.cloud.context)
    {
        app.show_kept(kept);
    }
    app.folder = std::env::current_dir().unwrap_or_default();
    let (memory, unreadable) = memory::load(options.journal_path.parent().unwrap_or(&options.journal_path));
    app.tour = !memory.tour_seen;
    app.recall(memory, is_free);
    if let Some(words) = unreadable {
        app.say(words, true);
    }

    let (interests, interested) = std::sync::mpsc::channel();
    let watched = Watcher::new(&options.journal_path);
    let journal_to = to.clone();
    std::thread::spawn(move || watcher::watch(watched, &interested, &journal_to));
    let signals = term::heed_signals(to.clone())?;
    let ticks = tokio::spawn(tick(cloud.guard.clone(), to.clone()));
    let hands = Hands::new(cloud, &options.journal_path, interests, to);

    let held = term::Held::take()?;
    let terminal = Terminal::new(CrosstermBackend::new(io::stdout()))?;
    let mut runtime = Runtime::new(terminal, app, term::TerminalKeys::open(), mailbox, hands, runtime::FRAME)?;
    let ended = runtime.run().await;
    drop(held);
    ticks.abort();
    signals.abort();
    Ok(ended?)
}

fn profile(cloud: &Cloud) -> String {
    let named = cloud.context.profile.clone().or_else(|| std::env::var("AWS_PROFILE").ok().filter(|p| !p.is_empty()));
    named.unwrap_or_else(|| if cloud.context.is_loopback() { "local" } else { "default" }.to_owned())
}

async fn tick(guard: std::sync::Arc<Guard>, to: mpsc::Sender<Msg>) {
    let mut ticks = tokio::time::interval(TICK);
    // After a stop (ctrl-z) the ticks that were missed are of no use.
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        let (budget, tick) = (guard.budget(), Msg::Tick { now_ms: now_ms(), requests: guard.requests() });
        if to.send(Msg::Api(budget.asked(), budget.per_second())).await.is_err() || to.send(tick).await.is_err() {
            return;
        }
    }
}
