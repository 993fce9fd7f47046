//! Which functions a call reaches, and what their operands refer to in the end.
//!
//! In: the units, the functions that are called. Out: the functions that must be
//! linked, in their order; the place of each operand; what the verifier will count.

use super::{CALL, ExternKind, Global, SLOT, Unit, Use, instructions, operand};
use std::collections::BTreeSet;

/// A function of a unit.
pub(crate) type Place = (usize, usize);

/// The functions that are taken from units, in the order in which they are placed.
pub struct Linkage {
    placed: Vec<Place>,
    /// Functions that the script calls, in its order.
    roots: Vec<Place>,
}

/// Why a unit cannot be linked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkError {
    /// Number of the unit.
    pub unit: usize,
    /// What is wrong with it.
    pub message: String,
}

impl Linkage {
    /// Follows the calls from the functions that the script calls.
    pub fn new(units: &[Unit], roots: &[Place]) -> Result<Linkage, LinkError> {
        let mut reached: BTreeSet<Place> = BTreeSet::new();
        let mut waiting: Vec<Place> = roots.to_vec();
        while let Some(place) = waiting.pop() {
            if !reached.insert(place) {
                continue;
            }
            for (_, used) in &units[place.0].functions[place.1].uses {
                match resolve(units, place, used).map_err(|message| LinkError { unit: place.0, message })? {
                    Resolved::Call(next) | Resolved::Callback(next) => waiting.push(next),
                    _ => {}
                }
            }
        }
        Ok(Linkage { placed: reached.into_iter().collect(), roots: roots.to_vec() })
    }

    /// Position, among those that are linked, of the N-th function that the script calls.
    pub fn root(&self, n: usize) -> Option<u32> {
        self.position(*self.roots.get(n)?)
    }

    /// Position of a function among those that are linked.
    pub(crate) fn position(&self, place: Place) -> Option<u32> {
        self.placed.binary_search(&place).ok().map(|at| at as u32)
    }

    /// The functions that are linked.
    pub(crate) fn placed(&self) -> &[Place] {
        &self.placed
    }
}

/// Bytes of stack that a function and what it calls take, as the verifier counts.
pub(super) fn stack(units: &[Unit], place: Place, path: &mut Vec<Place>) -> u32 {
    // The verifier refuses recursion.
    if path.contains(&place) {
        return 0;
    }
    path.push(place);
    let function = &units[place.0].functions[place.1];
    let callees = function.uses.iter().filter_map(|(_, used)| match resolve(units, place, used).ok()? {
        Resolved::Call(next) | Resolved::Callback(next) => Some(next),
        _ => None,
    });
    let below = callees.collect::<Vec<_>>().into_iter().map(|next| stack(units, next, path)).max();
    path.pop();
    frame(&function.code).max(1).next_multiple_of(32) + below.unwrap_or(0)
}

/// Bytes of stack that code reaches below the frame pointer: by its own accesses, and
/// by addresses made from it.
fn frame(code: &[u8]) -> u32 {
    const FRAME: u8 = 10;
    let (mut deepest, mut copies) = (0i32, [false; 16]);
    for (_, insn) in instructions(code) {
        let (destination, source) = (insn[1] & 15, insn[1] >> 4);
        let offset = i32::from(i16::from_le_bytes([insn[2], insn[3]]));
        match insn[0] {
            0xbf => copies[destination as usize] = source == FRAME,
            0x07 if copies[destination as usize] => deepest = deepest.min(operand(insn)),
            op => {
                let base = if op & 7 == 1 { source } else { destination };
                if (1..=3).contains(&(op & 7)) && base == FRAME {
                    deepest = deepest.min(offset);
                }
            }
        }
    }
    deepest.unsigned_abs()
}

/// Does a function, or one that it calls, use atomic operations that give the old value?
pub(super) fn fetches(units: &[Unit], place: Place) -> bool {
    let Ok(linkage) = Linkage::new(units, &[place]) else { return false };
    // Class STX, mode ATOMIC, with the FETCH bit in the immediate.
    let is_fetch = |insn: &[u8]| insn[0] & 0xe7 == 0xc3 && insn[4] & 1 != 0;
    linkage.placed.iter().any(|&(u, f)| instructions(&units[u].functions[f].code).any(|(_, insn)| is_fetch(insn)))
}

/// What an operand refers to, wherever that is.
pub(crate) enum Resolved {
    Call(Place),
    Callback(Place),
    /// Section of a unit, offset.
    Data(Place, u32),
    /// Map of a unit.
    Map(Place),
    /// Kernel symbol of a unit.
    Kernel(Place),
}

/// Finds what an operand of a function refers to.
pub(crate) fn resolve(units: &[Unit], (unit, function): Place, used: &Use) -> Result<Resolved, String> {
    let own = &units[unit];
    let name = &own.functions[function].name;
    Ok(match used {
        Use::Call(f) => Resolved::Call((unit, *f)),
        Use::Callback(f) => Resolved::Callback((unit, *f)),
        Use::Data { section, offset } => Resolved::Data((unit, *section), *offset),
        Use::Map(map) => Resolved::Map((unit, *map)),
        Use::Wrong(why) => return Err(format!("function `{name}` cannot be linked: {why}")),
        Use::Extern(number, offset) => {
            let symbol = &own.externs[*number];
            if symbol.kind != ExternKind::Unit {
                return Ok(Resolved::Kernel((unit, *number)));
            }
            let found = units.iter().enumerate().find_map(|(u, other)| Some((u, *other.globals.get(&symbol.name)?)));
            match found {
                Some((u, Global::Function(f))) => {
                    let call = own.functions[function].uses.iter().any(|(slot, at)| {
                        at == used && own.functions[function].code.get(*slot as usize * SLOT) == Some(&CALL)
                    });
                    if call { Resolved::Call((u, f)) } else { Resolved::Callback((u, f)) }
                }
                Some((u, Global::Data { section, offset: at })) => Resolved::Data((u, section), at + offset),
                Some((u, Global::Map(map))) => Resolved::Map((u, map)),
                None => return Err(format!("function `{name}` uses `{}`, which is not defined", symbol.name)),
            }
        }
    })
}
