//! A page as Markdown (GitHub's, for its tables), with its charts as files beside it.

use std::fmt::Write as _;

use super::page::{Block, Page, Table};
use super::text::markdown;
use super::{JobReport, Picture};

/// Writes it. Pictures are named after `stem`.
pub fn render(page: &Page, stem: &str) -> JobReport {
    let mut text = format!("# {}\n", markdown(&page.title));
    let mut pictures = Vec::new();
    for block in &page.blocks {
        text.push('\n');
        match block {
            Block::Heading(words) => {
                let _ = writeln!(text, "## {}", markdown(words));
            }
            Block::Text(words) => {
                let _ = writeln!(text, "{}", markdown(words));
            }
            Block::Warning(words) => {
                let _ = writeln!(text, "> **{}**", markdown(words));
            }
            Block::Facts(facts) => {
                text.push_str("| | |\n| --- | --- |\n");
                for (name, value) in facts {
                    let _ = writeln!(text, "| {} | {} |", markdown(name), markdown(value));
                }
            }
            Block::Table(rows) => table(rows, &mut text),
            Block::Chart(chart) => {
                let name = format!("{stem}-{}.svg", pictures.len() + 1);
                let _ = writeln!(text, "![{}]({})", markdown(&chart.title), address(&name));
                pictures.push(Picture { name, svg: chart.svg(true) });
            }
        }
    }
    JobReport { text, pictures }
}

/// A file's name as the target of a link.
fn address(name: &str) -> String {
    let mut address = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => address.push(char::from(byte)),
            byte => {
                let _ = write!(address, "%{byte:02X}");
            }
        }
    }
    address
}

fn table(table: &Table, text: &mut String) {
    for (head, _) in &table.heads {
        let _ = write!(text, "| {} ", markdown(head));
    }
    text.push_str("|\n");
    for (_, number) in &table.heads {
        text.push_str(if *number { "| ---: " } else { "| --- " });
    }
    text.push_str("|\n");
    for row in &table.rows {
        for cell in row {
            let _ = write!(text, "| {} ", markdown(cell));
        }
        text.push_str("|\n");
    }
}
