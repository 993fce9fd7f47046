//! The read-only data of a script: start values, constant texts, zeros.
//!
//! In: requests while functions are lowered. Out: the bytes of `.rodata` and the
//! slots that the runtime fills in. Invariants: the zeros come first and are
//! larger than any object of the script; every object is 8-byte aligned, so
//! that programs may load it by words; equal requests share one place.

use btc_payload::start::{Slot, StartValue};
use std::collections::BTreeMap;

/// Bytes of an integer slot.
pub(super) const WORD: u32 = 8;

/// Builds `.rodata`.
pub(super) struct Rodata {
    bytes: Vec<u8>,
    zeros: u32,
    slots: Vec<Slot>,
    by_value: BTreeMap<(StartValue, u32), u32>,
    constants: BTreeMap<Vec<u8>, u32>,
}

impl Rodata {
    /// Read-only data that begins with `zeros` zero bytes.
    pub(super) fn new(zeros: u32) -> Self {
        let zeros = zeros.max(WORD).next_multiple_of(8);
        Rodata {
            bytes: vec![0; zeros as usize],
            zeros,
            slots: Vec::new(),
            by_value: BTreeMap::new(),
            constants: BTreeMap::new(),
        }
    }

    /// How many zeros lie at offset 0.
    pub(super) fn zeros(&self) -> u32 {
        self.zeros
    }

    /// The place of a start value of `size` bytes.
    pub(super) fn slot(&mut self, value: StartValue, size: u32) -> u32 {
        if let Some(&at) = self.by_value.get(&(value.clone(), size)) {
            return at;
        }
        let offset = self.reserve(size);
        self.slots.push(Slot { offset, size, value: value.clone() });
        self.by_value.insert((value, size), offset);
        offset
    }

    /// A word that is nobody else's.
    pub(super) fn own_word(&mut self) -> u32 {
        self.reserve(WORD)
    }

    /// The place of constant bytes, followed by zeros up to a multiple of eight.
    pub(super) fn constant(&mut self, bytes: &[u8]) -> u32 {
        if let Some(&at) = self.constants.get(bytes) {
            return at;
        }
        let at = self.reserve(bytes.len() as u32);
        self.bytes[at as usize..at as usize + bytes.len()].copy_from_slice(bytes);
        self.constants.insert(bytes.to_vec(), at);
        at
    }

    fn reserve(&mut self, size: u32) -> u32 {
        let at = self.bytes.len() as u32;
        let end = at + size.max(1).next_multiple_of(8);
        self.bytes.resize(end as usize, 0);
        at
    }

    /// The bytes and the slots in order of their offsets.
    pub(super) fn finish(self) -> (Vec<u8>, Vec<Slot>) {
        (self.bytes, self.slots)
    }
}
