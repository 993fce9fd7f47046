//! Declaration specifiers: everything in front of the names.
//!
//! In: tokens. Out: the base type; structs, unions and enums with a body are
//! laid out and defined on the way.
//! Invariants: a tag that only occurs behind `struct` is declared, and resolves
//! to the kernel's type as long as the script defines none.

use std::collections::HashSet;
use std::rc::Rc;

use super::attributes::Attributes;
use super::constant::{Parsed, Value, fail};
use super::layout::{Field, Layout};
use super::parse::Parser;
use super::token::{Keyword, Kind, Token, keyword};
use crate::ctypes::{CEnum, CKind, CType, CTypeId, Composite, Member, Origin};
use crate::diagnostic::Diagnostic;
use crate::span::Span;

/// Specifiers, read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Specifiers {
    /// The type.
    pub(super) base: CTypeId,
    /// Attributes of what is declared (not of the type).
    pub(super) attributes: Attributes,
    /// `typedef`.
    pub(super) typedef: bool,
    /// A struct, union or enum stands here.
    pub(super) tagged: bool,
    /// One without a tag.
    pub(super) anonymous: bool,
    pub(super) span: Span,
}

/// Specifiers, while they are read.
#[derive(Default)]
struct Found {
    base: Option<CTypeId>,
    words: Vec<&'static str>,
    float: Option<(&'static str, u32)>,
    complex: bool,
    attributes: Attributes,
    typedef: bool,
    tagged: bool,
    anonymous: bool,
}

impl Found {
    fn has_type(&self) -> bool {
        self.base.is_some() || !self.words.is_empty() || self.float.is_some()
    }
}

/// A member, before layout.
struct Declared {
    name: Option<Rc<str>>,
    ty: CTypeId,
    field: Field,
    span: Span,
}

impl Parser<'_, '_> {
    /// Whether a type starts here.
    pub(super) fn starts_type(&mut self) -> bool {
        let token = self.look(0);
        self.is_type(&token)
    }

    fn is_type(&self, token: &Token) -> bool {
        use Keyword::*;
        match keyword(token) {
            Some(Storage | Qualifier | Struct | Union | Enum | Arithmetic(_) | Void | Float(..)) => true,
            Some(Complex | Typeof | Attribute | Alignas | Annotation) => true,
            Some(_) => false,
            None => token.kind == Kind::Ident && self.typedef(token).is_some(),
        }
    }

    /// The type a name stands for, if it stands for one.
    pub(super) fn typedef(&self, token: &Token) -> Option<CTypeId> {
        let name = self.name_of(token);
        match &*name {
            // A typedef of some headers, not yet a keyword for most.
            "bool" => self.store.find_typedef(&name).or_else(|| self.store.integer("bool")),
            // An array of one struct of 24 bytes.
            "__builtin_va_list" => Some(self.store.array_of(self.store.int(8, false), 3)),
            "__int128_t" => Some(self.store.int(16, true)),
            "__uint128_t" => Some(self.store.int(16, false)),
            _ => self.store.find_typedef(&name),
        }
    }

    /// Reads specifiers; there must be a type among them.
    pub(super) fn specifiers(&mut self, parameter: bool) -> Parsed<Specifiers> {
        let start = self.look(0);
        let mut found = Found::default();
        loop {
            if self.attribute(&mut found.attributes)? {
                continue;
            }
            let token = self.look(0);
            let more = match keyword(&token) {
                Some(word) => self.word(word, &mut found)?,
                None if token.kind == Kind::Ident && !found.has_type() => self.named_type(token, parameter, &mut found),
                None => false,
            };
            if !more {
                break;
            }
        }
        let span = start.span.to(self.last);
        let base = self.base(&found, span)?;
        let Found { mut attributes, typedef, tagged, anonymous, .. } = found;
        let base = match attributes.mode.take() {
            Some(size) => self.with_mode(base, size),
            None => base,
        };
        Ok(Specifiers { base, attributes, typedef, tagged, anonymous, span })
    }

    /// `__attribute__((mode(...)))`: the integer of that size.
    pub(super) fn with_mode(&self, base: CTypeId, size: u32) -> CTypeId {
        match &self.store.resolved(base).kind {
            CKind::Int(int) if int.size != size => self.store.int(size, int.signed),
            _ => base,
        }
    }

    fn word(&mut self, word: Keyword, found: &mut Found) -> Parsed<bool> {
        match word {
            Keyword::Typedef => found.typedef = true,
            Keyword::Storage | Keyword::Qualifier => {}
            Keyword::Complex => found.complex = true,
            Keyword::Arithmetic(text) if found.base.is_none() && found.words.len() < 8 => found.words.push(text),
            Keyword::Float(..) | Keyword::Void | Keyword::Typeof if found.base.is_some() || found.float.is_some() => {
                return Ok(false);
            }
            Keyword::Float(name, size) => found.float = Some((name, size)),
            Keyword::Void => found.base = Some(CTypeId::VOID),
            Keyword::Typeof => {
                self.next();
                found.base = Some(self.typeof_()?);
                return Ok(true);
            }
            Keyword::Struct | Keyword::Union | Keyword::Enum if !found.has_type() => {
                let at = self.next();
                let (ty, anonymous) = match word {
                    Keyword::Enum => self.deeper(Self::enumeration)?,
                    _ => self.deeper(|p| p.composite(at.span, word == Keyword::Union, &mut found.attributes))?,
                };
                found.base = Some(ty);
                found.tagged = true;
                found.anonymous = anonymous;
                return Ok(true);
            }
            _ => return Ok(false),
        }
        self.next();
        Ok(true)
    }

    /// A word that should be a typedef. One that nothing defines may stand for
    /// a type behind a pointer, or for a macro that means nothing to us.
    fn named_type(&mut self, token: Token, parameter: bool, found: &mut Found) -> bool {
        if let Some(ty) = self.typedef(&token) {
            self.next();
            found.base = Some(ty);
            return true;
        }
        let after = self.look(1);
        if self.is_type(&after) || keyword(&after) == Some(Keyword::Typedef) {
            self.next();
            return true;
        }
        let names_type = after.kind == Kind::Ident && keyword(&after).is_none_or(|k| k == Keyword::Qualifier)
            || after.is("*")
            || parameter && (after.is(",") || after.is(")"));
        if names_type {
            self.next();
            found.base = Some(self.unknown_type(&token));
        }
        names_type
    }

    /// A type known by name only.
    fn unknown_type(&mut self, token: &Token) -> CTypeId {
        let name = self.name_of(token);
        if let Some(&known) = self.knowledge.unknown.get(&name) {
            return known;
        }
        let kind = CKind::Forward { name: name.clone(), union: false };
        let id = self.store.add(CType { kind, origin: Origin::Script });
        self.knowledge.unknown.insert(name, id);
        id
    }

    fn base(&mut self, found: &Found, span: Span) -> Parsed<CTypeId> {
        if let Some(base) = found.base.filter(|_| found.words.is_empty()) {
            return Ok(base);
        }
        let long_double = found.float.is_some_and(|(name, _)| name == "double") && found.words == ["long"];
        let (name, mut size) = match found.float {
            Some(_) if long_double => ("long double", self.target.long_double),
            Some(float) if found.words.is_empty() => float,
            None if found.complex && found.words.is_empty() => ("double", 8),
            None if found.base.is_none() && !found.words.is_empty() => {
                let spelling = found.words.join(" ");
                if let Some(int) = self.store.integer(&spelling) {
                    return Ok(int);
                }
                let message = format!("`{spelling}` is no type");
                return Err(Box::new(Diagnostic::error("E0525", message).at(span, "these words do not go together")));
            }
            _ if !found.has_type() => {
                let token = self.look(0);
                let text = self.describe(&token);
                let similar = self.store.similar_type(text.trim_matches('`'));
                let mut problem = Diagnostic::error("E0525", format!("expected a type, found {text}"));
                if let Some(similar) = similar {
                    problem = problem.help(format!("a type with a similar name exists: `{similar}`"));
                }
                return Err(Box::new(problem.at(token.span, "no type")));
            }
            _ => {
                let problem = Diagnostic::error("E0525", "two types where one belongs");
                return Err(Box::new(problem.at(span, "these do not go together")));
            }
        };
        let align = size;
        let name: Rc<str> = if found.complex { format!("_Complex {name}").into() } else { name.into() };
        if found.complex {
            size *= 2;
        }
        if let Some(&known) = self.knowledge.floats.get(&name) {
            return Ok(known);
        }
        let kind = CKind::Float { name: name.clone(), size };
        let id = self.store.add(CType { kind, origin: Origin::Script });
        self.knowledge.floats.insert(name, id);
        self.knowledge.aligns.insert(id, align);
        Ok(id)
    }

    fn tag(&mut self) -> Option<Token> {
        let token = self.look(0);
        let named = token.kind == Kind::Ident && keyword(&token).is_none();
        named.then(|| self.next())
    }

    /// Behind `struct` or `union`. Attributes without a body belong to what is
    /// declared, and go to `outer`.
    fn composite(&mut self, start: Span, union: bool, outer: &mut Attributes) -> Parsed<(CTypeId, bool)> {
        let mut attributes = self.attributes()?;
        let tag = self.tag();
        attributes = attributes.and(self.attributes()?);
        let word = if union { "union" } else { "struct" };
        let declared = match &tag {
            None => None,
            Some(tag) => {
                let name = self.name_of(tag);
                let result = self.store.declare_composite(&name, union);
                Some(self.stored(word, tag.span, result)?)
            }
        };
        if !self.take("{") {
            if let Some(id) = declared {
                *outer = outer.and(attributes);
                return Ok((id, false));
            }
            let token = self.look(0);
            let found = self.describe(&token);
            return fail(format!("expected a name or `{{` after `{word}`, found {found}"), &token, "expected a name");
        }
        let at = tag.as_ref().map_or(start, |t| t.span);
        let name = tag.map(|t| self.name_of(&t));
        // Within its body the name means the type itself, not one of the kernel.
        if let Some(id) = declared {
            self.store.open_definition(id);
        }
        let body = self.composite_body(name.clone(), union, attributes, at);
        if let Some(id) = declared {
            self.store.close_definition(id);
        }
        let composite = body?;
        let Some(name) = name else {
            let id = self.stored(word, at, self.store.define_composite(composite.0))?;
            self.knowledge.aligns.insert(id, composite.1);
            self.store.set_align(id, composite.1);
            return Ok((id, true));
        };
        if let Some(id) = declared.filter(|&id| self.same_shape(id, &composite.0)) {
            return Ok((id, false));
        }
        let id = self.stored(word, at, self.store.define_composite(composite.0))?;
        self.knowledge.aligns.insert(id, composite.1);
        self.store.set_align(id, composite.1);
        self.knowledge.defined_at.entry(name).or_insert(at);
        Ok((id, false))
    }

    /// Members, the attributes behind them, and the layout.
    fn composite_body(
        &mut self,
        name: Option<Rc<str>>,
        union: bool,
        attributes: Attributes,
        at: Span,
    ) -> Parsed<(Composite, u32)> {
        let members = self.members()?;
        let attributes = attributes.and(self.attributes()?);
        self.lay_out(name, union, members, &attributes, at)
    }

    /// Whether a definition only repeats the one that is known.
    fn same_shape(&self, id: CTypeId, new: &Composite) -> bool {
        let known = self.store.get(id);
        let CKind::Composite(old) = &known.kind else { return false };
        let shape = |m: &Member| (m.name.clone(), m.bit_offset, m.bit_width, self.store.size_of(m.ty));
        old.size == new.size && old.members.iter().map(shape).eq(new.members.iter().map(shape))
    }

    fn members(&mut self) -> Parsed<Vec<Declared>> {
        let mut out = Vec::new();
        loop {
            if self.take("}") {
                return Ok(out);
            }
            let token = self.look(0);
            if token.is_end() {
                let message = "the body of a struct, union or enum never ends";
                return fail(message, &Token::end(self.last), "expected `}` behind this");
            }
            if keyword(&token) == Some(Keyword::StaticAssert) {
                self.static_assert()?;
            } else if !self.take(";") {
                self.member(&mut out)?;
            }
        }
    }

    /// One declaration of members, with its `;`.
    fn member(&mut self, out: &mut Vec<Declared>) -> Parsed<()> {
        let specifiers = self.specifiers(false)?;
        if self.take(";") {
            // A tag alone declares a type and no member.
            if specifiers.tagged && specifiers.anonymous {
                let member = self.declared(None, specifiers.base, specifiers.attributes, None, specifiers.span)?;
                out.push(member);
            }
            return Ok(());
        }
        loop {
            let start = self.look(0);
            let (mut name, mut ty, mut attributes) = (None, specifiers.base, specifiers.attributes);
            if !start.is(":") {
                let declarator = self.declarator(&specifiers, false)?;
                name = declarator.name.map(|n| self.name_of(&n));
                (ty, attributes) = (declarator.ty, declarator.attributes);
            }
            let mut width = None;
            if self.take(":") {
                width = Some(self.constant("the width of a bit-field")?);
                attributes = attributes.and(self.attributes()?);
            }
            let span = start.span.to(self.last);
            let member = self.declared(name, ty, attributes, width, span)?;
            out.push(member);
            if !self.take(",") {
                break;
            }
        }
        let what = "after a member";
        if self.at("}") {
            return Ok(()); // GNU C lets the last `;` be missing
        }
        self.expect(";", what)?;
        Ok(())
    }

    fn declared(
        &mut self,
        name: Option<Rc<str>>,
        ty: CTypeId,
        attributes: Attributes,
        width: Option<Value>,
        span: Span,
    ) -> Parsed<Declared> {
        let Some(size) = self.store.size_of(ty) else {
            return Err(Box::new(self.incomplete(name.as_deref(), ty, span)));
        };
        let size = size.saturating_mul(8);
        let width = match width {
            None => None,
            Some(width) => Some(self.width(name.is_some(), ty, size, width, span)?),
        };
        let field = Field {
            size,
            align: u64::from(self.align_of(ty)) * 8,
            width,
            named: name.is_some(),
            wanted: attributes.align.map(|a| u64::from(a) * 8),
            packed: attributes.packed,
        };
        Ok(Declared { name, ty, field, span })
    }

    fn incomplete(&self, name: Option<&str>, ty: CTypeId, span: Span) -> Diagnostic {
        let kind = &self.store.resolved(ty).kind;
        let member = name.map_or_else(|| "the member".to_string(), |n| format!("the member `{n}`"));
        let (message, type_name) = match kind {
            CKind::Function(_) => (format!("{member} is a function"), None),
            CKind::Void => (format!("{member} has the type `void`"), None),
            CKind::Forward { name, .. } => {
                (format!("{member} has the type `{name}`, whose size is not known"), Some(name.clone()))
            }
            _ => (format!("{member} has a type without a size"), None),
        };
        let problem = Diagnostic::error("E0526", message).at(span, "this needs a complete type");
        let similar = type_name.and_then(|name| self.store.similar_type(&name));
        match similar {
            Some(similar) => problem.help(format!("a type with a similar name exists: `{similar}`")),
            None => problem.help("define the type before, or use a pointer to it"),
        }
    }

    fn width(&self, named: bool, ty: CTypeId, size: u64, width: Value, span: Span) -> Parsed<u64> {
        let integer = matches!(self.store.resolved(ty).kind, CKind::Int(_) | CKind::Enum(_));
        let most = if integer { size.min(64) } else { 0 };
        match u64::try_from(width.value) {
            Ok(w) if w <= most && !(named && w == 0) && integer => Ok(w),
            _ => {
                let message = "the width of a bit-field does not fit its type";
                let label = format!("{} of {most} bits", width.value);
                Err(Box::new(Diagnostic::error("E0527", message).at(span, label)))
            }
        }
    }

    /// Places all members; also gives the alignment in bytes.
    fn lay_out(
        &mut self,
        name: Option<Rc<str>>,
        union: bool,
        declared: Vec<Declared>,
        attributes: &Attributes,
        at: Span,
    ) -> Parsed<(Composite, u32)> {
        let mut layout = Layout::new(union, self.pack_limit(), self.target);
        let too_large = |span: Span| {
            let problem = Diagnostic::error("E0528", "a type may not be larger than 256 MiB");
            Box::new(problem.at(span, "here it becomes too large"))
        };
        let mut members = Vec::with_capacity(declared.len());
        let mut names = HashSet::new();
        for mut member in declared {
            member.field.packed |= attributes.packed;
            let start = layout.place(&member.field).ok_or_else(|| too_large(member.span))?;
            if let Some(name) = member.name.as_ref().filter(|n| !names.insert(Rc::clone(n))) {
                let problem = Diagnostic::error("E0529", format!("two members are called `{name}`"));
                return Err(Box::new(problem.at(member.span, "the second of them")));
            }
            if member.name.is_none() && member.field.width.is_some() {
                continue; // only padding
            }
            members.push(Member {
                name: member.name,
                ty: member.ty,
                bit_offset: start as u32,
                bit_width: member.field.width.map(|w| w as u8),
            });
        }
        let wanted = attributes.align.map(|a| u64::from(a) * 8);
        let (size, align) = layout.finish(wanted).ok_or_else(|| too_large(at))?;
        Ok((Composite { name, union, size: (size / 8) as u32, members }, (align / 8) as u32))
    }

    /// Behind `enum`.
    fn enumeration(&mut self) -> Parsed<(CTypeId, bool)> {
        let start = self.last;
        let mut attributes = self.attributes()?;
        let tag = self.tag();
        attributes = attributes.and(self.attributes()?);
        let mut fixed = None;
        // Otherwise an unnamed bit-field of the enum.
        let after = self.look(1);
        if self.at(":") && self.is_type(&after) {
            self.next();
            let ty = self.type_name()?;
            fixed = match &self.store.resolved(ty).kind {
                CKind::Int(int) => Some((int.size, int.signed)),
                _ => None,
            };
        }
        let name = tag.map(|t| self.name_of(&t));
        if !self.take("{") {
            return match name {
                // Not defined yet: GNU C takes it for an int.
                Some(name) => Ok((self.store.find_enum(&name).unwrap_or_else(|| self.store.int(4, false)), false)),
                None => {
                    let token = self.look(0);
                    fail("expected a name or `{` after `enum`", &token, "expected a name")
                }
            };
        }
        let values = self.enumerators()?;
        attributes = attributes.and(self.attributes()?);
        let (size, signed) = fixed.unwrap_or_else(|| enum_size(&values, attributes.packed));
        let at = tag.map_or(start, |t| t.span);
        let anonymous = name.is_none();
        let values = values.into_iter().map(|(name, value)| (name, value as i64)).collect();
        let definition = CEnum { name: name.clone(), size, signed, values };
        let id = self.stored("enum", at, self.store.define_enum(definition))?;
        if let Some(name) = name {
            self.knowledge.defined_at.entry(name).or_insert(at);
        }
        if let Some(align) = attributes.align {
            self.knowledge.aligns.insert(id, align.max(size));
        }
        Ok((id, anonymous))
    }

    fn enumerators(&mut self) -> Parsed<Vec<(Rc<str>, i128)>> {
        let mut values: Vec<(Rc<str>, i128)> = Vec::new();
        let mut next = 0;
        while !self.take("}") {
            let token = self.next();
            if token.kind != Kind::Ident || keyword(&token).is_some() {
                let found = self.describe(&token);
                return fail(format!("expected the name of a value, found {found}"), &token, "no name");
            }
            self.attributes()?;
            if self.take("=") {
                next = self.constant("the value of an enumerator")?.value;
            }
            let name = self.name_of(&token);
            self.knowledge.enumerators.insert(name.clone(), next);
            values.push((name, next));
            next += 1;
            if !self.take(",") {
                self.expect("}", "after the values of an enum")?;
                break;
            }
        }
        Ok(values)
    }
}

/// The type GCC chooses: int if it can, unsigned unless a value is negative.
fn enum_size(values: &[(Rc<str>, i128)], packed: bool) -> (u32, bool) {
    let low = values.iter().map(|v| v.1).min().unwrap_or(0);
    let high = values.iter().map(|v| v.1).max().unwrap_or(0);
    let signed = low < 0;
    let sizes: &[u32] = if packed { &[1, 2, 4, 8] } else { &[4, 8] };
    let fits = |size: &&u32| {
        let bits = *size * 8 - u32::from(signed);
        high < 1_i128 << bits && low >= -(1_i128 << bits)
    };
    (sizes.iter().find(fits).copied().unwrap_or(8), signed)
}
