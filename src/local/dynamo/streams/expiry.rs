//! Time to live: items whose time has passed go, a page at a time, and their streams say who deleted them.

use std::collections::HashMap;
use std::sync::Arc;

use dynoxide::actions::delete_item::DeleteItemRequest;
use dynoxide::actions::scan::ScanRequest;
use dynoxide::types::AttributeValue;
use dynoxide::{Database, Item};

use super::Streams;
use super::capture::Watch;
use crate::local::throughput::Millis;

/// Items that are looked at before others may use the database.
const PAGE: usize = 100;
/// Times longer ago than five years are not taken for times.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/howitworks-ttl.html>
const FIVE_YEARS_S: i64 = 5 * 365 * 24 * 3600;

/// A walk over tables in search of expired items.
pub(in super::super) struct Sweep {
    streams: Arc<Streams>,
    /// Tables that are left, the one being walked last.
    tables: Vec<String>,
    after: Option<Item>,
    now_s: i64,
}

/// What one page came to.
pub(in super::super) struct Swept {
    pub(in super::super) table: String,
    pub(in super::super) deleted: usize,
}

impl Sweep {
    /// A walk over `tables`, for what has expired at `now` (ms since the epoch).
    pub(in super::super) fn new(streams: &Arc<Streams>, tables: Vec<String>, now: Millis) -> Self {
        Self { streams: Arc::clone(streams), tables, after: None, now_s: now.div_euclid(1_000) }
    }

    /// Deletes what has expired among the next items; `None` once all were looked at.
    pub(in super::super) fn page(&mut self, database: &Database) -> Option<Swept> {
        let table = self.tables.last()?.clone();
        let mut deleted = 0;
        // A table that is gone, or has no time to live, is done with.
        let page = expiring(database, &table).and_then(|attribute| self.read(database, &table, &attribute));
        let (expired, after) = page.unwrap_or_default();
        for key in expired {
            let request = DeleteItemRequest { table_name: table.clone(), key, ..DeleteItemRequest::default() };
            let watch = Watch::new(&self.streams).delete(&table, &request.key).by_expiry();
            deleted += usize::from(watch.around(database, |database| database.delete_item(request)).is_ok());
        }
        self.after = after;
        if self.after.is_none() {
            self.tables.pop();
        }
        Some(Swept { table, deleted })
    }

    /// The keys of expired items on the next page, and where the one after it begins.
    fn read(&self, database: &Database, table: &str, attribute: &str) -> Option<(Vec<Item>, Option<Item>)> {
        let metadata = database.get_table_metadata(table).ok()??;
        let schema: Vec<dynoxide::types::KeySchemaElement> = serde_json::from_str(&metadata.key_schema).ok()?;
        let mut names = HashMap::from([("#ttl".to_owned(), attribute.to_owned())]);
        let projected: Vec<String> = schema.iter().enumerate().map(|(n, _)| format!("#k{n}")).collect();
        names.extend(schema.iter().enumerate().map(|(n, key)| (format!("#k{n}"), key.attribute_name.clone())));
        let number = |number: i64| AttributeValue::N(number.to_string());
        let page = database
            .scan(ScanRequest {
                table_name: table.to_owned(),
                limit: Some(PAGE),
                exclusive_start_key: self.after.clone(),
                projection_expression: Some(projected.join(", ")),
                filter_expression: Some("#ttl < :now AND #ttl > :past".to_owned()),
                expression_attribute_names: Some(names),
                expression_attribute_values: Some(HashMap::from([
                    (":now".to_owned(), number(self.now_s)),
                    (":past".to_owned(), number(self.now_s - FIVE_YEARS_S)),
                ])),
                ..ScanRequest::default()
            })
            .ok()?;
        Some((page.items.unwrap_or_default(), page.last_evaluated_key))
    }
}

/// The attribute that says when items of `table` expire.
fn expiring(database: &Database, table: &str) -> Option<String> {
    let metadata = database.get_table_metadata(table).ok()??;
    metadata.ttl_attribute.filter(|_| metadata.ttl_enabled)
}
