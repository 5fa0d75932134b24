//! Back and forward through everywhere that was visited, as in a browser. `esc` goes up; this goes back.

use super::app::{App, Screen};
use super::columns::List;
use super::effect::Effect;

/// So many visits are kept.
const KEPT: usize = 100;

/// A screen as it was left.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Visit {
    screen: Screen,
    behind: Vec<Screen>,
    selected: Option<String>,
    index_at: usize,
    /// The event table of the scrubber.
    events_of: Option<String>,
}

/// What was visited before the screen that is shown, and after it.
#[derive(Clone, Debug, Default)]
pub struct Trail {
    before: Vec<Visit>,
    after: Vec<Visit>,
}

impl Trail {
    /// Forgets forms: what they would show has begun.
    pub fn forget_forms(&mut self) {
        self.before.retain(|visit| !visit.screen.is_form());
        self.after.retain(|visit| !visit.screen.is_form());
    }

    /// Forgets everything: another context has other tables.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

impl App {
    fn visit(&self) -> Visit {
        Visit {
            screen: self.screen.clone(),
            behind: self.behind.clone(),
            selected: List::of(&self.screen).and_then(|list| self.listing(list).selected.clone()),
            index_at: self.index_at,
            events_of: self.scrubber.as_ref().map(|scrubber| scrubber.table.clone()),
        }
    }

    /// Shows `screen`, with that behind it; the way back leads here.
    pub(super) fn show(&mut self, screen: Screen, behind: Vec<Screen>) -> Vec<Effect> {
        let here = self.visit();
        self.behind = behind;
        let from = std::mem::replace(&mut self.screen, screen);
        if from != self.screen {
            self.trail.after.clear();
            self.trail.before.push(here);
            if self.trail.before.len() > KEPT {
                self.trail.before.remove(0);
            }
        }
        self.arrived(&from)
    }

    /// Shows what was shown before this, or after it.
    pub(super) fn revisit(&mut self, forward: bool) -> Vec<Effect> {
        let here = self.visit();
        loop {
            let trail = &mut self.trail;
            let next = if forward { trail.after.pop() } else { trail.before.pop() };
            let Some(next) = next else {
                let end = if forward { "nothing was visited after this" } else { "nothing was visited before this" };
                self.say(end, false);
                return Vec::new();
            };
            if !self.can_show(&next) || next.screen == here.screen {
                continue;
            }
            let trail = &mut self.trail;
            if forward { &mut trail.before } else { &mut trail.after }.push(here);
            return self.come_back(next);
        }
    }

    /// A form that was started, or a tail of another stream, is not there any more.
    fn can_show(&self, visit: &Visit) -> bool {
        match &visit.screen {
            Screen::Restore => self.form.is_some(),
            Screen::Backup => self.backup_form.is_some(),
            Screen::Replica => self.replica_form.is_some(),
            Screen::Replay => self.replay_form.is_some() && self.is_scrubbed(visit),
            Screen::Tail(stream, shard) => self.at_stream.tail.stream == *stream && self.at_stream.tail.shard == *shard,
            _ => true,
        }
    }

    fn is_scrubbed(&self, visit: &Visit) -> bool {
        self.scrubber.as_ref().map(|scrubber| &scrubber.table) == visit.events_of.as_ref()
    }

    fn come_back(&mut self, visit: Visit) -> Vec<Effect> {
        if visit.screen == Screen::Playback
            && let Some(table) = visit.events_of.as_ref().filter(|_| !self.is_scrubbed(&visit))
        {
            super::playback::take(self, table);
        }
        self.behind = visit.behind;
        let from = std::mem::replace(&mut self.screen, visit.screen);
        let effects = self.arrived(&from);
        self.index_at = visit.index_at;
        if let (Some(selected), Some((_, list))) = (visit.selected, self.list_on_screen()) {
            list.select(selected);
        }
        effects
    }
}
