//! Writes a `csv64` backup of made-up items, for trying and measuring:
//! `cargo run --release --example make_backup -- COUNT BYTES_PER_ITEM FILE [sorted]`. `sorted` puts them in the order in
//! which the embedded AWS's partitions hold them, which is how a scan of a real table gives them.

use sluicegate::backup::{Csv64Writer, sample};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (count, bytes, file, sorted) = match arguments.as_slice() {
        [count, bytes, file] => (count, bytes, file, false),
        [count, bytes, file, how] if how == "sorted" => (count, bytes, file, true),
        _ => return Err("usage: make_backup COUNT BYTES_PER_ITEM FILE [sorted]".into()),
    };
    let mut backup = Csv64Writer::create(&file.parse()?, None, false).await?;
    let items = sample::wide(count.parse()?, bytes.parse()?, 1);
    if sorted {
        let mut items: Vec<Vec<u8>> = items.collect();
        items.sort_by_cached_key(|item| partition_hash(item));
        for item in &items {
            backup.write(item).await?;
        }
    } else {
        for item in items {
            backup.write(&item).await?;
        }
    }
    let written = backup.finish().await?;
    println!("{} items, {} bytes", written.rows, written.bytes);
    Ok(())
}

/// Where the embedded AWS puts the item: the hash of its `id`, which comes first in these items.
fn partition_hash(item: &[u8]) -> u64 {
    let id = item.strip_prefix(br#"{"id":{"S":""#).and_then(|rest| rest.split(|byte| *byte == b'"').next());
    xxhash_rust::xxh3::xxh3_64(id.unwrap_or_default())
}
