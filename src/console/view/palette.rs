//! The palette.
//!
//! ```text
//! ┌ palette ─────────────────────────────────────────────┐
//! │ :capacity quotes 5                                   │
//! │  capacity TABLE… NUMBER: set write capacity          │
//! │▸quotes      active, 500 WCU, 1.20M items       table │
//! └──────────────────────────────────────────────────────┘
//! ```

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::over;
use crate::console::app::App;
use crate::console::keymap::{Action, Scope};
use crate::console::palette::{Entry, Group, Palette, entries};
use crate::console::widget::table::{self, Cell, left, right};
use crate::console::widget::text::{shown, wrap};
use crate::console::widget::{below, write};

/// So many entries are shown at once.
const ROWS: u16 = 14;

/// Draws it; returns where the cursor stands.
pub fn draw(buf: &mut Buffer, area: Rect, app: &App, palette: &Palette) -> (u16, u16) {
    let theme = &app.theme;
    let all = entries(app, palette);
    let title = if palette.only_bookmarks { "bookmarks" } else { "palette" };
    // It stays where it is while what it lists changes.
    let place = Rect { height: area.height.min(ROWS + 6), ..area };
    let inner = over(buf, place, theme, title, 96, ROWS + 5);
    let line = Line::from(vec![Span::styled(":", theme.accent), Span::raw(shown(palette.input.value()))]);
    write(buf, inner, 0, &line);
    let (words, style) = match (&palette.error, palette.command()) {
        (Some(error), _) => (shown(error), theme.bad),
        (None, Some((command, _))) => (format!("{}: {}", command.usage(), command.help), theme.dim),
        (None, None) if all.is_empty() => ("nothing here is called so".to_owned(), theme.warn),
        (None, None) => {
            let key = |action| app.keymap.chord(Scope::Palette, action).unwrap_or_default();
            let (run, complete) = (key(Action::Accept), key(Action::Complete));
            let (up, down) = (key(Action::Previous), key(Action::Next));
            let words = format!(
                "{run} runs it, {complete} completes it, {up} and {down} choose; {up} goes back in what was run"
            );
            (words, theme.dim)
        }
    };
    let told = wrap(&words, usize::from(inner.width));
    let told = &told[..told.len().min(2)];
    for (row, words) in told.iter().enumerate() {
        write(buf, inner, 1 + row as u16, &Line::styled(words.as_str(), style));
    }
    let body = below(inner, 1 + told.len() as u16);
    let wide = |text: &dyn Fn(&Entry) -> String| all.iter().map(|entry| Span::raw(text(entry)).width()).max();
    let name = wide(&|entry| shown(&entry.name)).unwrap_or(0).clamp(12, 36);
    let end = 10;
    // What is said of an entry gets what is left: it is clipped, and does not leave.
    let note = usize::from(inner.width).saturating_sub(name + end + 6);
    let columns = [left("", name, 0), left("", note, if note < 12 { 2 } else { 0 }), right("", end, 1)];
    let cells: Vec<Vec<Cell>> = all
        .iter()
        .map(|entry| {
            let end = if entry.key.is_empty() { entry.group.word().to_owned() } else { entry.key.clone() };
            let style = if entry.group == Group::Key { theme.accent } else { theme.dim };
            vec![(shown(&entry.name), theme.strong), (shown(&entry.note), theme.dim), (end, style)]
        })
        .collect();
    if !cells.is_empty() && body.height > 0 {
        // What enter means is marked: of arguments only one that was chosen.
        let marked = palette.chosen.or_else(|| palette.command().is_none().then_some(0));
        table::draw_bare(buf, body, theme, &columns, &cells, marked.map(|at| at.min(cells.len() - 1)));
    }
    (inner.x + 1 + palette.input.visual_cursor() as u16, inner.y)
}
