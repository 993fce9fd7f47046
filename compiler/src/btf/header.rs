//! A kernel's types as a C header, for C files that include `vmlinux.h`.
//!
//! In: one blob. Out: the text. Invariants: it compiles; sizes and offsets are the
//! kernel's, by padding where C would lay out otherwise; accesses are relocated on the
//! target. Left out is what changes none of that: `const`, names of parameters,
//! functions, variables. Of two types with one name the second gets a number, as
//! libbpf's btf_dump does it.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;

use super::raw::{Btf, Kind, Record, enumerator_words};

/// Longest chain of declarators and nests of anonymous structs, against cycles in
/// damaged BTF.
const MAX_DEPTH: usize = 64;

const HEAD: &str = "#ifndef __VMLINUX_H__\n#define __VMLINUX_H__\n\n\
#ifndef BPF_NO_PRESERVE_ACCESS_INDEX\n\
#pragma clang attribute push (__attribute__((preserve_access_index)), apply_to = record)\n#endif\n\n";

const TAIL: &str = "\n#ifndef BPF_NO_PRESERVE_ACCESS_INDEX\n#pragma clang attribute pop\n#endif\n\n#endif\n";

/// The header of a kernel.
pub fn header(btf: &Btf) -> String {
    let mut dump = Dump {
        btf,
        out: HEAD.to_string(),
        names: HashMap::new(),
        taken: HashMap::new(),
        done: HashSet::new(),
        aligns: HashMap::new(),
        pads: 0,
    };
    dump.name_all();
    dump.enums();
    dump.forwards();
    for id in 1..btf.end_id() {
        dump.define(id, false, 0);
    }
    dump.out + TAIL
}

struct Dump<'a> {
    btf: &'a Btf,
    out: String,
    /// Names in the header of named types.
    names: HashMap<u32, String>,
    /// How often a name was given, by whether it is a tag.
    taken: HashMap<(bool, String), u32>,
    /// Types that are written, or are about to be; with typedefs, whether what they
    /// stand for is complete.
    done: HashSet<(u32, bool)>,
    aligns: HashMap<u32, u64>,
    /// Members for padding so far: anonymous structs share the names of what they are in.
    pads: u32,
}

/// Struct or union?
fn is_composite(kind: Kind) -> bool {
    matches!(kind, Kind::Struct | Kind::Union)
}

fn is_enum(kind: Kind) -> bool {
    enumerator_words(kind).is_some()
}

impl Dump<'_> {
    /// A name that nothing else of the header has.
    fn unique(&mut self, tag: bool, name: &str) -> String {
        let count = self.taken.entry((tag, name.to_string())).or_insert(0);
        *count += 1;
        if *count == 1 { name.to_string() } else { format!("{name}___{count}") }
    }

    /// Names all types. Forward declarations share the name of the definition.
    fn name_all(&mut self) {
        for id in 1..self.btf.end_id() {
            let record = self.btf.record(id);
            let tag = is_composite(record.kind) || is_enum(record.kind);
            let text = self.btf.string(record.name);
            if text.is_empty() || !(tag || record.kind == Kind::Typedef) {
                continue;
            }
            // The names of the compiler's own types are taken.
            let own = if text.starts_with("__builtin_") { "_" } else { "" };
            let name = self.unique(tag, &format!("{own}{text}"));
            self.names.insert(id, name);
        }
    }

    /// All enumerations: they depend on nothing, and their constants are wanted.
    fn enums(&mut self) {
        for id in 1..self.btf.end_id() {
            let record = self.btf.record(id);
            let Some(words) = enumerator_words(record.kind) else { continue };
            let name = self.names.get(&id).cloned().unwrap_or_default();
            let mut text = format!("enum {name} {{\n");
            for i in 0..record.vlen {
                let constant = self.unique(false, self.btf.string(record.word(words * i)));
                let low = record.word(words * i + 1);
                let value = match (words, record.kflag) {
                    (2, true) => (low as i32).to_string(),
                    (2, false) => format!("{low}U"),
                    _ => format!("{}LL", (u64::from(record.word(words * i + 2)) << 32 | u64::from(low)) as i64),
                };
                let _ = writeln!(text, "\t{constant} = {value},");
            }
            if record.vlen == 0 {
                continue;
            }
            let packed = if record.size_or_type < 4 { " __attribute__((packed))" } else { "" };
            let _ = writeln!(self.out, "{text}}}{packed};\n");
        }
    }

    /// All structs and unions by name, so that pointers to them can be written anywhere.
    fn forwards(&mut self) {
        let mut known = HashSet::new();
        for id in 1..self.btf.end_id() {
            let record = self.btf.record(id);
            let (keyword, name) = match record.kind {
                Kind::Struct | Kind::Union => (keyword(record.kind), self.names.get(&id).cloned()),
                Kind::Fwd => (forward(&record), Some(self.btf.string(record.name).to_string())),
                _ => continue,
            };
            if let Some(name) = name.filter(|n| known.insert(n.clone())) {
                let _ = writeln!(self.out, "{keyword} {name};");
            }
        }
        self.out.push('\n');
    }

    /// Writes a type before what needs it. Behind a pointer a struct need not be complete.
    fn define(&mut self, id: u32, pointed: bool, depth: usize) {
        let record = self.btf.record(id);
        if depth > MAX_DEPTH {
            return;
        }
        match record.kind {
            Kind::Ptr => self.define(record.size_or_type, true, depth + 1),
            // Elements must be complete, wherever the array is.
            Kind::Array => self.define(record.word(0), false, depth + 1),
            Kind::FuncProto => {
                self.define(record.size_or_type, true, depth + 1);
                (0..record.vlen).for_each(|i| self.define(record.word(2 * i + 1), true, depth + 1));
            }
            Kind::Typedef => self.typedef(id, &record, pointed, depth),
            Kind::Struct | Kind::Union => {
                let named = self.names.contains_key(&id);
                if named && (pointed || !self.done.insert((id, true))) {
                    return;
                }
                (0..record.vlen).for_each(|i| self.define(record.word(3 * i + 1), false, depth + 1));
                if named {
                    let text = self.body(id, depth);
                    let _ = writeln!(self.out, "{text};\n");
                }
            }
            kind if kind.is_modifier() => self.define(record.size_or_type, pointed, depth + 1),
            _ => {}
        }
    }

    fn typedef(&mut self, id: u32, record: &Record<'_>, pointed: bool, depth: usize) {
        if self.done.insert((id, false)) {
            self.define(record.size_or_type, true, depth + 1);
            let name = self.names.get(&id).cloned().unwrap_or_default();
            let text = self.declare(record.size_or_type, name, depth);
            let _ = writeln!(self.out, "typedef {text};\n");
        }
        if !pointed && self.done.insert((id, true)) {
            self.define(record.size_or_type, false, depth + 1);
        }
    }

    /// `TYPE NAME` in C's inside-out spelling.
    fn declare(&mut self, id: u32, inner: String, depth: usize) -> String {
        let record = self.btf.record(id);
        if depth > MAX_DEPTH {
            return format!("void *{inner}");
        }
        match record.kind {
            Kind::Ptr => {
                let target = self.bare(record.size_or_type);
                let wraps = matches!(self.btf.record(target).kind, Kind::Array | Kind::FuncProto);
                let inner = if wraps { format!("(*{inner})") } else { format!("*{inner}") };
                self.declare(target, inner, depth + 1)
            }
            Kind::Array => self.declare(record.word(0), format!("{inner}[{}]", record.word(2)), depth + 1),
            Kind::FuncProto => {
                let params: Vec<String> = (0..record.vlen)
                    .map(|i| match record.word(2 * i + 1) {
                        0 => "...".to_string(),
                        ty => self.declare(ty, String::new(), depth + 1),
                    })
                    .collect();
                let params = match params.as_slice() {
                    // C wants a parameter before the dots.
                    [only] if only == "..." => String::new(),
                    [] => "void".to_string(),
                    _ => params.join(", "),
                };
                self.declare(record.size_or_type, format!("{inner}({params})"), depth + 1)
            }
            kind if kind.is_modifier() => self.declare(record.size_or_type, inner, depth + 1),
            _ => format!("{} {inner}", self.base(id, &record, depth)),
        }
    }

    /// The type behind modifiers.
    fn bare(&self, mut id: u32) -> u32 {
        for _ in 0..MAX_DEPTH {
            let record = self.btf.record(id);
            if !record.kind.is_modifier() {
                break;
            }
            id = record.size_or_type;
        }
        id
    }

    fn base(&mut self, id: u32, record: &Record<'_>, depth: usize) -> String {
        let name = self.names.get(&id);
        match (record.kind, name) {
            (Kind::Struct | Kind::Union, None) => self.body(id, depth + 1),
            (Kind::Enum | Kind::Enum64, None) => plain(record.size_or_type, record.kflag).to_string(),
            // Without values there is no definition.
            (Kind::Enum | Kind::Enum64, _) if record.vlen == 0 => plain(record.size_or_type, record.kflag).to_string(),
            (Kind::Struct | Kind::Union | Kind::Enum | Kind::Enum64, Some(name)) => {
                format!("{} {name}", keyword(record.kind))
            }
            (Kind::Typedef, Some(name)) => name.clone(),
            (Kind::Fwd, _) => format!("{} {}", forward(record), self.btf.string(record.name)),
            (Kind::Int | Kind::Float, _) => self.btf.string(record.name).to_string(),
            _ => "void".into(),
        }
    }

    /// `struct NAME { ... }` with the layout that the kernel has.
    fn body(&mut self, id: u32, depth: usize) -> String {
        let record = self.btf.record(id);
        let name = self.names.get(&id).map(|n| format!(" {n}")).unwrap_or_default();
        let mut out = format!("{}{name} {{\n", keyword(record.kind));
        if depth > MAX_DEPTH {
            return out + "}";
        }
        let packed = self.is_packed(&record);
        let union = record.kind == Kind::Union;
        let mut at = 0;
        for i in 0..record.vlen {
            let (ty, place) = (record.word(3 * i + 1), record.word(3 * i + 2));
            let (offset, width) =
                if record.kflag { (u64::from(place & 0xff_ffff), place >> 24) } else { (u64::from(place), 0) };
            let unit = if packed { 8 } else { 8 * self.align(ty, 0) };
            if !union {
                let storage = 8 * self.size(ty, 0);
                self.pad(&mut out, &mut at, offset, (width, unit), storage);
            }
            let member = self.declare(ty, self.btf.string(record.word(3 * i)).to_string(), depth + 1);
            let bits = if width == 0 { String::new() } else { format!(": {width}") };
            let _ = writeln!(out, "\t{member}{bits};");
            let end = if width == 0 { offset + 8 * self.size(ty, 0) } else { offset + u64::from(width) };
            at = if union { at.max(end) } else { end };
        }
        let size = u64::from(record.size_or_type);
        let align = if packed { 1 } else { self.align(id, 0) };
        let used = at.div_ceil(8);
        if used.next_multiple_of(align) < size {
            let room = if union { size } else { size - used };
            out += &self.padding(room);
        }
        out + if packed { "} __attribute__((packed))" } else { "}" }
    }

    /// Fills up to where a member is, if C would put it elsewhere. `at` and `offset` count
    /// bits; a bit-field goes on where the last one ended if its storage has room.
    fn pad(&mut self, out: &mut String, at: &mut u64, offset: u64, (width, unit): (u32, u64), storage: u64) {
        let natural = match width {
            0 => at.next_multiple_of(unit.max(8)),
            width => {
                let storage = storage.max(8);
                let fits = *at / storage == (*at + u64::from(width) - 1) / storage;
                if fits { *at } else { at.next_multiple_of(storage) }
            }
        };
        if natural == offset {
            return;
        }
        while *at < offset && !at.is_multiple_of(8) {
            let bits = (8 - *at % 8).min(offset - *at);
            let _ = writeln!(out, "\tunsigned char: {bits};");
            *at += bits;
        }
        let bytes = offset.saturating_sub(*at) / 8;
        if bytes > 0 {
            out.push_str(&self.padding(bytes));
            *at += 8 * bytes;
        }
        if *at < offset {
            let _ = writeln!(out, "\tunsigned char: {};", offset - *at);
        }
    }

    /// A member that takes `bytes` bytes.
    fn padding(&mut self, bytes: u64) -> String {
        self.pads += 1;
        format!("\tchar __pad_{}[{bytes}];\n", self.pads)
    }

    /// Does C put something elsewhere than it is, for alignment?
    fn is_packed(&mut self, record: &Record<'_>) -> bool {
        let mut most = 1;
        for i in 0..record.vlen {
            let (ty, place) = (record.word(3 * i + 1), record.word(3 * i + 2));
            let width = if record.kflag { place >> 24 } else { 0 };
            let offset = if record.kflag { place & 0xff_ffff } else { place };
            let align = self.align(ty, 0);
            if width == 0 && u64::from(offset) % (8 * align) != 0 {
                return true;
            }
            most = most.max(align);
        }
        u64::from(record.size_or_type) % most != 0
    }

    /// Alignment in bytes that C gives the type.
    fn align(&mut self, id: u32, depth: usize) -> u64 {
        if let Some(&known) = self.aligns.get(&id) {
            return known;
        }
        let record = self.btf.record(id);
        let align = match record.kind {
            _ if depth > MAX_DEPTH => 1,
            Kind::Ptr => 8,
            Kind::Int | Kind::Enum | Kind::Enum64 | Kind::Float => u64::from(record.size_or_type).clamp(1, 16),
            Kind::Array => self.align(record.word(0), depth + 1),
            Kind::Struct | Kind::Union => {
                let most = (0..record.vlen).map(|i| self.align(record.word(3 * i + 1), depth + 1)).max();
                if self.is_packed(&record) { 1 } else { most.unwrap_or(1) }
            }
            kind if kind == Kind::Typedef || kind.is_modifier() => self.align(record.size_or_type, depth + 1),
            _ => 1,
        };
        self.aligns.insert(id, align);
        align
    }

    /// Size in bytes.
    fn size(&self, id: u32, depth: usize) -> u64 {
        let record = self.btf.record(id);
        match record.kind {
            _ if depth > MAX_DEPTH => 0,
            Kind::Ptr => 8,
            Kind::Array => self.size(record.word(0), depth + 1).saturating_mul(record.word(2).into()),
            kind if kind == Kind::Typedef || kind.is_modifier() => self.size(record.size_or_type, depth + 1),
            Kind::Int | Kind::Float | Kind::Struct | Kind::Union | Kind::Enum | Kind::Enum64 => {
                record.size_or_type.into()
            }
            _ => 0,
        }
    }
}

fn keyword(kind: Kind) -> &'static str {
    match kind {
        Kind::Struct => "struct",
        Kind::Union => "union",
        _ => "enum",
    }
}

fn forward(record: &Record<'_>) -> &'static str {
    if record.kflag { "union" } else { "struct" }
}

/// The integer that stands for an enumeration without a name.
fn plain(size: u32, signed: bool) -> &'static str {
    match (size, signed) {
        (1, true) => "signed char",
        (1, false) => "unsigned char",
        (2, true) => "short",
        (2, false) => "unsigned short",
        (8, true) => "long long",
        (8, false) => "unsigned long long",
        (_, true) => "int",
        (_, false) => "unsigned int",
    }
}
