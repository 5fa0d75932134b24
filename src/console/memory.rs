//! What the console remembers from one start to the next: one JSON file in the state folder.
//!
//! Several consoles may write it: each tells what is new, and the file is read, changed and replaced under a lock.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::JoinHandle;

use serde::{Deserialize, Serialize};

use super::app::{App, Place, Screen};
use super::columns::{LISTS, List};
use super::effect::{Effect, PlaceId};
use super::keymap::Action;
use super::spot::Spot;
use crate::jobs::JobId;

/// Its name in the state folder.
const FILE: &str = "console.json";
/// So many lines of the palette are kept.
const TYPED: usize = 100;
/// A place is written down when it has been on screen for so long, ms.
const SETTLED_MS: i64 = 1_000;

/// What is remembered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    /// The first-run tour was shown.
    pub tour_seen: bool,
    /// What was run from the palette, oldest first.
    pub typed: Vec<String>,
    /// By context: profile, region and endpoint.
    contexts: BTreeMap<String, Kept>,
}

/// What is remembered of one context.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Kept {
    at: Option<Spot>,
    lists: BTreeMap<String, KeptList>,
    bookmarks: Vec<Spot>,
}

/// How a list was filtered and sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct KeptList {
    filter: String,
    sort: Option<String>,
    reversed: bool,
}

/// What is new.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// Where a context's console is, and how its lists are filtered and sorted.
    At {
        /// The context.
        context: String,
        /// The place.
        spot: Spot,
        /// By the list's name.
        lists: BTreeMap<String, KeptList>,
    },
    /// A bookmark was set or taken away.
    Bookmark {
        /// The context.
        context: String,
        /// Of what.
        spot: Spot,
        /// It was set.
        is_set: bool,
    },
    /// A line was run from the palette.
    Typed(String),
    /// The tour was closed.
    TourSeen,
}

impl Memory {
    /// What `news` makes of it.
    pub fn take(&mut self, news: News) {
        match news {
            News::At { context, spot, lists } => {
                let kept = self.contexts.entry(context).or_default();
                (kept.at, kept.lists) = (Some(spot), lists);
            }
            News::Bookmark { context, spot, is_set } => {
                let bookmarks = &mut self.contexts.entry(context).or_default().bookmarks;
                bookmarks.retain(|known| *known != spot);
                if is_set {
                    bookmarks.push(spot);
                }
            }
            News::Typed(line) => {
                self.typed.retain(|known| *known != line);
                self.typed.push(line);
                let over = self.typed.len().saturating_sub(TYPED);
                self.typed.drain(..over);
            }
            News::TourSeen => self.tour_seen = true,
        }
    }

    fn bookmarks(&self, context: &str) -> &[Spot] {
        self.contexts.get(context).map_or(&[], |kept| &kept.bookmarks)
    }
}

/// What the file in `folder` remembers; nothing when there is none. One that can't be read is put aside, and said.
pub fn load(folder: &Path) -> (Memory, Option<String>) {
    let path = folder.join(FILE);
    match read(&path) {
        Ok(memory) => (memory, None),
        Err(error) => {
            let aside = folder.join(format!("{FILE}.unreadable"));
            let kept = match fs::rename(&path, &aside) {
                Ok(()) => format!("it is kept as {}", aside.display()),
                Err(_) => "it is written anew".to_owned(),
            };
            (Memory::default(), Some(format!("what the console remembered could not be read ({error}): {kept}")))
        }
    }
}

fn read(path: &Path) -> io::Result<Memory> {
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(io::Error::other),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Memory::default()),
        Err(error) => Err(error),
    }
}

/// Writes `news` into the file in `folder`: whole or not at all, after what other consoles wrote meanwhile.
pub fn note(folder: &Path, news: Vec<News>) -> io::Result<()> {
    let path = folder.join(FILE);
    fs::create_dir_all(folder)?;
    let lock = File::create(folder.join(format!("{FILE}.lock")))?;
    lock.lock()?;
    let mut memory = read(&path).unwrap_or_default();
    let before = memory.clone();
    news.into_iter().for_each(|news| memory.take(news));
    if memory == before {
        return Ok(());
    }
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(&serde_json::to_vec_pretty(&memory).map_err(io::Error::other)?)?;
    file.persist(&path).map_err(|error| error.error)?;
    Ok(())
}

/// Writes news on a thread of its own; what is under way is written before it ends.
#[derive(Debug)]
pub struct Keeper {
    to: Option<mpsc::Sender<News>>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    /// A keeper of the file in `folder`; `fails` is told once when it can't be written.
    pub fn new(folder: PathBuf, fails: impl FnOnce(String) + Send + 'static) -> Self {
        let (to, news) = mpsc::channel::<News>();
        let mut fails = Some(fails);
        let thread = std::thread::spawn(move || {
            while let Ok(first) = news.recv() {
                let all = std::iter::once(first).chain(news.try_iter()).collect();
                if let Err(error) = note(&folder, all)
                    && let Some(fails) = fails.take()
                {
                    fails(format!(
                        "what the console remembers could not be written into {}: {error}",
                        folder.display()
                    ));
                }
            }
        });
        Self { to: Some(to), thread: Some(thread) }
    }

    /// Writes it down soon.
    pub fn keep(&self, news: News) {
        if let Some(to) = &self.to {
            // The thread lives as long as this.
            drop(to.send(news));
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.to = None;
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// What the state knows of the memory.
#[derive(Clone, Debug, Default)]
pub struct Remembered {
    /// What is remembered, with what is new.
    pub memory: Memory,
    /// The place that was opened from memory, until it is known that it is still there.
    pub reopened: Option<Spot>,
    /// What was written down last, and since when it is another.
    written: Option<News>,
    differs_since_ms: Option<i64>,
}

/// As the memory names a context.
fn context_name(place: &Place) -> String {
    let endpoint = place.context.endpoint_url.as_deref().unwrap_or("aws");
    format!("{} {} {endpoint}", place.profile, place.region)
}

impl App {
    fn context_name(&self) -> String {
        context_name(&self.place)
    }

    fn whereabouts(&self) -> News {
        let lists = LISTS.into_iter().filter_map(|list| {
            let listing = self.listing(list);
            // Which shards, functions or letters were looked for says nothing about those of another day.
            let lasts = matches!(list, List::Tables | List::Streams | List::Jobs | List::EventTables);
            let filter = if lasts { listing.filter.text() } else { "" };
            let kept = KeptList {
                filter: filter.to_owned(),
                sort: listing.sort.by.map(str::to_owned),
                reversed: listing.sort.reversed,
            };
            (kept != KeptList::default()).then(|| (list.name().to_owned(), kept))
        });
        News::At { context: self.context_name(), spot: self.spot(), lists: lists.collect() }
    }

    /// Sets lists and screen as they were left in this context; the screen only when none is asked for.
    pub(super) fn recall(&mut self, memory: Memory, is_free: bool) {
        let kept = memory.contexts.get(&self.context_name()).cloned().unwrap_or_default();
        self.remembered.memory = memory;
        let mut filtered = false;
        for list in LISTS {
            let Some(kept) = kept.lists.get(list.name()) else { continue };
            let listing = self.listing_mut(list);
            listing.filter.set(&kept.filter, list.fields());
            if listing.filter.wrong().is_some() {
                listing.filter.clear();
            }
            filtered |= !listing.filter.is_empty();
            let column = list.columns(true).find(|field| Some(field.name) == kept.sort.as_deref());
            listing.sort.by = column.map(|field| field.name);
            listing.sort.reversed = kept.reversed;
        }
        if let Some(spot) = kept.at.filter(|_| is_free) {
            // `begin` asks for what the screen needs.
            (self.screen, self.behind) = self.screens_of(&spot);
            self.remembered.reopened = Some(spot).filter(|spot| self.screen != spot.list());
        }
        if filtered && self.list_on_screen().is_some_and(|(_, list)| !list.filter.is_empty()) {
            let all = self.keymap.chord(self.screen_scope(), Action::Back).unwrap_or_default();
            self.say(format!("filtered and sorted as it was left; {all} shows all"), false);
        }
        self.remembered.written = Some(self.whereabouts());
    }

    /// The place that was opened from memory is gone: its list is shown instead.
    pub(super) fn reopened_is_gone(&mut self, is_it: impl Fn(&Spot) -> bool) -> Vec<Effect> {
        match self.remembered.reopened.take() {
            Some(spot) if is_it(&spot) => {
                let here = self.spot();
                if here != spot {
                    return Vec::new();
                }
                self.say(format!("{} is gone since the console was left there", spot.words()), true);
                self.show(spot.list(), Vec::new())
            }
            other => {
                self.remembered.reopened = other;
                Vec::new()
            }
        }
    }

    /// The place that was opened from memory is still there.
    pub(super) fn reopened_is_there(&mut self, spot: &Spot) {
        self.remembered.reopened.take_if(|reopened| reopened == spot);
    }

    /// The journal was read: a job that was opened from memory is there, or not.
    pub(super) fn reopened_job_is_known(&mut self) -> Vec<Effect> {
        let Some(Spot::Job(id) | Spot::Letters(id)) = &self.remembered.reopened else { return Vec::new() };
        let id = JobId(id.clone());
        if self.job(&id).is_none() {
            return self.reopened_is_gone(|_| true);
        }
        self.remembered.reopened = None;
        // Only now it is known which screen is its kind's.
        if self.screen == Screen::Job(id.clone()) {
            self.screen = self.screen_of_job(&id);
        }
        Vec::new()
    }

    /// What is to be written down now; at the end of the console without waiting whether it lasts.
    pub(super) fn due_memory(&mut self, at_the_end: bool) -> Option<Effect> {
        let now = self.whereabouts();
        if self.remembered.written.as_ref() == Some(&now) {
            self.remembered.differs_since_ms = None;
            return None;
        }
        let since = *self.remembered.differs_since_ms.get_or_insert(self.now_ms);
        if !at_the_end && self.now_ms - since < SETTLED_MS {
            return None;
        }
        self.remembered.written = Some(now.clone());
        self.remembered.differs_since_ms = None;
        Some(self.remember(now))
    }

    /// Remembers it, here and in the file.
    pub(super) fn remember(&mut self, news: News) -> Effect {
        self.remembered.memory.take(news.clone());
        Effect::Remember(news)
    }

    /// The bookmarks of this context.
    pub fn bookmarks(&self) -> &[Spot] {
        self.remembered.memory.bookmarks(&self.context_name())
    }

    /// What marks a bookmarked name.
    pub fn bookmark_glyph(&self) -> &'static str {
        if self.theme.glyphs.braille { "★" } else { "@" }
    }

    /// `name` as a list shows it, marked when its place is bookmarked.
    pub fn marked(&self, name: String, spot: impl FnOnce() -> Spot) -> String {
        self.marked_in(self.place.id, name, spot)
    }

    /// The same of a row of that context.
    pub fn marked_in(&self, place: PlaceId, name: String, spot: impl FnOnce() -> Spot) -> String {
        let bookmarks = self.remembered.memory.bookmarks(&context_name(self.place_numbered(place)));
        if bookmarks.is_empty() || !bookmarks.contains(&spot()) {
            return name;
        }
        format!("{name} {}", self.bookmark_glyph())
    }

    /// Bookmarks the place at hand, or takes its bookmark away: in the context that it is in.
    pub(super) fn toggle_bookmark(&mut self) -> Vec<Effect> {
        let spot = self.spot_at_hand();
        let place = self.place_at_hand();
        let context = context_name(place);
        let (at, there) =
            if place.id == self.place.id { (String::new(), "") } else { (format!(" in {}", place.title()), " there") };
        let is_set = !self.remembered.memory.bookmarks(&context).contains(&spot);
        let key = self.keymap.chord(self.screen_scope(), Action::Bookmarks).unwrap_or_default();
        let words = if is_set {
            format!("is bookmarked{at}; {key} lists them{there}")
        } else {
            format!("is bookmarked no more{at}")
        };
        self.say(format!("{} {words}", spot.words()), false);
        vec![self.remember(News::Bookmark { context, spot, is_set })]
    }

    /// Shows the tour, or has seen it.
    pub(super) fn close_tour(&mut self) -> Option<Effect> {
        if !std::mem::take(&mut self.tour) || self.remembered.memory.tour_seen {
            return None;
        }
        Some(self.remember(News::TourSeen))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bookmark(name: &str, is_set: bool) -> News {
        News::Bookmark { context: "prod".into(), spot: Spot::Table(name.into()), is_set }
    }

    #[test]
    fn two_consoles_that_write_at_once_lose_nothing_of_each_other() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &'static str| {
            let folder = folder.path().to_owned();
            std::thread::spawn(move || {
                for n in 0..20 {
                    note(&folder, vec![bookmark(&format!("{name}{n}"), true)]).unwrap();
                }
            })
        };
        for thread in [write("a"), write("b")] {
            thread.join().unwrap();
        }
        let (memory, wrong) = load(folder.path());
        assert_eq!(wrong, None);
        assert_eq!(memory.bookmarks("prod").len(), 40);
        note(folder.path(), vec![bookmark("a3", false), News::TourSeen, News::Typed("tables".into())]).unwrap();
        let (memory, _) = load(folder.path());
        assert_eq!(memory.bookmarks("prod").len(), 39);
        assert!(memory.tour_seen);
        assert_eq!(memory.typed, ["tables"]);
    }

    #[test]
    fn a_file_that_cannot_be_read_is_put_aside_and_said() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(load(folder.path()), (Memory::default(), None), "there is none before the first start");
        fs::write(folder.path().join(FILE), "{\"typed\": [").unwrap();
        let (memory, wrong) = load(folder.path());
        assert_eq!(memory, Memory::default());
        assert!(wrong.unwrap().contains("console.json.unreadable"));
        assert!(folder.path().join("console.json.unreadable").exists());
        assert_eq!(load(folder.path()).1, None);
    }

    #[test]
    fn what_the_keeper_was_given_is_written_when_it_ends() {
        let folder = tempfile::tempdir().unwrap();
        let keeper = Keeper::new(folder.path().to_owned(), |words| panic!("{words}"));
        keeper.keep(bookmark("quotes", true));
        drop(keeper);
        assert_eq!(load(folder.path()).0.bookmarks("prod"), [Spot::Table("quotes".into())]);
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_said_once() {
        let (to, told) = mpsc::channel();
        let file = tempfile::NamedTempFile::new().unwrap();
        let keeper = Keeper::new(file.path().join("folder"), move |words| to.send(words).unwrap());
        keeper.keep(News::TourSeen);
        keeper.keep(News::TourSeen);
        drop(keeper);
        assert!(told.recv().unwrap().contains("could not be written into"));
    }

    #[test]
    fn a_line_that_is_typed_again_is_the_newest_and_old_ones_go() {
        let mut memory = Memory::default();
        for n in 0..150 {
            memory.take(News::Typed(format!("line {n}")));
        }
        memory.take(News::Typed("line 60".into()));
        assert_eq!(memory.typed.len(), TYPED);
        assert_eq!(memory.typed.last().map(String::as_str), Some("line 60"));
    }
}
