//! The event source mappings of a stream: shown, paused and resumed.

use std::io::IsTerminal as _;

use serde_json::json;

use crate::cli::capacity::ask;
use crate::cli::print::{self, Columns, Side};
use crate::cli::report::{Exit, Report};
use crate::cli::session::Session;
use crate::cloud::inventory;
use crate::cloud::mappings::{self, Mapping};
use crate::cloud::{Cloud, Mode};
use crate::jobs::journal::now_ms;

/// Prints them.
pub async fn show(stream: &str, session: &Session, cloud: &Cloud) -> Result<(), Report> {
    let arn = session.answered(inventory::stream_summary(cloud, stream)).await?.arn;
    let all = session.answered(mappings::list(cloud, &arn)).await?;
    let functions: Vec<String> = all.iter().map(|mapping| mapping.function().to_owned()).collect();
    // Without CloudWatch the list is still a list.
    let ages = if functions.is_empty() {
        Vec::new()
    } else {
        mappings::iterator_ages(cloud, &functions, now_ms()).await.unwrap_or_default()
    };
    let age = |i: usize| ages.get(i).copied().flatten();
    if session.global.json {
        return all.iter().enumerate().try_for_each(|(i, mapping)| {
            print::json(&json!({
                "stream": stream, "uuid": mapping.uuid, "function": mapping.function(), "state": mapping.state,
                "reason": mapping.reason, "last_result": mapping.last_result, "batch_size": mapping.batch_size,
                "parallelization": mapping.parallelization, "retries": mapping.retries, "bisects": mapping.bisects,
                "on_failure": mapping.on_failure, "iterator_age_ms": age(i),
            }))
        });
    }
    if all.is_empty() {
        return print::line(&format!("no Lambda function of this account reads {stream}"));
    }
    let mut columns = Columns::new(&[
        ("FUNCTION", Side::Left),
        ("STATE", Side::Left),
        ("LAST RESULT", Side::Left),
        ("BATCH", Side::Right),
        ("PARALLEL", Side::Right),
        ("RETRIES", Side::Right),
        ("AGE S", Side::Right),
        ("UUID", Side::Left),
    ]);
    for (i, mapping) in all.iter().enumerate() {
        columns.row(&[
            mapping.function().to_owned(),
            mapping.state.clone(),
            mapping.last_result.clone(),
            mapping.batch_size.to_string(),
            mapping.parallelization.to_string(),
            mapping.retries.map_or_else(|| "for ever".to_owned(), |n| n.to_string()),
            age(i).map_or_else(|| "-".to_owned(), |ms| format!("{:.1}", ms / 1000.0)),
            mapping.uuid.clone(),
        ]);
    }
    print::columns(&columns)
}

/// Pauses or resumes the one that `which` names.
pub async fn set(stream: &str, which: &str, enabled: bool, session: &Session) -> Result<Exit, Report> {
    let cloud = session.cloud().await?;
    let arn = session.answered(inventory::stream_summary(&cloud, stream)).await?.arn;
    let all = session.answered(mappings::list(&cloud, &arn)).await?;
    let mapping = chosen(&all, which, stream)?;
    let verb = if enabled { "resume" } else { "pause" };
    if mapping.is_settled() && mapping.is_on() == enabled {
        let row = json!({
            "uuid": mapping.uuid, "function": mapping.function(), "enabled": enabled, "changed": false,
        });
        let words = format!("nothing to change: {} is {}", mapping.function(), mapping.state);
        print::said(session, &words, &row)?;
        return Ok(Exit::Done);
    }
    let then = if enabled {
        "it reads on where it stopped"
    } else {
        "the function gets no records until it is resumed; what is older than the retention is lost to it then"
    };
    let words = format!("{verb} {} ({}), now {}: {then}", mapping.function(), mapping.uuid, mapping.state);
    if session.mode() == Mode::Normal && !session.global.yes {
        if !std::io::stdin().is_terminal() {
            return Err(Report::bad_arguments(
                format!("to {verb} {} needs a yes, and nobody is there to ask", mapping.function()),
                "pass --yes",
            ));
        }
        ask(&words)?;
    }
    mappings::set_enabled(&cloud, &mapping.uuid, enabled).await?;
    let done = if enabled { "resuming" } else { "pausing" };
    let words = format!("{done} {}: sluice streams {stream} --mappings shows when it is done", mapping.function());
    let row = json!({
        "uuid": mapping.uuid, "function": mapping.function(), "enabled": enabled, "changed": true,
    });
    print::said(session, &words, &row)?;
    Ok(Exit::Done)
}

fn chosen<'a>(all: &'a [Mapping], which: &str, stream: &str) -> Result<&'a Mapping, Report> {
    let is_meant =
        |mapping: &&Mapping| mapping.uuid == which || mapping.function() == which || mapping.function_arn == which;
    let meant: Vec<&Mapping> = all.iter().filter(is_meant).collect();
    match meant.as_slice() {
        [one] => Ok(one),
        [] => {
            let names: Vec<String> = all.iter().map(|mapping| mapping.function().to_owned()).collect();
            let sentence = format!("{stream} has no event source mapping {which}");
            Err(Report::failed(sentence, inventory::nearest(which, &names).replace("exist there", "read it")))
        }
        [_, _, ..] => Err(Report::failed(
            format!("{which} has {} mappings on {stream}", meant.len()),
            "name one by its UUID: sluice streams --mappings lists them",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(uuid: &str, function: &str) -> Mapping {
        let function_arn = format!("arn:aws:lambda:eu-west-1:1:function:{function}");
        Mapping { uuid: uuid.into(), function_arn, ..Mapping::default() }
    }

    #[test]
    fn a_mapping_is_named_by_uuid_or_by_function_when_that_is_clear() {
        let all = [mapping("u-1", "put"), mapping("u-2", "put:live"), mapping("u-3", "put:live")];
        assert_eq!(chosen(&all, "put", "s").unwrap().uuid, "u-1");
        assert_eq!(chosen(&all, "u-3", "s").unwrap().uuid, "u-3");
        assert!(chosen(&all, "put:live", "s").unwrap_err().sentence.contains("2 mappings"));
        assert_eq!(chosen(&all, "pup", "s").unwrap_err().hint, "did you mean put?");
    }
}
