//! The first two lines.
//!
//! ```text
//!  sluice   prod · eu-west-1 · 1111-2222-3333   READ-ONLY        creds 42m   api 3/s   14:03:27Z
//!  1 Tables   2 Streams   3 Jobs ●2
//! ```

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};

use crate::cloud::Mode;
use crate::console::app::{App, Screen};
use crate::console::keymap::{Action, Scope};
use crate::console::mouse::{Target, mark};
use crate::console::widget::quantity::{clock, dollars, duration, rate};
use crate::console::widget::text::{clip, shown};
use crate::console::widget::{write, write_right};

/// A part of the line, and when it leaves where there is no room: those with the largest number first, 0 never.
struct Part {
    span: Span<'static>,
    leaves: u8,
}

fn part(words: impl Into<String>, style: Style, leaves: u8) -> Part {
    Part { span: Span::styled(words.into(), style), leaves }
}

/// The first line.
pub fn draw(buf: &mut Buffer, area: Rect, app: &App) {
    let theme = &app.theme;
    let guardrails = &app.place.guardrails;
    let bar = guardrails.colour.map(|colour| theme.header(colour));
    if let Some(bar) = bar {
        buf.set_style(area.intersection(*buf.area()), bar);
    }
    // On a coloured bar the bar's own style is the one that can be read.
    let of = |style: Style| {
        if bar.is_some() { Style::new().add_modifier(style.add_modifier - Modifier::DIM) } else { style }
    };
    let mut left = place(app, of, area.width);
    let mut right = state(app, of, area.width);
    let wide = |parts: &[Part]| parts.iter().map(|part| part.span.width()).sum::<usize>();
    while wide(&left) + wide(&right) + 1 > usize::from(area.width) {
        let most = left.iter().chain(&right).map(|part| part.leaves).max().unwrap_or(0);
        if most == 0 {
            break;
        }
        left.retain(|part| part.leaves != most);
        right.retain(|part| part.leaves != most);
    }
    let line = |parts: Vec<Part>| Line::from(parts.into_iter().map(|part| part.span).collect::<Vec<_>>());
    let right = line(right);
    let room = area.width.saturating_sub(right.width() as u16 + 1);
    write(buf, Rect { width: room, ..area }, 0, &line(left));
    write_right(buf, area, 0, &right);
}

/// Where it acts: the name that `config.toml` gives it, profile, region, account, endpoint. Whole parts leave where there is no
/// room: half an account number is a wrong one.
fn place(app: &App, of: impl Fn(Style) -> Style, width: u16) -> Vec<Part> {
    let theme = &app.theme;
    let dot = if theme.glyphs.braille { " · " } else { " | " };
    let plain = of(Style::new());
    let mut parts = vec![part(" sluice   ", of(theme.strong), if width >= 60 { 0 } else { 6 })];
    if !app.place.guardrails.names.is_empty() {
        let names = app.place.guardrails.names.join(" ").to_uppercase();
        let lead = if width >= 60 { "" } else { " " };
        parts.push(part(format!("{lead}[{}] ", shown(&names)), of(theme.strong), 2));
    }
    let lead = if width >= 60 || !app.place.guardrails.names.is_empty() { "" } else { " " };
    parts.push(part(format!("{lead}{}", shown(&app.place.profile)), plain, 0));
    let others = match app.beside().count() {
        0 => String::new(),
        n => format!(" +{n}"),
    };
    parts.push(part(format!("{dot}{}{others}", shown(&app.place.region)), plain, 3));
    if let Some(account) = &app.account {
        parts.push(part(format!("{dot}{}", grouped(account)), plain, 7));
    }
    if let Some(endpoint) = app.place.context.endpoint_url.as_ref().filter(|_| width >= 100) {
        parts.push(part(format!("{dot}{}", shown(endpoint)), plain, 8));
    }
    parts
}

/// How it acts, and the clock.
fn state(app: &App, of: impl Fn(Style) -> Style, width: u16) -> Vec<Part> {
    let theme = &app.theme;
    let mut parts = Vec::new();
    match app.place.mode {
        Mode::ReadOnly => parts.push(part("READ-ONLY   ", of(theme.strong), 1)),
        Mode::DryRun => parts.push(part("DRY RUN   ", of(theme.strong), 1)),
        // A word of config.toml was lifted for this run.
        Mode::Normal if app.place.guardrails.read_only => parts.push(part("READ-WRITE   ", of(theme.warn), 1)),
        Mode::Normal => {}
    }
    let expiry = expiry(app);
    if let Some((words, style, is_pressing)) = expiry.filter(|(_, _, is_pressing)| *is_pressing || width >= 60) {
        parts.push(part(words, of(style), if is_pressing { 2 } else { 5 }));
    }
    if width >= 60 {
        let (words, style) = api(app, width >= 90);
        parts.push(part(words, of(style), 5));
    }
    parts.push(part(format!("{}Z ", clock(app.now_ms)), of(Style::new()), 4));
    parts
}

/// Questions a second, how many of them the budget allows, and what CloudWatch bills for an hour of what it is asked.
fn api(app: &App, with_bill: bool) -> (String, Style) {
    let bill = match app.api.dollars_per_hour().filter(|_| with_bill) {
        Some(dollars_an_hour) => format!(" cw {}/h", dollars(dollars_an_hour)),
        None => String::new(),
    };
    let held = app.api.asked.waiting;
    let budget = if app.api.budget > 0.0 { format!(" of {}", rate(app.api.budget)) } else { String::new() };
    let words = format!("api {}{budget}/s{bill}", rate(app.questions_per_second));
    if held > 0 { (format!("{words} {held} held   "), app.theme.warn) } else { (format!("{words}   "), app.theme.dim) }
}

/// What is left of the credentials, and whether that is worth a place on any screen.
fn expiry(app: &App) -> Option<(String, Style, bool)> {
    if app.lost.is_some() {
        return Some(("creds REFUSED   ".to_owned(), app.theme.bad, true));
    }
    let left = app.credentials_expire_ms? - app.now_ms;
    let words = if left <= 0 {
        "creds EXPIRED   ".to_owned()
    } else if left < 60_000 {
        format!("creds {}s   ", left / 1000)
    } else if left < 3_600_000 {
        format!("creds {}m   ", left / 60_000)
    } else {
        format!("creds {}   ", duration(left as f64))
    };
    Some(match left {
        ms if ms <= 0 => (words, app.theme.bad, true),
        ms if ms < 10 * 60_000 => (format!("{} {words}", app.theme.glyphs.warn), app.theme.warn, true),
        _ => (words, app.theme.dim, false),
    })
}

/// Twelve digits in fours, as the AWS console groups them.
fn grouped(account: &str) -> String {
    if account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit()) {
        format!("{}-{}-{}", &account[..4], &account[4..8], &account[8..])
    } else {
        shown(account)
    }
}

/// The line of lists.
pub fn draw_tabs(buf: &mut Buffer, area: Rect, app: &App) {
    let theme = &app.theme;
    let here = app.behind.first().unwrap_or(&app.screen);
    // Where something is typed, a key that goes elsewhere would be typed too.
    let is_typed = app.scope().is_typed_into();
    let mut spans = Vec::new();
    for (screen, action, name) in [
        (Screen::Tables, Action::Tables, "Tables"),
        (Screen::Streams, Action::Streams, "Streams"),
        (Screen::Jobs, Action::Jobs, "Jobs"),
        (Screen::EventTables, Action::EventTables, "Playback"),
    ] {
        let is_here = *here == screen
            || matches!(
                (here, &screen),
                (Screen::Job(_) | Screen::Dead(_) | Screen::Autoscale(_), Screen::Jobs)
                    | (Screen::Table(_), Screen::Tables)
                    | (Screen::Playback | Screen::Replay, Screen::EventTables)
                    | (Screen::Stream(_) | Screen::Mappings(_) | Screen::Tail(..), Screen::Streams)
            );
        let mut chord = app.keymap.chord(Scope::Global, action).unwrap_or_default();
        if is_typed {
            // The tabs stay where they are.
            chord = " ".repeat(Span::raw(chord.as_str()).width());
        }
        let from = Line::from(spans.clone()).width() as u16;
        let style = if is_here { theme.selected } else { Style::new() };
        spans.push(Span::raw(" "));
        spans.push(Span::styled(chord, theme.dim));
        spans.push(Span::styled(format!(" {name}"), style));
        if screen == Screen::Jobs && app.live_jobs() > 0 {
            spans.push(Span::styled(format!(" {}{}", theme.glyphs.dot, app.live_jobs()), theme.accent));
        }
        let width = (Line::from(spans.clone()).width() as u16).saturating_sub(from);
        mark(Rect { x: area.x + from, width, ..area }.intersection(area), Target::Does(action));
        spans.push(Span::raw("  "));
    }
    let tabs = Line::from(spans);
    write(buf, area, 0, &tabs);
    let keys = match app.scope() {
        // From the words, help is a key away.
        Scope::Form => app.keymap.works(Scope::Form, Action::Words).map(|chord| (Action::Words, chord, "words")),
        _ if is_typed => None,
        _ => app.keymap.chord(Scope::Global, Action::Help).map(|chord| (Action::Help, chord, "help")),
    };
    let palette = app.keymap.chord(Scope::Global, Action::Palette).filter(|_| !is_typed);
    let palette = palette.map(|chord| (Action::Palette, chord, "palette"));
    let keys = palette.into_iter().chain(keys).map(|(action, chord, name)| (action, format!("{chord} {name} ")));
    let keys: Vec<(Action, String)> = keys.collect();
    let mut right = area.right();
    for (action, words) in keys.iter().rev() {
        let width = (Span::raw(words).width() as u16).min(right - area.x);
        mark(Rect { x: right - width, width, ..area }, Target::Does(*action));
        right = (right - width).saturating_sub(2).max(area.x);
    }
    let words: Vec<&str> = keys.iter().map(|(_, words)| words.as_str()).collect();
    let keys = Line::styled(words.join("  "), theme.dim);
    write_right(buf, area, 0, &keys);
    let between = usize::from(area.width).saturating_sub(tabs.width() + keys.width() + 2);
    draw_crumbs(buf, Rect { x: area.x + tabs.width() as u16, width: between as u16, ..area }, app);
}

/// The way down to what is on screen, clipped from the left; nothing on a list, which the tabs show.
fn draw_crumbs(buf: &mut Buffer, area: Rect, app: &App) {
    if app.behind.is_empty() || area.width < 12 {
        return;
    }
    let arrow = if app.theme.glyphs.braille { " › " } else { " > " };
    let names: Vec<String> = app.crumbs().iter().map(|name| shown(name)).collect();
    // Room for the mark of a bookmark and of what was left out.
    let room = usize::from(area.width) - 4;
    let mut first = 0;
    while first + 1 < names.len() && Span::raw(names[first..].join(arrow)).width() > room {
        first += 1;
    }
    let marked = app.marked(clip(&names[first..].join(arrow), room), || app.spot());
    let cut = if first > 0 { "…" } else { "" };
    write(buf, area, 0, &Line::styled(format!("{cut}{marked}"), app.theme.dim));
    let mut x = area.x + Span::raw(cut).width() as u16;
    for (at, name) in names.iter().enumerate().take(app.behind.len()).skip(first) {
        let width = Span::raw(name).width() as u16;
        mark(Rect { x, width, ..area }.intersection(area), Target::Behind(at));
        x = x.saturating_add(width + Span::raw(arrow).width() as u16);
    }
}
