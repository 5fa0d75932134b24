//! The console's state. No I/O, no clock; time comes in messages.

mod screen;
mod text;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use ratatui::layout::Rect;

use super::api::Api;
use super::backup::BackupForm;
use super::charts::TableChart;
use super::columns::Letters;
use super::confirm::Token;
use super::effect::{Effect, PastQuestion, PlaceId, Request};
use super::form::{Known, RestoreForm};
use super::guardrails::{Guardrails, Rules};
use super::history::History;
use super::kept::Kept;
use super::keymap::{Keymap, Keys, Scope};
use super::listing::{Listing, Loaded};
use super::lost::Lost;
use super::memory::Remembered;
use super::mouse::{Drag, Target};
use super::pending::Pending;
use super::places::{Entering, KnownPlace, Limits};
use super::playback::Scrubber;
use super::playback::form::ReplayForm;
use super::range::TimeRange;
use super::replica::ReplicaForm;
use super::stream::StreamState;
use super::theme::{Theme, Themes};
use super::trail::Trail;
use crate::capacity::Step;
use crate::cloud::inventory::{Shard, Stream, Table};
use crate::cloud::profiles::{Profile, Renewal};
use crate::cloud::{CloudError, Context, Mode};
use crate::jobs::journal::{Bump, Decision, Job};
use crate::jobs::{Audited, JobId};
pub use screen::{Overlay, Prompt, Purpose, Screen};
pub use text::Text;

/// Words that come and go above the footer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// When they were said, ms since epoch.
    pub at_ms: i64,
    /// True when something was refused or failed.
    pub is_bad: bool,
    /// The words.
    pub words: String,
}

/// Where the console acts, and how.
#[derive(Clone, Debug, Default)]
pub struct Place {
    /// Its number while the console runs.
    pub id: PlaceId,
    /// The profile, or `default`.
    pub profile: String,
    /// The region.
    pub region: String,
    /// What was asked for: jobs of other contexts are shown, but not acted on from here.
    pub context: Context,
    /// What the guard does with changes.
    pub mode: Mode,
    /// What `config.toml` says of it.
    pub guardrails: Guardrails,
    /// How its credentials are renewed.
    pub renewal: Renewal,
}

/// Minutes of one metric, by their start in ms since epoch.
pub type Minutes = BTreeMap<i64, f64>;

/// When a table was described last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Described {
    /// Ms since epoch.
    pub at_ms: i64,
    /// It was as the time before.
    pub is_same: bool,
}

/// The whole state.
#[derive(Debug)]
pub struct App {
    /// Now, ms since epoch, as the last tick said.
    pub now_ms: i64,
    /// Where it acts.
    pub place: Place,
    /// Which key does what.
    pub keymap: Keymap,
    /// What colours and glyphs mean.
    pub theme: Theme,
    /// What decides that.
    pub themes: Themes,
    /// What the command line asked for, whatever the context.
    pub limits: Limits,
    /// What `config.toml` says of contexts.
    pub rules: Rules,
    /// Regions that `config.toml` names.
    pub regions: Vec<String>,
    /// The other contexts that are known.
    pub places: Vec<KnownPlace>,
    pub(super) last_place: PlaceId,
    pub(super) entering: Option<Entering>,
    /// It does something as if it stood in another context.
    pub(super) visiting: bool,
    /// The profiles of the AWS configuration files, once they were read.
    pub profiles: Option<Result<Vec<Profile>, CloudError>>,
    /// What is on screen.
    pub screen: Screen,
    /// What `back` goes to.
    pub behind: Vec<Screen>,
    /// What was visited before and after the screen.
    pub trail: Trail,
    /// What is remembered from one start to the next.
    pub remembered: Remembered,
    /// The six lines of the first start are shown, unless something is asked.
    pub tour: bool,
    /// What lies over it.
    pub overlay: Option<Overlay>,
    /// Keys of a sequence that waits for the next.
    pub pending: Pending,
    /// Words above the footer.
    pub notice: Option<Notice>,
    /// AWS can't be reached, or refuses the credentials: what is shown is as of before.
    pub trouble: Option<CloudError>,
    /// AWS refuses the credentials themselves: nothing else is asked until it takes them.
    pub lost: Option<Lost>,
    /// The journal can't be read.
    pub journal_trouble: Option<String>,
    /// What is shown as it was kept from another time.
    pub kept: Kept,
    /// The account of the credentials.
    pub account: Option<String>,
    /// When the credentials expire, ms since epoch.
    pub credentials_expire_ms: Option<i64>,
    /// Questions to AWS a second, over the last ones.
    pub questions_per_second: f64,
    pub(super) questions_seen: Option<(i64, u64)>,
    /// What is asked of AWS.
    pub api: Api,
    /// Columns and rows of the terminal.
    pub size: (u16, u16),
    pub(super) identified_ms: Option<i64>,
    pub(super) last_request: Request,
    /// Names of all tables.
    pub table_names: Loaded<String>,
    /// The tables that were described, in the order of their names: those that were on screen, and of few all.
    pub tables: Loaded<Table>,
    /// The one table that was asked for by itself, and when, ms since epoch.
    pub(super) table_asked: Option<(String, i64)>,
    /// When each table was described.
    pub(super) described: HashMap<String, Described>,
    /// How the tables are listed.
    pub tables_list: Listing,
    /// Minutes of consumed WCU by table.
    pub consumed: HashMap<String, Minutes>,
    /// Minutes of refused writes by table.
    pub throttled: HashMap<String, Minutes>,
    pub(super) table_minutes_ms: Option<i64>,
    /// When CloudWatch last answered about each table, ms since epoch.
    pub(super) tables_measured_ms: HashMap<String, i64>,
    /// When it was last asked about tables of which the filter must know, ms since epoch.
    pub(super) tables_measuring_ms: Option<i64>,
    /// The streams.
    pub streams: Loaded<Stream>,
    /// How the streams are listed.
    pub streams_list: Listing,
    /// Minutes of records put by stream.
    pub stream_records: HashMap<String, Minutes>,
    /// Minutes of bytes put by stream.
    pub stream_bytes: HashMap<String, Minutes>,
    /// Minutes of lag by stream, ms.
    pub stream_lag: HashMap<String, Minutes>,
    /// Minutes of records read by stream.
    pub stream_read: HashMap<String, Minutes>,
    pub(super) stream_minutes_ms: Option<i64>,
    /// When CloudWatch last answered about each stream, ms since epoch.
    pub(super) streams_measured_ms: HashMap<String, i64>,
    /// When it was last asked about streams of which the filter must know, ms since epoch.
    pub(super) streams_measuring_ms: Option<i64>,
    /// The stream on screen.
    pub at_stream: StreamState,
    /// The jobs, newest first; `None` until the journal was read.
    pub jobs: Option<Vec<Job>>,
    /// How the jobs are listed.
    pub jobs_list: Listing,
    /// Capacity to give back.
    pub bumps: Vec<Bump>,
    /// By how much + and - change a capacity.
    pub step: Step,
    /// Whether it was asked about what jobs that no longer run left raised.
    pub(super) asked_owed: bool,
    /// The past of jobs.
    pub histories: HashMap<JobId, History>,
    /// Dead letters of the job on screen.
    pub letters: Option<Letters>,
    /// What the verify on screen found to differ: the first lines of its list.
    pub differences: Option<(JobId, Vec<String>)>,
    /// How the dead letters are listed.
    pub letters_list: Listing,
    /// The autoscalers' last decisions, oldest first, while one is on screen.
    pub decisions: Vec<Decision>,
    /// The number of the selected decision; `None` is the newest, whichever that is.
    pub decision_at: Option<i64>,
    /// What CloudWatch knows for the charts, by table.
    pub charts: HashMap<String, TableChart>,
    pub(super) chart_asked: Option<(super::charts::Shown, i64)>,
    pub(super) chart_request: Request,
    /// The part of a job's past that was asked for last.
    pub(super) past_asked: Option<(Request, PastQuestion)>,
    /// Which row of a table's screen is selected: 0 is the table itself, then its indexes.
    pub index_at: usize,
    /// The time that all charts show.
    pub time: TimeRange,
    /// The restore form, kept when it is left.
    pub form: Option<RestoreForm>,
    /// The backup form, kept when it is left.
    pub backup_form: Option<BackupForm>,
    /// The form that starts a replica, kept when it is left.
    pub replica_form: Option<ReplicaForm>,
    /// The shards of the tables that replicas are made of, by job.
    pub table_shards: HashMap<JobId, Vec<Shard>>,
    /// The job whose shards were asked for, and when, ms since epoch.
    pub(super) table_shards_asked: Option<(JobId, i64)>,
    /// What the audits of replicas found.
    pub audits: HashMap<JobId, Audited>,
    pub(super) look_request: Request,
    /// The scrubber, kept when it is left.
    pub scrubber: Option<Scrubber>,
    /// The form that sends a range of events on.
    pub replay_form: Option<ReplayForm>,
    /// What of the frame on screen can be pointed at.
    pub targets: Vec<(Rect, Target)>,
    /// The chart that is dragged.
    pub(super) drag: Option<Drag>,
    /// The mouse is the console's, where that makes sense.
    pub mouse: bool,
    /// How the event tables are listed.
    pub event_tables_list: Listing,
    /// Where the console was started: exports go there unless told otherwise.
    pub folder: PathBuf,
    /// True when the screen no longer shows the state.
    pub dirty: bool,
    /// True when the console is to end.
    pub done: bool,
}

impl App {
    /// A console that knows nothing yet.
    pub fn new(place: Place, keymap: Keymap, theme: Theme, screen: Screen, now_ms: i64) -> Self {
        let behind = if matches!(screen, Screen::Job(_)) { vec![Screen::Jobs] } else { Vec::new() };
        let mode = place.mode;
        Self {
            now_ms,
            place,
            keymap,
            theme,
            themes: Themes::only(&theme),
            limits: Limits { mode, ..Limits::default() },
            rules: Rules::default(),
            regions: Vec::new(),
            places: Vec::new(),
            last_place: PlaceId::default(),
            entering: None,
            visiting: false,
            profiles: None,
            screen,
            behind,
            trail: Trail::default(),
            remembered: Remembered::default(),
            tour: false,
            overlay: None,
            pending: Pending::default(),
            notice: None,
            trouble: None,
            lost: None,
            journal_trouble: None,
            kept: Kept::default(),
            account: None,
            credentials_expire_ms: None,
            questions_per_second: 0.0,
            questions_seen: None,
            api: Api::default(),
            size: (80, 24),
            identified_ms: None,
            last_request: Request::default(),
            table_names: Loaded::default(),
            tables: Loaded::default(),
            table_asked: None,
            described: HashMap::new(),
            tables_list: Listing::default(),
            consumed: HashMap::new(),
            throttled: HashMap::new(),
            table_minutes_ms: None,
            tables_measured_ms: HashMap::new(),
            tables_measuring_ms: None,
            streams: Loaded::default(),
            streams_list: Listing::default(),
            stream_records: HashMap::new(),
            stream_bytes: HashMap::new(),
            stream_lag: HashMap::new(),
            stream_read: HashMap::new(),
            stream_minutes_ms: None,
            streams_measured_ms: HashMap::new(),
            streams_measuring_ms: None,
            at_stream: StreamState::default(),
            jobs: None,
            jobs_list: Listing::default(),
            bumps: Vec::new(),
            step: Step::default(),
            asked_owed: false,
            histories: HashMap::new(),
            letters: None,
            differences: None,
            letters_list: Listing::default(),
            decisions: Vec::new(),
            decision_at: None,
            charts: HashMap::new(),
            chart_asked: None,
            chart_request: Request::default(),
            past_asked: None,
            index_at: 0,
            time: TimeRange::default(),
            form: None,
            backup_form: None,
            replica_form: None,
            audits: HashMap::new(),
            table_shards: HashMap::new(),
            table_shards_asked: None,
            look_request: Request::default(),
            scrubber: None,
            replay_form: None,
            targets: Vec::new(),
            drag: None,
            mouse: true,
            event_tables_list: Listing::default(),
            folder: PathBuf::from("/"),
            dirty: true,
            done: false,
        }
    }

    /// What is to be done before the first message.
    pub fn begin(&mut self) -> Vec<Effect> {
        // The palette and the choice of a context name them.
        let mut effects = vec![self.watch(), Effect::LoadProfiles];
        effects.extend(self.due());
        effects
    }

    /// The scope whose keys work now.
    pub fn scope(&self) -> Scope {
        match &self.overlay {
            Some(Overlay::Confirm(question)) => match question.token {
                Token::Yes => Scope::Confirm,
                Token::Again => Scope::Review,
                Token::Name(_) => Scope::Prompt,
            },
            Some(Overlay::Prompt(_)) => Scope::Prompt,
            Some(Overlay::Contexts(_)) => Scope::Contexts,
            Some(Overlay::Palette(_)) => Scope::Palette,
            Some(Overlay::Help(reading)) => reading.scope(),
            Some(Overlay::Words(words)) => words.reading.scope(),
            Some(Overlay::Text(..)) => Scope::Global,
            None => self.screen_scope(),
        }
    }

    /// The scope of the screen below any overlay.
    pub fn screen_scope(&self) -> Scope {
        match self.screen {
            Screen::Tables => Scope::Tables,
            Screen::Streams => Scope::Streams,
            Screen::Jobs => Scope::Jobs,
            Screen::Table(_) => Scope::Table,
            Screen::Job(_) => Scope::Job,
            Screen::Dead(_) => Scope::Dead,
            Screen::Restore | Screen::Backup | Screen::Replica | Screen::Replay => Scope::Form,
            Screen::EventTables => Scope::EventTables,
            Screen::Playback => Scope::Playback,
            Screen::Autoscale(_) => Scope::Autoscale,
            Screen::Stream(_) => Scope::Stream,
            Screen::Mappings(_) => Scope::Mappings,
            Screen::Tail(..) => Scope::Tail,
        }
    }

    /// The keys of the screen, for words that name them.
    pub fn keys(&self) -> Keys<'_> {
        self.keymap.keys(self.screen_scope())
    }

    /// A job by its name.
    pub fn job(&self, id: &JobId) -> Option<&Job> {
        self.jobs.as_ref()?.iter().find(|job| job.id == *id)
    }

    /// A table by its name.
    pub fn table(&self, name: &str) -> Option<&Table> {
        let rows = self.tables.rows.as_deref()?;
        rows.binary_search_by(|table| table.name.as_str().cmp(name)).ok().map(|at| &rows[at])
    }

    /// What a form is checked against.
    pub fn known(&self) -> Known<'_> {
        Known {
            table_names: self.table_names.rows.as_deref(),
            tables: self.tables.rows.as_deref(),
            streams: self.streams.rows.as_deref(),
        }
    }

    pub(super) fn say(&mut self, words: impl Into<String>, is_bad: bool) {
        self.notice = Some(Notice { at_ms: self.now_ms, is_bad, words: words.into() });
    }

    pub(super) fn next_request(&mut self) -> Request {
        self.last_request = Request(self.last_request.0 + 1);
        self.last_request
    }

    pub(super) fn watch(&self) -> Effect {
        match &self.screen {
            Screen::Job(id) | Screen::Autoscale(id) => Effect::Watch { job: Some(id.clone()), letters: false },
            Screen::Dead(id) => Effect::Watch { job: Some(id.clone()), letters: true },
            _ => Effect::Watch { job: None, letters: false },
        }
    }

    /// Shows `screen`; `back` returns to the one that was shown.
    pub(super) fn go(&mut self, screen: Screen) -> Vec<Effect> {
        if self.screen == screen {
            return Vec::new();
        }
        let top = screen.is_list();
        let mut behind = Vec::new();
        if !top {
            behind.clone_from(&self.behind);
            behind.push(self.screen.clone());
        }
        self.show(screen, behind)
    }

    /// Shows a job, on the screen of its kind.
    pub(super) fn go_to_job(&mut self, id: &JobId) -> Vec<Effect> {
        let screen = self.screen_of_job(id);
        self.go(screen)
    }

    /// Shows what was there before. On a list, nothing is behind.
    pub(super) fn back(&mut self) -> Vec<Effect> {
        let mut behind = self.behind.clone();
        match behind.pop() {
            Some(screen) => self.show(screen, behind),
            None => Vec::new(),
        }
    }

    /// To the screen that is so many from the first on the way down to this one.
    pub(super) fn back_to(&mut self, at: usize) -> Vec<Effect> {
        let mut behind = self.behind.clone();
        if at >= behind.len() {
            return Vec::new();
        }
        let screen = behind.swap_remove(at);
        behind.truncate(at);
        self.show(screen, behind)
    }

    pub(super) fn arrived(&mut self, from: &Screen) -> Vec<Effect> {
        self.bring_time(from);
        self.letters_list.select_first();
        if let (Screen::Dead(id), Some(letters)) = (&self.screen, &self.letters)
            && *id != letters.job
        {
            // What was looked for among those of another job would hide some of this one's.
            self.letters_list.filter.clear();
        }
        self.decision_at = None;
        self.index_at = 0;
        let mut effects = vec![self.watch()];
        effects.extend(self.left_tail());
        effects.extend(self.due());
        effects
    }
}
