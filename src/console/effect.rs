//! Everything the console can cause outside its screen.

use std::path::PathBuf;

use super::export::Export;
use super::memory::News;
use super::playback::Question;
use super::stream::StreamEffect;
use crate::capacity::Resource;
use crate::cloud::cache::Inventory;
use crate::cloud::{Context, Mode};
use crate::jobs::JobId;
use crate::jobs::journal::{Bump, Control};
use crate::jobs::spec::{RestoreSpec, Spec};

/// Tells an answer to the newest question from one to a question that nobody asks any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Request(pub u64);

/// Tells one context from another while the console runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PlaceId(pub u32);

/// A window of a table and its indexes, as CloudWatch is asked for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChartQuestion {
    /// The table.
    pub table: String,
    /// Its indexes.
    pub indexes: Vec<String>,
    /// Start of the first period, ms since epoch.
    pub from_ms: i64,
    /// End of the window, ms since epoch.
    pub to_ms: i64,
    /// Length of a period, s.
    pub period_s: i32,
}

/// A part of a job's past, as the journal is asked for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastQuestion {
    /// The job.
    pub job: JobId,
    /// From when on, ms since epoch.
    pub from_ms: i64,
    /// Up to when, ms since epoch.
    pub to_ms: i64,
    /// One sample in each so many ms.
    pub step_ms: i64,
}

/// A dead letter in an editor's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// The job that met it.
    pub job: JobId,
    /// Its number.
    pub number: i64,
    /// The file.
    pub path: PathBuf,
    /// The command of the editor.
    pub editor: String,
}

/// Something to be done. Those that change anything pass the guard, or are refused before.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Do this in another context than the one at hand.
    At(PlaceId, Box<Effect>),
    /// Make clients for a context, whose changes meet that.
    Connect(PlaceId, Context, Mode),
    /// From now on effects without a context mean that one, with so many questions a second.
    Stand(PlaceId, f64),
    /// Changes meet that from now on.
    Hold(Mode),
    /// Read the credentials anew, and see whether AWS takes them.
    Renew,
    /// Read the profiles of the AWS configuration files.
    LoadProfiles,
    /// Ask who the credentials belong to, and until when they last.
    Identify,
    /// Follow this job in the journal, with its dead letters when asked.
    Watch {
        /// The job on screen; `None` follows only what is live.
        job: Option<JobId>,
        /// Its dead letters too.
        letters: bool,
    },
    /// Name all tables.
    ListTables(Request),
    /// Describe these tables.
    LoadTables(Request, Vec<String>),
    /// Describe one table.
    LoadTable(String),
    /// List the shards of a table's changes, for the job that replicates it.
    LoadTableShards(JobId, String),
    /// Ask CloudWatch about these tables, for this range in ms since epoch.
    LoadTableMinutes(Vec<String>, i64, i64),
    /// Read a part of a job's past closer.
    LoadPast(Request, PastQuestion),
    /// Ask CloudWatch for the lines of a chart.
    LoadChart(Request, ChartQuestion),
    /// Name all streams, and describe these; of few all.
    LoadStreams(Request, Vec<String>),
    /// Ask CloudWatch about these streams, for this range in ms since epoch.
    LoadStreamMinutes(Vec<String>, i64, i64),
    /// Something for the stream on screen.
    Stream(StreamEffect),
    /// Look at what a restore's plan is computed from: source, table and stream.
    Look(Request, Box<RestoreSpec>),
    /// Set the capacity of a table, an index or a stream, and remember what it was.
    SetCapacity {
        /// Of what.
        resource: Resource,
        /// Before, in its unit.
        from: u64,
        /// After.
        to: u64,
        /// The job whose end gives it back.
        job: Option<JobId>,
    },
    /// Set capacities back to what they were before they were raised.
    GiveBack(Vec<Bump>),
    /// Tell a worker what to do.
    Control(JobId, Control),
    /// Cap a job's items per second; `None` lifts the cap.
    SetRate(JobId, Option<f64>),
    /// Start a job as a process of its own.
    Start {
        /// What it does.
        spec: Box<Spec>,
        /// The job it belongs to.
        parent: Option<JobId>,
        /// Where it acts: where the job does that it is about. `None` is the context at hand.
        at: Option<Context>,
    },
    /// Take up a job that was interrupted or failed.
    Resume(JobId),
    /// Write a dead letter into a file that an editor opens.
    OpenLetter(JobId, i64),
    /// Give the terminal to the person's editor until it ends.
    Edit(Draft),
    /// Keep what was saved, and check it against the table.
    CheckDraft(Draft),
    /// Put dead letters of a job into their table, each only where its key is not there.
    Replay(JobId, Vec<i64>),
    /// Give a dead letter of a job up.
    Drop(JobId, i64),
    /// Read an event table.
    Playback(Request, Question),
    /// Write a file.
    Export(Export),
    /// Hand a text to the clipboards: the terminal's, and this machine's.
    Copy(String),
    /// Keep what was seen for the next time.
    Keep(Box<Inventory>),
    /// Write something into the console's memory.
    Remember(News),
    /// Stop this process as the shell's ctrl-z does.
    Suspend,
}
