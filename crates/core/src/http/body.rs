//! Bodies and queries, read with the words that Better Auth's validation (zod 4) has for what is wrong:
//! `[body.email] Invalid input: expected string, received undefined; [body.name] …`.
//!
//! A room writes its body as a struct and implements [`FromFields`]; each reader records its own
//! complaint, so one answer names all that is wrong.

use serde_json::{Map, Value as Json};

use crate::error::{Error, VALIDATION_ERROR};

/// Reads the fields of one object and collects complaints.
#[derive(Debug)]
pub struct Fields {
    place: &'static str,
    map: Map<String, Json>,
    problems: Vec<String>,
}

/// A body (or query) that knows how to read itself. Unknown fields are passed over.
pub trait FromFields: Sized + Send {
    /// May the body be missing altogether?
    const OPTIONAL: bool = false;
    /// What zod calls the whole: `object`, or `record` where any fields may come.
    const SHAPE: &'static str = "object";
    /// Field names and kinds for the API document, e.g. `("email", "string")`, `("image", "string?")`.
    const FIELDS: &'static [(&'static str, &'static str)] = &[];
    /// Reads it.
    fn from_fields(fields: &mut Fields) -> Self;
}

/// No body is expected, and one that comes is not looked at.
impl FromFields for () {
    const OPTIONAL: bool = true;
    fn from_fields(_: &mut Fields) -> Self {}
}

/// zod's name for what was received.
fn received(value: Option<&Json>) -> &'static str {
    match value {
        None => "undefined",
        Some(Json::Null) => "null",
        Some(Json::Bool(_)) => "boolean",
        Some(Json::Number(_)) => "number",
        Some(Json::String(_)) => "string",
        Some(Json::Array(_)) => "array",
        Some(Json::Object(_)) => "object",
    }
}

/// Reads a whole body or query.
pub fn read<T: FromFields>(place: &'static str, value: Option<&Json>) -> Result<T, Error> {
    let map = match value {
        Some(Json::Object(map)) => map.clone(),
        None if T::OPTIONAL => Map::new(),
        other => {
            // `()` looks at nothing, so any body will do.
            if T::OPTIONAL && T::FIELDS.is_empty() {
                Map::new()
            } else {
                let message =
                    format!("[{place}] Invalid input: expected {}, received {}", T::SHAPE, received(other));
                return Err(VALIDATION_ERROR.saying(message).into());
            }
        }
    };
    let mut fields = Fields { place, map, problems: Vec::new() };
    let read = T::from_fields(&mut fields);
    if fields.problems.is_empty() {
        Ok(read)
    } else {
        Err(VALIDATION_ERROR.saying(fields.problems.join("; ")).into())
    }
}

impl Fields {
    /// Records a complaint about a field.
    pub fn problem(&mut self, name: &str, message: &str) {
        self.problems.push(format!("[{}.{name}] {message}", self.place));
    }

    fn wrong_type(&mut self, name: &str, expected: &str) {
        let message =
            format!("Invalid input: expected {expected}, received {}", received(self.map.get(name)));
        self.problem(name, &message);
    }

    /// A text that must be there (`z.string()`).
    pub fn string(&mut self, name: &str) -> String {
        match self.map.get(name) {
            Some(Json::String(text)) => text.clone(),
            _ => {
                self.wrong_type(name, "string");
                String::new()
            }
        }
    }

    /// A text of at least one character (`z.string().nonempty()`).
    pub fn nonempty(&mut self, name: &str) -> String {
        let text = self.string(name);
        if matches!(self.map.get(name), Some(Json::String(text)) if text.is_empty()) {
            self.problem(name, "Too small: expected string to have >=1 characters");
        }
        text
    }

    /// An e-mail address (`z.email()`).
    pub fn email(&mut self, name: &str) -> String {
        let text = self.string(name);
        if self.map.get(name).is_some_and(Json::is_string) && !is_email(&text) {
            self.problem(name, "Invalid email address");
        }
        text
    }

    /// A text that may be missing, but not `null` (`z.string().optional()`).
    pub fn optional_string(&mut self, name: &str) -> Option<String> {
        match self.map.get(name) {
            None => None,
            Some(Json::String(text)) => Some(text.clone()),
            Some(_) => {
                self.wrong_type(name, "string");
                None
            }
        }
    }

    /// A yes or no that must be there (`z.boolean()`).
    pub fn bool(&mut self, name: &str) -> bool {
        match self.map.get(name) {
            Some(Json::Bool(value)) => *value,
            _ => {
                self.wrong_type(name, "boolean");
                false
            }
        }
    }

    /// A yes or no that may be missing (`z.boolean().optional()`).
    pub fn optional_bool(&mut self, name: &str) -> Option<bool> {
        match self.map.get(name) {
            None => None,
            Some(Json::Bool(value)) => Some(*value),
            Some(_) => {
                self.wrong_type(name, "boolean");
                None
            }
        }
    }

    /// One of several texts, which may be missing (`z.enum([...]).optional()`).
    pub fn optional_one_of(&mut self, name: &str, options: &[&str]) -> Option<String> {
        match self.map.get(name) {
            None => None,
            Some(Json::String(text)) if options.contains(&text.as_str()) => Some(text.clone()),
            Some(_) => {
                let list = options.iter().map(|o| format!("\"{o}\"")).collect::<Vec<_>>().join("|");
                self.problem(name, &format!("Invalid option: expected one of {list}"));
                None
            }
        }
    }

    /// `z.coerce.boolean()`: anything that JavaScript calls true.
    pub fn truthy(&mut self, name: &str) -> bool {
        match self.map.get(name) {
            None | Some(Json::Null) => false,
            Some(Json::Bool(value)) => *value,
            Some(Json::Number(number)) => number.as_f64().is_some_and(|n| n != 0.0),
            Some(Json::String(text)) => !text.is_empty(),
            Some(_) => true,
        }
    }

    /// The raw value, unchecked.
    pub fn raw(&self, name: &str) -> Option<&Json> {
        self.map.get(name)
    }

    /// Everything that was not named, for records (`z.record(z.string(), z.any())`).
    pub fn rest(&self, named: &[&str]) -> Map<String, Json> {
        self.map
            .iter()
            .filter(|(key, _)| !named.contains(&key.as_str()))
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect()
    }
}

/// zod 4's pattern for e-mail addresses, by hand:
/// `^(?!\.)(?!.*\.\.)([A-Za-z0-9_'+\-\.]*)[A-Za-z0-9_+-]@([A-Za-z0-9][A-Za-z0-9\-]*\.)+[A-Za-z]{2,}$`.
pub fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.split_once('@') else { return false };
    let local_char = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '\'' | '+' | '-' | '.');
    let local_last = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '+' | '-');
    if local.starts_with('.')
        || text.contains("..")
        || !local.chars().all(local_char)
        || !local.chars().next_back().is_some_and(local_last)
    {
        return false;
    }
    let Some((hosts, top)) = domain.rsplit_once('.') else { return false };
    let label = |label: &str| {
        label.chars().next().is_some_and(|c| c.is_ascii_alphanumeric())
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    hosts.split('.').all(label) && top.len() >= 2 && top.chars().all(|c| c.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[derive(Debug)]
    struct Body;
    impl FromFields for Body {
        const FIELDS: &'static [(&'static str, &'static str)] = &[("email", "email")];
        fn from_fields(f: &mut Fields) -> Self {
            f.email("email");
            f.nonempty("password");
            f.optional_bool("rememberMe");
            Self
        }
    }

    fn message(value: Option<Json>) -> String {
        read::<Body>("body", value.as_ref()).unwrap_err().code().unwrap().message.to_string()
    }

    #[test]
    fn complaints_have_the_words_of_zod() {
        assert_eq!(message(None), "[body] Invalid input: expected object, received undefined");
        assert_eq!(message(Some(json!([]))), "[body] Invalid input: expected object, received array");
        assert_eq!(
            message(Some(json!({"email": 1, "password": "", "rememberMe": "false"}))),
            "[body.email] Invalid input: expected string, received number; \
             [body.password] Too small: expected string to have >=1 characters; \
             [body.rememberMe] Invalid input: expected boolean, received string"
        );
        assert_eq!(
            message(Some(json!({"email": "x", "password": "y"}))),
            "[body.email] Invalid email address"
        );
    }

    #[test]
    fn addresses_are_judged_as_zod_judges_them() {
        for good in ["a@b.co", "a.b+c@x-y.example.com", "o'neil@example.org", "A_1@EXAMPLE.COM", "1@1.ab"] {
            assert!(is_email(good), "{good}");
        }
        for bad in [
            "",
            "@",
            "a@",
            "@b.co",
            "a@b",
            ".a@b.co",
            "a..b@c.co",
            "a.@b.co",
            "a@-b.co",
            "a@b.c",
            "a@b.c1",
            "a b@c.co",
            "a@b@c.co",
            "ä@b.co",
            "a@b.co ",
            "a@b..co",
            "'@b.co",
        ] {
            assert!(!is_email(bad), "{bad}");
        }
    }
}
