//! From facts to numbers. Pure.

use std::time::Duration;

use super::sample::mean;
use super::words::{grouped, span};
use super::{Cost, Facts, IndexPlan, Partitions, Plan, Shards, Within, way};
use crate::capacity::LARGEST;
use crate::cloud::price::prices;
use crate::cloud::schema::Billing;
use crate::flow::Limit;
use crate::jobs::spec::RestoreSpec;

/// What one partition takes a second (`DynamoDB` developer guide, "Partitions"), WCU and RCU, and holds, bytes.
const PARTITION_WCU: f64 = 1_000.0;
const PARTITION_RCU: f64 = 3_000.0;
const PARTITION_BYTES: f64 = 10e9;
/// What one shard takes a second (Kinesis quotas), records and bytes.
const SHARD_RECORDS: f64 = 1_000.0;
const SHARD_BYTES: f64 = (1 << 20) as f64;
/// Put requests that our producer packs into one record while the stream is slower than the source (docs/streams.md).
const AGGREGATED: f64 = 16.0;
/// Unused capacity that a table saves up, seconds of it (`DynamoDB` developer guide, "Burst capacity").
const BURST_SECONDS: f64 = 300.0;
/// Writes a second that any on-demand table takes (FORMATS.md 4): a new one, until it has had a higher peak.
const ON_DEMAND: u64 = 4_000;

/// The units that are needed for `total` in `seconds`: the next whole number, but for the dust of binary fractions.
fn per_second(total: f64, seconds: f64) -> u64 {
    (total / seconds - 1e-6).ceil().max(0.0) as u64
}

/// What a restore takes in all, whatever the capacity.
struct Totals {
    items: f64,
    deletes: f64,
    wcu: f64,
    indexes: Vec<IndexPlan>,
    record_bytes: f64,
}

impl Totals {
    /// Puts and deletes.
    fn writes(&self) -> f64 {
        self.items + self.deletes
    }

    /// WCU of the table and of every index with capacity of its own: what is charged on demand.
    fn everywhere(&self) -> f64 {
        self.wcu + self.indexes.iter().filter(|index| !index.local).map(|index| index.wcu).sum::<f64>()
    }

    /// WCU that an index has.
    fn provisioned(&self, name: &str) -> Option<u64> {
        self.indexes.iter().find(|index| index.index == name)?.provisioned
    }
}

impl Facts {
    /// The plan of `spec` by these facts; with `within`, what it takes to be done in that time.
    pub fn plan(&self, spec: &RestoreSpec, within: Option<Duration>) -> Plan {
        let totals = self.totals();
        let (source, sample) = (&self.source, &self.source.sample);
        let provisioned = self.target.schema.billing.write();
        let (seconds, limit) = self.time(spec, &totals);
        let within = within.map(|within| self.within(spec, &totals, within.as_secs().max(1)));
        let burst_seconds = match (&limit, seconds) {
            // Saved capacity counts only where the table's own binds, and is spent at the most once.
            (Limit::Table { wcu: Some(_) }, Some(seconds)) if !spec.no_burst && spec.leave.is_none() => {
                BURST_SECONDS.min(seconds)
            }
            _ => 0.0,
        };
        let shards = self.shards(spec, &totals, within.as_ref(), seconds);
        let cost = self.cost(&totals, within.as_ref(), seconds);
        let time = within.as_ref().map(|within| within.seconds as f64).or(seconds);
        let way = way::best(self, spec, totals.writes(), time);
        let share = |count: u64| (source.records * mean(count, sample.looked_at)).round() as u64;
        let mut plan = Plan {
            kind: "plan",
            sources: spec.source.sources.clone(),
            table: spec.table.clone(),
            stream: spec.stream.clone(),
            files: source.files,
            bytes: source.bytes,
            records: source.records.round() as u64,
            items: totals.items.round() as u64,
            deletes: totals.deletes.round() as u64,
            skipped: share(sample.skipped),
            dead: share(sample.refused),
            exact: source.counted,
            sampled: !source.whole,
            looked_at: sample.looked_at,
            off_by: if source.whole { 0.0 } else { sample.wcu_off_by() },
            item_bytes: mean(sample.item_bytes, sample.puts),
            wcu_per_item: mean(sample.wcu, sample.puts),
            wcu: totals.wcu,
            provisioned,
            partitions: self.partitions(&totals, within.as_ref()),
            shards,
            seconds,
            burst_seconds,
            limit_in_words: limit.to_string(),
            limit,
            within,
            cost,
            way,
            indexes: totals.indexes,
            notes: Vec::new(),
        };
        plan.notes = self.notes(spec, &plan);
        plan
    }

    fn totals(&self) -> Totals {
        let (source, sample) = (&self.source, &self.source.sample);
        let items = source.records * mean(sample.puts, sample.looked_at);
        let deletes = source.records * mean(sample.deletes, sample.looked_at);
        // A delete costs what the item that it deletes costs, which is taken to be as large as those put.
        let writes = if sample.puts == 0 { 0.0 } else { (items + deletes) / sample.puts as f64 };
        let indexes: Vec<IndexPlan> = self
            .target
            .schema
            .indexes
            .iter()
            .zip(&sample.indexes)
            .map(|(index, counted)| IndexPlan {
                index: index.name.clone(),
                local: index.local,
                items: (items * mean(counted.entries, sample.puts)).round() as u64,
                item_bytes: mean(counted.bytes, counted.entries),
                wcu: counted.wcu as f64 * writes,
                provisioned: if index.local { None } else { index.billing.write() },
            })
            .collect();
        let bare = if sample.puts == 0 { deletes } else { sample.wcu as f64 * writes };
        let local: f64 = indexes.iter().filter(|index| index.local).map(|index| index.wcu).sum();
        Totals { items, deletes, wcu: bare + local, indexes, record_bytes: mean(sample.record_bytes, sample.puts) }
    }

    /// WCU a second that an on-demand table takes, as far as it is known.
    fn on_demand(&self) -> u64 {
        let warm = self.target.warm_write.unwrap_or(ON_DEMAND).max(ON_DEMAND);
        self.target.most_on_demand.map_or(warm, |most| warm.min(most))
    }

    /// How long a restore takes at the present capacity, and what binds then.
    fn time(&self, spec: &RestoreSpec, totals: &Totals) -> (Option<f64>, Limit) {
        let left = 1.0 - spec.leave.unwrap_or(0.0);
        let writes = totals.writes();
        let mut bounds: Vec<(f64, Limit)> = Vec::new();
        match self.target.schema.billing {
            Billing::Provisioned { write, .. } => {
                bounds.push((totals.wcu / (write as f64 * left), Limit::Table { wcu: Some(write as f64) }));
            }
            Billing::OnDemand => {
                bounds.push((totals.everywhere() / self.on_demand() as f64, Limit::Table { wcu: None }));
            }
        }
        for index in &totals.indexes {
            if let Some(wcu) = index.provisioned {
                let limit = Limit::Index { index: index.index.clone(), wcu: wcu as f64 };
                bounds.push((index.wcu / (wcu as f64 * left), limit));
            }
        }
        if let Some(rate) = spec.rate {
            bounds.push((writes / rate, Limit::RateCap { per_second: rate }));
        }
        if let Some(wcu) = spec.max_wcu {
            bounds.push((totals.wcu / wcu, Limit::WcuCap { wcu }));
        }
        if let Some(stream) = self.stream.as_ref().filter(|stream| !stream.on_demand) {
            let open = stream.open_shards as f64;
            let records = if spec.no_aggregate { writes } else { writes / AGGREGATED };
            let seconds = (records / SHARD_RECORDS).max(writes * totals.record_bytes / SHARD_BYTES) / open;
            bounds.push((seconds, Limit::Stream { shards: stream.open_shards as usize }));
        }
        // The first of equals: the table before what is derived from it.
        let longest = bounds.into_iter().reduce(|longest, next| if next.0 > longest.0 { next } else { longest });
        match longest {
            Some((seconds, limit)) if seconds.is_finite() => (Some(seconds), limit),
            Some((_, limit)) => (None, limit),
            None => (None, Limit::Source),
        }
    }

    fn within(&self, spec: &RestoreSpec, totals: &Totals, seconds: u64) -> Within {
        let left = 1.0 - spec.leave.unwrap_or(0.0);
        let time = seconds as f64;
        let needed = |wcu: f64| per_second(wcu / left, time).max(1);
        let table = needed(totals.wcu);
        let indexes: Vec<(String, u64)> = totals
            .indexes
            .iter()
            .filter(|index| index.provisioned.is_some())
            .map(|index| (index.index.clone(), needed(index.wcu)))
            .collect();
        let writes = totals.writes();
        let mut obstacles = Vec::new();
        for (name, wcu) in std::iter::once((None, table)).chain(indexes.iter().map(|(n, wcu)| (Some(n), *wcu))) {
            if wcu > LARGEST {
                let total = name.map_or(totals.wcu, |n| {
                    totals.indexes.iter().find(|index| index.index == *n).map_or(0.0, |index| index.wcu)
                });
                obstacles.push(format!(
                    "{} would need {} WCU, and AWS gives {} at most unless that quota is raised: at that it takes {}",
                    name.map_or_else(|| "the table".to_owned(), |n| format!("index {n}")),
                    grouped(wcu),
                    grouped(LARGEST),
                    span(total / left / LARGEST as f64),
                ));
            }
        }
        if let Some(rate) = spec.rate.filter(|rate| writes / rate > time) {
            obstacles.push(format!("--rate {rate} alone makes it {}", span(writes / rate)));
        }
        if let Some(cap) = spec.max_wcu.filter(|cap| totals.wcu / cap > time) {
            obstacles.push(format!("--max-wcu {cap} alone makes it {}", span(totals.wcu / cap)));
        }
        if let Some(stream) = self.stream.as_ref().filter(|stream| !stream.on_demand) {
            let (single, aggregated) = shards_for(writes / time, totals.record_bytes);
            let needed = if spec.no_aggregate { single } else { aggregated };
            if needed > stream.open_shards {
                obstacles.push(format!(
                    "stream {} has {} open shards and needs {}: split them first, or leave out -k",
                    stream.name, stream.open_shards, needed
                ));
            }
        }
        let on_demand = self.on_demand();
        let suffices = match self.target.schema.billing {
            Billing::Provisioned { write, .. } => {
                table <= write
                    && indexes.iter().all(|(name, wcu)| totals.provisioned(name).is_some_and(|has| has >= *wcu))
            }
            Billing::OnDemand => {
                let needed = per_second(totals.everywhere(), time);
                if needed > on_demand {
                    obstacles.push(format!(
                        "{} WCU a second are needed, and the on-demand table is known to take {} at once; it doubles its \
                         peak within 30 minutes, so it may take longer",
                        grouped(needed),
                        grouped(on_demand)
                    ));
                }
                needed <= on_demand
            }
        };
        Within { seconds, table, indexes, suffices: suffices && obstacles.is_empty(), obstacles }
    }

    fn partitions(&self, totals: &Totals, within: Option<&Within>) -> Partitions {
        let (read, write) = match self.target.schema.billing {
            Billing::Provisioned { read, write } => (read, write),
            Billing::OnDemand => (0, self.on_demand()),
        };
        let at = |wcu: u64, bytes: f64| {
            let by_rate = (wcu as f64 / PARTITION_WCU + read as f64 / PARTITION_RCU).ceil();
            (by_rate.max((bytes / PARTITION_BYTES).ceil()) as u64).max(1)
        };
        let for_wcu = within.map_or(write, |within| within.table.max(write));
        let item_bytes = mean(self.source.sample.item_bytes, self.source.sample.puts);
        let held = self.target.bytes as f64;
        let needed = at(for_wcu, held.max(totals.items * item_bytes));
        let present = at(self.target.warm_write.unwrap_or(write).max(write), held);
        // By capacity alone: what fills up is split on the way, without anyone waiting for it.
        Partitions { for_wcu, needed, present, must_split: at(for_wcu, 0.0) > present }
    }

    fn shards(&self, spec: &RestoreSpec, totals: &Totals, within: Option<&Within>, seconds: Option<f64>) -> Shards {
        let writes = totals.writes();
        let time = within.map(|within| within.seconds as f64).or(self.pace(totals)).or(seconds);
        let items_per_second = time.filter(|time| *time > 0.0).map_or(0.0, |time| writes / time);
        let (needed, needed_aggregated) = shards_for(items_per_second, totals.record_bytes);
        Shards {
            aggregated: !spec.no_aggregate,
            items_per_second,
            record_bytes: totals.record_bytes,
            needed,
            needed_aggregated,
            open: self.stream.as_ref().filter(|stream| !stream.on_demand).map(|stream| stream.open_shards),
        }
    }

    /// How long the table alone takes: what a stream is to keep up with.
    fn pace(&self, totals: &Totals) -> Option<f64> {
        let alone = Self { stream: None, ..self.clone() };
        alone.time(&RestoreSpec::default(), totals).0
    }

    fn cost(&self, totals: &Totals, within: Option<&Within>, seconds: Option<f64>) -> Cost {
        let prices = prices();
        let class = if self.target.schema.infrequent_access {
            prices.dynamodb.infrequent_access
        } else {
            prices.dynamodb.standard
        };
        let time = within.map(|within| within.seconds as f64).or(seconds).unwrap_or_default();
        let hours = (time / 3600.0).ceil().max(if totals.writes() > 0.0 { 1.0 } else { 0.0 });
        let present: u64 = self.target.schema.billing.write().unwrap_or_default()
            + totals.indexes.iter().filter_map(|index| index.provisioned).sum::<u64>();
        let raised: u64 = within.map_or(0, |within| {
            let table = self.target.schema.billing.write().map_or(0, |has| within.table.saturating_sub(has));
            let of_index =
                |(name, wcu): &(String, u64)| totals.provisioned(name).map_or(0, |has| wcu.saturating_sub(has));
            table + within.indexes.iter().map(of_index).sum::<u64>()
        });
        let on_demand = self.target.schema.billing == Billing::OnDemand;
        let requests = if on_demand { totals.everywhere() / 1e6 * class.million_writes } else { 0.0 };
        let sample = &self.source.sample;
        let writes = totals.writes();
        let (stream_hours, stream_puts) = match &self.stream {
            None => (0.0, 0.0),
            Some(stream) if stream.on_demand => (
                hours * prices.kinesis.on_demand.stream_hour,
                writes * mean(sample.record_kib, sample.puts) * 1024.0 / 1e9 * prices.kinesis.on_demand.gigabyte_in,
            ),
            Some(stream) => (
                hours * stream.open_shards as f64 * prices.kinesis.provisioned.shard_hour,
                writes * mean(sample.put_units, sample.puts) / 1e6 * prices.kinesis.provisioned.million_put_units,
            ),
        };
        let raised_capacity = raised as f64 * hours * class.wcu_hour;
        Cost {
            region: prices.region.clone(),
            as_of: prices.as_of.clone(),
            hours: hours as u64,
            present_capacity: present as f64 * hours * class.wcu_hour,
            raised_capacity,
            requests,
            stream_hours,
            stream_puts,
            total: raised_capacity + requests + stream_hours + stream_puts,
            import: self.source.text_bytes / 1e9 * prices.dynamodb.import.gigabyte,
        }
    }

    fn notes(&self, spec: &RestoreSpec, plan: &Plan) -> Vec<String> {
        let mut notes = self.source.notes.clone();
        let sample = &self.source.sample;
        if sample.looked_at > 0 && sample.refused > 0 {
            notes.push(format!(
                "{} of the {} records looked at can't be restored: they become dead letters",
                grouped(sample.refused),
                grouped(sample.looked_at)
            ));
        }
        for (index, counted) in self.target.schema.indexes.iter().zip(&sample.indexes) {
            if counted.refused > 0 {
                notes.push(format!(
                    "{} of the items looked at have a key of index {} that is empty or of the wrong type: DynamoDB refuses them",
                    grouped(counted.refused),
                    index.name
                ));
            }
        }
        if self.source.only_heads {
            notes.push("of compressed files only the beginnings were looked at: items further in may differ".into());
        }
        if self.target.items > 0 {
            notes.push(format!(
                "the table holds about {} items: one that is replaced costs the larger of old and new, and its index entries may \
                 cost twice",
                grouped(self.target.items)
            ));
        }
        if spec.if_not_exists {
            notes.push("with --if-not-exists a key that is there costs its write capacity too".into());
        }
        if plan.deletes > 0 {
            notes.push(format!(
                "{} deletes are taken to cost what a put costs: their items are not in the backup",
                grouped(plan.deletes)
            ));
        }
        if let Some(part) = spec.part {
            notes.push(format!(
                "these are the numbers of all {} parts together; this machine takes part {part}",
                part.of
            ));
        }
        if plan.partitions.must_split {
            notes.push(format!(
                "{} WCU need {} partitions of 1,000 WCU each, and the table is known to have {}: AWS splits them when the \
                 capacity is raised, which takes minutes to tens of minutes, and never joins them again",
                grouped(plan.partitions.for_wcu),
                plan.partitions.needed,
                plan.partitions.present
            ));
        }
        if self.region != plan.cost.region {
            notes.push(format!(
                "prices are list prices of {} as of {}: those of {} differ",
                plan.cost.region, plan.cost.as_of, self.region
            ));
        }
        notes
    }
}

/// Shards for so many items a second: one request a record, and aggregated.
fn shards_for(items_per_second: f64, record_bytes: f64) -> (u64, u64) {
    let bytes = items_per_second * record_bytes;
    let by_bytes = per_second(bytes, SHARD_BYTES);
    let single = per_second(items_per_second, SHARD_RECORDS).max(by_bytes);
    let aggregated = by_bytes.max(per_second(items_per_second / AGGREGATED, SHARD_RECORDS));
    (single.max(1), aggregated.max(1))
}

#[cfg(test)]
#[path = "figures_tests.rs"]
pub(super) mod tests;
