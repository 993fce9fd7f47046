//! Blocks and statements.
//!
//! In: what the grammar recognised. Out: `Block` and `Statement`. A block knows
//! whether its value is wanted: only then does an `if` at its end become the
//! value; elsewhere `if` and `{ }` are statements.

use super::expr::infix;
use super::grammar::Rule;
use super::{Builder, Pair, message, parts};
use crate::span::Span;
use crate::syntax::ast::{Block, Expr, ExprKind, Statement, StatementKind};

impl Builder<'_> {
    /// A block; `value` says whether its value is wanted.
    pub(super) fn block(&mut self, pair: Pair<'_>, value: bool) -> Block {
        let span = self.span(&pair);
        self.deeper(1, span, |b| b.statements(pair, value, span)).unwrap_or_default()
    }

    fn statements(&mut self, pair: Pair<'_>, value: bool, span: Span) -> Block {
        let mut block = Block { span, ..Block::default() };
        let mut inner = pair.into_inner().filter(|p| p.as_rule() != Rule::lbrace).peekable();
        while let Some(p) = inner.next() {
            let next = inner.peek().map(|p| p.as_rule());
            let last = next == Some(Rule::rbrace);
            match p.as_rule() {
                Rule::semi | Rule::rbrace => {}
                Rule::effect if last => match self.effect(p) {
                    Statement { kind: StatementKind::Expr(e), .. } => block.value = Some(Box::new(e)),
                    other => block.statements.push(other),
                },
                Rule::if_chain if last && value && has_else(&p) => block.value = Some(Box::new(self.if_value(p))),
                Rule::comptime_if if last && value => block.value = Some(Box::new(self.comptime_value(p))),
                Rule::block if last && value => {
                    let span = self.span(&p);
                    let kind = ExprKind::Block(Box::new(self.block(p, true)));
                    block.value = Some(Box::new(Expr { kind, span }));
                }
                _ => {
                    let statement = self.statement(p);
                    block.statements.push(statement);
                }
            }
        }
        block
    }

    fn statement(&mut self, pair: Pair<'_>) -> Statement {
        let span = self.span(&pair);
        let kind = match pair.as_rule() {
            Rule::effect => return self.effect(pair),
            Rule::if_chain => return self.if_statement(pair, false),
            Rule::comptime_if => match parts(pair).nth(1) {
                Some(p) => return Statement { span, ..self.if_statement(p, true) },
                None => StatementKind::Break,
            },
            Rule::block => StatementKind::Block(self.block(pair, false)),
            Rule::while_loop => {
                let (condition, body) = self.condition_and_block(pair, span);
                StatementKind::While { condition, body }
            }
            Rule::unroll_loop => {
                let (count, body) = self.condition_and_block(pair, span);
                StatementKind::Unroll { count, body }
            }
            Rule::for_loop => self.for_loop(pair, span),
            Rule::let_statement => self.let_statement(pair, span),
            Rule::continue_statement => StatementKind::Continue,
            Rule::return_statement => StatementKind::Return(parts(pair).nth(1).map(|p| self.expr(p))),
            Rule::inner_import => {
                self.found.push(message::inner_import(span));
                StatementKind::Break
            }
            _ => StatementKind::Break,
        };
        Statement { kind, span }
    }

    /// An expression for its effects, or an assignment.
    fn effect(&mut self, pair: Pair<'_>) -> Statement {
        let span = self.span(&pair);
        let mut inner = pair.into_inner();
        let target = match inner.next() {
            Some(p) => self.expr(p),
            None => Expr { kind: ExprKind::Tuple(Vec::new()), span },
        };
        let kind = match (inner.next(), inner.next()) {
            (Some(op), Some(value)) => {
                let op = op.as_str().strip_suffix('=').and_then(infix);
                StatementKind::Assign { target, op, value: self.expr(value) }
            }
            _ => StatementKind::Expr(target),
        };
        Statement { kind, span }
    }

    fn condition_and_block(&mut self, pair: Pair<'_>, span: Span) -> (Expr, Block) {
        let mut condition = Expr { kind: ExprKind::Bool(false), span };
        let mut body = Block::default();
        for p in parts(pair) {
            match p.as_rule() {
                Rule::condition => condition = self.expr(p),
                Rule::block => body = self.block(p, false),
                _ => {}
            }
        }
        (condition, body)
    }

    fn for_loop(&mut self, pair: Pair<'_>, span: Span) -> StatementKind {
        let mut variable = crate::span::Spanned { value: String::new(), span };
        let mut operands = Vec::new();
        let mut body = Block::default();
        for p in parts(pair) {
            match p.as_rule() {
                Rule::variable => variable = self.name(&p),
                Rule::operand => operands.push(self.expr(p)),
                Rule::block => body = self.block(p, false),
                _ => {}
            }
        }
        let last = operands.pop().unwrap_or(Expr { kind: ExprKind::Tuple(Vec::new()), span });
        match operands.pop() {
            Some(start) => StatementKind::ForRange { variable, start, end: last, body },
            None => StatementKind::ForEach { variable, iterable: last, body },
        }
    }

    fn let_statement(&mut self, pair: Pair<'_>, span: Span) -> StatementKind {
        let mut name = crate::span::Spanned { value: String::new(), span };
        let (mut ty, mut value) = (None, None);
        for p in parts(pair) {
            match p.as_rule() {
                Rule::variable => name = self.name(&p),
                Rule::type_name => ty = Some(self.type_expr(p)),
                Rule::expr => value = Some(self.expr(p)),
                _ => {}
            }
        }
        StatementKind::Let { name, ty, value }
    }

    /// The links of `if ... else if ... else`, and the last `else`.
    fn links<'i>(&mut self, pair: Pair<'i>) -> (Vec<Link<'i>>, Option<Pair<'i>>) {
        let mut links: Vec<Link<'_>> = Vec::new();
        let mut last = None;
        let mut start = self.span(&pair);
        let mut condition = None;
        for p in parts(pair) {
            match p.as_rule() {
                Rule::kw_if => start = self.span(&p),
                Rule::condition => condition = Some(p),
                Rule::block => match condition.take() {
                    Some(condition) => links.push(Link { start, condition, then: p }),
                    None => last = Some(p),
                },
                _ => {}
            }
        }
        (links, last)
    }

    fn if_statement(&mut self, pair: Pair<'_>, comptime: bool) -> Statement {
        let span = self.span(&pair);
        let (links, last) = self.links(pair);
        let built = self.deeper(2 * links.len(), span, |b| {
            let links: Vec<(Span, Expr, Block)> =
                links.into_iter().map(|l| (l.start, b.expr(l.condition), b.block(l.then, false))).collect();
            (links, last.map(|p| b.block(p, false)))
        });
        let Some((mut links, mut otherwise)) = built else { return Statement { kind: StatementKind::Break, span } };
        let first = (!links.is_empty()).then(|| links.remove(0));
        let end = span;
        for (start, condition, then) in links.into_iter().rev() {
            let span = Span { end: end.end, ..start };
            let kind = if_kind(condition, then, otherwise, comptime);
            otherwise = Some(Block { statements: vec![Statement { kind, span }], value: None, span });
        }
        match first {
            Some((_, condition, then)) => Statement { kind: if_kind(condition, then, otherwise, comptime), span },
            None => Statement { kind: StatementKind::Break, span },
        }
    }

    /// An `if` whose value is wanted.
    pub(super) fn if_value(&mut self, pair: Pair<'_>) -> Expr {
        let span = self.span(&pair);
        let (links, last) = self.links(pair);
        if last.is_none() {
            self.found.push(message::if_without_else(span));
        }
        let built = self.deeper(2 * links.len(), span, |b| {
            let links: Vec<(Span, Expr, Block)> =
                links.into_iter().map(|l| (l.start, b.expr(l.condition), b.block(l.then, true))).collect();
            (links, last.map(|p| b.block(p, true)))
        });
        let Some((links, last)) = built else { return Expr { kind: ExprKind::Tuple(Vec::new()), span } };
        let mut otherwise = last.unwrap_or_default();
        let mut value = None;
        for (start, condition, then) in links.into_iter().rev() {
            let span = Span { end: span.end, ..start };
            if let Some(inner) = value.take() {
                otherwise = Block { statements: Vec::new(), value: Some(Box::new(inner)), span };
            }
            let (condition, then) = (Box::new(condition), Box::new(then));
            let otherwise = Box::new(std::mem::take(&mut otherwise));
            value = Some(Expr { kind: ExprKind::If { condition, then, otherwise }, span });
        }
        value.unwrap_or(Expr { kind: ExprKind::Tuple(Vec::new()), span })
    }

    fn comptime_value(&mut self, pair: Pair<'_>) -> Expr {
        let span = self.span(&pair);
        let inner = match parts(pair).nth(1) {
            Some(p) => self.if_value(p),
            None => Expr { kind: ExprKind::Tuple(Vec::new()), span },
        };
        Expr { kind: ExprKind::Comptime(Box::new(inner)), span }
    }
}

/// `if condition { then }`.
struct Link<'i> {
    start: Span,
    condition: Pair<'i>,
    then: Pair<'i>,
}

fn if_kind(condition: Expr, then: Block, otherwise: Option<Block>, comptime: bool) -> StatementKind {
    match condition.kind {
        ExprKind::Comptime(inner) => StatementKind::If { condition: *inner, then, otherwise, comptime: true },
        _ => StatementKind::If { condition, then, otherwise, comptime },
    }
}

/// Does the chain end in an `else` without condition?
fn has_else(pair: &Pair<'_>) -> bool {
    let inner = pair.clone().into_inner();
    let (blocks, conditions) = inner.fold((0, 0), |(b, c), p| match p.as_rule() {
        Rule::block => (b + 1, c),
        Rule::condition => (b, c + 1),
        _ => (b, c),
    });
    blocks > conditions
}
