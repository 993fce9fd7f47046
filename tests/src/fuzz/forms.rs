//! Forms of expressions and statements that scripts use less often.

use super::stmt::DEPTH;
use super::types::{Map, Type, Variable};
use super::{Generator, Node};

impl Generator {
    /// `enum E { ... };` whose constants expressions may use.
    pub fn enumeration(&mut self) {
        let (mut text, mut next) = (format!("enum E{} {{", self.part), 0i64);
        for n in 0..2 + self.random.below(3) {
            let name = format!("E{}_{n}", self.part);
            if self.random.chance(40) {
                next += self.random.below(100) as i64;
                text += &format!(" {name} = {next},");
            } else {
                text += &format!(" {name},");
            }
            next += 1;
            self.enumerators.push(name);
        }
        self.items.push(text + " };");
    }

    /// An integer, by something rare.
    pub fn rare_int(&mut self, depth: usize) -> String {
        match self.random.below(11) {
            0 => {
                let bits = *self.random.pick(&[8, 16, 32, 64]);
                format!("(int64)bswap((uint{bits}){})", self.int_atom(depth - 1))
            }
            1 if !self.enumerators.is_empty() => {
                let name = self.random.pick(&self.enumerators).clone();
                format!("(int64){name}")
            }
            2 => self.element_of_bytes(depth),
            3 => self.behind_address(),
            4 if !self.common() => format!("({} ?: {})", self.int(depth - 1), self.int(depth - 1)),
            5 if !self.common() => self.step_value(),
            6 if !self.common() => format!("(int64)({})[{}]", self.text_of(6), self.random.below(6)),
            7 if !self.common() => (*self.random.pick(&["'a'", "'\\n'", "5u", "7ull", "0x10L", "3l"])).to_owned(),
            8 if !self.common() => self.find(),
            9 => self.option(),
            // 0.27.1 lets LLVM take it that nobody divides by zero or shifts by 64.
            10 if !self.common() => self.unbounded(depth),
            _ => self.int_leaf(),
        }
    }

    /// One element of an integer's bytes.
    fn element_of_bytes(&mut self, depth: usize) -> String {
        let (ty, count) = *self.random.pick(&[("int8", 8), ("uint8", 8), ("int16", 4), ("uint32", 2)]);
        let at = self.random.below(count);
        format!("(int64)((({ty}[{count}])((int64){}))[{at}])", self.int_atom(depth - 1))
    }

    /// Part of a variable, by its address.
    fn behind_address(&mut self) -> String {
        let Some(v) = self.variable(|t| *t == Type::INT64) else { return self.int_leaf() };
        // A counter lives in a register; its address would make it a variable of another kind.
        if !v.mutable {
            return v.name;
        }
        let (ty, count) = *self.random.pick(&[("int8", 8), ("uint8", 8), ("int16", 4), ("uint32", 2), ("int64", 1)]);
        match self.random.below(count) {
            0 => format!("(int64)(*({ty} *)(&{}))", v.name),
            n => format!("(int64)(*(({ty} *)(&{}) + {n}))", v.name),
        }
    }

    /// The value of `$v++` and its like.
    fn step_value(&mut self) -> String {
        let form = *self.random.pick(&["(#++)", "(#--)", "(++#)", "(--#)"]);
        match self.target(|t| *t == Type::INT64) {
            // What runs in hash order must not change what lies outside.
            Some(v) if !self.unordered => format!("(int64){}", form.replace('#', &v.name)),
            _ => self.int_leaf(),
        }
    }

    /// `find(@m, key, $v)`; the value of the block.
    fn find(&mut self) -> String {
        let keyed = |m: &&Map| m.keys.len() == 1 && m.value.as_ref().is_some_and(Type::is_int);
        let Some(map) = self.maps.iter().find(keyed).cloned() else { return self.int_leaf() };
        if self.unordered {
            return self.int_leaf();
        }
        let name = self.name("$f");
        let (ty, key) = (map.value.clone().unwrap_or(Type::INT64), self.value(&map.keys[0], 1));
        format!(
            "{{ let {name} : {} = ({})0; (find({}, {key}, {name}) ? (int64){name} : 77) }}",
            ty.name(),
            ty.name(),
            map.name
        )
    }

    /// A conversion of printf that is rare, and its argument.
    pub fn rare_conversion(&mut self) -> (&'static str, String) {
        let number = Type::Int { bits: 32, signed: true };
        if self.random.chance(25) {
            return self.shown_bytes();
        }
        match self.random.below(if self.common() { 4 } else { 7 }) {
            0 => ("%c", format!("(int8)(65 + ({} & 15))", self.int_atom(1))),
            1 => (
                *self.random.pick(&["%o", "%X", "%lX", "%#x"]),
                self.value(&Type::Int { bits: 64, signed: false }, DEPTH),
            ),
            // 0.27.1 fills with zeros before the sign.
            2 if self.common() => (*self.random.pick(&["%i", "%3d", "%-9d|"]), self.value(&number, DEPTH)),
            2 => (*self.random.pick(&["%i", "%3d", "%-9d|", "%09d"]), self.value(&number, DEPTH)),
            3 => (*self.random.pick(&["%hhd", "%hd", "%hhx", "%hu"]), self.value(&number, DEPTH)),
            4 => (*self.random.pick(&["%+d", "% d", "%+6d|", "%-+8d|"]), self.value(&number, DEPTH)),
            5 => (*self.random.pick(&["%.3s|", "%-9.2s|", "%6.4s", "%.0s|"]), self.text(DEPTH - 1)),
            _ => (*self.random.pick(&["%d", "%s", "%5s"]), self.boolean(DEPTH)),
        }
    }

    /// A statement, by something rare.
    pub fn rare_statement(&mut self, depth: usize) -> Vec<Node> {
        match self.random.below(14) {
            0 => {
                let size = 1 + self.random.below(3);
                vec![Node::Blocks(vec![(String::new(), self.statements(size, depth + 1))])]
            }
            1 => self.declaration_without_value(),
            // What stands behind it in the probe must not depend on hash order.
            2 if !self.unordered && depth > 0 => {
                let jump = vec![Node::Line("return;".to_owned())];
                vec![Node::Blocks(vec![(format!("if ({})", self.boolean(2)), jump)])]
            }
            3 if !self.common() => self.series(),
            4 if !self.unordered => self.condition_on_deletion(depth),
            5 if !self.common() => self.struct_value(),
            6 if !self.enumerators.is_empty() && !self.common() => {
                let name = self.random.pick(&self.enumerators).clone();
                let prefix = if self.unordered { "~" } else { "" };
                vec![Node::Line(format!("printf(\"{prefix}%s %d\\n\", (enum E{}){name}, {name});", self.part))]
            }
            7 => vec![self.narrow_edge()],
            8 | 9 => self.step_values(),
            10 => self.per_thread(),
            11 => self.walk(),
            12 => self.reference(),
            _ if !self.unordered && !self.common() => self.wide_tuple(),
            _ => vec![self.printf_line()],
        }
    }

    fn declaration_without_value(&mut self) -> Vec<Node> {
        let (name, ty) = (self.name("$z"), self.int_type());
        let line = format!("let {name} : {};", ty.name());
        self.variables.push(Variable { name, ty, mutable: true });
        vec![Node::Line(line)]
    }

    /// A series, whose buckets depend on the time: it is filled, not shown.
    fn series(&mut self) -> Vec<Node> {
        let (part, number, value) = (self.part, self.name(""), self.int(2));
        let map = format!("@t{part}_{number}");
        let function = *self.random.pick(&["", ", \"sum\"", ", \"max\"", ", \"avg\""]);
        let fill = format!("{map} = tseries((int64)({value}), 100ms, 5{function});");
        vec![Node::Line(fill), Node::Line(format!("clear({map});"))]
    }

    fn condition_on_deletion(&mut self, depth: usize) -> Vec<Node> {
        let known = |m: &&Map| m.keys.len() == 1 && self.can_be_asked(m);
        let list: Vec<Map> = self.maps.iter().filter(known).cloned().collect();
        if list.is_empty() {
            return vec![self.printf_line()];
        }
        let map = self.random.pick(&list).clone();
        let key = self.value(&map.keys[0], 1);
        let size = 1 + self.random.below(2);
        let body = self.statements(size, depth + 1);
        vec![Node::Blocks(vec![(format!("if (delete({}, {key}))", map.name), body)])]
    }

    /// A struct by value, from the bytes of a variable.
    fn struct_value(&mut self) -> Vec<Node> {
        let Some(s) = self.structs.iter().find(|s| s.small).cloned() else { return vec![self.printf_line()] };
        if self.unordered {
            return vec![self.printf_line()];
        }
        // A variable of its own: the address of others is taken elsewhere.
        let (bytes, copy, value) = (self.name("$y"), self.name("$s"), self.int(2));
        let member = self.random.pick(&s.members).0.clone();
        vec![
            Node::Line(format!("{bytes} = (int64)({value});")),
            Node::Line(format!("{copy} = *(struct {} *)(&{bytes});", s.name)),
            Node::Line(format!("print(({copy}.{member}, {bytes}));")),
        ]
    }

    /// A tuple of tuples of texts, compared, shown and kept in a map.
    fn wide_tuple(&mut self) -> Vec<Node> {
        let (part, name, number) = (self.part, self.name("$w"), self.name(""));
        let map = format!("@w{part}_{number}");
        let inner = Type::Tuple(vec![Type::Text, self.int_type()]);
        let ty = Type::Tuple(vec![inner.clone(), self.int_type(), inner, Type::Bool]);
        let (one, two) = (self.value(&ty, 2), self.value(&ty, 2));
        vec![
            Node::Line(format!("{name} = {one};")),
            Node::Line(format!("if ({name} == {two}) {{ print({name}.0); }} else {{ print({name}); }}")),
            Node::Line(format!("{map}[{name}, {name}.0.1] = {name}.2;")),
        ]
    }

    /// Shows an integer.
    pub fn printf_line(&mut self) -> Node {
        let (name, value) = (self.name(if self.unordered { "~" } else { "l" }), self.value(&Type::INT64, DEPTH));
        Node::Line(format!("printf(\"{name} %lld\\n\", {value});"))
    }
}
