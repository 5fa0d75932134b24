//! Items made to look like the original's, the same for the same seed: for the demo, tests and benchmarks.

mod export;

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

pub use export::{Edit, Exports, Moment, chain};

use crate::item::{KeyAttr, KeyKind, KeySchema};

/// The key of the tables that these items go to: `id` S.
pub fn key_schema() -> KeySchema {
    KeySchema { partition: KeyAttr { name: "id".to_owned(), kind: KeyKind::S }, sort: None }
}

/// A stream of numbers that every version of this program makes alike, which no generator of a crate promises: xorshift
/// over a counter (splitmix64).
#[derive(Clone, Debug)]
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^ (bits >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// The currencies whose pairs the original's historical rates were of.
const CURRENCIES: [&str; 12] = ["usd", "eur", "gbp", "jpy", "chf", "aud", "nzd", "cad", "sek", "nok", "dkk", "zar"];

/// `count` items as the original's table `historical` held them, about 80 bytes and 1 WCU each: `updated_at` in seconds
/// since epoch, `id` base64 text that ends in a newline, `rate` with about 16 digits. No two share an `id`.
pub fn historical(count: u64, seed: u64) -> impl Iterator<Item = Vec<u8>> + Send {
    let mut draw = Draw(seed);
    (0..count).map(move |number| {
        let pair = draw.below(CURRENCIES.len() as u64 * (CURRENCIES.len() as u64 - 1)) as usize;
        let (from, to) = (pair % CURRENCIES.len(), pair / CURRENCIES.len());
        let to = CURRENCIES[(from + 1 + to) % CURRENCIES.len()];
        let id = STANDARD.encode(format!("{}:{to}:{number}", CURRENCIES[from]));
        let updated_at = 1_447_200_000 + draw.below(86_400 * 30);
        let rate = draw.next() as f64 / u64::MAX as f64;
        format!(r#"{{"updated_at":{{"N":"{updated_at}"}},"id":{{"S":"{id}\n"}},"rate":{{"N":"{rate}"}}}}"#).into_bytes()
    })
}

/// What an item of [`wide`] takes beside its payload, bytes.
const FIXED: usize = 92;

/// `count` items of about `bytes` bytes by `DynamoDB`'s rule (at least 100), of several types, each with its own `id`.
pub fn wide(count: u64, bytes: usize, seed: u64) -> impl Iterator<Item = Vec<u8>> + Send {
    let mut draw = Draw(seed);
    (0..count).map(move |number| {
        let id = format!("{:016x}-{number:08}", draw.next());
        let account = draw.below(100_000);
        let at = 1_700_000_000_000 + draw.below(1 << 35);
        let amount = draw.below(10_000_000);
        let open = number % 3 == 0;
        let mut payload = String::with_capacity(bytes);
        while payload.len() + FIXED < bytes {
            payload.push_str(&format!("{:016x}", draw.next())[..(bytes - FIXED - payload.len()).min(16)]);
        }
        format!(
            r#"{{"id":{{"S":"{id}"}},"account":{{"N":"{account}"}},"created_at":{{"N":"{at}"}},"amount":{{"N":"{}.{:02}"}},"open":{{"BOOL":{open}}},"tags":{{"SS":["batch-{}","eu"]}},"payload":{{"S":"{payload}"}}}}"#,
            amount / 100,
            amount % 100,
            number % 50,
        )
        .into_bytes()
    })
}

/// `count` items with attributes of every type that `DynamoDB` has, nested ones, and values that are easily broken: numbers of
/// 38 digits, text of several scripts, empty values. No two share an `id`.
pub fn every_type(count: u64, seed: u64) -> impl Iterator<Item = Vec<u8>> + Send {
    let mut draw = Draw(seed);
    (0..count).map(move |number| typed(&format!("{number:08}"), &mut draw))
}

/// Texts as JSON has them between its quotes.
const TEXTS: [&str; 6] =
    ["", "plain", r#"a \"quote\" and a \\"#, r"line\nand\ttab", "\u{e9} \u{1f600} \u{2028} 漢字", r"\u00e9"];
/// Numbers as they are written, which is how they must come back.
const NUMBERS: [&str; 6] =
    ["0", "-1.50", "12345678901234567890123456789012345678", "1E+3", "0.6550358501120767", "-2e-130"];

/// An item of every type, called `id`.
fn typed(id: &str, draw: &mut Draw) -> Vec<u8> {
    let mut text = || TEXTS[draw.below(TEXTS.len() as u64) as usize];
    let (one, two) = (text(), text());
    let mut number = || NUMBERS[draw.below(NUMBERS.len() as u64) as usize];
    let (first, second) = (number(), number());
    let mut binary = || STANDARD.encode(&draw.next().to_be_bytes()[..=(draw.below(8) as usize)]);
    let (left, right) = (binary(), binary());
    let mut item = format!(
        r#"{{"id":{{"S":"{id}"}},"s":{{"S":"{one}"}},"n":{{"N":"{first}"}},"b":{{"B":"{left}"}},"t":{{"BOOL":{}}},"u":{{"NULL":true}}"#,
        draw.below(2) == 0,
    );
    let distinct = draw.below(1000);
    // Sets are never empty and hold nothing twice.
    let _ = write!(
        item,
        r#","ss":{{"SS":["{distinct}","x{distinct}","é"]}},"ns":{{"NS":["{distinct}","-{distinct}.5"]}},"bs":{{"BS":["{left}","AAAA{left}"]}}"#
    );
    let _ = write!(
        item,
        r#","m":{{"M":{{"deep":{{"L":[{{"S":"{two}"}},{{"N":"{second}"}},{{"M":{{"b":{{"B":"{right}"}}}}}},{{"NULL":true}}]}},"none":{{"M":{{}}}}}}}},"l":{{"L":[]}}}}"#
    );
    item.into_bytes()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::item::Checker;

    #[test]
    fn historical_items_pass_the_check_with_keys_of_their_own_at_one_wcu() {
        let checker = Checker::new(key_schema());
        let items: Vec<_> = historical(2000, 7).map(|item| checker.check(item.into()).unwrap()).collect();
        assert!(items.iter().all(|item| item.wcu() == 1));
        assert_eq!(items.iter().map(|item| &item.key).collect::<HashSet<_>>().len(), 2000);
        assert!(items[0].json.windows(3).any(|bytes| bytes == br#"\n""#), "the id ends in a newline");
    }

    #[test]
    fn a_seed_always_makes_the_same_items() {
        let first = historical(1, 1).next().unwrap();
        assert_eq!(
            String::from_utf8(first).unwrap(),
            r#"{"updated_at":{"N":"1447516519"},"id":{"S":"YXVkOmRrazow\n"},"rate":{"N":"0.9710027535867963"}}"#
        );
        assert!(historical(50, 3).eq(historical(50, 3)));
        assert!(!historical(50, 3).eq(historical(50, 4)));
        assert!(wide(50, 300, 3).eq(wide(50, 300, 3)));
    }

    #[test]
    fn items_of_every_type_pass_the_check_and_differ() {
        let checker = Checker::new(key_schema());
        let items: Vec<_> = every_type(500, 9).map(|item| checker.check(item.into()).unwrap()).collect();
        assert_eq!(items.iter().map(|item| &item.key).collect::<HashSet<_>>().len(), 500);
        assert_eq!(items.iter().map(|item| item.digest).collect::<HashSet<_>>().len(), 500);
        for tag in ["S", "N", "B", "BOOL", "NULL", "SS", "NS", "BS", "M", "L"] {
            let tag = format!("{{\"{tag}\":");
            assert!(
                items.iter().all(|item| item.json.windows(tag.len()).any(|bytes| bytes == tag.as_bytes())),
                "{tag}"
            );
        }
    }

    #[test]
    fn wide_items_are_about_as_large_as_asked() {
        let checker = Checker::new(key_schema());
        for bytes in [120, 300, 3000] {
            for item in wide(50, bytes, 1) {
                let size = checker.check(item.into()).unwrap().size as usize;
                assert!(size.abs_diff(bytes) < 20, "{size} for {bytes}");
            }
        }
    }
}
