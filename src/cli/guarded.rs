//! What `config.toml` guards holds for commands as it does for the console: which contexts a command changes something in,
//! and what of it is refused there.

use std::io::{IsTerminal as _, Write as _};

use super::args::Command;
use super::dead::DeadAct;
use super::report::{Exit, Report};
use super::session::Session;
use super::{print, settings};
use crate::cloud::guard::{Change, NoWitness};
use crate::cloud::{Cloud, Context, Guard, Mode, inventory, price};
use crate::console::guardrails::{Guardrails, Rules, profile_of};
use crate::jobs::audit::Unsent;
use crate::jobs::journal::Job;
use crate::jobs::replicate::writes_in;
use crate::jobs::{JobId, Journal};

/// Where a command acts.
#[derive(Debug, PartialEq, Eq)]
enum Acts {
    /// Nowhere: it shows what this machine has.
    Nowhere,
    /// Where the options say.
    Here,
    /// Where the options say, and in that context as well.
    HereAnd(Context),
    /// Where a job does.
    With(JobId),
}

fn acts(command: &Command, session: &Session) -> Acts {
    let with = |id: &Option<String>| id.as_ref().map_or(Acts::Here, |id| Acts::With(JobId(id.clone())));
    match command {
        #[cfg(feature = "local")]
        Command::Demo(_) | Command::Local(_) => Acts::Nowhere,
        Command::Jobs(_) | Command::Info(_) | Command::Keymap(_) | Command::Completions(_) | Command::Man(_) => {
            Acts::Nowhere
        }
        // What undoes a change looks for what guards the context of that change.
        Command::Audit(_) => Acts::Nowhere,
        // Its job was accepted when it was started.
        Command::Worker(_) => Acts::Nowhere,
        Command::Restore(args) => with(&args.resume),
        Command::Backup(args) => with(&args.resume),
        Command::Playback(args) => with(&args.resume),
        Command::Pause(args) | Command::Resume(args) | Command::Cancel(args) => Acts::With(JobId(args.id.clone())),
        Command::Rate(args) => Acts::With(JobId(args.id.clone())),
        Command::Dead(args) => match &args.act {
            DeadAct::List { .. } | DeadAct::Show { .. } => Acts::Nowhere,
            DeadAct::Import { .. } => Acts::Here,
            DeadAct::Edit { job, .. } => Acts::With(JobId(job.clone())),
            DeadAct::Replay { which, .. } | DeadAct::Drop { which } => Acts::With(JobId(which.job.clone())),
        },
        // A repair writes the replica, which only its job or these options know the place of.
        Command::Verify(args) if args.replica.repair => match &args.replica.job {
            Some(id) => Acts::With(JobId(id.clone())),
            None => Acts::HereAnd(args.replica.target(String::new()).context(&session.context)),
        },
        Command::Replicate(args) if args.to_profile.is_some() || args.to_region.is_some() => Acts::HereAnd(Context {
            profile: args.to_profile.clone().or_else(|| session.context.profile.clone()),
            region: args.to_region.clone(),
            endpoint_url: args.to_endpoint_url.clone(),
        }),
        _ => Acts::Here,
    }
}

/// The session that `command` runs in, with what guards the contexts that it acts in.
///
/// # Errors
/// A `config.toml` that can't be understood: it may be what guards production.
pub async fn guarded(command: &Command, session: &Session) -> Result<Session, Report> {
    let acts = acts(command, session);
    if acts == Acts::Nowhere {
        return Ok(session.clone());
    }
    let rules = settings::load()?.rules;
    if rules.0.is_empty() {
        return Ok(session.clone());
    }
    let guardrails = match acts {
        Acts::Nowhere => Guardrails::default(),
        Acts::Here => of(&rules, &session.context, session).await,
        Acts::HereAnd(there) => of(&rules, &session.context, session).await.and(of(&rules, &there, session).await),
        Acts::With(id) => {
            // A job that is not there is told by the command itself.
            match session.journal_if_any()?.and_then(|journal| journal.job(&id).ok()) {
                Some(job) => of(&rules, &writes_in(&job), session).await,
                None => Guardrails::default(),
            }
        }
    };
    Ok(Session { guardrails, ..session.clone() })
}

/// The same session in another context, with what guards that one.
///
/// # Errors
/// A `config.toml` that can't be understood.
pub async fn acting_in(context: Context, session: &Session) -> Result<Session, Report> {
    let rules = settings::load()?.rules;
    let guardrails = if rules.0.is_empty() { Guardrails::default() } else { of(&rules, &context, session).await };
    Ok(Session { context, guardrails, ..session.clone() })
}

/// What guards `context`. AWS is asked for the account only where a rule names accounts; while it does not say, the rule holds.
async fn of(rules: &Rules, context: &Context, session: &Session) -> Guardrails {
    let profile = profile_of(context);
    let cloud = Cloud::connect(context, Guard::new(Mode::ReadOnly, std::sync::Arc::new(NoWitness))).await.ok();
    let region = cloud.as_ref().map_or(String::new(), |cloud| cloud.region.clone());
    let guardrails = rules.of(&profile, &region, None);
    let Some(cloud) = cloud.filter(|_| guardrails.awaits_account) else { return guardrails };
    match session.answered(inventory::account(&cloud)).await {
        Ok(account) if !account.is_empty() => rules.of(&profile, &region, Some(&account)),
        _ => guardrails,
    }
}

/// Whether a person may tell `job` something now, which is a line of the audit then. A dry run shows it instead, and the
/// command is done. `command` is the command's name, `said` what follows the job's.
///
/// # Errors
/// Read-only, by an option or by `config.toml`, or a journal that can't be written.
pub fn may_tell(
    session: &Session,
    journal: &Journal,
    job: &Job,
    command: &str,
    said: &str,
) -> Result<Option<Exit>, Report> {
    let change = Change::of_job(command, &job.id.0, said);
    match session.mode() {
        Mode::Normal => {
            journal.audit(&job.context, Some(&job.id), &change)?;
            Ok(None)
        }
        Mode::DryRun => {
            print::line(&Unsent::of(&change, &job.context))?;
            Ok(Some(Exit::Done))
        }
        Mode::ReadOnly => Err(Report::failed(
            format!("read-only: refused to {} {}", change.operation, change.target),
            session.guardrails.why_read_only(),
        )),
    }
}

/// A raise above what `config.toml` allows a context has its name typed, whatever `--yes` says.
///
/// # Errors
/// Nobody types it.
pub fn within_most(session: &Session, name: &str, from: u64, to: u64) -> Result<(), Report> {
    let Some(most) = session.guardrails.max_write_capacity.filter(|most| to > *most && to > from) else {
        return Ok(());
    };
    if session.mode() != Mode::Normal {
        return Ok(());
    }
    let sentence = format!(
        "{to} WCU for {name} is above the {most} of max_write_capacity of {} ({:.2} dollars an hour)",
        session.guardrails,
        price::write_dollars_per_hour(to)
    );
    if !std::io::stdin().is_terminal() {
        return Err(Report::failed(
            sentence,
            "on a terminal it is asked for by name; else raise max_write_capacity in config.toml",
        ));
    }
    eprint!("{sentence}\ntype {name} to do it: ");
    std::io::stderr().flush().ok();
    let mut typed = String::new();
    std::io::stdin().read_line(&mut typed).ok();
    if typed.trim() == name { Ok(()) } else { Err(Report::failed("nothing was changed", "")) }
}
