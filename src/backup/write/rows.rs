//! Rows of a format, gathered into blocks that can be compressed side by side and still make one gzip member.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::DeflateEncoder;
use serde::{Deserialize, Serialize};

use crate::backup::format::Format;

/// The rows of some items, apart by `\n` with none after the last: text, or deflated to a whole byte.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Block {
    bytes: Vec<u8>,
    rows: u64,
    /// Length of the text, bytes.
    text: u64,
    /// CRC-32 of the text, of a deflated block.
    crc: u32,
}

impl Block {
    /// The rows of `items` in `format`, deflated for a file that is compressed with gzip.
    #[allow(clippy::missing_panics_doc, reason = "base64 has the length that it is given")]
    pub fn of(items: &[Bytes], format: Format, gzip: bool) -> Self {
        let mut text = Vec::with_capacity(items.iter().map(|item| item.len() * 4 / 3 + 16).sum());
        for item in items {
            if !text.is_empty() {
                text.push(b'\n');
            }
            match format {
                Format::Csv64 | Format::Csv => {
                    let from = text.len();
                    text.resize(from + item.len().div_ceil(3) * 4, 0);
                    STANDARD
                        .encode_slice(item, &mut text[from..])
                        .expect("four bytes for each started three are base64's length");
                }
                Format::Jsonl => push_line(&mut text, item),
                Format::Export => {
                    text.extend_from_slice(br#"{"Item":"#);
                    push_line(&mut text, item);
                    text.push(b'}');
                }
            }
        }
        let (rows, length) = (items.len() as u64, text.len() as u64);
        if !gzip {
            return Self { bytes: text, rows, text: length, crc: 0 };
        }
        let crc = crc32fast::hash(&text);
        Self { bytes: deflated(&text), rows, text: length, crc }
    }

    /// Rows in it.
    pub fn rows(&self) -> u64 {
        self.rows
    }
}

/// An item on one line. Outside of strings JSON may be spread over lines, inside it can't be.
fn push_line(text: &mut Vec<u8>, item: &[u8]) {
    let from = text.len();
    text.extend_from_slice(item);
    for byte in &mut text[from..] {
        if matches!(byte, b'\n' | b'\r') {
            *byte = b' ';
        }
    }
}

/// Deflated blocks that end at a whole byte and leave the stream open, so that others can follow.
fn deflated(text: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::with_capacity(text.len() / 4), Compression::default());
    let written = encoder.write_all(text).and_then(|()| encoder.flush());
    written.expect("a vector takes all that is written");
    // What the encoder writes when it is dropped, the end of the stream, goes into the empty vector left here.
    std::mem::take(encoder.get_mut())
}

/// Header of a gzip member without a name or a time (RFC 1952).
const GZIP_HEAD: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

/// A stored block of deflate that holds one line end (RFC 1951, 3.2.4).
const STORED_NEWLINE: [u8; 6] = [0, 1, 0, 0xfe, 0xff, b'\n'];

/// The empty last block of a deflate stream.
const DEFLATE_END: [u8; 2] = [3, 0];

/// A text of rows as far as it is written: what is needed to go on with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Text {
    /// Rows so far.
    pub rows: u64,
    /// Length of the text so far, bytes, before compression.
    length: u64,
    /// CRC-32 of the text so far, when it is compressed.
    crc: u32,
    /// Nothing follows any more.
    pub ended: bool,
}

impl Text {
    /// Appends a block to `out`.
    pub fn push(&mut self, block: &Block, gzip: bool, out: &mut Vec<u8>) {
        if block.rows == 0 {
            return;
        }
        if self.rows == 0 {
            self.begin(gzip, out);
        } else {
            self.newline(gzip, out);
        }
        out.extend_from_slice(&block.bytes);
        self.rows += block.rows;
        self.add(block.text, block.crc, gzip);
    }

    /// Ends the text.
    pub fn end(&mut self, format: Format, gzip: bool, out: &mut Vec<u8>) {
        if self.rows == 0 {
            self.begin(gzip, out);
        } else if !matches!(format, Format::Csv64 | Format::Csv) {
            // The original wrote none after its last row; a line of JSON ends as lines do.
            self.newline(gzip, out);
        }
        if gzip {
            out.extend_from_slice(&DEFLATE_END);
            out.extend_from_slice(&self.crc.to_le_bytes());
            // The length modulo 2^32 is what the format asks for.
            out.extend_from_slice(&(self.length as u32).to_le_bytes());
        }
        self.ended = true;
    }

    fn begin(&self, gzip: bool, out: &mut Vec<u8>) {
        debug_assert_eq!(self.length, 0, "a text begins once");
        if gzip {
            out.extend_from_slice(&GZIP_HEAD);
        }
    }

    fn newline(&mut self, gzip: bool, out: &mut Vec<u8>) {
        out.extend_from_slice(if gzip { &STORED_NEWLINE } else { b"\n" });
        self.add(1, crc32fast::hash(b"\n"), gzip);
    }

    fn add(&mut self, length: u64, crc: u32, gzip: bool) {
        if gzip {
            let mut all = crc32fast::Hasher::new_with_initial_len(self.crc, self.length);
            all.combine(&crc32fast::Hasher::new_with_initial_len(crc, length));
            self.crc = all.finalize();
        }
        self.length += length;
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::read::GzDecoder;
    use proptest::prelude::*;

    use super::*;

    /// The file that blocks of these items make, its text, and the text that it should be.
    fn written(blocks: &[Vec<Bytes>], format: Format, gzip: bool) -> (Vec<u8>, Text) {
        let (mut out, mut text) = (Vec::new(), Text::default());
        for items in blocks {
            text.push(&Block::of(items, format, gzip), gzip, &mut out);
        }
        text.end(format, gzip, &mut out);
        (out, text)
    }

    /// What a reader that knows of one gzip member only finds in it, to the last byte.
    fn unzipped(bytes: &[u8]) -> Vec<u8> {
        let (mut text, mut decoder) = (Vec::new(), GzDecoder::new(bytes));
        decoder.read_to_end(&mut text).unwrap();
        assert!(decoder.into_inner().is_empty(), "nothing is behind the first member");
        text
    }

    fn items(texts: &[&str]) -> Vec<Bytes> {
        texts.iter().map(|text| Bytes::from((*text).to_owned())).collect()
    }

    #[test]
    fn csv64_ends_without_a_newline_jsonl_with_one_and_no_items_are_no_bytes() {
        let blocks = [items(&["{}", r#"{"a":1}"#]), items(&[]), items(&["{}"])];
        assert_eq!(written(&blocks, Format::Csv64, false).0, b"e30=\neyJhIjoxfQ==\ne30=");
        assert_eq!(written(&blocks, Format::Jsonl, false).0, b"{}\n{\"a\":1}\n{}\n");
        assert_eq!(written(&blocks, Format::Export, false).0, b"{\"Item\":{}}\n{\"Item\":{\"a\":1}}\n{\"Item\":{}}\n");
        for format in [Format::Csv64, Format::Jsonl] {
            assert_eq!(written(&[], format, false).0, b"");
            assert_eq!(unzipped(&written(&[], format, true).0), b"");
        }
    }

    #[test]
    fn an_item_that_is_spread_over_lines_is_one_line() {
        let blocks = [items(&["{\n  \"a\":\r\n 1\n}"])];
        assert_eq!(written(&blocks, Format::Jsonl, false).0, b"{   \"a\":   1 }\n");
    }

    proptest! {
        #[test]
        fn blocks_compressed_apart_are_one_gzip_member_that_any_reader_reads_whole(
            blocks in proptest::collection::vec(proptest::collection::vec("[a-z{}\"]{1,200}", 0..8), 0..8),
        ) {
            let blocks: Vec<Vec<Bytes>> =
                blocks.into_iter().map(|items| items.into_iter().map(Bytes::from).collect()).collect();
            for format in [Format::Csv64, Format::Jsonl, Format::Export] {
                let (plain, text) = written(&blocks, format, false);
                let (zipped, same) = written(&blocks, format, true);
                prop_assert_eq!(&unzipped(&zipped), &plain);
                prop_assert_eq!(text.rows, blocks.iter().map(|items| items.len() as u64).sum::<u64>());
                prop_assert_eq!((same.rows, same.length), (text.rows, plain.len() as u64));
            }
        }
    }
}
