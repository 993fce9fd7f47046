//! CO-RE relocations: what the target's kernel decides about an access.
//!
//! In: a kind, a root type and the path from it, as sema and lowering know them.
//! Out: a table of distinct relocations by index, the value each has by the BTF
//! compiled against (it goes into the instruction, and libbpf compares it before
//! patching), and the texts for `--emit`.
//! Invariants: roots are named: typedefs in front of a named struct, union or
//! enum are stripped, one in front of an anonymous one is kept, because the
//! target is searched by name. Values follow `bpf_core_calc_field_relo` and its
//! siblings in the kernel's tools/lib/bpf/relo_core.c (Linux 6.12).

use std::collections::HashMap;
use std::fmt::Write as _;
use std::rc::Rc;

use crate::ctypes::{CKind, CType, CTypeId, TypeStore};

/// What is asked about the target (`enum bpf_core_relo_kind`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u32)]
pub enum CoreKind {
    /// Offset of a field; of a bit-field, of the word to load.
    FieldByteOffset = 0,
    /// Size of a field; of a bit-field, of the word to load.
    FieldByteSize = 1,
    /// Whether the field exists: 0 or 1.
    FieldExists = 2,
    /// Whether the field is signed: 0 or 1.
    FieldSigned = 3,
    /// Left shift that brings a bit-field to the top of 64 bits.
    FieldLshiftU64 = 4,
    /// Right shift that then brings it to the bottom.
    FieldRshiftU64 = 5,
    /// Id of a type in the object's own BTF.
    TypeIdLocal = 6,
    /// Id of a type in the target's BTF.
    TypeIdTarget = 7,
    /// Whether the type exists: 0 or 1.
    TypeExists = 8,
    /// `sizeof`.
    TypeSize = 9,
    /// Whether the enumerator exists: 0 or 1.
    EnumvalExists = 10,
    /// Value of the enumerator.
    EnumvalValue = 11,
    /// Whether the type has the members of ours: 0 or 1.
    TypeMatches = 12,
}

impl CoreKind {
    /// As written by `--emit`.
    pub fn name(self) -> &'static str {
        match self {
            CoreKind::FieldByteOffset => "byte_off",
            CoreKind::FieldByteSize => "byte_sz",
            CoreKind::FieldExists => "field_exists",
            CoreKind::FieldSigned => "signed",
            CoreKind::FieldLshiftU64 => "lshift_u64",
            CoreKind::FieldRshiftU64 => "rshift_u64",
            CoreKind::TypeIdLocal => "local_type_id",
            CoreKind::TypeIdTarget => "target_type_id",
            CoreKind::TypeExists => "type_exists",
            CoreKind::TypeSize => "type_size",
            CoreKind::EnumvalExists => "enumval_exists",
            CoreKind::EnumvalValue => "enumval_value",
            CoreKind::TypeMatches => "type_matches",
        }
    }

    /// Whether the path of this kind leads to a field.
    pub fn is_field(self) -> bool {
        (self as u32) < 6
    }

    /// Whether the path of this kind is one enumerator.
    pub fn is_enumerator(self) -> bool {
        matches!(self, CoreKind::EnumvalExists | CoreKind::EnumvalValue)
    }
}

/// Index of a relocation in the [`CoreTable`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CoreId(pub u32);

/// One step from a type into its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Step {
    /// Member of a struct or union, or value of an enum, by its index.
    Member(u32),
    /// Element of an array.
    Index(u32),
}

/// One relocation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CoreRelocation {
    /// What is asked.
    pub kind: CoreKind,
    /// The type the path starts from; see the invariants above.
    pub root: CTypeId,
    /// The path; empty for questions about the type itself.
    pub path: Vec<Step>,
}

/// A relocation in the words of the source, for the manifest and for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoreDescription {
    /// C spelling of the root: `struct task_struct`.
    pub root: String,
    /// Names (members, enumerators) and element numbers along the path;
    /// anonymous members are left out.
    pub path: Vec<StepName>,
}

/// A step by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StepName {
    /// Member or enumerator.
    Name(Rc<str>),
    /// Array element.
    Index(u32),
}

/// Why a relocation is impossible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CoreError {
    /// The root has no name by which the target could be searched.
    Anonymous,
    /// The root is not a type of the kernel.
    NotKernel,
    /// The path does not fit the types.
    BadPath,
    /// A bit-field that no aligned load of up to 8 bytes covers.
    WideBitField,
}

/// All distinct relocations of a compilation, in order of first use.
#[derive(Default)]
pub struct CoreTable {
    entries: Vec<CoreRelocation>,
    index: HashMap<CoreRelocation, CoreId>,
}

/// Where a path ends.
pub(super) struct Target {
    pub(super) ty: CTypeId,
    bit_offset: u64,
    bit_width: Option<u8>,
}

impl CoreTable {
    /// An empty table.
    pub fn new() -> Self {
        CoreTable::default()
    }

    /// The index of a relocation, entered if new.
    pub fn intern(
        &mut self,
        types: &TypeStore,
        kind: CoreKind,
        root: CTypeId,
        path: &[Step],
    ) -> Result<CoreId, CoreError> {
        let relocation = CoreRelocation { kind, root: named_root(types, root)?, path: path.to_vec() };
        if let Some(&id) = self.index.get(&relocation) {
            return Ok(id);
        }
        evaluate(types, &relocation)?;
        let id = CoreId(self.entries.len() as u32);
        self.index.insert(relocation.clone(), id);
        self.entries.push(relocation);
        Ok(id)
    }

    /// A relocation; ids come from `intern` of this table.
    pub fn get(&self, id: CoreId) -> &CoreRelocation {
        &self.entries[id.0 as usize]
    }

    /// All relocations in order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = (CoreId, &CoreRelocation)> {
        let ids = (0..).map(CoreId);
        ids.zip(&self.entries)
    }

    /// Number of relocations.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The value by the BTF compiled against. That of `TypeIdLocal` is known
    /// only once the object's BTF is written; it is 0 here.
    pub fn local_value(&self, types: &TypeStore, id: CoreId) -> u64 {
        // `intern` has evaluated it once, and the store never changes a kernel type.
        evaluate(types, self.get(id)).unwrap_or(0)
    }

    /// The relocation by names.
    pub fn describe(&self, types: &TypeStore, id: CoreId) -> CoreDescription {
        let relocation = self.get(id);
        let mut path = Vec::new();
        let mut ty = relocation.root;
        for &step in &relocation.path {
            match (step, &types.resolved(ty).kind) {
                (Step::Member(i), CKind::Composite(c)) => {
                    let Some(member) = c.members.get(i as usize) else {
                        break;
                    };
                    path.extend(member.name.clone().map(StepName::Name));
                    ty = member.ty;
                }
                (Step::Member(i), CKind::Enum(e)) => {
                    let value = e.values.get(i as usize);
                    path.extend(value.map(|(name, _)| StepName::Name(name.clone())));
                }
                (Step::Index(i), CKind::Array { elem, .. }) => {
                    path.push(StepName::Index(i));
                    ty = *elem;
                }
                _ => break,
            }
        }
        CoreDescription { root: types.name_of(relocation.root), path }
    }

    /// One line for `--emit` and `inspect`:
    /// `byte_off struct task_struct.real_parent = 2488`.
    pub fn display(&self, types: &TypeStore, id: CoreId) -> String {
        let description = self.describe(types, id);
        let kind = self.get(id).kind;
        let mut text = format!("{} {}", kind.name(), description.root);
        for step in &description.path {
            // Writing to a String cannot fail.
            let _ = match step {
                StepName::Name(name) if kind.is_enumerator() => write!(text, "::{name}"),
                StepName::Name(name) => write!(text, ".{name}"),
                StepName::Index(i) => write!(text, "[{i}]"),
            };
        }
        let _ = write!(text, " = {}", self.local_value(types, id) as i64);
        text
    }
}

/// Whether accesses below this type can be relocated: it is a struct, union or
/// enum of the kernel that has a name, its own or a typedef's.
pub fn is_relocatable(types: &TypeStore, root: CTypeId) -> bool {
    named_root(types, root).is_ok()
}

fn named_root(types: &TypeStore, root: CTypeId) -> Result<CTypeId, CoreError> {
    let target = types.resolve(root);
    let ty = types.get(target);
    if !matches!(ty.kind, CKind::Composite(_) | CKind::Enum(_)) || !types.is_kernel(target) {
        return Err(CoreError::NotKernel);
    }
    if has_name(&ty) {
        return Ok(target);
    }
    // The last typedef before the anonymous type, which is the kernel's own.
    let mut id = root;
    loop {
        match types.get(id).kind {
            CKind::Typedef { target: next, .. } if next == target => return Ok(id),
            CKind::Typedef { target: next, .. } => id = next,
            _ => return Err(CoreError::Anonymous),
        }
    }
}

fn has_name(ty: &CType) -> bool {
    match &ty.kind {
        CKind::Composite(c) => c.name.is_some(),
        CKind::Enum(e) => e.name.is_some(),
        _ => false,
    }
}

/// Follows a path to a field.
pub(super) fn walk(types: &TypeStore, relocation: &CoreRelocation) -> Result<Target, CoreError> {
    let mut at = Target { ty: relocation.root, bit_offset: 0, bit_width: None };
    for &step in &relocation.path {
        let ty = types.resolved(at.ty);
        match (step, &ty.kind) {
            (Step::Member(i), CKind::Composite(c)) => {
                let member = c.members.get(i as usize).ok_or(CoreError::BadPath)?;
                at.bit_offset += u64::from(member.bit_offset);
                at.bit_width = member.bit_width;
                at.ty = member.ty;
            }
            (Step::Index(i), CKind::Array { elem, len }) => {
                if i >= *len && *len != 0 {
                    return Err(CoreError::BadPath);
                }
                let size = types.size_of(*elem).ok_or(CoreError::BadPath)?;
                at.bit_offset += 8 * size * u64::from(i);
                at.ty = *elem;
            }
            _ => return Err(CoreError::BadPath),
        }
    }
    Ok(at)
}

/// Offset and size of the word to load for a field, and the field's width in bits.
fn load_word(types: &TypeStore, target: &Target) -> Result<(u64, u64, u64), CoreError> {
    let mut size = types.size_of(target.ty).ok_or(CoreError::BadPath)?;
    let Some(width) = target.bit_width.map(u64::from) else {
        return Ok((target.bit_offset / 8, size, size * 8));
    };
    // The smallest aligned word that has the whole bit-field.
    size = size.max(1);
    let mut offset = target.bit_offset / 8 / size * size;
    while target.bit_offset + width - offset * 8 > size * 8 {
        if size >= 8 {
            return Err(CoreError::WideBitField);
        }
        size *= 2;
        offset = target.bit_offset / 8 / size * size;
    }
    Ok((offset, size, width))
}

fn evaluate(types: &TypeStore, relocation: &CoreRelocation) -> Result<u64, CoreError> {
    let kind = relocation.kind;
    if kind.is_field() {
        return evaluate_field(types, relocation);
    }
    match kind {
        CoreKind::TypeSize => types.size_of(relocation.root).ok_or(CoreError::BadPath),
        CoreKind::TypeExists | CoreKind::TypeMatches => Ok(1),
        CoreKind::EnumvalExists | CoreKind::EnumvalValue => {
            let ty = types.resolved(relocation.root);
            let (CKind::Enum(e), [Step::Member(i)]) = (&ty.kind, &*relocation.path) else {
                return Err(CoreError::BadPath);
            };
            let value = e.values.get(*i as usize).ok_or(CoreError::BadPath)?.1;
            Ok(if kind == CoreKind::EnumvalExists { 1 } else { value as u64 })
        }
        _ => Ok(0),
    }
}

fn evaluate_field(types: &TypeStore, relocation: &CoreRelocation) -> Result<u64, CoreError> {
    if relocation.path.is_empty() {
        return Err(CoreError::BadPath);
    }
    let target = walk(types, relocation)?;
    if relocation.kind == CoreKind::FieldExists {
        return Ok(1);
    }
    if relocation.kind == CoreKind::FieldSigned {
        let signed = match &types.resolved(target.ty).kind {
            CKind::Int(int) => int.signed,
            CKind::Enum(e) => e.signed,
            _ => false,
        };
        return Ok(u64::from(signed));
    }
    let (offset, size, width) = load_word(types, &target)?;
    Ok(match relocation.kind {
        CoreKind::FieldByteOffset => offset,
        CoreKind::FieldByteSize => size,
        // Little endian: the field's top bit to bit 63.
        CoreKind::FieldLshiftU64 => 64u64.saturating_sub(target.bit_offset + width - offset * 8),
        _ => 64u64.saturating_sub(width),
    })
}
