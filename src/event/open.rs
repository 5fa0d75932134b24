//! Waiting for writes to be settled.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use crate::cloud::CloudError;
use crate::flow::{Outcome, Receipt, Settle, Ticket, Writer};

/// Counts what is open, for writes whose outcome is told by their error alone.
#[derive(Default)]
pub(super) struct Open {
    open: Mutex<usize>,
    none: Notify,
}

impl Open {
    /// A receipt for one more.
    pub fn receipt(self: &Arc<Self>) -> Receipt {
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        Receipt::new(Arc::clone(self) as Arc<dyn Settle>, Ticket(0))
    }

    /// Waits until all are settled, or `writer` fails.
    pub async fn settled(&self, writer: &Writer) -> Result<(), CloudError> {
        wait(&self.none, || *self.open.lock().unwrap_or_else(PoisonError::into_inner), writer).await
    }
}

impl Settle for Open {
    fn settle(&self, _ticket: Ticket, outcome: Outcome) {
        if let Outcome::Dead { reason, .. } = outcome {
            tracing::error!(reason, "a row of the directory or a delete was refused");
        }
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        *open -= 1;
        if *open == 0 {
            self.none.notify_waiters();
        }
    }
}

/// Waits until nothing is open, or `writer` fails.
pub(super) async fn wait(none: &Notify, open: impl Fn() -> usize, writer: &Writer) -> Result<(), CloudError> {
    loop {
        let settled = none.notified();
        tokio::pin!(settled);
        settled.as_mut().enable();
        if open() == 0 {
            return Ok(());
        }
        tokio::select! {
            () = settled => {}
            error = writer.failed() => return Err(error),
        }
    }
}
