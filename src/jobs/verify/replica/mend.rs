//! Repairs: what drifted is put again as the source has it, or deleted where the source has nothing, unless somebody
//! else writes the key meanwhile.
//!
//! ```text
//! read both ── equal ─────────────────────────────────────────────> done
//!   ▲    └──── the replica is not what drifted ───────────────────> superseded: left to who wrote it
//!   │    └──── put or delete, if the replica's item is still that ─> condition fails: superseded
//!   └──────────────┘ written: read once more, since a change of the source may have overtaken the repair
//! ```

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::io::{self, BufRead as _, BufReader, BufWriter, Write as _};

use aws_sdk_dynamodb::types::AttributeValue;
use bytes::Bytes;
use futures::StreamExt as _;

use super::super::attribute::{Item, attributes};
use super::super::scan::{TRIES, patient};
use super::super::spill::Tally;
use super::super::{VerifyLine, differences_file};
use super::look::{Keys, Seen};
use super::pair::{Half, Held, Pair};
use crate::cloud::{Class, CloudError};
use crate::flow::Backoff;
use crate::item::digest_of_attributes;
use crate::jobs::progress::ReplicaLine;
use crate::jobs::worker::{JobError, Session, differences_path};

/// Repairs under way at the same time.
const SIDE_BY_SIDE: usize = 8;

/// So often is a key repaired whose source changes each time under the repair.
const ROUNDS: u32 = 8;

/// Attributes that a condition compares at most: an expression has 4 KB and 300 operators ("Expressions" of the
/// `DynamoDB` developer guide, "Quotas").
const COMPARED: usize = 100;

/// What became of a repair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mended {
    /// The source's item was put.
    Put,
    /// The extra item was deleted.
    Deleted,
    /// Somebody else wrote the key meanwhile.
    Superseded,
    /// A dry run: the request was printed.
    Unsent,
}

impl Mended {
    fn as_str(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Deleted => "deleted",
            Self::Superseded => "superseded",
            Self::Unsent => "not sent",
        }
    }
}

/// Repairs the keys of `standing`, corrects `tally` and `line`, and says in the list what became of each.
pub(super) async fn all(
    session: &Session<'_>,
    pair: &Pair,
    standing: Keys,
    tally: &mut Tally,
    line: &mut VerifyLine,
) -> Result<(), JobError> {
    if standing.count == 0 {
        return Ok(());
    }
    session.note("info", &format!("repairs {} keys of replica {}", standing.count, pair.replica.table.name));
    let mut counts = line.replica.unwrap_or_default();
    let list = differences_path(session.journal().path(), &session.job.id);
    let beside = list.with_extension("repaired");
    let mut lines = BufReader::new(fs::File::open(&list)?).lines();
    let mut out = BufWriter::new(differences_file(&beside)?);
    let mut repairs = futures::stream::iter(standing.read()?)
        .map(|seen| async {
            let seen = seen?;
            let mended = repair(pair, &seen).await?;
            Ok::<_, JobError>((seen, mended))
        })
        .buffered(SIDE_BY_SIDE);
    while let Some(repaired) = repairs.next().await {
        let (seen, (mended, now)) = repaired?;
        count(&seen, mended, now, tally, &mut counts, line);
        // The list has the keys in this order.
        let said = lines.next().transpose()?.unwrap_or_default();
        let open = said.strip_suffix('}').unwrap_or(&said);
        writeln!(out, "{open},\"repair\":\"{}\"}}", mended.as_str())?;
    }
    for said in lines {
        writeln!(out, "{}", said?)?;
    }
    out.into_inner().map_err(io::IntoInnerError::into_error)?;
    fs::rename(beside, list)?;
    line.replica = Some(counts);
    Ok(())
}

type Digests = (Option<u128>, Option<u128>);

fn count(
    seen: &Seen,
    mended: Mended,
    now: Digests,
    tally: &mut Tally,
    counts: &mut ReplicaLine,
    line: &mut VerifyLine,
) {
    match mended {
        Mended::Unsent => return,
        Mended::Put => counts.put += 1,
        Mended::Deleted => counts.deleted += 1,
        Mended::Superseded => {
            counts.superseded += 1;
            line.changed += 1;
            line.changed_differs += u64::from(now.0 != now.1);
        }
    }
    counts.repaired = counts.put + counts.deleted;
    seen.repaired(tally, now);
}

/// Repairs one key; what became of it, and the digests of both sides afterwards.
async fn repair(pair: &Pair, seen: &Seen) -> Result<(Mended, Digests), JobError> {
    let keys = [Bytes::copy_from_slice(seen.key.as_bytes())];
    let mut expected = seen.replica;
    let mut done = None;
    let mut rounds = 0;
    let mut backoff = patient();
    loop {
        let look = pair.look(&keys, true).await?.remove(0);
        let now = look.digests();
        // Written by somebody else after us: it is theirs to say what is right, and the replica follows.
        let settled = done.unwrap_or(Mended::Superseded);
        if now.0 == now.1 || now.1 != expected || look.source == Held::Refused || rounds == ROUNDS {
            return Ok((settled, now));
        }
        let (sent, wanted) = match &look.source {
            Held::Item(item) => (put(&pair.replica, item, look.replica.as_ref()).await, Some(item)),
            _ => (delete(&pair.replica, &keys[0], look.replica.as_ref()).await, None),
        };
        match sent {
            Ok(()) => {
                rounds += 1;
                done = Some(if wanted.is_some() { Mended::Put } else { Mended::Deleted });
                expected = wanted.map(digest_of_attributes);
                backoff.reset();
            }
            Err(error) => match error.class {
                Class::Condition => return Ok((settled, pair.look(&keys, true).await?.remove(0).digests())),
                Class::DryRun => return Ok((Mended::Unsent, now)),
                class if class.is_retryable() && backoff.tries() < TRIES => {
                    // It may have been done, and its reply lost.
                    if class != Class::Throttled {
                        let look = pair.look(&keys, true).await?.remove(0);
                        if look.digests() == (now.0, wanted.map(digest_of_attributes)) {
                            done = Some(if wanted.is_some() { Mended::Put } else { Mended::Deleted });
                            expected = now.0;
                        }
                    }
                    wait(&mut backoff).await;
                }
                _ => return Err(error.into()),
            },
        }
    }
}

async fn wait(backoff: &mut Backoff) {
    tokio::time::sleep(backoff.wait()).await;
}

async fn put(replica: &Half, item: &Item, there: Option<&Item>) -> Result<(), CloudError> {
    let Condition { expression, names, values } = still(&replica.table.key.partition.name, there, Some(item));
    let request = replica.cloud.bulk.dynamodb.put_item().table_name(&replica.table.name);
    let request = request.set_item(Some(item.clone())).condition_expression(expression);
    let sent = request.set_expression_attribute_names(Some(names)).set_expression_attribute_values(values).send().await;
    let action = || format!("repair an item of replica {}", replica.table.name);
    sent.map(drop).map_err(|error| CloudError::of(&action(), &error))
}

async fn delete(replica: &Half, key: &[u8], there: Option<&Item>) -> Result<(), CloudError> {
    let Condition { expression, names, values } = still(&replica.table.key.partition.name, there, None);
    let request = replica.cloud.bulk.dynamodb.delete_item().table_name(&replica.table.name);
    let request = request.set_key(attributes(key)).condition_expression(expression);
    let sent = request.set_expression_attribute_names(Some(names)).set_expression_attribute_values(values).send().await;
    let action = || format!("delete an extra item of replica {}", replica.table.name);
    sent.map(drop).map_err(|error| CloudError::of(&action(), &error))
}

/// That a table's item is still the one that was read.
#[derive(Debug, PartialEq)]
struct Condition {
    expression: String,
    names: HashMap<String, String>,
    values: Option<Item>,
}

/// The condition that under the key is `there`, which is to become `wanted`: as many attributes as an expression takes,
/// those first in which the two differ, and that none is there which only `wanted` has.
fn still(partition: &str, there: Option<&Item>, wanted: Option<&Item>) -> Condition {
    let mut names = HashMap::from([("#k".to_owned(), partition.to_owned())]);
    let Some(there) = there else {
        return Condition { expression: "attribute_not_exists(#k)".to_owned(), names, values: None };
    };
    let of_wanted = |name: &String| wanted.and_then(|item| item.get(name));
    let differs = |name: &&String| of_wanted(name) != there.get(*name);
    let all: BTreeSet<&String> = there.keys().chain(wanted.into_iter().flat_map(HashMap::keys)).collect();
    let (first, rest): (Vec<&String>, Vec<&String>) = all.into_iter().partition(differs);
    let mut terms = vec!["attribute_exists(#k)".to_owned()];
    let mut values: HashMap<String, AttributeValue> = HashMap::new();
    for (n, name) in first.into_iter().chain(rest).filter(|name| *name != partition).take(COMPARED).enumerate() {
        names.insert(format!("#a{n}"), name.clone());
        match there.get(name) {
            Some(value) => {
                terms.push(format!("#a{n} = :a{n}"));
                values.insert(format!(":a{n}"), value.clone());
            }
            None => terms.push(format!("attribute_not_exists(#a{n})")),
        }
    }
    Condition { expression: terms.join(" AND "), names, values: (!values.is_empty()).then_some(values) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(json: &str) -> Item {
        attributes(json.as_bytes()).unwrap()
    }

    #[test]
    fn a_repair_holds_only_while_the_replica_is_what_was_compared() {
        let there = item(r#"{"id":{"S":"x"},"a":{"N":"1"},"b":{"S":"y"},"old":{"BOOL":true}}"#);
        let wanted = item(r#"{"id":{"S":"x"},"a":{"N":"1"},"b":{"S":"z"},"new":{"SS":["p"]}}"#);
        let Condition { expression, names, values } = still("id", Some(&there), Some(&wanted));
        assert_eq!(
            expression,
            "attribute_exists(#k) AND #a0 = :a0 AND attribute_not_exists(#a1) AND #a2 = :a2 AND #a3 = :a3"
        );
        let named: Vec<&str> = ["#k", "#a0", "#a1", "#a2", "#a3"].map(|name| names[name].as_str()).to_vec();
        assert_eq!(named, ["id", "b", "new", "old", "a"]);
        assert_eq!(values.unwrap()[":a0"], AttributeValue::S("y".into()));
    }

    #[test]
    fn an_item_that_is_missing_is_put_only_while_it_is_and_one_of_nothing_but_a_key_is_known_by_that() {
        let wanted = item(r#"{"id":{"S":"x"}}"#);
        let absent = still("id", None, Some(&wanted));
        assert_eq!((absent.expression.as_str(), absent.values), ("attribute_not_exists(#k)", None));
        let bare = still("id", Some(&wanted), None);
        assert_eq!((bare.expression.as_str(), bare.values), ("attribute_exists(#k)", None));
    }

    #[test]
    fn of_a_wide_item_what_differs_is_compared_before_what_does_not() {
        let wide = |last: u32| {
            let attributes = (0..500).map(|n| (format!("n{n:03}"), AttributeValue::N("1".into())));
            attributes.chain([("z".to_owned(), AttributeValue::N(last.to_string()))]).collect::<Item>()
        };
        let Condition { expression, names, values } = still("id", Some(&wide(1)), Some(&wide(2)));
        assert!(expression.len() < 4096, "{}", expression.len());
        assert_eq!((names["#a0"].as_str(), values.unwrap().len()), ("z", COMPARED));
    }
}
