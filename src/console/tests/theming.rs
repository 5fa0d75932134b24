//! Every screen in each theme: what it says is the same without colour, and a changed theme is seen.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use ratatui::buffer::Buffer;
use ratatui::style::{Color, Modifier, Style};

use super::*;
use crate::console::guardrails::{Asks, Pattern, Rule, Rules};
use crate::console::theme::{Background, Colour, Name};

/// A screen as a theme draws it.
struct Drawn {
    title: &'static str,
    size: (u16, u16),
    theme: Name,
    buffer: Buffer,
}

/// Every screen in every theme at every one of `sizes`, in a context with a colour of its own.
async fn every_screen(sizes: &[(u16, u16)]) -> Vec<Drawn> {
    let mut all = Vec::new();
    for title in screens::titles() {
        let mut tester = screens::opened(title, true, (120, 40)).await;
        guard(&mut tester);
        for size in sizes {
            tester.resize(*size).await;
            for theme in Name::ALL {
                let buffer = drawn_in(&mut tester, theme).await;
                all.push(Drawn { title, size: *size, theme, buffer });
            }
        }
    }
    all
}

/// The context gets a rule, and with it a colour.
fn guard(tester: &mut Tester) {
    let asks = Asks { colour: Some(Colour::Red), ..Asks::default() };
    let profile = Some(Pattern::new("prod"));
    let app = &mut tester.runtime.app;
    app.rules = Rules(vec![Rule { name: "prod".into(), profile, account: None, region: None, asks }]);
    app.guard_here();
}

async fn drawn_in(tester: &mut Tester, theme: Name) -> Buffer {
    tester.runtime.app.choose_theme(theme.as_str()).unwrap();
    // It says which theme that is.
    tester.runtime.app.notice = None;
    tester.look().await;
    tester.runtime.terminal().backend().buffer().clone()
}

fn words(buffer: &Buffer) -> String {
    buffer.content().iter().map(ratatui::buffer::Cell::symbol).collect()
}

#[tokio::test]
async fn every_screen_says_the_same_in_every_theme_so_that_colour_is_never_needed() {
    let all = every_screen(&[(400, 120), (120, 40), (80, 24), (40, 12), (1, 1)]).await;
    for themes in all.chunks(Name::ALL.len()) {
        for drawn in themes {
            let first = &themes[0];
            assert_eq!((first.title, first.size), (drawn.title, drawn.size));
            assert_eq!(
                words(&drawn.buffer),
                words(&first.buffer),
                "{} in {:?} at {:?}",
                drawn.title,
                drawn.theme,
                drawn.size
            );
        }
    }
}

#[tokio::test]
async fn text_and_background_stay_the_terminals_own_and_mono_has_no_colour_at_all() {
    for Drawn { title, theme, buffer, .. } in every_screen(&[(120, 40)]).await {
        // The first line is the context's own bar.
        for cell in buffer.content().iter().skip(120) {
            assert_eq!(cell.bg, Color::Reset, "{title} in {theme:?}");
        }
        if theme == Name::Mono {
            let coloured = buffer.content().iter().find(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset);
            assert_eq!(coloured, None, "{title}");
        }
    }
}

/// The screen with its styles: where a style begins, it is written in braces.
fn marked(buffer: &Buffer) -> String {
    let mut out = String::new();
    for row in buffer.content().chunks(usize::from(buffer.area.width)) {
        let mut before = Style::reset();
        let mut line = String::new();
        for cell in row {
            let style = cell.style();
            if style != before {
                write!(line, "{{{}}}", marks(style)).unwrap();
                before = style;
            }
            line.push_str(cell.symbol());
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

fn marks(style: Style) -> String {
    let mut marks = Vec::new();
    match style.fg {
        None | Some(Color::Reset) => {}
        Some(colour) => marks.push(colour.to_string()),
    }
    match style.bg {
        None | Some(Color::Reset) => {}
        Some(colour) => marks.push(format!("on {colour}")),
    }
    for (modifier, name) in [(Modifier::BOLD, "bold"), (Modifier::DIM, "dim"), (Modifier::REVERSED, "reversed")] {
        if style.add_modifier.contains(modifier) {
            marks.push(name.to_owned());
        }
    }
    marks.join(" ")
}

#[tokio::test]
async fn a_small_screen_in_each_theme() {
    for name in Name::ALL {
        let mut tester = Tester::watching(Screen::Tables, Mode::Normal, (60, 15));
        guard(&mut tester);
        let drawn = drawn_in(&mut tester, name).await;
        insta::assert_snapshot!(format!("the_tables_in_{}", spelled(name)), marked(&drawn));
    }
}

/// As the name of a file.
fn spelled(name: Name) -> String {
    name.as_str().replace('-', "_")
}

/// Words that have a style are told apart by what is drawn around them, and by gaps.
fn is_between(c: char) -> bool {
    c == ' ' || ('\u{2500}'..='\u{257f}').contains(&c)
}

/// A run of one style, as it is listed: charts and numbers differ too much to be told apart.
fn listed(run: &str) -> Option<String> {
    let run = run.trim_matches(is_between);
    let is_chart = |c: char| ('\u{2800}'..='\u{28ff}').contains(&c) || "█▇▆▅▄▃▂▁▉▊▋▌▍▎▏░".contains(c);
    if run.is_empty() {
        None
    } else if run.chars().any(is_chart) {
        Some("(chart)".to_owned())
    } else if run.chars().any(char::is_alphabetic) || !run.chars().any(char::is_numeric) {
        Some(run.to_owned())
    } else {
        Some("(number)".to_owned())
    }
}

/// True of the same words, and of an end of them that looks out from under something that lies over it.
fn is_told_by(known: &str, words: &str) -> bool {
    known == words || words.chars().count() > 1 && (known.starts_with(words) || known.ends_with(words))
}

/// Which styles there are, and on which words, each told once, by the screen that it is first on.
fn styles<'a>(screens: impl Iterator<Item = &'a Drawn>) -> String {
    let mut by_style: BTreeMap<String, Vec<(&str, Vec<String>)>> = BTreeMap::new();
    for Drawn { title, buffer, .. } in screens {
        let width = usize::from(buffer.area.width);
        for row in buffer.content().chunks(width) {
            for run in row.chunk_by(|one, next| one.style() == next.style()) {
                let style = marks(run[0].style());
                let text: String = run.iter().map(ratatui::buffer::Cell::symbol).collect();
                for words in text.split("  ").filter_map(listed).filter(|_| !style.is_empty()) {
                    let told = by_style.entry(style.clone()).or_default();
                    if told.iter().flat_map(|(_, known)| known).any(|known| is_told_by(known, &words)) {
                        continue;
                    }
                    match told.last_mut() {
                        Some((last, known)) if last == title => known.push(words),
                        _ => told.push((title, vec![words])),
                    }
                }
            }
        }
    }
    let mut out = String::new();
    for (style, told) in by_style {
        writeln!(out, "{{{style}}}").unwrap();
        for (title, words) in told {
            writeln!(out, "  {title}: {}", words.join(" | ")).unwrap();
        }
    }
    out
}

#[tokio::test]
async fn which_words_have_which_style_in_every_theme_at_every_size() {
    let all = every_screen(&screens::FOUR_SIZES).await;
    for size in screens::FOUR_SIZES {
        for theme in Name::ALL {
            let here = all.iter().filter(|drawn| drawn.size == size && drawn.theme == theme);
            let name = format!("styles_in_{}_{}x{}", spelled(theme), size.0, size.1);
            insta::assert_snapshot!(name, styles(here));
        }
    }
}

#[tokio::test]
async fn the_terminals_background_chooses_the_theme_when_it_is_told_however_late() {
    let mut tester = Tester::watching(Screen::Tables, Mode::Normal, (120, 40));
    tester.runtime.app.themes.chosen = None;
    tester.runtime.app.draw_in_theme();
    assert_eq!(tester.runtime.app.theme.name, Name::Dark);
    tester.send(Msg::Background(Background::Light));
    tester.look().await;
    assert_eq!(tester.runtime.app.theme.name, Name::Light);
    tester.runtime.app.choose_theme("colour-blind").unwrap();
    tester.send(Msg::Background(Background::Dark));
    tester.look().await;
    assert_eq!(tester.runtime.app.theme.name, Name::ColourBlind);
    assert!(tester.runtime.app.choose_theme("lihgt").unwrap_err().contains("light"));
    tester.runtime.app.choose_theme("auto").unwrap();
    assert_eq!(tester.runtime.app.theme.name, Name::Dark);
}
