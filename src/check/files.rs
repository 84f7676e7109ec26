//! Which files are checked, and their text.

use std::{
    fs, io,
    io::Read,
    path::{Path, PathBuf},
};

/// Stands for the standard input among the files.
const STANDARD_INPUT: &str = "-";

/// A file's name as findings show it, and its text. Without `Debug` on purpose: it may hold Secrets.
pub struct Source {
    /// As given, or found below a folder as given; `-` for the standard input.
    pub name: String,
    /// What it says.
    pub text: String,
}

/// A file that could not be read.
#[derive(Debug)]
pub struct Unreadable {
    /// Its name.
    pub name: String,
    /// Why not.
    pub error: io::Error,
}

/// Reads the files named; of a folder, the manifests in it and below it.
pub fn read(paths: &[PathBuf]) -> Vec<Result<Source, Unreadable>> {
    let mut sources = Vec::new();
    for path in paths {
        if path.as_os_str() == STANDARD_INPUT {
            let mut text = String::new();
            let read = io::stdin().read_to_string(&mut text);
            let name = STANDARD_INPUT.to_owned();
            sources.push(match read {
                Ok(_) => Ok(Source { name, text }),
                Err(error) => Err(Unreadable { name, error }),
            });
        } else if path.is_dir() {
            folder(path, &mut sources);
        } else {
            sources.push(file(path));
        }
    }
    sources
}

fn file(path: &Path) -> Result<Source, Unreadable> {
    let name = path.display().to_string();
    match fs::read_to_string(path) {
        Ok(text) => Ok(Source { name, text }),
        Err(error) => Err(Unreadable { name, error }),
    }
}

/// In the order of names, so that two runs say the same. Links to folders are not followed: they may lead in a circle.
fn folder(path: &Path, sources: &mut Vec<Result<Source, Unreadable>>) {
    let entries = fs::read_dir(path).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let mut entries = match entries {
        Ok(entries) => entries,
        Err(error) => return sources.push(Err(Unreadable { name: path.display().to_string(), error })),
    };
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            folder(&path, sources);
        } else if is_manifest(&path) && path.is_file() {
            sources.push(file(&path));
        }
    }
}

fn is_manifest(path: &Path) -> bool {
    path.extension().is_some_and(|extension| ["yaml", "yml", "json"].iter().any(|known| extension == *known))
}
