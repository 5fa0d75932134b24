//! Views as files: the rows of the screen in its order with exact numbers, as CSV or JSON; a job's samples and dead letters
//! whole from the journal; the screen as a picture.
//!
//! ```text
//!  key ─▶ ask ─▶ name typed ─▶ rows of the view (or what to read of the journal) ─▶ write, beside the console
//! ```

mod rows;
mod write;

use std::path::{Path, PathBuf};

use serde_json::Value;
use tui_input::Input;

use super::app::{App, Overlay, Prompt, Purpose, Screen};
use super::confirm::{Confirm, Token};
use super::effect::Effect;
use super::picture;
use super::view;
use crate::jobs::JobId;
use crate::report;
pub use write::{Written, write};

/// How a file is written; its name's ending says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A line of names, then a line a row (RFC 4180).
    Csv,
    /// A list of objects.
    Json,
    /// The screen as a picture.
    Svg,
    /// The screen as text.
    Text,
    /// A job's report: a page, or Markdown with its pictures beside it.
    Report(report::Format),
}

impl Format {
    /// The format that the name of a file asks for.
    pub fn of(path: &Path) -> Result<Self, String> {
        let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase()).unwrap_or_default();
        match ending.as_str() {
            "csv" => Ok(Self::Csv),
            "json" => Ok(Self::Json),
            "svg" => Ok(Self::Svg),
            "txt" => Ok(Self::Text),
            _ => match report::Format::of_path(path) {
                Some(format) => Ok(Self::Report(format)),
                None => Err("it ends in .csv, .json, .svg, .txt, or for a job's report in .html or .md".to_owned()),
            },
        }
    }
}

/// Rows with names.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sheet {
    /// The columns' names.
    pub columns: Vec<&'static str>,
    /// The rows, a value for each column.
    pub rows: Vec<Vec<Value>>,
}

/// What goes into a file.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// Rows.
    Sheet(Sheet),
    /// A job's samples from when up to when, ms since epoch, as the journal has them: every second.
    Samples(JobId, i64, i64),
    /// All open dead letters of a job.
    Letters(JobId),
    /// A text: a picture.
    Text(String),
    /// The report of a job.
    Report(JobId),
}

/// A file that is to be written.
#[derive(Clone, Debug, PartialEq)]
pub struct Export {
    /// Where.
    pub path: PathBuf,
    /// How.
    pub format: Format,
    /// What.
    pub content: Content,
    /// Files that give way, where they are there: itself, and of a report its pictures.
    pub replaces: Vec<PathBuf>,
}

/// Which ending is proposed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proposed {
    /// The rows of the view.
    Rows,
    /// The screen as a picture.
    Picture,
    /// The job's report.
    Report,
}

/// Asks where to: with a name that nothing has yet.
pub(super) fn ask(app: &mut App, proposed: Proposed) {
    let name = match rows::content(app) {
        _ if proposed == Proposed::Picture => "screen".to_owned(),
        Some((name, _)) => name,
        None => {
            let key =
                app.keymap.chord(super::keymap::Scope::Global, super::keymap::Action::Picture).unwrap_or_default();
            return app.say(format!("a form has no rows: {key} writes the screen itself"), false);
        }
    };
    // A stream's or a table's name is no path.
    let name: String = name.chars().map(|c| if c.is_alphanumeric() || "-_.".contains(c) { c } else { '_' }).collect();
    let stamp: String =
        rows::at(app.now_ms).as_str().unwrap_or_default().chars().filter(char::is_ascii_digit).take(14).collect();
    let ending = match proposed {
        Proposed::Rows => "csv",
        Proposed::Picture => "svg",
        Proposed::Report => "html",
    };
    let input = Input::new(format!("{name}-{stamp}.{ending}"));
    app.overlay = Some(Overlay::Prompt(Prompt { purpose: Purpose::Export, input, error: None }));
}

/// The name of a file was typed: what is to be written there.
pub(super) fn accept(app: &mut App, mut prompt: Prompt, text: &str) -> Vec<Effect> {
    match typed(app, text) {
        Ok(export) => vec![Effect::Export(export)],
        Err(words) => {
            prompt.error = Some(words);
            app.overlay = Some(Overlay::Prompt(prompt));
            Vec::new()
        }
    }
}

fn typed(app: &mut App, text: &str) -> Result<Export, String> {
    if text.is_empty() {
        return Err("a file name".to_owned());
    }
    // What is typed without a folder goes where the console was started.
    let path = app.folder.join(text);
    let format = Format::of(&path)?;
    let content = match format {
        Format::Svg | Format::Text => {
            // The prompt is gone; what was said before is no part of the picture.
            app.notice = None;
            let screen = view::still(app);
            let ground = if app.theme.is_light() { &picture::LIGHT } else { &picture::DARK };
            Content::Text(if format == Format::Svg { picture::svg(&screen, ground) } else { picture::text(&screen) })
        }
        Format::Report(_) => match &app.screen {
            Screen::Job(id) | Screen::Dead(id) | Screen::Autoscale(id) => Content::Report(id.clone()),
            _ => return Err(".html and .md are the report of a job: open one first".to_owned()),
        },
        Format::Csv | Format::Json => {
            rows::content(app).map(|(_, content)| content).ok_or("a form has no rows: .svg or .txt is its screen")?
        }
    };
    Ok(Export { path, format, content, replaces: Vec::new() })
}

/// Files that it would replace are there: asks whether they may go.
pub(super) fn ask_replace(app: &mut App, export: Export) {
    let (title, now, then) = match export.replaces.len() {
        0 | 1 => ("Replace a file".to_owned(), "it is there already", "what was in it is lost"),
        n => (format!("Replace {n} files"), "they are there already", "what was in them is lost"),
    };
    let files = export.replaces.iter().map(|file| ("file", file.to_string_lossy().into_owned()));
    app.overlay = Some(Overlay::Confirm(Box::new(Confirm {
        title,
        facts: files.chain([("now", now.to_owned()), ("then", then.to_owned())]).collect(),
        undo: "none".to_owned(),
        token: Token::Yes,
        typed: Input::default(),
        effect: Effect::Export(export),
    })));
}
