//! Speaking to people: standard output, standard error and the log. `println!` is not used because
//! it panics when the other end of a pipe is gone.

use std::io::{ErrorKind, IsTerminal, Write};

use tracing::Level;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::load::{LogFormat, Logging};

/// Writes to standard output; a reader that has gone is no error.
pub fn to_stdout(text: &str) -> Result<(), String> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(format!("cannot write to standard output: {error}"))
        }
        _ => Ok(()),
    }
}

/// Writes to standard error; where that cannot be done nobody could be told either.
pub fn to_stderr(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// Starts the log, on standard error, at the level `default` unless `PORTCULLIS_LOG` says otherwise.
///
/// Libraries are held to `info`, whatever the filter says: below that some of them print headers and
/// bound values, and the log must never hold a secret.
pub fn start_log(logging: &Logging, default: &str) -> Result<(), String> {
    let filter = logging.filter.as_deref().unwrap_or(default);
    let filter = EnvFilter::try_new(filter)
        .map_err(|_| "PORTCULLIS_LOG: is not a filter; write a level such as `info` or `debug`, or `portcullis=debug,warn`".to_owned())?;
    let calm = filter_fn(|event| event.target().starts_with("portcullis") || *event.level() <= Level::INFO);
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).log_internal_errors(false);
    let layer = match logging.format {
        LogFormat::Human => layer.with_target(false).with_ansi(std::io::stderr().is_terminal()).boxed(),
        LogFormat::Json => {
            layer.json().flatten_event(true).with_current_span(true).with_span_list(false).boxed()
        }
    };
    tracing_subscriber::registry()
        .with(layer)
        .with(calm)
        .with(filter)
        .try_init()
        .map_err(|error| format!("cannot start the log: {error}"))
}
