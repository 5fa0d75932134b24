//! One job as its screen shows it: how far it is, what limits it, its shards with who reads them, and how a replica follows.

use serde_json::{Value, json};

use super::as_json;
use crate::cli::print::{self, Columns, Side, time};
use crate::cli::progress::pace;
use crate::cli::report::Report;
use crate::cli::session::Session;
use crate::jobs::journal::{ChangeCounts, Job, now_ms};
use crate::jobs::{Binding, JobId, Journal, Remedy, ReplicaStanding, ShardStanding, Standing};

/// Prints it.
pub fn show(journal: &Journal, job: &Job, session: &Session) -> Result<(), Report> {
    let standing = Standing::of(journal, job, now_ms())?;
    let binding = binding(journal, job)?;
    if session.global.json {
        return print::json(&whole_json(job, &standing, binding.as_ref()));
    }
    print::line(&format!("{} {}  {}  {}", job.kind(), job.id, job.state.as_str(), print::shown(&job.spec.title())))?;
    let counters = job.counters;
    let of = job.total.map_or_else(String::new, |total| format!(" of {}", print::grouped(total)));
    print::line(&format!(
        "read {}{of}, on stream {}, written {}, skipped {}, dead {}, resent {}, throttled {}",
        print::grouped(counters.read),
        print::grouped(counters.on_stream),
        print::grouped(counters.written),
        print::grouped(counters.skipped),
        print::grouped(counters.dead),
        print::grouped(counters.retried),
        print::grouped(counters.throttled)
    ))?;
    let mut pace = pace(&standing.line);
    pace.extend(job.rate.filter(|_| job.state.is_live()).map(|cap| format!("capped at {cap}/s")));
    if !pace.is_empty() {
        print::line(&pace.join("  "))?;
    }
    let seconds = print::duration(standing.line.seconds);
    print::line(&format!("{seconds} of work in {} runs, {:.1} WCU", job.runs, counters.wcu))?;
    for (name, words) in [("limit", &job.limit), ("why", &job.message)] {
        if !words.is_empty() {
            print::line(&format!("{name}: {}", print::shown(words)))?;
        }
    }
    if let Some(binding) = binding {
        print::line(&format!("       {}", print::shown(&in_words(&binding, &job.id))))?;
    }
    if job.state.can_resume() {
        print::line(&format!("go on with: {}", job.kind().again(&job.id)))?;
    }
    if let Some(replica) = &standing.replica {
        // The lag of a worker that is gone grows unseen.
        let seen = standing.at_ms.filter(|_| !job.state.is_live());
        print::line(&format!("replica{}", seen.map_or(String::new(), |at| format!(", as it was at {}", time(at)))))?;
        for (name, value) in replica.facts(time) {
            print::line(&format!("  {name:<13} {}", print::shown(&value)))?;
        }
    }
    if !standing.shards.is_empty() {
        print::columns(&shards(&standing.shards))?;
    }
    for note in journal.notes(&job.id, 0)? {
        print::line(&format!("{}  {}", time(note.at_ms), print::shown(&note.words)))?;
    }
    Ok(())
}

/// What binds a job that is being worked on, with its numbers.
fn binding(journal: &Journal, job: &Job) -> Result<Option<Binding>, Report> {
    if !job.state.is_live() || job.limit.is_empty() {
        return Ok(None);
    }
    Ok(journal.last_sample(&job.id)?.and_then(|sample| sample.binding))
}

/// The long form of a limit, with the command that changes it.
fn in_words(binding: &Binding, id: &JobId) -> String {
    let words = binding.explain();
    match binding.remedy() {
        Some(Remedy::Raise { table, index, from }) => {
            let of = index.map_or(String::new(), |index| format!(" --index {index}"));
            format!("{words} `sluice capacity {table}{of} --write {}` raises it by half", from + from.div_ceil(2))
        }
        Some(Remedy::Rate) => format!("{words} `sluice rate {id} N` changes it"),
        Some(Remedy::Resume) => format!("{words}; `sluice resume {id}` lets it go on"),
        None => words,
    }
}

fn shards(all: &[ShardStanding]) -> Columns {
    let mut columns = Columns::new(&[
        ("SHARD", Side::Left),
        ("LAG S", Side::Right),
        ("BEHIND", Side::Right),
        ("READ/S", Side::Right),
        ("HOLDER", Side::Left),
    ]);
    let dash = || "-".to_owned();
    for shard in all {
        let holder = shard.holder.as_deref().unwrap_or("nobody");
        columns.row(&[
            shard.shard.clone(),
            shard.lag_ms.map_or_else(dash, |ms| format!("{:.1}", ms as f64 / 1000.0)),
            shard.behind_records.map_or_else(dash, print::grouped),
            shard.records_per_second.map_or_else(dash, |rate| format!("{rate:.1}")),
            match &shard.leaving {
                Some(leaving) => format!("{holder}, once {leaving} has finished"),
                None => holder.to_owned(),
            },
        ]);
    }
    columns
}

fn whole_json(job: &Job, standing: &Standing, binding: Option<&Binding>) -> Value {
    let mut row = as_json(job, standing);
    row["sampled"] = json!(standing.at_ms.map(time));
    row["shards"] = json!(standing.shards);
    if let Some(replica) = &standing.replica {
        row["replica"] = replica_json(replica);
    }
    if let Some(binding) = binding {
        row["limit_explained"] = json!(in_words(binding, &job.id));
        row["limit_measured"] = json!(binding);
    }
    row
}

fn replica_json(replica: &ReplicaStanding) -> Value {
    let rate = |of: fn(&ChangeCounts) -> u64| replica.per_second(of);
    let sample = &replica.sample;
    let audit = replica.audited.as_ref().map(|audit| {
        json!({
            "pass": audit.pass, "began": time(audit.began_ms), "share": audit.share(), "drift": audit.drift(),
            "found": audit.found, "before": audit.before, "before_ended": audit.ended_ms.map(time),
        })
    });
    json!({
        "lag_ms": replica.lag_ms, "trim_seconds": sample.trim_ms as f64 / 1000.0, "gap": sample.gap,
        "bootstrap": sample.bootstrap.map(|(read, total)| json!({ "read": read, "total": total })),
        "changes": sample.changes,
        "changes_per_second": {
            "inserted": rate(|c| c.inserted), "modified": rate(|c| c.modified), "removed": rate(|c| c.removed),
        },
        "audit": audit,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloud::Context;
    use crate::flow::Counters;
    use crate::jobs::journal::{Commit, ReplicaSample, Sample, ShardSample};
    use crate::jobs::{ReplicateSpec, Spec};

    #[test]
    fn one_job_as_json_has_its_pace_its_shards_and_its_replica() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(&folder.path().join("journal.sqlite")).unwrap();
        let id = journal.create_job(&Spec::Replicate(ReplicateSpec::default()), &Context::default(), None).unwrap();
        let _lock = journal.lock(&id).unwrap();
        journal.begin(&id, 1).unwrap();
        let begun = now_ms();
        for n in 1..=3 {
            let sample = Sample {
                at_ms: begun + 1000 * n as i64,
                counters: Counters { read: 10 * n, written: 10 * n, ..Counters::default() },
                shards: vec![ShardSample { shard: "s".into(), lag_ms: 1_200, behind_records: None, records: 10 * n }],
                replica: Some(ReplicaSample {
                    trim_ms: 5_000,
                    changes: ChangeCounts { modified: 10 * n, ..ChangeCounts::default() },
                    ..ReplicaSample::default()
                }),
                ..Sample::default()
            };
            let commit = Commit { total: Some(130), limit: "source", sample: Some(&sample), ..Commit::default() };
            journal.commit(&id, &commit).unwrap();
        }
        let job = journal.job(&id).unwrap();
        let standing = Standing::of(&journal, &job, begun + 3_000).unwrap();
        let row = whole_json(&job, &standing, None);
        assert_eq!(
            (&row["per_second"], &row["eta_seconds"], &row["limit"]),
            (&10.0.into(), &10.0.into(), &"source".into())
        );
        assert_eq!((&row["lag_ms"], &row["sampled"]), (&1_200.into(), &time(begun + 3_000).into()));
        let shard = json!({
            "shard": "s", "lag_ms": 1_200, "behind_records": null, "records_per_second": 10.0, "holder": id,
        });
        assert_eq!(row["shards"], json!([shard]));
        let replica = &row["replica"];
        assert_eq!((&replica["lag_ms"], &replica["trim_seconds"]), (&1_200.into(), &5.0.into()));
        assert_eq!(
            (&replica["changes"]["modified"], &replica["changes_per_second"]["modified"]),
            (&30.into(), &10.0.into())
        );
        assert_eq!(replica["audit"], Value::Null);
        let text = shards(&standing.shards).to_text();
        assert!(text.contains(&format!("s        1.2       -    10.0  {id}")), "{text}");
    }
}
