//! A job is a process: how one is started beside the console, in a session of its own.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::journal::{Journal, JournalError, State};
use super::spec::{JobId, Spec};
use crate::cloud::Context;

/// Why a worker could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The journal could not be written.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The job is not one that can be taken up.
    #[error("job {0} is {state}: only an interrupted or failed job can be resumed", state = .1.as_str())]
    NotResumable(JobId, State),
    /// The process could not be made.
    #[error("the worker process of job {0} could not be started: {1}")]
    Spawn(JobId, io::Error),
}

/// Where a worker's own words go: beside the journal.
pub fn log_path(journal: &Path, id: &JobId) -> PathBuf {
    journal.with_file_name(format!("{id}.log"))
}

/// Writes `spec` down as a new job and starts its worker, which outlives this process and its terminal.
pub fn start_detached(
    journal: &Journal,
    spec: &Spec,
    context: &Context,
    parent: Option<&JobId>,
) -> Result<JobId, StartError> {
    let id = journal.create_job(spec, context, parent)?;
    spawn_worker(journal.path(), &id)?;
    Ok(id)
}

/// Starts a worker for a job that was interrupted or failed.
pub fn resume_detached(journal: &Journal, id: &JobId) -> Result<(), StartError> {
    let job = journal.job(id)?;
    if !job.state.can_resume() {
        return Err(StartError::NotResumable(id.clone(), job.state));
    }
    spawn_worker(journal.path(), id)
}

fn spawn_worker(journal: &Path, id: &JobId) -> Result<(), StartError> {
    let failed = |e| StartError::Spawn(id.clone(), e);
    let folder = journal.parent().unwrap_or(Path::new("."));
    let log = OpenOptions::new().create(true).append(true).mode(0o600).open(log_path(journal, id)).map_err(failed)?;
    let errors = log.try_clone().map_err(failed)?;
    let mut child = Command::new(std::env::current_exe().map_err(failed)?)
        .arg("--state-dir")
        .arg(folder)
        .args(["worker", "--job", &id.0])
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors)
        .spawn()
        .map_err(failed)?;
    // Reaped so that it leaves no zombie while the console lives; the thread ends with either.
    std::thread::spawn(move || drop(child.wait()));
    Ok(())
}

/// Leaves the terminal's session, so that its end (SIGHUP) does not reach this worker.
pub fn leave_terminal() {
    // Fails only for a process that leads its session already: then there is nothing to leave.
    let _ = rustix::process::setsid();
}
