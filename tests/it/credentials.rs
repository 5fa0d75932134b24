//! Credentials that end while the console is open: what was seen stays, a panel says what renews them, and `r` takes the new ones.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;

use crate::running::{Server, create_table, until};
use crate::terminal::Terminal;

/// What a `credential_process` prints: credentials that end so many seconds from now.
fn print_credentials(into: &Path, seconds: u64) {
    let end = Timestamp::now() + Duration::from_secs(seconds);
    let text = format!(
        r#"{{"Version": 1, "AccessKeyId": "AKIDNIGHT", "SecretAccessKey": "s", "SessionToken": "t", "Expiration": "{end:.0}"}}"#
    );
    std::fs::write(into, text).unwrap();
}

#[test]
fn a_console_whose_credentials_end_keeps_what_it_saw_and_goes_on_with_new_ones() {
    let server = Server::start(&[]);
    let cloud = server.cloud();
    create_table(&cloud, "historical", 130);
    create_table(&cloud, "quotes", 50);
    let home = tempfile::tempdir().unwrap();
    let (printed, config) = (home.path().join("printed.json"), home.path().join("config"));
    // The SDK asks again ten seconds before they end: two seconds from now.
    print_credentials(&printed, 12);
    let profile = format!("[profile night]\nregion = eu-west-1\ncredential_process = cat {}\n", printed.display());
    std::fs::write(&config, profile).unwrap();
    let home = home.path().to_str().unwrap();
    let variables = [
        ("AWS_CONFIG_FILE", config.to_str().unwrap()),
        ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null"),
        ("AWS_ACCESS_KEY_ID", ""),
        ("HOME", home),
    ];
    let args = ["--profile", "night", "--endpoint-url", &server.endpoint, "--state-dir", home];
    let mut console = Terminal::sluice(&args, &variables, 40, 120);
    console.wait_for("tables 2");
    console.wait_for("130");
    console.press("\r"); // the tour of a first run
    std::fs::remove_file(&printed).unwrap();
    console.wait_for("REFUSED");
    let screen = console.text();
    assert!(screen.contains("cat ") && screen.contains("printed.json"), "the panel names the program:\n{screen}");
    assert!(screen.contains("historical") && screen.contains("quotes"), "what was seen stays:\n{screen}");
    // Nothing freezes: keys do what they do.
    console.press("/quo\r");
    until("the filter leaves one table", || (!console.text().contains("historical")).then_some(()));
    console.press("r");
    console.wait_for("credentials");
    assert!(console.text().contains("REFUSED"), "{}", console.text());
    print_credentials(&printed, 3_600);
    console.press("r");
    until("the new ones are taken", || (!console.text().contains("REFUSED")).then_some(()));
    create_table(&cloud, "quotes-new", 50);
    console.wait_for("quotes-new");
    assert!(!console.text().contains("AKIDNIGHT"), "{}", console.text());
    console.press("q");
    assert_eq!(console.end(), 0);
}
