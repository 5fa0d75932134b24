//! A bar: how much of a whole.

use ratatui::style::Style;
use ratatui::text::Span;

use crate::console::theme::Theme;
/// `part` of `whole` over `width` columns, to an eighth of a column, with the rest as a rail when `rail` is set.
pub fn bar(theme: &Theme, part: f64, whole: f64, width: usize, style: Style, rail: bool) -> Vec<Span<'static>> {
    let share = if whole > 0.0 { (part / whole).clamp(0.0, 1.0) } else { 0.0 };
    let eighths = (share * (width * 8) as f64).round() as usize;
    // Something is never shown as nothing, and not quite everything never as everything.
    let eighths = match eighths {
        0 if part > 0.0 && width > 0 => 1,
        all if all == width * 8 && share < 1.0 => all - 1,
        other => other,
    };
    let glyphs = theme.glyphs;
    let mut full = glyphs.bar_full.repeat(eighths / 8);
    let mut used = eighths / 8;
    if eighths % 8 > 0 && used < width {
        full.push_str(glyphs.bar_parts[eighths % 8]);
        used += 1;
    }
    let rest = if rail { glyphs.bar_rail } else { " " }.repeat(width - used);
    vec![Span::styled(full, style), Span::styled(rest, theme.dim)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(part: f64, whole: f64) -> String {
        bar(&Theme::plain(true), part, whole, 10, Style::new(), true).iter().map(|s| s.content.as_ref()).collect()
    }

    #[test]
    fn a_bar_is_full_only_when_everything_is_there() {
        assert_eq!(text(46.0, 100.0), "████▋─────");
        assert_eq!(text(100.0, 100.0), "██████████");
        assert_eq!(text(99_999.0, 100_000.0), "█████████▉");
        assert_eq!(text(1.0, 100_000.0), "▏─────────");
        assert_eq!(text(0.0, 0.0), "──────────");
        assert_eq!(text(300.0, 100.0), "██████████");
    }
}
