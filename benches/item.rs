//! What an item costs on its way from a backup's line to a put request.

use std::hint::black_box;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sluicegate::backup::{Csv64Writer, Input, Location, Place, Reader, sample};
use sluicegate::item::{Checker, request};

fn items(count: u64, bytes: usize) -> Vec<Bytes> {
    sample::wide(count, bytes, 1).map(Bytes::from).collect()
}

fn check(c: &mut Criterion) {
    let checker = Checker::new(sample::key_schema());
    let mut group = c.benchmark_group("check");
    for (name, items) in [
        ("historical", sample::historical(1000, 1).map(Bytes::from).collect::<Vec<_>>()),
        ("300 B", items(1000, 300)),
        ("4 KiB", items(200, 4096)),
    ] {
        group.throughput(Throughput::ElementsAndBytes {
            elements: items.len() as u64,
            bytes: items.iter().map(|item| item.len() as u64).sum(),
        });
        group.bench_function(name, |b| {
            b.iter(|| {
                for item in &items {
                    black_box(checker.check(item.clone()).expect("samples pass the check"));
                }
            });
        });
        // The way that this crate does not go: into a tree and out of it again.
        group.bench_function(format!("{name}, serde_json tree"), |b| {
            b.iter(|| {
                for item in &items {
                    let tree: serde_json::Value = serde_json::from_slice(item).expect("samples are JSON");
                    black_box(serde_json::to_vec(&tree).expect("a tree can be written"));
                }
            });
        });
    }
    group.finish();
}

fn put_request(c: &mut Criterion) {
    let items = items(1000, 300);
    let records: Vec<Bytes> = items.iter().map(|item| request::encode("historical", item)).collect();
    let mut group = c.benchmark_group("put request");
    group.throughput(Throughput::Elements(items.len() as u64));
    group.bench_function("encode", |b| {
        b.iter(|| items.iter().for_each(|item| drop(black_box(request::encode("historical", item)))));
    });
    group.bench_function("parse", |b| {
        b.iter(|| records.iter().for_each(|record| drop(black_box(request::parse(record)))));
    });
    group.finish();
}

fn read(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime for the bench");
    let folder = tempfile::tempdir().expect("a folder for the bench");
    let mut group = c.benchmark_group("read csv64");
    for (name, gzip) in [("plain", false), ("gzip", true)] {
        let location = Location::File(folder.path().join(name));
        let written = std::cell::OnceCell::new();
        let write = async || {
            let mut writer = Csv64Writer::create(&location, None, gzip).await.expect("the folder is there");
            for item in items(100_000, 300) {
                writer.write(&item).await.expect("the disk has room");
            }
            writer.finish().await.expect("the disk has room");
        };
        let input = Input::plain(location.clone(), None);
        group.throughput(Throughput::Elements(100_000));
        group.sample_size(10);
        group.bench_function(name, |b| {
            written.get_or_init(|| runtime.block_on(write()));
            b.iter(|| {
                runtime.block_on(async {
                    let mut reader = Reader::open(&input, None, None, Place::default()).await.expect("just written");
                    let mut count = 0;
                    loop {
                        let batch = reader.next_batch(1000).await.expect("just written");
                        if batch.is_empty() {
                            break;
                        }
                        count += batch.len();
                        black_box(batch);
                    }
                    assert_eq!(count, 100_000);
                });
            });
        });
    }
    group.bench_function("base64 alone", |b| {
        let lines: Vec<String> = items(100_000, 300).iter().map(|item| STANDARD.encode(item)).collect();
        b.iter(|| lines.iter().for_each(|line| drop(black_box(STANDARD.decode(line)))));
    });
    group.finish();
}

criterion_group!(benches, check, put_request, read);
criterion_main!(benches);
