//! The restore form, and the plan beside it.
//!
//! ```text
//! ┌ restore ────────────────────────────────┬ plan ───────────────────────┐
//! │ source          s3://backups/h.csv      │ items            about 50,000│
//! │ table           historcal               │ time at that     about 6m 25s│
//! │                 no such table: did you… │   limit: table write capacity│
//! └─────────────────────────────────────────┴─────────────────────────────┘
//! ```

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;

use super::{boxed, say};
use crate::console::app::App;
use crate::console::form::{Name, RestoreForm};
use crate::console::widget::text::{shown, wrap};
use crate::console::widget::{write, write_right};

/// Draws it; returns where the cursor stands.
pub fn draw(buf: &mut Buffer, area: Rect, app: &App) -> Option<(u16, u16)> {
    let theme = &app.theme;
    let form = app.form.as_ref()?;
    let plan_width = match area.width {
        ..70 => 0,
        70..100 => 38,
        width => width * 2 / 5,
    };
    let fields = Rect { width: area.width - plan_width, ..area };
    let inner = boxed(buf, fields, theme, Line::styled(" restore ", theme.strong), Line::default());
    let cursor = form.fields.draw(buf, inner, theme, |name| form.error(name, app.known()));
    if plan_width > 0 {
        let beside = Rect { x: fields.right(), width: plan_width, ..area };
        let inner = boxed(buf, beside, theme, Line::styled(" plan ", theme.strong), Line::default());
        draw_plan(buf, inner, app, form);
    }
    cursor
}

fn draw_plan(buf: &mut Buffer, inner: Rect, app: &App, form: &RestoreForm) {
    let theme = &app.theme;
    let Some(plan) = form.plan(app.known()) else {
        let is_begun = !form.value(Name::Source).is_empty() && !form.value(Name::Table).is_empty();
        let words = match &form.looked {
            Some(Err(_)) => "No plan: the form says what is wrong.",
            None if is_begun && !form.can_be_looked_at(app.known()) => "No plan: the form says what is wrong.",
            _ if form.is_looked_at || is_begun && form.changed_ms.is_some() => "Looking at the source…",
            _ => "Type where the backup is and which table it goes to: the plan follows.",
        };
        say(buf, inner, theme, words);
        return;
    };
    let width = usize::from(inner.width.saturating_sub(3)).max(1);
    let mut row = 0;
    for line in plan.lines() {
        let about = if line.about { "about " } else { "" };
        write(buf, inner, row, &Line::styled(format!(" {}", shown(&line.name)), theme.dim));
        write_right(buf, inner, row, &Line::raw(format!("{about}{} ", line.value)));
        row += 1;
        if line.weighty {
            for words in wrap(&shown(&line.remark), width) {
                write(buf, inner, row, &Line::styled(format!("   {words}"), theme.dim));
                row += 1;
            }
        }
    }
    for note in &plan.notes {
        for (i, words) in wrap(&shown(note), width).into_iter().enumerate() {
            let mark = if i == 0 { theme.glyphs.warn } else { " " };
            write(buf, inner, row, &Line::styled(format!(" {mark} {words}"), theme.strong));
            row += 1;
        }
    }
}
