//! The line above the footer: what is wrong now in a whole sentence with its numbers, and which key mends it.

use ratatui::style::Style;

use crate::cloud::inventory::Table;
use crate::console::app::{App, Screen};
use crate::console::history::History;
use crate::console::keymap::{Action, Scope};
use crate::console::load::TableLoad;
use crate::console::widget::quantity::{duration, exact, percent, rate};
use crate::console::widget::text::shown;
use crate::jobs::journal::{Control, Job, State};
use crate::jobs::spec::Spec;

/// The most pressing thing about what is on screen.
pub fn hint(app: &App) -> Option<(String, Style)> {
    let warn = |words: String| (format!("{} {words}", app.theme.glyphs.warn), app.theme.warn);
    match &app.screen {
        Screen::Tables => {
            let rows = app.shown_tables();
            let worst = rows.iter().filter(|(_, load)| is_throttled(load));
            let worst = worst.max_by(|a, b| a.1.throttled.total_cmp(&b.1.throttled));
            if let Some((table, load)) = worst {
                let selected = app.selected_table().as_deref() == Some(table.name.as_str());
                return Some(warn(throttled(app, table, load, Scope::Tables, selected)));
            }
            let bump = app.bumps.iter().find(|bump| bump.job.is_none() && bump.after > bump.before)?;
            let key = app.keymap.chord(Scope::Tables, Action::GiveBack)?;
            let (unit, before, after) = (bump.resource.unit(), bump.before, bump.after);
            let words = format!("{} was raised from {before} to {after} {unit}; {key} gives it back", bump.resource);
            Some((words, Style::new()))
        }
        Screen::Job(id) => {
            let job = app.job(id)?;
            job_hint(app, job).map(warn)
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
            let streams = app.shown_streams();
            let (name, lag) =
                streams.iter().filter_map(|s| Some((&s.name, app.stream_lag_ms(&s.name)?))).max_by_key(|s| s.1)?;
            (lag >= 60_000).then(|| warn(format!("the readers of {name} are {} behind", duration(lag as f64))))
        }
        Screen::Dead(_) | Screen::Restore | Screen::Autoscale(_) => None,
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
    load.throttled >= 1.0 && load.throttled >= (load.used + load.throttled) * 0.02
}

/// A table that gives all it has without refusing much: more is faster.
fn full(app: &App, job: &Job) -> Option<String> {
    let table = app.table(job.spec.table()).filter(|table| table.status == "ACTIVE")?;
    let provisioned = table.provisioned?.write;
    let used = app.table_load(&table.name).used;
    let key = app.keymap.chord(Scope::Job, Action::Raise)?;
    let (name, has, more) = (&table.name, exact(provisioned), exact(app.step.up(provisioned)));
    match used / provisioned.max(1) as f64 {
        // FORMATS.md 4: up to 300 s of unused capacity.
        share if share > 1.2 => Some(format!(
            "{name} gives {} WCU, more than its {has}: burst from unused capacity, for minutes at most. {key} raises it to {more}",
            rate(used)
        )),
        share if share >= 0.9 => Some(format!(
            "{name} gives {} of its {has} WCU: that is what limits this job. {key} raises it to {more}",
            rate(used)
        )),
        _ => None,
    }
}

fn job_hint(app: &App, job: &Job) -> Option<String> {
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
    if let Some(table) = app.table(job.spec.table()) {
        let load = app.table_load(&table.name);
        if is_throttled(&load) {
            return Some(throttled(app, table, &load, Scope::Job, true));
        }
    }
    if job.state == State::Running
        && let Some(full) = full(app, job)
    {
        return Some(full);
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
