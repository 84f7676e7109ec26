//! Text that must never be shown: passwords, keys, tokens, signed URLs.

use zeroize::Zeroizing;

/// A secret text, wiped from memory when dropped.
///
/// It has no `Debug`, `Display` or `Serialize` on purpose: a struct that holds one cannot derive them, so the compiler
/// finds every place where a secret could reach a log, an error or a status.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText(Zeroizing<String>);

impl SecretText {
    /// Takes ownership of the text; the caller should hold no other copy.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The text itself. Call it where the request is built, and nowhere else.
    pub fn expose(&self) -> &str {
        &self.0
    }
}
