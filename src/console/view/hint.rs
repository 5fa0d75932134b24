//! The line above the footer: what is wrong now in a whole sentence with its numbers, and which key mends it.

use ratatui::style::Style;

use super::{capital, hint_others};

use crate::capacity::Resource;
use crate::cloud::inventory::Table;
use crate::console::app::{App, Screen};
use crate::console::controls;
use crate::console::history::History;
use crate::console::keymap::{Action, Scope};
use crate::console::load::TableLoad;
use crate::console::widget::quantity::{duration, exact, percent, rate};
use crate::console::widget::text::shown;
use crate::flow::Limit;
use crate::jobs::journal::{Bump, Control, Job, State};
use crate::jobs::spec::{GoesOn, Spec};
use crate::jobs::{Binding, Remedy};

/// Fewer writes refused each second are not worth a word.
const THROTTLED: f64 = 1.0;
/// So far behind readers are worth a word, ms.
const LATE_MS: u64 = 60_000;
/// So long questions wait before it is worth a word, ms.
const HELD_MS: i64 = 2_000;

/// The most pressing thing about what is on screen.
pub fn hint(app: &App) -> Option<(String, Style)> {
    // Where the crosshair was put, what happened there is asked for.
    if let Some(words) = super::charts::at_cursor(app) {
        return Some((words, app.theme.accent));
    }
    pressing(app).or_else(|| Some((held_back(app)?, app.theme.warn)))
}

/// The budget holds questions back: what is shown is older than it should be.
fn held_back(app: &App) -> Option<String> {
    let since = app.api.waiting_since_ms.filter(|since| app.now_ms - since >= HELD_MS)?;
    let old = app.oldest_shown_ms().map_or(0, |at| app.now_ms - at).max(app.now_ms - since);
    Some(format!(
        "{} the budget of {} questions/s to AWS holds {} back: what is shown is up to {} old (--api-rate)",
        app.theme.glyphs.warn,
        rate(app.api.budget),
        app.api.asked.waiting,
        duration(old as f64)
    ))
}

fn pressing(app: &App) -> Option<(String, Style)> {
    let warn = |words: String| (format!("{} {words}", app.theme.glyphs.warn), app.theme.warn);
    match &app.screen {
        Screen::Tables => {
            let selected = app.selected_row();
            let refused = app.table_rows().into_iter().filter(|row| row.throttled() >= THROTTLED);
            let loads = refused.filter_map(|row| Some((row, row.table?, row.load())));
            let loads = loads.filter(|(_, _, load)| is_throttled(load));
            if let Some((row, table, load)) = loads.max_by(|a, b| a.2.throttled.total_cmp(&b.2.throttled)) {
                let is_selected = selected.is_some_and(|selected| selected.key() == row.key());
                let name = named(&table.name, row.region);
                return Some(warn(throttled(app, (&name, table), &load, Scope::Tables, is_selected)));
            }
            let name = selected.filter(|row| row.is_here).map(|row| row.name);
            raised(app, Scope::Tables, name, |resource| resource.table().is_some())
        }
        Screen::Table(name) => {
            let table = app.table(name)?;
            let load = app.table_load(name);
            let is_selected = app.selected_index().is_none();
            is_throttled(&load).then(|| warn(throttled(app, (name, table), &load, Scope::Table, is_selected)))
        }
        Screen::Job(id) => {
            let job = app.job(id)?;
            let binding = binding(app, job);
            let plain = || Some((binding.and_then(|binding| explained(app, job, binding))?, Style::new()));
            job_hint(app, job, binding).map(warn).or_else(plain)
        }
        Screen::Jobs => stopped(app).map(warn),
        Screen::Streams => {
            let rows = app.stream_rows();
            let selected = app.selected_stream_row();
            let late = rows.iter().filter_map(|row| Some((row, row.load.lag_ms?))).filter(|(_, lag)| *lag >= LATE_MS);
            if let Some((row, lag)) = late.max_by_key(|(_, lag)| *lag) {
                let key = app.keymap.chord(Scope::Streams, Action::Open).unwrap_or_default();
                let is_selected = selected.is_some_and(|selected| selected.key() == row.key());
                let (name, behind) = (named(&row.stream.name, row.region), duration(lag as f64));
                let select = if is_selected { "; " } else { ". Select it: " };
                return Some(warn(format!(
                    "the readers of {name} are {behind} behind{select}{key} shows which shards"
                )));
            }
            let name = selected.filter(|row| row.is_here).map(|row| row.stream.name.as_str());
            raised(app, Scope::Streams, name, |resource| resource.stream().is_some())
        }
        Screen::Stream(name) => {
            let lag = app.stream_lag_ms(name)?;
            let key = |action| app.keymap.chord(Scope::Stream, action).unwrap_or_default();
            let behind = || {
                let (sort, lambda) = (key(Action::Sort), key(Action::Mappings));
                let lag = duration(lag as f64);
                format!("the readers of {name} are {lag} behind; {sort} sorts by lag, {lambda} shows its functions")
            };
            (lag >= LATE_MS).then(|| warn(behind()))
        }
        Screen::Mappings(_) => {
            let known = app.at_stream.mappings.iter().flatten().flatten();
            let failing =
                known.map(|(mapping, _)| mapping).find(|mapping| mapping.last_result.starts_with("PROBLEM"))?;
            let (function, result) = (shown(failing.function()), shown(&failing.last_result));
            let retries = failing.retries.map_or("until its records expire".to_owned(), |n| format!("{n} times"));
            Some(warn(format!("{function}: {result}; Lambda tries that batch again {retries}")))
        }
        Screen::Dead(_) => hint_others::letter(app),
        Screen::Autoscale(id) => hint_others::scaler(app, id),
        Screen::Tail(..) => hint_others::tail(app),
        Screen::Playback => hint_others::playback(app),
        Screen::Restore | Screen::Backup | Screen::Replica | Screen::Replay => hint_others::form(app),
        Screen::EventTables => None,
    }
}

/// A row's name, with its region where the list holds several.
fn named(name: &str, region: &str) -> String {
    if region.is_empty() { name.to_owned() } else { format!("{name} in {region}") }
}

/// A job that stopped, and what takes it up again: the selected one, else the first that the list shows.
fn stopped(app: &App) -> Option<String> {
    let selected = app.selected_job();
    let is_stopped =
        |job: &&Job| job.state.can_resume() && job.state != State::Starting && job.spec.goes_on() != GoesOn::Never;
    let jobs: Vec<&Job> = app.shown_jobs().into_iter().filter(is_stopped).collect();
    let of_selected = jobs.iter().find(|job| Some(&job.id) == selected.as_ref());
    let job = of_selected.or(jobs.first())?;
    let select = if of_selected.is_some() { "; " } else { ". Select it: " };
    let key = app.keymap.chord(Scope::Jobs, Action::Pause)?;
    let at = job.total.map_or(String::new(), |total| format!(" at {} %", percent(app.progress(job).settled, total)));
    let again = if job.spec.goes_on() == GoesOn::FromTheStart { "starts it over" } else { "takes it up again" };
    Some(format!("{} is {}{at}{select}{key} {again}", job.id, job.state.as_str()))
}

/// What was raised by hand in this context, of what the list holds: what is selected first, since the key acts on that.
fn raised(
    app: &App,
    scope: Scope,
    selected: Option<&str>,
    is_listed: impl Fn(&Resource) -> bool,
) -> Option<(String, Style)> {
    let is_owed = |bump: &&Bump| {
        bump.job.is_none() && bump.after > bump.before && is_listed(&bump.resource) && app.is_here(&bump.context)
    };
    let bumps: Vec<&Bump> = app.bumps.iter().filter(is_owed).collect();
    // An index is given back with its table.
    let row = |bump: &Bump| bump.resource.table().unwrap_or(bump.resource.name()).to_owned();
    let of_selected = bumps.iter().find(|bump| Some(row(bump).as_str()) == selected);
    let Bump { resource, before, after, .. } = of_selected.or(bumps.first())?;
    let select = if of_selected.is_some() { "; " } else { ". Select it: " };
    let key = app.keymap.chord(scope, Action::GiveBack)?;
    let words =
        format!("{resource} was raised from {before} to {after} {}{select}{key} gives it back", resource.unit());
    Some((words, Style::new()))
}

fn throttled(app: &App, (name, table): (&str, &Table), load: &TableLoad, scope: Scope, selected: bool) -> String {
    let asked = load.used + load.throttled;
    let told = format!("{name} is throttled: {} of {} writes/s refused", rate(load.throttled), rate(asked));
    let Some(provisioned) = table.provisioned else { return format!("{told}; on demand grows by itself") };
    if table.status != "ACTIVE" {
        return format!("{told}; its capacity is being changed to {} WCU", provisioned.write);
    }
    // Far from its capacity, a throttled table has one hot partition or index: more capacity would not help much.
    if load.used < provisioned.write as f64 * 0.5 {
        return format!(
            "{told} at {} of {} WCU: one partition or index is hot, not the table",
            rate(load.used),
            exact(provisioned.write)
        );
    }
    match app.keymap.chord(scope, Action::Raise) {
        Some(key) if selected => format!("{told}. {key} raises it to {}", exact(app.step.up(provisioned.write))),
        Some(key) => format!("{told}. Select it: {key} raises it to {}", exact(app.step.up(provisioned.write))),
        None => told,
    }
}

/// A refused write now and then is how a full table feels; from two in a hundred on it is worth a word.
fn is_throttled(load: &TableLoad) -> bool {
    load.throttled >= THROTTLED && load.throttled >= (load.used + load.throttled) * 0.02
}

/// What binds a running job, with its numbers.
fn binding<'a>(app: &'a App, job: &Job) -> Option<&'a Binding> {
    let past = app.histories.get(&job.id).filter(|_| job.state == State::Running)?;
    past.newest.as_ref()?.binding.as_ref()
}

/// The binding limit in full, with the key that changes it.
fn explained(app: &App, job: &Job, binding: &Binding) -> Option<String> {
    let key = |action| app.keymap.chord(Scope::Job, action);
    let words = shown(&binding.explain());
    Some(match binding.remedy() {
        Some(Remedy::Raise { table, index, from }) => {
            let to = exact(app.step.up(from));
            match (app.table_of_job(job), &index, app.table(&table).filter(|table| table.status != "ACTIVE")) {
                // A key would change nothing, or another table.
                (Err(why), ..) => format!("{words} {why}"),
                (Ok(at_hand), ..) if at_hand != table => words,
                (_, _, Some(table)) => format!("{words} It is {}.", table.status),
                (_, Some(_), _) => {
                    format!("{words} Its row on the table's screen takes {} to {to}", key(Action::Raise)?)
                }
                (_, None, _) => format!("{words} {} raises it to {to}", key(Action::Raise)?),
            }
        }
        Some(Remedy::Rate) => format!("{words} {} changes it", key(Action::Rate)?),
        Some(Remedy::Resume) => format!("{words}. {} lets it go on", key(Action::Pause)?),
        None => words,
    })
}

/// True for limits that an operator would want to know of: somebody set them, or something is full.
fn is_pressing(limit: &Limit) -> bool {
    !matches!(limit, Limit::Source | Limit::Service | Limit::Checking { .. } | Limit::Destination { .. })
}

fn job_hint(app: &App, job: &Job, binding: Option<&Binding>) -> Option<String> {
    let key = |action| app.keymap.chord(Scope::Job, action);
    let progress = app.progress(job);
    match (job.state, job.control) {
        (State::Interrupted | State::Failed, _) => {
            let why = if job.message.is_empty() { "its worker is gone".to_owned() } else { job.message.clone() };
            let words = shown(&why);
            let then = match job.spec.goes_on() {
                GoesOn::AtCheckpoint => format!("{} takes it up at its last checkpoint", key(Action::Pause)?),
                GoesOn::FromTheStart => format!("{} starts it over, from its beginning", key(Action::Pause)?),
                GoesOn::Never => capital(controls::never(job)),
            };
            return Some(format!("{}: {words}. {then}", job.state.as_str()));
        }
        (State::Paused, _) | (State::Running, Control::Pause) => {
            return Some(format!("paused: nothing is written. {} lets it go on", key(Action::Pause)?));
        }
        _ => {}
    }
    if let Some(words) = super::replica::hint(app, job) {
        return Some(words);
    }
    if let Some(binding) = binding.filter(|binding| is_pressing(&binding.limit)) {
        return explained(app, job, binding);
    }
    let table = app.table_of_job(job).ok().and_then(|name| app.table(name));
    if let Some(table) = table.filter(|_| binding.is_none()) {
        let load = app.table_load(&table.name);
        if is_throttled(&load) {
            return Some(throttled(app, (&table.name, table), &load, Scope::Job, true));
        }
    }
    let past = app.histories.get(&job.id);
    if let (Spec::Restore(spec), Some(lag)) = (&job.spec, past.and_then(History::worst_lag_ms))
        && job.state == State::Running
        && lag > 60_000
        && let Some(stream) = &spec.stream
    {
        return Some(format!("{stream} is {} behind: the table takes less than the stream gets", duration(lag as f64)));
    }
    let dead = progress.counters.dead;
    if dead > 0 {
        let them = if dead == 1 {
            "1 record can never succeed".to_owned()
        } else {
            format!("{} records can never succeed", exact(dead))
        };
        return Some(format!("{them}; {} shows why", key(Action::Dead)?));
    }
    None
}
