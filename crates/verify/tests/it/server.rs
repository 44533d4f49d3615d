//! A server that answers as a test says: well, badly, slowly, without end, or not at all.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// What a test waits for, at most.
pub const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Clone)]
pub enum Reply {
    /// A whole answer, head and all.
    Bytes(Vec<u8>),
    /// The connection ends.
    Close,
    /// Nothing comes.
    Hang,
    /// The head comes, and half of the body.
    HangInBody,
    /// A body without end, in chunks.
    Endless,
}

impl Reply {
    pub fn ok(body: &str) -> Self {
        Self::with(200, &[], body)
    }

    pub fn with(status: u16, headers: &[(&str, &str)], body: &str) -> Self {
        let mut head =
            format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n", body.len());
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        Self::Bytes(format!("{head}\r\n{body}").into_bytes())
    }
}

pub struct Server {
    port: u16,
    reply: Arc<Mutex<Reply>>,
    seen: Arc<Mutex<Vec<String>>>,
    /// Ends with the server.
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    pub async fn start(reply: Reply) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (reply, seen) = (Arc::new(Mutex::new(reply)), Arc::new(Mutex::new(Vec::new())));
        let (replies, requests) = (Arc::clone(&reply), Arc::clone(&seen));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (reply, seen) = (Arc::clone(&replies), Arc::clone(&requests));
                tokio::spawn(async move { answer(stream, &reply, &seen).await });
            }
        });
        Self { port, reply, seen, task }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    pub fn replies(&self, reply: Reply) {
        *self.reply.lock().unwrap() = reply;
    }

    /// How many requests came.
    pub fn hits(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    /// The head of the last request.
    pub fn last(&self) -> String {
        self.seen.lock().unwrap().last().cloned().unwrap_or_default()
    }
}

async fn answer(mut stream: TcpStream, reply: &Mutex<Reply>, seen: &Mutex<Vec<String>>) -> Option<()> {
    let (mut head, mut part) = (Vec::new(), [0; 4096]);
    while !head.windows(4).any(|four| four == b"\r\n\r\n") {
        let read = stream.read(&mut part).await.ok().filter(|read| *read > 0)?;
        head.extend_from_slice(&part[..read]);
    }
    seen.lock().unwrap().push(String::from_utf8_lossy(&head).into_owned());
    let reply = reply.lock().unwrap().clone();
    match reply {
        Reply::Bytes(bytes) => stream.write_all(&bytes).await.ok()?,
        Reply::Close => {}
        Reply::Hang => std::future::pending().await,
        Reply::HangInBody => {
            stream.write_all(b"HTTP/1.1 200 X\r\ncontent-length: 100\r\n\r\n{\"keys\":[").await.ok()?;
            std::future::pending::<()>().await;
        }
        Reply::Endless => {
            stream.write_all(b"HTTP/1.1 200 X\r\ntransfer-encoding: chunked\r\n\r\n").await.ok()?;
            let chunk = format!("1000\r\n{}\r\n", " ".repeat(4096));
            loop {
                stream.write_all(chunk.as_bytes()).await.ok()?;
            }
        }
    }
    stream.shutdown().await.ok()
}

/// Waits until something that happens in the background has happened.
pub async fn eventually(mut happened: impl FnMut() -> bool) {
    let wait = async {
        while !happened() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, wait).await.expect("it never happened");
}
