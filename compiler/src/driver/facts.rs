//! What sema and the C front end ask about kernels, answered from the bundled
//! reference.
//!
//! In: names of tracepoints, constants and headers. Out: fields with C types of
//! the type store, values. Formats are parsed once per compilation.

use crate::btf::reference::{ConstantValue, Reference};
use crate::btf::tracepoint::{FieldPlace, TracepointField as RawField, TracepointFormat};
use crate::ctypes::{CTypeId, TagKind, TypeStore, nearest};
use crate::debuginfo::{Binary, Parameter};
use crate::sema::{Constant, Facts, Tracepoint, TracepointField};
use crate::syntax::c::HeaderOracle;
use btc_payload::binary::BinaryId;
use btc_payload::probe::{LinePlace, is_pattern, pattern_matches};
use object::{Object, ObjectSymbol};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;

/// Tracepoints by the patterns of category and event that were asked for.
type Found = BTreeMap<(String, String), Vec<Rc<Tracepoint>>>;

/// Binaries that were opened, or why they were not.
type Binaries = BTreeMap<String, Rc<Result<Binary, String>>>;

/// The reference, seen with the types of one compilation.
pub(super) struct ReferenceFacts<'a> {
    pub reference: &'a Reference,
    pub types: &'a TypeStore,
    found: RefCell<Found>,
    /// Where separate debug files are looked for, besides the usual places.
    debug_dirs: &'a [PathBuf],
    binaries: RefCell<Binaries>,
}

impl<'a> ReferenceFacts<'a> {
    pub fn new(reference: &'a Reference, types: &'a TypeStore, debug_dirs: &'a [PathBuf]) -> Self {
        ReferenceFacts { reference, types, found: RefCell::default(), debug_dirs, binaries: RefCell::default() }
    }

    /// A user binary by the name that an attach point has for it.
    fn binary(&self, name: &str) -> Rc<Result<Binary, String>> {
        if let Some(known) = self.binaries.borrow().get(name) {
            return known.clone();
        }
        let opened = Rc::new(match crate::paths::binaries(name, None).first() {
            Some(path) => Binary::open(path, self.debug_dirs),
            None => Err(format!("{name} is not there on this machine")),
        });
        self.binaries.borrow_mut().insert(name.to_string(), opened.clone());
        opened
    }

    fn convert(&self, format: &TracepointFormat) -> Tracepoint {
        let fields = format.own_fields().map(|f| self.field(f)).collect();
        Tracepoint { category: format.category.clone(), event: format.name.clone(), fields }
    }

    fn field(&self, f: &RawField) -> TracepointField {
        let elem = c_type(self.types, &f.ty);
        let ty = match f.array {
            None => elem,
            Some(written) => {
                let size = self.types.size_of(elem).unwrap_or(1).max(1);
                let counted = if f.place == FieldPlace::Inline { (u64::from(f.size) / size) as u32 } else { written };
                self.types.array_of(elem, counted)
            }
        };
        TracepointField {
            name: f.name.clone(),
            ty,
            offset: f.offset,
            size: f.size,
            signed: f.signed,
            data_loc: f.place == FieldPlace::DataLoc,
            relative: f.place == FieldPlace::RelLoc,
        }
    }
}

impl Facts for ReferenceFacts<'_> {
    fn tracepoints(&self, category: &str, event: &str) -> Vec<Rc<Tracepoint>> {
        let key = (category.to_string(), event.to_string());
        if let Some(known) = self.found.borrow().get(&key) {
            return known.clone();
        }
        let names = if is_pattern(category) || is_pattern(event) {
            self.reference.tracepoints(|c, e| pattern_matches(category, c) && pattern_matches(event, e))
        } else {
            vec![key.clone()]
        };
        let found: Vec<Rc<Tracepoint>> = names
            .iter()
            .filter_map(|(c, e)| self.reference.tracepoint(c, e))
            .map(|format| Rc::new(self.convert(&format)))
            .collect();
        self.found.borrow_mut().insert(key, found.clone());
        found
    }

    fn constant(&self, name: &str) -> Option<Constant> {
        Some(match self.reference.constant(name)?.value {
            ConstantValue::Int { value, .. } => Constant::Int(value),
            ConstantValue::String(text) => Constant::Text(text),
        })
    }

    fn similar_tracepoint(&self, category: &str, event: &str) -> Option<String> {
        let categories = self.reference.categories();
        let category =
            if categories.contains(&category) { category } else { nearest(category, categories.iter().copied())? };
        let events = self.reference.events(category);
        if events.iter().any(|e| e == event) {
            return Some(format!("{category}:{event}"));
        }
        nearest(event, events.iter().map(String::as_str)).map(|e| format!("{category}:{e}"))
    }

    fn user_parameters(&self, path: &str, function: &str) -> Result<(BinaryId, Vec<Parameter>), String> {
        let binary = self.binary(path);
        let binary = binary.as_ref().as_ref().map_err(String::clone)?;
        Ok((binary.id().clone(), binary.parameters(self.types, function)?))
    }

    fn user_type(&self, path: &str, tag: Option<TagKind>, name: &str) -> Option<(BinaryId, CTypeId)> {
        let binary = self.binary(path);
        let binary = binary.as_ref().as_ref().ok()?;
        Some((binary.id().clone(), binary.named_type(self.types, tag, name)?))
    }

    fn user_line(&self, path: &str, file: &str, line: u32) -> Result<(BinaryId, Vec<LinePlace>), String> {
        let binary = self.binary(path);
        let binary = binary.as_ref().as_ref().map_err(String::clone)?;
        let place =
            |address| LinePlace { address, function: binary.function_at(address).unwrap_or_default().to_string() };
        Ok((binary.id().clone(), binary.line(file, line)?.into_iter().map(place).collect()))
    }

    fn symbol_size(&self, path: &str, symbol: &str) -> Option<u64> {
        let bytes = std::fs::read(path).ok()?;
        let elf = object::File::parse(&*bytes).ok()?;
        let found = elf.symbols().chain(elf.dynamic_symbols()).find(|s| s.name() == Ok(symbol) && !s.is_undefined());
        found.map(|s| s.size())
    }
}

/// The type of a declaration in a format file, such as `const struct page *`.
/// What cannot be resolved is an unsigned 64-bit integer: only its bits are known.
fn c_type(types: &TypeStore, text: &str) -> CTypeId {
    let stars = text.matches('*').count();
    let words: Vec<&str> = text
        .split(|c: char| c.is_whitespace() || c == '*')
        .filter(|w| !matches!(*w, "" | "const" | "volatile" | "__user" | "__rcu"))
        .collect();
    let base = match words.as_slice() {
        ["struct", name] => types.find_struct(name),
        ["union", name] => types.find_union(name),
        ["enum", name] => types.find_enum(name),
        ["void"] => Some(CTypeId::VOID),
        words => types.integer(&words.join(" ")).or_else(|| types.find_tagless(&words.join(" "))),
    };
    let base = base.unwrap_or_else(|| if stars > 0 { CTypeId::VOID } else { types.int(8, false) });
    (0..stars).fold(base, |t, _| types.pointer_to(t))
}

/// Headers of the kernel and of libc, answered from the tables of constants.
pub(super) struct Headers(pub Rc<Reference>);

impl HeaderOracle for Headers {
    fn has_header(&self, header: &str) -> bool {
        self.0.has_header(header)
    }

    fn constant(&self, header: &str, name: &str) -> Option<String> {
        let constant = self.0.constant_in(name, &[header])?;
        Some(match constant.value {
            ConstantValue::Int { value, unsigned: true } => format!("{}", value as u64),
            ConstantValue::Int { value, .. } => value.to_string(),
            ConstantValue::String(text) => format!("\"{}\"", text.escape_default()),
        })
    }
}
