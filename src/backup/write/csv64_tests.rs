use proptest::prelude::*;

use super::*;
use crate::backup::{Input, Place, Reader, sample};

async fn read_back(location: &Location, s3: Option<&aws_sdk_s3::Client>) -> Vec<Vec<u8>> {
    let input = Input::plain(location.clone(), None);
    let mut reader = Reader::open(&input, s3, None, Place::default()).await.unwrap();
    let mut items = Vec::new();
    while let Some(record) = reader.next().await.unwrap() {
        items.push(record.json.unwrap().to_vec());
    }
    items
}

async fn write(location: &Location, s3: Option<&aws_sdk_s3::Client>, items: &[Vec<u8>], gzip: bool) -> Written {
    let mut writer = Csv64Writer::create(location, s3, gzip).await.unwrap();
    for item in items {
        writer.write(item).await.unwrap();
    }
    writer.finish().await.unwrap()
}

#[tokio::test]
async fn rows_are_apart_by_newlines_with_none_after_the_last_and_no_items_are_an_empty_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new/t.csv");
    let location = Location::File(path.clone());
    let written = write(&location, None, &[b"{}".to_vec(), b"{\"a\":1}".to_vec()], false).await;
    assert_eq!(std::fs::read(&path).unwrap(), b"e30=\neyJhIjoxfQ==");
    assert_eq!(written, Written { rows: 2, bytes: 17 });
    assert_eq!(write(&location, None, &[], false).await, Written { rows: 0, bytes: 0 });
    assert_eq!(std::fs::read(&path).unwrap(), b"");
}

#[tokio::test]
async fn a_file_appears_under_its_name_only_when_it_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.csv");
    std::fs::write(&path, "before").unwrap();
    let location = Location::File(path.clone());
    let mut writer = Csv64Writer::create(&location, None, false).await.unwrap();
    for item in sample::wide(3000, 300, 1) {
        writer.write(&item).await.unwrap();
    }
    drop(writer);
    assert_eq!(std::fs::read(&path).unwrap(), b"before");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left behind");
    let items: Vec<_> = sample::wide(3000, 300, 1).collect();
    let written = write(&location, None, &items, false).await;
    assert_eq!(written.bytes, std::fs::metadata(&path).unwrap().len());
    assert_eq!(read_back(&location, None).await, items);
}

#[tokio::test]
async fn a_compressed_backup_is_smaller_and_reads_back() {
    let folder = tempfile::tempdir().unwrap();
    let location = Location::File(folder.path().join("t.csv.gz"));
    let items: Vec<_> = sample::historical(5000, 1).collect();
    let written = write(&location, None, &items, true).await;
    assert!(written.bytes < items.iter().map(|item| item.len() as u64).sum());
    assert_eq!(read_back(&location, None).await, items);
}

#[cfg(feature = "local")]
#[tokio::test]
async fn a_small_backup_is_one_object_and_a_large_one_goes_up_in_parts() {
    let s3 = crate::backup::test_s3::TestS3::start().await;
    for (key, count) in [("t/small.csv", 10), ("t/large.csv", 40_000)] {
        let location = Location::S3 { bucket: "bucket".into(), key: key.into() };
        let items: Vec<_> = sample::wide(count, 300, 1).collect();
        let written = write(&location, Some(&s3.client), &items, false).await;
        assert_eq!(written.rows, count);
        assert_eq!(written.bytes, std::fs::metadata(s3.path(key)).unwrap().len());
        assert_eq!(read_back(&location, Some(&s3.client)).await, items);
    }
}

#[cfg(feature = "local")]
#[tokio::test]
async fn an_upload_that_is_given_up_leaves_no_object() {
    let s3 = crate::backup::test_s3::TestS3::start().await;
    let location = Location::S3 { bucket: "bucket".into(), key: "t.csv".into() };
    let mut writer = Csv64Writer::create(&location, Some(&s3.client), false).await.unwrap();
    for item in sample::wide(30_000, 300, 1) {
        writer.write(&item).await.unwrap();
    }
    assert!(matches!(&writer.sink, Sink::Upload(upload) if upload.id.is_some()), "it went up in parts");
    drop(writer);
    assert!(!s3.path("t.csv").exists());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn any_items_come_back(items in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..40), 0..20), gzip: bool) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let location = Location::File(folder.path().join("t.csv"));
            write(&location, None, &items, gzip).await;
            let input = Input::plain(location, None);
            let mut reader =
                Reader::open(&input, None, Some(crate::backup::Format::Csv64), Place::default()).await.unwrap();
            let mut back = Vec::new();
            while let Some(record) = reader.next().await.unwrap() {
                back.push(record.json.unwrap().to_vec());
            }
            assert_eq!(back, items);
        });
    }
}
