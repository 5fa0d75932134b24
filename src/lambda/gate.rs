//! The gate before a table: once it is shut nothing more is sent, and what is on its way is waited for.
//!
//! Lambda freezes a process between invocations and may hand the records that were not settled to another one. A write
//! that was still queued here would then go out later, on top of a newer one: so nothing may be left behind.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::sync::Notify;

use crate::cloud::CloudError;
use crate::flow::{BatchReply, Consumed, TablePut};

/// A table behind a gate.
pub(super) struct Gate {
    inner: Arc<dyn TablePut>,
    state: Mutex<State>,
    landed: Notify,
}

#[derive(Debug, Default)]
struct State {
    shut: bool,
    /// Requests on their way.
    flying: usize,
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("state", &self.state).finish_non_exhaustive()
    }
}

/// One request on its way.
struct Flight<'a>(&'a Gate);

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        self.0.state().flying -= 1;
        self.0.landed.notify_waiters();
    }
}

impl Gate {
    /// An open gate before `inner`.
    pub fn new(inner: Arc<dyn TablePut>) -> Self {
        Self { inner, state: Mutex::default(), landed: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets nothing more through.
    pub fn shut(&self) {
        self.state().shut = true;
    }

    /// Ends once nothing is on its way any more.
    pub async fn landed(&self) {
        loop {
            let landed = self.landed.notified();
            tokio::pin!(landed);
            landed.as_mut().enable();
            if self.state().flying == 0 {
                return;
            }
            landed.await;
        }
    }

    /// Passes; for ever waits there when it is shut: whoever shut it drops the writer.
    async fn pass(&self) -> Flight<'_> {
        {
            let mut state = self.state();
            if !state.shut {
                state.flying += 1;
                return Flight(self);
            }
        }
        std::future::pending().await
    }
}

impl TablePut for Gate {
    fn batch(&self, body: Bytes) -> BoxFuture<'_, Result<BatchReply, CloudError>> {
        async move {
            let _flight = self.pass().await;
            self.inner.batch(body).await
        }
        .boxed()
    }

    fn put(&self, body: Bytes) -> BoxFuture<'_, Result<Option<Consumed>, CloudError>> {
        async move {
            let _flight = self.pass().await;
            self.inner.put(body).await
        }
        .boxed()
    }

    fn delete(&self, body: Bytes) -> BoxFuture<'_, Result<Option<Consumed>, CloudError>> {
        async move {
            let _flight = self.pass().await;
            self.inner.delete(body).await
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    /// A table that answers when it is told to.
    struct Slow(Mutex<Option<oneshot::Receiver<()>>>);

    impl TablePut for Slow {
        fn batch(&self, _: Bytes) -> BoxFuture<'_, Result<BatchReply, CloudError>> {
            let told = self.0.lock().unwrap().take().expect("one request passes");
            async move {
                told.await.unwrap();
                Ok(BatchReply::default())
            }
            .boxed()
        }
        fn put(&self, _: Bytes) -> BoxFuture<'_, Result<Option<Consumed>, CloudError>> {
            panic!("nothing is put")
        }
        fn delete(&self, _: Bytes) -> BoxFuture<'_, Result<Option<Consumed>, CloudError>> {
            panic!("nothing is deleted")
        }
    }

    #[test]
    fn a_shut_gate_lets_nothing_through_and_waits_for_what_is_on_its_way() {
        let (tell, told) = oneshot::channel();
        let gate = Gate::new(Arc::new(Slow(Mutex::new(Some(told)))));
        let mut first = gate.batch(Bytes::new());
        assert!(first.as_mut().now_or_never().is_none());
        gate.shut();
        let mut landed = Box::pin(gate.landed());
        assert!(landed.as_mut().now_or_never().is_none());
        assert!(gate.batch(Bytes::new()).now_or_never().is_none());
        tell.send(()).unwrap();
        assert!(first.now_or_never().expect("it was answered").is_ok());
        assert!(landed.now_or_never().is_some());
    }
}
