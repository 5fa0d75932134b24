use super::*;
use crate::cloud::Mode;
use crate::cloud::inventory::Shard;
use crate::console::fixture::{self, NOW_MS};
use crate::console::guardrails::{Asks, Pattern, Rule, Rules};
use crate::console::msg::Msg;
use crate::console::tests::Tester;
use crate::flow::Counters;
use crate::jobs::BigQueryTarget;
use crate::jobs::journal::{ChangeCounts, Control, ReplicaSample, Sample, State};
use crate::jobs::spec::ReplicaSpec;
use crate::jobs::{Audited, Found, JobId, TableTarget};

fn filled(fields: &[(Name, &str)]) -> ReplicaForm {
    let mut form = ReplicaForm::new("quotes");
    for (name, value) in fields {
        form.fields.set(*name, *value);
    }
    form
}

fn names() -> Vec<String> {
    fixture::tables().into_iter().map(|table| table.name).collect()
}

#[test]
fn each_field_says_what_is_wrong_while_it_is_typed() {
    let (names, tables) = (names(), fixture::tables());
    let known = Known { names: Some(&names), tables: &tables };
    let error = |fields: &[(Name, &str)], name| filled(fields).error(name, known);
    assert!(error(&[], Name::To).unwrap().contains("into which table"));
    assert!(error(&[(Name::To, "quotes")], Name::To).unwrap().contains("replica of itself"));
    assert_eq!(error(&[(Name::To, "quotes"), (Name::Region, "us-east-1")], Name::To), None);
    assert!(error(&[(Name::To, "quotez"), (Name::Create, "no")], Name::To).unwrap().contains("quotes"));
    assert!(error(&[(Name::Source, "qotes")], Name::Source).unwrap().contains("did you mean quotes"));
    let wrong = [
        (Name::Endpoint, "localhost:8000"),
        (Name::Create, "maybe"),
        (Name::Bootstrap, "some"),
        (Name::MaxWcu, "0"),
        (Name::Audit, "-1"),
    ];
    for (name, value) in wrong {
        assert!(error(&[(name, value)], name).is_some(), "{name:?}");
    }
    let right = filled(&[(Name::To, "copy"), (Name::Profile, "other"), (Name::Audit, ""), (Name::MaxWcu, "100")]);
    assert_eq!(right.fields.first_error(|name| right.error(name, known)), None);
    let spec = right.spec();
    assert_eq!((spec.audit_rcu, spec.max_wcu, spec.create, spec.bootstrap), (None, Some(100.0), true, Bootstrap::Scan));
    let ReplicaTarget::Table(target) = spec.target else { panic!("no table") };
    assert_eq!((target.table.as_str(), target.profile.as_deref(), target.region), ("copy", Some("other"), None));
}

#[test]
fn the_plan_tells_what_it_takes_what_is_done_to_the_stream_and_that_a_bootstrap_outlasts_it() {
    let (names, mut tables) = (names(), fixture::tables());
    let quotes = tables.iter_mut().find(|table| table.name == "quotes").unwrap();
    (quotes.items, quotes.bytes) = (1_000_000, 4096 * 10_000);
    let plan = |fields: &[(Name, &str)]| filled(fields).plan(Known { names: Some(&names), tables: &tables }).unwrap();
    // 10,000 RCU at half of 10, and a million WCU at 500.
    let by_default = plan(&[(Name::To, "copy")]);
    assert_eq!((by_default.read_seconds, by_default.write_seconds, by_default.streams.len()), (2_000.0, 2_000.0, 0));
    assert!(by_default.warnings.is_empty(), "{:?}", by_default.warnings);
    assert!(figures(&by_default).contains(&("reading takes", format!("about {}", duration(2_000_000.0)))));
    assert!(plan(&[(Name::To, "copy"), (Name::MaxWcu, "10")]).outlasts_the_stream());
    // Where the replica is there, its own capacity counts: 130 WCU.
    assert_eq!(plan(&[(Name::To, "historical")]).write_capacity, Some(130.0));
    assert!(!plan(&[(Name::To, "copy"), (Name::Bootstrap, "none")]).bootstrap);
    assert_eq!(plan(&[(Name::Source, "historical"), (Name::To, "copy")]).streams.len(), 1);
}

/// A replicate job of `quotes` into `copy`.
pub(in crate::console) fn replicate() -> ReplicateSpec {
    ReplicateSpec { max_wcu: None, ..filled(&[(Name::To, "copy")]).spec() }
}

pub(in crate::console) fn job() -> Job {
    Job { spec: Spec::Replicate(replicate()), ..fixture::job("c-11aa", State::Running) }
}

pub(in crate::console) fn audited() -> Audited {
    Audited {
        pass: 2,
        began_ms: NOW_MS - 3_600_000,
        found: Found { checked: 1_008_000, missing: 1, different: 2, ..Found::default() },
        keys: 2_400_000,
        at_ms: NOW_MS - 5_000,
        ..Audited::default()
    }
}

fn at_the_job(audit: Option<Audited>) -> Tester {
    let tester = Tester::open(Screen::Job(JobId("c-11aa".into())), Mode::Normal, (120, 40));
    tester.send(Msg::Jobs(vec![job()], Vec::new()));
    if let Some(audit) = audit {
        tester.send(Msg::Audited(JobId("c-11aa".into()), audit));
    }
    tester
}

#[tokio::test]
async fn a_replica_is_started_from_a_table_after_its_plan_was_seen() {
    let mut tester = Tester::watching(Screen::Tables, Mode::Normal, (120, 40));
    tester.press("/ quotes enter M").await;
    tester.sees("replicate").await;
    tester.press("copy").await;
    tester.sees("about 1.20M").await;
    tester.press("enter").await;
    tester.sees("Start this replica").await;
    tester.sees("quotes → copy").await;
    assert_eq!(tester.changed(), []);
    tester.press("enter").await;
    assert_eq!(
        tester.changed(),
        [Effect::Start { spec: Box::new(Spec::Replicate(replicate())), parent: None, at: None }]
    );
}

#[tokio::test]
async fn a_replica_is_compared_with_its_source_after_a_question() {
    let mut tester = at_the_job(None);
    tester.press("v y").await;
    let spec = VerifySpec::of_replica(&JobId("c-11aa".into()), &replicate(), false).unwrap();
    let parent = Some(JobId("c-11aa".into()));
    assert_eq!(
        tester.changed(),
        [Effect::Start { spec: Box::new(Spec::Verify(spec)), parent, at: Some(fixture::context()) }]
    );
}

#[tokio::test]
async fn drift_is_repaired_once_the_replicas_name_was_typed_and_where_there_is_none_nothing_is_asked() {
    let mut tester = at_the_job(None);
    tester.press("R").await;
    tester.sees("has found no drift so far").await;
    let mut tester = at_the_job(Some(audited()));
    tester.press("R").await;
    tester.sees("Repair the replica copy").await;
    tester.press("enter cop enter").await;
    assert_eq!(tester.changed(), []);
    tester.press("y enter").await;
    let Some(Effect::Start { spec, parent, at }) = tester.changed().pop() else { panic!("nothing was started") };
    let Spec::Verify(VerifySpec { replica: Some(replica), table, .. }) = *spec else {
        panic!("no verify of a replica")
    };
    assert!(replica.repair && replica.listed && table == "quotes", "{replica:?}");
    assert_eq!(at, Some(fixture::context()), "where the replica's job acts");
    assert_eq!(parent, Some(JobId("c-11aa".into())));
}

#[tokio::test]
async fn a_repair_meets_what_guards_the_replica_wherever_that_is() {
    for profile in ["prod", "vault"] {
        let mut tester = at_the_job(None);
        let ReplicaTarget::Table(target) = replicate().target else { panic!("no table") };
        let target = TableTarget { profile: (profile != "prod").then(|| profile.into()), ..target };
        let spec = Spec::Replicate(ReplicateSpec { target: ReplicaTarget::Table(target), ..replicate() });
        tester.send(Msg::Jobs(vec![Job { spec, ..job() }], Vec::new()));
        tester.send(Msg::Audited(JobId("c-11aa".into()), audited()));
        let app = &mut tester.runtime.app;
        (app.place.profile, app.place.context.profile) = ("dev".into(), Some("dev".into()));
        let asks = Asks { read_only: true, ..Asks::default() };
        let profile = Some(Pattern::new(profile));
        app.rules = Rules(vec![Rule { name: "kept".into(), profile, account: None, region: None, asks }]);
        app.guard_here();
        tester.press("R").await;
        tester.sees("[contexts.kept] of config.toml is read_only").await;
        assert_eq!(tester.changed(), []);
    }
}

#[tokio::test]
async fn what_a_verify_found_is_repaired_from_its_screen() {
    let id = JobId("v-22bb".into());
    let spec = VerifySpec::of_replica(&JobId("c-11aa".into()), &replicate(), false).unwrap();
    let verify = |report: &str| Job {
        spec: Spec::Verify(spec.clone()),
        report: Some(report.to_owned()),
        ..fixture::job("v-22bb", State::Done)
    };
    for (report, drifted) in [(r#"{"missing":0,"extra":0,"different":0}"#, false), (r#"{"missing":4}"#, true)] {
        let mut tester = Tester::open(Screen::Job(id.clone()), Mode::Normal, (120, 40));
        tester.send(Msg::Jobs(vec![verify(report), job()], Vec::new()));
        tester.press("R copy enter").await;
        let started = tester.changed();
        assert_eq!(started.len(), usize::from(drifted), "{report}");
        if let Some(Effect::Start { spec, .. }) = started.first() {
            let Spec::Verify(VerifySpec { replica: Some(replica), .. }) = &**spec else { panic!("no replica") };
            let wanted = ReplicaSpec { repair: true, listed: false, ..replica.clone() };
            assert_eq!(*replica, wanted);
        }
    }
}

#[tokio::test]
async fn a_replica_both_ways_is_never_repaired() {
    let spec = ReplicateSpec { two_way: Some("arrival".parse().unwrap()), ..replicate() };
    let mut tester = Tester::open(Screen::Job(JobId("c-11aa".into())), Mode::Normal, (120, 40));
    tester.send(Msg::Jobs(vec![Job { spec: Spec::Replicate(spec), ..job() }], Vec::new()));
    tester.send(Msg::Audited(JobId("c-11aa".into()), audited()));
    tester.press("R").await;
    tester.sees("neither table is the one that is right").await;
    assert_eq!(tester.changed(), []);
}

#[tokio::test]
async fn against_the_drift_of_a_replica_both_ways_no_repair_is_offered() {
    let mut tester = following((120, 40), 79_800_000, None);
    tester.sees("the audit found 3 keys that drifted: R repairs them").await;
    let spec = ReplicateSpec { two_way: Some("arrival".parse().unwrap()), ..replicate() };
    tester.send(Msg::Jobs(vec![Job { spec: Spec::Replicate(spec), ..job() }], Vec::new()));
    tester.sees("the audit found 3 keys that drifted: v compares both tables").await;
    tester.sees("3 keys; v compares").await;
    tester.misses("R repairs").await;
}

#[tokio::test]
async fn the_form_at_every_size() {
    for size in [(120, 40), (80, 24), (60, 15), (40, 12), (1, 1)] {
        let mut tester = Tester::watching(Screen::Tables, Mode::Normal, size);
        tester.press("/ quotes enter M copy").await;
        insta::assert_snapshot!(format!("the_replica_form_{}x{}", size.0, size.1), tester.look().await);
    }
}

/// A second of the job, five of them, with two generations of shards.
pub(in crate::console) fn samples(trim_ms: u64, gap: Option<&str>) -> Vec<Sample> {
    let shard = |id: &str, lag_ms| ShardSample { shard: id.into(), lag_ms, ..ShardSample::default() };
    let second = |n: u64| Sample {
        at_ms: NOW_MS - 5_000 + n as i64 * 1000,
        counters: Counters {
            read: 31_200 + n * 130,
            written: 30_000 + n * 120,
            deleted: 1_200 + n * 10,
            ..Counters::default()
        },
        shards: vec![
            shard("shardId-00000001795269000000-1111aaaa", 12_300),
            shard("shardId-00000001795269000000-2222bbbb", 0),
        ],
        replica: Some(ReplicaSample {
            trim_ms,
            changes: ChangeCounts {
                inserted: 20_000 + n * 100,
                modified: 10_000 + n * 20,
                removed: 1_200 + n * 10,
                expired: 200,
                superseded: 3,
                scanned: 88_000,
                ..ChangeCounts::default()
            },
            bootstrap: None,
            gap: gap.map(str::to_owned),
        }),
        ..Sample::default()
    };
    (0..6).map(second).collect()
}

pub(in crate::console) fn shards() -> Vec<Shard> {
    let shard = |id: &str, parent: Option<&str>| Shard {
        id: id.into(),
        parent: parent.map(str::to_owned),
        adjacent_parent: None,
        from: 0,
        to: 0,
        open: true,
    };
    let (a, b) = ("shardId-00000001795269000000-1111aaaa", "shardId-00000001795269000000-2222bbbb");
    let old = "shardId-00000001795200000000-0000ffff";
    vec![shard(old, None), shard(a, Some(old)), shard(b, None), shard("shardId-00000001795269900000-3333cccc", Some(a))]
}

fn following(size: (u16, u16), trim_ms: u64, gap: Option<&str>) -> Tester {
    let id = JobId("c-11aa".into());
    let mut tester = Tester::open(Screen::Job(id.clone()), Mode::Normal, size);
    tester.runtime.app.table_shards.insert(id.clone(), shards());
    tester.send(Msg::Jobs(vec![job()], Vec::new()));
    tester.send(Msg::Samples(id.clone(), samples(trim_ms, gap), 1000));
    tester.send(Msg::Audited(id, audited()));
    tester
}

#[tokio::test]
async fn a_replica_tells_its_lag_at_every_size_that_has_room_for_it() {
    for size in [(120, 40), (110, 30), (80, 24), (60, 15), (40, 12), (1, 1)] {
        let mut tester = following(size, 79_800_000, None);
        let drawn = tester.look().await;
        assert!(size.0 < 40 || drawn.contains("12.3 s"), "{size:?}\n{drawn}");
    }
}

#[tokio::test]
async fn lag_time_to_trim_kinds_shards_and_drift_are_on_one_screen() {
    let mut tester = following((120, 40), 79_800_000, None);
    for text in
        ["12.3 s", "22h 10m", "20,500", "100/s", "expired", "superseded", "3 keys; R repairs", "42 %", "waits", "done"]
    {
        tester.sees(text).await;
    }
}

#[tokio::test]
async fn time_that_runs_out_and_a_gap_are_said_with_what_helps() {
    let mut tester = following((120, 40), 3_600_000, None);
    tester.sees("the oldest change that is not in the replica leaves the stream").await;
    let mut tester = following((120, 40), 79_800_000, Some("changes are missing: --rebootstrap repairs it"));
    tester.sees("--rebootstrap repairs it").await;
}

#[tokio::test]
async fn a_replica_is_paused_and_goes_on() {
    let mut tester = following((120, 40), 79_800_000, None);
    tester.press("p y").await;
    assert_eq!(tester.changed(), [Effect::Control(JobId("c-11aa".into()), Control::Pause)]);
    tester.send(Msg::Jobs(vec![Job { state: State::Paused, control: Control::Pause, ..job() }], Vec::new()));
    tester.press("p y").await;
    assert_eq!(tester.changed(), [Effect::Control(JobId("c-11aa".into()), Control::Run)]);
}

#[tokio::test]
async fn a_replica_elsewhere_has_no_capacity_to_change_from_here() {
    let far = TableTarget { table: "quotes".into(), region: Some("us-east-1".into()), ..TableTarget::default() };
    let spec = ReplicateSpec { target: ReplicaTarget::Table(far), ..replicate() };
    let mut tester = Tester::open(Screen::Job(JobId("c-11aa".into())), Mode::Normal, (120, 40));
    tester.send(Msg::Jobs(vec![Job { spec: Spec::Replicate(spec), ..job() }], Vec::new()));
    tester.misses("more WCU").await;
    tester.press("+ y").await;
    tester.sees("c-11aa writes quotes in us-east-1: open sluice there to change its capacity").await;
    let did = tester.did();
    assert!(!did.iter().any(|effect| matches!(effect, Effect::SetCapacity { .. } | Effect::LoadTable(_))), "{did:?}");
}

#[tokio::test]
async fn a_replica_in_bigquery_is_said_to_have_no_capacity() {
    let target = BigQueryTarget {
        project: "p".into(),
        dataset: "d".into(),
        table: "quotes".into(),
        ..BigQueryTarget::default()
    };
    let spec = ReplicateSpec { target: ReplicaTarget::BigQuery(target), ..replicate() };
    let mut tester = following((120, 40), 3_600_000, None);
    tester.send(Msg::Jobs(vec![Job { spec: Spec::Replicate(spec), ..job() }], Vec::new()));
    tester.misses("more WCU").await;
    tester.misses("+ raises what the").await;
    for key in ["+", "-", "=", "i"] {
        tester.press(key).await;
        tester.sees("c-11aa writes BigQuery p.d.quotes, which has no capacity").await;
        tester.pass(13_000).await;
    }
    assert_eq!(tester.changed(), []);
}

#[tokio::test]
async fn what_helps_a_replica_elsewhere_before_its_time_runs_out_is_said_to_be_there() {
    let mut tester = following((120, 40), 3_600_000, None);
    tester.sees("+ raises what the").await;
    let far = TableTarget { table: "quotes".into(), region: Some("us-east-1".into()), ..TableTarget::default() };
    let spec = ReplicateSpec { target: ReplicaTarget::Table(far), ..replicate() };
    tester.send(Msg::Jobs(vec![Job { spec: Spec::Replicate(spec), ..job() }], Vec::new()));
    tester.sees("the oldest change that is not in the replica leaves the stream").await;
    tester.sees("open sluice there").await;
    tester.misses("+ raises what the").await;
}
