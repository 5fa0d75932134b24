//! Every command that takes arguments.

use super::known::{columns, directions, into, job, near, profiles, regions, resource, stream_named, table, themes};
use super::{Command, Of, Ran, argument, optional};
use crate::console::app::{App, Overlay, Prompt};
use crate::console::keymap::Action;
use crate::console::spot::Spot;
use crate::console::{backup, controls, forms, keys, raise, replica, stream, words};
use crate::jobs::journal::{Control, State};

/// All commands, by area.
pub const COMMANDS: &[&[Command]] = &[PLACES, LISTED, CAPACITY, JOBS, CONTEXTS];

const PLACES: &[Command] = &[
    Command {
        name: "table",
        arguments: &[argument("TABLE", Of::Table)],
        help: "open a table",
        run: |app, words| {
            let spot = Spot::Table(table(app, words[0])?);
            Ok(app.go_to(&spot))
        },
    },
    Command {
        name: "stream",
        arguments: &[argument("STREAM", Of::Stream)],
        help: "open a stream with its shards",
        run: |app, words| {
            let spot = Spot::Stream(stream_named(app, words[0])?);
            Ok(app.go_to(&spot))
        },
    },
    Command {
        name: "lambda",
        arguments: &[argument("STREAM", Of::Stream)],
        help: "open the Lambda functions that read a stream",
        run: |app, words| {
            let spot = Spot::Mappings(stream_named(app, words[0])?);
            Ok(app.go_to(&spot))
        },
    },
    Command {
        name: "tail",
        arguments: &[argument("STREAM", Of::Stream)],
        help: "look at the records of a stream as they arrive; costs reads",
        run: |app, words| {
            let name = stream_named(app, words[0])?;
            let mut effects = app.go_to(&Spot::Stream(name));
            effects.extend(stream::act(app, Action::TailAll));
            Ok(effects)
        },
    },
    Command {
        name: "job",
        arguments: &[argument("JOB", Of::Job)],
        help: "watch a job",
        run: |app, words| {
            let spot = Spot::Job(job(app, words[0])?.0);
            Ok(app.go_to(&spot))
        },
    },
    Command {
        name: "letters",
        arguments: &[argument("JOB", Of::Job)],
        help: "open the dead letters of a job",
        run: |app, words| {
            let spot = Spot::Letters(job(app, words[0])?.0);
            Ok(app.go_to(&spot))
        },
    },
    Command {
        name: "playback",
        arguments: &[argument("EVENT TABLE", Of::EventTable)],
        help: "scrub through the events of an event table",
        run: |app, words| {
            let table = table(app, words[0])?;
            // Of a thousand tables most are not described: whether it is an event table is seen when it is opened.
            Ok(app.go_to(&Spot::Playback(table)))
        },
    },
    Command {
        name: "words",
        arguments: &[optional("WORD", Of::Phrase(words::choices))],
        help: "what the words on screen mean",
        run: |app, words| {
            words::open(app, Some(words.join(" ").as_str()));
            Ok(Vec::new())
        },
    },
    Command {
        name: "tour",
        arguments: &[],
        help: "the six lines of the first start",
        run: |app, _| {
            app.tour = true;
            Ok(Vec::new())
        },
    },
];

const LISTED: &[Command] = &[
    Command {
        name: "filter",
        arguments: &[optional("FILTER", Of::Rest)],
        help: "show only rows that match, as / does; nothing shows all",
        run: |app, words| {
            let (of, list) = app.list_on_screen().ok_or("nothing is listed here: go to a list first")?;
            let text = words.join(" ");
            list.filter.set(&text, of.fields());
            list.select_first();
            match list.filter.wrong() {
                Some(wrong) => Err(wrong.to_owned()),
                None => Ok(app.due()),
            }
        },
    },
    Command {
        name: "sort",
        arguments: &[argument("COLUMN", Of::Choice(columns)), optional("DIRECTION", Of::Choice(directions))],
        help: "sort by a column",
        run: sort,
    },
];

const CAPACITY: &[Command] = &[
    Command {
        name: "capacity",
        arguments: &[argument("TABLE, TABLE/INDEX or STREAM", Of::Resource), argument("NUMBER", Of::Free)],
        help: "set write capacity, or the number of shards",
        run: |app, words| {
            let resource = resource(app, words[0])?;
            raise::type_capacity(app, resource);
            typed(app, words[1])
        },
    },
    Command {
        name: "give-back",
        arguments: &[argument("TABLE, TABLE/INDEX or STREAM", Of::Resource)],
        help: "set a capacity back to what it was before it was raised",
        run: |app, words| {
            let resource = resource(app, words[0])?;
            raise::give_back(app, &resource);
            Ok(Vec::new())
        },
    },
    Command {
        name: "retention",
        arguments: &[argument("STREAM", Of::Stream), argument("HOURS", Of::Free)],
        help: "change how long the records of a stream stay",
        run: |app, words| {
            let name = stream_named(app, words[0])?;
            stream::type_retention(app, &name);
            typed(app, words[1])
        },
    },
    Command {
        name: "restore",
        arguments: &[optional("into", Of::Choice(into)), argument("TABLE", Of::Table)],
        help: "restore a backup into a table",
        run: |app, words| {
            let table = words.last().map(|word| (*word).to_owned());
            Ok(forms::open(app, table))
        },
    },
    Command {
        name: "backup",
        arguments: &[argument("TABLE", Of::Table)],
        help: "write a table into files",
        run: |app, words| {
            let table = table(app, words[0])?;
            Ok(backup::open(app, Some(table)))
        },
    },
    Command {
        name: "replicate",
        arguments: &[argument("TABLE", Of::Table)],
        help: "keep a replica of a table",
        run: |app, words| {
            let table = table(app, words[0])?;
            Ok(replica::open(app, Some(table)))
        },
    },
];

const JOBS: &[Command] = &[
    Command {
        name: "pause",
        arguments: &[argument("JOB", Of::Job)],
        help: "pause a job",
        run: |app, words| pause(app, words[0], true),
    },
    Command {
        name: "resume",
        arguments: &[argument("JOB", Of::Job)],
        help: "let a job go on, or take it up again",
        run: |app, words| pause(app, words[0], false),
    },
    Command {
        name: "cancel",
        arguments: &[argument("JOB", Of::Job)],
        help: "end a job for good",
        run: |app, words| on_job(app, words[0], Action::Cancel),
    },
    Command {
        name: "verify",
        arguments: &[argument("JOB", Of::Job)],
        help: "compare what a job wrote with its source",
        run: |app, words| on_job(app, words[0], Action::Verify),
    },
    Command {
        name: "rate",
        arguments: &[argument("JOB", Of::Job), argument("ITEMS PER SECOND or none", Of::Free)],
        help: "cap a job's items per second",
        run: |app, words| {
            let mut effects = on_job(app, words[0], Action::Rate)?;
            effects.extend(typed(app, if words[1] == "none" { "" } else { words[1] })?);
            Ok(effects)
        },
    },
];

const CONTEXTS: &[Command] = &[
    Command {
        name: "profile",
        arguments: &[argument("PROFILE", Of::Choice(profiles))],
        help: "go to another profile",
        run: |app, words| app.go_to_profile(words[0]),
    },
    Command {
        name: "region",
        arguments: &[argument("REGION", Of::Choice(regions)), optional("MORE REGIONS", Of::Rest)],
        help: "go to another region, or list several side by side",
        run: |app, words| app.go_to_regions(words),
    },
    Command {
        name: "theme",
        arguments: &[argument("THEME", Of::Choice(themes))],
        help: "draw in other colours",
        run: |app, words| app.choose_theme(words[0]).map(|()| Vec::new()),
    },
];

/// Shows a job, and presses a key there.
fn on_job(app: &mut App, id: &str, action: Action) -> Ran {
    let id = job(app, id)?;
    let effects = app.go_to(&Spot::Job(id.0));
    controls::act(app, action);
    Ok(effects)
}

/// One key pauses and resumes; a word means one of both.
fn pause(app: &mut App, id: &str, pauses: bool) -> Ran {
    let name = job(app, id)?;
    let known = app.job(&name);
    let runs =
        known.is_some_and(|job| job.state.is_live() && job.state != State::Paused && job.control != Control::Pause);
    if runs != pauses {
        let state = known.map_or("gone", |job| job.state.as_str());
        return Err(format!("{id} is {state}: it can't be {}", if pauses { "paused" } else { "resumed" }));
    }
    on_job(app, id, Action::Pause)
}

/// Types into the line that was just opened, and accepts it.
fn typed(app: &mut App, text: &str) -> Ran {
    // What refused to open it has said why.
    let Some(Overlay::Prompt(Prompt { purpose, .. })) = app.overlay.take() else { return Ok(Vec::new()) };
    let effects = keys::accept(app, Prompt { purpose, input: text.into(), error: None });
    match app.overlay.take() {
        Some(Overlay::Prompt(Prompt { error: Some(error), .. })) => Err(error),
        overlay => {
            app.overlay = overlay;
            Ok(effects)
        }
    }
}

fn sort(app: &mut App, words: &[&str]) -> Ran {
    let is_many = app.is_many();
    let (of, list) = app.list_on_screen().ok_or("nothing is listed here: go to a list first")?;
    let names: Vec<&str> = of.columns(is_many).map(|field| field.name).collect();
    let wanted = words[0].to_lowercase();
    let field = of.columns(is_many).find(|field| field.name == wanted || field.also.contains(&wanted.as_str()));
    let field = field.ok_or_else(|| format!("there is no column {:?} here{}", words[0], near(words[0], &names)))?;
    list.sort.by = Some(field.name);
    list.sort.reversed = false;
    match words.get(1).copied() {
        None => {}
        Some("up") => list.sort.reversed = of.is_falling(list),
        Some("down") => list.sort.reversed = !of.is_falling(list),
        Some(other) => return Err(format!("{other:?} is neither up nor down")),
    }
    Ok(app.due())
}
