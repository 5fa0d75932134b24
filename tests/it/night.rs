//! A night at the console, in a real terminal, by its keys alone: find the table, restore into it, raise its capacity, leave,
//! come back, prove that nothing was lost, scrub through events, quit.

use crate::running::{Server, Sluice, count, create_stream, create_table, item, until, write_csv64};
use crate::terminal::Terminal;

const FAULTS: &str = "throttle=3%,error=2%,partial=5%,reset=1%,lose-reply=1%,latency=2ms";
const ITEMS: usize = 6_000;

/// A console on `server`, with the journal of `sluice`.
fn open(server: &Server, sluice: &Sluice) -> Terminal {
    let state = sluice.state.path().to_str().expect("its name is text").to_owned();
    let args = ["--endpoint-url", &server.endpoint, "--state-dir", &state];
    let nothing = [("AWS_CONFIG_FILE", "/dev/null"), ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null"), ("HOME", &state)];
    Terminal::sluice(&args, &nothing, 40, 120)
}

/// The row of the list of events that the playhead is on: its time and its partition key.
fn selected(console: &Terminal) -> Option<String> {
    console.text().lines().find_map(|line| Some(line.split_once('▸')?.1.split('│').next()?.trim().to_owned()))
}

/// Waits until the playhead is on another event than `before`.
fn moved(console: &Terminal, before: &str) -> String {
    until("the playhead is on another event", || selected(console).filter(|now| now != before))
}

/// From the last event back, a range from there to the next, and on from before all of them.
fn scrub(console: &mut Terminal) {
    const LEFT: &str = "\x1b[D";
    const RIGHT: &str = "\x1b[C";
    let last = until("an event is selected", || selected(console));
    // Behind the last event, the first step back is onto it.
    console.press(LEFT);
    console.press(LEFT);
    let earlier = moved(console, &last);
    console.press("[");
    console.wait_for("the range starts at");
    let time = earlier.split_whitespace().next().expect("a row begins with its time");
    console.wait_for(&format!("T{time}"));
    console.press(RIGHT);
    moved(console, &earlier);
    console.press("]");
    console.wait_for("the range ends at");
    console.press("t");
    console.wait_for("how long ago");
    console.press("1h\r");
    console.wait_for("No event at or before the playhead");
    console.wait_for("▮▮");
    console.press(" ");
    console.wait_for("▶");
    console.press(" ");
    console.wait_for("▮▮");
}

#[test]
fn a_night_at_the_console_from_the_first_list_to_the_proof() {
    let server = Server::start(&["--faults", FAULTS, "--seed", "8"]);
    let cloud = server.cloud();
    create_table(&cloud, "historical", 130);
    create_table(&cloud, "quotes", 50);
    create_stream(&cloud, "restore", 2);
    create_stream(&cloud, "clicks", 1);
    let sluice = Sluice::at(&server.endpoint);
    let backup = sluice.state.path().join("h.csv");
    write_csv64(&backup, (0..ITEMS).map(item));
    sluice.run(&["load", "-k", "clicks", "--count", "120", "--rate", "2000"]).expect(0);
    sluice.run(&["pump", "--store", "es", "-k", "clicks", "--create-tables", "--once"]).expect(0);

    let mut console = open(&server, &sluice);
    console.wait_for("tables 4");
    // Any key closes the tour of a first run, and does what it does.
    console.press("/hist");
    until("the filter leaves one table", || (!console.text().contains("quotes")).then_some(()));
    console.press("\r");
    console.press("R");
    console.wait_for("source");
    console.press(backup.to_str().unwrap());
    console.press("\t\trestore");
    console.wait_for("6,000");
    console.press("\r");
    console.wait_for("Start this restore");
    console.press("\r");
    console.wait_for("restore r-");
    console.wait_for("written");
    console.press("+");
    console.wait_for("195 WCU");
    console.press("y");
    console.wait_for("raised");
    console.press("q");
    assert_eq!(console.end(), 0);
    until("the terminal is as it was", || console.is_restored().then_some(()));

    // The job goes on without the console.
    until("all is in the table", || (count(&cloud, "historical") == ITEMS as u64).then_some(()));
    let mut console = open(&server, &sluice);
    // It opens where it was left.
    console.wait_for("restore r-");
    console.wait_for("done");
    console.press("v");
    console.wait_for("key by key");
    console.press("y");
    console.wait_for("verify v-");
    console.wait_for("equal");
    console.wait_for("6,000");
    console.press("4");
    console.wait_for("es-event-table");
    console.press("\r");
    console.wait_for("playback");
    scrub(&mut console);
    console.press("q");
    assert_eq!(console.end(), 0);
    until("the terminal is as it was", || console.is_restored().then_some(()));
}
