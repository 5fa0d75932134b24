//! How much is asked of AWS: questions, CloudWatch's metrics by their price, and a rate above which questions wait for
//! their turn.
//!
//! Records are none of its business: a job's pace holds those. What has a budget are the questions that a console or a
//! command asks about tables, streams and metrics, so that an account of a thousand tables gets no storm of them.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Questions a second that a command or a worker may ask. AWS's own limit for `DescribeTable` is 2,500 a second for an
/// account (Amazon DynamoDB quotas); `DescribeStreamSummary` has 20 (FORMATS.md 4).
pub const PER_SECOND: f64 = 20.0;
/// The same for a console, which asks again and again.
pub const CONSOLE_PER_SECOND: f64 = 10.0;
/// US dollars for a thousand metrics that `GetMetricData` is asked for, `us-east-1`.
/// Source: the Amazon CloudWatch pricing page, as of 2025.
pub const DOLLARS_PER_1000_METRICS: f64 = 0.01;

/// What was asked so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Questions that had their turn: what the budget holds.
    pub questions: u64,
    /// Metrics that CloudWatch was asked for: what it bills.
    pub metrics: u64,
    /// Questions that wait for their turn now.
    pub waiting: usize,
    /// Questions that had to wait so far.
    pub held_back: u64,
}

/// A token bucket of one second. Pure: the time is told.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    per_second: f64,
    level: f64,
    at: Duration,
}

impl Bucket {
    /// Takes one question, or tells how long to wait.
    fn take(&mut self, now: Duration) -> Result<(), Duration> {
        let gained = now.saturating_sub(self.at).as_secs_f64() * self.per_second;
        self.level = (self.level + gained).min(self.per_second.max(1.0));
        self.at = now;
        if self.level >= 1.0 {
            self.level -= 1.0;
            return Ok(());
        }
        Err(Duration::from_secs_f64((1.0 - self.level) / self.per_second))
    }
}

/// The budget of one process in one context.
#[derive(Debug)]
pub struct Budget {
    began: Instant,
    bucket: Mutex<Bucket>,
    /// First come, first served.
    turn: tokio::sync::Mutex<()>,
    questions: AtomicU64,
    metrics: AtomicU64,
    waiting: AtomicUsize,
    held_back: AtomicU64,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Budget {
    /// A budget of `per_second` questions a second.
    pub fn new(per_second: f64) -> Arc<Self> {
        let bucket = Bucket { per_second, level: per_second.max(1.0), at: Duration::ZERO };
        Arc::new(Self {
            began: Instant::now(),
            bucket: Mutex::new(bucket),
            turn: tokio::sync::Mutex::default(),
            questions: AtomicU64::new(0),
            metrics: AtomicU64::new(0),
            waiting: AtomicUsize::new(0),
            held_back: AtomicU64::new(0),
        })
    }

    /// Allows `per_second` questions a second from now on.
    pub fn set(&self, per_second: f64) {
        let mut bucket = locked(&self.bucket);
        bucket.per_second = per_second.max(0.01);
        bucket.level = bucket.level.min(bucket.per_second.max(1.0));
    }

    /// Questions a second that it allows.
    pub fn per_second(&self) -> f64 {
        locked(&self.bucket).per_second
    }

    /// Waits until a question may be asked.
    pub async fn turn(&self) {
        self.wait_for_turn().await;
        self.questions.fetch_add(1, Ordering::Relaxed);
    }

    async fn wait_for_turn(&self) {
        let take = || locked(&self.bucket).take(self.began.elapsed());
        if let Ok(_turn) = self.turn.try_lock()
            && take().is_ok()
        {
            return;
        }
        self.held_back.fetch_add(1, Ordering::Relaxed);
        let _waiting = Waiting::new(&self.waiting);
        let _turn = self.turn.lock().await;
        while let Err(wait) = take() {
            tokio::time::sleep(wait).await;
        }
    }

    /// CloudWatch is asked for so many metrics.
    pub(super) fn metrics(&self, count: usize) {
        self.metrics.fetch_add(count as u64, Ordering::Relaxed);
    }

    /// What was asked so far.
    pub fn asked(&self) -> Asked {
        Asked {
            questions: self.questions.load(Ordering::Relaxed),
            metrics: self.metrics.load(Ordering::Relaxed),
            waiting: self.waiting.load(Ordering::Relaxed),
            held_back: self.held_back.load(Ordering::Relaxed),
        }
    }
}

/// Counts one that waits, also when it is broken off.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_of_questions_goes_at_once_and_the_rest_at_the_rate() {
        let mut bucket = Bucket { per_second: 10.0, level: 10.0, at: Duration::ZERO };
        let (mut now, mut asked) = (Duration::ZERO, 0);
        while now < Duration::from_mins(1) {
            match bucket.take(now) {
                Ok(()) => asked += 1,
                Err(wait) => now += wait + Duration::from_micros(1),
            }
        }
        assert!((609..=611).contains(&asked), "{asked}");
    }

    #[test]
    fn what_is_not_asked_is_not_saved_up() {
        let mut bucket = Bucket { per_second: 10.0, level: 0.0, at: Duration::ZERO };
        let hour = Duration::from_hours(1);
        let at_once = (0..1_000).take_while(|_| bucket.take(hour).is_ok()).count();
        assert_eq!(at_once, 10);
    }

    #[test]
    fn less_than_one_a_second_is_a_question_now_and_then() {
        let mut bucket = Bucket { per_second: 0.1, level: 1.0, at: Duration::ZERO };
        assert!(bucket.take(Duration::ZERO).is_ok());
        let wait = bucket.take(Duration::ZERO).unwrap_err();
        assert!((9.9..10.1).contains(&wait.as_secs_f64()), "{wait:?}");
    }

    #[tokio::test]
    async fn a_question_over_the_budget_waits_and_is_counted() {
        use futures::FutureExt as _;
        let budget = Budget::new(1.0);
        budget.turn().await;
        let mut second = Box::pin(budget.turn());
        assert!(second.as_mut().now_or_never().is_none());
        assert_eq!((budget.asked().waiting, budget.asked().held_back), (1, 1));
        // Broken off, it waits no more, and was not asked.
        drop(second);
        assert_eq!((budget.asked().waiting, budget.asked().questions), (0, 1));
    }
}
