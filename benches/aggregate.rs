//! What packing put requests together costs, and taking them apart.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use sluicegate::backup::sample;
use sluicegate::flow::aggregate::{pack, unpack};
use sluicegate::flow::partition_key;
use sluicegate::item::request;

/// `count` put requests of items of 300 bytes, each with its partition key.
fn requests(count: u64) -> Vec<(String, Bytes)> {
    let items = sample::wide(count, 300, 1).map(Bytes::from);
    (0..).zip(items).map(|(n, item)| (partition_key("r-7f3a01", n), request::encode("historical", &item))).collect()
}

fn aggregate(c: &mut Criterion) {
    let mut group = c.benchmark_group("aggregate");
    for count in [4, 16, 256] {
        let requests = requests(count);
        let packed = pack(1, requests.clone());
        group.throughput(Throughput::ElementsAndBytes { elements: count, bytes: packed.len() as u64 });
        group.bench_function(format!("pack {count}"), |b| {
            b.iter_batched(|| requests.clone(), |requests| black_box(pack(1, requests)), BatchSize::SmallInput);
        });
        group.bench_function(format!("unpack {count}"), |b| {
            b.iter(|| {
                let aggregated = unpack(black_box(&packed)).expect("it is whole").expect("it is aggregated");
                aggregated.records().map(|record| record.data.len()).sum::<usize>()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, aggregate);
criterion_main!(benches);
