//! Reads a shard by subscriptions, one after the other, whoever pushes.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;

use crate::cloud::{Class, CloudError};
use crate::flow::backoff::Backoff;
use crate::flow::clock::Clock;
use crate::flow::place::Place;
use crate::flow::stream::{ReadError, Reading, SequenceNumber, ShardPages, StartAt, StreamRecord};

/// A subscription that says nothing for so long is dead: AWS sends an empty event every few seconds.
const SILENCE: Duration = Duration::from_secs(30);
/// An event that had to be waited for this long did not lie in the connection already, while we wrote …
const LAY: Duration = Duration::from_millis(50);
/// … and tells of the shard as it was so long ago at most.
const FLIGHT: Duration = Duration::from_millis(500);
/// A subscription is refused within 5 s of the last one for the same shard
/// (<https://docs.aws.amazon.com/kinesis/latest/APIReference/API_SubscribeToShard.html>), so it is tried each second.
const AGAIN: Duration = Duration::from_secs(1);
/// One that is refused for longer is refused because another process has the shard.
const HELD: Duration = Duration::from_mins(1);
/// So often may another process take a shard within [`HELD`]: once or twice is a hand-over.
const TAKEN: u32 = 3;
const BASE: Duration = Duration::from_millis(200);
const CAP: Duration = Duration::from_secs(5);

/// What a shard pushes.
#[derive(Clone, Debug)]
pub(super) struct Event {
    pub records: Vec<StreamRecord>,
    /// Where a new subscription goes on; `None` at the end of a closed shard.
    pub continuation: Option<SequenceNumber>,
    /// How far behind the newest record the event ends, ms.
    pub behind_ms: u64,
}

/// The events of one subscription.
pub(super) trait Events: Send {
    /// The next event; `None` when the subscription's time is up.
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Event>, CloudError>>;
}

/// Who pushes.
pub(super) trait Push: Send + Sync {
    /// What to call it in an error: the consumer's name.
    fn consumer(&self) -> &str;
    /// Subscribes to `shard` from `start` on.
    fn open<'a>(&'a self, shard: &'a str, start: &'a StartAt) -> BoxFuture<'a, Result<Box<dyn Events>, CloudError>>;
}

/// Reads one shard by subscriptions, one after the other.
pub(super) struct Subscription {
    push: Arc<dyn Push>,
    clock: Arc<dyn Clock>,
    shard: Arc<str>,
    place: Place,
    events: Option<Box<dyn Events>>,
    is_over: bool,
    /// Not before this is the next one opened.
    again_at: Duration,
    /// Since when it is refused in a row.
    refused_since: Option<Duration>,
    /// When another process first took the shard, of late, and how often since.
    taken: (Duration, u32),
    backoff: Backoff,
}

impl Subscription {
    pub fn new(push: Arc<dyn Push>, clock: Arc<dyn Clock>, shard: &str, start: StartAt, seed: u64) -> Self {
        Self {
            push,
            clock,
            shard: shard.into(),
            place: Place::new(start),
            events: None,
            is_over: false,
            again_at: Duration::ZERO,
            refused_since: None,
            taken: (Duration::ZERO, 0),
            backoff: Backoff::new(BASE, CAP, seed),
        }
    }

    async fn reading(&mut self) -> Result<Option<Reading>, ReadError> {
        if self.is_over {
            return Ok(None);
        }
        loop {
            let Some(events) = &mut self.events else {
                self.open().await?;
                continue;
            };
            let waiting_since = self.clock.now();
            let event = tokio::select! {
                event = events.next() => event,
                () = self.clock.sleep(SILENCE) => Err(CloudError::new(
                    Class::Transient,
                    format!("shard {} pushed nothing for {} s", self.shard, SILENCE.as_secs()),
                    "the connection is taken for dead",
                )),
            };
            let now = self.clock.now();
            match event {
                Ok(Some(event)) => return Ok(Some(self.accept(event, waiting_since, now))),
                // Its five minutes are over.
                Ok(None) => self.events = None,
                Err(error) => {
                    self.events = None;
                    if error.class != Class::InUse {
                        self.again_at = now + self.backoff.wait();
                        return Err(error.into());
                    }
                    self.was_taken(now)?;
                }
            }
        }
    }

    async fn open(&mut self) -> Result<(), CloudError> {
        let now = self.clock.now();
        if self.again_at > now {
            self.clock.sleep(self.again_at.saturating_sub(now)).await;
        }
        match self.push.open(&self.shard, &self.place.start()).await {
            Ok(events) => {
                (self.events, self.refused_since) = (Some(events), None);
                Ok(())
            }
            Err(error) if error.class == Class::InUse => {
                let now = self.clock.now();
                let since = *self.refused_since.get_or_insert(now);
                if now.saturating_sub(since) >= HELD {
                    return Err(self.is_held());
                }
                self.again_at = now + AGAIN.mul_f64(0.75 + self.backoff.dice() / 2.0);
                Ok(())
            }
            Err(error) if error.class == Class::Invalid && self.place.is_unknown(&self.shard, &error) => Ok(()),
            Err(error) => {
                let wait = self.backoff.wait();
                // One call a second is allowed for each consumer and shard.
                let wait = if error.class == Class::Throttled { wait + AGAIN } else { wait };
                self.again_at = self.clock.now() + wait;
                Err(error)
            }
        }
    }

    fn accept(&mut self, event: Event, waiting_since: Duration, now: Duration) -> Reading {
        self.backoff.reset();
        let Event { mut records, continuation, behind_ms } = event;
        let nothing_came = records.is_empty();
        self.is_over = continuation.is_none();
        self.place.accept(&self.shard, &mut records, self.is_over || behind_ms == 0);
        if let Some(continuation) = continuation.filter(|_| nothing_came) {
            self.place.nothing_until(continuation);
        }
        let is_tip = records.is_empty() && behind_ms == 0;
        let is_fresh = now.saturating_sub(waiting_since) >= LAY;
        Reading {
            records,
            behind_ms,
            as_of: now.checked_sub(FLIGHT).filter(|_| is_tip && is_fresh),
            note: self.place.take_note(),
            room: None,
        }
    }

    /// Another process subscribed to the shard by the same consumer.
    fn was_taken(&mut self, now: Duration) -> Result<(), CloudError> {
        let (since, times) = self.taken;
        self.taken = if times > 0 && now.saturating_sub(since) < HELD { (since, times + 1) } else { (now, 1) };
        self.again_at = now + AGAIN.mul_f64(0.75 + self.backoff.dice() / 2.0);
        if self.taken.1 >= TAKEN { Err(self.is_held()) } else { Ok(()) }
    }

    fn is_held(&self) -> CloudError {
        CloudError::new(
            Class::Invalid,
            format!("another process reads shard {} as consumer {}", self.shard, self.push.consumer()),
            "give each its own --fan-out NAME, or share the shards by --lease-table",
        )
    }
}

impl ShardPages for Subscription {
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Reading>, ReadError>> {
        self.reading().boxed()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::Mutex;

    use bytes::Bytes;

    use super::*;
    use crate::flow::clock::ManualClock;

    /// What a subscription does.
    enum Act {
        /// Pushes records of these numbers; behind by so many ms.
        Records(Vec<u64>, u64),
        /// Says that nothing came, after a while.
        Nothing(Duration),
        /// The shard ends.
        End,
        Fail(Class),
        /// Says nothing any more.
        Hang,
    }

    /// A script: each call is a refusal, or a subscription that acts.
    struct Scripted {
        clock: ManualClock,
        calls: Mutex<VecDeque<Result<Vec<Act>, Class>>>,
        starts: Mutex<Vec<(StartAt, Duration)>>,
    }

    struct Acts(ManualClock, VecDeque<Act>);

    fn number(n: u64) -> SequenceNumber {
        SequenceNumber(n.to_string())
    }

    fn failure(class: Class) -> CloudError {
        CloudError::new(class, "scripted", "")
    }

    impl Events for Acts {
        fn next(&mut self) -> BoxFuture<'_, Result<Option<Event>, CloudError>> {
            async move {
                let event = |numbers: Vec<u64>, continuation, behind_ms| {
                    let record = |n: u64| StreamRecord {
                        sequence: number(n),
                        partition_key: "k".into(),
                        data: Bytes::new(),
                        arrived_us: 0,
                    };
                    Ok(Some(Event { records: numbers.into_iter().map(record).collect(), continuation, behind_ms }))
                };
                match self.1.pop_front() {
                    Some(Act::Records(numbers, behind_ms)) => {
                        let last = numbers.last().map(|n| number(*n));
                        event(numbers, last, behind_ms)
                    }
                    Some(Act::Nothing(after)) => {
                        self.0.sleep(after).await;
                        event(Vec::new(), Some(number(1_000)), 0)
                    }
                    Some(Act::End) => event(Vec::new(), None, 0),
                    Some(Act::Fail(class)) => Err(failure(class)),
                    Some(Act::Hang) => std::future::pending().await,
                    None => Ok(None),
                }
            }
            .boxed()
        }
    }

    impl Push for Scripted {
        fn consumer(&self) -> &'static str {
            "c"
        }

        fn open<'a>(&'a self, _: &'a str, start: &'a StartAt) -> BoxFuture<'a, Result<Box<dyn Events>, CloudError>> {
            async move {
                self.starts.lock().unwrap().push((start.clone(), self.clock.now()));
                match self.calls.lock().unwrap().pop_front() {
                    Some(Ok(acts)) => Ok(Box::new(Acts(self.clock.clone(), acts.into())) as Box<dyn Events>),
                    Some(Err(class)) => Err(failure(class)),
                    None => Err(failure(Class::InUse)),
                }
            }
            .boxed()
        }
    }

    /// Reads by `calls` until the shard ends or a fault that stays; what was read, the faults met, and where and when
    /// subscriptions began.
    fn read(calls: Vec<Result<Vec<Act>, Class>>) -> (Vec<u64>, Vec<Class>, Vec<(StartAt, Duration)>) {
        let clock = ManualClock::default();
        clock.run(async {
            let (starts, calls) = (Mutex::default(), Mutex::new(calls.into()));
            let push = Arc::new(Scripted { clock: clock.clone(), calls, starts });
            let shared = Arc::clone(&push) as Arc<dyn Push>;
            let mut pages = Subscription::new(shared, Arc::new(clock.clone()), "shard", StartAt::TrimHorizon, 1);
            let (mut read, mut faults) = (Vec::new(), Vec::new());
            loop {
                match pages.next().await {
                    Ok(Some(reading)) => {
                        assert_eq!(reading.note, None);
                        read.extend(reading.records.iter().map(|record| record.sequence.0.parse::<u64>().unwrap()));
                    }
                    Ok(None) => break,
                    Err(ReadError::Cloud(error)) => {
                        faults.push(error.class);
                        if matches!(error.class, Class::Invalid | Class::NotFound) {
                            break;
                        }
                    }
                    Err(ReadError::Expired) => panic!("a subscription has no iterator"),
                }
            }
            let starts = push.starts.lock().unwrap().clone();
            (read, faults, starts)
        })
    }

    fn starts_of(starts: &[(StartAt, Duration)]) -> Vec<StartAt> {
        starts.iter().map(|(start, _)| start.clone()).collect()
    }

    #[test]
    fn after_five_minutes_it_subscribes_again_at_the_last_record_and_gives_nothing_twice() {
        let (read, faults, starts) = read(vec![
            Ok(vec![Act::Records(vec![1, 2], 10), Act::Records(vec![3], 0)]),
            Ok(vec![Act::Records(vec![3, 4], 0), Act::End]),
        ]);
        assert_eq!((read, faults), (vec![1, 2, 3, 4], vec![]));
        assert_eq!(starts_of(&starts), [StartAt::TrimHorizon, StartAt::At(number(3))]);
    }

    #[test]
    fn a_connection_that_breaks_loses_nothing_and_is_told() {
        let (read, faults, starts) = read(vec![
            Ok(vec![Act::Records(vec![1], 10), Act::Fail(Class::Transient)]),
            Err(Class::Transient),
            Ok(vec![Act::Records(vec![1, 2], 0), Act::Nothing(Duration::ZERO), Act::Fail(Class::Transient)]),
            Ok(vec![Act::Records(vec![3], 0), Act::End]),
        ]);
        assert_eq!((read, faults), (vec![1, 2, 3], vec![Class::Transient; 3]));
        // Where nothing came there is no record to prove anything by.
        assert_eq!(starts_of(&starts)[3], StartAt::After(number(1_000)));
    }

    #[test]
    fn a_subscription_that_is_refused_for_being_too_soon_is_tried_each_second() {
        let refused = || Err(Class::InUse);
        let calls = vec![refused(), refused(), refused(), Ok(vec![Act::Records(vec![1], 0), Act::End])];
        let (read, faults, starts) = read(calls);
        assert_eq!((read, faults), (vec![1], vec![]));
        assert!((Duration::from_secs(2)..Duration::from_secs(4)).contains(&starts[3].1), "{starts:?}");
    }

    #[test]
    fn a_shard_that_another_process_holds_is_given_up_with_its_reason() {
        let (_, faults, starts) = read(vec![]);
        assert_eq!(faults, [Class::Invalid]);
        assert!(starts.last().unwrap().1 >= HELD);
        let taken = || Ok(vec![Act::Fail(Class::InUse)]);
        let (_, faults, starts) = read(vec![taken(), taken(), taken(), taken()]);
        assert_eq!((faults, starts.len()), (vec![Class::Invalid], 3));
    }

    #[test]
    fn a_connection_that_says_nothing_is_taken_for_dead() {
        let (read, faults, starts) =
            read(vec![Ok(vec![Act::Records(vec![1], 0), Act::Hang]), Ok(vec![Act::Records(vec![1, 2], 0), Act::End])]);
        assert_eq!((read, faults), (vec![1, 2], vec![Class::Transient]));
        assert!(starts[1].1 >= SILENCE && starts[1].1 < SILENCE * 2);
    }

    #[test]
    fn a_consumer_that_was_deregistered_ends_the_reading() {
        let (_, faults, _) = read(vec![Ok(vec![Act::Records(vec![1], 0), Act::Fail(Class::NotFound)])]);
        assert_eq!(faults, [Class::NotFound]);
    }

    #[test]
    fn an_event_that_lay_in_the_connection_does_not_prove_that_all_was_read() {
        let clock = ManualClock::default();
        clock.run(async {
            let acts = vec![Act::Nothing(Duration::ZERO), Act::Nothing(Duration::from_secs(1))];
            let push = Scripted {
                clock: clock.clone(),
                calls: Mutex::new(VecDeque::from([Ok(acts)])),
                starts: Mutex::default(),
            };
            let mut pages =
                Subscription::new(Arc::new(push), Arc::new(clock.clone()), "shard", StartAt::TrimHorizon, 1);
            assert_eq!(pages.next().await.unwrap().unwrap().as_of, None);
            assert_eq!(pages.next().await.unwrap().unwrap().as_of, Some(Duration::from_millis(500)));
        });
    }
}
