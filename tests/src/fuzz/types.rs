//! The types of generated programs.

use super::Generator;

/// Type of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Type {
    /// An integer of so many bits.
    Int {
        bits: u32,
        signed: bool,
    },
    Bool,
    Text,
    Tuple(Vec<Type>),
    Record(Vec<(String, Type)>),
}

impl Type {
    pub const INT64: Type = Type::Int { bits: 64, signed: true };

    pub fn is_int(&self) -> bool {
        matches!(self, Type::Int { .. })
    }

    /// As written, where a type has a name.
    pub fn name(&self) -> String {
        match self {
            Type::Int { bits, signed } => format!("{}int{bits}", if *signed { "" } else { "u" }),
            Type::Bool => "bool".to_owned(),
            Type::Text => "string".to_owned(),
            Type::Tuple(list) => {
                format!("({})", list.iter().map(Type::name).collect::<Vec<_>>().join(", "))
            }
            Type::Record(_) => String::new(),
        }
    }
}

/// A variable in scope.
#[derive(Clone, Debug)]
pub struct Variable {
    pub name: String,
    pub ty: Type,
    /// May be assigned? Counters of loops may not.
    pub mutable: bool,
}

/// A map.
#[derive(Clone, Debug)]
pub struct Map {
    pub name: String,
    /// Empty for a map with one value.
    pub keys: Vec<Type>,
    /// Type of a value; nothing for an aggregation.
    pub value: Option<Type>,
    /// The function of an aggregation, with `#` in place of its value.
    pub aggregation: &'static str,
}

/// A struct of the script; all members are integers.
#[derive(Clone, Debug)]
pub struct Struct {
    pub name: String,
    /// Names; bit-fields have no offset.
    pub members: Vec<(String, bool)>,
    /// Whether it is at most eight bytes long.
    pub small: bool,
}

impl Generator {
    pub fn int_type(&mut self) -> Type {
        Type::Int { bits: *self.random.pick(&[8, 16, 32, 64]), signed: self.random.chance(60) }
    }

    /// A type for a variable or the value of a map.
    pub fn value_type(&mut self, depth: usize) -> Type {
        match self.random.weighted(&[60, 8, 20, if depth < 2 { 8 } else { 0 }, if depth < 1 { 4 } else { 0 }]) {
            0 => self.int_type(),
            1 => Type::Bool,
            2 => Type::Text,
            3 => Type::Tuple((0..2 + self.random.below(2)).map(|_| self.value_type(depth + 1)).collect()),
            _ => {
                let fields = 1 + self.random.below(3);
                Type::Record((0..fields).map(|n| (format!("f{n}"), self.value_type(depth + 2))).collect())
            }
        }
    }

    pub fn key_type(&mut self) -> Type {
        match self.random.weighted(&[6, 3, 1]) {
            0 => self.int_type(),
            1 => Type::Text,
            _ => Type::Tuple(vec![self.int_type(), Type::Text]),
        }
    }
}
