//! Writes to the four core tables. Every write of them comes through here, so that what goes with a
//! write goes with all of them: the operator's hooks, and functions that make values.
//!
//! Outside of a transaction a write asks its before-hooks by itself. Inside of one nothing is asked:
//! whoever begins it has asked with `ask_…` (see [`Agreed`]), and a write that was not asked about is an
//! error. After-hooks wait for the commit. Where nobody wants to hear of a write, all of this costs one
//! look at an empty list.

use serde_json::{Map, Value as Json};

use super::fields::{from_json, to_json};
use super::functions;
use crate::auth::Auth;
use crate::database_hooks::{self, Before, Model, Verb};
use crate::error::{self, Error};
use crate::store::{Agreed, Agreement, Db, Filter, Row};

/// Does a write of this kind need to be asked about?
fn asked_about(auth: &Auth, table: &str, verb: Verb) -> Option<Model> {
    let model = Model::of(table)?;
    (auth.hooks().wants(model, verb) || auth.functions().make(model, verb)).then_some(model)
}

fn not_asked(model: Model, verb: Verb) -> Error {
    Error::broken(format!(
        "a hook of {} ({verb:?}) was to be asked inside a transaction; whoever begins it must ask first",
        model.key()
    ))
}

/// Refuses what the database has no room for, before it does so with an error of its own.
pub(crate) fn check_room(auth: &Auth, table: &str, row: &Row) -> Result<(), Error> {
    match auth.store().overlong(table, row) {
        None => Ok(()),
        Some(column) => {
            Err(error::VALIDATION_ERROR.saying(format!("[body.{column}] Invalid input: too long")).into())
        }
    }
}

/// What a hook wants to be written, as columns. Fields that the table does not have are passed over, as
/// Better Auth does.
fn columns_of(auth: &Auth, model: Model, data: &Map<String, Json>) -> Result<Row, Error> {
    let mut row = Row::new();
    for (key, value) in data {
        let Some(column) = auth.table(model.key()).column(key) else { continue };
        let value = from_json(column.kind, value).ok_or_else(|| {
            Error::broken(format!("a hook gave {}.{key} a value of another type", model.key()))
        })?;
        row.set(column.key.clone(), value);
    }
    Ok(row)
}

/// Asks the before-hooks. What they want laid over the data; `None` when one says no.
async fn before(auth: &Auth, model: Model, verb: Verb, data: &Row) -> Result<Option<Row>, Error> {
    let context = database_hooks::context();
    let mut shown = to_json(auth.table(model.key()), data.clone(), true);
    let mut over = Row::new();
    for source in auth.hooks().of(model, verb) {
        match source.before(model, verb, &shown, &context).await? {
            Before::Go => {}
            Before::Stop => return Ok(None),
            Before::With(data) => {
                over.extend(columns_of(auth, model, &data)?);
                // A hook of a creation sees what those before it have laid over; one of a change sees
                // the change as it was wanted (better-auth 1.7.6 `db/with-hooks`).
                if verb == Verb::Create {
                    shown.extend(data);
                }
            }
        }
    }
    Ok(Some(over))
}

/// Tells the after-hooks once the write lasts.
async fn after(auth: &Auth, db: &mut Db<'_>, model: Model, verb: Verb, rows: Vec<Row>) -> Result<(), Error> {
    if rows.is_empty() || !auth.hooks().wants(model, verb) {
        return Ok(());
    }
    let (auth, context) = (auth.clone(), database_hooks::context());
    db.after_commit(async move {
        for row in rows {
            let shown = to_json(auth.table(model.key()), row, true);
            for source in auth.hooks().of(model, verb) {
                source.after(model, verb, &shown, &context).await?;
            }
        }
        Ok(())
    })
    .await
}

/// A new row as it is to be written, but for what its transaction will know; `None`: a hook says no.
async fn prepare(auth: &Auth, model: Model, row: Row) -> Result<Option<Row>, Error> {
    let row = with_id(auth, model.key(), row).await?;
    let mut row = functions::defaults(auth, model, row).await?;
    Ok(before(auth, model, Verb::Create, &row).await?.map(|over| {
        row.extend(over);
        row
    }))
}

/// Gives a new row an id, unless it has one or the database makes it.
pub(crate) async fn with_id(auth: &Auth, table: &str, row: Row) -> Result<Row, Error> {
    if row.contains("id") {
        return Ok(row);
    }
    Ok(match functions::id(auth, table).await? {
        Some(id) => row.with("id", id),
        None => auth.with_new_id(row),
    })
}

/// Asks about a row that is to be written in a transaction. What is not known yet (the number of a user
/// that the database counts) is absent, and hooks do not see it.
pub(crate) async fn ask_create(auth: &Auth, agreed: &mut Agreed, table: &str, row: Row) -> Result<(), Error> {
    if let Some(model) = asked_about(auth, table, Verb::Create) {
        let over = prepare(auth, model, row).await?;
        agreed.0.push(Agreement { model, verb: Verb::Create, over, seen: Vec::new() });
    }
    Ok(())
}

/// Asks about a change that is to be made in a transaction.
pub(crate) async fn ask_update(
    auth: &Auth,
    agreed: &mut Agreed,
    table: &str,
    changes: &Row,
) -> Result<(), Error> {
    if let Some(model) = asked_about(auth, table, Verb::Update) {
        let over = prepare_update(auth, model, changes).await?;
        agreed.0.push(Agreement { model, verb: Verb::Update, over, seen: Vec::new() });
    }
    Ok(())
}

async fn prepare_update(auth: &Auth, model: Model, changes: &Row) -> Result<Option<Row>, Error> {
    let mut made = functions::on_update(auth, model, changes).await?;
    Ok(before(auth, model, Verb::Update, changes).await?.map(|over| {
        made.extend(over);
        made
    }))
}

/// Asks about rows that are to be deleted in a transaction.
pub(crate) async fn ask_delete(
    auth: &Auth,
    agreed: &mut Agreed,
    table: &str,
    filter: &Filter,
) -> Result<(), Error> {
    if let Some(model) = asked_about(auth, table, Verb::Delete) {
        agreed.0.push(prepare_delete(auth, model, filter).await?);
    }
    Ok(())
}

async fn prepare_delete(auth: &Auth, model: Model, filter: &Filter) -> Result<Agreement, Error> {
    let seen = auth.db().list(model.key(), &filter.clone().into()).await?;
    let mut over = Some(Row::new());
    for row in &seen {
        if before(auth, model, Verb::Delete, row).await?.is_none() {
            over = None;
            break;
        }
    }
    Ok(Agreement { model, verb: Verb::Delete, over, seen })
}

/// A row as it is to be stored, with an id unless the database makes it; `None` when a hook says no.
/// For rows that secondary storage has and the database has not; [`created`] comes after.
pub(crate) async fn prepared(
    auth: &Auth,
    db: &mut Db<'_>,
    table: &str,
    mut row: Row,
) -> Result<Option<Row>, Error> {
    let Some(model) = asked_about(auth, table, Verb::Create) else { return Ok(Some(auth.with_new_id(row))) };
    if !db.in_transaction() {
        return prepare(auth, model, row).await;
    }
    let agreed = db.take_agreed(model, Verb::Create).ok_or_else(|| not_asked(model, Verb::Create))?;
    Ok(agreed.over.map(|over| {
        row.extend(over);
        row
    }))
}

/// Tells of a row that was stored.
pub(crate) async fn created(auth: &Auth, db: &mut Db<'_>, table: &str, row: Row) -> Result<(), Error> {
    match Model::of(table) {
        Some(model) => after(auth, db, model, Verb::Create, vec![row]).await,
        None => Ok(()),
    }
}

/// Adds a row, with an id unless it has one, and returns it as stored; `None` when a hook says no.
pub(crate) async fn create(
    auth: &Auth,
    db: &mut Db<'_>,
    table: &str,
    row: Row,
) -> Result<Option<Row>, Error> {
    let Some(row) = prepared(auth, db, table, row).await? else { return Ok(None) };
    check_room(auth, table, &row)?;
    let stored = db.insert(table, row).await?;
    if !auth.hooks().is_empty() {
        created(auth, db, table, stored.clone()).await?;
    }
    Ok(Some(stored))
}

/// Changes as they are to be made; `None` when a hook says no. For rows that secondary storage has and
/// the database has not; [`changed`] comes after.
pub(crate) async fn changes(
    auth: &Auth,
    db: &mut Db<'_>,
    table: &str,
    mut changes: Row,
) -> Result<Option<Row>, Error> {
    let Some(model) = asked_about(auth, table, Verb::Update) else { return Ok(Some(changes)) };
    let over = if db.in_transaction() {
        db.take_agreed(model, Verb::Update).ok_or_else(|| not_asked(model, Verb::Update))?.over
    } else {
        prepare_update(auth, model, &changes).await?
    };
    Ok(over.map(|over| {
        changes.extend(over);
        changes
    }))
}

/// Tells of a row that was changed.
pub(crate) async fn changed(
    auth: &Auth,
    db: &mut Db<'_>,
    table: &str,
    row: Option<Row>,
) -> Result<(), Error> {
    match (Model::of(table), row) {
        (Some(model), Some(row)) => after(auth, db, model, Verb::Update, vec![row]).await,
        _ => Ok(()),
    }
}

/// Changes one row and returns it as it is then; `None` when the filter takes none. When a hook says no,
/// the row stays as it is and is returned like that.
pub(crate) async fn update(
    auth: &Auth,
    db: &mut Db<'_>,
    table: &str,
    filter: &Filter,
    changes: Row,
) -> Result<Option<Row>, Error> {
    let Some(changes) = self::changes(auth, db, table, changes).await? else {
        return Ok(db.find(table, filter).await?);
    };
    check_room(auth, table, &changes)?;
    let stored = db.update_one(table, filter, changes).await?;
    if !auth.hooks().is_empty() {
        changed(auth, db, table, stored.clone()).await?;
    }
    Ok(stored)
}

/// Deletes all rows that the filter takes; how many those were. When a hook says no to one of them, all
/// stay.
pub(crate) async fn delete(auth: &Auth, db: &mut Db<'_>, table: &str, filter: &Filter) -> Result<u64, Error> {
    let Some(model) = asked_about(auth, table, Verb::Delete) else {
        return Ok(db.delete(table, filter).await?);
    };
    let agreed = agreed_delete(auth, db, model, filter).await?;
    if agreed.over.is_none() {
        return Ok(0);
    }
    // All of them, those too that have come since: "end all sessions" must not leave one.
    let gone = db.delete(table, filter).await?;
    if gone > 0 {
        after(auth, db, model, Verb::Delete, agreed.seen).await?;
    }
    Ok(gone)
}

async fn agreed_delete(
    auth: &Auth,
    db: &mut Db<'_>,
    model: Model,
    filter: &Filter,
) -> Result<Agreement, Error> {
    if db.in_transaction() {
        db.take_agreed(model, Verb::Delete).ok_or_else(|| not_asked(model, Verb::Delete))
    } else {
        prepare_delete(auth, model, filter).await
    }
}

/// Deletes one row and returns it; of any number of racers one gets it. `None`, too, when a hook says no.
pub(crate) async fn consume(
    auth: &Auth,
    db: &mut Db<'_>,
    table: &str,
    filter: &Filter,
) -> Result<Option<Row>, Error> {
    let Some(model) = asked_about(auth, table, Verb::Delete) else {
        return Ok(db.consume(table, filter).await?);
    };
    if agreed_delete(auth, db, model, filter).await?.over.is_none() {
        return Ok(None);
    }
    let taken = db.consume(table, filter).await?;
    after(auth, db, model, Verb::Delete, taken.iter().cloned().collect()).await?;
    Ok(taken)
}

/// Ends rows without deleting them (`session.preserveSessionInDatabase`): to whoever watches deletions
/// they are deleted.
pub(crate) async fn end(
    auth: &Auth,
    db: &mut Db<'_>,
    table: &str,
    filter: &Filter,
    ended: Row,
) -> Result<u64, Error> {
    let Some(model) = asked_about(auth, table, Verb::Delete) else {
        return Ok(db.update(table, filter, ended).await?);
    };
    let agreed = agreed_delete(auth, db, model, filter).await?;
    if agreed.over.is_none() {
        return Ok(0);
    }
    let gone = db.update(table, filter, ended).await?;
    if gone > 0 {
        after(auth, db, model, Verb::Delete, agreed.seen).await?;
    }
    Ok(gone)
}
