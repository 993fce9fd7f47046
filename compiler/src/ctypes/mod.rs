//! C types: one store for what the script defines and what BTF describes.
//!
//! In: definitions from the C preamble (`syntax::c`) and BTF files (`btf`).
//! Out: types by id, and names resolved to ids, for sema, lowering and the BTF
//! writer. A type knows whether it is the kernel's: only those get CO-RE
//! relocations, a script's own structs have the layout the script gives them.
//! Invariants: ids are stable for the whole compilation; kernel types are
//! decoded on first use, because a kernel's BTF holds over 100 000 of them.

use std::rc::Rc;

use crate::btf::BtfSources;

mod builtin;
mod layout;
mod lookup;
mod script;
mod spell;
mod store;
mod suggest;
#[cfg(test)]
mod tests;

pub use builtin::sized as integer_of_size;
pub use layout::{FieldDecl, Layout, LayoutError};
pub use lookup::{KernelFunction, TagKind};
pub use script::Redefinition;
pub use suggest::nearest;

/// Index of a type in the [`TypeStore`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CTypeId(pub u32);

impl CTypeId {
    /// `void`.
    pub const VOID: CTypeId = CTypeId(0);
}

/// All C types of one compilation: the script's, the built-in integers, and the
/// kernel's, which are decoded when first asked for.
///
/// All methods take `&self`; ids stay valid for the life of the store.
pub struct TypeStore {
    inner: store::Inner,
    names: script::Names,
}

impl TypeStore {
    /// A store whose kernel types come from `sources`.
    pub fn new(sources: BtfSources) -> Self {
        TypeStore { inner: store::Inner::new(sources), names: script::Names::default() }
    }

    /// Where the kernel types come from.
    pub fn sources(&self) -> &BtfSources {
        &self.inner.sources
    }

    /// Number of kernel types decoded so far.
    pub fn decoded(&self) -> usize {
        self.inner.decodes.get()
    }
}

/// Where a type's layout comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Origin {
    /// Written in the script or in a header of the user: layout fixed now.
    Script,
    /// BTF of the kernel or of one of its modules: layout fixed on the target.
    Kernel,
}

/// A C type.
#[derive(Clone, Debug, PartialEq)]
pub struct CType {
    /// What it is.
    pub kind: CKind,
    /// Who decides its layout.
    pub origin: Origin,
}

/// The forms a C type takes; sizes are in bytes.
#[derive(Clone, Debug, PartialEq)]
pub enum CKind {
    /// `void`.
    Void,
    /// Integers, `bool` and `char`.
    Int(CInt),
    /// Floating point: named and sized, but no value of it can be used.
    Float {
        /// Spelling.
        name: Rc<str>,
        /// Size in bytes.
        size: u32,
    },
    /// Pointer to a type.
    Pointer(CTypeId),
    /// Array; `len` 0 is a flexible array member.
    Array {
        /// Type of the elements.
        elem: CTypeId,
        /// Number of elements.
        len: u32,
    },
    /// Struct or union with its members.
    Composite(Composite),
    /// Enumeration.
    Enum(CEnum),
    /// Name for another type.
    Typedef {
        /// The new name.
        name: Rc<str>,
        /// What it stands for.
        target: CTypeId,
    },
    /// Declared, never defined.
    Forward {
        /// Tag.
        name: Rc<str>,
        /// `union`?
        union: bool,
    },
    /// Function type (what a function pointer points to).
    Function(Signature),
}

/// An integer type.
#[derive(Clone, Debug, PartialEq)]
pub struct CInt {
    /// Spelling, such as `unsigned int`.
    pub name: Rc<str>,
    /// Size in bytes: 1, 2, 4, 8 or 16.
    pub size: u32,
    /// Signed?
    pub signed: bool,
    /// `char`, `signed char`, `unsigned char`: arrays of it read as strings (`char` only: `signed == true`).
    pub is_char: bool,
    /// `bool`/`_Bool`.
    pub is_bool: bool,
}

/// A struct or union.
#[derive(Clone, Debug, PartialEq)]
pub struct Composite {
    /// Tag; `None` for anonymous ones.
    pub name: Option<Rc<str>>,
    /// `union`?
    pub union: bool,
    /// Size in bytes.
    pub size: u32,
    /// Members in order.
    pub members: Vec<Member>,
}

/// A member of a struct or union.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// Name; `None` for anonymous structs and unions (and unnamed bit-fields).
    pub name: Option<Rc<str>>,
    /// Type.
    pub ty: CTypeId,
    /// Offset from the start of the composite, in bits.
    pub bit_offset: u32,
    /// Width in bits, for bit-fields.
    pub bit_width: Option<u8>,
}

/// An enumeration.
#[derive(Clone, Debug, PartialEq)]
pub struct CEnum {
    /// Tag; `None` for anonymous ones.
    pub name: Option<Rc<str>>,
    /// Size in bytes.
    pub size: u32,
    /// Whether values are signed.
    pub signed: bool,
    /// Names and values (two's complement) in order.
    pub values: Vec<(Rc<str>, i64)>,
}

/// A function's type.
#[derive(Clone, Debug, PartialEq)]
pub struct Signature {
    /// Return type.
    pub ret: CTypeId,
    /// Parameters in order; a name may be missing.
    pub params: Vec<(Option<Rc<str>>, CTypeId)>,
    /// Ends in `...`.
    pub variadic: bool,
}

/// A field found by name, possibly inside anonymous members.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldPath {
    /// Member indices from the outer type inwards; more than one where
    /// anonymous members had to be entered.
    pub indices: Vec<u32>,
    /// Type of the field.
    pub ty: CTypeId,
    /// Offset from the start of the outer type, in bits.
    pub bit_offset: u32,
    /// Width in bits, for bit-fields.
    pub bit_width: Option<u8>,
}
