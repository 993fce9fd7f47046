//! Maps of the script: look up, store, delete.
//!
//! Invariants: keys and values are stored with every byte defined, because the
//! kernel hashes and compares bytes; what is there is updated in place, what is
//! missing is inserted; an insertion that fails is counted as a loss. Keys that
//! old kernels refuse for their length are stored by their hashes.

use btc_payload::layout::ValueType;
use btc_payload::manifest::{KEY_HASH_FACTOR, LossCounter, MapId, MapKind};
use btc_payload::start::{Feature, StartValue};

use super::frame::Own;
use super::function::Fun;
use super::memory::{Fill, width};
use super::{R, Role, Subprogram, internal, unsupported};
use crate::clif::{Atomic, Cmp, FuncId, Mem, Value, Width};
use crate::helper::Helper;
use crate::hir::tree::{BinaryOp, Expr, ExprKind, LocalId};
use crate::hir::types::Type;
use crate::span::Span;

/// Insert if missing, replace if present (`BPF_ANY`).
const ANY: i64 = 0;
/// Insert only (`BPF_NOEXIST`).
const NO_EXIST: i64 = 1;

/// A key for helpers.
#[derive(Clone, Copy)]
pub(super) struct Key {
    /// Where the kernel's key lies.
    pub(super) address: Value,
    /// For maps stored under hashes: the map of full keys, and where this one lies.
    full: Option<(u32, Value)>,
}

impl Fun<'_, '_, '_> {
    /// Evaluates a key for helpers.
    pub(super) fn map_key(&mut self, map: MapId, key: &Expr) -> R<Key> {
        let full = self.full_key(map, key)?;
        let Some(companion) = self.cx.map(map).keys else { return Ok(Key { address: full, full: None }) };
        let words = self.cx.map(map).key.size().div_ceil(8);
        let function = self.hash_function(words)?;
        let hash = self.b.call_subprog(function, &[full]);
        let cell = self.stack("hash of a key", 8);
        self.b.store(cell.ptr, Width::W64, hash);
        Ok(Key { address: self.b.address(cell.ptr), full: Some((companion, full)) })
    }

    /// Stores the full key of an entry that is about to be inserted.
    fn keep_key(&mut self, key: Key) {
        if let Some((companion, full)) = key.full {
            self.update(MapId(companion), key.address, full, ANY);
        }
    }

    /// The subprogram that hashes keys of so many words, as `key_hash` does.
    fn hash_function(&mut self, words: u32) -> R<FuncId> {
        let wanted = Subprogram::KeyHash(words);
        if let Some(&id) = self.cx.subprograms.get(&wanted) {
            return Ok(id);
        }
        let id = self.b.module().declare(&format!("key_hash_{words}"), 1);
        self.cx.declared(id, self.index, Role::Subprogram);
        self.cx.subprograms.insert(wanted, id);
        let location = self.cx.srcloc(self.span);
        self.b.module().define(id, |b| -> R<()> {
            b.set_srcloc(location);
            let key = b.pointer(Mem::Bpf, b.param(0));
            let (hash, at, zero) = (b.var(), b.var(), b.iconst(0));
            b.set(hash, zero);
            b.set(at, zero);
            let open = b.begin_loop();
            let now = b.get(at);
            let more = b.compare_const(Cmp::Ult, now, i64::from(words * 8));
            b.loop_while(&open, more);
            let place = b.index(key, now);
            let (word, old) = (b.load(place, Width::W64), b.get(hash));
            let (factor, shift, eight) = (b.iconst(KEY_HASH_FACTOR as i64), b.iconst(32), b.iconst(8));
            let mixed = b.xor(old, word);
            let mixed = b.mul(mixed, factor);
            let high = b.ushr(mixed, shift);
            let mixed = b.xor(mixed, high);
            b.set(hash, mixed);
            let next = b.add(now, eight);
            b.set(at, next);
            b.end_loop(open);
            let result = b.get(hash);
            b.ret(result);
            Ok(())
        })?;
        Ok(id)
    }

    /// The bytes of a key, filled up with zeros to a multiple of eight.
    fn full_key(&mut self, map: MapId, key: &Expr) -> R<Value> {
        let info = self.cx.map(map);
        if matches!(info.kind, MapKind::Array | MapKind::PerCpuArray) {
            let value = if key.ty.is_scalar() { self.scalar(key)? } else { self.b.iconst(0) };
            let place = self.stack("map key", 4);
            self.store_number(place, 4, value);
            return Ok(self.b.address(place.ptr));
        }
        if info.key == ValueType::Unit {
            // Scalar maps have the key zero; helpers take it from `.rodata`.
            return Ok(self.zeros());
        }
        if let (ExprKind::Str(bytes), Type::Str { size }) = (&key.kind, &key.ty) {
            let place = self.constant_text(bytes, *size);
            return Ok(self.b.address(place.ptr));
        }
        let size = info.key.size();
        let place = self.temp("map key", size);
        if self.cx.map(map).keys.is_some() && !size.is_multiple_of(8) {
            self.b.store_const(place.at(size & !7).ptr, Width::W64, 0);
        }
        self.into(key, place, Fill::Exact)?;
        Ok(self.b.address(place.ptr))
    }

    /// `bpf_map_lookup_elem`: address or null.
    pub(super) fn lookup(&mut self, map: MapId, key: Key) -> Value {
        let m = self.b.map(map.0);
        self.b.call_helper(Helper::MapLookupElem, &[m, key.address])
    }

    fn update(&mut self, map: MapId, key: Value, value: Value, flags: i64) -> Value {
        let (m, flags) = (self.b.map(map.0), self.b.iconst(flags));
        self.b.call_helper(Helper::MapUpdateElem, &[m, key, value, flags])
    }

    /// The entry's address; a missing entry is inserted with zeros. Null, and a
    /// loss counted, if that fails.
    pub(super) fn lookup_or_insert(&mut self, map: MapId, key: Key) -> Value {
        let entry = self.b.var();
        let found = self.lookup(map, key);
        self.b.set(entry, found);
        let missing = self.b.compare_const(Cmp::Eq, found, 0);
        let open = self.b.begin_if(missing);
        let zeros = self.zeros();
        self.keep_key(key);
        let result = self.update(map, key.address, zeros, NO_EXIST);
        // Another CPU may have been first: look again, whatever the result.
        let found = self.lookup(map, key);
        self.b.set(entry, found);
        let missing = self.b.compare_const(Cmp::Eq, found, 0);
        let lost = self.b.begin_if(missing);
        self.count_loss(LossCounter::MapFull);
        self.check_helper(result, Helper::MapUpdateElem);
        self.b.end_if(lost);
        self.b.end_if(open);
        self.b.get(entry)
    }

    /// `@m[key] = value`.
    pub(super) fn map_assign(&mut self, map: MapId, key: &Expr, value: &Expr) -> R<()> {
        if matches!(self.cx.map(map).value, ref v if v.is_aggregate()) {
            return internal("assignment to an aggregation", self.span);
        }
        if value.ty.is_scalar() {
            return self.map_assign_scalar(map, key, value);
        }
        let size = self.cx.map(map).value.size();
        let place = self.temp("map value", size);
        self.into(value, place, Fill::Exact)?;
        let key = self.map_key(map, key)?;
        let from = self.b.address(place.ptr);
        self.keep_key(key);
        // The kernel replaces the whole element: no reader sees half a value.
        let result = self.update(map, key.address, from, ANY);
        self.count_failed_update(result);
        Ok(())
    }

    fn map_assign_scalar(&mut self, map: MapId, key: &Expr, value: &Expr) -> R<()> {
        let v = self.scalar(value)?;
        let key = self.map_key(map, key)?;
        let found = self.lookup(map, key);
        let present = self.b.nonzero(found);
        let mut open = self.b.begin_if(present);
        let place = self.own(found);
        self.store_scalar(place, &value.ty, v);
        self.b.begin_else(&mut open);
        let cell = self.stack("map value", 8);
        self.store_scalar(cell, &value.ty, v);
        let from = self.b.address(cell.ptr);
        self.keep_key(key);
        let result = self.update(map, key.address, from, ANY);
        self.count_failed_update(result);
        self.b.end_if(open);
        Ok(())
    }

    fn count_failed_update(&mut self, result: Value) {
        let failed = self.b.compare_const(Cmp::Ne, result, 0);
        let open = self.b.begin_if(failed);
        self.count_loss(LossCounter::MapFull);
        self.check_helper(result, Helper::MapUpdateElem);
        self.b.end_if(open);
    }

    /// `@m[key] op= value`.
    pub(super) fn map_update(&mut self, map: MapId, key: &Expr, op: BinaryOp, value: &Expr) -> R<()> {
        let v = self.scalar(value)?;
        self.map_change(map, key, op, v, false, &value.ty).map(|_| ())
    }

    /// `@m[key]++` and its siblings: the values before and after.
    pub(super) fn map_increment(
        &mut self,
        map: MapId,
        key: &Expr,
        op: BinaryOp,
        step: Value,
        used: bool,
        ty: &Type,
    ) -> R<(Value, Value)> {
        self.map_change(map, key, op, step, used, ty)
    }

    fn map_change(
        &mut self,
        map: MapId,
        key: &Expr,
        op: BinaryOp,
        v: Value,
        used: bool,
        ty: &Type,
    ) -> R<(Value, Value)> {
        let key = self.map_key(map, key)?;
        let entry = self.lookup_or_insert(map, key);
        let (before, after, zero) = (self.b.var(), self.b.var(), self.b.iconst(0));
        self.b.set(before, zero);
        self.b.set(after, zero);
        let present = self.b.nonzero(entry);
        let mut open = self.b.begin_if(present);
        let place = self.own(entry);
        let atomic = matches!(op, BinaryOp::Add | BinaryOp::Subtract) && ty.scalar_width().0 >= 4;
        if atomic {
            // Exact on all CPUs and all kernels: additions without a result.
            if used {
                let old = self.load_scalar(place, ty);
                self.b.set(before, old);
                let new = self.arithmetic(op, old, v, ty);
                self.b.set(after, new);
            }
            let kind = if op == BinaryOp::Add { Atomic::Add } else { Atomic::Sub };
            self.b.atomic(kind, place.ptr, width(u32::from(ty.scalar_width().0)), v);
        } else {
            let old = self.load_scalar(place, ty);
            let new = self.arithmetic(op, old, v, ty);
            self.store_scalar(place, ty, new);
            self.b.set(before, old);
            self.b.set(after, new);
        }
        self.b.begin_else(&mut open);
        // Without an entry the result is that of a missing one.
        let from_zero = self.arithmetic(op, zero, v, ty);
        self.b.set(after, from_zero);
        self.b.end_if(open);
        Ok((self.b.get(before), self.b.get(after)))
    }

    /// A map entry that is a scalar (or what an aggregation comes to).
    pub(super) fn map_read(&mut self, map: MapId, key: &Expr, e: &Expr) -> R<Value> {
        let key = self.map_key(map, key)?;
        let found = self.lookup(map, key);
        let (result, zero) = (self.b.var(), self.b.iconst(0));
        self.b.set(result, zero);
        self.check_lookup(found);
        let present = self.b.nonzero(found);
        let open = self.b.begin_if(present);
        let value = self.entry_value(map, key.address, found, &e.ty, e.span)?;
        self.b.set(result, value);
        self.b.end_if(open);
        Ok(self.b.get(result))
    }

    /// The scalar in an entry whose address is not null.
    pub(super) fn entry_value(&mut self, map: MapId, key: Value, entry: Value, ty: &Type, span: Span) -> R<Value> {
        let place = self.own(entry);
        if self.cx.map(map).value.is_aggregate() {
            return self.aggregate_value(map, key, place, ty, span);
        }
        Ok(self.load_scalar(place, ty))
    }

    /// A map entry that is no scalar, zeros if missing.
    pub(super) fn map_read_into(&mut self, map: MapId, key: &Expr, e: &Expr, to: Own, fill: Fill) -> R<()> {
        if self.cx.map(map).value.is_aggregate() {
            return unsupported("the value of this aggregation inside a program", e.span);
        }
        let key = self.map_key(map, key)?;
        let found = self.lookup(map, key);
        let size = self.size_of(&e.ty);
        let present = self.b.nonzero(found);
        let mut open = self.b.begin_if(present);
        let place = self.own(found);
        let _ = fill; // stored values are exact already
        self.copy(to, place, size);
        self.b.begin_else(&mut open);
        self.zero(to, size);
        self.b.end_if(open);
        Ok(())
    }

    /// Address of an entry, null if missing.
    pub(super) fn map_address(&mut self, map: MapId, key: &Expr) -> R<Value> {
        let key = self.map_key(map, key)?;
        Ok(self.lookup(map, key))
    }

    /// `delete(@m, key)`: 1 if the entry existed.
    pub(super) fn map_delete(&mut self, map: MapId, key: &Expr) -> R<Value> {
        let key = self.map_key(map, key)?;
        let m = self.b.map(map.0);
        let result = self.b.call_helper(Helper::MapDeleteElem, &[m, key.address]);
        if let Some((companion, _)) = key.full {
            let m = self.b.map(companion);
            self.b.call_helper(Helper::MapDeleteElem, &[m, key.address]);
        }
        Ok(self.flag_if(Cmp::Eq, result, 0))
    }

    /// `has_key(@m, key)`.
    pub(super) fn map_has_key(&mut self, map: MapId, key: &Expr) -> R<Value> {
        let key = self.map_key(map, key)?;
        let found = self.lookup(map, key);
        Ok(self.flag_if(Cmp::Ne, found, 0))
    }

    /// `find(@m, key, $v)`: 1 and the value in the variable if there is one.
    pub(super) fn map_find(&mut self, map: MapId, key: &Expr, into: LocalId, span: Span) -> R<Value> {
        let Some(local) = self.probe.locals.get(into.0 as usize) else {
            return internal("unknown variable", span);
        };
        let ty = &local.ty;
        let key = self.map_key(map, key)?;
        let found = self.lookup(map, key);
        let (result, zero) = (self.b.var(), self.b.iconst(0));
        self.b.set(result, zero);
        let present = self.b.nonzero(found);
        let open = self.b.begin_if(present);
        if ty.is_scalar() {
            // A variable may be declared wider than what the map holds.
            let stored = match &self.cx.map(map).value {
                ValueType::Int { size, signed } => Type::Int { size: *size, signed: *signed },
                _ => ty.clone(),
            };
            let value = self.entry_value(map, key.address, found, &stored, span)?;
            let value = self.wrap(value, ty);
            self.set_local(into, ty, value, span)?;
        } else {
            let (to, from) = (self.local_memory(into, span)?, self.own(found));
            let (size, stored) = (self.size_of(ty), self.cx.map(map).value.size());
            if stored < size && !matches!(ty, Type::Str { .. }) {
                return unsupported("`find` into a variable of another type than the map's values", span);
            }
            if stored < size {
                self.zero(to, size);
            }
            self.copy(to, from, stored.min(size));
        }
        let one = self.b.iconst(1);
        self.b.set(result, one);
        self.b.end_if(open);
        Ok(self.b.get(result))
    }

    /// The value of a per-CPU entry on another CPU: `body` runs for each.
    pub(super) fn for_each_cpu(&mut self, map: MapId, key: Value, span: Span, body: impl FnOnce(&mut Self, Own)) {
        self.cx.require(Feature::LookupPerCpu, "reading min() or max() inside a program", span);
        let cpus = self.start_value(StartValue::Cpus);
        let counter = self.b.var();
        let zero = self.b.iconst(0);
        self.b.set(counter, zero);
        let open = self.b.begin_loop();
        let cpu = self.b.get(counter);
        let more = self.b.compare(Cmp::Ult, cpu, cpus);
        self.b.loop_while(&open, more);
        let m = self.b.map(map.0);
        let found = self.b.call_helper(Helper::MapLookupPercpuElem, &[m, key, cpu]);
        let present = self.b.nonzero(found);
        let there = self.b.begin_if(present);
        let place = self.own(found);
        body(self, place);
        self.b.end_if(there);
        let one = self.b.iconst(1);
        let next = self.b.add(cpu, one);
        self.b.set(counter, next);
        self.b.end_loop(open);
    }

    /// Loads a 64-bit word.
    pub(super) fn word(&mut self, place: Own) -> Value {
        self.b.load(place.ptr, Width::W64)
    }
}

/// Does this kind of map keep a value per CPU?
pub(super) fn per_cpu(kind: MapKind) -> bool {
    matches!(kind, MapKind::PerCpuHash | MapKind::PerCpuLruHash | MapKind::PerCpuArray)
}
