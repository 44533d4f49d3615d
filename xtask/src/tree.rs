//! The files of the repository as a value, so that the checks run over a literal in their tests.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, Stdio};

/// Where the rooms are.
pub const FEATURES: &str = "crates/auth/src/features/";

/// Texts by path from the root, with `/`. Files that are not UTF-8 are not part of it.
#[derive(Debug, Default)]
pub struct Tree(BTreeMap<String, String>);

impl Tree {
    /// What git knows, and what it would take if asked (neither ignored files nor deleted ones).
    pub fn load(root: &Path) -> Result<Self, String> {
        let listed = Command::new("git")
            .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .current_dir(root)
            .stdin(Stdio::null())
            .output()
            .map_err(|e| format!("cannot run git: {e}"))?;
        if !listed.status.success() {
            return Err(format!("git ls-files: {}", String::from_utf8_lossy(&listed.stderr)));
        }
        let names = String::from_utf8(listed.stdout).map_err(|e| format!("a file name is not UTF-8: {e}"))?;
        let mut files = BTreeMap::new();
        for name in names.split('\0').filter(|name| !name.is_empty()) {
            let path = root.join(name);
            if !path.is_file() {
                continue;
            }
            let bytes = std::fs::read(&path).map_err(|e| format!("{name}: {e}"))?;
            if let Ok(text) = String::from_utf8(bytes) {
                files.insert(name.to_owned(), text);
            }
        }
        Ok(Self(files))
    }

    /// A file's text.
    pub fn get(&self, path: &str) -> Option<&str> {
        self.0.get(path).map(String::as_str)
    }

    /// All files, by path.
    pub fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// Files whose path starts so.
    pub fn under<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.files().filter(move |(path, _)| path.starts_with(prefix))
    }

    /// Names of the rooms: the folders among the features.
    pub fn rooms(&self) -> BTreeSet<String> {
        self.under(FEATURES)
            .filter_map(|(path, _)| path.strip_prefix(FEATURES)?.split_once('/'))
            .map(|(room, _)| room.to_owned())
            .collect()
    }

    /// The Rust files of a room with their paths within it, tests excepted.
    pub fn room_sources(&self, room: &str) -> Vec<(&str, &str)> {
        let prefix = format!("{FEATURES}{room}/");
        self.files()
            .filter_map(|(path, text)| Some((path.strip_prefix(&prefix)?, text)))
            .filter(|(path, _)| path.ends_with(".rs") && !is_test(path))
            .collect()
    }
}

/// Is this a file of tests only?
pub fn is_test(path: &str) -> bool {
    path.ends_with("/tests.rs")
        || path == "tests.rs"
        || path.contains("/tests/")
        || path.starts_with("tests/")
}

#[cfg(test)]
impl<const N: usize> From<[(&str, &str); N]> for Tree {
    fn from(files: [(&str, &str); N]) -> Self {
        Self(files.into_iter().map(|(path, text)| (path.to_owned(), text.to_owned())).collect())
    }
}
