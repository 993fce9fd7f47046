//! `btc doc`: what the words and functions of the language do.
//!
//! In: names or a word to search for. Out: entries on standard output. The entries
//! are those of `docs/functions.md` and the comments above the macros of the
//! library; nothing is said here a second time.

use super::FAILED;
use crate::ctypes::nearest;
use crate::driver::LIBRARY;
use anyhow::Result;
use clap::Args;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;

const PAGE: &str = include_str!("../../../docs/functions.md");

#[derive(Args)]
pub(super) struct DocArgs {
    /// Show the entries that mention this word, too.
    #[arg(short, long, value_name = "WORD")]
    keyword: Option<String>,
    /// Builtins, functions, macros; without one, the list of all.
    names: Vec<String>,
}

/// What is known of a word.
#[derive(Debug, Default)]
struct Entry {
    /// How it is written, in all its forms.
    signature: String,
    /// The part of the page it stands in.
    group: String,
    /// Description.
    text: String,
    /// A script that uses it.
    example: String,
    /// What that script prints, where it is the same everywhere.
    output: String,
}

impl Entry {
    /// The words that the entry explains: what its forms begin with.
    fn names(&self) -> impl Iterator<Item = &str> {
        let forms = self.signature.split(", ").flat_map(|s| s.split(" or "));
        let word = |form: &str| form.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(form.len());
        // Arguments contain commas, too; what is a word of its own is only what is called.
        forms.map(move |form| &form[..word(form)]).filter(|w| !w.is_empty()).take(1)
    }

    fn is(&self, name: &str) -> bool {
        let numbered = |prefix: &str| {
            let digits = name.strip_prefix(prefix);
            digits.is_some_and(|d| !d.is_empty() && d.bytes().all(|b| b.is_ascii_digit()))
        };
        self.names().any(|own| own == name || own == "arg0" && numbered("arg") || own == "sarg0" && numbered("sarg"))
    }

    fn mentions(&self, word: &str) -> bool {
        let has = |text: &str| text.to_lowercase().contains(&word.to_lowercase());
        has(&self.signature) || has(&self.text)
    }

    fn first_sentence(&self) -> String {
        let line = self.text.split_whitespace().collect::<Vec<_>>().join(" ");
        let ends = [". ", "; ", ": "].iter().filter_map(|end| line.find(end));
        line[..ends.min().unwrap_or(line.len())].trim_end_matches('.').to_string()
    }

    fn show(&self) -> String {
        let mut out = format!("{}\n\n", self.signature);
        self.text.lines().for_each(|l| _ = writeln!(out, "  {l}"));
        let _ = writeln!(out);
        self.example.lines().for_each(|l| _ = writeln!(out, "    {l}"));
        if !self.output.is_empty() {
            let _ = writeln!(out, "\n  prints\n");
            self.output.lines().for_each(|l| _ = writeln!(out, "    {l}"));
        }
        out
    }
}

/// `btc doc`.
pub(super) fn doc(args: &DocArgs) -> Result<ExitCode> {
    let entries = entries();
    let mut out = String::new();
    let mut unknown = Vec::new();
    if let Some(word) = &args.keyword {
        let found = entries.iter().filter(|e| e.mentions(word));
        found.for_each(|e| out += &summary(e));
    }
    for name in &args.names {
        // As a call or with an example's arguments, as it is written in scripts.
        let bare = name.split('(').next().unwrap_or(name);
        let known: Vec<_> = entries.iter().filter(|e| e.is(bare)).collect();
        for e in &known {
            let _ = write!(out, "{}{}", if out.is_empty() { "" } else { "\n" }, e.show());
        }
        if known.is_empty() {
            unknown.push(bare);
        }
    }
    if args.names.is_empty() && args.keyword.is_none() {
        out = list(&entries);
    }
    std::io::stdout().write_all(out.as_bytes())?;
    for name in &unknown {
        let close = nearest(name, entries.iter().flat_map(Entry::names));
        let hint = close.map_or_else(|| "btc doc lists all".to_string(), |c| format!("did you mean `{c}`?"));
        eprintln!("error: there is no builtin, function or macro `{name}`: {hint}");
    }
    let nothing = args.keyword.is_some() && args.names.is_empty() && out.is_empty();
    if nothing {
        eprintln!("error: nothing mentions that; btc doc lists all");
    }
    Ok(if unknown.is_empty() && !nothing { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

fn summary(e: &Entry) -> String {
    format!("  {:20} {}\n", e.names().next().unwrap_or(""), e.first_sentence())
}

fn list(entries: &[Entry]) -> String {
    let mut out = String::new();
    let mut group = "";
    for e in entries {
        if e.group != group {
            group = &e.group;
            let _ = writeln!(out, "{}{group}", if out.is_empty() { "" } else { "\n" });
        }
        out += &summary(e);
    }
    out
}

/// All entries: the page's, then the library's.
fn entries() -> Vec<Entry> {
    let mut all = page(PAGE);
    LIBRARY.iter().for_each(|(_, text)| all.extend(library(text)));
    all
}

/// The entries of a page: `##` groups, `###` signatures, fences.
fn page(text: &str) -> Vec<Entry> {
    let mut found: Vec<Entry> = Vec::new();
    let mut group = "";
    let mut fence = None;
    for line in text.lines() {
        match (fence, line.strip_prefix("```")) {
            (None, Some(info)) => fence = Some(info.split(' ').next().unwrap_or("")),
            (Some(_), Some(_)) => fence = None,
            (Some(kind), None) => {
                let Some(e) = found.last_mut() else { continue };
                let part = if kind == "output" { &mut e.output } else { &mut e.example };
                let _ = writeln!(part, "{line}");
            }
            (None, None) => {
                if let Some(title) = line.strip_prefix("## ") {
                    group = title;
                } else if let Some(signature) = line.strip_prefix("### ") {
                    found.push(Entry { signature: signature.into(), group: group.into(), ..Entry::default() });
                } else if let Some(e) = found.last_mut().filter(|_| !line.is_empty() && !line.starts_with('#')) {
                    let _ = writeln!(e.text, "{line}");
                }
            }
        }
    }
    found
}

/// The macros of a library, each below its comment; `//   ` is its example.
fn library(text: &str) -> Vec<Entry> {
    let mut found = Vec::new();
    let mut e = Entry::default();
    for line in text.lines() {
        if let Some(comment) = line.strip_prefix("//") {
            match comment.strip_prefix("   ") {
                Some(example) => _ = writeln!(e.example, "{}", example.trim_start()),
                None if comment.trim().is_empty() => {}
                None => _ = writeln!(e.text, "{}", comment.trim()),
            }
        } else if let Some(head) = line.strip_prefix("macro ") {
            e.signature = head.trim_end_matches('{').trim().into();
            e.group = "Macros of the library".into();
            found.push(std::mem::take(&mut e));
        } else {
            e = Entry::default();
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sema;

    #[test]
    fn every_word_has_an_entry_and_every_entry_a_word() {
        let entries = entries();
        let missing: Vec<_> = sema::words().filter(|w| !entries.iter().any(|e| e.is(w))).collect();
        assert!(missing.is_empty(), "not in docs/functions.md: {missing:?}");
        // Parts of the grammar, not rows of a table.
        let syntax = ["sizeof", "typeof", "comptime", "arg0", "sarg0"];
        for e in entries.iter().filter(|e| e.group != "Macros of the library") {
            let name = e.names().next().expect("every entry has a name");
            assert!(syntax.contains(&name) || sema::words().any(|w| w == name), "{name} is no word");
        }
    }

    #[test]
    fn entries_are_whole_and_unique() {
        let entries = entries();
        let mut names: Vec<&str> = entries.iter().flat_map(Entry::names).collect();
        for e in &entries {
            assert!(!e.text.is_empty() && !e.example.is_empty(), "{}: text or example is missing", e.signature);
            assert!(e.first_sentence().len() < 110, "{}: {}", e.signature, e.first_sentence());
        }
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count, "an entry stands there twice");
    }

    #[test]
    fn signatures_are_those_that_messages_show() {
        let entries = entries();
        for (name, usage) in sema::usages() {
            let e = entries.iter().find(|e| e.is(name)).expect("tested above");
            // What is a builtin, too, is also written without parentheses.
            let same = e.signature == usage || e.signature == format!("{name}, {}", usage.replace(" or ", ", "));
            assert!(same, "{name}: `{}` here, `{usage}` in messages", e.signature);
        }
    }

    #[test]
    fn numbered_words_and_macros_are_found() {
        let entries = entries();
        for name in ["arg7", "sarg1", "strcontains", "is_err", "delete"] {
            assert!(entries.iter().any(|e| e.is(name)), "{name}");
        }
        assert!(!entries.iter().any(|e| e.is("argx") || e.is("strle")));
        assert!(list(&entries).lines().count() > 100);
    }
}
