//! A whole script: settings, map declarations, probes.
//!
//! In: the items of the script and its imports with macros expanded. Out:
//! `hir::Program` and all diagnostics.

use super::checker::{Checker, ProbeState, unit};
use super::{Environment, config, probes, types};
use crate::diagnostic::{Diagnostic, Severity};
use crate::hir::tree::{self, ProgramKind, Stmt, StmtKind};
use crate::hir::types::Type;
use crate::span::Span;
use crate::syntax::ast;
use btc_payload::event::Action;
use btc_payload::manifest::MapKind;
use btc_payload::probe::{AttachPoint, Text, TextPart, UserLocation, WatchTarget};

/// Types a script and builds its typed tree. The tree is complete only when no
/// diagnostic is an error.
pub fn analyse(script: &ast::Script, env: &Environment<'_>) -> (tree::Program, Vec<Diagnostic>) {
    let expanded = expand_kinds(script);
    let script = expanded.as_ref().unwrap_or(script);
    let mut checker = Checker::new(env);
    checker.rounds(script);
    // What no round found a value for has none.
    if checker.diagnostics.iter().any(|d| d.code == "E0221") {
        checker.settled = true;
        checker.rounds(script);
    }
    checker.finish()
}

/// The script with each attach point whose kind is a pattern replaced by those it stands
/// for; `None` where there is none.
fn expand_kinds(script: &ast::Script) -> Option<ast::Script> {
    let mut out = script.clone();
    let mut any = false;
    for item in &mut out.items {
        let ast::Item::Probe(probe) = item else { continue };
        let one = |p: ast::AttachPoint| {
            let found = probes::expand_kind(&p);
            any |= !found.is_empty();
            if found.is_empty() { vec![p] } else { found }
        };
        probe.attach_points = std::mem::take(&mut probe.attach_points).into_iter().flat_map(one).collect();
    }
    any.then_some(out)
}

impl Checker<'_> {
    /// One walk over the whole script.
    pub(super) fn script(&mut self, script: &ast::Script) {
        for item in &script.items {
            match item {
                ast::Item::Config(entries) => {
                    let (settings, diagnostics) = config::read(entries);
                    self.program.settings.extend(settings);
                    self.diagnostics.extend(diagnostics);
                }
                ast::Item::MapDeclaration(d) => self.map_declaration(d),
                _ => {}
            }
        }
        self.program.settings.extend(self.env.settings.iter().cloned());
        let probes = script.items.iter().filter_map(|i| match i {
            ast::Item::Probe(p) => Some(p),
            _ => None,
        });
        let mut index = 0;
        let mut any = false;
        for (block, probe) in probes.enumerate() {
            any = true;
            for point in &probe.attach_points {
                self.attach_point((block as u32, probe), point, index);
                index += 1;
            }
        }
        if !any {
            self.report(
                Diagnostic::error("E0300", "the script has no probes")
                    .help("a script is made of probes such as `begin { printf(\"hello\\n\"); }`"),
            );
        }
    }

    fn map_declaration(&mut self, d: &ast::MapDeclaration) {
        let kind = match d.kind.value.as_str() {
            "hash" => MapKind::Hash,
            "lruhash" => MapKind::LruHash,
            "percpuhash" => MapKind::PerCpuHash,
            "percpulruhash" => MapKind::PerCpuLruHash,
            other => {
                self.report(
                    Diagnostic::error("E0230", format!("unknown kind of map `{other}`"))
                        .at(d.kind.span, "")
                        .help("kinds: hash, lruhash, percpuhash, percpulruhash"),
                );
                return;
            }
        };
        let entries = match d.args.as_slice() {
            [ast::Expr { kind: ast::ExprKind::Integer { value, .. }, .. }]
                if (1..=u64::from(u32::MAX / 2)).contains(value) =>
            {
                *value as u32
            }
            _ => {
                let message = format!("`{}` takes the number of entries", d.kind.value);
                return self.error("E0231", d.span, message, "a number from 1 up is expected").unwrap_or(());
            }
        };
        let id = self.map(&d.name.value, d.name.span);
        self.map_info_mut(id).declared = Some((kind, entries));
    }

    /// Types and builds a block for one of its attach points.
    pub(super) fn attach_point(&mut self, (block, probe): (u32, &ast::Probe), point: &ast::AttachPoint, index: usize) {
        let filled = probes::fill_kind(point, &self.env.parameters);
        let point = filled.as_ref().unwrap_or(point);
        let (provider, mut attach) = match probes::parse(point) {
            Ok(found) => found,
            Err(d) => return self.report(d),
        };
        self.note_parameters(point);
        let dropped = !self.env.purpose.wants(&attach);
        // The tracer ends when an iterator does; only what runs before and after it may be added.
        let once = |attach: &AttachPoint| matches!(attach, AttachPoint::Begin | AttachPoint::End);
        let iterator = provider.kind == ProgramKind::Iter;
        let clashes = |p: &tree::Probe| !once(&p.attach) && (iterator || p.kind == ProgramKind::Iter);
        if !once(&attach) && self.program.probes.iter().any(clashes) {
            let hint = "only begin and end can stand beside an iterator";
            return self
                .error("E0303", point.span, "an iterator cannot be combined with other probes", hint)
                .unwrap_or(());
        }
        // Unique, and readable in `bpftool prog`.
        let function = format!("p{index}_{}", provider.name);
        self.probe =
            Some(ProbeState::new(attach.clone(), provider.kind, probes::shown(provider, point, &attach), index));
        self.resolve_line(&mut attach, point.span);
        let before = self.diagnostics.len();
        self.check_attach_point(&attach, point);
        let predicate = probe.predicate.as_ref().and_then(|p| self.condition(p));
        let body = self.block(&probe.body);
        let Some(state) = self.probe.take() else { return };
        if self.left_out(before, point) {
            return;
        }
        if dropped {
            return;
        }
        self.program.probes.push(tree::Probe {
            function,
            attach: attach.clone(),
            kind: provider.kind,
            written: state.written,
            label: point.label.as_ref().map(|l| l.value.clone()),
            block,
            locals: state.locals,
            predicate,
            body,
            binary: state.binary,
            span: point.span,
        });
        self.watchpoint_setup(&attach, (block, index), point.span);
    }

    /// A watchpoint on what a function's argument points to takes a second program:
    /// a uprobe at the function, which stops the process, unless the watchpoint is
    /// asynchronous, and sends the address.
    fn watchpoint_setup(&mut self, attach: &AttachPoint, (block, index): (u32, usize), span: Span) {
        let AttachPoint::Watchpoint { at: WatchTarget::Argument { function, arg }, asynchronous, .. } = attach else {
            return;
        };
        let program = self.program.probes.len() as u32 - 1;
        let attach = AttachPoint::Uprobe {
            ret: false,
            path: Text(Vec::new()),
            at: UserLocation::Symbol { name: Text::literal(function), offset: 0, demangled: false },
        };
        let kind = ProgramKind::Uprobe;
        self.probe = Some(ProbeState::new(attach.clone(), kind, String::new(), index));
        let address = self.expr(&ast::Expr { kind: ast::ExprKind::Identifier(format!("arg{arg}")), span });
        self.probe = None;
        let Some(address) = address else { return };
        let mut statements = Vec::new();
        if !asynchronous {
            // SIGSTOP of signal(7). Before the record: the answer to that is SIGCONT.
            let number = super::checker::constant(19, Type::I64, span);
            let kind =
                tree::ExprKind::Intrinsic { which: tree::Intrinsic::Signal { thread: false }, args: vec![number] };
            statements.push(tree::Expr { kind, ty: Type::Void, span });
        }
        let action = Action::Watch { program, stopped: !asynchronous };
        statements.push(self.emit(action, vec![super::convert::convert(address, Type::U64)], span));
        let body = statements.into_iter().map(|e| Stmt { span, kind: StmtKind::Expr(e) }).collect();
        self.program.probes.push(tree::Probe {
            function: format!("p{index}_watchpoint_setup"),
            attach,
            kind,
            written: String::new(),
            label: None,
            block,
            locals: Vec::new(),
            predicate: None,
            body: tree::Block { statements: body },
            binary: None,
            span,
        });
    }

    /// Is this attach point one of a tracepoint whose fields are not known, in a script that
    /// does without probes that are missing? What was found wrong `since` is forgotten then.
    fn left_out(&mut self, since: usize, point: &ast::AttachPoint) -> bool {
        let missing = config::value(&self.program.settings, "missing_probes");
        let policy = missing.is_some_and(|m| m != "error");
        if !policy || !self.diagnostics[since..].iter().any(|d| d.code == "E0283") {
            return false;
        }
        self.diagnostics.truncate(since);
        if missing == Some("warn") {
            let d =
                Diagnostic::warning("W0283", format!("`{}` is left out: nothing is known of its fields", point.text));
            self.report(d.at(point.span, "not in the reference kernel"));
        }
        true
    }

    fn note_parameters(&mut self, point: &ast::AttachPoint) {
        for piece in point.parts.iter().flat_map(|p| &p.pieces) {
            if let ast::AttachPiece::Parameter(n) = piece {
                self.positional(*n).probe = true;
            }
        }
    }

    /// Warns of what the reference does not know; the target has the last word.
    fn check_attach_point(&mut self, attach: &AttachPoint, point: &ast::AttachPoint) {
        let AttachPoint::Tracepoint { category, event } = attach else { return };
        let has_parameter = category.0.iter().chain(&event.0).any(|p| matches!(p, TextPart::Parameter(_)));
        let (Some(category), Some(event)) = (category.as_literal(), event.as_literal()) else { return };
        if has_parameter || !self.env.facts.tracepoints(category, event).is_empty() {
            return;
        }
        let mut d =
            Diagnostic::warning("W0304", format!("tracepoint `{category}:{event}` is not in the reference kernel"))
                .at(point.span, "looked up again on the target");
        if let Some(close) = self.env.facts.similar_tracepoint(category, event) {
            d = d.help(format!("did you mean `tracepoint:{close}`?"));
        }
        self.report(d);
    }

    /// The program and the messages of the last round.
    fn finish(mut self) -> (tree::Program, Vec<Diagnostic>) {
        self.program.license = config::value(&self.program.settings, "license").unwrap_or("GPL").to_string();
        let maps = std::mem::take(&mut self.maps);
        for info in &maps {
            if info.declared.is_some() && info.key.is_none() && info.value.is_none() {
                self.warn("W0233", info.span, format!("map `{}` is never used", info.name), "declared here");
            }
            let key = info.key.clone().unwrap_or(Type::Tuple(Vec::new()));
            // A map that nothing is stored into has no type; uses of it have been
            // reported. A mere declaration is kept as a map of integers.
            let value = info.value.clone().unwrap_or(Type::I64);
            let kind = self.map_kind(info, &value);
            self.program.maps.push(tree::Map {
                name: info.name.clone(),
                key,
                value,
                kind,
                max_entries: info.declared.map(|(_, n)| n),
                span: info.span,
            });
        }
        // A variable has no type because of another error, if there is one.
        let is_error = |d: &Diagnostic| d.severity == Severity::Error;
        if self.diagnostics.iter().any(|d| is_error(d) && d.code != "E0207") {
            self.diagnostics.retain(|d| d.code != "E0207");
        }
        (self.program, self.diagnostics)
    }

    fn map_kind(&mut self, info: &super::checker::MapInfo, value: &Type) -> MapKind {
        let per_cpu = matches!(value, Type::Aggregate(_));
        let Some((kind, _)) = info.declared else {
            return if per_cpu { MapKind::PerCpuHash } else { MapKind::Hash };
        };
        let declared_per_cpu = matches!(kind, MapKind::PerCpuHash | MapKind::PerCpuLruHash);
        if declared_per_cpu != per_cpu && info.value.is_some() {
            let what = types::spell(self.types(), value);
            let message = format!("`{}` is declared with a kind that cannot hold `{what}`", info.name);
            let help = if per_cpu {
                "aggregations need percpuhash or percpulruhash"
            } else {
                "plain values need hash or lruhash; percpuhash is for count(), sum() and the like"
            };
            self.report(Diagnostic::error("E0232", message).at(info.span, "").help(help));
        }
        kind
    }

    /// A statement that ends the probe.
    pub(super) fn return_statement(span: crate::span::Span) -> Stmt {
        Stmt { kind: StmtKind::Return(None), span }
    }

    /// The key of a scalar map, noting that the map is one.
    pub(super) fn scalar_key(
        &mut self,
        map: btc_payload::manifest::MapId,
        span: crate::span::Span,
    ) -> Option<tree::Expr> {
        self.widen_key(map, &Type::Tuple(Vec::new()), span)?;
        Some(unit(span))
    }
}
