//! A limit in words: short for a line among others, long with its numbers and what would change it.

use super::{Binding, Remedy};
use crate::flow::Limit;

/// Above this multiple of its capacity, what a table gives is a burst.
const BURST: f64 = 1.2;
/// From this share of its capacity on, all of it is used.
const ALL: f64 = 0.97;
/// A shard's limits, as its sentences say them (Kinesis quotas).
const SHARD_TAKES: &str = "1,000 records and 1 MiB a second";

/// `23,120`, and a tenth where the number is small.
fn amount(n: f64) -> String {
    if n < 9.95 && (n - n.round()).abs() > 0.05 {
        return format!("{n:.1}");
    }
    let digits = format!("{:.0}", n.max(0.0));
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

fn percent(share: f64) -> String {
    format!("{:.0} %", (share * 100.0).clamp(0.0, 100.0))
}

impl Binding {
    /// A few words with their number: `table write capacity, 130 WCU`.
    pub fn short(&self) -> String {
        match &self.limit {
            Limit::Service if self.reply_ms > 0.0 => {
                format!("{}, {} requests of {} ms", self.limit, self.lanes, amount(self.reply_ms))
            }
            Limit::StreamReads { .. } if self.late_ms > 0 => {
                format!("{}, {} s behind", self.limit, amount(self.late_ms as f64 / 1000.0))
            }
            limit => limit.to_string(),
        }
    }

    /// One or two sentences: what binds, the numbers that say so, and what would change it where no key does.
    pub fn explain(&self) -> String {
        let of = &self.of;
        let over = format!("over {} s", amount(self.seconds.max(1.0)));
        let asked = amount(self.asked);
        let words = match &self.limit {
            Limit::Paused => return "paused: nothing is read and nothing is written".to_owned(),
            Limit::Table { wcu: Some(wcu) } if self.used > wcu * BURST => format!(
                "{of} gives {} WCU/s, more than its {}: a burst from capacity that it had saved up, for five minutes at most",
                amount(self.used),
                amount(*wcu)
            ),
            Limit::Table { wcu: Some(wcu) } => {
                format!("{of} takes {} WCU/s and {}", amount(*wcu), self.used_of(*wcu, &over))
            }
            Limit::Table { wcu: None } => format!(
                "{of} is on demand and takes {} WCU/s now ({over}); AWS lets it grow to twice its last peak within half an hour",
                amount(self.used)
            ),
            Limit::Index { index, wcu } => format!(
                "index {index} of {of} takes {} WCU/s and {}; the table waits for it",
                amount(*wcu),
                self.used_of(*wcu, &over)
            ),
            Limit::Partition { wcu, of: whole, keys, key } if *keys > 0 => format!(
                "{of} takes {} WCU/s, but one partition takes 1,000 at most: {} {} of them, and the records that wait for it \
                 fill the memory; keys in another order would change that, more capacity would not",
                amount(*whole),
                crate::flow::hot_keys(*keys, key),
                amount(*wcu)
            ),
            Limit::Partition { wcu, of: whole, .. } => format!(
                "{of} lets {} of its {} WCU/s through although it is not full: one partition takes 1,000 at most, or others use it too; keys in \
                 another order would change that, more capacity would not",
                amount(*wcu),
                amount(*whole)
            ),
            Limit::RateCap { per_second } => {
                format!("the rate cap lets {} items/s through, and {asked}/s went ({over})", amount(*per_second))
            }
            Limit::WcuCap { wcu } => {
                format!("--max-wcu lets {} WCU/s through, and {}/s were used ({over})", amount(*wcu), amount(self.used))
            }
            Limit::Shared { wcu, of: whole } => format!(
                "{of} lets {} of its {} WCU/s through here: other writers use the rest of it, or it refuses at random; more capacity would help the first",
                amount(*wcu),
                amount(*whole)
            ),
            Limit::Leave { share, others, of: whole, .. } => format!(
                "{} of {of}'s {} WCU is left to others, who use {}; {}/s were used here ({over}); less to --leave would change that",
                percent(*share),
                amount(*whole),
                amount(*others),
                amount(self.used)
            ),
            Limit::Shard { shard } => format!(
                "shard {shard} of {of} takes {SHARD_TAKES} and is full while others have room ({asked} records/s {over}); splitting it would \
                 change that"
            ),
            Limit::Stream { shards } => format!(
                "{of} takes {SHARD_TAKES} on each of its {shards} shards, and all are full ({asked} records/s {over}); more shards would change \
                 that"
            ),
            Limit::StreamReads { shards } => format!(
                "{of} gives 2 MiB and five reads a second from each of its {shards} shards; the latest is {} s behind while the table waits; \
                 more shards would change that",
                amount(self.late_ms as f64 / 1000.0)
            ),
            Limit::Service => format!(
                "{of} answers in {} ms with {} requests at a time, and {} of the time went into waiting for it ({asked} records/s {over}); a \
                 nearer machine would change that",
                amount(self.reply_ms),
                self.lanes,
                percent(self.share)
            ),
            Limit::Checking { cpus } => format!(
                "checking records took {} of {} ({over}); more processors, or --part on several machines, would change that",
                percent(self.share),
                if *cpus == 1 { "one processor".to_owned() } else { format!("{cpus} processors") }
            ),
            Limit::Source if self.follows => format!(
                "nothing more comes from {of} just now: the table waited {} of the time ({asked} records/s {over}), and takes what comes",
                percent(self.share)
            ),
            Limit::Source => format!(
                "{of} gives no more: the table waited {} of the time ({asked} records/s {over}); a faster disk or network would change that",
                percent(self.share)
            ),
            Limit::ReadBudget { rcu } => format!(
                "the read budget lets {} RCU/s through, and {}/s were used ({over}); a larger --read-budget would change that",
                amount(*rcu),
                amount(self.used)
            ),
            Limit::TableReads { rcu } => format!(
                "{of} gives {} RCU/s, and {}/s were used ({over}); more read capacity would change that",
                rcu.map_or("what an on-demand table gives, in".to_owned(), amount),
                amount(self.used)
            ),
            Limit::Destination { name } => format!(
                "{} of the time went into writing to {name} ({over}); a faster one would change that",
                percent(self.share)
            ),
        };
        if self.refused >= 0.05 && !matches!(self.limit, Limit::Source | Limit::Checking { .. }) {
            format!("{words}; {} of {asked} writes/s are refused.", amount(self.refused))
        } else {
            format!("{words}.")
        }
    }

    fn used_of(&self, wcu: f64, over: &str) -> String {
        let share = self.used / wcu.max(f64::MIN_POSITIVE);
        let how_much = if share >= ALL { "all".to_owned() } else { percent(share) };
        format!("{how_much} of it is used ({:.1}/s {over})", self.used)
    }

    /// What an operator can do about it with one key or command.
    pub fn remedy(&self) -> Option<Remedy> {
        let raise = |index: Option<&String>, wcu: f64| {
            Some(Remedy::Raise { table: self.of.clone(), index: index.cloned(), from: wcu.round() as u64 })
        };
        match &self.limit {
            Limit::Table { wcu: Some(wcu) } => raise(None, *wcu),
            Limit::Index { index, wcu } => raise(Some(index), *wcu),
            Limit::RateCap { .. } => Some(Remedy::Rate),
            Limit::Paused => Some(Remedy::Resume),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binding(limit: Limit) -> Binding {
        Binding {
            limit,
            of: "historical".into(),
            seconds: 10.0,
            used: 129.6,
            asked: 171.0,
            refused: 41.0,
            share: 0.96,
            lanes: 16,
            reply_ms: 85.2,
            late_ms: 12_300,
            follows: false,
        }
    }

    #[test]
    fn what_follows_others_is_caught_up_where_a_backup_gives_no_more() {
        let source = binding(Limit::Source);
        assert!(source.explain().contains("a faster disk"), "{}", source.explain());
        let follower = Binding { follows: true, ..source }.explain();
        assert!(follower.contains("takes what comes") && !follower.contains("disk"), "{follower}");
    }

    #[test]
    fn a_full_table_is_a_sentence_with_its_numbers_and_a_remedy() {
        let full = binding(Limit::Table { wcu: Some(130.0) });
        assert_eq!(full.short(), "table write capacity, 130 WCU");
        assert_eq!(
            full.explain(),
            "historical takes 130 WCU/s and all of it is used (129.6/s over 10 s); 41 of 171 writes/s are refused."
        );
        assert_eq!(full.remedy(), Some(Remedy::Raise { table: "historical".into(), index: None, from: 130 }));
    }

    #[test]
    fn a_burst_is_not_called_a_limit_that_holds() {
        let mut burst = binding(Limit::Table { wcu: Some(100.0) });
        burst.refused = 0.0;
        assert_eq!(
            burst.explain(),
            "historical gives 130 WCU/s, more than its 100: a burst from capacity that it had saved up, for five minutes at most."
        );
    }

    #[test]
    fn a_hot_key_is_named_with_what_it_gets() {
        let hot = binding(Limit::Partition { wcu: 555.0, of: 4_000.0, keys: 1, key: "user#1".into() });
        assert!(hot.explain().contains("its hot key \"user#1\" gets 555 of them"), "{}", hot.explain());
        assert_eq!(hot.remedy(), None, "more capacity would not help");
    }

    #[test]
    fn the_service_is_named_with_its_reply_time() {
        let slow = binding(Limit::Service);
        assert_eq!(slow.short(), "the service's response time, 16 requests of 85 ms");
        assert!(
            slow.explain().starts_with("historical answers in 85 ms with 16 requests at a time"),
            "{}",
            slow.explain()
        );
        assert_eq!(slow.remedy(), None);
    }

    #[test]
    fn every_limit_has_a_sentence_that_ends_in_a_full_stop_or_says_paused() {
        let text = || "x".to_owned();
        for limit in [
            Limit::Source,
            Limit::Checking { cpus: 2 },
            Limit::Service,
            Limit::Table { wcu: None },
            Limit::Index { index: text(), wcu: 5.0 },
            Limit::Partition { wcu: 5.0, of: 100.0, keys: 0, key: text() },
            Limit::Partition { wcu: 5.0, of: 100.0, keys: 2, key: text() },
            Limit::RateCap { per_second: 5.0 },
            Limit::WcuCap { wcu: 5.0 },
            Limit::Leave { share: 0.2, others: 310.0, of: 1_700.0, index: None },
            Limit::Shard { shard: text() },
            Limit::Stream { shards: 10 },
            Limit::StreamReads { shards: 10 },
            Limit::ReadBudget { rcu: 50.0 },
            Limit::TableReads { rcu: Some(100.0) },
            Limit::Destination { name: text() },
            Limit::Paused,
        ] {
            let binding = binding(limit.clone());
            let words = binding.explain();
            assert!(words.ends_with('.') || limit == Limit::Paused, "{words}");
            assert!(words.len() > 30 && !binding.short().is_empty(), "{words}");
            assert!(words.chars().any(|c| c.is_ascii_digit()) || limit == Limit::Paused, "no number in {words}");
        }
    }
}
