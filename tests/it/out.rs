//! What leaves the console, and what comes in beside keys, in a real terminal: files, a picture, the mouse.

use crate::running::{Server, Sluice, create_table, until};
use crate::terminal::Terminal;

#[test]
fn rows_and_the_screen_are_written_and_the_mouse_is_taken_and_given_back() {
    let server = Server::start(&[]);
    let cloud = server.cloud();
    create_table(&cloud, "historical", 130);
    create_table(&cloud, "quotes", 50);
    let sluice = Sluice::at(&server.endpoint);
    let state = sluice.state.path().to_str().expect("its name is text").to_owned();
    let args = ["--endpoint-url", &server.endpoint, "--state-dir", &state];
    let nothing = [("AWS_CONFIG_FILE", "/dev/null"), ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null"), ("HOME", &*state)];
    let mut console = Terminal::sluice(&args, &nothing, 40, 120);
    console.wait_for("tables 2");
    // Any key closes the tour of a first run.
    console.press("j");
    until("the mouse is the console's", || console.gives_mouse().then_some(()));
    console.click("historical");
    console.click("quotes");
    console.click("quotes");
    console.wait_for("table quotes");

    let file = |name: &str| sluice.state.path().join(name);
    let wanted = |name: &str| format!("\x15{}\r", file(name).display());
    console.press("1");
    console.wait_for("tables 2");
    console.press("E");
    console.wait_for("file (");
    console.press(&wanted("tables.csv"));
    console.wait_for("wrote 2 rows");
    let csv = std::fs::read_to_string(file("tables.csv")).unwrap();
    let names: Vec<&str> = csv.lines().filter_map(|line| line.split(',').next()).collect();
    assert_eq!(names, ["table", "historical", "quotes"]);
    console.press("E");
    console.wait_for("file (");
    console.press(&wanted("tables.csv"));
    console.wait_for("Replace a file");
    console.press("n");
    assert_eq!(std::fs::read_to_string(file("tables.csv")).unwrap(), csv);
    console.press("\x10");
    console.wait_for("file (");
    console.press(&wanted("screen.svg"));
    console.wait_for("wrote the screen as a picture");
    let svg = std::fs::read_to_string(file("screen.svg")).unwrap();
    assert!(svg.starts_with("<svg") && svg.contains(">historical<"), "{svg}");
    console.press("y");
    console.wait_for("to the terminal (OSC 52)");

    // A text is the terminal's to select from.
    console.press("?");
    until("the mouse is the terminal's", || (!console.gives_mouse()).then_some(()));
    console.press("\x1b");
    until("the mouse is the console's again", || console.gives_mouse().then_some(()));
    console.press("q");
    assert_eq!(console.end(), 0);
    until("the terminal is as it was", || console.is_restored().then_some(()));
}
