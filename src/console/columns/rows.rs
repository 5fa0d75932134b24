//! Where the value of each column of a row comes from.

use std::borrow::Cow;

use crate::cloud::inventory::{Shard, Stream, Table};
use crate::cloud::mappings::Mapping;
use crate::cloud::streams::{self, Birth, Life, Relative};
use crate::console::app::App;
use crate::console::effect::PlaceId;
use crate::console::filter::{Row, Value};
use crate::console::load::{StreamLoad, TableRow};
use crate::console::stream::{Leases, Readings};
use crate::console::view;
use crate::event::Layout;
use crate::jobs::journal::Job;

impl TableRow<'_> {
    /// What tells it from the other rows.
    pub fn key(&self) -> Cow<'_, str> {
        key(self.name, self.region, self.is_here)
    }
}

/// In the context at hand a name is enough; names hold no slash.
fn key<'a>(name: &'a str, region: &str, is_here: bool) -> Cow<'a, str> {
    if is_here { Cow::Borrowed(name) } else { Cow::Owned(format!("{region}/{name}")) }
}

/// What a filter without a field looks at: the region too, where there are several.
fn name_in<'a>(name: &'a str, region: &str) -> Cow<'a, str> {
    if region.is_empty() { Cow::Borrowed(name) } else { Cow::Owned(format!("{name} {region}")) }
}

impl Row for TableRow<'_> {
    fn text(&self) -> Cow<'_, str> {
        name_in(self.name, self.region)
    }

    fn value(&self, field: &str) -> Value<'_> {
        if field == "name" {
            return Value::text(self.name);
        }
        if field == "region" {
            return Value::text(self.region);
        }
        let Some(table) = self.table else { return Value::Unknown };
        let provisioned = table.provisioned.map(|p| p.write as f64);
        let measured = |value: Value<'static>| if self.is_measured() { value } else { Value::Unknown };
        match field {
            "status" => Value::text(&table.status),
            "items" => Value::Number(table.items as f64),
            "size" => Value::Number(table.bytes as f64),
            "used" => measured(Value::Number(self.used())),
            "provisioned" => Value::number(provisioned),
            "share" => measured(Value::number(provisioned.filter(|p| *p > 0.0).map(|p| self.used() * 100.0 / p))),
            "peak" => measured(Value::number(self.load().recent.iter().flatten().copied().reduce(f64::max))),
            "throttled" => measured(Value::Number(self.throttled())),
            "stream" => match table.stream.as_deref() {
                Some(view) => {
                    Value::Texts(vec![view::tables::stream_word(Some(view)).into(), "on".into(), view.into()])
                }
                None => Value::Texts(vec!["off".into(), "none".into(), "-".into()]),
            },
            "billing" => billing(provisioned.is_none()),
            "index" => Value::Texts(table.indexes.iter().map(|index| index.name.as_str().into()).collect()),
            _ => Value::Nothing,
        }
    }
}

/// A row of which nothing but its name is known.
#[derive(Clone, Copy, Debug)]
pub struct Named<'a>(pub &'a str);

impl Row for Named<'_> {
    fn text(&self) -> Cow<'_, str> {
        self.0.into()
    }

    fn value(&self, field: &str) -> Value<'_> {
        if field == "name" { Value::text(self.0) } else { Value::Unknown }
    }
}

/// How capacity is billed, as people spell it.
fn billing(is_on_demand: bool) -> Value<'static> {
    let words: &[&'static str] =
        if is_on_demand { &["on demand", "ondemand", "on_demand", "on-demand"] } else { &["provisioned"] };
    Value::Texts(words.iter().map(|word| Cow::Borrowed(*word)).collect())
}

/// A row of the list of streams.
#[derive(Clone, Copy, Debug)]
pub struct StreamRow<'a> {
    /// The stream.
    pub stream: &'a Stream,
    /// Its region, where the list holds several.
    pub region: &'a str,
    /// Its context.
    pub place: PlaceId,
    /// That is the one at hand.
    pub is_here: bool,
    /// CloudWatch was asked about it lately.
    pub is_measured: bool,
    /// What it bears now.
    pub load: StreamLoad,
}

impl StreamRow<'_> {
    /// What tells it from the other rows.
    pub fn key(&self) -> Cow<'_, str> {
        key(&self.stream.name, self.region, self.is_here)
    }
}

impl Row for StreamRow<'_> {
    fn text(&self) -> Cow<'_, str> {
        name_in(&self.stream.name, self.region)
    }

    fn value(&self, field: &str) -> Value<'_> {
        let Self { stream, load, .. } = self;
        let name = &stream.name;
        if field == "name" {
            return Value::text(name);
        }
        if field == "region" {
            return Value::text(self.region);
        }
        // Of a stream that was not on screen, neither its description nor its minutes are known.
        if stream.status.is_empty() {
            return Value::Unknown;
        }
        let measured = |value: Option<f64>| match value {
            Some(value) => Value::Number(value),
            None if self.is_measured => Value::Nothing,
            None => Value::Unknown,
        };
        match field {
            "status" => Value::text(&stream.status),
            "mode" => billing(stream.mode == "ON_DEMAND"),
            "shards" => Value::Number(stream.open_shards() as f64),
            "kept" => Value::Number(f64::from(stream.retention_hours) * 3_600_000.0),
            "records" => measured(load.records),
            "bytes" => measured(load.bytes),
            "read" => measured(load.read),
            "lag" => measured(load.lag_ms.map(|ms| ms as f64)),
            "fanout" => Value::Number(f64::from(stream.consumers)),
            _ => Value::Nothing,
        }
    }
}

/// A row of a stream's screen.
#[derive(Clone, Copy, Debug)]
pub struct ShardRow<'a> {
    /// Where it stands in the family.
    pub relative: &'a Relative,
    /// The shard.
    pub shard: &'a Shard,
    /// Whether it still gives and takes records.
    pub life: Life,
    /// Records put a second, where CloudWatch has them.
    pub rate: Option<f64>,
    /// What our jobs say of the stream's shards.
    pub readings: &'a Readings<'a>,
    /// Who has shards that several hosts share.
    pub leases: &'a Leases<'a>,
}

impl Row for ShardRow<'_> {
    fn text(&self) -> Cow<'_, str> {
        self.shard.id.as_str().into()
    }

    fn value(&self, field: &str) -> Value<'_> {
        let reading = || self.readings.get(&self.shard.id);
        match field {
            "family" => Value::Texts(vec![self.shard.id.as_str().into(), streams::short(&self.shard.id).into()]),
            "by" => Value::text(match self.relative.birth {
                Birth::First => "first",
                Birth::Split => "split",
                Birth::Merge => "merged",
            }),
            "state" => Value::text(self.life.as_str()),
            "keys" => Value::Number(streams::share(self.shard) * 100.0),
            "in" => Value::number(self.rate),
            "read" => Value::number(reading().and_then(|reading| reading.per_second)),
            "lag" => Value::number(reading().map(|reading| reading.lag_ms as f64)),
            "holder" => match App::holder(self.shard, self.readings, self.leases) {
                nobody if nobody == "-" => Value::Nothing,
                holder => Value::Text(holder.into()),
            },
            _ => Value::Nothing,
        }
    }
}

pub struct MappingRow<'a>(pub &'a (Mapping, Option<f64>));

impl Row for MappingRow<'_> {
    fn text(&self) -> Cow<'_, str> {
        let mapping = &self.0.0;
        format!("{} {} {}", mapping.function(), mapping.state, mapping.last_result).into()
    }

    fn value(&self, field: &str) -> Value<'_> {
        let (mapping, age) = self.0;
        match field {
            "function" => Value::text(mapping.function()),
            "state" => Value::text(&mapping.state),
            "result" => Value::text(&mapping.last_result),
            "batch" => Value::Number(f64::from(mapping.batch_size)),
            "parallel" => Value::Number(f64::from(mapping.parallelization)),
            // For ever is more than any number.
            "retries" => Value::Number(mapping.retries.map_or(f64::INFINITY, f64::from)),
            "age" => Value::number(*age),
            _ => Value::Nothing,
        }
    }
}

/// A row of the list of jobs.
#[derive(Clone, Copy, Debug)]
pub struct JobRow<'a> {
    /// What is known.
    pub app: &'a App,
    /// The job.
    pub job: &'a Job,
}

impl Row for JobRow<'_> {
    fn text(&self) -> Cow<'_, str> {
        let job = self.job;
        format!("{} {} {} {}", job.id, job.kind(), job.spec.title(), job.state.as_str()).into()
    }

    fn value(&self, field: &str) -> Value<'_> {
        let Self { app, job } = self;
        let begun_ms = job.started_ms.unwrap_or(job.created_ms);
        match field {
            "started" => Value::Number(begun_ms as f64),
            "age" => Value::Number((app.now_ms - begun_ms).max(0) as f64),
            "job" => Value::text(&job.id.0),
            "state" => Value::text(job.state.as_str()),
            "what" => Value::Text(job.spec.title().into()),
            "kind" => Value::Text(job.kind().to_string().into()),
            "table" => {
                let mut tables = [job.spec.table_here(), job.spec.table()].map(Cow::Borrowed).to_vec();
                tables.retain(|table| !table.is_empty());
                if tables.is_empty() { Value::Nothing } else { Value::Texts(tables) }
            }
            "stream" => job.spec.reads_stream().map_or(Value::Nothing, Value::text),
            _ => {
                let progress = app.progress(job);
                match field {
                    "done" => {
                        let total = progress.total.filter(|total| *total > 0);
                        Value::number(total.map(|total| progress.settled as f64 * 100.0 / total as f64))
                    }
                    "rate" => Value::number(progress.per_second),
                    "left" => Value::number(progress.left_ms),
                    "dead" => Value::Number(progress.counters.dead as f64),
                    "read" => Value::Number(progress.counters.read as f64),
                    "written" => Value::Number(progress.counters.written as f64),
                    "throttled" => Value::Number(progress.counters.throttled as f64),
                    _ => Value::Nothing,
                }
            }
        }
    }
}

pub struct EventRow<'a> {
    pub table: &'a Table,
    pub layout: Layout,
}

impl Row for EventRow<'_> {
    fn text(&self) -> Cow<'_, str> {
        self.table.name.as_str().into()
    }

    fn value(&self, field: &str) -> Value<'_> {
        match field {
            "name" => Value::text(&self.table.name),
            "layout" => Value::Text(self.layout.to_string().into()),
            "items" => Value::Number(self.table.items as f64),
            "size" => Value::Number(self.table.bytes as f64),
            _ => Value::Nothing,
        }
    }
}
