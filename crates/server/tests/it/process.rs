//! The binary as a process.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// A command in a directory, with an empty environment.
pub fn portcullis(directory: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
    command.current_dir(directory).args(args).env_clear();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// What a command that ended had to say.
#[derive(Debug)]
pub struct Said {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

/// Runs a command to its end with something on its standard input.
pub fn run_with(mut command: Command, input: &str) -> Said {
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    // A command that does not read its input may be gone by now.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    Said {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Runs a command to its end.
pub fn run(directory: &Path, args: &[&str]) -> Said {
    run_with(portcullis(directory, args), "")
}

/// A server that runs; it is killed when dropped.
pub struct Server {
    child: Child,
    out: BufReader<ChildStdout>,
    err: Receiver<String>,
    pub address: SocketAddr,
}

impl Server {
    /// Starts one on a free port and waits for its ready line.
    pub fn start(directory: &Path) -> Self {
        Self::of(portcullis(directory, &["--port", "0"]))
    }

    /// Starts one from a command.
    pub fn of(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut stderr = child.stderr.take().unwrap();
        let (sender, err) = channel();
        std::thread::spawn(move || {
            let mut text = String::new();
            stderr.read_to_string(&mut text).unwrap();
            // Nobody may be listening any more.
            let _ = sender.send(text);
        });
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        let Some(address) = line.trim_end().strip_prefix("listening on http://") else {
            child.wait().unwrap();
            panic!("no ready line but {line:?}; {}", err.recv().unwrap());
        };
        let address = address.parse().unwrap();
        Self { child, out, err, address }
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    }

    /// Waits for the end of one that was asked to stop.
    pub fn ended(mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }

    /// Asks it to stop; what it said on the way, after the ready line.
    pub fn stop(mut self) -> Said {
        self.terminate();
        let code = self.child.wait().unwrap().code();
        let mut out = String::new();
        self.out.read_to_string(&mut out).unwrap();
        let err = self.err.recv_timeout(Duration::from_secs(20)).unwrap();
        Said { code, out, err }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
