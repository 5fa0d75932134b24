//! The form that sends a range of events on, and the plan beside it.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;

use super::{boxed, say};
use crate::console::app::App;
use crate::console::widget::form::draw_figures;
use crate::console::widget::text::shown;

/// Draws it; returns where the cursor stands.
pub fn draw(buf: &mut Buffer, area: Rect, app: &App) -> Option<(u16, u16)> {
    let theme = &app.theme;
    let form = app.replay_form.as_ref()?;
    let streams = app.streams.rows.as_deref();
    let plan_width = if area.width >= 80 { 38 } else { 0 };
    let fields = Rect { width: area.width - plan_width, ..area };
    let title = Line::styled(format!(" play {} again ", shown(&form.events)), theme.strong);
    let inner = boxed(buf, fields, theme, title, Line::default());
    let cursor = form.fields.draw(buf, inner, theme, |name| form.error(name, streams, app.now_ms));
    if plan_width > 0 {
        let beside = Rect { x: fields.right(), width: plan_width, ..area };
        let inner = boxed(buf, beside, theme, Line::styled(" plan ", theme.strong), Line::default());
        let plan = form.plan(app);
        if plan.is_empty() {
            say(buf, inner, theme, "Fill in what is wrong: the plan follows.");
        }
        draw_figures(buf, inner, theme, plan);
    }
    cursor
}
