//! Access to memory: fields, elements, the arguments of a probe, sizes and
//! offsets.
//!
//! In: a base expression and a name or index. Out: an lvalue of the typed tree.
//! A `.` on a pointer dereferences it; `->` is another spelling.

use super::checker::{Checker, Typed, constant, literal};
use super::convert::convert;
use super::types;
use crate::ctypes::{CTypeId, FieldPath, nearest};
use crate::diagnostic::Diagnostic;
use crate::hir::tree::{self, Expr, ExprKind, ProgramKind};
use crate::hir::types::{Space, Type};
use crate::span::Span;
use crate::syntax::ast;
use btc_payload::probe::AttachPoint;
use std::rc::Rc;

/// The address of an lvalue: the pointer that its outermost step starts from,
/// moved. `None` when the expression is a value.
pub(super) fn address_of(e: Expr) -> Option<Expr> {
    let space = e.space();
    let (ty, span) = (e.ty.clone(), e.span);
    match e.kind {
        ExprKind::Dereference(p) => Some(*p),
        // Lowering knows how to take the address of a chain of fields: the
        // conversion from the lvalue to a pointer asks for it.
        ExprKind::Field { .. } | ExprKind::Element { .. } | ExprKind::TracepointField(_) => Some(Expr {
            kind: ExprKind::Intrinsic { which: tree::Intrinsic::AddressOf, args: vec![e] },
            ty: Type::Pointer { to: Box::new(ty), space },
            span,
        }),
        _ => None,
    }
}

/// An element of a tuple or record; that of a constant one is a constant.
fn part(base: Expr, index: u32, ty: Type, span: Span) -> Expr {
    if base.is_constant()
        && let ExprKind::Tuple { elements, .. } = &base.kind
        && let Some(e) = elements.get(index as usize)
    {
        return Expr { span, ..e.clone() };
    }
    Expr { kind: ExprKind::TupleElement { base: Box::new(base), index }, ty, span }
}

impl Checker<'_> {
    /// `base.name`.
    pub(super) fn field(&mut self, base: &ast::Expr, name: &ast::Name, span: Span) -> Typed {
        if let ast::ExprKind::Identifier(word) = &base.kind {
            match word.as_str() {
                "args" => return self.argument(name, span),
                "config" => return self.setting_value(name, span),
                _ => {}
            }
        }
        let base = self.raw(base)?;
        self.field_of(base, name, span)
    }

    fn field_of(&mut self, base: Expr, name: &ast::Name, span: Span) -> Typed {
        match &base.ty {
            Type::Pointer { to, .. } if matches!(**to, Type::Struct { .. } | Type::Record(_)) => {
                let base = self.dereference(base, span)?;
                self.field_of(base, name, span)
            }
            Type::Struct { ctype } => {
                let ctype = *ctype;
                self.struct_field(base, ctype, name, span)
            }
            Type::Record(fields) => {
                let Some(index) = fields.iter().position(|(n, _)| *n == name.value) else {
                    let names: Vec<String> = fields.iter().map(|(n, _)| n.clone()).collect();
                    return self.unknown_field("this record", &name.value, names, name.span);
                };
                let ty = fields[index].1.clone();
                Some(part(base, index as u32, ty, span))
            }
            other => {
                let message = format!("`{}` has no fields", self.spell(other));
                let mut d =
                    Diagnostic::error("E0270", message).at(span, format!("field `{}` is asked for", name.value));
                if other.is_integral() {
                    d = d.help("cast it to a pointer to a struct first, as in `((struct task_struct *)x)->comm`");
                }
                self.report(d);
                None
            }
        }
    }

    fn struct_field(&mut self, base: Expr, ctype: CTypeId, name: &ast::Name, span: Span) -> Typed {
        let Some(field) = self.types().field(ctype, &name.value) else {
            return self.unknown_member(ctype, name);
        };
        // What a pointer in the context points to lies in the kernel.
        let space = match base.space() {
            Space::Context | Space::Bpf => self.member_space(),
            Space::Any if self.types().is_kernel(ctype) => Space::Kernel,
            space => space,
        };
        let ty = types::from_ctype(self.types(), field.ty, space);
        Some(Expr { kind: ExprKind::Field { base: Box::new(base), field }, ty, span })
    }

    /// Where pointers found in the context or in the program's own copies point.
    fn member_space(&self) -> Space {
        match self.default_space() {
            Space::User => Space::User,
            _ => Space::Kernel,
        }
    }

    /// A struct or union lacks a field, which that of another kernel may have.
    fn unknown_member<T>(&mut self, ctype: CTypeId, name: &ast::Name) -> Option<T> {
        let what = format!("`{}`", self.types().name_of(ctype));
        let names = self.types().field_names(ctype).iter().map(|n| n.to_string()).collect();
        let mut d = missing_field(&what, &name.value, names, name.span);
        if self.types().is_kernel(ctype) {
            d = self.with_release(d);
        }
        self.report(d);
        None
    }

    pub(super) fn unknown_field<T>(&mut self, what: &str, name: &str, names: Vec<String>, span: Span) -> Option<T> {
        self.report(missing_field(what, name, names, span));
        None
    }

    /// Says whose types were looked at, if the user did not choose them.
    pub(super) fn with_release(&self, d: Diagnostic) -> Diagnostic {
        match self.types().reference_release() {
            Some(release) => d.help(format!(
                "kernel types are those of Linux {release}; `--btf FILE` takes another kernel's, such as /sys/kernel/btf/vmlinux"
            )),
            None => d,
        }
    }

    /// `base.0`.
    pub(super) fn tuple_field(&mut self, base: Expr, index: u32, span: Span) -> Typed {
        let elems: Vec<Type> = match &base.ty {
            Type::Tuple(elems) => elems.clone(),
            Type::Record(fields) => fields.iter().map(|(_, t)| t.clone()).collect(),
            other => {
                let message = format!("`{}` is no tuple", self.spell(other));
                return self.error("E0272", span, message, "has no numbered elements");
            }
        };
        let Some(ty) = elems.get(index as usize).cloned() else {
            let message = format!("the tuple has {} elements", elems.len());
            return self.error("E0273", span, message, &format!("there is no element {index}"));
        };
        Some(part(base, index, ty, span))
    }

    /// `base[index]` on anything but a map.
    pub(super) fn element(&mut self, base: Expr, index: &ast::Expr, span: Span) -> Typed {
        let index = self.value(index)?;
        let constant_index = literal(&index);
        match &base.ty {
            Type::Tuple(_) | Type::Record(_) => match constant_index {
                Some(i) => self.tuple_field(base, u32::try_from(i).unwrap_or(u32::MAX), span),
                None => self.error("E0274", index.span, "the index of a tuple must be a constant", ""),
            },
            Type::Array { .. } | Type::CharArray { .. } => {
                let (elem, len) = match &base.ty {
                    Type::Array { elem, len } => ((**elem).clone(), *len),
                    Type::CharArray { len } => (Type::Int { size: 1, signed: true }, *len),
                    _ => return None,
                };
                // A flexible array member has length 0 and any index.
                if let Some(i) = constant_index
                    && len > 0
                    && !(0..i128::from(len)).contains(&i)
                {
                    let message = format!("index {i} is outside the array of {len} elements");
                    return self.error("E0275", index.span, message, "out of bounds");
                }
                let index = self.integer(index, false, "an index")?;
                let kind = ExprKind::Element { base: Box::new(base), index: Box::new(index) };
                Some(Expr { kind, ty: elem, span })
            }
            Type::Pointer { .. } => {
                let count = self.integer(index, true, "an index")?;
                let ty = base.ty.clone();
                let kind = ExprKind::PointerOffset { pointer: Box::new(base), count: Box::new(count) };
                self.dereference(Expr { kind, ty, span }, span)
            }
            Type::Str { size } => {
                if let Some(i) = constant_index
                    && !(0..i128::from(*size)).contains(&i)
                {
                    let message = format!("index {i} is outside the text of {size} bytes");
                    return self.error("E0275", index.span, message, "out of bounds");
                }
                let index = self.integer(index, false, "an index")?;
                let kind = ExprKind::StrByte { base: Box::new(base), index: Box::new(index) };
                // A `char`, as in C on this machine.
                Some(Expr { kind, ty: Type::Int { size: 1, signed: true }, span })
            }
            other => {
                let message = format!("`{}` cannot be indexed", self.spell(other));
                self.error("E0276", span, message, "")
            }
        }
    }

    /// `args.name`.
    fn argument(&mut self, name: &ast::Name, span: Span) -> Typed {
        let attach = self.probe.as_ref()?.attach.clone();
        match &attach {
            AttachPoint::Tracepoint { category, event } => {
                let (Some(category), Some(event)) = (category.as_literal(), event.as_literal()) else {
                    return self.error(
                        "E0280",
                        span,
                        "the fields of a tracepoint given by a parameter are not known",
                        "write the tracepoint out",
                    );
                };
                self.tracepoint_field(category, event, name, span)
            }
            AttachPoint::Fentry { .. } | AttachPoint::RawTracepoint { .. } => {
                self.function_argument(&attach, name, span)
            }
            AttachPoint::Uprobe { .. } => self.user_argument(&attach, name, span),
            _ => self.error("E0282", span, "this kind of probe has no args", ""),
        }
    }

    fn tracepoint_field(&mut self, category: &str, event: &str, name: &ast::Name, span: Span) -> Typed {
        let found = self.env.facts.tracepoints(category, event);
        if found.is_empty() {
            let mut d = Diagnostic::error("E0283", format!("tracepoint `{category}:{event}` is unknown"))
                .at(span, "its fields are not known");
            if let Some(close) = self.env.facts.similar_tracepoint(category, event) {
                d = d.help(format!("did you mean `tracepoint:{close}`?"));
            }
            self.report(d.help("`--btf` does not bring formats; the reference kernel's are bundled"));
            return None;
        }
        let field = found.iter().find_map(|t| t.fields.iter().find(|f| f.name == name.value)).cloned();
        let Some(field) = field else {
            let mut names: Vec<String> = found.iter().flat_map(|t| &t.fields).map(|f| f.name.clone()).collect();
            names.sort();
            names.dedup();
            return self.unknown_field(&format!("tracepoint `{category}:{event}`"), &name.value, names, name.span);
        };
        Some(self.tracepoint_value(category, &field, span))
    }

    /// A field of the record as an expression.
    pub(super) fn tracepoint_value(&mut self, category: &str, field: &super::TracepointField, span: Span) -> Expr {
        // The arguments of system calls point into the process.
        let space = if category == "syscalls" { Space::User } else { Space::Kernel };
        let mut ty = types::from_ctype(self.types(), field.ty, space);
        if field.data_loc || field.relative {
            let text = matches!(&ty, Type::CharArray { .. })
                || matches!(&ty, Type::Pointer { to, .. } if matches!(**to, Type::Int { size: 1, .. }));
            ty = if text {
                Type::Str { size: self.env.limits.max_strlen + 1 }
            } else {
                let to = match ty {
                    Type::Array { elem, .. } => elem,
                    Type::Pointer { to, .. } => to,
                    _ => Box::new(Type::Int { size: 1, signed: false }),
                };
                Type::Pointer { to, space: Space::Kernel }
            };
        } else if let Type::Int { size, .. } = ty {
            ty = Type::Int { size, signed: field.signed };
        }
        let kind = ExprKind::TracepointField(tree::TracepointField {
            name: field.name.clone(),
            offset: field.offset,
            size: field.size,
            data_loc: field.data_loc,
            relative: field.relative,
        });
        Expr { kind, ty, span }
    }

    /// An argument of a traced kernel function, by name.
    fn function_argument(&mut self, attach: &AttachPoint, name: &ast::Name, span: Span) -> Typed {
        let (what, params, skip) = self.function_parameters(attach, span)?;
        let at = params.iter().position(|(n, _)| n.as_deref() == Some(name.value.as_str()));
        let Some(at) = at else {
            let names = params.iter().filter_map(|(n, _)| n.as_ref().map(|n| n.to_string())).collect();
            return self.unknown_field(&what, &name.value, names, name.span);
        };
        let ty = types::from_ctype(self.types(), params[at].1, Space::Kernel);
        let position = at as u32 - skip;
        Some(Expr { kind: ExprKind::Argument { name: name.value.clone(), position }, ty, span })
    }

    /// Parameters of what an fentry or raw tracepoint probe attaches to, as the
    /// reference kernel knows them: its name for messages, the parameters, and
    /// how many of them precede the first in the context.
    #[allow(clippy::type_complexity)]
    pub(super) fn function_parameters(
        &mut self,
        attach: &AttachPoint,
        span: Span,
    ) -> Option<(String, Vec<(Option<Rc<str>>, CTypeId)>, u32)> {
        let (name, signature) = match attach {
            AttachPoint::Fentry { module, function, .. } => {
                let module = module.as_ref().and_then(|m| m.as_literal());
                let name = function.as_literal().unwrap_or_default().to_string();
                let found = if btc_payload::probe::is_pattern(&name) {
                    let list = self.types().functions(|n| btc_payload::probe::pattern_matches(&name, n));
                    list.first().and_then(|(_, first)| self.types().find_func(first, module))
                } else {
                    self.types().find_func(&name, module)
                };
                (name, found.and_then(|f| self.types().signature(f.ty)))
            }
            AttachPoint::RawTracepoint { event, .. } => {
                // Functions that the kernel makes for each tracepoint
                // (include/linux/tracepoint.h); the first is new in 6.x. The type of
                // `btf_trace_NAME` has the same parameters, but no names.
                let name = event.as_literal().unwrap_or_default().to_string();
                let found = ["__probestub_", "__traceiter_"]
                    .iter()
                    .find_map(|prefix| self.types().find_func(&format!("{prefix}{name}"), None));
                (name, found.and_then(|f| self.types().signature(f.ty)))
            }
            _ => return None,
        };
        let Some(signature) = signature else {
            let mut d = Diagnostic::error("E0284", format!("`{name}` is not in the kernel's BTF"))
                .at(span, "its arguments are not known");
            if let Some(close) = self.types().similar_func(&name) {
                d = d.help(format!("did you mean `{close}`?"));
            }
            let d = self.with_release(d);
            self.report(d);
            return None;
        };
        let skip = u32::from(matches!(attach, AttachPoint::RawTracepoint { .. }));
        // The first parameter of a raw tracepoint's type is the probe's private data.
        let params = signature.params;
        Some((format!("`{name}`"), params, skip))
    }

    /// `retval`.
    pub(super) fn return_value(&mut self, span: Span) -> Typed {
        let attach = self.probe.as_ref()?.attach.clone();
        match self.kind() {
            ProgramKind::Kretprobe | ProgramKind::Uretprobe => Some(Expr {
                kind: ExprKind::Intrinsic { which: tree::Intrinsic::ReturnRegister, args: Vec::new() },
                ty: Type::I64,
                span,
            }),
            ProgramKind::Fexit => {
                let AttachPoint::Fentry { module, function, .. } = &attach else { return None };
                let (_, params, _) = self.function_parameters(&attach, span)?;
                let name = function.as_literal().unwrap_or_default();
                let module = module.as_ref().and_then(|m| m.as_literal());
                let ret =
                    self.types().find_func(name, module).and_then(|f| self.types().signature(f.ty)).map(|s| s.ret);
                let ty = ret.map_or(Type::I64, |r| types::from_ctype(self.types(), r, Space::Kernel));
                if ty == Type::Void {
                    return self.error("E0285", span, format!("`{name}` returns nothing"), "there is no retval");
                }
                Some(Expr { kind: ExprKind::ReturnValue { position: params.len() as u32 }, ty, span })
            }
            _ => self.error("E0286", span, "`retval` exists in kretprobe, fexit and uretprobe only", ""),
        }
    }

    /// All of `args` as a record, for `print(args)`.
    pub(super) fn all_arguments(&mut self, span: Span) -> Typed {
        let attach = self.probe.as_ref()?.attach.clone();
        let mut fields: Vec<(String, Expr)> = Vec::new();
        match &attach {
            AttachPoint::Tracepoint { category, event } => {
                let (category, event) = (category.as_literal()?.to_string(), event.as_literal()?.to_string());
                let found = self.env.facts.tracepoints(&category, &event);
                let Some(first) = found.first().cloned() else {
                    let message = format!("tracepoint `{category}:{event}` is unknown");
                    return self.error("E0283", span, message, "its fields are not known");
                };
                for f in &first.fields {
                    let value = self.tracepoint_value(&category, f, span);
                    fields.push((f.name.clone(), self.decay(value)));
                }
            }
            AttachPoint::Fentry { .. } | AttachPoint::RawTracepoint { .. } => {
                let (_, params, skip) = self.function_parameters(&attach, span)?;
                for (i, (name, ty)) in params.iter().enumerate().skip(skip as usize) {
                    let name = name.as_ref().map_or_else(|| format!("arg{i}"), |n| n.to_string());
                    let ty = types::from_ctype(self.types(), *ty, Space::Kernel);
                    let kind = ExprKind::Argument { name: name.clone(), position: i as u32 - skip };
                    fields.push((name, Expr { kind, ty, span }));
                }
            }
            AttachPoint::Uprobe { .. } => {
                for (name, value) in self.user_arguments(&attach, span)? {
                    fields.push((name, self.decay(value)));
                }
            }
            _ => return self.error("E0282", span, "this kind of probe has no args", ""),
        }
        let evaluation = (0..fields.len() as u32).collect();
        let ty = Type::Record(fields.iter().map(|(n, e)| (n.clone(), e.ty.clone())).collect());
        let elements = fields.into_iter().map(|(_, e)| e).collect();
        Some(Expr { kind: ExprKind::Tuple { elements, evaluation }, ty, span })
    }

    /// `sizeof(...)`.
    pub(super) fn sizeof(&mut self, of: &ast::TypeOrExpr, span: Span) -> Typed {
        let ty = match of {
            // A literal is as wide here as in a register, as bpftrace has it; `bool` has a byte.
            ast::TypeOrExpr::Expr(e) if matches!(e.kind, ast::ExprKind::Bool(_)) => Type::I64,
            _ => match self.aggregation(of) {
                Some(ty) => ty,
                None => self.type_of(of)?,
            },
        };
        if self.is_kernel_struct(&ty)
            && let Type::Struct { ctype } = ty
        {
            return Some(Expr { kind: ExprKind::KernelSizeof(ctype), ty: Type::U64, span });
        }
        let size = types::size_of(self.types(), &ty);
        Some(constant(size, types::literal_type(size, false), span))
    }

    /// `offsetof(type, a.b.c)`.
    pub(super) fn offsetof(&mut self, of: &ast::TypeOrExpr, path: &[ast::Name], span: Span) -> Typed {
        let ty = self.type_of(of)?;
        let ty = match ty {
            Type::Pointer { to, .. } if matches!(of, ast::TypeOrExpr::Expr(_)) => *to,
            other => other,
        };
        let Type::Struct { ctype: root } = ty else {
            let message = format!("`{}` is no struct", self.spell(&ty));
            return self.error("E0277", span, message, "offsetof wants a struct or union");
        };
        let (mut at, mut bits, mut steps) = (root, 0u64, Vec::<FieldPath>::new());
        for name in path {
            let Some(field) = self.types().field(at, &name.value) else {
                return self.unknown_member(at, name);
            };
            if field.bit_width.is_some() {
                return self.error("E0278", name.span, "a bit-field has no offset in bytes", "");
            }
            bits += u64::from(field.bit_offset);
            at = self.types().resolve(field.ty);
            steps.push(field);
        }
        if self.types().is_kernel(root) {
            return Some(Expr { kind: ExprKind::KernelOffsetof { root, path: steps }, ty: Type::U64, span });
        }
        Some(constant(bits / 8, types::literal_type(bits / 8, false), span))
    }

    /// `config.name`.
    fn setting_value(&mut self, name: &ast::Name, span: Span) -> Typed {
        let Some(setting) = super::config::find(&name.value) else {
            let names = super::config::names().map(str::to_string).collect();
            return self.unknown_field("config", &name.value, names, name.span);
        };
        let shown = super::builtins::setting_value(self, setting.name, span);
        let slot = btc_payload::start::StartValue::Setting(setting.name.to_string());
        shown.or_else(|| Some(self.start(slot, Type::I64, span)))
    }

    /// A pointer, whatever array or struct lvalue it was written as.
    pub(super) fn pointer_to_memory(&mut self, e: Expr, what: &str) -> Typed {
        match &e.ty {
            Type::Array { .. } | Type::CharArray { .. } | Type::Struct { .. } if e.space() != Space::Bpf => {
                let space = e.space();
                let pointer = address_of(e)?;
                Some(convert(pointer, Type::Pointer { to: Box::new(Type::Void), space }))
            }
            _ => self.address(e, what),
        }
    }
}

fn missing_field(what: &str, name: &str, names: Vec<String>, span: Span) -> Diagnostic {
    let d = Diagnostic::error("E0271", format!("{what} has no field `{name}`")).at(span, "unknown field");
    match nearest(name, names.iter().map(String::as_str)) {
        Some(close) => d.help(format!("did you mean `{close}`?")),
        None if (1..=12).contains(&names.len()) => d.help(format!("fields: {}", names.join(", "))),
        None => d,
    }
}
