//! Where values in memory live: stack for the small, scratch for the large.
//!
//! In: sizes. Out: [`Own`] places. Invariants: both are used in stack discipline,
//! a statement gives back what it took; the 512 bytes of stack are shared with
//! spills and callers, so a function stays below its budget and moves what does
//! not fit to scratch memory, of which there is plenty.

use super::function::Fun;
use super::scratch::SCRATCH_HEADER;
use crate::clif::{Mem, Ptr, StackMark, Value};

/// Bytes of stack that a program's temporaries may take; the rest is for spills
/// and for the frames of what it calls.
pub(super) const PROGRAM_STACK: u32 = 200;
/// Bytes of stack that a program's temporaries and the C functions that it calls may
/// take together.
pub(super) const STACK_BESIDES_CALLEES: u32 = 360;
/// The same for a callback: its caller's frame counts against the same 512 bytes.
pub(super) const CALLBACK_STACK: u32 = 64;
/// Largest offset that a load or store carries itself.
const MAX_DISPLACEMENT: u32 = i16::MAX as u32;

/// Memory of the program's own: stack, scratch, map value, record, `.rodata`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Own {
    /// Where.
    pub(super) ptr: Ptr,
    /// Alignment of the object that `ptr` points into, before its displacement.
    base_align: u32,
    /// On the stack every access must be aligned, on all kernels; elsewhere the
    /// verifier leaves that to the machine.
    pub(super) stack: bool,
}

impl Own {
    /// Memory outside the stack whose start is 8-byte aligned.
    pub(super) fn new(ptr: Ptr) -> Own {
        Own { ptr, base_align: 8, stack: false }
    }

    /// Stack memory.
    pub(super) fn on_stack(ptr: Ptr) -> Own {
        Own { ptr, base_align: 8, stack: true }
    }

    /// The place `bytes` further on.
    pub(super) fn at(self, bytes: u32) -> Own {
        Own { ptr: self.ptr.at(bytes as i32), ..self }
    }

    /// A place computed by the program, of which only the alignment of its step is known.
    pub(super) fn moved(self, ptr: Ptr, step: u32) -> Own {
        let align = self.align().min(1 << step.trailing_zeros().min(3));
        Own { ptr, base_align: align, stack: self.stack }
    }

    /// Known alignment: 1, 2, 4 or 8.
    pub(super) fn align(self) -> u32 {
        let displacement = self.ptr.offset.unsigned_abs();
        self.base_align.min(1 << displacement.trailing_zeros().min(3))
    }

    /// Width of the widest access that is allowed here.
    pub(super) fn access(self) -> u32 {
        if self.stack { self.align() } else { 8 }
    }
}

/// The memory of one function.
pub(super) struct Frame {
    /// Start of the claimed scratch slot.
    pub(super) base: Option<Value>,
    /// Bytes of scratch in use.
    used: u32,
    /// The most that was ever in use.
    pub(super) high: u32,
    live: u32,
    budget: u32,
}

/// See [`Fun::mark`].
#[derive(Clone, Copy)]
pub(super) struct Mark {
    stack: StackMark,
    live: u32,
    used: u32,
}

impl Frame {
    /// A frame whose scratch part begins behind the first `used` bytes.
    pub(super) fn new(base: Option<Value>, used: u32, budget: u32) -> Frame {
        let used = used.max(SCRATCH_HEADER);
        Frame { base, used, high: 0, live: 0, budget }
    }

    /// Bytes of scratch in use.
    pub(super) fn used(&self) -> u32 {
        self.used
    }
}

impl Fun<'_, '_, '_> {
    /// Remembers how much memory is in use.
    pub(super) fn mark(&self) -> Mark {
        Mark { stack: self.b.stack_mark(), live: self.frame.live, used: self.frame.used }
    }

    /// Gives back what was taken since the mark.
    pub(super) fn release(&mut self, mark: Mark) {
        self.b.stack_release(mark.stack);
        self.frame.live = mark.live;
        self.frame.used = mark.used;
    }

    /// Stack memory, whatever it costs; for what must lie there or is small.
    pub(super) fn stack(&mut self, name: &str, size: u32) -> Own {
        self.frame.live += size.max(1).next_multiple_of(8);
        Own::on_stack(self.b.push_stack(name, size))
    }

    /// Memory for an object of `size` bytes, 8-byte aligned, content undefined.
    pub(super) fn temp(&mut self, name: &str, size: u32) -> Own {
        let room = size.max(1).next_multiple_of(8);
        let fits = self.frame.live + room <= self.frame.budget;
        if size <= self.cx.program.limits.on_stack_limit && fits {
            return self.stack(name, size);
        }
        self.scratch(size)
    }

    /// Memory that is not on the stack: variable offsets into it need no
    /// alignment, and helpers may write it in part.
    pub(super) fn scratch(&mut self, size: u32) -> Own {
        let at = self.frame.used;
        // Helpers may read up to the next word behind a text.
        self.frame.used += size.max(1).next_multiple_of(8);
        self.frame.high = self.frame.high.max(self.frame.used);
        let base = self.frame.base.unwrap_or_else(|| self.b.iconst(0));
        if at <= MAX_DISPLACEMENT / 2 {
            return Own::new(self.b.pointer(Mem::Bpf, base).at(at as i32));
        }
        let far = self.b.iconst(i64::from(at));
        let moved = self.b.add(base, far);
        Own::new(self.b.pointer(Mem::Bpf, moved))
    }
}
