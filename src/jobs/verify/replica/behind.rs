//! How far the replica follows its source: what differs counts only once the replica has had the time to catch up.

use std::time::Duration;

use crate::jobs::journal::{State, now_ms};
use crate::jobs::replicate::RETENTION_MS;
use crate::jobs::spec::{JobId, ReplicaSpec};
use crate::jobs::worker::Session;

/// How far a replica may be behind when nobody says: DynamoDB Streams hand a change over within a second or so, and a
/// replicator writes it within a few.
const LAG: Duration = Duration::from_secs(15);

/// Taken off what a job says of its lag: times on the stream are whole seconds, and what was read last is still being
/// written.
const SLACK: Duration = Duration::from_secs(5);

/// A sample that is older says nothing of now.
const STALE: Duration = Duration::from_secs(15);

/// How long a replica that falls behind is waited for.
const PATIENCE: Duration = Duration::from_mins(10);

/// Tells up to when a replica follows.
pub(super) struct Behind<'s, 'l> {
    session: &'s Session<'l>,
    job: Option<JobId>,
    lag: Duration,
}

impl<'s, 'l> Behind<'s, 'l> {
    pub fn new(session: &'s Session<'l>, spec: &ReplicaSpec) -> Self {
        let lag = spec.lag.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        // What the operator says of the lag is not asked of the job.
        let job = if lag.is_some() { None } else { spec.job.clone() };
        Self { session, job, lag: lag.unwrap_or(LAG) }
    }

    /// Changes of the source up to this moment are in the replica, ms since the epoch.
    pub fn follows_to(&self) -> i64 {
        self.by_its_job().unwrap_or_else(|| now_ms() - ms(self.lag))
    }

    /// How long what is still on its way is waited for.
    pub fn patience(&self) -> Duration {
        if self.by_its_job().is_some() { PATIENCE } else { self.lag * 4 + Duration::from_secs(5) }
    }

    /// The wait before look number `round`, counted from 0.
    pub fn pause(&self, round: u32) -> Duration {
        let growing = Duration::from_millis(250).saturating_mul(2u32.saturating_pow(round));
        growing.min((self.lag / 3).max(Duration::from_millis(200))).min(Duration::from_secs(30))
    }

    /// The same by what the running job says; `None` when none runs, it has said nothing lately, or the replica is not
    /// whole yet.
    pub fn by_its_job(&self) -> Option<i64> {
        let id = self.job.as_ref()?;
        let journal = self.session.journal();
        let runs = matches!(journal.job(id).ok()?.state, State::Running);
        let sample = journal.last_sample(id).ok()??;
        if !runs || sample.at_ms < now_ms() - ms(STALE) {
            return None;
        }
        let replica = sample.replica.filter(|replica| replica.bootstrap.is_none())?;
        // How old the oldest change is that is not in the replica.
        let age = RETENTION_MS - i64::try_from(replica.trim_ms).unwrap_or(RETENTION_MS);
        Some(sample.at_ms - age.max(0) - ms(SLACK))
    }
}

fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 2)
}
