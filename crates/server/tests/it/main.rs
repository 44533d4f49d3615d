//! The real binary, started in an empty directory on a free port, and talked to over sockets.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may fail loudly")]

mod client;
mod commands;
mod first_run;
mod hostile;
mod mail;
mod observed;
mod operations;
mod outages;
mod postgres;
mod process;
mod refusals;
#[cfg(feature = "test-mode")]
mod test_mode;
