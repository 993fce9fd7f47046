//! Aggregations: count, sum, avg, min, max, stats, hist, lhist, tseries.
//!
//! In: a value. Out: code that folds it into this CPU's part of the entry, by
//! the layout of `btc_payload::layout`. Invariants: no locks; only additions to
//! maps that programs read themselves are atomic, the others are per CPU.

use btc_payload::layout::{SERIES_BUCKET, SeriesAgg, hist_buckets, lhist_buckets};
use btc_payload::manifest::MapId;
use btc_payload::start::{Buckets, StartValue};

use super::frame::Own;
use super::function::Fun;
use super::map::per_cpu;
use super::{R, Role, Subprogram, internal, unsupported};
use crate::clif::{Atomic, Cmp, FuncId, Value, Width};
use crate::diagnostic::Diagnostic;
use crate::helper::Helper;
use crate::hir::tree::Expr;
use crate::hir::types::{Aggregate, Type};
use crate::span::Span;

impl Fun<'_, '_, '_> {
    /// `@m[key] = count()` and its siblings.
    pub(super) fn aggregate(&mut self, map: MapId, key: &Expr, what: &Aggregate, value: Option<&Expr>) -> R<()> {
        let v = match value {
            Some(e) => self.scalar(e)?,
            None => self.b.iconst(1),
        };
        let key = self.map_key(map, key)?;
        let entry = self.lookup_or_insert(map, key);
        let present = self.b.nonzero(entry);
        let open = self.b.begin_if(present);
        let place = self.own(entry);
        let shared = !per_cpu(self.cx.map(map).kind);
        match what {
            Aggregate::Count => {
                let one = self.b.iconst(1);
                self.accumulate(place, one, shared);
            }
            Aggregate::Sum { .. } => self.accumulate(place, v, shared),
            Aggregate::Avg { .. } | Aggregate::Stats { .. } => {
                self.accumulate(place, v, shared);
                let one = self.b.iconst(1);
                self.accumulate(place.at(8), one, shared);
            }
            Aggregate::Min { signed } => self.extreme(place, v, if *signed { Cmp::Slt } else { Cmp::Ult }),
            Aggregate::Max { signed } => self.extreme(place, v, if *signed { Cmp::Sgt } else { Cmp::Ugt }),
            Aggregate::Hist { bits } => {
                let function = self.hist_function(Some(*bits))?;
                let bucket = self.b.call_subprog(function, &[v]);
                self.bump(place, bucket, hist_buckets(*bits));
            }
            Aggregate::Lhist { min, max, step } => {
                let bucket = self.lhist_bucket(v, *min, *max, *step);
                self.bump(place, bucket, lhist_buckets(*min, *max, *step));
            }
            Aggregate::Bucketed(of) => {
                let count = self.start_value(StartValue::Buckets(of.clone()));
                let bucket = match &**of {
                    Buckets::Hist(bits) => {
                        let (function, bits) = (self.hist_function(None)?, self.start_value(bits.clone()));
                        self.b.call_subprog(function, &[v, bits])
                    }
                    Buckets::Lhist(bounds) => {
                        let [min, max, step] = bounds.clone().map(|b| self.start_value(b));
                        self.lhist_bucket_of(v, (min, max, step), count)
                    }
                };
                self.bump_one_of(place, bucket, count);
            }
            Aggregate::Tseries { interval_ns, buckets, agg, signed } => {
                self.series(place, v, *interval_ns, *buckets, *agg, *signed);
            }
        }
        self.b.end_if(open);
        Ok(())
    }

    fn accumulate(&mut self, place: Own, v: Value, shared: bool) {
        if shared {
            self.b.atomic(Atomic::Add, place.ptr, Width::W64, v);
            return;
        }
        let old = self.word(place);
        let new = self.b.add(old, v);
        self.b.store(place.ptr, Width::W64, new);
    }

    /// Keeps the value if it is the first or wins the comparison.
    fn extreme(&mut self, place: Own, v: Value, wins: Cmp) {
        let (best, set) = (self.word(place), self.word(place.at(8)));
        let better = self.b.compare(wins, v, best);
        let first = self.b.compare_const(Cmp::Eq, set, 0);
        let take = self.b.either(better, first);
        let open = self.b.begin_if(take);
        self.b.store(place.ptr, Width::W64, v);
        self.b.store_const(place.at(8).ptr, Width::W64, 1);
        self.b.end_if(open);
    }

    /// Adds one to a bucket.
    fn bump(&mut self, place: Own, bucket: Value, buckets: u32) {
        let bucket = self.clamp(bucket, buckets);
        let shift = self.b.iconst(3);
        let bytes = self.b.shl(bucket, shift);
        let ptr = self.b.index(place.ptr, bytes);
        self.add_const(place.moved(ptr, 8), 1);
    }

    /// Adds one to a bucket of as many as the run decides; their number is a constant for
    /// the verifier.
    fn bump_one_of(&mut self, place: Own, bucket: Value, count: Value) {
        let one = self.b.iconst(1);
        let last = self.b.sub(count, one);
        let bucket = self.b.barrier(bucket);
        let bucket = self.b.umin(bucket, last);
        let shift = self.b.iconst(3);
        let bytes = self.b.shl(bucket, shift);
        let ptr = self.b.index(place.ptr, bytes);
        self.add_const(place.moved(ptr, 8), 1);
    }

    /// The subprogram that computes buckets of `hist`; one for the whole script. Without
    /// `bits` they are its second argument.
    fn hist_function(&mut self, bits: Option<u8>) -> R<FuncId> {
        let key = Subprogram::HistBucket(bits);
        if let Some(&id) = self.cx.subprograms.get(&key) {
            return Ok(id);
        }
        let (name, parameters) = match bits {
            Some(bits) => (format!("hist_bucket_{bits}"), 1),
            None => ("hist_bucket".to_string(), 2),
        };
        let id = self.b.module().declare(&name, parameters);
        self.cx.declared(id, self.index, Role::Global);
        self.cx.subprograms.insert(key, id);
        // libbpf wants line information for every function, or for none.
        let location = self.cx.srcloc(self.span);
        self.b.module().define(id, |b| -> Result<(), Box<Diagnostic>> {
            b.set_srcloc(location);
            // The formula of `btc_payload::layout::hist_bucket`.
            let v = b.param(0);
            let negative = b.compare_const(Cmp::Slt, v, 0);
            let open = b.begin_if(negative);
            b.ret_const(0);
            b.end_if(open);
            let one = b.iconst(1);
            let (bits_value, per, mask, first) = match bits {
                Some(bits) => {
                    let per = 1i64 << bits;
                    (b.iconst(i64::from(bits)), b.iconst(per), b.iconst(per - 1), b.iconst(1 + per))
                }
                None => {
                    let bits = b.param(1);
                    let per = b.shl(one, bits);
                    (bits, per, b.sub(per, one), b.add(per, one))
                }
            };
            let small = b.compare(Cmp::Ult, v, per);
            let open = b.begin_if(small);
            let bucket = b.add(v, one);
            b.ret(bucket);
            b.end_if(open);
            let log = b.ilog2(v);
            let above = b.sub(log, bits_value);
            let sub = b.ushr(v, above);
            let sub = b.and(sub, mask);
            let row = b.mul(above, per);
            let bucket = b.add(row, sub);
            let bucket = b.add(bucket, first);
            b.ret(bucket);
            Ok(())
        })?;
        Ok(id)
    }

    fn lhist_bucket(&mut self, v: Value, min: i64, max: i64, step: i64) -> Value {
        let buckets = i64::from(lhist_buckets(min, max, step));
        let [min, max, step, count] = [min, max, step.max(1), buckets].map(|n| self.b.iconst(n));
        self.lhist_bucket_of(v, (min, max, step), count)
    }

    /// As [`Self::lhist_bucket`], with bounds and a number of buckets that the run gives.
    fn lhist_bucket_of(&mut self, v: Value, (min, max, step): (Value, Value, Value), count: Value) -> Value {
        let (result, zero, one) = (self.b.var(), self.b.iconst(0), self.b.iconst(1));
        self.b.set(result, zero);
        let above = self.b.compare(Cmp::Sge, v, min);
        let open = self.b.begin_if(above);
        let last = self.b.sub(count, one);
        self.b.set(result, last);
        let inside = self.b.compare(Cmp::Slt, v, max);
        let within = self.b.begin_if(inside);
        let distance = self.b.sub(v, min);
        let index = self.b.udiv(distance, step);
        let index = self.b.add(index, one);
        self.b.set(result, index);
        self.b.end_if(within);
        self.b.end_if(open);
        self.b.get(result)
    }

    /// A time series: a ring of (epoch, value, count), where the epoch is the
    /// boot clock divided by the interval.
    fn series(&mut self, place: Own, v: Value, interval_ns: u64, buckets: u32, agg: SeriesAgg, signed: bool) {
        // Intervals begin at whole multiples of their length on the wall clock.
        let now = self.b.call_helper(Helper::KtimeGetBootNs, &[]);
        let offset = self.start_value(StartValue::WallClockOffset);
        let now = self.b.add(now, offset);
        let interval = self.b.iconst(interval_ns.max(1) as i64);
        let epoch = self.b.udiv(now, interval);
        let count = self.b.iconst(i64::from(buckets.max(1)));
        let index = self.b.urem(epoch, count);
        let index = self.clamp(index, buckets);
        let size = self.b.iconst(i64::from(SERIES_BUCKET));
        let bytes = self.b.mul(index, size);
        let ptr = self.b.index(place.ptr, bytes);
        let bucket = place.moved(ptr, 8);
        let known = self.word(bucket);
        let stale = self.b.compare(Cmp::Ne, known, epoch);
        let open = self.b.begin_if(stale);
        self.b.store(bucket.ptr, Width::W64, epoch);
        self.b.store_const(bucket.at(8).ptr, Width::W64, 0);
        self.b.store_const(bucket.at(16).ptr, Width::W64, 0);
        self.b.end_if(open);
        let (old, n) = (self.word(bucket.at(8)), self.word(bucket.at(16)));
        let first = self.b.compare_const(Cmp::Eq, n, 0);
        let combined = match agg {
            SeriesAgg::Last => v,
            SeriesAgg::Avg | SeriesAgg::Sum => self.b.add(old, v),
            SeriesAgg::Max if signed => self.b.smax(old, v),
            SeriesAgg::Max => self.b.umax(old, v),
            SeriesAgg::Min if signed => self.b.smin(old, v),
            SeriesAgg::Min => self.b.umin(old, v),
        };
        let new = self.b.select(first, v, combined);
        self.b.store(bucket.at(8).ptr, Width::W64, new);
        self.add_const(bucket.at(16), 1);
    }

    /// What an entry comes to, over all CPUs.
    pub(super) fn aggregate_value(&mut self, map: MapId, key: Value, place: Own, ty: &Type, span: Span) -> R<Value> {
        let Some(Type::Aggregate(what)) = self.cx.program.maps.get(map.0 as usize).map(|m| &m.value) else {
            return internal("no aggregation", span);
        };
        let value = match what {
            Aggregate::Count | Aggregate::Sum { .. } => self.word(place),
            Aggregate::Avg { signed } | Aggregate::Stats { signed } => {
                let (total, count) = (self.word(place), self.word(place.at(8)));
                if *signed { self.b.sdiv(total, count) } else { self.b.udiv(total, count) }
            }
            Aggregate::Min { signed } => {
                let wins = if *signed { Cmp::Slt } else { Cmp::Ult };
                self.combined_extreme(map, key, wins, span)
            }
            Aggregate::Max { signed } => {
                let wins = if *signed { Cmp::Sgt } else { Cmp::Ugt };
                self.combined_extreme(map, key, wins, span)
            }
            Aggregate::Hist { .. } | Aggregate::Lhist { .. } | Aggregate::Bucketed(_) | Aggregate::Tseries { .. } => {
                return unsupported("the value of this aggregation inside a program", span);
            }
        };
        Ok(self.wrap(value, ty))
    }

    fn combined_extreme(&mut self, map: MapId, key: Value, wins: Cmp, span: Span) -> Value {
        let (best, any, zero) = (self.b.var(), self.b.var(), self.b.iconst(0));
        self.b.set(best, zero);
        self.b.set(any, zero);
        self.for_each_cpu(map, key, span, |f, place| {
            let (v, set) = (f.word(place), f.word(place.at(8)));
            let is_set = f.b.nonzero(set);
            let open = f.b.begin_if(is_set);
            let (so_far, seen) = (f.b.get(best), f.b.get(any));
            let better = f.b.compare(wins, v, so_far);
            let first = f.b.compare_const(Cmp::Eq, seen, 0);
            let take = f.b.either(better, first);
            let win = f.b.begin_if(take);
            f.b.set(best, v);
            let one = f.b.iconst(1);
            f.b.set(any, one);
            f.b.end_if(win);
            f.b.end_if(open);
        });
        self.b.get(best)
    }
}
