//! Bringing a database to the schema: what is missing is added, what is there is left alone.
//!
//! A plan is made against the catalogue and can be looked at before it is carried out. Whoever
//! carries it out holds a lock of the database's own, so that any number of processes may start at
//! once: the first one migrates, the others find nothing left to do.

use std::fmt;
use std::sync::atomic::Ordering;

use super::ddl::Writer;
use super::introspect::{self, Existing, same};
use super::link::{Link, Purpose};
use super::schema::{Column, IdKind, Kind, Schema, Table};
use super::value::{Row, Value};
use super::{Dialect, Store, StoreError};

/// PostgreSQL: one process at a time. Released at the end of the transaction, also behind PgBouncer. The
/// number is arbitrary.
pub(super) const LOCK: &str = "select pg_advisory_xact_lock(7378697629483820646)";

/// The core table that once had an issuer.
pub(super) const ACCOUNT: &str = "account";
/// Its column in Better Auth 1.7.0–1.7.2, NOT NULL; gone since 1.7.3.
pub(super) const ISSUER: &str = "issuer";

/// What `issuer` holds for an account, as those versions wrote it.
pub(super) fn issuer_of(account: &Row) -> Value {
    match account.text("providerId") {
        Some("credential") => "local:credential".into(),
        Some(provider) => provider.into(),
        None => Value::Null,
    }
}

/// Finds missing tables under other names; see [`super::ConnectOptions::adopt_names`].
pub(super) async fn adopt_names(
    link: &mut Link,
    dialect: Dialect,
    schema: &mut Schema,
) -> Result<(), StoreError> {
    let existing = introspect::tables(link).await?;
    let wanted: Vec<(String, String, Vec<String>)> = schema
        .tables()
        .map(|table| {
            let columns = table.columns.iter().map(|column| column.name.clone()).collect();
            (table.key.to_string(), table.name.clone(), columns)
        })
        .collect();
    for (key, name, columns) in &wanted {
        if existing.iter().any(|table| same(dialect, &table.name, name)) {
            continue;
        }
        let alike: Vec<&Existing> = existing
            .iter()
            .filter(|table| !wanted.iter().any(|(_, other, _)| same(dialect, other, &table.name)))
            .filter(|table| table.columns.len() == columns.len())
            .filter(|table| columns.iter().all(|column| table.column(dialect, column).is_some()))
            .collect();
        match alike.as_slice() {
            [only] => {
                tracing::warn!(
                    "there is no table `{name}`; `{}` has exactly its columns and is used for it. \
                     Write its name into the configuration to say so",
                    only.name
                );
                schema.set_table_name(key, only.name.clone());
            }
            _ => tracing::warn!("there is no table `{name}`; run `portcullis migrate`"),
        }
    }
    Ok(())
}

/// What a migration would do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// The statements, in order.
    pub statements: Vec<String>,
    /// PostgreSQL: what makes triggers that tell of writes, without which nothing is remembered.
    pub triggers: Vec<String>,
    /// What the operator should know: types that differ, columns that we do not fill.
    pub warnings: Vec<String>,
}

impl Plan {
    /// The statements as a script.
    pub fn sql(&self) -> String {
        self.statements.iter().chain(&self.triggers).map(|statement| format!("{statement};\n")).collect()
    }

    #[cfg(test)]
    pub(super) fn of_an_empty_database(
        dialect: Dialect,
        ids: IdKind,
        schema: &Schema,
    ) -> Result<Self, StoreError> {
        Work::new(Writer { dialect, ids, schema }).finish(schema.tables().collect())
    }

    /// Whether the database is as it should be.
    pub fn is_empty(&self) -> bool {
        self.statements.is_empty() && self.triggers.is_empty()
    }
}

/// The script, with the warnings as comments above it.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for warning in &self.warnings {
            writeln!(f, "-- {}", warning.replace('\n', " "))?;
        }
        f.write_str(&self.sql())
    }
}

impl Store {
    /// What [`Store::migrate`] would do now.
    ///
    /// # Errors
    /// [`StoreError::Unsafe`] when it would refuse.
    pub async fn migration_plan(&self) -> Result<Plan, StoreError> {
        let mut link = self.0.pool.link(Purpose::Read).await?;
        let mut plan = self.plan(&mut link).await?;
        plan.triggers = self.missing_triggers(&mut link).await?;
        link.commit().await?;
        Ok(plan)
    }

    /// Adds what is missing and returns what was done.
    ///
    /// # Errors
    /// [`StoreError::Unsafe`] when rows would need values that nobody has given; nothing is changed
    /// then.
    pub async fn migrate(&self) -> Result<Plan, StoreError> {
        let mut plan = match self.dialect() {
            Dialect::MySql => self.migrate_under_named_lock().await?,
            Dialect::Sqlite | Dialect::Postgres => self.migrate_in_transaction().await?,
        };
        plan.triggers = self.make_triggers().await?;
        self.notice_issuer().await?;
        Ok(plan)
    }

    /// DDL is part of a transaction here: all of it happens, or nothing.
    async fn migrate_in_transaction(&self) -> Result<Plan, StoreError> {
        let mut link = self.0.pool.link(Purpose::Transaction).await?;
        if self.dialect() == Dialect::Postgres {
            link.raw(LOCK.to_owned()).await?;
        }
        let plan = self.plan(&mut link).await?;
        for statement in &plan.statements {
            link.raw(statement.clone()).await?;
        }
        link.commit().await?;
        Ok(plan)
    }

    /// MySQL commits at every DDL statement, so the lock is one that commits do not release.
    async fn migrate_under_named_lock(&self) -> Result<Plan, StoreError> {
        const NAME: &str = "concat('portcullis:', sha1(database()))";
        let mut link = self.0.pool.link(Purpose::Read).await?;
        let got = link.catalogue(&format!("select get_lock({NAME}, 60)"), Vec::new(), &[Kind::Int]).await?;
        if got.first().and_then(|row| row.first()).and_then(Value::as_i64) != Some(1) {
            return Err(StoreError::Unavailable("another process has been migrating for a minute".into()));
        }
        let done = self.plan_and_do(&mut link).await;
        let released =
            link.catalogue(&format!("select release_lock({NAME})"), Vec::new(), &[Kind::Int]).await;
        let plan = done?;
        released?;
        Ok(plan)
    }

    async fn plan_and_do(&self, link: &mut Link) -> Result<Plan, StoreError> {
        let plan = self.plan(link).await?;
        for statement in &plan.statements {
            link.raw(statement.clone()).await?;
        }
        Ok(plan)
    }

    /// Looks whether `account` wants an issuer.
    pub(super) async fn notice_issuer(&self) -> Result<(), StoreError> {
        let Some(account) = self.schema().get(ACCOUNT) else { return Ok(()) };
        let declared = account.columns.iter().any(|column| column.name == ISSUER);
        let mut link = self.0.pool.link(Purpose::Read).await?;
        let existing = introspect::table(&mut link, &account.name).await?;
        link.commit().await?;
        let column = existing.as_ref().and_then(|table| table.column(self.dialect(), ISSUER));
        let wanted = !declared && column.is_some_and(|column| column.required && !column.filled);
        self.0.issuer.store(wanted, Ordering::Relaxed);
        Ok(())
    }

    async fn plan(&self, link: &mut Link) -> Result<Plan, StoreError> {
        let existing = introspect::tables(link).await?;
        let writer = self.writer();
        let mut work = Work::new(writer);
        let mut missing = Vec::new();
        for table in self.schema().tables() {
            match existing.iter().find(|known| same(writer.dialect, &known.name, &table.name)) {
                Some(known) => work.extend(link, table, known).await?,
                None => missing.push(table),
            }
        }
        work.finish(missing)
    }
}

/// The core tables by their number, the rest as declared; a table after those that it points to.
fn creation_order(mut tables: Vec<&Table>) -> Vec<&Table> {
    tables.sort_by_key(|table| table.order.unwrap_or(u32::MAX));
    let mut ordered = Vec::with_capacity(tables.len());
    while !tables.is_empty() {
        let waits = |table: &Table| {
            let mut targets = table.columns.iter().filter_map(|column| column.references.as_ref());
            targets.any(|to| to.table != table.key && tables.iter().any(|other| other.key == to.table))
        };
        // In a circle nobody can be first; then the declared order is as good as any.
        let next = tables.iter().position(|table| !waits(table)).unwrap_or(0);
        ordered.push(tables.remove(next));
    }
    ordered
}

struct Work<'a> {
    writer: Writer<'a>,
    plan: Plan,
    unsafe_changes: Vec<String>,
    indexes: Vec<String>,
}

impl<'a> Work<'a> {
    fn new(writer: Writer<'a>) -> Self {
        Self { writer, plan: Plan::default(), unsafe_changes: Vec::new(), indexes: Vec::new() }
    }

    /// The tables that are missing, and at last the indexes.
    fn finish(mut self, missing: Vec<&Table>) -> Result<Plan, StoreError> {
        for table in creation_order(missing) {
            self.create(table)?;
        }
        if !self.unsafe_changes.is_empty() {
            return Err(StoreError::Unsafe(self.unsafe_changes.join("\n")));
        }
        self.plan.statements.append(&mut self.indexes);
        Ok(self.plan)
    }

    fn create(&mut self, table: &Table) -> Result<(), StoreError> {
        self.plan.statements.push(self.writer.create_table(table)?);
        for column in table.columns.iter().filter(|column| column.indexed && !column.unique) {
            self.indexes.push(self.writer.create_index(table, &[&column.name], false));
        }
        for set in &table.unique_together {
            self.indexes.push(self.writer.create_index(table, &names(table, set)?, true));
        }
        Ok(())
    }

    async fn extend(&mut self, link: &mut Link, table: &Table, known: &Existing) -> Result<(), StoreError> {
        let dialect = self.writer.dialect;
        let mut populated = None;
        for column in &table.columns {
            match known.column(dialect, &column.name) {
                Some(existing) => {
                    self.compare(table, column, existing);
                    self.index_existing(link, table, column, existing, known).await?;
                }
                None => {
                    let has_rows = match populated {
                        Some(has_rows) => has_rows,
                        None => *populated.insert(
                            self.any(
                                link,
                                &format!("select 1 from {} limit 1", self.writer.quote(&table.name)),
                            )
                            .await?,
                        ),
                    };
                    self.add(table, column, has_rows)?;
                }
            }
        }
        for set in &table.unique_together {
            let columns = names(table, set)?;
            if !known.indexes.iter().any(|index| index.unique && covers(dialect, &index.columns, &columns)) {
                self.unique_index(link, table, &columns, known).await?;
            }
        }
        for column in &known.columns {
            let declared = table.columns.iter().any(|ours| same(dialect, &ours.name, &column.name));
            let filled_by_us = table.key == ACCOUNT && column.name == ISSUER;
            if !declared && column.required && !column.filled && !filled_by_us {
                self.plan.warnings.push(format!(
                    "table \"{}\" has a column \"{}\" that is NOT NULL, has no default and is unknown here: inserts \
                     will fail. Make it nullable, give it a default, or drop it",
                    table.name, column.name
                ));
            }
        }
        Ok(())
    }

    fn add(&mut self, table: &Table, column: &Column, has_rows: bool) -> Result<(), StoreError> {
        if column.key == "id" {
            self.unsafe_changes.push(format!(
                "table \"{}\" exists and has no column \"{}\" for its id. Rename that table, or give ours another \
                 name in the configuration",
                table.name, column.name
            ));
            return Ok(());
        }
        let fixed = self.writer.static_default(column).is_some();
        if column.required && has_rows && !fixed && !self.writer.default_now(column) {
            self.unsafe_changes.push(format!(
                "cannot add the required column \"{1}\" to table \"{0}\", which has rows: there is no default to \
                 fill them with. Add the column as nullable, give every row a value, make it NOT NULL, and migrate \
                 again",
                table.name, column.name
            ));
            return Ok(());
        }
        if column.required && column.unique && has_rows {
            self.unsafe_changes.push(format!(
                "cannot add the unique column \"{1}\" to table \"{0}\", which has rows: all of them would get the \
                 same default. Add the column, give every row a value of its own, and migrate again",
                table.name, column.name
            ));
            return Ok(());
        }
        self.plan.statements.push(self.writer.add_column(table, column)?);
        if column.indexed || column.unique {
            self.indexes.push(self.writer.create_index(table, &[&column.name], column.unique));
        }
        Ok(())
    }

    fn compare(&mut self, table: &Table, column: &Column, existing: &introspect::ExistingColumn) {
        if column.required && !existing.required {
            self.plan.warnings.push(format!(
                "column \"{}\" of table \"{}\" may be NULL in the database, but is required. Give every row a value \
                 and make it NOT NULL",
                column.name, table.name
            ));
        }
        if !fits(self.writer.dialect, self.writer.ids, column, &existing.kind) {
            self.plan.warnings.push(format!(
                "column \"{}\" of table \"{}\" has the type {}, expected {}",
                column.name,
                table.name,
                existing.kind,
                self.writer.kind(table, column)
            ));
        }
    }

    async fn index_existing(
        &mut self,
        link: &mut Link,
        table: &Table,
        column: &Column,
        existing: &introspect::ExistingColumn,
        known: &Existing,
    ) -> Result<(), StoreError> {
        let dialect = self.writer.dialect;
        if column.key == "id" || !(column.unique || column.indexed) {
            return Ok(());
        }
        let name = column.name.as_str();
        if column.unique {
            if !known.indexes.iter().any(|index| index.unique && covers(dialect, &index.columns, &[name])) {
                self.unique_index(link, table, &[name], known).await?;
            }
            return Ok(());
        }
        let first =
            |index: &introspect::ExistingIndex| index.columns.first().is_some_and(|c| same(dialect, c, name));
        if known.indexes.iter().any(first) {
            return Ok(());
        }
        if unbounded(dialect, &existing.kind) {
            self.cannot_index(table, &[name]);
        } else {
            self.indexes.push(self.writer.create_index(table, &[name], false));
        }
        Ok(())
    }

    /// A unique index over columns that may have rows already.
    async fn unique_index(
        &mut self,
        link: &mut Link,
        table: &Table,
        columns: &[&str],
        known: &Existing,
    ) -> Result<(), StoreError> {
        let dialect = self.writer.dialect;
        let present: Option<Vec<_>> = columns.iter().map(|name| known.column(dialect, name)).collect();
        if let Some(present) = present {
            if present.iter().any(|column| unbounded(dialect, &column.kind)) {
                self.cannot_index(table, columns);
                return Ok(());
            }
            let quoted: Vec<_> = columns.iter().map(|name| self.writer.quote(name)).collect();
            let set: Vec<_> = quoted.iter().map(|name| format!("{name} is not null")).collect();
            let twice = format!(
                "select 1 from {} where {} group by {} having count(*) > 1 limit 1",
                self.writer.quote(&table.name),
                set.join(" and "),
                quoted.join(", ")
            );
            if self.any(link, &twice).await? {
                self.unsafe_changes.push(format!(
                    "cannot make {} unique in table \"{}\": some rows have the same values. Give them values of \
                     their own, or delete the surplus ones, and migrate again",
                    columns.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", "),
                    table.name
                ));
                return Ok(());
            }
        }
        self.indexes.push(self.writer.create_index(table, columns, true));
        Ok(())
    }

    fn cannot_index(&mut self, table: &Table, columns: &[&str]) {
        self.plan.warnings.push(format!(
            "table \"{}\" lacks an index on {}, which cannot be made because the column's type has no fixed length. \
             Change it to varchar(255), and migrate again",
            table.name,
            columns.join(", ")
        ));
    }

    async fn any(&self, link: &mut Link, sql: &str) -> Result<bool, StoreError> {
        Ok(!link.catalogue(sql, Vec::new(), &[Kind::Int]).await?.is_empty())
    }
}

fn names<'t>(table: &'t Table, keys: &[&'static str]) -> Result<Vec<&'t str>, StoreError> {
    keys.iter().map(|key| super::sql::column(table, key).map(|column| column.name.as_str())).collect()
}

fn covers(dialect: Dialect, index: &[String], columns: &[&str]) -> bool {
    index.len() == columns.len() && index.iter().all(|a| columns.iter().any(|b| same(dialect, a, b)))
}

/// MySQL does not index a text without a length.
fn unbounded(dialect: Dialect, kind: &str) -> bool {
    let kind = kind.to_ascii_lowercase();
    dialect == Dialect::MySql && ["text", "blob", "json"].iter().any(|long| kind.ends_with(long))
}

/// Whether a column of this type can serve (better-auth 1.7.6 `matchType`, and the types that its
/// ORM adapters make).
fn fits(dialect: Dialect, ids: IdKind, column: &Column, kind: &str) -> bool {
    let kind = kind.to_ascii_lowercase();
    let kind = kind.split('(').next().unwrap_or_default().trim();
    let text = matches!(
        kind,
        "text"
            | "varchar"
            | "character varying"
            | "character"
            | "char"
            | "uuid"
            | "citext"
            | "longtext"
            | "user-defined"
    );
    let number = matches!(
        kind,
        "integer"
            | "int"
            | "int4"
            | "int8"
            | "bigint"
            | "smallint"
            | "numeric"
            | "decimal"
            | "real"
            | "float"
            | "double"
            | "double precision"
    );
    match column.kind {
        Kind::Id if ids == IdKind::Serial => number,
        Kind::Id | Kind::Text => text,
        Kind::Int | Kind::BigInt => number,
        Kind::Bool => {
            matches!(kind, "boolean" | "bool" | "tinyint")
                || (dialect == Dialect::Sqlite && kind == "integer")
        }
        Kind::Time => {
            matches!(kind, "date" | "datetime" | "timestamp" | "timestamptz")
                || kind.starts_with("timestamp with")
                || (dialect == Dialect::Sqlite && matches!(kind, "integer" | "text"))
        }
        Kind::Json | Kind::TextList | Kind::IntList => {
            matches!(kind, "json" | "jsonb" | "array")
                || (dialect != Dialect::Postgres && matches!(kind, "text" | "longtext"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::store::Schema;

    #[test]
    fn tables_are_made_after_the_tables_that_they_point_to() {
        let child = Table::new("child", vec![Column::id(), Column::foreign("parentId", "parent")]);
        let parent = Table::new("parent", vec![Column::id(), Column::foreign("self", "parent")]);
        let core = Table::new("core", vec![Column::id()]).order(1);
        let schema = Schema::new(vec![child, parent, core]);
        let order: Vec<_> =
            creation_order(schema.tables().collect()).iter().map(|table| table.key.clone()).collect();
        assert_eq!(order, ["core", "parent", "child"]);
    }
}
