//! Changes to a file's text that keep its lines, and the way back from a changed column to the original one.
//! Not here: which changes are made.

/// Bytes to take out and text to put in; neither has a line break.
#[derive(Clone, Debug)]
struct Edit {
    start: usize,
    end: usize,
    insert: String,
}

/// Collected changes to one text.
#[derive(Debug, Default)]
pub struct Edits(Vec<Edit>);

/// A changed text by lines. For each line the columns at which a change ended: changed, original.
#[derive(Debug, Default)]
pub struct Edited {
    pub lines: Vec<String>,
    pub anchors: Vec<Vec<(usize, usize)>>,
}

impl Edits {
    pub fn insert(&mut self, at: usize, text: impl Into<String>) {
        self.replace(at, at, text);
    }

    pub fn replace(&mut self, start: usize, end: usize, text: impl Into<String>) {
        self.0.push(Edit { start, end, insert: text.into() });
    }

    /// Takes out everything but the line breaks.
    pub fn blank(&mut self, source: &str, start: usize, end: usize) {
        let mut from = start;
        for piece in source[start..end].split_inclusive('\n') {
            let length = piece.trim_end_matches('\n').len();
            self.replace(from, from + length, "");
            from += piece.len();
        }
    }

    /// Takes back every change inside a range.
    pub fn drop_within(&mut self, start: usize, end: usize) {
        self.0.retain(|edit| edit.start < start || edit.end > end);
    }

    pub fn apply(mut self, source: &str) -> Edited {
        // Stable: of two insertions at one place, the one made first comes first.
        self.0.sort_by_key(|edit| edit.start);
        let mut result = Edited::default();
        let mut line = String::new();
        let mut anchors = Vec::new();
        let mut original_column = 0;
        let mut copy = |text: &str, line: &mut String, anchors: &mut Vec<(usize, usize)>, column: &mut usize| {
            for piece in text.split_inclusive('\n') {
                line.push_str(piece.trim_end_matches('\n'));
                *column += piece.chars().count();
                if piece.ends_with('\n') {
                    result.lines.push(std::mem::take(line));
                    result.anchors.push(std::mem::take(anchors));
                    *column = 0;
                }
            }
        };
        let mut at = 0;
        for edit in &self.0 {
            if edit.start < at {
                continue;
            }
            copy(&source[at..edit.start], &mut line, &mut anchors, &mut original_column);
            anchors.push((line.chars().count(), original_column));
            line.push_str(&edit.insert);
            original_column += source[edit.start..edit.end].chars().count();
            anchors.push((line.chars().count(), original_column));
            at = edit.end;
        }
        copy(&source[at..], &mut line, &mut anchors, &mut original_column);
        result.lines.push(line);
        result.anchors.push(anchors);
        result
    }
}

/// The original column of a changed one. Inside an insertion it is the place of the insertion.
pub fn original_column(anchors: &[(usize, usize)], column: usize) -> usize {
    let Some(index) = anchors.iter().rposition(|(changed, _)| *changed <= column) else { return column };
    let (changed, original) = anchors[index];
    let next = anchors.get(index + 1).map_or(usize::MAX, |(_, original)| *original);
    (original + (column - changed)).min(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_stay_and_columns_lead_back() {
        let source = "a 'b' 'c' d\nimport x\ne";
        let mut edits = Edits::default();
        edits.insert(2, "(");
        edits.insert(5, "+");
        edits.insert(9, ")");
        edits.blank(source, 12, 20);
        let edited = edits.apply(source);
        assert_eq!(edited.lines, ["a ('b'+ 'c') d", "", "e"]);
        assert_eq!(original_column(&edited.anchors[0], 0), 0);
        assert_eq!(original_column(&edited.anchors[0], 3), 2);
        assert_eq!(original_column(&edited.anchors[0], 13), 10);
    }
}
