//! No input makes the C front end panic, overflow the stack, or run for long.

use super::*;

/// A small generator of numbers (xorshift), the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }
}

/// Seconds this thread has computed; other load on the machine does not count.
/// Where the kernel does not say, tests of speed pass.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    stat.split(' ').next().and_then(|ns| ns.parse::<f64>().ok()).map_or(0.0, |ns| ns / 1e9)
}

const WORDS: &[&str] = &[
    "struct ",
    "union ",
    "enum ",
    "typedef ",
    "{",
    "}",
    "(",
    ")",
    "[",
    "]",
    ";",
    ",",
    ":",
    "*",
    "a",
    "b",
    "int ",
    "long ",
    "char ",
    "__attribute__((packed))",
    "__attribute__((aligned(",
    "sizeof(",
    "offsetof(",
    "typeof(",
    "=",
    "1",
    "0x10",
    "'",
    "\"",
    "\\\n",
    "\n",
    "\n#define a ",
    "\n#define b(a) ",
    "\n#if ",
    "\n#else\n",
    "\n#endif\n",
    "\n#undef a\n",
    "##",
    "#",
    "/*",
    "*/",
    "//",
    "BEGIN ",
    "$x",
    "@m",
    "...",
    "\n#include \"inc.h\"\n",
    "\n#pragma pack(1)\n",
    "?",
    "<<",
    "_Static_assert(",
    "const ",
    "unsigned ",
    "ä",
    "\u{0}",
    "__VA_ARGS__",
    "\n#elif ",
    "defined ",
    "->",
    ".",
    "&",
    "-",
];

#[test]
fn rows_of_random_words_are_survived() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for _ in 0..500 {
        let len = 1 + random.below(60);
        let text: String = (0..len).map(|_| WORDS[random.below(WORDS.len())]).collect();
        let done = run_with(&text, &[("inc/inc.h", "struct q { int z; };\n#include \"inc.h\"\n")]);
        for name in done.macros.names() {
            let _ = done.macros.expand_to_text(&name, Some(&["x", "a"]), Span::default());
            let _ = done.macros.expand_to_text(&name, None, Span::default());
        }
    }
}

#[test]
fn random_bytes_are_survived() {
    let mut random = Random(77);
    for _ in 0..300 {
        let bytes: Vec<u8> = (0..random.below(400)).map(|_| random.below(256) as u8).collect();
        run(&String::from_utf8_lossy(&bytes));
        run(&format!("struct {}", String::from_utf8_lossy(&bytes)));
    }
}

#[test]
fn deep_nesting_is_refused() {
    let deep = 2_000;
    for (open, close) in [
        ("struct { ", ""),
        ("struct a { int x[", ""),
        ("(", ")"),
        ("typedef int x[(", ""),
        ("typedef int x[sizeof(struct { int x[", ""),
        ("typedef int x[typeof(", ""),
        ("enum { A = _Alignof(", ""),
        ("typedef int (", ""),
        ("typedef int (*f)(int (*)(", ""),
        ("typedef int x __attribute__((aligned(sizeof(struct { int x ", ""),
        ("typedef int ***", ""),
        ("typedef int x[-", ""),
        ("typedef int x[1?", ""),
        ("typedef int x[&*", ""),
        ("typedef int x[(int)", ""),
        ("typedef int x[1[", ""),
        ("__extension__ ", ""),
        ("__attribute__((x(", ""),
        ("#if 1\n", ""),
        ("#if 0\n", "#endif\n"),
    ] {
        let text = format!("typedef struct {{ {} }} x;", open.repeat(deep));
        run(&text);
        run(&format!("struct x {{ {}{} }};", open.repeat(deep), close.repeat(deep)));
        // Behind the first repetition, only the part that nests.
        let inner = open.rsplit_once(' ').map_or(open, |p| p.1);
        run(&format!("{open}{}", inner.repeat(deep)));
        run(&open.repeat(deep));
    }
    let calls = format!("#define f(x) (x)\n#if {}1{}\n#endif", "f(".repeat(deep), ")".repeat(deep));
    run(&calls);
}

#[test]
fn macros_cannot_blow_up() {
    let mut text = String::from("#define m0 x x\n#define f0(a) a a\n");
    for i in 1..64 {
        text += &format!("#define m{i} m{j} m{j}\n#define f{i}(a) f{j}(a a)\n", j = i - 1);
    }
    let start = cpu_seconds();
    let done = run(&format!("{text}struct s {{ m63 }};"));
    assert!(done.codes().contains(&"E0510"));
    let bad = done.macros.expand_to_text("f63", Some(&["a"]), Span::default());
    assert_eq!(bad.map_err(|e| e.code), Err("E0510"));
    let done = run(&format!("{text}#if m63\n#endif\n"));
    assert!(done.codes().contains(&"E0510"));
    assert!(cpu_seconds() - start < 30.0);
}

#[test]
fn includes_cannot_blow_up() {
    let header = "#include \"inc.h\"\n#include \"inc.h\"\n";
    let done = run_with(header, &[("inc/inc.h", header)]);
    assert!(done.codes().contains(&"E0508"));
    assert!(done.problems.len() <= MOST_PROBLEMS);
}

#[test]
fn large_inputs_take_linear_time() {
    let rows = [
        "struct s { int a; char b[3]; };\n",
        "#define M(a, b) a + b\n#undef M\n",
        "typedef unsigned long long int word;\n",
        "extern int f(const char *restrict a, ...);\n",
        "\"\\\"'\\'/**/",
        "'\\",
        "/*",
        "((((",
        "[1",
        "{",
        "}",
        ";",
        "#if 1\n",
        "#if 0\n",
        "a ",
        "struct ",
        "=1,",
        "#",
        "\n#",
        "\\\n",
    ];
    for row in rows {
        let len = 60_000;
        let text = row.repeat(len / row.len());
        let start = cpu_seconds();
        run(&text);
        run(&format!("struct a {{ {text}"));
        run(&format!("#define A {text}\n"));
        run_with("#include \"inc.h\"\n", &[("inc/inc.h", &text)]);
        let seconds = cpu_seconds() - start;
        assert!(seconds < 10.0, "{row:?} takes {seconds} s");
    }
}
