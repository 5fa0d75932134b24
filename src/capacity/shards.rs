//! What `UpdateShardCount` allows: at most double, at least half of the open shards a call, ten calls in 24 hours.
//! <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_UpdateShardCount.html>

/// Changes of one stream in any 24 hours.
pub const CHANGES_A_DAY: usize = 10;
/// The span that [`CHANGES_A_DAY`] counts over, ms.
pub const DAY_MS: i64 = 24 * 3_600_000;

/// The fewest and the most shards that one call may ask for, from `open` ones.
pub fn reach(open: u64) -> (u64, u64) {
    (open.div_ceil(2).max(1), open.saturating_mul(2).max(1))
}

/// The counts to ask for one after another, to come from `open` shards to `to`; empty when that is where it is.
pub fn steps(open: u64, to: u64) -> Vec<u64> {
    let (mut at, to) = (open.max(1), to.max(1));
    let mut steps = Vec::new();
    while at != to {
        let (fewest, most) = reach(at);
        at = to.clamp(fewest, most);
        steps.push(at);
    }
    steps
}

/// `4 to 8 to 16 to 20 shards, one call each`.
pub fn in_words(open: u64, steps: &[u64]) -> String {
    let counts: Vec<String> = std::iter::once(open).chain(steps.iter().copied()).map(|n| n.to_string()).collect();
    let calls = if steps.len() == 1 { "one call".to_owned() } else { format!("{} calls", steps.len()) };
    format!("{} shards in {calls}", counts.join(" to "))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn far_is_reached_by_doubling_and_by_halving() {
        assert_eq!(steps(4, 20), [8, 16, 20]);
        assert_eq!(steps(20, 3), [10, 5, 3]);
        assert_eq!(steps(4, 6), [6]);
        assert_eq!(steps(4, 4), [0; 0]);
        assert_eq!(in_words(4, &steps(4, 20)), "4 to 8 to 16 to 20 shards in 3 calls");
    }

    proptest! {
        #[test]
        fn every_step_is_one_that_aws_takes_and_the_last_is_the_aim(open in 1_u64..5_000, to in 1_u64..5_000) {
            let mut at = open;
            for step in steps(open, to) {
                prop_assert!(step <= at * 2 && step * 2 >= at && step != at);
                at = step;
            }
            prop_assert_eq!(at, to);
        }
    }
}
