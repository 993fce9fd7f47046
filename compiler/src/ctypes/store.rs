//! The store: ids to types, lazily decoded where they are the kernel's.
//!
//! In: types added by the C front end and by sema; BTF sources.
//! Out: `Rc<CType>` by id.
//! Invariants: an id below `KERNEL` indexes the script's types; above, it holds
//! the number of a BTF blob and a type id in it. Ids of modifiers (`const`, type
//! tags) are never given out, and BTF integers are given out as the built-in
//! integer they spell, so one C type has one id as far as that is decidable.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use super::{CEnum, CInt, CKind, CType, CTypeId, Composite, Member, Origin, Signature, TypeStore, builtin};
use crate::btf::raw::enumerator_words;
use crate::btf::source::Found;
use crate::btf::{Btf, BtfSources, Kind, Record};

/// Set in ids of kernel types.
const KERNEL: u32 = 1 << 31;
/// Bits of a kernel id that number the type within its blob.
const LOCAL_BITS: u32 = 22;
/// Longest chain of modifiers or typedefs followed; C allows 12 levels of
/// declarators, more can only be a cycle in damaged BTF.
pub(super) const MAX_CHAIN: usize = 64;

/// Key under which script types are stored once.
#[derive(PartialEq, Eq, Hash)]
pub(super) enum Derived {
    Pointer(CTypeId),
    Array(CTypeId, u32),
    Int(Rc<str>, u32, bool),
}

/// State behind the store's interior mutability.
pub(super) struct Inner {
    pub(super) script: RefCell<Vec<Rc<CType>>>,
    pub(super) derived: RefCell<HashMap<Derived, CTypeId>>,
    /// Built-in typedefs that were used.
    pub(super) typedefs: RefCell<HashMap<&'static str, CTypeId>>,
    pub(super) sources: BtfSources,
    /// Kernel types by name and set of kinds, as far as they were asked for.
    pub(super) found: RefCell<HashMap<(String, u32), Option<CTypeId>>>,
    /// Alignments computed so far.
    pub(super) aligns: RefCell<HashMap<CTypeId, u32>>,
    /// Blobs in the order in which they were first used.
    blobs: RefCell<Vec<Found>>,
    decoded: RefCell<HashMap<CTypeId, Rc<CType>>>,
    /// Number of kernel types decoded, for `--time` and the tests of laziness.
    pub(super) decodes: Cell<usize>,
}

impl Inner {
    pub(super) fn new(sources: BtfSources) -> Self {
        let void = CType { kind: CKind::Void, origin: Origin::Script };
        Inner {
            script: RefCell::new(vec![Rc::new(void)]),
            derived: RefCell::default(),
            typedefs: RefCell::default(),
            sources,
            found: RefCell::default(),
            aligns: RefCell::default(),
            blobs: RefCell::default(),
            decoded: RefCell::default(),
            decodes: Cell::new(0),
        }
    }

    /// The number of a blob, which stays the same from its first use on.
    fn blob_number(&self, found: &Found) -> u32 {
        let mut blobs = self.blobs.borrow_mut();
        let known = blobs.iter().position(|b| Rc::ptr_eq(&b.btf, &found.btf));
        known.unwrap_or_else(|| {
            blobs.push(found.clone());
            blobs.len() - 1
        }) as u32
    }

    pub(super) fn blob_of(&self, id: CTypeId) -> Option<(Found, u32)> {
        if id.0 & KERNEL == 0 {
            return None;
        }
        let number = (id.0 & !KERNEL) >> LOCAL_BITS;
        let found = self.blobs.borrow().get(number as usize)?.clone();
        let local = id.0 & ((1 << LOCAL_BITS) - 1);
        let btf_id = found.btf.first_id() + local;
        Some((found, btf_id))
    }
}

impl TypeStore {
    /// The type behind an id; ids that were never given out are `void`.
    pub fn get(&self, id: CTypeId) -> Rc<CType> {
        if id.0 & KERNEL == 0 {
            let script = self.inner.script.borrow();
            return script.get(id.0 as usize).unwrap_or(&script[0]).clone();
        }
        if let Some(known) = self.inner.decoded.borrow().get(&id) {
            return known.clone();
        }
        let kind = match self.inner.blob_of(id) {
            Some((found, btf_id)) => self.decode(&found, btf_id),
            None => CKind::Void,
        };
        let decoded = Rc::new(CType { kind, origin: Origin::Kernel });
        self.inner.decodes.set(self.inner.decodes.get() + 1);
        self.inner.decoded.borrow_mut().insert(id, decoded.clone());
        decoded
    }

    /// Adds a type of the script. Pointers, arrays and integers are stored once.
    pub fn add(&self, ty: CType) -> CTypeId {
        let key = match &ty.kind {
            CKind::Void => return CTypeId::VOID,
            CKind::Pointer(to) => Derived::Pointer(*to),
            CKind::Array { elem, len } => Derived::Array(*elem, *len),
            CKind::Int(int) => Derived::Int(int.name.clone(), int.size, int.signed),
            _ => return self.push(ty),
        };
        if let Some(&id) = self.inner.derived.borrow().get(&key) {
            return id;
        }
        let id = self.push(ty);
        self.inner.derived.borrow_mut().insert(key, id);
        id
    }

    pub(super) fn push(&self, ty: CType) -> CTypeId {
        let mut script = self.inner.script.borrow_mut();
        script.push(Rc::new(ty));
        CTypeId(script.len() as u32 - 1)
    }

    pub(super) fn add_script(&self, kind: CKind) -> CTypeId {
        self.add(CType { kind, origin: Origin::Script })
    }

    /// `T *`.
    pub fn pointer_to(&self, target: CTypeId) -> CTypeId {
        self.add_script(CKind::Pointer(target))
    }

    /// `T [len]`.
    pub fn array_of(&self, elem: CTypeId, len: u32) -> CTypeId {
        self.add_script(CKind::Array { elem, len })
    }

    /// The plain integer type of 1, 2, 4, 8 or 16 bytes; other sizes count as 8.
    pub fn int(&self, size: u32, signed: bool) -> CTypeId {
        let int = builtin::sized(size, signed).or_else(|| builtin::sized(8, signed));
        int.map_or(CTypeId::VOID, |int| self.add_script(CKind::Int(int)))
    }

    /// The integer that a combination of C's type words spells, such as
    /// `long unsigned int`.
    pub fn integer(&self, spelling: &str) -> Option<CTypeId> {
        builtin::integer(spelling).map(|int| self.add_script(CKind::Int(int)))
    }

    /// A type of BTF that is no source: an imported object's.
    pub fn blob_type(&self, found: &Found, btf_id: u32) -> CTypeId {
        self.kernel_id(found, btf_id)
    }

    /// Does an id number a type of this blob?
    pub fn is_of(&self, id: CTypeId, found: &Found) -> bool {
        self.inner.blob_of(id).is_some_and(|(f, _)| Rc::ptr_eq(&f.btf, &found.btf))
    }

    /// A function type.
    pub fn add_function(&self, signature: Signature) -> CTypeId {
        self.add_script(CKind::Function(signature))
    }

    /// A floating-point type.
    pub fn add_float(&self, name: Rc<str>, size: u32) -> CTypeId {
        self.add_script(CKind::Float { name, size })
    }

    /// A struct or union that its name does not lead to.
    pub fn add_forward(&self, name: &str, union: bool) -> CTypeId {
        self.add_script(CKind::Forward { name: name.into(), union })
    }

    /// Id of a type in a blob, past all modifiers.
    pub(super) fn kernel_id(&self, found: &Found, btf_id: u32) -> CTypeId {
        let mut id = btf_id;
        let mut record = found.btf.record(id);
        for _ in 0..MAX_CHAIN {
            if !record.kind.is_modifier() {
                break;
            }
            id = record.size_or_type;
            record = found.btf.record(id);
        }
        match record.kind {
            Kind::Int => self.add_script(CKind::Int(decode_int(&found.btf, &record))),
            kind if kind == Kind::Void || kind.is_modifier() => CTypeId::VOID,
            _ => self.number(found, id),
        }
    }

    /// The id for a record that is neither a modifier nor an integer.
    fn number(&self, found: &Found, btf_id: u32) -> CTypeId {
        let first = found.btf.first_id();
        if btf_id < first
            && let Some(base) = found.btf.base()
        {
            let base = Found { module: None, btf: base.clone() };
            return self.number(&base, btf_id);
        }
        let local = btf_id - first;
        let blob = self.inner.blob_number(found);
        if local >> LOCAL_BITS != 0 || blob >= (KERNEL >> LOCAL_BITS) {
            return CTypeId::VOID; // over 4 million types or 512 blobs
        }
        CTypeId(KERNEL | blob << LOCAL_BITS | local)
    }

    fn decode(&self, found: &Found, btf_id: u32) -> CKind {
        let btf = &found.btf;
        let record = btf.record(btf_id);
        let name = || -> Rc<str> { btf.string(record.name).into() };
        let reference = |id: u32| self.kernel_id(found, id);
        match record.kind {
            Kind::Ptr => CKind::Pointer(reference(record.size_or_type)),
            Kind::Array => CKind::Array { elem: reference(record.word(0)), len: record.word(2) },
            Kind::Struct | Kind::Union => self.decode_composite(found, &record),
            Kind::Enum | Kind::Enum64 => CKind::Enum(decode_enum(btf, &record)),
            Kind::Fwd => CKind::Forward { name: name(), union: record.kflag },
            Kind::Typedef => CKind::Typedef { name: name(), target: reference(record.size_or_type) },
            Kind::Func => self.decode(found, record.size_or_type),
            Kind::FuncProto => CKind::Function(self.decode_signature(found, &record)),
            Kind::Float => CKind::Float { name: name(), size: record.size_or_type },
            _ => CKind::Void,
        }
    }

    fn decode_composite(&self, found: &Found, record: &Record<'_>) -> CKind {
        let members = (0..record.vlen).map(|i| {
            let ty = record.word(3 * i + 1);
            let offset = record.word(3 * i + 2);
            let (bit_offset, bit_width) = if record.kflag {
                (offset & 0xff_ffff, (offset >> 24) as u8)
            } else {
                old_bit_field(&found.btf, ty, offset)
            };
            Member {
                name: optional(found.btf.string(record.word(3 * i))),
                ty: self.kernel_id(found, ty),
                bit_offset,
                bit_width: (bit_width != 0).then_some(bit_width),
            }
        });
        CKind::Composite(Composite {
            name: optional(found.btf.string(record.name)),
            union: record.kind == Kind::Union,
            size: record.size_or_type,
            members: members.collect(),
        })
    }

    fn decode_signature(&self, found: &Found, record: &Record<'_>) -> Signature {
        let mut params: Vec<_> = (0..record.vlen)
            .map(|i| {
                let name = optional(found.btf.string(record.word(2 * i)));
                (name, record.word(2 * i + 1))
            })
            .collect();
        // `...` is a last parameter without name and type.
        let variadic = params.last() == Some(&(None, 0));
        if variadic {
            params.pop();
        }
        Signature {
            ret: self.kernel_id(found, record.size_or_type),
            params: params.into_iter().map(|(name, ty)| (name, self.kernel_id(found, ty))).collect(),
            variadic,
        }
    }
}

fn optional(name: &str) -> Option<Rc<str>> {
    (!name.is_empty()).then(|| name.into())
}

/// Bit-fields of structs without the kind flag (before Linux 5.0's pahole 1.13):
/// the width is in the integer type.
fn old_bit_field(btf: &Btf, ty: u32, offset: u32) -> (u32, u8) {
    let record = btf.record(ty);
    if record.kind != Kind::Int {
        return (offset, 0);
    }
    let encoding = record.word(0);
    let (bits, shift) = (encoding & 0xff, encoding >> 16 & 0xff);
    if bits == record.size_or_type.saturating_mul(8) { (offset, 0) } else { (offset + shift, bits as u8) }
}

/// Integers of BTF under their C spelling; unusual ones keep their own.
fn decode_int(btf: &Btf, record: &Record<'_>) -> CInt {
    const SIGNED: u32 = 1 << 24;
    const BOOL: u32 = 4 << 24;
    let name = btf.string(record.name);
    let encoding = record.word(0);
    let (size, signed) = (record.size_or_type, encoding & SIGNED != 0);
    match builtin::integer(name) {
        Some(int) if int.size == size && int.signed == signed => int,
        _ => CInt {
            name: name.into(),
            size,
            signed,
            is_char: size == 1 && name.ends_with("char"),
            is_bool: encoding & BOOL != 0,
        },
    }
}

fn decode_enum(btf: &Btf, record: &Record<'_>) -> CEnum {
    let words = enumerator_words(record.kind).unwrap_or(2);
    let values = (0..record.vlen)
        .map(|i| {
            let low = record.word(words * i + 1);
            let value = match words {
                3 => (u64::from(record.word(words * i + 2)) << 32 | u64::from(low)) as i64,
                // Old pahole sets no sign flag; 32 bits are then the most
                // useful reading of "negative" values, as bpftool shows them.
                _ if record.kflag => i64::from(low as i32),
                _ => i64::from(low),
            };
            (Rc::from(btf.string(record.word(words * i))), value)
        })
        .collect();
    CEnum { name: optional(btf.string(record.name)), size: record.size_or_type, signed: record.kflag, values }
}
