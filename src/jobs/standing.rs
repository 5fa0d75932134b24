//! How a job stands by its newest samples, for whoever does not run it: how fast it goes, how far behind its shards are
//! and who has them, and how a replica follows.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use super::journal::{ChangeCounts, Job, Journal, JournalError, ReplicaSample, Sample, State};
use super::plan::{grouped, span};
use super::progress::Line;
use super::spec::{JobId, Kind, Spec};
use super::verify::Audited;
use crate::flow::Counters;

/// A speed is a mean over so long, ms, as the one of a progress line is.
const SPEED_MS: i64 = 10_000;
/// What shards and changes come to in a second is a mean over so long, ms.
const RATES_MS: i64 = 6_000;
/// Who has which shard is written down when it changes, and every 30 s: it stands in the samples of so long, ms.
const HOLDERS_MS: i64 = 40_000;

/// A job as the journal last saw it.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    /// What its worker says of it each second; without a speed and a limit where none works on it.
    pub line: Line,
    /// When the newest sample was taken, ms since epoch; `None` before the first.
    pub at_ms: Option<i64>,
    /// The shards that it reads, and those that others read who share its stream, by name. None where nobody works on it.
    pub shards: Vec<ShardStanding>,
    /// Of a replica; `None` before its first sample.
    pub replica: Option<ReplicaStanding>,
}

/// A shard that is read.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ShardStanding {
    /// Its ID.
    pub shard: String,
    /// How far behind its tip, ms; unknown of one that another host reads.
    pub lag_ms: Option<u64>,
    /// About how many of its records are still to be read.
    pub behind_records: Option<u64>,
    /// Records read from it each second.
    pub records_per_second: Option<f64>,
    /// Who reads it: the job, or another host's worker; `None` when nobody does.
    pub holder: Option<String>,
    /// The worker that still finishes what it began of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leaving: Option<String>,
}

/// How a replica follows its source.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplicaStanding {
    /// The furthest that any shard is behind, ms; `None` where none is read.
    pub lag_ms: Option<u64>,
    /// The rest of its newest sample.
    pub sample: ReplicaSample,
    /// What its own audit found; `None` when it has none.
    pub audited: Option<Audited>,
    /// The job was told to audit.
    audits: bool,
    /// The changes of some seconds before the newest sample, and how many; `None` when no worker runs.
    earlier: Option<(ChangeCounts, f64)>,
}

impl Standing {
    /// How `job` stands at `now_ms`, ms since epoch.
    ///
    /// # Errors
    /// The journal can't be read.
    pub fn of(journal: &Journal, job: &Job, now_ms: i64) -> Result<Self, JournalError> {
        let mut samples: Vec<Sample> = journal.last_sample(&job.id)?.into_iter().collect();
        if let Some(newest) = samples.first().filter(|_| job.state.is_live()) {
            let shares = matches!(&job.spec, Spec::Work(spec) if spec.lease_table.is_some());
            let since = newest.at_ms - if shares { HOLDERS_MS } else { SPEED_MS };
            // What an earlier worker sampled says nothing of this one.
            samples = journal.samples(&job.id, since.max(job.started_ms.unwrap_or_default() - 1))?;
        }
        let audited = if job.kind() == Kind::Replicate { Audited::of(journal, &job.id) } else { None };
        Ok(Self::seen(job, &samples, audited, now_ms))
    }

    fn seen(job: &Job, samples: &[Sample], audited: Option<Audited>, now_ms: i64) -> Self {
        let newest = samples.last();
        let is_live = job.state.is_live();
        // What was written after the last checkpoint of a killed worker will be done again: only a live one is ahead.
        let counters = newest.filter(|_| is_live).map_or(job.counters, |sample| sample.counters);
        let ran_ms = job.started_ms.filter(|_| is_live).map_or(0, |at| now_ms - at);
        // As the worker does: what a backup has stored grows by leaps.
        let done = |c: &Counters| if job.kind() == Kind::Backup { c.read } else { job.spec.settled(c) };
        let per_second = grown(since(samples, now_ms - SPEED_MS), |sample| done(&sample.counters));
        let line = Line {
            state: job.state,
            limit: (is_live && !job.limit.is_empty()).then(|| job.limit.clone()),
            ..Line::running(job, ran_ms as f64 / 1000.0, counters).at(
                job.total,
                done(&counters),
                per_second.filter(|_| job.state == State::Running),
            )
        };
        let replica = newest.and_then(|newest| {
            let sample = newest.replica.clone()?;
            let earlier = since(samples, newest.at_ms - RATES_MS).first().filter(|_| job.state == State::Running);
            let earlier = earlier.and_then(|first| {
                let seconds = (newest.at_ms - first.at_ms) as f64 / 1000.0;
                Some((first.replica.as_ref()?.changes, seconds)).filter(|(_, seconds)| *seconds > 0.0)
            });
            Some(ReplicaStanding {
                lag_ms: newest.shards.iter().map(|shard| shard.lag_ms).max(),
                sample,
                audited,
                audits: matches!(&job.spec, Spec::Replicate(spec) if spec.audit_rcu.is_some()),
                earlier,
            })
        });
        Self {
            line,
            at_ms: newest.map(|sample| sample.at_ms),
            shards: if is_live { shards(&job.id, samples) } else { Vec::new() },
            replica,
        }
    }
}

/// Those of `samples` after `after_ms`.
fn since(samples: &[Sample], after_ms: i64) -> &[Sample] {
    &samples[samples.partition_point(|sample| sample.at_ms <= after_ms)..]
}

/// What `of` grew by each second; `None` without two samples, or where it fell since a worker began again.
fn grown(samples: &[Sample], of: impl Fn(&Sample) -> u64) -> Option<f64> {
    let (first, last) = (samples.first()?, samples.last()?);
    let seconds = (last.at_ms - first.at_ms) as f64 / 1000.0;
    let grown = of(last).checked_sub(of(first))?;
    (seconds > 0.0).then(|| grown as f64 / seconds)
}

/// The shards of the newest sample, and those of other hosts as the job last saw them.
fn shards(job: &JobId, samples: &[Sample]) -> Vec<ShardStanding> {
    let Some(newest) = samples.last() else { return Vec::new() };
    let mut all: BTreeMap<&str, ShardStanding> = BTreeMap::new();
    let held = samples.iter().rev().map(|sample| &sample.holders).find(|holders| !holders.is_empty());
    for holder in held.into_iter().flatten() {
        let standing = ShardStanding {
            shard: holder.shard.clone(),
            holder: if holder.mine { Some(job.0.clone()) } else { holder.worker.clone() },
            leaving: holder.leaving.clone(),
            ..ShardStanding::default()
        };
        all.insert(&holder.shard, standing);
    }
    // Where each shard was first met: one that is new is not read since ever.
    let mut first: HashMap<&str, (i64, u64)> = HashMap::new();
    for sample in since(samples, newest.at_ms - RATES_MS) {
        for shard in &sample.shards {
            first.entry(&shard.shard).or_insert((sample.at_ms, shard.records));
        }
    }
    for shard in &newest.shards {
        let one = all.entry(&shard.shard).or_default();
        one.shard.clone_from(&shard.shard);
        one.lag_ms = Some(shard.lag_ms);
        one.behind_records = shard.behind_records;
        one.records_per_second = first.get(shard.shard.as_str()).and_then(|(at_ms, records)| {
            let seconds = (newest.at_ms - at_ms) as f64 / 1000.0;
            (seconds > 0.0).then(|| shard.records.saturating_sub(*records) as f64 / seconds)
        });
        one.holder = Some(job.0.clone());
    }
    all.into_values().collect()
}

impl ReplicaStanding {
    /// Changes of a kind each second, over the last seconds; `None` when no worker runs.
    pub fn per_second(&self, of: fn(&ChangeCounts) -> u64) -> Option<f64> {
        let (earlier, seconds) = self.earlier.as_ref()?;
        Some(of(&self.sample.changes).checked_sub(of(earlier))? as f64 / seconds)
    }

    /// What there is to tell of it, as names and values; `time` says a moment, ms since epoch.
    pub fn facts(&self, time: impl Fn(i64) -> String) -> Vec<(&'static str, String)> {
        let mut facts = Vec::new();
        if let Some(lag_ms) = self.lag_ms {
            facts.push(("lag", format!("{:.1} s", lag_ms as f64 / 1000.0)));
        }
        facts.push(("time to trim", span(self.sample.trim_ms as f64 / 1000.0)));
        facts.extend(self.sample.gap.clone().map(|gap| ("gap", gap)));
        if let Some((read, total)) = self.sample.bootstrap {
            facts.push(("bootstrap", format!("{} of about {} items", grouped(read), grouped(total))));
        }
        facts.extend(self.audit_facts(time));
        for (name, of) in self.sample.changes.kinds() {
            let rate = self.per_second(of).map_or(String::new(), |rate| format!("  {rate:.1}/s"));
            facts.push((name, format!("{}{rate}", grouped(of(&self.sample.changes)))));
        }
        facts
    }

    fn audit_facts(&self, time: impl Fn(i64) -> String) -> Vec<(&'static str, String)> {
        let Some(audit) = &self.audited else {
            let words = if self.audits { "not audited yet" } else { "not audited (--audit-rcu)" };
            return vec![("drift", words.to_owned())];
        };
        let drift = match (audit.drift(), audit.before) {
            // Proven only once a pass was through.
            (0, Some(_)) => "none".to_owned(),
            (0, None) => "none so far".to_owned(),
            (keys, _) => format!("{} keys", grouped(keys)),
        };
        let share = (audit.share() * 100.0).floor();
        let audited = format!("{share} %, {} keys since {}", grouped(audit.found.checked), time(audit.began_ms));
        let mut facts = vec![("drift", drift), ("audited", audited)];
        if let (Some(before), Some(ended)) = (audit.before, audit.ended_ms) {
            let found = if before.drift() == 0 { "none".to_owned() } else { grouped(before.drift()) };
            facts.push(("pass before", format!("{found} in {} keys, {}", grouped(before.checked), time(ended))));
        }
        facts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloud::Context;
    use crate::jobs::journal::{Commit, Holder, ShardSample, now_ms};
    use crate::jobs::{Found, ReplicateSpec, RestoreSpec, WorkSpec};

    /// A journal with a job that a worker has begun, and its samples, a second apart up to now.
    struct Scene {
        _folder: tempfile::TempDir,
        journal: Journal,
        id: JobId,
        now_ms: i64,
    }

    impl Scene {
        fn new(spec: &Spec, total: Option<u64>, samples: Vec<Sample>) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let mut journal = Journal::open(&folder.path().join("journal.sqlite")).unwrap();
            let id = journal.create_job(spec, &Context::default(), None).unwrap();
            journal.begin(&id, 1).unwrap();
            let begun = now_ms();
            let now_ms = begun + 1000 * samples.len() as i64;
            for (n, sample) in samples.into_iter().enumerate() {
                let sample = Sample { at_ms: begun + 1000 * (n as i64 + 1), ..sample };
                let commit = Commit { counters: sample.counters, total, limit: "the rate cap", ..Commit::default() };
                journal.commit(&id, &Commit { sample: Some(&sample), ..commit }).unwrap();
            }
            Self { _folder: folder, journal, id, now_ms }
        }

        /// As a worker's job, whose lock is held.
        fn live(&self) -> Standing {
            let _lock = self.journal.lock(&self.id).unwrap();
            self.standing()
        }

        fn standing(&self) -> Standing {
            Standing::of(&self.journal, &self.journal.job(&self.id).unwrap(), self.now_ms).unwrap()
        }
    }

    fn written(written: u64) -> Sample {
        Sample { counters: Counters { read: written, written, ..Counters::default() }, ..Sample::default() }
    }

    #[test]
    fn a_running_job_has_a_speed_a_time_left_and_a_limit_and_an_ended_one_has_none() {
        let spec = Spec::Restore(RestoreSpec::default());
        let scene = Scene::new(&spec, Some(2_000), (1..=5).map(|n| written(n * 100)).collect());
        let line = scene.live().line;
        assert_eq!((line.per_second, line.eta_seconds), (Some(100.0), Some(15.0)));
        assert_eq!((line.limit.as_deref(), line.settled), (Some("the rate cap"), 500));
        // Its worker is gone.
        let line = scene.standing().line;
        assert_eq!((line.state, line.per_second, line.eta_seconds), (State::Interrupted, None, None));
        assert_eq!(line.limit, None);
    }

    #[test]
    fn what_was_sampled_long_ago_gives_no_speed() {
        let spec = Spec::Restore(RestoreSpec::default());
        let mut scene = Scene::new(&spec, None, vec![written(1), written(2)]);
        scene.now_ms += 2 * SPEED_MS;
        assert_eq!(scene.live().line.per_second, None);
    }

    #[test]
    fn each_shard_has_its_lag_its_rate_and_who_reads_it() {
        let shard = |shard: &str, lag_ms, records| ShardSample {
            shard: shard.into(),
            lag_ms,
            behind_records: Some(50),
            records,
        };
        let holder = |shard: &str, worker: Option<&str>, leaving: Option<&str>| Holder {
            shard: shard.into(),
            worker: worker.map(str::to_owned),
            leaving: leaving.map(str::to_owned),
            mine: false,
        };
        // Who has what was written down before the rates' window, and not since.
        let mut samples = vec![Sample::default(); 12];
        samples[1].holders = vec![
            holder("s1", Some("db-7/w-2"), Some("db-9")),
            holder("s2", None, None),
            holder("s0", Some("me"), None),
        ];
        samples[9].shards = vec![shard("s0", 9_000, 100)];
        samples[11].shards = vec![shard("s0", 500, 300), shard("s3", 0, 7)];
        let spec = Spec::Work(WorkSpec { lease_table: Some("leases".into()), ..WorkSpec::default() });
        let scene = Scene::new(&spec, None, samples);
        let shards = scene.live().shards;
        let own = Some(scene.id.0.clone());
        let expected = [
            ShardStanding {
                shard: "s0".into(),
                lag_ms: Some(500),
                behind_records: Some(50),
                records_per_second: Some(100.0),
                holder: own.clone(),
                leaving: None,
            },
            ShardStanding {
                shard: "s1".into(),
                holder: Some("db-7/w-2".into()),
                leaving: Some("db-9".into()),
                ..ShardStanding::default()
            },
            ShardStanding { shard: "s2".into(), ..ShardStanding::default() },
            ShardStanding {
                shard: "s3".into(),
                lag_ms: Some(0),
                behind_records: Some(50),
                holder: own,
                ..ShardStanding::default()
            },
        ];
        assert_eq!(shards, expected);
        assert_eq!(scene.standing().shards, [], "nobody reads them any more");
    }

    #[test]
    fn a_replica_tells_its_lag_its_time_to_trim_its_changes_and_its_drift() {
        let sample = |modified| Sample {
            shards: vec![ShardSample { shard: "s".into(), lag_ms: 1_200, ..ShardSample::default() }],
            replica: Some(ReplicaSample {
                trim_ms: 79_800_000,
                changes: ChangeCounts { modified, expired: 2, ..ChangeCounts::default() },
                ..ReplicaSample::default()
            }),
            ..Sample::default()
        };
        let spec = Spec::Replicate(ReplicateSpec { audit_rcu: Some(5.0), ..ReplicateSpec::default() });
        let scene = Scene::new(&spec, None, (1..=3).map(|n| sample(n * 40)).collect());
        let replica = scene.live().replica.unwrap();
        assert_eq!((replica.lag_ms, replica.sample.trim_ms), (Some(1_200), 79_800_000));
        assert_eq!(replica.per_second(|c| c.modified), Some(40.0));
        assert_eq!(replica.audited, None);
        let said = |replica: &ReplicaStanding| -> Vec<String> {
            replica.facts(|ms| format!("@{ms}")).iter().map(|(name, value)| format!("{name}: {value}")).collect()
        };
        assert_eq!(
            said(&replica),
            [
                "lag: 1.2 s",
                "time to trim: 22h 10m",
                "drift: not audited yet",
                "inserted: 0  0.0/s",
                "modified: 120  40.0/s",
                "removed: 0  0.0/s",
                "  expired: 2  0.0/s"
            ]
        );
        // Without a worker there is no rate, and what drifted stays told.
        let audited = Audited {
            pass: 2,
            began_ms: 7,
            found: Found { checked: 250, missing: 1, ..Found::default() },
            before: Some(Found { checked: 1_000, extra: 3, ..Found::default() }),
            ended_ms: Some(6),
            ..Audited::default()
        };
        let replica = scene.standing().replica.unwrap();
        assert_eq!(replica.per_second(|c| c.modified), None);
        let said = said(&ReplicaStanding { audited: Some(audited), ..replica });
        assert_eq!(
            said[2..5],
            ["drift: 3 keys", "audited: 25 %, 250 keys since @7", "pass before: 3 in 1,000 keys, @6"]
        );
        assert_eq!(said[6], "modified: 120");
    }
}
