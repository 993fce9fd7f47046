//! The C types that every script can name without BTF and without includes.
//!
//! In: a spelling, words in any order (`long unsigned int`). Out: one canonical
//! integer type per C type, so that equal types have equal ids whether they
//! come from the script or from BTF, whose producers spell them differently.

use std::rc::Rc;

use super::CInt;

/// Canonical spelling, size, signed: the LP64 model of all 64-bit Linux targets.
const INTEGERS: &[(&str, u32, bool)] = &[
    ("char", 1, true),
    ("signed char", 1, true),
    ("unsigned char", 1, false),
    ("short", 2, true),
    ("unsigned short", 2, false),
    ("int", 4, true),
    ("unsigned int", 4, false),
    ("long", 8, true),
    ("unsigned long", 8, false),
    ("long long", 8, true),
    ("unsigned long long", 8, false),
    ("__int128", 16, true),
    ("unsigned __int128", 16, false),
    ("bool", 1, false),
];

/// Typedefs of the kernel's and of C's own headers that scripts use unincluded.
pub const TYPEDEFS: &[(&str, &str)] = &[
    ("_Bool", "bool"),
    ("s8", "signed char"),
    ("s16", "short"),
    ("s32", "int"),
    ("s64", "long long"),
    ("u8", "unsigned char"),
    ("u16", "unsigned short"),
    ("u32", "unsigned int"),
    ("u64", "unsigned long long"),
    ("__s8", "signed char"),
    ("__s16", "short"),
    ("__s32", "int"),
    ("__s64", "long long"),
    ("__u8", "unsigned char"),
    ("__u16", "unsigned short"),
    ("__u32", "unsigned int"),
    ("__u64", "unsigned long long"),
    ("__le16", "unsigned short"),
    ("__le32", "unsigned int"),
    ("__le64", "unsigned long long"),
    ("__be16", "unsigned short"),
    ("__be32", "unsigned int"),
    ("__be64", "unsigned long long"),
    ("int8_t", "signed char"),
    ("int16_t", "short"),
    ("int32_t", "int"),
    ("int64_t", "long"),
    ("uint8_t", "unsigned char"),
    ("uint16_t", "unsigned short"),
    ("uint32_t", "unsigned int"),
    ("uint64_t", "unsigned long"),
    ("intptr_t", "long"),
    ("uintptr_t", "unsigned long"),
    ("ptrdiff_t", "long"),
    ("size_t", "unsigned long"),
    ("ssize_t", "long"),
    ("off_t", "long"),
    ("loff_t", "long long"),
    ("time_t", "long"),
    ("pid_t", "int"),
    ("uid_t", "unsigned int"),
    ("gid_t", "unsigned int"),
    ("mode_t", "unsigned int"),
    ("dev_t", "unsigned int"),
    ("ino_t", "unsigned long"),
    ("uint", "unsigned int"),
    ("ulong", "unsigned long"),
    ("ushort", "unsigned short"),
    ("uchar", "unsigned char"),
];

/// The integer type with this canonical name.
fn named(name: &str) -> Option<CInt> {
    let &(name, size, signed) = INTEGERS.iter().find(|row| row.0 == name)?;
    Some(CInt { name: Rc::from(name), size, signed, is_char: name.ends_with("char"), is_bool: name == "bool" })
}

/// The integer type that a combination of C's type words means.
pub fn integer(spelling: &str) -> Option<CInt> {
    let (mut signed, mut unsigned, mut longs, mut base) = (false, false, 0, "");
    for word in spelling.split_ascii_whitespace() {
        match word {
            "signed" | "__signed__" if !signed && !unsigned => signed = true,
            "unsigned" if !signed && !unsigned => unsigned = true,
            "long" if longs < 2 => longs += 1,
            "_Bool" | "bool" if base.is_empty() => base = "bool",
            "int" if base.is_empty() => base = "int",
            "int" if base == "short" => {}
            "short" if base.is_empty() || base == "int" => base = "short",
            "char" | "__int128" if base.is_empty() => base = word,
            _ => return None,
        }
    }
    let name = match (base, longs) {
        ("" | "int", 1) => "long",
        ("" | "int", 2) => "long long",
        ("", 0) if signed || unsigned => "int",
        ("int" | "short" | "char" | "__int128", 0) => base,
        ("bool", 0) if !signed && !unsigned => "bool",
        _ => return None,
    };
    if unsigned {
        named(&format!("unsigned {name}"))
    } else if signed && name == "char" {
        named("signed char")
    } else {
        named(name)
    }
}

/// The plain integer of a size and sign.
pub fn sized(size: u32, signed: bool) -> Option<CInt> {
    let name = match (size, signed) {
        (1, true) => "signed char",
        (1, false) => "unsigned char",
        (2, true) => "short",
        (2, false) => "unsigned short",
        (4, true) => "int",
        (4, false) => "unsigned int",
        (8, true) => "long",
        (8, false) => "unsigned long",
        (16, true) => "__int128",
        (16, false) => "unsigned __int128",
        _ => return None,
    };
    named(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_come_in_any_order() {
        let name = |s: &str| integer(s).map(|i| i.name.to_string());
        for (spelling, canonical) in [
            ("long unsigned int", "unsigned long"),
            ("unsigned", "unsigned int"),
            ("short int", "short"),
            ("int short unsigned", "unsigned short"),
            ("long long unsigned int", "unsigned long long"),
            ("__int128 unsigned", "unsigned __int128"),
            ("char", "char"),
            ("signed char", "signed char"),
            ("_Bool", "bool"),
        ] {
            assert_eq!(name(spelling).as_deref(), Some(canonical), "{spelling}");
        }
        for bad in ["", "long long long", "unsigned bool", "char int", "foo", "long short"] {
            assert_eq!(name(bad), None, "{bad}");
        }
    }

    #[test]
    fn every_typedef_names_an_integer() {
        for (name, target) in TYPEDEFS {
            assert!(named(target).is_some(), "{name}");
        }
    }
}
