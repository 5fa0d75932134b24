//! The choice of a context.
//!
//! ```text
//! ┌ context ─────────────────────────────────────────────────────────┐
//! │ profiles: pro█                     regions                       │
//! │▸prod       single sign-on  1111…    [x] eu-west-1                │
//! │ prod-dr    role            4444…    [ ] us-east-1                │
//! │                                                                  │
//! │ enter prod · eu-west-1 and 1 more beside it                      │
//! └──────────────────────────────────────────────────────────────────┘
//! ```

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::over;
use crate::console::app::App;
use crate::console::context::{Picker, Side};
use crate::console::keymap::{Action, Scope};
use crate::console::widget::table::{self, Cell, Column, left};
use crate::console::widget::text::{clip, shown};
use crate::console::widget::{below, write};

const PROFILES: [Column; 3] = [left("PROFILE", 28, 0), left("CREDENTIALS", 14, 2), left("ACCOUNT", 12, 1)];
const REGIONS: [Column; 1] = [left("REGION", 22, 0)];
/// Columns of the side of regions.
const REGIONS_WIDE: u16 = 24;

/// Draws it; returns where the cursor stands.
pub fn draw(buf: &mut Buffer, area: Rect, app: &App, picker: &Picker) -> Option<(u16, u16)> {
    let theme = &app.theme;
    let inner = over(buf, area, theme, "context: profile and regions", 84, 26);
    if inner.is_empty() {
        return None;
    }
    // Where there is no room for both, the side that is typed into is shown.
    let both = inner.width >= 56;
    let regions_wide = if both { REGIONS_WIDE } else { inner.width };
    let profiles_wide = if both { inner.width - REGIONS_WIDE - 2 } else { inner.width };
    let foot = 1 + u16::from(inner.height > 6);
    let lists = Rect { height: inner.height.saturating_sub(1 + foot), ..below(inner, 1) };
    let typed = shown(picker.input.value());
    let label = if picker.side == Side::Profiles { "profile: " } else { "region: " };
    write(buf, inner, 0, &Line::from(vec![Span::styled(label, theme.accent), Span::raw(typed)]));
    if both || picker.side == Side::Profiles {
        draw_profiles(buf, Rect { width: profiles_wide, ..lists }, app, picker);
    }
    if both || picker.side == Side::Regions {
        let x = if both { lists.x + profiles_wide + 2 } else { lists.x };
        draw_regions(buf, Rect { x, width: regions_wide, ..lists }, app, picker);
    }
    let last = inner.height.saturating_sub(1);
    if last > 0 {
        let words = clip(&told(app, picker), usize::from(inner.width));
        write(buf, inner, last, &Line::styled(words, theme.strong));
    }
    Some((inner.x + (label.len() + picker.input.visual_cursor()) as u16, inner.y))
}

fn draw_profiles(buf: &mut Buffer, area: Rect, app: &App, picker: &Picker) {
    let theme = &app.theme;
    let choices = app.profile_choices(picker);
    let rows: Vec<Vec<Cell>> = choices
        .iter()
        .map(|choice| {
            vec![
                (shown(&choice.label), Style::new()),
                (choice.origin.to_owned(), theme.dim),
                (shown(choice.account.as_deref().unwrap_or_default()), theme.dim),
            ]
        })
        .collect();
    let at = picker.profiles.index(choices.iter().map(|choice| choice.label.as_str()));
    match (&app.profiles, rows.is_empty()) {
        (Some(Err(error)), _) => {
            let words = crate::console::widget::text::wrap(&shown(&error.to_string()), usize::from(area.width));
            for (row, line) in words.into_iter().enumerate() {
                write(buf, area, row as u16, &Line::styled(line, theme.bad));
            }
        }
        (_, true) => write(buf, area, 0, &Line::styled("no profile has that in its name", theme.warn)),
        _ => table::draw(buf, area, theme, &PROFILES, &rows, Some(at)),
    }
}

fn draw_regions(buf: &mut Buffer, area: Rect, app: &App, picker: &Picker) {
    let theme = &app.theme;
    let choices = app.region_choices(picker);
    if choices.is_empty() {
        write(buf, area, 0, &Line::styled("no region is named so", theme.warn));
        return;
    }
    let rows: Vec<Vec<Cell>> = choices
        .iter()
        .map(|region| {
            let mark = if picker.marked.contains(region) { "[x]" } else { "[ ]" };
            vec![(format!("{mark} {}", shown(region)), Style::new())]
        })
        .collect();
    let at = picker.regions.index(choices.iter().map(String::as_str));
    table::draw(buf, area, theme, &REGIONS, &rows, Some(at));
}

/// What enter does.
fn told(app: &App, picker: &Picker) -> String {
    let key = |action| app.keymap.chord(Scope::Contexts, action).unwrap_or_default();
    let side = if picker.side == Side::Profiles { "regions" } else { "profiles" };
    let marked = match picker.marked.len() {
        0 => format!("{} marks regions to list side by side", key(Action::Mark)),
        1 => "1 region is marked".to_owned(),
        n => format!("{n} regions are marked: side by side"),
    };
    format!("{} goes there   {} {side}   {marked}", key(Action::Accept), key(Action::Next))
}
