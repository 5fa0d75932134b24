//! Credentials that AWS refuses: what was seen stays, a panel says how they are renewed, and the console tries again by
//! itself, slowly, until they are. Nothing else is asked meanwhile.

use super::app::App;
use super::effect::Effect;
use crate::cloud::CloudError;

/// How often it is tried by itself, ms. Someone who just logged in presses a key.
pub const RETRY_MS: i64 = 30_000;
/// A try without an answer is given up after so long, ms.
const LOST_MS: i64 = 45_000;

/// Since when, and what is done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost {
    /// When AWS first refused them, ms since epoch.
    pub since_ms: i64,
    /// When they were last tried, ms since epoch.
    pub tried_ms: i64,
    /// They are being tried.
    pub is_trying: bool,
}

impl Lost {
    /// When they are tried next, ms since epoch.
    pub fn next_ms(&self) -> i64 {
        self.tried_ms + RETRY_MS
    }
}

impl App {
    /// AWS refused the credentials themselves.
    pub(super) fn lose_credentials(&mut self, error: CloudError) {
        self.trouble = Some(error);
        if self.lost.is_none() {
            self.lost = Some(Lost { since_ms: self.now_ms, tried_ms: self.now_ms, is_trying: false });
        }
    }

    /// While the credentials are lost: tries them when it is time. `None` when they are not lost.
    pub(super) fn due_while_lost(&mut self) -> Option<Vec<Effect>> {
        let lost = self.lost?;
        let is_due = if lost.is_trying { self.now_ms - lost.tried_ms > LOST_MS } else { self.now_ms >= lost.next_ms() };
        Some(if is_due { self.try_credentials() } else { Vec::new() })
    }

    /// Tries them now.
    pub(super) fn try_credentials(&mut self) -> Vec<Effect> {
        let Some(lost) = &mut self.lost else { return Vec::new() };
        lost.tried_ms = self.now_ms;
        lost.is_trying = true;
        vec![Effect::Renew]
    }

    /// What came of a try.
    pub(super) fn tried(&mut self, answer: Result<(), CloudError>) -> Vec<Effect> {
        match answer {
            Ok(()) if self.lost.is_some() => {
                self.lost = None;
                self.trouble = None;
                self.ask_again();
                self.identified_ms = None;
                let mut effects = Vec::new();
                if !self.visiting {
                    self.say("the credentials are good again", false);
                    // Its clients were made anew.
                    effects.push(Effect::Stand(self.place.id, self.limits.rate(&self.place)));
                }
                effects.extend(self.due());
                effects
            }
            Ok(()) => Vec::new(),
            Err(error) => {
                if let Some(lost) = &mut self.lost {
                    lost.is_trying = false;
                    lost.tried_ms = self.now_ms;
                    self.trouble = Some(error);
                }
                Vec::new()
            }
        }
    }
}
