//! Jobs that are taken up again, and jobs that go on without us: what restore and backup share.

use serde_json::json;

use super::print;
use super::progress;
use super::report::{Exit, Report};
use super::session::Session;
use crate::jobs::journal::{JournalError, State};
use crate::jobs::{JobId, Kind, StartError, resume_detached};

/// Goes on with job `id`, which must be a `kind`; `otherwise` says what to do about another one.
pub async fn run(id: &JobId, kind: Kind, detach: bool, otherwise: &str, session: &Session) -> Result<Exit, Report> {
    let journal = session.journal()?;
    let job = journal.job(id)?;
    if job.kind() != kind {
        return Err(Report::failed(format!("job {id} is no {kind} but a {}", job.kind()), otherwise));
    }
    if job.state.is_live() && job.state != State::Starting {
        return Err(JournalError::Running(id.clone()).into());
    }
    if !job.state.can_resume() {
        return Err(StartError::NotResumable(id.clone(), job.state).into());
    }
    if detach {
        resume_detached(&journal, id)?;
        return started(id, kind, session);
    }
    // Where the job acts is the job's, not this command's.
    let session = Session { context: job.context, ..session.clone() };
    progress::run(&session, id, kind).await.map(|(exit, _)| exit)
}

/// Says that a job goes on by itself.
pub fn started(id: &JobId, kind: Kind, session: &Session) -> Result<Exit, Report> {
    let words = format!("started {kind} {id}; watch it with: sluice jobs {id} --watch");
    print::said(session, &words, &json!({ "job": id, "kind": kind, "state": State::Starting }))?;
    Ok(Exit::Done)
}

impl From<StartError> for Report {
    fn from(error: StartError) -> Self {
        Self::failed(error.to_string(), "")
    }
}
