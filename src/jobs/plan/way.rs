//! Which way is best: straight into the table, over a stream, or AWS's own import.

use serde::Serialize;

use super::Facts;
use super::words::{grouped, span};
use crate::backup::Format;
use crate::cloud::price::prices;
use crate::item::Shape;
use crate::jobs::spec::RestoreSpec;

/// Items a second that one worker wrote straight into a table (docs/restore.md, "Measuring it": 11,067, server and worker
/// on the same two cores).
const ONE_WORKER: f64 = 11_000.0;

/// A way for items into a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Best {
    /// One worker writes straight into the table.
    Direct,
    /// Put requests travel over a stream, and workers on several machines put them.
    Stream,
    /// AWS's `ImportTable`, from S3 into a table that it makes.
    Import,
}

/// The best way, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Way {
    /// Which.
    pub best: Best,
    /// Why, in a sentence.
    pub reason: String,
    /// Why `ImportTable` can't do it, in words; `None` when it can.
    pub import_cannot: Option<String>,
}

/// Why `ImportTable` can't do what `spec` asks for (`DynamoDB` developer guide, "Importing data from Amazon S3"): only into a
/// table that it makes itself, only from S3, only CSV with a header, DynamoDB JSON or ION.
fn import_cannot(facts: &Facts, spec: &RestoreSpec) -> Option<String> {
    let source = &facts.source;
    let why = if facts.target.exists {
        "it writes only into a table that it makes itself, and this one exists"
    } else if !source.in_s3 {
        "it reads only from S3, from one bucket"
    } else if source.is_chain || source.sample.deletes > 0 {
        "it knows no increments and no deletes"
    } else if !source.sample.importable || source.formats.iter().any(|f| matches!(f, Format::Csv64 | Format::Csv)) {
        "it reads lines of {\"Item\":…}, ION, or CSV with a header, and this backup is none of them"
    } else if !Shape::new(&spec.source.shape).is_ok_and(|shape| shape.is_nothing()) {
        "it takes items as they are, without filter, rename or set"
    } else if source.sample.refused > 0 {
        "it drops what it can't take into a log, and some records here can't be restored"
    } else {
        return None;
    };
    Some(why.to_owned())
}

/// The best way for `items` items that are to be written in `seconds`.
pub(super) fn best(facts: &Facts, spec: &RestoreSpec, items: f64, seconds: Option<f64>) -> Way {
    let cannot = import_cannot(facts, spec);
    let gigabytes = facts.source.text_bytes / 1e9;
    let import = gigabytes * prices().dynamodb.import.gigabyte;
    if cannot.is_none() {
        let with = if facts.target.schema.indexes.is_empty() { "" } else { ", its indexes filled as well" };
        let reason = format!(
            "aws dynamodb import-table makes the table and fills it from S3 without any write capacity{with}, for about ${import:.2} \
             ({gigabytes:.1} GB at ${:.2}). sluice does not start it; it verifies what came of it",
            prices().dynamodb.import.gigabyte
        );
        return Way { best: Best::Import, reason, import_cannot: None };
    }
    let per_second = seconds.filter(|s| *s > 0.0).map_or(0.0, |seconds| items / seconds);
    let (best, reason) = if per_second > ONE_WORKER {
        let reason = format!(
            "{} items a second are to be written, and one worker writes about {}: over a stream several machines put them \
             (sluice work), or each takes a --part",
            grouped(per_second as u64),
            grouped(ONE_WORKER as u64)
        );
        (Best::Stream, reason)
    } else if spec.no_workers {
        let reason = "with --no-workers the put requests are for workers elsewhere, which only a stream reaches";
        (Best::Stream, reason.to_owned())
    } else {
        let time = seconds.map_or_else(|| "no time".to_owned(), span);
        let reason = match &facts.stream {
            Some(_) => format!(
                "one worker keeps up with the table ({} items a second, {time}): a stream between them costs shards and adds \
                 nothing",
                grouped(per_second.round() as u64)
            ),
            None => format!(
                "one worker keeps up with the table ({} items a second, {time})",
                grouped(per_second.round() as u64)
            ),
        };
        (Best::Direct, reason)
    };
    Way { best, reason, import_cannot: cannot }
}

#[cfg(test)]
mod tests {
    use super::super::figures::tests::{facts, schema};
    use super::*;
    use crate::item::ShapeSpec;
    use crate::jobs::spec::SourceSpec;

    fn importable() -> Facts {
        let mut facts = facts(1_000_000, 300, 1, &schema(130, ""));
        facts.target.exists = false;
        facts.source.in_s3 = true;
        facts.source.sample.importable = true;
        facts.source.formats = vec![Format::Jsonl];
        facts.source.text_bytes = 2e9;
        facts
    }

    fn best_of(facts: &Facts, spec: &RestoreSpec) -> Way {
        facts.plan(spec, None).way
    }

    #[test]
    fn a_new_table_from_s3_is_best_imported_by_aws_itself() {
        let way = best_of(&importable(), &RestoreSpec::default());
        assert_eq!((way.best, &way.import_cannot), (Best::Import, &None));
        assert!(way.reason.contains("about $0.30 (2.0 GB at $0.15)"), "{}", way.reason);
    }

    #[test]
    fn what_import_cant_do_is_said_and_goes_direct() {
        let cases: [(&str, fn(&mut Facts, &mut RestoreSpec)); 6] = [
            ("this one exists", |facts, _| facts.target.exists = true),
            ("only from S3", |facts, _| facts.source.in_s3 = false),
            ("no increments", |facts, _| facts.source.is_chain = true),
            ("none of them", |facts, _| facts.source.formats = vec![Format::Csv64]),
            ("without filter", |_, spec| {
                let shape = ShapeSpec { filter: Some("x".into()), ..ShapeSpec::default() };
                spec.source = SourceSpec { shape, ..SourceSpec::default() };
            }),
            ("can't be restored", |facts, _| facts.source.sample.refused = 1),
        ];
        for (why, change) in cases {
            let (mut facts, mut spec) = (importable(), RestoreSpec::default());
            change(&mut facts, &mut spec);
            let way = best_of(&facts, &spec);
            assert_eq!(way.best, Best::Direct, "{why}");
            assert!(way.import_cannot.as_ref().is_some_and(|words| words.contains(why)), "{why}: {way:?}");
        }
    }

    #[test]
    fn direct_is_best_while_one_worker_keeps_up_with_the_table() {
        let way = best_of(&facts(1_000_000, 300, 1, &schema(130, "")), &RestoreSpec::default());
        assert_eq!(way.best, Best::Direct);
        assert!(way.reason.contains("130 items a second"), "{}", way.reason);
    }

    #[test]
    fn a_stream_is_best_for_a_table_faster_than_one_worker_and_for_workers_elsewhere() {
        let fast = facts(100_000_000, 300, 1, &schema(30_000, ""));
        let way = best_of(&fast, &RestoreSpec::default());
        assert_eq!(way.best, Best::Stream);
        assert!(way.reason.contains("30,000 items a second are to be written"), "{}", way.reason);
        let elsewhere = RestoreSpec { no_workers: true, ..RestoreSpec::default() };
        assert_eq!(best_of(&facts(1_000, 300, 1, &schema(130, "")), &elsewhere).best, Best::Stream);
    }
}
