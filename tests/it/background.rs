//! The console asks a real terminal for its background, and takes none of the answer for keys.

use std::io::{Read as _, Write};
use std::sync::{Arc, Mutex};

use portable_pty::{Child, CommandBuilder, PtySize, native_pty_system};
use tempfile::TempDir;

use crate::running::until;

const SIZE: PtySize = PtySize { rows: 24, cols: 80, pixel_width: 0, pixel_height: 0 };
const QUESTION: &[u8] = b"\x1b]11;?";
/// The accents of the themes for dark and for light backgrounds.
const ACCENTS: [vt100::Color; 2] = [vt100::Color::Idx(80), vt100::Color::Idx(25)];

/// A console on an endpoint that nobody serves, in a terminal that answers when it is told to.
struct Terminal {
    keys: Box<dyn Write + Send>,
    child: Box<dyn Child + Send + Sync>,
    screen: Arc<Mutex<vt100::Parser>>,
    raw: Arc<Mutex<Vec<u8>>>,
    _state: TempDir,
    _slave: Box<dyn portable_pty::SlavePty + Send>,
}

impl Terminal {
    fn start(variables: &[(&str, &str)]) -> Self {
        let state = TempDir::new().unwrap();
        let pty = native_pty_system().openpty(SIZE).unwrap();
        let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_sluice"));
        command.args(["--endpoint-url", "http://127.0.0.1:9", "--region", "eu-west-1"]);
        for name in ["AWS_PROFILE", "AWS_REGION", "AWS_ENDPOINT_URL", "NO_COLOR", "COLORFGBG", "SLUICE_THEME", "TMUX"] {
            command.env_remove(name);
        }
        command.env("TERM", "xterm-256color");
        command.env("LANG", "C.UTF-8");
        command.env("SLUICE_STATE_DIR", state.path());
        command.env("XDG_CONFIG_HOME", state.path());
        for (name, value) in variables {
            command.env(name, value);
        }
        let child = pty.slave.spawn_command(command).unwrap();
        let screen = Arc::new(Mutex::new(vt100::Parser::new(SIZE.rows, SIZE.cols, 0)));
        let raw = Arc::new(Mutex::new(Vec::new()));
        let mut reader = pty.master.try_clone_reader().unwrap();
        let (seen, kept) = (screen.clone(), raw.clone());
        std::thread::spawn(move || {
            let mut bytes = [0; 8192];
            while let Ok(n @ 1..) = reader.read(&mut bytes) {
                kept.lock().unwrap().extend_from_slice(&bytes[..n]);
                seen.lock().unwrap().process(&bytes[..n]);
            }
        });
        let keys = pty.master.take_writer().unwrap();
        // The master lives as long as its writer.
        Self { keys, child, screen, raw, _state: state, _slave: pty.slave }
    }

    fn send(&mut self, bytes: &[u8]) {
        self.keys.write_all(bytes).unwrap();
        self.keys.flush().unwrap();
    }

    fn was_asked(&self) -> bool {
        self.raw.lock().unwrap().windows(QUESTION.len()).any(|bytes| bytes == QUESTION)
    }

    /// The colour of the selected list's name, once it is drawn in one of the accents.
    fn accent(&self) -> Option<vt100::Color> {
        let parser = self.screen.lock().unwrap();
        let screen = parser.screen();
        let cells = (0..SIZE.rows).flat_map(|row| (0..SIZE.cols).map(move |column| (row, column)));
        let mut colours = cells.filter_map(|(row, column)| screen.cell(row, column).map(vt100::Cell::fgcolor));
        colours.find(|colour| ACCENTS.contains(colour))
    }

    fn text(&self) -> String {
        self.screen.lock().unwrap().screen().contents()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
    }
}

#[test]
fn a_light_terminal_gets_the_light_theme_and_its_answer_is_no_key() {
    let mut terminal = Terminal::start(&[]);
    until("it asks", || terminal.was_asked().then_some(()));
    // With a key that was pressed before.
    terminal.send(b"2\x1b]11;rgb:ffff/ffff/ffff\x1b\\");
    until("it is drawn for a light background", || (terminal.accent() == Some(ACCENTS[1])).then_some(()));
    until("the key is heeded", || terminal.text().contains("streams").then_some(()));
    assert!(!terminal.text().contains("filter:"), "the answer's slash is no key:\n{}", terminal.text());
}

#[test]
fn an_answer_that_comes_after_the_first_frame_changes_the_theme_and_is_no_key_either() {
    let mut terminal = Terminal::start(&[]);
    until("it is drawn for a dark background", || (terminal.accent() == Some(ACCENTS[0])).then_some(()));
    terminal.send(b"\x1b]11;rgb:fdfd/f6f6/e3e3\x07");
    until("it is drawn for a light background", || (terminal.accent() == Some(ACCENTS[1])).then_some(()));
    assert!(terminal.text().contains("tables") && !terminal.text().contains("filter:"), "{}", terminal.text());
    terminal.send(b"q");
    until("it ends", || terminal.child.try_wait().unwrap());
}

#[test]
fn nobody_is_asked_where_the_answer_would_not_matter() {
    for variables in [[("NO_COLOR", "1")], [("SLUICE_THEME", "light")], [("TERM", "screen")]] {
        let terminal = Terminal::start(&variables);
        until("it is drawn", || terminal.text().contains("Tables").then_some(()));
        assert!(!terminal.was_asked(), "{variables:?}");
    }
}
