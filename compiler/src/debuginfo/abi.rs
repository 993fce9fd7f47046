//! Where a function's arguments lie when it is entered.
//!
//! In: types of parameters and result. Out: registers and stack slots by the
//! System V ABI of x86_64 (section 3.2.3): a value is cut into words of eight
//! bytes; words of integers go into general registers, words of floats into
//! vector registers, which BPF programs cannot read. What does not fit goes on
//! the stack as a whole.

use crate::ctypes::{CKind, CTypeId, Composite, TypeStore};

/// General registers that carry arguments.
const REGISTERS: u8 = 6;
/// Vector registers that do.
const VECTORS: u8 = 8;
/// Largest value in registers, in words.
const MOST_WORDS: usize = 2;

/// A word of an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// In the N-th general register for arguments.
    General(u8),
    /// In a vector register.
    Vector,
}

/// Where an argument lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In registers, word by word.
    Registers(Vec<Word>),
    /// On the stack, this many words above the return address.
    Stack(u32),
    /// Elsewhere; the pointer to it lies here.
    Pointed(Box<Place>),
}

/// How values too large for registers, and objects with a life of their own, are passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Passing {
    /// As C does: a copy on the stack.
    Value,
    /// By pointer: C++ objects that cannot be copied bytewise; all large ones in Rust.
    Pointer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    General,
    Vector,
}

/// Registers and stack as far as they are taken.
#[derive(Default)]
pub(super) struct Frame {
    general: u8,
    vector: u8,
    stack: u32,
}

impl Frame {
    /// The frame of a function with this result: one that is returned in memory
    /// takes the first register for its address.
    pub fn of(store: &TypeStore, result: CTypeId, passing: Passing) -> Frame {
        let hidden = result != CTypeId::VOID && (passing == Passing::Pointer || words(store, result).is_none());
        Frame { general: u8::from(hidden), ..Frame::default() }
    }

    /// The place of the next argument. `passing` is how it goes where it is large.
    pub fn next(&mut self, store: &TypeStore, ty: CTypeId, forced: bool, passing: Passing) -> Place {
        let classes = words(store, ty).filter(|_| !forced);
        if classes.is_none() && passing == Passing::Pointer {
            return Place::Pointed(Box::new(self.take(&[Class::General], 8, 8)));
        }
        let size = store.size_of(ty).unwrap_or(8);
        self.take(classes.as_deref().unwrap_or(&[]), size, u64::from(store.align_of(ty)))
    }

    fn take(&mut self, classes: &[Class], size: u64, align: u64) -> Place {
        let count = |class| classes.iter().filter(|c| **c == class).count() as u8;
        let (general, vector) = (count(Class::General), count(Class::Vector));
        let fits = self.general + general <= REGISTERS && self.vector + vector <= VECTORS;
        if classes.is_empty() || !fits {
            if align > 8 {
                self.stack = self.stack.next_multiple_of(2);
            }
            let at = self.stack;
            self.stack = self.stack.saturating_add(size.div_ceil(8) as u32);
            return Place::Stack(at);
        }
        self.vector += vector;
        let mut register = self.general;
        self.general += general;
        let place = |class: &Class| match class {
            Class::Vector => Word::Vector,
            Class::General => {
                register += 1;
                Word::General(register - 1)
            }
        };
        Place::Registers(classes.iter().map(place).collect())
    }
}

/// The classes of a value's words; `None` if it is passed in memory.
fn words(store: &TypeStore, ty: CTypeId) -> Option<Vec<Class>> {
    let size = store.size_of(ty)?;
    let count = size.div_ceil(8) as usize;
    if count == 0 || count > MOST_WORDS {
        return None;
    }
    let mut classes = [None; MOST_WORDS];
    classify(store, ty, 0, &mut classes, 0)?;
    // Words of padding alone go where the others go.
    Some(classes[..count].iter().map(|c| c.unwrap_or(Class::Vector)).collect())
}

fn classify(
    store: &TypeStore,
    ty: CTypeId,
    offset: u64,
    classes: &mut [Option<Class>; MOST_WORDS],
    depth: usize,
) -> Option<()> {
    let resolved = store.resolved(ty);
    let size = store.size_of(ty).unwrap_or(0);
    // Packed structs with fields that are not aligned are passed in memory.
    let aligned = offset.is_multiple_of(u64::from(store.align_of(ty)).max(1));
    if depth > 16 || !aligned {
        return None;
    }
    match &resolved.kind {
        // `long double` uses the x87 stack, which is never used for arguments.
        CKind::Float { size: 10.., .. } => return None,
        CKind::Float { .. } => put(classes, offset, size, Class::Vector),
        CKind::Array { elem, len } => {
            let step = store.size_of(*elem).unwrap_or(0);
            for i in 0..u64::from(*len).min(16) {
                classify(store, *elem, offset + i * step, classes, depth + 1)?;
            }
        }
        CKind::Composite(Composite { members, .. }) => {
            for m in members {
                match m.bit_width {
                    None => {
                        classify(store, m.ty, offset + u64::from(m.bit_offset) / 8, classes, depth + 1)?;
                    }
                    Some(_) => put(classes, offset + u64::from(m.bit_offset) / 8, 1, Class::General),
                }
            }
        }
        _ => put(classes, offset, size, Class::General),
    }
    Some(())
}

/// A word with an integer in it is an integer's.
fn put(classes: &mut [Option<Class>; MOST_WORDS], offset: u64, size: u64, class: Class) {
    let words = offset / 8..(offset + size.max(1)).div_ceil(8);
    for slot in words.filter_map(|w| usize::try_from(w).ok()) {
        if let Some(slot) = classes.get_mut(slot)
            && *slot != Some(Class::General)
        {
            *slot = Some(class);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::btf::BtfSources;
    use crate::ctypes::{CType, Member, Origin};

    fn composite(store: &TypeStore, members: &[(CTypeId, u32)], size: u32) -> CTypeId {
        let members = members
            .iter()
            .map(|&(ty, at)| Member { name: Some("m".into()), ty, bit_offset: at * 8, bit_width: None })
            .collect();
        let kind = CKind::Composite(Composite { name: None, union: false, size, members });
        store.add(CType { kind, origin: Origin::Script })
    }

    #[test]
    fn arguments_take_registers_then_stack() {
        let store = TypeStore::new(BtfSources::reference().unwrap());
        let long = store.int(8, true);
        let double = store.add(CType { kind: CKind::Float { name: "double".into(), size: 8 }, origin: Origin::Script });
        let pair = composite(&store, &[(long, 0), (long, 8)], 16);
        let mixed = composite(&store, &[(double, 0), (long, 8)], 16);
        let large = composite(&store, &[(long, 0), (long, 8), (long, 16)], 24);
        let mut frame = Frame::of(&store, CTypeId::VOID, Passing::Value);
        let mut next = |ty| frame.next(&store, ty, false, Passing::Value);
        let general = |n: &[u8]| Place::Registers(n.iter().map(|&n| Word::General(n)).collect());
        assert_eq!(next(long), general(&[0]));
        assert_eq!(next(double), Place::Registers(vec![Word::Vector]));
        assert_eq!(next(pair), general(&[1, 2]));
        assert_eq!(next(large), Place::Stack(0));
        assert_eq!(next(mixed), Place::Registers(vec![Word::Vector, Word::General(3)]));
        assert_eq!(next(long), general(&[4]));
        // Two words do not fit any more, but one does.
        assert_eq!(next(pair), Place::Stack(3));
        assert_eq!(next(long), general(&[5]));
        assert_eq!(next(long), Place::Stack(5));
    }

    #[test]
    fn results_in_memory_take_the_first_register() {
        let store = TypeStore::new(BtfSources::reference().unwrap());
        let long = store.int(8, true);
        let large = composite(&store, &[(long, 0), (long, 8), (long, 16)], 24);
        let mut frame = Frame::of(&store, large, Passing::Value);
        assert_eq!(frame.next(&store, long, false, Passing::Value), Place::Registers(vec![Word::General(1)]));
        let mut frame = Frame::of(&store, long, Passing::Value);
        let pointed = frame.next(&store, large, false, Passing::Pointer);
        assert_eq!(pointed, Place::Pointed(Box::new(Place::Registers(vec![Word::General(0)]))));
    }
}
