//! Text from elsewhere, made safe for a page; times as a page says them.

use jiff::Timestamp;

/// Text with everything shown that would otherwise be obeyed or unseen: control characters, and those that turn the
/// direction of a line or have no width.
pub fn shown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || is_unseen(c) { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    shown
}

fn is_unseen(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

/// [`shown`] text for HTML and SVG, in content and in attributes.
pub fn html(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in shown(text).chars() {
        match (c, entity(c)) {
            (_, Some(entity)) => safe.push_str(entity),
            ('"', _) => safe.push_str("&quot;"),
            ('\'', _) => safe.push_str("&#39;"),
            (c, _) => safe.push(c),
        }
    }
    safe
}

/// What stands for a character that would begin markup in HTML, which Markdown passes on.
fn entity(c: char) -> Option<&'static str> {
    match c {
        '&' => Some("&amp;"),
        '<' => Some("&lt;"),
        '>' => Some("&gt;"),
        _ => None,
    }
}

/// [`shown`] text for Markdown: no markup, no HTML, no link that nobody wrote.
pub fn markdown(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in shown(text).chars() {
        match (c, entity(c)) {
            (_, Some(entity)) => safe.push_str(entity),
            // GitHub makes links of bare addresses.
            ('@', _) => safe.push_str("&#64;"),
            (c, _) if "\\`*_{}[]()#+!|~=$".contains(c) => safe.extend(['\\', c]),
            (c, _) => safe.push(c),
        }
    }
    // At the start of a line these make a list or a rule.
    let is_list = safe.starts_with('-') || safe.starts_with(|c: char| c.is_ascii_digit()) && safe.contains(". ");
    let safe = safe.replace("://", "&#58;//").replace("www.", "www&#46;");
    match safe.strip_prefix('-') {
        Some(rest) => format!("\\-{rest}"),
        None if is_list => safe.replacen(". ", "\\. ", 1),
        None => safe,
    }
}

/// At most `most` characters of `text`, with what was cut told.
pub fn clip(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some((at, _)) => format!("{}… ({} bytes in all)", &text[..at], text.len()),
    }
}

/// `2026-11-21 14:03:27`, UTC.
pub fn moment(at_ms: i64) -> String {
    format(at_ms, "%Y-%m-%d %H:%M:%S")
}

/// A moment in `jiff`'s `strftime` form, UTC.
pub fn format(at_ms: i64, form: &str) -> String {
    let at = Timestamp::from_millisecond(at_ms).unwrap_or_default();
    at.to_zoned(jiff::tz::TimeZone::UTC).strftime(form).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_page_would_obey_is_shown() {
        assert_eq!(shown("a\u{1b}[2Jb\u{202e}c\n"), "a\\u{1b}[2Jb\\u{202e}c\\n");
        assert_eq!(html("<script>'\"&"), "&lt;script&gt;&#39;&quot;&amp;");
        assert_eq!(markdown("![x](http://e)|<b>"), "\\!\\[x\\]\\(http&#58;//e\\)\\|&lt;b&gt;");
        assert_eq!(markdown("www.e.com a@b"), "www&#46;e.com a&#64;b");
        assert_eq!([markdown("- a"), markdown("1. a"), markdown("1.5")], ["\\- a", "1\\. a", "1.5"]);
    }

    #[test]
    fn a_long_text_is_cut_between_characters_and_says_so() {
        assert_eq!(clip("äöü", 3), "äöü");
        assert_eq!(clip("äöüx", 2), "äö… (7 bytes in all)");
    }
}
