//! Expressions of a wanted type.

use super::Generator;
use super::types::{Map, Type};

/// Integers at which widths and signs change.
pub const EDGES: &[&str] = &[
    "0",
    "1",
    "2",
    "3",
    "7",
    "8",
    "10",
    "63",
    "64",
    "100",
    "127",
    "128",
    "255",
    "256",
    "1000",
    "32767",
    "32768",
    "65535",
    "65536",
    "2147483647",
    "2147483648",
    "4294967295",
    "4294967296",
    "9223372036854775807",
    "0x7f",
    "0xff",
    "0xffff",
    "0x80000000",
    "0xdeadbeef",
    "0x123456789abcdef",
    "0777",
    "1e3",
    "1_000_000",
    "-1",
    "-2",
    "-7",
    "-128",
    "-129",
    "-32768",
    "-2147483648",
    "-2147483649",
];

const WORDS: &[&str] =
    &["", "a", "b", "ab", "abc", "abd", "hello", "hello world", "x y", "0123456789abcdef", "\\\"q\\\"", "A\\tB"];

impl Generator {
    /// An integer of no particular width.
    pub fn int(&mut self, depth: usize) -> String {
        if depth == 0 || self.random.chance(25) {
            return self.int_leaf();
        }
        match self.random.weighted(&[30, 10, 8, 8, 12, 6, 8, 4, 4, 4, 3, 14]) {
            0 => self.arithmetic(depth),
            1 => self.bits(depth),
            2 => self.shift(depth),
            3 => self.division(depth),
            4 => self.casts(depth),
            5 => self.sign(depth),
            // As in `text_number`: of no literals alone.
            6 if self.common() => {
                format!("({} ? (int64){} : {})", self.boolean(depth - 1), self.int_atom(depth - 1), self.int(depth - 1))
            }
            6 => format!("({} ? {} : {})", self.boolean(depth - 1), self.int(depth - 1), self.int(depth - 1)),
            // 0.27.1 takes `(true) !=` for the call of a macro.
            7 if self.common() => format!("({} ? (int64)1 : 0)", self.boolean(depth - 1)),
            7 => format!("(int64)({})", self.boolean(depth - 1)),
            8 => self.text_number(depth),
            9 => self.map_number(depth),
            11 => self.rare_int(depth),
            // 0.27.1 loses the value of a block within an operation.
            _ if self.common() => self.int_leaf(),
            _ => self.block_value(depth),
        }
    }

    /// As [`Self::int`], in a form that any prefix may stand before.
    pub fn int_atom(&mut self, depth: usize) -> String {
        let text = self.int(depth);
        let plain = text.chars().all(|c| c.is_ascii_alphanumeric() || c == '$' || c == '_');
        if plain { text } else { format!("({text})") }
    }

    pub fn int_leaf(&mut self) -> String {
        match self.random.weighted(&[35, 45, 12, 8]) {
            1 => match self.variable(Type::is_int) {
                Some(v) => v.name,
                None => self.literal(),
            },
            2 => match self.map(Type::is_int) {
                Some(m) => self.element(&m),
                None => self.literal(),
            },
            3 => self.component(&Type::is_int).unwrap_or_else(|| self.literal()),
            _ => self.literal(),
        }
    }

    pub fn literal(&mut self) -> String {
        // Constants that overflow are refused: the edges are in variables.
        self.random.below(20).to_string()
    }

    fn arithmetic(&mut self, depth: usize) -> String {
        let op = *self.random.pick(&["+", "-", "*"]);
        format!("({} {op} {})", self.int(depth - 1), self.int(depth - 1))
    }

    fn bits(&mut self, depth: usize) -> String {
        let op = *self.random.pick(&["&", "|", "^"]);
        format!("({} {op} {})", self.int(depth - 1), self.int(depth - 1))
    }

    fn shift(&mut self, depth: usize) -> String {
        let by = if self.random.chance(70) {
            self.random.below(64).to_string()
        } else {
            format!("({} & 63)", self.int_atom(depth - 1))
        };
        let value = self.int_atom(depth - 1);
        if self.random.chance(50) {
            return format!("((int64){value} << {by})");
        }
        // 0.27.1 shifts signed values to the right without their sign.
        if self.common() { format!("((uint64){value} >> {by})") } else { format!("({value} >> {by})") }
    }

    fn division(&mut self, depth: usize) -> String {
        let op = *self.random.pick(&["/", "%"]);
        let (left, right) = (self.int_atom(depth - 1), self.int_atom(depth - 1));
        // 0.27.1 divides signed values as unsigned ones, and LLVM takes it that nobody divides by zero.
        if self.common() {
            return format!("((uint64){left} {op} ((uint64){right} | 1))");
        }
        // A constant divisor of zero is refused, a variable that happens to be zero is not.
        let right = match self.variable(Type::is_int) {
            Some(v) if self.random.chance(80) => format!("({right} & (int64){})", v.name),
            _ => (1 + self.random.below(9)).to_string(),
        };
        format!("({left} {op} {right})")
    }

    fn sign(&mut self, depth: usize) -> String {
        let op = *self.random.pick(&["-", "~", "+"]);
        let value = self.int_atom(depth - 1);
        // 0.27.1 prints the negation of narrow values as unsigned, and has no unary plus.
        match op {
            "-" => format!("(-(int64){value})"),
            "+" if !self.common() => format!("(+{value})"),
            // Nor are complements of narrow signed values negative there.
            _ if self.common() => format!("(~(uint64){value})"),
            _ => format!("(~{value})"),
        }
    }

    fn map_number(&mut self, depth: usize) -> String {
        let known = |m: &&Map| !m.keys.is_empty() && self.can_be_asked(m);
        let keyed: Vec<Map> = self.maps.iter().filter(known).cloned().collect();
        if self.unordered || keyed.is_empty() {
            return self.macro_call(depth);
        }
        let map = self.random.pick(&keyed).clone();
        if self.modern() && self.random.chance(30) {
            return format!("len({})", map.name);
        }
        let keys: Vec<String> = map.keys.iter().map(|k| self.value(k, depth - 1)).collect();
        let key = if keys.len() == 1 { keys[0].clone() } else { format!("({})", keys.join(", ")) };
        format!("(has_key({}, {key}) ? (int64)5 : 6)", map.name)
    }

    fn macro_call(&mut self, depth: usize) -> String {
        if self.macros.is_empty() {
            return self.int_leaf();
        }
        let name = self.random.pick(&self.macros).clone();
        // 0.27.1 mixes up the variables of a macro within the same macro's argument.
        let argument = if self.common() { self.literal() } else { self.int(depth - 1) };
        format!("{name}({argument})")
    }

    fn block_value(&mut self, depth: usize) -> String {
        let name = self.name("$b");
        let value = self.int(depth - 1);
        format!("{{ let {name} = (int64)({value}); {name} + {} }}", self.int_leaf())
    }

    pub fn boolean(&mut self, depth: usize) -> String {
        if depth == 0 {
            return match self.variable(|t| *t == Type::Bool) {
                Some(v) if self.random.chance(40) => v.name,
                _ => (*self.random.pick(&["true", "false"])).to_owned(),
            };
        }
        match self.random.weighted(&[50, 15, 15, 10, 5, 5, 2]) {
            0 => self.comparison(depth),
            1 => {
                let op = *self.random.pick(&["&&", "||"]);
                format!("({} {op} {})", self.boolean(depth - 1), self.boolean(depth - 1))
            }
            2 => {
                let op = *self.random.pick(&["==", "!="]);
                format!("({} {op} {})", self.text(depth - 1), self.text(depth - 1))
            }
            3 => format!("(!{})", self.boolean(depth - 1)),
            4 => self.same_values(depth),
            6 => self.named_number(),
            _ => format!("((bool){})", self.int_atom(depth - 1)),
        }
    }

    fn comparison(&mut self, depth: usize) -> String {
        let op = *self.random.pick(&["<", "<=", ">", ">=", "==", "!="]);
        format!("({} {op} {})", self.int(depth - 1), self.int(depth - 1))
    }

    pub fn text_literal(&mut self) -> String {
        if self.random.chance(4) {
            return format!("\"{}\"", "long ".repeat(1 + self.random.below(30)));
        }
        format!("\"{}\"", self.random.pick(WORDS))
    }

    pub fn text(&mut self, depth: usize) -> String {
        if depth > 0 && self.random.chance(15) {
            return format!("({} ? {} : {})", self.boolean(depth - 1), self.text(depth - 1), self.text(depth - 1));
        }
        match self.random.weighted(&[40, 35, 15, 10, 4]) {
            1 => match self.variable(|t| *t == Type::Text) {
                Some(v) => v.name,
                None => self.text_literal(),
            },
            2 => match self.map(|t| *t == Type::Text) {
                Some(m) => self.element(&m),
                None => self.text_literal(),
            },
            3 => self.component(&|t: &Type| *t == Type::Text).unwrap_or_else(|| self.text_literal()),
            4 => self.joined_texts(),
            _ => self.text_literal(),
        }
    }

    /// A value of just that type.
    pub fn value(&mut self, ty: &Type, depth: usize) -> String {
        match ty {
            Type::Int { .. } => format!("({}){}", ty.name(), self.int_atom(depth)),
            Type::Bool => self.boolean(depth.max(1)),
            Type::Text => self.text(depth),
            _ => self.composite(ty, depth),
        }
    }

    /// `@name[keys]`.
    pub fn element(&mut self, map: &Map) -> String {
        if map.keys.is_empty() {
            return map.name.clone();
        }
        let mut keys: Vec<_> = map.keys.iter().map(|k| self.key(k)).collect();
        // 0.27.1 writes a key twice for `@m[key]++` and its kin, and so declares its variables twice.
        while self.common() && keys.iter().any(|key| key.contains("str_concat")) {
            keys = map.keys.iter().map(|k| self.key(k)).collect();
        }
        format!("{}[{}]", map.name, keys.join(", "))
    }

    /// A key out of few, so that they meet.
    fn key(&mut self, ty: &Type) -> String {
        match ty {
            Type::Int { .. } if self.random.chance(80) => format!("({}){}", ty.name(), self.random.below(4)),
            Type::Tuple(list) => {
                let parts: Vec<_> = list.iter().map(|t| self.key(t)).collect();
                format!("({})", parts.join(", "))
            }
            // Made of few numbers, not read from elsewhere.
            Type::Array { bits, count, .. } if self.random.chance(80) => {
                format!("({})(uint{}){}", ty.name(), bits * count, self.random.below(4))
            }
            Type::Struct(name) if self.random.chance(80) => format!("make{name}({})", self.random.below(4)),
            _ => self.value(ty, 1),
        }
    }
}
