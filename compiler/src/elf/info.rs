//! What `.BTF` and `.BTF.ext` say about the object.
//!
//! In: an [`ObjectInput`] and its [`Layout`]. Out: both sections, from
//! `btf::encode`, which wants instructions by their offset in the section.

use anyhow::{Context as _, Result};

use super::{Function, FunctionId, Layout, ObjectInput, Place, Role, SLOT};
use crate::btf::encode::{
    self, CopiedUse, CoreUse, FunctionDef, FunctionKind, KsymDef, LineDef, ObjectBtf, ObjectBtfInput, SectionDef,
};

/// Encodes the type information of the object.
pub(super) fn encode(input: &ObjectInput<'_>, layout: &Layout) -> Result<ObjectBtf> {
    let ids = (0..input.functions.len() as u32).map(FunctionId);
    let placed: Vec<(Place, &Function)> = ids.map(|id| layout.place(id)).zip(&input.functions).collect();
    // Grouped by section: the kernel wants the records of a section in order.
    let in_section = |section| placed.iter().filter(move |(place, _)| place.section == section);
    let mut functions: Vec<FunctionDef> =
        layout.sections().iter().flat_map(|&s| in_section(s)).map(|&(place, f)| function(place, f)).collect();
    name_generated_code(&mut functions);
    let ksyms: Vec<KsymDef> = input.externs.iter().map(|e| e.symbol.clone()).collect();
    let rodata =
        SectionDef { name: ".rodata".into(), size: input.rodata.len() as u32, variables: input.variables.clone() };
    let sections = if input.rodata.is_empty() || input.variables.is_empty() { vec![] } else { vec![rodata] };
    let parts = ObjectBtfInput {
        types: input.types,
        core: input.core,
        maps: &input.maps,
        functions: &functions,
        sections: &sections,
        ksyms: &ksyms,
        copied: &input.copied,
    };
    encode::build(&parts).context("internal error: the object's BTF cannot be written")
}

fn function(place: Place, f: &Function) -> FunctionDef {
    let offset = |slot: u32| place.offset + slot * SLOT as u32;
    let line = |l: &super::Line| LineDef {
        offset: offset(l.slot),
        file: l.file.clone(),
        text: l.text.clone(),
        line: l.line,
        column: l.column,
    };
    let copied = |c: &super::CopiedSlot| CopiedUse {
        offset: offset(c.slot),
        root: c.root,
        access: c.access.clone(),
        kind: c.kind,
    };
    FunctionDef {
        name: f.name.clone(),
        section: place.section.into(),
        offset: place.offset,
        kind: match f.role {
            Role::Program { .. } => FunctionKind::Program,
            Role::Subprogram { params } => FunctionKind::Static { params },
            Role::Global { params } => FunctionKind::Global { params },
        },
        lines: f.lines.iter().map(line).collect(),
        relocations: f.core.iter().map(|c| CoreUse { offset: offset(c.slot), relocation: c.relocation }).collect(),
        copied: f.copied.iter().map(copied).collect(),
    }
}

/// Gives functions without source lines one: libbpf refuses an object in which some
/// functions have lines and one that they call has none.
fn name_generated_code(functions: &mut [FunctionDef]) {
    if functions.iter().all(|f| f.lines.is_empty()) {
        return;
    }
    for f in functions.iter_mut().filter(|f| f.lines.is_empty()) {
        let text = format!("{}()", f.name);
        f.lines.push(LineDef { offset: f.offset, file: "<generated>".into(), text, line: 0, column: 0 });
    }
}
