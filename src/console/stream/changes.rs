//! What is changed of a stream, and asked first.

use tui_input::Input;

use super::StreamEffect;
use crate::cloud::{Mode, streams};
use crate::console::app::{App, Overlay, Prompt, Purpose};
use crate::console::confirm::{Confirm, Token};
use crate::console::effect::Effect;
use crate::console::keys::ask;
use crate::console::widget::text::shown;

/// Asks how long the records of a stream are to stay.
pub(in crate::console) fn type_retention(app: &mut App, stream: &str) {
    let Some(described) = app.stream(stream).filter(|stream| !stream.status.is_empty()) else {
        return app.say(format!("{stream} is not known yet: try again in a moment"), true);
    };
    if app.place.mode == Mode::ReadOnly {
        let words = format!("read-only: a retention is refused; {}", app.place.guardrails.why_read_only());
        return app.say(words, true);
    }
    if described.status != "ACTIVE" {
        let words = format!("{stream} is {}: AWS takes a retention once it is ACTIVE", described.status);
        return app.say(words, true);
    }
    let input = Input::new(described.retention_hours.to_string());
    let purpose = Purpose::Retention(stream.to_owned());
    app.overlay = Some(Overlay::Prompt(Prompt { purpose, input, error: None }));
}

/// What was typed as hours: asks, or says what is wrong with it.
pub(in crate::console) fn typed_retention(app: &mut App, name: &str, text: &str) -> Result<(), String> {
    let (from, mode, shards) = match app.stream(name) {
        Some(stream) => (stream.retention_hours, stream.mode.clone(), stream.open_shards()),
        None => return Err(format!("{name} is gone")),
    };
    let to: u32 = text.trim_end_matches([' ', 'h']).replace([',', '_'], "").parse().map_err(|_| "a number of hours")?;
    if let Some(words) = streams::unfit_retention(to) {
        return Err(words);
    }
    if to == from {
        return Err(format!("they stay {from} hours already"));
    }
    let mut facts = vec![
        ("now", format!("{from} h   {}", streams::retention_price(from, &mode, shards))),
        ("then", format!("{to} h   {}", streams::retention_price(to, &mode, shards))),
    ];
    let loses = to < from;
    if loses {
        facts.push(("lost", format!("what is older than {to} hours, at once; a reader further behind misses it")));
    }
    let question = Confirm {
        title: format!("Let the records of {name} stay {to} hours"),
        facts,
        undo: if loses {
            "a longer stay brings nothing back that was deleted".to_owned()
        } else {
            "the same key sets it back; what is then older is deleted".to_owned()
        },
        token: if loses { Token::Name(name.to_owned()) } else { Token::Yes },
        typed: Input::default(),
        effect: Effect::Stream(StreamEffect::SetRetention { stream: name.to_owned(), from, to }),
    };
    ask(app, question);
    Ok(())
}

/// Asks whether the selected function is to read no more, or again.
pub(super) fn pause_mapping(app: &mut App) {
    let Some(mapping) = app.selected_mapping().cloned() else { return };
    if !mapping.is_settled() {
        let words = format!("{} is {}: Lambda takes a change once that is done", mapping.function(), mapping.state);
        return app.say(words, true);
    }
    let (function, enabled) = (shown(mapping.function()), !mapping.is_on());
    let then = if enabled {
        "it reads on where it stopped; what expired meanwhile is lost to it"
    } else {
        "the function gets no records; they wait on the stream for as long as they stay there"
    };
    let question = Confirm {
        title: format!("{} {function}", if enabled { "Resume" } else { "Pause" }),
        facts: vec![
            ("now", format!("{}, last result: {}", mapping.state, shown(&mapping.last_result))),
            ("then", then.to_owned()),
            ("batches", format!("{} records, {} a shard at once", mapping.batch_size, mapping.parallelization)),
        ],
        undo: format!("the same key {} it again", if enabled { "pauses" } else { "resumes" }),
        token: Token::Yes,
        typed: Input::default(),
        effect: Effect::Stream(StreamEffect::SetMapping { uuid: mapping.uuid, function, enabled }),
    };
    ask(app, question);
}
