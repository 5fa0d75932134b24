//! The autoscaler's configuration, as its TOML says it: which tables, within what, when not, and whom to tell.

use std::time::Duration;

use jiff::tz::TimeZone;
use regex::Regex;
use serde::Deserialize;

use super::LARGEST;
use super::rules::{Bounds, Reading};
use super::window::{Deny, Window};

/// A configuration with every option in it and what it means.
pub const EXAMPLE: &str = include_str!("../../assets/autoscale.toml");

/// What the autoscaler does.
#[derive(Clone, Debug)]
pub struct Config {
    /// Time between two looks.
    pub every: Duration,
    /// How CloudWatch's minutes are read.
    pub reading: Reading,
    /// Decide, write down, change nothing.
    pub dry_run: bool,
    /// A URL that must answer 2xx before anything is changed.
    pub webhook: Option<String>,
    /// How long the webhook and the command may take.
    pub patience: Duration,
    /// A program and its arguments that is told of each change, as JSON on its stdin.
    pub command: Vec<String>,
    /// The ARN of an SNS topic that is told of each change.
    pub sns: Option<String>,
    /// When what is left alone.
    pub windows: Vec<(Option<Regex>, Window)>,
    /// What tables are held to; the first whose name matches counts.
    pub tables: Vec<TableRule>,
}

/// What tables of some names are held to.
#[derive(Clone, Debug)]
pub struct TableRule {
    /// Matches the names, from their beginning.
    pub name: Regex,
    /// Their writes; `None` leaves them alone.
    pub write: Option<Bounds>,
    /// Their reads; `None` leaves them alone.
    pub read: Option<Bounds>,
    /// Their indexes as well, within the same bounds.
    pub indexes: bool,
}

/// A configuration that can't be used: where, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{reason}", line.map(|line| format!("line {line}: ")).unwrap_or_default())]
pub struct ConfigError {
    /// The line, from 1, where it is known.
    pub line: Option<usize>,
    /// What is wrong, with the nearest name that exists.
    pub reason: String,
}

impl ConfigError {
    fn new(reason: impl Into<String>) -> Self {
        Self { line: None, reason: reason.into() }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawConfig {
    every: Option<String>,
    lag: Option<String>,
    over: Option<String>,
    #[serde(default)]
    dry_run: bool,
    webhook: Option<String>,
    patience: Option<String>,
    #[serde(default)]
    notify: RawNotify,
    #[serde(default)]
    window: Vec<RawWindow>,
    #[serde(default)]
    table: Vec<RawTable>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawNotify {
    #[serde(default)]
    command: Vec<String>,
    sns: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawWindow {
    within: Option<String>,
    outside: Option<String>,
    zone: Option<String>,
    deny: Deny,
    tables: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTable {
    name: String,
    write: Option<RawBounds>,
    read: Option<RawBounds>,
    #[serde(default = "yes")]
    indexes: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawBounds {
    scale: Option<bool>,
    min: Option<u64>,
    max: Option<u64>,
    raise_over: Option<f64>,
    raise_by: Option<f64>,
    lower_under: Option<f64>,
    lower_by: Option<f64>,
}

fn yes() -> bool {
    true
}

/// Reads a configuration.
///
/// # Errors
/// What is no TOML, unknown keys with the nearest that exist, and values that contradict each other.
pub fn parse(text: &str) -> Result<Config, ConfigError> {
    let raw: RawConfig = toml::from_str(text).map_err(|error| ConfigError {
        line: error.span().map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1),
        reason: with_nearest(error.message()),
    })?;
    if raw.table.is_empty() {
        return Err(ConfigError::new("no [[table]] says which tables are scaled: add one with a name"));
    }
    let every = duration("every", raw.every.as_deref(), Duration::from_mins(1))?;
    if every < Duration::from_secs(10) {
        return Err(ConfigError::new("every is under 10s: CloudWatch tells a minute at a time"));
    }
    let default = Reading::default();
    let reading = Reading {
        lag: minutes("lag", raw.lag.as_deref(), default.lag)?.max(0),
        over: minutes("over", raw.over.as_deref(), default.over)?.max(1),
    };
    if let Some(url) = &raw.webhook
        && !url.starts_with("http://")
        && !url.starts_with("https://")
    {
        return Err(ConfigError::new(format!("webhook {url:?} is no URL: write it with http:// or https://")));
    }
    if let Some(arn) = &raw.notify.sns
        && !arn.starts_with("arn:")
    {
        return Err(ConfigError::new(format!("notify.sns {arn:?} is no ARN: write arn:aws:sns:REGION:ACCOUNT:TOPIC")));
    }
    Ok(Config {
        every,
        reading,
        dry_run: raw.dry_run,
        webhook: raw.webhook,
        patience: duration("patience", raw.patience.as_deref(), Duration::from_secs(10))?,
        command: raw.notify.command,
        sns: raw.notify.sns,
        windows: raw.window.into_iter().map(window).collect::<Result<_, _>>()?,
        tables: raw.table.into_iter().map(table).collect::<Result<_, _>>()?,
    })
}

impl Config {
    /// What a table of that name is held to.
    pub fn rule(&self, table: &str) -> Option<&TableRule> {
        self.tables.iter().find(|rule| rule.name.is_match(table))
    }

    /// The window that forbids to raise, or to lower, `table` at `now_ms` (ms since epoch).
    pub fn forbidding(&self, table: &str, raise: bool, now_ms: i64) -> Option<&Window> {
        let concerns = |names: &Option<Regex>| names.as_ref().is_none_or(|names| names.is_match(table));
        let windows = self.windows.iter().filter(|(names, _)| concerns(names)).map(|(_, window)| window);
        windows.into_iter().find(|window| window.forbids(raise, now_ms))
    }
}

fn window(raw: RawWindow) -> Result<(Option<Regex>, Window), ConfigError> {
    let (span, outside) = match (raw.within, raw.outside) {
        (Some(span), None) => (span, false),
        (None, Some(span)) => (span, true),
        _ => {
            return Err(ConfigError::new(
                "a [[window]] has either within or outside, such as within = \"22:00-04:00\"",
            ));
        }
    };
    let zone = raw.zone.as_deref().unwrap_or("UTC");
    let zone = TimeZone::get(zone).map_err(|_| {
        let known: Vec<String> = jiff::tz::db().available().map(|name| name.as_str().to_owned()).collect();
        ConfigError::new(format!("there is no time zone {zone:?}{}", nearest(zone, known.iter().map(String::as_str))))
    })?;
    let names = raw.tables.as_deref().map(names).transpose()?;
    Ok((names, Window { span: span.parse().map_err(ConfigError::new)?, outside, zone, deny: raw.deny }))
}

fn table(raw: RawTable) -> Result<TableRule, ConfigError> {
    let name = names(&raw.name)?;
    let of =
        |direction: &str, raw_bounds: Option<RawBounds>| bounds(&raw.name, direction, &raw_bounds.unwrap_or_default());
    Ok(TableRule { name, write: of("write", raw.write)?, read: of("read", raw.read)?, indexes: raw.indexes })
}

fn bounds(table: &str, direction: &str, raw: &RawBounds) -> Result<Option<Bounds>, ConfigError> {
    if raw.scale == Some(false) {
        return Ok(None);
    }
    let default = Bounds::default();
    let bounds = Bounds {
        min: raw.min.unwrap_or(default.min),
        max: raw.max.unwrap_or(default.max),
        raise_over: raw.raise_over.unwrap_or(default.raise_over),
        raise_by: raw.raise_by.unwrap_or(default.raise_by),
        lower_under: raw.lower_under.unwrap_or(default.lower_under),
        lower_by: raw.lower_by.unwrap_or(default.lower_by),
    };
    let wrong = |reason: String| Err(ConfigError::new(format!("table {table:?}, {direction}: {reason}")));
    if bounds.min == 0 || bounds.min > bounds.max {
        return wrong(format!("min {} is not from 1 to max {}", bounds.min, bounds.max));
    }
    if bounds.max > LARGEST {
        return wrong(format!("max {} is above what AWS gives a table, {LARGEST}", bounds.max));
    }
    // A raise must not end below the threshold to lower it again.
    if !(0.0..bounds.raise_over).contains(&bounds.lower_under) {
        return wrong(format!("lower_under {} is not below raise_over {}", bounds.lower_under, bounds.raise_over));
    }
    let raises = bounds.raise_by > 0.0 && bounds.raise_by <= 1_000.0;
    let lowers = bounds.lower_by > 0.0 && bounds.lower_by <= 100.0;
    if !(raises && lowers) {
        return wrong("raise_by is over 0 to 1000 percent, lower_by over 0 to 100 percent".to_owned());
    }
    Ok(Some(bounds))
}

/// As dynamic-dynamodb matches: from the beginning of the name, to wherever the expression ends.
fn names(expression: &str) -> Result<Regex, ConfigError> {
    Regex::new(&format!("^(?:{expression})")).map_err(|error| {
        let said = error.to_string();
        let last = said.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
        ConfigError::new(format!("{expression:?} is no regular expression: {last}"))
    })
}

fn duration(name: &str, text: Option<&str>, or: Duration) -> Result<Duration, ConfigError> {
    let Some(text) = text else { return Ok(or) };
    humantime::parse_duration(text)
        .map_err(|_| ConfigError::new(format!("{name} = {text:?} is no duration: write 60s or 2m")))
}

fn minutes(name: &str, text: Option<&str>, or: i64) -> Result<i64, ConfigError> {
    let Some(text) = text else { return Ok(or) };
    let seconds = duration(name, Some(text), Duration::ZERO)?.as_secs();
    if !seconds.is_multiple_of(60) || seconds > 3_600 {
        return Err(ConfigError::new(format!("{name} = {text:?} is not whole minutes up to an hour: write 2m")));
    }
    Ok((seconds / 60) as i64)
}

/// ``unknown field `mni`, expected one of `min`, `max` `` with the nearest of them named first.
pub fn with_nearest(message: &str) -> String {
    let mut names = message.split('`').skip(1).step_by(2);
    match (message.starts_with("unknown field") || message.starts_with("unknown variant"), names.next()) {
        (true, Some(unknown)) => {
            let expected: Vec<&str> = names.collect();
            let what = if message.starts_with("unknown field") { "key" } else { "value" };
            format!(
                "there is no {what} {unknown:?}{}; there are {}",
                nearest(unknown, expected.iter().copied()),
                expected.join(", ")
            )
        }
        _ => message.to_owned(),
    }
}

fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    let scored = known.map(|other| (strsim::normalized_damerau_levenshtein(name, other), other));
    match scored.max_by(|a, b| a.0.total_cmp(&b.0)) {
        Some((score, other)) if score > 0.6 => format!(": did you mean {other}?"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        parse(text).unwrap_err().to_string()
    }

    #[test]
    fn the_example_is_a_configuration_that_works() {
        let config = parse(EXAMPLE).unwrap();
        assert!(config.rule("events-2026").is_some());
    }

    #[test]
    fn a_name_alone_takes_the_fleets_rules() {
        let config = parse("[[table]]\nname = \"historical\"").unwrap();
        let rule = config.rule("historical").unwrap();
        assert_eq!((rule.write, rule.read, rule.indexes), (Some(Bounds::default()), Some(Bounds::default()), true));
        assert_eq!((config.every, config.reading), (Duration::from_mins(1), Reading { lag: 2, over: 2 }));
    }

    #[test]
    fn the_first_table_that_matches_from_the_beginning_counts() {
        let text =
            "[[table]]\nname = \"prod-.*-log$\"\nwrite.max = 10\n[[table]]\nname = \"prod-\"\nread.scale = false";
        let config = parse(text).unwrap();
        assert_eq!(config.rule("prod-a-log").unwrap().write.unwrap().max, 10);
        let other = config.rule("prod-a-logs").unwrap();
        assert_eq!((other.write.unwrap().max, other.read), (500, None));
        assert!(config.rule("not-prod-a").is_none());
    }

    #[test]
    fn an_unknown_key_is_told_with_its_line_and_the_nearest_that_exists() {
        let said = refused("[[table]]\nname = \"t\"\n[table.write]\nmni = 5");
        assert!(said.starts_with("line 4: there is no key \"mni\": did you mean min?"), "{said}");
        let said = refused("dryrun = true\n[[table]]\nname = \"t\"");
        assert!(said.starts_with("line 1: there is no key \"dryrun\": did you mean dry_run?"), "{said}");
        let said = refused("[[table]]\nname=\"t\"\n[[window]]\nwithin=\"22:00-04:00\"\ndeny=\"decrease\"");
        assert!(said.contains("there is no value \"decrease\": did you mean decreases?"), "{said}");
    }

    #[test]
    fn what_contradicts_itself_is_refused_with_the_table_named() {
        for (text, said) in [
            ("write.min = 10\nwrite.max = 5", "table \"t\", write: min 10 is not from 1 to max 5"),
            ("write.min = 0", "table \"t\", write: min 0 is not from 1 to max 500"),
            ("read.max = 50000", "table \"t\", read: max 50000 is above what AWS gives a table, 40000"),
            ("read.lower_under = 95.0", "table \"t\", read: lower_under 95 is not below raise_over 90"),
        ] {
            assert_eq!(refused(&format!("[[table]]\nname = \"t\"\n{text}")), said);
        }
        assert!(refused("every = \"60s\"").contains("no [[table]]"));
        assert!(refused("[[table]]\nname = \"(\"").contains("is no regular expression"));
        assert!(refused("webhook = \"example.org\"\n[[table]]\nname = \"t\"").contains("is no URL"));
    }

    #[test]
    fn an_unknown_time_zone_is_answered_with_the_nearest() {
        let said = refused(
            "[[table]]\nname=\"t\"\n[[window]]\nwithin=\"22:00-04:00\"\nzone=\"Europe/Berln\"\ndeny=\"changes\"",
        );
        assert_eq!(said, "there is no time zone \"Europe/Berln\": did you mean Europe/Berlin?");
    }

    #[test]
    fn a_window_may_concern_some_tables_only() {
        let text =
            "[[table]]\nname = \".*\"\n[[window]]\nwithin = \"00:00-00:00\"\ndeny = \"decreases\"\ntables = \"prod-\"";
        let config = parse(text).unwrap();
        assert!(config.forbidding("prod-a", false, 0).is_some());
        assert!(config.forbidding("prod-a", true, 0).is_none());
        assert!(config.forbidding("test-a", false, 0).is_none());
    }
}
