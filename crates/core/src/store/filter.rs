//! Which rows, in what order: filters, queries, and typed column constants that make them.

use std::borrow::Cow;
use std::marker::PhantomData;

use secrecy::SecretString;

use super::Value;
use crate::clock::Timestamp;

/// A column's key.
pub type Key = Cow<'static, str>;

/// A condition on the columns of one table.
///
/// SQL's rules for NULL hold, except that `Is(Null)` and `Not(Null)` mean `is null` and
/// `is not null`: a NULL is neither equal nor unequal to a value, so `Not(col, "x")` leaves rows out
/// whose column is NULL, as Better Auth's `ne` does.
#[derive(Debug, Clone, PartialEq)]
pub enum Filter {
    /// Every row.
    All,
    /// All of these; an empty list is every row.
    And(Vec<Filter>),
    /// Any of these; an empty list is no row.
    Or(Vec<Filter>),
    /// Equal; with NULL, `is null`.
    Is(Key, Value),
    /// Not equal; with NULL, `is not null`.
    Not(Key, Value),
    /// Less.
    Lt(Key, Value),
    /// Less or equal.
    Le(Key, Value),
    /// Greater.
    Gt(Key, Value),
    /// Greater or equal.
    Ge(Key, Value),
    /// One of these; an empty list is no row.
    In(Key, Vec<Value>),
    /// None of these; an empty list is every row.
    NotIn(Key, Vec<Value>),
    /// The text occurs; `%` and `_` are ordinary letters. Case as the database's LIKE has it.
    Contains(Key, String),
    /// The text is the beginning.
    StartsWith(Key, String),
    /// The text is the end.
    EndsWith(Key, String),
}

impl Filter {
    /// Both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::All, filter) | (filter, Self::All) => filter,
            (Self::And(mut all), other) => {
                all.push(other);
                Self::And(all)
            }
            (filter, other) => Self::And(vec![filter, other]),
        }
    }

    /// Either.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::All, _) | (_, Self::All) => Self::All,
            (Self::Or(mut any), other) => {
                any.push(other);
                Self::Or(any)
            }
            (filter, other) => Self::Or(vec![filter, other]),
        }
    }
}

/// A direction of sorting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Order {
    /// Smallest first.
    Asc,
    /// Largest first.
    Desc,
}

/// Which rows, in what order, and how many.
///
/// Without a limit all matching rows are held in memory: give one where the number is not bounded
/// by the filter.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    /// Which rows.
    pub filter: Filter,
    /// Sorted by these columns.
    pub order: Vec<(Key, Order)>,
    /// At most so many.
    pub limit: Option<u64>,
    /// Without the first so many.
    pub offset: Option<u64>,
}

impl From<Filter> for Query {
    fn from(filter: Filter) -> Self {
        Self { filter, order: Vec::new(), limit: None, offset: None }
    }
}

impl Query {
    /// Every row.
    pub fn all() -> Self {
        Filter::All.into()
    }

    /// Sorted by a column.
    #[must_use]
    pub fn sorted(mut self, column: impl Into<Key>, order: Order) -> Self {
        self.order.push((column.into(), order));
        self
    }

    /// Largest first: the newest, when the column is a date.
    #[must_use]
    pub fn newest_first(self, column: impl Into<Key>) -> Self {
        self.sorted(column, Order::Desc)
    }

    /// Smallest first: the oldest, when the column is a date.
    #[must_use]
    pub fn oldest_first(self, column: impl Into<Key>) -> Self {
        self.sorted(column, Order::Asc)
    }

    /// At most so many.
    #[must_use]
    pub fn limit(mut self, rows: u64) -> Self {
        self.limit = Some(rows);
        self
    }

    /// Without the first so many.
    #[must_use]
    pub fn offset(mut self, rows: u64) -> Self {
        self.offset = Some(rows);
        self
    }
}

/// A column as a constant that knows its type: `Passkey::USER.is(id)`.
#[derive(Debug)]
pub struct Field<T> {
    /// The column's key.
    pub key: &'static str,
    of: PhantomData<fn() -> T>,
}

impl<T> Clone for Field<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Field<T> {}

impl<T> Field<T> {
    /// The column of this key.
    pub const fn new(key: &'static str) -> Self {
        Self { key, of: PhantomData }
    }

    fn key(self) -> Key {
        Cow::Borrowed(self.key)
    }

    /// Equal.
    pub fn is(self, value: impl Fits<T>) -> Filter {
        Filter::Is(self.key(), value.into())
    }

    /// Not equal.
    pub fn not(self, value: impl Fits<T>) -> Filter {
        Filter::Not(self.key(), value.into())
    }

    /// NULL.
    pub fn is_null(self) -> Filter {
        Filter::Is(self.key(), Value::Null)
    }

    /// Not NULL.
    pub fn is_set(self) -> Filter {
        Filter::Not(self.key(), Value::Null)
    }

    /// Less.
    pub fn lt(self, value: impl Fits<T>) -> Filter {
        Filter::Lt(self.key(), value.into())
    }

    /// Less or equal.
    pub fn le(self, value: impl Fits<T>) -> Filter {
        Filter::Le(self.key(), value.into())
    }

    /// Greater.
    pub fn gt(self, value: impl Fits<T>) -> Filter {
        Filter::Gt(self.key(), value.into())
    }

    /// Greater or equal.
    pub fn ge(self, value: impl Fits<T>) -> Filter {
        Filter::Ge(self.key(), value.into())
    }

    /// One of these.
    pub fn one_of<V: Fits<T>>(self, values: impl IntoIterator<Item = V>) -> Filter {
        Filter::In(self.key(), values.into_iter().map(Into::into).collect())
    }

    /// None of these.
    pub fn none_of<V: Fits<T>>(self, values: impl IntoIterator<Item = V>) -> Filter {
        Filter::NotIn(self.key(), values.into_iter().map(Into::into).collect())
    }

    /// The column with a value, for a row.
    pub fn set(self, value: impl Fits<T>) -> (&'static str, Value) {
        (self.key, value.into())
    }
}

/// What a typed column can be compared with: a text with `&str`, a nullable column with the plain
/// type as well.
pub trait Fits<T>: Into<Value> {}

impl<T> Fits<T> for Value {}

macro_rules! fits {
    ($($type:ty: $($from:ty),*;)*) => {$($(
        impl Fits<$type> for $from {}
        impl Fits<Option<$type>> for $from {}
        impl Fits<Option<$type>> for Option<$from> {}
    )*)*};
}
fits! {
    String: String, &str, &String, Cow<'_, str>, SecretString, &SecretString;
    SecretString: String, &str, &String, SecretString, &SecretString;
    bool: bool;
    i64: i64, i32, u32;
    i32: i32;
    f64: f64;
    Timestamp: Timestamp;
    serde_json::Value: serde_json::Value;
    Vec<String>: Vec<String>;
    Vec<i64>: Vec<i64>;
}
