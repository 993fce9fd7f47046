//! Types of the script's values, as sema infers them and lowering needs them.
//!
//! In: nothing. Out: [`Type`], its size and how it is stored. A value is either
//! a *scalar* (kept in a register, sign- or zero-extended to 64 bits according
//! to its type) or lives in *memory* (strings, structs, tuples, stacks, ...).

use crate::ctypes::CTypeId;
use btc_payload::layout::{SeriesAgg, StackMode};
use btc_payload::start::Buckets;

/// Memory that a pointer points into; selects how it is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Space {
    /// Kernel memory: `bpf_probe_read_kernel`.
    #[default]
    Kernel,
    /// Memory of the current process: `bpf_probe_read_user`.
    User,
    /// Memory of the BPF program (its stack, a map value): direct loads.
    Bpf,
    /// The program's context: direct loads at constant offsets.
    Context,
    /// Not known while compiling (`arg0` of a kprobe): kernel addresses have their
    /// top bit set on every supported machine, so the program looks at that.
    Any,
}

/// A value's type.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Type {
    /// No value.
    Void,
    /// `true`/`false`; 0 or 1 in one byte.
    Bool,
    /// Integer of 1, 2, 4 or 8 bytes.
    Int { size: u8, signed: bool },
    /// Value of a C enumeration, shown by name.
    Enum { ctype: CTypeId, size: u8, signed: bool },
    /// Pointer; `to` is `Void` for `void *`.
    Pointer { to: Box<Type>, space: Space },
    /// Text in `size` bytes, terminating NUL included. If the last byte is not
    /// NUL the text was cut (see `btc_payload::layout::ValueType::Str`). Bytes
    /// behind the NUL are undefined except in map keys and stored values.
    Str { size: u32 },
    /// `u32` length and up to `size` bytes.
    Buf { size: u32 },
    /// Elements without gaps; arrays of arrays are multi-dimensional.
    Array { elem: Box<Type>, len: u32 },
    /// `char name[len]` of a C struct: text up to the first NUL or the end. Only
    /// an lvalue or part of a struct; its value converts to `Str` of `len + 1`.
    CharArray { len: u32 },
    /// C struct or union by value. `space` is where an *lvalue* of this type
    /// lies; a copy (local, map value) is laid out as our own types say.
    Struct { ctype: CTypeId },
    /// Elements at natural alignment; empty for `()`.
    Tuple(Vec<Type>),
    /// Tuple with names.
    Record(Vec<(String, Type)>),
    /// Stack trace.
    Stack { user: bool, mode: StackMode, frames: u32 },
    /// Kernel address shown as a symbol.
    KernelSymbol,
    /// User address with its process, shown as a symbol.
    UserSymbol,
    /// MAC address.
    Mac,
    /// IP address.
    Inet,
    /// Nanoseconds shown by `strftime`.
    Timestamp { format: String },
    /// cgroup id shown as paths.
    CgroupPath { controller: String },
    /// errno shown as text.
    ErrnoText,
    /// Signal number shown as its name.
    SignalName,
    /// System call number shown as its name.
    SyscallName,
    /// User id shown as a name.
    Username,
    /// The attach point that fired, shown as `probe`.
    ProbeName,
    /// The attach point that fired, shown as `func`.
    FunctionName,
    /// `$N` printed as it was given.
    Parameter { index: u32 },
    /// What an aggregating map holds; never the type of an expression.
    Aggregate(Aggregate),
}

/// Kinds of aggregation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Aggregate {
    /// `count()`.
    Count,
    /// `sum(n)`.
    Sum { signed: bool },
    /// `avg(n)`.
    Avg { signed: bool },
    /// `min(n)`.
    Min { signed: bool },
    /// `max(n)`.
    Max { signed: bool },
    /// `stats(n)`.
    Stats { signed: bool },
    /// `hist(n, bits)`.
    Hist { bits: u8 },
    /// `lhist(n, min, max, step)`.
    Lhist { min: i64, max: i64, step: i64 },
    /// `hist` or `lhist` with arguments that the run gives.
    Bucketed(Box<Buckets>),
    /// `tseries(n, interval, buckets, agg)`.
    Tseries { interval_ns: u64, buckets: u32, agg: SeriesAgg, signed: bool },
}

impl Type {
    /// `int64`.
    pub const I64: Type = Type::Int { size: 8, signed: true };
    /// `uint64`.
    pub const U64: Type = Type::Int { size: 8, signed: false };
    /// `uint32`.
    pub const U32: Type = Type::Int { size: 4, signed: false };

    /// Kept in a register?
    pub fn is_scalar(&self) -> bool {
        use Type::*;
        matches!(
            self,
            Bool | Int { .. }
                | Enum { .. }
                | Pointer { .. }
                | KernelSymbol
                | Timestamp { .. }
                | CgroupPath { .. }
                | ErrnoText
                | SignalName
                | SyscallName
                | Username
                | ProbeName
                | FunctionName
                | Parameter { .. }
        )
    }

    /// An integer in the wide sense: usable in arithmetic after conversion.
    pub fn is_integral(&self) -> bool {
        matches!(self, Type::Bool | Type::Int { .. } | Type::Enum { .. })
    }

    /// For scalars: size in bytes and whether values are sign-extended.
    pub fn scalar_width(&self) -> (u8, bool) {
        use Type::*;
        match self {
            Bool => (1, false),
            Int { size, signed } | Enum { size, signed, .. } => (*size, *signed),
            ErrnoText | SignalName => (4, true),
            Username => (4, false),
            _ => (8, false),
        }
    }
}
