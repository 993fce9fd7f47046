//! Entries of the debug information, and the references between them.
//!
//! In: DWARF sections, those of parts that were split off too. Out: [`Die`]s, which can be kept, and their attributes,
//! looked up through `DW_AT_specification` and `DW_AT_abstract_origin`.

use super::Reader;
use super::split::Parts;
use gimli::{AttributeValue, DebuggingInformationEntry, DwAt, DwTag, Unit, UnitOffset};
use std::cell::OnceCell;
use std::collections::HashMap;
use std::rc::Rc;

/// Longest chain of references from a function to its declaration.
const MAX_CHAIN: usize = 8;

/// What is looked up by its name.
const NAMED_TYPES: [DwTag; 5] = [
    gimli::DW_TAG_structure_type,
    gimli::DW_TAG_class_type,
    gimli::DW_TAG_union_type,
    gimli::DW_TAG_enumeration_type,
    gimli::DW_TAG_typedef,
];

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

/// The file that a unit lies in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum File {
    /// The binary, or its debug file.
    Own,
    /// What several debug files share.
    Shared,
    /// A part that was split off.
    Split(usize),
}

/// A unit.
pub(super) struct Place {
    pub unit: Unit<Reader>,
    pub file: File,
    /// Of a skeleton: the unit with its content.
    pub content: Option<usize>,
}

/// All units of a binary.
pub(super) struct Units {
    dwarf: gimli::Dwarf<Reader>,
    /// Parts that were split off, each with one unit of code.
    split: Vec<gimli::Dwarf<Reader>>,
    /// Names of such parts that were not found.
    pub absent: Vec<String>,
    pub places: Vec<Place>,
    /// Type units by signature: unit and offset of the type.
    signatures: HashMap<u64, Key>,
    /// Definitions of types by tag and name.
    definitions: OnceCell<HashMap<(DwTag, String), Key>>,
}

impl Units {
    /// All units; `parts` finds those that were split off.
    pub fn new(dwarf: gimli::Dwarf<Reader>, parts: &Parts) -> Result<Units> {
        let (split, absent, places) = (Vec::new(), Vec::new(), Vec::new());
        let (signatures, definitions) = (HashMap::new(), OnceCell::new());
        let mut units = Units { dwarf, split, absent, places, signatures, definitions };
        units.add_file(File::Own)?;
        if units.dwarf.sup().is_some() {
            units.add_file(File::Shared)?;
        }
        for skeleton in 0..units.places.len() {
            if units.unit(skeleton).dwo_id.is_some() && units.places[skeleton].file == File::Own {
                units.add_part(skeleton, parts)?;
            }
        }
        Ok(units)
    }

    /// The unit that a skeleton stands for, and the types that lie beside it.
    fn add_part(&mut self, skeleton: usize, parts: &Parts) -> Result<()> {
        let unit = self.unit(skeleton);
        let Some(name) = unit.dwo_name()? else { return Ok(()) };
        let name = gimli::Reader::to_slice(&self.dwarf.attr_string(unit, name)?)?.into_owned();
        let name = String::from_utf8_lossy(&name).into_owned();
        let directory = unit.comp_dir.as_ref().map(gimli::Reader::to_slice).transpose()?;
        let directory = directory.map(|d| String::from_utf8_lossy(&d).into_owned()).unwrap_or_default();
        let Some(part) = parts.find(&self.dwarf, unit.dwo_id, &directory, &name)? else {
            self.absent.push(name);
            return Ok(());
        };
        let first = self.places.len();
        self.split.push(part);
        self.add_file(File::Split(self.split.len() - 1))?;
        let (skeletons, content) = self.places.split_at_mut(first);
        let skeleton = &mut skeletons[skeleton];
        let same = content.iter_mut().enumerate().find(|(_, p)| p.unit.dwo_id == skeleton.unit.dwo_id);
        if let Some((i, place)) = same {
            place.unit.copy_relocated_attributes(&skeleton.unit);
            skeleton.content = Some(first + i);
        }
        Ok(())
    }

    fn add_file(&mut self, file: File) -> Result<()> {
        let Some(dwarf) = self.file(file) else { return Ok(()) };
        let (mut headers, mut units) = (Vec::new(), dwarf.units());
        while let Some(header) = units.next()? {
            headers.push(header);
        }
        let mut units = dwarf.type_units();
        while let Some(header) = units.next()? {
            headers.push(header);
        }
        let (mut places, mut signatures) = (Vec::new(), Vec::new());
        for header in headers {
            if let gimli::UnitType::Type { type_signature, type_offset }
            | gimli::UnitType::SplitType { type_signature, type_offset } = header.type_()
            {
                signatures.push((type_signature.0, (self.places.len() + places.len(), type_offset)));
            }
            places.push(Place { unit: dwarf.unit(header)?, file, content: None });
        }
        self.places.extend(places);
        self.signatures.extend(signatures);
        Ok(())
    }

    fn file(&self, file: File) -> Option<&gimli::Dwarf<Reader>> {
        match file {
            File::Own => Some(&self.dwarf),
            File::Shared => self.dwarf.sup(),
            File::Split(part) => self.split.get(part),
        }
    }

    /// The units of the binary's own, by their index.
    pub fn own(&self) -> impl Iterator<Item = (usize, &Place)> {
        self.places.iter().enumerate().filter(|(_, p)| p.file != File::Shared)
    }

    pub fn unit(&self, index: usize) -> &Unit<Reader> {
        &self.places[index].unit
    }

    pub fn die(&self, (unit, offset): Key) -> Result<Die> {
        Ok(Die { unit, entry: Rc::new(self.unit(unit).entry(offset)?) })
    }

    /// The sections that a unit belongs to.
    pub fn sections(&self, unit: usize) -> &gimli::Dwarf<Reader> {
        self.file(self.places[unit].file).unwrap_or(&self.dwarf)
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
            AttributeValue::DebugInfoRef(offset) => self.find(offset, self.places[die.unit].file),
            AttributeValue::DebugInfoRefSup(offset) => self.find(offset, File::Shared),
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

    fn find(&self, offset: gimli::DebugInfoOffset, file: File) -> Option<Key> {
        self.places.iter().enumerate().filter(|(_, p)| p.file == file).find_map(|(i, p)| {
            let offset = offset.to_unit_offset(&p.unit.header)?;
            Some((i, offset))
        })
    }

    /// The definition of a struct that is only declared here: the first of that
    /// name in any unit, outside of namespaces.
    pub fn definition(&self, die: &Die) -> Result<Option<Die>> {
        let name = self.text(die, gimli::DW_AT_name);
        name.map_or(Ok(None), |name| self.defined(die.tag(), &name))
    }

    /// The first definition of a type by its name, outside of namespaces.
    pub fn defined(&self, tag: DwTag, name: &str) -> Result<Option<Die>> {
        let known = match self.definitions.get() {
            Some(known) => known,
            None => {
                let built = self.all_definitions()?;
                self.definitions.get_or_init(|| built)
            }
        };
        known.get(&(tag, name.to_string())).map(|&key| self.die(key)).transpose()
    }

    fn all_definitions(&self) -> Result<HashMap<(DwTag, String), Key>> {
        let mut known = HashMap::new();
        for unit in 0..self.places.len() {
            let root = self.die((unit, self.unit(unit).header.root_offset()))?;
            for child in self.children(&root)? {
                if NAMED_TYPES.contains(&child.tag())
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
