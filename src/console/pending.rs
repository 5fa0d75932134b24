//! Keys of a sequence that have been pressed, while it waits for the next.

use crossterm::event::KeyEvent;

use super::app::App;
use super::chord::{Chord, spelt};

/// How long a sequence waits for its next key, ms. Time comes in ticks of a quarter of a second.
const PAUSE_MS: i64 = 1_250;

/// The begin of a sequence.
#[derive(Clone, Debug, Default)]
pub struct Pending {
    /// The chords so far; none while nothing waits.
    pub chords: Vec<Chord>,
    since_ms: i64,
}

impl Pending {
    /// `key` follows `before`, and more is to follow.
    pub fn begin(&mut self, before: Vec<Chord>, key: &KeyEvent, now_ms: i64) {
        self.chords = before;
        self.chords.push(Chord::of(key));
        self.since_ms = now_ms;
    }

    /// Time went on; true when it has waited for too long, and is forgotten.
    pub fn tick(&mut self, now_ms: i64) -> bool {
        let is_over = !self.chords.is_empty() && now_ms - self.since_ms >= PAUSE_MS;
        if is_over {
            self.chords.clear();
        }
        is_over
    }
}

impl App {
    /// What can follow the chords `before`, in words.
    pub(super) fn can_follow(&self, before: &[Chord]) -> String {
        let follows = self.keymap.follows(self.scope(), before);
        let words: Vec<String> = follows.iter().map(|(rest, name)| format!("{rest} {name}")).collect();
        format!("after {} come {}", spelt(before), words.join(", "))
    }
}
