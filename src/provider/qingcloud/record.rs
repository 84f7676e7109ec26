//! Fields of a job's record. One of another type than is looked for is absent, and skipped without a copy: a record's
//! `directive` repeats the whole request, clear-text password included.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, IgnoredAny, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer},
};
use zeroize::Zeroizing;

/// A text that is there and not empty. Wiped, because `probe` reads a password.
#[derive(Default)]
pub(super) struct Text(Option<Zeroizing<String>>);

impl Text {
    pub fn get(&self) -> Option<&str> {
        self.0.as_ref().map(|text| text.as_str())
    }
}

/// An object, given as such or as JSON text.
pub(super) struct Embedded<T> {
    /// Absent where there is none, or none that can be read.
    pub object: Option<T>,
    /// It was given as text.
    pub is_text: bool,
}

impl<T> Default for Embedded<T> {
    fn default() -> Self {
        Self { object: None, is_text: false }
    }
}

/// The content of `error_codes`, which is not documented; presumably the exit status of the command on the node. Kept
/// where it is short and plain, so that nothing else can come through.
#[derive(Default)]
pub(super) struct ErrorCodes(Option<String>);

impl ErrorCodes {
    pub fn get(&self) -> Option<&str> {
        self.0.as_deref()
    }

    fn of_plain(text: &str) -> Self {
        let text = text.trim();
        let plain = |c: char| c.is_ascii_alphanumeric() || " ,;:._-".contains(c);
        let kept = !text.is_empty() && text.len() <= LONGEST_CODES && text.chars().all(plain);
        Self(kept.then(|| text.to_owned()))
    }
}

/// What somebody reads at a glance.
const LONGEST_CODES: usize = 64;

/// What becomes of a value of any type. What a type does not say anything about is absent, which is its default.
trait OfAny: Default {
    fn of_text(text: &str) -> Self;

    fn of_number(_: impl fmt::Display) -> Self {
        Self::default()
    }

    fn of_list<'de, A: SeqAccess<'de>>(mut values: A) -> Result<Self, A::Error> {
        while values.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Self::default())
    }

    fn of_object<'de, A: MapAccess<'de>>(mut fields: A) -> Result<Self, A::Error> {
        while fields.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Self::default())
    }
}

impl OfAny for Text {
    fn of_text(text: &str) -> Self {
        Self((!text.is_empty()).then(|| Zeroizing::new(text.to_owned())))
    }
}

impl OfAny for ErrorCodes {
    fn of_text(text: &str) -> Self {
        Self::of_plain(text)
    }

    fn of_number(number: impl fmt::Display) -> Self {
        Self::of_plain(&number.to_string())
    }

    fn of_list<'de, A: SeqAccess<'de>>(mut values: A) -> Result<Self, A::Error> {
        let mut all = String::new();
        while let Some(code) = values.next_element::<Self>()? {
            if let Some(code) = code.0.filter(|_| all.len() <= LONGEST_CODES) {
                all.push_str(if all.is_empty() { "" } else { ", " });
                all.push_str(&code);
            }
        }
        Ok(Self::of_plain(&all))
    }
}

impl<T: DeserializeOwned> OfAny for Embedded<T> {
    fn of_text(text: &str) -> Self {
        // A text in the text is no object.
        let inner = serde_json::from_str::<Self>(text).ok().filter(|inner| !inner.is_text);
        Self { object: inner.and_then(|inner| inner.object), is_text: true }
    }

    fn of_object<'de, A: MapAccess<'de>>(fields: A) -> Result<Self, A::Error> {
        let object = T::deserialize(MapAccessDeserializer::new(fields))?;
        Ok(Self { object: Some(object), is_text: false })
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Any(PhantomData))
    }
}

impl<'de> Deserialize<'de> for ErrorCodes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Any(PhantomData))
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Embedded<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Any(PhantomData))
    }
}

struct Any<T>(PhantomData<T>);

impl<'de, T: OfAny> Visitor<'de> for Any<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_str<E>(self, text: &str) -> Result<T, E> {
        Ok(T::of_text(text))
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<T, A::Error> {
        T::of_object(fields)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, values: A) -> Result<T, A::Error> {
        T::of_list(values)
    }

    fn visit_unit<E>(self) -> Result<T, E> {
        Ok(T::default())
    }

    fn visit_bool<E>(self, _: bool) -> Result<T, E> {
        Ok(T::default())
    }

    fn visit_i64<E>(self, number: i64) -> Result<T, E> {
        Ok(T::of_number(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<T, E> {
        Ok(T::of_number(number))
    }

    fn visit_f64<E>(self, number: f64) -> Result<T, E> {
        Ok(T::of_number(number))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[derive(Deserialize)]
    struct Inner {
        #[serde(default)]
        name: Text,
    }

    #[derive(Deserialize)]
    struct Outer {
        #[serde(default)]
        text: Text,
        #[serde(default)]
        inner: Embedded<Inner>,
    }

    fn outer(json: &serde_json::Value) -> Outer {
        serde_json::from_str(&json.to_string()).expect("any value is understood")
    }

    #[test]
    fn only_a_text_that_says_something_is_one() {
        assert_eq!(outer(&json!({"text": "plain \" escaped"})).text.get(), Some("plain \" escaped"));
        for other in [json!(null), json!(true), json!(-1), json!(1), json!(0.5), json!(["a"]), json!({"a": "b"})] {
            assert_eq!(outer(&json!({"text": other})).text.get(), None, "{other}");
        }
        assert_eq!(outer(&json!({"text": ""})).text.get(), None);
        assert_eq!(outer(&json!({})).text.get(), None);
    }

    #[test]
    fn reason_of_a_failure_is_kept_only_where_it_is_short_and_plain() {
        for (json, expected) in [
            (json!(" 131 "), Some("131")),
            (json!(131), Some("131")),
            (json!(["131", 7, {}, [-1, null]]), Some("131, 7, -1")),
            (json!(""), None),
            (json!(null), None),
            (json!({"passwd": "x"}), None),
            (json!("add_ck_user failed: Passwd@123"), None),
            (json!("1".repeat(65)), None),
            (json!(vec!["131"; 1_000]), None),
        ] {
            let codes: ErrorCodes = serde_json::from_str(&json.to_string()).expect("any value is understood");
            assert_eq!(codes.get(), expected, "{json}");
        }
    }

    #[test]
    fn object_is_read_as_such_and_from_its_text() {
        for (inner, is_text) in [(json!({"name": "a", "more": [{}]}), false), (json!(r#"{"name": "a"}"#), true)] {
            let inner = outer(&json!({"inner": inner})).inner;
            assert_eq!(inner.is_text, is_text);
            assert_eq!(inner.object.expect("an object").name.get(), Some("a"));
        }
    }

    #[test]
    fn what_is_no_object_is_absent() {
        for other in [json!(null), json!(7), json!([]), json!(["a"])] {
            assert!(outer(&json!({"inner": other})).inner.object.is_none(), "{other}");
            assert!(outer(&json!({"inner": other.to_string()})).inner.object.is_none(), "text {other}");
        }
        for text in ["", "***", "{\"name", r#""{\"name\": \"a\"}""#] {
            assert!(outer(&json!({"inner": text})).inner.object.is_none(), "{text}");
        }
    }
}
