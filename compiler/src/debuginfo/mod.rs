//! What debug information says of a user binary: parameters and lines.
//!
//! In: the path of a binary, names of functions and files. Out: parameters with
//! types of the store and the places where they lie, addresses of lines, and the
//! build that all of this holds for. Files in order of use: `files` (sections), `split` (parts elsewhere),
//! `die` (entries), `types`, `abi`, `lines`. A leaf: knows C types, no stage.
//! Read while compiling only; no tracer reads debug information.

mod abi;
mod die;
mod files;
mod lines;
mod split;
mod types;

#[cfg(test)]
mod tests;

use crate::ctypes::{CTypeId, TagKind, TypeStore};
use abi::{Frame, Passing};
use btc_payload::binary::BinaryId;
use die::{Die, Key, Units};
use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub use abi::{Place, Word};

/// Sections, kept as long as anything refers to them.
type Reader = gimli::EndianRcSlice<gimli::LittleEndian>;

/// `DW_CC_pass_by_reference` (DWARF 5, section 7.15).
const PASS_BY_REFERENCE: u64 = 4;

/// A parameter of a function.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// Name, if it has one.
    pub name: Option<String>,
    /// Type.
    pub ty: CTypeId,
    /// Where it lies when the function is entered.
    pub place: Place,
}

/// A binary with its debug information.
pub struct Binary {
    id: BinaryId,
    units: Units,
    functions: Vec<(u64, u64, String)>,
    index: OnceCell<BTreeMap<String, Key>>,
    /// Types by entry, for the one store that a compilation has.
    types: RefCell<types::Known>,
}

impl Binary {
    /// Opens a binary, looking for separate debug files also in `dirs`.
    pub fn open(path: &Path, dirs: &[PathBuf]) -> Result<Binary, String> {
        let loaded = files::load(path, dirs)?;
        let units = Units::new(loaded.dwarf, &loaded.parts).map_err(|e| damaged(path, e))?;
        Ok(Binary {
            id: loaded.id,
            units,
            functions: loaded.functions,
            index: OnceCell::new(),
            types: RefCell::default(),
        })
    }

    /// The build that all answers hold for.
    pub fn id(&self) -> &BinaryId {
        &self.id
    }

    /// The parameters of a function, by the name that the symbol table has.
    pub fn parameters(&self, store: &TypeStore, function: &str) -> Result<Vec<Parameter>, String> {
        let Some(die) = self.find(function)? else { return Err(self.unknown(function)) };
        self.laid_out(store, &die).map_err(|e| e.to_string()).and_then(|result| result)
    }

    /// A type by its name and tag; without a tag a typedef, or what C++ and Rust name so.
    pub fn named_type(&self, store: &TypeStore, tag: Option<TagKind>, name: &str) -> Option<CTypeId> {
        let structs = [gimli::DW_TAG_structure_type, gimli::DW_TAG_class_type];
        let tags = match tag {
            Some(TagKind::Struct) => &structs[..],
            Some(TagKind::Union) => &[gimli::DW_TAG_union_type],
            Some(TagKind::Enum) => &[gimli::DW_TAG_enumeration_type],
            None => &[gimli::DW_TAG_typedef, gimli::DW_TAG_class_type, gimli::DW_TAG_structure_type],
        };
        let die = tags.iter().find_map(|&tag| self.units.defined(tag, name).ok().flatten())?;
        if tag.is_none() && structs.contains(&die.tag()) && types::is_c(&self.units, &die) {
            return None;
        }
        let mut known = self.types.borrow_mut();
        types::Types { units: &self.units, store, known: &mut known }.named(&die).ok()
    }

    /// `TYPE NAME` of each parameter; none where nothing is known.
    pub fn parameter_texts(&self, function: &str) -> Vec<String> {
        let Ok(Some(die)) = self.find(function) else { return Vec::new() };
        let text = |parameter: &Die| -> die::Result<String> {
            let ty = types::spell(&self.units, self.units.type_of(parameter)?, 0)?;
            let name = self.units.text_of(parameter, gimli::DW_AT_name)?;
            Ok(name.map_or(ty.clone(), |name| format!("{ty} {name}")))
        };
        let found = self.formal(&die).unwrap_or_default();
        found.iter().filter_map(|p| text(p).ok()).collect()
    }

    /// Where the code of a source line begins.
    pub fn line(&self, file: &str, line: u32) -> Result<Vec<u64>, String> {
        let found = lines::find(&self.units, file, u64::from(line)).map_err(|e| e.to_string())?;
        if !found.addresses.is_empty() {
            return Ok(found.addresses);
        }
        Err(match (found.file, found.next) {
            (false, _) => format!("no source file {file} went into it"),
            (true, None) => format!("{file} has no code at line {line}, nor behind it"),
            (true, Some(next)) => format!("{file} has no code at line {line}; the next line with code is {next}"),
        })
    }

    /// The function that an address lies in.
    pub fn function_at(&self, address: u64) -> Option<&str> {
        let at = self.functions.partition_point(|f| f.0 <= address).checked_sub(1)?;
        let (start, size, name) = &self.functions[at];
        (*size == 0 || address < start + size).then_some(name)
    }

    fn unknown(&self, function: &str) -> String {
        let near = crate::ctypes::nearest(function, self.functions.iter().map(|f| f.2.as_str()));
        let help = near.map(|n| format!("; did you mean {n}?")).unwrap_or_default();
        if self.functions.iter().any(|f| f.2 == function) {
            return match self.units.absent.first() {
                Some(part) => format!("its debug information lies in {part} and the like, which is not there"),
                None => format!("its debug information does not describe {function}"),
            };
        }
        format!("it has no function {function}{help}")
    }

    fn find(&self, function: &str) -> Result<Option<Die>, String> {
        let index = match self.index.get() {
            Some(index) => index,
            None => {
                let built = self.build_index().map_err(|e| e.to_string())?;
                self.index.get_or_init(|| built)
            }
        };
        index.get(function).map(|&key| self.units.die(key).map_err(|e| e.to_string())).transpose()
    }

    /// Definitions of functions by the name of their symbol.
    fn build_index(&self) -> die::Result<BTreeMap<String, Key>> {
        let mut index = BTreeMap::new();
        for (unit, _) in self.units.own() {
            let root = self.units.unit(unit).header.root_offset();
            self.index_below(&self.units.die((unit, root))?, 0, &mut index)?;
        }
        Ok(index)
    }

    fn index_below(&self, parent: &Die, depth: usize, index: &mut BTreeMap<String, Key>) -> die::Result<()> {
        for child in self.units.children(parent)? {
            match child.tag() {
                gimli::DW_TAG_subprogram => {
                    let defined =
                        child.entry.has_attr(gimli::DW_AT_low_pc) || child.entry.has_attr(gimli::DW_AT_ranges);
                    if !defined {
                        continue;
                    }
                    let linkage = self.units.text_of(&child, gimli::DW_AT_linkage_name)?;
                    let name = match linkage {
                        Some(name) => Some(name),
                        None => self.units.text_of(&child, gimli::DW_AT_name)?,
                    };
                    index.entry(name.unwrap_or_default()).or_insert(child.key());
                }
                gimli::DW_TAG_namespace
                | gimli::DW_TAG_module
                | gimli::DW_TAG_structure_type
                | gimli::DW_TAG_class_type
                    if depth < 32 && child.entry.has_children() =>
                {
                    self.index_below(&child, depth + 1, index)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Entries of the parameters.
    fn formal(&self, function: &Die) -> die::Result<Vec<Die>> {
        let children = self.units.children(function)?;
        Ok(children.into_iter().filter(|c| c.tag() == gimli::DW_TAG_formal_parameter).collect())
    }

    fn laid_out(&self, store: &TypeStore, function: &Die) -> die::Result<Result<Vec<Parameter>, String>> {
        let large = match self.language(function)? {
            Some(gimli::DW_LANG_Go) => return Ok(Err("Go passes arguments in ways of its own; use reg()".into())),
            Some(gimli::DW_LANG_Rust) => Passing::Pointer,
            _ => Passing::Value,
        };
        let mut known = self.types.borrow_mut();
        let mut types = types::Types { units: &self.units, store, known: &mut known };
        let result = types.of(function)?;
        let by_pointer = self.is_object(self.units.type_of(function)?)?;
        let returned = if by_pointer { Passing::Pointer } else { Passing::Value };
        let mut frame = Frame::of(store, result, returned);
        let mut out = Vec::new();
        for p in self.formal(function)? {
            let ty = types.of(&p)?;
            let object = self.is_object(self.units.type_of(&p)?)?;
            let passing = if object { Passing::Pointer } else { large };
            let place = frame.next(store, ty, object, passing);
            out.push(Parameter { name: self.units.text_of(&p, gimli::DW_AT_name)?, ty, place });
        }
        Ok(Ok(out))
    }

    fn language(&self, die: &Die) -> die::Result<Option<gimli::DwLang>> {
        let unit = self.units.unit(die.unit);
        Ok(match unit.entry(unit.header.root_offset())?.attr_value(gimli::DW_AT_language) {
            Some(gimli::AttributeValue::Language(language)) => Some(language),
            _ => None,
        })
    }

    /// Is it a C++ object that is passed by its address?
    fn is_object(&self, ty: Option<Die>) -> die::Result<bool> {
        let Some(mut ty) = ty else { return Ok(false) };
        for _ in 0..16 {
            match self.units.reference(&ty, gimli::DW_AT_type)? {
                Some(inner) if matches!(ty.tag(), gimli::DW_TAG_typedef | gimli::DW_TAG_const_type) => ty = inner,
                _ => break,
            }
        }
        Ok(match ty.entry.attr_value(gimli::DW_AT_calling_convention) {
            Some(gimli::AttributeValue::CallingConvention(c)) => u64::from(c.0) == PASS_BY_REFERENCE,
            _ => die::number(&ty, gimli::DW_AT_calling_convention) == Some(PASS_BY_REFERENCE),
        })
    }
}

fn damaged(path: &Path, e: gimli::Error) -> String {
    format!("the debug information of {} is damaged: {e}", path.display())
}
