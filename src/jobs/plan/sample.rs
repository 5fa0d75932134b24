//! What a sample of records tells: sizes, write capacity, and what each index takes of them.

use std::borrow::Cow;
use std::collections::HashMap;

use bytes::Bytes;
use serde_json::value::RawValue;

use crate::backup::{Change, Record};
use crate::cloud::schema::{IndexSchema, Projection, Schema};
use crate::item::{Checked, Checker, KeySchema, Refusal, Shape, Shaped, request};

/// A PUT payload unit of Kinesis, bytes (its pricing page: 25 KB, and a record of 1 MB is 40 of them).
const PUT_UNIT: u64 = 25_000;
/// The partition key of a record: a job's name and an ordinal, such as `r-7f3a12/10000000`, bytes.
const PARTITION_KEY: usize = 17;

/// What was counted of the records looked at.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sample {
    /// Records looked at.
    pub looked_at: u64,
    /// Of them: put.
    pub puts: u64,
    /// Of them: deletes of a key.
    pub deletes: u64,
    /// Of them: left out by an option.
    pub skipped: u64,
    /// Of them: can never be restored, so dead letters.
    pub refused: u64,
    /// Bytes of the lines in the backup, decompressed, with their endings.
    pub line_bytes: u64,
    /// Bytes of the items that are put, by `DynamoDB`'s rule.
    pub item_bytes: u64,
    /// Write capacity of the items in the table alone, WCU.
    pub wcu: u64,
    /// The same squared, item by item, for how far a mean may be off.
    pub wcu_squared: u64,
    /// Bytes of the put requests as records of a stream, with their partition keys.
    pub record_bytes: u64,
    /// PUT payload units of those records.
    pub put_units: u64,
    /// Those records, each rounded up to a whole KiB, as an on-demand stream charges them, KiB.
    pub record_kib: u64,
    /// What each index takes, in the order of the schema.
    pub indexes: Vec<IndexSample>,
    /// Every record looked at is in the form that `ImportTable` reads: `{"Item":{…}}`.
    pub importable: bool,
}

/// What one index takes of a sample.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct IndexSample {
    /// Items that hold its keys.
    pub entries: u64,
    /// Bytes of what is projected of them, by `DynamoDB`'s rule.
    pub bytes: u64,
    /// Write capacity of its entries, WCU.
    pub wcu: u64,
    /// Items whose attribute has another type than the index's key, or is empty: `DynamoDB` refuses them.
    pub refused: u64,
}

/// Counts records for one table.
#[derive(Debug)]
pub struct Sampler {
    table: String,
    checker: Checker,
    shape: Shape,
    indexes: Vec<(IndexSchema, Checker)>,
    key: KeySchema,
    /// What was counted so far.
    pub sample: Sample,
}

impl Sampler {
    /// A sampler for a table.
    pub fn new(schema: &Schema, shape: Shape) -> Self {
        let checker_of = |index: &IndexSchema| {
            let mut key = index.key.iter().cloned();
            let partition = key.next().unwrap_or_else(|| schema.key.partition.clone());
            Checker::new(KeySchema { partition, sort: key.next() })
        };
        Self {
            table: schema.name.clone(),
            checker: Checker::new(schema.key.clone()),
            shape,
            indexes: schema.indexes.iter().map(|index| (index.clone(), checker_of(index))).collect(),
            key: schema.key.clone(),
            sample: Sample {
                indexes: vec![IndexSample::default(); schema.indexes.len()],
                importable: true,
                ..Sample::default()
            },
        }
    }

    /// Counts a record.
    pub fn count(&mut self, record: &Record) {
        self.sample.looked_at += 1;
        self.sample.line_bytes += record.raw.len() as u64 + 1;
        self.sample.importable &= record.raw.trim_ascii_start().starts_with(b"{\"Item\"");
        if record.change == Change::Delete {
            self.sample.deletes += 1;
            return;
        }
        match self.checked(record) {
            Ok(Some(item)) => self.put(&item),
            Ok(None) => self.sample.skipped += 1,
            Err(_) => self.sample.refused += 1,
        }
    }

    fn checked(&self, record: &Record) -> Result<Option<Checked>, Refusal> {
        match self.shape.apply(record.json.clone()?)? {
            Shaped::Item(json) => self.checker.check(json).map(Some),
            Shaped::Skipped => Ok(None),
        }
    }

    fn put(&mut self, item: &Checked) {
        let wcu = u64::from(item.wcu());
        let sample = &mut self.sample;
        sample.puts += 1;
        sample.item_bytes += u64::from(item.size);
        sample.wcu += wcu;
        sample.wcu_squared += wcu * wcu;
        let record = request::encode(&self.table, &item.json).len();
        sample.record_bytes += (record + PARTITION_KEY) as u64;
        sample.put_units += (record as u64).div_ceil(PUT_UNIT);
        sample.record_kib += (record as u64).div_ceil(1024);
        if self.indexes.is_empty() {
            return;
        }
        // What passed the check is an object.
        let attributes: HashMap<Cow<'_, str>, &RawValue> = serde_json::from_slice(&item.json).unwrap_or_default();
        for ((index, checker), counted) in self.indexes.iter().zip(&mut sample.indexes) {
            match entry(index, checker, &self.key, item, &attributes) {
                Ok(Some(bytes)) => {
                    counted.entries += 1;
                    counted.bytes += u64::from(bytes);
                    counted.wcu += u64::from(bytes.div_ceil(1024).max(1));
                }
                Ok(None) => {}
                Err(_) => counted.refused += 1,
            }
        }
    }
}

/// The size of an item's entry in an index, bytes; `None` where the item lacks one of the index's keys.
fn entry(
    index: &IndexSchema,
    checker: &Checker,
    key: &KeySchema,
    item: &Checked,
    attributes: &HashMap<Cow<'_, str>, &RawValue>,
) -> Result<Option<u32>, Refusal> {
    if index.key.iter().any(|attr| !attributes.contains_key(attr.name.as_str())) {
        return Ok(None);
    }
    let json = match &index.projection {
        Projection::All => item.json.clone(),
        projection => {
            let keys = std::iter::once(&key.partition).chain(&key.sort).chain(&index.key).map(|attr| &attr.name);
            let included: &[String] = if let Projection::Include(names) = projection { names } else { &[] };
            let projected: HashMap<&str, &RawValue> = keys
                .chain(included)
                .filter_map(|name| Some((name.as_str(), *attributes.get(name.as_str())?)))
                .collect();
            Bytes::from(serde_json::to_vec(&projected).unwrap_or_default())
        }
    };
    // An entry is checked as an item is, with the index's key for the table's: the same rule of size, the same demands.
    checker.check(json).map(|entry| Some(entry.size))
}

/// The mean of `sum` over `count`; 0 of nothing.
pub(super) fn mean(sum: u64, count: u64) -> f64 {
    if count == 0 { 0.0 } else { sum as f64 / count as f64 }
}

impl Sample {
    /// How far the mean WCU of an item may be off, as a share of it: twice its standard error. 0 of one item or none.
    pub fn wcu_off_by(&self) -> f64 {
        if self.puts < 2 || self.wcu == 0 {
            return 0.0;
        }
        let n = self.puts as f64;
        let mean = self.wcu as f64 / n;
        let variance = (self.wcu_squared as f64 / n - mean * mean).max(0.0);
        2.0 * (variance / n).sqrt() / mean
    }

    /// Adds what another sampler of the same table counted.
    pub fn add(&mut self, other: &Self) {
        self.looked_at += other.looked_at;
        self.puts += other.puts;
        self.deletes += other.deletes;
        self.skipped += other.skipped;
        self.refused += other.refused;
        self.line_bytes += other.line_bytes;
        self.item_bytes += other.item_bytes;
        self.wcu += other.wcu;
        self.wcu_squared += other.wcu_squared;
        self.record_bytes += other.record_bytes;
        self.put_units += other.put_units;
        self.record_kib += other.record_kib;
        self.importable &= other.importable;
        self.indexes.resize(self.indexes.len().max(other.indexes.len()), IndexSample::default());
        for (mine, theirs) in self.indexes.iter_mut().zip(&other.indexes) {
            mine.entries += theirs.entries;
            mine.bytes += theirs.bytes;
            mine.wcu += theirs.wcu;
            mine.refused += theirs.refused;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::partition_key;
    use crate::item::ShapeSpec;

    fn schema(indexes: &str) -> Schema {
        Schema::from_json(&format!(
            r#"{{"TableName":"t","BillingMode":"PAY_PER_REQUEST","KeySchema":[{{"AttributeName":"id","KeyType":"HASH"}}],
               "AttributeDefinitions":[{{"AttributeName":"id","AttributeType":"S"}},{{"AttributeName":"day","AttributeType":"S"}},
               {{"AttributeName":"at","AttributeType":"N"}}],"GlobalSecondaryIndexes":[{indexes}]}}"#
        ))
        .unwrap()
    }

    fn index(projection: &str) -> String {
        format!(
            r#"{{"IndexName":"i","KeySchema":[{{"AttributeName":"day","KeyType":"HASH"}},{{"AttributeName":"at","KeyType":"RANGE"}}],
               "Projection":{projection}}}"#
        )
    }

    fn sampled(schema: &Schema, items: &[&str]) -> Sample {
        let mut sampler = Sampler::new(schema, Shape::new(&ShapeSpec::default()).unwrap());
        for item in items {
            let json = Bytes::copy_from_slice(item.as_bytes());
            sampler.count(&Record { line: 1, offset: 0, change: Change::Put, json: Ok(json.clone()), raw: json });
        }
        sampler.sample
    }

    /// `id`, `day` and `at` make 2+1 + 3+3 + 2+2 = 13 bytes; `x` makes 1 + `bytes`.
    fn item(bytes: usize) -> String {
        format!(r#"{{"id":{{"S":"a"}},"day":{{"S":"mon"}},"at":{{"N":"7"}},"x":{{"S":"{}"}}}}"#, "x".repeat(bytes))
    }

    #[test]
    fn an_item_costs_one_wcu_for_each_started_kib() {
        let sample = sampled(&schema(""), &[&item(1), &item(1024 - 14), &item(1024 - 13), &item(3000)]);
        assert_eq!((sample.puts, sample.wcu), (4, 1 + 1 + 2 + 3));
        assert_eq!(sample.item_bytes, 4 * 14 + 1 + 1010 + 1011 + 3000);
    }

    #[test]
    fn an_index_costs_its_projected_size() {
        let big = item(3000);
        for (projection, bytes, wcu) in [
            (r#"{"ProjectionType":"ALL"}"#, 3014, 3),
            (r#"{"ProjectionType":"KEYS_ONLY"}"#, 13, 1),
            (r#"{"ProjectionType":"INCLUDE","NonKeyAttributes":["x","none"]}"#, 3014, 3),
            (r#"{"ProjectionType":"INCLUDE","NonKeyAttributes":["none"]}"#, 13, 1),
        ] {
            let sample = sampled(&schema(&index(projection)), &[&big]);
            assert_eq!(sample.indexes[0], IndexSample { entries: 1, bytes, wcu, refused: 0 }, "{projection}");
        }
    }

    #[test]
    fn an_item_without_the_keys_of_an_index_is_not_in_it() {
        let sparse = [r#"{"id":{"S":"a"}}"#, r#"{"id":{"S":"b"},"day":{"S":"mon"}}"#, &item(1)];
        let sample = sampled(&schema(&index(r#"{"ProjectionType":"ALL"}"#)), &sparse);
        assert_eq!((sample.puts, sample.indexes[0].entries), (3, 1));
    }

    #[test]
    fn an_index_key_of_the_wrong_type_is_one_that_dynamodb_will_refuse() {
        let wrong = r#"{"id":{"S":"a"},"day":{"N":"1"},"at":{"N":"7"}}"#;
        let empty = r#"{"id":{"S":"a"},"day":{"S":""},"at":{"N":"7"}}"#;
        let sample = sampled(&schema(&index(r#"{"ProjectionType":"ALL"}"#)), &[wrong, empty]);
        assert_eq!((sample.indexes[0].entries, sample.indexes[0].refused), (0, 2));
    }

    #[test]
    fn what_cant_be_restored_and_what_is_deleted_cost_no_put() {
        let mut sampler = Sampler::new(&schema(""), Shape::default());
        let raw = Bytes::from_static(b"x");
        let refused = Err(Refusal::NotBase64("x".into()));
        sampler.count(&Record { line: 1, offset: 0, change: Change::Put, json: refused, raw: raw.clone() });
        let key = Bytes::from_static(br#"{"id":{"S":"a"}}"#);
        sampler.count(&Record { line: 2, offset: 2, change: Change::Delete, json: Ok(key), raw });
        let sample = sampler.sample;
        assert_eq!((sample.looked_at, sample.puts, sample.deletes, sample.refused), (2, 0, 1, 1));
    }

    #[test]
    fn a_record_is_measured_as_it_will_travel() {
        let sample = sampled(&schema(""), &[&item(1)]);
        let record = format!(r#"{{"TableName":"t","Item":{}}}"#, item(1)).len() as u64;
        assert_eq!((sample.record_bytes, sample.put_units, sample.record_kib), (record + 17, 1, 1));
        let large = sampled(&schema(""), &[&item(60_000)]);
        assert_eq!((large.put_units, large.record_kib), (3, 59));
        assert!(partition_key("r-7f3a12", 10_000_000).len() <= PARTITION_KEY);
    }

    #[test]
    fn a_sample_of_equal_items_is_sure_of_its_mean_and_a_mixed_one_is_not() {
        let small = item(1);
        let equal = sampled(&schema(""), &[&small, &small, &small]);
        assert!(equal.wcu_off_by().abs() < 1e-9);
        let mixed = sampled(&schema(""), &[&small, &item(5000)]);
        assert!(mixed.wcu_off_by() > 0.5);
        let mut sum = equal.clone();
        sum.add(&mixed);
        assert_eq!((sum.puts, sum.wcu), (5, equal.wcu + mixed.wcu));
    }
}
