//! Everything that can happen to the console.

use crossterm::event::{KeyEvent, MouseEvent};

use super::charts::TableChart;
use super::effect::{Draft, PastQuestion, PlaceId, Request};
use super::export::Export;
use super::form::Unseen;
use super::places::Connected;
use super::playback::Answer;
use super::stream::StreamMsg;
use super::theme::Background;
use crate::cloud::budget::Asked;
use crate::cloud::guard::Change;
use crate::cloud::inventory::{Shard, Stream, Table};
use crate::cloud::metrics::Point;
use crate::cloud::profiles::Profile;
use crate::cloud::streams::StreamMinutes;
use crate::cloud::{CloudError, Context};
use crate::jobs::journal::{Bump, DeadLetter, Decision, Job, Note, Sample};
use crate::jobs::plan::Facts;
use crate::jobs::{Audited, JobId};

/// What a table did, minute by minute.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TableMinutes {
    /// The table.
    pub table: String,
    /// Write capacity consumed in each minute, WCU.
    pub consumed: Vec<Point>,
    /// Writes refused in each minute.
    pub throttled: Vec<Point>,
}

/// Something happened.
#[derive(Clone, Debug)]
pub enum Msg {
    /// An answer of the context with that number, wherever the console stands by now.
    At(PlaceId, Box<Msg>),
    /// Clients were made for a context, or could not be.
    Connected(PlaceId, Result<Connected, CloudError>),
    /// Whether AWS takes the credentials again.
    Renewed(Result<(), CloudError>),
    /// The profiles of the AWS configuration files.
    Profiles(Result<Vec<Profile>, CloudError>),
    /// The terminal told its background.
    Background(Background),
    /// A key was pressed.
    Key(KeyEvent),
    /// The mouse was moved, pressed or turned.
    Mouse(MouseEvent),
    /// Text was pasted.
    Paste(String),
    /// The terminal has another size: everything is drawn again.
    Resized,
    /// Time went on.
    Tick {
        /// Now, ms since epoch.
        now_ms: i64,
        /// Questions to AWS that had their turn so far.
        questions: u64,
    },
    /// Who the credentials belong to.
    Account(Result<String, CloudError>),
    /// When the credentials expire, ms since epoch; `None` for ones that don't.
    CredentialsExpire(Option<i64>),
    /// What was asked of AWS so far, and how many questions a second the budget allows.
    Api(Asked, f64),
    /// Names of all tables of the context, sorted, asked for by that request.
    TableNames(Request, Result<Vec<String>, CloudError>),
    /// Tables described, asked for by that request; one that is gone meanwhile is left out.
    Tables(Request, Result<Vec<Table>, CloudError>),
    /// One table, described again.
    Table(Result<Table, CloudError>),
    /// CloudWatch on tables.
    TableMinutes(Result<Vec<TableMinutes>, CloudError>),
    /// The lines of a chart, asked for by that request.
    Chart(Request, Result<TableChart, CloudError>),
    /// The streams of the context, asked for by that request.
    Streams(Request, Result<Vec<Stream>, CloudError>),
    /// Something about the stream on screen.
    Stream(StreamMsg),
    /// CloudWatch on streams.
    StreamMinutes(Result<Vec<StreamMinutes>, CloudError>),
    /// The journal changed: its jobs, newest first, and the capacity to give back.
    Jobs(Vec<Job>, Vec<Bump>),
    /// New samples of a job, oldest first, and the time between them, ms.
    Samples(JobId, Vec<Sample>, i64),
    /// A part of a job's past, read closer, asked for by that request.
    Past(Request, PastQuestion, Result<Vec<Sample>, String>),
    /// New notes of a job, oldest first.
    Notes(JobId, Vec<Note>),
    /// Dead letters of a job, from the first on, and how many there are.
    Letters(JobId, Vec<DeadLetter>, u64),
    /// What autoscalers decided last, oldest first.
    Decisions(Vec<Decision>),
    /// The shards of the table that a job replicates.
    TableShards(JobId, Result<Vec<Shard>, CloudError>),
    /// How far the audit of a replica is, and what it found.
    Audited(JobId, Audited),
    /// What a verify found to differ: the first lines of its list.
    Differences(JobId, Vec<String>),
    /// A dead letter is in a file, to be edited.
    Draft(Draft),
    /// The editor ended: what was saved is to be kept.
    Edited(Draft),
    /// The journal could not be read; its words say why and what to do.
    JournalLost(String),
    /// What a restore's plan is computed from, asked for by that request.
    Looked(Request, Result<Box<Facts>, Unseen>),
    /// A job was started.
    Started(JobId),
    /// A read of an event table, asked for by that request.
    Playback(Request, Result<Answer, CloudError>),
    /// Something asked for was done, in words.
    Done(String),
    /// Something was done that changes nothing in AWS, in words.
    Told(String),
    /// The file that was to be written is there already.
    FileExists(Box<Export>),
    /// Something asked for was not done, in words.
    Refused(String),
    /// Dry run: this would have been sent, and where.
    WouldSend(Change, Context),
    /// Dry run: this would have been done: its title, and what it is in lines.
    WouldDo(String, Vec<String>),
    /// The process is told to end.
    Shutdown,
}
