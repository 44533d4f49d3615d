//! Writes to the four core tables. Every write of them comes through here, so that what goes with a
//! write goes with all of them.

use crate::auth::Auth;
use crate::error::Error;
use crate::store::{Db, Filter, Row};

/// Adds a row, with an id unless it has one, and returns it as stored.
pub(crate) async fn create(auth: &Auth, db: &mut Db<'_>, table: &str, row: Row) -> Result<Row, Error> {
    Ok(db.insert(table, auth.with_new_id(row)).await?)
}

/// Changes one row and returns it as it is then; `None` when the filter takes none.
pub(crate) async fn update(
    _auth: &Auth,
    db: &mut Db<'_>,
    table: &str,
    filter: &Filter,
    changes: Row,
) -> Result<Option<Row>, Error> {
    Ok(db.update_one(table, filter, changes).await?)
}

/// Deletes all rows that the filter takes; how many those were.
pub(crate) async fn delete(
    _auth: &Auth,
    db: &mut Db<'_>,
    table: &str,
    filter: &Filter,
) -> Result<u64, Error> {
    Ok(db.delete(table, filter).await?)
}

/// Deletes one row and returns it; of any number of racers one gets it.
pub(crate) async fn consume(
    _auth: &Auth,
    db: &mut Db<'_>,
    table: &str,
    filter: &Filter,
) -> Result<Option<Row>, Error> {
    Ok(db.consume(table, filter).await?)
}

/// As [`create`], for a row that secondary storage has and the database has not: `store` puts it there.
/// What goes with the creation of a row goes here with these too.
pub(crate) async fn create_elsewhere<F, Fut>(
    auth: &Auth,
    _table: &str,
    row: Row,
    store: F,
) -> Result<Row, Error>
where
    F: FnOnce(Row) -> Fut + Send,
    Fut: Future<Output = Result<Row, Error>> + Send,
{
    let mut row = auth.with_new_id(row);
    if !row.contains("id") {
        // No database counts here (better-auth 1.7.6 createSession).
        row.set("id", auth.random().id());
    }
    store(row).await
}

/// As [`update`], for a row that secondary storage has and the database has not: `change` changes it
/// there. What goes with the change of a row goes here with these too.
pub(crate) async fn update_elsewhere<F, Fut>(
    _auth: &Auth,
    _table: &str,
    changes: Row,
    change: F,
) -> Result<Option<Row>, Error>
where
    F: FnOnce(Row) -> Fut + Send,
    Fut: Future<Output = Result<Option<Row>, Error>> + Send,
{
    change(changes).await
}

/// Ends rows without deleting them (`session.preserveSessionInDatabase`): to whoever watches deletions
/// they are deleted.
pub(crate) async fn end(
    _auth: &Auth,
    db: &mut Db<'_>,
    table: &str,
    filter: &Filter,
    ended: Row,
) -> Result<u64, Error> {
    Ok(db.update(table, filter, ended).await?)
}
