//! Who reads the shards of a stream, as our live jobs say it. Nothing is made of a shard until it is asked for: of ten
//! thousand a page is drawn.

use super::short;
use crate::cloud::inventory::Shard;
use crate::console::app::App;
use crate::console::history::History;
use crate::jobs::JobId;
use crate::jobs::journal::Job;

/// What a live job of ours says of a shard.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading<'a> {
    /// How far behind, ms.
    pub lag_ms: u64,
    /// Records read a second.
    pub per_second: Option<f64>,
    /// The job that reads it.
    pub job: &'a JobId,
}

/// What our live jobs say of a stream's shards.
#[derive(Clone, Debug, Default)]
pub struct Readings<'a>(Vec<(&'a Job, &'a History)>);

/// Who has each shard of a stream that several hosts share, as our live jobs saw it in their lease table.
#[derive(Clone, Debug, Default)]
pub struct Leases<'a>(Vec<&'a History>);

impl<'a> Readings<'a> {
    /// What is said of a shard; `None` when no live job of ours reads it.
    pub fn get(&self, shard: &str) -> Option<Reading<'a>> {
        self.0.iter().rev().find_map(|(job, past)| {
            let (lag_ms, per_second) = past.given.of(shard)?;
            Some(Reading { lag_ms, per_second, job: &job.id })
        })
    }
}

impl Leases<'_> {
    /// Who has a shard, in words; `None` when no lease of it was seen.
    pub fn get(&self, shard: &str) -> Option<String> {
        let holder = self.0.iter().rev().find_map(|past| past.holder(shard))?;
        let worker = holder.worker.clone().unwrap_or_else(|| "nobody".to_owned());
        Some(match &holder.leaving {
            Some(leaving) => format!("{worker}, once {leaving} has finished"),
            None => worker,
        })
    }

    fn has(&self, shard: &str) -> bool {
        self.0.iter().any(|past| past.holder(shard).is_some())
    }
}

impl App {
    /// What our live jobs of this context say of the shards of `stream`.
    pub fn readings<'a>(&'a self, stream: &'a str) -> Readings<'a> {
        Readings(self.stream_readers(stream).collect())
    }

    /// Who has each shard of `stream` that several hosts share, as our live jobs saw it in their lease table.
    pub fn leases<'a>(&'a self, stream: &'a str) -> Leases<'a> {
        Leases(self.stream_readers(stream).map(|(_, past)| past).collect())
    }

    /// Who has a shard, or what it waits for.
    pub fn holder(shard: &Shard, readings: &Readings<'_>, leases: &Leases<'_>) -> String {
        if let Some(reading) = readings.get(&shard.id) {
            return reading.job.0.clone();
        }
        let lease = leases.get(&shard.id);
        if let Some(worker) = lease.as_ref().filter(|worker| *worker != "nobody") {
            return worker.clone();
        }
        // A parent that is finished is in neither.
        let is_read = |id: &&String| readings.get(id).is_some() || leases.has(id);
        let parents = [&shard.parent, &shard.adjacent_parent].into_iter().flatten();
        let awaited: Vec<&str> = parents.filter(is_read).map(|id| short(id)).collect();
        match (awaited.is_empty(), lease) {
            (false, _) => format!("waits for {}", awaited.join(" and ")),
            (true, Some(nobody)) => nobody,
            (true, None) => "-".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::app::{Place, Screen};
    use crate::console::theme::Theme;
    use crate::console::{fixture, keymap};
    use crate::jobs::journal::{Holder, Sample, ShardSample, State};
    use crate::jobs::{Spec, WorkSpec};

    fn shard(n: u32, parents: [Option<u32>; 2]) -> Shard {
        let id = |n: u32| format!("shardId-{n:012}");
        let [parent, adjacent_parent] = parents.map(|parent| parent.map(id));
        Shard { id: id(n), parent, adjacent_parent, from: 0, to: 0, open: true }
    }

    #[test]
    fn who_has_a_shard_is_found_in_whatever_order_they_are_told() {
        let held = |n: u32, worker: Option<&str>, leaving: Option<&str>| Holder {
            shard: shard(n, [None; 2]).id,
            worker: worker.map(str::to_owned),
            leaving: leaving.map(str::to_owned),
            mine: false,
        };
        let reads = ShardSample { shard: shard(3, [None; 2]).id, lag_ms: 7, ..ShardSample::default() };
        let sample = Sample {
            at_ms: fixture::NOW_MS,
            shards: vec![reads],
            holders: vec![held(9, Some("b"), Some("a")), held(1, None, None), held(4, Some("c"), None)],
            ..Sample::default()
        };
        let spec = Spec::Work(WorkSpec { stream: "puts".into(), ..WorkSpec::default() });
        let jobs = [("w-1", State::Running), ("w-0", State::Done)].map(|(id, state)| fixture::job(id, state));
        let jobs = jobs.map(|job| Job { spec: spec.clone(), ..job });
        let place = Place {
            region: "eu-west-1".into(),
            context: fixture::context(),
            profile: "prod".into(),
            ..Place::default()
        };
        let mut app =
            App::new(place, keymap::load(None).unwrap(), Theme::plain(true), Screen::Streams, fixture::NOW_MS);
        for job in &jobs {
            app.histories.entry(job.id.clone()).or_default().extend(vec![sample.clone()]);
        }
        app.jobs = Some(jobs.to_vec());
        let (readings, leases) = (app.readings("puts"), app.leases("puts"));
        let words = |n, parents| App::holder(&shard(n, parents), &readings, &leases);
        assert_eq!(words(3, [None; 2]), "w-1", "the job that ended reads nothing");
        assert_eq!(words(9, [None; 2]), "b, once a has finished");
        assert_eq!(words(4, [None; 2]), "c");
        assert_eq!(words(1, [None; 2]), "nobody");
        assert_eq!(words(1, [Some(3), None]), "waits for 3");
        assert_eq!(words(12, [Some(9), Some(4)]), "waits for 9 and 4");
        assert_eq!(words(12, [Some(11), None]), "-");
        assert_eq!(readings.get(&shard(3, [None; 2]).id).map(|reading| reading.lag_ms), Some(7));
        assert!(app.readings("others").get(&shard(3, [None; 2]).id).is_none());
    }
}
