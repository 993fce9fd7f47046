//! The manifest of the lowered script.
//!
//! In: what lowering collected. Out: [`Lowered`]. Invariant: maps stand in the
//! order by which `Symbol::Map` numbers them, sections last; a map that no
//! program uses is left out only where that moves no other.

use btc_payload::event::{Action, Event};
use btc_payload::layout::ValueType;
use btc_payload::manifest::{
    DATA_SYMBOL, LOSS_COUNTERS, Location, LocationId, Manifest, Map, MapId, MapKind, MapRole, Program, Requirement,
    Script,
};
use std::collections::BTreeMap;

use super::function::Fun;
use super::layout::Layouts;
use super::rodata::WORD;
use super::{Cx, Lowered, MapInfo};
use crate::clif::Module;
use crate::hir::types::{Aggregate, Type};
use crate::span::{SourceMap, Span};

/// Longest source text that is kept with a location.
const LONGEST_TEXT: usize = 120;

/// Puts the result together.
pub(super) fn assemble(cx: Cx<'_>, module: Module, sources: &SourceMap) -> Lowered {
    let program = cx.program;
    let mut locations = Locations { sources, list: Vec::new(), ids: BTreeMap::new() };
    let Cx { rodata, mut layouts, maps, scratch, gated, identity, requirements, failures, .. } = cx;
    let (bytes, slots) = rodata.finish();

    let programs = program.probes.iter().enumerate().map(|(i, p)| Program {
        function: p.function.clone(),
        attach: p.attach.clone(),
        written: p.written.clone(),
        label: p.label.clone(),
        block: p.block,
        identity_slot: identity.get(&i).copied(),
        filters_pid: Fun::filters_pid(p.kind),
        binary: p.binary.clone(),
        location: locations.id(p.span),
    });
    let programs = programs.collect();
    let events = program.events.iter().map(|e| Event {
        action: e.action.clone(),
        fields: fields_of(e, &mut layouts),
        location: locations.id(e.span),
    });
    let mut events: Vec<Event> = events.collect();
    let number = ValueType::Int { size: 8, signed: true };
    events.extend(failures.iter().map(|(failure, span)| Event {
        action: failure.action(),
        fields: vec![number.clone()],
        location: locations.id(*span),
    }));
    let mut all: Vec<Map> = program.maps.iter().zip(&maps).map(|(m, info)| script_map(m, info)).collect();
    all.extend(companions(&all));
    all.extend(internal_maps(scratch, gated, bytes.len() as u32));
    let requirements = requirements.into_iter().map(|(feature, construct, span)| Requirement {
        feature,
        construct,
        location: locations.id(span),
    });
    let requirements = requirements.collect();
    let manifest = Manifest {
        compiler: String::new(),
        script: Script { license: program.license.clone(), ..Script::default() },
        programs,
        maps: all,
        events,
        positional: program.positional.clone(),
        options: program.options.clone(),
        slots,
        patches: Vec::new(),
        enums: layouts.finish(),
        locations: locations.list,
        settings: program.settings.clone(),
        requirements,
    };
    Lowered {
        module,
        functions: cx.functions,
        core: cx.core,
        operands: cx.operands,
        ksyms: cx.ksyms,
        imported: cx.imported,
        rodata: bytes,
        data: if gated { WORD } else { 0 },
        spans: cx.spans,
        manifest,
    }
}

/// The fields of a record. The count and strings of `join` are one tuple in the
/// tree and two fields of the record, at the same places.
fn fields_of(e: &crate::hir::tree::Event, layouts: &mut Layouts<'_>) -> Vec<ValueType> {
    match (&e.action, e.fields.as_slice()) {
        (Action::Join { .. }, [Type::Tuple(parts)]) => parts.iter().map(|t| layouts.of(t)).collect(),
        (_, fields) => fields.iter().map(|t| layouts.of(t)).collect(),
    }
}

/// A map of the script.
pub(super) fn script_map(m: &crate::hir::tree::Map, info: &MapInfo) -> Map {
    Map {
        name: m.name.clone(),
        symbol: symbol(&m.name),
        role: MapRole::Script,
        kind: info.kind,
        key: info.key.clone(),
        value: info.value.clone(),
        max_entries: m.max_entries,
        buckets: match &m.value {
            Type::Aggregate(Aggregate::Bucketed(of)) => Some((**of).clone()),
            _ => None,
        },
    }
}

/// The maps that hold long keys by their hashes.
fn companions(maps: &[Map]) -> Vec<Map> {
    let long = maps.iter().enumerate().filter(|(_, m)| m.hashes_keys());
    let companion = |(i, m): (usize, &Map)| Map {
        name: format!("keys of {}", m.name),
        symbol: format!("keys_{}", m.name.trim_start_matches('@')),
        role: MapRole::Keys(MapId(i as u32)),
        kind: match m.kind {
            MapKind::LruHash | MapKind::PerCpuLruHash => MapKind::LruHash,
            _ => MapKind::Hash,
        },
        key: ValueType::Int { size: 8, signed: false },
        value: m.key.clone(),
        max_entries: m.max_entries,
        buckets: None,
    };
    long.map(companion).collect()
}

/// Name of a script's map in the object.
fn symbol(name: &str) -> String {
    format!("at_{}", name.trim_start_matches('@'))
}

fn words(bytes: u32) -> ValueType {
    ValueType::Array { elem: Box::new(ValueType::Int { size: 8, signed: false }), len: bytes.div_ceil(8) }
}

/// The maps that scripts do not see, in the order of [`super::Internal`].
fn internal_maps(scratch: u32, gated: bool, rodata: u32) -> Vec<Map> {
    let map = |name: &str, role, kind, value, max_entries| Map {
        name: name.to_owned(),
        symbol: name.to_owned(),
        role,
        kind,
        key: ValueType::Unit,
        value,
        max_entries,
        buckets: None,
    };
    let mut out = vec![
        map("events", MapRole::Events, MapKind::RingBuffer, ValueType::Unit, None),
        map("losses", MapRole::Losses, MapKind::PerCpuArray, words(8), Some(LOSS_COUNTERS)),
    ];
    if scratch > 0 {
        // The runtime makes it SCRATCH_SLOTS per CPU.
        out.push(map("scratch", MapRole::Scratch, MapKind::Array, words(scratch), None));
    }
    if gated {
        out.push(map(DATA_SYMBOL, MapRole::Gate, MapKind::Section, words(WORD), Some(1)));
    }
    out.push(map(".rodata", MapRole::ReadOnlyData, MapKind::Section, words(rodata), Some(1)));
    out
}

/// Places in the script, each once.
struct Locations<'s> {
    sources: &'s SourceMap,
    list: Vec<Location>,
    ids: BTreeMap<Span, LocationId>,
}

impl Locations<'_> {
    fn id(&mut self, span: Span) -> LocationId {
        if let Some(&id) = self.ids.get(&span) {
            return id;
        }
        let id = LocationId(self.list.len() as u32);
        self.list.push(self.describe(span));
        self.ids.insert(span, id);
        id
    }

    fn describe(&self, span: Span) -> Location {
        if span.file.0 as usize >= self.sources.files().count() {
            return Location::default();
        }
        let file = self.sources.file(span.file);
        let at = file.position(span.start);
        let text = self.sources.text(span).split_whitespace().collect::<Vec<_>>().join(" ");
        let text = text.chars().take(LONGEST_TEXT).collect();
        Location { file: file.name.clone(), line: at.line, column: at.column, text }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn internal_maps_keep_their_numbers() {
        let names = |scratch, gated| internal_maps(scratch, gated, 64).into_iter().map(|m| m.name).collect::<Vec<_>>();
        assert_eq!(names(0, false), ["events", "losses", ".rodata"]);
        assert_eq!(names(64, true), ["events", "losses", "scratch", DATA_SYMBOL, ".rodata"]);
    }
}
