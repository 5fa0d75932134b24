//! What keys do to the job at hand: pause it, cap it, end it, verify what it did.

use tui_input::Input;

use super::app::{App, Overlay, Prompt, Purpose, Screen};
use super::confirm::{Confirm, Token};
use super::effect::Effect;
use super::keymap::{Action, Scope};
use super::keys::ask;
use super::replica;
use super::widget::text::shown;
use crate::cloud::Mode;
use crate::flow::Limit;
use crate::jobs::journal::{Control, Job, State};
use crate::jobs::spec::{GoesOn, Kind, Spec, VerifySpec};
use crate::jobs::{ReplicaTarget, ReplicateSpec};

impl App {
    /// The table whose capacity is changed on the screen of `job`: its own, of a put worker the one that holds it back now.
    ///
    /// # Errors
    /// Why there is none that could be changed from here, in words.
    pub fn table_of_job<'a>(&'a self, job: &'a Job) -> Result<&'a str, String> {
        let id = &job.id;
        if !self.is_here(&job.context) {
            let place = job.context.endpoint_url.as_ref().or(job.context.region.as_ref());
            return Err(format!("{id} acts elsewhere ({}): open sluice there", place.map_or("another context", |p| p)));
        }
        match &job.spec {
            spec if !spec.table_here().is_empty() => Ok(spec.table_here()),
            Spec::Replicate(ReplicateSpec { target, .. }) => {
                let is_table = matches!(target, ReplicaTarget::Table(_));
                let why =
                    if is_table { ": open sluice there to change its capacity" } else { ", which has no capacity" };
                Err(format!("{id} writes {}{why}", shown(&target.to_string())))
            }
            Spec::Work(_) => self.table_that_binds(job).ok_or_else(|| {
                format!(
                    "no table holds {id} back now: change the capacity of those that it writes on the list of tables"
                )
            }),
            _ => Err(format!("{id} has no table whose capacity could be changed")),
        }
    }

    /// `cancel (x)`, as the screen of a job that is started ends it.
    pub(super) fn cancel_key(&self) -> String {
        self.keymap.keys(Scope::Job).named("cancel", Action::Cancel)
    }

    /// The table that holds a running job back.
    fn table_that_binds(&self, job: &Job) -> Option<&str> {
        let past = self.histories.get(&job.id).filter(|_| job.state == State::Running)?;
        let binding = past.newest.as_ref()?.binding.as_ref()?;
        let is_a_tables = matches!(
            binding.limit,
            Limit::Table { .. }
                | Limit::Index { .. }
                | Limit::Partition { .. }
                | Limit::Shared { .. }
                | Limit::Leave { .. }
        );
        Some(binding.of.as_str()).filter(|_| is_a_tables)
    }
}

/// A key that acts on the job at hand.
pub(super) fn act(app: &mut App, action: Action) {
    match action {
        Action::Pause => pause(app),
        Action::Cancel => cancel(app),
        Action::Rate => rate(app),
        _ => verify(app),
    }
}

/// The autoscaler of this context: the live one, else the last.
pub(super) fn go_to_scaler(app: &mut App) -> Vec<Effect> {
    let here = app.jobs.iter().flatten().filter(|job| job.kind() == Kind::Autoscale && app.is_here(&job.context));
    let scalers: Vec<_> = here.collect();
    let best = scalers.iter().find(|job| job.state.is_live()).or_else(|| scalers.first()).map(|job| job.id.clone());
    if let Some(id) = best {
        app.go(Screen::Autoscale(id))
    } else {
        app.say("no autoscaler has run here yet: sluice autoscale starts one", true);
        Vec::new()
    }
}

fn pause(app: &mut App) {
    let Some(job) = app.selected_job().and_then(|id| app.job(&id)) else { return };
    let question = match (job.state, job.control) {
        (State::Paused, _) | (State::Running, Control::Pause) => Confirm::control(job, Control::Run, app.keys()),
        (State::Running, _) => Confirm::control(job, Control::Pause, app.keys()),
        (state, _) if state.can_resume() => {
            let mut question = Confirm::control(job, Control::Run, app.keys());
            question.title = match job.spec.goes_on() {
                GoesOn::AtCheckpoint => format!("Take {} up again where its last checkpoint was", job.id),
                GoesOn::FromTheStart => format!("Start {} over, from its beginning", job.id),
                GoesOn::Never => {
                    let words = format!("{} is {}: {}", job.id, state.as_str(), never(job));
                    return app.say(words, true);
                }
            };
            question.effect = Effect::Resume(job.id.clone());
            question
        }
        (state, _) => {
            let words = format!("{} is {}: there is nothing to pause or resume", job.id, state.as_str());
            app.say(words, true);
            return;
        }
    };
    ask(app, question);
}

/// Why a job is not taken up again, and what is done instead.
pub(super) fn never(job: &Job) -> &'static str {
    match job.kind() {
        Kind::Playback => {
            "what went to standard output can't be gone on with: start it anew, from the time of the last line"
        }
        _ => "it can't be taken up again: start it anew",
    }
}

fn cancel(app: &mut App) {
    let Some(job) = app.selected_job().and_then(|id| app.job(&id)) else { return };
    if job.state.is_live() {
        let question = Confirm::control(job, Control::Cancel, app.keys());
        ask(app, question);
    } else {
        let words = format!("{} is {}: there is nothing to cancel", job.id, job.state.as_str());
        app.say(words, true);
    }
}

fn rate(app: &mut App) {
    let Some(job) = app.selected_job().and_then(|id| app.job(&id)) else { return };
    if app.place.mode == Mode::ReadOnly {
        app.say(format!("read-only: a rate is refused; {}", app.place.guardrails.why_read_only()), true);
        return;
    }
    if !job.state.is_live() {
        let words = format!("{} is {}: it has no rate", job.id, job.state.as_str());
        app.say(words, true);
        return;
    }
    let capped = job.rate.or(match &job.spec {
        Spec::Restore(spec) => spec.rate,
        _ => None,
    });
    let input = Input::new(capped.map_or(String::new(), |rate| rate.to_string()));
    app.overlay = Some(Overlay::Prompt(Prompt { purpose: Purpose::Rate(job.id.clone()), input, error: None }));
}

fn verify(app: &mut App) {
    let Some(job) = app.selected_job().and_then(|id| app.job(&id)) else { return };
    if let Spec::Replicate(replicate) = &job.spec {
        let (job, replicate) = (job.clone(), replicate.clone());
        return replica::ask_verify(app, &job, &replicate);
    }
    let Spec::Restore(restore) = &job.spec else {
        app.say(format!("{} is a {}: a restore or a replica can be verified", job.id, job.kind()), true);
        return;
    };
    let spec = Spec::Verify(VerifySpec {
        source: restore.source.clone(),
        table: restore.table.clone(),
        ..VerifySpec::default()
    });
    let mut facts = vec![("verify", spec.title()), ("reads", "the whole backup and the whole table".to_owned())];
    if job.state.is_live() {
        facts.push((
            "but",
            format!("{} is still {}: what it has not written yet counts as missing", job.id, job.state.as_str()),
        ));
    }
    let question = Confirm {
        title: "Compare the backup with the table, key by key".to_owned(),
        facts,
        undo: format!("it changes nothing; {} ends it", app.cancel_key()),
        token: Token::Yes,
        typed: Input::default(),
        effect: Effect::Start { spec: Box::new(spec), parent: Some(job.id.clone()), at: Some(job.context.clone()) },
    };
    ask(app, question);
}
