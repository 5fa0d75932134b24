//! Does what the screens of streams ask for.

use std::time::Duration;

use tokio::sync::mpsc::Sender;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::effect::Request;
use super::hands::Hands;
use super::msg::Msg;
use super::stream::{StreamEffect, StreamMsg, TAIL, TAIL_FROM, TailLine, TailNews, TailQuestion};
use crate::cloud::inventory::{self, Stream};
use crate::cloud::mappings::{self, Mapping};
use crate::cloud::{Class, Cloud, CloudError, streams};
use crate::flow::tail::{Seen, Tail};
use crate::jobs::journal::now_ms;

/// Characters of a record's one line, and bytes of all of it, that are shown.
const SHOWN: (usize, usize) = (240, 16 * 1024);

impl Hands {
    /// Begins it, without waiting.
    pub(super) fn perform_stream(&mut self, effect: StreamEffect) {
        match effect {
            StreamEffect::Load(request, name) => self.ask(move |cloud| async move {
                Msg::Stream(StreamMsg::Described(request, described(&cloud, &name).await.map(Box::new)))
            }),
            StreamEffect::LoadMappings(request, arn) => self.ask(move |cloud| async move {
                Msg::Stream(StreamMsg::Mappings(request, mappings_with_ages(&cloud, &arn).await))
            }),
            StreamEffect::LoadChart(request, name, (from_ms, to_ms), period_s) => self.ask(move |cloud| async move {
                let lines = streams::periods(&cloud, vec![name], from_ms, to_ms, period_s).await;
                let lines = lines.map(|mut all| all.pop().unwrap_or_default());
                Msg::Stream(StreamMsg::Chart(request, lines, i64::from(period_s) * 1000))
            }),
            StreamEffect::LoadRates(stream, shards) => self.ask(move |cloud| async move {
                let rates = streams::shard_rates(&cloud, &stream, shards, now_ms()).await;
                Msg::Stream(StreamMsg::Rates(stream, rates))
            }),
            StreamEffect::SetRetention { stream, from, to } => self.ask(move |cloud| async move {
                let done = streams::set_retention(&cloud, &stream, from, to).await;
                told(done, format!("records of {stream} stay {to} hours from now on"))
            }),
            StreamEffect::SetMapping { uuid, function, enabled } => self.ask(move |cloud| async move {
                let done = mappings::set_enabled(&cloud, &uuid, enabled).await;
                told(done, format!("{function} is told to {}", if enabled { "go on" } else { "pause" }))
            }),
            StreamEffect::Tail(request, question) => {
                self.stop_tail();
                let stop = CancellationToken::new();
                self.tail = Some(stop.clone());
                let (cloud, to) = (self.cloud.clone(), self.to.clone());
                tokio::spawn(async move { follow(&cloud, request, &question, &stop, &to).await });
            }
            StreamEffect::StopTail => self.stop_tail(),
        }
    }

    fn stop_tail(&mut self) {
        if let Some(stop) = self.tail.take() {
            stop.cancel();
        }
    }
}

fn told(done: Result<(), CloudError>, words: String) -> Msg {
    match done {
        Ok(()) => Msg::Done(words),
        // The witness has shown the request already.
        Err(error) if error.class == Class::DryRun => Msg::Resized,
        Err(error) => Msg::Refused(error.to_string()),
    }
}

async fn described(
    cloud: &Cloud,
    name: &str,
) -> Result<(Stream, Option<std::collections::HashSet<String>>), CloudError> {
    let stream = inventory::stream(cloud, name).await?;
    let has_closed = stream.shards.iter().any(|shard| !shard.open);
    let readable = if has_closed { Some(streams::readable(cloud, name).await?) } else { None };
    Ok((stream, readable))
}

async fn mappings_with_ages(cloud: &Cloud, arn: &str) -> Result<Vec<(Mapping, Option<f64>)>, CloudError> {
    let all = mappings::list(cloud, arn).await?;
    if all.is_empty() {
        return Ok(Vec::new());
    }
    let functions: Vec<String> = all.iter().map(|mapping| mapping.function().to_owned()).collect();
    // Without CloudWatch the list is still a list.
    let ages = mappings::iterator_ages(cloud, &functions, now_ms()).await.unwrap_or_default();
    Ok(all.into_iter().enumerate().map(|(i, mapping)| (mapping, ages.get(i).copied().flatten())).collect())
}

/// Follows a stream until it is told to stop, or has cost enough.
async fn follow(cloud: &Cloud, request: Request, question: &TailQuestion, stop: &CancellationToken, to: &Sender<Msg>) {
    let news = |news| Msg::Stream(StreamMsg::Tail(request, news));
    let (stream, shard) = (question.stream.as_str(), question.shard.as_deref());
    let opened = match &question.positions {
        Some(positions) => Ok(Tail::resume(cloud, stream, shard, positions.clone())),
        None => Tail::open(cloud, stream, shard, &TAIL_FROM).await,
    };
    let mut tail = match opened {
        Ok(tail) => tail,
        Err(error) => {
            drop(to.send(news(TailNews::Ended(error.to_string(), Vec::new()))).await);
            return;
        }
    };
    drop(to.send(news(TailNews::Began(tail.shards(), tail.unfollowed))).await);
    let end = Instant::now() + Duration::from_millis(TAIL.0.unsigned_abs());
    let (mut left, mut dropped) = (TAIL.1, 0_u64);
    let why = loop {
        let records = tokio::select! {
            () = stop.cancelled() => break "stopped".to_owned(),
            () = tokio::time::sleep_until(end) => break format!("stopped by itself after {} s", TAIL.0 / 1000),
            records = tail.next() => records,
        };
        let lines: Vec<TailLine> = match records {
            Ok(Some(records)) => records.iter().map(line).collect(),
            Ok(None) => break "the shard is closed: that was its last record".to_owned(),
            Err(error) => break error.to_string(),
        };
        let count = lines.len() as u64;
        left = left.saturating_sub(count);
        if count > 0 {
            // A console that is busy drawing loses records of a tail rather than being held up by them.
            match to.try_send(news(TailNews::Records(lines, dropped))) {
                Ok(()) => dropped = 0,
                Err(_) => dropped += count,
            }
        }
        if left == 0 {
            break format!("stopped by itself after {} records", TAIL.1);
        }
    };
    drop(to.send(news(TailNews::Ended(why, tail.positions()))).await);
}

/// A record as the screen has it.
pub(super) fn line(seen: &Seen) -> TailLine {
    TailLine {
        shard: seen.shard.clone(),
        sequence: seen.sequence.0.clone(),
        arrived_us: seen.arrived_us,
        partition_key: seen.partition_key.clone(),
        data: seen.data.clone(),
        kind: seen.what.kind(),
        line: seen.what.line(SHOWN.0),
        pretty: seen.what.pretty(SHOWN.1),
    }
}
