//! The one clock: injected, so that tests neither sleep nor depend on the time of day.

use std::fmt;
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use futures::future::BoxFuture;

/// Time since some fixed moment, and waiting for it to pass.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// Time since the clock's own beginning.
    fn now(&self) -> Duration;
    /// Ends once `duration` has passed.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;
}

/// The machine's monotonic clock; needs a tokio runtime with time.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock(Instant);

impl SystemClock {
    /// A clock that begins now.
    pub fn new() -> Self {
        Self(Instant::now())
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        tokio::time::sleep(duration).boxed()
    }
}

#[cfg(test)]
pub(super) use manual::ManualClock;

#[cfg(test)]
mod manual {
    use std::sync::{Arc, Mutex};

    use tokio::sync::oneshot;

    use super::*;

    /// A clock whose time jumps to the next sleeper as soon as nothing else has anything to do.
    #[derive(Clone, Debug, Default)]
    pub struct ManualClock(Arc<Mutex<State>>);

    #[derive(Debug, Default)]
    struct State {
        now: Duration,
        sleepers: Vec<(Duration, oneshot::Sender<()>)>,
    }

    impl ManualClock {
        /// Runs `task` to its end on a runtime of one thread, moving the time on whenever all tasks wait.
        pub fn run<F: Future>(&self, task: F) -> F::Output {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let local = tokio::task::LocalSet::new();
            local.block_on(&runtime, async {
                tokio::pin!(task);
                let mut idle = 0;
                loop {
                    // A task that is merely between two wake-ups needs a few turns of the scheduler.
                    tokio::select! {
                        biased;
                        out = &mut task => return out,
                        () = tokio::task::yield_now() => idle += 1,
                    }
                    if idle >= 64 {
                        idle = 0;
                        self.wake_next();
                    }
                }
            })
        }

        fn wake_next(&self) {
            let mut state = self.0.lock().unwrap();
            state.sleepers.retain(|(_, wake)| !wake.is_closed());
            let Some(at) = state.sleepers.iter().map(|(at, _)| *at).min() else { return };
            state.now = state.now.max(at);
            for (due, wake) in std::mem::take(&mut state.sleepers) {
                if due <= at {
                    let _ = wake.send(());
                } else {
                    state.sleepers.push((due, wake));
                }
            }
        }
    }

    impl Clock for ManualClock {
        fn now(&self) -> Duration {
            self.0.lock().unwrap().now
        }

        fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
            let (wake, woken) = oneshot::channel();
            let mut state = self.0.lock().unwrap();
            let at = state.now + duration;
            state.sleepers.push((at, wake));
            async move {
                let _ = woken.await;
            }
            .boxed()
        }
    }
}
