//! What types mean: C types seen as script types, joins of what a variable is
//! given, spellings for messages.
//!
//! In: C types, types as written. Out: `hir::types::Type`. Knows nothing of
//! expressions; the length of `T[]` and the like is asked for by the caller.

use crate::ctypes::{CKind, CTypeId, TypeStore};
use crate::hir::types::{Aggregate, Space, Type};
use btc_payload::layout::StackMode;
use btc_payload::start::Buckets;

/// The script's view of a C type, for an lvalue that lies in `space`.
pub fn from_ctype(store: &TypeStore, id: CTypeId, space: Space) -> Type {
    let ty = store.resolved(id);
    match &ty.kind {
        CKind::Void | CKind::Float { .. } | CKind::Function(_) | CKind::Typedef { .. } => Type::Void,
        CKind::Int(i) if i.is_bool => Type::Bool,
        CKind::Int(i) if i.size > 8 => Type::Array { elem: Box::new(Type::U64), len: i.size / 8 },
        CKind::Int(i) => Type::Int { size: i.size as u8, signed: i.signed },
        CKind::Pointer(to) => Type::Pointer { to: Box::new(from_ctype(store, *to, space)), space },
        CKind::Array { elem, len } => match &store.resolved(*elem).kind {
            // Only `char` itself: `signed char` and `unsigned char` are numbers. Its sign
            // says nothing, as kernels since 6.2 are built with -funsigned-char.
            CKind::Int(i) if &*i.name == "char" => Type::CharArray { len: *len },
            _ => Type::Array { elem: Box::new(from_ctype(store, *elem, space)), len: *len },
        },
        CKind::Composite(_) | CKind::Forward { .. } => Type::Struct { ctype: store.resolve(id) },
        CKind::Enum(e) => Type::Enum { ctype: store.resolve(id), size: e.size as u8, signed: e.signed },
    }
}

/// An enumeration where the script names it or one of its enumerators: all its integers
/// have 64 bits, so that a number without a name shows as itself. Members keep their size.
pub fn wide_enum(ty: Type) -> Type {
    match ty {
        Type::Enum { ctype, .. } => Type::Enum { ctype, size: 8, signed: false },
        other => other,
    }
}

/// The type of a value where it is stored in memory: a pointer into the program's own
/// memory is one into the kernel's there, as verifiers lose sight of what it points to.
pub fn in_memory(ty: &Type) -> Type {
    match ty {
        Type::Pointer { to, space: Space::Bpf } => Type::Pointer { to: to.clone(), space: Space::Kernel },
        Type::Tuple(elems) => Type::Tuple(elems.iter().map(in_memory).collect()),
        Type::Record(elems) => Type::Record(elems.iter().map(|(n, t)| (n.clone(), in_memory(t))).collect()),
        other => other.clone(),
    }
}

/// Smallest signed integer type that holds a literal; `uint64` above the
/// largest `int64`.
pub fn literal_type(value: u64, negative: bool) -> Type {
    let v = value as i64;
    if !negative && value > i64::MAX as u64 {
        return Type::U64;
    }
    let size = match v {
        -0x80..=0x7f => 1,
        -0x8000..=0x7fff => 2,
        -0x8000_0000..=0x7fff_ffff => 4,
        _ => 8,
    };
    Type::Int { size, signed: true }
}

/// The type that holds values of both; `None` where there is none.
pub fn join(a: &Type, b: &Type) -> Option<Type> {
    use Type::*;
    if a == b {
        return Some(a.clone());
    }
    match (a, b) {
        (Int { size: s, signed: x }, Int { size: t, signed: y }) => Some(join_ints((*s, *x), (*t, *y))),
        (Bool, Int { .. }) | (Enum { .. }, Int { .. }) => Some(widen(b)),
        (Int { .. }, Bool | Enum { .. }) => Some(widen(a)),
        (Enum { ctype: x, size: s, .. }, Enum { ctype: y, size: t, .. }) if x == y => {
            Some(if s > t { a.clone() } else { b.clone() })
        }
        (Enum { .. }, Enum { .. }) => Some(Type::I64),
        (Str { size: s }, Str { size: t }) => Some(Str { size: *s.max(t) }),
        (Str { size: s }, CharArray { len }) | (CharArray { len }, Str { size: s }) => {
            Some(Str { size: (*s).max(len + 1) })
        }
        (Buf { size: s }, Buf { size: t }) => Some(Buf { size: *s.max(t) }),
        (Pointer { to: x, space: s }, Pointer { to: y, space: t }) => {
            let to = if x == y { (**x).clone() } else { Void };
            let space = if s == t { *s } else { Space::Any };
            Some(Pointer { to: Box::new(to), space })
        }
        (Tuple(x), Tuple(y)) if x.len() == y.len() => {
            x.iter().zip(y).map(|(x, y)| join(x, y)).collect::<Option<Vec<_>>>().map(Tuple)
        }
        (Record(x), Record(y)) if x.len() == y.len() => join_records(x, y),
        (Array { elem: x, len }, Array { elem: y, len: other }) if len == other => {
            Some(Array { elem: Box::new(join(x, y)?), len: *len })
        }
        (Stack { user, mode, frames }, Stack { user: u, mode: m, frames: f }) if user == u && mode == m => {
            Some(Stack { user: *user, mode: *mode, frames: *frames.max(f) })
        }
        // `func` is the name of the attach point; its address is a symbol, too.
        (KernelSymbol, FunctionName) | (FunctionName, KernelSymbol) => Some(KernelSymbol),
        (Aggregate(x), Aggregate(y)) => join_aggregates(x, y).map(Aggregate),
        _ => None,
    }
}

/// As [`join`], where literals that are not negative made a signed type (`true`) or are to
/// be held: they are at home in unsigned types.
pub fn join_naturals((a, x): (&Type, bool), (b, y): (&Type, bool)) -> Option<Type> {
    match (a, b) {
        (Type::Int { size: s, signed: true }, Type::Int { size: t, signed: false }) if x => {
            Some(Type::Int { size: *s.max(t), signed: false })
        }
        (Type::Int { size: s, signed: false }, Type::Int { size: t, signed: true }) if y => {
            Some(Type::Int { size: *s.max(t), signed: false })
        }
        _ => join(a, b),
    }
}

fn join_ints((s, x): (u8, bool), (t, y): (u8, bool)) -> Type {
    if x == y {
        return Type::Int { size: s.max(t), signed: x };
    }
    // One is unsigned: the next larger signed type holds both, up to 64 bits.
    let (unsigned, signed) = if x { (t, s) } else { (s, t) };
    let size = if unsigned < signed { signed } else { (unsigned * 2).min(8) };
    Type::Int { size, signed: true }
}

fn widen(int: &Type) -> Type {
    match int {
        Type::Int { size, signed } => Type::Int { size: (*size).max(4), signed: *signed },
        _ => Type::I64,
    }
}

fn join_records(x: &[(String, Type)], y: &[(String, Type)]) -> Option<Type> {
    x.iter()
        .map(|(name, t)| {
            let (_, u) = y.iter().find(|(n, _)| n == name)?;
            Some((name.clone(), join(t, u)?))
        })
        .collect::<Option<Vec<_>>>()
        .map(Type::Record)
}

/// Aggregations join with themselves; signedness follows the signed one.
fn join_aggregates(x: &Aggregate, y: &Aggregate) -> Option<Aggregate> {
    use Aggregate::*;
    Some(match (x, y) {
        (Sum { signed: a }, Sum { signed: b }) => Sum { signed: *a || *b },
        (Avg { signed: a }, Avg { signed: b }) => Avg { signed: *a || *b },
        (Min { signed: a }, Min { signed: b }) => Min { signed: *a || *b },
        (Max { signed: a }, Max { signed: b }) => Max { signed: *a || *b },
        (Stats { signed: a }, Stats { signed: b }) => Stats { signed: *a || *b },
        (Tseries { interval_ns, buckets, agg, signed }, Tseries { interval_ns: i, buckets: n, agg: g, signed: s })
            if interval_ns == i && buckets == n && agg == g =>
        {
            Tseries { interval_ns: *interval_ns, buckets: *buckets, agg: *agg, signed: *signed || *s }
        }
        _ => return None,
    })
}

/// Name of the function that makes an aggregate, for messages.
pub fn aggregate_name(a: &Aggregate) -> &'static str {
    use Aggregate::*;
    match a {
        Count => "count",
        Sum { .. } => "sum",
        Avg { .. } => "avg",
        Min { .. } => "min",
        Max { .. } => "max",
        Stats { .. } => "stats",
        Hist { .. } => "hist",
        Lhist { .. } => "lhist",
        Bucketed(of) => match **of {
            Buckets::Hist(_) => "hist",
            Buckets::Lhist(_) => "lhist",
        },
        Tseries { .. } => "tseries",
    }
}

/// Size in bytes of a value of the type, as `sizeof` reports it.
pub fn size_of(store: &TypeStore, ty: &Type) -> u64 {
    use Type::*;
    match ty {
        Void => 0,
        Str { size } => u64::from(*size),
        CharArray { len } => u64::from(*len),
        Buf { size } => u64::from(*size) + u64::from(btc_payload::layout::BUF_DATA),
        Array { elem, len } => size_of(store, elem) * u64::from(*len),
        Struct { ctype } => store.size_of(*ctype).unwrap_or(0),
        Tuple(elems) => layout_size(store, elems.iter()),
        Record(elems) => layout_size(store, elems.iter().map(|(_, t)| t)),
        Stack { frames, .. } => u64::from(btc_payload::layout::STACK_HEADER + frames * 8),
        UserSymbol => 16,
        Mac => 6,
        Inet => u64::from(btc_payload::layout::INET_SIZE),
        Aggregate(_) => 8,
        scalar => u64::from(scalar.scalar_width().0),
    }
}

fn layout_size<'a>(store: &TypeStore, elems: impl Iterator<Item = &'a Type>) -> u64 {
    let (mut at, mut align) = (0u64, 1u64);
    for t in elems {
        let a = align_of(store, t);
        at = at.next_multiple_of(a) + size_of(store, t);
        align = align.max(a);
    }
    at.next_multiple_of(align)
}

fn align_of(store: &TypeStore, ty: &Type) -> u64 {
    use Type::*;
    match ty {
        Void | Str { .. } | CharArray { .. } | Mac => 1,
        Buf { .. } | Inet => 4,
        Array { elem, .. } => align_of(store, elem),
        Struct { ctype } => u64::from(store.align_of(*ctype)).max(1),
        Tuple(elems) => elems.iter().map(|t| align_of(store, t)).max().unwrap_or(1),
        Record(elems) => elems.iter().map(|(_, t)| align_of(store, t)).max().unwrap_or(1),
        Stack { .. } | UserSymbol | Aggregate(_) => 8,
        scalar => u64::from(scalar.scalar_width().0),
    }
}

/// The type as a script would write it.
pub fn spell(store: &TypeStore, ty: &Type) -> String {
    use Type::*;
    let list = |elems: &mut dyn Iterator<Item = String>| elems.collect::<Vec<_>>().join(",");
    match ty {
        Void => "void".into(),
        Bool => "bool".into(),
        Int { size, signed } => format!("{}int{}", if *signed { "" } else { "u" }, u32::from(*size) * 8),
        Enum { ctype, .. } | Struct { ctype } => store.name_of(*ctype),
        Pointer { to, .. } => format!("{} *", spell(store, to)),
        Str { size } => format!("string[{size}]"),
        CharArray { len } => format!("char[{len}]"),
        Buf { size } => format!("buffer[{size}]"),
        Array { elem, len } => format!("{}[{len}]", spell(store, elem)),
        Tuple(elems) => format!("({})", list(&mut elems.iter().map(|t| spell(store, t)))),
        Record(elems) => {
            format!("({})", list(&mut elems.iter().map(|(n, t)| format!("{n}={}", spell(store, t)))))
        }
        Stack { user, mode, .. } => {
            let mode = match mode {
                StackMode::Bpftrace => "",
                StackMode::Perf => "_perf",
                StackMode::Raw => "_raw",
                StackMode::BuildId => "_build_id",
            };
            format!("{}stack{mode}", if *user { "u" } else { "k" })
        }
        KernelSymbol => "ksym_t".into(),
        UserSymbol => "usym_t".into(),
        Mac => "mac_address".into(),
        Inet => "inet".into(),
        Timestamp { .. } => "timestamp".into(),
        CgroupPath { .. } => "cgroup_path_t".into(),
        ErrnoText => "strerror_t".into(),
        SignalName => "signal_name".into(),
        SyscallName => "syscall_name".into(),
        Username => "username".into(),
        ProbeName => "probe".into(),
        FunctionName => "func".into(),
        Parameter { .. } => "parameter".into(),
        Aggregate(a) => format!("{}_t", aggregate_name(a)),
    }
}

/// The integer, string and symbol types that have a name of their own; C names
/// are the type store's business.
pub fn named(name: &str, max_strlen: u32) -> Option<Type> {
    let int = |size, signed| Some(Type::Int { size, signed });
    match name {
        "void" => Some(Type::Void),
        "bool" => Some(Type::Bool),
        "int8" => int(1, true),
        "uint8" => int(1, false),
        "int16" => int(2, true),
        "uint16" => int(2, false),
        "int32" => int(4, true),
        "uint32" => int(4, false),
        "int64" => int(8, true),
        "uint64" => int(8, false),
        "string" => Some(Type::Str { size: max_strlen + 1 }),
        "buffer" => Some(Type::Buf { size: max_strlen }),
        "ksym_t" => Some(Type::KernelSymbol),
        "usym_t" => Some(Type::UserSymbol),
        "inet" => Some(Type::Inet),
        "username" | "username_t" => Some(Type::Username),
        "mac_address" => Some(Type::Mac),
        "probe" => Some(Type::ProbeName),
        "timestamp" => Some(Type::Timestamp { format: "%H:%M:%S".into() }),
        "cgroup_path_t" => Some(Type::CgroupPath { controller: String::new() }),
        "strerror_t" => Some(Type::ErrnoText),
        "min_t" | "max_t" | "avg_t" | "sum_t" | "count_t" | "stats_t" | "hist_t" | "lhist_t" | "tseries_t" => {
            aggregate_named(name.trim_end_matches("_t")).map(Type::Aggregate)
        }
        _ => None,
    }
}

fn aggregate_named(name: &str) -> Option<Aggregate> {
    Some(match name {
        "count" => Aggregate::Count,
        "sum" => Aggregate::Sum { signed: true },
        "avg" => Aggregate::Avg { signed: true },
        "min" => Aggregate::Min { signed: true },
        "max" => Aggregate::Max { signed: true },
        "stats" => Aggregate::Stats { signed: true },
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joins_of_integers() {
        let i = |size, signed| Type::Int { size, signed };
        for (a, b, want) in [
            (i(1, true), i(4, true), i(4, true)),
            (i(4, false), i(1, true), i(8, true)),
            (i(8, false), i(8, true), i(8, true)),
            (i(1, false), i(4, true), i(4, true)),
        ] {
            assert_eq!(join(&a, &b), Some(want.clone()));
            assert_eq!(join(&b, &a), Some(want));
        }
        assert_eq!(join(&Type::I64, &Type::Str { size: 3 }), None);
    }

    #[test]
    fn literals_take_the_smallest_type() {
        for (v, size) in [(0, 1), (127, 1), (128, 2), (40_000, 4), (1 << 40, 8)] {
            assert_eq!(literal_type(v, false), Type::Int { size, signed: true });
        }
        assert_eq!(literal_type(u64::MAX, false), Type::U64);
        assert_eq!(literal_type(u64::MAX, true), Type::Int { size: 1, signed: true });
    }
}
