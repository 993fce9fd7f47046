//! The parser of C declarations: its state, and top-level declarations.
//!
//! In: preprocessed tokens. Out: types in the store.
//! Invariants: a declaration that cannot be understood is reported, skipped to
//! its end, and the next one is parsed; recursion is bounded by `DEEPEST`;
//! functions' bodies and initialisers are skipped.

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use super::constant::{self, Operand, Operands, Parsed, Value, fail};
use super::expand::Expander;
use super::files::Files;
use super::target::Target;
use super::token::{Keyword, Kind, Sym, Token, keyword};
use crate::ctypes::{CKind, CTypeId, Redefinition, TypeStore};
use crate::diagnostic::Diagnostic;
use crate::span::Span;

/// Nesting of structs, declarators and parameters.
pub(super) const DEEPEST: usize = 60;

/// What the parser learns and the type store does not keep.
#[derive(Debug, Default)]
pub(super) struct Knowledge {
    /// Alignments, in bytes, of types whose alignment is not that of what they
    /// are made of.
    pub(super) aligns: HashMap<CTypeId, u32>,
    /// Names used as types that nothing defines: pointers to them are fine.
    pub(super) unknown: HashMap<Rc<str>, CTypeId>,
    /// Types of declared variables and functions, for `typeof`.
    pub(super) objects: HashMap<Sym, CTypeId>,
    /// Values of the enums seen so far, those of an enum still open included.
    pub(super) enumerators: HashMap<Rc<str>, i128>,
    /// Floating types by name.
    pub(super) floats: HashMap<Rc<str>, CTypeId>,
    /// Where tags and typedefs were defined.
    pub(super) defined_at: HashMap<Rc<str>, Span>,
    /// `#pragma pack` in force, in bytes, and those put aside.
    pack: Option<u32>,
    pushed: Vec<Option<u32>>,
}

/// A parser at a place in the token stream.
pub(super) struct Parser<'p, 's> {
    pub(super) store: &'p TypeStore,
    pub(super) expander: &'p mut Expander,
    pub(super) files: &'p mut Files<'s>,
    pub(super) knowledge: &'p mut Knowledge,
    pub(super) target: &'p Target,
    ahead: VecDeque<Token>,
    pub(super) depth: usize,
    /// Lists of parameters that are open.
    pub(super) parameter_depth: usize,
    /// Braces of the declaration that are open.
    braces: usize,
    /// End of the last token taken.
    pub(super) last: Span,
}

impl<'p, 's> Parser<'p, 's> {
    pub(super) fn new(
        store: &'p TypeStore,
        expander: &'p mut Expander,
        files: &'p mut Files<'s>,
        knowledge: &'p mut Knowledge,
        target: &'p Target,
    ) -> Parser<'p, 's> {
        let (ahead, last) = (VecDeque::new(), Span::default());
        Parser { store, expander, files, knowledge, target, ahead, depth: 0, parameter_depth: 0, braces: 0, last }
    }

    /// The token `n` places ahead.
    pub(super) fn look(&mut self, n: usize) -> Token {
        while self.ahead.len() <= n {
            let token = self.expander.token(self.files);
            if token.kind == Kind::Pack {
                self.pack(token);
                continue;
            }
            if token.is_end() {
                return token;
            }
            self.ahead.push_back(token);
        }
        self.ahead[n]
    }

    pub(super) fn next(&mut self) -> Token {
        let token = self.look(0);
        self.ahead.pop_front();
        if !token.is_end() {
            self.last = token.span;
        }
        if token.is("{") {
            self.braces += 1;
        } else if token.is("}") {
            self.braces = self.braces.saturating_sub(1);
        }
        token
    }

    /// The token that was looked at but not taken.
    pub(super) fn untaken(&self) -> Option<Token> {
        self.ahead.front().copied()
    }

    pub(super) fn at(&mut self, text: &str) -> bool {
        self.look(0).is(text)
    }

    pub(super) fn take(&mut self, text: &str) -> bool {
        let found = self.at(text);
        if found {
            self.next();
        }
        found
    }

    pub(super) fn expect(&mut self, text: &str, why: &str) -> Parsed<Token> {
        let token = self.look(0);
        if token.is(text) {
            return Ok(self.next());
        }
        let found = self.describe(&token);
        fail(format!("expected `{text}` {why}, found {found}"), &token, format!("expected `{text}`"))
    }

    pub(super) fn describe(&self, token: &Token) -> String {
        match token.kind {
            Kind::End => "the end".to_string(),
            _ => format!("`{}`", self.expander.interner.text(token.text)),
        }
    }

    pub(super) fn name_of(&self, token: &Token) -> Rc<str> {
        self.expander.interner.text(token.text)
    }

    /// Runs a step one level deeper.
    pub(super) fn deeper<T>(&mut self, step: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.depth >= DEEPEST {
            let token = self.look(0);
            return fail("the declaration is nested too deeply", &token, "more than 60 levels");
        }
        self.depth += 1;
        let result = step(self);
        self.depth -= 1;
        result
    }

    pub(super) fn report(&mut self, problem: Diagnostic) {
        self.expander.problems.push(problem);
    }

    /// An expression of a declaration; its nesting adds to the declaration's.
    pub(super) fn expression(&mut self) -> Parsed<Operand> {
        let depth = self.depth;
        constant::expression(self, depth)
    }

    /// A constant expression that must have a value.
    pub(super) fn constant(&mut self, what: &str) -> Parsed<Value> {
        let start = self.look(0);
        let operand = self.expression()?;
        let span = start.span.to(self.last);
        operand.number().map_err(|why| {
            let message = format!("{what} must be a constant");
            Box::new(Diagnostic::error("E0521", message).at(span, why.to_string()))
        })
    }

    /// Takes everything up to the bracket that closes the one just taken.
    pub(super) fn skip_brackets(&mut self) {
        let mut depth = 1;
        while depth > 0 {
            let token = self.next();
            if token.is_end() {
                return;
            } else if token.is("(") || token.is("[") || token.is("{") {
                depth += 1;
            } else if token.is(")") || token.is("]") || token.is("}") {
                depth -= 1;
            }
        }
    }

    /// `#pragma pack` in force, in bits.
    pub(super) fn pack_limit(&self) -> Option<u64> {
        self.knowledge.pack.map(|bytes| u64::from(bytes) * 8)
    }

    /// Obeys `#pragma pack(push, n)` and its other forms.
    pub(super) fn pack(&mut self, token: Token) {
        let text = self.name_of(&token);
        let inside = text.trim_start_matches('(').split(')').next().unwrap_or("");
        let words = inside.split(',').map(str::trim).filter(|w| !w.is_empty());
        let knowledge = &mut *self.knowledge;
        let mut empty = true;
        for word in words {
            empty = false;
            match word {
                "push" if knowledge.pushed.len() < 1000 => knowledge.pushed.push(knowledge.pack),
                "pop" => knowledge.pack = knowledge.pushed.pop().flatten(),
                _ => {
                    if let Some(n) = word.parse().ok().filter(|n: &u32| n.is_power_of_two() && *n <= 16) {
                        knowledge.pack = Some(n);
                    } else if word == "0" {
                        knowledge.pack = None;
                    }
                }
            }
        }
        if empty {
            knowledge.pack = None;
        }
    }

    /// All declarations up to the end of the input.
    pub(super) fn file(&mut self) {
        while !self.look(0).is_end() {
            self.external();
        }
    }

    /// One top-level declaration; always takes at least one token.
    pub(super) fn external(&mut self) {
        self.depth = 0;
        self.parameter_depth = 0;
        self.braces = 0;
        let start = self.look(0);
        match self.external_declaration() {
            Ok(()) => {}
            Err(problem) => {
                self.report(*problem);
                if self.look(0).span == start.span {
                    self.next();
                }
                self.skip_declaration();
            }
        }
    }

    /// Takes the rest of a declaration that was not understood: up to the `;` or
    /// `}` that seems to end it.
    fn skip_declaration(&mut self) {
        let inside = self.braces > 0;
        loop {
            let token = self.next();
            if token.is_end() || self.braces == 0 && token.is(";") {
                return;
            }
            if self.braces == 0 && token.is("}") && !(inside && self.names_follow()) {
                self.take(";");
                return;
            }
        }
    }

    /// Whether names and a `;` follow the `}` of a struct.
    fn names_follow(&mut self) -> bool {
        (0..8)
            .map(|n| self.look(n))
            .take_while(|t| t.kind == Kind::Ident || t.is("*") || t.is(",") || t.is(";"))
            .any(|t| t.is(";"))
    }

    fn external_declaration(&mut self) -> Parsed<()> {
        let token = self.look(0);
        if self.take(";") {
            return Ok(());
        }
        match keyword(&token) {
            Some(Keyword::StaticAssert) => return self.static_assert(),
            Some(Keyword::Asm) => {
                self.next();
                while keyword(&self.look(0)) == Some(Keyword::Qualifier) {
                    self.next();
                }
                self.expect("(", "after `asm`")?;
                self.skip_brackets();
                self.take(";");
                return Ok(());
            }
            Some(Keyword::Pragma) => {
                self.next();
                self.expect("(", "after `_Pragma`")?;
                self.skip_brackets();
                return Ok(());
            }
            _ => {}
        }
        if self.is_stray_macro() {
            return self.stray_macro();
        }
        let specifiers = self.specifiers(false)?;
        if self.take(";") {
            return Ok(());
        }
        if specifiers.tagged && !specifiers.typedef && self.definition_may_end_here() {
            return Ok(());
        }
        loop {
            let declarator = self.declarator(&specifiers, true)?;
            let is_function = matches!(self.store.resolved(declarator.ty).kind, CKind::Function(_));
            self.declare(&specifiers, &declarator)?;
            if is_function {
                self.skip_annotations();
            }
            if is_function && !specifiers.typedef && self.take("{") {
                self.skip_brackets();
                return Ok(());
            }
            if self.take("=") {
                self.skip_initializer();
            }
            if !self.take(",") {
                break;
            }
        }
        self.expect(";", "after a declaration")?;
        Ok(())
    }

    /// bpftrace lets one leave out the `;` behind a struct of the script, so
    /// what cannot be a declarator ends the definition.
    fn definition_may_end_here(&mut self) -> bool {
        if !self.files.script || self.files.stack.len() > 1 {
            return false;
        }
        let (token, after) = (self.look(0), self.look(1));
        let declarator = token.is("*") || token.is("(");
        let name = token.kind == Kind::Ident
            && keyword(&token).is_none_or(|k| k == Keyword::Qualifier)
            && [";", ",", "[", "=", "("].iter().any(|p| after.is(p));
        !declarator && !name
    }

    /// A call of a macro that nobody defined, alone at the top level.
    fn is_stray_macro(&mut self) -> bool {
        let token = self.look(0);
        token.kind == Kind::Ident && keyword(&token).is_none() && self.look(1).is("(") && self.typedef(&token).is_none()
    }

    fn stray_macro(&mut self) -> Parsed<()> {
        let token = self.next();
        self.next();
        self.skip_brackets();
        if !self.take(";") && self.take("{") {
            self.skip_brackets();
        }
        let message = format!("nothing defines the macro `{}`", self.name_of(&token));
        let problem = Diagnostic::warning("W0522", message).at(token.span, "this declaration is ignored");
        self.report(problem.help("include the header that defines it"));
        Ok(())
    }

    /// Unknown words behind a function's declarator: macros for attributes.
    fn skip_annotations(&mut self) {
        while self.look(0).kind == Kind::Ident {
            self.next();
            if self.take("(") {
                self.skip_brackets();
            }
        }
    }

    fn skip_initializer(&mut self) {
        loop {
            let token = self.look(0);
            if token.is_end() || token.is(",") || token.is(";") {
                return;
            }
            self.next();
            if token.is("(") || token.is("[") || token.is("{") {
                self.skip_brackets();
            }
        }
    }

    /// `_Static_assert(condition, "text");`
    pub(super) fn static_assert(&mut self) -> Parsed<()> {
        let start = self.next();
        self.expect("(", "after `_Static_assert`")?;
        let operand = self.expression()?;
        let mut text: Rc<str> = "".into();
        if self.take(",") {
            let message = self.look(0);
            text = self.name_of(&message);
        }
        self.skip_brackets();
        self.take(";");
        if operand.number().is_ok_and(|v| v.value == 0) {
            let problem =
                Diagnostic::error("E0523", "a static assertion does not hold").at(start.span, text.to_string());
            self.report(problem);
        }
        Ok(())
    }

    /// Turns the store's refusal into a message.
    pub(super) fn stored(&mut self, what: &str, at: Span, result: Result<CTypeId, Redefinition>) -> Parsed<CTypeId> {
        result.map_err(|redefinition| {
            let name = &redefinition.name;
            let message = format!("{what} `{name}` is defined again, differently");
            let mut problem = Diagnostic::error("E0524", message).at(at, "defined again here");
            if let Some(&before) = self.knowledge.defined_at.get(name) {
                problem = problem.also(before, "first defined here");
            }
            Box::new(problem.help("rename one of the two, or put `#ifndef` around it"))
        })
    }

    /// Alignment of a type in bytes.
    pub(super) fn align_of(&self, id: CTypeId) -> u32 {
        let mut id = id;
        for _ in 0..=DEEPEST {
            if let Some(&known) = self.knowledge.aligns.get(&id) {
                return known;
            }
            id = match &self.store.get(id).kind {
                CKind::Typedef { target, .. } => *target,
                CKind::Array { elem, .. } => *elem,
                CKind::Forward { .. } => match self.store.resolve(id) {
                    same if same == id => return 1,
                    other => other,
                },
                _ => return self.store.align_of(id),
            };
        }
        1
    }
}

impl Operands for Parser<'_, '_> {
    fn peek(&mut self) -> Token {
        self.look(0)
    }

    fn bump(&mut self) -> Token {
        self.next()
    }

    fn text(&self, sym: Sym) -> Rc<str> {
        self.expander.interner.text(sym)
    }

    fn operand(&mut self, depth: usize) -> Parsed<Operand> {
        self.c_operand(depth)
    }

    fn least_width(&self) -> u32 {
        32
    }
}
