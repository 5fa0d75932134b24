//! What can be typed after `:` with arguments. A plain table: an area adds a list of its own to [`COMMANDS`].
//!
//! A command that changes something opens the question that its key opens, filled in: there is no second way.

use super::app::{App, Overlay, Prompt};
use super::chord::nearest;
use super::columns::List;
use super::context::Picker;
use super::effect::Effect;
use super::keymap::Action;
use super::spot::Spot;
use super::widget::quantity::count;
use super::{backup, controls, forms, keys, raise, replica, stream, theme, words};
use crate::capacity::Resource;
use crate::jobs::JobId;
use crate::jobs::journal::{Control, State};

/// What became of a command: what is to be done, or what is wrong with it.
pub type Ran = Result<Vec<Effect>, String>;

/// A command.
#[derive(Debug)]
pub struct Command {
    /// As it is typed.
    pub name: &'static str,
    /// What follows it.
    pub arguments: &'static [Argument],
    /// What it does.
    pub help: &'static str,
    /// Does it with the words that follow.
    pub run: fn(&mut App, &[&str]) -> Ran,
}

/// What follows a command.
#[derive(Debug)]
pub struct Argument {
    /// As the usage names it.
    pub name: &'static str,
    /// What it may be.
    pub of: Of,
    /// It may be left out.
    pub is_optional: bool,
}

/// What an argument may be: what it is completed from.
#[derive(Clone, Copy, Debug)]
pub enum Of {
    /// A table.
    Table,
    /// A stream.
    Stream,
    /// A job.
    Job,
    /// An event table.
    EventTable,
    /// Something with a capacity: a table, `table/index`, a stream.
    Resource,
    /// One of these, each with what it means.
    Choice(fn(&App) -> Vec<(String, String)>),
    /// The same, where it may be several words.
    Phrase(fn(&App) -> Vec<(String, String)>),
    /// A number or a text.
    Free,
    /// Everything that follows, spaces and all.
    Rest,
}

impl Argument {
    /// True when all words that follow are it.
    fn takes_all(&self) -> bool {
        matches!(self.of, Of::Rest | Of::Phrase(_))
    }
}

const fn argument(name: &'static str, of: Of) -> Argument {
    Argument { name, of, is_optional: false }
}

const fn optional(name: &'static str, of: Of) -> Argument {
    Argument { name, of, is_optional: true }
}

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

fn profiles(app: &App) -> Vec<(String, String)> {
    let known = app.profiles.iter().flatten().flatten();
    known.map(|profile| (profile.name.clone(), profile.region.clone().unwrap_or_default())).collect()
}

fn regions(app: &App) -> Vec<(String, String)> {
    app.region_choices(&Picker::default()).into_iter().map(|region| (region, String::new())).collect()
}

fn themes(_: &App) -> Vec<(String, String)> {
    let all = theme::Name::ALL.into_iter().map(|name| (name.as_str().to_owned(), name.words().to_owned()));
    all.chain([("auto".to_owned(), "as environment, config.toml and the terminal's background say".to_owned())])
        .collect()
}

/// The command of that name.
pub fn command(name: &str) -> Option<&'static Command> {
    COMMANDS.iter().flat_map(|area| area.iter()).find(|command| command.name == name)
}

impl Command {
    /// How it is typed.
    pub fn usage(&self) -> String {
        let arguments = self.arguments.iter().map(|argument| {
            if argument.is_optional { format!(" [{}]", argument.name) } else { format!(" {}", argument.name) }
        });
        format!("{}{}", self.name, arguments.collect::<String>())
    }

    /// How many words it needs.
    fn fewest(&self) -> usize {
        self.arguments.iter().filter(|argument| !argument.is_optional).count()
    }

    /// True when it can be run with nothing after it.
    pub fn needs_nothing(&self) -> bool {
        self.fewest() == 0
    }

    /// What the word at `at` may be; an optional one that is left out is passed over.
    pub fn argument(&self, words: &[&str], at: usize) -> Option<&'static Argument> {
        let skipped = self.arguments.first().is_some_and(|first| {
            first.is_optional && self.arguments.len() > 1 && words.first().is_some_and(|word| *word != first.name)
        });
        let last = self.arguments.last().filter(|last| last.takes_all());
        // While the optional word is typed, it may be either.
        self.arguments.get(at + usize::from(skipped && (at > 0 || words.len() > 1))).or(last)
    }

    /// Runs it with what was typed after it.
    pub fn run(&self, app: &mut App, rest: &str) -> Ran {
        let words: Vec<&str> = rest.split_whitespace().collect();
        let takes_all = self.arguments.last().is_some_and(Argument::takes_all);
        if words.len() < self.fewest() || words.len() > self.arguments.len() && !takes_all {
            return Err(format!("{}: {}", self.usage(), self.help));
        }
        (self.run)(app, &words)
    }
}

/// The name, when it is one of those known.
fn known(what: &str, name: &str, known: &[&str]) -> Result<String, String> {
    if known.contains(&name) {
        return Ok(name.to_owned());
    }
    let near = if known.is_empty() { ": none is known yet".to_owned() } else { near(name, known) };
    Err(format!("there is no {what} {name:?}{near}"))
}

/// The nearest of a few names, or of many only when one is near.
fn near(name: &str, known: &[&str]) -> String {
    let near = nearest(name, known);
    if known.len() > 12 && near.starts_with(": known are") { format!(": {} are known", known.len()) } else { near }
}

fn table(app: &App, name: &str) -> Result<String, String> {
    let names: Vec<&str> = app.table_names.rows.iter().flatten().map(String::as_str).collect();
    known("table", name, &names)
}

fn stream_named(app: &App, name: &str) -> Result<String, String> {
    let names: Vec<&str> = app.streams.rows.iter().flatten().map(|stream| stream.name.as_str()).collect();
    // The list of streams is asked for when it is shown: until then a name is taken as it is.
    if names.is_empty() { Ok(name.to_owned()) } else { known("stream", name, &names) }
}

fn job(app: &App, id: &str) -> Result<JobId, String> {
    let ids: Vec<&str> = app.jobs.iter().flatten().map(|job| job.id.0.as_str()).collect();
    known("job", id, &ids).map(JobId)
}

fn resource(app: &App, name: &str) -> Result<Resource, String> {
    if let Some((table, index)) = name.split_once('/') {
        let described = app.table(table).ok_or_else(|| format!("table {table} is not described yet: enter again"))?;
        let indexes: Vec<&str> = described.indexes.iter().map(|index| index.name.as_str()).collect();
        let index = known(&format!("index of {table}"), index, &indexes)?;
        return Ok(Resource::Index { table: table.to_owned(), index });
    }
    if let Ok(table) = table(app, name) {
        return Ok(Resource::Table(table));
    }
    if app.streams.rows.iter().flatten().any(|stream| stream.name == name) {
        return Ok(Resource::Stream(name.to_owned()));
    }
    let names: Vec<String> = candidates(app, Of::Resource).into_iter().map(|(name, _)| name).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    known("table or stream", name, &names).map(Resource::Table)
}

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

fn columns(app: &App) -> Vec<(String, String)> {
    let columns = List::of(&app.screen).map(|list| list.columns(app.is_many()));
    columns.into_iter().flatten().map(|field| (field.name.to_owned(), field.title.to_lowercase())).collect()
}

fn directions(_: &App) -> Vec<(String, String)> {
    vec![("up".to_owned(), "smallest first".to_owned()), ("down".to_owned(), "largest first".to_owned())]
}

fn into(app: &App) -> Vec<(String, String)> {
    let mut words = vec![("into".to_owned(), "a table".to_owned())];
    words.extend(candidates(app, Of::Table));
    words
}

/// What an argument can be completed from, each with a word on it.
pub fn candidates(app: &App, of: Of) -> Vec<(String, String)> {
    let tables = || {
        let names = app.table_names.rows.iter().flatten();
        names.map(|name| {
            (
                name.clone(),
                app.table(name).map_or(String::new(), |table| match table.provisioned {
                    Some(p) => {
                        format!("{}, {} WCU, {} items", table.status.to_lowercase(), p.write, count(table.items as f64))
                    }
                    None => format!("{}, on demand, {} items", table.status.to_lowercase(), count(table.items as f64)),
                }),
            )
        })
    };
    let streams = || {
        let streams = app.streams.rows.iter().flatten();
        streams.map(|stream| {
            (
                stream.name.clone(),
                match stream.status.as_str() {
                    "" => String::new(),
                    status => format!("{}, {} shards", status.to_lowercase(), stream.open_shards()),
                },
            )
        })
    };
    match of {
        Of::Table => tables().collect(),
        Of::Stream => streams().collect(),
        Of::Job => {
            let jobs = app.jobs.iter().flatten();
            jobs.map(|job| (job.id.0.clone(), format!("{}, {}", job.state.as_str(), job.spec.title()))).collect()
        }
        Of::EventTable => {
            let found = super::playback::event_tables(app);
            found.into_iter().map(|(table, layout)| (table.name.clone(), format!("{layout}"))).collect()
        }
        Of::Resource => {
            let described = app.tables.rows.iter().flatten();
            let indexes = described.flat_map(|table| {
                let of = |index: &crate::cloud::inventory::Index| {
                    (format!("{}/{}", table.name, index.name), format!("index of {}", table.name))
                };
                table.indexes.iter().map(of)
            });
            tables().chain(indexes).chain(streams()).collect()
        }
        Of::Choice(of) | Of::Phrase(of) => of(app),
        Of::Free | Of::Rest => Vec::new(),
    }
}
