//! The order of exports: a full one, then the increments after it, each beginning where the one before ended.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::error::BackupError;
use super::manifest::Manifest;
use super::set::Export;

/// The exports to apply, in order, and sentences about those that are left out.
///
/// Increments alone are only taken when `each_named`: they are meant for a table that already holds what came before.
///
/// # Errors
/// [`BackupError::NoChain`]: they are of several tables, begin with no full export or with several, have a gap or
/// overlap, or none ends at `until`.
pub(super) fn order(
    exports: Vec<Manifest>,
    until: Option<Timestamp>,
    each_named: bool,
) -> Result<(Vec<Manifest>, Vec<String>), BackupError> {
    of_one_table(&exports)?;
    let ends: BTreeSet<Timestamp> = exports.iter().map(|link| link.export.to).collect();
    let mut notes = Vec::new();
    let (fulls, mut increments): (Vec<_>, Vec<_>) = exports.into_iter().partition(|link| link.export.from.is_none());
    increments.sort_by_key(|link| (link.export.to, link.export.from));

    let is_late = |link: &Manifest| until.is_some_and(|until| link.export.to > until);
    let none_was_there = fulls.is_empty();
    let (late, mut early): (Vec<_>, Vec<_>) = fulls.into_iter().partition(is_late);
    notes.extend(late.iter().map(|link| left_out(&link.export, "it shows a later moment")));
    early.sort_by_key(|link| link.export.to);
    let base = early.pop();
    match (&base, until) {
        (Some(newest), None) if !early.is_empty() => {
            let moments =
                early.iter().chain(&base).map(|link| format!("{} of {}", link.export.manifest, link.export.to));
            return Err(BackupError::NoChain(format!(
                "there are {} full exports, and a chain begins with one: {}. Name one and its increments, or pass --until \
                 {} for the newest",
                early.len() + 1,
                moments.collect::<Vec<_>>().join(", "),
                increments.last().map_or(newest.export.to, |last| last.export.to.max(newest.export.to)),
            )));
        }
        (Some(_), _) => {}
        (None, Some(until)) if !none_was_there => return Err(no_end(until, "no full export is as old as that", &ends)),
        (None, _) if each_named => {
            notes.push("there is no full export: the increments are applied onto what the table holds now".to_owned());
        }
        (None, _) => {
            return Err(BackupError::NoChain(format!(
                "there are {} increments but no full export before them: name it too. Onto a table that already holds \
                 what came before, name the folders of the increments themselves",
                increments.len()
            )));
        }
    }
    notes.extend(early.iter().map(|link| left_out(&link.export, "a later full export stands for it")));

    let mut chain: Vec<Manifest> = base.into_iter().collect();
    for link in increments {
        let last = chain.last().map(|last| &last.export);
        let is_in_the_full = last.is_some_and(|last| last.from.is_none() && link.export.to <= last.to);
        if is_in_the_full {
            notes.push(left_out(&link.export, "the full export holds it already"));
        } else if is_late(&link) {
            let reached = last.map(|last| last.to);
            let until = until.unwrap_or(link.export.to);
            if link.export.from.is_some_and(|from| from < until) && reached != Some(until) {
                let within =
                    format!("it lies within the increment {}, which is applied whole or not", window(&link.export));
                return Err(no_end(until, &within, &ends));
            }
            notes.push(left_out(&link.export, "it ends later"));
        } else {
            if let Some(last) = last {
                follows(last, &link.export)?;
            }
            chain.push(link);
        }
    }
    match (chain.last(), until) {
        (None, Some(until)) => return Err(no_end(until, "no export ends by then", &ends)),
        (Some(last), Some(until)) if last.export.to < until => {
            notes.push(format!("the table is restored as it was at {}, the last end before {until}", last.export.to));
        }
        _ => {}
    }
    Ok((chain, notes))
}

/// An error unless all are exports of one and the same table.
fn of_one_table(exports: &[Manifest]) -> Result<(), BackupError> {
    let Some((first, rest)) = exports.split_first() else { return Ok(()) };
    for other in rest {
        let (one, two) = (&first.export, &other.export);
        if one.table_arn != two.table_arn {
            return Err(BackupError::NoChain(format!(
                "{} is an export of {} and {} one of {}: name the exports of one table",
                one.manifest, one.table_arn, two.manifest, two.table_arn
            )));
        }
        if let (Some(id), Some(other_id)) = (&first.table_id, &other.table_id)
            && id != other_id
        {
            return Err(BackupError::NoChain(format!(
                "{} and {} are exports of two tables that had the same name one after the other ({id}, {other_id}): name \
                 the exports of one of them",
                one.manifest, two.manifest
            )));
        }
    }
    Ok(())
}

/// An error unless `next` begins where `last` ended.
fn follows(last: &Export, next: &Export) -> Result<(), BackupError> {
    let Some(from) = next.from else { return Ok(()) };
    // What an increment repeats of the time before a full export is in that already, and the last state of each key wins.
    if from == last.to || last.from.is_none() && from < last.to {
        return Ok(());
    }
    Err(BackupError::NoChain(if from > last.to {
        format!(
            "there is a gap from {} to {from}, between {} and {}: what was written then is in neither. Add the increment \
             of that time, or stop before it with --until {}",
            last.to, last.manifest, next.manifest, last.to
        )
    } else {
        format!(
            "the increments {} ({}) and {} ({}) overlap from {} to {}: leave one of them out, or apply the second in a run \
             of its own",
            last.manifest,
            window(last),
            next.manifest,
            window(next),
            last.from.map_or(from, |start| start.max(from)),
            last.to,
        )
    }))
}

fn window(export: &Export) -> String {
    export.from.map_or_else(|| export.to.to_string(), |from| format!("from {from} to {}", export.to))
}

fn left_out(export: &Export, why: &str) -> String {
    format!("{} ({}) is left out: {why}", export.manifest, window(export))
}

fn no_end(until: Timestamp, why: &str, ends: &BTreeSet<Timestamp>) -> BackupError {
    let ends: Vec<String> = ends.iter().map(ToString::to_string).collect();
    BackupError::NoChain(format!("--until {until}: {why}. Possible are {}", ends.join(", ")))
}
