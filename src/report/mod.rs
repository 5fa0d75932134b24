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

use std::path::{Path, PathBuf};
use std::{fs, io};

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

/// What came of saving a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Saved {
    /// The files that it is in now.
    Written(Vec<PathBuf>),
    /// Nothing was written: these files are there, and nobody said that they may go.
    Exists(Vec<PathBuf>),
}

impl JobReport {
    /// The files that it is in when its page is `path`: its pictures beside it, and the page.
    pub fn files(&self, path: &Path) -> Vec<PathBuf> {
        let pictures = self.pictures.iter().map(|picture| path.with_file_name(&picture.name));
        pictures.chain([path.to_owned()]).collect()
    }

    /// Writes it to `path`, and its pictures beside it, for its owner alone. Of files that are there only those that
    /// `replaces` names give way, each whole or not at all.
    ///
    /// # Errors
    /// As the file system gives them.
    pub fn save(&self, path: &Path, replaces: &[PathBuf]) -> io::Result<Saved> {
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        // The page goes last: whoever finds it finds what it links.
        let files = self.files(path);
        let gives_way = |file: &PathBuf| replaces.contains(file);
        let there = files.iter().filter(|file| !gives_way(file) && file.symlink_metadata().is_ok());
        let there: Vec<PathBuf> = there.cloned().collect();
        if !there.is_empty() {
            return Ok(Saved::Exists(there));
        }
        // All of it is on the disk before any of it has its name.
        let mut made = Vec::with_capacity(files.len());
        for text in self.pictures.iter().map(|picture| &picture.svg).chain([&self.text]) {
            // It holds payloads of dead letters: it stays as private as it is made.
            let mut file = tempfile::Builder::new().prefix(".report-").tempfile_in(folder)?;
            io::Write::write_all(&mut file, text.as_bytes())?;
            file.as_file().sync_all()?;
            made.push(file);
        }
        for (n, (file, path)) in made.into_iter().zip(&files).enumerate() {
            let kept = if gives_way(path) { file.persist(path) } else { file.persist_noclobber(path) };
            let Err(failed) = kept else { continue };
            // Pictures without their page are of no use; those that took another's place stay.
            for picture in files.iter().take(n).filter(|file| !gives_way(file)) {
                let _ = fs::remove_file(picture);
            }
            // Another was faster with that name.
            return if failed.error.kind() == io::ErrorKind::AlreadyExists {
                Ok(Saved::Exists(vec![path.clone()]))
            } else {
                Err(failed.error)
            };
        }
        Ok(Saved::Written(files))
    }
}

#[cfg(test)]
mod tests;
