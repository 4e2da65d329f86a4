//! Tables with aligned columns.

use crate::render::{Style, escape::escape};

/// Rows of cells; columns are as wide as their widest cell.
pub(super) struct Table {
    columns: Vec<Align>,
    rows: Vec<Vec<String>>,
}

/// How a column is aligned.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    Right,
}

impl Table {
    /// A table with these headings. A heading that begins with `<` stands over a column aligned to
    /// the left, any other over one aligned to the right.
    pub(super) fn new(headings: &[&str]) -> Self {
        let (columns, row) = headings
            .iter()
            .map(|heading| match heading.strip_prefix('<') {
                Some(heading) => (Align::Left, heading.to_owned()),
                None => (Align::Right, (*heading).to_owned()),
            })
            .unzip();
        Self { columns, rows: vec![row] }
    }

    /// Adds a row; missing cells are empty.
    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let mut cells: Vec<_> = cells.into_iter().map(|cell| escape(&cell)).collect();
        cells.resize(self.columns.len(), String::new());
        self.rows.push(cells);
    }

    /// The table as lines, cut at the width.
    pub(super) fn render(&self, style: Style) -> String {
        let widths: Vec<usize> = (0..self.columns.len())
            .map(|column| self.rows.iter().map(|row| width(&row[column])).max().unwrap_or(0))
            .collect();
        let mut out = String::new();
        for (index, row) in self.rows.iter().enumerate() {
            let mut line = String::new();
            for ((cell, &wide), align) in row.iter().zip(&widths).zip(&self.columns) {
                if !line.is_empty() {
                    line.push_str("  ");
                }
                let padding = " ".repeat(wide - width(cell));
                match align {
                    Align::Left => line.extend([cell.as_str(), &padding]),
                    Align::Right => line.extend([padding.as_str(), cell]),
                }
            }
            let line = cut(line.trim_end(), style.width);
            out.push_str(&if index == 0 { style.faint(&line) } else { line });
            out.push('\n');
        }
        out
    }
}

fn width(text: &str) -> usize {
    text.chars().count()
}

/// The text, or as much of it as fits, with `..` where it was cut.
pub(super) fn cut(text: &str, limit: usize) -> String {
    if width(text) <= limit {
        return text.into();
    }
    let mut short: String = text.chars().take(limit.saturating_sub(2)).collect();
    short.push_str("..");
    short
}
