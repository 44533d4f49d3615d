#![doc = include_str!("README.md")]

use std::sync::Arc;

use async_trait::async_trait;
use portcullis_core::config::{ConfigError, Settings, read};
use portcullis_core::error::Error;
use portcullis_core::feature::Feature;
use portcullis_core::http::{Cookies, Request, Routes};
use portcullis_core::identity::SessionUser;
use portcullis_core::seams::{Seams, SessionMade, SignOut};
use portcullis_core::store::Db;
use serde::Deserialize;
use serde_json::Value as Json;

pub mod errors;
mod routes;
mod service;
#[cfg(test)]
#[cfg(feature = "testing")]
mod tests;

/// Sessions of one device, when no option says otherwise.
const MOST: usize = 5;

/// `plugins.multiSession`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Options {
    /// A device keeps at most so many sessions. Default 5.
    pub maximum_sessions: Option<usize>,
}

/// The room.
#[derive(Debug)]
pub struct MultiSession {
    options: Options,
}

/// Makes the room.
///
/// # Errors
/// An option that does not exist or cannot stand.
pub fn make(options: Json, _: &Settings) -> Result<Arc<dyn Feature>, ConfigError> {
    let options: Options = read("plugins.multiSession", options)?;
    if options.maximum_sessions == Some(0) {
        let problem = "is 0: no session could be kept; leave the plugin out instead";
        return Err(ConfigError::new("plugins.multiSession.maximumSessions", problem));
    }
    Ok(Arc::new(MultiSession { options }))
}

impl Feature for MultiSession {
    fn id(&self) -> &'static str {
        "multi-session"
    }

    fn routes(&self) -> Routes {
        routes::routes()
    }

    fn attach(self: Arc<Self>, seams: &mut Seams) {
        seams.session_made.push(self.clone());
        seams.sign_out.push(self);
    }
}

#[async_trait]
impl SessionMade for MultiSession {
    async fn session_made(
        &self,
        request: &Request,
        db: &mut Db<'_>,
        current: &SessionUser,
        cookies: &mut Cookies,
    ) -> Result<(), Error> {
        let most = self.options.maximum_sessions.unwrap_or(MOST);
        service::remember(most, request, db, current, cookies).await
    }
}

#[async_trait]
impl SignOut for MultiSession {
    async fn sign_out(&self, request: &Request, db: &mut Db<'_>, cookies: &mut Cookies) -> Result<(), Error> {
        service::forget_all(request, db, cookies).await
    }
}
