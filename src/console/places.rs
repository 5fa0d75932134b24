//! The contexts that the console knows: the one it stands in, those listed beside it, and those it was in before. Each keeps
//! what was seen of it, so that going back shows that with its age. An answer lands in the context that was asked.

use std::collections::HashMap;

use super::app::{App, Described, Minutes, Notice, Overlay, Place, Screen};
use super::backup::BackupForm;
use super::charts::{Shown, TableChart};
use super::columns::List;
use super::effect::{Effect, PlaceId, Request};
use super::form::RestoreForm;
use super::kept::Kept;
use super::listing::Loaded;
use super::lost::Lost;
use super::msg::Msg;
use super::playback::Scrubber;
use super::playback::form::ReplayForm;
use super::replica::ReplicaForm;
use super::stream::StreamState;
use super::update::update;
use super::widget::quantity::duration;
use crate::cloud::cache::Inventory;
use crate::cloud::inventory::{Shard, Stream, Table};
use crate::cloud::profiles::Renewal;
use crate::cloud::{CloudError, Context, Mode};
use crate::jobs::JobId;

/// What the command line asked for, whatever the context.
#[derive(Clone, Debug, Default)]
pub struct Limits {
    /// What becomes of changes.
    pub mode: Mode,
    /// A context's own read-only is lifted.
    pub read_write: bool,
    /// Questions to AWS a second.
    pub api_rate: Option<f64>,
}

/// Everything that was seen of one context while the console stands in another.
#[derive(Debug, Default)]
pub struct KnownPlace {
    /// Which it is.
    pub place: Place,
    /// It has clients: it can be asked.
    pub is_connected: bool,
    /// Its tables and streams are listed beside those of the context at hand.
    pub is_beside: bool,
    /// Why it can't be asked.
    pub trouble: Option<CloudError>,
    pub(super) lost: Option<Lost>,
    pub(super) account: Option<String>,
    pub(super) credentials_expire_ms: Option<i64>,
    pub(super) identified_ms: Option<i64>,
    /// Names of its tables.
    pub table_names: Loaded<String>,
    /// Its tables that were described.
    pub tables: Loaded<Table>,
    pub(super) table_asked: Option<(String, i64)>,
    pub(super) described: HashMap<String, Described>,
    pub(super) consumed: HashMap<String, Minutes>,
    pub(super) throttled: HashMap<String, Minutes>,
    pub(super) table_minutes_ms: Option<i64>,
    /// Its streams.
    pub streams: Loaded<Stream>,
    pub(super) stream_records: HashMap<String, Minutes>,
    pub(super) stream_bytes: HashMap<String, Minutes>,
    pub(super) stream_lag: HashMap<String, Minutes>,
    pub(super) stream_read: HashMap<String, Minutes>,
    pub(super) stream_minutes_ms: Option<i64>,
    pub(super) tables_measured_ms: HashMap<String, i64>,
    pub(super) streams_measured_ms: HashMap<String, i64>,
    pub(super) kept: Kept,
    pub(super) at_stream: StreamState,
    pub(super) charts: HashMap<String, TableChart>,
    pub(super) chart_asked: Option<(Shown, i64)>,
    pub(super) chart_request: Request,
    pub(super) form: Option<RestoreForm>,
    pub(super) backup_form: Option<BackupForm>,
    pub(super) replica_form: Option<ReplicaForm>,
    pub(super) replay_form: Option<ReplayForm>,
    pub(super) scrubber: Option<Scrubber>,
    pub(super) table_shards: HashMap<JobId, Vec<Shard>>,
    pub(super) table_shards_asked: Option<(JobId, i64)>,
    pub(super) look_request: Request,
    pub(super) asked_owed: bool,
}

/// What a list needs of one context.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// Which it is.
    pub place: &'a Place,
    /// Names of its tables.
    pub table_names: &'a Loaded<String>,
    /// Its tables that were described.
    pub tables: &'a Loaded<Table>,
    /// Minutes of consumed WCU by table.
    pub consumed: &'a HashMap<String, Minutes>,
    /// Minutes of refused writes by table.
    pub throttled: &'a HashMap<String, Minutes>,
    /// Its streams.
    pub streams: &'a Loaded<Stream>,
    /// Minutes of records put by stream.
    pub stream_records: &'a HashMap<String, Minutes>,
    /// Minutes of bytes put by stream.
    pub stream_bytes: &'a HashMap<String, Minutes>,
    /// Minutes of lag by stream, ms.
    pub stream_lag: &'a HashMap<String, Minutes>,
    /// Minutes of records read by stream.
    pub stream_read: &'a HashMap<String, Minutes>,
    /// When CloudWatch was asked about each table, ms since epoch.
    pub tables_measured_ms: &'a HashMap<String, i64>,
    /// The same of streams.
    pub streams_measured_ms: &'a HashMap<String, i64>,
}

macro_rules! seen {
    ($of:expr) => {
        Seen {
            place: &$of.place,
            table_names: &$of.table_names,
            tables: &$of.tables,
            consumed: &$of.consumed,
            throttled: &$of.throttled,
            streams: &$of.streams,
            stream_records: &$of.stream_records,
            stream_bytes: &$of.stream_bytes,
            stream_lag: &$of.stream_lag,
            stream_read: &$of.stream_read,
            tables_measured_ms: &$of.tables_measured_ms,
            streams_measured_ms: &$of.streams_measured_ms,
        }
    };
}

/// Where the console is about to stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entering {
    /// There.
    pub(super) main: PlaceId,
    /// With these beside it.
    pub(super) beside: Vec<PlaceId>,
}

/// A context that clients were made for.
#[derive(Clone, Debug)]
pub struct Connected {
    /// The region that came of it.
    pub region: String,
    /// How its credentials are renewed.
    pub renewal: Renewal,
    /// What was seen of it the last time, by another console perhaps.
    pub kept: Option<Box<Inventory>>,
}

impl KnownPlace {
    /// When the newest of what is known of it came, ms since epoch.
    pub fn newest_ms(&self) -> Option<i64> {
        Some(self.table_names.at_ms.max(self.streams.at_ms)).filter(|at| *at > 0)
    }

    /// What a list needs of it.
    pub fn seen(&self) -> Seen<'_> {
        seen!(self)
    }
}

impl Place {
    /// Profile and region, in words.
    pub fn title(&self) -> String {
        format!("{} · {}", self.profile, self.region)
    }
}

impl App {
    /// What lists need of the context at hand.
    pub fn seen(&self) -> Seen<'_> {
        seen!(self)
    }

    /// The contexts listed beside the one at hand.
    pub fn beside(&self) -> impl Iterator<Item = &KnownPlace> {
        self.places.iter().filter(|known| known.is_beside)
    }

    /// True when lists hold rows of more than one region.
    pub fn is_many(&self) -> bool {
        self.beside().next().is_some()
    }

    /// The context at hand, then those beside it.
    pub fn all_seen(&self) -> Vec<Seen<'_>> {
        std::iter::once(self.seen()).chain(self.beside().map(KnownPlace::seen)).collect()
    }

    /// The context with that number, unless it is the one at hand.
    pub(super) fn known_place(&self, id: PlaceId) -> Option<&KnownPlace> {
        self.places.iter().find(|known| known.place.id == id)
    }

    /// Exchanges the context at hand with one that is kept.
    fn exchange(&mut self, at: usize) {
        let Some(known) = self.places.get_mut(at) else { return };
        macro_rules! swap {
            ($($field:ident)*) => { $(std::mem::swap(&mut self.$field, &mut known.$field);)* };
        }
        swap!(
            place trouble lost account credentials_expire_ms identified_ms table_names tables table_asked described
            consumed throttled table_minutes_ms streams stream_records stream_bytes stream_lag stream_read
            stream_minutes_ms tables_measured_ms streams_measured_ms kept at_stream charts chart_asked chart_request form backup_form replica_form replay_form scrubber
            table_shards table_shards_asked look_request asked_owed
        );
    }

    /// Does something as if the console stood in another context, without its screen showing it.
    fn in_place(&mut self, at: usize, act: impl FnOnce(&mut Self) -> Vec<Effect>) -> Vec<Effect> {
        let notice = self.notice.take();
        self.exchange(at);
        self.visiting = true;
        let effects = act(self);
        self.visiting = false;
        let id = self.place.id;
        let title = self.place.title();
        self.exchange(at);
        self.notice = match self.notice.take() {
            Some(said) => Some(Notice { words: format!("{title}: {}", said.words), ..said }),
            None => notice,
        };
        effects.into_iter().map(|effect| Effect::At(id, Box::new(effect))).collect()
    }

    /// What is due to be asked of the contexts beside the one at hand: their lists.
    pub(super) fn due_beside(&mut self) -> Vec<Effect> {
        if !matches!(self.screen, Screen::Tables | Screen::Streams) {
            return Vec::new();
        }
        let asked = |known: &KnownPlace| known.is_beside && known.is_connected;
        let at: Vec<usize> = (0..self.places.len()).filter(|at| asked(&self.places[*at])).collect();
        at.into_iter().flat_map(|at| self.in_place(at, Self::due)).collect()
    }

    /// Goes to `contexts`: the first is stood in, the others are listed beside it.
    pub(super) fn enter(&mut self, contexts: &[Context]) -> Vec<Effect> {
        let mut effects = Vec::new();
        let mut ids = Vec::new();
        for context in contexts {
            let id = self.number_of(context).unwrap_or_else(|| {
                let place = self.place_of(context);
                let id = place.id;
                effects.push(Effect::Connect(id, context.clone(), place.mode));
                self.places.push(KnownPlace { place, ..KnownPlace::default() });
                id
            });
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        let Some((main, beside)) = ids.split_first() else { return effects };
        self.entering = Some(Entering { main: *main, beside: beside.to_vec() });
        if *main == self.place.id || self.known_place(*main).is_some_and(|known| known.is_connected) {
            effects.extend(self.arrive());
        } else if let Some(known) = self.known_place(*main) {
            let title = known.place.title();
            self.say(format!("going to {title}…"), false);
        }
        effects
    }

    /// A context that clients are made for only now.
    fn place_of(&mut self, context: &Context) -> Place {
        self.last_place = PlaceId(self.last_place.0 + 1);
        let mut place = Place {
            id: self.last_place,
            profile: super::guardrails::profile_of(context),
            region: context.region.clone().unwrap_or_default(),
            context: context.clone(),
            ..Place::default()
        };
        self.guard(&mut place, None);
        place
    }

    /// Settles what guards a place.
    fn guard(&self, place: &mut Place, account: Option<&str>) {
        place.guardrails = self.rules.of(&place.profile, &place.region, account);
        place.mode = place.guardrails.mode(self.limits.mode, self.limits.read_write);
    }

    /// Settles what guards the context at hand, now that more is known of it; what its requests meet follows.
    pub(super) fn guard_here(&mut self) -> Vec<Effect> {
        let mut place = std::mem::take(&mut self.place);
        let before = place.mode;
        self.guard(&mut place, self.account.as_deref());
        let mode = place.mode;
        self.place = place;
        if !self.visiting {
            self.draw_in_theme();
        }
        if mode == before { Vec::new() } else { vec![Effect::Hold(mode)] }
    }

    /// The number of a context that is known already.
    fn number_of(&self, context: &Context) -> Option<PlaceId> {
        let is = |place: &Place| {
            place.context.profile == context.profile
                && place.context.endpoint_url == context.endpoint_url
                && context.region.as_ref().is_none_or(|region| *region == place.region)
        };
        if is(&self.place) {
            return Some(self.place.id);
        }
        self.places.iter().find(|known| is(&known.place)).map(|known| known.place.id)
    }

    /// Stands where it was about to, with the others beside it.
    fn arrive(&mut self) -> Vec<Effect> {
        let Some(Entering { main, beside }) = self.entering.take() else { return Vec::new() };
        let is_other = main != self.place.id;
        let mut effects = self.stand(main);
        if is_other {
            self.recall_lists();
        }
        for known in &mut self.places {
            known.is_beside = beside.contains(&known.place.id);
        }
        effects.extend(self.due());
        effects
    }

    /// Filters and sorts the lists of tables and streams as they were left in this context.
    fn recall_lists(&mut self) {
        for list in [List::Tables, List::Streams, List::EventTables] {
            self.listing_mut(list).filter.clear();
        }
        let notice = self.notice.take();
        let memory = self.remembered.memory.clone();
        self.recall(memory, false);
        // Where the console is now is worth more than how its lists are filtered.
        self.notice = notice.or(self.notice.take());
    }

    /// Stands in another context that is known: its lists are shown as they were seen last. Those listed beside stay, and
    /// the one that is left joins them when the other was one of them.
    pub(super) fn stand(&mut self, id: PlaceId) -> Vec<Effect> {
        let Some(at) = self.places.iter().position(|known| known.place.id == id) else { return Vec::new() };
        // What was asked is about the context that is left; so is what is typed, and what a screen below a list shows.
        if matches!(self.overlay, Some(Overlay::Confirm(_) | Overlay::Prompt(_))) {
            self.overlay = None;
        }
        let list = match self.screen {
            Screen::Tables | Screen::Table(_) | Screen::Restore | Screen::Backup | Screen::Replica => Screen::Tables,
            Screen::Streams | Screen::Stream(_) | Screen::Mappings(_) | Screen::Tail(..) => Screen::Streams,
            Screen::EventTables | Screen::Playback | Screen::Replay => Screen::EventTables,
            Screen::Jobs | Screen::Job(_) | Screen::Dead(_) | Screen::Autoscale(_) => self.screen.clone(),
        };
        let mut effects = Vec::new();
        effects.extend(self.due_memory(true));
        if self.screen != list {
            effects.extend(self.show(list, Vec::new()));
        }
        let was_beside = self.places[at].is_beside;
        self.exchange(at);
        self.places[at].is_beside = was_beside;
        self.places[at].is_connected = true;
        // Another context has other tables to go back to.
        self.trail.clear();
        // What is asked from now on is asked there.
        effects.push(Effect::Stand(self.place.id, self.limits.rate(&self.place)));
        self.draw_in_theme();
        let age = Some(self.table_names.at_ms.max(self.streams.at_ms)).filter(|at| *at > 0);
        let age = age.map_or(String::new(), |at| format!(", as of {} ago", duration((self.now_ms - at) as f64)));
        let guarded = match (self.place.mode, self.place.guardrails.names.is_empty()) {
            (Mode::ReadOnly, _) => ", read-only",
            (_, false) => ", guarded by config.toml",
            _ => "",
        };
        self.say(format!("now in {}{age}{guarded}", self.place.title()), false);
        self.dirty = true;
        effects
    }

    /// Where the selected row of a list is; elsewhere the context at hand.
    pub fn place_at_hand(&self) -> &Place {
        let row = match self.screen {
            Screen::Tables => self.selected_row().map(|row| row.place),
            Screen::Streams => self.selected_stream_row().map(|row| row.place),
            _ => None,
        };
        self.place_numbered(row.unwrap_or(self.place.id))
    }

    /// The place with that number.
    pub fn place_numbered(&self, id: PlaceId) -> &Place {
        self.known_place(id).map_or(&self.place, |known| &known.place)
    }

    /// Stands in the region of the selected row, before something is done with it.
    pub(super) fn stand_at_selected(&mut self) -> Vec<Effect> {
        let selected = match self.screen {
            Screen::Tables => self.selected_row().map(|row| (row.place, row.name.to_owned())),
            Screen::Streams => self.selected_stream_row().map(|row| (row.place, row.stream.name.clone())),
            _ => None,
        };
        let Some((id, name)) = selected.filter(|(id, _)| *id != self.place.id) else { return Vec::new() };
        let effects = self.stand(id);
        let list = if self.screen == Screen::Tables { &mut self.tables_list } else { &mut self.streams_list };
        list.select(name);
        effects
    }
}

impl Limits {
    /// The rate of questions in a place, a second.
    pub(super) fn rate(&self, place: &Place) -> f64 {
        place.guardrails.rate(self.api_rate, crate::cloud::budget::CONSOLE_PER_SECOND)
    }
}

/// Clients for a context were made, or could not be.
pub(super) fn connected(app: &mut App, id: PlaceId, answer: Result<Connected, CloudError>) -> Vec<Effect> {
    let Some(at) = app.places.iter().position(|known| known.place.id == id) else { return Vec::new() };
    let is_main = app.entering.as_ref().is_some_and(|entering| entering.main == id);
    match answer {
        Ok(Connected { region, renewal, kept }) => {
            let mut place = std::mem::take(&mut app.places[at].place);
            place.region = region;
            place.renewal = renewal;
            let before = place.mode;
            app.guard(&mut place, None);
            let mode = place.mode;
            app.places[at].place = place;
            app.places[at].is_connected = true;
            if let Some(kept) = kept {
                app.in_place(at, |app| {
                    app.show_kept(*kept);
                    // The account is what its guardrails wait for: AWS itself has to say it.
                    app.account = None;
                    Vec::new()
                });
            }
            let mut effects = Vec::new();
            if mode != before {
                effects.push(Effect::At(id, Box::new(Effect::Hold(mode))));
            }
            effects.extend(if is_main { app.arrive() } else { app.due() });
            effects
        }
        Err(error) if is_main => {
            app.entering = None;
            let title = app.places.remove(at).place.title();
            app.say(format!("{title}: {error}. Still in {}", app.place.title()), true);
            Vec::new()
        }
        Err(error) => {
            app.places[at].trouble = Some(error);
            Vec::new()
        }
    }
}

/// An answer of the context with that number.
pub(super) fn from(app: &mut App, id: PlaceId, msg: Msg) -> Vec<Effect> {
    if id == app.place.id {
        return update(app, msg);
    }
    let Some(at) = app.places.iter().position(|known| known.place.id == id) else { return Vec::new() };
    let title = app.places[at].place.title();
    match msg {
        // Said wherever the console stands by now: it was asked for.
        Msg::Done(words) => app.say(format!("{title}: {words}"), false),
        Msg::Refused(words) => app.say(format!("{title}: {words}"), true),
        Msg::Started(job) => {
            app.say(format!("{title}: {job} was started; it goes on when the console is closed"), false);
        }
        // An editor would check the letter against another context's table.
        Msg::Draft(_) => {
            app.say(format!("{title}: the letter was not opened, since the console went on from there"), true);
        }
        shown @ (Msg::WouldSend(..) | Msg::WouldDo(..)) => return update(app, shown),
        msg => return app.in_place(at, |app| update(app, msg)),
    }
    Vec::new()
}
