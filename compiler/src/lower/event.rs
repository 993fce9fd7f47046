//! Records: reserve, fill in place, submit.
//!
//! In: an event and its arguments. Out: code. Invariants: texts are read straight
//! into the record, never through the stack; between reserving and submitting
//! nothing may leave the program, because the verifier wants every path to
//! release the record: whatever has effects is evaluated before.

use btc_payload::event::{Event, EventId, JOIN_MAX};
use btc_payload::manifest::{LocationId, LossCounter};

use super::frame::Own;
use super::function::Fun;
use super::memory::{Fill, width};
use super::{Internal, R, internal};
use crate::clif::{Cmp, Value};
use crate::helper::Helper;
use crate::hir::tree::{Expr, ExprKind, Intrinsic};
use crate::hir::types::{Space, Type};
use crate::hir::visit::{Node, walk_expr};
use crate::span::Span;

/// An argument on its way into the record.
enum Ready<'e> {
    Scalar(Value),
    Memory(Own),
    /// Evaluated while the record is filled.
    Later(&'e Expr),
}

impl Fun<'_, '_, '_> {
    /// Sends a record.
    pub(super) fn emit(&mut self, id: EventId, args: &[Expr], span: Span) -> R<()> {
        let Some(event) = self.cx.program.events.get(id.0 as usize) else {
            return internal("unknown event", span);
        };
        if super::seq::is_pinned(&self.probe.attach) && self.emit_to_file(&event.action, args, span)? {
            return Ok(());
        }
        let fields: Vec<_> = event.fields.iter().map(|t| self.cx.layouts.of(t)).collect();
        let layout = Event { action: event.action.clone(), fields, location: LocationId(0) };
        let (offsets, size) = layout.layout();
        if offsets.len() != args.len() {
            return internal("arguments do not fit the event", span);
        }
        let ready = self.prepare(args)?;

        let (map, bytes, flags) =
            (self.internal_map(Internal::Events), self.b.iconst(i64::from(size)), self.b.iconst(0));
        let found = self.b.call_helper(Helper::RingbufReserve, &[map, bytes, flags]);
        let reserved = self.b.nonzero(found);
        let mut open = self.b.begin_if(reserved);
        let record = self.own(found);
        self.b.store_const(record.ptr, width(8), i64::from(id.0));
        for ((arg, ready), at) in args.iter().zip(ready).zip(offsets) {
            self.fill(arg, ready, record.at(at))?;
        }
        let none = self.b.iconst(0);
        self.b.call_helper(Helper::RingbufSubmit, &[found, none]);
        self.b.begin_else(&mut open);
        self.count_loss(LossCounter::Events);
        self.b.end_if(open);
        Ok(())
    }

    /// Evaluates what must or may be evaluated before the record is reserved.
    fn prepare<'e>(&mut self, args: &'e [Expr]) -> R<Vec<Ready<'e>>> {
        // Arguments before one with effects are evaluated before it, too.
        let early = args.iter().rposition(has_effects).map_or(0, |i| i + 1);
        let mut ready = Vec::new();
        for (i, arg) in args.iter().enumerate() {
            ready.push(if arg.ty.is_scalar() {
                Ready::Scalar(self.scalar(arg)?)
            } else if i < early {
                let place = self.temp_for(arg);
                self.into(arg, place, Fill::Loose)?;
                Ready::Memory(place)
            } else {
                Ready::Later(arg)
            });
        }
        Ok(ready)
    }

    /// Fills one argument in.
    fn fill(&mut self, arg: &Expr, ready: Ready<'_>, field: Own) -> R<()> {
        match ready {
            Ready::Scalar(v) => self.store_scalar(field, &arg.ty, v),
            Ready::Memory(place) => self.copy_value(place, &arg.ty, field, Fill::Loose)?,
            Ready::Later(e) => self.into(e, field, Fill::Loose)?,
        }
        Ok(())
    }

    /// The strings of an argv, up to the null pointer that ends it.
    pub(super) fn join_arguments(&mut self, argv: &Expr, ty: &Type, to: Own, span: Span) -> R<()> {
        let Type::Tuple(fields) = ty else { return internal("join of no tuple", span) };
        let [Type::Int { .. }, Type::Array { elem, len }] = fields.as_slice() else {
            return internal("join of no array", span);
        };
        let Type::Str { size } = **elem else { return internal("join of no texts", span) };
        let (count, strings) = (to, to.at(4));
        let Type::Pointer { space, .. } = &argv.ty else { return internal("join of no pointer", span) };
        let space = if *space == Space::Bpf { Space::Kernel } else { *space };
        let start = self.scalar(argv)?;
        let done = self.b.create_block();
        self.b.store_const(count.ptr, width(4), 0);
        for i in 0..(*len).min(JOIN_MAX) {
            let mark = self.mark();
            let cell = self.stack("pointer", 8);
            let (bytes, offset) = (self.b.iconst(8), self.b.iconst(i64::from(i) * 8));
            let from = self.b.add(start, offset);
            self.read_far(cell, bytes, from, space);
            let text = self.b.load(cell.ptr, width(8));
            self.release(mark);
            let ended = self.b.compare_const(Cmp::Eq, text, 0);
            let stop = self.b.begin_if(ended);
            self.b.jump(done);
            self.b.end_if(stop);
            self.text_from(text, space, None, size, strings.at(i * size), Fill::Loose);
            self.b.store_const(count.ptr, width(4), i64::from(i) + 1);
        }
        self.b.jump(done);
        self.b.seal(done);
        self.b.switch_to(done);
        Ok(())
    }
}

/// Can the evaluation change something, leave the program or send a record?
fn has_effects(e: &Expr) -> bool {
    let mut found = false;
    walk_expr(e, &mut |node| {
        found |= match node {
            Node::Stmt(_) => true,
            Node::Expr(e) => match &e.kind {
                ExprKind::Block { .. }
                | ExprKind::Increment { .. }
                | ExprKind::Emit { .. }
                | ExprKind::MapDelete { .. }
                | ExprKind::MapFind { .. }
                | ExprKind::MapLen { .. } => true,
                ExprKind::Intrinsic { which, .. } => matches!(
                    which,
                    Intrinsic::Signal { .. }
                        | Intrinsic::Override
                        | Intrinsic::Debugf(_)
                        | Intrinsic::WriteUser
                        | Intrinsic::SkbOutput(_)
                        | Intrinsic::Kfunc { .. }
                        | Intrinsic::Imported { .. }
                ),
                _ => false,
            },
        }
    });
    found
}
