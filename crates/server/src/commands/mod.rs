//! The commands, one file each, and what several of them begin with.

mod doctor;
mod mail;
mod migrate;
mod openapi;
mod secret;
mod serve;
mod user;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use portcullis::config::DatabaseSettings;
use portcullis::{Auth, StartError};

use crate::cli::{Cli, Command};
use crate::load::{self, Loaded, Vars};
use crate::secret_file;

/// Runs what the command line says. An error is said by the caller.
pub async fn run(cli: Cli, vars: &Vars) -> Result<ExitCode, String> {
    let directory =
        std::env::current_dir().map_err(|error| format!("the current directory cannot be used: {error}"))?;
    let here = Here { directory, config: cli.config, vars };
    match cli.command {
        None => serve::run(&here, &cli.serve).await,
        Some(Command::Serve(args)) => {
            // `portcullis --port 1 serve` and `portcullis serve --port 1` are the same.
            let args = crate::cli::ServeArgs {
                port: args.port.or(cli.serve.port),
                listen: args.listen.or(cli.serve.listen),
            };
            serve::run(&here, &args).await
        }
        Some(Command::Migrate { dry_run }) => migrate::run(&here, dry_run).await,
        Some(Command::Doctor) => doctor::run(&here).await,
        Some(Command::Secret) => secret::run(),
        Some(Command::Openapi) => openapi::run(&here).await,
        Some(Command::Mail(command)) => mail::run(&here, command).await,
        Some(Command::User(command)) => user::run(&here, command).await,
    }
}

/// Where a command runs and what it may read.
pub struct Here<'a> {
    directory: PathBuf,
    config: Option<PathBuf>,
    vars: &'a Vars,
}

impl Here<'_> {
    fn load(&self) -> Result<Loaded, String> {
        load::load(self.config.as_deref(), &self.directory, self.vars).map_err(|error| error.to_string())
    }

    fn logs_as_json(&self) -> Result<bool, String> {
        let logging = load::logging(self.vars).map_err(|error| error.to_string())?;
        Ok(logging.format == load::LogFormat::Json)
    }
}

/// An engine that runs, and where its secret is kept when it was made up.
pub struct Opened {
    auth: Auth,
    secret_file: Option<PathBuf>,
}

/// Settings → engine: finds or makes the development secret, checks the data's directory, connects.
pub async fn open(loaded: &mut Loaded) -> Result<Opened, String> {
    open_and(loaded, true).await
}

/// The same; with `migrate` false the tables are neither touched nor expected to be there.
pub async fn open_and(loaded: &mut Loaded, migrate: bool) -> Result<Opened, String> {
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    if let Some(file) = loaded.sqlite_file() {
        writable(&file)?;
    }
    let secret_file = secret_file::ensure(loaded).await?;
    let auth = build(loaded, migrate).await?;
    Ok(Opened { auth, secret_file })
}

/// Builds the engine; without migration whatever the settings say, or with it if they do not say no.
pub async fn build(loaded: &mut Loaded, migrate: bool) -> Result<Auth, String> {
    loop {
        let builder = Auth::builder().settings(loaded.settings.clone()).environment(loaded.environment);
        let builder = if migrate { builder } else { builder.without_migration() };
        match builder.build().await {
            Ok(auth) => return Ok(auth),
            // Ends: what is mended is not found wanting again.
            Err(StartError::Config(error)) if loaded.mend(&error) => {}
            Err(StartError::Config(error)) => return Err(loaded.describe(&error)),
            Err(error) => return Err(error.to_string()),
        }
    }
}

/// Builds the engine away from the configured database: what the settings alone say, their mistakes too.
pub async fn build_apart(loaded: &mut Loaded) -> Result<Auth, String> {
    let nowhere =
        DatabaseSettings { url: Some("sqlite::memory:".to_owned()), max_connections: None, pooler: None };
    let real = loaded.settings.database.replace(nowhere);
    let built = build(loaded, false).await;
    loaded.settings.database = real;
    built
}

/// SQLite writes its journal beside the file, so the directory must be writable, and its own message
/// ("unable to open database file") does not say which.
pub fn writable(file: &Path) -> Result<(), String> {
    let directory = match file.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let shown = std::path::absolute(directory).unwrap_or_else(|_| directory.to_path_buf());
    let shown = shown.display();
    if !directory.is_dir() {
        return Err(format!(
            "the directory {shown} of database.url is not there; create it or set database.url"
        ));
    }
    let name = format!(".portcullis-{}", std::process::id());
    let probe = directory.join(name);
    let written = std::fs::OpenOptions::new().write(true).create_new(true).open(&probe);
    written.and_then(|_| std::fs::remove_file(&probe)).map_err(|error| {
        format!("the directory {shown} of database.url is not writable ({error}); change its owner or mode, or set database.url")
    })
}
