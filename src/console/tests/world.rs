//! What is outside the console in a test: AWS, the journal and an event table, all of them fixed and answering at once.

use futures::FutureExt as _;

use super::*;
use crate::console::effect::Request;
use crate::console::playback::Question;
use crate::console::playback::read::answer;
use crate::console::replica::tests as replica;
use crate::console::stream::{StreamMsg, TailNews};
use crate::event::read::fake::Fake;
use crate::flow::tail::Positions;

/// What there is in a world.
#[derive(Clone)]
pub(in crate::console) enum Holds {
    /// Nothing: every list is empty.
    Nothing,
    /// AWS is never heard of.
    Silence,
    /// Whatever is asked fails with that.
    Failure(CloudError),
    /// Three tables and a stream.
    Tables,
    /// The same, and an event table with that in it.
    Events(Arc<Fake>),
    /// The same, with jobs of every kind in the journal and all that is known of them.
    Everything(Arc<Fake>),
}

/// Answers effects at once, and remembers them.
#[derive(Clone)]
pub(in crate::console) struct World {
    pub to: mpsc::Sender<Msg>,
    pub done: Arc<Mutex<Vec<Effect>>>,
    pub lost: Arc<Mutex<Option<CloudError>>>,
    /// No answer comes.
    pub silent: Arc<Mutex<bool>>,
    /// Reads of the event table take until a test ends them.
    pub slow: Arc<Mutex<bool>>,
    /// Those that are under way.
    pub reads: Arc<Mutex<VecDeque<(Request, Question)>>>,
    holds: Holds,
}

impl World {
    pub fn new(to: mpsc::Sender<Msg>, holds: Holds) -> Self {
        let silent = Arc::new(Mutex::new(matches!(holds, Holds::Silence)));
        Self {
            to,
            done: Arc::default(),
            lost: Arc::default(),
            silent,
            slow: Arc::default(),
            reads: Arc::default(),
            holds,
        }
    }

    fn tables(&self) -> Vec<crate::cloud::inventory::Table> {
        let mut tables = fixture::tables();
        if let Holds::Events(_) | Holds::Everything(_) = &self.holds {
            tables.insert(0, fixture::event_table());
        }
        tables
    }

    /// What comes of a read of the event table.
    pub fn read(&self, request: Request, question: &Question) -> Option<Msg> {
        let (Holds::Events(fake) | Holds::Everything(fake)) = &self.holds else { return None };
        let read = answer(Arc::clone(fake) as Arc<_>, question.what.clone());
        Some(Msg::Playback(request, read.now_or_never().expect("it is in memory")))
    }

    fn answers(&self, effect: &Effect) -> Vec<Msg> {
        match (&self.holds, effect) {
            (Holds::Nothing, Effect::ListTables(request)) => vec![Msg::TableNames(*request, Ok(Vec::new()))],
            (Holds::Nothing, Effect::LoadStreams(request, _)) => vec![Msg::Streams(*request, Ok(Vec::new()))],
            (Holds::Nothing, _) => Vec::new(),
            (Holds::Failure(error), effect) => failed(effect, error),
            (Holds::Everything(_), Effect::Watch { job: Some(job), .. }) => known_of(job),
            (Holds::Everything(_), Effect::Stream(StreamEffect::Tail(request, _))) => {
                let lines = (0..6).map(crate::console::stream_tests::line).collect();
                let news = [TailNews::Began(1, 0), TailNews::Records(lines, 0)];
                news.map(|news| Msg::Stream(StreamMsg::Tail(*request, news))).into()
            }
            (_, Effect::Playback(request, question)) => {
                if *self.slow.lock().unwrap() {
                    self.reads.lock().unwrap().push_back((*request, question.clone()));
                    return Vec::new();
                }
                self.read(*request, question).into_iter().collect()
            }
            _ => self.answer(effect).into_iter().collect(),
        }
    }

    fn answer(&self, effect: &Effect) -> Option<Msg> {
        let lost = self.lost.lock().unwrap().clone();
        let or_lost = |msg: Msg, error: fn(CloudError) -> Msg| lost.clone().map_or(msg, error);
        match effect {
            Effect::ListTables(request) => {
                let names = self.tables().into_iter().map(|table| table.name).collect();
                Some(Msg::TableNames(*request, lost.clone().map_or(Ok(names), Err)))
            }
            Effect::LoadTables(request, names) => {
                let mut tables = self.tables();
                tables.retain(|table| names.contains(&table.name));
                Some(Msg::Tables(*request, lost.clone().map_or(Ok(tables), Err)))
            }
            Effect::LoadChart(request, question) => {
                Some(Msg::Chart(*request, lost.clone().map_or_else(|| Ok(fixture::chart(question)), Err)))
            }
            Effect::LoadTable(name) => {
                let table = self.tables().into_iter().find(|table| table.name == *name);
                let table = table.unwrap_or_else(|| fixture::table(name, 0, 0, Some(130), None));
                Some(or_lost(Msg::Table(Ok(table)), |error| Msg::Table(Err(error))))
            }
            Effect::Stream(effect) => crate::console::stream_tests::answer(effect),
            Effect::LoadStreams(request, _) => Some(Msg::Streams(*request, Ok(fixture::streams()))),
            Effect::Identify => Some(Msg::Account(Ok("111122223333".into()))),
            Effect::LoadTableMinutes(tables, ..) => {
                let minutes = |m: i64| (NOW_MS / 60_000 * 60_000 - m * 60_000, 120.0 * m as f64);
                let consumed = |table: &str| if table == "quotes" { (1..6).map(minutes).collect() } else { Vec::new() };
                let of = |table: &String| TableMinutes {
                    table: table.clone(),
                    consumed: consumed(table),
                    throttled: Vec::new(),
                };
                Some(Msg::TableMinutes(Ok(tables.iter().map(of).collect())))
            }
            Effect::Look(request, spec) => Some(Msg::Looked(
                *request,
                if spec.source.sources[0].starts_with("s3://") {
                    Ok(Box::new(fixture::facts(spec)))
                } else {
                    let words = format!("{} does not exist", spec.source.sources[0]);
                    Err(Unseen { name: Name::Source, words })
                },
            )),
            Effect::Renew => Some(Msg::Renewed(lost.clone().map_or(Ok(()), Err))),
            Effect::LoadPast(request, question) => {
                let (from, to, step) = (question.from_ms, question.to_ms, question.step_ms);
                let samples = (from..to).step_by(step as usize).map(fixture::sample_at);
                Some(Msg::Past(*request, question.clone(), Ok(samples.collect())))
            }
            Effect::Start { spec, .. } => Some(Msg::Started(JobId(format!("{}-0001", spec.kind().letter())))),
            _ => None,
        }
    }
}

impl Perform for World {
    fn perform(&mut self, effect: Effect) {
        let answers = if *self.silent.lock().unwrap() { Vec::new() } else { self.answers(&effect) };
        self.done.lock().unwrap().push(effect);
        for msg in answers {
            self.to.try_send(msg).unwrap();
        }
    }
}

/// What the watcher says of a journal that it can't read.
pub(super) const JOURNAL_LOST: &str = "the journal could not be read: its disk is full";

/// The answer where nothing can be read.
fn failed(effect: &Effect, error: &CloudError) -> Vec<Msg> {
    let error = || error.clone();
    let answer = match effect {
        Effect::ListTables(request) => Msg::TableNames(*request, Err(error())),
        Effect::LoadTables(request, _) => Msg::Tables(*request, Err(error())),
        Effect::LoadTable(_) => Msg::Table(Err(error())),
        Effect::LoadTableMinutes(..) => Msg::TableMinutes(Err(error())),
        Effect::LoadTableShards(id, _) => Msg::TableShards(id.clone(), Err(error())),
        Effect::LoadChart(request, _) => Msg::Chart(*request, Err(error())),
        Effect::LoadStreams(request, _) => Msg::Streams(*request, Err(error())),
        Effect::LoadStreamMinutes(..) => Msg::StreamMinutes(Err(error())),
        Effect::LoadProfiles => Msg::Profiles(Err(error())),
        Effect::Identify => Msg::Account(Err(error())),
        Effect::Playback(request, _) => Msg::Playback(*request, Err(error())),
        Effect::Watch { .. } => Msg::JournalLost(JOURNAL_LOST.into()),
        Effect::Look(request, _) => {
            Msg::Looked(*request, Err(Unseen { name: Name::Source, words: error().to_string() }))
        }
        Effect::Stream(effect) => Msg::Stream(match effect {
            StreamEffect::Load(request, _) => StreamMsg::Described(*request, Err(error())),
            StreamEffect::LoadMappings(request, _) => StreamMsg::Mappings(*request, Err(error())),
            StreamEffect::LoadChart(request, _, _, period_s) => {
                StreamMsg::Chart(*request, Err(error()), i64::from(*period_s) * 1000)
            }
            StreamEffect::LoadRates(stream, _) => StreamMsg::Rates(stream.clone(), Err(error())),
            StreamEffect::Tail(request, _) => {
                StreamMsg::Tail(*request, TailNews::Ended(error().to_string(), Positions::default()))
            }
            _ => return Vec::new(),
        }),
        _ => return Vec::new(),
    };
    vec![answer]
}

/// The jobs of a world that holds everything.
pub(super) fn jobs() -> Vec<Job> {
    vec![
        fixture::job("r-7f3a", State::Running),
        fixture::worker(),
        fixture::scaler(),
        replica::job(),
        fixture::verify(),
        fixture::done_job(),
    ]
}

/// What the journal knows of a job, told as the watcher tells it.
fn known_of(id: &JobId) -> Vec<Msg> {
    let samples = |samples| Msg::Samples(id.clone(), samples, 1000);
    let mut known = match id.0.as_bytes()[0] {
        b'r' => vec![samples(fixture::samples()), Msg::Notes(id.clone(), fixture::notes())],
        b'w' => vec![samples(fixture::worker_samples()), Msg::Notes(id.clone(), fixture::notes())],
        b'a' => vec![Msg::Decisions(fixture::decisions())],
        b'v' => vec![Msg::Differences(id.clone(), fixture::differences())],
        b'c' => vec![
            samples(replica::samples(79_800_000, None)),
            Msg::TableShards(id.clone(), Ok(replica::shards())),
            Msg::Audited(id.clone(), replica::audited()),
        ],
        _ => Vec::new(),
    };
    if *id == fixture::job("r-7f3a", State::Running).id {
        known.push(two_letters());
    }
    known
}
