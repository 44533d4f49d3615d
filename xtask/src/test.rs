//! `test`: everything that has to hold, step by step, each with its name and duration. The first
//! failure ends it with the command that repeats just that step.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::instructions;

/// Debian packages, each with files of which one shows that it is there. Absolute paths may have one
/// `*` for a version; anything else is looked up in PATH.
const PACKAGES: [(&str, &[&str]); 14] = [
    ("postgresql", &["/usr/lib/postgresql/*/bin/initdb", "initdb"]),
    ("mariadb-server", &["mariadbd", "/usr/sbin/mariadbd"]),
    ("redis-server", &["redis-server"]),
    ("nodejs", &["node"]),
    ("npm", &["npm"]),
    // better-sqlite3 is compiled where it has no prebuilt binary.
    ("g++", &["c++", "g++"]),
    ("make", &["make"]),
    ("pgbouncer", &["pgbouncer", "/usr/sbin/pgbouncer"]),
    // The certificate of the PostgreSQL that is reached over TLS.
    ("openssl", &["openssl"]),
    // Counts instructions.
    ("valgrind", &["valgrind"]),
    // The examples: an API in Python, and pages in a browser.
    ("python3", &["python3"]),
    ("python3-venv", &["/usr/lib/*/ensurepip/__init__.py", "/usr/local/lib/*/ensurepip/__init__.py"]),
    ("chromium", &["chromium"]),
    ("curl", &["curl"]),
];

/// Flags without which the tests of the crates are not complete.
const FEATURES: &str =
    "portcullis/testing,portcullis-core/testing,portcullis-verify/axum,portcullis-verify/testing";

/// One command of a step.
struct Call {
    words: Vec<String>,
    folder: PathBuf,
    variables: Vec<(&'static str, String)>,
}

impl Call {
    fn new<const N: usize>(folder: &Path, words: [&str; N]) -> Self {
        Self {
            words: words.iter().map(|&word| word.to_owned()).collect(),
            folder: folder.to_owned(),
            variables: vec![],
        }
    }

    fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.variables.push((name, value.into()));
        self
    }

    fn command(&self) -> Result<Command, String> {
        let (program, words) = self.words.split_first().ok_or("an empty command")?;
        let mut command = Command::new(program);
        command.args(words).current_dir(&self.folder).stdin(Stdio::null());
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        Ok(command)
    }

    /// What to type to run this alone, from anywhere.
    fn to_repeat(&self) -> String {
        let mut parts = vec!["cd".to_owned(), quoted(&self.folder.to_string_lossy()), "&&".to_owned()];
        parts.extend(self.variables.iter().map(|(name, value)| format!("{name}={}", quoted(value))));
        parts.extend(self.words.iter().map(|word| quoted(word)));
        format!("({})", parts.join(" "))
    }

    fn run(&self, name: &str) -> Result<(), String> {
        let outcome = self.command()?.status();
        let how = match outcome {
            Ok(status) if status.success() => return Ok(()),
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        };
        Err(format!("\n== {name} failed ({how}). To repeat it:\n\n  {}\n", self.to_repeat()))
    }
}

/// For a POSIX shell.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

fn timed(name: &str, work: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    println!("== {name}");
    let start = Instant::now();
    work()?;
    println!("== {name}: {}", seconds(start.elapsed()));
    Ok(())
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

fn step(name: &str, call: &Call) -> Result<(), String> {
    timed(name, || call.run(name))
}

/// The whole of it; cheap steps first.
pub fn everything(root: &Path) -> Result<(), String> {
    let start = Instant::now();
    timed("packages", || packages(root))?;
    step("format", &Call::new(root, ["cargo", "fmt", "--all", "--check"]))?;
    step("tidy", &Call::new(root, ["cargo", "xtask", "tidy"]))?;
    step("tables", &Call::new(root, ["cargo", "xtask", "tables", "--check"]))?;
    step(
        "clippy",
        &Call::new(
            root,
            [
                "cargo",
                "clippy",
                "--workspace",
                "--all-targets",
                "--features",
                FEATURES,
                "--",
                "-D",
                "warnings",
            ],
        ),
    )?;
    step("Rust tests", &Call::new(root, ["cargo", "test", "--workspace", "--features", FEATURES]))?;
    timed("instructions", || instructions::check(root, FEATURES))?;
    conformance(root)?;
    examples(root)?;
    if found("cargo-deny") {
        step("dependencies", &Call::new(root, ["cargo", "deny", "--all-features", "check"]))?;
    } else {
        println!("\n*** NOT CHECKED: licences and bans of dependencies (cargo-deny is not installed) ***\n");
    }
    println!("== everything holds: {}", seconds(start.elapsed()));
    Ok(())
}

/// The server as a release with a clock that tests set, built; where it is.
fn server(root: &Path) -> Result<PathBuf, String> {
    let words = ["cargo", "build", "--release", "-p", "portcullis-server", "--features", "test-mode"];
    step("release build, test mode", &Call::new(root, words))?;
    Ok(target_folder(root)?.join("release/portcullis"))
}

/// The binary, and the tests that put it beside the real better-auth.
pub fn conformance(root: &Path) -> Result<(), String> {
    let node = root.join("conformance");
    let binary = server(root)?;
    npm_packages(&node)?;
    let call = Call::new(&node, ["node", "--test"]).with("PORTCULLIS_BIN", binary.to_string_lossy());
    step("conformance", &call)
}

/// The task app in Python, and all of it end to end: APIs, pages and a browser. The server is the one that
/// conformance has built, the axum app the one of the Rust tests.
pub fn examples(root: &Path) -> Result<(), String> {
    let target = target_folder(root)?;
    let server = server(root)?;
    let axum = ["cargo", "build", "--workspace", "--bin", "tasks-axum", "--features", FEATURES];
    step("tasks-axum", &Call::new(root, axum))?;
    let fastapi = root.join("examples/tasks-fastapi");
    let venv = target.join("tasks-fastapi");
    let python = venv.join("bin/python");
    let (venv, python) = (venv.to_string_lossy(), python.to_string_lossy());
    timed("Python packages", || {
        Call::new(root, ["python3", "-m", "venv", &venv]).run("Python packages")?;
        let words = [&*python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "-r"];
        let mut pip = Call::new(&fastapi, words);
        pip.words.push("requirements-dev.txt".to_owned());
        pip.run("Python packages")
    })?;
    let with = |call: Call| call.with("PORTCULLIS_BIN", server.to_string_lossy());
    step("tasks-fastapi", &with(Call::new(&fastapi, [&*python, "-m", "pytest", "-q"])))?;
    let app = target.join("debug/tasks-axum");
    let app = app.to_string_lossy();
    let script = Call::new(root, ["sh", "examples/tasks-axum/tests/schemathesis.sh", &app]);
    step("tasks-axum, schemathesis", &script.with("SCHEMATHESIS", format!("{venv}/bin/schemathesis")))?;
    for folder in ["examples/tasks-nextjs", "examples/tests"] {
        npm_packages(&root.join(folder))?;
    }
    let pages = with(Call::new(&root.join("examples/tests"), ["node", "--test"]))
        .with("TASKS_AXUM_BIN", &*app)
        .with("TASKS_FASTAPI_PYTHON", &*python);
    step("examples, end to end", &pages)
}

/// The peers beside each other on this machine; `words` go to `benches/run.mjs`. With `--build-rivals` the
/// Rust servers of others are built first, which takes longer than building this one.
pub fn bench(root: &Path, words: &[&str]) -> Result<(), String> {
    let benches = root.join("benches");
    let server = ["cargo", "build", "--release", "-p", "portcullis-server"];
    step("release build", &Call::new(root, server))?;
    step("load generator", &Call::new(&benches, ["cargo", "build", "--release"]))?;
    npm_packages(&root.join("conformance"))?;
    let tools = target_folder(&benches)?;
    let rivals = tools.join("rivals");
    if words.contains(&BUILD_RIVALS) {
        npm_packages(&benches.join("rivals/bun"))?;
        for rival in ["rustauth", "better-auth-rs"] {
            let build = Call::new(&benches.join("rivals").join(rival), ["cargo", "build", "--release"]);
            step(rival, &build.with("CARGO_TARGET_DIR", rivals.to_string_lossy()))?;
        }
    }
    let mut call = Call::new(root, ["node", "benches/run.mjs"]);
    let folders = [
        ("--portcullis", target_folder(root)?.join("release/portcullis")),
        ("--tools", tools.join("release")),
        ("--rivals", rivals.join("release")),
    ];
    for (word, folder) in folders {
        call.words.extend([word.to_owned(), folder.to_string_lossy().into_owned()]);
    }
    call.words.extend(words.iter().filter(|&&word| word != BUILD_RIVALS).map(|&word| word.to_owned()));
    step("bench", &call)
}

const BUILD_RIVALS: &str = "--build-rivals";

fn npm_packages(node: &Path) -> Result<(), String> {
    if up_to_date(node) {
        return Ok(());
    }
    step("npm packages", &Call::new(node, ["npm", "ci", "--no-audit", "--no-fund"]))
}

/// npm writes a lock file of its own when it is done.
fn up_to_date(node: &Path) -> bool {
    let modified = |file: PathBuf| std::fs::metadata(file).and_then(|meta| meta.modified());
    match (modified(node.join("node_modules/.package-lock.json")), modified(node.join("package-lock.json"))) {
        (Ok(installed), Ok(wanted)) => installed >= wanted,
        // Not installed, or not to be told: npm finds out.
        _ => false,
    }
}

/// cargo says where it builds; the environment and config files may have moved it.
fn target_folder(root: &Path) -> Result<PathBuf, String> {
    let output = Command::new("cargo")
        .args(["metadata", "--format-version", "1", "--no-deps"])
        .current_dir(root)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|e| format!("cannot run cargo metadata: {e}"))?;
    let metadata: serde_json::Value =
        serde_json::from_slice(&output.stdout).map_err(|e| format!("cargo metadata: {e}"))?;
    let folder = metadata.get("target_directory").and_then(serde_json::Value::as_str);
    folder.map(PathBuf::from).ok_or_else(|| "cargo metadata names no target_directory".to_owned())
}

/// Installs what is missing where that is possible, which is as root on Debian and its children.
fn packages(root: &Path) -> Result<(), String> {
    let missing: Vec<&str> = PACKAGES
        .iter()
        .filter(|(_, signs)| !signs.iter().any(|sign| found(sign)))
        .map(|(package, _)| *package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    if !is_root()? || !found("apt-get") {
        // The tests that need them say so themselves: a skip here, a failure where CI is set.
        println!("\n*** MISSING: {} (sudo apt-get install {0}) ***\n", missing.join(" "));
        return Ok(());
    }
    let apt = |words: &[&str]| {
        let mut call = Call::new(root, ["apt-get", "-q", "-y"]).with("DEBIAN_FRONTEND", "noninteractive");
        call.words.extend(words.iter().map(|&word| word.to_owned()));
        call.run("packages")
    };
    apt(&["update"])?;
    let mut words = vec!["install", "--no-install-recommends"];
    words.extend(missing);
    apt(&words)
}

fn is_root() -> Result<bool, String> {
    let output = Command::new("id")
        .arg("-u")
        .stdin(Stdio::null())
        .output()
        .map_err(|e| format!("cannot run id: {e}"))?;
    Ok(output.stdout.trim_ascii() == b"0")
}

/// Is there such a file, or such a program in PATH?
fn found(sign: &str) -> bool {
    if let Some((before, after)) = sign.split_once('*') {
        let Ok(entries) = std::fs::read_dir(before) else { return false };
        return entries.flatten().any(|entry| entry.path().join(after.trim_start_matches('/')).exists());
    }
    if sign.starts_with('/') {
        return Path::new(sign).exists();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| is_program(&folder.join(OsStr::new(sign))))
}

fn is_program(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(file).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_the_command_that_repeats_it() {
        let call = Call::new(Path::new("/"), ["sh", "-c", "exit 3"]).with("A", "b c");
        let message = call.run("a step").unwrap_err();
        assert!(message.contains("a step failed (exit status: 3)"), "{message}");
        assert!(message.contains("(cd / && A='b c' sh -c 'exit 3')"), "{message}");
        let missing = Call::new(Path::new("/"), ["no-such-program-at-all"]).run("b").unwrap_err();
        assert!(missing.contains("(cd / && no-such-program-at-all)"), "{missing}");
    }

    #[test]
    fn programs_are_found_in_path_and_by_version() {
        assert!(found("sh"));
        assert!(!found("no-such-program-at-all"));
        assert!(found("/usr/*/env"));
        assert!(!found("/no/such/*/file"));
    }

    #[test]
    fn words_are_quoted_for_the_shell() {
        assert_eq!(quoted("a-b_c/d.e"), "a-b_c/d.e");
        assert_eq!(quoted("it's"), "'it'\\''s'");
        assert_eq!(quoted(""), "''");
    }
}
