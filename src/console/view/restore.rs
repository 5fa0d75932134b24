//! The restore form, and the plan beside it.
//!
//! ```text
//! ┌ restore ────────────────────────────────┬ plan ───────────────────┐
//! │ source          s3://backups/h.csv      │ files                 1 │
//! │ table           historcal               │ bytes            9.4 MB │
//! │                 no such table: did you… │ items        about 50k  │
//! └─────────────────────────────────────────┴─────────────────────────┘
//! ```

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::{boxed, say};
use crate::console::app::App;
use crate::console::form::RestoreForm;
use crate::console::widget::text::{clip, shown, wrap};
use crate::console::widget::{write, write_right};

const LABEL: u16 = 17;

/// Draws it; returns where the cursor stands.
pub fn draw(buf: &mut Buffer, area: Rect, app: &App) -> Option<(u16, u16)> {
    let theme = &app.theme;
    let form = app.form.as_ref()?;
    let plan_width = if area.width >= 70 { 38 } else { 0 };
    let fields = Rect { width: area.width - plan_width, ..area };
    let inner = boxed(buf, fields, theme, Line::styled(" restore ", theme.strong), Line::default());
    let cursor = draw_fields(buf, inner, app, form);
    if plan_width > 0 {
        let beside = Rect { x: fields.right(), width: plan_width, ..area };
        let inner = boxed(buf, beside, theme, Line::styled(" plan ", theme.strong), Line::default());
        draw_plan(buf, inner, app, form);
    }
    cursor
}

fn draw_fields(buf: &mut Buffer, inner: Rect, app: &App, form: &RestoreForm) -> Option<(u16, u16)> {
    let theme = &app.theme;
    let (tables, streams) = (app.tables.rows.as_deref(), app.streams.rows.as_deref());
    // Where there is no room for all, the fields before the current one leave.
    let first = if inner.height < 14 { form.at.saturating_sub(usize::from(inner.height) / 4) } else { 0 };
    let mut row = u16::from(inner.height >= 16);
    let mut cursor = None;
    for (i, field) in form.fields.iter().enumerate().skip(first) {
        let is_here = i == form.at;
        let mark = if is_here { theme.glyphs.cursor } else { " " };
        let room = usize::from(inner.width.saturating_sub(LABEL + 1));
        let value = shown(field.input.value());
        let value = if value.is_empty() {
            Span::styled(clip(field.hint, room), theme.dim)
        } else if is_here {
            let scroll = field.input.visual_scroll(room.max(1));
            Span::styled(value.chars().skip(scroll).collect::<String>(), theme.accent)
        } else {
            Span::raw(clip(&value, room))
        };
        let label =
            Span::styled(format!("{mark}{:<15} ", field.label), if is_here { theme.selected } else { theme.dim });
        write(buf, inner, row, &Line::from(vec![label, value]));
        if is_here && row < inner.height {
            let scroll = field.input.visual_scroll(room.max(1));
            let x = inner.x + LABEL + (field.input.visual_cursor().saturating_sub(scroll)) as u16;
            cursor = Some((x.min(inner.right().saturating_sub(1)), inner.y + row));
        }
        row += 1;
        // What is missing is no mistake before one has been there.
        let untouched = field.input.value().is_empty() && !is_here;
        if let Some(error) = form.error(field.name, tables, streams).filter(|_| !untouched) {
            let style = if field.input.value().is_empty() { theme.dim } else { theme.bad };
            for line in wrap(&shown(&error), room).into_iter().take(2) {
                write(
                    buf,
                    inner,
                    row,
                    &Line::styled(format!("{:LABEL$}{line}", "", LABEL = usize::from(LABEL)), style),
                );
                row += 1;
            }
        } else if inner.height >= 16 {
            row += 1;
        }
    }
    cursor
}

fn draw_plan(buf: &mut Buffer, inner: Rect, app: &App, form: &RestoreForm) {
    let theme = &app.theme;
    match form.plan(app.tables.rows.as_deref()) {
        Some(plan) => {
            for (i, (name, value)) in plan.lines().into_iter().enumerate() {
                write(buf, inner, i as u16, &Line::styled(format!(" {name}"), theme.dim));
                write_right(buf, inner, i as u16, &Line::raw(format!("{value} ")));
            }
        }
        None if form.changed_ms.is_some() => say(buf, inner, theme, "Looking at the source…"),
        None => say(buf, inner, theme, "Type where the backup is: the plan follows."),
    }
}
