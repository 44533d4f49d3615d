//! `databaseHooks`: the operator's functions before and after every write to the four core tables.
//!
//! Webhooks of the configuration and a [`DatabaseHooks`] of Rust take one path: both are sources, asked
//! in turn. What they are asked about, and when, is `identity/rows.rs`.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Map, Value as Json};

use crate::config::{DatabaseHooksSettings, VerbHooks};
use crate::error::Error;
use crate::hooks::Callback;
use crate::outbound::Outbound;

/// A table that has hooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Model {
    /// `user`
    User,
    /// `session`
    Session,
    /// `account`
    Account,
    /// `verification`
    Verification,
}

impl Model {
    /// Of a table's key.
    pub(crate) fn of(table: &str) -> Option<Self> {
        Some(match table {
            "user" => Self::User,
            "session" => Self::Session,
            "account" => Self::Account,
            "verification" => Self::Verification,
            _ => return None,
        })
    }

    /// The table's key.
    pub fn key(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Session => "session",
            Self::Account => "account",
            Self::Verification => "verification",
        }
    }
}

/// What happens to a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// It comes.
    Create,
    /// It changes.
    Update,
    /// It goes.
    Delete,
}

impl Verb {
    fn key(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }
}

/// A hook's answer before a write.
#[derive(Debug, Clone, Default)]
pub enum Before {
    /// Go on.
    #[default]
    Go,
    /// Go on with these fields laid over the row (or the changes). A deletion has nothing to lay over.
    With(Map<String, Json>),
    /// Do not write. What the request then answers is in docs/hooks.md; to refuse in words of your own
    /// return an error instead.
    Stop,
}

/// Hooks of your own around every write to the four core tables.
///
/// Rows are JSON objects as Better Auth shows them to its hooks: all fields, hidden ones too (hashes,
/// tokens), dates as ISO text. `context` is the request (method, path, URL, headers without cookies,
/// query), or null outside of one.
///
/// An error is the end of the request before a write; after it, the write lasts and the error is the
/// request's answer.
#[async_trait]
pub trait DatabaseHooks: Send + Sync + 'static {
    /// Does it want to hear of these at all? Rows of others are not even read for it.
    fn wants(&self, _model: Model, _verb: Verb) -> bool {
        true
    }

    /// Before a row is written, changed (`data` has the changes) or deleted. Never called while a
    /// transaction is open, so it may call back into the server.
    async fn before(
        &self,
        _model: Model,
        _verb: Verb,
        _data: &Map<String, Json>,
        _context: &Json,
    ) -> Result<Before, Error> {
        Ok(Before::Go)
    }

    /// After that, when it lasts: the row as it is then, or as it was when it was deleted.
    async fn after(
        &self,
        _model: Model,
        _verb: Verb,
        _row: &Map<String, Json>,
        _context: &Json,
    ) -> Result<(), Error> {
        Ok(())
    }
}

/// The webhooks of the configuration.
struct Written {
    settings: DatabaseHooksSettings,
    outbound: Outbound,
}

impl Written {
    fn hooks(&self, model: Model, verb: Verb) -> &VerbHooks {
        let table = match model {
            Model::User => &self.settings.user,
            Model::Session => &self.settings.session,
            Model::Account => &self.settings.account,
            Model::Verification => &self.settings.verification,
        };
        match verb {
            Verb::Create => &table.create,
            Verb::Update => &table.update,
            Verb::Delete => &table.delete,
        }
    }

    async fn call(
        &self,
        callback: &Callback,
        (model, verb, when): (Model, Verb, &str),
        row: &Map<String, Json>,
        context: &Json,
    ) -> Result<Json, Error> {
        let name = format!("databaseHooks.{}.{}.{when}", model.key(), verb.key());
        callback.call(&self.outbound, &name, vec![Json::Object(row.clone()), context.clone()]).await
    }
}

#[async_trait]
impl DatabaseHooks for Written {
    fn wants(&self, model: Model, verb: Verb) -> bool {
        let hooks = self.hooks(model, verb);
        hooks.before.is_some() || hooks.after.is_some()
    }

    async fn before(
        &self,
        model: Model,
        verb: Verb,
        data: &Map<String, Json>,
        context: &Json,
    ) -> Result<Before, Error> {
        let Some(callback) = &self.hooks(model, verb).before else { return Ok(Before::Go) };
        // Better Auth takes anything else for "go on". An answer that is neither is a mistake in the hook, and a hook
        // that may refuse must not be misread as consent.
        const NEITHER: &str = "the answer is neither false nor {data}";
        let misread =
            |why| Error::broken(format!("databaseHooks.{}.{}.before: {why}", model.key(), verb.key()));
        match self.call(callback, (model, verb, "before"), data, context).await? {
            Json::Bool(false) => Ok(Before::Stop),
            Json::Null | Json::Bool(true) => Ok(Before::Go),
            Json::Object(mut answer) => match answer.remove("data") {
                Some(Json::Object(data)) => Ok(Before::With(data)),
                Some(Json::Null) => Ok(Before::Go),
                Some(_) => Err(misread("`data` is not an object")),
                None => Err(misread(NEITHER)),
            },
            _ => Err(misread(NEITHER)),
        }
    }

    async fn after(
        &self,
        model: Model,
        verb: Verb,
        row: &Map<String, Json>,
        context: &Json,
    ) -> Result<(), Error> {
        let Some(callback) = &self.hooks(model, verb).after else { return Ok(()) };
        self.call(callback, (model, verb, "after"), row, context).await.map(drop)
    }
}

/// All sources, in the order in which they are asked: the configuration's, then those of Rust.
#[derive(Clone, Default)]
pub(crate) struct Hooks(Vec<Arc<dyn DatabaseHooks>>);

impl Hooks {
    pub(crate) fn new(
        settings: &DatabaseHooksSettings,
        outbound: &Outbound,
        own: Vec<Arc<dyn DatabaseHooks>>,
    ) -> Self {
        let written = Written { settings: settings.clone(), outbound: outbound.clone() };
        let models = [Model::User, Model::Session, Model::Account, Model::Verification];
        let verbs = [Verb::Create, Verb::Update, Verb::Delete];
        let any = models.iter().any(|&model| verbs.iter().any(|&verb| written.wants(model, verb)));
        let mut sources: Vec<Arc<dyn DatabaseHooks>> = Vec::new();
        if any {
            sources.push(Arc::new(written));
        }
        sources.extend(own);
        Self(sources)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Does anybody want to hear of these?
    pub(crate) fn wants(&self, model: Model, verb: Verb) -> bool {
        self.0.iter().any(|source| source.wants(model, verb))
    }

    /// Those who do.
    pub(crate) fn of(&self, model: Model, verb: Verb) -> impl Iterator<Item = &Arc<dyn DatabaseHooks>> {
        self.0.iter().filter(move |source| source.wants(model, verb))
    }
}

tokio::task_local! {
    // The request is known where it is handled, and the writes are ten calls below, in functions that
    // have no other use for it and are also called where there is none (command line, tests): so it
    // travels beside the call. Only hooks read it, and only as this description.
    static CONTEXT: Arc<Json>;
}

/// The request that is being handled, as hooks see it; null outside of one.
pub(crate) fn context() -> Arc<Json> {
    CONTEXT.try_with(Arc::clone).unwrap_or_else(|_| Arc::new(Json::Null))
}

/// Handles a request whose writes tell hooks about it.
pub(crate) async fn during<T>(context: Json, work: impl Future<Output = T>) -> T {
    CONTEXT.scope(Arc::new(context), work).await
}
