//! Which chord does what, where. The shipped `keymap.toml` is embedded; a user's file overlays it. Help, footer and
//! `sluice keymap` are made from this one map.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crossterm::event::KeyEvent;
use toml::Spanned;

use super::chord::{Chord, Sequence, nearest, spelt};

const SHIPPED: &str = include_str!("../../keymap.toml");

/// Where a binding holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// Everywhere, unless the screen binds the chord itself.
    Global,
    /// The list of tables.
    Tables,
    /// The list of streams.
    Streams,
    /// The list of jobs.
    Jobs,
    /// One table.
    Table,
    /// One job.
    Job,
    /// The dead letters of a job.
    Dead,
    /// A form: plain characters are typed.
    Form,
    /// A line that is typed: filter, rate, name.
    Prompt,
    /// A question.
    Confirm,
    /// A form that was filled in and is looked at once more.
    Review,
    /// The autoscaler's rules and decisions.
    Autoscale,
    /// The list of event tables.
    EventTables,
    /// The scrubber of an event table.
    Playback,
    /// One stream and its shards.
    Stream,
    /// The event source mappings of a stream.
    Mappings,
    /// A tail of a stream.
    Tail,
    /// The choice of profile and regions: plain characters are typed, but for space.
    Contexts,
    /// The palette: plain characters are typed.
    Palette,
    /// Help and words.
    Reading,
}

/// What a key does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each is explained by its line in BINDABLE, which the help shows")]
pub enum Action {
    Quit,
    Help,
    Back,
    Tables,
    Streams,
    Jobs,
    NextScreen,
    PreviousScreen,
    Up,
    Down,
    PageUp,
    PageDown,
    First,
    Last,
    Refresh,
    Suspend,
    Open,
    Restore,
    Backup,
    Replicate,
    Repair,
    Raise,
    Lower,
    GiveBack,
    SetCapacity,
    Indexes,
    Autoscale,
    Sort,
    SortBack,
    SortReverse,
    Filter,
    Pause,
    Cancel,
    Rate,
    Dead,
    Edit,
    Replay,
    ReplayAll,
    Drop,
    Verify,
    Log,
    Zoom,
    ZoomIn,
    Freeze,
    PanBack,
    PanOn,
    Live,
    Crosshair,
    PointBack,
    PointOn,
    AnomalyBack,
    AnomalyOn,
    Anomalies,
    Mappings,
    Tail,
    TailAll,
    GoOn,
    Retention,
    Next,
    Previous,
    Accept,
    Yes,
    No,
    EventTables,
    Playback,
    Play,
    PreviousEvent,
    NextEvent,
    PreviousSlot,
    NextSlot,
    RangeFrom,
    RangeTo,
    RangeClear,
    Slower,
    Faster,
    GoTo,
    Detail,
    Send,
    Export,
    Contexts,
    Mark,
    ExportView,
    Report,
    Picture,
    Copy,
    CopyWhole,
    Mouse,
    Palette,
    Complete,
    Words,
    Bookmark,
    Bookmarks,
    Older,
    Newer,
}

/// Something that can be bound.
#[derive(Debug)]
struct Bindable {
    scope: Scope,
    name: &'static str,
    action: Action,
    /// In the footer; empty leaves it out.
    short: &'static str,
    help: &'static str,
}

const fn bindable(
    scope: Scope,
    name: &'static str,
    action: Action,
    short: &'static str,
    help: &'static str,
) -> Bindable {
    Bindable { scope, name, action, short, help }
}

/// Everything that can be bound, in the order of footer and help.
const BINDABLE: &[Bindable] = &[
    bindable(Scope::Tables, "open", Action::Open, "open", "the table's charts, capacity and indexes"),
    bindable(Scope::Tables, "restore", Action::Restore, "restore into", "restore a backup into the table"),
    bindable(Scope::Tables, "backup", Action::Backup, "back up", "write the table into files"),
    bindable(Scope::Tables, "replicate", Action::Replicate, "replicate", "keep a replica of the table"),
    bindable(Scope::Tables, "raise", Action::Raise, "more", "raise the table's write capacity by a step"),
    bindable(Scope::Tables, "lower", Action::Lower, "less", "lower the table's write capacity by a step"),
    bindable(Scope::Tables, "give_back", Action::GiveBack, "give back", "set the capacity back to what it was"),
    bindable(Scope::Tables, "set", Action::SetCapacity, "set", "type the table's write capacity"),
    bindable(Scope::Tables, "filter", Action::Filter, "filter", "words, !not, column>value: which rows are shown"),
    bindable(Scope::Tables, "sort", Action::Sort, "sort", "sort by the next column"),
    bindable(Scope::Tables, "sort_back", Action::SortBack, "", "sort by the column before"),
    bindable(Scope::Tables, "sort_reverse", Action::SortReverse, "", "sort the other way round"),
    bindable(
        Scope::Tables,
        "playback",
        Action::Playback,
        "",
        "scrub through the table's events, if it is an event table",
    ),
    bindable(Scope::EventTables, "open", Action::Open, "open", "scrub through the table's events"),
    bindable(Scope::EventTables, "filter", Action::Filter, "filter", "words, !not, column>value: which rows are shown"),
    bindable(Scope::EventTables, "sort", Action::Sort, "sort", "sort by the next column"),
    bindable(Scope::EventTables, "sort_back", Action::SortBack, "", "sort by the column before"),
    bindable(Scope::EventTables, "sort_reverse", Action::SortReverse, "", "sort the other way round"),
    bindable(Scope::Playback, "play", Action::Play, "play", "play from the playhead on, or stop"),
    bindable(Scope::Playback, "previous_event", Action::PreviousEvent, "event back", "the event before"),
    bindable(Scope::Playback, "next_event", Action::NextEvent, "event", "the next event"),
    bindable(Scope::Playback, "previous_slot", Action::PreviousSlot, "slot back", "the slot before that has events"),
    bindable(Scope::Playback, "next_slot", Action::NextSlot, "slot", "the next slot that has events"),
    bindable(Scope::Playback, "range_from", Action::RangeFrom, "range from", "the range starts at the playhead"),
    bindable(Scope::Playback, "range_to", Action::RangeTo, "to", "the range ends at the playhead"),
    bindable(Scope::Playback, "range_clear", Action::RangeClear, "", "no range"),
    bindable(Scope::Playback, "slower", Action::Slower, "slower", "play slower, down to ×0.1"),
    bindable(Scope::Playback, "faster", Action::Faster, "faster", "play faster, up to ×1000 and max"),
    bindable(Scope::Playback, "zoom", Action::Zoom, "wider", "a wider window, up to a year"),
    bindable(Scope::Playback, "zoom_in", Action::ZoomIn, "narrower", "a narrower window, down to a second"),
    bindable(Scope::Playback, "go_to", Action::GoTo, "go to", "type the time that the playhead goes to"),
    bindable(Scope::Playback, "filter", Action::Filter, "filter", "only events whose key or payload contains a text"),
    bindable(Scope::Playback, "detail", Action::Detail, "whole event", "everything about the event at the playhead"),
    bindable(Scope::Playback, "send", Action::Send, "replay range to", "put the range onto a stream, or into a file"),
    bindable(Scope::Playback, "export", Action::Export, "export", "write the range into a file"),
    bindable(Scope::Table, "backup", Action::Backup, "back up", "write the table into files"),
    bindable(Scope::Table, "replicate", Action::Replicate, "replicate", "keep a replica of the table"),
    bindable(Scope::Table, "raise", Action::Raise, "more", "raise the write capacity of the selected row by a step"),
    bindable(Scope::Table, "lower", Action::Lower, "less", "lower the write capacity of the selected row by a step"),
    bindable(Scope::Table, "set", Action::SetCapacity, "set", "type the write capacity of the selected row"),
    bindable(Scope::Table, "give_back", Action::GiveBack, "give back", "set the capacity back to what it was"),
    bindable(Scope::Table, "restore", Action::Restore, "restore into", "restore a backup into the table"),
    bindable(Scope::Table, "zoom", Action::Zoom, "wider", "a wider window, up to 15 days"),
    bindable(Scope::Table, "zoom_in", Action::ZoomIn, "narrower", "a narrower window, down to one minute"),
    bindable(Scope::Table, "freeze", Action::Freeze, "freeze", "hold the charts still; collecting goes on"),
    bindable(Scope::Table, "live", Action::Live, "", "back to now, or to the whole run of a job that has ended"),
    bindable(Scope::Table, "pan_back", Action::PanBack, "", "half a window back"),
    bindable(Scope::Table, "pan_on", Action::PanOn, "", "half a window on"),
    bindable(
        Scope::Table,
        "crosshair",
        Action::Crosshair,
        "crosshair",
        "mark a moment in every chart, and show its values",
    ),
    bindable(Scope::Table, "point_back", Action::PointBack, "", "the crosshair a point back"),
    bindable(Scope::Table, "point_on", Action::PointOn, "", "the crosshair a point on"),
    bindable(Scope::Table, "anomaly_back", Action::AnomalyBack, "", "the crosshair to what stands out before it"),
    bindable(Scope::Table, "anomaly_on", Action::AnomalyOn, "", "the crosshair to what stands out next"),
    bindable(Scope::Table, "anomalies", Action::Anomalies, "", "a list of all that stands out"),
    bindable(Scope::Table, "open", Action::Open, "exact", "exact numbers, key, indexes and stream of the table"),
    bindable(Scope::Streams, "open", Action::Open, "shards", "the stream's shards, as a family"),
    bindable(Scope::Streams, "tail", Action::TailAll, "tail", "look at its records as they arrive; costs reads"),
    bindable(Scope::Streams, "mappings", Action::Mappings, "lambda", "the Lambda functions that read it"),
    bindable(Scope::Streams, "raise", Action::Raise, "more", "raise the number of shards by a step"),
    bindable(Scope::Streams, "lower", Action::Lower, "less", "lower the number of shards by a step"),
    bindable(Scope::Streams, "set", Action::SetCapacity, "set", "type the number of shards"),
    bindable(Scope::Streams, "give_back", Action::GiveBack, "give back", "set the shards back to what they were"),
    bindable(Scope::Streams, "filter", Action::Filter, "filter", "words, !not, column>value: which rows are shown"),
    bindable(Scope::Streams, "sort", Action::Sort, "sort", "sort by the next column"),
    bindable(Scope::Streams, "sort_back", Action::SortBack, "", "sort by the column before"),
    bindable(Scope::Streams, "sort_reverse", Action::SortReverse, "", "sort the other way round"),
    bindable(Scope::Streams, "retention", Action::Retention, "", "change how long its records stay"),
    bindable(Scope::Stream, "open", Action::Open, "exact", "the selected shard: hash keys, parents, who has it"),
    bindable(Scope::Stream, "tail", Action::Tail, "tail", "look at the shard's records as they arrive; costs reads"),
    bindable(Scope::Stream, "tail_all", Action::TailAll, "tail all", "the same with every shard of the stream"),
    bindable(Scope::Stream, "mappings", Action::Mappings, "lambda", "the Lambda functions that read the stream"),
    bindable(Scope::Stream, "raise", Action::Raise, "more", "raise the number of shards by a step"),
    bindable(Scope::Stream, "lower", Action::Lower, "less", "lower the number of shards by a step"),
    bindable(Scope::Stream, "set", Action::SetCapacity, "set", "type the number of shards"),
    bindable(Scope::Stream, "give_back", Action::GiveBack, "give back", "set the shards back to what they were"),
    bindable(Scope::Stream, "retention", Action::Retention, "hours kept", "change how long records stay"),
    bindable(Scope::Stream, "filter", Action::Filter, "filter", "words, !not, column>value: which rows are shown"),
    bindable(Scope::Stream, "sort", Action::Sort, "sort", "sort by the next column"),
    bindable(Scope::Stream, "zoom", Action::Zoom, "", "a wider window, up to 15 days"),
    bindable(Scope::Stream, "zoom_in", Action::ZoomIn, "", "a narrower window, down to one minute"),
    bindable(Scope::Stream, "freeze", Action::Freeze, "", "hold the charts still; collecting goes on"),
    bindable(Scope::Stream, "live", Action::Live, "", "back to now"),
    bindable(Scope::Stream, "pan_back", Action::PanBack, "", "half a window back"),
    bindable(Scope::Stream, "pan_on", Action::PanOn, "", "half a window on"),
    bindable(Scope::Stream, "crosshair", Action::Crosshair, "", "mark a moment in every chart, and show its values"),
    bindable(Scope::Stream, "point_back", Action::PointBack, "", "the crosshair a point back"),
    bindable(Scope::Stream, "point_on", Action::PointOn, "", "the crosshair a point on"),
    bindable(Scope::Stream, "sort_back", Action::SortBack, "", "sort by the column before"),
    bindable(Scope::Stream, "sort_reverse", Action::SortReverse, "", "sort the other way round"),
    bindable(Scope::Mappings, "pause", Action::Pause, "pause/resume", "pause the function's reading, or let it go on"),
    bindable(Scope::Mappings, "filter", Action::Filter, "filter", "words, !not, column>value: which rows are shown"),
    bindable(Scope::Mappings, "sort", Action::Sort, "sort", "sort by the next column"),
    bindable(Scope::Mappings, "sort_back", Action::SortBack, "", "sort by the column before"),
    bindable(Scope::Mappings, "sort_reverse", Action::SortReverse, "", "sort the other way round"),
    bindable(Scope::Mappings, "open", Action::Open, "exact", "everything about the mapping"),
    bindable(Scope::Tail, "go_on", Action::GoOn, "stop/go on", "stop the tail, or let it go on where it stopped"),
    bindable(Scope::Tail, "open", Action::Open, "whole record", "the whole record, decoded"),
    bindable(Scope::Jobs, "open", Action::Open, "watch", "watch the job"),
    bindable(Scope::Jobs, "restore", Action::Restore, "restore", "start a restore"),
    bindable(Scope::Jobs, "pause", Action::Pause, "pause/resume", "pause the job, or let it go on"),
    bindable(Scope::Jobs, "cancel", Action::Cancel, "cancel", "end the job for good"),
    bindable(Scope::Jobs, "filter", Action::Filter, "filter", "words, !not, column>value: which rows are shown"),
    bindable(Scope::Jobs, "sort", Action::Sort, "sort", "sort by the next column"),
    bindable(Scope::Jobs, "sort_back", Action::SortBack, "", "sort by the column before"),
    bindable(Scope::Jobs, "sort_reverse", Action::SortReverse, "", "sort the other way round"),
    bindable(Scope::Job, "raise", Action::Raise, "more WCU", "raise the write capacity of the job's table by a step"),
    bindable(Scope::Job, "lower", Action::Lower, "less", "lower the write capacity of the job's table by a step"),
    bindable(Scope::Job, "set", Action::SetCapacity, "set", "type the write capacity of the job's table"),
    bindable(Scope::Job, "indexes", Action::Indexes, "indexes", "the capacity of the job's table and of each index"),
    bindable(Scope::Job, "give_back", Action::GiveBack, "", "set the capacity back to what it was"),
    bindable(Scope::Job, "pause", Action::Pause, "pause/resume", "pause the job, or let it go on"),
    bindable(Scope::Job, "cancel", Action::Cancel, "cancel", "end the job for good"),
    bindable(Scope::Job, "rate", Action::Rate, "rate", "cap the job's items per second"),
    bindable(Scope::Job, "dead", Action::Dead, "dead letters", "records that can never succeed, and why"),
    bindable(
        Scope::Job,
        "verify",
        Action::Verify,
        "verify",
        "compare the backup with the table, or the table with its replica",
    ),
    bindable(Scope::Job, "repair", Action::Repair, "", "repair what drifted in a replica"),
    bindable(
        Scope::Job,
        "report",
        Action::Report,
        "report",
        "write the job's report: a page, or Markdown with pictures",
    ),
    bindable(Scope::Job, "log", Action::Log, "log", "everything that happened to the job"),
    bindable(Scope::Job, "zoom", Action::Zoom, "wider", "a wider window, up to 15 days"),
    bindable(Scope::Job, "zoom_in", Action::ZoomIn, "narrower", "a narrower window, down to one minute"),
    bindable(Scope::Job, "freeze", Action::Freeze, "freeze", "hold the charts still while the job goes on"),
    bindable(Scope::Job, "live", Action::Live, "", "back to now, or to the whole run of a job that has ended"),
    bindable(Scope::Job, "pan_back", Action::PanBack, "", "half a window back"),
    bindable(Scope::Job, "pan_on", Action::PanOn, "", "half a window on"),
    bindable(
        Scope::Job,
        "crosshair",
        Action::Crosshair,
        "crosshair",
        "mark a moment in every chart, and show its values",
    ),
    bindable(Scope::Job, "point_back", Action::PointBack, "", "the crosshair a point back"),
    bindable(Scope::Job, "point_on", Action::PointOn, "", "the crosshair a point on"),
    bindable(Scope::Job, "anomaly_back", Action::AnomalyBack, "", "the crosshair to what stands out before it"),
    bindable(Scope::Job, "anomaly_on", Action::AnomalyOn, "", "the crosshair to what stands out next"),
    bindable(Scope::Job, "anomalies", Action::Anomalies, "", "a list of all that stands out"),
    bindable(Scope::Dead, "open", Action::Open, "whole record", "the whole record and where it came from"),
    bindable(
        Scope::Dead,
        "edit",
        Action::Edit,
        "edit",
        "edit the item in $VISUAL or $EDITOR; it is checked when saved",
    ),
    bindable(Scope::Dead, "replay", Action::Replay, "replay", "put the item where its key is not in the table"),
    bindable(Scope::Dead, "replay_all", Action::ReplayAll, "replay all", "the same with all letters that are shown"),
    bindable(Scope::Dead, "drop", Action::Drop, "drop", "give the letter up: it counts as skipped"),
    bindable(Scope::Dead, "filter", Action::Filter, "filter", "words, !not, column>value: which rows are shown"),
    bindable(Scope::Dead, "sort", Action::Sort, "sort", "sort by the next column"),
    bindable(Scope::Dead, "sort_back", Action::SortBack, "", "sort by the column before"),
    bindable(Scope::Dead, "sort_reverse", Action::SortReverse, "", "sort the other way round"),
    bindable(Scope::Form, "accept", Action::Accept, "review", "review, then start"),
    bindable(Scope::Form, "next", Action::Next, "next", "next field"),
    bindable(Scope::Form, "previous", Action::Previous, "previous", "previous field"),
    bindable(Scope::Form, "back", Action::Back, "leave", "leave the form; what was typed stays"),
    bindable(Scope::Prompt, "accept", Action::Accept, "accept", "take what was typed"),
    bindable(Scope::Prompt, "back", Action::Back, "leave", "leave it"),
    bindable(Scope::Autoscale, "open", Action::Open, "whole", "everything about the decision"),
    bindable(Scope::Autoscale, "pause", Action::Pause, "pause/resume", "pause the autoscaler, or let it go on"),
    bindable(Scope::Autoscale, "cancel", Action::Cancel, "cancel", "end the autoscaler for good"),
    bindable(Scope::Autoscale, "log", Action::Log, "log", "everything that happened to the job"),
    bindable(Scope::Confirm, "yes", Action::Yes, "do it", "do what is asked about"),
    bindable(Scope::Confirm, "no", Action::No, "leave it", "leave everything as it is"),
    bindable(Scope::Review, "yes", Action::Yes, "start", "start what the form says"),
    bindable(Scope::Review, "no", Action::No, "change", "go back to the form"),
    bindable(Scope::Contexts, "accept", Action::Accept, "go there", "go to the profile, in the marked regions"),
    bindable(Scope::Contexts, "next", Action::Next, "profiles/regions", "type into the other side"),
    bindable(Scope::Contexts, "mark", Action::Mark, "mark", "mark the region, to list it beside others"),
    bindable(Scope::Contexts, "back", Action::Back, "leave", "stay where the console is"),
    bindable(Scope::Palette, "accept", Action::Accept, "run", "run the line, or what is selected"),
    bindable(Scope::Palette, "complete", Action::Complete, "complete", "take the selected entry into the line"),
    bindable(Scope::Palette, "next", Action::Next, "next", "the next entry, or the line that was run after it"),
    bindable(
        Scope::Palette,
        "previous",
        Action::Previous,
        "previous",
        "the entry before, or the line that was run before",
    ),
    bindable(Scope::Palette, "back", Action::Back, "leave", "close the palette"),
    bindable(Scope::Reading, "filter", Action::Filter, "search", "show only what holds a text"),
    bindable(Scope::Global, "back", Action::Back, "back", "close what is on top, or go back"),
    bindable(Scope::Global, "help", Action::Help, "help", "this list"),
    bindable(Scope::Global, "quit", Action::Quit, "quit", "leave the console; jobs go on"),
    bindable(Scope::Global, "palette", Action::Palette, "", "find anything, and run commands with arguments"),
    bindable(Scope::Global, "words", Action::Words, "", "what the words on screen mean"),
    bindable(Scope::Global, "older", Action::Older, "", "back to what was visited before"),
    bindable(Scope::Global, "newer", Action::Newer, "", "forward again"),
    bindable(Scope::Global, "bookmark", Action::Bookmark, "", "bookmark what is selected or on screen, or no more"),
    bindable(Scope::Global, "bookmarks", Action::Bookmarks, "", "the bookmarks of this context"),
    bindable(Scope::Global, "tables", Action::Tables, "", "the list of tables"),
    bindable(Scope::Global, "streams", Action::Streams, "", "the list of streams"),
    bindable(Scope::Global, "jobs", Action::Jobs, "", "the list of jobs"),
    bindable(Scope::Global, "event_tables", Action::EventTables, "", "the list of event tables"),
    bindable(Scope::Global, "autoscale", Action::Autoscale, "", "the autoscaler's rules and last decisions"),
    bindable(Scope::Global, "next_screen", Action::NextScreen, "", "the next list"),
    bindable(Scope::Global, "previous_screen", Action::PreviousScreen, "", "the list before"),
    bindable(
        Scope::Global,
        "contexts",
        Action::Contexts,
        "",
        "go to another profile or region, or list several regions",
    ),
    bindable(Scope::Global, "up", Action::Up, "", "up"),
    bindable(Scope::Global, "down", Action::Down, "", "down"),
    bindable(Scope::Global, "page_up", Action::PageUp, "", "ten up"),
    bindable(Scope::Global, "page_down", Action::PageDown, "", "ten down"),
    bindable(Scope::Global, "first", Action::First, "", "the first row"),
    bindable(Scope::Global, "last", Action::Last, "", "the last row"),
    bindable(
        Scope::Global,
        "export",
        Action::ExportView,
        "",
        "write what the view shows into a file: CSV, JSON, SVG or text",
    ),
    bindable(Scope::Global, "picture", Action::Picture, "", "write the screen into a file as a picture"),
    bindable(Scope::Global, "copy", Action::Copy, "", "copy the selected row's name or ARN, or the text on screen"),
    bindable(
        Scope::Global,
        "copy_whole",
        Action::CopyWhole,
        "",
        "copy the whole record, or the aws command for the row",
    ),
    bindable(Scope::Global, "mouse", Action::Mouse, "", "give the mouse to the terminal, or take it back"),
    bindable(
        Scope::Global,
        "refresh",
        Action::Refresh,
        "",
        "ask AWS again now, with credentials read anew if it refused them",
    ),
    bindable(
        Scope::Global,
        "suspend",
        Action::Suspend,
        "",
        "stop the console and return to the shell; fg brings it back",
    ),
];

const SCOPES: [(&str, Scope); 20] = [
    ("global", Scope::Global),
    ("tables", Scope::Tables),
    ("table", Scope::Table),
    ("streams", Scope::Streams),
    ("stream", Scope::Stream),
    ("mappings", Scope::Mappings),
    ("tail", Scope::Tail),
    ("contexts", Scope::Contexts),
    ("jobs", Scope::Jobs),
    ("job", Scope::Job),
    ("dead", Scope::Dead),
    ("form", Scope::Form),
    ("prompt", Scope::Prompt),
    ("confirm", Scope::Confirm),
    ("review", Scope::Review),
    ("autoscale", Scope::Autoscale),
    ("palette", Scope::Palette),
    ("reading", Scope::Reading),
    ("event_tables", Scope::EventTables),
    ("playback", Scope::Playback),
];

impl Scope {
    /// As `keymap.toml` spells it.
    pub fn name(self) -> &'static str {
        SCOPES.iter().find(|(_, scope)| *scope == self).map_or("", |(name, _)| name)
    }

    /// True where plain characters are typed into a field.
    pub fn is_typed_into(self) -> bool {
        matches!(self, Self::Form | Self::Prompt | Self::Contexts | Self::Palette)
    }
}

/// What is wrong with a keymap file.
#[derive(Debug, thiserror::Error)]
pub enum KeymapError {
    /// It could not be read.
    #[error("the keymap {0} could not be read: {1}")]
    Unreadable(PathBuf, std::io::Error),
    /// It says something that can't be done.
    #[error("{path}:{line}: {reason}")]
    Wrong {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong, with the nearest name that exists.
        reason: String,
    },
}

/// One line of `sluice keymap`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Where it holds.
    pub scope: &'static str,
    /// The action's name.
    pub action: &'static str,
    /// The chords bound to it; empty when unbound.
    pub chords: Vec<String>,
    /// What it does.
    pub help: &'static str,
}

/// What a key makes of the keys before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pressed {
    /// They are bound to this.
    Act(Action),
    /// A longer sequence begins with them.
    Begun,
    /// They are bound to nothing.
    Nothing,
}

/// Sequences of chords by scope and action.
#[derive(Clone, Debug)]
pub struct Keymap {
    bound: Vec<Vec<Sequence>>,
}

type File = BTreeMap<Spanned<String>, BTreeMap<Spanned<String>, Spanned<Vec<Spanned<String>>>>>;

/// The shipped keymap, overlaid with the file at `user`.
///
/// # Errors
/// Unknown scopes, actions and chords, and chords bound twice in a scope, each with its line.
pub fn load(user: Option<&Path>) -> Result<Keymap, KeymapError> {
    let mut keymap = Keymap { bound: BINDABLE.iter().map(|_| Vec::new()).collect() };
    keymap.overlay(SHIPPED, Path::new("keymap.toml"))?;
    if let Some(path) = user {
        let text = std::fs::read_to_string(path).map_err(|error| KeymapError::Unreadable(path.to_owned(), error))?;
        keymap.overlay(&text, path)?;
    }
    Ok(keymap)
}

impl Keymap {
    fn overlay(&mut self, text: &str, path: &Path) -> Result<(), KeymapError> {
        let wrong = |span: Range<usize>, reason: String| KeymapError::Wrong {
            path: path.to_owned(),
            line: text[..span.start.min(text.len())].matches('\n').count() + 1,
            reason,
        };
        let file: File = toml::from_str(text)
            .map_err(|error| wrong(error.span().unwrap_or_default(), error.message().to_owned()))?;
        // Which bindings this file makes, and where it says so: clashes are told at the later one.
        let mut said: Vec<(usize, Range<usize>)> = Vec::new();
        for (scope_name, actions) in &file {
            let known: Vec<&str> = SCOPES.iter().map(|(name, _)| *name).collect();
            let Some((_, scope)) = SCOPES.iter().find(|(name, _)| name == scope_name.get_ref()) else {
                let near = nearest(scope_name.get_ref(), &known);
                return Err(wrong(scope_name.span(), format!("there is no scope {:?}{near}", scope_name.get_ref())));
            };
            for (name, chords) in actions {
                let Some(number) = BINDABLE.iter().position(|b| b.scope == *scope && b.name == name.get_ref()) else {
                    let known: Vec<&str> = BINDABLE.iter().filter(|b| b.scope == *scope).map(|b| b.name).collect();
                    let near = nearest(name.get_ref(), &known);
                    let reason = format!("[{}] has no action {:?}{near}", scope.name(), name.get_ref());
                    return Err(wrong(name.span(), reason));
                };
                self.bound[number].clear();
                for chord in chords.get_ref() {
                    let parsed = Sequence::parse(chord.get_ref()).map_err(|reason| wrong(chord.span(), reason))?;
                    // No profile worth finding by one, and no region, has a space in its name.
                    let is_free = *scope == Scope::Contexts && chord.get_ref() == "space";
                    if scope.is_typed_into() && parsed.is_typed() && !is_free {
                        let reason = format!("[{}] types plain characters: {parsed} can't be bound", scope.name());
                        return Err(wrong(chord.span(), reason));
                    }
                    if !self.bound[number].contains(&parsed) {
                        self.bound[number].push(parsed);
                    }
                    said.push((number, chord.span()));
                }
            }
        }
        said.sort_by_key(|(_, span)| span.start);
        for (number, span) in said.iter().rev() {
            if let Some(reason) = self.clash(*number) {
                return Err(wrong(span.clone(), reason));
            }
        }
        Ok(())
    }

    /// What is wrong with what a binding is bound to: the same as another of its scope, or the begin of a longer one.
    fn clash(&self, number: usize) -> Option<String> {
        let this = &BINDABLE[number];
        let others = || BINDABLE.iter().zip(&self.bound).enumerate();
        for sequence in &self.bound[number] {
            for (at, (other, theirs)) in others() {
                if at != number && other.scope == this.scope && theirs.contains(sequence) {
                    let (scope, a, b) = (this.scope.name(), other.name, this.name);
                    return Some(format!("[{scope}] {a} and {b} are both bound to {sequence}: unbind one with []"));
                }
                if other.scope != this.scope && other.scope != Scope::Global && this.scope != Scope::Global {
                    continue;
                }
                let begins = |a: &Sequence, b: &Sequence| b.goes_on_after(a.chords());
                let longer = theirs.iter().find(|theirs| begins(sequence, theirs) || begins(theirs, sequence));
                if let Some(theirs) = longer {
                    let (mut short, mut long) = ((this, sequence), (other, theirs));
                    if begins(theirs, sequence) {
                        (short, long) = (long, short);
                    }
                    return Some(format!(
                        "[{}] {} is bound to {}, which begins {} of [{}] {}: unbind one with []",
                        short.0.scope.name(),
                        short.0.name,
                        short.1,
                        long.1,
                        long.0.scope.name(),
                        long.0.name
                    ));
                }
            }
        }
        None
    }

    /// The bindings that hold in `scope`, its own first: global ones are left out where their characters are typed.
    fn holding(&self, scope: Scope) -> impl Iterator<Item = (&'static Bindable, &Sequence)> {
        let of = move |wanted: Scope| {
            let these = BINDABLE.iter().zip(&self.bound).filter(move |(b, _)| b.scope == wanted);
            these.flat_map(|(b, bound)| bound.iter().map(move |sequence| (b, sequence)))
        };
        let global = of(Scope::Global).filter(move |(_, s)| !(scope.is_typed_into() && s.is_typed()));
        of(scope).chain(global.filter(move |_| scope != Scope::Global))
    }

    /// What `key` does in `scope` after the chords `before`: its own binding, else the global one unless characters are
    /// typed there.
    pub fn pressed(&self, scope: Scope, before: &[Chord], key: &KeyEvent) -> Pressed {
        let mut chords = before.to_vec();
        chords.push(Chord::of(key));
        if let Some((b, _)) = self.holding(scope).find(|(_, sequence)| sequence.chords() == chords) {
            return Pressed::Act(b.action);
        }
        let is_begun = self.holding(scope).any(|(_, sequence)| sequence.goes_on_after(&chords));
        if is_begun { Pressed::Begun } else { Pressed::Nothing }
    }

    /// What can follow the chords `before`: the rest of each sequence, and the name of what it does.
    pub fn follows(&self, scope: Scope, before: &[Chord]) -> Vec<(String, String)> {
        let going_on = self.holding(scope).filter(|(_, sequence)| sequence.goes_on_after(before));
        let mut follows: Vec<(String, String)> = Vec::new();
        for (b, sequence) in going_on {
            let rest = spelt(&sequence.chords()[before.len()..]);
            if !follows.iter().any(|(known, _)| *known == rest) {
                follows.push((rest, b.name.replace('_', " ")));
            }
        }
        follows
    }

    /// What `key` does in `scope` by itself.
    #[cfg(test)]
    pub fn action(&self, scope: Scope, key: &KeyEvent) -> Option<Action> {
        match self.pressed(scope, &[], key) {
            Pressed::Act(action) => Some(action),
            _ => None,
        }
    }

    /// The first chord of `action` in `scope`, as hints name it.
    pub fn chord(&self, scope: Scope, action: Action) -> Option<String> {
        let bound = |scope| BINDABLE.iter().zip(&self.bound).find(|(b, _)| b.scope == scope && b.action == action);
        let (_, chords) = bound(scope).or_else(|| bound(Scope::Global))?;
        chords.first().map(ToString::to_string)
    }

    /// The footer of `scope`: chord and short name of each bound action.
    pub fn footer(&self, scope: Scope) -> Vec<(String, &'static str)> {
        BINDABLE
            .iter()
            .zip(&self.bound)
            .filter(|(b, _)| {
                b.scope == scope || b.scope == Scope::Global && !matches!(scope, Scope::Confirm | Scope::Review)
            })
            .filter(|(b, _)| !(scope.is_typed_into() && b.scope == Scope::Global))
            .filter(|(b, _)| !b.short.is_empty())
            .filter_map(|(b, chords)| Some((chords.first()?.to_string(), b.short)))
            .collect()
    }

    /// What the footer's entry of that short name does in `scope`.
    pub fn does(&self, scope: Scope, short: &str) -> Option<Action> {
        let named = |of: Scope| BINDABLE.iter().find(|b| b.scope == of && b.short == short).map(|b| b.action);
        named(scope).or_else(|| named(Scope::Global))
    }

    /// Every action that works in `scope`, once, its own first: name, first key, help.
    pub fn actions(&self, scope: Scope) -> Vec<(String, String, &'static str, Action)> {
        let mut actions: Vec<(String, String, &'static str, Action)> = Vec::new();
        for (b, sequence) in self.holding(scope) {
            if !actions.iter().any(|(.., known)| *known == b.action) {
                actions.push((b.name.replace('_', " "), sequence.to_string(), b.help, b.action));
            }
        }
        actions
    }

    /// Everything that can be bound, with its chords.
    pub fn rows(&self) -> Vec<Row> {
        let mut rows: Vec<Row> = BINDABLE
            .iter()
            .zip(&self.bound)
            .map(|(b, chords)| Row {
                scope: b.scope.name(),
                action: b.name,
                chords: chords.iter().map(ToString::to_string).collect(),
                help: b.help,
            })
            .collect();
        rows.sort_by_key(|row| SCOPES.iter().position(|(name, _)| *name == row.scope));
        rows
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use crossterm::event::{KeyCode, KeyModifiers};

    use super::*;

    fn with(text: &str) -> Result<Keymap, String> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        load(Some(file.path())).map_err(|e| {
            let e = e.to_string();
            e.strip_prefix(&format!("{}:", file.path().display())).unwrap_or(&e).to_owned()
        })
    }

    fn key(c: char) -> KeyEvent {
        KeyEvent::new(KeyCode::Char(c), KeyModifiers::NONE)
    }

    #[test]
    fn the_shipped_keymap_binds_every_action() {
        let keymap = load(None).unwrap();
        for row in keymap.rows() {
            assert!(!row.chords.is_empty(), "[{}] {}", row.scope, row.action);
        }
    }

    #[test]
    fn a_users_file_replaces_what_it_names_and_leaves_the_rest() {
        let keymap = with("[job]\npause = [\"space\"]\ncancel = []\n").unwrap();
        assert_eq!(keymap.action(Scope::Job, &key(' ')), Some(Action::Pause));
        assert_eq!(keymap.action(Scope::Job, &key('p')), None);
        assert_eq!(keymap.action(Scope::Job, &key('x')), None);
        assert_eq!(keymap.action(Scope::Job, &key('+')), Some(Action::Raise));
        assert_eq!(keymap.action(Scope::Job, &key('q')), Some(Action::Quit));
        assert!(!keymap.footer(Scope::Job).iter().any(|(_, name)| *name == "cancel"));
    }

    #[test]
    fn mistakes_are_told_with_their_line_and_the_nearest_name() {
        for (text, said) in [
            ("\n[jbos]\n", "2: there is no scope \"jbos\": did you mean \"jobs\"?"),
            ("[job]\n# c\npuase = [\"p\"]", "3: [job] has no action \"puase\": did you mean \"pause\"?"),
            ("[job]\npause = [\"p\", \"ctlr-p\"]", "2: \"ctlr-p\" is no chord: did you mean \"ctrl\"?"),
            ("[job]\nzoom = [\"p\"]", "2: [job] pause and zoom are both bound to p: unbind one with []"),
            (
                "[job]\nzoom = [\"1\"]\nlog = [\n \"1\"]",
                "4: [job] zoom and log are both bound to 1: unbind one with []",
            ),
            (
                "[tables]\nsort = [\"g\"]",
                "2: [tables] sort is bound to g, which begins g w of [global] words: unbind one with []",
            ),
            (
                "[job]\nlog = [\"l\", \"l x\"]",
                "2: [job] log is bound to l, which begins l x of [job] log: unbind one with []",
            ),
            ("[form]\nnext = [\"n\"]", "2: [form] types plain characters: n can't be bound"),
        ] {
            assert_eq!(with(text).unwrap_err(), said);
        }
    }

    #[test]
    fn a_sequence_waits_for_its_next_key_and_says_what_can_follow() {
        let keymap = with("[job]\npause = [\"x p\"]\ncancel = [\"x x\"]\n").unwrap();
        assert_eq!(keymap.pressed(Scope::Job, &[], &key('x')), Pressed::Begun);
        let x = [Chord::of(&key('x'))];
        assert_eq!(keymap.pressed(Scope::Job, &x, &key('p')), Pressed::Act(Action::Pause));
        assert_eq!(keymap.pressed(Scope::Job, &x, &key('q')), Pressed::Nothing);
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(keymap.follows(Scope::Job, &x), [pair("p", "pause"), pair("x", "cancel")]);
        assert_eq!(keymap.chord(Scope::Job, Action::Cancel).as_deref(), Some("x x"));
        // Where characters are typed, they begin nothing.
        assert_eq!(keymap.pressed(Scope::Form, &[], &key('g')), Pressed::Nothing);
        assert_eq!(keymap.pressed(Scope::Tables, &[], &key('g')), Pressed::Begun);
    }

    #[test]
    fn what_is_no_toml_or_of_the_wrong_type_is_told_with_its_line() {
        assert!(with("[job]\npause = \"p\"").unwrap_err().starts_with("2: "), "{:?}", with("[job]\npause = \"p\""));
        assert!(with("[job]\n\npause = [").unwrap_err().starts_with("3: "), "{:?}", with("[job]\n\npause = ["));
    }

    #[test]
    fn characters_typed_into_a_field_do_nothing_else() {
        let keymap = load(None).unwrap();
        assert_eq!(keymap.action(Scope::Form, &key('q')), None);
        assert_eq!(
            keymap.action(Scope::Form, &KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)),
            Some(Action::Quit)
        );
    }
}
