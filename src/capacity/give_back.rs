//! What a debt comes to: capacity that was raised, judged by how things stand now.

use super::{Left, Resource};

/// What is to be done about a raise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// Set it back to this.
    Lower(u64),
    /// Nothing is owed any more.
    Nothing(Why),
    /// It stays owed, and is offered again.
    Later(Wait),
}

/// Why nothing is owed any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It has no provisioned capacity any more.
    OnDemand,
    /// It has no more than before the raise: the raise never happened, or was undone.
    AlreadyBack(u64),
    /// Somebody else set it meanwhile: theirs stays.
    SetByAnother(u64),
    /// It does not exist any more.
    Gone,
}

/// Why it can't be given back yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// AWS is still changing it.
    BeingChanged,
    /// No decrease is left; the next is allowed then, ms since epoch.
    NoDecrease(i64),
}

/// How the resource stands now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Its capacity; `None` on demand.
    pub now: Option<u64>,
    /// False while AWS is changing it.
    pub is_active: bool,
    /// How often it may still come down; `None` for a stream, whose rule is another.
    pub left: Option<Left>,
}

/// What becomes of a raise from `before` to `after`: never below what was there before, never below what somebody else
/// set meanwhile, and only while AWS lets it come down.
pub fn settle(before: u64, after: u64, standing: Standing) -> Settlement {
    let Some(now) = standing.now else { return Settlement::Nothing(Why::OnDemand) };
    // While it is being changed, what it says it has is what it had.
    if !standing.is_active {
        return Settlement::Later(Wait::BeingChanged);
    }
    if now <= before {
        return Settlement::Nothing(Why::AlreadyBack(now));
    }
    if now != after {
        return Settlement::Nothing(Why::SetByAnother(now));
    }
    match standing.left.and_then(|left| left.next_ms) {
        Some(next_ms) => Settlement::Later(Wait::NoDecrease(next_ms)),
        None => Settlement::Lower(before),
    }
}

/// The settlement of a raise of `resource` from `before` to `after`, in words.
pub fn in_words(resource: &Resource, before: u64, after: u64, settlement: Settlement) -> String {
    let unit = resource.unit();
    match settlement {
        Settlement::Lower(to) => format!("gave {resource} back from {after} to {to} {unit}"),
        Settlement::Nothing(Why::OnDemand) => format!("{resource} is on demand now: nothing to give back"),
        Settlement::Nothing(Why::AlreadyBack(now)) => {
            format!("{resource} is at {now} {unit} already: nothing to give back")
        }
        Settlement::Nothing(Why::SetByAnother(now)) => {
            format!("{resource} was set to {now} {unit} by somebody else (we left it at {after}): left as it is")
        }
        Settlement::Nothing(Why::Gone) => format!("{resource} does not exist any more: nothing to give back"),
        Settlement::Later(Wait::BeingChanged) => {
            format!("{resource} is still being changed by AWS: {before} {unit} stay owed, and are offered again")
        }
        Settlement::Later(Wait::NoDecrease(next_ms)) => format!(
            "{resource} has no decrease left today: the next is allowed at {} UTC; it stays at {after} and {before} {unit} stay owed, and are offered again",
            super::decreases::clock(next_ms)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE_LEFT: Left = Left { now: 0, used: 4, next_ms: Some(1_000) };
    const SOME_LEFT: Left = Left { now: 2, used: 2, next_ms: None };

    fn standing(now: u64) -> Standing {
        Standing { now: Some(now), is_active: true, left: Some(SOME_LEFT) }
    }

    #[test]
    fn what_was_there_before_is_set_again() {
        assert_eq!(settle(130, 195, standing(195)), Settlement::Lower(130));
    }

    #[test]
    fn what_somebody_else_set_meanwhile_stays() {
        for now in [160, 400] {
            assert_eq!(settle(130, 195, standing(now)), Settlement::Nothing(Why::SetByAnother(now)));
        }
    }

    #[test]
    fn it_never_goes_below_what_was_there_before() {
        for now in [130, 100, 1] {
            assert_eq!(settle(130, 195, standing(now)), Settlement::Nothing(Why::AlreadyBack(now)));
        }
    }

    #[test]
    fn a_raise_that_aws_is_still_making_is_not_taken_for_none() {
        let changing = Standing { is_active: false, ..standing(130) };
        assert_eq!(settle(130, 195, changing), Settlement::Later(Wait::BeingChanged));
    }

    #[test]
    fn without_a_decrease_it_stays_owed_and_the_time_of_the_next_is_said() {
        let none = Standing { left: Some(NONE_LEFT), ..standing(195) };
        let settlement = settle(130, 195, none);
        assert_eq!(settlement, Settlement::Later(Wait::NoDecrease(1_000)));
        let words = in_words(&Resource::Table("t".into()), 130, 195, settlement);
        assert!(words.contains("the next is allowed at 00:00 UTC") && words.contains("stay owed"), "{words}");
    }

    #[test]
    fn on_demand_owes_nothing() {
        let on_demand = Standing { now: None, ..standing(0) };
        assert_eq!(settle(130, 195, on_demand), Settlement::Nothing(Why::OnDemand));
    }
}
