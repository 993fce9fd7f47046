//! Moving bytes in the program's own memory: load, store, copy, fill, compare.
//!
//! Invariants: accesses are as wide as the place allows; what is long is moved
//! by one helper call, because unrolled copies cost instructions and time in
//! the verifier.

use super::frame::Own;
use super::function::Fun;
use crate::clif::{Cmp, Value, Width};
use crate::helper::Helper;
use crate::hir::types::Type;

/// Longest copy or fill that is unrolled, in accesses.
const UNROLLED: u32 = 16;

/// What the bytes that carry no value must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fill {
    /// Anything: the reader does not look at them.
    Loose,
    /// Zero: the bytes as a whole are compared or stored (map keys and values).
    Exact,
}

/// The width for `bytes` bytes; callers pass sizes of scalars.
pub(super) fn width(bytes: u32) -> Width {
    Width::from_bytes(bytes).unwrap_or(Width::W64)
}

/// Splits `size` bytes into accesses no wider than `widest`: (offset, bytes).
pub(super) fn pieces(size: u32, widest: u32) -> Vec<(u32, u32)> {
    let (mut at, mut out) = (0, Vec::new());
    while at < size {
        let mut step = widest.min(8);
        while step > size - at {
            step /= 2;
        }
        out.push((at, step));
        at += step;
    }
    out
}

impl Fun<'_, '_, '_> {
    /// Loads a scalar of this type.
    pub(super) fn load_scalar(&mut self, place: Own, ty: &Type) -> Value {
        let (size, signed) = ty.scalar_width();
        self.load_number(place, u32::from(size), signed)
    }

    /// Loads a number of 1, 2, 4 or 8 bytes.
    pub(super) fn load_number(&mut self, place: Own, size: u32, signed: bool) -> Value {
        if place.access() < size {
            return self.load_in_pieces(place, size, signed);
        }
        if signed { self.b.load_signed(place.ptr, width(size)) } else { self.b.load(place.ptr, width(size)) }
    }

    /// A number on the stack that is not aligned (an element of a packed struct).
    fn load_in_pieces(&mut self, place: Own, size: u32, signed: bool) -> Value {
        let mut all = self.b.iconst(0);
        for (at, bytes) in pieces(size, place.access()) {
            let part = self.b.load(place.at(at).ptr, width(bytes));
            let shift = self.b.iconst(i64::from(at * 8));
            let part = self.b.shl(part, shift);
            all = self.b.or(all, part);
        }
        if signed { self.b.sign_extend(all, width(size)) } else { all }
    }

    /// Stores a scalar of this type.
    pub(super) fn store_scalar(&mut self, place: Own, ty: &Type, value: Value) {
        self.store_number(place, u32::from(ty.scalar_width().0), value);
    }

    /// Stores a number of 1, 2, 4 or 8 bytes.
    pub(super) fn store_number(&mut self, place: Own, size: u32, value: Value) {
        if place.access() >= size {
            return self.b.store(place.ptr, width(size), value);
        }
        for (at, bytes) in pieces(size, place.access()) {
            let shift = self.b.iconst(i64::from(at * 8));
            let part = self.b.ushr(value, shift);
            self.b.store(place.at(at).ptr, width(bytes), part);
        }
    }

    /// Copies `size` bytes.
    pub(super) fn copy(&mut self, to: Own, from: Own, size: u32) {
        let parts = pieces(size, to.access().min(from.access()));
        if parts.len() as u32 <= UNROLLED {
            for (at, bytes) in parts {
                let value = self.b.load(from.at(at).ptr, width(bytes));
                self.b.store(to.at(at).ptr, width(bytes), value);
            }
            return;
        }
        let from = self.b.address(from.ptr);
        self.read_kernel(to, size, from);
    }

    /// Zeroes `size` bytes.
    pub(super) fn zero(&mut self, to: Own, size: u32) {
        let parts = pieces(size, to.access());
        if parts.len() as u32 <= UNROLLED {
            for (at, bytes) in parts {
                self.b.store_const(to.at(at).ptr, width(bytes), 0);
            }
            return;
        }
        let chunk = self.cx.rodata.zeros();
        let mut done = 0;
        while done < size {
            let zeros = self.zeros();
            self.read_kernel(to.at(done), chunk.min(size - done), zeros);
            done += chunk;
        }
    }

    /// Stores constant bytes.
    pub(super) fn store_bytes(&mut self, to: Own, bytes: &[u8]) {
        let parts = pieces(bytes.len() as u32, to.access());
        if parts.len() as u32 <= UNROLLED {
            for (at, n) in parts {
                let word = word(&bytes[at as usize..(at + n) as usize]);
                self.b.store_const(to.at(at).ptr, width(n), word);
            }
            return;
        }
        let at = self.cx.rodata.constant(bytes);
        let ptr = self.b.rodata(at);
        let from = self.b.address(ptr);
        self.read_kernel(to, bytes.len() as u32, from);
    }

    /// Copies kernel memory (the program's own is part of it) by a helper. What
    /// cannot be read becomes zero.
    pub(super) fn read_kernel(&mut self, to: Own, size: u32, from: Value) -> Value {
        let (to, size) = (self.b.address(to.ptr), self.b.iconst(i64::from(size)));
        self.b.call_helper(Helper::ProbeReadKernel, &[to, size, from])
    }

    /// 1 if `size` bytes are equal, else 0. Without branches, so that the
    /// verifier walks one path.
    pub(super) fn equal_bytes(&mut self, a: Own, b: Own, size: u32) -> Value {
        let mut differences = self.b.iconst(0);
        for (at, n) in pieces(size, a.access().min(b.access())) {
            let x = self.b.load(a.at(at).ptr, width(n));
            let y = self.b.load(b.at(at).ptr, width(n));
            let d = self.b.xor(x, y);
            differences = self.b.or(differences, d);
        }
        let same = self.b.compare_const(Cmp::Eq, differences, 0);
        self.b.bool_value(same)
    }

    /// 1 if the bytes at a place are these, else 0.
    pub(super) fn equals_constant(&mut self, a: Own, bytes: &[u8]) -> Value {
        let mut differences = self.b.iconst(0);
        for (at, n) in pieces(bytes.len() as u32, a.access()) {
            let x = self.b.load(a.at(at).ptr, width(n));
            let y = self.b.iconst(word(&bytes[at as usize..(at + n) as usize]));
            let d = self.b.xor(x, y);
            differences = self.b.or(differences, d);
        }
        let same = self.b.compare_const(Cmp::Eq, differences, 0);
        self.b.bool_value(same)
    }
}

/// Up to eight bytes as a little-endian number.
pub(super) fn word(bytes: &[u8]) -> i64 {
    let mut out = [0; 8];
    out[..bytes.len()].copy_from_slice(bytes);
    i64::from_le_bytes(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_cover_without_overlap() {
        assert_eq!(pieces(15, 8), [(0, 8), (8, 4), (12, 2), (14, 1)]);
        assert_eq!(pieces(6, 2), [(0, 2), (2, 2), (4, 2)]);
        assert_eq!(pieces(0, 8), []);
    }
}
