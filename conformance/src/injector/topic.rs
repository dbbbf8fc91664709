//! Names and filters, as far as faults need them.

/// Whether the filter matches the name, as section 4.7 says; of a shared one what is behind the share's name.
pub(super) fn matches(filter: &[u8], name: &[u8]) -> bool {
    let filter = share(filter).map_or(filter, |(_, filter)| filter);
    if name.first() == Some(&b'$') && matches!(filter.first(), Some(b'+' | b'#')) {
        return false;
    }
    let mut names = name.split(|byte| *byte == b'/');
    for level in filter.split(|byte| *byte == b'/') {
        match (level, names.next()) {
            (b"#", _) => return true,
            (_, None) => return false,
            (b"+", Some(_)) => {}
            (level, Some(name)) if level == name => {}
            _ => return false,
        }
    }
    names.next().is_none()
}

/// The share's name and the filter in `$share/name/filter`.
pub(super) fn share(filter: &[u8]) -> Option<(&[u8], &[u8])> {
    let behind = filter.strip_prefix(b"$share/")?;
    let end = behind.iter().position(|byte| *byte == b'/')?;
    Some((behind.get(..end)?, behind.get(end + 1..)?))
}

/// Whether it is a topic name that every broker takes.
pub(super) fn is_name(name: &[u8]) -> bool {
    !name.is_empty()
        && std::str::from_utf8(name)
            .is_ok_and(|name| !name.contains(['\0', '+', '#']) && !name.starts_with('$'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_as_the_standard_says() {
        for (filter, name) in [
            ("a/b", "a/b"),
            ("a/#", "a"),
            ("a/#", "a/b/c"),
            ("#", "a/b"),
            ("+/b", "a/b"),
            ("+/+", "/a"),
            ("/+", "/a"),
            ("a/+/c", "a//c"),
            ("$x/#", "$x/a"),
            ("$share/s/a/+", "a/b"),
        ] {
            assert!(matches(filter.as_bytes(), name.as_bytes()), "{filter} {name}");
        }
        for (filter, name) in [
            ("a/b", "a/B"),
            ("a/b", "a"),
            ("a", "a/b"),
            ("a/+", "a"),
            ("+", "/a"),
            ("+", "a/b"),
            ("a/#", "ab"),
            ("#", "$x"),
            ("+/a", "$x/a"),
            ("$share/s/+/a", "$x/a"),
            ("$share/s/a", "$share/s/a"),
        ] {
            assert!(!matches(filter.as_bytes(), name.as_bytes()), "{filter} {name}");
        }
    }
}
