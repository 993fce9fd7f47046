//! The bundled reference: a stock kernel's types, tracepoints and constants.
//!
//! In: the packs of stdlib/reference/data, embedded in this executable.
//! Out: BTF blobs, tracepoint formats, system calls and constants.
//! Invariants: nothing is decompressed before it is asked for. The data is
//! Debian's kernel for amd64 as stdlib/reference/regenerate.py found it; what
//! differs on other kernels is relocated on the target.

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use anyhow::{Context, Result};
use memchr::memmem;

use super::pack::Pack;
use super::tracepoint::{self, TracepointFormat};

static BTF: &[u8] = include_bytes!("../../../stdlib/reference/data/btf.pack");
static NAMES: &[u8] = include_bytes!("../../../stdlib/reference/data/names.pack");
static TRACEPOINTS: &[u8] = include_bytes!("../../../stdlib/reference/data/tracepoints.pack");
static CONSTANTS: &[u8] = include_bytes!("../../../stdlib/reference/data/constants.pack");
/// Debian's packages that the reference was made of, with their versions.
static PACKAGES: &str = include_str!("../../../stdlib/reference/data/VERSION");

/// Entry of the tracepoints that lists system calls.
const SYSCALLS: &str = "/syscalls";
/// Entry of the constants that lists headers.
const HEADERS: &str = "/headers";

/// The reference kernel's version, such as `6.12.107`.
pub fn release() -> &'static str {
    let package = PACKAGES.trim_start_matches("linux-image-");
    package.split(|c: char| !c.is_ascii_digit() && c != '.').next().unwrap_or_default()
}

/// The BTF of the reference kernel.
pub struct ReferenceBtf {
    pack: Pack,
    names: Pack,
}

/// What a name can name, in the tables of modules' names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameClass {
    /// Struct, union, enum or typedef.
    Type,
    /// Function.
    Function,
    /// Value of an enum.
    Enumerator,
}

impl NameClass {
    fn prefix(self) -> char {
        match self {
            NameClass::Type => 't',
            NameClass::Function => 'f',
            NameClass::Enumerator => 'e',
        }
    }
}

impl ReferenceBtf {
    /// Opens it; reads the tables of contents only.
    pub fn open() -> Result<Self> {
        Ok(ReferenceBtf { pack: Pack::open(BTF)?, names: Pack::open(NAMES)? })
    }

    /// The BTF of the kernel itself (`vmlinux`) or of a module.
    pub fn read(&self, name: &str) -> Result<Vec<u8>> {
        let bytes = self.pack.read(name)?;
        bytes.with_context(|| format!("the reference has no BTF of {name}"))
    }

    /// Names of the modules, in the order that is cheapest to read.
    pub fn modules(&self) -> Vec<&str> {
        let mut names = self.pack.names();
        names.retain(|&name| name != "vmlinux");
        names
    }

    /// The first module that defines a name, found without reading modules.
    pub fn module_with(&self, class: NameClass, name: &str) -> Option<String> {
        let text = self.names_like(class, name);
        let line = lines_of(&text, name).next()?;
        line.split('\t').nth(1).map(str::to_owned)
    }

    /// Lines (name, tab, module) of modules' names with the same first letter.
    pub fn names_like(&self, class: NameClass, name: &str) -> String {
        let Some(first) = name.get(..1) else {
            return String::new();
        };
        let entry = format!("{}/{first}", class.prefix());
        let text = self.names.text(&entry);
        text.ok().flatten().unwrap_or_default()
    }
}

/// A macro of a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Constant {
    /// What it expands to.
    pub value: ConstantValue,
    /// Headers that define it so, as one includes them: `linux/fs.h`.
    pub headers: Vec<Rc<str>>,
}

/// The value of a macro.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConstantValue {
    /// An integer; `value` holds the bits of unsigned ones.
    Int {
        /// The value.
        value: i64,
        /// Whether the C type is unsigned.
        unsigned: bool,
    },
    /// A string.
    String(String),
}

/// A system call of the reference kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Syscall {
    /// Its name: `openat`.
    pub name: String,
    /// Its number on amd64.
    pub number: u32,
    /// X of its tracepoints `sys_enter_X` and `sys_exit_X`, if it has them; not
    /// always the name (`newstat` for `stat`).
    pub event: Option<String>,
    /// Parameters as (C type, name); empty if it has no tracepoints.
    pub params: Vec<(String, String)>,
}

/// Tracepoints, system calls and constants, each read when first asked for.
pub struct Reference {
    tracepoints: Pack,
    constants: Pack,
    /// Texts of categories read so far.
    categories: RefCell<BTreeMap<String, Rc<str>>>,
    /// Constants by first letter, as far as read: where headers are included,
    /// every word of a script is looked up.
    letters: RefCell<BTreeMap<String, Rc<str>>>,
    headers: OnceCell<Vec<Rc<str>>>,
}

impl Reference {
    /// Opens the reference; reads its tables of contents only.
    pub fn load() -> Result<Self> {
        Ok(Reference {
            tracepoints: Pack::open(TRACEPOINTS)?,
            constants: Pack::open(CONSTANTS)?,
            categories: RefCell::default(),
            letters: RefCell::default(),
            headers: OnceCell::new(),
        })
    }

    /// Categories of tracepoints, sorted.
    pub fn categories(&self) -> Vec<&str> {
        let mut names = self.tracepoints.names();
        names.retain(|&name| name != SYSCALLS);
        names.sort_unstable();
        names
    }

    fn category(&self, category: &str) -> Option<Rc<str>> {
        if category == SYSCALLS {
            return None;
        }
        if let Some(text) = self.categories.borrow().get(category) {
            return Some(text.clone());
        }
        let text: Rc<str> = self.tracepoints.text(category).ok()??.into();
        let mut known = self.categories.borrow_mut();
        known.insert(category.to_owned(), text.clone());
        Some(text)
    }

    /// Names of a category's tracepoints, sorted.
    pub fn events(&self, category: &str) -> Vec<String> {
        let text = self.category(category);
        let events = text.iter().flat_map(|text| events(text));
        events.map(|(name, _, _)| name.to_owned()).collect()
    }

    /// The format of a tracepoint.
    pub fn tracepoint(&self, category: &str, name: &str) -> Option<TracepointFormat> {
        let text = self.category(category)?;
        let (name, class, fields) = events(&text).find(|event| event.0 == name)?;
        Some(tracepoint::parse(category, name, class, fields))
    }

    /// All tracepoints (category, name) that satisfy a condition, sorted.
    pub fn tracepoints(&self, wanted: impl Fn(&str, &str) -> bool) -> Vec<(String, String)> {
        let mut found = Vec::new();
        for category in self.categories() {
            let events = self.events(category).into_iter();
            let wanted = events.filter(|name| wanted(category, name));
            found.extend(wanted.map(|name| (category.to_owned(), name)));
        }
        found
    }

    /// All system calls, in the order of their numbers.
    pub fn syscalls(&self) -> Vec<Syscall> {
        let text = self.tracepoints.text(SYSCALLS).ok().flatten();
        let text = text.unwrap_or_default();
        text.lines().filter_map(parse_syscall).collect()
    }

    /// All constants with the same first letter as `name`.
    fn letter(&self, name: &str) -> Rc<str> {
        let Some(first) = name.get(..1) else {
            return Rc::from("");
        };
        if let Some(text) = self.letters.borrow().get(first) {
            return text.clone();
        }
        let text = self.constants.text(first).ok().flatten();
        let text: Rc<str> = text.unwrap_or_default().into();
        let mut known = self.letters.borrow_mut();
        known.insert(first.to_owned(), text.clone());
        text
    }

    /// The values that headers give a name, the kernel's own first; almost
    /// always there is one.
    pub fn constants(&self, name: &str) -> Vec<Constant> {
        let text = self.letter(name);
        let lines = lines_of(&text, name);
        lines.filter_map(|line| self.parse_constant(line)).collect()
    }

    /// The kernel's value of a macro, or what other headers have.
    pub fn constant(&self, name: &str) -> Option<Constant> {
        self.constants(name).into_iter().next()
    }

    /// The value that a macro has in one of these headers, else the first one.
    pub fn constant_in(&self, name: &str, headers: &[&str]) -> Option<Constant> {
        let all = self.constants(name);
        let included = |c: &&Constant| c.headers.iter().any(|h| headers.contains(&&**h));
        all.iter().find(included).or(all.first()).cloned()
    }

    /// The macro whose name is nearest to a misspelt one.
    pub fn similar_constant(&self, name: &str) -> Option<String> {
        let text = self.letter(name);
        let names = text.lines().filter_map(|line| line.split('\t').next());
        crate::ctypes::nearest(name, names).map(str::to_owned)
    }

    /// Every header that the reference stands in for, sorted.
    pub fn headers(&self) -> &[Rc<str>] {
        self.headers.get_or_init(|| {
            let text = self.constants.text(HEADERS).ok().flatten();
            text.unwrap_or_default().lines().map(Rc::from).collect()
        })
    }

    /// Whether `#include <NAME>` means a header whose types and macros are known here.
    pub fn has_header(&self, name: &str) -> bool {
        self.headers().binary_search_by(|h| (**h).cmp(name)).is_ok()
    }

    fn parse_constant(&self, line: &str) -> Option<Constant> {
        let mut columns = line.splitn(3, '\t').skip(1);
        let value = columns.next()?;
        // A string may hold tabs only escaped, so the last column is the headers'.
        let numbers = columns.next()?.split(',');
        let header = |n: &str| self.headers().get(n.parse::<usize>().ok()?).cloned();
        Some(Constant { value: parse_value(value)?, headers: numbers.filter_map(header).collect() })
    }
}

/// Events of a category's text: name, class, lines of fields.
fn events(text: &str) -> impl Iterator<Item = (&str, Option<&str>, &str)> {
    const START: &str = "event ";
    let mut rest = text.strip_prefix(START);
    std::iter::from_fn(move || {
        let current = rest?;
        let (event, next) = match current.find("\nevent ") {
            Some(end) => (&current[..end], current.get(end + 1 + START.len()..)),
            None => (current, None),
        };
        rest = next;
        let (header, fields) = event.split_once('\n').unwrap_or((event, ""));
        let (name, class) = header.split_once(' ')?;
        Some((name, (class != "-").then_some(class), fields))
    })
}

/// Lines of a sorted table that begin with `name` and a tab.
fn lines_of<'a>(text: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let key = format!("\n{name}\t");
    let start = if text.starts_with(&key[1..]) {
        Some(0)
    } else {
        memmem::find(text.as_bytes(), key.as_bytes()).map(|at| at + 1)
    };
    let lines = text[start.unwrap_or(text.len())..].lines();
    lines.take_while(move |line| line.starts_with(&key[1..]))
}

fn parse_syscall(line: &str) -> Option<Syscall> {
    let mut columns = line.split('\t');
    let name = columns.next()?.to_owned();
    let number = columns.next()?.parse().ok()?;
    let event = columns.next().filter(|&event| event != "-");
    let params = columns.map(|param| {
        let end = param.trim_end_matches(|c: char| c.is_ascii_alphanumeric() || c == '_');
        let (ty, name) = param.split_at(end.len());
        (ty.trim_end().to_owned(), name.to_owned())
    });
    Some(Syscall { name, number, event: event.map(str::to_owned), params: params.collect() })
}

fn parse_value(text: &str) -> Option<ConstantValue> {
    if text.starts_with('"') {
        return Some(ConstantValue::String(unescape(text)));
    }
    let (value, unsigned) = match text.strip_suffix('u') {
        Some(digits) => (digits.parse::<u64>().ok()? as i64, true),
        None => (text.parse().ok()?, false),
    };
    Some(ConstantValue::Int { value, unsigned })
}

/// The contents of adjacent C string literals. Octal and hexadecimal escapes do
/// not occur in headers that scripts include; they are kept as written.
fn unescape(literals: &str) -> String {
    let mut text = String::new();
    let mut inside = false;
    let mut chars = literals.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => inside = !inside,
            '\\' if inside => match chars.next() {
                Some('n') => text.push('\n'),
                Some('t') => text.push('\t'),
                Some('r') => text.push('\r'),
                Some(c @ ('\\' | '"' | '\'')) => text.push(c),
                Some(c) => text.extend(['\\', c]),
                None => {}
            },
            c if inside => text.push(c),
            _ => {}
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn int(reference: &Reference, name: &str) -> Option<i64> {
        match reference.constant(name)?.value {
            ConstantValue::Int { value, .. } => Some(value),
            ConstantValue::String(_) => None,
        }
    }

    #[test]
    fn constants_that_scripts_use_are_there() {
        let reference = Reference::load().expect("the reference");
        for (name, value) in [
            ("AF_INET", 2),
            ("AF_INET6", 10),
            ("SOCK_STREAM", 1),
            ("IPPROTO_TCP", 6),
            ("O_CREAT", 0o100),
            ("S_IFMT", 0o170000),
            ("DT_DIR", 4),
            ("EPERM", 1),
            ("ENOENT", 2),
            ("SIGKILL", 9),
            ("ETH_P_IP", 0x800),
            ("CLOCK_MONOTONIC", 1),
            ("PROT_EXEC", 4),
            ("MAP_SHARED", 1),
            ("CLONE_VM", 0x100),
            ("PF_KTHREAD", 0x20_0000),
            ("TASK_UNINTERRUPTIBLE", 2),
            ("PAGE_SHIFT", 12),
            ("MINORBITS", 20),
            ("FMODE_WRITE", 2),
            ("I_DIRTY_SYNC", 8),
            ("FS_IOC_GETFLAGS", 0x8008_6601),
            ("NSEC_PER_SEC", 1_000_000_000),
        ] {
            assert_eq!(int(&reference, name), Some(value), "{name}");
        }
        assert_eq!(reference.constant("O_CREATE"), None);
        assert_eq!(reference.similar_constant("O_CREATE").as_deref(), Some("O_CREAT"));
        assert!(reference.constant("").is_none());
        assert!(reference.constant("é").is_none());
        assert!(reference.constant("/headers").is_none());
        assert!(reference.has_header("linux/fs.h"));
        assert!(reference.has_header("net/sock.h"));
        assert!(!reference.has_header("linux/fsx.h"));
    }

    #[test]
    fn a_macro_may_differ_between_headers() {
        let reference = Reference::load().expect("the reference");
        let all = reference.constants("O_LARGEFILE");
        assert_eq!(all.len(), 2, "{all:?}");
        let libc = reference.constant_in("O_LARGEFILE", &["fcntl.h"]);
        let zero = ConstantValue::Int { value: 0, unsigned: false };
        assert_eq!(libc.map(|c| c.value), Some(zero));
    }

    #[test]
    fn tracepoints_have_formats() {
        let reference = Reference::load().expect("the reference");
        let open = reference.tracepoint("syscalls", "sys_enter_openat").expect("openat");
        let filename = open.field("filename").expect("filename");
        assert_eq!((filename.offset, filename.ty.as_str()), (24, "const char *"));
        assert_eq!(open.record_struct(), None);
        let switch = reference.tracepoint("sched", "sched_switch").expect("sched_switch");
        assert_eq!(switch.record_struct().as_deref(), Some("trace_event_raw_sched_switch"));
        assert_eq!(switch.field("next_comm").and_then(|f| f.array), Some(16));
        let waking = reference.tracepoint("sched", "sched_waking").expect("sched_waking");
        assert_eq!(waking.class.as_deref(), Some("sched_wakeup_template"));
        assert!(reference.tracepoint("xfs", "xfs_file_direct_write").is_some());
        assert!(reference.tracepoint("sched", "sched_swich").is_none());
        assert!(reference.tracepoint("/syscalls", "x").is_none());
        let opens = reference.tracepoints(|c, n| c == "syscalls" && n.contains("enter_open"));
        assert!(opens.len() >= 4, "{opens:?}");
    }

    #[test]
    fn system_calls_have_parameters() {
        let reference = Reference::load().expect("the reference");
        let syscalls = reference.syscalls();
        let find = |name| syscalls.iter().find(|s| s.name == name).expect("a system call");
        let openat = find("openat");
        assert_eq!(openat.number, 257);
        assert_eq!(openat.params[1], ("const char *".into(), "filename".into()));
        assert_eq!(find("stat").event.as_deref(), Some("newstat"));
        assert!(syscalls.is_sorted_by_key(|s| s.number));
    }

    #[test]
    fn kernel_types_are_there() {
        let sources = crate::btf::BtfSources::reference().expect("the reference");
        let store = crate::ctypes::TypeStore::new(sources);
        let task = store.find_struct("task_struct").expect("task_struct");
        let comm = store.field(task, "comm").expect("comm");
        assert_eq!(store.name_of(comm.ty), "char[16]");
        for name in ["xfs_inode", "btrfs_inode", "nf_conn", "kvm_vcpu", "rpc_task", "ovl_inode"] {
            assert!(store.find_struct(name).is_some(), "{name}");
        }
        let read = store.find_func("vfs_read", None).expect("vfs_read");
        let signature = store.signature(read.ty).expect("a signature");
        assert_eq!(signature.params[0].0.as_deref(), Some("file"));
        assert_eq!(store.find_enumerator("TCP_ESTABLISHED").map(|e| e.1), Some(1));
        assert!(store.decoded() < 200, "{}", store.decoded());
    }
}
