//! Conversions: what a value becomes where another type is wanted.
//!
//! In: a typed expression and the type wanted. Out: the expression with an
//! explicit `Convert`, or a diagnostic. Integer literals take the type they are
//! needed in if it holds them.

use super::checker::{Checker, Typed, constant, literal};
use super::types;
use crate::ctypes::CKind;
use crate::diagnostic::Diagnostic;
use crate::hir::tree::{BinaryOp, Block, Expr, ExprKind, Intrinsic, Stmt, StmtKind};
use crate::hir::types::{Space, Type};
use crate::span::Span;
use crate::syntax::ast;
use btc_payload::start::{NameTable, StartValue};

/// Wraps in a conversion; nothing if the type is right already.
pub(super) fn convert(e: Expr, ty: Type) -> Expr {
    if e.ty == ty {
        return e;
    }
    let span = e.span;
    Expr { kind: ExprKind::Convert(Box::new(e)), ty, span }
}

/// Largest and smallest value of an integer type.
fn range(size: u8, signed: bool) -> (i128, i128) {
    let bits = u32::from(size) * 8;
    if signed { (-(1i128 << (bits - 1)), (1i128 << (bits - 1)) - 1) } else { (0, (1i128 << bits) - 1) }
}

impl Checker<'_> {
    /// The type a variable or map gets when this value is all that is known:
    /// literals have the smallest type that holds them, char arrays become texts.
    pub(super) fn storage_type(&self, e: &Expr) -> Type {
        match &e.ty {
            Type::CharArray { len } => Type::Str { size: len + 1 },
            ty => ty.clone(),
        }
    }

    /// The value in the form in which variables, maps and records hold it.
    pub(super) fn stored(&self, e: Expr) -> Expr {
        let ty = self.storage_type(&e);
        convert(e, ty)
    }

    /// Implicit conversion to a type that is fixed. `what` names the receiver
    /// for messages, such as "variable `$x`".
    pub(super) fn coerce(&mut self, e: Expr, want: &Type, what: &str) -> Typed {
        if e.ty == *want {
            return Some(e);
        }
        if e.ty == Type::FunctionName && *want == Type::KernelSymbol {
            let kind = ExprKind::Intrinsic { which: Intrinsic::FunctionAddress, args: Vec::new() };
            return Some(Expr { kind, ty: want.clone(), span: e.span });
        }
        if let (Some(value), Type::Int { size, signed }) = (literal(&e), want) {
            let (low, high) = range(*size, *signed);
            if value < low || value > high {
                let message = format!("{value} does not fit `{}`, the type of {what}", self.spell(want));
                self.report(
                    Diagnostic::error("E0210", message)
                        .at(e.span, "out of range")
                        .help(format!("`{}` holds {low} to {high}", self.spell(want))),
                );
                return None;
            }
            return Some(constant(value as u64, want.clone(), e.span));
        }
        if self.fits(&e, want) {
            return Some(convert(e, want.clone()));
        }
        let message = format!("{what} has type `{}`, but this is `{}`", self.spell(want), self.spell(&e.ty));
        let mut d = Diagnostic::error("E0211", message).at(e.span, format!("`{}`", self.spell(&e.ty)));
        if e.ty.is_integral() && want.is_integral() {
            d = d.help(format!("a cast makes the loss explicit: `({})...`", self.spell(want)));
        }
        self.report(d);
        None
    }

    /// Does a value convert to `want` without a cast?
    fn fits(&self, e: &Expr, want: &Type) -> bool {
        if let (Some(0), Type::Pointer { .. }) = (literal(e), want) {
            return true;
        }
        self.type_fits(&e.ty, want)
    }

    fn type_fits(&self, have: &Type, want: &Type) -> bool {
        use Type::*;
        match (have, want) {
            (a, b) if a == b => true,
            // A declared type cuts what is assigned, as in C; only literals are checked.
            (Bool | Int { .. } | Enum { .. }, Int { .. }) => true,
            (Int { .. }, Enum { .. }) => true,
            (Enum { ctype: a, .. }, Enum { ctype: b, .. }) => a == b,
            (Str { size: a } | CharArray { len: a }, Str { size: b }) => a <= b,
            (Buf { .. }, Buf { .. }) => true,
            (Pointer { .. }, Pointer { .. }) => true,
            (Tuple(a), Tuple(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| self.type_fits(a, b)),
            (Record(a), Record(b)) => {
                a.len() == b.len() && a.iter().all(|(n, t)| b.iter().any(|(m, u)| n == m && self.type_fits(t, u)))
            }
            (Array { elem: a, len: n }, Array { elem: b, len: m }) => n == m && self.type_fits(a, b),
            (Stack { user: u, mode: m, .. }, Stack { user: v, mode: n, .. }) => u == v && m == n,
            _ => false,
        }
    }

    /// A number that is shown by its name, as the text of that name. The names are
    /// the target's, so the tracer brings them, but for those that the script tells.
    pub(super) fn named_text(&mut self, e: Expr) -> Expr {
        if let Type::ProbeName | Type::FunctionName = e.ty {
            return match self.known_name(&e.ty) {
                Some(name) => super::expr::text(name.as_bytes(), e.span),
                None => e,
            };
        }
        let table = match e.ty {
            Type::ErrnoText => NameTable::Errors,
            Type::SignalName => NameTable::Signals,
            Type::SyscallName => NameTable::Syscalls,
            _ => return e,
        };
        let span = e.span;
        let number = convert(e, Type::I64);
        let Some(local) = self.temporary("number", Type::I64, span) else { return number };
        let assign = Stmt { kind: StmtKind::Assign { local, value: number }, span };
        let read = || Expr { kind: ExprKind::Local(local), ty: Type::I64, span };
        let zero = || constant(0, Type::I64, span);
        let compare = |op, left: Expr, right: Expr| Expr {
            kind: ExprKind::Binary { op, left: Box::new(left), right: Box::new(right) },
            ty: Type::Bool,
            span,
        };
        let choose = |condition, then, otherwise| Expr {
            kind: ExprKind::Ternary {
                condition: Box::new(condition),
                then: Box::new(then),
                otherwise: Box::new(otherwise),
            },
            ty: Type::I64,
            span,
        };
        // Errors are given as negative numbers, too.
        let size = match table {
            NameTable::Errors => {
                let negated = Expr { kind: ExprKind::Negate(Box::new(read())), ty: Type::I64, span };
                choose(compare(BinaryOp::Less, read(), zero()), negated, read())
            }
            _ => read(),
        };
        let len = constant(table.entries().into(), Type::U64, span);
        let sized = Stmt { kind: StmtKind::Assign { local, value: size }, span };
        let known = compare(BinaryOp::Less, convert(read(), Type::U64), len.clone());
        let index = choose(known, read(), Expr { ty: Type::I64, ..len });
        let names = Type::Array { elem: Box::new(Type::CharArray { len: table.width() }), len: table.entries() + 1 };
        let base = Box::new(self.start(StartValue::Names(table), names, span));
        let kind = ExprKind::Element { base, index: Box::new(index) };
        let name = Expr { kind, ty: Type::CharArray { len: table.width() }, span };
        let value = Box::new(convert(name, Type::Str { size: table.width() + 1 }));
        let body = Block { statements: vec![assign, sized] };
        Expr { ty: value.ty.clone(), kind: ExprKind::Block { body, value }, span }
    }

    /// A condition: integers and pointers are true unless zero.
    pub(super) fn condition(&mut self, e: &ast::Expr) -> Typed {
        let value = self.expr(e)?;
        self.truth(value)
    }

    /// `Bool` of a value.
    pub(super) fn truth(&mut self, e: Expr) -> Typed {
        match &e.ty {
            Type::Bool => Some(e),
            Type::Int { .. } | Type::Enum { .. } | Type::Pointer { .. } => match literal(&e) {
                Some(v) => Some(constant(u64::from(v != 0), Type::Bool, e.span)),
                None => Some(convert(e, Type::Bool)),
            },
            Type::Str { .. } if matches!(e.kind, ExprKind::Str(_)) => {
                let empty = matches!(&e.kind, ExprKind::Str(text) if text.is_empty());
                Some(constant(u64::from(!empty), Type::Bool, e.span))
            }
            Type::Str { .. } => {
                self.report(
                    Diagnostic::error("E0212", "a text is neither true nor false")
                        .at(e.span, "a condition is expected")
                        .help("compare it, as in `$s != \"\"`"),
                );
                None
            }
            other => {
                let message = format!("`{}` cannot be a condition", self.spell(other));
                self.error("E0212", e.span, message, "an integer, boolean or pointer is expected")
            }
        }
    }

    /// An integer of 64 bits, for arithmetic and arguments. `what` names it.
    pub(super) fn integer(&mut self, e: Expr, signed: bool, what: &str) -> Typed {
        let want = Type::Int { size: 8, signed };
        match &e.ty {
            Type::Int { .. } if literal(&e).is_some() => Some(Expr { ty: want, ..e }),
            Type::Int { .. } | Type::Bool | Type::Enum { .. } => Some(convert(e, want)),
            other => {
                let message = format!("{what} must be an integer, but this is `{}`", self.spell(other));
                self.error("E0213", e.span, message, "")
            }
        }
    }

    /// An address: pointers keep their type, integers become `void *`.
    pub(super) fn address(&mut self, e: Expr, what: &str) -> Typed {
        match &e.ty {
            Type::Pointer { .. } => Some(e),
            Type::Int { .. } => {
                let space = self.default_space();
                Some(convert(e, Type::Pointer { to: Box::new(Type::Void), space }))
            }
            other => {
                let message = format!("{what} must be a pointer, but this is `{}`", self.spell(other));
                self.error("E0214", e.span, message, "")
            }
        }
    }

    /// `(type)operand`.
    pub(super) fn cast(&mut self, ty: &ast::TypeExpr, operand: &ast::Expr, span: Span) -> Typed {
        let value = self.raw(operand)?;
        let want = self.type_expr_for(ty, Some(&value))?;
        self.cast_value(value, want, span)
    }

    fn cast_value(&mut self, e: Expr, want: Type, span: Span) -> Typed {
        use Type::*;
        let done = |kind| Some(Expr { kind, ty: want.clone(), span });
        // A cast literal is none any more: it has the sign of its type, and may wrap where it goes.
        if e.ty == want && literal(&e).is_none() {
            return Some(Expr { span, ..e });
        }
        // What a kernel enumeration has is known on the target only.
        if let (Enum { ctype, .. }, Some(v)) = (&want, literal(&e))
            && !self.types().is_kernel(*ctype)
            && let CKind::Enum(known) = &self.types().resolved(*ctype).kind
            && !known.values.iter().any(|(_, x)| i128::from(*x) == v)
        {
            let message = format!("`{}` has no enumerator of value {v}", self.spell(&want));
            return self.error("E0218", span, message, "no name for this value");
        }
        if let (Str { .. } | CharArray { .. }, Bool) = (&e.ty, &want) {
            return self.text_truth(e, span);
        }
        let ok = match (&e.ty, &want) {
            (
                Bool
                | Int { .. }
                | Enum { .. }
                | Pointer { .. }
                | KernelSymbol
                | ErrnoText
                | SignalName
                | Timestamp { .. },
                Bool | Int { .. } | Enum { .. },
            ) => true,
            (Int { .. } | Pointer { .. } | Bool, Pointer { .. }) => true,
            (Array { .. } | CharArray { .. }, Pointer { .. }) => return self.address_of_array(e, want, span),
            (Int { .. } | Enum { .. } | Bool, Array { .. }) => {
                // An untyped literal takes the integer type of the array's size.
                let size = types::size_of(self.types(), &want);
                let fits = literal(&e).is_some() && matches!(size, 1 | 2 | 4 | 8);
                let e = if fits { Expr { ty: Int { size: size as u8, signed: false }, ..e } } else { e };
                return self.cast_bytes(e, want, span);
            }
            (Array { .. } | CharArray { .. }, Int { .. } | Array { .. }) | (Str { .. }, Array { .. }) => {
                return self.cast_bytes(e, want, span);
            }
            (Str { size: a } | CharArray { len: a }, Str { size: b }) => a <= b,
            (Buf { .. }, Buf { .. }) => true,
            (UserSymbol, Int { .. }) => true,
            (Tuple(a), Tuple(b)) => a.len() == b.len(),
            (Int { .. }, KernelSymbol | Username | Timestamp { .. } | ErrnoText) => true,
            (Pointer { .. }, KernelSymbol) => true,
            (Struct { .. }, Array { .. } | Int { .. }) => return self.cast_bytes(e, want, span),
            _ => false,
        };
        if ok {
            return done(ExprKind::Convert(Box::new(e)));
        }
        let message = format!("cannot cast `{}` to `{}`", self.spell(&e.ty), self.spell(&want));
        let mut d = Diagnostic::error("E0215", message).at(span, "");
        if matches!((&e.ty, &want), (Int { .. } | Pointer { .. }, Struct { .. })) {
            d = d.help(format!("cast to a pointer: `({} *)...`", self.spell(&want)));
        }
        self.report(d);
        None
    }

    /// `(bool)text`: is it not empty?
    fn text_truth(&mut self, e: Expr, span: Span) -> Typed {
        let (text, empty) = (self.decay(e), super::expr::text(b"", span));
        if matches!(text.kind, ExprKind::Str(_)) {
            return self.truth(text);
        }
        let kind = ExprKind::Binary { op: BinaryOp::NotEqual, left: Box::new(text), right: Box::new(empty) };
        Some(Expr { kind, ty: Type::Bool, span })
    }

    /// Casts that copy bytes want both sides to have one size.
    fn cast_bytes(&mut self, e: Expr, want: Type, span: Span) -> Typed {
        let (have, need) = (types::size_of(self.types(), &e.ty), types::size_of(self.types(), &want));
        if have == need {
            return Some(Expr { kind: ExprKind::Convert(Box::new(e)), ty: want, span });
        }
        let message = format!("cannot cast `{}` to `{}`", self.spell(&e.ty), self.spell(&want));
        self.error("E0216", span, message, &format!("{have} bytes against {need}"))
    }

    /// An array in memory as a pointer to its first element.
    fn address_of_array(&mut self, e: Expr, want: Type, span: Span) -> Typed {
        let space = e.space();
        let Type::Pointer { to, .. } = want else { return None };
        if space == Space::Bpf {
            return self.error("E0217", span, "an array that the program holds has no address", "");
        }
        let pointer = super::access::address_of(e)?;
        Some(convert(Expr { span, ..pointer }, Type::Pointer { to, space }))
    }

    /// Is it a struct whose layout the target decides?
    pub(super) fn is_kernel_struct(&self, ty: &Type) -> bool {
        match ty {
            Type::Struct { ctype } => {
                self.types().is_kernel(*ctype)
                    && matches!(self.types().resolved(*ctype).kind, CKind::Composite(_) | CKind::Forward { .. })
            }
            _ => false,
        }
    }
}
