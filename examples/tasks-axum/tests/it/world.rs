//! A server on a port of its own, people who use it, and somebody with its keys.

use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use portcullis::Auth;
use portcullis::clock::{Clock, Timestamp};
use portcullis::features::jwt::Jwt;
use portcullis::store::Dialect;
use portcullis::testing::databases::fresh_database;
use reqwest::Method;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use sqlx::Connection as _;
use tasks_axum::config::Config;
use tasks_axum::{Clocks, Server};
use tokio::sync::oneshot;
use tower::ServiceExt as _;
use tracing_subscriber::filter::LevelFilter;

/// When the clocks begin, in seconds.
pub const START: i64 = 1_790_000_000;
const SECRET: &str = "q8Zr0xN1vKp5sTy7uWb3cDe9fGh2jLm4";
const PASSWORD: &str = "correct horse battery";

/// Runs each test with SQLite and with PostgreSQL.
macro_rules! on_both {
    ($($test:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test]
            async fn $test() {
                super::$test($crate::world::World::sqlite().await).await;
            })+
        }
        mod postgres {
            $(#[tokio::test]
            async fn $test() {
                // Without PostgreSQL on this machine it says so; with `CI=true` it fails.
                if let Some(world) = $crate::world::World::postgres().await {
                    super::$test(world).await;
                }
            })+
        }
    };
}
pub(crate) use on_both;

/// Somebody who has signed up.
#[derive(Debug, Clone)]
pub struct Person {
    pub id: String,
    pub email: String,
    pub cookie: String,
    pub token: String,
}

/// What came back.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The body, if the status is this.
    #[track_caller]
    pub fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        if self.text.is_empty() { Value::Null } else { self.json() }
    }

    /// A refusal with this text.
    #[track_caller]
    pub fn refused(&self, status: u16, detail: &str) {
        assert_eq!(self.expect(status), json!({ "detail": detail }));
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }
}

pub struct World {
    pub base: String,
    pub config: Config,
    http: reqwest::Client,
    server: Clock,
    verifier: portcullis_verify::Clock,
    _stop: oneshot::Sender<()>,
    _folder: tempfile::TempDir,
}

impl World {
    pub async fn sqlite() -> Self {
        Self::with(&[]).await
    }

    /// With SQLite, and these variables of the environment.
    pub async fn with(variables: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("tasks.db").display());
        Self::start(url, folder, variables).await
    }

    pub async fn postgres() -> Option<Self> {
        let url = fresh_database(Dialect::Postgres).await?;
        Some(Self::start(url, tempfile::tempdir().unwrap(), &[]).await)
    }

    #[expect(clippy::disallowed_methods, reason = "tests talk to a server of their own, on this machine")]
    async fn start(database_url: String, folder: tempfile::TempDir, more: &[(&str, &str)]) -> Self {
        // Shown with a test that fails.
        let log = tracing_subscriber::fmt().with_max_level(LevelFilter::WARN).with_test_writer();
        let _ = log.try_init();
        let variables = [
            ("DATABASE_URL", database_url.as_str()),
            ("BETTER_AUTH_SECRET", SECRET),
            ("FRONTEND_ORIGINS", "https://app.example"),
            ("PORT", "0"),
        ];
        let find = |name: &str| variables.iter().chain(more).find(|(one, _)| *one == name);
        let config = Config::read(|name| find(name).map(|(_, value)| (*value).to_owned())).unwrap();
        // Time stands still until a test moves it.
        let server = Clock::fixed(Timestamp::from_millis(START * 1000));
        let verifier = portcullis_verify::Clock::manual(START as u64);
        let clocks = Clocks { server: server.clone(), verifier: verifier.clone() };
        let started = Server::start(&config, clocks).await.unwrap();
        let base = format!("http://localhost:{}", started.address().port());
        // The key pair is made before anybody comes: the clock of the verifier stands still, so a fetch that
        // came too early would never be tried again.
        let first = Request::get("/jwks").body(Body::empty()).unwrap();
        let first = started.auth().router::<()>().oneshot(first).await.unwrap();
        assert_eq!(first.status(), if config.jwt_secret.is_some() { 404 } else { 200 });
        let (stop, stopped) = oneshot::channel();
        tokio::spawn(started.run(async move { drop(stopped.await) }));
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { base, config, http, server, verifier, _stop: stop, _folder: folder }
    }

    pub fn advance(&self, seconds: u64) {
        self.server.advance(Duration::from_secs(seconds));
        self.verifier.advance(Duration::from_secs(seconds));
    }

    /// A request with whatever headers and body.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<reqwest::Body>,
    ) -> Reply {
        let mut request = self.http.request(method, format!("{}{path}", self.base)).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.send().await.unwrap();
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        Reply { status, headers, text: answer.text().await.unwrap() }
    }

    /// A request to the API.
    pub async fn call(&self, token: &str, method: Method, path: &str, body: Option<Value>) -> Reply {
        let bearer = format!("Bearer {token}");
        let mut headers = vec![("authorization", bearer.as_str())];
        if body.is_some() {
            headers.push(("content-type", "application/json"));
        }
        self.send(method, path, &headers, body.map(|body| body.to_string()).unwrap_or_default()).await
    }

    pub async fn get(&self, token: &str, path: &str) -> Reply {
        self.call(token, Method::GET, path, None).await
    }

    /// A new task's id.
    pub async fn task(&self, person: &Person, title: &str) -> String {
        let reply = self
            .call(&person.token, Method::POST, "/api/v1/tasks", Some(json!({ "title": title })))
            .await
            .expect(201);
        reply["id"].as_str().unwrap().to_owned()
    }

    /// Signs up, and gets a token as a browser does.
    pub async fn person(&self, name: &str) -> Person {
        let email = format!("{name}@example.com");
        let body = json!({ "name": name, "email": email, "password": PASSWORD });
        let reply = self.auth("/sign-up/email", "", Some(body)).await;
        self.signed_in(reply).await
    }

    /// Signs in again.
    pub async fn again(&self, person: &Person) -> Person {
        let body = json!({ "email": person.email, "password": PASSWORD });
        let reply = self.auth("/sign-in/email", "", Some(body)).await;
        self.signed_in(reply).await
    }

    async fn signed_in(&self, reply: Reply) -> Person {
        let user = reply.expect(200)["user"].clone();
        let cookies = reply.headers.get_all("set-cookie").iter();
        let cookies = cookies.map(|cookie| cookie.to_str().unwrap().split(';').next().unwrap());
        let cookie = cookies.collect::<Vec<_>>().join("; ");
        let token = self.token(&cookie).await;
        let text = |name: &str| user[name].as_str().unwrap().to_owned();
        Person { id: text("id"), email: text("email"), cookie, token }
    }

    /// A token for the holder of a session.
    pub async fn token(&self, cookie: &str) -> String {
        self.auth("/token", cookie, None).await.expect(200)["token"].as_str().unwrap().to_owned()
    }

    /// A request to the auth server.
    pub async fn auth(&self, path: &str, cookie: &str, body: Option<Value>) -> Reply {
        let method = if body.is_some() { Method::POST } else { Method::GET };
        let origin = self.config.auth_url.as_ref().unwrap_or(&self.base).clone();
        let headers = [("origin", origin.as_str()), ("content-type", "application/json"), ("cookie", cookie)];
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        self.send(method, &format!("/api/auth{path}"), &headers, body).await
    }

    /// Runs SQL as whoever runs the server would.
    pub async fn sql(&self, sql: String) {
        let sql = sqlx::raw_sql(sqlx::AssertSqlSafe(sql));
        let url = &self.config.database_url;
        if url.starts_with("postgres") {
            sql.execute(&mut sqlx::PgConnection::connect(url).await.unwrap()).await.unwrap();
        } else {
            sql.execute(&mut sqlx::SqliteConnection::connect(url).await.unwrap()).await.unwrap();
        }
    }

    /// How many rows there are.
    pub async fn count(&self, sql: &'static str) -> i64 {
        let url = &self.config.database_url;
        if url.starts_with("postgres") {
            let mut connection = sqlx::PgConnection::connect(url).await.unwrap();
            sqlx::query_scalar(sql).fetch_one(&mut connection).await.unwrap()
        } else {
            let mut connection = sqlx::SqliteConnection::connect(url).await.unwrap();
            sqlx::query_scalar(sql).fetch_one(&mut connection).await.unwrap()
        }
    }

    /// Somebody who is an admin.
    pub async fn admin(&self) -> Person {
        let person = self.person("root").await;
        self.sql(format!("update \"user\" set role = 'user,admin' where id = '{}'", person.id)).await;
        // A new session is read from the table.
        self.again(&person).await
    }

    /// Somebody who has the server's keys and signs anything with them.
    pub async fn signer(&self) -> Signer {
        let jwt = Jwt::new(json!({})).unwrap();
        let auth = Auth::builder()
            .base_url(&self.base)
            .secret(SECRET)
            .database(&self.config.database_url)
            .clock(self.server.clone())
            .feature(jwt.clone())
            .build()
            .await
            .unwrap();
        Signer { auth, jwt }
    }
}

pub struct Signer {
    auth: Auth,
    jwt: Jwt,
}

impl Signer {
    /// Claims like those of the server, with these in place of its own.
    pub async fn sign(&self, person: &Person, claims: Value) -> String {
        let mut all = json!({ "sub": person.id, "id": person.id, "email": person.email, "name": "signed" });
        let map = all.as_object_mut().unwrap();
        map.insert("iat".to_owned(), self.auth.clock().now().seconds().into());
        map.extend(claims.as_object().unwrap().clone());
        self.jwt.sign_jwt(&self.auth, all.as_object().unwrap().clone(), None).await.unwrap()
    }
}

/// A request that needs a token.
pub type Protected = (Method, String, Option<Value>);

/// Every route for a person's own things.
pub fn own_routes(user: &str, task: &str) -> Vec<Protected> {
    let mut all = Vec::new();
    for list in ["/api/v1/tasks".to_owned(), format!("/api/users/{user}/todos")] {
        let new = || Some(json!({ "title": "theirs" }));
        let one = format!("{list}/{task}");
        all.push((Method::GET, list.clone(), None));
        all.push((Method::POST, list, new()));
        all.push((Method::GET, one.clone(), None));
        all.push((Method::PUT, one.clone(), new()));
        all.push((Method::PATCH, one.clone(), new()));
        all.push((Method::PATCH, format!("{one}/complete"), None));
        all.push((Method::DELETE, one, None));
    }
    all.push((Method::GET, format!("/api/users/{user}/profile"), None));
    all
}

/// Every route for admins.
pub fn admin_routes(user: &str) -> Vec<Protected> {
    vec![
        (Method::GET, "/api/admin/users".to_owned(), None),
        (Method::PATCH, format!("/api/admin/users/{user}"), Some(json!({ "is_active": false }))),
    ]
}

/// Every route that needs a token.
pub fn protected(user: &str, task: &str) -> Vec<Protected> {
    own_routes(user, task).into_iter().chain(admin_routes(user)).collect()
}
