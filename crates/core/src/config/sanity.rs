//! Settings that have the right type and still cannot stand: each is refused at start, by name, instead
//! of surprising somebody at a request.

use http::HeaderName;

use super::{ConfigError, CookieAttributes, Environment, PasswordHashSettings, Settings};
use crate::identity::{Account, Session, User, Verification};
use crate::store::Table;

/// Better Auth's cookies, by the key under which `advanced.cookies` knows them.
const COOKIES: &[&str] = &[
    "session_token",
    "session_data",
    "account_data",
    "dont_remember",
    "state",
    "oauth_state",
    "two_factor",
    "trust_device",
    "admin_session",
    "better-auth-passkey",
    "oauth_popup",
    "relay_state",
    "transfer_token",
];

/// The longest life of a cookie (RFC 6265bis: 400 days).
const LONGEST: i64 = 34_560_000;

fn refuse<T>(key: impl Into<String>, problem: impl Into<String>) -> Result<T, ConfigError> {
    Err(ConfigError::new(key, problem))
}

/// The nearest of some names, as an end of a sentence; empty when there is none at all.
pub fn nearest<'n>(name: &str, known: impl IntoIterator<Item = &'n str>) -> String {
    let distance = |known: &&str| strsim::damerau_levenshtein(&known.to_lowercase(), &name.to_lowercase());
    known
        .into_iter()
        .min_by_key(distance)
        .map(|known| format!("; did you mean `{known}`?"))
        .unwrap_or_default()
}

pub(super) fn check(settings: &Settings, environment: Environment, secure: bool) -> Result<(), ConfigError> {
    if let Some(path) = &settings.base_path
        && !path.chars().all(|c| c.is_ascii_alphanumeric() || "/-_.~".contains(c))
    {
        return refuse("basePath", "may have letters, digits and `/ - _ . ~` only");
    }
    cookies(settings, environment, secure)?;
    for name in settings.advanced.ip_address.ip_address_headers.iter().flatten() {
        if HeaderName::try_from(name.as_str()).is_err() {
            return refuse("advanced.ipAddress.ipAddressHeaders", format!("`{name}` is not a header's name"));
        }
    }
    for (key, seconds) in
        [("session.freshAge", settings.session.fresh_age), ("session.updateAge", settings.session.update_age)]
    {
        if seconds.is_some_and(|seconds| !(0..=LONGEST).contains(&seconds)) {
            return refuse(key, format!("must be seconds, from 0 to {LONGEST}"));
        }
    }
    if settings.session.cookie_cache.max_age.is_some_and(|seconds| seconds > LONGEST) {
        return refuse("session.cookieCache.maxAge", format!("must be at most {LONGEST} (400 days)"));
    }
    if settings.http.max_body_bytes == Some(0) {
        return refuse("http.maxBodyBytes", "is 0: no body could be sent; leave it out for 1 MiB");
    }
    password_hash(&settings.password_hash)?;
    for path in &settings.disabled_paths {
        if !path.starts_with('/') {
            return refuse("disabledPaths", format!("`{path}` must start with `/`, as in `/{path}`"));
        }
    }
    fields(settings)
}

fn cookies(settings: &Settings, environment: Environment, secure: bool) -> Result<(), ConfigError> {
    let advanced = &settings.advanced;
    // RFC 6265 §4.1.1: a cookie's name is a token.
    let token = |text: &str| {
        !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c))
    };
    if advanced.cookie_prefix.as_deref().is_some_and(|prefix| !token(prefix)) {
        return refuse("advanced.cookiePrefix", "may have letters, digits, `-`, `_` and `.` only");
    }
    if advanced.cross_sub_domain_cookies.domain.as_deref().is_some_and(|domain| !is_domain(domain)) {
        return refuse("advanced.crossSubDomainCookies.domain", "is not a domain name");
    }
    attributes("advanced.defaultCookieAttributes", &advanced.default_cookie_attributes, secure)?;
    for (name, cookie) in &advanced.cookies {
        let key = format!("advanced.cookies.{name}");
        // Upstream's test files name cookies of features that may be missing here.
        if !COOKIES.contains(&name.as_str()) && environment != Environment::Test {
            return refuse(key, format!("unknown cookie{}", nearest(name, COOKIES.iter().copied())));
        }
        if cookie.name.as_deref().is_some_and(|name| !token(name)) {
            return refuse(key + ".name", "may have letters, digits, `-`, `_` and `.` only");
        }
        attributes(&(key + ".attributes"), &cookie.attributes, secure)?;
    }
    Ok(())
}

fn is_domain(text: &str) -> bool {
    let name = text.strip_prefix('.').unwrap_or(text);
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-'))
}

fn attributes(key: &str, attributes: &CookieAttributes, secure: bool) -> Result<(), ConfigError> {
    if attributes.domain.as_deref().is_some_and(|domain| !is_domain(domain)) {
        return refuse(format!("{key}.domain"), "is not a domain name");
    }
    if attributes.path.as_deref().is_some_and(|path| {
        !path.starts_with('/') || path.contains(';') || path.chars().any(char::is_control)
    }) {
        return refuse(format!("{key}.path"), "must start with `/` and have no `;`");
    }
    match attributes.same_site.as_deref().map(str::to_ascii_lowercase).as_deref() {
        None | Some("lax" | "strict") => Ok(()),
        Some("none") if attributes.secure.unwrap_or(secure) => Ok(()),
        Some("none") => refuse(
            format!("{key}.sameSite"),
            "`none` needs `secure` cookies, or browsers drop them; use an https baseURL or advanced.useSecureCookies",
        ),
        Some(_) => refuse(format!("{key}.sameSite"), "must be `lax`, `strict` or `none`"),
    }
}

fn password_hash(settings: &PasswordHashSettings) -> Result<(), ConfigError> {
    let algorithm = settings.algorithm.as_deref().unwrap_or("argon2id");
    let options = [
        ("memoryKib", settings.memory_kib.is_some(), "argon2id"),
        ("time", settings.time.is_some(), "argon2id"),
        ("parallelism", settings.parallelism.is_some(), "argon2id"),
        ("cost", settings.cost.is_some(), "bcrypt"),
    ];
    for (option, present, owner) in options {
        if present && owner != algorithm {
            return refuse(
                format!("passwordHash.{option}"),
                format!("belongs to {owner}; the algorithm is {algorithm}"),
            );
        }
    }
    Ok(())
}

/// The operator's fields stand beside Better Auth's own and never in their place.
fn fields(settings: &Settings) -> Result<(), ConfigError> {
    let sections: [(Table, &super::AdditionalFields); 4] = [
        (User::table(), &settings.user.additional_fields),
        (Session::table(), &settings.session.additional_fields),
        (Account::table(), &settings.account.additional_fields),
        (Verification::table(), &settings.verification.additional_fields),
    ];
    for (table, additional) in &sections {
        for (name, _) in &additional.0 {
            if table.column(name).is_some() {
                let key = format!("{}.additionalFields.{name}", table.key);
                return refuse(key, "is one of Better Auth's own fields; give yours another name");
            }
        }
    }
    Ok(())
}
