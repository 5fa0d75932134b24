//! Exports of a table that never was, in the layout of `DynamoDB`'s own, with what the table held at each moment.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::{SignedDuration, Timestamp};
use md5::{Digest as _, Md5};

use super::{Draw, typed};

/// One key's change in an increment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// JSON of the key.
    pub keys: Vec<u8>,
    /// JSON of the item; `None` when it was deleted.
    pub new_image: Option<Vec<u8>>,
    /// JSON of what it was before, in exports of both images.
    pub old_image: Option<Vec<u8>>,
}

/// Writes exports of one table below a folder that stands for a bucket.
#[derive(Debug)]
pub struct Exports {
    bucket: PathBuf,
    prefix: String,
    table: String,
    /// Exports so far.
    count: u64,
}

/// Where an export's files go, by their keys from the root of the bucket.
struct Keys {
    /// Its manifests.
    own: String,
    /// Its data.
    data: String,
}

impl Exports {
    /// Exports of `table` into the folder `bucket`, below `prefix` (may be empty).
    pub fn new(bucket: &Path, prefix: &str, table: &str) -> Self {
        Self { bucket: bucket.to_owned(), prefix: prefix.to_owned(), table: table.to_owned(), count: 0 }
    }

    /// Writes a full export of `items` as they were at `at`, in `files` files, and returns its folder.
    ///
    /// # Errors
    /// The disk refused.
    pub fn full(&mut self, at: Timestamp, items: &[Vec<u8>], files: usize) -> io::Result<PathBuf> {
        let lines: Vec<_> = items.iter().map(|item| [b"{\"Item\":", &item[..], b"}"].concat()).collect();
        let own = self.next_key(at);
        let keys = Keys { data: format!("{own}/data"), own };
        self.write(&keys, "FULL_EXPORT", "md5", &lines, files, &[("exportTime", at)])
    }

    /// Writes what changed from `from` to before `to`, in `files` files, and returns the folder of its manifests.
    ///
    /// # Errors
    /// The disk refused.
    pub fn increment(&mut self, from: Timestamp, to: Timestamp, edits: &[Edit], files: usize) -> io::Result<PathBuf> {
        let lines: Vec<_> = edits.iter().map(|edit| changed(edit, from)).collect();
        let own = self.next_key(to);
        let keys = Keys { data: self.below("data"), own };
        let window = [("exportFromTime", from), ("exportToTime", to)];
        self.write(&keys, "INCREMENTAL_EXPORT", "checksum", &lines, files, &window)
    }

    fn below(&self, name: &str) -> String {
        let slash = if self.prefix.is_empty() { "" } else { "/" };
        format!("{}{slash}AWSDynamoDB/{name}", self.prefix)
    }

    fn next_key(&mut self, at: Timestamp) -> String {
        self.count += 1;
        self.below(&format!("{:014}-{:08x}", at.as_millisecond(), self.count))
    }

    fn write(
        &self,
        keys: &Keys,
        kind: &str,
        checksum: &str,
        lines: &[Vec<u8>],
        files: usize,
        times: &[(&str, Timestamp)],
    ) -> io::Result<PathBuf> {
        let folder = self.bucket.join(&keys.own);
        fs::create_dir_all(&folder)?;
        fs::create_dir_all(self.bucket.join(&keys.data))?;
        fs::write(folder.join("_started"), "")?;
        let mut list = String::new();
        for (number, lines) in lines.chunks(lines.len().div_ceil(files.max(1)).max(1)).enumerate() {
            let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
            for line in lines {
                gzip.write_all(line)?;
                gzip.write_all(b"\n")?;
            }
            let stored = gzip.finish()?;
            let key = format!("{}/{:08x}{number:018x}.json.gz", keys.data, self.count);
            fs::write(self.bucket.join(&key), &stored)?;
            let digest = Md5::digest(&stored);
            let line = serde_json::json!({
                "itemCount": lines.len(),
                "md5Checksum": STANDARD.encode(digest),
                "etag": format!("{digest:x}-1"),
                "dataFileS3Key": key,
            });
            list.push_str(&line.to_string());
            list.push('\n');
        }
        let arn = format!("arn:aws:dynamodb:us-east-1:123456789012:table/{}", self.table);
        let mut summary = serde_json::json!({
            "version": "2023-08-01",
            "exportArn": format!("{arn}/export/{}", keys.own.rsplit('/').next().unwrap_or_default()),
            "startTime": times[0].1, "endTime": times[0].1,
            "tableArn": arn,
            "tableId": format!("12345a12-abcd-123a-ab12-{:012x}", self.table.len()),
            "s3Bucket": "bucket", "s3Prefix": self.prefix, "s3SseAlgorithm": "AES256", "s3SseKmsKeyId": null,
            "manifestFilesS3Key": format!("{}/manifest-files.json", keys.own),
            "billedSizeBytes": 0,
            "itemCount": lines.len(),
            "outputFormat": "DYNAMODB_JSON",
            "exportType": kind,
        });
        for (name, time) in times {
            summary[*name] = serde_json::json!(time);
        }
        for (stem, text) in [("manifest-summary", summary.to_string()), ("manifest-files", list)] {
            fs::write(folder.join(format!("{stem}.{checksum}")), STANDARD.encode(Md5::digest(&text)))?;
            fs::write(folder.join(format!("{stem}.json")), text)?;
        }
        Ok(folder)
    }
}

/// The line of a change, written at `at`.
fn changed(edit: &Edit, at: Timestamp) -> Vec<u8> {
    let mut line =
        format!(r#"{{"Metadata":{{"WriteTimestampMicros":{{"N":"{}"}}}},"Keys":"#, at.as_microsecond()).into_bytes();
    line.extend_from_slice(&edit.keys);
    for (name, image) in [("NewImage", &edit.new_image), ("OldImage", &edit.old_image)] {
        if let Some(image) = image {
            line.extend_from_slice(format!(r#","{name}":"#).as_bytes());
            line.extend_from_slice(image);
        }
    }
    line.push(b'}');
    line
}

/// What a table held when an export of its chain ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Moment {
    /// When: `--until` stops here.
    pub at: Timestamp,
    /// The folder of the export that ends here.
    pub folder: PathBuf,
    /// Its items by their `id`.
    pub items: BTreeMap<String, Vec<u8>>,
}

/// Writes a full export of `items` items of every type into the folder `bucket`, then as many `increments`, an hour each,
/// which change, delete, add and put back items. Returns what the table held at the end of each.
///
/// # Errors
/// The disk refused.
pub fn chain(bucket: &Path, items: u64, increments: u32, seed: u64) -> io::Result<Vec<Moment>> {
    let mut draw = Draw(seed);
    let mut exports = Exports::new(bucket, "nightly", "historical");
    let mut at = Timestamp::from_second(1_780_000_000).map_err(io::Error::other)?;
    let mut held: BTreeMap<String, Vec<u8>> = (0..items)
        .map(|number| {
            let id = format!("{number:08}");
            let item = typed(&id, &mut draw);
            (id, item)
        })
        .collect();
    let all: Vec<_> = held.values().cloned().collect();
    let mut moments = vec![Moment { at, folder: exports.full(at, &all, 3)?, items: held.clone() }];
    for _ in 0..increments {
        let to = at + SignedDuration::from_hours(1);
        let mut edits = Vec::new();
        // Some ids are new; of the others a tenth is written, and a third of those deleted.
        for number in 0..items + items / 10 {
            if draw.below(10) > 0 {
                continue;
            }
            let id = format!("{number:08}");
            let new_image = (draw.below(3) > 0).then(|| typed(&id, &mut draw));
            let old_image = match &new_image {
                Some(item) => held.insert(id.clone(), item.clone()),
                None => held.remove(&id),
            };
            edits.push(Edit { keys: format!(r#"{{"id":{{"S":"{id}"}}}}"#).into_bytes(), new_image, old_image });
        }
        moments.push(Moment { at: to, folder: exports.increment(at, to, &edits, 2)?, items: held.clone() });
        at = to;
    }
    Ok(moments)
}
