//! A script in the standard form of bpftrace's `--fmt`: a statement a line, two blanks
//! a level, comments and empty lines where they were.
//!
//! In: the tree as parsed and the text it was parsed from, preprocessor lines left out. Out: text that parses to the
//! same tree. Literals, attach points and C definitions are copied as written.

use crate::span::Span;
use crate::syntax::ast::*;
use crate::syntax::parse::on_deep_stack;

/// Formats a script.
pub fn format(script: &Script, text: &str) -> String {
    on_deep_stack(|| {
        let c: Vec<Span> = script.items.iter().filter_map(c_definition).collect();
        let mut f = Formatter { text, notes: notes(text, &c), out: String::new(), depth: 0, last: None };
        script.items.iter().for_each(|item| f.item(item));
        f.notes_before(usize::MAX);
        f.out
    })
}

/// The text with blanks in place of preprocessor lines, which the grammar does not know.
pub fn without_directives(text: &str) -> String {
    let mut out = text.as_bytes().to_vec();
    for note in notes(text, &[]).iter().filter(|n| text[n.start..].starts_with('#')) {
        out[note.start..note.end].iter_mut().filter(|b| **b != b'\n').for_each(|b| *b = b' ');
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn c_definition(item: &Item) -> Option<Span> {
    match item {
        Item::CDefinition(span) => Some(*span),
        _ => None,
    }
}

/// A comment or a line of the preprocessor.
struct Note {
    start: usize,
    end: usize,
    lines: Vec<String>,
}

/// All of them outside of texts and C definitions.
fn notes(text: &str, c: &[Span]) -> Vec<Note> {
    let bytes = text.as_bytes();
    let (mut found, mut at, mut line_start) = (Vec::new(), 0, true);
    while at < bytes.len() {
        let rest = &text[at..];
        if let Some(span) = c.iter().find(|s| s.start as usize == at) {
            at = span.end as usize;
        } else if rest.starts_with("//") || line_start && rest.starts_with('#') {
            let mut end = at + rest.find('\n').unwrap_or(rest.len());
            // A directive goes on behind a backslash.
            while rest.starts_with('#') && text[..end].ends_with('\\') && end < text.len() {
                end += 1 + text[end + 1..].find('\n').unwrap_or(text.len() - end - 1);
            }
            found.push(Note { start: at, end, lines: vec![text[at..end].trim_end().to_string()] });
            at = end;
        } else if rest.starts_with("/*") {
            let end = at + rest.find("*/").map_or(rest.len(), |e| e + 2);
            found.push(Note { start: at, end, lines: block_comment(&text[at..end]) });
            at = end;
        } else if rest.starts_with('"') {
            at = end_of_text(bytes, at);
        } else {
            line_start = bytes[at] == b'\n' || line_start && bytes[at].is_ascii_whitespace();
            at += rest.chars().next().map_or(1, char::len_utf8);
            continue;
        }
        line_start = false;
    }
    found
}

fn end_of_text(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < bytes.len() && bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(bytes.len())
}

/// Lines of `/* */`, each as a comment of its own.
fn block_comment(text: &str) -> Vec<String> {
    let inner = text.trim_start_matches("/*").trim_end_matches("*/");
    let lines = inner.lines().map(|l| l.trim().trim_start_matches('*').trim());
    lines.filter(|l| !l.is_empty()).map(|l| format!("// {l}")).collect()
}

struct Formatter<'a> {
    text: &'a str,
    /// Those that are not written yet, in order.
    notes: Vec<Note>,
    out: String,
    depth: usize,
    /// Where in the text the last thing ended that was written.
    last: Option<usize>,
}

impl Formatter<'_> {
    fn source(&self, span: Span) -> &str {
        self.text.get(span.start as usize..span.end as usize).unwrap_or("")
    }

    fn line(&mut self, text: &str) {
        let indent = "  ".repeat(self.depth);
        text.lines().for_each(|l| self.out += &format!("{indent}{l}\n"));
    }

    /// Empty lines that were between the last thing and this place.
    fn gap(&mut self, start: usize) {
        let Some(last) = self.last else { return };
        let between = self.text.get(last..start).unwrap_or("");
        let lines = between.bytes().filter(|&b| b == b'\n').count();
        (1..lines).for_each(|_| self.out.push('\n'));
    }

    fn notes_before(&mut self, place: usize) {
        let count = self.notes.iter().take_while(|n| n.start < place).count();
        let notes: Vec<Note> = self.notes.drain(..count).collect();
        for note in notes {
            self.gap(note.start);
            note.lines.iter().for_each(|l| self.line(l));
            self.last = Some(note.end);
        }
    }

    /// What stands before something: comments, empty lines.
    fn begin(&mut self, start: usize) {
        self.notes_before(start);
        self.gap(start);
    }

    fn item(&mut self, item: &Item) {
        let span = self.item_span(item);
        if let Some(span) = span {
            self.begin(span.start as usize);
        }
        match item {
            Item::CDefinition(span) => {
                let text = self.source(*span).to_string();
                self.line(&text);
            }
            Item::Config(entries) => {
                self.line("config = {");
                for e in entries {
                    self.notes_before(e.name.span.start as usize);
                    let line = format!("  {} = {};", e.name.value, self.expr(&e.value));
                    self.line(&line);
                    self.last = Some(e.value.span.end as usize);
                }
                self.line("}");
            }
            Item::Import(path) => self.line(&format!("import {:?};", path.value)),
            Item::MapDeclaration(m) => {
                let args = self.exprs(&m.args);
                self.line(&format!("let {} = {}({args});", m.name.value, m.kind.value));
            }
            Item::Macro(m) => {
                let params: Vec<&str> = m.params.iter().map(parameter).collect();
                self.line(&format!("macro {}({})", m.name.value, params.join(", ")));
                self.body(&m.body, true);
            }
            Item::Probe(p) => self.probe(p),
        }
        self.last = span.map(|s| s.end as usize).or(self.last);
    }

    fn item_span(&self, item: &Item) -> Option<Span> {
        match item {
            Item::CDefinition(span) => Some(*span),
            Item::MapDeclaration(m) => Some(m.span),
            Item::Macro(m) => Some(m.span),
            Item::Probe(p) => Some(p.span),
            Item::Import(path) => Some(path.span),
            Item::Config(entries) => {
                // The block has no place of its own: from its word to its brace.
                let (first, last) = (entries.first()?, entries.last()?);
                let start = self.text[..first.name.span.start as usize].rfind("config")?;
                let end = last.value.span.end as usize;
                let close = end + self.text[end..].find('}')? + 1;
                Some(Span { start: start as u32, end: close as u32, ..first.name.span })
            }
        }
    }

    fn probe(&mut self, p: &Probe) {
        let points: Vec<String> = p
            .attach_points
            .iter()
            .map(|a| a.label.as_ref().map_or(String::new(), |l| format!("{}=", l.value)) + &a.text)
            .collect();
        self.line(&points.join(",\n"));
        if let Some(predicate) = &p.predicate {
            let line = format!("/{}/", self.expr(predicate));
            self.line(&line);
        }
        self.body(&p.body, false);
    }

    /// A block on lines of its own.
    fn body(&mut self, block: &Block, value: bool) {
        let text = self.block(block, value);
        self.line(&text);
    }

    /// A block as text without indent. `value`: its last expression has no semicolon.
    fn block(&mut self, block: &Block, value: bool) -> String {
        let end = block.span.end as usize;
        let empty = block.statements.is_empty() && block.value.is_none();
        if empty && !self.notes.iter().any(|n| n.start < end) {
            return "{}".into();
        }
        let outer = std::mem::take(&mut self.out);
        let (depth, last) = (std::mem::replace(&mut self.depth, 1), self.last.take());
        for s in &block.statements {
            self.begin(s.span.start as usize);
            let text = self.statement(s);
            self.line(&text);
            self.last = Some(s.span.end as usize);
        }
        if let Some(e) = &block.value {
            self.begin(e.span.start as usize);
            let text = self.expr(e);
            let braced = matches!(e.kind, ExprKind::If { .. } | ExprKind::Block(_));
            self.line(&(text + if value || braced { "" } else { ";" }));
            self.last = Some(e.span.end as usize);
        }
        self.notes_before(end);
        self.depth = depth;
        self.last = last;
        let inner = std::mem::replace(&mut self.out, outer);
        format!("{{\n{inner}}}")
    }

    fn statement(&mut self, s: &Statement) -> String {
        match &s.kind {
            StatementKind::Expr(e) => {
                let braced = matches!(e.kind, ExprKind::If { .. } | ExprKind::Block(_));
                self.expr(e) + if braced { "" } else { ";" }
            }
            StatementKind::Assign { target, op, value } => {
                let op = op.map_or("", BinaryOp::symbol);
                format!("{} {op}= {};", self.expr(target), self.expr(value))
            }
            StatementKind::Let { name, ty, value } => {
                let mut text = format!("let {}", name.value);
                if let Some(ty) = ty {
                    text += &format!(" : {}", self.ty(ty));
                }
                if let Some(value) = value {
                    text += &format!(" = {}", self.expr(value));
                }
                text + ";"
            }
            StatementKind::If { condition, then, otherwise, comptime } => {
                let condition = self.guarded(condition);
                let word = if *comptime { "if comptime" } else { "if" };
                let then = self.block(then, true);
                let otherwise = otherwise.as_ref().map(|o| self.otherwise(o)).unwrap_or_default();
                format!("{word} {condition} {then}{otherwise}")
            }
            StatementKind::While { condition, body } => {
                format!("while {} {}", self.guarded(condition), self.block(body, false))
            }
            StatementKind::Unroll { count, body } => {
                format!("unroll ({}) {}", self.expr(count), self.block(body, false))
            }
            StatementKind::ForRange { variable, start, end, body } => {
                let (start, end) = (self.nested(start), self.nested(end));
                format!("for {} : {start}..{end} {}", variable.value, self.block(body, false))
            }
            StatementKind::ForEach { variable, iterable, body } => {
                format!("for {} : {} {}", variable.value, self.expr(iterable), self.block(body, false))
            }
            StatementKind::Break => "break;".into(),
            StatementKind::Continue => "continue;".into(),
            StatementKind::Return(None) => "return;".into(),
            StatementKind::Return(Some(e)) => format!("return {};", self.expr(e)),
            StatementKind::Block(b) => self.block(b, false),
        }
    }

    /// ` else ...`, where a block of one `if` is `else if`.
    fn otherwise(&mut self, block: &Block) -> String {
        match (block.statements.as_slice(), &block.value) {
            ([one], None) if matches!(one.kind, StatementKind::If { .. }) => {
                format!(" else {}", self.statement(one))
            }
            _ => format!(" else {}", self.block(block, true)),
        }
    }

    /// A condition: operators stand in parentheses.
    fn guarded(&mut self, e: &Expr) -> String {
        let text = self.expr(e);
        match e.kind {
            ExprKind::Binary { .. } | ExprKind::Unary { .. } => format!("({text})"),
            _ => text,
        }
    }

    /// A part of an operation: parts that are operations themselves stand in parentheses.
    fn nested(&mut self, e: &Expr) -> String {
        let text = self.expr(e);
        match e.kind {
            ExprKind::Binary { .. } | ExprKind::Unary { .. } | ExprKind::Cast { .. } | ExprKind::Ternary { .. } => {
                format!("({text})")
            }
            _ => text,
        }
    }

    fn exprs(&mut self, list: &[Expr]) -> String {
        list.iter().map(|e| self.expr(e)).collect::<Vec<_>>().join(", ")
    }

    fn expr(&mut self, e: &Expr) -> String {
        match &e.kind {
            ExprKind::Variable(name) | ExprKind::Map(name) | ExprKind::Identifier(name) => name.clone(),
            ExprKind::Index { base, indices } => format!("{}[{}]", self.operand(base), self.exprs(indices)),
            ExprKind::Field { base, name, .. } => format!("{}.{}", self.operand(base), name.value),
            ExprKind::TupleField { base, index } => format!("{}.{index}", self.operand(base)),
            ExprKind::Call { name, args } => format!("{}({})", name.value, self.exprs(args)),
            ExprKind::Unary { op, operand } => format!("{}{}", op.symbol(), self.nested(operand)),
            ExprKind::Increment { target, decrement, prefix } => {
                let (target, op) = (self.expr(target), if *decrement { "--" } else { "++" });
                if *prefix { format!("{op}{target}") } else { format!("{target}{op}") }
            }
            ExprKind::Binary { op, left, right } => {
                format!("{} {} {}", self.side(*op, left), op.symbol(), self.side(*op, right))
            }
            ExprKind::Ternary { condition, then, otherwise } => {
                let (condition, otherwise) = (self.nested(condition), self.nested(otherwise));
                match then {
                    Some(then) => format!("{condition} ? {} : {otherwise}", self.nested(then)),
                    None => format!("{condition} ?: {otherwise}"),
                }
            }
            ExprKind::Cast { ty, operand } => format!("({}){}", self.ty(ty), self.nested(operand)),
            ExprKind::Sizeof(of) => format!("sizeof({})", self.of(of)),
            ExprKind::Typeof(of) => format!("typeof({})", self.of(of)),
            ExprKind::Typeinfo(of) => format!("typeinfo({})", self.of(of)),
            ExprKind::Offsetof { of, path } => {
                let path: Vec<&str> = path.iter().map(|n| n.value.as_str()).collect();
                format!("offsetof({}, {})", self.of(of), path.join("."))
            }
            ExprKind::Tuple(items) => {
                let comma = if items.len() == 1 { "," } else { "" };
                format!("({}{comma})", self.exprs(items))
            }
            ExprKind::Record(fields) => {
                let parts: Vec<String> = fields.iter().map(|(n, v)| format!("{}={}", n.value, self.expr(v))).collect();
                format!("({})", parts.join(", "))
            }
            ExprKind::Block(block) => match (block.statements.as_slice(), &block.value) {
                ([], Some(value)) => format!("{{ {} }}", self.expr(value)),
                _ => self.block(block, true),
            },
            ExprKind::Comptime(inner) => format!("comptime {}", self.nested(inner)),
            ExprKind::If { condition, then, otherwise } => {
                let condition = self.guarded(condition);
                format!("if {condition} {} else {}", self.block(then, true), self.block(otherwise, true))
            }
            ExprKind::Positional(n) => format!("${n}"),
            // The place of a lone number is that of its parentheses.
            ExprKind::Integer { .. } => self.source(e.span).trim_matches(['(', ')', ' ']).to_string(),
            // Literals as they were written.
            _ => self.source(e.span).trim().to_string(),
        }
    }

    /// What `[`, `.` or a call follows.
    fn operand(&mut self, e: &Expr) -> String {
        self.nested(e)
    }

    /// A side of an infix operator. Comparisons need no parentheses beside `&&` and `||`.
    fn side(&mut self, parent: BinaryOp, e: &Expr) -> String {
        use BinaryOp::*;
        if let ExprKind::Binary { op, .. } = &e.kind
            && matches!(parent, LogicalAnd | LogicalOr)
            && matches!(op, Equal | NotEqual | Less | LessEqual | Greater | GreaterEqual)
        {
            return self.expr(e);
        }
        self.nested(e)
    }

    fn of(&mut self, of: &TypeOrExpr) -> String {
        match of {
            TypeOrExpr::Type(ty) => self.ty(ty),
            TypeOrExpr::Expr(e) => self.expr(e),
        }
    }

    fn ty(&mut self, ty: &TypeExpr) -> String {
        match &ty.kind {
            TypeKind::Pointer(to) => format!("{}*", self.ty(to)),
            TypeKind::Name(name) => name.clone(),
            TypeKind::Struct(name) => format!("struct {name}"),
            TypeKind::Union(name) => format!("union {name}"),
            TypeKind::Enum(name) => format!("enum {name}"),
            _ => self.source(ty.span).split_whitespace().collect::<Vec<_>>().join(" "),
        }
    }
}

fn parameter(p: &MacroParam) -> &str {
    match p {
        MacroParam::Variable(n) | MacroParam::Map(n) | MacroParam::Expr(n) => &n.value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Diagnostics;
    use crate::span::SourceMap;
    use crate::syntax::parse::{ParseOptions, parse_script};
    use crate::syntax::print;

    fn parsed(text: &str) -> (Script, SourceMap) {
        let (mut sources, mut diagnostics) = (SourceMap::default(), Diagnostics::default());
        let file = sources.add("x.bt", None, text.to_string());
        let script = parse_script(file, &without_directives(text), &ParseOptions::default(), &mut diagnostics);
        (script.unwrap_or_else(|| panic!("does not parse:\n{text}")), sources)
    }

    fn formatted(text: &str) -> String {
        format(&parsed(text).0, text)
    }

    const MESSY: &str = "\
#!/usr/bin/env bpftrace
/*
 * many
 * lines
 */
#include <linux/fs.h>
struct foo { int a; char b[4]; };
config = { max_strlen=32; missing_probes=warn }
let @m = hash(10);
macro add($x, @m, e) { $x+e }

BEGIN
{
  // first
  print(1); // behind one
  /* between */ print(2);


  $x = 1 ? a+2 : 3; $y += 4; @a++; --$x; let $z : uint64 = 0x10;
  if($x){}else if($y>3){print(3);}else{print(4)}
  for $i : 0..(n+1) { continue; } while(1){break} unroll($1){print(\"a // b\")}
  print(a+b==c); print((a==1&&b>2)||!c); print(-(a+b)); print((int64)a+b);
  $s = ((struct foo*)arg0)->a; print(*(uint64*)arg0); print((a=1,b=2,));
  // last
}
interval:s:1, kprobe:foo+4 /comm==\"a\"&&pid/ { exit() }
interval:s:2 {} // end
";

    const NEAT: &str = "\
#!/usr/bin/env bpftrace
// many
// lines
#include <linux/fs.h>
struct foo { int a; char b[4]; };
config = {
  max_strlen = 32;
  missing_probes = warn;
}
let @m = hash(10);
macro add($x, @m, e)
{
  $x + e
}

BEGIN
{
  // first
  print(1);
  // behind one
  // between
  print(2);


  $x = 1 ? (a + 2) : 3;
  $y += 4;
  @a++;
  --$x;
  let $z : uint64 = 0x10;
  if $x {} else if ($y > 3) {
    print(3);
  } else {
    print(4)
  }
  for $i : 0..(n + 1) {
    continue;
  }
  while 1 {
    break;
  }
  unroll ($1) {
    print(\"a // b\");
  }
  print((a + b) == c);
  print((a == 1 && b > 2) || (!c));
  print(-(a + b));
  print(((int64)a) + b);
  $s = ((struct foo*)arg0).a;
  print(*((uint64*)arg0));
  print((a=1, b=2));
  // last
}
interval:s:1,
kprobe:foo+4
/comm == \"a\" && pid/
{
  exit();
}
interval:s:2
{}
// end
";

    #[test]
    fn standard_form() {
        let got = formatted(MESSY);
        assert_eq!(got, NEAT, "\n{got}");
        assert_eq!(formatted(NEAT), NEAT, "the standard form stays as it is");
    }

    #[test]
    fn the_meaning_stays() {
        for text in [
            "BEGIN { @[1, \"a\"] = count(); print((1,)); print(@[1, \"a\"]); print(a ?: b); $t = (1, (2, 3)); $t.1.0; }",
            "t:a:b /pid == 1/ { if comptime (sizeof(int) == 4) { print(offsetof(struct a, b.c)); } }",
            "macro m(a) { let $x = a; $x } BEGIN { $r = if pid { 1 } else { 2 }; print({ $r = 1; $r }); return; }",
            "name=kprobe:f { for $kv : @m { print($kv.0); } let $a : string[5] = \"x\"; print(5ms + 1e3 - 0777); }",
            "BEGIN { print(a - (b - c) - d); print(!(-a)); print(& $x); print(a << 2 | b & ~c ^ d); } END {}",
        ] {
            let (script, sources) = parsed(text);
            let neat = format(&script, text);
            let (again, others) = parsed(&neat);
            assert_eq!(print::dump(&script, &sources), print::dump(&again, &others), "{neat}");
        }
    }
}
