//! Where a value stands in a tree: `streams[0].topic`, as problems, lines and secrets name it.

/// One step from a value into it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    Key(String),
    Index(usize),
}

/// The path of a key of the table at `path`; the root's is empty.
pub(super) fn field(path: &str, key: &str) -> String {
    match path {
        "" => key.to_owned(),
        _ => format!("{path}.{key}"),
    }
}

/// The path of an entry of the list at `path`.
pub(super) fn element(path: &str, index: usize) -> String {
    format!("{path}[{index}]")
}

/// The path that steps lead to from `path`.
pub(super) fn walk<'a>(path: &str, steps: impl IntoIterator<Item = &'a Step>) -> String {
    steps
        .into_iter()
        .fold(path.to_owned(), |path, step| match step {
            Step::Key(key) => field(&path, key),
            Step::Index(index) => element(&path, *index),
        })
}

/// A path and the paths of the tables and lists around it, from the inside.
pub(super) fn around(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(path), |path| {
        path.rfind(['.', '[']).map(|end| &path[..end])
    })
}
