//! Who reads which shard of a stream that several workers share.
//!
//! ```text
//! ├ readers ─────────── 20 shards, 4 workers ┤
//! │ 000  this worker            12.3 s       │
//! │ 001  db-7/w-91c0aa/5f21c8                │
//! │ 002  nobody                              │
//! ```

use std::collections::BTreeSet;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::streams::BEHIND_MS;
use crate::console::app::App;
use crate::console::history::History;
use crate::console::widget::quantity::duration;
use crate::console::widget::text::{clip, shown};
use crate::console::widget::{write, write_right};
use crate::jobs::journal::Holder;

/// How many shards and workers there are.
pub fn summary(past: &History) -> String {
    let workers: BTreeSet<&str> = past.holders.iter().filter_map(|holder| holder.worker.as_deref()).collect();
    let (shards, workers) = (past.holders.len(), workers.len());
    let s = |n: usize| if n == 1 { "" } else { "s" };
    format!("{shards} shard{}, {workers} worker{}", s(shards), s(workers))
}

/// Who has it, in words.
fn words(holder: &Holder) -> String {
    let worker = match (&holder.worker, holder.mine) {
        (_, true) => "this worker".to_owned(),
        (Some(worker), false) => shown(worker),
        (None, false) => "nobody".to_owned(),
    };
    match &holder.leaving {
        Some(leaving) => format!("{worker}, once {} has finished", shown(leaving)),
        None => worker,
    }
}

/// Draws it: the shards that nobody reads first, then those of this worker with their lag, then the others'.
pub fn draw(buf: &mut Buffer, area: Rect, app: &App, past: &History) {
    let theme = &app.theme;
    let mut holders: Vec<&Holder> = past.holders.iter().collect();
    holders.sort_by_key(|holder| (holder.worker.is_some(), !holder.mine, &holder.shard));
    let rows = usize::from(area.height);
    let hidden = if holders.len() > rows { holders.len() + 1 - rows } else { 0 };
    holders.truncate(holders.len() - hidden);
    for (row, holder) in holders.iter().enumerate() {
        let lag = past.given.of(&holder.shard).filter(|_| holder.mine).map(|(ms, _)| ms);
        let said = lag.map_or(String::new(), |ms| format!("{} ", duration(ms as f64)));
        let style = match (&holder.worker, holder.mine) {
            (None, _) => theme.warn,
            (Some(_), true) => Style::new(),
            (Some(_), false) => theme.dim,
        };
        let id = shown(&holder.shard);
        let short = id.get(id.len().saturating_sub(3)..).unwrap_or(&id);
        let room = usize::from(area.width).saturating_sub(6 + said.len());
        let spans =
            vec![Span::styled(format!(" {short}  "), theme.dim), Span::styled(clip(&words(holder), room), style)];
        write(buf, area, row as u16, &Line::from(spans));
        let late = if lag.is_some_and(|ms| ms >= BEHIND_MS) { theme.warn } else { Style::new() };
        write_right(buf, area, row as u16, &Line::styled(said, late));
    }
    if hidden > 0 {
        write(buf, area, area.height - 1, &Line::styled(format!(" … {hidden} more"), theme.dim));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder(worker: Option<&str>, mine: bool) -> Holder {
        Holder { shard: "shardId-000000000007".into(), worker: worker.map(str::to_owned), leaving: None, mine }
    }

    #[test]
    fn a_shard_is_read_by_this_worker_another_or_nobody() {
        assert_eq!(words(&holder(Some("a"), true)), "this worker");
        assert_eq!(words(&holder(Some("db/w-1/2\u{1b}"), false)), shown("db/w-1/2\u{1b}"));
        assert_eq!(words(&holder(None, false)), "nobody");
        let leaving = Holder { leaving: Some("b".into()), ..holder(Some("a"), false) };
        assert_eq!(words(&leaving), "a, once b has finished");
    }

    #[test]
    fn shards_and_workers_are_counted() {
        let holders = vec![holder(Some("a"), true), holder(None, false)];
        let past = History { holders, ..History::default() };
        assert_eq!(summary(&past), "2 shards, 1 worker");
    }
}
