//! A page as one self-contained HTML file.

use std::fmt::Write as _;

use super::chart::STYLE;
use super::page::{Block, Page, Table};
use super::text::html;

/// What the page looks like: dark or light as the reader's screen is, and fit to be printed.
const LOOKS: &str = "\
:root{color-scheme:light dark;--fg:#1b1b1b;--bg:#fff;--dim:#666;--rule:#d8d8d8;--warn:#8a4b00;--warnbg:#fff4e0}\
@media(prefers-color-scheme:dark){:root{--fg:#e4e4e4;--bg:#16181b;--dim:#9a9a9a;--rule:#3a3d42;--warn:#ffc46b;--warnbg:#3a2c12}}\
body{font:15px/1.5 system-ui,sans-serif;color:var(--fg);background:var(--bg);max-width:60rem;margin:2rem auto;padding:0 1rem}\
h1{font-size:1.4rem;overflow-wrap:anywhere}h2{font-size:1.1rem;margin-top:2rem;border-bottom:1px solid var(--rule)}\
table{border-collapse:collapse;margin:.5rem 0;display:block;overflow-x:auto}\
th,td{text-align:left;padding:.15rem .8rem .15rem 0;vertical-align:top;overflow-wrap:anywhere}\
th{color:var(--dim);font-weight:normal}.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}\
.warn{color:var(--warn);background:var(--warnbg);padding:.4rem .7rem}svg{width:100%;height:auto;margin:.5rem 0}\
@media print{body{margin:0;max-width:none}}";

/// Writes it.
pub fn render(page: &Page) -> String {
    let mut out = String::new();
    let title = html(&page.title);
    out.push_str("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    // The page runs nothing and fetches nothing, whatever a record holds.
    out.push_str(
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n",
    );
    let _ = writeln!(out, "<title>{title}</title>\n<style>{LOOKS}{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>");
    for block in &page.blocks {
        match block {
            Block::Heading(words) => {
                let _ = writeln!(out, "<h2>{}</h2>", html(words));
            }
            Block::Text(words) => {
                let _ = writeln!(out, "<p>{}</p>", html(words));
            }
            Block::Warning(words) => {
                let _ = writeln!(out, "<p class=\"warn\">{}</p>", html(words));
            }
            Block::Facts(facts) => {
                out.push_str("<table>\n");
                for (name, value) in facts {
                    let _ = writeln!(out, "<tr><th scope=\"row\">{}</th><td>{}</td></tr>", html(name), html(value));
                }
                out.push_str("</table>\n");
            }
            Block::Table(rows) => table(rows, &mut out),
            Block::Chart(chart) => {
                out.push_str(&chart.svg(false));
                out.push('\n');
            }
        }
    }
    out.push_str("</body>\n</html>\n");
    out
}

fn table(table: &Table, out: &mut String) {
    let class = |number: bool| if number { " class=\"n\"" } else { "" };
    out.push_str("<table>\n<tr>");
    for (head, number) in &table.heads {
        let _ = write!(out, "<th scope=\"col\"{}>{}</th>", class(*number), html(head));
    }
    out.push_str("</tr>\n");
    for row in &table.rows {
        out.push_str("<tr>");
        for (cell, (_, number)) in row.iter().zip(&table.heads) {
            let _ = write!(out, "<td{}>{}</td>", class(*number), html(cell));
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</table>\n");
}
