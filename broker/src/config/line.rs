//! One line of a file: words, quotes and comments.

/// Its words, without the comment.
///
/// A word ends at white space. One in double quotes may hold anything; `\"` and `\\` stand for `"` and `\` in it.
/// `#` at the begin of a word starts a comment, but right behind the key `topic`, where it is a topic filter.
///
/// # Errors
///
/// Where a quote is wrong (in characters, from 1), and what is wrong with it.
pub(super) fn words(line: &str) -> Result<Vec<String>, (usize, &'static str)> {
    let mut words = Vec::<String>::new();
    let mut rest = line.chars().zip(1..).peekable();
    while let Some(&(first, column)) = rest.peek() {
        match first {
            '#' if words != ["topic"] => break,
            '"' => {
                rest.next();
                words.push(quoted(&mut rest, column)?);
                if let Some((_, column)) = rest.next_if(|(next, _)| !next.is_whitespace()) {
                    return Err((column, "text right behind a closing quote: put a space between"));
                }
            }
            first if first.is_whitespace() => _ = rest.next(),
            _ => {
                let mut word = String::new();
                while let Some((next, _)) = rest.next_if(|(next, _)| !next.is_whitespace()) {
                    word.push(next);
                }
                words.push(word);
            }
        }
    }
    Ok(words)
}

/// Up to the closing quote. `column` is that of the opening one.
fn quoted(
    rest: &mut impl Iterator<Item = (char, usize)>,
    column: usize,
) -> Result<String, (usize, &'static str)> {
    let mut word = String::new();
    while let Some((next, _)) = rest.next() {
        match next {
            '"' => return Ok(word),
            '\\' => match rest.next() {
                Some((escaped @ ('"' | '\\'), _)) => word.push(escaped),
                Some((_, column)) => return Err((column, r#"in quotes a `\` must stand before `"` or `\`"#)),
                None => break,
            },
            next => word.push(next),
        }
    }
    Err((column, "a quote without its end: close it on the same line"))
}

/// A word as [`words`] reads it, in quotes where it needs them.
pub(super) fn quote(word: &str) -> String {
    let is_plain = !word.is_empty() && !word.starts_with(['#', '"']) && !word.contains(char::is_whitespace);
    if is_plain {
        return word.to_owned();
    }
    format!("\"{}\"", word.replace('\\', r"\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn comments_stand_anywhere() {
        for (line, expected) in [
            ("", &[][..]),
            ("  # all of it", &[]),
            ("ip_port 1883# not a comment", &["ip_port", "1883#", "not", "a", "comment"]),
            ("\tip_port  1883 # the usual\r", &["ip_port", "1883"]),
            ("log_path /a#b #c", &["log_path", "/a#b"]),
            (r##"log_path "/my \"log\" #1\\" # that"##, &["log_path", r#"/my "log" #1\"#]),
            (r#"log_path """#, &["log_path", ""]),
            ("topic # out 1 # that", &["topic", "#", "out", "1"]),
        ] {
            assert_eq!(words(line).unwrap(), expected, "{line}");
        }
    }

    #[test]
    fn quotes_must_be_right() {
        for (line, column) in [(r#"a "b"#, 3), (r#"a "b\"#, 3), (r#"a "b\n""#, 6), (r#"a "b"c"#, 6)] {
            assert_eq!(words(line).unwrap_err().0, column, "{line}");
        }
    }

    proptest! {
        #[test]
        fn any_line_is_read_or_refused(line in any::<String>()) {
            _ = words(&line);
        }

        #[test]
        fn what_is_quoted_is_read_back(word in "[^\n\r]*") {
            prop_assert_eq!(words(&quote(&word)).unwrap(), [word]);
        }
    }
}
