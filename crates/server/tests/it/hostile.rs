//! Clients that mean no good, or do not know better. The server answers or closes, never with a 5xx
//! other than 503, and serves the next one.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use crate::client::{Answer, connect, get, raw};
use crate::process::{Server, portcullis};

const SIGN_UP: &str = "/api/auth/sign-up/email";

fn request(line: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes =
        format!("{line} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}\r\n").into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

fn json(path: &str, body: &[u8]) -> Vec<u8> {
    let headers = format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len());
    request(&format!("POST {path}"), &headers, body)
}

#[test]
fn malformed_requests_are_refused_and_the_server_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let long = "a".repeat(60_000);
    let deep = "[".repeat(100_000);
    let many = "x-h: 1\r\n".repeat(200);
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("truncated JSON", json(SIGN_UP, b"{\"email\":\"a@b.c")),
        ("invalid UTF-8 in the body", json(SIGN_UP, b"{\"email\":\"\xff\xfe\"}")),
        ("lone surrogates", json(SIGN_UP, br#"{"email":"\ud800","password":"\udfff","name":"x"}"#)),
        ("NUL", json(SIGN_UP, br#"{"email":"a\u0000@b.example","password":"aaaaaaaaaa","name":"\u0000"}"#)),
        ("deep JSON", json(SIGN_UP, deep.as_bytes())),
        ("wrong types", json(SIGN_UP, br#"{"email":[],"password":{},"name":1e999}"#)),
        ("huge number", json(SIGN_UP, br#"{"email":"a@b.example","password":123456789012345678901234567890,"name":""}"#)),
        ("an array", json(SIGN_UP, b"[]")),
        ("null", json(SIGN_UP, b"null")),
        ("an empty body", json(SIGN_UP, b"")),
        ("doubled slash", request("GET //api/auth/ok", "", b"")),
        ("doubled slash inside", request("GET /api/auth//ok", "", b"")),
        ("encoded slash", request("GET /api/auth%2fok", "", b"")),
        ("broken percent", request("GET /api/auth/%zz?%=%&a=%ff", "", b"")),
        ("invalid UTF-8 in the path", request("GET /api/auth/reset-password/%ff%fe", "", b"")),
        ("dot segments", request("GET /api/auth/../../etc/passwd", "", b"")),
        ("absolute form", request("GET http://evil.example/api/auth/ok", "", b"")),
        ("asterisk form", request("OPTIONS *", "", b"")),
        ("CONNECT", request("CONNECT evil.example:443", "", b"")),
        ("unknown method", request("BREW /api/auth/ok", "", b"")),
        ("two hosts", request("GET /api/auth/get-session", "host: evil.example\r\n", b"")),
        ("host that is none", b"GET /api/auth/get-session HTTP/1.1\r\nhost: \x01 / ?\r\nconnection: close\r\n\r\n".to_vec()),
        ("no host", b"GET /api/auth/get-session HTTP/1.1\r\nconnection: close\r\n\r\n".to_vec()),
        ("two cookies", request("GET /api/auth/get-session", "cookie: better-auth.session_token=a.b\r\ncookie: better-auth.session_token=%ff%\r\n", b"")),
        ("binary cookie", [&b"GET /api/auth/get-session HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncookie: better-auth.session_token=\xff\xfe;=;;\"\r\n\r\n"[..]].concat()),
        ("two lengths", request(&format!("POST {SIGN_UP}"), "content-length: 1\r\ncontent-length: 2\r\n", b"{}")),
        ("length and chunks", request(&format!("POST {SIGN_UP}"), "content-length: 2\r\ntransfer-encoding: chunked\r\n", b"0\r\n\r\n")),
        ("negative length", request(&format!("POST {SIGN_UP}"), "content-length: -1\r\n", b"")),
        ("broken chunk", request(&format!("POST {SIGN_UP}"), "content-type: application/json\r\ntransfer-encoding: chunked\r\n", b"zz\r\n")),
        ("long line", request(&format!("GET /{long}"), "", b"")),
        ("long header", request("GET /api/auth/ok", &format!("x-long: {long}\r\n{}", "y: 1\r\n"), b"")),
        ("many headers", request("GET /api/auth/ok", &many, b"")),
        ("no HTTP", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n".to_vec()),
        ("HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec()),
        ("content type of bytes", [&b"POST /api/auth/sign-up/email HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: \xff\r\ncontent-length: 2\r\n\r\n{}"[..]].concat()),
    ];
    for (name, bytes) in cases {
        let answer = raw(server.address, &bytes);
        if let Some(Answer { status, body, .. }) = &answer {
            assert!(*status < 500 || *status == 503, "{name}: {status} {body}");
        }
        assert_eq!(get(server.address, "/api/auth/ok", "").status, 200, "after {name}");
    }
    let said = server.stop();
    assert_eq!(said.code, Some(0));
    assert!(!said.err.contains("panicked") && !said.err.contains("ERROR"), "{}", said.err);
}

#[test]
fn a_body_above_the_limit_is_a_413_whether_announced_or_not() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let ten = vec![b' '; 10 << 20];
    assert_eq!(raw(server.address, &json(SIGN_UP, &ten)).unwrap().status, 413);
    let mut chunked = request(
        &format!("POST {SIGN_UP}"),
        "content-type: application/json\r\ntransfer-encoding: chunked\r\n",
        b"",
    );
    chunked.extend_from_slice(format!("{:x}\r\n", 2 << 20).as_bytes());
    chunked.extend_from_slice(&ten[..2 << 20]);
    chunked.extend_from_slice(b"\r\n0\r\n\r\n");
    // Unannounced, the rest is not waited for: the sender may see the connection close instead.
    let answer = raw(server.address, &chunked);
    assert!(answer.is_none_or(|answer| answer.status == 413));
    let asking =
        request(&format!("POST {SIGN_UP}"), "content-length: 9999999999\r\nexpect: 100-continue\r\n", b"");
    assert_eq!(raw(server.address, &asking).unwrap().status, 413);
    assert_eq!(get(server.address, "/api/auth/ok", "").status, 200);
}

#[test]
fn a_body_that_does_not_come_is_given_up_after_the_time_limit() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = portcullis(dir.path(), &["--port", "0"]);
    command.env("PORTCULLIS__HTTP__TIMEOUT", "1");
    let server = Server::of(command);
    let slow = request(
        &format!("POST {SIGN_UP}"),
        "content-type: application/json\r\ncontent-length: 100\r\n",
        b"{",
    );
    let started = Instant::now();
    let answer = raw(server.address, &slow).unwrap();
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    assert!(started.elapsed() >= Duration::from_secs(1) && started.elapsed() < Duration::from_secs(20));
    assert_eq!(get(server.address, "/api/auth/ok", "").status, 200);
}

#[test]
fn a_head_that_does_not_come_is_given_up_while_others_are_served() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let started = Instant::now();
    let mut silent = connect(server.address);
    let mut slow = connect(server.address);
    slow.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n").unwrap();
    assert_eq!(get(server.address, "/api/auth/ok", "").status, 200);
    let mut rest = Vec::new();
    // Closed, one way or the other, and not answered with a page.
    let _ = slow.read_to_end(&mut rest);
    assert!(!rest.starts_with(b"HTTP/1.1 200"));
    let _ = silent.read_to_end(&mut rest);
    assert!(started.elapsed() < Duration::from_secs(30), "took {:?}", started.elapsed());
}

#[test]
fn a_connection_serves_several_requests() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let mut stream = connect(server.address);
    let one = "GET /api/auth/ok HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let last = "GET /api/auth/ok HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    stream.write_all(format!("{one}{one}{last}").as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert_eq!(text.matches("HTTP/1.1 200").count(), 3, "{text}");
}
