//! C functions that the executable must name and never uses: defined here in a few
//! bytes, so that the linker takes none of the real ones out of their libraries.
//!
//! In: calls that libbpf, libelf and the standard library could make in cases that a
//! tracer does not have. Out: the answer that means "not possible" in each interface,
//! so that a caller reports an error instead of going on. 150 KB of a tracer.
//!
//! * Stack unwinding. A panic aborts, and the tables that an unwinder reads are left
//!   out (`stub.ld`). A backtrace is empty, with which the optimiser also drops the
//!   reader of debug information that the standard library prints backtraces with.
//! * zlib. libelf inflates compressed sections; those that libbpf reads, of its own
//!   object and the notes and symbols of binaries, never are. What libbpf reads the
//!   kernel's configuration by is in `gzip.rs`. (Debug sections, which are often
//!   compressed, are blazesym's, which brings its own.)
//! * Translated messages. The C library's own errors go through `gettext`, which would
//!   load catalogues, character sets and the dynamic linker. No locale is ever set, so
//!   a message is its own translation; an assertion that fails says which, and aborts.
//! * Of libbpf, the writer of loader programs ("light skeletons") and its usdt probes:
//!   the tracer opens these itself.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::ptr::null_mut;

/// Of the Itanium C++ ABI, "Exception Handling", 1.3: the end of the stack.
const END_OF_STACK: c_int = 5;
/// zlib's answer to an input that is no stream of its own.
const Z_DATA_ERROR: c_int = -3;
const Z_STREAM_ERROR: c_int = -2;
/// libbpf's pointers carry an error number negated, as the kernel's.
const NOT_SUPPORTED: *mut c_void = -(libc::ENOTSUP as isize) as *mut c_void;

macro_rules! left_out {
    ($($name:ident($($argument:ty),*) $(-> $result:ty)? = $value:expr;)*) => {$(
        // SAFETY: the name is the C library's own, which is not linked then.
        #[unsafe(no_mangle)]
        extern "C" fn $name($(_: $argument),*) $(-> $result)? { $value }
    )*};
}

left_out! {
    _Unwind_Backtrace(*const c_void, *mut c_void) -> c_int = END_OF_STACK;
    _Unwind_FindEnclosingFunction(*mut c_void) -> *mut c_void = null_mut();
    _Unwind_ForcedUnwind(*mut c_void, *const c_void, *mut c_void) -> c_int = END_OF_STACK;
    _Unwind_GetCFA(*mut c_void) -> usize = 0;
    _Unwind_GetDataRelBase(*mut c_void) -> usize = 0;
    _Unwind_GetIP(*mut c_void) -> usize = 0;
    _Unwind_GetIPInfo(*mut c_void, *mut c_int) -> usize = 0;
    _Unwind_GetLanguageSpecificData(*mut c_void) -> *mut c_void = null_mut();
    _Unwind_GetRegionStart(*mut c_void) -> usize = 0;
    _Unwind_GetTextRelBase(*mut c_void) -> usize = 0;
    _Unwind_SetGR(*mut c_void, c_int, usize) = ();
    _Unwind_SetIP(*mut c_void, usize) = ();
    _Unwind_DeleteException(*mut c_void) = ();
    _Unwind_RaiseException(*mut c_void) -> c_int = END_OF_STACK;
    _Unwind_Resume(*mut c_void) = std::process::abort();

    deflateInit_(*mut c_void, c_int, *const c_char, c_int) -> c_int = Z_STREAM_ERROR;
    deflate(*mut c_void, c_int) -> c_int = Z_STREAM_ERROR;
    deflateEnd(*mut c_void) -> c_int = Z_STREAM_ERROR;
    inflateInit_(*mut c_void, *const c_char, c_int) -> c_int = Z_STREAM_ERROR;
    inflate(*mut c_void, c_int) -> c_int = Z_DATA_ERROR;
    inflateReset(*mut c_void) -> c_int = Z_STREAM_ERROR;
    inflateEnd(*mut c_void) -> c_int = Z_STREAM_ERROR;
    crc32(usize, *const u8, c_uint) -> usize = 0;

    bpf_gen__init(*mut c_void, c_int, c_int) = ();
    bpf_gen__free(*mut c_void) = ();
    bpf_gen__finish(*mut c_void, c_int, c_int) -> c_int = -libc::ENOTSUP;
    bpf_gen__load_btf(*mut c_void, *const c_void, c_uint) = ();
    bpf_gen__map_create() = ();
    bpf_gen__map_freeze(*mut c_void, c_int) = ();
    bpf_gen__map_update_elem(*mut c_void, c_int, *mut c_void, c_uint) = ();
    bpf_gen__populate_outer_map(*mut c_void, c_int, c_int, c_int) = ();
    bpf_gen__prog_load() = ();
    bpf_gen__record_attach_target(*mut c_void, *const c_char, c_int) = ();
    bpf_gen__record_extern() = ();
    bpf_gen__record_relo_core(*mut c_void, *const c_void) = ();
    usdt_manager_new(*mut c_void) -> *mut c_void = NOT_SUPPORTED;
    usdt_manager_free(*mut c_void) = ();
    usdt_manager_attach_usdt() -> *mut c_void = NOT_SUPPORTED;
}

/// `msgid` as it is, in whatever domain.
///
/// # Safety
/// Returns its argument, which it does not look at.
#[unsafe(no_mangle)]
unsafe extern "C" fn dcgettext(_: *const c_char, msgid: *mut c_char, _: c_int) -> *mut c_char {
    msgid
}

/// As `dcgettext`, under the name that the C library calls it by.
///
/// # Safety
/// As `dcgettext`.
#[unsafe(no_mangle)]
unsafe extern "C" fn __dcgettext(_: *const c_char, msgid: *mut c_char, _: c_int) -> *mut c_char {
    msgid
}

/// # Safety
/// The texts are those of the `assert` macro.
#[unsafe(no_mangle)]
unsafe extern "C" fn __assert_fail(condition: *const c_char, file: *const c_char, line: c_uint, _: *const c_char) -> ! {
    // SAFETY: texts of the `assert` macro are constants that end in NUL.
    let (condition, file) = unsafe { (CStr::from_ptr(condition), CStr::from_ptr(file)) };
    panic!("{}:{line}: assertion failed: {}", file.to_string_lossy(), condition.to_string_lossy())
}
