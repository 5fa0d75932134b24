//! A fixed world for tests: one clock, three tables, a stream and a restore under way.

use crate::cloud::Context;
use crate::cloud::inventory::{Index, Provisioned, Shard, Stream, Table};
use crate::cloud::schema::Schema;
use crate::console::charts::{Lines, TableChart};
use crate::console::effect::ChartQuestion;
use crate::event::Layout;
use crate::event::read::fake::{Fake, event};
use crate::flow::{Counters, Letter, Limit};
use crate::item::{KeyAttr, KeyKind, KeySchema};
use crate::jobs::journal::{Control, DeadLetter, Decided, Decision, Holder, Job, Note, Sample, ShardSample, State};
use crate::jobs::plan::{self, Facts, SourceFacts, Target};
use crate::jobs::spec::{AutoscaleSpec, RestoreSpec, SourceSpec, Spec, VerifySpec, WorkSpec};
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

/// An event table beside them; [`events`] is what is in it.
pub fn event_table() -> Table {
    let key = Layout::Ordered.key();
    Table { key, ..table("event-store-dev-event-table", 600, 90_000, None, None) }
}

/// Bursts of events from 14:00 to 14:58 of a day, the last minutes of which are not complete.
pub fn events() -> Fake {
    let mut events = Vec::new();
    for n in 0..600_u64 {
        let wave = (n as f64 / 40.0).sin().abs() * 2_000.0;
        let ms = n * 5_800 + wave as u64;
        let time = 1_520_172_000_000 + ms as i64;
        let mut made = event("2018-03-04T14:00:00Z", "shardId-000000000000", n);
        made.time = jiff::Timestamp::from_millisecond(time).unwrap();
        made.partition_key = format!("Claps-{:02x}-{:02x}", n * 7 % 256, n * 13 % 256);
        made.payload = format!(
            r#"{{"MessageType":"Claps","MemberId":"{:02x}","n":{n},"big":12345678901234567890,"z":1.10}}"#,
            n * 7 % 256
        )
        .into();
        events.push(made);
    }
    let fake = Fake::new(Layout::Ordered, 50, events);
    *fake.watermark.lock().unwrap() = Some("2018-03-04T14:55:00Z".parse().unwrap());
    fake
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

/// One that is done, without a dead letter.
pub fn done_job() -> Job {
    let mut job = job("r-0a11", State::Done);
    job.counters.written = 50_000;
    job.counters.dead = 0;
    job
}

/// A worker that shares a stream with another, and puts what it reads.
pub fn worker() -> Job {
    let spec = WorkSpec { stream: "puts".into(), lease_table: Some("leases".into()), ..WorkSpec::default() };
    Job { spec: Spec::Work(spec), total: None, ..job("w-19ab", State::Running) }
}

/// Its samples: of three shards, one is its own and one is nobody's.
pub fn worker_samples() -> Vec<Sample> {
    let holder = |n: u8, worker: Option<&str>, mine| Holder {
        shard: format!("shardId-{n:012}"),
        worker: worker.map(str::to_owned),
        leaving: None,
        mine,
    };
    let mut samples = samples();
    samples.last_mut().unwrap().holders =
        vec![holder(0, Some("here/w-19ab/a"), true), holder(1, Some("db-7/w-2/b"), false), holder(2, None, false)];
    samples
}

/// A verify that found two keys to differ.
pub fn verify() -> Job {
    let source = SourceSpec {
        sources: vec!["s3://backups/historical/historical_2026-11-20.csv".into()],
        ..SourceSpec::default()
    };
    let spec = VerifySpec { source, table: "historical".into(), ..VerifySpec::default() };
    let counters = Counters { read: 50_000, bytes: 13_000_000, ..Counters::default() };
    Job { spec: Spec::Verify(spec), counters, ..job("v-1a2b", State::Done) }
}

/// Those two.
pub fn differences() -> Vec<String> {
    let lines = [
        r#"{"difference":"different","key":{"id":{"S":"a"}},"attribute":"rate","source":"{\"N\":\"1\"}","table":null}"#,
        r#"{"difference":"missing","key":{"id":{"S":"\u001b[2J"}}}"#,
    ];
    lines.map(str::to_owned).to_vec()
}

/// An autoscaler under way.
pub fn scaler() -> Job {
    let rules = "[[table]]\nname = \"events-\"\n[table.write]\nmax = 500\n".to_owned();
    let spec = AutoscaleSpec { config: "/etc/rules.toml".into(), rules, once: false };
    Job { spec: Spec::Autoscale(spec), limit: String::new(), ..job("a-194dbf", State::Running) }
}

/// What it decided: a raise, and after it that something may not be lowered.
pub fn decisions() -> Vec<Decision> {
    let raised = Decision {
        number: 1,
        context: context(),
        job: scaler().id,
        at_ms: NOW_MS - 90_000,
        last_ms: NOW_MS - 90_000,
        times: 1,
        table: "events-7".into(),
        index: None,
        direction: "write".into(),
        decided: Decided::Raised,
        from: 130,
        to: 195,
        consumed: 123.5,
        reason: "over 90 % used".into(),
        dry_run: false,
    };
    let refused = Decision {
        number: 2,
        at_ms: NOW_MS,
        last_ms: NOW_MS,
        times: 4,
        table: "events-idle".into(),
        index: Some("by-\u{1b}tag".into()),
        decided: Decided::Refused,
        from: 400,
        to: 200,
        consumed: 0.0,
        reason: "under 30 % used, but no decreases within 00:00-23:59 UTC".into(),
        ..raised.clone()
    };
    vec![raised, refused]
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

/// Two of them, of the restore `r-7f3a`.
pub fn letters() -> Vec<DeadLetter> {
    let letters = [("not base64: invalid byte 33", &b"not base64!\x1b[2J\xff"[..]), ("not an object", b"[]")];
    let letters = letters.iter().enumerate().map(|(i, (reason, payload))| DeadLetter {
        number: i as i64 + 1,
        job: JobId("r-7f3a".into()),
        at_ms: NOW_MS,
        letter: letter(reason, payload),
        draft: None,
        tried: None,
        fate: None,
    });
    letters.collect()
}
