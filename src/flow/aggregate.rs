//! Several records in one Kinesis record, as the Kinesis Producer Library packs them.
//!
//! ```text
//!   F3 89 9A C2 │ AggregatedRecord, protobuf                                                      │ MD5 of the protobuf
//!               │ 1: partition keys   2: explicit hash keys   3: records {1: key, 2: hash key, 3: data, 4: tags} │
//! ```
//!
//! <https://github.com/awslabs/amazon-kinesis-producer/blob/master/aggregation-format.md>

use bytes::{BufMut as _, Bytes, BytesMut};
use md5::{Digest as _, Md5};
use prost::{Message as _, length_delimiter_len};

/// How each aggregated record begins.
pub const MAGIC: [u8; 4] = [0xF3, 0x89, 0x9A, 0xC2];

/// Bytes of the sum at its end.
const SUM: usize = 16;

#[derive(Clone, PartialEq, prost::Message)]
struct AggregatedRecord {
    #[prost(string, repeated, tag = "1")]
    partition_key_table: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    explicit_hash_key_table: Vec<String>,
    #[prost(message, repeated, tag = "3")]
    records: Vec<Record>,
}

/// One of the records. Its tags (4) say nothing to us.
#[derive(Clone, PartialEq, prost::Message)]
struct Record {
    #[prost(uint64, required, tag = "1")]
    partition_key_index: u64,
    #[prost(uint64, optional, tag = "2")]
    explicit_hash_key_index: Option<u64>,
    #[prost(bytes = "bytes", required, tag = "3")]
    data: Bytes,
}

/// Packs records that share one explicit hash key into one record, and knows its size meanwhile.
#[derive(Clone, Debug)]
pub struct Packer {
    message: AggregatedRecord,
    /// Of the whole record with its own partition key, bytes.
    size: usize,
}

impl Packer {
    /// Packs records for this hash key.
    pub fn new(explicit_hash_key: u128) -> Self {
        let hash_key = explicit_hash_key.to_string();
        let size = MAGIC.len() + SUM + delimited(hash_key.len());
        let message = AggregatedRecord { explicit_hash_key_table: vec![hash_key], ..AggregatedRecord::default() };
        Self { message, size }
    }

    /// How many records it holds.
    pub fn len(&self) -> usize {
        self.message.records.len()
    }

    /// True while it holds none.
    pub fn is_empty(&self) -> bool {
        self.message.records.is_empty()
    }

    /// What it counts towards Kinesis's limits once this record is in it too: its bytes with its partition key.
    pub fn size_with(&self, partition_key: &str, data: &[u8]) -> usize {
        // The record itself goes by the partition key of the first that it holds.
        let own = if self.is_empty() { partition_key.len() } else { 0 };
        let index = length_delimiter_len(self.len());
        let record = 1 + index + 2 + delimited(data.len());
        self.size + own + delimited(partition_key.len()) + delimited(record)
    }

    /// Adds a record behind the others.
    pub fn push(&mut self, partition_key: String, data: Bytes) {
        self.size = self.size_with(&partition_key, &data);
        let partition_key_index = self.len() as u64;
        self.message.partition_key_table.push(partition_key);
        self.message.records.push(Record { partition_key_index, explicit_hash_key_index: Some(0), data });
    }

    /// The record, and the partition key to put it under: that of the first record in it, as the KPL does.
    #[expect(clippy::missing_panics_doc, reason = "it has none")]
    pub fn finish(self) -> (String, Bytes) {
        let body = self.message.encoded_len();
        let mut packed = BytesMut::with_capacity(MAGIC.len() + body + SUM);
        packed.put_slice(&MAGIC);
        self.message.encode(&mut packed).expect("the buffer grows, which is the only way to fail");
        let sum = Md5::digest(&packed[MAGIC.len()..]);
        packed.put_slice(&sum);
        let partition_key = self.message.partition_key_table.into_iter().next().unwrap_or_default();
        (partition_key, packed.freeze())
    }
}

/// Bytes of a field of `size` bytes with its tag and its length.
fn delimited(size: usize) -> usize {
    1 + length_delimiter_len(size) + size
}

/// Packs `records`, each a partition key and its bytes, into one record for `explicit_hash_key`.
pub fn pack(explicit_hash_key: u128, records: impl IntoIterator<Item = (String, Bytes)>) -> Bytes {
    let mut packer = Packer::new(explicit_hash_key);
    records.into_iter().for_each(|(partition_key, data)| packer.push(partition_key, data));
    packer.finish().1
}

/// Why a record that begins as an aggregated one can't be taken apart. None of it is lost: it is kept whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// Its bytes are not those that were packed, or its end is missing.
    #[error("aggregated record with a wrong checksum")]
    Checksum,
    /// It ends inside of a field.
    #[error("aggregated record with a truncated protobuf")]
    Truncated,
    /// Something else than the messages of the format.
    #[error("aggregated record with a protobuf that is not of its format")]
    Protobuf,
    /// A record in it has no partition key or no data, or names a key that is not in its tables.
    #[error("aggregated record with a record in it whose key or data is missing")]
    Missing,
    /// A key in it is not what Kinesis takes: text, or a number below 2^128.
    #[error("aggregated record with a key in it that is none")]
    Key,
}

/// A record taken apart. Its records are slices of it.
#[derive(Clone, Debug)]
pub struct Aggregated {
    whole: Bytes,
    partition_keys: Vec<Span>,
    hash_keys: Vec<u128>,
    records: Vec<Entry>,
}

/// A record out of an aggregated one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubRecord<'a> {
    /// Its partition key.
    pub partition_key: &'a str,
    /// Its explicit hash key, where it has one.
    pub explicit_hash_key: Option<u128>,
    /// Its bytes.
    pub data: Bytes,
}

impl SubRecord<'_> {
    /// The hash key that says to which shard it belongs.
    pub fn hash_key(&self) -> u128 {
        self.explicit_hash_key.unwrap_or_else(|| u128::from_be_bytes(Md5::digest(self.partition_key).into()))
    }
}

/// A part of the whole, by offsets: a Kinesis record has at most 10 MiB. So small that records of nothing but the
/// fewest bytes can't make much more of memory than they are.
#[derive(Clone, Copy, Debug)]
struct Span {
    from: u32,
    to: u32,
}

impl Span {
    fn of(self, whole: &[u8]) -> &[u8] {
        &whole[self.from as usize..self.to as usize]
    }
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    partition_key: u32,
    /// [`NONE`] without one.
    hash_key: u32,
    data: Span,
}

const NONE: u32 = u32::MAX;

impl Aggregated {
    /// How many records it holds.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// True when it holds none.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Its records, in order.
    pub fn records(&self) -> impl Iterator<Item = SubRecord<'_>> {
        (0..self.len()).filter_map(|n| self.record(n))
    }

    /// Record `n` of it, from 0.
    pub fn record(&self, n: usize) -> Option<SubRecord<'_>> {
        let entry = self.records.get(n)?;
        let key = self.partition_keys.get(entry.partition_key as usize)?;
        Some(SubRecord {
            partition_key: std::str::from_utf8(key.of(&self.whole)).ok()?,
            explicit_hash_key: self.hash_keys.get(entry.hash_key as usize).copied(),
            data: self.whole.slice(entry.data.from as usize..entry.data.to as usize),
        })
    }
}

/// Takes `data` apart; `None` when it is no aggregated record.
///
/// # Errors
/// It begins as one and is damaged.
pub fn unpack(data: &Bytes) -> Result<Option<Aggregated>, Damage> {
    if !data.starts_with(&MAGIC) {
        return Ok(None);
    }
    let body = MAGIC.len()..data.len().checked_sub(SUM).filter(|end| *end >= MAGIC.len()).ok_or(Damage::Checksum)?;
    if data.len() >= NONE as usize || Md5::digest(&data[body.clone()])[..] != data[body.end..] {
        return Err(Damage::Checksum);
    }
    let mut unpacked =
        Aggregated { whole: data.clone(), partition_keys: Vec::new(), hash_keys: Vec::new(), records: Vec::new() };
    fields(data, body, |tag, value| {
        match (tag, value) {
            (1, Value::Bytes(span)) => {
                std::str::from_utf8(span.of(data)).map_err(|_| Damage::Key)?;
                unpacked.partition_keys.push(span);
            }
            (2, Value::Bytes(span)) => {
                let number = std::str::from_utf8(span.of(data)).ok().and_then(|text| text.parse().ok());
                unpacked.hash_keys.push(number.ok_or(Damage::Key)?);
            }
            (3, Value::Bytes(span)) => unpacked.records.push(entry(data, span)?),
            (1..=3, _) => return Err(Damage::Protobuf),
            _ => {}
        }
        Ok(())
    })?;
    // The tables may come behind the records.
    let known = |entry: &Entry| {
        (entry.partition_key as usize) < unpacked.partition_keys.len()
            && (entry.hash_key == NONE || (entry.hash_key as usize) < unpacked.hash_keys.len())
    };
    if unpacked.records.iter().all(known) { Ok(Some(unpacked)) } else { Err(Damage::Missing) }
}

/// One of the records, at `span`.
fn entry(whole: &[u8], span: Span) -> Result<Entry, Damage> {
    let (mut partition_key, mut hash_key, mut data) = (None, NONE, None);
    let index = |number: u64| u32::try_from(number).ok().filter(|n| *n != NONE).ok_or(Damage::Missing);
    fields(whole, span.from as usize..span.to as usize, |tag, value| {
        match (tag, value) {
            (1, Value::Number(number)) => partition_key = Some(index(number)?),
            (2, Value::Number(number)) => hash_key = index(number)?,
            (3, Value::Bytes(span)) => data = Some(span),
            (1..=3, _) => return Err(Damage::Protobuf),
            _ => {}
        }
        Ok(())
    })?;
    match (partition_key, data) {
        (Some(partition_key), Some(data)) => Ok(Entry { partition_key, hash_key, data }),
        _ => Err(Damage::Missing),
    }
}

/// The value of a protobuf field.
enum Value {
    Number(u64),
    Bytes(Span),
    /// Of a fixed size, which no field of ours has.
    Fixed,
}

/// Calls `each` with every field of the message at `range` of `whole`: its tag and value.
fn fields(
    whole: &[u8],
    range: std::ops::Range<usize>,
    mut each: impl FnMut(u32, Value) -> Result<(), Damage>,
) -> Result<(), Damage> {
    let (mut at, end) = (range.start, range.end);
    while at < end {
        let key = varint(whole, &mut at, end)?;
        let value = match key & 7 {
            0 => Value::Number(varint(whole, &mut at, end)?),
            1 => span(&mut at, end, 8).map(|_| Value::Fixed)?,
            2 => {
                let size = varint(whole, &mut at, end)?;
                Value::Bytes(span(&mut at, end, size)?)
            }
            5 => span(&mut at, end, 4).map(|_| Value::Fixed)?,
            // Groups, which protobuf gave up long before this format.
            _ => return Err(Damage::Protobuf),
        };
        each(u32::try_from(key >> 3).map_err(|_| Damage::Protobuf)?, value)?;
    }
    Ok(())
}

/// The next `size` bytes.
fn span(at: &mut usize, end: usize, size: u64) -> Result<Span, Damage> {
    let to = usize::try_from(size).ok().and_then(|size| at.checked_add(size)).filter(|to| *to <= end);
    let span = Span { from: *at as u32, to: to.ok_or(Damage::Truncated)? as u32 };
    *at = span.to as usize;
    Ok(span)
}

/// The number at `at`, seven bits a byte.
fn varint(whole: &[u8], at: &mut usize, end: usize) -> Result<u64, Damage> {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = whole[..end].get(*at).ok_or(Damage::Truncated)?;
        *at += 1;
        if shift == 63 && *byte > 1 {
            break;
        }
        number |= u64::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(Damage::Protobuf)
}

#[cfg(test)]
#[path = "aggregate_tests.rs"]
mod tests;
