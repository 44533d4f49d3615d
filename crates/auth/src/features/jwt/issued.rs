//! Tokens of the last moments, so that many reads of a session sign one.
//!
//! A token of `set-auth-jwt` may be as old as a sixtieth of its lifetime, and fifteen seconds at most;
//! `/token` signs a new one each time.

use std::sync::{Arc, OnceLock};

use http::HeaderValue;
use portcullis_core::cache::cache_of;
use portcullis_core::http::Request;
use quick_cache::sync::Cache;

use super::keys::SigningKey;

#[derive(Clone)]
struct Token {
    /// `iat`: what is signed again would be the same but for this and `exp`.
    second: i64,
    /// Which reading of the session it was made from, from which address it says it comes, and who signed.
    reading: u64,
    origin: String,
    key: SigningKey,
    header: HeaderValue,
}

/// One for each session that may be remembered.
#[derive(Default)]
pub(super) struct Issued(OnceLock<Cache<Box<str>, Token>>);

impl std::fmt::Debug for Issued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issued").finish_non_exhaustive()
    }
}

impl Issued {
    /// The token that this request would be given, if it was signed at most so many seconds before.
    pub fn find(
        &self,
        request: &Request,
        session: &str,
        reading: u64,
        key: &SigningKey,
        seconds: i64,
    ) -> Option<HeaderValue> {
        let token = self.0.get()?.get(session)?;
        let age = request.now.seconds().saturating_sub(token.second);
        let same = (0..=seconds).contains(&age)
            && token.reading == reading
            && token.origin == request.origin()
            && token.key.kid == key.kid
            && Arc::ptr_eq(&token.key.pair, &key.pair);
        same.then_some(token.header)
    }

    /// Keeps it for those who ask soon.
    pub fn keep(
        &self,
        request: &Request,
        session: &str,
        reading: u64,
        key: SigningKey,
        header: &HeaderValue,
    ) {
        let sessions = request.auth.config().session.memory_cache_size;
        if sessions == 0 {
            return;
        }
        let token = Token {
            second: request.now.seconds(),
            reading,
            origin: request.origin().into_owned(),
            key,
            header: header.clone(),
        };
        self.0.get_or_init(|| cache_of(sessions)).insert(session.into(), token);
    }
}
