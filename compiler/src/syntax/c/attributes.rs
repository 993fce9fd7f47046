//! Attributes: those that decide the layout are kept, all others skipped.
//!
//! In: tokens at `__attribute__`, `[[`, `_Alignas`, an annotation of the kernel
//! or an asm label. Out: `Attributes`.

use super::constant::{Parsed, fail};
use super::parse::Parser;
use super::token::{Keyword, Kind, Token, keyword};

/// Largest alignment, as in GCC.
const MOST_ALIGNMENT: i128 = 1 << 28;

/// Attributes that matter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Attributes {
    /// `packed`.
    pub(super) packed: bool,
    /// `aligned(n)`, in bytes: the largest.
    pub(super) align: Option<u32>,
    /// `mode(...)`: size in bytes.
    pub(super) mode: Option<u32>,
    /// `vector_size(n)`, in bytes.
    pub(super) vector: Option<u32>,
}

impl Attributes {
    /// Attributes of two places that apply to one thing.
    pub(super) fn and(self, other: Attributes) -> Attributes {
        Attributes {
            packed: self.packed || other.packed,
            align: self.align.max(other.align),
            mode: self.mode.or(other.mode),
            vector: self.vector.or(other.vector),
        }
    }
}

/// Sizes by the name of a machine mode.
const MODES: &[(&str, u32)] = &[
    ("QI", 1),
    ("byte", 1),
    ("HI", 2),
    ("SI", 4),
    ("DI", 8),
    ("word", 8),
    ("pointer", 8),
    ("TI", 16),
    ("SF", 4),
    ("DF", 8),
    ("TF", 16),
];

impl Parser<'_, '_> {
    /// All attributes that come next.
    pub(super) fn attributes(&mut self) -> Parsed<Attributes> {
        let mut found = Attributes::default();
        while self.attribute(&mut found)? {}
        Ok(found)
    }

    /// One attribute, if there is one.
    pub(super) fn attribute(&mut self, found: &mut Attributes) -> Parsed<bool> {
        let token = self.look(0);
        if token.is("[") && self.look(1).is("[") {
            self.next();
            self.next();
            self.attribute_list("]", found)?;
            self.expect("]", "after attributes")?;
            return Ok(true);
        }
        match keyword(&token) {
            Some(Keyword::Attribute) => {
                self.next();
                self.expect("(", "after `__attribute__`")?;
                self.expect("(", "after `__attribute__(`")?;
                self.attribute_list(")", found)?;
                self.expect(")", "after attributes")?;
            }
            Some(Keyword::Alignas) => {
                self.next();
                self.expect("(", "after `_Alignas`")?;
                let align = self.alignment_or_type()?;
                found.align = found.align.max(align);
                self.expect(")", "after an alignment")?;
            }
            Some(Keyword::Aligned) => {
                self.next();
                self.aligned(found)?;
            }
            Some(Keyword::Packed) => {
                self.next();
                found.packed = true;
            }
            Some(Keyword::CacheAligned) => {
                self.next();
                found.align = found.align.max(Some(self.target.cache_line));
            }
            Some(Keyword::Annotation | Keyword::Asm) => {
                self.next();
                if self.take("(") {
                    self.skip_brackets();
                }
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Attributes separated by commas, and the closing bracket.
    fn attribute_list(&mut self, close: &str, found: &mut Attributes) -> Parsed<()> {
        loop {
            let token = self.next();
            if token.is(close) {
                return Ok(());
            }
            if token.is(",") || token.is(":") {
                continue;
            }
            if token.kind != Kind::Ident {
                let text = self.describe(&token);
                return fail(format!("expected the name of an attribute, found {text}"), &token, "no attribute");
            }
            self.one(token, found)?;
        }
    }

    fn one(&mut self, token: Token, found: &mut Attributes) -> Parsed<()> {
        let text = self.name_of(&token);
        let name = text.strip_prefix("__").and_then(|t| t.strip_suffix("__")).unwrap_or(&text);
        match name {
            "packed" => found.packed = true,
            "aligned" => self.aligned(found)?,
            "mode" => {
                self.expect("(", "after `mode`")?;
                let mode = self.next();
                let text = self.name_of(&mode);
                let mode = text.trim_matches('_');
                found.mode = MODES.iter().find(|row| row.0 == mode).map(|row| row.1);
                self.expect(")", "after a mode")?;
            }
            "vector_size" => {
                self.expect("(", "after `vector_size`")?;
                found.vector = self.alignment()?;
                self.expect(")", "after a size")?;
            }
            _ => {
                if self.take("(") {
                    self.skip_brackets();
                }
            }
        }
        Ok(())
    }

    /// `(n)` of `aligned`, or nothing.
    fn aligned(&mut self, found: &mut Attributes) -> Parsed<()> {
        let mut align = Some(self.target.biggest_alignment);
        if self.take("(") {
            align = self.alignment()?;
            self.expect(")", "after an alignment")?;
        }
        found.align = found.align.max(align);
        Ok(())
    }

    /// A power of two; 0 asks for nothing.
    fn alignment(&mut self) -> Parsed<Option<u32>> {
        let start = self.look(0);
        let value = self.constant("an alignment")?.value;
        if value == 0 {
            return Ok(None);
        }
        match u32::try_from(value) {
            Ok(n) if n.is_power_of_two() && value <= MOST_ALIGNMENT => Ok(Some(n)),
            _ => fail("an alignment must be a power of two", &start, format!("this is {value}")),
        }
    }

    fn alignment_or_type(&mut self) -> Parsed<Option<u32>> {
        if self.starts_type() {
            let ty = self.type_name()?;
            return Ok(Some(self.align_of(ty)));
        }
        self.alignment()
    }
}
