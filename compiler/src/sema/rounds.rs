//! Inference to a fixed point.
//!
//! In: the script with macros expanded. Out: the checker holds the types of all
//! maps and variables, and the tree and messages of one walk that learnt nothing.
//!
//! A walk over the whole script learns as far as types flow in the order in which
//! it is written; where they flow against it, as from a map's user to the probe
//! behind that stores into it, more walks are needed. They visit only the probes
//! that use what was learnt, so a chain through all the probes of a script costs
//! about as much as the script is long, whatever way it goes.

use super::checker::{Checker, Learnt};
use crate::diagnostic::Diagnostic;
use crate::hir::tree;
use crate::hir::types::Type;
use crate::syntax::ast;
use std::collections::BTreeMap;

/// Walks that only widen types after which inference gives up, of the whole script
/// and of each probe: no type can be widened that often. Walks that give something
/// its first type are as many as there are things.
const MAX_WIDENINGS: usize = 64;

/// The code of the message that a map's type is not known.
const UNKNOWN: &str = "E0221";

/// The attach points of a script with the block of each, in order; the position in it
/// is the probe's index.
type Points<'s> = Vec<((u32, &'s ast::Probe), &'s ast::AttachPoint)>;

impl Checker<'_> {
    /// Walks the script until nothing is learnt.
    pub(super) fn rounds(&mut self, script: &ast::Script) {
        let points = points(script);
        let mut widenings = 0;
        while widenings < MAX_WIDENINGS {
            self.begin_round();
            self.script(script);
            match self.learnt {
                Learnt::New => {}
                Learnt::Wider => widenings += 1,
                Learnt::Nothing => {
                    let other = self.diagnostics.iter().any(|d| d.is_error() && d.code != UNKNOWN);
                    if other || !self.guess() {
                        break;
                    }
                }
            }
            let guessed = self.learnt == Learnt::Nothing;
            // Guesses that others do not disturb need no walk over the whole between them.
            while self.propagate(&points) && guessed && self.guess() {}
        }
        if widenings == MAX_WIDENINGS {
            self.give_up(script);
        }
    }

    /// Walks the script once more, since what the walks over single probes built does
    /// not count, and says which type does not settle.
    fn give_up(&mut self, script: &ast::Script) {
        self.begin_round();
        self.script(script);
        if let Some((name, span)) = self.grown.take() {
            let message = format!("the type of `{name}` grows without end");
            self.report(Diagnostic::error("E0203", message).at(span, "each value of it makes it larger"));
        }
    }

    /// Walks the probes that use what was learnt until none is left. False where an
    /// error turned up that does not only say that something is unknown.
    fn propagate(&mut self, points: &Points<'_>) -> bool {
        let mut widenings: BTreeMap<usize, usize> = BTreeMap::new();
        let mut clean = true;
        while let Some(index) = self.stale.pop_first() {
            let Some((probe, point)) = points.get(index) else { continue };
            // What it builds counts for nothing.
            let settings = std::mem::take(&mut self.program.settings);
            self.program = tree::Program { limits: self.env.limits, settings, ..tree::Program::default() };
            self.diagnostics.clear();
            self.learnt = Learnt::Nothing;
            self.attach_point(*probe, point, index);
            clean &= !self.diagnostics.iter().any(|d| d.is_error() && d.code != UNKNOWN);
            if self.learnt == Learnt::Wider {
                let n = widenings.entry(index).or_default();
                *n += 1;
                if *n >= MAX_WIDENINGS {
                    self.stale.remove(&index);
                }
            }
        }
        clean
    }

    /// Gives a type to a map that takes it from nothing but itself, such as the
    /// counter of `@x = @x + 1`: the smallest integer, which further walks widen.
    /// False where there is none.
    fn guess(&mut self) -> bool {
        let Some(at) = self.maps.iter().position(|m| m.assigned && m.value.is_none()) else { return false };
        self.maps[at].value = Some(Type::Int { size: 1, signed: true });
        self.spread(at);
        true
    }
}

fn points(script: &ast::Script) -> Points<'_> {
    let probes = script.items.iter().filter_map(|i| match i {
        ast::Item::Probe(p) => Some(p),
        _ => None,
    });
    probes.zip(0..).flat_map(|(p, block)| p.attach_points.iter().map(move |a| ((block, p), a))).collect()
}
