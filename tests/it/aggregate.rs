//! Put requests packed together on a stream: what is on it, what becomes of it while its shards change, and what others
//! packed.

use std::path::PathBuf;

use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{ScalingType, ShardIteratorType, StreamStatus};
use sluicegate::cloud::Cloud;
use sluicegate::flow::aggregate::{pack, unpack};

use crate::running::{Server, Sluice, block_on, count, create_stream, create_table, item, until, write_csv64};

const FAULTS: &str = "throttle=5%,error=3%,partial=10%,reset=2%,lose-reply=3%,expire-iterators=2%,latency=3ms";

struct Scene {
    server: Server,
    sluice: Sluice,
    folder: tempfile::TempDir,
}

impl Scene {
    fn new(server: &[&str], shards: i32) -> Self {
        let server = Server::start(server);
        create_table(&server.cloud(), "historical", 1_000);
        create_stream(&server.cloud(), "restore", shards);
        Self { sluice: Sluice::at(&server.endpoint), server, folder: tempfile::tempdir().unwrap() }
    }

    fn backup(&self, items: impl IntoIterator<Item = String>) -> PathBuf {
        let path = self.folder.path().join("historical.csv");
        write_csv64(&path, items);
        path
    }
}

/// The bytes of every record on the stream.
fn records(cloud: &Cloud) -> Vec<bytes::Bytes> {
    block_on(async {
        let kinesis = &cloud.kinesis;
        let shards = kinesis.list_shards().stream_name("restore").send().await.unwrap();
        let mut records = Vec::new();
        for shard in shards.shards() {
            let iterator = kinesis.get_shard_iterator().stream_name("restore").shard_id(shard.shard_id());
            let iterator = iterator.shard_iterator_type(ShardIteratorType::TrimHorizon).send().await.unwrap();
            let mut next = iterator.shard_iterator;
            while let Some(iterator) = next {
                let page = kinesis.get_records().shard_iterator(iterator).send().await.unwrap();
                let more = !page.records.is_empty();
                records.extend(page.records.into_iter().map(|record| record.data.into_inner().into()));
                next = page.next_shard_iterator.filter(|_| more);
            }
        }
        records
    })
}

#[test]
fn requests_are_packed_together_unless_they_must_not_be() {
    for (flag, packed) in [(None, true), (Some("--no-aggregate"), false)] {
        let scene = Scene::new(&["--limits", "off"], 1);
        let backup = scene.backup((0..20_000).map(item));
        let mut args = vec!["restore", backup.to_str().unwrap(), "-t", "historical", "-k", "restore", "--json"];
        args.extend(flag);
        let ended = scene.sluice.run(&args).expect(0);
        assert_eq!(ended.last_json()["written"], 20_000);
        let records = records(&scene.server.cloud());
        let requests = |data| unpack(data).unwrap().map_or(1, |aggregated| aggregated.len());
        assert_eq!(records.iter().map(requests).sum::<usize>(), 20_000);
        assert!(if packed { records.len() < 19_000 } else { records.len() == 20_000 }, "{}", records.len());
    }
}

#[test]
fn no_aggregate_is_for_a_stream() {
    let sluice = Sluice::new();
    let ended = sluice.run(&["restore", "x.csv", "-t", "historical", "--no-aggregate"]).expect(2);
    assert!(ended.err.contains("--kinesis-stream"), "{}", ended.err);
}

fn scale(cloud: &Cloud, to: i32) {
    // Faults strike this request as well.
    until("the stream takes another number of shards", || {
        let request = cloud.kinesis.update_shard_count().stream_name("restore").target_shard_count(to);
        block_on(request.scaling_type(ScalingType::UniformScaling).send()).ok()
    });
    until("the stream is active", || {
        let described = block_on(cloud.kinesis.describe_stream_summary().stream_name("restore").send()).ok()?;
        (described.stream_description_summary?.stream_status == StreamStatus::Active).then_some(())
    });
}

#[test]
fn the_last_version_of_each_key_stays_while_shards_are_split_and_merged() {
    let scene = Scene::new(&["--limits", "off", "--faults", FAULTS, "--seed", "5"], 2);
    let cloud = scene.server.cloud();
    // Three versions of each key, the last one last.
    let version = |n: usize| item(n % 4_000).replace(r#""rate":{"N":"0."#, &format!(r#""rate":{{"N":"{}."#, n / 4_000));
    let backup = scene.backup((0..12_000).map(version));
    let args = ["restore", backup.to_str().unwrap(), "-t", "historical", "-k", "restore", "--shuffle", "0", "--json"];
    let mut restore = scene.sluice.start(&args);
    for shards in [4, 3, 6, 3, 2] {
        scale(&cloud, shards);
    }
    assert!(restore.wait().unwrap().success());
    let listed = block_on(cloud.kinesis.list_shards().stream_name("restore").send());
    assert!(listed.is_ok_and(|listed| listed.shards().len() > 10), "the stream was hardly resharded");
    assert_eq!(count(&cloud, "historical"), 4_000);
    // What the table must hold is a backup of the last versions.
    let last = scene.backup((8_000..12_000).map(version));
    let proof = scene.sluice.run(&["verify", last.to_str().unwrap(), "-t", "historical", "--json"]).expect(0);
    assert_eq!(proof.last_json()["equal"], 4_000);
}

#[test]
fn a_damaged_record_on_the_stream_is_none_of_a_restores_and_stops_nothing() {
    let scene = Scene::new(&["--limits", "off"], 1);
    let cloud = scene.server.cloud();
    let packed = pack(7, [("other/1".to_owned(), bytes::Bytes::from_static(b"{}"))]);
    let mut damaged = packed.to_vec();
    damaged[9] ^= 1;
    for data in [packed.to_vec(), damaged, packed[..12].to_vec()] {
        let put = cloud.kinesis.put_record().stream_name("restore").partition_key("other/1").data(Blob::new(data));
        block_on(put.send()).unwrap();
    }
    let backup = scene.backup((0..500).map(item));
    let args = ["restore", backup.to_str().unwrap(), "-t", "historical", "-k", "restore", "--json"];
    let ended = scene.sluice.run(&args).expect(0).last_json();
    assert_eq!((&ended["read"], &ended["written"], &ended["dead"]), (&500.into(), &500.into(), &0.into()));
}
