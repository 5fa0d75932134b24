//! The form that starts a replica, and the plan beside it.
//!
//! ```text
//! ┌ replicate ──────────────────────────────┬ plan ────────────────────────┐
//! │ source        quotes                    │ items            about 1.20M │
//! │▸to table      quotes_copy               │ stream               is on   │
//! │ to region     the source's              │ bootstrap        about 4h    │
//! └─────────────────────────────────────────┴──────────────────────────────┘
//! ```

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;

use super::{boxed, say};
use crate::console::app::App;
use crate::console::replica::figures;
use crate::console::widget::form::draw_figures;
use crate::console::widget::text::{shown, wrap};
use crate::console::widget::{below, write};
use crate::jobs::replicate::plan::Plan;

/// Draws it; returns where the cursor stands.
pub fn draw(buf: &mut Buffer, area: Rect, app: &App) -> Option<(u16, u16)> {
    let theme = &app.theme;
    let form = app.replica_form.as_ref()?;
    let known = app.known_to_replicas();
    let plan_width = if area.width >= 78 { 40 } else { 0 };
    let fields = Rect { width: area.width - plan_width, ..area };
    let inner = boxed(buf, fields, theme, Line::styled(" replicate ", theme.strong), Line::default());
    let cursor = form.fields.draw(buf, inner, theme, |name| form.error(name, known));
    if plan_width > 0 {
        let beside = Rect { x: fields.right(), width: plan_width, ..area };
        let inner = boxed(buf, beside, theme, Line::styled(" plan ", theme.strong), Line::default());
        match form.plan(known) {
            Some(plan) => draw_plan(buf, inner, app, &plan),
            None => say(buf, inner, theme, "Type which table: the plan follows."),
        }
    }
    cursor
}

fn draw_plan(buf: &mut Buffer, inner: Rect, app: &App, plan: &Plan) {
    let theme = &app.theme;
    let figures = figures(plan);
    let notes = below(inner, figures.len() as u16 + 1);
    draw_figures(buf, inner, theme, figures);
    let width = usize::from(inner.width.saturating_sub(3)).max(1);
    let mut row = 0;
    for note in plan.streams.iter().chain(&plan.warnings) {
        for (i, words) in wrap(&shown(note), width).into_iter().enumerate() {
            let mark = if i == 0 { theme.glyphs.warn } else { " " };
            write(buf, notes, row, &Line::styled(format!(" {mark} {words}"), theme.strong));
            row += 1;
        }
    }
}
