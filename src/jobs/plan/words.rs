//! A plan as lines: a name, a value, and what is to be known of it.

use super::{Best, Plan};

/// One line of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// What it tells.
    pub name: String,
    /// The number, with its unit.
    pub value: String,
    /// How it comes about, or what follows from it; may be empty.
    pub remark: String,
    /// True when the value comes from a sample.
    pub about: bool,
    /// True when the remark is worth room of its own where there is little.
    pub weighty: bool,
}

impl Line {
    fn new(name: impl Into<String>, value: impl Into<String>, remark: impl Into<String>) -> Self {
        Self { name: name.into(), value: value.into(), remark: remark.into(), about: false, weighty: false }
    }

    fn about(self, about: bool) -> Self {
        Self { about, ..self }
    }

    fn weighty(self) -> Self {
        Self { weighty: true, ..self }
    }
}

/// Whole numbers with thousands set apart: `1,234,567`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A length of time in its two largest units: `2h 00m`, `3m 24s`, `8s`.
pub fn span(seconds: f64) -> String {
    let whole = seconds.max(0.0).ceil().min(1e15) as u64;
    match whole {
        0..60 => format!("{whole}s"),
        60..3600 => format!("{}m {:02}s", whole / 60, whole % 60),
        3600..86_400 => format!("{}h {:02}m", whole / 3600, whole % 3600 / 60),
        _ => format!("{}d {:02}h", whole / 86_400, whole % 86_400 / 3600),
    }
}

/// Bytes in powers of 1000: `310 MB`.
pub fn bytes(n: f64) -> String {
    let (mut value, mut unit) = (n.max(0.0), 0);
    let units = ["B", "kB", "MB", "GB", "TB", "PB"];
    while value >= 999.5 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit > 0 && value < 9.95 { format!("{value:.1} {}", units[unit]) } else { format!("{value:.0} {}", units[unit]) }
}

fn dollars(n: f64) -> String {
    if n > 0.0 && n < 0.01 { "under $0.01".to_owned() } else { format!("${n:.2}") }
}

fn wcu(n: f64) -> String {
    format!("{} WCU", grouped(n.ceil().min(1e18) as u64))
}

fn plural<'a>(n: u64, one: &'a str, many: &'a str) -> &'a str {
    if n == 1 { one } else { many }
}

impl Plan {
    /// `exact`, or how many records were looked at.
    fn about(&self, exact: bool) -> String {
        if exact { "exact".to_owned() } else { format!("about: {} records looked at", grouped(self.looked_at)) }
    }

    /// The plan as lines, in the order in which a person asks.
    pub fn lines(&self) -> Vec<Line> {
        let mut lines = Vec::new();
        let files = format!("in {} {}, as stored", grouped(self.files), plural(self.files, "file", "files"));
        lines.push(Line::new("bytes", bytes(self.bytes as f64), files));
        lines.push(Line::new("items", grouped(self.items), self.about(self.exact)).about(!self.exact));
        for (name, count) in [("deletes", self.deletes), ("left out", self.skipped), ("dead letters", self.dead)] {
            if count > 0 {
                let sampled = Line::new(name, grouped(count), self.about(!self.sampled)).about(self.sampled);
                lines.push(sampled);
            }
        }
        let sampled = |line: Line| line.about(self.sampled);
        lines.push(sampled(Line::new("item size", bytes(self.item_bytes), format!("mean of {}", self.of()))));
        let off = if self.off_by >= 0.0005 { format!(" (±{:.1} %)", self.off_by * 100.0) } else { String::new() };
        let mean = format!("mean of {}{off}", self.of());
        lines.push(sampled(Line::new("WCU per item", format!("{:.2}", self.wcu_per_item), mean)));
        lines.push(sampled(Line::new("WCU, table", wcu(self.wcu), "in all")));
        for index in &self.indexes {
            let entries = format!("{} of the items are in it", share(index.items, self.items));
            let whose = if index.local { "; counted in the table's" } else { "" };
            let name = format!("WCU, index {}", index.index);
            lines.push(sampled(Line::new(name, wcu(index.wcu), format!("{entries}{whose}"))));
        }
        lines.extend(self.time_lines());
        lines.extend(self.cost_lines());
        let best = match self.way.best {
            Best::Direct => "direct",
            Best::Stream => "over a stream",
            Best::Import => "AWS's import",
        };
        lines.push(Line::new("best way", best, self.way.reason.clone()).weighty());
        if let Some(why) = &self.way.import_cannot {
            lines.push(Line::new("not AWS's import", "", why.clone()));
        }
        lines
    }

    fn of(&self) -> String {
        if self.sampled { format!("{} looked at", grouped(self.looked_at)) } else { "all".to_owned() }
    }

    fn time_lines(&self) -> Vec<Line> {
        let mut lines = Vec::new();
        let has = self.provisioned.map_or_else(|| "on demand".to_owned(), |has| wcu(has as f64));
        lines.push(Line::new("the table has", has, self.indexes_have()));
        let partitions = &self.partitions;
        lines.push(Line::new(
            "partitions",
            grouped(partitions.needed),
            format!(
                "at least, for {} WCU; AWS lets on {} now",
                grouped(partitions.for_wcu),
                grouped(partitions.present)
            ),
        ));
        let shards = &self.shards;
        let open = match (shards.open, &self.stream) {
            (Some(open), Some(stream)) => format!("; {stream} has {open} open"),
            (None, Some(stream)) => format!("; {stream} is on demand: AWS splits it by itself"),
            _ => "; only over a stream".to_owned(),
        };
        lines.push(Line::new(
            "shards",
            grouped(if shards.aggregated { shards.needed_aggregated } else { shards.needed }),
            format!(
                "for {} requests/s of {}{}{open}",
                grouped(shards.items_per_second.round() as u64),
                bytes(shards.record_bytes),
                if shards.aggregated {
                    format!(", aggregated; {} with --no-aggregate", grouped(shards.needed))
                } else {
                    format!(", one a record; {} aggregated", grouped(shards.needed_aggregated))
                },
            ),
        ));
        let sooner = if self.burst_seconds >= 1.0 {
            format!("; up to {} sooner with all its burst saved up", span(self.burst_seconds))
        } else {
            String::new()
        };
        let time = self.seconds.map_or_else(|| "unknown".to_owned(), span);
        let line = Line::new("time at that", time, format!("limit: {}{sooner}", self.limit_in_words));
        lines.push(line.about(self.sampled).weighty());
        if let Some(within) = &self.within {
            let enough = if within.suffices {
                "the present capacity is enough"
            } else if within.obstacles.is_empty() {
                "the present capacity is not enough: --bump raises it"
            } else {
                "not to be had like this"
            };
            let name = format!("within {}", span(within.seconds as f64));
            lines.push(Line::new(name, wcu(within.table as f64), enough).about(self.sampled).weighty());
            for (name, needed) in &within.indexes {
                lines.push(Line::new(format!("  index {name}"), wcu(*needed as f64), "").about(self.sampled));
            }
            for obstacle in &within.obstacles {
                lines.push(Line::new("  but", "", obstacle.clone()).weighty());
            }
        }
        lines
    }

    fn indexes_have(&self) -> String {
        let has: Vec<String> = self
            .indexes
            .iter()
            .filter_map(|index| Some(format!("index {} {} WCU", index.index, grouped(index.provisioned?))))
            .collect();
        has.join(", ")
    }

    fn cost_lines(&self) -> Vec<Line> {
        let cost = &self.cost;
        let mut parts = Vec::new();
        for (dollars_, what) in [
            (cost.raised_capacity, "raised capacity"),
            (cost.requests, "write requests"),
            (cost.stream_hours, "stream hours"),
            (cost.stream_puts, "stream puts"),
        ] {
            if dollars_ > 0.0 {
                parts.push(format!("{what} {}", dollars(dollars_)));
            }
        }
        if cost.present_capacity > 0.0 {
            let hours = plural(cost.hours, "hour", "hours");
            parts.push(format!(
                "the capacity it has costs {} in {} {hours} anyway",
                dollars(cost.present_capacity),
                cost.hours
            ));
        }
        parts.push(format!("list prices of {}, {}", cost.region, cost.as_of));
        vec![Line::new("adds to the bill", dollars(cost.total), parts.join("; "))]
    }
}

fn share(part: u64, whole: u64) -> String {
    if part == whole {
        return "all".to_owned();
    }
    format!("{:.1} %", if whole == 0 { 0.0 } else { part as f64 / whole as f64 * 100.0 })
}

#[cfg(test)]
mod tests {
    use super::super::figures::tests::{facts, schema};
    use super::*;
    use crate::jobs::spec::RestoreSpec;

    fn line(plan: &Plan, name: &str) -> Line {
        plan.lines().into_iter().find(|line| line.name == name).unwrap_or_else(|| panic!("no line {name}"))
    }

    #[test]
    fn a_number_from_a_sample_says_so_and_an_exact_one_too() {
        let mut facts = facts(50_000, 300, 1, &schema(130, ""));
        let plan = facts.plan(&RestoreSpec::default(), None);
        assert_eq!(line(&plan, "items"), Line::new("items", "50,000", "about: 1,000 records looked at").about(true));
        assert!(line(&plan, "WCU per item").remark.starts_with("mean of 1,000 looked at"));
        facts.source.counted = true;
        let plan = facts.plan(&RestoreSpec::default(), None);
        assert_eq!(line(&plan, "items").remark, "exact");
        assert!(line(&plan, "WCU per item").remark.starts_with("mean of 1,000 looked at"), "a manifest knows no sizes");
        facts.source.whole = true;
        assert_eq!(line(&facts.plan(&RestoreSpec::default(), None), "WCU per item").remark, "mean of all");
    }

    #[test]
    fn time_and_money_are_told_with_their_reasons() {
        let plan = facts(50_000, 300, 1, &schema(130, "")).plan(&RestoreSpec::default(), None);
        let time = line(&plan, "time at that");
        assert_eq!(time.value, "6m 25s");
        assert_eq!(
            time.remark,
            "limit: table write capacity, 130 WCU; up to 5m 00s sooner with all its burst saved up"
        );
        let cost = line(&plan, "adds to the bill");
        assert_eq!(cost.value, "$0.00");
        assert!(cost.remark.contains("$0.08 in 1 hour anyway"), "{}", cost.remark);
    }

    #[test]
    fn spans_are_never_shorter_than_they_are() {
        assert_eq!([span(0.2), span(59.5), span(7200.0), span(99_000.0)], ["1s", "1m 00s", "2h 00m", "1d 03h"]);
    }
}
