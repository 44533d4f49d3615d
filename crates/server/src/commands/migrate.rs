//! `portcullis migrate`: creates and extends the tables; `--dry-run` prints the SQL instead.

use std::process::ExitCode;

use super::{Here, open_and};
use crate::say;

/// Migrates, or says what would be done.
pub async fn run(here: &Here<'_>, dry_run: bool) -> Result<ExitCode, String> {
    let mut loaded = here.load()?;
    loaded.settings.migrate = Some(false);
    let auth = open_and(&mut loaded, false).await?.auth;
    if auth.config().in_memory {
        return Err(
            "nothing is stored without a database, so there are no tables; set database.url".to_owned()
        );
    }
    let store = auth.store();
    let plan = if dry_run { store.migration_plan().await } else { store.migrate().await };
    let plan = plan.map_err(|error| format!("database: {error}"));
    store.close().await;
    let plan = plan?;
    if dry_run {
        let text = plan.to_string();
        say::to_stdout(if text.is_empty() { "-- the tables are up to date\n" } else { &text })?;
    } else {
        for warning in &plan.warnings {
            tracing::warn!("database: {warning}");
        }
        let done = plan.statements.len() + plan.triggers.len();
        say::to_stdout(&match done {
            0 => "the tables are up to date\n".to_owned(),
            1 => "1 statement was run\n".to_owned(),
            _ => format!("{done} statements were run\n"),
        })?;
    }
    Ok(ExitCode::SUCCESS)
}
