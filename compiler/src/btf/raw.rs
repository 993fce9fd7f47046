//! The bytes of one BTF blob, read in place.
//!
//! In: raw BTF (little endian), and for split BTF the base it extends.
//! Out: type records and strings by id, and ids by name.
//! Invariants: the constructor walks every record once and keeps its offset, so
//! that later reads cannot run out of the section; ids and string offsets that
//! lead nowhere read as `void` and `""`. Nothing else is decoded up front.
//!
//! Why not btf-rs: a build touches a few dozen of a kernel's 130 000 types. Its
//! caching reader makes a value of each and a `HashMap` of their names, its
//! mapping reader needs a file (the reference is decompressed memory). The
//! numbers are in docs/architecture.md. Where a BTF is small (the
//! object's own, see `encode`) btf-rs reads it, as a second opinion.

use std::cell::OnceCell;
use std::ops::Range;
use std::rc::Rc;

use anyhow::{Result, bail, ensure};

use super::index::NameIndex;

/// Bytes at the start of raw BTF, as a little-endian number.
pub const MAGIC: u16 = 0xeb9f;
/// Length of the header this code knows (`struct btf_header`).
pub const HEADER_LEN: usize = 24;

/// Kinds of type records (`BTF_KIND_*` of include/uapi/linux/btf.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[expect(missing_docs, reason = "the names are the format's")]
pub enum Kind {
    Void = 0,
    Int,
    Ptr,
    Array,
    Struct,
    Union,
    Enum,
    Fwd,
    Typedef,
    Volatile,
    Const,
    Restrict,
    Func,
    FuncProto,
    Var,
    Datasec,
    Float,
    DeclTag,
    TypeTag,
    Enum64,
}

const KINDS: [Kind; 20] = [
    Kind::Void,
    Kind::Int,
    Kind::Ptr,
    Kind::Array,
    Kind::Struct,
    Kind::Union,
    Kind::Enum,
    Kind::Fwd,
    Kind::Typedef,
    Kind::Volatile,
    Kind::Const,
    Kind::Restrict,
    Kind::Func,
    Kind::FuncProto,
    Kind::Var,
    Kind::Datasec,
    Kind::Float,
    Kind::DeclTag,
    Kind::TypeTag,
    Kind::Enum64,
];

impl Kind {
    fn from_info(info: u32) -> Option<Kind> {
        KINDS.get((info >> 24 & 0x1f) as usize).copied()
    }

    /// Bytes behind the 12 bytes that every record has.
    fn body_len(self, vlen: usize) -> usize {
        match self {
            Kind::Int | Kind::Var | Kind::DeclTag => 4,
            Kind::Array => 12,
            Kind::Struct | Kind::Union | Kind::Datasec | Kind::Enum64 => 12 * vlen,
            Kind::Enum | Kind::FuncProto => 8 * vlen,
            _ => 0,
        }
    }

    /// `const`, `volatile`, `restrict` and type tags: they change no layout.
    pub fn is_modifier(self) -> bool {
        matches!(self, Kind::Const | Kind::Volatile | Kind::Restrict | Kind::TypeTag)
    }

    /// As a bit, for sets of kinds.
    pub const fn bit(self) -> u32 {
        1 << self as u32
    }
}

/// One type record.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// What it describes.
    pub kind: Kind,
    /// Number of members, values or parameters.
    pub vlen: usize,
    /// Bit-field layout of a struct, union of a forward, sign of an enum.
    pub kflag: bool,
    /// Offset of the name.
    pub name: u32,
    /// Size in bytes, or the id of another type.
    pub size_or_type: u32,
    body: &'a [u8],
}

impl Record<'_> {
    /// The `i`-th 32-bit word behind the common part; 0 past the end.
    pub fn word(&self, i: usize) -> u32 {
        self.body.get(4 * i..4 * i + 4).map_or(0, |b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
    }
}

/// A BTF blob and where its records lie.
pub struct Btf {
    data: Vec<u8>,
    strings: Range<usize>,
    /// Offset of each own record in `data`; own type `first_id + i` is `offsets[i]`.
    offsets: Vec<u32>,
    first_id: u32,
    first_string: u32,
    base: Option<Rc<Btf>>,
    names: OnceCell<NameIndex>,
    enumerators: OnceCell<NameIndex>,
}

/// Kinds that can be found by name.
const NAMED: u32 = Kind::Int.bit()
    | Kind::Struct.bit()
    | Kind::Union.bit()
    | Kind::Enum.bit()
    | Kind::Enum64.bit()
    | Kind::Typedef.bit()
    | Kind::Func.bit();

fn word_at(data: &[u8], at: usize) -> u32 {
    data.get(at..at + 4).map_or(0, |b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
}

/// Type and string sections of a blob, bounds checked.
fn sections(data: &[u8]) -> Result<(Range<usize>, Range<usize>)> {
    ensure!(data.len() >= HEADER_LEN, "too short to be BTF");
    let magic = u16::from_le_bytes([data[0], data[1]]);
    if magic == MAGIC.swap_bytes() {
        bail!("big-endian BTF is not supported");
    }
    ensure!(magic == MAGIC, "not BTF: the magic number is missing");
    ensure!(data[2] == 1, "unknown BTF version {}", data[2]);
    let at = |i: usize| word_at(data, i) as usize;
    let header = at(4);
    let range = |start: usize, len: usize| -> Result<Range<usize>> {
        let start = header.checked_add(start);
        let end = start.and_then(|s| s.checked_add(len));
        match (start, end) {
            (Some(s), Some(e)) if e <= data.len() && header >= HEADER_LEN => Ok(s..e),
            _ => bail!("truncated BTF: a section ends behind the end of the data"),
        }
    };
    Ok((range(at(8), at(12))?, range(at(16), at(20))?))
}

/// Whether the blob can only be split BTF: some name lies behind its own strings.
pub fn is_split(data: &[u8]) -> Result<bool> {
    let (types, strings) = sections(data)?;
    let mut at = types.start;
    while at + 12 <= types.end {
        if word_at(data, at) as usize >= strings.len() {
            return Ok(true);
        }
        let info = word_at(data, at + 4);
        let Some(kind) = Kind::from_info(info) else {
            break;
        };
        at += 12 + kind.body_len((info & 0xffff) as usize);
    }
    Ok(strings.is_empty())
}

impl Btf {
    /// Reads a blob; `base` is what a module's (split) BTF extends.
    pub fn new(data: Vec<u8>, base: Option<Rc<Btf>>) -> Result<Btf> {
        let (types, strings) = sections(&data)?;
        ensure!(data.len() < u32::MAX as usize, "BTF of 4 GiB or more");
        let mut offsets = Vec::with_capacity(types.len() / 36);
        if base.is_none() {
            offsets.push(u32::MAX); // type 0, `void`, has no record
        }
        let mut at = types.start;
        while at < types.end {
            let info = word_at(&data, at + 4);
            let Some(kind) = Kind::from_info(info).filter(|&k| k != Kind::Void) else {
                bail!("BTF record {} has unknown kind {}", offsets.len(), info >> 24 & 0x1f);
            };
            let end = at + 12 + kind.body_len((info & 0xffff) as usize);
            ensure!(end <= types.end, "truncated BTF: record {} is cut off", offsets.len());
            offsets.push(at as u32);
            at = end;
        }
        Ok(Btf {
            first_id: base.as_ref().map_or(0, |b| b.end_id()),
            first_string: base.as_ref().map_or(0, |b| b.end_string()),
            data,
            strings,
            offsets,
            base,
            names: OnceCell::new(),
            enumerators: OnceCell::new(),
        })
    }

    /// First id that belongs to this blob and not to its base.
    pub fn first_id(&self) -> u32 {
        self.first_id
    }

    /// One past the last id.
    pub fn end_id(&self) -> u32 {
        self.first_id + self.offsets.len() as u32
    }

    fn end_string(&self) -> u32 {
        self.first_string + self.strings.len() as u32
    }

    /// What this blob extends.
    pub fn base(&self) -> Option<&Rc<Btf>> {
        self.base.as_ref()
    }

    /// A record by id; ids that do not exist are `void`.
    pub fn record(&self, id: u32) -> Record<'_> {
        if id < self.first_id
            && let Some(base) = &self.base
        {
            return base.record(id);
        }
        let own = id.wrapping_sub(self.first_id) as usize;
        let at = match self.offsets.get(own) {
            Some(&at) if at != u32::MAX => at as usize,
            _ => {
                return Record { kind: Kind::Void, vlen: 0, kflag: false, name: 0, size_or_type: 0, body: &[] };
            }
        };
        let info = word_at(&self.data, at + 4);
        let kind = Kind::from_info(info).unwrap_or(Kind::Void);
        let vlen = (info & 0xffff) as usize;
        Record {
            kind,
            vlen,
            kflag: info >> 31 != 0,
            name: word_at(&self.data, at),
            size_or_type: word_at(&self.data, at + 8),
            body: self.data.get(at + 12..at + 12 + kind.body_len(vlen)).unwrap_or(&[]),
        }
    }

    /// The bytes of a string; empty if it does not exist.
    pub fn string_bytes(&self, offset: u32) -> &[u8] {
        if offset < self.first_string
            && let Some(base) = &self.base
        {
            return base.string_bytes(offset);
        }
        let tail = self
            .data
            .get(self.strings.clone())
            .and_then(|s| s.get(offset.wrapping_sub(self.first_string) as usize..))
            .unwrap_or(&[]);
        let end = tail.iter().position(|&b| b == 0).unwrap_or(tail.len());
        &tail[..end]
    }

    /// A string; empty if it does not exist or is not UTF-8 (C identifiers are).
    pub fn string(&self, offset: u32) -> &str {
        std::str::from_utf8(self.string_bytes(offset)).unwrap_or("")
    }

    /// Ids of own (not the base's) types of this name whose kind is in the set
    /// `kinds`, lowest first.
    pub fn ids_by_name<'a>(&'a self, name: &'a str, kinds: u32) -> impl Iterator<Item = u32> + 'a {
        let index = self.names.get_or_init(|| self.index_names());
        index.candidates(name.as_bytes()).filter(move |&id| {
            let record = self.record(id);
            record.kind.bit() & kinds != 0 && self.string_bytes(record.name) == name.as_bytes()
        })
    }

    fn index_names(&self) -> NameIndex {
        let mut index = NameIndex::with_capacity(self.offsets.len());
        for id in self.first_id.max(1)..self.end_id() {
            let record = self.record(id);
            if record.kind.bit() & NAMED != 0 && record.name != 0 {
                index.insert(self.string_bytes(record.name), id);
            }
        }
        index
    }

    /// The own enumeration that has a value of this name, and which value.
    pub fn enumerator(&self, name: &str) -> Option<(u32, usize)> {
        let index = self.enumerators.get_or_init(|| self.index_enumerators());
        index.candidates(name.as_bytes()).find_map(|id| {
            let record = self.record(id);
            let words = enumerator_words(record.kind)?;
            (0..record.vlen).find(|&i| self.string_bytes(record.word(i * words)) == name.as_bytes()).map(|i| (id, i))
        })
    }

    fn index_enumerators(&self) -> NameIndex {
        let mut index = NameIndex::with_capacity(self.offsets.len() / 4);
        for id in self.first_id.max(1)..self.end_id() {
            let record = self.record(id);
            let Some(words) = enumerator_words(record.kind) else {
                continue;
            };
            for i in 0..record.vlen {
                index.insert(self.string_bytes(record.word(i * words)), id);
            }
        }
        index
    }

    /// Every own name of a kind in the set, with its id, in id order.
    pub fn named(&self, kinds: u32) -> impl Iterator<Item = (&str, u32)> {
        (self.first_id.max(1)..self.end_id()).filter_map(move |id| {
            let record = self.record(id);
            let name = self.string(record.name);
            (record.kind.bit() & kinds != 0 && !name.is_empty()).then_some((name, id))
        })
    }
}

/// Words per value of an enumeration; `None` for other kinds.
pub fn enumerator_words(kind: Kind) -> Option<usize> {
    match kind {
        Kind::Enum => Some(2),
        Kind::Enum64 => Some(3),
        _ => None,
    }
}
