use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use md5::{Digest as _, Md5};
use proptest::prelude::*;

use super::*;
use crate::backup::{Format, Input, Place, Reader, sample};

const FORMATS: [(Format, bool); 6] = [
    (Format::Csv64, false),
    (Format::Csv64, true),
    (Format::Jsonl, false),
    (Format::Jsonl, true),
    (Format::Export, false),
    (Format::Export, true),
];

fn about() -> About {
    About {
        table: "historical".into(),
        table_arn: "arn:aws:dynamodb:eu-west-1:111122223333:table/historical".into(),
        table_id: "b2c1".into(),
        started: "2026-11-20T03:00:00Z".parse().unwrap(),
        ended: "2026-11-20T04:00:00Z".parse().unwrap(),
        consistent: true,
        digest: "00ff".into(),
    }
}

fn destination(to: &str, format: Format, gzip: bool) -> Destination {
    let at = "2026-11-20T03:04:05+01:00[Europe/Berlin]".parse().unwrap();
    Destination::resolve(to, "historical", format, gzip, &at, "b-7f3a01").unwrap()
}

fn blocks(items: &[Bytes], format: Format, gzip: bool, each: usize) -> Vec<Block> {
    items.chunks(each).map(|items| Block::of(items, format, gzip)).collect()
}

fn items(count: u64) -> Vec<Bytes> {
    sample::wide(count, 300, 1).map(Bytes::from).collect()
}

/// All items below `location`, sorted: segments and files have no order.
async fn read_back(location: &Location, s3: Option<&aws_sdk_s3::Client>) -> Vec<Bytes> {
    let mut all = Vec::new();
    for input in crate::backup::expand(std::slice::from_ref(location), s3).await.unwrap() {
        let input = Input::plain(input.location, input.bytes);
        let mut reader = Reader::open(&input, s3, None, Place::default()).await.unwrap();
        while let Some(record) = reader.next().await.unwrap() {
            all.push(record.json.unwrap());
        }
    }
    all.sort();
    all
}

/// Where the rows of a backup are: of an export, its data files.
fn rows_of(published: &Published, to: &Destination) -> Location {
    if to.export.is_some() { published.location.within("data") } else { published.location.clone() }
}

#[tokio::test]
async fn each_layout_reads_back_and_nothing_but_hidden_files_is_there_before_it_is_whole() {
    let mut wanted = items(3000);
    let given = wanted.clone();
    wanted.sort();
    for (format, gzip) in FORMATS {
        let folder = tempfile::tempdir().unwrap();
        let to = destination(folder.path().to_str().unwrap(), format, gzip);
        let mut writer = BackupWriter::open(&to, None, "b-1", None, Vec::new()).await.unwrap();
        for block in blocks(&given, format, to.gzip, 700) {
            writer.append(&block).await.unwrap();
        }
        writer.drain().await.unwrap();
        let stored = writer.settle().await.unwrap();
        assert_eq!((stored.blocks, stored.mark.rows), (5, 3000), "{format}");
        if to.export.is_none() {
            let there = crate::backup::expand(&[Location::File(folder.path().to_owned())], None).await;
            assert!(there.is_err(), "{format}: {there:?}");
        }
        let published = writer.publish(&about()).await.unwrap();
        assert_eq!(published.rows, 3000);
        assert!(read_back(&rows_of(&published, &to), None).await == wanted, "{format} gzip {gzip}");
    }
}

#[tokio::test]
async fn the_manifest_beside_a_file_tells_its_items_bytes_and_md5() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("h.csv.gz");
    let to = destination(path.to_str().unwrap(), Format::Csv64, true);
    let mut writer = BackupWriter::open(&to, None, "b-1", None, Vec::new()).await.unwrap();
    writer.append(&Block::of(&items(10), Format::Csv64, true)).await.unwrap();
    writer.drain().await.unwrap();
    writer.publish(&about()).await.unwrap();
    let Location::File(sidecar) = to.sidecar() else { panic!("no file") };
    let manifest: Manifest = serde_json::from_slice(&std::fs::read(sidecar).unwrap()).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    assert_eq!((manifest.item_count, manifest.bytes), (10, bytes.len() as u64));
    assert_eq!(manifest.md5_checksum, Some(STANDARD.encode(Md5::digest(&bytes))));
    assert_eq!((manifest.file.as_str(), manifest.format), ("h.csv.gz", Format::Csv64));
    assert_eq!(manifest.compression.as_deref(), Some("gzip"));
}

#[tokio::test]
async fn an_export_has_the_manifests_of_awss_own() {
    let folder = tempfile::tempdir().unwrap();
    let to = destination(folder.path().to_str().unwrap(), Format::Export, true);
    let mut writer = BackupWriter::open(&to, None, "b-1", None, Vec::new()).await.unwrap();
    writer.append(&Block::of(&items(10), Format::Export, true)).await.unwrap();
    writer.drain().await.unwrap();
    let Location::File(export) = writer.publish(&about()).await.unwrap().location else { panic!("no folder") };
    let read = |name: &str| std::fs::read_to_string(export.join(name)).unwrap();
    let summary: serde_json::Value = serde_json::from_str(&read("manifest-summary.json")).unwrap();
    assert_eq!((&summary["itemCount"], &summary["outputFormat"]), (&10.into(), &"DYNAMODB_JSON".into()));
    assert_eq!(summary["exportTime"], "2026-11-20T03:00:00Z");
    let files = read("manifest-files.json");
    let file: serde_json::Value = serde_json::from_str(files.lines().next().unwrap()).unwrap();
    let key = file["dataFileS3Key"].as_str().unwrap();
    let bytes = std::fs::read(folder.path().join(key)).unwrap();
    assert_eq!(file["md5Checksum"], STANDARD.encode(Md5::digest(&bytes)));
    assert_eq!(file["itemCount"], 10);
    for name in ["manifest-files", "manifest-summary"] {
        let sum = STANDARD.encode(Md5::digest(read(&format!("{name}.json"))));
        assert_eq!(read(&format!("{name}.md5")), sum);
    }
}

#[tokio::test]
async fn what_was_written_behind_the_mark_is_taken_back_and_what_is_before_it_stays() {
    let all = items(1000);
    for (format, gzip) in [(Format::Csv64, false), (Format::Csv64, true), (Format::Jsonl, true)] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("h");
        let to = destination(path.to_str().unwrap(), format, gzip);
        let blocks = blocks(&all, format, gzip, 100);
        let mut first = BackupWriter::open(&to, None, "b-1", None, Vec::new()).await.unwrap();
        for block in &blocks[..6] {
            first.append(block).await.unwrap();
        }
        let mark = first.settle().await.unwrap().mark;
        // Written, but killed before it counted.
        first.append(&blocks[7]).await.unwrap();
        first.append(&blocks[3]).await.unwrap();
        drop(first);
        let mark: Mark = serde_json::from_str(&serde_json::to_string(&mark).unwrap()).unwrap();
        let mut second = BackupWriter::open(&to, None, "b-1", Some(&mark), Vec::new()).await.unwrap();
        for block in &blocks[6..] {
            second.append(block).await.unwrap();
        }
        second.drain().await.unwrap();
        second.publish(&about()).await.unwrap();
        let mut wanted = all.clone();
        wanted.sort();
        assert!(read_back(&to.location, None).await == wanted, "{format} {gzip}");
    }
}

#[tokio::test]
async fn a_name_that_was_given_just_before_the_end_is_not_given_again() {
    let folder = tempfile::tempdir().unwrap();
    let to = destination(folder.path().join("h.csv").to_str().unwrap(), Format::Csv64, false);
    let mut first = BackupWriter::open(&to, None, "b-1", None, Vec::new()).await.unwrap();
    first.append(&Block::of(&items(10), Format::Csv64, false)).await.unwrap();
    first.drain().await.unwrap();
    let mark = first.settle().await.unwrap().mark;
    first.publish(&about()).await.unwrap();
    let mut again = BackupWriter::open(&to, None, "b-1", Some(&mark), Vec::new()).await.unwrap();
    again.drain().await.unwrap();
    assert_eq!(again.publish(&about()).await.unwrap().rows, 10);
}

#[tokio::test]
async fn nothing_is_written_over_what_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("h.csv");
    let to = destination(path.to_str().unwrap(), Format::Csv64, false);
    to.must_be_free(None).await.unwrap();
    let mut writer = BackupWriter::open(&to, None, "b-1", None, Vec::new()).await.unwrap();
    writer.append(&Block::of(&items(10), Format::Csv64, false)).await.unwrap();
    writer.drain().await.unwrap();
    let mark = writer.settle().await.unwrap().mark;
    std::fs::write(&path, "somebody else's").unwrap();
    assert!(matches!(to.must_be_free(None).await.unwrap_err(), BackupError::Exists { .. }));
    assert!(matches!(writer.publish(&about()).await.unwrap_err(), BackupError::Exists { .. }));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "somebody else's");
    // Once it is out of the way, the backup takes its place.
    std::fs::remove_file(&path).unwrap();
    let mut again = BackupWriter::open(&to, None, "b-1", Some(&mark), Vec::new()).await.unwrap();
    again.publish(&about()).await.unwrap();
    assert_eq!(read_back(&to.location, None).await.len(), 10);
}

#[tokio::test]
async fn a_file_that_lost_bytes_or_is_gone_is_not_gone_on_with() {
    let folder = tempfile::tempdir().unwrap();
    let to = destination(folder.path().join("h.csv").to_str().unwrap(), Format::Csv64, false);
    let mut writer = BackupWriter::open(&to, None, "b-1", None, Vec::new()).await.unwrap();
    writer.append(&Block::of(&items(10), Format::Csv64, false)).await.unwrap();
    let mark = writer.settle().await.unwrap().mark;
    drop(writer);
    let part = folder.path().join(".h.csv.b-1.part");
    std::fs::write(&part, "short").unwrap();
    for missing in ["has 5 bytes", "not there any more"] {
        let error = BackupWriter::open(&to, None, "b-1", Some(&mark), Vec::new()).await.unwrap_err();
        assert!(error.to_string().contains(missing), "{error}");
        let _ = std::fs::remove_file(&part);
    }
}

#[tokio::test]
async fn a_file_that_was_changed_behind_our_back_is_not_called_a_backup() {
    let folder = tempfile::tempdir().unwrap();
    let to = destination(folder.path().join("h.csv").to_str().unwrap(), Format::Csv64, false);
    let mut writer = BackupWriter::open(&to, None, "b-1", None, Vec::new()).await.unwrap();
    writer.append(&Block::of(&items(10), Format::Csv64, false)).await.unwrap();
    writer.drain().await.unwrap();
    let part = folder.path().join(".h.csv.b-1.part");
    let text = std::fs::read_to_string(&part).unwrap().replacen('\n', "x", 1);
    std::fs::write(&part, text).unwrap();
    let error = writer.publish(&about()).await.unwrap_err();
    assert!(error.to_string().contains("holds 9 rows"), "{error}");
}

#[tokio::test]
async fn what_is_given_up_leaves_nothing() {
    for (format, gzip) in FORMATS {
        let folder = tempfile::tempdir().unwrap();
        let to = destination(folder.path().join("x").to_str().unwrap(), format, gzip);
        let mut writer = BackupWriter::open(&to, None, "b-1", None, Vec::new()).await.unwrap();
        writer.append(&Block::of(&items(10), format, to.gzip)).await.unwrap();
        writer.drain().await.unwrap();
        writer.discard().await.unwrap();
        let left = crate::backup::expand(&[Location::File(folder.path().to_owned())], None).await;
        assert!(left.is_err(), "{format}: {left:?}");
        assert!(!folder.path().join(".x.b-1.part").exists());
    }
}

#[cfg(feature = "local")]
mod in_s3 {
    use super::*;
    use crate::backup::test_s3::TestS3;

    #[tokio::test]
    async fn each_layout_reads_back_from_s3_empty_ones_too() {
        let s3 = TestS3::start().await;
        for count in [0, 10, 40_000] {
            let mut wanted = items(count);
            let given = wanted.clone();
            wanted.sort();
            for (format, gzip) in [(Format::Csv64, false), (Format::Jsonl, true), (Format::Export, true)] {
                let to = destination(&format!("s3://bucket/{count}-{format}/"), format, gzip);
                to.must_be_free(Some(&s3.client)).await.unwrap();
                let mut writer = BackupWriter::open(&to, Some(&s3.client), "b-1", None, Vec::new()).await.unwrap();
                for block in blocks(&given, format, to.gzip, 1000) {
                    writer.append(&block).await.unwrap();
                }
                writer.append(&Block::of(&[], format, to.gzip)).await.unwrap();
                writer.drain().await.unwrap();
                let stored = writer.settle().await.unwrap();
                assert_eq!((stored.blocks, stored.mark.rows), (count.div_ceil(1000) + 1, count), "{format}");
                let published = writer.publish(&about()).await.unwrap();
                assert_eq!(published.rows, count);
                if count > 0 {
                    let place = rows_of(&published, &to);
                    assert!(read_back(&place, Some(&s3.client)).await == wanted, "{count} as {format}");
                }
                if to.export.is_none() {
                    let taken = to.must_be_free(Some(&s3.client)).await.unwrap_err();
                    assert!(matches!(taken, BackupError::Exists { .. }), "{taken}");
                }
            }
        }
    }

    #[tokio::test]
    async fn an_upload_goes_on_behind_its_stored_parts_and_has_no_object_before_it_is_whole() {
        let s3 = TestS3::start().await;
        let all = items(60_000);
        let to = destination("s3://bucket/h.csv", Format::Csv64, false);
        let blocks = blocks(&all, Format::Csv64, false, 1000);
        let mut first = BackupWriter::open(&to, Some(&s3.client), "b-1", None, Vec::new()).await.unwrap();
        let (mut pieces, mut stored) = (Vec::new(), Stored::default());
        for block in &blocks[..45] {
            first.append(block).await.unwrap();
            stored = first.settle().await.unwrap();
            pieces.append(&mut stored.pieces);
        }
        while stored.blocks == 0 {
            tokio::task::yield_now().await;
            stored = first.settle().await.unwrap();
            pieces.append(&mut stored.pieces);
        }
        assert!(stored.blocks > 0 && stored.blocks < 45, "some parts count, the last rows don't: {stored:?}");
        drop(first);
        assert!(!s3.path("h.csv").exists());
        let mut second = BackupWriter::open(&to, Some(&s3.client), "b-1", Some(&stored.mark), pieces).await.unwrap();
        for block in &blocks[stored.blocks as usize..] {
            second.append(block).await.unwrap();
        }
        second.drain().await.unwrap();
        assert!(!s3.path("h.csv").exists());
        second.publish(&about()).await.unwrap();
        let mut wanted = all.clone();
        wanted.sort();
        assert!(read_back(&to.location, Some(&s3.client)).await == wanted);
        // The reply may be lost: asked again, it is done.
        second.publish(&about()).await.unwrap();
    }

    #[tokio::test]
    async fn a_bucket_that_is_missing_is_told_before_anything_is_read() {
        let s3 = TestS3::start().await;
        let to = destination("s3://bukket/h.csv", Format::Csv64, false);
        let error = to.must_be_free(Some(&s3.client)).await.unwrap_err();
        assert!(error.to_string().contains("there is no bucket bukket"), "{error}");
    }

    #[tokio::test]
    async fn an_upload_that_is_given_up_leaves_no_parts_and_no_object() {
        let s3 = TestS3::start().await;
        let to = destination("s3://bucket/h.csv", Format::Csv64, false);
        let mut writer = BackupWriter::open(&to, Some(&s3.client), "b-1", None, Vec::new()).await.unwrap();
        for block in blocks(&items(40_000), Format::Csv64, false, 1000) {
            writer.append(&block).await.unwrap();
        }
        writer.drain().await.unwrap();
        let upload = writer.settle().await.unwrap().mark.upload.unwrap();
        let parts = || s3.client.list_parts().bucket("bucket").key("h.csv").upload_id(&upload).send();
        assert!(!parts().await.unwrap().parts().is_empty());
        writer.discard().await.unwrap();
        assert!(!s3.path("h.csv").exists());
        let left = parts().await.map_or(0, |left| left.parts().len());
        assert_eq!(left, 0, "no part of the upload is there any more");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn however_often_it_is_killed_each_block_is_there_once(
        sizes in proptest::collection::vec(0_usize..30, 1..12),
        kills in proptest::collection::vec((0_usize..12, 0_usize..4), 0..4),
        layout in 0_usize..FORMATS.len(),
    ) {
        let (format, gzip) = FORMATS[layout];
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let to = destination(folder.path().join("x").to_str().unwrap(), format, gzip);
            let all = items(sizes.iter().sum::<usize>() as u64);
            let mut rest = &all[..];
            let blocks: Vec<Block> = sizes
                .iter()
                .map(|size| {
                    let (block, after) = rest.split_at(*size);
                    rest = after;
                    Block::of(block, format, to.gzip)
                })
                .collect();
            // Blocks before each mark, over all runs.
            let (mut before, mut mark, mut pieces) = (0, None, Vec::new());
            for (count, unsettled) in kills {
                let mut writer = BackupWriter::open(&to, None, "b-1", mark.as_ref(), pieces.clone()).await.unwrap();
                for block in blocks[before..].iter().take(count) {
                    writer.append(block).await.unwrap();
                }
                let stored = writer.settle().await.unwrap();
                before += stored.blocks as usize;
                mark = Some(stored.mark);
                pieces.extend(stored.pieces);
                for block in blocks.iter().take(unsettled) {
                    writer.append(block).await.unwrap();
                }
            }
            let mut writer = BackupWriter::open(&to, None, "b-1", mark.as_ref(), pieces).await.unwrap();
            for block in &blocks[before..] {
                writer.append(block).await.unwrap();
            }
            writer.drain().await.unwrap();
            let published = writer.publish(&about()).await.unwrap();
            let mut wanted = all.clone();
            wanted.sort();
            assert_eq!(published.rows, wanted.len() as u64);
            if !wanted.is_empty() {
                assert!(read_back(&rows_of(&published, &to), None).await == wanted);
            }
        });
    }
}
