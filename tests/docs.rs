//! The pages hold together: what they link to is there.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Every Markdown page of the project.
fn pages() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pages = Vec::new();
    for folder in [root.to_owned(), root.join("docs"), root.join("docs/providers")] {
        let files = fs::read_dir(&folder).expect("a readable folder").map(|file| file.expect("a file").path());
        pages.extend(files.filter(|file| file.extension().is_some_and(|extension| extension == "md")));
    }
    assert!(pages.len() > 5, "{pages:?}");
    pages
}

/// The targets of `[text](target)`.
fn links(page: &str) -> impl Iterator<Item = &str> {
    page.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target)
}

/// The anchors of a page's headings, as the usual renderers make them.
fn anchors(page: &str) -> Vec<String> {
    let anchor = |heading: &str| {
        let kept = heading.trim().to_lowercase().replace(' ', "-");
        kept.chars().filter(|c| c.is_alphanumeric() || "-_".contains(*c)).collect()
    };
    page.lines().filter(|line| line.starts_with('#')).map(|line| anchor(line.trim_start_matches('#'))).collect()
}

#[test]
fn every_link_leads_somewhere() {
    for path in pages() {
        let page = fs::read_to_string(&path).expect("a readable page");
        for link in links(&page).filter(|link| !link.starts_with("https://")) {
            let (file, anchor) = link.split_once('#').map_or((link, None), |(file, anchor)| (file, Some(anchor)));
            let target =
                if file.is_empty() { path.clone() } else { path.parent().expect("a page is in a folder").join(file) };
            assert!(target.exists(), "{} links to {link}, which is not there", path.display());
            if let Some(anchor) = anchor {
                let headings = anchors(&fs::read_to_string(&target).expect("a readable page"));
                assert!(headings.iter().any(|it| it == anchor), "{}: no heading for {link}", path.display());
            }
        }
    }
}
