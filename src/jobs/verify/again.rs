//! The second look: keys that differed are read again, so that a table in use is told from a wrong one, and of those that
//! still differ the first are explained by the attribute that does.
//!
//! ```text
//! first look      second look              counts as
//! ≠ source        = source                 changed        it was being written
//! ≠ source        ≠ source, ≠ first look   changed        somebody else writes to it: `changed_differs`
//! ≠ source        ≠ source, = first look   missing, extra or different
//! ```

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, BufWriter, Seek as _, Write};
use std::path::Path;

use bytes::Bytes;
use serde_json::json;

use super::super::restore::strand::Intent;
use super::super::worker::{JobError, Session};
use super::attribute::{Attribute, attributes, first_difference};
use super::fetch::{GET, fetch};
use super::source::Source;
use super::spill::{Difference, Differing, Tally, Version, chosen};
use crate::backup::{self, BackupError, Location, Place, Reader};
use crate::cloud::inventory::Table;
use crate::flow::ReadPace;
use crate::item::digest_of_attributes;

/// Keys that are looked at again, at most: it takes a read unit each.
pub(super) const AGAIN: u64 = 100_000;

/// Keys whose first differing attribute is told, at most.
pub(super) const EXPLAINED: usize = 1_000;

/// Lines that lie nearer than this are read over, bytes; what lies further is sought.
const NEAR: u64 = 1 << 20;

/// What the second look found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Settled {
    /// Keys looked at again.
    pub again: u64,
    /// Keys that differed at first and now agree, or were written in between.
    pub changed: u64,
    /// Of `changed`: keys that are not equal to the source's.
    pub changed_differs: u64,
    /// Keys that differ and whose attribute is told.
    pub explained: u64,
}

/// What the second look makes of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Stands,
    Agrees,
    Moved,
}

fn judge(first: &Differing, now: Option<u128>) -> Verdict {
    let versions = &first.versions;
    let agrees = if versions.is_empty() { now.is_none() } else { versions.iter().any(|v| v.digest == now) };
    match () {
        () if agrees => Verdict::Agrees,
        () if now != first.table => Verdict::Moved,
        () => Verdict::Stands,
    }
}

/// Counts `first` as changed: the table has `now`.
fn moves(tally: &mut Tally, first: &Differing, now: Option<u128>) {
    *tally.of(first.difference) -= 1;
    let source = |table| chosen(&first.versions, table).and_then(|version| version.digest).unwrap_or(0);
    tally.digest_source = tally.digest_source.wrapping_sub(source(first.table)).wrapping_add(source(now));
    tally.digest_table = tally.digest_table.wrapping_sub(first.table.unwrap_or(0)).wrapping_add(now.unwrap_or(0));
}

/// The keys that differ, on disk between the first look and the second.
pub(super) struct Differences {
    file: BufWriter<File>,
    count: u64,
}

impl Differences {
    /// An empty list in `folder`.
    pub fn create(folder: &Path) -> io::Result<Self> {
        Ok(Self { file: BufWriter::new(tempfile::tempfile_in(folder)?), count: 0 })
    }

    /// Adds a key.
    pub fn add(&mut self, differing: &Differing) -> io::Result<()> {
        self.count += 1;
        serde_json::to_writer(&mut self.file, differing)?;
        self.file.write_all(b"\n")
    }

    /// All of them, in the order in which they were added.
    pub fn read(self) -> io::Result<impl Iterator<Item = io::Result<Differing>>> {
        let mut file = self.file.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.rewind()?;
        Ok(BufReader::new(file).lines().map(|line| Ok(serde_json::from_str(&line?)?)))
    }
}

/// Looks at the keys of `differences` again, corrects `tally`, and writes those that stand into `list`.
pub(super) async fn settle(
    session: &Session<'_>,
    (table, pace): (&Table, &ReadPace),
    source: &Source,
    differences: Differences,
    tally: &mut Tally,
    list: &Path,
) -> Result<Settled, JobError> {
    let mut settled = Settled::default();
    let mut explain = Vec::new();
    let folder = list.parent().unwrap_or(Path::new("."));
    let mut unexplained = BufWriter::new(tempfile::tempfile_in(folder)?);
    if differences.count > 0 {
        session.note("info", &format!("reads {} keys again that differ", differences.count.min(AGAIN)));
    }
    let mut all = differences.read()?;
    loop {
        let some = all.by_ref().take(GET).collect::<io::Result<Vec<_>>>()?;
        if some.is_empty() {
            break;
        }
        let is_read = settled.again < AGAIN;
        let found = if is_read {
            fetch(&session.cloud, table, some.iter().map(|d| d.key.as_bytes()), pace, true).await?
        } else {
            std::collections::HashMap::new()
        };
        for differing in some {
            let verdict = if is_read {
                settled.again += 1;
                let now = found.get(differing.key.as_bytes()).map(digest_of_attributes);
                let verdict = judge(&differing, now);
                if verdict != Verdict::Stands {
                    settled.changed += 1;
                    settled.changed_differs += u64::from(verdict == Verdict::Moved);
                    moves(tally, &differing, now);
                }
                verdict
            } else {
                Verdict::Stands
            };
            match verdict {
                Verdict::Stands if differing.difference == Difference::Different && explain.len() < EXPLAINED => {
                    explain.push(differing);
                }
                Verdict::Stands => write(&mut unexplained, &differing, None)?,
                Verdict::Agrees | Verdict::Moved => {}
            }
        }
    }

    let mut out = BufWriter::new(super::differences_file(list)?);
    // In the order of the files, so that each is read once at the most.
    explain.sort_by_key(|differing| place(differing).map(|version| (version.input, version.offset)));
    let mut again = Again { source, open: None };
    for some in explain.chunks(GET) {
        let found = fetch(&session.cloud, table, some.iter().map(|d| d.key.as_bytes()), pace, true).await?;
        for differing in some {
            let now = found.get(differing.key.as_bytes());
            let attribute = match (again.item(session, differing).await, now) {
                (Some(json), Some(now)) => {
                    attributes(&json).map(|item| first_difference(&item, now).ok_or_else(|| digest_of_attributes(now)))
                }
                _ => None,
            };
            match attribute {
                Some(Ok(attribute)) => {
                    settled.explained += 1;
                    write(&mut out, differing, Some(&attribute))?;
                }
                // It became equal while we looked for what differs.
                Some(Err(now)) => {
                    settled.changed += 1;
                    moves(tally, differing, Some(now));
                }
                None => write(&mut out, differing, None)?,
            }
        }
    }
    let mut unexplained = unexplained.into_inner().map_err(io::IntoInnerError::into_error)?;
    unexplained.rewind()?;
    io::copy(&mut unexplained, &mut out)?;
    out.flush()?;
    Ok(settled)
}

/// Where the source holds the item that a key should have.
fn place(differing: &Differing) -> Option<Version> {
    chosen(&differing.versions, differing.table)
}

/// The lines of the differences file: `{"difference","key","attribute","source","table"}`, the last three where told.
pub(super) fn write(out: &mut impl Write, differing: &Differing, attribute: Option<&Attribute>) -> io::Result<()> {
    writeln!(out, "{}", listed(differing, attribute)?)
}

/// One such line.
pub(super) fn listed(differing: &Differing, attribute: Option<&Attribute>) -> io::Result<String> {
    let word = serde_json::to_string(&differing.difference)?;
    let mut line = format!(r#"{{"difference":{word},"key":{}"#, differing.key);
    if let Some(Attribute { path, source, table }) = attribute {
        let rest = json!({ "attribute": path, "source": source, "table": table }).to_string();
        line.push(',');
        line.push_str(&rest[1..rest.len() - 1]);
    }
    line.push('}');
    Ok(harmless(&line))
}

/// The same JSON without a character that a terminal would obey: outside of strings there is none.
fn harmless(json: &str) -> String {
    let is_obeyed = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if is_obeyed(c) {
            // A string takes all that is written to it.
            let _ = write!(out, "\\u{:04x}", u32::from(c));
        } else {
            out.push(c);
        }
    }
    out
}

/// Lines of the source, read again by their place.
struct Again<'s> {
    source: &'s Source,
    open: Option<(u32, Reader, bool)>,
}

impl Again<'_> {
    /// The source's item of `differing`; `None` where it can't be read again.
    async fn item(&mut self, session: &Session<'_>, differing: &Differing) -> Option<Bytes> {
        let version = place(differing)?;
        match self.line(version).await {
            Ok(json) => json,
            Err(error) => {
                // The counts are complete without it.
                self.open = None;
                session.note("warn", &format!("a key that differs is not explained: {error}"));
                None
            }
        }
    }

    async fn line(&mut self, version: Version) -> Result<Option<Bytes>, BackupError> {
        let Some((input, increment)) = self.source.inputs.get(version.input as usize) else { return Ok(None) };
        if input.location == Location::Stdin {
            return Ok(None);
        }
        let taking = &self.source.taking;
        let s3 = taking.s3.as_ref();
        let goes_on = self.open.take().filter(|(number, reader, compressed)| {
            let at = reader.place().offset;
            *number == version.input && at <= version.offset && (*compressed || version.offset - at < NEAR)
        });
        let (_, reader, _) = if let Some(open) = goes_on {
            self.open.insert(open)
        } else {
            // A large file that can't be cut is compressed: it is read from its beginning, once.
            let is_large = input.bytes.is_some_and(|bytes| bytes > NEAR);
            let compressed = is_large && backup::pieces(std::slice::from_ref(input), s3, NEAR).await?.len() == 1;
            let from = if compressed { Place::default() } else { Place::at(version.offset) };
            let reader = Reader::open(input, s3, taking.format, from).await?;
            self.open.insert((version.input, reader, compressed))
        };
        while let Some(record) = reader.next().await? {
            if record.offset >= version.offset {
                let is_it = record.offset == version.offset;
                return Ok(match taking.intent(&record, *increment) {
                    Intent::Put(item) if is_it => Some(item.json),
                    _ => None,
                });
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn differing(difference: Difference, table: Option<u128>, versions: &[Option<u128>]) -> Differing {
        let version = |digest: &Option<u128>| Version { digest: *digest, stage: 0, input: 0, offset: 0 };
        Differing { difference, key: "{}".into(), table, versions: versions.iter().map(version).collect() }
    }

    #[test]
    fn a_key_that_agrees_now_or_was_written_in_between_is_changed_and_one_that_stayed_is_not() {
        let different = differing(Difference::Different, Some(2), &[Some(1)]);
        assert_eq!(judge(&different, Some(2)), Verdict::Stands);
        assert_eq!(judge(&different, Some(1)), Verdict::Agrees);
        assert_eq!(judge(&different, Some(3)), Verdict::Moved);
        assert_eq!(judge(&different, None), Verdict::Moved);
        let missing = differing(Difference::Missing, None, &[Some(1), Some(5)]);
        assert_eq!(judge(&missing, None), Verdict::Stands);
        assert_eq!(judge(&missing, Some(5)), Verdict::Agrees);
        let extra = differing(Difference::Extra, Some(2), &[]);
        assert_eq!(judge(&extra, Some(2)), Verdict::Stands);
        assert_eq!(judge(&extra, None), Verdict::Agrees);
        let deleted = differing(Difference::Extra, Some(2), &[None]);
        assert_eq!(judge(&deleted, None), Verdict::Agrees);
    }

    #[test]
    fn a_changed_key_takes_its_new_digest_along() {
        let mut tally = Tally::default();
        let key = Bytes::from_static(b"k");
        let version = |digest| Version { digest: Some(digest), stage: 0, input: 0, offset: 0 };
        let found = tally.judge(&key, vec![version(1), version(5)], Some(2)).unwrap();
        assert_eq!((tally.different, tally.digest_source, tally.digest_table), (1, 5, 2));
        moves(&mut tally, &found, Some(1));
        assert_eq!((tally.different, tally.digest_source, tally.digest_table), (0, 1, 1));
    }

    #[test]
    fn a_list_of_differences_is_json_that_no_terminal_obeys() {
        let mut first = differing(Difference::Different, Some(2), &[Some(1)]);
        first.key = "{\"id\":{\"S\":\"\u{9b}2J\u{202e}é\"}}".into();
        let attribute = Attribute { path: "a".into(), source: Some("{\"S\":\"\u{1b}[31m\"}".into()), table: None };
        let mut out = Vec::new();
        write(&mut out, &first, Some(&attribute)).unwrap();
        let line = String::from_utf8(out).unwrap();
        assert!(line.trim_end().chars().all(|c| !c.is_control() && c != '\u{202e}'), "{line}");
        let read: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(read["difference"], "different");
        assert_eq!(read["key"]["id"]["S"], "\u{9b}2J\u{202e}é");
        assert_eq!(read["attribute"], "a");
        assert_eq!(read["source"], "{\"S\":\"\u{1b}[31m\"}");
        assert_eq!(read["table"], serde_json::Value::Null);
    }
}
