//! A reader of the target's BTF, for what must be looked up by name: arguments
//! of functions, values of enumerations.
//!
//! In: `/sys/kernel/btf/*` or a file. Out: answers. Types are walked in the
//! mapped file; only their offsets are kept (4 bytes each). Every access is
//! bounds-checked: the file may come from the command line.

use super::files::Mapped;
use anyhow::{Context, Result, bail};
use std::ops::Deref;
use std::path::Path;

const KIND_PTR: u32 = 2;
const KIND_STRUCT: u32 = 4;
const KIND_ENUM: u32 = 6;
const KIND_TYPEDEF: u32 = 8;
const KIND_FUNC: u32 = 12;
const KIND_FUNC_PROTO: u32 = 13;
const KIND_ENUM64: u32 = 19;

/// Bytes behind the common 12-byte header of a type, for `n` members.
fn tail_size(kind: u32, n: u32) -> Option<u32> {
    Some(match kind {
        1 | 14 | 17 => 4,
        2 | 7..=12 | 16 | 18 => 0,
        3 => 12,
        4 | 5 | 15 | 19 => n.checked_mul(12)?,
        6 | 13 => n.checked_mul(8)?,
        _ => return None,
    })
}

/// The file: mapped where the kernel can (the memory is its own then), else read.
enum Data {
    Mapped(Mapped),
    Read(Vec<u8>),
}

impl Deref for Data {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match self {
            Data::Mapped(m) => m,
            Data::Read(v) => v,
        }
    }
}

/// BTF of the kernel or, with `base`, of a module.
pub struct Btf {
    data: Data,
    strings: usize,
    strings_len: usize,
    /// Offset of each type in `data`.
    types: Vec<u32>,
    base: Option<Box<Btf>>,
}

/// What a lookup of an argument found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Argument {
    /// Position, from 0.
    pub index: u32,
    /// Number of arguments of the function.
    pub count: u32,
}

impl Btf {
    /// Reads the kernel's BTF, from `file` when given.
    pub fn kernel(file: Option<&Path>) -> Result<Btf> {
        let path = file.unwrap_or(Path::new("/sys/kernel/btf/vmlinux"));
        Self::open(path, None)
    }

    /// Reads the BTF of a module, which refers to that of the kernel.
    pub fn module(name: &str, base: Btf) -> Result<Btf> {
        Self::open(&Path::new("/sys/kernel/btf").join(name), Some(Box::new(base)))
    }

    fn open(path: &Path, base: Option<Box<Btf>>) -> Result<Btf> {
        let data = match Mapped::open(&path.to_string_lossy()) {
            Ok(mapped) => Data::Mapped(mapped),
            Err(_) => {
                Data::Read(std::fs::read(path).with_context(|| format!("cannot read BTF from {}", path.display()))?)
            }
        };
        Self::parse(data, base).with_context(|| format!("{} is no valid BTF", path.display()))
    }

    fn parse(data: Data, base: Option<Box<Btf>>) -> Result<Btf> {
        let word =
            |at: usize| data.get(at..at + 4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).context("cut short");
        if data.get(..2) != Some(&[0x9f, 0xeb]) {
            bail!("wrong magic number");
        }
        let header = word(4)? as usize;
        let (type_off, type_len, str_off, str_len) =
            (word(8)? as usize, word(12)? as usize, word(16)? as usize, word(20)? as usize);
        let (mut at, end, strings) = (header + type_off, header + type_off + type_len, header + str_off);
        if end > data.len() || strings + str_len > data.len() {
            bail!("cut short");
        }
        let mut types = Vec::new();
        while at < end {
            types.push(at as u32);
            let info = word(at + 4)?;
            let tail = tail_size(info >> 24 & 0x1f, info & 0xffff).context("unknown kind of type")?;
            at += 12 + tail as usize;
        }
        Ok(Btf { data, strings, strings_len: str_len, types, base })
    }

    fn word(&self, at: usize) -> u32 {
        self.data.get(at..at + 4).map_or(0, |b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
    }

    /// First id of this BTF's own types, and offset of its own strings in the whole numbering.
    fn first_id(&self) -> u32 {
        self.base.as_ref().map_or(1, |b| b.first_id() + b.types.len() as u32)
    }

    fn first_string(&self) -> usize {
        self.base.as_ref().map_or(0, |b| b.first_string() + b.strings_len)
    }

    fn string(&self, offset: u32) -> &[u8] {
        let Some(own) = (offset as usize).checked_sub(self.first_string()) else {
            return self.base.as_ref().map_or(&[], |b| b.string(offset));
        };
        let bytes = self.data.get(self.strings + own..self.strings + self.strings_len).unwrap_or(&[]);
        &bytes[..bytes.iter().position(|&b| b == 0).unwrap_or(0)]
    }

    /// The BTF that holds a type, and where in it.
    fn locate(&self, id: u32) -> Option<(&Btf, usize)> {
        match id.checked_sub(self.first_id()) {
            Some(own) => self.types.get(own as usize).map(|&at| (self, at as usize)),
            None => self.base.as_ref()?.locate(id),
        }
    }

    fn kind(&self, at: usize) -> u32 {
        self.word(at + 4) >> 24 & 0x1f
    }

    fn count(&self, at: usize) -> u32 {
        self.word(at + 4) & 0xffff
    }

    /// Own or inherited type of a kind by name; own ones first.
    fn find(&self, kind: u32, name: &str) -> Option<(&Btf, usize)> {
        let own = self
            .types
            .iter()
            .map(|&at| at as usize)
            .find(|&at| self.kind(at) == kind && self.string(self.word(at)) == name.as_bytes());
        own.map(|at| (self, at)).or_else(|| self.base.as_ref()?.find(kind, name))
    }

    /// Is there a struct of this name?
    pub fn has_struct(&self, name: &str) -> bool {
        self.find(KIND_STRUCT, name).is_some()
    }

    /// Id of the function of this name, of this BTF's own.
    pub fn function_id(&self, name: &str) -> Option<u32> {
        let is =
            |&at: &u32| self.kind(at as usize) == KIND_FUNC && self.string(self.word(at as usize)) == name.as_bytes();
        let own = self.types.iter().position(is)?;
        Some(self.first_id() + own as u32)
    }

    /// Position of a function's argument by name. `Ok(None)`: no such argument.
    pub fn argument(&self, function: &str, name: &str) -> Result<Option<Argument>> {
        let (btf, at) = self.find(KIND_FUNC, function).with_context(|| format!("BTF has no function {function}"))?;
        let proto = self.locate(btf.word(at + 8)).context("the function has no prototype")?;
        Ok(Self::parameter(proto, name, 0))
    }

    /// Number of a function's arguments.
    pub fn arguments(&self, function: &str) -> Result<u32> {
        let (btf, at) = self.find(KIND_FUNC, function).with_context(|| format!("BTF has no function {function}"))?;
        let (proto, at) = self.locate(btf.word(at + 8)).context("the function has no prototype")?;
        Ok(proto.count(at))
    }

    /// As [`Btf::argument`], of a raw tracepoint. Names have the functions that the
    /// kernel makes for each one (include/linux/tracepoint.h); which of them BTF
    /// describes differs between kernels. The prototype of `btf_trace_NAME` has them
    /// on few. The first parameter is private to the kernel in all of them.
    pub fn tracepoint_argument(&self, event: &str, name: &str) -> Result<Option<Argument>> {
        for prefix in ["__probestub_", "__traceiter_", "__bpf_trace_"] {
            let function = self.find(KIND_FUNC, &format!("{prefix}{event}"));
            let proto = function.and_then(|(btf, at)| self.locate(btf.word(at + 8)));
            if let Some(found) = proto.and_then(|proto| Self::parameter(proto, name, 1)) {
                return Ok(Some(found));
            }
        }
        let wanted = format!("btf_trace_{event}");
        let (btf, at) = self.find(KIND_TYPEDEF, &wanted).with_context(|| format!("BTF has no type {wanted}"))?;
        let (pointer, at) = self.locate(btf.word(at + 8)).context("broken typedef")?;
        if pointer.kind(at) != KIND_PTR {
            bail!("{wanted} is no function pointer");
        }
        let proto = self.locate(pointer.word(at + 8)).context("broken pointer")?;
        Ok(Self::parameter(proto, name, 1))
    }

    fn parameter((btf, at): (&Btf, usize), name: &str, skip: u32) -> Option<Argument> {
        if btf.kind(at) != KIND_FUNC_PROTO {
            return None;
        }
        let count = btf.count(at);
        let index = (skip..count).find(|&i| btf.string(btf.word(at + 12 + i as usize * 8)) == name.as_bytes())?;
        Some(Argument { index: index - skip, count: count - skip })
    }

    /// Values and names of an enumeration.
    pub fn enumeration(&self, name: &str) -> Option<Vec<(i64, String)>> {
        let (btf, at, wide) = match self.find(KIND_ENUM, name) {
            Some((btf, at)) => (btf, at, false),
            None => self.find(KIND_ENUM64, name).map(|(btf, at)| (btf, at, true))?,
        };
        let signed = btf.word(at + 4) >> 31 == 1;
        let text = |offset| String::from_utf8_lossy(btf.string(offset)).into_owned();
        Some(
            (0..btf.count(at) as usize)
                .map(|i| {
                    let m = at + 12 + i * if wide { 12 } else { 8 };
                    let low = btf.word(m + 4);
                    let value = match (wide, signed) {
                        (true, _) => i64::from(low) | i64::from(btf.word(m + 8)) << 32,
                        (false, true) => i64::from(low as i32),
                        (false, false) => i64::from(low),
                    };
                    (value, text(btf.word(m)))
                })
                .collect(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `void f(int first, int second)` and `enum e { A = -1, B = 2 }`.
    fn sample() -> Vec<u8> {
        let strings = b"\0int\0first\0second\0f\0e\0A\0B\0";
        let at = |s: &str| {
            let needle: Vec<u8> = [b"\0", s.as_bytes(), b"\0"].concat();
            strings.windows(needle.len()).position(|w| w == needle).unwrap() as u32 + 1
        };
        let types: Vec<u32> = vec![
            at("int"),
            1 << 24,
            4,
            0x0100_0020, // 1: int
            0,
            13 << 24 | 2,
            0,
            at("first"),
            1,
            at("second"),
            1, // 2: prototype
            at("f"),
            12 << 24,
            2, // 3: f
            at("e"),
            6 << 24 | 2 | 1 << 31,
            4,
            at("A"),
            u32::MAX,
            at("B"),
            2, // 4: e
        ];
        let body: Vec<u8> = types.iter().flat_map(|w| w.to_le_bytes()).collect();
        let mut out = vec![0x9f, 0xeb, 1, 0];
        for w in [24, 0, body.len() as u32, body.len() as u32, strings.len() as u32] {
            out.extend_from_slice(&w.to_le_bytes());
        }
        out.extend_from_slice(&body);
        out.extend_from_slice(strings);
        out
    }

    #[test]
    fn arguments_and_enumerations() {
        let btf = Btf::parse(Data::Read(sample()), None).unwrap();
        assert_eq!(btf.argument("f", "second").unwrap(), Some(Argument { index: 1, count: 2 }));
        assert_eq!(btf.argument("f", "third").unwrap(), None);
        assert!(btf.argument("g", "first").is_err());
        assert_eq!(btf.enumeration("e").unwrap(), [(-1, "A".to_string()), (2, "B".to_string())]);
        assert!(btf.function_id("f") == Some(3) && !btf.has_struct("f"));
    }

    #[test]
    fn damage_never_panics() {
        let good = sample();
        for at in 0..good.len() {
            let _ = Btf::parse(Data::Read(good[..at].to_vec()), None);
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[at] ^= 1 << bit;
                if let Ok(btf) = Btf::parse(Data::Read(bad), None) {
                    let _ = (btf.argument("f", "second"), btf.enumeration("e"));
                }
            }
        }
    }
}
