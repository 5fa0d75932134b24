//! Faults on demand: what goes wrong, how often, and the same way again for the same seed.
//!
//! They hit data only (items, records, objects): tables and streams can be set up under any spec. Latency alone hits
//! everything.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Mutex;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Something that can go wrong with one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// Refused as if throughput were used up.
    Throttle,
    /// An internal error, status 500.
    Error,
    /// Part of a batch comes back unprocessed or failed.
    Partial,
    /// The connection is dropped in the middle of the reply.
    Reset,
    /// A shard iterator is refused as expired.
    ExpireIterators,
    /// Carried out, but the connection is dropped before the reply.
    LoseReply,
}

impl Fault {
    const ALL: [Self; 6] =
        [Self::Throttle, Self::Error, Self::Partial, Self::Reset, Self::ExpireIterators, Self::LoseReply];

    /// Its name in a spec.
    pub fn name(self) -> &'static str {
        match self {
            Self::Throttle => "throttle",
            Self::Error => "error",
            Self::Partial => "partial",
            Self::Reset => "reset",
            Self::ExpireIterators => "expire-iterators",
            Self::LoseReply => "lose-reply",
        }
    }
}

/// Why a fault spec can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("fault spec: {part:?} {reason}")]
pub struct BadSpec {
    /// The part between commas that is wrong.
    pub part: String,
    /// What is wrong with it.
    pub reason: String,
}

/// Which faults happen and how often. The default is none.
///
/// Each kind draws from its own generator, so that asking for one more kind does not change when the others strike.
#[derive(Debug, Default)]
pub struct Faults {
    seed: u64,
    latency: Option<Duration>,
    kinds: BTreeMap<Fault, Kind>,
}

#[derive(Debug)]
struct Kind {
    share: f64,
    dice: Mutex<StdRng>,
}

impl Clone for Faults {
    fn clone(&self) -> Self {
        let shares = self.kinds.iter().map(|(fault, kind)| (*fault, kind.share)).collect();
        Self::from_shares(shares, self.latency, self.seed)
    }
}

impl Faults {
    fn from_shares(shares: BTreeMap<Fault, f64>, latency: Option<Duration>, seed: u64) -> Self {
        let kinds = shares
            .into_iter()
            .map(|(fault, share)| {
                let dice = Mutex::new(StdRng::seed_from_u64(seed.wrapping_mul(31).wrapping_add(fault as u64)));
                (fault, Kind { share, dice })
            })
            .collect();
        Self { seed, latency, kinds }
    }

    /// The same faults, drawn anew from `seed`.
    #[must_use]
    pub fn seeded(self, seed: u64) -> Self {
        Self { seed, ..self }.clone()
    }

    /// Whether `fault` strikes now.
    pub fn roll(&self, fault: Fault) -> bool {
        self.kinds.get(&fault).is_some_and(|kind| {
            let mut dice = kind.dice.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            dice.random_bool(kind.share)
        })
    }

    /// Which of the `count` entries of a batch fail now, when [`Fault::Partial`] strikes: at least one and, of several,
    /// not all.
    pub fn partial(&self, count: usize) -> Option<Vec<bool>> {
        if count == 0 || !self.roll(Fault::Partial) {
            return None;
        }
        let mut dice = self.kinds.get(&Fault::Partial)?.dice.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut failed: Vec<bool> = (0..count).map(|_| dice.random_bool(0.3)).collect();
        let certain = dice.random_range(0..count);
        failed[certain] = true;
        if count > 1 && failed.iter().all(|failed| *failed) {
            failed[(certain + 1) % count] = false;
        }
        Some(failed)
    }

    /// How long every reply waits.
    pub fn latency(&self) -> Option<Duration> {
        self.latency
    }
}

impl FromStr for Faults {
    type Err = BadSpec;

    /// Reads `NAME=VALUE,…`: `throttle=30%`, `error=5%`, `partial=10%`, `reset=2%`, `latency=20ms`,
    /// `expire-iterators=1%`, `lose-reply=2%`. An empty spec is no faults.
    fn from_str(spec: &str) -> Result<Self, BadSpec> {
        let mut shares = BTreeMap::new();
        let mut latency = None;
        for part in spec.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let bad = |reason: String| BadSpec { part: part.to_owned(), reason };
            let Some((name, value)) = part.split_once('=') else {
                return Err(bad("has no value: write NAME=VALUE, such as throttle=30%".into()));
            };
            let (name, value) = (name.trim(), value.trim());
            if name == "latency" {
                let time = humantime::parse_duration(value)
                    .map_err(|e| bad(format!("is no duration ({e}): write it as 20ms or 1s")))?;
                if latency.replace(time).is_some() {
                    return Err(bad("is given twice".into()));
                }
                continue;
            }
            let Some(fault) = Fault::ALL.into_iter().find(|fault| fault.name() == name) else {
                let mut names: Vec<_> = Fault::ALL.into_iter().map(Fault::name).collect();
                names.push("latency");
                let nearest =
                    names.iter().max_by(|a, b| strsim::jaro_winkler(a, name).total_cmp(&strsim::jaro_winkler(b, name)));
                let nearest = nearest.filter(|known| strsim::jaro_winkler(known, name) > 0.7);
                let hint = nearest.map(|known| format!(" (did you mean {known}?)")).unwrap_or_default();
                return Err(bad(format!("is not a fault{hint}; the faults are {}", names.join(", "))));
            };
            let percent = value
                .strip_suffix('%')
                .and_then(|number| number.trim().parse::<f64>().ok())
                .filter(|percent| (0.0..=100.0).contains(percent))
                .ok_or_else(|| bad("is no share: write a percentage from 0% to 100%".into()))?;
            if shares.insert(fault, percent / 100.0).is_some() {
                return Err(bad("is given twice".into()));
            }
        }
        Ok(Self::from_shares(shares, latency, 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rolls(faults: &Faults, fault: Fault) -> Vec<bool> {
        (0..200).map(|_| faults.roll(fault)).collect()
    }

    #[test]
    fn every_fault_of_the_command_line_is_understood() {
        let spec = "throttle=30%, error=5%,partial=10%,reset=2%,latency=20ms,expire-iterators=1%,lose-reply=2.5%";
        let faults: Faults = spec.parse().unwrap();
        assert_eq!(faults.latency(), Some(Duration::from_millis(20)));
        assert_eq!(faults.kinds.len(), Fault::ALL.len());
        assert!((faults.kinds[&Fault::LoseReply].share - 0.025).abs() < 1e-9);
    }

    #[test]
    fn an_empty_spec_never_strikes_and_a_hundred_percent_always_does() {
        let none: Faults = "".parse().unwrap();
        assert!(Fault::ALL.into_iter().all(|fault| !rolls(&none, fault).contains(&true)));
        let always: Faults = "error=100%".parse().unwrap();
        assert!(!rolls(&always, Fault::Error).contains(&false));
    }

    #[test]
    fn the_same_seed_strikes_the_same_requests_and_another_seed_others() {
        let faults: Faults = "throttle=30%,error=30%".parse().unwrap();
        let first = rolls(&faults.clone().seeded(7), Fault::Throttle);
        assert_eq!(first, rolls(&faults.clone().seeded(7), Fault::Throttle));
        assert_ne!(first, rolls(&faults.clone().seeded(8), Fault::Throttle));
        assert_ne!(first, rolls(&faults.seeded(7), Fault::Error));
    }

    #[test]
    fn another_kind_of_fault_does_not_move_the_strikes_of_the_first() {
        let alone: Faults = "throttle=30%".parse().unwrap();
        let both: Faults = "throttle=30%,error=50%".parse().unwrap();
        let (alone, both) = (alone.seeded(7), both.seeded(7));
        let mixed = (0..200).map(|_| {
            both.roll(Fault::Error);
            both.roll(Fault::Throttle)
        });
        assert_eq!(rolls(&alone, Fault::Throttle), mixed.collect::<Vec<_>>());
    }

    #[test]
    fn the_share_is_kept() {
        let faults: Faults = "partial=10%".parse().unwrap();
        let struck = (0..10_000).filter(|_| faults.roll(Fault::Partial)).count();
        assert!((900..1100).contains(&struck), "{struck}");
    }

    #[test]
    fn a_partial_failure_spares_some_and_hits_some() {
        let faults: Faults = "partial=100%".parse().unwrap();
        for _ in 0..100 {
            let failed = faults.partial(5).unwrap();
            assert!(failed.contains(&true) && failed.contains(&false), "{failed:?}");
        }
        assert_eq!(faults.partial(1), Some(vec![true]));
        assert_eq!(faults.partial(0), None);
        assert_eq!("error=100%".parse::<Faults>().unwrap().partial(5), None);
    }

    #[test]
    fn a_bad_spec_names_the_part_and_what_is_allowed() {
        let told = |spec: &str| spec.parse::<Faults>().unwrap_err().to_string();
        let unknown = told("error=5%,throtle=3%");
        assert!(unknown.contains("throtle=3%"), "{unknown}");
        assert!(unknown.contains("did you mean throttle?"), "{unknown}");
        assert!(unknown.contains("lose-reply"), "{unknown}");
        assert!(told("error").contains("NAME=VALUE"));
        assert!(told("error=120%").contains("0% to 100%"));
        assert!(told("error=5").contains("percentage"));
        assert!(told("latency=soon").contains("20ms"));
        assert!(told("error=5%,error=6%").contains("twice"));
    }
}
