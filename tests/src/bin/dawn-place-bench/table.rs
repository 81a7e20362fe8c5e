//! Rows of a table on standard output.

/// Prints cells, the first wide and left, the others right-aligned.
pub fn row(cells: &[&str]) {
    let text: String = cells
        .iter()
        .enumerate()
        .map(|(at, cell)| if at == 0 { format!("{cell:<44}") } else { format!(" {cell:>14}") })
        .collect();
    println!("{}", text.trim_end());
}
