//! The project's own commands, as `cargo xtask NAME`: everything that has to hold (`test`), the peers
//! beside each other (`bench`), the
//! invariants of the layout (`tidy`), and the tables in the manuals (`tables`).

mod instructions;
mod source;
mod tables;
mod test;
mod tidy;
mod tree;

use std::path::PathBuf;
use std::process::ExitCode;

const USAGE: &str = "\
cargo xtask COMMAND

  test             everything: format, layout, lints, Rust tests, release build, conformance, examples
  examples         only the examples: tasks-fastapi by itself, then each API with the pages in a browser
  conformance      only the release build (test mode) and the tests beside the real better-auth
  bench            Portcullis beside its peers: requests per second, latencies, memory (benches/README.md)
  tidy             the invariants of the layout
  tables           writes routes, errors, options and columns into the manuals
  tables --check   says which manuals are not up to date
";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let root = root();
    let outcome = match words.as_slice() {
        ["test"] => test::everything(&root),
        ["conformance"] => test::conformance(&root),
        ["examples"] => test::examples(&root),
        ["bench", words @ ..] => test::bench(&root, words),
        ["tidy"] => tree::Tree::load(&root).and_then(|tree| report(&tidy::check(&tree), "tidy")),
        ["tables"] => tables::write(&root),
        ["tables", "--check"] => tree::Tree::load(&root)
            .and_then(|tree| report(&tables::stale(&tree), "tables (mend with `cargo xtask tables`)")),
        [] | ["help" | "--help" | "-h"] => {
            print!("{USAGE}");
            Ok(())
        }
        _ => Err(format!("unknown command\n\n{USAGE}")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

/// The repository: this crate's folder is one below it.
fn root() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.parent().map(PathBuf::from).unwrap_or(here)
}

fn report(problems: &[String], what: &str) -> Result<(), String> {
    if problems.is_empty() {
        return Ok(());
    }
    Err(format!("{}\n{what}: {} to mend", problems.join("\n"), problems.len()))
}
