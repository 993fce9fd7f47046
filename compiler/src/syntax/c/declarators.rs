//! Declarators: pointers, arrays and functions around a name, and what is
//! declared by them.
//!
//! In: tokens behind the specifiers. Out: the name and its type.
//! Invariants: long rows of `*` and `[n]` need no stack; every array has a size
//! that fits, or is flexible (0 elements).

use std::rc::Rc;

use super::attributes::Attributes;
use super::constant::{Parsed, fail};
use super::layout::MOST_BITS;
use super::parse::Parser;
use super::specifiers::Specifiers;
use super::token::{Keyword, Kind, Token, keyword};
use crate::ctypes::{CKind, CType, CTypeId, Origin, Signature};
use crate::diagnostic::Diagnostic;

/// Something around a name.
enum Around {
    Pointer,
    Array(u32),
    Function { params: Vec<(Option<Rc<str>>, CTypeId)>, variadic: bool },
}

/// Parameters, and whether `...` follows.
type Parameters = (Vec<(Option<Rc<str>>, CTypeId)>, bool);

/// A name with its type.
#[derive(Clone, Copy, Debug)]
pub(super) struct Declarator {
    /// The name, if there is one.
    pub(super) name: Option<Token>,
    pub(super) ty: CTypeId,
    /// Attributes of what is declared, those of the specifiers included.
    pub(super) attributes: Attributes,
}

impl Parser<'_, '_> {
    /// A declarator; it needs a name if `named`.
    pub(super) fn declarator(&mut self, specifiers: &Specifiers, named: bool) -> Parsed<Declarator> {
        let mut around = Vec::new();
        let mut attributes = specifiers.attributes;
        let name = self.deeper(|p| p.parts(&mut around, &mut attributes))?;
        let after = self.attributes()?;
        attributes = attributes.and(after);
        if named && name.is_none() {
            let token = self.look(0);
            let found = self.describe(&token);
            return fail(format!("expected a name, found {found}"), &token, "expected a name");
        }
        let mut ty = specifiers.base;
        if let Some(size) = attributes.mode.take() {
            ty = self.with_mode(ty, size);
        }
        if let Some(bytes) = attributes.vector.take() {
            let size = self.store.size_of(ty).unwrap_or(0).max(1);
            ty = self.store.array_of(ty, bytes / size.min(u64::from(bytes)).max(1) as u32);
            attributes.align = attributes.align.or(Some(bytes.next_power_of_two()));
        }
        for part in around.into_iter().rev() {
            ty = self.around(part, ty)?;
        }
        Ok(Declarator { name, ty, attributes })
    }

    /// A type in parentheses or brackets: specifiers and what is around nothing.
    pub(super) fn type_name(&mut self) -> Parsed<CTypeId> {
        let specifiers = self.specifiers(true)?;
        Ok(self.declarator(&specifiers, false)?.ty)
    }

    /// `typeof(type)` or `typeof(expression)`.
    pub(super) fn typeof_(&mut self) -> Parsed<CTypeId> {
        let open = self.expect("(", "after `typeof`")?;
        let ty = if self.starts_type() {
            self.type_name()?
        } else {
            let operand = self.expression()?;
            match self.type_of(&operand) {
                Some(ty) => ty,
                None => return fail("the type of this expression is not known", &open, "in this `typeof`"),
            }
        };
        self.expect(")", "after `typeof(...`")?;
        Ok(ty)
    }

    /// Collects what is around the name, nearest first.
    fn parts(&mut self, around: &mut Vec<Around>, attributes: &mut Attributes) -> Parsed<Option<Token>> {
        let mut pointers = 0_usize;
        loop {
            let token = self.look(0);
            if self.take("*") {
                pointers += 1;
            } else if keyword(&token) == Some(Keyword::Qualifier) {
                self.next();
            } else if !self.attribute(attributes)? {
                break;
            }
        }
        let name = self.direct(around, attributes)?;
        while self.suffix(around)? {}
        if pointers > super::parse::DEEPEST {
            let token = self.look(0);
            return fail("too many levels of pointers", &token, "more than 60");
        }
        around.extend((0..pointers).map(|_| Around::Pointer));
        Ok(name)
    }

    /// The name, or a declarator in parentheses.
    fn direct(&mut self, around: &mut Vec<Around>, attributes: &mut Attributes) -> Parsed<Option<Token>> {
        let token = self.look(0);
        if token.kind == Kind::Ident && keyword(&token).is_none() {
            return Ok(Some(self.next()));
        }
        if !token.is("(") {
            return Ok(None);
        }
        let inside = self.look(1);
        let list = inside.is(")") || inside.is("...");
        let nested = !list && {
            let annotated = matches!(keyword(&inside), Some(Keyword::Attribute | Keyword::Annotation));
            annotated || inside.is("*") || inside.is("(") || inside.is("[") || self.is_plain_name(&inside)
        };
        if !nested {
            return Ok(None); // a list of parameters: a suffix
        }
        self.next();
        let name = self.deeper(|p| p.parts(around, attributes))?;
        self.expect(")", "after a declarator in parentheses")?;
        Ok(name)
    }

    fn is_plain_name(&self, token: &Token) -> bool {
        let name = token.kind == Kind::Ident && keyword(token).is_none();
        name && self.typedef(token).is_none()
    }

    fn suffix(&mut self, around: &mut Vec<Around>) -> Parsed<bool> {
        if self.at("[") && !self.look(1).is("[") {
            self.next();
            let len = self.array_length()?;
            around.push(Around::Array(len));
            return Ok(true);
        }
        if self.take("(") {
            let (params, variadic) = self.deeper(Self::parameters)?;
            around.push(Around::Function { params, variadic });
            return Ok(true);
        }
        Ok(false)
    }

    /// Behind `[`, with the `]`.
    fn array_length(&mut self) -> Parsed<u32> {
        loop {
            let token = self.look(0);
            match keyword(&token) {
                Some(Keyword::Qualifier | Keyword::Storage) => self.next(),
                _ => break,
            };
        }
        if self.take("]") {
            return Ok(0);
        }
        if self.at("*") && self.look(1).is("]") {
            self.next();
            self.next();
            return Ok(0);
        }
        let start = self.look(0);
        let value = if self.parameter_depth > 0 {
            // `char name[len]` of a parameter: a pointer, whatever `len` is.
            self.expression()?.number().map_or(0, |v| v.value)
        } else {
            self.constant("the length of an array")?.value
        };
        let span = start.span.to(self.last);
        self.expect("]", "after the length of an array")?;
        u32::try_from(value).map_err(|_| {
            let message = if value < 0 { "an array has a negative length" } else { "an array is too long" };
            Box::new(Diagnostic::error("E0530", message).at(span, format!("this is {value}")))
        })
    }

    /// Behind `(`, with the `)`.
    fn parameters(&mut self) -> Parsed<Parameters> {
        self.parameter_depth += 1;
        let result = self.parameter_list();
        self.parameter_depth -= 1;
        result
    }

    fn parameter_list(&mut self) -> Parsed<Parameters> {
        let mut params = Vec::new();
        if self.take(")") {
            return Ok((params, false));
        }
        let first = self.look(0);
        if keyword(&first) == Some(Keyword::Void) && self.look(1).is(")") {
            self.next();
            self.next();
            return Ok((params, false));
        }
        loop {
            if self.take("...") {
                self.expect(")", "after `...`")?;
                return Ok((params, true));
            }
            let specifiers = self.specifiers(true)?;
            let declarator = self.declarator(&specifiers, false)?;
            let ty = match &self.store.resolved(declarator.ty).kind {
                CKind::Array { elem, .. } => self.store.pointer_to(*elem),
                CKind::Function(_) => self.store.pointer_to(declarator.ty),
                _ => declarator.ty,
            };
            params.push((declarator.name.map(|n| self.name_of(&n)), ty));
            // Annotations of parameters that nothing defines.
            while self.look(0).kind == Kind::Ident {
                self.next();
            }
            if self.take(",") {
                continue;
            }
            self.expect(")", "after parameters")?;
            return Ok((params, false));
        }
    }

    fn around(&mut self, part: Around, ty: CTypeId) -> Parsed<CTypeId> {
        match part {
            Around::Pointer => Ok(self.store.pointer_to(ty)),
            Around::Function { params, variadic } => {
                let signature = Signature { ret: ty, params, variadic };
                Ok(self.store.add(CType { kind: CKind::Function(signature), origin: Origin::Script }))
            }
            Around::Array(len) => {
                let size = self.store.size_of(ty).unwrap_or(0);
                if size.saturating_mul(u64::from(len)) > MOST_BITS / 8 {
                    let problem = Diagnostic::error("E0528", "a type may not be larger than 256 MiB");
                    return Err(Box::new(problem.at(self.last, "this array is too large")));
                }
                Ok(self.store.array_of(ty, len))
            }
        }
    }

    /// Notes a name that was declared at the top level.
    pub(super) fn declare(&mut self, specifiers: &Specifiers, declarator: &Declarator) -> Parsed<()> {
        let Some(token) = declarator.name else { return Ok(()) };
        if !specifiers.typedef {
            self.knowledge.objects.insert(token.text, declarator.ty);
            return Ok(());
        }
        let name = self.name_of(&token);
        let id = match self.store.define_typedef(&name, declarator.ty) {
            Err(before) if self.same_type(before.previous, declarator.ty, 0) => return Ok(()),
            result => self.stored("the typedef", token.span, result)?,
        };
        self.knowledge.defined_at.entry(name).or_insert(token.span);
        if let Some(align) = declarator.attributes.align {
            self.knowledge.aligns.insert(id, align);
        }
        Ok(())
    }

    /// Whether two types are the same to C; typedefs do not count.
    fn same_type(&self, a: CTypeId, b: CTypeId, depth: usize) -> bool {
        let (a, b) = (self.store.resolve(a), self.store.resolve(b));
        if a == b {
            return true;
        }
        if depth > 8 {
            return false;
        }
        let same = |a: CTypeId, b: CTypeId| self.same_type(a, b, depth + 1);
        match (&self.store.get(a).kind, &self.store.get(b).kind) {
            (CKind::Pointer(a), CKind::Pointer(b)) => same(*a, *b),
            (CKind::Array { elem: a, len: m }, CKind::Array { elem: b, len: n }) => m == n && same(*a, *b),
            (CKind::Function(a), CKind::Function(b)) => {
                let params =
                    a.params.len() == b.params.len() && a.params.iter().zip(&b.params).all(|(a, b)| same(a.1, b.1));
                a.variadic == b.variadic && params && same(a.ret, b.ret)
            }
            (CKind::Composite(a), CKind::Composite(b)) => a.name.is_none() && a == b,
            (CKind::Enum(a), CKind::Enum(b)) => a == b,
            _ => false,
        }
    }
}
