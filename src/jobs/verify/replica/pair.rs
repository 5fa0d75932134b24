//! A source and its replica: where both are, how a key of one is found in the other, and both read by keys.

use std::sync::Arc;

use bytes::Bytes;

use super::super::attribute::{Item, attributes, item_json};
use super::super::fetch::fetch;
use super::super::scan;
use crate::cloud::inventory::{self, Table};
use crate::cloud::{Cloud, CloudError};
use crate::flow::ReadPace;
use crate::item::{Checker, KeySchema, Shape, Shaped, digest_of_attributes};
use crate::jobs::replicate;
use crate::jobs::spec::{ReplicaSpec, VerifySpec};
use crate::jobs::worker::{JobError, Session};

/// One of the two tables.
pub(super) struct Half {
    pub cloud: Cloud,
    pub table: Table,
    pub pace: Arc<ReadPace>,
}

/// Both tables.
pub(super) struct Pair {
    pub source: Half,
    pub replica: Half,
    /// What the replica makes of the source's items.
    pub shape: Shape,
    /// Checks items as the replica takes them.
    pub checker: Checker,
    /// Checks keys of the source.
    keys: Checker,
    /// The replica's name of the attribute by which items of the source expire, where it keeps expired ones.
    kept: Option<String>,
}

/// What the source holds for a key of the replica.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Held {
    /// This item, as the replica should have it.
    Item(Item),
    /// Nothing, or nothing that the replica's options take.
    Nothing,
    /// An item that the replica can't have: its job has it as a dead letter.
    Refused,
}

/// Both sides of one key.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Look {
    pub source: Held,
    pub replica: Option<Item>,
}

impl Held {
    /// Digest of the item.
    pub fn digest(&self) -> Option<u128> {
        match self {
            Self::Item(item) => Some(digest_of_attributes(item)),
            Self::Nothing | Self::Refused => None,
        }
    }
}

impl Look {
    /// Digests of source and replica.
    pub fn digests(&self) -> (Option<u128>, Option<u128>) {
        (self.source.digest(), self.replica.as_ref().map(digest_of_attributes))
    }
}

impl Pair {
    /// Finds both tables, and checks that a key of one can be found in the other.
    pub async fn open(session: &Session<'_>, spec: &VerifySpec, replica: &ReplicaSpec) -> Result<Self, JobError> {
        let here = session.cloud.clone();
        if replica.target.table == spec.table && replica.target.context(&here.place()).is_same_place(&here.place()) {
            return Err(JobError::Unfit(format!(
                "{} would be compared with itself: name another table with --replica, or where it is with --to-region, \
                 --to-profile or --to-endpoint-url",
                spec.table
            )));
        }
        let there = replicate::target::cloud(session, &replica.target).await?;
        let source = half(here, &spec.table, spec.read_budget).await?;
        let replica_half = half(there, &replica.target.table, spec.read_budget).await?;
        let shape = Shape::new(&spec.source.shape).map_err(|error| JobError::Unfit(error.to_string()))?;
        keys_fit(&shape, &source.table, &replica_half.table).map_err(JobError::Unfit)?;
        let kept = if replica.keeps_expired { expiry(&source, &shape).await? } else { None };
        Ok(Self {
            checker: Checker::new(replica_half.table.key.clone()),
            keys: Checker::new(source.table.key.clone()),
            source,
            replica: replica_half,
            shape,
            kept,
        })
    }

    /// Reads both sides of `keys`, the replica's in canonical JSON and at most [`super::super::fetch::GET`] of them: the
    /// source first.
    pub async fn look(&self, keys: &[Bytes], consistent: bool) -> Result<Vec<Look>, JobError> {
        let here = self.of_source(keys, consistent).await?;
        let Half { cloud, table, pace } = &self.replica;
        let mut there = fetch(cloud, table, keys.iter().map(|key| &key[..]), pace, consistent).await?;
        Ok(here.into_iter().zip(keys).map(|(source, key)| Look { source, replica: there.remove(key) }).collect())
    }

    /// What the source holds for `keys` of the replica, as the replica should have it.
    pub async fn of_source(&self, keys: &[Bytes], consistent: bool) -> Result<Vec<Held>, JobError> {
        let at_home = keys.iter().map(|key| self.key_in_source(key)).collect::<Result<Vec<_>, _>>()?;
        let Half { cloud, table, pace } = &self.source;
        let mut found = fetch(cloud, table, at_home.iter().map(|key| &key[..]), pace, consistent).await?;
        let held = |key: &Bytes| found.remove(key).map_or(Held::Nothing, |item| self.shaped(item));
        Ok(at_home.iter().map(held).collect())
    }

    /// True for an item of the replica that expired in the source, which this replica keeps.
    pub fn is_kept(&self, item: &Item, now_s: i64) -> bool {
        let time = self.kept.as_ref().and_then(|name| item.get(name)).and_then(|value| value.as_n().ok());
        time.and_then(|time| time.parse::<f64>().ok()).is_some_and(|time| time <= now_s as f64)
    }

    /// The source's key of a key of the replica.
    fn key_in_source(&self, key: &Bytes) -> Result<Bytes, JobError> {
        let before = self.shape.key_before(key.clone()).and_then(|key| self.keys.check(key));
        // It was checked that each attribute of the one key is an attribute of the other.
        before
            .map(|checked| checked.key.json)
            .map_err(|refusal| JobError::Unfit(format!("a key of the replica: {refusal}")))
    }

    /// The item as the replica should have it.
    fn shaped(&self, item: Item) -> Held {
        if self.shape.is_nothing() {
            return Held::Item(item);
        }
        match self.shape.apply(item_json(&item).to_string().into()) {
            Ok(Shaped::Skipped) => Held::Nothing,
            Ok(Shaped::Item(json)) => {
                let checked = self.checker.check(json).ok();
                checked.and_then(|checked| attributes(&checked.json)).map_or(Held::Refused, Held::Item)
            }
            Err(_) => Held::Refused,
        }
    }
}

async fn half(cloud: Cloud, table: &str, budget: Option<f64>) -> Result<Half, JobError> {
    let table = inventory::table(&cloud, table).await?;
    let pace = Arc::new(scan::pace(&table, budget));
    Ok(Half { cloud, table, pace })
}

/// Whether a key of the replica can be found in the source; why not, in words.
fn keys_fit(shape: &Shape, source: &Table, replica: &Table) -> Result<(), String> {
    let attributes =
        |key: &KeySchema| std::iter::once(key.partition.clone()).chain(key.sort.clone()).collect::<Vec<_>>();
    let (here, there) = (attributes(&source.key), attributes(&replica.key));
    for attr in &there {
        let before = shape.name_before(&attr.name).ok_or_else(|| {
            format!(
                "the key attribute {} of replica {} is made up by --set or --rename: the source's item of a key can't be found, \
                 so the two can't be compared",
                attr.name, replica.name
            )
        })?;
        if !here.iter().any(|one| one.name == before && one.kind == attr.kind) {
            return Err(format!(
                "replica {} has the key attribute {} ({:?}), and {} has none that becomes it: compare with the --rename that the \
                 replica was made with, or with --job",
                replica.name, attr.name, attr.kind, source.name
            ));
        }
    }
    if here.len() > there.len() {
        return Err(format!(
            "{} has a sort key and replica {} has none: several items of the one are one of the other",
            source.name, replica.name
        ));
    }
    Ok(())
}

/// The replica's name of the attribute by which items of the source expire.
async fn expiry(source: &Half, shape: &Shape) -> Result<Option<String>, JobError> {
    let action = format!("ask how items of table {} expire", source.table.name);
    let request = source.cloud.dynamodb.describe_time_to_live().table_name(&source.table.name);
    let reply = request.send().await.map_err(|error| CloudError::of(&action, &error))?;
    let Some(name) = reply.time_to_live_description().and_then(|ttl| ttl.attribute_name()) else { return Ok(None) };
    let named = serde_json::json!({ name: { "N": "0" } }).to_string();
    let renamed = shape.key(named.into()).map_err(|refusal| JobError::Unfit(refusal.to_string()))?;
    Ok(attributes(&renamed).and_then(|item| item.into_keys().next()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::item::{KeyAttr, KeyKind, ShapeSpec};

    fn table(keys: &[(&str, KeyKind)]) -> Table {
        let mut keys = keys.iter().map(|(name, kind)| KeyAttr { name: (*name).to_owned(), kind: *kind });
        Table {
            name: "t".into(),
            status: "ACTIVE".into(),
            items: 0,
            bytes: 0,
            provisioned: None,
            indexes: Vec::new(),
            stream: None,
            key: KeySchema { partition: keys.next().unwrap(), sort: keys.next() },
        }
    }

    fn fit(
        rename: &[&str],
        set: &[&str],
        source: &[(&str, KeyKind)],
        replica: &[(&str, KeyKind)],
    ) -> Result<(), String> {
        let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let spec = ShapeSpec { rename: owned(rename), set: owned(set), ..ShapeSpec::default() };
        keys_fit(&Shape::new(&spec).unwrap(), &table(source), &table(replica))
    }

    #[test]
    fn keys_are_found_through_renames_and_not_through_values_that_are_made_up() {
        use KeyKind::{N, S};
        fit(&[], &[], &[("a", S), ("b", N)], &[("a", S), ("b", N)]).unwrap();
        fit(&["a=x"], &["n=1"], &[("a", S), ("b", N)], &[("b", N), ("x", S)]).unwrap();
        assert!(fit(&[], &["a=.b"], &[("a", S)], &[("a", S)]).unwrap_err().contains("made up"));
        assert!(fit(&["a=z", "q=a"], &[], &[("a", S)], &[("a", S)]).unwrap_err().contains("none that becomes it"));
        assert!(fit(&[], &[], &[("a", S)], &[("a", N)]).unwrap_err().contains("none that becomes it"));
        assert!(fit(&[], &[], &[("a", S), ("b", S)], &[("a", S)]).unwrap_err().contains("sort key"));
    }
}
