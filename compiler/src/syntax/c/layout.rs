//! Layout of structs and unions, as GCC does it.
//!
//! In: members in order with sizes and alignments. Out: offsets, size,
//! alignment.
//! Invariants: checked against GCC over all headers of libc and the kernel and
//! over generated structs (tests of this module's parent); no offset exceeds
//! what `Member::bit_offset` holds.

use super::target::Target;

/// Largest size in bits: offsets are 32-bit numbers of bits.
pub(super) const MOST_BITS: u64 = 1 << 31;

/// A member to be placed; sizes and alignments are in bits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    /// Size of its type.
    pub(super) size: u64,
    /// Alignment of its type.
    pub(super) align: u64,
    /// Width, for bit-fields.
    pub(super) width: Option<u64>,
    /// Has it a name?
    pub(super) named: bool,
    /// Alignment asked for by an attribute of the member.
    pub(super) wanted: Option<u64>,
    /// Packed, or a member of something packed.
    pub(super) packed: bool,
}

/// A struct or union being laid out; all numbers are in bits.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    union: bool,
    /// `#pragma pack(n)`.
    most: Option<u64>,
    unnamed_align: bool,
    next: u64,
    end: u64,
    align: u64,
}

fn round_up(bits: u64, align: u64) -> u64 {
    bits.div_ceil(align.max(1)) * align.max(1)
}

impl Layout {
    /// Nothing placed yet. `most` is the limit of `#pragma pack`, in bits.
    pub(super) fn new(union: bool, most: Option<u64>, target: &Target) -> Layout {
        Layout { union, most, unnamed_align: target.unnamed_bit_fields_align, next: 0, end: 0, align: 8 }
    }

    /// Where the member starts; `None` if the whole becomes too large.
    pub(super) fn place(&mut self, field: &Field) -> Option<u64> {
        if self.union {
            self.next = 0;
        }
        let (start, len) = match field.width {
            Some(width) => (self.bit_field(field, width), width),
            None => (self.plain(field), field.size),
        };
        let end = start.checked_add(len).filter(|&end| end <= MOST_BITS)?;
        self.next = end;
        self.end = self.end.max(end);
        Some(start)
    }

    fn limited(&self, align: u64) -> u64 {
        self.most.map_or(align, |most| align.min(most))
    }

    fn plain(&mut self, field: &Field) -> u64 {
        let natural = if field.packed { 8 } else { field.align };
        let align = self.limited(natural.max(field.wanted.unwrap_or(8)));
        self.align = self.align.max(align);
        round_up(self.next, align)
    }

    fn bit_field(&mut self, field: &Field, width: u64) -> u64 {
        if width == 0 {
            // Ends the storage unit, also in packed structs and in spite of
            // `#pragma pack`.
            let align = field.align.max(field.wanted.unwrap_or(1));
            if self.unnamed_align {
                self.align = self.align.max(align);
            }
            return round_up(self.next, align);
        }
        // One that lies like a plain integer is one: that matters where the type
        // is aligned beyond its size.
        let plain = matches!(width, 8 | 16 | 32 | 64) && self.next.is_multiple_of(width);
        if let Some(wanted) = field.wanted.map(|w| self.limited(w)) {
            self.next = round_up(self.next, wanted);
            if field.named {
                self.align = self.align.max(wanted);
            }
        }
        if field.named || self.unnamed_align {
            let natural = if field.packed && self.most.is_none() { 8 } else { self.limited(field.align) };
            self.align = self.align.max(natural);
        }
        // A bit-field does not cross more boundaries of its type's alignment
        // than an object of the type would. Limits of `#pragma pack` lift that.
        let units = (self.next % field.align + width).div_ceil(field.align);
        if !field.packed && !plain && self.most.is_none() && units > field.size / field.align {
            return round_up(self.next, field.align);
        }
        self.next
    }

    /// Size and alignment in bits, given the attributes of the whole.
    pub(super) fn finish(&self, wanted: Option<u64>) -> Option<(u64, u64)> {
        let align = self.align.max(wanted.unwrap_or(8));
        let size = round_up(self.end, align);
        (size <= MOST_BITS).then_some((size, align))
    }
}
