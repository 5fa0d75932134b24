//! Which of BigQuery's decimal types holds a number of `DynamoDB` exactly, and the number as that type takes it.

use crate::item::Number;

/// The largest magnitude of BIGNUMERIC before the point, 39 digits: its integer part at most (data types reference,
/// "Decimal types": ±5.7896…E+38 with 38 digits after the point).
const BIG_WHOLE: &[u8; 39] = b"578960446186580977117854925043439539266";

/// The decimal type that holds a number exactly. A later one holds whatever an earlier one does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Decimal {
    /// NUMERIC: 29 digits before the point, 9 after it.
    Numeric,
    /// BIGNUMERIC: 38 digits before the point and some more, 38 after it.
    BigNumeric,
    /// Neither: only its text.
    Text,
}

/// A number's type and the text that it is sent as: plain digits, no exponent, where a decimal type holds it.
///
/// `None` when it is no number of `DynamoDB`.
pub fn decimal(text: &str) -> Option<(Decimal, String)> {
    let number = Number::parse(text.as_bytes()).ok()?;
    let (digits, point) = (number.digits(), number.point());
    let after = i32::try_from(digits.len()).unwrap_or(i32::MAX) - point;
    let fits = if point <= 29 && after <= 9 {
        Decimal::Numeric
    } else if after <= 38 && (point <= 38 || (point == 39 && fits_whole(digits))) {
        Decimal::BigNumeric
    } else {
        return Some((Decimal::Text, text.to_owned()));
    };
    Some((fits, plain(&number)))
}

/// True when `digits`, 39 places before the point, is at most what BIGNUMERIC takes there.
fn fits_whole(digits: &[u8]) -> bool {
    let whole = digits.iter().map(|digit| digit + b'0').chain(std::iter::repeat(b'0')).take(39);
    whole.le(BIG_WHOLE.iter().copied())
}

fn plain(number: &Number) -> String {
    let (digits, point) = (number.digits(), number.point());
    if digits.is_empty() {
        return "0".to_owned();
    }
    let mut out = String::with_capacity(digits.len() + 4);
    if number.is_negative() {
        out.push('-');
    }
    if point <= 0 {
        out.push_str("0.");
        out.extend((point..0).map(|_| '0'));
    }
    for (at, digit) in (0..).zip(digits) {
        if at == point && at > 0 {
            out.push('.');
        }
        out.push(char::from(digit + b'0'));
    }
    out.extend((digits.len()..usize::try_from(point).unwrap_or(0)).map(|_| '0'));
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_number_goes_where_it_fits_exactly_and_stays_text_where_nothing_does() {
        use Decimal::{BigNumeric, Numeric, Text};
        let most = "9".repeat(29) + "." + &"9".repeat(9);
        for (text, wanted, sent) in [
            ("1.50", Numeric, "1.5"),
            ("-2E+2", Numeric, "-200"),
            ("0.000", Numeric, "0"),
            ("1E-9", Numeric, "0.000000001"),
            (most.as_str(), Numeric, most.as_str()),
            ("1E28", Numeric, "10000000000000000000000000000"),
            ("1E29", BigNumeric, "100000000000000000000000000000"),
            ("1E-10", BigNumeric, "0.0000000001"),
            ("12345678901234567890123456789012345678", BigNumeric, "12345678901234567890123456789012345678"),
            ("5.7896044618658097711785492504343953926E38", BigNumeric, "578960446186580977117854925043439539260"),
            ("5.7896044618658097711785492504343953927E38", Text, "5.7896044618658097711785492504343953927E38"),
            ("1E39", Text, "1E39"),
            ("1E-38", BigNumeric, "0.00000000000000000000000000000000000001"),
            ("1E-39", Text, "1E-39"),
            ("-1E125", Text, "-1E125"),
        ] {
            assert_eq!(decimal(text), Some((wanted, sent.to_owned())), "{text}");
        }
        assert_eq!(decimal("x"), None);
    }

    proptest! {
        #[test]
        fn what_is_sent_is_the_same_number(text in "-?[0-9]{1,20}(\\.[0-9]{1,17})?(E-?[0-9]{1,2})?") {
            let (_, sent) = decimal(&text).unwrap();
            prop_assert_eq!(Number::parse(sent.as_bytes()).unwrap(), Number::parse(text.as_bytes()).unwrap());
        }
    }
}
