//! Layout of structs and unions that a script defines.
//!
//! In: members in order, with types and bit-field widths. Out: offsets and size
//! as the System V ABI has them, which all 64-bit Linux targets share for the
//! types a script can write. (AArch64 differs for unnamed bit-fields only.)

use std::rc::Rc;

use super::{CTypeId, Composite, Member, TypeStore};

/// A member as written.
#[derive(Clone, Debug)]
pub struct FieldDecl {
    /// Name; `None` for anonymous structs and unions and unnamed bit-fields.
    pub name: Option<Rc<str>>,
    /// Type.
    pub ty: CTypeId,
    /// Width, for bit-fields; 0 ends the current unit.
    pub bit_width: Option<u32>,
    /// `__attribute__((aligned(N)))` on the member, in bytes.
    pub align: Option<u32>,
    /// `__attribute__((packed))` on the member.
    pub packed: bool,
}

/// What applies to the whole struct or union.
#[derive(Clone, Debug, Default)]
pub struct Layout {
    /// `union`?
    pub union: bool,
    /// `__attribute__((packed))`.
    pub packed: bool,
    /// `__attribute__((aligned(N)))`, in bytes.
    pub align: Option<u32>,
}

/// Why a member cannot be laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayoutError {
    /// The member's type has no size; the index is the member's.
    Incomplete(usize),
    /// A bit-field wider than its type, or of a type that is no integer.
    BadBitField(usize),
    /// The type would be larger than 256 MiB.
    TooLarge(usize),
}

/// Bits beyond which `Member::bit_offset` would overflow.
const MAX_BITS: u64 = 1 << 31;

fn round_up(bits: u64, align: u64) -> u64 {
    bits.div_ceil(align) * align
}

/// Progress through the members, in bits.
struct Cursor {
    union: bool,
    packed: bool,
    /// Where the next member may start.
    next: u64,
    /// Largest end of a member.
    end: u64,
    /// Alignment so far.
    align: u64,
}

impl Cursor {
    /// Places `bits` bits, returns where they start.
    fn place(&mut self, start: u64, bits: u64) -> u64 {
        self.end = self.end.max(start + bits);
        self.next = if self.union { 0 } else { start + bits };
        start
    }
}

impl TypeStore {
    /// Lays out a struct or union.
    pub fn lay_out(
        &self,
        name: Option<Rc<str>>,
        fields: &[FieldDecl],
        layout: &Layout,
    ) -> Result<Composite, LayoutError> {
        let mut cursor = Cursor {
            union: layout.union,
            packed: layout.packed,
            next: 0,
            end: 0,
            align: 8 * u64::from(layout.align.unwrap_or(1).max(1)),
        };
        let mut members = Vec::with_capacity(fields.len());
        for (i, field) in fields.iter().enumerate() {
            let start = self.place_field(&mut cursor, i, field)?;
            if cursor.end > MAX_BITS {
                return Err(LayoutError::TooLarge(i));
            }
            if field.name.is_some() || field.bit_width.is_none() {
                members.push(Member {
                    name: field.name.clone(),
                    ty: field.ty,
                    bit_offset: start as u32,
                    bit_width: field.bit_width.map(|w| w as u8),
                });
            }
        }
        Ok(Composite { name, union: layout.union, size: (round_up(cursor.end, cursor.align) / 8) as u32, members })
    }

    fn place_field(&self, cursor: &mut Cursor, i: usize, field: &FieldDecl) -> Result<u64, LayoutError> {
        let size = self.size_of(field.ty).ok_or(LayoutError::Incomplete(i))?;
        let bits = size.checked_mul(8).filter(|&b| b <= MAX_BITS);
        let bits = bits.ok_or(LayoutError::TooLarge(i))?;
        let packed = cursor.packed || field.packed;
        let natural = 8 * u64::from(self.align_of(field.ty));
        let wanted = 8 * u64::from(field.align.unwrap_or(1).max(1));
        let align = if packed { wanted } else { natural.max(wanted) };
        let Some(width) = field.bit_width.map(u64::from) else {
            cursor.align = cursor.align.max(align);
            let start = round_up(cursor.next, align);
            return Ok(cursor.place(start, bits));
        };
        if width > bits || bits > 64 || width == 0 && field.name.is_some() {
            return Err(LayoutError::BadBitField(i));
        }
        if width == 0 {
            cursor.next = round_up(cursor.next, natural);
            return Ok(cursor.next);
        }
        if field.name.is_some() {
            cursor.align = cursor.align.max(align);
        }
        let mut start = round_up(cursor.next, wanted.max(1).min(natural));
        if field.align.is_none() {
            start = cursor.next;
        }
        // A bit-field may not cross a boundary of its declared type.
        if !packed && start / bits != (start + width - 1) / bits {
            start = round_up(start, natural);
        }
        Ok(cursor.place(start, width))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::btf::BtfSources;

    fn field(store: &TypeStore, name: &str, ty: &str, bit_width: Option<u32>) -> FieldDecl {
        FieldDecl {
            name: (!name.is_empty()).then(|| name.into()),
            ty: store.find_tagless(ty).expect("a type"),
            bit_width,
            align: None,
            packed: false,
        }
    }

    fn offsets(fields: &[(&str, &str, Option<u32>)], layout: &Layout) -> (Vec<u32>, u32) {
        let store = TypeStore::new(BtfSources::none());
        let fields: Vec<_> = fields.iter().map(|&(n, t, w)| field(&store, n, t, w)).collect();
        let c = store.lay_out(None, &fields, layout).expect("a layout");
        (c.members.iter().map(|m| m.bit_offset).collect(), c.size)
    }

    #[test]
    fn members_are_aligned_and_packed_ones_are_not() {
        let fields = [("a", "char", None), ("b", "u64", None), ("c", "u16", None)];
        let plain = Layout::default();
        assert_eq!(offsets(&fields, &plain), (vec![0, 64, 128], 24));
        let packed = Layout { packed: true, ..Layout::default() };
        assert_eq!(offsets(&fields, &packed), (vec![0, 8, 72], 11));
        let union = Layout { union: true, ..Layout::default() };
        assert_eq!(offsets(&fields, &union), (vec![0, 0, 0], 8));
    }

    #[test]
    fn bit_fields_share_units() {
        let fields = [
            ("a", "u32", Some(3)),
            ("b", "u32", Some(30)),
            ("c", "u8", Some(4)),
            ("", "u32", Some(0)),
            ("d", "u32", Some(1)),
        ];
        assert_eq!(offsets(&fields, &Layout::default()), (vec![0, 32, 64, 96], 16));
    }

    #[test]
    fn bad_members_are_named() {
        let store = TypeStore::new(BtfSources::none());
        let void = FieldDecl { name: Some("v".into()), ty: CTypeId::VOID, bit_width: None, align: None, packed: false };
        let wide = field(&store, "w", "u8", Some(9));
        let plain = Layout::default();
        assert_eq!(store.lay_out(None, &[void], &plain), Err(LayoutError::Incomplete(0)));
        assert_eq!(store.lay_out(None, &[wide], &plain), Err(LayoutError::BadBitField(0)));
    }
}
