//! The layout of structs, checked against a C compiler: those of all headers of
//! the kernel and of libc, and generated ones.
//!
//! Without gcc or without the headers these tests say so and do nothing.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use super::*;
use crate::ctypes::{CTypeId, Composite};

/// Folders whose headers are compared, where they exist.
const FOLDERS: &[&str] = &[
    "/usr/include/linux",
    "/usr/include/linux/netfilter",
    "/usr/include/linux/tc_act",
    "/usr/include/linux/can",
    "/usr/include/linux/usb",
    "/usr/include/asm-generic",
    "/usr/include/x86_64-linux-gnu/asm",
    "/usr/include/x86_64-linux-gnu/sys",
    "/usr/include/netinet",
    "/usr/include/net",
    "/usr/include/arpa",
    "/usr/include/rpc",
    "/usr/include/scsi",
    "/usr/include/mtd",
    "/usr/include/sound",
    "/usr/include/drm",
    "/usr/include/rdma",
    "/usr/include/linux/android",
    "/usr/include/linux/byteorder",
    "/usr/include/linux/caif",
    "/usr/include/linux/cifs",
    "/usr/include/linux/dvb",
    "/usr/include/linux/genwqe",
    "/usr/include/linux/hdlc",
    "/usr/include/linux/hsi",
    "/usr/include/linux/iio",
    "/usr/include/linux/isdn",
    "/usr/include/linux/misc",
    "/usr/include/linux/mmc",
    "/usr/include/linux/netfilter_arp",
    "/usr/include/linux/netfilter_bridge",
    "/usr/include/linux/netfilter_ipv4",
    "/usr/include/linux/netfilter_ipv6",
    "/usr/include/linux/nfsd",
    "/usr/include/linux/raid",
    "/usr/include/linux/sched",
    "/usr/include/linux/spi",
    "/usr/include/linux/sunrpc",
    "/usr/include/linux/surface_aggregator",
    "/usr/include/linux/tc_ematch",
    "/usr/include/rdma/hfi",
    "/usr/include/misc",
    "/usr/include/misc/uacce",
    "/usr/include/protocols",
    "/usr/include/video",
    "/usr/include/xen",
    "/usr/include/netash",
    "/usr/include/netatalk",
    "/usr/include/netax25",
    "/usr/include/neteconet",
    "/usr/include/netipx",
    "/usr/include/netiucv",
    "/usr/include/netpacket",
    "/usr/include/netrom",
    "/usr/include/netrose",
    "/usr/include/nfs",
    "/usr/include",
];

fn have_gcc() -> bool {
    let found =
        cfg!(target_arch = "x86_64") && Command::new("gcc").arg("--version").output().is_ok_and(|o| o.status.success());
    if !found {
        eprintln!("SKIPPED: no gcc for x86-64 to compare with");
    }
    found
}

/// Directories where gcc looks for headers.
fn system_dirs() -> Vec<PathBuf> {
    let own = Command::new("gcc").arg("-print-file-name=include").output().expect("gcc runs");
    let own = String::from_utf8_lossy(&own.stdout).trim().to_string();
    vec![own.into(), "/usr/local/include".into(), "/usr/include/x86_64-linux-gnu".into(), "/usr/include".into()]
}

fn front<'t>(store: &'t TypeStore, system_dirs: &[PathBuf]) -> CFrontEnd<'t> {
    let options = Options {
        include_dirs: Vec::new(),
        system_dirs: system_dirs.to_vec(),
        defines: Vec::new(),
        target: Target::X86_64,
        read: Rc::new(|path: &Path| fs::read(path)),
        oracle: Rc::new(()),
    };
    CFrontEnd::new(store, options)
}

/// Writes assertions about everything a front end learned.
struct Claims<'a, 't> {
    front: &'a CFrontEnd<'t>,
    text: String,
    count: usize,
}

impl Claims<'_, '_> {
    /// Whether the C compiler would read the name as a macro.
    fn is_macro(&self, name: &str) -> bool {
        let interner = &self.front.expander.interner;
        interner.find(name).is_some_and(|sym| self.front.expander.macros.contains_key(&sym))
    }

    fn claim(&mut self, condition: &str) {
        let _ = writeln!(self.text, "_Static_assert({condition}, \"\");");
        self.count += 1;
    }

    fn everything(&mut self) {
        let store = self.front.store;
        let names: BTreeMap<_, _> = self.front.knowledge.defined_at.iter().collect();
        for (name, _) in names {
            if self.is_macro(name) {
                continue;
            }
            let tagged = [
                ("struct", store.find_struct(name)),
                ("union", store.find_union(name)),
                ("enum", store.find_enum(name)),
            ];
            for (word, id) in tagged {
                if let Some(id) = id {
                    self.one(&format!("{word} {name}"), id);
                }
            }
            if let Some(id) = store.find_typedef(name) {
                self.one(name, id);
            }
        }
        let enumerators: BTreeMap<_, _> = self.front.knowledge.enumerators.iter().collect();
        for (name, value) in enumerators {
            if !self.is_macro(name) {
                self.claim(&format!("{name} == {value}"));
            }
        }
    }

    fn one(&mut self, name: &str, id: CTypeId) {
        let store = self.front.store;
        let Some(size) = store.size_of(id) else { return };
        // The alignment of enums and typedefs of arrays shows in structs only.
        self.claim(&format!("sizeof({name}) == {size}"));
        self.claim(&format!("_Alignof({name}) == {}", self.align(id)));
        if let CKind::Composite(composite) = &store.resolved(id).kind {
            self.fields(name, "", composite, 0, 0);
        }
    }

    fn align(&self, id: CTypeId) -> u32 {
        let mut id = id;
        loop {
            if let Some(&known) = self.front.knowledge.aligns.get(&id) {
                return known;
            }
            id = match &self.front.store.get(id).kind {
                CKind::Typedef { target, .. } => *target,
                CKind::Array { elem, .. } => *elem,
                _ => return self.front.store.align_of(id),
            };
        }
    }

    fn fields(&mut self, name: &str, prefix: &str, composite: &Composite, base: u32, depth: usize) {
        let store = self.front.store;
        for member in &composite.members {
            let offset = base + member.bit_offset;
            let nested = store.resolved(member.ty);
            let inner = match &nested.kind {
                CKind::Composite(inner) if inner.name.is_none() && depth < 5 => Some(inner),
                _ => None,
            };
            let Some(field) = &member.name else {
                if let Some(inner) = inner {
                    self.fields(name, prefix, inner, offset, depth + 1);
                }
                continue;
            };
            if member.bit_width.is_some() || self.is_macro(field) {
                continue;
            }
            self.claim(&format!("__builtin_offsetof({name}, {prefix}{field}) == {}", offset / 8));
            if let Some(inner) = inner {
                self.fields(name, &format!("{prefix}{field}."), inner, offset, depth + 1);
            }
        }
    }
}

/// The files of the folders, sorted.
fn headers() -> Vec<PathBuf> {
    let mut out = Vec::new();
    for folder in FOLDERS {
        let Ok(entries) = fs::read_dir(folder) else {
            eprintln!("SKIPPED: there is no {folder}");
            continue;
        };
        let mut files: Vec<PathBuf> = entries.flatten().map(|e| e.path()).collect();
        files.retain(|p| p.extension().is_some_and(|e| e == "h"));
        files.sort();
        out.extend(files);
    }
    out
}

/// Runs the compiler over a text; its complaints, if it has any.
fn complaints(text: &str, path: &Path) -> Option<String> {
    fs::write(path, text).expect("a temporary file can be written");
    let mut gcc = Command::new("gcc");
    let output = gcc.args(["-fsyntax-only", "-w", "-std=gnu17"]).arg(path).output().expect("gcc runs");
    (!output.status.success()).then(|| String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Compares what a header defines; the number of claims, or what is wrong.
fn compare(header: &Path, dirs: &[PathBuf], scratch: &Path) -> Result<usize, String> {
    let store = TypeStore::new(BtfSources::none());
    let mut sources = SourceMap::default();
    let mut front = front(&store, dirs);
    let include = format!("#include \"{}\"\n", header.display());
    let file = sources.add("test.c", None, include.clone());
    front.header(&mut sources, file);
    let problems: Vec<Diagnostic> = front.take_diagnostics().into_iter().filter(Diagnostic::is_error).collect();
    let mut claims = Claims { front: &front, text: include.clone(), count: 0 };
    claims.everything();
    if problems.is_empty() && claims.count == 0 {
        return Ok(0); // only macros
    }
    let verdict = complaints(&claims.text, scratch);
    if problems.is_empty() && verdict.is_none() {
        return Ok(claims.count);
    }
    if complaints(&include, scratch).is_some() {
        return Ok(0); // gcc does not accept the header alone either
    }
    let mut text = verdict.unwrap_or_default();
    for problem in problems.iter().take(3) {
        let at = problem.primary.as_ref().map(|l| sources.file(l.span.file).position(l.span.start));
        let name = problem.primary.as_ref().map(|l| sources.file(l.span.file).name.clone());
        let _ =
            writeln!(text, "{}: {:?} {:?} {:?}", problem.message, name, at, problem.primary.as_ref().map(|l| &l.text));
    }
    Err(text)
}

#[test]
fn headers_of_kernel_and_libc_agree_with_gcc() {
    if !have_gcc() {
        return;
    }
    let all = std::env::var_os("BTC_ALL_HEADERS").is_some();
    let dirs = system_dirs();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let scratch = folder.path().join("claims.c");
    let (mut files, mut claims, mut wrong) = (0, 0, Vec::new());
    for (i, header) in headers().iter().enumerate() {
        // Every header takes gcc 50 ms: without the variable, a sample.
        if !all && i % 12 != 0 {
            continue;
        }
        files += 1;
        match compare(header, &dirs, &scratch) {
            Ok(n) => claims += n,
            Err(text) => wrong.push(format!("{}:\n{}", header.display(), text.chars().take(1500).collect::<String>())),
        }
    }
    eprintln!("{files} headers, {claims} claims");
    assert!(wrong.is_empty(), "{} headers differ:\n{}", wrong.len(), wrong.join("\n"));
}

/// A small generator of numbers (xorshift), the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }

    fn pick<'a>(&mut self, rows: &[&'a str]) -> &'a str {
        rows[self.below(rows.len() as u64) as usize]
    }
}

/// A struct or union with members of all kinds; the names of those whose bits
/// can be set by assigning -1.
fn generated(random: &mut Random, number: usize) -> (String, Vec<String>) {
    let integers = [
        ("char", 8),
        ("unsigned char", 8),
        ("short", 16),
        ("int", 32),
        ("unsigned", 32),
        ("long", 64),
        ("unsigned long long", 64),
        ("_Bool", 1),
        ("low_t", 64),
        ("high_t", 16),
        ("enum small", 8),
    ];
    let attributes = [
        "",
        "",
        "",
        "",
        "__attribute__((packed))",
        "__attribute__((aligned(8)))",
        "__attribute__((aligned(2)))",
        "__attribute__((packed, aligned(4)))",
    ];
    let (mut body, mut names) = (String::new(), Vec::new());
    for i in 0..1 + random.below(7) {
        let (ty, bits) = integers[random.below(integers.len() as u64) as usize];
        let attribute = random.pick(&attributes);
        let unnamed = random.below(6) == 0;
        let name = format!("f{i}");
        let _ = match random.below(8) {
            0..=3 if unnamed => write!(body, "{ty} : {}; ", random.below(bits + 1)),
            0..=3 => {
                names.push(name.clone());
                write!(body, "{ty} {name} : {} {attribute}; ", 1 + random.below(bits))
            }
            4 | 5 => {
                names.push(name.clone());
                write!(body, "{ty} {name} {attribute}; ")
            }
            6 => write!(
                body,
                "struct {{ {ty} a{i}; char b{i} : 3; }} {attribute} {}; ",
                if unnamed { "" } else { &name }
            ),
            _ => write!(body, "{} {name}[{}] {attribute}; ", if ty == "high_t" { "int" } else { ty }, random.below(4)),
        };
    }
    let word = random.pick(&["struct", "struct", "struct", "union"]);
    let (before, after) = match random.below(4) {
        0 => ("", random.pick(&attributes)),
        1 => (random.pick(&attributes), ""),
        _ => ("", ""),
    };
    let pack = random.pick(&["", "", "", "1", "2", "4", "8"]);
    let text = format!("#pragma pack({pack})\n{word} {before} s{number} {{ {body}}} {after};\n#pragma pack()\n");
    (text, names.into_iter().map(|n| format!("{word} s{number}.{n}")).collect())
}

#[test]
fn generated_structs_agree_with_gcc() {
    if !have_gcc() {
        return;
    }
    let mut random = Random(0x0bad_cafe_dead_beef);
    let mut text = String::from(
        "typedef long low_t __attribute__((aligned(2)));\ntypedef short high_t __attribute__((aligned(8)));\n\
         enum __attribute__((packed)) small { SMALL = 200 };\n",
    );
    let mut main = String::new();
    let mut wanted = Vec::new();
    for number in 0..400 {
        let (definition, names) = generated(&mut random, number);
        text += &definition;
        for name in names {
            let (ty, field) = name.split_once('.').expect("a field");
            let _ = writeln!(main, "{{ {ty} v; memset(&v, 0, sizeof v); v.{field} = -1; bits(&v, sizeof v); }}");
            wanted.push(name);
        }
    }
    let program = format!(
        "#include <stdio.h>\n#include <string.h>\n{text}\
         static void bits(void *p, unsigned long n) {{ unsigned char *b = p; long first = -1;\n\
         for (unsigned long i = 0; i < n * 8; i++) if (b[i / 8] >> i % 8 & 1 && first < 0) first = i;\n\
         printf(\"%ld %lu\\n\", first, n); }}\nint main(void) {{\n{main}return 0; }}\n"
    );
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (source, binary) = (folder.path().join("p.c"), folder.path().join("p"));
    fs::write(&source, program).expect("a temporary file can be written");
    let compiled = Command::new("gcc").args(["-w", "-O0", "-o"]).arg(&binary).arg(&source).output().expect("gcc runs");
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    let output = Command::new(&binary).output().expect("the program runs");
    let output = String::from_utf8_lossy(&output.stdout).into_owned();
    let done = run_with("#include \"inc.h\"", &[("inc/inc.h", &text)]);
    assert_eq!(done.problems, []);
    assert_eq!(output.lines().count(), wanted.len());
    for (name, line) in wanted.iter().zip(output.lines()) {
        let (tag, field) = name.split_once('.').expect("a field");
        let tag = tag.split_once(' ').expect("a tag").1;
        let ours = format!("{} {}", done.field(tag, field).expect("a field").0, done.size(tag).expect("a size"));
        let at = text.find(&format!(" {tag} {{")).unwrap_or(0);
        let definition: String = text[..at].lines().next_back().into_iter().chain(text[at..].lines().take(1)).collect();
        let pack = text[..at].lines().nth_back(1).unwrap_or("");
        assert_eq!(ours, line, "{name} of\n{pack}\n{definition}");
    }
}

/// All types of the running kernel in one header, as `bpftool` writes it.
#[test]
fn vmlinux_h_agrees_with_gcc() {
    let btf = Path::new("/sys/kernel/btf/vmlinux");
    if std::env::var_os("BTC_ALL_HEADERS").is_none() || !btf.exists() || !have_gcc() {
        eprintln!("SKIPPED: BTC_ALL_HEADERS is not set, or there is no BTF or gcc");
        return;
    }
    let dump = Command::new("bpftool").args(["btf", "dump", "file"]).arg(btf).args(["format", "c"]).output();
    let Some(dump) = dump.ok().filter(|d| d.status.success()) else {
        eprintln!("SKIPPED: no bpftool to write vmlinux.h");
        return;
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let header = folder.path().join("vmlinux.h");
    fs::write(&header, dump.stdout).expect("a temporary file can be written");
    let claims = compare(&header, &[], &folder.path().join("claims.c"));
    eprintln!("{claims:?} claims");
    assert!(claims.is_ok_and(|n| n > 50_000));
}
