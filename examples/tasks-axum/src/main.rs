//! Starts it: `cargo run -p tasks-axum`.

use std::io::{ErrorKind, IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::process::ExitCode;

use portcullis::config::Environment;
use portcullis::crypto::{Alphabet, Random};
use tasks_axum::config::Config;
use tasks_axum::{Clocks, Server, StartError};
use tracing_subscriber::filter::{EnvFilter, LevelFilter};

/// Where the secret of development is kept.
const SECRET_FILE: &str = "tasks-axum.secret";

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tasks-axum: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), StartError> {
    tracing_subscriber::fmt()
        .with_env_filter(
            EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).from_env_lossy(),
        )
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    let mut config = Config::from_env()?;
    if config.secret.is_none() && config.environment == Environment::Development {
        config.secret = Some(development_secret()?);
    }
    let server = Server::start(&config, Clocks::default()).await?;
    if config.environment == Environment::Development {
        println!("{}", what_to_try(server.address()));
    }
    server.run(asked_to_stop()).await?;
    Ok(())
}

/// A secret that stays the same over restarts, so that people stay signed in. In production Portcullis
/// refuses to start without one that was set.
fn development_secret() -> Result<String, String> {
    let kept = || -> std::io::Result<String> {
        let mut file = std::fs::OpenOptions::new();
        file.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut file, 0o600);
        match file.open(SECRET_FILE) {
            Ok(mut file) => writeln!(file, "{}", Random::system().text(48, Alphabet::UrlSafe))?,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        Ok(std::fs::read_to_string(SECRET_FILE)?.trim().to_owned())
    };
    kept().map_err(|error| {
        format!("cannot keep a development secret in {SECRET_FILE}: {error}; set BETTER_AUTH_SECRET")
    })
}

/// Ctrl-C, or what a service manager sends.
async fn asked_to_stop() {
    let interrupt = tokio::signal::ctrl_c();
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = interrupt => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    let _ = interrupt.await;
}

fn what_to_try(address: SocketAddr) -> String {
    let port = address.port();
    format!(
        r#"Listening on http://localhost:{port}. To try:

TOKEN=$(curl -s http://localhost:{port}/api/auth/signup -H 'content-type: application/json' \
  -d '{{"name":"Ada","email":"ada@example.com","password":"correct horse battery"}}' | cut -d'"' -f4)
curl -s http://localhost:{port}/api/v1/tasks -H "authorization: Bearer $TOKEN" \
  -H 'content-type: application/json' -d '{{"title":"Buy milk"}}'
curl -s http://localhost:{port}/api/v1/tasks -H "authorization: Bearer $TOKEN"

Next time `signin` in place of `signup`. What there is: http://localhost:{port}/openapi.json
"#
    )
}
