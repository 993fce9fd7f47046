//! Functions of texts and bytes.

use super::Generator;
use super::types::Type;

/// Errno values, signals and system calls that every kernel has.
const NAMES: usize = 30;

impl Generator {
    /// An integer that says something of texts.
    pub fn text_number(&mut self, depth: usize) -> String {
        let number = self.text_number_of_any_type(depth);
        // `?:` of literals is as narrow as they are in 0.27.1, and then compared as unsigned.
        if self.common() { format!("(int64)({number})") } else { number }
    }

    fn text_number_of_any_type(&mut self, depth: usize) -> String {
        match self.random.below(9) {
            // 0.27.1 gives 1 for `strlen(true ? "" : "b")`.
            0 if self.common() => format!("strlen({})", self.text_literal()),
            0 => format!("strlen({})", self.text(depth - 1)),
            1 => format!(
                "(strncmp({}, {}, {}) == 0 ? 1 : 2)",
                self.text(depth - 1),
                self.text(depth - 1),
                1 + self.random.below(8)
            ),
            // 0.27.1 mixes up the variables of str_concat() in the argument of another macro.
            2 if self.common() => {
                format!("(strcontains({}, {}) ? 3 : 4)", self.text_variable(), self.text_literal())
            }
            2 => format!("(strcontains({}, {}) ? 3 : 4)", self.text(depth - 1), self.text_literal()),
            3 => format!("(int64)strstr({}, {})", self.text_variable(), self.short_text()),
            4 => format!("(int64)strlen(str_concat({}, {}))", self.short_text(), self.short_text()),
            5 => format!("(memcmp({}, {}, {}) == 0 ? 1 : 2)", self.text_of(8), self.text_of(8), self.random.below(9)),
            6 => format!("(int64)strcap({})", self.short_text()),
            7 => format!("(str_concat({}, {}) == {} ? 1 : 2)", self.short_text(), self.short_text(), self.short_text()),
            _ => self.size(),
        }
    }

    /// The size of a type, or where a member lies.
    fn size(&mut self) -> String {
        if self.structs.is_empty() {
            return "sizeof(uint32)".to_owned();
        }
        let s = self.random.pick(&self.structs).clone();
        match s.members.iter().find(|m| m.1) {
            Some(m) if self.random.chance(50) => format!("offsetof(struct {}, {})", s.name, m.0),
            _ => format!("sizeof(struct {})", s.name),
        }
    }

    /// A number with a name, which is of a type of its own, compared.
    pub fn named_number(&mut self) -> String {
        let (name, text) = (self.name_of_number(), self.short_text());
        format!("({name} == {text})")
    }

    /// Two texts put together. In a loop a variable must not grow by itself.
    pub fn joined_texts(&mut self) -> String {
        format!("str_concat({}, {})", self.short_text(), self.short_text())
    }

    fn name_of_number(&mut self) -> String {
        // Other errors have other texts in 0.27.1: the kernel's comments, not the C library's.
        let number = if self.common() { 1 + self.random.below(3) } else { self.random.below(NAMES) };
        match self.random.below(3) {
            0 => format!("strerror({number})"),
            1 => format!("signal_name({})", 1 + number),
            _ => format!("syscall_name({number})"),
        }
    }

    /// A text in a variable, so that its length is not known.
    fn text_variable(&mut self) -> String {
        match self.variable(|t| *t == Type::Text) {
            Some(v) => v.name,
            None => self.short_text(),
        }
    }

    fn short_text(&mut self) -> String {
        format!("\"{}\"", self.random.pick(&["a", "b", "ab", "abc", "hello", "lo w", "zz"]))
    }

    /// A text with at least `count` characters.
    pub fn text_of(&mut self, count: usize) -> String {
        format!("\"{}\"", &"0123456789abcdef"[self.random.below(4)..count + 4])
    }

    /// What shows bytes or addresses, with its conversion.
    pub fn shown_bytes(&mut self) -> (&'static str, String) {
        let number = self.value(&Type::Int { bits: 32, signed: false }, 1);
        let array = Type::Array { bits: 8, signed: false, count: 4 };
        let bytes = self.composite(&array, 1);
        let variable = self.target(|t| *t == Type::INT64).filter(|_| !self.unordered);
        match (self.random.below(7), variable) {
            (5, _) => ("%s", self.name_of_number()),
            (6, _) => ("%s", format!("str_concat({}, {})", self.text_variable(), self.short_text())),
            (0, _) => ("%s", format!("ntop({number})")),
            (1, _) => ("%s", format!("ntop({bytes})")),
            (2, Some(v)) => ("%s", format!("macaddr(&{})", v.name)),
            (3, Some(v)) => {
                (*self.random.pick(&["%r", "%rx", "%rh"]), format!("buf(&{}, {})", v.name, 1 + self.random.below(8)))
            }
            (_, _) => ("%p", format!("(uint64){}", self.int_atom(1))),
        }
    }
}
