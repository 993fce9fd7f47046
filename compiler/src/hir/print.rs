//! The typed tree as text, for `--emit hir`.
//!
//! In: a program and the store its C types are in. Out: text; same input, same
//! bytes. Every expression shows its type where that is not obvious from its
//! operands, so that a dump tells what sema decided.

use std::fmt::Write as _;

use crate::ctypes::TypeStore;
use crate::hir::tree::{Block, Expr, ExprKind, LocalId, Place, Probe, Program, Slot, Stmt, StmtKind, TracepointField};
use crate::hir::types::{Space, Type};
use btc_payload::manifest::MapId;

/// The whole program.
pub fn dump(program: &Program, types: &TypeStore) -> String {
    let mut out = String::new();
    for (i, m) in program.maps.iter().enumerate() {
        let (key, value) = (type_name(&m.key, types), type_name(&m.value, types));
        let entries = m.max_entries.map_or(String::new(), |n| format!(" entries {n}"));
        // Writing to a String cannot fail.
        let _ = writeln!(out, "map {i} {}[{key}]: {value} {:?}{entries}", m.name, m.kind);
    }
    for (i, s) in program.slots.iter().enumerate() {
        let Slot { value, ty } = s;
        let _ = writeln!(out, "start {i} {value:?}: {}", type_name(ty, types));
    }
    for (i, e) in program.events.iter().enumerate() {
        let fields: Vec<String> = e.fields.iter().map(|t| type_name(t, types)).collect();
        let _ = writeln!(out, "event {i} ({}) {:?}", fields.join(", "), e.action);
    }
    for p in &program.probes {
        let mut printer = Printer { program, probe: p, types, out: &mut out, depth: 0 };
        printer.probe();
    }
    out
}

/// A type in the script's words.
pub fn type_name(ty: &Type, types: &TypeStore) -> String {
    let list = |elems: &mut dyn Iterator<Item = String>| elems.collect::<Vec<_>>().join(", ");
    match ty {
        Type::Void => "void".into(),
        Type::Bool => "bool".into(),
        Type::Int { size, signed } => format!("{}int{}", if *signed { "" } else { "u" }, u32::from(*size) * 8),
        Type::Enum { ctype, .. } | Type::Struct { ctype } => types.name_of(*ctype),
        Type::Pointer { to, space } => format!("{} {}*", type_name(to, types), space_name(*space)),
        Type::Str { size } => format!("string[{size}]"),
        Type::Buf { size } => format!("buf[{size}]"),
        Type::Array { elem, len } => format!("{}[{len}]", type_name(elem, types)),
        Type::CharArray { len } => format!("char[{len}]"),
        Type::Tuple(elems) => format!("({})", list(&mut elems.iter().map(|t| type_name(t, types)))),
        Type::Record(elems) => {
            format!("({})", list(&mut elems.iter().map(|(n, t)| format!("{n}: {}", type_name(t, types)))))
        }
        Type::Stack { user, mode, frames } => {
            format!("{}stack({mode:?}, {frames})", if *user { "u" } else { "k" })
        }
        Type::Aggregate(a) => format!("{a:?}").to_lowercase(),
        other => format!("{other:?}"),
    }
}

fn space_name(space: Space) -> &'static str {
    match space {
        Space::Kernel => "kernel",
        Space::User => "user",
        Space::Bpf => "bpf",
        Space::Context => "ctx",
        Space::Any => "any",
    }
}

struct Printer<'a> {
    program: &'a Program,
    probe: &'a Probe,
    types: &'a TypeStore,
    out: &'a mut String,
    depth: usize,
}

impl Printer<'_> {
    fn probe(&mut self) {
        let p = self.probe;
        let label = p.label.as_ref().map_or(String::new(), |l| format!("{l} = "));
        self.line(&format!("probe {} {:?} {label}{}", p.function, p.kind, p.written));
        self.depth += 1;
        for (i, l) in p.locals.iter().enumerate() {
            let memory = if l.address_taken { " in memory" } else { "" };
            self.line(&format!("local {i} {}: {}{memory}", l.name, type_name(&l.ty, self.types)));
        }
        if let Some(e) = &p.predicate {
            let text = self.expr(e);
            self.line(&format!("only if {text}"));
        }
        self.block(&p.body);
        self.depth -= 1;
    }

    fn line(&mut self, text: &str) {
        let _ = writeln!(self.out, "{:width$}{text}", "", width = self.depth * 2);
    }

    fn block(&mut self, block: &Block) {
        for s in &block.statements {
            self.stmt(s);
        }
    }

    fn nested(&mut self, head: &str, block: &Block) {
        self.line(head);
        self.depth += 1;
        self.block(block);
        self.depth -= 1;
    }

    fn stmt(&mut self, s: &Stmt) {
        match &s.kind {
            StmtKind::Expr(e) => {
                let e = self.expr(e);
                self.line(&e);
            }
            StmtKind::Assign { local, value } => {
                let text = format!("{} = {}", self.local(*local), self.expr(value));
                self.line(&text);
            }
            StmtKind::Zero(local) => self.line(&format!("{} = zero", self.local(*local))),
            StmtKind::MapAssign { map, key, value } => {
                let text = format!("{} = {}", self.entry(*map, key), self.expr(value));
                self.line(&text);
            }
            StmtKind::MapUpdate { map, key, op, value } => {
                let text = format!("{} {}= {}", self.entry(*map, key), op.symbol(), self.expr(value));
                self.line(&text);
            }
            StmtKind::Aggregate { map, key, aggregate, value } => {
                let value = value.as_ref().map_or(String::new(), |e| self.expr(e));
                let text = format!("{} <- {aggregate:?}({value})", self.entry(*map, key));
                self.line(&text);
            }
            StmtKind::Return(e) => {
                let e = e.as_ref().map_or(String::new(), |e| format!(" {}", self.expr(e)));
                self.line(&format!("return{e}"));
            }
            StmtKind::Break => self.line("break"),
            StmtKind::Continue => self.line("continue"),
            StmtKind::Block(b) => self.nested("block", b),
            _ => self.compound(s),
        }
    }

    fn compound(&mut self, s: &Stmt) {
        match &s.kind {
            StmtKind::If { condition, then, otherwise } => {
                let head = format!("if {}", self.expr(condition));
                self.nested(&head, then);
                if !otherwise.statements.is_empty() {
                    self.nested("else", otherwise);
                }
            }
            StmtKind::While { condition, body } => {
                let head = format!("while {}", self.expr(condition));
                self.nested(&head, body);
            }
            StmtKind::Unroll { count, body } => self.nested(&format!("unroll {count}"), body),
            StmtKind::Repeat { count, limit, body } => {
                let head = format!("repeat {} at most {limit}", self.expr(count));
                self.nested(&head, body);
            }
            StmtKind::ForRange { variable, start, end, body } => {
                let head = format!("for {} : {}..{}", self.local(*variable), self.expr(start), self.expr(end));
                self.nested(&head, body);
            }
            StmtKind::ForMap { variable, map, body } => {
                let head = format!("for {} : {}", self.local(*variable), self.map(*map));
                self.nested(&head, body);
            }
            _ => {}
        }
    }

    fn local(&self, id: LocalId) -> String {
        match self.probe.locals.get(id.0 as usize) {
            Some(l) => format!("{}#{}", l.name, id.0),
            None => format!("?#{}", id.0),
        }
    }

    fn map(&self, id: MapId) -> &str {
        self.program.maps.get(id.0 as usize).map_or("@?", |m| m.name.as_str())
    }

    fn entry(&self, map: MapId, key: &Expr) -> String {
        match &key.ty {
            Type::Tuple(elems) if elems.is_empty() => self.map(map).to_owned(),
            _ => format!("{}[{}]", self.map(map), self.expr(key)),
        }
    }

    fn list(&self, list: &[Expr]) -> String {
        list.iter().map(|e| self.expr(e)).collect::<Vec<_>>().join(", ")
    }

    fn ty(&self, e: &Expr) -> String {
        type_name(&e.ty, self.types)
    }

    fn expr(&self, e: &Expr) -> String {
        use ExprKind::*;
        match &e.kind {
            Const(v) if e.ty.scalar_width().1 => format!("{}:{}", *v as i64, self.ty(e)),
            Const(v) => format!("{v}:{}", self.ty(e)),
            KernelEnumerator { name, value, .. } => format!("{name}={value}:{}", self.ty(e)),
            KernelSizeof(id) => format!("sizeof({})", self.types.name_of(*id)),
            KernelOffsetof { root, path } => {
                let bits: u32 = path.iter().map(|f| f.bit_offset).sum();
                format!("offsetof({}, {})", self.types.name_of(*root), bits / 8)
            }
            Str(bytes) => format!("\"{}\":{}", bytes.escape_ascii(), self.ty(e)),
            Bytes(bytes) => format!("b\"{}\"", bytes.escape_ascii()),
            Zero => format!("zero:{}", self.ty(e)),
            Local(id) => self.local(*id),
            AddressOfLocal(id) => format!("&{}", self.local(*id)),
            AddressOfMap { map, key } => format!("&{}", self.entry(*map, key)),
            MapRead { map, key } => format!("{}:{}", self.entry(*map, key), self.ty(e)),
            Start(id) => format!("start#{}:{}", id.0, self.ty(e)),
            Negate(x) => format!("-{}", self.expr(x)),
            Complement(x) => format!("~{}", self.expr(x)),
            Not(x) => format!("!{}", self.expr(x)),
            Binary { op, left, right } => {
                format!("({} {} {}):{}", self.expr(left), op.symbol(), self.expr(right), self.ty(e))
            }
            PointerOffset { pointer, count } => format!("({} at {})", self.expr(pointer), self.expr(count)),
            PointerDifference { left, right } => format!("({} from {})", self.expr(left), self.expr(right)),
            Increment { place, decrement, prefix } => self.increment(place, *decrement, *prefix),
            Ternary { condition, then, otherwise } => {
                format!("({} ? {} : {})", self.expr(condition), self.expr(then), self.expr(otherwise))
            }
            Convert(x) => format!("{} as {}", self.expr(x), self.ty(e)),
            _ => self.access(e),
        }
    }

    fn access(&self, e: &Expr) -> String {
        use ExprKind::*;
        match &e.kind {
            Dereference(x) => format!("*{}", self.expr(x)),
            Field { base, field } => {
                let bits = field.bit_width.map_or(String::new(), |w| format!(":{w}"));
                let at = (field.bit_offset / 8, field.bit_offset % 8);
                format!("{}.[{}+{}{bits}]:{}", self.expr(base), at.0, at.1, self.ty(e))
            }
            Element { base, index } => format!("{}[{}]:{}", self.expr(base), self.expr(index), self.ty(e)),
            TupleElement { base, index } => format!("{}.{index}", self.expr(base)),
            StrByte { base, index } => format!("{}[{}]", self.expr(base), self.expr(index)),
            Tuple { elements, .. } => format!("({})", self.list(elements)),
            TracepointField(field) => format!("args.{}:{}", place(field), self.ty(e)),
            Argument { name, position } => format!("args.{name}@{position}:{}", self.ty(e)),
            ReturnValue { position } => format!("retval@{position}:{}", self.ty(e)),
            Context => "ctx".into(),
            Intrinsic { which, args } => format!("{which:?}({}):{}", self.list(args), self.ty(e)),
            Emit { event, args } => format!("emit {}({})", event.0, self.list(args)),
            MapDelete { map, key } => format!("delete {}", self.entry(*map, key)),
            MapHasKey { map, key } => format!("has {}", self.entry(*map, key)),
            MapFind { map, key, into } => format!("find {} into {}", self.entry(*map, key), self.local(*into)),
            MapLen { map } => format!("len {}", self.map(*map)),
            Block { body, value } => self.block_expr(body, value),
            _ => "?".into(),
        }
    }

    fn increment(&self, place: &Place, decrement: bool, prefix: bool) -> String {
        let place = match place {
            Place::Local(id) => self.local(*id),
            Place::Map { map, key } => self.entry(*map, key),
        };
        let sign = if decrement { "--" } else { "++" };
        if prefix { format!("{sign}{place}") } else { format!("{place}{sign}") }
    }

    /// A block within an expression stands indented in the middle of its line.
    fn block_expr(&self, body: &Block, value: &Expr) -> String {
        let mut text = String::new();
        let (program, probe, types) = (self.program, self.probe, self.types);
        let mut inner = Printer { program, probe, types, out: &mut text, depth: self.depth + 1 };
        inner.block(body);
        let last = inner.expr(value);
        inner.line(&last);
        format!("{{\n{text}{:width$}}}", "", width = self.depth * 2)
    }
}

fn place(f: &TracepointField) -> String {
    let kind = match (f.data_loc, f.relative) {
        (_, true) => " relative",
        (true, _) => " data_loc",
        _ => "",
    };
    format!("{}@{}+{}{kind}", f.name, f.offset, f.size)
}
