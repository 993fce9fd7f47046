//! Loops: natural ones, and callbacks of `bpf_loop` and `bpf_for_each_map_elem`.
//!
//! In: loop statements. Out: code. A callback is a function of its own; what it
//! shares with the code around it lies in a *capture*, a struct on the caller's
//! stack: context and scratch slot (pointers that the verifier tracks through
//! the stack), the outcome, and a word for each variable used on both sides:
//! the value of what lives in a register, the address of what lives in memory.

use btc_payload::manifest::MapId;
use btc_payload::start::Feature;
use std::collections::{BTreeMap, BTreeSet};

use super::frame::Own;
use super::function::{Exit, Fun, Home};
use super::map::per_cpu;
use super::memory::width;
use super::{R, Role, internal, unsupported};
use crate::clif::{Block as CodeBlock, Cmp, Mem, Symbol, Value};
use crate::helper::Helper;
use crate::hir::tree::{Block, Expr, ExprKind, Intrinsic, LocalId, Place, StmtKind};
use crate::hir::types::Type;
use crate::hir::visit::{Node, walk_block, walk_expr};
use crate::span::Span;

/// Ranges with at most this many rounds are natural loops, which every kernel
/// accepts; the verifier walks each round.
const NATURAL_ROUNDS: u64 = 128;
/// A loop of fewer rounds is walked quickly whatever its states are.
const BLURRED_ROUNDS: u64 = 8;
/// Most rounds that `bpf_loop` makes (`BPF_MAX_LOOPS`).
const MAX_ROUNDS: i64 = 8 << 20;

/// Words of a capture before the variables.
const CONTEXT: u32 = 0;
const SCRATCH: u32 = 8;
const OUTCOME: u32 = 16;
const RESULT: u32 = 24;
const EXTRA: u32 = 32;
const VARIABLES: u32 = 40;

/// The capture of a callback, seen from inside.
#[derive(Clone, Copy, Debug)]
pub(super) struct Capture {
    place: Own,
}

/// Where `break` and `continue` go.
#[derive(Clone, Copy)]
pub(super) enum LoopTarget {
    /// To these blocks.
    Natural { next: CodeBlock, exit: CodeBlock },
    /// Out of the callback.
    Callback,
}

/// A capture under construction, seen from outside.
struct Captured {
    place: Own,
    /// Variable and its word.
    variables: Vec<(LocalId, u32)>,
}

impl Fun<'_, '_, '_> {
    /// `while`.
    pub(super) fn while_loop(&mut self, condition: &Expr, body: &Block) -> R<()> {
        let open = self.b.begin_loop();
        let mark = self.mark();
        let inside = self.b.create_block();
        self.branch_on(condition, inside, open.exit)?;
        self.release(mark);
        self.b.seal(inside);
        self.b.switch_to(inside);
        self.loops.push(LoopTarget::Natural { next: open.header, exit: open.exit });
        let done = self.block(body);
        self.loops.pop();
        self.b.end_loop(open);
        done
    }

    /// A loop from `first` to before `end` with the counter in a register.
    fn counted(&mut self, first: Value, end: Value, cmp: Cmp, body: impl FnOnce(&mut Self, Value) -> R<()>) -> R<()> {
        let counter = self.b.var();
        self.b.set(counter, first);
        let open = self.b.begin_loop();
        let now = self.b.get(counter);
        let more = self.b.compare(cmp, now, end);
        self.b.loop_while(&open, more);
        let next = self.b.create_block();
        self.loops.push(LoopTarget::Natural { next, exit: open.exit });
        let done = body(self, now);
        self.loops.pop();
        self.b.jump(next);
        self.b.seal(next);
        self.b.switch_to(next);
        let one = self.b.iconst(1);
        let step = self.b.add(now, one);
        self.b.set(counter, step);
        self.b.end_loop(open);
        done
    }

    /// `unroll(constant)`: the verifier unrolls, the code stays small.
    pub(super) fn unrolled(&mut self, count: u32, body: &Block) -> R<()> {
        let (first, end) = (self.b.iconst(0), self.b.iconst(i64::from(count)));
        let blurred = self.blurred(body, u64::from(count));
        self.counted(first, end, Cmp::Ult, |f, _| {
            f.blur(&blurred);
            f.block(body)
        })
    }

    /// `unroll(expression)`.
    pub(super) fn repeat(&mut self, count: &Expr, limit: u32, body: &Block) -> R<()> {
        let wanted = self.scalar(count)?;
        let (first, end) = (self.b.iconst(0), self.b.iconst(i64::from(limit)));
        self.counted(first, end, Cmp::Ult, |f, now| {
            let within = f.b.compare(Cmp::Ult, now, wanted);
            let enough = f.b.negate(within);
            let stop = f.b.begin_if(enough);
            f.break_loop(count.span)?;
            f.b.end_if(stop);
            f.block(body)
        })
    }

    /// `for ($i : start..end)`.
    pub(super) fn for_range(&mut self, variable: LocalId, start: &Expr, end: &Expr, body: &Block, span: Span) -> R<()> {
        let Some(ty) = self.probe.locals.get(variable.0 as usize).map(|l| l.ty.clone()) else {
            return internal("unknown variable", span);
        };
        let (first, last) = (self.scalar(start)?, self.scalar(end)?);
        if let (Some(a), Some(b)) = (signed_constant(start), signed_constant(end))
            && (b <= a || b.abs_diff(a) <= NATURAL_ROUNDS)
        {
            let blurred = self.blurred(body, b.saturating_sub(a) as u64);
            return self.counted(first, last, Cmp::Slt, |f, now| {
                f.blur(&blurred);
                let value = f.wrap(now, &ty);
                f.set_local(variable, &ty, value, span)?;
                f.block(body)
            });
        }
        self.cx.require(Feature::Loop, "a loop over a range", span);
        let captured = self.capture(body, &[variable], span)?;
        self.b.store(captured.place.at(EXTRA).ptr, width(8), first);
        let function = self.callback("loop", Role::LoopCallback, (2, 1), &captured, body, |f, capture| {
            let (index, first) = (f.b.param(0), f.b.load(capture.place.at(EXTRA).ptr, width(8)));
            let now = f.b.add(first, index);
            let now = f.wrap(now, &ty);
            f.set_local(variable, &ty, now, span)
        })?;
        // No call without rounds: where the verifier knows that there are none it never
        // walks the callback, removes it as dead, and fails over the call's reference to
        // it (Linux 6.18: "verifier bug: No program to jit").
        let some = self.b.compare(Cmp::Slt, first, last);
        let open = self.b.begin_if(some);
        let (zero, most) = (self.b.iconst(0), self.b.iconst(MAX_ROUNDS));
        let rounds = self.b.sub(last, first);
        let rounds = self.b.umin(rounds, most);
        let callback = self.b.symbol(Symbol::Subprog(function));
        let context = self.b.address(captured.place.ptr);
        self.b.call_helper(Helper::Loop, &[rounds, callback, context, zero]);
        self.b.end_if(open);
        self.after_callback(&captured)
    }

    /// `for ($kv : @map)`.
    pub(super) fn for_map(&mut self, variable: LocalId, map: MapId, body: &Block, span: Span) -> R<()> {
        self.cx.require(Feature::ForEachMapElem, "a loop over a map", span);
        let Some(Type::Tuple(pair)) = self.probe.locals.get(variable.0 as usize).map(|l| l.ty.clone()) else {
            return internal("a loop over a map without key and value", span);
        };
        let [key_type, value_type] = pair.as_slice() else { return internal("key and value", span) };
        let info = self.cx.map(map);
        let (key_size, value_size) = (info.key.size(), info.value.size());
        let (aggregate, companion) = (info.value.is_aggregate(), info.keys);
        if aggregate && per_cpu(info.kind) && !value_type.is_scalar() {
            return unsupported("a loop over this kind of aggregation", span);
        }
        let captured = self.capture(body, &[variable], span)?;
        let function = self.callback("each", Role::MapCallback, (4, 3), &captured, body, |f, _| {
            let layouts = [f.cx.layouts.of(key_type), f.cx.layouts.of(value_type)];
            let (offsets, _) = btc_payload::layout::fields_layout(layouts.iter());
            let pair = f.local_memory(variable, span)?;
            let (key, value) = (f.own(f.b.param(1)), f.own(f.b.param(2)));
            if key_size > 0 {
                let key = match companion {
                    Some(keys) => f.long_key(keys),
                    None => key,
                };
                f.copy(pair.at(offsets[0]), key, key_size);
            }
            if aggregate {
                let key = f.b.param(1);
                let v = f.aggregate_value(map, key, value, value_type, span)?;
                f.store_scalar(pair.at(offsets[1]), value_type, v);
            } else {
                f.copy(pair.at(offsets[1]), value, value_size);
            }
            Ok(())
        })?;
        let (m, zero) = (self.b.map(map.0), self.b.iconst(0));
        let callback = self.b.symbol(Symbol::Subprog(function));
        let context = self.b.address(captured.place.ptr);
        self.b.call_helper(Helper::ForEachMapElem, &[m, callback, context, zero]);
        self.after_callback(&captured)
    }

    /// The full key of the entry that a callback sees; an entry without one has
    /// just been deleted and is passed over.
    fn long_key(&mut self, keys: u32) -> Own {
        let (m, hash) = (self.b.map(keys), self.b.param(1));
        let found = self.b.call_helper(Helper::MapLookupElem, &[m, hash]);
        let missing = self.b.compare_const(Cmp::Eq, found, 0);
        let open = self.b.begin_if(missing);
        self.b.ret_const(0);
        self.b.end_if(open);
        self.own(found)
    }

    /// `len(@map)`: a walk that does nothing counts the entries.
    pub(super) fn map_len(&mut self, map: MapId, span: Span) -> R<Value> {
        self.cx.require(Feature::ForEachMapElem, "len() of a map", span);
        let empty = Block::default();
        let captured = self.capture(&empty, &[], span)?;
        let function = self.callback("count", Role::MapCallback, (4, 3), &captured, &empty, |_, _| Ok(()))?;
        let (m, zero) = (self.b.map(map.0), self.b.iconst(0));
        let callback = self.b.symbol(Symbol::Subprog(function));
        let context = self.b.address(captured.place.ptr);
        Ok(self.b.call_helper(Helper::ForEachMapElem, &[m, callback, context, zero]))
    }

    /// Stores what a callback needs; `own` are variables that only it uses.
    fn capture(&mut self, body: &Block, own: &[LocalId], span: Span) -> R<Captured> {
        let inside = uses_in_block(body);
        let everywhere = self.uses();
        let shared: Vec<LocalId> = inside
            .iter()
            .filter(|(id, n)| !own.contains(id) && everywhere.get(id) > Some(n))
            .map(|(id, _)| *id)
            .collect();
        let place = self.stack("variables of a loop", VARIABLES + 8 * shared.len() as u32);
        let context = self.b.address(self.context);
        self.b.store(place.at(CONTEXT).ptr, width(8), context);
        let base = self.frame.base.unwrap_or_else(|| self.b.iconst(0));
        self.b.store(place.at(SCRATCH).ptr, width(8), base);
        for at in [OUTCOME, RESULT, EXTRA] {
            self.b.store_const(place.at(at).ptr, width(8), 0);
        }
        let mut variables = Vec::new();
        for (i, id) in shared.into_iter().enumerate() {
            let at = VARIABLES + 8 * i as u32;
            let word = match self.locals.get(&id) {
                Some(&Home::Register(var)) => self.b.get(var),
                Some(&Home::Memory(memory)) => self.b.address(memory.ptr),
                None => return internal("unknown variable", span),
            };
            self.b.store(place.at(at).ptr, width(8), word);
            variables.push((id, at));
        }
        Ok(Captured { place, variables })
    }

    /// Builds a callback. `(params, context)`: their number, and which is the capture.
    fn callback(
        &mut self,
        name: &str,
        role: Role,
        (params, context): (usize, usize),
        captured: &Captured,
        body: &Block,
        enter: impl FnOnce(&mut Fun<'_, '_, '_>, Capture) -> R<()>,
    ) -> R<crate::clif::FuncId> {
        let name = format!("{}_{name}_{}", super::function_name(self.probe), self.cx.functions.len());
        let id = self.b.module().declare(&name, params);
        self.cx.declared(id, self.index, role);
        let (cx, outer, probe, index, span) = (&mut *self.cx, &self.locals, self.probe, self.index, self.span);
        let used = self.frame.used();
        let mut high = 0;
        self.b.module().define(id, |b| -> R<()> {
            let place = Own::on_stack(b.pointer(Mem::Bpf, b.param(context)));
            let capture = Capture { place };
            let inner = b.load(place.at(CONTEXT).ptr, width(8));
            let inner = b.pointer(Mem::Ctx, inner);
            let base = b.load(place.at(SCRATCH).ptr, width(8));
            let scratch = b.var();
            let mut f = Fun {
                b,
                cx,
                probe,
                typed: false,
                index,
                context: inner,
                locals: BTreeMap::new(),
                frame: Fun::callback_frame(base, used),
                scratch,
                exit: Exit::Callback(capture),
                loops: vec![LoopTarget::Callback],
                span,
            };
            f.locate(span);
            f.enter_scope(outer, captured, capture)?;
            f.forget_values(body, captured);
            enter(&mut f, capture)?;
            f.block(body)?;
            f.b.ret_const(0);
            high = f.frame.high;
            Ok(())
        })?;
        self.frame.high = self.frame.high.max(high);
        Ok(id)
    }

    /// Gives the variables that a callback uses their homes.
    fn enter_scope(&mut self, outer: &BTreeMap<LocalId, Home>, captured: &Captured, capture: Capture) -> R<()> {
        for &(id, at) in &captured.variables {
            let word = capture.place.at(at);
            let home = match outer.get(&id) {
                Some(Home::Memory(original)) => {
                    let address = self.b.load(word.ptr, width(8));
                    let ptr = self.b.pointer(Mem::Bpf, address);
                    Home::Memory(if original.stack { Own::on_stack(ptr) } else { Own::new(ptr) })
                }
                _ => Home::Memory(word),
            };
            self.locals.insert(id, home);
        }
        for (i, local) in self.probe.locals.iter().enumerate() {
            let id = LocalId(i as u32);
            if self.locals.contains_key(&id) {
                continue;
            }
            let used = outer.contains_key(&id);
            if used && local.ty.is_scalar() && !local.address_taken {
                let var = self.b.var();
                self.locals.insert(id, Home::Register(var));
            } else if used {
                let size = self.size_of(&local.ty);
                let place = self.temp(&local.name, size);
                self.locals.insert(id, Home::Memory(place));
            }
        }
        Ok(())
    }

    /// Makes the verifier forget what it knows of the numbers that a callback changes.
    ///
    /// Since Linux 6.8 it walks a callback round by round until nothing new comes
    /// up (`check_helper_call` and `prepare_func_exit` in `kernel/bpf/verifier.c`).
    /// The values of `$n++` are new in every round, and once a branch behind the
    /// loop depends on `$n` it counts up to its limit of instructions. The sign of
    /// the process id is zero, which only we know.
    fn forget_values(&mut self, body: &Block, captured: &Captured) {
        let assigned = assigned_in_block(body);
        let mut numbers = Vec::new();
        for (id, _) in captured.variables.iter().filter(|(id, _)| assigned.contains(id)) {
            // Scratch memory is a map's value, whose content the verifier does not follow.
            let Some(&Home::Memory(place)) = self.locals.get(id) else { continue };
            if let (true, Some(local)) = (place.stack, self.probe.locals.get(id.0 as usize)) {
                self.numbers_in(&local.ty, place, &mut numbers);
            }
        }
        if numbers.is_empty() {
            return;
        }
        let id = self.b.call_helper(Helper::GetCurrentPidTgid, &[]);
        let top = self.b.iconst(63);
        let sign = self.b.sshr(id, top);
        for (ty, place) in numbers {
            let value = self.load_scalar(place, &ty);
            let same = self.b.xor(value, sign);
            self.store_scalar(place, &ty, same);
        }
    }

    /// Numbers that a natural loop changes, with the zero that makes the verifier forget
    /// them at the start of each round (see [`Self::forget_values`]).
    ///
    /// It walks each round of such a loop, and both sides of each `if`. Where one side
    /// changes a number that a later condition depends on, its states never meet again:
    /// two for each round, then four, ... What a `while` within uses stays known, as the
    /// end of that loop may depend on it.
    fn blurred(&mut self, body: &Block, rounds: u64) -> Option<(Value, Vec<LocalId>)> {
        let (mut branches, mut bounds) = (false, BTreeMap::new());
        walk_block(body, &mut |node| {
            let Node::Stmt(s) = node else { return };
            match &s.kind {
                StmtKind::If { .. } => branches = true,
                StmtKind::While { condition, body } => {
                    bounds.append(&mut uses_in_expr(condition));
                    bounds.append(&mut uses_in_block(body));
                }
                _ => {}
            }
        });
        let is_number = |id: &LocalId| {
            let integral = self.probe.locals.get(id.0 as usize).is_some_and(|l| l.ty.is_integral());
            integral && matches!(self.locals.get(id), Some(Home::Register(_)))
        };
        let assigned = assigned_in_block(body);
        let list: Vec<_> = assigned.into_iter().filter(|id| is_number(id) && !bounds.contains_key(id)).collect();
        if !branches || rounds < BLURRED_ROUNDS || list.is_empty() {
            return None;
        }
        let id = self.b.call_helper(Helper::GetCurrentPidTgid, &[]);
        let top = self.b.iconst(63);
        Some((self.b.sshr(id, top), list))
    }

    fn blur(&mut self, blurred: &Option<(Value, Vec<LocalId>)>) {
        let Some((zero, list)) = blurred else { return };
        for id in list {
            let Some(&Home::Register(var)) = self.locals.get(id) else { continue };
            let value = self.b.get(var);
            let same = self.b.xor(value, *zero);
            self.b.set(var, same);
        }
    }

    /// The numbers that a value consists of, each with its place.
    fn numbers_in(&mut self, ty: &Type, place: Own, out: &mut Vec<(Type, Own)>) {
        let parts: Vec<&Type> = match ty {
            Type::Tuple(list) => list.iter().collect(),
            Type::Record(list) => list.iter().map(|(_, ty)| ty).collect(),
            ty if ty.is_integral() => return out.push((ty.clone(), place)),
            _ => return,
        };
        let layouts: Vec<_> = parts.iter().map(|ty| self.cx.layouts.of(ty)).collect();
        let (offsets, _) = btc_payload::layout::fields_layout(layouts.iter());
        for (ty, at) in parts.into_iter().zip(offsets) {
            self.numbers_in(ty, place.at(at), out);
        }
    }

    /// Takes the variables back and does what the callback could not: leave.
    fn after_callback(&mut self, captured: &Captured) -> R<()> {
        for &(id, at) in &captured.variables {
            let Some(&Home::Register(var)) = self.locals.get(&id) else { continue };
            let ty = &self.probe.locals[id.0 as usize].ty;
            let value = self.load_scalar(captured.place.at(at), ty);
            self.b.set(var, value);
        }
        let outcome = self.b.load(captured.place.at(OUTCOME).ptr, width(8));
        let left = self.b.nonzero(outcome);
        let open = self.b.begin_if(left);
        let result = self.b.load(captured.place.at(RESULT).ptr, width(8));
        self.leave(result);
        self.b.end_if(open);
        Ok(())
    }

    /// `return` in a callback.
    pub(super) fn leave_callback(&mut self, capture: Capture, value: Value) {
        self.b.store(capture.place.at(RESULT).ptr, width(8), value);
        self.b.store_const(capture.place.at(OUTCOME).ptr, width(8), 1);
        self.b.ret_const(1);
    }

    /// `break`.
    pub(super) fn break_loop(&mut self, span: Span) -> R<()> {
        match self.loops.last() {
            Some(&LoopTarget::Natural { exit, .. }) => self.b.jump(exit),
            Some(LoopTarget::Callback) => self.b.ret_const(1),
            None => return internal("break outside a loop", span),
        }
        Ok(())
    }

    /// `continue`.
    pub(super) fn continue_loop(&mut self, span: Span) -> R<()> {
        match self.loops.last() {
            Some(&LoopTarget::Natural { next, .. }) => self.b.jump(next),
            Some(LoopTarget::Callback) => self.b.ret_const(0),
            None => return internal("continue outside a loop", span),
        }
        Ok(())
    }

    /// How often each variable is used in the whole probe.
    fn uses(&self) -> BTreeMap<LocalId, u32> {
        let mut uses = uses_in_block(&self.probe.body);
        if let Some(e) = &self.probe.predicate {
            walk_expr(e, &mut |node| count(node, &mut uses));
        }
        uses
    }
}

/// The variables of an expression, with the number of their uses.
pub(super) fn uses_in_expr(e: &Expr) -> BTreeMap<LocalId, u32> {
    let mut uses = BTreeMap::new();
    walk_expr(e, &mut |node| count(node, &mut uses));
    uses
}

fn uses_in_block(block: &Block) -> BTreeMap<LocalId, u32> {
    let mut uses = BTreeMap::new();
    walk_block(block, &mut |node| count(node, &mut uses));
    uses
}

/// Variables that a block changes.
fn assigned_in_block(block: &Block) -> BTreeSet<LocalId> {
    let mut assigned = BTreeSet::new();
    walk_block(block, &mut |node| {
        let id = match node {
            Node::Expr(Expr {
                kind: ExprKind::Increment { place: Place::Local(id), .. } | ExprKind::MapFind { into: id, .. },
                ..
            }) => *id,
            Node::Stmt(s) => match &s.kind {
                StmtKind::Assign { local: id, .. } | StmtKind::Zero(id) => *id,
                _ => return,
            },
            Node::Expr(Expr { kind: ExprKind::Intrinsic { which: Intrinsic::Imported { .. }, args }, .. }) => {
                // C code may write to what it is given the address of.
                args.iter().for_each(|a| walk_expr(a, &mut |node| assigned.extend(address_taken(node))));
                return;
            }
            Node::Expr(_) => return,
        };
        assigned.insert(id);
    });
    assigned
}

/// The variable whose address an expression is.
fn address_taken(node: Node<'_>) -> Option<LocalId> {
    match node {
        Node::Expr(Expr { kind: ExprKind::AddressOfLocal(id), .. }) => Some(*id),
        _ => None,
    }
}

fn count(node: Node<'_>, uses: &mut BTreeMap<LocalId, u32>) {
    let id = match node {
        Node::Expr(e) => match &e.kind {
            ExprKind::Local(id)
            | ExprKind::AddressOfLocal(id)
            | ExprKind::Increment { place: Place::Local(id), .. }
            | ExprKind::MapFind { into: id, .. } => *id,
            _ => return,
        },
        Node::Stmt(s) => match &s.kind {
            StmtKind::Assign { local: id, .. }
            | StmtKind::Zero(id)
            | StmtKind::ForRange { variable: id, .. }
            | StmtKind::ForMap { variable: id, .. } => *id,
            _ => return,
        },
    };
    *uses.entry(id).or_insert(0) += 1;
}

fn signed_constant(e: &Expr) -> Option<i64> {
    match e.kind {
        ExprKind::Const(v) => Some(v as i64),
        _ => None,
    }
}
