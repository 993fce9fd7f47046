//! Top-level items: definitions, config, imports, maps, macros and probes.
//!
//! In: what the grammar recognised of one item. Out: `Item`, and messages about
//! items in the wrong order.

use super::grammar::Rule;
use super::scan::{ItemKind, RawItem};
use super::{Builder, Pair, message, parts};
use crate::span::Spanned;
use crate::syntax::ast::{
    AttachPart, AttachPiece, AttachPoint, ConfigEntry, Item, Macro, MacroParam, MapDeclaration, Probe,
};

/// Where kinds of items may stand: definitions, then config and imports, then
/// the rest.
fn rank(kind: ItemKind) -> u8 {
    match kind {
        ItemKind::C => 0,
        ItemKind::Config | ItemKind::Import => 1,
        _ => 2,
    }
}

/// Reports items that come too late, and a second config block.
pub(super) fn check_order(b: &mut Builder<'_>, items: &[RawItem]) {
    let mut highest = 0;
    let mut config = None;
    for item in items.iter().filter(|i| !matches!(i.kind, ItemKind::Stray | ItemKind::Directive)) {
        let span = b.place.span(item.range.clone());
        if rank(item.kind) < highest {
            b.found.push(message::out_of_order(item.kind, span));
        }
        highest = highest.max(rank(item.kind));
        if item.kind == ItemKind::Config {
            match config {
                None => config = Some(span),
                Some(first) => b.found.push(message::second_config(span, first)),
            }
        }
    }
}

impl Builder<'_> {
    /// Any item; `text` is the whole script, for the comment above a macro.
    pub(super) fn item(&mut self, pair: Pair<'_>, text: &str) -> Option<Item> {
        let span = self.span(&pair);
        match pair.as_rule() {
            Rule::c_definition => Some(Item::CDefinition(span)),
            Rule::config => Some(Item::Config(parts(pair).filter_map(|p| self.config_entry(p)).collect())),
            Rule::import => {
                let path = parts(pair).find(|p| p.as_rule() == Rule::string)?;
                let value = String::from_utf8_lossy(&self.string(&path)).into_owned();
                Some(Item::Import(Spanned { value, span: self.span(&path) }))
            }
            Rule::map_declaration => self.map_declaration(pair).map(Item::MapDeclaration),
            Rule::macro_definition => self.macro_definition(pair, text).map(Item::Macro),
            Rule::probe => self.probe(pair).map(Item::Probe),
            _ => None,
        }
    }

    fn config_entry(&mut self, pair: Pair<'_>) -> Option<ConfigEntry> {
        if pair.as_rule() != Rule::config_entry {
            return None;
        }
        let mut inner = parts(pair);
        let (name, value) = (inner.next()?, inner.next()?);
        Some(ConfigEntry { name: self.name(&name), value: self.expr(value) })
    }

    fn map_declaration(&mut self, pair: Pair<'_>) -> Option<MapDeclaration> {
        let span = self.span(&pair);
        let mut inner = parts(pair).skip(1);
        let name = self.name(&inner.next()?);
        let kind = self.name(&inner.next()?);
        let args = inner.map(|p| self.expr(p)).collect();
        Some(MapDeclaration { name, kind, args, span })
    }

    fn macro_definition(&mut self, pair: Pair<'_>, text: &str) -> Option<Macro> {
        let span = self.span(&pair);
        let mut inner = parts(pair).skip(1);
        let name = self.name(&inner.next()?);
        let mut params = Vec::new();
        let mut body = None;
        for p in inner {
            match p.as_rule() {
                Rule::variable => params.push(MacroParam::Variable(self.name(&p))),
                Rule::map => params.push(MacroParam::Map(self.name(&p))),
                Rule::identifier => params.push(MacroParam::Expr(self.name(&p))),
                _ => body = Some(self.block(p, true)),
            }
        }
        let doc = comment_above(text, span.start as usize);
        Some(Macro { name, params, body: body?, doc, span })
    }

    fn probe(&mut self, pair: Pair<'_>) -> Option<Probe> {
        let span = self.span(&pair);
        let mut attach_points = Vec::new();
        let mut predicate = None;
        let mut body = None;
        for p in parts(pair) {
            match p.as_rule() {
                Rule::attach_point => attach_points.push(self.attach_point(p)),
                Rule::predicate => predicate = parts(p).next().map(|p| self.expr(p)),
                _ => body = Some(self.block(p, false)),
            }
        }
        Some(Probe { attach_points, predicate, body: body?, span })
    }

    fn attach_point(&mut self, pair: Pair<'_>) -> AttachPoint {
        let mut span = self.span(&pair);
        let mut text = pair.as_str();
        let mut label = None;
        let mut parts = Vec::new();
        for p in pair.into_inner() {
            if p.as_rule() == Rule::attach_label {
                let name = self.name(&p);
                let behind = name.value.len() + 1;
                text = text.get(behind..).unwrap_or(text);
                span.start = span.end.min(span.start + behind as u32);
                label = Some(name);
            } else {
                parts.push(self.attach_part(p));
            }
        }
        AttachPoint { label, parts, text: text.to_string(), span }
    }

    fn attach_part(&mut self, pair: Pair<'_>) -> AttachPart {
        let span = self.span(&pair);
        let mut pieces: Vec<AttachPiece> = Vec::new();
        let mut quoted = false;
        for p in pair.into_inner() {
            let text = match p.as_rule() {
                Rule::attach_parameter => {
                    let number = self.parameter_number(p.as_str(), span);
                    pieces.push(AttachPiece::Parameter(number));
                    continue;
                }
                Rule::attach_quoted => {
                    quoted = true;
                    unquoted(p.as_str())
                }
                _ => p.as_str().to_string(),
            };
            match pieces.last_mut() {
                Some(AttachPiece::Text(before)) => before.push_str(&text),
                _ => pieces.push(AttachPiece::Text(text)),
            }
        }
        AttachPart { pieces, quoted, span }
    }
}

/// Text between quotes; a backslash stands for the character behind it.
fn unquoted(text: &str) -> String {
    let mut out = String::new();
    let inner = text.strip_prefix('"').and_then(|t| t.strip_suffix('"')).unwrap_or(text);
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        out.extend(if c == '\\' { chars.next() } else { Some(c) });
    }
    out
}

/// The comment that ends on the line above `at`, without its marks.
fn comment_above(text: &str, at: usize) -> String {
    let before = text.get(..at).unwrap_or("").trim_end_matches([' ', '\t']);
    let Some(before) = before.strip_suffix('\n') else { return String::new() };
    let trimmed = before.trim_end_matches([' ', '\t', '\r']);
    if let Some(inner) = trimmed.strip_suffix("*/") {
        let inner = inner.rfind("/*").map_or("", |i| &inner[i + 2..]);
        let lines = inner.lines().map(|l| l.trim().trim_start_matches('*').trim());
        return lines.collect::<Vec<_>>().join("\n").trim().to_string();
    }
    let lines = before.lines().rev().map(str::trim).map_while(|l| l.strip_prefix("//"));
    let mut lines: Vec<&str> = lines.map(|l| l.strip_prefix(' ').unwrap_or(l)).collect();
    lines.reverse();
    lines.join("\n")
}
