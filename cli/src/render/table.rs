//! Aligned columns. The last column is not padded, so that lines have no blanks at their end.

use super::safe;

/// A column is made at most so wide for one cell; a longer one moves what is behind it in its own row.
const MAX_WIDTH: usize = 80;

pub struct Table {
    rows: Vec<Vec<String>>,
    right: Vec<bool>,
}

impl Table {
    /// A name that starts with `>` makes its column flush right.
    pub fn new(names: &[&str]) -> Table {
        let right = names.iter().map(|name| name.starts_with('>')).collect();
        let names = names.iter().map(|name| name.trim_start_matches('>').to_string()).collect();
        Table { rows: vec![names], right }
    }

    /// Without a line of names.
    pub fn bare(columns: usize) -> Table {
        Table { rows: Vec::new(), right: vec![false; columns] }
    }

    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells.iter().map(|cell| safe(cell)).collect());
    }

    /// Every line with its end; columns that are empty in every row are left out.
    pub fn text(&self) -> String {
        let named = usize::from(self.rows.len() > 1 && self.right.len() > 1);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            let empty = self.rows.iter().skip(named).all(|row| row.get(column).is_none_or(String::is_empty));
            if empty && self.rows.len() > 1 { 0 } else { widest(cells) }
        };
        let widths: Vec<usize> = (0..self.right.len()).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (i, cell) in row.iter().enumerate().filter(|(i, _)| widths[*i] > 0) {
                let gap = if line.is_empty() { "" } else { "  " };
                let pad = " ".repeat(widths[i].saturating_sub(cell.chars().count()));
                line += &if self.right[i] { format!("{gap}{pad}{cell}") } else { format!("{gap}{cell}{pad}") };
            }
            text += line.trim_end();
            text.push('\n');
        }
        text
    }
}

/// Cells beyond the bound don't count.
fn widest<'a>(cells: impl Iterator<Item = &'a String>) -> usize {
    cells.map(|cell| cell.chars().count()).map(|width| if width > MAX_WIDTH { 1 } else { width }).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_absurdly_long_cell_does_not_pad_the_other_rows() {
        let mut table = Table::new(&["HOST", "STATE"]);
        table.row(vec!["h".repeat(1_000), "UP".into()]);
        table.row(vec!["node-1".into(), "UP".into()]);
        assert_eq!(table.text(), format!("HOST    STATE\n{}  UP\nnode-1  UP\n", "h".repeat(1_000)));
    }

    #[test]
    fn columns_line_up_and_empty_ones_vanish() {
        let mut table = Table::new(&["JOB", "NOTHING", ">RUNNING", "STATE"]);
        table.row(vec!["www/prod/web".into(), String::new(), "3".into(), "ok".into()]);
        table.row(vec!["ü".into(), String::new(), "12".into(), "a\u{1b}b".into()]);
        let expected = "\
JOB           RUNNING  STATE
www/prod/web        3  ok
ü                  12  a\\u{1b}b
";
        assert_eq!(table.text(), expected);
    }

    #[test]
    fn a_table_without_rows_still_names_its_columns() {
        assert_eq!(Table::new(&["A", "B"]).text(), "A  B\n");
    }
}
