//! What a mistyped word was likely meant to be.

/// Names the nearest of `known`, or all of them when none is near and they are few.
pub(super) fn suggest(word: &str, known: &[&str]) -> Option<String> {
    if let Some(nearest) = nearest(word, known) {
        return Some(did_you_mean(nearest));
    }
    match known.len() {
        1..=8 => Some(format!("known are `{}`", known.join("`, `"))),
        _ => None,
    }
}

/// The question that names it.
pub(super) fn did_you_mean(word: &str) -> String {
    format!("did you mean `{word}`?")
}

/// The nearest of `known`, if it is near.
pub(super) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let typos = (word.chars().count() / 3).max(1);
    known
        .iter()
        .map(|known| (strsim::osa_distance(word, known), *known))
        .filter(|(distance, _)| *distance <= typos)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_near_is_suggested() {
        let known = ["address", "api_key", "enabled"];
        assert_eq!(nearest("adress", &known), Some("address"));
        assert_eq!(nearest("apikey", &known), Some("api_key"));
        assert_eq!(nearest("zone", &known), None);
        assert_eq!(
            suggest("zone", &known).unwrap(),
            "known are `address`, `api_key`, `enabled`"
        );
        assert_eq!(suggest("zone", &["a"; 9]), None);
    }
}
