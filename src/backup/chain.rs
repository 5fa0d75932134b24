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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backup::Location;

    fn hour(hour: i64) -> Timestamp {
        Timestamp::from_second(1_780_000_000 + hour * 3600).unwrap()
    }

    fn link(name: &str, from: Option<i64>, to: i64) -> Manifest {
        Manifest {
            export: Export {
                manifest: Location::File(name.into()),
                table_arn: "arn:t".to_owned(),
                from: from.map(hour),
                to: hour(to),
                items: 1,
            },
            table_id: Some("id".to_owned()),
            inputs: Vec::new(),
        }
    }

    fn full(at: i64) -> Manifest {
        link(&format!("full{at}"), None, at)
    }

    fn increment(from: i64, to: i64) -> Manifest {
        link(&format!("inc{from}-{to}"), Some(from), to)
    }

    /// The names of the chain, then the notes.
    fn ordered(exports: Vec<Manifest>, until: Option<i64>) -> Result<(Vec<String>, Vec<String>), String> {
        let (chain, notes) = order(exports, until.map(hour), false).map_err(|error| error.to_string())?;
        Ok((chain.iter().map(|link| link.export.manifest.to_string()).collect(), notes))
    }

    fn names(exports: Vec<Manifest>, until: Option<i64>) -> Vec<String> {
        ordered(exports, until).unwrap().0
    }

    #[test]
    fn increments_follow_their_full_export_in_the_order_of_their_windows() {
        let exports = vec![increment(2, 3), full(1), increment(3, 7), increment(1, 2)];
        assert_eq!(names(exports, None), ["full1", "inc1-2", "inc2-3", "inc3-7"]);
        assert_eq!(names(vec![full(1)], None), ["full1"]);
    }

    #[test]
    fn a_gap_is_named_with_both_times_and_both_exports() {
        let said = ordered(vec![full(1), increment(1, 2), increment(3, 4)], None).unwrap_err();
        let (ended, begun) = (hour(2).to_string(), hour(3).to_string());
        assert!(said.contains(&format!("a gap from {ended} to {begun}, between inc1-2 and inc3-4")), "{said}");
        assert!(said.contains(&format!("--until {ended}")), "{said}");
        assert!(ordered(vec![full(1), increment(2, 3)], None).unwrap_err().contains("a gap"));
        // Before the gap nothing is missing.
        assert_eq!(names(vec![full(1), increment(1, 2), increment(3, 4)], Some(2)), ["full1", "inc1-2"]);
    }

    #[test]
    fn an_overlap_of_increments_is_named_with_both_times() {
        for (one, two, from, to) in [((1, 3), (2, 4), 2, 3), ((1, 2), (1, 2), 1, 2), ((2, 3), (1, 4), 2, 3)] {
            let exports = vec![full(1), increment(one.0, one.1), increment(two.0, two.1)];
            let exports = if one.0 > 1 { vec![full(2), increment(2, 3), increment(1, 4)] } else { exports };
            let said = ordered(exports, None).unwrap_err();
            assert!(said.contains(&format!("overlap from {} to {}", hour(from), hour(to))), "{said}");
        }
    }

    #[test]
    fn what_an_increment_repeats_of_the_full_export_does_no_harm() {
        assert_eq!(names(vec![full(2), increment(1, 3), increment(3, 4)], None), ["full2", "inc1-3", "inc3-4"]);
        let (chain, notes) = ordered(vec![full(2), increment(1, 2), increment(2, 3)], None).unwrap();
        assert_eq!(chain, ["full2", "inc2-3"]);
        assert!(notes[0].starts_with("inc1-2 (from") && notes[0].contains("holds it already"), "{notes:?}");
    }

    #[test]
    fn until_stops_at_the_last_end_by_then() {
        let exports = || vec![full(1), increment(1, 3), increment(3, 5)];
        assert_eq!(names(exports(), Some(1)), ["full1"]);
        assert_eq!(names(exports(), Some(3)), ["full1", "inc1-3"]);
        let (chain, notes) = ordered(exports(), Some(3)).unwrap();
        assert_eq!(chain.len(), 2);
        assert!(notes[0].starts_with("inc3-5") && notes[0].ends_with("it ends later"), "{notes:?}");
        let (chain, notes) = ordered(exports(), Some(9)).unwrap();
        assert_eq!(chain.len(), 3);
        assert!(notes[0].contains(&format!("as it was at {}", hour(5))), "{notes:?}");
    }

    #[test]
    fn a_time_inside_an_increment_says_which_ends_are_possible() {
        let said = ordered(vec![full(1), increment(1, 3), increment(3, 5)], Some(4)).unwrap_err();
        let ends = [1, 3, 5].map(|end| hour(end).to_string()).join(", ");
        assert!(said.contains("within the increment") && said.ends_with(&format!("Possible are {ends}")), "{said}");
        let said = ordered(vec![full(2), increment(2, 3)], Some(1)).unwrap_err();
        assert!(said.contains("no full export is as old as that"), "{said}");
    }

    #[test]
    fn of_several_full_exports_one_must_be_meant() {
        let exports = || vec![full(1), increment(1, 3), full(3), increment(3, 4), full(9)];
        let said = ordered(exports(), None).unwrap_err();
        assert!(said.contains("3 full exports") && said.contains("full1 of") && said.contains("full9 of"), "{said}");
        assert!(said.contains(&format!("--until {} for the newest", hour(9))), "{said}");
        let (chain, notes) = ordered(exports(), Some(4)).unwrap();
        assert_eq!(chain, ["full3", "inc3-4"]);
        assert_eq!(notes.len(), 3, "{notes:?}");
    }

    #[test]
    fn increments_alone_are_only_taken_when_each_is_named() {
        let said = ordered(vec![increment(1, 2)], None).unwrap_err();
        assert!(said.contains("1 increments but no full export"), "{said}");
        let (chain, notes) = order(vec![increment(2, 3), increment(1, 2)], None, true).unwrap();
        assert_eq!(chain.len(), 2);
        assert!(notes[0].contains("onto what the table holds now"));
        let error = order(vec![increment(2, 3), increment(4, 5)], None, true).unwrap_err();
        assert!(error.to_string().contains("a gap"));
        let error = order(vec![increment(2, 3)], Some(hour(1)), true).unwrap_err();
        assert!(error.to_string().contains("no export ends by then"), "{error}");
    }

    #[test]
    fn exports_of_several_tables_make_no_chain() {
        let mut other = increment(1, 2);
        other.export.table_arn = "arn:u".to_owned();
        let said = ordered(vec![full(1), other], None).unwrap_err();
        assert!(said.contains("arn:t") && said.contains("arn:u"), "{said}");
        let mut later = increment(1, 2);
        later.table_id = Some("made anew".to_owned());
        let said = ordered(vec![full(1), later], None).unwrap_err();
        assert!(said.contains("two tables that had the same name"), "{said}");
    }
}
