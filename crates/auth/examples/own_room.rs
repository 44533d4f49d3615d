//! A feature of your own in one file: a table, two routes that know their caller, an option, an error,
//! and a seam. What is in the library is written the same way, only with more files.
//!
//! The room keeps notes of users, and lets only one company's addresses sign up.

use std::sync::Arc;

use async_trait::async_trait;
use portcullis::Auth;
use portcullis::clock::Timestamp;
use portcullis::error::Error;
use portcullis::feature::Feature;
use portcullis::http::{Answer, Call, Fields, FromFields, Routes, SignedIn};
use portcullis::identity::Action;
use portcullis::seams::{Seams, UserWrite, WriteUser};
use portcullis::store::{Db, Query, Row, Table};
use serde_json::{Value as Json, json};

portcullis::table! {
    /// A note of a user's.
    pub struct Note in "note" {
        /// Id.
        id / ID: String = Column::id(),
        /// Whose; goes with the user.
        user_id / USER_ID: String = Column::foreign("userId", "user").indexed(),
        /// What it says.
        text / TEXT: String = Column::text("text"),
        /// Since when.
        created_at / CREATED_AT: Timestamp = Column::time("createdAt").default_now(),
    }
}

portcullis::errors! {
    /// Somebody from elsewhere signs up.
    NOT_OF_THE_COMPANY = 403 "Only people of the company can sign up";
}

/// The room, with its option.
#[derive(Debug)]
pub struct Notes {
    /// `example.com`
    pub company: String,
}

impl Feature for Notes {
    fn id(&self) -> &'static str {
        "notes"
    }

    fn tables(&self) -> Vec<Table> {
        vec![Note::table()]
    }

    fn routes(&self) -> Routes {
        Routes::new().post("/notes/add", add).get("/notes/list", list)
    }

    fn attach(self: Arc<Self>, seams: &mut Seams) {
        seams.write_user.push(self);
    }
}

struct NewNote {
    text: String,
}

impl FromFields for NewNote {
    const FIELDS: &'static [(&'static str, &'static str)] = &[("text", "string")];
    fn from_fields(fields: &mut Fields) -> Self {
        Self { text: fields.nonempty("text") }
    }
}

/// `SignedIn` as an argument is the authorization: without a session this does not run.
async fn add(call: Call<NewNote, SignedIn>) -> Result<Answer, Error> {
    let auth = call.auth();
    let row = Row::new()
        .with(Note::USER_ID.key, call.session.user.id.as_str())
        .with(Note::TEXT.key, call.body.text.as_str());
    let note = Note::from_row(auth.db().insert(Note::KEY, auth.with_new_id(row)).await?)?;
    Ok(Answer::value(json!({ "id": note.id })))
}

async fn list(call: Call<(), SignedIn>) -> Result<Answer, Error> {
    let mine = Note::USER_ID.is(call.session.user.id.as_str());
    let rows =
        call.auth().db().list(Note::KEY, &Query::from(mine).oldest_first(Note::CREATED_AT.key)).await?;
    let notes: Vec<Note> = rows.into_iter().map(Note::from_row).collect::<Result<_, _>>()?;
    Answer::json(notes.into_iter().map(|note| note.text).collect::<Vec<_>>())
}

#[async_trait]
impl WriteUser for Notes {
    async fn amend(&self, _: &mut Db<'_>, write: &mut UserWrite<'_>) -> Result<(), Error> {
        let email = write.body.get("email").and_then(Json::as_str).unwrap_or_default().to_lowercase();
        let domain = email.rsplit_once('@').map(|(_, domain)| domain);
        if write.action == Action::Create && domain != Some(&self.company) {
            return Err(NOT_OF_THE_COMPANY.into());
        }
        Ok(())
    }
}

/// An auth server with the room in it.
pub async fn auth() -> Result<Auth, Box<dyn std::error::Error>> {
    let auth = Auth::builder()
        .secret("replace-me-by-32-random-characters")
        .base_url("http://localhost:3000")
        .database("sqlite::memory:")
        .email_and_password()
        .feature(Notes { company: "example.com".into() })
        .build()
        .await?;
    Ok(auth)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    axum::serve(listener, auth().await?.service()).await?;
    Ok(())
}
