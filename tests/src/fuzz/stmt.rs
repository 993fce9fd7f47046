//! Statements, and what a part declares before them.

use super::types::{Map, Struct, Type, Variable};
use super::{Generator, Node};

/// Depth of expressions in statements.
pub const DEPTH: usize = 3;

/// Rounds of nested loops together: the verifier follows each of them.
const MOST_ROUNDS: usize = 24;

const AGGREGATIONS: &[&str] = &[
    "count()",
    "sum(#)",
    "min(#)",
    "max(#)",
    "avg(#)",
    "stats(#)",
    "hist(#)",
    "lhist(#, 0, 100, 10)",
    "hist(#, 2)",
    "sum((uint8)(#))",
    "max((uint64)(#))",
    "min((int16)(#))",
    "lhist(#, -50, 50, 7)",
];

impl Generator {
    /// Structs, macros and maps of the part, and some variables.
    pub fn prelude(&mut self) {
        if self.random.chance(30) {
            self.structure();
        }
        if self.random.chance(20) {
            self.enumeration();
        }
        if self.random.chance(40) {
            self.macro_definition();
        }
        for n in 0..self.random.below(5) {
            let mut keys: Vec<Type> = (0..self.random.weighted(&[3, 4, 2, 1])).map(|_| self.key_type()).collect();
            // 0.27.1 forgets the names of an enumeration where texts beside it differ in size.
            if self.common() && keys.len() > 1 {
                keys.iter_mut().filter(|k| **k == Type::Enum).for_each(|k| *k = Type::Bool);
            }
            let map = Map { name: format!("@m{}_{n}", self.part), keys, value: None, aggregation: "" };
            let aggregation = self.random.chance(35);
            let map = if aggregation {
                // 0.27.1 has no negative bounds of lhist; that one stands last.
                let list = &AGGREGATIONS[..AGGREGATIONS.len() - usize::from(self.common())];
                Map { aggregation: self.random.pick::<&str>(list), ..map }
            } else {
                Map { value: Some(self.value_type(0)), ..map }
            };
            self.maps.push(map);
        }
    }

    /// Gives every map a first value: a map that is only read is refused.
    pub fn first_values(&mut self) -> Vec<Node> {
        // Out of sight, so that no value reads a map that has none yet.
        let maps = std::mem::take(&mut self.maps);
        let mut line = |map: &Map| {
            let place = self.element(map);
            let value = match &map.value {
                Some(ty) => self.value(ty, 1),
                None => map.aggregation.replace('#', &self.random.below(9).to_string()),
            };
            Node::Line(format!("{place} = {value};"))
        };
        let mut lines: Vec<Node> = maps.iter().map(&mut line).collect();
        self.maps = maps;
        for n in 0..4 {
            let name = format!("$edge{n}");
            let value = *self.random.pick(super::expr::EDGES);
            lines.push(Node::Line(format!("{name} = (int64)({value});")));
            self.variables.push(Variable { name, ty: Type::INT64, mutable: false });
        }
        lines
    }

    fn structure(&mut self) {
        let name = format!("S{}", self.part);
        let mut text = format!("struct {name} {{");
        let (mut members, mut size) = (Vec::new(), 0);
        for n in 0..1 + self.random.below(4) {
            let (ty, bytes) = *self.random.pick(&[
                ("char", 1),
                ("unsigned char", 1),
                ("short", 2),
                ("unsigned short", 2),
                ("int", 4),
                ("unsigned int", 4),
                ("long", 8),
            ]);
            let bits = if bytes == 4 && self.random.chance(30) { 1 + self.random.below(20) } else { 0 };
            let field = format!("m{n}");
            if bits == 0 && self.random.chance(20) {
                text += &format!(" {ty} {field}[2];");
                members.push((format!("{field}[{}]", self.random.below(2)), false));
                size = (size / bytes + 3) * bytes;
                continue;
            }
            text += &if bits > 0 { format!(" {ty} {field}:{bits};") } else { format!(" {ty} {field};") };
            members.push((field, bits == 0));
            size = (size / bytes + 2) * bytes;
        }
        text += " };";
        self.items.push(text);
        if size <= 8 {
            self.struct_macro(&name);
        }
        self.structs.push(Struct { name, members, small: size <= 8 });
    }

    /// About `count` statements in a scope of their own.
    pub fn statements(&mut self, count: usize, depth: usize) -> Vec<Node> {
        let mark = self.variables.len();
        let mut out = Vec::new();
        for _ in 0..count {
            out.extend(self.statement(depth));
        }
        if self.unordered && self.random.chance(70) || !self.unordered && self.random.chance(50) {
            out.push(self.printf());
        }
        self.variables.truncate(mark);
        out
    }

    fn statement(&mut self, depth: usize) -> Vec<Node> {
        let nest = if depth < 3 { 6 } else { 0 };
        let outer = if self.unordered { 0 } else { 1 };
        let loops = if self.unordered { 0 } else { nest };
        match self.random.weighted(&[
            18,
            14 * outer,
            6 * outer,
            16 * outer,
            10 * outer,
            14,
            8 * outer,
            nest + 3,
            loops,
            loops / 2,
            loops,
            nest / 2,
            4 * outer,
            20,
        ]) {
            0 => vec![self.declaration()],
            1 => vec![self.assignment()],
            2 => vec![self.step()],
            3 => vec![self.map_assignment()],
            4 => vec![self.aggregation()],
            5 => vec![self.printf()],
            6 => vec![self.print()],
            7 => vec![self.condition(depth)],
            8 => vec![self.range_loop(depth)],
            9 => self.while_loop(depth),
            10 => self.map_loop(depth),
            11 => vec![self.unroll(depth)],
            12 => vec![self.deletion()],
            _ => self.rare_statement(depth),
        }
    }

    fn declaration(&mut self) -> Node {
        if !self.structs.is_empty() && self.random.chance(25) {
            return self.member();
        }
        let ty = self.value_type(0);
        let name = self.name("$v");
        let value = self.value(&ty, DEPTH);
        let line = match self.random.below(3) {
            0 => format!("let {name} = {value};"),
            1 if matches!(ty, Type::Int { .. } | Type::Bool | Type::Array { .. } | Type::Struct(_)) => {
                format!("let {name} : {} = {value};", ty.name())
            }
            _ => format!("{name} = {value};"),
        };
        self.variables.push(Variable { name, ty, mutable: true });
        Node::Line(line)
    }

    /// Reads a member of a struct: of an integer's bytes, or at a bad address.
    fn member(&mut self) -> Node {
        let s = self.structs[self.random.below(self.structs.len())].clone();
        let (field, _) = self.random.pick(&s.members).clone();
        let name = self.name("$v");
        let source = self.variables[self.readable.min(self.variables.len())..]
            .iter()
            .find(|v| v.mutable && v.ty == Type::INT64)
            .map(|v| v.name.clone());
        let pointer = match source {
            Some(v) if s.small => format!("(struct {} *)(&{v})", s.name),
            _ => format!("(struct {} *)0", s.name),
        };
        self.variables.push(Variable { name: name.clone(), ty: Type::INT64, mutable: true });
        let dot = *self.random.pick(&[".", "->"]);
        if s.small && self.random.chance(25) {
            let p = self.name("$p");
            return Node::Line(format!("{p} = {pointer}; {name} = (int64)({p}{dot}{field});"));
        }
        Node::Line(format!("{name} = (int64)(({pointer}){dot}{field});"))
    }

    /// A variable that may be assigned.
    pub fn target(&mut self, wanted: impl Fn(&Type) -> bool) -> Option<Variable> {
        let list: Vec<_> = self.variables.iter().filter(|v| v.mutable && wanted(&v.ty)).cloned().collect();
        if list.is_empty() { None } else { Some(self.random.pick(&list).clone()) }
    }

    fn assignment(&mut self) -> Node {
        let Some(v) = self.target(|_| true) else { return self.declaration() };
        if v.ty.is_int() && self.random.chance(50) {
            return Node::Line(self.compound(&v.name, &v.ty));
        }
        let value = self.value(&v.ty, DEPTH);
        Node::Line(format!("{} = {value};", v.name))
    }

    /// `place op= value`.
    pub fn compound(&mut self, place: &str, ty: &Type) -> String {
        let unsigned = matches!(ty, Type::Int { signed: false, .. });
        let ops: &[&str] = match self.common() && !unsigned {
            // As in expressions: no signed division, no signed shift to the right.
            true => &["+", "-", "*", "&", "|", "^"],
            false => &["+", "-", "*", "&", "|", "^", "/", "%", ">>", "<<"],
        };
        let op = *self.random.pick(ops);
        let value =
            if matches!(op, ">>" | "<<") { self.random.below(16).to_string() } else { self.value(ty, DEPTH - 1) };
        let value = if matches!(op, "/" | "%") { format!("({value} | 1)") } else { value };
        format!("{place} {op}= {value};")
    }

    fn step(&mut self) -> Node {
        // 0.27.1 reads `if (...) { } --$x` as a step of what the `if` gives.
        let forms: &[&str] = if self.common() { &["#++;", "#--;"] } else { &["#++;", "#--;", "++#;", "--#;"] };
        let form = *self.random.pick(forms);
        let place = match self.map(Type::is_int) {
            Some(m) if self.random.chance(50) => self.element(&m),
            _ => match self.target(Type::is_int) {
                Some(v) => v.name,
                None => return self.declaration(),
            },
        };
        Node::Line(form.replace('#', &place))
    }

    fn map_assignment(&mut self) -> Node {
        let Some(map) = self.map(|_| true) else { return self.assignment() };
        let place = self.element(&map);
        let ty = map.value.clone().unwrap_or(Type::INT64);
        if ty.is_int() && self.random.chance(30) {
            return Node::Line(self.compound(&place, &ty));
        }
        let value = self.value(&ty, DEPTH);
        Node::Line(format!("{place} = {value};"))
    }

    fn aggregation(&mut self) -> Node {
        let list: Vec<Map> = self.maps.iter().filter(|m| m.value.is_none()).cloned().collect();
        if list.is_empty() {
            return self.map_assignment();
        }
        let map = self.random.pick(&list).clone();
        let place = self.element(&map);
        let value = self.value(&Type::INT64, DEPTH);
        Node::Line(format!("{place} = {};", map.aggregation.replace('#', &value)))
    }

    /// A line that says what some values are.
    fn printf(&mut self) -> Node {
        let (mut format, mut args) = (self.name(if self.unordered { "~" } else { "l" }), String::new());
        for _ in 0..1 + self.random.below(4) {
            let (directive, value) = match self.random.below(8) {
                6 => self.rare_conversion(),
                0 => (*self.random.pick(&["%s", "%-8s|", "%12s"]), self.text(DEPTH - 1)),
                1 => (
                    *self.random.pick(&["%u", "%x", "%llx", "%08x", "%lu"]),
                    self.value(&Type::Int { bits: 64, signed: false }, DEPTH),
                ),
                2 => {
                    let ty = self.int_type();
                    (*self.random.pick(&["%d", "%5d", "%-5d|", "%ld"]), self.value(&ty, DEPTH))
                }
                _ => ("%lld", self.value(&Type::INT64, DEPTH)),
            };
            format = format!("{format} {directive}");
            args = format!("{args}, {value}");
        }
        Node::Line(format!("printf(\"{format}\\n\"{args});"))
    }

    fn print(&mut self) -> Node {
        if self.random.chance(20) {
            // 0.27.1 lays several such arguments out wrongly.
            let (ty, name) = (self.value_type(0), self.name(if self.unordered { "~" } else { "l" }));
            let ty = if ty.is_int() { Type::Bool } else { ty };
            return Node::Line(format!("printf(\"{name} %s\\n\", {});", self.value(&ty, DEPTH - 1)));
        }
        let value = match self.random.below(8) {
            0 => match self.map(|_| true) {
                Some(m) => self.element(&m),
                None => self.boolean(2),
            },
            1 => self.boolean(2),
            2 | 3 => self.int(DEPTH),
            _ => {
                let ty = self.value_type(0);
                self.value(&ty, DEPTH - 1)
            }
        };
        Node::Line(format!("print({value});"))
    }

    fn condition(&mut self, depth: usize) -> Node {
        let mut blocks = Vec::new();
        let count = 1 + self.random.below(3);
        for n in 0..count {
            let head = match n {
                0 => format!("if ({})", self.boolean(2)),
                _ if n + 1 == count && self.random.chance(70) => "else".to_owned(),
                _ => format!("else if ({})", self.boolean(2)),
            };
            let size = 1 + self.random.below(3);
            blocks.push((head, self.statements(size, depth + 1)));
        }
        Node::Blocks(blocks)
    }

    /// The body of a loop of `rounds` rounds.
    pub fn body(&mut self, rounds: usize, counter: Option<Variable>, depth: usize) -> Vec<Node> {
        let mark = self.variables.len();
        self.variables.extend(counter);
        self.loops += 1;
        self.rounds *= rounds.max(1);
        let size = 1 + self.random.below(3);
        let mut nodes = self.statements(size, depth + 1);
        if self.random.chance(25) {
            let word = if self.unordered || self.random.chance(50) { "continue" } else { "break" };
            let jump = (format!("if ({})", self.boolean(2)), vec![Node::Line(format!("{word};"))]);
            let at = self.random.below(nodes.len() + 1);
            // Its condition knows what is in scope at the start of the body.
            nodes.insert(at, Node::Blocks(vec![jump]));
        }
        self.rounds /= rounds.max(1);
        self.loops -= 1;
        self.variables.truncate(mark);
        nodes
    }

    fn most_rounds(&self) -> usize {
        (MOST_ROUNDS / self.rounds).min(6)
    }

    fn range_loop(&mut self, depth: usize) -> Node {
        let rounds = self.random.below(self.most_rounds() + 1);
        let name = self.name("$i");
        let start = self.random.below(5);
        let head = match self.random.below(4) {
            0 => format!("for {name} : {start}..{}", start + rounds),
            1 if self.modern() && !self.common() && !self.unordered => {
                format!("for ({name} : {start}..({} & 7))", self.int_atom(1))
            }
            _ => format!("for ({name} : {start}..{})", start + rounds),
        };
        let counter = Variable { name, ty: Type::INT64, mutable: false };
        Node::Blocks(vec![(head, self.body(rounds, Some(counter), depth))])
    }

    fn while_loop(&mut self, depth: usize) -> Vec<Node> {
        let rounds = self.random.below(self.most_rounds() + 1);
        let name = self.name("$w");
        let counter = Variable { name: name.clone(), ty: Type::INT64, mutable: false };
        self.variables.push(counter);
        let mut body = self.body(rounds, None, depth);
        // First, so that `continue` does not skip it.
        body.insert(0, Node::Line(format!("{name}++;")));
        let zero = Node::Line(format!("{name} = (int64)0;"));
        vec![zero, Node::Blocks(vec![(format!("while ({name} < {rounds})"), body)])]
    }

    fn unroll(&mut self, depth: usize) -> Node {
        let rounds = 1 + self.random.below(self.most_rounds().min(3));
        let mark = self.loops;
        let size = 1 + self.random.below(2);
        self.rounds *= rounds;
        let body = self.statements(size, depth + 1);
        self.rounds /= rounds;
        self.loops = mark;
        Node::Blocks(vec![(format!("unroll({rounds})"), body)])
    }

    /// Visits a map in hash order: adds up, prints lines that are sorted.
    fn map_loop(&mut self, depth: usize) -> Vec<Node> {
        let list: Vec<Map> = self.maps.iter().filter(|m| !m.keys.is_empty() && m.value.is_some()).cloned().collect();
        if list.is_empty() || !self.modern() {
            return vec![self.range_loop(depth)];
        }
        let map = self.random.pick(&list).clone();
        let (entry, sum) = (self.name("$kv"), self.name("$sum"));
        let (readable, rounds) = (self.readable, self.rounds);
        let key = if map.keys.len() == 1 { map.keys[0].clone() } else { Type::Tuple(map.keys.clone()) };
        let value = map.value.clone().unwrap_or(Type::INT64);
        self.readable = self.variables.len();
        self.unordered = true;
        self.rounds = MOST_ROUNDS;
        let counter = Variable { name: entry.clone(), ty: Type::Tuple(vec![key, value]), mutable: false };
        let hidden: Vec<Variable> = self.variables.iter().map(|v| Variable { mutable: false, ..v.clone() }).collect();
        let outer = std::mem::replace(&mut self.variables, hidden);
        let mut body = self.body(1, Some(counter.clone()), depth);
        self.variables.push(counter);
        body.push(Node::Line(format!("{sum} += {};", self.value(&Type::INT64, 2))));
        // What 0.27.1 makes of a loop in a loop does not always load.
        if !self.common() && self.random.chance(25) {
            let inner = self.random.pick(&list).name.clone();
            let (name, value) = (self.name("$kw"), self.value(&Type::INT64, 1));
            let line = Node::Line(format!("{sum} += {value};"));
            body.push(Node::Blocks(vec![(format!("for ({name} : {inner})"), vec![line])]));
        }
        self.variables = outer;
        self.unordered = false;
        (self.readable, self.rounds) = (readable, rounds);
        self.variables.push(Variable { name: sum.clone(), ty: Type::INT64, mutable: true });
        vec![
            Node::Line(format!("{sum} = (int64)0;")),
            Node::Blocks(vec![(format!("for ({entry} : {})", map.name), body)]),
        ]
    }

    fn deletion(&mut self) -> Node {
        let list: Vec<Map> = self.maps.iter().filter(|m| !m.keys.is_empty()).cloned().collect();
        if list.is_empty() {
            return self.assignment();
        }
        let map = self.random.pick(&list).clone();
        let element = self.element(&map);
        Node::Line(match self.random.below(6) {
            0 => format!("clear({});", map.name),
            1 => format!("zero({});", map.name),
            2 => format!("print({});", map.name),
            _ => format!("delete({element});"),
        })
    }
}
