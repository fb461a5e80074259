//! Pure: "Did you mean": the known name nearest to a misspelt one.

/// The nearest known name, if it is near enough to be meant.
pub(crate) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|known| (strsim::damerau_levenshtein(name, known), known))
        // A third of the letters may differ: `defualt` means `default`, `dest` does not mean `mode`.
        .filter(|(distance, known)| *distance <= known.chars().count().div_ceil(3))
        .min()
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    #[test]
    fn near_names_are_found_and_far_ones_are_not() {
        let known = ["src", "dest", "mode", "reload_cmd", "check_cmd"];
        for (name, wanted) in [
            ("dst", Some("dest")),
            ("reloadcmd", Some("reload_cmd")),
            ("scr", Some("src")),
            ("zebra", None),
        ] {
            assert_eq!(super::nearest(name, known.into_iter()), wanted, "{name}");
        }
    }
}
