//! Types that another compiler wrote, copied into the object's own BTF.
//!
//! In: BTF blobs, and which of their types the object refers to. Out: records in
//! the writer, and the id that each type has there.
//! Invariants: what is copied says the same as before, for libbpf compares it with
//! the kernel's, and reads maps' attributes from it. But a struct or union that is
//! only pointed at keeps its name and size and loses its members, and one that accesses
//! are relocated by keeps those on their way: loaders look at no more, and a task has
//! 250 members, whose types lead to thousands of others.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::core::CoreKind;
use super::raw::{Btf, Kind, Record, enumerator_words};
use super::write::Writer;

/// A type of a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CopiedType {
    /// Index of the blob.
    pub blob: usize,
    /// Id of the type in it.
    pub id: u32,
}

/// How many pointers away from its root a type keeps its members.
pub(super) type Depth = i32;

/// The type itself, and what lies in it.
pub(super) const WHOLE: Depth = 0;
/// Names and sizes only, for a type that is pointed at.
const SHELL: Depth = -1;

/// Which types are needed, and then which ids they got.
pub(super) struct Copier<'a> {
    blobs: &'a [Rc<Btf>],
    /// Depth to which a type is needed.
    needed: BTreeMap<CopiedType, Depth>,
    /// Members of structs and unions that accesses go through.
    kept: BTreeMap<CopiedType, BTreeSet<u32>>,
    ids: BTreeMap<CopiedType, u32>,
}

impl<'a> Copier<'a> {
    pub(super) fn new(blobs: &'a [Rc<Btf>]) -> Self {
        Copier { blobs, needed: BTreeMap::new(), kept: BTreeMap::new(), ids: BTreeMap::new() }
    }

    /// Notes that the object refers to a type, to some depth.
    pub(super) fn need(&mut self, root: CopiedType, depth: Depth) {
        let mut waiting = vec![(root, depth)];
        while let Some((ty, depth)) = waiting.pop() {
            let depth = depth.max(SHELL);
            if ty.id == 0 || self.needed.get(&ty).is_some_and(|&known| known >= depth) {
                continue;
            }
            self.needed.insert(ty, depth);
            let record = self.blobs[ty.blob].record(ty.id);
            let below = if record.kind == Kind::Ptr { depth - 1 } else { depth };
            let parts = references(&record, depth);
            waiting.extend(parts.into_iter().map(|id| (CopiedType { blob: ty.blob, id }, below)));
        }
    }

    /// Notes a CO-RE relocation.
    pub(super) fn need_access(&mut self, root: CopiedType, access: &str, kind: u32) {
        // These look at all members, if only by giving the type to the kernel.
        let whole = [CoreKind::TypeIdLocal as u32, CoreKind::TypeMatches as u32].contains(&kind);
        self.need(root, if whole { WHOLE } else { SHELL });
        if kind > CoreKind::FieldRshiftU64 as u32 {
            return;
        }
        for (ty, index) in self.path(root, access) {
            let record = self.blobs[ty.blob].record(ty.id);
            if is_composite(record.kind) {
                self.kept.entry(ty).or_default().insert(index);
                self.need(CopiedType { id: record.word(3 * index as usize + 1), ..ty }, SHELL);
            }
        }
    }

    /// The structs, unions and arrays that an access goes through, with the index in each.
    /// The first index counts whole objects.
    fn path(&self, root: CopiedType, access: &str) -> Vec<(CopiedType, u32)> {
        let (mut at, mut out) = (self.bare(root), Vec::new());
        for index in access.split(':').skip(1).filter_map(|i| i.parse::<u32>().ok()) {
            out.push((at, index));
            let record = self.blobs[at.blob].record(at.id);
            let next = if record.kind == Kind::Array { record.word(0) } else { record.word(3 * index as usize + 1) };
            at = self.bare(CopiedType { id: next, ..at });
        }
        out
    }

    /// The access in the copied types, where members before it may be missing.
    pub(super) fn access(&self, root: CopiedType, access: &str, kind: u32) -> String {
        if kind > CoreKind::FieldRshiftU64 as u32 {
            return access.to_owned();
        }
        let mut out = access.split(':').next().unwrap_or("0").to_owned();
        for (ty, index) in self.path(root, access) {
            let kept = self.kept.get(&ty).filter(|_| self.needed.get(&ty) == Some(&SHELL));
            let position = kept.map_or(index, |kept| kept.range(..index).count() as u32);
            out += &format!(":{position}");
        }
        out
    }

    /// The definition of a map: its key and value are pointed at, and so is, in maps
    /// of maps, the inner map, whose key and value are pointed at in turn.
    pub(super) fn need_map(&mut self, ty: CopiedType) {
        let btf = &self.blobs[ty.blob];
        let record = btf.record(self.bare(ty).id);
        let nested = (0..record.vlen).any(|i| btf.string(record.word(3 * i)) == "values");
        self.need(ty, if nested { WHOLE + 2 } else { WHOLE + 1 });
    }

    /// The type behind typedefs and modifiers.
    fn bare(&self, ty: CopiedType) -> CopiedType {
        let mut id = ty.id;
        for _ in 0..64 {
            let record = self.blobs[ty.blob].record(id);
            if record.kind != Kind::Typedef && !record.kind.is_modifier() {
                break;
            }
            id = record.size_or_type;
        }
        CopiedType { id, ..ty }
    }

    /// Writes everything that is needed. Types may refer to each other in circles, so
    /// their ids are fixed first; nothing else may be written in between.
    pub(super) fn write(&mut self, writer: &mut Writer) {
        self.need_tags();
        let wanted: Vec<(CopiedType, Depth)> = self.needed.iter().map(|(&ty, &depth)| (ty, depth)).collect();
        let first = writer.next_id();
        self.ids = wanted.iter().map(|w| w.0).zip(first..).collect();
        for (ty, depth) in wanted {
            self.record(writer, ty, depth);
        }
    }

    /// Declaration tags name what they belong to, not the other way round.
    fn need_tags(&mut self) {
        let mut tags = BTreeSet::new();
        for (blob, btf) in self.blobs.iter().enumerate() {
            for id in btf.first_id().max(1)..btf.end_id() {
                let record = btf.record(id);
                let target = CopiedType { blob, id: record.size_or_type };
                if record.kind == Kind::DeclTag && self.needed.get(&target).is_some_and(|&d| d >= WHOLE) {
                    tags.insert(CopiedType { blob, id });
                }
            }
        }
        self.needed.extend(tags.into_iter().map(|tag| (tag, WHOLE)));
    }

    fn record(&self, writer: &mut Writer, ty: CopiedType, depth: Depth) {
        let btf = &self.blobs[ty.blob];
        let record = btf.record(ty.id);
        let mut body = |word: usize, of: Word| match of {
            Word::Plain => record.word(word),
            Word::Name => writer.strings.add(btf.string(record.word(word))),
            Word::Type => self.id(CopiedType { blob: ty.blob, id: record.word(word) }),
        };
        let form = form(record.kind);
        let kept: Vec<usize> = match self.kept.get(&ty) {
            Some(kept) if depth < WHOLE => kept.iter().map(|&i| i as usize).collect(),
            _ if depth < WHOLE && is_composite(record.kind) => Vec::new(),
            _ => (0..entries(&record)).collect(),
        };
        let words = kept.iter().flat_map(|entry| (0..form.len()).map(move |i| (entry * form.len() + i, form[i])));
        let words: Vec<u32> = words.map(|(at, of)| body(at, of)).collect();
        let refers = !has_size(record.kind);
        let target = CopiedType { blob: ty.blob, id: record.size_or_type };
        let size_or_type = if refers { self.id(target) } else { record.size_or_type };
        let vlen = if is_composite(record.kind) { kept.len() } else { record.vlen };
        writer.copied((record.kind, vlen, record.kflag), btf.string(record.name), size_or_type, &words);
    }

    /// The id that a type has in the object; 0 for `void`, and for what nobody asked for.
    pub(super) fn id(&self, ty: CopiedType) -> u32 {
        self.ids.get(&ty).copied().unwrap_or(0)
    }
}

/// What a word behind the head of a record is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Word {
    Plain,
    Name,
    Type,
}

fn is_composite(kind: Kind) -> bool {
    matches!(kind, Kind::Struct | Kind::Union)
}

/// The words of one entry behind the head of a record.
fn form(kind: Kind) -> &'static [Word] {
    use Word::*;
    match kind {
        Kind::Int | Kind::Var | Kind::DeclTag => &[Plain],
        Kind::Array => &[Type, Type, Plain],
        Kind::Struct | Kind::Union => &[Name, Type, Plain],
        Kind::Enum => &[Name, Plain],
        Kind::Enum64 => &[Name, Plain, Plain],
        Kind::FuncProto => &[Name, Type],
        _ => &[],
    }
}

/// How many entries a record has.
fn entries(record: &Record<'_>) -> usize {
    match record.kind {
        Kind::Struct | Kind::Union | Kind::FuncProto => record.vlen,
        kind if enumerator_words(kind).is_some() => record.vlen,
        Kind::Int | Kind::Var | Kind::DeclTag | Kind::Array => 1,
        _ => 0,
    }
}

/// Does the third word of the head hold a size? Else it holds a type or nothing.
fn has_size(kind: Kind) -> bool {
    matches!(kind, Kind::Int | Kind::Struct | Kind::Union | Kind::Enum | Kind::Enum64 | Kind::Float | Kind::Datasec)
}

/// The types that a record refers to, if it is copied to this depth.
fn references(record: &Record<'_>, depth: Depth) -> Vec<u32> {
    let mut out = Vec::new();
    if !has_size(record.kind) {
        out.push(record.size_or_type);
    }
    if is_composite(record.kind) && depth < WHOLE {
        return out;
    }
    let form = form(record.kind);
    let words = (0..entries(record) * form.len()).filter(|i| form[i % form.len()] == Word::Type);
    out.extend(words.map(|i| record.word(i)));
    out
}
