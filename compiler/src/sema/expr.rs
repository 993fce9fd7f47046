//! Expressions: dispatch, literals, variables, tuples, blocks.
//!
//! In: an expression of the expanded syntax tree. Out: a typed expression.
//! `raw` keeps lvalues as they are (arrays of char, structs in kernel memory),
//! `expr` gives a value.

use super::checker::{Checker, Typed, constant};
use super::{builtins, calls, types};
use crate::diagnostic::Diagnostic;
use crate::hir::tree::{self, Expr, ExprKind, Intrinsic, Place};
use crate::hir::types::{Space, Type};
use crate::span::Span;
use crate::syntax::ast::{self, UnaryOp};
use btc_payload::manifest::MapId;
use btc_payload::start::StartValue;

impl Checker<'_> {
    /// The value of an expression; arrays of char become texts.
    pub(super) fn expr(&mut self, e: &ast::Expr) -> Typed {
        let value = self.raw(e)?;
        Some(self.decay(value))
    }

    /// An array of char as a text.
    pub(super) fn decay(&self, e: Expr) -> Expr {
        match e.ty {
            Type::CharArray { len } => super::convert::convert(e, Type::Str { size: len + 1 }),
            _ => e,
        }
    }

    /// A value that is not `void`.
    pub(super) fn value(&mut self, e: &ast::Expr) -> Typed {
        let value = self.expr(e)?;
        if value.ty == Type::Void {
            return self.error("E0250", e.span, "this has no value", "a value is expected");
        }
        Some(value)
    }

    /// An expression as it is.
    pub(super) fn raw(&mut self, e: &ast::Expr) -> Typed {
        use ast::ExprKind as K;
        let span = e.span;
        match &e.kind {
            K::Integer { value, .. } => Some(constant(*value, types::literal_type(*value, false), span)),
            K::Char(c) => Some(constant(u64::from(*c), types::literal_type(u64::from(*c), false), span)),
            K::Bool(b) => Some(constant(u64::from(*b), Type::Bool, span)),
            K::String(bytes) => Some(text(bytes, span)),
            K::Identifier(name) => builtins::identifier(self, name, span),
            K::Variable(name) => self.variable(name, span),
            K::Map(name) => self.scalar_map(name, span),
            K::Positional(n) => Some(self.positional_value(*n, span)),
            K::PositionalCount => Some(self.start(StartValue::ParameterCount, Type::I64, span)),
            K::Index { base, indices } => self.index(base, indices, span),
            K::Field { base, name, .. } => self.field(base, name, span),
            K::TupleField { base, index } => {
                let base = self.raw(base)?;
                self.tuple_field(base, *index, span)
            }
            K::Call { name, args } => calls::call(self, name, args, span),
            K::Unary { op, operand } => self.unary(*op, operand, span),
            K::Increment { target, decrement, prefix } => self.increment(target, *decrement, *prefix, span),
            K::Binary { op, left, right } => self.binary(*op, left, right, span),
            K::Ternary { condition, then, otherwise } => self.ternary(condition, then.as_deref(), otherwise, span),
            K::Cast { ty, operand } => self.cast(ty, operand, span),
            K::Sizeof(of) => self.sizeof(of, span),
            K::Offsetof { of, path } => self.offsetof(of, path, span),
            K::Typeof(_) => self.error("E0251", span, "a type is no value", "only casts, sizeof and macros take types"),
            K::Typeinfo(of) => self.typeinfo(of, span),
            K::Tuple(elements) => self.tuple(elements, span),
            K::Record(fields) => self.record(fields, span),
            K::Block(block) => self.block_value(block, span),
            K::Comptime(inner) => self.comptime(inner),
            K::If { condition, then, otherwise } => {
                let (then, otherwise) = (block_expr(then), block_expr(otherwise));
                self.ternary(condition, Some(&then), &otherwise, span)
            }
        }
    }

    fn variable(&mut self, name: &str, span: Span) -> Typed {
        let Some(id) = self.find_local(name) else {
            let shown = name.split('#').next().unwrap_or(name);
            let mut d = Diagnostic::error("E0201", format!("variable `{shown}` is not defined here"))
                .at(span, "not assigned before");
            if let Some(close) = self.similar_local(shown) {
                d = d.help(format!("did you mean `{close}`?"));
            } else {
                d = d.help(format!(
                    "a variable lives in the block it is first assigned in; declare it before with `let {shown};`"
                ));
            }
            self.lift(name);
            self.report(d);
            return None;
        };
        let Some(ty) = self.local_type(id) else {
            // Counts only if no later assignment teaches the type.
            let shown = name.split('#').next().unwrap_or(name);
            return self.error(
                "E0207",
                span,
                format!("the type of `{shown}` is not known"),
                "nothing is ever assigned",
            );
        };
        Some(Expr { kind: ExprKind::Local(id), ty, span })
    }

    fn scalar_map(&mut self, name: &str, span: Span) -> Typed {
        let map = self.map(name, span);
        if let Some(key) = &self.map_info(map).key
            && *key != Type::Tuple(Vec::new())
        {
            return self.error("E0220", span, format!("map `{name}` needs a key"), "a key is missing");
        }
        self.map_value(map, super::checker::unit(span), span)
    }

    /// The value of a map entry. What aggregates read as integers does so.
    pub(super) fn map_value(&mut self, map: MapId, key: Expr, span: Span) -> Typed {
        let info = self.map_info(map);
        let Some(value) = info.value.clone() else { return self.never_assigned(map, span) };
        let ty = match &value {
            Type::Aggregate(a) => match self.aggregate_integer(a) {
                Some(ty) => ty,
                None => {
                    let message = format!("a `{}` cannot be used as a number", types::aggregate_name(a));
                    return self.error("E0224", span, message, "it can only be printed");
                }
            },
            other => other.clone(),
        };
        Some(Expr { kind: ExprKind::MapRead { map, key: Box::new(key) }, ty, span })
    }

    /// Reading a map that nothing is stored into: 0, unless it looks like a slip.
    fn never_assigned(&mut self, map: MapId, span: Span) -> Typed {
        let name = self.map_info(map).name.clone();
        if !self.settled {
            return calls::never_assigned(self, &name, span);
        }
        let mut d = Diagnostic::warning("W0221", format!("map `{name}` is never assigned")).at(span, "reads as 0");
        if let Some(close) = self.similar_map(&name) {
            d = d.help(format!("did you mean `{close}`?"));
        }
        self.report(d);
        Some(constant(0, Type::I64, span))
    }

    pub(super) fn aggregate_integer(&self, a: &crate::hir::types::Aggregate) -> Option<Type> {
        use crate::hir::types::Aggregate::*;
        match a {
            Count => Some(Type::I64),
            Sum { signed } | Avg { signed } | Min { signed } | Max { signed } => {
                Some(Type::Int { size: 8, signed: *signed })
            }
            Stats { .. } | Hist { .. } | Lhist { .. } | Bucketed(_) | Tseries { .. } => None,
        }
    }

    /// `$n` where nothing says what it is: a text where the script is built to be run with
    /// just that one, else a number.
    fn positional_value(&mut self, n: u32, span: Span) -> Expr {
        let given = (n as usize).checked_sub(1).and_then(|i| self.env.parameters.get(i));
        match given.filter(|t| !t.trim_start_matches(['-', '+']).starts_with(|c: char| c.is_ascii_digit())) {
            Some(given) if !given.is_empty() => {
                self.positional(n).text = true;
                text(given.as_bytes(), span)
            }
            _ => self.positional_number(n, span),
        }
    }

    /// `$n` as a number.
    pub(super) fn positional_number(&mut self, n: u32, span: Span) -> Expr {
        self.positional(n).number = true;
        self.start(StartValue::ParameterInt(n), Type::I64, span)
    }

    /// `$n` as a text.
    pub(super) fn positional_text(&mut self, n: u32, span: Span) -> Expr {
        self.positional(n).text = true;
        let size = self.env.limits.max_strlen + 1;
        self.start(StartValue::ParameterText(n), Type::Str { size }, span)
    }

    /// `base[indices]`.
    fn index(&mut self, base: &ast::Expr, indices: &[ast::Expr], span: Span) -> Typed {
        if let ast::ExprKind::Map(name) = &base.kind {
            let map = self.map(name, base.span);
            let key = self.map_key(map, indices, span)?;
            return self.map_value(map, key, span);
        }
        let base = self.raw(base)?;
        let base = self.named_text(base);
        let [index] = indices else {
            return self.error("E0252", span, "only maps take several keys", "");
        };
        self.element(base, index, span)
    }

    /// The key of a map entry: one value, or a tuple of several.
    pub(super) fn map_key(&mut self, map: MapId, indices: &[ast::Expr], span: Span) -> Typed {
        let key = match indices {
            [one] => self.value(one)?,
            several => self.tuple(several, span)?,
        };
        self.fit_key(map, key)
    }

    /// A key made to fit the map's type, which it may widen.
    pub(super) fn fit_key(&mut self, map: MapId, key: Expr) -> Typed {
        let ty = self.storage_type(&key);
        if matches!(ty, Type::Aggregate(_) | Type::Void) {
            let message = format!("`{}` cannot be a key", self.spell(&ty));
            return self.error("E0225", key.span, message, "");
        }
        self.widen_key(map, &ty, key.span)?;
        let want = self.map_info(map).key.clone()?;
        let name = self.map_info(map).name.clone();
        let key = self.stored(key);
        self.coerce(key, &want, &format!("the key of `{name}`"))
    }

    fn unary(&mut self, op: UnaryOp, operand: &ast::Expr, span: Span) -> Typed {
        match op {
            UnaryOp::Plus => {
                let e = self.value(operand)?;
                self.integer(e, true, "the operand of `+`")
            }
            UnaryOp::Negate => self.negate(operand, span),
            UnaryOp::Complement => {
                let e = self.value(operand)?;
                // An unsigned operand keeps its width, so that the bits above it stay zero.
                let unsigned = match e.ty {
                    Type::Int { size, signed: false } => Some(size),
                    _ => None,
                };
                if let Some(v) = super::checker::literal(&e) {
                    let v = !(v as u64);
                    return Some(match unsigned {
                        Some(size) => constant(v & (u64::MAX >> (64 - 8 * u32::from(size))), e.ty, span),
                        None => constant(v, types::literal_type(v, (v as i64) < 0), span),
                    });
                }
                let operand = e.ty.clone();
                let e = self.integer(e, unsigned.is_none(), "the operand of `~`")?;
                let ty = e.ty.clone();
                let all = Expr { kind: ExprKind::Complement(Box::new(e)), ty, span };
                Some(if unsigned.is_some() { super::convert::convert(all, operand) } else { all })
            }
            UnaryOp::Not => {
                let e = self.condition(operand)?;
                if let ExprKind::Const(v) = e.kind {
                    return Some(constant(u64::from(v == 0), Type::Bool, span));
                }
                Some(Expr { kind: ExprKind::Not(Box::new(e)), ty: Type::Bool, span })
            }
            UnaryOp::Dereference => {
                let e = self.raw(operand)?;
                self.dereference(e, span)
            }
            UnaryOp::AddressOf => self.address_of(operand, span),
        }
    }

    fn negate(&mut self, operand: &ast::Expr, span: Span) -> Typed {
        let e = self.value(operand)?;
        if let Some(v) = super::checker::literal(&e) {
            let v = -v;
            if v < i128::from(i64::MIN) {
                return self.error("E0210", span, format!("{v} does not fit 64 bits"), "out of range");
            }
            return Some(constant(v as u64, types::literal_type(v as u64, v < 0), span));
        }
        let e = self.integer(e, true, "the operand of `-`")?;
        Some(Expr { kind: ExprKind::Negate(Box::new(e)), ty: Type::I64, span })
    }

    /// `*p`.
    pub(super) fn dereference(&mut self, e: Expr, span: Span) -> Typed {
        match &e.ty {
            Type::Pointer { to, .. } if **to == Type::Void => {
                self.error("E0253", span, "a `void *` points to nothing that can be read", "cast it first")
            }
            Type::Pointer { to, .. } => {
                let ty = (**to).clone();
                Some(Expr { kind: ExprKind::Dereference(Box::new(e)), ty, span })
            }
            // An integer is taken for the address of a 64-bit integer, as ever.
            Type::Int { .. } => {
                let space = self.default_space();
                let pointer = super::convert::convert(e, Type::Pointer { to: Box::new(Type::I64), space });
                Some(Expr { kind: ExprKind::Dereference(Box::new(pointer)), ty: Type::I64, span })
            }
            other => {
                let message = format!("`{}` is no pointer", self.spell(other));
                self.error("E0254", span, message, "cannot be dereferenced")
            }
        }
    }

    /// `&x`.
    fn address_of(&mut self, operand: &ast::Expr, span: Span) -> Typed {
        let pointer = |to: Type, kind| Expr { kind, ty: Type::Pointer { to: Box::new(to), space: Space::Bpf }, span };
        match &operand.kind {
            ast::ExprKind::Variable(name) => {
                let e = self.variable(name, operand.span)?;
                let ExprKind::Local(id) = e.kind else { return None };
                if let Some(p) = &mut self.probe {
                    p.locals[id.0 as usize].address_taken = true;
                }
                Some(pointer(e.ty, ExprKind::AddressOfLocal(id)))
            }
            ast::ExprKind::Map(_) | ast::ExprKind::Index { .. } => {
                if let Some(map) = self.keyed_map(operand) {
                    // The map itself, which helpers take; there is nothing to read at it.
                    let to = match &self.map_info(map).value {
                        Some(Type::Aggregate(_)) | None => Type::Void,
                        Some(value) => value.clone(),
                    };
                    let kind = ExprKind::Intrinsic { which: Intrinsic::WholeMap(map), args: Vec::new() };
                    return Some(Expr { kind, ty: Type::Pointer { to: Box::new(to), space: Space::Kernel }, span });
                }
                let e = self.raw(operand)?;
                match e.kind {
                    ExprKind::MapRead { map, key } => match self.map_info(map).value {
                        Some(Type::Aggregate(_)) => {
                            self.error("E0255", span, "an aggregation has no address", "it is kept per CPU")
                        }
                        _ => Some(pointer(e.ty, ExprKind::AddressOfMap { map, key })),
                    },
                    _ => self.memory_address(e, span),
                }
            }
            _ => {
                let e = self.raw(operand)?;
                self.memory_address(e, span)
            }
        }
    }

    /// The map in `@m`, if it has keys.
    fn keyed_map(&mut self, e: &ast::Expr) -> Option<MapId> {
        let ast::ExprKind::Map(name) = &e.kind else { return None };
        let map = self.map(name, e.span);
        self.map_info(map).key.as_ref().is_some_and(|k| *k != Type::Tuple(Vec::new())).then_some(map)
    }

    /// Address of an lvalue in kernel or user memory.
    fn memory_address(&mut self, e: Expr, span: Span) -> Typed {
        if e.space() == Space::Bpf {
            return self.error("E0255", span, "this has no address", "only variables, maps and memory have one");
        }
        super::access::address_of(e).map(|e| Expr { span, ..e })
    }

    /// `++x` and its kin.
    fn increment(&mut self, target: &ast::Expr, decrement: bool, prefix: bool, span: Span) -> Typed {
        let (place, ty) = match &target.kind {
            ast::ExprKind::Variable(name) => {
                // Counting needs no assignment before: it starts at zero.
                let id = self.find_local(name);
                if id.is_none() {
                    self.variable(name, target.span)?;
                }
                let id = id?;
                let declared = self.declared_type(id);
                let old = self.local_type(id)?;
                let ty = self.countable(if declared { old } else { counted(old, decrement) }, span)?;
                if !declared && !self.widen_local(id, &ty, false) {
                    return None;
                }
                (Place::Local(id), self.local_type(id)?)
            }
            ast::ExprKind::Map(name) => {
                let map = self.map(name, target.span);
                let key = self.scalar_key(map, target.span)?;
                self.counted_entry(map, key, decrement, span)?
            }
            ast::ExprKind::Index { base, indices } if matches!(base.kind, ast::ExprKind::Map(_)) => {
                let ast::ExprKind::Map(name) = &base.kind else { return None };
                let map = self.map(name, base.span);
                let key = self.map_key(map, indices, target.span)?;
                self.counted_entry(map, key, decrement, span)?
            }
            _ => return self.error("E0256", target.span, "only variables and map entries can be incremented", ""),
        };
        Some(Expr { kind: ExprKind::Increment { place, decrement, prefix }, ty, span })
    }

    fn counted_entry(&mut self, map: MapId, key: Expr, decrement: bool, span: Span) -> Option<(Place, Type)> {
        let ty = counted(self.map_info(map).value.clone().unwrap_or(Type::I64), decrement);
        let ty = self.countable(ty, span)?;
        self.widen_value(map, (&ty, false), span)?;
        let ty = self.map_info(map).value.clone()?;
        Some((Place::Map { map, key: Box::new(key) }, ty))
    }

    /// Refuses what cannot be incremented.
    fn countable(&mut self, ty: Type, span: Span) -> Option<Type> {
        match ty {
            Type::Int { .. } | Type::Pointer { .. } => Some(ty),
            other => {
                let message = format!("`{}` cannot be incremented", self.spell(&other));
                self.error("E0257", span, message, "an integer or pointer is expected")
            }
        }
    }

    fn tuple(&mut self, elements: &[ast::Expr], span: Span) -> Typed {
        let mut out = Vec::new();
        for e in elements {
            let value = self.value(e);
            out.push(value.map(|v| self.element_of_tuple(v)));
        }
        let elements: Vec<Expr> = out.into_iter().collect::<Option<_>>()?;
        let ty = Type::Tuple(elements.iter().map(|e| e.ty.clone()).collect());
        let evaluation = (0..elements.len() as u32).collect();
        Some(Expr { kind: ExprKind::Tuple { elements, evaluation }, ty, span })
    }

    fn element_of_tuple(&self, e: Expr) -> Expr {
        let e = self.stored(e);
        let ty = types::in_memory(&e.ty);
        super::convert::convert(e, ty)
    }

    fn record(&mut self, fields: &[(ast::Name, ast::Expr)], span: Span) -> Typed {
        let (mut elements, mut named) = (Vec::new(), Vec::new());
        for (name, e) in fields {
            if named.iter().any(|(n, _)| *n == name.value) {
                return self.error("E0258", name.span, format!("field `{}` stands twice", name.value), "");
            }
            let value = self.value(e)?;
            let value = self.element_of_tuple(value);
            named.push((name.value.clone(), value.ty.clone()));
            elements.push(value);
        }
        let evaluation = (0..elements.len() as u32).collect();
        Some(Expr { kind: ExprKind::Tuple { elements, evaluation }, ty: Type::Record(named), span })
    }

    /// `{ ...; value }`.
    fn block_value(&mut self, block: &ast::Block, span: Span) -> Typed {
        self.push_scope();
        let body = self.statements(&block.statements);
        let value = match &block.value {
            Some(v) => self.expr(v),
            None => Some(Expr { kind: ExprKind::Zero, ty: Type::Void, span }),
        };
        self.pop_scope();
        let value = value?;
        let ty = value.ty.clone();
        Some(Expr { kind: ExprKind::Block { body, value: Box::new(value) }, ty, span })
    }

    /// `comptime e`: must fold to a constant.
    fn comptime(&mut self, inner: &ast::Expr) -> Typed {
        let e = self.expr(inner)?;
        match e.is_constant() {
            true => Some(e),
            false => self.error("E0259", inner.span, "this is not known while compiling", "comptime wants a constant"),
        }
    }
}

/// The type something has that is counted: integers have 64 bits, signed ones
/// where it goes down, as all differences are.
fn counted(ty: Type, decrement: bool) -> Type {
    match ty {
        Type::Int { signed: false, size: 8 } if !decrement => ty,
        Type::Int { .. } => Type::I64,
        other => other,
    }
}

/// A text constant.
pub(super) fn text(bytes: &[u8], span: Span) -> Expr {
    // What stands behind a NUL can never be seen.
    let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
    let ty = Type::Str { size: end as u32 + 1 };
    Expr { kind: ExprKind::Str(bytes[..end].to_vec()), ty, span }
}

fn block_expr(block: &ast::Block) -> ast::Expr {
    ast::Expr { kind: ast::ExprKind::Block(Box::new(block.clone())), span: block.span }
}

/// A statement for an expression's effects.
pub(super) fn statement(e: Expr) -> tree::Stmt {
    let span = e.span;
    tree::Stmt { kind: tree::StmtKind::Expr(e), span }
}
