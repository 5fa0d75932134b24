//! Text that came from records, files and services: never trusted, always measured.

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

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

/// `text` cut to `width` columns, with `…` where something was left out.
pub fn clip(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut out = String::new();
    for c in text.chars() {
        out.push(c);
        // Measured whole: a character can change the width of the one before it.
        if out.width() + 1 > width {
            out.pop();
            break;
        }
    }
    if width > 0 {
        out.push('…');
    }
    out
}

/// `text` broken at spaces into lines of at most `width` columns; longer words are cut.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let width = width.max(1);
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let mut word = word;
        loop {
            let line = lines.last_mut().expect("begun with one line, and only pushed to");
            let gap = usize::from(!line.is_empty());
            if line.width() + gap + word.width() <= width {
                if gap == 1 {
                    line.push(' ');
                }
                line.push_str(word);
                break;
            }
            if !line.is_empty() {
                lines.push(String::new());
                continue;
            }
            let fits = |(at, c): &(usize, char)| word[..at + c.len_utf8()].width() <= width;
            // At least one character a line, or it would never end.
            let cut = word.char_indices().take_while(fits).last().or(word.char_indices().next());
            let cut = cut.map_or(word.len(), |(at, c)| at + c.len_utf8());
            line.push_str(&word[..cut]);
            word = &word[cut..];
            if word.is_empty() {
                break;
            }
            lines.push(String::new());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_shown_instead() {
        assert_eq!(shown("a\x1b[2Jb\nc\u{202e}d"), "a\\u{1b}[2Jb\\nc\\u{202e}d");
        assert_eq!(shown_bytes(b"ok\xff\x01"), "ok\\xff\\u{1}");
    }

    #[test]
    fn clipping_counts_columns_and_says_that_it_clipped() {
        assert_eq!(clip("historical", 6), "histo…");
        assert_eq!(clip("日本語", 5), "日本…");
        assert_eq!(clip("abc", 3), "abc");
        assert_eq!(clip("abc", 0), "");
    }

    proptest! {
        #[test]
        fn nothing_that_is_shown_moves_the_cursor(text in ".*") {
            prop_assert!(shown(&text).chars().all(|c| !c.is_control()));
        }

        #[test]
        fn clipped_and_wrapped_text_fits(text in ".*", width in 2_usize..40) {
            prop_assert!(clip(&text, width).width() <= width);
            for line in wrap(&shown(&text), width) {
                prop_assert!(line.width() <= width, "{line:?}");
            }
        }
    }
}
