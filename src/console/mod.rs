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
mod asking;
mod background;
mod backup;
mod charts;
mod chord;
mod clouds;
mod columns;
mod commands;
mod confirm;
mod context;
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
mod given;
pub mod guardrails;
mod hands;
mod history;
mod kept;
pub mod keymap;
mod keys;
mod letters;
mod listing;
mod load;
mod lost;
mod memory;
mod mouse;
mod msg;
mod palette;
mod pending;
pub mod picture;
mod places;
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
pub mod theme;
mod trail;
mod update;
mod view;
mod watcher;
mod widget;
mod words;

use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use tokio::sync::mpsc;

use crate::capacity::Step;
use crate::cloud::{Budget, Cloud, CloudError, Guard, budget, cache, guard};
use crate::jobs::JobId;
use crate::jobs::journal::now_ms;
use app::{App, Screen};
use guardrails::Rules;
use hands::{Hands, ScreenWitness};
use keymap::KeymapError;
use msg::Msg;
use places::Limits;
use runtime::Runtime;
use theme::{Theme, Themes};
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
    /// A context's own read-only is lifted for this run.
    pub read_write: bool,
    /// What `config.toml` says of contexts.
    pub rules: Rules,
    /// The theme that `config.toml` asks for.
    pub theme: Option<theme::Name>,
    /// Regions that `config.toml` names, which the choice of a context shows first.
    pub regions: Vec<String>,
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
    let (profile, region) = (guardrails::profile_of(&options.cloud.context), options.cloud.region.clone());
    // What guards accounts holds until it is known that this is none of them.
    let guardrails = options.rules.of(&profile, &region, None);
    let mode = guardrails.mode(options.mode, options.read_write);
    let cloud = Cloud::connect(&options.cloud.context, Guard::new(mode, witness)).await?;
    cloud.budget().set(guardrails.rate(options.api_rate, budget::CONSOLE_PER_SECOND));
    let context = cloud.context.clone();
    let renewal = clouds::renewal(&context).await;
    let place = app::Place { profile, region, context, mode, guardrails, renewal, ..app::Place::default() };
    let is_free = options.open.is_none();
    let screen = match options.open {
        None | Some(Place::Tables) => Screen::Tables,
        Some(Place::Streams) => Screen::Streams,
        Some(Place::Jobs) => Screen::Jobs,
        Some(Place::Job(id)) => Screen::Job(id),
    };
    let variable = |name: &str| std::env::var_os(name);
    let themes = Themes { config: options.theme, ..Themes::from_environment(variable) };
    let asks_background = themes.depends_on_background() && background::is_understood(variable);
    let mut app = App::new(place, keymap, Theme::plain(themes.unicode), screen, now_ms());
    app.themes = themes;
    app.draw_in_theme();
    if let Some(mistake) = app.themes.mistake.clone() {
        app.say(mistake, true);
    }
    app.limits = Limits { mode: options.mode, read_write: options.read_write, api_rate: options.api_rate };
    app.rules = options.rules;
    app.regions = options.regions;
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
    let (journal_to, background_to) = (to.clone(), to.clone());
    std::thread::spawn(move || watcher::watch(watched, &interested, &journal_to));
    let signals = term::heed_signals(to.clone())?;
    let ticks = tokio::spawn(tick(Arc::clone(cloud.budget()), to.clone()));
    let hands = Hands::new(cloud, &options.journal_path, interests, to);

    let held = term::Held::take()?;
    let mut keys = term::TerminalKeys::open();
    if asks_background && let Some(background) = keys.ask_background(background_to).await? {
        app.themes.background = Some(background);
        app.draw_in_theme();
    }
    let terminal = Terminal::new(CrosstermBackend::new(io::stdout()))?;
    let mut runtime = Runtime::new(terminal, app, keys, mailbox, hands, runtime::FRAME)?;
    let ended = runtime.run().await;
    drop(held);
    ticks.abort();
    signals.abort();
    Ok(ended?)
}

async fn tick(budget: Arc<Budget>, to: mpsc::Sender<Msg>) {
    let mut ticks = tokio::time::interval(TICK);
    // After a stop (ctrl-z) the ticks that were missed are of no use.
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        let asked = budget.asked();
        let tick = Msg::Tick { now_ms: now_ms(), questions: asked.questions };
        if to.send(Msg::Api(asked, budget.per_second())).await.is_err() || to.send(tick).await.is_err() {
            return;
        }
    }
}
