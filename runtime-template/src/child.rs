//! The `-c` child: started at once, so that its process id is known, but held
//! back before it becomes the command until all probes are attached.

use anyhow::{Context, Result, bail};
use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;

/// A child that waits, runs or has ended.
pub struct Child {
    /// Process id.
    pub pid: u32,
    gate: Option<OwnedFd>,
    ended: Option<i32>,
}

impl Child {
    /// Forks; the child waits for [`Child::release`].
    pub fn start(command: &str) -> Result<Child> {
        let words = split(command).with_context(|| format!("-c {command}"))?;
        let path = CString::new(executable(&words)?.as_os_str().as_bytes()).context("-c: the path holds a NUL")?;
        let arguments: Vec<CString> =
            words.iter().map(|w| CString::new(w.as_bytes())).collect::<Result<_, _>>().context("-c: NUL in a word")?;
        let mut pointers: Vec<*const libc::c_char> = arguments.iter().map(|a| a.as_ptr()).collect();
        pointers.push(std::ptr::null());
        let mut ends = [0i32; 2];
        let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC;
        // SAFETY: `ends` has room for two descriptors.
        if unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, ends.as_mut_ptr()) } != 0 {
            return Err(io::Error::last_os_error()).context("cannot create a socket");
        }
        // SAFETY: socketpair just returned them.
        let (theirs, ours) = unsafe { (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])) };
        // SAFETY: this process has one thread, and the child calls only
        // async-signal-safe functions until it executes the command.
        match unsafe { libc::fork() } {
            -1 => Err(io::Error::last_os_error()).context("Failed to fork child"),
            0 => {
                // SAFETY: as above; all pointers were made before the fork.
                unsafe { wait_and_exec(theirs.as_raw_fd(), ours.as_raw_fd(), &path, &pointers) }
            }
            pid => Ok(Child { pid: pid as u32, gate: Some(ours), ended: None }),
        }
    }

    /// Lets the command begin, and waits until it has.
    pub fn release(&mut self) -> Result<()> {
        let Some(gate) = self.gate.take() else { return Ok(()) };
        let mut error = [0u8];
        // A child that was killed meanwhile cannot read it: no matter.
        let _ = crate::sys::write_all(gate.as_raw_fd(), b"g");
        // End of file, when executing has closed the other end; else an error's number.
        match File::from(gate).read(&mut error) {
            // A script without `#!`, or whose interpreter is missing, is found out only now.
            Ok(1) => Err(io::Error::from_raw_os_error(error[0].into())).context("-c: cannot execute the command"),
            _ => Ok(()),
        }
    }

    /// Asks the kernel to stop the child before it gives up its memory, so that
    /// what it maps can be looked at one last time. Without the privilege, its
    /// addresses just have no names at the end.
    pub fn watch_exit(&self) {
        // SAFETY: the child is ours; takes integers.
        unsafe { libc::ptrace(libc::PTRACE_SEIZE, self.pid as i32, 0, libc::PTRACE_O_TRACEEXIT) };
    }

    /// Wait status, when the child has ended. `before_end` is called when a
    /// watched child is about to.
    pub fn ended(&mut self, mut before_end: impl FnMut(u32)) -> Option<i32> {
        while self.ended.is_none() {
            let mut status = 0;
            // SAFETY: `status` is valid for writing.
            let r = unsafe { libc::waitpid(self.pid as i32, &mut status, libc::WNOHANG) };
            if r != self.pid as i32 {
                break;
            }
            if !libc::WIFSTOPPED(status) {
                self.ended = Some(status);
                break;
            }
            let (signal, event) = (libc::WSTOPSIG(status), status >> 16);
            let (request, data) = match event {
                libc::PTRACE_EVENT_EXIT => {
                    before_end(self.pid);
                    (libc::PTRACE_CONT, 0)
                }
                // Stopped by job control: stays so until it is continued.
                libc::PTRACE_EVENT_STOP if signal != libc::SIGTRAP => (libc::PTRACE_LISTEN, 0),
                libc::PTRACE_EVENT_STOP => (libc::PTRACE_CONT, 0),
                // A signal on its way to the child: let it pass.
                _ => (libc::PTRACE_CONT, signal),
            };
            // SAFETY: the child is stopped and ours to continue.
            unsafe { libc::ptrace(request, self.pid as i32, 0, data) };
        }
        self.ended
    }
}

impl Drop for Child {
    /// A command does not outlive its tracer.
    fn drop(&mut self) {
        if self.ended(|_| ()).is_none() {
            let signal = if self.gate.is_some() { libc::SIGKILL } else { libc::SIGTERM };
            // SAFETY: the child is ours and not reaped yet, so the id is its own.
            unsafe { libc::kill(self.pid as i32, signal) };
        }
    }
}

/// In the child: waits at the gate, then becomes the command.
unsafe fn wait_and_exec(gate: i32, other: i32, path: &CString, arguments: &[*const libc::c_char]) -> ! {
    // SAFETY: plain system calls on valid arguments.
    unsafe {
        libc::close(other);
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM);
        let mut byte = 0u8;
        // End of file: the tracer gave up.
        if libc::read(gate, (&raw mut byte).cast(), 1) != 1 {
            libc::_exit(0);
        }
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &none, std::ptr::null_mut());
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
        libc::execv(path.as_ptr(), arguments.as_ptr());
        byte = *libc::__errno_location() as u8;
        libc::write(gate, (&raw const byte).cast(), 1);
        libc::_exit(127);
    }
}

/// Splits a command like a shell: blanks separate, quotes and backslashes protect.
fn split(command: &str) -> Result<Vec<String>> {
    let (mut words, mut word, mut open) = (Vec::new(), String::new(), false);
    let mut chars = command.chars();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' | '\n' => {
                if std::mem::take(&mut open) {
                    words.push(std::mem::take(&mut word));
                }
                continue;
            }
            '\'' => loop {
                match chars.next() {
                    Some('\'') => break,
                    Some(c) => word.push(c),
                    None => bail!("a quote is not closed"),
                }
            },
            '"' => loop {
                match chars.next() {
                    Some('"') => break,
                    Some('\\') => word.extend(chars.next()),
                    Some(c) => word.push(c),
                    None => bail!("a quote is not closed"),
                }
            },
            '\\' => word.extend(chars.next()),
            c => word.push(c),
        }
        open = true;
    }
    if open {
        words.push(word);
    }
    Ok(words)
}

/// The file that a command runs.
pub fn program(command: &str) -> Result<String> {
    Ok(executable(&split(command)?)?.to_string_lossy().into_owned())
}

fn executable(words: &[String]) -> Result<std::path::PathBuf> {
    let Some(program) = words.first() else { bail!("-c wants a command") };
    find(program).with_context(|| {
        format!(
            "Failed to fork child: Path '{program}' does not exist or is not executable (No such file or directory)"
        )
    })
}

/// The executable file that a program's name means.
fn find(program: &str) -> Option<std::path::PathBuf> {
    let executable =
        |p: &std::path::Path| std::fs::metadata(p).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0);
    if program.contains('/') {
        let path = std::path::PathBuf::from(program);
        return executable(&path).then_some(path);
    }
    let path = std::env::var_os("PATH")
        .unwrap_or_else(|| "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into());
    path.as_bytes()
        .split(|&b| b == b':')
        .map(|d| std::path::Path::new(std::ffi::OsStr::from_bytes(d)).join(program))
        .find(|p| executable(p))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        assert_eq!(split("a  b\tc").unwrap(), ["a", "b", "c"]);
        assert_eq!(
            split(r#"sh -c "exit 3" 'a b' c\ d "" x"y"z"#).unwrap(),
            ["sh", "-c", "exit 3", "a b", "c d", "", "xyz"]
        );
        assert!(split("a 'b").is_err());
        assert!(split("").unwrap().is_empty());
    }

    #[test]
    fn programs() {
        assert!(find("/bin/sh").is_some());
        assert!(find("sh").is_some());
        assert!(find("/nonexistent/program").is_none());
        assert!(find("/etc/passwd").is_none());
    }
}
