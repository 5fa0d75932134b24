//! `tabledata.insertAll`: rows of a change log, each with an insertId, and what the reply says of each of them.

use serde_json::{Value as Json, json};
use xxhash_rust::xxh3::xxh3_128;

use super::row::Change;
use super::service::Service;
use crate::cloud::CloudError;

/// A request.
pub(super) struct InsertAll {
    rows: Vec<Json>,
}

/// What became of the rows, by their place; those that are in none of the lists are in the table.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Inserted {
    /// They never can be.
    pub bad: Vec<(usize, String)>,
    /// They were stopped by a neighbour, or failed for a reason that may pass.
    pub again: Vec<usize>,
    /// A column is not seen yet.
    pub early: Option<String>,
}

impl InsertAll {
    /// Of changes and their rows.
    pub fn of<'a>(rows: impl Iterator<Item = (&'a Change, Json)>) -> Self {
        let rows = rows.map(|(change, row)| json!({"insertId": insert_id(change), "json": row})).collect();
        Self { rows }
    }

    /// Sends it.
    pub async fn send(self, service: &Service) -> Result<Inserted, CloudError> {
        let sent = self.rows.len();
        let body = json!({"kind": "bigquery#tableDataInsertAllRequest", "rows": self.rows});
        Ok(read(&service.insert_all(&body).await?, sent))
    }
}

/// What BigQuery knows a row by when it comes again within a minute or so: the same for the same change, at most 128
/// characters. A sequence number is one shard's own; with the key it is the table's.
fn insert_id(change: &Change) -> String {
    let sequence = change.sequence.as_deref().unwrap_or("scan");
    format!("{sequence}-{:032x}", xxh3_128(&change.key))
}

/// Reads the reply to a request of `sent` rows ("tabledata.insertAll", `insertErrors`, and "Error messages", the reasons).
fn read(reply: &Json, sent: usize) -> Inserted {
    let mut inserted = Inserted::default();
    for entry in reply["insertErrors"].as_array().into_iter().flatten() {
        // A place may be written as a number or, as 64-bit numbers are in JSON, as text.
        let index = entry["index"].as_u64().or_else(|| entry["index"].as_str()?.parse().ok()).unwrap_or(0) as usize;
        if index >= sent || inserted.again.contains(&index) || inserted.bad.iter().any(|(at, _)| *at == index) {
            continue;
        }
        let errors = entry["errors"].as_array().map_or(&[][..], Vec::as_slice);
        let reason = |error: &Json| error["reason"].as_str().unwrap_or_default().to_owned();
        let may_pass = ["stopped", "timeout", "backendError", "internalError", "rateLimitExceeded", "quotaExceeded"];
        let Some(fault) = errors.iter().find(|error| !may_pass.contains(&reason(error).as_str())) else {
            inserted.again.push(index);
            continue;
        };
        let said = fault["message"].as_str().unwrap_or_default();
        let at =
            fault["location"].as_str().filter(|at| !at.is_empty()).map(|at| format!(" at {at}")).unwrap_or_default();
        let why = format!("{said}{at} ({})", reason(fault));
        if said.contains("no such field") {
            // Our rows have the table's columns alone: this one was added a moment ago.
            inserted.again.push(index);
            inserted.early = Some(why);
        } else {
            inserted.bad.push((index, why));
        }
    }
    inserted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_row_is_told_from_those_that_it_stopped() {
        let reply = json!({"insertErrors": [
            {"index": 0, "errors": [{"reason": "stopped"}]},
            {"index": "2", "errors": [{"reason": "invalid", "location": "n", "message": "Invalid NUMERIC value"}]},
            {"index": 3, "errors": [{"reason": "timeout"}]},
            {"index": 99, "errors": [{"reason": "invalid"}]},
        ]});
        assert_eq!(
            read(&reply, 5),
            Inserted { bad: vec![(2, "Invalid NUMERIC value at n (invalid)".into())], again: vec![0, 3], early: None }
        );
        assert_eq!(read(&json!({"kind": "x"}), 5), Inserted::default());
    }

    #[test]
    fn a_column_that_is_not_seen_yet_makes_no_dead_letter() {
        let reply = json!({"insertErrors": [
            {"index": 0, "errors": [{"reason": "invalid", "location": "new", "message": "no such field: new."}]},
            {"index": 1, "errors": [{"reason": "stopped"}]},
        ]});
        let read = read(&reply, 2);
        assert_eq!((read.bad.len(), read.again), (0, vec![0, 1]));
        assert!(read.early.is_some());
    }

    #[test]
    fn an_insert_id_is_the_changes_own_and_short_enough() {
        let change = |key: &'static str, sequence: Option<&str>| Change {
            key: key.into(),
            image: None,
            sequence: sequence.map(str::to_owned),
            at_ms: None,
            by_ttl: false,
        };
        let longest = "9".repeat(40);
        let ids = [change("a", None), change("a", Some("1")), change("b", Some("1")), change("a", Some(&longest))]
            .map(|change| insert_id(&change));
        assert!(ids.iter().all(|id| id.len() <= 128));
        assert_eq!(ids.iter().collect::<std::collections::HashSet<_>>().len(), 4);
        assert_eq!(insert_id(&change("a", Some("1"))), ids[1]);
    }
}
