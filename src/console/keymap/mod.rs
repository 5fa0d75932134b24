//! Which chord does what, where. The shipped `keymap.toml` is embedded; a user's file overlays it. Help, footer and
//! `sluice keymap` are made from this one map.

mod actions;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crossterm::event::KeyEvent;
use toml::Spanned;

use super::chord::{Chord, Sequence, nearest, spelt};
pub use actions::{Action, Scope};
use actions::{BINDABLE, Bindable, SCOPES};

const SHIPPED: &str = include_str!("../../../keymap.toml");

/// What is wrong with a keymap file.
#[derive(Debug, thiserror::Error)]
pub enum KeymapError {
    /// It could not be read.
    #[error("the keymap {0} could not be read: {1}")]
    Unreadable(PathBuf, std::io::Error),
    /// It says something that can't be done.
    #[error("{path}:{line}: {reason}")]
    Wrong {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong, with the nearest name that exists.
        reason: String,
    },
}

/// One line of `sluice keymap`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Where it holds.
    pub scope: &'static str,
    /// The action's name.
    pub action: &'static str,
    /// The chords bound to it; empty when unbound.
    pub chords: Vec<String>,
    /// What it does.
    pub help: &'static str,
}

/// What a key makes of the keys before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pressed {
    /// They are bound to this.
    Act(Action),
    /// A longer sequence begins with them.
    Begun,
    /// They are bound to nothing.
    Nothing,
}

/// Sequences of chords by scope and action.
#[derive(Clone, Debug)]
pub struct Keymap {
    bound: Vec<Vec<Sequence>>,
}

/// The keys of a scope, for words that name them.
#[derive(Clone, Copy, Debug)]
pub struct Keys<'a> {
    keymap: &'a Keymap,
    scope: Scope,
}

impl Keys<'_> {
    /// `words` with the chord of `action` behind them, such as `cancel (x)`; without where nothing is bound to it.
    pub fn named(self, words: &str, action: Action) -> String {
        match self.keymap.chord(self.scope, action) {
            Some(chord) => format!("{words} ({chord})"),
            None => words.to_owned(),
        }
    }
}

type File = BTreeMap<Spanned<String>, BTreeMap<Spanned<String>, Spanned<Vec<Spanned<String>>>>>;

/// The shipped keymap, overlaid with the file at `user`.
///
/// # Errors
/// Unknown scopes, actions and chords, and chords bound twice in a scope, each with its line.
pub fn load(user: Option<&Path>) -> Result<Keymap, KeymapError> {
    let mut keymap = Keymap { bound: BINDABLE.iter().map(|_| Vec::new()).collect() };
    keymap.overlay(SHIPPED, Path::new("keymap.toml"))?;
    if let Some(path) = user {
        let text = std::fs::read_to_string(path).map_err(|error| KeymapError::Unreadable(path.to_owned(), error))?;
        keymap.overlay(&text, path)?;
    }
    Ok(keymap)
}

impl Keymap {
    fn overlay(&mut self, text: &str, path: &Path) -> Result<(), KeymapError> {
        let wrong = |span: Range<usize>, reason: String| KeymapError::Wrong {
            path: path.to_owned(),
            line: text[..span.start.min(text.len())].matches('\n').count() + 1,
            reason,
        };
        let file: File = toml::from_str(text)
            .map_err(|error| wrong(error.span().unwrap_or_default(), error.message().to_owned()))?;
        // Which bindings this file makes, and where it says so: clashes are told at the later one.
        let mut said: Vec<(usize, Range<usize>)> = Vec::new();
        for (scope_name, actions) in &file {
            let known: Vec<&str> = SCOPES.iter().map(|(name, _)| *name).collect();
            let Some((_, scope)) = SCOPES.iter().find(|(name, _)| name == scope_name.get_ref()) else {
                let near = nearest(scope_name.get_ref(), &known);
                return Err(wrong(scope_name.span(), format!("there is no scope {:?}{near}", scope_name.get_ref())));
            };
            for (name, chords) in actions {
                let Some(number) = BINDABLE.iter().position(|b| b.scope == *scope && b.name == name.get_ref()) else {
                    let known: Vec<&str> = BINDABLE.iter().filter(|b| b.scope == *scope).map(|b| b.name).collect();
                    let near = nearest(name.get_ref(), &known);
                    let reason = format!("[{}] has no action {:?}{near}", scope.name(), name.get_ref());
                    return Err(wrong(name.span(), reason));
                };
                self.bound[number].clear();
                for chord in chords.get_ref() {
                    let parsed = Sequence::parse(chord.get_ref()).map_err(|reason| wrong(chord.span(), reason))?;
                    // No profile worth finding by one, and no region, has a space in its name.
                    let is_free = *scope == Scope::Contexts && chord.get_ref() == "space";
                    if scope.is_typed_into() && parsed.is_typed() && !is_free {
                        let reason = format!("[{}] types plain characters: {parsed} can't be bound", scope.name());
                        return Err(wrong(chord.span(), reason));
                    }
                    if !self.bound[number].contains(&parsed) {
                        self.bound[number].push(parsed);
                    }
                    said.push((number, chord.span()));
                }
            }
        }
        said.sort_by_key(|(_, span)| span.start);
        for (number, span) in said.iter().rev() {
            if let Some(reason) = self.clash(*number) {
                return Err(wrong(span.clone(), reason));
            }
        }
        Ok(())
    }

    /// What is wrong with what a binding is bound to: the same as another of its scope, or the begin of a longer one.
    fn clash(&self, number: usize) -> Option<String> {
        let this = &BINDABLE[number];
        let others = || BINDABLE.iter().zip(&self.bound).enumerate();
        for sequence in &self.bound[number] {
            for (at, (other, theirs)) in others() {
                if at != number && other.scope == this.scope && theirs.contains(sequence) {
                    let (scope, a, b) = (this.scope.name(), other.name, this.name);
                    return Some(format!("[{scope}] {a} and {b} are both bound to {sequence}: unbind one with []"));
                }
                if other.scope != this.scope && other.scope != Scope::Global && this.scope != Scope::Global {
                    continue;
                }
                let begins = |a: &Sequence, b: &Sequence| b.goes_on_after(a.chords());
                let longer = theirs.iter().find(|theirs| begins(sequence, theirs) || begins(theirs, sequence));
                if let Some(theirs) = longer {
                    let (mut short, mut long) = ((this, sequence), (other, theirs));
                    if begins(theirs, sequence) {
                        (short, long) = (long, short);
                    }
                    return Some(format!(
                        "[{}] {} is bound to {}, which begins {} of [{}] {}: unbind one with []",
                        short.0.scope.name(),
                        short.0.name,
                        short.1,
                        long.1,
                        long.0.scope.name(),
                        long.0.name
                    ));
                }
            }
        }
        None
    }

    /// The bindings that hold in `scope`, its own first: global ones are left out where their characters are typed.
    fn holding(&self, scope: Scope) -> impl Iterator<Item = (&'static Bindable, &Sequence)> {
        let of = move |wanted: Scope| {
            let these = BINDABLE.iter().zip(&self.bound).filter(move |(b, _)| b.scope == wanted);
            these.flat_map(|(b, bound)| bound.iter().map(move |sequence| (b, sequence)))
        };
        let global = of(Scope::Global).filter(move |(_, s)| !(scope.is_typed_into() && s.is_typed()));
        of(scope).chain(global.filter(move |_| scope != Scope::Global))
    }

    /// What `key` does in `scope` after the chords `before`: its own binding, else the global one unless characters are
    /// typed there.
    pub fn pressed(&self, scope: Scope, before: &[Chord], key: &KeyEvent) -> Pressed {
        let mut chords = before.to_vec();
        chords.push(Chord::of(key));
        if let Some((b, _)) = self.holding(scope).find(|(_, sequence)| sequence.chords() == chords) {
            return Pressed::Act(b.action);
        }
        let is_begun = self.holding(scope).any(|(_, sequence)| sequence.goes_on_after(&chords));
        if is_begun { Pressed::Begun } else { Pressed::Nothing }
    }

    /// What can follow the chords `before`: the rest of each sequence, and the name of what it does.
    pub fn follows(&self, scope: Scope, before: &[Chord]) -> Vec<(String, String)> {
        let going_on = self.holding(scope).filter(|(_, sequence)| sequence.goes_on_after(before));
        let mut follows: Vec<(String, String)> = Vec::new();
        for (b, sequence) in going_on {
            let rest = spelt(&sequence.chords()[before.len()..]);
            if !follows.iter().any(|(known, _)| *known == rest) {
                follows.push((rest, b.name.replace('_', " ")));
            }
        }
        follows
    }

    /// What `key` does in `scope` by itself.
    #[cfg(test)]
    pub fn action(&self, scope: Scope, key: &KeyEvent) -> Option<Action> {
        match self.pressed(scope, &[], key) {
            Pressed::Act(action) => Some(action),
            _ => None,
        }
    }

    /// The first chord of `action` in `scope`, as hints name it.
    pub fn chord(&self, scope: Scope, action: Action) -> Option<String> {
        let bound = |scope| BINDABLE.iter().zip(&self.bound).find(|(b, _)| b.scope == scope && b.action == action);
        let (_, chords) = bound(scope).or_else(|| bound(Scope::Global))?;
        chords.first().map(ToString::to_string)
    }

    /// The first chord of `action` that works in `scope`: none that would be typed there.
    pub fn works(&self, scope: Scope, action: Action) -> Option<String> {
        self.holding(scope).find(|(b, _)| b.action == action).map(|(_, sequence)| sequence.to_string())
    }

    /// The keys of `scope`.
    pub fn keys(&self, scope: Scope) -> Keys<'_> {
        Keys { keymap: self, scope }
    }

    /// The footer of `scope`: chord and short name of each bound action.
    pub fn footer(&self, scope: Scope) -> Vec<(String, &'static str)> {
        BINDABLE
            .iter()
            .zip(&self.bound)
            .filter(|(b, _)| {
                b.scope == scope || b.scope == Scope::Global && !matches!(scope, Scope::Confirm | Scope::Review)
            })
            .filter(|(b, _)| !(scope.is_typed_into() && b.scope == Scope::Global))
            .filter(|(b, _)| !b.short.is_empty())
            .filter_map(|(b, chords)| Some((chords.first()?.to_string(), b.short)))
            .collect()
    }

    /// What the footer's entry of that short name does in `scope`.
    pub fn does(&self, scope: Scope, short: &str) -> Option<Action> {
        let named = |of: Scope| BINDABLE.iter().find(|b| b.scope == of && b.short == short).map(|b| b.action);
        named(scope).or_else(|| named(Scope::Global))
    }

    /// Every action that works in `scope`, once, its own first: name, first key, help.
    pub fn actions(&self, scope: Scope) -> Vec<(String, String, &'static str, Action)> {
        let mut actions: Vec<(String, String, &'static str, Action)> = Vec::new();
        for (b, sequence) in self.holding(scope) {
            if !actions.iter().any(|(.., known)| *known == b.action) {
                actions.push((b.name.replace('_', " "), sequence.to_string(), b.help, b.action));
            }
        }
        actions
    }

    /// Everything that can be bound, with its chords.
    pub fn rows(&self) -> Vec<Row> {
        let mut rows: Vec<Row> = BINDABLE
            .iter()
            .zip(&self.bound)
            .map(|(b, chords)| Row {
                scope: b.scope.name(),
                action: b.name,
                chords: chords.iter().map(ToString::to_string).collect(),
                help: b.help,
            })
            .collect();
        rows.sort_by_key(|row| SCOPES.iter().position(|(name, _)| *name == row.scope));
        rows
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use crossterm::event::{KeyCode, KeyModifiers};

    use super::*;

    fn with(text: &str) -> Result<Keymap, String> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        load(Some(file.path())).map_err(|e| {
            let e = e.to_string();
            e.strip_prefix(&format!("{}:", file.path().display())).unwrap_or(&e).to_owned()
        })
    }

    fn key(c: char) -> KeyEvent {
        KeyEvent::new(KeyCode::Char(c), KeyModifiers::NONE)
    }

    #[test]
    fn the_shipped_keymap_binds_every_action() {
        let keymap = load(None).unwrap();
        for row in keymap.rows() {
            assert!(!row.chords.is_empty(), "[{}] {}", row.scope, row.action);
        }
    }

    #[test]
    fn a_users_file_replaces_what_it_names_and_leaves_the_rest() {
        let keymap = with("[job]\npause = [\"space\"]\ncancel = []\n").unwrap();
        assert_eq!(keymap.action(Scope::Job, &key(' ')), Some(Action::Pause));
        assert_eq!(keymap.action(Scope::Job, &key('p')), None);
        assert_eq!(keymap.action(Scope::Job, &key('x')), None);
        assert_eq!(keymap.action(Scope::Job, &key('+')), Some(Action::Raise));
        assert_eq!(keymap.action(Scope::Job, &key('q')), Some(Action::Quit));
        assert!(!keymap.footer(Scope::Job).iter().any(|(_, name)| *name == "cancel"));
    }

    #[test]
    fn mistakes_are_told_with_their_line_and_the_nearest_name() {
        for (text, said) in [
            ("\n[jbos]\n", "2: there is no scope \"jbos\": did you mean \"jobs\"?"),
            ("[job]\n# c\npuase = [\"p\"]", "3: [job] has no action \"puase\": did you mean \"pause\"?"),
            ("[job]\npause = [\"p\", \"ctlr-p\"]", "2: \"ctlr-p\" is no chord: did you mean \"ctrl\"?"),
            ("[job]\nzoom = [\"p\"]", "2: [job] pause and zoom are both bound to p: unbind one with []"),
            (
                "[job]\nzoom = [\"1\"]\nlog = [\n \"1\"]",
                "4: [job] zoom and log are both bound to 1: unbind one with []",
            ),
            (
                "[tables]\nsort = [\"g\"]",
                "2: [tables] sort is bound to g, which begins g w of [global] words: unbind one with []",
            ),
            (
                "[job]\nlog = [\"l\", \"l x\"]",
                "2: [job] log is bound to l, which begins l x of [job] log: unbind one with []",
            ),
            ("[form]\nnext = [\"n\"]", "2: [form] types plain characters: n can't be bound"),
        ] {
            assert_eq!(with(text).unwrap_err(), said);
        }
    }

    #[test]
    fn a_sequence_waits_for_its_next_key_and_says_what_can_follow() {
        let keymap = with("[job]\npause = [\"x p\"]\ncancel = [\"x x\"]\n").unwrap();
        assert_eq!(keymap.pressed(Scope::Job, &[], &key('x')), Pressed::Begun);
        let x = [Chord::of(&key('x'))];
        assert_eq!(keymap.pressed(Scope::Job, &x, &key('p')), Pressed::Act(Action::Pause));
        assert_eq!(keymap.pressed(Scope::Job, &x, &key('q')), Pressed::Nothing);
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(keymap.follows(Scope::Job, &x), [pair("p", "pause"), pair("x", "cancel")]);
        assert_eq!(keymap.chord(Scope::Job, Action::Cancel).as_deref(), Some("x x"));
        // Where characters are typed, they begin nothing.
        assert_eq!(keymap.pressed(Scope::Form, &[], &key('g')), Pressed::Nothing);
        assert_eq!(keymap.pressed(Scope::Tables, &[], &key('g')), Pressed::Begun);
    }

    #[test]
    fn what_is_no_toml_or_of_the_wrong_type_is_told_with_its_line() {
        assert!(with("[job]\npause = \"p\"").unwrap_err().starts_with("2: "), "{:?}", with("[job]\npause = \"p\""));
        assert!(with("[job]\n\npause = [").unwrap_err().starts_with("3: "), "{:?}", with("[job]\n\npause = ["));
    }

    #[test]
    fn characters_typed_into_a_field_do_nothing_else() {
        let keymap = load(None).unwrap();
        assert_eq!(keymap.action(Scope::Form, &key('q')), None);
        assert_eq!(
            keymap.action(Scope::Form, &KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)),
            Some(Action::Quit)
        );
    }
}
