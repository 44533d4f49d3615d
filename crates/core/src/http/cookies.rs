//! Cookies in and out, to the byte as Better Auth writes them.
//!
//! Handlers return [`Cookies`]; nothing is pushed into a shared bag. The order of attributes is
//! better-call 1.4's: `Max-Age; Domain; Path; HttpOnly; Secure; SameSite; Partitioned`.

use std::collections::HashSet;
use std::fmt::Write;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::config::{Config, CookieAttributes};
use crate::crypto::{Secret, decode_lenient, encode_uri_component, sign_value, verify_signed};

/// A serialized cookie above this many bytes is split; Safari's limit is about 4093 (better-auth
/// `cookies/session-store`).
const MAX_COOKIE_SIZE: usize = 4050;
/// So many names are looked through one by one.
const FEW: usize = 16;
/// A value that needs more pieces is not stored in cookies at all.
const MAX_CHUNKS: usize = 100;

/// Attributes of one cookie.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attributes {
    /// `Max-Age` in seconds; `None` = until the browser closes.
    pub max_age: Option<i64>,
    /// `Domain`.
    pub domain: Option<String>,
    /// `Path`.
    pub path: Option<String>,
    /// `HttpOnly`.
    pub http_only: bool,
    /// `Secure`.
    pub secure: bool,
    /// `Lax`, `Strict` or `None`.
    pub same_site: Option<String>,
    /// `Partitioned`.
    pub partitioned: bool,
}

impl Attributes {
    fn overlay(&mut self, over: &CookieAttributes) {
        if let Some(max_age) = over.max_age {
            self.max_age = Some(max_age);
        }
        if let Some(domain) = &over.domain {
            self.domain = Some(domain.clone());
        }
        if let Some(path) = &over.path {
            self.path = Some(path.clone());
        }
        if let Some(http_only) = over.http_only {
            self.http_only = http_only;
        }
        if let Some(secure) = over.secure {
            self.secure = secure;
        }
        if let Some(same_site) = &over.same_site {
            self.same_site = Some(capitalised(same_site));
        }
        if let Some(partitioned) = over.partitioned {
            self.partitioned = partitioned;
        }
    }
}

fn capitalised(word: &str) -> String {
    let lower = word.to_ascii_lowercase();
    let mut letters = lower.chars();
    letters.next().map_or_else(String::new, |first| first.to_ascii_uppercase().to_string() + letters.as_str())
}

/// A cookie of ours: its full name and attributes, fixed at start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CookieSpec {
    /// With prefix.
    pub name: String,
    /// Attributes.
    pub attributes: Attributes,
}

impl CookieSpec {
    /// The cookie of a key (`session_token`) under this configuration; `max_age` is the code's own
    /// default, which `advanced.cookies` may override.
    pub fn new(config: &Config, key: &str, max_age: Option<i64>) -> Self {
        Self::with(config, key, &CookieAttributes { max_age, ..CookieAttributes::default() })
    }

    /// The cookie of a key with the code's own attributes, which `advanced.cookies` may override.
    pub fn with(config: &Config, key: &str, own: &CookieAttributes) -> Self {
        let advanced = &config.settings.advanced;
        let custom = advanced.cookies.get(key);
        let prefix = advanced.cookie_prefix.as_deref().unwrap_or("better-auth");
        let base = custom.and_then(|c| c.name.clone()).unwrap_or_else(|| format!("{prefix}.{key}"));
        let name = if config.secure_cookies { format!("__Secure-{base}") } else { base };
        let mut attributes = Attributes {
            max_age: None,
            domain: config.cookie_domain.clone(),
            path: Some("/".into()),
            http_only: true,
            secure: config.secure_cookies,
            same_site: Some("Lax".into()),
            partitioned: false,
        };
        attributes.overlay(&advanced.default_cookie_attributes);
        attributes.overlay(own);
        if let Some(custom) = custom {
            attributes.overlay(&custom.attributes);
        }
        Self { name, attributes }
    }

    /// The same cookie under another name (`session_token_multi-…`).
    #[must_use]
    pub fn named(&self, name: impl Into<String>) -> Self {
        Self { name: name.into(), attributes: self.attributes.clone() }
    }

    /// The same cookie with another `Max-Age`.
    #[must_use]
    pub fn lasting(&self, max_age: Option<i64>) -> Self {
        let mut spec = self.clone();
        spec.attributes.max_age = max_age;
        spec
    }

    /// Sets it to a plain value.
    pub fn set(&self, value: &str) -> SetCookie {
        SetCookie {
            name: self.name.clone(),
            value: encode_uri_component(value),
            attributes: self.attributes.clone(),
            late: false,
        }
    }

    /// Sets it to a signed value.
    pub fn set_signed(&self, secret: &Secret, value: &str) -> SetCookie {
        self.set(&sign_value(secret, value))
    }
}

/// One `Set-Cookie`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetCookie {
    /// Name.
    pub name: String,
    /// Value as it goes over the wire (percent-encoded).
    pub value: String,
    /// Attributes.
    pub attributes: Attributes,
    /// Set by a seam: it stands behind the route's own, as what Better Auth's hooks add does.
    pub late: bool,
}

impl SetCookie {
    /// The header's value.
    pub fn header(&self) -> String {
        let mut out = format!("{}={}", self.name, self.value);
        let a = &self.attributes;
        // Writing to a String cannot fail.
        if let Some(max_age) = a.max_age {
            _ = write!(out, "; Max-Age={max_age}");
        }
        if let Some(domain) = &a.domain {
            _ = write!(out, "; Domain={domain}");
        }
        if let Some(path) = &a.path {
            _ = write!(out, "; Path={path}");
        }
        if a.http_only {
            out.push_str("; HttpOnly");
        }
        if a.secure {
            out.push_str("; Secure");
        }
        if let Some(same_site) = &a.same_site {
            _ = write!(out, "; SameSite={same_site}");
        }
        if a.partitioned {
            out.push_str("; Partitioned");
        }
        out
    }

    /// Does it end the cookie rather than set it?
    pub fn is_removal(&self) -> bool {
        self.value.is_empty() || self.attributes.max_age == Some(0)
    }
}

/// Cookies of an answer, in order, and the headers that go with them: what hands over a session.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cookies {
    set: Vec<SetCookie>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Cookies {
    /// None.
    pub const fn new() -> Self {
        Self { set: Vec::new(), headers: Vec::new() }
    }

    /// Adds a header.
    pub fn push_header(&mut self, name: HeaderName, value: HeaderValue) {
        self.headers.push((name, value));
    }

    /// The headers.
    pub fn headers(&self) -> &[(HeaderName, HeaderValue)] {
        &self.headers
    }

    /// Adds others, with their headers.
    pub fn extend(&mut self, other: Self) {
        self.set.extend(other.set);
        self.headers.extend(other.headers);
    }

    /// Adds one.
    pub fn push(&mut self, cookie: SetCookie) {
        self.set.push(cookie);
    }

    /// These and later ones; what those end is not sent before (better-auth 1.7.6 `/delete-user`).
    #[must_use]
    pub fn overtaken_by(mut self, later: Self) -> Self {
        let ended = |name: &str| later.set.iter().any(|other| other.name == name && other.is_removal());
        self.set.retain(|cookie| !ended(&cookie.name));
        self.extend(later);
        self
    }

    /// Ends a cookie, and takes back what this answer would have set under its name or a chunk of
    /// it, so that no valid value is on the wire beside its removal.
    pub fn expire(&mut self, spec: &CookieSpec) {
        let chunk = format!("{}.", spec.name);
        self.set.retain(|c| c.name != spec.name && !c.name.starts_with(&chunk));
        self.set.push(spec.lasting(Some(0)).set(""));
    }

    /// Sets a value that may need several cookies, and ends the chunks of an earlier one.
    pub fn set_chunked(&mut self, spec: &CookieSpec, value: &str, request: &RequestCookies) {
        let value = encode_uri_component(value);
        let longest_name = format!("{}.{}", spec.name, MAX_CHUNKS - 1);
        let overhead = spec.named(longest_name).set("").header().len();
        let room = MAX_COOKIE_SIZE.saturating_sub(overhead);
        let count = if room == 0 { usize::MAX } else { value.len().div_ceil(room) };
        let mut pieces: Vec<SetCookie> = Vec::new();
        if count <= 1 {
            pieces.push(SetCookie {
                name: spec.name.clone(),
                value,
                attributes: spec.attributes.clone(),
                late: false,
            });
        } else if count <= MAX_CHUNKS {
            // The value is base64url (or a JWS/JWE) and therefore ASCII: bytes are characters.
            for (index, piece) in value.as_bytes().chunks(room).enumerate() {
                pieces.push(SetCookie {
                    name: format!("{}.{index}", spec.name),
                    value: String::from_utf8_lossy(piece).into_owned(),
                    attributes: spec.attributes.clone(),
                    late: false,
                });
            }
        } else {
            tracing::warn!(cookie = %spec.name, "value too large for cookies, even in chunks; the cache is skipped");
        }
        // Earlier chunks: replaced where a new one has the name, ended otherwise.
        let mut out: Vec<SetCookie> = request
            .chunk_names(&spec.name)
            .into_iter()
            .map(|name| spec.named(name).lasting(Some(0)).set(""))
            .collect();
        for piece in pieces {
            match out.iter_mut().find(|c| c.name == piece.name) {
                Some(old) => *old = piece,
                None => out.push(piece),
            }
        }
        self.set.extend(out);
    }

    /// Ends the chunks (and the whole) that the request carries.
    pub fn clean(&mut self, spec: &CookieSpec, request: &RequestCookies) {
        for name in request.chunk_names(&spec.name) {
            self.set.push(spec.named(name).lasting(Some(0)).set(""));
        }
    }

    /// The last cookie set under a name.
    pub fn last(&self, name: &str) -> Option<&SetCookie> {
        self.set.iter().rev().find(|c| c.name == name)
    }

    /// All of them, as they are sent: those of seams last.
    pub fn iter(&self) -> impl Iterator<Item = &SetCookie> {
        let late = |late: bool| self.set.iter().filter(move |cookie| cookie.late == late);
        late(false).chain(late(true))
    }

    /// The same, to be sent behind the route's own.
    #[must_use]
    pub fn late(mut self) -> Self {
        self.set.iter_mut().for_each(|cookie| cookie.late = true);
        self
    }
}

/// The cookies that a request carries; of two with one name the first counts (better-call).
#[derive(Debug, Clone, Default)]
pub struct RequestCookies(Vec<(String, String)>);

impl RequestCookies {
    /// Reads the `Cookie` headers. What is not `name=value` is passed over.
    pub fn parse(headers: &HeaderMap) -> Self {
        let mut all: Vec<(String, String)> = Vec::new();
        // A header holds thousands of cookies: to look for each among all would buy seconds for little.
        let mut known: HashSet<String> = HashSet::new();
        let mut is_new = |all: &[(String, String)], name: &str| match all.len() {
            0..FEW => all.iter().all(|(known, _)| known != name),
            FEW if known.is_empty() => {
                known.extend(all.iter().map(|(name, _)| name.clone()));
                known.insert(name.to_owned())
            }
            _ => !known.contains(name) && known.insert(name.to_owned()),
        };
        for header in headers.get_all(http::header::COOKIE) {
            let text = String::from_utf8_lossy(header.as_bytes());
            for part in text.split(';') {
                let Some((name, value)) = part.split_once('=') else { continue };
                let (name, value) = (name.trim(), value.trim());
                let value = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(value);
                if !name.is_empty() && is_new(&all, name) {
                    all.push((name.to_owned(), decode_lenient(value)));
                }
            }
        }
        Self(all)
    }

    /// The decoded value.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The value of a signed cookie whose signature is right.
    pub fn signed(&self, spec: &CookieSpec, secret: &Secret) -> Option<&str> {
        verify_signed(secret, self.get(&spec.name)?)
    }

    /// Replaces or adds a cookie: another way to present a session (bearer).
    pub fn put(&mut self, name: &str, value: String) {
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some(slot) => slot.1 = value,
            None => self.0.push((name.to_owned(), value)),
        }
    }

    /// A value that may be in chunks: the whole cookie, else `name.0`, `name.1`, … in number order.
    pub fn chunked(&self, name: &str) -> Option<String> {
        if let Some(whole) = self.get(name).filter(|value| !value.is_empty()) {
            return Some(whole.to_owned());
        }
        let mut chunks: Vec<(u32, &str)> = self
            .0
            .iter()
            .filter_map(|(known, value)| Some((chunk_index(name, known)?, value.as_str())))
            .collect();
        if chunks.is_empty() {
            return None;
        }
        chunks.sort_by_key(|(index, _)| *index);
        Some(chunks.into_iter().map(|(_, value)| value).collect())
    }

    fn chunk_names(&self, name: &str) -> Vec<String> {
        self.0
            .iter()
            .filter(|(known, _)| known == name || chunk_index(name, known).is_some())
            .map(|(known, _)| known.clone())
            .collect()
    }

    /// All names and values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Does the request carry none?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// `name.7` → 7; `name.07` and `name.x` are not chunks.
fn chunk_index(name: &str, candidate: &str) -> Option<u32> {
    let suffix = candidate.strip_prefix(name)?.strip_prefix('.')?;
    let index: u32 = suffix.parse().ok()?;
    (index.to_string() == suffix).then_some(index)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(cookie: &str) -> RequestCookies {
        let mut headers = HeaderMap::new();
        headers.insert(http::header::COOKIE, cookie.parse().unwrap());
        RequestCookies::parse(&headers)
    }

    fn spec() -> CookieSpec {
        let attributes = Attributes {
            max_age: Some(300),
            path: Some("/".into()),
            http_only: true,
            same_site: Some("Lax".into()),
            ..Attributes::default()
        };
        CookieSpec { name: "better-auth.session_data".into(), attributes }
    }

    #[test]
    fn attributes_come_in_better_calls_order() {
        let mut all = spec();
        all.attributes.domain = Some("example.com".into());
        all.attributes.secure = true;
        all.attributes.partitioned = true;
        assert_eq!(
            all.set("a b").header(),
            "better-auth.session_data=a%20b; Max-Age=300; Domain=example.com; Path=/; HttpOnly; Secure; SameSite=Lax; Partitioned"
        );
    }

    #[test]
    fn the_first_of_two_cookies_with_one_name_counts() {
        let cookies = request("a=1; a=2;b=\"x%2Fy\"; broken; =v");
        assert_eq!(cookies.get("a"), Some("1"));
        assert_eq!(cookies.get("b"), Some("x/y"));
        assert_eq!(cookies.get(""), None);
    }

    #[test]
    fn a_long_value_is_split_and_joined_again() {
        let value: String = ('a'..='z').cycle().take(9000).collect();
        let mut set = Cookies::new();
        set.set_chunked(&spec(), &value, &RequestCookies::default());
        assert_eq!(set.iter().count(), 3);
        assert!(set.iter().all(|c| c.header().len() <= MAX_COOKIE_SIZE));
        let header: Vec<String> = set.iter().rev_names();
        assert_eq!(request(&header.join("; ")).chunked("better-auth.session_data").unwrap(), value);
    }

    trait RevNames {
        fn rev_names(self) -> Vec<String>;
    }
    impl<'a, I: Iterator<Item = &'a SetCookie>> RevNames for I {
        fn rev_names(self) -> Vec<String> {
            let mut all: Vec<String> = self.map(|c| format!("{}={}", c.name, c.value)).collect();
            all.reverse();
            all
        }
    }

    #[test]
    fn a_shorter_value_ends_the_chunks_of_the_longer_one() {
        let before = request(
            "better-auth.session_data.0=x; better-auth.session_data.1=y; better-auth.session_data.01=z",
        );
        let mut set = Cookies::new();
        set.set_chunked(&spec(), "short", &before);
        let names: Vec<(&str, bool)> = set.iter().map(|c| (c.name.as_str(), c.is_removal())).collect();
        assert_eq!(
            names,
            [
                ("better-auth.session_data.0", true),
                ("better-auth.session_data.1", true),
                ("better-auth.session_data", false)
            ]
        );
    }

    #[test]
    fn expiring_takes_back_what_was_set_before() {
        let mut set = Cookies::new();
        set.push(spec().set("secret"));
        set.push(spec().named("better-auth.session_data.0").set("secret"));
        set.expire(&spec());
        assert_eq!(set.iter().count(), 1);
        assert!(set.iter().all(SetCookie::is_removal));
    }

    #[test]
    fn of_many_cookies_of_one_name_the_first_counts_however_many_names_there_are() {
        for names in 0..40 {
            let first: Vec<String> = (0..names).map(|number| format!("n{number}=first")).collect();
            let again = (0..names).map(|number| format!("n{number}=again"));
            let all: Vec<String> = first.iter().cloned().chain(again).chain(["last=1".to_owned()]).collect();
            let read = request(&all.join("; "));
            assert_eq!(read.iter().count(), names + 1);
            assert!(read.iter().all(|(name, value)| value == if name == "last" { "1" } else { "first" }));
        }
    }
}
