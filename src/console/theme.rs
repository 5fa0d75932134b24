//! What colours and glyphs mean. Colour says one thing each time, and nothing that words or marks don't say too.

use std::ffi::OsString;

use ratatui::style::{Color, Modifier, Style};
use ratatui::symbols::border;

/// Styles by meaning, and the glyphs that the terminal can show.
#[derive(Clone, Copy, Debug)]
pub struct Theme {
    /// Selection and keys.
    pub accent: Style,
    /// Throttled or behind.
    pub warn: Style,
    /// Lost or failed.
    pub bad: Style,
    /// Proven.
    pub good: Style,
    /// Of lesser weight: headers, rails, units.
    pub dim: Style,
    /// Of greater weight.
    pub strong: Style,
    /// The selected row, over what its cells have.
    pub selected: Style,
    /// What shapes are drawn with.
    pub glyphs: &'static Glyphs,
}

/// The characters that shapes are made of.
#[derive(Debug)]
pub struct Glyphs {
    /// Marks the selected row.
    pub cursor: &'static str,
    /// Before a warning.
    pub warn: &'static str,
    /// A live job.
    pub dot: &'static str,
    /// A throttled second.
    pub mark: &'static str,
    /// A full column of a bar.
    pub bar_full: &'static str,
    /// Bars of 0 to 7 eighths.
    pub bar_parts: [&'static str; 8],
    /// What is left of a bar.
    pub bar_rail: &'static str,
    /// Columns of a sparkline, low to high.
    pub sparks: &'static [&'static str],
    /// Corner and line of a chart's axes: vertical, corner, horizontal.
    pub axes: [&'static str; 3],
    /// Sorted downwards, upwards.
    pub sorted: [&'static str; 2],
    /// Borders of a box.
    pub border: border::Set<'static>,
    /// Charts are drawn in braille; otherwise one character a point.
    pub braille: bool,
}

const UNICODE: Glyphs = Glyphs {
    cursor: "▸",
    warn: "▲",
    dot: "●",
    mark: "▾",
    bar_full: "█",
    bar_parts: ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"],
    bar_rail: "─",
    sparks: &["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"],
    axes: ["│", "└", "─"],
    sorted: ["▼", "▲"],
    border: border::PLAIN,
    braille: true,
};

const ASCII: Glyphs = Glyphs {
    cursor: ">",
    warn: "!",
    dot: "*",
    mark: "v",
    bar_full: "#",
    bar_parts: ["", "-", "-", "-", "=", "=", "=", "#"],
    bar_rail: ".",
    sparks: &["_", ".", "-", "=", "#"],
    axes: ["|", "+", "-"],
    sorted: ["v", "^"],
    border: border::Set {
        top_left: "+",
        top_right: "+",
        bottom_left: "+",
        bottom_right: "+",
        vertical_left: "|",
        vertical_right: "|",
        horizontal_top: "-",
        horizontal_bottom: "-",
    },
    braille: false,
};

/// Which colours carry the meanings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Palette {
    /// The terminal's own sixteen, which its owner chose.
    Terminal,
    /// Darker tones for a light background.
    Light,
    /// Okabe and Ito's, told apart by colour-blind eyes.
    ColourBlind,
    /// None: weight and inversion instead.
    None,
}

impl Theme {
    /// The theme for `palette`, in Unicode or ASCII.
    pub const fn new(palette: Palette, unicode: bool) -> Self {
        let plain = Style::new();
        let bold = plain.add_modifier(Modifier::BOLD);
        // Accent, warn, bad, good.
        let colours = match palette {
            Palette::Terminal => [Color::Cyan, Color::Yellow, Color::Red, Color::Green],
            Palette::Light => [Color::Indexed(25), Color::Indexed(130), Color::Indexed(124), Color::Indexed(22)],
            Palette::ColourBlind => [Color::Indexed(39), Color::Indexed(214), Color::Indexed(202), Color::Indexed(36)],
            Palette::None => [Color::Reset; 4],
        };
        let [accent, warn, bad, good] = colours;
        let selected = match palette {
            Palette::None => plain.add_modifier(Modifier::REVERSED),
            _ => plain.fg(accent).add_modifier(Modifier::BOLD),
        };
        Self {
            accent: bold.fg(accent),
            warn: plain.fg(warn),
            bad: bold.fg(bad),
            good: plain.fg(good),
            dim: plain.add_modifier(Modifier::DIM),
            strong: bold,
            selected,
            glyphs: if unicode { &UNICODE } else { &ASCII },
        }
    }

    /// True when it is made for dark text on a light ground.
    pub fn is_light(&self) -> bool {
        self.accent.fg == Some(Color::Indexed(25))
    }

    /// No colours.
    pub const fn plain(unicode: bool) -> Self {
        Self::new(Palette::None, unicode)
    }

    /// The theme that the environment asks for: `NO_COLOR`, `TERM`, the locale, `SLUICE_THEME`
    /// (`terminal`, `light`, `colour-blind`, `plain`) and `SLUICE_ASCII`.
    pub fn from_environment(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let word = |name: &str| variable(name).map(|v| v.to_string_lossy().to_lowercase()).filter(|v| !v.is_empty());
        let term = word("TERM").unwrap_or_default();
        let palette = if word("NO_COLOR").is_some() || term == "dumb" {
            Palette::None
        } else {
            match word("SLUICE_THEME").as_deref() {
                Some("light") => Palette::Light,
                Some("colour-blind" | "color-blind" | "colorblind") => Palette::ColourBlind,
                Some("plain") => Palette::None,
                _ => Palette::Terminal,
            }
        };
        // POSIX: LC_ALL over LC_CTYPE over LANG; none of them is the C locale.
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].iter().find_map(|name| word(name)).unwrap_or_default();
        let unicode = (locale.contains("utf-8") || locale.contains("utf8"))
            && !matches!(term.as_str(), "dumb" | "linux" | "vt100" | "vt220")
            && word("SLUICE_ASCII").is_none();
        Self::new(palette, unicode)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(variables: &[(&str, &str)]) -> Theme {
        Theme::from_environment(|name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value))
        })
    }

    #[test]
    fn no_color_takes_every_colour_away() {
        let theme = from(&[("NO_COLOR", "1"), ("LANG", "en_GB.UTF-8")]);
        for style in [theme.accent, theme.warn, theme.bad, theme.good, theme.selected] {
            assert!(matches!(style.fg, None | Some(Color::Reset)), "{style:?}");
        }
        assert!(theme.glyphs.braille);
    }

    #[test]
    fn a_terminal_without_unicode_gets_ascii() {
        assert!(!from(&[("LANG", "C")]).glyphs.braille);
        assert!(!from(&[]).glyphs.braille);
        assert!(!from(&[("LANG", "C.UTF-8"), ("TERM", "linux")]).glyphs.braille);
        assert!(!from(&[("LC_ALL", "C"), ("LANG", "C.UTF-8")]).glyphs.braille);
        assert!(from(&[("LANG", "C.UTF-8"), ("TERM", "xterm")]).glyphs.braille);
        let all = format!("{ASCII:?}");
        assert!(all.is_ascii(), "{all}");
    }
}
