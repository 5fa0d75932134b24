//! The mouse: what of a frame can be pointed at, and what a click, a drag, the wheel or a hover there does. Everything a mouse
//! does a key does too.
//!
//! Drawing notes down what can be pointed at as it goes ([`mark`] within [`collect`]), which the loop hands to the state after
//! each frame; what an event hits is then a question to that list alone.

use std::cell::RefCell;

use crossterm::event::{MouseButton, MouseEvent, MouseEventKind};
use ratatui::layout::{Position, Rect};

use super::app::{App, Overlay, Screen};
use super::effect::Effect;
use super::keymap::Action;
use super::keys;

/// Rows that a notch of the wheel moves.
const NOTCH: usize = 3;

/// Something on screen that can be pointed at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Target {
    /// A row of a list, so many rows below the selected one.
    Row(isize),
    /// The header of a column.
    Header(&'static str),
    /// A field of a form, by its number.
    Field(usize),
    /// What a key does.
    Does(Action),
    /// A screen on the way down to this one, counted from the first.
    Behind(usize),
    /// The lines of a chart, from when to when, ms since epoch.
    Plot(i64, i64),
    /// What lies over the screen: what is below can't be pointed at.
    Cover,
}

thread_local! {
    static MARKED: RefCell<Option<Vec<(Rect, Target)>>> = const { RefCell::new(None) };
}

/// Notes down that `target` is drawn at `area`. Does nothing where nobody collects.
pub fn mark(area: Rect, target: Target) {
    if area.is_empty() {
        return;
    }
    MARKED.with_borrow_mut(|marked| {
        if let Some(marked) = marked {
            marked.push((area, target));
        }
    });
}

/// Draws, and returns what can be pointed at.
pub fn collect(draw: impl FnOnce()) -> Vec<(Rect, Target)> {
    MARKED.set(Some(Vec::new()));
    draw();
    MARKED.take().unwrap_or_default()
}

/// What is at a cell: what was drawn last lies on top.
pub fn hit(targets: &[(Rect, Target)], column: u16, row: u16) -> Option<(Rect, Target)> {
    let at = Position { x: column, y: row };
    let top = targets.iter().rposition(|(_, target)| *target == Target::Cover).unwrap_or(0);
    targets[top..].iter().rev().find(|(area, target)| area.contains(at) && *target != Target::Cover).copied()
}

/// A chart that is dragged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Drag {
    /// The column that it is held at.
    column: u16,
    /// Ms that a column stands for.
    per_column: f64,
    /// It was moved.
    moved: bool,
}

impl App {
    /// Whether the mouse is ours: not where a text is read, so that the terminal's own selection works there.
    pub fn wants_mouse(&self) -> bool {
        self.mouse && !matches!(self.overlay, Some(Overlay::Text(..) | Overlay::Help(_) | Overlay::Words(_)))
    }
}

/// The mouse did something. Only what changes the state makes a new frame.
pub(super) fn act(app: &mut App, event: MouseEvent) -> Vec<Effect> {
    let found = hit(&app.targets, event.column, event.row);
    match event.kind {
        MouseEventKind::Moved => {
            hover(app, found, event.column);
            Vec::new()
        }
        // As a key does.
        MouseEventKind::Down(MouseButton::Left) if app.tour && app.overlay.is_none() => {
            app.dirty = true;
            app.close_tour().into_iter().collect()
        }
        MouseEventKind::Down(MouseButton::Left) => press(app, found, event.column),
        MouseEventKind::Drag(MouseButton::Left) => drag(app, event.column),
        MouseEventKind::Up(MouseButton::Left) => {
            app.drag = None;
            Vec::new()
        }
        MouseEventKind::ScrollUp => turn(app, Action::Up),
        MouseEventKind::ScrollDown => turn(app, Action::Down),
        _ => Vec::new(),
    }
}

fn moment(area: Rect, from_ms: i64, to_ms: i64, column: u16) -> i64 {
    // The middle of the column.
    let share = (f64::from(column.saturating_sub(area.x)) + 0.5) / f64::from(area.width.max(1));
    from_ms + ((to_ms - from_ms) as f64 * share) as i64
}

/// The crosshair follows the mouse over a chart, unless a key or a click put it somewhere.
fn hover(app: &mut App, found: Option<(Rect, Target)>, column: u16) {
    if app.time.cursor_ms.is_some() && !app.time.hovers {
        return;
    }
    let at = match found {
        Some((area, Target::Plot(from_ms, to_ms))) => Some(moment(area, from_ms, to_ms, column)),
        _ => None,
    };
    if at != app.time.cursor_ms {
        app.time.cursor_ms = at;
        app.time.hovers = at.is_some();
        app.dirty = true;
    }
}

fn press(app: &mut App, found: Option<(Rect, Target)>, column: u16) -> Vec<Effect> {
    let Some((area, target)) = found else { return Vec::new() };
    app.dirty = true;
    match target {
        Target::Row(0) => keys::act(app, Action::Open),
        Target::Row(rows) => {
            let action = if rows < 0 { Action::Up } else { Action::Down };
            times(app, action, rows.unsigned_abs())
        }
        Target::Header(title) => keys::sort_by(app, title),
        Target::Field(at) => {
            if let Some(fields) = app.fields() {
                fields.go_to(at);
            }
            Vec::new()
        }
        Target::Does(action) => keys::act(app, action),
        Target::Behind(at) => app.back_to(at),
        Target::Plot(from_ms, to_ms) => {
            app.time.cursor_ms = Some(moment(area, from_ms, to_ms, column));
            app.time.hovers = false;
            let per_column = (to_ms - from_ms) as f64 / f64::from(area.width.max(1));
            app.drag = Some(Drag { column, per_column, moved: false });
            Vec::new()
        }
        Target::Cover => Vec::new(),
    }
}

/// The window goes with the mouse.
fn drag(app: &mut App, column: u16) -> Vec<Effect> {
    let Some(held) = app.drag else { return Vec::new() };
    let columns = f64::from(held.column) - f64::from(column);
    if columns == 0.0 {
        return Vec::new();
    }
    app.dirty = true;
    if !held.moved {
        // It is the window that is meant, not the moment that was pressed on.
        app.time.cursor_ms = None;
    }
    app.drag = Some(Drag { column, moved: true, ..held });
    app.pan_by((columns * held.per_column).round() as i64)
}

fn turn(app: &mut App, action: Action) -> Vec<Effect> {
    let scrolls = match &app.overlay {
        Some(Overlay::Help(_) | Overlay::Text(..) | Overlay::Words(_) | Overlay::Palette(_)) => true,
        Some(_) => false,
        // A job's screen has nothing that scrolls; in a form the wheel would change fields.
        None => !app.screen.is_form() && !matches!(app.screen, Screen::Job(_)),
    };
    if !scrolls {
        return Vec::new();
    }
    app.dirty = true;
    times(app, action, NOTCH)
}

fn times(app: &mut App, action: Action, times: usize) -> Vec<Effect> {
    (0..times).flat_map(|_| keys::act(app, action)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(y: u16) -> Rect {
        Rect::new(2, y, 30, 1)
    }

    #[test]
    fn what_was_drawn_last_is_hit_and_what_is_covered_is_not() {
        let targets = collect(|| {
            mark(row(3), Target::Row(0));
            mark(row(4), Target::Row(1));
            mark(Rect::new(0, 4, 5, 1), Target::Does(Action::Help));
        });
        assert_eq!(hit(&targets, 2, 3).map(|(_, target)| target), Some(Target::Row(0)));
        assert_eq!(hit(&targets, 2, 4).map(|(_, target)| target), Some(Target::Does(Action::Help)));
        assert_eq!(hit(&targets, 1, 3), None);
        let mut covered = targets;
        covered.push((Rect::new(0, 0, 40, 10), Target::Cover));
        covered.push((row(5), Target::Does(Action::Yes)));
        assert_eq!(hit(&covered, 2, 3), None);
        assert_eq!(hit(&covered, 2, 5).map(|(_, target)| target), Some(Target::Does(Action::Yes)));
    }

    #[test]
    fn nothing_is_noted_where_nobody_collects() {
        mark(row(1), Target::Row(0));
        assert_eq!(collect(|| {}), []);
    }

    #[test]
    fn a_column_of_a_chart_is_the_moment_in_its_middle() {
        let area = Rect::new(10, 0, 60, 5);
        assert_eq!(moment(area, 0, 60_000, 10), 500);
        assert_eq!(moment(area, 0, 60_000, 69), 59_500);
    }
}
