//! A list on screen: what is selected, how it is sorted, which rows are shown.

use super::filter::Search;

/// What a list is sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sort {
    /// The column's name; `None` is the order that the rows come in.
    pub by: Option<&'static str>,
    /// The other way round than the column begins with.
    pub reversed: bool,
}

/// The state of one list. The selection is a name, so that it stays on its row when rows move.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// The selected row's name; `None` is the first.
    pub selected: Option<String>,
    /// Where the selected row was when it was selected: what is selected when it is gone.
    at: usize,
    /// What it is sorted by.
    pub sort: Sort,
    /// Which rows are shown.
    pub filter: Search,
}

impl Listing {
    /// Where the selected row is among `names`; where it was when it is gone.
    pub fn index<N: AsRef<str>>(&self, names: impl IntoIterator<Item = N>) -> usize {
        let Some(selected) = self.selected.as_deref() else { return 0 };
        let mut rows: usize = 0;
        for name in names {
            if name.as_ref() == selected {
                return rows;
            }
            rows += 1;
        }
        self.at.min(rows.saturating_sub(1))
    }

    /// Moves the selection by `rows` among `names`, stopping at the ends.
    pub fn step(&mut self, names: &[String], rows: isize) {
        let at = self.index(names);
        let to = at.saturating_add_signed(rows).min(names.len().saturating_sub(1));
        self.selected = names.get(to).cloned();
        self.at = to;
    }

    /// Selects the row of that name.
    pub fn select(&mut self, name: impl Into<String>) {
        self.selected = Some(name.into());
        self.at = 0;
    }

    /// Selects the first row.
    pub fn select_first(&mut self) {
        self.selected = None;
        self.at = 0;
    }
}

/// What was asked of AWS for a list, and what came of it.
#[derive(Clone, Debug)]
pub struct Loaded<T> {
    /// The newest answer; it stays when later questions fail.
    pub rows: Option<Vec<T>>,
    /// When it came, ms since epoch.
    pub at_ms: i64,
    /// When a question was sent that has no answer yet, ms since epoch.
    pub asked_ms: Option<i64>,
    /// The newest question: answers to others are dropped.
    pub request: super::effect::Request,
}

impl<T> Default for Loaded<T> {
    fn default() -> Self {
        Self { rows: None, at_ms: i64::MIN, asked_ms: None, request: super::effect::Request::default() }
    }
}

impl<T> Loaded<T> {
    /// True when it is time to ask: the last answer is `every_ms` old, and no question is under way for 30 s.
    pub fn is_due(&self, now_ms: i64, every_ms: i64) -> bool {
        match self.asked_ms {
            Some(asked) => now_ms - asked > 30_000,
            None => now_ms.saturating_sub(self.at_ms) >= every_ms,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_selection_stays_on_its_name_when_rows_move() {
        let mut listing = Listing::default();
        let names = ["a", "b", "c"].map(String::from);
        listing.step(&names, 1);
        assert_eq!(listing.index(["c", "b", "a"]), 1);
        assert_eq!(listing.index(["c", "a", "b"]), 2);
        assert_eq!(listing.index(["c"]), 0);
        assert_eq!(listing.index(["c", "d", "e"]), 1, "a row that is gone leaves the selection where it was");
        listing.step(&names, 100);
        assert_eq!(listing.selected.as_deref(), Some("c"));
        listing.step(&[], 1);
        assert_eq!(listing.selected, None);
    }

    #[test]
    fn a_question_without_an_answer_is_asked_again_after_half_a_minute() {
        let mut loaded = Loaded::<()>::default();
        assert!(loaded.is_due(0, 5000));
        loaded.asked_ms = Some(0);
        assert!(!loaded.is_due(29_000, 5000));
        assert!(loaded.is_due(30_001, 5000));
        loaded.asked_ms = None;
        loaded.at_ms = 30_000;
        assert!(!loaded.is_due(34_000, 5000));
        assert!(loaded.is_due(35_000, 5000));
    }
}
