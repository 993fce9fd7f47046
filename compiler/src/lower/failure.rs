//! What goes wrong while a program runs: helpers that fail, which `-k` of the tracer
//! reports, and operations without a result, which are always reported.
//!
//! In: the result of a helper call, a divisor, an index. Out: a test and a record.
//! The test of a helper is dead code unless the tracer was started with `-k`: the flag
//! is a constant of `.rodata`, so the verifier drops the test, and only the object
//! carries it.

use super::function::Fun;
use super::{Internal, R, Role, Subprogram};
use crate::clif::{Bool, Cmp, FuncId, Mem, Value, Width};
use crate::diagnostic::Diagnostic;
use crate::helper::Helper;
use btc_payload::event::{Action, Fault, RECORD_HEADER};
use btc_payload::start::StartValue;

/// What went wrong.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// A helper said so.
    Helper(&'static str),
    /// An operation has no result.
    Fault(Fault),
}

impl Failure {
    /// What the tracer does about it.
    pub(super) fn action(self) -> Action {
        match self {
            Failure::Helper(helper) => Action::HelperError { helper: helper.to_owned() },
            Failure::Fault(fault) => Action::Fault(fault),
        }
    }
}

impl Fun<'_, '_, '_> {
    /// Reports a helper whose result is negative.
    pub(super) fn check_helper(&mut self, result: Value, helper: Helper) {
        self.helper_failed_if(Cmp::Slt, result, helper.name());
    }

    /// Reports a map element that is not there; `found` is its address.
    pub(super) fn check_lookup(&mut self, found: Value) {
        self.helper_failed_if(Cmp::Eq, found, Helper::MapLookupElem.name());
    }

    fn helper_failed_if(&mut self, failed: Cmp, result: Value, helper: &'static str) {
        let wanted = self.start_value(StartValue::Setting("helper_errors".into()));
        let wanted = self.b.nonzero(wanted);
        let open = self.b.begin_if(wanted);
        let bad = self.b.compare_const(failed, result, 0);
        // A null pointer is no number to the verifier, so it is not passed on.
        let code = if failed == Cmp::Eq { self.b.iconst(0) } else { result };
        self.report_if(bad, Failure::Helper(helper), code);
        self.b.end_if(open);
    }

    /// Reports a divisor of zero: 1 if it is, else 0. No branch decides the value, or
    /// the verifier would walk what follows once for each outcome of each division.
    pub(super) fn check_divisor(&mut self, divisor: Value) -> Value {
        if self.b.as_const(divisor).is_some_and(|value| value != 0) {
            return self.b.iconst(0);
        }
        let nonzero = self.nonzero_bit(divisor);
        let one = self.b.iconst(1);
        let zero = self.b.xor(nonzero, one);
        self.fault_if(zero, Fault::DivisionByZero);
        zero
    }

    /// Reports an index outside of `0..len`.
    pub(super) fn check_index(&mut self, index: Value, len: u32) {
        let last = self.b.iconst(i64::from(len.max(1) - 1));
        // A copy, lest the verifier learn of the index itself and walk what follows twice.
        let index = self.b.barrier(index);
        let within = self.b.umin(index, last);
        let distance = self.b.xor(index, within);
        let outside = self.nonzero_bit(distance);
        self.fault_if(outside, Fault::OutOfBounds);
    }

    /// 1 for a number other than 0: only then it or its negative has the highest bit.
    fn nonzero_bit(&mut self, value: Value) -> Value {
        let negative = self.b.neg(value);
        let either = self.b.or(value, negative);
        let top = self.b.iconst(63);
        self.b.ushr(either, top)
    }

    fn fault_if(&mut self, flag: Value, fault: Fault) {
        let bad = self.b.nonzero(flag);
        let code = self.b.iconst(0);
        self.report_if(bad, Failure::Fault(fault), code);
    }

    fn report_if(&mut self, bad: Bool, failure: Failure, code: Value) {
        let report = self.b.begin_if(bad);
        let place = (failure, self.span);
        let known = self.cx.failures.iter().position(|f| *f == place);
        let index = known.unwrap_or_else(|| {
            self.cx.failures.push(place);
            self.cx.failures.len() - 1
        });
        let event = self.b.iconst((self.cx.program.events.len() + index) as i64);
        if let Ok(function) = self.reporter() {
            self.b.call_subprog(function, &[code, event]);
        }
        self.b.end_if(report);
    }

    /// The subprogram that sends the record.
    fn reporter(&mut self) -> R<FuncId> {
        let key = Subprogram::Failed;
        if let Some(&id) = self.cx.subprograms.get(&key) {
            return Ok(id);
        }
        let id = self.b.module().declare("report_failure", 2);
        self.cx.declared(id, self.index, Role::Global);
        self.cx.subprograms.insert(key, id);
        let location = self.cx.srcloc(self.span);
        let events = self.cx.internal(Internal::Events);
        self.b.module().define(id, |b| -> Result<(), Box<Diagnostic>> {
            b.set_srcloc(location);
            let (code, event) = (b.param(0), b.param(1));
            let (map, size, flags) = (b.map(events), b.iconst(i64::from(RECORD_HEADER) + 8), b.iconst(0));
            let found = b.call_helper(Helper::RingbufReserve, &[map, size, flags]);
            let reserved = b.nonzero(found);
            let open = b.begin_if(reserved);
            let record = b.pointer(Mem::Bpf, found);
            b.store(record, Width::W64, event);
            b.store(record.at(RECORD_HEADER as i32), Width::W64, code);
            let none = b.iconst(0);
            b.call_helper(Helper::RingbufSubmit, &[found, none]);
            b.end_if(open);
            b.ret_const(0);
            Ok(())
        })?;
        Ok(id)
    }
}
