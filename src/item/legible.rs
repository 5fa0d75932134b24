//! Records for people to read: JSON over several lines, other bytes in hex; and text that came from records, files and
//! services, which no terminal is to obey.

use std::iter::Peekable;
use std::str::Chars;

use unicode_width::UnicodeWidthChar as _;

/// Deeper levels are indented no further, so that a record of nothing but brackets takes no more than its size in lines.
const DEEPEST: usize = 40;

/// The text of `bytes` when they are JSON; what is well formed in it need not be known to any type of ours.
pub fn as_json(bytes: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(bytes).ok()?;
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok().then_some(text)
}

/// Well-formed JSON, a token or a few a line, indented by two: only the white space between its tokens changes, so that
/// `1.10` stays `1.10` and a name that is there twice stays there twice. Laid out as it is asked for, and not escaped.
pub fn json_lines(json: &str) -> impl Iterator<Item = String> {
    Lines { rest: json.trim().chars().peekable(), depth: 0 }
}

/// The same as one text; what is no JSON is left as it is.
pub fn set_out(bytes: &[u8]) -> String {
    match as_json(bytes) {
        Some(json) => json_lines(json).collect::<Vec<_>>().join("\n"),
        None => String::from_utf8_lossy(bytes).into_owned(),
    }
}

/// Bytes in hex, such as `0a ff`.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}

/// Sixteen bytes a line: where, in hex, and as text.
pub fn hex_lines(bytes: &[u8]) -> impl Iterator<Item = String> {
    bytes.chunks(16).enumerate().map(|(line, bytes)| {
        let text = |byte: &u8| if byte.is_ascii_graphic() || *byte == b' ' { char::from(*byte) } else { '.' };
        format!("{:08x}  {:<47}  {}", line * 16, hex(bytes), bytes.iter().map(text).collect::<String>())
    })
}

/// `text` with everything that a terminal would obey or hide written out: control characters, escapes, direction
/// overrides and characters without a width.
pub fn shown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() || is_invisible(c) => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    out
}

/// Bytes as text, with what is no UTF-8 written as `\xNN`.
pub fn shown_bytes(bytes: &[u8]) -> String {
    let mut out = String::new();
    for chunk in bytes.utf8_chunks() {
        out.push_str(&shown(chunk.valid()));
        for byte in chunk.invalid() {
            out.push_str("\\x");
            out.push(char::from_digit(u32::from(byte >> 4), 16).unwrap_or('?'));
            out.push(char::from_digit(u32::from(byte & 15), 16).unwrap_or('?'));
        }
    }
    out
}

fn is_invisible(c: char) -> bool {
    c.width() == Some(0) && !matches!(c, '\u{300}'..='\u{36f}')
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

struct Lines<'a> {
    rest: Peekable<Chars<'a>>,
    depth: usize,
}

impl Lines<'_> {
    fn pass_white_space(&mut self) {
        while self.rest.next_if(char::is_ascii_whitespace).is_some() {}
    }

    /// The rest of a string, whose first quotation mark was taken.
    fn string(&mut self, line: &mut String) {
        let mut escaped = false;
        for c in self.rest.by_ref() {
            line.push(c);
            match c {
                '"' if !escaped => return,
                c => escaped = !escaped && c == '\\',
            }
        }
    }
}

impl Iterator for Lines<'_> {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        self.rest.peek()?;
        let mut line = "  ".repeat(self.depth.min(DEEPEST));
        let indent = line.len();
        while let Some(c) = self.rest.peek().copied() {
            // What closes stands on a line of its own.
            if matches!(c, '}' | ']') && line.len() > indent {
                self.depth = self.depth.saturating_sub(1);
                return Some(line);
            }
            self.rest.next();
            match c {
                c if c.is_ascii_whitespace() => {}
                '"' => {
                    line.push(c);
                    self.string(&mut line);
                }
                '{' | '[' => {
                    line.push(c);
                    self.pass_white_space();
                    let Some(close) = self.rest.next_if(|next| matches!(next, '}' | ']')) else {
                        self.depth += 1;
                        return Some(line);
                    };
                    line.push(close);
                }
                ',' => {
                    line.push(c);
                    self.pass_white_space();
                    return Some(line);
                }
                ':' => line.push_str(": "),
                c => line.push(c),
            }
        }
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn json_is_set_out_without_losing_a_digit_or_a_name_that_is_there_twice() {
        let text = r#"{"a":{"N":"1.10"},"a":{"L":[]},"s":{"S":"x,\"{:"},"n":12345678901234567890.10}"#;
        let out = set_out(text.as_bytes());
        assert_eq!(
            out,
            "{\n  \"a\": {\n    \"N\": \"1.10\"\n  },\n  \"a\": {\n    \"L\": []\n  },\n  \"s\": {\n    \"S\": \"x,\\\"{:\"\n  },\n  \"n\": \
             12345678901234567890.10\n}"
        );
        let plain: String = out.split('\n').map(str::trim_start).collect::<String>().replace("\": ", "\":");
        assert_eq!(plain, text);
        assert_eq!(set_out(b"no json"), "no json");
    }

    #[test]
    fn a_record_of_brackets_alone_takes_no_more_lines_than_it_has_and_none_is_long() {
        let deep = format!("{}{}", "[".repeat(50_000), "]".repeat(50_000));
        let lines: Vec<String> = json_lines(&deep).collect();
        assert_eq!(lines.len(), 2 * 50_000 - 1);
        assert!(lines.iter().all(|line| line.len() <= DEEPEST * 2 + 2));
    }

    #[test]
    fn only_what_is_asked_for_is_laid_out() {
        let long = format!("[{}1]", "1,".repeat(1_000_000));
        assert_eq!(json_lines(&long).take(2).collect::<Vec<_>>(), ["[", "  1,"]);
    }

    #[test]
    fn bytes_that_are_no_text_are_shown_in_hex() {
        let lines: Vec<String> = hex_lines(b"\x1b[2Jhello, world\xff\x00").collect();
        assert_eq!(
            lines,
            [
                "00000000  1b 5b 32 4a 68 65 6c 6c 6f 2c 20 77 6f 72 6c 64  .[2Jhello, world",
                "00000010  ff 00                                            .."
            ]
        );
    }

    #[test]
    fn what_a_terminal_would_obey_is_shown_instead() {
        assert_eq!(shown("a\x1b[2Jb\nc\u{202e}d"), "a\\u{1b}[2Jb\\nc\\u{202e}d");
        assert_eq!(shown_bytes(b"ok\xff\x01"), "ok\\xff\\u{1}");
    }

    proptest! {
        #[test]
        fn nothing_that_is_shown_moves_the_cursor(text in ".*") {
            prop_assert!(shown(&text).chars().all(|c| !c.is_control()));
        }

        #[test]
        fn setting_out_changes_nothing_but_white_space(keys in prop::collection::vec("[ -~]{0,8}", 0..6)) {
            let value = json!({ "keys": keys, "deep": [[{}, []], { "a": keys }] });
            let text = set_out(value.to_string().as_bytes());
            prop_assert_eq!(&text, &serde_json::to_string_pretty(&value).unwrap());
            prop_assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
            prop_assert_eq!(set_out(text.as_bytes()), text);
        }
    }
}
