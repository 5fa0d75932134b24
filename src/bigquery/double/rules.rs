//! What a column takes, and in which words it refuses.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value as Json, json};

/// A value as it came in a field of a message or of a JSON row.
#[derive(Clone, Debug)]
pub(super) enum Came {
    Text(String),
    Bytes(Vec<u8>),
    Bool(bool),
    Int(i64),
    Float(f64),
}

/// The value as a query shows it in a column of `kind`: decimals, 64-bit numbers and bytes (base64) as text.
pub(super) fn stored(kind: &str, came: Came) -> Result<Json, String> {
    Ok(match (kind, came) {
        ("STRING", Came::Text(text)) => json!(text),
        ("NUMERIC", Came::Text(text)) => {
            decimal(&text, 29, 9).ok_or_else(|| format!("Invalid NUMERIC value: {text}"))?
        }
        ("BIGNUMERIC", Came::Text(text)) => {
            decimal(&text, 39, 38).ok_or_else(|| format!("Invalid BIGNUMERIC value: {text}"))?
        }
        ("NUMERIC" | "BIGNUMERIC" | "INTEGER" | "TIMESTAMP", Came::Int(value)) => json!(value.to_string()),
        ("JSON", Came::Text(text)) => {
            serde_json::from_str(&text).map_err(|error| format!("Invalid JSON value: {error}"))?
        }
        ("BYTES", Came::Bytes(bytes)) => json!(STANDARD.encode(bytes)),
        ("BYTES", Came::Text(text)) => {
            STANDARD.decode(&text).map_err(|_| format!("Could not decode base64 string to bytes: {text}"))?;
            json!(text)
        }
        ("BOOLEAN", Came::Bool(value)) => json!(value),
        ("FLOAT", Came::Float(value)) => json!(value),
        ("INTEGER", Came::Text(text)) => {
            json!(text.parse::<i64>().map_err(|_| format!("Cannot convert value to integer: {text}"))?.to_string())
        }
        ("TIMESTAMP", Came::Text(text)) => {
            let time: jiff::Timestamp = text.parse().map_err(|_| format!("Invalid timestamp: {text}"))?;
            json!(time.as_microsecond().to_string())
        }
        (kind, came) => return Err(format!("This field is of the type {kind}, and {came:?} came")),
    })
}

/// Plain digits with at most so many before and after the point; the value without leading and trailing zeros.
fn decimal(text: &str, before: usize, after: usize) -> Option<Json> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let is_number = plain(whole) && plain(fraction) && !(whole.is_empty() && fraction.is_empty());
    let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
    // BIGNUMERIC's 39th digit before the point is not a whole one: at most 5.78…E38.
    let fits = whole.len() <= before
        && fraction.len() <= after
        && (whole.len() < 39 || whole < "578960446186580977117854925043439539267");
    if !is_number || !fits {
        return None;
    }
    let sign = if text.starts_with('-') && !(whole.is_empty() && fraction.is_empty()) { "-" } else { "" };
    let whole = if whole.is_empty() { "0" } else { whole };
    let point = if fraction.is_empty() { "" } else { "." };
    Some(json!(format!("{sign}{whole}{point}{fraction}")))
}

/// Whether a column may have this name ("Column names").
pub(super) fn is_column_name(name: &str) -> bool {
    const RESERVED: [&str; 9] = [
        "_TABLE_",
        "_FILE_",
        "_PARTITION",
        "_ROW_TIMESTAMP",
        "__ROOT__",
        "_COLIDENTIFIER",
        "_CHANGE_SEQUENCE_NUMBER",
        "_CHANGE_TYPE",
        "_CHANGE_TIMESTAMP",
    ];
    let upper = name.to_ascii_uppercase();
    (1..=300).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && !name.as_bytes()[0].is_ascii_digit()
        && !RESERVED.iter().any(|reserved| upper.starts_with(reserved))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_have_the_ranges_of_the_documentation() {
        let numeric = |text: &str| stored("NUMERIC", Came::Text(text.into()));
        assert_eq!(numeric("-001.50").unwrap(), json!("-1.5"));
        assert_eq!(numeric("-0").unwrap(), json!("0"));
        assert!(numeric(&"9".repeat(29)).is_ok() && numeric(&"9".repeat(30)).is_err());
        assert!(numeric("0.000000001").is_ok() && numeric("0.0000000001").is_err());
        let big = |text: &str| stored("BIGNUMERIC", Came::Text(text.into()));
        assert!(big("578960446186580977117854925043439539266").is_ok());
        assert!(big("578960446186580977117854925043439539267").is_err());
        for bad in ["", ".", "1e5", "x", "--1", "1.2.3"] {
            assert!(numeric(bad).is_err(), "{bad}");
        }
    }
}
