//! Messages about the script: the one type that stages report with, and the
//! only place that renders them.
//!
//! In: what is wrong, where, and what to do about it. Out: text for people, in
//! the form of rustc's messages. Every code is stable and has a ui test.

use crate::span::{SourceFile, SourceMap, Span};
use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

/// Stable name of a kind of message, such as `E0102`.
pub type Code = &'static str;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Nothing is built.
    Error,
    /// Something is built that may surprise.
    Warning,
}

/// Text attached to a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// Where.
    pub span: Span,
    /// What is there; may be empty.
    pub text: String,
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// Which kind of message.
    pub code: Code,
    /// What is wrong, in one line.
    pub message: String,
    /// The place itself.
    pub primary: Option<Label>,
    /// Other places that matter.
    pub secondary: Vec<Label>,
    /// What to do, or why.
    pub help: Vec<String>,
}

impl Diagnostic {
    /// An error.
    pub fn error(code: Code, message: impl Into<String>) -> Self {
        Diagnostic {
            severity: Severity::Error,
            code,
            message: message.into(),
            primary: None,
            secondary: Vec::new(),
            help: Vec::new(),
        }
    }

    /// A warning.
    pub fn warning(code: Code, message: impl Into<String>) -> Self {
        Diagnostic { severity: Severity::Warning, ..Diagnostic::error(code, message) }
    }

    /// Says where it is, and what is there.
    pub fn at(mut self, span: Span, text: impl Into<String>) -> Self {
        self.primary = Some(Label { span, text: text.into() });
        self
    }

    /// Points at another place.
    pub fn also(mut self, span: Span, text: impl Into<String>) -> Self {
        self.secondary.push(Label { span, text: text.into() });
        self
    }

    /// Says what to do.
    pub fn help(mut self, text: impl Into<String>) -> Self {
        self.help.push(text.into());
        self
    }

    /// Is it an error?
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

/// Collects the messages of a compilation.
#[derive(Debug, Default)]
pub struct Diagnostics {
    list: Vec<Diagnostic>,
}

impl Diagnostics {
    /// Adds a message; the same message at the same place is kept once.
    pub fn push(&mut self, d: Diagnostic) {
        if !self.list.contains(&d) {
            self.list.push(d);
        }
    }

    /// Has anything been reported that stops the build?
    pub fn has_errors(&self) -> bool {
        self.list.iter().any(Diagnostic::is_error)
    }

    /// All messages, in the order of the source, errors first within a place.
    pub fn sorted(&self) -> Vec<&Diagnostic> {
        let mut out: Vec<&Diagnostic> = self.list.iter().collect();
        out.sort_by_key(|d| (d.primary.as_ref().map(|l| (l.span.file, l.span.start)), !d.is_error()));
        out
    }

    /// All messages in the order in which they were reported.
    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.list.iter()
    }
}

/// Longest source line that is shown whole; a script may be one line of megabytes.
const LONGEST_LINE: usize = 400;

/// Most lines between the first and the last label; those without are folded.
const MOST_LINES: u32 = 1000;

/// Renders a message with the source it is about.
pub fn render(d: &Diagnostic, sources: &SourceMap, color: bool) -> String {
    let level = match d.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let renderer = if color { Renderer::styled() } else { Renderer::plain() };
    let mut group = Group::with_title(level.primary_title(d.message.as_str()).id(d.code));
    if let Some(primary) = &d.primary {
        group = add_snippets(group, primary, &d.secondary, sources);
    }
    for h in &d.help {
        group = group.element(Level::HELP.message(h.as_str()));
    }
    let mut out = renderer.render(&[group]).to_string();
    out.push('\n');
    out
}

/// Adds one snippet per file: that of the primary label first.
fn add_snippets<'a>(
    mut group: Group<'a>,
    primary: &'a Label,
    secondary: &'a [Label],
    sources: &'a SourceMap,
) -> Group<'a> {
    let mut files = vec![primary.span.file];
    for l in secondary {
        if !files.contains(&l.span.file) {
            files.push(l.span.file);
        }
    }
    for file in files {
        let source = sources.file(file);
        let labels = std::iter::once((primary, AnnotationKind::Primary))
            .chain(secondary.iter().map(|l| (l, AnnotationKind::Context)))
            .filter(|(l, _)| l.span.file == file);
        let Some((first_line, offset, text)) = shown(source, labels.clone().map(|(l, _)| l.span)) else {
            let at = source.position(primary.span.start);
            group = group.element(
                annotate_snippets::Origin::path(source.name.as_str())
                    .line(at.line as usize)
                    .char_column(at.column as usize),
            );
            continue;
        };
        let mut snippet = Snippet::source(text).line_start(first_line as usize).path(source.name.as_str()).fold(true);
        for (l, kind) in labels {
            let (start, end) = clamp(l.span, offset, text);
            let annotation = kind.span(start..end);
            snippet =
                snippet.annotation(if l.text.is_empty() { annotation } else { annotation.label(l.text.as_str()) });
        }
        group = group.element(snippet);
    }
    group
}

/// The lines around some spans of a file: number of the first line, its offset,
/// and the text. Nothing where a line is too long or the lines are too many:
/// showing megabytes helps nobody and takes long.
fn shown(source: &SourceFile, spans: impl Iterator<Item = Span> + Clone) -> Option<(u32, usize, &str)> {
    let first = spans.clone().map(|s| source.position(s.start).line).min()?;
    let last = spans.map(|s| source.position(s.end.max(s.start)).line).max()?;
    if last - first > MOST_LINES {
        return None;
    }
    let lines: Vec<&str> = (first..=last).map(|n| source.line(n)).collect();
    if lines.iter().any(|l| l.len() > LONGEST_LINE) {
        return None;
    }
    let offset = |line: &str| line.as_ptr() as usize - source.text.as_ptr() as usize;
    let start = offset(lines.first()?);
    let end = offset(lines.last()?) + lines.last()?.len();
    Some((first, start, source.text.get(start..end)?))
}

/// A span's bounds relative to the shown text, on character boundaries.
fn clamp(span: Span, offset: usize, text: &str) -> (usize, usize) {
    let down = |at: u32| {
        let mut i = (at as usize).saturating_sub(offset).min(text.len());
        while !text.is_char_boundary(i) {
            i -= 1;
        }
        i
    };
    let start = down(span.start);
    (start, down(span.end).max(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(text: &str, make: impl FnOnce(&dyn Fn(u32, u32) -> Span) -> Diagnostic) -> String {
        let mut sources = SourceMap::default();
        let file = sources.add("a.bt", None, text.to_string());
        render(&make(&|start, end| Span::new(file, start, end)), &sources, false)
    }

    #[test]
    fn shows_the_lines_of_its_labels() {
        let text = "BEGIN {\n  $a = 1;\n  $b = 2;\n}\n";
        let out =
            rendered(text, |at| Diagnostic::error("E0999", "bad").at(at(20, 22), "here").also(at(10, 12), "there"));
        assert!(out.starts_with("error[E0999]: bad\n --> a.bt:3:3\n"), "{out}");
        assert!(out.contains("$a = 1;") && out.contains("$b = 2;") && !out.contains("BEGIN"), "{out}");
    }

    #[test]
    fn survives_every_place() {
        let text = "é\n\u{1F600}x\r\n";
        for start in 0..12 {
            for end in 0..12 {
                let out = rendered(text, |at| Diagnostic::warning("W0999", "odd").at(at(start, end), "").help("none"));
                assert!(out.starts_with("warning[W0999]: odd\n --> a.bt:"), "{out}");
            }
        }
        assert!(rendered("", |at| Diagnostic::error("E0999", "empty").at(at(0, 0), "")).contains("a.bt:1:1"));
    }

    #[test]
    fn names_only_the_place_in_a_huge_line() {
        let text = "x".repeat(100_000);
        let out = rendered(&text, |at| Diagnostic::error("E0999", "bad").at(at(50_000, 50_001), "here"));
        assert!(out.len() < 200 && out.contains("a.bt:1:50001"), "{out}");
    }
}
