//! Macros with blocks, parameters by reference, and options of the command line.

use super::types::{Map, Type};
use super::{Generator, Node};

impl Generator {
    /// A macro sees nothing but its parameters.
    pub fn macro_definition(&mut self) {
        let part = self.part;
        let name = format!("macro{part}");
        let local = super::types::Variable { name: "$local".to_owned(), ty: Type::INT64, mutable: false };
        self.variables.push(local);
        let (one, two) = (self.int(2), self.int(1));
        self.variables.clear();
        let rounds = 1 + self.random.below(4);
        let body = match self.random.below(4) {
            0 | 1 => format!("let $local = (int64)(x); $local + {one} + (x & {two})"),
            2 => format!(
                "let $local = (int64)(x); let $r = (int64)0; if ($local > 5) {{ $r = {one}; }} \
                 else if ($local == 5) {{ $r = -1; }} else {{ $r = {two}; }} $r"
            ),
            _ => format!(
                "let $local = (int64)(x); let $r = (int64)0; for ($i : 0..{rounds}) \
                 {{ if ($i == 2) {{ continue; }} $r += {two}; }} $r + $local"
            ),
        };
        self.items.push(format!("macro {name}(x) {{ {body} }}"));
        self.macros.push(name);
        if self.random.chance(50) {
            self.items.push(format!("macro bump{part}($x, n) {{ $x += n; $x }}"));
            self.items.push(format!(
                "macro put{part}(@m, k) {{ if (has_key(@m, k)) {{ @m[k] += 1; }} else {{ @m[k] = 10; }} @m[k] }}"
            ));
            self.references = true;
        }
    }

    /// A macro that makes a struct of an integer's bytes.
    pub fn struct_macro(&mut self, name: &str) {
        self.items.push(format!("macro make{name}(x) {{ let $bytes = (int64)(x); *(struct {name} *)(&$bytes) }}"));
    }

    /// A macro that changes what it is given.
    pub fn reference(&mut self) -> Vec<Node> {
        if self.unordered || !self.references {
            return vec![self.printf_line()];
        }
        let (part, number) = (self.part, self.random.below(9));
        let one_key = |m: &&Map| m.keys.len() == 1 && m.value == Some(Type::INT64);
        if let Some(map) = self.maps.iter().find(one_key).cloned()
            && self.random.chance(50)
        {
            let key = self.value(&map.keys[0], 0);
            return vec![Node::Line(format!("print(put{part}({}, {key}));", map.name))];
        }
        match self.target(|t| *t == Type::INT64) {
            Some(v) => vec![Node::Line(format!("print(bump{part}({}, {number}));", v.name))],
            None => vec![self.printf_line()],
        }
    }

    /// The default of an option that is not given.
    pub fn option(&mut self) -> String {
        let (part, number) = (self.part, self.name(""));
        // 0.27.1's code for options and loops in one probe does not load.
        if self.common() {
            return self.int_leaf();
        }
        match self.random.below(3) {
            0 => format!("(int64)getopt(\"n{part}-{number}\", {})", self.random.below(100)),
            1 => format!("(getopt(\"b{part}-{number}\") ? 1 : 2)"),
            _ => format!("(getopt(\"s{part}-{number}\", \"text\", \"a text\") == \"text\" ? 1 : 2)"),
        }
    }
}
