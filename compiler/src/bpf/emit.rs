//! Emission: allocated machine code to BPF instructions.
//!
//! Blocks that only jump are bypassed, conditions are inverted so that the next
//! block is fallen into, jumps to a lone `exit` become that `exit`. Jump
//! distances are 16 bits, and `gotol` came only with kernel 6.6: in functions for
//! which they do not suffice, jumps go from island to island.

use std::collections::{BTreeSet, HashMap};

use cranelift_codegen::ir::StackSlot;
use regalloc2::{Allocation, Edit, Inst, InstOrEdit, Output};

use crate::clif::{Symbol, SymbolId, SymbolTable, Width};

use super::frame::Frame;
use super::insn::{self, AluOp, CALL, EXIT, Insn, JA, JmpOp, PSEUDO_CALL};
use super::regalloc;
use super::vcode::{Base, Mem, Op, Src, Target, Test, VCode};
use super::{Code, Error, Line, Reloc};

/// How a block ends.
#[derive(Clone, Copy, Debug)]
enum End {
    Exit,
    Jump(usize),
    /// Condition, target if it holds, target if not.
    Branch(Jump, usize, usize),
}

/// A conditional jump without its distance.
#[derive(Clone, Copy, Debug)]
struct Jump {
    op: JmpOp,
    wide: bool,
    left: u8,
    right: Right,
}

#[derive(Clone, Copy, Debug)]
enum Right {
    Reg(u8),
    Imm(i32),
}

impl Jump {
    fn insn(self, off: i16) -> Insn {
        match self.right {
            Right::Reg(right) => Insn::jump_reg(self.op, self.wide, self.left, right, off),
            Right::Imm(imm) => Insn::jump_imm(self.op, self.wide, self.left, imm, off),
        }
    }

    fn negated(self) -> Jump {
        Jump { op: self.op.negated(), ..self }
    }
}

/// The code of a block before jumps have distances.
#[derive(Debug)]
struct Body {
    insns: Vec<Insn>,
    relocs: Vec<Reloc>,
    lines: Vec<Line>,
    end: End,
    end_srcloc: u32,
}

/// Encodes a function. `frame` tells where slots and spills are.
pub(super) fn emit(code: &VCode, output: &Output, frame: &Frame, symbols: &SymbolTable) -> Result<Code, Error> {
    let bodies: Vec<Body> = regalloc::blocks(code)
        .map(|block| {
            let mut encoder = Encoder::new(frame, symbols);
            for item in output.block_insts_and_edits(code, block) {
                match item {
                    InstOrEdit::Inst(inst) => encoder.inst(code, inst, output.inst_allocs(inst)),
                    InstOrEdit::Edit(Edit::Move { from, to }) => encoder.move_value(*from, *to),
                }
            }
            let succs = code.blocks[block.index()].succs.iter().map(|succ| succ.index()).collect();
            encoder.finish(succs)
        })
        .collect();
    layout(bodies, frame.size())
}

/// Encodes the instructions of one block.
struct Encoder<'a> {
    frame: &'a Frame,
    symbols: &'a SymbolTable,
    insns: Vec<Insn>,
    relocs: Vec<Reloc>,
    lines: Vec<Line>,
    branch: Option<Jump>,
    returns: bool,
    srcloc: u32,
}

impl<'a> Encoder<'a> {
    fn new(frame: &'a Frame, symbols: &'a SymbolTable) -> Encoder<'a> {
        Encoder {
            frame,
            symbols,
            insns: Vec::new(),
            relocs: Vec::new(),
            lines: Vec::new(),
            branch: None,
            returns: false,
            srcloc: u32::MAX,
        }
    }

    fn finish(self, succs: Vec<usize>) -> Body {
        let end = match (self.branch, succs[..].first(), succs[..].get(1)) {
            _ if self.returns => End::Exit,
            (Some(jump), Some(&yes), Some(&no)) => End::Branch(jump, yes, no),
            (_, Some(&target), _) => End::Jump(target),
            _ => unreachable!("a block without successors returns"),
        };
        Body { insns: self.insns, relocs: self.relocs, lines: self.lines, end, end_srcloc: self.srcloc }
    }

    fn push(&mut self, insn: Insn) {
        self.insns.push(insn);
    }

    fn relocate(&mut self, symbol: SymbolId) {
        self.relocs.push(Reloc { insn: self.insns.len(), symbol });
    }

    /// A move between registers and spill slots.
    fn move_value(&mut self, from: Allocation, to: Allocation) {
        match (place(from), place(to)) {
            (Place::Reg(from), Place::Reg(to)) => self.move_reg(to, from),
            (Place::Reg(from), Place::Spill(to)) => {
                let offset = self.frame.spill(to) as i16;
                self.push(Insn::store_reg(size(Width::W64), insn::FP, offset, from));
            }
            (Place::Spill(from), Place::Reg(to)) => {
                let offset = self.frame.spill(from) as i16;
                self.push(Insn::load(size(Width::W64), to, insn::FP, offset));
            }
            (Place::Spill(_), Place::Spill(_)) => {
                unreachable!("the allocator moves between stack slots through a register")
            }
        }
    }

    fn move_reg(&mut self, to: u8, from: u8) {
        if to != from {
            self.push(Insn::alu_reg(AluOp::Mov, true, to, from));
        }
    }

    fn inst(&mut self, code: &VCode, inst: Inst, allocs: &[Allocation]) {
        let vinst = &code.insts[inst.index()];
        let regs: Vec<u8> = allocs.iter().map(|&alloc| register(alloc)).collect();
        if vinst.srcloc != u32::MAX && vinst.srcloc != self.srcloc {
            self.srcloc = vinst.srcloc;
            self.lines.push(Line { insn: self.insns.len(), srcloc: vinst.srcloc });
        }
        self.op(vinst.op, &regs);
    }

    fn op(&mut self, op: Op, regs: &[u8]) {
        match op {
            Op::Params | Op::Copy | Op::Jump => {}
            Op::Move => self.move_reg(regs[0], regs[1]),
            Op::Const(value) => self.constant(regs[0], value),
            Op::Symbol(symbol) => self.symbol(regs[0], symbol),
            Op::SlotAddr(slot, offset) => self.slot_address(regs[0], slot, offset),
            Op::Mov32 => self.push(Insn::alu_reg(AluOp::Mov, false, regs[0], regs[1])),
            Op::Alu { op, wide, rhs } => self.alu(op, wide, rhs, regs),
            Op::Neg { wide } => self.push(Insn::alu_imm(AluOp::Neg, wide, regs[0], 0)),
            Op::Swap { bits } => self.push(Insn::to_big_endian(regs[0], bits as i32)),
            Op::Load(mem) => {
                let (base, offset, _) = self.address(mem, &regs[1..]);
                self.push(Insn::load(size(mem.width), regs[0], base, offset));
            }
            Op::Store(mem, src) => self.store(mem, src, regs),
            Op::Atomic(mem, op) => self.atomic(mem, op as i32, regs),
            Op::AtomicFetch(mem, code) => self.atomic(mem, code, &regs[1..]),
            Op::CompareExchange(mem) => {
                let (base, offset, rest) = self.address(mem, &regs[1..]);
                let code = insn::ATOMIC_CMPXCHG;
                self.push(Insn::atomic(size(mem.width), base, offset, rest[1], code));
            }
            Op::Call(target) => self.call(target),
            Op::Select { test, wide, then } => self.select(test, wide, then, regs),
            Op::Branch(test) => self.branch = Some(jump(test, regs).0),
            Op::Return => self.returns = true,
        }
    }

    /// A 64-bit constant in the shortest form.
    fn constant(&mut self, dst: u8, value: i64) {
        match (i32::try_from(value), u32::try_from(value)) {
            (Ok(imm), _) => self.push(Insn::alu_imm(AluOp::Mov, true, dst, imm)),
            (_, Ok(imm)) => self.push(Insn::alu_imm(AluOp::Mov, false, dst, imm as i32)),
            _ => self.insns.extend(Insn::load_imm64(dst, value as u64)),
        }
    }

    fn symbol(&mut self, dst: u8, symbol: SymbolId) {
        self.relocate(symbol);
        let value = match self.symbols.get(symbol) {
            Some(Symbol::Core { local, wide: false, .. } | Symbol::Ctx { local, .. }) => {
                if let Ok(imm) = i32::try_from(local) {
                    return self.push(Insn::alu_imm(AluOp::Mov, true, dst, imm));
                }
                local
            }
            Some(Symbol::Core { local, .. }) => local,
            Some(Symbol::Rodata(offset) | Symbol::Data(offset)) => u64::from(offset),
            _ => 0,
        };
        self.insns.extend(Insn::load_imm64(dst, value));
    }

    fn slot_address(&mut self, dst: u8, slot: StackSlot, offset: i32) {
        self.push(Insn::alu_reg(AluOp::Mov, true, dst, insn::FP));
        let offset = self.frame.slot(slot, offset);
        self.push(Insn::alu_imm(AluOp::Add, true, dst, offset));
    }

    fn alu(&mut self, op: AluOp, wide: bool, rhs: Src, regs: &[u8]) {
        match rhs {
            Src::Reg => self.push(Insn::alu_reg(op, wide, regs[0], regs[2])),
            Src::Imm(imm) => self.push(Insn::alu_imm(op, wide, regs[0], imm)),
            Src::Symbol(symbol, imm) => {
                self.relocate(symbol);
                self.push(Insn::alu_imm(op, wide, regs[0], imm));
            }
        }
    }

    /// Base register, offset, and the operands after the base.
    fn address<'r>(&mut self, mem: Mem, regs: &'r [u8]) -> (u8, i16, &'r [u8]) {
        let (base, offset, rest) = match mem.base {
            Base::Reg => (regs[0], mem.offset, &regs[1..]),
            Base::Slot(slot) => (insn::FP, self.frame.slot(slot, mem.offset), regs),
        };
        if let Some(symbol) = mem.symbol {
            self.relocate(symbol);
        }
        (base, offset as i16, rest)
    }

    fn store(&mut self, mem: Mem, src: Src, regs: &[u8]) {
        let (base, offset, rest) = self.address(mem, regs);
        match src {
            Src::Reg => self.push(Insn::store_reg(size(mem.width), base, offset, rest[0])),
            Src::Imm(imm) | Src::Symbol(_, imm) => {
                self.push(Insn::store_imm(size(mem.width), base, offset, imm));
            }
        }
    }

    fn atomic(&mut self, mem: Mem, code: i32, regs: &[u8]) {
        let (base, offset, rest) = self.address(mem, regs);
        self.push(Insn::atomic(size(mem.width), base, offset, rest[0], code));
    }

    fn call(&mut self, target: Target) {
        let mut call = Insn { opcode: CALL, ..Insn::default() };
        match target {
            Target::Helper(id) => call.imm = id as i32,
            Target::Symbol(symbol) => {
                self.relocate(symbol);
                call.src = PSEUDO_CALL;
                call.imm = -1;
            }
        }
        self.push(call);
    }

    /// Skips the move to the result, which holds `otherwise`, unless the test
    /// holds.
    fn select(&mut self, test: Test, wide: bool, then: Src, regs: &[u8]) {
        let (jump, rest) = jump(test, &regs[2..]);
        self.push(jump.negated().insn(1));
        match then {
            Src::Reg => self.push(Insn::alu_reg(AluOp::Mov, true, regs[0], rest[0])),
            Src::Imm(imm) | Src::Symbol(_, imm) => {
                self.push(Insn::alu_imm(AluOp::Mov, wide, regs[0], imm));
            }
        }
    }
}

/// The jump for a test whose operands start `regs`, and the other operands.
fn jump(test: Test, regs: &[u8]) -> (Jump, &[u8]) {
    let (right, rest) = match test.rhs {
        Src::Reg => (Right::Reg(regs[1]), &regs[2..]),
        Src::Imm(imm) | Src::Symbol(_, imm) => (Right::Imm(imm), &regs[1..]),
    };
    (Jump { op: test.op, wide: test.wide, left: regs[0], right }, rest)
}

enum Place {
    Reg(u8),
    Spill(usize),
}

fn place(alloc: Allocation) -> Place {
    match (alloc.as_reg(), alloc.as_stack()) {
        (Some(reg), _) => Place::Reg(reg.hw_enc() as u8),
        (None, Some(slot)) => Place::Spill(slot.index()),
        (None, None) => unreachable!("every operand has a place after allocation"),
    }
}

fn register(alloc: Allocation) -> u8 {
    match place(alloc) {
        Place::Reg(reg) => reg,
        Place::Spill(_) => unreachable!("every operand of ours is constrained to a register"),
    }
}

/// The size field of a memory access.
fn size(width: Width) -> u8 {
    match width {
        Width::W32 => 0x00,
        Width::W16 => 0x08,
        Width::W8 => 0x10,
        Width::W64 => 0x18,
    }
}

/// Puts the blocks one after the other and fills in the jumps.
fn layout(mut bodies: Vec<Body>, stack: u32) -> Result<Code, Error> {
    thread_jumps(&mut bodies);
    let order = reachable(&bodies);
    if let Some(code) = Layout::new(&bodies, &order, stack, Islands::None).finish() {
        return Ok(code);
    }
    // Some jump is too far: the kernel knows longer ones since 6.6 only (`gotol`).
    let mut layout = Layout::new(&bodies, &order, stack, Islands::All);
    // The kernel refuses code that nothing reaches, so entries without use go.
    for _ in 0..ISLAND_ROUNDS {
        match layout.used_entries() {
            Some(used) if used.iter().map(BTreeSet::len).sum::<usize>() < layout.islands.len() => {
                layout = Layout::new(&bodies, &order, stack, Islands::These(used));
            }
            _ => break,
        }
    }
    let insns = layout.code.insns.len();
    layout.finish().ok_or(Error::TooLarge { function: String::new(), insns })
}

/// Instructions between islands; with an island's own they stay within a jump's reach.
const ISLAND_DISTANCE: usize = 16_000;

/// Most attempts to leave out what islands do not need; the second finds nothing as a rule.
const ISLAND_ROUNDS: usize = 8;

/// Which islands a layout has.
enum Islands {
    None,
    /// With an entry for every target that may be jumped to across them.
    All,
    /// With entries for these targets, island by island.
    These(Vec<BTreeSet<usize>>),
}

/// Code being laid out. Far jumps go by way of islands: groups of jumps that are
/// passed over, one for every target that is jumped to across them.
struct Layout<'a> {
    bodies: &'a [Body],
    order: &'a [usize],
    code: Code,
    /// Where blocks start, once they are placed.
    start: Vec<Option<usize>>,
    /// Position of each jump with the block it goes to.
    jumps: Vec<(usize, usize)>,
    /// Those of them that stand in islands, with the island's number.
    islands: Vec<(usize, usize, usize)>,
    /// Indices into `islands`, by the block that is gone to.
    entries: HashMap<usize, Vec<usize>>,
    wanted: Islands,
    /// How many places for islands there were, and where the last one ended.
    places: usize,
    last_island: usize,
    srcloc: u32,
}

impl<'a> Layout<'a> {
    fn new(bodies: &'a [Body], order: &'a [usize], stack: u32, wanted: Islands) -> Self {
        let mut layout = Layout {
            bodies,
            order,
            code: Code { stack, ..Code::default() },
            start: vec![None; bodies.len()],
            jumps: Vec::new(),
            islands: Vec::new(),
            entries: HashMap::new(),
            wanted,
            places: 0,
            last_island: 0,
            srcloc: u32::MAX,
        };
        for at in 0..order.len() {
            layout.block(at);
        }
        layout
    }

    /// The block that is `at` in the order.
    fn block(&mut self, at: usize) {
        let (bodies, block) = (self.bodies, self.order[at]);
        let body = &bodies[block];
        // A line begins with an operation, so islands may stand there.
        let mut cuts: Vec<usize> = body.lines.iter().map(|line| line.insn).filter(|&i| i > 0).collect();
        cuts.push(body.insns.len());
        let mut from = 0;
        for to in cuts {
            self.island(at);
            let base = self.code.insns.len();
            self.start[block].get_or_insert(base);
            let moved = |insn: usize| base + insn - from;
            self.code.insns.extend_from_slice(&body.insns[from..to]);
            let last = to == body.insns.len();
            let relocs = piece(&body.relocs, from, (!last).then_some(to), |r| r.insn);
            self.code.relocs.extend(relocs.iter().map(|&r| Reloc { insn: moved(r.insn), ..r }));
            for line in piece(&body.lines, from, (!last).then_some(to), |l| l.insn) {
                push_line(&mut self.code.lines, &mut self.srcloc, moved(line.insn), line.srcloc);
            }
            from = to;
        }
        let end = self.code.insns.len();
        let next = self.order.get(at + 1).copied();
        emit_end(body, next, bodies, &mut self.code.insns, &mut self.jumps);
        if self.code.insns.len() > end {
            push_line(&mut self.code.lines, &mut self.srcloc, end, body.end_srcloc);
        }
    }

    /// An island, if it is time for one: before or within the block `at`.
    fn island(&mut self, at: usize) {
        let here = self.code.insns.len();
        if matches!(self.wanted, Islands::None) || here - self.last_island < ISLAND_DISTANCE {
            return;
        }
        let number = self.places;
        self.places += 1;
        self.last_island = here;
        let mut targets = self.crossing(at);
        if let Islands::These(wanted) = &self.wanted {
            let empty = BTreeSet::new();
            targets.retain(|t| wanted.get(number).unwrap_or(&empty).contains(t));
        }
        if targets.is_empty() {
            return;
        }
        // What runs on passes over it.
        if !self.code.insns.last().is_some_and(|last| matches!(last.opcode, EXIT | JA)) {
            let off = targets.len().min(i16::MAX as usize) as i16;
            self.code.insns.push(Insn { opcode: JA, off, ..Insn::default() });
        }
        for target in targets {
            let entry = self.code.insns.len();
            self.jumps.push((entry, target));
            self.entries.entry(target).or_default().push(self.islands.len());
            self.islands.push((entry, target, number));
            self.code.insns.push(Insn { opcode: JA, ..Insn::default() });
        }
        self.last_island = self.code.insns.len();
    }

    /// The blocks that jumps go to across this point, before or within the block `at`.
    fn crossing(&self, at: usize) -> BTreeSet<usize> {
        let forward = self.jumps.iter().map(|&(_, target)| target).filter(|&t| self.start[t].is_none());
        let later = self.order[at..].iter().flat_map(|&block| match self.bodies[block].end {
            End::Exit => [None, None],
            End::Jump(target) => [Some(target), None],
            End::Branch(_, yes, no) => [Some(yes), Some(no)],
        });
        let back = later.flatten().filter(|&t| self.start[t].is_some());
        forward.chain(back).collect()
    }

    /// Where a jump goes: to its target, or to an island's entry for it on the way,
    /// as near to the target as the jump reaches. Gives the distance and the entry.
    fn hop(&self, insn: usize, target: usize) -> Option<(i16, Option<usize>)> {
        let end = self.start[target]?;
        let reach = |to: usize| i16::try_from(to as i64 - insn as i64 - 1).ok();
        if let Some(off) = reach(end) {
            return Some((off, None));
        }
        let on_the_way = |at: usize| (insn.min(end) + 1..insn.max(end)).contains(&at);
        let entries = self.entries.get(&target).into_iter().flatten().map(|&i| (self.islands[i].0, i));
        let reached =
            entries.filter(|&(at, _)| on_the_way(at)).filter_map(|(at, i)| Some((at.abs_diff(end), reach(at)?, i)));
        reached.min().map(|(_, off, i)| (off, Some(i)))
    }

    /// The targets of the entries that are jumped to, island by island.
    fn used_entries(&self) -> Option<Vec<BTreeSet<usize>>> {
        let mut used = vec![BTreeSet::new(); self.places];
        let entries: BTreeSet<usize> = self.islands.iter().map(|e| e.0).collect();
        let mut work: Vec<(usize, usize)> =
            self.jumps.iter().copied().filter(|(insn, _)| !entries.contains(insn)).collect();
        while let Some((insn, target)) = work.pop() {
            if let (_, Some(i)) = self.hop(insn, target)? {
                let (entry, target, number) = self.islands[i];
                if used[number].insert(target) {
                    work.push((entry, target));
                }
            }
        }
        Some(used)
    }

    /// Fills in the jumps; `None` where one is too far.
    fn finish(mut self) -> Option<Code> {
        // A line whose block came out empty must not stand behind the end.
        let len = self.code.insns.len();
        self.code.lines.retain(|line| line.insn < len);
        // The kernel wants a line for the first instruction.
        if let Some(first) = self.code.lines.first_mut() {
            first.insn = 0;
        }
        for &(insn, target) in &self.jumps {
            self.code.insns[insn].off = self.hop(insn, target)?.0;
        }
        Some(self.code)
    }
}

/// Records that `srcloc` starts at `insn`, unless it holds already.
fn push_line(lines: &mut Vec<Line>, current: &mut u32, insn: usize, srcloc: u32) {
    if srcloc == u32::MAX || srcloc == *current {
        return;
    }
    *current = srcloc;
    match lines.last_mut() {
        Some(last) if last.insn == insn => last.srcloc = srcloc,
        _ => lines.push(Line { insn, srcloc }),
    }
}

/// Makes every jump to a block that only jumps go to the final target, and every
/// jump to a block that returns go to the first that returns in the same way.
fn thread_jumps(bodies: &mut [Body]) {
    let mut returns: HashMap<Vec<Insn>, usize> = HashMap::new();
    let finals: Vec<usize> = final_targets(bodies)
        .into_iter()
        .map(|target| {
            let body = &bodies[target];
            match body.end {
                End::Exit if body.relocs.is_empty() => *returns.entry(body.insns.clone()).or_insert(target),
                _ => target,
            }
        })
        .collect();
    for body in bodies {
        body.end = match body.end {
            End::Exit => End::Exit,
            End::Jump(target) => End::Jump(finals[target]),
            End::Branch(jump, yes, no) => match (finals[yes], finals[no]) {
                (yes, no) if yes == no => End::Jump(yes),
                (yes, no) => End::Branch(jump, yes, no),
            },
        };
    }
}

/// Where each block leads: itself, unless it only jumps.
fn final_targets(bodies: &[Body]) -> Vec<usize> {
    let mut known: Vec<Option<usize>> = vec![None; bodies.len()];
    for start in 0..bodies.len() {
        let (mut block, mut path) = (start, Vec::new());
        let target = loop {
            if let Some(target) = known[block] {
                break target;
            }
            // An empty loop ends where it was entered.
            known[block] = Some(block);
            path.push(block);
            match bodies[block].end {
                End::Jump(target) if bodies[block].insns.is_empty() => block = target,
                _ => break block,
            }
        };
        path.into_iter().for_each(|block| known[block] = Some(target));
    }
    known.into_iter().flatten().collect()
}

/// What lies between two instructions of a list in their order, without `to` to its end.
fn piece<T>(list: &[T], from: usize, to: Option<usize>, insn: impl Fn(&T) -> usize) -> &[T] {
    let begin = list.partition_point(|x| insn(x) < from);
    let end = to.map_or(list.len(), |to| list.partition_point(|x| insn(x) < to));
    &list[begin..end]
}

/// The blocks that can run, in their order.
fn reachable(bodies: &[Body]) -> Vec<usize> {
    let mut seen = vec![false; bodies.len()];
    let mut work = vec![0];
    while let Some(block) = work.pop() {
        if std::mem::replace(&mut seen[block], true) {
            continue;
        }
        match bodies[block].end {
            End::Exit => {}
            End::Jump(target) => work.push(target),
            End::Branch(_, yes, no) => work.extend([yes, no]),
        }
    }
    (0..bodies.len()).filter(|&block| seen[block]).collect()
}

fn emit_end(body: &Body, next: Option<usize>, bodies: &[Body], insns: &mut Vec<Insn>, jumps: &mut Vec<(usize, usize)>) {
    match body.end {
        End::Exit => insns.push(Insn { opcode: EXIT, ..Insn::default() }),
        End::Jump(target) => emit_goto(target, next, bodies, insns, jumps),
        End::Branch(jump, yes, no) => {
            let (jump, target, other) = if next == Some(yes) { (jump.negated(), no, yes) } else { (jump, yes, no) };
            jumps.push((insns.len(), target));
            insns.push(jump.insn(0));
            emit_goto(other, next, bodies, insns, jumps);
        }
    }
}

fn emit_goto(
    target: usize,
    next: Option<usize>,
    bodies: &[Body],
    insns: &mut Vec<Insn>,
    jumps: &mut Vec<(usize, usize)>,
) {
    let exits = matches!(bodies[target].end, End::Exit) && bodies[target].insns.is_empty();
    if next == Some(target) {
        return;
    }
    if exits {
        insns.push(Insn { opcode: EXIT, ..Insn::default() });
    } else {
        jumps.push((insns.len(), target));
        insns.push(Insn { opcode: JA, ..Insn::default() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A block of `len` instructions; lines allow islands within.
    fn body(len: usize, end: End) -> Body {
        let insns = vec![Insn::alu_imm(AluOp::Mov, true, 0, 1); len];
        let lines = (0..len).step_by(100).map(|insn| Line { insn, srcloc: insn as u32 }).collect();
        Body { insns, relocs: Vec::new(), lines, end, end_srcloc: u32::MAX }
    }

    /// Everything that can be reached, and nothing else, is in the code; how often
    /// each block's first instruction is come to from a jump or from above.
    fn check(code: &Code) {
        let mut seen = vec![false; code.insns.len()];
        let mut work = vec![0usize];
        while let Some(at) = work.pop() {
            if std::mem::replace(&mut seen[at], true) {
                continue;
            }
            let insn = code.insns[at];
            let target = (at as i64 + 1 + i64::from(insn.off)) as usize;
            match insn.opcode {
                EXIT => {}
                JA => work.push(target),
                op if op & 7 == 5 => work.extend([at + 1, target]),
                _ => work.push(at + 1),
            }
        }
        assert!(seen.iter().all(|&s| s), "the kernel refuses unreachable code");
    }

    #[test]
    fn far_jumps_go_by_islands() {
        let jump = Jump { op: JmpOp::Eq, wide: true, left: 0, right: Right::Imm(7) };
        let bodies = vec![
            body(10, End::Branch(jump, 3, 1)),
            body(50_000, End::Branch(jump, 0, 2)),
            body(30_000, End::Branch(jump, 1, 3)),
            body(3, End::Exit),
        ];
        let code = layout(bodies, 0).expect("islands make it fit");
        check(&code);
        assert!(code.insns.len() > 80_014 && code.insns.len() < 80_060, "{}", code.insns.len());
    }

    #[test]
    fn near_jumps_need_no_islands() {
        let jump = Jump { op: JmpOp::Eq, wide: true, left: 0, right: Right::Imm(7) };
        let bodies = vec![body(1, End::Branch(jump, 2, 1)), body(32_000, End::Jump(2)), body(1, End::Exit)];
        let code = layout(bodies, 0).expect("near enough");
        assert_eq!(code.insns.len(), 32_004);
        check(&code);
    }
}
