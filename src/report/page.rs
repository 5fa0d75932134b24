//! A page as blocks of plain text: what html and markdown write, each in its own way, escaping all of it.

use super::chart::Chart;

/// A page.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Its title.
    pub title: String,
    /// What it is made of.
    pub blocks: Vec<Block>,
}

/// A part of a page.
#[derive(Clone, Debug)]
pub enum Block {
    /// A heading below the title.
    Heading(String),
    /// A paragraph.
    Text(String),
    /// A paragraph that a reader must not miss.
    Warning(String),
    /// Names and values.
    Facts(Vec<(String, String)>),
    /// Rows under headings.
    Table(Table),
    /// A chart.
    Chart(Box<Chart>),
}

/// Rows under headings.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// Headings; true where numbers stand below, which line up on the right.
    pub heads: Vec<(&'static str, bool)>,
    /// Rows, with a cell for each heading.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these headings.
    pub fn new(heads: &[(&'static str, bool)]) -> Self {
        Self { heads: heads.to_vec(), rows: Vec::new() }
    }

    /// Adds a row.
    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.into());
    }
}

impl Page {
    /// Adds a heading.
    pub fn heading(&mut self, words: &str) {
        self.blocks.push(Block::Heading(words.to_owned()));
    }

    /// Adds a paragraph.
    pub fn text(&mut self, words: impl Into<String>) {
        self.blocks.push(Block::Text(words.into()));
    }
}
