//! Charts as numbers, a line a period: what the screens of one table and of one stream print alike.

use std::collections::BTreeSet;
use std::time::Duration;

use super::print::{self, Columns};
use super::report::Report;
use crate::cloud::metrics::{self, Point};

/// The periods of `CloudWatch`'s that are asked for.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// Start of the first whole minute, ms since epoch.
    pub from_ms: i64,
    /// End of the last whole minute, ms since epoch.
    pub to_ms: i64,
    /// Length of a period, s.
    pub period_s: i32,
}

impl Window {
    /// The whole minutes of the time `over` before `now_ms`, one at least.
    pub fn before(now_ms: i64, over: Duration) -> Self {
        let window = i64::try_from(over.as_millis()).unwrap_or(i64::MAX).max(60_000);
        let to_ms = now_ms / 60_000 * 60_000;
        let from_ms = to_ms.saturating_sub(window).max(0) / 60_000 * 60_000;
        Self { from_ms, to_ms, period_s: metrics::period_s(from_ms, to_ms, now_ms) }
    }
}

/// The moments at which any of `lines` has a point, in order, ms since epoch.
pub fn times<'a>(lines: impl IntoIterator<Item = &'a Vec<Point>>) -> BTreeSet<i64> {
    lines.into_iter().flatten().map(|(at, _)| *at).collect()
}

/// What a line has at a moment.
pub fn at(line: &[Point], at_ms: i64) -> Option<f64> {
    line.iter().find(|(at, _)| *at == at_ms).map(|(_, value)| *value)
}

/// The start of a period in a column: to the minute, of a time in RFC 3339.
pub fn start(time: &str) -> String {
    time.chars().take(16).collect::<String>().replace('T', " ")
}

/// Prints `columns`, a line a period, below what was printed before, or that there is no such line.
pub fn show(columns: &Columns, is_empty: bool) -> Result<(), Report> {
    if is_empty {
        return print::line("CloudWatch has nothing of it in this time: --over 3h looks further back");
    }
    print::line("")?;
    print::columns(columns)
}
