//! The nearest valid name, for hints in error messages.

/// The candidate that `name` was most likely meant to be, if one is near enough to be worth saying.
///
/// Near means few typing slips (a letter wrong, missing, too many, or two swapped), at most a third of
/// the name's length, letter case aside.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name: Vec<char> = name.to_lowercase().chars().collect();
    let limit = (name.len() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| {
            let letters: Vec<char> = candidate.to_lowercase().chars().collect();
            (slips(&name, &letters), candidate)
        })
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, candidate)| candidate)
}

/// `; hint: did you mean ...?`, or nothing.
pub fn hint<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    nearest(name, candidates).map_or_else(String::new, |found| format!("; hint: did you mean `{found}`?"))
}

/// Names in backticks, separated by commas.
pub fn listed<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// Optimal string alignment distance; three rows, because a swap looks two rows back.
fn slips(from: &[char], to: &[char]) -> usize {
    let mut before: Vec<usize> = vec![0; to.len() + 1];
    let mut last: Vec<usize> = (0..=to.len()).collect();
    for (row, letter) in from.iter().enumerate() {
        let mut current = vec![row + 1; to.len() + 1];
        for (column, other) in to.iter().enumerate() {
            let replaced = last[column] + usize::from(letter != other);
            let mut best = replaced.min(last[column + 1] + 1).min(current[column] + 1);
            let swapped = row > 0 && column > 0 && *letter == to[column - 1] && from[row - 1] == *other;
            if swapped {
                best = best.min(before[column - 1] + 1);
            }
            current[column + 1] = best;
        }
        before = last;
        last = current;
    }
    last[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 4] = ["max_size", "max_bytes", "policy", "ttl"];

    #[test]
    fn a_slip_finds_its_name() {
        for (typed, meant) in
            [("max_sise", "max_size"), ("maxsize", "max_size"), ("MAX_BYTES", "max_bytes"), ("tlt", "ttl")]
        {
            assert_eq!(nearest(typed, NAMES), Some(meant), "{typed}");
        }
    }

    #[test]
    fn a_foreign_name_finds_nothing() {
        assert_eq!(nearest("colour", NAMES), None);
        assert_eq!(nearest("", NAMES), None);
        assert_eq!(hint("colour", NAMES), "");
    }

    #[test]
    fn the_nearer_of_two_wins_whatever_the_order() {
        assert_eq!(nearest("tier", ["tiers", "ttl"]), Some("tiers"));
        assert_eq!(nearest("tier", ["ttl", "tiers"]), Some("tiers"));
    }
}
