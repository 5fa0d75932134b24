//! Times of the day in which capacity is left alone, in a time zone of their own, over midnight if need be.

use std::fmt;

use jiff::Timestamp;
use jiff::civil::Time;
use jiff::tz::TimeZone;

/// What a window forbids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Deny {
    /// Neither up nor down.
    Changes,
    /// Not down.
    Decreases,
    /// Not up.
    Increases,
}

/// `22:00-04:00`: the end is exclusive, and may lie on the next day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    from: Time,
    to: Time,
}

impl Span {
    /// True when `time` lies within. A span that ends where it begins is the whole day.
    pub fn contains(self, time: Time) -> bool {
        if self.from < self.to { self.from <= time && time < self.to } else { self.from <= time || time < self.to }
    }
}

impl std::str::FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let time = |text: &str| {
            let (hour, minute) = text.trim().split_once(':')?;
            Time::new(hour.parse().ok()?, minute.parse().ok()?, 0, 0).ok()
        };
        let parsed = text.split_once('-').and_then(|(from, to)| Some(Self { from: time(from)?, to: time(to)? }));
        parsed.ok_or_else(|| format!("{text:?} is no time of the day: write 22:00-04:00"))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.from.strftime("%H:%M"), self.to.strftime("%H:%M"))
    }
}

/// A time of the day and what it forbids.
#[derive(Clone, Debug)]
pub struct Window {
    /// When.
    pub span: Span,
    /// True when it forbids outside of the span, not within.
    pub outside: bool,
    /// Where it is that time.
    pub zone: TimeZone,
    /// What it forbids.
    pub deny: Deny,
}

impl Window {
    /// True when it forbids to raise (`raise`) or to lower (not `raise`) at `now_ms` (ms since epoch).
    pub fn forbids(&self, raise: bool, now_ms: i64) -> bool {
        let concerns = match self.deny {
            Deny::Changes => true,
            Deny::Decreases => !raise,
            Deny::Increases => raise,
        };
        let now = Timestamp::from_millisecond(now_ms).unwrap_or(Timestamp::MAX);
        let time = now.to_zoned(self.zone.clone()).time();
        concerns && self.span.contains(time) != self.outside
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let deny = match self.deny {
            Deny::Changes => "changes",
            Deny::Decreases => "decreases",
            Deny::Increases => "increases",
        };
        let place = if self.outside { "outside" } else { "within" };
        write!(f, "no {deny} {place} {} {}", self.span, self.zone.iana_name().unwrap_or("UTC"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(span: &str, zone: &str, deny: Deny) -> Window {
        Window { span: span.parse().unwrap(), outside: false, zone: TimeZone::get(zone).unwrap(), deny }
    }

    fn ms(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_millisecond()
    }

    #[test]
    fn a_window_over_midnight_holds_on_both_sides_of_it() {
        let night = window("22:00-04:00", "UTC", Deny::Changes);
        for (at, forbidden) in [
            ("2026-11-20T21:59:59Z", false),
            ("2026-11-20T22:00:00Z", true),
            ("2026-11-20T23:59:59Z", true),
            ("2026-11-21T00:00:00Z", true),
            ("2026-11-21T03:59:59Z", true),
            ("2026-11-21T04:00:00Z", false),
        ] {
            assert_eq!(night.forbids(true, ms(at)), forbidden, "{at}");
        }
    }

    #[test]
    fn a_window_is_meant_in_its_own_zone_in_summer_and_in_winter() {
        let night = window("22:00-04:00", "Europe/Berlin", Deny::Changes);
        assert!(night.forbids(true, ms("2026-07-01T20:30:00Z")), "22:30 in summer");
        assert!(!night.forbids(true, ms("2026-12-01T20:30:00Z")), "21:30 in winter");
    }

    #[test]
    fn only_what_it_denies_is_forbidden() {
        let day = window("08:00-18:00", "UTC", Deny::Decreases);
        let noon = ms("2026-11-20T12:00:00Z");
        assert!(day.forbids(false, noon));
        assert!(!day.forbids(true, noon));
        assert_eq!(day.to_string(), "no decreases within 08:00-18:00 UTC");
    }

    #[test]
    fn outside_turns_it_round() {
        let maintenance = Window { outside: true, ..window("22:00-04:00", "UTC", Deny::Changes) };
        assert!(maintenance.forbids(true, ms("2026-11-20T12:00:00Z")));
        assert!(!maintenance.forbids(true, ms("2026-11-20T23:00:00Z")));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for wrong in ["22-4", "25:00-04:00", "22:00", "22:00-04:61", "night"] {
            assert!(wrong.parse::<Span>().is_err(), "{wrong}");
        }
        assert_eq!("8:00-18:30".parse::<Span>().unwrap().to_string(), "08:00-18:30");
    }
}
