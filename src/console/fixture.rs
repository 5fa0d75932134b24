//! A fixed world for tests: one clock, three tables, a stream and a restore under way.

use crate::cloud::Context;
use crate::cloud::inventory::{Index, Provisioned, Shard, Stream, Table};
use crate::cloud::schema::Schema;
use crate::console::charts::{Lines, TableChart};
use crate::console::effect::ChartQuestion;
use crate::flow::{Counters, Letter, Limit};
use crate::item::{KeyAttr, KeyKind, KeySchema};
use crate::jobs::journal::{Control, Job, Note, Sample, ShardSample, State};
use crate::jobs::plan::{self, Facts, SourceFacts, Target};
use crate::jobs::spec::{RestoreSpec, SourceSpec, Spec};
use crate::jobs::{Binding, JobId};

/// 2026-11-21T14:03:27Z, ms since epoch.
pub const NOW_MS: i64 = 1_795_269_807_000;

/// Where everything happens.
pub fn context() -> Context {
    Context { profile: Some("prod".into()), region: Some("eu-west-1".into()), endpoint_url: None }
}

/// A table with provisioned capacity.
pub fn table(name: &str, items: u64, bytes: u64, write: Option<u64>, stream: Option<&str>) -> Table {
    Table {
        name: name.into(),
        status: "ACTIVE".into(),
        items,
        bytes,
        provisioned: write.map(|write| Provisioned { read: 10, write, decreases_today: 1, ..Provisioned::default() }),
        indexes: Vec::new(),
        stream: stream.map(str::to_owned),
        key: KeySchema { partition: KeyAttr { name: "id".into(), kind: KeyKind::S }, sort: None },
    }
}

/// `historical`, `quotes` and `sessions`.
pub fn tables() -> Vec<Table> {
    let mut quotes = table("quotes", 1_200_000, 310_000_000, Some(500), Some("NEW_IMAGE"));
    let provisioned = quotes.provisioned.map(|p| Provisioned { write: 50, ..p });
    quotes.indexes.push(Index { name: "by_day".into(), status: "ACTIVE".into(), provisioned });
    vec![
        table("historical", 0, 0, Some(130), None),
        quotes,
        table("sessions", 88_000, 21_000_000, None, Some("NEW_AND_OLD_IMAGES")),
    ]
}

/// What is seen of a restore into `historical`: 50,000 items of 1 WCU, a thousand of them looked at.
pub fn facts(spec: &RestoreSpec) -> Facts {
    let schema = Schema::from_json(
        r#"{"TableName":"historical","AttributeDefinitions":[{"AttributeName":"id","AttributeType":"S"}],
           "KeySchema":[{"AttributeName":"id","KeyType":"HASH"}],
           "ProvisionedThroughput":{"ReadCapacityUnits":10,"WriteCapacityUnits":130}}"#,
    );
    let looked_at = 1_000;
    Facts {
        source: SourceFacts {
            files: 1,
            bytes: 13_000_000,
            text_bytes: 13e6,
            records: 50_000.0,
            sample: plan::Sample {
                looked_at,
                puts: looked_at,
                line_bytes: looked_at * 260,
                item_bytes: looked_at * 188,
                wcu: looked_at,
                wcu_squared: looked_at,
                record_bytes: looked_at * 240,
                put_units: looked_at,
                record_kib: looked_at,
                ..plan::Sample::default()
            },
            ..SourceFacts::default()
        },
        target: Target { exists: true, ..Target::new(schema.unwrap().named(&spec.table)) },
        stream: None,
        region: "eu-west-1".into(),
    }
}

/// `restore`, with four shards.
pub fn streams() -> Vec<Stream> {
    let quarter = u128::MAX / 4;
    let shard = |n: u128| Shard {
        id: format!("shardId-{n:012}"),
        parent: None,
        adjacent_parent: None,
        from: n * quarter,
        to: (n + 1) * quarter - 1,
        open: true,
    };
    vec![Stream {
        name: "restore".into(),
        status: "ACTIVE".into(),
        mode: "PROVISIONED".into(),
        retention_hours: 24,
        arn: "arn:aws:kinesis:eu-west-1:111122223333:stream/restore".into(),
        open: 4,
        consumers: 0,
        has_shard_metrics: false,
        shards: (0..4).map(shard).collect(),
    }]
}

/// A restore through a stream.
pub fn spec() -> Spec {
    Spec::Restore(RestoreSpec {
        source: SourceSpec {
            sources: vec!["s3://backups/historical/historical_2026-11-20.csv".into()],
            ..SourceSpec::default()
        },
        table: "historical".into(),
        stream: Some("restore".into()),
        ..RestoreSpec::default()
    })
}

/// A restore in `state`.
pub fn job(id: &str, state: State) -> Job {
    Job {
        id: JobId(id.into()),
        spec: spec(),
        context: context(),
        state,
        control: Control::Run,
        rate: None,
        pid: Some(1),
        runs: 1,
        parent: None,
        created_ms: NOW_MS - 181_000,
        started_ms: Some(NOW_MS - 180_000),
        ended_ms: (!state.is_live()).then_some(NOW_MS),
        active_ms: 0,
        counters: counters(179),
        total: Some(50_000),
        limit: if state.is_live() { "table write capacity".into() } else { String::new() },
        message: String::new(),
        report: None,
    }
}

/// Totals after so many seconds.
pub fn counters(second: u64) -> Counters {
    Counters {
        read: (second * 300).min(24_000),
        on_stream: (second * 290).min(23_980),
        written: second * 129,
        dead: if second > 60 { 2 } else { 0 },
        retried: second / 4,
        throttled: second.saturating_sub(90) * 41,
        bytes: second * 129 * 188,
        wcu: second as f64 * 129.0,
        ..Counters::default()
    }
}

/// Three minutes of a restore; the last three quarters of a minute throttled, and twenty seconds lost in between.
pub fn samples() -> Vec<Sample> {
    (0..180)
        .filter(|s| !(100..120).contains(s))
        .map(|s| Sample {
            at_ms: NOW_MS - 180_000 + s * 1000,
            counters: counters(s as u64),
            provisioned_wcu: Some(130.0),
            limit: "table write capacity".into(),
            binding: Some(binding()),
            shards: (0..4)
                .map(|n| ShardSample {
                    shard: format!("shardId-{n:012}"),
                    lag_ms: 12_300 / (n + 1),
                    behind_records: None,
                    records: 10 * s as u64,
                })
                .collect(),
            ..Sample::default()
        })
        .collect()
}

/// The sample of a moment of a job that writes 100 records a second since the epoch.
pub fn sample_at(at_ms: i64) -> Sample {
    let written = (at_ms / 10).max(0) as u64;
    let counters = Counters { read: written, written, wcu: written as f64, ..Counters::default() };
    Sample { at_ms, counters, provisioned_wcu: Some(130.0), ..Sample::default() }
}

/// What binds it.
pub fn binding() -> Binding {
    Binding {
        limit: Limit::Table { wcu: Some(130.0) },
        of: "historical".into(),
        seconds: 10.0,
        used: 129.6,
        asked: 171.0,
        refused: 41.0,
        share: 0.96,
        lanes: 16,
        reply_ms: 4.2,
        late_ms: 12_300,
        follows: false,
    }
}

/// What CloudWatch knows of `historical` and `quotes`: the last hour and a half, with a quarter of an hour missing.
pub fn chart(question: &ChartQuestion) -> TableChart {
    let period_ms = i64::from(question.period_s) * 1000;
    let last = NOW_MS / period_ms;
    let periods = (last - 90..=last).filter(|n| !(last - 40..last - 25).contains(n));
    let points = |of: fn(i64) -> f64| periods.clone().map(|n| (n * period_ms, of(n))).collect::<Vec<_>>();
    let lines = Lines {
        written: points(|n| (100 + n % 7 * 4) as f64 * 60.0),
        read: points(|n| (n % 3) as f64 * 60.0),
        writes_refused: points(|n| if n % 11 == 0 { 5.0 } else { 0.0 }),
        reads_refused: Vec::new(),
        write_provisioned: points(|_| 130.0),
        read_provisioned: points(|_| 10.0),
    };
    let of = std::iter::once(None).chain(question.indexes.iter().cloned().map(Some));
    TableChart { table: question.table.clone(), period_ms, of: of.map(|index| (index, lines.clone())).collect() }
}

/// What happened to it.
pub fn notes() -> Vec<Note> {
    let note = |number, level: &str, words: &str| Note {
        number,
        at_ms: NOW_MS - 120_000 + number * 1000,
        level: level.into(),
        words: words.into(),
    };
    vec![
        note(1, "info", "begun: 1 file, csv64"),
        note(2, "warn", "set historical from 130 to 195 WCU; \x1b[31mred\x1b[0m"),
    ]
}

/// A record that can never succeed.
pub fn letter(reason: &str, payload: &'static [u8]) -> Letter {
    Letter {
        source: "s3://backups/historical/historical_2026-11-20.csv".into(),
        line: Some(17),
        offset: Some(3120),
        shard: None,
        sequence: None,
        reason: reason.into(),
        payload: payload.into(),
    }
}
