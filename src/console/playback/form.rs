//! The form that sends a range of events on: to a stream, as put requests, or into a file.

use std::path::Path;

use jiff::Timestamp;
use tui_input::Input;

use crate::cloud::inventory::{Stream, nearest};
use crate::console::app::App;
use crate::console::confirm::{Confirm, Token};
use crate::console::effect::Effect;
use crate::console::widget::form::{Field, Fields};
use crate::console::widget::quantity::{count, duration};
use crate::event::{Range, moment};
use crate::jobs::playback::SinkSpec;
use crate::jobs::spec::{PlaybackSpec, Spec};

/// Which field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    /// `stream:NAME`, `puts:STREAM/TABLE`, or a file.
    To,
    /// Start of the range.
    From,
    /// End of the range.
    Until,
    /// Times as fast as it happened.
    Speed,
    /// A text that events contain.
    Filter,
}

/// A playback that is being written down.
#[derive(Clone, Debug)]
pub struct ReplayForm {
    /// The event table.
    pub events: String,
    /// What is typed.
    pub fields: Fields<Name>,
}

impl ReplayForm {
    /// A form for `range` of the event table `events`; an export goes into a file of the folder `export`.
    pub fn new(events: &str, range: Range, speed: Option<f64>, filter: &str, export: Option<&Path>) -> Self {
        let shown = |time: Timestamp| format!("{time:.6}");
        let name = format!("{events}_{:.0}.jsonl", range.from()).replace(':', "-");
        let (to, speed) = match export {
            Some(folder) => (folder.join(name).display().to_string(), None),
            None => ("stream:".to_owned(), speed),
        };
        Self {
            events: events.to_owned(),
            fields: Fields::new(
                vec![
                    Field::new(Name::To, "to", "stream:NAME puts:STREAM/TABLE or a file", to),
                    Field::new(Name::From, "from", "RFC 3339", shown(range.from())),
                    Field::new(Name::Until, "before", "RFC 3339", shown(range.to())),
                    Field::new(
                        Name::Speed,
                        "speed",
                        "0.1 to 1000, or max",
                        speed.map_or("max".to_owned(), |s| s.to_string()),
                    ),
                    Field::new(Name::Filter, "only with", "all events", filter),
                ],
                0,
            ),
        }
    }

    /// What was typed into a field, without spaces around it.
    pub fn value(&self, name: Name) -> &str {
        self.fields.value(name)
    }

    fn sink(&self) -> Result<SinkSpec, String> {
        let sink = self.value(Name::To).parse::<SinkSpec>()?;
        match &sink {
            SinkSpec::Stdout => {
                Err("the console has no standard output: a file, stream:NAME or puts:STREAM/TABLE".to_owned())
            }
            SinkSpec::File(path) if !path.is_absolute() => {
                Err("a file by its whole path (/…), stream:NAME or puts:STREAM/TABLE".to_owned())
            }
            SinkSpec::File(path) if path.to_string_lossy().ends_with('/') => Err("a file, not a folder".to_owned()),
            _ => Ok(sink),
        }
    }

    fn speed(&self) -> Result<Option<f64>, String> {
        match self.value(Name::Speed) {
            "max" => Ok(None),
            text => match text.trim_start_matches('×').parse::<f64>() {
                Ok(speed) if (0.1..=1000.0).contains(&speed) => Ok(Some(speed)),
                _ => Err("a number from 0.1 to 1000, or max".to_owned()),
            },
        }
    }

    fn range(&self, now: Timestamp) -> Result<Range, String> {
        Range::new(moment(self.value(Name::From), now)?, moment(self.value(Name::Until), now)?)
    }

    /// What is wrong with a field now, in words.
    pub fn error(&self, name: Name, streams: Option<&[Stream]>, now_ms: i64) -> Option<String> {
        let now = Timestamp::from_millisecond(now_ms).unwrap_or_default();
        match name {
            Name::To => match self.sink() {
                Err(_) if matches!(self.value(Name::To), "" | "stream:" | "puts:") => {
                    Some("where to? stream:NAME puts:STREAM/TABLE or a file".to_owned())
                }
                Err(words) => Some(words),
                Ok(SinkSpec::Stream(stream) | SinkSpec::Puts { stream, .. }) => {
                    let names: Vec<String> = streams?.iter().map(|known| known.name.clone()).collect();
                    (!names.contains(&stream)).then(|| format!("there is no such stream: {}", nearest(&stream, &names)))
                }
                Ok(_) => None,
            },
            Name::From => moment(self.value(Name::From), now).err(),
            Name::Until => match moment(self.value(Name::Until), now) {
                Err(words) => Some(words),
                Ok(_) => self.range(now).err().filter(|_| moment(self.value(Name::From), now).is_ok()),
            },
            Name::Speed => self.speed().err(),
            Name::Filter => None,
        }
    }

    /// The job that the form describes; `None` while there are errors.
    pub fn spec(&self, now_ms: i64) -> Option<PlaybackSpec> {
        let range = self.range(Timestamp::from_millisecond(now_ms).unwrap_or_default()).ok()?;
        Some(PlaybackSpec {
            events: self.events.clone(),
            from: range.from(),
            to: Some(range.to()),
            speed: self.speed().ok()?,
            sink: self.sink().ok()?.to_string(),
            follow: false,
            filter: Some(self.value(Name::Filter).to_owned()).filter(|text| !text.is_empty()),
            no_aggregate: false,
            every_slot: None,
        })
    }

    /// What it will take, as names and values.
    pub fn plan(&self, app: &App) -> Vec<(&'static str, String)> {
        let Some(spec) = self.spec(app.now_ms) else { return Vec::new() };
        let (from, to) = (spec.from.as_microsecond(), spec.to.unwrap_or(spec.from).as_microsecond());
        let lasts_ms = (to - from) as f64 / 1000.0;
        let mut plan = vec![("range", duration(lasts_ms))];
        if let Some(scrubber) = app.scrubber.as_ref().filter(|scrubber| scrubber.table == self.events) {
            let known = scrubber.hours.known(from, to);
            let events = count(scrubber.hours.total(from, to));
            plan.push((
                "events",
                if known >= 1.0 { format!("about {events}") } else { format!("{events} counted so far") },
            ));
            let complete = match scrubber.watermark_us {
                Some(at) if at >= to => "yes".to_owned(),
                Some(at) => format!("up to {:.3}", super::time(at)),
                None => "no pump said".to_owned(),
            };
            plan.push(("complete", complete));
        }
        plan.push((
            "takes",
            spec.speed
                .map_or("as long as it reads".to_owned(), |speed| format!("at most {}", duration(lasts_ms / speed))),
        ));
        plan
    }
}

/// Enter on the form: the first error is shown, or what would start.
pub(in crate::console) fn review(app: &mut App) {
    let (streams, now_ms) = (app.streams.rows.as_deref(), app.now_ms);
    let Some(form) = &app.replay_form else { return };
    if let Some((at, error)) = form.fields.first_error(|name| form.error(name, streams, now_ms)) {
        return app.wrong_field(at, error);
    }
    let Some(spec) = form.spec(now_ms) else { return };
    let mut facts = vec![
        ("from", format!("{:.6}", spec.from)),
        ("before", spec.to.map_or(String::new(), |to| format!("{to:.6}"))),
        ("to", spec.sink.clone()),
    ];
    facts.extend(form.plan(app));
    let undo = match form.sink() {
        Ok(SinkSpec::File(_)) => "the file stays. The events are only read",
        _ => "what is on the stream stays there, and its readers act on it",
    };
    let undo = format!("{} ends it; {undo}", app.cancel_key());
    let question = Confirm {
        title: format!("Play events of {} again", spec.events),
        facts,
        undo,
        token: Token::Again,
        typed: Input::default(),
        effect: Effect::Start { spec: Box::new(Spec::Playback(spec)), parent: None, at: None },
    };
    crate::console::keys::ask(app, question);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::fixture;

    fn form(fields: &[(Name, &str)]) -> ReplayForm {
        let range = Range::new("2018-03-04T14:03:00Z".parse().unwrap(), "2018-03-04T14:07:00Z".parse().unwrap());
        let mut form = ReplayForm::new("events", range.unwrap(), Some(10.0), "", None);
        for (name, value) in fields {
            form.fields.set(*name, *value);
        }
        form
    }

    #[test]
    fn each_field_says_what_is_wrong_while_it_is_typed() {
        let streams = fixture::streams();
        let error = |fields: &[(Name, &str)], name| form(fields).error(name, Some(&streams), fixture::NOW_MS);
        assert!(error(&[], Name::To).unwrap().contains("where to"));
        assert!(error(&[(Name::To, "-")], Name::To).is_some());
        assert!(error(&[(Name::To, "relative.jsonl")], Name::To).unwrap().contains("whole path"));
        assert!(error(&[(Name::To, "stream:restor")], Name::To).unwrap().contains("restore"));
        assert!(error(&[(Name::From, "tuesday")], Name::From).unwrap().contains("RFC 3339"));
        assert!(error(&[(Name::Until, "2018-03-03")], Name::Until).unwrap().contains("ends before it starts"));
        assert!(error(&[(Name::Speed, "2000")], Name::Speed).is_some());
        for field in [Name::To, Name::From, Name::Until, Name::Speed, Name::Filter] {
            assert_eq!(error(&[(Name::To, "stream:restore")], field), None, "{field:?}");
        }
    }

    #[test]
    fn the_job_is_what_the_form_says() {
        let spec = form(&[(Name::To, "stream:restore"), (Name::Filter, "Claps")]).spec(fixture::NOW_MS).unwrap();
        assert_eq!(
            (spec.sink.as_str(), spec.speed, spec.filter.as_deref()),
            ("stream:restore", Some(10.0), Some("Claps"))
        );
        assert_eq!(spec.to.unwrap().to_string(), "2018-03-04T14:07:00Z");
    }
}
