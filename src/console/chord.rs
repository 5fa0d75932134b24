//! Chords: keys as people write them in `keymap.toml`.

use std::fmt;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// A key with the modifiers held. Shift is part of a character, not a modifier of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Chord {
    code: KeyCode,
    modifiers: KeyModifiers,
}

const NAMED: [(&str, KeyCode); 16] = [
    ("up", KeyCode::Up),
    ("down", KeyCode::Down),
    ("left", KeyCode::Left),
    ("right", KeyCode::Right),
    ("home", KeyCode::Home),
    ("end", KeyCode::End),
    ("pageup", KeyCode::PageUp),
    ("pagedown", KeyCode::PageDown),
    ("tab", KeyCode::Tab),
    ("enter", KeyCode::Enter),
    ("esc", KeyCode::Esc),
    ("space", KeyCode::Char(' ')),
    ("backspace", KeyCode::Backspace),
    ("delete", KeyCode::Delete),
    ("insert", KeyCode::Insert),
    ("backtab", KeyCode::BackTab),
];

impl Chord {
    /// The chord that `text` writes, or the reason why it writes none.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut modifiers = KeyModifiers::NONE;
        let mut rest = text;
        let name = loop {
            match rest.split_once('-') {
                // `-` alone is the minus key, also after modifiers: `ctrl--`.
                Some((prefix, after)) if !prefix.is_empty() && !after.is_empty() => {
                    modifiers |= match prefix {
                        "ctrl" => KeyModifiers::CONTROL,
                        "alt" => KeyModifiers::ALT,
                        "shift" => KeyModifiers::SHIFT,
                        _ => return Err(unknown(text, prefix, &["ctrl", "alt", "shift"])),
                    };
                    rest = after;
                }
                _ => break rest,
            }
        };
        let mut characters = name.chars();
        let code = match (characters.next(), characters.next()) {
            (None, _) => return Err("an empty chord binds no key".to_owned()),
            (Some(c), None) => KeyCode::Char(c),
            _ => match NAMED.iter().find(|(known, _)| *known == name) {
                Some((_, code)) => *code,
                None => match name.strip_prefix('f').and_then(|n| n.parse::<u8>().ok()) {
                    Some(n) if (1..=12).contains(&n) => KeyCode::F(n),
                    _ => return Err(unknown(text, name, &NAMED.map(|(known, _)| known))),
                },
            },
        };
        Ok(Self::normal(code, modifiers))
    }

    /// The chord that a key event is.
    pub fn of(key: &KeyEvent) -> Self {
        Self::normal(key.code, key.modifiers)
    }

    // Terminals differ in how they report shift: one spelling for each key.
    fn normal(code: KeyCode, modifiers: KeyModifiers) -> Self {
        let kept = KeyModifiers::CONTROL | KeyModifiers::ALT | KeyModifiers::SHIFT;
        let mut modifiers = modifiers & kept;
        let code = match code {
            KeyCode::BackTab => {
                modifiers |= KeyModifiers::SHIFT;
                KeyCode::Tab
            }
            KeyCode::Char(c) => {
                let shifted = modifiers.contains(KeyModifiers::SHIFT) && c.is_lowercase();
                modifiers -= KeyModifiers::SHIFT;
                let mut upper = c.to_uppercase();
                match (upper.next(), upper.next()) {
                    (Some(one), None) if shifted => KeyCode::Char(one),
                    _ => KeyCode::Char(c),
                }
            }
            other => other,
        };
        Self { code, modifiers }
    }

    /// True for a plain character, which a text field takes as typed.
    pub fn is_typed(self) -> bool {
        matches!(self.code, KeyCode::Char(_)) && self.modifiers.is_empty()
    }
}

/// One or more chords, pressed one after the other.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Sequence(Vec<Chord>);

impl Sequence {
    /// The chords that `text` writes, separated by spaces, or the reason why it writes none.
    pub fn parse(text: &str) -> Result<Self, String> {
        let chords: Result<Vec<Chord>, String> = text.split_whitespace().map(Chord::parse).collect();
        match chords?.as_slice() {
            [] => Chord::parse(text).map(|chord| Self(vec![chord])),
            chords => Ok(Self(chords.to_vec())),
        }
    }

    /// Its chords.
    pub fn chords(&self) -> &[Chord] {
        &self.0
    }

    /// True when it goes on after `chords`.
    pub fn goes_on_after(&self, chords: &[Chord]) -> bool {
        self.0.len() > chords.len() && self.0.starts_with(chords)
    }

    /// True when its first chord is a plain character.
    pub fn is_typed(&self) -> bool {
        self.0.first().is_some_and(|chord| chord.is_typed())
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&spelt(&self.0))
    }
}

/// Chords as people write them, separated by spaces.
pub fn spelt(chords: &[Chord]) -> String {
    chords.iter().map(Chord::to_string).collect::<Vec<_>>().join(" ")
}

fn unknown(chord: &str, part: &str, known: &[&str]) -> String {
    format!("{chord:?} is no chord{}", nearest(part, known))
}

/// `: did you mean x?` when something known is spelt like `name`.
pub fn nearest(name: &str, known: &[&str]) -> String {
    let scored = known.iter().map(|k| (strsim::jaro_winkler(name, k), k));
    match scored.max_by(|a, b| a.0.total_cmp(&b.0)) {
        Some((score, near)) if score > 0.7 => format!(": did you mean {near:?}?"),
        _ => format!(": known are {}", known.join(" ")),
    }
}

impl fmt::Display for Chord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (modifier, name) in
            [(KeyModifiers::CONTROL, "ctrl-"), (KeyModifiers::ALT, "alt-"), (KeyModifiers::SHIFT, "shift-")]
        {
            if self.modifiers.contains(modifier) {
                f.write_str(name)?;
            }
        }
        match (NAMED.iter().find(|(_, code)| *code == self.code), self.code) {
            (Some((name, _)), _) => f.write_str(name),
            (None, KeyCode::Char(c)) => write!(f, "{c}"),
            (None, KeyCode::F(n)) => write!(f, "f{n}"),
            (None, other) => write!(f, "{other}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chord_is_written_as_it_is_read() {
        for text in ["q", "ctrl-c", "shift-tab", "+", "-", "ctrl--", "space", "f12", "G", "alt-enter", "?"] {
            assert_eq!(Chord::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_sequence_is_chords_separated_by_spaces() {
        for text in ["g g", "ctrl-x s", "space", "g ?"] {
            assert_eq!(Sequence::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Sequence::parse(" ").unwrap().to_string(), "space");
        assert_eq!(Sequence::parse("").unwrap_err(), "an empty chord binds no key");
        assert_eq!(Sequence::parse("g entr").unwrap_err(), "\"entr\" is no chord: did you mean \"enter\"?");
    }

    #[test]
    fn terminals_that_report_shift_differently_give_the_same_chord() {
        let parse = |text| Chord::parse(text).unwrap();
        assert_eq!(Chord::of(&KeyEvent::new(KeyCode::BackTab, KeyModifiers::SHIFT)), parse("shift-tab"));
        assert_eq!(Chord::of(&KeyEvent::new(KeyCode::Char('R'), KeyModifiers::SHIFT)), parse("R"));
        assert_eq!(Chord::of(&KeyEvent::new(KeyCode::Char('r'), KeyModifiers::SHIFT)), parse("R"));
        assert_eq!(Chord::of(&KeyEvent::new(KeyCode::Char('+'), KeyModifiers::SHIFT)), parse("+"));
    }

    #[test]
    fn an_unknown_key_is_answered_with_the_nearest() {
        assert_eq!(Chord::parse("ctlr-c").unwrap_err(), "\"ctlr-c\" is no chord: did you mean \"ctrl\"?");
        assert_eq!(Chord::parse("entr").unwrap_err(), "\"entr\" is no chord: did you mean \"enter\"?");
        assert!(Chord::parse("").is_err());
        assert!(Chord::parse("f13").is_err());
    }
}
