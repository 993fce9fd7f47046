//! Tests of the parser: precedence, ambiguities, limits, recovery, garbage.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::diagnostic::render;
use crate::span::SourceMap;
use crate::syntax::print::{dump, dump_expr};
use std::time::{Duration, Instant};

const VALUES: [&str; 8] = ["pid", "tid", "comm", "arg0", "args", "nsecs", "retval", "cpid"];

fn options() -> ParseOptions<'static> {
    ParseOptions { is_value: &|w| VALUES.contains(&w) }
}

/// Tree or messages as text.
fn parse(text: &str) -> Result<String, String> {
    let mut sources = SourceMap::default();
    let file = sources.add("script.bt", None, text.to_string());
    let mut found = Diagnostics::default();
    match parse_script(file, text, &options(), &mut found) {
        Some(script) => {
            let out = dump(&script, &sources);
            on_deep_stack(move || drop(script));
            Ok(out)
        }
        None => Err(found.sorted().iter().map(|d| render(d, &sources, false)).collect()),
    }
}

fn codes(text: &str) -> Vec<&'static str> {
    let mut found = Diagnostics::default();
    let script = parse_script(FileId(0), text, &options(), &mut found);
    on_deep_stack(move || drop(script));
    found.iter().map(|d| d.code).collect()
}

/// An expression in prefix notation on one line.
fn shape(text: &str) -> String {
    let mut found = Diagnostics::default();
    let expr = parse_expression(text, Span::default(), &options(), &mut found);
    let messages: Vec<&str> = found.iter().map(|d| d.message.as_str()).collect();
    let Some(expr) = expr else { panic!("{text}: {messages:?}") };
    let dumped = dump_expr(&expr);
    let mut out = String::new();
    let mut depths: Vec<usize> = Vec::new();
    for line in dumped.lines() {
        let depth = (line.len() - line.trim_start().len()) / 2;
        while depths.last().is_some_and(|d| *d >= depth) {
            depths.pop();
            out.push(')');
        }
        let word = line.trim_start();
        let word = ["binary ", "integer ", "name ", "unary ", "type "]
            .iter()
            .fold(word, |w, p| w.strip_prefix(p).unwrap_or(w));
        out.push_str(if out.is_empty() || out.ends_with('(') { "(" } else { " (" });
        out.push_str(word);
        depths.push(depth);
    }
    out.extend(depths.iter().map(|_| ')'));
    // Leaves need no parentheses.
    let mut result = String::new();
    let mut rest = out.as_str();
    while let Some(start) = rest.find('(') {
        let (head, tail) = rest.split_at(start);
        result.push_str(head);
        let end = tail[1..].find(['(', ')']).map_or(tail.len(), |i| i + 1);
        if tail.as_bytes()[end] == b')' {
            result.push_str(&tail[1..end]);
            rest = &tail[end + 1..];
        } else {
            result.push_str(&tail[..end]);
            rest = &tail[end..];
        }
    }
    result + rest
}

#[test]
fn precedence_is_that_of_c() {
    for (text, tree) in [
        ("1 + 2 * 3", "(+ 1 (* 2 3))"),
        ("10 - 4 - 3", "(- (- 10 4) 3)"),
        ("1 << 2 + 1", "(<< 1 (+ 2 1))"),
        ("7 & 3 == 3", "(& 7 (== 3 3))"),
        ("1 | 2 ^ 3 & 2", "(| 1 (^ 2 (& 3 2)))"),
        ("1 || 2 && 3", "(|| 1 (&& 2 3))"),
        ("1 < 2 == 3 > 4", "(== (< 1 2) (> 3 4))"),
        ("-$a * !$b", "(* (- $a) (! $b))"),
        ("*$p + 1", "(+ (* $p) 1)"),
        ("*$p->x", "(* (field ->x $p))"),
        ("-$a++", "(- (increment after $a))"),
        ("(1 + 2) * 3", "(* (+ 1 2) 3)"),
        ("$a ? 1 : $b ? 2 : 3", "(ternary $a 1 (ternary $b 2 3))"),
        ("$a ? $b ? 1 : 2 : 3", "(ternary $a (ternary $b 1 2) 3)"),
        ("$a == 1 ?: 2", "(elvis (== $a 1) 2)"),
        ("@m[1, \"a\"].0.1", "(field .1 (field .0 (index @m 1 string \"a\")))"),
        ("$a->b.c[1]", "(index (field .c (field ->b $a)) 1)"),
        ("1 - -2", "(- 1 (- 2))"),
        ("$a - --$b", "(- $a (decrement before $b))"),
    ] {
        assert_eq!(shape(text), tree, "{text}");
    }
}

#[test]
fn a_word_in_parentheses_is_a_cast_unless_it_names_a_value() {
    for (text, tree) in [
        ("(pid)*tid", "(* pid tid)"),
        ("(pid) * 2 + 1", "(+ (* pid 2) 1)"),
        ("-(pid) - -1", "(- (- pid) (- 1))"),
        ("2 * (pid) & 3", "(& (* 2 pid) 3)"),
        ("(other)*tid", "(cast other (* tid))"),
        ("(uint8)-1", "(cast uint8 (- 1))"),
        ("(uint8)(int8)$x + 1", "(+ (cast uint8 (cast int8 $x)) 1)"),
        ("(pid)", "pid"),
        ("(x) && 1", "(&& x 1)"),
        ("(x) + 1", "(+ x 1)"),
        ("(struct s *)arg0", "(cast (pointer struct s) arg0)"),
        ("((struct s *)arg0)->b", "(field ->b (cast (pointer struct s) arg0))"),
        ("(unsigned long)1", "(cast unsigned long 1)"),
        ("(uint8[8])12345", "(cast (array uint8 8) 12345)"),
        ("(int8[])\"abc\"", "(cast (array int8) string \"abc\")"),
        ("(typeof($b))65537", "(cast (of $b) 65537)"),
        ("sizeof(struct s)", "(sizeof struct s)"),
        ("sizeof(s)", "(sizeof s)"),
        ("sizeof(s[2])", "(sizeof (array s 2))"),
        ("sizeof(args[2])", "(sizeof (index args 2))"),
        ("sizeof((s)[2])", "(sizeof (index s 2))"),
        ("sizeof(s *)", "(sizeof (pointer s))"),
        ("sizeof(s * 2)", "(sizeof (* s 2))"),
        ("offsetof(struct s, a.b)", "(offsetof a.b struct s)"),
    ] {
        assert_eq!(shape(text), tree, "{text}");
    }
}

#[test]
fn tuples_records_and_blocks() {
    for (text, tree) in [
        ("()", "tuple"),
        ("(1,)", "(tuple 1)"),
        ("(1, 2,)", "(tuple 1 2)"),
        ("(1, (2, 3))", "(tuple 1 (tuple 2 3))"),
        ("(a=1, b=(c=2))", "(record (set a 1) (set b (record (set c 2))))"),
        ("(a == 1)", "(== a 1)"),
        ("{ 7 }", "(block (value 7))"),
        ("{ $a = 1; $a }", "(block (assign = $a 1) (value $a))"),
        ("if $a { 1 } else { 2 }", "(if value $a (then (value 1)) (else (value 2)))"),
        ("comptime is_str($a)", "(comptime (call is_str $a))"),
        ("greet!(1)", "(call greet 1)"),
    ] {
        assert_eq!(shape(text), tree, "{text}");
    }
}

#[test]
fn integers() {
    use literal::{NumberFault, integer};
    for (text, value) in [
        ("0", 0),
        ("42", 42),
        ("0123", 0o123),
        ("0x1F", 31),
        ("0Xff", 255),
        ("0b101", 5),
        ("1_000", 1000),
        ("2e3", 2000),
        ("1e6", 1_000_000),
        ("5E1", 50),
        ("7ns", 7),
        ("2us", 2000),
        ("3ms", 3_000_000),
        ("1s", 1_000_000_000),
        ("1m", 60_000_000_000),
        ("2h", 7_200_000_000_000),
        ("1d", 86_400_000_000_000),
        ("123UL", 123),
        ("123LL", 123),
        ("18446744073709551615", u64::MAX),
        ("0xffULL", 255),
        ("0s", 0),
    ] {
        assert_eq!(integer(text).map(|v| v.0), Ok(value), "{text}");
    }
    assert_eq!(integer("5u"), Ok((5, true)));
    assert_eq!(integer("18446744073709551616"), Err(NumberFault::Overflow));
    assert_eq!(integer("1e20"), Err(NumberFault::Overflow));
    assert_eq!(integer("1e-3"), Err(NumberFault::NegativeExponent));
    assert_eq!(integer("1.5"), Err(NumberFault::Float));
    assert_eq!(integer("08"), Err(NumberFault::BadDigit(8)));
    assert_eq!(integer("1x"), Err(NumberFault::BadSuffix("x".into())));
    assert_eq!(integer("1M"), Err(NumberFault::BadSuffix("M".into())));
}

#[test]
fn escapes() {
    assert_eq!(shape(r#""\n\t\101\060\x41\"\\""#), r#"string "\n\tA0A\"\\""#);
    assert_eq!(shape("'c'"), "char 'c'");
    assert_eq!(shape(r"'\n'"), r"char '\n'");
    assert_eq!(codes(r#"BEGIN { print("\q"); print("\777"); print('ab') }"#), ["E0124", "E0124", "E0125"]);
}

#[test]
fn attach_points_and_predicates() {
    let parts = |text: &str| -> Vec<Vec<String>> {
        let mut found = Diagnostics::default();
        let script = parse_script(FileId(0), text, &options(), &mut found);
        let Some(Item::Probe(p)) = script.and_then(|mut s| s.items.pop()) else { panic!("{text}: {found:?}") };
        let piece = |p: &crate::syntax::ast::AttachPiece| match p {
            crate::syntax::ast::AttachPiece::Text(t) => t.clone(),
            crate::syntax::ast::AttachPiece::Parameter(n) => format!("${n}"),
        };
        p.attach_points.iter().map(|a| a.parts.iter().map(|p| p.pieces.iter().map(piece).collect()).collect()).collect()
    };
    assert_eq!(parts("kprobe: vfs_read {}"), [["kprobe", "vfs_read"]]);
    assert_eq!(parts("uprobe: /bin/sh:f /pid == 1/ {}"), [["uprobe", "/bin/sh", "f"]]);
    assert_eq!(parts("uprobe:/tmp/*:f {}"), [["uprobe", "/tmp/*", "f"]]);
    assert_eq!(parts("uprobe:/a@f.c:12 {}"), [["uprobe", "/a@f.c", "12"]]);
    assert_eq!(parts("uprobe:\"x.apk!/lib.so\":\"f(int, char)\" {}"), [["uprobe", "x.apk!/lib.so", "f(int, char)"]]);
    assert_eq!(parts(r#"usdt:/a:p:"\"q\"" {}"#), [["usdt", "/a", "p", "\"q\""]]);
    assert_eq!(parts("kprobe:f+0x10,\n kr:g*[ab]? {}"), [["kprobe", "f+0x10"], ["kr", "g*[ab]?"]]);
    assert_eq!(parts("software:cpu: {}"), [["software", "cpu", ""]]);
    assert_eq!(parts("software:cpu: /pid == 1/ {}"), [["software", "cpu", ""]]);
    assert_eq!(parts("interval:ms:$1 {}"), [["interval", "ms", "$1"]]);
    assert_eq!(parts("uprobe:./lib$2.so:f {}"), [["uprobe", "./lib$2.so", "f"]]);
    assert_eq!(parts("first=begin {}"), [["begin"]]);
    assert_eq!(parts("BEGIN{}"), [["BEGIN"]]);
    assert_eq!(parts("begin/1/{}"), [["begin"]]);
    for text in [
        "kprobe:f /pid == 1 / 2/ {}",
        "kprobe:f /pid/2 == 1/{}",
        "kprobe:f\n// why\n/comm == \"a/b{\" && @x[pid]/ /* then */ {}",
        "kprobe:f / { $a = 1; $a } / {}",
        "kprobe:f /1/ { $x = 4 / 2; @[1 / 1] = $x /* a */ / 2 }",
    ] {
        assert!(codes(text).is_empty(), "{text}: {:?}", parse(text));
    }
}

#[test]
fn statements() {
    for text in [
        "BEGIN { if $a { } else if !$b { } else { } }",
        "BEGIN { if (x) { print(1) } }",
        "BEGIN { if (pid == 1) && (tid == 2) { } }",
        "BEGIN { while ($i < 3) { $i++; continue; break } unroll(3) { } unroll $1 { } }",
        "BEGIN { for ($i : 0..3) { } for $i : 1..$a { } for ($kv : @m) { } for $kv : @m { } }",
        "BEGIN { let $a; let $b : uint8 = 1; let $c: string[8]; let $d = 1 }",
        "BEGIN { _ = f(); return; return 1; }",
        "BEGIN { if comptime (1) { } comptime if (1) { } else { } }",
        "BEGIN { $a == 1 ? printf(\"x\") : printf(\"y\"); { let $b = 1; } ; }",
        "BEGIN { printf(\"%d\", config.max_map_keys); args.if; $x->struct }",
        "macro m { 1 } macro n(a, $b, @c) { if a { 1 } else { 2 } }",
        "config = { a = 1; b = \"x\"; c = perf; d = true }\nimport \"x.bt\";\nlet @m = hash(10)\nlet @n = lruhash(5);",
        "#!/usr/bin/btc\nstruct s { int x; }\nenum e { A, B };\nunion __attribute__((packed)) u { int a; };\ntypedef struct { int y; } t;\nstruct p { char c; } __attribute__((packed));\nbegin { }",
        "BEGIN { @++; @[1]--; ++@x; @ = 6; @x <<= 1; $p->x = 1; }",
        "BEGIN{}END\n{\n}",
    ] {
        assert!(codes(text).is_empty(), "{text}:\n{}", parse(text).unwrap_err());
    }
}

#[test]
fn a_macro_keeps_the_comment_above_it() {
    let tree =
        parse("// not this\n\n// :variant f()\n// Does it.\nmacro f() { 1 }\n/* And\n * this. */\nmacro g() { 2 }")
            .unwrap();
    assert!(tree.contains("doc :variant f()\n  doc Does it.\n"), "{tree}");
    assert!(tree.contains("doc And\n  doc this.\n"), "{tree}");
    assert!(!tree.contains("not this"), "{tree}");
}

#[test]
fn each_mistake_has_its_code() {
    for (text, expected) in [
        ("BEGIN { printf(\"abc); }", "E0103"),
        ("BEGIN { /* }", "E0104"),
        ("BEGIN { print(1; }", "E0105"),
        ("BEGIN { print(1);", "E0105"),
        ("BEGIN { } }", "E0106"),
        ("BEGIN { }\n#define X 1\n", "E0107"),
        ("BEGIN { print( }", "E0105"),
        ("BEGIN { $a = ; }", "E0110"),
        ("BEGIN { $a = 1\n $b = 2; }", "E0111"),
        ("BEGIN { if ($a = 1) { } }", "E0112"),
        ("BEGIN { for (i = 0; i < 3; i++) { } }", "E0113"),
        ("BEGIN { for ($i = 0; $i < 3; $i++) { } }", "E0113"),
        ("kprobe:f /pid == 1 { }", "E0114"),
        ("kprobe:f", "E0115"),
        ("BEGIN { $a = while; }", "E0116"),
        ("BEGIN { $a = if 1 { 2 }; }", "E0117"),
        ("fn f($a : int8) : int8 { }", "E0118"),
        ("BEGIN { import \"x\"; }", "E0119"),
        ("BEGIN { print(99999999999999999999999); }", "E0120"),
        ("BEGIN { $a = 1.5; }", "E0121"),
        ("BEGIN { $a = 1e-3; }", "E0122"),
        ("BEGIN { $a = 09; }", "E0123"),
        ("BEGIN { $a = \"\\q\"; }", "E0124"),
        ("BEGIN { $a = 'ab'; }", "E0125"),
        ("BEGIN { $a = $0; }", "E0126"),
        ("BEGIN { } config = { a = 1 }", "E0130"),
        ("config = { a = 1 } config = { b = 1 }", "E0131"),
        ("BEGIN { print(comm == \"a\" and pid) }", "E0110"),
        ("BEGIN { printf \"a\" }", "E0110"),
    ] {
        assert_eq!(codes(text), [expected], "{text}\n{}", parse(text).unwrap_or_default());
    }
}

#[test]
fn independent_mistakes_are_all_reported() {
    let text = "BEGIN { $a = ; $b = 1; $c = ]; }\nEND { $a = 1.5; }\nkprobe:f { print(1) print(2); if ($x = 1) { } }";
    let lines: Vec<&str> = codes(text);
    assert_eq!(lines, ["E0106", "E0121", "E0111", "E0112"], "{}", parse(text).unwrap_err());
    let text = "BEGIN { $a = ; $b = 1; $c = +; $d }\n";
    assert_eq!(codes(text), ["E0110", "E0110"], "{}", parse(text).unwrap_err());
}

/// Debug builds are slow; the point is that nothing is quadratic or worse.
fn bounded(what: &str, text: &str) -> Vec<&'static str> {
    let start = Instant::now();
    let result = codes(text);
    assert!(start.elapsed() < Duration::from_secs(120), "{what}: {:?}", start.elapsed());
    result
}

#[test]
fn deep_and_long_inputs_are_refused_or_parsed_in_bounded_time() {
    let deep = |open: &str, close: &str, n: usize| format!("BEGIN {{ $a = {}1{}; }}", open.repeat(n), close.repeat(n));
    for (open, close) in [
        ("(", ")"),
        ("{", "}"),
        ("@[", "]"),
        ("f(", ")"),
        ("(1,", ")"),
        ("(a=", ")"),
        ("-(", ")"),
        ("(uint8)(", ")"),
        ("sizeof(", ")"),
        ("typeof(", ")"),
        ("(typeof(", "))"),
        ("if (", ") {1} else {2}"),
        ("1?", ":2"),
        ("if 1 {", "} else {2}"),
        ("sizeof(x[(", ")])"),
        ("(typeof((", ")))1"),
    ] {
        bounded(open, &deep(open, close, 60));
        assert!(bounded(open, &deep(open, close, 100_000 / open.len())).contains(&"E0102"), "{open}");
        // Without the end, too: that is where backtracking hurts.
        bounded(open, &deep(open, "", 60));
    }
    assert_eq!(bounded("if", &format!("BEGIN {{ $a = {}1; }}", "if ".repeat(100_000))), ["E0102"]);
    assert_eq!(bounded("sum", &format!("BEGIN {{ $a = 1{}; }}", " + 1".repeat(9_999))), [""; 0]);
    assert_eq!(bounded("sum", &format!("BEGIN {{ $a = 1{}; }}", " + 1".repeat(13_000))), ["E0102"]);
    assert_eq!(bounded("prefix", &format!("BEGIN {{ $a = {}1; }}", "!".repeat(13_000))), ["E0102"]);
    assert_eq!(bounded("cast", &format!("BEGIN {{ $a = {}1; }}", "(int8)".repeat(13_000))), ["E0102"]);
    assert_eq!(bounded("postfix", &format!("BEGIN {{ $a = $b{}; }}", ".x".repeat(13_000))), ["E0102"]);
    assert_eq!(bounded("ternary", &format!("BEGIN {{ $a = {}1; }}", "1?2:".repeat(13_000))), ["E0102"]);
    assert_eq!(bounded("elvis", &format!("BEGIN {{ $a = {}1; }}", "1?:".repeat(2_000))), [""; 0]);
    let chain = |n: usize| format!("BEGIN {{ if 1 {{}} {} }}", "else if 1 {} ".repeat(n));
    assert_eq!(bounded("else if", &chain(3_000)), [""; 0]);
    assert_eq!(bounded("else if", &chain(7_000)), ["E0102"]);
    assert_eq!(bounded("large", &"x".repeat(10 << 20)), ["E0101"]);
}

#[test]
fn time_is_linear() {
    let line = "  @x[pid, comm] = sum((uint64)args->bytes * 2 + $y); printf(\"%d\\n\", nsecs - @start[tid]);\n";
    let time = |lines: usize| {
        let text = format!("kprobe:f /pid == 1/ {{\n{}}}\n", line.repeat(lines));
        let start = Instant::now();
        assert!(codes(&text).is_empty());
        start.elapsed()
    };
    // Sixteen times the text; quadratic would be 256 times the time. The
    // allowance between is for machines that do other things meanwhile.
    let short = (0..3).map(|_| time(40)).min().unwrap_or_default();
    let long = (0..3).map(|_| time(640)).min().unwrap_or_default();
    assert!(long < short * 100, "{short:?} {long:?}");
}

/// A small deterministic generator: the tests need no better one.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n.max(1) as u64) as usize
    }
}

#[test]
fn mutated_scripts_never_panic() {
    let seeds = [
        "config = { a = 1; }\nstruct s { int x; };\nkprobe:f /pid == 1/ { @[comm] = count(); if ($a) { print((1, \"x\")); } else { $b++ } }",
        "macro m(x, $y) { x + $y }\nuprobe:/bin/*:\"a b\" { for ($i : 0..3) { $t = (struct s *)arg0; printf(\"%d\\n\", $t->x ? 'c' : 0x1f); } }",
        "BEGIN { let $x : uint8[2] = { 1; 2 }; unroll(2) { @a[1, \"b\"] = (a=1, b=sizeof(struct s)); } /* c */ } // d\nEND { clear(@a); }",
    ];
    let tokens = [
        "{", "}", "(", ")", "[", "]", ";", "\"", "'", "/", "*", "/*", "//", "\\", "if", "else", "$", "@", "é", "\0",
        "typeof(", "?", ":", "#", "=", "0x", "1e-", "..", ".", "->",
    ];
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for round in 0..600 {
        let mut text: Vec<char> = seeds[round % seeds.len()].chars().collect();
        for _ in 0..1 + random.below(6) {
            let at = random.below(text.len());
            match random.below(4) {
                0 => drop(text.remove(at)),
                1 => text.truncate(at + 1),
                2 => drop(text.splice(at..at, tokens[random.below(tokens.len())].chars())),
                _ => {
                    let from = random.below(text.len());
                    let copy: Vec<char> = text[from..(from + 12).min(text.len())].to_vec();
                    drop(text.splice(at..at, copy));
                }
            }
            if text.is_empty() {
                text.push('{');
            }
        }
        let text: String = text.into_iter().collect();
        // Messages must render, too.
        let _ = parse(&text);
        let mut found = Diagnostics::default();
        let _ = parse_expression(&text, Span::default(), &options(), &mut found);
    }
    for _ in 0..150 {
        let bytes: Vec<u8> = (0..random.below(400)).map(|_| random.below(256) as u8).collect();
        let _ = parse(&String::from_utf8_lossy(&bytes));
    }
}

/// Preprocessor lines are another pass's; here they only have to go.
fn without_directives(text: &str) -> String {
    let mut continued = false;
    let lines = text.split('\n').map(|line| {
        let directive = continued || line.trim_start().starts_with('#') && !line.starts_with("#!");
        continued = directive && line.ends_with('\\');
        if directive { " ".repeat(line.len()) } else { line.to_string() }
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn feature_cases_parse() {
    let Ok(dir) = std::env::var("BTC_FEATURE_CASES") else {
        eprintln!("SKIPPED: BTC_FEATURE_CASES names no directory of scripts");
        return;
    };
    let mut files: Vec<_> = std::fs::read_dir(&dir).unwrap().map(|e| e.unwrap().path()).collect();
    files.retain(|p| p.extension().is_some_and(|e| e == "bt"));
    files.sort();
    let mut refused = Vec::new();
    for path in &files {
        let text = without_directives(&std::fs::read_to_string(path).unwrap());
        if let Err(messages) = parse(&text) {
            println!("{}:\n{messages}", path.display());
            refused.push(path.file_stem().unwrap().to_string_lossy().into_owned());
        }
    }
    println!("{} scripts, {} refused", files.len(), refused.len());
    let meant = ["cli-syntax-error", "lex-int-overflow", "lex-int-scientific+neg", "type-no-float"];
    refused.retain(|r| !meant.contains(&r.as_str()));
    assert!(refused.is_empty(), "{refused:?}");
}
