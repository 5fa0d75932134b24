//! A job's report: one page that says what a job was, what it did, what held it up, and what proves it, with its charts.
//!
//! ```text
//!  journal ─▶ facts ─▶ page (blocks of plain text and charts) ─┬▶ html      one file, charts inline
//!                └─▶ history (samples, binned while read)      └▶ markdown  a file, and a picture beside it for each chart
//! ```
//!
//! Nothing of a record or a name gets into either unescaped, and a week of samples takes no more memory than a minute's.

mod chart;
mod facts;
mod history;
mod html;
mod markdown;
mod page;
mod text;

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::jobs::{JobId, Journal, JournalError};

/// What a report is written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One self-contained page.
    Html,
    /// Markdown, with its pictures as files beside it.
    Markdown,
}

impl Format {
    /// What the name of a file asks for.
    pub fn of_path(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "html" | "htm" => Some(Self::Html),
            "md" | "markdown" => Some(Self::Markdown),
            _ => None,
        }
    }
}

/// A picture that goes beside a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Its file's name, as the report links it.
    pub name: String,
    /// SVG.
    pub svg: String,
}

/// A report, ready to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobReport {
    /// The page.
    pub text: String,
    /// What it links; none where the page holds its pictures itself.
    pub pictures: Vec<Picture>,
}

/// The report of job `id`. `stem` is what its pictures' names begin with: `FILE` gives `FILE-1.svg`.
///
/// # Errors
/// There is no such job, or the journal can't be read.
pub fn of_job(
    journal: &Journal,
    id: &JobId,
    format: Format,
    stem: &str,
    now_ms: i64,
) -> Result<JobReport, JournalError> {
    let page = facts::page(journal, id, now_ms)?;
    Ok(match format {
        Format::Html => JobReport { text: html::render(&page), pictures: Vec::new() },
        Format::Markdown => markdown::render(&page, stem),
    })
}

impl JobReport {
    /// Writes it to `path`, and its pictures beside it; gives every file that was written. One that is there is replaced,
    /// whole or not at all.
    ///
    /// # Errors
    /// As the file system gives them.
    pub fn save(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let beside = self.pictures.iter().map(|picture| (path.with_file_name(&picture.name), &picture.svg));
        // The page goes last: whoever finds it finds what it links.
        let files: Vec<(PathBuf, &String)> = beside.chain([(path.to_owned(), &self.text)]).collect();
        for (path, text) in &files {
            // As any file that is written here, for whoever the umask lets read it: a report is made to be passed on.
            let mode = std::fs::Permissions::from_mode(0o666);
            let mut file = tempfile::Builder::new().prefix(".report-").permissions(mode).tempfile_in(folder)?;
            io::Write::write_all(&mut file, text.as_bytes())?;
            file.persist(path).map_err(|error| error.error)?;
        }
        Ok(files.into_iter().map(|(path, _)| path).collect())
    }
}

#[cfg(test)]
mod tests;
