//! What a request costs in counts that no other load on the machine changes: statements sent to the database
//! and allocations on the thread that serves it. They are bounds, a little above what is needed today: who
//! makes a request dearer finds out here, and decides whether that is worth it (benches/README.md).

use allocation_counter::measure;
use axum::Router;
use axum::body::Body;
use axum::response::Response;
use http::{Method, Request, StatusCode, header};
use portcullis::features::LIST;
use portcullis::testing::{Actor, TestApp};
use serde_json::{Value as Json, json};
use tokio::runtime::Runtime;
use tower::Service as _;

/// Statements and allocations.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
struct Cost {
    statements: u64,
    allocations: u64,
}

pub struct Server {
    runtime: Runtime,
    app: TestApp,
    service: Router,
    // Deleted when the test is over.
    _folder: Option<tempfile::TempDir>,
}

/// All that may add to the reading of a session.
pub fn all_rooms() -> Json {
    json!({ "plugins": {
        "username": {}, "jwt": {}, "bearer": {}, "multiSession": {}, "anonymous": {}, "twoFactor": {},
    } })
}

impl Server {
    /// On a file: a database in memory has no other writers to look for.
    fn start(mut settings: Json) -> Self {
        let folder = tempfile::tempdir().unwrap();
        settings["database"] =
            json!({ "url": format!("sqlite:{}", folder.path().join("auth.db").display()) });
        Self { _folder: Some(folder), ..Self::in_memory(settings) }
    }

    pub fn in_memory(settings: Json) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let app = runtime.block_on(TestApp::start(LIST, settings));
        let service = app.auth.service();
        Self { runtime, app, service, _folder: None }
    }

    /// Reads somebody's session so many times.
    pub fn read(&self, times: usize) {
        let ada = self.user("ada");
        for _ in 0..times {
            let request = Self::request(&ada, Method::GET, "/get-session", None);
            let answer = self.runtime.block_on(self.service.clone().call(request)).unwrap();
            assert_eq!(answer.status(), StatusCode::OK);
        }
    }

    fn user(&self, name: &str) -> Actor {
        self.runtime.block_on(self.app.user(name))
    }

    fn request(actor: &Actor, method: Method, path: &str, body: Option<Json>) -> Request<Body> {
        let cookies: Vec<String> =
            actor.cookies().iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = Request::builder()
            .method(method)
            .uri(format!("/api/auth{path}"))
            .header(header::ORIGIN, "http://localhost:3000")
            .header(header::COOKIE, cookies.join("; "));
        match body {
            None => request.body(Body::empty()).unwrap(),
            Some(body) => request
                .header(header::CONTENT_TYPE, "application/json")
                .body(Body::from(body.to_string()))
                .unwrap(),
        }
    }

    /// The least of some tries: connections come back to their pool a moment after the answer.
    fn cost(&self, tries: usize, mut request: impl FnMut() -> Request<Body>) -> Cost {
        let once = |request: Request<Body>| {
            let mut service = self.service.clone();
            let before = self.app.auth.store().statements();
            let mut answer: Option<Response> = None;
            let allocated = measure(|| {
                answer = Some(self.runtime.block_on(service.call(request)).unwrap());
            });
            assert_eq!(answer.unwrap().status(), StatusCode::OK);
            Cost {
                statements: self.app.auth.store().statements() - before,
                allocations: allocated.count_total,
            }
        };
        (0..tries).map(|_| once(request())).min_by(|a, b| a.partial_cmp(b).unwrap()).unwrap()
    }
}

/// Exactly so many statements, and at most so many allocations.
fn costs(what: &str, cost: Cost, statements: u64, allocations: u64) {
    assert_eq!(cost.statements, statements, "{what}: {cost:?}");
    assert!(cost.allocations <= allocations, "{what}: {cost:?}, at most {allocations} allocations");
    // A bound far above what is needed guards nothing.
    assert!(
        cost.allocations * 5 / 4 + 5 >= allocations,
        "{what}: {cost:?}; lower the bound of {allocations}"
    );
}

#[test]
fn a_session_that_is_remembered_costs_no_statement_and_few_allocations() {
    let server = Server::start(json!({}));
    let ada = server.user("ada");
    let read = || Server::request(&ada, Method::GET, "/get-session", None);
    assert_eq!(server.cost(1, read).statements, 1);
    costs("get-session", server.cost(20, read), 0, 43);
}

#[test]
fn rooms_that_are_not_asked_for_anything_cost_next_to_nothing() {
    let server = Server::start(all_rooms());
    let ada = server.user("ada");
    let read = || Server::request(&ada, Method::GET, "/get-session", None);
    costs("get-session, all rooms", server.cost(20, read), 0, 51);
}

#[test]
fn without_memory_a_session_is_one_statement() {
    let server = Server::start(json!({ "session": { "memoryCacheSize": 0 } }));
    let ada = server.user("ada");
    let read = || Server::request(&ada, Method::GET, "/get-session", None);
    costs("get-session, from the database", server.cost(20, read), 1, 155);
}

#[test]
fn signing_in_and_out_take_a_known_number_of_statements() {
    let server = Server::start(json!({}));
    let ada = server.user("ada");
    let body = || json!({ "email": "ada@example.com", "password": "correct horse" });
    let sign_in = server.cost(3, || Server::request(&ada, Method::POST, "/sign-in/email", Some(body())));
    costs("sign-in", sign_in, 4, 410);
    let mut number = 0;
    let sign_up = server.cost(3, || {
        number += 1;
        let body =
            json!({ "name": "New", "email": format!("n{number}@example.com"), "password": "correct horse" });
        Server::request(&server.app.actor(), Method::POST, "/sign-up/email", Some(body))
    });
    costs("sign-up", sign_up, 4, 470);
    let mut number = 0;
    let sign_out = server.cost(3, || {
        number += 1;
        Server::request(&server.user(&format!("o{number}")), Method::POST, "/sign-out", Some(json!({})))
    });
    costs("sign-out", sign_out, 2, 210);
}

/// As many as a header has room for, after more names than are looked through one by one.
#[test]
fn cookies_that_repeat_cost_nothing_each() {
    let server = Server::start(json!({}));
    let names: Vec<String> = (0..16).map(|number| format!("{}{number}=1", "n".repeat(800))).collect();
    let cookies = format!("{}; {}", names.join("; "), "n=1; ".repeat(10_000));
    let read = || {
        let request = Request::get("/api/auth/get-session").header(header::COOKIE, cookies.clone());
        request.body(Body::empty()).unwrap()
    };
    costs("get-session, ten thousand cookies", server.cost(3, read), 0, 90);
}
