//! Sequence numbers of a table's stream as BigQuery's `_CHANGE_SEQUENCE_NUMBER`, in an order that is theirs.

use std::fmt;

/// What a row of the bootstrap carries: any change of the stream wins over it.
pub const BOOTSTRAP: &str = "0";

/// Digits of a sequence number at most (`StreamRecord.SequenceNumber`, DynamoDB Streams API reference).
const LONGEST: usize = 40;

/// From here on a number takes three sections, and its first one says so with its top bits: 2^124.
const THREE_SECTIONS: u64 = 1 << 60;

/// Not a sequence number of a stream.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no sequence number of a stream: 1 to 40 digits")]
pub struct NoSequence(String);

/// `number`, decimal digits, as `_CHANGE_SEQUENCE_NUMBER`: hexadecimal, in sections of 16 digits, the last of them padded.
///
/// BigQuery compares the first sections, and the next ones only when those are equal ("Manage custom ordering"). So a
/// number of more sections would lose against one of fewer, and every number below 2^124 takes two: AWS's have 21 digits
/// at least, which is past 64 bits. The larger ones, up to 40 digits, take three, of which the first has 2^60 added, more
/// than any first section of two.
pub fn change_sequence(number: &str) -> Result<String, NoSequence> {
    let wrong = || NoSequence(number.to_owned());
    if number.is_empty() || number.len() > LONGEST || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    let sections = Sections::of(number);
    Ok(sections.to_string())
}

/// A number of up to 133 bits.
struct Sections {
    high: u64,
    middle: u64,
    low: u64,
}

impl Sections {
    fn of(digits: &str) -> Self {
        let mut words = [0u64; 3];
        for digit in digits.bytes() {
            let mut carry = u128::from(digit - b'0');
            for word in &mut words {
                let sum = u128::from(*word) * 10 + carry;
                *word = sum as u64;
                carry = sum >> 64;
            }
        }
        let [low, middle, high] = words;
        Self { high, middle, low }
    }
}

impl fmt::Display for Sections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { high, middle, low } = self;
        if *high == 0 && *middle < THREE_SECTIONS {
            write!(f, "{middle:X}/{low:016X}")
        } else {
            write!(f, "{:X}/{middle:016X}/{low:016X}", THREE_SECTIONS + high)
        }
    }
}

/// `text` as BigQuery reads it: 1 to 4 sections of 1 to 16 hexadecimal digits; a section that is not there counts as 0.
#[cfg(any(test, feature = "local"))]
pub(super) fn read(text: &str) -> Option<[u64; 4]> {
    let mut sections = [0; 4];
    for (at, section) in text.split('/').enumerate() {
        let is_hex = (1..=16).contains(&section.len()) && section.bytes().all(|byte| byte.is_ascii_hexdigit());
        *sections.get_mut(at)? = u64::from_str_radix(section, 16).ok().filter(|_| is_hex)?;
    }
    Some(sections)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_vector_of_the_formats_holds() {
        assert_eq!(change_sequence("300000000000000499659").unwrap(), "10/43561A8829379FCB");
    }

    #[test]
    fn a_bootstrap_row_loses_against_every_change() {
        for number in ["1", "100000000000000000000", "9999999999999999999999999999999999999999"] {
            assert!(read(BOOTSTRAP) < read(&change_sequence(number).unwrap()), "{number}");
        }
    }

    #[test]
    fn the_order_holds_where_a_section_fills() {
        let around = |power: u32| {
            let at: u128 = 1 << power;
            [at - 1, at, at + 1].map(|n| n.to_string())
        };
        let mut numbers: Vec<String> = [64, 65, 123, 124, 127].into_iter().flat_map(around).collect();
        numbers.push("340282366920938463463374607431768211455".into());
        numbers.push("340282366920938463463374607431768211456".into());
        numbers.push("9".repeat(40));
        let read: Vec<_> = numbers.iter().map(|n| read(&change_sequence(n).unwrap()).unwrap()).collect();
        assert!(read.is_sorted_by(|a, b| a < b), "{numbers:?}");
    }

    #[test]
    fn what_is_no_sequence_number_is_refused() {
        for number in ["", "-1", "1.5", "x", "1".repeat(41).as_str(), "TRIM_HORIZON"] {
            assert!(change_sequence(number).is_err(), "{number}");
        }
        for text in ["", "/", "0/", "G", "0/0/0/0/0", "11111111111111111", "+1"] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn the_order_of_bigquery_is_the_order_of_the_numbers(a in "[1-9][0-9]{0,39}", b in "[1-9][0-9]{0,39}") {
            let by_number = (a.len(), &a).cmp(&(b.len(), &b));
            let by_bigquery = read(&change_sequence(&a).unwrap()).cmp(&read(&change_sequence(&b).unwrap()));
            prop_assert_eq!(by_number, by_bigquery);
        }
    }
}
