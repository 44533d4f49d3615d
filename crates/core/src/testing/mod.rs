//! For tests: an app in memory, actors that talk HTTP to it as browsers do, and database servers.
//!
//! Time stands still until a test moves it, chance is seeded, mails and webhooks arrive in memory: so no
//! test sleeps, depends on luck or on another test.

mod actor;
mod app;
pub mod databases;

pub use actor::{Actor, Reply};
pub use app::{TestApp, Told};
