//! The first two lines.
//!
//! ```text
//!  sluice   prod · eu-west-1 · 1111-2222-3333   READ-ONLY        creds 42m   api 3/s   14:03:27Z
//!  1 Tables   2 Streams   3 Jobs ●2
//! ```

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use crate::cloud::Mode;
use crate::console::app::{App, Screen};
use crate::console::keymap::{Action, Scope};
use crate::console::mouse::{Target, mark};
use crate::console::widget::quantity::{clock, dollars, duration, rate};
use crate::console::widget::text::{clip, shown};
use crate::console::widget::{write, write_right};

/// The first line.
pub fn draw(buf: &mut Buffer, area: Rect, app: &App) {
    let theme = &app.theme;
    let place = &app.place;
    let mut parts = vec![shown(&place.profile), shown(&place.region)];
    if let Some(account) = &app.account {
        parts.push(grouped(account));
    }
    if let Some(endpoint) = place.context.endpoint_url.as_ref().filter(|_| area.width >= 100) {
        parts.push(shown(endpoint));
    }
    let dot = if theme.glyphs.braille { " · " } else { " | " };
    let mut right = Vec::new();
    match place.mode {
        Mode::ReadOnly => right.push(Span::styled("READ-ONLY   ", theme.strong)),
        Mode::DryRun => right.push(Span::styled("DRY RUN   ", theme.strong)),
        Mode::Normal => {}
    }
    if area.width >= 60 {
        if let Some(at) = app.credentials_expire_ms {
            right.push(expiry(app, at));
        }
        right.push(api(app, area.width >= 90));
    }
    right.push(Span::raw(format!("{}Z ", clock(app.now_ms))));
    let right = Line::from(right);
    let room = area.width.saturating_sub(right.width() as u16 + 1);
    // Whole parts leave where there is no room: half an account number is a wrong one.
    while parts.len() > 1 && Span::raw(parts.join(dot)).width() + 10 > usize::from(room) {
        parts.pop();
    }
    let left = Line::from(vec![Span::styled(" sluice   ", theme.strong), Span::raw(parts.join(dot))]);
    write(buf, Rect { width: room, ..area }, 0, &left);
    write_right(buf, area, 0, &right);
}

/// Requests a second, and what CloudWatch bills for an hour of what it is asked.
fn api(app: &App, with_bill: bool) -> Span<'static> {
    let bill = match app.api.dollars_per_hour().filter(|_| with_bill) {
        Some(dollars_an_hour) => format!(" cw {}/h", dollars(dollars_an_hour)),
        None => String::new(),
    };
    let held = app.api.asked.waiting;
    let words = format!("api {}/s{bill}", rate(app.requests_per_second));
    if held > 0 {
        Span::styled(format!("{words} {held} held   "), app.theme.warn)
    } else {
        Span::styled(format!("{words}   "), app.theme.dim)
    }
}

fn expiry(app: &App, at_ms: i64) -> Span<'static> {
    let left = at_ms - app.now_ms;
    let words = if left <= 0 {
        "creds EXPIRED   ".to_owned()
    } else if left < 60_000 {
        format!("creds {}s   ", left / 1000)
    } else if left < 3_600_000 {
        format!("creds {}m   ", left / 60_000)
    } else {
        format!("creds {}   ", duration(left as f64))
    };
    let style = match left {
        ms if ms <= 0 => app.theme.bad,
        ms if ms < 10 * 60_000 => app.theme.warn,
        _ => app.theme.dim,
    };
    Span::styled(words, style)
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
        let chord = app.keymap.chord(Scope::Global, action).unwrap_or_default();
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
    let keys = [(Action::Palette, "palette"), (Action::Help, "help")].into_iter().filter_map(|(action, name)| {
        let chord = app.keymap.chord(Scope::Global, action)?;
        Some((action, format!("{chord} {name} ")))
    });
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
    let crumbs = Line::styled(crumbs(app, between), theme.dim);
    write(buf, Rect { x: area.x + tabs.width() as u16, width: between as u16, ..area }, 0, &crumbs);
}

/// The way down to what is on screen, clipped from the left; nothing on a list, which the tabs show.
fn crumbs(app: &App, width: usize) -> String {
    if app.behind.is_empty() || width < 12 {
        return String::new();
    }
    let arrow = if app.theme.glyphs.braille { " › " } else { " > " };
    let mut names: Vec<String> = app.crumbs().iter().map(|name| shown(name)).collect();
    // Room for the mark of a bookmark and of what was left out.
    let room = width.saturating_sub(4);
    let mut is_clipped = false;
    while names.len() > 1 && Span::raw(names.join(arrow)).width() > room {
        names.remove(0);
        is_clipped = true;
    }
    let words = names.join(arrow);
    let marked = app.marked(clip(&words, room), || app.spot());
    if is_clipped { format!("…{marked}") } else { marked }
}
