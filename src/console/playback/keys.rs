//! What keys do on the scrubber and on the list of event tables.

use jiff::Timestamp;
use tui_input::Input;

use super::form::ReplayForm;
use super::{SPEEDS, Scrubber, ZOOMS, time};
use crate::console::app::{App, Overlay, Prompt, Purpose, Screen, Text};
use crate::console::effect::Effect;
use crate::console::keymap::Action;
use crate::console::view::playback::detail_lines;
use crate::console::widget::text::{indented, shown};
use crate::event::moment;

/// An action on the scrubber.
pub(in crate::console) fn act(app: &mut App, action: Action) -> Vec<Effect> {
    let now_ms = app.now_ms;
    let Some(scrubber) = &mut app.scrubber else { return Vec::new() };
    match action {
        Action::Play if scrubber.is_playing() => scrubber.pause(),
        Action::Play => {
            if scrubber.head_us >= scrubber.end_us(now_ms) {
                let earlier = app.keys().named("go to an earlier time", Action::GoTo);
                app.say(format!("nothing more is complete here: {earlier}, or step back"), false);
                return Vec::new();
            }
            scrubber.play(now_ms);
        }
        Action::NextEvent | Action::Down => scrubber.step_event(true),
        Action::PreviousEvent | Action::Up => scrubber.step_event(false),
        Action::NextSlot => scrubber.step_slot(true, scrubber.slot_us()),
        Action::PreviousSlot => scrubber.step_slot(false, scrubber.slot_us()),
        Action::PageDown | Action::PageUp => {
            scrubber.pause();
            let tenth = scrubber.span_us() / 10;
            let by = if action == Action::PageDown { tenth } else { -tenth };
            scrubber.move_to(scrubber.head_us + by, None);
        }
        Action::First => {
            scrubber.pause();
            let from = scrubber.marks.0.unwrap_or(scrubber.from_us);
            scrubber.move_to(from, None);
        }
        Action::Last => {
            scrubber.pause();
            let to = scrubber.marks.1.or(scrubber.watermark_us).unwrap_or(now_ms * 1000);
            scrubber.move_to(to, None);
        }
        Action::RangeFrom | Action::RangeTo => mark(app, action == Action::RangeFrom),
        Action::RangeClear => scrubber.marks = (None, None),
        Action::Slower => scrubber.set_speed(scrubber.speed.saturating_sub(1), now_ms),
        Action::Faster => scrubber.set_speed(scrubber.speed + 1, now_ms),
        Action::Zoom => scrubber.zoom_to(scrubber.zoom + 1),
        Action::ZoomIn => scrubber.zoom_to(scrubber.zoom.saturating_sub(1)),
        Action::GoTo => {
            let input = Input::new(String::new());
            app.overlay = Some(Overlay::Prompt(Prompt { purpose: Purpose::Moment, input, error: None }));
            return Vec::new();
        }
        Action::Filter => {
            let input = Input::new(scrubber.filter.clone());
            app.overlay = Some(Overlay::Prompt(Prompt { purpose: Purpose::EventFilter, input, error: None }));
            return Vec::new();
        }
        Action::Detail => {
            if let Some(event) = scrubber.selected().and_then(|at| scrubber.events.get(at)) {
                let mut lines = vec![
                    format!("time           {:.6}", event.time),
                    format!("event ID       {}", shown(&event.id.to_string())),
                    format!("partition key  {}", shown(&event.partition_key)),
                    format!("bytes          {}", event.payload.len()),
                    String::new(),
                ];
                lines.extend(detail_lines(&event.payload).iter().map(|line| indented(line)));
                app.overlay = Some(Overlay::Text(Text::new("event", lines).of_record(event.payload.clone())));
            }
            return Vec::new();
        }
        Action::Send | Action::Export => return send(app, action == Action::Export),
        Action::Refresh => {
            scrubber.watermark_ms = None;
            scrubber.events_of = None;
            scrubber.covered = None;
            scrubber.hours = super::Hours::default();
        }
        _ => return Vec::new(),
    }
    app.due()
}

/// Sets an end of the range at the playhead; the other end gives way when the range would end before it starts.
fn mark(app: &mut App, from: bool) {
    let Some(Scrubber { marks, head_us, .. }) = &mut app.scrubber else { return };
    let head = *head_us;
    let gave_way = if from {
        marks.0 = Some(head);
        marks.1.take_if(|to| *to <= head).is_some()
    } else if marks.0.is_some_and(|from| from >= head) {
        marks.0 = None;
        marks.1 = Some(head);
        true
    } else {
        marks.1 = Some(head);
        false
    };
    let end = if from { "starts" } else { "ends" };
    let other = if gave_way { "; its other end was on the wrong side, and is gone" } else { "" };
    app.say(format!("the range {end} at {:.6}{other}", time(head)), false);
}

/// The form that sends the range on.
fn send(app: &mut App, export: bool) -> Vec<Effect> {
    let Some(scrubber) = &mut app.scrubber else { return Vec::new() };
    let Some(range) = scrubber.range() else { return Vec::new() };
    scrubber.pause();
    let speed = SPEEDS[scrubber.speed];
    let folder = export.then_some(app.folder.as_path());
    app.replay_form = Some(ReplayForm::new(&scrubber.table, range, speed, &scrubber.filter, folder));
    app.go(Screen::Replay)
}

/// A typed moment or filter was accepted.
pub(in crate::console) fn accept(app: &mut App, mut prompt: Prompt) -> Vec<Effect> {
    let text = prompt.input.value().trim().to_owned();
    let now = Timestamp::from_millisecond(app.now_ms).unwrap_or_default();
    let Some(scrubber) = &mut app.scrubber else { return Vec::new() };
    if prompt.purpose == Purpose::EventFilter {
        scrubber.set_filter(&text);
        return app.due();
    }
    match typed_moment(&text, scrubber.head_us, now) {
        Ok(at) => {
            scrubber.pause();
            scrubber.move_to(at.as_microsecond(), None);
            app.due()
        }
        Err(words) => {
            prompt.error = Some(words);
            app.overlay = Some(Overlay::Prompt(prompt));
            Vec::new()
        }
    }
}

/// A moment as everywhere, or a time of the day that the playhead is on.
fn typed_moment(text: &str, head_us: i64, now: Timestamp) -> Result<Timestamp, String> {
    let day = format!("{:.0}", time(head_us));
    let on_that_day = day.split('T').next().filter(|_| text.contains(':') && !text.contains(['T', '-']));
    match on_that_day.and_then(|day| moment(&format!("{day}T{text}"), now).ok()) {
        Some(at) => Ok(at),
        None => moment(text, now),
    }
}

/// An action on the list of event tables.
pub(in crate::console) fn on_list(app: &mut App, action: Action) -> Vec<Effect> {
    match app.selected_event_table() {
        Some(table) if action == Action::Open => super::open(app, &table),
        _ => Vec::new(),
    }
}

/// The name of a window and of a speed, as the screen shows them.
pub fn names(scrubber: &Scrubber) -> (&'static str, String) {
    let speed = SPEEDS[scrubber.speed].map_or("max".to_owned(), |speed| format!("×{speed}"));
    (ZOOMS[scrubber.zoom].1, speed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_of_day_is_one_of_the_day_that_is_looked_at() {
        let now: Timestamp = "2026-11-21T14:00:00Z".parse().unwrap();
        let head: Timestamp = "2018-03-04T10:00:00Z".parse().unwrap();
        let typed = |text| typed_moment(text, head.as_microsecond(), now).map(|at| at.to_string());
        assert_eq!(typed("14:23:07.121").as_deref(), Ok("2018-03-04T14:23:07.121Z"));
        assert_eq!(typed("2018-03-05").as_deref(), Ok("2018-03-05T00:00:00Z"));
        assert_eq!(typed("15m").as_deref(), Ok("2026-11-21T13:45:00Z"));
        assert!(typed("25:00").unwrap_err().contains("RFC 3339"));
    }
}
