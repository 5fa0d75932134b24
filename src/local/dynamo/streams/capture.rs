//! What a write changed: each item that it touches is read before and after, and a difference is a record. A write
//! that failed, or that changed nothing, leaves no record, whichever way it was asked for.
//!
//! All of it runs on the engine's thread, one write at a time, so records come in the order of the writes.

use std::sync::Arc;

use dynoxide::actions::batch_write_item::BatchWriteItemRequest;
use dynoxide::actions::get_item::GetItemRequest;
use dynoxide::actions::transact_write_items::TransactWriteItem;
use dynoxide::types::item_size;
use dynoxide::validation::normalize_item_sets;
use dynoxide::{Database, Item, Result};

use super::log::Entry;
use super::records::Change;
use super::{Stream, Streams};

/// What becomes of an item if the write succeeds.
enum After {
    /// Only reading it tells.
    Unknown,
    /// It is this, but for how numbers and sets are written.
    Put(Item),
    /// It is not there.
    Gone,
}

/// The items that a write touches in tables with a stream.
///
/// They are named on the engine's thread, right before the write: a stream that was enabled meanwhile has it, and a scan
/// that begins after that sees it.
pub(in super::super) struct Watch {
    streams: Arc<Streams>,
    items: Vec<(Arc<Stream>, Item, After)>,
    expired: bool,
}

impl Watch {
    /// Nothing is watched yet.
    pub(in super::super) fn new(streams: &Arc<Streams>) -> Self {
        Self { streams: Arc::clone(streams), items: Vec::new(), expired: false }
    }

    /// An item that is put into `table`.
    pub(in super::super) fn put(mut self, table: &str, item: &Item) -> Self {
        self.add(table, item, || After::Put(item.clone()));
        self
    }

    /// The item at `key`, which is updated.
    pub(in super::super) fn update(mut self, table: &str, key: &Item) -> Self {
        self.add(table, key, || After::Unknown);
        self
    }

    /// The item at `key`, which is deleted.
    pub(in super::super) fn delete(mut self, table: &str, key: &Item) -> Self {
        self.add(table, key, || After::Gone);
        self
    }

    /// The items of a batch.
    pub(in super::super) fn batch(mut self, request: &BatchWriteItemRequest) -> Self {
        for (table, writes) in &request.request_items {
            for write in writes {
                match (&write.put_request, &write.delete_request) {
                    (Some(put), _) => self.add(table, &put.item, || After::Put(put.item.clone())),
                    (None, Some(delete)) => self.add(table, &delete.key, || After::Gone),
                    (None, None) => {}
                }
            }
        }
        self
    }

    /// The items of a transaction. One that is sent again with its token succeeds and does nothing: what it came to has
    /// to be read.
    pub(in super::super) fn transaction(mut self, items: &[TransactWriteItem]) -> Self {
        for item in items {
            if let Some(put) = &item.put {
                self.add(&put.table_name, &put.item, || After::Unknown);
            } else if let Some(update) = &item.update {
                self.add(&update.table_name, &update.key, || After::Unknown);
            } else if let Some(delete) = &item.delete {
                self.add(&delete.table_name, &delete.key, || After::Unknown);
            }
        }
        self
    }

    /// What is deleted is deleted by time to live.
    pub(super) fn by_expiry(mut self) -> Self {
        self.expired = true;
        self
    }

    fn add(&mut self, table: &str, item: &Item, after: impl FnOnce() -> After) {
        // Without a key the engine refuses the request.
        if let Some(stream) = self.streams.live(table)
            && let Some(key) = stream.key_of(item)
        {
            self.items.push((stream, key, after()));
        }
    }

    /// Runs `write` and records what it changed.
    pub(in super::super) fn around<A>(
        self,
        database: &Database,
        write: impl FnOnce(&Database) -> Result<A>,
    ) -> Result<A> {
        let before: Vec<Option<Item>> = self.items.iter().map(|(stream, key, _)| get(database, stream, key)).collect();
        let result = write(database);
        for ((stream, key, after), before) in self.items.into_iter().zip(before) {
            let after = match after {
                After::Put(mut item) if result.is_ok() => {
                    normalize_item_sets(&mut item);
                    Some(item)
                }
                After::Gone if result.is_ok() => None,
                // Of a batch that failed a part may have been written.
                _ => get(database, &stream, &key),
            };
            self.streams.record(&stream, before.as_ref(), after.as_ref(), self.expired);
        }
        result
    }
}

fn get(database: &Database, stream: &Stream, key: &Item) -> Option<Item> {
    let request = GetItemRequest { table_name: stream.table.clone(), key: key.clone(), ..GetItemRequest::default() };
    // A key that the engine refuses to read, it refuses to write too.
    database.get_item(request).ok()?.item
}

impl Streams {
    /// Appends the difference between an item before and after, if there is one.
    pub(super) fn record(&self, stream: &Stream, before: Option<&Item>, after: Option<&Item>, expired: bool) {
        let (change, item) = match (before, after) {
            (None, None) => return,
            (Some(before), Some(after)) if before == after => return,
            (Some(_), Some(after)) => (Change::Modify, after),
            (None, Some(after)) => (Change::Insert, after),
            (Some(before), None) => (Change::Remove, before),
        };
        let Some(key) = stream.key_of(item) else { return };
        let mut size = item_size(&key);
        let mut images = b"\"Keys\":".to_vec();
        write_item(&mut images, &key);
        let new = after.filter(|_| stream.view.has_new()).map(|item| (&b",\"NewImage\":"[..], item));
        let old = before.filter(|_| stream.view.has_old()).map(|item| (&b",\"OldImage\":"[..], item));
        for (member, item) in [new, old].into_iter().flatten() {
            images.extend_from_slice(member);
            write_item(&mut images, item);
            size += item_size(item);
        }
        let entry = Entry { hash: stream.hash_of(&key), change, expired, size: size as u32, images: images.into() };
        let now = self.now();
        let mut log = stream.log();
        log.advance_at_times(self.kept_ms, now);
        log.append(entry, now);
    }
}

fn write_item(to: &mut Vec<u8>, item: &Item) {
    serde_json::to_writer(to, item).expect("an item has text keys and plain values, and memory is always written");
}
