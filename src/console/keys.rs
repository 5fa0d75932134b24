//! What keys do. Nothing here waits: a key changes the state, or asks for an effect.

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use tui_input::{Input, InputRequest};

use super::app::{App, Overlay, Prompt, Purpose, Screen, Text};
pub(super) use super::asking::ask;
use super::chord::{Chord, spelt};
use super::confirm::Token;
use super::effect::Effect;
use super::export::{self, Proposed};
use super::keymap::{Action, Pressed, Scope};
use super::stream;
use super::words::{Reading, Words};
use super::{asking, backup, context, controls, forms, palette, playback, raise, replica, view, words};
use crate::capacity::Resource;

/// A key was pressed.
pub(super) fn pressed(app: &mut App, key: &KeyEvent) -> Vec<Effect> {
    if key.kind == KeyEventKind::Release {
        return Vec::new();
    }
    // The tour gives way to any key. Those that would close or open something only close it.
    let mut effects: Vec<Effect> = Vec::new();
    if app.tour && app.overlay.is_none() {
        effects.extend(app.close_tour());
        if matches!(key.code, KeyCode::Enter | KeyCode::Esc | KeyCode::Char(' ')) {
            return effects;
        }
    }
    effects.extend(pressed_on(app, key));
    effects
}

fn pressed_on(app: &mut App, key: &KeyEvent) -> Vec<Effect> {
    let scope = app.scope();
    let before = std::mem::take(&mut app.pending.chords);
    let action = match app.keymap.pressed(scope, &before, key) {
        Pressed::Act(action) => Some(action),
        Pressed::Begun => {
            app.pending.begin(before, key, app.now_ms);
            return Vec::new();
        }
        Pressed::Nothing if before.is_empty() => None,
        Pressed::Nothing => {
            if key.code != KeyCode::Esc {
                let chords = spelt(&before);
                app.say(format!("{chords} {} does nothing here: {}", Chord::of(key), app.can_follow(&before)), true);
            }
            return Vec::new();
        }
    };
    if let Some(action) = action {
        return act(app, action);
    }
    if let Some(request) = typed(key) {
        edit(app, |input| {
            input.handle(request);
        });
    }
    Vec::new()
}

/// Does what a key, or what stands for one, asks for.
pub(super) fn act(app: &mut App, action: Action) -> Vec<Effect> {
    match action {
        Action::Quit => {
            app.done = true;
            app.due_to_keep().into_iter().collect()
        }
        Action::Suspend => vec![Effect::Suspend],
        Action::Mouse => {
            app.mouse = !app.mouse;
            let words = if app.mouse {
                "the mouse selects, scrolls and points here; the terminal selects text with shift held"
            } else {
                "the mouse is the terminal's"
            };
            app.say(words, false);
            Vec::new()
        }
        Action::Copy | Action::CopyWhole if !app.scope().is_question() => {
            super::copy::act(app, action == Action::CopyWhole)
        }
        Action::Picture | Action::ExportView if app.overlay.is_none() => {
            export::ask(app, if action == Action::Picture { Proposed::Picture } else { Proposed::Rows });
            Vec::new()
        }
        action if app.overlay.is_some() => on_overlay(app, action),
        Action::Older | Action::Newer => app.revisit(action == Action::Newer),
        Action::Words => {
            words::open(app, None);
            Vec::new()
        }
        action if app.screen.is_form() => forms::act(app, action),
        action => on_screen(app, action),
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
    match &mut app.overlay {
        Some(Overlay::Prompt(prompt)) => {
            change(&mut prompt.input);
            prompt.error = None;
            if prompt.purpose == Purpose::Filter {
                let text = prompt.input.value().to_owned();
                if let Some((of, list)) = app.list_on_screen() {
                    list.filter.set(&text, of.fields());
                    list.select_first();
                    let wrong = list.filter.wrong().map(str::to_owned);
                    if let Some(Overlay::Prompt(prompt)) = &mut app.overlay {
                        prompt.error = wrong;
                    }
                }
            }
        }
        Some(Overlay::Confirm(question)) if matches!(question.token, Token::Name(_)) => change(&mut question.typed),
        Some(Overlay::Contexts(picker)) => change(&mut picker.input),
        Some(Overlay::Palette(palette)) => {
            change(&mut palette.input);
            palette.typed();
        }
        Some(Overlay::Help(reading)) if reading.is_typed => reading.edit(change),
        Some(Overlay::Words(words)) if words.reading.is_typed => words.reading.edit(change),
        None => forms::edit(app, change),
        _ => {}
    }
}

fn on_overlay(app: &mut App, action: Action) -> Vec<Effect> {
    // What stays open is put back.
    match (app.overlay.take(), action) {
        (Some(Overlay::Help(reading)), Action::Help) if !reading.is_typed => {}
        (Some(Overlay::Words(words)), Action::Words) if !words.reading.is_typed => {}
        (Some(Overlay::Text(..)), Action::Back) => {}
        (Some(Overlay::Help(_) | Overlay::Text(..)), Action::Words) => words::open(app, None),
        (Some(Overlay::Words(_) | Overlay::Text(..)), Action::Help) => {
            app.overlay = Some(Overlay::Help(Reading::default()));
        }
        (Some(Overlay::Help(reading)), action) => app.overlay = reading.act(action).map(Overlay::Help),
        (Some(Overlay::Words(words)), action) => {
            let Words { here, reading } = *words;
            let reading = reading.act(action);
            app.overlay = reading.map(|reading| Overlay::Words(Box::new(Words { here, reading })));
        }
        (Some(Overlay::Palette(palette)), action) => return palette::act(app, palette, action),
        (Some(Overlay::Text(mut text)), action) => {
            text.scroll(action);
            app.overlay = Some(Overlay::Text(text));
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
        (Some(Overlay::Contexts(picker)), action) => return context::act(app, picker, action),
        (Some(Overlay::Prompt(prompt)), Action::Accept) => return accept(app, prompt),
        (Some(Overlay::Prompt(prompt)), Action::Back) => {
            if prompt.purpose == Purpose::Filter
                && let Some((_, list)) = app.list_on_screen()
            {
                list.filter.clear();
            }
        }
        (overlay, _) => app.overlay = overlay,
    }
    Vec::new()
}

/// What was typed is accepted, or told what is wrong with it.
pub(super) fn accept(app: &mut App, mut prompt: Prompt) -> Vec<Effect> {
    let text = prompt.input.value().trim().to_owned();
    let id = match prompt.purpose.clone() {
        Purpose::Filter if prompt.error.is_some() => {
            app.overlay = Some(Overlay::Prompt(prompt));
            return Vec::new();
        }
        Purpose::Filter => return app.due(),
        Purpose::Moment | Purpose::EventFilter => return playback::keys::accept(app, prompt),
        Purpose::Export => return export::accept(app, prompt, &text),
        Purpose::Rate(id) => id,
        Purpose::Retention(name) => {
            if let Err(words) = stream::typed_retention(app, &name, &text) {
                prompt.error = Some(words);
                app.overlay = Some(Overlay::Prompt(prompt));
            }
            return Vec::new();
        }
        Purpose::Capacity(resource) => {
            match raise::typed(app, &resource, &text) {
                Ok((from, to)) => raise::ask_change(app, &resource, from, to),
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
    asking::set_rate(app, &id, rate)
}

/// Sorts the list on screen by the column with this header; by the one that it is sorted by, the other way round.
pub(super) fn sort_by(app: &mut App, title: &str) -> Vec<Effect> {
    let is_many = app.is_many();
    let Some((of, list)) = app.list_on_screen() else { return Vec::new() };
    let Some(field) = of.columns(is_many).find(|field| field.title == title) else { return Vec::new() };
    list.sort.reversed = of.sorted_by(list).name == field.name && !list.sort.reversed;
    list.sort.by = Some(field.name);
    app.due()
}

fn on_screen(app: &mut App, action: Action) -> Vec<Effect> {
    // What is done with a row is done in its region.
    let mut effects = if acts_on_row(action) { app.stand_at_selected() } else { Vec::new() };
    effects.extend(done_on_screen(app, action));
    effects
}

/// True for keys that do something with the selected row of a list.
fn acts_on_row(action: Action) -> bool {
    matches!(
        action,
        Action::Open
            | Action::Restore
            | Action::Backup
            | Action::Replicate
            | Action::Raise
            | Action::Lower
            | Action::SetCapacity
            | Action::GiveBack
            | Action::Playback
            | Action::Tail
            | Action::TailAll
            | Action::Mappings
            | Action::Retention
    )
}

fn done_on_screen(app: &mut App, action: Action) -> Vec<Effect> {
    match action {
        Action::Contexts => return app.choose_context(context::Side::Profiles),
        Action::Back if app.has_charts() && app.time.cursor_ms.take().is_some() => app.time.hovers = false,
        Action::Back => {
            // What the filter hides comes back first.
            if let Some((_, list)) = app.list_on_screen()
                && !list.filter.is_empty()
            {
                list.filter.clear();
                return app.due();
            }
            return app.back();
        }
        Action::Help => app.overlay = Some(Overlay::Help(Reading::default())),
        Action::Palette | Action::Bookmarks => palette::open(app, action == Action::Bookmarks),
        Action::Bookmark => return app.toggle_bookmark(),
        Action::Tables => return app.go(Screen::Tables),
        Action::Streams => return app.go(Screen::Streams),
        Action::Jobs => return app.go(Screen::Jobs),
        Action::EventTables => return app.go(Screen::EventTables),
        Action::Autoscale => return controls::go_to_scaler(app),
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
            if app.lost.is_some() {
                app.say("trying the credentials…", false);
                return app.try_credentials();
            }
            app.ask_again();
            app.identified_ms = None;
            return app.due();
        }
        Action::Sort | Action::SortBack | Action::SortReverse => {
            let is_many = app.is_many();
            if let Some((of, list)) = app.list_on_screen() {
                match action {
                    Action::Sort => of.next_sort(list, is_many, 1),
                    Action::SortBack => of.next_sort(list, is_many, -1),
                    _ => list.sort.reversed = !list.sort.reversed,
                }
                return app.due();
            }
        }
        Action::Filter => {
            if let Some((_, list)) = app.list_on_screen() {
                let input = Input::new(list.filter.text().to_owned());
                let error = list.filter.wrong().map(str::to_owned);
                app.overlay = Some(Overlay::Prompt(Prompt { purpose: Purpose::Filter, input, error }));
            }
        }
        Action::Open => return open(app),
        Action::Restore => {
            let table = app.table_at_hand();
            return forms::open(app, table);
        }
        Action::Backup => {
            let table = app.table_at_hand();
            return backup::open(app, table);
        }
        Action::Replicate => {
            let table = app.table_at_hand();
            return replica::open(app, table);
        }
        Action::Repair => replica::ask_repair(app),
        Action::Raise | Action::Lower | Action::SetCapacity | Action::GiveBack => raise::act(app, action),
        Action::Indexes => match raise::resource_at_hand(app) {
            Ok(Resource::Table(table)) => return app.go(Screen::Table(table)),
            Ok(_) => {}
            Err(words) => app.say(words, true),
        },
        Action::Pause if matches!(app.screen, Screen::Mappings(_)) => return stream::act(app, action),
        Action::Mappings | Action::Tail | Action::TailAll | Action::GoOn | Action::Retention => {
            return stream::act(app, action);
        }
        Action::Pause | Action::Cancel | Action::Rate | Action::Verify => controls::act(app, action),
        Action::Dead => {
            if let Screen::Job(id) = app.screen.clone() {
                return app.go(Screen::Dead(id));
            }
        }
        Action::Edit | Action::Replay | Action::ReplayAll | Action::Drop => return super::letters::act(app, action),
        Action::Log => {
            if let Screen::Job(id) | Screen::Autoscale(id) = &app.screen {
                let lines = view::job::log_lines(app, id);
                app.overlay = Some(Overlay::Text(Text::new(format!("log of {id}"), lines).from_its_end()));
            }
        }
        Action::Zoom | Action::ZoomIn => return app.zoom(action == Action::Zoom),
        Action::Report => export::ask(app, Proposed::Report),
        Action::Freeze => return app.freeze(),
        Action::PanBack | Action::PanOn => return app.pan(action == Action::PanOn),
        Action::Live => return app.go_live(),
        Action::Crosshair => app.crosshair(),
        Action::AnomalyBack | Action::AnomalyOn => return app.step_anomaly(action == Action::AnomalyOn),
        Action::Anomalies => {
            let lines = view::charts::anomaly_lines(app);
            if lines.is_empty() {
                app.say("nothing stands out in what is known of it", false);
            } else {
                app.overlay = Some(Overlay::Text(Text::new("what stands out", lines).from_its_end()));
            }
        }
        Action::PointBack | Action::PointOn => return app.step_cursor(action == Action::PointOn),
        _ => {}
    }
    Vec::new()
}

fn step(app: &mut App, rows: isize) {
    let names: Vec<String> = match &app.screen {
        Screen::Tables => app.table_rows().iter().map(|row| row.key().into_owned()).collect(),
        Screen::Table(name) => {
            let last = app.table(name).map_or(0, |table| table.indexes.len());
            app.index_at = app.index_at.saturating_add_signed(rows).min(last);
            return;
        }
        Screen::Streams => app.stream_rows().iter().map(|row| row.key().into_owned()).collect(),
        Screen::Jobs => app.shown_jobs().iter().map(|job| job.id.0.clone()).collect(),
        Screen::Dead(_) => app.shown_letters().iter().map(|letter| letter.number.to_string()).collect(),
        Screen::EventTables => app.shown_event_tables().iter().map(|(table, _)| table.name.clone()).collect(),
        Screen::Autoscale(id) => {
            let numbers: Vec<i64> = app.job(id).map_or_else(Vec::new, |job| {
                view::autoscale::decisions(app, job).map(|decision| decision.number).collect()
            });
            let at = app.decision_at.and_then(|number| numbers.iter().position(|one| *one == number)).unwrap_or(0);
            let at = at.saturating_add_signed(rows).min(numbers.len().saturating_sub(1));
            // At the top the newest is selected as it comes.
            app.decision_at = numbers.get(at).copied().filter(|_| at > 0);
            return;
        }
        Screen::Stream(_) | Screen::Mappings(_) | Screen::Tail(..) => return stream::step(app, rows),
        _ => return,
    };
    if let Some((_, list)) = app.list_on_screen() {
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
                app.overlay = Some(Overlay::Text(Text::new(format!("table {}", table.name), text)));
            }
        }
        Screen::Streams | Screen::Stream(_) | Screen::Mappings(_) | Screen::Tail(..) => return stream::open(app),
        Screen::Jobs => {
            if let Some(id) = app.selected_job() {
                return app.go_to_job(&id);
            }
        }
        Screen::EventTables => return playback::keys::on_list(app, Action::Open),
        Screen::Autoscale(id) => {
            let decision = app.job(id).and_then(|job| view::autoscale::selected(app, job));
            if let Some(decision) = decision {
                let text = view::autoscale::whole(decision);
                app.overlay = Some(Overlay::Text(Text::new("decision", text)));
            }
        }
        Screen::Dead(_) => {
            if let Some(letter) = app.selected_letter() {
                let title = format!("dead letter {}", letter.number);
                let text = Text::new(title, view::dead::whole(app.job(&letter.job), letter));
                app.overlay = Some(Overlay::Text(text.of_record(letter.letter.payload.clone())));
            }
        }
        _ => {}
    }
    Vec::new()
}

impl Scope {
    /// True where a question is asked.
    pub fn is_question(self) -> bool {
        matches!(self, Self::Confirm | Self::Review)
    }
}
