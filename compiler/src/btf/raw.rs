//! The bytes of one BTF blob, read in place.
//!
//! In: raw BTF (little endian), and for split BTF the base it extends.
//! Out: type records and strings by id, and ids by name.
//! Invariants: the constructor walks every record once and keeps its offset and
//! name, so that later reads cannot run out of the section; ids and string
//! offsets that lead nowhere read as `void` and `""`. Nothing else is decoded up
//! front, and no index of names is built: a name is found by searching the string
//! section for its offset, and the kept names for that, which takes a fraction of
//! a millisecond for a whole kernel, where an index of its 100 000 names takes ten.
//!
//! Why not btf-rs: a build touches a few dozen of a kernel's 114 000 types. For
//! those, its caching reader takes 136 ms and 40 MiB, as it makes a value of every
//! type; its mapping reader takes 3.5 ms, and 2.6 ms per name, but wants a file,
//! and the reference is memory. This one: 2 ms, and 0.03 ms per name. (CPU time,
//! release build, btf-rs 2.0, Debian's 6.12.) btf-rs reads what `encode` writes,
//! as a second opinion.

use std::ops::Range;
use std::rc::Rc;

use anyhow::{Result, bail, ensure};
use memchr::{memchr, memmem};

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
    /// Offset of each own type's name, 0 for none, as `offsets`.
    names: Vec<u32>,
    /// Own ids of enumerations.
    enums: Vec<u32>,
    base: Option<Rc<Btf>>,
}

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
        let mut btf = Btf {
            first_id: base.as_ref().map_or(0, |b| b.end_id()),
            first_string: base.as_ref().map_or(0, |b| b.end_string()),
            strings,
            offsets: Vec::with_capacity(types.len() / 24),
            names: Vec::with_capacity(types.len() / 24),
            enums: Vec::new(),
            base,
            data,
        };
        btf.walk(types)?;
        Ok(btf)
    }

    fn walk(&mut self, types: Range<usize>) -> Result<()> {
        if self.base.is_none() {
            // Type 0, `void`, has no record.
            self.offsets.push(u32::MAX);
            self.names.push(0);
        }
        let mut at = types.start;
        while at < types.end {
            let info = word_at(&self.data, at + 4);
            let Some(kind) = Kind::from_info(info).filter(|&k| k != Kind::Void) else {
                bail!("BTF record {} has an unknown kind", self.end_id());
            };
            let end = at + 12 + kind.body_len((info & 0xffff) as usize);
            ensure!(end <= types.end, "truncated BTF: record {} is cut off", self.end_id());
            if enumerator_words(kind).is_some() {
                self.enums.push(self.end_id());
            }
            self.names.push(word_at(&self.data, at));
            self.offsets.push(at as u32);
            at = end;
        }
        Ok(())
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
        match &self.base {
            Some(base) if id < self.first_id => return base.record(id),
            _ => {}
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
        match &self.base {
            Some(base) if offset < self.first_string => return base.string_bytes(offset),
            _ => {}
        }
        let tail = self.own_strings().get(offset.wrapping_sub(self.first_string) as usize..).unwrap_or(&[]);
        &tail[..memchr(0, tail).unwrap_or(tail.len())]
    }

    fn own_strings(&self) -> &[u8] {
        self.data.get(self.strings.clone()).unwrap_or(&[])
    }

    /// A string; empty if it does not exist or is not UTF-8 (C identifiers are).
    pub fn string(&self, offset: u32) -> &str {
        std::str::from_utf8(self.string_bytes(offset)).unwrap_or("")
    }

    /// Where a string is stored: in its own section, its base's, or both.
    /// Producers store each once and whole (`btf__dedup`, pahole).
    fn offsets_of(&self, text: &str) -> Vec<u32> {
        let mut offsets = match &self.base {
            Some(base) => base.offsets_of(text),
            None => Vec::new(),
        };
        if text.is_empty() || text.contains('\0') {
            return offsets;
        }
        let strings = self.own_strings();
        let whole = format!("\0{text}\0");
        let own = if strings.starts_with(&whole.as_bytes()[1..]) {
            Some(0) // split BTF does not begin with an empty string
        } else {
            memmem::find(strings, whole.as_bytes()).map(|at| at as u32 + 1)
        };
        offsets.extend(own.map(|at| self.first_string + at));
        offsets
    }

    /// Ids of own (not the base's) types of this name whose kind is in the set
    /// `kinds`, lowest first.
    pub fn ids_by_name(&self, name: &str, kinds: u32) -> impl Iterator<Item = u32> + '_ {
        let wanted = self.offsets_of(name);
        let last = if wanted.is_empty() { 0 } else { self.names.len() };
        let ids = self.names[..last].iter().zip(self.first_id..);
        ids.filter(move |&(name, _)| wanted.contains(name))
            .map(|(_, id)| id)
            .filter(move |&id| self.record(id).kind.bit() & kinds != 0)
    }

    /// The own enumeration that has a value of this name, and which value.
    pub fn enumerator(&self, name: &str) -> Option<(u32, usize)> {
        let wanted = self.offsets_of(name);
        if wanted.is_empty() {
            return None;
        }
        self.enums.iter().find_map(|&id| {
            let record = self.record(id);
            let words = enumerator_words(record.kind)?;
            let is_it = |&i: &usize| wanted.contains(&record.word(i * words));
            (0..record.vlen).find(is_it).map(|i| (id, i))
        })
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
