//! Functions: one table row each, with their arity and what they are allowed in.
//!
//! In: a call of the syntax tree. Out: a typed expression. Arguments reach a
//! row's builder unevaluated, because some take maps, variables or types.

mod aggregates;
mod cfunction;
mod kernel;
mod maps;
mod memory;
mod meta;
mod output;
mod strings;
mod symbols;

use super::builtins;
use super::checker::{Checker, Typed};
use crate::ctypes::nearest;
use crate::diagnostic::Diagnostic;
use crate::hir::tree::Expr;
use crate::span::Span;
use crate::syntax::ast;

pub(super) use aggregates::{aggregate, name_of as aggregate_name, unstable};
pub(super) use maps::never_assigned;
pub(super) use symbols::stack;

/// A call being built.
pub(super) struct Call<'c> {
    /// As written.
    pub name: &'c str,
    pub args: &'c [ast::Expr],
    pub span: Span,
}

impl<'c> Call<'c> {
    /// The N-th argument, if there are that many.
    fn arg(&self, n: usize) -> Option<&'c ast::Expr> {
        self.args.get(n)
    }
}

/// A function.
pub(super) struct Function {
    pub name: &'static str,
    /// How it is called, for messages.
    pub usage: &'static str,
    min: usize,
    max: usize,
    /// Wants `--unsafe`.
    is_unsafe: bool,
    build: fn(&mut Checker, &Call) -> Typed,
}

const fn row(
    name: &'static str,
    usage: &'static str,
    min: usize,
    max: usize,
    build: fn(&mut Checker, &Call) -> Typed,
) -> Function {
    Function { name, usage, min, max, is_unsafe: false, build }
}

const fn dangerous(
    name: &'static str,
    usage: &'static str,
    min: usize,
    max: usize,
    build: fn(&mut Checker, &Call) -> Typed,
) -> Function {
    Function { name, usage, min, max, is_unsafe: true, build }
}

/// Number of arguments without bound.
const ANY: usize = usize::MAX;

/// All functions.
static FUNCTIONS: &[Function] = &[
    row("assert", "assert(condition, message)", 1, 2, meta::assert),
    row("assert_str", "assert_str(value)", 1, 1, meta::assert_str),
    row("bswap", "bswap(integer)", 1, 1, strings::bswap),
    row("buf", "buf(pointer, length) or buf(array)", 1, 2, memory::buf),
    row("cat", "cat(format, args...)", 1, ANY, output::cat),
    row("cgroup_path", "cgroup_path(id) or cgroup_path(id, filter)", 1, 2, symbols::cgroup_path),
    row("cgroupid", "cgroupid(path)", 1, 1, symbols::cgroupid),
    row("clear", "clear(@map)", 1, 1, maps::clear),
    row("comm", "comm() or comm(pid)", 0, 1, kernel::comm),
    row("debugf", "debugf(format, up to three args)", 1, 4, output::debugf),
    row("delete", "delete(@map, key) or delete(@map[key])", 1, ANY, maps::delete),
    row("errorf", "errorf(format, args...)", 1, ANY, output::errorf),
    row("exit", "exit() or exit(status)", 0, 1, output::exit),
    row("fail", "fail(message)", 0, ANY, meta::fail),
    row("find", "find(@map, key, $variable)", 3, 3, maps::find),
    row("getopt", "getopt(name), getopt(name, default), getopt(name, default, description)", 1, 3, meta::getopt),
    row("has_key", "has_key(@map, key)", 2, 2, maps::has_key),
    row("is_array", "is_array(value)", 1, 1, meta::is_array),
    row("is_integer", "is_integer(value)", 1, 1, meta::is_integer),
    row("is_literal", "is_literal(value)", 1, 1, meta::is_literal),
    row("is_ptr", "is_ptr(value)", 1, 1, meta::is_ptr),
    row("is_scalar", "is_scalar(@map)", 1, 1, meta::is_scalar),
    row("is_str", "is_str(value)", 1, 1, meta::is_str),
    row("is_unsigned_integer", "is_unsigned_integer(value)", 1, 1, meta::is_unsigned_integer),
    row("join", "join(pointer to strings) or join(pointer to strings, separator)", 1, 2, output::join),
    row("kaddr", "kaddr(symbol)", 1, 1, symbols::kaddr),
    row("kfunc_allowed", "kfunc_allowed(name)", 1, 1, kernel::kfunc_allowed),
    row("kfunc_exist", "kfunc_exist(name)", 1, 1, kernel::kfunc_exist),
    row("kptr", "kptr(pointer)", 1, 1, memory::kptr),
    row("kstack", "kstack(), kstack(mode), kstack(frames), kstack(mode, frames)", 0, 2, symbols::kstack),
    row("ksym", "ksym(address)", 1, 1, symbols::ksym),
    row("len", "len(@map) or len(stack)", 1, 1, maps::len),
    row("macaddr", "macaddr(pointer to 6 bytes)", 1, 1, memory::macaddr),
    row("memcmp", "memcmp(left, right, length)", 3, 3, strings::memcmp),
    row("nsecs", "nsecs() or nsecs(clock)", 0, 1, symbols::nsecs),
    row("ntop", "ntop(address) or ntop(family, address)", 1, 2, memory::ntop),
    row("offsetof", "offsetof(struct, field)", 2, 2, meta::misplaced_offsetof),
    dangerous("override", "override(value)", 1, 1, symbols::override_return),
    row("path", "path(struct path pointer) or path(pointer, size)", 1, 2, kernel::path),
    row("pcomm", "pcomm() or pcomm(task)", 0, 1, symbols::pcomm),
    row("percpu_kaddr", "percpu_kaddr(symbol) or percpu_kaddr(symbol, cpu)", 1, 2, symbols::percpu_kaddr),
    row("pid", "pid(), pid(curr_ns), pid(init)", 0, 1, symbols::pid),
    row("ppid", "ppid() or ppid(task)", 0, 1, symbols::ppid),
    row("print", "print(value), print(@map), print(@map, top), print(@map, top, div)", 1, 3, output::print),
    row("printf", "printf(format, args...)", 1, ANY, output::printf),
    row("pton", "pton(address text)", 1, 1, memory::pton),
    row("reg", "reg(name)", 1, 1, symbols::reg),
    dangerous("signal", "signal(number or name)", 1, 1, symbols::signal),
    row("signal_name", "signal_name(number)", 1, 1, symbols::signal_name),
    dangerous("signal_thread", "signal_thread(number or name)", 1, 1, symbols::signal_thread),
    row("skboutput", "skboutput(path, skb, length, offset)", 4, 4, kernel::skboutput),
    row("socket_cookie", "socket_cookie(socket)", 1, 1, memory::socket_cookie),
    row("static_assert", "static_assert(condition) or static_assert(condition, message)", 1, 2, meta::static_assert),
    row("str", "str(pointer) or str(pointer, length)", 1, 2, memory::str),
    row("str_concat", "str_concat(left, right)", 2, 2, strings::str_concat),
    row("strcap", "strcap(text)", 1, 1, strings::strcap),
    row("strerror", "strerror(errno)", 1, 1, symbols::strerror),
    row("strftime", "strftime(format, nanoseconds)", 2, 2, symbols::strftime),
    row("strlen", "strlen(text)", 1, 1, strings::strlen),
    row("strncmp", "strncmp(left, right, length)", 3, 3, strings::strncmp),
    row("strstr", "strstr(haystack, needle)", 2, 2, strings::strstr),
    row("syscall_name", "syscall_name(number)", 1, 1, symbols::syscall_name),
    dangerous("system", "system(format, args...)", 1, ANY, output::system),
    row("tid", "tid(), tid(curr_ns), tid(init)", 0, 1, symbols::tid),
    row("time", "time() or time(format)", 0, 1, output::time),
    row("uaddr", "uaddr(symbol)", 1, 1, kernel::uaddr),
    row("unwatch", "unwatch(address)", 1, 1, output::unwatch),
    row("uptr", "uptr(pointer)", 1, 1, memory::uptr),
    row("ustack", "ustack(), ustack(mode), ustack(frames), ustack(mode, frames)", 0, 2, symbols::ustack),
    row("usym", "usym(address)", 1, 1, symbols::usym),
    row("warnf", "warnf(format, args...)", 1, ANY, output::warnf),
    dangerous("write_user", "write_user(pointer, value, length)", 2, 3, memory::write_user),
    row("zero", "zero(@map)", 1, 1, maps::zero),
];

/// Functions of the language that are known but not supported, with what they are for.
static UNSUPPORTED: &[(&str, &str)] = &[("dw_ustack", "unwinds by DWARF tables")];

/// Names of all functions.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    FUNCTIONS.iter().map(|f| f.name).chain(aggregates::NAMES.iter().copied())
}

/// Functions, and how messages say that they are called.
pub fn usages() -> impl Iterator<Item = (&'static str, &'static str)> {
    FUNCTIONS.iter().map(|f| (f.name, f.usage))
}

/// A call.
pub(super) fn call(c: &mut Checker, name: &ast::Name, args: &[ast::Expr], span: Span) -> Typed {
    // `__builtin_x` is how bpftrace's own library calls `x`.
    let called = name.value.strip_prefix("__builtin_").unwrap_or(&name.value);
    let call = Call { name: called, args, span };
    let Some(f) = FUNCTIONS.iter().find(|f| f.name == called) else {
        return other(c, &call, name.span);
    };
    if args.len() < f.min || args.len() > f.max {
        let message =
            format!("`{}` is called with {} argument{}", f.name, args.len(), if args.len() == 1 { "" } else { "s" });
        c.report(
            Diagnostic::error("E0401", message)
                .at(span, "wrong number of arguments")
                .help(format!("usage: {}", f.usage)),
        );
        return None;
    }
    if f.is_unsafe && !c.env.allow_unsafe {
        c.report(
            Diagnostic::error("E0402", format!("`{}` is unsafe: it changes what it traces", f.name))
                .at(span, "")
                .help("build with --unsafe to allow it"),
        );
        return None;
    }
    (f.build)(c, &call)
}

/// Names that are no row: builtins as calls, aggregations out of place, unknown ones.
fn other(c: &mut Checker, call: &Call, at: Span) -> Typed {
    if builtins::is_builtin(call.name) {
        if call.args.is_empty() {
            return builtins::identifier(c, call.name, call.span);
        }
        return c.error("E0401", call.span, format!("`{}` takes no arguments", call.name), "");
    }
    if aggregates::NAMES.contains(&call.name) {
        let message = format!("`{}()` can only be assigned to a map", call.name);
        return c.error("E0205", call.span, message, "write `@name = ...`");
    }
    if let Some((_, what)) = UNSUPPORTED.iter().find(|(n, _)| *n == call.name) {
        let message = format!("`{}` is not supported yet", call.name);
        return c.error("E0499", call.span, message, what);
    }
    let imported = c.env.imported;
    if let Some(function) = imported.callable.get(call.name) {
        return cfunction::call(c, call, function);
    }
    if let Some(function) = c.types().find_func(call.name, Some("vmlinux")) {
        return kernel::kfunc(c, call, function.ty);
    }
    let mut d = Diagnostic::error("E0400", format!("unknown function `{}`", call.name)).at(at, "not defined");
    if let Some(why) = imported.others.get(call.name) {
        d = d.help(format!("{why}, so scripts cannot call it"));
    } else {
        let mut known: Vec<&str> = names().collect();
        known.extend(imported.callable.keys().map(String::as_str));
        if let Some(close) = nearest(call.name, known.into_iter()) {
            d = d.help(format!("did you mean `{close}`?"));
        }
    }
    c.report(d);
    None
}

/// The N of `$N` or `str($N)`.
fn text_parameter(e: &ast::Expr) -> Option<u32> {
    match &e.kind {
        ast::ExprKind::Positional(n) => Some(*n),
        ast::ExprKind::Call { name, args } if name.value == "str" => match args.as_slice() {
            [ast::Expr { kind: ast::ExprKind::Positional(n), .. }] => Some(*n),
            _ => None,
        },
        _ => None,
    }
}

/// `$N` or `str($N)`, if the script is built to be run with a value for it at once.
fn given_text(c: &Checker, e: &ast::Expr) -> Option<String> {
    c.env.parameters.get((text_parameter(e)? as usize).checked_sub(1)?).cloned()
}

/// What to do about a parameter that decides what is built.
fn parameter_help(e: &ast::Expr) -> Option<String> {
    let option = matches!(&e.kind, ast::ExprKind::Call { name, .. } if name.value == "getopt");
    match text_parameter(e) {
        Some(n) => Some(format!(
            "a tracer learns `${n}` when it starts, which is too late here: write it out, or use `btc run SCRIPT ARGS`"
        )),
        None => option.then(|| "a tracer learns its options when it starts, which is too late here".into()),
    }
}

/// As [`given_text`], for a number.
fn given_number(c: &Checker, e: &ast::Expr) -> Option<i64> {
    match e.kind {
        ast::ExprKind::Positional(_) => given_text(c, e)?.parse().ok(),
        _ => None,
    }
}

/// A constant text argument.
fn constant_text(c: &mut Checker, e: &ast::Expr, what: &str) -> Option<Vec<u8>> {
    if let Some(text) = given_text(c, e) {
        return Some(text.into_bytes());
    }
    let value = c.value(e)?;
    match value.kind {
        crate::hir::tree::ExprKind::Str(bytes) => Some(bytes),
        _ => {
            let d = Diagnostic::error("E0403", format!("{what} must be a text literal")).at(e.span, "not a literal");
            c.report(parameter_help(e).into_iter().fold(d, Diagnostic::help));
            None
        }
    }
}

/// As [`constant_text`], as UTF-8.
fn constant_string(c: &mut Checker, e: &ast::Expr, what: &str) -> Option<String> {
    constant_text(c, e, what).map(|b| String::from_utf8_lossy(&b).into_owned())
}

/// A constant integer argument.
fn constant_integer(c: &mut Checker, e: &ast::Expr, what: &str) -> Option<i64> {
    if let Some(number) = given_number(c, e) {
        return Some(number);
    }
    let value = c.value(e)?;
    match super::checker::literal(&value) {
        Some(v) => Some(v as i64),
        None => {
            let d = Diagnostic::error("E0404", format!("{what} must be a constant")).at(e.span, "not a constant");
            c.report(parameter_help(e).into_iter().fold(d, Diagnostic::help));
            None
        }
    }
}

/// An integer argument.
fn integer(c: &mut Checker, e: &ast::Expr, signed: bool, what: &str) -> Option<Expr> {
    let value = c.value(e)?;
    c.integer(value, signed, what)
}
