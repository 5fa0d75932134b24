//! Copying: what of the screen is copied, the escape sequence that hands it to the terminal's clipboard (OSC 52, also through
//! tmux and screen), and the programs that hand it to this machine's. What is copied is exact; what is said of it is escaped.

use std::io;
use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use ratatui::text::Line;
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::app::{App, Overlay, Place, Screen};
use super::effect::Effect;
use super::view;

/// More than this is no clipboard's: terminals drop longer sequences, bytes before base64 (xterm and others take about 100,000
/// after it).
const MOST: usize = 74_994;
/// What is said of bytes that are no text.
const NO_TEXT: &str = "what is no text can't be copied exactly: write it into a file instead";
/// How long a clipboard program may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// What GNU screen takes of a sequence at once, bytes.
const SCREEN_CHUNK: usize = 240;

/// Between the console and the terminal that the person sits at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Between {
    /// Nothing.
    Nothing,
    /// tmux.
    Tmux,
    /// GNU screen.
    Screen,
    /// GNU screen or tmux: across ssh only `TERM` is left of them, which both call `screen`.
    ScreenOrTmux,
}

impl Between {
    /// As the environment tells.
    pub fn from_environment(variable: impl Fn(&str) -> Option<std::ffi::OsString>) -> Self {
        let term = variable("TERM").unwrap_or_default().to_string_lossy().into_owned();
        if variable("TMUX").is_some() {
            Self::Tmux
        } else if variable("STY").is_some() {
            Self::Screen
        } else if term.starts_with("screen") {
            Self::ScreenOrTmux
        } else {
            Self::Nothing
        }
    }
}

/// The bytes that hand `text` to the terminal's clipboard; `None` when it is longer than terminals take.
pub fn osc52(text: &str, between: Between) -> Option<Vec<u8>> {
    if text.len() > MOST {
        return None;
    }
    let encoded = base64::engine::general_purpose::STANDARD.encode(text);
    let plain = format!("\x1b]52;c;{encoded}\x07");
    let bytes = match between {
        Between::Nothing => plain,
        // tmux takes it itself with `set-clipboard on`, and passes it through with `allow-passthrough on`: whichever is set.
        Between::Tmux => format!("{plain}\x1bPtmux;{}\x1b\\", plain.replace('\x1b', "\x1b\x1b")),
        Between::Screen => in_parts(&plain),
        // Each of them drops what is meant for the other.
        Between::ScreenOrTmux => format!("{plain}{}", in_parts(&plain)),
    };
    Some(bytes.into_bytes())
}

/// screen passes a sequence through in parts, which the terminal sees as one.
fn in_parts(plain: &str) -> String {
    let parts = plain.as_bytes().chunks(SCREEN_CHUNK).map(|part| String::from_utf8_lossy(part).into_owned());
    parts.map(|part| ["\x1bP", &part, "\x1b\\"].concat()).collect()
}

/// The programs that may hand a text to this machine's clipboard, as the environment tells, with their arguments.
fn programs(variable: impl Fn(&str) -> Option<std::ffi::OsString>) -> Vec<(&'static str, &'static [&'static str])> {
    let is_set = |name: &str| variable(name).is_some_and(|value| !value.is_empty());
    let mut programs: Vec<(&str, &[&str])> = Vec::new();
    if is_set("WAYLAND_DISPLAY") {
        programs.push(("wl-copy", &[]));
    }
    if is_set("DISPLAY") {
        programs.push(("xclip", &["-selection", "clipboard"]));
        programs.push(("xsel", &["--clipboard", "--input"]));
    }
    if cfg!(target_os = "macos") {
        programs.push(("pbcopy", &[]));
    }
    programs
}

/// Hands `text` to this machine's clipboard; the program that took it.
pub async fn natively(text: &str) -> Option<&'static str> {
    for (program, arguments) in programs(|name| std::env::var_os(name)) {
        match tokio::time::timeout(PATIENCE, hand_to(program, arguments, text)).await {
            Ok(Ok(true)) => return Some(program),
            Ok(Ok(false) | Err(_)) => {}
            Err(_) => tracing::warn!(program, "a clipboard program took too long, and was ended"),
        }
    }
    None
}

async fn hand_to(program: &str, arguments: &[&str], text: &str) -> io::Result<bool> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(text.as_bytes()).await?;
        // Closed, so that the program sees the end.
        drop(input);
    }
    Ok(child.wait().await?.success())
}

/// What a notice says of a text that was copied.
pub fn words(text: &str, to_terminal: bool, program: Option<&str>) -> (String, bool) {
    let characters = text.chars().count();
    let to = match (to_terminal, program) {
        (true, Some(program)) => format!("to the terminal (OSC 52) and through {program}"),
        (true, None) => "to the terminal (OSC 52)".to_owned(),
        (false, Some(program)) => format!("through {program}; it is too long for the terminal's clipboard"),
        (false, None) => {
            let words = format!(
                "{characters} characters are too many for a terminal's clipboard: write them to a file instead"
            );
            return (words, true);
        }
    };
    let plural = if characters == 1 { "" } else { "s" };
    (format!("copied {characters} character{plural} {to}"), false)
}

/// Copies the selected row's name, or with `whole` everything of it.
pub(super) fn act(app: &mut App, whole: bool) -> Vec<Effect> {
    match text(app, whole) {
        Some(text) if !text.is_empty() => vec![Effect::Copy(text)],
        _ => {
            let has_records = matches!(app.screen, Screen::Dead(_) | Screen::Playback | Screen::Tail(..));
            let is_record = whole && has_records && text(app, false).is_some();
            let words = match &app.overlay {
                Some(Overlay::Text(_)) => NO_TEXT,
                None if is_record => NO_TEXT,
                _ => "nothing is selected that could be copied",
            };
            app.say(words, true);
            Vec::new()
        }
    }
}

/// What is copied, exact.
fn text(app: &App, whole: bool) -> Option<String> {
    let as_text = |lines: Vec<Line<'_>>| lines.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    match &app.overlay {
        Some(Overlay::Text(text)) => return text.copied(),
        Some(Overlay::Help(reading)) => return Some(as_text(view::words::help_lines(app, reading))),
        Some(Overlay::Words(words)) => return Some(as_text(view::words::lines(app, words, app.size.0))),
        _ => {}
    }
    match &app.screen {
        Screen::Tables => Some(table(app.place_at_hand(), &app.selected_table()?, whole)),
        Screen::Table(name) => match app.selected_index().filter(|_| !whole) {
            Some(index) => Some(index.name.clone()),
            None => Some(table(&app.place, name, whole)),
        },
        Screen::Streams => {
            // Another region may have a stream of the same name: the row's own is meant.
            let stream = app.selected_stream()?;
            Some(stream_text(app.place_at_hand(), &stream.name, Some(&stream.arn), whole))
        }
        Screen::Stream(name) => match app.selected_shard() {
            Some(shard) if whole => Some(aws(
                &app.place,
                "kinesis get-shard-iterator",
                &[("stream-name", name), ("shard-id", &shard.id), ("shard-iterator-type", "TRIM_HORIZON")],
            )),
            Some(shard) => Some(shard.id.clone()),
            None => Some(stream_text(&app.place, name, app.stream(name).map(|stream| stream.arn.as_str()), whole)),
        },
        Screen::Mappings(_) => {
            let mapping = app.selected_mapping()?;
            Some(if whole {
                aws(&app.place, "lambda get-event-source-mapping", &[("uuid", &mapping.uuid)])
            } else {
                mapping.function_arn.clone()
            })
        }
        Screen::Tail(..) => {
            let line = app.at_stream.tail.selected()?;
            if whole { String::from_utf8(line.data.to_vec()).ok() } else { Some(line.partition_key.clone()) }
        }
        Screen::Jobs | Screen::Job(_) => {
            let id = app.selected_job()?;
            let job = app.job(&id)?;
            if !whole {
                return Some(id.0);
            }
            let c = app.progress(job).counters;
            Some(
                json!({
                    "job": id.0, "kind": job.kind().to_string(), "state": job.state.as_str(), "what": job.spec.title(),
                    "read": c.read, "written": c.written, "dead": c.dead, "total": job.total, "message": job.message,
                })
                .to_string(),
            )
        }
        Screen::Dead(_) => {
            let letter = app.selected_letter()?;
            if whole {
                // What is no text can't be copied exactly.
                return String::from_utf8(letter.letter.payload.to_vec()).ok();
            }
            Some(match letter.letter.line {
                Some(line) => format!("{}:{line}", letter.letter.source),
                None => letter.letter.sequence.clone().unwrap_or_else(|| letter.letter.source.clone()),
            })
        }
        Screen::Autoscale(id) => {
            let job = app.job(id)?;
            let decision = super::view::autoscale::selected(app, job)?;
            if whole { serde_json::to_string(decision).ok() } else { Some(decision.table.clone()) }
        }
        Screen::EventTables => Some(table(&app.place, &app.selected_event_table()?, whole)),
        Screen::Playback => {
            let scrubber = app.scrubber.as_ref()?;
            let event = scrubber.events.get(scrubber.selected()?)?;
            if whole { String::from_utf8(event.payload.to_vec()).ok() } else { Some(event.id.to_string()) }
        }
        Screen::Restore | Screen::Backup | Screen::Replica | Screen::Replay => None,
    }
}

fn table(place: &Place, name: &str, whole: bool) -> String {
    if whole { aws(place, "dynamodb describe-table", &[("table-name", name)]) } else { name.to_owned() }
}

fn stream_text(place: &Place, name: &str, arn: Option<&str>, whole: bool) -> String {
    if whole {
        return aws(place, "kinesis describe-stream-summary", &[("stream-name", name)]);
    }
    // It is not known until the stream was described.
    arn.filter(|arn| !arn.is_empty()).unwrap_or(name).to_owned()
}

/// The command that asks for the same there.
fn aws(place: &Place, command: &str, options: &[(&str, &str)]) -> String {
    let context = &place.context;
    let here = [
        ("profile", context.profile.as_deref()),
        ("region", Some(place.region.as_str())),
        ("endpoint-url", context.endpoint_url.as_deref()),
    ];
    let here = here.into_iter().filter_map(|(name, value)| Some((name, value.filter(|value| !value.is_empty())?)));
    let mut words = format!("aws {command}");
    for (name, value) in options.iter().copied().chain(here) {
        words.extend([" --", name, " ", &quoted(value)]);
    }
    words
}

/// As a shell takes it.
fn quoted(value: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+".contains(c);
    if !value.is_empty() && value.chars().all(is_plain) {
        value.to_owned()
    } else {
        format!("'{}'", value.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    #[test]
    fn the_terminals_clipboard_gets_exactly_the_text() {
        assert_eq!(osc52("historical", Between::Nothing).unwrap(), b"\x1b]52;c;aGlzdG9yaWNhbA==\x07");
    }

    #[test]
    fn through_tmux_both_ways_are_tried_and_its_escapes_are_doubled() {
        let bytes = String::from_utf8(osc52("a", Between::Tmux).unwrap()).unwrap();
        assert_eq!(bytes, "\x1b]52;c;YQ==\x07\x1bPtmux;\x1b\x1b]52;c;YQ==\x07\x1b\\");
    }

    #[test]
    fn through_screen_it_goes_in_parts_that_are_one_sequence_to_the_terminal() {
        let text = "x".repeat(1000);
        let bytes = String::from_utf8(osc52(&text, Between::Screen).unwrap()).unwrap();
        let parts: Vec<&str> = bytes.split("\x1b\\").filter(|part| !part.is_empty()).collect();
        assert!(
            parts.len() > 5 && parts.iter().all(|part| part.starts_with("\x1bP") && part.len() <= 2 + SCREEN_CHUNK)
        );
        let joined: String = parts.iter().map(|part| &part[2..]).collect();
        assert_eq!(joined.as_bytes(), osc52(&text, Between::Nothing).unwrap());
    }

    #[test]
    fn where_only_term_says_screen_it_goes_plain_and_in_parts() {
        let text = "x".repeat(1000);
        let of = |between| String::from_utf8(osc52(&text, between).unwrap()).unwrap();
        assert_eq!(of(Between::ScreenOrTmux), of(Between::Nothing) + &of(Between::Screen));
    }

    #[test]
    fn what_is_too_long_is_refused_rather_than_cut() {
        assert!(osc52(&"x".repeat(MOST), Between::Nothing).is_some());
        assert_eq!(osc52(&"x".repeat(MOST + 1), Between::Nothing), None);
        let (said, is_bad) = words(&"x".repeat(MOST + 1), false, None);
        assert!(is_bad && said.contains("to a file"), "{said}");
        assert_eq!(
            words("日本", true, Some("xclip")).0,
            "copied 2 characters to the terminal (OSC 52) and through xclip"
        );
    }

    #[test]
    fn tmux_and_screen_are_known_by_their_variables() {
        let of = |set: &'static [(&str, &str)]| {
            Between::from_environment(|name| set.iter().find(|(n, _)| *n == name).map(|(_, v)| OsString::from(v)))
        };
        assert_eq!(of(&[("TERM", "xterm")]), Between::Nothing);
        assert_eq!(of(&[("TERM", "screen-256color"), ("TMUX", "/tmp/t,1,0")]), Between::Tmux);
        assert_eq!(of(&[("TERM", "screen"), ("STY", "1.pts")]), Between::Screen);
        // As ssh passes it on: from within tmux as well as from within screen.
        assert_eq!(of(&[("TERM", "screen-256color")]), Between::ScreenOrTmux);
    }

    #[test]
    fn programs_are_asked_where_there_is_a_display() {
        let of = |set: &'static [&str]| programs(|name| set.contains(&name).then(|| OsString::from(":0")));
        assert!(of(&[]).is_empty() || cfg!(target_os = "macos"));
        assert_eq!(of(&["WAYLAND_DISPLAY", "DISPLAY"])[0].0, "wl-copy");
        assert_eq!(of(&["DISPLAY"])[0].0, "xclip");
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_and_one_that_fails_take_nothing() {
        assert!(hand_to("sluice-no-such-program", &[], "x").await.is_err());
        assert!(!hand_to("false", &[], "x").await.unwrap_or(false));
        assert!(hand_to("sh", &["-c", "test \"$(cat)\" = 'a b'"], "a b").await.unwrap());
    }

    #[test]
    fn a_command_can_be_pasted_into_a_shell() {
        assert_eq!(quoted("table-1"), "table-1");
        assert_eq!(quoted("it's; rm"), r"'it'\''s; rm'");
        assert_eq!(quoted(""), "''");
    }
}
