//! Kernel functions called by name, functions of imported C files, and what is made
//! of them or of pointers that the verifier knows the type of.
//!
//! In: an [`Intrinsic`](crate::hir::tree::Intrinsic) with its arguments. Out:
//! calls through extern symbols, which libbpf resolves by the target's BTF.
//! Invariant: pointers reach a kernel function as the verifier typed them, never
//! through a helper that would turn them into numbers.

use super::frame::Own;
use super::function::Fun;
use super::memory::{Fill, width};
use super::{Ksym, R, internal};
use crate::btf::core::{CoreKind, Step};
use crate::clif::{Cmp, Value};
use crate::ctypes::CTypeId;
use crate::helper::Helper;
use crate::hir::tree::Expr;
use crate::hir::types::Type;
use crate::span::Span;
use btc_payload::start::{Feature, user_base};

/// Length of `task_struct::comm`.
const COMM: u32 = 16;

impl Fun<'_, '_, '_> {
    /// Calls a kernel function.
    pub(super) fn kfunc(&mut self, name: &str, ty: CTypeId, args: &[Expr], e: &Expr) -> R<Value> {
        let values = self.registers(args, Self::typed_scalar)?;
        let result = self.call_kernel(name, ty, &values);
        Ok(if e.ty == Type::Void || matches!(e.ty, Type::Pointer { .. }) { result } else { self.wrap(result, &e.ty) })
    }

    /// Calls a function of an imported C file.
    pub(super) fn imported(&mut self, name: &str, fetches: bool, args: &[Expr], e: &Expr) -> R<Value> {
        if fetches {
            let what = format!("an atomic operation of the C function `{name}`");
            self.cx.require(Feature::FetchAtomics, &what, e.span);
        }
        let mark = self.mark();
        let values = self.imported_arguments(args)?;
        let known = self.cx.imported.iter().position(|n| n == name);
        let number = known.unwrap_or_else(|| {
            self.cx.imported.push(name.to_owned());
            self.cx.imported.len() - 1
        });
        let result = self.b.call_imported(number as u32, &values);
        self.release(mark);
        Ok(match e.ty {
            Type::Void | Type::Pointer { .. } => result,
            // The compiler extends a `bool` to 32 bits only.
            _ => self.wrap(result, &e.ty),
        })
    }

    /// As [`Self::registers`]; texts are padded, for the verifier lets no function read
    /// what was never written.
    fn imported_arguments(&mut self, args: &[Expr]) -> R<Vec<Value>> {
        let mut values = Vec::new();
        for a in args {
            if a.ty.is_scalar() {
                values.push(self.typed_scalar(a)?);
                continue;
            }
            let size = self.cx.layouts.of(&a.ty).size();
            let place = self.temp("argument", size);
            self.into(a, place, Fill::Exact)?;
            values.push(self.b.address(place.ptr));
        }
        Ok(values)
    }

    /// Arguments as registers hold them: scalars, and addresses of all else.
    fn registers(&mut self, args: &[Expr], scalar: fn(&mut Self, &Expr) -> R<Value>) -> R<Vec<Value>> {
        let mut values = Vec::new();
        for a in args {
            values.push(if a.ty.is_scalar() {
                scalar(self, a)?
            } else {
                let place = self.memory(a)?;
                self.b.address(place.ptr)
            });
        }
        Ok(values)
    }

    fn call_kernel(&mut self, name: &str, ty: CTypeId, args: &[Value]) -> Value {
        let known = self.cx.ksyms.iter().position(|k| k.name == name);
        let number = known.unwrap_or_else(|| {
            self.cx.ksyms.push(Ksym { name: name.to_owned(), function: Some(ty) });
            self.cx.ksyms.len() - 1
        });
        self.b.call_kfunc(number as u32, args)
    }

    /// A scalar; pointers keep the types that the verifier gave them: those in
    /// kernel memory are followed by loads, not by the helper that reads memory.
    fn typed_scalar(&mut self, e: &Expr) -> R<Value> {
        let outer = std::mem::replace(&mut self.typed, true);
        let value = self.scalar(e);
        self.typed = outer;
        value
    }

    /// `comm(pid)`: empty when there is no such process.
    pub(super) fn comm_of(&mut self, pid: &Expr, to: Own, span: Span) -> R<()> {
        let types = self.cx.types;
        let kernel = |name| types.find_func(name, Some("vmlinux")).map(|f| f.ty);
        let (Some(find), Some(release)) = (kernel("bpf_task_from_pid"), kernel("bpf_task_release")) else {
            return super::unsupported(
                "comm() of another process: the reference kernel has no bpf_task_from_pid",
                span,
            );
        };
        let comm = types.find_struct("task_struct").and_then(|task| Some((task, types.field(task, "comm")?)));
        let Some((task, comm)) = comm else { return internal("task_struct::comm", span) };
        let path: Vec<Step> = comm.indices.iter().map(|&i| Step::Member(i)).collect();
        let pid = self.scalar(pid)?;
        self.zero(to, COMM);
        let found = self.call_kernel("bpf_task_from_pid", find, &[pid]);
        let exists = self.b.nonzero(found);
        let open = self.b.begin_if(exists);
        let offset = self.cx.relocation(CoreKind::FieldByteOffset, task, &path, span)?;
        let offset = self.symbol_at(offset);
        let from = self.b.add(found, offset);
        self.read_kernel(to, COMM, from);
        self.call_kernel("bpf_task_release", release, &[found]);
        self.b.end_if(open);
        Ok(())
    }

    /// `path()`: the text and, behind it, zeros. The helper builds the text at
    /// the end of the buffer and leaves that there.
    pub(super) fn path(&mut self, path: &Expr, e: &Expr, to: Own, fill: Fill) -> R<()> {
        let Type::Str { size } = e.ty else { return internal("path() of another type", e.span) };
        self.cx.require(Feature::DPath, "path()", e.span);
        let from = self.typed_scalar(path)?;
        let (whole, buffer) = (self.b.iconst(i64::from(size)), self.b.address(to.ptr));
        if fill != Fill::Exact {
            self.zero(to, size);
            let got = self.b.call_helper(Helper::DPath, &[from, buffer, whole]);
            return self.end_path(got, to, size);
        }
        // Read back as a text, which is zeros behind its end.
        let mark = self.mark();
        let room = self.temp("path", size);
        self.zero(room, size);
        let address = self.b.address(room.ptr);
        let got = self.b.call_helper(Helper::DPath, &[from, address, whole]);
        self.end_path(got, room, size)?;
        self.zero(to, size);
        self.b.call_helper(Helper::ProbeReadKernelStr, &[buffer, whole, address]);
        self.release(mark);
        Ok(())
    }

    /// After a failure the text is empty; the last byte ends it in any case.
    fn end_path(&mut self, got: Value, to: Own, size: u32) -> R<()> {
        let failed = self.b.compare_const(Cmp::Slt, got, 0);
        let open = self.b.begin_if(failed);
        self.b.store_const(to.ptr, width(1), 0);
        self.b.end_if(open);
        self.b.store_const(to.at(size - 1).ptr, width(1), 0);
        Ok(())
    }

    /// Where the thing lies in the process whose link-time address is known.
    pub(super) fn user_base(&mut self, base: &Expr, start_code: &Expr) -> R<Value> {
        let base = self.scalar(base)?;
        let result = self.b.var();
        let zero = self.b.iconst(user_base::FIXED as i64);
        self.b.set(result, zero);
        let program = self.b.compare_const(Cmp::Eq, base, user_base::PROGRAM as i64);
        let mut open = self.b.begin_if(program);
        let start = self.scalar(start_code)?;
        self.b.set(result, start);
        self.b.begin_else(&mut open);
        let probe = self.b.compare_const(Cmp::Eq, base, user_base::PROBE as i64);
        let inner = self.b.begin_if(probe);
        let ip = self.context_word(self.cx.target.instruction_pointer);
        self.b.set(result, ip);
        self.b.end_if(inner);
        self.b.end_if(open);
        Ok(self.b.get(result))
    }

    /// A line for the kernel's trace pipe.
    pub(super) fn debugf(&mut self, format: &[u8], args: &[Expr]) -> R<Value> {
        let mut values = self.registers(args, Self::scalar)?;
        let zero = self.b.iconst(0);
        values.resize(3, zero);
        let at = self.cx.rodata.constant(format);
        let text = self.b.rodata(at);
        let (text, size) = (self.b.address(text), self.b.iconst(format.len() as i64));
        Ok(self.b.call_helper(Helper::TracePrintk, &[text, size, values[0], values[1], values[2]]))
    }
}
