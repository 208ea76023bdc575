//! Plain tables for people.
//!
//! Promises: columns are aligned, cells never contain line breaks or control characters (names and reasons come from
//! others, and a terminal obeys what it is shown). Must not: know what it shows.

/// A table with a header.
#[derive(Debug, Clone, Default)]
pub(super) struct Table {
    header: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new(header: &[&'static str]) -> Self {
        Self { header: header.to_vec(), rows: Vec::new() }
    }

    /// Adds a row with as many cells as the header has.
    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = impl ToString>) {
        let cells: Vec<String> = cells.into_iter().map(|cell| printable(&cell.to_string())).collect();
        debug_assert_eq!(cells.len(), self.header.len(), "every row has a cell for each column");
        self.rows.push(cells);
    }

    /// The table as text, with a line end after each line.
    pub(super) fn render(&self) -> String {
        let header: Vec<String> = self.header.iter().map(|name| (*name).to_owned()).collect();
        render_rows(std::iter::once(&header).chain(&self.rows))
    }
}

/// Names and values of one thing, one below the other.
#[derive(Debug, Clone, Default)]
pub(super) struct Details {
    rows: Vec<Vec<String>>,
}

impl Details {
    #[must_use]
    pub(super) fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.rows.push(vec![name.to_owned(), printable(&value.to_string())]);
        self
    }

    /// The same if there is a value.
    #[must_use]
    pub(super) fn with_some(self, name: &str, value: Option<impl ToString>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    pub(super) fn render(&self) -> String {
        render_rows(&self.rows)
    }
}

fn render_rows<'rows>(rows: impl IntoIterator<Item = &'rows Vec<String>> + Clone) -> String {
    let mut widths: Vec<usize> = Vec::new();
    for row in rows.clone() {
        widths.resize(widths.len().max(row.len()), 0);
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (width, cell) in widths.iter().zip(row) {
            let padding = width - cell.chars().count() + 2;
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', padding));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn printable(text: &str) -> String {
    if text.is_empty() {
        return "-".to_owned();
    }
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_have_no_trailing_space() {
        let mut table = Table::new(&["NAME", "SLOTS"]);
        table.row(["a", "1"]);
        table.row(["longer", ""]);
        assert_eq!(table.render(), "NAME    SLOTS\na       1\nlonger  -\n");
    }

    #[test]
    fn what_others_named_can_not_steer_the_terminal() {
        let details = Details::default().with("reason", "\u{1b}[2Jgone\nNAME").with_some("no", None::<u8>);
        assert_eq!(details.render(), "reason  ?[2Jgone?NAME\n");
    }
}
