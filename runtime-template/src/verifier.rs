//! Reads the verifier's log for the one line that matters.
//!
//! In: libbpf's messages with a log in them. Out: what is wrong, and where in
//! the script, as far as the log's line information says.

/// What a log comes down to.
#[derive(Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The verifier's complaint.
    pub message: String,
    /// `file:line` of the script, or the source text where the kernel prints no line.
    pub line: Option<String>,
}

/// Finds the complaint: the last line of the log that is no statistics, and the
/// last source line before it.
pub fn verdict(log: &str) -> Option<Verdict> {
    let (_, rest) = log.split_once("-- BEGIN PROG LOAD LOG --")?;
    let body = rest.split("-- END PROG LOAD LOG --").next()?;
    let (mut message, mut line) = (None, None);
    for l in body.lines().map(str::trim).filter(|l| !l.is_empty()) {
        if let Some(source) = l.strip_prefix("; ") {
            line = Some(place(source));
        } else if !is_statistics(l) {
            message = Some(l);
        }
    }
    Some(Verdict { message: message.unwrap_or("no reason given").to_string(), line })
}

/// The type or field whose CO-RE relocation failed: libbpf writes that into the log, where
/// the verifier met the instruction without one.
pub fn unresolved(message: &str) -> Option<&str> {
    let (_, relocation) = message.strip_prefix("failed to resolve CO-RE relocation <")?.split_once("] ")?;
    Some(relocation.split(" (").next().unwrap_or(relocation))
}

/// `text @ file:line` becomes `file:line`; before 6.9 there is only the text.
fn place(source: &str) -> String {
    match source.rsplit_once(" @ ") {
        Some((_, place)) if place.rsplit_once(':').is_some_and(|(_, n)| n.parse::<u32>().is_ok()) => place.to_string(),
        _ => format!("`{source}`"),
    }
}

fn is_statistics(line: &str) -> bool {
    ["processed ", "verification time ", "stack depth ", "mark_precise"].iter().any(|p| line.starts_with(p))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaint_and_line() {
        let log = "libbpf: prog 'p': -- BEGIN PROG LOAD LOG --\n\
                   0: R1=ctx() R10=fp0\n; @x = *ptr @ script.bt:3\n1: (79) r1 = *(u64 *)(r0 +0)\n\
                   R0 invalid mem access 'scalar'\nprocessed 2 insns (limit 1000000)\n\
                   -- END PROG LOAD LOG --\nlibbpf: failed\n";
        let v = verdict(log).unwrap();
        assert_eq!(v.message, "R0 invalid mem access 'scalar'");
        assert_eq!(v.line.as_deref(), Some("script.bt:3"));
        assert_eq!(verdict("libbpf: no log"), None);
    }

    #[test]
    fn missing_fields_are_named() {
        let message = "failed to resolve CO-RE relocation <byte_off> [46] struct a.b (0:0 @ offset 4)";
        assert_eq!(unresolved(message), Some("struct a.b"));
        assert_eq!(unresolved("failed to resolve CO-RE relocation <type_id> [2] struct a"), Some("struct a"));
        assert_eq!(unresolved("R0 invalid mem access 'scalar'"), None);
    }

    #[test]
    fn old_kernels_print_only_the_text() {
        let log = "-- BEGIN PROG LOAD LOG --\n; @x = y\nbad\n-- END PROG LOAD LOG --";
        assert_eq!(verdict(log).unwrap().line.as_deref(), Some("`@x = y`"));
    }
}
