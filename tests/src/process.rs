//! Running other programs with a limit on their time and memory.
//!
//! Input: a command. Output: its status, output and peak memory. A program that
//! hangs is ended, with its children.

use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What a program did.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Exit status; 128 + N when signal N ended it; 124 when time ran out.
    pub status: i32,
    /// Standard output, with what is not UTF-8 replaced.
    pub out: String,
    /// Standard error.
    pub err: String,
    /// From start to end.
    pub wall: Duration,
}

/// Runs `script` in `sh`, for at most `seconds`, with empty standard input.
pub fn shell(script: &str, seconds: u32) -> io::Result<Outcome> {
    let mut command = Command::new("timeout");
    command.args(["-k", "3", &seconds.to_string(), "sh", "-c", script]);
    run(&mut command)
}

/// Runs `command` under `timeout`, so that it cannot hang.
pub fn bounded(command: &Command, seconds: u32) -> io::Result<Outcome> {
    let mut outer = Command::new("timeout");
    outer.args(["-k", "3", &seconds.to_string()]).arg(command.get_program()).args(command.get_args());
    for (key, value) in command.get_envs() {
        match value {
            Some(value) => outer.env(key, value),
            None => outer.env_remove(key),
        };
    }
    if let Some(dir) = command.get_current_dir() {
        outer.current_dir(dir);
    }
    run(&mut outer)
}

/// Runs `command` to its end.
pub fn run(command: &mut Command) -> io::Result<Outcome> {
    let start = Instant::now();
    // Cargo sets it for tests; traced programs would look there for their libraries.
    let done = command.env_remove("LD_LIBRARY_PATH").stdin(Stdio::null()).output()?;
    Ok(Outcome {
        status: done.status.code().unwrap_or_else(|| 128 + done.status.signal().unwrap_or(0)),
        out: String::from_utf8_lossy(&done.stdout).into_owned(),
        err: String::from_utf8_lossy(&done.stderr).into_owned(),
        wall: start.elapsed(),
    })
}

/// Limits the address space of the child that `command` will be.
pub fn limit_memory(command: &mut Command, bytes: u64) {
    let limit = libc::rlimit { rlim_cur: bytes, rlim_max: bytes };
    // SAFETY: setrlimit is async-signal-safe and `limit` is owned by the closure.
    unsafe {
        command.pre_exec(move || match libc::setrlimit(libc::RLIMIT_AS, &limit) {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        });
    }
}

/// `text` as one word of a shell command.
pub fn quote(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_@%+=:,./-".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}
