//! Each code of the delegate has a page in the error reference, and each page a code.
#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::Path;

fn codes_in(text: &str, found: &mut BTreeSet<String>) {
    for (start, _) in text.match_indices("SRT-D") {
        let code: String = text[start..].chars().take("SRT-D000".len()).collect();
        if code[5..].len() == 3 && code[5..].chars().all(|letter| letter.is_ascii_digit()) {
            found.insert(code);
        }
    }
}

fn sources(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else {
            codes_in(&std::fs::read_to_string(&path).unwrap(), found);
        }
    }
}

#[test]
fn codes_and_pages_are_the_same() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut codes, mut pages) = (BTreeSet::new(), BTreeSet::new());
    sources(&root.join("src"), &mut codes);
    for entry in std::fs::read_dir(root.join("../../docs/errors")).unwrap() {
        codes_in(&entry.unwrap().file_name().to_string_lossy(), &mut pages);
    }
    assert_eq!(codes, pages);
    assert!(codes.len() > 20, "{codes:?}");
}
