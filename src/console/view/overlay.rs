//! What lies over a screen: help, something to read, a question.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::{over, palette, words};
use crate::console::app::{App, Overlay};
use crate::console::confirm::{Confirm, Token};
use crate::console::keymap::{Action, Scope};
use crate::console::mouse::{Target, mark};
use crate::console::widget::text::{shown, wrap};
use crate::console::widget::{below, write};

/// Draws it; returns where the cursor stands.
pub fn draw(buf: &mut Buffer, area: Rect, app: &App, overlay: &Overlay) -> Option<(u16, u16)> {
    mark(area, Target::Cover);
    match overlay {
        Overlay::Help(reading) => words::draw_help(buf, area, app, reading),
        Overlay::Words(all) => words::draw(buf, area, app, all),
        Overlay::Palette(line) => Some(palette::draw(buf, area, app, line)),
        Overlay::Text(text) => {
            let (width, height) = text.size();
            let inner = over(buf, area, &app.theme, &text.title, width, height);
            for (row, line) in text.in_sight(inner.height).enumerate() {
                write(buf, inner, row as u16, &Line::raw(line));
            }
            None
        }
        Overlay::Confirm(question) => draw_question(buf, area, app, question),
        Overlay::Contexts(picker) => super::context::draw(buf, area, app, picker),
        Overlay::Prompt(_) => None,
    }
}

fn draw_question(buf: &mut Buffer, area: Rect, app: &App, question: &Confirm) -> Option<(u16, u16)> {
    let theme = &app.theme;
    let width = area.width.min(80);
    let room = usize::from(width).saturating_sub(4 + 15);
    let mut lines: Vec<Line<'static>> = Vec::new();
    let undo = [("undo", question.undo.clone())];
    for (name, value) in question.facts.iter().chain(&undo) {
        for (i, part) in wrap(&shown(value), room).into_iter().enumerate() {
            let name = if i == 0 { *name } else { "" };
            lines.push(Line::from(vec![Span::styled(format!("{name:<15}"), theme.dim), Span::raw(part)]));
        }
    }
    lines.push(Line::default());
    let chord = |scope, action| app.keymap.chord(scope, action).unwrap_or_default();
    let mut cursor_column = None;
    match &question.token {
        Token::Yes | Token::Again => {
            let scope = if question.token == Token::Yes { Scope::Confirm } else { Scope::Review };
            let (do_it, leave) = if question.token == Token::Yes { ("do it", "leave it") } else { ("start", "change") };
            lines.push(Line::from(vec![
                Span::styled(chord(scope, Action::Yes), theme.accent),
                Span::raw(format!(" {do_it}    ")),
                Span::styled(chord(scope, Action::No), theme.accent),
                Span::raw(format!(" {leave}")),
            ]));
        }
        Token::Name(name) => {
            let label = format!("type {} and {}: ", shown(name), chord(Scope::Prompt, Action::Accept));
            cursor_column = Some(label.len() + question.typed.visual_cursor());
            let style = if question.is_given() { theme.accent } else { theme.warn };
            lines.push(Line::from(vec![
                Span::styled(label, theme.strong),
                Span::styled(shown(question.typed.value()), style),
            ]));
        }
    }
    let height = u16::try_from(lines.len() + 2).unwrap_or(u16::MAX);
    let inner = over(buf, area, theme, &shown(&question.title), width, height);
    // Where not everything fits, the answer does.
    let hidden = lines.len().saturating_sub(usize::from(inner.height));
    for (row, line) in lines.iter().skip(hidden).enumerate() {
        write(buf, inner, row as u16, line);
    }
    let row = ((lines.len() - hidden) as u16).saturating_sub(1);
    cursor_column.map(|x| (inner.x + x as u16, below(inner, row).y))
}
