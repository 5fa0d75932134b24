use super::*;

fn key(n: u32) -> Key {
    let json = Bytes::from(format!(r#"{{"id":{{"N":"{n}"}}}}"#));
    Key { hash: xxhash_rust::xxh3::xxh3_128(&json), json }
}

/// A line of stage `stage` that puts an item of this digest, or deletes.
fn line(stage: u32, digest: impl Into<Option<u128>>) -> Version {
    Version { digest: digest.into(), stage, input: stage, offset: 0 }
}

fn compared(source: &[(u32, Version)], table: &[(u32, u128)]) -> (Tally, Vec<(Difference, String)>) {
    let folder = tempfile::tempdir().unwrap();
    let mut s = Side::create(folder.path(), "s").unwrap();
    for (n, version) in source {
        s.add(&key(*n), *version).unwrap();
    }
    let mut t = Side::create(folder.path(), "t").unwrap();
    for (n, digest) in table {
        t.add(&key(*n), Version::of_table(*digest)).unwrap();
    }
    let (s, t) = (s.finish(folder.path(), "s").unwrap(), t.finish(folder.path(), "t").unwrap());
    let mut found = Vec::new();
    let tally = compare(&s, &t, |differing| {
        found.push((differing.difference, differing.key.clone()));
        Ok(())
    })
    .unwrap();
    found.sort_by_key(|(_, key)| key.clone());
    (tally, found)
}

fn named(n: u32) -> String {
    String::from_utf8(key(n).json.to_vec()).unwrap()
}

#[test]
fn missing_extra_and_different_keys_are_told_apart() {
    let source = [(1, line(0, 10)), (2, line(0, 20)), (3, line(0, 30))];
    let (tally, found) = compared(&source, &[(2, 20), (3, 31), (4, 40)]);
    assert_eq!(
        found,
        [(Difference::Missing, named(1)), (Difference::Different, named(3)), (Difference::Extra, named(4))]
    );
    assert_eq!((tally.checked, tally.equal, tally.digest_source, tally.digest_table), (4, 1, 60, 91));
}

#[test]
fn the_last_stage_that_has_a_key_wins_whatever_the_order_of_reading_and_deletes_remove() {
    let source = [
        (1, line(2, 12)),
        (1, line(0, 10)),
        (1, line(1, 11)),
        (2, line(0, 20)),
        (2, line(1, None)),
        (3, line(1, None)),
        (3, line(0, 30)),
        (3, line(2, 32)),
        (4, line(1, None)),
        (4, line(0, 40)),
    ];
    let (tally, found) = compared(&source, &[(1, 12), (3, 32), (4, 40)]);
    assert_eq!(found, [(Difference::Extra, named(4))], "it is deleted in the source, and the table has it yet");
    assert_eq!((tally.checked, tally.equal, tally.duplicates), (3, 2, 0));
}

#[test]
fn of_a_key_that_is_twice_in_the_source_the_table_may_hold_either() {
    for there in [10, 11] {
        let (tally, found) = compared(&[(1, line(0, 10)), (1, line(0, 11))], &[(1, there)]);
        assert_eq!(found, []);
        assert_eq!((tally.checked, tally.equal, tally.duplicates), (1, 1, 1));
        assert_eq!(tally.digest_source, tally.digest_table);
    }
    let (tally, found) = compared(&[(1, line(0, 10)), (1, line(0, 11))], &[(1, 12)]);
    assert_eq!(found, [(Difference::Different, named(1))]);
    assert_eq!((tally.checked, tally.duplicates, tally.digest_source), (1, 1, 11));
}
