//! What is in the database already, read from its own catalogue.

use super::link::Link;
use super::schema::Kind;
use super::sql::Param;
use super::value::Value;
use super::{Dialect, StoreError};

/// A table that exists.
#[derive(Debug, Default)]
pub(super) struct Existing {
    pub name: String,
    pub columns: Vec<ExistingColumn>,
    pub indexes: Vec<ExistingIndex>,
}

/// A column that exists.
#[derive(Debug)]
pub(super) struct ExistingColumn {
    pub name: String,
    pub kind: String,
    pub required: bool,
    /// An insert may leave it out.
    pub filled: bool,
}

/// An index that exists and covers whole columns of all rows.
#[derive(Debug)]
pub(super) struct ExistingIndex {
    pub name: String,
    pub unique: bool,
    pub columns: Vec<String>,
}

/// Names compare as the database compares them: MySQL and SQLite ignore case in column names.
pub(super) fn same(dialect: Dialect, a: &str, b: &str) -> bool {
    match dialect {
        Dialect::Postgres => a == b,
        Dialect::Sqlite | Dialect::MySql => a.eq_ignore_ascii_case(b),
    }
}

impl Existing {
    pub fn column(&self, dialect: Dialect, name: &str) -> Option<&ExistingColumn> {
        self.columns.iter().find(|column| same(dialect, &column.name, name))
    }
}

const SQLITE_COLUMNS: &str = r#"select m.name, c.name, c.type, c."notnull" or c.pk > 0,
    c.dflt_value is not null or (c.pk > 0 and lower(c.type) = 'integer')
    from sqlite_master m join pragma_table_info(m.name) c
    where m.type = 'table' and (?1 = '' or m.name = ?1 collate nocase) order by m.name, c.cid"#;
const SQLITE_INDEXES: &str = r#"select m.name, l.name, i.name, l."unique", l.partial
    from sqlite_master m join pragma_index_list(m.name) l join pragma_index_info(l.name) i
    where m.type = 'table' order by m.name, l.name, i.seqno"#;

const POSTGRES_COLUMNS: &str = "select table_name::text, column_name::text, data_type::text,
    (is_nullable = 'NO')::int::int8,
    (column_default is not null or is_identity = 'YES' or is_generated = 'ALWAYS')::int::int8
    from information_schema.columns
    where table_schema = current_schema() and ($1 = '' or table_name::text = $1)
    order by table_name, ordinal_position";
const POSTGRES_INDEXES: &str = "select t.relname::text, i.relname::text, a.attname::text,
    x.indisunique::int::int8, (x.indpred is not null or not x.indisvalid)::int::int8
    from pg_catalog.pg_index x
    join pg_catalog.pg_class t on t.oid = x.indrelid
    join pg_catalog.pg_namespace n on n.oid = t.relnamespace
    join pg_catalog.pg_class i on i.oid = x.indexrelid
    cross join lateral unnest(x.indkey) with ordinality as k(number, place)
    left join pg_catalog.pg_attribute a on a.attrelid = t.oid and a.attnum = k.number
    where n.nspname = current_schema() and k.place <= x.indnkeyatts
    order by 1, 2, k.place";

const MYSQL_COLUMNS: &str = "select table_name, column_name, column_type, is_nullable = 'NO',
    column_default is not null or extra like '%auto_increment%' or extra like '%GENERATED%'
    from information_schema.columns
    where table_schema = database() and (? = '' or table_name = ?)
    order by table_name, ordinal_position";
const MYSQL_INDEXES: &str = "select table_name, index_name, column_name, non_unique = 0, sub_part is not null
    from information_schema.statistics where table_schema = database()
    order by table_name, index_name, seq_in_index";

const SHAPE: [Kind; 5] = [Kind::Text, Kind::Text, Kind::Text, Kind::Int, Kind::Int];

struct Line {
    table: String,
    name: String,
    third: Option<String>,
    first: bool,
    second: bool,
}

fn line(values: Vec<Value>) -> Option<Line> {
    let [table, name, third, first, second]: [Value; 5] = values.try_into().ok()?;
    Some(Line {
        table: table.as_str()?.to_owned(),
        name: name.as_str()?.to_owned(),
        third: third.as_str().map(str::to_owned),
        first: first.as_i64()? != 0,
        second: second.as_i64()? != 0,
    })
}

async fn lines(link: &mut Link, sql: &str, params: Vec<Param>) -> Result<Vec<Line>, StoreError> {
    let rows = link.catalogue(sql, params, &SHAPE).await?;
    let lines: Option<Vec<_>> = rows.into_iter().map(line).collect();
    lines.ok_or_else(|| StoreError::bug("the catalogue of the database has an unknown shape"))
}

async fn columns(link: &mut Link, table: &str) -> Result<Vec<Existing>, StoreError> {
    let table = Param::Text(table.to_owned());
    let (sql, params) = match link.dialect() {
        Dialect::Sqlite => (SQLITE_COLUMNS, vec![table]),
        Dialect::Postgres => (POSTGRES_COLUMNS, vec![table]),
        Dialect::MySql => (MYSQL_COLUMNS, vec![table.clone(), table]),
    };
    let mut tables: Vec<Existing> = Vec::new();
    for line in lines(link, sql, params).await? {
        let column = ExistingColumn {
            name: line.name,
            kind: line.third.unwrap_or_default(),
            required: line.first,
            filled: line.second,
        };
        match tables.last_mut() {
            Some(last) if last.name == line.table => last.columns.push(column),
            _ => tables.push(Existing { name: line.table, columns: vec![column], indexes: Vec::new() }),
        }
    }
    Ok(tables)
}

/// One table, without its indexes.
pub(super) async fn table(link: &mut Link, name: &str) -> Result<Option<Existing>, StoreError> {
    Ok(columns(link, name).await?.into_iter().next())
}

/// All tables of the schema at hand.
pub(super) async fn tables(link: &mut Link) -> Result<Vec<Existing>, StoreError> {
    let mut tables = columns(link, "").await?;
    let sql = match link.dialect() {
        Dialect::Sqlite => SQLITE_INDEXES,
        Dialect::Postgres => POSTGRES_INDEXES,
        Dialect::MySql => MYSQL_INDEXES,
    };
    // An index on an expression has columns without a name; a partial one does not hold for all rows.
    let mut partial = Vec::new();
    for line in lines(link, sql, Vec::new()).await? {
        let Some(table) = tables.iter_mut().find(|table| table.name == line.table) else { continue };
        match line.third {
            Some(column) if !line.second => {
                match table.indexes.iter_mut().find(|index| index.name == line.name) {
                    Some(index) => index.columns.push(column),
                    None => {
                        table.indexes.push(ExistingIndex {
                            name: line.name,
                            unique: line.first,
                            columns: vec![column],
                        });
                    }
                }
            }
            _ => partial.push((line.table, line.name)),
        }
    }
    for (table, name) in partial {
        if let Some(table) = tables.iter_mut().find(|existing| existing.name == table) {
            table.indexes.retain(|index| index.name != name);
        }
    }
    Ok(tables)
}
