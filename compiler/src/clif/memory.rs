//! Pointers, loads and stores, atomics, stack slots.

use cranelift_codegen::ir::{self, AtomicRmwOp, Endianness, InstBuilder, types::I64};

use super::{Atomic, FuncBuilder, Mem, Ptr, Symbol, Value, Width};

impl Mem {
    /// Memory flags: the optimiser moves a load only if `readonly`, `notrap`
    /// and `can_move` are all set; only what never changes and needs no null
    /// check may carry all three.
    pub(super) fn flags(self) -> ir::MemFlagsData {
        let flags = ir::MemFlagsData::trusted().with_endianness(Endianness::Little);
        match self {
            Mem::Ctx | Mem::Rodata => flags.with_readonly().with_can_move(),
            Mem::Bpf | Mem::Btf => flags,
        }
    }
}

/// Where the stack stood; see [`FuncBuilder::stack_mark`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StackMark(usize);

/// The stack slots of a function, reused in stack discipline.
///
/// Nobody colours slots later, and a program has 512 bytes in all: a slot that
/// was released serves the next request, growing if it has to.
#[derive(Debug, Default)]
pub(super) struct StackPool {
    /// What each slot was used for, by slot number.
    names: Vec<Vec<String>>,
    /// Slots in use, innermost last.
    live: Vec<ir::StackSlot>,
    free: Vec<ir::StackSlot>,
}

impl StackPool {
    pub(super) fn into_names(self) -> Vec<String> {
        self.names.into_iter().map(|uses| uses.join(", ")).collect()
    }

    /// The free slot that wastes least: the smallest that is large enough, else
    /// the largest, which then grows by the smallest amount.
    fn take_free(&mut self, size: u32, slots: &ir::StackSlots) -> Option<ir::StackSlot> {
        let size_of = |slot: &ir::StackSlot| slots[*slot].size;
        let fits = self.free.iter().filter(|slot| size_of(slot) >= size).min_by_key(|slot| size_of(slot));
        let slot = *fits.or_else(|| self.free.iter().max_by_key(|slot| size_of(slot)))?;
        self.free.retain(|&other| other != slot);
        Some(slot)
    }

    fn note_use(&mut self, slot: ir::StackSlot, name: &str) {
        let index = slot.as_u32() as usize;
        if self.names.len() <= index {
            self.names.resize(index + 1, Vec::new());
        }
        if !self.names[index].iter().any(|known| known == name) {
            self.names[index].push(name.to_owned());
        }
    }
}

impl FuncBuilder<'_> {
    /// A pointer from a value known to be an address, such as the result of a
    /// map lookup after its null check.
    pub fn pointer(&self, mem: Mem, base: Value) -> Ptr {
        Ptr { base: base.0, offset: 0, mem }
    }

    /// The address as a value, for a helper's argument or a null test.
    pub fn address(&mut self, ptr: Ptr) -> Value {
        if ptr.offset == 0 {
            return Value(ptr.base);
        }
        let offset = self.iconst(i64::from(ptr.offset));
        Value(self.inner.ins().iadd(ptr.base, offset.0))
    }

    /// The element at a variable number of bytes from `ptr`. The verifier must
    /// know bounds for `bytes`; on the stack it must also know the alignment.
    pub fn index(&mut self, ptr: Ptr, bytes: Value) -> Ptr {
        // An access that is guarded by a check of its bounds must not move.
        let mem = match ptr.mem {
            Mem::Rodata | Mem::Bpf => Mem::Bpf,
            Mem::Btf => Mem::Btf,
            Mem::Ctx => panic!("the verifier refuses variable context offsets"),
        };
        let base = self.inner.ins().iadd(ptr.base, bytes.0);
        Ptr { base, mem, ..ptr }
    }

    /// The field whose offset is `symbol` (a `Core` or `Ctx` symbol): selection
    /// folds it into the access as long as no further offset is added.
    ///
    /// If the field may be missing on the target, the access stands behind a
    /// test of its existence; then pass the address of `ptr` through
    /// [`barrier`](Self::barrier) there, or the sum may move above the test.
    pub fn field(&mut self, ptr: Ptr, symbol: Symbol) -> Ptr {
        let base = self.address(ptr);
        let offset = self.symbol(symbol);
        Ptr { base: self.inner.ins().iadd(base.0, offset.0), offset: 0, mem: ptr.mem }
    }

    /// Loads an unsigned number.
    pub fn load(&mut self, ptr: Ptr, width: Width) -> Value {
        let raw = self.load_raw(ptr, width);
        match width {
            Width::W64 => Value(raw),
            _ => Value(self.inner.ins().uextend(I64, raw)),
        }
    }

    /// Loads a signed number.
    pub fn load_signed(&mut self, ptr: Ptr, width: Width) -> Value {
        let raw = self.load_raw(ptr, width);
        match width {
            Width::W64 => Value(raw),
            _ => Value(self.inner.ins().sextend(I64, raw)),
        }
    }

    fn load_raw(&mut self, ptr: Ptr, width: Width) -> ir::Value {
        self.inner.ins().load(width.ty(), ptr.mem.flags(), ptr.base, ptr.offset)
    }

    /// Stores the low bytes of `value`.
    pub fn store(&mut self, ptr: Ptr, width: Width, value: Value) {
        assert_ne!(ptr.mem, Mem::Ctx, "loads from the context may move above stores to it");
        let raw = self.narrow(value, width);
        self.inner.ins().store(ptr.mem.flags(), raw, ptr.base, ptr.offset);
    }

    /// Stores a constant.
    pub fn store_const(&mut self, ptr: Ptr, width: Width, value: i64) {
        let value = self.iconst(value);
        self.store(ptr, width, value);
    }

    /// Fills `bytes` bytes (a multiple of the stores it takes) with zero.
    /// For what a helper reads as a whole: the verifier wants no byte unset.
    pub fn zero(&mut self, ptr: Ptr, bytes: u32) {
        let mut done = 0;
        while done < bytes {
            let width = match bytes - done {
                8.. => Width::W64,
                4.. => Width::W32,
                2.. => Width::W16,
                _ => Width::W8,
            };
            self.store_const(ptr.at(done as i32), width, 0);
            done += width.bytes();
        }
    }

    /// Changes memory atomically, result unused. `Add` and `Sub` work on every
    /// kernel; the others need 5.12.
    pub fn atomic(&mut self, op: Atomic, ptr: Ptr, width: Width, value: Value) {
        self.atomic_rmw(op, ptr, width, value);
    }

    /// Changes memory atomically and gives the old value. Needs kernel 5.12.
    ///
    /// For map values, not for the stack: the verifiers of 6.12 to 6.18 lose
    /// track of what such an access reads from the stack, and drop code that
    /// does run.
    pub fn atomic_fetch(&mut self, op: Atomic, ptr: Ptr, width: Width, value: Value) -> Value {
        let old = self.atomic_rmw(op, ptr, width, value);
        self.widen(old, width)
    }

    /// Stores `new` if memory holds `expected`; gives the old value. Needs
    /// kernel 5.12.
    pub fn atomic_cmpxchg(&mut self, ptr: Ptr, width: Width, expected: Value, new: Value) -> Value {
        let address = self.atomic_address(ptr, width);
        let (expected, new) = (self.narrow(expected, width), self.narrow(new, width));
        let old = self.inner.ins().atomic_cas(ptr.mem.flags(), address, expected, new);
        self.widen(old, width)
    }

    fn atomic_rmw(&mut self, op: Atomic, ptr: Ptr, width: Width, value: Value) -> ir::Value {
        let address = self.atomic_address(ptr, width);
        let value = self.narrow(value, width);
        let op = match op {
            Atomic::Add => AtomicRmwOp::Add,
            Atomic::Sub => AtomicRmwOp::Sub,
            Atomic::And => AtomicRmwOp::And,
            Atomic::Or => AtomicRmwOp::Or,
            Atomic::Xor => AtomicRmwOp::Xor,
            Atomic::Xchg => AtomicRmwOp::Xchg,
        };
        self.inner.ins().atomic_rmw(width.ty(), ptr.mem.flags(), op, address, value)
    }

    /// CLIF's atomics take no displacement; selection folds it back.
    fn atomic_address(&mut self, ptr: Ptr, width: Width) -> ir::Value {
        assert!(matches!(width, Width::W32 | Width::W64), "BPF has 32- and 64-bit atomics");
        assert_eq!(ptr.mem, Mem::Bpf, "atomics work on maps and the stack");
        self.address(ptr).0
    }

    pub(super) fn narrow(&mut self, value: Value, width: Width) -> ir::Value {
        match width {
            Width::W64 => value.0,
            _ => self.inner.ins().ireduce(width.ty(), value.0),
        }
    }

    fn widen(&mut self, value: ir::Value, width: Width) -> Value {
        match width {
            Width::W64 => Value(value),
            _ => Value(self.inner.ins().uextend(I64, value)),
        }
    }

    /// Takes `size` bytes of stack, 8-byte aligned, contents undefined, until
    /// [`pop_stack`](Self::pop_stack) or
    /// [`stack_release`](Self::stack_release). `name` appears in the message
    /// that the 512 bytes of stack do not suffice.
    pub fn push_stack(&mut self, name: &str, size: u32) -> Ptr {
        let size = size.max(1).next_multiple_of(8);
        let slots = &mut self.inner.func.sized_stack_slots;
        let slot = match self.stack.take_free(size, slots) {
            Some(slot) => {
                slots[slot].size = slots[slot].size.max(size);
                slot
            }
            None => {
                self.inner.create_sized_stack_slot(ir::StackSlotData::new(ir::StackSlotKind::ExplicitSlot, size, 3))
            }
        };
        self.stack.note_use(slot, name);
        self.stack.live.push(slot);
        Ptr { base: self.inner.ins().stack_addr(I64, slot, 0), offset: 0, mem: Mem::Bpf }
    }

    /// Gives back the stack taken last.
    pub fn pop_stack(&mut self) {
        let slot = self.stack.live.pop().expect("pop_stack pairs with push_stack");
        self.stack.free.push(slot);
    }

    /// Remembers how much stack is taken, to release what a statement took.
    pub fn stack_mark(&self) -> StackMark {
        StackMark(self.stack.live.len())
    }

    /// Gives back all stack taken since `mark`.
    pub fn stack_release(&mut self, mark: StackMark) {
        while self.stack.live.len() > mark.0 {
            self.pop_stack();
        }
    }
}
