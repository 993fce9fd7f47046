//! Builtins and functions that are code in the program.
//!
//! In: an [`Intrinsic`] with its arguments. Out: helper calls. What needs a
//! helper and nothing else is a row of [`SIMPLE`].

use btc_payload::layout::{BUF_DATA, INET_ADDRESS, INET_SIZE, STACK_HEADER};
use btc_payload::manifest::{Operand, UsdtPart};
use btc_payload::probe::AttachPoint;
use btc_payload::start::{Feature, StartValue};

use super::frame::Own;
use super::function::Fun;
use super::memory::{Fill, width};
use super::{R, internal, unsupported};
use crate::clif::{Cmp, Value};
use crate::helper::Helper;
use crate::hir::tree::{Clock, Expr, Intrinsic, PidNamespace, ProgramKind};
use crate::hir::types::{Space, Type};
use crate::span::Span;

/// `BPF_F_USER_STACK`.
const USER_STACK: i64 = 1 << 8;
/// `AF_INET`.
const AF_INET: i64 = 2;
/// Length of `task_struct::comm`.
const COMM: u32 = 16;

/// Builtins that are one helper without arguments, and the feature it needs.
const SIMPLE: &[(Intrinsic, Helper, Option<Feature>)] = &[
    (Intrinsic::Nsecs(Clock::Monotonic), Helper::KtimeGetNs, None),
    (Intrinsic::Nsecs(Clock::Boot), Helper::KtimeGetBootNs, None),
    (Intrinsic::Nsecs(Clock::Tai), Helper::KtimeGetTaiNs, Some(Feature::TaiClock)),
    (Intrinsic::Nsecs(Clock::Coarse), Helper::KtimeGetCoarseNs, None),
    (Intrinsic::Cpu, Helper::GetSmpProcessorId, None),
    (Intrinsic::NumaNode, Helper::GetNumaNodeId, None),
    (Intrinsic::Jiffies, Helper::Jiffies64, None),
    (Intrinsic::Random, Helper::GetPrandomU32, None),
    (Intrinsic::CgroupId, Helper::GetCurrentCgroupId, None),
    (Intrinsic::CurrentTask, Helper::GetCurrentTask, None),
];

impl Fun<'_, '_, '_> {
    /// An intrinsic whose result is a scalar (or nothing).
    pub(super) fn intrinsic(&mut self, which: &Intrinsic, args: &[Expr], e: &Expr) -> R<Value> {
        if let Some((_, helper, feature)) = SIMPLE.iter().find(|row| row.0 == *which) {
            if let Some(feature) = feature {
                self.cx.require(*feature, "this clock", e.span);
            }
            let value = self.b.call_helper(*helper, &[]);
            return Ok(self.wrap(value, &e.ty));
        }
        match (which, args) {
            (Intrinsic::Pid(ns), []) => Ok(self.process_id(*ns, true)),
            (Intrinsic::Tid(ns), []) => Ok(self.process_id(*ns, false)),
            (Intrinsic::Uid, []) => Ok(self.half(Helper::GetCurrentUidGid, false)),
            (Intrinsic::Gid, []) => Ok(self.half(Helper::GetCurrentUidGid, true)),
            (Intrinsic::Nsecs(Clock::SoftwareTai), []) => {
                let now = self.b.call_helper(Helper::KtimeGetBootNs, &[]);
                let offset = self.start_value(StartValue::TaiOffset);
                Ok(self.b.add(now, offset))
            }
            (Intrinsic::Elapsed, []) => {
                let now = self.b.call_helper(Helper::KtimeGetBootNs, &[]);
                let start = self.start_value(StartValue::StartTime);
                Ok(self.b.sub(now, start))
            }
            (Intrinsic::ByteSwap, [x]) => {
                let v = self.scalar(x)?;
                let swapped = self.b.bswap(v, width(u32::from(e.ty.scalar_width().0)));
                Ok(self.wrap(swapped, &e.ty))
            }
            (Intrinsic::Strncmp, [a, b, n]) => self.strncmp(a, b, n),
            (Intrinsic::Strstr, [a, b]) => self.strstr(a, b),
            (Intrinsic::Strlen, [x]) => self.strlen(x),
            (Intrinsic::Memcmp, [a, b, n]) => self.memcmp(a, b, n),
            (Intrinsic::StackLen, [x]) => {
                let place = self.memory(x)?;
                Ok(self.b.load(place.ptr, width(4)))
            }
            (Intrinsic::AddressOf, [place]) => self.address_of(place).map(|(address, _)| address),
            (Intrinsic::PerCpuPointer, [address, cpu]) => self.per_cpu_pointer(address, cpu),
            _ => self.intrinsic_of_context(which, args, e),
        }
    }

    /// Those that look at the program's context, and those with effects.
    fn intrinsic_of_context(&mut self, which: &Intrinsic, args: &[Expr], e: &Expr) -> R<Value> {
        let target = self.cx.target;
        match (which, args) {
            (Intrinsic::UserMode, []) => {
                let mode = &target.user_mode;
                let register = self.context_word(mode.register);
                let mask = self.b.iconst(mode.mask);
                let bits = self.b.and(register, mask);
                Ok(self.flag_if(Cmp::Eq, bits, mode.equals))
            }
            (Intrinsic::AttachId, []) => Ok(self.attach_id()),
            (Intrinsic::Arg(n), []) if matches!(self.probe.attach, AttachPoint::Usdt { .. }) => {
                Ok(self.usdt_argument(*n))
            }
            (Intrinsic::Arg(n), []) => self.register_argument(*n, e.span),
            (Intrinsic::StackArg(n), []) => self.stack_argument(*n, e.span),
            (Intrinsic::ReturnRegister, []) => self.register(target.result, "retval", e.span),
            (Intrinsic::Register(name), []) => match target.register(name) {
                Some(offset) => self.register(offset, "reg()", e.span),
                None => unsupported(&format!("register `{name}` on {}", target.name), e.span),
            },
            (Intrinsic::FunctionAddress, []) => self.function_address(e.span),
            (Intrinsic::Signal { thread }, [signal]) => {
                let v = self.scalar(signal)?;
                let helper = if *thread { Helper::SendSignalThread } else { Helper::SendSignal };
                Ok(self.b.call_helper(helper, &[v]))
            }
            (Intrinsic::Override, [value]) => {
                let (v, context) = (self.scalar(value)?, self.b.address(self.context));
                self.cx.require(Feature::Override, "override()", e.span);
                Ok(self.b.call_helper(Helper::OverrideReturn, &[context, v]))
            }
            (Intrinsic::WriteUser, [to, from, length]) => self.write_user(to, from, length),
            (Intrinsic::SocketCookie, [socket]) if self.has_typed_pointers() => {
                let v = self.scalar(socket)?;
                self.cx.require(Feature::TracingSocketCookie, "socket_cookie()", e.span);
                Ok(self.b.call_helper(Helper::GetSocketCookie, &[v]))
            }
            (Intrinsic::SocketCookie, _) => unsupported("socket_cookie() outside fentry and fexit", e.span),
            (Intrinsic::SkbOutput(event), fields) => {
                self.emit(*event, fields, e.span)?;
                Ok(self.b.iconst(0))
            }
            (Intrinsic::Kfunc { name, ty }, args) => self.kfunc(name, *ty, args, e),
            (Intrinsic::Imported { name, fetches, .. }, args) => self.imported(name, *fetches, args, e),
            (Intrinsic::Debugf(format), args) => self.debugf(format, args),
            (Intrinsic::UserBase, [base, start_code]) => self.user_base(base, start_code),
            _ => internal("arguments of a builtin", e.span),
        }
    }

    /// An intrinsic whose result lives in memory.
    pub(super) fn intrinsic_into(&mut self, which: &Intrinsic, args: &[Expr], e: &Expr, to: Own, fill: Fill) -> R<()> {
        match (which, args) {
            (Intrinsic::Comm, []) => {
                // Linux 6.1 leaves behind the NUL what was there, and comm is a map's key.
                self.zero(to, COMM);
                let (buffer, size) = (self.b.address(to.ptr), self.b.iconst(i64::from(COMM)));
                self.b.call_helper(Helper::GetCurrentComm, &[buffer, size]);
                Ok(())
            }
            (Intrinsic::ReadStr, args) => match e.ty {
                Type::Str { size } => self.read_text(args, size, to, fill),
                _ => internal("str() of another type", e.span),
            },
            (Intrinsic::StrConcat, [a, b]) => match e.ty {
                Type::Str { size } => self.concat(a, b, size, to, fill),
                _ => internal("join of another type", e.span),
            },
            (Intrinsic::StrSkip, [text, skip]) => match e.ty {
                Type::Str { size } => self.skip_text(text, skip, size, to, fill),
                _ => internal("a text of another type", e.span),
            },
            (Intrinsic::ReadBuf, [pointer, length]) => self.read_buffer(pointer, length, e, to, fill),
            (Intrinsic::BufOfArray, [array]) => self.buffer_of_array(array, e, to, fill),
            (Intrinsic::BufOfArray, [value, length]) => self.buffer_of_value(value, length, e, to, fill),
            (Intrinsic::StackTrace, count) => self.stack_trace(e, count.first(), to),
            (Intrinsic::UserSymbol, [address]) => {
                let v = self.scalar(address)?;
                self.b.store(to.ptr, width(8), v);
                let pid = self.process_id(PidNamespace::Initial, true);
                self.b.store(to.at(8).ptr, width(8), pid);
                Ok(())
            }
            (Intrinsic::Inet, [family, address]) => self.inet(family, address, to),
            (Intrinsic::Mac, [address]) => {
                let (from, space) = self.source(address)?;
                let six = self.b.iconst(6);
                self.read_far(to, six, from, space);
                Ok(())
            }
            (Intrinsic::FromWords, words) => self.put_words(words, e, to),
            (Intrinsic::CommOfPid, [pid]) => self.comm_of(pid, to, e.span),
            (Intrinsic::Path, [path]) => self.path(path, e, to, fill),
            (Intrinsic::JoinArguments, [argv]) => self.join_arguments(argv, &e.ty, to, e.span),
            _ => internal("arguments of a builtin", e.span),
        }
    }

    /// A value that came in registers: the last word may be cut short.
    fn put_words(&mut self, words: &[Expr], e: &Expr, to: Own) -> R<()> {
        let size = self.size_of(&e.ty);
        for (i, word) in words.iter().enumerate() {
            let value = self.scalar(word)?;
            let start = i as u32 * 8;
            for (at, bytes) in super::memory::pieces(size.saturating_sub(start).min(8), 8) {
                let shift = self.b.iconst(i64::from(at * 8));
                let part = self.b.ushr(value, shift);
                self.store_number(to.at(start + at), bytes, part);
            }
        }
        Ok(())
    }

    /// Upper or lower half of what a helper returns.
    fn half(&mut self, helper: Helper, upper: bool) -> Value {
        let both = self.b.call_helper(helper, &[]);
        if upper {
            let shift = self.b.iconst(32);
            return self.b.ushr(both, shift);
        }
        self.b.zero_extend(both, width(4))
    }

    /// pid (thread group) or tid, in the tracer's namespace or the initial one.
    fn process_id(&mut self, ns: PidNamespace, group: bool) -> Value {
        if ns == PidNamespace::Initial {
            return self.half(Helper::GetCurrentPidTgid, group);
        }
        let result = self.b.var();
        let inode = self.start_value(StartValue::PidNamespaceInode);
        let nested = self.b.nonzero(inode);
        let mut open = self.b.begin_if(nested);
        let mark = self.mark();
        // struct bpf_pidns_info { u32 pid, tgid }; zeros if the task is not in the namespace.
        let info = self.stack("pid and tid", 8);
        let device = self.start_value(StartValue::PidNamespaceDevice);
        let (buffer, size) = (self.b.address(info.ptr), self.b.iconst(8));
        self.b.call_helper(Helper::GetNsCurrentPidTgid, &[device, inode, buffer, size]);
        let id = self.b.load(info.at(if group { 4 } else { 0 }).ptr, width(4));
        self.b.set(result, id);
        self.release(mark);
        self.b.begin_else(&mut open);
        let id = self.half(Helper::GetCurrentPidTgid, group);
        self.b.set(result, id);
        self.b.end_if(open);
        self.b.get(result)
    }

    /// Which attach point fired: the cookie where links carry one, else the
    /// word that the runtime gave this program.
    fn attach_id(&mut self) -> Value {
        let word = self.cx.identity_word(self.index);
        use ProgramKind::*;
        let cookies = matches!(self.probe.kind, Tracepoint | Kprobe | Kretprobe | Uprobe | Uretprobe | PerfEvent);
        if !cookies {
            // Tracing programs have cookies from 5.19, raw tracepoints from 6.10;
            // each of their attach points is a program of its own anyway.
            return self.rodata_word(word);
        }
        let result = self.b.var();
        let has = self.feature(Feature::AttachCookie);
        let mut open = self.b.begin_if(has);
        let context = self.b.address(self.context);
        let cookie = self.b.call_helper(Helper::GetAttachCookie, &[context]);
        self.b.set(result, cookie);
        self.b.begin_else(&mut open);
        let own = self.rodata_word(word);
        self.b.set(result, own);
        self.b.end_if(open);
        self.b.get(result)
    }

    /// A register of the interrupted code.
    fn register(&mut self, offset: u32, what: &str, span: Span) -> R<Value> {
        use ProgramKind::*;
        match self.probe.kind {
            Kprobe | Kretprobe | Uprobe | Uretprobe | PerfEvent => Ok(self.context_word(offset)),
            _ => unsupported(&format!("{what} in this kind of probe"), span),
        }
    }

    fn register_argument(&mut self, n: u8, span: Span) -> R<Value> {
        use ProgramKind::*;
        if matches!(self.probe.kind, RawTracepoint | RawTracepointRun | Fentry | Fexit) {
            return Ok(self.context_word(u32::from(n) * 8));
        }
        match self.cx.target.arguments.get(usize::from(n)) {
            Some(&offset) => self.register(offset, "argN", span),
            None => unsupported(&format!("arg{n} on {}", self.cx.target.name), span),
        }
    }

    /// An argument of a static user probe. Where it lies is in the notes of the
    /// target's binary: the runtime patches the numbers (`UsdtPart`) before it loads
    /// the program, so that the verifier sees constants and drops what is not needed.
    fn usdt_argument(&mut self, argument: u8) -> Value {
        let mut part = |part, local| self.cx.operand(Operand::UsdtArgument { argument, part }, local);
        let (base, index) = (part(UsdtPart::Base, 0), part(UsdtPart::Index, 0));
        let [has_base, scale, size, shift, signed] =
            [UsdtPart::HasBase, UsdtPart::Scale, UsdtPart::Size, UsdtPart::Shift, UsdtPart::Signed].map(|p| part(p, 0));
        let [low, high] = [UsdtPart::Constant, UsdtPart::High].map(|p| part(p, 0));
        let (low, high) = (self.symbol_at(low), self.symbol_at(high));
        let half = self.b.iconst(32);
        let high = self.b.shl(high, half);
        let mut sum = self.b.add(low, high);
        for (register, factor) in [(base, has_base), (index, scale)] {
            let place = self.b.field(self.context, register);
            let value = self.b.load(place, width(8));
            let factor = self.symbol_at(factor);
            let product = self.b.mul(value, factor);
            sum = self.b.add(sum, product);
        }
        let result = self.b.var();
        self.b.set(result, sum);
        let size = self.symbol_at(size);
        let memory = self.b.nonzero(size);
        let open = self.b.begin_if(memory);
        let mark = self.mark();
        let cell = self.stack("argument", 8);
        self.zero(cell, 8);
        self.read_far(cell, size, sum, Space::User);
        let value = self.b.load(cell.ptr, width(8));
        self.release(mark);
        self.b.set(result, value);
        self.b.end_if(open);
        let value = self.b.get(result);
        let shift = self.symbol_at(shift);
        let left = self.b.shl(value, shift);
        let (unsigned, with_sign) = (self.b.ushr(left, shift), self.b.sshr(left, shift));
        let signed = self.symbol_at(signed);
        let signed = self.b.nonzero(signed);
        self.b.select(signed, with_sign, unsigned)
    }

    /// An argument on the stack, read at the entry of a function.
    fn stack_argument(&mut self, n: u8, span: Span) -> R<Value> {
        let target = self.cx.target;
        let stack = self.register(target.stack_pointer, "sargN", span)?;
        let offset = self.b.iconst(i64::from(target.stack_arguments) + i64::from(n) * 8);
        let from = self.b.add(stack, offset);
        let user = matches!(self.probe.kind, ProgramKind::Uprobe | ProgramKind::Uretprobe);
        Ok(self.read_word(from, if user { Space::User } else { Space::Kernel }))
    }

    fn read_word(&mut self, from: Value, space: Space) -> Value {
        let mark = self.mark();
        let cell = self.stack("read", 8);
        let eight = self.b.iconst(8);
        self.read_far(cell, eight, from, space);
        let value = self.b.load(cell.ptr, width(8));
        self.release(mark);
        value
    }

    fn function_address(&mut self, span: Span) -> R<Value> {
        use ProgramKind::*;
        let offset = self.cx.target.instruction_pointer;
        match self.probe.kind {
            Uprobe | Uretprobe | PerfEvent => self.register(offset, "func", span),
            Kprobe | Kretprobe => {
                let result = self.b.var();
                let has = self.feature(Feature::FuncIp);
                let mut open = self.b.begin_if(has);
                let context = self.b.address(self.context);
                let ip = self.b.call_helper(Helper::GetFuncIp, &[context]);
                self.b.set(result, ip);
                self.b.begin_else(&mut open);
                let ip = self.context_word(offset);
                self.b.set(result, ip);
                self.b.end_if(open);
                Ok(self.b.get(result))
            }
            Fentry | Fexit => {
                self.cx.require(Feature::FuncIp, "the address of the traced function", span);
                let context = self.b.address(self.context);
                Ok(self.b.call_helper(Helper::GetFuncIp, &[context]))
            }
            _ => unsupported("the address of the traced function in this kind of probe", span),
        }
    }

    /// Address and space of memory given as a pointer, a number or an array.
    fn source(&mut self, e: &Expr) -> R<(Value, Space)> {
        match &e.ty {
            Type::Pointer { space, .. } => {
                let space = match space {
                    Space::Bpf | Space::Context => Space::Kernel,
                    other => *other,
                };
                Ok((self.scalar(e)?, space))
            }
            ty if ty.is_scalar() => Ok((self.scalar(e)?, Space::Any)),
            _ => self.address_of(e),
        }
    }

    /// The first bytes of a text or array that the program holds itself.
    fn buffer_of_value(&mut self, value: &Expr, length: &Expr, e: &Expr, to: Own, fill: Fill) -> R<()> {
        let place = self.memory(value)?;
        let from = self.b.address(place.ptr);
        self.fill_buffer((from, Space::Kernel), length, e, to, fill)
    }

    fn read_buffer(&mut self, pointer: &Expr, length: &Expr, e: &Expr, to: Own, fill: Fill) -> R<()> {
        let from = self.source(pointer)?;
        self.fill_buffer(from, length, e, to, fill)
    }

    /// Writes a buffer: its length, which is cut to its type, and its bytes.
    fn fill_buffer(&mut self, from: (Value, Space), length: &Expr, e: &Expr, to: Own, fill: Fill) -> R<()> {
        let Type::Buf { size } = e.ty else { return internal("buf() of another type", e.span) };
        let (from, space) = from;
        let length = self.scalar(length)?;
        if fill == Fill::Exact {
            self.zero(to, size + BUF_DATA);
        }
        let length = match self.b.as_const(length) {
            Some(_) => length,
            None => self.b.barrier(length),
        };
        let most = self.b.iconst(i64::from(size));
        let length = self.b.umin(length, most);
        self.b.store(to.ptr, width(4), length);
        self.read_far(to.at(BUF_DATA), length, from, space);
        Ok(())
    }

    fn buffer_of_array(&mut self, array: &Expr, e: &Expr, to: Own, fill: Fill) -> R<()> {
        let Type::Buf { size } = e.ty else { return internal("buf() of another type", e.span) };
        let length = self.size_of(&array.ty).min(size);
        if fill == Fill::Exact {
            self.zero(to, size + BUF_DATA);
        }
        let (from, space) = self.address_of(array)?;
        self.b.store_const(to.ptr, width(4), i64::from(length));
        let bytes = self.b.iconst(i64::from(length));
        self.read_far(to.at(BUF_DATA), bytes, from, space);
        Ok(())
    }

    fn stack_trace(&mut self, e: &Expr, count: Option<&Expr>, to: Own) -> R<()> {
        let Type::Stack { user, frames, .. } = e.ty else { return internal("stack of another type", e.span) };
        let pid = if user { self.process_id(PidNamespace::Initial, true) } else { self.b.iconst(0) };
        self.b.store(to.at(4).ptr, width(4), pid);
        self.b.store_const(to.at(8).ptr, width(8), self.index as i64);
        let context = self.b.address(self.context);
        let size = match count {
            None => self.b.iconst(i64::from(frames) * 8),
            Some(count) => {
                self.zero(to.at(STACK_HEADER), frames * 8);
                let count = self.scalar(count)?;
                let (count, most) = (self.b.barrier(count), self.b.iconst(i64::from(frames)));
                let count = self.b.umin(count, most);
                let three = self.b.iconst(3);
                self.b.shl(count, three)
            }
        };
        let buffer = self.b.address(to.at(STACK_HEADER).ptr);
        let flags = self.b.iconst(if user { USER_STACK } else { 0 });
        // The helper zeroes what it does not fill.
        let got = self.b.call_helper(Helper::GetStack, &[context, buffer, size, flags]);
        let failed = self.b.compare_const(Cmp::Slt, got, 0);
        let zero = self.b.iconst(0);
        let got = self.b.select(failed, zero, got);
        let three = self.b.iconst(3);
        let count = self.b.ushr(got, three);
        self.b.store(to.ptr, width(4), count);
        Ok(())
    }

    fn inet(&mut self, family: &Expr, address: &Expr, to: Own) -> R<()> {
        let family = self.scalar(family)?;
        let size =
            if address.ty.is_scalar() { u32::from(address.ty.scalar_width().0) } else { self.size_of(&address.ty) };
        self.zero(to, INET_SIZE);
        let place = to.at(INET_ADDRESS);
        if address.ty.is_scalar() {
            let v = self.scalar(address)?;
            self.store_number(place, size.min(8), v);
        } else {
            let (from, space) = self.address_of(address)?;
            let bytes = self.b.iconst(i64::from(size.min(16)));
            self.read_far(place, bytes, from, space);
        }
        let natural = if size > 4 && !address.ty.is_scalar() { 16 } else { 4 };
        let length = match self.b.as_const(family) {
            Some(0) => self.b.iconst(natural),
            _ => {
                let v4 = self.b.compare_const(Cmp::Eq, family, AF_INET);
                let (four, sixteen) = (self.b.iconst(4), self.b.iconst(16));
                self.b.select(v4, four, sixteen)
            }
        };
        self.b.store(to.ptr, width(1), length);
        Ok(())
    }

    fn write_user(&mut self, to: &Expr, from: &Expr, length: &Expr) -> R<Value> {
        let address = self.scalar(to)?;
        let size = match &from.ty {
            Type::Pointer { to, .. } => self.size_of(to),
            ty => self.size_of(ty),
        };
        let place = match &from.ty {
            ty if ty.is_scalar() && !matches!(ty, Type::Pointer { .. }) => {
                let cell = self.stack("value to write", 8);
                let v = self.scalar(from)?;
                self.store_scalar(cell, ty, v);
                cell
            }
            Type::Pointer { .. } => return unsupported("write_user() from a pointer", from.span),
            _ => self.memory(from)?,
        };
        let length = self.scalar(length)?;
        let length = self.b.barrier(length);
        let most = self.b.iconst(i64::from(size));
        let length = self.b.umin(length, most);
        let source = self.b.address(place.ptr);
        // The helper refuses a length of zero in the verifier.
        let (result, zero) = (self.b.var(), self.b.iconst(0));
        self.b.set(result, zero);
        let some = self.b.compare_const(Cmp::Ugt, length, 0);
        let open = self.b.begin_if(some);
        let got = self.b.call_helper(Helper::ProbeWriteUser, &[address, source, length]);
        self.b.set(result, got);
        self.b.end_if(open);
        Ok(self.b.get(result))
    }

    /// A per-CPU variable's address on a CPU: `__per_cpu_offset[cpu] + address`.
    fn per_cpu_pointer(&mut self, address: &Expr, cpu: &Expr) -> R<Value> {
        let (address, cpu) = (self.scalar(address)?, self.scalar(cpu)?);
        let here = self.b.call_helper(Helper::GetSmpProcessorId, &[]);
        let this = self.b.compare_const(Cmp::Slt, cpu, 0);
        let cpu = self.b.select(this, here, cpu);
        let offsets = self.start_value(StartValue::KernelAddress("__per_cpu_offset".into()));
        let shift = self.b.iconst(3);
        let at = self.b.shl(cpu, shift);
        let from = self.b.add(offsets, at);
        let offset = self.read_word(from, Space::Kernel);
        Ok(self.b.add(offset, address))
    }
}
