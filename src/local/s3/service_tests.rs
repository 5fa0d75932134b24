//! S3 as the SDK sees it, over the port.

use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart};

use crate::cloud::{Cloud, Context, Guard};
use crate::local::{Local, Options};

async fn aws() -> (Local, aws_sdk_s3::Client) {
    let local = Local::start(Options::default()).await.unwrap();
    let context = Context {
        region: Some("us-east-1".into()),
        endpoint_url: Some(local.endpoint().to_owned()),
        ..Context::default()
    };
    let s3 = Cloud::connect(&context, Guard::open()).await.unwrap().s3;
    s3.create_bucket().bucket("backups").send().await.unwrap();
    (local, s3)
}

/// `size` bytes that differ from place to place.
fn bytes(size: usize) -> Vec<u8> {
    (0..size).map(|n| (n / 251) as u8 ^ n as u8).collect()
}

#[tokio::test]
async fn an_object_is_put_read_listed_and_deleted() {
    let (local, s3) = aws().await;
    let key = "quotes/quotes_2016-11-13T00:01:02+00:00.csv";
    let content = bytes(100_000);
    s3.put_object().bucket("backups").key(key).body(content.clone().into()).send().await.unwrap();
    let file = local.s3_folder().join("backups").join(key);
    assert_eq!(std::fs::read(file).unwrap(), content, "an object is a file");

    let head = s3.head_object().bucket("backups").key(key).send().await.unwrap();
    assert_eq!(head.content_length, Some(100_000));
    let whole = s3.get_object().bucket("backups").key(key).send().await.unwrap();
    assert_eq!(whole.body.collect().await.unwrap().to_vec(), content);

    let folder = s3.head_object().bucket("backups").key("quotes").send().await.unwrap_err().into_service_error();
    assert!(folder.is_not_found(), "a folder is no object");

    let listed = s3.list_objects_v2().bucket("backups").prefix("quotes/").send().await.unwrap();
    assert_eq!(listed.contents()[0].key(), Some(key));
    s3.delete_object().bucket("backups").key(key).send().await.unwrap();
    assert!(s3.head_object().bucket("backups").key(key).send().await.unwrap_err().into_service_error().is_not_found());
}

#[tokio::test]
async fn a_range_is_the_bytes_asked_for() {
    let (_local, s3) = aws().await;
    let content = bytes(500_000);
    s3.put_object().bucket("backups").key("k").body(content.clone().into()).send().await.unwrap();
    for (range, expected) in [
        ("bytes=10-19", &content[10..20]),
        ("bytes=1000-499998", &content[1000..499_999]),
        ("bytes=-5", &content[499_995..]),
    ] {
        let part = s3.get_object().bucket("backups").key("k").range(range).send().await.unwrap();
        assert!(part.content_range().unwrap().ends_with("/500000"));
        assert_eq!(part.body.collect().await.unwrap().to_vec(), expected);
    }
}

#[tokio::test]
async fn a_body_that_streams_with_its_checksum_behind_it_arrives_whole() {
    let (local, s3) = aws().await;
    let file = local.s3_folder().with_file_name("upload");
    let content = bytes(3_000_000);
    std::fs::write(&file, &content).unwrap();
    for algorithm in [ChecksumAlgorithm::Crc32, ChecksumAlgorithm::Crc32C, ChecksumAlgorithm::Sha256] {
        let body = ByteStream::from_path(&file).await.unwrap();
        let put = s3.put_object().bucket("backups").key("k").checksum_algorithm(algorithm).body(body);
        put.send().await.unwrap();
        let whole = s3.get_object().bucket("backups").key("k").send().await.unwrap();
        assert_eq!(whole.body.collect().await.unwrap().to_vec(), content);
    }
}

#[tokio::test]
async fn parts_become_one_object() {
    let (_local, s3) = aws().await;
    let content = bytes(12 << 20);
    let upload = s3.create_multipart_upload().bucket("backups").key("big").send().await.unwrap();
    let upload_id = upload.upload_id.unwrap();
    let mut parts = CompletedMultipartUpload::builder();
    for (number, part) in (1..).zip(content.chunks(5 << 20)) {
        let sent = s3.upload_part().bucket("backups").key("big").upload_id(&upload_id).part_number(number);
        let sent = sent.body(part.to_vec().into()).send().await.unwrap();
        parts = parts.parts(CompletedPart::builder().part_number(number).e_tag(sent.e_tag.unwrap()).build());
    }
    let complete = s3.complete_multipart_upload().bucket("backups").key("big").upload_id(upload_id);
    complete.multipart_upload(parts.build()).send().await.unwrap();
    let whole = s3.get_object().bucket("backups").key("big").send().await.unwrap();
    assert_eq!(whole.body.collect().await.unwrap().to_vec(), content);
}

#[tokio::test]
async fn a_list_goes_on_where_its_page_ended() {
    let (_local, s3) = aws().await;
    let keys: Vec<String> = (0..7).map(|n| format!("p/{n}%+ é")).collect();
    for key in &keys {
        s3.put_object().bucket("backups").key(key).body(Vec::new().into()).send().await.unwrap();
    }
    let mut pages = s3.list_objects_v2().bucket("backups").prefix("p/").max_keys(3).into_paginator().send();
    let mut listed = Vec::new();
    while let Some(page) = pages.next().await {
        listed.extend(page.unwrap().contents().iter().map(|object| object.key().unwrap().to_owned()));
    }
    assert_eq!(listed, keys);
    let folders = s3.list_objects_v2().bucket("backups").delimiter("/").send().await.unwrap();
    assert_eq!(folders.common_prefixes()[0].prefix(), Some("p/"));
}

#[tokio::test]
async fn what_is_not_there_and_what_is_there_already_are_named_as_aws_names_them() {
    let (_local, s3) = aws().await;
    let missing = s3.get_object().bucket("backups").key("none").send().await.unwrap_err().into_service_error();
    assert!(missing.is_no_such_key());
    let missing = s3.list_objects_v2().bucket("none").send().await.unwrap_err().into_service_error();
    assert!(missing.is_no_such_bucket());
    let again = s3.create_bucket().bucket("backups").send().await.unwrap_err().into_service_error();
    assert_eq!(again.code(), Some("BucketAlreadyOwnedByYou"));
}
