//! The `:` palette: a line, and below it what it could mean, best first.
//!
//! Without an argument the line is looked for in everything: what keys do here, commands, tables, streams, jobs, event
//! tables, bookmarks. After the name of a command it is that command's arguments that are completed.

use nucleo_matcher::pattern::{AtomKind, CaseMatching, Normalization, Pattern};
use nucleo_matcher::{Config, Matcher, Utf32Str};
use tui_input::Input;

use super::app::{App, Overlay};
use super::chord::nearest;
use super::commands::{self, COMMANDS, Command, Of, candidates};
use super::effect::Effect;
use super::keymap::Action;
use super::keys;
use super::memory::News;
use super::spot::Spot;

/// So many entries are ranked and kept.
const MOST: usize = 200;
/// So many lines of the history stand under an empty line.
const RECENT: usize = 6;

/// The palette.
#[derive(Clone, Debug, Default)]
pub struct Palette {
    /// The line.
    pub input: Input,
    /// What is wrong with it.
    pub error: Option<String>,
    /// The selected entry; `None` until a key chose one: then the first is meant.
    pub chosen: Option<usize>,
    /// Only bookmarks.
    pub only_bookmarks: bool,
    /// Which line of the history is shown, from the newest, and what was typed before.
    recalled: Option<(usize, String)>,
}

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// A line of the history.
    Recent,
    /// What a key does here.
    Key,
    /// A command.
    Command,
    /// A table.
    Table,
    /// A stream.
    Stream,
    /// A job.
    Job,
    /// An event table.
    Events,
    /// A bookmark.
    Bookmark,
    /// What an argument can be.
    Argument,
}

impl Group {
    /// One word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Recent => "again",
            Self::Key => "key",
            Self::Command => "command",
            Self::Table => "table",
            Self::Stream => "stream",
            Self::Job => "job",
            Self::Events => "events",
            Self::Bookmark => "bookmark",
            Self::Argument => "",
        }
    }
}

/// What an entry does.
#[derive(Clone, Debug)]
enum Does {
    Act(Action),
    Command(&'static Command),
    Go(Spot),
    /// Puts a line there, to be run with another enter.
    Line(String),
}

/// Something that the line could mean.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What it is.
    pub group: Group,
    /// Its name.
    pub name: String,
    /// What else it is found by.
    also: String,
    /// A word on it.
    pub note: String,
    /// The key that does the same.
    pub key: String,
    does: Does,
}

impl Palette {
    fn line(&self) -> &str {
        self.input.value()
    }

    /// The command whose arguments are typed, with what follows it.
    pub fn command(&self) -> Option<(&'static Command, &str)> {
        let (name, rest) = self.line().trim_start().split_once(' ')?;
        Some((commands::command(name)?, rest))
    }

    fn set(&mut self, line: &str) {
        self.input = line.into();
        self.chosen = None;
        self.error = None;
    }

    /// Something was typed.
    pub fn typed(&mut self) {
        self.chosen = None;
        self.error = None;
        self.recalled = None;
    }
}

/// Opens the palette.
pub(super) fn open(app: &mut App, only_bookmarks: bool) {
    if only_bookmarks && app.bookmarks().is_empty() {
        let key = app.keymap.chord(app.screen_scope(), Action::Bookmark).unwrap_or_default();
        return app.say(format!("nothing is bookmarked in this context yet: {key} bookmarks what is selected"), false);
    }
    app.overlay = Some(Overlay::Palette(Box::new(Palette { only_bookmarks, ..Palette::default() })));
}

/// What the line could mean, best first.
pub fn entries(app: &App, palette: &Palette) -> Vec<Entry> {
    if let Some((command, rest)) = palette.command() {
        return completions(app, command, rest);
    }
    let line = palette.line().trim();
    let all = if palette.only_bookmarks { bookmarks(app) } else { everything(app, line.is_empty()) };
    ranked(all, line)
}

/// The entries whose names hold the letters of `line` in order, best first; those named exactly so before all.
fn ranked(all: Vec<Entry>, line: &str) -> Vec<Entry> {
    if line.is_empty() {
        return all.into_iter().take(MOST).collect();
    }
    let mut matcher = Matcher::new(Config::DEFAULT);
    let pattern = Pattern::new(line, CaseMatching::Ignore, Normalization::Smart, AtomKind::Fuzzy);
    let mut buffer = Vec::new();
    let mut scored: Vec<(bool, u32, Entry)> = Vec::new();
    for entry in all {
        let mut score = pattern.score(Utf32Str::new(&entry.name, &mut buffer), &mut matcher);
        if score.is_none() && !entry.also.is_empty() {
            let both = format!("{} {}", entry.name, entry.also);
            score = pattern.score(Utf32Str::new(&both, &mut buffer), &mut matcher);
        }
        if let Some(score) = score {
            scored.push((entry.name.eq_ignore_ascii_case(line), score, entry));
        }
    }
    // Among equals, what comes first stays first.
    scored.sort_by(|a, b| b.0.cmp(&a.0).then(b.1.cmp(&a.1)));
    scored.into_iter().take(MOST).map(|(.., entry)| entry).collect()
}

fn bookmarks(app: &App) -> Vec<Entry> {
    let entry = |spot: &Spot| Entry {
        group: Group::Bookmark,
        name: spot.words(),
        also: String::new(),
        note: String::new(),
        key: String::new(),
        does: Does::Go(spot.clone()),
    };
    app.bookmarks().iter().map(entry).collect()
}

fn everything(app: &App, with_history: bool) -> Vec<Entry> {
    let mut all: Vec<Entry> = Vec::new();
    let mut add = |group: Group, name: String, note: String, key: String, does: Does| {
        // A job is found by what it does, too.
        let also = if group == Group::Job { note.clone() } else { String::new() };
        all.push(Entry { group, name, also, note, key, does });
    };
    if with_history {
        for line in app.remembered.memory.typed.iter().rev().take(RECENT) {
            add(Group::Recent, line.clone(), String::new(), String::new(), Does::Line(line.clone()));
        }
        for entry in bookmarks(app) {
            add(entry.group, entry.name, entry.note, entry.key, entry.does);
        }
    }
    for (name, chord, help, action) in app.keymap.actions(app.screen_scope()) {
        if !is_movement(action) {
            add(Group::Key, name, help.to_owned(), chord, Does::Act(action));
        }
    }
    for command in COMMANDS.iter().flat_map(|area| area.iter()) {
        let note = format!("{}: {}", command.usage(), command.help);
        add(Group::Command, command.name.to_owned(), note, String::new(), Does::Command(command));
    }
    if !with_history {
        for entry in bookmarks(app) {
            add(entry.group, entry.name, entry.note, entry.key, entry.does);
        }
    }
    for (group, of, spot) in [
        (Group::Table, Of::Table, Spot::Table as fn(String) -> Spot),
        (Group::Stream, Of::Stream, Spot::Stream),
        (Group::Job, Of::Job, Spot::Job),
        (Group::Events, Of::EventTable, Spot::Playback),
    ] {
        for (name, note) in candidates(app, of) {
            add(group, name.clone(), note, String::new(), Does::Go(spot(name)));
        }
    }
    all
}

/// Moving is done with keys, and the palette needs them itself.
fn is_movement(action: Action) -> bool {
    matches!(
        action,
        Action::Up
            | Action::Down
            | Action::PageUp
            | Action::PageDown
            | Action::First
            | Action::Last
            | Action::Back
            | Action::NextScreen
            | Action::PreviousScreen
            | Action::Palette
    )
}

/// What the word that is typed can be completed to.
fn completions(app: &App, command: &'static Command, rest: &str) -> Vec<Entry> {
    let words: Vec<&str> = rest.split(' ').filter(|word| !word.is_empty()).collect();
    let word = if rest.is_empty() || rest.ends_with(' ') { "" } else { words.last().copied().unwrap_or_default() };
    let at = words.len() - usize::from(!word.is_empty());
    let Some(argument) = command.argument(&words, at) else { return Vec::new() };
    let word = if matches!(argument.of, Of::Phrase(_)) { rest.trim_start() } else { word };
    let before = &rest[..rest.len() - word.len()];
    let more = command.argument(&words, at + 1).is_some();
    let entry = |(name, note): (String, String)| {
        let line = format!("{} {before}{name}{}", command.name, if more { " " } else { "" });
        Entry { group: Group::Argument, name, also: String::new(), note, key: String::new(), does: Does::Line(line) }
    };
    ranked(candidates(app, argument.of).into_iter().map(entry).collect(), word)
}

/// A key of the palette.
pub(super) fn act(app: &mut App, mut palette: Box<Palette>, action: Action) -> Vec<Effect> {
    match action {
        Action::Back => return Vec::new(),
        Action::Accept => return accept(app, palette),
        Action::Complete => complete(app, &mut palette),
        Action::Next if palette.recalled.is_some() => recall(app, &mut palette, false),
        Action::Previous if palette.recalled.is_some() || palette.chosen.is_none_or(|at| at == 0) => {
            recall(app, &mut palette, true);
        }
        Action::Next => {
            let last = entries(app, &palette).len().saturating_sub(1);
            palette.chosen =
                Some(palette.chosen.map_or(usize::from(palette.command().is_none()), |at| at + 1).min(last));
        }
        Action::Previous => palette.chosen = palette.chosen.map(|at| at.saturating_sub(1)),
        _ => {}
    }
    app.overlay = Some(Overlay::Palette(palette));
    Vec::new()
}

/// The line before this one in the history, or the one after it.
fn recall(app: &App, palette: &mut Palette, older: bool) {
    let typed = &app.remembered.memory.typed;
    let (at, draft) = match (palette.recalled.take(), older) {
        (None, _) => (Some(0), palette.line().to_owned()),
        (Some((at, draft)), true) => (Some(at + 1), draft),
        (Some((at, draft)), false) => (at.checked_sub(1), draft),
    };
    match at {
        None => palette.set(&draft),
        Some(at) => {
            let at = at.min(typed.len().saturating_sub(1));
            if let Some(line) = typed.iter().rev().nth(at) {
                palette.set(line);
                palette.recalled = Some((at, draft));
            }
        }
    }
}

/// Tab: the line is what the selected entry would make of it.
fn complete(app: &App, palette: &mut Palette) {
    let all = entries(app, palette);
    let Some(entry) = all.get(palette.chosen.unwrap_or(0)) else { return };
    let line = match &entry.does {
        Does::Line(line) => line.clone(),
        Does::Command(command) => format!("{} ", command.name),
        Does::Act(_) => entry.name.clone(),
        Does::Go(Spot::Table(name)) => format!("table {name}"),
        Does::Go(Spot::Stream(name)) => format!("stream {name}"),
        Does::Go(Spot::Job(id)) => format!("job {id}"),
        Does::Go(Spot::Letters(id)) => format!("letters {id}"),
        Does::Go(Spot::Mappings(name)) => format!("lambda {name}"),
        Does::Go(Spot::Playback(name)) => format!("playback {name}"),
        Does::Go(list) => list.words().to_lowercase(),
    };
    palette.only_bookmarks = false;
    palette.set(&line);
}

/// Enter: runs the line, or what is selected.
fn accept(app: &mut App, mut palette: Box<Palette>) -> Vec<Effect> {
    let line = palette.line().trim().to_lowercase();
    let named = app.keymap.actions(app.screen_scope()).into_iter().find(|(name, ..)| *name == line);
    if let (Some((name, .., action)), None) = (named, palette.chosen) {
        return run(app, palette, &name, |app| Ok(keys::act(app, action)));
    }
    if let Some((command, _)) = palette.command() {
        // A completion that was chosen is taken before the line is run.
        if palette.chosen.is_some() {
            complete(app, &mut palette);
        }
        let line = palette.line().trim().to_owned();
        let rest = line.strip_prefix(command.name).unwrap_or_default().trim().to_owned();
        return run(app, palette, &line, |app| command.run(app, &rest));
    }
    let line = palette.line().trim().to_owned();
    let all = entries(app, &palette);
    let Some(entry) = all.get(palette.chosen.unwrap_or(0)).cloned() else {
        let names = COMMANDS.iter().flat_map(|area| area.iter()).map(|command| command.name.to_owned());
        let names: Vec<String> =
            names.chain(app.keymap.actions(app.screen_scope()).into_iter().map(|(name, ..)| name)).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let first = line.split(' ').next().unwrap_or_default();
        let near = nearest(first, &names);
        let near = if near.starts_with(": did") { near } else { String::new() };
        palette.error = Some(format!("nothing here is called {line:?}{near}"));
        app.overlay = Some(Overlay::Palette(palette));
        return Vec::new();
    };
    match entry.does {
        Does::Line(line) => {
            palette.set(&line);
            app.overlay = Some(Overlay::Palette(palette));
            Vec::new()
        }
        Does::Command(command) if !command.needs_nothing() => {
            palette.set(&format!("{} ", command.name));
            app.overlay = Some(Overlay::Palette(palette));
            Vec::new()
        }
        Does::Command(command) => run(app, palette, command.name, |app| command.run(app, "")),
        Does::Act(action) => run(app, palette, &entry.name, |app| Ok(keys::act(app, action))),
        Does::Go(ref spot) => {
            complete(app, &mut palette);
            let line = palette.line().to_owned();
            run(app, palette, &line, |app| Ok(app.go_to(spot)))
        }
    }
}

/// Runs a line; what is wrong with it is told under it.
fn run(
    app: &mut App,
    mut palette: Box<Palette>,
    line: &str,
    does: impl FnOnce(&mut App) -> commands::Ran,
) -> Vec<Effect> {
    let before = app.notice.take();
    let ran = does(app);
    let refused = app.notice.as_ref().filter(|notice| notice.is_bad && app.overlay.is_none());
    let wrong = match (&ran, refused) {
        (Err(wrong), _) => Some(wrong.clone()),
        (Ok(_), Some(notice)) => Some(notice.words.clone()),
        _ => None,
    };
    if let Some(wrong) = wrong {
        app.notice = before;
        palette.chosen = None;
        palette.error = Some(wrong);
        app.overlay = Some(Overlay::Palette(palette));
        return ran.unwrap_or_default();
    }
    let mut effects = ran.unwrap_or_default();
    effects.push(app.remember(News::Typed(line.to_owned())));
    effects
}

impl App {
    /// A table that the palette's line names, so that what is set there is known when it is asked about.
    pub(super) fn table_in_palette(&self) -> Option<String> {
        let Some(Overlay::Palette(palette)) = &self.overlay else { return None };
        let (_, rest) = palette.command()?;
        let name = |word: &str| word.split('/').next().unwrap_or_default().to_owned();
        let names = self.table_names.rows.as_deref()?;
        rest.split_whitespace().map(name).find(|name| names.binary_search(name).is_ok())
    }
}
