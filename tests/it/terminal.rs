//! A real terminal: the demo opens in it, follows its size, and leaves it as it was.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};

use crate::running::until;

/// A program in a terminal of its own.
pub struct Terminal {
    master: Box<dyn MasterPty + Send>,
    keys: Box<dyn std::io::Write + Send>,
    child: Box<dyn Child + Send + Sync>,
    screen: Arc<Mutex<vt100::Parser>>,
}

impl Terminal {
    fn start(args: &[&str], rows: u16, cols: u16) -> Self {
        Self::start_program(Path::new(env!("CARGO_BIN_EXE_sluice")), args, rows, cols)
    }

    fn start_program(program: &Path, args: &[&str], rows: u16, cols: u16) -> Self {
        Self::program(program, args, &[], rows, cols)
    }

    /// `sluice` with `args`, and with these variables.
    pub fn sluice(args: &[&str], variables: &[(&str, &str)], rows: u16, cols: u16) -> Self {
        Self::program(Path::new(env!("CARGO_BIN_EXE_sluice")), args, variables, rows, cols)
    }

    /// Any program, with these variables.
    pub fn program(program: &Path, args: &[&str], variables: &[(&str, &str)], rows: u16, cols: u16) -> Self {
        Self::showing(program, args, variables, (rows, cols), Shown::default())
    }

    fn showing(
        program: &Path,
        args: &[&str],
        variables: &[(&str, &str)],
        (rows, cols): (u16, u16),
        shown: Shown,
    ) -> Self {
        let pty = native_pty_system().openpty(size(rows, cols)).expect("this system has terminals");
        let mut command = CommandBuilder::new(program);
        command.args(args);
        command.env("TERM", "xterm-256color");
        command.env("LANG", "C.UTF-8");
        for name in ["AWS_PROFILE", "AWS_REGION", "AWS_ENDPOINT_URL", "NO_COLOR"] {
            command.env_remove(name);
        }
        for (name, value) in variables {
            command.env(name, value);
        }
        let child = pty.slave.spawn_command(command).expect("the binary starts");
        drop(pty.slave);
        let screen = Arc::new(Mutex::new(vt100::Parser::new(rows, cols, 0)));
        let mut reader = pty.master.try_clone_reader().expect("the terminal can be read");
        let seen = screen.clone();
        let mut recording = Recording::begin(rows, cols);
        let mut shown = shown;
        std::thread::spawn(move || {
            let mut bytes = [0; 8192];
            while let Ok(n @ 1..) = reader.read(&mut bytes) {
                seen.lock().unwrap().process(&shown.of(&bytes[..n]));
                if let Some(recording) = &mut recording {
                    recording.add(&bytes[..n]);
                }
            }
        });
        let keys = pty.master.take_writer().expect("the terminal takes keys");
        Self { master: pty.master, keys, child, screen }
    }

    pub fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }

    pub fn resize(&self, rows: u16, cols: u16) {
        self.screen.lock().unwrap().screen_mut().set_size(rows, cols);
        self.master.resize(size(rows, cols)).unwrap();
    }

    pub fn text(&self) -> String {
        self.screen.lock().unwrap().screen().contents()
    }

    #[track_caller]
    pub fn wait_for(&mut self, words: &str) {
        let mut last = String::new();
        let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            until(words, || {
                last = self.text();
                last.contains(words).then_some(())
            });
        }));
        assert!(found.is_ok(), "never saw {words:?}; the screen was:\n{last}");
    }

    /// True when a frame ends in that column: what was drawn for a wider terminal has its corner elsewhere.
    fn has_corner_at(&self, column: u16) -> bool {
        let parser = self.screen.lock().unwrap();
        (0..parser.screen().size().0)
            .any(|row| parser.screen().cell(row, column).is_some_and(|cell| cell.contents() == "┐"))
    }

    /// Waits until the console has the screen.
    #[track_caller]
    fn wait_for_console(&mut self) {
        until("the console has the screen", || {
            let parser = self.screen.lock().unwrap();
            parser.screen().alternate_screen().then_some(())
        });
    }

    /// The exit code, once the program has ended.
    pub fn end(&mut self) -> u32 {
        until("the program has ended", || self.child.try_wait().expect("it is our child")).exit_code()
    }

    /// True when the screen is the shell's again: no alternate screen, the cursor shown, no mouse, no paste brackets.
    pub fn is_restored(&self) -> bool {
        let parser = self.screen.lock().unwrap();
        let screen = parser.screen();
        !screen.alternate_screen()
            && !screen.hide_cursor()
            && !screen.bracketed_paste()
            && screen.mouse_protocol_mode() == vt100::MouseProtocolMode::None
    }

    /// True when the program is told what the mouse does, by SGR reports, which also tmux and screen pass on.
    pub fn gives_mouse(&self) -> bool {
        let parser = self.screen.lock().unwrap();
        let screen = parser.screen();
        screen.mouse_protocol_mode() != vt100::MouseProtocolMode::None
            && screen.mouse_protocol_encoding() == vt100::MouseProtocolEncoding::Sgr
    }

    /// Clicks where `words` stand.
    pub fn click(&mut self, words: &str) {
        let text = self.text();
        let found = text.lines().enumerate().find_map(|(y, line)| {
            let at = line.find(words)?;
            Some((line[..at].chars().count() + 1, y + 1))
        });
        let (x, y) = found.unwrap_or_else(|| panic!("no {words:?} to click on:\n{text}"));
        self.press(&format!("\x1b[<0;{x};{y}M\x1b[<0;{x};{y}m"));
    }
}

/// What of a program's bytes a terminal understands.
#[derive(Default)]
struct Shown {
    /// It has no alternate screen, as GNU screen without `altscreen on`.
    is_single: bool,
    /// The beginning of a sequence whose end is still to come.
    held: Vec<u8>,
}

/// To the alternate screen and back, up to the letter that says which.
const SWITCH: &[u8] = b"\x1b[?1049";

impl Shown {
    fn of(&mut self, bytes: &[u8]) -> Vec<u8> {
        if !self.is_single {
            return bytes.to_vec();
        }
        self.held.extend_from_slice(bytes);
        while let Some(at) = self.held.windows(SWITCH.len() + 1).position(|found| found.starts_with(SWITCH)) {
            self.held.drain(at..=at + SWITCH.len());
        }
        let ends_in = (1..=SWITCH.len()).rev().find(|n| self.held.ends_with(&SWITCH[..*n])).unwrap_or(0);
        let whole = self.held.len() - ends_in;
        self.held.drain(..whole).collect()
    }
}

/// What a terminal showed, as asciinema plays it: one file for all terminals of a run, one after the other.
/// `SLUICE_TEST_RECORD` names it.
struct Recording {
    file: File,
    began: Instant,
}

impl Recording {
    fn begin(rows: u16, cols: u16) -> Option<Self> {
        let path = std::env::var_os("SLUICE_TEST_RECORD")?;
        let mut file = File::options().create(true).append(true).open(path).expect("the recording can be written");
        if file.metadata().expect("it is a file").len() == 0 {
            writeln!(file, "{{\"version\":3,\"term\":{{\"cols\":{cols},\"rows\":{rows}}}}}").unwrap();
        }
        Some(Self { file, began: Instant::now() })
    }

    /// Version 3 tells the time since the event before.
    fn add(&mut self, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        let since = self.began.elapsed().as_secs_f64();
        self.began = Instant::now();
        writeln!(self.file, "{}", serde_json::json!([since, "o", text])).unwrap();
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
    }
}

fn size(rows: u16, cols: u16) -> PtySize {
    PtySize { rows, cols, pixel_width: 0, pixel_height: 0 }
}

#[test]
fn the_demo_opens_on_its_restore_follows_the_terminals_size_and_leaves_it_as_it_was() {
    let mut terminal = Terminal::start(&["demo", "--records", "20000"], 40, 120);
    terminal.wait_for_console();
    terminal.wait_for("written");
    terminal.resize(24, 80);
    until("it follows the size", || terminal.has_corner_at(79).then_some(()));
    terminal.wait_for("written");
    terminal.press("1");
    terminal.wait_for("TABLE");
    terminal.press("q");
    assert_eq!(terminal.end(), 0);
    until("the terminal is as it was", || terminal.is_restored().then_some(()));
}

#[test]
fn where_there_is_no_alternate_screen_nothing_shows_through_and_nothing_is_left() {
    let script = format!(
        r#"i=0; while [ $i -lt 40 ]; do echo "line-$i of the shell, longer than a word"; i=$((i+1)); done
        "{}" demo --records 20000; echo the shell goes on"#,
        env!("CARGO_BIN_EXE_sluice")
    );
    let shown = Shown { is_single: true, ..Shown::default() };
    let mut terminal = Terminal::showing(Path::new("sh"), &["-c", &script], &[], (30, 100), shown);
    terminal.wait_for("of the shell");
    terminal.wait_for("written");
    assert!(!terminal.text().contains("of the shell"), "{}", terminal.text());
    terminal.press("q");
    terminal.wait_for("the shell goes on");
    let text = terminal.text();
    assert!(!text.contains("Tables") && text.starts_with("the demo's AWS ends with it"), "{text}");
    assert_eq!(terminal.end(), 0);
}

#[test]
fn a_term_signal_leaves_the_terminal_as_it_was() {
    let mut terminal = Terminal::start(&["demo", "--records", "20000"], 30, 100);
    terminal.wait_for_console();
    terminal.wait_for("historical");
    let pid = terminal.child.process_id().expect("it runs");
    crate::running::signal(pid, "TERM");
    terminal.end();
    until("the terminal is as it was", || terminal.is_restored().then_some(()));
}

#[test]
fn ctrl_z_gives_the_terminal_to_the_shell_and_fg_draws_again_at_the_size_that_it_has_by_then() {
    // What stty says is what the shell was given: this one changes nothing of it by itself.
    let script = format!(
        r#"set -m
        "{}" demo --records 20000
        echo "the shell has" $(stty -a | grep -Eo -- '-?(icanon|isig)')
        read line
        fg >/dev/null
        echo "it ended with $?""#,
        env!("CARGO_BIN_EXE_sluice")
    );
    let mut terminal = Terminal::program(Path::new("sh"), &["-c", &script], &[], 40, 120);
    terminal.wait_for_console();
    terminal.wait_for("written");
    terminal.press("\x1a");
    terminal.wait_for("the shell has isig icanon");
    assert!(terminal.is_restored(), "{}", terminal.text());
    // The shell is told of it, the stopped console is not.
    terminal.resize(24, 80);
    terminal.press("\n");
    terminal.wait_for_console();
    until("it is drawn at the size that the terminal has by now", || terminal.has_corner_at(79).then_some(()));
    terminal.wait_for("written");
    terminal.press("q");
    terminal.wait_for("it ended with 0");
    until("the terminal is as it was", || terminal.is_restored().then_some(()));
}

#[test]
fn a_panic_in_the_console_leaves_the_terminal_as_it_was_and_can_be_read() {
    // `cargo test` builds the examples beside the binary.
    let program = Path::new(env!("CARGO_BIN_EXE_sluice")).with_file_name("examples").join("panic_in_console");
    let mut terminal = Terminal::start_program(&program, &[], 24, 80);
    assert_ne!(terminal.end(), 0);
    until("the terminal is as it was", || terminal.is_restored().then_some(()));
    terminal.wait_for("a view went wrong");
}
