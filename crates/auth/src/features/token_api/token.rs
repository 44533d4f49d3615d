//! What a refresh token is.
//!
//! `prt_<chain>.<nonce>.<mark>`: the name of its row, 32 bytes, and a mark of the server's secret over both.
//! The mark tells a token that we gave from one that somebody made up, so that knowing a chain's name is
//! not enough to end it; the nonce of a successor follows from the token before it and the secret, so that it can
//! be given again although only hashes are stored. Without the secret nobody can do either.

use portcullis_core::crypto::{
    Secret, Secrets, base64url, constant_time_eq, hex_encode, hkdf_sha256, hmac_sha256, sha256,
};

/// So that scanners of repositories and logs know one when they see it.
const PREFIX: &str = "prt_";

/// A token of ours: its mark is right.
pub(super) struct Token {
    text: String,
    chain: String,
}

/// The key of this room, so that no other use of the secret can be turned into a token.
fn key(secret: &Secret) -> Vec<u8> {
    hkdf_sha256(secret.expose().as_bytes(), b"portcullis", b"refresh-token", 32)
}

impl Token {
    /// A token of a chain with this nonce.
    fn of(key: &[u8], chain: &str, nonce: &[u8]) -> Self {
        let body = format!("{chain}.{}", base64url(nonce));
        let text = format!("{PREFIX}{body}.{}", mark(key, &body));
        Self { text, chain: chain.to_owned() }
    }

    /// The first one of a chain.
    pub fn first(secret: &Secret, chain: &str, nonce: [u8; 32]) -> Self {
        Self::of(&key(secret), chain, &nonce)
    }

    /// Reads one; `None` when we never gave it.
    pub fn read(secrets: &Secrets, text: &str) -> Option<Self> {
        let (body, written) = text.strip_prefix(PREFIX)?.rsplit_once('.')?;
        let (chain, _) = body.split_once('.')?;
        let good = secrets
            .all()
            .into_iter()
            .any(|secret| constant_time_eq(mark(&key(secret), body).as_bytes(), written.as_bytes()));
        good.then(|| Self { text: text.to_owned(), chain: chain.to_owned() })
    }

    /// The token that follows this one.
    pub fn successor(&self, secret: &Secret) -> Self {
        let key = key(secret);
        Self::of(&key, &self.chain, &hmac_sha256(&key, format!("next {}", self.text).as_bytes()))
    }

    /// The row that it belongs to.
    pub fn chain(&self) -> &str {
        &self.chain
    }

    /// What is stored of it.
    pub fn hash(&self) -> String {
        hex_encode(&sha256(&self.text))
    }

    /// As the client has it.
    pub fn into_text(self) -> String {
        self.text
    }
}

fn mark(key: &[u8], body: &str) -> String {
    base64url(&hmac_sha256(key, format!("mark {body}").as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets() -> Secrets {
        Secrets::single(Secret::from("0123456789abcdef0123456789abcdef"))
    }

    #[test]
    fn a_token_is_read_by_its_secret_and_not_with_a_letter_changed() {
        let text = Token::first(secrets().current(), "chain-1", [7; 32]).into_text();
        let read = Token::read(&secrets(), &text).unwrap();
        assert_eq!(read.chain(), "chain-1");
        assert!(text.starts_with("prt_chain-1.") && text.len() == "prt_chain-1.".len() + 43 + 1 + 43);
        for (at, was) in text.char_indices() {
            let mut bent = text.clone();
            bent.replace_range(at..=at, if was == 'A' { "B" } else { "A" });
            assert!(Token::read(&secrets(), &bent).is_none(), "letter {at}");
        }
        let other = Secrets::single(Secret::from("another secret of thirty-two byte"));
        assert!(Token::read(&other, &text).is_none());
        for text in ["", "prt_", "prt_a", "prt_a.b", "a.b.c", "prt_..", "prt_é.é.é"] {
            assert!(Token::read(&secrets(), text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_successor_is_the_same_each_time_and_of_the_secret_that_made_it() {
        let token = || Token::first(secrets().current(), "c", [1; 32]);
        let next = |secret: &str| token().successor(&Secret::from(secret)).into_text();
        assert_eq!(next("x"), next("x"));
        assert_ne!(next("x"), next("y"));
        let second = token().successor(secrets().current());
        assert_ne!(second.hash(), token().hash());
        assert!(Token::read(&secrets(), &second.into_text()).is_some());
    }

    #[test]
    fn tokens_given_before_the_secret_changed_are_still_ours() {
        let old = Secret::from("0123456789abcdef0123456789abcdef");
        let text = Token::first(secrets().current(), "c", [1; 32]).into_text();
        let both = Secrets::versioned(vec![(2, Secret::from("a new one of thirty-two letters!"))], Some(old))
            .unwrap();
        assert!(Token::read(&both, &text).is_some());
    }
}
