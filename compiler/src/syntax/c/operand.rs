//! Operands of constant expressions in declarations: `sizeof`, casts, `offsetof`
//! in both spellings, enumerators, members.
//!
//! In: tokens. Out: `Operand`s; what has no constant value is `Unknown`, and
//! only an error where a constant is needed.

use super::constant::{self, DEEPEST, Operand, Parsed, Value, fail};
use super::parse::Parser;
use super::token::{Keyword, Kind, Token, keyword};
use crate::ctypes::{CKind, CTypeId};
use crate::diagnostic::Diagnostic;

impl Parser<'_, '_> {
    /// A unary expression other than one with a sign.
    pub(super) fn c_operand(&mut self, depth: usize) -> Parsed<Operand> {
        let token = self.look(0);
        if depth > DEEPEST {
            return fail("the expression is nested too deeply", &token, "more than 60 levels");
        }
        if self.take("&") {
            let place = constant::unary(self, depth + 1)?;
            return Ok(match place {
                Operand::Place { ty, address } => Operand::Pointer { to: ty, address },
                other => Operand::unknown(other.number().err().unwrap_or_else(|| "a number has no address".into())),
            });
        }
        if self.take("*") {
            let pointer = constant::unary(self, depth + 1)?;
            return Ok(self.dereference(pointer));
        }
        if token.is("(") {
            self.next();
            let inner = self.parenthesised(depth)?;
            return match inner {
                (operand, true) => Ok(operand),
                (operand, false) => self.postfix(operand, depth),
            };
        }
        let operand = match keyword(&token) {
            Some(Keyword::Sizeof) => return self.sizeof(depth),
            Some(Keyword::Alignof) => return self.alignof(depth),
            Some(Keyword::Offsetof) => return self.offsetof(depth),
            Some(Keyword::Storage) => {
                self.next(); // `__extension__`
                return constant::unary(self, depth + 1);
            }
            _ => self.primary(token)?,
        };
        self.postfix(operand, depth)
    }

    /// A type inside an expression: both kinds of nesting count together.
    fn type_inside(&mut self, depth: usize) -> Parsed<CTypeId> {
        let saved = self.depth;
        self.depth = saved.max(depth);
        let result = self.deeper(Self::type_name);
        self.depth = saved;
        result
    }

    /// Behind `(`: a cast with what it applies to (true), or an expression.
    fn parenthesised(&mut self, depth: usize) -> Parsed<(Operand, bool)> {
        if self.take("{") {
            self.skip_brackets();
            self.expect(")", "after a statement expression")?;
            return Ok((Operand::unknown("a block is no constant"), false));
        }
        if !self.starts_type() {
            let operand = constant::expression(self, depth + 1)?;
            self.expect(")", "in an expression")?;
            return Ok((operand, false));
        }
        let ty = self.type_inside(depth)?;
        self.expect(")", "after the type of a cast")?;
        if self.take("{") {
            self.skip_brackets();
            return Ok((Operand::Place { ty, address: None }, false));
        }
        let operand = constant::unary(self, depth + 1)?;
        Ok((self.cast(ty, operand), true))
    }

    fn cast(&self, ty: CTypeId, operand: Operand) -> Operand {
        let number = operand.number();
        match (&self.store.resolved(ty).kind, number) {
            (CKind::Pointer(to), number) => Operand::Pointer { to: *to, address: number.ok().map(|v| v.value) },
            (_, Err(why)) => Operand::Unknown(why),
            (CKind::Int(int), Ok(v)) if int.is_bool => Operand::Int(Value::int(i128::from(v.value != 0))),
            (CKind::Int(int), Ok(v)) if int.size <= 8 => {
                let narrow = Value::wrapped(v.value, int.size * 8, int.signed);
                let promoted = int.size < 4;
                Operand::Int(Value { width: narrow.width.max(32), signed: int.signed || promoted, ..narrow })
            }
            (CKind::Enum(_), Ok(v)) => Operand::Int(v),
            _ => Operand::unknown("a cast to this type gives no constant"),
        }
    }

    fn primary(&mut self, token: Token) -> Parsed<Operand> {
        let text = self.name_of(&token);
        if token.kind == Kind::Str {
            let mut len = 1;
            while self.look(0).kind == Kind::Str {
                let part = self.next();
                len += string_length(&self.name_of(&part));
            }
            let ty = self.store.integer("char").map(|c| self.store.array_of(c, len));
            return Ok(ty.map_or(Operand::unknown("a string"), |ty| Operand::Place { ty, address: None }));
        }
        if let Some(operand) = constant::literal(&token, &text, 32) {
            self.next();
            return Ok(operand);
        }
        if token.kind != Kind::Ident {
            let found = self.describe(&token);
            return fail(format!("expected an expression, found {found}"), &token, "no expression");
        }
        self.next();
        if self.at("(") {
            self.next();
            self.skip_brackets();
            return Ok(Operand::unknown(format!("the call of `{text}` is no constant")));
        }
        if let Some(&value) = self.knowledge.enumerators.get(&text) {
            return Ok(Operand::Int(Value::int(value)));
        }
        if let Some(&ty) = self.knowledge.objects.get(&token.text) {
            return Ok(Operand::Place { ty, address: None });
        }
        if let Some((_, value)) = self.store.find_enumerator(&text) {
            return Ok(Operand::Int(Value::int(i128::from(value))));
        }
        Ok(Operand::unknown(format!("nothing defines `{text}`")))
    }

    fn postfix(&mut self, operand: Operand, depth: usize) -> Parsed<Operand> {
        let mut operand = operand;
        loop {
            if self.at(".") || self.at("->") {
                let arrow = self.next().is("->");
                let name = self.next();
                if arrow {
                    operand = self.dereference(operand);
                }
                operand = self.field_of(operand, &name);
            } else if self.take("[") {
                let index = constant::expression(self, depth + 1)?;
                self.expect("]", "after an index")?;
                operand = self.element(operand, &index);
            } else if self.take("(") {
                self.skip_brackets();
                operand = Operand::unknown("a call is no constant");
            } else {
                return Ok(operand);
            }
        }
    }

    fn dereference(&self, operand: Operand) -> Operand {
        match operand {
            Operand::Pointer { to, address } => Operand::Place { ty: to, address },
            Operand::Place { ty, address } => match &self.store.resolved(ty).kind {
                CKind::Pointer(to) => Operand::Place { ty: *to, address: None },
                CKind::Array { elem, .. } => Operand::Place { ty: *elem, address },
                _ => Operand::unknown("this is no pointer"),
            },
            Operand::Int(_) => Operand::unknown("a number is no pointer"),
            unknown => unknown,
        }
    }

    fn field_of(&self, operand: Operand, name: &Token) -> Operand {
        let Operand::Place { ty, address } = operand else { return Operand::unknown("this has no members") };
        let name = self.name_of(name);
        match self.store.field(ty, &name) {
            Some(field) => {
                let offset = i128::from(field.bit_offset / 8);
                Operand::Place { ty: field.ty, address: address.map(|a| a + offset) }
            }
            None => Operand::unknown(format!("there is no member `{name}`")),
        }
    }

    fn element(&self, operand: Operand, index: &Operand) -> Operand {
        let first = self.dereference(operand);
        let Operand::Place { ty, address } = first else { return first };
        let size = self.store.size_of(ty).unwrap_or(0);
        let address = match (address, index.number()) {
            (Some(a), Ok(i)) => a.checked_add(i.value * i128::from(size)),
            _ => None,
        };
        Operand::Place { ty, address }
    }

    /// The type of an operand.
    pub(super) fn type_of(&self, operand: &Operand) -> Option<CTypeId> {
        match operand {
            Operand::Int(v) => Some(self.store.int(v.width / 8, v.signed)),
            Operand::Place { ty, .. } => Some(*ty),
            Operand::Pointer { to, .. } => Some(self.store.pointer_to(*to)),
            Operand::Unknown(_) => None,
        }
    }

    fn size(&self, ty: CTypeId) -> Operand {
        match self.store.size_of(ty) {
            Some(size) => Operand::Int(Value::size(size)),
            None => match &self.store.resolved(ty).kind {
                CKind::Void | CKind::Function(_) => Operand::Int(Value::size(1)), // GNU C
                _ => Operand::unknown("the size of this type is not known"),
            },
        }
    }

    fn sizeof(&mut self, depth: usize) -> Parsed<Operand> {
        self.next();
        if self.at("(") {
            self.next();
            if self.starts_type() {
                let ty = self.type_inside(depth)?;
                self.expect(")", "after the type of `sizeof`")?;
                return Ok(self.size(ty));
            }
            let (operand, _) = self.parenthesised(depth)?;
            let operand = self.postfix(operand, depth)?;
            return Ok(self.size_of_operand(&operand));
        }
        let operand = constant::unary(self, depth + 1)?;
        Ok(self.size_of_operand(&operand))
    }

    fn size_of_operand(&self, operand: &Operand) -> Operand {
        match (self.type_of(operand), operand) {
            (Some(ty), _) => self.size(ty),
            (None, Operand::Unknown(why)) => Operand::Unknown(why.clone()),
            (None, _) => Operand::unknown("the type of this expression is not known"),
        }
    }

    fn alignof(&mut self, depth: usize) -> Parsed<Operand> {
        self.next();
        self.expect("(", "after `_Alignof`")?;
        let ty = if self.starts_type() { Some(self.type_inside(depth)?) } else { None };
        let ty = match ty {
            Some(ty) => Some(ty),
            None => {
                let operand = constant::expression(self, depth + 1)?;
                self.type_of(&operand)
            }
        };
        self.expect(")", "after `_Alignof(...`")?;
        Ok(match ty {
            Some(ty) => Operand::Int(Value::size(u64::from(self.align_of(ty)))),
            None => Operand::unknown("the type of this expression is not known"),
        })
    }

    /// `offsetof(type, member.member[index])`.
    fn offsetof(&mut self, depth: usize) -> Parsed<Operand> {
        self.next();
        self.expect("(", "after `offsetof`")?;
        let ty = self.type_inside(depth)?;
        self.expect(",", "after the type of `offsetof`")?;
        let name = self.next();
        let start = Operand::Place { ty, address: Some(0) };
        let first = self.field_of(start, &name);
        if let Operand::Unknown(why) = &first {
            return Err(Box::new(Diagnostic::error("E0531", "bad `offsetof`").at(name.span, why.to_string())));
        }
        let place = self.postfix(first, depth)?;
        self.expect(")", "after `offsetof(...`")?;
        Ok(match place {
            Operand::Place { address: Some(a), .. } => Operand::Int(Value { value: a, width: 64, signed: false }),
            _ => Operand::unknown("this member has no constant offset"),
        })
    }
}

/// Characters of a string constant, escapes counted once.
fn string_length(text: &str) -> u32 {
    let body = text.get(text.find('"').map_or(0, |i| i + 1)..text.len().saturating_sub(1)).unwrap_or("");
    let bytes = body.as_bytes();
    let (mut i, mut len) = (0, 0);
    while i < bytes.len() {
        if bytes[i] == b'\\' {
            i += 2;
            let digits = |from: usize, most: usize, radix: u32| {
                bytes[from.min(bytes.len())..].iter().take(most).take_while(|b| char::from(**b).is_digit(radix)).count()
            };
            match bytes.get(i - 1) {
                Some(b'x') => i += digits(i, usize::MAX, 16),
                Some(b'0'..=b'7') => i += digits(i, 2, 8),
                _ => {}
            }
        } else {
            i += 1;
        }
        len += 1;
    }
    len
}
