//! Instructions that reading a session takes, counted by callgrind: unlike seconds they are the same on a
//! busy machine. What is counted is the unoptimised build that the tests run anyway; a request that becomes
//! dearer there becomes dearer everywhere.

use std::path::Path;
use std::process::{Command, Stdio};

/// What is read (`crates/auth/tests/counts/instructions.rs`), and the most instructions that one reading may take.
const BOUNDS: [(&str, u64); 2] = [("plain", 192_000), ("rooms", 226_000)];
/// So many more readings in `…_many` than in `…_few`.
const READINGS: u64 = 500;
/// A bound guards nothing that is further above what is needed than this many hundredths.
const SLACK: u64 = 15;

/// Counts; an error names what has become dearer.
pub fn check(root: &Path, features: &str) -> Result<(), String> {
    if !cfg!(all(target_arch = "x86_64", target_os = "linux")) {
        println!("not counted: the bounds are those of x86-64 and Linux");
        return Ok(());
    }
    for (what, bound) in BOUNDS {
        let few = count(root, features, &format!("{what}_few"))?;
        let many = count(root, features, &format!("{what}_many"))?;
        let each = many.saturating_sub(few) / READINGS;
        println!("get-session, {what}: {each} instructions, at most {bound}");
        if each > bound {
            return Err(format!(
                "get-session, {what}: {each} instructions, at most {bound}: find what has become dearer \
                 (benches/README.md), or raise the bound in xtask/src/instructions.rs if it is worth it"
            ));
        }
        if each * (100 + SLACK) / 100 < bound {
            return Err(format!("get-session, {what}: {each} instructions; lower the bound of {bound}"));
        }
    }
    Ok(())
}

fn count(root: &Path, features: &str, name: &str) -> Result<u64, String> {
    // As the step of the Rust tests calls it, so that nothing is built again.
    let words = ["test", "--workspace", "--features", features, "--test", "counts", "--"];
    let output = Command::new("cargo")
        .args(words)
        .args(["--exact", &format!("instructions::{name}"), "--test-threads=1"])
        .env(
            "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER",
            "valgrind --tool=callgrind --callgrind-out-file=/dev/null",
        )
        .current_dir(root)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("cargo: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if !output.status.success() {
        return Err(format!("{name}: {}\n{said}", String::from_utf8_lossy(&output.stdout)));
    }
    collected(&said).ok_or_else(|| format!("{name}: callgrind did not say what it counted:\n{said}"))
}

/// `==1234== Collected : 248568201`.
fn collected(said: &str) -> Option<u64> {
    said.lines().filter_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok()).next_back()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_read_from_what_callgrind_says() {
        assert_eq!(
            collected("==7== Events    : Ir\n==7== Collected : 248568201\n==7==\n"),
            Some(248_568_201)
        );
        assert_eq!(collected("==7== Fatal error"), None);
    }
}
