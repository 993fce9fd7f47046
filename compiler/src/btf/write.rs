//! The sections of BTF being written: strings, and type records.
//!
//! In: one record at a time. Out: ids, and the bytes of `.BTF`.
//! Invariants: equal strings are stored once; ids count from 1 in the order of
//! the calls; a record refers to ids already given out or to 0, `void`.

use std::collections::HashMap;

use super::raw::{HEADER_LEN, Kind, MAGIC};

/// The string section.
pub(super) struct Strings {
    bytes: Vec<u8>,
    offsets: HashMap<String, u32>,
}

impl Strings {
    fn new() -> Self {
        Strings { bytes: vec![0], offsets: HashMap::from([(String::new(), 0)]) }
    }

    /// Offset of a string; a NUL in it ends it.
    pub(super) fn add(&mut self, text: &str) -> u32 {
        let text = text.split('\0').next().unwrap_or("");
        if let Some(&offset) = self.offsets.get(text) {
            return offset;
        }
        let offset = self.bytes.len() as u32;
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.push(0);
        self.offsets.insert(text.to_owned(), offset);
        offset
    }
}

/// Linkage of functions and variables (`BTF_FUNC_*`, `BTF_VAR_*`).
#[derive(Clone, Copy)]
#[repr(u32)]
pub(super) enum Linkage {
    Static = 0,
    Global = 1,
    Extern = 2,
}

/// A member of a struct or union to write.
pub(super) struct MemberRecord<'a> {
    pub(super) name: &'a str,
    pub(super) ty: u32,
    pub(super) bit_offset: u32,
    pub(super) bit_width: u32,
}

/// Writes records; small types that are asked for often are written once.
pub(super) struct Writer {
    pub(super) strings: Strings,
    types: Vec<u8>,
    last_id: u32,
    /// Records without a body, and integers, by their words.
    shared: HashMap<Vec<u32>, u32>,
}

impl Writer {
    pub(super) fn new() -> Self {
        Writer { strings: Strings::new(), types: Vec::new(), last_id: 0, shared: HashMap::new() }
    }

    fn record(&mut self, name: u32, info: u32, size_or_type: u32, body: &[u32]) -> u32 {
        for word in [name, info, size_or_type].iter().chain(body) {
            self.types.extend_from_slice(&word.to_le_bytes());
        }
        self.last_id += 1;
        self.last_id
    }

    /// The id that the next record gets, if it is none of those that are shared.
    pub(super) fn next_id(&self) -> u32 {
        self.last_id + 1
    }

    /// A record whose words are known. Ints among them do not count as shared: whoever
    /// copies records relies on the order of their ids.
    pub(super) fn copied(
        &mut self,
        (kind, vlen, kflag): (Kind, usize, bool),
        name: &str,
        size_or_type: u32,
        body: &[u32],
    ) -> u32 {
        let name = self.strings.add(name);
        self.record(name, info(kind, vlen, kflag), size_or_type, body)
    }

    fn shared(&mut self, name: &str, info: u32, size_or_type: u32, body: &[u32]) -> u32 {
        let name = self.strings.add(name);
        let mut key = vec![name, info, size_or_type];
        key.extend_from_slice(body);
        if let Some(&id) = self.shared.get(&key) {
            return id;
        }
        let id = self.record(name, info, size_or_type, body);
        self.shared.insert(key, id);
        id
    }

    pub(super) fn int(&mut self, name: &str, size: u32, signed: bool, bool: bool) -> u32 {
        let encoding = u32::from(signed) << 24 | u32::from(bool) << 26;
        self.shared(name, info(Kind::Int, 0, false), size, &[encoding | (8 * size)])
    }

    pub(super) fn float(&mut self, name: &str, size: u32) -> u32 {
        self.shared(name, info(Kind::Float, 0, false), size, &[])
    }

    pub(super) fn pointer(&mut self, to: u32) -> u32 {
        self.shared("", info(Kind::Ptr, 0, false), to, &[])
    }

    pub(super) fn constant(&mut self, ty: u32) -> u32 {
        self.shared("", info(Kind::Const, 0, false), ty, &[])
    }

    pub(super) fn forward(&mut self, name: &str, union: bool) -> u32 {
        self.shared(name, info(Kind::Fwd, 0, union), 0, &[])
    }

    pub(super) fn array(&mut self, elem: u32, len: u32) -> u32 {
        let index = self.int("int", 4, true, false);
        self.shared("", info(Kind::Array, 0, false), 0, &[elem, index, len])
    }

    pub(super) fn typedef(&mut self, name: &str, ty: u32) -> u32 {
        self.shared(name, info(Kind::Typedef, 0, false), ty, &[])
    }

    pub(super) fn composite(&mut self, name: &str, union: bool, size: u32, members: &[MemberRecord<'_>]) -> u32 {
        let bit_fields = members.iter().any(|m| m.bit_width != 0);
        let mut body = Vec::with_capacity(3 * members.len());
        for member in members {
            // With the kind flag the top byte is the width, and offsets have 24 bits.
            let width = if bit_fields { member.bit_width << 24 } else { 0 };
            let name = self.strings.add(member.name);
            body.extend([name, member.ty, width | member.bit_offset]);
        }
        let kind = if union { Kind::Union } else { Kind::Struct };
        let name = self.strings.add(name);
        self.record(name, info(kind, members.len(), bit_fields), size, &body)
    }

    pub(super) fn enumeration(&mut self, name: &str, size: u32, signed: bool, values: &[(&str, i64)]) -> u32 {
        let wide = size > 4;
        let mut body = Vec::new();
        for &(name, value) in values {
            body.extend([self.strings.add(name), value as u32]);
            if wide {
                body.push((value as u64 >> 32) as u32);
            }
        }
        let kind = if wide { Kind::Enum64 } else { Kind::Enum };
        let name = self.strings.add(name);
        self.record(name, info(kind, values.len(), signed), size, &body)
    }

    pub(super) fn prototype(&mut self, ret: u32, params: &[(&str, u32)]) -> u32 {
        let mut body = Vec::new();
        for &(name, ty) in params {
            body.extend([self.strings.add(name), ty]);
        }
        self.shared("", info(Kind::FuncProto, params.len(), false), ret, &body)
    }

    pub(super) fn function(&mut self, name: &str, prototype: u32, linkage: Linkage) -> u32 {
        let name = self.strings.add(name);
        // A function's linkage takes the place of the number of members.
        self.record(name, info(Kind::Func, linkage as usize, false), prototype, &[])
    }

    pub(super) fn variable(&mut self, name: &str, ty: u32, linkage: Linkage) -> u32 {
        let name = self.strings.add(name);
        self.record(name, info(Kind::Var, 0, false), ty, &[linkage as u32])
    }

    /// A section of variables: (id, offset, size) each.
    pub(super) fn section(&mut self, name: &str, size: u32, variables: &[(u32, u32, u32)]) -> u32 {
        let body: Vec<u32> = variables.iter().flat_map(|&(id, offset, size)| [id, offset, size]).collect();
        let name = self.strings.add(name);
        self.record(name, info(Kind::Datasec, variables.len(), false), size, &body)
    }

    /// The bytes of `.BTF`.
    pub(super) fn finish(self) -> Vec<u8> {
        let (types, strings) = (self.types.len() as u32, self.strings.bytes.len() as u32);
        let mut out = Vec::with_capacity(HEADER_LEN + (types + strings) as usize);
        out.extend_from_slice(&MAGIC.to_le_bytes());
        out.extend_from_slice(&[1, 0]);
        for word in [HEADER_LEN as u32, 0, types, types, strings] {
            out.extend_from_slice(&word.to_le_bytes());
        }
        out.extend_from_slice(&self.types);
        out.extend_from_slice(&self.strings.bytes);
        out
    }
}

fn info(kind: Kind, vlen: usize, kflag: bool) -> u32 {
    u32::from(kflag) << 31 | (kind as u32) << 24 | (vlen as u32 & 0xffff)
}
