//! Items made to look like the original's, the same for the same seed: for the demo, tests and benchmarks.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

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
