//! Text on screen, measured in columns.

use std::ops::Range;

use ratatui::text::{Line, Span};
use tui_input::Input;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

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
    let (mut out, mut taken) = (String::new(), 0);
    for c in text.chars() {
        taken += columns(c);
        if taken + 1 > width {
            break;
        }
        out.push(c);
    }
    if width > 0 {
        out.push('…');
    }
    out
}

/// `text` broken at spaces into lines of at most `width` columns; longer words are cut.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    rows(text, width).into_iter().map(|row| text[row].to_owned()).collect()
}

/// Which parts of `text` stand in a row each when it is broken as [`wrap`] does: in one walk, whatever its words are.
pub fn rows(text: &str, width: usize) -> Vec<Range<usize>> {
    let width = width.max(1);
    let mut rows = Vec::new();
    // The last row, and the columns that it takes.
    let (mut row, mut taken) = (0..0, 0);
    let mut at = 0;
    for word in text.split(' ') {
        let gap = usize::from(!row.is_empty());
        let wide: usize = word.chars().map(columns).sum();
        if taken + gap + wide > width && gap == 1 {
            rows.push(std::mem::take(&mut row));
            taken = 0;
        }
        if row.is_empty() {
            row = at..at;
        } else {
            taken += 1;
        }
        for (offset, c) in word.char_indices() {
            // At least one character a row, or it would never end.
            if taken + columns(c) > width && !row.is_empty() {
                rows.push(std::mem::replace(&mut row, at + offset..at + offset));
                taken = 0;
            }
            row.end = at + offset + c.len_utf8();
            taken += columns(c);
        }
        if word.is_empty() {
            row.end = at;
        }
        at += word.len() + 1;
    }
    rows.push(row);
    rows
}

/// The columns that `text` takes, or `most` where it takes more: the rest is not looked at.
pub fn width_up_to(text: &str, most: usize) -> usize {
    let mut wide = 0;
    for c in text.chars() {
        wide += columns(c);
        if wide >= most {
            return most;
        }
    }
    wide
}

/// The columns that a character takes at most, whatever stands beside it.
fn columns(c: char) -> usize {
    match c {
        c if c.is_ascii() => 1,
        // They make the one before them wider.
        '\u{fe01}' | '\u{fe0f}' => 1,
        c => c.width().unwrap_or(1),
    }
}

/// A line as it stands, its indent kept where lines are broken at spaces.
pub fn indented(line: &str) -> String {
    let text = line.trim_start_matches(' ');
    format!("{}{text}", "\u{a0}".repeat(line.len() - text.len()))
}

/// What of a typed line is in sight in `room` columns, and in which of them its cursor stands: escaped, and scrolled so far that
/// the cursor is in sight, with `…` where something is left out before it.
pub fn typed(input: &Input, room: usize) -> (String, usize) {
    let before: String = input.value().chars().take(input.cursor()).collect();
    let after = &input.value()[before.len()..];
    let before = shown(&before);
    let wide: usize = before.chars().map(columns).sum();
    // The cursor has a column of its own, and where the line goes on behind it the mark of that another.
    let needed = wide + 1 + usize::from(!after.is_empty());
    if needed <= room {
        return (format!("{before}{}", shown(after)), wide);
    }
    let (mut gone, mut rest) = (0, before.as_str());
    // One more for the mark.
    while gone < needed + 1 - room
        && let Some(c) = rest.chars().next()
    {
        gone += columns(c);
        rest = &rest[c.len_utf8()..];
    }
    (format!("…{rest}{}", shown(after)), 1 + wide - gone)
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
        assert_eq!(clip("\u{2764}\u{fe0f}\u{2764}\u{fe0f}", 3), "\u{2764}\u{fe0f}…");
        // Accents without end are walked once.
        let accents = format!("a{}bc", "\u{301}".repeat(1 << 19));
        assert_eq!(clip(&accents, 2).chars().count(), (1 << 19) + 2);
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

    #[test]
    fn text_is_broken_at_spaces_and_words_that_are_too_long_anywhere() {
        assert_eq!(wrap("a table of restore", 8), ["a table", "of", "restore"]);
        assert_eq!(wrap("to abcdefghij k", 4), ["to", "abcd", "efgh", "ij k"]);
        assert_eq!(wrap("  a  b", 9), ["a  b"]);
        assert_eq!(wrap("", 9), [""]);
        assert_eq!(wrap("日本語", 1), ["日", "本", "語"]);
        assert_eq!(wrap("日本語 a", 5), ["日本", "語 a"]);
    }

    #[test]
    fn a_word_of_a_mebibyte_is_walked_once() {
        let word = "x".repeat(1 << 20);
        let lines = wrap(&word, 76);
        assert_eq!(lines.len(), (1_usize << 20).div_ceil(76));
        assert_eq!(lines.concat(), word);
        assert_eq!((width_up_to(&word, 80), width_up_to("日本", 80)), (80, 4));
    }

    #[test]
    fn what_is_typed_is_in_sight_where_its_cursor_stands() {
        let at = |text: &str, cursor, room| typed(&Input::new(text.to_owned()).with_cursor(cursor), room);
        assert_eq!(at("table.csv", 9, 10), ("table.csv".to_owned(), 9));
        assert_eq!(at("/home/op/table.csv", 18, 10), ("…able.csv".to_owned(), 9));
        assert_eq!(at("/home/op/table.csv", 0, 10), ("/home/op/table.csv".to_owned(), 0));
        assert_eq!(at("/home/op/table.csv", 12, 10), ("…/op/table.csv".to_owned(), 8));
        assert_eq!(at("日本語日本語", 6, 6), ("…本語".to_owned(), 5));
        assert_eq!(at("a\u{200b}b", 2, 20), ("a\\u{200b}b".to_owned(), 9));
    }

    proptest! {
        #[test]
        fn a_typed_line_has_its_cursor_within_its_room(text in ".{0,40}", cursor in 0_usize..40, room in 4_usize..30) {
            let (seen, at) = typed(&Input::new(text.clone()).with_cursor(cursor), room);
            prop_assert!(at < room, "{seen:?} {at}");
        }

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
