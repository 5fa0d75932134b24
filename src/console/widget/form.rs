//! A form: fields with their labels, hints and errors, the one that is typed into, and the figures that follow from them.
//!
//! ```text
//!  source          s3://backups/h.csv
//! ▸table           historcal
//!                  there is no such table: did you mean historical?
//! ```

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use tui_input::Input;

use super::text::{clip, shown, wrap};
use super::{write, write_right};
use crate::console::mouse::{self, Target};
use crate::console::theme::Theme;

/// One field.
#[derive(Clone, Debug)]
pub struct Field<N> {
    /// Which.
    pub name: N,
    /// What stands before it.
    pub label: &'static str,
    /// What stands in it while it is empty.
    pub hint: &'static str,
    /// What was typed.
    pub input: Input,
}

impl<N> Field<N> {
    /// A field that holds `value`.
    pub fn new(name: N, label: &'static str, hint: &'static str, value: impl Into<String>) -> Self {
        Self { name, label, hint, input: Input::new(value.into()) }
    }
}

/// The fields of a form.
#[derive(Clone, Debug)]
pub struct Fields<N> {
    /// Top to bottom.
    pub all: Vec<Field<N>>,
    /// The field that is typed into.
    pub at: usize,
}

/// What keys do to the fields of any form.
pub trait Typing {
    /// On to the next field; from the last to the first.
    fn next(&mut self);
    /// Back to the field before; from the first to the last.
    fn previous(&mut self);
    /// To field number `at`.
    fn go_to(&mut self, at: usize);
    /// What is typed into.
    fn input(&mut self) -> &mut Input;
}

impl<N> Typing for Fields<N> {
    fn next(&mut self) {
        self.at = (self.at + 1) % self.all.len();
    }

    fn previous(&mut self) {
        self.at = (self.at + self.all.len() - 1) % self.all.len();
    }

    fn go_to(&mut self, at: usize) {
        self.at = at;
    }

    fn input(&mut self) -> &mut Input {
        &mut self.all[self.at].input
    }
}

impl<N: Copy + PartialEq> Fields<N> {
    /// Fields, top to bottom, of which number `at` is typed into.
    pub fn new(all: Vec<Field<N>>, at: usize) -> Self {
        Self { all, at }
    }

    /// What was typed into a field, without spaces around it.
    pub fn value(&self, name: N) -> &str {
        self.all.iter().find(|field| field.name == name).map_or("", |field| field.input.value().trim())
    }

    /// True when a field says yes.
    pub fn says_yes(&self, name: N) -> bool {
        self.value(name).starts_with('y')
    }

    /// Puts `value` into a field.
    pub fn set(&mut self, name: N, value: impl Into<String>) {
        if let Some(field) = self.all.iter_mut().find(|field| field.name == name) {
            field.input = Input::new(value.into());
        }
    }

    /// The field that is typed into.
    pub fn here(&mut self) -> &mut Field<N> {
        &mut self.all[self.at]
    }

    /// The first field with an error, by its number, and the error.
    pub fn first_error(&self, error: impl Fn(N) -> Option<String>) -> Option<(usize, String)> {
        self.all.iter().enumerate().find_map(|(at, field)| Some((at, error(field.name)?)))
    }

    /// The errors to show below each field.
    fn errors(&self, error: impl Fn(N) -> Option<String>) -> Vec<Option<String>> {
        let shown = |(at, field): (usize, &Field<N>)| {
            // What is missing is no mistake before one has been there.
            let untouched = field.input.value().is_empty() && at != self.at;
            error(field.name).filter(|_| !untouched)
        };
        self.all.iter().enumerate().map(shown).collect()
    }

    /// Draws them into `inner`, each with what `error` says of it; returns where the cursor stands.
    pub fn draw(
        &self,
        buf: &mut Buffer,
        inner: Rect,
        theme: &Theme,
        error: impl Fn(N) -> Option<String>,
    ) -> Option<(u16, u16)> {
        // A mark before, a space behind.
        let label_width = self.all.iter().map(|field| field.label.len()).max().unwrap_or_default() + 2;
        let room = usize::from(inner.width).saturating_sub(label_width + 1);
        let below: Vec<Vec<String>> = self
            .errors(error)
            .iter()
            .map(|e| e.as_ref().map(|e| wrap(&shown(e), room).into_iter().take(2).collect()).unwrap_or_default())
            .collect();
        // Room between the fields where there is some; where there is none, the fields before the current one leave.
        let tight: usize = below.iter().map(|lines| 1 + lines.len()).sum();
        let loose = self.all.len() * 2 + 1 + below.iter().map(|lines| lines.len().saturating_sub(1)).sum::<usize>();
        let is_loose = usize::from(inner.height) >= loose;
        let mut first = 0;
        if !is_loose && usize::from(inner.height) < tight {
            let height = |from: usize| below[from..=self.at].iter().map(|lines| 1 + lines.len()).sum::<usize>();
            while first < self.at && height(first) > usize::from(inner.height) {
                first += 1;
            }
        }
        let mut row = u16::from(is_loose);
        let mut cursor = None;
        for (at, field) in self.all.iter().enumerate().skip(first) {
            let is_here = at == self.at;
            let mark = if is_here { theme.glyphs.cursor } else { " " };
            let scroll = field.input.visual_scroll(room.max(1));
            let value = shown(field.input.value());
            let value = match (value.is_empty(), is_here) {
                (true, _) => Span::styled(clip(field.hint, room), theme.dim),
                (_, true) => Span::styled(value.chars().skip(scroll).collect::<String>(), theme.accent),
                _ => Span::raw(clip(&value, room)),
            };
            let label = format!("{mark}{:<width$} ", field.label, width = label_width - 2);
            let label = Span::styled(label, if is_here { theme.selected } else { theme.dim });
            write(buf, inner, row, &Line::from(vec![label, value]));
            if row < inner.height {
                mouse::mark(Rect { y: inner.y + row, height: 1, ..inner }, Target::Field(at));
            }
            if is_here && row < inner.height {
                let x = inner.x + (label_width + field.input.visual_cursor().saturating_sub(scroll)) as u16;
                cursor = Some((x.min(inner.right().saturating_sub(1)), inner.y + row));
            }
            row += 1;
            let style = if field.input.value().is_empty() { theme.dim } else { theme.bad };
            for line in &below[at] {
                write(buf, inner, row, &Line::styled(format!("{:label_width$}{line}", ""), style));
                row += 1;
            }
            row += u16::from(is_loose && below[at].is_empty());
        }
        cursor
    }
}

/// Draws names and values, one a row.
pub fn draw_figures(buf: &mut Buffer, inner: Rect, theme: &Theme, figures: Vec<(&'static str, String)>) {
    for (row, (name, value)) in figures.into_iter().enumerate() {
        write(buf, inner, row as u16, &Line::styled(format!(" {name}"), theme.dim));
        write_right(buf, inner, row as u16, &Line::raw(format!("{value} ")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_walked_in_a_ring_and_the_first_error_is_found() {
        let mut fields = Fields::new(
            vec![Field::new('a', "a", "", " x "), Field::new('b', "b", "", ""), Field::new('c', "c", "", "yes")],
            2,
        );
        fields.next();
        assert_eq!((fields.at, fields.value('a'), fields.says_yes('c')), (0, "x", true));
        fields.previous();
        assert_eq!(fields.here().name, 'c');
        fields.set('b', "typed");
        assert_eq!(fields.value('b'), "typed");
        let wrong = |name| (name != 'a').then(|| format!("{name} is wrong"));
        assert_eq!(fields.first_error(wrong), Some((1, "b is wrong".to_owned())));
    }
}
