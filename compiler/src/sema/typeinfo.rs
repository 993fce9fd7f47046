//! `typeinfo(x)`: what a type is called, as a record that a script can look at.
//!
//! In: a type, or an expression that is not evaluated. Out: a record of constants. The
//! names are bpftrace's, as scripts compare with them; those of messages are `types::spell`.

use super::calls;
use super::checker::{Checker, Typed, constant};
use super::expr::text;
use super::types;
use crate::hir::tree::{Expr, ExprKind};
use crate::hir::types::Type;
use crate::span::Span;
use crate::syntax::ast;
use btc_payload::layout::{BUF_DATA, StackMode};

/// Bytes of the texts that number to name functions make in bpftrace.
const NAME_SIZE: u32 = 64;
/// Bytes of an address with its family there.
const INET_SIZE: u32 = 24;

impl Checker<'_> {
    pub(super) fn typeinfo(&mut self, of: &ast::TypeOrExpr, span: Span) -> Typed {
        calls::unstable(self, span, "unstable_typeinfo", "`typeinfo`")?;
        let ty = match self.aggregation(of) {
            Some(ty) => ty,
            None => self.type_of(of)?,
        };
        let ty = self.as_known(ty);
        let (base, full) = (base_name(&ty), self.full_name(&ty));
        let elements = vec![constant(0, Type::I64, span), text(base.as_bytes(), span), text(full.as_bytes(), span)];
        let names = ["btf_id", "base_type", "full_type"];
        let ty = Type::Record(names.iter().zip(&elements).map(|(n, e)| (n.to_string(), e.ty.clone())).collect());
        Some(Expr { kind: ExprKind::Tuple { elements, evaluation: vec![0, 1, 2] }, ty, span })
    }

    /// The aggregation that a map without keys, or an entry of a map, is.
    pub(super) fn aggregation(&mut self, of: &ast::TypeOrExpr) -> Option<Type> {
        let ast::TypeOrExpr::Expr(e) = of else { return None };
        let (name, keyed) = match &e.kind {
            ast::ExprKind::Map(name) => (name, false),
            ast::ExprKind::Index { base, .. } => match &base.kind {
                ast::ExprKind::Map(name) => (name, true),
                _ => return None,
            },
            _ => return None,
        };
        let map = self.map(name, e.span);
        let info = self.map_info(map);
        let has_keys = info.key.as_ref().is_some_and(|k| *k != Type::Tuple(Vec::new()));
        info.value.clone().filter(|v| matches!(v, Type::Aggregate(_)) && keyed == has_keys)
    }

    /// What bpftrace has as plain text is text.
    fn as_known(&self, ty: Type) -> Type {
        match ty {
            Type::CharArray { len } => Type::Str { size: len + 1 },
            Type::ErrnoText | Type::SignalName | Type::SyscallName => Type::Str { size: NAME_SIZE },
            Type::ProbeName | Type::FunctionName => {
                let known = self.known_name(&ty).map_or(NAME_SIZE, |name| name.len() as u32 + 1);
                Type::Str { size: known }
            }
            other => other,
        }
    }

    fn full_name(&self, ty: &Type) -> String {
        let list = |elems: &mut dyn Iterator<Item = String>, between| elems.collect::<Vec<_>>().join(between);
        match ty {
            Type::Buf { size } => format!("buffer[{}]", size + BUF_DATA),
            Type::Inet => format!("inet[{INET_SIZE}]"),
            Type::Username => "username_t".into(),
            Type::Stack { user, mode, frames } => {
                let mode = match mode {
                    StackMode::Bpftrace => "bpftrace",
                    StackMode::Perf => "perf",
                    StackMode::Raw => "raw",
                    StackMode::BuildId => "build_id",
                };
                format!("{}stack_{mode}_{frames}", if *user { "u" } else { "k" })
            }
            Type::Pointer { to, .. } => format!("{} *", self.full_name(to)),
            Type::Array { elem, len } => format!("{}[{len}]", self.full_name(elem)),
            Type::Tuple(elems) => format!("({})", list(&mut elems.iter().map(|t| self.full_name(t)), ",")),
            Type::Record(fields) => {
                let mut fields = fields.iter().map(|(name, t)| format!(".{name} = {}", self.full_name(t)));
                format!("record {{ {} }}", list(&mut fields, ", "))
            }
            other => types::spell(self.types(), other),
        }
    }
}

/// The kind of a type.
fn base_name(ty: &Type) -> String {
    use Type::*;
    let name = match ty {
        Void => "void",
        Bool => "bool",
        Int { .. } | Enum { .. } => "int",
        Pointer { .. } => "pointer",
        Struct { .. } => "c_type",
        Str { .. } | CharArray { .. } | ErrnoText | SignalName | SyscallName | ProbeName | FunctionName => "string",
        Parameter { .. } => "int",
        Buf { .. } => "buffer",
        Array { .. } => "array",
        Tuple(_) => "tuple",
        Record(_) => "record",
        Stack { user: true, .. } => "ustack",
        Stack { user: false, .. } => "kstack",
        KernelSymbol => "ksym_t",
        UserSymbol => "usym_t",
        Mac => "mac_address",
        Inet => "inet",
        Timestamp { .. } => "timestamp",
        CgroupPath { .. } => "cgroup_path_t",
        Username => "username_t",
        Aggregate(a) => return format!("{}_t", types::aggregate_name(a)),
    };
    name.into()
}
