//! A sample: the keys of the source whose hashes are lowest, fetched from the table and compared.

use std::collections::{BTreeMap, HashMap};
use std::io::Write as _;
use std::path::Path;

use aws_sdk_dynamodb::types::{AttributeValue, ConsumedCapacity, KeysAndAttributes, ReturnConsumedCapacity};
use base64::Engine as _;
use bytes::Bytes;

use super::super::progress::VerifyLine;
use super::super::spec::VerifySpec;
use super::super::worker::{JobError, Session, differences_path};
use super::scan::{TRIES, pace, patient};
use super::spill::Difference;
use super::{differences_file, read_source, write_difference};
use crate::cloud::inventory::{self, Table};
use crate::cloud::{CloudError, error};
use crate::flow::ReadPace;
use crate::item::{Checker, Key, digest_of_attributes};

/// Keys a `BatchGetItem` takes.
const GET: usize = 100;

/// Compares `most` keys of the source, an even sample since hashes are.
pub(super) async fn compare(
    session: &Session<'_>,
    spec: &VerifySpec,
    most: u64,
    journal: &Path,
) -> Result<VerifyLine, JobError> {
    let table = inventory::table(&session.cloud, &spec.table).await?;
    let mut lowest: BTreeMap<u128, (Bytes, u128)> = BTreeMap::new();
    let dead = read_source(session, spec, &Checker::new(table.key.clone()), |batch| {
        for (key, digest) in batch {
            lowest.insert(key.hash, (key.json, digest));
            while lowest.len() as u64 > most {
                lowest.pop_last();
            }
        }
        std::future::ready(true)
    })
    .await?;

    let mut line = VerifyLine { kind: "verify", dead, ..VerifyLine::default() };
    let (mut digest_source, mut digest_table) = (0u128, 0u128);
    let mut out = std::io::BufWriter::new(differences_file(&differences_path(journal, &session.job.id))?);
    let pace = pace(&table, spec.read_budget);
    let keys: Vec<(Bytes, u128)> = lowest.into_values().collect();
    for chunk in keys.chunks(GET) {
        let found = fetch(session, &table, chunk, &pace).await?;
        for (key, digest) in chunk {
            line.checked += 1;
            digest_source = digest_source.wrapping_add(*digest);
            let difference = match found.get(key) {
                Some(there) => {
                    digest_table = digest_table.wrapping_add(*there);
                    (there != digest).then_some(Difference::Different)
                }
                None => Some(Difference::Missing),
            };
            match difference {
                None => line.equal += 1,
                Some(difference) => {
                    if difference == Difference::Missing {
                        line.missing += 1;
                    } else {
                        line.different += 1;
                    }
                    write_difference(&mut out, difference, key)?;
                }
            }
        }
    }
    out.flush()?;
    line.digest_source = format!("{digest_source:032x}");
    line.digest_table = format!("{digest_table:032x}");
    Ok(line)
}

/// Digests of the items of `keys` that the table has, by key.
async fn fetch(
    session: &Session<'_>,
    table: &Table,
    keys: &[(Bytes, u128)],
    pace: &ReadPace,
) -> Result<HashMap<Bytes, u128>, JobError> {
    let mut left: Vec<HashMap<String, AttributeValue>> =
        keys.iter().filter_map(|(json, _)| attributes_of_key(json)).collect();
    let mut found = HashMap::new();
    let mut backoff = patient();
    while !left.is_empty() {
        pace.reserve(0.0).await;
        let wanted = KeysAndAttributes::builder()
            .set_keys(Some(left.clone()))
            .consistent_read(true)
            .build()
            .map_err(|e| JobError::Unfit(e.to_string()))?;
        let request = session.cloud.bulk.dynamodb.batch_get_item();
        let reply = request
            .request_items(&table.name, wanted)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await;
        match reply {
            Ok(reply) => {
                for item in reply.responses().and_then(|r| r.get(&table.name)).into_iter().flatten() {
                    if let Some(key) = Key::of_attributes(&table.key, item) {
                        found.insert(key.json, digest_of_attributes(item));
                    }
                }
                pace.settle(0.0, reply.consumed_capacity().iter().filter_map(ConsumedCapacity::capacity_units).sum());
                let unprocessed = reply.unprocessed_keys.unwrap_or_default().remove(&table.name);
                let before = left.len();
                left = unprocessed.map(|u| u.keys).unwrap_or_default();
                if left.len() < before {
                    backoff.reset();
                } else {
                    tokio::time::sleep(backoff.wait()).await;
                }
            }
            Err(e) if error::classify(&e).is_retryable() && backoff.tries() < TRIES => {
                tokio::time::sleep(backoff.wait()).await;
            }
            Err(e) => return Err(CloudError::of(&format!("read keys of table {}", table.name), &e).into()),
        }
    }
    Ok(found)
}

/// A canonical key as the SDK takes it.
fn attributes_of_key(json: &Bytes) -> Option<HashMap<String, AttributeValue>> {
    let key: HashMap<String, HashMap<String, String>> = serde_json::from_slice(json).ok()?;
    key.into_iter()
        .map(|(name, typed)| {
            let (kind, value) = typed.into_iter().next()?;
            let value = match kind.as_str() {
                "S" => AttributeValue::S(value),
                "N" => AttributeValue::N(value),
                _ => AttributeValue::B(base64::engine::general_purpose::STANDARD.decode(value).ok()?.into()),
            };
            Some((name, value))
        })
        .collect()
}
