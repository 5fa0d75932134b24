//! The dead letters on screen: which are shown, in which order. A thousand records of some kibibytes are not escaped and
//! searched for each frame: what is looked for in them is made once, and what was found stays until something else is
//! looked for.

use std::borrow::Cow;
use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;

use super::{List, arrange};
use crate::console::filter::{Filter, Row, Value};
use crate::console::listing::{Listing, Sort};
use crate::console::view;
use crate::console::widget::text::shown_bytes;
use crate::jobs::JobId;
use crate::jobs::journal::DeadLetter;

/// What stands further inside a record, bytes, is not looked for.
const SEARCHED: usize = 4096;

/// Dead letters of a job.
#[derive(Debug)]
pub struct Letters {
    /// The job that met them.
    pub job: JobId,
    /// The first of them, in the order of their numbers.
    pub rows: Vec<DeadLetter>,
    /// How many there are.
    pub total: u64,
    /// Of each row what words are looked for in; made when there are some.
    searched: OnceCell<Vec<Searched>>,
    arranged: RefCell<Option<Arrangement>>,
}

/// What is looked through of a letter, escaped and in lower case.
#[derive(Debug)]
struct Searched {
    text: String,
    /// Where its record begins in that, bytes.
    record_at: usize,
}

/// Which rows are shown, and what that follows from.
#[derive(Debug)]
struct Arrangement {
    filter: Filter,
    sort: Sort,
    /// Now, where the filter compares ages; ms since epoch.
    aged_ms: Option<i64>,
    rows: Vec<usize>,
}

impl Letters {
    /// The first `rows` of `total` letters.
    pub fn new(job: JobId, rows: Vec<DeadLetter>, total: u64) -> Self {
        Self { job, rows, total, searched: OnceCell::new(), arranged: RefCell::default() }
    }

    /// The same, with what was made of those that were there `before`: a job that runs on meets a few more each second.
    pub fn after(self, before: Option<Self>) -> Self {
        let Some(before) = before.filter(|before| before.job == self.job) else { return self };
        if let Some(searched) = before.searched.into_inner() {
            let known = before.rows.into_iter().zip(searched);
            let mut known: HashMap<i64, (Option<String>, Searched)> =
                known.map(|(dead, searched)| (dead.number, (dead.tried, searched))).collect();
            // Of a letter nothing changes that is looked through but what came of trying it.
            let again = self.rows.iter().map(|dead| match known.remove(&dead.number) {
                Some((tried, searched)) if tried == dead.tried => searched,
                _ => Searched::of(dead),
            });
            let searched = OnceCell::from(again.collect::<Vec<_>>());
            return Self { searched, ..self };
        }
        self
    }

    /// Those that are shown, in their order.
    pub fn shown(&self, list: &Listing, now_ms: i64) -> Vec<&DeadLetter> {
        let filter = list.filter.filter();
        let aged_ms = filter.compares("age").then_some(now_ms);
        let mut arranged = self.arranged.borrow_mut();
        let is_it = |kept: &Arrangement| kept.filter == *filter && kept.sort == list.sort && kept.aged_ms == aged_ms;
        let kept = match arranged.take().filter(is_it) {
            Some(kept) => kept,
            None => Arrangement { filter: filter.clone(), sort: list.sort, aged_ms, rows: self.arrange(list, now_ms) },
        };
        let shown = kept.rows.iter().map(|at| &self.rows[*at]).collect();
        *arranged = Some(kept);
        shown
    }

    fn arrange(&self, list: &Listing, now_ms: i64) -> Vec<usize> {
        let rows = (0..self.rows.len()).map(|at| LetterRow { letters: self, at, now_ms });
        arrange(List::Letters, list, rows).rows.into_iter().map(|row| row.at).collect()
    }

    fn searched(&self) -> &[Searched] {
        self.searched.get_or_init(|| self.rows.iter().map(Searched::of).collect())
    }
}

impl Searched {
    fn of(dead: &DeadLetter) -> Self {
        let letter = &dead.letter;
        let tried = dead.tried.as_deref().unwrap_or_default();
        let mut text = format!("{} {} {tried} ", view::dead::place(letter), letter.reason).to_lowercase();
        let record_at = text.len();
        let record = &letter.payload[..letter.payload.len().min(SEARCHED)];
        text.push_str(&shown_bytes(record).to_lowercase());
        Self { text, record_at }
    }
}

struct LetterRow<'a> {
    letters: &'a Letters,
    at: usize,
    now_ms: i64,
}

impl LetterRow<'_> {
    fn dead(&self) -> &DeadLetter {
        &self.letters.rows[self.at]
    }

    fn searched(&self) -> &Searched {
        &self.letters.searched()[self.at]
    }
}

impl Row for LetterRow<'_> {
    fn text(&self) -> Cow<'_, str> {
        self.searched().text.as_str().into()
    }

    fn lower(&self) -> Cow<'_, str> {
        self.text()
    }

    fn value(&self, field: &str) -> Value<'_> {
        let dead = self.dead();
        match field {
            "number" => Value::Number(dead.number as f64),
            "where" => Value::Text(view::dead::place(&dead.letter).into()),
            "state" => Value::text(dead.state()),
            "reason" => Value::text(dead.tried.as_ref().unwrap_or(&dead.letter.reason)),
            "record" => {
                let searched = self.searched();
                Value::text(&searched.text[searched.record_at..])
            }
            "line" => Value::number(dead.letter.line.map(|n| n as f64)),
            "size" => Value::Number(dead.letter.payload.len() as f64),
            "age" => Value::Number((self.now_ms - dead.at_ms).max(0) as f64),
            _ => Value::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::fixture;

    fn dead(number: i64, reason: &str, payload: &'static [u8]) -> DeadLetter {
        DeadLetter {
            number,
            job: JobId("r-1".into()),
            at_ms: number * 1000,
            letter: fixture::letter(reason, payload),
            draft: None,
            tried: None,
            fate: None,
        }
    }

    fn letters(rows: Vec<DeadLetter>) -> Letters {
        let total = rows.len() as u64;
        Letters::new(JobId("r-1".into()), rows, total)
    }

    fn numbers(letters: &Letters, list: &Listing, now_ms: i64) -> Vec<i64> {
        letters.shown(list, now_ms).iter().map(|dead| dead.number).collect()
    }

    fn listing(filter: &str) -> Listing {
        let mut list = Listing::default();
        list.filter.set(filter, List::Letters.fields());
        list
    }

    #[test]
    fn what_is_shown_follows_the_filter_and_the_order_as_soon_as_they_change() {
        let some = letters(vec![dead(1, "no key", b"Zebra"), dead(2, "no key", b"apple\x1b"), dead(3, "empty", b"")]);
        assert_eq!(numbers(&some, &listing(""), 0), [1, 2, 3]);
        assert_eq!(numbers(&some, &listing("KEY"), 0), [1, 2]);
        assert_eq!(numbers(&some, &listing("key zebra"), 0), [1]);
        assert_eq!(numbers(&some, &listing("\\u{1b}"), 0), [2]);
        assert_eq!(numbers(&some, &listing("record=apple*"), 0), [2]);
        let mut list = listing("key");
        list.sort.by = Some("record");
        assert_eq!(numbers(&some, &list, 0), [2, 1]);
        list.sort.reversed = true;
        assert_eq!(numbers(&some, &list, 0), [1, 2]);
        assert_eq!(numbers(&some, &listing(""), 0), [1, 2, 3]);
    }

    #[test]
    fn an_age_that_is_compared_goes_on_with_the_time() {
        let some = letters(vec![dead(1, "x", b""), dead(2, "x", b"")]);
        assert_eq!(numbers(&some, &listing("age>10s"), 11_500), [1]);
        assert_eq!(numbers(&some, &listing("age>10s"), 12_500), [1, 2]);
    }

    #[test]
    fn a_thousand_records_are_gone_through_once_for_each_thing_that_is_looked_for() {
        let some = letters((0..1_000).map(|n| dead(n, "x", b"{}")).collect());
        assert_eq!(numbers(&some, &listing(""), 0).len(), 1_000);
        assert!(some.searched.get().is_none(), "without words nothing is escaped");
        assert_eq!(numbers(&some, &listing("{}"), 0).len(), 1_000);
        // What was found stays: a row that would no longer be found is still shown.
        if let Some(kept) = &mut *some.arranged.borrow_mut() {
            kept.rows = vec![7];
        }
        assert_eq!(numbers(&some, &listing("{}"), 60_000), [7]);
        assert_eq!(numbers(&some, &listing("{} x"), 60_000).len(), 1_000);
    }

    #[test]
    fn letters_that_come_again_keep_what_was_made_of_them_unless_they_were_tried() {
        let first = letters(vec![dead(1, "x", b"one"), dead(2, "x", b"two")]);
        assert_eq!(numbers(&first, &listing("one"), 0), [1]);
        let tried = DeadLetter { tried: Some("one key is missing".into()), ..dead(2, "x", b"two") };
        let again = letters(vec![dead(1, "x", b"one"), tried, dead(3, "x", b"one more")]).after(Some(first));
        assert!(again.searched.get().is_some());
        assert_eq!(numbers(&again, &listing("one"), 0), [1, 2, 3]);
        let other = Letters::new(JobId("r-2".into()), vec![dead(1, "x", b"else")], 1).after(Some(again));
        assert_eq!(numbers(&other, &listing("else"), 0), [1]);
    }
}
