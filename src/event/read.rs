//! The seam to an event table that is read: hours of its directory, and pages of its slots.

use bytes::Bytes;
use futures::future::BoxFuture;
use jiff::Timestamp;

use super::{Event, Layout, Range, Slot, SlotLength};
use crate::cloud::CloudError;

/// A slot as the directory of its hour knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotCount {
    /// The slot.
    pub slot: Slot,
    /// How many events it holds; `None` when nobody counted, and then it may hold none.
    pub count: Option<u64>,
    /// No event of it is earlier.
    pub first: Timestamp,
    /// No event of it is later.
    pub last: Timestamp,
}

impl SlotCount {
    /// True when it may hold an event of `range`.
    pub fn touches(&self, range: Range) -> bool {
        self.first < range.to() && self.last >= range.from()
    }

    /// True when all of its events are in `range`.
    pub fn is_within(&self, range: Range) -> bool {
        self.first >= range.from() && self.last < range.to()
    }
}

/// Where a page begins: the key attributes that the page before it ended at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bookmark(pub Vec<(String, String)>);

/// Which page of a slot is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The slot.
    pub slot: Slot,
    /// Only events of this range.
    pub range: Range,
    /// After this one; `None` is the first page.
    pub after: Option<Bookmark>,
    /// The latest first.
    pub backwards: bool,
    /// At most so many rows; `None` is as many as the service gives at once (1 MiB).
    pub most: Option<u32>,
}

impl Ask {
    /// The first page of what `slot` has of `range`, in order.
    pub fn first(slot: Slot, range: Range) -> Self {
        Self { slot, range, after: None, backwards: false, most: None }
    }
}

/// A row of a slot that is no event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OddRow {
    /// Where it is: slot and sort key.
    pub key: String,
    /// What is wrong with it.
    pub reason: String,
    /// The row.
    pub row: Bytes,
}

/// One page of a slot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SlotPage {
    /// Its events by time, those of the same time in any order in [`Layout::Original`].
    pub events: Vec<Event>,
    /// Rows that are no events: never dropped silently.
    pub odd: Vec<OddRow>,
    /// Where the next page begins; `None` at the end of the slot.
    pub next: Option<Bookmark>,
}

/// What reading took.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ReadCost {
    /// Requests sent, those that were repeated included.
    pub requests: u64,
    /// Of these: refused for want of capacity.
    pub throttled: u64,
    /// Of these: failed otherwise, and sent again.
    pub retried: u64,
    /// Read capacity consumed, RCU, as the service told it.
    pub rcu: f64,
}

/// An event table that is read: behind the SDK, or a test's fake.
pub trait EventRead: Send + Sync + 'static {
    /// How its rows are keyed.
    fn layout(&self) -> Layout;
    /// The slots of an hour that hold events, in order: one read, whatever their number.
    fn hour(&self, hour: Slot) -> BoxFuture<'_, Result<Vec<SlotCount>, CloudError>>;
    /// A page of a slot.
    fn page(&self, ask: Ask) -> BoxFuture<'_, Result<SlotPage, CloudError>>;
    /// The time up to which the table is complete; `None` when no pump said.
    fn watermark(&self) -> BoxFuture<'_, Result<Option<Timestamp>, CloudError>>;
    /// What it took so far.
    fn cost(&self) -> ReadCost;
}

/// A table without a directory: each slot of an hour may hold events, and is read.
pub struct EverySlot<R> {
    read: R,
    length: SlotLength,
}

impl<R: EventRead> EverySlot<R> {
    /// `read`, whose slots are of `length`, read without its directory.
    pub fn new(read: R, length: SlotLength) -> Self {
        Self { read, length }
    }
}

impl<R: EventRead> EventRead for EverySlot<R> {
    fn layout(&self) -> Layout {
        self.read.layout()
    }

    fn hour(&self, hour: Slot) -> BoxFuture<'_, Result<Vec<SlotCount>, CloudError>> {
        let mut slots = Vec::new();
        let mut slot = hour;
        while slot.hour() == hour {
            let next = self.length.after(slot);
            let last = Slot { start_us: next.start_us - 1 }.start();
            slots.push(SlotCount { slot, count: None, first: slot.start(), last });
            slot = next;
        }
        Box::pin(std::future::ready(Ok(slots)))
    }

    fn page(&self, ask: Ask) -> BoxFuture<'_, Result<SlotPage, CloudError>> {
        self.read.page(ask)
    }

    fn watermark(&self) -> BoxFuture<'_, Result<Option<Timestamp>, CloudError>> {
        self.read.watermark()
    }

    fn cost(&self) -> ReadCost {
        self.read.cost()
    }
}

#[cfg(test)]
pub(crate) mod fake {
    //! An event table in memory, in either layout, with pages as small as a test wants them.

    use std::collections::BTreeMap;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU64, Ordering};

    use futures::FutureExt as _;

    use super::*;

    /// An event of `shard` at `time`.
    pub fn event(time: &str, shard: &str, sequence: u64) -> Event {
        Event {
            time: time.parse().unwrap(),
            id: format!("{shard}:{sequence:056}").parse().unwrap(),
            partition_key: format!("key-{}", sequence % 7),
            payload: Bytes::from(format!(r#"{{"n":{sequence},"z":1.10}}"#)),
        }
    }

    /// See the module.
    pub struct Fake {
        pub layout: Layout,
        pub length: SlotLength,
        pub page_rows: usize,
        pub events: Mutex<Vec<Event>>,
        pub watermark: Mutex<Option<Timestamp>>,
        pub requests: AtomicU64,
    }

    impl Fake {
        pub fn new(layout: Layout, page_rows: usize, mut events: Vec<Event>) -> Self {
            events.sort_by(|a, b| a.order().cmp(&b.order()));
            Self {
                layout,
                length: SlotLength::default(),
                page_rows,
                events: Mutex::new(events),
                watermark: Mutex::new(None),
                requests: AtomicU64::new(0),
            }
        }
    }

    impl EventRead for Fake {
        fn layout(&self) -> Layout {
            self.layout
        }

        fn hour(&self, hour: Slot) -> BoxFuture<'_, Result<Vec<SlotCount>, CloudError>> {
            self.requests.fetch_add(1, Ordering::Relaxed);
            let mut slots: BTreeMap<Slot, SlotCount> = BTreeMap::new();
            for event in self.events.lock().unwrap().iter() {
                let slot = self.length.slot_of(event.time);
                if slot.hour() == hour {
                    let found = slots.entry(slot).or_insert(SlotCount {
                        slot,
                        count: Some(0),
                        first: event.time,
                        last: event.time,
                    });
                    found.count = found.count.map(|count| count + 1);
                    found.last = event.time;
                }
            }
            std::future::ready(Ok(slots.into_values().collect())).boxed()
        }

        fn page(&self, ask: Ask) -> BoxFuture<'_, Result<SlotPage, CloudError>> {
            self.requests.fetch_add(1, Ordering::Relaxed);
            let mut found: Vec<Event> = self
                .events
                .lock()
                .unwrap()
                .iter()
                .filter(|event| self.length.slot_of(event.time) == ask.slot && ask.range.contains(event.time))
                .cloned()
                .collect();
            if self.layout == Layout::Original {
                // The index sorts by time alone: those of one time come in an order of its own.
                found.sort_by(|a, b| a.time.cmp(&b.time).then_with(|| b.id.cmp(&a.id)));
            }
            if ask.backwards {
                found.reverse();
            }
            let from = ask.after.map_or(0, |mark| mark.0[0].1.parse::<usize>().unwrap());
            let most = ask.most.map_or(self.page_rows, |most| self.page_rows.min(most as usize));
            let to = (from + most).min(found.len());
            let next = (to < found.len()).then(|| Bookmark(vec![("at".to_owned(), to.to_string())]));
            let page = SlotPage { events: found[from..to].to_vec(), odd: Vec::new(), next };
            std::future::ready(Ok(page)).boxed()
        }

        fn watermark(&self) -> BoxFuture<'_, Result<Option<Timestamp>, CloudError>> {
            std::future::ready(Ok(*self.watermark.lock().unwrap())).boxed()
        }

        fn cost(&self) -> ReadCost {
            ReadCost { requests: self.requests.load(Ordering::Relaxed), ..ReadCost::default() }
        }
    }
}
