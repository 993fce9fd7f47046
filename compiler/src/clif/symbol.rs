//! Symbols: the things an instruction refers to without knowing their value.
//!
//! One table per module, interned, so that a [`SymbolId`] is as good as the
//! symbol. In CLIF a symbol is a `symbol_value` of a global value whose
//! external name is (namespace of its kind, its id).

use std::collections::BTreeMap;
use std::fmt;

use super::FuncId;

/// What an instruction refers to; the ELF writer turns uses into relocations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Symbol {
    /// The map with this number; loads its address.
    Map(u32),
    /// A CO-RE relocation: `record` in the table of relocations, `local` the
    /// value by our own BTF, which the loader compares before it patches.
    Core {
        /// Number in the caller's table of relocations.
        record: u32,
        /// The value by local types; written into the instruction.
        local: u64,
        /// Needs all 64 bits (an enum value): always a 16-byte load.
        wide: bool,
    },
    /// Like `Core`, but patched by the tracer's own loader: offsets into the
    /// context and constants that depend on the target's signature.
    Ctx {
        /// Number in the caller's table.
        record: u32,
        /// The value by the reference BTF; written into the instruction.
        local: u64,
    },
    /// A constant that rewrite rules must not see.
    Opaque(i64),
    /// The address of a byte in the `.rodata` map.
    Rodata(u32),
    /// The address of a byte in the `.data` section, which programs may change.
    Data(u32),
    /// The address of a function, for helpers that call back.
    Subprog(FuncId),
    /// The address of a kernel variable (or a kernel function to call), by its
    /// number in the caller's table of names.
    Ksym(u32),
    /// A function of an imported object, by its number in the caller's table.
    Imported(u32),
}

impl fmt::Display for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Symbol::Map(index) => write!(f, "map {index}"),
            Symbol::Core { record, local, wide: false } => write!(f, "core {record} = {local}"),
            Symbol::Core { record, local, wide: true } => write!(f, "core64 {record} = {local}"),
            Symbol::Ctx { record, local } => write!(f, "ctx {record} = {local}"),
            Symbol::Opaque(value) => write!(f, "opaque {value}"),
            Symbol::Rodata(offset) => write!(f, "rodata+{offset}"),
            Symbol::Data(offset) => write!(f, "data+{offset}"),
            Symbol::Subprog(FuncId(index)) => write!(f, "subprog {index}"),
            Symbol::Ksym(index) => write!(f, "ksym {index}"),
            Symbol::Imported(index) => write!(f, "imported {index}"),
        }
    }
}

impl Symbol {
    /// Reads what `Display` writes; the textual tests declare symbols so.
    pub fn parse(text: &str) -> Option<Symbol> {
        let (kind, rest) = text.trim().split_once([' ', '+'])?;
        let number = |text: &str| text.trim().parse::<u32>().ok();
        let pair = || {
            let (record, local) = rest.split_once('=')?;
            Some((number(record)?, local.trim().parse::<u64>().ok()?))
        };
        Some(match kind {
            "map" => Symbol::Map(number(rest)?),
            "core" => pair().map(|(record, local)| Symbol::Core { record, local, wide: false })?,
            "core64" => pair().map(|(record, local)| Symbol::Core { record, local, wide: true })?,
            "ctx" => pair().map(|(record, local)| Symbol::Ctx { record, local })?,
            "opaque" => Symbol::Opaque(rest.trim().parse().ok()?),
            "rodata" => Symbol::Rodata(number(rest)?),
            "data" => Symbol::Data(number(rest)?),
            "subprog" => Symbol::Subprog(FuncId(number(rest)?)),
            "ksym" => Symbol::Ksym(number(rest)?),
            "imported" => Symbol::Imported(number(rest)?),
            _ => return None,
        })
    }

    pub(crate) fn namespace(self) -> Namespace {
        match self {
            Symbol::Map(_) => Namespace::Map,
            Symbol::Core { .. } => Namespace::Core,
            Symbol::Ctx { .. } => Namespace::Ctx,
            Symbol::Opaque(_) => Namespace::Opaque,
            Symbol::Rodata(_) => Namespace::Rodata,
            Symbol::Data(_) => Namespace::Data,
            Symbol::Subprog(_) => Namespace::Subprog,
            Symbol::Ksym(_) => Namespace::Ksym,
            Symbol::Imported(_) => Namespace::Imported,
        }
    }
}

/// The namespaces of external names in CLIF. `Helper` is indexed by helper
/// number, `Barrier` by zero, every other one by [`SymbolId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Namespace {
    Helper = 0,
    Barrier = 1,
    Subprog = 2,
    Map = 3,
    Core = 4,
    Ctx = 5,
    Opaque = 6,
    Rodata = 7,
    Ksym = 8,
    Data = 9,
    Imported = 10,
}

impl Namespace {
    pub(crate) fn from_number(number: u32) -> Option<Namespace> {
        use Namespace::*;
        [Helper, Barrier, Subprog, Map, Core, Ctx, Opaque, Rodata, Ksym, Data, Imported].get(number as usize).copied()
    }
}

/// A symbol of a module's table, by position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SymbolId(pub u32);

/// The interned symbols of a module.
#[derive(Clone, Debug, Default)]
pub struct SymbolTable {
    symbols: Vec<Symbol>,
    ids: BTreeMap<Symbol, SymbolId>,
}

impl SymbolTable {
    /// The number of `symbol`, new or not.
    pub fn intern(&mut self, symbol: Symbol) -> SymbolId {
        if let Some(&id) = self.ids.get(&symbol) {
            return id;
        }
        let id = SymbolId(u32::try_from(self.symbols.len()).expect("symbol count fits u32"));
        self.symbols.push(symbol);
        self.ids.insert(symbol, id);
        id
    }

    /// The symbol with this number.
    pub fn get(&self, id: SymbolId) -> Option<Symbol> {
        self.symbols.get(id.0 as usize).copied()
    }

    /// All symbols, in the order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (SymbolId, Symbol)> + '_ {
        (0..).map(SymbolId).zip(self.symbols.iter().copied())
    }
}

impl fmt::Display for SymbolTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (SymbolId(id), symbol) in self.iter() {
            writeln!(f, "; symbol u{}:{id} = {symbol}", symbol.namespace() as u32)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_symbols_share_a_number() {
        let mut table = SymbolTable::default();
        let first = table.intern(Symbol::Map(3));
        assert_ne!(first, table.intern(Symbol::Opaque(3)));
        assert_eq!(first, table.intern(Symbol::Map(3)));
        assert_eq!(table.get(first), Some(Symbol::Map(3)));
    }

    #[test]
    fn text_form_round_trips() {
        for symbol in [
            Symbol::Map(1),
            Symbol::Core { record: 2, local: 8, wide: false },
            Symbol::Core { record: 2, local: u64::MAX, wide: true },
            Symbol::Ctx { record: 0, local: 16 },
            Symbol::Opaque(-7),
            Symbol::Rodata(24),
            Symbol::Data(8),
            Symbol::Subprog(FuncId(1)),
            Symbol::Ksym(0),
            Symbol::Imported(2),
        ] {
            assert_eq!(Symbol::parse(&symbol.to_string()), Some(symbol));
        }
    }
}
