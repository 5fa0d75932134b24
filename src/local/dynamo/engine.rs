//! The thread that owns dynoxide's database. It serves one call at a time whoever asks, so calls queue here, in order,
//! and no thread of the runtime waits for its lock.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;

use dynoxide::{Database, DynoxideError};
use tokio::sync::oneshot;

use crate::local::LocalError;

enum Call {
    Run(Box<dyn FnOnce(&Database) + Send>),
    Close,
}

/// The one way to the database.
pub(super) struct Engine {
    calls: mpsc::Sender<Call>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Engine {
    /// Opens the database in `file`, or one in memory.
    ///
    /// On a file, commits are not flushed to the disk one by one: what was answered survives the end of this process,
    /// however it ends, but the last seconds may be lost with the power.
    pub(super) fn open(file: Option<&Path>) -> Result<Self, LocalError> {
        let failed = |error: DynoxideError| LocalError::DynamoDb(error.to_string());
        let database = match file {
            Some(file) => {
                let database = Database::new(&file.to_string_lossy()).map_err(failed)?;
                database.enable_bulk_loading().map_err(failed)?;
                database
            }
            None => Database::memory().map_err(failed)?,
        };
        let (calls, queue) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("dynamodb".to_owned())
            .spawn(move || {
                while let Ok(Call::Run(call)) = queue.recv() {
                    // A call that panics answers with an error (its reply channel is dropped) and ends alone.
                    catch_unwind(AssertUnwindSafe(|| call(&database))).ok();
                }
            })
            .map_err(|error| LocalError::DynamoDb(format!("can't start its thread: {error}")))?;
        Ok(Self { calls, thread: Mutex::new(Some(thread)) })
    }

    /// Runs `call` on the database's thread.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        call: impl FnOnce(&Database) -> dynoxide::Result<T> + Send + 'static,
    ) -> dynoxide::Result<T> {
        let (reply, answer) = oneshot::channel();
        let call = Call::Run(Box::new(move |database| {
            // The client may have gone; what was asked is done all the same.
            reply.send(call(database)).ok();
        }));
        let gone = || DynoxideError::InternalServerError("the embedded DynamoDB has stopped".to_owned());
        self.calls.send(call).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    /// Runs `step` when its turn comes, and again behind those who came meanwhile, until it returns false. Nobody waits
    /// for it.
    pub(super) fn post_until_done(&self, step: impl FnMut(&Database) -> bool + Send + 'static) {
        again(&self.calls, step);
    }

    /// Waits for the calls before it and closes the database.
    pub(super) async fn close(&self) {
        // A second close finds nobody listening, and nothing to wait for.
        self.calls.send(Call::Close).ok();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            tokio::task::spawn_blocking(move || thread.join().ok()).await.ok();
        }
    }
}

fn again(calls: &mpsc::Sender<Call>, mut step: impl FnMut(&Database) -> bool + Send + 'static) {
    let queue = calls.clone();
    let call = move |database: &Database| {
        if step(database) {
            again(&queue, step);
        }
    };
    // With the database closed there is nothing left to do.
    calls.send(Call::Run(Box::new(call))).ok();
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.calls.send(Call::Close).ok();
    }
}
