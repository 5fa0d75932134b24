//! The columns of every list: what it is sorted by and what `/` compares.

mod letters;
mod rows;

use super::app::{App, Screen};
use super::filter::{Field, Kind, Row, Value, Verdict};
use super::listing::Listing;
use crate::cloud::inventory::Table;
use crate::cloud::mappings::Mapping;
use crate::event::Layout;
use crate::jobs::journal::DeadLetter;
pub use letters::Letters;
use rows::{EventRow, MappingRow};
pub use rows::{JobRow, Named, ShardRow, StreamRow};

/// A list on screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum List {
    /// The tables.
    Tables,
    /// The streams.
    Streams,
    /// The shards of a stream.
    Shards,
    /// The event source mappings of a stream.
    Mappings,
    /// The jobs.
    Jobs,
    /// The dead letters of a job.
    Letters,
    /// The event tables.
    EventTables,
}

/// Every list.
pub const LISTS: [List; 7] =
    [List::Tables, List::Streams, List::Shards, List::Mappings, List::Jobs, List::Letters, List::EventTables];

/// The header of the column that only a list of several regions has.
const REGION: &str = "REGION";
/// What is known of a row of which nothing but its name and its context is.
pub const KNOWN_OF_NAMES: [&str; 2] = ["name", "region"];

const TABLES: &[Field] = &[
    Field::new("name", Kind::Words, "TABLE").also(&["table"]),
    Field::new("region", Kind::Words, REGION),
    Field::new("status", Kind::Words, "STATUS"),
    Field::new("items", Kind::Count, "ITEMS"),
    Field::new("size", Kind::Bytes, "SIZE").also(&["bytes"]),
    Field::new("used", Kind::Count, "WCU USED").also(&["wcu"]).as_share("share"),
    Field::new("provisioned", Kind::Count, "/ PROV").also(&["prov"]),
    Field::new("share", Kind::Percent, "USED %"),
    Field::new("peak", Kind::Count, "LAST 5 MIN"),
    Field::new("throttled", Kind::Count, "THROTTLED/S"),
    Field::new("stream", Kind::Words, "STREAM"),
    Field::new("billing", Kind::Words, "").also(&["mode"]),
    Field::new("index", Kind::Words, "").also(&["indexes"]),
];

const STREAMS: &[Field] = &[
    Field::new("name", Kind::Words, "STREAM").also(&["stream"]),
    Field::new("region", Kind::Words, REGION),
    Field::new("status", Kind::Words, "STATUS"),
    Field::new("mode", Kind::Words, "MODE").also(&["billing"]),
    Field::new("shards", Kind::Count, "SHARDS"),
    Field::new("kept", Kind::Duration, "KEPT").also(&["retention"]),
    Field::new("records", Kind::Count, "IN/S").also(&["in"]),
    Field::new("bytes", Kind::Bytes, "IN B/S"),
    Field::new("read", Kind::Count, "READ/S"),
    Field::new("lag", Kind::Duration, "LAG"),
    Field::new("fanout", Kind::Count, "FAN-OUT").also(&["fan-out", "consumers"]),
];

const SHARDS: &[Field] = &[
    Field::new("family", Kind::Words, "SHARD").also(&["shard", "name"]),
    Field::new("by", Kind::Words, "BY"),
    Field::new("state", Kind::Words, "STATE").also(&["status"]),
    Field::new("keys", Kind::Percent, "KEYS %").also(&["share"]),
    Field::new("in", Kind::Count, "IN/S").also(&["records"]),
    Field::new("read", Kind::Count, "READ/S"),
    Field::new("lag", Kind::Duration, "LAG"),
    Field::new("holder", Kind::Words, "HOLDER"),
];

const MAPPINGS: &[Field] = &[
    Field::new("function", Kind::Words, "FUNCTION").also(&["name"]),
    Field::new("state", Kind::Words, "STATE").also(&["status"]),
    Field::new("result", Kind::Words, "LAST RESULT"),
    Field::new("batch", Kind::Count, "BATCH"),
    Field::new("parallel", Kind::Count, "PARALLEL"),
    Field::new("retries", Kind::Count, "RETRIES"),
    Field::new("age", Kind::Duration, "AGE").also(&["lag"]),
];

const JOBS: &[Field] = &[
    Field::new("started", Kind::Moment, "STARTED (UTC)").also(&["newest"]),
    Field::new("job", Kind::Words, "JOB").also(&["name", "id"]),
    Field::new("state", Kind::Words, "STATE").also(&["status"]),
    Field::new("what", Kind::Words, "WHAT"),
    Field::new("done", Kind::Percent, "DONE"),
    Field::new("rate", Kind::Count, "RECORDS/S").also(&["records"]),
    Field::new("left", Kind::Duration, "LEFT"),
    Field::new("dead", Kind::Count, "DEAD"),
    Field::new("kind", Kind::Words, ""),
    Field::new("table", Kind::Words, ""),
    Field::new("stream", Kind::Words, ""),
    Field::new("age", Kind::Duration, ""),
    Field::new("read", Kind::Count, ""),
    Field::new("written", Kind::Count, ""),
    Field::new("throttled", Kind::Count, ""),
];

const LETTERS: &[Field] = &[
    Field::new("number", Kind::Count, "NO.").also(&["no"]),
    Field::new("where", Kind::Words, "WHERE").also(&["source"]),
    Field::new("state", Kind::Words, "STATE").also(&["status"]),
    Field::new("reason", Kind::Words, "REASON"),
    Field::new("record", Kind::Words, "RECORD"),
    Field::new("line", Kind::Count, ""),
    Field::new("size", Kind::Bytes, "").also(&["bytes"]),
    Field::new("age", Kind::Duration, ""),
];

const EVENT_TABLES: &[Field] = &[
    Field::new("name", Kind::Words, "EVENT TABLE").also(&["table"]),
    Field::new("layout", Kind::Words, "LAYOUT"),
    Field::new("items", Kind::Count, "ITEMS"),
    Field::new("size", Kind::Bytes, "SIZE").also(&["bytes"]),
];

impl List {
    /// The list of a screen.
    pub fn of(screen: &Screen) -> Option<Self> {
        Some(match screen {
            Screen::Tables => Self::Tables,
            Screen::Streams => Self::Streams,
            Screen::Stream(_) => Self::Shards,
            Screen::Mappings(_) => Self::Mappings,
            Screen::Jobs => Self::Jobs,
            Screen::Dead(_) => Self::Letters,
            Screen::EventTables => Self::EventTables,
            _ => return None,
        })
    }

    /// What it can be filtered by; the first is the order that its rows come in.
    pub fn fields(self) -> &'static [Field] {
        match self {
            Self::Tables => TABLES,
            Self::Streams => STREAMS,
            Self::Shards => SHARDS,
            Self::Mappings => MAPPINGS,
            Self::Jobs => JOBS,
            Self::Letters => LETTERS,
            Self::EventTables => EVENT_TABLES,
        }
    }

    /// What it can be sorted by: the columns on screen, where it holds several regions theirs too.
    pub fn columns(self, is_many: bool) -> impl Iterator<Item = &'static Field> + Clone {
        self.fields().iter().filter(move |field| !field.title.is_empty() && (is_many || field.title != REGION))
    }

    /// As the memory and messages name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tables => "tables",
            Self::Streams => "streams",
            Self::Shards => "shards",
            Self::Mappings => "mappings",
            Self::Jobs => "jobs",
            Self::Letters => "dead letters",
            Self::EventTables => "event tables",
        }
    }

    /// The column that `list` is sorted by.
    pub fn sorted_by(self, list: &Listing) -> &'static Field {
        let fields = self.fields();
        list.sort.by.and_then(|name| fields.iter().find(|field| field.name == name)).unwrap_or(&fields[0])
    }

    /// Sorts `list` by the column so many further on.
    pub fn next_sort(self, list: &mut Listing, is_many: bool, by: isize) {
        let columns: Vec<&Field> = self.columns(is_many).collect();
        let here = self.sorted_by(list).name;
        let at = columns.iter().position(|field| field.name == here).unwrap_or(0);
        let to = (at as isize + by).rem_euclid(columns.len().max(1) as isize) as usize;
        list.sort.by = columns.get(to).map(|field| field.name);
        list.sort.reversed = false;
    }

    /// True when the largest comes first. Numbers begin so, texts don't.
    pub fn is_falling(self, list: &Listing) -> bool {
        let field = self.sorted_by(list);
        let rises = matches!(field.kind, Kind::Words) || self == Self::Letters && field.name == "number";
        rises == list.sort.reversed
    }
}

/// The rows of a list, filtered and in their order.
#[derive(Clone, Debug)]
pub struct Arranged<R> {
    /// Those that are shown.
    pub rows: Vec<R>,
    /// Those of which it is not known yet whether they are.
    pub unknown: Vec<R>,
}

enum Key {
    Number(f64),
    Text(String),
}

/// Filters and sorts `rows`, which come in the order of the list's first column.
pub fn arrange<R: Row>(kind: List, list: &Listing, rows: impl Iterator<Item = R>) -> Arranged<R> {
    let filter = list.filter.filter();
    let (mut shown, mut unknown) = (Vec::new(), Vec::new());
    for row in rows {
        match filter.verdict(&row) {
            Verdict::Yes => shown.push(row),
            Verdict::No => {}
            Verdict::Unknown => unknown.push(row),
        }
    }
    let field = kind.sorted_by(list).name;
    if field == kind.fields()[0].name {
        if list.sort.reversed {
            shown.reverse();
        }
        return Arranged { rows: shown, unknown };
    }
    let key = |row: &R| match row.value(field) {
        Value::Text(text) => Some(Key::Text(text.to_lowercase())),
        Value::Texts(texts) => texts.first().map(|text| Key::Text(text.to_lowercase())),
        Value::Number(number) => Some(Key::Number(number)),
        Value::Nothing | Value::Unknown => None,
    };
    let mut keyed: Vec<(Option<Key>, R)> = shown.into_iter().map(|row| (key(&row), row)).collect();
    let is_falling = kind.is_falling(list);
    keyed.sort_by(|(a, _), (b, _)| {
        let by = match (a, b) {
            (Some(Key::Number(a)), Some(Key::Number(b))) => a.total_cmp(b),
            (Some(Key::Text(a)), Some(Key::Text(b))) => a.cmp(b),
            // Whatever the order, what has no value comes last.
            (a, b) => return a.is_none().cmp(&b.is_none()),
        };
        if is_falling { by.reverse() } else { by }
    });
    Arranged { rows: keyed.into_iter().map(|(_, row)| row).collect(), unknown }
}

impl App {
    /// How a list is filtered and sorted, and what is selected.
    pub fn listing(&self, list: List) -> &Listing {
        match list {
            List::Tables => &self.tables_list,
            List::Streams => &self.streams_list,
            List::Shards => &self.at_stream.list,
            List::Mappings => &self.at_stream.mappings_list,
            List::Jobs => &self.jobs_list,
            List::Letters => &self.letters_list,
            List::EventTables => &self.event_tables_list,
        }
    }

    /// The same, to be changed.
    pub fn listing_mut(&mut self, list: List) -> &mut Listing {
        match list {
            List::Tables => &mut self.tables_list,
            List::Streams => &mut self.streams_list,
            List::Shards => &mut self.at_stream.list,
            List::Mappings => &mut self.at_stream.mappings_list,
            List::Jobs => &mut self.jobs_list,
            List::Letters => &mut self.letters_list,
            List::EventTables => &mut self.event_tables_list,
        }
    }

    /// The list on screen, to be changed.
    pub fn list_on_screen(&mut self) -> Option<(List, &mut Listing)> {
        let list = List::of(&self.screen)?;
        Some((list, self.listing_mut(list)))
    }

    /// The dead letters that are shown, in their order.
    pub fn shown_letters(&self) -> Vec<&DeadLetter> {
        let Screen::Dead(id) = &self.screen else { return Vec::new() };
        let letters = self.letters.as_ref().filter(|letters| letters.job == *id);
        letters.map_or_else(Vec::new, |letters| letters.shown(&self.letters_list, self.now_ms))
    }

    /// The selected dead letter.
    pub fn selected_letter(&self) -> Option<&DeadLetter> {
        let rows = self.shown_letters();
        rows.get(self.letters_list.index(rows.iter().map(|letter| letter.number.to_string()))).copied()
    }

    /// The event tables that are shown, in their order.
    pub fn shown_event_tables(&self) -> Vec<(&Table, Layout)> {
        let rows = super::playback::event_tables(self).into_iter().map(|(table, layout)| EventRow { table, layout });
        let arranged = arrange(List::EventTables, &self.event_tables_list, rows);
        arranged.rows.into_iter().map(|row| (row.table, row.layout)).collect()
    }

    /// The selected event table.
    pub fn selected_event_table(&self) -> Option<String> {
        let rows = self.shown_event_tables();
        let at = self.event_tables_list.index(rows.iter().map(|(table, _)| table.name.as_str()));
        rows.get(at).map(|(table, _)| table.name.clone())
    }

    /// The event source mappings that are shown, in their order, each with its iterator age in ms.
    pub fn shown_mappings(&self) -> Vec<&(Mapping, Option<f64>)> {
        let known = self.at_stream.mappings.iter().flatten().flatten();
        let mut rows: Vec<MappingRow<'_>> = known.map(MappingRow).collect();
        rows.sort_by_key(|row| row.0.0.function());
        let arranged = arrange(List::Mappings, &self.at_stream.mappings_list, rows.into_iter());
        arranged.rows.into_iter().map(|row| row.0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::app::Place;
    use crate::console::listing::Sort;
    use crate::console::theme::Theme;
    use crate::console::{fixture, keymap};

    #[test]
    fn every_column_can_be_sorted_by_both_ways_and_comes_round() {
        for (list, is_many) in LISTS.into_iter().flat_map(|list| [(list, false), (list, true)]) {
            let mut listing = Listing::default();
            let mut seen = Vec::new();
            for _ in list.columns(is_many) {
                seen.push(list.sorted_by(&listing).name);
                list.next_sort(&mut listing, is_many, 1);
            }
            let names: Vec<&str> = list.columns(is_many).map(|field| field.name).collect();
            assert_eq!(seen, names, "{list:?}");
            assert_eq!(list.sorted_by(&listing).name, names[0]);
            list.next_sort(&mut listing, is_many, -1);
            assert_eq!(Some(&list.sorted_by(&listing).name), names.last());
            let has_regions = is_many && matches!(list, List::Tables | List::Streams);
            assert_eq!(names.contains(&"region"), has_regions, "{list:?}");
        }
    }

    #[test]
    fn numbers_fall_and_texts_rise_until_they_are_reversed_and_what_is_unknown_stays_last() {
        let place = Place { region: "eu-west-1".into(), context: fixture::context(), ..Place::default() };
        let mut app = App::new(place, keymap::load(None).unwrap(), Theme::plain(true), Screen::Tables, 0);
        app.table_names.rows = Some(["historical", "quotes", "sessions"].map(String::from).to_vec());
        app.tables.rows = Some(fixture::tables()[..2].to_vec());
        let mut names = |by, reversed| {
            app.tables_list.sort = Sort { by, reversed };
            app.table_rows().iter().map(|row| row.name.to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(names(Some("items"), false), ["quotes", "historical", "sessions"]);
        assert_eq!(names(Some("items"), true), ["historical", "quotes", "sessions"]);
        assert_eq!(names(None, true), ["sessions", "quotes", "historical"]);
    }
}
