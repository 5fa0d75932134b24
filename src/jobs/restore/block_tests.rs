use std::fs;
use std::path::Path;

use proptest::prelude::*;
use tokio::sync::Semaphore;

use super::super::reading::Cut;
use super::super::source::{Next, Source};
use super::super::strand::Intent;
use super::*;
use crate::backup::{Input, Location};
use crate::flow::{Position as _, Stopwatch, SystemClock};
use crate::item::{Checker, KeyAttr, KeyKind, KeySchema, Shape};

/// Lines of a file: the ids of its items.
fn write(folder: &Path, name: &str, ids: &[u32]) -> Input {
    let path = folder.join(name);
    let line = |(n, id): (usize, &u32)| format!("{{\"id\":{{\"S\":\"{id}\"}},\"n\":{{\"N\":\"{n}\"}}}}\n");
    fs::write(&path, ids.iter().enumerate().map(line).collect::<String>()).unwrap();
    let bytes = fs::metadata(&path).unwrap().len();
    Input::plain(Location::File(path), Some(bytes))
}

fn reading(stages: Vec<Vec<Input>>, strands: usize, window: u64) -> Reading {
    let stage = |inputs: Vec<Input>| StageReading {
        increment: false,
        cuts: (0..inputs.len()).map(|n| Cut(n, 0, None)).collect(),
        inputs,
    };
    Reading { stages: stages.into_iter().map(stage).collect(), strands, window, seed: 7, left_out: Vec::new() }
}

fn taking() -> Taking {
    let partition = KeyAttr { name: "id".into(), kind: KeyKind::S };
    Taking {
        checker: Checker::new(KeySchema { partition, sort: None }),
        shape: Shape::default(),
        format: None,
        s3: None,
        keep_going: false,
        producers: Semaphore::new(2),
        checking: Arc::new(Stopwatch::new(Arc::new(SystemClock::new()))),
    }
}

/// What a source gave: each record's file and byte with the mark behind it, and where its stages ended.
#[derive(Debug, Default)]
struct Gave {
    records: Vec<(String, u64, Mark)>,
    items: Vec<String>,
    stage_ends: Vec<usize>,
}

async fn all(reading: &Reading, from: Option<Mark>) -> Result<Gave, BackupError> {
    let mut source = Source::open(Arc::new(reading.clone()), taking(), from);
    let mut gave = Gave::default();
    loop {
        match source.next(3).await? {
            Next::Records(records) => {
                for (intent, position) in records {
                    let Intent::Put(item) = intent else { panic!("{intent:?}") };
                    gave.items.push(String::from_utf8_lossy(&item.json).into_owned());
                    let letter = position.letter(String::new(), bytes::Bytes::new());
                    gave.records.push((letter.source, letter.offset.unwrap(), position.mark()));
                }
            }
            Next::StageEnds => gave.stage_ends.push(gave.records.len()),
            Next::End => return Ok(gave),
        }
    }
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

#[test]
fn a_stage_without_a_record_ends_as_the_others_do() {
    let folder = tempfile::tempdir().unwrap();
    let [empty, other] =
        [("empty.jsonl", &[][..]), ("b.jsonl", &[1, 2])].map(|(name, ids)| write(folder.path(), name, ids));
    let reading = reading(vec![vec![empty.clone()], vec![empty], vec![other]], 1, 0);
    let gave = run(all(&reading, None)).unwrap();
    assert_eq!((gave.records.len(), gave.stage_ends), (2, vec![0, 0]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn a_resume_from_any_record_gives_exactly_the_rest_in_the_same_order(
        files in prop::collection::vec(prop::collection::vec(0u32..50, 0..40), 1..6),
        more in prop::collection::vec(0u32..50, 0..20),
        strands in 1usize..5,
        window in prop_oneof![Just(0u64), 1u64..8_000],
        at in any::<prop::sample::Index>(),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let inputs = files.iter().enumerate().map(|(n, ids)| write(folder.path(), &format!("{n}.jsonl"), ids)).collect();
        let second = vec![write(folder.path(), "second.jsonl", &more)];
        let reading = reading(vec![inputs, second], strands, window);
        let whole = run(all(&reading, None)).unwrap();
        let lines: usize = files.iter().map(Vec::len).sum();
        prop_assert_eq!(whole.records.len(), lines + more.len());
        prop_assert_eq!(&whole.stage_ends, &vec![lines]);
        let ordinals: Vec<u64> = whole.records.iter().map(|(_, _, mark)| mark.ordinal()).collect();
        prop_assert!(ordinals.iter().copied().eq(1..=whole.records.len() as u64), "{:?}", ordinals);

        if whole.records.is_empty() {
            return Ok(());
        }
        let at = at.index(whole.records.len());
        let stored = serde_json::to_string(&whole.records[at].2).unwrap();
        let rest = run(all(&reading, Some(serde_json::from_str(&stored).unwrap()))).unwrap();
        prop_assert_eq!(&rest.records, &whole.records[at + 1..].to_vec());
        prop_assert_eq!(&rest.items, &whole.items[at + 1..].to_vec());
    }

    #[test]
    fn the_records_of_one_key_keep_their_order_within_a_block(ids in prop::collection::vec(0u32..9, 0..200)) {
        let folder = tempfile::tempdir().unwrap();
        let reading = reading(vec![vec![write(folder.path(), "a.jsonl", &ids)]], 1, 1 << 20);
        let gave = run(all(&reading, None)).unwrap();
        for id in 0..9 {
            let key = format!("{{\"id\":{{\"S\":\"{id}\"}}");
            let lines: Vec<u64> =
                gave.items.iter().zip(&gave.records).filter(|(item, _)| item.starts_with(&key)).map(|(_, r)| r.1).collect();
            prop_assert!(lines.is_sorted(), "{:?}", lines);
        }
    }
}

#[test]
fn without_a_window_the_order_of_the_files_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let ids: Vec<u32> = (0..5_000).collect();
    let inputs = vec![write(folder.path(), "a.jsonl", &ids[..3_000]), write(folder.path(), "b.jsonl", &ids[3_000..])];
    let gave = run(all(&reading(vec![inputs], 1, 0), None)).unwrap();
    let id = |item: &String| item.split('"').nth(5).unwrap().parse::<u32>().unwrap();
    assert_eq!(gave.items.iter().map(id).collect::<Vec<_>>(), ids);
}

#[test]
fn a_window_mixes_what_its_strands_read() {
    let folder = tempfile::tempdir().unwrap();
    let inputs: Vec<Input> = (0..4)
        .map(|n| write(folder.path(), &format!("{n}.jsonl"), &(n * 1_000..n * 1_000 + 100).collect::<Vec<_>>()))
        .collect();
    let gave = run(all(&reading(vec![inputs], 4, 1 << 20), None)).unwrap();
    let runs = gave.records.windows(2).filter(|pair| pair[0].0 == pair[1].0).count();
    // Of 400 records from four files a fair shuffle leaves a quarter beside one of their own; in file order 396 are.
    assert!(runs < 150, "{runs} of 399 neighbours are of one file");
}

#[test]
fn a_block_that_is_not_what_it_was_is_not_gone_on_with() {
    let folder = tempfile::tempdir().unwrap();
    let reading = reading(vec![vec![write(folder.path(), "a.jsonl", &(100..200).collect::<Vec<_>>())]], 1, 1 << 20);
    let gave = run(all(&reading, None)).unwrap();
    // The same size, other keys.
    write(folder.path(), "a.jsonl", &(200..300).collect::<Vec<_>>());
    let error = run(all(&reading, Some(gave.records[50].2.clone()))).unwrap_err().to_string();
    assert!(error.contains("is not what it was when the job began"), "{error}");
}

#[test]
fn a_file_that_grew_since_the_job_began_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let input = write(folder.path(), "a.jsonl", &[1, 2]);
    let reading = reading(vec![vec![input]], 1, 1 << 20);
    write(folder.path(), "a.jsonl", &[1, 2, 3]);
    let error = run(all(&reading, None)).unwrap_err().to_string();
    assert!(error.contains("it is still being written"), "{error}");
}

#[test]
fn one_key_in_two_lines_is_said_once() {
    let folder = tempfile::tempdir().unwrap();
    let reading = reading(vec![vec![write(folder.path(), "a.jsonl", &[1, 2, 1, 2])]], 1, 1 << 20);
    let notes = run(async {
        let mut source = Source::open(Arc::new(reading), taking(), None);
        while !matches!(source.next(10).await.unwrap(), Next::End) {}
        source.progress().take_notes()
    });
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert!(notes[0].contains("--shuffle 0"), "{notes:?}");
}
