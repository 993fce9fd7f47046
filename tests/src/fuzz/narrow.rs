//! Numbers at the edges of narrow types: what wraps, widens and changes sign.

use super::types::{Map, Type, Variable};
use super::{Generator, Node};

/// Least and greatest values of narrow types, and their neighbours.
const NARROW: &[(&str, u32, bool)] = &[
    ("127", 8, true),
    ("-128", 8, true),
    ("-1", 8, true),
    ("255", 8, false),
    ("0", 8, false),
    ("32767", 16, true),
    ("-32768", 16, true),
    ("65535", 16, false),
    ("2147483647", 32, true),
    ("-2147483648", 32, true),
    ("4294967295", 32, false),
    ("0", 32, false),
    ("0", 64, false),
];

impl Generator {
    /// A variable at the edge of its type.
    pub fn narrow_edge(&mut self) -> Node {
        let (value, bits, signed) = *self.random.pick(NARROW);
        let (name, ty) = (self.name("$n"), Type::Int { bits, signed });
        // A declared type stays, another one widens.
        let line = if self.random.chance(50) {
            format!("let {name} : {} = ({})({value});", ty.name(), ty.name())
        } else {
            format!("{name} = ({})({value});", ty.name())
        };
        self.variables.push(Variable { name, ty, mutable: true });
        Node::Line(line)
    }

    /// A number through casts of several widths.
    pub fn casts(&mut self, depth: usize) -> String {
        let mut text = self.int_atom(depth - 1);
        for _ in 0..1 + self.random.weighted(&[6, 3, 1]) {
            text = format!("({}){text}", self.int_type().name());
        }
        text
    }

    /// Where a step may be made: a variable, or an element of a map.
    fn stepped(&mut self) -> Option<String> {
        if self.random.chance(50)
            && let Some(map) = self.map(Type::is_int)
        {
            return Some(self.element(&map));
        }
        self.target(Type::is_int).map(|v| v.name)
    }

    /// The value of a step, shown and kept: nothing else in the line may see it.
    pub fn step_values(&mut self) -> Vec<Node> {
        if self.unordered {
            return vec![self.printf_line()];
        }
        let Some(place) = self.stepped() else { return vec![self.printf_line()] };
        let form = *self.random.pick(&["#++", "#--", "++#", "--#"]);
        let step = form.replace('#', &place);
        let name = self.name("$t");
        let line = match self.random.below(3) {
            0 => format!("print({step});"),
            1 => format!("{name} = (int64)({step}) + 1; print({name});"),
            _ => format!("printf(\"%d\\n\", {step});"),
        };
        vec![Node::Line(line), Node::Line(format!("print({place});"))]
    }

    /// Shifts by any number, division by any.
    pub fn unbounded(&mut self, depth: usize) -> String {
        let value = self.int_atom(depth - 1);
        let Some(other) = self.variable(|t| *t == Type::INT64) else { return self.int_leaf() };
        let op = *self.random.pick(&["<<", ">>", "/", "%"]);
        match self.random.below(3) {
            0 => format!("({value} {op} {})", other.name),
            1 => format!("({value} {op} ({} & 127))", other.name),
            _ => format!("(({}){value} {op} ({}){})", self.int_type().name(), self.int_type().name(), other.name),
        }
    }

    /// Values of one thread: filled, used, taken away.
    pub fn per_thread(&mut self) -> Vec<Node> {
        if self.unordered || self.loops > 0 {
            return vec![self.printf_line()];
        }
        let (part, number) = (self.part, self.name(""));
        let ty = self.value_type(1);
        let key = self.key_type();
        let second = if self.random.chance(30) { Some(self.value(&key, 1)) } else { None };
        let place = match &second {
            Some(key) => format!("@p{part}_{number}[tid, {key}]"),
            None => format!("@p{part}_{number}[tid]"),
        };
        let mut lines = vec![format!("{place} = {};", self.value(&ty, 2))];
        if ty.is_int() {
            lines.push(self.compound(&place, &ty));
        }
        lines.push(format!("print({place});"));
        lines.push(match &second {
            Some(_) => format!("clear(@p{part}_{number});"),
            None => format!("delete(@p{part}_{number}, tid);"),
        });
        lines.into_iter().map(Node::Line).collect()
    }

    /// A map that loses entries while a loop walks it; a loop that ends early.
    pub fn walk(&mut self) -> Vec<Node> {
        let wanted = |m: &&Map| m.keys.len() == 1 && m.value.as_ref().is_some_and(Type::is_int);
        let Some(map) = self.maps.iter().find(wanted).cloned() else { return vec![self.printf_line()] };
        if self.unordered || !self.modern() || self.loops > 0 {
            return vec![self.printf_line()];
        }
        let (entry, count) = (self.name("$kx"), self.name("$c"));
        let limit = self.random.below(20);
        let body = match self.random.below(3) {
            0 => format!("if ($kv.1 > {limit}) {{ delete({}, $kv.0); }} else {{ {count} += (int64)$kv.1; }}", map.name),
            1 => format!("if ($kv.1 == {limit}) {{ continue; }} {count}++;"),
            // 0.27.1's code for leaving such a loop does not load.
            _ if self.common() => format!("{count} += (int64)$kv.1 * 3;"),
            _ => format!("{count}++; if ({count} == 2) {{ break; }}"),
        };
        let body = Node::Line(body.replace("$kv", &entry));
        let mut nodes = vec![
            Node::Line(format!("{count} = (int64)0;")),
            Node::Blocks(vec![(format!("for ({entry} : {})", map.name), vec![body])]),
        ];
        nodes.push(Node::Line(format!(
            "print(({count}, {}));",
            if self.common() { "1".to_owned() } else { format!("len({})", map.name) }
        )));
        nodes
    }
}
