//! The stack frame: where each CLIF slot and each spilled value lives.
//!
//! A BPF function has 512 bytes below r10. Everything is 8-byte aligned: spilled
//! values because the verifier tracks pointers and bounds only through aligned
//! 64-bit stores, slots because it wants stack accesses aligned.

use cranelift_codegen::ir::{self, StackSlot};

use super::{Error, StackUse};

/// What the kernel grants a function (`MAX_BPF_STACK`).
pub const STACK_LIMIT: u32 = 512;

/// Offsets from r10.
#[derive(Debug)]
pub(super) struct Frame {
    slots: Vec<i32>,
    spills: i32,
    size: u32,
}

impl Frame {
    /// Lays out the slots used by `func`, then `spills` spill slots; fails if
    /// they do not fit, naming the largest slots.
    pub(super) fn new(
        func: &ir::Function,
        names: &[String],
        used: impl Fn(StackSlot) -> bool,
        spills: usize,
    ) -> Result<Frame, Error> {
        let mut slots = Vec::new();
        let mut uses = Vec::new();
        let mut size = 0_u32;
        for (slot, data) in func.sized_stack_slots.iter() {
            if used(slot) {
                let bytes = data.size.next_multiple_of(8);
                size = size.saturating_add(bytes);
                let name = names.get(slot.as_u32() as usize).cloned().unwrap_or_default();
                uses.push(StackUse { name, bytes });
            }
            slots.push(-(size as i32));
        }
        let frame = Frame { slots, spills: -(size as i32), size: size + 8 * spills as u32 };
        if frame.size <= STACK_LIMIT {
            return Ok(frame);
        }
        uses.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.name.cmp(&b.name)));
        uses.truncate(5);
        Err(Error::StackTooLarge {
            function: String::new(),
            bytes: frame.size,
            spilled: 8 * spills as u32,
            largest: uses,
        })
    }

    /// Offset of byte `offset` of a slot.
    pub(super) fn slot(&self, slot: StackSlot, offset: i32) -> i32 {
        self.slots[slot.as_u32() as usize] + offset
    }

    /// Offset of a spilled value.
    pub(super) fn spill(&self, index: usize) -> i32 {
        self.spills - 8 * (index as i32 + 1)
    }

    /// Bytes in use.
    pub(super) fn size(&self) -> u32 {
        self.size
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cranelift_codegen::ir::{StackSlotData, StackSlotKind};

    fn function(sizes: &[u32]) -> ir::Function {
        let mut func = ir::Function::new();
        for &size in sizes {
            func.create_sized_stack_slot(StackSlotData::new(StackSlotKind::ExplicitSlot, size, 3));
        }
        func
    }

    #[test]
    fn slots_and_spills_do_not_overlap() {
        let func = function(&[4, 16]);
        let frame = Frame::new(&func, &[], |_| true, 1).expect("fits");
        let offsets = (frame.slot(StackSlot::from_u32(0), 0), frame.slot(StackSlot::from_u32(1), 4), frame.spill(0));
        assert_eq!((offsets, frame.size()), ((-8, -20, -32), 32));
    }

    #[test]
    fn unused_slots_cost_nothing() {
        let func = function(&[400, 400]);
        let first = |slot: StackSlot| slot.as_u32() == 0;
        assert_eq!(Frame::new(&func, &[], first, 0).expect("fits").size(), 400);
    }

    #[test]
    fn overflow_names_the_largest_slots() {
        let func = function(&[8, 504]);
        let names = ["key".to_owned(), "buffer".to_owned()];
        match Frame::new(&func, &names, |_| true, 1) {
            Err(Error::StackTooLarge { bytes: 520, spilled: 8, largest, .. }) => {
                assert_eq!(largest[0].name, "buffer");
            }
            other => panic!("{other:?}"),
        }
    }
}
