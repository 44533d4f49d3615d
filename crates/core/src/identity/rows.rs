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
