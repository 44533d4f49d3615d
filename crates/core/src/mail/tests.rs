//! The outbox and the templates, without a server at the other end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value as Json, json};
use tokio::task::JoinSet;

use super::{MailKind, Outgoing, Queued, outbox};
use crate::auth::Auth;
use crate::config::{Config, Environment, Settings, read};
use crate::error::{Code, Error};
use crate::feature::Feature;
use crate::hooks::Callback;
use crate::http::Request;
use crate::store::{Dialect, Filter, Value};
use crate::testing::databases::fresh_database;
use crate::testing::{TestApp, Told};

const TEXTS: &str = r#"{
  "en": { "subject": "Note for {{ app }}", "title": "A note", "preview": "", "text": "Read {{ email }}", "action": "Read", "aside": "Or not." },
  "de": { "subject": "Notiz", "title": "Eine Notiz", "preview": "", "text": "Lesen", "action": "Lesen", "aside": "Oder nicht." }
}"#;

/// A room with one kind of mail.
struct Post(Option<Callback>);

impl Feature for Post {
    fn id(&self) -> &'static str {
        "post"
    }
    fn mails(&self, _: &Config) -> Vec<MailKind> {
        vec![MailKind::new("note", TEXTS).told_to("post.send", self.0.as_ref())]
    }
}

async fn app(settings: Json, callback: Option<Callback>) -> TestApp {
    TestApp::with_feature(&[], settings, Post(callback)).await
}

fn request(auth: &Auth, language: Option<&str>) -> Request {
    let mut builder = http::Request::get("/");
    if let Some(language) = language {
        builder = builder.header("accept-language", language);
    }
    Request::of_parts(auth, builder.body(()).unwrap().into_parts().0)
}

fn note(auth: &Auth, number: usize) -> Outgoing {
    let message = json!({
        "user": { "email": "ada@example.com", "name": "Ada", "phone": "+49" },
        "url": "https://a.example/?token=sesame", "token": "sesame", "number": number,
    });
    Outgoing::new("note", &request(auth, None), message)
}

async fn rows(auth: &Auth) -> u64 {
    auth.db().count(Queued::KEY, &Filter::All).await.unwrap()
}

/// Does what the worker does until nothing is due and nothing under way.
async fn work(auth: &Auth) {
    while outbox::sweep(auth).await.unwrap() > 0 {}
    let all = u32::try_from(super::AT_ONCE).unwrap();
    drop(auth.mailer().places.acquire_many(all).await.unwrap());
}

#[tokio::test]
async fn a_mail_goes_out_after_the_commit_and_never_without_one() {
    let told = Told::default();
    let app = app(json!({}), Some(told.callback())).await;
    let mut tx = app.auth.begin().await.unwrap();
    app.auth.send_mail(&mut tx.db(), note(&app.auth, 1)).await.unwrap();
    assert!(told.all().is_empty(), "nothing before the commit");
    drop(tx);
    let mut tx = app.auth.begin().await.unwrap();
    app.auth.send_mail(&mut tx.db(), note(&app.auth, 2)).await.unwrap();
    tx.commit().await.unwrap();
    let all = told.all();
    assert_eq!(all.len(), 1, "what was taken back is not sent");
    let (name, args) = &all[0];
    assert_eq!(
        (name.as_str(), &args[0]["number"], &args[0]["token"]),
        ("post.send", &json!(2), &json!("sesame"))
    );
    assert_eq!(args[1]["$type"], "Request");
    assert_eq!(rows(&app.auth).await, 0, "delivered mails are gone");
    assert_eq!(app.auth.metrics().mails(), [1, 1, 0, 0]);
}

#[tokio::test]
async fn of_fifty_workers_in_five_processes_one_sends_each_mail() {
    for dialect in [Dialect::Sqlite, Dialect::Postgres, Dialect::MySql] {
        let folder = tempfile::tempdir().unwrap();
        let url = match dialect {
            Dialect::Sqlite => format!("sqlite:{}", folder.path().join("one.db").display()),
            _ => match fresh_database(dialect).await {
                Some(url) => url,
                None => continue,
            },
        };
        let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
        let callback = {
            let seen = Arc::clone(&seen);
            Callback::native(move |_, args| {
                seen.lock().unwrap().push(args[0]["number"].as_u64().unwrap());
                async { Ok(Json::Null) }
            })
        };
        let mut processes = Vec::new();
        for _ in 0..5 {
            let settings = json!({ "database": { "url": url, "maxConnections": 4 } });
            processes.push(app(settings, Some(callback.clone())).await);
        }
        let first = &processes[0].auth;
        // No place in memory: the rows are anybody's.
        let full = first.mailer().waiting.acquire_many(u32::try_from(super::WAITING).unwrap()).await.unwrap();
        for number in 0..20 {
            first.send_mail(&mut first.db(), note(first, number)).await.unwrap();
        }
        drop(full);
        assert!(seen.lock().unwrap().is_empty());
        let mut workers = JoinSet::new();
        for at in 0..50 {
            let auth = processes[at % 5].auth.clone();
            workers.spawn(async move { work(&auth).await });
        }
        while let Some(done) = workers.join_next().await {
            done.unwrap();
        }
        let mut sent = seen.lock().unwrap().clone();
        sent.sort_unstable();
        assert_eq!(sent, (0..20).collect::<Vec<u64>>(), "{dialect:?}");
        assert_eq!(rows(first).await, 0, "{dialect:?}");
        for process in &processes {
            process.auth.store().close().await;
        }
    }
}

#[tokio::test]
async fn what_a_process_that_died_had_claimed_is_sent_by_another_when_the_claim_has_ended() {
    let folder = tempfile::tempdir().unwrap();
    let settings =
        json!({ "database": { "url": format!("sqlite:{}", folder.path().join("x.db").display()) } });
    let hang = Callback::native(|_, _| std::future::pending());
    let dying = app(settings.clone(), Some(hang)).await;
    let mail = note(&dying.auth, 7).beside();
    dying.auth.send_mail(&mut dying.auth.db(), mail).await.unwrap();
    let told = Told::default();
    let next = app(settings, Some(told.callback())).await;
    work(&next.auth).await;
    assert!(told.all().is_empty(), "it may be under way still");
    next.advance(40);
    work(&next.auth).await;
    assert_eq!(told.last().1[0]["number"], 7);
    assert_eq!(rows(&next.auth).await, 0);
}

/// A server that is busy at first: the `webhook-id` of each call.
async fn busy_at_first() -> (String, Arc<std::sync::Mutex<Vec<String>>>) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let ids = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = Arc::clone(&ids);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = Vec::new();
            let mut buffer = [0; 4096];
            while !head.windows(4).any(|four| four == b"\r\n\r\n") {
                let n = stream.read(&mut buffer).await.unwrap();
                head.extend_from_slice(&buffer[..n]);
            }
            let head = String::from_utf8_lossy(&head).into_owned();
            let id = head.lines().find_map(|line| line.strip_prefix("webhook-id: ")).unwrap().to_owned();
            let first = {
                let mut seen = seen.lock().unwrap();
                seen.push(id);
                seen.len() == 1
            };
            let body =
                if first { r#"{"error":{"status":503,"message":"busy"}}"# } else { r#"{"result":null}"# };
            let length = body.len();
            let answer =
                format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    (url, ids)
}

#[tokio::test]
async fn every_try_of_a_mail_has_one_webhook_id_and_a_busy_webhook_is_asked_again() {
    let (url, ids) = busy_at_first().await;
    let webhook: Callback = serde_json::from_value(json!({ "webhook": url })).unwrap();
    let app = app(json!({}), Some(webhook)).await;
    app.auth.send_mail(&mut app.auth.db(), note(&app.auth, 1)).await.unwrap();
    work(&app.auth).await;
    app.advance(20);
    work(&app.auth).await;
    let ids = ids.lock().unwrap().clone();
    assert!(ids.len() == 2 && ids[0] == ids[1] && ids[0].starts_with("msg_"), "{ids:?}");
    assert_eq!(rows(&app.auth).await, 0);
}

#[tokio::test]
async fn a_mail_that_fails_is_tried_again_later_and_later_and_then_given_up_and_kept() {
    let tries = Arc::new(AtomicUsize::new(0));
    let callback = {
        let tries = Arc::clone(&tries);
        Callback::native(move |_, _| {
            tries.fetch_add(1, Ordering::SeqCst);
            async { Err(Error::broken("no mail today")) }
        })
    };
    let told = Told::default();
    let settings = json!({ "mail": { "send": { "webhook": "http://127.0.0.1:9/" }, "from": "a@b.example", "retry": { "attempts": 4, "firstWaitSeconds": 10, "keepFailedDays": 1 } } });
    let app = app(settings, Some(callback)).await;
    let auth = &app.auth;
    auth.send_mail(&mut auth.db(), note(auth, 1)).await.unwrap();
    assert_eq!(tries.load(Ordering::SeqCst), 1, "the first try fails and the request does not");
    for (after, expected) in [(7, 1), (6, 2), (15, 2), (10, 3), (31, 3), (18, 4), (10_000, 4)] {
        app.advance(after);
        work(auth).await;
        assert_eq!(tries.load(Ordering::SeqCst), expected);
    }
    let listed = auth.list_mails(10).await.unwrap();
    assert_eq!((listed[0].attempts, listed[0].next_attempt_at), (4, None));
    assert_eq!(listed[0].last_error.as_deref(), Some("no mail today"));
    assert_eq!(auth.metrics().mails(), [1, 0, 3, 1]);
    assert_eq!(auth.retry_mails(Some(&listed[0].id)).await.unwrap(), 1);
    work(auth).await;
    assert_eq!(tries.load(Ordering::SeqCst), 5, "an operator may have it tried again");
    assert!(told.all().is_empty());
    let failed = Filter::Not(Queued::FAILED_AT.key.into(), Value::Null);
    auth.db()
        .update(
            Queued::KEY,
            &Filter::All,
            crate::store::Row::new().with("failedAt", auth.clock().now()).with("nextAttemptAt", Value::Null),
        )
        .await
        .unwrap();
    assert_eq!(auth.db().count(Queued::KEY, &failed).await.unwrap(), 1);
    app.advance(86_400 + 700);
    work(auth).await;
    assert_eq!(rows(auth).await, 0, "failures are kept for a while only");
}

#[tokio::test]
async fn a_refusal_of_the_operators_own_and_a_link_that_has_expired_are_not_tried_again() {
    let refuse =
        Callback::native(|_, _| async { Err(Error::from(Code::new(403, "BLOCKED", "not to this one"))) });
    let app = app(json!({}), Some(refuse)).await;
    let auth = &app.auth;
    auth.send_mail(&mut auth.db(), note(auth, 1)).await.unwrap();
    assert_eq!(auth.list_mails(1).await.unwrap()[0].next_attempt_at, None);
    auth.db().delete(Queued::KEY, &Filter::All).await.unwrap();

    let told = Told::default();
    let app = self::app(json!({}), Some(told.callback())).await;
    let auth = &app.auth;
    let full = auth.mailer().waiting.acquire_many(u32::try_from(super::WAITING).unwrap()).await.unwrap();
    let soon = note(auth, 1).until(auth.clock().now() + Duration::from_secs(60));
    auth.send_mail(&mut auth.db(), soon).await.unwrap();
    drop(full);
    app.advance(61);
    work(auth).await;
    assert!(told.all().is_empty());
    assert_eq!(auth.list_mails(1).await.unwrap()[0].last_error.as_deref(), Some("what it holds has expired"));
}

#[tokio::test]
async fn the_table_shows_neither_link_nor_recipient_and_a_foreign_row_is_given_up() {
    let told = Told::default();
    let app = app(json!({}), Some(told.callback())).await;
    let auth = &app.auth;
    let full = auth.mailer().waiting.acquire_many(u32::try_from(super::WAITING).unwrap()).await.unwrap();
    auth.send_mail(&mut auth.db(), note(auth, 1)).await.unwrap();
    drop(full);
    let row = auth.db().find(Queued::KEY, &Filter::All).await.unwrap().unwrap();
    let text = format!("{row:?}");
    assert!(!text.contains("sesame") && !text.contains("ada@"), "{text}");
    let bent = crate::store::Row::new().with(Queued::PAYLOAD.key, json!("00ff"));
    auth.db().update(Queued::KEY, &Filter::All, bent).await.unwrap();
    work(auth).await;
    let listed = auth.list_mails(1).await.unwrap();
    assert!(
        listed[0].next_attempt_at.is_none() && listed[0].last_error.as_deref().unwrap().contains("secret")
    );
    assert!(told.all().is_empty());
}

#[tokio::test]
async fn pretending_leaves_nothing() {
    let app = app(json!({}), Some(Told::default().callback())).await;
    app.auth.pretend_mail().await.unwrap();
    assert_eq!((rows(&app.auth).await, app.auth.metrics().mails()[0]), (0, 0));
}

#[tokio::test]
async fn a_developer_reads_the_mail_in_the_language_asked_for() {
    let app = app(json!({ "mail": {} }), None).await;
    let auth = &app.auth;
    for (language, subject) in [
        (None, "Note for localhost"),
        (Some("de-AT, en;q=0.5"), "Notiz"),
        (Some("xx, en;q=0.1, de;q=0.9"), "Notiz"),
        (Some("de;q=0, en"), "Note for localhost"),
        (Some(";;q=,q=9,\u{e4}"), "Note for localhost"),
    ] {
        let message =
            json!({ "user": { "email": "ada@example.com", "name": "Ada" }, "url": "https://a.example/x" });
        let mail = Outgoing::new("note", &request(auth, language), message);
        auth.send_mail(&mut auth.db(), mail).await.unwrap();
        let seen = auth.mailer().mailbox().unwrap().list().remove(0);
        assert_eq!(
            (seen.mail.subject.as_str(), seen.to.as_str()),
            (subject, "ada@example.com"),
            "{language:?}"
        );
        assert!(
            seen.mail.text.contains("https://a.example/x")
                && seen.mail.html.contains("https:&#x2f;&#x2f;a.example&#x2f;x")
        );
    }
}

#[tokio::test]
async fn what_a_stranger_wrote_into_a_name_does_not_get_into_the_mail() {
    let app = app(json!({ "mail": {}, "appName": "App\r\nBcc: x@y.z" }), None).await;
    let auth = &app.auth;
    for name in [
        "Win at evil.example",
        "https://evil.example",
        "<b>Ada</b>",
        "a\r\nBcc: x@y.z",
        "{{ url }}",
        &"x".repeat(51),
    ] {
        let message = json!({ "user": { "email": "ada@example.com", "name": name } });
        auth.send_mail(&mut auth.db(), Outgoing::new("note", &request(auth, None), message)).await.unwrap();
        let seen = auth.mailer().mailbox().unwrap().list().remove(0);
        assert!(seen.mail.text.starts_with("Hello,"), "{}", seen.mail.text);
        assert!(!seen.mail.html.contains("evil") && !seen.mail.html.contains("<b>"));
        assert_eq!(seen.mail.subject, "Note for App Bcc: x@y.z", "a subject is one line");
    }
    for name in ["Ada Lovelace", "J.R. O’Neil", "Łukasz"] {
        let message = json!({ "user": { "email": "ada@example.com", "name": name } });
        auth.send_mail(&mut auth.db(), Outgoing::new("note", &request(auth, None), message)).await.unwrap();
        let seen = auth.mailer().mailbox().unwrap().list().remove(0);
        assert!(seen.mail.text.starts_with(&format!("Hello {name},")), "{}", seen.mail.text);
    }
}

/// What starting says about a folder with these files.
fn folder(files: &[(&str, &str)]) -> Result<super::Rendered, String> {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let settings: Settings = read(
        "",
        json!({
            "secret": "q8Zr0xN1vKp5sTy7uWb3cDe9fGh2jLm4",
            "appName": "A & B",
            "mail": { "templates": folder.path().to_str().unwrap() },
        }),
    )
    .unwrap();
    let config = Config::check(settings, Environment::Development).unwrap();
    let mailer =
        super::Mailer::new(&config, Post(None).mails(&config), true).map_err(|error| error.to_string())?;
    mailer.preview(&config, "note", Some("de")).map_err(|error| error.to_string())
}

#[test]
fn the_operators_templates_and_texts_take_the_place_of_ours() {
    let plain = folder(&[]).unwrap();
    assert!(plain.html.contains("A &amp; B") && plain.text.contains("Lesen") && plain.subject == "Notiz");
    let own = folder(&[
        ("note.html", "<p>{{ app }} {{ t.text }}</p>"),
        ("note.de.subject", "Für {{ app }}\n"),
        ("messages.de.json", r#"{ "note": { "text": "Bitte <lesen>, {{ name }}" }, "common": { "greeting_name": "Moin {{ name }}!" } }"#),
        ("README.md", "not ours"),
    ])
    .unwrap();
    assert_eq!(own.html, "<p>A &amp; B Bitte <lesen>, Ada</p>");
    assert_eq!(own.subject, "Für A & B");
    assert!(own.text.starts_with("Moin Ada!\n") && own.text.contains("Bitte <lesen>, Ada"), "{}", own.text);
}

#[test]
fn a_template_that_cannot_work_is_said_at_start_with_file_and_line() {
    for (file, text, problem) in [
        ("note.html", "ok\n{% if %}", "mail.templates: note.html, line 2: "),
        (
            "note.txt",
            "a\nb\n{% if false %}{{ ulr }}{% endif %}",
            "mail.templates: note.txt, line 3: there is no variable `ulr`; did you mean `url`?",
        ),
        ("note.html", "\n{{ t.txet }}", "mail.templates: note.html, line 2: "),
        ("noet.html", "x", "mail.templates: noet.html: there is no mail `noet`; did you mean `note`?"),
        (
            "messages.de.json",
            r#"{ "note": { "txt": "x" } }"#,
            "mail.templates: messages.de.json: note has no text `txt`; did you mean `text`?",
        ),
        (
            "messages.de.json",
            r#"{ "note": { "text": "{{ nmae }}" } }"#,
            "mail.templates: messages.de.json: note.text, line 1: ",
        ),
        ("messages.de.json", "{", "mail.templates: messages.de.json: "),
    ] {
        let said = folder(&[(file, text)]).unwrap_err();
        assert!(said.starts_with(problem), "{said}");
    }
}
