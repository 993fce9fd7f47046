//! Values as people read them.

use super::number::{push_hex, push_i64, push_padded, push_u64};
use super::{Renderer, hist, names, stack};
use crate::event::integer;
use crate::maps::{average, word};
use btc_payload::layout::{BUF_DATA, EnumId, INET_ADDRESS, StructType, ValueType, fields_layout};
use std::net::{Ipv4Addr, Ipv6Addr};

/// A part of a value, shorter where the bytes end before.
pub fn slice(bytes: &[u8], at: u32, size: u32) -> &[u8] {
    let start = (at as usize).min(bytes.len());
    &bytes[start..bytes.len().min(start + size as usize)]
}

/// Text up to the first NUL, and whether it was cut.
pub fn string(bytes: &[u8], size: u32) -> (&[u8], bool) {
    match bytes.iter().position(|&b| b == 0) {
        Some(end) => (&bytes[..end], false),
        None if bytes.len() == size as usize && !bytes.is_empty() => (&bytes[..bytes.len() - 1], true),
        None => (bytes, false),
    }
}

/// All bytes, or those up to the first NUL.
pub fn until_nul(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len())]
}

/// The content of a buffer.
pub fn buffer(bytes: &[u8]) -> &[u8] {
    slice(bytes, BUF_DATA, integer(bytes, 4, false).min(i64::from(u32::MAX)) as u32)
}

/// Appends bytes as text, escaped where they are no printable ASCII.
pub fn push_escaped(out: &mut Vec<u8>, bytes: &[u8], all: bool) {
    for &b in bytes {
        if !all && (b == b' ' || b.is_ascii_graphic()) {
            out.push(b);
        } else {
            out.extend_from_slice(b"\\x");
            push_byte(out, b);
        }
    }
}

/// Appends two hex digits.
pub fn push_byte(out: &mut Vec<u8>, byte: u8) {
    if byte < 16 {
        out.push(b'0');
    }
    push_hex(out, byte.into());
}

/// The value of a bit-field, unsigned as everywhere; none for a whole field.
pub fn field(bytes: &[u8], bits: Option<(u8, u8)>) -> Option<i64> {
    let (low, width) = bits?;
    let raw = integer(bytes, bytes.len() as u32, false) as u64;
    let up = 64u32.saturating_sub(u32::from(low) + u32::from(width));
    let down = 64u32.saturating_sub(u32::from(width)).min(63);
    Some(((raw << up) >> down) as i64)
}

impl Renderer<'_> {
    /// Appends a value.
    pub fn text(&mut self, out: &mut Vec<u8>, ty: &ValueType, bytes: &[u8]) {
        use ValueType::*;
        match ty {
            Unit => out.extend_from_slice(b"()"),
            Int { size, signed } => push_int(out, integer(bytes, (*size).into(), *signed), *signed),
            Bool => out.extend_from_slice(if bytes.first().is_some_and(|&b| b != 0) { b"true" } else { b"false" }),
            Pointer => push_pointer(out, word(bytes, 0)),
            Enum { table, size, signed } => {
                let value = integer(bytes, (*size).into(), *signed);
                match self.enum_name(*table, value) {
                    Some(name) => out.extend_from_slice(name.as_bytes()),
                    None => push_int(out, value, *signed),
                }
            }
            Str { size } => {
                let (text, cut) = string(bytes, *size);
                out.extend_from_slice(text);
                if cut {
                    out.extend_from_slice(self.trailer.as_bytes());
                }
            }
            CharArray { .. } => out.extend_from_slice(until_nul(bytes)),
            Buf { .. } => push_escaped(out, buffer(bytes), false),
            Array { elem, len } => self.array(out, elem, *len, bytes),
            Tuple(elems) => {
                out.push(b'(');
                self.list(out, elems, bytes);
                out.push(b')');
            }
            Record(elems) => {
                let (offsets, _) = fields_layout(elems.iter().map(|(_, t)| t));
                let fields = elems.iter().zip(offsets).map(|((n, t), at)| (n.as_str(), t, at, None));
                self.named(out, bytes, fields);
            }
            Struct(s) => self.structure(out, s, bytes),
            Stack { user, mode, .. } => {
                let frames = stack::Frames::new(bytes, *user, *mode);
                self.stack(out, &frames, b"        ");
            }
            KernelSymbol => self.kernel_symbol(out, word(bytes, 0)),
            UserSymbol => {
                let pid = integer(bytes.get(8..).unwrap_or(&[]), 4, false) as u32;
                match &self.user.name(pid, word(bytes, 0)).name {
                    Some(name) => out.extend_from_slice(name.as_bytes()),
                    None => push_unnamed(out, word(bytes, 0)),
                }
            }
            Opaque { .. } => out.extend_from_slice(b"null"),
            Mac => push_mac(out, bytes),
            Inet => push_address(out, bytes),
            Timestamp { format } => {
                let at = self.wall_offset.wrapping_add(word(bytes, 0) as i64);
                super::time::format(out, format, at);
            }
            CgroupPath { controller } => {
                out.extend_from_slice(self.cgroup_paths(word(bytes, 0), controller).as_bytes());
            }
            ErrnoText => out.extend_from_slice(names::error_text(integer(bytes, 4, true) as i32).as_bytes()),
            SignalName => out.extend_from_slice(names::signal_text(integer(bytes, 4, true) as i32).as_bytes()),
            SyscallName => out.extend_from_slice(names::syscall_text(word(bytes, 0) as i64).as_bytes()),
            Username => {
                let name = self.user_name(integer(bytes, 4, false) as u32);
                out.extend_from_slice(name.as_bytes());
            }
            ProbeName => out.extend_from_slice(self.probe(word(bytes, 0)).0.as_bytes()),
            FunctionName => out.extend_from_slice(self.probe(word(bytes, 0)).1.as_bytes()),
            Parameter { index } => match parameter(self.parameter(*index)) {
                Ok((number, signed)) => push_int(out, number, signed),
                Err(text) => out.extend_from_slice(text.as_bytes()),
            },
            Count => push_u64(out, word(bytes, 0)),
            Sum { signed } | Min { signed } | Max { signed } => push_int(out, word(bytes, 0) as i64, *signed),
            Avg { signed } => push_int(out, average(bytes, *signed) as i64, *signed),
            Stats { signed } => self.stats(out, bytes, *signed, 1),
            Hist { .. } | Lhist { .. } => hist::text(out, ty, bytes, 1),
            Tseries { .. } => self.series_text(out, ty, bytes),
        }
    }

    fn array(&mut self, out: &mut Vec<u8>, elem: &ValueType, len: u32, bytes: &[u8]) {
        out.push(b'[');
        for i in 0..len {
            if i > 0 {
                out.push(b',');
            }
            self.text(out, elem, slice(bytes, i * elem.size(), elem.size()));
        }
        out.push(b']');
    }

    /// Appends count, average and total; `print()` divides the average.
    pub fn stats(&self, out: &mut Vec<u8>, bytes: &[u8], signed: bool, div: i64) {
        let names: [&[u8]; 3] = match self.is_json() {
            true => [b"{\"count\": ", b", \"average\": ", b", \"total\": "],
            false => [b"count ", b", average ", b", total "],
        };
        out.extend_from_slice(names[0]);
        push_u64(out, word(bytes, 8));
        out.extend_from_slice(names[1]);
        push_quotient(out, average(bytes, signed), div, signed);
        out.extend_from_slice(names[2]);
        push_int(out, word(bytes, 0) as i64, signed);
        if self.is_json() {
            out.push(b'}');
        }
    }

    /// Appends a key: a tuple's elements without parentheses.
    pub fn key(&mut self, out: &mut Vec<u8>, ty: &ValueType, bytes: &[u8]) {
        match ty {
            ValueType::Tuple(elems) => self.list(out, elems, bytes),
            _ => self.text(out, ty, bytes),
        }
    }

    fn list(&mut self, out: &mut Vec<u8>, elems: &[ValueType], bytes: &[u8]) {
        let (offsets, _) = fields_layout(elems.iter());
        for (i, (t, at)) in elems.iter().zip(offsets).enumerate() {
            if i > 0 {
                out.extend_from_slice(b", ");
            }
            self.text(out, t, slice(bytes, at, t.size()));
        }
    }

    fn structure(&mut self, out: &mut Vec<u8>, s: &StructType, bytes: &[u8]) {
        let fields = s.fields.iter().map(|f| (f.name.as_str(), &f.ty, f.offset, f.bits));
        self.named(out, bytes, fields);
    }

    fn named<'t>(
        &mut self,
        out: &mut Vec<u8>,
        bytes: &[u8],
        fields: impl Iterator<Item = (&'t str, &'t ValueType, u32, Option<(u8, u8)>)>,
    ) {
        out.extend_from_slice(b"{ ");
        for (i, (name, ty, at, bits)) in fields.enumerate() {
            if i > 0 {
                out.extend_from_slice(b", ");
            }
            out.push(b'.');
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b" = ");
            let part = slice(bytes, at, ty.size());
            match field(part, bits) {
                Some(value) => self.text(out, ty, &value.to_le_bytes()),
                None => self.text(out, ty, part),
            }
        }
        out.extend_from_slice(b" }");
    }

    /// Name of an enumeration's value: the target's, else the compiled one.
    pub fn enum_name(&self, table: EnumId, value: i64) -> Option<&str> {
        let index = table.0 as usize;
        let find = |names: &'_ [(i64, String)]| names.iter().position(|n| n.0 == value);
        match self.enums.get(index).filter(|e| !e.is_empty()) {
            Some(names) => find(names).map(|i| names[i].1.as_str()),
            None => {
                let names = &self.manifest.enums.get(index)?.values;
                find(names).map(|i| names[i].1.as_str())
            }
        }
    }

    /// Full name and function part of an attach point.
    pub fn probe(&self, id: u64) -> (&str, &str) {
        let found = usize::try_from(id).ok().and_then(|i| self.probes.get(i.checked_sub(1)?));
        found.map_or(("", ""), |(p, f)| (p, f))
    }

    /// `$N` as it was given.
    pub fn parameter(&self, index: u32) -> Option<&str> {
        self.parameters.get((index as usize).checked_sub(1)?).map(String::as_str)
    }

    fn kernel_symbol(&mut self, out: &mut Vec<u8>, address: u64) {
        match self.kernel.name(address) {
            Some((name, _)) => out.extend_from_slice(name.as_bytes()),
            None => push_unnamed(out, address),
        }
    }
}

/// An address without a symbol; C++ streams, which bpftrace uses, write a null pointer so.
fn push_unnamed(out: &mut Vec<u8>, address: u64) {
    if address == 0 { out.push(b'0') } else { push_pointer(out, address) }
}

/// Appends an integer by its signedness.
pub fn push_int(out: &mut Vec<u8>, value: i64, signed: bool) {
    if signed { push_i64(out, value) } else { push_u64(out, value as u64) }
}

/// What a parameter of the script is shown as: a number and its signedness, or text.
/// One that was not given is 0.
pub fn parameter(given: Option<&str>) -> Result<(i64, bool), &str> {
    let Some(text) = given else { return Ok((0, true)) };
    match crate::options::parse_number(text) {
        // What wrapped was above the largest int64.
        Some(n) => Ok((n, n >= 0 || text.starts_with('-'))),
        None => Err(text),
    }
}

/// Appends `0x...`.
pub fn push_pointer(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(b"0x");
    push_hex(out, value);
}

fn push_address(out: &mut Vec<u8>, bytes: &[u8]) {
    let address = slice(bytes, INET_ADDRESS, 16);
    let mut wide = [0u8; 16];
    wide[..address.len()].copy_from_slice(address);
    let text = match bytes.first() {
        Some(4) => Ipv4Addr::new(wide[0], wide[1], wide[2], wide[3]).to_string(),
        _ => Ipv6Addr::from(wide).to_string(),
    };
    out.extend_from_slice(text.as_bytes());
}

/// Appends nanoseconds as six or nine digits, for time formats.
pub fn push_fraction(out: &mut Vec<u8>, nanoseconds: u64, digits: usize) {
    push_padded(out, if digits == 6 { nanoseconds / 1000 } else { nanoseconds }, digits);
}

/// Appends a hardware address.
fn push_mac(out: &mut Vec<u8>, bytes: &[u8]) {
    for i in 0..6 {
        if i > 0 {
            out.push(b':');
        }
        let b = bytes.get(i).copied().unwrap_or(0);
        super::number::push_bits(out, u64::from(b >> 4), 4, true);
        super::number::push_bits(out, u64::from(b & 15), 4, true);
    }
}

/// Appends a value divided by the `div` of print().
pub(super) fn push_quotient(out: &mut Vec<u8>, value: u64, div: i64, signed: bool) {
    push_int(out, if signed { value as i64 / div } else { (value / div as u64) as i64 }, signed);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::tests::renderer;
    use btc_payload::layout::StructField;
    use btc_payload::manifest::Manifest;

    fn show(ty: &ValueType, bytes: &[u8]) -> String {
        let manifest = Manifest::default();
        let mut out = Vec::new();
        renderer(&manifest).text(&mut out, ty, bytes);
        String::from_utf8(out).unwrap()
    }

    const I32: ValueType = ValueType::Int { size: 4, signed: true };

    #[test]
    fn scalars() {
        assert_eq!(show(&I32, &(-5i32).to_le_bytes()), "-5");
        assert_eq!(show(&ValueType::Int { size: 8, signed: false }, &[0xff; 8]), u64::MAX.to_string());
        assert_eq!(show(&ValueType::Bool, &[1]), "true");
        assert_eq!(show(&ValueType::Pointer, &0x1234u64.to_le_bytes()), "0x1234");
        assert_eq!(show(&ValueType::Str { size: 8 }, b"abc\0xyz\0"), "abc");
        assert_eq!(show(&ValueType::Str { size: 4 }, b"abcd"), "abc..");
        assert_eq!(show(&ValueType::Buf { size: 4 }, &[4, 0, 0, 0, b'a', 1, b' ', 0xff]), "a\\x01 \\xff");
        let e = ValueType::Enum { table: EnumId(0), size: 4, signed: false };
        assert_eq!(show(&e, &[2, 0, 0, 0]), "BB");
        assert_eq!(show(&e, &[7, 0, 0, 0]), "7");
        assert_eq!(show(&ValueType::Mac, &[0x18, 0xc0, 0x4d, 8, 0x2e, 0xbb]), "18:C0:4D:08:2E:BB");
        assert_eq!(show(&ValueType::Username, &[0; 4]), "root");
        assert_eq!(show(&ValueType::ProbeName, &1u64.to_le_bytes()), "kprobe:vfs_read");
        assert_eq!(show(&ValueType::Parameter { index: 2 }, &[0; 8]), "20");
    }

    #[test]
    fn addresses() {
        let mut v4 = vec![4, 0, 0, 0, 127, 0, 0, 1];
        v4.resize(20, 0);
        assert_eq!(show(&ValueType::Inet, &v4), "127.0.0.1");
        let mut v6 = vec![16, 0, 0, 0, 0x20, 1, 0x0d, 0xb8];
        v6.resize(20, 0);
        v6[19] = 1;
        assert_eq!(show(&ValueType::Inet, &v6), "2001:db8::1");
    }

    #[test]
    fn compounds() {
        let bytes: Vec<u8> = [1i32, 2].iter().flat_map(|v| v.to_le_bytes()).collect();
        let array = ValueType::Array { elem: Box::new(I32), len: 2 };
        assert_eq!(show(&array, &bytes), "[1,2]");
        let tuple = ValueType::Tuple(vec![I32, ValueType::Tuple(vec![I32])]);
        assert_eq!(show(&tuple, &bytes), "(1, (2))");
        let record = ValueType::Record(vec![("a".into(), I32), ("b".into(), I32)]);
        assert_eq!(show(&record, &bytes), "{ .a = 1, .b = 2 }");
        let part = |name: &str, bits| StructField {
            name: name.into(),
            offset: 0,
            ty: ValueType::Int { size: 4, signed: true },
            bits,
        };
        let fields = vec![part("low", Some((0, 3))), part("high", Some((3, 4)))];
        let s = ValueType::Struct(Box::new(StructType { size: 4, align: 4, fields }));
        assert_eq!(show(&s, &[0b0011_1010, 0, 0, 0]), "{ .low = 2, .high = 7 }");
    }

    #[test]
    fn aggregates() {
        let two: Vec<u8> = [(-31i64) as u64, 2].iter().flat_map(|v| v.to_le_bytes()).collect();
        assert_eq!(show(&ValueType::Avg { signed: true }, &two), "-15");
        assert_eq!(show(&ValueType::Stats { signed: true }, &two), "count 2, average -15, total -31");
        assert_eq!(show(&ValueType::Avg { signed: true }, &[0; 16]), "0");
    }

    #[test]
    fn missing_bytes_are_zero() {
        for ty in [I32, ValueType::Inet, ValueType::Buf { size: 9 }, ValueType::Str { size: 9 }, ValueType::UserSymbol]
        {
            show(&ty, &[]);
        }
    }
}
