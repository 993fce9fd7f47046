//! What must be known of the whole script before its first function.
//!
//! In: the typed tree. Out: the largest object (for the zeros in `.rodata`) and
//! the aggregations that programs read themselves.

use btc_payload::layout::ValueType;
use btc_payload::manifest::MapKind;
use std::collections::BTreeSet;

use super::layout::Layouts;
use crate::hir::tree::{Expr, ExprKind, Program, StmtKind};
use crate::hir::types::{Aggregate, Type};
use crate::hir::visit::{Node, walk_block, walk_expr};

/// The result of the scan.
pub(super) struct Scan {
    /// Bytes of the largest object.
    pub(super) largest: u32,
    /// Aggregations that are one value for all CPUs, see [`shared_kind`].
    pub(super) shared: BTreeSet<u32>,
}

impl Scan {
    /// Scans a script.
    pub(super) fn of(program: &Program, layouts: &mut Layouts<'_>) -> Scan {
        let mut scan = Scan { largest: 0, shared: BTreeSet::new() };
        for map in &program.maps {
            scan.note(&layouts.of(&map.key));
            scan.note(&layouts.of(&map.value));
        }
        for probe in &program.probes {
            for local in &probe.locals {
                scan.note(&layouts.of(&local.ty));
            }
            let mut visit = |node: Node<'_>| scan.visit(node, program, layouts);
            if let Some(e) = &probe.predicate {
                walk_expr(e, &mut visit);
            }
            walk_block(&probe.body, &mut visit);
        }
        scan
    }

    fn note(&mut self, ty: &ValueType) {
        self.largest = self.largest.max(ty.size());
    }

    fn visit(&mut self, node: Node<'_>, program: &Program, layouts: &mut Layouts<'_>) {
        let read = match node {
            Node::Expr(e) => {
                if !e.ty.is_scalar() {
                    self.note(&layouts.of(&e.ty));
                }
                read_map(e)
            }
            Node::Stmt(s) => match &s.kind {
                StmtKind::ForMap { map, .. } => Some(map.0),
                _ => None,
            },
        };
        if let Some(map) = read
            && program.maps.get(map as usize).is_some_and(|m| can_be_shared(&m.value))
        {
            self.shared.insert(map);
        }
    }
}

fn read_map(e: &Expr) -> Option<u32> {
    match &e.kind {
        ExprKind::MapRead { map, .. } | ExprKind::MapFind { map, .. } | ExprKind::AddressOfMap { map, .. } => {
            Some(map.0)
        }
        _ => None,
    }
}

fn can_be_shared(value: &Type) -> bool {
    use Aggregate::*;
    matches!(value, Type::Aggregate(Count | Sum { .. } | Avg { .. } | Stats { .. }))
}

/// The kind of map for an aggregation that programs read.
///
/// A program cannot read other CPUs' values before `bpf_map_lookup_percpu_elem`
/// (Linux 5.19). Sums and counts can be kept exactly by atomic additions, which
/// every kernel has, so such a map holds one value for all CPUs.
pub(super) fn shared_kind(kind: MapKind) -> MapKind {
    match kind {
        MapKind::PerCpuHash => MapKind::Hash,
        MapKind::PerCpuLruHash => MapKind::LruHash,
        MapKind::PerCpuArray => MapKind::Array,
        other => other,
    }
}
