//! What a write changed: each item that it touches is read before and after, and a difference is a record. A write
//! that failed, or that changed nothing, leaves no record, whichever way it was asked for.
//!
//! All of it runs on the engine's thread, one write at a time, so records come in the order of the writes.

use std::sync::Arc;

use dynoxide::actions::batch_write_item::BatchWriteItemRequest;
use dynoxide::actions::get_item::GetItemRequest;
use dynoxide::actions::transact_write_items::TransactWriteItem;
use dynoxide::types::item_size;
use dynoxide::{Database, Item};

use super::log::Entry;
use super::records::Change;
use super::{Stream, Streams};

/// The items that a write touches in tables with a stream.
pub(in super::super) struct Watch {
    streams: Arc<Streams>,
    items: Vec<(Arc<Stream>, Item)>,
    expired: bool,
}

impl Watch {
    /// Nothing is watched yet.
    pub(in super::super) fn new(streams: &Arc<Streams>) -> Self {
        Self { streams: Arc::clone(streams), items: Vec::new(), expired: false }
    }

    /// The item of `table` that has the key of `item`, which may be more than a key.
    pub(in super::super) fn item(mut self, table: &str, item: &Item) -> Self {
        self.add(table, item);
        self
    }

    /// The items of a batch.
    pub(in super::super) fn batch(mut self, request: &BatchWriteItemRequest) -> Self {
        for (table, writes) in &request.request_items {
            for write in writes {
                let put = write.put_request.as_ref().map(|put| &put.item);
                if let Some(item) = put.or(write.delete_request.as_ref().map(|delete| &delete.key)) {
                    self.add(table, item);
                }
            }
        }
        self
    }

    /// The items of a transaction.
    pub(in super::super) fn transaction(mut self, items: &[TransactWriteItem]) -> Self {
        for item in items {
            if let Some(put) = &item.put {
                self.add(&put.table_name, &put.item);
            } else if let Some(update) = &item.update {
                self.add(&update.table_name, &update.key);
            } else if let Some(delete) = &item.delete {
                self.add(&delete.table_name, &delete.key);
            }
        }
        self
    }

    /// What is deleted is deleted by time to live.
    pub(super) fn by_expiry(mut self) -> Self {
        self.expired = true;
        self
    }

    fn add(&mut self, table: &str, item: &Item) {
        // Without a key the engine refuses the request.
        if let Some(stream) = self.streams.live(table)
            && let Some(key) = stream.key_of(item)
        {
            self.items.push((stream, key));
        }
    }

    /// Runs `write` and records what it changed.
    pub(in super::super) fn around<A>(self, database: &Database, write: impl FnOnce(&Database) -> A) -> A {
        let before: Vec<Option<Item>> = self.items.iter().map(|(stream, key)| get(database, stream, key)).collect();
        let result = write(database);
        for ((stream, key), before) in self.items.iter().zip(before) {
            let after = get(database, stream, key);
            self.streams.record(stream, before.as_ref(), after.as_ref(), self.expired);
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
        log.advance(self.kept_ms, now);
        log.append(entry, now);
    }
}

fn write_item(to: &mut Vec<u8>, item: &Item) {
    serde_json::to_writer(to, item).expect("an item has text keys and plain values, and memory is always written");
}
