//! The object's own, minimal copies of the kernel types it accesses.
//!
//! In: the CO-RE table. Out: type ids and access strings of its relocations.
//! Invariants: a struct keeps the members that some path goes through, with
//! their offsets and its size; members are renumbered by that, which is harmless
//! because loaders match them by name. A kept member that no path enters is an
//! empty struct of the right size, a pointer points to `void`. Loaders compare
//! only kinds there (`bpf_core_fields_are_compat`, Linux 6.12).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::core::{CoreRelocation, CoreTable, Step};
use super::write::{MemberRecord, Writer};
use crate::ctypes::{CEnum, CKind, CTypeId, Composite, Signature, TypeStore};

/// Types nest no deeper than this unless BTF is damaged.
const MAX_DEPTH: usize = 64;

/// Which parts of kernel types are needed, and the ids of those written.
pub(super) struct LocalTypes<'a> {
    types: &'a TypeStore,
    /// Members of structs and unions, or values of enums, that paths go through.
    kept: BTreeMap<CTypeId, BTreeSet<u32>>,
    ids: HashMap<CTypeId, u32>,
}

impl<'a> LocalTypes<'a> {
    pub(super) fn new(types: &'a TypeStore, core: &CoreTable) -> Self {
        let mut local = LocalTypes { types, kept: BTreeMap::new(), ids: HashMap::new() };
        for (_, relocation) in core.iter() {
            local.keep(relocation);
        }
        local
    }

    fn keep(&mut self, relocation: &CoreRelocation) {
        let mut at = self.types.resolve(relocation.root);
        for &step in &relocation.path {
            let next = match (step, &self.types.get(at).kind) {
                (Step::Member(i), CKind::Composite(c)) => c.members.get(i as usize).map(|m| m.ty),
                (Step::Index(_), CKind::Array { elem, .. }) => Some(*elem),
                _ => None,
            };
            if let Step::Member(i) = step {
                self.kept.entry(at).or_default().insert(i);
            }
            let Some(next) = next else { break };
            at = self.types.resolve(next);
        }
    }

    /// How a loader finds the field or enumerator: indices into the written types.
    pub(super) fn access(&self, relocation: &CoreRelocation) -> String {
        if relocation.kind.is_enumerator() {
            let index = match relocation.path.first() {
                Some(&Step::Member(i)) => self.renumber(self.types.resolve(relocation.root), i),
                _ => 0,
            };
            return index.to_string();
        }
        let mut text = String::from("0");
        let mut at = self.types.resolve(relocation.root);
        for &step in &relocation.path {
            let (index, next) = match (step, &self.types.get(at).kind) {
                (Step::Member(i), CKind::Composite(c)) => {
                    let next = c.members.get(i as usize).map(|m| m.ty);
                    (self.renumber(at, i), next)
                }
                (Step::Index(i), CKind::Array { elem, .. }) => (i, Some(*elem)),
                _ => break,
            };
            text.push(':');
            text.push_str(&index.to_string());
            let Some(next) = next else { break };
            at = self.types.resolve(next);
        }
        text
    }

    fn renumber(&self, of: CTypeId, i: u32) -> u32 {
        self.kept.get(&of).map_or(0, |kept| kept.range(..i).count()) as u32
    }

    /// The type of a relocation's root; typedefs in front of it are written too.
    pub(super) fn root(&mut self, writer: &mut Writer, root: CTypeId) -> u32 {
        if let CKind::Typedef { name, target } = &self.types.get(root).kind {
            let target = self.emit(writer, *target, 0);
            return writer.typedef(name, target);
        }
        self.emit(writer, root, 0)
    }

    fn emit(&mut self, writer: &mut Writer, id: CTypeId, depth: usize) -> u32 {
        let id = self.types.resolve(id);
        if let Some(&known) = self.ids.get(&id) {
            return known;
        }
        if depth > MAX_DEPTH {
            return 0;
        }
        let ty = self.types.get(id);
        let written = match &ty.kind {
            CKind::Void | CKind::Typedef { .. } | CKind::Function(_) => 0,
            CKind::Int(int) => writer.int(&int.name, int.size, int.signed, int.is_bool),
            CKind::Float { name, size } => writer.float(name, *size),
            CKind::Pointer(_) => writer.pointer(0),
            CKind::Forward { name, union } => writer.forward(name, *union),
            CKind::Array { elem, len } => {
                let elem = self.emit(writer, *elem, depth + 1);
                writer.array(elem, *len)
            }
            CKind::Composite(composite) => self.emit_composite(writer, id, composite, depth),
            CKind::Enum(e) => self.emit_enum(writer, id, e),
        };
        self.ids.insert(id, written);
        written
    }

    fn emit_composite(&mut self, writer: &mut Writer, id: CTypeId, composite: &Composite, depth: usize) -> u32 {
        let kept = self.kept.get(&id).cloned().unwrap_or_default();
        let mut members = Vec::with_capacity(kept.len());
        for i in kept {
            let Some(member) = composite.members.get(i as usize) else {
                continue;
            };
            members.push(MemberRecord {
                name: member.name.as_deref().unwrap_or(""),
                ty: self.emit(writer, member.ty, depth + 1),
                bit_offset: member.bit_offset,
                bit_width: u32::from(member.bit_width.unwrap_or(0)),
            });
        }
        let name = composite.name.as_deref().unwrap_or("");
        writer.composite(name, composite.union, composite.size, &members)
    }

    fn emit_enum(&self, writer: &mut Writer, id: CTypeId, e: &CEnum) -> u32 {
        let kept = self.kept.get(&id);
        let values: Vec<_> = kept
            .into_iter()
            .flatten()
            .filter_map(|&i| e.values.get(i as usize))
            .map(|(name, value)| (&**name, *value))
            .collect();
        let name = e.name.as_deref().unwrap_or("");
        writer.enumeration(name, e.size, e.signed, &values)
    }

    /// The prototype of a kfunc. Loaders compare it with the kernel's through
    /// pointers, so those point to a struct of the same kind here.
    pub(super) fn prototype(&mut self, writer: &mut Writer, signature: &Signature) -> u32 {
        let ret = self.argument(writer, signature.ret);
        let params: Vec<_> = signature
            .params
            .iter()
            .enumerate()
            .map(|(i, (name, ty))| {
                let name = name.as_deref().map_or(format!("a{i}"), str::to_owned);
                (name, self.argument(writer, *ty))
            })
            .collect();
        let params: Vec<_> = params.iter().map(|(n, ty)| (n.as_str(), *ty)).collect();
        writer.prototype(ret, &params)
    }

    fn argument(&mut self, writer: &mut Writer, id: CTypeId) -> u32 {
        match self.types.resolved(id).kind {
            CKind::Pointer(to) => {
                let to = match self.types.resolved(to).kind {
                    CKind::Pointer(_) => writer.pointer(0),
                    _ => self.emit(writer, to, 0),
                };
                writer.pointer(to)
            }
            _ => self.emit(writer, id, 0),
        }
    }
}
