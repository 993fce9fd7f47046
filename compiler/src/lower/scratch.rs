//! Claiming and releasing a slot of scratch memory.
//!
//! In: a program that needs more memory than the stack has. Out: code that
//! claims one of this CPU's slots before the program's work and frees it on
//! every way out. Invariants: two activations never share a slot, whatever
//! interrupts or preempts whatever; a probe that finds no slot is counted.
//!
//! A slot begins with a word that is 1 while it is in use. It is claimed by an
//! atomic exchange, which needs Linux 5.12. Older kernels do not preempt a BPF
//! program (`migrate_disable` was `preempt_disable` before 5.11), so activations
//! nest strictly there, and whoever comes between load and store has freed its
//! slot again before the store.

use btc_payload::manifest::{LossCounter, SCRATCH_SLOTS};
use btc_payload::start::Feature;

use super::frame::Own;
use super::function::Fun;
use super::{Internal, R, Role, Subprogram};
use crate::clif::{Atomic, Block, Cmp, FuncId, Mem, Value, Width};
use crate::diagnostic::Diagnostic;
use crate::helper::Helper;

/// Bytes of a slot before the frame: the word that says whether it is in use.
pub(super) const SCRATCH_HEADER: u32 = 8;

impl Fun<'_, '_, '_> {
    /// Emits into the current block: claim a slot, go on to `body` with its
    /// address in the scratch variable, or count a loss and return.
    pub(super) fn claim_scratch(&mut self, body: Block) {
        let mark = self.mark();
        let cpu = self.b.call_helper(Helper::GetSmpProcessorId, &[]);
        let slots = self.b.iconst(i64::from(SCRATCH_SLOTS));
        let first = self.b.mul(cpu, slots);
        let round = self.b.var();
        let zero = self.b.iconst(0);
        self.b.set(round, zero);
        let key = self.stack("scratch slot", 4);

        let again = self.b.begin_loop();
        let i = self.b.get(round);
        let more = self.b.compare_const(Cmp::Ult, i, i64::from(SCRATCH_SLOTS));
        self.b.loop_while(&again, more);
        let slot = self.b.add(first, i);
        self.b.store(key.ptr, Width::W32, slot);
        let (map, key) = (self.internal_map(Internal::Scratch), self.b.address(key.ptr));
        let found = self.b.call_helper(Helper::MapLookupElem, &[map, key]);
        let present = self.b.nonzero(found);
        let open = self.b.begin_if(present);
        let busy = self.take(found);
        let free = self.b.compare_const(Cmp::Eq, busy, 0);
        let claimed = self.b.begin_if(free);
        self.b.set(self.scratch, found);
        self.b.jump(body);
        self.b.end_if(claimed);
        self.b.end_if(open);
        let one = self.b.iconst(1);
        let next = self.b.add(i, one);
        self.b.set(round, next);
        self.b.end_loop(again);

        self.count_loss(LossCounter::Scratch);
        self.b.ret_const(0);
        self.release(mark);
    }

    /// Marks a slot as used and tells whether it was.
    fn take(&mut self, slot: Value) -> Value {
        let word = self.b.pointer(Mem::Bpf, slot);
        let one = self.b.iconst(1);
        let was = self.b.var();
        let atomic = self.feature(Feature::FetchAtomics);
        let mut open = self.b.begin_if(atomic);
        let old = self.b.atomic_fetch(Atomic::Xchg, word, Width::W64, one);
        self.b.set(was, old);
        self.b.begin_else(&mut open);
        let old = self.b.load(word, Width::W64);
        self.b.set(was, old);
        let free = self.b.compare_const(Cmp::Eq, old, 0);
        let take = self.b.begin_if(free);
        self.b.store(word, Width::W64, one);
        self.b.end_if(take);
        self.b.end_if(open);
        self.b.get(was)
    }

    /// Frees the claimed slot.
    pub(super) fn release_scratch(&mut self) {
        let slot = self.b.get(self.scratch);
        let word = self.b.pointer(Mem::Bpf, slot);
        self.b.store_const(word, Width::W64, 0);
    }

    /// Adds one to a counter of losses.
    pub(super) fn count_loss(&mut self, counter: LossCounter) {
        let which = self.b.iconst(i64::from(counter as u32));
        if let Ok(function) = self.loss_counter() {
            self.b.call_subprog(function, &[which]);
        }
    }

    /// The function that counts. It is verified by itself: in a loop its branches would
    /// be walked for every turn.
    fn loss_counter(&mut self) -> R<FuncId> {
        if let Some(&id) = self.cx.subprograms.get(&Subprogram::CountLoss) {
            return Ok(id);
        }
        let id = self.b.module().declare("count_loss", 1);
        self.cx.declared(id, self.index, Role::Global);
        self.cx.subprograms.insert(Subprogram::CountLoss, id);
        let location = self.cx.srcloc(self.span);
        let losses = self.cx.internal(Internal::Losses);
        self.b.module().define(id, |b| -> Result<(), Box<Diagnostic>> {
            b.set_srcloc(location);
            let which = b.param(0);
            let key = b.push_stack("loss counter", 4);
            b.store(key, Width::W32, which);
            let (map, key) = (b.map(losses), b.address(key));
            let found = b.call_helper(Helper::MapLookupElem, &[map, key]);
            let present = b.nonzero(found);
            let open = b.begin_if(present);
            let counter = b.pointer(Mem::Bpf, found);
            let old = b.load(counter, Width::W64);
            let one = b.iconst(1);
            let new = b.add(old, one);
            b.store(counter, Width::W64, new);
            b.end_if(open);
            b.ret_const(0);
            Ok(())
        })?;
        Ok(id)
    }

    /// The address of an internal map.
    pub(super) fn internal_map(&mut self, map: Internal) -> Value {
        let index = self.cx.internal(map);
        self.b.map(index)
    }

    /// Adds to a 64-bit word of this CPU.
    pub(super) fn add_const(&mut self, place: Own, amount: i64) {
        let old = self.b.load(place.ptr, Width::W64);
        let amount = self.b.iconst(amount);
        let new = self.b.add(old, amount);
        self.b.store(place.ptr, Width::W64, new);
    }
}
