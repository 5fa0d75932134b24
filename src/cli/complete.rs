//! What a shell completes: commands and options from their tree, names of tables, streams and jobs from what is known here
//! already. A shell is never kept waiting for AWS: names come from the cached inventory, and a process beside brings it up
//! to date for the next time.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use clap::CommandFactory as _;
use clap::builder::StyledStr;
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};
use clap_complete::env::{CompleteEnv, Elvish, EnvCompleter, Fish, Powershell, Shells, Zsh};

use super::args::{Cli, Global};
use super::report::{Exit, Report};
use super::session::Session;
use crate::cloud::cache::{self, Inventory};
use crate::cloud::inventory;
use crate::jobs::journal::{Job, now_ms};

/// Set by the shell's script when it asks for completions.
pub const VARIABLE: &str = "SLUICE_COMPLETE";
/// An inventory that is older is brought up to date.
const FRESH: Duration = Duration::from_mins(1);
/// How long a shell waits where nothing is known yet.
const PATIENCE: Duration = Duration::from_millis(700);
/// How long the process beside it asks AWS.
const ASKING: Duration = Duration::from_secs(20);
/// The shells that are completed.
pub const SHELLS: Shells<'static> = Shells(&[&Bash, &Elvish, &Fish, &Powershell, &Zsh]);

/// Answers a shell that asks for completions; false when this run is none of those.
pub fn answered() -> bool {
    let asked = CompleteEnv::with_factory(Cli::command).var(VARIABLE).shells(SHELLS);
    // A shell has nobody to show an error to.
    asked.try_complete(std::env::args_os(), std::env::current_dir().ok().as_deref()).unwrap_or(true)
}

/// Names of tables.
pub fn tables() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| {
        let Some(inventory) = known() else { return Vec::new() };
        let help = |name: &str| {
            let at = inventory.described.binary_search_by(|table| table.name.as_str().cmp(name)).ok()?;
            let table = &inventory.described[at];
            let capacity = table.provisioned.map_or("on demand".to_owned(), |p| format!("{} WCU", p.write));
            Some(format!("{}, {capacity}", table.status))
        };
        named(current, inventory.tables.iter().map(|name| (name.clone(), help(name))))
    })
}

/// Names of streams.
pub fn streams() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| {
        let Some(inventory) = known() else { return Vec::new() };
        let help = |stream: &inventory::Stream| {
            (!stream.status.is_empty()).then(|| format!("{}, {} shards", stream.status, stream.open))
        };
        named(current, inventory.streams.iter().map(|stream| (stream.name.clone(), help(stream))))
    })
}

/// Names of indexes, of all tables that were described.
pub fn indexes() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| {
        let Some(inventory) = known() else { return Vec::new() };
        let mut all: Vec<(String, Option<String>)> = inventory
            .described
            .iter()
            .flat_map(|table| table.indexes.iter().map(|i| (i.name.clone(), Some(format!("of {}", table.name)))))
            .collect();
        all.sort();
        all.dedup_by(|a, b| a.0 == b.0);
        named(current, all)
    })
}

/// Jobs.
pub fn jobs() -> ArgValueCompleter {
    jobs_that(|_| true)
}

/// Jobs that a worker has in hand.
pub fn live_jobs() -> ArgValueCompleter {
    jobs_that(|job| job.state.is_live())
}

/// Jobs that can be taken up again.
pub fn resumable_jobs() -> ArgValueCompleter {
    jobs_that(|job| job.state.can_resume())
}

fn jobs_that(which: fn(&Job) -> bool) -> ArgValueCompleter {
    ArgValueCompleter::new(move |current: &OsStr| {
        let journal = session().and_then(|session| session.journal_if_any().ok().flatten());
        let jobs = journal.and_then(|journal| journal.jobs().ok()).unwrap_or_default();
        let help = |job: &Job| Some(format!("{}, {}", job.state.as_str(), job.spec.title()));
        named(current, jobs.iter().filter(|job| which(job)).map(|job| (job.id.to_string(), help(job))))
    })
}

/// Profiles of the AWS configuration file.
pub fn profiles() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| {
        let path = std::env::var_os("AWS_CONFIG_FILE").map(std::path::PathBuf::from);
        let path = path.or_else(|| Some(std::path::PathBuf::from(std::env::var_os("HOME")?).join(".aws/config")));
        let text = path.and_then(|path| std::fs::read_to_string(path).ok()).unwrap_or_default();
        named(current, profiles_of(&text).map(|name| (name.to_owned(), None)))
    })
}

fn profiles_of(text: &str) -> impl Iterator<Item = &str> {
    let heads = text.lines().filter_map(|line| line.trim().strip_prefix('[')?.strip_suffix(']'));
    heads.filter_map(|head| if head == "default" { Some(head) } else { head.strip_prefix("profile ").map(str::trim) })
}

/// The names that begin with what is typed. A name that a terminal would obey is left out.
fn named(current: &OsStr, names: impl IntoIterator<Item = (String, Option<String>)>) -> Vec<CompletionCandidate> {
    let Some(current) = current.to_str() else { return Vec::new() };
    let fits = |name: &str| name.starts_with(current) && !name.chars().any(|c| c.is_control() || c.is_whitespace());
    let shown = |help: String| StyledStr::from(super::print::shown(&help));
    names
        .into_iter()
        .filter(|(name, _)| fits(name))
        .map(|(name, help)| CompletionCandidate::new(name).help(help.map(shown)))
        .collect()
}

/// The session that the words typed so far ask for.
fn session() -> Option<Session> {
    let words: Vec<String> = std::env::args().collect();
    let typed = words.iter().position(|word| word == "--").map_or(&[][..], |at| &words[at + 1..]);
    Session::new(global(&together(typed.iter().map(OsString::from).collect(), 0).0)).ok()
}

/// The options of the context among `words`, wherever they stand.
fn global(words: &[OsString]) -> Global {
    let words: Vec<&str> = words.iter().filter_map(|word| word.to_str()).collect();
    let value = |names: &[&str]| {
        words.iter().enumerate().find_map(|(i, word)| {
            let joined = names.iter().find_map(|name| word.strip_prefix(name)?.strip_prefix('='));
            let next = || names.contains(word).then(|| words.get(i + 1).copied()).flatten();
            joined.or_else(next).filter(|value| !value.is_empty()).map(str::to_owned)
        })
    };
    Global {
        profile: value(&["--profile"]),
        region: value(&["--region", "-r"]),
        endpoint_url: value(&["--endpoint-url"]),
        state_dir: value(&["--state-dir"]).or_else(|| std::env::var("SLUICE_STATE_DIR").ok()).map(Into::into),
        ..Global::default()
    }
}

/// What is known of the context. Where that is old, a process beside asks AWS; where nothing is known, it is waited for, but
/// not for long.
fn known() -> Option<Inventory> {
    let session = session()?;
    let load = || cache::load(&session.state, &session.context);
    let now = load();
    let age = now.as_ref().map(|inventory| now_ms() - inventory.at_ms());
    if age.is_none_or(|age| !(0..FRESH.as_millis() as i64).contains(&age)) {
        ask_beside(&session).ok()?;
    }
    let began = Instant::now();
    let mut found = now;
    while found.is_none() && began.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(20));
        found = load();
    }
    found
}

fn ask_beside(session: &Session) -> io::Result<()> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("remember").arg("--state-dir").arg(&session.state);
    let context = &session.context;
    let options =
        [("--profile", &context.profile), ("--region", &context.region), ("--endpoint-url", &context.endpoint_url)];
    for (option, value) in options {
        command.args(value.iter().flat_map(|value| [option, value]));
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().map(drop)
}

/// Lists tables and streams, and remembers them: what a completion starts beside itself.
pub async fn remember(session: &Session) -> Result<Exit, Report> {
    crate::jobs::leave_terminal();
    let cloud = session.reading().await?;
    let both = async { tokio::try_join!(inventory::table_names(&cloud), inventory::stream_names(&cloud)) };
    let (tables, streams) = tokio::time::timeout(ASKING, both)
        .await
        .map_err(|_| Report::failed("no answer in time", "check the network"))??;
    session.remember(|seen| {
        seen.region.clone_from(&cloud.region);
        seen.list_tables(tables, now_ms());
        seen.list_streams(streams, now_ms());
    });
    Ok(Exit::Done)
}

/// Bash, which cuts words at `:` and `=`: an endpoint's URL arrives in five pieces, and is put together again.
#[derive(Debug)]
struct Bash;

impl EnvCompleter for Bash {
    fn name(&self) -> &'static str {
        "bash"
    }

    fn is(&self, name: &str) -> bool {
        name == "bash"
    }

    fn write_registration(
        &self,
        var: &str,
        name: &str,
        bin: &str,
        completer: &str,
        buf: &mut dyn io::Write,
    ) -> io::Result<()> {
        clap_complete::env::Bash.write_registration(var, name, bin, completer, buf)
    }

    fn write_complete(
        &self,
        command: &mut clap::Command,
        words: Vec<OsString>,
        folder: Option<&Path>,
        buf: &mut dyn io::Write,
    ) -> io::Result<()> {
        let index = std::env::var("_CLAP_COMPLETE_INDEX").ok().and_then(|text| text.parse().ok()).unwrap_or_default();
        let between = std::env::var("_CLAP_IFS").unwrap_or_else(|_| "\n".to_owned());
        let (words, index, cut) = together(words, index);
        let candidates = clap_complete::engine::complete(command, words, index, folder)?;
        let shown = candidates.iter().map(|candidate| {
            let whole = candidate.get_value().to_string_lossy().into_owned();
            // Bash keeps what stands before its cut.
            match whole.strip_prefix(&cut) {
                Some(rest) => rest.to_owned(),
                None => whole,
            }
        });
        buf.write_all(shown.collect::<Vec<_>>().join(&between).as_bytes())
    }
}

/// Words that bash cut at `:` and `=` as one again, the place of the word at `index` among them, and what of that word bash
/// takes for words of their own.
fn together(words: Vec<OsString>, index: usize) -> (Vec<OsString>, usize, String) {
    let mut whole: Vec<OsString> = Vec::with_capacity(words.len());
    let (mut at, mut cut) = (index.min(words.len().saturating_sub(1)), String::new());
    let mut glue = false;
    for (i, word) in words.into_iter().enumerate() {
        let before = whole.last().map(|last| last.to_string_lossy().into_owned()).unwrap_or_default();
        let is_cut = word == ":" && !before.is_empty() || word == "=" && before.starts_with("--");
        match whole.last_mut() {
            Some(last) if glue || is_cut => {
                if i == index {
                    cut = if is_cut { String::new() } else { before };
                }
                last.push(&word);
            }
            _ => whole.push(word),
        }
        if i == index {
            at = whole.len() - 1;
        }
        glue = is_cut;
    }
    (whole, at, cut)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<OsString> {
        text.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn what_bash_cut_is_one_word_again() {
        let cut = words("sluice --endpoint-url http : //127.0.0.1 : 4566 tables quo");
        let (whole, index, prefix) = together(cut, 8);
        assert_eq!(whole, words("sluice --endpoint-url http://127.0.0.1:4566 tables quo"));
        assert_eq!((index, prefix.as_str()), (4, ""));
        let (whole, index, prefix) = together(words("sluice restore --table = quo"), 4);
        assert_eq!((whole, index, prefix.as_str()), (words("sluice restore --table=quo"), 2, "--table="));
    }

    #[test]
    fn the_context_is_read_from_the_words_typed_so_far() {
        let global =
            global(&words("sluice tables --profile prod -r eu-west-1 --endpoint-url=http://h:1 --state-dir s"));
        assert_eq!((global.profile.as_deref(), global.region.as_deref()), (Some("prod"), Some("eu-west-1")));
        assert_eq!(global.endpoint_url.as_deref(), Some("http://h:1"));
        assert_eq!(global.state_dir, Some("s".into()));
    }

    #[test]
    fn profiles_are_read_from_the_configuration() {
        let text = "[default]\nregion = x\n[profile prod]\n[sso-session s]\n  [profile  dev ]\n";
        assert_eq!(profiles_of(text).collect::<Vec<_>>(), ["default", "prod", "dev"]);
    }

    #[test]
    fn a_name_that_a_terminal_would_obey_is_left_out() {
        let names = ["quotes", "quo\u{1b}[2J", "other"].map(|name| (name.to_owned(), None));
        let found = named(OsStr::new("quo"), names);
        assert_eq!(found.iter().map(CompletionCandidate::get_value).collect::<Vec<_>>(), ["quotes"]);
    }
}
