//! The C front end as its callers see it: scripts in, types and macros out.

use std::collections::HashMap;
use std::io::{Error, ErrorKind};
use std::path::{Path, PathBuf};

use super::*;
use crate::btf::BtfSources;
use crate::ctypes::CKind;

mod compiler;
mod garbage;

/// Tables that know two headers.
struct Tables;

impl HeaderOracle for Tables {
    fn has_header(&self, header: &str) -> bool {
        ["linux/fcntl.h", "linux/version.h", "errno.h"].contains(&header)
    }

    fn constant(&self, header: &str, name: &str) -> Option<String> {
        let rows = [
            ("linux/fcntl.h", "O_CREAT", "64"),
            ("errno.h", "EPERM", "1"),
            ("linux/version.h", "LINUX_VERSION_CODE", "396800"),
        ];
        rows.iter().find(|r| r.0 == header && r.1 == name).map(|r| r.2.to_string())
    }
}

/// What one compilation gave.
struct Done {
    text: String,
    store: TypeStore,
    macros: Macros,
    problems: Vec<Diagnostic>,
    definitions: Vec<String>,
}

impl Done {
    fn codes(&self) -> Vec<&str> {
        self.problems.iter().map(|p| p.code).collect()
    }

    fn expand(&self, name: &str, args: Option<&[&str]>) -> String {
        self.macros.expand_to_text(name, args, Span::default()).unwrap_or_else(|e| e.message.clone())
    }

    fn size(&self, tag: &str) -> Option<u64> {
        self.store.size_of(self.store.find_tagless(tag)?)
    }

    /// Offset in bits and width of a field.
    fn field(&self, tag: &str, field: &str) -> Option<(u32, Option<u8>)> {
        let found = self.store.field(self.store.find_tagless(tag)?, field)?;
        Some((found.bit_offset, found.bit_width))
    }
}

fn run_with(script: &str, files: &[(&str, &str)]) -> Done {
    let files: HashMap<PathBuf, String> = files.iter().map(|(n, t)| (PathBuf::from(n), t.to_string())).collect();
    let read = move |path: &Path| {
        let missing = || Error::from(ErrorKind::NotFound);
        files.get(path).map(|t| t.as_bytes().to_vec()).ok_or_else(missing)
    };
    let options = Options {
        include_dirs: vec!["inc".into(), "inc2".into()],
        system_dirs: Vec::new(),
        defines: vec![("OWN".into(), "5".into())],
        target: Target::X86_64,
        read: Rc::new(read),
        oracle: Rc::new(Tables),
    };
    let store = TypeStore::new(BtfSources::none());
    let mut sources = SourceMap::default();
    let file = sources.add("s.bt", Some(Path::new("dir/s.bt")), script.to_string());
    let mut front = CFrontEnd::new(&store, options);
    let done = front.script(&mut sources, file);
    let (macros, problems) = front.finish();
    assert_eq!(done.text.len(), script.len());
    let definitions = done.definitions.iter().map(|s| sources.text(*s).to_string()).collect();
    Done { text: done.text, store, macros, problems, definitions }
}

fn run(script: &str) -> Done {
    run_with(script, &[])
}

#[test]
fn directives_become_blanks() {
    let script = "#!/usr/bin/btc\n#define A 1 /* x\n y */\nBEGIN { $# #no\n  #define B \\\n  2\n}\n#if 0\nfoo\n#else\nbar\n#endif\n";
    let done = run(script);
    assert_eq!(done.problems, []);
    let lines: Vec<&str> = done.text.lines().map(str::trim_end).collect();
    assert_eq!(lines, ["", "", "", "BEGIN { $# #no", "", "", "}", "", "", "", "bar", ""]);
    assert_eq!((done.expand("A", None), done.expand("B", None)), ("1".into(), "2".into()));
}

#[test]
fn a_word_of_conditions_is_a_name_elsewhere() {
    let done = run("struct s { unsigned int defined; };\n#if defined(NOPE)\nno\n#endif\nBEGIN { }");
    assert_eq!(done.problems, []);
    assert!(!done.text.contains("no\n"));
}

#[test]
fn conditions_are_computed() {
    let yes = [
        "1",
        "defined BPFTRACE_HAVE_BTF",
        "defined(OWN) && OWN == 5",
        "!defined(NOPE)",
        "NOPE == 0",
        "__LP64__",
        "__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__",
        "'a' == 97",
        "(2 + 3) * 2 == 10",
        "-1 < 0",
        "1 ? 1 : 0",
        "0x10 == 020",
        "__has_include(<errno.h>)",
        "!__has_include(\"nope.h\")",
        "0 || (1 && !0)",
        "~0 == -1",
        "__x86_64__ + 0",
        "defined __has_include",
    ];
    for text in yes {
        let done = run(&format!("#if {text}\nyes\n#else\nno\n#endif"));
        assert_eq!((done.text.trim(), done.problems.len()), ("yes", 0), "{text}");
    }
}

#[test]
fn one_group_of_a_condition_is_read() {
    let script = "#define X 2\n#if X == 1\na\n#elif X == 2\nb\n#elif 1\nc\n#else\nd\n#endif\n#ifdef Y\ne\n#elifdef X\nf\n#endif\n#ifndef Y\ng\n#endif\n#if 0\n#if 1\nh\n#else\ni\n#endif\n#endif";
    let done = run(script);
    assert_eq!(done.problems, []);
    assert_eq!(done.text.split_whitespace().collect::<Vec<_>>(), ["b", "f", "g"]);
}

#[test]
fn a_hash_in_skipped_text_needs_its_line() {
    let script = "#if 0\n/*\n#endif\n*/ it's \"#endif\n#endif\nrest";
    let done = run(script);
    assert_eq!((done.text.trim(), done.problems.len()), ("rest", 0));
    let script = "#if 1\nuprobe:/lib/*/libc.so:f { }\n#else\nuprobe:/lib/*/x:f { }\n#endif\nEND { }";
    let done = run(script);
    assert_eq!(done.text.split_whitespace().next_back(), Some("}"));
    assert!(done.text.contains("END") && !done.text.contains("/x:f") && done.problems.is_empty());
}

#[test]
fn macros_expand_like_c() {
    let script = r#"
#define LIMIT 25
#define TWICE (LIMIT * 2)
#define GREETING "hey"
#define MAX(a, b) ((a) > (b) ? (a) : (b))
#define STR(x) #x
#define XSTR(x) STR(x)
#define CAT(a, b) a ## b
#define LOG(fmt, ...) printf(fmt, ##__VA_ARGS__)
#define ALL(...) f(__VA_ARGS__)
#define SELF SELF + 1
#define PING PONG
#define PONG PING
#define EMPTY
#define FN() 7
#define foo bar
#define GONE 1
#undef GONE
#define SPACED (x)
#define MINUS -1
#define VAR $foo + @foo[1] + foo
"#;
    let done = run(script);
    assert_eq!(done.problems, []);
    for (name, args, text) in [
        ("LIMIT", None, "25"),
        ("TWICE", None, "(25 * 2)"),
        ("GREETING", None, "\"hey\""),
        ("MAX", Some(&["$x", "@m[1, 2]"][..]), "((@m[1, 2]) > "),
        ("STR", Some(&["a  +\"b\\n\""][..]), "\"a +\\\"b\\\\n\\\"\""),
        ("STR", Some(&["LIMIT"][..]), "\"LIMIT\""),
        ("XSTR", Some(&["LIMIT"][..]), "\"25\""),
        ("CAT", Some(&["LIM", "IT"][..]), "25"),
        ("CAT", Some(&["", "x"][..]), "x"),
        ("LOG", Some(&["\"x\""][..]), "printf(\"x\")"),
        ("LOG", Some(&["\"%d\"", "1", "2"][..]), "printf(\"%d\", 1, 2)"),
        ("ALL", Some(&["1", "2"][..]), "f(1, 2)"),
        ("SELF", None, "SELF + 1"),
        ("PING", None, "PING"),
        ("EMPTY", None, ""),
        ("FN", Some(&[][..]), "7"),
        ("FN", None, "FN"),
        ("STR", Some(&["$foo"][..]), "\"$foo\""),
        ("SPACED", None, "(x)"),
        ("OWN", None, "5"),
        ("VAR", None, "$foo + @foo[1] + bar"),
    ] {
        if name == "MAX" {
            // The comma of `@m[1, 2]` separates arguments in C, too.
            assert!(done.expand(name, args).starts_with("bad use of the macro"), "{name}");
            continue;
        }
        assert_eq!(done.expand(name, args), text, "{name}");
    }
    assert_eq!(done.expand("MAX", Some(&["$x", "MINUS"])), "(($x) > (-1) ? ($x) : (-1))");
    assert!(done.macros.lookup("GONE").is_none());
    let max = done.macros.lookup("MAX").expect("a macro");
    assert_eq!((max.params, max.body.as_str()), (Some(vec!["a".into(), "b".into()]), "((a) > (b) ? (a) : (b))"));
    assert!(done.macros.names().contains(&"LIMIT".to_string()));
    assert!(!done.macros.names().contains(&"__x86_64__".to_string()));
}

#[test]
fn definitions_are_found_among_probes() {
    let script = "struct a { int x; short y; };\nBEGIN { struct b }\nenum color { red, green = 5, blue };\nstruct c { char d; } __attribute__((packed))\nkprobe:struct { }\ntypedef struct a a_t;\nEND { }";
    let done = run(script);
    assert_eq!(done.problems, []);
    assert_eq!(
        done.definitions,
        [
            "struct a { int x; short y; };",
            "enum color { red, green = 5, blue };",
            "struct c { char d; } __attribute__((packed))",
            "typedef struct a a_t;"
        ]
    );
    assert_eq!((done.size("a"), done.size("a_t"), done.size("c")), (Some(8), Some(8), Some(1)));
    assert_eq!(done.store.find_enumerator("blue").map(|e| e.1), Some(6));
    assert_eq!(done.text, script);
}

#[test]
fn c_that_defines_no_type_is_blanked() {
    let done = run("static inline int f(int x) { return x; }\nextern int g;\n_Static_assert(1, \"x\");\nBEGIN { }");
    assert_eq!((done.problems.len(), done.text.trim()), (0, "BEGIN { }"));
}

#[test]
fn macros_work_inside_definitions() {
    let script = "#define N 4\n#define FIELD(t, n) t n[N];\nstruct a {\n#if N > 3\n  FIELD(char, x)\n#else\n  long y;\n#endif\n};";
    let done = run(script);
    assert_eq!(done.problems, []);
    assert_eq!(done.size("a"), Some(4));
}

#[test]
fn members_lie_where_c_puts_them() {
    let script = "struct point { int x; short y; char tag[6]; struct { long a; } in; };
        struct bits { unsigned int f1 : 3; unsigned int f2 : 5; unsigned f3 : 30; };
        struct anon { int a; union { int b; struct { short c, d; }; }; enum { ONE = 1, TWO } e; };
        struct flex { int n; char data[]; };
        struct __attribute__((packed)) packed { char a; long b; };
        struct grid { int cells[2][3]; void (*call)(int, struct grid *); int (*table[4])(void); };
        union u { char c; double d; long double e; };
        struct al { char a; int b __attribute__((aligned(16))); } __attribute__((aligned(32)));
        typedef unsigned long long __attribute__((aligned(4))) low_u64;
        struct low { int a; low_u64 b; };
        struct same { struct same *next, *prev; struct unknown *u; u32 a; uint8_t b; bool c; size_t d; };
        struct sized { char a[sizeof(struct point)], b[__builtin_offsetof(struct point, in)]; int c[TWO + 1]; };";
    let done = run(script);
    assert_eq!(done.problems, []);
    let sizes = [
        ("point", 24),
        ("bits", 8),
        ("anon", 12),
        ("flex", 4),
        ("packed", 9),
        ("grid", 64),
        ("u", 16),
        ("al", 32),
        ("low", 12),
        ("same", 40),
        ("sized", 52),
    ];
    for (tag, size) in sizes {
        assert_eq!(done.size(tag), Some(size), "{tag}");
    }
    let fields = [
        ("point", "tag", 48, None),
        ("point", "in", 128, None),
        ("bits", "f2", 3, Some(5)),
        ("bits", "f3", 32, Some(30)),
        ("anon", "d", 48, None),
        ("anon", "e", 64, None),
        ("flex", "data", 32, None),
        ("packed", "b", 8, None),
        ("grid", "call", 192, None),
        ("al", "b", 128, None),
        ("low", "b", 32, None),
        ("same", "d", 256, None),
        ("sized", "c", 320, None),
    ];
    for (tag, field, offset, width) in fields {
        assert_eq!(done.field(tag, field), Some((offset, width)), "{tag}.{field}");
    }
}

#[test]
fn kinds_of_types_are_told_apart() {
    let done = run("struct s { char a[4]; const char *b; int (*f)(long); int g[2][3]; unsigned char c; _Bool d; };");
    assert_eq!(done.problems, []);
    let id = done.store.find_tagless("s").expect("a struct");
    let kind = |name: &str| done.store.resolved(done.store.field(id, name).expect("a field").ty).kind.clone();
    assert!(matches!(kind("a"), CKind::Array { len: 4, .. }));
    assert!(matches!(kind("b"), CKind::Pointer(to) if matches!(&done.store.get(to).kind, CKind::Int(i) if i.is_char)));
    assert!(matches!(kind("f"), CKind::Pointer(to) if matches!(done.store.get(to).kind, CKind::Function(_))));
    let CKind::Array { elem, len: 2 } = kind("g") else { panic!("no array") };
    assert!(matches!(done.store.get(elem).kind, CKind::Array { len: 3, .. }));
    assert!(matches!(kind("d"), CKind::Int(i) if i.is_bool));
}

#[test]
fn headers_are_found_and_read() {
    let files = [
        ("dir/own.h", "#pragma once\n#include \"sub/deep.h\"\n#define OWN_H 1\nstruct own { DEEP x; };\n"),
        ("dir/sub/deep.h", "#define DEEP long\n#include <inc.h>\n"),
        (
            "inc/inc.h",
            "#ifndef INC_H\n#define INC_H\ntypedef struct { short x; long y; } pair_t;\nextern int f(FILE *, pair_t) __THROW;\nstatic inline int g(void) { if (1) { return '}'; } return 0; }\nint arr[] = { 1, 2 };\n#include_next <inc.h>\n#endif\n",
        ),
        ("inc2/inc.h", "enum second { SECOND = 2 };\n"),
    ];
    let done = run_with("#include \"own.h\"\n#include \"own.h\"\nBEGIN { }", &files);
    assert_eq!(done.problems, []);
    assert_eq!((done.size("own"), done.size("pair_t")), (Some(8), Some(16)));
    assert_eq!(done.store.find_enumerator("SECOND").map(|e| e.1), Some(2));
    assert_eq!(done.text.trim(), "BEGIN { }");
}

#[test]
fn headers_of_the_system_are_answered_from_tables() {
    let script = "#include <linux/fcntl.h>\n#include <errno.h>\n#ifdef O_CREAT\nyes\n#endif\n#undef EPERM\n#include <linux/version.h>\n#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 1, 0)\nnew\n#endif\n";
    let done = run(script);
    assert_eq!(done.problems, []);
    assert_eq!(done.text.split_whitespace().collect::<Vec<_>>(), ["yes", "new"]);
    assert_eq!(done.expand("O_CREAT", None), "64");
    assert!(done.macros.lookup("EPERM").is_none());
    assert_eq!(done.macros.table_headers(), ["linux/fcntl.h", "errno.h", "linux/version.h"]);
    assert_eq!(done.expand("MAJOR", Some(&["$d"])), "((unsigned int)(($d) >> 20))");
    assert!(done.macros.names().is_empty());
}

#[test]
fn mistakes_are_reported_where_they_are() {
    for (script, code) in [
        ("#include \"nope.h\"", "E0502"),
        ("#include <nope.h>", "W0502"),
        ("#if 1\nx", "E0501"),
        ("#endif", "E0503"),
        ("#else", "E0503"),
        ("#if 0\n#else\n#else\n#endif", "E0503"),
        ("#ifdef\n#endif", "E0504"),
        ("#define", "E0504"),
        ("#define 1", "E0504"),
        ("#include", "E0504"),
        ("#inclde <x.h>", "E0505"),
        ("#define F(a", "E0506"),
        ("#define F(a, a) a", "E0506"),
        ("#define A 1\n#define A 2", "W0507"),
        ("#error stop here", "E0509"),
        ("#warning careful", "W0509"),
        ("#if 1 +\n#endif", "E0520"),
        ("#if 1 / 0\n#endif", "E0520"),
        ("#if 1 2\n#endif", "E0520"),
        ("#if F(1)\n#endif", "E0520"),
        ("struct a { int x[n]; };", "E0521"),
        ("_Static_assert(sizeof(int) == 8, \"no\");", "E0523"),
        ("struct a { int x; }; struct a { long x; };", "E0524"),
        ("struct a { int x; }; union a { long x; };", "E0524"),
        ("struct a { strange x; };", "E0526"),
        ("struct a { 5 x; };", "E0525"),
        ("struct a { long char x; };", "E0525"),
        ("struct a { struct b x; };", "E0526"),
        ("struct a { void x; };", "E0526"),
        ("struct a { int x : 33; };", "E0527"),
        ("struct a { void *x : 3; };", "E0527"),
        ("struct a { int x : 0; };", "E0527"),
        ("struct a { char x[1 << 30]; };", "E0528"),
        ("struct a { char x[1 << 27]; char y[1 << 28]; };", "E0528"),
        ("struct a { int x; int x; };", "E0529"),
        ("struct a { int x[-1]; };", "E0530"),
        ("struct a { int x[__builtin_offsetof(struct a, y)]; };", "E0531"),
        ("struct a { int x; ", "E0520"),
        ("struct a { int x", "E0520"),
        ("typedef struct { int x; } y z;", "E0520"),
        ("struct", "E0520"),
        ("enum { 1 };", "E0520"),
        ("typedef int;", ""),
        ("struct a { int x; } __attribute__((aligned(3)));", "E0520"),
    ] {
        let done = run(script);
        let expected: &[&str] = if code.is_empty() { &[] } else { &[code] };
        assert_eq!(done.codes(), expected, "{script}: {:?}", done.problems);
        for problem in &done.problems {
            assert!(problem.primary.is_some(), "{script}");
        }
    }
}

#[test]
fn after_a_mistake_the_rest_is_read() {
    let script =
        "typedef struct { int x y; int q; } a;\nstruct b { int z; };\nstruct c { strange s; int r; }\nBEGIN { x; }";
    let done = run(script);
    assert_eq!(done.codes(), ["E0520", "E0526"]);
    assert_eq!(done.size("b"), Some(4));
}

#[test]
fn a_tag_defined_later_completes_pointers() {
    let done = run("struct a { struct b *p; };\nstruct b { int x; };");
    let a = done.store.find_tagless("a").expect("a");
    let pointer = done.store.field(a, "p").expect("p").ty;
    let CKind::Pointer(to) = done.store.get(pointer).kind.clone() else { panic!("no pointer") };
    assert_eq!(done.store.size_of(to), Some(4));
}

#[test]
fn repeating_a_definition_is_no_mistake() {
    let text = "struct a { int x; struct { int y; }; };\ntypedef struct a a_t;\ntypedef int (*call)(a_t *);\n";
    let done = run(&format!("{text}{text}"));
    assert_eq!(done.problems, []);
}

#[test]
fn pragma_pack_limits_alignment() {
    let done = run(
        "#pragma pack(push, 1)\nstruct a { char c; long l; };\n#pragma pack(pop)\nstruct b { char c; long l; };\n#pragma pack(2)\nstruct d { char c; long l; };\n#pragma pack()\nstruct e { char c; int i; };",
    );
    assert_eq!(done.problems, []);
    assert_eq!(
        [done.size("a"), done.size("b"), done.size("d"), done.size("e")],
        [Some(9), Some(16), Some(10), Some(8)]
    );
}
