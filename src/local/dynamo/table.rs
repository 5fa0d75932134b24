//! What the gateway knows of a table: how its items are keyed and indexed, what throughput it has, and what a change
//! of that throughput is waiting for.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use dynoxide::Item;
use dynoxide::actions::{
    BillingModeSummary, TableDescription, TableProvisionedThroughputDescription, TableThroughputModeSummary,
};
use dynoxide::types::{AttributeValue, KeySchemaElement, KeyType, Projection, ProjectionType, item_size};
use serde::{Deserialize, Serialize};

use super::streams::View;
use super::wire::shown;
use crate::local::throughput::{
    Decreases, Direction, Full, Millis, ON_DEMAND_WCU, Rate, Throughput, hash_of_key, partitions,
};

/// Bought throughput and its history.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Provision {
    /// RCU.
    pub(super) read: u64,
    /// WCU.
    pub(super) write: u64,
    /// When it was last raised.
    #[serde(default)]
    pub(super) increased: Option<Millis>,
    /// When it was last lowered.
    #[serde(default)]
    pub(super) decreased: Option<Millis>,
    /// The ration of decreases.
    #[serde(default)]
    pub(super) decreases: Decreases,
}

impl Provision {
    fn of(description: Option<&TableProvisionedThroughputDescription>) -> Self {
        let (read, write) = description.map_or((0, 0), |it| (it.read_capacity_units, it.write_capacity_units));
        Self { read, write, ..Self::default() }
    }

    fn rate(&self, on_demand: bool) -> Rate {
        if on_demand { Rate::OnDemand } else { Rate::Provisioned { read: self.read as f64, write: self.write as f64 } }
    }

    fn describe(&self, on_demand: bool, now: Millis) -> TableProvisionedThroughputDescription {
        let seconds = |at: Option<Millis>| at.map(|at| at as f64 / 1000.0);
        TableProvisionedThroughputDescription {
            read_capacity_units: if on_demand { 0 } else { self.read },
            write_capacity_units: if on_demand { 0 } else { self.write },
            number_of_decreases_today: self.decreases.today(now) as u64,
            last_increase_date_time: seconds(self.increased),
            last_decrease_date_time: seconds(self.decreased),
        }
    }
}

/// A table's settings, as `--data` keeps them: dynoxide stores what `CreateTable` said and no change after it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Settings {
    /// Paid by what is used.
    pub(super) on_demand: bool,
    /// The table's own throughput.
    pub(super) table: Provision,
    /// Of each global secondary index.
    pub(super) indexes: BTreeMap<String, Provision>,
    /// Its stream, while one is enabled.
    #[serde(default)]
    pub(super) stream: Option<View>,
}

impl Settings {
    /// Partitions that the table's throughput implies.
    pub(super) fn partitions(&self) -> usize {
        match self.table.rate(self.on_demand) {
            Rate::Provisioned { read, write } => partitions(read, write),
            Rate::OnDemand => partitions(0.0, ON_DEMAND_WCU),
        }
    }
}

/// Which attributes an index holds.
#[derive(Clone, Debug)]
enum Projected {
    All,
    Only(Vec<String>),
}

/// A global secondary index.
#[derive(Debug)]
struct Index {
    arn: String,
    keys: Vec<String>,
    projected: Projected,
    throughput: Throughput,
}

/// One access to one item, as far as throughput is concerned.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Use {
    /// Hash of its partition key; `None` when it touches many.
    pub(super) partition: Option<u64>,
    /// What it takes from the table, capacity units.
    pub(super) units: f64,
    /// What it takes from indexes.
    pub(super) indexes: Vec<IndexUse>,
}

/// What one access takes from an index.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct IndexUse {
    pub(super) name: Arc<str>,
    pub(super) partition: Option<u64>,
    pub(super) units: f64,
}

/// Why an access was refused: throughput ran out there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Throttle {
    /// The index; `None` for the table.
    pub(super) index: Option<Arc<str>>,
    /// The ARN of the table or index.
    pub(super) resource: String,
    /// The whole of it, or one partition.
    pub(super) full: Full,
    /// Paid by what is used: another error, another message.
    pub(super) on_demand: bool,
}

/// One table.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) name: String,
    arn: String,
    partition_key: String,
    pub(super) settings: Settings,
    /// A change that was accepted, and when it takes effect.
    pending: Option<(Millis, Settings)>,
    throughput: Throughput,
    indexes: BTreeMap<Arc<str>, Index>,
}

impl Table {
    /// A table as dynoxide describes it, with the settings that were kept of it.
    pub(super) fn new(description: &TableDescription, kept: Option<Settings>, now: Millis) -> Self {
        let on_demand =
            description.billing_mode_summary.as_ref().is_some_and(|it| it.billing_mode == "PAY_PER_REQUEST");
        let settings = kept.unwrap_or_else(|| Settings {
            on_demand,
            table: Provision::of(description.provisioned_throughput.as_ref()),
            indexes: BTreeMap::new(),
            stream: None,
        });
        let mut table = Self {
            name: description.table_name.clone(),
            arn: shown(&description.table_arn),
            partition_key: hash_key(&description.key_schema),
            throughput: Throughput::new(settings.table.rate(settings.on_demand), now),
            settings,
            pending: None,
            indexes: BTreeMap::new(),
        };
        table.follow(description, &HashMap::new(), now);
        table
    }

    /// Follows what the description says of indexes: new ones, with the throughput in `bought`, and gone ones.
    pub(super) fn follow(
        &mut self,
        description: &TableDescription,
        bought: &HashMap<String, Option<(u64, u64)>>,
        now: Millis,
    ) {
        let described = description.global_secondary_indexes.as_deref().unwrap_or_default();
        let is_described = |name: &str| described.iter().any(|index| index.index_name == name);
        self.indexes.retain(|name, _| is_described(name));
        self.settings.indexes.retain(|name, _| is_described(name));
        for index in described {
            if self.indexes.contains_key(index.index_name.as_str()) {
                continue;
            }
            let provision = self.settings.indexes.entry(index.index_name.clone()).or_insert_with(|| {
                let mut provision = Provision::of(index.provisioned_throughput.as_ref());
                if let Some(Some((read, write))) = bought.get(&index.index_name) {
                    (provision.read, provision.write) = (*read, *write);
                }
                provision
            });
            let keys: Vec<String> = index.key_schema.iter().map(|key| key.attribute_name.clone()).collect();
            let table_keys = description.key_schema.iter().map(|key| key.attribute_name.clone());
            self.indexes.insert(
                Arc::from(index.index_name.as_str()),
                Index {
                    arn: shown(&index.index_arn),
                    projected: projected(&index.projection, keys.iter().cloned().chain(table_keys)),
                    keys,
                    throughput: Throughput::new(provision.rate(self.settings.on_demand), now),
                },
            );
        }
    }

    /// Lets a change whose time has come take effect.
    pub(super) fn advance(&mut self, now: Millis) {
        let Some((_, settings)) = self.pending.take_if(|(at, _)| *at <= now) else {
            return;
        };
        self.throughput.change(settings.table.rate(settings.on_demand), now);
        for (name, index) in &mut self.indexes {
            if let Some(provision) = settings.indexes.get(&**name) {
                index.throughput.change(provision.rate(settings.on_demand), now);
            }
        }
        self.settings = settings;
    }

    /// Whether a change is waiting to take effect.
    pub(super) fn is_updating(&self) -> bool {
        self.pending.is_some()
    }

    /// Accepts a change that takes effect `at`.
    pub(super) fn accept(&mut self, settings: Settings, at: Millis) {
        self.pending = Some((at, settings));
    }

    /// Notes which stream it has, if any. It is updated for as long as a change takes.
    pub(super) fn set_stream(&mut self, stream: Option<View>, ready: Millis) {
        self.settings.stream = stream;
        let (_, pending) = self.pending.get_or_insert_with(|| (ready, self.settings.clone()));
        pending.stream = stream;
    }

    /// The settings that hold once nothing is pending.
    pub(super) fn settled(&self) -> &Settings {
        self.pending.as_ref().map_or(&self.settings, |(_, settings)| settings)
    }

    /// Writes what the gateway knows into dynoxide's description.
    pub(super) fn describe(&self, description: &mut TableDescription, now: Millis) {
        let Settings { on_demand, table, indexes, .. } = &self.settings;
        let next = self.pending.as_ref().map(|(_, settings)| settings);
        if next.is_some() {
            "UPDATING".clone_into(&mut description.table_status);
        }
        description.provisioned_throughput = Some(table.describe(*on_demand, now));
        let mode = || "PAY_PER_REQUEST".to_owned();
        description.billing_mode_summary = on_demand.then(|| BillingModeSummary {
            billing_mode: mode(),
            ..description.billing_mode_summary.clone().unwrap_or_default()
        });
        description.table_throughput_mode_summary = on_demand.then(|| TableThroughputModeSummary {
            table_throughput_mode: mode(),
            ..description.table_throughput_mode_summary.clone().unwrap_or_default()
        });
        for index in description.global_secondary_indexes.iter_mut().flatten() {
            let Some(provision) = indexes.get(&index.index_name) else { continue };
            index.provisioned_throughput = Some(provision.describe(*on_demand, now));
            if next.is_some_and(|next| next.indexes.get(&index.index_name) != Some(provision)) {
                "UPDATING".clone_into(&mut index.index_status);
            }
        }
    }

    /// What putting `item` takes, as far as the item alone tells.
    pub(super) fn put(&self, item: &Item) -> Use {
        let size = item_size(item);
        let indexes = self.indexes.iter().filter_map(|(name, index)| {
            let first = item.get(index.keys.first()?)?;
            if !index.keys.iter().all(|key| item.contains_key(key)) {
                return None;
            }
            let size = match &index.projected {
                Projected::All => size,
                Projected::Only(names) => {
                    names.iter().filter_map(|name| Some(name.len() + item.get(name)?.size())).sum()
                }
            };
            Some(IndexUse { name: Arc::clone(name), partition: Some(hash(first)), units: wcu(size) })
        });
        Use { partition: self.partition_of(item), units: wcu(size), indexes: indexes.collect() }
    }

    /// What changing the item at `key` takes at least. Which indexes hold it is known only after: each is asked for
    /// room and billed for what it came to.
    pub(super) fn change(&self, key: &Item) -> Use {
        let indexes = self.indexes.keys().map(|name| IndexUse { name: Arc::clone(name), partition: None, units: 0.0 });
        Use { partition: self.partition_of(key), units: 1.0, indexes: indexes.collect() }
    }

    /// What reading the item at `key` takes at least.
    pub(super) fn get(&self, key: &Item, consistent: bool) -> Use {
        Use { partition: self.partition_of(key), units: read_units(consistent), indexes: Vec::new() }
    }

    /// What reading many items takes at least, from the table or an index.
    pub(super) fn search(&self, index: Option<&str>, partition: Option<u64>, consistent: bool) -> Use {
        let units = read_units(consistent);
        match index.and_then(|name| self.indexes.get_key_value(name)) {
            Some((name, _)) => {
                let index = IndexUse { name: Arc::clone(name), partition, units };
                Use { partition: None, units: 0.0, indexes: vec![index] }
            }
            None => Use { partition, units, indexes: Vec::new() },
        }
    }

    /// The partition key's attribute, of the table or of an index.
    pub(super) fn partition_key(&self, index: Option<&str>) -> &str {
        index.and_then(|name| self.indexes.get(name)?.keys.first()).unwrap_or(&self.partition_key)
    }

    /// Admits one access, and takes what it needs, unless the table or one of the indexes it touches is full.
    pub(super) fn admit(&mut self, direction: Direction, access: &Use, now: Millis) -> Result<(), Throttle> {
        self.advance(now);
        let on_demand = self.settings.on_demand;
        // An access that takes nothing from the table is a read of an index.
        if access.units > 0.0 {
            let checked = self.throughput.check(direction, access.partition, now);
            checked.map_err(|full| Throttle { index: None, resource: self.arn.clone(), full, on_demand })?;
        }
        for touched in &access.indexes {
            let Some(index) = self.indexes.get_mut(&touched.name) else { continue };
            index.throughput.check(direction, touched.partition, now).map_err(|full| Throttle {
                index: Some(Arc::clone(&touched.name)),
                resource: index.arn.clone(),
                full,
                on_demand,
            })?;
        }
        self.take(direction, access, 1.0, now);
        Ok(())
    }

    /// Takes `times` what `access` was admitted with.
    fn take(&mut self, direction: Direction, access: &Use, times: f64, now: Millis) {
        self.throughput.take(direction, access.partition, access.units * times, now);
        for touched in &access.indexes {
            if let Some(index) = self.indexes.get_mut(&touched.name) {
                index.throughput.take(direction, touched.partition, touched.units * times, now);
            }
        }
    }

    /// Corrects what was taken for `accesses` to what they came to: `units` of the table, and of each index.
    pub(super) fn settle(
        &mut self,
        direction: Direction,
        accesses: &[Use],
        units: f64,
        index_units: &HashMap<String, f64>,
        now: Millis,
    ) {
        let estimated: f64 = accesses.iter().map(|access| access.units).sum();
        spread(
            &mut self.throughput,
            direction,
            accesses.iter().map(|it| (it.partition, it.units)),
            estimated,
            units,
            now,
        );
        for (name, index) in &mut self.indexes {
            let touches = || {
                accesses
                    .iter()
                    .flat_map(|access| &access.indexes)
                    .filter(|touched| touched.name == *name)
                    .map(|touched| (touched.partition, touched.units))
            };
            let estimated = touches().map(|(_, units)| units).sum();
            let units = index_units.get(&**name).copied().unwrap_or(0.0);
            spread(&mut index.throughput, direction, touches(), estimated, units, now);
        }
    }

    /// The refusal of a throttle that was asked for by a fault.
    pub(super) fn throttle_on_demand(&self) -> Throttle {
        Throttle { index: None, resource: self.arn.clone(), full: Full::Whole, on_demand: self.settings.on_demand }
    }

    /// Bought throughput of the table (`None`) and each index, for the metrics; nothing when on demand.
    pub(super) fn provisions(&self) -> impl Iterator<Item = (Option<&str>, &Provision)> {
        let Settings { on_demand, table, indexes, .. } = &self.settings;
        let all = std::iter::once((None, table)).chain(indexes.iter().map(|(name, it)| (Some(name.as_str()), it)));
        all.filter(move |_| !on_demand)
    }

    fn partition_of(&self, item: &Item) -> Option<u64> {
        item.get(&self.partition_key).map(hash)
    }
}

/// Spreads the difference between estimate and truth over the partitions as the estimate was.
fn spread(
    throughput: &mut Throughput,
    direction: Direction,
    parts: impl Iterator<Item = (Option<u64>, f64)>,
    estimated: f64,
    units: f64,
    now: Millis,
) {
    let missing = units - estimated;
    if missing.abs() < 1e-9 {
        return;
    }
    if estimated > 0.0 {
        for (partition, part) in parts {
            throughput.take(direction, partition, part * missing / estimated, now);
        }
    } else {
        throughput.take(direction, None, missing, now);
    }
}

fn hash_key(schema: &[KeySchemaElement]) -> String {
    let hash = schema.iter().find(|key| key.key_type == KeyType::HASH);
    hash.map(|key| key.attribute_name.clone()).unwrap_or_default()
}

fn projected(projection: &Projection, keys: impl Iterator<Item = String>) -> Projected {
    match projection.projection_type.clone().unwrap_or_default() {
        ProjectionType::ALL => Projected::All,
        ProjectionType::KEYS_ONLY | ProjectionType::INCLUDE => {
            let mut names: Vec<String> = keys.chain(projection.non_key_attributes.iter().flatten().cloned()).collect();
            names.sort();
            names.dedup();
            Projected::Only(names)
        }
    }
}

/// Where a key value lives.
pub(super) fn hash(value: &AttributeValue) -> u64 {
    match value {
        AttributeValue::S(text) | AttributeValue::N(text) => hash_of_key(text.as_bytes()),
        AttributeValue::B(bytes) => hash_of_key(bytes),
        // No other type keys a table; the request is refused anyway.
        _ => 0,
    }
}

/// One WCU for each started KiB.
fn wcu(size: usize) -> f64 {
    size.div_ceil(1024).max(1) as f64
}

/// The least that a read takes, RCU.
fn read_units(consistent: bool) -> f64 {
    if consistent { 1.0 } else { 0.5 }
}
