//! Regular expressions of `--probe-filter`: `.`, `*`, `+`, `?`, `|`, groups,
//! sets, `^` and `$`, found anywhere in a text.
//!
//! In: a pattern and a text. Out: does it match? By backtracking: both are short
//! and come from whoever runs the tracer. A broken pattern is an error.

use anyhow::{Result, bail};

/// A parsed pattern.
#[derive(Clone, Debug)]
pub struct Regex(Vec<Vec<Piece>>);

/// One thing to match, and how often.
#[derive(Clone, Debug)]
struct Piece {
    what: What,
    min: usize,
    max: usize,
}

#[derive(Clone, Debug)]
enum What {
    Any,
    Byte(u8),
    /// Ranges, and whether others are meant.
    Set(Vec<(u8, u8)>, bool),
    Group(Vec<Vec<Piece>>),
    Start,
    End,
}

impl Regex {
    /// Parses a pattern.
    pub fn new(pattern: &str) -> Result<Regex> {
        let mut at = 0;
        let parsed = alternatives(pattern.as_bytes(), &mut at)?;
        if at < pattern.len() {
            bail!("--probe-filter: `{pattern}` has a `)` without `(`");
        }
        Ok(Regex(parsed))
    }

    /// Does the text hold a match?
    pub fn is_match(&self, text: &str) -> bool {
        let text = text.as_bytes();
        (0..=text.len()).any(|start| any(&self.0, text, start, &mut |_| true))
    }
}

fn alternatives(p: &[u8], at: &mut usize) -> Result<Vec<Vec<Piece>>> {
    let mut all = vec![Vec::new()];
    while let Some(&b) = p.get(*at) {
        if b == b')' {
            break;
        }
        *at += 1;
        let what = match b {
            b'|' => {
                all.push(Vec::new());
                continue;
            }
            b'.' => What::Any,
            b'^' => What::Start,
            b'$' => What::End,
            b'(' => {
                let inner = alternatives(p, at)?;
                if p.get(*at) != Some(&b')') {
                    bail!("--probe-filter: a `(` is not closed");
                }
                *at += 1;
                What::Group(inner)
            }
            b'[' => set(p, at)?,
            b'\\' => {
                let Some(&escaped) = p.get(*at) else { bail!("--probe-filter: nothing follows the last `\\`") };
                *at += 1;
                What::Byte(escaped)
            }
            b'*' | b'+' | b'?' => bail!("--probe-filter: nothing is repeated by `{}`", char::from(b)),
            b => What::Byte(b),
        };
        let (min, max) = match p.get(*at) {
            Some(b'*') => (0, usize::MAX),
            Some(b'+') => (1, usize::MAX),
            Some(b'?') => (0, 1),
            _ => (1, 1),
        };
        *at += usize::from((min, max) != (1, 1));
        if let Some(last) = all.last_mut() {
            last.push(Piece { what, min, max });
        }
    }
    Ok(all)
}

fn set(p: &[u8], at: &mut usize) -> Result<What> {
    let negated = p.get(*at) == Some(&b'^');
    *at += usize::from(negated);
    let (mut ranges, first) = (Vec::new(), *at);
    loop {
        match (p.get(*at), p.get(*at + 1), p.get(*at + 2)) {
            (Some(b']'), ..) if *at > first => break,
            (Some(&low), Some(b'-'), Some(&high)) if high != b']' => {
                ranges.push((low, high));
                *at += 3;
            }
            (Some(&b), ..) => {
                ranges.push((b, b));
                *at += 1;
            }
            (None, ..) => bail!("--probe-filter: a `[` is not closed"),
        }
    }
    *at += 1;
    Ok(What::Set(ranges, negated))
}

fn any(all: &[Vec<Piece>], text: &[u8], at: usize, then: &mut dyn FnMut(usize) -> bool) -> bool {
    all.iter().any(|pieces| sequence(pieces, text, at, then))
}

fn sequence(pieces: &[Piece], text: &[u8], at: usize, then: &mut dyn FnMut(usize) -> bool) -> bool {
    match pieces.split_first() {
        None => then(at),
        Some((first, rest)) => repeated(first, 0, text, at, &mut |next| sequence(rest, text, next, then)),
    }
}

/// As many as possible first.
fn repeated(piece: &Piece, done: usize, text: &[u8], at: usize, then: &mut dyn FnMut(usize) -> bool) -> bool {
    let more = done < piece.max
        && one(&piece.what, text, at, &mut |next| {
            // An empty match repeats for ever.
            (next > at || done < piece.min) && repeated(piece, done + 1, text, next, then)
        });
    more || done >= piece.min && then(at)
}

fn one(what: &What, text: &[u8], at: usize, then: &mut dyn FnMut(usize) -> bool) -> bool {
    let byte = text.get(at).copied();
    match what {
        What::Start => at == 0 && then(at),
        What::End => byte.is_none() && then(at),
        What::Group(all) => any(all, text, at, then),
        What::Any => byte.is_some() && then(at + 1),
        What::Byte(b) => byte == Some(*b) && then(at + 1),
        What::Set(ranges, negated) => {
            byte.is_some_and(|b| ranges.iter().any(|r| (r.0..=r.1).contains(&b)) != *negated) && then(at + 1)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, text, want) in [
            (":200", "interval:ms:200", true),
            (":200", "interval:ms:100", false),
            ("interval:ms:(200|300)", "interval:ms:300", true),
            ("^k.*read$", "kprobe:vfs_read", true),
            ("^k.*read$", "kprobe:vfs_readv", false),
            ("vfs_[a-m]+x?$", "kprobe:vfs_fallx", true),
            ("[^k]probe", "kprobe", false),
            ("a(b|)*c", "abbc", true),
            ("", "x", true),
        ] {
            assert_eq!(Regex::new(pattern).unwrap().is_match(text), want, "{pattern} {text}");
        }
        for broken in ["(", ")", "[a", "*", "\\"] {
            assert!(Regex::new(broken).is_err(), "{broken}");
        }
    }
}
