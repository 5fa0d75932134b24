//! What the capacity keys do: raise, lower, set and give back, each behind a question.

use tui_input::Input;

use super::app::{App, Overlay, Prompt, Purpose, Screen};
use super::confirm::{Confirm, Token};
use super::keymap::Action;
use super::keys::ask;
use crate::capacity::{Decreases, LARGEST, Left, Resource, shards};
use crate::cloud::Mode;
use crate::jobs::journal::Bump;

/// A capacity key.
pub(super) fn act(app: &mut App, action: Action) {
    let resource = match resource_at_hand(app) {
        Ok(resource) => resource,
        Err(words) => return app.say(words, true),
    };
    match action {
        Action::SetCapacity => type_capacity(app, resource),
        Action::GiveBack => give_back(app, &resource),
        _ => change_capacity(app, &resource, action == Action::Raise),
    }
}

/// The resource that capacity keys act on, or why there is none.
pub(super) fn resource_at_hand(app: &App) -> Result<Resource, String> {
    let at_hand = match &app.screen {
        Screen::Tables => app.selected_table().map(Resource::Table),
        Screen::Table(table) => Some(match app.selected_index() {
            Some(index) => Resource::Index { table: table.clone(), index: index.name.clone() },
            None => Resource::Table(table.clone()),
        }),
        Screen::Streams => app.selected_stream().map(|stream| Resource::Stream(stream.name.clone())),
        Screen::Stream(name) => Some(Resource::Stream(name.clone())),
        Screen::Job(id) => match app.job(id) {
            Some(job) => return app.table_of_job(job).map(|table| Resource::Table(table.to_owned())),
            None => None,
        },
        _ => None,
    };
    at_hand.ok_or_else(|| "nothing is selected whose capacity could be changed".to_owned())
}

/// What `resource` has, in its unit, once it is sure that a change of it can be asked for.
fn changeable(app: &App, resource: &Resource) -> Result<u64, String> {
    let unknown = || format!("the capacity of {resource} is not known yet: try again in a moment");
    let on_demand = || format!("{resource} is on demand: AWS scales it by itself, there is no capacity to set");
    let changing = |status: &str| format!("{resource} is {status}: AWS takes a new capacity once it is ACTIVE");
    let Some(name) = resource.table() else {
        let stream = app.stream(resource.name()).filter(|stream| !stream.status.is_empty()).ok_or_else(unknown)?;
        return match stream.mode.as_str() {
            "ON_DEMAND" => Err(on_demand()),
            _ if stream.status != "ACTIVE" => Err(changing(&stream.status)),
            _ => Ok(stream.open_shards()),
        };
    };
    let described = app.table(name);
    if let Some(table) = described {
        if table.throughput(resource.index()).is_none() {
            return Err(on_demand());
        }
        if !table.is_active() {
            return Err(changing(if table.status == "ACTIVE" { "being changed" } else { &table.status }));
        }
    }
    let sampled = if resource.index().is_none() { app.provisioned_wcu(name) } else { None };
    described.and_then(|table| table.throughput(resource.index())).map(|p| p.write).or(sampled).ok_or_else(unknown)
}

fn change_capacity(app: &mut App, resource: &Resource, raise: bool) {
    let from = match changeable(app, resource) {
        Ok(from) => from,
        Err(words) => return app.say(words, true),
    };
    let mut to = if raise { app.step.up(from) } else { app.step.down(from) };
    if let Resource::Stream(_) = resource {
        let (fewest, most) = shards::reach(from);
        to = to.clamp(fewest, most);
    }
    if to == from {
        let end = if raise { "more" } else { "less" };
        return app.say(format!("{resource} has {from} {}: it can't have {end}", resource.unit()), true);
    }
    ask_change(app, resource, from, to);
}

pub(super) fn ask_change(app: &mut App, resource: &Resource, from: u64, to: u64) {
    let provisioned = resource.table().and_then(|name| app.table(name)?.throughput(resource.index()));
    let left = provisioned.map(|p| Decreases::from(p).left(app.now_ms));
    if to < from
        && let Some(left) = left.filter(|left| left.next_ms.is_some())
    {
        return app.say(format!("{resource} can't be lowered: {left}"), true);
    }
    let job = match resource.table() {
        Some(table) => app.writer(table).map(|job| job.id.clone()),
        None => None,
    };
    let question = Confirm::capacity(resource, from, to, left, job.as_ref(), app.keys());
    ask(app, question);
}

/// A line to type a capacity into.
pub(super) fn type_capacity(app: &mut App, resource: Resource) {
    match changeable(app, &resource) {
        Err(words) => app.say(words, true),
        Ok(_) if app.place.mode == Mode::ReadOnly => {
            app.say(format!("read-only: a capacity is refused; {}", app.place.guardrails.why_read_only()), true);
        }
        Ok(from) => {
            let input = Input::new(from.to_string());
            let purpose = Purpose::Capacity(resource);
            app.overlay = Some(Overlay::Prompt(Prompt { purpose, input, error: None }));
        }
    }
}

/// What was typed as a capacity, or what is wrong with it.
pub(super) fn typed(app: &App, resource: &Resource, text: &str) -> Result<(u64, u64), String> {
    let from = changeable(app, resource)?;
    let to: u64 = text.replace([',', '_'], "").parse().map_err(|_| format!("a number of {}", resource.unit()))?;
    let (fewest, most) = match resource {
        Resource::Stream(_) => shards::reach(from),
        _ => (1, LARGEST),
    };
    if to == from {
        return Err(format!("it has {from} already"));
    }
    if !(fewest..=most).contains(&to) {
        let steps = shards::in_words(from, &shards::steps(from, to.max(1)));
        return Err(match resource {
            Resource::Stream(_) => format!("AWS takes {fewest} to {most} in one call: {steps}"),
            _ => format!("from {fewest} to {most} {}", resource.unit()),
        });
    }
    Ok((from, to))
}

pub(super) fn give_back(app: &mut App, resource: &Resource) {
    // Of a table, its indexes too: what was raised together is given back together.
    let is_meant = |bump: &Bump| {
        bump.resource == *resource || resource.index().is_none() && bump.resource.table() == Some(resource.name())
    };
    let meant = app.bumps.iter().filter(|bump| is_meant(bump) && app.is_here(&bump.context)).cloned();
    let meant: Vec<Bump> = meant.collect();
    if meant.is_empty() {
        return app.say(format!("{resource} was not raised from here: there is nothing to give back"), true);
    }
    let lefts = lefts(app, &meant);
    let question = Confirm::give_back(meant, &lefts, app.keys());
    ask(app, question);
}

/// How many decreases are left of what was raised, where it is known.
fn lefts(app: &App, bumps: &[Bump]) -> Vec<Option<Left>> {
    let left = |bump: &Bump| {
        let provisioned = app.table(bump.resource.table()?)?.throughput(bump.resource.index())?;
        Some(Decreases::from(provisioned).left(app.now_ms))
    };
    bumps.iter().map(left).collect()
}

/// Asks once about what jobs of this context left raised that no worker runs any more. No key asked for the question: what
/// is being typed elsewhere must not answer it, so its answer is a name.
pub(super) fn ask_owed(app: &mut App) {
    if app.asked_owed || app.overlay.is_some() || app.scope().is_typed_into() {
        return;
    }
    let dead = |bump: &&Bump| {
        let job = bump.job.as_ref().and_then(|id| app.job(id));
        job.is_some_and(|job| !job.state.is_live()) && app.is_here(&bump.context)
    };
    let owed: Vec<Bump> = app.bumps.iter().filter(dead).cloned().collect();
    if owed.is_empty() || app.place.mode == Mode::ReadOnly {
        return;
    }
    let lefts = lefts(app, &owed);
    let mut question = Confirm::give_back(owed.clone(), &lefts, app.keys());
    app.asked_owed = true;
    "Give back what jobs left raised that no longer run".clone_into(&mut question.title);
    question.token = Token::Name(match owed.as_slice() {
        [one] => one.resource.name().to_owned(),
        _ => "give back".to_owned(),
    });
    let resumable = owed.iter().filter_map(|bump| app.job(bump.job.as_ref()?)).find(|job| job.state.can_resume());
    if let Some(job) = resumable {
        question.undo = format!("no keeps it: {} can be taken up again, and is faster with it", job.id);
    }
    ask(app, question);
}
