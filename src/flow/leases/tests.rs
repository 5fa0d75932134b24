//! Leases against a store in memory and a clock that jumps.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use proptest::prelude::*;

use super::sightings::{Sightings, Wanted};
use super::upkeep::{children, left, missing};
use super::*;
use crate::cloud::{Class, CloudError};
use crate::flow::clock::{Clock, ManualClock};
use crate::flow::stream::{Page, ReadError, SequenceNumber, Shard, StartAt, StreamSource};

fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn shard(n: u32, parents: &[u32], open: bool) -> Shard {
    Shard {
        id: format!("shard-{n}"),
        parents: parents.iter().map(|n| format!("shard-{n}")).collect(),
        hash_keys: (0, u128::MAX),
        open,
    }
}

fn lease(n: u32, owner: Option<&str>, counter: u64) -> Lease {
    let mut lease = Lease::new("s", &shard(n, &[], true), LeaseCheckpoint::TrimHorizon);
    lease.owner = owner.map(str::to_owned);
    lease.counter = counter;
    lease
}

fn ended(n: u32) -> Lease {
    Lease { checkpoint: LeaseCheckpoint::ShardEnd, ..lease(n, None, 5) }
}

fn none() -> HashSet<String> {
    HashSet::new()
}

#[test]
fn a_worker_is_dead_when_its_counter_stands_still_for_the_failover_time_of_our_own_clock() {
    let mut seen = Sightings::new("me", FAILOVER);
    seen.observe(s(100), &[lease(1, Some("a"), 7)]);
    seen.observe(s(109), &[lease(1, Some("a"), 7)]);
    assert!(!seen.is_free(s(109), &lease(1, Some("a"), 7)));
    assert!(seen.is_free(s(110), &lease(1, Some("a"), 7)));
    // It moved: it lives.
    seen.observe(s(110), &[lease(1, Some("a"), 8)]);
    assert!(!seen.is_free(s(119), &lease(1, Some("a"), 8)));
}

#[test]
fn a_lease_without_owner_is_free_at_once() {
    let mut seen = Sightings::new("me", FAILOVER);
    seen.observe(s(0), &[lease(1, None, 3)]);
    assert!(seen.is_free(s(0), &lease(1, None, 3)));
}

#[test]
fn free_leases_are_taken_up_to_ones_share() {
    let mut leases: Vec<Lease> = (0..6).map(|n| lease(n, None, 0)).collect();
    leases.extend((6..10).map(|n| lease(n, Some("a"), 1)));
    leases.push(ended(10));
    let mut seen = Sightings::new("me", FAILOVER);
    seen.observe(s(0), &leases);
    let wanted = seen.wanted(s(0), &leases, &none(), true);
    assert_eq!(wanted.len(), 5);
    assert!(wanted.iter().all(|wanted| matches!(wanted, Wanted::Take(lease) if lease.owner.is_none())));
}

#[test]
fn one_lease_of_the_most_loaded_is_asked_for_and_the_rate_decides_between_equals() {
    let mut leases: Vec<Lease> = (0..3).map(|n| lease(n, Some("a"), 1)).collect();
    leases.extend((3..6).map(|n| lease(n, Some("b"), 1)));
    leases[4].kb_per_second = 100.0;
    leases[5].kb_per_second = 20.0;
    let mut seen = Sightings::new("me", FAILOVER);
    seen.observe(s(0), &leases);
    assert_eq!(seen.wanted(s(0), &leases, &none(), true), [Wanted::Ask(leases[4].clone())]);
    assert_eq!(seen.wanted(s(0), &leases, &none(), false), []);
}

#[test]
fn nobody_is_asked_when_the_shares_differ_by_one() {
    let leases = [lease(0, Some("a"), 1), lease(1, Some("a"), 1), lease(2, Some("me"), 1)];
    let mut seen = Sightings::new("me", FAILOVER);
    seen.observe(s(0), &leases);
    assert_eq!(seen.wanted(s(0), &leases, &HashSet::from(["shard-2".to_owned()]), true), []);
}

#[test]
fn the_leases_of_the_dead_are_shared_among_the_living() {
    let mut leases: Vec<Lease> = (0..10).map(|n| lease(n, Some("dead"), 1)).collect();
    leases.extend((10..15).map(|n| lease(n, Some("alive"), 1)));
    leases.extend((15..20).map(|n| lease(n, Some("me"), 1)));
    let mine = (15..20).map(|n| format!("shard-{n}")).collect();
    let mut seen = Sightings::new("me", FAILOVER);
    seen.observe(s(0), &leases);
    for lease in leases.iter_mut().filter(|lease| lease.owner.as_deref() == Some("alive")) {
        lease.counter += 1;
    }
    seen.observe(s(10), &leases);
    let wanted = seen.wanted(s(10), &leases, &mine, true);
    assert_eq!(wanted.len(), 5);
    let is_dead = |wanted: &Wanted| matches!(wanted, Wanted::Take(lease) if lease.owner.as_deref() == Some("dead"));
    assert!(wanted.iter().all(is_dead));
}

#[test]
fn a_child_is_leased_once_all_of_its_parents_ended() {
    let listing = [shard(0, &[], false), shard(1, &[], false), shard(2, &[0, 1], true)];
    let made = |leases: &[Lease]| -> Vec<String> {
        missing("s", &listing, leases, &StartAt::TrimHorizon).into_iter().map(|lease| lease.shard).collect()
    };
    assert_eq!(made(&[]), ["shard-0", "shard-1"]);
    assert!(made(&[ended(0), lease(1, None, 0)]).is_empty());
    assert_eq!(made(&[ended(0), ended(1)]), ["shard-2"]);
    assert_eq!(children(&listing, "shard-1"), ["shard-2"]);
}

#[test]
fn a_parent_that_left_the_stream_is_waited_for_no_more() {
    let made = missing("s", &[shard(2, &[0], true)], &[], &StartAt::TrimHorizon);
    assert_eq!((made[0].shard.as_str(), &made[0].checkpoint), ("shard-2", &LeaseCheckpoint::TrimHorizon));
}

#[test]
fn the_newest_records_are_those_of_open_shards_and_what_comes_of_them_is_read_whole() {
    use LeaseCheckpoint::{Latest, ShardEnd, TrimHorizon};
    let listing = [shard(0, &[], false), shard(1, &[0], true), shard(2, &[0], true)];
    let first = missing("s", &listing, &[], &StartAt::Latest);
    let told: Vec<(&str, &LeaseCheckpoint)> = first.iter().map(|l| (l.shard.as_str(), &l.checkpoint)).collect();
    // What is finished comes last: it says that the stream was read before.
    assert_eq!(told, [("shard-1", &Latest), ("shard-2", &Latest), ("shard-0", &ShardEnd)]);
    let mut leases = first.clone();
    leases[0].checkpoint = ShardEnd;
    let later = [listing.to_vec(), vec![shard(3, &[1], true)]].concat();
    let made = missing("s", &later, &leases, &StartAt::Latest);
    assert_eq!((made.len(), &made[0].checkpoint), (1, &TrimHorizon));
}

#[test]
fn a_time_means_the_same_in_every_shard() {
    let listing = [shard(0, &[], false), shard(1, &[0], true)];
    let made = missing("s", &listing, &[ended(0)], &StartAt::Time(5));
    assert_eq!(made[0].checkpoint, LeaseCheckpoint::AtTimestamp);
    let at = |from_ms, told: &StartAt| Lease { from_ms, ..made[0].clone() }.start(told);
    assert_eq!(at(Some(5), &StartAt::TrimHorizon), StartAt::Time(5));
    // In a row of KCL's own, the time is what the worker was told; one that was told none reads everything.
    assert_eq!(at(None, &StartAt::Time(5)), StartAt::Time(5));
    assert_eq!(at(None, &StartAt::TrimHorizon), StartAt::TrimHorizon);
}

#[test]
fn a_shard_that_was_begun_at_its_newest_record_and_left_is_read_from_then_on() {
    let latest = Lease { checkpoint: LeaseCheckpoint::Latest, from_ms: Some(7), ..lease(0, None, 0) };
    let mut taken = latest.clone();
    Change::take(&latest, "a", None).apply(&mut taken);
    assert_eq!(taken.start(&StartAt::Latest), StartAt::Latest);
    let mut again = taken.clone();
    Change::take(&taken, "b", None).apply(&mut again);
    assert_eq!(again.start(&StartAt::Latest), StartAt::Time(7));
}

#[test]
fn leases_of_shards_that_left_the_stream_are_rubbish() {
    let leases = [ended(0), lease(1, None, 0)];
    assert_eq!(left(&[shard(1, &[], true)], &leases), [&leases[0]]);
    assert!(left(&[], &leases).is_empty());
}

#[test]
fn a_change_says_in_dynamodb_words_what_it_does() {
    let lease = lease(1, Some("a"), 7);
    let take = Change::take(&lease, "me", Some("a")).expression();
    assert_eq!(take.condition, "#leaseCounter = :v0 AND #leaseOwner = :v1");
    assert_eq!(
        take.update(),
        "SET #leaseCounter = :v2, #leaseOwner = :v3, #checkpointOwner = :v4, #ownerSwitchesSinceCheckpoint = :v5"
    );
    let at = Some((LeaseCheckpoint::After(SequenceNumber("12".into())), 0));
    let given_up = Change::give_up(&lease).at(at).expression();
    assert_eq!(
        given_up.update(),
        "SET #leaseCounter = :v2, #checkpoint = :v3, #checkpointSubSequenceNumber = :v4, \
         #ownerSwitchesSinceCheckpoint = :v5 REMOVE #leaseOwner, #checkpointOwner"
    );
    let free = Change::take(&Lease { owner: None, ..lease }, "me", None).expression();
    assert_eq!(free.condition, "#leaseCounter = :v0 AND attribute_not_exists(#leaseOwner)");
}

proptest! {
    #[test]
    fn a_lease_comes_back_from_its_row_as_it_was(
        shard in "[a-zA-Z0-9_.-]{1,40}",
        stream in prop::option::of("[a-z]{1,9}"),
        owner in prop::option::of(".{1,20}"),
        leaving in prop::option::of(".{1,20}"),
        counter: u64,
        checkpoint in prop_oneof![
            Just(LeaseCheckpoint::TrimHorizon), Just(LeaseCheckpoint::Latest), Just(LeaseCheckpoint::AtTimestamp),
            Just(LeaseCheckpoint::ShardEnd), "[1-9][0-9]{0,55}".prop_map(|n| LeaseCheckpoint::After(SequenceNumber(n))),
        ],
        sub: u64,
        switches: u64,
        parents in prop::collection::btree_set("[a-z0-9]{1,9}", 0..3),
        children in prop::collection::btree_set("[a-z0-9]{1,9}", 0..3),
        hash_keys: Option<(u128, u128)>,
        from_ms: Option<i64>,
    ) {
        let lease = Lease {
            shard, stream, owner, counter, checkpoint, sub, switches, leaving,
            parents: parents.into_iter().collect(), children: children.into_iter().collect(),
            hash_keys, kb_per_second: 1.5, from_ms,
        };
        prop_assert_eq!(Lease::of(&lease.to_item()), Some(lease));
    }
}

/// Everybody's table.
type Table = Arc<Mutex<BTreeMap<String, Lease>>>;

/// One worker's way to the table.
struct Way {
    table: Table,
    is_cut: AtomicBool,
    refuses_changes: AtomicBool,
    loses_replies: AtomicBool,
}

fn way(table: &Table) -> Arc<Way> {
    Arc::new(Way {
        table: Arc::clone(table),
        is_cut: AtomicBool::new(false),
        refuses_changes: AtomicBool::new(false),
        loses_replies: AtomicBool::new(false),
    })
}

impl Way {
    fn there(&self) -> Result<(), CloudError> {
        if self.is_cut.load(Ordering::Relaxed) {
            return Err(CloudError::new(Class::Transient, "cut off", ""));
        }
        Ok(())
    }

    fn back(&self) -> Result<(), CloudError> {
        if self.loses_replies.load(Ordering::Relaxed) {
            return Err(CloudError::new(Class::Transient, "no reply", ""));
        }
        Ok(())
    }
}

fn condition() -> CloudError {
    CloudError::new(Class::Condition, "it did not hold", "")
}

impl LeaseStore for Way {
    fn list(&self) -> BoxFuture<'_, Result<Vec<Lease>, CloudError>> {
        async move {
            self.there()?;
            Ok(self.table.lock().unwrap().values().cloned().collect())
        }
        .boxed()
    }

    fn create<'a>(&'a self, lease: &'a Lease) -> BoxFuture<'a, Result<(), CloudError>> {
        async move {
            self.there()?;
            let mut table = self.table.lock().unwrap();
            if table.contains_key(&lease.shard) {
                return Err(condition());
            }
            table.insert(lease.shard.clone(), lease.clone());
            Ok(())
        }
        .boxed()
    }

    fn update<'a>(&'a self, change: &'a Change) -> BoxFuture<'a, Result<(), CloudError>> {
        async move {
            self.there()?;
            if self.refuses_changes.load(Ordering::Relaxed) {
                return Err(CloudError::new(Class::Transient, "not now", ""));
            }
            let mut table = self.table.lock().unwrap();
            let lease = table.get_mut(&change.shard).filter(|lease| change.applies(lease)).ok_or_else(condition)?;
            change.apply(lease);
            self.back()
        }
        .boxed()
    }

    fn delete<'a>(&'a self, lease: &'a Lease) -> BoxFuture<'a, Result<(), CloudError>> {
        async move {
            self.there()?;
            let mut table = self.table.lock().unwrap();
            if table.get(&lease.shard).is_some_and(|there| there.checkpoint == lease.checkpoint) {
                table.remove(&lease.shard);
                return Ok(());
            }
            Err(condition())
        }
        .boxed()
    }
}

struct Listing(Mutex<Vec<Shard>>);

impl StreamSource for Listing {
    fn shards(&self) -> BoxFuture<'_, Result<Vec<Shard>, CloudError>> {
        std::future::ready(Ok(self.0.lock().unwrap().clone())).boxed()
    }

    fn iterator<'a>(&'a self, _: &'a str, _: &'a StartAt) -> BoxFuture<'a, Result<String, CloudError>> {
        unreachable!("leases read no records")
    }

    fn page<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Page, ReadError>> {
        unreachable!("leases read no records")
    }
}

fn stream(shards: u32) -> Arc<Listing> {
    Arc::new(Listing(Mutex::new((0..shards).map(|n| shard(n, &[], true)).collect())))
}

fn join(name: &str, way: &Arc<Way>, stream: &Arc<Listing>, clock: &ManualClock) -> Leases {
    let options = LeaseOptions::new("s", name);
    Leases::start(options, Arc::clone(way) as _, Arc::clone(stream) as _, Arc::new(clock.clone()))
}

fn held(leases: &Leases) -> Vec<Held> {
    leases.standing().borrow().held.iter().filter(|held| !held.hand_over).cloned().collect()
}

/// Waits until `done`, handing over what is asked for at once; the time that it took.
async fn until(clock: &ManualClock, workers: &[&Leases], mut done: impl FnMut() -> bool) -> Duration {
    let began = clock.now();
    for _ in 0..2_000 {
        if done() {
            return clock.now().checked_sub(began).unwrap();
        }
        for worker in workers {
            let asked: Vec<Held> = worker.standing().borrow().held.iter().filter(|h| h.hand_over).cloned().collect();
            for held in asked {
                worker.checkpoint(&held.shard, &SequenceNumber("77".into()), 0, 0);
                worker.finished(&held.shard);
            }
        }
        clock.sleep(Duration::from_millis(100)).await;
    }
    panic!("waited in vain");
}

#[test]
fn two_workers_share_the_shards_and_what_one_hands_over_begins_where_it_stopped() {
    let (clock, table, stream) = (ManualClock::default(), Table::default(), stream(4));
    clock.run(async {
        let one = join("one", &way(&table), &stream, &clock);
        until(&clock, &[&one], || held(&one).len() == 4).await;
        let two = join("two", &way(&table), &stream, &clock);
        until(&clock, &[&one, &two], || held(&one).len() == 2 && held(&two).len() == 2).await;
        assert!(held(&two).iter().all(|held| held.start == StartAt::At(SequenceNumber("77".into()))));
        assert!(table.lock().unwrap().values().all(|lease| lease.leaving.is_none()));
    });
}

#[test]
fn nobody_begins_what_another_still_finishes() {
    let (clock, table, stream) = (ManualClock::default(), Table::default(), stream(2));
    clock.run(async {
        let one = join("one", &way(&table), &stream, &clock);
        until(&clock, &[&one], || held(&one).len() == 2).await;
        let two = join("two", &way(&table), &stream, &clock);
        // The first one never says that it has finished: its right to write lapses, and then the second may begin.
        let first: Vec<Held> = held(&one);
        until(&clock, &[], || held(&two).len() == 1).await;
        let taken = held(&two)[0].shard.clone();
        assert!(first.iter().filter(|held| held.shard == taken).all(|held| !held.fence.holds()));
        assert!(first.iter().filter(|held| held.shard != taken).all(|held| held.fence.holds()));
    });
}

#[test]
fn who_takes_over_from_one_who_asked_and_died_waits_for_him_who_was_asked_as_well() {
    let (clock, table, stream) = (ManualClock::default(), Table::default(), stream(1));
    clock.run(async {
        let one = join("one", &way(&table), &stream, &clock);
        until(&clock, &[&one], || held(&one).len() == 1).await;
        let old = held(&one)[0].clone();
        // Somebody asks for it, and is never heard of again.
        let asked = Change::take(&table.lock().unwrap()["shard-0"].clone(), "ghost", Some("one"));
        asked.apply(table.lock().unwrap().get_mut("shard-0").unwrap());
        let two = join("two", &way(&table), &stream, &clock);
        until(&clock, &[], || held(&two).len() == 1).await;
        assert!(!old.fence.holds());
    });
}

#[test]
fn the_leases_of_a_worker_that_died_are_taken_within_twenty_seconds() {
    let (clock, table, stream) = (ManualClock::default(), Table::default(), stream(6));
    clock.run(async {
        let (one, two) = (join("one", &way(&table), &stream, &clock), join("two", &way(&table), &stream, &clock));
        until(&clock, &[&one, &two], || held(&one).len() == 3 && held(&two).len() == 3).await;
        drop(one);
        let took = until(&clock, &[&two], || held(&two).len() == 6).await;
        assert!(took >= s(8) && took < s(20), "{took:?}");
    });
}

#[test]
fn a_worker_that_leaves_gives_its_leases_up_at_once() {
    let (clock, table, stream) = (ManualClock::default(), Table::default(), stream(4));
    clock.run(async {
        let (one, two) = (join("one", &way(&table), &stream, &clock), join("two", &way(&table), &stream, &clock));
        until(&clock, &[&one, &two], || held(&one).len() == 2 && held(&two).len() == 2).await;
        let shard = held(&one)[0].shard.clone();
        one.checkpoint(&shard, &SequenceNumber("99".into()), 0, 0);
        one.leave(Vec::new()).await;
        assert_eq!(table.lock().unwrap()[&shard].checkpoint, LeaseCheckpoint::After(SequenceNumber("99".into())));
        let took = until(&clock, &[&two], || held(&two).len() == 4).await;
        assert!(took < s(5), "{took:?}");
    });
}

#[test]
fn a_worker_that_leaves_tries_again_when_the_table_fails_and_gives_up_what_it_only_asked_for() {
    let (clock, table, stream) = (ManualClock::default(), Table::default(), stream(4));
    clock.run(async {
        let (first, second) = (way(&table), way(&table));
        let one = join("one", &first, &stream, &clock);
        until(&clock, &[&one], || held(&one).len() == 4).await;
        let two = join("two", &second, &stream, &clock);
        let owned = |by: &str| table.lock().unwrap().values().filter(|l| l.owner.as_deref() == Some(by)).count();
        // Nobody finishes what two asks for.
        until(&clock, &[&two], || owned("two") == 1).await;
        assert!(held(&two).is_empty());
        two.leave(Vec::new()).await;
        assert_eq!(owned("two"), 0);
        first.is_cut.store(true, Ordering::Relaxed);
        let mends = async {
            clock.sleep(s(1)).await;
            first.is_cut.store(false, Ordering::Relaxed);
            first.refuses_changes.store(true, Ordering::Relaxed);
            clock.sleep(s(1)).await;
            first.refuses_changes.store(false, Ordering::Relaxed);
            first.loses_replies.store(true, Ordering::Relaxed);
            clock.sleep(s(1)).await;
            first.loses_replies.store(false, Ordering::Relaxed);
        };
        futures::join!(one.leave(Vec::new()), mends);
        let table = table.lock().unwrap();
        assert!(table.values().all(|lease| lease.owner.is_none() && lease.leaving.is_none()), "{table:?}");
    });
}

#[test]
fn a_shard_of_which_something_is_still_on_its_way_is_not_given_up() {
    let (clock, table, stream) = (ManualClock::default(), Table::default(), stream(2));
    clock.run(async {
        let one = join("one", &way(&table), &stream, &clock);
        until(&clock, &[&one], || held(&one).len() == 2).await;
        one.leave(vec!["shard-0".to_owned()]).await;
        let table = table.lock().unwrap();
        assert_eq!(table["shard-0"].owner.as_deref(), Some("one"));
        assert_eq!(table["shard-1"].owner, None);
    });
}

#[test]
fn a_worker_that_is_cut_off_stops_writing_before_another_begins_and_can_checkpoint_no_more() {
    let (clock, table, stream) = (ManualClock::default(), Table::default(), stream(1));
    clock.run(async {
        let cut = way(&table);
        let one = join("one", &cut, &stream, &clock);
        until(&clock, &[&one], || held(&one).len() == 1).await;
        let old = held(&one)[0].clone();
        cut.is_cut.store(true, Ordering::Relaxed);
        let two = join("two", &way(&table), &stream, &clock);
        let lapsed = until(&clock, &[&two], || !old.fence.holds()).await;
        let begun = lapsed + until(&clock, &[&two], || held(&two).len() == 1).await;
        assert!(lapsed + s(1) < begun && begun < s(20), "{lapsed:?} {begun:?}");
        // It comes back from wherever it was.
        cut.is_cut.store(false, Ordering::Relaxed);
        one.checkpoint("shard-0", &SequenceNumber("1".into()), 0, 0);
        clock.sleep(s(10)).await;
        assert!(!old.fence.holds());
        let lease = table.lock().unwrap()["shard-0"].clone();
        assert_eq!((lease.owner.as_deref(), lease.checkpoint), (Some("two"), LeaseCheckpoint::TrimHorizon));
    });
}

#[test]
fn a_renewal_whose_reply_is_lost_loses_no_lease() {
    let (clock, table, stream) = (ManualClock::default(), Table::default(), stream(1));
    clock.run(async {
        let way = way(&table);
        let one = join("one", &way, &stream, &clock);
        until(&clock, &[&one], || held(&one).len() == 1).await;
        let fence = held(&one)[0].fence.clone();
        way.loses_replies.store(true, Ordering::Relaxed);
        clock.sleep(s(5)).await;
        way.loses_replies.store(false, Ordering::Relaxed);
        clock.sleep(s(30)).await;
        assert!(fence.holds() && held(&one)[0].fence.is(&fence));
    });
}

#[test]
fn children_are_leased_when_their_parents_ended_and_what_left_the_stream_is_forgotten() {
    let (clock, table, stream) = (ManualClock::default(), Table::default(), stream(1));
    clock.run(async {
        let one = join("one", &way(&table), &stream, &clock);
        until(&clock, &[&one], || held(&one).len() == 1).await;
        *stream.0.lock().unwrap() = vec![shard(0, &[], false), shard(1, &[0], true), shard(2, &[0], true)];
        clock.sleep(s(30)).await;
        assert_eq!(held(&one).len(), 1);
        one.ended("shard-0");
        let took = until(&clock, &[&one], || held(&one).len() == 2).await;
        assert!(took < s(1), "{took:?}");
        assert_eq!(table.lock().unwrap()["shard-0"].children, ["shard-1", "shard-2"]);
        assert!(held(&one).iter().all(|held| held.start == StartAt::TrimHorizon));
        stream.0.lock().unwrap().remove(0);
        until(&clock, &[&one], || !table.lock().unwrap().contains_key("shard-0")).await;
    });
}

#[test]
fn a_table_with_the_leases_of_another_stream_is_refused_by_name() {
    let (clock, table, stream) = (ManualClock::default(), Table::default(), stream(1));
    let other = Lease { stream: Some("other".into()), ..lease(0, None, 0) };
    table.lock().unwrap().insert(other.shard.clone(), other);
    clock.run(async {
        let error = join("one", &way(&table), &stream, &clock).failed().await;
        assert!(error.class == Class::Invalid && error.what.contains("stream other"), "{error}");
    });
}
