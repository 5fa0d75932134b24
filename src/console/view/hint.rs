//! The line above the footer: what is wrong now in a whole sentence with its numbers, and which key mends it.

use ratatui::style::Style;

use super::hint_others;

use crate::cloud::inventory::Table;
use crate::console::app::{App, Screen};
use crate::console::history::History;
use crate::console::keymap::{Action, Scope};
use crate::console::load::TableLoad;
use crate::console::widget::quantity::{duration, exact, percent, rate};
use crate::console::widget::text::shown;
use crate::flow::Limit;
use crate::jobs::journal::{Control, Job, State};
use crate::jobs::spec::Spec;
use crate::jobs::{Binding, Remedy};

/// Fewer writes refused each second are not worth a word.
const THROTTLED: f64 = 1.0;
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
            let refused = app.table_rows().into_iter().filter(|row| row.throttled() >= THROTTLED);
            let loads = refused.filter_map(|row| Some((row.table?, row.load()))).filter(|(_, load)| is_throttled(load));
            if let Some((table, load)) = loads.max_by(|a, b| a.1.throttled.total_cmp(&b.1.throttled)) {
                let selected = app.selected_table().as_deref() == Some(table.name.as_str());
                return Some(warn(throttled(app, table, &load, Scope::Tables, selected)));
            }
            let bump = app.bumps.iter().find(|bump| bump.job.is_none() && bump.after > bump.before)?;
            let key = app.keymap.chord(Scope::Tables, Action::GiveBack)?;
            let (unit, before, after) = (bump.resource.unit(), bump.before, bump.after);
            let words = format!("{} was raised from {before} to {after} {unit}; {key} gives it back", bump.resource);
            Some((words, Style::new()))
        }
        Screen::Table(name) => {
            let table = app.table(name)?;
            let load = app.table_load(name);
            is_throttled(&load).then(|| warn(throttled(app, table, &load, Scope::Table, true)))
        }
        Screen::Job(id) => {
            let job = app.job(id)?;
            let binding = binding(app, job);
            let plain = || Some((binding.and_then(|binding| explained(app, job, binding))?, Style::new()));
            job_hint(app, job, binding).map(warn).or_else(plain)
        }
        Screen::Jobs => {
            let stopped =
                app.jobs.iter().flatten().find(|job| job.state.can_resume() && job.state != State::Starting)?;
            let key = app.keymap.chord(Scope::Jobs, Action::Pause)?;
            let at = stopped
                .total
                .map_or(String::new(), |total| format!(" at {} %", percent(app.progress(stopped).settled, total)));
            Some(warn(format!("{} is {}{at}; {key} takes it up again", stopped.id, stopped.state.as_str())))
        }
        Screen::Streams => {
            let streams = app.stream_rows();
            let lags = streams.iter().filter_map(|row| Some((&row.stream.name, row.load.lag_ms?)));
            let (name, lag) = lags.max_by_key(|(_, lag)| *lag)?;
            let key = app.keymap.chord(Scope::Streams, Action::Open).unwrap_or_default();
            let behind =
                || format!("the readers of {name} are {} behind; {key} shows which shards", duration(lag as f64));
            (lag >= 60_000).then(|| warn(behind()))
        }
        Screen::Stream(name) => {
            let lag = app.stream_lag_ms(name)?;
            let key = |action| app.keymap.chord(Scope::Stream, action).unwrap_or_default();
            let behind = || {
                let (sort, lambda) = (key(Action::Sort), key(Action::Mappings));
                let lag = duration(lag as f64);
                format!("the readers of {name} are {lag} behind; {sort} sorts by lag, {lambda} shows its functions")
            };
            (lag >= 60_000).then(|| warn(behind()))
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

fn throttled(app: &App, table: &Table, load: &TableLoad, scope: Scope, selected: bool) -> String {
    let name = &table.name;
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
            return Some(format!(
                "{}: {words}. {} takes it up at its last checkpoint",
                job.state.as_str(),
                key(Action::Pause)?
            ));
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
            return Some(throttled(app, table, &load, Scope::Job, true));
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
