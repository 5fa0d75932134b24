//! A list on screen: what is selected, how it is sorted, which names are shown.

/// The state of one list. The selection is a name, so that it stays on its row when rows move.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// The selected row's name; `None` is the first.
    pub selected: Option<String>,
    /// The column that it is sorted by, from 0.
    pub sort: usize,
    /// Only names that contain this are shown; empty shows all.
    pub filter: String,
}

impl Listing {
    /// Where the selected row is among `names`, 0 when it is gone.
    pub fn index<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> usize {
        let Some(selected) = self.selected.as_deref() else { return 0 };
        names.into_iter().position(|name| name == selected).unwrap_or(0)
    }

    /// Moves the selection by `rows` among `names`, stopping at the ends.
    pub fn step(&mut self, names: &[String], rows: isize) {
        let at = self.index(names.iter().map(String::as_str));
        let to = at.saturating_add_signed(rows).min(names.len().saturating_sub(1));
        self.selected = names.get(to).cloned();
    }

    /// True when a row of this name is shown. Upper and lower case are the same.
    pub fn shows(&self, name: &str) -> bool {
        self.filter.is_empty() || name.to_lowercase().contains(&self.filter.to_lowercase())
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
        assert_eq!(listing.index(["c"]), 0, "a row that is gone gives the selection back to the first");
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
