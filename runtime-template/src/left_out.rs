//! C functions that the executable must name and never uses: defined here in a few
//! bytes, so that the linker takes none of the real ones out of their libraries.
//!
//! In: calls that libbpf, libelf and the standard library could make in cases that a
//! tracer does not have. Out: the answer that means "not possible" in each interface,
//! so that a caller reports an error instead of going on. 100 KB of a tracer.
//!
//! * Stack unwinding. A panic aborts, and the tables that an unwinder reads are left
//!   out (`stub.ld`). A backtrace is empty, with which the optimiser also drops the
//!   reader of debug information that the standard library prints backtraces with.
//! * zlib. libelf inflates compressed sections; those that libbpf reads, of its own
//!   object and the notes and symbols of binaries, never are. libbpf reads
//!   `/proc/config.gz` for `.kconfig` variables, which the compiler does not emit.
//!   (Debug sections, which are often compressed, are blazesym's, which brings its own.)

use std::ffi::{c_char, c_int, c_uint, c_void};
use std::ptr::null_mut;

/// Of the Itanium C++ ABI, "Exception Handling", 1.3: the end of the stack.
const END_OF_STACK: c_int = 5;
/// zlib's answer to an input that is no stream of its own.
const Z_DATA_ERROR: c_int = -3;
const Z_STREAM_ERROR: c_int = -2;

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
    gzopen64(*const c_char, *const c_char) -> *mut c_void = null_mut();
    gzgets(*mut c_void, *mut c_char, c_int) -> *mut c_char = null_mut();
    gzclose(*mut c_void) -> c_int = Z_STREAM_ERROR;
    crc32(usize, *const u8, c_uint) -> usize = 0;
}
