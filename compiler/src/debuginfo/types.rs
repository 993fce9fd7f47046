//! Types of debug information as types of the store, and as C text.
//!
//! In: entries. Out: ids; the layout is the binary's, so none of these types is
//! the kernel's, and none gets a name in the store: a binary's `struct file` is not
//! the kernel's, and another binary's is not this one's. Invariant: an entry is converted once, and
//! structs are entered before their members, which may point back at them.

use super::die::{Die, Key, Result, Units, number};
use crate::ctypes::{CEnum, CKind, CType, CTypeId, Composite, Member, Origin, TypeStore};
use std::collections::HashMap;

/// Deepest nesting of types that is followed.
const MAX_DEPTH: usize = 200;

/// Conversion with its memory.
pub(super) struct Types<'a> {
    pub units: &'a Units,
    pub store: &'a TypeStore,
    pub known: &'a mut Known,
}

/// What was converted before. Units repeat the structs of headers: those that
/// agree in what the source says of them are one type.
#[derive(Default)]
pub(super) struct Known {
    by_entry: HashMap<Key, CTypeId>,
    by_source: HashMap<Source, CTypeId>,
}

/// Tag, name, size, line of a definition.
type Source = (gimli::DwTag, String, u64, u64);

fn source(units: &Units, die: &Die) -> Option<Source> {
    let name = units.text(die, gimli::DW_AT_name)?;
    Some((die.tag(), name, number(die, gimli::DW_AT_byte_size)?, number(die, gimli::DW_AT_decl_line)?))
}

impl Types<'_> {
    /// The type of an entry that has one; `void` else.
    pub fn of(&mut self, die: &Die) -> Result<CTypeId> {
        match self.units.type_of(die)? {
            Some(ty) => self.convert(&ty, 0),
            None => Ok(CTypeId::VOID),
        }
    }

    /// The type that an entry is.
    pub fn named(&mut self, die: &Die) -> Result<CTypeId> {
        self.convert(die, 0)
    }

    fn inner(&mut self, die: &Die, depth: usize) -> Result<CTypeId> {
        match self.units.reference(die, gimli::DW_AT_type)? {
            Some(ty) => self.convert(&ty, depth + 1),
            None => Ok(CTypeId::VOID),
        }
    }

    fn convert(&mut self, die: &Die, depth: usize) -> Result<CTypeId> {
        if let Some(&id) = self.known.by_entry.get(&die.key()) {
            return Ok(id);
        }
        let source = source(self.units, die);
        if let Some(&id) = source.as_ref().and_then(|s| self.known.by_source.get(s)) {
            return Ok(id);
        }
        if depth > MAX_DEPTH {
            return Ok(CTypeId::VOID);
        }
        let id = match die.tag() {
            gimli::DW_TAG_structure_type | gimli::DW_TAG_class_type | gimli::DW_TAG_union_type => {
                return self.composite(die, depth);
            }
            gimli::DW_TAG_base_type => self.base(die),
            gimli::DW_TAG_pointer_type | gimli::DW_TAG_reference_type | gimli::DW_TAG_rvalue_reference_type => {
                let to = self.inner(die, depth)?;
                self.store.pointer_to(to)
            }
            gimli::DW_TAG_typedef => {
                let target = self.inner(die, depth)?;
                let name = self.units.text(die, gimli::DW_AT_name).unwrap_or_default();
                self.add(CKind::Typedef { name: name.into(), target })
            }
            gimli::DW_TAG_array_type => self.array(die, depth)?,
            gimli::DW_TAG_enumeration_type => {
                let id = self.enumeration(die)?;
                self.known.by_source.extend(source.map(|s| (s, id)));
                id
            }
            gimli::DW_TAG_subroutine_type | gimli::DW_TAG_unspecified_type => CTypeId::VOID,
            gimli::DW_TAG_ptr_to_member_type => self.store.int(8, false),
            // const, volatile, restrict, _Atomic and the like.
            _ => self.inner(die, depth)?,
        };
        self.known.by_entry.insert(die.key(), id);
        Ok(id)
    }

    fn add(&self, kind: CKind) -> CTypeId {
        self.store.add(CType { kind, origin: Origin::Script })
    }

    fn base(&self, die: &Die) -> CTypeId {
        let name = self.units.text(die, gimli::DW_AT_name).unwrap_or_default();
        let size = number(die, gimli::DW_AT_byte_size).unwrap_or(0) as u32;
        let encoding = match die.entry.attr_value(gimli::DW_AT_encoding) {
            Some(gimli::AttributeValue::Encoding(e)) => e,
            _ => gimli::DW_ATE_unsigned,
        };
        let signed = match encoding {
            gimli::DW_ATE_boolean if size == 1 => return self.store.integer("bool").unwrap_or(CTypeId::VOID),
            gimli::DW_ATE_signed | gimli::DW_ATE_signed_char => true,
            gimli::DW_ATE_boolean
            | gimli::DW_ATE_unsigned
            | gimli::DW_ATE_unsigned_char
            | gimli::DW_ATE_UTF
            | gimli::DW_ATE_address => false,
            _ => return self.add(CKind::Float { name: name.into(), size }),
        };
        let spelt = self.store.integer(&name).filter(|&id| self.store.size_of(id) == Some(u64::from(size)));
        match spelt {
            Some(id) => id,
            None => self.store.int(size, signed),
        }
    }

    fn array(&mut self, die: &Die, depth: usize) -> Result<CTypeId> {
        let mut ty = self.inner(die, depth)?;
        let mut lengths = Vec::new();
        for range in self.units.children(die)?.iter().filter(|c| c.tag() == gimli::DW_TAG_subrange_type) {
            let last = number(range, gimli::DW_AT_upper_bound).map(|n| n.wrapping_add(1));
            lengths.push(number(range, gimli::DW_AT_count).or(last).unwrap_or(0));
        }
        for &len in lengths.iter().rev() {
            ty = self.store.array_of(ty, u32::try_from(len).unwrap_or(0));
        }
        Ok(ty)
    }

    fn enumeration(&mut self, die: &Die) -> Result<CTypeId> {
        let mut values = Vec::new();
        for child in self.units.children(die)?.iter().filter(|c| c.tag() == gimli::DW_TAG_enumerator) {
            let name = self.units.text(child, gimli::DW_AT_name).unwrap_or_default();
            let attr = child.entry.attr(gimli::DW_AT_const_value);
            let value = attr.and_then(|a| a.sdata_value().or_else(|| a.udata_value().map(|v| v as i64)));
            values.push((name.into(), value.unwrap_or(0)));
        }
        let signed = values.iter().any(|(_, v): &(_, i64)| *v < 0);
        let size = number(die, gimli::DW_AT_byte_size).unwrap_or(4) as u32;
        let name = self.units.text(die, gimli::DW_AT_name).map(Into::into);
        Ok(self.add(CKind::Enum(CEnum { name, size, signed, values })))
    }

    /// A struct; where there is only its declaration, nothing is known of it.
    fn composite(&mut self, die: &Die, depth: usize) -> Result<CTypeId> {
        let elsewhere = match self.units.reference(die, gimli::DW_AT_signature)? {
            None if die.entry.has_attr(gimli::DW_AT_declaration) => self.units.definition(die)?,
            found => found,
        };
        if let Some(definition) = elsewhere.filter(|d| d.key() != die.key()) {
            let id = self.convert(&definition, depth + 1)?;
            self.known.by_entry.insert(die.key(), id);
            return Ok(id);
        }
        let name: Option<std::rc::Rc<str>> = self.units.text(die, gimli::DW_AT_name).map(Into::into);
        let union = die.tag() == gimli::DW_TAG_union_type;
        let size = number(die, gimli::DW_AT_byte_size).unwrap_or(0) as u32;
        let id = self.add(CKind::Composite(Composite { name: name.clone(), union, size, members: Vec::new() }));
        self.known.by_entry.insert(die.key(), id);
        self.known.by_source.extend(source(self.units, die).map(|s| (s, id)));
        let mut members = Vec::new();
        for child in self.units.children(die)? {
            let base = child.tag() == gimli::DW_TAG_inheritance;
            let is_static =
                child.entry.has_attr(gimli::DW_AT_external) || child.entry.has_attr(gimli::DW_AT_declaration);
            if (child.tag() != gimli::DW_TAG_member && !base) || is_static {
                continue;
            }
            let ty = self.inner(&child, depth)?;
            // What a class inherits is found as if it were its own.
            let name = self.units.text(&child, gimli::DW_AT_name).filter(|_| !base).map(Into::into);
            let (bit_offset, bit_width) = place(&child, self.store.size_of(ty).unwrap_or(0));
            members.push(Member { name, ty, bit_offset, bit_width });
        }
        self.store.complete_struct(id, Composite { name, union, size, members });
        Ok(id)
    }
}

/// Offset and width of a member in bits.
fn place(member: &Die, size: u64) -> (u32, Option<u8>) {
    let bytes = number(member, gimli::DW_AT_data_member_location).unwrap_or(0);
    let width = number(member, gimli::DW_AT_bit_size).map(|w| w as u8);
    let bits = match (number(member, gimli::DW_AT_data_bit_offset), number(member, gimli::DW_AT_bit_offset), width) {
        (Some(bits), ..) => bits,
        // DWARF 3: counted from the highest bit of the storage unit.
        (None, Some(high), Some(width)) => {
            let unit = number(member, gimli::DW_AT_byte_size).unwrap_or(size) * 8;
            (bytes * 8).wrapping_add(unit).wrapping_sub(high).wrapping_sub(u64::from(width))
        }
        _ => bytes * 8,
    };
    (bits as u32, width)
}

/// A type as people write it: `const char*`, `struct item*`.
pub(super) fn spell(units: &Units, ty: Option<Die>, depth: usize) -> Result<String> {
    let Some(ty) = ty else { return Ok("void".into()) };
    if depth > MAX_DEPTH {
        return Ok("...".into());
    }
    let named = |tag: &str| match units.text(&ty, gimli::DW_AT_name) {
        Some(name) => format!("{tag}{name}"),
        None => format!("{tag}(anonymous)"),
    };
    let inner = || spell(units, units.reference(&ty, gimli::DW_AT_type)?, depth + 1);
    // Tags are written in C only.
    let c = is_c(units, &ty);
    let tag = |word: &'static str| if c { word } else { "" };
    Ok(match ty.tag() {
        gimli::DW_TAG_structure_type => named(tag("struct ")),
        gimli::DW_TAG_union_type => named(tag("union ")),
        gimli::DW_TAG_enumeration_type => named(tag("enum ")),
        gimli::DW_TAG_pointer_type => format!("{}*", inner()?),
        gimli::DW_TAG_reference_type => format!("{}&", inner()?),
        gimli::DW_TAG_rvalue_reference_type => format!("{}&&", inner()?),
        // A qualifier of a pointer stands behind it, any other before its type.
        gimli::DW_TAG_const_type | gimli::DW_TAG_volatile_type => {
            let word = if ty.tag() == gimli::DW_TAG_const_type { "const" } else { "volatile" };
            let inner = inner()?;
            if inner.ends_with('*') { format!("{inner} {word}") } else { format!("{word} {inner}") }
        }
        gimli::DW_TAG_array_type => format!("{}[]", inner()?),
        gimli::DW_TAG_subroutine_type => format!("{} ()", inner()?),
        gimli::DW_TAG_restrict_type | gimli::DW_TAG_atomic_type => inner()?,
        _ => named(""),
    })
}

/// Does an entry belong to a unit in C?
pub(super) fn is_c(units: &Units, die: &Die) -> bool {
    let unit = units.unit(die.unit);
    let Ok(root) = unit.entry(unit.header.root_offset()) else { return true };
    match root.attr_value(gimli::DW_AT_language) {
        Some(gimli::AttributeValue::Language(l)) => matches!(
            l,
            gimli::DW_LANG_C | gimli::DW_LANG_C89 | gimli::DW_LANG_C99 | gimli::DW_LANG_C11 | gimli::DW_LANG_C17
        ),
        _ => true,
    }
}
