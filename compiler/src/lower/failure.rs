//! Failures of helpers, which `-k` of the tracer reports.
//!
//! In: the result of a helper call. Out: a test that is dead code unless the tracer
//! was started with `-k`: the flag is a constant of `.rodata`, so the verifier
//! drops the test, and only the object carries it.

use super::function::Fun;
use super::{Internal, R, Role, Subprogram};
use crate::clif::{Cmp, FuncId, Mem, Value, Width};
use crate::diagnostic::Diagnostic;
use crate::helper::Helper;
use btc_payload::event::RECORD_HEADER;
use btc_payload::start::StartValue;

impl Fun<'_, '_, '_> {
    /// Reports a helper whose result is negative.
    pub(super) fn check_helper(&mut self, result: Value, helper: Helper) {
        self.report_if(Cmp::Slt, result, helper.name());
    }

    /// Reports a map element that is not there; `found` is its address.
    pub(super) fn check_lookup(&mut self, found: Value) {
        self.report_if(Cmp::Eq, found, Helper::MapLookupElem.name());
    }

    fn report_if(&mut self, failed: Cmp, result: Value, helper: &'static str) {
        let wanted = self.start_value(StartValue::Setting("helper_errors".into()));
        let wanted = self.b.nonzero(wanted);
        let open = self.b.begin_if(wanted);
        let bad = self.b.compare_const(failed, result, 0);
        let report = self.b.begin_if(bad);
        let place = (helper, self.span);
        let known = self.cx.failures.iter().position(|f| *f == place);
        let index = known.unwrap_or_else(|| {
            self.cx.failures.push(place);
            self.cx.failures.len() - 1
        });
        let event = self.b.iconst((self.cx.program.events.len() + index) as i64);
        // A null pointer is no number to the verifier, so it is not passed on.
        let code = if failed == Cmp::Eq { self.b.iconst(0) } else { result };
        if let Ok(function) = self.reporter() {
            self.b.call_subprog(function, &[code, event]);
        }
        self.b.end_if(report);
        self.b.end_if(open);
    }

    /// The subprogram that sends the record.
    fn reporter(&mut self) -> R<FuncId> {
        let key = Subprogram::HelperError;
        if let Some(&id) = self.cx.subprograms.get(&key) {
            return Ok(id);
        }
        let id = self.b.module().declare("helper_error", 2);
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
