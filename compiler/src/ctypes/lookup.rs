//! Names to types, and types to their parts.
//!
//! In: names from the script. Out: ids, sizes, fields.
//! Invariants: the script comes first, then the built-in names, then kernels in
//! the order of the sources, then their modules; a forward declaration counts
//! as found only where no source has the definition. Chains of typedefs and
//! nests of anonymous members are followed to a fixed depth, because damaged
//! BTF can make cycles of them.

use std::rc::Rc;

use super::store::MAX_CHAIN;
use super::{CKind, CType, CTypeId, Composite, FieldPath, Member, Origin, Signature, TypeStore, builtin, suggest};
use crate::btf::Kind;
use crate::btf::reference::NameClass;
use crate::btf::source::Found;

/// The name spaces that C's tags divide into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TagKind {
    /// `struct`.
    Struct,
    /// `union`.
    Union,
    /// `enum`.
    Enum,
}

impl TagKind {
    pub(super) fn matches(self, kind: &CKind) -> bool {
        match kind {
            CKind::Composite(Composite { union, .. }) | CKind::Forward { union, .. } => {
                *union == (self == TagKind::Union) && self != TagKind::Enum
            }
            CKind::Enum(_) => self == TagKind::Enum,
            _ => false,
        }
    }

    fn kinds(self) -> u32 {
        match self {
            TagKind::Struct => Kind::Struct.bit(),
            TagKind::Union => Kind::Union.bit(),
            TagKind::Enum => Kind::Enum.bit() | Kind::Enum64.bit(),
        }
    }
}

/// Members looked at in one search; no struct has as many. Only damaged BTF, in
/// which an anonymous struct contains itself, comes to the end of it.
const MAX_MEMBERS: usize = 1 << 20;

/// Kinds that a type name can have.
const TYPE_NAMES: u32 =
    Kind::Struct.bit() | Kind::Union.bit() | Kind::Enum.bit() | Kind::Enum64.bit() | Kind::Typedef.bit();

/// A function of the kernel or of a module.
#[derive(Clone, Debug, PartialEq)]
pub struct KernelFunction {
    /// Its name.
    pub name: Rc<str>,
    /// The module it is in; `None` for the kernel itself.
    pub module: Option<Rc<str>>,
    /// Its type; `get` returns a [`CKind::Function`].
    pub ty: CTypeId,
}

impl TypeStore {
    /// `struct NAME`.
    pub fn find_struct(&self, name: &str) -> Option<CTypeId> {
        self.find_tag(name, TagKind::Struct)
    }

    /// `union NAME`.
    pub fn find_union(&self, name: &str) -> Option<CTypeId> {
        self.find_tag(name, TagKind::Union)
    }

    /// `enum NAME`.
    pub fn find_enum(&self, name: &str) -> Option<CTypeId> {
        self.find_tag(name, TagKind::Enum)
    }

    /// A struct, union or enum by its tag: the script's definition, else the
    /// kernel's, else the script's forward declaration.
    pub fn find_tag(&self, name: &str, tag: TagKind) -> Option<CTypeId> {
        let own = self.script_tag(name, tag);
        match own {
            Some(id) if !matches!(self.get(id).kind, CKind::Forward { .. }) || self.is_open(id) => own,
            _ => self.find_kernel(name, tag.kinds()).or(own),
        }
    }

    /// A typedef: the script's, a built-in one, or the kernel's.
    pub fn find_typedef(&self, name: &str) -> Option<CTypeId> {
        self.script_typedef(name)
            .or_else(|| self.builtin_typedef(name))
            .or_else(|| self.find_kernel(name, Kind::Typedef.bit()))
    }

    fn builtin_typedef(&self, name: &str) -> Option<CTypeId> {
        let row = builtin::TYPEDEFS.iter().find(|row| row.0 == name)?;
        let target = self.integer(row.1)?;
        // Added once, under a name space of its own: the script may still define it.
        let known = self.inner.typedefs.borrow().get(row.0).copied();
        Some(known.unwrap_or_else(|| {
            let id = self.add_script(CKind::Typedef { name: row.0.into(), target });
            self.inner.typedefs.borrow_mut().insert(row.0, id);
            id
        }))
    }

    /// What a bare word means as a type: an integer's name, a typedef, or the
    /// tag of a struct, union or enum, which bpftrace lets one write alone.
    pub fn find_tagless(&self, name: &str) -> Option<CTypeId> {
        let tags = [TagKind::Struct, TagKind::Union, TagKind::Enum];
        if name == "void" {
            return Some(CTypeId::VOID);
        }
        self.script_typedef(name)
            .or_else(|| tags.iter().find_map(|&tag| self.script_tag(name, tag)))
            .or_else(|| self.integer(name))
            .or_else(|| self.find_typedef(name))
            .or_else(|| tags.iter().find_map(|&tag| self.find_tag(name, tag)))
    }

    /// The enumeration that has a value of this name, and the value.
    pub fn find_enumerator(&self, name: &str) -> Option<(CTypeId, i64)> {
        self.script_enumerator(name).or_else(|| {
            let (found, (id, i)) = self
                .inner
                .sources
                .candidates(NameClass::Enumerator, name)
                .find_map(|found| found.btf.enumerator(name).map(|hit| (found.clone(), hit)))?;
            let id = self.kernel_id(&found, id);
            match &self.get(id).kind {
                CKind::Enum(e) => e.values.get(i).map(|(_, value)| (id, *value)),
                _ => None,
            }
        })
    }

    /// The release of the bundled reference, if kernel types come from there.
    pub fn reference_release(&self) -> Option<&'static str> {
        self.inner.sources.reference_release()
    }

    /// A function of the kernel: of the given module (`vmlinux` is the kernel
    /// itself), or wherever it is found first.
    pub fn find_func(&self, name: &str, module: Option<&str>) -> Option<KernelFunction> {
        let sources = &self.inner.sources;
        let kinds = Kind::Func.bit();
        let hit = |found: Found| {
            let id = found.btf.ids_by_name(name, kinds).next()?;
            Some((found, id))
        };
        let (found, id) = match module {
            Some("vmlinux") => sources.bases().find_map(hit),
            Some(module) => sources.module(module).find_map(hit),
            None => sources.candidates(NameClass::Function, name).find_map(hit),
        }?;
        Some(KernelFunction { name: name.into(), ty: self.kernel_id(&found, id), module: found.module })
    }

    /// The parameters and return type of a function type, through typedefs and
    /// one pointer.
    pub fn signature(&self, id: CTypeId) -> Option<Signature> {
        let mut ty = self.get(self.resolve(id));
        if let CKind::Pointer(to) = ty.kind {
            ty = self.get(self.resolve(to));
        }
        match &ty.kind {
            CKind::Function(signature) => Some(signature.clone()),
            _ => None,
        }
    }

    fn find_kernel(&self, name: &str, kinds: u32) -> Option<CTypeId> {
        let key = (name.to_owned(), kinds);
        if let Some(&known) = self.inner.found.borrow().get(&key) {
            return known;
        }
        let mut candidates = self.inner.sources.candidates(NameClass::Type, name);
        let id = candidates.find_map(|found| {
            let id = found.btf.ids_by_name(name, kinds).next()?;
            Some(self.kernel_id(&found, id))
        });
        self.inner.found.borrow_mut().insert(key, id);
        id
    }

    /// The type behind typedefs; a forward declaration becomes the definition
    /// of that name where there is one.
    pub fn resolve(&self, id: CTypeId) -> CTypeId {
        let mut id = id;
        for _ in 0..MAX_CHAIN {
            match &self.get(id).kind {
                CKind::Typedef { target, .. } => id = *target,
                CKind::Forward { name, union } => {
                    let tag = if *union { TagKind::Union } else { TagKind::Struct };
                    return self.find_tag(name, tag).unwrap_or(id);
                }
                _ => return id,
            }
        }
        CTypeId::VOID
    }

    /// The type behind typedefs, itself.
    pub fn resolved(&self, id: CTypeId) -> Rc<CType> {
        self.get(self.resolve(id))
    }

    /// Whether the layout is the kernel's to decide: only such accesses are
    /// relocated on the target. Looks through typedefs and arrays.
    pub fn is_kernel(&self, id: CTypeId) -> bool {
        let ty = self.resolved(id);
        match ty.kind {
            CKind::Array { elem, .. } => self.is_kernel_at(elem, 0),
            CKind::Composite(_) | CKind::Enum(_) | CKind::Forward { .. } => ty.origin == Origin::Kernel,
            _ => false,
        }
    }

    fn is_kernel_at(&self, id: CTypeId, depth: usize) -> bool {
        let ty = self.resolved(id);
        match ty.kind {
            CKind::Array { elem, .. } if depth < MAX_CHAIN => self.is_kernel_at(elem, depth + 1),
            CKind::Composite(_) | CKind::Enum(_) => ty.origin == Origin::Kernel,
            _ => false,
        }
    }

    /// `sizeof`; `None` for incomplete and function types and `void`.
    pub fn size_of(&self, id: CTypeId) -> Option<u64> {
        let mut count: u64 = 1;
        let mut id = id;
        for _ in 0..MAX_CHAIN {
            let ty = self.resolved(id);
            let size = match &ty.kind {
                CKind::Int(int) => int.size,
                CKind::Float { size, .. } => *size,
                CKind::Pointer(_) => 8,
                CKind::Composite(c) => c.size,
                CKind::Enum(e) => e.size,
                CKind::Array { elem, len } => {
                    count = count.saturating_mul(u64::from(*len));
                    id = *elem;
                    continue;
                }
                CKind::Void | CKind::Typedef { .. } | CKind::Forward { .. } | CKind::Function(_) => {
                    return None;
                }
            };
            return Some(count.saturating_mul(u64::from(size)));
        }
        None
    }

    /// Alignment in bytes, at least 1. BTF does not record it: that of a
    /// kernel's struct is the largest of its members'.
    pub fn align_of(&self, id: CTypeId) -> u32 {
        let id = self.resolve(id);
        if let Some(&known) = self.inner.aligns.borrow().get(&id) {
            return known;
        }
        // Entered first, so that a cycle in damaged BTF ends here. Types that are
        // not finished yet may still be completed by the script, and are not kept.
        self.inner.aligns.borrow_mut().insert(id, 1);
        let ty = self.get(id);
        let align = match &ty.kind {
            CKind::Int(int) => int.size.clamp(1, 16),
            CKind::Float { size, .. } => (*size).clamp(1, 16),
            CKind::Pointer(_) => 8,
            CKind::Enum(e) => e.size.max(1),
            CKind::Array { elem, .. } => self.align_of(*elem),
            CKind::Composite(c) => c.members.iter().map(|m| self.align_of(m.ty)).max().unwrap_or(1),
            _ => 1,
        };
        if matches!(ty.kind, CKind::Forward { .. }) {
            self.inner.aligns.borrow_mut().remove(&id);
        } else {
            self.inner.aligns.borrow_mut().insert(id, align);
        }
        align
    }

    /// Alignment that attributes ask for.
    pub fn set_align(&self, id: CTypeId, align: u32) {
        self.inner.aligns.borrow_mut().insert(id, align);
    }

    /// A member by name, looked up through anonymous structs and unions.
    pub fn field(&self, id: CTypeId, name: &str) -> Option<FieldPath> {
        let mut found = None;
        self.visit_members(id, &mut |path, bit_offset, member| {
            let hit = member.name.as_deref() == Some(name);
            if hit {
                found =
                    Some(FieldPath { indices: path.to_vec(), ty: member.ty, bit_offset, bit_width: member.bit_width });
            }
            hit
        });
        found
    }

    /// Names of all members, those of anonymous members included.
    pub fn field_names(&self, id: CTypeId) -> Vec<Rc<str>> {
        let mut names = Vec::new();
        self.visit_members(id, &mut |_, _, member| {
            names.extend(member.name.clone());
            false
        });
        names
    }

    /// Calls `visit` with indices, bit offset and member, for all members in order,
    /// those of anonymous members in their place, until it returns true.
    fn visit_members(&self, id: CTypeId, visit: &mut dyn FnMut(&[u32], u32, &Member) -> bool) {
        let mut budget = MAX_MEMBERS;
        self.visit_at(id, &mut Vec::new(), 0, &mut budget, visit);
    }

    fn visit_at(
        &self,
        id: CTypeId,
        path: &mut Vec<u32>,
        bit_offset: u32,
        budget: &mut usize,
        visit: &mut dyn FnMut(&[u32], u32, &Member) -> bool,
    ) -> bool {
        let ty = self.resolved(id);
        let CKind::Composite(composite) = &ty.kind else {
            return false;
        };
        for (i, member) in composite.members.iter().enumerate() {
            *budget = budget.saturating_sub(1);
            if *budget == 0 || path.len() >= MAX_CHAIN {
                return true;
            }
            let bit_offset = bit_offset.wrapping_add(member.bit_offset);
            path.push(i as u32);
            let done = match &member.name {
                Some(_) => visit(path, bit_offset, member),
                None => self.visit_at(member.ty, path, bit_offset, budget, visit),
            };
            path.pop();
            if done {
                return true;
            }
        }
        false
    }

    /// The member of `id` whose name is nearest to a misspelt one.
    pub fn similar_field(&self, id: CTypeId, name: &str) -> Option<String> {
        let names = self.field_names(id);
        suggest::nearest(name, names.iter().map(|n| &**n)).map(str::to_owned)
    }

    /// The type name nearest to a misspelt one.
    pub fn similar_type(&self, name: &str) -> Option<String> {
        let own = self.script_names();
        let builtin = builtin::TYPEDEFS.iter().map(|row| row.0);
        let near = suggest::nearest(name, own.iter().map(|n| &**n).chain(builtin));
        near.map(str::to_owned).or_else(|| self.inner.sources.similar(NameClass::Type, TYPE_NAMES, name))
    }

    /// The kernel function whose name is nearest to a misspelt one.
    pub fn similar_func(&self, name: &str) -> Option<String> {
        let kinds = Kind::Func.bit();
        self.inner.sources.similar(NameClass::Function, kinds, name)
    }

    /// The enumerator of the script nearest to a misspelt name. The kernel's
    /// 30 000 would suggest nonsense for every short word.
    pub fn similar_enumerator(&self, name: &str) -> Option<String> {
        let own = self.script_enumerators();
        suggest::nearest(name, own.iter().map(|n| &**n)).map(str::to_owned)
    }

    /// Names of kernel functions that satisfy a condition, with their modules,
    /// in id order; used to expand wildcards for listing and for arguments.
    pub fn functions(&self, wanted: impl Fn(&str) -> bool) -> Vec<(Option<Rc<str>>, String)> {
        let sources = &self.inner.sources;
        let mut functions = Vec::new();
        for found in sources.bases().chain(sources.modules()) {
            for (name, _) in found.btf.named(Kind::Func.bit()) {
                if wanted(name) {
                    functions.push((found.module.clone(), name.to_owned()));
                }
            }
        }
        functions
    }
}
