//! Arithmetic, comparisons, conversions.
//!
//! Division follows BPF, not CLIF: dividing by zero gives zero, the remainder
//! by zero is the dividend, and nothing traps.

use cranelift_codegen::ir::{self, InstBuilder, condcodes::IntCC, types};

use super::{Bool, Cmp, FuncBuilder, Value, Width};

macro_rules! binary {
    ($($(#[$doc:meta])* $name:ident => $opcode:ident;)*) => {
        impl FuncBuilder<'_> {
            $($(#[$doc])* pub fn $name(&mut self, a: Value, b: Value) -> Value {
                Value(self.inner.ins().$opcode(a.0, b.0))
            })*
        }
    };
}

binary! {
    /// `a + b`, wrapping. A pointer with an index is [`FuncBuilder::index`].
    add => iadd;
    /// `a - b`, wrapping; not between pointers.
    sub => isub;
    /// `a * b`, wrapping.
    mul => imul;
    /// Bitwise and.
    and => band;
    /// Bitwise or.
    or => bor;
    /// Bitwise exclusive or.
    xor => bxor;
    /// Shift left by `b` modulo 64.
    shl => ishl;
    /// Logical shift right by `b` modulo 64.
    ushr => ushr;
    /// Arithmetic shift right by `b` modulo 64.
    sshr => sshr;
    /// Unsigned minimum: a bound that every verifier understands.
    umin => umin;
    /// Unsigned maximum.
    umax => umax;
    /// Signed minimum.
    smin => smin;
    /// Signed maximum.
    smax => smax;
}

macro_rules! division {
    ($($(#[$doc:meta])* $name:ident => $opcode:ident;)*) => {
        impl FuncBuilder<'_> {
            $($(#[$doc])* pub fn $name(&mut self, a: Value, b: Value) -> Value {
                let divisor = self.divisor(b);
                Value(self.inner.ins().$opcode(a.0, divisor.0))
            })*
        }
    };
}

division! {
    /// Unsigned quotient.
    udiv => udiv;
    /// Unsigned remainder. The verifier knows no bound after it: clamp before
    /// using the result as an index.
    urem => urem;
    /// Signed quotient, rounded towards zero.
    sdiv => sdiv;
    /// Signed remainder, with the dividend's sign.
    srem => srem;
}

impl From<Cmp> for IntCC {
    fn from(cmp: Cmp) -> IntCC {
        match cmp {
            Cmp::Eq => IntCC::Equal,
            Cmp::Ne => IntCC::NotEqual,
            Cmp::Ult => IntCC::UnsignedLessThan,
            Cmp::Ule => IntCC::UnsignedLessThanOrEqual,
            Cmp::Ugt => IntCC::UnsignedGreaterThan,
            Cmp::Uge => IntCC::UnsignedGreaterThanOrEqual,
            Cmp::Slt => IntCC::SignedLessThan,
            Cmp::Sle => IntCC::SignedLessThanOrEqual,
            Cmp::Sgt => IntCC::SignedGreaterThan,
            Cmp::Sge => IntCC::SignedGreaterThanOrEqual,
        }
    }
}

impl FuncBuilder<'_> {
    /// A divisor the optimiser cannot see, unless it is a power of two: it
    /// would turn the division into a multiplication for the high half, which
    /// BPF lacks and which costs about 28 instructions.
    fn divisor(&mut self, divisor: Value) -> Value {
        match self.as_const(divisor) {
            Some(value) if value > 0 && value & (value - 1) == 0 => divisor,
            Some(value) => self.opaque(value),
            None => divisor,
        }
    }

    /// `-a`, wrapping.
    pub fn neg(&mut self, a: Value) -> Value {
        Value(self.inner.ins().ineg(a.0))
    }

    /// Bitwise complement.
    pub fn not(&mut self, a: Value) -> Value {
        Value(self.inner.ins().bnot(a.0))
    }

    /// Keeps the low bits of `a`, the others become zero.
    pub fn zero_extend(&mut self, a: Value, from: Width) -> Value {
        match from {
            Width::W64 => a,
            _ => {
                let low = self.narrow(a, from);
                Value(self.inner.ins().uextend(types::I64, low))
            }
        }
    }

    /// Keeps the low bits of `a`, the others become copies of its sign bit.
    pub fn sign_extend(&mut self, a: Value, from: Width) -> Value {
        match from {
            Width::W64 => a,
            _ => {
                let low = self.narrow(a, from);
                Value(self.inner.ins().sextend(types::I64, low))
            }
        }
    }

    /// Reverses the low bytes of `a`; the bytes above become zero.
    pub fn bswap(&mut self, a: Value, width: Width) -> Value {
        match width {
            Width::W8 => self.zero_extend(a, width),
            Width::W64 => Value(self.inner.ins().bswap(a.0)),
            _ => {
                let low = self.narrow(a, width);
                let swapped = self.inner.ins().bswap(low);
                Value(self.inner.ins().uextend(types::I64, swapped))
            }
        }
    }

    /// The number of the highest bit set in `a`; zero for zero.
    ///
    /// Without comparisons: each of six would double the ways that the verifier
    /// has to follow. It knows that the result is below 64.
    pub fn ilog2(&mut self, a: Value) -> Value {
        let (mut rest, mut log) = (a, self.iconst(0));
        for shift in [32_u32, 16, 8, 4, 2] {
            let above = self.shift_const(rest, shift);
            // The sign of `-above` is set if anything is there.
            let negative = self.neg(above);
            let any = self.shift_const(negative, 63);
            let amount = self.iconst(i64::from(shift.ilog2()));
            let step = self.shl(any, amount);
            rest = self.ushr(rest, step);
            log = self.or(log, step);
        }
        let last = self.shift_const(rest, 1);
        self.or(log, last)
    }

    fn shift_const(&mut self, a: Value, amount: u32) -> Value {
        let amount = self.iconst(i64::from(amount));
        self.ushr(a, amount)
    }

    /// Compares two values.
    pub fn compare(&mut self, cmp: Cmp, a: Value, b: Value) -> Bool {
        Bool(self.inner.ins().icmp(IntCC::from(cmp), a.0, b.0))
    }

    /// Compares with a constant.
    pub fn compare_const(&mut self, cmp: Cmp, a: Value, b: i64) -> Bool {
        let b = self.iconst(b);
        self.compare(cmp, a, b)
    }

    /// Whether `a` is not zero. On a pointer this is the null test the verifier
    /// understands best.
    pub fn nonzero(&mut self, a: Value) -> Bool {
        Bool(a.0)
    }

    /// Whether the condition does not hold.
    pub fn negate(&mut self, a: Bool) -> Bool {
        let ty = self.bool_type(a);
        let zero = self.inner.ins().iconst(ty, 0);
        Bool(self.inner.ins().icmp(IntCC::Equal, a.0, zero))
    }

    /// Whether both hold; both are evaluated.
    pub fn both(&mut self, a: Bool, b: Bool) -> Bool {
        let (a, b) = (self.flag(a), self.flag(b));
        Bool(self.inner.ins().band(a, b))
    }

    /// Whether one holds; both are evaluated.
    pub fn either(&mut self, a: Bool, b: Bool) -> Bool {
        let (a, b) = (self.flag(a), self.flag(b));
        Bool(self.inner.ins().bor(a, b))
    }

    /// 1 if the condition holds, else 0.
    pub fn bool_value(&mut self, a: Bool) -> Value {
        let flag = self.flag(a);
        Value(self.inner.ins().uextend(types::I64, flag))
    }

    /// `yes` if the condition holds, else `no`; both are evaluated.
    pub fn select(&mut self, cond: Bool, yes: Value, no: Value) -> Value {
        Value(self.inner.ins().select(cond.0, yes.0, no.0))
    }

    fn bool_type(&self, a: Bool) -> ir::Type {
        self.inner.func.dfg.value_type(a.0)
    }

    /// The condition as an `i8` that is 0 or 1.
    fn flag(&mut self, a: Bool) -> ir::Value {
        if self.bool_type(a) == types::I8 {
            return a.0;
        }
        let zero = self.inner.ins().iconst(types::I64, 0);
        self.inner.ins().icmp(IntCC::NotEqual, a.0, zero)
    }
}
