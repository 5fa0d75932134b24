//! The scrubber: a playhead on the time line of an event table. Pure: keys and answers change it, and it says what is to
//! be read next, at most one read of a kind at a time.

mod asking;
pub mod form;
mod hours;
pub mod keys;
pub mod read;
mod scrubber;
#[cfg(test)]
mod tests;

use super::app::{App, Screen};
use super::effect::{Effect, Request};
use super::spot::Spot;
use crate::cloud::{Class, CloudError};
use crate::event::Layout;
pub use asking::{Answer, Question, What};
pub use hours::{HourSummary, Hours};
pub use scrubber::{SPEEDS, Scrubber, ZOOMS, time};

/// Hours of the directory that are read each second at most: 1 RCU each, or a little more.
const ON_DEMAND_HOURS: f64 = 100.0;

/// Shows the scrubber of `table`; what it showed before stays.
pub(super) fn open(app: &mut App, table: &str) -> Vec<Effect> {
    take(app, table);
    // A past that the charts were held at is what is to be seen here too.
    let held = app.time.window_ms.zip(app.time.held_ms());
    if let (Some((window_ms, to_ms)), Some(scrubber)) = (held, &mut app.scrubber) {
        scrubber.show((to_ms - window_ms) * 1000, window_ms * 1000);
    }
    app.go(Screen::Playback)
}

/// Puts the scrubber onto an event table.
pub(super) fn take(app: &mut App, table: &str) {
    if app.scrubber.as_ref().is_none_or(|scrubber| scrubber.table != table) {
        app.scrubber = Some(Scrubber::new(table, app.now_ms));
    }
}

/// What is to be read for the screen.
pub(super) fn due(app: &mut App) -> Vec<Effect> {
    let (now_ms, mut last) = (app.now_ms, app.last_request);
    let table = app.scrubber.as_ref().and_then(|scrubber| app.table(&scrubber.table));
    // A look at a year must not take what a pump and other readers need: half of it at most.
    let provisioned = table.and_then(|table| table.provisioned);
    let hours_per_second = provisioned.map_or(ON_DEMAND_HOURS, |has| (has.read as f64 / 2.0).max(1.0));
    let Some(scrubber) = &mut app.scrubber else { return Vec::new() };
    let effects = scrubber.due(now_ms, hours_per_second.min(ON_DEMAND_HOURS), || {
        last = Request(last.0 + 1);
        last
    });
    app.last_request = last;
    effects
}

/// Time went on.
pub(super) fn tick(app: &mut App) {
    let now_ms = app.now_ms;
    if app.screen == Screen::Playback
        && let Some(scrubber) = &mut app.scrubber
        && scrubber.tick(now_ms)
    {
        app.dirty = true;
    }
}

/// Something was read.
pub(super) fn answered(app: &mut App, request: Request, answer: Result<Answer, CloudError>) -> Vec<Effect> {
    let now_ms = app.now_ms;
    let Some(scrubber) = &mut app.scrubber else { return Vec::new() };
    let is_gone = answer.as_ref().is_err_and(|error| error.class == Class::NotFound);
    scrubber.answered(request, answer, now_ms);
    if is_gone {
        return app.reopened_is_gone(|spot| matches!(spot, Spot::Playback(_)));
    }
    app.due()
}

/// The event tables among those that were described, with their layouts.
pub fn event_tables(app: &App) -> Vec<(&crate::cloud::inventory::Table, Layout)> {
    let mut found: Vec<_> =
        app.tables.rows.iter().flatten().filter_map(|table| Some((table, Layout::of_key(&table.key)?))).collect();
    found.sort_by(|a, b| a.0.name.cmp(&b.0.name));
    found
}
