//! F1: what the words on the screens mean; those that are on screen come first. And what help and words share: a text that
//! is scrolled and searched.

use tui_input::Input;

use super::app::{App, Overlay};
use super::keymap::{Action, Scope};
use super::view;

/// A word of the screens.
#[derive(Debug)]
pub struct Word {
    /// The word.
    pub name: &'static str,
    /// How else it is spelt on screens.
    also: &'static [&'static str],
    /// What it means.
    pub means: &'static str,
}

const fn word(name: &'static str, also: &'static [&'static str], means: &'static str) -> Word {
    Word { name, also, means }
}

/// Every word, by the alphabet.
pub const WORDS: &[Word] = &[
    word(
        "aggregate",
        &["aggregated"],
        "Several put requests in one Kinesis record, in the KPL's format: a shard takes 1,000 records a second, however small.",
    ),
    word(
        "api",
        &["api"],
        "Requests that this console sends to AWS each second. A budget holds it (--api-rate); `held` are those that wait for their turn.",
    ),
    word(
        "backup",
        &["back up"],
        "A set of files holding items. Its format is detected from its content, or named with --format.",
    ),
    word(
        "budget",
        &["held"],
        "How many questions a second this console may ask of AWS, so that it never takes what production needs.",
    ),
    word(
        "bump",
        &["raised"],
        "Capacity that was raised by hand or by a job. What it was before is remembered, and given back.",
    ),
    word(
        "checkpoint",
        &[],
        "How far a job is, written down: after a kill it goes on from there, and does again what came after it.",
    ),
    word("context", &["profile", "region"], "Where a command acts: AWS profile, region and endpoint."),
    word(
        "dead letter",
        &["dead letters", "DEAD", "dead"],
        "A record that can never succeed, kept with its reason. It can be edited, replayed or given up; it is never dropped by itself.",
    ),
    word(
        "decreases",
        &["decreases left"],
        "How often AWS lets a table's capacity be lowered: four banked, one more an hour without any, 27 a UTC day at most.",
    ),
    word(
        "dry run",
        &["DRY RUN"],
        "Each change is shown as the request and the aws command that equals it, and not sent.",
    ),
    word(
        "event table",
        &["event tables"],
        "The event store: every event of a stream under its time slot, in order, to be played back.",
    ),
    word(
        "fan-out",
        &["FAN-OUT"],
        "Consumers with 2 MiB/s of each shard for themselves (enhanced fan-out); others share the shard's five reads a second.",
    ),
    word("give back", &["gives it back", "to give back"], "Set a capacity back to what it was before it was raised."),
    word("holder", &["HOLDER"], "Who reads a shard now: a job of this machine, or a worker that has its lease."),
    word(
        "hot",
        &["hot key", "one partition"],
        "Most writes go to one partition of a table, which takes 1,000 WCU whatever the table has: more capacity does not help.",
    ),
    word(
        "index",
        &["indexes"],
        "A global secondary index. It has a capacity of its own, and each write of the table costs it too; when it is full, the table is throttled.",
    ),
    word(
        "journal",
        &[],
        "The SQLite file where workers write what they do and consoles read it. Jobs go on without a console.",
    ),
    word(
        "lag",
        &["LAG", "behind"],
        "How far a reader is behind, as time: how old the record is that it reads now. Never a count.",
    ),
    word(
        "lambda",
        &["event source mapping", "event source mappings"],
        "The Lambda functions that read a stream by an event source mapping, with how their last batch went.",
    ),
    word(
        "lease",
        &["leases"],
        "The right to read one shard, kept in a table that several hosts share (as the KCL does). A worker that stops renewing it loses it after 10 s.",
    ),
    word(
        "limit",
        &["limit:"],
        "What a job is as fast as: its source, the stream, a shard, the table, an index or one key. Raising anything else helps nothing.",
    ),
    word(
        "on demand",
        &["ON_DEMAND"],
        "AWS scales the table or stream by itself and bills each request: there is no capacity to set. A new table takes 4,000 writes/s, then twice its last peak.",
    ),
    word(
        "PITR",
        &["point-in-time"],
        "Point-in-time recovery: AWS keeps every change of a table for 35 days, and can export it to S3 as of any second.",
    ),
    word(
        "playhead",
        &["playback"],
        "The moment that the scrubber stands on. Playing moves it; events around it are listed.",
    ),
    word(
        "provisioned",
        &["PROV", "PROVISIONED"],
        "Capacity that was bought by the hour, used or not. A table takes that much each second, and saves up to 300 s of what it did not use for bursts.",
    ),
    word(
        "put request",
        &["put requests"],
        "The JSON {\"TableName\":…, \"Item\":…} that travels over a stream and is put into its table by a worker.",
    ),
    word(
        "RCU",
        &["read capacity"],
        "Read capacity unit: one consistent read a second of up to 4 KiB, or two eventually consistent ones.",
    ),
    word("read-only", &["READ-ONLY"], "Nothing is changed from this console: every request that would is refused."),
    word(
        "replica",
        &["replicate", "replicated"],
        "A copy of a table that follows its changes, in another table, region, account or in BigQuery.",
    ),
    word(
        "resent",
        &["retried"],
        "Sent again because AWS refused it or did not answer. It is not lost and not counted twice.",
    ),
    word(
        "shard",
        &["shards", "SHARD", "SHARDS"],
        "A part of a stream: 1 MiB/s or 1,000 records/s in, 2 MiB/s out. Records of one key stay in order on one shard.",
    ),
    word(
        "slot",
        &["slots"],
        "A time unit of the event table, one second unless told otherwise: events of a slot stand together.",
    ),
    word(
        "stream",
        &["streams", "STREAM"],
        "Kinesis: records travel over it in order by key. On a table, STREAM is what DynamoDB Streams tells of its changes.",
    ),
    word(
        "throttled",
        &["throttles", "THROTTLED/S", "refused"],
        "AWS refused it because the capacity was used up. It is sent again; a table that is throttled all the time is as fast as its capacity.",
    ),
    word(
        "verify",
        &["verified"],
        "A comparison of backup and table, key by key: missing, extra, different. What is green was proven so.",
    ),
    word(
        "watermark",
        &["complete to"],
        "The time up to which the event table is complete: nothing earlier is still to come.",
    ),
    word(
        "WCU",
        &["write capacity"],
        "Write capacity unit: one write a second of an item of up to 1 KiB; larger items take one for each started KiB. Indexes take their own.",
    ),
    word("worker", &["workers"], "The process that runs one job. It outlives the console."),
];

/// A text that is scrolled and searched.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// Scrolled by that many lines.
    pub at: u16,
    /// Only what holds this is shown.
    pub search: Input,
    /// The search is being typed.
    pub is_typed: bool,
}

impl Reading {
    /// What a key makes of it; `None` closes it.
    pub fn act(mut self, action: Action) -> Option<Self> {
        match action {
            Action::Accept => self.is_typed = false,
            Action::Back if self.is_typed || !self.search.value().is_empty() => {
                self.search = Input::default();
                self.is_typed = false;
            }
            Action::Back => return None,
            Action::Filter => self.is_typed = true,
            Action::Up => self.at = self.at.saturating_sub(1),
            Action::Down => self.at = self.at.saturating_add(1),
            Action::PageUp => self.at = self.at.saturating_sub(10),
            Action::PageDown => self.at = self.at.saturating_add(10),
            Action::First => self.at = 0,
            Action::Last => self.at = u16::MAX / 2,
            _ => {}
        }
        Some(self)
    }

    /// The search is changed.
    pub fn edit(&mut self, change: impl FnOnce(&mut Input)) {
        change(&mut self.search);
        self.at = 0;
    }

    /// The scope whose keys work on it.
    pub fn scope(&self) -> Scope {
        if self.is_typed { Scope::Prompt } else { Scope::Reading }
    }

    /// True when `text` holds what is searched for.
    pub fn shows(&self, text: &str) -> bool {
        let wanted = self.search.value().trim().to_lowercase();
        wanted.is_empty() || text.to_lowercase().contains(&wanted)
    }

    /// Where the first of so many lines stands in a box of that height.
    pub fn first(&self, lines: usize, height: u16) -> usize {
        usize::from(self.at).min(lines.saturating_sub(usize::from(height)))
    }
}

/// The words: which of them are on screen, and how far it is read.
#[derive(Clone, Debug)]
pub struct Words {
    /// Those on screen below.
    pub here: Vec<&'static str>,
    /// How far, and what is searched for.
    pub reading: Reading,
}

/// Shows the words, those on screen first; or only those that hold `wanted`.
pub(super) fn open(app: &mut App, wanted: Option<&str>) {
    app.overlay = None;
    let text = view::text(app);
    let here = WORDS.iter().filter(|word| word.is_in(&text)).map(|word| word.name).collect();
    let reading = Reading { search: wanted.unwrap_or_default().into(), ..Reading::default() };
    app.overlay = Some(Overlay::Words(Box::new(Words { here, reading })));
}

/// What `:words` is completed from.
pub(super) fn choices(_: &App) -> Vec<(String, String)> {
    WORDS.iter().map(|word| (word.name.to_owned(), word.means.to_owned())).collect()
}

impl Word {
    /// True when it stands in `text` as a word of its own.
    fn is_in(&self, text: &str) -> bool {
        let is_letter = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
        std::iter::once(&self.name).chain(self.also).any(|spelt| {
            text.match_indices(spelt).any(|(at, found)| {
                !is_letter(text[..at].chars().next_back()) && !is_letter(text[at + found.len()..].chars().next())
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stand_by_the_alphabet_once_and_end_in_a_stop() {
        let names: Vec<String> = WORDS.iter().map(|word| word.name.to_lowercase()).collect();
        let mut sorted = names.clone();
        sorted.sort();
        sorted.dedup();
        assert_eq!(names, sorted);
        assert!(WORDS.iter().all(|word| word.means.ends_with('.')));
    }

    #[test]
    fn a_word_is_found_on_screen_only_as_a_whole() {
        let lag = WORDS.iter().find(|word| word.name == "lag").unwrap();
        assert!(lag.is_in("  LAG  HOLDER"));
        assert!(!lag.is_in("flagged"));
        let dead = WORDS.iter().find(|word| word.name == "dead letter").unwrap();
        assert!(dead.is_in("dead 2"));
    }
}
