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
    /// So many integers, eight bytes at most.
    Array {
        bits: u32,
        signed: bool,
        count: u32,
    },
    /// A struct of the script, eight bytes at most.
    Struct(String),
    /// The enumeration of the part.
    Enum,
}

impl Type {
    pub const INT64: Type = Type::Int { bits: 64, signed: true };

    pub fn is_int(&self) -> bool {
        matches!(self, Type::Int { .. })
    }

    /// A value without parts.
    pub fn is_plain(&self) -> bool {
        matches!(self, Type::Int { .. } | Type::Bool | Type::Text | Type::Enum)
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
            Type::Array { bits, signed, count } => format!("{}int{bits}[{count}]", if *signed { "" } else { "u" }),
            Type::Struct(name) => format!("struct {name}"),
            Type::Record(_) | Type::Enum => String::new(),
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
        let nested = if depth < 2 { 8 } else { 0 };
        match self.random.weighted(&[55, 8, 18, nested, if depth < 1 { 5 } else { 0 }, 5, 4, 4]) {
            0 => self.int_type(),
            1 => Type::Bool,
            2 => Type::Text,
            3 => Type::Tuple((0..2 + self.random.below(2)).map(|_| self.value_type(depth + 1)).collect()),
            5 => self.array_type(),
            6 => self.struct_type().unwrap_or(Type::INT64),
            7 if !self.enumerators.is_empty() => Type::Enum,
            7 => Type::Bool,
            _ => {
                let fields = 1 + self.random.below(3);
                Type::Record((0..fields).map(|n| (format!("f{n}"), self.value_type(depth + 2))).collect())
            }
        }
    }

    pub fn key_type(&mut self) -> Type {
        match self.random.weighted(&[50, 25, 8, 4, 4, 4, 3, 3]) {
            0 => self.int_type(),
            1 => Type::Text,
            2 => Type::Tuple(vec![self.int_type(), Type::Text]),
            3 => Type::Tuple(vec![self.int_type(), Type::Tuple(vec![Type::Text, self.array_type()])]),
            4 => self.array_type(),
            5 => Type::Record(vec![("k0".to_owned(), self.int_type()), ("k1".to_owned(), Type::Bool)]),
            6 => self.struct_type().unwrap_or(Type::Bool),
            _ if !self.enumerators.is_empty() => Type::Enum,
            _ => Type::Bool,
        }
    }

    pub fn array_type(&mut self) -> Type {
        let bits = *self.random.pick(&[8, 16, 32]);
        let count = *self.random.pick(
            &[1, 2, 4, 8][..if bits == 8 {
                4
            } else if bits == 16 {
                3
            } else {
                2
            }],
        );
        // An array of one has parts, too, but so small a cast is no cast to an array in 0.27.1.
        Type::Array { bits, signed: self.random.chance(50), count: if self.common() { count.max(2) } else { count } }
    }

    /// A struct whose values can be made.
    pub fn struct_type(&mut self) -> Option<Type> {
        self.structs.iter().find(|s| s.small).map(|s| Type::Struct(s.name.clone()))
    }
}
