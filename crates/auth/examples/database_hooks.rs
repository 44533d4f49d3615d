//! Hooks of your own around every write to users, sessions, accounts and verifications: only one
//! company's people get an account, and every new one is announced.
//!
//! The same as webhooks, with what a failing one does, is in `docs/hooks.md`.

use async_trait::async_trait;
use portcullis::Auth;
use portcullis::database_hooks::{Before, DatabaseHooks, Model, Verb};
use portcullis::error::Error;
use serde_json::{Map, Value as Json};

portcullis::errors! {
    /// Somebody from elsewhere signs up.
    NOT_OF_THE_COMPANY = 403 "Only people of the company can sign up";
}

/// The hooks.
#[derive(Debug)]
pub struct OneCompany;

#[async_trait]
impl DatabaseHooks for OneCompany {
    // Nothing else is even looked at.
    fn wants(&self, model: Model, verb: Verb) -> bool {
        (model, verb) == (Model::User, Verb::Create)
    }

    async fn before(&self, _: Model, _: Verb, data: &Map<String, Json>, _: &Json) -> Result<Before, Error> {
        let email = data.get("email").and_then(Json::as_str).unwrap_or_default();
        if !email.ends_with("@example.com") {
            return Err(NOT_OF_THE_COMPANY.into());
        }
        let name = data.get("name").and_then(Json::as_str).unwrap_or_default().trim();
        Ok(Before::With([("name".to_owned(), Json::from(name))].into_iter().collect()))
    }

    async fn after(&self, _: Model, _: Verb, row: &Map<String, Json>, _: &Json) -> Result<(), Error> {
        // An error here would be the answer to a sign-up that has happened.
        println!("welcome, {}", row.get("name").and_then(Json::as_str).unwrap_or_default());
        Ok(())
    }
}

/// An auth server with these hooks.
pub async fn auth() -> Result<Auth, portcullis::StartError> {
    Auth::builder()
        .base_url("http://localhost:3000")
        .secret("change-me: 32 random characters, please")
        .database("sqlite::memory:")
        .email_and_password()
        .database_hooks(OneCompany)
        .build()
        .await
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    axum::serve(listener, auth().await?.service()).await?;
    Ok(())
}
