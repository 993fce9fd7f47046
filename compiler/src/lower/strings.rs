//! Texts: read, cut, compare, search, join.
//!
//! In: places of type `Str`. Out: code. Invariants: a text's last byte is NUL
//! unless the text was cut; bytes between the NUL and the last byte are undefined
//! unless [`Fill::Exact`] was asked for. Loops have constant bounds and, where
//! possible, go by words, so that kernel 5.10's verifier, which walks every
//! iteration, gets through 1024 bytes.

use super::access::constant;
use super::frame::Own;
use super::function::Fun;
use super::memory::{Fill, pieces, width, word};
use super::{R, internal};
use crate::clif::{Cmp, Value};
use crate::helper::Helper;
use crate::hir::tree::{Expr, ExprKind};
use crate::hir::types::{Space, Type};

/// What a search gives that finds nothing: `-ENOENT`, as the kernel's `bpf_strstr`.
pub(super) const NOT_FOUND: i64 = -2;
const ONES: i64 = 0x0101_0101_0101_0101;
const TOPS: i64 = 0x8080_8080_8080_8080_u64 as i64;

impl Fun<'_, '_, '_> {
    /// The bytes of a constant text of `size` bytes: cut or padded with NULs.
    fn padded(bytes: &[u8], size: u32) -> Vec<u8> {
        let mut out = bytes.to_vec();
        out.truncate(size as usize);
        out.resize(size as usize, 0);
        out
    }

    /// A constant text as a place in `.rodata`.
    pub(super) fn constant_text(&mut self, bytes: &[u8], size: u32) -> Own {
        let at = self.cx.rodata.constant(&Self::padded(bytes, size));
        Own::new(self.b.rodata(at))
    }

    /// Writes a constant text.
    pub(super) fn text_into(&mut self, bytes: &[u8], ty: &Type, to: Own, fill: Fill) -> R<()> {
        let Type::Str { size } = *ty else { return internal("a text of another type", self.span) };
        let all = Self::padded(bytes, size);
        let needed = (bytes.len() as u32 + 1).min(size);
        // On the stack no byte stays as it was: comparisons read words, and where nothing or
        // a pointer lay before, the verifier does not take the word for a number.
        if fill == Fill::Exact || to.stack || size - needed < 8 {
            self.store_bytes(to, &all);
        } else {
            self.store_bytes(to, &all[..needed as usize]);
            self.b.store_const(to.at(size - 1).ptr, width(1), 0);
        }
        Ok(())
    }

    /// Reads text from an address into a `Str` of `size` bytes. `limit` bounds
    /// the bytes that are read, NUL included.
    pub(super) fn text_from(
        &mut self,
        from: Value,
        space: Space,
        limit: Option<Value>,
        size: u32,
        to: Own,
        fill: Fill,
    ) {
        if fill == Fill::Exact {
            self.zero(to, size);
        } else {
            self.b.store_const(to.at(size - 1).ptr, width(1), 0);
        }
        let whole = self.b.iconst(i64::from(size));
        let Some(limit) = limit else {
            let got = self.read_far_text(to, whole, from, space);
            return self.mark_if_cut(got, from, space, size, to);
        };
        // A limit of zero reads nothing, not even the NUL.
        self.b.store_const(to.ptr, width(1), 0);
        let known = self.b.as_const(limit);
        let limit = if known.is_some() { limit } else { self.b.barrier(limit) };
        let most = self.b.umin(limit, whole);
        let got = self.read_far_text(to, most, from, space);
        // What the script's own limit cuts is not marked as cut.
        if known.is_none_or(|n| n as u64 > u64::from(size)) {
            let beyond = self.b.compare(Cmp::Ugt, limit, whole);
            let open = self.b.begin_if(beyond);
            self.mark_if_cut(got, from, space, size, to);
            self.b.end_if(open);
        }
    }

    /// If a text filled its place, looks whether it went on, and marks it as cut:
    /// the byte that follows becomes the last one.
    fn mark_if_cut(&mut self, got: Value, from: Value, space: Space, size: u32, to: Own) {
        let full = self.b.compare_const(Cmp::Eq, got, i64::from(size));
        let open = self.b.begin_if(full);
        let last = self.b.iconst(i64::from(size - 1));
        let next = self.b.add(from, last);
        let one = self.b.iconst(1);
        self.read_far(to.at(size - 1), one, next, space);
        self.b.end_if(open);
    }

    /// Writes a text as one of another size.
    pub(super) fn resize_text(&mut self, x: &Expr, size: u32, to: Own, fill: Fill) -> R<()> {
        if let ExprKind::Str(bytes) = &x.kind {
            return self.text_into(bytes, &Type::Str { size }, to, fill);
        }
        // Reading into the place at once avoids a copy; the result is cut the same.
        if let ExprKind::Intrinsic { which: crate::hir::tree::Intrinsic::ReadStr, args } = &x.kind {
            let Type::Str { size: read } = x.ty else { return internal("a text of another type", x.span) };
            if read == size || (read > size && args.len() == 1) {
                return self.read_text(args, size, to, fill);
            }
        }
        let Type::Str { size: from_size } = x.ty else { return internal("a text of another type", x.span) };
        if from_size == size && fill == Fill::Loose {
            return self.into(x, to, fill);
        }
        let from = self.memory(x)?;
        self.resize_place(from, from_size, size, to, fill);
        Ok(())
    }

    /// `str(pointer, length?)`.
    pub(super) fn read_text(&mut self, args: &[Expr], size: u32, to: Own, fill: Fill) -> R<()> {
        let [pointer, rest @ ..] = args else { return internal("str() without pointer", self.span) };
        let (from, space) = match &pointer.ty {
            Type::Pointer { space, .. } => (self.scalar(pointer)?, *space),
            ty if ty.is_scalar() => (self.scalar(pointer)?, Space::Any),
            _ => self.address_of(pointer)?,
        };
        let limit = match rest.first() {
            Some(length) => match constant(length) {
                // What an explicit length cuts off is not missed.
                Some(n) if n > u64::from(size) => None,
                _ => Some(self.scalar(length)?),
            },
            None => None,
        };
        let space = if space == Space::Bpf || space == Space::Context { Space::Kernel } else { space };
        self.text_from(from, space, limit, size, to, fill);
        Ok(())
    }

    /// Copies a text between places of different sizes.
    pub(super) fn resize_place(&mut self, from: Own, from_size: u32, size: u32, to: Own, fill: Fill) {
        if fill == Fill::Exact || to.stack {
            self.zero(to, size);
        } else {
            self.b.store_const(to.at(size - 1).ptr, width(1), 0);
        }
        let least = from_size.min(size);
        let most = self.b.iconst(i64::from(least));
        let address = self.b.address(from.ptr);
        let got = self.read_far_text(to, most, address, Space::Kernel);
        // A text that fills the smaller of the two: its next byte tells whether
        // it goes on (or was cut before), and becomes the mark of the copy.
        let full = self.b.compare_const(Cmp::Eq, got, i64::from(least));
        let open = self.b.begin_if(full);
        let mark = self.b.load(from.at(least - 1).ptr, width(1));
        self.b.store(to.at(size - 1).ptr, width(1), mark);
        self.b.end_if(open);
    }

    /// 1 if two texts are equal.
    pub(super) fn equal_texts(&mut self, left: &Expr, right: &Expr) -> R<Value> {
        let (Type::Str { size: n }, Type::Str { size: m }) = (&left.ty, &right.ty) else {
            return internal("comparison of texts", left.span);
        };
        match (&left.kind, &right.kind) {
            (_, ExprKind::Str(bytes)) => {
                let place = self.memory(left)?;
                self.equals_literal(place, *n, bytes)
            }
            (ExprKind::Str(bytes), _) => {
                let place = self.memory(right)?;
                self.equals_literal(place, *m, bytes)
            }
            _ => {
                let (a, b) = (self.memory(left)?, self.memory(right)?);
                Ok(self.equal_strings(a, *n, b, *m))
            }
        }
    }

    /// 1 if the text is this constant.
    fn equals_literal(&mut self, place: Own, size: u32, bytes: &[u8]) -> R<Value> {
        let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
        if end as u32 >= size {
            return Ok(self.b.iconst(0));
        }
        let mut with_nul = bytes[..end].to_vec();
        with_nul.push(0);
        Ok(self.equals_constant(place, &with_nul))
    }

    /// 1 if two texts in memory are equal.
    pub(super) fn equal_strings(&mut self, a: Own, n: u32, b: Own, m: u32) -> Value {
        let bound = self.b.iconst(i64::from(n.min(m)));
        let difference = self.difference(a, b, n.min(m), bound);
        let same = self.b.compare_const(Cmp::Eq, difference, 0);
        self.b.bool_value(same)
    }

    /// Compares two texts up to `bound` characters (at most `size`, a value the
    /// verifier need not know): 0 if equal, else not 0.
    fn difference(&mut self, a: Own, b: Own, size: u32, bound: Value) -> Value {
        let result = self.b.var();
        let (zero, done) = (self.b.iconst(0), self.b.create_block());
        self.b.set(result, zero);
        let known = self.b.as_const(bound);
        let widest = a.access().min(b.access());
        let words = if known == Some(i64::from(size)) && widest == 8 { size / 8 } else { 0 };
        self.compare_words(a, b, words, result, done);
        self.compare_bytes(a, b, words * 8, size, bound, result, done);
        self.b.jump(done);
        self.b.seal(done);
        self.b.switch_to(done);
        self.b.get(result)
    }

    /// The first `words` words; jumps to `done` when the result is known.
    fn compare_words(&mut self, a: Own, b: Own, words: u32, result: crate::clif::Var, done: crate::clif::Block) {
        if words == 0 {
            return;
        }
        let counter = self.b.var();
        let zero = self.b.iconst(0);
        self.b.set(counter, zero);
        let open = self.b.begin_loop();
        let at = self.b.get(counter);
        let more = self.b.compare_const(Cmp::Ult, at, i64::from(words * 8));
        self.b.loop_while(&open, more);
        let (x, y) = (self.word_at(a, at), self.word_at(b, at));
        let (d, nul) = (self.b.xor(x, y), self.nul_bits(x));
        let any = self.b.or(d, nul);
        let stop = self.b.nonzero(any);
        let decided = self.b.begin_if(stop);
        // Equal if the first NUL stands before the first difference: compare
        // their lowest bits; that of a NUL is the top bit of its byte.
        let (first_d, first_nul) = (self.lowest_bit(d), self.lowest_bit(nul));
        let one = self.b.iconst(1);
        let no_nul = self.flag_if(Cmp::Eq, nul, 0);
        let no_difference = self.flag_if(Cmp::Eq, d, 0);
        let before = self.b.compare(Cmp::Ult, first_nul, first_d);
        let before = self.b.bool_value(before);
        let ends_first = self.b.or(before, no_difference);
        let not_nul = self.b.xor(no_nul, one);
        let equal = self.b.and(ends_first, not_nul);
        let different = self.b.xor(equal, one);
        self.b.set(result, different);
        self.b.jump(done);
        self.b.end_if(decided);
        let eight = self.b.iconst(8);
        let next = self.b.add(at, eight);
        self.b.set(counter, next);
        self.b.end_loop(open);
    }

    #[allow(clippy::too_many_arguments, reason = "two texts, a range, a way out")]
    fn compare_bytes(
        &mut self,
        a: Own,
        b: Own,
        start: u32,
        end: u32,
        bound: Value,
        result: crate::clif::Var,
        done: crate::clif::Block,
    ) {
        if start >= end {
            return;
        }
        let counter = self.b.var();
        let first = self.b.iconst(i64::from(start));
        self.b.set(counter, first);
        let open = self.b.begin_loop();
        let at = self.b.get(counter);
        let more = self.b.compare_const(Cmp::Ult, at, i64::from(end));
        self.b.loop_while(&open, more);
        if self.b.as_const(bound).is_none() {
            let within = self.b.compare(Cmp::Ult, at, bound);
            let beyond = self.b.negate(within);
            let stop = self.b.begin_if(beyond);
            self.b.jump(done);
            self.b.end_if(stop);
        }
        let (x, y) = (self.byte_at(a, at), self.byte_at(b, at));
        let d = self.b.xor(x, y);
        let differ = self.b.nonzero(d);
        let open_d = self.b.begin_if(differ);
        self.b.set(result, d);
        self.b.jump(done);
        self.b.end_if(open_d);
        let ended = self.b.compare_const(Cmp::Eq, x, 0);
        let open_e = self.b.begin_if(ended);
        self.b.jump(done);
        self.b.end_if(open_e);
        let one = self.b.iconst(1);
        let next = self.b.add(at, one);
        self.b.set(counter, next);
        self.b.end_loop(open);
    }

    /// The top bit of each NUL byte; exact up to and including the first.
    fn nul_bits(&mut self, x: Value) -> Value {
        let (ones, tops) = (self.b.iconst(ONES), self.b.iconst(TOPS));
        let borrowed = self.b.sub(x, ones);
        let complement = self.b.not(x);
        let both = self.b.and(borrowed, complement);
        self.b.and(both, tops)
    }

    fn lowest_bit(&mut self, x: Value) -> Value {
        let negative = self.b.neg(x);
        self.b.and(x, negative)
    }

    pub(super) fn word_at(&mut self, place: Own, at: Value) -> Value {
        let ptr = self.b.index(place.ptr, at);
        self.b.load(ptr, width(8))
    }

    pub(super) fn byte_at(&mut self, place: Own, at: Value) -> Value {
        let ptr = self.b.index(place.ptr, at);
        self.b.load(ptr, width(1))
    }

    /// A place that variable indices may go into: not the stack, whose accesses
    /// must be aligned for the verifier to see.
    pub(super) fn indexable(&mut self, e: &Expr) -> R<Own> {
        let place = self.memory(e)?;
        if !place.stack {
            return Ok(place);
        }
        let size = self.size_of(&e.ty);
        let to = self.scratch(size);
        self.copy(to, place, size);
        Ok(to)
    }

    /// One byte of a text, 0 behind its end.
    pub(super) fn str_byte(&mut self, base: &Expr, index: &Expr) -> R<Value> {
        let Type::Str { size } = base.ty else { return internal("byte of no text", base.span) };
        let place = self.memory(base)?;
        let i = self.scalar(index)?;
        let i = self.b.barrier(i);
        let (result, zero) = (self.b.var(), self.b.iconst(0));
        self.b.set(result, zero);
        let inside = self.b.compare_const(Cmp::Ult, i, i64::from(size - 1));
        let open = self.b.begin_if(inside);
        let byte = self.byte_at(place, i);
        self.b.set(result, byte);
        self.b.end_if(open);
        Ok(self.b.get(result))
    }

    /// `strlen(text)`.
    pub(super) fn strlen(&mut self, e: &Expr) -> R<Value> {
        let Type::Str { size } = e.ty else { return internal("length of no text", e.span) };
        if let ExprKind::Str(bytes) = &e.kind {
            let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
            return Ok(self.b.iconst(end.min(size as usize) as i64));
        }
        // The helper counts: one call in place of a loop.
        let place = self.memory(e)?;
        let mark = self.mark();
        let copy = self.scratch(size);
        let (most, from) = (self.b.iconst(i64::from(size)), self.b.address(place.ptr));
        let got = self.read_far_text(copy, most, from, Space::Kernel);
        self.release(mark);
        let one = self.b.iconst(1);
        Ok(self.b.sub(got, one))
    }

    /// `strncmp(a, b, n)`: 0 if the first n characters are equal, else 1.
    pub(super) fn strncmp(&mut self, a: &Expr, b: &Expr, n: &Expr) -> R<Value> {
        let (Type::Str { size: x }, Type::Str { size: y }) = (&a.ty, &b.ty) else {
            return internal("comparison of texts", a.span);
        };
        if let (Some(n), ExprKind::Str(bytes)) = (constant(n), &b.kind) {
            return self.strncmp_literal(a, *x, bytes, n);
        }
        if let (Some(n), ExprKind::Str(bytes)) = (constant(n), &a.kind) {
            return self.strncmp_literal(b, *y, bytes, n);
        }
        let size = (*x).min(*y);
        let bound = match constant(n) {
            Some(n) => self.b.iconst((n.min(u64::from(size))) as i64),
            None => self.scalar(n)?,
        };
        let limit = self.b.as_const(bound).map_or(size, |n| n as u32);
        let (left, right) = (self.indexable(a)?, self.indexable(b)?);
        let difference = self.difference(left, right, limit, bound);
        Ok(self.flag_if(Cmp::Ne, difference, 0))
    }

    fn strncmp_literal(&mut self, e: &Expr, size: u32, bytes: &[u8], n: u64) -> R<Value> {
        let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
        let mut wanted = bytes[..end].to_vec();
        wanted.push(0);
        wanted.truncate(usize::try_from(n).unwrap_or(usize::MAX));
        let place = self.memory(e)?;
        if wanted.len() as u32 > size {
            return Ok(self.b.iconst(1));
        }
        let same = self.equals_constant(place, &wanted);
        let one = self.b.iconst(1);
        Ok(self.b.xor(same, one))
    }

    /// `strstr(haystack, needle)`: position or [`NOT_FOUND`].
    pub(super) fn strstr(&mut self, haystack: &Expr, needle: &Expr) -> R<Value> {
        let (Type::Str { size: h }, Type::Str { size: n }) = (&haystack.ty, &needle.ty) else {
            return internal("search in no text", haystack.span);
        };
        if let ExprKind::Str(bytes) = &needle.kind {
            let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
            let wanted = bytes[..end].to_vec();
            return self.find_literal(haystack, *h, &wanted);
        }
        self.find_variable(haystack, *h, needle, *n)
    }

    fn find_literal(&mut self, haystack: &Expr, size: u32, wanted: &[u8]) -> R<Value> {
        if wanted.is_empty() {
            return Ok(self.b.iconst(0));
        }
        let place = self.indexable(haystack)?;
        if wanted.len() as u32 >= size {
            return Ok(self.b.iconst(NOT_FOUND));
        }
        let last = size - wanted.len() as u32;
        self.search(place, last, |f, at| {
            let start = f.b.index(place.ptr, at);
            let mut differences = f.b.iconst(0);
            for (i, n) in pieces(wanted.len() as u32, 8) {
                let x = f.b.load(start.at(i as i32), width(n));
                let y = f.b.iconst(word(&wanted[i as usize..(i + n) as usize]));
                let d = f.b.xor(x, y);
                differences = f.b.or(differences, d);
            }
            differences
        })
    }

    /// The first position below `end` where `difference` is 0, or [`NOT_FOUND`].
    fn search(&mut self, place: Own, end: u32, difference: impl FnOnce(&mut Self, Value) -> Value) -> R<Value> {
        let (result, minus) = (self.b.var(), self.b.iconst(NOT_FOUND));
        self.b.set(result, minus);
        self.count_up(end, 1, |f, at, done| {
            let d = difference(f, at);
            let found = f.b.compare_const(Cmp::Eq, d, 0);
            let hit = f.b.begin_if(found);
            f.b.set(result, at);
            f.b.jump(done);
            f.b.end_if(hit);
            let byte = f.byte_at(place, at);
            let over = f.b.compare_const(Cmp::Eq, byte, 0);
            let stop = f.b.begin_if(over);
            f.b.jump(done);
            f.b.end_if(stop);
        });
        Ok(self.b.get(result))
    }

    /// `a . b`.
    pub(super) fn concat(&mut self, a: &Expr, b: &Expr, size: u32, to: Own, fill: Fill) -> R<()> {
        let (Type::Str { size: n }, Type::Str { size: m }) = (&a.ty, &b.ty) else {
            return internal("join of no texts", a.span);
        };
        let (left, right) = (self.memory(a)?, self.memory(b)?);
        let whole = self.scratch(n + m);
        let (first, from) = (self.b.iconst(i64::from(*n)), self.b.address(left.ptr));
        let got = self.read_far_text(whole, first, from, Space::Kernel);
        let one = self.b.iconst(1);
        let end = self.b.sub(got, one);
        // A failed read gives a negative number, which the clamp makes the last place.
        let end = self.clamp(end, *n);
        let start = self.b.index(whole.ptr, end);
        let (second, from) = (self.b.iconst(i64::from(*m)), self.b.address(right.ptr));
        let address = self.b.address(start);
        self.b.call_helper(Helper::ProbeReadKernelStr, &[address, second, from]);
        self.resize_place(whole, n + m, size, to, fill);
        Ok(())
    }

    /// Negative, 0 or positive as `n` bytes compare, the first difference deciding.
    pub(super) fn order_of_bytes(&mut self, a: Own, b: Own, n: u32) -> Value {
        let mut result = self.b.iconst(0);
        for (at, bytes) in pieces(n, a.access().min(b.access())).into_iter().rev() {
            let (x, y) = (self.b.load(a.at(at).ptr, width(bytes)), self.b.load(b.at(at).ptr, width(bytes)));
            // As big-endian numbers, words compare like their bytes.
            let (x, y) = (self.b.bswap(x, width(bytes)), self.b.bswap(y, width(bytes)));
            let (less, more) = (self.b.compare(Cmp::Ult, x, y), self.b.compare(Cmp::Ugt, x, y));
            let (less, more) = (self.b.bool_value(less), self.b.bool_value(more));
            let sign = self.b.sub(more, less);
            let differ = self.b.nonzero(sign);
            result = self.b.select(differ, sign, result);
        }
        result
    }

    /// At least `n` bytes of a value, or of what a pointer points to.
    pub(super) fn bytes_of(&mut self, e: &Expr, n: u32) -> R<Own> {
        if !e.ty.is_scalar() && self.size_of(&e.ty) >= n {
            return self.memory(e);
        }
        let place = self.temp("bytes to compare", n.next_multiple_of(8));
        if let Type::Int { size, .. } = e.ty
            && u32::from(size) >= n
        {
            let value = self.scalar(e)?;
            self.b.store(place.ptr, width(8), value);
            return Ok(place);
        }
        let bytes = self.b.iconst(i64::from(n));
        let (from, space) = match &e.ty {
            Type::Pointer { space: Space::User, .. } => (self.scalar(e)?, Space::User),
            Type::Pointer { space: Space::Any, .. } => (self.scalar(e)?, Space::Any),
            ty if ty.is_scalar() => (self.scalar(e)?, Space::Kernel),
            _ => self.address_of(e)?,
        };
        self.read_far(place, bytes, from, space);
        Ok(place)
    }

    /// A text without its first bytes.
    pub(super) fn skip_text(&mut self, text: &Expr, skip: &Expr, size: u32, to: Own, fill: Fill) -> R<()> {
        let Type::Str { size: whole } = text.ty else { return internal("a text of another type", text.span) };
        let place = self.memory(text)?;
        let skip = self.scalar(skip)?;
        let skip = self.clamp(skip, whole);
        let start = self.b.index(place.ptr, skip);
        let from = self.b.address(start);
        self.text_from(from, Space::Kernel, None, size, to, fill);
        Ok(())
    }
}
