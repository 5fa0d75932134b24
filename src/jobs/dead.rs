//! Dead letters once more: what is in one, whether it is fit now, and its replay behind a fence.
//!
//! ```text
//!  payload ─ decode ─▶ item ─┐                              ┌ attribute_not_exists(key) ─▶ written
//!            draft ──────────┴▶ the job's shape ▶ check ▶ put                         └──▶ held: an item is there
//! ```
//!
//! The fence is the condition that the key is not there: the letter's item never got in, so whatever is there is newer.
//! What DynamoDB offers can't tell how old an item is; an operator who knows better overwrites.

use std::collections::HashMap;
use std::fmt::Write as _;

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::journal::{DeadLetter, Ending, Job, Journal, JournalError};
#[cfg(feature = "bigquery")]
use super::replicate::{BigQueryTarget, ReplicaTarget, ReplicateSpec};
use super::spec::Spec;
use crate::backup::{self, Change, Format, Location};
use crate::cloud::inventory;
use crate::cloud::{Class, Cloud, CloudError};
use crate::flow::{AwsTable, TablePut as _};
use crate::item::legible::set_out;
use crate::item::request::{self, Request};
use crate::item::{Checked, Checker, Key, KeySchema, Refusal, Shape, Shaped, digest_of_attributes};

/// The longest text that an editor is given, bytes: the largest item in its longest spelling stays below.
const LONGEST: usize = 8 << 20;

/// What is in a letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// The table that it is for.
    pub table: String,
    /// The item's text: `DynamoDB` JSON, or the nearest to it that could be read.
    pub item: Bytes,
    /// The other parameters of the put request that it came in.
    pub other: Map<String, Value>,
    /// It is a delete: `item` is the key.
    pub deletes: bool,
}

/// Why a letter was not put.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// AWS: what was not sent stays as it is.
    #[error(transparent)]
    Cloud(#[from] CloudError),
}

/// What a replay made of a letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Replayed {
    /// Its item is in the table.
    Written,
    /// The very same item was there already.
    AlreadyThere,
    /// The fence held it back: another item has the key. The letter stays open.
    Held,
    /// The options of its job leave its item out.
    LeftOut,
    /// It still can't be put. The letter stays open.
    Unfit(String),
    /// It had been replayed or dropped before.
    Settled,
}

impl Replayed {
    /// As scripts see it.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Written => "written",
            Self::AlreadyThere => "already_there",
            Self::Held => "held",
            Self::LeftOut => "left_out",
            Self::Unfit(_) => "unfit",
            Self::Settled => "settled",
        }
    }

    /// True when the letter stays open.
    pub fn is_open(&self) -> bool {
        matches!(self, Self::Held | Self::Unfit(_))
    }

    /// In words.
    pub fn reason(&self) -> String {
        match self {
            Self::Written => "written".to_owned(),
            Self::AlreadyThere => "the very same item is in the table".to_owned(),
            Self::Held => {
                "held back: an item with this key is in the table, and may be newer (--overwrite puts it anyway)"
                    .to_owned()
            }
            Self::LeftOut => "left out by the job's options".to_owned(),
            Self::Unfit(reason) => reason.clone(),
            Self::Settled => "it was replayed or dropped before".to_owned(),
        }
    }
}

/// What is in `dead`, a letter of `job`: as it came, or as an operator edited it.
pub fn content(job: &Job, dead: &DeadLetter) -> Content {
    let mut content = came(job, dead);
    if let Some(draft) = &dead.draft {
        content.item = draft.clone();
        content.deletes = false;
    }
    content
}

fn came(job: &Job, dead: &DeadLetter) -> Content {
    let payload = &dead.letter.payload;
    let plain = |item: Bytes| Content { table: job.spec.table().to_owned(), item, other: Map::new(), deletes: false };
    if let Spec::Pump(spec) = &job.spec {
        // A row of the buffer that can't be an event, or an event as it came, whatever it looks like.
        return Content { table: spec.buffer.clone(), ..plain(payload.clone()) };
    }
    if is_from_stream(dead) || matches!(job.spec, Spec::Replicate(_)) {
        return put_request(payload).unwrap_or_else(|| plain(payload.clone()));
    }
    let forced = match &job.spec {
        Spec::Restore(spec) => spec.source.format,
        _ => None,
    };
    let location = Location::File(dead.letter.source.clone().into());
    let format = forced.or_else(|| backup::detect(&location, payload).ok()).unwrap_or(Format::Jsonl);
    match format.item(payload) {
        Ok((change, item)) => Content { deletes: change == Change::Delete, ..plain(item) },
        Err(_) => plain(payload.clone()),
    }
}

fn is_from_stream(dead: &DeadLetter) -> bool {
    dead.letter.shard.is_some()
}

/// A put request, also one whose item is no item.
fn put_request(payload: &Bytes) -> Option<Content> {
    let parsed = request::parse(payload);
    if let Ok(Request::Delete { table, key }) = parsed {
        return Some(Content { table, item: key, other: Map::new(), deletes: true });
    }
    if let Ok(Request::Put(put)) = parsed {
        let other = match &put.other {
            Some(whole) => serde_json::from_slice::<Map<String, Value>>(whole).ok()?,
            None => Map::new(),
        };
        let other = other.into_iter().filter(|(name, _)| name != "TableName" && name != "Item").collect();
        return Some(Content { table: put.table, item: put.item, other, deletes: false });
    }
    let mut whole: Map<String, Value> = serde_json::from_slice(payload).ok()?;
    let table = whole.remove("TableName")?.as_str()?.to_owned();
    let item = whole.remove("Item")?;
    Some(Content { table, item: Bytes::from(item.to_string()), other: whole, deletes: false })
}

/// What stands above a letter in the editor; lines that begin with `#` are left out of what is saved.
pub fn heading(job: &Job, dead: &DeadLetter) -> String {
    let mut lines = vec![
        format!("dead letter {} of {}, for table {}", dead.number, dead.job, came(job, dead).table),
        format!("it died of: {}", dead.letter.reason),
    ];
    lines.extend(dead.tried.as_ref().map(|tried| format!("when it was tried last: {tried}")));
    lines.push("save it as the item that is put in its place; lines that begin with # are left out".to_owned());
    lines.iter().fold(String::new(), |mut text, line| {
        let plain: String = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let _ = writeln!(text, "# {plain}");
        text
    })
}

/// The text of an editor's file for `dead`.
pub fn to_edit(job: &Job, dead: &DeadLetter) -> String {
    format!("{}{}\n", heading(job, dead), set_out(&content(job, dead).item))
}

/// What an editor's file says, without its heading. `None` when nothing of `before` was changed.
///
/// # Errors
/// It is longer than any item can be.
pub fn edited(before: &str, after: &str) -> Result<Option<Bytes>, String> {
    let body = |text: &str| {
        let lines = text.lines().skip_while(|line| line.starts_with('#'));
        lines.collect::<Vec<_>>().join("\n").trim().to_owned()
    };
    let (before, after) = (body(before), body(after));
    if after.len() > LONGEST {
        return Err(format!("what was saved has {} bytes: no item is as long", after.len()));
    }
    Ok((before != after).then(|| Bytes::from(after)))
}

/// The command of the person's editor, as others find it: `VISUAL`, else `EDITOR`, else `vi`.
pub fn editor() -> String {
    let set = |name| std::env::var(name).ok().filter(|command| !command.trim().is_empty());
    set("VISUAL").or_else(|| set("EDITOR")).unwrap_or_else(|| "vi".to_owned())
}

/// Puts letters of one job, and remembers the keys of its tables.
#[derive(Debug)]
pub struct Replay<'a> {
    cloud: &'a Cloud,
    job: &'a Job,
    shape: Shape,
    keys: HashMap<String, KeySchema>,
    /// Put it whatever is there.
    overwrite: bool,
    /// The table of BigQuery that the job's rows go into, once it was opened.
    #[cfg(feature = "bigquery")]
    bigquery: Option<crate::bigquery::BigQueryReplica>,
}

impl<'a> Replay<'a> {
    /// A replay of letters of `job`; `overwrite` leaves the fence out.
    ///
    /// # Errors
    /// The job's own options can't be read.
    pub fn new(cloud: &'a Cloud, job: &'a Job, overwrite: bool) -> Result<Self, CloudError> {
        let shape = match &job.spec {
            Spec::Restore(spec) => Shape::new(&spec.source.shape),
            _ => Ok(Shape::default()),
        };
        let shape = shape.map_err(|error| CloudError::new(Class::Invalid, error.to_string(), ""))?;
        Ok(Self {
            cloud,
            job,
            shape,
            keys: HashMap::new(),
            overwrite,
            #[cfg(feature = "bigquery")]
            bigquery: None,
        })
    }

    async fn key_of(&mut self, table: &str) -> Result<KeySchema, CloudError> {
        // A table of BigQuery has its source's key.
        #[cfg(feature = "bigquery")]
        let table = match &self.job.spec {
            Spec::Replicate(spec) if matches!(spec.target, ReplicaTarget::BigQuery(_)) => &spec.table,
            _ => table,
        };
        if let Some(key) = self.keys.get(table) {
            return Ok(key.clone());
        }
        let key = inventory::table(self.cloud, table).await?.key;
        self.keys.insert(table.to_owned(), key.clone());
        Ok(key)
    }

    /// Checks what is in `dead` against the key of its table; `None` when the job's options leave it out.
    ///
    /// # Errors
    /// AWS can't be asked for the table; within, why the item can't be put.
    pub async fn check(&mut self, dead: &DeadLetter) -> Result<Result<Option<Checked>, String>, CloudError> {
        let content = content(self.job, dead);
        let schema = self.key_of(&content.table).await?;
        Ok(self.fit(dead, &content, schema))
    }

    fn fit(&self, dead: &DeadLetter, content: &Content, schema: KeySchema) -> Result<Option<Checked>, String> {
        if content.deletes {
            return Err(
                "it deletes a key, and no condition can tell whether what is there is newer: delete the key by \
                        hand if it should go, then drop the letter"
                    .to_owned(),
            );
        }
        let checker = Checker::new(schema);
        let checked = |item| checker.check(item).map(Some).map_err(|refusal: Refusal| refusal.to_string());
        // What came over a stream was shaped before.
        if is_from_stream(dead) {
            return checked(content.item.clone());
        }
        match self.shape.apply(content.item.clone()).map_err(|refusal| refusal.to_string())? {
            Shaped::Item(item) => checked(item),
            Shaped::Skipped => Ok(None),
        }
    }

    /// Puts what is in `dead`, and settles it in `journal`. Killed in between, it is found in the table the next time.
    ///
    /// # Errors
    /// AWS or the journal: the letter stays as it was. A dry run ends in [`Class::DryRun`].
    pub async fn put(&mut self, journal: &Journal, dead: &DeadLetter) -> Result<Replayed, ReplayError> {
        let (id, number) = (&dead.job, dead.number);
        // Read anew: it may have been settled or edited since it was listed.
        let Some(dead) = journal.letter(id, number)?.filter(|dead| dead.fate.is_none()) else {
            return Ok(Replayed::Settled);
        };
        let replayed = self.try_put(&dead).await?;
        match &replayed {
            Replayed::Written | Replayed::AlreadyThere => {
                journal.settle_letter(id, number, Ending::Replayed)?;
            }
            Replayed::LeftOut => {
                journal.settle_letter(id, number, Ending::Dropped)?;
            }
            Replayed::Held | Replayed::Unfit(_) => journal.set_tried(id, number, &replayed.reason())?,
            Replayed::Settled => {}
        }
        Ok(replayed)
    }

    async fn try_put(&mut self, dead: &DeadLetter) -> Result<Replayed, CloudError> {
        let content = content(self.job, dead);
        #[cfg(feature = "bigquery")]
        if let Spec::Replicate(spec) = &self.job.spec
            && let ReplicaTarget::BigQuery(target) = &spec.target
        {
            return self.append(spec, target, dead, content).await;
        }
        let schema = self.key_of(&content.table).await?;
        let item = match self.fit(dead, &content, schema.clone()) {
            Ok(Some(item)) => item,
            Ok(None) => return Ok(Replayed::LeftOut),
            Err(reason) => return Ok(Replayed::Unfit(reason)),
        };
        let body = match body(&content, &item, &schema, self.overwrite) {
            Ok(body) => body,
            Err(reason) => return Ok(Replayed::Unfit(reason)),
        };
        let table = AwsTable::new(self.cloud.dynamodb.clone(), &content.table, schema.clone());
        match table.put(body).await {
            Ok(_) => Ok(Replayed::Written),
            // Sent twice by the SDK or by a run that was killed, the item that is there may be its own.
            Err(error) if error.class == Class::Condition => {
                let same = self.there(&content.table, &schema, &item.key).await? == Some(item.digest);
                Ok(if same { Replayed::AlreadyThere } else { Replayed::Held })
            }
            Err(error) if error.class == Class::Invalid => Ok(Replayed::Unfit(error.to_string())),
            Err(error) => Err(error),
        }
    }

    /// Sends a letter's row into BigQuery, with the sequence number that it had: what is newer stays.
    #[cfg(feature = "bigquery")]
    async fn append(
        &mut self,
        spec: &ReplicateSpec,
        target: &BigQueryTarget,
        dead: &DeadLetter,
        content: Content,
    ) -> Result<Replayed, CloudError> {
        use super::replicate::bigquery::{self, Once};
        let key = super::replicate::bigquery::key_of(spec, &self.key_of(&content.table).await?);
        let checked = match Checker::new(key.clone()).check(content.item.clone()) {
            Ok(checked) => checked,
            Err(refusal) => return Ok(Replayed::Unfit(refusal.to_string())),
        };
        let replica = match &mut self.bigquery {
            Some(replica) => replica,
            none => none.insert(bigquery::connect(self.cloud, spec, target, key, &bigquery::clock()).await?),
        };
        let row = bigquery::row(dead, checked, content.deletes);
        Ok(match bigquery::once(replica, row).await? {
            Once::Written => Replayed::Written,
            Once::Unfit(reason) => Replayed::Unfit(reason),
        })
    }

    /// Digest of the item that has this key now.
    async fn there(&self, table: &str, schema: &KeySchema, key: &Key) -> Result<Option<u128>, CloudError> {
        let reply = self
            .cloud
            .dynamodb
            .get_item()
            .table_name(table)
            .set_key(super::verify::attributes(&key.json))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| CloudError::of(&format!("read a key of table {table}"), &error))?;
        debug_assert!(reply.item().is_none_or(|item| Key::of_attributes(schema, item).is_some()));
        Ok(reply.item().map(digest_of_attributes))
    }
}

/// The `PutItem` body of a letter: its own parameters, and the fence beside its own condition.
fn body(content: &Content, item: &Checked, schema: &KeySchema, overwrite: bool) -> Result<Bytes, String> {
    let mut rest = content.other.clone();
    if !overwrite {
        if rest.contains_key("Expected") || rest.contains_key("ConditionalOperator") {
            return Err(
                "it carries a condition in the old form (Expected), which takes no fence beside it: drop it, or put \
                        it without the fence with --overwrite"
                    .to_owned(),
            );
        }
        let own = rest.get("ConditionExpression").and_then(Value::as_str);
        let fence = "attribute_not_exists(#sluice_fence)";
        let both = own.map_or_else(|| fence.to_owned(), |own| format!("({own}) AND {fence}"));
        rest.insert("ConditionExpression".to_owned(), Value::from(both));
        let names = rest.entry("ExpressionAttributeNames").or_insert_with(|| json!({}));
        let Some(names) = names.as_object_mut() else {
            return Err("its ExpressionAttributeNames is no object".to_owned());
        };
        names.insert("#sluice_fence".to_owned(), Value::from(schema.partition.name.as_str()));
    }
    let table = Value::from(content.table.as_str());
    let mut body = format!("{{\"TableName\":{table},\"Item\":").into_bytes();
    body.extend_from_slice(&item.json);
    for (name, value) in rest {
        body.extend_from_slice(format!(",{}:{value}", Value::from(name)).as_bytes());
    }
    body.push(b'}');
    Ok(body.into())
}

/// The line of a file that begins at byte `offset` of its text, from 1, when the file is on this machine.
pub async fn line_of(dead: &DeadLetter) -> Option<u64> {
    let location @ Location::File(_) = dead.letter.source.parse::<Location>().ok()? else { return None };
    let offset = dead.letter.offset?;
    let inputs = backup::expand(std::slice::from_ref(&location), None).await.ok()?;
    let [input] = &inputs[..] else { return None };
    let mut reader = backup::Reader::open(input, None, Some(Format::Jsonl), backup::Place::default()).await.ok()?;
    while let Some(record) = reader.next().await.ok()? {
        if record.offset >= offset {
            return (record.offset == offset).then_some(record.line);
        }
    }
    None
}

#[cfg(test)]
#[path = "dead_tests.rs"]
mod tests;
