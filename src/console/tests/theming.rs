//! The main screens in each theme: what they say is the same without colour, and a changed theme is seen.

use std::fmt::Write as _;

use ratatui::buffer::Buffer;
use ratatui::style::{Color, Modifier, Style};

use super::*;
use crate::console::guardrails::{Asks, Pattern, Rule, Rules};
use crate::console::theme::{Background, Colour, Name};

async fn main_screens(name: Name, unicode: bool, size: (u16, u16)) -> Vec<(&'static str, Buffer)> {
    let mut drawn = Vec::new();
    for (title, screen, keys) in [
        ("tables", Screen::Tables, ""),
        ("streams", Screen::Streams, ""),
        ("jobs", Screen::Jobs, ""),
        ("a table", Screen::Tables, "down enter"),
        ("a job", r7f3a(), ""),
        ("a question", r7f3a(), "+"),
        ("help", Screen::Tables, "?"),
        ("contexts", Screen::Tables, "P"),
    ] {
        let mut tester = Tester::watching(screen, Mode::Normal, size);
        tester.runtime.app.themes.unicode = unicode;
        tester.runtime.app.choose_theme(name.as_str()).unwrap();
        tester.runtime.app.notice = None;
        let asks = Asks { colour: Some(Colour::Red), ..Asks::default() };
        let profile = Some(Pattern::new("prod"));
        tester.runtime.app.rules =
            Rules(vec![Rule { name: "prod".into(), profile, account: None, region: None, asks }]);
        tester.runtime.app.guard_here();
        if !keys.is_empty() {
            tester.press(keys).await;
        }
        tester.look().await;
        drawn.push((title, tester.runtime.terminal().backend().buffer().clone()));
    }
    drawn
}

fn words(buffer: &Buffer) -> String {
    buffer.content().iter().map(ratatui::buffer::Cell::symbol).collect()
}

#[tokio::test]
async fn every_screen_says_the_same_in_every_theme_so_that_colour_is_never_needed() {
    for size in [(400, 120), (120, 40), (80, 24), (40, 12), (1, 1)] {
        let mono = main_screens(Name::Mono, true, size).await;
        for name in Name::ALL {
            for ((title, drawn), (_, plain)) in main_screens(name, true, size).await.iter().zip(&mono) {
                assert_eq!(words(drawn), words(plain), "{title} in {name:?} at {size:?}");
            }
        }
    }
}

#[tokio::test]
async fn text_and_background_stay_the_terminals_own_and_mono_has_no_colour_at_all() {
    for name in Name::ALL {
        for (title, drawn) in main_screens(name, true, (120, 40)).await {
            // The first line is the context's own bar.
            for cell in drawn.content().iter().skip(120) {
                assert_eq!(cell.bg, Color::Reset, "{title} in {name:?}");
            }
            if name == Name::Mono {
                let coloured = drawn.content().iter().find(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset);
                assert_eq!(coloured, None, "{title}");
            }
        }
    }
}

#[tokio::test]
async fn without_unicode_every_screen_is_ascii_but_for_what_it_was_told() {
    for (title, drawn) in main_screens(Name::Dark, false, (120, 40)).await {
        // Names of jobs and what people wrote may hold anything: arrows, ellipses and dots between are ours.
        let strange: String = words(&drawn).chars().filter(|c| !c.is_ascii() && !"←→…·×≥µ".contains(*c)).collect();
        assert_eq!(strange, "", "{title}");
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
        let drawn = main_screens(name, true, (60, 15)).await;
        let (_, tables) = &drawn[0];
        insta::assert_snapshot!(format!("the_tables_in_{}", name.as_str().replace('-', "_")), marked(tables));
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
