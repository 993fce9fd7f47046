//! Random CLIF functions for differential tests.
//!
//! The same seed gives the same program in different forms: for the back end
//! (inputs in a context buffer, symbols, barriers and helper calls) and for
//! Cranelift's interpreter (inputs as parameters, no symbols, no calls). The
//! interpreter runs the unoptimised function and is the oracle.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I8, I16, I32, I64};
use cranelift_codegen::ir::{self, AtomicRmwOp, Endianness, InstBuilder, MemFlagsData, Opcode, Type, Value};
use cranelift_codegen::isa::{CallConv, TargetFrontendConfig};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext, Variable};

use crate::clif::{Namespace, Symbol, SymbolTable};
use crate::helper::Helper;

/// How many 64-bit inputs a program has; the result follows them.
pub(super) const INPUTS: usize = 4;

/// Which of the forms to build.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Stores its result behind the inputs.
    Program,
    /// Returns its result and keeps to atomic operations that every kernel has;
    /// for contexts that cannot be written.
    ReadOnly,
    Oracle,
}

/// What a program may contain.
#[derive(Clone, Copy)]
pub(super) struct Profile {
    /// Roughly how many statements.
    pub(super) statements: u32,
    /// Also operations that only the optimiser introduces.
    pub(super) rare: bool,
    /// Also atomic operations that give the old value.
    pub(super) fetch: bool,
}

/// xorshift64*: small, and the same everywhere.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(super) fn below(&mut self, limit: u64) -> u64 {
        (self.next() >> 16) % limit
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    /// A number near something interesting.
    pub(super) fn number(&mut self) -> i64 {
        let small = self.below(7) as i64 - 3;
        match self.below(6) {
            0 => small,
            1 => self.below(256) as i64,
            2 => (1_i64 << self.below(64)).wrapping_add(small),
            3 => i64::from(i32::MIN).wrapping_add(small),
            4 => i64::from(u32::MAX).wrapping_add(small),
            _ => self.next() as i64,
        }
    }
}

const WIDTHS: [Type; 4] = [I8, I16, I32, I64];
const SLOT_BYTES: u32 = 32;

struct Generator<'a> {
    f: FunctionBuilder<'a>,
    symbols: &'a mut SymbolTable,
    random: Random,
    form: Form,
    profile: Profile,
    vars: Vec<(Type, Variable)>,
    slot: ir::StackSlot,
    result: Variable,
    ctx: Option<Value>,
    budget: u32,
}

/// The program of `seed`.
pub(super) fn generate(seed: u64, form: Form, profile: Profile, symbols: &mut SymbolTable) -> ir::Function {
    let mut signature = ir::Signature::new(CallConv::Fast);
    let params = if form == Form::Oracle { INPUTS } else { 1 };
    signature.params.resize(params, ir::AbiParam::new(I64));
    signature.returns.push(ir::AbiParam::new(I64));
    let mut func = ir::Function::with_name_signature(ir::UserFuncName::user(0, 0), signature);
    let mut context = FunctionBuilderContext::new();
    let mut f = FunctionBuilder::new(&mut func, &mut context);
    let slot = f.create_sized_stack_slot(ir::StackSlotData::new(ir::StackSlotKind::ExplicitSlot, SLOT_BYTES, 3));
    let result = f.declare_var(I64);
    let random = Random::new(seed);
    let budget = profile.statements;
    let mut generator =
        Generator { f, symbols, random, form, profile, vars: Vec::new(), slot, result, ctx: None, budget };
    generator.function();
    generator.f.seal_all_blocks();
    generator.f.finalize(TargetFrontendConfig {
        default_call_conv: CallConv::Fast,
        pointer_width: target_lexicon::PointerWidth::U64,
        page_size_align_log2: 12,
    });
    func
}

fn flags() -> MemFlagsData {
    MemFlagsData::trusted().with_endianness(Endianness::Little)
}

impl Generator<'_> {
    fn function(&mut self) {
        let entry = self.f.create_block();
        self.f.append_block_params_for_function_params(entry);
        self.f.switch_to_block(entry);
        let params = self.f.block_params(entry).to_vec();
        let inputs: Vec<Value> = match self.form {
            Form::Oracle => params,
            Form::Program | Form::ReadOnly => {
                self.ctx = (self.form == Form::Program).then_some(params[0]);
                // The first word of a tracepoint's context is the kernel's own.
                let first = if self.ctx.is_some() { 0 } else { 8 };
                let load = |at: usize| (first + at * 8) as i32;
                (0..INPUTS).map(|at| self.f.ins().load(I64, flags(), params[0], load(at))).collect()
            }
        };
        for ty in [I64, I64, I64, I64, I64, I32, I32, I32, I16, I16, I8, I8] {
            let var = self.f.declare_var(ty);
            let input = inputs[self.random.below(INPUTS as u64) as usize];
            let value = if ty == I64 { input } else { self.f.ins().ireduce(ty, input) };
            self.f.def_var(var, value);
            self.vars.push((ty, var));
        }
        let seed = self.f.ins().iconst(I64, 17);
        self.f.def_var(self.result, seed);
        for offset in (0..SLOT_BYTES as i32).step_by(8) {
            let base = self.f.ins().stack_addr(I64, self.slot, 0);
            let zero = self.f.ins().iconst(I64, 0);
            self.f.ins().store(flags(), zero, base, offset);
        }
        self.statements(0);
        self.finish();
    }

    /// Mixes all variables into the result and returns it.
    fn finish(&mut self) {
        let mut hash = self.f.use_var(self.result);
        for (ty, var) in self.vars.clone() {
            let value = self.f.use_var(var);
            let value = if ty == I64 { value } else { self.f.ins().uextend(I64, value) };
            let factor = self.f.ins().iconst(I64, 31);
            let scaled = self.f.ins().imul(hash, factor);
            hash = self.f.ins().bxor(scaled, value);
        }
        match self.ctx {
            None => _ = self.f.ins().return_(&[hash]),
            Some(ctx) => {
                self.f.ins().store(flags(), hash, ctx, (INPUTS * 8) as i32);
                let zero = self.f.ins().iconst(I64, 0);
                self.f.ins().return_(&[zero]);
            }
        }
    }

    fn statements(&mut self, depth: u32) {
        let count = 2 + self.random.below(6);
        for _ in 0..count {
            if self.budget == 0 {
                return;
            }
            self.budget -= 1;
            self.statement(depth);
        }
        if depth == 0 && self.budget > 0 {
            self.statements(depth);
        }
    }

    fn statement(&mut self, depth: u32) {
        match self.random.below(16) {
            0 | 1 if depth < 3 => self.branch(depth),
            2 if depth < 2 => self.repeat(depth),
            3 | 4 => self.memory(),
            5 => self.atomic(),
            6 => self.call(),
            7 => self.mix(),
            _ => {
                let (ty, var) = self.variable();
                let value = self.expression(ty);
                self.f.def_var(var, value);
            }
        }
    }

    fn variable(&mut self) -> (Type, Variable) {
        let at = self.random.below(self.vars.len() as u64) as usize;
        self.vars[at]
    }

    /// A variable of this type, or a constant.
    fn operand(&mut self, ty: Type) -> Value {
        if self.random.below(4) == 0 {
            return self.constant(ty);
        }
        let of_type: Vec<Variable> = self.vars.iter().filter(|(other, _)| *other == ty).map(|&(_, var)| var).collect();
        let var = self.random.pick(&of_type);
        self.f.use_var(var)
    }

    fn constant(&mut self, ty: Type) -> Value {
        let number = self.random.number();
        let masked = crate::bpf::value::mask(ty, number);
        if ty == I64 && self.random.below(4) == 0 {
            return self.opaque(masked);
        }
        self.f.ins().iconst(ty, masked)
    }

    /// A constant that only the back end knows.
    fn opaque(&mut self, value: i64) -> Value {
        if self.form == Form::Oracle {
            return self.f.ins().iconst(I64, value);
        }
        let symbol = Symbol::Opaque(value);
        let id = self.symbols.intern(symbol);
        let name = ir::UserExternalName { namespace: symbol.namespace() as u32, index: id.0 };
        let name = ir::ExternalName::user(self.f.func.declare_imported_user_function(name));
        let offset = 0.into();
        let data = ir::GlobalValueData::Symbol { name, offset, colocated: false, tls: false };
        let global = self.f.create_global_value(data);
        self.f.ins().symbol_value(I64, global)
    }

    fn expression(&mut self, ty: Type) -> Value {
        match self.random.below(8) {
            0 => self.cast(ty),
            1 => self.choice(ty),
            2 => self.unary(ty),
            3 => self.division(ty),
            _ => self.binary(ty),
        }
    }

    fn cast(&mut self, ty: Type) -> Value {
        let from = self.random.pick(&WIDTHS);
        let value = self.operand(from);
        match from.bits().cmp(&ty.bits()) {
            std::cmp::Ordering::Equal => value,
            std::cmp::Ordering::Greater => self.f.ins().ireduce(ty, value),
            std::cmp::Ordering::Less if self.random.below(2) == 0 => self.f.ins().uextend(ty, value),
            std::cmp::Ordering::Less => self.f.ins().sextend(ty, value),
        }
    }

    fn condition(&mut self) -> Value {
        let ty = self.random.pick(&WIDTHS);
        let (x, y) = (self.operand(ty), self.operand(ty));
        match self.random.below(8) {
            0 => x,
            1 => {
                let other = self.comparison(x, y);
                let (v, w) = (self.operand(ty), self.operand(ty));
                let one = self.comparison(v, w);
                self.f.ins().band(one, other)
            }
            2 => {
                let inner = self.comparison(x, y);
                let zero = self.f.ins().iconst(I8, 0);
                self.f.ins().icmp(IntCC::Equal, inner, zero)
            }
            _ => self.comparison(x, y),
        }
    }

    fn comparison(&mut self, x: Value, y: Value) -> Value {
        let cond = self.random.pick(&[
            IntCC::Equal,
            IntCC::NotEqual,
            IntCC::UnsignedLessThan,
            IntCC::UnsignedLessThanOrEqual,
            IntCC::UnsignedGreaterThan,
            IntCC::UnsignedGreaterThanOrEqual,
            IntCC::SignedLessThan,
            IntCC::SignedLessThanOrEqual,
            IntCC::SignedGreaterThan,
            IntCC::SignedGreaterThanOrEqual,
        ]);
        self.f.ins().icmp(cond, x, y)
    }

    fn choice(&mut self, ty: Type) -> Value {
        let cond = self.condition();
        if self.random.below(4) == 0 && ty != I8 {
            let flag = cond_flag(&mut self.f, cond);
            let flag = self.f.ins().uextend(I64, flag);
            return if ty == I64 { flag } else { self.f.ins().ireduce(ty, flag) };
        }
        let (yes, no) = (self.operand(ty), self.operand(ty));
        self.f.ins().select(cond, yes, no)
    }

    fn unary(&mut self, ty: Type) -> Value {
        let value = self.operand(ty);
        let common: &[Opcode] = &[Opcode::Bnot, Opcode::Ineg, Opcode::Bswap];
        let rare: &[Opcode] =
            &[Opcode::Iabs, Opcode::Bmask, Opcode::Clz, Opcode::Ctz, Opcode::Cls, Opcode::Popcnt, Opcode::Bitrev];
        let from = if self.profile.rare { rare } else { common };
        let opcode = match self.random.pick(from) {
            Opcode::Bswap if ty == I8 => Opcode::Bnot,
            opcode => opcode,
        };
        let (inst, dfg) = self.f.ins().Unary(opcode, ty, value);
        dfg.first_result(inst)
    }

    fn binary(&mut self, ty: Type) -> Value {
        let (x, y) = (self.operand(ty), self.operand(ty));
        let common: &[Opcode] = &[
            Opcode::Iadd,
            Opcode::Isub,
            Opcode::Imul,
            Opcode::Band,
            Opcode::Bor,
            Opcode::Bxor,
            Opcode::Ishl,
            Opcode::Ushr,
            Opcode::Sshr,
            Opcode::Umin,
            Opcode::Umax,
            Opcode::Smin,
            Opcode::Smax,
        ];
        let rare: &[Opcode] = &[Opcode::Rotl, Opcode::Rotr, Opcode::Umulhi, Opcode::Smulhi];
        let from = if self.profile.rare { rare } else { common };
        let opcode = self.random.pick(from);
        let (inst, dfg) = self.f.ins().Binary(opcode, ty, x, y);
        dfg.first_result(inst)
    }

    /// Divisions that CLIF does not trap on: by something odd that is not -1.
    fn division(&mut self, ty: Type) -> Value {
        let (x, y) = (self.operand(ty), self.operand(ty));
        let sign = 1_i64 << (ty.bits() - 1);
        let (set, clear) = match self.random.below(3) {
            0 => (1, sign | 2),
            1 => (sign | 1, 2),
            _ => (1, 2),
        };
        let set = self.f.ins().iconst(ty, crate::bpf::value::mask(ty, set));
        let clear = self.f.ins().iconst(ty, crate::bpf::value::mask(ty, !clear));
        let y = self.f.ins().band(y, clear);
        let y = self.f.ins().bor(y, set);
        let opcode = self.random.pick(&[Opcode::Udiv, Opcode::Urem, Opcode::Sdiv, Opcode::Srem]);
        let (inst, dfg) = self.f.ins().Binary(opcode, ty, x, y);
        dfg.first_result(inst)
    }

    fn branch(&mut self, depth: u32) {
        let cond = self.condition();
        let (then, otherwise, end) = (self.f.create_block(), self.f.create_block(), self.f.create_block());
        self.f.ins().brif(cond, then, &[], otherwise, &[]);
        self.f.switch_to_block(then);
        self.statements(depth + 1);
        if self.random.below(12) == 0 {
            self.finish();
        } else {
            self.f.ins().jump(end, &[]);
        }
        self.f.switch_to_block(otherwise);
        if self.random.below(2) == 0 {
            self.statements(depth + 1);
        }
        self.f.ins().jump(end, &[]);
        self.f.switch_to_block(end);
    }

    /// A loop of at most four rounds, maybe left early.
    fn repeat(&mut self, depth: u32) {
        let counter = self.f.declare_var(I64);
        let zero = self.f.ins().iconst(I64, 0);
        self.f.def_var(counter, zero);
        let (header, body, exit) = (self.f.create_block(), self.f.create_block(), self.f.create_block());
        self.f.ins().jump(header, &[]);
        self.f.switch_to_block(header);
        let now = self.f.use_var(counter);
        let limit = 1 + self.random.below(4) as i64;
        let limit = self.f.ins().iconst(I64, limit);
        let done = self.f.ins().icmp(IntCC::UnsignedGreaterThanOrEqual, now, limit);
        self.f.ins().brif(done, exit, &[], body, &[]);
        self.f.switch_to_block(body);
        self.statements(depth + 1);
        if self.random.below(3) == 0 {
            let leave = self.condition();
            let next = self.f.create_block();
            self.f.ins().brif(leave, exit, &[], next, &[]);
            self.f.switch_to_block(next);
        }
        let now = self.f.use_var(counter);
        let one = self.f.ins().iconst(I64, 1);
        let next = self.f.ins().iadd(now, one);
        self.f.def_var(counter, next);
        self.f.ins().jump(header, &[]);
        self.f.switch_to_block(exit);
    }

    /// An aligned place in the slot.
    fn place(&mut self, ty: Type) -> (Value, i32) {
        let bytes = ty.bytes();
        let offset = self.random.below(u64::from(SLOT_BYTES / bytes)) as i32 * bytes as i32;
        (self.f.ins().stack_addr(I64, self.slot, 0), offset)
    }

    fn memory(&mut self) {
        let (ty, var) = self.variable();
        let (base, offset) = self.place(ty);
        if self.random.below(2) == 0 {
            let value = self.operand(ty);
            self.f.ins().store(flags(), value, base, offset);
        } else {
            let value = self.f.ins().load(ty, flags(), base, offset);
            self.f.def_var(var, value);
        }
    }

    fn atomic(&mut self) {
        let ty = self.random.pick(&[I32, I64]);
        let (base, offset) = self.place(ty);
        let offset = self.f.ins().iconst(I64, i64::from(offset));
        let address = self.f.ins().iadd(base, offset);
        let value = self.operand(ty);
        let old = match self.random.below(7) {
            0 if self.profile.fetch => {
                let expected = self.operand(ty);
                self.f.ins().atomic_cas(flags(), address, expected, value)
            }
            _ => {
                let every: &[AtomicRmwOp] = &[AtomicRmwOp::Add, AtomicRmwOp::Sub];
                let bitwise: &[AtomicRmwOp] =
                    &[AtomicRmwOp::Add, AtomicRmwOp::Sub, AtomicRmwOp::And, AtomicRmwOp::Or, AtomicRmwOp::Xor];
                let op = match self.form {
                    Form::ReadOnly => self.random.pick(every),
                    _ if self.profile.fetch && self.random.below(6) == 0 => AtomicRmwOp::Xchg,
                    _ => self.random.pick(bitwise),
                };
                self.f.ins().atomic_rmw(ty, flags(), op, address, value)
            }
        };
        if self.profile.fetch && self.random.below(2) == 0 {
            let vars: Vec<Variable> = self.vars.iter().filter(|(other, _)| *other == ty).map(|&(_, var)| var).collect();
            let var = self.random.pick(&vars);
            self.f.def_var(var, old);
        }
    }

    /// A helper call that clobbers registers, or a barrier.
    fn call(&mut self) {
        let value = self.operand(I64);
        let barrier = self.random.below(2) == 0;
        let zero = self.opaque(0);
        let result = match (self.form, barrier) {
            (Form::Oracle, true) => value,
            (Form::Oracle, false) => self.f.ins().bor(zero, value),
            (_, true) => self.call_named(Namespace::Barrier, 0, &[value]),
            (_, false) => {
                let id = Helper::GetPrandomU32.id();
                let number = self.call_named(Namespace::Helper, id, &[]);
                let nothing = self.f.ins().band(number, zero);
                self.f.ins().bor(nothing, value)
            }
        };
        let var = self.vars[self.random.below(5) as usize].1;
        self.f.def_var(var, result);
    }

    fn call_named(&mut self, namespace: Namespace, index: u32, args: &[Value]) -> Value {
        let name = ir::UserExternalName { namespace: namespace as u32, index };
        let name = ir::ExternalName::user(self.f.func.declare_imported_user_function(name));
        let mut signature = ir::Signature::new(CallConv::Fast);
        signature.params.resize(args.len(), ir::AbiParam::new(I64));
        signature.returns.push(ir::AbiParam::new(I64));
        let signature = self.f.import_signature(signature);
        let func = self.f.import_function(ir::ExtFuncData { name, signature, colocated: false, patchable: false });
        let call = self.f.ins().call(func, args);
        self.f.inst_results(call)[0]
    }

    fn mix(&mut self) {
        let value = self.operand(I64);
        let result = self.f.use_var(self.result);
        let mixed = self.f.ins().bxor(result, value);
        let factor = self.f.ins().iconst(I64, 0x0100_0193);
        let scaled = self.f.ins().imul(mixed, factor);
        self.f.def_var(self.result, scaled);
    }
}

/// A condition of any type as an `i8` that is 0 or 1.
fn cond_flag(f: &mut FunctionBuilder<'_>, cond: Value) -> Value {
    let ty = f.func.dfg.value_type(cond);
    let zero = f.ins().iconst(ty, 0);
    f.ins().icmp(IntCC::NotEqual, cond, zero)
}
