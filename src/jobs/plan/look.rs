//! Looking before a restore: what the source holds, what the table and the stream have. Reads only.
//!
//! ```text
//!   small source ── all of it ─────────────────────────────┐
//!   large one    ── PLACES, spread evenly over its bytes ──┴─▶ Reader ─▶ Shape ─▶ Checker ─▶ Sample
//!                     plain: a chunk at each place · compressed: from the start of the file there
//! ```

use std::collections::BTreeMap;
use std::io::{Read as _, Seek as _};

use futures::{StreamExt as _, TryStreamExt as _};

use super::sample::{Sample, Sampler};
use super::{PlanError, Target};
use crate::backup::{BackupError, Format, Input, Location, Piece, Place, Reader, Set, Wanted};
use crate::cloud::schema::Schema;
use crate::cloud::{Cloud, CloudError, inventory};
use crate::item::Shape;
use crate::jobs::spec::{RestoreSpec, SourceSpec};

/// A source of up to so many stored bytes is looked at whole.
const WHOLE: u64 = 4 << 20;
/// How many places of a larger one are looked at.
const PLACES: u64 = 32;
/// How much is looked at in each, bytes.
const CHUNK: u64 = 128 << 10;
/// How many records of a compressed file are looked at for each place that fell into it.
const RECORDS: u64 = 500;
/// How much of a compressed file is decompressed to know how many lines its bytes make, stored bytes.
const HEAD: u64 = 256 << 10;
/// How many places are looked at at the same time.
const AT_ONCE: usize = 8;

/// What a source holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SourceFacts {
    /// Files or objects.
    pub files: u64,
    /// Bytes as they are stored.
    pub bytes: u64,
    /// Bytes once decompressed, about.
    pub text_bytes: f64,
    /// Records in it.
    pub records: f64,
    /// True when `records` is exact: counted by a manifest, or every one was looked at.
    pub counted: bool,
    /// True when every record was looked at: sizes are exact too.
    pub whole: bool,
    /// What was seen of them.
    pub sample: Sample,
    /// Some file is compressed, and only its beginning was looked at.
    pub only_heads: bool,
    /// The formats met.
    pub formats: Vec<Format>,
    /// All of it is in S3, in one bucket.
    pub in_s3: bool,
    /// It is a chain: increments are applied after a full export.
    pub is_chain: bool,
    /// What was found out on the way to its files, a sentence each.
    pub notes: Vec<String>,
}

/// What a stream has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamFacts {
    /// Its name.
    pub name: String,
    /// Shards that take records.
    pub open_shards: u64,
    /// True when AWS scales it.
    pub on_demand: bool,
}

/// Describes the table that a restore writes.
///
/// # Errors
/// It does not exist, or AWS can't be asked.
pub async fn target(cloud: &Cloud, table: &str) -> Result<Target, CloudError> {
    let output = cloud.dynamodb.describe_table().table_name(table).send().await;
    let described = match output {
        Ok(output) => output.table,
        Err(error) => {
            let error = CloudError::of(&format!("describe table {table}"), &error);
            // The inventory's error names the nearest tables.
            return Err(inventory::table(cloud, table).await.err().unwrap_or(error));
        }
    };
    let unreadable = |why: String| {
        CloudError::new(crate::cloud::Class::Unknown, format!("table {table} was described oddly: {why}"), "")
    };
    let described = described.ok_or_else(|| unreadable("without a table".into()))?;
    let schema = Schema::of_description(&described).map_err(|error| unreadable(error.to_string()))?;
    let count = |n: Option<i64>| n.unwrap_or_default().max(0) as u64;
    Ok(Target {
        schema,
        exists: true,
        items: count(described.item_count()),
        bytes: count(described.table_size_bytes()),
        warm_write: described
            .warm_throughput()
            .and_then(|warm| warm.write_units_per_second())
            .and_then(|n| u64::try_from(n).ok())
            .filter(|n| *n > 0),
        most_on_demand: described
            .on_demand_throughput()
            .and_then(|most| most.max_write_request_units())
            .and_then(|n| u64::try_from(n).ok())
            .filter(|n| *n > 0),
    })
}

/// Looks at the stream of a restore, if it has one.
///
/// # Errors
/// It does not exist, or AWS can't be asked.
pub async fn stream(cloud: &Cloud, spec: &RestoreSpec) -> Result<Option<StreamFacts>, CloudError> {
    let Some(name) = &spec.stream else { return Ok(None) };
    let stream = inventory::stream(cloud, name).await?;
    Ok(Some(StreamFacts {
        name: stream.name,
        open_shards: stream.shards.iter().filter(|shard| shard.open).count() as u64,
        on_demand: stream.mode == "ON_DEMAND",
    }))
}

/// Looks at the source of a restore into a table of this schema.
///
/// # Errors
/// The source is none, can't be read, or is standard input; or the options that shape items can't be understood.
pub async fn source(cloud: &Cloud, spec: &SourceSpec, schema: &Schema) -> Result<SourceFacts, PlanError> {
    if spec.sources.iter().any(|source| source == "-") {
        return Err(PlanError::Stdin);
    }
    let shape = Shape::new(&spec.shape)?;
    let wanted = Wanted { sources: spec.sources.clone(), format: spec.format, until: spec.until };
    let set = Set::resolve(&wanted, Some(&cloud.s3)).await?;
    let inputs: Vec<Input> = set.inputs().cloned().collect();
    let bytes: u64 = inputs.iter().filter_map(|input| input.bytes).sum();
    let mut facts = SourceFacts {
        files: inputs.len() as u64,
        bytes,
        whole: true,
        in_s3: in_one_bucket(&inputs),
        is_chain: set.is_chain(),
        notes: set.notes.clone(),
        ..SourceFacts::default()
    };
    let look = Look { cloud, spec, schema, shape };
    let looks: Vec<Looked> = futures::stream::iter(places(&inputs, bytes))
        .map(|(input, place)| look.at(input, place))
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await?;
    let (mut plain, mut packed) = ((0_u64, 0_u64), (0_u64, 0_u64, 0_u64));
    for looked in &looks {
        facts.sample.add(&looked.sample);
        facts.whole &= looked.whole;
        match looked.head {
            None => plain = (plain.0 + looked.sample.line_bytes, plain.1 + looked.sample.looked_at),
            Some((stored, text, lines)) => {
                facts.only_heads |= !looked.whole;
                packed = (packed.0 + stored, packed.1 + text, packed.2 + lines);
            }
        }
        if !facts.formats.contains(&looked.format) {
            facts.formats.push(looked.format);
        }
    }
    facts.sample.importable = looks.iter().all(|looked| looked.sample.importable) && facts.sample.looked_at > 0;
    // A byte of a compressed file makes so many lines, one of a plain file so many: each file's bytes count as its kind.
    let lines = |lines: u64, of: u64| if of == 0 { 0.0 } else { lines as f64 / of as f64 };
    let share = packed_share(&looks);
    let (stored_plain, stored_packed) = (bytes as f64 * (1.0 - share), bytes as f64 * share);
    facts.records = stored_plain * lines(plain.1, plain.0) + stored_packed * lines(packed.2, packed.0);
    facts.text_bytes = stored_plain + stored_packed * lines(packed.1, packed.0);
    if facts.whole {
        facts.records = facts.sample.looked_at as f64;
        facts.text_bytes = facts.sample.line_bytes as f64;
    } else if let Some(items) = set.items() {
        facts.records = items as f64;
    }
    facts.counted = facts.whole || set.items().is_some();
    Ok(facts)
}

/// The share of the bytes that is in compressed files, by the places that fell into them.
fn packed_share(looks: &[Looked]) -> f64 {
    let all: u64 = looks.iter().map(|looked| looked.places).sum();
    let packed: u64 = looks.iter().filter(|looked| looked.head.is_some()).map(|looked| looked.places).sum();
    if all == 0 { 0.0 } else { packed as f64 / all as f64 }
}

fn in_one_bucket(inputs: &[Input]) -> bool {
    let bucket = |input: &Input| match &input.location {
        Location::S3 { bucket, .. } => Some(bucket.clone()),
        _ => None,
    };
    let first = inputs.first().and_then(bucket);
    first.is_some() && inputs.iter().all(|input| bucket(input) == first)
}

/// Where to look in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Where {
    /// At all of it.
    Whole,
    /// At chunks that begin at these bytes.
    At(Vec<u64>),
}

/// Which files are looked at, and where. Places are spread evenly over all bytes, so that a large file has more.
fn places(inputs: &[Input], bytes: u64) -> Vec<(Input, Where)> {
    if bytes <= WHOLE {
        return inputs.iter().map(|input| (input.clone(), Where::Whole)).collect();
    }
    let mut found: BTreeMap<usize, Vec<u64>> = BTreeMap::new();
    for place in 0..PLACES {
        let mut at = (u128::from(bytes) * u128::from(2 * place + 1) / u128::from(2 * PLACES)) as u64;
        for (n, input) in inputs.iter().enumerate() {
            let size = input.bytes.unwrap_or_default();
            if at < size {
                found.entry(n).or_default().push(at);
                break;
            }
            at -= size;
        }
    }
    found.into_iter().map(|(n, at)| (inputs[n].clone(), Where::At(at))).collect()
}

/// What was seen in one file.
#[derive(Debug)]
struct Looked {
    sample: Sample,
    format: Format,
    whole: bool,
    /// Of a compressed file: stored bytes that were decompressed, the bytes and the lines that they made.
    head: Option<(u64, u64, u64)>,
    places: u64,
}

struct Look<'a> {
    cloud: &'a Cloud,
    spec: &'a SourceSpec,
    schema: &'a Schema,
    shape: Shape,
}

impl Look<'_> {
    async fn at(&self, input: Input, place: Where) -> Result<Looked, PlanError> {
        let mut sampler = Sampler::new(self.schema, self.shape.clone());
        let places = match &place {
            Where::Whole => input.bytes.unwrap_or_default().max(1),
            Where::At(at) => at.len() as u64,
        };
        let compressed = compression(&stored_head(self.cloud, &input, 4).await?).is_some();
        // A few stored megabytes may unpack to gigabytes: enough is enough.
        let most = if compressed { RECORDS * places.min(PLACES) } else { u64::MAX };
        let (format, whole) = match place {
            Where::At(at) if !compressed => {
                let mut format = Format::Csv64;
                for from in chunks(&at, input.bytes.unwrap_or_default()) {
                    let piece = Piece { input: input.clone(), from, to: Some(from + CHUNK) };
                    format = self.piece(&piece, most, &mut sampler).await?.0;
                }
                (format, false)
            }
            _ => self.piece(&Piece::whole(input.clone()), most, &mut sampler).await?,
        };
        let head = if compressed { Some(unpack(&stored_head(self.cloud, &input, HEAD).await?)) } else { None };
        Ok(Looked { sample: sampler.sample, format, whole, head, places })
    }

    /// Counts the records of a piece, at most `most`. Returns the format, and whether all were counted.
    async fn piece(&self, piece: &Piece, most: u64, sampler: &mut Sampler) -> Result<(Format, bool), PlanError> {
        let mut reader =
            Reader::open_piece(piece, Some(&self.cloud.s3), self.spec.format, Place::at(piece.from)).await?;
        let mut counted = 0;
        while let Some(record) = reader.next().await? {
            if piece.to.is_some_and(|to| record.offset >= to) {
                break;
            }
            if counted == most {
                return Ok((reader.format(), false));
            }
            sampler.count(&record);
            counted += 1;
            if counted % 1_000 == 0 {
                tokio::task::yield_now().await;
            }
        }
        Ok((reader.format(), true))
    }
}

/// Chunks at these places of a file of `size` bytes: within it, and none twice.
fn chunks(at: &[u64], size: u64) -> Vec<u64> {
    let mut from: Vec<u64> = at.iter().map(|at| (*at).min(size.saturating_sub(CHUNK))).collect();
    from.dedup_by(|next, before| *next < *before + CHUNK);
    from
}

/// The first stored bytes of a file, at most `most`.
async fn stored_head(cloud: &Cloud, input: &Input, most: u64) -> Result<Vec<u8>, BackupError> {
    let location = &input.location;
    if input.bytes == Some(0) {
        return Ok(Vec::new());
    }
    match location {
        Location::Stdin => Ok(Vec::new()),
        Location::File(path) => {
            let read = move |path: std::path::PathBuf| {
                let mut head = Vec::new();
                let mut file = std::fs::File::open(path)?;
                file.rewind()?;
                file.take(most).read_to_end(&mut head)?;
                Ok(head)
            };
            let path = path.clone();
            let read = tokio::task::spawn_blocking(move || read(path)).await;
            read.unwrap_or_else(|stopped| Err(std::io::Error::other(stopped)))
                .map_err(|cause| BackupError::Open { location: location.clone(), cause })
        }
        Location::S3 { bucket, key } => {
            let action = format!("read the first bytes of {location}");
            let cloud_error = |error: CloudError| BackupError::Cloud { location: location.clone(), error };
            let range = format!("bytes=0-{}", most - 1);
            let head = cloud.s3.get_object().bucket(bucket).key(key).range(range).send().await;
            let head = head.map_err(|error| cloud_error(CloudError::of(&action, &error)))?;
            let head = head.body.collect().await.map_err(|error| {
                cloud_error(CloudError::new(
                    crate::cloud::Class::Transient,
                    format!("could not {action}: {error}"),
                    "try again",
                ))
            })?;
            Ok(head.to_vec())
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Compression {
    Gzip,
    Zstd,
}

/// How a file is compressed, by its magic bytes.
fn compression(head: &[u8]) -> Option<Compression> {
    if head.starts_with(&[0x1f, 0x8b]) {
        Some(Compression::Gzip)
    } else if head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        Some(Compression::Zstd)
    } else {
        None
    }
}

/// A decompressor that tells how many stored bytes it has not taken yet.
enum Unpacking<'a> {
    Gzip(flate2::bufread::MultiGzDecoder<&'a [u8]>),
    Zstd(zstd::stream::read::Decoder<'static, &'a [u8]>),
}

impl Unpacking<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Gzip(text) => text.read(buffer),
            Self::Zstd(text) => text.read(buffer),
        }
    }

    fn left(&self) -> usize {
        match self {
            Self::Gzip(text) => text.get_ref().len(),
            Self::Zstd(text) => text.get_ref().len(),
        }
    }
}

/// Decompresses what can be of the beginning of a file: stored bytes, and the bytes and lines that they make.
fn unpack(head: &[u8]) -> (u64, u64, u64) {
    let text = match compression(head) {
        Some(Compression::Gzip) => Ok(Unpacking::Gzip(flate2::bufread::MultiGzDecoder::new(head))),
        Some(Compression::Zstd) => zstd::stream::read::Decoder::with_buffer(head).map(Unpacking::Zstd),
        None => return (0, 0, 0),
    };
    let Ok(mut text) = text else { return (0, 0, 0) };
    let (mut stored, mut bytes, mut lines, mut last) = (0, 0, 0, b'\n');
    let mut buffer = vec![0; 64 << 10];
    // A beginning that ends in the middle of a block ends in an error: what came before counts, and what it came from.
    while let Ok(read @ 1..) = text.read(&mut buffer) {
        stored = (head.len() - text.left()) as u64;
        bytes += read as u64;
        lines += buffer[..read].iter().filter(|byte| **byte == b'\n').count() as u64;
        last = buffer[read - 1];
    }
    (stored, bytes, lines + u64::from(last != b'\n'))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn file(name: &str, bytes: u64) -> Input {
        Input::plain(Location::File(name.into()), Some(bytes))
    }

    #[test]
    fn a_small_source_is_looked_at_whole() {
        let inputs = [file("a", 1 << 20), file("b", 3 << 20)];
        assert!(places(&inputs, 4 << 20).iter().all(|(_, place)| *place == Where::Whole));
    }

    #[test]
    fn places_are_spread_evenly_over_the_bytes_of_all_files() {
        let inputs = [file("small", 1 << 20), file("none", 0), file("large", 63 << 20)];
        let found = places(&inputs, 64 << 20);
        let counts: Vec<usize> =
            found.iter().map(|(_, at)| if let Where::At(at) = at { at.len() } else { 0 }).collect();
        assert_eq!(counts.iter().sum::<usize>(), PLACES as usize);
        assert_eq!(found[0].1, Where::At(vec![1 << 20]).clone_within(), "the first place is a whole MiB in");
        assert_eq!(found.len(), 1, "a place of 2 MiB has its middle behind the small file");
    }

    impl Where {
        /// The middle of the first 2 MiB is byte 1 MiB, the first byte of the large file.
        fn clone_within(&self) -> Self {
            let step = 2 << 20;
            Self::At((0..PLACES).map(|n| n * step).collect())
        }
    }

    #[test]
    fn chunks_stay_within_the_file_and_never_overlap() {
        assert_eq!(chunks(&[0, 10, CHUNK, 10 * CHUNK], 4 * CHUNK), [0, CHUNK, 3 * CHUNK]);
        assert_eq!(chunks(&[5], 10), [0]);
    }

    #[test]
    fn the_beginning_of_a_compressed_file_tells_how_many_lines_its_bytes_make() {
        let text: String =
            (0..200_000).map(|n| format!("line {:08x}\n", u32::wrapping_mul(n, 2_654_435_761))).collect();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gzip.write_all(text.as_bytes()).unwrap();
        for packed in [gzip.finish().unwrap(), zstd::encode_all(text.as_bytes(), 0).unwrap()] {
            let head = &packed[..packed.len() / 2];
            let (stored, bytes, lines) = unpack(head);
            let foretold = packed.len() as f64 * lines as f64 / stored as f64;
            assert!((foretold / 200_000.0 - 1.0).abs() < 0.02, "{foretold}");
            assert!(bytes > stored);
            assert_eq!(unpack(&packed).2, 200_000);
        }
    }
}
