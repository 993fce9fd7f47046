//! `args` and types of uprobes, and uprobes on source lines.
//!
//! In: an attach point, what the binary's debug information says. Out:
//! expressions that read registers and stack as the calling convention has it,
//! addresses of lines; the build of the binary that this holds for goes into
//! the probe, and the target refuses any other.

use super::checker::{Checker, Typed, constant};
use super::convert::convert;
use super::types;
use crate::ctypes::TagKind;
use crate::debuginfo::{Parameter, Place, Word};
use crate::diagnostic::Diagnostic;
use crate::hir::tree::{BinaryOp, Expr, ExprKind, Intrinsic};
use crate::hir::types::{Space, Type};
use crate::span::Span;
use crate::syntax::ast;
use btc_payload::probe::{AttachPoint, UserLocation};

/// Bytes between the stack pointer at a function's entry and its first stack argument.
const RETURN_ADDRESS: u64 = 8;

impl Checker<'_> {
    /// `args.name` of a uprobe.
    pub(super) fn user_argument(&mut self, attach: &AttachPoint, name: &ast::Name, span: Span) -> Typed {
        let (function, found) = self.user_parameters(attach, span)?;
        let Some(parameter) = found.iter().find(|p| p.name.as_deref() == Some(name.value.as_str())) else {
            let names = found.iter().filter_map(|p| p.name.clone()).collect();
            return self.unknown_field(&format!("`{function}`"), &name.value, names, name.span);
        };
        self.user_value(parameter, span)
    }

    /// All of them, for `print(args)`.
    pub(super) fn user_arguments(&mut self, attach: &AttachPoint, span: Span) -> Option<Vec<(String, Expr)>> {
        let (_, found) = self.user_parameters(attach, span)?;
        let mut out = Vec::new();
        for (i, p) in found.iter().enumerate() {
            out.push((p.name.clone().unwrap_or_else(|| format!("arg{i}")), self.user_value(p, span)?));
        }
        Some(out)
    }

    /// Name and parameters of the function that a uprobe is attached to.
    fn user_parameters(&mut self, attach: &AttachPoint, span: Span) -> Option<(String, Vec<Parameter>)> {
        let AttachPoint::Uprobe { ret, path, at } = attach else { return None };
        let refuse = |c: &mut Self, message: &str, label: &str| c.error("E0281", span, message, label);
        if *ret {
            return refuse(
                self,
                "a uretprobe has no args",
                "they are gone when a function returns: keep them in a map",
            );
        }
        let name = match at {
            UserLocation::Symbol { name, offset: 0, demangled: false } => name,
            UserLocation::Symbol { demangled: true, .. } => {
                return refuse(self, "args of C++ names are not known", "write the mangled name, or use arg0, ...");
            }
            _ => return refuse(self, "args exist at the entry of a function only", "use reg() here"),
        };
        let (Some(path), Some(function)) = (path.as_literal(), name.as_literal()) else {
            return refuse(self, "args of a function given by a parameter are not known", "use arg0, arg1, ...");
        };
        let pattern = btc_payload::probe::is_pattern;
        if pattern(path) || pattern(function) {
            return refuse(self, "args of a pattern are not known: functions differ", "use arg0, arg1, ...");
        }
        match self.env.facts.user_parameters(path, function) {
            Ok((id, found)) => {
                self.probe.as_mut()?.binary = Some(id);
                Some((function.to_string(), found))
            }
            Err(why) => {
                let message = format!("the arguments of `{function}` are not known: {why}");
                let d = Diagnostic::error("E0281", message)
                    .at(span, "needs debug information while compiling")
                    .help("arg0, arg1, ... need none; --debuginfo DIR names a directory with debug files");
                self.report(d);
                None
            }
        }
    }

    /// A type that neither the script nor the kernel has, of the binary that a uprobe is
    /// attached to. The script's and the kernel's come first: they tie the tracer to no build.
    pub(super) fn user_type(&mut self, tag: Option<TagKind>, name: &str) -> Option<Type> {
        let AttachPoint::Uprobe { path, .. } = &self.probe.as_ref()?.attach else { return None };
        let path = path.as_literal().filter(|p| !btc_payload::probe::is_pattern(p))?.to_string();
        let (id, ty) = self.env.facts.user_type(&path, tag, name)?;
        self.probe.as_mut()?.binary = Some(id);
        Some(types::from_ctype(self.types(), ty, Space::User))
    }

    fn user_value(&mut self, p: &Parameter, span: Span) -> Typed {
        let ty = types::from_ctype(self.types(), p.ty, Space::User);
        if ty == Type::Void {
            let name = p.name.as_deref().unwrap_or("");
            let what = self.types().name_of(p.ty);
            let message = format!("argument `{name}` of type `{what}` cannot be read");
            return self.error("E0291", span, message, "floating-point numbers are not supported");
        }
        match &p.place {
            Place::Registers(words) => self.in_registers(words, ty, p, span),
            Place::Stack(at) => {
                let pointer = stack_address(*at, &ty, span);
                self.dereference(pointer, span)
            }
            Place::Pointed(pointer) => {
                let to = Type::Pointer { to: Box::new(ty), space: Space::User };
                let address = match &**pointer {
                    Place::Registers(words) => self.in_registers(words, to, p, span)?,
                    Place::Stack(at) => {
                        let cell = stack_address(*at, &to, span);
                        self.dereference(cell, span)?
                    }
                    Place::Pointed(_) => return None,
                };
                self.dereference(address, span)
            }
        }
    }

    fn in_registers(&mut self, words: &[Word], ty: Type, p: &Parameter, span: Span) -> Typed {
        let mut values = Vec::new();
        for word in words {
            let Word::General(n) = word else {
                let message = format!("argument `{}` is in a vector register", p.name.as_deref().unwrap_or(""));
                return self.error("E0291", span, message, "BPF programs cannot read those");
            };
            values.push(intrinsic(Intrinsic::Arg(*n), Vec::new(), Type::U64, span));
        }
        let (true, [_]) = (ty.is_scalar(), values.as_slice()) else {
            return Some(intrinsic(Intrinsic::FromWords, values, ty, span));
        };
        let value = values.remove(0);
        // Only as many bits as the type has are defined.
        let (size, signed) = ty.scalar_width();
        let narrow = convert(value, Type::Int { size, signed });
        Some(convert(narrow, ty))
    }

    /// Looks up the addresses of a source line, unless that was done before.
    pub(super) fn resolve_line(&mut self, attach: &mut AttachPoint, span: Span) {
        let AttachPoint::Uprobe { path, at: UserLocation::Line { file, line, places }, .. } = attach else { return };
        let found = match path.as_literal().filter(|p| !btc_payload::probe::is_pattern(p)) {
            Some(path) => self.env.facts.user_line(path, file, *line),
            None => Err("the binary must be written out".into()),
        };
        match found {
            Ok((id, found)) => {
                *places = found;
                if let Some(probe) = &mut self.probe {
                    probe.binary = Some(id);
                }
            }
            Err(why) => self.report(
                Diagnostic::error("E0305", format!("the address of {file}:{line} is not known: {why}"))
                    .at(span, "needs debug information while compiling"),
            ),
        }
    }
}

fn intrinsic(which: Intrinsic, args: Vec<Expr>, ty: Type, span: Span) -> Expr {
    Expr { kind: ExprKind::Intrinsic { which, args }, ty, span }
}

/// Pointer to a word on the stack.
fn stack_address(at: u32, to: &Type, span: Span) -> Expr {
    let stack = intrinsic(Intrinsic::Register("sp".into()), Vec::new(), Type::U64, span);
    let offset = constant(RETURN_ADDRESS + u64::from(at) * 8, Type::U64, span);
    let kind = ExprKind::Binary { op: BinaryOp::Add, left: Box::new(stack), right: Box::new(offset) };
    let sum = Expr { kind, ty: Type::U64, span };
    convert(sum, Type::Pointer { to: Box::new(to.clone()), space: Space::User })
}
