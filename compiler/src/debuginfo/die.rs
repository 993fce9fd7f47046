//! Entries of the debug information, and the references between them.
//!
//! In: DWARF sections. Out: [`Die`]s, which can be kept, and their attributes,
//! looked up through `DW_AT_specification` and `DW_AT_abstract_origin`.

use super::Reader;
use gimli::{AttributeValue, DebuggingInformationEntry, DwAt, DwTag, Unit, UnitOffset};
use std::cell::OnceCell;
use std::collections::HashMap;
use std::rc::Rc;

/// Longest chain of references from a function to its declaration.
const MAX_CHAIN: usize = 8;

pub(super) type Entry = DebuggingInformationEntry<Reader>;

/// Any damage of the sections.
pub(super) type Result<T> = std::result::Result<T, gimli::Error>;

/// Key of an entry.
pub(super) type Key = (usize, UnitOffset);

/// An entry with where it lies.
#[derive(Clone)]
pub(super) struct Die {
    pub unit: usize,
    pub entry: Rc<Entry>,
}

impl Die {
    pub fn key(&self) -> Key {
        (self.unit, self.entry.offset())
    }

    pub fn tag(&self) -> DwTag {
        self.entry.tag()
    }
}

/// A unit, and whether it lies in the file that others share.
pub(super) struct Place {
    pub unit: Unit<Reader>,
    pub shared: bool,
}

/// All units of a binary.
pub(super) struct Units {
    pub dwarf: gimli::Dwarf<Reader>,
    pub places: Vec<Place>,
    /// Type units by signature: unit and offset of the type.
    signatures: HashMap<u64, Key>,
    /// Definitions of structs and unions by tag and name.
    definitions: OnceCell<HashMap<(DwTag, String), Key>>,
}

impl Units {
    pub fn new(dwarf: gimli::Dwarf<Reader>) -> Result<Units> {
        let (mut places, mut signatures) = (Vec::new(), HashMap::new());
        let mut add = |dwarf: &gimli::Dwarf<Reader>, header: gimli::UnitHeader<Reader>, shared: bool| -> Result<()> {
            if let gimli::UnitType::Type { type_signature, type_offset } = header.type_() {
                signatures.insert(type_signature.0, (places.len(), type_offset));
            }
            places.push(Place { unit: dwarf.unit(header)?, shared });
            Ok(())
        };
        let mut headers = dwarf.units();
        while let Some(header) = headers.next()? {
            add(&dwarf, header, false)?;
        }
        let mut headers = dwarf.type_units();
        while let Some(header) = headers.next()? {
            add(&dwarf, header, false)?;
        }
        if let Some(shared) = dwarf.sup() {
            let mut headers = shared.units();
            while let Some(header) = headers.next()? {
                add(shared, header, true)?;
            }
        }
        Ok(Units { dwarf, places, signatures, definitions: OnceCell::new() })
    }

    pub fn unit(&self, index: usize) -> &Unit<Reader> {
        &self.places[index].unit
    }

    pub fn die(&self, (unit, offset): Key) -> Result<Die> {
        Ok(Die { unit, entry: Rc::new(self.unit(unit).entry(offset)?) })
    }

    /// The sections that a unit belongs to.
    pub fn sections(&self, unit: usize) -> &gimli::Dwarf<Reader> {
        match self.dwarf.sup() {
            Some(shared) if self.places[unit].shared => shared,
            _ => &self.dwarf,
        }
    }

    /// Entries directly below.
    pub fn children(&self, die: &Die) -> Result<Vec<Die>> {
        let mut tree = self.unit(die.unit).entries_tree(Some(die.entry.offset()))?;
        let mut children = tree.root()?.children();
        let mut out = Vec::new();
        while let Some(child) = children.next()? {
            out.push(Die { unit: die.unit, entry: Rc::new(child.entry().clone()) });
        }
        Ok(out)
    }

    /// Where an attribute refers to.
    pub fn reference(&self, die: &Die, at: DwAt) -> Result<Option<Die>> {
        let Some(value) = die.entry.attr_value(at) else { return Ok(None) };
        let key = match value {
            AttributeValue::UnitRef(offset) => Some((die.unit, offset)),
            AttributeValue::DebugInfoRef(offset) => self.find(offset, self.places[die.unit].shared),
            AttributeValue::DebugInfoRefSup(offset) => self.find(offset, true),
            AttributeValue::DebugTypesRef(signature) => self.signatures.get(&signature.0).copied(),
            _ => None,
        };
        let Some(target) = key.map(|key| self.die(key)).transpose()? else { return Ok(None) };
        // What stands in for a type that has a unit of its own.
        match target.entry.attr_value(gimli::DW_AT_signature) {
            Some(AttributeValue::DebugTypesRef(signature)) if at != gimli::DW_AT_signature => {
                let unit = self.signatures.get(&signature.0);
                unit.map_or(Ok(Some(target)), |&key| self.die(key).map(Some))
            }
            _ => Ok(Some(target)),
        }
    }

    fn find(&self, offset: gimli::DebugInfoOffset, shared: bool) -> Option<Key> {
        self.places.iter().enumerate().filter(|(_, p)| p.shared == shared).find_map(|(i, p)| {
            let offset = offset.to_unit_offset(&p.unit.header)?;
            Some((i, offset))
        })
    }

    /// The definition of a struct that is only declared here: the first of that
    /// name in any unit, outside of namespaces.
    pub fn definition(&self, die: &Die) -> Result<Option<Die>> {
        let Some(name) = self.text(die, gimli::DW_AT_name) else { return Ok(None) };
        let known = match self.definitions.get() {
            Some(known) => known,
            None => {
                let built = self.all_definitions()?;
                self.definitions.get_or_init(|| built)
            }
        };
        known.get(&(die.tag(), name)).map(|&key| self.die(key)).transpose()
    }

    fn all_definitions(&self) -> Result<HashMap<(DwTag, String), Key>> {
        let mut known = HashMap::new();
        for unit in 0..self.places.len() {
            let root = self.die((unit, self.unit(unit).header.root_offset()))?;
            for child in self.children(&root)? {
                let composite = matches!(
                    child.tag(),
                    gimli::DW_TAG_structure_type | gimli::DW_TAG_class_type | gimli::DW_TAG_union_type
                );
                if composite
                    && !child.entry.has_attr(gimli::DW_AT_declaration)
                    && let Some(name) = self.text(&child, gimli::DW_AT_name)
                {
                    known.entry((child.tag(), name)).or_insert(child.key());
                }
            }
        }
        Ok(known)
    }

    /// The entry and those it completes, nearest first.
    pub fn chain(&self, die: &Die) -> Result<Vec<Die>> {
        let mut out = vec![die.clone()];
        while out.len() < MAX_CHAIN {
            let last = &out[out.len() - 1];
            let next = match self.reference(last, gimli::DW_AT_abstract_origin)? {
                Some(next) => Some(next),
                None => self.reference(last, gimli::DW_AT_specification)?,
            };
            match next {
                Some(next) => out.push(next),
                None => break,
            }
        }
        Ok(out)
    }

    /// A text of the entry itself.
    pub fn text(&self, die: &Die, at: DwAt) -> Option<String> {
        let value = die.entry.attr_value(at)?;
        let text = self.sections(die.unit).attr_string(self.unit(die.unit), value).ok()?;
        let bytes = gimli::Reader::to_slice(&text).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// A text of the entry or of what it completes.
    pub fn text_of(&self, die: &Die, at: DwAt) -> Result<Option<String>> {
        Ok(self.chain(die)?.iter().find_map(|d| self.text(d, at)))
    }

    /// The type of the entry or of what it completes.
    pub fn type_of(&self, die: &Die) -> Result<Option<Die>> {
        for d in self.chain(die)? {
            if let Some(ty) = self.reference(&d, gimli::DW_AT_type)? {
                return Ok(Some(ty));
            }
        }
        Ok(None)
    }
}

/// A number that an attribute states.
pub(super) fn number(die: &Die, at: DwAt) -> Option<u64> {
    let attr = die.entry.attr(at)?;
    attr.udata_value().or_else(|| attr.sdata_value().map(|v| v as u64))
}
