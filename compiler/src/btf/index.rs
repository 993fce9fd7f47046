//! From names to type ids, in a few milliseconds for a whole kernel.
//!
//! In: names and ids, ids ascending. Out: candidate ids for a name.
//! Invariants: ids only, no copies of names, so a candidate may be another name
//! with the same hash and the caller compares; candidates of one name come in
//! the order of insertion, because probing is linear and nothing is removed.

/// Open-addressing table of ids, keyed by the hash of their names.
pub struct NameIndex {
    /// (hash, id); id 0 is an empty slot, which `void` can never need.
    slots: Vec<(u32, u32)>,
    used: usize,
}

/// FNV-1a over 8 bytes at a time, folded; quality matters little, speed does.
fn hash(name: &[u8]) -> u32 {
    const PRIME: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut state = name.len() as u64;
    let mut chunks = name.chunks_exact(8);
    for chunk in &mut chunks {
        let mut word = [0; 8];
        word.copy_from_slice(chunk);
        state = (state ^ u64::from_le_bytes(word)).wrapping_mul(PRIME).rotate_left(29);
    }
    let mut word = [0; 8];
    word[..chunks.remainder().len()].copy_from_slice(chunks.remainder());
    state = (state ^ u64::from_le_bytes(word)).wrapping_mul(PRIME);
    (state ^ state >> 32) as u32
}

impl NameIndex {
    /// An index that holds `n` names without growing.
    pub fn with_capacity(n: usize) -> Self {
        NameIndex { slots: vec![(0, 0); (n * 4 / 3 + 1).next_power_of_two()], used: 0 }
    }

    /// Adds an id under a name.
    pub fn insert(&mut self, name: &[u8], id: u32) {
        if (self.used + 1) * 4 > self.slots.len() * 3 {
            self.grow();
        }
        self.place(hash(name), id);
    }

    fn place(&mut self, hash: u32, id: u32) {
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        while self.slots[at].1 != 0 {
            at = (at + 1) & mask;
        }
        self.slots[at] = (hash, id);
        self.used += 1;
    }

    /// Doubles the table. Ids ascend in insertion order, which sorting restores.
    fn grow(&mut self) {
        let bigger = vec![(0, 0); self.slots.len() * 2];
        let mut old: Vec<_> =
            std::mem::replace(&mut self.slots, bigger).into_iter().filter(|slot| slot.1 != 0).collect();
        old.sort_by_key(|slot| slot.1);
        self.used = 0;
        for (hash, id) in old {
            self.place(hash, id);
        }
    }

    /// Ids that may have this name, in order of insertion.
    pub fn candidates(&self, name: &[u8]) -> impl Iterator<Item = u32> + '_ {
        let wanted = hash(name);
        let mask = self.slots.len() - 1;
        (0..self.slots.len())
            .map(move |i| self.slots[(wanted as usize).wrapping_add(i) & mask])
            .take_while(|slot| slot.1 != 0)
            .filter(move |slot| slot.0 == wanted)
            .map(|slot| slot.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_inserted_in_order() {
        let mut index = NameIndex::with_capacity(1);
        for id in 1..1000 {
            index.insert(format!("name{}", id % 100).as_bytes(), id);
        }
        let found: Vec<_> = index.candidates(b"name7").collect();
        assert_eq!(found, (0..10).map(|i| i * 100 + 7).collect::<Vec<_>>());
        assert_eq!(index.candidates(b"other").count(), 0);
    }
}
