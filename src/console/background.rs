//! Asks the terminal for its background (OSC 11) and picks the answer out of the keys. Whenever it comes, before the first
//! frame, later or never, none of its bytes is taken for a key that was pressed.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers};

use super::theme::Background;

/// The question, ended as xterm's manual does: terminals answer in the same way, or with BEL.
const QUESTION: &[u8] = b"\x1b]11;?\x1b\\";
/// How long after the question an answer may still begin: a slow line.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest answer: `11;rgba:ffff/ffff/ffff/ffff` and its end.
const LONGEST: usize = 32;

/// Whether this terminal takes the question for what it is: some print it instead.
pub fn is_understood(variable: impl Fn(&str) -> Option<std::ffi::OsString>) -> bool {
    let term = variable("TERM").map(|term| term.to_string_lossy().to_lowercase()).unwrap_or_default();
    let prints = ["", "dumb", "linux", "vt100", "vt102", "vt220", "cons25", "cygwin", "eterm", "eterm-color"];
    // tmux answers by itself, also where it calls itself screen. GNU screen knows no such question.
    let is_gnu_screen = term.starts_with("screen") && variable("TMUX").is_none();
    !prints.contains(&term.as_str()) && !is_gnu_screen
}

/// What became of the question.
#[derive(Debug, Default)]
enum Heard {
    /// It was not asked, or it is answered: keys are keys.
    #[default]
    Nothing,
    /// It was asked at that moment.
    Asked(Instant),
    /// These keys may be the beginning of the answer, or an alt-] with what was typed after it.
    Maybe(Instant, Vec<Event>),
    /// The answer is on its way: its text so far.
    Answer(String),
    /// Its end is a backslash after an escape that came by itself.
    Ending,
}

/// What a key turned out to be.
#[derive(Debug, PartialEq)]
pub enum Taken {
    /// No part of an answer: these keys were pressed.
    Pressed(Vec<Event>),
    /// Part of an answer.
    Swallowed,
    /// The last part: the background, if it could be read.
    Answered(Option<Background>),
}

/// Listens for the answer among the keys.
#[derive(Debug, Default)]
pub struct Listener(Heard);

impl Listener {
    /// Asks on `terminal`, which must be in raw mode already, or the answer is printed.
    pub fn ask(&mut self, terminal: &mut impl Write, now: Instant) -> io::Result<()> {
        terminal.write_all(QUESTION)?;
        terminal.flush()?;
        self.0 = Heard::Asked(now);
        Ok(())
    }

    /// True while an answer may come.
    pub fn is_listening(&self) -> bool {
        !matches!(self.0, Heard::Nothing)
    }

    /// Takes what the terminal sent.
    pub fn take(&mut self, event: Event, now: Instant) -> Taken {
        let key = match &event {
            Event::Key(key) => Some(*key),
            _ => None,
        };
        match std::mem::take(&mut self.0) {
            Heard::Nothing => Taken::Pressed(vec![event]),
            Heard::Asked(at) => {
                if now.duration_since(at) > PATIENCE {
                    return Taken::Pressed(vec![event]);
                }
                if key.is_some_and(is_beginning) {
                    self.0 = Heard::Maybe(at, vec![event]);
                    return Taken::Swallowed;
                }
                self.0 = Heard::Asked(at);
                Taken::Pressed(vec![event])
            }
            Heard::Maybe(at, mut held) => {
                let expected = ['1', '1', ';'].get(held.len() - 1);
                held.push(event);
                if key.and_then(character) != expected.copied() {
                    // A person's alt-]: the answer is still to come.
                    self.0 = Heard::Asked(at);
                    return Taken::Pressed(held);
                }
                self.0 = if held.len() == 4 { Heard::Answer(String::new()) } else { Heard::Maybe(at, held) };
                Taken::Swallowed
            }
            Heard::Answer(mut text) => match key {
                Some(key) if is_end(key) => Taken::Answered(background(&text)),
                Some(key) if key.code == KeyCode::Esc => {
                    let background = background(&text);
                    self.0 = Heard::Ending;
                    Taken::Answered(background)
                }
                Some(key) if text.len() < LONGEST && character(key).is_some_and(is_of_an_answer) => {
                    text.extend(character(key));
                    self.0 = Heard::Answer(text);
                    Taken::Swallowed
                }
                // No terminal answers like that: what follows are keys again.
                _ => Taken::Pressed(vec![event]),
            },
            Heard::Ending => match key.and_then(character) {
                Some('\\') => Taken::Swallowed,
                _ => Taken::Pressed(vec![event]),
            },
        }
    }
}

/// `ESC ]`, which arrives as alt-].
fn is_beginning(key: KeyEvent) -> bool {
    key.code == KeyCode::Char(']') && key.modifiers == KeyModifiers::ALT
}

/// `ESC \`, which arrives as alt-\, or BEL, which arrives as ctrl-g.
fn is_end(key: KeyEvent) -> bool {
    key.code == KeyCode::Char('\\') && key.modifiers == KeyModifiers::ALT
        || key.code == KeyCode::Char('g') && key.modifiers == KeyModifiers::CONTROL
}

fn character(key: KeyEvent) -> Option<char> {
    match key.code {
        KeyCode::Char(c) if (key.modifiers - KeyModifiers::SHIFT).is_empty() => Some(c),
        _ => None,
    }
}

fn is_of_an_answer(c: char) -> bool {
    c.is_ascii_hexdigit() || matches!(c, 'r' | 'g' | 'b' | 'a' | ':' | '/' | '#')
}

/// `rgb:ffff/ffff/ffff` with one to four digits each, or `#ffffff`.
fn background(text: &str) -> Option<Background> {
    let share = |digits: &str| {
        let most = 16_f64.powi(i32::try_from(digits.len()).ok()?) - 1.0;
        Some(f64::from(u32::from_str_radix(digits, 16).ok()?) / most)
    };
    let parts: Vec<&str> = match text.strip_prefix('#') {
        Some(hex) if hex.len() == 6 && hex.is_ascii() => vec![&hex[..2], &hex[2..4], &hex[4..]],
        Some(_) => return None,
        None => text.split_once(':')?.1.split('/').collect(),
    };
    let [r, g, b, ..] = parts[..] else { return None };
    Some(Background::of_rgb([share(r)?, share(g)?, share(b)?]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(code: KeyCode, modifiers: KeyModifiers) -> Event {
        Event::Key(KeyEvent::new(code, modifiers))
    }

    /// As crossterm reads them: an escape and what follows it are one key.
    fn keys(bytes: &str) -> Vec<Event> {
        let mut keys = Vec::new();
        let mut characters = bytes.chars();
        while let Some(c) = characters.next() {
            keys.push(match c {
                '\x1b' => key(KeyCode::Char(characters.next().unwrap()), KeyModifiers::ALT),
                '\x07' => key(KeyCode::Char('g'), KeyModifiers::CONTROL),
                c => key(KeyCode::Char(c), KeyModifiers::NONE),
            });
        }
        keys
    }

    /// What is left of `bytes` for the console, and what was heard of the background.
    fn heard(bytes: &str) -> (Vec<Event>, Option<Background>) {
        let now = Instant::now();
        let mut listener = Listener::default();
        listener.ask(&mut Vec::new(), now).unwrap();
        let (mut pressed, mut background) = (Vec::new(), None);
        for event in keys(bytes) {
            match listener.take(event, now) {
                Taken::Pressed(events) => pressed.extend(events),
                Taken::Swallowed => {}
                Taken::Answered(heard) => background = heard,
            }
        }
        (pressed, background)
    }

    #[test]
    fn an_answer_is_heard_and_none_of_it_is_a_key() {
        for (answer, background) in [
            ("\x1b]11;rgb:ffff/ffff/ffff\x1b\\", Background::Light),
            ("\x1b]11;rgb:fdfd/f6f6/e3e3\x07", Background::Light),
            ("\x1b]11;rgb:1e/1e/1e\x07", Background::Dark),
            ("\x1b]11;rgba:0000/2b2b/3636/ffff\x1b\\", Background::Dark),
            ("\x1b]11;#ffffff\x1b\\", Background::Light),
        ] {
            assert_eq!(heard(answer), (Vec::new(), Some(background)), "{answer:?}");
        }
    }

    #[test]
    fn what_is_typed_around_a_late_answer_stays_typed() {
        let (pressed, background) = heard("jj\x1b]11;rgb:0000/0000/0000\x1b\\q");
        assert_eq!((pressed, background), (keys("jjq"), Some(Background::Dark)));
    }

    #[test]
    fn a_persons_own_alt_bracket_is_a_key() {
        assert_eq!(heard("\x1b]1x"), (keys("\x1b]1x"), None));
        let (pressed, background) = heard("\x1b]q\x1b]11;rgb:00/00/00\x07");
        assert_eq!((pressed, background), (keys("\x1b]q"), Some(Background::Dark)));
    }

    #[test]
    fn an_end_that_comes_in_two_parts_leaks_nothing() {
        let now = Instant::now();
        let mut listener = Listener::default();
        listener.ask(&mut Vec::new(), now).unwrap();
        for event in keys("\x1b]11;rgb:00/00/00") {
            assert_eq!(listener.take(event, now), Taken::Swallowed);
        }
        let end = listener.take(key(KeyCode::Esc, KeyModifiers::NONE), now);
        assert_eq!(end, Taken::Answered(Some(Background::Dark)));
        assert_eq!(listener.take(keys("\\").remove(0), now), Taken::Swallowed);
        assert_eq!(listener.take(keys("\\").remove(0), now), Taken::Pressed(keys("\\")));
    }

    #[test]
    fn a_question_that_nobody_answers_is_forgotten() {
        let now = Instant::now();
        let mut listener = Listener::default();
        listener.ask(&mut Vec::new(), now).unwrap();
        let later = now + PATIENCE + Duration::from_secs(1);
        let bracket = keys("\x1b]").remove(0);
        assert_eq!(listener.take(bracket.clone(), later), Taken::Pressed(vec![bracket]));
        assert!(!listener.is_listening());
    }

    #[test]
    fn only_terminals_that_take_a_question_for_one_are_asked() {
        let of = |variables: &'static [(&'static str, &'static str)]| {
            is_understood(|name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into()))
        };
        assert!(of(&[("TERM", "xterm-256color")]));
        assert!(of(&[("TERM", "screen-256color"), ("TMUX", "/tmp/tmux-1000/default,1,0")]));
        assert!(of(&[("TERM", "tmux-256color"), ("TMUX", "x")]));
        assert!(!of(&[("TERM", "screen.xterm-256color")]));
        assert!(!of(&[("TERM", "linux")]) && !of(&[("TERM", "dumb")]) && !of(&[]));
    }
}
