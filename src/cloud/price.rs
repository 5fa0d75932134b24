//! What AWS charges: one dated table, `assets/prices.toml`, compiled in.

use std::sync::LazyLock;

use serde::Deserialize;

/// The whole table.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prices {
    /// The region whose list prices these are; others differ.
    pub region: String,
    /// When they were looked up, `YYYY-MM-DD`.
    pub as_of: String,
    /// `DynamoDB`.
    pub dynamodb: DynamoDb,
    /// Kinesis Data Streams.
    pub kinesis: Kinesis,
}

/// Prices of `DynamoDB`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DynamoDb {
    /// Tables of the standard class.
    pub standard: TableClass,
    /// Tables of the infrequent access class.
    pub infrequent_access: TableClass,
    /// Import from S3.
    pub import: Import,
}

/// Prices of one table class, US dollars.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableClass {
    /// One WCU for one hour.
    pub wcu_hour: f64,
    /// One RCU for one hour.
    pub rcu_hour: f64,
    /// A million write request units, on demand.
    pub million_writes: f64,
}

/// Prices of an import from S3, US dollars.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Import {
    /// A gigabyte (10^9 bytes) of source, uncompressed.
    pub gigabyte: f64,
}

/// Prices of Kinesis Data Streams.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kinesis {
    /// Streams with shards of their own.
    pub provisioned: Provisioned,
    /// Streams on demand.
    pub on_demand: OnDemand,
}

/// Prices of a provisioned stream, US dollars.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provisioned {
    /// One shard for one hour.
    pub shard_hour: f64,
    /// Keeping the records of one shard longer than a day, up to seven days, for one hour.
    pub extended_shard_hour: f64,
    /// Keeping a gigabyte longer than seven days, for one month.
    pub long_term_gigabyte_month: f64,
    /// A million PUT payload units.
    pub million_put_units: f64,
}

/// Prices of an on-demand stream, US dollars.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OnDemand {
    /// One stream for one hour.
    pub stream_hour: f64,
    /// Keeping a gigabyte longer than a day, up to seven days, for one month.
    pub extended_gigabyte_month: f64,
    /// A gigabyte put, each record rounded up to a whole KiB.
    pub gigabyte_in: f64,
}

static PRICES: LazyLock<Prices> = LazyLock::new(|| {
    toml::from_str(include_str!("../../assets/prices.toml"))
        .expect("the table is compiled in, and a test below reads every field of it")
});

/// The prices.
pub fn prices() -> &'static Prices {
    &PRICES
}

/// What `wcu` provisioned write capacity units of a standard table cost in an hour, US dollars.
pub fn write_dollars_per_hour(wcu: u64) -> f64 {
    wcu as f64 * prices().dynamodb.standard.wcu_hour
}

/// What `rcu` provisioned read capacity units of a standard table cost in an hour, US dollars.
pub fn read_dollars_per_hour(rcu: u64) -> f64 {
    rcu as f64 * prices().dynamodb.standard.rcu_hour
}

/// What `shards` of a provisioned stream cost in an hour, US dollars.
pub fn shard_dollars_per_hour(shards: u64) -> f64 {
    shards as f64 * prices().kinesis.provisioned.shard_hour
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_whole_dated_and_says_its_region() {
        let prices = prices();
        assert_eq!(prices.region, "us-east-1");
        prices.as_of.parse::<jiff::civil::Date>().unwrap();
        for price in [
            prices.dynamodb.standard.million_writes,
            prices.dynamodb.infrequent_access.wcu_hour,
            prices.dynamodb.import.gigabyte,
            prices.kinesis.provisioned.shard_hour,
            prices.kinesis.provisioned.extended_shard_hour,
            prices.kinesis.provisioned.long_term_gigabyte_month,
            prices.kinesis.on_demand.extended_gigabyte_month,
            prices.kinesis.on_demand.gigabyte_in,
        ] {
            assert!(price > 0.0 && price < 1.0, "{price}");
        }
    }

    #[test]
    fn a_thousand_wcu_cost_sixty_five_cents_an_hour() {
        assert!((write_dollars_per_hour(1_000) - 0.65).abs() < 1e-9);
        assert!((read_dollars_per_hour(1_000) - 0.13).abs() < 1e-9);
    }
}
