//! The words and the help, scrolled and searched; and the tour of the first start.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::over;
use crate::console::app::App;
use crate::console::keymap::{Action, Scope};
use crate::console::widget::text::{shown, wrap};
use crate::console::widget::{below, write};
use crate::console::words::{Reading, WORDS, Word, Words};

/// How wide a word stands, columns.
const NAME: usize = 14;

/// Draws lines that are scrolled and searched; returns where the cursor stands.
pub fn draw_reading(
    buf: &mut Buffer,
    area: Rect,
    app: &App,
    title: &str,
    reading: &Reading,
    lines: &[Line<'_>],
) -> Option<(u16, u16)> {
    let theme = &app.theme;
    let searched = reading.is_typed || !reading.search.value().is_empty();
    let key = app.keymap.chord(Scope::Reading, Action::Filter).unwrap_or_default();
    let title = if searched { title.to_owned() } else { format!("{title}   {key} searches") };
    let inner = over(buf, area, theme, &title, 84, lines.len() as u16 + 2 + u16::from(searched));
    let (mut cursor, mut body) = (None, inner);
    if searched {
        let typed = shown(reading.search.value());
        write(buf, inner, 0, &Line::from(vec![Span::styled("/", theme.accent), Span::raw(typed)]));
        cursor = reading.is_typed.then(|| (inner.x + 1 + reading.search.visual_cursor() as u16, inner.y));
        body = below(inner, 1);
    }
    if lines.is_empty() {
        let all = app.keymap.chord(reading.scope(), Action::Back).unwrap_or_default();
        write(buf, body, 0, &Line::styled(format!("nothing holds that; {all} shows all"), theme.warn));
    }
    for (row, line) in lines.iter().skip(reading.first(lines.len(), body.height)).enumerate() {
        write(buf, body, row as u16, line);
    }
    cursor
}

/// Draws the words.
pub fn draw(buf: &mut Buffer, area: Rect, app: &App, words: &Words) -> Option<(u16, u16)> {
    draw_reading(buf, area, app, "words", &words.reading, &lines(app, words, area.width))
}

/// The words that are searched for, on a screen so wide.
pub fn lines(app: &App, words: &Words, width: u16) -> Vec<Line<'static>> {
    let theme = &app.theme;
    let width = usize::from(width.min(84)).saturating_sub(4);
    let mut lines: Vec<Line<'static>> = Vec::new();
    let mut section = |title: &str, is_in: &dyn Fn(&Word) -> bool| {
        let these: Vec<&Word> = WORDS
            .iter()
            .filter(|word| is_in(word) && (words.reading.shows(word.name) || words.reading.shows(word.means)))
            .collect();
        if these.is_empty() {
            return;
        }
        if !lines.is_empty() {
            lines.push(Line::default());
        }
        lines.push(Line::styled(title.to_owned(), theme.strong));
        for word in these {
            for (row, part) in wrap(word.means, width.saturating_sub(NAME + 1).max(16)).into_iter().enumerate() {
                let name = if row == 0 { word.name } else { "" };
                let name = Span::styled(format!("{name:<NAME$} "), theme.accent);
                lines.push(Line::from(vec![name, Span::raw(part)]));
            }
        }
    };
    section("on this screen", &|word| words.here.contains(&word.name));
    section("everywhere else", &|word| !words.here.contains(&word.name));
    lines
}

/// Draws the help: what keys do here, then elsewhere.
pub fn draw_help(buf: &mut Buffer, area: Rect, app: &App, reading: &Reading) -> Option<(u16, u16)> {
    draw_reading(buf, area, app, "keys (keymap.toml changes them)", reading, &help_lines(app, reading))
}

/// The keys that are searched for.
pub fn help_lines(app: &App, reading: &Reading) -> Vec<Line<'static>> {
    let theme = &app.theme;
    let here = app.screen_scope().name();
    let mut rows = app.keymap.rows();
    // What works here comes first.
    rows.sort_by_key(|row| (row.scope != here, row.scope != Scope::Global.name()));
    let mut lines: Vec<Line<'static>> = Vec::new();
    let mut scope = "";
    for row in rows.into_iter().filter(|row| !row.chords.is_empty()) {
        let chords = row.chords.join(", ");
        if ![row.help, row.action, row.scope, &chords].iter().any(|text| reading.shows(text)) {
            continue;
        }
        if row.scope != scope {
            scope = row.scope;
            if !lines.is_empty() {
                lines.push(Line::default());
            }
            let title = match scope {
                "global" => "everywhere".to_owned(),
                scope if scope == here => format!("{} (here)", scope.replace('_', " ")),
                scope => scope.replace('_', " "),
            };
            lines.push(Line::styled(title, theme.strong));
        }
        lines.push(Line::from(vec![Span::styled(format!("  {chords:<18} "), theme.accent), Span::raw(row.help)]));
    }
    lines
}

/// The six lines of the first start.
fn tour(app: &App) -> [String; 6] {
    let key = |scope, action| app.keymap.chord(scope, action).unwrap_or_else(|| "-".to_owned());
    let global = |action| key(Scope::Global, action);
    let [tables, streams, jobs, events] =
        [Action::Tables, Action::Streams, Action::Jobs, Action::EventTables].map(global);
    let on = |action| key(Scope::Tables, action);
    [
        format!(
            "{tables} {streams} {jobs} {events} are tables, streams, jobs and playback; {} opens a row, {} goes up, {} goes back.",
            on(Action::Open),
            global(Action::Back),
            global(Action::Older)
        ),
        format!(
            "{} finds everything and runs commands: restore into quotes, capacity quotes 500.",
            global(Action::Palette)
        ),
        format!(
            "{} filters (quo !test size>1gb used>80%), {} and {} sort.",
            on(Action::Filter),
            on(Action::Sort),
            on(Action::SortReverse)
        ),
        format!(
            "{} {} {} change a capacity and {} gives it back: nothing is changed before you are asked.",
            on(Action::Raise),
            on(Action::Lower),
            on(Action::SetCapacity),
            on(Action::GiveBack)
        ),
        format!("{} leaves; jobs go on without the console, and sluice shows them again.", global(Action::Quit)),
        format!(
            "{} shows the keys here, {} what the words mean; the line below says what is wrong and what mends it.",
            global(Action::Help),
            global(Action::Words)
        ),
    ]
}

/// Draws the tour.
pub fn draw_tour(buf: &mut Buffer, area: Rect, app: &App) {
    let width = area.width.min(100);
    let lines: Vec<String> =
        tour(app).iter().flat_map(|line| wrap(line, usize::from(width).saturating_sub(4))).collect();
    let height = (lines.len() as u16 + 2).min(area.height);
    // At the bottom: what the first screen shows stays in sight.
    let area = Rect { y: area.bottom() - height, height, ..area };
    let inner = over(
        buf,
        area,
        &app.theme,
        "first steps: any key closes this, :tour shows it again",
        width,
        lines.len() as u16 + 2,
    );
    for (row, line) in lines.iter().enumerate() {
        write(buf, inner, row as u16, &Line::raw(line.as_str()));
    }
}
