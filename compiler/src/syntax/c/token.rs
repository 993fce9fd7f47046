//! Tokens of C and the table of their texts.
//!
//! In: nothing (types only). Out: `Token`, small and copyable, whose text is a
//! number: names are compared by number, punctuators by their packed bytes.
//! Invariants: the words of `KEYWORDS` have the first numbers, in table order.

use std::collections::HashMap;
use std::rc::Rc;

use crate::span::Span;

/// The text of a token: a number of the [`Interner`], or a packed punctuator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Sym(pub(super) u32);

/// Set in symbols of punctuators, whose up to three bytes stand in the rest.
const PACKED: u32 = 1 << 31;

/// The symbol of a punctuator of at most three ASCII characters.
pub(super) const fn punct(text: &str) -> Sym {
    let bytes = text.as_bytes();
    let mut packed = 0;
    let mut i = 0;
    while i < bytes.len() {
        packed |= (bytes[i] as u32) << (8 * i);
        i += 1;
    }
    Sym(PACKED | packed)
}

/// What a token is to the preprocessor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A name or keyword.
    Ident,
    /// A number, in the wide sense of C's preprocessor (`0x1p3`, `10ms`).
    Number,
    /// A character constant with its quotes.
    Char,
    /// A string with its quotes.
    Str,
    /// An operator or separator.
    Punct,
    /// A character that C has no use for, or an unterminated string.
    Other,
    /// `#pragma pack(...)`: the text is the rest of the line.
    Pack,
    /// Stands where an empty macro argument was, while `##` is done.
    Nothing,
    /// The end of the input.
    End,
}

/// A token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token {
    /// What it is.
    pub(super) kind: Kind,
    /// Its text.
    pub(super) text: Sym,
    /// Where it stands; for what a macro produced, where the macro was used.
    pub(super) span: Span,
    /// Blanks stand before it.
    pub(super) space: bool,
    /// It is the first of its line.
    pub(super) first: bool,
    /// A macro's name inside its own expansion: never expanded again.
    pub(super) fixed: bool,
}

impl Token {
    /// A token that stands nowhere else than at `span`.
    pub(super) fn new(kind: Kind, text: Sym, span: Span) -> Token {
        Token { kind, text, span, space: false, first: false, fixed: false }
    }

    /// The end of the input.
    pub(super) fn end(span: Span) -> Token {
        Token::new(Kind::End, Sym(0), span)
    }

    /// Is it this punctuator?
    pub(super) fn is(&self, text: &str) -> bool {
        self.kind == Kind::Punct && self.text == punct(text)
    }

    /// Is it the end of the input?
    pub(super) fn is_end(&self) -> bool {
        self.kind == Kind::End
    }
}

/// All texts met so far.
#[derive(Debug)]
pub(super) struct Interner {
    numbers: HashMap<Rc<str>, u32>,
    texts: Vec<Rc<str>>,
}

impl Default for Interner {
    fn default() -> Self {
        let mut interner = Interner { numbers: HashMap::new(), texts: Vec::new() };
        for (word, _) in KEYWORDS {
            interner.intern(word);
        }
        interner
    }
}

impl Interner {
    /// The symbol of a text.
    pub(super) fn intern(&mut self, text: &str) -> Sym {
        if let Some(&number) = self.numbers.get(text) {
            return Sym(number);
        }
        let number = self.texts.len() as u32;
        let text: Rc<str> = text.into();
        self.texts.push(text.clone());
        self.numbers.insert(text, number);
        Sym(number)
    }

    /// The symbol of a text that was met before.
    #[cfg(test)]
    pub(super) fn find(&self, text: &str) -> Option<Sym> {
        self.numbers.get(text).copied().map(Sym)
    }

    /// The text of a symbol.
    pub(super) fn text(&self, sym: Sym) -> Rc<str> {
        if sym.0 & PACKED == 0 {
            return self.texts.get(sym.0 as usize).cloned().unwrap_or_default();
        }
        let bytes = sym.0.to_le_bytes();
        let packed = [bytes[0], bytes[1], bytes[2] & 0x7f];
        let text: String = packed.iter().filter(|&&b| b != 0).map(|&b| char::from(b & 0x7f)).collect();
        text.into()
    }
}

/// What a word means at the start of a declaration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keyword {
    /// `struct`.
    Struct,
    /// `union`.
    Union,
    /// `enum`.
    Enum,
    /// `typedef`.
    Typedef,
    /// Storage classes and function specifiers: of no interest here.
    Storage,
    /// Qualifiers.
    Qualifier,
    /// A word of an arithmetic type, as `TypeStore::integer` spells it.
    Arithmetic(&'static str),
    /// `void`.
    Void,
    /// A floating type: name and size in bytes.
    Float(&'static str, u32),
    /// `_Complex`: doubles the size.
    Complex,
    /// `typeof`.
    Typeof,
    /// `__attribute__`.
    Attribute,
    /// `_Alignas`.
    Alignas,
    /// `asm`, before a label or a statement.
    Asm,
    /// `_Static_assert`.
    StaticAssert,
    /// `_Pragma`.
    Pragma,
    /// An annotation of kernel headers without effect on layout.
    Annotation,
    /// `__packed`.
    Packed,
    /// `__aligned(n)`.
    Aligned,
    /// `____cacheline_aligned` and friends.
    CacheAligned,
    /// `sizeof`.
    Sizeof,
    /// `_Alignof`.
    Alignof,
    /// `offsetof`.
    Offsetof,
    /// `defined`, in conditions.
    Defined,
}

/// Reserved words. Annotations of the kernel are listed only where no header
/// known uses the word for a member; a macro of the same name goes first.
pub(super) const KEYWORDS: &[(&str, Keyword)] = {
    use Keyword::*;
    &[
        ("struct", Struct),
        ("union", Union),
        ("enum", Enum),
        ("typedef", Typedef),
        ("extern", Storage),
        ("static", Storage),
        ("inline", Storage),
        ("__inline", Storage),
        ("__inline__", Storage),
        ("__always_inline", Storage),
        ("register", Storage),
        ("auto", Storage),
        ("_Noreturn", Storage),
        ("_Thread_local", Storage),
        ("__thread", Storage),
        ("__extension__", Storage),
        ("constexpr", Storage),
        ("const", Qualifier),
        ("__const", Qualifier),
        ("__const__", Qualifier),
        ("volatile", Qualifier),
        ("__volatile", Qualifier),
        ("__volatile__", Qualifier),
        ("restrict", Qualifier),
        ("__restrict", Qualifier),
        ("__restrict__", Qualifier),
        ("_Atomic", Qualifier),
        ("char", Arithmetic("char")),
        ("short", Arithmetic("short")),
        ("int", Arithmetic("int")),
        ("long", Arithmetic("long")),
        ("signed", Arithmetic("signed")),
        ("__signed", Arithmetic("signed")),
        ("__signed__", Arithmetic("signed")),
        ("unsigned", Arithmetic("unsigned")),
        ("_Bool", Arithmetic("bool")),
        ("__int128", Arithmetic("__int128")),
        ("void", Void),
        ("float", Float("float", 4)),
        ("double", Float("double", 8)),
        ("_Float16", Float("_Float16", 2)),
        ("__bf16", Float("__bf16", 2)),
        ("_Float32", Float("_Float32", 4)),
        ("_Float64", Float("_Float64", 8)),
        ("_Float32x", Float("_Float32x", 8)),
        ("_Float64x", Float("_Float64x", 16)),
        ("_Float128", Float("_Float128", 16)),
        ("__float128", Float("_Float128", 16)),
        ("_Complex", Complex),
        ("__complex__", Complex),
        ("typeof", Typeof),
        ("__typeof", Typeof),
        ("__typeof__", Typeof),
        ("typeof_unqual", Typeof),
        ("__attribute__", Attribute),
        ("__attribute", Attribute),
        ("_Alignas", Alignas),
        ("alignas", Alignas),
        ("asm", Asm),
        ("__asm", Asm),
        ("__asm__", Asm),
        ("_Static_assert", StaticAssert),
        ("static_assert", StaticAssert),
        ("_Pragma", Pragma),
        ("__user", Annotation),
        ("__kernel", Annotation),
        ("__iomem", Annotation),
        ("__rcu", Annotation),
        ("__percpu", Annotation),
        ("__force", Annotation),
        ("__nocast", Annotation),
        ("__bitwise", Annotation),
        ("__bitwise__", Annotation),
        ("__must_check", Annotation),
        ("__maybe_unused", Annotation),
        ("__always_unused", Annotation),
        ("__init", Annotation),
        ("__exit", Annotation),
        ("__read_mostly", Annotation),
        ("__ro_after_init", Annotation),
        ("__randomize_layout", Annotation),
        ("__no_randomize_layout", Annotation),
        ("__designated_init", Annotation),
        ("__counted_by", Annotation),
        ("__counted_by_le", Annotation),
        ("__counted_by_be", Annotation),
        ("__nonstring", Annotation),
        ("__kptr", Annotation),
        ("__kptr_untrusted", Annotation),
        ("__percpu_kptr", Annotation),
        ("__attribute_const__", Annotation),
        ("asmlinkage", Annotation),
        ("notrace", Annotation),
        ("__packed", Packed),
        ("__aligned", Aligned),
        ("____cacheline_aligned", CacheAligned),
        ("____cacheline_aligned_in_smp", CacheAligned),
        ("____cacheline_internodealigned_in_smp", CacheAligned),
        ("sizeof", Sizeof),
        ("_Alignof", Alignof),
        ("alignof", Alignof),
        ("__alignof", Alignof),
        ("__alignof__", Alignof),
        ("offsetof", Offsetof),
        ("__builtin_offsetof", Offsetof),
        ("defined", Defined),
    ]
};

/// The meaning of a name, if it is reserved in the language.
pub(super) fn keyword(token: &Token) -> Option<Keyword> {
    word(token).filter(|&k| k != Keyword::Defined)
}

/// Is it `defined`? That is reserved in conditions of the preprocessor only: there are
/// headers with members of that name.
pub(super) fn is_defined(token: &Token) -> bool {
    word(token) == Some(Keyword::Defined)
}

fn word(token: &Token) -> Option<Keyword> {
    if token.kind != Kind::Ident {
        return None;
    }
    KEYWORDS.get(token.text.0 as usize).map(|row| row.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_come_back() {
        let mut interner = Interner::default();
        let a = interner.intern("alpha");
        assert_eq!(interner.intern("alpha"), a);
        assert_eq!(&*interner.text(a), "alpha");
        assert_eq!(interner.find("beta"), None);
        for p in ["{", "->", "<<=", "..."] {
            assert_eq!(&*interner.text(punct(p)), p);
        }
    }

    #[test]
    fn keywords_have_the_first_numbers() {
        let interner = Interner::default();
        for (i, (word, _)) in KEYWORDS.iter().enumerate() {
            assert_eq!(interner.find(word), Some(Sym(i as u32)), "{word}");
        }
    }
}
