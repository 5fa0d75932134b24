//! Writes a `csv64` backup of made-up items, for trying and measuring:
//! `cargo run --release --example make_backup -- COUNT BYTES_PER_ITEM FILE`.

use sluicegate::backup::{Csv64Writer, sample};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [count, bytes, file] = arguments.as_slice() else {
        return Err("usage: make_backup COUNT BYTES_PER_ITEM FILE".into());
    };
    let mut backup = Csv64Writer::create(&file.parse()?, None, false).await?;
    for item in sample::wide(count.parse()?, bytes.parse()?, 1) {
        backup.write(&item).await?;
    }
    let written = backup.finish().await?;
    println!("{} items, {} bytes", written.rows, written.bytes);
    Ok(())
}
