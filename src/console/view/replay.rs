//! The form that sends a range of events on, and the plan beside it.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::{boxed, say};
use crate::console::app::App;
use crate::console::widget::text::{clip, shown};
use crate::console::widget::{write, write_right};

const LABEL: u16 = 12;

/// Draws it; returns where the cursor stands.
pub fn draw(buf: &mut Buffer, area: Rect, app: &App) -> Option<(u16, u16)> {
    let theme = &app.theme;
    let form = app.replay_form.as_ref()?;
    let streams = app.streams.rows.as_deref();
    let plan_width = if area.width >= 80 { 38 } else { 0 };
    let fields = Rect { width: area.width - plan_width, ..area };
    let title = Line::styled(format!(" play {} again ", shown(&form.events)), theme.strong);
    let inner = boxed(buf, fields, theme, title, Line::default());
    let room = usize::from(inner.width.saturating_sub(LABEL + 1));
    let first = if inner.height < 10 { form.at.saturating_sub(usize::from(inner.height) / 4) } else { 0 };
    let (mut row, mut cursor) = (0, None);
    for (i, field) in form.fields.iter().enumerate().skip(first) {
        let is_here = i == form.at;
        let mark = if is_here { theme.glyphs.cursor } else { " " };
        let scroll = field.input.visual_scroll(room.max(1));
        let value = shown(field.input.value());
        let value = match (value.is_empty(), is_here) {
            (true, _) => Span::styled(clip(field.hint, room), theme.dim),
            (_, true) => Span::styled(value.chars().skip(scroll).collect::<String>(), theme.accent),
            _ => Span::raw(clip(&value, room)),
        };
        let label = format!("{mark}{:<10} ", field.label);
        let label = Span::styled(label, if is_here { theme.selected } else { theme.dim });
        write(buf, inner, row, &Line::from(vec![label, value]));
        if is_here && row < inner.height {
            let x = inner.x + LABEL + field.input.visual_cursor().saturating_sub(scroll) as u16;
            cursor = Some((x.min(inner.right().saturating_sub(1)), inner.y + row));
        }
        if let Some(error) = form.error(field.name, streams, app.now_ms) {
            let error = format!("{:LABEL$}{}", "", clip(&shown(&error), room), LABEL = usize::from(LABEL));
            write(buf, inner, row + 1, &Line::styled(error, theme.bad));
            row += 1;
        } else if inner.height >= 12 {
            row += 1;
        }
        row += 1;
    }
    if plan_width > 0 {
        let beside = Rect { x: fields.right(), width: plan_width, ..area };
        let inner = boxed(buf, beside, theme, Line::styled(" plan ", theme.strong), Line::default());
        let plan = form.plan(app);
        if plan.is_empty() {
            say(buf, inner, theme, "Fill in what is wrong: the plan follows.");
        }
        for (i, (name, value)) in plan.into_iter().enumerate() {
            write(buf, inner, i as u16, &Line::styled(format!(" {name}"), theme.dim));
            write_right(buf, inner, i as u16, &Line::raw(format!("{value} ")));
        }
    }
    cursor
}
