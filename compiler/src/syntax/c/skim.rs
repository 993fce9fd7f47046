//! Steps over text without understanding it, to find the next directive.
//!
//! In: a script or a header, an offset. Out: the offset behind one lexeme, and
//! whether a directive or a C definition starts there.
//! Invariants: `#` counts only as the first character of its line, outside
//! comments and strings; every step moves on.

use super::lex;

/// What is known about the text before the offset.
#[derive(Clone, Copy, Debug)]
pub(super) struct Skim {
    /// Nothing but blanks and comments since the start of the line.
    pub(super) line_start: bool,
    /// A top-level item of the script may start here.
    pub(super) item_start: bool,
    /// Open braces.
    depth: usize,
    /// The text is a script: attach points may hold paths with `/*` in them.
    script: bool,
}

impl Skim {
    /// The state at the start of a file.
    pub(super) fn new(script: bool) -> Skim {
        Skim { line_start: true, item_start: true, depth: 0, script }
    }

    /// The state behind a complete C definition.
    pub(super) fn after_definition(&mut self) {
        self.line_start = false;
        self.item_start = true;
    }

    /// Offset behind the lexeme at `pos`; `pos` is inside the text.
    pub(super) fn step(&mut self, text: &str, pos: usize) -> usize {
        let bytes = text.as_bytes();
        let next = bytes.get(pos + 1).copied().unwrap_or(0);
        match bytes[pos] {
            b'\n' => {
                self.line_start = true;
                return pos + 1;
            }
            b' ' | b'\t' | b'\r' | 0x0b | 0x0c => return pos + 1,
            b'\\' if lex::splice(bytes, pos).is_some() => return pos + lex::splice(bytes, pos).unwrap_or(1),
            b'/' if next == b'/' => return line_end(bytes, pos),
            b'/' if next == b'*' => return comment_end(bytes, pos),
            _ => self.line_start = false,
        }
        self.item_start = false;
        match bytes[pos] {
            b'"' => string_end(bytes, pos),
            b'\'' => char_end(bytes, pos),
            b':' if self.script && self.depth == 0 => attach_word_end(bytes, pos + 1),
            b'{' => {
                self.depth += 1;
                pos + 1
            }
            b'}' => {
                self.depth = self.depth.saturating_sub(1);
                self.item_start = self.depth == 0;
                pos + 1
            }
            b';' => {
                self.item_start = self.depth == 0;
                pos + 1
            }
            b if lex::is_name_start(b) => name_end(bytes, pos),
            _ => pos + 1,
        }
    }
}

/// Offset behind the name at `pos`.
pub(super) fn name_end(bytes: &[u8], pos: usize) -> usize {
    let rest = &bytes[pos..];
    pos + rest.iter().position(|&b| !lex::is_name(b)).unwrap_or(rest.len())
}

fn line_end(bytes: &[u8], pos: usize) -> usize {
    let rest = &bytes[pos..];
    pos + rest.iter().position(|&b| b == b'\n').unwrap_or(rest.len())
}

fn comment_end(bytes: &[u8], pos: usize) -> usize {
    let rest = &bytes[pos + 2..];
    rest.windows(2).position(|w| w == b"*/").map_or(bytes.len(), |n| pos + n + 4)
}

/// Behind the closing quote, or before the end of the line.
fn string_end(bytes: &[u8], pos: usize) -> usize {
    let mut i = pos + 1;
    while let Some(&b) = bytes.get(i) {
        match b {
            b'\n' => return i,
            b'\\' => i += 1,
            b'"' => return i + 1,
            _ => {}
        }
        i += 1;
    }
    bytes.len()
}

/// A character constant is short; any other `'` stands for itself.
fn char_end(bytes: &[u8], pos: usize) -> usize {
    let window = &bytes[pos + 1..bytes.len().min(pos + 8)];
    let skip = usize::from(window.first() == Some(&b'\\')) * 2;
    let end = window.iter().skip(skip).position(|&b| b == b'\'' || b == b'\n');
    match end.map(|n| n + skip) {
        Some(n) if window[n] == b'\'' && n > 0 => pos + n + 2,
        _ => pos + 1,
    }
}

/// Part of an attach point: `/usr/lib/*/libc.so.6` is no comment.
fn attach_word_end(bytes: &[u8], pos: usize) -> usize {
    let mut i = pos;
    while let Some(&b) = bytes.get(i) {
        match b {
            b'"' => i = string_end(bytes, i),
            b' ' | b'\t' | b'\r' | b'\n' | b',' | b'{' | b'}' | b';' | b')' => return i,
            _ => i += 1,
        }
    }
    i
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Offsets where a `#` is first on its line.
    fn directives(text: &str) -> Vec<usize> {
        let mut skim = Skim::new(true);
        let mut pos = 0;
        let mut out = Vec::new();
        while pos < text.len() {
            if skim.line_start && text.as_bytes()[pos] == b'#' {
                out.push(pos);
            }
            pos = skim.step(text, pos);
        }
        out
    }

    #[test]
    fn only_a_hash_that_starts_its_line_counts() {
        assert_eq!(directives("#a\n  #b\n x #c\n/* y\n#d */ #e"), [0, 5, 25]);
        assert_eq!(directives("BEGIN { $# \n \"\n#x\" }"), [15]);
        assert_eq!(directives("{ 'a' '\"' '\\'' }\n#x"), [17]);
        assert_eq!(directives("uprobe:/lib/*/c:f { it's }\n#x\n/* */"), [27]);
        assert_eq!(directives("BEGIN { /* \n# */ }"), Vec::<usize>::new());
        assert_eq!(directives("BEGIN { a ?b:/*\n# */c }"), Vec::<usize>::new());
    }
}
