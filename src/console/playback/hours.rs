//! What is counted of a time line: hours of the directory, read lazily, coarse first, and kept within bounds.

use std::collections::{BTreeMap, BTreeSet};

use crate::event::Slot;
use crate::event::read::SlotCount;

const HOUR: i64 = 3_600_000_000;
const MINUTE: i64 = 60_000_000;

/// Hours that are asked for at once.
const AT_ONCE: usize = 24;
/// Hours that are kept: more than two years of them.
const MOST: usize = 20_000;
/// Hours whose slots are kept.
const MOST_WITH_SLOTS: usize = 24;

/// An hour of the directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HourSummary {
    /// By its start.
    pub hour: Slot,
    /// Events of each minute.
    pub minutes: Vec<u32>,
    /// Its slots, where they were asked for.
    pub slots: Option<Vec<SlotCount>>,
}

impl HourSummary {
    /// Sums `slots` of `hour` up; keeps them when `keep`.
    pub fn of(hour: Slot, slots: Vec<SlotCount>, keep: bool) -> Self {
        let mut minutes = vec![0_u32; 60];
        for slot in &slots {
            let at = (slot.first.as_microsecond() - hour.start_us).clamp(0, HOUR - 1) / MINUTE;
            let count = u32::try_from(slot.count.unwrap_or(0)).unwrap_or(u32::MAX);
            let minute = &mut minutes[at as usize];
            *minute = minute.saturating_add(count);
        }
        Self { hour, minutes, slots: keep.then_some(slots) }
    }
}

/// A column of the time line.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Column {
    /// Events in it, as far as they are counted.
    pub count: f64,
    /// The part of it that is counted, 0 to 1.
    pub known: f64,
}

/// The hours that are counted.
#[derive(Clone, Debug, Default)]
pub struct Hours {
    hours: BTreeMap<i64, HourSummary>,
    /// Those that are to be counted again.
    stale: BTreeSet<i64>,
}

impl Hours {
    /// The hours that a window needs and that are not there, at most so many that one read is short: spread over it, so
    /// that all of it is seen coarsely first.
    pub fn missing(&self, from_us: i64, to_us: i64, slots: bool) -> Vec<Slot> {
        let (first, end) = (from_us.div_euclid(HOUR), (to_us + HOUR - 1).div_euclid(HOUR));
        let is_missing = |hour: &i64| match self.hours.get(&(hour * HOUR)) {
            Some(known) => slots && known.slots.is_none() || self.stale.contains(&(hour * HOUR)),
            None => true,
        };
        let mut stride = 1;
        while (end - first) / stride > AT_ONCE as i64 {
            stride *= 2;
        }
        let mut missing = Vec::new();
        // Every 512th, then those half way between, and so on.
        while stride >= 1 && missing.len() < AT_ONCE {
            let aligned = first.div_euclid(stride) * stride;
            let these = (0..).map(|n| aligned + n * stride).take_while(|hour| *hour < end);
            for hour in these.filter(|hour| *hour >= first && is_missing(hour)) {
                if missing.len() < AT_ONCE && !missing.contains(&hour) {
                    missing.push(hour);
                }
            }
            stride /= 2;
        }
        missing.into_iter().map(|hour| Slot { start_us: hour * HOUR }).collect()
    }

    /// Keeps what was read, and lets go of what is far from the window.
    pub fn keep(&mut self, hours: Vec<HourSummary>, from_us: i64, to_us: i64) {
        for hour in hours {
            self.stale.remove(&hour.hour.start_us);
            self.hours.insert(hour.hour.start_us, hour);
        }
        let far = |at: i64| if at < from_us { from_us - at } else { (at - to_us).max(0) };
        while self.hours.len() > MOST {
            let ends = [self.hours.keys().next(), self.hours.keys().next_back()];
            let Some(furthest) = ends.into_iter().flatten().copied().max_by_key(|at| far(*at)) else { return };
            self.hours.remove(&furthest);
            self.stale.remove(&furthest);
        }
        let mut with_slots: Vec<i64> =
            self.hours.values().filter(|h| h.slots.is_some()).map(|h| h.hour.start_us).collect();
        with_slots.sort_by_key(|at| far(*at));
        for at in with_slots.into_iter().skip(MOST_WITH_SLOTS) {
            if let Some(hour) = self.hours.get_mut(&at) {
                hour.slots = None;
            }
        }
    }

    /// What was counted from `us` on may have changed: it is shown until it is counted again.
    pub fn forget_after(&mut self, us: i64) {
        self.stale.extend(self.hours.range(us.div_euclid(HOUR).saturating_mul(HOUR)..).map(|(at, _)| *at));
    }

    /// The shortest distance of two slots, µs: the length of a slot, where two are neighbours.
    pub fn slot_us(&self) -> Option<i64> {
        let slots = self.hours.values().filter_map(|hour| hour.slots.as_ref());
        slots.flat_map(|slots| slots.windows(2)).map(|two| two[1].slot.start_us - two[0].slot.start_us).min()
    }

    /// The window in `width` columns.
    pub fn columns(&self, from_us: i64, span_us: i64, width: usize) -> Vec<Column> {
        let mut columns = vec![Column::default(); width];
        if width == 0 {
            return columns;
        }
        let column = |us: i64| {
            let at = i128::from(us - from_us) * width as i128 / i128::from(span_us.max(1));
            usize::try_from(at.clamp(0, width as i128 - 1)).unwrap_or(0)
        };
        let to_us = from_us + span_us;
        let mut parts = vec![0_u32; width];
        for hour in from_us.div_euclid(HOUR)..(to_us + HOUR - 1).div_euclid(HOUR) {
            let start = hour * HOUR;
            let (first, last) = (column(start.max(from_us)), column((start + HOUR).min(to_us) - 1));
            let known = self.hours.get(&start);
            for at in first..=last {
                parts[at] += 1;
                columns[at].known += f64::from(u8::from(known.is_some()));
            }
            let Some(known) = known else { continue };
            match &known.slots {
                Some(slots) => {
                    for slot in slots {
                        let (from, to) = (slot.first.as_microsecond(), slot.last.as_microsecond());
                        if to < from_us || from >= to_us {
                            continue;
                        }
                        // A slot that is wider than a column is spread over those it may be in.
                        let (first, last) = (column(from.max(from_us)), column(to.min(to_us - 1)));
                        let inside = (to.min(to_us - 1) - from.max(from_us) + 1) as f64 / (to - from + 1) as f64;
                        let each = slot.count.unwrap_or(0) as f64 * inside / (last - first + 1) as f64;
                        columns[first..=last].iter_mut().for_each(|column| column.count += each);
                    }
                }
                None => {
                    for (minute, count) in known.minutes.iter().enumerate().filter(|(_, count)| **count > 0) {
                        let at = start + minute as i64 * MINUTE;
                        if at + MINUTE <= from_us || at >= to_us {
                            continue;
                        }
                        let (first, last) = (column(at.max(from_us)), column((at + MINUTE).min(to_us) - 1));
                        let each = f64::from(*count) / (last - first + 1) as f64;
                        columns[first..=last].iter_mut().for_each(|column| column.count += each);
                    }
                }
            }
        }
        for (column, parts) in columns.iter_mut().zip(parts) {
            column.known /= f64::from(parts.max(1));
        }
        columns
    }

    /// The part of a window that is counted, 0 to 1.
    pub fn known(&self, from_us: i64, to_us: i64) -> f64 {
        let hours = from_us.div_euclid(HOUR)..(to_us + HOUR - 1).div_euclid(HOUR);
        let all = hours.end - hours.start;
        if all <= 0 {
            return 1.0;
        }
        let known = self.hours.range(hours.start * HOUR..hours.end * HOUR).count();
        known as f64 / all.max(1) as f64
    }

    /// Events counted in a window, as far as it is counted: whole hours at its ends.
    pub fn total(&self, from_us: i64, to_us: i64) -> f64 {
        self.columns(from_us, to_us - from_us, 1).first().map_or(0.0, |column| column.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hour(n: i64, counts: &[(i64, u64)], keep: bool) -> HourSummary {
        let slots = counts.iter().map(|(second, count)| {
            let slot = Slot { start_us: n * HOUR + second * 1_000_000 };
            let last = Slot { start_us: slot.start_us + 999_999 }.start();
            SlotCount { slot, count: Some(*count), first: slot.start(), last }
        });
        HourSummary::of(Slot { start_us: n * HOUR }, slots.collect(), keep)
    }

    #[test]
    fn a_year_is_read_coarse_first_and_a_few_hours_at_a_time() {
        let mut hours = Hours::default();
        let year = 8760 * HOUR;
        let first = hours.missing(0, year, false);
        assert!(first.len() <= AT_ONCE && first.len() > AT_ONCE / 2, "{}", first.len());
        let last = first.iter().map(|slot| slot.start_us).max().unwrap();
        assert!(last > year / 10 * 8, "the first read reaches over the whole year");
        let mut reads = 0;
        loop {
            let missing = hours.missing(0, year, false);
            if missing.is_empty() {
                break;
            }
            reads += 1;
            hours.keep(missing.into_iter().map(|slot| hour(slot.start_us / HOUR, &[], false)).collect(), 0, year);
        }
        assert_eq!((hours.hours.len(), reads), (8760, 8760_usize.div_ceil(AT_ONCE)));
        assert_eq!(hours.known(0, year), 1.0);
    }

    #[test]
    fn columns_count_what_is_in_them_and_say_what_is_not_counted() {
        let mut hours = Hours::default();
        hours.keep(vec![hour(10, &[(0, 3), (1800, 5)], false)], 10 * HOUR, 12 * HOUR);
        let columns = hours.columns(10 * HOUR, 2 * HOUR, 4);
        let counts: Vec<f64> = columns.iter().map(|column| column.count).collect();
        let known: Vec<f64> = columns.iter().map(|column| column.known).collect();
        assert_eq!((counts, known), (vec![3.0, 5.0, 0.0, 0.0], vec![1.0, 1.0, 0.0, 0.0]));
    }

    #[test]
    fn a_narrow_window_needs_slots_and_a_wide_one_does_not() {
        let mut hours = Hours::default();
        hours.keep(vec![hour(10, &[(61, 8)], false)], 10 * HOUR, 11 * HOUR);
        assert!(hours.missing(10 * HOUR, 11 * HOUR, false).is_empty());
        assert_eq!(hours.missing(10 * HOUR, 11 * HOUR, true).len(), 1);
        hours.keep(vec![hour(10, &[(61, 8)], true)], 10 * HOUR, 11 * HOUR);
        assert!(hours.missing(10 * HOUR, 11 * HOUR, true).is_empty());
        // One minute, a column a second: the slot is in the second one.
        let columns = hours.columns(10 * HOUR + MINUTE, MINUTE, 60);
        assert_eq!((columns[1].count, columns[0].count, columns[2].count), (8.0, 0.0, 0.0));
    }

    #[test]
    fn what_may_have_changed_is_counted_again() {
        let mut hours = Hours::default();
        hours.keep(vec![hour(10, &[], true), hour(11, &[], true), hour(12, &[], true)], 10 * HOUR, 13 * HOUR);
        hours.forget_after(11 * HOUR + 5);
        assert_eq!(hours.missing(10 * HOUR, 13 * HOUR, true).len(), 2);
        // Until then it is shown as it was.
        assert_eq!(hours.known(10 * HOUR, 13 * HOUR), 1.0);
        hours.keep(vec![hour(11, &[], true), hour(12, &[], true)], 10 * HOUR, 13 * HOUR);
        assert!(hours.missing(10 * HOUR, 13 * HOUR, true).is_empty());
    }
}
