//! Finds the payload that `btc build` linked into this executable.
//!
//! In: nothing; the executable itself. Out: the payload's bytes, mapped by the
//! kernel with the program.
//!
//! The contract with the linker of payloads: the executable has one static in a
//! section named `.note.btc`, aligned to eight bytes, which is a complete ELF
//! note (`namesz` 4, `descsz` 24, `type` 1, name `btc\0`) whose description is
//! three little-endian 64-bit words: `delta`, `len`, reserved. A note of another
//! alignment than the toolchain's own gets a `PT_NOTE` of its own, and that
//! spare program header is what a build turns into the `PT_LOAD` of the payload.
//! `delta` is the payload's address minus the address of the note's first byte,
//! so that neither a relocation nor a look into the own file is needed; `len`
//! is the payload's length, 0 in an executable without one.

/// A complete ELF note; see the head of this file.
#[repr(C, align(8))]
struct Slot {
    name_size: u32,
    description_size: u32,
    kind: u32,
    name: [u8; 4],
    delta: u64,
    len: u64,
    reserved: u64,
}

#[used]
#[unsafe(link_section = ".note.btc")]
static SLOT: Slot =
    Slot { name_size: 4, description_size: 24, kind: 1, name: *b"btc\0", delta: 0, len: 0, reserved: 0 };

/// The payload of this executable; `None` in a plain one.
pub fn own() -> Option<&'static [u8]> {
    let slot: *const Slot = &raw const SLOT;
    // SAFETY: the slot is a valid static. It is read volatile because a build
    // rewrites it in the file, behind the compiler's back.
    let (delta, len) =
        unsafe { ((&raw const (*slot).delta).read_volatile(), (&raw const (*slot).len).read_volatile()) };
    let len = usize::try_from(len).ok().filter(|&n| n > 0)?;
    let start = slot.cast::<u8>().wrapping_add(delta as usize);
    // SAFETY: a non-zero length is written only together with a PT_LOAD that
    // maps `len` bytes, read-only, at this address for the process's lifetime.
    Some(unsafe { std::slice::from_raw_parts(start, len) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slot_is_a_note_of_forty_bytes() {
        assert_eq!((size_of::<Slot>(), align_of::<Slot>()), (40, 8));
        assert!(own().is_none());
    }
}
