//! Expressions: the grammar's flat lists to trees by precedence.
//!
//! In: prefixes, operands, suffixes and operators in source order. Out: `Expr`.
//! Invariants: no recursion along a list, however long; C's precedence and
//! associativity; a list's length counts towards the depth of what is in it.

use super::grammar::Rule;
use super::{Builder, Pair, message, parts};
use crate::span::{Span, Spanned};
use crate::syntax::ast::{BinaryOp, Expr, ExprKind, TypeExpr, TypeKind, TypeOrExpr, UnaryOp};

/// Infix operators with how tightly they bind.
#[rustfmt::skip]
const INFIX: [(&str, BinaryOp, u8); 18] = [
    ("||", BinaryOp::LogicalOr, 1),
    ("&&", BinaryOp::LogicalAnd, 2),
    ("|", BinaryOp::BitOr, 3),
    ("^", BinaryOp::BitXor, 4),
    ("&", BinaryOp::BitAnd, 5),
    ("==", BinaryOp::Equal, 6), ("!=", BinaryOp::NotEqual, 6),
    ("<", BinaryOp::Less, 7), ("<=", BinaryOp::LessEqual, 7),
    (">", BinaryOp::Greater, 7), (">=", BinaryOp::GreaterEqual, 7),
    ("<<", BinaryOp::ShiftLeft, 8), (">>", BinaryOp::ShiftRight, 8),
    ("+", BinaryOp::Add, 9), ("-", BinaryOp::Subtract, 9),
    ("*", BinaryOp::Multiply, 10), ("/", BinaryOp::Divide, 10), ("%", BinaryOp::Modulo, 10),
];

const PREFIX: [(&str, UnaryOp); 6] = [
    ("-", UnaryOp::Negate),
    ("+", UnaryOp::Plus),
    ("!", UnaryOp::Not),
    ("~", UnaryOp::Complement),
    ("*", UnaryOp::Dereference),
    ("&", UnaryOp::AddressOf),
];

/// How tightly an infix operator binds; more is tighter.
pub(in crate::syntax) fn precedence(op: BinaryOp) -> u8 {
    INFIX.iter().find(|(_, o, _)| *o == op).map_or(0, |(_, _, p)| *p)
}

/// The infix operator as written.
pub(super) fn infix(text: &str) -> Option<BinaryOp> {
    INFIX.iter().find(|(t, _, _)| *t == text).map(|(_, op, _)| *op)
}

/// Operands and operators on their way to a tree.
#[derive(Default)]
struct Climb {
    operands: Vec<Expr>,
    operators: Vec<BinaryOp>,
}

impl Climb {
    fn operator(&mut self, op: BinaryOp) {
        while self.operators.last().is_some_and(|top| precedence(*top) >= precedence(op)) {
            self.reduce();
        }
        self.operators.push(op);
    }

    fn reduce(&mut self) {
        if let (Some(op), Some(right), Some(left)) = (self.operators.pop(), self.operands.pop(), self.operands.pop()) {
            let span = left.span.to(right.span);
            let kind = ExprKind::Binary { op, left: Box::new(left), right: Box::new(right) };
            self.operands.push(Expr { kind, span });
        }
    }

    fn finish(mut self) -> Option<Expr> {
        while !self.operators.is_empty() {
            self.reduce();
        }
        self.operands.pop()
    }
}

fn is_prefix(rule: Rule) -> bool {
    matches!(rule, Rule::prefix_op | Rule::kw_comptime | Rule::cast | Rule::typeof_cast)
}

fn is_postfix(rule: Rule) -> bool {
    matches!(rule, Rule::index | Rule::member | Rule::step)
}

/// Stands where no tree can be built; a message has been given.
fn nothing(span: Span) -> Expr {
    Expr { kind: ExprKind::Integer { value: 0, unsigned: false }, span }
}

impl Builder<'_> {
    /// `expr`, `operand`, `condition` or `array_length`.
    pub(super) fn expr(&mut self, pair: Pair<'_>) -> Expr {
        let span = self.span(&pair);
        self.deeper(1, span, |b| b.flat(pair, span)).unwrap_or_else(|| nothing(span))
    }

    /// A list, split at `? :` into lists without.
    fn flat(&mut self, pair: Pair<'_>, span: Span) -> Expr {
        let mut lists = vec![Vec::new()];
        let mut thens: Vec<Option<Pair<'_>>> = Vec::new();
        for p in pair.into_inner() {
            match p.as_rule() {
                Rule::question => thens.push(None),
                Rule::colon => lists.push(Vec::new()),
                Rule::expr => {
                    if let Some(then) = thens.last_mut() {
                        *then = Some(p);
                    }
                }
                _ => {
                    if let Some(list) = lists.last_mut() {
                        list.push(p);
                    }
                }
            }
        }
        let chain = self.deeper(thens.len(), span, |b| {
            let thens: Vec<Option<Expr>> = thens.into_iter().map(|t| t.map(|p| b.expr(p))).collect();
            let lists: Vec<Expr> = lists.into_iter().map(|l| b.list(l, span)).collect();
            (lists, thens)
        });
        let Some((mut lists, thens)) = chain else { return nothing(span) };
        let mut result = lists.pop().unwrap_or_else(|| nothing(span));
        for (condition, then) in lists.into_iter().zip(thens).rev() {
            let span = condition.span.to(result.span);
            let (condition, then, otherwise) = (Box::new(condition), then.map(Box::new), Box::new(result));
            result = Expr { kind: ExprKind::Ternary { condition, then, otherwise }, span };
        }
        result
    }

    /// A list of operands with prefixes and suffixes, and infix operators.
    fn list(&mut self, tokens: Vec<Pair<'_>>, span: Span) -> Expr {
        let levels = tokens
            .iter()
            .filter(|p| p.as_rule() == Rule::infix || is_prefix(p.as_rule()) || is_postfix(p.as_rule()))
            .count();
        let tree = self.deeper(levels, span, |b| {
            let mut climb = Climb::default();
            let mut tokens = tokens.into_iter().peekable();
            loop {
                let mut prefixes = Vec::new();
                while let Some(p) = tokens.next_if(|p| is_prefix(p.as_rule())) {
                    prefixes.push(p);
                }
                let mut operand = match tokens.next() {
                    Some(p) => b.primary(p),
                    None => nothing(span),
                };
                while let Some(p) = tokens.next_if(|p| is_postfix(p.as_rule())) {
                    operand = b.suffixed(operand, p);
                }
                b.prefixed(prefixes, operand, &mut climb);
                match tokens.next().and_then(|p| infix(p.as_str())) {
                    Some(op) => climb.operator(op),
                    None => break,
                }
            }
            climb.finish()
        });
        tree.flatten().unwrap_or_else(|| nothing(span))
    }

    /// Applies prefixes, unless a supposed cast turns out to be a value: then
    /// `(pid) * -x` is a product and what follows the parentheses an infix operator.
    fn prefixed(&mut self, prefixes: Vec<Pair<'_>>, operand: Expr, climb: &mut Climb) {
        let mut run: Vec<Pair<'_>> = Vec::new();
        let mut value = None;
        for p in prefixes {
            let span = self.span(&p);
            if value.take().is_some() {
                match infix(p.as_str()).filter(|_| p.as_rule() == Rule::prefix_op) {
                    Some(op) => climb.operator(op),
                    None => {
                        self.found.push(message::missing_operator(span));
                        climb.operator(BinaryOp::Add);
                        run.push(p);
                    }
                }
                continue;
            }
            match self.value_in_parens(&p) {
                Some(name) => {
                    let word = Expr { kind: ExprKind::Identifier(name), span };
                    let word = self.apply(std::mem::take(&mut run), word);
                    climb.operands.push(word);
                    value = Some(());
                }
                None => run.push(p),
            }
        }
        if value.is_some() {
            self.found.push(message::missing_operator(operand.span));
            climb.operator(BinaryOp::Add);
        }
        let operand = self.apply(run, operand);
        climb.operands.push(operand);
    }

    /// The word of `(word)` if it names a value.
    fn value_in_parens(&self, pair: &Pair<'_>) -> Option<String> {
        if pair.as_rule() != Rule::cast {
            return None;
        }
        let ty = pair.clone().into_inner().find(|p| p.as_rule() == Rule::cast_type)?;
        let mut inner = ty.into_inner();
        let words = inner.next().filter(|p| p.as_rule() == Rule::type_words)?;
        let mut words = words.into_inner();
        let name = words.next()?;
        let alone = words.next().is_none() && inner.next().is_none();
        (alone && self.values.contains(name.as_str())).then(|| name.as_str().to_string())
    }

    fn apply(&mut self, prefixes: Vec<Pair<'_>>, mut operand: Expr) -> Expr {
        for p in prefixes.into_iter().rev() {
            let span = self.span(&p).to(operand.span);
            let boxed = Box::new(operand);
            let kind = match p.as_rule() {
                Rule::kw_comptime => ExprKind::Comptime(boxed),
                Rule::cast | Rule::typeof_cast => ExprKind::Cast { ty: self.cast_type(p), operand: boxed },
                _ => match p.as_str() {
                    "++" | "--" => ExprKind::Increment { target: boxed, decrement: p.as_str() == "--", prefix: true },
                    text => {
                        let op = PREFIX.iter().find(|(t, _)| *t == text).map_or(UnaryOp::Plus, |(_, op)| *op);
                        ExprKind::Unary { op, operand: boxed }
                    }
                },
            };
            operand = Expr { kind, span };
        }
        operand
    }

    fn suffixed(&mut self, base: Expr, pair: Pair<'_>) -> Expr {
        let span = base.span.to(self.span(&pair));
        let base = Box::new(base);
        let kind = match pair.as_rule() {
            Rule::index => ExprKind::Index { base, indices: parts(pair).map(|p| self.expr(p)).collect() },
            Rule::member => {
                let arrow = pair.as_str().starts_with('-');
                match pair.into_inner().nth(1) {
                    Some(p) if p.as_rule() == Rule::tuple_index => {
                        ExprKind::TupleField { base, index: p.as_str().parse().unwrap_or(u32::MAX) }
                    }
                    Some(p) => ExprKind::Field { base, name: self.name(&p), arrow },
                    None => return *base,
                }
            }
            _ => ExprKind::Increment { target: base, decrement: pair.as_str() == "--", prefix: false },
        };
        Expr { kind, span }
    }

    /// A name and where it stands.
    pub(super) fn name(&self, pair: &Pair<'_>) -> Spanned<String> {
        Spanned { value: pair.as_str().to_string(), span: self.span(pair) }
    }

    fn primary(&mut self, pair: Pair<'_>) -> Expr {
        let span = self.span(&pair);
        let text = pair.as_str();
        let kind = match pair.as_rule() {
            Rule::number => self.number(text, span),
            Rule::string => ExprKind::String(self.string(&pair)),
            Rule::character => self.character(&pair),
            Rule::boolean => ExprKind::Bool(text == "true"),
            Rule::identifier => ExprKind::Identifier(text.to_string()),
            Rule::variable => ExprKind::Variable(text.to_string()),
            Rule::map => ExprKind::Map(text.to_string()),
            Rule::positional => self.positional(text, span),
            Rule::positional_count => ExprKind::PositionalCount,
            Rule::name_or_call => self.name_or_call(pair),
            Rule::paren => self.paren(pair),
            Rule::if_chain => return self.if_value(pair),
            Rule::block => ExprKind::Block(Box::new(self.block(pair, true))),
            Rule::sizeof_expr => self.of(pair, ExprKind::Sizeof),
            Rule::typeof_expr => self.of(pair, ExprKind::Typeof),
            Rule::typeinfo_expr => self.of(pair, ExprKind::Typeinfo),
            Rule::offsetof_expr => self.offsetof(pair, span),
            _ => return nothing(span),
        };
        Expr { kind, span }
    }

    fn name_or_call(&mut self, pair: Pair<'_>) -> ExprKind {
        let mut inner = pair.into_inner();
        let Some(name) = inner.next() else { return ExprKind::Identifier(String::new()) };
        match inner.next() {
            Some(args) => {
                let name = self.name(&name);
                ExprKind::Call { name, args: parts(args).map(|p| self.expr(p)).collect() }
            }
            None => ExprKind::Identifier(name.as_str().to_string()),
        }
    }

    /// Grouping, tuple or record.
    fn paren(&mut self, pair: Pair<'_>) -> ExprKind {
        let commas = pair.clone().into_inner().any(|p| p.as_rule() == Rule::comma);
        let mut items = Vec::new();
        let mut fields = Vec::new();
        for p in parts(pair) {
            if p.as_rule() == Rule::field {
                let mut inner = parts(p);
                if let (Some(name), Some(value)) = (inner.next(), inner.next()) {
                    let name = self.name(&name);
                    fields.push((name, self.expr(value)));
                }
            } else {
                items.push(self.expr(p));
            }
        }
        if !fields.is_empty() {
            return ExprKind::Record(fields);
        }
        match items.pop() {
            Some(only) if items.is_empty() && !commas => only.kind,
            Some(last) => {
                items.push(last);
                ExprKind::Tuple(items)
            }
            None => ExprKind::Tuple(items),
        }
    }

    /// `sizeof(x)` and its like.
    fn of(&mut self, pair: Pair<'_>, make: fn(TypeOrExpr) -> ExprKind) -> ExprKind {
        let span = self.span(&pair);
        match parts(pair).find(|p| p.as_rule() == Rule::type_or_expr) {
            Some(p) => make(self.type_or_expr(p)),
            None => nothing(span).kind,
        }
    }

    fn offsetof(&mut self, pair: Pair<'_>, span: Span) -> ExprKind {
        let mut of = TypeOrExpr::Type(TypeExpr { kind: TypeKind::Name(String::new()), span });
        let mut path = Vec::new();
        for p in parts(pair) {
            match p.as_rule() {
                Rule::type_or_expr => of = self.type_or_expr(p),
                Rule::any_word => path.push(self.name(&p)),
                _ => {}
            }
        }
        ExprKind::Offsetof { of, path }
    }
}
