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
    let plan_width = match area.width {
        ..70 => 0,
        70..100 => 38,
        width => width * 2 / 5,
    };
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

/// The errors to show below each field.
fn errors(app: &App, form: &RestoreForm) -> Vec<Option<String>> {
    let (tables, streams) = (app.tables.rows.as_deref(), app.streams.rows.as_deref());
    let shown = |(i, field): (usize, &crate::console::form::Field)| {
        // What is missing is no mistake before one has been there.
        let untouched = field.input.value().is_empty() && i != form.at;
        form.error(field.name, tables, streams).filter(|_| !untouched)
    };
    form.fields.iter().enumerate().map(shown).collect()
}

fn draw_fields(buf: &mut Buffer, inner: Rect, app: &App, form: &RestoreForm) -> Option<(u16, u16)> {
    let theme = &app.theme;
    let errors = errors(app, form);
    let room = usize::from(inner.width.saturating_sub(LABEL + 1));
    let below: Vec<Vec<String>> = errors
        .iter()
        .map(|error| error.as_ref().map(|e| wrap(&shown(e), room).into_iter().take(2).collect()).unwrap_or_default())
        .collect();
    // Room between the fields where there is some; where there is none, the fields before the current one leave.
    let tight: usize = below.iter().map(|lines| 1 + lines.len()).sum();
    let loose = form.fields.len() * 2 + 1 + below.iter().map(|lines| lines.len().saturating_sub(1)).sum::<usize>();
    let is_loose = usize::from(inner.height) >= loose;
    let mut first = 0;
    if !is_loose && usize::from(inner.height) < tight {
        let height = |from: usize| below[from..=form.at].iter().map(|lines| 1 + lines.len()).sum::<usize>();
        while first < form.at && height(first) > usize::from(inner.height) {
            first += 1;
        }
    }
    let mut row = u16::from(is_loose);
    let mut cursor = None;
    for (i, field) in form.fields.iter().enumerate().skip(first) {
        let is_here = i == form.at;
        let mark = if is_here { theme.glyphs.cursor } else { " " };
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
        let style = if field.input.value().is_empty() { theme.dim } else { theme.bad };
        for line in &below[i] {
            write(buf, inner, row, &Line::styled(format!("{:LABEL$}{line}", "", LABEL = usize::from(LABEL)), style));
            row += 1;
        }
        row += u16::from(is_loose && below[i].is_empty());
    }
    cursor
}

fn draw_plan(buf: &mut Buffer, inner: Rect, app: &App, form: &RestoreForm) {
    let theme = &app.theme;
    let Some(plan) = form.plan(app.tables.rows.as_deref()) else {
        let words = match &form.looked {
            Some(Err(_)) => "No plan: the form says what is wrong.",
            _ if form.is_looked_at || form.changed_ms.is_some() => "Looking at the source…",
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
