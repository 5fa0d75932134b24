//! The screens: one file each, drawn from the state and nothing else.
//!
//! ```text
//!  header     where it acts, as whom, and the clock
//!  tabs       the lists
//! ┌ body ───────────────────────────────────────────┐
//! │ one screen; an overlay lies over it             │
//! └─────────────────────────────────────────────────┘
//!  hint       what is wrong, and which key mends it
//!  footer     keys that work here
//! ```
//!
//! Below 60×15 only the essential is left: the body, without its box, and a header when there is room.

mod ascii;
pub mod autoscale;
mod backup;
mod beside;
pub mod charts;
mod context;
pub mod dead;
mod header;
mod hint;
mod hint_others;
pub mod job;
mod jobs;
mod leases;
mod overlay;
mod palette;
pub mod playback;
mod prompt;
mod replay;
mod replica;
mod replica_form;
mod restore;
pub mod stream;
pub mod stream_mappings;
pub mod stream_tail;
pub mod streams;
mod table;
pub mod tables;
mod verify;
pub mod words;

use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Widget as _};

use super::app::{App, Overlay, Screen};
use super::columns::List;
use super::keymap::{Action, Scope};
use super::mouse::{Target, mark};
use super::theme::Theme;
use super::widget::quantity::duration;
use super::widget::table::{self as rows, Column};
use super::widget::text::{clip, clip_line, shown, wrap};
use super::widget::{below, write};
use crate::cloud::CloudError;

/// The smallest screen that has everything.
const WHOLE: (u16, u16) = (60, 15);

/// Draws the state.
pub fn draw(frame: &mut Frame<'_>, app: &App) {
    let area = frame.area();
    let cursor = paint(frame.buffer_mut(), area, app);
    if let Some(at) = cursor.filter(|(x, y)| *x < area.right() && *y < area.bottom()) {
        frame.set_cursor_position(at);
    }
}

/// The screen as it is now, for a picture.
pub fn still(app: &App) -> Buffer {
    let mut buf = Buffer::empty(Rect::new(0, 0, app.size.0, app.size.1));
    let area = buf.area;
    paint(&mut buf, area, app);
    buf
}

/// What is on screen now, as text.
pub fn text(app: &App) -> String {
    let area = Rect::new(0, 0, app.size.0, app.size.1);
    let mut buf = Buffer::empty(area);
    paint(&mut buf, area, app);
    let rows = buf.content().chunks(usize::from(area.width).max(1));
    let rows = rows.map(|row| row.iter().map(ratatui::buffer::Cell::symbol).collect::<String>());
    rows.collect::<Vec<_>>().join("\n")
}

/// Draws the state into `buf`; returns where the cursor stands while something is typed.
fn paint(buf: &mut Buffer, area: Rect, app: &App) -> Option<(u16, u16)> {
    let cursor = paint_at_size(buf, area, app);
    if !app.theme.glyphs.braille {
        ascii::spell(buf, area);
    }
    cursor
}

fn paint_at_size(buf: &mut Buffer, area: Rect, app: &App) -> Option<(u16, u16)> {
    if area.is_empty() {
        return None;
    }
    if area.width < WHOLE.0 || area.height < WHOLE.1 {
        return paint_small(buf, area, app);
    }
    header::draw(buf, Rect { height: 1, ..area }, app);
    header::draw_tabs(buf, Rect { y: area.y + 1, height: 1, ..area }, app);
    let mut top = 2;
    top += draw_trouble(buf, below(area, top), app);
    let footer = footer_lines(app, area.width);
    let hints = hint_lines(app, area.width);
    let wrong = prompt::wrong(app, area.width, area.height);
    let bottom = (footer.len() + hints.len().max(1 + wrong.len())) as u16;
    let body = below(area, top);
    let body = Rect { height: body.height.saturating_sub(bottom), ..body };
    let mut cursor = draw_screen(buf, body, app);
    let hint = Rect { y: area.bottom() - bottom, height: bottom, ..area };
    cursor = prompt::draw(buf, hint, app, &wrong).or(cursor);
    for (i, line) in hints.iter().enumerate() {
        write(buf, hint, i as u16, line);
    }
    for (i, (line, _)) in footer.iter().enumerate() {
        write(buf, hint, bottom - footer.len() as u16 + i as u16, line);
    }
    if app.tour && app.overlay.is_none() {
        words::draw_tour(buf, body, app);
    }
    let cursor = match &app.overlay {
        Some(Overlay::Prompt(_)) | None => cursor,
        Some(overlay) => overlay::draw(buf, Rect { height: area.height - 1, ..area }, app, overlay),
    };
    // Also the keys of what lies over the screen are there to be clicked.
    for (i, (_, keys)) in footer.iter().enumerate() {
        let y = area.bottom() - footer.len() as u16 + i as u16;
        for (x, width, action) in keys {
            mark(Rect { x: area.x + x, y, width: *width, height: 1 }.intersection(area), Target::Does(*action));
        }
    }
    cursor
}

fn paint_small(buf: &mut Buffer, area: Rect, app: &App) -> Option<(u16, u16)> {
    match &app.overlay {
        Some(overlay) if !matches!(overlay, Overlay::Prompt(_)) => {
            return overlay::draw(buf, area, app, overlay);
        }
        _ => {}
    }
    let mut top = 0;
    if area.height >= 8 {
        header::draw(buf, Rect { height: 1, ..area }, app);
        top = 1;
    }
    let mut bottom = 0;
    let mut cursor = None;
    if area.height >= 4 {
        let wrong = prompt::wrong(app, area.width, area.height - 3);
        bottom = 1 + wrong.len() as u16;
        let last = Rect { y: area.bottom() - bottom, height: bottom, ..area };
        cursor = prompt::draw(buf, last, app, &wrong);
        if let Some(line) = hint_lines(app, u16::MAX).first() {
            write(buf, last, 0, line);
        }
    }
    let body = below(area, top);
    let body = Rect { height: body.height - bottom, ..body };
    // What is lost is said at any size: a list that no longer follows AWS looks like one that does.
    let body = below(body, draw_trouble(buf, body, app));
    draw_screen(buf, body, app);
    if app.tour && app.overlay.is_none() {
        words::draw_tour(buf, body, app);
    }
    cursor
}

fn draw_screen(buf: &mut Buffer, body: Rect, app: &App) -> Option<(u16, u16)> {
    match &app.screen {
        Screen::Tables => tables::draw(buf, body, app),
        Screen::Streams => streams::draw(buf, body, app),
        Screen::Jobs => jobs::draw(buf, body, app),
        Screen::Table(name) => table::draw(buf, body, app, name),
        Screen::Job(id) => job::draw(buf, body, app, id),
        Screen::Dead(id) => dead::draw(buf, body, app, id),
        Screen::Restore => return restore::draw(buf, body, app),
        Screen::Autoscale(id) => autoscale::draw(buf, body, app, id),
        Screen::Backup => return backup::draw(buf, body, app),
        Screen::Replica => return replica_form::draw(buf, body, app),
        Screen::EventTables => playback::draw_list(buf, body, app),
        Screen::Playback => playback::draw(buf, body, app),
        Screen::Replay => return replay::draw(buf, body, app),
        Screen::Stream(name) => stream::draw(buf, body, app, name),
        Screen::Mappings(name) => stream_mappings::draw(buf, body, app, name),
        Screen::Tail(name, shard) => stream_tail::draw(buf, body, app, name, shard.as_deref()),
    }
    None
}

/// AWS or the journal is lost: says what happened and what to do, above what was last known.
fn draw_trouble(buf: &mut Buffer, area: Rect, app: &App) -> u16 {
    let mut lines: Vec<String> = Vec::new();
    let width = usize::from(area.width).saturating_sub(4);
    if let Some(error) = &app.trouble {
        lines.extend(wrap(&format!("{} {}.", app.theme.glyphs.warn, shown(&error.what)), width));
        for line in remedy(app, error) {
            lines.extend(wrap(&format!("  {line}"), width));
        }
    }
    if let Some(words) = &app.journal_trouble {
        lines.extend(wrap(&format!("{} {}", app.theme.glyphs.warn, shown(words)), width));
    }
    // The command that renews credentials stands last of them: a small screen has to hold it.
    let rows = lines.len().min(6).min(usize::from(area.height) * 2 / 3);
    for (i, line) in lines.iter().take(rows).enumerate() {
        write(buf, area, i as u16, &Line::styled(format!(" {line}"), app.theme.bad));
    }
    rows as u16
}

/// Why nothing of the journal is there.
fn unread(app: &App) -> &'static str {
    if app.journal_trouble.is_some() { "The journal can't be read: see above." } else { "Reading the journal…" }
}

/// What is done about it, by whom and when, and how old what is shown is.
fn remedy(app: &App, error: &CloudError) -> Vec<String> {
    let newest = app.table_names.at_ms.max(app.streams.at_ms).max(app.tables.at_ms);
    let has_rows = app.tables.rows.is_some() || app.streams.rows.is_some();
    let Some(lost) = app.lost else {
        let hint = if error.hint.is_empty() { "It is tried again every few seconds" } else { error.hint.as_str() };
        let age = if has_rows { " What is shown below is as of before." } else { "" };
        return vec![format!("{}.{age}", shown(hint.trim_end_matches('.')))];
    };
    let renewal = &app.place.renewal;
    let mut lines = Vec::new();
    if renewal.from.is_empty() {
        lines.push(format!("{}.", shown(error.hint.trim_end_matches('.'))));
    } else {
        lines.push(format!("{}. To renew them, {}.", capital(&shown(&renewal.from)), shown(&renewal.to_do())));
    }
    let key = app.keymap.chord(Scope::Global, Action::Refresh).unwrap_or_default();
    let next = if lost.is_trying {
        "They are being tried now".to_owned()
    } else {
        format!("Then {key} tries them; by itself in {} s", ((lost.next_ms() - app.now_ms).max(0) + 999) / 1000)
    };
    let age = if has_rows && newest > 0 {
        let age = duration((app.now_ms - lost.since_ms.min(newest)).max(0) as f64);
        format!(" What is shown below is as of {age} ago.")
    } else {
        String::new()
    };
    lines.push(format!("{next}.{age}"));
    lines
}

fn capital(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or(String::new(), |first| first.to_uppercase().chain(characters).collect())
}

/// What was just done or refused, else what is wrong, in at most two lines.
fn hint_lines(app: &App, width: u16) -> Vec<Line<'static>> {
    if matches!(app.overlay, Some(Overlay::Prompt(_))) {
        return Vec::new();
    }
    let (words, style) = match &app.notice {
        _ if !app.pending.chords.is_empty() => (app.can_follow(&app.pending.chords), app.theme.accent),
        Some(notice) if notice.is_bad => (format!("{} {}", app.theme.glyphs.warn, notice.words), app.theme.bad),
        Some(notice) => (notice.words.clone(), app.theme.accent),
        None => match hint::hint(app) {
            Some(hint) => hint,
            None => return Vec::new(),
        },
    };
    let lines = wrap(&words, usize::from(width).saturating_sub(1));
    lines.into_iter().take(2).map(|line| Line::styled(format!(" {line}"), style)).collect()
}

/// A line of the footer, with where its keys stand (first column, columns) and what they do.
type FooterLine = (Line<'static>, Vec<(u16, u16, Action)>);

/// The lines of the footer.
fn footer_lines(app: &App, width: u16) -> Vec<FooterLine> {
    let scope = app.scope();
    // Of a job that has no table here, capacity keys would do nothing.
    let has_table = match &app.screen {
        Screen::Job(id) if scope == Scope::Job => app.job(id).is_none_or(|job| app.table_of_job(job).is_ok()),
        _ => true,
    };
    let is_of_table = |action| {
        matches!(action, Action::Raise | Action::Lower | Action::SetCapacity | Action::Indexes | Action::GiveBack)
    };
    let mut lines = vec![(Line::default(), Vec::new())];
    for (chord, name) in app.keymap.footer(scope) {
        if !has_table && app.keymap.does(scope, name).is_some_and(is_of_table) {
            continue;
        }
        let cell = [Span::raw(" "), Span::styled(chord, app.theme.accent), Span::raw(format!(" {name} "))];
        let wide: usize = cell.iter().map(Span::width).sum();
        if lines.last().is_some_and(|(line, _)| line.width() + wide > usize::from(width)) {
            if lines.len() == 2 {
                break;
            }
            lines.push((Line::default(), Vec::new()));
        }
        let (line, keys) = lines.last_mut().expect("begun with one line, and only pushed to");
        keys.extend(app.keymap.does(scope, name).map(|action| (line.width() as u16, wide as u16, action)));
        line.spans.extend(cell);
    }
    lines
}

/// A box with a title to the left and one to the right; without a box where there is no room for one.
fn boxed(buf: &mut Buffer, area: Rect, theme: &Theme, left: Line<'_>, right: Line<'_>) -> Rect {
    let screen = buf.area();
    if area.height < 4 || area.width < 20 || screen.width < WHOLE.0 || screen.height < WHOLE.1 {
        return area;
    }
    let room = usize::from(area.width).saturating_sub(2 + right.width());
    let left = clip_line(left, room);
    let block = Block::bordered()
        .border_set(theme.glyphs.border)
        .border_style(theme.dim)
        .title_top(left.left_aligned())
        .title_top(right.right_aligned());
    let inner = block.inner(area);
    block.render(area, buf);
    inner
}

/// What a list's box says to the right: its filter, how many rows that leaves open, and what it is sorted by. Also its
/// columns, with that one marked.
fn listed<const N: usize>(app: &App, list: List, columns: [Column; N], unknown: usize) -> (Line<'static>, [Column; N]) {
    let (listing, theme) = (app.listing(list), &app.theme);
    let field = list.sorted_by(listing);
    let glyph = theme.glyphs.sorted[usize::from(!list.is_falling(listing))];
    let mut columns = columns;
    rows::mark_sorted(&mut columns, field.title, glyph);
    let mut spans = Vec::new();
    if !listing.filter.is_empty() {
        let style = if listing.filter.wrong().is_some() { theme.warn } else { theme.accent };
        spans.push(Span::styled(format!(" /{}  ", shown(listing.filter.text())), style));
    }
    if unknown > 0 {
        spans.push(Span::styled(format!(" {unknown} not known yet  "), theme.warn));
    }
    spans.push(Span::raw(format!(" sort: {} {glyph} ", field.name)));
    (Line::from(spans), columns)
}

/// What stands where a filter leaves no row.
fn none_match(app: &App, list: List, all: usize, unknown: usize) -> String {
    let filter = shown(app.listing(list).filter.text());
    let scope = app.screen_scope();
    let key = |action| app.keymap.chord(scope, action).unwrap_or_default();
    let (edit, clear) = (key(Action::Filter), key(Action::Back));
    let (count, name) = (all - unknown.min(all), list.name());
    let open = if unknown > 0 { format!(" {unknown} more are being looked at.") } else { String::new() };
    format!("None of {count} {name} matches {filter}: {edit} changes that, {clear} shows all.{open}")
}

/// The key that goes back.
fn back_key(app: &App) -> String {
    app.keymap.chord(app.screen_scope(), Action::Back).unwrap_or_default()
}

/// Words in the middle of an empty body: what is happening, and what to do.
fn say(buf: &mut Buffer, area: Rect, theme: &Theme, words: &str) {
    let lines = wrap(words, usize::from(area.width).saturating_sub(4));
    let top = area.height.saturating_sub(lines.len() as u16) / 3;
    for (i, line) in lines.iter().take(usize::from(area.height)).enumerate() {
        write(buf, area, top + i as u16, &Line::styled(format!("  {line}"), theme.strong));
    }
}

/// A cleared box in the middle of `area`, of at most this size; returns its inside.
fn over(buf: &mut Buffer, area: Rect, theme: &Theme, title: &str, width: u16, height: u16) -> Rect {
    let (width, height) = (width.min(area.width), height.min(area.height));
    let place = Rect { x: area.x + (area.width - width) / 2, y: area.y + (area.height - height) / 2, width, height };
    Clear.render(place, buf);
    // What is short has its frame and its title too: only a screen that is too small has none.
    if width < 20 || area.height < 5 {
        return place;
    }
    let title = clip(title, usize::from(width) - 4);
    let block = Block::bordered()
        .border_set(theme.glyphs.border)
        .border_style(theme.accent)
        .title_top(Line::styled(format!(" {title} "), theme.strong));
    let inner = block.inner(place);
    block.render(place, buf);
    Rect { x: inner.x + 1, width: inner.width.saturating_sub(2), ..inner }
}
