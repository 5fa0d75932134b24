//! The file itself: whole or not at all.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::rows::{LETTERS, SAMPLES, letter_row, sample_row};
use super::{Content, Export, Format};
use crate::console::widget::text::shown;
use crate::jobs::JobId;
use crate::jobs::journal::{Journal, JournalError, now_ms};
use crate::report::{self, Saved};

/// What came of writing a file.
#[derive(Debug)]
pub enum Written {
    /// It is there, in words.
    Done(String),
    /// Nothing was written: files are there that it was not to replace. The same, replacing them.
    Exists(Export),
}

impl Written {
    fn exists(mut export: Export, there: Vec<PathBuf>) -> Self {
        export.replaces.extend(there);
        Self::Exists(export)
    }
}

/// Writes the file, whole or not at all: a full disk or a crash leaves none that is half written.
///
/// # Errors
/// In words: what could not be written, and why.
pub fn write(export: Export, journal: &Journal) -> Result<Written, String> {
    if let (Content::Report(id), Format::Report(format)) = (&export.content, export.format) {
        let id = id.clone();
        return write_report(export, &id, format, journal);
    }
    let name = shown(&export.path.to_string_lossy());
    let there = vec![export.path.clone()];
    let gives_way = export.replaces.contains(&export.path);
    if !gives_way && export.path.exists() {
        return Ok(Written::exists(export, there));
    }
    let folder = export.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let failed = |error: &dyn std::fmt::Display| format!("{name} could not be written: {error}");
    let file = tempfile::NamedTempFile::new_in(folder).map_err(|error| failed(&error))?;
    let mut out = BufWriter::new(file);
    let rows = fill(&mut out, &export, journal).map_err(|error| failed(&error))?;
    let file = out.into_inner().map_err(|error| failed(&error.into_error()))?;
    file.as_file().sync_all().map_err(|error| failed(&error))?;
    let kept: Result<File, _> =
        if gives_way { file.persist(&export.path) } else { file.persist_noclobber(&export.path) };
    match kept {
        Ok(_) => {}
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => return Ok(Written::exists(export, there)),
        Err(error) => return Err(failed(&error.error)),
    }
    let what = match (rows, export.format) {
        (None, Format::Svg) => "the screen as a picture".to_owned(),
        (None, Format::Text) => "the screen as text".to_owned(),
        (None, _) => "it".to_owned(),
        (Some(1), _) => "1 row".to_owned(),
        (Some(rows), _) => format!("{rows} rows"),
    };
    Ok(Written::Done(format!("wrote {what} to {name}")))
}

fn write_report(export: Export, id: &JobId, format: report::Format, journal: &Journal) -> Result<Written, String> {
    let path = &export.path;
    let name = shown(&path.to_string_lossy());
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let made = report::of_job(journal, id, format, &stem, now_ms()).map_err(|error| error.to_string())?;
    let saved = made.save(path, &export.replaces).map_err(|error| format!("{name} could not be written: {error}"))?;
    let files = match saved {
        Saved::Written(files) => files,
        Saved::Exists(there) => return Ok(Written::exists(export, there)),
    };
    let pictures = match files.len() {
        0 | 1 => String::new(),
        2 => ", with a picture beside it".to_owned(),
        n => format!(", with {} pictures beside it", n - 1),
    };
    Ok(Written::Done(format!("wrote the report of {id} to {name}{pictures}")))
}

/// How many samples or letters are read at once.
const PAGE: usize = 4_096;

#[derive(Debug, thiserror::Error)]
enum Unfilled {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// Writes the content; how many rows there were, where there are rows.
fn fill(out: &mut impl Write, export: &Export, journal: &Journal) -> Result<Option<u64>, Unfilled> {
    match &export.content {
        // It is written by itself, with its pictures.
        Content::Report(_) => Ok(None),
        Content::Text(text) => {
            out.write_all(text.as_bytes())?;
            Ok(None)
        }
        Content::Sheet(sheet) => {
            let mut rows = Rows::begin(out, export.format, &sheet.columns)?;
            for row in &sheet.rows {
                rows.row(row)?;
            }
            Ok(Some(rows.end()?))
        }
        Content::Samples(id, from_ms, to_ms) => {
            let mut rows = Rows::begin(out, export.format, &SAMPLES)?;
            let mut from = *from_ms;
            loop {
                // A page of time: a week of seconds is never in memory at once.
                let until = from.saturating_add(PAGE as i64 * 1000).min(*to_ms);
                for sample in journal.samples_every(id, from, until, 1)? {
                    rows.row(&sample_row(&sample))?;
                }
                if until >= *to_ms {
                    break;
                }
                from = until + 1;
            }
            Ok(Some(rows.end()?))
        }
        Content::Letters(id) => {
            let mut rows = Rows::begin(out, export.format, &LETTERS)?;
            let mut after = i64::MIN;
            loop {
                let letters = journal.letters(id, after, PAGE)?;
                let Some(last) = letters.last() else { break };
                after = last.number;
                for letter in &letters {
                    rows.row(&letter_row(letter))?;
                }
            }
            Ok(Some(rows.end()?))
        }
    }
}

/// Rows as they are written.
struct Rows<'a, W> {
    out: &'a mut W,
    format: Format,
    columns: &'a [&'static str],
    written: u64,
}

impl<'a, W: Write> Rows<'a, W> {
    fn begin(out: &'a mut W, format: Format, columns: &'a [&'static str]) -> io::Result<Self> {
        match format {
            Format::Json => out.write_all(b"[")?,
            _ => writeln!(out, "{}\r", columns.join(","))?,
        }
        Ok(Self { out, format, columns, written: 0 })
    }

    fn row(&mut self, values: &[Value]) -> io::Result<()> {
        if self.format == Format::Json {
            // By hand, so that the names keep their order.
            let pairs = self.columns.iter().zip(values).map(|(name, value)| format!("\"{name}\":{value}"));
            let between = if self.written == 0 { "\n" } else { ",\n" };
            write!(self.out, "{between}{{{}}}", pairs.collect::<Vec<_>>().join(","))?;
        } else {
            let cells: Vec<String> = values.iter().map(csv_cell).collect();
            writeln!(self.out, "{}\r", cells.join(","))?;
        }
        self.written += 1;
        Ok(())
    }

    fn end(self) -> io::Result<u64> {
        if self.format == Format::Json {
            self.out.write_all(b"\n]\n")?;
        }
        Ok(self.written)
    }
}

/// A cell of CSV. A text that a spreadsheet would take for a formula is given an apostrophe before it (OWASP, CSV injection);
/// numbers are as they are.
fn csv_cell(value: &Value) -> String {
    let text = match value {
        Value::Null => return String::new(),
        Value::String(text) => text,
        number => return number.to_string(),
    };
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']);
    let guarded = if is_formula { format!("'{text}") } else { text.clone() };
    if guarded.contains([',', '"', '\n', '\r', '\'']) || guarded.starts_with(' ') || guarded.ends_with(' ') {
        format!("\"{}\"", guarded.replace('"', "\"\""))
    } else {
        guarded
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use serde_json::json;

    use super::*;
    use crate::console::export::Sheet;

    fn journal() -> (tempfile::TempDir, Journal) {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::open(&folder.path().join("journal.sqlite")).unwrap();
        (folder, journal)
    }

    fn sheet() -> Sheet {
        let rows = vec![
            vec![json!("=1+1"), json!(31_234_567_u64)],
            vec![json!("a,\"b\"\n\u{1b}[2J"), json!(0.1)],
            vec![json!("日本"), Value::Null],
            vec![json!("-5"), json!(-5)],
        ];
        Sheet { columns: vec!["name", "n"], rows }
    }

    fn export(path: PathBuf, content: Content) -> Export {
        Export { format: Format::of(&path).unwrap(), path, content, replaces: Vec::new() }
    }

    #[test]
    fn csv_has_exact_numbers_and_no_formulas() {
        let (folder, journal) = journal();
        let path = folder.path().join("x.csv");
        let Written::Done(words) = write(export(path.clone(), Content::Sheet(sheet())), &journal).unwrap() else {
            panic!("nothing was there")
        };
        assert_eq!(words, format!("wrote 4 rows to {}", path.display()));
        let text = std::fs::read_to_string(path).unwrap();
        assert_eq!(text, "name,n\r\n\"'=1+1\",31234567\r\n\"a,\"\"b\"\"\n\u{1b}[2J\",0.1\r\n日本,\r\n\"'-5\",-5\r\n");
    }

    #[test]
    fn json_is_a_list_of_objects() {
        let (folder, journal) = journal();
        let path = folder.path().join("x.json");
        write(export(path.clone(), Content::Sheet(sheet())), &journal).unwrap();
        let rows: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!(rows[0], json!({ "name": "=1+1", "n": 31_234_567 }));
        assert_eq!(rows[2], json!({ "name": "日本", "n": null }));
        let empty = export(folder.path().join("none.json"), Content::Sheet(Sheet::default()));
        write(empty, &journal).unwrap();
        let none: Vec<Value> =
            serde_json::from_str(&std::fs::read_to_string(folder.path().join("none.json")).unwrap()).unwrap();
        assert!(none.is_empty());
    }

    #[test]
    fn a_file_that_is_there_is_replaced_only_when_that_was_asked_for() {
        let (folder, journal) = journal();
        let path = folder.path().join("x.csv");
        std::fs::write(&path, "mine").unwrap();
        let Written::Exists(again) = write(export(path.clone(), Content::Sheet(sheet())), &journal).unwrap() else {
            panic!("it was there")
        };
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
        assert_eq!(again.replaces, std::slice::from_ref(&path));
        write(again, &journal).unwrap();
        assert!(std::fs::read_to_string(&path).unwrap().starts_with("name,n"));
        let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert!(!left.iter().any(|name| name.to_string_lossy().starts_with(".tmp")), "{left:?}");
    }

    #[test]
    fn a_jobs_samples_and_letters_are_written_whole_from_the_journal() {
        use crate::cloud::Context;
        use crate::console::fixture;
        use crate::jobs::journal::Commit;

        let (folder, mut journal) = journal();
        let id = journal.create_job(&fixture::spec(), &Context::default(), None).unwrap();
        for n in 0..10_000_i64 {
            let sample = fixture::sample_at(n * 1000);
            let letter = [fixture::letter("no \u{1b}[31mJSON", b"\xff{")];
            let letters = if n == 5 { &letter[..] } else { &[] };
            // Over several pages of time.
            if n % 100 == 0 || n < 100 {
                journal.commit(&id, &Commit { sample: Some(&sample), letters, ..Commit::default() }).unwrap();
            }
        }
        let path = folder.path().join("samples.json");
        let content = Content::Samples(id.clone(), 0, 9_999_000);
        let Written::Done(words) = write(export(path.clone(), content), &journal).unwrap() else { panic!() };
        assert!(words.starts_with("wrote 199 rows to "), "{words}");
        let rows: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        assert_eq!((&rows[1]["at"], &rows[1]["written"]), (&json!("1970-01-01T00:00:01Z"), &json!(100)));
        let path = folder.path().join("dead.json");
        write(export(path.clone(), Content::Letters(id)), &journal).unwrap();
        let rows: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        assert_eq!((rows.len(), &rows[0]["payload"]), (1, &json!("base64:/3s=")));
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let (folder, journal) = journal();
        let path = folder.path().join("no/x.csv");
        let words = write(export(path, Content::Sheet(sheet())), &journal).unwrap_err();
        assert!(words.contains("no/x.csv could not be written"), "{words}");
    }

    #[test]
    fn a_jobs_report_is_a_page_or_markdown_with_pictures_beside_it() {
        use crate::cloud::Context;
        use crate::console::fixture;
        use crate::jobs::journal::Commit;

        let (folder, mut journal) = journal();
        let id = journal.create_job(&fixture::spec(), &Context::default(), None).unwrap();
        for n in 1..60_i64 {
            let sample = fixture::sample_at(n * 1000);
            journal.commit(&id, &Commit { sample: Some(&sample), ..Commit::default() }).unwrap();
        }
        let path = folder.path().join("night.html");
        let Written::Done(words) = write(export(path.clone(), Content::Report(id.clone())), &journal).unwrap() else {
            panic!()
        };
        assert_eq!(words, format!("wrote the report of {id} to {}", path.display()));
        assert!(std::fs::read_to_string(path).unwrap().contains(&id.0));
        let path = folder.path().join("night.md");
        let Written::Done(words) = write(export(path, Content::Report(id.clone())), &journal).unwrap() else {
            panic!()
        };
        assert!(words.contains("beside it"), "{words}");
    }

    #[test]
    fn a_report_replaces_neither_page_nor_picture_unasked_and_is_its_owners_alone() {
        use crate::cloud::Context;
        use crate::console::fixture;
        use crate::jobs::journal::Commit;

        let (folder, mut journal) = journal();
        let id = journal.create_job(&fixture::spec(), &Context::default(), None).unwrap();
        for n in 1..60_i64 {
            let sample = fixture::sample_at(n * 1000);
            journal.commit(&id, &Commit { sample: Some(&sample), ..Commit::default() }).unwrap();
        }
        let (page, picture) = (folder.path().join("night.md"), folder.path().join("night-2.svg"));
        std::fs::write(&picture, "mine").unwrap();
        let report = export(page.clone(), Content::Report(id));
        let Written::Exists(again) = write(report, &journal).unwrap() else { panic!("a picture was there") };
        assert_eq!(again.replaces, std::slice::from_ref(&picture));
        assert!(!page.exists() && !folder.path().join("night-1.svg").exists(), "nothing of it was written");
        // What came to be there since it was asked about is asked about as well.
        std::fs::write(&page, "notes").unwrap();
        let Written::Exists(again) = write(again, &journal).unwrap() else { panic!("a page was there") };
        assert_eq!(again.replaces, [picture.clone(), page.clone()]);
        let mine = [&picture, &page].map(|path| std::fs::read_to_string(path).unwrap());
        assert_eq!(mine, ["mine", "notes"]);
        let Written::Done(words) = write(again, &journal).unwrap() else { panic!("they may go") };
        assert!(words.contains("with 2 pictures beside it"), "{words}");
        for path in [&picture, &page] {
            assert!(!["mine", "notes"].contains(&std::fs::read_to_string(path).unwrap().as_str()));
            assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600, "{}", path.display());
        }
    }

    #[test]
    fn the_name_says_the_format() {
        for (name, format) in
            [("a.CSV", Format::Csv), ("b.json", Format::Json), ("c.svg", Format::Svg), ("d.txt", Format::Text)]
        {
            assert_eq!(Format::of(Path::new(name)), Ok(format));
        }
        assert!(Format::of(Path::new("a")).is_err() && Format::of(Path::new("a.xls")).is_err());
    }
}
