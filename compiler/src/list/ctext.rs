//! BTF as C text, as libbpf's btf_dump writes it.
//!
//! In: ids of a blob. Out: declarations and definitions with the kernel's own
//! spelling of types (`long unsigned int`), `const` kept: that is what people
//! compare with bpftrace and bpftool. The type store drops both, because no
//! script's meaning depends on them.
//! Left out: padding that a script cannot see, and type tags.

use crate::btf::{Btf, Kind};
use std::fmt::Write as _;

/// Longest chain of pointers, arrays and modifiers, against cycles in damaged BTF.
const MAX_CHAIN: usize = 64;

/// Deepest nesting of anonymous members.
const MAX_DEPTH: usize = 16;

/// Writes declarations of one blob's types.
pub(super) struct CText<'a> {
    pub btf: &'a Btf,
}

impl CText<'_> {
    /// The type alone: `const char *`.
    pub fn type_name(&self, id: u32) -> String {
        self.declaration(id, "", 0)
    }

    /// `TYPE NAME`, always with a blank between, as bpftrace lists parameters.
    pub fn parameter(&self, id: u32, name: &str) -> String {
        format!("{} {name}", self.type_name(id))
    }

    /// `struct x { ... };` and a newline.
    pub fn definition(&self, id: u32) -> String {
        format!("{};\n", self.body(id, 0))
    }

    fn declaration(&self, id: u32, name: &str, depth: usize) -> String {
        let mut chain = Vec::new();
        let mut at = id;
        while chain.len() < MAX_CHAIN {
            chain.push(at);
            let record = self.btf.record(at);
            at = match record.kind {
                Kind::Array => record.word(0),
                Kind::Ptr | Kind::FuncProto => record.size_or_type,
                kind if kind.is_modifier() => record.size_or_type,
                _ => break,
            };
        }
        let mut out = String::new();
        self.emit(&mut chain, name, depth, &mut out);
        out
    }

    /// Writes a chain from its base outwards, then the name.
    fn emit(&self, chain: &mut Vec<u32>, name: &str, depth: usize, out: &mut String) {
        let mut after_pointer = true;
        while let Some(id) = chain.pop() {
            let record = self.btf.record(id);
            match record.kind {
                Kind::Ptr => out.push_str(if after_pointer { "*" } else { " *" }),
                Kind::TypeTag => {}
                kind if kind.is_modifier() => {
                    let _ = write!(out, " {}", modifier(kind));
                }
                Kind::Array => return self.array(chain, name, record.word(2), after_pointer, depth, out),
                Kind::FuncProto => return self.function(id, chain, name, depth, out),
                _ => {
                    self.modifiers(chain, out);
                    out.push_str(&self.base(id, depth));
                }
            }
            after_pointer = record.kind == Kind::Ptr;
        }
        put_name(name, after_pointer, out);
    }

    /// Modifiers that stand before the base they belong to.
    fn modifiers(&self, chain: &mut Vec<u32>, out: &mut String) {
        while let Some(&id) = chain.last() {
            let kind = self.btf.record(id).kind;
            if !kind.is_modifier() {
                break;
            }
            if kind != Kind::TypeTag {
                let _ = write!(out, "{} ", modifier(kind));
            }
            chain.pop();
        }
    }

    fn array(&self, chain: &mut Vec<u32>, name: &str, len: u32, after_pointer: bool, depth: usize, out: &mut String) {
        // Modifiers of arrays belong to the elements, which have them already.
        while chain.last().is_some_and(|&id| self.btf.record(id).kind.is_modifier()) {
            chain.pop();
        }
        let Some(&next) = chain.last() else {
            put_name(name, after_pointer, out);
            let _ = write!(out, "[{len}]");
            return;
        };
        let nested = self.btf.record(next).kind == Kind::Array;
        if !name.is_empty() && !after_pointer {
            out.push(' ');
        }
        let mut inner = String::new();
        self.emit(chain, name, depth, &mut inner);
        let inner = inner.trim_start();
        let _ = if nested { write!(out, "{inner}[{len}]") } else { write!(out, "({inner})[{len}]") };
    }

    fn function(&self, id: u32, chain: &mut Vec<u32>, name: &str, depth: usize, out: &mut String) {
        if chain.is_empty() {
            put_name(name, false, out);
        } else {
            out.push_str(" (");
            self.emit(chain, name, depth, out);
            out.push(')');
        }
        let record = self.btf.record(id);
        let params: Vec<String> = (0..record.vlen)
            .map(|i| match (record.word(2 * i), record.word(2 * i + 1)) {
                (0, 0) if i > 0 => "...".to_string(),
                (name, ty) => self.declaration(ty, self.btf.string(name), depth + 1),
            })
            .collect();
        let params = if params.is_empty() { "void".to_string() } else { params.join(", ") };
        let _ = write!(out, "({params})");
    }

    /// The spelling of what is neither pointer nor array nor function.
    fn base(&self, id: u32, depth: usize) -> String {
        let record = self.btf.record(id);
        let name = self.btf.string(record.name);
        match record.kind {
            Kind::Void => "void".into(),
            Kind::Struct | Kind::Union | Kind::Enum | Kind::Enum64 if name.is_empty() => self.body(id, depth),
            Kind::Fwd => format!("{} {name}", if record.kflag { "union" } else { "struct" }),
            kind => match tag(kind) {
                Some(tag) => format!("{tag} {name}"),
                None => name.to_string(),
            },
        }
    }

    /// `struct x { ... }`, inner lines indented by `depth + 1` tabs.
    fn body(&self, id: u32, depth: usize) -> String {
        let record = self.btf.record(id);
        let name = self.btf.string(record.name);
        let mut out = tag(record.kind).unwrap_or("").to_string();
        put_name(name, false, &mut out);
        out.push_str(" {");
        if depth > MAX_DEPTH {
            return out + " ... }";
        }
        let lines = match record.kind {
            Kind::Struct | Kind::Union => self.members(id, depth),
            _ => self.values(id),
        };
        for line in &lines {
            let _ = write!(out, "\n{}{line}", "\t".repeat(depth + 1));
        }
        if !lines.is_empty() {
            let _ = write!(out, "\n{}", "\t".repeat(depth));
        }
        out.push('}');
        if matches!(record.kind, Kind::Struct | Kind::Union) && self.is_packed(id) {
            out.push_str(" __attribute__((packed))");
        }
        out
    }

    fn members(&self, id: u32, depth: usize) -> Vec<String> {
        let record = self.btf.record(id);
        (0..record.vlen)
            .map(|i| {
                let member = self.declaration(record.word(3 * i + 1), self.btf.string(record.word(3 * i)), depth + 1);
                match self.bit_width(id, i) {
                    0 => format!("{member};"),
                    width => format!("{member}: {width};"),
                }
            })
            .collect()
    }

    fn values(&self, id: u32) -> Vec<String> {
        let record = self.btf.record(id);
        let wide = record.kind == Kind::Enum64;
        let words = if wide { 3 } else { 2 };
        (0..record.vlen)
            .map(|i| {
                let low = record.word(words * i + 1);
                let value = match (wide, record.kflag) {
                    (false, true) => (low as i32).to_string(),
                    (false, false) => low.to_string(),
                    (true, signed) => {
                        let value = u64::from(record.word(3 * i + 2)) << 32 | u64::from(low);
                        if signed { format!("{}LL", value as i64) } else { format!("{value}ULL") }
                    }
                };
                format!("{} = {value},", self.btf.string(record.word(words * i)))
            })
            .collect()
    }

    fn bit_width(&self, id: u32, member: usize) -> u32 {
        let record = self.btf.record(id);
        if record.kflag { record.word(3 * member + 2) >> 24 } else { 0 }
    }

    /// A member where its type would not be aligned, or a size that is none.
    fn is_packed(&self, id: u32) -> bool {
        self.misaligned(id, 0).0
    }

    /// Whether a struct is packed, and its alignment if it is not.
    fn misaligned(&self, id: u32, depth: usize) -> (bool, u32) {
        let record = self.btf.record(id);
        let mut most = 1;
        for i in 0..record.vlen {
            let align = self.alignment(record.word(3 * i + 1), depth + 1);
            let at = record.word(3 * i + 2);
            let at = if record.kflag { at & 0xff_ffff } else { at };
            if self.bit_width(id, i) == 0 && at % (8 * align) != 0 {
                return (true, 1);
            }
            most = most.max(align);
        }
        (!record.size_or_type.is_multiple_of(most), most)
    }

    fn alignment(&self, id: u32, depth: usize) -> u32 {
        let record = self.btf.record(id);
        match record.kind {
            _ if depth > MAX_CHAIN => 1,
            Kind::Int | Kind::Enum | Kind::Enum64 | Kind::Float => record.size_or_type.clamp(1, 8),
            Kind::Ptr => 8,
            Kind::Typedef => self.alignment(record.size_or_type, depth + 1),
            Kind::Array => self.alignment(record.word(0), depth + 1),
            Kind::Struct | Kind::Union => match self.misaligned(id, depth + 1) {
                (true, _) => 1,
                (false, align) => align,
            },
            kind if kind.is_modifier() => self.alignment(record.size_or_type, depth + 1),
            _ => 1,
        }
    }
}

/// The keyword before a tag.
pub(super) fn tag(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Struct => Some("struct"),
        Kind::Union => Some("union"),
        Kind::Enum | Kind::Enum64 => Some("enum"),
        _ => None,
    }
}

fn modifier(kind: Kind) -> &'static str {
    match kind {
        Kind::Const => "const",
        Kind::Volatile => "volatile",
        _ => "restrict",
    }
}

fn put_name(name: &str, after_pointer: bool, out: &mut String) {
    if name.is_empty() {
        return;
    }
    if !after_pointer {
        out.push(' ');
    }
    out.push_str(name);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::btf::BtfSources;

    fn definition(name: &str, kind: Kind) -> String {
        let sources = BtfSources::reference().unwrap();
        let btf = sources.bases().next().unwrap().btf;
        let id = btf.ids_by_name(name, kind.bit()).next().unwrap();
        CText { btf: &btf }.definition(id)
    }

    #[test]
    fn definitions_read_as_in_bpftool() {
        assert_eq!(definition("llist_node", Kind::Struct), "struct llist_node {\n\tstruct llist_node *next;\n};\n");
        let restart = definition("hrtimer_restart", Kind::Enum);
        assert_eq!(restart, "enum hrtimer_restart {\n\tHRTIMER_NORESTART = 0,\n\tHRTIMER_RESTART = 1,\n};\n");
    }

    #[test]
    fn bit_fields_and_anonymous_members() {
        assert!(definition("tcphdr", Kind::Struct).contains("\t__u16 doff: 4;\n"));
        let page = definition("page", Kind::Struct);
        assert!(page.contains("\n\tunion {\n\t\tstruct {\n\t\t\tunion {\n\t\t\t\tstruct list_head lru;\n"), "{page}");
        assert!(
            definition("file_operations", Kind::Struct).contains("(*read)(struct file *, char *, size_t, loff_t *);")
        );
    }
}
