//! `sluice restore --preview N`: the first items of a backup before and after the options that shape them. Writes nothing.

use serde::Serialize;
use serde_json::value::RawValue;

use super::print;
use super::report::{Exit, Report};
use super::session::Session;
use crate::backup::{Change, Piece, Place, Reader, Record, Set, Wanted};
use crate::cloud::inventory;
use crate::item::{Checker, Refusal, Shape, Shaped};
use crate::jobs::RestoreSpec;

/// One record, before and after.
#[derive(Debug, Serialize)]
struct Row<'a> {
    source: String,
    offset: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<&'a RawValue>,
    /// `put`, `delete`, `skipped` or `dead`.
    becomes: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// Prints what becomes of the first `most` records.
pub async fn run(spec: &RestoreSpec, most: usize, session: &Session) -> Result<Exit, Report> {
    let cloud = session.reading().await?;
    let table = session.answered(inventory::table(&cloud, &spec.table)).await?;
    let checker = Checker::new(table.key);
    let shape = Shape::new(&spec.source.shape).map_err(|error| Report::bad_arguments(error.to_string(), ""))?;
    let wanted = Wanted { sources: spec.source.sources.clone(), format: spec.source.format, until: spec.source.until };
    let s3 = Some(&cloud.s3);
    let set = Set::resolve(&wanted, s3).await?;
    let mut left = most;
    for input in set.inputs() {
        let mut reader = Reader::open_piece(&Piece::whole(input.clone()), s3, wanted.format, Place::default()).await?;
        while left > 0 {
            let records = reader.next_batch(left.min(1_000)).await?;
            if records.is_empty() {
                break;
            }
            left -= records.len();
            for record in &records {
                show(&input.location.to_string(), record, &shape, &checker, session)?;
            }
        }
    }
    Ok(Exit::Done)
}

fn show(source: &str, record: &Record, shape: &Shape, checker: &Checker, session: &Session) -> Result<(), Report> {
    let became = became(record, shape, checker);
    let before = record.json.as_ref().ok().and_then(|json| serde_json::from_slice::<&RawValue>(json).ok());
    let (becomes, after, reason) = match &became {
        Ok(Some(json)) if record.change == Change::Delete => ("delete", Some(json), None),
        Ok(Some(json)) => ("put", Some(json), None),
        Ok(None) => ("skipped", None, None),
        Err(refusal) => ("dead", None, Some(refusal.to_string())),
    };
    let after = after.and_then(|json| serde_json::from_slice::<&RawValue>(json).ok());
    if session.global.json {
        return print::json(&Row { source: source.to_owned(), offset: record.offset, before, after, becomes, reason });
    }
    let text = |raw: Option<&RawValue>| raw.map_or_else(String::new, |raw| print::shown(raw.get()));
    match (&reason, after) {
        (Some(reason), _) => {
            print::line(&format!("dead     byte {} of {source}: {}", record.offset, print::shown(reason)))
        }
        (None, None) => print::line(&format!("skipped  {}", text(before))),
        (None, Some(after)) if before.is_some_and(|before| before.get() == after.get()) => {
            print::line(&format!("{becomes:<8} {}", text(Some(after))))
        }
        (None, after) => {
            print::line(&format!("before   {}", text(before)))?;
            print::line(&format!("{becomes:<8} {}", text(after)))
        }
    }
}

/// The JSON that would be written; `None` when an option leaves it out.
fn became(record: &Record, shape: &Shape, checker: &Checker) -> Result<Option<bytes::Bytes>, Refusal> {
    let json = record.json.clone()?;
    if record.change == Change::Delete {
        return shape.key(json).map(Some);
    }
    match shape.apply(json)? {
        Shaped::Item(json) => Ok(Some(checker.check(json)?.json)),
        Shaped::Skipped => Ok(None),
    }
}
