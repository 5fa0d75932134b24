//! What a shell completes, asked of the shells themselves.

use std::path::Path;
use std::process::Command;

use crate::running::{Server, Sluice, create_stream, create_table, ended, item, until, write_csv64};
use crate::terminal::Terminal;

/// Where programs are looked for: this one first.
fn path() -> String {
    let folder = Path::new(env!("CARGO_BIN_EXE_sluice")).parent().unwrap();
    format!("{}:{}", folder.display(), std::env::var("PATH").unwrap_or_default())
}

/// What bash offers for `line`, asked as its own completion asks: words cut at its own breaks.
fn completed(sluice: &Sluice, line: &str) -> Vec<String> {
    let script = r#"
        eval "$(sluice completions bash)"
        COMP_LINE="$1"; COMP_POINT=${#COMP_LINE}; COMP_TYPE=9
        read -r -a COMP_WORDS <<< "${1//:/ : }"
        [[ "$1" == *" " ]] && COMP_WORDS+=("")
        COMP_CWORD=$(( ${#COMP_WORDS[@]} - 1 ))
        _clap_complete_sluice sluice "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let mut shell = Command::new("bash");
    shell.args(["--norc", "--noprofile", "-c", script, "bash", line]).env("PATH", path());
    shell.env("SLUICE_STATE_DIR", sluice.state.path());
    shell.env("AWS_CONFIG_FILE", "/dev/null").env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null");
    for name in ["AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID"] {
        shell.env_remove(name);
    }
    let done = ended(&mut shell).expect(0);
    done.out.lines().filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// Whether a shell is installed; where nothing may be skipped it must be.
fn has(shell: &str) -> bool {
    let found = Command::new(shell).args(["-c", "true"]).output().is_ok();
    assert!(found || std::env::var_os("SLUICE_TEST_NO_SKIP").is_none(), "{shell} is not installed");
    found
}

struct Scene {
    server: Server,
    sluice: Sluice,
    /// The command, up to its endpoint.
    at: String,
}

/// Two tables and a stream, known to whoever completes.
fn scene() -> Scene {
    let server = Server::start(&["--limits", "on"]);
    let (cloud, sluice) = (server.cloud(), Sluice::at(&server.endpoint));
    create_table(&cloud, "quotes", 130);
    create_table(&cloud, "historical", 130);
    create_stream(&cloud, "restore-stream", 1);
    let at = format!("sluice --endpoint-url {}", server.endpoint);
    // Nothing is known yet: a process beside asks, and the shell waits a little.
    until("names are known", || {
        let names = completed(&sluice, &format!("{at} tables "));
        (names.contains(&"quotes".to_owned()) && names.contains(&"historical".to_owned())).then_some(())
    });
    Scene { server, sluice, at }
}

#[test]
fn bash_completes_names_of_tables_streams_and_jobs() {
    if !has("bash") {
        return;
    }
    let Scene { sluice, at, server: _server } = scene();
    assert_eq!(completed(&sluice, &format!("{at} restore -t quo")), ["quotes"]);
    assert_eq!(completed(&sluice, &format!("{at} capacity --stream rest")), ["restore-stream"]);
    assert!(completed(&sluice, "sluice rest").contains(&"restore".to_owned()));
    let folder = tempfile::tempdir().unwrap();
    let backup = folder.path().join("backup.csv");
    write_csv64(&backup, (0..10).map(item));
    let ended = sluice.run(&["restore", backup.to_str().unwrap(), "-t", "quotes", "--json"]).expect(0);
    let job = ended.last_json()["job"].as_str().unwrap().to_owned();
    assert_eq!(completed(&sluice, &format!("sluice jobs {}", &job[..3])), [job]);
}

#[test]
fn a_shell_gets_no_names_and_no_words_where_nothing_answers() {
    if !has("bash") {
        return;
    }
    let server = Server::start(&[]);
    let gone = server.endpoint.clone();
    let sluice = Sluice::at(&gone);
    server.stop();
    let words = completed(&sluice, &format!("sluice --endpoint-url {gone} tables "));
    assert!(words.iter().all(|word| word.starts_with('-')), "{words:?}");
}

/// Types into a shell with its completion loaded, and presses tab as a person would.
fn tab_completes(shell: &str, args: &[&str], load: &str) {
    if !has("bash") || !has(shell) {
        return;
    }
    let Scene { sluice, at, server: _server } = scene();
    let state = sluice.state.path().to_str().unwrap();
    let variables = [
        ("PATH", &*path()),
        ("HOME", state),
        ("SLUICE_STATE_DIR", state),
        ("AWS_CONFIG_FILE", "/dev/null"),
        ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null"),
    ];
    let mut terminal = Terminal::program(Path::new(shell), args, &variables, 40, 200);
    // The words are cut in two, so that what is typed is not yet what is waited for.
    terminal.press(&format!("{load}; echo all''ready\n"));
    terminal.wait_for("allready");
    for (typed, whole) in [
        ("restore -t quo", "restore -t quotes"),
        ("tables his", "tables historical"),
        ("capacity --stream rest", "capacity --stream restore-stream"),
        ("comple", "completions"),
    ] {
        terminal.press(&format!("\x15{at} {typed}\t"));
        terminal.wait_for(&format!("{at} {whole}"));
    }
    terminal.press("\x15exit\n");
    terminal.end();
}

#[test]
fn bash_completes_at_a_tab() {
    tab_completes("bash", &["--norc", "--noprofile", "-i"], r#"eval "$(sluice completions bash)""#);
}

#[test]
fn zsh_completes_at_a_tab() {
    tab_completes("zsh", &["-f", "-i"], r#"autoload -U compinit; compinit -u -D; eval "$(sluice completions zsh)""#);
}

#[test]
fn fish_completes_at_a_tab() {
    tab_completes("fish", &["--no-config"], "sluice completions fish | source");
}
