//! `check`: every rule on manifests, without a cluster.
//!
//! ```text
//! files ─► manifest (YAML with lines) ─► object (schema and CEL of its definition) ─► clouds (their rules) ─► report
//! ```
//!
//! There is no second copy of a rule here: the schemas are those of [`crate::api::crds`], the rest is asked of the
//! code that the operator itself runs.

mod clouds;
mod files;
mod manifest;
mod metadata;
mod object;
mod report;
mod schema;
mod sharing;
#[cfg(test)]
mod tests;

use std::{collections::HashSet, path::PathBuf};

pub use report::{Finding, Report};

use crate::domain::origin::Origin;
use clouds::Together;
use files::{Source, Unreadable};

/// What to check, and against what.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Files and folders; `-` is the standard input.
    pub paths: Vec<PathBuf>,
    /// Namespace of objects that name none.
    pub namespace: String,
    /// Where the credentials of shared instances are.
    pub operator_namespace: String,
    /// What the operator is started with; `None` where that is not known.
    pub allowed_endpoints: Option<HashSet<Origin>>,
}

/// Reads the files and checks what is in them.
pub fn run(settings: &Settings) -> Report {
    check(files::read(&settings.paths), settings)
}

fn check(sources: Vec<Result<Source, Unreadable>>, settings: &Settings) -> Report {
    let mut report = Report::default();
    let mut files = Vec::new();
    for source in sources {
        match source {
            Err(error) => report.unreadable(&error.name, None, &error.error.to_string()),
            Ok(source) => match manifest::documents(&source.text) {
                Err(malformed) => report.unreadable(&source.name, malformed.line, &malformed.message),
                Ok(documents) => files.push((source.name, documents)),
            },
        }
    }
    let mut objects = Vec::new();
    for (file, documents) in &files {
        let found = documents.iter().flat_map(|document| object::objects(file, document, &settings.namespace));
        objects.extend(found);
    }
    let together = Together {
        objects: &objects,
        operator_namespace: &settings.operator_namespace,
        allowed_endpoints: settings.allowed_endpoints.as_ref(),
    };
    for object in objects.iter().filter(|object| object.is_ours()) {
        report.checked += 1;
        for (field, message) in object.broken() {
            report.finding(object, &field, message);
        }
        together.check(object, &mut report);
    }
    report.sort();
    report
}
