//! The check: one pass over an item's bytes that finds whether it can be restored, its size, key and digest.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use super::cursor::{Cursor, Text, write_string};
use super::digest::{Domain, Gathered, hash, hash_boolean, hash_null, hash_number};
use super::key::{KeyWriter, write_quoted_number};
use super::number::Number;
use super::types::{Checked, KeyAttr, KeySchema, Refusal};

/// The largest item, bytes (`DynamoDB` developer guide, "Quotas": 400 KB).
const LARGEST: u64 = 409_600;
/// Levels that an attribute may nest: a value inside 31 maps or lists passes, one inside 32 does not (the same page:
/// "nested attributes up to 32 levels deep").
const DEEPEST: u32 = 32;
/// The longest attribute name, bytes (the same page: "up to 64 KB").
const LONGEST_NAME: usize = 65_535;
/// The longest partition key, bytes.
const LONGEST_PARTITION_KEY: u64 = 2048;
/// The longest sort key, bytes.
const LONGEST_SORT_KEY: u64 = 1024;
/// What a map or list takes beside its contents, bytes; each element or pair takes one more.
const CONTAINER: u64 = 3;

/// Checks items against a table's key schema.
///
/// An item's size follows `DynamoDB`'s rule (developer guide, "`DynamoDB` item sizes and formats"): for each attribute
/// its name in UTF-8 bytes plus its value; a string in UTF-8 bytes, binary in raw bytes, BOOL and NULL 1, a number 1
/// plus 1 for two significant digits on each side of the point plus 1 when negative, a map or list 3 plus 1 for each
/// element plus the elements (a map's with their names), a set the sum of its members.
#[derive(Clone, Debug)]
pub struct Checker {
    schema: KeySchema,
}

impl Checker {
    /// A checker of items for a table with this key.
    pub fn new(schema: KeySchema) -> Self {
        Self { schema }
    }

    /// The key schema that it checks against.
    pub fn schema(&self) -> &KeySchema {
        &self.schema
    }

    /// Checks one item. The JSON that comes out is the very bytes that went in, unless legacy binary had to be
    /// rewritten as base64.
    ///
    /// # Errors
    /// Why the item can never be restored. No input panics.
    pub fn check(&self, json: Bytes) -> Result<Checked, Refusal> {
        let mut pass = Pass {
            cursor: Cursor::new(&json),
            schema: &self.schema,
            seen: Vec::with_capacity(16),
            scratch: Vec::new(),
            rewritten: Vec::new(),
            copied: 0,
            partition: None,
            sort: None,
        };
        let (digest, size) = pass.item()?;
        let Pass { partition, sort, mut rewritten, copied, .. } = pass;
        let mut key = KeyWriter::new();
        for (attr, value, longest) in [
            (Some(&self.schema.partition), partition, LONGEST_PARTITION_KEY),
            (self.schema.sort.as_ref(), sort, LONGEST_SORT_KEY),
        ] {
            let Some(attr) = attr else { continue };
            let Some(KeyValue { quoted, size }) = value else { return Err(Refusal::MissingKey(attr.name.clone())) };
            if size == 0 {
                return Err(Refusal::EmptyKey(attr.name.clone()));
            }
            if size > longest {
                return Err(Refusal::KeyTooLong { name: attr.name.clone(), bytes: size, limit: longest });
            }
            key.attribute(attr, &quoted);
        }
        if size > LARGEST {
            return Err(Refusal::TooLarge(size));
        }
        let json = if copied == 0 {
            json
        } else {
            rewritten.extend_from_slice(&json[copied..]);
            Bytes::from(rewritten)
        };
        Ok(Checked { json, size: size as u32, key: key.finish(), digest })
    }
}

/// A key attribute's value as it was met.
#[derive(Debug)]
struct KeyValue {
    /// The canonical JSON string, quotes included.
    quoted: Vec<u8>,
    /// Bytes, raw for binary.
    size: u64,
}

/// A value's digest and size.
type Measured = Result<(u128, u64), Refusal>;

/// One walk over one item.
struct Pass<'a> {
    cursor: Cursor<'a>,
    schema: &'a KeySchema,
    /// A stack of the names (or members) of every map (or set) that is open: their hashes and where they stand.
    seen: Vec<(u128, usize)>,
    /// What a string with escapes decodes to.
    scratch: Vec<u8>,
    /// The item with canonical binary, up to `copied` of the original.
    rewritten: Vec<u8>,
    copied: usize,
    partition: Option<KeyValue>,
    sort: Option<KeyValue>,
}

impl<'a> Pass<'a> {
    fn item(&mut self) -> Measured {
        if self.cursor.peek() != Some(b'{') {
            self.cursor.skip()?;
            self.cursor.end()?;
            return Err(Refusal::NotAnObject);
        }
        let (gathered, size) = self.attributes(0)?;
        self.cursor.end()?;
        Ok((gathered.hash(Domain::Map), size))
    }

    /// `{"name":{"TYPE":value},…}`: an item at depth 0, a map below. The size is of names and values alone.
    fn attributes(&mut self, depth: u32) -> Result<(Gathered, u64), Refusal> {
        let open = self.seen.len();
        let mut gathered = Gathered::default();
        let mut size = 0;
        self.cursor.expect(b'{')?;
        let mut more = !self.cursor.take(b'}');
        while more {
            let name = self.cursor.string()?;
            self.cursor.expect(b':')?;
            if name.len == 0 {
                return Err(bad(&name, "an attribute name may not be empty"));
            }
            if name.len > LONGEST_NAME {
                return Err(bad(&name, "an attribute name of more than 65,535 bytes"));
            }
            let name_hash = hash(Domain::Name, name.decoded(&mut self.scratch));
            self.seen.push((name_hash, name.start));
            let wanted = if depth == 0 { self.key_attribute(&name) } else { None };
            let (value, value_size) = self.value(&name, depth, wanted)?;
            gathered.entry(name_hash, value);
            size += name.len as u64 + value_size;
            more = self.cursor.another(b'}')?;
        }
        match self.twice(open) {
            None => Ok((gathered, size)),
            Some(at) => {
                let name = Cursor { bytes: self.cursor.bytes, at: at - 1 }.string()?;
                Err(bad(&name, "it is there twice"))
            }
        }
    }

    /// The key attribute of this name, if it is one.
    fn key_attribute(&mut self, name: &Text<'a>) -> Option<&'a KeyAttr> {
        let schema = self.schema;
        let decoded = name.decoded(&mut self.scratch);
        std::iter::once(&schema.partition).chain(&schema.sort).find(|attr| attr.name.as_bytes() == decoded)
    }

    /// Closes what was opened at `open` on the stack; where an entry stands that is there twice.
    fn twice(&mut self, open: usize) -> Option<usize> {
        let entries = &mut self.seen[open..];
        // Sorting keeps a hostile item of a hundred thousand attributes cheap; a few need none.
        let found = if entries.len() <= 16 {
            let again = |index: usize| entries[..index].iter().any(|entry| entry.0 == entries[index].0);
            (1..entries.len()).find(|index| again(*index)).map(|index| entries[index].1)
        } else {
            entries.sort_unstable();
            entries.windows(2).find(|pair| pair[0].0 == pair[1].0).map(|pair| pair[1].1)
        };
        self.seen.truncate(open);
        found
    }

    /// `{"TYPE":value}`, the value of attribute `name`.
    fn value(&mut self, name: &Text<'a>, depth: u32, wanted: Option<&'a KeyAttr>) -> Measured {
        if depth >= DEEPEST {
            return Err(bad(name, "nested over 32 levels"));
        }
        match self.cursor.peek() {
            Some(b'{') => self.cursor.at += 1,
            Some(b'"' | b'[' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n') => {
                return Err(bad(name, "it has no type: a value is written {\"TYPE\":value}"));
            }
            _ => return Err(self.cursor.wanted("'{'")),
        }
        if self.cursor.peek() == Some(b'}') {
            return Err(bad(name, "it has no type: a value is written {\"TYPE\":value}"));
        }
        let tag = self.cursor.string()?;
        self.cursor.expect(b':')?;
        let mut tag_scratch = Vec::new();
        let tag_name = tag.decoded(&mut tag_scratch);
        if let Some(attr) = wanted
            && tag_name != attr.kind.tag().as_bytes()
        {
            return Err(Refusal::WrongKeyType { name: attr.name.clone(), found: tag.shown(), wanted: attr.kind });
        }
        let measured = match tag_name {
            b"S" => self.string(name, wanted)?,
            b"N" => self.number(name, wanted)?,
            b"B" => self.binary(name, wanted)?,
            b"BOOL" => match self.cursor.boolean()? {
                Some(value) => (hash_boolean(value), 1),
                None => return Err(bad(name, "BOOL holds neither true nor false")),
            },
            b"NULL" => match self.cursor.boolean()? {
                Some(true) => (hash_null(), 1),
                _ => return Err(bad(name, "NULL holds something else than true")),
            },
            b"M" => {
                if self.cursor.peek() != Some(b'{') {
                    return Err(bad(name, "M holds no object"));
                }
                let (gathered, size) = self.attributes(depth + 1)?;
                (gathered.hash(Domain::Map), CONTAINER + gathered.count() + size)
            }
            b"L" => self.list(name, depth)?,
            b"SS" => self.set(name, Domain::StringSet)?,
            b"NS" => self.set(name, Domain::NumberSet)?,
            b"BS" => self.set(name, Domain::BinarySet)?,
            _ => return Err(bad(name, &format!("there is no type {}", tag.shown()))),
        };
        match self.cursor.peek() {
            Some(b'}') => self.cursor.at += 1,
            Some(b',') => return Err(bad(name, "it has more than one type")),
            _ => return Err(self.cursor.wanted("'}'")),
        }
        Ok(measured)
    }

    /// A JSON string that `what` needs.
    fn quoted(&mut self, name: &Text<'a>, what: &str) -> Result<Text<'a>, Refusal> {
        if self.cursor.peek() == Some(b'"') {
            self.cursor.string()
        } else {
            Err(bad(name, &format!("{what} holds no string")))
        }
    }

    fn string(&mut self, name: &Text<'a>, wanted: Option<&'a KeyAttr>) -> Measured {
        let text = self.quoted(name, "S")?;
        let decoded = text.decoded(&mut self.scratch);
        let digest = hash(Domain::String, decoded);
        if let Some(attr) = wanted {
            let mut quoted = Vec::with_capacity(text.raw.len() + 2);
            write_string(&mut quoted, decoded);
            self.keep_key(attr, quoted, text.len as u64);
        }
        Ok((digest, text.len as u64))
    }

    fn number(&mut self, name: &Text<'a>, wanted: Option<&'a KeyAttr>) -> Measured {
        let text = self.quoted(name, "N")?;
        let number = Number::parse(text.decoded(&mut self.scratch))
            .map_err(|fault| bad(name, &format!("{} is {fault}", text.shown())))?;
        if let Some(attr) = wanted {
            let mut quoted = Vec::new();
            write_quoted_number(&mut quoted, &number);
            self.keep_key(attr, quoted, number.size());
        }
        Ok((hash_number(&number), number.size()))
    }

    fn binary(&mut self, name: &Text<'a>, wanted: Option<&'a KeyAttr>) -> Measured {
        if self.cursor.peek() == Some(b'"') {
            let text = self.cursor.string()?;
            let encoded = text.decoded(&mut self.scratch);
            let size = raw_len(encoded).ok_or_else(|| bad(name, "its binary is not padded base64"))?;
            let digest = hash(Domain::Binary, encoded);
            if let Some(attr) = wanted {
                let quoted = [b"\"", encoded, b"\""].concat();
                self.keep_key(attr, quoted, size);
            }
            return Ok((digest, size));
        }
        let start = self.cursor.at;
        let raw = self.legacy_bytes(name)?;
        let encoded = STANDARD.encode(&raw);
        self.rewritten.extend_from_slice(&self.cursor.bytes[self.copied..start]);
        let at = self.rewritten.len();
        write_string(&mut self.rewritten, encoded.as_bytes());
        self.copied = self.cursor.at;
        if let Some(attr) = wanted {
            let quoted = self.rewritten[at..].to_vec();
            self.keep_key(attr, quoted, raw.len() as u64);
        }
        Ok((hash(Domain::Binary, encoded.as_bytes()), raw.len() as u64))
    }

    fn keep_key(&mut self, attr: &KeyAttr, quoted: Vec<u8>, size: u64) {
        let slot = if attr.name == self.schema.partition.name { &mut self.partition } else { &mut self.sort };
        *slot = Some(KeyValue { quoted, size });
    }

    /// The bytes of `{"type":"Buffer","data":[1,2,255]}` or `[1,2,255]`, as older backups wrote binary.
    fn legacy_bytes(&mut self, name: &Text<'a>) -> Result<Vec<u8>, Refusal> {
        match self.cursor.peek() {
            Some(b'[') => self.byte_list(name),
            Some(b'{') => {
                self.cursor.at += 1;
                let (mut typed, mut raw) = (false, None);
                let mut more = !self.cursor.take(b'}');
                while more {
                    let field = self.cursor.string()?;
                    self.cursor.expect(b':')?;
                    match field.raw {
                        b"type" if !typed && self.quoted(name, "a Buffer's type")?.raw == b"Buffer" => typed = true,
                        b"data" if raw.is_none() => raw = Some(self.byte_list(name)?),
                        _ => return Err(bad(name, "B holds neither base64 nor a Buffer")),
                    }
                    more = self.cursor.another(b'}')?;
                }
                match raw {
                    Some(raw) if typed => Ok(raw),
                    _ => Err(bad(name, "B holds neither base64 nor a Buffer")),
                }
            }
            _ => Err(bad(name, "B holds neither base64 nor a Buffer")),
        }
    }

    fn byte_list(&mut self, name: &Text<'a>) -> Result<Vec<u8>, Refusal> {
        if !self.cursor.take(b'[') {
            return Err(bad(name, "a Buffer's data is no list"));
        }
        let mut raw = Vec::new();
        let mut more = !self.cursor.take(b']');
        while more {
            self.cursor.peek();
            let start = self.cursor.at;
            let mut byte: u32 = 0;
            while let Some(digit @ b'0'..=b'9') = self.cursor.bytes.get(self.cursor.at) {
                byte = (byte * 10 + u32::from(digit - b'0')).min(1000);
                self.cursor.at += 1;
            }
            let digits = &self.cursor.bytes[start..self.cursor.at];
            match u8::try_from(byte) {
                Ok(byte) if !digits.is_empty() && (digits[0] != b'0' || digits.len() == 1) => raw.push(byte),
                _ => return Err(bad(name, "a Buffer's data holds something else than bytes")),
            }
            more = self.cursor.another(b']')?;
        }
        Ok(raw)
    }

    fn list(&mut self, name: &Text<'a>, depth: u32) -> Measured {
        if !self.cursor.take(b'[') {
            return Err(bad(name, "L holds no list"));
        }
        let mut gathered = Gathered::default();
        let mut size = CONTAINER;
        let mut more = !self.cursor.take(b']');
        while more {
            let (value, value_size) = self.value(name, depth + 1, None)?;
            gathered.element(value);
            size += value_size + 1;
            more = self.cursor.another(b']')?;
        }
        Ok((gathered.hash(Domain::List), size))
    }

    fn set(&mut self, name: &Text<'a>, domain: Domain) -> Measured {
        if !self.cursor.take(b'[') {
            return Err(bad(name, "a set holds no list"));
        }
        if self.cursor.peek() == Some(b']') {
            return Err(bad(name, "a set may not be empty"));
        }
        let open = self.seen.len();
        let mut gathered = Gathered::default();
        let mut size = 0;
        let mut more = true;
        while more {
            let (member, member_size) = match domain {
                Domain::NumberSet => self.number(name, None)?,
                Domain::BinarySet => self.binary(name, None)?,
                _ => self.string(name, None)?,
            };
            self.seen.push((member, 0));
            gathered.member(member);
            size += member_size;
            more = self.cursor.another(b']')?;
        }
        if self.twice(open).is_some() {
            return Err(bad(name, "a set holds a member twice"));
        }
        Ok((gathered.hash(domain), size))
    }
}

/// How many bytes `encoded` decodes to; `None` when it is not standard, padded base64.
fn raw_len(encoded: &[u8]) -> Option<u64> {
    let (quads, rest) = encoded.as_chunks::<4>();
    if !rest.is_empty() {
        return None;
    }
    let Some((last, quads)) = quads.split_last() else { return Some(0) };
    // Every byte's value, or a value with its top bit set: one test at the end for the whole run.
    let faults = quads.iter().flatten().fold(0, |faults, byte| faults | SEXTETS[usize::from(*byte)]);
    let sextet = |index: usize| SEXTETS[usize::from(last[index])];
    let (ok, raw) = match last {
        // The bits that padding leaves over must be zero, or two texts would mean the same bytes.
        [_, _, b'=', b'='] => ((sextet(0) | sextet(1)) & 0x80 == 0 && sextet(1) & 0x0F == 0, 1),
        [_, _, _, b'='] => ((sextet(0) | sextet(1) | sextet(2)) & 0x80 == 0 && sextet(2) & 0x03 == 0, 2),
        _ => ((sextet(0) | sextet(1) | sextet(2) | sextet(3)) & 0x80 == 0, 3),
    };
    (ok && faults & 0x80 == 0).then_some(quads.len() as u64 * 3 + raw)
}

/// The value of each base64 character; 0xFF for every other byte.
const SEXTETS: [u8; 256] = {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut table = [0xFF; 256];
    let mut value = 0;
    while value < 64 {
        table[alphabet[value] as usize] = value as u8;
        value += 1;
    }
    table
};

#[cold]
fn bad(name: &Text<'_>, reason: &str) -> Refusal {
    Refusal::BadAttribute { name: name.shown(), reason: reason.to_owned() }
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
