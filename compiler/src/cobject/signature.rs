//! Functions of imported objects as scripts see them.
//!
//! In: units, the type store. Out: names with C types of the store, which gets the
//! types that only the C files define. Invariants: a struct that is the kernel's stays
//! so, also where a C file has a cut-down definition or one of another kernel: the
//! script's accesses are relocated on the target. Which it is decides
//! [`Adopter::is_kernels`], for BTF does not say.

use super::{Unit, calls};
use crate::btf::source::Found;
use crate::btf::{Btf, Kind};
use crate::ctypes::{CKind, CTypeId, Composite, Member, Signature, TagKind, TypeStore};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// A function that scripts may call.
#[derive(Clone, Debug)]
pub struct CFunction {
    /// Number of the unit, and of the function in it.
    pub place: (usize, usize),
    /// Its type.
    pub signature: Signature,
    /// Bytes of stack that it and what it calls take.
    pub stack: u32,
    /// Uses atomic operations that give the old value.
    pub fetches: bool,
    /// The file it is in, as shown.
    pub file: String,
}

/// What imported objects offer, by name.
#[derive(Clone, Debug, Default)]
pub struct Functions {
    /// Functions that can be called.
    pub callable: BTreeMap<String, CFunction>,
    /// Why other functions cannot be.
    pub others: BTreeMap<String, String>,
}

/// A function that two files define.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Twice {
    /// Its name.
    pub name: String,
    /// Numbers of the units.
    pub units: (usize, usize),
}

/// The functions of all units.
pub fn signatures(units: &[Unit], store: &TypeStore) -> (Functions, Vec<Twice>) {
    let (mut out, mut twice) = (Functions::default(), Vec::new());
    for (number, unit) in units.iter().enumerate() {
        let mut adopter = Adopter::new(unit, store);
        for (index, function) in unit.functions.iter().enumerate() {
            let (place, name) = ((number, index), function.name.clone());
            let signature = function.ty.and_then(|ty| adopter.signature(ty));
            let Some(signature) = signature.filter(|_| function.global) else {
                let why = if function.global { "has no type information" } else { "is `static`" };
                out.others.entry(name).or_insert_with(|| format!("`{}` of {} {why}", function.name, unit.name));
                continue;
            };
            if let Some(known) = out.callable.get(&name) {
                let weak = units[known.place.0].functions[known.place.1].weak;
                if !weak && !function.weak {
                    twice.push(Twice { name, units: (known.place.0, number) });
                    continue;
                }
                if !weak {
                    continue;
                }
            }
            let (stack, fetches) = (calls::stack(units, place, &mut Vec::new()), calls::fetches(units, place));
            out.callable.insert(name, CFunction { place, signature, stack, fetches, file: unit.name.clone() });
        }
        for (name, section) in &unit.programs {
            let why = format!("`{name}` of {} is a program of section \"{section}\"", unit.name);
            out.others.entry(name.clone()).or_insert(why);
        }
        adopter.rest();
    }
    (out, twice)
}

/// Makes types of a unit the script's.
struct Adopter<'a> {
    store: &'a TypeStore,
    found: Found,
    btf: &'a Btf,
    done: HashMap<CTypeId, CTypeId>,
    /// Names of types whose accesses are relocated: the kernel's.
    relocated: BTreeSet<String>,
}

impl<'a> Adopter<'a> {
    fn new(unit: &'a Unit, store: &'a TypeStore) -> Self {
        let found = Found { module: None, btf: unit.btf.clone() };
        let roots = unit.functions.iter().flat_map(|f| &f.relocations).map(|r| r.1);
        let relocated = roots.map(|id| plain(unit.btf.string(unit.btf.record(id).name)).to_string()).collect();
        Adopter { store, found, btf: &unit.btf, done: HashMap::new(), relocated }
    }

    /// The type of a `BTF_KIND_FUNC`.
    fn signature(&mut self, function: u32) -> Option<Signature> {
        let own = self.store.signature(self.store.blob_type(&self.found, function))?;
        Some(self.adopt_signature(&own))
    }

    /// Types that no function mentions: scripts may still cast to them.
    fn rest(&mut self) {
        let kinds = Kind::Struct.bit() | Kind::Union.bit() | Kind::Enum.bit() | Kind::Enum64.bit();
        let ids: Vec<u32> = self.btf.named(kinds).map(|(_, id)| id).collect();
        for id in ids {
            let ty = self.store.blob_type(&self.found, id);
            self.adopt(ty);
        }
    }

    fn adopt(&mut self, id: CTypeId) -> CTypeId {
        if !self.store.is_of(id, &self.found) {
            return id;
        }
        if let Some(&known) = self.done.get(&id) {
            return known;
        }
        let ty = self.store.get(id);
        let adopted = match &ty.kind {
            CKind::Void | CKind::Int(_) => id,
            CKind::Float { name, size } => self.store.add_float(name.clone(), *size),
            CKind::Pointer(to) => {
                let to = self.adopt(*to);
                self.store.pointer_to(to)
            }
            CKind::Array { elem, len } => {
                let elem = self.adopt(*elem);
                self.store.array_of(elem, *len)
            }
            CKind::Typedef { name, target } => {
                let target = self.adopt(*target);
                match self.store.find_typedef(name) {
                    Some(_) => target,
                    None => self.store.define_typedef(name, target).unwrap_or(target),
                }
            }
            CKind::Function(signature) => {
                let signature = self.adopt_signature(signature);
                self.store.add_function(signature)
            }
            CKind::Composite(composite) => return self.composite(id, composite),
            CKind::Forward { name, union } => self.forward(name, *union),
            CKind::Enum(definition) => {
                let known = definition.name.as_ref().and_then(|n| self.store.find_enum(n));
                known.or_else(|| self.store.define_enum(definition.clone()).ok()).unwrap_or(id)
            }
        };
        self.done.insert(id, adopted);
        adopted
    }

    fn adopt_signature(&mut self, signature: &Signature) -> Signature {
        Signature {
            ret: self.adopt(signature.ret),
            params: signature.params.iter().map(|(name, ty)| (name.clone(), self.adopt(*ty))).collect(),
            variadic: signature.variadic,
        }
    }

    fn forward(&mut self, name: &str, union: bool) -> CTypeId {
        let name = plain(name);
        let tag = if union { TagKind::Union } else { TagKind::Struct };
        let known = self.store.find_tag(name, tag);
        known.or_else(|| self.store.declare_composite(name, union).ok()).unwrap_or(CTypeId::VOID)
    }

    fn composite(&mut self, id: CTypeId, composite: &Composite) -> CTypeId {
        let Some(name) = composite.name.as_deref() else {
            let members = self.members(composite);
            let adopted = self.store.define_composite(Composite { members, ..composite.clone() }).unwrap_or(id);
            self.done.insert(id, adopted);
            return adopted;
        };
        let tag = if composite.union { TagKind::Union } else { TagKind::Struct };
        let known = self.store.find_tag(plain(name), tag).filter(|&known| self.is_known(known, composite));
        let declared = known.or_else(|| self.store.declare_composite(name, composite.union).ok());
        // The name means something else in the script: the type stays without one.
        let adopted = declared.unwrap_or_else(|| self.store.add_forward(name, composite.union));
        // Entered before its members, which may point back.
        self.done.insert(id, adopted);
        if known.is_none() {
            let members = self.members(composite);
            self.store.complete_struct(adopted, Composite { members, ..composite.clone() });
        }
        adopted
    }

    fn members(&mut self, composite: &Composite) -> Vec<Member> {
        composite.members.iter().map(|m| Member { ty: self.adopt(m.ty), ..m.clone() }).collect()
    }

    /// Does a type that the script or the kernel has stand for that of the C file?
    fn is_known(&self, known: CTypeId, composite: &Composite) -> bool {
        match &self.store.get(known).kind {
            // The script only declares it.
            CKind::Forward { .. } => false,
            CKind::Composite(_) if self.store.is_kernel(known) => self.is_kernels(known, composite),
            _ => true,
        }
    }

    /// Is it the kernel's struct of that name? It is if the C file's accesses are
    /// relocated, or if most of its members are the kernel's.
    fn is_kernels(&self, kernel: CTypeId, composite: &Composite) -> bool {
        let name = composite.name.as_deref().map_or("", plain);
        if self.relocated.contains(name) {
            return true;
        }
        let names: Vec<&str> = composite.members.iter().filter_map(|m| m.name.as_deref()).collect();
        let shared = names.iter().filter(|n| self.store.field(kernel, n).is_some()).count();
        4 * shared >= 3 * names.len()
    }
}

/// `task_struct` of `task_struct___old`: what follows three underscores tells apart
/// definitions of one type (libbpf's `bpf_core_essential_name_len`).
fn plain(name: &str) -> &str {
    match name.find("___") {
        Some(at) if at > 0 => &name[..at],
        _ => name,
    }
}
