//! Composite values: tuples, records, arrays, structs, enumerations; their parts.

use super::Generator;
use super::types::{Type, Variable};

/// Parts of parts are named down to this depth.
const MOST_PARTS: usize = 3;

impl Generator {
    /// A value of a type that is no number, truth value or text.
    pub fn composite(&mut self, ty: &Type, depth: usize) -> String {
        // 0.27.1 forgets the names of an enumeration behind `?:`, and dies of a comparison of arrays.
        let lost = self.common() && matches!(ty, Type::Enum | Type::Array { .. });
        if depth > 0 && !lost && self.random.chance(8) {
            let (condition, yes, no) = (self.boolean(1), self.composite(ty, 0), self.composite(ty, 0));
            return format!("({condition} ? {yes} : {no})");
        }
        match self.stored(|t| t == ty) {
            Some(place) if self.random.chance(40) => place,
            _ => self.made(ty, depth),
        }
    }

    /// A composite value written out.
    fn made(&mut self, ty: &Type, depth: usize) -> String {
        let below = depth.saturating_sub(1);
        match ty {
            Type::Tuple(list) => {
                let parts: Vec<_> = list.iter().map(|t| self.value(t, below)).collect();
                format!("({})", parts.join(", "))
            }
            Type::Record(fields) => {
                let parts: Vec<_> = fields.iter().map(|(name, t)| format!("{name}={}", self.value(t, below))).collect();
                format!("({})", parts.join(", "))
            }
            Type::Array { bits, count, .. } => {
                let number = Type::Int { bits: bits * count, signed: false };
                format!("({}){}", ty.name(), self.value(&number, below))
            }
            // 0.27.1 mixes up the variables of a macro within the same macro's argument.
            Type::Struct(name) if self.common() => format!("make{name}({})", self.literal()),
            Type::Struct(name) => format!("make{name}({})", self.int(below)),
            // Constants that no enumerator has are refused; out of range 0.27.1 keeps 64 bits.
            Type::Enum => match self.variable(Type::is_int) {
                Some(v) if self.random.chance(40) => format!("(enum E{})(uint8){}", self.part, v.name),
                _ => format!("(enum E{}){}", self.part, self.random.pick(&self.enumerators).clone()),
            },
            _ => self.value(ty, depth),
        }
    }

    /// A variable, or element of a map, of a wanted type.
    fn stored(&mut self, wanted: impl Fn(&Type) -> bool) -> Option<String> {
        if self.random.chance(70) {
            return self.variable(wanted).map(|v| v.name);
        }
        self.map(wanted).map(|m| self.element(&m))
    }

    /// Part of a tuple, record, array or struct in scope.
    pub fn component(&mut self, wanted: &dyn Fn(&Type) -> bool) -> Option<String> {
        let mut places: Vec<(String, Type)> = Vec::new();
        for Variable { name, ty, .. } in self.readable() {
            places.push((name.clone(), ty.clone()));
        }
        // Brackets behind a map without keys would be a key.
        if let Some(map) = self.map(|t| !t.is_plain())
            && !(map.keys.is_empty() && matches!(map.value, Some(Type::Array { .. })))
        {
            let ty = map.value.clone().unwrap_or(Type::INT64);
            places.push((self.element(&map), ty));
        }
        let mut list = Vec::new();
        for (place, ty) in &places {
            self.parts(place, ty, MOST_PARTS, wanted, &mut list);
        }
        if list.is_empty() { None } else { Some(self.random.pick(&list).clone()) }
    }

    /// The parts of a place for which `wanted` holds.
    fn parts(&self, place: &str, ty: &Type, depth: usize, wanted: &dyn Fn(&Type) -> bool, out: &mut Vec<String>) {
        let named: Vec<(String, Type)> = match ty {
            _ if depth == 0 => return,
            Type::Tuple(list) => list.iter().enumerate().map(|(n, t)| (format!("{place}.{n}"), t.clone())).collect(),
            Type::Record(list) => list.iter().map(|(n, t)| (format!("{place}.{n}"), t.clone())).collect(),
            Type::Array { bits, signed, count } => {
                let element = Type::Int { bits: *bits, signed: *signed };
                (0..*count).map(|n| (format!("{place}[{n}]"), element.clone())).collect()
            }
            Type::Struct(name) => {
                let members = self.structs.iter().find(|s| &s.name == name).map_or(&[][..], |s| &s.members);
                members.iter().map(|(n, _)| (format!("{place}.{n}"), Type::INT64)).collect()
            }
            _ => return,
        };
        for (place, ty) in named {
            if wanted(&ty) {
                out.push(place.clone());
            }
            self.parts(&place, &ty, depth - 1, wanted, out);
        }
    }

    /// `a == b` of two composite values.
    pub fn same_values(&mut self, depth: usize) -> String {
        let ty = self.comparable();
        let op = *self.random.pick(&["==", "!="]);
        let (one, two) = (self.composite(&ty, depth - 1), self.composite(&ty, depth - 1));
        format!("({one} {op} {two})")
    }

    fn comparable(&mut self) -> Type {
        let number = self.int_type();
        match self.random.below(5) {
            // Tuples with texts are refused by 0.27.1 where their sizes differ.
            0 if !self.common() => Type::Tuple(vec![number, Type::Text]),
            // 0.27.1 loses the result of such a comparison within a tuple or record.
            1 if !self.common() => self.array_type(),
            2 => Type::Record(vec![("f0".to_owned(), number), ("f1".to_owned(), Type::INT64)]),
            // 0.27.1 compares the addresses of structs.
            3 if !self.common() => match self.struct_type() {
                Some(ty) => ty,
                None => Type::Tuple(vec![Type::INT64, Type::Bool]),
            },
            _ => Type::Tuple(vec![Type::INT64, number]),
        }
    }
}
