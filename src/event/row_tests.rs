use proptest::prelude::*;

use super::*;
use crate::flow::SequenceNumber;
use crate::item::Checker;

const SOURCE: &str = "arn:aws:kinesis:us-east-1:123456789012:stream/event-store-dev-stream";

fn event(time: &str, id: &str, payload: &'static [u8]) -> Event {
    Event {
        time: time.parse().unwrap(),
        id: id.parse().unwrap(),
        partition_key: "Claps-1-2".into(),
        payload: Bytes::from_static(payload),
    }
}

fn parsed(row: &Bytes) -> Value {
    serde_json::from_slice(row).unwrap()
}

#[test]
fn the_buffers_key_is_the_sha256_of_source_and_event_id() {
    let id = "shardId-000000000000:49545115243490985018280067714973144582180062593244200961".parse().unwrap();
    assert_eq!(buffer_key(SOURCE, &id), "a0e261ec4383e49adda14930785e4e6a941f05413e18c36df17b2c65490ea55e");
}

#[test]
fn an_arrival_is_rounded_up_to_milliseconds_in_the_original_layout() {
    let arrival = |micros| Timestamp::from_microsecond(micros).unwrap();
    for (micros, stamp, slot) in [
        (1_520_175_584_030_400, "2018-03-04T14:59:44.031Z", "2018-03-04T14:59:44.000Z"),
        (1_520_175_584_999_600, "2018-03-04T14:59:45.000Z", "2018-03-04T14:59:45.000Z"),
        (1_520_175_584_031_000, "2018-03-04T14:59:44.031Z", "2018-03-04T14:59:44.000Z"),
    ] {
        let event = Event { time: arrival(micros), ..event("1970-01-01T00:00:00Z", "s:1", b"x") };
        let (found, row) = event_row(&event, Layout::Original, SlotLength::default());
        assert_eq!(found.to_string(), slot);
        assert_eq!(parsed(&row)[TIME]["S"], stamp);
        assert_eq!(parsed(&row)[EVENT_ID]["S"], "s:1");
        assert_eq!(parsed(&row).get(EVENT_KEY), None);
    }
}

#[test]
fn an_ordered_row_is_keyed_by_time_shard_and_sequence() {
    let event = event("2018-03-04T14:59:44.0304Z", "shardId-000000000000:4954", br#"{"a":1}"#);
    let (slot, row) = event_row(&event, Layout::Ordered, SlotLength::default());
    assert_eq!(slot.to_string(), "2018-03-04T14:59:44.000Z");
    let row = parsed(&row);
    let key = format!("2018-03-04T14:59:44.030400Z#shardId-000000000000#{:0>56}", 4954);
    assert_eq!(row[EVENT_KEY]["S"], key);
    assert_eq!(row[TIME]["S"], "2018-03-04T14:59:44.030400Z");
    assert_eq!((&row[PARTITION_KEY]["S"], &row[PAYLOAD]["S"]), (&"Claps-1-2".into(), &r#"{"a":1}"#.into()));
}

#[test]
fn a_buffer_row_keeps_microseconds_as_decimals_of_its_milliseconds() {
    for (time, ms) in [
        ("2018-03-04T14:59:44.0304Z", "1520175584030.4"),
        ("2018-03-04T14:59:44.031Z", "1520175584031"),
        ("1970-01-01T00:00:00.000001Z", "0.001"),
    ] {
        let event = event(time, "s:1", b"x");
        let row = buffer_row(SOURCE, &event);
        assert_eq!(parsed(&row)[TIME]["N"], ms);
        assert_eq!(read_buffer_row(&row).unwrap(), (buffer_key(SOURCE, &event.id), event));
    }
}

#[test]
fn a_row_of_the_originals_buffer_is_read() {
    let row = br#"{"partition_key":{"S":"a0e2"},"event_id":{"S":"shardId-000000000000:49"},
        "event_time_stamp":{"N":"1520175584031"},"record_payload":{"M":{"z":{"N":"1.10"},"id":{"N":"12345678901234567890"},
        "l":{"L":[{"BOOL":true},{"NULL":true},{"S":"\"x"}]}}}}"#;
    let (key, event) = read_buffer_row(row).unwrap();
    assert_eq!((key.as_str(), event.partition_key.as_str()), ("a0e2", "a0e2"));
    assert_eq!(event.time.to_string(), "2018-03-04T14:59:44.031Z");
    // The order of a map's members is not kept by DynamoDB.
    assert_eq!(&event.payload[..], br#"{"id":12345678901234567890,"l":[true,null,"\"x"],"z":1.10}"#);
}

#[test]
fn what_is_wrong_with_a_row_is_named() {
    let row = |patch: &str, with: &str| {
        r#"{"partition_key":{"S":"k"},"event_id":{"S":"s:1"},"event_time_stamp":{"N":"5"},"record_payload":{"S":"x"}}"#
            .replace(patch, with)
    };
    assert!(read_buffer_row(row("", "").as_bytes()).is_ok());
    for (patch, with, says) in [
        (r#""event_id":{"S":"s:1"},"#, "", "it has no event_id"),
        (r#"{"S":"s:1"}"#, r#"{"S":"s"}"#, "no event ID"),
        (r#"{"S":"s:1"}"#, r#"{"N":"1"}"#, r#"event_id is {"N":"1"}, not a string"#),
        (r#"{"N":"5"}"#, r#"{"N":"-5"}"#, "not a number of milliseconds"),
        (r#"{"N":"5"}"#, r#"{"N":"1e3"}"#, "not a number of milliseconds"),
        (r#"{"N":"5"}"#, r#"{"N":"99999999999999999999"}"#, "not a number of milliseconds"),
        (r#"{"S":"x"}"#, r#"{"B":"!"}"#, "no base64"),
        (r#"{"S":"x"}"#, r#"{"SS":["x"]}"#, "record_payload is"),
    ] {
        let found = read_buffer_row(row(patch, with).as_bytes()).unwrap_err().to_string();
        assert!(found.contains(says), "{found:?} says nothing of {says:?}");
    }
    assert!(read_buffer_row(b"[]").is_err());
}

#[test]
fn a_table_is_known_by_its_key() {
    for layout in [Layout::Ordered, Layout::Original] {
        assert_eq!(Layout::of_key(&layout.key()), Some(layout));
    }
    assert_eq!(Layout::of_key(&buffer_key_schema()), None);
}

#[test]
fn a_directory_row_is_read_as_it_was_written() {
    for layout in [Layout::Ordered, Layout::Original] {
        let counted = SlotCount {
            slot: SlotLength::default().slot_of("2018-03-04T14:59:44Z".parse().unwrap()),
            count: 12,
            first: "2018-03-04T14:59:44.000001Z".parse().unwrap(),
            last: "2018-03-04T14:59:44.999999Z".parse().unwrap(),
        };
        let row = directory_row(layout, &counted);
        assert_eq!(parsed(&row)[SLOT]["S"], "directory#2018-03-04T14:00:00.000Z");
        let attributes = parsed(&row)
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, value)| {
                let value = match (&value["S"], &value["N"]) {
                    (Value::String(text), _) => AttributeValue::S(text.clone()),
                    (_, number) => AttributeValue::N(number.as_str().unwrap().to_owned()),
                };
                (name.clone(), value)
            })
            .collect::<HashMap<_, _>>();
        assert_eq!(read_directory_attributes(layout, &attributes).unwrap(), counted);
    }
}

fn any_event() -> impl Strategy<Value = Event> {
    let payload = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..200),
        any::<String>().prop_map(String::into_bytes),
        Just(br#"{"id":12345678901234567890,"z":1.10,"a":1}"#.to_vec()),
    ];
    // Years 1970 to 9999; few shards and numbers, so that times and shards meet.
    let time = prop_oneof![0..253_402_200_000_000_000_i64, 1_520_175_584_000_000..1_520_175_584_002_000_i64];
    (time, 0..3_u8, 0..1_000_000_u64, proptest::option::of(0..20_u64), any::<String>(), payload).prop_map(
        |(micros, shard, sequence, sub, partition_key, payload)| Event {
            time: Timestamp::from_microsecond(micros).unwrap(),
            id: EventId {
                shard: format!("shardId-00000000000{shard}"),
                sequence: SequenceNumber(sequence.to_string()),
                sub,
            },
            partition_key,
            payload: payload.into(),
        },
    )
}

proptest! {
    #[test]
    fn an_event_comes_back_as_it_went_in(event in any_event()) {
        let row = buffer_row(SOURCE, &event);
        prop_assert!(Checker::new(buffer_key_schema()).check(row.clone()).is_ok());
        prop_assert_eq!(&read_buffer_row(&row).unwrap().1, &event);
        for layout in [Layout::Ordered, Layout::Original] {
            let (_, row) = event_row(&event, layout, SlotLength::default());
            prop_assert!(Checker::new(layout.key()).check(row.clone()).is_ok());
            let read = read_event_row(&row).unwrap();
            prop_assert_eq!(&read, &Event { time: layout.time(event.time), ..event.clone() });
        }
    }

    #[test]
    fn event_keys_sort_as_text_as_events_do(a in any_event(), b in any_event()) {
        let key = |event: &Event| event_key(event.time, &event.id);
        prop_assert_eq!(key(&a).cmp(&key(&b)), a.order().cmp(&b.order()));
    }

    #[test]
    fn no_bytes_are_read_as_a_row_with_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
        let _ = (read_buffer_row(&bytes), read_event_row(&bytes));
    }
}
