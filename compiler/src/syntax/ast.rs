//! The syntax tree: what was written, nothing decided.
//!
//! In: nothing (types only). Out: the tree that `parse` builds, `print` dumps
//! and sema reads. Both generations of the language share it: `args->x` and
//! `args.x` differ only in `FieldAccess::arrow`, `BEGIN` and `begin` only in the
//! text of the attach point. Every node carries its span.

use crate::span::{Span, Spanned};

/// A name and where it stands.
pub type Name = Spanned<String>;

/// A script (or an imported file): its items in source order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Script {
    /// Items in source order.
    pub items: Vec<Item>,
}

/// A top-level item.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// C definition (struct, union, enum, typedef) with its closing semicolon,
    /// as text: `syntax::c` parses it.
    CDefinition(Span),
    /// `config = { name = value; ... }`.
    Config(Vec<ConfigEntry>),
    /// `import "path";`.
    Import(Spanned<String>),
    /// `let @name = kind(entries);`.
    MapDeclaration(MapDeclaration),
    /// `macro name(params) { ... }`.
    Macro(Macro),
    /// Attach points, predicate and block.
    Probe(Probe),
}

/// One assignment of the config block.
#[derive(Clone, Debug, PartialEq)]
pub struct ConfigEntry {
    /// Setting.
    pub name: Name,
    /// Value: number, word, string or boolean.
    pub value: Expr,
}

/// `let @name = kind(entries);`.
#[derive(Clone, Debug, PartialEq)]
pub struct MapDeclaration {
    /// With `@`.
    pub name: Name,
    /// `hash`, `lruhash`, `percpuhash`, ...
    pub kind: Name,
    /// Arguments.
    pub args: Vec<Expr>,
    /// The whole declaration.
    pub span: Span,
}

/// A macro definition.
#[derive(Clone, Debug, PartialEq)]
pub struct Macro {
    /// Name.
    pub name: Name,
    /// Parameters.
    pub params: Vec<MacroParam>,
    /// Body: its value is that of the last expression without a semicolon.
    pub body: Block,
    /// The comment directly above, for documentation.
    pub doc: String,
    /// The whole definition.
    pub span: Span,
}

/// A macro parameter: the sigil says what may be passed.
#[derive(Clone, Debug, PartialEq)]
pub enum MacroParam {
    /// `$x`: a scratch variable, by reference.
    Variable(Name),
    /// `@m`: a map, by reference.
    Map(Name),
    /// `x`: an expression, evaluated at each use.
    Expr(Name),
}

/// A probe definition.
#[derive(Clone, Debug, PartialEq)]
pub struct Probe {
    /// Comma-separated attach points.
    pub attach_points: Vec<AttachPoint>,
    /// `/expression/`.
    pub predicate: Option<Expr>,
    /// Body.
    pub body: Block,
    /// From the first attach point to the closing brace.
    pub span: Span,
}

/// An attach point, split at its colons, quotes removed, not interpreted.
#[derive(Clone, Debug, PartialEq)]
pub struct AttachPoint {
    /// `name=` before it.
    pub label: Option<Name>,
    /// Parts between colons; the first is the provider. `uprobe:/bin/sh:"a:b"`
    /// has three.
    pub parts: Vec<AttachPart>,
    /// As written, without blanks around it.
    pub text: String,
    /// Without the label.
    pub span: Span,
}

/// One part of an attach point.
#[derive(Clone, Debug, PartialEq)]
pub struct AttachPart {
    /// Pieces in order.
    pub pieces: Vec<AttachPiece>,
    /// Was (some of) it quoted?
    pub quoted: bool,
    /// Where it stands.
    pub span: Span,
}

/// A piece of an attach part.
#[derive(Clone, Debug, PartialEq)]
pub enum AttachPiece {
    /// Text.
    Text(String),
    /// `$N`.
    Parameter(u32),
}

/// `{ ... }`: statements, and the value of a block expression.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Block {
    /// In order.
    pub statements: Vec<Statement>,
    /// A last expression without semicolon: the value where the block is used
    /// as an expression, an ordinary statement elsewhere.
    pub value: Option<Box<Expr>>,
    /// With the braces.
    pub span: Span,
}

/// A statement.
#[derive(Clone, Debug, PartialEq)]
pub struct Statement {
    /// What it is.
    pub kind: StatementKind,
    /// Without the semicolon.
    pub span: Span,
}

/// The statements.
#[derive(Clone, Debug, PartialEq)]
pub enum StatementKind {
    /// An expression for its effects.
    Expr(Expr),
    /// `target = value`, `target += value`, ...; the target is a variable, map
    /// (entry) or, for an error message, anything that parses. `_ = e` has the
    /// identifier `_` as its target.
    Assign { target: Expr, op: Option<BinaryOp>, value: Expr },
    /// `let $x`, `let $x : type`, with or without a value.
    Let { name: Name, ty: Option<TypeExpr>, value: Option<Expr> },
    /// `if`; `else if` is an else block with one `If` statement. `comptime`
    /// marks a condition that must be decided while compiling.
    If { condition: Expr, then: Block, otherwise: Option<Block>, comptime: bool },
    /// `while`.
    While { condition: Expr, body: Block },
    /// `unroll (count) { }`.
    Unroll { count: Expr, body: Block },
    /// `for ($v : start..end)`.
    ForRange { variable: Name, start: Expr, end: Expr, body: Block },
    /// `for ($kv : @map)`; the iterable is an expression so that a wrong one
    /// gets a message.
    ForEach { variable: Name, iterable: Expr, body: Block },
    /// `break`.
    Break,
    /// `continue`.
    Continue,
    /// `return` with or without a value.
    Return(Option<Expr>),
    /// `{ ... }` on its own.
    Block(Block),
}

/// An expression.
#[derive(Clone, Debug, PartialEq)]
pub struct Expr {
    /// What it is.
    pub kind: ExprKind,
    /// Where it stands.
    pub span: Span,
}

/// The expressions.
#[derive(Clone, Debug, PartialEq)]
pub enum ExprKind {
    /// Integer literal, duration suffixes applied. `unsigned`: suffix `u`.
    Integer { value: u64, unsigned: bool },
    /// Character constant.
    Char(u8),
    /// `true`, `false`.
    Bool(bool),
    /// String literal, escapes applied.
    String(Vec<u8>),
    /// Builtin, enumerator, macro without arguments, `#define`, type name in a
    /// type position.
    Identifier(String),
    /// `$name`, with the sigil.
    Variable(String),
    /// `@name`, with the sigil; `@` alone is the anonymous map.
    Map(String),
    /// `$1`.
    Positional(u32),
    /// `$#`.
    PositionalCount,
    /// `base[index, ...]`: a map entry when the base is a map, else an element.
    Index { base: Box<Expr>, indices: Vec<Expr> },
    /// `base.name`, `base->name`.
    Field { base: Box<Expr>, name: Name, arrow: bool },
    /// `base.0`, also `base->0`.
    TupleField { base: Box<Expr>, index: u32 },
    /// `name(args)`.
    Call { name: Name, args: Vec<Expr> },
    /// Prefix operator.
    Unary { op: UnaryOp, operand: Box<Expr> },
    /// `++x`, `x++`, `--x`, `x--`.
    Increment { target: Box<Expr>, decrement: bool, prefix: bool },
    /// Infix operator.
    Binary { op: BinaryOp, left: Box<Expr>, right: Box<Expr> },
    /// `c ? a : b`; without `then` it is `c ?: b`.
    Ternary { condition: Box<Expr>, then: Option<Box<Expr>>, otherwise: Box<Expr> },
    /// `(type)operand`.
    Cast { ty: TypeExpr, operand: Box<Expr> },
    /// `sizeof(type)` or `sizeof(expr)`.
    Sizeof(TypeOrExpr),
    /// `offsetof(type or expr, a.b.c)`.
    Offsetof { of: TypeOrExpr, path: Vec<Name> },
    /// `typeof(x)` as a value: a type passed to a macro.
    Typeof(TypeOrExpr),
    /// `typeinfo(x)`.
    Typeinfo(TypeOrExpr),
    /// `(a, b)`, `(a,)`, `()`.
    Tuple(Vec<Expr>),
    /// `(name = value, ...)`.
    Record(Vec<(Name, Expr)>),
    /// `{ ...; value }`.
    Block(Box<Block>),
    /// `comptime expr`.
    Comptime(Box<Expr>),
    /// `if c { a } else { b }` where a value is wanted.
    If { condition: Box<Expr>, then: Box<Block>, otherwise: Box<Block> },
}

/// A type as written.
#[derive(Clone, Debug, PartialEq)]
pub struct TypeExpr {
    /// What it is.
    pub kind: TypeKind,
    /// Where it stands.
    pub span: Span,
}

/// The forms of types.
#[derive(Clone, Debug, PartialEq)]
pub enum TypeKind {
    /// One or several words: `uint64`, `unsigned long`, `string`, `task_struct`.
    Name(String),
    /// `struct name`.
    Struct(String),
    /// `union name`.
    Union(String),
    /// `enum name`.
    Enum(String),
    /// `string[n]`, `buffer[n]` (`inet` and others take no size).
    Sized { name: String, size: Box<Expr> },
    /// `T*`.
    Pointer(Box<TypeExpr>),
    /// `T[n]`; `T[]` takes its length from the value.
    Array { elem: Box<TypeExpr>, len: Option<Box<Expr>> },
    /// `(T, U)` in a type position.
    Tuple(Vec<TypeExpr>),
    /// `typeof(x)`.
    Typeof(Box<TypeOrExpr>),
}

/// Where a type and an expression may both stand. `sizeof(foo)` with a bare
/// word is parsed as an expression; sema tries types first.
#[derive(Clone, Debug, PartialEq)]
pub enum TypeOrExpr {
    /// Certainly a type.
    Type(TypeExpr),
    /// An expression, or a word that sema resolves.
    Expr(Box<Expr>),
}

/// Prefix operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UnaryOp {
    /// `-`.
    Negate,
    /// `+`.
    Plus,
    /// `!`.
    Not,
    /// `~`.
    Complement,
    /// `*`.
    Dereference,
    /// `&`.
    AddressOf,
}

/// Infix operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum BinaryOp {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    BitAnd,
    BitOr,
    BitXor,
    ShiftLeft,
    ShiftRight,
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    LogicalAnd,
    LogicalOr,
}

impl BinaryOp {
    /// As written.
    pub fn symbol(self) -> &'static str {
        use BinaryOp::*;
        match self {
            Add => "+",
            Subtract => "-",
            Multiply => "*",
            Divide => "/",
            Modulo => "%",
            BitAnd => "&",
            BitOr => "|",
            BitXor => "^",
            ShiftLeft => "<<",
            ShiftRight => ">>",
            Equal => "==",
            NotEqual => "!=",
            Less => "<",
            LessEqual => "<=",
            Greater => ">",
            GreaterEqual => ">=",
            LogicalAnd => "&&",
            LogicalOr => "||",
        }
    }
}

impl UnaryOp {
    /// As written.
    pub fn symbol(self) -> &'static str {
        use UnaryOp::*;
        match self {
            Negate => "-",
            Plus => "+",
            Not => "!",
            Complement => "~",
            Dereference => "*",
            AddressOf => "&",
        }
    }
}
