//! SQL text. A verb and the shape of its filter are lowered to a short text that names them (the
//! *shape*) and a list of parameters; the SQL of a shape is made by sea-query once and then kept, so
//! that a session read costs one look-up instead of one compilation.
//!
//! sea-query is given the *number* of a parameter in place of the parameter. The numbers it hands
//! back are the order in which the parameters are bound, which keeps our value types out of it.

use std::collections::HashMap;
use std::fmt::{self, Write};
use std::sync::{Arc, PoisonError, RwLock};

use sea_query::{
    Alias, Condition, Expr, ExprTrait, Func, IntoColumnRef, LikeExpr, MysqlQueryBuilder,
    PostgresQueryBuilder, Query as Sql, QueryBuilder, QueryStatementWriter, ReturningClause, SelectStatement,
    SqlWriter, SqlWriterValues, SqliteQueryBuilder, Value as SqlValue,
};

use super::filter::{Filter, Order, Query};
use super::schema::{Column, IdKind, Kind, Table};
use super::value::{Row, Value};
use super::{Dialect, StoreError};
use crate::clock::Timestamp;

/// A parameter in the database's own terms.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Param {
    /// NULL, with the type that PostgreSQL wants to know.
    Null(Native),
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    Time(Timestamp),
    Json(serde_json::Value),
    Uuid(uuid::Uuid),
}

/// The type of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Native {
    Bool,
    Int,
    Text,
    Time,
    Json,
    Uuid,
}

/// A statement with its parameters in the order of binding, and the columns of its answer.
#[derive(Debug, Clone)]
pub(super) struct Statement {
    pub sql: Arc<str>,
    pub params: Vec<Param>,
}

/// The SQL of a shape and the order of its parameters.
#[derive(Debug)]
struct Text {
    sql: Arc<str>,
    order: Vec<usize>,
}

/// More shapes than an application has; beyond it (lists of many lengths) SQL is made and dropped.
const SHAPES: usize = 1024;

/// Makes statements for one dialect and keeps their texts.
#[derive(Debug)]
pub(super) struct Compiler {
    pub dialect: Dialect,
    pub ids: IdKind,
    texts: RwLock<HashMap<String, Arc<Text>>>,
}

/// A filter whose values have become numbers of parameters.
enum Cond<'t> {
    True,
    False,
    All(Vec<Cond<'t>>),
    Any(Vec<Cond<'t>>),
    Null(&'t Column),
    NotNull(&'t Column),
    Compare(&'t Column, Compare, usize),
    In(&'t Column, bool, Vec<usize>),
    Like(&'t Column, usize),
}

#[derive(Clone, Copy)]
enum Compare {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

/// What is being built: the shape so far and its parameters.
struct Draft {
    shape: String,
    params: Vec<Param>,
}

impl Draft {
    fn new(verb: &str, table: &Table) -> Self {
        let mut shape = String::with_capacity(96);
        shape.push_str(verb);
        shape.push('\u{1}');
        shape.push_str(&table.key);
        Self { shape, params: Vec::new() }
    }

    fn param(&mut self, param: Param) -> usize {
        self.params.push(param);
        self.params.len() - 1
    }

    /// A part of the shape; separators cannot occur in keys that a schema would sensibly have, and
    /// a clash of shapes would need one.
    fn mark(&mut self, mark: char, text: &str) {
        self.shape.push('\u{1}');
        self.shape.push(mark);
        self.shape.push_str(text);
    }
}

fn number(at: usize) -> SqlValue {
    SqlValue::BigUnsigned(Some(at as u64))
}

fn column_ref(alias: Option<&str>, column: &Column) -> sea_query::ColumnRef {
    match alias {
        Some(alias) => (Alias::new(alias), Alias::new(&*column.name)).into_column_ref(),
        None => Alias::new(&*column.name).into_column_ref(),
    }
}

impl Compiler {
    pub fn new(dialect: Dialect, ids: IdKind) -> Self {
        Self { dialect, ids, texts: RwLock::new(HashMap::new()) }
    }

    #[cfg(test)]
    pub fn texts(&self) -> usize {
        self.texts.read().unwrap().len()
    }

    /// The statement of a draft: its text from memory, or made by `build`.
    fn finish(
        &self,
        draft: Draft,
        build: impl FnOnce() -> Result<(String, sea_query::Values), StoreError>,
    ) -> Result<Statement, StoreError> {
        let known = self.texts.read().unwrap_or_else(PoisonError::into_inner).get(&draft.shape).cloned();
        let text = match known {
            Some(text) => text,
            None => {
                let (sql, values) = build()?;
                let order = values.iter().map(position).collect::<Option<Vec<_>>>();
                let order = order.ok_or_else(|| StoreError::bug("a constant among the parameters"))?;
                let text = Arc::new(Text { sql: sql.into(), order });
                let mut texts = self.texts.write().unwrap_or_else(PoisonError::into_inner);
                if texts.len() < SHAPES {
                    texts.insert(draft.shape, Arc::clone(&text));
                }
                text
            }
        };
        let in_order = text.order.iter().copied().eq(0..draft.params.len());
        let params = if in_order {
            draft.params
        } else {
            let params: Option<Vec<_>> = text.order.iter().map(|at| draft.params.get(*at).cloned()).collect();
            params.ok_or_else(|| StoreError::bug("a parameter is missing"))?
        };
        Ok(Statement { sql: Arc::clone(&text.sql), params })
    }

    fn text(&self, statement: &impl QueryStatementWriter) -> (String, sea_query::Values) {
        match self.dialect {
            Dialect::Sqlite => text_by(SqliteQueryBuilder, statement),
            Dialect::Postgres => text_by(PostgresQueryBuilder, statement),
            Dialect::MySql => text_by(MysqlQueryBuilder, statement),
        }
    }

    /// `select … from table where filter …`.
    pub fn select(&self, table: &Table, query: &Query, lock: bool) -> Result<Statement, StoreError> {
        self.select_where(table, &query.filter, query, lock)
    }

    /// The first row of a filter.
    pub fn find(&self, table: &Table, filter: &Filter, lock: bool) -> Result<Statement, StoreError> {
        let first = Query { filter: Filter::All, order: Vec::new(), limit: Some(1), offset: None };
        self.select_where(table, filter, &first, lock)
    }

    fn select_where(
        &self,
        table: &Table,
        filter: &Filter,
        query: &Query,
        lock: bool,
    ) -> Result<Statement, StoreError> {
        let mut draft = Draft::new(if lock { "lock" } else { "select" }, table);
        let cond = self.lower(table, filter, &mut draft)?;
        let mut order = Vec::with_capacity(query.order.len());
        for (key, direction) in &query.order {
            draft.mark(if *direction == Order::Asc { '+' } else { '-' }, key);
            order.push((column(table, key)?, *direction));
        }
        let mut window = [None, None];
        // MySQL and SQLite have no OFFSET without LIMIT.
        let limit = query.limit.or_else(|| query.offset.map(|_| i64::MAX as u64));
        for (slot, (mark, rows)) in window.iter_mut().zip([('L', limit), ('O', query.offset)]) {
            if (mark, rows) == ('L', Some(1)) {
                draft.mark('1', "");
                *slot = Some(ONE);
            } else if let Some(rows) = rows {
                draft.mark(mark, "");
                *slot = Some(draft.param(Param::Int(i64::try_from(rows).unwrap_or(i64::MAX))));
            }
        }
        self.finish(draft, || {
            let mut select = Sql::select();
            for column in &table.columns {
                select.column(column_ref(None, column));
            }
            select.from(Alias::new(&*table.name)).cond_where(self.condition(None, &cond));
            for (column, direction) in order {
                let direction = match direction {
                    Order::Asc => sea_query::Order::Asc,
                    Order::Desc => sea_query::Order::Desc,
                };
                select.order_by(column_ref(None, column), direction);
            }
            let [limit, offset] = window;
            window_of(&mut select, limit, offset);
            if lock {
                select.lock_exclusive();
            }
            Ok(self.text(&select))
        })
    }

    /// `select count(*) …`.
    pub fn count(&self, table: &Table, filter: &Filter) -> Result<Statement, StoreError> {
        let mut draft = Draft::new("count", table);
        let cond = self.lower(table, filter, &mut draft)?;
        self.finish(draft, || {
            let select = Sql::select()
                .expr(Func::count(Expr::col(sea_query::Asterisk)))
                .from(Alias::new(&*table.name))
                .cond_where(self.condition(None, &cond))
                .to_owned();
            Ok(self.text(&select))
        })
    }

    /// Two tables at once: the first row of `table` that the filter takes, with its counterpart.
    pub fn find_with(
        &self,
        table: &Table,
        filter: &Filter,
        other: &Table,
        (mine, theirs): (&str, &str),
    ) -> Result<Statement, StoreError> {
        let mut draft = Draft::new("with", table);
        draft.mark('T', &other.key);
        draft.mark('m', mine);
        draft.mark('t', theirs);
        let (mine, theirs) = (column(table, mine)?, column(other, theirs)?);
        let cond = self.lower(table, filter, &mut draft)?;
        self.finish(draft, || {
            let mut select = Sql::select();
            for column in &table.columns {
                select.column(column_ref(Some("a"), column));
            }
            for column in &other.columns {
                select.column(column_ref(Some("b"), column));
            }
            select
                .from_as(Alias::new(&*table.name), Alias::new("a"))
                .join_as(
                    sea_query::JoinType::InnerJoin,
                    Alias::new(&*other.name),
                    Alias::new("b"),
                    Expr::col(column_ref(Some("a"), mine)).eq(Expr::col(column_ref(Some("b"), theirs))),
                )
                .cond_where(self.condition(Some("a"), &cond));
            window_of(&mut select, Some(ONE), None);
            Ok(self.text(&select))
        })
    }

    /// `insert …`; `extra` are columns by SQL name that no schema declares (`account.issuer`).
    pub fn insert(&self, table: &Table, row: &Row, extra: &[(&str, Value)]) -> Result<Statement, StoreError> {
        let mut draft = Draft::new("insert", table);
        let mut columns = Vec::with_capacity(row.len());
        for (key, value) in row.iter() {
            let column = column(table, key)?;
            draft.mark('c', key);
            draft.params.push(self.write(table, column, value)?);
            columns.push(Alias::new(&*column.name));
        }
        for (name, value) in extra {
            draft.mark('x', name);
            draft.params.push(match value {
                Value::Text(text) => Param::Text(text.clone()),
                _ => Param::Null(Native::Text),
            });
            columns.push(Alias::new(*name));
        }
        let count = draft.params.len();
        self.finish(draft, || {
            let mut insert = Sql::insert();
            insert.into_table(Alias::new(&*table.name));
            if columns.is_empty() {
                insert.or_default_values();
            } else {
                insert.columns(columns);
                let values: Vec<Expr> = (0..count).map(|at| Expr::val(number(at))).collect();
                insert.values(values).map_err(StoreError::other)?;
            }
            if self.dialect != Dialect::MySql {
                insert.returning(returning(table));
            }
            Ok(self.text(&insert))
        })
    }

    /// `update … where filter`; with `one`, at most one row, and returning it where the dialect can.
    pub fn update(
        &self,
        table: &Table,
        filter: &Filter,
        changes: &Row,
        increment: Option<(&str, i64)>,
        one: bool,
    ) -> Result<Statement, StoreError> {
        let mut draft = Draft::new(if one { "update1" } else { "update" }, table);
        let mut sets = Vec::with_capacity(changes.len());
        for (key, value) in changes.iter() {
            let column = column(table, key)?;
            draft.mark('s', key);
            let param = self.write(table, column, value)?;
            sets.push((column, draft.param(param)));
        }
        let counter = match increment {
            Some((key, by)) => {
                draft.mark('i', key);
                Some((column(table, key)?, draft.param(Param::Int(by))))
            }
            None => None,
        };
        let cond = self.lower(table, filter, &mut draft)?;
        self.finish(draft, || {
            let mut update = Sql::update();
            update.table(Alias::new(&*table.name));
            for (column, at) in sets {
                update.value(Alias::new(&*column.name), Expr::val(number(at)));
            }
            if let Some((column, by)) = counter {
                let now = Func::coalesce([Expr::col(column_ref(None, column)), Expr::cust("0")]);
                update.value(Alias::new(&*column.name), Expr::expr(now).add(Expr::val(number(by))));
            }
            update.cond_where(self.pick(table, &cond, one)?);
            if one {
                update.returning(returning(table));
            }
            Ok(self.text(&update))
        })
    }

    /// `delete … where filter`; with `one`, at most one row, and returning it where the dialect can.
    pub fn delete(&self, table: &Table, filter: &Filter, one: bool) -> Result<Statement, StoreError> {
        let mut draft = Draft::new(if one { "delete1" } else { "delete" }, table);
        let cond = self.lower(table, filter, &mut draft)?;
        self.finish(draft, || {
            let mut delete = Sql::delete();
            delete.from_table(Alias::new(&*table.name)).cond_where(self.pick(table, &cond, one)?);
            if one {
                delete.returning(returning(table));
            }
            Ok(self.text(&delete))
        })
    }

    /// The filter itself, or `id = (select id … limit 1)` of it. In PostgreSQL the inner select
    /// locks: a racer that waited for the lock sees that the row is gone or changed and takes
    /// another or none. SQLite has one writer at a time.
    fn pick(&self, table: &Table, cond: &Cond<'_>, one: bool) -> Result<Condition, StoreError> {
        if !one {
            return Ok(self.condition(None, cond));
        }
        let id = column(table, "id")?;
        let mut select = Sql::select();
        select
            .column(column_ref(None, id))
            .from(Alias::new(&*table.name))
            .cond_where(self.condition(None, cond));
        window_of(&mut select, Some(ONE), None);
        if self.dialect == Dialect::Postgres {
            select.lock_exclusive();
        }
        let one = Expr::col(column_ref(None, id)).eq(Expr::SubQuery(None, Box::new(select.into())));
        Ok(Condition::all().add(one))
    }

    /// A filter with its values taken out; both the shape and the parameters grow.
    fn lower<'t>(
        &self,
        table: &'t Table,
        filter: &Filter,
        draft: &mut Draft,
    ) -> Result<Cond<'t>, StoreError> {
        let cond = match filter {
            Filter::All => Cond::True,
            Filter::And(parts) => {
                draft.mark('(', "&");
                let all: Result<_, _> = parts.iter().map(|part| self.lower(table, part, draft)).collect();
                draft.mark(')', "");
                return Ok(Cond::All(all?));
            }
            Filter::Or(parts) => {
                draft.mark('(', "|");
                let any: Result<_, _> = parts.iter().map(|part| self.lower(table, part, draft)).collect();
                draft.mark(')', "");
                return Ok(Cond::Any(any?));
            }
            Filter::Is(key, Value::Null) => Cond::Null(column(table, key)?),
            Filter::Not(key, Value::Null) => Cond::NotNull(column(table, key)?),
            Filter::Is(key, value) => self.compare(table, key, Compare::Eq, value, draft)?,
            Filter::Not(key, value) => self.compare(table, key, Compare::Ne, value, draft)?,
            Filter::Lt(key, value) => self.compare(table, key, Compare::Lt, value, draft)?,
            Filter::Le(key, value) => self.compare(table, key, Compare::Le, value, draft)?,
            Filter::Gt(key, value) => self.compare(table, key, Compare::Gt, value, draft)?,
            Filter::Ge(key, value) => self.compare(table, key, Compare::Ge, value, draft)?,
            Filter::In(key, values) => self.one_of(table, key, values, true, draft)?,
            Filter::NotIn(key, values) => self.one_of(table, key, values, false, draft)?,
            Filter::Contains(key, text) => self.like(table, key, &format!("%{}%", escaped(text)), draft)?,
            Filter::StartsWith(key, text) => self.like(table, key, &format!("{}%", escaped(text)), draft)?,
            Filter::EndsWith(key, text) => self.like(table, key, &format!("%{}", escaped(text)), draft)?,
        };
        match &cond {
            Cond::True => draft.mark('1', ""),
            Cond::False => draft.mark('0', ""),
            Cond::Null(column) => draft.mark('n', &column.key),
            Cond::NotNull(column) => draft.mark('N', &column.key),
            Cond::Compare(column, compare, _) => {
                let mark = match compare {
                    Compare::Eq => '=',
                    Compare::Ne => '!',
                    Compare::Lt => '<',
                    Compare::Le => 'l',
                    Compare::Gt => '>',
                    Compare::Ge => 'g',
                };
                draft.mark(mark, &column.key);
            }
            Cond::In(column, among, params) => {
                draft.mark(if *among { 'e' } else { 'E' }, &column.key);
                // Writing to a String does not fail.
                let _ = write!(draft.shape, "\u{1}{}", params.len());
            }
            Cond::Like(column, _) => draft.mark('~', &column.key),
            Cond::All(_) | Cond::Any(_) => {}
        }
        Ok(cond)
    }

    fn compare<'t>(
        &self,
        table: &'t Table,
        key: &str,
        compare: Compare,
        value: &Value,
        draft: &mut Draft,
    ) -> Result<Cond<'t>, StoreError> {
        let column = column(table, key)?;
        if value.is_null() {
            return Ok(Cond::False);
        }
        Ok(match (self.param(table, column, value)?, compare) {
            (Some(param), _) => Cond::Compare(column, compare, draft.param(param)),
            (None, Compare::Ne) => Cond::NotNull(column),
            (None, _) => Cond::False,
        })
    }

    fn one_of<'t>(
        &self,
        table: &'t Table,
        key: &str,
        values: &[Value],
        among: bool,
        draft: &mut Draft,
    ) -> Result<Cond<'t>, StoreError> {
        let column = column(table, key)?;
        let mut params = Vec::with_capacity(values.len());
        for value in values.iter().filter(|value| !value.is_null()) {
            if let Some(param) = self.param(table, column, value)? {
                params.push(draft.param(param));
            }
        }
        Ok(match (params.is_empty(), among) {
            (false, _) => Cond::In(column, among, params),
            (true, true) => Cond::False,
            (true, false) => Cond::True,
        })
    }

    fn like<'t>(
        &self,
        table: &'t Table,
        key: &str,
        pattern: &str,
        draft: &mut Draft,
    ) -> Result<Cond<'t>, StoreError> {
        let column = column(table, key)?;
        if self.dialect == Dialect::Postgres && pattern.contains('\0') {
            return Ok(Cond::False);
        }
        Ok(Cond::Like(column, draft.param(Param::Text(pattern.to_owned()))))
    }

    fn condition(&self, alias: Option<&str>, cond: &Cond<'_>) -> Condition {
        let col = |column: &Column| Expr::col(column_ref(alias, column));
        let leaf = |expr: Expr| Condition::all().add(expr);
        match cond {
            Cond::True => Condition::all(),
            Cond::False => leaf(Expr::cust("1 = 0")),
            Cond::All(parts) => {
                parts.iter().fold(Condition::all(), |all, part| all.add(self.condition(alias, part)))
            }
            Cond::Any(parts) if parts.is_empty() => leaf(Expr::cust("1 = 0")),
            // An empty `all()` vanishes inside `any()`, but it stands for "every row".
            Cond::Any(parts) => parts.iter().fold(Condition::any(), |any, part| {
                let part = self.condition(alias, part);
                any.add(if part.is_empty() { leaf(Expr::cust("1 = 1")) } else { part })
            }),
            Cond::Null(column) => leaf(col(column).is_null()),
            Cond::NotNull(column) => leaf(col(column).is_not_null()),
            Cond::Compare(column, compare, at) => {
                // MySQL compares texts by the column's collation, in which `aB` equals `Ab`. A token is not
                // the same token in other letters, so the bytes must be equal, too; the first comparison
                // is there for the index.
                let bytes = (self.dialect == Dialect::MySql && matches!(column.kind, Kind::Text | Kind::Id))
                    .then(|| col(column).cast_as("binary").eq(Expr::val(number(*at))));
                let (column, value) = (col(column), Expr::val(number(*at)));
                if let (Compare::Eq, Some(bytes)) = (compare, bytes) {
                    return Condition::all().add(column.eq(value)).add(bytes);
                }
                leaf(match compare {
                    Compare::Eq => column.eq(value),
                    Compare::Ne => column.ne(value),
                    Compare::Lt => column.lt(value),
                    Compare::Le => column.lte(value),
                    Compare::Gt => column.gt(value),
                    Compare::Ge => column.gte(value),
                })
            }
            Cond::In(column, among, params) => {
                let values: Vec<Expr> = params.iter().map(|at| Expr::val(number(*at))).collect();
                leaf(if *among { col(column).is_in(values) } else { col(column).is_not_in(values) })
            }
            Cond::Like(column, at) => {
                let text = match (column.kind, self.dialect) {
                    (Kind::Text, _) => col(column),
                    (_, Dialect::MySql) => col(column).cast_as("char"),
                    (_, _) => col(column).cast_as("text"),
                };
                leaf(text.like(LikeExpr::new(at.to_string()).escape(ESCAPE)))
            }
        }
    }

    /// A value to compare with; `None` when no row can have it (an id that is not a number where
    /// ids are numbers).
    fn param(&self, table: &Table, column: &Column, value: &Value) -> Result<Option<Param>, StoreError> {
        if column.kind == Kind::Id {
            let text = match value {
                Value::Text(text) => text.as_str(),
                Value::Int(number) if self.ids == IdKind::Serial => return Ok(Some(Param::Int(*number))),
                Value::Int(number) => &number.to_string(),
                _ => return Err(wrong(table, column, value)),
            };
            return Ok(match (self.ids, self.dialect) {
                (IdKind::Serial, _) => canonical_number(text).map(Param::Int),
                (IdKind::Uuid, Dialect::Postgres) => uuid::Uuid::try_parse(text).map(Param::Uuid).ok(),
                _ => Some(Param::Text(text.to_owned())),
            });
        }
        match value {
            // PostgreSQL has no NUL in texts, so no row has this one.
            Value::Text(text)
                if column.kind == Kind::Text && self.dialect == Dialect::Postgres && text.contains('\0') =>
            {
                Ok(None)
            }
            _ => self.write(table, column, value).map(Some),
        }
    }

    /// A value to store, in the column's encoding.
    fn write(&self, table: &Table, column: &Column, value: &Value) -> Result<Param, StoreError> {
        let refused = || wrong(table, column, value);
        let native = native(column.kind, self.ids, self.dialect);
        Ok(match (column.kind, value) {
            (_, Value::Null) => Param::Null(native),
            (Kind::Id, _) => self.param(table, column, value)?.ok_or_else(refused)?,
            (Kind::Bool, Value::Bool(flag)) => Param::Bool(*flag),
            (Kind::Int | Kind::BigInt, Value::Int(number)) => Param::Int(*number),
            (Kind::Int | Kind::BigInt, Value::Float(number)) => Param::Float(*number),
            (Kind::Time, Value::Time(at)) => Param::Time(*at),
            (Kind::Time, Value::Text(text)) => Param::Time(Timestamp::parse(text).ok_or_else(refused)?),
            (Kind::Text, Value::Text(text)) => {
                // PostgreSQL has no NUL in texts and would answer with an error of its own.
                if text.contains('\0') && self.dialect == Dialect::Postgres {
                    return Err(refused());
                }
                Param::Text(text.clone())
            }
            (Kind::Text, Value::Json(json)) => Param::Text(json.to_string()),
            (Kind::Json, Value::Json(json)) => Param::Json(json.clone()),
            (Kind::TextList | Kind::IntList, Value::Json(json @ serde_json::Value::Array(_))) => {
                Param::Json(json.clone())
            }
            _ => return Err(refused()),
        })
    }
}

/// `!` rather than a backslash: MySQL reads a backslash in a literal as an escape of its own, unless
/// `NO_BACKSLASH_ESCAPES` is set.
const ESCAPE: char = '!';

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        if matches!(letter, '%' | '_' | ESCAPE) {
            out.push(ESCAPE);
        }
        out.push(letter);
    }
    out
}

/// A decimal number as the API prints it; `007` and `+7` are not how we print 7, so they match nothing.
fn canonical_number(text: &str) -> Option<i64> {
    text.parse::<i64>().ok().filter(|number| number.to_string() == text)
}

fn native(kind: Kind, ids: IdKind, dialect: Dialect) -> Native {
    match kind {
        Kind::Id => match (ids, dialect) {
            (IdKind::Serial, _) => Native::Int,
            (IdKind::Uuid, Dialect::Postgres) => Native::Uuid,
            _ => Native::Text,
        },
        Kind::Text => Native::Text,
        Kind::Bool => Native::Bool,
        Kind::Int | Kind::BigInt => Native::Int,
        Kind::Time => Native::Time,
        Kind::Json | Kind::TextList | Kind::IntList => Native::Json,
    }
}

fn wrong(table: &Table, column: &Column, value: &Value) -> StoreError {
    StoreError::Decode(format!("{}.{}: cannot hold {}", table.key, column.key, value.what()))
}

pub(super) fn column<'t>(table: &'t Table, key: &str) -> Result<&'t Column, StoreError> {
    table.column(key).ok_or_else(|| StoreError::bug(&format!("table {} has no column {key}", table.key)))
}

fn returning(table: &Table) -> ReturningClause {
    Sql::returning().columns(table.columns.iter().map(|column| column_ref(None, column)))
}

/// The number of no parameter: a one that stands in the text itself. Where `limit` is a parameter, SQLite
/// looks at its value to plan and so prepares the statement anew each time a value is bound
/// (`sqlite3ExprIsInteger`; https://sqlite.org/c3ref/c_dbconfig_defensive.html, `ENABLE_QPSG`).
const ONE: usize = usize::MAX;

/// Writes placeholders, but for [`ONE`].
struct Writer(SqlWriterValues);

impl Write for Writer {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.write_str(text)
    }
}

impl fmt::Display for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl SqlWriter for Writer {
    fn push_param<T: QueryBuilder>(&mut self, value: SqlValue, builder: &T) {
        if position(&value) == Some(ONE) {
            // A String takes all that is written to it.
            let _: fmt::Result = self.0.write_char('1');
        } else {
            self.0.push_param(value, builder);
        }
    }

    fn as_writer(&mut self) -> &mut dyn Write {
        self
    }
}

fn text_by(builder: impl QueryBuilder, statement: &impl QueryStatementWriter) -> (String, sea_query::Values) {
    let (mark, numbered) = builder.placeholder();
    let mut writer = Writer(SqlWriterValues::new(mark, numbered));
    statement.build_collect_into(builder, &mut writer);
    writer.0.into_parts()
}

fn window_of(select: &mut SelectStatement, limit: Option<usize>, offset: Option<usize>) {
    if let Some(at) = limit {
        select.limit(at as u64);
    }
    if let Some(at) = offset {
        select.offset(at as u64);
    }
}

/// The number that stood in for a parameter.
fn position(value: &SqlValue) -> Option<usize> {
    match value {
        SqlValue::BigUnsigned(Some(at)) => usize::try_from(*at).ok(),
        SqlValue::String(Some(at)) => at.parse().ok(),
        _ => None,
    }
}
