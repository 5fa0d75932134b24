//! What a sample tells of the whole: exact binomial bounds (Clopper and Pearson), in words.

use crate::jobs::plan::grouped;

/// How sure the bounds are.
const CONFIDENCE: f64 = 0.95;

/// What `differ` differences among `sampled` keys tell of all keys.
pub(super) fn in_words(differ: u64, sampled: u64, is_whole: bool) -> String {
    let keys = grouped(sampled);
    match (differ, sampled) {
        (_, 0) => "no keys to sample".to_owned(),
        (0, _) if is_whole => format!("no difference: all {keys} keys of the source were compared"),
        (_, _) if is_whole => {
            format!("{} of {keys} keys differ, and those are all keys of the source", grouped(differ))
        }
        (0, _) => format!(
            "no difference in {keys} sampled keys: with 95 % confidence fewer than {} % of the keys differ",
            percent(between(0, sampled).1, f64::ceil)
        ),
        _ => {
            let (low, high) = between(differ, sampled);
            format!(
                "{} of {keys} sampled keys differ: with 95 % confidence between {} % and {} % of the keys do",
                grouped(differ),
                percent(low, f64::floor),
                percent(high, f64::ceil)
            )
        }
    }
}

/// The shares of all keys between which the true one lies, when `differ` of `sampled` keys do. Where none or all do, one
/// side is certain, and the other has all of the doubt: for none of n, 3/n is close ("rule of three").
fn between(differ: u64, sampled: u64) -> (f64, f64) {
    let doubt = 1.0 - CONFIDENCE;
    let n = sampled as f64;
    if differ == 0 {
        return (0.0, 1.0 - doubt.powf(1.0 / n));
    }
    if differ >= sampled {
        return (doubt.powf(1.0 / n), 1.0);
    }
    // The chance of so few falls as the share grows.
    let low = share_where(|p| at_most(differ - 1, sampled, p) > 1.0 - doubt / 2.0);
    let high = share_where(|p| at_most(differ, sampled, p) > doubt / 2.0);
    (low, high)
}

/// The share up to which `holds`.
fn share_where(holds: impl Fn(f64) -> bool) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if holds(middle) { low = middle } else { high = middle }
    }
    low
}

/// The chance of at most `k` of `n` when each is one with chance `p`, 0 < p < 1.
fn at_most(k: u64, n: u64, p: f64) -> f64 {
    let odds = (p / (1.0 - p)).ln();
    // In logarithms, since the first terms of many keys are too small for a float.
    let mut term = n as f64 * (-p).ln_1p();
    let (mut largest, mut sum) = (term, 1.0);
    for i in 0..k {
        term += ((n - i) as f64 / (i + 1) as f64).ln() + odds;
        if term > largest {
            sum = sum * (largest - term).exp() + 1.0;
            largest = term;
        } else {
            sum += (term - largest).exp();
        }
    }
    (largest + sum.ln()).exp().min(1.0)
}

/// A share as percent with two digits that count, rounded to the safe side.
fn percent(share: f64, round: fn(f64) -> f64) -> String {
    let percent = share * 100.0;
    if percent <= 0.0 {
        return "0".to_owned();
    }
    let digits = (1 - percent.log10().floor() as i32).max(0);
    let scale = 10f64.powi(digits);
    let text = format!("{:.*}", digits as usize, round(percent * scale) / scale);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: (f64, f64), low: f64, high: f64) {
        assert!((found.0 - low).abs() < 5e-5 && (found.1 - high).abs() < 5e-5, "{found:?} is not ({low}, {high})");
    }

    #[test]
    fn no_difference_in_3000_keys_is_fewer_than_one_in_a_thousand() {
        assert_eq!(
            in_words(0, 3000, false),
            "no difference in 3,000 sampled keys: with 95 % confidence fewer than 0.1 % of the keys differ"
        );
        // 1 - 0.05^(1/n).
        near(between(0, 3000), 0.0, 0.000_998);
        near(between(0, 1), 0.0, 0.95);
        assert!(in_words(0, 300, false).ends_with("fewer than 1 % of the keys differ"), "{}", in_words(0, 300, false));
        assert!(in_words(0, 1, false).ends_with("fewer than 95 % of the keys differ"), "{}", in_words(0, 1, false));
    }

    #[test]
    fn the_bounds_are_those_of_clopper_and_pearson() {
        // As published tables have them: 1 of 10, 5 of 100, 10 of 20.
        near(between(1, 10), 0.002_53, 0.445_02);
        near(between(5, 100), 0.016_43, 0.112_83);
        near(between(10, 20), 0.271_96, 0.728_04);
        near(between(10, 10), 0.741_13, 1.0);
        assert_eq!(
            in_words(5, 100, false),
            "5 of 100 sampled keys differ: with 95 % confidence between 1.6 % and 12 % of the keys do"
        );
    }

    #[test]
    fn a_bound_holds_for_the_largest_samples() {
        let (low, high) = between(100_000, 1_000_000);
        assert!(low > 0.0994 && low < 0.1 && high > 0.1 && high < 0.1006, "{low} {high}");
    }

    #[test]
    fn a_sample_of_all_keys_needs_no_confidence() {
        assert_eq!(in_words(0, 12, true), "no difference: all 12 keys of the source were compared");
        assert_eq!(in_words(0, 0, true), "no keys to sample");
    }
}
