//! What is known of the names that follow a command: to complete them, and to refuse those that are none.

use super::Of;
use crate::capacity::Resource;
use crate::console::app::App;
use crate::console::chord::nearest;
use crate::console::columns::List;
use crate::console::context::Picker;
use crate::console::widget::quantity::count;
use crate::console::{playback, theme};
use crate::jobs::JobId;

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
            let found = playback::event_tables(app);
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

pub(super) fn profiles(app: &App) -> Vec<(String, String)> {
    let known = app.profiles.iter().flatten().flatten();
    known.map(|profile| (profile.name.clone(), profile.region.clone().unwrap_or_default())).collect()
}

pub(super) fn regions(app: &App) -> Vec<(String, String)> {
    app.region_choices(&Picker::default()).into_iter().map(|region| (region, String::new())).collect()
}

pub(super) fn themes(_: &App) -> Vec<(String, String)> {
    let all = theme::Name::ALL.into_iter().map(|name| (name.as_str().to_owned(), name.words().to_owned()));
    all.chain([("auto".to_owned(), "as environment, config.toml and the terminal's background say".to_owned())])
        .collect()
}

pub(super) fn columns(app: &App) -> Vec<(String, String)> {
    let columns = List::of(&app.screen).map(|list| list.columns(app.is_many()));
    columns.into_iter().flatten().map(|field| (field.name.to_owned(), field.title.to_lowercase())).collect()
}

pub(super) fn directions(_: &App) -> Vec<(String, String)> {
    vec![("up".to_owned(), "smallest first".to_owned()), ("down".to_owned(), "largest first".to_owned())]
}

pub(super) fn into(app: &App) -> Vec<(String, String)> {
    let mut words = vec![("into".to_owned(), "a table".to_owned())];
    words.extend(candidates(app, Of::Table));
    words
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
pub(super) fn near(name: &str, known: &[&str]) -> String {
    let near = nearest(name, known);
    if known.len() > 12 && near.starts_with(": known are") { format!(": {} are known", known.len()) } else { near }
}

pub(super) fn table(app: &App, name: &str) -> Result<String, String> {
    let names: Vec<&str> = app.table_names.rows.iter().flatten().map(String::as_str).collect();
    known("table", name, &names)
}

pub(super) fn stream_named(app: &App, name: &str) -> Result<String, String> {
    let names: Vec<&str> = app.streams.rows.iter().flatten().map(|stream| stream.name.as_str()).collect();
    // The list of streams is asked for when it is shown: until then a name is taken as it is.
    if names.is_empty() { Ok(name.to_owned()) } else { known("stream", name, &names) }
}

pub(super) fn job(app: &App, id: &str) -> Result<JobId, String> {
    let ids: Vec<&str> = app.jobs.iter().flatten().map(|job| job.id.0.as_str()).collect();
    known("job", id, &ids).map(JobId)
}

pub(super) fn resource(app: &App, name: &str) -> Result<Resource, String> {
    if let Some((table, index)) = name.split_once('/') {
        let described =
            app.table(table).ok_or_else(|| format!("table {table} is not described yet: run it again in a moment"))?;
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
