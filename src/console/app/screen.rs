//! What is on screen, and what lies over it.

use tui_input::Input;

use super::Text;
use crate::capacity::Resource;
use crate::console::confirm::Confirm;
use crate::console::context::Picker;
use crate::console::palette::Palette;
use crate::console::words::{Reading, Words};
use crate::jobs::JobId;

/// What is on screen below the overlay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Screen {
    /// The list of tables.
    Tables,
    /// The list of streams, with the shards of the selected one.
    Streams,
    /// The list of jobs.
    Jobs,
    /// One table.
    Table(String),
    /// One job.
    Job(JobId),
    /// The dead letters of a job.
    Dead(JobId),
    /// The restore form.
    Restore,
    /// An autoscaler: its rules and what it decided last.
    Autoscale(JobId),
    /// The backup form.
    Backup,
    /// The form that starts a replica.
    Replica,
    /// The list of event tables.
    EventTables,
    /// The scrubber of an event table.
    Playback,
    /// The form that sends a range of events on.
    Replay,
    /// A stream with its shards.
    Stream(String),
    /// The event source mappings of a stream.
    Mappings(String),
    /// A tail of a stream, or of one of its shards.
    Tail(String, Option<String>),
}

/// What lies over the screen.
#[derive(Clone, Debug)]
pub enum Overlay {
    /// Every key that works here.
    Help(Reading),
    /// What the words on screen mean.
    Words(Box<Words>),
    /// A line, and what it could mean.
    Palette(Box<Palette>),
    /// Something to read.
    Text(Text),
    /// A question.
    Confirm(Box<Confirm>),
    /// A line that is typed.
    Prompt(Prompt),
    /// The choice of profile and regions.
    Contexts(Box<Picker>),
}

/// A line that is typed below the screen.
#[derive(Clone, Debug)]
pub struct Prompt {
    /// What for.
    pub purpose: Purpose,
    /// What was typed.
    pub input: Input,
    /// What is wrong with it.
    pub error: Option<String>,
}

/// What a typed line is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Which rows the list shows.
    Filter,
    /// The cap of a job's items per second.
    Rate(JobId),
    /// A capacity, in the resource's unit.
    Capacity(Resource),
    /// A moment that the playhead goes to.
    Moment,
    /// Which events are shown.
    EventFilter,
    /// How long records of a stream stay, hours.
    Retention(String),
    /// The file that the view, or its picture, is written to.
    Export,
}
