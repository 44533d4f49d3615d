//! The command line. Options are few on purpose: everything else is in the config file or the
//! environment, where it can be reviewed.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Better Auth's HTTP API in one process.
#[derive(Debug, Parser)]
#[command(
    name = "portcullis",
    version,
    about,
    after_help = "Without a command the server is started (serve)."
)]
pub struct Cli {
    /// Config file, TOML or JSON; otherwise portcullis.toml, otherwise the defaults
    #[arg(long, short, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    #[command(flatten)]
    pub serve: ServeArgs,
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Where to listen.
#[derive(Debug, Default, Clone, Args)]
pub struct ServeArgs {
    /// Port to listen on; 0 takes a free one [default: 4000]
    #[arg(long, short, value_name = "N")]
    pub port: Option<u16>,
    /// Address to listen on, with or without a port [default: 127.0.0.1]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<String>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start the server
    Serve(ServeArgs),
    /// Create and extend the tables
    Migrate {
        /// Print the SQL and change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Check config, database, secret and addresses
    Doctor,
    /// Print a fresh random secret
    Secret,
    /// Print an OpenAPI 3.1 document of the routes
    Openapi,
    /// Look at mails that wait or were given up, and at templates
    #[command(subcommand)]
    Mail(MailCommand),
    /// Look at and change users
    #[command(subcommand)]
    User(UserCommand),
}

/// What to do with mails.
#[derive(Debug, Subcommand)]
pub enum MailCommand {
    /// Print what is in the outbox, one mail a line; nothing of the mails' contents
    List,
    /// Let the server try again what was given up
    Retry {
        /// One mail's id; without it, all
        id: Option<String>,
    },
    /// Print a mail with made-up contents, with the templates that the server uses
    Preview {
        /// Kind of mail; without it, the kinds and languages there are
        kind: Option<String>,
        /// Which form of it
        #[arg(long, value_enum, default_value = "text")]
        form: Form,
        /// Language
        #[arg(long, value_name = "LANGUAGE")]
        locale: Option<String>,
    },
}

/// A form of a mail.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Form {
    /// Subject and text
    Text,
    /// HTML
    Html,
}

/// What to do with users. A password is read from standard input or asked for, never an argument,
/// because arguments are visible to every process of the machine.
#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Print all users, one a line
    List,
    /// Print one user as JSON
    Show {
        /// E-mail address
        email: String,
    },
    /// Create a user with a password
    Create {
        /// E-mail address
        email: String,
        /// Name [default: the part before the @]
        #[arg(long)]
        name: Option<String>,
        /// Take the address as proven
        #[arg(long)]
        verified: bool,
    },
    /// Give a user a new password and end all sessions
    SetPassword {
        /// E-mail address
        email: String,
    },
    /// Delete a user with all sessions and accounts
    Delete {
        /// E-mail address
        email: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn serve_is_meant_when_nothing_is_said() {
        let cli = Cli::try_parse_from(["portcullis", "--port", "0", "--config", "x.json"]).unwrap();
        assert!(cli.command.is_none());
        assert_eq!(cli.serve.port, Some(0));
        let cli = Cli::try_parse_from(["portcullis", "serve", "--config", "x.json", "--port", "7"]).unwrap();
        assert!(matches!(cli.command, Some(Command::Serve(ServeArgs { port: Some(7), .. }))));
    }
}
