//! Types as written to types as meant.
//!
//! In: `ast::TypeExpr`. Out: `Type`, or a diagnostic with a suggestion. A word
//! may name one of our types, a C type of the script or a kernel type with or
//! without `struct`.

use super::checker::{Checker, literal};
use super::types;
use crate::ctypes::TagKind;
use crate::diagnostic::Diagnostic;
use crate::hir::tree::Expr;
use crate::hir::types::{Space, Type};
use crate::span::Span;
use crate::syntax::ast::{self, TypeKind};

/// Longest array and text that a script may ask for, in bytes or elements.
const LARGEST: i128 = 1 << 20;

impl Checker<'_> {
    /// The meaning of a type.
    pub(super) fn type_expr(&mut self, ty: &ast::TypeExpr) -> Option<Type> {
        self.type_expr_for(ty, None)
    }

    /// As `type_expr`, where `T[]` takes its length from a value being cast.
    pub(super) fn type_expr_for(&mut self, ty: &ast::TypeExpr, value: Option<&Expr>) -> Option<Type> {
        self.type_in_memory(ty, value).map(types::wide_enum)
    }

    /// As `type_expr_for`, of what lies in memory as C lays it out.
    fn type_in_memory(&mut self, ty: &ast::TypeExpr, value: Option<&Expr>) -> Option<Type> {
        match &ty.kind {
            TypeKind::Name(name) => self.named_type(name, ty.span),
            TypeKind::Struct(name) => self.tagged(name, TagKind::Struct, ty.span),
            TypeKind::Union(name) => self.tagged(name, TagKind::Union, ty.span),
            TypeKind::Enum(name) => self.tagged(name, TagKind::Enum, ty.span),
            TypeKind::Sized { name, size } => {
                let n = self.array_length(size)?;
                match name.as_str() {
                    "string" if n == 0 => self.error("E0240", ty.span, "a text needs room for its end", "at least 1"),
                    "string" => Some(Type::Str { size: n }),
                    "buffer" => Some(Type::Buf { size: n }),
                    _ => {
                        let elem = self.named_type(name, ty.span)?;
                        Some(Type::Array { elem: Box::new(elem), len: n })
                    }
                }
            }
            TypeKind::Pointer(to) => {
                let to = self.type_in_memory(to, None)?;
                let space = self.pointer_space(&to, value);
                Some(Type::Pointer { to: Box::new(to), space })
            }
            TypeKind::Array { elem, len } => self.array_type(elem, len.as_deref(), value, ty.span),
            TypeKind::Tuple(elems) => {
                elems.iter().map(|t| self.type_expr(t)).collect::<Option<Vec<_>>>().map(Type::Tuple)
            }
            TypeKind::Typeof(of) => self.type_of(of),
        }
    }

    /// A pointer's space: that of the pointer it is cast from; kernel structs lie
    /// in the kernel whatever a number was; else what the probe suggests.
    fn pointer_space(&self, to: &Type, value: Option<&Expr>) -> Space {
        match value.map(|v| &v.ty) {
            Some(Type::Pointer { space, .. }) => *space,
            Some(Type::Array { .. } | Type::CharArray { .. } | Type::Struct { .. }) => {
                value.map_or(Space::Any, Expr::space)
            }
            _ if self.is_kernel_struct(to) && self.default_space() == Space::Any => Space::Kernel,
            _ => self.default_space(),
        }
    }

    fn array_type(
        &mut self,
        elem: &ast::TypeExpr,
        len: Option<&ast::Expr>,
        value: Option<&Expr>,
        span: Span,
    ) -> Option<Type> {
        let elem = self.type_in_memory(elem, None)?;
        if let Some(len) = len {
            let n = self.array_length(len)?;
            return Some(Type::Array { elem: Box::new(elem), len: n });
        }
        let size = types::size_of(self.types(), &elem);
        let Some(value) = value.filter(|_| size > 0) else {
            return self.error("E0241", span, "the length of this array is missing", "only a cast can tell it");
        };
        let bytes = types::size_of(self.types(), &value.ty);
        if !bytes.is_multiple_of(size) {
            let message = format!("{bytes} bytes are no whole number of elements of {size} bytes");
            return self.error("E0216", span, message, "");
        }
        Some(Type::Array { elem: Box::new(elem), len: (bytes / size) as u32 })
    }

    fn array_length(&mut self, e: &ast::Expr) -> Option<u32> {
        let value = self.expr(e)?;
        match literal(&value) {
            Some(n) if (0..=LARGEST).contains(&n) => Some(n as u32),
            Some(n) => self.error("E0242", e.span, format!("{n} is no possible size"), "0 to 1048576"),
            None => self.error("E0243", e.span, "a size must be a constant", "not a constant"),
        }
    }

    /// `typeof(x)`: the type of a type, or of an expression that is not evaluated.
    pub(super) fn type_of(&mut self, of: &ast::TypeOrExpr) -> Option<Type> {
        match of {
            ast::TypeOrExpr::Type(t) => self.type_expr(t),
            ast::TypeOrExpr::Expr(e) => {
                if let Some(ty) = self.word_as_type(e) {
                    return Some(ty);
                }
                // A map with keys, named as a whole, has the type of its keys.
                if let ast::ExprKind::Map(name) = &e.kind {
                    let map = self.map(name, e.span);
                    if let Some(key) = self.map_info(map).key.clone().filter(|k| *k != Type::Tuple(Vec::new())) {
                        return Some(key);
                    }
                }
                Some(self.without_effects(|c| c.raw(e))?.ty)
            }
        }
    }

    /// The type a bare word names, if it names no value.
    pub(super) fn word_as_type(&mut self, e: &ast::Expr) -> Option<Type> {
        match &e.kind {
            ast::ExprKind::Identifier(name) if !super::builtins::is_builtin(name) => self.find_type(name),
            ast::ExprKind::Typeof(of) => self.type_of(of),
            _ => None,
        }
    }

    /// Builds an expression for its type only: the records and start values that
    /// it would add are dropped.
    pub(super) fn without_effects<T>(&mut self, build: impl FnOnce(&mut Self) -> T) -> T {
        let (events, slots) = (self.program.events.len(), self.program.slots.len());
        let positional = self.program.positional.clone();
        self.unevaluated += 1;
        let out = build(self);
        self.unevaluated -= 1;
        self.program.positional = positional;
        self.program.events.truncate(events);
        self.program.slots.truncate(slots);
        out
    }

    fn find_type(&self, name: &str) -> Option<Type> {
        let name = name.trim();
        if let Some(ty) = types::named(name, self.env.limits.max_strlen) {
            return Some(ty);
        }
        let store = self.types();
        let id = store.integer(name).or_else(|| store.find_tagless(name))?;
        Some(types::from_ctype(store, id, self.default_space()))
    }

    fn named_type(&mut self, name: &str, span: Span) -> Option<Type> {
        match self.find_type(name).or_else(|| self.user_type(None, name.trim())) {
            Some(ty) => Some(ty),
            None => self.unknown_type(name, span),
        }
    }

    fn tagged(&mut self, name: &str, tag: TagKind, span: Span) -> Option<Type> {
        match self.types().find_tag(name, tag) {
            Some(id) => Some(types::from_ctype(self.types(), id, self.default_space())),
            None => {
                if let Some(ty) = self.user_type(Some(tag), name) {
                    return Some(ty);
                }
                let word = match tag {
                    TagKind::Struct => "struct",
                    TagKind::Union => "union",
                    TagKind::Enum => "enum",
                };
                self.unknown_type(&format!("{word} {name}"), span)
            }
        }
    }

    fn unknown_type<T>(&mut self, name: &str, span: Span) -> Option<T> {
        let bare = name.rsplit(' ').next().unwrap_or(name);
        let mut d = Diagnostic::error("E0244", format!("unknown type `{name}`")).at(span, "not defined");
        if let Some(close) = self.types().similar_type(bare) {
            d = d.help(format!("did you mean `{close}`?"));
        } else {
            d = d.help("types come from the script, its includes, the BTF of the kernel, and the debug information of a uprobe's binary");
        }
        let d = self.with_release(d);
        self.report(d);
        None
    }
}
