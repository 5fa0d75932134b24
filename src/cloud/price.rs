//! What capacity costs, in one dated place.

/// US dollars for one WCU for one hour, provisioned, standard table class, `us-east-1`.
/// Source: the Amazon DynamoDB pricing page for provisioned capacity, as of 2025.
pub const DOLLARS_PER_WCU_HOUR: f64 = 0.000_65;
/// US dollars for one RCU for one hour; same source.
pub const DOLLARS_PER_RCU_HOUR: f64 = 0.000_13;

/// What `wcu` provisioned write capacity units cost in an hour, US dollars.
pub fn write_dollars_per_hour(wcu: u64) -> f64 {
    wcu as f64 * DOLLARS_PER_WCU_HOUR
}
