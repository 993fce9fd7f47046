//! The shell script that performs a case, and the command that builds its tracer.
//!
//! The same script runs on this machine and in a virtual machine. What performs
//! the case is a [`Subject`]: btc with the tracers it builds, or, to check the
//! cases themselves, an interpreter of the same language.

use crate::case::{Case, Mode, STAGE};
use crate::process::quote;

/// What is tested.
#[derive(Clone, Debug)]
pub enum Subject {
    /// btc: the command that runs it.
    Btc(String),
    /// An interpreter: its command, with `{src}` where the script belongs.
    Oracle(String),
}

impl Subject {
    /// `$BTC_ORACLE` if set, else btc.
    pub fn from_env() -> Result<Self, String> {
        match std::env::var("BTC_ORACLE") {
            Ok(command) if command.contains("{src}") => Ok(Subject::Oracle(command)),
            Ok(_) => Err("BTC_ORACLE must hold {src}, as in BTC_ORACLE=\"bpftrace {src}\"".into()),
            Err(_) => Ok(Subject::Btc(quote(&crate::btc()?.to_string_lossy()))),
        }
    }

    /// Why a case says nothing about this subject, if so.
    pub fn skips(&self, case: &Case) -> Option<&'static str> {
        match (self, case.get("oracle")) {
            (Subject::Oracle(_), "none") => Some("the interpreter differs from its documentation"),
            (Subject::Oracle(_), "0.17") => Some("blessed from an older interpreter"),
            _ => None,
        }
    }
}

/// Where the case's script is written.
pub fn source_path(case: &Case) -> String {
    format!("{STAGE}/work/{}.bt", case.name)
}

/// Where its tracer is built.
pub fn tracer_path(case: &Case) -> String {
    format!("{STAGE}/work/{}.bin", case.name)
}

/// Arguments that hand the script over, and the redirection of standard input.
fn source(case: &Case) -> (String, String) {
    let path = quote(&source_path(case));
    match case.mode() {
        Mode::Inline => (format!("-e {}", quote(case.script.trim_end_matches('\n'))), String::new()),
        Mode::Stdin => ("-".into(), format!("< {path}")),
        Mode::File | Mode::Tool => (path, String::new()),
    }
}

fn environment(case: &Case) -> String {
    let export = |(k, v): &(String, String)| format!("export {k}={}\n", quote(v));
    format!("cd {STAGE}/work\n{}", case.env.iter().map(export).collect::<String>())
}

fn before(case: &Case) -> String {
    match case.get("pre") {
        "" => String::new(),
        pre => format!("( {pre} ) </dev/null\n"),
    }
}

/// The script that builds the tracer; none where nothing is to be built.
pub fn build(case: &Case, subject: &Subject) -> Option<String> {
    let Subject::Btc(btc) = subject else {
        return None;
    };
    if case.mode() == Mode::Tool {
        return None;
    }
    let (src, stdin) = source(case);
    let (flags, out) = (case.get("build"), tracer_path(case));
    Some(format!("{}{}{btc} build {flags} {src} -o {} {stdin}\n", environment(case), before(case), quote(&out)))
}

/// The command line that is tested, and its standard input.
fn command(case: &Case, subject: &Subject) -> (String, String) {
    let (src, stdin) = source(case);
    let mut flags = case.get("flags").to_owned();
    if !case.get("c").is_empty() {
        flags = format!("{flags} -c {}", quote(case.get("c")));
    }
    let args = case.get("args");
    match (case.mode(), subject) {
        (Mode::Tool, Subject::Btc(tool)) => (format!("( {tool} {flags} {args} )"), String::new()),
        (Mode::Tool, Subject::Oracle(tool)) => {
            (format!("( {} {flags} {args} )", tool.replace("{src}", "")), String::new())
        }
        (_, Subject::Btc(_)) => (format!("{} {flags} {args}", quote(&tracer_path(case))), String::new()),
        (_, Subject::Oracle(tool)) => {
            let options = format!("{} {flags} {src}", case.get("build"));
            (format!("{} {args}", tool.replace("{src}", &options)), stdin)
        }
    }
}

/// The script that performs the case; its exit status is the tested program's.
pub fn perform(case: &Case, subject: &Subject) -> String {
    let (mut command, mut stdin) = command(case, subject);
    if !case.get("stdin").is_empty() {
        stdin = format!("<<'END_STDIN'\n{}\nEND_STDIN", case.get("stdin"));
    } else if stdin.is_empty() {
        stdin = "< /dev/null".into();
    }
    if let Some((signal, seconds)) = case.get("until").split_once(' ') {
        command = format!("timeout --foreground -s {signal} {seconds} {command}");
    }
    let mut script = environment(case) + &before(case);
    if let Subject::Btc(btc) = subject {
        script = format!("BTC={btc}; {script}"); // for cases that run the tool twice
    }
    let background = case.get("bg");
    if !background.is_empty() {
        script += &format!("( sleep 1.2; {background} ) </dev/null >/dev/null 2>&1 &\n");
    }
    script += &format!("{command} {stdin}\nrc=$?\n");
    if !background.is_empty() {
        script += "wait\n";
    }
    if !case.get("post").is_empty() {
        script += &format!("( {} ) </dev/null\n", case.get("post"));
    }
    script + "exit $rc\n"
}
