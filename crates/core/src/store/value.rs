//! Values and rows: what the store takes and gives, the same for all three databases.
//!
//! Rooms rarely touch a [`Value`]: `table!` makes typed structs and typed column constants of them.
//! What stays dynamic (additional fields of the operator, columns lent by other rooms) lives in a
//! [`Row`].

use std::borrow::Cow;
use std::collections::{VecDeque, vec_deque};

use secrecy::{ExposeSecret, SecretString};

use super::StoreError;
use crate::clock::Timestamp;

/// One value of one column.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// SQL NULL.
    Null,
    /// A boolean (0/1 in SQLite and MySQL).
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number with a fraction.
    Float(f64),
    /// A text; ids are texts for callers, whatever the column's type.
    Text(String),
    /// A point in time, in whole milliseconds.
    Time(Timestamp),
    /// JSON, which is also what lists of texts and of numbers are stored as.
    Json(serde_json::Value),
}

impl Value {
    /// The text, when it is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The whole number, when it is one.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Self::Int(number) => Some(*number),
            _ => None,
        }
    }

    /// The number, whole or not.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            #[expect(clippy::cast_precision_loss, reason = "JSON numbers have the same precision")]
            Self::Int(number) => Some(*number as f64),
            Self::Float(number) => Some(*number),
            _ => None,
        }
    }

    /// The boolean, when it is one.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(flag) => Some(*flag),
            _ => None,
        }
    }

    /// The time, when it is one.
    pub fn as_time(&self) -> Option<Timestamp> {
        match self {
            Self::Time(at) => Some(*at),
            _ => None,
        }
    }

    /// The JSON, when it is JSON.
    pub fn as_json(&self) -> Option<&serde_json::Value> {
        match self {
            Self::Json(json) => Some(json),
            _ => None,
        }
    }

    /// Whether this is NULL.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// What kind of value this is, for error texts: they never carry the value itself.
    pub(super) fn what(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Int(_) => "a whole number",
            Self::Float(_) => "a number",
            Self::Text(_) => "a text",
            Self::Time(_) => "a date",
            Self::Json(_) => "JSON",
        }
    }
}

/// As the API shows it: dates as ISO text, NULL as `null`.
impl From<Value> for serde_json::Value {
    fn from(value: Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(flag) => Self::Bool(flag),
            Value::Int(number) => Self::from(number),
            Value::Float(number) => Self::from(number),
            Value::Text(text) => Self::String(text),
            Value::Time(at) => Self::String(at.to_string()),
            Value::Json(json) => json,
        }
    }
}

macro_rules! values {
    ($($from:ty => |$value:ident| $to:expr;)*) => {$(
        impl From<$from> for Value {
            fn from($value: $from) -> Self { $to }
        }
    )*};
}
values! {
    &str => |text| Self::Text(text.to_owned());
    &String => |text| Self::Text(text.clone());
    String => |text| Self::Text(text);
    Cow<'_, str> => |text| Self::Text(text.into_owned());
    bool => |flag| Self::Bool(flag);
    i64 => |number| Self::Int(number);
    i32 => |number| Self::Int(i64::from(number));
    u32 => |number| Self::Int(i64::from(number));
    f64 => |number| Self::Float(number);
    Timestamp => |at| Self::Time(at);
    serde_json::Value => |json| Self::Json(json);
    Vec<String> => |list| Self::Json(list.into());
    Vec<i64> => |list| Self::Json(list.into());
    &SecretString => |secret| Self::Text(secret.expose_secret().to_owned());
    SecretString => |secret| Self::Text(secret.expose_secret().to_owned());
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// One row: logical column keys with their values, in the table's order, which is also the order in which `table!`
/// takes them out.
#[derive(Clone, PartialEq, Default)]
pub struct Row(VecDeque<(Cow<'static, str>, Value)>);

/// Columns and what kind of value they have; the values may be secret.
impl std::fmt::Debug for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.iter().map(|(key, value)| (key, value.what()))).finish()
    }
}

impl Row {
    /// A row without columns; as `changes` it changes nothing.
    pub const fn new() -> Self {
        Self(VecDeque::new())
    }

    /// The value of a column; `None` when the row does not have it (NULL is `Some(Value::Null)`).
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// The text of a column; `None` when it is absent, NULL or something else.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.get(key).and_then(Value::as_str)
    }

    /// Sets a column and returns what was there.
    pub fn insert(&mut self, key: impl Into<Cow<'static, str>>, value: impl Into<Value>) -> Option<Value> {
        let (key, value) = (key.into(), value.into());
        match self.0.iter_mut().find(|(name, _)| *name == key) {
            Some((_, old)) => Some(std::mem::replace(old, value)),
            None => {
                self.0.push_back((key, value));
                None
            }
        }
    }

    /// Sets a column.
    pub fn set(&mut self, key: impl Into<Cow<'static, str>>, value: impl Into<Value>) {
        self.insert(key, value);
    }

    /// The same row with one more column.
    #[must_use]
    pub fn with(mut self, key: impl Into<Cow<'static, str>>, value: impl Into<Value>) -> Self {
        self.set(key, value);
        self
    }

    /// Takes a column out.
    pub fn remove(&mut self, key: &str) -> Option<Value> {
        let at = self.0.iter().position(|(name, _)| name == key)?;
        self.0.remove(at).map(|(_, value)| value)
    }

    /// Whether the row has the column, be it NULL.
    pub fn contains(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// How many columns the row has.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the row has no column.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Keys and values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(key, value)| (&**key, value))
    }

    /// Takes a column out as a Rust type; for `table!`.
    ///
    /// # Errors
    /// [`StoreError::Decode`] when the column is missing or of another type.
    pub fn take<T: Cell>(&mut self, table: &str, key: &str) -> Result<T, StoreError> {
        T::from_value(self.remove(key)).map_err(|found| {
            StoreError::Decode(format!("{table}.{key}: expected {}, found {found}", T::WHAT))
        })
    }

    /// Without room for what was taken out: rows that are kept in memory are mostly that.
    #[must_use]
    pub fn fitted(mut self) -> Self {
        self.0.shrink_to_fit();
        self
    }

    pub(crate) fn push(&mut self, key: Cow<'static, str>, value: Value) {
        self.0.push_back((key, value));
    }

    pub(crate) fn with_capacity(columns: usize) -> Self {
        Self(VecDeque::with_capacity(columns))
    }
}

impl IntoIterator for Row {
    type Item = (Cow<'static, str>, Value);
    type IntoIter = vec_deque::IntoIter<Self::Item>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<K: Into<Cow<'static, str>>, V: Into<Value>> FromIterator<(K, V)> for Row {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(columns: I) -> Self {
        let mut row = Self::new();
        for (key, value) in columns {
            row.set(key, value);
        }
        row
    }
}

impl<K: Into<Cow<'static, str>>, V: Into<Value>> Extend<(K, V)> for Row {
    fn extend<I: IntoIterator<Item = (K, V)>>(&mut self, columns: I) {
        for (key, value) in columns {
            self.set(key, value);
        }
    }
}

impl<K: Into<Cow<'static, str>>, V: Into<Value>, const N: usize> From<[(K, V); N]> for Row {
    fn from(columns: [(K, V); N]) -> Self {
        columns.into_iter().collect()
    }
}

/// A Rust type that a column can hold; `Option<T>` makes the column nullable.
pub trait Cell: Sized {
    /// Whether a column of this type is NOT NULL.
    const REQUIRED: bool;
    /// The type's name in error texts.
    const WHAT: &'static str;
    /// From a column's value (`None`: the row has no such column).
    ///
    /// # Errors
    /// What was found instead, without the value itself.
    fn from_value(value: Option<Value>) -> Result<Self, &'static str>;
    /// As a column's value.
    fn into_value(self) -> Value;
}

macro_rules! cells {
    ($($type:ty, $what:literal, |$value:ident| $from:pat => $to:expr;)*) => {$(
        impl Cell for $type {
            const REQUIRED: bool = true;
            const WHAT: &'static str = $what;
            fn from_value(value: Option<Value>) -> Result<Self, &'static str> {
                match value {
                    Some($from) => Ok($to),
                    Some(other) => Err(other.what()),
                    None => Err("no such column"),
                }
            }
            fn into_value(self) -> Value { self.into() }
        }
    )*};
}
cells! {
    String, "a text", |v| Value::Text(v) => v;
    SecretString, "a text", |v| Value::Text(v) => v.into();
    bool, "a boolean", |v| Value::Bool(v) => v;
    i64, "a whole number", |v| Value::Int(v) => v;
    Timestamp, "a date", |v| Value::Time(v) => v;
    serde_json::Value, "JSON", |v| Value::Json(v) => v;
}

impl Cell for f64 {
    const REQUIRED: bool = true;
    const WHAT: &'static str = "a number";
    fn from_value(value: Option<Value>) -> Result<Self, &'static str> {
        let value = value.ok_or("no such column")?;
        value.as_f64().ok_or_else(|| value.what())
    }
    fn into_value(self) -> Value {
        Value::Float(self)
    }
}

impl Cell for i32 {
    const REQUIRED: bool = true;
    const WHAT: &'static str = "a whole number of 32 bits";
    fn from_value(value: Option<Value>) -> Result<Self, &'static str> {
        Self::try_from(i64::from_value(value)?).map_err(|_| "a larger number")
    }
    fn into_value(self) -> Value {
        self.into()
    }
}

macro_rules! list_cells {
    ($($item:ty, $what:literal, $read:expr;)*) => {$(
        impl Cell for Vec<$item> {
            const REQUIRED: bool = true;
            const WHAT: &'static str = $what;
            fn from_value(value: Option<Value>) -> Result<Self, &'static str> {
                match value {
                    Some(Value::Json(serde_json::Value::Array(items))) => items
                        .iter()
                        .map($read)
                        .collect::<Option<_>>()
                        .ok_or("a list of something else"),
                    Some(other) => Err(other.what()),
                    None => Err("no such column"),
                }
            }
            fn into_value(self) -> Value { self.into() }
        }
    )*};
}
list_cells! {
    String, "a list of texts", |item| item.as_str().map(str::to_owned);
    i64, "a list of whole numbers", serde_json::Value::as_i64;
}

impl<T: Cell> Cell for Option<T> {
    const REQUIRED: bool = false;
    const WHAT: &'static str = T::WHAT;
    fn from_value(value: Option<Value>) -> Result<Self, &'static str> {
        match value {
            None | Some(Value::Null) => Ok(None),
            some => T::from_value(some).map(Some),
        }
    }
    fn into_value(self) -> Value {
        self.map_or(Value::Null, Cell::into_value)
    }
}

/// Any value at all: nullable.
impl Cell for Value {
    const REQUIRED: bool = false;
    const WHAT: &'static str = "a value";
    fn from_value(value: Option<Value>) -> Result<Self, &'static str> {
        Ok(value.unwrap_or(Self::Null))
    }
    fn into_value(self) -> Value {
        self
    }
}
