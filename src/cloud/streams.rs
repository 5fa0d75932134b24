//! More of a stream than its description: the family tree of its shards, which of them have expired, how long records
//! stay, and what changing that costs.

use std::collections::{HashMap, HashSet};

use aws_sdk_kinesis::types::{ShardFilter, ShardFilterType};

use super::context::Cloud;
use super::error::CloudError;
use super::guard;
use super::inventory::Shard;
use super::metrics::{self, Point, Query};
use super::price;

/// The shortest and the longest that records can stay, hours (`IncreaseStreamRetentionPeriod`).
pub const RETENTION_HOURS: (u32, u32) = (24, 8_760);
/// Up to so many hours a longer stay is paid by the shard, beyond by what is stored.
const EXTENDED_HOURS: u32 = 168;

/// How a shard came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Birth {
    /// With the stream, or its parents are forgotten.
    First,
    /// Half of a parent that was split.
    Split,
    /// Of two parents that were merged.
    Merge,
}

/// Whether a shard still gives and takes records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Life {
    /// It takes records.
    Open,
    /// It was split or merged; what it holds can be read.
    Closed,
    /// All it held is past its retention.
    Expired,
}

impl Life {
    /// As screens and commands say it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closed => "closed",
            Self::Expired => "expired",
        }
    }
}

/// A shard in its family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relative {
    /// Which shard, as an index into the list that the tree was made of.
    pub shard: usize,
    /// How it came to be.
    pub birth: Birth,
    /// What stands before its name: `│ ├ `, one pair of columns a generation, at most [`DEEPEST`] of them.
    pub branch: String,
}

/// Generations that are drawn; deeper ones stand below the last.
pub const DEEPEST: usize = 8;

/// The family tree of `shards`: each below its parent, the children of one parent together, a merged one below the first
/// of its parents. One pass over the shards and one over the tree, whatever their number.
pub fn family(shards: &[Shard]) -> Vec<Relative> {
    let index: HashMap<&str, usize> = shards.iter().enumerate().map(|(i, shard)| (shard.id.as_str(), i)).collect();
    let known = |id: Option<&String>| id.and_then(|id| index.get(id.as_str()).copied());
    let mut children: Vec<Vec<usize>> = vec![Vec::new(); shards.len()];
    let mut stack: Vec<(usize, Vec<bool>)> = Vec::new();
    for (i, shard) in shards.iter().enumerate().rev() {
        match known(shard.parent.as_ref()).or(known(shard.adjacent_parent.as_ref())).filter(|parent| *parent != i) {
            Some(parent) => children[parent].push(i),
            None => stack.push((i, Vec::new())),
        }
    }
    let mut tree = Vec::with_capacity(shards.len());
    // `stack` is reversed already: the first shard is on top. `last` says of each generation whether it was the last child.
    while let Some((i, last)) = stack.pop() {
        let shard = &shards[i];
        let birth = match (&shard.parent, &shard.adjacent_parent) {
            (None, None) => Birth::First,
            (Some(_), None) | (None, Some(_)) => Birth::Split,
            (Some(_), Some(_)) => Birth::Merge,
        };
        tree.push(Relative { shard: i, birth, branch: branch(&last) });
        let count = children[i].len();
        // Children were collected from the last to the first: the first is pushed last, and so comes next.
        for (n, child) in std::mem::take(&mut children[i]).into_iter().enumerate() {
            let mut line = last.clone();
            if line.len() == DEEPEST {
                line.remove(0);
            }
            line.push(n == 0 || count == 1);
            stack.push((child, line));
        }
    }
    tree
}

fn branch(last: &[bool]) -> String {
    let Some((own, above)) = last.split_last() else { return String::new() };
    let mut text: String = above.iter().map(|is_last| if *is_last { "  " } else { "│ " }).collect();
    text.push_str(if *own { "└ " } else { "├ " });
    text
}

/// A shard's number without its zeros, as shards of one family name each other: `7` of `shardId-000000000007`.
pub fn short(shard: &str) -> &str {
    let number = shard.trim_start_matches("shardId-").trim_start_matches('0');
    if number.is_empty() { "0" } else { number }
}

/// The share of all keys that a shard takes, 0 to 1.
pub fn share(shard: &Shard) -> f64 {
    (shard.to.saturating_sub(shard.from) as f64 + 1.0) / u128::MAX as f64
}

/// The IDs of the shards that can still be read: what they hold is within retention. The others of `ListShards` have
/// expired.
pub async fn readable(cloud: &Cloud, stream: &str) -> Result<HashSet<String>, CloudError> {
    let action = || format!("list the shards of stream {stream} that still hold records");
    let filter = ShardFilter::builder()
        .r#type(ShardFilterType::FromTrimHorizon)
        .build()
        .map_err(|error| CloudError::new(super::Class::Invalid, format!("could not {}: {error}", action()), ""))?;
    let mut ids = HashSet::new();
    let mut next: Option<String> = None;
    loop {
        cloud.budget().turn().await;
        let request = cloud.kinesis.list_shards();
        let request = match next {
            Some(token) => request.next_token(token),
            None => request.stream_name(stream).shard_filter(filter.clone()),
        };
        let page = request.send().await.map_err(|e| CloudError::of(&action(), &e))?;
        ids.extend(page.shards.unwrap_or_default().into_iter().map(|shard| shard.shard_id));
        next = page.next_token;
        if next.is_none() {
            return Ok(ids);
        }
    }
}

/// What a stream did, minute by minute, as CloudWatch knows it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StreamMinutes {
    /// The stream.
    pub stream: String,
    /// Records put in each minute.
    pub records: Vec<Point>,
    /// Bytes put in each minute.
    pub bytes: Vec<Point>,
    /// Records that were read in each minute, by all polling readers together.
    pub read: Vec<Point>,
    /// The largest age of what its readers took in each minute, ms.
    pub lag_ms: Vec<Point>,
}

/// What `streams` did from `from_ms` to `to_ms`, ms since epoch: four metrics each.
pub async fn minutes(
    cloud: &Cloud,
    streams: Vec<String>,
    from_ms: i64,
    to_ms: i64,
) -> Result<Vec<StreamMinutes>, CloudError> {
    periods(cloud, streams, from_ms, to_ms, 60).await
}

/// The same in periods of `period_s` seconds.
pub async fn periods(
    cloud: &Cloud,
    streams: Vec<String>,
    from_ms: i64,
    to_ms: i64,
    period_s: i32,
) -> Result<Vec<StreamMinutes>, CloudError> {
    const METRICS: [(&str, &str); 4] = [
        ("IncomingRecords", "Sum"),
        ("IncomingBytes", "Sum"),
        ("GetRecords.Records", "Sum"),
        ("GetRecords.IteratorAgeMilliseconds", "Maximum"),
    ];
    let of = |stream: &String| {
        let dimensions = vec![("StreamName", stream.clone())];
        METRICS.map(|(metric, statistic)| Query {
            namespace: "AWS/Kinesis",
            metric,
            dimensions: dimensions.clone(),
            statistic,
        })
    };
    let queries: Vec<Query> = streams.iter().flat_map(of).collect();
    let from_ms = from_ms - from_ms.rem_euclid(i64::from(period_s) * 1000);
    let mut series = metrics::series(cloud, &queries, from_ms, to_ms, period_s).await?.into_iter();
    let mut next = || series.next().unwrap_or_default();
    let minutes = |stream| StreamMinutes { stream, records: next(), bytes: next(), read: next(), lag_ms: next() };
    Ok(streams.into_iter().map(minutes).collect())
}

/// Records put into each of `shards` a second, in the newest minute that CloudWatch has. Known only with enhanced
/// monitoring ([`super::inventory::Stream::has_shard_metrics`]): one metric a shard.
pub async fn shard_rates(
    cloud: &Cloud,
    stream: &str,
    shards: Vec<String>,
    now_ms: i64,
) -> Result<Vec<(String, Option<f64>)>, CloudError> {
    let query = |shard: &String| Query {
        namespace: "AWS/Kinesis",
        metric: "IncomingRecords",
        dimensions: vec![("StreamName", stream.to_owned()), ("ShardId", shard.clone())],
        statistic: "Sum",
    };
    let queries: Vec<Query> = shards.iter().map(query).collect();
    let from_ms = now_ms - 5 * 60_000;
    let series = metrics::series(cloud, &queries, from_ms - from_ms.rem_euclid(60_000), now_ms - 60_000, 60).await?;
    Ok(shards.into_iter().zip(series).map(|(shard, points)| (shard, points.last().map(|(_, n)| n / 60.0))).collect())
}

/// Lets records of a stream stay `to` hours, `from` until now. A shorter stay deletes what is older, for good.
pub async fn set_retention(cloud: &Cloud, stream: &str, from: u32, to: u32) -> Result<(), CloudError> {
    let action = format!("let records of stream {stream} stay {to} hours");
    let hours = i32::try_from(to).unwrap_or(i32::MAX);
    let before = serde_json::json!({ "RetentionPeriodHours": from });
    if to > from {
        let request = cloud.kinesis.increase_stream_retention_period().stream_name(stream);
        let sent = guard::knowing(before, request.retention_period_hours(hours).send()).await;
        sent.map(drop).map_err(|e| CloudError::of(&action, &e))
    } else {
        let request = cloud.kinesis.decrease_stream_retention_period().stream_name(stream);
        let sent = guard::knowing(before, request.retention_period_hours(hours).send()).await;
        sent.map(drop).map_err(|e| CloudError::of(&action, &e))
    }
}

/// What is wrong with a stay of `hours`.
pub fn unfit_retention(hours: u32) -> Option<String> {
    let (least, most) = RETENTION_HOURS;
    (!(least..=most).contains(&hours)).then(|| format!("records stay {least} to {most} hours (1 to 365 days)"))
}

/// What a stay of `hours` costs beside the shards themselves, in words (list prices of `assets/prices.toml`).
pub fn retention_price(hours: u32, mode: &str, shards: u64) -> String {
    let kinesis = &price::prices().kinesis;
    let by_month = |dollars: f64| format!("${dollars} a month for each GB that is stored");
    if hours <= RETENTION_HOURS.0 {
        return "nothing: a day is included".to_owned();
    }
    let extended = if mode == "ON_DEMAND" {
        by_month(kinesis.on_demand.extended_gigabyte_month)
    } else {
        let each = kinesis.provisioned.extended_shard_hour;
        format!("${:.3}/h: ${each} for each of {shards} shards", each * shards as f64)
    };
    if hours <= EXTENDED_HOURS {
        return extended;
    }
    format!("{extended}; what is older than 7 days {}", by_month(kinesis.provisioned.long_term_gigabyte_month))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(id: &str, parents: &[&str]) -> Shard {
        Shard {
            id: id.into(),
            parent: parents.first().map(|p| (*p).to_owned()),
            adjacent_parent: parents.get(1).map(|p| (*p).to_owned()),
            from: 0,
            to: u128::MAX,
            open: true,
        }
    }

    fn drawn(shards: &[Shard]) -> Vec<String> {
        family(shards).iter().map(|r| format!("{}{}", r.branch, shards[r.shard].id)).collect()
    }

    #[test]
    fn children_stand_below_their_parent_and_a_merged_one_below_its_first() {
        let shards = [
            shard("0", &[]),
            shard("1", &[]),
            shard("2", &["0"]),
            shard("3", &["0"]),
            shard("4", &["2"]),
            shard("5", &["2"]),
            shard("6", &["3", "1"]),
        ];
        assert_eq!(drawn(&shards), ["0", "├ 2", "│ ├ 4", "│ └ 5", "└ 3", "  └ 6", "1"]);
        let births: Vec<Birth> = family(&shards).iter().map(|r| r.birth).collect();
        assert_eq!(births[0], Birth::First);
        assert_eq!(births[1], Birth::Split);
        assert_eq!(births[5], Birth::Merge);
    }

    #[test]
    fn a_parent_that_is_forgotten_makes_a_first_row_that_still_says_how_it_came() {
        let shards = [shard("7", &["3"]), shard("8", &["gone", "7"])];
        assert_eq!(drawn(&shards), ["7", "└ 8"]);
        assert_eq!(family(&shards)[0].birth, Birth::Split);
    }

    #[test]
    fn a_chain_of_a_thousand_generations_stays_narrow_and_whole() {
        let shards: Vec<Shard> = (0..1000)
            .map(|n| if n == 0 { shard("0", &[]) } else { shard(&n.to_string(), &[&(n - 1).to_string()]) })
            .collect();
        let tree = family(&shards);
        assert_eq!(tree.len(), 1000);
        assert!(tree.iter().all(|r| r.branch.chars().count() <= 2 * DEEPEST));
    }

    #[test]
    fn every_shard_is_in_the_tree_once_even_when_it_names_itself() {
        let shards = [shard("0", &["0"]), shard("1", &["0"])];
        let mut all: Vec<usize> = family(&shards).iter().map(|r| r.shard).collect();
        all.sort_unstable();
        assert_eq!(all, [0, 1]);
    }

    #[test]
    fn a_shard_is_known_by_its_number() {
        assert_eq!([short("shardId-000000000000"), short("shardId-000000000120")], ["0", "120"]);
    }

    #[test]
    fn a_longer_stay_says_what_it_costs() {
        assert_eq!(retention_price(24, "PROVISIONED", 4), "nothing: a day is included");
        assert_eq!(retention_price(48, "PROVISIONED", 4), "$0.080/h: $0.02 for each of 4 shards");
        assert!(retention_price(48, "ON_DEMAND", 4).starts_with("$0.1 a month for each GB"));
        assert!(retention_price(8_760, "PROVISIONED", 1).contains("older than 7 days $0.023 a month"));
        assert!(unfit_retention(23).is_some() && unfit_retention(8_761).is_some() && unfit_retention(24).is_none());
    }
}
