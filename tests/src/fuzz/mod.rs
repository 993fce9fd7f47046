//! Random programs that are valid by construction.
//!
//! Input: a seed. Output: a [`Script`], the same for the same seed. A script is
//! made of parts that share nothing, so that a failure shrinks by leaving parts
//! out, then statements.
//!
//! What a script prints does not depend on chance: hash order shows only in
//! lines that begin with `~` or `@`, which [`check::normal`] sorts.

pub mod check;
mod expr;
mod forms;
pub mod large;
mod macros;
pub mod mutate;
mod narrow;
pub mod random;
pub mod shrink;
mod stmt;
mod texts;
mod types;
mod values;

use random::Random;
use std::fmt::Write as _;
use types::{Map, Struct, Type, Variable};

/// Which programs are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// All that btc accepts.
    Full,
    /// Of that, what kernels before 5.13 can load: no function walks a map there.
    Old,
    /// Without what bpftrace 0.27.1 refuses or computes otherwise, each for a
    /// reason that stands where it is left out.
    Common,
}

/// A statement, or several that belong to one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// One line.
    Line(String),
    /// `head { body }`, several for `if` with `else`.
    Blocks(Vec<(String, Vec<Node>)>),
}

/// A piece of a script that stands on its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// Structs, macros and map declarations.
    pub items: Vec<String>,
    /// What runs.
    pub body: Vec<Node>,
}

/// A whole program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// In the order in which they run.
    pub parts: Vec<Part>,
    /// Parts in one probe; the verifier's limits are for each probe.
    pub parts_per_probe: usize,
}

impl Script {
    /// How many probes it has.
    pub fn probes(&self) -> usize {
        self.parts.len().div_ceil(self.parts_per_probe.max(1)).max(1)
    }

    /// Its text.
    pub fn text(&self) -> String {
        let mut out = String::new();
        // Types stand before everything else.
        let is_type = |item: &&String| item.starts_with("struct") || item.starts_with("enum");
        let items = || self.parts.iter().flat_map(|p| &p.items);
        items().filter(is_type).for_each(|item| writeln!(out, "{item}").unwrap());
        items().filter(|i| !is_type(i)).for_each(|item| writeln!(out, "{item}").unwrap());
        for probe in self.parts.chunks(self.parts_per_probe.max(1)) {
            out.push_str("begin {\n");
            for part in probe {
                out.push_str("  if (1) {\n");
                write_nodes(&mut out, &part.body, 2);
                out.push_str("  }\n");
            }
            out.push_str("}\n");
        }
        if self.parts.is_empty() {
            out.push_str("begin { }\n");
        }
        out
    }
}

fn write_nodes(out: &mut String, nodes: &[Node], depth: usize) {
    let indent = "  ".repeat(depth);
    for node in nodes {
        match node {
            Node::Line(line) => writeln!(out, "{indent}{line}").unwrap(),
            Node::Blocks(blocks) => {
                for (n, (head, body)) in blocks.iter().enumerate() {
                    let glue = if n == 0 { indent.as_str() } else { " " };
                    writeln!(out, "{glue}{head} {{").unwrap();
                    write_nodes(out, body, depth + 1);
                    write!(out, "{indent}}}").unwrap();
                }
                out.push('\n');
            }
        }
    }
}

/// What the generator knows while it makes a part.
struct Generator {
    random: Random,
    dialect: Dialect,
    /// Number of the part: in the names of its maps and macros.
    part: usize,
    /// Variables in scope.
    variables: Vec<Variable>,
    /// First variable that may be read: bodies that run in hash order must not
    /// see what another round of them has changed.
    readable: usize,
    maps: Vec<Map>,
    structs: Vec<Struct>,
    /// Macros with one integer argument and an integer value.
    macros: Vec<String>,
    /// Has the part macros with parameters by reference?
    references: bool,
    /// Constants of the part's enumeration.
    enumerators: Vec<String>,
    items: Vec<String>,
    next_name: usize,
    /// Loops around the current statement, and whether one runs in hash order.
    loops: usize,
    unordered: bool,
    /// Rounds of the loops around the current statement, multiplied.
    rounds: usize,
}

impl Generator {
    fn name(&mut self, prefix: &str) -> String {
        self.next_name += 1;
        format!("{prefix}{}", self.next_name)
    }

    fn common(&self) -> bool {
        self.dialect == Dialect::Common
    }

    /// Can the kernel call a function for each entry of a map, or round of a loop?
    fn modern(&self) -> bool {
        self.dialect != Dialect::Old
    }

    fn readable(&self) -> &[Variable] {
        &self.variables[self.readable.min(self.variables.len())..]
    }

    /// A readable variable of a type for which `wanted` holds.
    fn variable(&mut self, wanted: impl Fn(&Type) -> bool) -> Option<Variable> {
        let list: Vec<_> = self.readable().iter().filter(|v| wanted(&v.ty)).cloned().collect();
        if list.is_empty() { None } else { Some(self.random.pick(&list).clone()) }
    }

    /// A map whose value has a type for which `wanted` holds.
    fn map(&mut self, wanted: impl Fn(&Type) -> bool) -> Option<Map> {
        if self.unordered {
            return None;
        }
        let list: Vec<_> = self.maps.iter().filter(|m| m.value.as_ref().is_some_and(&wanted)).cloned().collect();
        if list.is_empty() { None } else { Some(self.random.pick(&list).clone()) }
    }
}

/// Makes a program: `parts` pieces of about `statements` statements.
pub fn generate(seed: u64, dialect: Dialect, parts: usize, statements: usize) -> Script {
    let mut random = Random::new(seed);
    let parts_per_probe = 1 + random.below(4);
    let part = |number| {
        let mut g = Generator {
            random: Random::new(random.word()),
            dialect,
            part: number,
            variables: Vec::new(),
            readable: 0,
            maps: Vec::new(),
            structs: Vec::new(),
            macros: Vec::new(),
            references: false,
            enumerators: Vec::new(),
            items: Vec::new(),
            next_name: 0,
            loops: 0,
            unordered: false,
            rounds: 1,
        };
        g.prelude();
        let mut body = g.first_values();
        body.extend(g.statements(statements, 0));
        Part { items: g.items, body }
    };
    Script { parts: (0..parts).map(part).collect(), parts_per_probe }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_script() {
        for seed in 0..50 {
            let make = || generate(seed, Dialect::Full, 3, 8);
            assert_eq!(make(), make());
        }
        assert_ne!(generate(1, Dialect::Full, 3, 8), generate(2, Dialect::Full, 3, 8));
    }

    #[test]
    fn brackets_match() {
        for seed in 0..200 {
            let text = generate(seed, Dialect::Full, 4, 10).text();
            for (open, close) in [('{', '}'), ('(', ')'), ('[', ']')] {
                assert_eq!(text.matches(open).count(), text.matches(close).count(), "{text}");
            }
        }
    }
}
