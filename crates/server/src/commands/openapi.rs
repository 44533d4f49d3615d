//! `portcullis openapi`: the routes of this configuration as an OpenAPI 3.1 document.
//!
//! Bodies and answers are Better Auth's; what is described are the fields that each route reads.

use std::process::ExitCode;

use portcullis::Auth;
use portcullis::config::BaseUrl;
use portcullis::http::RouteDoc;
use serde_json::{Map, Value as Json, json};

use super::{Here, build_apart};
use crate::{say, secret_file};

/// Prints it. Needs no database: the routes follow from the settings alone.
pub async fn run(here: &Here<'_>) -> Result<ExitCode, String> {
    let mut loaded = here.load()?;
    loaded.settings.secret.get_or_insert_with(secret_file::fresh);
    let auth = build_apart(&mut loaded).await?;
    say::to_stdout(&format!("{:#}\n", document(&auth)))?;
    Ok(ExitCode::SUCCESS)
}

fn document(auth: &Auth) -> Json {
    let config = auth.config();
    let origin = match &config.base_url {
        BaseUrl::Fixed(url) => url.origin().ascii_serialization(),
        _ => String::new(),
    };
    let mut paths = Map::new();
    for route in auth.routes() {
        let item = paths.entry(route.path.clone()).or_insert_with(|| json!({}));
        if let Json::Object(item) = item {
            item.insert(route.method.as_str().to_lowercase(), operation(&route));
        }
    }
    let cookie = &auth.cookies().session_token.name;
    json!({
        "openapi": "3.1.0",
        "info": { "title": config.app_name, "version": env!("CARGO_PKG_VERSION"), "description": "Better Auth's HTTP API, served by Portcullis." },
        "servers": [{ "url": format!("{origin}{}", config.base_path) }],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "session": { "type": "apiKey", "in": "cookie", "name": cookie },
                "accessToken": { "type": "http", "scheme": "bearer", "bearerFormat": "JWT" },
            },
            "schemas": { "Error": { "type": "object", "properties": {
                "message": { "type": "string" }, "code": { "type": "string", "description": "UPPER_SNAKE name of the error" },
            } } },
        },
    })
}

fn operation(route: &RouteDoc) -> Json {
    let mut operation = Map::new();
    let mut put = |key: &str, value: Json| drop(operation.insert(key.to_owned(), value));
    put("tags", json!([route.room]));
    put("operationId", json!(operation_id(route)));
    put("description", json!(format!("May be called by: {}.", route.access)));
    let in_path = route.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let mut parameters: Vec<Json> = in_path
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }))
        .collect();
    if route.method == http::Method::GET {
        parameters.extend(route.fields.iter().map(|(name, kind)| {
            json!({ "name": name, "in": "query", "required": is_required(kind), "schema": schema(kind) })
        }));
    } else if !route.fields.is_empty() {
        let properties: Map<String, Json> =
            route.fields.iter().map(|(name, kind)| ((*name).to_owned(), schema(kind))).collect();
        let required: Vec<&str> =
            route.fields.iter().filter(|(_, kind)| is_required(kind)).map(|(name, _)| *name).collect();
        let body = json!({ "type": "object", "properties": properties, "required": required });
        put(
            "requestBody",
            json!({ "required": !route.body_optional, "content": { "application/json": { "schema": body } } }),
        );
    }
    if !parameters.is_empty() {
        put("parameters", Json::Array(parameters));
    }
    if route.access.starts_with("access token") {
        put("security", json!([{ "accessToken": [] }]));
    } else if route.access.contains("session") && !route.access.starts_with("anyone") {
        put("security", json!([{ "session": [] }]));
    }
    let error = json!({ "application/json": { "schema": { "$ref": "#/components/schemas/Error" } } });
    put(
        "responses",
        json!({ "200": { "description": "Done" }, "default": { "description": "Refused", "content": error } }),
    );
    Json::Object(operation)
}

/// `POST /sign-in/email` → `postSignInEmail`.
fn operation_id(route: &RouteDoc) -> String {
    let mut id = route.method.as_str().to_lowercase();
    for word in route.path.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()) {
        let (first, rest) = word.split_at(1);
        id.push_str(&first.to_uppercase());
        id.push_str(rest);
    }
    id
}

fn is_required(kind: &str) -> bool {
    !kind.ends_with('?')
}

/// `string`, `boolean?`, `string[]`, `totp|otp`, … as a schema; a kind that JSON has no word for may be anything.
fn schema(kind: &str) -> Json {
    let kind = kind.trim_end_matches('?');
    if let Some(item) = kind.strip_suffix("[]") {
        return json!({ "type": "array", "items": schema(item) });
    }
    match kind {
        "string" | "number" | "integer" | "boolean" | "object" | "array" => json!({ "type": kind }),
        "email" => json!({ "type": "string", "format": "email" }),
        several if several.contains('|') => {
            json!({ "type": "string", "enum": several.split('|').collect::<Vec<_>>() })
        }
        _ => json!({}),
    }
}
