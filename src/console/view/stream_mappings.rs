//! The event source mappings of a stream: which Lambda functions read it, and how they fare.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::Line;

use super::streams::BEHIND_MS;
use super::{boxed, listed, none_match, say};
use crate::cloud::Class;
use crate::cloud::mappings::Mapping;
use crate::console::app::App;
use crate::console::columns::List;
use crate::console::widget::quantity::{duration, exact};
use crate::console::widget::table::{self, Cell, Column, left, right};
use crate::console::widget::text::shown;

const COLUMNS: [Column; 7] = [
    left("FUNCTION", 36, 0),
    left("STATE", 9, 0),
    left("LAST RESULT", 36, 2),
    right("BATCH", 6, 4),
    right("PARALLEL", 8, 5),
    right("RETRIES", 8, 6),
    right("AGE", 9, 1),
];

/// Draws it.
pub fn draw(buf: &mut Buffer, area: Rect, app: &App, name: &str) {
    let theme = &app.theme;
    let known = app.at_stream.mappings.as_ref().filter(|_| app.at_stream.name == name);
    let count = known.and_then(|known| known.as_ref().ok()).map_or(String::new(), |all| format!(" {}", all.len()));
    let title = format!(" event source mappings of {}{count} ", shown(name));
    let (right, columns) = listed(app, List::Mappings, COLUMNS, 0);
    let inner = boxed(buf, area, theme, Line::styled(title, theme.strong), right);
    match known {
        None if app.trouble.is_some() => {
            let words = format!("Which functions read {} can't be told: see above.", shown(name));
            say(buf, inner, theme, &words);
        }
        None => say(buf, inner, theme, &format!("Asking Lambda which functions read {}…", shown(name))),
        Some(Err(error)) if error.class == Class::Auth => {
            let words = format!(
                "Not known: these credentials may not list event source mappings. {}. Functions may well read this stream.",
                shown(error.hint.trim_end_matches('.'))
            );
            say(buf, inner, theme, &words);
        }
        Some(Err(error)) => say(buf, inner, theme, &format!("Not known: {}.", shown(&error.to_string()))),
        Some(Ok(all)) if all.is_empty() => {
            let words = format!(
                "No Lambda function of this account reads {} by an event source mapping. sluice-lambda can be one \
                 (deploy/template.yaml); sluice work -k {0} reads it from here. {} goes back.",
                shown(name),
                super::back_key(app)
            );
            say(buf, inner, theme, &words);
        }
        Some(Ok(all)) => {
            let rows = app.shown_mappings();
            if rows.is_empty() {
                return say(buf, inner, theme, &none_match(app, List::Mappings, all.len(), 0));
            }
            let selected = app.at_stream.mappings_list.index(rows.iter().map(|(mapping, _)| mapping.uuid.as_str()));
            let cells: Vec<Vec<Cell>> = rows.iter().map(|(mapping, age)| cells(app, mapping, *age)).collect();
            table::draw(buf, inner, theme, &columns, &cells, Some(selected));
        }
    }
}

fn cells(app: &App, mapping: &Mapping, age: Option<f64>) -> Vec<Cell> {
    let theme = &app.theme;
    let plain = Style::new();
    let failing = mapping.last_result.starts_with("PROBLEM");
    vec![
        (shown(mapping.function()), plain),
        (mapping.state.clone(), if mapping.is_on() { plain } else { theme.accent }),
        (shown(&mapping.last_result), if failing { theme.warn } else { plain }),
        (exact(u64::from(mapping.batch_size)), plain),
        (mapping.parallelization.to_string(), plain),
        (mapping.retries.map_or("for ever".to_owned(), |n| n.to_string()), plain),
        match age {
            Some(ms) if ms >= BEHIND_MS as f64 => (duration(ms), theme.warn),
            Some(ms) => (duration(ms), plain),
            None => ("-".to_owned(), theme.dim),
        },
    ]
}

/// Everything about a mapping.
pub fn exact_lines(app: &App, mapping: &Mapping) -> Vec<String> {
    let known = app.at_stream.mappings.iter().flatten().flatten();
    let age = known.into_iter().find(|(m, _)| m.uuid == mapping.uuid).and_then(|(_, age)| *age);
    vec![
        format!("function     {}", shown(&mapping.function_arn)),
        format!("uuid         {}", shown(&mapping.uuid)),
        format!("state        {} ({})", mapping.state, shown(&mapping.reason)),
        format!("last result  {}", shown(&mapping.last_result)),
        format!("batches      {} records, {} a shard at once", mapping.batch_size, mapping.parallelization),
        format!(
            "failures     tried again {}{}",
            mapping.retries.map_or("until its records expire".to_owned(), |n| format!("{n} times")),
            if mapping.bisects { ", each time cut in half" } else { "" }
        ),
        format!("given up to  {}", mapping.on_failure.as_deref().map_or("nowhere: lost".to_owned(), shown)),
        format!(
            "age          {}",
            age.map_or("- (CloudWatch has none of the last minutes)".to_owned(), |ms| {
                format!("{} ms when the last batch was done", exact(ms as u64))
            })
        ),
    ]
}
