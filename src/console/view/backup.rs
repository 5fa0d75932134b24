//! The backup form, and the plan beside it.
//!
//! ```text
//! ┌ backup ─────────────────────────────────┬ plan ───────────────────┐
//! │ table           historical              │ items        about 50k  │
//! │▸to              s3://backups            │ RCU         about 2.4k  │
//! │                 where to?               │ time at that    about 1m│
//! └─────────────────────────────────────────┴─────────────────────────┘
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
    let form = app.backup_form.as_ref()?;
    let (names, tables) = (app.table_names.rows.as_deref(), app.tables.rows.as_deref());
    let plan_width = if area.width >= 70 { 38 } else { 0 };
    let fields = Rect { width: area.width - plan_width, ..area };
    let inner = boxed(buf, fields, theme, Line::styled(" backup ", theme.strong), Line::default());
    let cursor = form.fields.draw(buf, inner, theme, |name| form.error(name, names));
    if plan_width > 0 {
        let beside = Rect { x: fields.right(), width: plan_width, ..area };
        let inner = boxed(buf, beside, theme, Line::styled(" plan ", theme.strong), Line::default());
        let plan = form.plan(tables);
        if plan.is_empty() {
            say(buf, inner, theme, "Type which table: the plan follows.");
        }
        draw_figures(buf, inner, theme, plan);
    }
    cursor
}
