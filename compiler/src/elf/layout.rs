//! Where each function lies in the object.
//!
//! In: the functions of an [`ObjectInput`]. Out: section and offset of each.
//! Fixed before anything is written, because `.BTF.ext` names instructions by
//! section and offset.

use super::{FunctionId, ObjectInput, Role, TEXT};

/// Section and offset of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Name of the section.
    pub section: &'static str,
    /// Offset of the first instruction in bytes.
    pub offset: u32,
}

/// Places of all functions.
#[derive(Clone, Debug)]
pub struct Layout {
    sections: Vec<&'static str>,
    places: Vec<Place>,
}

impl Layout {
    /// Places the functions of `input`: subprograms in `.text`, programs in the
    /// section of their type, in the order in which they stand.
    pub fn new(input: &ObjectInput<'_>) -> Layout {
        let mut sizes: Vec<(&'static str, u32)> = Vec::new();
        let mut places = Vec::with_capacity(input.functions.len());
        for f in &input.functions {
            let section = match f.role {
                Role::Program { section } => section,
                Role::Subprogram { .. } | Role::Global { .. } => TEXT,
            };
            let i = sizes.iter().position(|(s, _)| *s == section).unwrap_or_else(|| {
                sizes.push((section, 0));
                sizes.len() - 1
            });
            places.push(Place { section, offset: sizes[i].1 });
            sizes[i].1 += f.code.len() as u32;
        }
        Layout { sections: sizes.into_iter().map(|(s, _)| s).collect(), places }
    }

    /// Sections that hold code, in the order in which they are written.
    pub fn sections(&self) -> &[&'static str] {
        &self.sections
    }

    /// Where a function lies.
    pub fn place(&self, id: FunctionId) -> Place {
        self.places[id.0 as usize]
    }
}
