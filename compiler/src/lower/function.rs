//! One program: prologue, predicate, body, ways out.
//!
//! In: a probe. Out: its function in the module. Invariants: whoever does not
//! need scratch memory never asks for it; a predicate that is false costs no
//! claim; every way out of the body passes the one exit block.

use btc_payload::start::{Feature, StartValue};
use std::collections::BTreeMap;

use super::frame::{CALLBACK_STACK, Frame, Own, PROGRAM_STACK, STACK_BESIDES_CALLEES};
use super::loops::{Capture, LoopTarget};
use super::scratch::SCRATCH_HEADER;
use super::{Cx, R, Role, Temporaries};
use crate::clif::{Block, Bool, FuncBuilder, Mem, Module, Ptr, Value, Var, Width};
use crate::helper::Helper;
use crate::hir::tree::{Expr, ExprKind, Intrinsic, LocalId, Probe, ProgramKind};
use crate::hir::types::Type;
use crate::hir::visit::{Node, walk_block, walk_expr};
use crate::span::Span;

/// Where a scratch variable lives.
#[derive(Clone, Copy)]
pub(super) enum Home {
    /// In a register.
    Register(Var),
    /// In memory.
    Memory(Own),
}

/// How a function is left.
#[derive(Clone, Copy)]
pub(super) enum Exit {
    /// Through this block, with the result in the variable.
    Program { block: Block, result: Var },
    /// By telling the caller, through the capture, what to do.
    Callback(Capture),
}

/// The function being built.
pub(super) struct Fun<'f, 'm, 'p> {
    pub(super) b: &'f mut FuncBuilder<'m>,
    pub(super) cx: &'f mut Cx<'p>,
    pub(super) probe: &'p Probe,
    pub(super) index: usize,
    /// The program's context.
    pub(super) context: Ptr,
    pub(super) locals: BTreeMap<LocalId, Home>,
    pub(super) frame: Frame,
    /// Holds the claimed scratch slot.
    pub(super) scratch: Var,
    pub(super) exit: Exit,
    pub(super) loops: Vec<LoopTarget>,
    /// Are kernel pointers to keep the types that the verifier tracks?
    pub(super) typed: bool,
    /// Is a record reserved? Then nothing may leave the function.
    pub(super) span: Span,
}

/// Translates a probe.
pub(super) fn program<'p>(cx: &mut Cx<'p>, module: &mut Module, index: usize, probe: &'p Probe) -> R<()> {
    let id = module.declare(super::function_name(probe), 1);
    cx.declared(id, index, Role::Program(probe.kind));
    module.define(id, |b| {
        let context = b.ctx();
        let scratch = b.var();
        let exit = Exit::Program { block: b.create_block(), result: b.var() };
        let own = match cx.temporaries {
            Temporaries::OnStack => own_stack(probe),
            Temporaries::InScratch => 0,
        };
        let frame = Frame::new(None, SCRATCH_HEADER, own);
        let mut f = Fun {
            b,
            cx,
            probe,
            typed: false,
            index,
            context,
            locals: BTreeMap::new(),
            frame,
            scratch,
            exit,
            loops: Vec::new(),
            span: probe.span,
        };
        f.whole_program()
    })
}

/// What a program's temporaries may take of the stack: less if it calls C functions,
/// whose frames count against the same 512 bytes.
fn own_stack(probe: &Probe) -> u32 {
    let mut called = 0;
    let mut look = |node: Node<'_>| {
        if let Node::Expr(Expr { kind: ExprKind::Intrinsic { which: Intrinsic::Imported { stack, .. }, .. }, .. }) =
            node
        {
            called = called.max(*stack);
        }
    };
    walk_block(&probe.body, &mut look);
    probe.predicate.iter().for_each(|e| walk_expr(e, &mut look));
    PROGRAM_STACK.min(STACK_BESIDES_CALLEES.saturating_sub(called))
}

/// A point at which scratch memory can be claimed, decided later.
struct ClaimPoint {
    claim: Block,
    body: Block,
}

impl Fun<'_, '_, '_> {
    fn whole_program(&mut self) -> R<()> {
        let Exit::Program { block: exit, result } = self.exit else {
            return super::internal("a program without exit", self.probe.span);
        };
        self.locate(self.probe.span);
        let zero = self.b.iconst(0);
        self.b.set(result, zero);
        self.pass_gate();
        self.pass_stop();
        self.filter_pid();
        let early = self.claim_point();
        let predicate = match &self.probe.predicate {
            Some(e) => {
                // Macros and blocks in the predicate have variables of their own.
                let own = super::loops::uses_in_expr(e);
                self.place_locals(|id| own.contains_key(&id));
                Some(self.condition(e)?)
            }
            None => None,
        };
        let early_claim = self.frame.high > 0;
        if let Some(holds) = predicate {
            let (go, stop) = (self.b.create_block(), self.b.create_block());
            self.b.branch(holds, go, stop);
            self.b.seal(go);
            self.b.seal(stop);
            self.b.switch_to(stop);
            if early_claim {
                self.b.jump(exit);
            } else {
                self.b.ret_const(0);
            }
            self.b.switch_to(go);
        }
        let late = self.claim_point();
        self.place_locals(|_| true);
        self.block(&self.probe.body)?;
        self.b.jump(exit);

        let needed = self.frame.high > 0;
        self.cx.scratch = self.cx.scratch.max(self.frame.high);
        self.resolve(early, early_claim);
        self.resolve(late, needed && !early_claim);
        self.b.switch_to(exit);
        self.b.seal(exit);
        if needed {
            self.release_scratch();
        }
        let value = self.b.get(result);
        self.b.ret(value);
        Ok(())
    }

    fn claim_point(&mut self) -> ClaimPoint {
        let point = ClaimPoint { claim: self.b.create_block(), body: self.b.create_block() };
        self.b.jump(point.claim);
        self.b.seal(point.claim);
        self.b.switch_to(point.body);
        let base = self.b.get(self.scratch);
        self.frame.base = Some(base);
        point
    }

    fn resolve(&mut self, point: ClaimPoint, claim: bool) {
        self.b.switch_to(point.claim);
        if claim {
            self.claim_scratch(point.body);
        } else {
            self.b.jump(point.body);
        }
        self.b.seal(point.body);
    }

    /// Gives variables their homes, those that have none yet.
    fn place_locals(&mut self, which: impl Fn(LocalId) -> bool) {
        for (i, local) in self.probe.locals.iter().enumerate() {
            let id = LocalId(i as u32);
            if self.locals.contains_key(&id) || !which(id) {
                continue;
            }
            let home = if local.ty.is_scalar() && !local.address_taken {
                Home::Register(self.b.var())
            } else {
                let size = self.cx.layouts.of(&local.ty).size();
                Home::Memory(self.temp(&local.name, size))
            };
            self.locals.insert(id, home);
        }
    }

    /// Leaves at once when the tracer has closed the gate: what END and the last
    /// printing of maps see must not change under them, and detaching first
    /// would take an RCU grace period for each of the probes.
    fn pass_gate(&mut self) {
        use btc_payload::probe::AttachPoint::{Begin, End, SelfSignal};
        let always = matches!(self.probe.attach, Begin | End | SelfSignal { .. });
        if always || super::seq::is_pinned(&self.probe.attach) {
            return;
        }
        self.cx.gated = true;
        let gate = self.b.data(0);
        let closed = self.b.load(gate, Width::W64);
        let closed = self.b.nonzero(closed);
        let leave = self.b.begin_if(closed);
        self.b.ret_const(0);
        self.b.end_if(leave);
    }

    /// An iterator is called once more when there is no object left, to let it sum up.
    /// A probe is about objects. They stand behind `meta` in every context (the
    /// `bpf_iter__*` of the kernel).
    fn pass_stop(&mut self) {
        if self.probe.kind != ProgramKind::Iter {
            return;
        }
        let object = self.b.load(self.context.at(8), Width::W64);
        let present = self.b.nonzero(object);
        let stop = self.b.negate(present);
        let leave = self.b.begin_if(stop);
        self.b.ret_const(0);
        self.b.end_if(leave);
    }

    /// Does this kind of probe obey `-p`?
    pub(super) fn filters_pid(kind: ProgramKind) -> bool {
        !matches!(kind, ProgramKind::RawTracepointRun | ProgramKind::Iter)
    }

    /// Leaves at once if `-p` or `-c` names another process. The filter is
    /// constant for the verifier, so without one this disappears.
    fn filter_pid(&mut self) {
        let interval = matches!(self.probe.attach, btc_payload::probe::AttachPoint::Interval(_));
        if !Self::filters_pid(self.probe.kind) || interval {
            return;
        }
        let wanted = self.start_value(StartValue::PidFilter);
        let given = self.b.nonzero(wanted);
        let open = self.b.begin_if(given);
        let id = self.b.call_helper(Helper::GetCurrentPidTgid, &[]);
        let shift = self.b.iconst(32);
        let pid = self.b.ushr(id, shift);
        let other = self.b.compare(crate::clif::Cmp::Ne, pid, wanted);
        let leave = self.b.begin_if(other);
        self.b.ret_const(0);
        self.b.end_if(leave);
        self.b.end_if(open);
    }

    /// Attributes the code that follows to a place in the script.
    pub(super) fn locate(&mut self, span: Span) {
        self.span = span;
        let id = self.cx.srcloc(span);
        self.b.set_srcloc(id);
    }

    /// A start value that fills a word.
    pub(super) fn start_value(&mut self, value: StartValue) -> Value {
        let at = self.cx.start_word(value);
        self.rodata_word(at)
    }

    /// Loads a word of `.rodata`.
    pub(super) fn rodata_word(&mut self, at: u32) -> Value {
        let ptr = self.b.rodata(at);
        self.b.load(ptr, Width::W64)
    }

    /// Has the running kernel this feature? The verifier removes the other branch.
    pub(super) fn feature(&mut self, feature: Feature) -> Bool {
        let flag = self.start_value(StartValue::Feature(feature));
        self.b.nonzero(flag)
    }

    /// Leaves the program with this result.
    pub(super) fn leave(&mut self, value: Value) {
        match self.exit {
            Exit::Program { block, result } => {
                self.b.set(result, value);
                self.b.jump(block);
            }
            Exit::Callback(capture) => self.leave_callback(capture, value),
        }
    }

    /// The frame for a callback of this function.
    pub(super) fn callback_frame(base: Value, used: u32) -> Frame {
        Frame::new(Some(base), used, CALLBACK_STACK)
    }

    /// Memory of the program behind an address.
    pub(super) fn own(&mut self, address: Value) -> Own {
        Own::new(self.b.pointer(Mem::Bpf, address))
    }

    /// Zeros in `.rodata`.
    pub(super) fn zeros(&mut self) -> Value {
        let ptr = self.b.rodata(0);
        self.b.address(ptr)
    }

    /// Size of a type's layout.
    pub(super) fn size_of(&mut self, ty: &Type) -> u32 {
        self.cx.layouts.of(ty).size()
    }
}
