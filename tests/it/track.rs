//! The tracker, by the real binary, from outside.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::Child;

use sluicegate::cloud::Cloud;

use crate::running::{Server, Sluice, block_on, create_stream, signal, until};

struct Tracker {
    child: Child,
    address: String,
    cloud: Cloud,
    server: Server,
}

impl Tracker {
    fn start(server: &[&str], args: &[&str]) -> Self {
        let server = Server::start(server);
        let cloud = server.cloud();
        create_stream(&cloud, "events", 2);
        let sluice = Sluice::at(&server.endpoint);
        let base = ["track", "-k", "events", "--listen", "127.0.0.1:0", "--json"];
        let mut child = sluice.start(&[&base, args].concat());
        let mut ready = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut ready).unwrap();
        let ready: serde_json::Value = serde_json::from_str(&ready).unwrap();
        let address = ready["listening"].as_str().unwrap().strip_prefix("http://").unwrap().to_owned();
        Self { child, address, cloud, server }
    }

    fn connect(&self) -> TcpStream {
        TcpStream::connect(&self.address).unwrap()
    }

    /// Sends `request` and reads until the tracker closes.
    fn ask(&self, request: &str) -> Answer {
        let mut stream = self.connect();
        stream.write_all(request.as_bytes()).unwrap();
        answer(stream)
    }

    fn get(&self, path: &str) -> Answer {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
    }

    fn post(&self, path: &str, body: &str) -> Answer {
        let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}", body.len());
        self.ask(&format!("{head}\r\n\r\n{body}"))
    }

    /// Every record on the stream: its number, its key, its bytes.
    fn records(&self) -> Vec<(String, String, Vec<u8>)> {
        use aws_sdk_kinesis::types::ShardIteratorType::TrimHorizon;
        let kinesis = &self.cloud.kinesis;
        // A fault may meet these reads too.
        let shards =
            until("the shards are listed", || block_on(kinesis.list_shards().stream_name("events").send()).ok());
        let mut records = Vec::new();
        for shard in shards.shards() {
            let first = kinesis.get_shard_iterator().stream_name("events").shard_id(shard.shard_id());
            let first = first.shard_iterator_type(TrimHorizon);
            let mut next = until("a shard is begun", || block_on(first.clone().send()).ok()).shard_iterator;
            while let Some(iterator) = next.take() {
                let page =
                    until("a page is read", || block_on(kinesis.get_records().shard_iterator(&iterator).send()).ok());
                if page.records().is_empty() {
                    break;
                }
                next.clone_from(&page.next_shard_iterator);
                records.extend(
                    page.records.into_iter().map(|record| {
                        (record.sequence_number, record.partition_key.unwrap(), record.data.into_inner())
                    }),
                );
            }
        }
        records
    }

    fn end(mut self) -> serde_json::Value {
        signal(self.child.id(), "TERM");
        let mut said = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
        self.server.stop();
        serde_json::from_str(said.lines().last().unwrap()).unwrap()
    }
}

#[derive(Debug)]
struct Answer {
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn status(&self) -> u16 {
        self.head.split_whitespace().nth(1).map_or(0, |status| status.parse().unwrap())
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

fn answer(mut stream: TcpStream) -> Answer {
    let mut bytes = Vec::new();
    // A connection that was cut may be reset: what came before counts.
    let _ = stream.read_to_end(&mut bytes);
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").map_or(bytes.len(), |at| at + 4);
    let body = bytes.split_off(end);
    Answer { head: String::from_utf8(bytes).unwrap(), body }
}

#[test]
fn an_answer_of_200_means_that_the_stream_has_the_event() {
    let tracker = Tracker::start(&["--limits", "off"], &[]);
    let pixel = tracker.get("/track.gif?EntityId=Claps-1-2&n=1.10");
    assert_eq!((pixel.status(), pixel.header("content-type")), (200, Some("image/gif")));
    assert_eq!(pixel.body, sluicegate::event::track::PIXEL);
    let body = r#" {"id":12345678901234567890, "EntityId":"e", "z":1.10}"#;
    let posted = tracker.post("/events", body);
    assert_eq!(posted.status(), 200, "{posted:?}");
    let said: serde_json::Value = serde_json::from_slice(&posted.body).unwrap();
    assert_eq!(said["SequenceNumber"], posted.header("x-sequencenumber").unwrap());
    assert_eq!(tracker.post("/claps/create", "[1]").status(), 200);
    assert_eq!(tracker.get("/healthz").status(), 200);

    let records = tracker.records();
    assert_eq!(records.len(), 3);
    let of = |answer: &Answer| {
        let sequence = answer.header("x-sequencenumber").unwrap();
        records.iter().find(|record| record.0 == sequence).unwrap().clone()
    };
    assert_eq!(
        (of(&pixel).1.as_str(), &of(&pixel).2[..]),
        ("Claps-1-2", &br#"{"EntityId":"Claps-1-2","n":"1.10"}"#[..])
    );
    assert_eq!((of(&posted).1.as_str(), of(&posted).2), ("e", body.as_bytes().to_vec()));
    assert_eq!(tracker.end()["stored"], 3);
}

#[test]
fn what_is_no_event_is_refused_and_nothing_of_it_is_sent() {
    let tracker = Tracker::start(&["--limits", "off"], &[]);
    assert_eq!(tracker.post("/events", "{").status(), 400);
    assert_eq!(tracker.post("/nowhere", "{}").status(), 404);
    assert_eq!(tracker.get("/events").status(), 405);
    let large = format!("POST /events HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n[", 2 << 20);
    let mut stream = tracker.connect();
    stream.write_all(large.as_bytes()).unwrap();
    // More than an event may have; the tracker answers before all of it came.
    let _ = stream.write_all(&vec![b' '; (1 << 20) + 1]);
    assert_eq!(answer(stream).status(), 413);
    assert_eq!(tracker.records().len(), 0);
    assert_eq!(tracker.end()["refused"], 4);
}

#[test]
fn a_stream_that_refuses_is_answered_with_503_and_when_to_come_again() {
    let tracker = Tracker::start(&["--limits", "off", "--faults", "throttle=100%"], &["--stream-timeout", "300ms"]);
    let refused = tracker.get("/track.gif?a=1");
    assert_eq!((refused.status(), refused.header("retry-after")), (503, Some("1")));
    assert_ne!(refused.header("content-type"), Some("image/gif"));
    assert_eq!(tracker.end()["unavailable"], 1);
}

#[test]
fn a_partial_failure_puts_the_rest_again() {
    let tracker = Tracker::start(&["--limits", "off", "--faults", "partial=40%,error=20%", "--seed", "3"], &[]);
    for n in 0..40 {
        // 503 is what a client hears whose event the stream would not take in time: it sends it again.
        until("the event is taken", || {
            let status = tracker.post("/events", &format!("[{n}]")).status();
            assert!(status == 200 || status == 503, "{status}");
            (status == 200).then_some(())
        });
    }
    let mut bodies: Vec<Vec<u8>> = tracker.records().into_iter().map(|record| record.2).collect();
    bodies.sort();
    bodies.dedup();
    assert_eq!(bodies.len(), 40);
    assert!(tracker.end()["retried"].as_u64().unwrap() > 0);
}

#[test]
fn a_slow_client_is_cut_and_others_are_served_meanwhile() {
    let tracker = Tracker::start(&["--limits", "off"], &["--client-timeout", "300ms"]);
    let mut slow = tracker.connect();
    slow.write_all(b"GET /track.gif HTTP/1.1\r\nHost:").unwrap();
    let mut slow_body = tracker.connect();
    slow_body.write_all(b"POST /events HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{").unwrap();
    assert_eq!(tracker.get("/track.gif").status(), 200);
    // Both end by themselves: reading to the end returns.
    assert_ne!(answer(slow).status(), 200);
    assert_eq!(answer(slow_body).status(), 408);
    assert_eq!(tracker.records().len(), 1);
    tracker.end();
}

#[test]
fn too_many_connections_are_turned_away() {
    let tracker = Tracker::start(&["--limits", "off"], &["--connections", "1"]);
    let mut held = tracker.connect();
    held.write_all(b"GET /track.gif HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut first = [0; 12];
    held.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    let away = answer(tracker.connect());
    assert_eq!((away.status(), away.header("Retry-After")), (503, Some("1")));
    drop(held);
    until("there is room again", || (tracker.get("/healthz").status() == 200).then_some(()));
    tracker.end();
}

#[test]
fn a_tracker_that_is_told_to_end_answers_what_is_in_hand() {
    let tracker = Tracker::start(&["--limits", "off", "--faults", "latency=400ms"], &["--linger", "300ms"]);
    let mut stream = tracker.connect();
    stream.write_all(b"POST /events HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}").unwrap();
    // An idle connection does not hold it up.
    let idle = tracker.connect();
    let later = tracker.get("/healthz");
    assert_eq!(later.status(), 200);
    signal(tracker.child.id(), "TERM");
    let answered = answer(stream);
    assert_eq!(answered.status(), 200, "{answered:?}");
    drop(idle);
    let mut tracker = tracker;
    assert_eq!(tracker.child.wait().unwrap().code(), Some(0));
    assert_eq!(tracker.records().len(), 1);
}

#[test]
fn a_read_only_tracker_does_not_begin() {
    let server = Server::start(&[]);
    let refused = Sluice::at(&server.endpoint).run(&["track", "-k", "x", "--read-only"]).expect(1);
    assert!(refused.err.contains("a tracker writes"), "{refused:?}");
    let missing = Sluice::at(&server.endpoint).run(&["track", "-k", "x", "--listen", "127.0.0.1:0"]).expect(1);
    assert!(missing.err.contains('x'), "{missing:?}");
}
