//! The user's `config.toml`, beside the keymap: what is a matter of taste, and what each context looks like and guards.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy as _;
use serde::Deserialize;
use toml::Spanned;

use super::report::Report;
use crate::capacity::Step;
use crate::capacity::config::with_nearest;
use crate::console::guardrails::{Asks, Level, Pattern, Rule, Rules};
use crate::console::theme;

/// What can be set.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// By how much `+` and `-` change a capacity: `bump = "50%"`.
    pub bump: Step,
    /// The console's theme: `theme = "light"`.
    pub theme: Option<theme::Name>,
    /// Regions that the console's list of contexts shows first: `regions = ["eu-west-1"]`.
    pub regions: Vec<String>,
    /// What contexts look like and guard: `[contexts.NAME]`, in their names' order.
    pub rules: Rules,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    bump: Option<Spanned<String>>,
    theme: Option<Spanned<String>>,
    #[serde(default)]
    regions: Vec<String>,
    #[serde(default)]
    contexts: BTreeMap<Spanned<String>, RawContext>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawContext {
    profile: Option<String>,
    account: Option<Spanned<String>>,
    region: Option<String>,
    theme: Option<Spanned<String>>,
    colour: Option<Spanned<String>>,
    #[serde(default)]
    read_only: bool,
    #[serde(default)]
    confirm: Level,
    max_write_capacity: Option<Spanned<u64>>,
    api_rate: Option<Spanned<f64>>,
}

/// The folder of the user's files.
pub fn folder() -> Option<PathBuf> {
    Some(etcetera::choose_base_strategy().ok()?.config_dir().join("sluicegate"))
}

/// The user's settings; the defaults without a file.
///
/// # Errors
/// A file that says what can't be meant, with its line and what to do. It may be what guards production: nothing goes on
/// without it.
pub fn load() -> Result<Settings, Report> {
    match folder().map(|folder| folder.join("config.toml")).filter(|path| path.exists()) {
        Some(path) => read(&path),
        None => Ok(Settings::default()),
    }
}

/// What is wrong, and where it stands.
type Wrong = (Range<usize>, String);

fn read(path: &Path) -> Result<Settings, Report> {
    let hint =
        "docs/console.md lists what it may hold; nothing is done while it is wrong, since it may guard a context";
    let text = std::fs::read_to_string(path)
        .map_err(|error| Report::bad_arguments(format!("{}: {error}", path.display()), hint))?;
    understood(&text).map_err(|(span, reason)| {
        let line = text[..span.start.min(text.len())].matches('\n').count() + 1;
        Report::bad_arguments(format!("{}:{line}: {reason}", path.display()), hint)
    })
}

fn understood(text: &str) -> Result<Settings, Wrong> {
    let raw: Raw =
        toml::from_str(text).map_err(|error| (error.span().unwrap_or_default(), with_nearest(error.message())))?;
    Ok(Settings {
        bump: parsed(raw.bump)?.unwrap_or_default(),
        theme: parsed(raw.theme)?,
        regions: raw.regions,
        rules: Rules(raw.contexts.into_iter().map(rule).collect::<Result<_, _>>()?),
    })
}

fn parsed<T: std::str::FromStr<Err = String>>(text: Option<Spanned<String>>) -> Result<Option<T>, Wrong> {
    text.map(|text| text.get_ref().parse().map_err(|reason| (text.span(), reason))).transpose()
}

fn rule((name, raw): (Spanned<String>, RawContext)) -> Result<Rule, Wrong> {
    if raw.profile.is_none() && raw.account.is_none() && raw.region.is_none() {
        let reason = format!(
            "[contexts.{}] does not say which contexts it is about: give it a profile, an account or a region \
             (region = \"*\" is all)",
            name.get_ref()
        );
        return Err((name.span(), reason));
    }
    let account = match &raw.account {
        Some(account) => {
            let digits = account.get_ref().replace('-', "");
            if !digits.chars().all(|c| c.is_ascii_digit() || matches!(c, '*' | '?')) {
                return Err((
                    account.span(),
                    format!("account {:?} is no account: twelve digits, or with *", account.get_ref()),
                ));
            }
            Some(Pattern::new(&digits))
        }
        None => None,
    };
    if let Some(most) = raw.max_write_capacity.as_ref().filter(|most| *most.get_ref() == 0) {
        return Err((most.span(), "max_write_capacity is at least 1; read_only = true refuses everything".to_owned()));
    }
    if let Some(rate) = raw.api_rate.as_ref().filter(|rate| !(rate.get_ref().is_finite() && *rate.get_ref() > 0.0)) {
        return Err((rate.span(), "api_rate is a number of questions per second above 0".to_owned()));
    }
    Ok(Rule {
        name: name.into_inner(),
        profile: raw.profile.as_deref().map(Pattern::new),
        account,
        region: raw.region.as_deref().map(Pattern::new),
        asks: Asks {
            theme: parsed(raw.theme)?,
            colour: parsed(raw.colour)?,
            read_only: raw.read_only,
            confirm: raw.confirm,
            max_write_capacity: raw.max_write_capacity.map(Spanned::into_inner),
            api_rate: raw.api_rate.map(Spanned::into_inner),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(text: &str) -> Result<Settings, Report> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        std::fs::write(&path, text).unwrap();
        read(&path)
    }

    /// Where it is wrong and why, without the path.
    fn wrong(text: &str) -> String {
        let sentence = with(text).unwrap_err().sentence;
        sentence.split_once("config.toml:").unwrap().1.to_owned()
    }

    #[test]
    fn the_step_of_plus_and_minus_is_a_share() {
        assert_eq!(with("bump = \"20%\"").unwrap().bump.up(100), 120);
        assert_eq!(with("").unwrap().bump, Step::default());
        assert!(wrong("bump = \"many\"").contains("is no step"));
    }

    #[test]
    fn a_context_is_guarded_as_the_file_says() {
        let text = "theme = \"light\"\nregions = [\"eu-west-1\"]\n[contexts.prod]\nprofile = \"prod*\"\n\
                    account = \"1111-2222-3333\"\ncolour = \"red\"\nread_only = true\nconfirm = \"typed\"\n\
                    max_write_capacity = 2000\napi_rate = 5\ntheme = \"mono\"\n";
        let settings = with(text).unwrap();
        assert_eq!((settings.theme, settings.regions), (Some(theme::Name::Light), vec!["eu-west-1".to_owned()]));
        let prod = settings.rules.of("prod-eu", "eu-west-1", Some("111122223333"));
        assert!(prod.read_only && prod.confirm == Level::Typed, "{prod:?}");
        assert_eq!((prod.max_write_capacity, prod.api_rate), (Some(2_000), Some(5.0)));
        assert_eq!(prod.theme, Some(theme::Name::Mono));
        assert!(!settings.rules.of("dev", "eu-west-1", Some("111122223333")).read_only);
    }

    #[test]
    fn what_it_can_not_mean_is_told_with_its_line_and_the_nearest_name() {
        for (text, said) in [
            ("\nbmup = \"20%\"", "2: there is no key \"bmup\": did you mean bump?"),
            (
                "[contexts.prod]\nprofile = \"p\"\nreadonly = true",
                "3: there is no key \"readonly\": did you mean read_only?",
            ),
            (
                "[contexts.prod]\nprofile = \"p\"\nconfirm = \"type\"",
                "3: there is no value \"type\": did you mean typed?",
            ),
            ("[contexts.prod]\nread_only = true", "1: [contexts.prod] does not say which contexts it is about"),
            ("theme = \"drak\"", "1: there is no theme \"drak\": did you mean \"dark\"?"),
            ("[contexts.p]\nregion = \"*\"\ncolour = \"rad\"", "3: there is no colour \"rad\": did you mean \"red\"?"),
            ("[contexts.p]\naccount = \"prod\"", "2: account \"prod\" is no account"),
            ("[contexts.p]\nregion = \"*\"\napi_rate = 0.0", "3: api_rate is a number"),
            ("[contexts.p]\nregion = \"*\"\nmax_write_capacity = 0", "3: max_write_capacity is at least 1"),
        ] {
            let wrong = wrong(text);
            assert!(wrong.starts_with(said), "{wrong}");
        }
    }
}
