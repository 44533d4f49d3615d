//! Rows and JSON: what clients may write, what they are shown, and the four core tables with the
//! operator's own fields and names.

use serde_json::{Map, Value as Json};

use super::{Account, Session, User, Verification, functions};
use crate::auth::Auth;
use crate::clock::Timestamp;
use crate::config::{AdditionalFields, ConfigError, FieldSettings, Settings, nearest};
use crate::error::{self, Error};
use crate::http::truthy;
use crate::store::{Column, DefaultValue, Kind, OnDelete, Row, Schema, Table, Value};

/// A row as JSON, in the table's order. Hidden columns only when asked for.
pub fn to_json(table: &Table, mut row: Row, hidden: bool) -> Map<String, Json> {
    let mut map = Map::with_capacity(row.len());
    for column in &table.columns {
        if let Some(value) = row.remove(&column.key)
            && (hidden || column.returned)
        {
            map.insert(column.key.to_string(), value.into());
        }
    }
    map
}

/// JSON as a value of a column; `None` when it is of another kind.
pub fn from_json(kind: Kind, json: &Json) -> Option<Value> {
    Some(match (kind, json) {
        (_, Json::Null) => Value::Null,
        (Kind::Id, Json::Number(number)) => Value::Text(number.to_string()),
        (Kind::Id | Kind::Text, Json::String(text)) => Value::Text(text.clone()),
        (Kind::Bool, Json::Bool(value)) => Value::Bool(*value),
        (Kind::Int | Kind::BigInt, Json::Number(number)) => match number.as_i64() {
            Some(whole) => Value::Int(whole),
            None => Value::Float(number.as_f64()?),
        },
        (Kind::Time, Json::String(text)) => Value::Time(Timestamp::parse(text)?),
        (Kind::Time, Json::Number(ms)) => Value::Time(Timestamp::from_millis(ms.as_i64()?)),
        (Kind::Json, any) => Value::Json(any.clone()),
        (Kind::TextList, Json::Array(all)) if all.iter().all(Json::is_string) => Value::Json(json.clone()),
        (Kind::IntList, Json::Array(all)) if all.iter().all(Json::is_number) => Value::Json(json.clone()),
        _ => return None,
    })
}

fn expected(kind: Kind) -> &'static str {
    match kind {
        Kind::Id | Kind::Text => "string",
        Kind::Bool => "boolean",
        Kind::Int | Kind::BigInt => "number",
        Kind::Time => "date",
        Kind::Json => "json",
        Kind::TextList => "string[]",
        Kind::IntList => "number[]",
    }
}

/// What the fields are written for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// A new row: defaults apply, required fields are required.
    Create,
    /// A change: what is absent stays.
    Update,
}

/// Reads the fields that are not Better Auth's own (`core`) from a client's object: unknown ones are
/// passed over, forbidden ones refused (better-auth 1.7.6 `db/schema` parseInputData).
pub async fn parse_input(
    auth: &Auth,
    table: &str,
    core: &[&str],
    data: &Map<String, Json>,
    action: Action,
) -> Result<Row, Error> {
    let mut row = Row::new();
    let table = auth.table(table);
    for column in table.columns.iter().filter(|column| !core.contains(&&*column.key)) {
        let default = match &column.default {
            DefaultValue::Value(value) => Some(value.clone()),
            _ => None,
        };
        match data.get(&*column.key) {
            Some(value) if !column.input => {
                if action == Action::Create
                    && let Some(default) = default
                {
                    row.set(column.key.clone(), default);
                } else if truthy(value) {
                    let message = format!("{} is not allowed to be set", column.key);
                    return Err(error::FIELD_NOT_ALLOWED.saying(message).into());
                }
            }
            Some(value) => {
                if let Some(made) = functions::input(auth, &table.key, &column.key, value).await? {
                    row.set(column.key.clone(), made);
                    continue;
                }
                let Some(value) = from_json(column.kind, value) else {
                    let message =
                        format!("[body.{}] Invalid input: expected {}", column.key, expected(column.kind));
                    return Err(error::VALIDATION_ERROR.saying(message).into());
                };
                row.set(column.key.clone(), value);
            }
            None if action == Action::Create => {
                if let Some(default) = default {
                    row.set(column.key.clone(), default);
                } else if let Some(made) = functions::default_of(auth, &table.key, &column.key).await? {
                    row.set(column.key.clone(), made);
                } else if column.required && !matches!(column.default, DefaultValue::Now) {
                    return Err(error::MISSING_FIELD.saying(format!("{} is required", column.key)).into());
                }
            }
            None => {}
        }
    }
    Ok(row)
}

/// The four core tables under the operator's names and with the operator's fields.
pub fn core_tables(settings: &Settings) -> Result<Schema, ConfigError> {
    let mut schema =
        Schema::new(vec![User::table(), Session::table(), Account::table(), Verification::table()]);
    let sections = [
        ("user", &settings.user.additional_fields, &settings.user.model_name, &settings.user.fields),
        (
            "session",
            &settings.session.additional_fields,
            &settings.session.model_name,
            &settings.session.fields,
        ),
        (
            "account",
            &settings.account.additional_fields,
            &settings.account.model_name,
            &settings.account.fields,
        ),
        (
            "verification",
            &settings.verification.additional_fields,
            &settings.verification.model_name,
            &settings.verification.fields,
        ),
    ];
    for (key, additional, _, _) in &sections {
        let AdditionalFields(fields) = additional;
        for (name, field) in fields {
            schema.lend(key, column(key, name, field)?);
        }
    }
    for (key, _, model, renames) in &sections {
        if let Some(model) = model {
            schema.set_table_name(key, model.clone());
        }
        for (field, name) in *renames {
            // `issuer` left with 1.7.3; configurations may still rename it.
            let known = schema.get(key).is_some_and(|table| table.column(field).is_some());
            if known {
                schema.set_column_name(key, field, name.clone());
            } else if !(*key == "account" && field == "issuer") {
                let names: Vec<&str> =
                    schema.get(key).map(|t| t.columns.iter().map(|c| &*c.key).collect()).unwrap_or_default();
                let problem = format!("unknown field{}", nearest(field, names));
                return Err(ConfigError::new(format!("{key}.fields.{field}"), problem));
            }
        }
    }
    Ok(schema)
}

fn column(table: &str, name: &str, field: &FieldSettings) -> Result<Column, ConfigError> {
    let key = format!("{table}.additionalFields.{name}");
    let kind = match &field.kind {
        Json::String(kind) => match kind.as_str() {
            "string" => Kind::Text,
            "number" if field.bigint => Kind::BigInt,
            "number" => Kind::Int,
            "boolean" => Kind::Bool,
            "date" => Kind::Time,
            "json" => Kind::Json,
            "string[]" => Kind::TextList,
            "number[]" => Kind::IntList,
            _ => {
                return Err(ConfigError::new(
                    key + ".type",
                    "must be `string`, `number`, `boolean`, `date`, `json`, `string[]`, `number[]` or a list of texts",
                ));
            }
        },
        // A list of allowed texts is a text column in Better Auth.
        Json::Array(_) => Kind::Text,
        _ => return Err(ConfigError::new(key + ".type", "must be a text or a list of texts")),
    };
    let mut column = Column::new(name.to_owned(), kind);
    column.required = field.required.unwrap_or(true);
    column.unique = field.unique;
    column.indexed = field.index;
    column.sortable = field.sortable;
    column.input = field.input.unwrap_or(true);
    column.returned = field.returned.unwrap_or(true);
    if let Some(name) = &field.field_name {
        column.name.clone_from(name);
    }
    // A function is called when the row is made (`identity/functions.rs`).
    let is_function = |value: &&Json| value.get("webhook").is_some();
    if let Some(default) = field.default_value.as_ref().filter(|value| !is_function(value)) {
        let value = match default {
            Json::Object(map) if map.contains_key("$date") => {
                map.get("$date").and_then(Json::as_str).and_then(Timestamp::parse).map(Value::Time)
            }
            // A JSON field may have its default written as JSON text.
            other => from_json(kind, other),
        };
        column.default = DefaultValue::Value(value.ok_or_else(|| {
            ConfigError::new(key.clone() + ".defaultValue", format!("is not a {}", expected(kind)))
        })?);
    }
    if let Some(reference) = &field.references {
        column = column.references(reference.model.clone(), reference.field.clone());
        let action = match reference.on_delete.as_deref() {
            None | Some("cascade") => OnDelete::Cascade,
            Some("set null") => OnDelete::SetNull,
            Some("restrict") => OnDelete::Restrict,
            Some("no action") => OnDelete::NoAction,
            Some(_) => return Err(ConfigError::new(key + ".references.onDelete", "is not an SQL action")),
        };
        column = column.on_delete(action);
    }
    Ok(column)
}
