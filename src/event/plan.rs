//! What a rate of events takes: partitions, capacity of both tables, and the ceiling that a slot and a period set.

use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;

use super::record::{Event, EventId, Layout};
use super::row;
use super::slot::SlotLength;
use crate::flow::SequenceNumber;
use crate::item::Checker;

/// What one partition key takes, WCU a second (`DynamoDB` developer guide, "Designing partition keys").
const PARTITION_WCU: f64 = 1_000.0;
/// What one table takes unless AWS was asked for more, WCU a second ("Quotas" of the same guide).
const TABLE_WCU: f64 = 40_000.0;
/// A read unit's size in bytes, strongly consistent.
const READ_UNIT: f64 = 4_096.0;

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    /// Events a second.
    pub rate: f64,
    /// Bytes of an event.
    pub bytes: usize,
    /// Length of a slot.
    pub slot: SlotLength,
    /// From one pass to the next.
    pub every: Duration,
    /// How rows of the event table are keyed.
    pub layout: Layout,
}

/// What it takes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Plan {
    /// Bytes of an event's row in the buffer and in the event table, by `DynamoDB`'s rule.
    pub buffer_row: u32,
    /// The same, of the event table.
    pub event_row: u32,
    /// Slots, each a partition key, that one pass writes to.
    pub partitions: u64,
    /// Of the buffer: each row is put and deleted, WCU a second.
    pub buffer_wcu: f64,
    /// Of the buffer: each pass reads it whole, RCU a second.
    pub buffer_rcu: f64,
    /// Of the event table, the directory included, WCU a second.
    pub event_wcu: f64,
    /// Of the event table: each pass counts the slots that it wrote to, RCU a second.
    pub event_rcu: f64,
    /// The most events a second that slot and period let through.
    pub ceiling: f64,
    /// What sets the ceiling.
    pub bound_by: &'static str,
}

/// The size of a row and what it takes to write it, bytes and WCU.
fn size_of(key: crate::item::KeySchema, row: Bytes) -> (u32, f64) {
    Checker::new(key).check(row).map_or((0, 0.0), |checked| (checked.size, f64::from(checked.wcu())))
}

/// Plans for `ask`.
pub fn plan(ask: &Ask) -> Plan {
    let event = Event {
        time: jiff::Timestamp::UNIX_EPOCH,
        id: EventId { shard: "shardId-000000000000".into(), sequence: SequenceNumber("4".repeat(56)), sub: None },
        partition_key: "-".repeat(36),
        payload: Bytes::from(vec![b'x'; ask.bytes]),
    };
    let (buffer_row, buffer_each) = size_of(row::buffer_key_schema(), row::buffer_row("", &event));
    let (event_row, event_each) = size_of(ask.layout.key(), row::event_row(&event, ask.layout, ask.slot).1);
    // The original's index holds every row once more.
    let event_each = event_each * if ask.layout == Layout::Original { 2.0 } else { 1.0 };
    let (slot, every) = (ask.slot.micros() as f64 / 1e6, ask.every.as_secs_f64());
    let slots_a_pass = (every / slot).max(1.0);
    let by_slot = PARTITION_WCU / event_each * slots_a_pass;
    let by_events = TABLE_WCU / event_each;
    let by_buffer = TABLE_WCU / (2.0 * buffer_each);
    let (ceiling, bound_by) = [
        (by_slot, "1,000 WCU/s of each slot: shorter slots, or passes further apart, raise it"),
        (by_events, "40,000 WCU/s of the event table: ask AWS for more"),
        (by_buffer, "40,000 WCU/s of the buffer: ask AWS for more"),
    ]
    .into_iter()
    .min_by(|a, b| a.0.total_cmp(&b.0))
    .unwrap_or((0.0, ""));
    let touched = slots_a_pass.ceil() + 1.0;
    // A slot is read again by each pass that comes while it lasts, and once when it is over.
    let counted = ask.rate * f64::from(event_row) / READ_UNIT * (1.0 + slot / every / 2.0).max(1.0);
    Plan {
        buffer_row,
        event_row,
        partitions: touched as u64,
        buffer_wcu: ask.rate * buffer_each * 2.0,
        buffer_rcu: ask.rate * f64::from(buffer_row) / READ_UNIT,
        event_wcu: ask.rate * event_each + touched / every,
        event_rcu: counted + touched / every,
        ceiling,
        bound_by,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(slot: &str, every: u64) -> Plan {
        let every = Duration::from_secs(every);
        plan(&Ask { rate: 1_000.0, bytes: 200, slot: slot.parse().unwrap(), every, layout: Layout::Ordered })
    }

    #[test]
    fn a_slot_takes_a_thousand_writes_a_second_and_a_pass_spreads_over_its_slots() {
        let by_second = ask("1s", 10);
        assert_eq!(by_second.ceiling, 10_000.0);
        assert!(by_second.bound_by.contains("each slot"));
        assert_eq!(by_second.partitions, 11);
        // One slot lasts longer than a period: its partition takes everything.
        assert_eq!(ask("1h", 60).ceiling, 1_000.0);
    }

    #[test]
    fn above_the_slots_the_tables_quotas_are_the_ceiling() {
        let plan = ask("1s", 60);
        assert_eq!(plan.ceiling, 20_000.0);
        assert!(plan.bound_by.contains("buffer"));
    }

    #[test]
    fn each_event_is_put_and_deleted_in_the_buffer_and_put_into_its_slot() {
        let plan = ask("1s", 60);
        assert_eq!(plan.buffer_wcu, 2_000.0);
        assert!((plan.event_wcu - 1_001.0).abs() < 0.1, "{plan:?}");
        assert!(plan.event_row > plan.buffer_row, "{plan:?}");
    }
}
