//! How the script's types lie in memory: HIR types to the payload's.
//!
//! In: a [`Type`] (or a C type). Out: the [`ValueType`] by which programs store
//! and the runtime reads; tables of enumerations. Invariant: a struct copied
//! from the kernel has the layout of the BTF compiled against, whatever the
//! target's is: copies are made member by member.

use btc_payload::layout::{EnumId, HIST_MAX_BITS, MAX_BUCKETS, StructField, StructType, ValueType};
use btc_payload::manifest::EnumTable;
use btc_payload::start::Buckets;
use std::collections::BTreeMap;

use crate::ctypes::{CEnum, CKind, CTypeId, Composite, Origin, TypeStore};
use crate::hir::types::{Aggregate, Type};

/// Nesting of C types that is followed; damaged BTF can be cyclic.
const MAX_DEPTH: u32 = 24;

/// The tables of enumerations used so far.
#[derive(Default)]
pub(super) struct Enums {
    tables: Vec<EnumTable>,
    ids: BTreeMap<CTypeId, EnumId>,
}

impl Enums {
    fn table(&mut self, types: &TypeStore, ctype: CTypeId) -> EnumId {
        let ctype = types.resolve(ctype);
        if let Some(&id) = self.ids.get(&ctype) {
            return id;
        }
        let c = types.get(ctype);
        let table = match &c.kind {
            CKind::Enum(e) => enum_table(e, c.origin),
            _ => EnumTable { kernel: None, values: Vec::new() },
        };
        let id = EnumId(self.tables.len() as u32);
        self.tables.push(table);
        self.ids.insert(ctype, id);
        id
    }

    /// The tables by their ids.
    pub(super) fn finish(self) -> Vec<EnumTable> {
        self.tables
    }
}

fn enum_table(e: &CEnum, origin: Origin) -> EnumTable {
    let mut values: Vec<_> = e.values.iter().map(|(name, value)| (*value, name.to_string())).collect();
    // Stable: of two names for one value the first written stays first.
    values.sort_by_key(|(value, _)| *value);
    let kernel = e.name.as_ref().filter(|_| origin == Origin::Kernel).map(|n| n.to_string());
    EnumTable { kernel, values }
}

/// Lays types out.
pub(super) struct Layouts<'t> {
    types: &'t TypeStore,
    enums: Enums,
}

impl<'t> Layouts<'t> {
    /// Over these C types.
    pub(super) fn new(types: &'t TypeStore) -> Self {
        Layouts { types, enums: Enums::default() }
    }

    /// The tables of enumerations that the layouts refer to.
    pub(super) fn finish(self) -> Vec<EnumTable> {
        self.enums.finish()
    }

    /// The layout of a script's type.
    pub(super) fn of(&mut self, ty: &Type) -> ValueType {
        match ty {
            Type::Void => ValueType::Unit,
            Type::Bool => ValueType::Bool,
            Type::Int { size, signed } => ValueType::Int { size: *size, signed: *signed },
            Type::Enum { ctype, size, signed } => {
                ValueType::Enum { table: self.enums.table(self.types, *ctype), size: *size, signed: *signed }
            }
            Type::Pointer { .. } => ValueType::Pointer,
            Type::Str { size } => ValueType::Str { size: *size },
            Type::Buf { size } => ValueType::Buf { size: *size },
            Type::Array { elem, len } => ValueType::Array { elem: Box::new(self.of(elem)), len: *len },
            Type::CharArray { len } => ValueType::CharArray { len: *len },
            Type::Struct { ctype } => self.of_c(*ctype, 0),
            Type::Tuple(elems) if elems.is_empty() => ValueType::Unit,
            Type::Tuple(elems) => ValueType::Tuple(elems.iter().map(|t| self.of(t)).collect()),
            Type::Record(elems) => ValueType::Record(elems.iter().map(|(n, t)| (n.clone(), self.of(t))).collect()),
            Type::Stack { user, mode, frames } => ValueType::Stack { user: *user, mode: *mode, frames: *frames },
            Type::KernelSymbol => ValueType::KernelSymbol,
            Type::UserSymbol => ValueType::UserSymbol,
            Type::Mac => ValueType::Mac,
            Type::Inet => ValueType::Inet,
            Type::Timestamp { format } => ValueType::Timestamp { format: format.clone() },
            Type::CgroupPath { controller } => ValueType::CgroupPath { controller: controller.clone() },
            Type::ErrnoText => ValueType::ErrnoText,
            Type::SignalName => ValueType::SignalName,
            Type::SyscallName => ValueType::SyscallName,
            Type::Username => ValueType::Username,
            Type::ProbeName => ValueType::ProbeName,
            Type::FunctionName => ValueType::FunctionName,
            Type::Parameter { index } => ValueType::Parameter { index: *index },
            Type::Aggregate(a) => of_aggregate(a),
        }
    }

    fn of_c(&mut self, id: CTypeId, depth: u32) -> ValueType {
        let ty = self.types.resolved(id);
        if depth > MAX_DEPTH {
            return ValueType::Unit;
        }
        match &ty.kind {
            CKind::Int(int) if int.is_bool => ValueType::Bool,
            CKind::Int(int) if int.size <= 8 => ValueType::Int { size: int.size as u8, signed: int.signed },
            CKind::Int(int) => bytes(int.size),
            CKind::Float { size, .. } => ValueType::Opaque { size: *size },
            CKind::Pointer(_) => ValueType::Pointer,
            CKind::Array { elem, len } => match &self.types.resolved(*elem).kind {
                CKind::Int(int) if int.is_char && int.signed => ValueType::CharArray { len: *len },
                _ => ValueType::Array { elem: Box::new(self.of_c(*elem, depth + 1)), len: *len },
            },
            CKind::Enum(e) => {
                ValueType::Enum { table: self.enums.table(self.types, id), size: e.size as u8, signed: e.signed }
            }
            CKind::Composite(c) => self.of_composite(id, c, depth),
            CKind::Void | CKind::Typedef { .. } | CKind::Forward { .. } | CKind::Function(_) => ValueType::Unit,
        }
    }

    fn of_composite(&mut self, id: CTypeId, c: &Composite, depth: u32) -> ValueType {
        let mut fields = Vec::new();
        for m in &c.members {
            let ty = self.of_c(m.ty, depth + 1);
            // The members of an unnamed member are the struct's own.
            if let (None, ValueType::Struct(inner)) = (&m.name, &ty) {
                let at = m.bit_offset / 8;
                fields.extend(inner.fields.iter().map(|f| StructField { offset: at + f.offset, ..f.clone() }));
                continue;
            }
            let (offset, bits) = match m.bit_width {
                None => (m.bit_offset / 8, None),
                Some(width) => {
                    let (offset, low) = storage_unit(m.bit_offset, ty.size().max(1));
                    (offset, Some((low, width)))
                }
            };
            fields.push(StructField { name: m.name.as_deref().unwrap_or("").to_owned(), offset, ty, bits });
        }
        ValueType::Struct(Box::new(StructType { size: c.size, align: self.types.align_of(id), fields }))
    }
}

/// Byte offset of the storage unit of a bit-field, and its lowest bit in there.
pub(super) fn storage_unit(bit_offset: u32, size: u32) -> (u32, u8) {
    let unit = size * 8;
    let offset = bit_offset / unit * size;
    (offset, (bit_offset - offset * 8) as u8)
}

fn bytes(len: u32) -> ValueType {
    ValueType::Array { elem: Box::new(ValueType::Int { size: 1, signed: false }), len }
}

fn of_aggregate(a: &Aggregate) -> ValueType {
    match a {
        Aggregate::Count => ValueType::Count,
        Aggregate::Sum { signed } => ValueType::Sum { signed: *signed },
        Aggregate::Avg { signed } => ValueType::Avg { signed: *signed },
        Aggregate::Min { signed } => ValueType::Min { signed: *signed },
        Aggregate::Max { signed } => ValueType::Max { signed: *signed },
        Aggregate::Stats { signed } => ValueType::Stats { signed: *signed },
        Aggregate::Hist { bits } => ValueType::Hist { bits: *bits },
        Aggregate::Lhist { min, max, step } => ValueType::Lhist { min: *min, max: *max, step: *step },
        // As large as can be.
        Aggregate::Bucketed(of) => match **of {
            Buckets::Hist(_) => ValueType::Hist { bits: HIST_MAX_BITS },
            Buckets::Lhist(_) => ValueType::Lhist { min: 0, max: MAX_BUCKETS.into(), step: 1 },
        },
        Aggregate::Tseries { interval_ns, buckets, agg, signed } => {
            ValueType::Tseries { interval_ns: *interval_ns, buckets: *buckets, agg: *agg, signed: *signed }
        }
    }
}

/// Has the layout bytes that no field covers?
pub(super) fn has_padding(ty: &ValueType) -> bool {
    fn gaps<'a>(elems: impl Iterator<Item = &'a ValueType>, size: u32) -> bool {
        let mut sum = 0;
        for t in elems {
            sum += t.size();
            if has_padding(t) {
                return true;
            }
        }
        sum != size
    }
    match ty {
        ValueType::Tuple(elems) => gaps(elems.iter(), ty.size()),
        ValueType::Record(elems) => gaps(elems.iter().map(|(_, t)| t), ty.size()),
        ValueType::Array { elem, .. } => has_padding(elem),
        // Buffers and structs are filled over zeros in any case; the rest has none.
        _ => false,
    }
}
