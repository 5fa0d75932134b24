use std::io::Write as _;
use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::backup::{LONGEST_LINE, Location, pieces, sample};

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn zstd(text: &[u8]) -> Vec<u8> {
    zstd::encode_all(text, 1).unwrap()
}

/// `count` rows of csv64.
fn rows(count: u64) -> Vec<u8> {
    use base64::Engine as _;
    let rows: Vec<String> =
        sample::wide(count, 300, 5).map(|item| base64::engine::general_purpose::STANDARD.encode(item)).collect();
    rows.join("\n").into_bytes()
}

struct File {
    folder: tempfile::TempDir,
}

impl File {
    fn of(bytes: &[u8]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("f"), bytes).unwrap();
        Self { folder }
    }

    fn input(&self) -> Input {
        input(&self.folder.path().join("f"))
    }

    async fn open(&self, format: Option<Format>, from: Place) -> Result<Reader, BackupError> {
        Reader::open(&self.input(), None, format, from).await
    }

    /// Every record of a file that opens, and how it ended.
    async fn read(&self, format: Option<Format>) -> (Vec<Record>, Option<BackupError>) {
        all(self.open(format, Place::default()).await.unwrap()).await
    }
}

fn input(path: &Path) -> Input {
    Input::plain(Location::File(path.to_owned()), None)
}

async fn all(mut reader: Reader) -> (Vec<Record>, Option<BackupError>) {
    let mut records = Vec::new();
    loop {
        match reader.next_batch(700).await {
            Ok(batch) if batch.is_empty() => return (records, None),
            Ok(batch) => records.extend(batch),
            Err(error) => return (records, Some(error)),
        }
    }
}

/// Line, offset and JSON (or refusal) of each record.
fn told(records: &[Record]) -> Vec<(u64, u64, String)> {
    records
        .iter()
        .map(|record| {
            let json = match &record.json {
                Ok(json) => String::from_utf8_lossy(json).into_owned(),
                Err(refusal) => refusal.to_string(),
            };
            (record.line, record.offset, json)
        })
        .collect()
}

#[tokio::test]
async fn lines_know_their_number_and_offset_and_a_bad_one_does_not_stop_its_neighbours() {
    let (records, error) = File::of(b"e30=\r\nnot base64!\n\"e30=\"\n\neyJ9").read(None).await;
    assert!(error.is_none());
    assert_eq!(
        told(&records),
        [
            (1, 0, "{}".to_owned()),
            (2, 6, "not base64: ' ' at byte 3 of the line".to_owned()),
            (3, 18, "{}".to_owned()),
            (4, 25, "not base64: an empty line".to_owned()),
            (5, 26, "{\"}".to_owned()),
        ]
    );
    assert_eq!(&records[0].raw[..], b"e30=");
    assert_eq!(&records[1].raw[..], b"not base64!");
}

#[tokio::test]
async fn an_empty_file_has_no_records_and_a_blank_last_line_is_none() {
    for (text, count) in
        [(&b""[..], 0), (b"\n", 0), (b"e30=", 1), (b"e30=\n", 1), (b"e30=\n\n", 1), (b"e30=\r\n\r\n", 1)]
    {
        for bytes in [text.to_vec(), gzip(text), zstd(text)] {
            let (records, error) = File::of(&bytes).read(None).await;
            assert!(error.is_none());
            assert_eq!(records.len(), count, "{text:?}");
        }
    }
}

#[tokio::test]
async fn compression_is_known_by_content_and_members_may_follow_each_other() {
    let text = rows(3000);
    let (plain, _) = File::of(&text).read(None).await;
    assert_eq!(plain.len(), 3000);
    let (first, second) = text.split_at(text.len() / 3);
    for bytes in [gzip(&text), zstd(&text), [gzip(first), gzip(second)].concat(), [zstd(first), zstd(second)].concat()]
    {
        let (records, error) = File::of(&bytes).read(None).await;
        assert!(error.is_none());
        assert_eq!(records, plain);
    }
}

#[tokio::test]
async fn reading_goes_on_exactly_where_it_stopped() {
    let text = rows(3000);
    for bytes in [text.clone(), gzip(&text), zstd(&text)] {
        let file = File::of(&bytes);
        let (whole, _) = file.read(None).await;
        let mut reader = file.open(None, Place::default()).await.unwrap();
        let mut records = Vec::new();
        for take in [1, 1000, 1, 699, 5000] {
            let mut taken = 0;
            while taken < take {
                let batch = reader.next_batch(take - taken).await.unwrap();
                if batch.is_empty() {
                    break;
                }
                taken += batch.len();
                records.extend(batch);
            }
            let place = reader.place();
            assert_eq!(place.line, records.len() as u64 + 1);
            reader = file.open(Some(reader.format()), place).await.unwrap();
        }
        assert_eq!(records, whole);
        assert!(reader.next().await.unwrap().is_none(), "the end can be resumed from too");
    }
}

#[tokio::test]
async fn progress_counts_the_bytes_as_they_are_stored() {
    let text = rows(3000);
    let middle = text.iter().skip(text.len() / 2).position(|byte| *byte == b'\n').unwrap() + text.len() / 2 + 1;
    for bytes in [text.clone(), gzip(&text), zstd(&text)] {
        let file = File::of(&bytes);
        for offset in [0, middle as u64] {
            let mut reader = file.open(None, Place { line: 1, offset }).await.unwrap();
            while reader.next().await.unwrap().is_some() {}
            assert_eq!(reader.stored_bytes_read(), bytes.len() as u64);
        }
    }
}

#[tokio::test]
async fn a_place_behind_the_end_says_that_the_file_changed() {
    for bytes in [b"e30=\n".to_vec(), gzip(b"e30=\n")] {
        let error = File::of(&bytes).open(None, Place { line: 3, offset: 10 }).await.unwrap_err();
        assert!(matches!(error, BackupError::Shorter { bytes: 5, from: 10, .. }), "{error}");
    }
}

#[tokio::test]
async fn a_compressed_file_cut_short_gives_its_whole_lines_and_then_the_byte_to_resume_from() {
    let text = rows(3000);
    for bytes in [gzip(&text), zstd(&text)] {
        let whole = File::of(&bytes);
        let file = File::of(&bytes[..bytes.len() * 2 / 3]);
        let mut reader = file.open(None, Place::default()).await.unwrap();
        let mut records = Vec::new();
        let error = loop {
            match reader.next().await {
                Ok(Some(record)) => records.push(record),
                Ok(None) => panic!("a cut file must not end well"),
                Err(error) => break error,
            }
        };
        assert!(records.len() > 500, "{}", records.len());
        let said = error.to_string();
        assert!(said.contains("can't be read past byte") && said.contains("resume"), "{said}");
        assert!(
            matches!(error, BackupError::Unreadable { byte, compressed: true, .. } if byte >= reader.place().offset)
        );
        // Repaired, it goes on where the whole lines ended.
        let (rest, error) = all(whole.open(None, reader.place()).await.unwrap()).await;
        assert!(error.is_none());
        records.extend(rest);
        assert_eq!(records, whole.read(None).await.0);
    }
}

#[tokio::test]
async fn a_compressed_file_cut_in_its_first_lines_is_unreadable_and_not_empty() {
    let bytes = gzip(&rows(100));
    for cut in [3, 12, 60] {
        let error = match File::of(&bytes[..cut]).open(Some(Format::Csv64), Place::default()).await {
            Ok(reader) => all(reader).await.1.unwrap(),
            Err(error) => error,
        };
        // Three bytes are no magic number yet: they are read as text and refused as a line.
        assert!(matches!(error, BackupError::Unreadable { .. }), "{cut}: {error}");
    }
}

#[tokio::test]
async fn a_plain_file_cut_short_ends_in_a_dead_letter() {
    let text = rows(10);
    let (records, error) = File::of(&text[..text.len() - 2]).read(None).await;
    assert!(error.is_none());
    assert_eq!(records.iter().filter(|record| record.json.is_err()).count(), 1);
    assert!(records[9].json.as_ref().unwrap_err().to_string().contains("cut short"));
}

#[tokio::test]
async fn a_line_that_is_too_long_is_refused_and_the_next_one_read() {
    let long = vec![b'A'; LONGEST_LINE + 700_000];
    for ending in [&b"\ne30=\n"[..], b""] {
        let (records, error) = File::of(&[b"e30=\n", &long[..], ending].concat()).read(None).await;
        assert!(error.is_none());
        assert_eq!(records.len(), if ending.is_empty() { 2 } else { 3 });
        assert_eq!(records[1].json, Err(Refusal::LineTooLong(long.len() as u64)));
        assert_eq!((records[1].line, records[1].offset, records[1].raw.len()), (2, 5, 4096));
        if let Some(last) = records.get(2) {
            assert_eq!((last.line, last.offset), (3, 6 + long.len() as u64));
            assert_eq!(last.json.as_ref().unwrap(), "{}");
        }
    }
    let fits = vec![b'A'; LONGEST_LINE];
    let (records, _) = File::of(&[&fits[..], b"\n"].concat()).read(Some(Format::Csv64)).await;
    assert_eq!(records[0].json.as_ref().unwrap().len(), LONGEST_LINE / 4 * 3);
}

#[tokio::test]
async fn the_other_formats_are_read_and_items_of_json_lines_are_not_copied() {
    let item = r#"{"id":{"S":"x"}}"#;
    let (records, _) = File::of(format!("{item}\n{{\"Item\":{item}}}\n").as_bytes()).read(None).await;
    assert_eq!(told(&records), [(1, 0, item.to_owned()), (2, 17, item.to_owned())]);
    let json = records[1].json.as_ref().unwrap();
    assert_eq!(json.as_ptr(), records[1].raw[8..].as_ptr());
    let (records, _) = File::of(br#""{""id"":{""S"":""x""}}""#).read(None).await;
    assert_eq!(told(&records), [(1, 0, item.to_owned())]);
}

#[tokio::test]
async fn junk_is_an_error_unless_its_format_is_named() {
    let file = File::of(b"this is\nno backup\n");
    let error = file.open(None, Place::default()).await.unwrap_err();
    assert!(error.to_string().contains("--format"), "{error}");
    assert_eq!(file.read(Some(Format::Csv64)).await.0.len(), 2);
}

#[tokio::test]
async fn what_is_not_there_or_is_a_folder_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let open = async |path: &Path| Reader::open(&input(path), None, None, Place::default()).await.unwrap_err();
    assert!(matches!(open(&folder.path().join("none")).await, BackupError::NotFound { .. }));
    assert!(matches!(open(folder.path()).await, BackupError::Open { .. }));
}

/// The offsets and JSON of what all pieces of `input` hold, one after the other.
async fn in_pieces(input: &Input, s3: Option<&aws_sdk_s3::Client>, bytes: u64) -> Vec<(u64, String)> {
    let mut together = Vec::new();
    for piece in pieces(std::slice::from_ref(input), s3, bytes).await.unwrap() {
        let reader = Reader::open_piece(&piece, s3, None, Place::at(piece.from)).await.unwrap();
        let (records, error) = all(reader).await;
        assert!(error.is_none(), "{error:?}");
        together.extend(of_file(&records));
    }
    together
}

/// What of a record does not depend on the piece that it was read in.
fn of_file(records: &[Record]) -> Vec<(u64, String)> {
    told(records).into_iter().map(|(_, offset, json)| (offset, json)).collect()
}

/// An input as it is found.
fn sized(file: &File) -> Input {
    let bytes = std::fs::metadata(file.folder.path().join("f")).unwrap().len();
    Input { bytes: Some(bytes), ..file.input() }
}

#[tokio::test]
async fn large_pieces_meet_wherever_they_are_cut() {
    let text = rows(3000);
    let file = File::of(&text);
    let whole = of_file(&file.read(None).await.0);
    // Around the size of a chunk of reading, and so that a cut falls beside a line's end and on it.
    for bytes in [100_000, 262_143, 262_144, 262_145, 400_001, text.len() as u64 - 1, text.len() as u64] {
        assert_eq!(in_pieces(&sized(&file), None, bytes).await, whole, "{bytes}");
    }
    let compressed = File::of(&gzip(&text));
    assert_eq!(pieces(&[sized(&compressed)], None, 1000).await.unwrap(), [Piece::whole(sized(&compressed))]);
    let unknown = Input::plain(Location::Stdin, None);
    assert_eq!(pieces(std::slice::from_ref(&unknown), None, 1000).await.unwrap(), [Piece::whole(unknown)]);
}

#[tokio::test]
async fn a_line_longer_than_a_piece_is_in_the_piece_where_it_begins_and_the_others_are_empty() {
    let long = vec![b'A'; LONGEST_LINE + 100_000];
    let file = File::of(&[b"e30=\n", &long[..], b"\ne30=\n"].concat());
    let whole = of_file(&file.read(None).await.0);
    assert_eq!(whole.len(), 3);
    assert_eq!(in_pieces(&sized(&file), None, 2 << 20).await, whole);
}

#[tokio::test]
async fn a_byte_order_mark_and_carriage_returns_are_no_part_of_an_item() {
    let file = File::of("\u{feff}{\"id\":{\"S\":\"x\"}}\r\n{\"id\":{\"S\":\"y\"}}\r\n".as_bytes());
    let (records, error) = file.read(None).await;
    assert!(error.is_none());
    let items = [(1, 0, r#"{"id":{"S":"x"}}"#.to_owned()), (2, 21, r#"{"id":{"S":"y"}}"#.to_owned())];
    assert_eq!(told(&records), items);
    assert!(File::of("\u{feff}".as_bytes()).read(None).await.0.is_empty());
    // In the middle of a file it is part of a line.
    let (records, _) = File::of("e30=\n\u{feff}e30=\n".as_bytes()).read(None).await;
    assert!(records[1].json.is_err());
}

#[tokio::test]
async fn lines_of_an_export_put_and_delete() {
    let lines = [
        r#"{"Item":{"id":{"S":"x"}}}"#,
        r#"{"Metadata":{"WriteTimestampMicros":{"N":"1"}},"Keys":{"id":{"S":"y"}},"NewImage":{"id":{"S":"y"}}}"#,
        r#"{"Metadata":{"WriteTimestampMicros":{"N":"1"}},"Keys":{"id":{"S":"z"}}}"#,
        r#"{"id":{"S":"bare"}}"#,
    ];
    let (records, _) = File::of(lines[..3].join("\n").as_bytes()).read(None).await;
    let changes: Vec<_> = records.iter().map(|record| (record.change, record.json.clone().unwrap())).collect();
    let wanted = [
        (Change::Put, Bytes::from_static(br#"{"id":{"S":"x"}}"#)),
        (Change::Put, Bytes::from_static(br#"{"id":{"S":"y"}}"#)),
        (Change::Delete, Bytes::from_static(br#"{"id":{"S":"z"}}"#)),
    ];
    assert_eq!(changes, wanted);
    assert_eq!(records[2].raw, lines[2]);
    // A line that is neither is a dead letter, and its neighbours don't mind.
    let file = File::of(lines.join("\n").as_bytes());
    assert!(matches!(file.open(None, Place::default()).await, Err(BackupError::AmbiguousFormat { .. })));
    let (records, _) = file.read(Some(Format::Export)).await;
    assert!(records[..3].iter().all(|record| record.json.is_ok()));
    assert!(matches!(records[3].json, Err(Refusal::NotAnExportLine(_))));
}

#[tokio::test]
async fn a_file_that_grows_is_read_as_far_as_it_was_when_it_was_looked_up() {
    let text = rows(3000);
    for bytes in [text.clone(), gzip(&text), zstd(&text)] {
        let file = File::of(&bytes);
        let (before, input) = (file.read(None).await.0, sized(&file));
        let mut reader = Reader::open(&input, None, None, Place::default()).await.unwrap();
        let first = reader.next().await.unwrap().unwrap();
        let mut appended = std::fs::OpenOptions::new().append(true).open(file.folder.path().join("f")).unwrap();
        appended.write_all(&bytes).unwrap();
        let (rest, error) = all(reader).await;
        assert!(error.is_none(), "{error:?}");
        assert_eq!([vec![first], rest].concat(), before);
        let resumed = Place { line: before[2000].line, offset: before[2000].offset };
        let (rest, error) = all(Reader::open(&input, None, None, resumed).await.unwrap()).await;
        assert!(error.is_none(), "{error:?}");
        assert_eq!(rest, before[2000..]);
        if bytes == text {
            assert_eq!(in_pieces(&input, None, 300_000).await, of_file(&before));
        }
    }
}

#[tokio::test]
async fn a_file_that_becomes_shorter_is_never_taken_for_its_end() {
    let file = File::of(&rows(3000));
    let input = sized(&file);
    std::fs::OpenOptions::new().write(true).open(file.folder.path().join("f")).unwrap().set_len(1000).unwrap();
    let error = Reader::open(&input, None, None, Place::default()).await.unwrap_err();
    assert!(matches!(error, BackupError::Changed { then, now: 1000, .. } if then > 1000), "{error}");
    // Cut while it is open: what its reader meets is an end before the size that it had.
    let source = source::open(&input, None, 0, None, true).await.unwrap();
    let mut stored = source.stored(&input.location).unwrap();
    let error = std::io::copy(&mut stored, &mut std::io::sink()).unwrap_err();
    assert!(error.to_string().contains("bytes shorter since it was looked up"), "{error}");
}

#[tokio::test]
async fn a_file_that_vanished_says_so() {
    let file = File::of(&rows(10));
    let input = sized(&file);
    let piece = Piece { input: input.clone(), from: 100, to: None };
    std::fs::remove_file(file.folder.path().join("f")).unwrap();
    for error in [
        Reader::open(&input, None, None, Place::default()).await.unwrap_err(),
        Reader::open_piece(&piece, None, Some(Format::Csv64), Place::at(100)).await.unwrap_err(),
        pieces(std::slice::from_ref(&input), None, 10).await.unwrap_err(),
    ] {
        assert!(matches!(error, BackupError::NotFound { .. }), "{error}");
    }
}

#[cfg(feature = "local")]
mod s3 {
    use super::*;
    use crate::backup::expand;
    use crate::backup::test_s3::TestS3;

    async fn expanded(s3: &TestS3, text: &str) -> Result<Vec<String>, BackupError> {
        let inputs = expand(&[text.parse().unwrap()], Some(&s3.client)).await?;
        Ok(inputs.iter().map(|input| input.location.to_string()).collect())
    }

    #[tokio::test]
    async fn a_prefix_is_a_folder_and_never_the_objects_of_its_longer_named_neighbour() {
        let s3 = TestS3::start().await;
        for key in ["t/t_2.csv", "t/t_1.csv", "t2/other.csv"] {
            s3.put(key, b"e30=").await;
        }
        assert_eq!(expanded(&s3, "s3://bucket/t").await.unwrap(), ["s3://bucket/t/t_1.csv", "s3://bucket/t/t_2.csv"]);
        assert_eq!(expanded(&s3, "s3://bucket/t/t_2.csv").await.unwrap(), ["s3://bucket/t/t_2.csv"]);
        assert_eq!(expanded(&s3, "s3://bucket/t*/*.csv").await.unwrap().len(), 3);
        assert_eq!(expanded(&s3, "s3://bucket").await.unwrap().len(), 3);
        let error = expanded(&s3, "s3://bucket/t/t_3.csv").await.unwrap_err().to_string();
        assert!(error.contains("did you mean s3://bucket/t/t_"), "{error}");
        let error = expanded(&s3, "s3://nowhere/t").await.unwrap_err().to_string();
        assert!(error.contains("s3://nowhere/t") && error.contains("nowhere: not found"), "{error}");
        let inputs = expand(&["s3://bucket/t/t_2.csv".parse().unwrap()], Some(&s3.client)).await.unwrap();
        assert_eq!(inputs[0].bytes, Some(4));
    }

    #[tokio::test]
    async fn an_object_reads_like_a_file_and_resumes_like_one() {
        let s3 = TestS3::start().await;
        let text = rows(3000);
        let (whole, _) = File::of(&text).read(None).await;
        for (key, bytes) in
            [("plain", text.clone()), ("t.gz", gzip(&text)), ("t.zst", zstd(&text)), ("empty", Vec::new())]
        {
            s3.put(key, &bytes).await;
            let wanted = if bytes.is_empty() { &[][..] } else { &whole[..] };
            let input = Input::plain(Location::S3 { bucket: "bucket".into(), key: key.into() }, None);
            let open = async |from| Reader::open(&input, Some(&s3.client), None, from).await;
            let (records, error) = all(open(Place::default()).await.unwrap()).await;
            assert!(error.is_none(), "{error:?}");
            assert_eq!(records, wanted, "{key}");
            if let Some(middle) = wanted.get(1234) {
                let from = Place { line: middle.line, offset: middle.offset };
                let reader = open(from).await.unwrap();
                assert_eq!(all(reader).await.0, wanted[1234..], "{key}");
                let end = Place { line: 3001, offset: text.len() as u64 };
                assert!(all(open(end).await.unwrap()).await.0.is_empty());
            }
            let behind = Place { line: 9999, offset: text.len() as u64 + 1 };
            assert!(matches!(open(behind).await.unwrap_err(), BackupError::Shorter { .. }), "{key}");
        }
    }

    /// Serves `text` as an object over HTTP, but breaks the connection half way through what a first GET asked for.
    /// Returns the client and the ranges that were asked for.
    async fn breaking_once(text: &'static [u8]) -> (aws_sdk_s3::Client, tokio::sync::mpsc::UnboundedReceiver<usize>) {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = crate::backup::test_s3::client(&format!("http://{}", listener.local_addr().unwrap()));
        let (asked, ranges) = tokio::sync::mpsc::unbounded_channel();
        tokio::spawn(async move {
            let mut broken = false;
            while let Ok((mut socket, _)) = listener.accept().await {
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    request.push(socket.read_u8().await.unwrap());
                }
                let request = String::from_utf8(request).unwrap().to_lowercase();
                let range = request.split("range: bytes=").nth(1).and_then(|rest| rest.split('-').next());
                let body = &text[range.map_or(0, |start| start.parse().unwrap())..];
                let head = format!(
                    "HTTP/1.1 200 OK\r\nETag: \"e\"\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                    body.len()
                );
                socket.write_all(head.as_bytes()).await.unwrap();
                if request.starts_with("get") {
                    asked.send(text.len() - body.len()).unwrap();
                    let sent = if broken { body.len() } else { body.len() / 2 };
                    broken = true;
                    socket.write_all(&body[..sent]).await.unwrap();
                }
            }
        });
        (client, ranges)
    }

    #[tokio::test]
    async fn a_download_that_breaks_off_is_taken_up_where_it_broke() {
        let (client, mut ranges) = breaking_once(b"e30=\ne30=\ne30=\ne30=").await;
        let input = Input::plain("s3://bucket/t".parse().unwrap(), None);
        let (records, error) = all(Reader::open(&input, Some(&client), None, Place::default()).await.unwrap()).await;
        assert!(error.is_none(), "{error:?}");
        assert_eq!(records.len(), 4);
        assert_eq!((ranges.recv().await, ranges.recv().await), (Some(0), Some(9)));
    }

    #[tokio::test]
    async fn an_object_is_read_in_pieces_like_a_file() {
        let s3 = TestS3::start().await;
        let text = rows(3000);
        let whole = of_file(&File::of(&text).read(None).await.0);
        s3.put("t", &text).await;
        s3.put("t.gz", &gzip(&text)).await;
        for (key, bytes, count) in [("t", 300_000, text.len().div_ceil(300_000)), ("t.gz", 1000, 1)] {
            let location = format!("s3://bucket/{key}").parse().unwrap();
            let input = &expand(&[location], Some(&s3.client)).await.unwrap()[0];
            assert_eq!(pieces(std::slice::from_ref(input), Some(&s3.client), bytes).await.unwrap().len(), count);
            assert_eq!(in_pieces(input, Some(&s3.client), bytes).await, whole, "{key}");
        }
        // A line that goes on far behind its piece is fetched to its end.
        let long = [b"e30=\n", &vec![b'A'; 3 << 20][..], b"\ne30=\n"].concat();
        s3.put("long", &long).await;
        let input = &expand(&["s3://bucket/long".parse().unwrap()], Some(&s3.client)).await.unwrap()[0];
        assert_eq!(in_pieces(input, Some(&s3.client), 100_000).await, of_file(&File::of(&long).read(None).await.0));
    }

    #[tokio::test]
    async fn an_object_that_was_replaced_is_not_read() {
        let s3 = TestS3::start().await;
        s3.put("t", b"e30=\ne30=\n").await;
        let input = expand(&["s3://bucket/t".parse().unwrap()], Some(&s3.client)).await.unwrap().remove(0);
        s3.put("t", b"e30=\ne30=\ne30=\n").await;
        let error = Reader::open(&input, Some(&s3.client), None, Place::default()).await.unwrap_err();
        assert!(matches!(error, BackupError::Changed { then: 10, now: 15, .. }), "{error}");
    }

    /// Serves `text` as an object over HTTP: the first GET breaks off half way, the answer to every other one is 403.
    async fn denying_midway(text: &'static [u8]) -> aws_sdk_s3::Client {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = crate::backup::test_s3::client(&format!("http://{}", listener.local_addr().unwrap()));
        tokio::spawn(async move {
            let mut gets = 0;
            while let Ok((mut socket, _)) = listener.accept().await {
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    request.push(socket.read_u8().await.unwrap());
                }
                let denied = "<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>".as_bytes();
                let is_get = request.starts_with(b"GET");
                gets += usize::from(is_get);
                let (status, length, body) = match gets {
                    0 => ("200 OK", text.len(), &b""[..]),
                    1 => ("200 OK", text.len(), &text[..text.len() / 2]),
                    _ => ("403 Forbidden", denied.len(), denied),
                };
                let head = format!(
                    "HTTP/1.1 {status}\r\nETag: \"e\"\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
                );
                socket.write_all(head.as_bytes()).await.unwrap();
                socket.write_all(body).await.unwrap();
            }
        });
        client
    }

    #[tokio::test]
    async fn access_that_is_denied_midway_names_the_object_and_where_to_go_on() {
        let client = denying_midway(b"e30=\ne30=\ne30=\ne30=").await;
        let input = Input::plain("s3://bucket/t".parse().unwrap(), Some(19));
        let mut reader = Reader::open(&input, Some(&client), Some(Format::Csv64), Place::default()).await.unwrap();
        let mut records = 0;
        let error = loop {
            match reader.next().await {
                Ok(Some(record)) => records += usize::from(record.json.is_ok()),
                Ok(None) => panic!("an object that is denied must not end well"),
                Err(error) => break error.to_string(),
            }
        };
        assert_eq!((records, reader.place()), (1, Place { line: 2, offset: 5 }));
        assert!(error.starts_with("s3://bucket/t can't be read past byte 9"), "{error}");
        assert!(error.contains("read s3://bucket/t") && error.contains("resume goes on from there"), "{error}");
    }

    #[tokio::test]
    async fn a_missing_object_is_not_found() {
        let s3 = TestS3::start().await;
        let input = Input::plain("s3://bucket/none".parse().unwrap(), None);
        let error = Reader::open(&input, Some(&s3.client), None, Place::default()).await.unwrap_err();
        assert!(matches!(error, BackupError::NotFound { .. }), "{error}");
        let error = Reader::open(&input, None, None, Place::default()).await.unwrap_err();
        assert!(matches!(error, BackupError::NoClient { .. }), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn from_every_line_on_a_text_reads_the_same(
        lines in proptest::collection::vec("[ -~]{0,30}\r?", 1..30), ended: bool, compress: bool, at in any::<prop::sample::Index>()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let text = lines.join("\n") + if ended { "\n" } else { "" };
            let file = File::of(&if compress { gzip(text.as_bytes()) } else { text.into_bytes() });
            let (whole, error) = file.read(Some(Format::Jsonl)).await;
            assert!(error.is_none());
            if !whole.is_empty() {
                let at = at.index(whole.len());
                let from = Place { line: whole[at].line, offset: whole[at].offset };
                let (rest, _) = all(file.open(Some(Format::Jsonl), from).await.unwrap()).await;
                assert_eq!(rest, whole[at..]);
            }
        });
    }

    #[test]
    fn pieces_together_give_exactly_the_lines_of_the_whole_file(
        lines in proptest::collection::vec("[ -~]{0,30}\r?", 0..30), ended: bool, marked: bool,
        bytes in 1..120u64, stops in proptest::collection::vec(1..9usize, 40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mark = if marked { "\u{feff}" } else { "" };
            let file = File::of(format!("{mark}{}{}", lines.join("\n"), if ended { "\n" } else { "" }).as_bytes());
            let (whole, error) = file.read(Some(Format::Jsonl)).await;
            assert!(error.is_none());
            let input = sized(&file);
            let count = input.bytes.unwrap().div_ceil(bytes).max(1);
            let cut = pieces(&[input], None, bytes).await.unwrap();
            assert_eq!(cut.len() as u64, count);
            let mut together = Vec::new();
            for piece in &cut {
                let mut from = Place::at(piece.from);
                // Read in goes of a few lines, each resumed where the one before stopped.
                for most in stops.iter().cycle() {
                    let mut reader = Reader::open_piece(piece, None, Some(Format::Jsonl), from).await.unwrap();
                    let mut count = 0;
                    while count < *most && let Some(record) = reader.next().await.unwrap() {
                        assert!(record.offset >= piece.from && piece.to.is_none_or(|to| record.offset < to));
                        assert_eq!(record.line, from.line + count as u64);
                        together.push(record);
                        count += 1;
                    }
                    if count < *most {
                        break;
                    }
                    from = reader.place();
                }
            }
            assert_eq!(of_file(&together), of_file(&whole));
        });
    }
}
