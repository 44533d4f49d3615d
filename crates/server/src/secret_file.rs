//! The development secret: made up at the first start and kept beside the database, so that people
//! stay signed in when the server restarts. Never in production, where a missing secret refuses to
//! start, because several servers must share one and a backup of the data must not contain it.

use std::ffi::OsString;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use portcullis::crypto::{Alphabet, Random};

use crate::load::Loaded;

/// 48 characters of 64 are 288 bits.
const LENGTH: usize = 48;

/// A fresh secret.
pub fn fresh() -> String {
    Random::system().text(LENGTH, Alphabet::UrlSafe)
}

/// Where the secret is kept.
pub fn path(loaded: &Loaded) -> PathBuf {
    let mut name = loaded.sqlite_file().map_or_else(|| OsString::from("portcullis"), PathBuf::into_os_string);
    name.push(".secret");
    PathBuf::from(name)
}

/// Reads the kept secret into the settings, or makes one; says where it is, `None` when none is needed.
pub async fn ensure(loaded: &mut Loaded) -> Result<Option<PathBuf>, String> {
    if !loaded.may_make_secret() {
        return Ok(None);
    }
    let path = path(loaded);
    make(&path).map_err(|e| {
        format!(
            "cannot keep a development secret in {}: {e}; make its directory writable, or set BETTER_AUTH_SECRET",
            path.display()
        )
    })?;
    loaded.settings.secret = Some(kept(&path).await?);
    Ok(Some(path))
}

/// The kept secret. Another process may just have created the file and not yet written to it.
async fn kept(path: &Path) -> Result<String, String> {
    for _ in 0..20 {
        let text = std::fs::read_to_string(path)
            .map_err(|e| format!("cannot read the development secret in {}: {e}", path.display()))?;
        let text = text.trim();
        if !text.is_empty() {
            return Ok(text.to_owned());
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    Err(format!("the development secret in {} is empty; delete the file and start again", path.display()))
}

/// Creates the file for this user alone; one that is there already is left as it is.
fn make(path: &Path) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Ok(mut file) => {
            writeln!(file, "{}", fresh())?;
            file.sync_all()
        }
        Err(e) if e.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_kept_secret_is_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.secret");
        make(&path).unwrap();
        let first = kept(&path).await.unwrap();
        assert_eq!(first.len(), LENGTH);
        make(&path).unwrap();
        assert_eq!(kept(&path).await.unwrap(), first);
    }

    #[tokio::test]
    async fn an_empty_secret_file_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.secret");
        std::fs::write(&path, "\n").unwrap();
        let error = kept(&path).await.unwrap_err();
        assert!(error.contains("x.secret is empty"), "{error}");
    }
}
