//! The binary `portcullis`: parse the command line, load the settings, run the command.

mod about;
mod background;
mod cli;
mod commands;
mod front;
mod listen;
mod load;
mod ops;
mod pages;
mod patience;
mod say;
mod secret_file;
mod telemetry;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // `--help` and `--version` come this way, too. Nothing can be done where they cannot be printed.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let vars = load::Vars::of_process();
    // A command that ends says what it did by itself.
    let level = if matches!(cli.command, None | Some(cli::Command::Serve(_))) { "info" } else { "warn" };
    let started = load::logging(&vars)
        .map_err(|error| error.to_string())
        .and_then(|logging| say::start_log(&logging, level));
    if let Err(error) = started {
        return failed(&error);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&format!("cannot start threads: {error}")),
    };
    let result = runtime.block_on(commands::run(cli, &vars));
    // Password hashes that nobody waits for any more must not hold up the end.
    runtime.shutdown_timeout(Duration::from_millis(500));
    match result {
        Ok(code) => code,
        Err(error) => failed(&error),
    }
}

fn failed(error: &str) -> ExitCode {
    say::to_stderr(&format!("portcullis: {error}\n"));
    ExitCode::FAILURE
}
