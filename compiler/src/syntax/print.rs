//! The syntax tree as text, for `--emit ast` and golden tests.
//!
//! In: the tree. Out: one node a line, children indented by two blanks, stable
//! byte for byte. Spans are left out: a golden test must not change with a blank.

use crate::span::SourceMap;
use crate::syntax::ast::*;
use crate::syntax::parse::on_deep_stack;
use std::fmt::Write as _;

/// Children of deeper nodes are indented no further: a chain of thousands of
/// operators would otherwise print megabytes of blanks.
const MAX_INDENT: usize = 60;

/// Prints a script.
pub fn dump(script: &Script, sources: &SourceMap) -> String {
    on_deep_stack(|| {
        let mut p = Dump { out: String::new(), depth: 0, sources };
        for item in &script.items {
            p.item(item);
        }
        p.out
    })
}

/// Prints one expression.
pub fn dump_expr(expr: &Expr) -> String {
    on_deep_stack(|| {
        let sources = SourceMap::default();
        let mut p = Dump { out: String::new(), depth: 0, sources: &sources };
        p.expr(expr);
        p.out
    })
}

struct Dump<'a> {
    out: String,
    depth: usize,
    sources: &'a SourceMap,
}

impl Dump<'_> {
    fn line(&mut self, text: impl std::fmt::Display) {
        let indent = 2 * self.depth.min(MAX_INDENT);
        // Writing to a String cannot fail.
        let _ = writeln!(self.out, "{:indent$}{text}", "");
    }

    /// A line and, one step further in, what `children` prints.
    fn node(&mut self, text: impl std::fmt::Display, children: impl FnOnce(&mut Self)) {
        self.line(text);
        self.depth += 1;
        children(self);
        self.depth -= 1;
    }

    fn item(&mut self, item: &Item) {
        match item {
            Item::CDefinition(span) => {
                let text: Vec<&str> = self.sources.text(*span).split_whitespace().collect();
                self.line(format_args!("c {}", text.join(" ")));
            }
            Item::Config(entries) => self.node("config", |p| {
                for e in entries {
                    p.node(format_args!("set {}", e.name.value), |p| p.expr(&e.value));
                }
            }),
            Item::Import(path) => self.line(format_args!("import {:?}", path.value)),
            Item::MapDeclaration(m) => {
                self.node(format_args!("map {} {}", m.name.value, m.kind.value), |p| p.exprs(&m.args));
            }
            Item::Macro(m) => self.node(format_args!("macro {}", m.name.value), |p| {
                for param in &m.params {
                    let (kind, name) = match param {
                        MacroParam::Variable(n) => ("variable", n),
                        MacroParam::Map(n) => ("map", n),
                        MacroParam::Expr(n) => ("expression", n),
                    };
                    p.line(format_args!("parameter {kind} {}", name.value));
                }
                for line in m.doc.lines() {
                    p.line(format_args!("doc {line}"));
                }
                p.block("body", &m.body);
            }),
            Item::Probe(probe) => self.node("probe", |p| {
                for a in &probe.attach_points {
                    p.attach_point(a);
                }
                if let Some(predicate) = &probe.predicate {
                    p.node("predicate", |p| p.expr(predicate));
                }
                p.block("body", &probe.body);
            }),
        }
    }

    fn attach_point(&mut self, a: &AttachPoint) {
        let label = a.label.as_ref().map_or(String::new(), |l| format!(" {}=", l.value));
        self.node(format_args!("attach{label} {}", a.text), |p| {
            for part in &a.parts {
                let pieces: Vec<String> = part.pieces.iter().map(piece).collect();
                let quoted = if part.quoted { " quoted" } else { "" };
                p.line(format_args!("part{quoted} {}", pieces.join(" ")).to_string().trim_end());
            }
        });
    }

    fn block(&mut self, title: &str, block: &Block) {
        self.node(title, |p| {
            for s in &block.statements {
                p.statement(s);
            }
            if let Some(value) = &block.value {
                p.node("value", |p| p.expr(value));
            }
        });
    }

    fn statement(&mut self, statement: &Statement) {
        match &statement.kind {
            StatementKind::Expr(e) => self.node("do", |p| p.expr(e)),
            StatementKind::Assign { target, op, value } => {
                let op = op.map_or("", BinaryOp::symbol);
                self.node(format_args!("assign {op}="), |p| {
                    p.expr(target);
                    p.expr(value);
                });
            }
            StatementKind::Let { name, ty, value } => self.node(format_args!("let {}", name.value), |p| {
                if let Some(ty) = ty {
                    p.ty(ty);
                }
                if let Some(value) = value {
                    p.expr(value);
                }
            }),
            StatementKind::If { condition, then, otherwise, comptime } => {
                self.node(if *comptime { "comptime if" } else { "if" }, |p| {
                    p.expr(condition);
                    p.block("then", then);
                    if let Some(otherwise) = otherwise {
                        p.block("else", otherwise);
                    }
                });
            }
            StatementKind::While { condition, body } => self.node("while", |p| {
                p.expr(condition);
                p.block("body", body);
            }),
            StatementKind::Unroll { count, body } => self.node("unroll", |p| {
                p.expr(count);
                p.block("body", body);
            }),
            StatementKind::ForRange { variable, start, end, body } => {
                self.node(format_args!("for range {}", variable.value), |p| {
                    p.expr(start);
                    p.expr(end);
                    p.block("body", body);
                });
            }
            StatementKind::ForEach { variable, iterable, body } => {
                self.node(format_args!("for each {}", variable.value), |p| {
                    p.expr(iterable);
                    p.block("body", body);
                });
            }
            StatementKind::Break => self.line("break"),
            StatementKind::Continue => self.line("continue"),
            StatementKind::Return(value) => self.node("return", |p| p.exprs(value)),
            StatementKind::Block(block) => self.block("block", block),
        }
    }

    fn exprs<'e>(&mut self, exprs: impl IntoIterator<Item = &'e Expr>) {
        for e in exprs {
            self.expr(e);
        }
    }

    fn expr(&mut self, expr: &Expr) {
        match &expr.kind {
            ExprKind::Integer { value, unsigned } => {
                self.line(format_args!("integer {value}{}", if *unsigned { "u" } else { "" }));
            }
            ExprKind::Char(c) => self.line(format_args!("char '{}'", c.escape_ascii())),
            ExprKind::Bool(b) => self.line(format_args!("bool {b}")),
            ExprKind::String(s) => self.line(format_args!("string \"{}\"", s.escape_ascii())),
            ExprKind::Identifier(name) => self.line(format_args!("name {name}")),
            ExprKind::Variable(name) | ExprKind::Map(name) => self.line(name),
            ExprKind::Positional(n) => self.line(format_args!("${n}")),
            ExprKind::PositionalCount => self.line("$#"),
            _ => self.operation(&expr.kind),
        }
    }

    /// Expressions with parts.
    fn operation(&mut self, kind: &ExprKind) {
        match kind {
            ExprKind::Index { base, indices } => self.node("index", |p| {
                p.expr(base);
                p.exprs(indices);
            }),
            ExprKind::Field { base, name, arrow } => {
                self.node(format_args!("field {}{}", if *arrow { "->" } else { "." }, name.value), |p| p.expr(base));
            }
            ExprKind::TupleField { base, index } => self.node(format_args!("field .{index}"), |p| p.expr(base)),
            ExprKind::Call { name, args } => self.node(format_args!("call {}", name.value), |p| p.exprs(args)),
            ExprKind::Unary { op, operand } => self.node(format_args!("unary {}", op.symbol()), |p| p.expr(operand)),
            ExprKind::Increment { target, decrement, prefix } => {
                let title = if *decrement { "decrement" } else { "increment" };
                self.node(format_args!("{title} {}", if *prefix { "before" } else { "after" }), |p| p.expr(target));
            }
            ExprKind::Binary { op, left, right } => self.node(format_args!("binary {}", op.symbol()), |p| {
                p.expr(left);
                p.expr(right);
            }),
            ExprKind::Ternary { condition, then, otherwise } => {
                self.node(if then.is_some() { "ternary" } else { "elvis" }, |p| {
                    p.expr(condition);
                    if let Some(then) = then {
                        p.expr(then);
                    }
                    p.expr(otherwise);
                });
            }
            ExprKind::Cast { ty, operand } => self.node("cast", |p| {
                p.ty(ty);
                p.expr(operand);
            }),
            ExprKind::Sizeof(of) => self.node("sizeof", |p| p.of(of)),
            ExprKind::Typeof(of) => self.node("typeof", |p| p.of(of)),
            ExprKind::Typeinfo(of) => self.node("typeinfo", |p| p.of(of)),
            ExprKind::Offsetof { of, path } => {
                let path: Vec<&str> = path.iter().map(|n| n.value.as_str()).collect();
                self.node(format_args!("offsetof {}", path.join(".")), |p| p.of(of));
            }
            ExprKind::Tuple(items) => self.node("tuple", |p| p.exprs(items)),
            ExprKind::Record(fields) => self.node("record", |p| {
                for (name, value) in fields {
                    p.node(format_args!("set {}", name.value), |p| p.expr(value));
                }
            }),
            ExprKind::Block(block) => self.block("block", block),
            ExprKind::Comptime(inner) => self.node("comptime", |p| p.expr(inner)),
            ExprKind::If { condition, then, otherwise } => self.node("if value", |p| {
                p.expr(condition);
                p.block("then", then);
                p.block("else", otherwise);
            }),
            _ => {}
        }
    }

    fn of(&mut self, of: &TypeOrExpr) {
        match of {
            TypeOrExpr::Type(ty) => self.ty(ty),
            TypeOrExpr::Expr(e) => self.expr(e),
        }
    }

    fn ty(&mut self, ty: &TypeExpr) {
        match &ty.kind {
            TypeKind::Name(name) => self.line(format_args!("type {name}")),
            TypeKind::Struct(name) => self.line(format_args!("type struct {name}")),
            TypeKind::Union(name) => self.line(format_args!("type union {name}")),
            TypeKind::Enum(name) => self.line(format_args!("type enum {name}")),
            TypeKind::Sized { name, size } => self.node(format_args!("type sized {name}"), |p| p.expr(size)),
            TypeKind::Pointer(to) => self.node("type pointer", |p| p.ty(to)),
            TypeKind::Array { elem, len } => self.node("type array", |p| {
                p.ty(elem);
                p.exprs(len.as_deref());
            }),
            TypeKind::Tuple(types) => self.node("type tuple", |p| types.iter().for_each(|t| p.ty(t))),
            TypeKind::Typeof(of) => self.node("type of", |p| p.of(of)),
        }
    }
}

fn piece(piece: &AttachPiece) -> String {
    match piece {
        AttachPiece::Text(text) => format!("{text:?}"),
        AttachPiece::Parameter(n) => format!("${n}"),
    }
}
