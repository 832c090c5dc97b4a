//! Tables on standard output, laid out as Flux prints them: columns padded to the widest cell, each ended by a tab
//! (the heading ends in a space instead, which scripts that compare outputs may rely on).

use unicode_width::UnicodeWidthChar;

/// Lays out a table; an empty header prints none. Cells may hold several lines.
pub fn render(header: &[String], rows: &[Vec<String>]) -> String {
    let heading: Vec<Vec<String>> = header.iter().map(|cell| vec![cell.to_uppercase()]).collect();
    let body: Vec<Vec<Vec<String>>> = rows.iter().map(|row| row.iter().map(|cell| lines(cell)).collect()).collect();
    let columns = rows.iter().map(Vec::len).chain([header.len()]).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|column| {
            let cells = body.iter().chain([&heading]).filter_map(|row| row.get(column));
            cells.flatten().map(|line| width(line)).max().unwrap_or(0)
        })
        .collect();
    let mut out = String::new();
    if !header.is_empty() {
        row(&mut out, &heading, &widths);
        out.truncate(out.len() - "\t\n".len());
        out.push_str(" \n");
    }
    for cells in &body {
        row(&mut out, cells, &widths);
    }
    out
}

/// Columns of a terminal; control characters take none.
fn width(text: &str) -> usize {
    text.chars().map(|c| c.width().unwrap_or(0)).sum()
}

fn lines(cell: &str) -> Vec<String> {
    cell.split('\n').map(str::to_owned).collect()
}

fn row(out: &mut String, cells: &[Vec<String>], widths: &[usize]) {
    let height = cells.iter().map(Vec::len).max().unwrap_or(0).max(1);
    for at in 0..height {
        for (column, column_width) in widths.iter().enumerate() {
            let text = cells.get(column).and_then(|lines| lines.get(at)).map_or("", String::as_str);
            out.push_str(text);
            out.extend(std::iter::repeat_n(' ', column_width.saturating_sub(width(text))));
            out.push('\t');
        }
        out.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(cells: &[&str]) -> Vec<String> {
        cells.iter().map(|cell| (*cell).to_owned()).collect()
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_end_in_tabs() {
        let table = render(&row(&["Name", "Ready"]), &[row(&["a-long-name", "True"]), row(&["完了", "x"])]);
        assert_eq!(table, "NAME       \tREADY \na-long-name\tTrue \t\n完了       \tx    \t\n");
    }

    #[test]
    fn a_cell_of_several_lines_makes_several_rows() {
        assert_eq!(render(&[], &[row(&["a", "one\n\ttwo\n"])]), "a\tone\t\n \t\ttwo\t\n \t   \t\n");
    }
}
