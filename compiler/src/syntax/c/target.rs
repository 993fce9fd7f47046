//! What depends on the machine the script runs on: sizes, alignments, and the
//! macros a C compiler defines for it.
//!
//! In: nothing. Out: one description, for x86-64; nothing else in the C front
//! end knows a machine. All 64-bit Linux targets share the sizes of integers
//! (LP64), which the type store has.

/// A machine.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Alignment that `__attribute__((aligned))` without a number asks for.
    pub biggest_alignment: u32,
    /// Alignment of `____cacheline_aligned`.
    pub cache_line: u32,
    /// Size and alignment of `long double`.
    pub long_double: u32,
    /// Whether unnamed bit-fields align their struct (AArch64: yes).
    pub unnamed_bit_fields_align: bool,
    /// Macros that say which machine it is.
    pub macros: &'static [(&'static str, &'static str)],
}

impl Target {
    /// x86-64 with the System V ABI.
    pub const X86_64: Target = Target {
        biggest_alignment: 16,
        cache_line: 64,
        long_double: 16,
        unnamed_bit_fields_align: false,
        macros: &[("__x86_64__", "1"), ("__x86_64", "1"), ("__amd64__", "1"), ("__amd64", "1")],
    };
}

/// Macros of every 64-bit little-endian Linux, and those that bpftrace defines
/// for scripts: kernel types are always at hand here.
pub(super) const MACROS: &[(&str, &str)] = &[
    ("BPFTRACE_HAVE_BTF", "1"),
    ("BPFTRACE_HAVE_KFUNC", "1"),
    ("__BPF_TRACING__", "1"),
    ("__STDC__", "1"),
    ("__STDC_VERSION__", "201710L"),
    ("__STDC_HOSTED__", "1"),
    ("__GNUC__", "12"),
    ("__GNUC_MINOR__", "2"),
    ("__GNUC_PATCHLEVEL__", "0"),
    ("__GNUC_STDC_INLINE__", "1"),
    ("__linux__", "1"),
    ("__linux", "1"),
    ("__gnu_linux__", "1"),
    ("__unix__", "1"),
    ("__unix", "1"),
    ("__ELF__", "1"),
    ("_LP64", "1"),
    ("__LP64__", "1"),
    ("__CHAR_BIT__", "8"),
    ("__SIZEOF_SHORT__", "2"),
    ("__SIZEOF_INT__", "4"),
    ("__SIZEOF_LONG__", "8"),
    ("__SIZEOF_LONG_LONG__", "8"),
    ("__SIZEOF_POINTER__", "8"),
    ("__SIZEOF_SIZE_T__", "8"),
    ("__SIZEOF_PTRDIFF_T__", "8"),
    ("__SIZEOF_WCHAR_T__", "4"),
    ("__SIZEOF_FLOAT__", "4"),
    ("__SIZEOF_DOUBLE__", "8"),
    ("__SIZEOF_INT128__", "16"),
    ("__ORDER_LITTLE_ENDIAN__", "1234"),
    ("__ORDER_BIG_ENDIAN__", "4321"),
    ("__ORDER_PDP_ENDIAN__", "3412"),
    ("__BYTE_ORDER__", "__ORDER_LITTLE_ENDIAN__"),
    ("__FLOAT_WORD_ORDER__", "__ORDER_LITTLE_ENDIAN__"),
    ("__LITTLE_ENDIAN_BITFIELD", "1"),
    ("__SCHAR_MAX__", "127"),
    ("__SHRT_MAX__", "32767"),
    ("__INT_MAX__", "2147483647"),
    ("__LONG_MAX__", "9223372036854775807L"),
    ("__LONG_LONG_MAX__", "9223372036854775807LL"),
    ("__INT_WIDTH__", "32"),
    ("__LONG_WIDTH__", "64"),
    ("__SIZE_TYPE__", "unsigned long"),
    ("__PTRDIFF_TYPE__", "long"),
    ("__WCHAR_TYPE__", "int"),
    ("__WINT_TYPE__", "unsigned int"),
    ("__INTMAX_TYPE__", "long"),
    ("__UINTMAX_TYPE__", "unsigned long"),
    ("__INTPTR_TYPE__", "long"),
    ("__UINTPTR_TYPE__", "unsigned long"),
    ("__INT8_TYPE__", "signed char"),
    ("__INT16_TYPE__", "short"),
    ("__INT32_TYPE__", "int"),
    ("__INT64_TYPE__", "long"),
    ("__UINT8_TYPE__", "unsigned char"),
    ("__UINT16_TYPE__", "unsigned short"),
    ("__UINT32_TYPE__", "unsigned int"),
    ("__UINT64_TYPE__", "unsigned long"),
    ("__CHAR16_TYPE__", "unsigned short"),
    ("__CHAR32_TYPE__", "unsigned int"),
];
