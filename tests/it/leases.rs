//! Several put workers that share a stream through a lease table, as they would on several hosts.

use std::process::Child;

use serde_json::Value;
use sluicegate::cloud::Cloud;
use sluicegate::flow::leases::{self, Lease};

use crate::running::{Server, Sluice, block_on, count, create_stream, create_table, signal, until};
use crate::work::{merge, put, put_newer, send, split};

struct Scene {
    server: Server,
    cloud: Cloud,
}

impl Scene {
    fn new(args: &[&str], shards: i32) -> Self {
        let server = Server::start(&[&["--limits", "off"], args].concat());
        let cloud = server.cloud();
        create_stream(&cloud, "s", shards);
        create_table(&cloud, "aaa", 1_000);
        Self { server, cloud }
    }

    /// A worker with a journal of its own: another host.
    fn worker(&self) -> (Sluice, Child) {
        let sluice = Sluice::at(&self.server.endpoint);
        let child = sluice.start(&["work", "-k", "s", "--lease-table", "leases"]);
        (sluice, child)
    }

    fn leases(&self) -> Vec<Lease> {
        block_on(leases::list(&self.cloud.dynamodb, "leases")).unwrap_or_default()
    }

    /// How many leases each worker of `children` holds that is not asked to hand them over.
    fn held(&self, workers: &[(Sluice, Child)]) -> Vec<usize> {
        let leases = self.leases();
        let of = |sluice: &Sluice| {
            let jobs = sluice.run(&["jobs", "--json"]).out;
            let job: Value = jobs.lines().next().and_then(|line| serde_json::from_str(line).ok()).unwrap_or_default();
            let name = format!("/{}/", job["job"].as_str().unwrap_or("?"));
            let is_its = |lease: &&Lease| lease.owner.as_ref().is_some_and(|owner| owner.contains(&name));
            leases.iter().filter(|lease| lease.leaving.is_none() && !lease.has_ended()).filter(is_its).count()
        };
        workers.iter().map(|(sluice, _)| of(sluice)).collect()
    }
}

fn requests(versions: std::ops::RangeInclusive<u64>, keys: u64, newer: bool) -> Vec<(String, String)> {
    let make = if newer { put_newer } else { put };
    let all = versions.flat_map(|v| (0..keys).map(move |n| (format!("k{n}"), v)));
    all.map(|(id, v)| (id.clone(), make("aaa", &id, v).to_string())).collect()
}

/// Keys of table a whose version is `v`.
fn at_version(cloud: &Cloud, v: u64) -> Option<usize> {
    let items = block_on(cloud.dynamodb.scan().table_name("aaa").consistent_read(true).send()).ok()?.items?;
    Some(items.iter().filter(|item| *item["v"].as_n().unwrap() == v.to_string()).count())
}

fn end(workers: Vec<(Sluice, Child)>) -> Vec<Sluice> {
    workers.iter().for_each(|(_, child)| signal(child.id(), "TERM"));
    let ended = |(sluice, mut child): (Sluice, Child)| {
        assert_eq!(child.wait().unwrap().code(), Some(130));
        sluice
    };
    workers.into_iter().map(ended).collect()
}

#[test]
fn workers_share_the_shards_hand_them_over_in_order_and_give_them_up_when_they_end() {
    let scene = Scene::new(&["--faults", "throttle=3%,error=2%,partial=3%", "--seed", "3"], 6);
    let mut workers = vec![scene.worker()];
    until("the first holds all", || (scene.held(&workers) == [6]).then_some(()));
    send(&scene.cloud, "s", &requests(1..=20, 50, true));
    // While records flow, a second and a third come and are given their share.
    workers.push(scene.worker());
    workers.push(scene.worker());
    let mut version = 20;
    until("all hold their share", || {
        version += 1;
        send(&scene.cloud, "s", &requests(version..=version, 50, true));
        match version % 10 {
            3 => split(&scene.cloud, "s"),
            7 => merge(&scene.cloud, "s"),
            _ => {}
        }
        let held = scene.held(&workers);
        (held.iter().sum::<usize>() >= 6 && held.iter().all(|held| *held >= 2)).then_some(())
    });
    until("all is written", || (at_version(&scene.cloud, version)? == 50).then_some(()));
    let ended = end(workers);
    // Nothing came twice or out of order: each was newer than what was there.
    let mut counted = (0, 0);
    for sluice in ended {
        let jobs = sluice.run(&["jobs", "--json"]).out;
        let job: Value = serde_json::from_str(jobs.lines().next().unwrap()).unwrap();
        counted.0 += job["written"].as_u64().unwrap();
        counted.1 += job["skipped"].as_u64().unwrap();
    }
    assert_eq!(counted, (version * 50, 0));
    let kept: Vec<Lease> = scene.leases().into_iter().filter(|lease| lease.owner.is_some()).collect();
    assert!(kept.is_empty(), "{kept:?}");
}

#[test]
fn the_shards_of_workers_that_are_killed_are_taken_over_and_nothing_is_lost() {
    let scene = Scene::new(&[], 8);
    let mut workers: Vec<_> = (0..4).map(|_| scene.worker()).collect();
    until("all hold their share", || (scene.held(&workers) == [2, 2, 2, 2]).then_some(()));
    send(&scene.cloud, "s", &requests(1..=40, 100, false));
    for (_, child) in &mut workers[..2] {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    send(&scene.cloud, "s", &requests(41..=60, 100, false));
    until("the others hold all", || (scene.held(&workers)[2..] == [4, 4]).then_some(()));
    until("all is written", || (at_version(&scene.cloud, 60)? == 100).then_some(()));
    assert_eq!(count(&scene.cloud, "aaa"), 100);
    end(workers.split_off(2));
}

#[test]
fn a_worker_that_drains_a_shared_stream_ends_when_all_of_it_is_written() {
    let scene = Scene::new(&[], 3);
    send(&scene.cloud, "s", &requests(1..=3, 100, false));
    let sluice = Sluice::at(&scene.server.endpoint);
    let args = ["work", "-k", "s", "--lease-table", "leases", "--drain", "--json"];
    let first = sluice.run(&args).expect(0);
    assert_eq!(first.last_json()["read"], 300);
    assert!(first.err.contains("it is made now"), "{first:?}");
    // Another host goes on where it stopped.
    send(&scene.cloud, "s", &requests(4..=4, 100, false));
    assert_eq!(Sluice::at(&scene.server.endpoint).run(&args).expect(0).last_json()["read"], 100);
}

#[test]
fn a_lease_table_with_another_schema_is_named_and_so_is_one_of_another_stream() {
    let scene = Scene::new(&[], 1);
    let sluice = Sluice::at(&scene.server.endpoint);
    let refused = sluice.run(&["work", "-k", "s", "--lease-table", "aaa"]).expect(1);
    assert!(refused.err.contains("table aaa is no lease table: its key is id S"), "{refused:?}");
    sluice.run(&["work", "-k", "s", "--lease-table", "leases", "--drain"]).expect(0);
    create_stream(&scene.cloud, "other", 1);
    let refused = sluice.run(&["work", "-k", "other", "--lease-table", "leases", "--drain"]).expect(1);
    assert!(refused.err.contains("leases of stream s, not of other"), "{refused:?}");
}

#[test]
fn read_only_makes_no_lease_table() {
    let scene = Scene::new(&[], 1);
    let sluice = Sluice::at(&scene.server.endpoint);
    sluice.run(&["work", "-k", "s", "--lease-table", "leases", "--read-only"]).expect(1);
    assert!(scene.leases().is_empty());
}

#[test]
fn a_worker_that_was_stopped_for_long_writes_nothing_when_it_goes_on() {
    let scene = Scene::new(&[], 1);
    let sluice = Sluice::at(&scene.server.endpoint);
    // It is slow, so that much of what it read waits to be written when it is stopped.
    let slow = ["work", "-k", "s", "--lease-table", "leases", "--rate", "100"];
    let mut stopped = sluice.start(&slow);
    send(&scene.cloud, "s", &requests(1..=20, 100, false));
    until("something is written", || (count(&scene.cloud, "aaa") > 50).then_some(()));
    signal(stopped.id(), "STOP");
    let workers = vec![scene.worker()];
    until("another one holds the shard", || (scene.held(&workers) == [1]).then_some(()));
    send(&scene.cloud, "s", &requests(21..=21, 100, false));
    until("all is written", || (at_version(&scene.cloud, 21)? == 100).then_some(()));
    signal(stopped.id(), "CONT");
    let said = || sluice.run(&["jobs"]).out.split_whitespace().find(|word| word.starts_with("w-")).map(str::to_owned);
    let job = until("it is in its journal", said);
    until("it knows", || {
        let notes = sluice.run(&["jobs", &job]).out;
        (notes.contains("lost shardId") || notes.contains("could not be renewed in time")).then_some(())
    });
    signal(stopped.id(), "TERM");
    assert_eq!(stopped.wait().unwrap().code(), Some(130));
    assert_eq!(at_version(&scene.cloud, 21), Some(100));
    end(workers);
}
