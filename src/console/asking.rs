//! The one place where the console asks before it changes something: what a context guards is added to every question here.

use tui_input::Input;

use super::app::{App, Overlay};
use super::confirm::{Confirm, Token};
use super::effect::Effect;
use super::guardrails::{Guardrails, Level, profile_of};
use super::stream::StreamEffect;
use super::widget::quantity::{dollars, exact};
use super::widget::text::shown;
use crate::cloud::{Context, Mode, price};
use crate::jobs::JobId;
use crate::jobs::replicate::{writes_in, written_by};
use crate::jobs::spec::Spec;

/// Asks before anything changes; refuses where nothing may.
pub(super) fn ask(app: &mut App, mut question: Confirm) {
    let (guardrails, titles) = guards(app, &question.effect);
    if guardrails.mode(app.place.mode, app.limits.read_write) == Mode::ReadOnly {
        let words = format!("read-only: {:?} is refused; {}", question.title, guardrails.why_read_only());
        app.say(words, true);
        return;
    }
    if !guardrails.names.is_empty() {
        let names = guardrails.names.join(" ").to_uppercase();
        question.facts.insert(0, ("in", format!("{} ({})", shown(&names), shown(&titles.join(", ")))));
    }
    if let Some(most) = guardrails.max_write_capacity
        && let Some((name, to)) = raises(&question.effect).filter(|(_, to)| *to > most)
    {
        let cost = dollars(price::write_dollars_per_hour(to));
        let words = format!("{} WCU is above the {} of max_write_capacity here: {cost}/h", exact(to), exact(most));
        question.facts.push(("beware", words));
        question.token = Token::Name(name);
    }
    // A name that is asked for already stays the one that is asked for.
    if guardrails.confirm == Level::Typed
        && !matches!(question.token, Token::Name(_))
        && let Some(name) = changed_by(&question.effect)
    {
        question.token = Token::Name(name);
    }
    app.overlay = Some(Overlay::Confirm(Box::new(question)));
}

/// What an effect raises the write capacity of, and to how much, WCU.
fn raises(effect: &Effect) -> Option<(String, u64)> {
    match effect {
        Effect::SetCapacity { resource, from, to, .. } if to > from => {
            resource.table().map(|_| (resource.name().to_owned(), *to))
        }
        Effect::Start { spec, .. } => match spec.as_ref() {
            Spec::Restore(restore) => {
                let raise = restore.raise.as_ref()?;
                let indexes = raise.indexes.iter().map(|(_, to)| *to);
                Some((restore.table.clone(), indexes.fold(raise.table, u64::max)))
            }
            _ => None,
        },
        _ => None,
    }
}

/// What guards the contexts that an effect changes something in, and their titles: a job may act elsewhere than here, and a
/// replica somewhere else again.
fn guards(app: &App, effect: &Effect) -> (Guardrails, Vec<String>) {
    let (mut all, mut titles): (Option<Guardrails>, Vec<String>) = (None, Vec::new());
    for context in changes_in(app, effect) {
        let (guardrails, title) = guards_of(app, &context);
        if !titles.contains(&title) {
            titles.push(title);
            all = Some(all.map_or(guardrails.clone(), |before| before.and(guardrails)));
        }
    }
    (all.unwrap_or_default(), titles)
}

/// The contexts that an effect changes something in.
fn changes_in(app: &App, effect: &Effect) -> Vec<Context> {
    let here = || Context { region: Some(app.place.region.clone()), ..app.place.context.clone() };
    match effect {
        Effect::Control(id, _)
        | Effect::SetRate(id, _)
        | Effect::Resume(id)
        | Effect::Replay(id, _)
        | Effect::Drop(id, _) => vec![app.job(id).map_or_else(here, writes_in)],
        Effect::Start { spec, at, .. } => {
            let source = at.clone().unwrap_or_else(here);
            let replica = written_by(spec).map(|target| target.context(&source));
            std::iter::once(source).chain(replica).collect()
        }
        _ => vec![here()],
    }
}

fn guards_of(app: &App, context: &Context) -> (Guardrails, String) {
    if app.is_here(context) {
        let account = app.account.as_ref().map_or(String::new(), |account| format!(" · {account}"));
        return (app.place.guardrails.clone(), format!("{}{account}", app.place.title()));
    }
    let (profile, region) = (profile_of(context), context.region.clone().unwrap_or_default());
    let guardrails = app.rules.of(&profile, &region, None);
    (guardrails, format!("{profile} · {}", if region.is_empty() { "the profile's region" } else { &region }))
}

/// What an effect changes, as it is typed; nothing where it only reads.
fn changed_by(effect: &Effect) -> Option<String> {
    let name = match effect {
        Effect::SetCapacity { resource, .. } => resource.name().to_owned(),
        Effect::GiveBack(bumps) => bumps.first()?.resource.name().to_owned(),
        Effect::Control(id, _) | Effect::SetRate(id, _) | Effect::Resume(id) => id.0.clone(),
        Effect::Replay(id, _) | Effect::Drop(id, _) => id.0.clone(),
        Effect::Stream(StreamEffect::SetRetention { stream, .. }) => stream.clone(),
        Effect::Stream(StreamEffect::SetMapping { function, .. }) => function.clone(),
        Effect::Start { spec, .. } => match spec.as_ref() {
            Spec::Verify(verify) if !verify.replica.as_ref().is_some_and(|replica| replica.repair) => return None,
            Spec::Replicate(replicate) => replicate.target.to_string(),
            Spec::Playback(playback) => playback.events.clone(),
            spec => spec.table().to_owned(),
        },
        _ => return None,
    };
    Some(name).filter(|name| !name.is_empty())
}

/// The cap of a job was typed: where everything is confirmed it is asked about.
pub(super) fn set_rate(app: &mut App, id: &JobId, rate: Option<f64>) -> Vec<Effect> {
    let effect = Effect::SetRate(id.clone(), rate);
    let guardrails = guards(app, &effect).0;
    let is_read_only = guardrails.mode(app.place.mode, app.limits.read_write) == Mode::ReadOnly;
    if guardrails.confirm == Level::Normal && !is_read_only {
        return vec![effect];
    }
    let words = |rate: Option<f64>| rate.map_or("no cap".to_owned(), |rate| format!("at most {rate} items/s"));
    let now = app.job(id).and_then(|job| job.rate);
    let question = Confirm {
        title: format!("Cap {id}"),
        facts: vec![
            ("now", words(now)),
            ("then", words(rate)),
            ("costs", "nothing: the capacity stays as it is".to_owned()),
        ],
        undo: "the same key sets another cap, or none".to_owned(),
        token: Token::Yes,
        typed: Input::default(),
        effect,
    };
    ask(app, question);
    Vec::new()
}
