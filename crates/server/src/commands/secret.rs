//! `portcullis secret`: a fresh one, for `BETTER_AUTH_SECRET`.

use std::process::ExitCode;

use crate::{say, secret_file};

/// Prints it.
pub fn run() -> Result<ExitCode, String> {
    say::to_stdout(&format!("{}\n", secret_file::fresh()))?;
    Ok(ExitCode::SUCCESS)
}
