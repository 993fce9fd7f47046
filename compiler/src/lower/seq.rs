//! `printf` of a pinned iterator: into the file that is read, not to the tracer.
//!
//! In: a format and its arguments. Out: a call of `bpf_seq_printf`. A pinned
//! iterator runs whenever somebody reads its file, mostly when the tracer is
//! gone, so records would reach nobody.
//!
//! The helper takes a part of C's formats and every argument as 64 bits, texts by
//! address (kernel/bpf/helpers.c, `bpf_bprintf_prepare`): what it does not
//! know is an error here.

use btc_payload::event::Action;
use btc_payload::format::{Conversion, Format, Length, Piece, Spec};
use btc_payload::probe::AttachPoint;

use super::function::Fun;
use super::memory::{Fill, width};
use super::{R, unsupported};
use crate::clif::{Mem, Value};
use crate::helper::Helper;
use crate::hir::tree::Expr;
use crate::span::Span;

/// Most arguments that the helper takes (`MAX_BPRINTF_VARARGS`, linux/bpf.h).
const MOST_ARGUMENTS: usize = 12;

/// Is the program read through a file, whether the tracer runs or not?
pub(super) fn is_pinned(attach: &AttachPoint) -> bool {
    matches!(attach, AttachPoint::Iter { pin: Some(_), .. })
}

impl Fun<'_, '_, '_> {
    /// Output of a pinned iterator. True: done here; false: no output, send a record.
    pub(super) fn emit_to_file(&mut self, action: &Action, args: &[Expr], span: Span) -> R<bool> {
        match action {
            Action::Printf(format) => self.seq_printf(format, args, span).map(|()| true),
            Action::Clear(_) | Action::Zero(_) | Action::Exit | Action::HelperError { .. } | Action::Fault(_) => {
                Ok(false)
            }
            _ => unsupported("output other than printf() in a pinned iterator", span),
        }
    }

    fn seq_printf(&mut self, format: &Format, args: &[Expr], span: Span) -> R<()> {
        if args.len() > MOST_ARGUMENTS {
            return unsupported("printf() with more than 12 arguments in a pinned iterator", span);
        }
        let text = kernel_format(format).or_else(|what| unsupported(&format!("{what} in a pinned iterator"), span))?;
        let mark = self.mark();
        let data = self.stack("arguments", 8 * args.len() as u32);
        for (i, arg) in args.iter().enumerate() {
            let value = if arg.ty.is_scalar() {
                self.scalar(arg)?
            } else if matches!(arg.ty, crate::hir::types::Type::Str { .. }) {
                let place = self.temp_for(arg);
                self.into(arg, place, Fill::Loose)?;
                self.b.address(place.ptr)
            } else {
                return unsupported("printf() of anything but numbers and texts in a pinned iterator", arg.span);
            };
            self.b.store(data.at(8 * i as u32).ptr, width(8), value);
        }
        let file = self.seq_file();
        let at = self.cx.rodata.constant(&text);
        let text_at = self.b.rodata(at);
        let (format, data) = (self.b.address(text_at), self.b.address(data.ptr));
        let (length, bytes) = (self.b.iconst(text.len() as i64), self.b.iconst(8 * args.len() as i64));
        self.b.call_helper(Helper::SeqPrintf, &[file, format, length, data, bytes]);
        self.release(mark);
        Ok(())
    }

    /// `ctx->meta->seq`: the first fields of every iterator's context (linux/bpf.h).
    fn seq_file(&mut self) -> Value {
        let meta = self.b.load(self.context, width(8));
        let meta = self.b.pointer(Mem::Btf, meta);
        self.b.load(meta, width(8))
    }
}

/// The format as the kernel takes it, with its NUL, or what it does not know.
fn kernel_format(format: &Format) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    for piece in &format.pieces {
        match piece {
            Piece::Literal(bytes) => bytes
                .iter()
                .for_each(|b| out.extend_from_slice(if *b == b'%' { b"%%" } else { std::slice::from_ref(b) })),
            Piece::Conversion(spec) => out.extend_from_slice(kernel_conversion(spec)?.as_bytes()),
        }
    }
    if !out.is_ascii() {
        return Err("a format with characters outside of ASCII".to_owned());
    }
    out.push(0);
    Ok(out)
}

fn kernel_conversion(spec: &Spec) -> Result<String, String> {
    use Conversion::*;
    let letters = spec.conversion.letters();
    if spec.alternate || spec.precision.is_some() {
        return Err(format!("`#` or a precision before `{letters}`"));
    }
    let flags = [(spec.left, "-"), (spec.zero, "0"), (spec.plus, "+"), (spec.space, " ")];
    let flags: String = flags.iter().filter(|f| f.0).map(|f| f.1).collect();
    let width = spec.width.map(|w| w.to_string()).unwrap_or_default();
    let length = match spec.length {
        Length::Full => "",
        Length::Long => "ll",
        Length::Short | Length::Char => return Err(format!("a length before `{letters}`")),
    };
    let (prefix, letters) = match spec.conversion {
        Signed | Unsigned | Hex | HexUpper => (length, letters),
        // `%p` hides the address.
        Pointer => ("ll", "x"),
        Text => ("", letters),
        Octal | Char | Buffer | BufferHex | BufferBare | GfpFlags => return Err(format!("`%{letters}`")),
    };
    let zero_x = if spec.conversion == Pointer { "0x" } else { "" };
    Ok(format!("{zero_x}%{flags}{width}{prefix}{letters}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conversions_are_those_of_the_kernel() {
        let kernel =
            |text: &[u8]| kernel_format(&Format::parse(text).unwrap().0).map(|t| String::from_utf8(t).unwrap());
        assert_eq!(kernel(b"%-5d %s %lx%% %p\n").unwrap(), "%-5d %s %llx%% 0x%llx\n\0");
        assert_eq!(kernel(b"%r").unwrap_err(), "`%r`");
        assert_eq!(kernel(b"%.3s").unwrap_err(), "`#` or a precision before `s`");
    }
}
