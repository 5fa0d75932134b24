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
use crate::console::widget::form::draw_figures;

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
        let plan = form.plan(known);
        if plan.is_empty() {
            say(buf, inner, theme, "Type which table: the plan follows.");
        }
        draw_figures(buf, inner, theme, plan);
    }
    cursor
}
