//! A tail of a stream: the newest records as they come, on a screen that a person reads.

use std::collections::VecDeque;

use bytes::Bytes;

use super::StreamEffect;
use crate::console::app::{App, Screen};
use crate::console::effect::{Effect, Request};
use crate::flow::StartAt;
use crate::flow::tail::Positions;

/// A tail stops after so long, ms, and after so many records.
pub const TAIL: (i64, u64) = (60_000, 1_000);
/// Lines of a tail that are kept, and the bytes that they may hold together.
const KEPT: (usize, usize) = (1_000, 8 * 1024 * 1024);
/// Where a tail that the console begins starts.
pub const TAIL_FROM: StartAt = StartAt::Latest;

/// What a tail looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TailQuestion {
    /// The stream.
    pub stream: String,
    /// One of its shards; `None` is all.
    pub shard: Option<String>,
    /// Where it goes on; `None` begins with the next record.
    pub positions: Option<Positions>,
}

/// What a tail tells.
#[derive(Clone, Debug)]
pub enum TailNews {
    /// It follows so many shards, and leaves out so many.
    Began(usize, usize),
    /// Records, and how many before them the console was too slow for.
    Records(Vec<TailLine>, u64),
    /// It ended: why, and where it would go on.
    Ended(String, Positions),
}

/// A record of a tail: itself, and decoded and cut to what a person reads. Nothing of it is escaped yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TailLine {
    /// Its shard.
    pub shard: String,
    /// Its place there.
    pub sequence: String,
    /// When it arrived, µs since the epoch.
    pub arrived_us: i64,
    /// Its partition key.
    pub partition_key: String,
    /// Its bytes.
    pub data: Bytes,
    /// What it is, in one word.
    pub kind: &'static str,
    /// One line of it.
    pub line: String,
    /// All of it, as far as it is shown.
    pub pretty: Vec<String>,
}

impl TailLine {
    fn weight(&self) -> usize {
        let own = self.data.len() + self.line.len() + self.partition_key.len();
        own + self.pretty.iter().map(|line| line.len() + 24).sum::<usize>()
    }
}

/// A tail on screen.
#[derive(Clone, Debug, Default)]
pub struct TailState {
    /// What it looks at.
    pub stream: String,
    /// One shard, or all.
    pub shard: Option<String>,
    request: Request,
    /// Newest last.
    pub lines: VecDeque<TailLine>,
    weight: usize,
    /// Records that came, in all.
    pub seen: u64,
    /// Records that the console was too slow for, or that gave way to newer ones.
    pub dropped: u64,
    /// Shards it follows, and shards it leaves out.
    pub shards: (usize, usize),
    /// When it began, ms since epoch.
    pub began_ms: i64,
    /// Why it stopped; `None` while it runs.
    pub ended: Option<String>,
    positions: Option<Positions>,
    /// The selected line, counted from the newest.
    pub at: usize,
}

impl TailState {
    fn take(&mut self, lines: Vec<TailLine>, dropped: u64) {
        self.seen += lines.len() as u64 + dropped;
        self.dropped += dropped;
        // The selection stays on its record.
        if self.at > 0 {
            self.at += lines.len();
        }
        for line in lines {
            self.weight += line.weight();
            self.lines.push_back(line);
        }
        while self.lines.len() > KEPT.0 || self.weight > KEPT.1 && self.lines.len() > 1 {
            if let Some(gone) = self.lines.pop_front() {
                self.weight -= gone.weight();
                self.dropped += 1;
            }
        }
        self.at = self.at.min(self.lines.len().saturating_sub(1));
    }

    /// Takes in what the tail asked for by `request` tells; what another tells is late.
    pub(super) fn told(&mut self, request: Request, news: TailNews) {
        if request != self.request || !self.is_running() {
            return;
        }
        match news {
            TailNews::Began(shards, left_out) => self.shards = (shards, left_out),
            TailNews::Records(lines, dropped) => self.take(lines, dropped),
            TailNews::Ended(why, positions) => {
                self.ended = Some(why);
                self.positions = Some(positions);
            }
        }
    }

    /// The selected record.
    pub fn selected(&self) -> Option<&TailLine> {
        self.lines.get(self.lines.len().checked_sub(self.at + 1)?)
    }

    /// True while records may come.
    pub fn is_running(&self) -> bool {
        !self.stream.is_empty() && self.ended.is_none()
    }
}

impl App {
    /// What is to be done because another screen is shown: a tail that nobody sees must cost nothing.
    pub(in crate::console) fn left_tail(&mut self) -> Option<Effect> {
        if matches!(self.screen, Screen::Tail(..)) || !self.at_stream.tail.is_running() {
            return None;
        }
        self.at_stream.tail.ended = Some("stopped".to_owned());
        Some(Effect::Stream(StreamEffect::StopTail))
    }
}

/// Begins a tail of a stream, or of one of its shards, and shows it.
pub(super) fn begin(app: &mut App, stream: String, shard: Option<String>) -> Vec<Effect> {
    let request = app.next_request();
    app.at_stream.tail = TailState {
        stream: stream.clone(),
        shard: shard.clone(),
        request,
        began_ms: app.now_ms,
        ..TailState::default()
    };
    let mut effects = app.go(Screen::Tail(stream.clone(), shard.clone()));
    effects.push(Effect::Stream(StreamEffect::Tail(request, TailQuestion { stream, shard, positions: None })));
    effects
}

/// A tail that stopped goes on where it was; one that runs is stopped.
pub(super) fn go_on(app: &mut App) -> Vec<Effect> {
    let request = app.next_request();
    let (now, tail) = (app.now_ms, &mut app.at_stream.tail);
    if tail.is_running() {
        // Its end comes with the place where it goes on.
        return vec![Effect::Stream(StreamEffect::StopTail)];
    }
    tail.request = request;
    tail.ended = None;
    tail.began_ms = now;
    let (stream, shard) = (tail.stream.clone(), tail.shard.clone());
    let positions = tail.positions.clone();
    vec![Effect::Stream(StreamEffect::Tail(request, TailQuestion { stream, shard, positions }))]
}
