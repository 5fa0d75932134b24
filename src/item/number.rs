//! `DynamoDB` numbers: text that is compared by value, at most 38 significant digits.

/// The most significant digits of a number (`DynamoDB` developer guide, "Data types: Number").
const MOST_DIGITS: usize = 38;
/// The exponent of the leading digit at most: 9.9…E+125.
const HIGHEST: i64 = 125;
/// The exponent of the leading digit at least: 1E-130.
const LOWEST: i64 = -130;

/// A number by value: `0.d₁d₂… × 10^point`, without leading or trailing zeros; zero has no digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Number {
    negative: bool,
    point: i16,
    len: u8,
    digits: [u8; MOST_DIGITS],
}

/// Why a text is no number that `DynamoDB` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NumberFault {
    #[error("not a number")]
    NotANumber,
    #[error("a number of more than 38 significant digits")]
    TooPrecise,
    #[error("a number over 9.9…E+125")]
    Overflow,
    #[error("a number nearer to zero than 1E-130")]
    Underflow,
}

impl Number {
    /// Reads `[+-]digits[.digits][E[+-]digits]`, where either side of the point may be missing but not both.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, NumberFault> {
        let (negative, mut rest) = match text {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            _ => (false, text),
        };
        let mut digits = [0; MOST_DIGITS];
        let mut len = 0;
        // Digits since the first that is not zero; where the point is among them.
        let mut counted: usize = 0;
        let mut point: i64 = 0;
        let (mut any, mut after_point, mut too_precise) = (false, false, false);
        while let [byte, tail @ ..] = rest {
            match byte {
                b'0'..=b'9' => {
                    any = true;
                    let digit = byte - b'0';
                    if counted > 0 || digit != 0 {
                        counted += 1;
                        point += i64::from(!after_point);
                        if digit != 0 {
                            match digits.get_mut(counted - 1) {
                                Some(slot) => (*slot, len) = (digit, counted),
                                None => too_precise = true,
                            }
                        }
                    } else {
                        point -= i64::from(after_point);
                    }
                }
                b'.' if !after_point => after_point = true,
                b'e' | b'E' if any => break,
                _ => return Err(NumberFault::NotANumber),
            }
            rest = tail;
        }
        if !any {
            return Err(NumberFault::NotANumber);
        }
        if let [_, exponent @ ..] = rest {
            point += parse_exponent(exponent).ok_or(NumberFault::NotANumber)?;
        }
        if too_precise {
            return Err(NumberFault::TooPrecise);
        }
        // The leading digit's exponent. Zero has none, and the service takes its last written digit's (measured by
        // dynoxide's author: `0E126` is refused like `1E126`).
        match point - i64::from(len > 0) {
            exponent if exponent > HIGHEST => Err(NumberFault::Overflow),
            exponent if exponent < LOWEST => Err(NumberFault::Underflow),
            _ if len == 0 => Ok(Self { negative: false, point: 0, len: 0, digits }),
            _ => Ok(Self { negative, point: point as i16, len: len as u8, digits }),
        }
    }

    /// Its significant digits, each 0 to 9; none when it is zero.
    pub(crate) fn digits(&self) -> &[u8] {
        &self.digits[..usize::from(self.len)]
    }

    /// Where the point stands, counted from before the first digit.
    #[cfg(feature = "bigquery")]
    pub(crate) fn point(&self) -> i32 {
        i32::from(self.point)
    }

    /// True below zero.
    #[cfg(feature = "bigquery")]
    pub(crate) fn is_negative(&self) -> bool {
        self.negative
    }

    /// Bytes that it takes in an item: 1, a byte for each two significant digits before the point and for each two
    /// after it, and 1 more when negative.
    ///
    /// The developer guide ("`DynamoDB` item sizes and formats") says "1 byte per two significant digits, plus 1
    /// byte"; that both sides of the point are rounded up apart, and what a sign costs, was measured against the
    /// service by dynoxide's author.
    pub(super) fn size(&self) -> u64 {
        let whole = usize::try_from(self.point).unwrap_or(0).min(self.digits().len());
        let fraction = self.digits().len() - whole;
        1 + whole.div_ceil(2) as u64 + fraction.div_ceil(2) as u64 + u64::from(self.negative)
    }

    /// Bytes that are equal for equal numbers, written to `out`; returns how many.
    pub(super) fn canonical_bytes(&self, out: &mut [u8; 3 + MOST_DIGITS]) -> usize {
        out[0] = u8::from(self.negative);
        out[1..3].copy_from_slice(&self.point.to_le_bytes());
        out[3..3 + self.digits().len()].copy_from_slice(self.digits());
        3 + self.digits().len()
    }

    /// Appends the one spelling that equal numbers share: plain where that is short, else `1.5E-40`.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let text = |out: &mut Vec<u8>, digits: &[u8]| out.extend(digits.iter().map(|digit| digit + b'0'));
        let zeros = |out: &mut Vec<u8>, count: usize| out.resize(out.len() + count, b'0');
        if self.negative {
            out.push(b'-');
        }
        let digits = self.digits();
        match (digits, self.point) {
            ([], _) => out.push(b'0'),
            (_, -19..=0) => {
                out.extend_from_slice(b"0.");
                zeros(out, usize::from(self.point.unsigned_abs()));
                text(out, digits);
            }
            (_, 1..=38) => {
                let point = usize::from(self.point.unsigned_abs());
                let (whole, fraction) = digits.split_at(point.min(digits.len()));
                text(out, whole);
                zeros(out, point - whole.len());
                if !fraction.is_empty() {
                    out.push(b'.');
                    text(out, fraction);
                }
            }
            ([first, rest @ ..], _) => {
                text(out, &[*first]);
                if !rest.is_empty() {
                    out.push(b'.');
                    text(out, rest);
                }
                out.push(b'E');
                out.extend_from_slice((self.point - 1).to_string().as_bytes());
            }
        }
    }
}

/// `[+-]digits`; far past the range it stays far past the range.
fn parse_exponent(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    if digits.is_empty() {
        return None;
    }
    let mut value: i64 = 0;
    for byte in digits {
        if !byte.is_ascii_digit() {
            return None;
        }
        value = (value * 10 + i64::from(byte - b'0')).min(1 << 40);
    }
    Some(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn canonical(text: &str) -> String {
        let mut out = Vec::new();
        Number::parse(text.as_bytes()).unwrap().write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_of_one_value_have_one_spelling() {
        for (value, spellings) in [
            ("0", &["0", "-0", "0.000", "+0", "0E99", "000"][..]),
            ("1.5", &["1.5", "1.50", "+1.5", "15E-1", "0.15e+1", "0001.5000"]),
            ("-200", &["-2E+2", "-200", "-200.0", "-2e2"]),
            ("0.0015", &["0.0015", "15E-4", ".0015"]),
            ("5", &["5", "5.", "5.0"]),
            ("1E50", &["1E50", "10E49", "1e+50"]),
            ("-1.25E-60", &["-1.25E-60", "-125E-62"]),
        ] {
            for spelling in spellings {
                assert_eq!(canonical(spelling), value, "{spelling}");
            }
        }
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in ["", "-", ".", "+.", "1x", " 1", "1 ", "1.2.3", "1E", "1E+", "E5", "0x10", "NaN", "--1", "1E1.5"] {
            assert_eq!(Number::parse(text.as_bytes()), Err(NumberFault::NotANumber), "{text}");
        }
    }

    #[test]
    fn thirty_eight_significant_digits_pass_and_one_more_is_refused() {
        let most = "1234567890".repeat(4)[..38].to_owned();
        assert_eq!(canonical(&most), most);
        assert_eq!(canonical(&format!("00{most}.000")), most);
        assert_eq!(Number::parse(format!("{most}1").as_bytes()), Err(NumberFault::TooPrecise));
        assert_eq!(Number::parse(format!("1{}1", "0".repeat(37)).as_bytes()), Err(NumberFault::TooPrecise));
        assert_eq!(canonical(&format!("1{}", "0".repeat(60))), "1E60");
    }

    #[test]
    fn the_exponent_ends_at_125_and_minus_130() {
        assert_eq!(canonical("9.9E125"), "9.9E125");
        assert_eq!(canonical("1E-130"), "1E-130");
        assert_eq!(Number::parse(b"1E126"), Err(NumberFault::Overflow));
        assert_eq!(Number::parse(b"-10E125"), Err(NumberFault::Overflow));
        assert_eq!(Number::parse(b"1E-131"), Err(NumberFault::Underflow));
        assert_eq!(Number::parse(b"0E126"), Err(NumberFault::Overflow));
        assert_eq!(Number::parse(b"0.0E-130"), Err(NumberFault::Underflow));
        assert_eq!(Number::parse(b"1E99999999999999999999999"), Err(NumberFault::Overflow));
        assert_eq!(Number::parse(b"1E-99999999999999999999999"), Err(NumberFault::Underflow));
    }

    #[test]
    fn a_number_costs_a_byte_for_two_digits_on_each_side_of_the_point() {
        for (text, size) in [("0", 1), ("5", 2), ("42", 2), ("-42", 3), ("123", 3), ("1.5", 3), ("0.05", 2), ("100", 2)]
        {
            assert_eq!(Number::parse(text.as_bytes()).unwrap().size(), size, "{text}");
        }
    }

    proptest! {
        #[test]
        fn the_canonical_spelling_reads_back_as_the_same_number(text in "[+-]?[0-9]{1,20}(\\.[0-9]{0,17})?([eE][+-]?[0-9]{1,2})?") {
            let number = Number::parse(text.as_bytes()).unwrap();
            let mut out = Vec::new();
            number.write(&mut out);
            prop_assert_eq!(Number::parse(&out).unwrap(), number);
        }

        #[test]
        fn no_text_panics(text in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = Number::parse(&text);
        }
    }
}
