//! Hints of the screens on one thing: dead letters, an autoscaler, a tail, the scrubber, a form.

use ratatui::style::Style;

use crate::console::app::App;
use crate::console::keymap::{Action, Scope};
use crate::console::widget::quantity::{duration, exact};
use crate::console::widget::text::shown;
use crate::jobs::JobId;

/// What keeps the selected letter from its table, and which keys mend that.
pub fn letter(app: &App) -> Option<(String, Style)> {
    let dead = app.selected_letter()?;
    let key = |action| app.keymap.chord(Scope::Dead, action);
    let number = dead.number;
    let replay = key(Action::Replay)?;
    let (edit, drop) = (key(Action::Edit)?, key(Action::Drop)?);
    let words = match (&dead.tried, &dead.draft) {
        (Some(tried), _) => {
            format!("letter {number} was not put: {}. {edit} edits it, {replay} tries again", shown(tried))
        }
        (None, Some(_)) => {
            return Some((format!("letter {number} was edited: {replay} puts it into its table"), Style::new()));
        }
        (None, None) => format!("letter {number} can't be put as it is: {edit} edits its item, {drop} gives it up"),
    };
    Some((format!("{} {words}", app.theme.glyphs.warn), app.theme.warn))
}

/// An autoscaler that does not run decides nothing.
pub fn scaler(app: &App, id: &JobId) -> Option<(String, Style)> {
    let job = app.job(id).filter(|job| job.state.can_resume())?;
    let key = app.keymap.chord(Scope::Autoscale, Action::Pause)?;
    let words = format!("{id} is {}: no table is scaled. {key} takes it up again", job.state.as_str());
    Some((format!("{} {words}", app.theme.glyphs.warn), app.theme.warn))
}

/// A tail that stopped, or that is too slow.
pub fn tail(app: &App) -> Option<(String, Style)> {
    let tail = &app.at_stream.tail;
    if tail.ended.is_some() {
        let key = app.keymap.chord(Scope::Tail, Action::GoOn)?;
        return Some((
            format!("the tail reads nothing now, and costs nothing; {key} goes on where it stopped"),
            Style::new(),
        ));
    }
    let words = format!("{} records came faster than they are shown; on the stream they are all", exact(tail.dropped));
    (tail.dropped > 0).then_some((words, Style::new()))
}

/// Up to when the scrubber's table is complete.
pub fn playback(app: &App) -> Option<(String, Style)> {
    let scrubber = app.scrubber.as_ref().filter(|scrubber| scrubber.layout.is_some())?;
    let warn = |words: String| Some((format!("{} {words}", app.theme.glyphs.warn), app.theme.warn));
    let Some(complete_us) = scrubber.watermark_us else {
        let table = shown(&scrubber.table);
        return warn(format!("no pump said up to when {table} is complete: events may still come in between"));
    };
    let behind_ms = app.now_ms - complete_us / 1000;
    // Before the playhead nothing is missing; behind it, it is not known.
    (scrubber.head_us > complete_us && behind_ms > 60_000).then(|| {
        let words = format!(
            "the table is complete only to {} ago: what is after it may still change",
            duration(behind_ms as f64)
        );
        (format!("{} {words}", app.theme.glyphs.warn), app.theme.warn)
    })
}

/// What enter does on a form.
pub fn form(app: &App) -> Option<(String, Style)> {
    let key = |action| app.keymap.chord(Scope::Form, action);
    let (review, leave) = (key(Action::Accept)?, key(Action::Back)?);
    Some((
        format!("{review} shows what would start: nothing starts before. {leave} leaves, and keeps what was typed"),
        Style::new(),
    ))
}
