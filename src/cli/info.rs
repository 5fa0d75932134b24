//! `sluice info`: what this program is, where it keeps things, where it would act and on what terminal, and what is wrong
//! with any of it.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use aws_credential_types::provider::ProvideCredentials as _;
use clap::Args;
use serde_json::{Value, json};

use super::keymap;
use super::print::{self, time};
use super::report::{Exit, Report};
use super::session::Session;
use super::settings;
use crate::cloud::{Cloud, cache, inventory};
use crate::console::keymap as bindings;
use crate::console::theme::{Name, Themes};
use crate::jobs::journal::now_ms;

/// What to find out.
#[derive(Debug, Args)]
pub struct InfoArgs {
    /// Ask AWS too: which account the credentials are of, and how it answers.
    #[arg(long)]
    pub online: bool,
}

/// Names and values, and what is wrong with them.
#[derive(Debug, Default)]
struct Found {
    lines: Vec<(&'static str, String)>,
    json: serde_json::Map<String, Value>,
    wrong: Vec<String>,
}

impl Found {
    fn line(&mut self, name: &'static str, value: impl Into<String>) {
        self.lines.push((name, value.into()));
    }

    fn field(&mut self, name: &str, value: Value) {
        self.json.insert(name.to_owned(), value);
    }

    fn wrong(&mut self, words: impl Into<String>) {
        self.wrong.push(words.into());
    }
}

/// Prints it. Sends nothing unless asked to.
pub async fn run(args: &InfoArgs, session: &Session) -> Result<Exit, Report> {
    let mut found = Found::default();
    version(&mut found);
    paths(session, &mut found);
    files(&mut found);
    context(session, args.online, &mut found).await;
    terminal(&mut found);
    found.field("problems", json!(found.wrong));
    if session.global.json {
        print::json(&found.json)?;
        return Ok(Exit::Done);
    }
    for (name, value) in &found.lines {
        print::line(&format!("{name:<10} {}", print::shown(value)))?;
    }
    if found.wrong.is_empty() {
        print::line("\nnothing is wrong")?;
    } else {
        print::line("\nwhat is wrong:")?;
        for words in &found.wrong {
            print::line(&format!("- {}", print::shown(words)))?;
        }
    }
    Ok(Exit::Done)
}

fn version(found: &mut Found) {
    let features: Vec<&str> = [
        ("local", cfg!(feature = "local")),
        ("lambda", cfg!(feature = "lambda")),
        ("bigquery", cfg!(feature = "bigquery")),
    ]
    .into_iter()
    .filter_map(|(name, built)| built.then_some(name))
    .collect();
    let build = if cfg!(debug_assertions) { "debug" } else { "release" };
    let (system, machine) = (std::env::consts::OS, std::env::consts::ARCH);
    let version = env!("CARGO_PKG_VERSION");
    found.line("sluice", format!("{version} ({build}, {system} {machine}), built with {}", features.join(", ")));
    found.field("version", json!(version));
    found.field("features", json!(features));
    found.field("build", json!(build));
    if build == "debug" {
        found.wrong("this is a debug build: a release build moves several times as many records");
    }
}

fn paths(session: &Session, found: &mut Found) {
    let state = &session.state;
    found.line("state", state.display().to_string());
    found.field("state_dir", json!(state));
    if let Some(words) = unfit(state) {
        found.wrong(format!("the state folder {} {words}: pass --state-dir or set SLUICE_STATE_DIR", state.display()));
    }
    let journal = session.journal_path();
    found.field("journal", json!(journal));
    found.field("journal_exists", json!(journal.exists()));
    let size = |path: &Path| std::fs::metadata(path).map_or(0, |file| file.len());
    // What is not folded in yet counts: it is on the disk.
    let bytes = size(&journal) + size(&journal.with_extension("sqlite-wal"));
    found.field("journal_bytes", json!(bytes));
    let what = match session.journal_if_any() {
        Ok(None) => "not there yet: the first job makes it".to_owned(),
        Ok(Some(opened)) => {
            let jobs = opened.jobs().map_or(0, |jobs| jobs.len());
            found.field("jobs", json!(jobs));
            let megabytes = bytes as f64 / 1e6;
            if megabytes > 1_000.0 {
                found.wrong(format!("the journal has grown to {megabytes:.0} MB: a new --state-dir begins a new one"));
            }
            format!("{megabytes:.1} MB, {jobs} jobs")
        }
        Err(error) => {
            found.wrong(error.sentence);
            "can't be opened".to_owned()
        }
    };
    found.line("journal", format!("{} ({what})", journal.display()));
    found.line(
        "log",
        session.global.log_file.as_ref().map_or_else(
            || format!("none: --log-file FILE writes one; each detached job's is {}", state.join("JOB.log").display()),
            |path| path.display().to_string(),
        ),
    );
    found.field("log_file", json!(session.global.log_file));
    let path = cache::path(state, &session.context);
    let seen = cache::load(state, &session.context);
    let words = match &seen {
        None => "nothing yet: sluice tables and sluice streams fill it".to_owned(),
        Some(seen) => {
            let age = |at_ms: i64| if at_ms == 0 { "never".to_owned() } else { ago(now_ms() - at_ms) };
            format!(
                "{} tables, seen {}; {} streams, seen {}",
                seen.tables.len(),
                age(seen.tables_ms),
                seen.streams.len(),
                age(seen.streams_ms)
            )
        }
    };
    if seen.is_none() && path.exists() {
        found.wrong(format!(
            "{} can't be read: it counts as none, and the next sluice tables replaces it",
            path.display()
        ));
    }
    found.line("cache", format!("{} ({words})", path.display()));
    found.field("cache", json!({ "path": path, "tables": seen.as_ref().map(|s| s.tables.len()), "tables_ms": seen.as_ref().map(|s| s.tables_ms) }));
}

fn ago(ms: i64) -> String {
    format!("{} ago", print::duration(ms.max(0) as f64 / 1_000.0))
}

/// Why a folder can't be written; `None` when it can, or when nothing is in the way of making it.
fn unfit(folder: &Path) -> Option<String> {
    let there = folder.ancestors().find(|path| path.exists())?;
    if !there.is_dir() {
        return Some(format!("can't be made: {} is a file", there.display()));
    }
    match tempfile::tempfile_in(there) {
        Ok(_) => None,
        Err(error) => Some(format!("can't be written: {error}")),
    }
}

fn files(found: &mut Found) {
    let folder = settings::folder();
    let named = |file: &str| folder.as_ref().map(|folder| folder.join(file));
    let shown = |path: &Option<PathBuf>, without: &str| match path {
        Some(path) if path.exists() => path.display().to_string(),
        Some(path) => format!("{without} ({} is not there)", path.display()),
        None => format!("{without}: there is no home folder"),
    };
    let config = named("config.toml");
    found.line("config", shown(&config, "the defaults"));
    found.field("config", json!(config.filter(|path| path.exists())));
    if let Err(report) = settings::load() {
        found.wrong(format!("{} ({})", report.sentence, report.hint));
    }
    let file = keymap::users_file();
    found.line("keymap", shown(&file.clone().or_else(|| named("keymap.toml")), "the shipped one"));
    if let Err(error) = bindings::load(file.as_deref()) {
        found.wrong(error.to_string());
    }
    found.field("keymap", json!(file));
    let rules = named("autoscale.toml");
    found.line("autoscale", shown(&rules, "no rules"));
    if let Some(path) = rules.filter(|path| path.exists())
        && let Err(report) = super::autoscale::spec(&path, false)
    {
        found.wrong(report.sentence);
    }
}

async fn context(session: &Session, online: bool, found: &mut Found) {
    let context = &session.context;
    let of_environment = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let profile = context.profile.clone().or_else(|| of_environment("AWS_PROFILE"));
    let keys = of_environment("AWS_ACCESS_KEY_ID").is_some();
    let words = match (&profile, keys) {
        (Some(profile), false) => profile.clone(),
        (Some(profile), true) => format!("{profile} (and AWS_ACCESS_KEY_ID is set)"),
        (None, true) => "none: the keys of the environment".to_owned(),
        (None, false) => "default".to_owned(),
    };
    found.line("profile", words);
    found.field("profile", json!(context.profile));
    // Connecting sends nothing: it only settles which region is meant.
    let cloud = session.reading().await;
    let region = cloud.as_ref().map(|cloud| cloud.region.clone()).ok();
    found.line("region", region.clone().unwrap_or_else(|| "none is set: pass --region".to_owned()));
    found.field("region", json!(region));
    found.line("endpoint", context.endpoint_url.clone().unwrap_or_else(|| "AWS".to_owned()));
    found.field("endpoint_url", json!(context.endpoint_url));
    match cloud {
        Err(report) => found.wrong(format!("{}: {}", report.sentence, report.hint)),
        Ok(cloud) if online => ask(session, &cloud, found).await,
        Ok(_) => found.line("account", "not asked: --online asks"),
    }
}

async fn ask(session: &Session, cloud: &Cloud, found: &mut Found) {
    let began = std::time::Instant::now();
    match session.answered(inventory::account(cloud)).await {
        Ok(account) => {
            let ms = began.elapsed().as_millis();
            found.line("account", format!("{account} (answered in {ms} ms)"));
            found.field("account", json!(account));
            found.field("answered_ms", json!(ms as u64));
            session.remember(|seen| seen.account = Some(account));
        }
        Err(report) => {
            found.line("account", "no answer");
            found.field("account", Value::Null);
            found.wrong(format!(
                "{}{}{}",
                report.sentence,
                if report.hint.is_empty() { "" } else { ": " },
                report.hint
            ));
        }
    }
    if let Some(provider) = &cloud.credentials
        && let Ok(credentials) = provider.provide_credentials().await
    {
        let expires = credentials.expiry().and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
        let at_ms = expires.map(|since| since.as_millis() as i64);
        found.line(
            "expire",
            at_ms.map_or("the credentials never".to_owned(), |at| format!("the credentials at {}", time(at))),
        );
        found.field("credentials_expire", json!(at_ms.map(time)));
    }
}

fn terminal(found: &mut Found) {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let themes = Themes::from_environment(|name| std::env::var_os(name));
    let term = variable("TERM");
    let is_terminal = std::io::stdout().is_terminal();
    let size = crossterm::terminal::size().ok().filter(|_| is_terminal);
    let dumb = matches!(term.as_deref(), None | Some("dumb"));
    let chosen = themes.environment.map_or("by config.toml or the terminal's background", Name::as_str);
    let colours = match (variable("NO_COLOR").is_some(), dumb, variable("COLORTERM").as_deref()) {
        (true, ..) => "none: NO_COLOR is set",
        (_, true, _) => "none",
        (.., Some("truecolor" | "24bit")) => "24 bit",
        _ if term.as_deref().is_some_and(|term| term.contains("256color")) => "256",
        _ => "16",
    };
    let unicode = themes.unicode;
    let within: Vec<&str> = [("TMUX", "tmux"), ("STY", "screen"), ("SSH_CONNECTION", "ssh")]
        .into_iter()
        .filter_map(|(name, what)| variable(name).map(|_| what))
        .collect();
    let mut words = vec![term.clone().unwrap_or_else(|| "TERM is not set".to_owned())];
    words.push(size.map_or("no terminal".to_owned(), |(width, height)| format!("{width}×{height}")));
    words.push(format!("colours {colours}"));
    words.push(if unicode { "Unicode".to_owned() } else { "ASCII".to_owned() });
    words.push(format!("theme {chosen}"));
    if !within.is_empty() {
        words.push(format!("within {}", within.join(", ")));
    }
    found.line("terminal", words.join(", "));
    found.field(
        "terminal",
        json!({ "term": term, "is_terminal": is_terminal, "size": size, "colours": colours, "unicode": unicode, "theme": chosen, "within": within }),
    );
    if is_terminal && dumb {
        found.wrong("TERM is not set or says dumb: the console draws without colours and marks");
    }
    if is_terminal && !unicode && variable("SLUICE_ASCII").is_none() && !dumb {
        found.wrong("the locale is not UTF-8: the console draws charts in ASCII; LANG=C.UTF-8 mends that");
    }
    if size.is_some_and(|(width, height)| width < 60 || height < 15) {
        found.wrong("the terminal is below 60×15: the console shows the essential only");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_fit_when_it_can_be_written_or_made() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(unfit(folder.path()), None);
        assert_eq!(unfit(&folder.path().join("a/b")), None);
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(unfit(&file.join("state")).unwrap().contains("is a file"));
    }
}
