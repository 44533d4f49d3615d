//! A tiny blocking HTTP/1.1 client that can also misbehave.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    /// The first header of a name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// `name=value` of a cookie.
    pub fn cookie(&self, name: &str) -> String {
        let cookies = self.headers.iter().filter(|(key, _)| key == "set-cookie");
        let mut pairs = cookies.map(|(_, value)| value.split(';').next().unwrap().to_owned());
        pairs.find(|pair| pair.starts_with(&format!("{name}="))).unwrap()
    }
}

/// Opens a connection that gives up reading after a while.
pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(40))).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(40))).unwrap();
    stream
}

/// Sends bytes as they are; `None` when the server closed without an answer.
pub fn raw(address: SocketAddr, request: &[u8]) -> Option<Answer> {
    let mut stream = connect(address);
    // The server may answer and close before it has read everything.
    let _ = stream.write_all(request);
    read(&mut stream)
}

/// Reads one answer up to the end of the connection.
pub fn read(stream: &mut TcpStream) -> Option<Answer> {
    let mut bytes = Vec::new();
    if let Err(error) = stream.read_to_end(&mut bytes) {
        assert!(error.kind() == std::io::ErrorKind::ConnectionReset, "no answer came: {error}");
    }
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers = lines
        .map(|line| line.split_once(": ").map(|(key, value)| (key.to_owned(), value.to_owned())).unwrap())
        .collect();
    Some(Answer { status, headers, body: body.to_owned() })
}

/// A well-formed `GET`.
pub fn get(address: SocketAddr, path: &str, headers: &str) -> Answer {
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}\r\n");
    raw(address, request.as_bytes()).unwrap()
}

/// A well-formed `POST` of JSON.
pub fn post(address: SocketAddr, path: &str, headers: &str, body: &str) -> Answer {
    let length = body.len();
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
    );
    raw(address, request.as_bytes()).unwrap()
}
