//! Text on screen, measured in columns.

use unicode_width::UnicodeWidthStr as _;

pub use crate::item::legible::{shown, shown_bytes};

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
    fn clipping_counts_columns_and_says_that_it_clipped() {
        assert_eq!(clip("historical", 6), "histo…");
        assert_eq!(clip("日本語", 5), "日本…");
        assert_eq!(clip("abc", 3), "abc");
        assert_eq!(clip("abc", 0), "");
    }

    proptest! {
        #[test]
        fn clipped_and_wrapped_text_fits(text in ".*", width in 2_usize..40) {
            prop_assert!(clip(&text, width).width() <= width);
            for line in wrap(&shown(&text), width) {
                prop_assert!(line.width() <= width, "{line:?}");
            }
        }
    }
}
