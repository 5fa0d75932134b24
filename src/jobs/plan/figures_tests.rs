use super::*;
use crate::cloud::schema::Schema;
use crate::jobs::plan::{IndexSample, Sample, SourceFacts, StreamFacts, Target};
use crate::jobs::spec::Part;

/// A table `t` with key `id` and so many WCU (0 is on demand), and these global indexes.
pub(crate) fn schema(write: u64, indexes: &str) -> Schema {
    let billing = match write {
        0 => r#""BillingMode":"PAY_PER_REQUEST""#.to_owned(),
        write => {
            format!(r#""ProvisionedThroughput":{{"ReadCapacityUnits":10,"WriteCapacityUnits":{write}}}"#)
        }
    };
    Schema::from_json(&format!(
        r#"{{"TableName":"t",{billing},"KeySchema":[{{"AttributeName":"id","KeyType":"HASH"}}],
           "AttributeDefinitions":[{{"AttributeName":"id","AttributeType":"S"}},{{"AttributeName":"day","AttributeType":"S"}}],
           "GlobalSecondaryIndexes":[{indexes}]}}"#
    ))
    .unwrap()
}

/// A global index with so many WCU.
pub(crate) fn index(name: &str, write: u64) -> String {
    format!(
        r#"{{"IndexName":"{name}","KeySchema":[{{"AttributeName":"day","KeyType":"HASH"}}],"Projection":{{"ProjectionType":"ALL"}},
           "ProvisionedThroughput":{{"ReadCapacityUnits":1,"WriteCapacityUnits":{write}}}}}"#
    )
}

/// A backup of so many equal items, of which a thousand were looked at.
pub(crate) fn facts(items: u64, bytes: u64, wcu: u64, schema: &Schema) -> Facts {
    let looked_at = 1_000;
    let of_index = IndexSample { entries: looked_at, bytes: bytes * looked_at, wcu: wcu * looked_at, refused: 0 };
    Facts {
        source: SourceFacts {
            files: 1,
            bytes: items * bytes,
            text_bytes: (items * bytes) as f64,
            records: items as f64,
            sample: Sample {
                looked_at,
                puts: looked_at,
                line_bytes: looked_at * bytes,
                item_bytes: looked_at * bytes,
                wcu: looked_at * wcu,
                wcu_squared: looked_at * wcu * wcu,
                record_bytes: looked_at * (bytes + 40),
                put_units: looked_at,
                record_kib: looked_at,
                indexes: vec![of_index; schema.indexes.len()],
                ..Sample::default()
            },
            ..SourceFacts::default()
        },
        target: Target { exists: true, ..Target::new(schema.clone()) },
        stream: None,
        region: "us-east-1".into(),
    }
}

fn over(mut facts: Facts, shards: u64) -> Facts {
    facts.stream = Some(StreamFacts { name: "s".into(), open_shards: shards, on_demand: false });
    facts
}

const TWO_HOURS: Duration = Duration::from_hours(2);

fn spec() -> RestoreSpec {
    RestoreSpec { table: "t".into(), ..RestoreSpec::default() }
}

#[test]
fn the_originals_case_needs_1794_wcu_and_not_1700() {
    // The original consumed 170 WCU for 21.1 hours to put 10 M items: 12,913,200 WCU, which it writes as 1.29 an item.
    let mut facts = facts(10_000_000, 300, 1, &schema(170, ""));
    facts.source.counted = true;
    (facts.source.sample.looked_at, facts.source.sample.puts) = (1_000_000, 1_000_000);
    facts.source.sample.wcu = 1_291_320;
    let plan = facts.plan(&spec(), Some(TWO_HOURS));
    assert_eq!(format!("{:.2}", plan.wcu_per_item), "1.29");
    assert_eq!(plan.wcu, 12_913_200.0);
    assert_eq!(plan.within.as_ref().unwrap().table, 1_794);
    assert_eq!(plan.seconds.unwrap(), 75_960.0, "21.1 hours at 170 WCU");
    assert_eq!(plan.shards.items_per_second.round(), 1_389.0);
    assert_eq!(plan.raise().unwrap().table, 1_794);
    // An item of exactly 1.29 WCU makes 12.9 M WCU in two hours: 1,791.7 a second.
    facts.source.sample.wcu = 1_290_000;
    assert_eq!(facts.plan(&spec(), Some(TWO_HOURS)).within.unwrap().table, 1_792);
}

#[test]
fn whole_numbers_of_capacity_are_not_rounded_up_once_more() {
    let plan = facts(7_200_000, 300, 1, &schema(130, "")).plan(&spec(), Some(TWO_HOURS));
    assert_eq!(plan.within.unwrap().table, 1_000);
    let plan = facts(7_200_001, 300, 1, &schema(130, "")).plan(&spec(), Some(TWO_HOURS));
    assert_eq!(plan.within.unwrap().table, 1_001);
}

#[test]
fn the_time_is_that_of_the_narrowest_limit_and_names_it() {
    let named = |plan: &Plan| (plan.seconds.unwrap().round() as u64, plan.limit_in_words.clone());
    let table = facts(130_000, 300, 1, &schema(130, "")).plan(&spec(), None);
    assert_eq!(named(&table), (1_000, "table write capacity, 130 WCU".into()));
    let narrow = facts(130_000, 300, 1, &schema(130, &index("by_day", 13))).plan(&spec(), None);
    assert_eq!(named(&narrow), (10_000, "write capacity of index by_day, 13 WCU".into()));
    let capped = facts(130_000, 300, 1, &schema(130, "")).plan(&RestoreSpec { rate: Some(13.0), ..spec() }, None);
    assert_eq!(named(&capped), (10_000, "rate cap, 13 items/s".into()));
    let capped = facts(130_000, 300, 1, &schema(130, "")).plan(&RestoreSpec { max_wcu: Some(65.0), ..spec() }, None);
    assert_eq!(named(&capped), (2_000, "capacity cap, 65 WCU".into()));
    let left = facts(130_000, 300, 1, &schema(130, "")).plan(&RestoreSpec { leave: Some(0.5), ..spec() }, None);
    assert_eq!(named(&left).0, 2_000);
    let stream = over(facts(4_000_000, 300, 1, &schema(40_000, "")), 2);
    let plain = RestoreSpec { no_aggregate: true, ..spec() };
    assert_eq!(named(&stream.plan(&plain, None)), (2_000, "stream, 2 shards".into()));
    // 4,000,000 × 340 bytes over 2 MiB a second.
    assert_eq!(named(&stream.plan(&spec(), None)), (648, "stream, 2 shards".into()));
}

#[test]
fn a_stream_binds_by_bytes_where_records_are_large() {
    let large = over(facts(4_000, 1 << 20, 1_024, &schema(40_000_000, "")), 2).plan(&spec(), None);
    assert!((large.seconds.unwrap() / 2_000.0 - 1.0).abs() < 0.01, "{:?}", large.seconds);
}

#[test]
fn each_index_needs_its_own_capacity() {
    let mut facts = facts(7_200_000, 300, 1, &schema(130, &format!("{},{}", index("a", 5), index("b", 2_000))));
    facts.source.sample.indexes[0].entries = 500;
    facts.source.sample.indexes[0].wcu = 500;
    let plan = facts.plan(&spec(), Some(TWO_HOURS));
    assert_eq!((plan.indexes[0].items, plan.indexes[0].wcu), (3_600_000, 3_600_000.0));
    let within = plan.within.as_ref().unwrap();
    assert_eq!((within.table, within.indexes.clone()), (1_000, vec![("a".into(), 500), ("b".into(), 1_000)]));
    let raise = plan.raise().unwrap();
    assert_eq!((raise.table, raise.indexes), (1_000, vec![("a".into(), 500)]), "b has enough");
    assert_eq!(plan.raises(), [(None, 130, 1_000), (Some("a".into()), 5, 500)]);
}

#[test]
fn a_local_index_takes_its_capacity_from_the_table() {
    let mut schema = schema(130, &index("mine", 5));
    schema.indexes[0].local = true;
    let plan = facts(1_000, 300, 1, &schema).plan(&spec(), Some(Duration::from_secs(10)));
    assert_eq!((plan.wcu, plan.indexes[0].provisioned), (2_000.0, None));
    assert_eq!(plan.within.unwrap().table, 200);
}

#[test]
fn what_suffices_needs_no_raise() {
    let plan = facts(1_000, 300, 1, &schema(130, "")).plan(&spec(), Some(TWO_HOURS));
    assert!(plan.within.as_ref().unwrap().suffices);
    assert_eq!(plan.raise(), None);
    let leaving = RestoreSpec { leave: Some(0.999), ..spec() };
    assert_eq!(facts(1_000, 300, 1, &schema(130, "")).plan(&leaving, Some(TWO_HOURS)).within.unwrap().table, 139);
}

#[test]
fn what_no_raise_mends_is_an_obstacle() {
    let obstacle = |facts: &Facts, spec: &RestoreSpec| {
        let within = facts.plan(spec, Some(TWO_HOURS)).within.unwrap();
        assert!(!within.suffices);
        within.obstacles.join("\n")
    };
    let huge = facts(720_000_000, 300, 1, &schema(130, ""));
    assert!(obstacle(&huge, &spec()).contains("would need 100,000 WCU, and AWS gives 40,000 at most"));
    assert!(obstacle(&huge, &spec()).contains("it takes 5h 00m"));
    let some = facts(7_200_000, 300, 1, &schema(130, ""));
    assert!(obstacle(&some, &RestoreSpec { rate: Some(500.0), ..spec() }).contains("--rate 500 alone makes it 4h 00m"));
    assert!(
        obstacle(&some, &RestoreSpec { max_wcu: Some(250.0), ..spec() })
            .contains("--max-wcu 250 alone makes it 8h 00m")
    );
    let stream = over(facts(14_400_000, 300, 1, &schema(130, "")), 1);
    let plain = RestoreSpec { no_aggregate: true, ..spec() };
    assert!(obstacle(&stream, &plain).contains("has 1 open shards and needs 2"));
    assert!(stream.plan(&spec(), Some(TWO_HOURS)).within.unwrap().obstacles.is_empty());
}

#[test]
fn shards_bind_by_records_alone_and_by_bytes_when_aggregated() {
    assert_eq!(shards_for(1_389.0, 340.0), (2, 1));
    assert_eq!(shards_for(10_000.0, 100.0), (10, 1));
    assert_eq!(shards_for(1_000.0, 10_486.0), (11, 11));
    assert_eq!(shards_for(0.0, 0.0), (1, 1));
}

#[test]
fn partitions_are_a_thousand_wcu_and_ten_gigabytes_each() {
    let small = facts(7_200_000, 300, 1, &schema(130, ""));
    let plan = small.plan(&spec(), None);
    assert_eq!((plan.partitions.needed, plan.partitions.must_split), (1, false));
    let plan = small.plan(&spec(), Some(Duration::from_hours(1)));
    let partitions = &plan.partitions;
    assert_eq!((partitions.for_wcu, partitions.needed, partitions.present, partitions.must_split), (2_000, 3, 1, true));
    assert!(plan.notes.iter().any(|note| note.contains("2,000 WCU need 3 partitions")), "{:?}", plan.notes);
    let mut warm = small.clone();
    warm.target.warm_write = Some(4_000);
    assert!(!warm.plan(&spec(), Some(Duration::from_hours(1))).partitions.must_split);
    let large = facts(100_000_000, 1_000, 1, &schema(130, "")).plan(&spec(), None);
    assert_eq!((large.partitions.needed, large.partitions.must_split), (10, false), "100 GB of items");
}

#[test]
fn an_on_demand_table_takes_4000_wcu_at_least_and_what_aws_says_it_is_warm_for() {
    let mut facts = facts(4_000_000, 300, 1, &schema(0, ""));
    let plan = facts.plan(&spec(), Some(Duration::from_secs(500)));
    assert_eq!((plan.seconds, plan.provisioned, plan.raise()), (Some(1_000.0), None, None));
    assert!(plan.within.unwrap().obstacles[0].contains("8,000 WCU a second are needed"));
    facts.target.warm_write = Some(16_000);
    assert!(facts.plan(&spec(), Some(Duration::from_secs(500))).within.unwrap().suffices);
    facts.target.most_on_demand = Some(1_000);
    assert_eq!(facts.plan(&spec(), None).seconds, Some(4_000.0));
}

#[test]
fn a_raise_costs_the_difference_by_the_started_hour() {
    let plan = facts(7_200_000, 300, 1, &schema(100, "")).plan(&spec(), Some(Duration::from_secs(3_601)));
    let needed = plan.within.as_ref().unwrap().table;
    assert_eq!((needed, plan.cost.hours), (2_000, 2));
    assert!((plan.cost.raised_capacity - 1_900.0 * 2.0 * 0.000_65).abs() < 1e-9);
    assert!((plan.cost.present_capacity - 100.0 * 2.0 * 0.000_65).abs() < 1e-9);
    assert_eq!(plan.cost.total, plan.cost.raised_capacity);
}

#[test]
fn requests_on_demand_cost_by_the_million_and_indexes_too() {
    let mut schema = schema(0, &index("i", 5));
    schema.indexes[0].billing = Billing::OnDemand;
    let mut facts = facts(2_000_000, 300, 1, &schema);
    assert!((facts.plan(&spec(), None).cost.total - 4.0 * 0.625).abs() < 1e-9);
    facts.target.schema.infrequent_access = true;
    assert!((facts.plan(&spec(), None).cost.total - 4.0 * 0.78).abs() < 1e-9);
}

#[test]
fn a_stream_costs_its_shards_and_what_is_put() {
    let facts = over(facts(10_000_000, 300, 1, &schema(1_389, "")), 10);
    let cost = facts.plan(&spec(), None).cost;
    assert_eq!(cost.hours, 2);
    assert!((cost.stream_hours - 10.0 * 2.0 * 0.015).abs() < 1e-9);
    assert!((cost.stream_puts - 10.0 * 0.014).abs() < 1e-9);
    let mut on_demand = facts;
    on_demand.stream = Some(StreamFacts { name: "s".into(), open_shards: 4, on_demand: true });
    let cost = on_demand.plan(&spec(), None).cost;
    assert!((cost.stream_hours - 2.0 * 0.04).abs() < 1e-9);
    assert!((cost.stream_puts - 10_000_000.0 * 1024.0 / 1e9 * 0.08).abs() < 1e-9, "each record is a KiB");
}

#[test]
fn a_sampled_plan_is_marked_and_scaled_and_an_exact_one_is_not() {
    let mut facts = facts(50_000, 300, 2, &schema(130, ""));
    facts.source.sample.skipped = 250;
    facts.source.sample.refused = 250;
    facts.source.sample.puts = 500;
    let plan = facts.plan(&spec(), None);
    assert!(plan.sampled && !plan.exact);
    assert_eq!((plan.records, plan.items, plan.skipped, plan.dead), (50_000, 25_000, 12_500, 12_500));
    assert_eq!(plan.looked_at, 1_000);
    facts.source.counted = true;
    let plan = facts.plan(&spec(), None);
    assert!(plan.exact && plan.sampled, "a manifest counts items, and knows nothing of their sizes");
    facts.source.whole = true;
    assert!(!facts.plan(&spec(), None).sampled);
}

#[test]
fn deletes_cost_what_puts_cost() {
    let mut facts = facts(1_000, 3_000, 3, &schema(100, ""));
    facts.source.sample.deletes = 500;
    facts.source.sample.puts = 500;
    facts.source.sample.wcu = 1_500;
    let plan = facts.plan(&spec(), None);
    assert_eq!((plan.items, plan.deletes, plan.wcu), (500, 500, 3_000.0));
    assert!(plan.notes.iter().any(|note| note.contains("500 deletes")));
}

#[test]
fn what_the_numbers_dont_say_is_noted() {
    let mut facts = facts(1_000, 300, 1, &schema(100, &index("i", 5)));
    facts.target.items = 7;
    facts.source.only_heads = true;
    facts.source.sample.refused = 1;
    facts.source.sample.indexes[0].refused = 3;
    facts.region = "eu-west-1".into();
    let spec = RestoreSpec { if_not_exists: true, part: Some(Part { number: 3, of: 10 }), ..spec() };
    let notes = facts.plan(&spec, None).notes.join("\n");
    for words in [
        "1 of the 1,000 records looked at can't be restored",
        "3 of the items looked at have a key of index i",
        "only the beginnings",
        "holds about 7 items",
        "--if-not-exists",
        "all 10 parts together",
        "those of eu-west-1 differ",
    ] {
        assert!(notes.contains(words), "{words} is not in\n{notes}");
    }
}

#[test]
fn an_empty_backup_takes_nothing() {
    let mut facts = facts(0, 300, 1, &schema(100, ""));
    facts.source.sample = Sample::default();
    facts.source.whole = true;
    let plan = facts.plan(&spec(), Some(TWO_HOURS));
    assert_eq!((plan.items, plan.wcu, plan.seconds, plan.cost.total), (0, 0.0, Some(0.0), 0.0));
    assert!(plan.within.unwrap().suffices);
}
