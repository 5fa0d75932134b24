//! What was seen is kept for the next time: the first frame has tables and streams before AWS has answered, and says how
//! old they are.

use std::path::Path;

use super::app::{App, Described};
use super::effect::Effect;
use crate::cloud::Context;
use crate::cloud::cache::{self, Inventory};

/// How often what is seen is kept, ms.
const KEEP_MS: i64 = 60_000;

/// What is shown as it was kept, until AWS has answered, and what is kept.
#[allow(clippy::struct_field_names, reason = "each is a time, and says its unit")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// When the tables on screen were seen, ms since epoch, while they are those of another time.
    pub tables_ms: Option<i64>,
    /// The same of the streams.
    pub streams_ms: Option<i64>,
    /// When something was kept last, ms since epoch.
    kept_ms: Option<i64>,
}

impl App {
    /// Shows what was kept of this context; all of it is asked for at once.
    pub fn show_kept(&mut self, kept: Inventory) {
        // A clock that was set back must not make it look new.
        let seen = |at_ms: i64| at_ms.min(self.now_ms);
        let (tables_ms, streams_ms) = (seen(kept.tables_ms), seen(kept.streams_ms));
        if kept.tables_ms > 0 {
            let seen = Described { at_ms: tables_ms, is_same: false };
            self.described = kept.described.iter().map(|table| (table.name.clone(), seen)).collect();
            self.table_names.rows = Some(kept.tables);
            self.tables.rows = Some(kept.described);
            self.kept.tables_ms = Some(tables_ms);
        }
        if kept.streams_ms > 0 {
            self.streams.rows = Some(kept.streams);
            self.kept.streams_ms = Some(streams_ms);
        }
        self.account = kept.account;
    }

    /// What is to be kept now: once the first tables are known, then each minute, and when the console ends.
    pub(super) fn due_to_keep(&mut self) -> Option<Effect> {
        let is_due = self.done || self.kept.kept_ms.is_none_or(|at| self.now_ms - at >= KEEP_MS);
        // In trouble nothing new was seen.
        if !is_due || self.trouble.is_some() {
            return None;
        }
        let mut seen =
            Inventory { account: self.account.clone(), region: self.place.region.clone(), ..Inventory::default() };
        if let (None, Some(names), Some(described)) =
            (self.kept.tables_ms, &self.table_names.rows, self.tables.rows.as_ref().filter(|rows| !rows.is_empty()))
        {
            seen.list_tables(names.clone(), self.now_ms);
            seen.describe_tables(described.iter().cloned());
        }
        if let (None, Some(streams)) = (self.kept.streams_ms, &self.streams.rows) {
            seen.list_streams(streams.iter().map(|stream| stream.name.clone()).collect(), self.now_ms);
            seen.describe_streams(streams.iter().filter(|stream| !stream.status.is_empty()).cloned());
        }
        if seen.tables_ms.max(seen.streams_ms) == 0 {
            return None;
        }
        self.kept.kept_ms = Some(self.now_ms);
        Some(Effect::Keep(Box::new(seen)))
    }
}

/// Keeps what was `seen` of `context`; the half that was not seen stays as it was.
pub(super) fn keep(state: &Path, context: &Context, seen: Inventory) {
    let kept = cache::update(state, context, |known| {
        if seen.tables_ms > 0 {
            known.list_tables(seen.tables, seen.tables_ms);
            known.describe_tables(seen.described);
        }
        if seen.streams_ms > 0 {
            known.list_streams(seen.streams.iter().map(|stream| stream.name.clone()).collect(), seen.streams_ms);
            known.describe_streams(seen.streams.into_iter().filter(|stream| !stream.status.is_empty()));
        }
        known.account = seen.account.or(known.account.take());
        known.region = seen.region;
    });
    if let Err(error) = kept {
        tracing::debug!(%error, "what was seen could not be kept");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloud::Mode;
    use crate::console::app::Screen;
    use crate::console::fixture::{self, NOW_MS};
    use crate::console::tests::Tester;

    fn kept() -> Inventory {
        let mut kept = Inventory { account: Some("111122223333".into()), ..Inventory::default() };
        kept.list_tables(fixture::tables().into_iter().map(|table| table.name).collect(), NOW_MS - 3 * 3_600_000);
        kept.describe_tables(fixture::tables());
        kept
    }

    #[tokio::test]
    async fn the_first_frame_has_what_was_kept_and_says_how_old_it_is_until_aws_has_answered() {
        let mut tester = Tester::open(Screen::Tables, Mode::Normal, (120, 40));
        tester.runtime.app.show_kept(kept());
        tester.runtime.draw().unwrap();
        let first = tester.screen();
        assert!(first.contains("quotes") && first.contains("1.20M"), "{first}");
        assert!(first.contains("as of 3h 00m ago, asking AWS"), "{first}");
        tester.misses("asking AWS").await;
        tester.sees("quotes").await;
    }

    #[tokio::test]
    async fn what_is_seen_is_kept_and_what_was_only_recalled_is_not() {
        let mut tester = Tester::open(Screen::Tables, Mode::Normal, (120, 40));
        tester.look().await;
        let is_kept =
            |effect: &Effect| matches!(effect, Effect::Keep(seen) if seen.tables.len() == 3 && seen.streams_ms == 0);
        assert_eq!(tester.did().iter().filter(|effect| is_kept(effect)).count(), 1);
        tester.pass(30_000).await;
        assert!(!tester.did().iter().any(|effect| matches!(effect, Effect::Keep(_))), "not each tick");
        let app = &mut tester.runtime.app;
        app.show_kept(kept());
        app.done = true;
        assert_eq!(app.due_to_keep(), None);
    }

    #[test]
    fn the_half_that_was_not_seen_stays() {
        let state = tempfile::tempdir().unwrap();
        let context = fixture::context();
        keep(state.path(), &context, kept());
        let mut streams = Inventory::default();
        streams.list_streams(vec!["restore".into()], NOW_MS);
        keep(state.path(), &context, streams);
        let now = cache::load(state.path(), &context).unwrap();
        assert_eq!((now.tables.len(), now.streams.len(), now.account.as_deref()), (3, 1, Some("111122223333")));
    }
}
