//! What was found, and how it is told.

use std::fmt;

use super::object::Object;

/// What is said of one field of one object. The order of the fields is the order of the output.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The file.
    pub file: String,
    /// The line in it, counted from 1.
    pub line: u64,
    /// Kind and name.
    pub object: String,
    /// Path of the field; empty for the object as a whole.
    pub field: String,
    /// What is wrong, or good to know.
    pub message: String,
    /// Good to know; no rule is broken.
    pub note: bool,
}

/// The outcome of a check.
#[derive(Debug, Default)]
pub struct Report {
    /// How many objects were checked.
    pub checked: usize,
    /// Broken rules and notes, by file and line.
    pub findings: Vec<Finding>,
    /// Files that could not be read, and why.
    pub unreadable: Vec<String>,
}

impl Report {
    /// Adds a broken rule. Of several rules on one field only the first is told: the others mostly say the same again,
    /// and the definition's word comes first.
    pub(super) fn finding(&mut self, object: &Object<'_>, field: &str, message: impl Into<String>) {
        self.add(object, field, message.into(), false);
    }

    /// Adds what is good to know.
    pub(super) fn note(&mut self, object: &Object<'_>, field: &str, message: impl Into<String>) {
        self.add(object, field, message.into(), true);
    }

    fn add(&mut self, object: &Object<'_>, field: &str, message: String, note: bool) {
        let finding = Finding {
            file: object.file.to_owned(),
            line: object.node.line_of(field),
            object: format!("{}/{}", object.kind, object.name),
            field: field.to_owned(),
            message,
            note,
        };
        let place = |it: &Finding| (it.file.clone(), it.line, it.object.clone(), it.field.clone());
        if !self.findings.iter().any(|it| place(it) == place(&finding)) {
            self.findings.push(finding);
        }
    }

    pub(super) fn unreadable(&mut self, file: &str, line: Option<u64>, why: &str) {
        let line = line.map(|line| format!(":{line}")).unwrap_or_default();
        self.unreadable.push(format!("{file}{line}: {why}"));
    }

    pub(super) fn sort(&mut self) {
        self.findings.sort();
    }

    /// How many rules are broken.
    pub fn broken(&self) -> usize {
        self.findings.iter().filter(|finding| !finding.note).count()
    }

    /// 0 where everything is right, 1 where a rule is broken, 2 where a file could not be read.
    pub fn exit_code(&self) -> u8 {
        match (self.unreadable.is_empty(), self.broken() == 0) {
            (false, _) => 2,
            (true, false) => 1,
            (true, true) => 0,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, object, field, message, note } = self;
        let note = if *note { "note: " } else { "" };
        let field = if field.is_empty() { "" } else { &format!("{field}: ") };
        // A control character of a name must not become one of the terminal.
        let text: String = format!("{file}:{line}: {note}{object}: {field}{message}").chars().map(printable).collect();
        f.write_str(&text)
    }
}

fn printable(c: char) -> char {
    if c.is_control() { '\u{fffd}' } else { c }
}
