//! Macro expansion, on the syntax tree.
//!
//! In: the script's items, macros of its imports and of the library, `#define`s.
//! Out: the items with every macro call replaced by a block. Macros are
//! hygienic: variables of a body are renamed (`$x#7`), what a body may touch of
//! the caller is what was passed in. Expression arguments are copied to every
//! use; variables and maps are passed by reference, that is by name.

use crate::diagnostic::Diagnostic;
use crate::span::Span;
use crate::syntax::ast::{
    self, Block, Expr, ExprKind, MacroParam, Statement, StatementKind, TypeExpr, TypeKind, TypeOrExpr,
};
use std::collections::BTreeMap;

/// Deepest nesting of macro calls.
const MAX_DEPTH: u32 = 64;

/// Most expansions of one script, against macros that double each other.
const MAX_EXPANSIONS: u32 = 20_000;

/// `#define`s as the expander asks for them.
pub trait Defines {
    /// The expansion of an object-like macro (`args` is `None`) or of a call, as
    /// an expression whose nodes carry `span`; `None` if the name is no macro.
    fn expand(&self, name: &str, args: Option<&[String]>, span: Span) -> Option<Result<Expr, Diagnostic>>;
}

/// Expands all macros in `script`. Macros of the script win over those of
/// `library`. Definitions are dropped from the result.
pub fn expand(
    script: ast::Script,
    library: &[ast::Macro],
    defines: &dyn Defines,
    source_text: &dyn Fn(Span) -> String,
) -> (ast::Script, Vec<Diagnostic>) {
    let mut macros: Macros = BTreeMap::new();
    let mut diagnostics = Vec::new();
    let mut rest = Vec::new();
    for item in script.items {
        match item {
            ast::Item::Macro(m) => {
                let same = macros.entry(m.name.value.clone()).or_default();
                if let Some(first) = same.iter().find(|other| signature(other) == signature(&m)) {
                    diagnostics.push(
                        Diagnostic::error("E0320", format!("macro `{}` is defined twice", m.name.value))
                            .at(m.name.span, "defined again")
                            .also(first.name.span, "first defined here"),
                    );
                }
                check_macro(&m, &mut diagnostics);
                same.push(m);
            }
            other => rest.push(other),
        }
    }
    // Behind the script's own, which win.
    for m in library {
        macros.entry(m.name.value.clone()).or_default().push(m.clone());
    }
    let mut e = Expander { macros: &macros, defines, source_text, diagnostics, depth: 0, count: 0 };
    for item in &mut rest {
        if let ast::Item::Probe(p) = item {
            if let Some(predicate) = &mut p.predicate {
                e.expr(predicate);
            }
            e.block(&mut p.body);
        }
        if let ast::Item::Config(entries) = item {
            for entry in entries {
                // Words are values of settings here, not names of macros.
                if !matches!(entry.value.kind, ExprKind::Identifier(_)) {
                    e.expr(&mut entry.value);
                }
            }
        }
        if let ast::Item::MapDeclaration(d) = item {
            for a in &mut d.args {
                e.expr(a);
            }
        }
    }
    let diagnostics = e.diagnostics;
    (ast::Script { items: rest }, diagnostics)
}

/// Macros by name; of several the first that takes what is given counts.
type Macros = BTreeMap<String, Vec<ast::Macro>>;

/// The kinds of a macro's parameters: macros of one name differ in them.
fn signature(m: &ast::Macro) -> Vec<std::mem::Discriminant<MacroParam>> {
    m.params.iter().map(std::mem::discriminant).collect()
}

fn param_name(p: &MacroParam) -> &ast::Name {
    match p {
        MacroParam::Variable(n) | MacroParam::Map(n) | MacroParam::Expr(n) => n,
    }
}

/// Does a macro take these arguments?
fn takes(m: &ast::Macro, args: &[Expr]) -> bool {
    m.params.len() == args.len()
        && m.params.iter().zip(args).all(|(p, a)| match p {
            MacroParam::Variable(_) => matches!(a.kind, ExprKind::Variable(_)),
            MacroParam::Map(_) => matches!(a.kind, ExprKind::Map(_)),
            MacroParam::Expr(_) => true,
        })
}

/// What is wrong with a macro however it is used.
fn check_macro(m: &ast::Macro, diagnostics: &mut Vec<Diagnostic>) {
    for (i, p) in m.params.iter().enumerate() {
        let name = param_name(p);
        if matches!(p, MacroParam::Expr(_)) && super::is_builtin(&name.value) {
            diagnostics.push(
                Diagnostic::error("E0328", format!("`{}` is a builtin, not a name for a parameter", name.value))
                    .at(name.span, "choose another name"),
            );
        }
        if m.params[..i].iter().any(|other| param_name(other).value == name.value) {
            let message = format!("macro `{}` has two parameters `{}`", m.name.value, name.value);
            diagnostics.push(Diagnostic::error("E0325", message).at(name.span, "named again"));
        }
    }
    let mut body = m.body.clone();
    check_body(m, &mut body, diagnostics);
}

fn check_body(m: &ast::Macro, b: &mut Block, diagnostics: &mut Vec<Diagnostic>) {
    for s in &mut b.statements {
        match &s.kind {
            StatementKind::Return(_) => diagnostics.push(
                Diagnostic::error("E0326", format!("`return` in macro `{}`", m.name.value))
                    .at(s.span, "a macro cannot end the probe")
                    .help("let the macro give a value, and return where it is used"),
            ),
            StatementKind::Assign { target: Expr { kind: ExprKind::Identifier(name), span }, .. }
                if m.params.iter().any(|p| matches!(p, MacroParam::Expr(n) if n.value == *name)) =>
            {
                diagnostics.push(
                    Diagnostic::error("E0327", format!("macro `{}` assigns to an expression", m.name.value))
                        .at(*span, "stands for any expression")
                        .help(format!("a parameter `${name}` takes a variable, by reference")),
                );
            }
            _ => {}
        }
        for_each_child(&mut s.kind, &mut |child| {
            if let Child::Block(b) = child {
                check_body(m, b, diagnostics);
            }
        });
    }
}

struct Expander<'a> {
    macros: &'a Macros,
    defines: &'a dyn Defines,
    source_text: &'a dyn Fn(Span) -> String,
    diagnostics: Vec<Diagnostic>,
    depth: u32,
    count: u32,
}

impl<'a> Expander<'a> {
    fn block(&mut self, b: &mut Block) {
        for s in &mut b.statements {
            self.statement(s);
        }
        if let Some(v) = &mut b.value {
            self.expr(v);
        }
    }

    fn statement(&mut self, s: &mut Statement) {
        for_each_child(&mut s.kind, &mut |child| match child {
            Child::Expr(e) => self.expr(e),
            Child::Block(b) => self.block(b),
            Child::Type(t) => self.type_expr(t),
        });
    }

    fn type_expr(&mut self, t: &mut TypeExpr) {
        match &mut t.kind {
            TypeKind::Sized { size, .. } => self.expr(size),
            TypeKind::Pointer(to) => self.type_expr(to),
            TypeKind::Array { elem, len } => {
                self.type_expr(elem);
                if let Some(len) = len {
                    self.expr(len);
                }
            }
            TypeKind::Tuple(elems) => elems.iter_mut().for_each(|t| self.type_expr(t)),
            TypeKind::Typeof(of) => self.type_or_expr(of),
            _ => {}
        }
    }

    fn type_or_expr(&mut self, of: &mut TypeOrExpr) {
        match of {
            TypeOrExpr::Type(t) => self.type_expr(t),
            TypeOrExpr::Expr(e) => self.expr(e),
        }
    }

    fn expr(&mut self, e: &mut Expr) {
        let replacement = match &e.kind {
            ExprKind::Identifier(name) => match self.macros.get(name).and_then(|l| l.iter().find(|m| takes(m, &[]))) {
                Some(m) => self.call(m, &[], e.span),
                None => self.define(name, None, e.span),
            },
            ExprKind::Call { name, args } => match self.macro_for(&name.value, args) {
                Some(m) => self.call(m, args, e.span),
                None => {
                    let texts: Vec<String> = args.iter().map(|a| (self.source_text)(a.span)).collect();
                    self.define(&name.value, Some(&texts), e.span)
                }
            },
            _ => None,
        };
        match replacement {
            Some(new) => {
                // What a macro gives may call macros itself.
                *e = new;
                if self.depth >= MAX_DEPTH || self.count >= MAX_EXPANSIONS {
                    self.diagnostics.push(
                        Diagnostic::error("E0321", "macros are nested too deeply")
                            .at(e.span, "does a macro call itself?"),
                    );
                    *e = Expr { kind: ExprKind::Integer { value: 0, unsigned: false }, span: e.span };
                    return;
                }
                self.depth += 1;
                self.count += 1;
                self.expr(e);
                self.depth -= 1;
            }
            None => walk(&mut e.kind, &mut |child| match child {
                Child::Expr(e) => self.expr(e),
                Child::Block(b) => self.block(b),
                Child::Type(t) => self.type_expr(t),
            }),
        }
    }

    /// The macro that a call means; if none takes the arguments, one to complain about,
    /// unless there is a function of that name.
    fn macro_for(&self, name: &str, args: &[Expr]) -> Option<&'a ast::Macro> {
        let list: &'a Vec<ast::Macro> = self.macros.get(name)?;
        let near = || list.iter().find(|m| m.params.len() == args.len()).or(list.first());
        // A parameter that takes just this kind wins over one that takes anything.
        let general = |m: &ast::Macro| m.params.iter().filter(|p| matches!(p, MacroParam::Expr(_))).count();
        match list.iter().filter(|m| takes(m, args)).min_by_key(|m| general(m)) {
            None if super::calls::names().any(|n| n == name) || super::is_builtin(name) => None,
            found => found.or_else(near),
        }
    }

    fn define(&mut self, name: &str, args: Option<&[String]>, span: Span) -> Option<Expr> {
        match self.defines.expand(name, args, span)? {
            Ok(e) => Some(e),
            Err(d) => {
                self.diagnostics.push(d);
                None
            }
        }
    }

    /// A macro call as a block, its parameters replaced.
    fn call(&mut self, m: &ast::Macro, args: &[Expr], span: Span) -> Option<Expr> {
        if m.params.len() != args.len() {
            let message =
                format!("macro `{}` takes {} arguments, {} are given", m.name.value, m.params.len(), args.len());
            self.diagnostics.push(Diagnostic::error("E0322", message).at(span, "").also(m.name.span, "defined here"));
            return None;
        }
        let mut bound =
            Bound { variables: BTreeMap::new(), maps: BTreeMap::new(), exprs: BTreeMap::new(), suffix: self.count };
        for (param, arg) in m.params.iter().zip(args) {
            let (wanted, name) = match (param, &arg.kind) {
                (MacroParam::Variable(p), ExprKind::Variable(v)) => {
                    bound.variables.insert(p.value.clone(), v.clone());
                    continue;
                }
                (MacroParam::Map(p), ExprKind::Map(v)) => {
                    bound.maps.insert(p.value.clone(), v.clone());
                    continue;
                }
                (MacroParam::Expr(p), _) => {
                    bound.exprs.insert(p.value.clone(), arg.clone());
                    continue;
                }
                (MacroParam::Variable(p), _) => ("a variable", p),
                (MacroParam::Map(p), _) => ("a map", p),
            };
            self.diagnostics.push(
                Diagnostic::error("E0323", format!("macro `{}` wants {wanted} here", m.name.value))
                    .at(arg.span, format!("not {wanted}"))
                    .also(name.span, "because of this parameter"),
            );
            return None;
        }
        let mut body = m.body.clone();
        let mut substitute = Substitute { bound: &bound, name: &m.name.value, diagnostics: &mut self.diagnostics };
        substitute.block(&mut body);
        // A body of a single value needs no block, and stays a literal if it is one. A map
        // does: it gives its value, where the map's own name may stand for all of it.
        match body.value {
            Some(value) if body.statements.is_empty() && !matches!(value.kind, ExprKind::Map(_)) => {
                return Some(Expr { span, ..*value });
            }
            value => body.value = value,
        }
        Some(Expr { kind: ExprKind::Block(Box::new(body)), span })
    }
}

/// What the parameters of one call stand for.
struct Bound {
    variables: BTreeMap<String, String>,
    maps: BTreeMap<String, String>,
    exprs: BTreeMap<String, Expr>,
    /// Makes the body's own variables unique.
    suffix: u32,
}

struct Substitute<'a> {
    bound: &'a Bound,
    name: &'a str,
    diagnostics: &'a mut Vec<Diagnostic>,
}

impl Substitute<'_> {
    fn child(&mut self, child: Child<'_>) {
        match child {
            Child::Expr(e) => self.expr(e),
            Child::Block(b) => self.block(b),
            Child::Type(t) => self.type_expr(t),
        }
    }

    fn block(&mut self, b: &mut Block) {
        for s in &mut b.statements {
            match &mut s.kind {
                StatementKind::Let { name, .. } => self.rename(&mut name.value),
                StatementKind::ForRange { variable, .. } | StatementKind::ForEach { variable, .. } => {
                    self.rename(&mut variable.value);
                }
                _ => {}
            }
            for_each_child(&mut s.kind, &mut |c| self.child(c));
        }
        if let Some(v) = &mut b.value {
            self.expr(v);
        }
    }

    fn rename(&mut self, name: &mut String) {
        *name = match self.bound.variables.get(name) {
            Some(outer) => outer.clone(),
            None => format!("{name}#{}", self.bound.suffix),
        };
    }

    fn expr(&mut self, e: &mut Expr) {
        match &mut e.kind {
            ExprKind::Variable(name) => self.rename(name),
            ExprKind::Map(name) => match self.bound.maps.get(name) {
                Some(outer) => *name = outer.clone(),
                None => self.diagnostics.push(
                    Diagnostic::error(
                        "E0324",
                        format!("macro `{}` uses map `{name}`, which was not passed in", self.name),
                    )
                    .at(e.span, "")
                    .help(format!("add `{name}` to its parameters")),
                ),
            },
            ExprKind::Identifier(name) => {
                if let Some(arg) = self.bound.exprs.get(name) {
                    *e = arg.clone();
                }
            }
            ExprKind::Call { name, args } if name.value == "print" && args.len() == 1 => {
                let passed = matches!(args[0].kind, ExprKind::Identifier(_));
                self.expr(&mut args[0]);
                // What a macro is given is a value: of a map it shows no name.
                if passed && matches!(args[0].kind, ExprKind::Map(_)) {
                    let span = args[0].span;
                    let block = Block { statements: Vec::new(), value: Some(Box::new(args[0].clone())), span };
                    args[0].kind = ExprKind::Block(Box::new(block));
                }
            }
            _ => {
                if let ExprKind::Offsetof { path, .. } = &mut e.kind {
                    *path = path.drain(..).flat_map(|name| self.path_of(name)).collect();
                }
                walk(&mut e.kind, &mut |c| self.child(c));
            }
        }
    }

    /// What a name in the path of `offsetof` stands for: itself, or the path that was
    /// passed in.
    fn path_of(&self, name: ast::Name) -> Vec<ast::Name> {
        fn names(e: &Expr) -> Option<Vec<ast::Name>> {
            match &e.kind {
                ExprKind::Identifier(word) => Some(vec![ast::Name { value: word.clone(), span: e.span }]),
                ExprKind::Field { base, name, .. } => {
                    let mut path = names(base)?;
                    path.push(name.clone());
                    Some(path)
                }
                _ => None,
            }
        }
        self.bound.exprs.get(&name.value).and_then(names).unwrap_or_else(|| vec![name])
    }

    fn type_expr(&mut self, t: &mut TypeExpr) {
        match &mut t.kind {
            TypeKind::Name(name) => {
                if let Some(arg) = self.bound.exprs.get(name) {
                    let names_type = match &arg.kind {
                        ExprKind::Typeof(_) => true,
                        ExprKind::Identifier(word) => !super::is_builtin(word),
                        _ => false,
                    };
                    if !names_type {
                        self.diagnostics.push(
                            Diagnostic::error("E0329", format!("`{name}` stands for a value here, not for a type"))
                                .at(t.span, "looks like a cast")
                                .also(arg.span, format!("what macro `{}` is given", self.name))
                                .help("without the parentheses it is the value; a type is passed as `typeof(...)`"),
                        );
                    }
                    let of = match &arg.kind {
                        ExprKind::Typeof(of) => of.clone(),
                        _ => TypeOrExpr::Expr(Box::new(arg.clone())),
                    };
                    t.kind = TypeKind::Typeof(Box::new(of));
                }
            }
            TypeKind::Struct(tag) | TypeKind::Union(tag) | TypeKind::Enum(tag) => {
                if let Some(ExprKind::Identifier(word)) = self.bound.exprs.get(tag).map(|arg| &arg.kind) {
                    *tag = word.clone();
                }
            }
            TypeKind::Sized { size, .. } => self.expr(size),
            TypeKind::Pointer(to) => self.type_expr(to),
            TypeKind::Array { elem, len } => {
                self.type_expr(elem);
                if let Some(len) = len {
                    self.expr(len);
                }
            }
            TypeKind::Tuple(elems) => elems.iter_mut().for_each(|t| self.type_expr(t)),
            TypeKind::Typeof(of) => match &mut **of {
                TypeOrExpr::Type(t) => self.type_expr(t),
                TypeOrExpr::Expr(e) => self.expr(e),
            },
        }
    }
}

/// A direct part of a node.
enum Child<'a> {
    Expr(&'a mut Expr),
    Block(&'a mut Block),
    Type(&'a mut TypeExpr),
}

/// Visits the direct parts of a statement.
fn for_each_child(s: &mut StatementKind, f: &mut dyn FnMut(Child<'_>)) {
    use StatementKind as S;
    match s {
        S::Expr(e) => f(Child::Expr(e)),
        S::Assign { target, value, .. } => {
            f(Child::Expr(target));
            f(Child::Expr(value));
        }
        S::Let { ty, value, .. } => {
            if let Some(t) = ty {
                f(Child::Type(t));
            }
            if let Some(v) = value {
                f(Child::Expr(v));
            }
        }
        S::If { condition, then, otherwise, .. } => {
            f(Child::Expr(condition));
            f(Child::Block(then));
            if let Some(o) = otherwise {
                f(Child::Block(o));
            }
        }
        S::While { condition: e, body } | S::Unroll { count: e, body } | S::ForEach { iterable: e, body, .. } => {
            f(Child::Expr(e));
            f(Child::Block(body));
        }
        S::ForRange { start, end, body, .. } => {
            f(Child::Expr(start));
            f(Child::Expr(end));
            f(Child::Block(body));
        }
        S::Return(value) => {
            if let Some(v) = value {
                f(Child::Expr(v));
            }
        }
        S::Block(b) => f(Child::Block(b)),
        S::Break | S::Continue => {}
    }
}

/// Visits the direct parts of an expression.
fn walk(e: &mut ExprKind, f: &mut dyn FnMut(Child<'_>)) {
    use ExprKind as K;
    match e {
        K::Integer { .. }
        | K::Char(_)
        | K::Bool(_)
        | K::String(_)
        | K::Identifier(_)
        | K::Variable(_)
        | K::Map(_)
        | K::Positional(_)
        | K::PositionalCount => {}
        K::Index { base, indices } => {
            f(Child::Expr(base));
            indices.iter_mut().for_each(|i| f(Child::Expr(i)));
        }
        K::Field { base, .. } | K::TupleField { base, .. } => f(Child::Expr(base)),
        K::Call { args, .. } => args.iter_mut().for_each(|a| f(Child::Expr(a))),
        K::Unary { operand, .. } => f(Child::Expr(operand)),
        K::Increment { target, .. } => f(Child::Expr(target)),
        K::Binary { left, right, .. } => {
            f(Child::Expr(left));
            f(Child::Expr(right));
        }
        K::Ternary { condition, then, otherwise } => {
            f(Child::Expr(condition));
            if let Some(t) = then {
                f(Child::Expr(t));
            }
            f(Child::Expr(otherwise));
        }
        K::Cast { ty, operand } => {
            f(Child::Type(ty));
            f(Child::Expr(operand));
        }
        K::Sizeof(of) | K::Typeof(of) | K::Typeinfo(of) | K::Offsetof { of, .. } => match of {
            TypeOrExpr::Type(t) => f(Child::Type(t)),
            TypeOrExpr::Expr(e) => f(Child::Expr(e)),
        },
        K::Tuple(elems) => elems.iter_mut().for_each(|e| f(Child::Expr(e))),
        K::Record(fields) => fields.iter_mut().for_each(|(_, e)| f(Child::Expr(e))),
        K::Block(b) => f(Child::Block(b)),
        K::Comptime(e) => f(Child::Expr(e)),
        K::If { condition, then, otherwise } => {
            f(Child::Expr(condition));
            f(Child::Block(then));
            f(Child::Block(otherwise));
        }
    }
}
