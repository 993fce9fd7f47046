//! The state of type inference: what is known of maps and variables, the scopes
//! of the probe at hand, and the typed tree that is being built.
//!
//! In: the expanded syntax tree. Out: `hir::Program` and diagnostics. The tree
//! is built again and again with the types learnt so far until a round learns
//! nothing new; only what the last round built and reported counts. So there is
//! one walk, not one to infer and one to build. An expression whose type is not
//! known (yet) is `None`; whoever is responsible has reported why.

use super::Environment;
use super::types;
use crate::ctypes::{TypeStore, nearest};
use crate::diagnostic::{Code, Diagnostic};
use crate::hir::tree::{self, Expr, ExprKind, LocalId, ProgramKind, SlotId};
use crate::hir::types::{Space, Type};
use crate::span::Span;
use btc_payload::event::{Action, EventId};
use btc_payload::manifest::{MapId, MapKind};
use btc_payload::probe::AttachPoint;
use btc_payload::start::StartValue;
use std::collections::{BTreeMap, BTreeSet};

/// A typed expression, or nothing when its type cannot be told.
pub(super) type Typed = Option<Expr>;

/// What is known of a map.
#[derive(Clone, Debug)]
pub(super) struct MapInfo {
    pub name: String,
    /// `None` until the first use tells.
    pub key: Option<Type>,
    pub value: Option<Type>,
    /// Was a signed number stored that is no literal?
    pub signed: bool,
    /// From `let @m = kind(entries)`.
    pub declared: Option<(MapKind, u32)>,
    /// Is something stored in it, even if its type is not known yet?
    pub assigned: bool,
    pub span: Span,
    /// Where the value's type was decided, for messages.
    pub value_span: Span,
    /// Indices of the probes that use it.
    pub users: BTreeSet<usize>,
}

/// What a round of inference found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Learnt {
    Nothing,
    /// A larger type of something that has one.
    Wider,
    /// The first type of something.
    New,
}

/// The variables of a block.
#[derive(Default)]
pub(super) struct Scope {
    /// Those that live in it.
    pub names: BTreeMap<String, LocalId>,
    /// Those of them that `let` declared.
    pub declared: BTreeSet<String>,
    /// Those that both arms of an `if` in it assign, with the place of that `if`.
    pub in_arms: BTreeMap<String, Span>,
}

impl Scope {
    /// What has a value, whatever way was taken through the block.
    pub fn assigned(&self) -> BTreeSet<String> {
        let names = self.names.keys().filter(|n| !self.declared.contains(*n));
        names.chain(self.in_arms.keys()).cloned().collect()
    }
}

/// The probe whose code is being built.
pub(super) struct ProbeState {
    pub attach: AttachPoint,
    pub kind: ProgramKind,
    pub written: String,
    pub index: usize,
    pub locals: Vec<tree::Local>,
    pub scopes: Vec<Scope>,
    /// Variables whose type was written.
    pub fixed: Vec<LocalId>,
    pub loops: u32,
    /// Inside `for`, whose body may become a callback.
    pub callbacks: u32,
    /// The build of the binary whose debug information was used.
    pub binary: Option<btc_payload::binary::BinaryId>,
}

impl ProbeState {
    /// A probe of which nothing is checked yet.
    pub fn new(attach: AttachPoint, kind: ProgramKind, written: String, index: usize) -> ProbeState {
        let scopes = vec![Scope::default()];
        let (locals, fixed, binary) = (Vec::new(), Vec::new(), None);
        ProbeState { attach, kind, written, index, locals, scopes, fixed, loops: 0, callbacks: 0, binary }
    }
}

/// See the module's description.
pub(super) struct Checker<'a> {
    pub env: &'a Environment<'a>,
    pub maps: Vec<MapInfo>,
    map_names: BTreeMap<String, MapId>,
    /// Types of variables by probe and order of declaration.
    local_types: BTreeMap<(usize, u32), Type>,
    /// Those of them that a signed number was assigned to that is no literal.
    signed_locals: BTreeSet<(usize, u32)>,
    /// Variables to be declared before an `if`: the probe, the place, the name.
    lifted: Vec<(usize, Span, String)>,
    pub learnt: Learnt,
    /// What got a larger type last in this round, and where it was declared.
    pub grown: Option<(String, Span)>,
    /// Indices of the probes that use what was learnt.
    pub stale: BTreeSet<usize>,
    /// Maps whose type was asked for and not known.
    pub unknown: BTreeSet<String>,
    /// All that is stored into maps is known.
    pub settled: bool,
    pub diagnostics: Vec<Diagnostic>,
    pub program: tree::Program,
    pub probe: Option<ProbeState>,
    /// Inside `sizeof` and its kin, whose operand is not evaluated.
    pub unevaluated: u32,
}

impl<'a> Checker<'a> {
    pub fn new(env: &'a Environment<'a>) -> Self {
        Checker {
            env,
            maps: Vec::new(),
            map_names: BTreeMap::new(),
            local_types: BTreeMap::new(),
            signed_locals: BTreeSet::new(),
            lifted: Vec::new(),
            learnt: Learnt::Nothing,
            grown: None,
            stale: BTreeSet::new(),
            unknown: BTreeSet::new(),
            settled: false,
            diagnostics: Vec::new(),
            program: tree::Program::default(),
            probe: None,
            unevaluated: 0,
        }
    }

    /// Forgets what the last round built, keeps what it learnt.
    pub fn begin_round(&mut self) {
        self.learnt = Learnt::Nothing;
        self.grown = None;
        self.stale.clear();
        self.unknown.clear();
        self.diagnostics.clear();
        self.program = tree::Program { limits: self.env.limits, ..tree::Program::default() };
        self.probe = None;
    }

    pub fn types(&self) -> &'a TypeStore {
        self.env.types
    }

    // Reporting.

    /// Reports an error and gives nothing.
    pub fn error<T>(&mut self, code: Code, span: Span, message: impl Into<String>, label: &str) -> Option<T> {
        self.report(Diagnostic::error(code, message).at(span, label));
        None
    }

    pub fn report(&mut self, d: Diagnostic) {
        self.diagnostics.push(d);
    }

    /// As [`Self::report`], but only at the first of the places with this message.
    pub fn report_once(&mut self, d: Diagnostic) {
        if !self.diagnostics.iter().any(|old| old.code == d.code && old.message == d.message) {
            self.report(d);
        }
    }

    pub fn warn(&mut self, code: Code, span: Span, message: impl Into<String>, label: &str) {
        self.report(Diagnostic::warning(code, message).at(span, label));
    }

    /// The spelling of a type for messages.
    pub fn spell(&self, ty: &Type) -> String {
        types::spell(self.types(), ty)
    }

    // The probe at hand.

    /// Kind of program; code outside of probes does not exist.
    pub fn kind(&self) -> ProgramKind {
        self.probe.as_ref().map_or(ProgramKind::RawTracepointRun, |p| p.kind)
    }

    /// Where an address points that the script has as a mere number.
    pub fn default_space(&self) -> Space {
        match self.kind() {
            ProgramKind::Uprobe | ProgramKind::Uretprobe => Space::User,
            ProgramKind::Fentry | ProgramKind::Fexit | ProgramKind::Iter => Space::Kernel,
            _ => Space::Any,
        }
    }

    pub fn push_scope(&mut self) {
        if let Some(p) = &mut self.probe {
            p.scopes.push(Scope::default());
        }
    }

    pub fn pop_scope(&mut self) -> Option<Scope> {
        self.probe.as_mut()?.scopes.pop()
    }

    /// The variable of that name in the scopes around here.
    pub fn find_local(&self, name: &str) -> Option<LocalId> {
        self.probe.as_ref()?.scopes.iter().rev().find_map(|s| s.names.get(name).copied())
    }

    /// Declares before an `if`, from the next round on, a variable that is read behind
    /// it and has a value then, because both arms assign it. False where there is none.
    pub fn lift(&mut self, name: &str) -> bool {
        let Some(p) = &self.probe else { return false };
        let Some(at) = p.scopes.iter().rev().find_map(|s| s.in_arms.get(name).copied()) else { return false };
        let probe = p.index;
        self.lifted.push((probe, at, name.to_string()));
        // The variables behind it get other numbers.
        self.local_types.retain(|known, _| known.0 != probe);
        self.learn(true);
        self.stale.insert(probe);
        true
    }

    /// Declares what [`Self::lift`] found for the `if` at this place.
    pub fn declare_lifted(&mut self, at: Span) {
        let Some(probe) = self.probe.as_ref().map(|p| p.index) else { return };
        let names: Vec<String> =
            self.lifted.iter().filter(|l| (l.0, l.1) == (probe, at)).map(|l| l.2.clone()).collect();
        for name in names {
            if self.find_local(&name).is_none() {
                self.declare_local(&name, None, at);
            }
        }
    }

    /// Declares a variable in the innermost scope. `ty`: fixed, else inferred.
    pub fn declare_local(&mut self, name: &str, ty: Option<Type>, span: Span) -> Option<LocalId> {
        let p = self.probe.as_mut()?;
        let id = LocalId(p.locals.len() as u32);
        let known = ty.or_else(|| self.local_types.get(&(p.index, id.0)).cloned());
        // `Void` stands for "not known yet"; a last round with one left reports it.
        p.locals.push(tree::Local {
            name: name.split('#').next().unwrap_or(name).to_string(),
            ty: known.unwrap_or(Type::Void),
            address_taken: false,
            span,
        });
        p.scopes.last_mut()?.names.insert(name.to_string(), id);
        Some(id)
    }

    pub fn local_type(&self, id: LocalId) -> Option<Type> {
        let ty = &self.probe.as_ref()?.locals.get(id.0 as usize)?.ty;
        (*ty != Type::Void).then(|| ty.clone())
    }

    /// Widens a variable's type so that it holds `ty`; false where nothing holds both.
    /// `natural`: the value is a literal that is not negative.
    pub fn widen_local(&mut self, id: LocalId, ty: &Type, natural: bool) -> bool {
        let Some(p) = self.probe.as_mut() else { return false };
        let place = (p.index, id.0);
        let old_natural = !self.signed_locals.contains(&place);
        if !natural && is_signed(ty) && self.signed_locals.insert(place) && self.local_types.contains_key(&place) {
            // Where it was taken for a natural number, it is none any more.
            self.stale.insert(p.index);
            self.learnt = self.learnt.max(Learnt::Wider);
        }
        let local = &mut p.locals[id.0 as usize];
        let joined = match &local.ty {
            Type::Void => Some(ty.clone()),
            old => types::join_naturals((old, old_natural), (ty, natural)),
        };
        let Some(joined) = joined else { return false };
        if joined != local.ty {
            let new = local.ty == Type::Void;
            local.ty = joined.clone();
            self.grown = (!new).then(|| (local.name.clone(), local.span)).or(self.grown.take());
            self.local_types.insert((p.index, id.0), joined);
            self.stale.insert(p.index);
            self.learn(new);
        }
        true
    }

    /// Notes that a variable whose type is given holds natural numbers only.
    pub fn holds_naturals(&mut self, id: LocalId, ty: &Type) {
        if let Some(p) = &self.probe {
            self.local_types.insert((p.index, id.0), ty.clone());
        }
    }

    /// Is it a number that is at home in unsigned types as well as in signed ones: a
    /// literal that is not negative, or something that only ever is given such?
    pub fn is_natural(&self, e: &Expr) -> bool {
        if let ExprKind::Const(_) = e.kind {
            return literal(e).is_some_and(|v| v >= 0);
        }
        if !is_signed(&e.ty) {
            return false;
        }
        match &e.kind {
            ExprKind::Local(id) => self.probe.as_ref().is_some_and(|p| {
                let place = (p.index, id.0);
                self.local_types.contains_key(&place) && !self.signed_locals.contains(&place) && !p.fixed.contains(id)
            }),
            ExprKind::MapRead { map, .. } => {
                let info = self.map_info(*map);
                !info.signed && matches!(info.value, Some(Type::Int { .. }))
            }
            ExprKind::Ternary { then, otherwise, .. } => self.is_natural(then) && self.is_natural(otherwise),
            ExprKind::Block { value, .. } => self.is_natural(value),
            // Implicit conversions have the place of what they convert, casts their own.
            ExprKind::Convert(inner) => inner.span == e.span && self.is_natural(inner),
            _ => false,
        }
    }

    /// Where a variable holds the address of another one whose type turned out to be
    /// larger than it was taken for, it points to the larger type.
    pub fn follow_address(&mut self, id: LocalId, value: &Expr) {
        let (ExprKind::AddressOfLocal(_) | ExprKind::AddressOfMap { .. }, Type::Pointer { to: new, .. }) =
            (&value.kind, &value.ty)
        else {
            return;
        };
        let Some(p) = self.probe.as_mut() else { return };
        let local = &mut p.locals[id.0 as usize];
        let Type::Pointer { to: old, space: Space::Bpf } = &local.ty else { return };
        let grew = match (&**old, &**new) {
            (Type::Int { size: old, .. }, Type::Int { size: new, .. }) => old < new,
            _ => old != new && types::join(old, new).as_ref() == Some(new),
        };
        if grew {
            local.ty = value.ty.clone();
            self.grown = Some((local.name.clone(), local.span));
            self.local_types.insert((p.index, id.0), value.ty.clone());
            self.stale.insert(p.index);
            self.learn(false);
        }
    }

    /// A local the compiler itself needs.
    pub fn temporary(&mut self, name: &str, ty: Type, span: Span) -> Option<LocalId> {
        self.declare_local(name, Some(ty), span)
    }

    /// Notes that a type is new, or wider than before: another round is needed.
    fn learn(&mut self, new: bool) {
        self.learnt = self.learnt.max(if new { Learnt::New } else { Learnt::Wider });
    }

    // Maps.

    /// Notes that what is known of a map has changed for those who use it.
    pub fn spread(&mut self, map: usize) {
        self.stale.extend(&self.maps[map].users);
    }

    fn note_growth(&mut self, map: MapId, new: bool) {
        let info = self.map_info(map);
        self.grown = (!new).then(|| (info.name.clone(), info.span)).or(self.grown.take());
    }

    /// The map of that name, known from now on.
    pub fn map(&mut self, name: &str, span: Span) -> MapId {
        let user = self.probe.as_ref().map(|p| p.index);
        if let Some(&id) = self.map_names.get(name) {
            self.map_info_mut(id).users.extend(user);
            return id;
        }
        let id = MapId(self.maps.len() as u32);
        self.maps.push(MapInfo {
            name: name.into(),
            key: None,
            value: None,
            signed: false,
            declared: None,
            assigned: false,
            span,
            value_span: span,
            users: user.into_iter().collect(),
        });
        self.map_names.insert(name.into(), id);
        id
    }

    pub fn map_info(&self, id: MapId) -> &MapInfo {
        &self.maps[id.0 as usize]
    }

    pub fn map_info_mut(&mut self, id: MapId) -> &mut MapInfo {
        &mut self.maps[id.0 as usize]
    }

    /// Makes a map's key hold `ty`.
    pub fn widen_key(&mut self, id: MapId, ty: &Type, span: Span) -> Option<()> {
        let ty = &types::in_memory(ty);
        let info = self.map_info(id);
        let joined = match &info.key {
            None => Some(ty.clone()),
            Some(old) => types::join(old, ty),
        };
        let Some(joined) = joined else {
            let (old, first) = (info.key.clone().unwrap_or(Type::Void), info.span);
            let unit = Type::Tuple(Vec::new());
            let message = if old == unit {
                format!("map `{}` has no keys", info.name)
            } else if *ty == unit {
                format!("map `{}` needs a key", info.name)
            } else {
                format!("key of `{}` is `{}` here, `{}` elsewhere", info.name, self.spell(ty), self.spell(&old))
            };
            self.report(
                Diagnostic::error("E0222", message).at(span, "does not fit").also(first, "the map is first used here"),
            );
            return None;
        };
        if info.key.as_ref() != Some(&joined) {
            let new = info.key.is_none();
            self.map_info_mut(id).key = Some(joined);
            self.note_growth(id, new);
            self.spread(id.0 as usize);
            self.learn(new);
        }
        Some(())
    }

    /// Makes a map's value hold `ty`. `natural`: the value is a literal that is not negative.
    pub fn widen_value(&mut self, id: MapId, (ty, natural): (&Type, bool), span: Span) -> Option<()> {
        let ty = &types::in_memory(ty);
        let info = self.map_info(id);
        let joined = match &info.value {
            None => Some(ty.clone()),
            Some(old) => types::join_naturals((old, !info.signed), (ty, natural)),
        };
        if !natural && is_signed(ty) && !info.signed {
            let known = info.value.is_some();
            self.map_info_mut(id).signed = true;
            if known {
                self.spread(id.0 as usize);
                self.learn(false);
            }
        }
        let info = self.map_info(id);
        let Some(joined) = joined else {
            let (old, first) = (info.value.clone().unwrap_or(Type::Void), info.value_span);
            let message =
                format!("`{}` holds `{}`, but `{}` is stored here", info.name, self.spell(&old), self.spell(ty));
            self.report(
                Diagnostic::error("E0223", message)
                    .at(span, "another type")
                    .also(first, "its type was decided here")
                    .help("a map holds values of one type; use a second map, or a cast"),
            );
            return None;
        };
        if info.value.as_ref() != Some(&joined) {
            let first = info.value.is_none();
            let info = self.map_info_mut(id);
            info.value = Some(joined);
            if first {
                info.value_span = span;
            }
            self.note_growth(id, first);
            self.spread(id.0 as usize);
            self.learn(first);
        }
        Some(())
    }

    /// Names of the maps used so far that look like `name`.
    pub fn similar_map(&self, name: &str) -> Option<String> {
        nearest(name, self.maps.iter().filter(|m| m.value.is_some()).map(|m| m.name.as_str())).map(str::to_string)
    }

    /// Names of the variables in scope that look like `name`.
    pub fn similar_local(&self, name: &str) -> Option<String> {
        let p = self.probe.as_ref()?;
        nearest(name, p.scopes.iter().flat_map(|s| s.names.keys()).map(String::as_str).filter(|n| !n.contains('#')))
            .map(str::to_string)
    }

    // Parts of the program.

    /// The start value, shared by all that ask for the same.
    pub fn slot(&mut self, value: StartValue, ty: Type) -> SlotId {
        let at = self.program.slots.iter().position(|s| s.value == value && s.ty == ty);
        SlotId(at.unwrap_or_else(|| {
            self.program.slots.push(tree::Slot { value, ty });
            self.program.slots.len() - 1
        }) as u32)
    }

    /// A start value as an expression.
    pub fn start(&mut self, value: StartValue, ty: Type, span: Span) -> Expr {
        let slot = self.slot(value, ty.clone());
        Expr { kind: ExprKind::Start(slot), ty, span }
    }

    /// Sends a record.
    pub fn emit(&mut self, action: Action, args: Vec<Expr>, span: Span) -> Expr {
        let event = EventId(self.program.events.len() as u32);
        let fields = args.iter().map(|a| a.ty.clone()).collect();
        self.program.events.push(tree::Event { action, fields, span });
        Expr { kind: ExprKind::Emit { event, args }, ty: Type::Void, span }
    }

    /// How `$n` is used.
    pub fn positional(&mut self, n: u32) -> &mut btc_payload::manifest::Positional {
        let list = &mut self.program.positional;
        if list.len() < n as usize {
            list.resize(n as usize, Default::default());
        }
        &mut list[n.max(1) as usize - 1]
    }
}

fn is_signed(ty: &Type) -> bool {
    matches!(ty, Type::Int { signed: true, .. })
}

/// A constant.
pub(super) fn constant(value: u64, ty: Type, span: Span) -> Expr {
    Expr { kind: ExprKind::Const(value), ty, span }
}

/// An integer literal: a constant that still takes the type it is needed in.
pub(super) fn literal(e: &Expr) -> Option<i128> {
    match (&e.kind, &e.ty) {
        (ExprKind::Const(v), Type::Int { signed: true, .. }) => Some(i128::from(*v as i64)),
        (ExprKind::Const(v), Type::Int { signed: false, .. }) => Some(i128::from(*v)),
        _ => None,
    }
}

/// The key of scalar maps.
pub(super) fn unit(span: Span) -> Expr {
    Expr { kind: ExprKind::Tuple { elements: Vec::new(), evaluation: Vec::new() }, ty: Type::Tuple(Vec::new()), span }
}
