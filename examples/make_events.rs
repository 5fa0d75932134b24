//! Makes an event table with made-up events at mixed rates, a thousand of them in one millisecond, as a pump would leave
//! it, for trying and measuring playback:
//! `AWS_ENDPOINT_URL=… cargo run --release --example make_events -- TABLE EVENTS DAYS [ordered|original]`.
//! It prints the first and the last event's time and writes every event, in order, to `TABLE.jsonl` when a folder is
//! given after the layout.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use serde_json::{Value, json};
use sluicegate::cloud::{Cloud, Context, Guard};
use sluicegate::event::{Event, Layout, Slot, SlotLength, row};
use sluicegate::flow::{AwsTable, TablePut as _};
use sluicegate::jobs::playback::write_line;

/// When the made-up store ends: a fixed moment, so that two runs make the same.
const END: &str = "2026-11-01T00:00:00Z";

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (table, events, days, rest) = match arguments.as_slice() {
        [table, events, days, rest @ ..] if rest.len() <= 2 => (table, events.parse()?, days.parse()?, rest),
        _ => return Err("usage: make_events TABLE EVENTS DAYS [ordered|original [FOLDER]]".into()),
    };
    let layout = if rest.first().is_some_and(|word| word == "original") { Layout::Original } else { Layout::Ordered };
    let context = Context { endpoint_url: std::env::var("AWS_ENDPOINT_URL").ok(), ..Context::default() };
    let cloud = Cloud::connect(&context, Guard::open()).await?;
    create(&cloud, table, layout).await?;
    let events = made_up(events, days, layout)?;
    if let Some(folder) = rest.get(1) {
        let mut out = std::io::BufWriter::new(std::fs::File::create(format!("{folder}/{table}.jsonl"))?);
        let mut line = Vec::new();
        for event in &events {
            line.clear();
            write_line(event, &mut line);
            out.write_all(&line)?;
        }
        out.flush()?;
    }
    let slots = SlotLength::default();
    let mut directory: BTreeMap<Slot, row::SlotCount> = BTreeMap::new();
    for event in &events {
        let slot = slots.slot_of(event.time);
        let (first, last) = (event.time, event.time);
        let counted = directory.entry(slot).or_insert(row::SlotCount { slot, count: 0, first, last });
        counted.count += 1;
        counted.last = event.time;
    }
    let watermark = row_of(&[
        (row::SLOT, "directory#watermark"),
        (layout.sort_key(), "arn:aws:kinesis:eu-west-1:000000000000:stream/made-up"),
        ("watermark", END),
    ]);
    let rows = events
        .iter()
        .map(|event| row::event_row(event, layout, slots).1)
        .chain(directory.values().map(|counted| row::directory_row(layout, counted)))
        .chain([watermark]);
    let put = Arc::new(AwsTable::new(cloud.bulk.dynamodb.clone(), table, layout.key()));
    let bodies = stream::iter(batches(table, rows));
    bodies
        .map(Ok::<_, Box<dyn std::error::Error>>)
        .try_for_each_concurrent(8, |body| {
            let put = Arc::clone(&put);
            async move {
                let reply = put.batch(body).await?;
                if reply.unprocessed.is_empty() {
                    Ok(())
                } else {
                    Err("the table is throttled: make it on demand".into())
                }
            }
        })
        .await?;
    let ends = |event: Option<&Event>| event.map(|event| format!("{:.6}", event.time));
    let said = json!({
        "events": events.len(), "slots": directory.len(), "first": ends(events.first()), "last": ends(events.last()),
    });
    println!("{said}");
    Ok(())
}

fn row_of(attributes: &[(&str, &str)]) -> Bytes {
    let row: serde_json::Map<String, Value> =
        attributes.iter().map(|(name, value)| ((*name).to_owned(), json!({ "S": value }))).collect();
    Bytes::from(Value::Object(row).to_string())
}

fn batches(table: &str, rows: impl Iterator<Item = Bytes>) -> impl Iterator<Item = Bytes> {
    let mut rows = rows.peekable();
    std::iter::from_fn(move || {
        rows.peek()?;
        let requests: Vec<String> = rows
            .by_ref()
            .take(25)
            .map(|row| format!(r#"{{"PutRequest":{{"Item":{}}}}}"#, String::from_utf8_lossy(&row)))
            .collect();
        Some(Bytes::from(format!(r#"{{"RequestItems":{{"{table}":[{}]}}}}"#, requests.join(","))))
    })
}

/// Numbers that look like chance and are the same each time.
struct Chance(u64);

impl Chance {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 20) % most.max(1)
    }
}

/// A fifth of the events anywhere in those days, a thousand in one millisecond, the others in bursts of ten seconds.
fn made_up(events: u64, days: u64, layout: Layout) -> Result<Vec<Event>, Box<dyn std::error::Error>> {
    let end: Timestamp = END.parse()?;
    let span = days * 86_400_000_000;
    let start = end.as_microsecond() - i64::try_from(span)?;
    let mut chance = Chance(7);
    let bursts: Vec<u64> = (0..(events / 500).max(1)).map(|_| chance.below(span / 1_000) * 1_000).collect();
    let one_millisecond = span / 2;
    let mut made = Vec::new();
    for n in 0..events {
        let into = match n {
            n if n < 1_000.min(events / 10) => one_millisecond + n % 1_000,
            n if n % 5 == 0 => (chance.below(span / 1_000) * 1_000) + chance.below(1_000),
            _ => {
                let burst = bursts[usize::try_from(chance.below(bursts.len() as u64))?];
                (burst + chance.below(10_000) * 1_000 + chance.below(1_000)).min(span - 1)
            }
        };
        let time = layout.time(Timestamp::from_microsecond(start + i64::try_from(into.min(span - 1_000))?)?);
        let member = chance.below(256);
        let post = chance.below(256);
        let id = format!("shardId-{:012}:4954511524349098501828006771497314458218{n:016}", n % 4);
        let payload = format!(
            r#"{{"MessageType":"Claps","MemberId":"{member:02x}","PostId":"{post:02x}","EntityId":"Claps-{member:02x}-{post:02x}","n":{n},"z":1.10}}"#
        );
        made.push(Event {
            time,
            id: id.parse()?,
            partition_key: format!("Claps-{member:02x}-{post:02x}"),
            payload: Bytes::from(payload),
        });
    }
    made.sort_by(|a, b| a.order().cmp(&b.order()));
    Ok(made)
}

async fn create(cloud: &Cloud, table: &str, layout: Layout) -> Result<(), Box<dyn std::error::Error>> {
    use aws_sdk_dynamodb::types::{
        AttributeDefinition, BillingMode, KeySchemaElement, KeyType, LocalSecondaryIndex, Projection, ProjectionType,
        ScalarAttributeType,
    };
    let key = |name: &str, kind| KeySchemaElement::builder().attribute_name(name).key_type(kind).build();
    let text =
        |name: &str| AttributeDefinition::builder().attribute_name(name).attribute_type(ScalarAttributeType::S).build();
    let mut request = cloud
        .dynamodb
        .create_table()
        .table_name(table)
        .billing_mode(BillingMode::PayPerRequest)
        .key_schema(key(row::SLOT, KeyType::Hash)?)
        .key_schema(key(layout.sort_key(), KeyType::Range)?)
        .attribute_definitions(text(row::SLOT)?)
        .attribute_definitions(text(layout.sort_key())?);
    if layout == Layout::Original {
        let index = LocalSecondaryIndex::builder()
            .index_name(row::TIME_INDEX)
            .key_schema(key(row::SLOT, KeyType::Hash)?)
            .key_schema(key(row::TIME, KeyType::Range)?)
            .projection(Projection::builder().projection_type(ProjectionType::All).build())
            .build()?;
        request = request.attribute_definitions(text(row::TIME)?).local_secondary_indexes(index);
    }
    request.send().await?;
    Ok(())
}
