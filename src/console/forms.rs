//! What all forms share: keys walk their fields, enter reviews what would start. And how each is opened.

use tui_input::Input;

use super::app::{App, Screen};
use super::confirm::{Confirm, Token};
use super::effect::Effect;
use super::form::{Name, RestoreForm, facts_of};
use super::keymap::{Action, Scope};
use super::keys::ask;
use super::widget::form::Typing;
use super::widget::quantity::exact;
use super::{backup, playback, replica};

impl App {
    /// The fields of the form on screen, if one is.
    pub(super) fn fields(&mut self) -> Option<&mut dyn Typing> {
        match self.screen {
            Screen::Restore => self.form.as_mut().map(|form| &mut form.fields as _),
            Screen::Backup => self.backup_form.as_mut().map(|form| &mut form.fields as _),
            Screen::Replica => self.replica_form.as_mut().map(|form| &mut form.fields as _),
            Screen::Replay => self.replay_form.as_mut().map(|form| &mut form.fields as _),
            _ => None,
        }
    }

    /// The table that is selected, or on screen.
    pub(super) fn table_at_hand(&self) -> Option<String> {
        match &self.screen {
            Screen::Tables => self.selected_table(),
            Screen::Table(name) => Some(name.clone()),
            _ => None,
        }
    }

    /// Goes to the field that is wrong, and says what is.
    pub(super) fn wrong_field(&mut self, at: usize, error: String) {
        if let Some(fields) = self.fields() {
            fields.go_to(at);
        }
        self.say(error, true);
    }
}

impl Screen {
    /// True on the lists, which nothing is behind.
    pub fn is_list(&self) -> bool {
        matches!(self, Self::Tables | Self::Streams | Self::Jobs | Self::EventTables)
    }

    /// True where a job is written down.
    pub fn is_form(&self) -> bool {
        matches!(self, Self::Restore | Self::Backup | Self::Replica | Self::Replay)
    }
}

/// An action on the form on screen.
pub(super) fn act(app: &mut App, action: Action) -> Vec<Effect> {
    let Some(fields) = app.fields() else { return app.back() };
    match action {
        Action::Next => fields.next(),
        Action::Previous => fields.previous(),
        Action::Back => return app.back(),
        Action::Accept => match app.screen {
            Screen::Backup => backup::review(app),
            Screen::Replica => replica::review(app),
            Screen::Replay => playback::form::review(app),
            _ => review(app),
        },
        _ => {}
    }
    Vec::new()
}

/// Something is typed into the form on screen.
pub(super) fn edit(app: &mut App, change: impl FnOnce(&mut Input)) {
    let Some(fields) = app.fields() else { return };
    let input = fields.input();
    let before = input.value().to_owned();
    change(input);
    let is_other = before != input.value();
    let now_ms = app.now_ms;
    if let (true, Screen::Restore, Some(form)) = (is_other, &app.screen, &mut app.form)
        && form.fields.here().name.is_looked_at()
    {
        form.unseen(now_ms);
    }
}

/// Shows the restore form for the table at hand; what was typed before stays.
pub(super) fn open(app: &mut App, table: Option<String>) -> Vec<Effect> {
    let now_ms = app.now_ms;
    let form = app.form.get_or_insert_with(|| RestoreForm::new(None, None));
    if let Some(table) = table.filter(|table| form.value(Name::Table) != table) {
        form.fields.set(Name::Table, table);
        form.unseen(now_ms);
    }
    app.go(Screen::Restore)
}

/// Enter on the form: the first error is shown, or what would start.
fn review(app: &mut App) {
    let Some(form) = &app.form else { return };
    if let Some((at, error)) = form.first_error(app.known()) {
        return app.wrong_field(at, error);
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
    if let Some(plan) = &plan {
        facts.extend(facts_of(plan, form.bumps(), table, app.now_ms));
    } else {
        let leave = app.keymap.chord(Scope::Review, Action::No).unwrap_or_default();
        facts.push(("plan", format!("not known yet: {leave} and wait for it, or start without")));
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
            format!("{} ends it; what is written stays", app.cancel_key())
        },
        token: if overwrites { Token::Name(spec.table().to_owned()) } else { Token::Again },
        typed: Input::default(),
        effect: Effect::Start { spec: Box::new(spec), parent: None, at: None },
    };
    ask(app, question);
}
