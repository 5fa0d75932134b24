//! Capacity raised, remembered and given back by the real binary, through ends, kills and AWS's rules.

use std::process::Child;

use aws_sdk_dynamodb::types::{
    AttributeDefinition, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection, ProjectionType,
    ProvisionedThroughput, ScalarAttributeType, TableDescription,
};
use sluicegate::cloud::{Cloud, Context};
use sluicegate::jobs::journal::State;
use sluicegate::jobs::{JobId, Journal, Raise, RestoreSpec, SourceSpec, Spec};

use crate::running::{Server, Sluice, block_on, create_stream, create_table, item, signal, until, write_csv64};

/// A table with key `id` S and an index `by_day` of its own write capacity.
pub fn create_indexed_table(cloud: &Cloud, name: &str, wcu: i64, index_wcu: i64) {
    let throughput = |read: i64, write: i64| {
        ProvisionedThroughput::builder().read_capacity_units(read).write_capacity_units(write).build().unwrap()
    };
    let attribute = |name: &str| {
        let attribute = AttributeDefinition::builder().attribute_name(name);
        attribute.attribute_type(ScalarAttributeType::S).build().unwrap()
    };
    let hash = |name: &str| KeySchemaElement::builder().attribute_name(name).key_type(KeyType::Hash).build().unwrap();
    let index = GlobalSecondaryIndex::builder()
        .index_name("by_day")
        .key_schema(hash("day"))
        .projection(Projection::builder().projection_type(ProjectionType::KeysOnly).build())
        .provisioned_throughput(throughput(50, index_wcu))
        .build()
        .unwrap();
    let create = cloud
        .dynamodb
        .create_table()
        .table_name(name)
        .key_schema(hash("id"))
        .attribute_definitions(attribute("id"))
        .attribute_definitions(attribute("day"))
        .provisioned_throughput(throughput(1_000, wcu))
        .global_secondary_indexes(index);
    block_on(create.send()).unwrap();
    described(cloud, name);
}

/// The table, once nothing of it is being changed.
fn described(cloud: &Cloud, name: &str) -> TableDescription {
    until("the table is active", || {
        let table = block_on(cloud.dynamodb.describe_table().table_name(name).send()).ok()?.table?;
        (table.table_status.as_ref()?.as_str() == "ACTIVE").then_some(table)
    })
}

/// WCU of the table and of its first index.
fn wcu(cloud: &Cloud, name: &str) -> (i64, Option<i64>) {
    let table = described(cloud, name);
    let index = table.global_secondary_indexes().first().and_then(|index| index.provisioned_throughput());
    let index = index.and_then(aws_sdk_dynamodb::types::ProvisionedThroughputDescription::write_capacity_units);
    (table.provisioned_throughput.unwrap().write_capacity_units.unwrap(), index)
}

struct Scene {
    server: Server,
    cloud: Cloud,
    sluice: Sluice,
    folder: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        let server = Server::start(&["--limits", "on"]);
        let (cloud, sluice) = (server.cloud(), Sluice::at(&server.endpoint));
        Self { server, cloud, sluice, folder: tempfile::tempdir().unwrap() }
    }

    fn journal(&self) -> Journal {
        Journal::open(&self.sluice.state.path().join("journal.sqlite")).unwrap()
    }

    /// A restore that was promised a capacity, written down as `sluice restore --bump` does.
    fn job(&self, items: usize, raise: Raise, rate: Option<f64>) -> JobId {
        let path = self.folder.path().join("backup.csv");
        write_csv64(&path, (0..items).map(item));
        let spec = Spec::Restore(RestoreSpec {
            source: SourceSpec { sources: vec![path.to_str().unwrap().to_owned()], ..SourceSpec::default() },
            table: "historical".into(),
            raise: Some(raise),
            rate,
            ..RestoreSpec::default()
        });
        let context = Context { endpoint_url: Some(self.server.endpoint.clone()), ..Context::default() };
        self.journal().create_job(&spec, &context, None).unwrap()
    }

    fn resume(&self, id: &JobId) -> Child {
        self.sluice.start(&["restore", "--resume", &id.0, "--json"])
    }

    fn notes(&self, id: &JobId) -> String {
        let notes = self.journal().notes(id, 0).unwrap();
        notes.into_iter().map(|note| note.words).collect::<Vec<_>>().join("\n")
    }

    /// A restore whose worker was killed after it had raised the table from 130 to 2,000.
    fn killed(&self) -> JobId {
        let id = self.job(100_000, Raise { table: 2_000, indexes: Vec::new() }, Some(50.0));
        let mut worker = self.resume(&id);
        until("it writes", || (self.journal().job(&id).unwrap().counters.written > 0).then_some(()));
        assert_eq!(wcu(&self.cloud, "historical").0, 2_000);
        signal(worker.id(), "KILL");
        worker.wait().unwrap();
        until("it is seen to be gone", || (self.journal().job(&id).unwrap().state == State::Interrupted).then_some(()));
        id
    }
}

#[test]
fn a_restore_raises_table_and_index_at_its_start_and_gives_both_back_at_its_end() {
    let scene = Scene::new();
    create_indexed_table(&scene.cloud, "historical", 130, 20);
    let id = scene.job(200, Raise { table: 1_000, indexes: vec![("by_day".into(), 500)] }, None);
    assert!(scene.resume(&id).wait().unwrap().success());
    let notes = scene.notes(&id);
    assert!(
        notes.contains(
            "raised table historical from 130 to 1000 WCU; raised index by_day of historical from 20 to 500 WCU"
        ),
        "{notes}"
    );
    assert!(notes.contains("gave table historical back from 1000 to 130 WCU"), "{notes}");
    assert!(notes.contains("gave index by_day of historical back from 500 to 20 WCU"), "{notes}");
    assert_eq!(wcu(&scene.cloud, "historical"), (130, Some(20)));
    assert_eq!(scene.journal().open_bumps().unwrap(), []);
}

#[test]
fn what_has_enough_is_not_lowered_by_a_raise() {
    let scene = Scene::new();
    create_indexed_table(&scene.cloud, "historical", 2_000, 20);
    let id = scene.job(50, Raise { table: 1_000, indexes: vec![("by_day".into(), 10)] }, None);
    assert!(scene.resume(&id).wait().unwrap().success());
    assert_eq!(wcu(&scene.cloud, "historical"), (2_000, Some(20)));
}

#[test]
fn what_a_killed_job_raised_is_told_by_the_next_command_and_given_back_with_yes() {
    let scene = Scene::new();
    create_table(&scene.cloud, "historical", 130);
    let id = scene.killed();

    let told = scene.sluice.run(&["tables", "--json"]).expect(0);
    assert!(
        told.err.contains(&format!(
            "table historical still has the 2000 WCU that {id} (interrupted) raised it to, from 130"
        )),
        "{}",
        told.err
    );
    assert!(told.err.contains("sluice capacity --give-back"), "{}", told.err);
    assert!(told.out.lines().all(|line| line.starts_with('{')), "{}", told.out);
    assert_eq!(wcu(&scene.cloud, "historical").0, 2_000, "telling changes nothing");

    let done = scene.sluice.run(&["tables", "-y"]).expect(0);
    assert!(done.err.contains("gave table historical back from 2000 to 130 WCU"), "{}", done.err);
    assert_eq!(wcu(&scene.cloud, "historical").0, 130);
    assert_eq!(scene.sluice.run(&["tables"]).expect(0).err, "");
}

#[test]
fn a_killed_job_that_is_taken_up_again_keeps_its_capacity_and_gives_it_back_at_its_end() {
    let scene = Scene::new();
    create_table(&scene.cloud, "historical", 130);
    let id = scene.killed();
    let mut worker = scene.sluice.start(&["restore", "--resume", &id.0, "-y"]);
    until("it runs", || (scene.journal().job(&id).unwrap().state == State::Running).then_some(()));
    assert_eq!(wcu(&scene.cloud, "historical").0, 2_000);
    scene.sluice.run(&["cancel", &id.0]).expect(0);
    worker.wait().unwrap();
    assert_eq!(wcu(&scene.cloud, "historical").0, 130);
}

#[test]
fn never_below_what_somebody_else_set_meanwhile() {
    let scene = Scene::new();
    create_table(&scene.cloud, "historical", 130);
    scene.killed();
    let throughput = ProvisionedThroughput::builder().read_capacity_units(1_000).write_capacity_units(900);
    let other = scene.cloud.dynamodb.update_table().table_name("historical");
    block_on(other.provisioned_throughput(throughput.build().unwrap()).send()).unwrap();
    let done = scene.sluice.run(&["capacity", "--give-back", "-y"]).expect(0);
    assert!(done.out.contains("was set to 900 WCU by somebody else"), "{}", done.out);
    assert_eq!(wcu(&scene.cloud, "historical").0, 900);
    assert_eq!(scene.journal().open_bumps().unwrap(), []);
}

#[test]
fn without_a_decrease_left_the_debt_stays_owed_and_is_offered_again() {
    let scene = Scene::new();
    create_table(&scene.cloud, "historical", 500);
    for wcu_now in [400, 300, 200, 130] {
        scene.sluice.run(&["capacity", "historical", "--write", &wcu_now.to_string(), "-y"]).expect(0);
        described(&scene.cloud, "historical");
    }
    let refused = scene.sluice.run(&["capacity", "historical", "--write", "100", "-y"]).expect(1);
    assert!(refused.err.contains("none left (4 used since midnight UTC); the next at"), "{}", refused.err);
    scene.sluice.run(&["capacity", "historical", "--write", "195", "-y"]).expect(0);
    described(&scene.cloud, "historical");
    let shown = scene.sluice.run(&["capacity", "historical", "--json"]).expect(0).last_json();
    assert_eq!((&shown["decreases_left"], &shown["give_back_to"]), (&0.into(), &130.into()));
    for _ in 0..2 {
        let owed = scene.sluice.run(&["capacity", "historical", "--give-back", "-y"]).expect(1);
        assert!(owed.out.contains("has no decrease left today") && owed.out.contains("stay owed"), "{}", owed.out);
        assert_eq!(wcu(&scene.cloud, "historical").0, 195);
        assert_eq!(scene.journal().open_bumps().unwrap().len(), 1);
    }
}

#[test]
fn a_table_that_is_gone_owes_nothing() {
    let scene = Scene::new();
    create_table(&scene.cloud, "historical", 130);
    scene.killed();
    block_on(scene.cloud.dynamodb.delete_table().table_name("historical").send()).unwrap();
    let done = scene.sluice.run(&["capacity", "--give-back", "-y"]).expect(0);
    assert!(done.out.contains("does not exist any more"), "{}", done.out);
    assert_eq!(scene.journal().open_bumps().unwrap(), []);
}

#[test]
fn a_dry_run_and_read_only_mode_change_nothing_and_remember_nothing() {
    let scene = Scene::new();
    create_table(&scene.cloud, "historical", 130);
    let printed = scene.sluice.run(&["capacity", "historical", "--write", "195", "--dry-run"]).expect(0);
    assert!(printed.out.contains("UpdateTable") && printed.out.contains("195"), "{}", printed.out);
    scene.sluice.run(&["capacity", "historical", "--write", "195", "--read-only"]).expect(1);
    assert_eq!(wcu(&scene.cloud, "historical").0, 130);
    assert_eq!(scene.journal().open_bumps().unwrap(), []);
}

#[test]
fn an_index_is_raised_by_hand_and_given_back_with_its_table() {
    let scene = Scene::new();
    create_indexed_table(&scene.cloud, "historical", 130, 20);
    scene.sluice.run(&["capacity", "historical", "--index", "by_day", "--write", "40", "-y"]).expect(0);
    assert_eq!(wcu(&scene.cloud, "historical"), (130, Some(40)));
    let done = scene.sluice.run(&["capacity", "historical", "--give-back", "-y"]).expect(0);
    assert!(done.out.contains("gave index by_day of historical back from 40 to 20 WCU"), "{}", done.out);
    assert_eq!(wcu(&scene.cloud, "historical"), (130, Some(20)));
    let unknown = scene.sluice.run(&["capacity", "historical", "--index", "by_dya", "--write", "40", "-y"]).expect(1);
    assert!(unknown.err.contains("did you mean by_day?"), "{}", unknown.err);
}

#[test]
fn the_shards_of_a_stream_go_up_and_back_in_steps_that_aws_takes() {
    let scene = Scene::new();
    create_stream(&scene.cloud, "events", 3);
    let raised = scene.sluice.run(&["capacity", "--stream", "events", "--shards", "10", "-y", "--json"]).expect(0);
    assert_eq!(raised.last_json()["steps"], serde_json::json!([6, 10]));
    let open = || {
        let described = block_on(scene.cloud.kinesis.describe_stream_summary().stream_name("events").send()).unwrap();
        described.stream_description_summary.unwrap().open_shard_count
    };
    assert_eq!(open(), 10);
    let done = scene.sluice.run(&["capacity", "--stream", "events", "--give-back", "-y"]).expect(0);
    assert!(done.out.contains("gave stream events back from 10 to 3 shards"), "{}", done.out);
    until("it has three again", || (open() == 3).then_some(()));
    let shown = scene.sluice.run(&["capacity", "--stream", "events", "--json"]).expect(0).last_json();
    assert_eq!((&shown["changes_24h"], &shown["give_back_to"]), (&4.into(), &serde_json::Value::Null));
}
