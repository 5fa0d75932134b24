//! Changes of items as DynamoDB Streams tells them, in the JSON that both `GetRecords` and Lambda hand over: the new
//! image passes through as the bytes that came.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::stream::SequenceNumber;
use crate::item::Refusal;

/// A change of one item.
#[derive(Clone, Debug, PartialEq)]
pub struct TableChange {
    /// Its place in its shard.
    pub sequence: SequenceNumber,
    /// When it happened, about: ms since the epoch. `DynamoDB` says whole seconds.
    pub at_ms: i64,
    /// The primary key of the item in the table that changed, `DynamoDB` JSON; a slice of the record.
    pub keys: Bytes,
    /// What happened to the item.
    pub kind: ChangeKind,
    /// What a replica does about it.
    pub effect: Effect,
    /// The item as it was before, where the stream carries that (`NEW_AND_OLD_IMAGES`, `OLD_IMAGE`); a slice of the record.
    pub old: Option<Bytes>,
    /// The item expired, and the service deleted it (`userIdentity`).
    pub by_ttl: bool,
}

/// What happened to an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChangeKind {
    /// INSERT: there was none of its key.
    Inserted,
    /// MODIFY.
    Modified,
    /// REMOVE.
    Removed,
}

/// What a replica does about a change.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// INSERT and MODIFY: puts this image, `DynamoDB` JSON; a slice of the record.
    Put(Bytes),
    /// REMOVE: deletes the item of [`TableChange::keys`].
    Delete,
    /// INSERT or MODIFY of a stream that carries no new images; why, in words.
    NoImage(String),
}

/// Who deletes items that expired.
const TTL: &str = "dynamodb.amazonaws.com";

#[derive(Deserialize)]
struct Record<'a> {
    #[serde(rename = "eventName", borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    dynamodb: Body<'a>,
    #[serde(rename = "userIdentity", borrow, default)]
    identity: Option<Identity<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Body<'a> {
    #[serde(default)]
    approximate_creation_date_time: f64,
    #[serde(borrow)]
    keys: &'a RawValue,
    #[serde(borrow, default)]
    new_image: Option<&'a RawValue>,
    #[serde(borrow, default)]
    old_image: Option<&'a RawValue>,
    #[serde(borrow)]
    sequence_number: Cow<'a, str>,
    #[serde(borrow, default)]
    stream_view_type: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Identity<'a> {
    // Lambda and the service's own API spell it differently.
    #[serde(rename = "principalId", alias = "PrincipalId", borrow, default)]
    principal: Option<Cow<'a, str>>,
}

impl TableChange {
    /// Reads one record of a stream.
    ///
    /// # Errors
    /// It is no such record.
    pub fn read(record: &Bytes) -> Result<Self, Refusal> {
        let read: Record = serde_json::from_slice(record)
            .map_err(|error| Refusal::NotJson(format!("not a record of DynamoDB Streams: {error}")))?;
        let slice = |json: &RawValue| record.slice_ref(json.get().as_bytes());
        let effect = match (&*read.name, read.dynamodb.new_image) {
            ("REMOVE", _) => Effect::Delete,
            ("INSERT" | "MODIFY", Some(image)) => Effect::Put(slice(image)),
            ("INSERT" | "MODIFY", None) => {
                let view = read.dynamodb.stream_view_type.as_deref().unwrap_or("no new image");
                Effect::NoImage(format!(
                    "the stream carries {view}: a replica needs NEW_IMAGE or NEW_AND_OLD_IMAGES, and a stream's view can't be \
                     changed (end it on the table, begin a new one, and copy what changed meanwhile)"
                ))
            }
            (other, _) => return Err(Refusal::NotJson(format!("a change of the unknown kind {other:?}"))),
        };
        let kind = match &*read.name {
            "INSERT" => ChangeKind::Inserted,
            "MODIFY" => ChangeKind::Modified,
            _ => ChangeKind::Removed,
        };
        Ok(Self {
            sequence: SequenceNumber(read.dynamodb.sequence_number.into_owned()),
            at_ms: (read.dynamodb.approximate_creation_date_time * 1000.0).round() as i64,
            keys: slice(read.dynamodb.keys),
            kind,
            effect,
            old: read.dynamodb.old_image.map(slice),
            by_ttl: read.identity.and_then(|identity| identity.principal).is_some_and(|principal| principal == TTL),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(record: &str) -> TableChange {
        TableChange::read(&Bytes::copy_from_slice(record.as_bytes())).unwrap()
    }

    #[test]
    fn the_new_image_is_the_very_bytes_that_came() {
        let record = Bytes::from_static(
            br#"{"eventID":"1","eventName":"MODIFY","dynamodb":{"ApproximateCreationDateTime":1520175584,
              "Keys":{"id":{"S":"a"}},"NewImage":{"n":{"N":"1.50"}, "id":{"S":"a"}},"SequenceNumber":"300000000000000499659",
              "SizeBytes":9,"StreamViewType":"NEW_IMAGE"},"eventSourceARN":"arn:aws:dynamodb:us-east-1:1:table/t/stream/x"}"#,
        );
        let change = TableChange::read(&record).unwrap();
        let Effect::Put(image) = change.effect else { panic!("{change:?}") };
        assert_eq!(image, br#"{"n":{"N":"1.50"}, "id":{"S":"a"}}"#.as_slice());
        assert!(record.as_ptr_range().contains(&image.as_ptr()), "it is a slice of the record");
        assert_eq!((change.at_ms, change.sequence.0.as_str()), (1_520_175_584_000, "300000000000000499659"));
        assert!(!change.by_ttl);
    }

    #[test]
    fn a_removal_deletes_by_its_keys_and_tells_whether_the_item_had_expired() {
        for (principal, by_ttl) in [
            (r#"{"type":"Service","principalId":"dynamodb.amazonaws.com"}"#, true),
            (r#"{"Type":"Service","PrincipalId":"dynamodb.amazonaws.com"}"#, true),
            (r#"{"principalId":"someone"}"#, false),
            ("null", false),
        ] {
            let change = read(&format!(
                r#"{{"eventName":"REMOVE","userIdentity":{principal},"dynamodb":{{"Keys":{{"id":{{"S":"a"}}}},"SequenceNumber":"7"}}}}"#
            ));
            assert_eq!((change.effect, change.by_ttl), (Effect::Delete, by_ttl), "{principal}");
            assert_eq!(change.keys, br#"{"id":{"S":"a"}}"#.as_slice());
        }
    }

    #[test]
    fn a_stream_without_new_images_is_told_apart_from_a_bad_record() {
        let change =
            read(r#"{"eventName":"INSERT","dynamodb":{"Keys":{},"SequenceNumber":"7","StreamViewType":"KEYS_ONLY"}}"#);
        assert!(matches!(&change.effect, Effect::NoImage(why) if why.contains("KEYS_ONLY")), "{change:?}");
        for bad in ["{}", "[]", r#"{"eventName":"DROP","dynamodb":{"Keys":{},"SequenceNumber":"7"}}"#, "x"] {
            assert!(TableChange::read(&Bytes::copy_from_slice(bad.as_bytes())).is_err(), "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_record_panics(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..80)) {
            let _ = TableChange::read(&Bytes::from(bytes));
        }

        #[test]
        fn any_image_passes_through(text in proptest::prelude::any::<String>(), digits in "-?[1-9][0-9]{0,37}") {
            let image = serde_json::json!({"id": {"S": text}, "n": {"N": digits}}).to_string();
            let change = read(&format!(
                r#"{{"eventName":"INSERT","dynamodb":{{"Keys":{{}},"NewImage":{image},"SequenceNumber":"1"}}}}"#
            ));
            proptest::prop_assert_eq!(change.effect, Effect::Put(image.into()));
        }
    }
}
