//! Pure: The content of a set of files as one text, so that what holds for the content of a file holds for that of a set:
//! it has one hash, is kept and gone back to as one, and is good or bad as one.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use crate::resource::Resource;

/// Texts by destination; `None` where no file is to stand.
type Files<'a> = BTreeMap<Cow<'a, str>, Option<Cow<'a, str>>>;

/// A file of a resource, and what it is to hold.
pub type Part<'a> = (&'a Resource, Option<Cow<'a, str>>);

/// One text of those of all files.
pub fn bundle<'a>(files: impl IntoIterator<Item = (&'a Path, Option<&'a str>)>) -> String {
    let files: Files<'a> = files
        .into_iter()
        .map(|(dest, text)| (dest.to_string_lossy(), text.map(Cow::Borrowed)))
        .collect();
    // Maps with texts as keys are always JSON.
    serde_json::to_string(&files).unwrap_or_default()
}

/// What each file of a resource is to hold, of a text of the whole; `None` if this is no content of these files.
pub fn split<'a>(resource: &'a Resource, text: &'a str) -> Option<Vec<Part<'a>>> {
    if !resource.is_set() {
        return Some(vec![(resource, Some(Cow::Borrowed(text)))]);
    }
    let mut files: BTreeMap<String, Option<String>> = serde_json::from_str(text).ok()?;
    let parts = resource.files.iter().map(|part| {
        let text = files.remove(part.dest.to_string_lossy().as_ref())?;
        Some((part, text.map(Cow::Owned)))
    });
    let parts: Vec<_> = parts.collect::<Option<_>>()?;
    files.is_empty().then_some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::defaults::Defaults;
    use crate::resource::parse;

    #[test]
    fn a_bundle_holds_what_each_file_holds() {
        let set = "keys: [/]\nfiles: [{src: b, dest: /b}, {src: a, dest: /a}]\n";
        let set = parse("web.yaml", set, &Defaults::default()).unwrap();
        let (a, b) = (Path::new("/a"), Path::new("/b"));
        let text = bundle([(b, Some("line\n\"x\"\n")), (a, None)]);
        assert_eq!(
            text,
            bundle([(a, None), (b, Some("line\n\"x\"\n"))]),
            "one order"
        );
        let parts = split(&set, &text).unwrap();
        let shown: Vec<_> = parts
            .iter()
            .map(|(part, text)| (part.name.as_str(), text.as_deref()))
            .collect();
        assert_eq!(shown, [("web/b", Some("line\n\"x\"\n")), ("web/a", None)]);
        // Another set's, or that of a single file.
        for other in [
            bundle([(a, None)]),
            "x".to_owned(),
            bundle([(a, None), (b, None), (Path::new("/c"), None)]),
        ] {
            assert!(split(&set, &other).is_none(), "{other}");
        }
        let single = "src: a\ndest: /a\nkeys: [/]\n";
        let single = parse("a.yaml", single, &Defaults::default()).unwrap();
        assert_eq!(split(&single, "x").unwrap()[0].1.as_deref(), Some("x"));
    }
}
