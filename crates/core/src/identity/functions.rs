//! Functions of the operator's that make values: of additional fields (`defaultValue`, `onUpdate`,
//! `transform.input`, `validator.input`) and of ids (`advanced.database.generateId`).

use serde_json::{Value as Json, json};

use super::fields::from_json;
use crate::auth::Auth;
use crate::config::{AdditionalFields, ConfigError, FieldSettings, Settings};
use crate::database_hooks::{Model, Verb};
use crate::error::{self, Error};
use crate::hooks::Callback;
use crate::store::{Kind, Row, Value};

/// The functions of one field.
#[derive(Debug, Clone)]
struct FieldFunctions {
    model: Model,
    column: String,
    default: Option<Callback>,
    on_update: Option<Callback>,
    transform: Option<Callback>,
    validate: Option<Callback>,
}

/// All functions that make values.
#[derive(Debug, Clone, Default)]
pub(crate) struct Functions {
    fields: Vec<FieldFunctions>,
    generate_id: Option<Callback>,
}

/// A function where a value might stand.
fn function(key: &str, written: &Json) -> Result<Option<Callback>, ConfigError> {
    match written {
        Json::Object(map) if map.contains_key("webhook") => {
            crate::config::read(key, written.clone()).map(Some)
        }
        _ => Ok(None),
    }
}

impl Functions {
    pub(crate) fn new(settings: &Settings) -> Result<Self, ConfigError> {
        let tables: [(Model, &AdditionalFields); 4] = [
            (Model::User, &settings.user.additional_fields),
            (Model::Session, &settings.session.additional_fields),
            (Model::Account, &settings.account.additional_fields),
            (Model::Verification, &settings.verification.additional_fields),
        ];
        let mut fields = Vec::new();
        for (model, AdditionalFields(all)) in tables {
            for (column, field) in all {
                let key = format!("{}.additionalFields.{column}.defaultValue", model.key());
                let FieldSettings {
                    default_value, default_function, on_update, transform, validator, ..
                } = field;
                let written =
                    default_value.as_ref().map(|value| function(&key, value)).transpose()?.flatten();
                let functions = FieldFunctions {
                    model,
                    column: column.clone(),
                    default: default_function.clone().or(written),
                    on_update: on_update.clone(),
                    transform: transform.as_ref().and_then(|both| both.input.clone()),
                    validate: validator
                        .as_ref()
                        .and_then(|both| both.input.as_ref())
                        .map(|one| one.standard.validate.clone()),
                };
                if functions.default.is_some()
                    || functions.on_update.is_some()
                    || functions.transform.is_some()
                    || functions.validate.is_some()
                {
                    fields.push(functions);
                }
            }
        }
        let database = &settings.advanced.database;
        let written = database.generate_id.as_ref();
        let written = written.map(|id| function("advanced.database.generateId", id)).transpose()?.flatten();
        Ok(Self { fields, generate_id: database.id_function.clone().or(written) })
    }

    /// Is a value of these rows made by a function? (`Delete` makes none.)
    pub(crate) fn make(&self, model: Model, verb: Verb) -> bool {
        let mut fields = self.fields.iter().filter(|field| field.model == model);
        match verb {
            Verb::Create => self.generate_id.is_some() || fields.any(|field| field.default.is_some()),
            Verb::Update => fields.any(|field| field.on_update.is_some()),
            Verb::Delete => false,
        }
    }

    fn of(&self, model: Model, column: &str) -> Option<&FieldFunctions> {
        self.fields.iter().find(|field| field.model == model && field.column == column)
    }
}

/// What a function answered, as a value of its column.
fn value_of(auth: &Auth, model: Model, column: &str, name: &str, answer: &Json) -> Result<Value, Error> {
    let kind = auth.table(model.key()).column(column).map_or(Kind::Text, |column| column.kind);
    from_json(kind, answer).ok_or_else(|| Error::broken(format!("{name} answered a value of another type")))
}

fn name_of(model: Model, column: &str, function: &str) -> String {
    format!("{}.additionalFields.{column}.{function}", model.key())
}

/// An id, when a function of the operator's makes them: a text of at most 36 characters.
pub(crate) async fn id(auth: &Auth, table: &str) -> Result<Option<String>, Error> {
    let Some(callback) = &auth.functions().generate_id else { return Ok(None) };
    let name = "advanced.database.generateId";
    match callback.call(auth.outbound(), name, vec![json!({ "model": table })]).await? {
        // MySQL's column of an id has room for 36.
        Json::String(id) if !id.is_empty() && id.chars().count() <= 36 => Ok(Some(id)),
        // `false` leaves it to us.
        Json::Bool(false) => Ok(None),
        _ => Err(Error::broken(format!("{name} did not answer a text of 1 to 36 characters"))),
    }
}

/// Values of functions for fields that a new row does not have.
pub(crate) async fn defaults(auth: &Auth, model: Model, mut row: Row) -> Result<Row, Error> {
    for field in auth.functions().fields.iter().filter(|field| field.model == model) {
        let Some(callback) = field.default.as_ref().filter(|_| !row.contains(&field.column)) else {
            continue;
        };
        let value = call(auth, model, &field.column, "defaultValue", callback, Vec::new()).await?;
        row.set(field.column.clone(), value);
    }
    Ok(row)
}

/// Values of functions for fields that a change does not have.
pub(crate) async fn on_update(auth: &Auth, model: Model, changes: &Row) -> Result<Row, Error> {
    let mut made = Row::new();
    for field in auth.functions().fields.iter().filter(|field| field.model == model) {
        let Some(callback) = field.on_update.as_ref().filter(|_| !changes.contains(&field.column)) else {
            continue;
        };
        let value = call(auth, model, &field.column, "onUpdate", callback, Vec::new()).await?;
        made.set(field.column.clone(), value);
    }
    Ok(made)
}

async fn call(
    auth: &Auth,
    model: Model,
    column: &str,
    function: &str,
    callback: &Callback,
    args: Vec<Json>,
) -> Result<Value, Error> {
    let name = name_of(model, column, function);
    let answer = callback.call(auth.outbound(), &name, args).await?;
    value_of(auth, model, column, &name, &answer)
}

/// The value of one field of a new row, when a function makes it.
pub(super) async fn default_of(auth: &Auth, table: &str, column: &str) -> Result<Option<Value>, Error> {
    let Some(model) = Model::of(table) else { return Ok(None) };
    match auth.functions().of(model, column).and_then(|field| field.default.as_ref()) {
        Some(callback) => call(auth, model, column, "defaultValue", callback, Vec::new()).await.map(Some),
        None => Ok(None),
    }
}

/// The value of a field that a client wrote: judged by its validator, or else turned by its transform
/// (better-auth 1.7.6 `db/schema` parseInputData: one or the other).
pub(super) async fn input(
    auth: &Auth,
    table: &str,
    column: &str,
    value: &Json,
) -> Result<Option<Value>, Error> {
    let Some(model) = Model::of(table) else { return Ok(None) };
    let Some(field) = auth.functions().of(model, column) else { return Ok(None) };
    if let Some(callback) = &field.validate {
        let name = name_of(model, column, "validator.input.~standard.validate");
        let answer = callback.call(auth.outbound(), &name, vec![value.clone()]).await?;
        if let Some(issues) = answer.get("issues").filter(|issues| !issues.is_null()) {
            let message = issues.get(0).and_then(|issue| issue.get("message")).and_then(Json::as_str);
            let message = message.filter(|text| !text.is_empty()).unwrap_or("Validation Error").to_owned();
            return Err(error::VALIDATION_ERROR.saying(message).into());
        }
        let Some(good) = answer.get("value") else {
            return Err(Error::broken(format!("{name} answered neither a value nor issues")));
        };
        return value_of(auth, model, column, &name, good).map(Some);
    }
    if let Some(callback) = &field.transform {
        return call(auth, model, column, "transform.input", callback, vec![value.clone()]).await.map(Some);
    }
    Ok(None)
}
