//! Tests of [`super`]: our packing against the KPL's own messages, and whatever else may come over a stream.

use proptest::prelude::*;

use super::*;

/// The messages as the KPL has them, tags included.
#[derive(Clone, PartialEq, prost::Message)]
struct Theirs {
    #[prost(string, repeated, tag = "1")]
    partition_keys: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    hash_keys: Vec<String>,
    #[prost(message, repeated, tag = "3")]
    records: Vec<TheirRecord>,
    /// Of a later version of the format.
    #[prost(fixed64, optional, tag = "9")]
    unknown: Option<u64>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct TheirRecord {
    #[prost(uint64, optional, tag = "1")]
    partition_key: Option<u64>,
    #[prost(uint64, optional, tag = "2")]
    hash_key: Option<u64>,
    #[prost(bytes = "vec", optional, tag = "3")]
    data: Option<Vec<u8>>,
    #[prost(message, repeated, tag = "4")]
    tags: Vec<Tag>,
    #[prost(fixed32, optional, tag = "7")]
    unknown: Option<u32>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Tag {
    #[prost(string, required, tag = "1")]
    key: String,
    #[prost(string, optional, tag = "2")]
    value: Option<String>,
}

fn their_record(partition_key: u64, hash_key: Option<u64>, data: &[u8]) -> TheirRecord {
    TheirRecord { partition_key: Some(partition_key), hash_key, data: Some(data.to_vec()), ..TheirRecord::default() }
}

/// `protobuf` between the magic and its right sum.
fn sealed(protobuf: &[u8]) -> Bytes {
    Bytes::from([&MAGIC[..], protobuf, &Md5::digest(protobuf)].concat())
}

fn opened(data: &Bytes) -> Vec<(String, Option<u128>, Bytes)> {
    let aggregated = unpack(data).unwrap().unwrap();
    let owned = |record: SubRecord<'_>| (record.partition_key.to_owned(), record.explicit_hash_key, record.data);
    aggregated.records().map(owned).collect()
}

#[test]
fn a_record_without_the_magic_is_a_plain_one() {
    for plain in [&b""[..], b"{}", &MAGIC[..3], br#"{"TableName":"t","Item":{}}"#] {
        assert!(unpack(&Bytes::copy_from_slice(plain)).unwrap().is_none());
    }
}

#[test]
fn what_the_kpl_packed_is_taken_apart_with_tags_and_fields_that_we_do_not_know() {
    let mut tagged = their_record(1, Some(0), b"second");
    tagged.tags = vec![Tag { key: "k".into(), value: None }, Tag { key: "l".into(), value: Some("m".into()) }];
    tagged.unknown = Some(7);
    let theirs = Theirs {
        partition_keys: vec!["one".into(), "zwei ü".into()],
        hash_keys: vec![u128::MAX.to_string()],
        records: vec![their_record(0, None, b"first"), tagged, their_record(0, None, b"")],
        unknown: Some(u64::MAX),
    };
    let wanted = [
        ("one".to_owned(), None, Bytes::from_static(b"first")),
        ("zwei ü".to_owned(), Some(u128::MAX), Bytes::from_static(b"second")),
        ("one".to_owned(), None, Bytes::new()),
    ];
    assert_eq!(opened(&sealed(&theirs.encode_to_vec())), wanted);
}

#[test]
fn a_hash_key_is_the_explicit_one_or_the_md5_of_the_partition_key() {
    let record = |explicit_hash_key| SubRecord { partition_key: "a", explicit_hash_key, data: Bytes::new() };
    assert_eq!(record(Some(7)).hash_key(), 7);
    assert_eq!(record(None).hash_key(), 0x0cc1_75b9_c0f1_b6a8_31c3_99e2_6977_2661);
}

#[test]
fn the_records_are_slices_of_the_whole() {
    let packed = pack(1, [("r-1/0".to_owned(), Bytes::from_static(b"payload"))]);
    let (_, _, data) = opened(&packed).remove(0);
    assert!(packed.as_ptr_range().contains(&data.as_ptr()));
}

#[test]
fn each_kind_of_damage_is_named() {
    let good =
        Theirs { partition_keys: vec!["k".into()], records: vec![their_record(0, None, b"x")], ..Theirs::default() };
    let with = |change: fn(&mut Theirs)| {
        let mut theirs = good.clone();
        change(&mut theirs);
        unpack(&sealed(&theirs.encode_to_vec())).map(|unpacked| unpacked.unwrap().len())
    };
    assert_eq!(with(|_| {}), Ok(1));
    assert_eq!(with(|theirs| theirs.records[0].partition_key = Some(1)), Err(Damage::Missing));
    assert_eq!(with(|theirs| theirs.records[0].partition_key = Some(u64::MAX)), Err(Damage::Missing));
    assert_eq!(with(|theirs| theirs.records[0].partition_key = None), Err(Damage::Missing));
    assert_eq!(with(|theirs| theirs.records[0].data = None), Err(Damage::Missing));
    assert_eq!(with(|theirs| theirs.records[0].hash_key = Some(0)), Err(Damage::Missing));
    assert_eq!(with(|theirs| theirs.hash_keys = vec!["twelve".into()]), Err(Damage::Key));
    assert_eq!(with(|theirs| theirs.hash_keys = vec![format!("{}0", u128::MAX)]), Err(Damage::Key));

    let bytes = good.encode_to_vec();
    let mut flipped = sealed(&bytes).to_vec();
    flipped[6] ^= 1;
    assert_eq!(unpack(&Bytes::from(flipped)).unwrap_err(), Damage::Checksum);
    assert_eq!(unpack(&Bytes::from_static(&MAGIC)).unwrap_err(), Damage::Checksum);
    assert_eq!(unpack(&sealed(&bytes[..bytes.len() - 1])).unwrap_err(), Damage::Truncated);
    // A partition key that is no text, a group, a number of more than 64 bits.
    assert_eq!(unpack(&sealed(b"\x0a\x01\xff")).unwrap_err(), Damage::Key);
    assert_eq!(unpack(&sealed(b"\x2b\x2c")).unwrap_err(), Damage::Protobuf);
    assert_eq!(unpack(&sealed(b"\x20\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02")).unwrap_err(), Damage::Protobuf);
}

#[test]
fn a_mebibyte_of_the_smallest_records_takes_a_few_times_its_size() {
    let mut theirs = vec![0x0a, 0x00];
    // One record of six bytes: key 0, data of no bytes.
    let record = [0x1a, 0x04, 0x08, 0x00, 0x1a, 0x00];
    theirs.extend(record.iter().copied().cycle().take(174_000 * record.len()));
    let aggregated = unpack(&sealed(&theirs)).unwrap().unwrap();
    assert_eq!(aggregated.len(), 174_000);
    let taken =
        aggregated.records.capacity() * size_of::<Entry>() + aggregated.partition_keys.capacity() * size_of::<Span>();
    assert!(taken < 6 * theirs.len(), "{taken}");
}

proptest! {
    #[test]
    fn what_was_packed_comes_out_again_and_its_size_was_known(
        hash_key in any::<u128>(),
        records in prop::collection::vec((".{0,40}", prop::collection::vec(any::<u8>(), 0..300)), 1..40),
    ) {
        let mut packer = Packer::new(hash_key);
        let mut foretold = 0;
        for (partition_key, data) in &records {
            foretold = packer.size_with(partition_key, data);
            packer.push(partition_key.clone(), data.clone().into());
        }
        let (partition_key, packed) = packer.finish();
        prop_assert_eq!(packed.len() + partition_key.len(), foretold);
        prop_assert_eq!(&partition_key, &records[0].0);
        let wanted: Vec<_> =
            records.iter().map(|(key, data)| (key.clone(), Some(hash_key), Bytes::from(data.clone()))).collect();
        prop_assert_eq!(opened(&packed), wanted);
        // And it is what the KPL's messages say.
        let theirs = Theirs::decode(&packed[MAGIC.len()..packed.len() - SUM]).unwrap();
        prop_assert_eq!(theirs.records.len(), records.len());
        prop_assert_eq!(theirs.partition_keys[records.len() - 1].as_str(), records[records.len() - 1].0.as_str());
    }

    #[test]
    fn a_record_that_lost_its_end_is_damaged(
        records in prop::collection::vec((".{1,9}", prop::collection::vec(any::<u8>(), 0..60)), 1..9),
        at in any::<prop::sample::Index>(),
    ) {
        let packed = pack(7, records.into_iter().map(|(key, data)| (key, data.into())));
        let end = MAGIC.len() + at.index(packed.len() - MAGIC.len());
        prop_assert_eq!(unpack(&packed.slice(..end)).unwrap_err(), Damage::Checksum);
    }

    #[test]
    fn a_changed_byte_is_noticed(
        data in prop::collection::vec(any::<u8>(), 0..90),
        at in any::<prop::sample::Index>(),
        bit in 0u8..8,
    ) {
        let mut packed = pack(7, [("key".to_owned(), data.into())]).to_vec();
        let at = MAGIC.len() + at.index(packed.len() - MAGIC.len());
        packed[at] ^= 1 << bit;
        prop_assert_eq!(unpack(&packed.into()).unwrap_err(), Damage::Checksum);
    }

    #[test]
    fn rubbish_with_a_right_sum_never_panics(protobuf in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(Some(aggregated)) = unpack(&sealed(&protobuf)) {
            prop_assert_eq!(aggregated.records().count(), aggregated.len());
        }
    }

    #[test]
    fn a_message_that_was_cut_and_sealed_again_never_panics(
        records in prop::collection::vec((0u64..4, 0u64..3, prop::collection::vec(any::<u8>(), 0..60)), 0..9),
        at in any::<prop::sample::Index>(),
    ) {
        let theirs = Theirs {
            partition_keys: vec!["a".into(), "b".into()],
            hash_keys: vec!["1".into()],
            records: records.iter().map(|(key, hash, data)| their_record(*key, Some(*hash), data)).collect(),
            unknown: Some(1),
        };
        let bytes = theirs.encode_to_vec();
        let _ = unpack(&sealed(&bytes[..at.index(bytes.len() + 1)]));
    }
}
