//! Places in the console that can be come back to: what is bookmarked, what is remembered, what the palette opens.

use serde::{Deserialize, Serialize};

use super::app::{App, Screen};
use super::effect::Effect;
use crate::jobs::JobId;
use crate::jobs::spec::Kind;

/// A place in the console.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Spot {
    /// The list of tables.
    Tables,
    /// The list of streams.
    Streams,
    /// The list of jobs.
    Jobs,
    /// The list of event tables.
    EventTables,
    /// A table.
    Table(String),
    /// A stream.
    Stream(String),
    /// The Lambda functions that read a stream.
    Mappings(String),
    /// A job.
    Job(String),
    /// The dead letters of a job.
    Letters(String),
    /// The scrubber of an event table.
    Playback(String),
}

impl Spot {
    /// What it is, in words.
    pub fn words(&self) -> String {
        match self {
            Self::Tables | Self::Streams | Self::Jobs | Self::EventTables => crumb_of_list(&self.list()).to_owned(),
            Self::Table(name) => format!("table {name}"),
            Self::Stream(name) => format!("stream {name}"),
            Self::Mappings(name) => format!("lambda of {name}"),
            Self::Job(id) => format!("job {id}"),
            Self::Letters(id) => format!("dead letters of {id}"),
            Self::Playback(name) => format!("events of {name}"),
        }
    }

    /// The list that it belongs to: where the console goes when it is gone.
    pub fn list(&self) -> Screen {
        match self {
            Self::Tables | Self::Table(_) => Screen::Tables,
            Self::Streams | Self::Stream(_) | Self::Mappings(_) => Screen::Streams,
            Self::Jobs | Self::Job(_) | Self::Letters(_) => Screen::Jobs,
            Self::EventTables | Self::Playback(_) => Screen::EventTables,
        }
    }

    /// The same as a list.
    fn of_list(screen: &Screen) -> Option<Self> {
        Some(match screen {
            Screen::Tables => Self::Tables,
            Screen::Streams => Self::Streams,
            Screen::Jobs => Self::Jobs,
            Screen::EventTables => Self::EventTables,
            _ => return None,
        })
    }
}

fn crumb_of_list(screen: &Screen) -> &'static str {
    match screen {
        Screen::Streams => "Streams",
        Screen::Jobs => "Jobs",
        Screen::EventTables => "Playback",
        _ => "Tables",
    }
}

impl App {
    /// The place on screen; of a form or a tail, the one that it belongs to.
    pub fn spot(&self) -> Spot {
        match &self.screen {
            Screen::Table(name) => Spot::Table(name.clone()),
            Screen::Stream(name) | Screen::Tail(name, _) => Spot::Stream(name.clone()),
            Screen::Mappings(name) => Spot::Mappings(name.clone()),
            Screen::Job(id) | Screen::Autoscale(id) => Spot::Job(id.0.clone()),
            Screen::Dead(id) => Spot::Letters(id.0.clone()),
            Screen::Playback | Screen::Replay => match &self.scrubber {
                Some(scrubber) => Spot::Playback(scrubber.table.clone()),
                None => Spot::EventTables,
            },
            list => match Spot::of_list(list) {
                Some(spot) => spot,
                // Behind a form is what it was opened from.
                None => self.behind.iter().rev().find_map(Spot::of_list).unwrap_or(Spot::Tables),
            },
        }
    }

    /// The place that is bookmarked: the selected row of a list, else what is on screen.
    pub fn spot_at_hand(&self) -> Spot {
        let row = match &self.screen {
            Screen::Tables => self.selected_table().map(Spot::Table),
            Screen::Streams => self.selected_stream().map(|stream| Spot::Stream(stream.name.clone())),
            Screen::Jobs => self.selected_job().map(|id| Spot::Job(id.0)),
            Screen::EventTables => self.selected_event_table().map(Spot::Playback),
            _ => None,
        };
        row.unwrap_or_else(|| self.spot())
    }

    /// Shows a place, with its lists behind it.
    pub(super) fn go_to(&mut self, spot: &Spot) -> Vec<Effect> {
        let (screen, behind) = self.screens_of(spot);
        self.show(screen, behind)
    }

    /// The screen of a place, and what is behind it.
    pub(super) fn screens_of(&mut self, spot: &Spot) -> (Screen, Vec<Screen>) {
        let list = spot.list();
        match spot {
            Spot::Tables | Spot::Streams | Spot::Jobs | Spot::EventTables => (list, Vec::new()),
            Spot::Table(name) => (Screen::Table(name.clone()), vec![list]),
            Spot::Stream(name) => (Screen::Stream(name.clone()), vec![list]),
            Spot::Mappings(name) => (Screen::Mappings(name.clone()), vec![list, Screen::Stream(name.clone())]),
            Spot::Job(id) => (self.screen_of_job(&JobId(id.clone())), vec![list]),
            Spot::Letters(id) => {
                let id = JobId(id.clone());
                (Screen::Dead(id.clone()), vec![list, Screen::Job(id)])
            }
            Spot::Playback(name) => {
                super::playback::take(self, name);
                (Screen::Playback, vec![list])
            }
        }
    }

    /// The screen of a job's kind.
    pub(super) fn screen_of_job(&self, id: &JobId) -> Screen {
        let is_scaler = self.job(id).is_some_and(|job| job.kind() == Kind::Autoscale);
        if is_scaler { Screen::Autoscale(id.clone()) } else { Screen::Job(id.clone()) }
    }

    /// From the list down to what is on screen, by name.
    pub fn crumbs(&self) -> Vec<String> {
        self.behind.iter().chain([&self.screen]).map(|screen| self.crumb(screen)).collect()
    }

    fn crumb(&self, screen: &Screen) -> String {
        match screen {
            Screen::Tables | Screen::Streams | Screen::Jobs | Screen::EventTables => crumb_of_list(screen).to_owned(),
            Screen::Table(name) | Screen::Stream(name) => name.clone(),
            Screen::Job(id) | Screen::Autoscale(id) => id.0.clone(),
            Screen::Dead(_) => "dead letters".to_owned(),
            // Below its stream a word is enough; from the list it needs the name.
            Screen::Mappings(name) if !self.behind.contains(&Screen::Stream(name.clone())) => {
                format!("lambda of {name}")
            }
            Screen::Mappings(_) => "lambda".to_owned(),
            Screen::Tail(name, None) if !self.behind.contains(&Screen::Stream(name.clone())) => {
                format!("tail of {name}")
            }
            Screen::Tail(_, None) => "tail".to_owned(),
            Screen::Tail(_, Some(shard)) => format!("tail of {}", crate::cloud::streams::short(shard)),
            Screen::Restore => "restore".to_owned(),
            Screen::Backup => "back up".to_owned(),
            Screen::Replica => "replicate".to_owned(),
            Screen::Playback => self.scrubber.as_ref().map_or(String::new(), |scrubber| scrubber.table.clone()),
            Screen::Replay => "replay".to_owned(),
        }
    }
}
