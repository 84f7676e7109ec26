//! The pages hold together: what they link to is there, and so are the tests that they name.

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

/// The page of lessons.
const LESSONS: &str = "docs/lessons.md";

/// Whether a file has a test of this name: a function with the attribute, or a proof that is run for every cloud, which
/// stands on a line of its own in the list of those.
fn has_test(source: &str, name: &str) -> bool {
    let lines: Vec<_> = source.lines().map(str::trim).collect();
    let declaration = format!("fn {name}(");
    let Some(place) = lines.iter().position(|line| line.contains(&declaration)) else { return false };
    let mut above = lines[..place].iter().rev().take_while(|line| line.starts_with("#[") || line.starts_with("///"));
    above.any(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test")) || lines.contains(&name)
}

#[test]
fn every_lesson_names_a_test_that_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join(LESSONS)).expect("a readable page");
    let lessons: Vec<_> = page.split("\n- ").skip(1).collect();
    assert!(lessons.len() > 50, "{} lessons were understood", lessons.len());
    for lesson in lessons {
        let sentence = lesson.lines().next().unwrap_or_default();
        let mut tests = 0;
        for code in lesson.split('`').skip(1).step_by(2) {
            let Some((file, test)) = code.split_once(".rs: ") else { continue };
            let file = format!("{file}.rs");
            let source = fs::read_to_string(root.join(&file)).unwrap_or_else(|error| panic!("{file}: {error}"));
            assert!(has_test(&source, test), "{LESSONS}: {file} has no test {test} for {sentence:?}");
            tests += 1;
        }
        assert!(tests > 0, "{LESSONS}: no test keeps {sentence:?}");
    }
}

#[test]
fn function_without_the_attribute_is_no_test() {
    assert!(has_test("#[test]\n#[expect(clippy::all)]\nfn proof() {}", "proof"));
    assert!(has_test("#[tokio::test]\nasync fn proof() {}", "proof"));
    assert!(has_test("async fn proof(subject: &Subject) {}\nproven_for_every_cloud! {\n    proof\n}", "proof"));
    assert!(!has_test("#[test]\nfn other() {}\n\nfn proof() {}", "proof"));
    assert!(!has_test("#[test]\nfn proof_of_more() {}", "proof"));
}
