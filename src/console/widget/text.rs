//! Text on screen, measured in columns.

use ratatui::text::{Line, Span};
use unicode_width::UnicodeWidthStr as _;

pub use crate::item::legible::{shown, shown_bytes};

/// The columns that `line` takes without the blanks at its end.
pub fn width_of_words(line: &Line<'_>) -> usize {
    let blanks = line.spans.iter().rev().try_fold(0, |blanks, span| {
        let words = span.content.trim_end_matches(' ');
        let more = blanks + span.content.len() - words.len();
        if words.is_empty() { Ok(more) } else { Err(more) }
    });
    let (Ok(blanks) | Err(blanks)) = blanks;
    line.width().saturating_sub(blanks)
}

/// `line` cut to `width` columns, with `…` where something was left out.
pub fn clip_line(line: Line<'_>, width: usize) -> Line<'_> {
    if line.width() <= width {
        return line;
    }
    let mut left = width.saturating_sub(1);
    let mut spans = Vec::with_capacity(line.spans.len());
    for span in line.spans {
        if span.width() > left {
            // A character more than fits is what `clip` puts its mark in place of.
            let begun = clip(&format!("{}  ", span.content), left + 1);
            spans.push(Span::styled(if width == 0 { String::new() } else { begun }, span.style));
            break;
        }
        left -= span.width();
        spans.push(span);
    }
    Line { spans, ..line }
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
    fn clipping_counts_columns_and_says_that_it_clipped() {
        assert_eq!(clip("historical", 6), "histo…");
        assert_eq!(clip("日本語", 5), "日本…");
        assert_eq!(clip("abc", 3), "abc");
        assert_eq!(clip("abc", 0), "");
    }

    #[test]
    fn a_line_is_cut_within_the_part_that_does_not_fit_and_blanks_at_its_end_are_no_words() {
        let line = Line::from(vec![Span::raw(" stream clicks "), Span::raw(" ACTIVE  ")]);
        assert_eq!(clip_line(line.clone(), 18).to_string(), " stream clicks  A…");
        assert_eq!(clip_line(line.clone(), 8).to_string(), " stream…");
        assert_eq!(clip_line(line.clone(), 15).to_string(), " stream clicks…");
        assert_eq!(clip_line(line.clone(), 0).to_string(), "");
        assert_eq!((width_of_words(&line), width_of_words(&Line::raw("   "))), (22, 0));
        assert_eq!(width_of_words(&Line::from(vec![Span::raw("a b "), Span::raw("  ")])), 3);
    }

    proptest! {
        #[test]
        fn clipped_and_wrapped_text_fits(text in ".*", width in 2_usize..40) {
            prop_assert!(clip(&text, width).width() <= width);
            let line = Line::from(vec![Span::raw(text.as_str()), Span::raw("  end")]);
            prop_assert!(clip_line(line, width).width() <= width);
            for line in wrap(&shown(&text), width) {
                prop_assert!(line.width() <= width, "{line:?}");
            }
        }
    }
}
