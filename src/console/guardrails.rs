//! What `config.toml` says of contexts: how each looks, and what it guards. Rules of contexts that overlap add up: the
//! strictest word of each counts.

use std::fmt;

use regex::Regex;
use serde::Deserialize;

use super::theme::{Colour, Name};
use crate::cloud::{Context, Mode};

/// What is asked before something changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// What costs, ends or loses something.
    #[default]
    Normal,
    /// Whatever changes anything, a job's rate too.
    Everything,
    /// The same, and each time the name of what is changed is typed.
    Typed,
}

/// Names as a rule matches them: `*` stands for any characters, `?` for one.
#[derive(Clone, Debug)]
pub struct Pattern(Regex);

impl Pattern {
    /// The pattern that `text` writes.
    #[allow(clippy::missing_panics_doc, reason = "every text makes a regular expression")]
    pub fn new(text: &str) -> Self {
        let mut expression = String::from("^");
        for c in text.chars() {
            match c {
                '*' => expression.push_str(".*"),
                '?' => expression.push('.'),
                c => expression.push_str(&regex::escape(c.encode_utf8(&mut [0; 4]))),
            }
        }
        expression.push('$');
        Self(Regex::new(&expression).expect("everything but dots and stars is escaped"))
    }

    fn matches(&self, text: &str) -> bool {
        self.0.is_match(text)
    }
}

/// One `[contexts.NAME]`.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Its name, which questions and the header say.
    pub name: String,
    /// The profiles it is about; `None` is all.
    pub profile: Option<Pattern>,
    /// The accounts, in twelve digits; `None` is all.
    pub account: Option<Pattern>,
    /// The regions; `None` is all.
    pub region: Option<Pattern>,
    /// What it asks for.
    pub asks: Asks,
}

/// What a rule asks for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Asks {
    /// A theme of its own.
    pub theme: Option<Name>,
    /// The colour of its header.
    pub colour: Option<Colour>,
    /// Nothing is changed.
    pub read_only: bool,
    /// What is asked before something changes.
    pub confirm: Level,
    /// A raise above it has its name typed, WCU.
    pub max_write_capacity: Option<u64>,
    /// Questions to AWS a second.
    pub api_rate: Option<f64>,
}

/// All rules, in the file's order.
#[derive(Clone, Debug, Default)]
pub struct Rules(pub Vec<Rule>);

/// What holds in one context.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Guardrails {
    /// The rules that it comes from.
    pub names: Vec<String>,
    /// The theme, of the first rule that has one.
    pub theme: Option<Name>,
    /// The colour of the header, of the first rule that has one.
    pub colour: Option<Colour>,
    /// Nothing is changed.
    pub read_only: bool,
    /// What is asked before something changes.
    pub confirm: Level,
    /// A raise above it has its name typed, WCU.
    pub max_write_capacity: Option<u64>,
    /// Questions to AWS a second.
    pub api_rate: Option<f64>,
    /// A rule names accounts and the account is not known yet: it guards as if it matched.
    pub awaits_account: bool,
}

impl Rules {
    /// What holds for this profile and region in this account; until the account is known, rules of accounts guard as if
    /// they matched, and change nothing of how it looks.
    pub fn of(&self, profile: &str, region: &str, account: Option<&str>) -> Guardrails {
        let mut all = Guardrails::default();
        let fits = |pattern: &Option<Pattern>, text: &str| pattern.as_ref().is_none_or(|p| p.matches(text));
        // A context whose region only its profile knows may be in any.
        let in_region = |rule: &Rule| region.is_empty() || fits(&rule.region, region);
        for rule in self.0.iter().filter(|rule| fits(&rule.profile, profile) && in_region(rule)) {
            let is_sure = match (&rule.account, account) {
                (Some(pattern), Some(account)) if !pattern.matches(account) => continue,
                (Some(_), None) => false,
                _ => rule.region.is_none() || !region.is_empty(),
            };
            let asks = &rule.asks;
            if is_sure {
                all.names.push(rule.name.clone());
                all.theme = all.theme.or(asks.theme);
                all.colour = all.colour.or(asks.colour);
            }
            all.awaits_account |= !is_sure;
            all.read_only |= asks.read_only;
            all.confirm = all.confirm.max(asks.confirm);
            all.max_write_capacity = least(all.max_write_capacity, asks.max_write_capacity, u64::min);
            all.api_rate = least(all.api_rate, asks.api_rate, f64::min);
        }
        all
    }
}

fn least<T>(a: Option<T>, b: Option<T>, min: impl Fn(T, T) -> T) -> Option<T> {
    match (a, b) {
        (Some(a), Some(b)) => Some(min(a, b)),
        (a, b) => a.or(b),
    }
}

/// The profile that a context without one acts with, for rules and the header.
pub fn profile_of(context: &Context) -> String {
    let named = context.profile.clone().or_else(|| std::env::var("AWS_PROFILE").ok().filter(|p| !p.is_empty()));
    named.unwrap_or_else(|| if context.is_loopback() { "local" } else { "default" }.to_owned())
}

impl Guardrails {
    /// What holds where something changes in two contexts.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.names.extend(other.names.into_iter().filter(|name| !self.names.contains(name)).collect::<Vec<_>>());
        Self {
            names: self.names,
            theme: self.theme.or(other.theme),
            colour: self.colour.or(other.colour),
            read_only: self.read_only || other.read_only,
            confirm: self.confirm.max(other.confirm),
            max_write_capacity: least(self.max_write_capacity, other.max_write_capacity, u64::min),
            api_rate: least(self.api_rate, other.api_rate, f64::min),
            awaits_account: self.awaits_account || other.awaits_account,
        }
    }

    /// What becomes of changes where the command line asked for `mode`: the stricter counts. A dry run sends nothing, so it
    /// is let through to show what would be sent. `read_write` lifts a context's own read-only for one run.
    pub fn mode(&self, mode: Mode, read_write: bool) -> Mode {
        match mode {
            Mode::Normal if self.read_only && !read_write => Mode::ReadOnly,
            mode => mode,
        }
    }

    /// The rate of questions, a second, where the command line asked for one or for none.
    pub fn rate(&self, asked: Option<f64>, usual: f64) -> f64 {
        least(asked, self.api_rate, f64::min).unwrap_or(usual)
    }

    /// Why changes are refused here, and what lifts it: a sentence's end.
    pub fn why_read_only(&self) -> String {
        if !self.read_only {
            return "start sluice without --read-only".to_owned();
        }
        if self.awaits_account && self.names.is_empty() {
            return "config.toml has rules for accounts, and the account is not known yet".to_owned();
        }
        format!("{self} of config.toml is read_only; sluice --read-write lifts it for one run")
    }
}

impl fmt::Display for Guardrails {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.names.iter().map(|name| format!("[contexts.{name}]")).collect();
        f.write_str(&names.join(" and "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(name: &str, profile: Option<&str>, account: Option<&str>, region: Option<&str>, asks: Asks) -> Rule {
        let pattern = |text: Option<&str>| text.map(Pattern::new);
        Rule { name: name.into(), profile: pattern(profile), account: pattern(account), region: pattern(region), asks }
    }

    #[test]
    fn patterns_match_whole_names() {
        assert!(Pattern::new("prod*").matches("prod-eu") && !Pattern::new("prod*").matches("nonprod"));
        assert!(Pattern::new("eu-west-?").matches("eu-west-1") && !Pattern::new("eu-west-?").matches("eu-west-11"));
        assert!(Pattern::new("a.b").matches("a.b") && !Pattern::new("a.b").matches("axb"));
    }

    #[test]
    fn rules_add_up_and_the_strictest_word_counts() {
        let rules = Rules(vec![
            rule(
                "prod",
                Some("prod*"),
                None,
                None,
                Asks {
                    colour: Some(Colour::Red),
                    confirm: Level::Everything,
                    max_write_capacity: Some(1_000),
                    api_rate: Some(5.0),
                    ..Asks::default()
                },
            ),
            rule(
                "eu",
                None,
                None,
                Some("eu-*"),
                Asks {
                    colour: Some(Colour::Blue),
                    read_only: true,
                    confirm: Level::Typed,
                    max_write_capacity: Some(4_000),
                    ..Asks::default()
                },
            ),
        ]);
        let both = rules.of("prod-a", "eu-west-1", None);
        assert_eq!(both.names, ["prod", "eu"]);
        assert_eq!((both.colour, both.read_only, both.confirm), (Some(Colour::Red), true, Level::Typed));
        assert_eq!((both.max_write_capacity, both.api_rate), (Some(1_000), Some(5.0)));
        let one = rules.of("prod-a", "us-east-1", None);
        assert_eq!((one.read_only, one.confirm), (false, Level::Everything));
        assert_eq!(rules.of("dev", "us-east-1", None), Guardrails::default());
    }

    #[test]
    fn until_the_account_is_known_a_rule_of_accounts_guards_as_if_it_matched() {
        let rules = Rules(vec![rule(
            "prod",
            None,
            Some("1111*"),
            None,
            Asks { colour: Some(Colour::Red), read_only: true, ..Asks::default() },
        )]);
        let unknown = rules.of("p", "r", None);
        assert!(unknown.read_only && unknown.awaits_account && unknown.colour.is_none());
        assert!(unknown.why_read_only().contains("not known yet"));
        let known = rules.of("p", "r", Some("111122223333"));
        assert!(known.read_only && !known.awaits_account && known.colour == Some(Colour::Red));
        assert_eq!(rules.of("p", "r", Some("999922223333")), Guardrails::default());
    }

    #[test]
    fn a_stricter_option_wins_and_a_looser_one_does_not() {
        let guarded = Guardrails { read_only: true, api_rate: Some(5.0), ..Guardrails::default() };
        let free = Guardrails::default();
        assert_eq!(guarded.mode(Mode::Normal, false), Mode::ReadOnly);
        assert_eq!(guarded.mode(Mode::Normal, true), Mode::Normal);
        assert_eq!(guarded.mode(Mode::DryRun, false), Mode::DryRun, "it sends nothing, and shows what it would");
        assert_eq!(
            free.mode(Mode::ReadOnly, true),
            Mode::ReadOnly,
            "--read-write lifts a context's word, not the option"
        );
        assert_eq!((guarded.rate(Some(50.0), 10.0), guarded.rate(Some(2.0), 10.0)), (5.0, 2.0));
        assert_eq!((guarded.rate(None, 10.0), free.rate(None, 10.0)), (5.0, 10.0));
    }
}
