//! What a job is asked to do, as the journal keeps it.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::replicate::{ReplicaTarget, ReplicateSpec, TableTarget};
use crate::flow::Counters;

/// A job's name: its kind's letter and four or more hex digits, such as `r-7f3a`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(pub String);

impl JobId {
    /// A new name for a job of `kind`.
    pub fn random(kind: Kind) -> Self {
        Self(format!("{}-{:06x}", kind.letter(), rand::random::<u32>() & 0x00ff_ffff))
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The kinds of job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Items of a backup into a table.
    Restore,
    /// A backup against a table, key by key.
    Verify,
    /// A table into files.
    Backup,
    /// Rules that follow the load of tables with their capacity.
    Autoscale,
    /// The put requests of a stream into their tables.
    Work,
    /// Made-up events onto a stream.
    Load,
    /// Events of a stream into the event table, through the buffer.
    Pump,
    /// Events of the event table, in order, to somewhere else.
    Playback,
    /// Dead letters that a function left, brought into the journal: nothing runs.
    Letters,
    /// The changes of a table into its replica.
    Replicate,
}

impl Kind {
    /// The letter that its job names start with.
    pub fn letter(self) -> char {
        match self {
            Self::Restore => 'r',
            Self::Verify => 'v',
            Self::Backup => 'b',
            Self::Autoscale => 'a',
            Self::Work => 'w',
            Self::Load => 'l',
            Self::Pump => 'p',
            Self::Playback => 'y',
            Self::Letters => 'd',
            Self::Replicate => 'c',
        }
    }

    /// As scripts and screens spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Restore => "restore",
            Self::Verify => "verify",
            Self::Backup => "backup",
            Self::Autoscale => "autoscale",
            Self::Work => "work",
            Self::Load => "load",
            Self::Pump => "pump",
            Self::Playback => "playback",
            Self::Letters => "letters",
            Self::Replicate => "replicate",
        }
    }

    /// How job `id` of this kind is taken up again after it was interrupted or failed.
    pub fn again(self, id: &JobId) -> String {
        match self {
            Self::Restore | Self::Backup | Self::Playback => format!("sluice {self} --resume {id}"),
            Self::Letters => "sluice dead import again".to_owned(),
            Self::Verify | Self::Autoscale | Self::Work | Self::Load | Self::Pump | Self::Replicate => {
                format!("the same sluice {self} again")
            }
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where a job goes on that is taken up again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GoesOn {
    /// At its last checkpoint.
    AtCheckpoint,
    /// It keeps none: at its beginning.
    FromTheStart,
    /// It can't be taken up again.
    Never,
}

/// What a job does, with every option settled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Spec {
    /// Items of a backup into a table.
    Restore(RestoreSpec),
    /// A backup against a table, key by key.
    Verify(VerifySpec),
    /// A table into files.
    Backup(BackupSpec),
    /// Rules that follow the load of tables with their capacity.
    Autoscale(AutoscaleSpec),
    /// The put requests of a stream into their tables.
    Work(WorkSpec),
    /// Made-up events onto a stream.
    Load(LoadSpec),
    /// Events of a stream into the event table, through the buffer.
    Pump(PumpSpec),
    /// Events of the event table, in order, to somewhere else.
    Playback(PlaybackSpec),
    /// Dead letters that a function left, brought into the journal.
    Letters(LettersSpec),
    /// The changes of a table into its replica.
    Replicate(ReplicateSpec),
}

impl Spec {
    /// Its kind.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Restore(_) => Kind::Restore,
            Self::Verify(_) => Kind::Verify,
            Self::Backup(_) => Kind::Backup,
            Self::Autoscale(_) => Kind::Autoscale,
            Self::Work(_) => Kind::Work,
            Self::Load(_) => Kind::Load,
            Self::Pump(_) => Kind::Pump,
            Self::Playback(_) => Kind::Playback,
            Self::Letters(_) => Kind::Letters,
            Self::Replicate(_) => Kind::Replicate,
        }
    }

    /// The table it writes or reads; empty for a job of many tables.
    pub fn table(&self) -> &str {
        match self {
            Self::Restore(spec) => &spec.table,
            Self::Verify(spec) => &spec.table,
            Self::Backup(spec) => &spec.table,
            Self::Pump(spec) => &spec.events,
            Self::Playback(spec) => spec.table(),
            Self::Replicate(spec) => spec.target.table_name(),
            Self::Autoscale(_) | Self::Work(_) | Self::Load(_) | Self::Letters(_) => "",
        }
    }

    /// The same where the job itself acts: empty when its table is elsewhere.
    pub fn table_here(&self) -> &str {
        match self {
            Self::Replicate(ReplicateSpec { target: ReplicaTarget::Table(target), .. })
                if !target.is_beside_its_source() =>
            {
                ""
            }
            _ => self.table(),
        }
    }

    /// Where it goes on when it is taken up again after it was interrupted or failed.
    pub fn goes_on(&self) -> GoesOn {
        match self {
            Self::Playback(spec) if spec.sink == "-" => GoesOn::Never,
            Self::Restore(_)
            | Self::Backup(_)
            | Self::Work(_)
            | Self::Pump(_)
            | Self::Playback(_)
            | Self::Replicate(_) => GoesOn::AtCheckpoint,
            Self::Verify(_) | Self::Autoscale(_) | Self::Load(_) => GoesOn::FromTheStart,
            Self::Letters(_) => GoesOn::Never,
        }
    }

    /// The Kinesis stream that it reads.
    pub fn reads_stream(&self) -> Option<&str> {
        match self {
            Self::Restore(spec) if !spec.no_workers => spec.stream.as_deref(),
            Self::Work(spec) => Some(&spec.stream),
            Self::Pump(spec) => Some(&spec.stream),
            _ => None,
        }
    }

    /// Where its records come from, as the operator named them.
    pub fn sources(&self) -> &[String] {
        match self {
            Self::Restore(spec) => &spec.source.sources,
            Self::Verify(spec) => &spec.source.sources,
            _ => &[],
        }
    }

    /// `historical ← s3://backups/x.csv via restore`.
    pub fn title(&self) -> String {
        let sources = match self.sources() {
            [] => String::from("nothing"),
            [one] => one.clone(),
            [first, rest @ ..] => format!("{first} and {} more", rest.len()),
        };
        match self {
            Self::Restore(spec) => {
                let via = spec.stream.as_ref().map(|stream| format!(" via {stream}")).unwrap_or_default();
                format!("{} ← {sources}{via}", spec.table)
            }
            Self::Verify(VerifySpec { table, replica: Some(replica), .. }) => {
                format!("{} = {table}", replica.target.table)
            }
            Self::Verify(spec) => format!("{} = {sources}", spec.table),
            Self::Backup(spec) => format!("{} → {}", spec.table, spec.to),
            Self::Autoscale(spec) => format!("capacity ← {}", spec.config),
            Self::Work(spec) => format!("tables ← {}", spec.stream),
            Self::Load(spec) => format!("{} ← made-up events", spec.stream),
            Self::Pump(spec) => format!("{} ← {} via {}", spec.events, spec.stream, spec.buffer),
            Self::Playback(spec) => format!("{} → {}", spec.events, spec.sink),
            Self::Letters(spec) => format!("dead letters of {} ← {}", spec.stream, spec.from),
            Self::Replicate(spec) => spec.title(),
        }
    }

    /// Of what such a job counted: what needs nothing more of it, of the job's total.
    pub fn settled(&self, counters: &Counters) -> u64 {
        match self {
            // These settle no records: one reads keys, the other events.
            Self::Verify(_) | Self::Playback(_) => counters.read,
            Self::Load(_) => counters.on_stream + counters.settled(),
            Self::Restore(spec) => spec.settled(counters),
            _ => counters.settled(),
        }
    }
}

/// What is read of a backup, and as what: a restore and the verify that proves it share one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SourceSpec {
    /// Files, folders, globs, `-` or `s3://bucket/prefix`; an export by its folder, a chain of exports as a list or by
    /// the prefix above them.
    pub sources: Vec<String>,
    /// Forced format of the files; detected from content when `None`.
    pub format: Option<crate::backup::Format>,
    /// A chain of exports is applied up to the increment that ends here; `None` applies all.
    pub until: Option<jiff::Timestamp>,
    /// Files that don't pass their check are left out, and said; otherwise nothing is begun.
    pub keep_going: bool,
    /// Which items are taken, and as what.
    #[serde(flatten)]
    pub shape: crate::item::ShapeSpec,
}

/// A restore: items of a backup into a table, direct or through a stream.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RestoreSpec {
    /// What is read.
    #[serde(flatten)]
    pub source: SourceSpec,
    /// The table that is written.
    pub table: String,
    /// The Kinesis stream that the put requests travel over; `None` writes straight into the table.
    pub stream: Option<String>,
    /// Cap on items per second.
    pub rate: Option<f64>,
    /// Cap on consumed write capacity, WCU.
    pub max_wcu: Option<f64>,
    /// Share of the table's write capacity that is left to others, 0 to 1: their use and ours together stay below the rest.
    pub leave: Option<f64>,
    /// Keep to the provisioned rate from the first second: the capacity that the table has saved up is not touched.
    pub no_burst: bool,
    /// Capacity to raise to at the beginning, and to give back at the end.
    pub raise: Option<Raise>,
    /// Leave items alone whose key exists already.
    pub if_not_exists: bool,
    /// Only produce onto the stream; the table is written by workers elsewhere.
    pub no_workers: bool,
    /// Send each put request as a record of its own, for workers that can't take an aggregated one apart.
    pub no_aggregate: bool,
    /// How many parts of the source are read and checked at the same time; `None` is as many as there are processors.
    pub producers: Option<u32>,
    /// The share of the source that this machine takes; `None` is all of it.
    pub part: Option<Part>,
    /// Memory in which records are shuffled, bytes; `None` is the default, 0 keeps the order of the files.
    pub shuffle_bytes: Option<u64>,
}

impl RestoreSpec {
    /// Records of `counters` whose fate is known: without workers of its own, a record on the stream is another's to write.
    pub fn settled(&self, counters: &Counters) -> u64 {
        if self.no_workers { counters.on_stream + counters.skipped + counters.dead } else { counters.settled() }
    }
}

/// Write capacity to have while a job runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Raise {
    /// Of the table, WCU.
    pub table: u64,
    /// Of each index that needs more than it has, WCU.
    pub indexes: Vec<(String, u64)>,
}

/// The `number`th of `of` machines that share a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Which, from 1.
    pub number: u32,
    /// Of how many.
    pub of: u32,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.of)
    }
}

impl std::str::FromStr for Part {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text.split_once('/').and_then(|(number, of)| Some((number.parse().ok()?, of.parse().ok()?)));
        match parsed {
            Some((number, of)) if number >= 1 && number <= of => Ok(Self { number, of }),
            _ => Err(format!("{text:?} is no part: write 1/10 to 10/10")),
        }
    }
}

/// A comparison of a backup with a table, key by key.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct VerifySpec {
    /// What is read.
    #[serde(flatten)]
    pub source: SourceSpec,
    /// The table that is read.
    pub table: String,
    /// Compare only this many keys, evenly spread; `None` compares all, and finds extra ones.
    pub sample: Option<u64>,
    /// Cap on consumed read capacity, RCU; of each of the two tables where a replica is compared.
    pub read_budget: Option<f64>,
    /// The replica that `table` is compared with; `None` compares it with a backup.
    pub replica: Option<ReplicaSpec>,
}

impl VerifySpec {
    /// The comparison of what job `id` reads with what it writes, as it shapes its items.
    ///
    /// # Errors
    /// Why there is none, in words.
    pub fn of_replica(id: &JobId, replicate: &ReplicateSpec, repair: bool) -> Result<Self, String> {
        let ReplicaTarget::Table(target) = &replicate.target else {
            return Err(format!(
                "{id} writes into {}, which can't be compared: only a replica that is a DynamoDB table can",
                replicate.target
            ));
        };
        if repair && replicate.two_way.is_some() {
            return Err(format!(
                "{id} replicates both ways: neither table is the one that is right, so a repair could undo the newer of two writes. Compare without --repair, and write what is right yourself"
            ));
        }
        Ok(Self {
            source: SourceSpec { shape: replicate.shape.clone(), ..SourceSpec::default() },
            table: replicate.table.clone(),
            replica: Some(ReplicaSpec {
                target: target.clone(),
                job: Some(id.clone()),
                repair,
                keeps_expired: replicate.skip_ttl_deletes,
                ..ReplicaSpec::default()
            }),
            ..Self::default()
        })
    }
}

/// A replica, and what is done about what differs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReplicaSpec {
    /// The replica, and where it is.
    pub target: TableTarget,
    /// The replicate job that keeps it: its lag is waited for.
    pub job: Option<JobId>,
    /// How far the replica may be behind its source, s: a difference that lasts longer counts. `None` is what its job
    /// says, or a default.
    pub lag: Option<f64>,
    /// Items that differ are put again as the source has them, and extra ones deleted.
    pub repair: bool,
    /// Only the keys that the job's own audit found to differ are looked at, not all of both tables.
    pub listed: bool,
    /// Items that expired in the source are kept by the replica: they are not extra.
    pub keeps_expired: bool,
}

/// A backup: a table into files.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BackupSpec {
    /// The table that is read.
    pub table: String,
    /// A file, a folder or `s3://bucket/prefix`.
    pub to: String,
    /// The files' shape.
    pub format: crate::backup::Format,
    /// How many segments are scanned at the same time; `None` chooses.
    #[serde(default)]
    pub segments: Option<u32>,
    /// Cap on consumed read capacity, RCU.
    #[serde(default)]
    pub read_budget: Option<f64>,
    /// Compress the files with gzip.
    #[serde(default)]
    pub gzip: bool,
    /// Read with eventual consistency, at half the RCU: writes of the last second may be missing.
    #[serde(default)]
    pub eventually_consistent: bool,
}

/// Rules that follow the load of tables with their capacity.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AutoscaleSpec {
    /// The configuration file, for titles; empty for the defaults.
    pub config: String,
    /// The configuration itself, as TOML: the job does what it said when it was started.
    pub rules: String,
    /// Look once, decide, and end.
    pub once: bool,
}

/// Put workers: the put requests of a stream into the tables that they name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct WorkSpec {
    /// The stream.
    pub stream: String,
    /// Where shards begin that have no checkpoint; `None` is the oldest record.
    pub from: Option<crate::flow::StartAt>,
    /// End once everything that was on the stream is in its tables.
    pub drain: bool,
    /// The DynamoDB table with KCL's leases that several hosts share; `None` reads every shard alone.
    pub lease_table: Option<String>,
    /// Read by enhanced fan-out, as the consumer of this name.
    pub fan_out: Option<String>,
    /// Cap on items per second into each table.
    pub rate: Option<f64>,
    /// Cap on the write capacity consumed in each table, WCU.
    pub max_wcu: Option<f64>,
}

/// Made-up events onto a stream.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LoadSpec {
    /// The stream.
    pub stream: String,
    /// Events per second.
    pub rate: f64,
    /// Ends after so many events.
    pub count: Option<u64>,
    /// Ends after so long, seconds.
    pub seconds: Option<f64>,
    /// The body of each event; `None` makes the original's claps.
    pub body: Option<String>,
}

/// Events of a stream into the buffer, and from the buffer into the event table.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PumpSpec {
    /// The stream that events arrive on.
    pub stream: String,
    /// The buffer table.
    pub buffer: String,
    /// The event table.
    pub events: String,
    /// Length of a slot.
    pub slot: crate::event::SlotLength,
    /// Seconds between two passes over the buffer.
    pub every: f64,
    /// How rows of the event table are keyed.
    pub layout: crate::event::Layout,
    /// One pass, then end.
    pub once: bool,
}

/// Events of the event table, in order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PlaybackSpec {
    /// The event table.
    pub events: String,
    /// Events from this time on.
    pub from: jiff::Timestamp,
    /// Events before this time; `None` is all that is complete when it begins.
    pub to: Option<jiff::Timestamp>,
    /// Times the speed at which they happened; `None` is as fast as can be.
    pub speed: Option<f64>,
    /// Where they go, as `SinkSpec` spells it: `-`, a file, `stream:NAME`, or `puts:STREAM/TABLE`.
    pub sink: String,
    /// Wait for more behind the watermark instead of ending.
    pub follow: bool,
    /// Only events whose partition key or payload contains this text.
    pub filter: Option<String>,
    /// Each put request is a record of its own, for readers that can't take aggregated ones apart.
    pub no_aggregate: bool,
    /// Read every slot of this length instead of those that the directory lists.
    pub every_slot: Option<crate::event::SlotLength>,
}

impl PlaybackSpec {
    /// The table that it writes, through a stream of put requests; else the one that it reads.
    fn table(&self) -> &str {
        match self.sink.strip_prefix("puts:").and_then(|puts| puts.split_once('/')) {
            Some((_, table)) => table,
            None => &self.events,
        }
    }
}

/// Dead letters that a function on Lambda left.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LettersSpec {
    /// The stream whose records they are.
    pub stream: String,
    /// Where they were brought from: a file, a folder or `s3://bucket/prefix`.
    pub from: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restore_that_an_older_journal_holds_is_still_read() {
        let stored = r#"{"kind":"restore","sources":["a.csv"],"table":"t","stream":null,"format":"csv64","rate":5.0}"#;
        let Spec::Restore(spec) = serde_json::from_str(stored).unwrap() else { panic!("no restore") };
        assert_eq!(spec.source.sources, ["a.csv"]);
        assert_eq!(spec.source.format, Some(crate::backup::Format::Csv64));
        assert_eq!((spec.rate, spec.part, spec.source.until), (Some(5.0), None, None));
        let again = Spec::Restore(spec);
        assert_eq!(serde_json::from_str::<Spec>(&serde_json::to_string(&again).unwrap()).unwrap(), again);
    }

    #[test]
    fn how_far_a_job_is_is_counted_by_what_it_does() {
        let counters = Counters { read: 100, on_stream: 40, written: 20, skipped: 3, dead: 2, ..Counters::default() };
        let restore = |no_workers| Spec::Restore(RestoreSpec { no_workers, ..RestoreSpec::default() });
        assert_eq!(restore(false).settled(&counters), 25);
        assert_eq!(restore(true).settled(&counters), 45, "what is on the stream is another's to write");
        assert_eq!(Spec::Verify(VerifySpec::default()).settled(&counters), 100);
        let sent = Counters { read: 40, on_stream: 40, ..Counters::default() };
        let load = r#"{"kind":"load","stream":"clicks"}"#;
        assert_eq!(serde_json::from_str::<Spec>(load).unwrap().settled(&sent), 40);
    }

    #[test]
    fn a_part_is_one_of_how_many() {
        assert_eq!("3/10".parse(), Ok(Part { number: 3, of: 10 }));
        for wrong in ["0/10", "11/10", "3", "3/", "a/b", "1/0"] {
            assert!(wrong.parse::<Part>().is_err(), "{wrong}");
        }
    }
}
