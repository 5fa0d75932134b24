//! What colours and glyphs mean. Colour says one thing each time, and nothing that words or marks don't say too.

use std::ffi::OsString;
use std::str::FromStr;

use ratatui::style::{Color, Modifier, Style};
use ratatui::symbols::border;

use super::app::App;
use super::chord::nearest;

/// Styles by meaning, and the glyphs that the terminal can show.
#[derive(Clone, Copy, Debug)]
pub struct Theme {
    /// Its name.
    pub name: Name,
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

/// A theme by its name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Name {
    /// Light tones for a dark background.
    #[default]
    Dark,
    /// Dark tones for a light background.
    Light,
    /// Okabe and Ito's hues, which colour-blind eyes tell apart, for a dark background.
    ColourBlind,
    /// The same hues, darker, for a light background.
    ColourBlindLight,
    /// No colour: weight and inversion instead.
    Mono,
    /// The terminal's own sixteen, which its owner chose.
    Terminal,
}

impl Name {
    /// All of them, in the order that a list shows.
    pub const ALL: [Self; 6] =
        [Self::Dark, Self::Light, Self::ColourBlind, Self::ColourBlindLight, Self::Mono, Self::Terminal];

    /// As `config.toml` and `SLUICE_THEME` spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Dark => "dark",
            Self::Light => "light",
            Self::ColourBlind => "colour-blind",
            Self::ColourBlindLight => "colour-blind-light",
            Self::Mono => "mono",
            Self::Terminal => "terminal",
        }
    }

    /// What it is for, in words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Dark => "for a dark background",
            Self::Light => "for a light background",
            Self::ColourBlind => "told apart by colour-blind eyes, for a dark background",
            Self::ColourBlindLight => "told apart by colour-blind eyes, for a light background",
            Self::Mono => "no colour: weight and inversion",
            Self::Terminal => "the terminal's own sixteen colours",
        }
    }

    /// Accent, warn, bad, good: of xterm's 256 colours, whose tones are the same everywhere.
    const fn colours(self) -> [Color; 4] {
        match self {
            Self::Dark => [Color::Indexed(80), Color::Indexed(221), Color::Indexed(210), Color::Indexed(114)],
            Self::Light => [Color::Indexed(25), Color::Indexed(94), Color::Indexed(124), Color::Indexed(22)],
            // Sky blue, yellow, vermillion, bluish green.
            Self::ColourBlind => [Color::Indexed(74), Color::Indexed(227), Color::Indexed(202), Color::Indexed(36)],
            // Blue, orange, reddish purple, bluish green.
            Self::ColourBlindLight => [Color::Indexed(25), Color::Indexed(94), Color::Indexed(125), Color::Indexed(23)],
            Self::Terminal => [Color::Cyan, Color::Yellow, Color::Red, Color::Green],
            Self::Mono => [Color::Reset; 4],
        }
    }
}

impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim().to_lowercase().replace("color", "colour").replace("colourblind", "colour-blind");
        // As earlier versions spelled it.
        let text = if text == "plain" { "mono".to_owned() } else { text };
        let names = Self::ALL.map(Self::as_str);
        let found = Self::ALL.into_iter().find(|name| name.as_str() == text);
        found.ok_or_else(|| format!("there is no theme {text:?}{}", nearest(&text, &names)))
    }
}

/// The colour of a context's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// Production, as most choose.
    Red,
    /// Halfway.
    Yellow,
    /// Harmless.
    Green,
    /// Another place.
    Blue,
    /// Yet another.
    Purple,
}

impl Colour {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Red, Self::Yellow, Self::Green, Self::Blue, Self::Purple];

    /// As `config.toml` spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Red => "red",
            Self::Yellow => "yellow",
            Self::Green => "green",
            Self::Blue => "blue",
            Self::Purple => "purple",
        }
    }

    /// Background and text of xterm's 256 colours.
    const fn indexed(self) -> (u8, u8) {
        match self {
            Self::Red => (124, 231),
            Self::Yellow => (220, 16),
            Self::Green => (22, 231),
            Self::Blue => (25, 231),
            Self::Purple => (90, 231),
        }
    }
}

impl FromStr for Colour {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = Self::ALL.map(Self::as_str);
        let found = Self::ALL.into_iter().find(|colour| colour.as_str() == text);
        found.ok_or_else(|| format!("there is no colour {text:?}{}", nearest(text, &names)))
    }
}

impl Theme {
    /// The theme of that name, in Unicode or ASCII.
    pub const fn new(name: Name, unicode: bool) -> Self {
        let plain = Style::new();
        let bold = plain.add_modifier(Modifier::BOLD);
        let [accent, warn, bad, good] = name.colours();
        let selected = match name {
            Name::Mono => plain.add_modifier(Modifier::REVERSED),
            _ => plain.fg(accent).add_modifier(Modifier::BOLD),
        };
        Self {
            name,
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
        Self::new(Name::Mono, unicode)
    }

    /// The header of a context that has a colour of its own.
    pub fn header(&self, colour: Colour) -> Style {
        let bold = Style::new().add_modifier(Modifier::BOLD);
        match self.name {
            Name::Mono => bold.add_modifier(Modifier::REVERSED),
            Name::Terminal => match colour {
                Colour::Red => bold.bg(Color::Red).fg(Color::White),
                Colour::Yellow => bold.bg(Color::Yellow).fg(Color::Black),
                Colour::Green => bold.bg(Color::Green).fg(Color::Black),
                Colour::Blue => bold.bg(Color::Blue).fg(Color::White),
                Colour::Purple => bold.bg(Color::Magenta).fg(Color::White),
            },
            _ => {
                let (back, text) = colour.indexed();
                bold.bg(Color::Indexed(back)).fg(Color::Indexed(text))
            }
        }
    }
}

/// What a terminal's background is, as far as themes care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Background {
    /// Dark: light text.
    Dark,
    /// Light: dark text.
    Light,
}

/// Everything that decides which theme is drawn, each over the next: none at all (`NO_COLOR`), the one chosen while the
/// console runs, the environment's, the context's, `config.toml`'s, the terminal's background.
#[derive(Clone, Debug, Default)]
pub struct Themes {
    /// Chosen while the console runs.
    pub chosen: Option<Name>,
    /// `SLUICE_THEME`.
    pub environment: Option<Name>,
    /// `theme = …` of `config.toml`.
    pub config: Option<Name>,
    /// What the terminal said of its background, else `COLORFGBG`.
    pub background: Option<Background>,
    /// Draw in Unicode.
    pub unicode: bool,
    /// `NO_COLOR`, or a terminal that has none.
    pub colourless: bool,
    /// The terminal has sixteen colours at most.
    pub sixteen: bool,
    /// What is wrong with `SLUICE_THEME`.
    pub mistake: Option<String>,
}

/// Terminals that are known to have no more than sixteen colours, unless `COLORTERM` says otherwise.
const SIXTEEN: [&str; 8] = ["xterm", "screen", "linux", "ansi", "rxvt", "cygwin", "vt100", "vt220"];

impl Themes {
    /// What the environment says: `NO_COLOR`, `TERM`, `COLORTERM`, `COLORFGBG`, the locale, `SLUICE_THEME`, `SLUICE_ASCII`.
    pub fn from_environment(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let word = |name: &str| variable(name).map(|v| v.to_string_lossy().to_lowercase()).filter(|v| !v.is_empty());
        let term = word("TERM").unwrap_or_default();
        // POSIX: LC_ALL over LC_CTYPE over LANG; none of them is the C locale.
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].iter().find_map(|name| word(name)).unwrap_or_default();
        let unicode = (locale.contains("utf-8") || locale.contains("utf8"))
            && !matches!(term.as_str(), "dumb" | "linux" | "vt100" | "vt220")
            && word("SLUICE_ASCII").is_none();
        let (environment, mistake) = match word("SLUICE_THEME").map(|name| name.parse()) {
            Some(Ok(name)) => (Some(name), None),
            Some(Err(mistake)) => (None, Some(format!("SLUICE_THEME: {mistake}"))),
            None => (None, None),
        };
        Self {
            chosen: None,
            environment,
            config: None,
            background: word("COLORFGBG").and_then(|colours| Background::of_colorfgbg(&colours)),
            unicode,
            colourless: word("NO_COLOR").is_some() || term == "dumb",
            sixteen: word("COLORTERM").is_none() && SIXTEEN.contains(&term.as_str()),
            mistake,
        }
    }

    /// That theme, whatever else is said.
    pub fn only(theme: &Theme) -> Self {
        Self { chosen: Some(theme.name), unicode: theme.glyphs.braille, ..Self::default() }
    }

    /// The theme to draw, where the context at hand wants one of its own.
    pub fn theme(&self, context: Option<Name>) -> Theme {
        let usual = match self.background {
            _ if self.sixteen => Name::Terminal,
            Some(Background::Light) => Name::Light,
            Some(Background::Dark) | None => Name::Dark,
        };
        let wanted = self.chosen.or(self.environment).or(context).or(self.config).unwrap_or(usual);
        Theme::new(if self.colourless { Name::Mono } else { wanted }, self.unicode)
    }

    /// True where the terminal's background decides, so that it is worth asking for.
    pub fn depends_on_background(&self) -> bool {
        !self.colourless && !self.sixteen && self.chosen.or(self.environment).or(self.config).is_none()
    }
}

impl Background {
    /// rxvt's and others' `COLORFGBG`, such as `15;0` or `15;default;0`: the last number is the background's.
    fn of_colorfgbg(text: &str) -> Option<Self> {
        let number: u8 = text.rsplit(';').next()?.parse().ok()?;
        match number {
            0..=6 | 8 => Some(Self::Dark),
            7 | 9..=15 => Some(Self::Light),
            _ => None,
        }
    }

    /// Of red, green and blue, each from 0 to 1: whichever text, black or white, is read better on it.
    pub fn of_rgb(rgb: [f64; 3]) -> Self {
        // Contrast with white and with black are equal at this luminance (WCAG 2.2).
        if luminance(rgb) > 0.179 { Self::Light } else { Self::Dark }
    }
}

/// WCAG 2.2's relative luminance of red, green and blue, each from 0 to 1.
pub fn luminance(rgb: [f64; 3]) -> f64 {
    let [r, g, b] = rgb.map(|c| if c <= 0.040_45 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) });
    0.2126 * r + 0.7152 * g + 0.0722 * b
}

impl App {
    /// Draws in the theme of that name from now on: `auto` goes back to what environment, context and configuration say.
    pub fn choose_theme(&mut self, name: &str) -> Result<(), String> {
        self.themes.chosen = if name == "auto" { None } else { Some(name.parse()?) };
        self.draw_in_theme();
        let words = format!("theme: {}", self.theme.name.as_str());
        let words = if self.themes.colourless { format!("{words} (NO_COLOR is set)") } else { words };
        self.say(words, false);
        Ok(())
    }

    /// Takes up the theme that holds here now.
    pub(super) fn draw_in_theme(&mut self) {
        self.theme = self.themes.theme(self.place.guardrails.theme);
        self.dirty = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(variables: &[(&str, &str)]) -> Themes {
        Themes::from_environment(|name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value))
        })
    }

    fn named(variables: &[(&str, &str)]) -> Name {
        from(variables).theme(None).name
    }

    #[test]
    fn no_color_takes_every_colour_away() {
        let theme = from(&[("NO_COLOR", "1"), ("LANG", "en_GB.UTF-8"), ("SLUICE_THEME", "light")]).theme(None);
        for style in [theme.accent, theme.warn, theme.bad, theme.good, theme.selected, theme.header(Colour::Red)] {
            assert!(matches!(style.fg, None | Some(Color::Reset)) && style.bg.is_none(), "{style:?}");
        }
        assert!(theme.glyphs.braille);
    }

    #[test]
    fn a_terminal_without_unicode_gets_ascii() {
        assert!(!from(&[("LANG", "C")]).unicode);
        assert!(!from(&[]).unicode);
        assert!(!from(&[("LANG", "C.UTF-8"), ("TERM", "linux")]).unicode);
        assert!(!from(&[("LC_ALL", "C"), ("LANG", "C.UTF-8")]).unicode);
        assert!(from(&[("LANG", "C.UTF-8"), ("TERM", "xterm")]).unicode);
        let all = format!("{ASCII:?}");
        assert!(all.is_ascii(), "{all}");
    }

    #[test]
    fn the_theme_is_the_environments_else_the_contexts_else_the_files_else_the_backgrounds() {
        let mut themes = from(&[("TERM", "xterm-256color"), ("COLORFGBG", "0;15")]);
        assert_eq!(themes.theme(None).name, Name::Light);
        themes.config = Some(Name::Dark);
        assert_eq!(themes.theme(None).name, Name::Dark);
        assert_eq!(themes.theme(Some(Name::ColourBlind)).name, Name::ColourBlind);
        themes.environment = Some(Name::Light);
        assert_eq!(themes.theme(Some(Name::ColourBlind)).name, Name::Light);
        themes.chosen = Some(Name::Mono);
        assert_eq!(themes.theme(Some(Name::ColourBlind)).name, Name::Mono);
    }

    #[test]
    fn colorfgbg_and_a_terminal_of_sixteen_colours_are_heeded() {
        assert_eq!(named(&[("TERM", "xterm-256color")]), Name::Dark);
        assert_eq!(named(&[("TERM", "rxvt-256color"), ("COLORFGBG", "15;default;0")]), Name::Dark);
        assert_eq!(named(&[("TERM", "rxvt-256color"), ("COLORFGBG", "0;default;7")]), Name::Light);
        assert_eq!(named(&[("TERM", "linux")]), Name::Terminal);
        assert_eq!(named(&[("TERM", "xterm"), ("COLORTERM", "truecolor")]), Name::Dark);
    }

    #[test]
    fn a_name_that_is_none_is_answered_with_the_nearest() {
        assert_eq!("color-blind".parse(), Ok(Name::ColourBlind));
        let said = "drak".parse::<Name>().unwrap_err();
        assert!(said.contains("did you mean \"dark\"?"), "{said}");
        assert!("rde".parse::<Colour>().unwrap_err().contains("red"));
        assert!(from(&[("SLUICE_THEME", "lihgt")]).mistake.unwrap().contains("light"));
    }

    /// Red, green and blue of a colour of xterm's cube, which terminals leave as they are.
    fn rgb(colour: Color) -> [f64; 3] {
        let Color::Indexed(n @ 16..=231) = colour else { panic!("{colour:?} is whatever its owner chose") };
        let level = |n: u8| f64::from([0, 95, 135, 175, 215, 255][usize::from(n)]) / 255.0;
        let n = n - 16;
        [level(n / 36), level(n / 6 % 6), level(n % 6)]
    }

    /// WCAG 2.2's contrast ratio.
    fn contrast(a: [f64; 3], b: [f64; 3]) -> f64 {
        let (a, b) = (luminance(a), luminance(b));
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    #[test]
    fn every_colour_of_text_can_be_read_on_the_backgrounds_that_its_theme_is_for() {
        let of = |hex: u32| [16, 8, 0].map(|shift| f64::from(hex >> shift & 0xff) / 255.0);
        // Black, VS Code's, One Dark's and Solarized's; white, GitHub's and Solarized's.
        let dark = [0x00_0000, 0x1e_1e1e, 0x28_2c34, 0x00_2b36].map(of);
        let light = [0xff_ffff, 0xf6_f8fa, 0xfd_f6e3].map(of);
        for (name, backgrounds) in [
            (Name::Dark, &dark[..]),
            (Name::ColourBlind, &dark[..]),
            (Name::Light, &light[..]),
            (Name::ColourBlindLight, &light[..]),
        ] {
            for colour in name.colours() {
                for background in backgrounds {
                    let ratio = contrast(rgb(colour), *background);
                    assert!(ratio >= 4.5, "{name:?} {colour:?} on {background:?}: {ratio:.2}");
                }
            }
        }
        for colour in Colour::ALL {
            let (back, text) = colour.indexed();
            let ratio = contrast(rgb(Color::Indexed(back)), rgb(Color::Indexed(text)));
            assert!(ratio >= 4.5, "{colour:?}: {ratio:.2}");
        }
    }

    #[test]
    fn a_background_is_light_where_black_is_read_better_on_it() {
        assert_eq!(Background::of_rgb([1.0, 1.0, 1.0]), Background::Light);
        assert_eq!(Background::of_rgb([0.99, 0.96, 0.89]), Background::Light);
        assert_eq!(Background::of_rgb([0.0, 0.17, 0.21]), Background::Dark);
    }
}
