//! What must hold for any bytes from the network, as functions of bytes: the targets of `fuzz/` call
//! them, and a test feeds them every file of the kept corpus. Each asserts what it knows to be true of
//! the outcome, not only that nothing panics.

use std::net::IpAddr;
use std::sync::OnceLock;

use axum::Router;
use axum::body::Body;
use http::header::{AUTHORIZATION, COOKIE, HOST};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use serde_json::{Map, Value as Json, json};
use tokio::runtime::Runtime;
use tower::ServiceExt;
use url::Url;

use crate::auth::{Auth, AuthBuilder};
use crate::clock::{Clock, Timestamp};
use crate::config::{Config, Environment, read};
use crate::crypto::{
    Algorithm, KeyPair, Random, Secret, Secrets, decode_lenient, decode_uri_component, encode_uri_component,
    jwe_decrypt, jwe_encrypt, peek, sign_hs256, sign_value, verify_hs256, verify_jwt, verify_signed,
};
use crate::error::{Error, VALIDATION_ERROR};
use crate::feature::Feature;
use crate::http::body::{self, is_email};
use crate::http::rate_limit::counted_path;
use crate::http::{
    Answer, Call, ClientIp, CookieSpec, Cookies, Fields, FromFields, Request, RequestCookies, Routes, origin,
    routes,
};
use crate::identity::{Action, How, parse_input, read_session, to_json};
use crate::store::{Column, Table};

/// A target: its name, which is the folder of its corpus, and the function.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: &[Target] = &[
    ("bodies", bodies),
    ("cookies", cookies),
    ("forwarded", forwarded),
    ("origins", origins),
    ("paths", paths),
    ("sessions", sessions),
    ("tokens", tokens),
];

const SECRET: &str = "q8Zr0xN1vKp5sTy7uWb3cDe9fGh2jLm4";
const NOW: Timestamp = Timestamp::from_millis(1_790_000_000_000);

fn config(settings: Json) -> Config {
    let mut all = json!({ "secret": SECRET, "baseURL": "https://auth.example.com" });
    if let (Json::Object(all), Json::Object(settings)) = (&mut all, settings) {
        all.extend(settings);
    }
    let settings = read("", all).expect("the target's settings");
    Config::check(settings, Environment::Production).expect("the target's settings")
}

/// Two paths, one with a parameter; and a table with a column of every kind.
struct TwoRoutes;

const KINDS: &str = "kinds";

const ROUTES: [&str; 2] = ["/sign-in/email", "/reset-password/{token}"];

impl Feature for TwoRoutes {
    fn id(&self) -> &'static str {
        "two-routes"
    }

    fn tables(&self) -> Vec<Table> {
        let columns = vec![
            Column::id(),
            Column::text("text"),
            Column::bool("yes"),
            Column::int("int"),
            Column::bigint("big"),
            Column::time("time"),
            Column::json("json"),
            Column::text_list("texts"),
            Column::int_list("ints"),
            Column::text("hidden").no_input(),
        ];
        vec![Table::new(KINDS, columns)]
    }

    fn routes(&self) -> Routes {
        let here = |_: Call| async { Ok::<_, Error>(Answer::value(json!({}))) };
        Routes::new().get(ROUTES[0], here).get(ROUTES[1], here)
    }
}

struct App {
    runtime: Runtime,
    auth: Auth,
    router: Router,
}

fn app(settings: Json) -> App {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut all = json!({
        "secret": SECRET, "baseURL": "https://auth.example.com", "database": { "url": "sqlite::memory:" },
    });
    if let (Json::Object(all), Json::Object(settings)) = (&mut all, settings) {
        all.extend(settings);
    }
    let builder = AuthBuilder::new(&[]).settings(read("", all).expect("the target's settings"));
    let builder = builder.feature(TwoRoutes).clock(Clock::fixed(NOW)).random(Random::seeded(7));
    let auth = runtime.block_on(builder.build()).expect("the target's app");
    let router = auth.service();
    App { runtime, auth, router }
}

/// Cookie headers, signed cookies, chunks; and that what we set is what we read.
pub fn cookies(data: &[u8]) {
    static CONFIG: OnceLock<Config> = OnceLock::new();
    let config = CONFIG.get_or_init(|| config(json!({})));
    let spec = CookieSpec::new(config, "session_token", Some(60));
    let secret = config.secrets.current();

    if let Ok(value) = HeaderValue::from_bytes(data) {
        let mut headers = HeaderMap::new();
        headers.insert(COOKIE, value);
        let read = RequestCookies::parse(&headers);
        let mut seen = std::collections::HashSet::new();
        for (name, value) in read.iter() {
            assert!(!name.is_empty() && !name.contains(['=', ';']) && name.trim() == name, "{name:?}");
            assert!(seen.insert(name.to_owned()), "{name:?} stands there twice");
            assert_eq!(read.get(name), Some(value));
            let of = spec.named(name);
            if let Some(good) = read.signed(&of, secret) {
                assert_eq!(value, sign_value(secret, good));
            }
            let mut again = Cookies::new();
            again.set_chunked(&of, "x", &read);
            for cookie in again.iter() {
                assert!(HeaderValue::from_str(&cookie.header()).is_ok(), "{name:?}");
            }
        }
    }

    let text = String::from_utf8_lossy(data);
    let cookie = spec.set(&text).header();
    assert!(HeaderValue::from_str(&cookie).is_ok() && cookie.is_ascii(), "{cookie:?}");
    let pair = cookie.split(';').next().expect("a first part");
    let mut headers = HeaderMap::new();
    headers.insert(COOKIE, HeaderValue::from_str(pair).expect("a header"));
    assert_eq!(RequestCookies::parse(&headers).get(&spec.name), Some(&*text));
    let signed = RequestCookies::parse(&{
        let mut headers = HeaderMap::new();
        let cookie = spec.set_signed(secret, &text).header();
        let pair = cookie.split(';').next().expect("a first part");
        headers.insert(COOKIE, HeaderValue::from_str(pair).expect("a header"));
        headers
    });
    let expected = (!text.is_empty()).then_some(&*text);
    assert_eq!(signed.signed(&spec, secret), expected);

    assert_eq!(decode_uri_component(&encode_uri_component(&text)).as_deref(), Some(&*text));
    decode_lenient(&text);
}

/// A body with every kind of field.
struct EveryKind(Map<String, Json>, Option<String>);

impl FromFields for EveryKind {
    const FIELDS: &'static [(&'static str, &'static str)] = &[("email", "email")];
    fn from_fields(fields: &mut Fields) -> Self {
        fields.string("name");
        let email = fields.email("email");
        fields.nonempty("password");
        fields.optional_string("image");
        fields.optional_bool("rememberMe");
        fields.optional_one_of("method", &["totp", "otp"]);
        fields.truthy("yes");
        fields.raw("any");
        Self(fields.rest(&[]), Some(email))
    }
}

/// JSON bodies, queries, and the operator's own fields of every kind.
pub fn bodies(data: &[u8]) {
    static APP: OnceLock<App> = OnceLock::new();
    let App { runtime, auth, .. } = APP.get_or_init(|| app(json!({})));
    let table = auth.table(KINDS);
    let parsed_fields =
        |map: &Map<String, Json>, action| runtime.block_on(parse_input(auth, KINDS, &["id"], map, action));
    let text = String::from_utf8_lossy(data);
    let query = routes::query(&text);
    let mut pairs = url::form_urlencoded::Serializer::new(String::new());
    for (name, value) in &query {
        for one in value.as_array().map_or_else(|| std::slice::from_ref(value), Vec::as_slice) {
            pairs.append_pair(name, one.as_str().expect("a query has texts"));
        }
    }
    assert_eq!(routes::query(&pairs.finish()), query);

    let parsed: Option<Json> = serde_json::from_str(&text).ok();
    for value in [parsed, Some(Json::Object(query))].into_iter().flatten() {
        match body::read::<EveryKind>("body", Some(&value)) {
            Ok(EveryKind(all, email)) => {
                assert_eq!(Json::Object(all), value);
                let email = email.expect("an address");
                assert!(is_email(&email) && email.is_ascii() && email.matches('@').count() == 1, "{email:?}");
            }
            Err(error) => {
                assert_eq!(error.code().map(|code| &code.code), Some(&VALIDATION_ERROR.code));
            }
        }
        let Json::Object(map) = value else { continue };
        for action in [Action::Create, Action::Update] {
            let Ok(row) = parsed_fields(&map, action) else { continue };
            assert!(!row.contains("hidden") || action == Action::Create);
            // What is shown of it can be written again and is the same.
            let shown = to_json(table, row.clone(), false);
            let again = parsed_fields(&shown, action).expect("what was taken is taken again");
            assert_eq!(to_json(table, again, false), shown);
        }
    }
}

/// Tokens of every make: nobody can forge one, and one changed letter is noticed.
pub fn tokens(data: &[u8]) {
    static KEY: OnceLock<(Secrets, KeyPair, Random)> = OnceLock::new();
    let (secrets, key, random) = KEY.get_or_init(|| {
        let versions =
            vec![(2, Secret::from(SECRET)), (1, Secret::from("an older secret of thirty-two letters"))];
        let secrets = Secrets::versioned(versions, Some(Secret::from("the legacy secret of thirty-two!!")));
        let key = KeyPair::generate(Algorithm::EdDSA, None).expect("a key");
        (secrets.expect("secrets"), key, Random::seeded(7))
    });
    let secret = secrets.current();
    let text = String::from_utf8_lossy(data);
    if let Some(value) = verify_signed(secret, &text) {
        assert_eq!(sign_value(secret, value), text);
    }
    assert_eq!(verify_hs256(secret, &text, NOW), None, "forged");
    assert_eq!(jwe_decrypt(secrets, "salt", &text, NOW), None, "forged");
    assert_eq!(verify_jwt(Algorithm::EdDSA, &key.public_jwk(), &text), None, "forged");
    assert!(secrets.open(&text).is_err(), "forged");
    peek(&text);
    Secrets::looks_sealed(&text);
    // An algorithm that the token chooses, over claims that it chooses.
    for alg in ["none", "HS256", "EdDSA", "dir", ""] {
        let head = crate::crypto::base64url(json!({ "alg": alg }).to_string().as_bytes());
        let body = crate::crypto::base64url(data);
        for token in
            [format!("{head}.{body}."), format!("{head}.{body}.{text}"), format!("{head}..{body}.{text}.")]
        {
            assert_eq!(verify_hs256(secret, &token, NOW), None);
            assert_eq!(jwe_decrypt(secrets, "salt", &token, NOW), None);
            assert_eq!(verify_jwt(Algorithm::EdDSA, &key.public_jwk(), &token), None);
        }
    }

    // Ours, with one letter changed where the data says.
    let mut claims = Map::new();
    claims.insert("text".into(), Json::from(&*text));
    let signed = sign_hs256(secret, &claims, NOW, 60).expect("signing");
    let sealed = jwe_encrypt(secrets, "salt", &claims, NOW, 60, random).expect("sealing");
    let envelope = secrets.seal(random, &text).expect("sealing");
    let said = |found: Option<Map<String, Json>>| found.and_then(|map| map.get("text").cloned());
    assert_eq!(said(verify_hs256(secret, &signed, NOW)), Some(Json::from(&*text)));
    assert_eq!(said(jwe_decrypt(secrets, "salt", &sealed, NOW)), Some(Json::from(&*text)));
    assert_eq!(secrets.open(&envelope).ok().as_deref(), Some(&*text));
    let place = data.iter().fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(*byte)));
    let changed = |token: &str| {
        let at = place % token.len();
        let mut bytes = token.as_bytes().to_vec();
        let byte = bytes.get_mut(at).expect("within");
        *byte = if *byte == b'A' { b'B' } else { b'A' };
        String::from_utf8(bytes).expect("ASCII")
    };
    assert_eq!(verify_hs256(secret, &changed(&signed), NOW), None);
    assert_eq!(jwe_decrypt(secrets, "salt", &changed(&sealed), NOW), None);
    // Hexadecimal digits have two cases: only what means another byte is another value.
    if changed(&envelope).to_lowercase() != envelope.to_lowercase() {
        assert!(secrets.open(&changed(&envelope)).is_err());
    }
}

/// A whole request with a good signature over a session that is not there, and any cookie cache beside
/// it: in none of its three forms is a cache believed that we did not write, nor any other cookie or
/// header.
pub fn sessions(data: &[u8]) {
    // One app for each form of the cache.
    static APPS: OnceLock<Vec<App>> = OnceLock::new();
    let apps = APPS.get_or_init(|| {
        let strategies = ["compact", "jwt", "jwe"];
        let settings = |strategy: &str| json!({ "session": { "cookieCache": { "enabled": true, "strategy": strategy } } });
        strategies.into_iter().map(|strategy| app(settings(strategy))).collect()
    });
    let text = String::from_utf8_lossy(data);
    for app in apps {
        let names = app.auth.cookies();
        let secret = app.auth.config().secrets.current();
        let token = encode_uri_component(&sign_value(secret, "someone-elses-token"));
        let good = format!("{}={token}", names.session_token.name);
        let data_name = &names.session_data.name;
        let whole = format!("{good}; {data_name}={}", encode_uri_component(&text));
        for (cookie, authorization) in [
            (Some(data.to_vec()), Some(data.to_vec())),
            (Some([good.as_bytes(), b"; ", data_name.as_bytes(), b"=", data].concat()), None),
            (Some(whole.into_bytes()), None),
        ] {
            let mut request =
                http::Request::builder().uri("/api/auth/get-session").header(HOST, "auth.example.com");
            for (name, value) in [(COOKIE, cookie), (AUTHORIZATION, authorization)] {
                if let Some(value) = value.and_then(|value| HeaderValue::from_bytes(&value).ok()) {
                    request = request.header(name, value);
                }
            }
            let (parts, ()) = request.body(()).expect("a request").into_parts();
            let request = Request::of_parts(&app.auth, parts);
            let reading = app.runtime.block_on(read_session(&request, How::default())).expect("no failure");
            assert!(reading.found.is_none(), "somebody is signed in by {text:?}");
            for cookie in reading.cookies.iter() {
                assert!(HeaderValue::from_str(&cookie.header()).is_ok());
                assert!(cookie.is_removal(), "a stranger is given {:?}", cookie.name);
            }
        }
    }
}

/// What a browser makes of a URL that a page on `base` is sent to.
fn resolved(base: &str, url: &str) -> Option<Url> {
    Url::parse(base).ok()?.join(url).ok()
}

/// Origins, `trustedOrigins` and callback URLs: whatever is accepted is, by the WHATWG parser, where the
/// pattern says.
pub fn origins(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let url: &str = &text;
    type Holds = fn(&Url) -> bool;
    let web = |url: &Url| matches!(url.scheme(), "http" | "https");
    let patterns: [(&str, Holds); 7] = [
        ("https://app.example.com", |url| url.origin().ascii_serialization() == "https://app.example.com"),
        ("https://*.example.org", |url| {
            url.scheme() == "https"
                && url.port().is_none()
                && url.host_str().is_some_and(|host| host.ends_with(".example.org"))
        }),
        ("http://localhost:*", |url| url.scheme() == "http" && url.host_str() == Some("localhost")),
        ("*.wild.example:3000", |url| {
            url.port() == Some(3000) && url.host_str().is_some_and(|host| host.ends_with(".wild.example"))
        }),
        ("10.*", |url| matches!(url.host(), Some(url::Host::Ipv4(ip)) if ip.octets().first() == Some(&10))),
        ("https://preview-?.example.net", |url| {
            url.host_str().is_some_and(|host| host.len() == "preview-x.example.net".len())
        }),
        ("http://[::1]:3000", |url| url.origin().ascii_serialization() == "http://[::1]:3000"),
    ];
    for (pattern, holds) in patterns {
        // An `Origin` header: never relative.
        if origin::matches(url, pattern, false) {
            let parsed = Url::parse(url).expect("what is trusted can be parsed");
            assert!(web(&parsed) && holds(&parsed), "{url:?} for {pattern}");
        }
        // A callback URL: as a browser resolves it, from a page of ours.
        if origin::matches(url, pattern, true) {
            for base in ["https://auth.example.com/api/auth/callback", "http://auth.example.com"] {
                let there = resolved(base, url).expect("what is trusted can be resolved");
                let ours = there.host_str() == Some("auth.example.com");
                assert!(web(&there) && (ours || holds(&there)), "{url:?} for {pattern} leads to {there}");
            }
        }
    }
    // A scheme of an app's own: scheme, authority and path stay.
    if origin::matches(url, "myapp://cb/in", false) {
        let lower = url.to_ascii_lowercase();
        assert!(lower.starts_with("myapp:"), "{url:?}");
        if let Ok(parsed) = Url::parse(url) {
            // A host of a scheme of an app's own keeps its case, and is the same to the app.
            let host = parsed.host_str().map(str::to_ascii_lowercase);
            let path = percent_encoding::percent_decode_str(parsed.path()).decode_utf8_lossy().into_owned();
            let first = path.split('/').find(|part| !part.is_empty() && *part != ".");
            assert!(host.as_deref() == Some("cb") && first == Some("in"), "{url:?} is {parsed}");
        }
    }
    if origin::is_safe_relative(url) {
        let there = resolved("https://a.example/b/c", url).expect("a path");
        assert_eq!(there.origin().ascii_serialization(), "https://a.example");
        // Once more decoded by some proxy, it is still a path.
        if let Some(decoded) = decode_uri_component(url) {
            let path = decoded.split(['?', '#']).next().unwrap_or_default();
            assert!(!path.starts_with("//") && !path.starts_with("/\\"), "{url:?}");
        }
    }
    // A pattern of any kind neither panics nor takes forever, and matches itself without wildcards.
    if let Some((pattern, url)) = text.split_once('\n') {
        origin::matches(url, pattern, true);
        if !pattern.contains(['*', '?']) {
            assert!(origin::wildcard(pattern, pattern));
        }
    }
}

/// Forwarded headers: an address is in its one form, and none of a proxy's.
pub fn forwarded(data: &[u8]) {
    static CLIENTS: OnceLock<Vec<(ClientIp, u8, bool)>> = OnceLock::new();
    let clients = CLIENTS.get_or_init(|| {
        let mut all = Vec::new();
        for subnet in [0_u8, 32, 48, 64, 65, 127, 128] {
            for proxies in [json!([]), json!(["10.0.0.0/8", "fd00::/8", "192.0.2.1"])] {
                let proxied = proxies != json!([]);
                let ip = json!({ "ipAddress": { "ipv6Subnet": subnet, "trustedProxies": proxies } });
                let config = config(json!({ "advanced": ip }));
                all.push((ClientIp::new(&config).expect("the target's settings"), subnet, proxied));
            }
        }
        all
    });
    let mut headers = HeaderMap::new();
    // Several lines are several headers.
    for line in data.split(|byte| *byte == b'\n') {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append("x-forwarded-for", value);
        }
    }
    for (client, subnet, proxied) in clients {
        let Some(found) = client.find(&headers) else { continue };
        let ip: IpAddr = found.parse().expect("an address");
        match ip {
            IpAddr::V4(v4) => {
                assert_eq!(v4.to_string(), found);
                let octets = v4.octets();
                assert!(
                    !proxied || octets.first() != Some(&10) && octets != [192, 0, 2, 1],
                    "{found} is a proxy"
                );
            }
            IpAddr::V6(v6) => {
                let rest = if *subnet >= 128 { 0 } else { u128::MAX >> subnet };
                assert_eq!(u128::from(v6) & rest, 0, "{found} is masked to /{subnet}");
                assert!(found.len() == 39 && found == found.to_lowercase());
                let private = v6.segments().first().is_some_and(|first| first >> 8 == 0xfd);
                assert!(!proxied || !private, "{found} is a proxy");
            }
        }
        if !proxied {
            let mut again = HeaderMap::new();
            again.insert("x-forwarded-for", HeaderValue::from_str(&found).expect("a header"));
            assert_eq!(client.find(&again).as_deref(), Some(&*found), "one client has one name");
        }
    }
}

/// Paths: whatever reaches a route is counted under its name, and nothing reaches a disabled one.
pub fn paths(data: &[u8]) {
    static APPS: OnceLock<Vec<(App, bool)>> = OnceLock::new();
    let apps = APPS.get_or_init(|| {
        let mut all = Vec::new();
        for skip in [false, true] {
            for disabled in [json!([]), json!(ROUTES)] {
                let off = disabled != json!([]);
                let settings =
                    json!({ "disabledPaths": disabled, "advanced": { "skipTrailingSlashes": skip } });
                all.push((app(settings), off));
            }
        }
        all
    });
    let text = String::from_utf8_lossy(data);
    for path in [text.clone().into_owned(), format!("/api/auth{text}"), format!("/api/auth/{text}")] {
        let counted = counted_path("/api/auth", &path);
        assert!(counted.starts_with('/') && !counted.contains("//"), "{counted:?}");
        assert!(counted.len() == 1 || !counted.ends_with('/'), "{counted:?}");
        assert_eq!(counted_path("", &counted), counted, "one path has one name");

        let Ok(uri) = path.parse::<Uri>() else { continue };
        for (app, off) in apps {
            let request = http::Request::builder().method(Method::GET).uri(uri.clone());
            let request = request.body(Body::empty()).expect("a request");
            let response = app.runtime.block_on(app.router.clone().oneshot(request)).expect("infallible");
            if response.status() == StatusCode::NOT_FOUND {
                continue;
            }
            assert_eq!(response.status(), StatusCode::OK, "{path:?}");
            assert!(!off, "{path:?} reaches what is disabled");
            let counted = counted_path("/api/auth", uri.path());
            let token = counted.strip_prefix("/reset-password/");
            assert!(
                counted == "/sign-in/email" || token.is_some_and(|token| !token.contains('/')),
                "{path:?} is counted as {counted:?}"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Found by fuzzing or written as seeds: none of them may ever come back.
    #[test]
    fn every_file_of_the_kept_corpus_holds_what_its_target_asserts() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
        for (name, target) in TARGETS {
            let mut files: Vec<_> = std::fs::read_dir(corpus.join(name))
                .unwrap_or_else(|error| panic!("fuzz/corpus/{name}: {error}"))
                .map(|entry| entry.unwrap().path())
                .collect();
            files.sort();
            assert!(files.len() >= 5, "fuzz/corpus/{name} has {} files", files.len());
            for file in files {
                let data = std::fs::read(&file).unwrap();
                let held = std::panic::catch_unwind(|| target(&data));
                assert!(held.is_ok(), "{}", file.display());
            }
        }
    }
}
