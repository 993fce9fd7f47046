//! Comparing and searching bytes whose number is known only when they are there.
//!
//! In: places, lengths that the verifier does not know. Out: code. Invariants:
//! loops have constant bounds, and what happens in one step takes no branches, so
//! that the verifier walks one path through each of up to some thousand steps.

use super::access::constant;
use super::frame::Own;
use super::function::Fun;
use super::memory::width;
use super::strings::NOT_FOUND;
use super::{R, unsupported};
use crate::clif::{Block, Cmp, Ptr, Value};
use crate::hir::tree::Expr;
use crate::hir::types::{Space, Type};

/// Most bytes that are compared without a loop.
const UNROLLED: u64 = 512;
/// Most bytes of memory that `memcmp` compares.
const MOST: u64 = 1024;
/// Steps of a search between two looks whether it is over.
const STRIDE: u32 = 4;

/// A text that ends with NUL, in a room whose size is a power of two.
struct Ended {
    place: Own,
    room: u32,
}

impl Fun<'_, '_, '_> {
    /// `memcmp(a, b, n)`: negative, 0 or positive.
    pub(super) fn memcmp(&mut self, a: &Expr, b: &Expr, n: &Expr) -> R<Value> {
        match constant(n) {
            Some(known) if known <= UNROLLED => {
                let known = known as u32;
                let (x, y) = (self.bytes_of(a, known)?, self.bytes_of(b, known)?);
                return Ok(self.order_of_bytes(x, y, known));
            }
            Some(known) if known > MOST => return unsupported("comparing more than 1024 bytes", n.span),
            _ => {}
        }
        let room = self.comparable(a).min(self.comparable(b)) as u32;
        let length = self.scalar(n)?;
        // Old verifiers must see the very register that was checked.
        let length = self.b.barrier(length);
        let most = self.b.iconst(i64::from(room));
        let length = self.b.umin(length, most);
        let (x, y) = (self.bytes_up_to(a, length, room)?, self.bytes_up_to(b, length, room)?);
        Ok(self.order_of_words(x, y, room.next_multiple_of(8)))
    }

    /// Bytes that a value has; of what an address points to, as many as are compared at most.
    fn comparable(&mut self, e: &Expr) -> u64 {
        match e.ty {
            Type::Pointer { .. } => MOST,
            _ => u64::from(self.size_of(&e.ty)).min(MOST),
        }
    }

    /// A copy of the first `length` bytes, zeroes behind them up to `room`.
    fn bytes_up_to(&mut self, e: &Expr, length: Value, room: u32) -> R<Own> {
        let room = room.next_multiple_of(8);
        let (from, space) = match &e.ty {
            Type::Pointer { space: Space::User, .. } => (self.scalar(e)?, Space::User),
            Type::Pointer { space: Space::Any, .. } => (self.scalar(e)?, Space::Any),
            Type::Pointer { .. } => (self.scalar(e)?, Space::Kernel),
            ty if ty.is_scalar() => {
                let cell = self.stack("number to compare", 8);
                let value = self.scalar(e)?;
                self.b.store(cell.ptr, width(8), value);
                (self.b.address(cell.ptr), Space::Kernel)
            }
            _ => {
                let place = self.memory(e)?;
                (self.b.address(place.ptr), Space::Kernel)
            }
        };
        let place = self.scratch(room);
        self.zero(place, room);
        self.read_far(place, length, from, space);
        Ok(place)
    }

    /// As `order_of_bytes`, in a loop over the words of two places in scratch memory.
    fn order_of_words(&mut self, a: Own, b: Own, size: u32) -> Value {
        let (result, zero) = (self.b.var(), self.b.iconst(0));
        self.b.set(result, zero);
        self.count_up(size, 8, |f, at, done| {
            let (x, y) = (f.word_at(a, at), f.word_at(b, at));
            let d = f.b.xor(x, y);
            let differ = f.b.nonzero(d);
            let decided = f.b.begin_if(differ);
            // As big-endian numbers, words compare like their bytes.
            let (x, y) = (f.b.bswap(x, width(8)), f.b.bswap(y, width(8)));
            let (less, more) = (f.b.compare(Cmp::Ult, x, y), f.b.compare(Cmp::Ugt, x, y));
            let (less, more) = (f.b.bool_value(less), f.b.bool_value(more));
            let sign = f.b.sub(more, less);
            f.b.set(result, sign);
            f.b.jump(done);
            f.b.end_if(decided);
        });
        self.b.get(result)
    }

    /// 1 if the first `length` of at most `size` bytes are equal.
    pub(super) fn equal_up_to(&mut self, a: Own, b: Own, size: u32, length: Value) -> Value {
        let (a, b) = (self.off_stack(a, size), self.off_stack(b, size));
        let (result, one) = (self.b.var(), self.b.iconst(1));
        self.b.set(result, one);
        self.count_up(size, 1, |f, at, done| {
            let (x, y) = (f.byte_at(a, at), f.byte_at(b, at));
            let d = f.b.xor(x, y);
            let within = f.b.compare(Cmp::Ult, at, length);
            let within = f.b.bool_value(within);
            let zero = f.b.iconst(0);
            let mask = f.b.sub(zero, within);
            let d = f.b.and(d, mask);
            let differ = f.b.nonzero(d);
            let decided = f.b.begin_if(differ);
            f.b.set(result, zero);
            f.b.jump(done);
            f.b.end_if(decided);
        });
        self.b.get(result)
    }

    /// A loop over 0, `step`, ... below `end`; `body` may jump to the block it is given,
    /// which is behind the loop.
    pub(super) fn count_up(&mut self, end: u32, step: u32, body: impl FnOnce(&mut Self, Value, Block)) {
        let counter = self.b.var();
        let (zero, done) = (self.b.iconst(0), self.b.create_block());
        self.b.set(counter, zero);
        let open = self.b.begin_loop();
        let at = self.b.get(counter);
        let more = self.b.compare_const(Cmp::Ult, at, i64::from(end));
        self.b.loop_while(&open, more);
        body(self, at, done);
        let step = self.b.iconst(i64::from(step));
        let next = self.b.add(at, step);
        self.b.set(counter, next);
        self.b.end_loop(open);
        self.b.jump(done);
        self.b.seal(done);
        self.b.switch_to(done);
    }

    /// The place, or a copy that variable indices may go into.
    fn off_stack(&mut self, place: Own, size: u32) -> Own {
        if !place.stack {
            return place;
        }
        let to = self.scratch(size);
        self.copy(to, place, size);
        to
    }

    /// The position of a text in another one, or [`NOT_FOUND`], by the method of Knuth,
    /// Morris and Pratt: the steps are as many as both texts together are long, twice,
    /// where looking at each position would take their product.
    pub(super) fn find_variable(&mut self, haystack: &Expr, h: u32, needle: &Expr, n: u32) -> R<Value> {
        let hay = self.ended(haystack, h)?;
        // What is longer than the text that is searched is not in there.
        let n = n.min(h + 1);
        let wanted = self.ended(needle, n)?;
        let table = self.scratch((wanted.room + 1) * 2);
        self.b.store_const(table.ptr, width(4), 0);
        self.build_table(&wanted, table);
        Ok(self.walk_text(&hay, &wanted, table))
    }

    /// A copy of a text's first `size` bytes that ends with NUL even where the text was
    /// cut, in a room that a mask of the index keeps to.
    fn ended(&mut self, text: &Expr, size: u32) -> R<Ended> {
        let from = self.memory(text)?;
        let room = size.next_power_of_two();
        let place = self.scratch(room);
        self.copy(place, from, size);
        self.b.store_const(place.at(size - 1).ptr, width(1), 0);
        Ok(Ended { place, room })
    }

    /// Entry `m` of the table: how many characters at the end of the first `m` are the
    /// text's first ones. Entries 0 and 1 are there.
    fn build_table(&mut self, wanted: &Ended, table: Own) {
        let one = self.b.iconst(1);
        self.step_through(one, wanted.room * 2, |f, k, m| {
            let (k, m) = (f.within(wanted, k), f.within(wanted, m));
            let (x, y) = (f.byte_at(wanted.place, k), f.byte_at(wanted.place, m));
            let (stop, same) = (f.is_zero(x), f.same_byte(x, y));
            let (zero, one) = (f.b.iconst(0), f.b.iconst(1));
            let longer = f.b.add(m, one);
            // Where the position stays, its entry is written again when it is known.
            let entry = f.choose(same, longer, zero);
            let behind = f.entry(table, k);
            f.b.store(behind.at(2), width(2), entry);
            f.advance(table, k, m, same, stop)
        });
    }

    fn walk_text(&mut self, hay: &Ended, wanted: &Ended, table: Own) -> Value {
        let zero = self.b.iconst(0);
        let (k, m) = self.step_through(zero, hay.room * 2, |f, k, m| {
            let (k, m) = (f.within(hay, k), f.within(wanted, m));
            let (x, y) = (f.byte_at(hay.place, k), f.byte_at(wanted.place, m));
            let (over, found) = (f.is_zero(x), f.is_zero(y));
            let stop = f.b.or(over, found);
            let same = f.same_byte(x, y);
            f.advance(table, k, m, same, stop)
        });
        let at = self.within(wanted, m);
        let next = self.byte_at(wanted.place, at);
        let found = self.is_zero(next);
        let (start, none) = (self.b.sub(k, m), self.b.iconst(NOT_FOUND));
        self.choose(found, start, none)
    }

    /// A loop over a position, which starts at `first`, and a number of characters that
    /// fit, which starts at 0. `step` gives both for the next round, and 1 when nothing
    /// changes any more; that is looked at every few rounds only, because the verifier
    /// follows no more than 8192 branches in a row (`BPF_COMPLEXITY_LIMIT_JMP_SEQ`).
    fn step_through(
        &mut self,
        first: Value,
        rounds: u32,
        step: impl Fn(&mut Self, Value, Value) -> (Value, Value, Value),
    ) -> (Value, Value) {
        let (i, j, zero) = (self.b.var(), self.b.var(), self.b.iconst(0));
        self.b.set(i, first);
        self.b.set(j, zero);
        self.count_up(rounds, STRIDE, |f, _, done| {
            let (mut k, mut m, mut stop) = (f.b.get(i), f.b.get(j), zero);
            for _ in 0..STRIDE {
                (k, m, stop) = step(f, k, m);
            }
            f.b.set(i, k);
            f.b.set(j, m);
            let over = f.b.nonzero(stop);
            let leave = f.b.begin_if(over);
            f.b.jump(done);
            f.b.end_if(leave);
        });
        (self.b.get(i), self.b.get(j))
    }

    /// Equal: one character more fits. Else as many as the table says, at the same
    /// position; at the next one if none did. After `stop` nothing changes.
    fn advance(&mut self, table: Own, k: Value, m: Value, same: Value, stop: Value) -> (Value, Value, Value) {
        let one = self.b.iconst(1);
        let longer = self.b.add(m, one);
        let slot = self.entry(table, m);
        let fallen = self.b.load(slot, width(2));
        let began = self.is_zero(m);
        let go = self.b.xor(stop, one);
        let forward = self.b.or(same, began);
        let forward = self.b.and(forward, go);
        let next = self.choose(same, longer, fallen);
        (self.b.add(k, forward), self.choose(go, next, m), stop)
    }

    /// An index that the verifier sees to be inside.
    fn within(&mut self, text: &Ended, index: Value) -> Value {
        let mask = self.b.iconst(i64::from(text.room - 1));
        self.b.and(index, mask)
    }

    /// Entry of a table of 16-bit numbers.
    fn entry(&mut self, table: Own, index: Value) -> Ptr {
        let twice = self.b.add(index, index);
        self.b.index(table.ptr, twice)
    }

    fn same_byte(&mut self, x: Value, y: Value) -> Value {
        let d = self.b.xor(x, y);
        self.is_zero(d)
    }

    /// 1 for 0, 0 for a small number, without a branch: the machine has no instruction
    /// that makes a comparison a value.
    fn is_zero(&mut self, value: Value) -> Value {
        let (one, sign) = (self.b.iconst(1), self.b.iconst(63));
        let less = self.b.sub(value, one);
        self.b.ushr(less, sign)
    }

    /// One of two values, by a flag, without a branch.
    fn choose(&mut self, flag: Value, yes: Value, no: Value) -> Value {
        let zero = self.b.iconst(0);
        let mask = self.b.sub(zero, flag);
        let d = self.b.xor(yes, no);
        let d = self.b.and(d, mask);
        self.b.xor(no, d)
    }
}
