//! Types as written in casts, declarations and `sizeof`.
//!
//! In: what the grammar recognised. Out: `TypeExpr`. A lone word in a place
//! where an expression may stand, too, is left to sema.

use super::grammar::Rule;
use super::{Builder, Pair, parts};
use crate::span::Span;
use crate::syntax::ast::{Expr, ExprKind, TypeExpr, TypeKind, TypeOrExpr};

/// Types whose `[n]` is a length in bytes, not a number of elements.
const SIZED: [&str; 8] = ["string", "buffer", "inet", "str", "buf", "str_t", "buf_t", "inet_t"];

impl Builder<'_> {
    /// The type inside a `cast` or `typeof_cast`.
    pub(super) fn cast_type(&mut self, pair: Pair<'_>) -> TypeExpr {
        let span = self.span(&pair);
        match pair.as_rule() {
            Rule::cast => {
                let ty = pair.into_inner().find(|p| p.as_rule() == Rule::cast_type);
                ty.map_or_else(|| unknown(span), |p| self.type_expr(p))
            }
            _ => self.type_expr(pair),
        }
    }

    /// `type`, `cast_type`, `certain_type` or `typeof_cast`: a base and suffixes.
    pub(super) fn type_expr(&mut self, pair: Pair<'_>) -> TypeExpr {
        let mut span = self.span(&pair);
        let mut base = None;
        let mut words = Vec::new();
        let mut suffixes = Vec::new();
        for p in parts(pair) {
            match p.as_rule() {
                Rule::tag_type => base = Some(self.tag(p)),
                Rule::type_words => words.extend(p.into_inner()),
                Rule::identifier => words.push(p),
                Rule::typeof_type => base = p.into_inner().next().map(|p| self.typeof_type(p)),
                Rule::typeof_expr => {
                    span = self.span(&p);
                    base = Some(self.typeof_type(p));
                }
                Rule::tuple_type => base = Some(TypeKind::Tuple(parts(p).map(|p| self.type_expr(p)).collect())),
                _ => suffixes.push(p),
            }
        }
        let base = base.unwrap_or_else(|| TypeKind::Name(spelled(&words)));
        self.wrap(TypeExpr { kind: base, span }, suffixes)
    }

    fn tag(&mut self, pair: Pair<'_>) -> TypeKind {
        let mut inner = pair.into_inner();
        let keyword = inner.next().map(|p| p.as_rule());
        let name = inner.next().map_or(String::new(), |p| p.as_str().to_string());
        match keyword {
            Some(Rule::kw_union) => TypeKind::Union(name),
            Some(Rule::kw_enum) => TypeKind::Enum(name),
            _ => TypeKind::Struct(name),
        }
    }

    fn typeof_type(&mut self, pair: Pair<'_>) -> TypeKind {
        let span = self.span(&pair);
        let of = parts(pair).find(|p| p.as_rule() == Rule::type_or_expr);
        let of = of.map_or(TypeOrExpr::Type(unknown(span)), |p| self.type_or_expr(p));
        TypeKind::Typeof(Box::new(of))
    }

    /// Applies `*` and `[n]`. As in C, `T[2][3]` has two elements of type `T[3]`.
    fn wrap(&mut self, mut ty: TypeExpr, suffixes: Vec<Pair<'_>>) -> TypeExpr {
        let mut arrays: Vec<Option<Box<Expr>>> = Vec::new();
        for p in suffixes {
            if p.as_rule() == Rule::type_star {
                ty = array_of(ty, &mut arrays);
                let span = ty.span;
                ty = TypeExpr { kind: TypeKind::Pointer(Box::new(ty)), span };
                continue;
            }
            let len = parts(p).next().map(|p| Box::new(self.expr(p)));
            match (&ty.kind, len) {
                (TypeKind::Name(name), Some(size)) if arrays.is_empty() && SIZED.contains(&name.as_str()) => {
                    ty.kind = TypeKind::Sized { name: name.clone(), size };
                }
                (_, len) => arrays.push(len),
            }
        }
        array_of(ty, &mut arrays)
    }

    pub(super) fn type_or_expr(&mut self, pair: Pair<'_>) -> TypeOrExpr {
        let span = self.span(&pair);
        let Some(inner) = parts(pair).next() else { return TypeOrExpr::Type(unknown(span)) };
        if inner.as_rule() == Rule::certain_type {
            return match self.element_of_value(&inner) {
                Some(expr) => TypeOrExpr::Expr(Box::new(expr)),
                None => TypeOrExpr::Type(self.type_expr(inner)),
            };
        }
        let expr = self.expr(inner);
        match expr.kind {
            ExprKind::Typeof(of) => {
                TypeOrExpr::Type(TypeExpr { kind: TypeKind::Typeof(Box::new(of)), span: expr.span })
            }
            _ => TypeOrExpr::Expr(Box::new(expr)),
        }
    }

    /// `word[n]` where the word is a value: an element, not an array type.
    fn element_of_value(&mut self, pair: &Pair<'_>) -> Option<Expr> {
        let mut inner = parts(pair.clone());
        let words = inner.next().filter(|p| p.as_rule() == Rule::type_words)?;
        let span = self.span(&words);
        let mut words = words.into_inner();
        let name = words.next().filter(|p| self.values.contains(p.as_str()))?;
        if words.next().is_some() {
            return None;
        }
        let mut base = Expr { kind: ExprKind::Identifier(name.as_str().to_string()), span };
        for p in inner {
            let span = span.to(self.span(&p));
            let index = parts(p).next().filter(|p| p.as_rule() == Rule::array_length)?;
            let indices = vec![self.expr(index)];
            base = Expr { kind: ExprKind::Index { base: Box::new(base), indices }, span };
        }
        Some(base)
    }
}

fn unknown(span: Span) -> TypeExpr {
    TypeExpr { kind: TypeKind::Name(String::new()), span }
}

/// The words of a type with one blank between them, qualifiers left out.
fn spelled(words: &[Pair<'_>]) -> String {
    let words: Vec<&str> = words.iter().map(|p| p.as_str()).filter(|w| !matches!(*w, "const" | "volatile")).collect();
    words.join(" ")
}

fn array_of(mut ty: TypeExpr, lengths: &mut Vec<Option<Box<Expr>>>) -> TypeExpr {
    while let Some(len) = lengths.pop() {
        let span = ty.span;
        ty = TypeExpr { kind: TypeKind::Array { elem: Box::new(ty), len }, span };
    }
    ty
}
