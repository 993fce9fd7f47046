//! "Did you mean": the name nearest to a misspelt one.

/// The candidate that differs least from `name`, if it differs little enough to
/// be a slip: a third of its characters, at least one. Ties go to the first.
pub fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (name.len() / 3).max(1);
    let mut best = None;
    let mut best_distance = limit + 1;
    for candidate in candidates {
        if candidate.len().abs_diff(name.len()) >= best_distance || candidate == name {
            continue;
        }
        let d = distance(name.as_bytes(), candidate.as_bytes(), best_distance);
        if d < best_distance {
            (best, best_distance) = (Some(candidate), d);
        }
    }
    best
}

/// Edits (insert, delete, replace, swap neighbours) from `a` to `b`; gives up
/// with `limit` once that many are certain.
fn distance(a: &[u8], b: &[u8], limit: usize) -> usize {
    let mut before = vec![0; b.len() + 1];
    let mut previous: Vec<usize> = (0..=b.len()).collect();
    let mut current = previous.clone();
    for i in 1..=a.len() {
        current[0] = i;
        for j in 1..=b.len() {
            let same = usize::from(a[i - 1] != b[j - 1]);
            let mut cost = (previous[j - 1] + same).min(previous[j] + 1).min(current[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                cost = cost.min(before[j - 2] + 1);
            }
            current[j] = cost;
        }
        if current.iter().all(|&c| c >= limit) {
            return limit;
        }
        (before, previous, current) = (previous, current, before);
    }
    previous[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_slips_and_nothing_else() {
        let names = ["task_struct", "file", "vm_area_struct", "pid"];
        let near = |n| nearest(n, names.iter().copied());
        assert_eq!(near("task_strcut"), Some("task_struct"));
        assert_eq!(near("fiel"), Some("file"));
        assert_eq!(near("task"), None);
        assert_eq!(near("x"), None);
        assert_eq!(near("file"), None);
    }
}
