//! The typed tree: macros expanded, names resolved, every conversion explicit.
//!
//! In: sema builds it. Out: lowering translates it and decides nothing about the
//! language any more. Invariants, checked by `verify`: every expression has its
//! final type; operands of an operator have the types its description asks for;
//! ids are in range; `break`/`continue` stand in loops.

use crate::ctypes::{CTypeId, FieldPath};
use crate::hir::types::{Aggregate, Space, Type};
use crate::span::Span;
/// The operators are those of the source.
pub use crate::syntax::ast::BinaryOp;
use btc_payload::binary::BinaryId;
use btc_payload::event::{Action, EventId};
use btc_payload::manifest::{MapId, MapKind, NamedOption, Positional};
use btc_payload::probe::AttachPoint;
use btc_payload::start::{Feature, StartValue};

/// A whole script.
#[derive(Clone, Debug, Default)]
pub struct Program {
    /// Maps in order of first use; the index is the payload's `MapId`.
    pub maps: Vec<Map>,
    /// Probes in order of the script, one per attach point.
    pub probes: Vec<Probe>,
    /// Kinds of records; the index is the payload's `EventId`.
    pub events: Vec<Event>,
    /// Start values; the index is a [`SlotId`].
    pub slots: Vec<Slot>,
    /// How `$1`, `$2`, ... are used.
    pub positional: Vec<Positional>,
    /// `getopt` options.
    pub options: Vec<NamedOption>,
    /// Settings of the config block and of the build, name and value, in effect order.
    pub settings: Vec<(String, String)>,
    /// Limits that steer code generation.
    pub limits: Limits,
    /// Kernel features that constructs want, for which there is no variant.
    pub requirements: Vec<(Feature, String, Span)>,
    /// Licence of the programs.
    pub license: String,
}

/// Compile-time limits.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// `max_strlen`: longest text that `str()` reads, without NUL.
    pub max_strlen: u32,
    /// Objects larger than this many bytes leave the stack for scratch memory.
    pub on_stack_limit: u32,
}

impl Default for Limits {
    fn default() -> Self {
        // bpftrace's 1024 bytes hold 1023 characters; of the stack a value may take a sixteenth.
        Limits { max_strlen: 1023, on_stack_limit: 32 }
    }
}

/// A map of the script.
#[derive(Clone, Debug)]
pub struct Map {
    /// With `@`.
    pub name: String,
    /// Key; `Tuple([])` for scalar maps.
    pub key: Type,
    /// Value; `Aggregate` for aggregations.
    pub value: Type,
    /// Kind in the kernel.
    pub kind: MapKind,
    /// Entries, when declared.
    pub max_entries: Option<u32>,
    /// First use.
    pub span: Span,
}

/// What kind of BPF program a probe becomes; decides the context's layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ProgramKind {
    /// begin, end, self:signal, test, bench: run by `BPF_PROG_TEST_RUN`; the context is not used.
    RawTracepointRun,
    /// Raw tracepoint; the context is `u64 args[]`.
    RawTracepoint,
    /// Tracepoint; the context is the record.
    Tracepoint,
    /// kprobe; the context is `struct pt_regs` at entry.
    Kprobe,
    /// kretprobe; the context is `struct pt_regs` at return.
    Kretprobe,
    /// uprobe (also usdt).
    Uprobe,
    /// uretprobe.
    Uretprobe,
    /// fentry; the context is `u64 args[]`.
    Fentry,
    /// fexit; arguments, then the return value.
    Fexit,
    /// Timer, software, hardware event or watchpoint; the context is `struct bpf_perf_event_data`.
    PerfEvent,
    /// Iterator; the context is `struct bpf_iter__KIND`.
    Iter,
}

impl ProgramKind {
    /// The section by which libbpf knows the type of a program.
    pub fn section(self) -> &'static str {
        match self {
            ProgramKind::RawTracepointRun | ProgramKind::RawTracepoint => "raw_tp",
            ProgramKind::Tracepoint => "tracepoint",
            ProgramKind::Kprobe => "kprobe",
            ProgramKind::Kretprobe => "kretprobe",
            ProgramKind::Uprobe => "uprobe",
            ProgramKind::Uretprobe => "uretprobe",
            ProgramKind::Fentry => "fentry",
            ProgramKind::Fexit => "fexit",
            ProgramKind::PerfEvent => "perf_event",
            ProgramKind::Iter => "iter",
        }
    }
}

/// One attach point with its code.
#[derive(Clone, Debug)]
pub struct Probe {
    /// Name of the function in the object: unique, `[a-z0-9_]+`.
    pub function: String,
    /// Where it attaches.
    pub attach: AttachPoint,
    /// Kind of program.
    pub kind: ProgramKind,
    /// The attach point as written.
    pub written: String,
    /// Name given by `name=probe`.
    pub label: Option<String>,
    /// Number of the probe in the script; attach points with commas between them share it.
    pub block: u32,
    /// Scratch variables; the index is a [`LocalId`].
    pub locals: Vec<Local>,
    /// Predicate (type `Bool`).
    pub predicate: Option<Expr>,
    /// Body.
    pub body: Block,
    /// The only build of the traced binary that the body, or the place, is right for.
    pub binary: Option<BinaryId>,
    /// The attach point.
    pub span: Span,
}

/// Index into [`Probe::locals`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LocalId(pub u32);

/// Index into [`Program::slots`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SlotId(pub u32);

/// A scratch variable.
#[derive(Clone, Debug)]
pub struct Local {
    /// With `$`, for messages; compiler-made ones have no `$`.
    pub name: String,
    /// Type.
    pub ty: Type,
    /// Is its address taken? Then it lives in memory even if it is a scalar.
    pub address_taken: bool,
    /// Declaration or first assignment.
    pub span: Span,
}

/// A start value.
#[derive(Clone, Debug, PartialEq)]
pub struct Slot {
    /// What the runtime writes.
    pub value: StartValue,
    /// Its type: an integer, or `Str` for texts.
    pub ty: Type,
}

/// A kind of record. The record's fields have the types of the arguments of the
/// `Emit` (all the same for one event).
#[derive(Clone, Debug)]
pub struct Event {
    /// What the tracer does.
    pub action: Action,
    /// Types of the fields.
    pub fields: Vec<Type>,
    /// Place in the script.
    pub span: Span,
}

/// Statements and, for block expressions, a value.
#[derive(Clone, Debug, Default)]
pub struct Block {
    /// In order.
    pub statements: Vec<Stmt>,
}

/// A statement.
#[derive(Clone, Debug)]
pub struct Stmt {
    /// What it is.
    pub kind: StmtKind,
    /// Where it stands.
    pub span: Span,
}

/// The statements.
#[derive(Clone, Debug)]
pub enum StmtKind {
    /// For its effects; the value is dropped.
    Expr(Expr),
    /// The value has the variable's type.
    Assign { local: LocalId, value: Expr },
    /// `let` without value: zero.
    Zero(LocalId),
    /// Stores a map entry; key and value have the map's types.
    MapAssign { map: MapId, key: Expr, value: Expr },
    /// `@m[k] op= v`: a missing entry counts as zero. Value has the map's value type.
    MapUpdate { map: MapId, key: Expr, op: BinaryOp, value: Expr },
    /// `@m[k] = count()` and the like. `value` is what is aggregated, as `I64`
    /// or `U64` by signedness; absent for `count`.
    Aggregate { map: MapId, key: Expr, aggregate: Aggregate, value: Option<Expr> },
    /// Condition is `Bool`.
    If { condition: Expr, then: Block, otherwise: Block },
    /// Condition is `Bool`.
    While { condition: Expr, body: Block },
    /// Body repeated a constant number of times.
    Unroll { count: u32, body: Block },
    /// Body repeated `count` times (`U64`), at most `limit`.
    Repeat { count: Expr, limit: u32, body: Block },
    /// `variable` (integer local) runs from `start` up to, not including, `end`; both `I64`.
    ForRange { variable: LocalId, start: Expr, end: Expr, body: Block },
    /// For every entry: `variable` is a tuple of key and value.
    ForMap { variable: LocalId, map: MapId, body: Block },
    /// Leaves the innermost loop.
    Break,
    /// Next round of the innermost loop.
    Continue,
    /// Ends the probe. The value is the program's result.
    Return(Option<Expr>),
    /// Scope.
    Block(Block),
}

/// An expression with its final type.
#[derive(Clone, Debug)]
pub struct Expr {
    /// What it is.
    pub kind: ExprKind,
    /// Its type.
    pub ty: Type,
    /// Where it stands.
    pub span: Span,
}

/// The expressions.
#[derive(Clone, Debug)]
pub enum ExprKind {
    /// A scalar constant, extended to 64 bits as its type says.
    Const(u64),
    /// Value of an enumerator of a kernel enumeration: relocated on the target.
    /// `value` is that of the reference.
    KernelEnumerator { ctype: CTypeId, name: String, value: i64 },
    /// Size of a kernel type: relocated.
    KernelSizeof(CTypeId),
    /// Offset in bytes of a field of a kernel struct: relocated.
    KernelOffsetof { root: CTypeId, path: Vec<FieldPath> },
    /// Text constant; the type is `Str` with room for its NUL.
    Str(Vec<u8>),
    /// Bytes of a constant array.
    Bytes(Vec<u8>),
    /// Zero of any type (the value of a missing entry, an empty text).
    Zero,
    /// A scratch variable.
    Local(LocalId),
    /// Address of a scratch variable: a `Bpf` pointer.
    AddressOfLocal(LocalId),
    /// Address of a map's value, null if missing: a `Bpf` pointer.
    AddressOfMap { map: MapId, key: Box<Expr> },
    /// A map entry; zero if missing. For aggregations: the integer that all CPUs
    /// make together.
    MapRead { map: MapId, key: Box<Expr> },
    /// A start value.
    Start(SlotId),
    /// `~x`, `-x` on an integer of the expression's own type.
    Negate(Box<Expr>),
    /// `~x`.
    Complement(Box<Expr>),
    /// `!x` on `Bool`.
    Not(Box<Expr>),
    /// Of two operands of one type:
    /// * arithmetic on integers wraps to the width of the type; division and shifts to the
    ///   right have its sign. A division by zero counts as one by 1, and is reported;
    ///   the right operand of a shift is taken modulo 64.
    /// * A comparison gives a `Bool`; strings may differ in size. Scalars compare by the
    ///   sign of their type; other types know only equality, by content.
    /// * `&&` and `||` of `Bool`: the right operand is evaluated only if needed.
    Binary { op: BinaryOp, left: Box<Expr>, right: Box<Expr> },
    /// Pointer moved by `count` (`I64`) elements of the pointee's type.
    PointerOffset { pointer: Box<Expr>, count: Box<Expr> },
    /// Elements between two pointers of one type: `I64`.
    PointerDifference { left: Box<Expr>, right: Box<Expr> },
    /// `++`/`--` on a variable or a map entry (integers and pointers; pointers
    /// move by their pointee's size).
    Increment { place: Place, decrement: bool, prefix: bool },
    /// Both arms have the expression's type (or `Void`).
    Ternary { condition: Box<Expr>, then: Box<Expr>, otherwise: Box<Expr> },
    /// Changes the type: integers wrap or extend by the *source's* signedness;
    /// integer, pointer, enum to `Bool` is `!= 0`; integers and pointers to each
    /// other and to symbol-like scalars keep the bits; texts are cut or padded;
    /// `Array` of `char` to `Str`; `Str`/integer/array to arrays of the same
    /// size by bytes; tuples, records and arrays element by element.
    Convert(Box<Expr>),
    /// What a pointer points to: an lvalue of type `ty` in the pointer's space.
    Dereference(Box<Expr>),
    /// Field of a struct lvalue or value. Chains of fields over one kernel
    /// struct become one CO-RE relocation.
    Field { base: Box<Expr>, field: FieldPath },
    /// Element of an array lvalue or value; `index` is `I64` or `U64`. Constant
    /// indices are checked already, others are clamped to the array for memory
    /// of the program, and not checked for kernel and user memory.
    Element { base: Box<Expr>, index: Box<Expr> },
    /// Element of a tuple or record value.
    TupleElement { base: Box<Expr>, index: u32 },
    /// One byte of a text (`Int` of 1 byte, unsigned); 0 behind its end.
    StrByte { base: Box<Expr>, index: Box<Expr> },
    /// Tuple or record of these values, in the order of the type's fields.
    /// `evaluation` lists the indices in the order in which they are evaluated.
    Tuple { elements: Vec<Expr>, evaluation: Vec<u32> },
    /// Field of the tracepoint's record.
    TracepointField(TracepointField),
    /// Argument of fentry/fexit/rawtracepoint by name; `position` is that of the reference.
    Argument { name: String, position: u32 },
    /// Return value of fexit; `position` is the number of arguments in the reference.
    ReturnValue { position: u32 },
    /// The context pointer.
    Context,
    /// A builtin or function that is code.
    Intrinsic { which: Intrinsic, args: Vec<Expr> },
    /// Sends a record; `Void`.
    Emit { event: EventId, args: Vec<Expr> },
    /// `delete`: `Bool`, whether the entry existed.
    MapDelete { map: MapId, key: Box<Expr> },
    /// `has_key`: `Bool`.
    MapHasKey { map: MapId, key: Box<Expr> },
    /// `find`: `Bool`; stores the value into the variable when there is one.
    MapFind { map: MapId, key: Box<Expr>, into: LocalId },
    /// `len(@m)`: `I64`.
    MapLen { map: MapId },
    /// Statements, then a value.
    Block { body: Block, value: Box<Expr> },
}

/// Something that can be incremented.
#[derive(Clone, Debug)]
pub enum Place {
    /// Variable.
    Local(LocalId),
    /// Map entry.
    Map { map: MapId, key: Box<Expr> },
}

/// A field of a tracepoint's record, as the reference knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct TracepointField {
    /// Name.
    pub name: String,
    /// Offset in the reference, in bytes.
    pub offset: u32,
    /// Size in the reference, in bytes (of the whole field).
    pub size: u32,
    /// `__data_loc`: the record holds `offset | length << 16` of the data, whose
    /// address is taken; `ty` is `Str`, `Array` or a pointer in `Context` space.
    pub data_loc: bool,
    /// `__rel_data_loc`: the same, relative to the end of the field itself.
    pub relative: bool,
}

/// Clock of `nsecs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Clock {
    /// CLOCK_MONOTONIC.
    Monotonic,
    /// CLOCK_BOOTTIME: the default.
    Boot,
    /// CLOCK_TAI, from the kernel.
    Tai,
    /// CLOCK_TAI, from the boot clock and an offset measured at start.
    SoftwareTai,
    /// Coarse monotonic.
    Coarse,
}

/// PID namespace of `pid`/`tid`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PidNamespace {
    /// The tracer's.
    Current,
    /// The initial one.
    Initial,
}

/// Builtins and functions that are code in the program. Arguments and result are
/// given as `(types) -> type`; `ptr` keeps the space of its type.
#[derive(Clone, Debug, PartialEq)]
pub enum Intrinsic {
    /// `() -> u32`.
    Pid(PidNamespace),
    /// `() -> u32`.
    Tid(PidNamespace),
    /// `() -> u64`.
    Uid,
    /// `() -> u64`.
    Gid,
    /// `() -> Str(16)`.
    Comm,
    /// `(i64 pid) -> Str(16)`: needs kfuncs.
    CommOfPid,
    /// `() -> u64`.
    Nsecs(Clock),
    /// `() -> u64`: nanoseconds since the tracer started.
    Elapsed,
    /// `() -> u32`-valued `u64`.
    Cpu,
    /// `() -> u32`.
    NumaNode,
    /// `() -> u64`.
    Jiffies,
    /// `() -> u32`-valued `u64`.
    Random,
    /// `() -> u64`.
    CgroupId,
    /// `() -> ptr` to `task_struct`.
    CurrentTask,
    /// `() -> Bool`/`int`: was user code interrupted? perf events only.
    UserMode,
    /// `() -> Stack`.
    StackTrace,
    /// `() -> ProbeName`/`FunctionName`: id of the attach point that fired.
    AttachId,
    /// `() -> u64`: N-th register argument.
    Arg(u8),
    /// `() -> u64`: N-th stack argument.
    StackArg(u8),
    /// `(u64, ...) -> Struct or Array`: memory put together from registers.
    FromWords,
    /// `() -> u64`: return value register.
    ReturnRegister,
    /// `() -> u64`: register by name of the target architecture.
    Register(String),
    /// `() -> u64`: instruction pointer of the traced function (`func` as `ksym`/`usym`).
    FunctionAddress,
    /// `(ptr, u64 length?) -> Str`: reads text; the length bounds it (NUL included).
    ReadStr,
    /// `(text, u64 n) -> Str`: the text without its first n bytes.
    StrSkip,
    /// `(ptr, u64 length) -> Buf`.
    ReadBuf,
    /// `(array lvalue) -> Buf`, or `(text or array, u64 length) -> Buf`.
    BufOfArray,
    /// `(ptr to ptr) -> Tuple(u32, Array of Str)`: number and strings of an argv; see `Action::Join`.
    JoinArguments,
    /// `(str, str, u64) -> u64`: 0 when the first n characters are equal.
    Strncmp,
    /// `(str haystack, str needle) -> i64`: position, or -2 if there is none.
    Strstr,
    /// `(str) -> u64`.
    Strlen,
    /// `(str, str) -> Str`.
    StrConcat,
    /// `(memory, memory, u64) -> i64`.
    Memcmp,
    /// `(int) -> int` of the same type.
    ByteSwap,
    /// `(u64 addr) -> UserSymbol`.
    UserSymbol,
    /// `(i64 family, int or array lvalue) -> Inet`; family 0: from the size.
    Inet,
    /// `(ptr) -> Mac`.
    Mac,
    /// `(up to three scalars or texts) -> Void`: a line for the kernel's trace
    /// pipe, by this format of the kernel, with its NUL.
    Debugf(Vec<u8>),
    /// `(i64 signal) -> Void`.
    Signal { thread: bool },
    /// `(u64) -> Void`.
    Override,
    /// `(ptr dst, ptr/any src, u64 length) -> i64`.
    WriteUser,
    /// `(ptr) -> u64`.
    SocketCookie,
    /// `(ptr path) -> Str`.
    Path,
    /// `(the fields of the event) -> u64`: see `Action::SkbOutput`; always 0.
    SkbOutput(EventId),
    /// `(u64 per-CPU address, i64 cpu or -1) -> u64`.
    PerCpuPointer,
    /// `(stack) -> i64`: number of frames.
    StackLen,
    /// `(lvalue) -> ptr`: address of a field, element or field of the record.
    AddressOf,
    /// `(...) -> u64`: a kernel function called by name; `ty` is its type.
    Kfunc { name: String, ty: CTypeId },
    /// `(...) -> scalar or void`: a function of an imported C file. `stack` is what it
    /// and those that it calls take of the 512 bytes; `fetches`: it has atomic
    /// operations that give the old value.
    Imported { name: String, stack: u32, fetches: bool },
    /// `() -> ptr`: a map as helpers take it, for functions in C.
    WholeMap(MapId),
    /// `(u64 user_base, u64 start_code) -> u64`: where what `UserReference` names
    /// lies in the process; see `StartValue::UserBase`.
    UserBase,
}

impl Expr {
    /// Is the value known, whole, while compiling?
    pub fn is_constant(&self) -> bool {
        match &self.kind {
            ExprKind::Const(_) | ExprKind::Str(_) => true,
            ExprKind::Tuple { elements, .. } => elements.iter().all(Expr::is_constant),
            _ => false,
        }
    }

    /// The space of an lvalue chain's memory: that of the pointer it starts from;
    /// `Bpf` for values the program holds itself.
    pub fn space(&self) -> Space {
        match &self.kind {
            ExprKind::Dereference(p) => match &p.ty {
                Type::Pointer { space, .. } => *space,
                _ => Space::Bpf,
            },
            ExprKind::Field { base, .. } | ExprKind::Element { base, .. } => base.space(),
            ExprKind::TracepointField(_) | ExprKind::Context => Space::Context,
            _ => Space::Bpf,
        }
    }
}
