//! Value types: how the bytes of a value lie in records, map keys and map
//! values, and what they mean when they are shown.
//!
//! In: a [`ValueType`]. Out: its size, alignment and field offsets. The compiler
//! stores by these numbers and the runtime reads by them. All integers are in
//! the target's byte order; padding is zero, so that keys compare as bytes.

use serde::{Deserialize, Serialize};

/// Index into [`crate::manifest::Manifest::enums`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EnumId(pub u32);

/// How frames of a stack are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum StackMode {
    /// `        symbol+offset`, one frame a line.
    #[default]
    Bpftrace,
    /// As `perf script`: address, symbol and module.
    Perf,
    /// Bare addresses.
    Raw,
    /// Build id and file offset of each user frame.
    BuildId,
}

/// A type that bytes can have.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ValueType {
    /// No bytes at all: the empty tuple, the key of a scalar map.
    Unit,
    /// Integer of 1, 2, 4 or 8 bytes.
    Int { size: u8, signed: bool },
    /// One byte, 0 or 1; shown as `true`/`false`.
    Bool,
    /// Eight bytes, shown as `0x...`.
    Pointer,
    /// Integer shown by its name where it has one.
    Enum { table: EnumId, size: u8, signed: bool },
    /// Text up to the first NUL. A last byte that is not NUL means that the text
    /// was cut: the bytes before it are shown, then the truncation trailer.
    Str { size: u32 },
    /// `char[len]` of a C struct: text up to the first NUL or the end.
    CharArray { len: u32 },
    /// `u32` length, then up to `size` bytes.
    Buf { size: u32 },
    /// `len` elements without gaps.
    Array { elem: Box<ValueType>, len: u32 },
    /// Elements at their natural alignment, in order.
    Tuple(Vec<ValueType>),
    /// As a tuple, with names.
    Record(Vec<(String, ValueType)>),
    /// A C struct or union by value, laid out as the compiler chose.
    Struct(Box<StructType>),
    /// `u32` number of frames, `u32` process id (0 for kernel stacks), `u32`
    /// index of the probe's program, `u32` reserved, then `frames` addresses.
    Stack { user: bool, mode: StackMode, frames: u32 },
    /// Eight bytes: kernel address shown as a symbol.
    KernelSymbol,
    /// `u64` address, `u32` pid, `u32` reserved: user address shown as a symbol.
    UserSymbol,
    /// Bytes whose value is not shown: a floating-point number.
    Opaque { size: u32 },
    /// Six bytes.
    Mac,
    /// `u8` length (4 or 16), 3 bytes of padding, then 16 bytes of address.
    Inet,
    /// Eight bytes of nanoseconds (boot clock), shown by `strftime` with this format.
    Timestamp { format: String },
    /// Eight bytes: cgroup id shown as paths. `controller` is the optional filter of `cgroup_path`.
    CgroupPath { controller: String },
    /// Four bytes: errno shown as its text.
    ErrnoText,
    /// Four bytes: signal number shown as its name.
    SignalName,
    /// Eight bytes: system call number shown as its name.
    SyscallName,
    /// Four bytes: user id shown as its name.
    Username,
    /// Eight bytes: attach-point id, shown as the full name of the probe.
    ProbeName,
    /// Eight bytes: attach-point id, shown as the function part of the probe.
    FunctionName,
    /// Eight bytes: a positional parameter printed as it was given. The index is 1-based.
    Parameter { index: u32 },
    /// Counter: `u64`, per CPU, added up.
    Count,
    /// `u64`, per CPU, added up.
    Sum { signed: bool },
    /// `u64` total, `u64` count, per CPU; shown as the quotient.
    Avg { signed: bool },
    /// `u64` value, `u64` is-set, per CPU.
    Min { signed: bool },
    /// `u64` value, `u64` is-set, per CPU.
    Max { signed: bool },
    /// `u64` total, `u64` count, per CPU; count, average and total are shown.
    Stats { signed: bool },
    /// `u64` per bucket, per CPU; 2^`bits` buckets per power of two.
    Hist { bits: u8 },
    /// `u64` per bucket, per CPU: below `min`, each step, from `max` up.
    Lhist { min: i64, max: i64, step: i64 },
    /// Ring of `buckets` entries of (`u64` epoch, `u64` value, `u64` count), per CPU.
    Tseries { interval_ns: u64, buckets: u32, agg: SeriesAgg, signed: bool },
}

/// How values of one interval of a time series are combined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum SeriesAgg {
    /// The last value written wins.
    Last,
    /// Mean.
    Avg,
    /// Largest.
    Max,
    /// Smallest.
    Min,
    /// Total.
    Sum,
}

/// A C struct or union by value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StructType {
    /// Size in bytes.
    pub size: u32,
    /// Alignment in bytes.
    pub align: u32,
    /// Fields in order.
    pub fields: Vec<StructField>,
}

/// A field of a [`StructType`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StructField {
    /// Name; empty for what has none.
    pub name: String,
    /// Offset in bytes of the storage unit.
    pub offset: u32,
    /// Type; for bit-fields the integer type of the storage unit.
    pub ty: ValueType,
    /// For bit-fields: lowest bit within the storage unit and width.
    pub bits: Option<(u8, u8)>,
}

/// Bytes before the addresses of a [`ValueType::Stack`].
pub const STACK_HEADER: u32 = 16;
/// Bytes of a [`ValueType::Inet`].
pub const INET_SIZE: u32 = 20;
/// Offset of the address within a [`ValueType::Inet`].
pub const INET_ADDRESS: u32 = 4;
/// Offset of the bytes within a [`ValueType::Buf`].
pub const BUF_DATA: u32 = 4;
/// Bytes of one bucket of a time series.
pub const SERIES_BUCKET: u32 = 24;
/// Most sub-bucket bits of `hist`.
pub const HIST_MAX_BITS: u8 = 5;

impl ValueType {
    /// Size in bytes.
    pub fn size(&self) -> u32 {
        use ValueType::*;
        match self {
            Unit => 0,
            Int { size, .. } | Enum { size, .. } => u32::from(*size),
            Bool => 1,
            Str { size } => *size,
            CharArray { len } => *len,
            Buf { size } => BUF_DATA + *size,
            Array { elem, len } => elem.size().saturating_mul(*len),
            Tuple(elems) => fields_layout(elems.iter()).1,
            Record(elems) => fields_layout(elems.iter().map(|(_, t)| t)).1,
            Struct(s) => s.size,
            Stack { frames, .. } => STACK_HEADER + frames * 8,
            Opaque { size } => *size,
            Mac => 6,
            Inet => INET_SIZE,
            ErrnoText | SignalName | Username => 4,
            Pointer
            | KernelSymbol
            | Timestamp { .. }
            | CgroupPath { .. }
            | SyscallName
            | ProbeName
            | FunctionName
            | Parameter { .. }
            | Count
            | Sum { .. } => 8,
            UserSymbol | Avg { .. } | Min { .. } | Max { .. } | Stats { .. } => 16,
            Hist { bits } => hist_buckets(*bits) * 8,
            Lhist { min, max, step } => lhist_buckets(*min, *max, *step) * 8,
            Tseries { buckets, .. } => buckets * SERIES_BUCKET,
        }
    }

    /// Alignment in bytes.
    pub fn align(&self) -> u32 {
        use ValueType::*;
        match self {
            Unit | Bool | Str { .. } | CharArray { .. } | Opaque { .. } | Mac => 1,
            Int { size, .. } | Enum { size, .. } => u32::from(*size),
            Buf { .. } | Inet | ErrnoText | SignalName | Username => 4,
            Array { elem, .. } => elem.align(),
            Tuple(elems) => elems.iter().map(ValueType::align).max().unwrap_or(1),
            Record(elems) => elems.iter().map(|(_, t)| t.align()).max().unwrap_or(1),
            Struct(s) => s.align.max(1),
            _ => 8,
        }
    }

    /// Is it kept per CPU and combined when read?
    pub fn is_aggregate(&self) -> bool {
        use ValueType::*;
        matches!(
            self,
            Count
                | Sum { .. }
                | Avg { .. }
                | Min { .. }
                | Max { .. }
                | Stats { .. }
                | Hist { .. }
                | Lhist { .. }
                | Tseries { .. }
        )
    }
}

/// Offsets of fields laid out in order at their natural alignment, and the size
/// of the whole, rounded up to the largest alignment.
pub fn fields_layout<'a>(fields: impl Iterator<Item = &'a ValueType>) -> (Vec<u32>, u32) {
    let (mut at, mut align, mut offsets) = (0u32, 1u32, Vec::new());
    for f in fields {
        at = at.next_multiple_of(f.align());
        offsets.push(at);
        at = at.saturating_add(f.size());
        align = align.max(f.align());
    }
    (offsets, at.next_multiple_of(align))
}

/// Number of buckets of `hist` with `bits` sub-bucket bits: one for negative
/// values, one each for 0 to 2^bits - 1, then 2^bits for each power of two from
/// 2^bits to 2^63.
pub fn hist_buckets(bits: u8) -> u32 {
    let per = 1u32 << bits;
    1 + per + (64 - u32::from(bits)) * per
}

/// Most buckets of `lhist` and `tseries` between their bounds.
pub const MAX_BUCKETS: u32 = 1000;

/// What is wrong with the bounds of an `lhist`, and which of minimum, maximum and step it is.
pub fn lhist_fault(min: i64, max: i64, step: i64) -> Option<(usize, String)> {
    let span = i128::from(max) - i128::from(min);
    Some(if step <= 0 {
        (2, "the step of `lhist` must be above zero".into())
    } else if span <= 0 {
        (1, "the maximum of `lhist` must be above its minimum".into())
    } else if i128::from(step) > span {
        (2, "the step of `lhist` is larger than its range".into())
    } else if span / i128::from(step) > i128::from(MAX_BUCKETS) || lhist_buckets(min, max, step) > MAX_BUCKETS + 2 {
        (2, format!("`lhist` has more than {MAX_BUCKETS} buckets"))
    } else {
        return None;
    })
}

/// Bucket of `value` in a `hist` with `bits` sub-bucket bits.
pub fn hist_bucket(value: i64, bits: u8) -> u32 {
    if value < 0 {
        return 0;
    }
    let (v, per) = (value as u64, 1u64 << bits);
    if v < per {
        return 1 + v as u32;
    }
    let log = 63 - v.leading_zeros();
    let sub = (v >> (log - u32::from(bits))) & (per - 1);
    1 + per as u32 + (log - u32::from(bits)) * per as u32 + sub as u32
}

/// Bounds `[low, high)` of a bucket of `hist`; `None` for the negative one. The
/// high bound of the last bucket saturates.
pub fn hist_bounds(bucket: u32, bits: u8) -> Option<(u64, u64)> {
    let per = 1u32 << bits;
    let i = bucket.checked_sub(1)?;
    if i < per {
        return Some((u64::from(i), u64::from(i) + 1));
    }
    let (log, sub) = ((i - per) / per + u32::from(bits), u64::from((i - per) % per));
    let step = 1u64 << (log - u32::from(bits));
    let low = (1u64 << log).saturating_add(step.saturating_mul(sub));
    Some((low, low.saturating_add(step)))
}

/// Number of buckets of `lhist`: below `min`, the steps, from `max` up.
pub fn lhist_buckets(min: i64, max: i64, step: i64) -> u32 {
    let span = max.saturating_sub(min).max(0);
    let step = step.max(1);
    u32::try_from(span / step + i64::from(span % step != 0)).unwrap_or(u32::MAX / 16) + 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tuple_layout_is_natural() {
        let t = ValueType::Tuple(vec![
            ValueType::Bool,
            ValueType::Int { size: 8, signed: true },
            ValueType::Str { size: 3 },
        ]);
        let ValueType::Tuple(elems) = &t else { unreachable!() };
        assert_eq!(fields_layout(elems.iter()), (vec![0, 8, 16], 24));
        assert_eq!((t.size(), t.align()), (24, 8));
    }

    #[test]
    fn hist_buckets_and_bounds_agree() {
        for bits in 0..=HIST_MAX_BITS {
            for v in (0..5000).chain((0..63).map(|s| 1i64 << s)).chain([i64::MAX]) {
                let b = hist_bucket(v, bits);
                assert!(b < hist_buckets(bits));
                let (low, high) = hist_bounds(b, bits).unwrap();
                assert!(low <= v as u64 && (v as u64) < high, "{v} not in [{low}, {high}) with {bits} bits");
            }
            assert_eq!(hist_bounds(hist_bucket(-1, bits), bits), None);
        }
    }
}
