//! Questions and what the cloud answered.

use std::fmt::Write as _;

use serde::Serialize;

use crate::provider::contract::CloudError;

/// One open question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// The question.
    pub question: &'static str,
    /// What the cloud answered, or why it was not asked.
    pub answer: String,
    /// What the operator assumes.
    pub assumed: &'static str,
    /// Whether the answer is what is assumed; absent where the operator works with any, or there is no answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub as_assumed: Option<bool>,
}

/// The questions asked so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Table {
    /// In the order they were asked.
    pub questions: Vec<Row>,
}

/// A question, and what the operator assumes of its answer.
pub struct Question {
    /// The question.
    pub text: &'static str,
    /// The assumption, or how the operator copes with any answer.
    pub assumed: &'static str,
}

/// Writes a question down.
pub const fn question(text: &'static str, assumed: &'static str) -> Question {
    Question { text, assumed }
}

impl Table {
    /// Adds an answer that the operator copes with, whatever it is.
    pub fn any(&mut self, question: &Question, answer: Result<String, CloudError>) {
        self.add(question, answer.map(|text| (text, None)));
    }

    /// Adds an answer that may contradict the assumption, and whether it holds.
    pub fn judged(&mut self, question: &Question, answer: Result<(String, bool), CloudError>) {
        self.add(question, answer.map(|(text, holds)| (text, Some(holds))));
    }

    /// Adds a question that was not asked.
    pub fn not_asked(&mut self, question: &Question, why: &str) {
        self.add(question, Ok((format!("not asked: {why}"), None)));
    }

    /// Adds those of the questions that are not in the table yet as not asked.
    pub fn fill(&mut self, questions: &[&Question], why: &str) {
        for question in questions {
            if !self.questions.iter().any(|row| row.question == question.text) {
                self.not_asked(question, why);
            }
        }
    }

    fn add(&mut self, question: &Question, answer: Result<(String, Option<bool>), CloudError>) {
        let (answer, as_assumed) = answer.unwrap_or_else(|error| (format!("no answer: {error}"), None));
        self.questions.push(Row { question: question.text, answer, assumed: question.assumed, as_assumed });
    }

    /// For people: a block for each question.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for Row { question, answer, assumed, as_assumed } in &self.questions {
            let mark = if *as_assumed == Some(false) { "   <-- differs" } else { "" };
            write!(text, "{question}\n    answer:  {answer}{mark}\n    assumed: {assumed}\n\n")
                .expect("a String takes all");
        }
        text
    }
}
