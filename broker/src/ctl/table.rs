//! Tables that fit the terminal.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::words::bold;

const GAP: usize = 2;
/// Narrower than this no text is of use.
const MIN_TEXT: usize = 8;

/// What a column has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// To the left; it is cut where there is no room.
    Text,
    /// To the right, and never cut.
    Figure,
}

/// A column of a table. Where there is no room for all, those of the highest rank go first; 0 stays.
#[derive(Clone, Copy)]
pub(super) struct Column {
    pub(super) title: &'static str,
    pub(super) kind: Kind,
    pub(super) rank: u8,
}

/// A text, and how much it may be left out.
pub(super) const fn text(title: &'static str, rank: u8) -> Column {
    Column { title, kind: Kind::Text, rank }
}

/// A figure, and how much it may be left out.
pub(super) const fn figure(title: &'static str, rank: u8) -> Column {
    Column { title, kind: Kind::Figure, rank }
}

/// The table, each line with its end, within so many columns of the terminal if there is one. The cells are escaped.
pub(super) fn table(columns: &[Column], rows: &[Vec<String>], width: Option<usize>) -> String {
    let widest = |place: usize, column: &Column| {
        let cells = rows.iter().filter_map(|row| row.get(place)).map(|cell| cell.width());
        cells.max().unwrap_or_default().max(column.title.width())
    };
    let natural: Vec<_> = columns.iter().enumerate().map(|(place, column)| widest(place, column)).collect();
    let shown = fit(columns, &natural, width);
    let line = |cell: &dyn Fn(usize, &Column) -> String| {
        let mut line = String::new();
        for (place, width) in &shown {
            let Some(column) = columns.get(*place) else { continue };
            if !line.is_empty() {
                line.push_str(&" ".repeat(GAP));
            }
            let text = cut(&cell(*place, column), *width);
            let padding = " ".repeat(width.saturating_sub(text.width()));
            match column.kind {
                Kind::Text => line.extend([text, padding]),
                Kind::Figure => line.extend([padding, text]),
            }
        }
        line.trim_end().to_owned()
    };
    let mut out = bold(&line(&|_, column| column.title.to_owned()));
    out.push('\n');
    for row in rows {
        out.push_str(&line(&|place, _| row.get(place).cloned().unwrap_or_default()));
        out.push('\n');
    }
    out
}

/// The columns for which there is room, each with its width.
pub(super) fn fit(columns: &[Column], natural: &[usize], width: Option<usize>) -> Vec<(usize, usize)> {
    let mut shown: Vec<(usize, usize)> = natural.iter().copied().enumerate().collect();
    let Some(room) = width else { return shown };
    let is_text = |place: usize| columns.get(place).is_some_and(|column| column.kind == Kind::Text);
    let rank = |place: usize| columns.get(place).map_or(0, |column| column.rank);
    let taken = |shown: &[(usize, usize)], least: bool| {
        let widths = shown
            .iter()
            .map(|(place, width)| if least && is_text(*place) { (*width).min(MIN_TEXT) } else { *width });
        widths.sum::<usize>() + GAP * shown.len().saturating_sub(1)
    };
    while taken(&shown, true) > room
        && let Some(last) =
            (0..shown.len()).max_by_key(|n| shown.get(*n).map_or(0, |(place, _)| rank(*place)))
        && shown.get(last).is_some_and(|(place, _)| rank(*place) > 0)
    {
        shown.remove(last);
    }
    // The widest text gives first.
    while taken(&shown, false) > room
        && let Some((_, widest)) = shown
            .iter_mut()
            .filter(|(place, width)| is_text(*place) && *width > MIN_TEXT)
            .max_by_key(|(_, width)| *width)
    {
        *widest -= 1;
    }
    shown
}

/// At most so many columns of a text; what was cut shows.
pub(super) fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut left = width.saturating_sub(1);
    let mut out = String::new();
    for c in text.chars() {
        let Some(rest) = left.checked_sub(c.width().unwrap_or_default()) else { break };
        left = rest;
        out.push(c);
    }
    out.push('…');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 4] =
        [text("CLIENT", 0), text("ADDRESS", 2), figure("QUEUED", 1), figure("SENT", 3)];

    fn shown(width: Option<usize>) -> String {
        let row = |cells: [&str; 4]| cells.map(str::to_owned).to_vec();
        let rows =
            [row(["a-client-with-a-name", "127.0.0.1:12345", "5", "1.00M"]), row(["漢字", "", "10", "0"])];
        let text = table(&COLUMNS, &rows, width);
        anstream::adapter::strip_str(&text).to_string()
    }

    #[test]
    fn all_is_shown_where_nobody_looks() {
        let expected = "\
CLIENT                ADDRESS          QUEUED   SENT
a-client-with-a-name  127.0.0.1:12345       5  1.00M
漢字                                       10      0
";
        assert_eq!(shown(None), expected);
        assert_eq!(shown(Some(52)), expected);
    }

    #[test]
    fn texts_are_cut_and_columns_left_out() {
        let expected = "\
CLIENT        ADDRESS       QUEUED   SENT
a-client-wi…  127.0.0.1:1…       5  1.00M
漢字                            10      0
";
        assert_eq!(shown(Some(41)), expected);
        let expected = "\
CLIENT       QUEUED
a-client-w…       5
漢字             10
";
        assert_eq!(shown(Some(19)), expected);
        for width in 0..60 {
            let widest = shown(Some(width)).lines().map(|line| line.width()).max().unwrap();
            assert!(widest <= width.max(MIN_TEXT), "{widest} of {width}");
        }
    }
}
