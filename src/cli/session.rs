//! What every command starts from: the context, the state folder, and clients behind the guard.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use etcetera::BaseStrategy as _;

use super::args::Global;
use super::keymap;
use super::report::{Exit, Report};
use super::settings;
use crate::cloud::cache;
use crate::cloud::guard::NoWitness;
use crate::cloud::{Cloud, CloudError, Context, Guard, Mode, budget};
use crate::console::guardrails::Guardrails;
use crate::console::{self, ConsoleError, Place};
use crate::jobs::{JobId, Journal, JournalError, audit};

/// How long a person waits for a first answer before being told that there is none.
pub const PATIENCE: Duration = Duration::from_secs(9);

/// One run of the command line.
#[derive(Clone, Debug)]
pub struct Session {
    /// The options that all commands share.
    pub global: Global,
    /// Where commands act.
    pub context: Context,
    /// Where the journal and everything beside it is kept.
    pub state: PathBuf,
    /// What `config.toml` says of the contexts that the command acts in.
    pub guardrails: Guardrails,
}

impl From<JournalError> for Report {
    fn from(error: JournalError) -> Self {
        // The journal's sentences end in what to do, after the last colon.
        Self::failed(error.to_string(), "")
    }
}

impl Session {
    /// Settles what the options and the environment say.
    pub fn new(global: Global) -> Result<Self, Report> {
        let state = match &global.state_dir {
            // A detached worker has another working directory.
            Some(folder) => std::path::absolute(folder).map_err(|error| {
                Report::bad_arguments(format!("the state folder {} is no path: {error}", folder.display()), "")
            })?,
            None => default_state_folder()?,
        };
        // The SDK takes an empty one for an address, and breaks down over it.
        let empty = |name: &str| {
            name.starts_with("AWS_ENDPOINT_URL") && std::env::var_os(name).is_some_and(|url| url.is_empty())
        };
        if let Some(name) = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()).find(|name| empty(name))
        {
            return Err(Report::bad_arguments(
                format!("the environment variable {name} is set and empty"),
                "unset it, or give it an address such as http://127.0.0.1:4566",
            ));
        }
        let context = Context {
            profile: global.profile.clone(),
            region: global.region.clone(),
            endpoint_url: global.endpoint_url.clone().or_else(endpoint_of_environment),
        }
        .settled(|name| std::env::var(name).ok());
        if let Some(url) = &context.endpoint_url
            && !(url.starts_with("http://") || url.starts_with("https://"))
        {
            return Err(Report::bad_arguments(
                format!("the endpoint {url} is no URL"),
                "write it with its scheme, such as http://127.0.0.1:4566",
            ));
        }
        Ok(Self { global, context, state, guardrails: Guardrails::default() })
    }

    /// What the guard does with changes: what the options ask for, or what is stricter.
    pub fn mode(&self) -> Mode {
        self.guardrails.mode(self.asked_mode(), self.global.read_write)
    }

    /// What the options ask for, whatever guards the context.
    pub fn asked_mode(&self) -> Mode {
        match (self.global.read_only, self.global.dry_run) {
            (true, _) => Mode::ReadOnly,
            (_, true) => Mode::DryRun,
            _ => Mode::Normal,
        }
    }

    /// The journal's file.
    pub fn journal_path(&self) -> PathBuf {
        self.state.join("journal.sqlite")
    }

    /// The journal.
    pub fn journal(&self) -> Result<Journal, Report> {
        Ok(Journal::open(&self.journal_path())?)
    }

    /// The session that a job is made in, which acts in `place` as clients came to it: the job is taken up again where it
    /// began, whatever the environment of that day says. A dry run is no job that anyone should find done: its journal is in
    /// a folder of its own, and goes with it.
    pub fn for_a_job(&self, place: Context) -> Result<(Self, Option<tempfile::TempDir>), Report> {
        let scratch = (self.mode() == Mode::DryRun).then(tempfile::tempdir).transpose().map_err(|error| {
            Report::failed(format!("no temporary folder for the dry run: {error}"), "set TMPDIR to a folder with room")
        })?;
        let state = scratch.as_ref().map_or_else(|| self.state.clone(), |folder| folder.path().to_owned());
        Ok((Self { context: place, state, ..self.clone() }, scratch))
    }

    /// The journal, when there is one: a command that only reads makes none.
    pub fn journal_if_any(&self) -> Result<Option<Journal>, Report> {
        if self.journal_path().exists() { self.journal().map(Some) } else { Ok(None) }
    }

    /// Clients for a command that changes something; every change is audited.
    pub async fn cloud(&self) -> Result<Cloud, Report> {
        let guard = audit::guard(&self.journal_path(), &self.context, None, self.mode())?;
        Ok(self.within_budget(Cloud::connect(&self.context, guard).await?))
    }

    fn within_budget(&self, cloud: Cloud) -> Cloud {
        cloud.budget().set(self.guardrails.rate(self.global.api_rate, budget::PER_SECOND));
        cloud
    }

    /// Clients for a command that only reads: they can't do anything else, and leave no journal behind.
    pub async fn reading(&self) -> Result<Cloud, Report> {
        let guard = Guard::new(Mode::ReadOnly, Arc::new(NoWitness));
        Ok(self.within_budget(Cloud::connect(&self.context, guard).await?))
    }

    /// Runs a first question to AWS, and ends in words when no answer comes: an endpoint that takes the connection and
    /// says nothing would otherwise hold a person for a minute and a half.
    pub async fn answered<T>(&self, question: impl Future<Output = Result<T, CloudError>>) -> Result<T, Report> {
        match tokio::time::timeout(PATIENCE, question).await {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(Report::failed(
                format!(
                    "no answer from {} within {} seconds",
                    self.context.endpoint_url.as_deref().unwrap_or("AWS"),
                    PATIENCE.as_secs()
                ),
                "check --endpoint-url, --region and the network",
            )),
        }
    }

    /// Keeps what was seen of the context, for completions and the console's first frame. Nothing depends on it.
    pub fn remember(&self, seen: impl FnOnce(&mut cache::Inventory)) {
        if let Err(error) = cache::update(&self.state, &self.context, seen) {
            tracing::debug!(%error, "what was seen could not be kept");
        }
    }

    /// Opens the console, on a job when one is given.
    pub async fn console(&self, job: Option<JobId>) -> Result<Exit, Report> {
        let settings = settings::load()?;
        let options = console::Options {
            cloud: self.reading().await?,
            journal_path: self.journal_path(),
            mode: self.asked_mode(),
            open: job.map(Place::Job),
            api_rate: self.global.api_rate,
            keymap: keymap::users_file(),
            step: settings.bump,
            read_write: self.global.read_write,
            rules: settings.rules,
            theme: settings.theme,
            regions: settings.regions,
        };
        console::run(options).await?;
        Ok(Exit::Done)
    }
}

impl From<ConsoleError> for Report {
    fn from(error: ConsoleError) -> Self {
        match error {
            ConsoleError::Cloud(error) => error.into(),
            error => Self::failed(error.to_string(), ""),
        }
    }
}

/// `AWS_ENDPOINT_URL`, unless a service has an endpoint of its own: then the SDK, which knows the order, decides.
fn endpoint_of_environment() -> Option<String> {
    let own = std::env::vars_os().any(|(name, _)| name.to_string_lossy().starts_with("AWS_ENDPOINT_URL_"));
    std::env::var("AWS_ENDPOINT_URL").ok().filter(|url| !own && !url.is_empty())
}

fn default_state_folder() -> Result<PathBuf, Report> {
    let strategy = etcetera::choose_base_strategy().map_err(|_| {
        Report::failed("there is no home folder to keep jobs in", "pass --state-dir or set SLUICE_STATE_DIR")
    })?;
    Ok(strategy.state_dir().unwrap_or_else(|| strategy.data_dir()).join("sluicegate"))
}
