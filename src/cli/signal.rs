//! Ctrl-C, SIGTERM and SIGHUP as one thing to wait for.

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::report::Report;

/// Waits for a request to stop. Made before the work starts, so that no signal falls between.
#[derive(Debug)]
pub struct Stop {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Stop {
    /// From now on these signals are ours.
    pub fn listen() -> Result<Self, Report> {
        let of =
            |kind| signal(kind).map_err(|error| Report::failed(format!("could not listen for signals: {error}"), ""));
        Ok(Self {
            interrupt: of(SignalKind::interrupt())?,
            terminate: of(SignalKind::terminate())?,
            hangup: of(SignalKind::hangup())?,
        })
    }

    /// Ends with the next signal.
    pub async fn wait(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}
