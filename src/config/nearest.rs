//! The known name that a mistyped one is closest to.

/// The candidate with the smallest edit distance; the first of several, `""` of none.
pub fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> &'a str {
    candidates.min_by_key(|c| distance(name.as_bytes(), c.as_bytes())).unwrap_or_default()
}

/// Insertions, deletions and replacements that turn `a` into `b`. Names longer than any key are
/// cut, so the cost is bounded.
fn distance(a: &[u8], b: &[u8]) -> usize {
    const CUT: usize = 128;
    let a = &a[..a.len().min(CUT)];
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closest_name_is_found() {
        assert_eq!(distance(b"kitten", b"sitting"), 3);
        assert_eq!(distance(b"", b"abc"), 3);
        assert_eq!(nearest("log.dir", ["log.dirs", "listeners"].into_iter()), "log.dirs");
    }
}
