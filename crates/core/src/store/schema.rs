//! Tables and columns as values. Rooms declare them with `table!`, lend columns to each other's
//! tables, and the operator may rename everything; the SQL is made of the result.
//!
//! Two names for one thing: a *key* is Better Auth's logical name and the only one that code uses
//! (`"emailVerified"`), a *name* is what the operator's database calls it.

use std::borrow::Cow;

use super::Value;

/// What a column holds. The three databases spell it differently (see `ddl`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// An id, or a foreign key to one: follows [`IdKind`].
    Id,
    /// Text.
    Text,
    /// A boolean.
    Bool,
    /// A number of 32 bits.
    Int,
    /// A number of 64 bits.
    BigInt,
    /// A date.
    Time,
    /// JSON.
    Json,
    /// A list of texts.
    TextList,
    /// A list of numbers.
    IntList,
}

/// What a column gets when an insert does not mention it. Applied by us, as Better Auth does;
/// SQL defaults exist only where Better Auth's migrations write them.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum DefaultValue {
    /// Nothing: NULL, or the database's own default.
    #[default]
    None,
    /// The time of the insert.
    Now,
    /// A constant.
    Value(Value),
}

/// What happens to a row when the row that it points to is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnDelete {
    /// It goes too.
    Cascade,
    /// It points nowhere.
    SetNull,
    /// The deletion fails.
    Restrict,
    /// The deletion fails at the end of the transaction.
    NoAction,
}

impl OnDelete {
    pub(super) fn sql(self) -> &'static str {
        match self {
            Self::Cascade => "cascade",
            Self::SetNull => "set null",
            Self::Restrict => "restrict",
            Self::NoAction => "no action",
        }
    }
}

/// The target of a foreign key, by keys.
#[derive(Debug, Clone, PartialEq)]
pub struct Reference {
    /// Key of the other table.
    pub table: Cow<'static, str>,
    /// Key of its column.
    pub column: Cow<'static, str>,
    /// What the other row's end means for this one.
    pub on_delete: OnDelete,
}

/// One column. Nullable unless [`Column::required`]; `table!` takes that from the Rust type.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// Better Auth's name.
    pub key: Cow<'static, str>,
    /// The database's name.
    pub name: String,
    /// What it holds.
    pub kind: Kind,
    /// NOT NULL.
    pub required: bool,
    /// No two rows have the same value.
    pub unique: bool,
    /// Has an index.
    pub indexed: bool,
    /// May be sorted by, which on MySQL means a bounded text.
    pub sortable: bool,
    /// A foreign key.
    pub references: Option<Reference>,
    /// What an insert without it writes.
    pub default: DefaultValue,
    /// Clients may write it.
    pub input: bool,
    /// It goes into answers.
    pub returned: bool,
}

impl Column {
    /// A column of any kind; the named constructors read better.
    pub fn new(key: impl Into<Cow<'static, str>>, kind: Kind) -> Self {
        let key = key.into();
        Self {
            name: key.clone().into_owned(),
            key,
            kind,
            required: false,
            unique: false,
            indexed: false,
            sortable: false,
            references: None,
            default: DefaultValue::None,
            input: true,
            returned: true,
        }
    }

    /// The primary key `id`.
    pub fn id() -> Self {
        Self { input: false, ..Self::new("id", Kind::Id).required() }
    }

    /// Text.
    pub fn text(key: impl Into<Cow<'static, str>>) -> Self {
        Self::new(key, Kind::Text)
    }

    /// A boolean.
    pub fn bool(key: impl Into<Cow<'static, str>>) -> Self {
        Self::new(key, Kind::Bool)
    }

    /// A number of 32 bits.
    pub fn int(key: impl Into<Cow<'static, str>>) -> Self {
        Self::new(key, Kind::Int)
    }

    /// A number of 64 bits.
    pub fn bigint(key: impl Into<Cow<'static, str>>) -> Self {
        Self::new(key, Kind::BigInt)
    }

    /// A date.
    pub fn time(key: impl Into<Cow<'static, str>>) -> Self {
        Self::new(key, Kind::Time)
    }

    /// JSON.
    pub fn json(key: impl Into<Cow<'static, str>>) -> Self {
        Self::new(key, Kind::Json)
    }

    /// A list of texts.
    pub fn text_list(key: impl Into<Cow<'static, str>>) -> Self {
        Self::new(key, Kind::TextList)
    }

    /// A list of numbers.
    pub fn int_list(key: impl Into<Cow<'static, str>>) -> Self {
        Self::new(key, Kind::IntList)
    }

    /// A foreign key to another table's `id`; rows go with the row that they point to.
    pub fn foreign(key: impl Into<Cow<'static, str>>, table: impl Into<Cow<'static, str>>) -> Self {
        Self::new(key, Kind::Id).references(table, "id")
    }

    /// NOT NULL.
    #[must_use]
    pub fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// NOT NULL when `yes`, otherwise as it was; for `table!`.
    #[must_use]
    pub fn required_if(mut self, yes: bool) -> Self {
        self.required |= yes;
        self
    }

    /// No two rows have the same value.
    #[must_use]
    pub fn unique(mut self) -> Self {
        self.unique = true;
        self
    }

    /// Has an index.
    #[must_use]
    pub fn indexed(mut self) -> Self {
        self.indexed = true;
        self
    }

    /// May be sorted by.
    #[must_use]
    pub fn sortable(mut self) -> Self {
        self.sortable = true;
        self
    }

    /// Points to a column of another table; a pointer to `id` has the kind of an id.
    #[must_use]
    pub fn references(
        mut self,
        table: impl Into<Cow<'static, str>>,
        column: impl Into<Cow<'static, str>>,
    ) -> Self {
        let column = column.into();
        if column == "id" {
            self.kind = Kind::Id;
        }
        self.references = Some(Reference { table: table.into(), column, on_delete: OnDelete::Cascade });
        self
    }

    /// What the other row's end means; without it, `cascade`.
    #[must_use]
    pub fn on_delete(mut self, action: OnDelete) -> Self {
        if let Some(reference) = &mut self.references {
            reference.on_delete = action;
        }
        self
    }

    /// What an insert without this column writes.
    #[must_use]
    pub fn default(mut self, value: impl Into<Value>) -> Self {
        self.default = DefaultValue::Value(value.into());
        self
    }

    /// An insert without this column writes the current time.
    #[must_use]
    pub fn default_now(mut self) -> Self {
        self.default = DefaultValue::Now;
        self
    }

    /// Clients may not write it (`input: false`).
    #[must_use]
    pub fn no_input(mut self) -> Self {
        self.input = false;
        self
    }

    /// It never goes into an answer (`returned: false`).
    #[must_use]
    pub fn hidden(mut self) -> Self {
        self.returned = false;
        self
    }

    /// The database's name for it, when it differs from the key.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }
}

/// One table.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// Better Auth's name.
    pub key: Cow<'static, str>,
    /// The database's name.
    pub name: String,
    /// Its columns; `id` first.
    pub columns: Vec<Column>,
    /// Place among the tables a migration makes: the core tables have 1 to 4, others come after.
    pub order: Option<u32>,
    /// Sets of columns (by key) of which no two rows have the same values.
    pub unique_together: Vec<Vec<&'static str>>,
    /// Is every write to it told to whoever remembers what it said ([`Store::traces_of`](super::Store))?
    pub watched: bool,
}

impl Table {
    /// A table of these columns.
    pub fn new(key: impl Into<Cow<'static, str>>, columns: Vec<Column>) -> Self {
        let key = key.into();
        Self {
            name: key.clone().into_owned(),
            key,
            columns,
            order: None,
            unique_together: Vec::new(),
            watched: false,
        }
    }

    /// What it says as a whole is remembered, so every write to it counts, inserts too.
    #[must_use]
    pub fn watched(mut self) -> Self {
        self.watched = true;
        self
    }

    /// Its place among the tables that a migration makes.
    #[must_use]
    pub fn order(mut self, order: u32) -> Self {
        self.order = Some(order);
        self
    }

    /// No two rows have the same values in these columns.
    #[must_use]
    pub fn unique_together(mut self, columns: &[&'static str]) -> Self {
        self.unique_together.push(columns.to_vec());
        self
    }

    /// The unique column that a constraint of this name is on, where the name tells: `user.email` on
    /// SQLite; table, column and an ending where migrations name constraints.
    pub fn unique_column(&self, constraint: &str) -> Option<&Column> {
        let name = constraint.rsplit('.').next().unwrap_or_default();
        let name = ["_key", "_uidx", "_unique", "_idx"]
            .iter()
            .find_map(|end| name.strip_suffix(end))
            .unwrap_or(name);
        let of_column = |column: &&Column| {
            column.unique
                && name
                    .strip_suffix(column.name.as_str())
                    .is_some_and(|table| table.is_empty() || table.ends_with('_'))
        };
        // `user_name` ends with `name`: the longer one is meant.
        self.columns.iter().filter(of_column).max_by_key(|column| column.name.len())
    }

    /// A column by key.
    pub fn column(&self, key: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.key == key)
    }
}

/// All tables, in the order in which they were declared.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Schema {
    tables: Vec<Table>,
}

impl Schema {
    /// A schema of these tables.
    pub fn new(tables: Vec<Table>) -> Self {
        let mut schema = Self::default();
        for table in tables {
            schema.add(table);
        }
        schema
    }

    /// Adds a table. A key that exists already gets the new columns, as when two features declare
    /// parts of one table.
    pub fn add(&mut self, table: Table) {
        match self.get_mut(&table.key) {
            None => self.tables.push(table),
            Some(known) => {
                known.unique_together.extend(table.unique_together);
                for column in table.columns {
                    put(known, column);
                }
            }
        }
    }

    /// A table by key.
    pub fn get(&self, key: &str) -> Option<&Table> {
        self.tables.iter().find(|table| table.key == key)
    }

    /// Takes a table out.
    pub fn remove(&mut self, key: &str) -> Option<Table> {
        let at = self.tables.iter().position(|table| table.key == key)?;
        Some(self.tables.remove(at))
    }

    /// The tables, in order.
    pub fn tables(&self) -> impl Iterator<Item = &Table> {
        self.tables.iter()
    }

    /// Lends a column to a table (replacing one of the same key). A table that there
    /// is not takes no loan.
    pub fn lend(&mut self, table_key: &str, column: Column) {
        if let Some(table) = self.get_mut(table_key) {
            put(table, column);
        }
    }

    /// Gives a table another name in the database (`user.modelName`).
    pub fn set_table_name(&mut self, key: &str, name: impl Into<String>) {
        if let Some(table) = self.get_mut(key) {
            table.name = name.into();
        }
    }

    /// Gives a column another name in the database (`user.fields.email`).
    pub fn set_column_name(&mut self, table_key: &str, column_key: &str, name: impl Into<String>) {
        let column =
            self.get_mut(table_key).and_then(|table| table.columns.iter_mut().find(|c| c.key == column_key));
        if let Some(column) = column {
            column.name = name.into();
        }
    }

    fn get_mut(&mut self, key: &str) -> Option<&mut Table> {
        self.tables.iter_mut().find(|table| table.key == key)
    }
}

fn put(table: &mut Table, column: Column) {
    match table.columns.iter_mut().find(|known| known.key == column.key) {
        Some(known) => *known = column,
        None => table.columns.push(column),
    }
}

/// Who makes ids, and of what type they are (`advanced.database.generateId`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IdKind {
    /// Text, made by the caller.
    #[default]
    Text,
    /// UUIDs: a `uuid` column with a default in PostgreSQL, text elsewhere.
    Uuid,
    /// Numbers, counted by the database; still texts in the API.
    Serial,
}
