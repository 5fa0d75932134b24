//! What keys do. Nothing here waits: a key changes the state, or asks for an effect.

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use tui_input::{Input, InputRequest};

use super::app::{App, Overlay, Prompt, Purpose, Screen};
use super::backup;
use super::confirm::{Confirm, Token};
use super::effect::Effect;
use super::form::{Name, RestoreForm};
use super::keymap::{Action, Scope};
use super::load::{JOB_SORTS, STREAM_SORTS, TABLE_SORTS};
use super::playback;
use super::replica;
use super::stream::{self, SHARD_SORTS};
use super::view;
use super::widget::quantity::exact;
use crate::capacity::{Decreases, LARGEST, Left, Resource, shards};
use crate::cloud::Mode;
use crate::jobs::journal::{Bump, Control, State};
use crate::jobs::spec::{Kind, Spec, VerifySpec};

/// A key was pressed.
pub(super) fn pressed(app: &mut App, key: &KeyEvent) -> Vec<Effect> {
    if key.kind == KeyEventKind::Release {
        return Vec::new();
    }
    let scope = app.scope();
    match app.keymap.action(scope, key) {
        Some(Action::Quit) => {
            app.done = true;
            Vec::new()
        }
        Some(Action::Suspend) => vec![Effect::Suspend],
        Some(action) if app.overlay.is_some() => on_overlay(app, action),
        Some(action) if app.screen == Screen::Restore => on_form(app, action),
        Some(action) if app.screen == Screen::Backup => backup::on_form(app, action),
        Some(action) if app.screen == Screen::Replica => replica::on_form(app, action),
        Some(action) if app.screen == Screen::Replay => playback::form::on_form(app, action),
        Some(action) => on_screen(app, action),
        None => {
            if let Some(request) = typed(key) {
                edit(app, |input| {
                    input.handle(request);
                });
            }
            Vec::new()
        }
    }
}

/// Text was pasted: into the field that is typed into, if there is one.
pub(super) fn pasted(app: &mut App, text: &str) -> Vec<Effect> {
    edit(app, |input| {
        for c in text.chars().filter(|c| !c.is_control()) {
            input.handle(InputRequest::InsertChar(c));
        }
    });
    Vec::new()
}

fn typed(key: &KeyEvent) -> Option<InputRequest> {
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    Some(match key.code {
        KeyCode::Char('a') if control => InputRequest::GoToStart,
        KeyCode::Char('e') if control => InputRequest::GoToEnd,
        KeyCode::Char('w') if control => InputRequest::DeletePrevWord,
        KeyCode::Char('u') if control => InputRequest::DeleteFromStart,
        KeyCode::Char('k') if control => InputRequest::DeleteTillEnd,
        KeyCode::Char(c) if !control && !key.modifiers.contains(KeyModifiers::ALT) => InputRequest::InsertChar(c),
        KeyCode::Backspace => InputRequest::DeletePrevChar,
        KeyCode::Delete => InputRequest::DeleteNextChar,
        KeyCode::Left => InputRequest::GoToPrevChar,
        KeyCode::Right => InputRequest::GoToNextChar,
        KeyCode::Home => InputRequest::GoToStart,
        KeyCode::End => InputRequest::GoToEnd,
        _ => return None,
    })
}

fn edit(app: &mut App, change: impl FnOnce(&mut Input)) {
    let now_ms = app.now_ms;
    match &mut app.overlay {
        Some(Overlay::Prompt(prompt)) => {
            change(&mut prompt.input);
            prompt.error = None;
            if prompt.purpose == Purpose::Filter {
                let text = prompt.input.value().to_owned();
                if let Some(list) = list(app) {
                    list.filter = text;
                }
            }
        }
        Some(Overlay::Confirm(question)) if matches!(question.token, Token::Name(_)) => change(&mut question.typed),
        None if app.screen == Screen::Restore => {
            if let Some(form) = &mut app.form {
                let field = form.fields.here();
                let before = field.input.value().to_owned();
                change(&mut field.input);
                if field.name.is_looked_at() && before != field.input.value() {
                    form.unseen(now_ms);
                }
            }
        }
        None if app.screen == Screen::Replay => {
            if let Some(form) = &mut app.replay_form {
                change(&mut form.fields.here().input);
            }
        }
        None if app.screen == Screen::Replica => {
            if let Some(form) = &mut app.replica_form {
                change(&mut form.fields.here().input);
            }
        }
        None if app.screen == Screen::Backup => {
            if let Some(form) = &mut app.backup_form {
                change(&mut form.fields.here().input);
            }
        }
        _ => {}
    }
}

fn list(app: &mut App) -> Option<&mut super::listing::Listing> {
    match app.screen {
        Screen::Tables => Some(&mut app.tables_list),
        Screen::Streams => Some(&mut app.streams_list),
        Screen::Jobs => Some(&mut app.jobs_list),
        Screen::Stream(_) => Some(&mut app.at_stream.list),
        _ => None,
    }
}

fn on_overlay(app: &mut App, action: Action) -> Vec<Effect> {
    // What stays open is put back.
    match (app.overlay.take(), action) {
        (Some(Overlay::Help(_)), Action::Back | Action::Help) | (Some(Overlay::Text(..)), Action::Back) => {}
        (Some(Overlay::Help(at)), action) => app.overlay = Some(Overlay::Help(scrolled(at, action))),
        (Some(Overlay::Text(title, lines, at)), action) => {
            let last = lines.len().saturating_sub(1) as u16;
            app.overlay = Some(Overlay::Text(title, lines, scrolled(at, action).min(last)));
        }
        (Some(Overlay::Confirm(question)), Action::Yes | Action::Accept) => {
            if question.is_given() {
                return vec![question.effect];
            }
            app.overlay = Some(Overlay::Confirm(question));
        }
        (Some(Overlay::Confirm(_)), Action::No | Action::Back) => {
            app.say("left as it is", false);
        }
        (Some(Overlay::Prompt(prompt)), Action::Accept) => return accept(app, prompt),
        (Some(Overlay::Prompt(prompt)), Action::Back) => {
            if prompt.purpose == Purpose::Filter
                && let Some(list) = list(app)
            {
                list.filter.clear();
            }
        }
        (overlay, _) => app.overlay = overlay,
    }
    Vec::new()
}

fn scrolled(at: u16, action: Action) -> u16 {
    match action {
        Action::Up => at.saturating_sub(1),
        Action::Down => at.saturating_add(1),
        Action::PageUp => at.saturating_sub(10),
        Action::PageDown => at.saturating_add(10),
        Action::First => 0,
        _ => at,
    }
}

fn accept(app: &mut App, mut prompt: Prompt) -> Vec<Effect> {
    let text = prompt.input.value().trim().to_owned();
    let id = match prompt.purpose.clone() {
        Purpose::Filter => return Vec::new(),
        Purpose::Moment | Purpose::EventFilter => return playback::keys::accept(app, prompt),
        Purpose::Rate(id) => id,
        Purpose::Retention(name) => {
            if let Err(words) = stream::typed_retention(app, &name, &text) {
                prompt.error = Some(words);
                app.overlay = Some(Overlay::Prompt(prompt));
            }
            return Vec::new();
        }
        Purpose::Capacity(resource) => {
            match typed_capacity(app, &resource, &text) {
                Ok((from, to)) => ask_capacity(app, &resource, from, to),
                Err(words) => {
                    prompt.error = Some(words);
                    app.overlay = Some(Overlay::Prompt(prompt));
                }
            }
            return Vec::new();
        }
    };
    let rate = match text.parse::<f64>() {
        _ if text.is_empty() => None,
        Ok(rate) if rate > 0.0 && rate.is_finite() => Some(rate),
        _ => {
            prompt.error = Some("a number of items per second above 0, or nothing for no cap".to_owned());
            app.overlay = Some(Overlay::Prompt(prompt));
            return Vec::new();
        }
    };
    vec![Effect::SetRate(id, rate)]
}

fn on_form(app: &mut App, action: Action) -> Vec<Effect> {
    let Some(form) = &mut app.form else { return app.back() };
    match action {
        Action::Next => form.fields.next(),
        Action::Previous => form.fields.previous(),
        Action::Back => return app.back(),
        Action::Accept => review(app),
        _ => {}
    }
    Vec::new()
}

/// Enter on the form: the first error is shown, or what would start.
fn review(app: &mut App) {
    let Some(form) = &app.form else { return };
    if let Some((at, error)) = form.first_error(app.known()) {
        if let Some(form) = &mut app.form {
            form.fields.at = at;
        }
        app.say(error, true);
        return;
    }
    let tables = app.tables.rows.as_deref();
    let plan = form.plan(app.known());
    let spec = form.spec(app.known());
    let table = tables.and_then(|tables| tables.iter().find(|t| t.name == spec.table()));
    let seen = form.looked.as_ref().and_then(|looked| looked.as_ref().ok()).map(|facts| facts.target.items);
    let held = table.map(|table| table.items).or(seen);
    // What is not known to be empty may hold what is overwritten.
    let overwrites = held != Some(0) && !form.only_new();
    let mut facts = vec![("restore", spec.title())];
    match &plan {
        Some(plan) => facts.extend(super::form::facts_of(plan, form.bumps(), table, app.now_ms)),
        None => facts.push(("plan", "not known yet: esc and wait for it, or start without".to_owned())),
    }
    if held != Some(0) {
        let then = if overwrites { "same keys are overwritten" } else { "same keys are left alone" };
        let held = held.map_or_else(|| "it is not known how many".to_owned(), exact);
        facts.push(("in the table", format!("{held} items: {then}")));
    }
    let question = Confirm {
        title: "Start this restore".to_owned(),
        facts,
        undo: if overwrites {
            "what is overwritten is lost: back the table up before".to_owned()
        } else {
            "cancel (x) ends it; what is written stays".to_owned()
        },
        token: if overwrites { Token::Name(spec.table().to_owned()) } else { Token::Again },
        typed: Input::default(),
        effect: Effect::Start { spec: Box::new(spec), parent: None },
    };
    ask(app, question);
}

/// Asks before anything changes; refuses where nothing may, and says what a dry run would do.
pub(super) fn ask(app: &mut App, question: Confirm) {
    match app.place.mode {
        Mode::ReadOnly => {
            let words = format!("read-only: {:?} is refused; start sluice without --read-only", question.title);
            app.say(words, true);
        }
        _ => app.overlay = Some(Overlay::Confirm(Box::new(question))),
    }
}

fn on_screen(app: &mut App, action: Action) -> Vec<Effect> {
    match action {
        Action::Back => return app.back(),
        Action::Help => app.overlay = Some(Overlay::Help(0)),
        Action::Tables => return app.go(Screen::Tables),
        Action::Streams => return app.go(Screen::Streams),
        Action::Jobs => return app.go(Screen::Jobs),
        Action::EventTables => return app.go(Screen::EventTables),
        Action::Autoscale => return go_to_scaler(app),
        Action::NextScreen | Action::PreviousScreen => {
            let lists = [Screen::Tables, Screen::Streams, Screen::Jobs, Screen::EventTables];
            let at = lists.iter().position(|screen| *screen == app.screen);
            let step = if action == Action::NextScreen { 1 } else { 3 };
            let [a, b, c, d] = lists;
            return app.go(match at.map_or(2, |at| (at + step) % 4) {
                0 => a,
                1 => b,
                2 => c,
                _ => d,
            });
        }
        action if app.screen == Screen::Playback => return playback::keys::act(app, action),
        action if app.screen == Screen::EventTables && action != Action::Refresh => {
            return playback::keys::on_list(app, action);
        }
        Action::Playback => {
            if let Some(table) = app.selected_table() {
                return playback::open(app, &table);
            }
        }
        Action::Up => step(app, -1),
        Action::Down => step(app, 1),
        Action::PageUp => step(app, -10),
        Action::PageDown => step(app, 10),
        Action::First => step(app, isize::MIN + 1),
        Action::Last => step(app, isize::MAX / 2),
        Action::Refresh => {
            app.ask_again();
            app.identified_ms = None;
            return app.due();
        }
        Action::Sort => {
            let columns = match app.screen {
                Screen::Tables => TABLE_SORTS.len(),
                Screen::Streams => STREAM_SORTS.len(),
                Screen::Stream(_) => SHARD_SORTS.len(),
                _ => JOB_SORTS.len(),
            };
            if let Some(list) = list(app) {
                list.sort = (list.sort + 1) % columns;
            }
        }
        Action::Filter => {
            if let Some(list) = list(app) {
                let input = Input::new(list.filter.clone());
                app.overlay = Some(Overlay::Prompt(Prompt { purpose: Purpose::Filter, input, error: None }));
            }
        }
        Action::Open => return open(app),
        Action::Restore => {
            let table = match &app.screen {
                Screen::Tables => app.selected_table(),
                Screen::Table(name) => Some(name.clone()),
                _ => None,
            };
            let now_ms = app.now_ms;
            let form = app.form.get_or_insert_with(|| RestoreForm::new(None, None));
            if let Some(table) = table
                && form.value(Name::Table) != table
            {
                form.fields.set(Name::Table, table);
                form.unseen(now_ms);
            }
            return app.go(Screen::Restore);
        }
        Action::Backup => {
            let table = match &app.screen {
                Screen::Tables => app.selected_table(),
                Screen::Table(name) => Some(name.clone()),
                _ => None,
            };
            return backup::open(app, table);
        }
        Action::Replicate => {
            let table = match &app.screen {
                Screen::Tables => app.selected_table(),
                Screen::Table(name) => Some(name.clone()),
                _ => None,
            };
            return replica::open(app, table);
        }
        Action::Repair => replica::ask_repair(app),
        Action::Raise | Action::Lower => {
            if let Some(resource) = resource_at_hand(app) {
                change_capacity(app, &resource, action == Action::Raise);
            }
        }
        Action::SetCapacity => {
            if let Some(resource) = resource_at_hand(app) {
                type_capacity(app, resource);
            }
        }
        Action::Indexes => {
            if let Some(Resource::Table(table)) = resource_at_hand(app) {
                return app.go(Screen::Table(table));
            }
        }
        Action::GiveBack => {
            if let Some(resource) = resource_at_hand(app) {
                give_back(app, &resource);
            }
        }
        Action::Pause if matches!(app.screen, Screen::Mappings(_)) => return stream::act(app, action),
        Action::Mappings | Action::Tail | Action::TailAll | Action::GoOn | Action::Retention => {
            return stream::act(app, action);
        }
        Action::Pause => pause(app),
        Action::Cancel => {
            if let Some(job) = app.selected_job().and_then(|id| app.job(&id)) {
                if job.state.is_live() {
                    let question = Confirm::control(job, Control::Cancel);
                    ask(app, question);
                } else {
                    let words = format!("{} is {}: there is nothing to cancel", job.id, job.state.as_str());
                    app.say(words, true);
                }
            }
        }
        Action::Rate => rate(app),
        Action::Dead => {
            if let Screen::Job(id) = app.screen.clone() {
                return app.go(Screen::Dead(id));
            }
        }
        Action::Edit | Action::Replay | Action::ReplayAll | Action::Drop => return super::letters::act(app, action),
        Action::Verify => verify(app),
        Action::Log => {
            if let Screen::Job(id) | Screen::Autoscale(id) = &app.screen {
                let lines = view::job::log_lines(app, id);
                let last = (lines.len() as u16).saturating_sub(10);
                app.overlay = Some(Overlay::Text(format!("log of {id}"), lines, last));
            }
        }
        Action::Zoom | Action::ZoomIn => return app.zoom(action == Action::Zoom),
        Action::Freeze => {
            app.frozen_ms = if app.frozen_ms.is_some() { None } else { Some(app.now_ms) };
        }
        _ => {}
    }
    Vec::new()
}

fn step(app: &mut App, rows: isize) {
    let names: Vec<String> = match &app.screen {
        Screen::Tables => app.table_rows().iter().map(|row| row.name.to_owned()).collect(),
        Screen::Table(name) => {
            let last = app.table(name).map_or(0, |table| table.indexes.len());
            app.index_at = app.index_at.saturating_add_signed(rows).min(last);
            return;
        }
        Screen::Streams => app.shown_streams().iter().map(|stream| stream.name.clone()).collect(),
        Screen::Jobs => app.shown_jobs().iter().map(|job| job.id.0.clone()).collect(),
        Screen::Dead(_) => {
            let last = app.letters.as_ref().map_or(0, |(_, letters, _)| letters.len()).saturating_sub(1);
            app.letter_at = app.letter_at.saturating_add_signed(rows).min(last);
            return;
        }
        Screen::Autoscale(id) => {
            let last = app.job(id).map_or(0, |job| view::autoscale::decisions(app, job).count()).saturating_sub(1);
            app.decision_at = app.decision_at.saturating_add_signed(rows).min(last);
            return;
        }
        Screen::Stream(_) | Screen::Mappings(_) | Screen::Tail(..) => return stream::step(app, rows),
        Screen::Job(_)
        | Screen::Restore
        | Screen::Backup
        | Screen::Replica
        | Screen::EventTables
        | Screen::Playback
        | Screen::Replay => {
            return;
        }
    };
    if let Some(list) = list(app) {
        list.step(&names, rows);
    }
}

fn open(app: &mut App) -> Vec<Effect> {
    match &app.screen {
        Screen::Tables => {
            if let Some(name) = app.selected_table() {
                return app.go(Screen::Table(name));
            }
        }
        Screen::Table(name) => {
            if let Some(table) = app.table(name) {
                let text = view::tables::exact_lines(app, table);
                app.overlay = Some(Overlay::Text(format!("table {}", table.name), text, 0));
            }
        }
        Screen::Streams | Screen::Stream(_) | Screen::Mappings(_) | Screen::Tail(..) => return stream::open(app),
        Screen::Jobs => {
            if let Some(id) = app.selected_job() {
                return app.go_to_job(id);
            }
        }
        Screen::Autoscale(id) => {
            let decision = app.job(id).and_then(|job| view::autoscale::decisions(app, job).nth(app.decision_at));
            if let Some(decision) = decision {
                let text = view::autoscale::whole(decision);
                app.overlay = Some(Overlay::Text("decision".to_owned(), text, 0));
            }
        }
        Screen::Dead(_) => {
            let letter = app.letters.as_ref().and_then(|(_, letters, _)| letters.get(app.letter_at));
            if let Some(letter) = letter {
                let title = format!("dead letter {}", letter.number);
                app.overlay = Some(Overlay::Text(title, view::dead::whole(app.job(&letter.job), letter), 0));
            }
        }
        Screen::Job(_)
        | Screen::Restore
        | Screen::Backup
        | Screen::Replica
        | Screen::EventTables
        | Screen::Playback
        | Screen::Replay => {}
    }
    Vec::new()
}

/// The autoscaler of this context: the live one, else the last.
fn go_to_scaler(app: &mut App) -> Vec<Effect> {
    let here = app.jobs.iter().flatten().filter(|job| job.kind() == Kind::Autoscale && app.is_here(&job.context));
    let scalers: Vec<_> = here.collect();
    let best = scalers.iter().find(|job| job.state.is_live()).or_else(|| scalers.first()).map(|job| job.id.clone());
    if let Some(id) = best {
        app.go(Screen::Autoscale(id))
    } else {
        app.say("no autoscaler has run here yet: sluice autoscale starts one", true);
        Vec::new()
    }
}

/// The resource that capacity keys act on.
fn resource_at_hand(app: &App) -> Option<Resource> {
    match &app.screen {
        Screen::Tables => app.selected_table().map(Resource::Table),
        Screen::Table(table) => Some(match app.selected_index() {
            Some(index) => Resource::Index { table: table.clone(), index: index.name.clone() },
            None => Resource::Table(table.clone()),
        }),
        Screen::Streams => app.selected_stream().map(|stream| Resource::Stream(stream.name.clone())),
        Screen::Stream(name) => Some(Resource::Stream(name.clone())),
        Screen::Job(id) => {
            let table = app.job(id).map(|job| job.spec.table_here().to_owned());
            table.filter(|table| !table.is_empty()).map(Resource::Table)
        }
        _ => None,
    }
}

/// What `resource` has, in its unit, once it is sure that a change of it can be asked for.
fn changeable(app: &App, resource: &Resource) -> Result<u64, String> {
    if let Screen::Job(id) = &app.screen
        && let Some(job) = app.job(id).filter(|job| !app.is_here(&job.context))
    {
        let place = job.context.endpoint_url.as_ref().or(job.context.region.as_ref());
        return Err(format!("{id} acts elsewhere ({}): open sluice there", place.map_or("another context", |p| p)));
    }
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
    ask_capacity(app, resource, from, to);
}

fn ask_capacity(app: &mut App, resource: &Resource, from: u64, to: u64) {
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
    ask(app, Confirm::capacity(resource, from, to, left, job.as_ref()));
}

/// A line to type a capacity into.
fn type_capacity(app: &mut App, resource: Resource) {
    match changeable(app, &resource) {
        Err(words) => app.say(words, true),
        Ok(_) if app.place.mode == Mode::ReadOnly => {
            app.say("read-only: a capacity is refused; start sluice without --read-only", true);
        }
        Ok(from) => {
            let input = Input::new(from.to_string());
            let purpose = Purpose::Capacity(resource);
            app.overlay = Some(Overlay::Prompt(Prompt { purpose, input, error: None }));
        }
    }
}

/// What was typed as a capacity, or what is wrong with it.
fn typed_capacity(app: &App, resource: &Resource, text: &str) -> Result<(u64, u64), String> {
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

fn give_back(app: &mut App, resource: &Resource) {
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
    ask(app, Confirm::give_back(meant, &lefts));
}

/// How many decreases are left of what was raised, where it is known.
fn lefts(app: &App, bumps: &[Bump]) -> Vec<Option<Left>> {
    let left = |bump: &Bump| {
        let provisioned = app.table(bump.resource.table()?)?.throughput(bump.resource.index())?;
        Some(Decreases::from(provisioned).left(app.now_ms))
    };
    bumps.iter().map(left).collect()
}

/// Asks once about what jobs of this context left raised that no worker runs any more.
pub(super) fn ask_owed(app: &mut App) {
    if app.asked_owed || app.overlay.is_some() {
        return;
    }
    app.asked_owed = true;
    let dead = |bump: &&Bump| {
        let job = bump.job.as_ref().and_then(|id| app.job(id));
        job.is_some_and(|job| !job.state.is_live()) && app.is_here(&bump.context)
    };
    let owed: Vec<Bump> = app.bumps.iter().filter(dead).cloned().collect();
    if owed.is_empty() || app.place.mode == Mode::ReadOnly {
        return;
    }
    let lefts = lefts(app, &owed);
    let mut question = Confirm::give_back(owed.clone(), &lefts);
    "Give back what jobs left raised that no longer run".clone_into(&mut question.title);
    let resumable = owed.iter().filter_map(|bump| app.job(bump.job.as_ref()?)).find(|job| job.state.can_resume());
    if let Some(job) = resumable {
        question.undo = format!("no keeps it: {} can be taken up again, and is faster with it", job.id);
    }
    ask(app, question);
}

fn pause(app: &mut App) {
    let Some(job) = app.selected_job().and_then(|id| app.job(&id)) else { return };
    let question = match (job.state, job.control) {
        (State::Paused, _) | (State::Running, Control::Pause) => Confirm::control(job, Control::Run),
        (State::Running, _) => Confirm::control(job, Control::Pause),
        (state, _) if state.can_resume() => {
            let mut question = Confirm::control(job, Control::Run);
            question.title = format!("Take {} up again where its last checkpoint was", job.id);
            question.effect = Effect::Resume(job.id.clone());
            question
        }
        (state, _) => {
            let words = format!("{} is {}: there is nothing to pause or resume", job.id, state.as_str());
            app.say(words, true);
            return;
        }
    };
    ask(app, question);
}

fn rate(app: &mut App) {
    let Some(job) = app.selected_job().and_then(|id| app.job(&id)) else { return };
    if app.place.mode == Mode::ReadOnly {
        app.say("read-only: a rate is refused; start sluice without --read-only", true);
        return;
    }
    if !job.state.is_live() {
        let words = format!("{} is {}: it has no rate", job.id, job.state.as_str());
        app.say(words, true);
        return;
    }
    let capped = job.rate.or(match &job.spec {
        Spec::Restore(spec) => spec.rate,
        _ => None,
    });
    let input = Input::new(capped.map_or(String::new(), |rate| rate.to_string()));
    app.overlay = Some(Overlay::Prompt(Prompt { purpose: Purpose::Rate(job.id.clone()), input, error: None }));
}

fn verify(app: &mut App) {
    let Some(job) = app.selected_job().and_then(|id| app.job(&id)) else { return };
    if let Spec::Replicate(replicate) = &job.spec {
        let (job, replicate) = (job.clone(), replicate.clone());
        return replica::ask_verify(app, &job, &replicate);
    }
    let Spec::Restore(restore) = &job.spec else {
        app.say(format!("{} is a {}: a restore or a replica can be verified", job.id, job.kind()), true);
        return;
    };
    let spec = Spec::Verify(VerifySpec {
        source: restore.source.clone(),
        table: restore.table.clone(),
        ..VerifySpec::default()
    });
    let mut facts = vec![("verify", spec.title()), ("reads", "the whole backup and the whole table".to_owned())];
    if job.state.is_live() {
        facts.push((
            "but",
            format!("{} is still {}: what it has not written yet counts as missing", job.id, job.state.as_str()),
        ));
    }
    let question = Confirm {
        title: "Compare the backup with the table, key by key".to_owned(),
        facts,
        undo: "it changes nothing; cancel (x) ends it".to_owned(),
        token: Token::Yes,
        typed: Input::default(),
        effect: Effect::Start { spec: Box::new(spec), parent: Some(job.id.clone()) },
    };
    ask(app, question);
}

impl Scope {
    /// True where a question is asked.
    pub fn is_question(self) -> bool {
        matches!(self, Self::Confirm | Self::Review)
    }
}
