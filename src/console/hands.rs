//! Does what the console asks for, each in a task of its own, and sends back what came of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aws_credential_types::provider::ProvideCredentials as _;
use futures::{StreamExt as _, TryStreamExt as _};
use tokio::sync::mpsc::Sender;
use tokio_util::sync::CancellationToken;

use super::charts::{Lines, TableChart};
use super::clouds::Clouds;
use super::copy;
use super::effect::{ChartQuestion, Draft, Effect, PastQuestion, PlaceId};
use super::export::{self, Written};
use super::form::Unseen;
use super::kept;
use super::letters::{self, Drafts};
use super::memory::Keeper;
use super::msg::{Msg, TableMinutes};
use super::playback::read::Readers;
use super::runtime::Perform;
use super::watcher::Interest;
use crate::cloud::guard::{Change, Outcome, Witness};
use crate::cloud::inventory::{self, Shard, Stream, Table};
use crate::cloud::metrics::{self, Query};
use crate::cloud::{Class, Cloud, CloudError, Context, Guard, Mode, profiles, streams};
use crate::flow::{self, StreamSource as _, TableStream};
use crate::jobs::bump::{self, BumpError};
use crate::jobs::journal::{Control, Journal, JournalError};
use crate::jobs::plan;
use crate::jobs::replicate::source::Changes;
use crate::jobs::spec::Spec;
use crate::jobs::{self, JobId};

/// How many descriptions are asked for at once.
const AT_ONCE: usize = 8;
/// So many streams are described all; of more, those on screen.
const FEW_STREAMS: usize = 50;
/// How long a give-back waits for a change that is under way.
const CHANGING: Duration = Duration::from_secs(20);

/// The hands of a console on a real cloud and journal.
pub struct Hands {
    /// Of the context at hand.
    pub(super) cloud: Cloud,
    here: PlaceId,
    clouds: Clouds,
    journal: PathBuf,
    interests: std::sync::mpsc::Sender<Interest>,
    pub(super) to: Sender<Msg>,
    drafts: Drafts,
    /// Writes what the console remembers; it ends with what it was given written.
    keeper: Keeper,
    readers: Readers,
    /// Ends the tail that runs.
    pub(super) tail: Option<CancellationToken>,
}

impl Hands {
    /// Hands that act in `cloud` and write controls into the journal at `journal`.
    pub fn new(cloud: Cloud, journal: &Path, interests: std::sync::mpsc::Sender<Interest>, to: Sender<Msg>) -> Self {
        let told = to.clone();
        let folder = journal.parent().unwrap_or(journal).to_owned();
        // A console that ends needs not be told.
        let keeper = Keeper::new(folder, move |words| drop(told.try_send(Msg::Refused(words))));
        Self {
            clouds: Clouds::with(&cloud, journal.parent().unwrap_or(Path::new("."))),
            cloud,
            here: PlaceId::default(),
            journal: journal.to_owned(),
            interests,
            to,
            keeper,
            drafts: Drafts::beside(journal),
            readers: Readers::default(),
            tail: None,
        }
    }

    /// Asks AWS in a task; its answer is a message.
    pub(super) fn ask<F>(&self, question: impl FnOnce(Cloud) -> F)
    where
        F: Future<Output = Msg> + Send + 'static,
    {
        let (to, here) = (self.to.clone(), self.here);
        let answer = question(self.cloud.clone());
        // A console that is gone needs no answer.
        tokio::spawn(async move { drop(to.send(Msg::At(here, Box::new(answer.await))).await) });
    }

    /// Writes into the journal on a thread that may wait for it.
    fn write(&self, action: impl FnOnce(&Cloud, &Journal) -> Result<Option<Msg>, String> + Send + 'static) {
        let (to, path, cloud, here) = (self.to.clone(), self.journal.clone(), self.cloud.clone(), self.here);
        tokio::task::spawn_blocking(move || {
            let done =
                Journal::open(&path).map_err(|error| error.to_string()).and_then(|journal| action(&cloud, &journal));
            if let Some(msg) = done.unwrap_or_else(|words| Some(Msg::Refused(words))) {
                drop(to.blocking_send(Msg::At(here, Box::new(msg))));
            }
        });
    }

    /// Does what a person tells a job, unless the mode forbids it: it is written into the audit first, as requests to AWS are,
    /// and a dry run shows it. `words` say what it is, `lines` more of it.
    fn control(
        &self,
        words: &str,
        change: Change,
        lines: Vec<String>,
        action: impl FnOnce(&Journal) -> Result<Msg, String> + Send + 'static,
    ) {
        let msg = match self.cloud.guard.mode() {
            Mode::Normal => {
                let words = words.to_owned();
                return self.write(move |cloud, journal| {
                    let job = Some(JobId(change.target.clone())).filter(|id| !id.0.is_empty());
                    // A job acts where it was made to act, whichever context the console shows.
                    let context = match &job {
                        Some(id) => journal.job(id).map_err(|error| error.to_string())?.context,
                        None => cloud.place(),
                    };
                    let number = journal
                        .audit(&context, job.as_ref(), &change)
                        .map_err(|error| format!("did not {words}: it could not be written into the audit: {error}"))?;
                    let done = action(journal);
                    let settled = match &done {
                        // A job that is only made now has its name from there.
                        Ok(Msg::Started(id)) => journal.audit_began(number, id),
                        Ok(_) => Ok(()),
                        Err(words) => journal.audit_outcome(number, &Outcome::Refused(words.clone())),
                    };
                    if let Err(error) = settled {
                        tracing::error!(%error, number, "what became of a change could not be written into the audit");
                    }
                    done.map(Some)
                });
            }
            Mode::DryRun => {
                let mut shown = vec![format!("{words}: nothing was done")];
                shown.extend(lines);
                let command = change.as_aws_command();
                let comment = command.starts_with('#');
                shown.push(String::new());
                shown.extend((!comment).then(|| "The same as:".to_owned()));
                shown.push(command);
                Msg::WouldDo("dry run: this would have been done".to_owned(), shown)
            }
            Mode::ReadOnly => Msg::Refused(format!("read-only: refused to {words}")),
        };
        let to = self.to.clone();
        tokio::spawn(async move { drop(to.send(msg).await) });
    }
}

impl Perform for Hands {
    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::At(place, effect) => {
                let Some(cloud) = self.clouds.get(place) else { return };
                let here = std::mem::replace(&mut self.here, place);
                let at_hand = std::mem::replace(&mut self.cloud, cloud);
                self.perform(*effect);
                self.here = here;
                // Made anew, they are the place's.
                self.cloud = at_hand;
            }
            Effect::Connect(place, context, mode) => self.connect(place, context, mode),
            Effect::Stand(place, per_second) => {
                if let Some(cloud) = self.clouds.get(place) {
                    cloud.budget().set(per_second);
                    self.cloud = cloud;
                    self.here = place;
                    self.readers = Readers::default();
                }
            }
            Effect::Hold(mode) => self.cloud.guard.set_mode(mode),
            Effect::Renew => self.renew(),
            Effect::LoadProfiles => {
                let to = self.to.clone();
                tokio::spawn(async move { drop(to.send(Msg::Profiles(profiles::load().await)).await) });
            }
            Effect::Watch { job, letters } => {
                // The watcher lives as long as its channel, which ends with these hands.
                drop(self.interests.send(Interest { job, letters }));
            }
            Effect::Keep(seen) => {
                let (path, context) = (self.journal.clone(), self.cloud.context.clone());
                tokio::task::spawn_blocking(move || {
                    if let Some(state) = path.parent() {
                        kept::keep(state, &context, *seen);
                    }
                });
            }
            Effect::Identify => {
                self.ask(|cloud| async move { Msg::Account(inventory::account(&cloud).await) });
                self.ask(|cloud| async move { Msg::CredentialsExpire(expiry_ms(&cloud).await) });
            }
            Effect::ListTables(request) => {
                self.ask(move |cloud| async move { Msg::TableNames(request, inventory::table_names(&cloud).await) });
            }
            Effect::LoadTables(request, names) => {
                self.ask(move |cloud| async move { Msg::Tables(request, tables(&cloud, names).await) });
            }
            Effect::LoadPast(request, question) => self.write(move |_, journal| {
                let PastQuestion { job, from_ms, to_ms, step_ms } = &question;
                let samples = journal.samples_every(job, *from_ms, *to_ms, *step_ms).map_err(|error| error.to_string());
                Ok(Some(Msg::Past(request, question, samples)))
            }),
            Effect::LoadChart(request, question) => {
                self.ask(move |cloud| async move { Msg::Chart(request, chart(&cloud, question).await) });
            }
            Effect::Playback(request, question) => {
                let readers = self.readers.clone();
                self.ask(move |cloud| async move { Msg::Playback(request, readers.answer(&cloud, question).await) });
            }
            Effect::LoadTable(name) => {
                self.ask(move |cloud| async move { Msg::Table(inventory::table(&cloud, &name).await) });
            }
            Effect::LoadTableShards(id, table) => {
                self.ask(move |cloud| async move { Msg::TableShards(id, table_shards(&cloud, &table).await) });
            }
            Effect::LoadTableMinutes(tables, from, to) => {
                self.ask(move |cloud| async move { Msg::TableMinutes(table_minutes(&cloud, tables, from, to).await) });
            }
            Effect::LoadStreams(request, names) => {
                self.ask(move |cloud| async move { Msg::Streams(request, all_streams(&cloud, &names).await) });
            }
            Effect::LoadStreamMinutes(names, from, to) => {
                self.ask(
                    move |cloud| async move { Msg::StreamMinutes(streams::minutes(&cloud, names, from, to).await) },
                );
            }
            Effect::Stream(effect) => self.perform_stream(effect),
            Effect::Look(request, spec) => {
                self.ask(move |cloud| async move {
                    let looked = plan::facts(&cloud, &spec).await;
                    Msg::Looked(request, looked.map(Box::new).map_err(Unseen::from))
                });
            }
            Effect::SetCapacity { resource, from, to, job } => {
                let here = tokio::runtime::Handle::current();
                self.write(move |cloud, journal| {
                    let set = here.block_on(bump::set(cloud, journal, &resource, (from, to), job.as_ref()));
                    let given_back = job.filter(|_| to > from);
                    let given_back =
                        given_back.map_or(String::new(), |id| format!("; it is given back when {id} ends"));
                    let unit = resource.unit();
                    told(set.map(|()| format!("set {resource} from {from} to {to} {unit}{given_back}")))
                });
            }
            Effect::GiveBack(bumps) => {
                let here = tokio::runtime::Handle::current();
                self.write(move |cloud, journal| {
                    let settled = here.block_on(bump::give_back(cloud, journal, &bumps, CHANGING));
                    told(settled.map(|all| all.into_iter().map(|one| one.words).collect::<Vec<_>>().join("; ")))
                });
            }
            Effect::Control(id, control) => {
                let word = match control {
                    Control::Run => "let go on",
                    Control::Pause => "pause",
                    Control::Cancel => "cancel",
                };
                let command = if control == Control::Run { "resume" } else { word };
                let change = Change::of_job(command, &id.0, "");
                self.control(&format!("{word} {id}"), change, Vec::new(), move |journal| {
                    journal.set_control(&id, control).map_err(|error| error.to_string())?;
                    Ok(Msg::Done(format!("{id} is told to {}", if control == Control::Run { "go on" } else { word })))
                });
            }
            Effect::SetRate(id, rate) => {
                let words = rate.map_or("no cap".to_owned(), |rate| format!("at most {rate} items/s"));
                let change = Change::of_job("rate", &id.0, &rate.map_or("off".to_owned(), |rate| rate.to_string()));
                self.control(&format!("set {id} to {words}"), change, Vec::new(), move |journal| {
                    journal.set_rate(&id, rate).map_err(|error| error.to_string())?;
                    Ok(Msg::Done(format!("{id}: {words}")))
                });
            }
            Effect::Start { spec, parent, at } => self.start(*spec, parent, at),
            Effect::Resume(id) => {
                let change = Change::of_job("resume", &id.0, "");
                self.control(&format!("resume {id}"), change, Vec::new(), move |journal| {
                    jobs::resume_detached(journal, &id).map_err(|error| error.to_string())?;
                    Ok(Msg::Done(format!("{id} is taken up again")))
                });
            }
            Effect::OpenLetter(id, number) => self.open_letter(id, number),
            Effect::CheckDraft(draft) => self.check_draft(draft),
            Effect::Replay(id, numbers) => self.replay(id, numbers),
            Effect::Drop(id, number) => {
                let change = Change::of_job("dead drop", &id.0, &number.to_string());
                self.control(&format!("give up dead letter {number} of {id}"), change, Vec::new(), move |journal| {
                    letters::give_up(journal, &id, number).map(Msg::Done)
                });
            }
            Effect::Export(export) => self.write(move |_, journal| {
                export::write(export, journal).map(|written| {
                    Some(match written {
                        Written::Done(words) => Msg::Told(words),
                        Written::Exists(export) => Msg::FileExists(Box::new(export)),
                    })
                })
            }),
            // The loop gave it to the terminal already.
            Effect::Copy(text) => self.ask(move |_| async move {
                let between = copy::Between::from_environment(|name| std::env::var_os(name));
                let to_terminal = copy::osc52(&text, between).is_some();
                let (words, is_bad) = copy::words(&text, to_terminal, copy::natively(&text).await);
                if is_bad { Msg::Refused(words) } else { Msg::Told(words) }
            }),
            Effect::Remember(news) => self.keeper.keep(news),
            // The loop does them itself: it holds the terminal.
            Effect::Suspend | Effect::Edit(_) => {}
        }
    }
}

impl Hands {
    /// Makes clients for a context: its own guard and audit, the one budget.
    fn connect(&self, place: PlaceId, context: Context, mode: Mode) {
        let (to, clouds) = (self.to.clone(), self.clouds.clone());
        let witness = ScreenWitness::new(&self.journal, &context, self.to.clone());
        let guard = Guard::sharing(mode, witness, Arc::clone(self.cloud.budget()));
        tokio::spawn(async move {
            let answer = clouds.connect(place, &context, guard).await;
            drop(to.send(Msg::Connected(place, answer)).await);
        });
    }

    /// Makes the clients of the context at hand anew, so that files are read again, and asks AWS who they are.
    fn renew(&self) {
        let (to, clouds, here) = (self.to.clone(), self.clouds.clone(), self.here);
        let (context, guard) = (self.cloud.context.clone(), Arc::clone(&self.cloud.guard));
        tokio::spawn(async move {
            let answer = match clouds.connect(here, &context, guard).await {
                Ok(_) => clouds.probe(here).await,
                Err(error) => Err(error),
            };
            drop(to.send(Msg::At(here, Box::new(Msg::Renewed(answer)))).await);
        });
    }

    fn open_letter(&self, id: JobId, number: i64) {
        let folder = self.drafts.clone();
        self.write(move |_, journal| {
            letters::to_file(journal, &id, number, &folder).map(|draft| Some(Msg::Draft(draft)))
        });
    }

    fn check_draft(&self, draft: Draft) {
        let here = tokio::runtime::Handle::current();
        self.write(move |cloud, journal| {
            here.block_on(letters::keep(cloud, journal, &draft)).map(|w| Some(Msg::Done(w)))
        });
    }

    fn replay(&self, id: JobId, numbers: Vec<i64>) {
        let here = tokio::runtime::Handle::current();
        self.write(move |cloud, journal| {
            here.block_on(letters::replay(cloud, journal, &id, &numbers)).map(|words| words.map(Msg::Done))
        });
    }

    fn start(&self, spec: Spec, parent: Option<JobId>, at: Option<Context>) {
        let context = at.unwrap_or_else(|| self.cloud.place());
        let change = Change::of_job("start", "", &format!("{} {}", spec.kind(), spec.title()));
        let as_json = serde_json::to_string_pretty(&spec).unwrap_or_default();
        let lines = std::iter::once(String::new()).chain(as_json.lines().map(str::to_owned)).collect();
        self.control(&format!("start {} {}", spec.kind(), spec.title()), change, lines, move |journal| {
            let id = jobs::start_detached(journal, &spec, &context, parent.as_ref());
            id.map(Msg::Started).map_err(|error| error.to_string())
        });
    }
}

fn told(done: Result<String, BumpError>) -> Result<Option<Msg>, String> {
    match done {
        Ok(words) => Ok(Some(Msg::Done(words))),
        // The witness has shown the request already.
        Err(BumpError::Cloud(error)) if error.class == Class::DryRun => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

async fn expiry_ms(cloud: &Cloud) -> Option<i64> {
    let credentials = cloud.credentials.as_ref()?.provide_credentials().await.ok()?;
    let since_epoch = credentials.expiry()?.duration_since(std::time::UNIX_EPOCH).ok()?;
    i64::try_from(since_epoch.as_millis()).ok()
}

/// The shards of a table's changes; none where it has no stream.
async fn table_shards(cloud: &Cloud, table: &str) -> Result<Vec<Shard>, CloudError> {
    let Some(arn) = Changes::of(cloud, table).await?.arn else { return Ok(Vec::new()) };
    let shards = TableStream::new(cloud, table, arn).shards().await?;
    let shard = |shard: flow::Shard| {
        let mut parents = shard.parents.into_iter();
        Shard {
            id: shard.id,
            parent: parents.next(),
            adjacent_parent: parents.next(),
            from: shard.hash_keys.0,
            to: shard.hash_keys.1,
            open: shard.open,
        }
    };
    Ok(shards.into_iter().map(shard).collect())
}

async fn tables(cloud: &Cloud, names: Vec<String>) -> Result<Vec<Table>, CloudError> {
    let described = futures::stream::iter(names).map(|name| async move { inventory::table(cloud, &name).await });
    let described = described.buffered(AT_ONCE).filter_map(|table| async move { still_there(table) });
    described.try_collect().await
}

/// All streams by name; described are those that are `wanted`, and of few all. The others have no status.
async fn all_streams(cloud: &Cloud, wanted: &[String]) -> Result<Vec<Stream>, CloudError> {
    let names = inventory::stream_names(cloud).await?;
    let all = names.len() <= FEW_STREAMS;
    let first = names.iter().take(if wanted.is_empty() { FEW_STREAMS } else { 0 }).cloned().collect::<Vec<_>>();
    let is_meant = |name: &String| all || wanted.contains(name) || first.contains(name);
    let described = futures::stream::iter(names).map(|name| {
        let is_meant = is_meant(&name);
        async move { if is_meant { inventory::stream_summary(cloud, &name).await } else { Ok(Stream::named(name)) } }
    });
    let described = described.buffered(AT_ONCE).filter_map(|stream| async move { still_there(stream) });
    described.try_collect().await
}

/// What was deleted between the list and its description is no error.
fn still_there<T>(described: Result<T, CloudError>) -> Option<Result<T, CloudError>> {
    match described {
        Err(error) if error.class == Class::NotFound => None,
        other => Some(other),
    }
}

async fn table_minutes(
    cloud: &Cloud,
    tables: Vec<String>,
    from: i64,
    to: i64,
) -> Result<Vec<TableMinutes>, CloudError> {
    let queries: Vec<Query> = tables
        .iter()
        .flat_map(|t| ["ConsumedWriteCapacityUnits", "WriteThrottleEvents"].map(|metric| Query::table_sum(metric, t)))
        .collect();
    let mut series = metrics::series(cloud, &queries, from - from.rem_euclid(60_000), to, 60).await?.into_iter();
    let mut next = || series.next().unwrap_or_default();
    Ok(tables.into_iter().map(|table| TableMinutes { table, consumed: next(), throttled: next() }).collect())
}

/// The lines of a table and its indexes: six metrics each.
async fn chart(cloud: &Cloud, question: ChartQuestion) -> Result<TableChart, CloudError> {
    let ChartQuestion { table, indexes, from_ms, to_ms, period_s } = question;
    let of: Vec<Option<String>> = std::iter::once(None).chain(indexes.into_iter().map(Some)).collect();
    let queries: Vec<Query> = of
        .iter()
        .flat_map(|index| {
            metrics::TABLE_METRICS
                .map(|(metric, statistic)| Query::of_table(metric, &table, index.as_deref(), statistic))
        })
        .collect();
    let mut series = metrics::series(cloud, &queries, from_ms, to_ms, period_s).await?.into_iter();
    let mut next = || series.next().unwrap_or_default();
    let mut lines = |index| {
        let lines = Lines {
            written: next(),
            read: next(),
            writes_refused: next(),
            reads_refused: next(),
            write_provisioned: next(),
            read_provisioned: next(),
        };
        (index, lines)
    };
    let of = of.into_iter().map(&mut lines).collect();
    Ok(TableChart { table, period_ms: i64::from(period_s) * 1000, of })
}

/// The console's witness: changes go into the audit, dry runs onto the screen.
pub struct ScreenWitness {
    journal: PathBuf,
    context: Context,
    to: Sender<Msg>,
}

impl ScreenWitness {
    /// A witness that writes into the journal at `journal`.
    pub fn new(journal: &Path, context: &Context, to: Sender<Msg>) -> Arc<Self> {
        Arc::new(Self { journal: journal.to_owned(), context: context.clone(), to })
    }
}

impl ScreenWitness {
    /// What was written into the audit; what could not be is told: the change itself goes on.
    fn kept<T>(&self, written: Result<T, JournalError>, what: &str) -> Option<T> {
        let told = |error: &JournalError| {
            tracing::error!(%error, what, "not written into the audit");
            drop(self.to.try_send(Msg::Refused(format!("{what} was not written into the audit: {error}"))));
        };
        written.inspect_err(told).ok()
    }
}

impl Witness for ScreenWitness {
    fn sending(&self, change: &Change) -> Option<i64> {
        let written = Journal::open(&self.journal).and_then(|journal| journal.audit(&self.context, None, change));
        let Change { service, operation, target, .. } = change;
        self.kept(written, &format!("{service} {operation} on {target}"))
    }

    fn settled(&self, number: i64, outcome: &Outcome) {
        let written = Journal::open(&self.journal).and_then(|journal| journal.audit_outcome(number, outcome));
        self.kept(written, &format!("that line {number} is {outcome}"));
    }

    fn would_send(&self, change: &Change) {
        // Full only when the console is far behind, which a person pressing keys can't make it.
        drop(self.to.try_send(Msg::WouldSend(change.clone(), self.context.clone())));
    }
}

#[cfg(all(test, feature = "local"))]
#[path = "hands_tests.rs"]
mod tests;
