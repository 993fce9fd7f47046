//! Where BTF comes from: files, the running kernel, the bundled reference.
//!
//! In: `--btf FILE` options (raw BTF or an ELF file with a `.BTF` section), or
//! `/sys/kernel/btf`. Out: kernels, each a base (vmlinux) and its modules.
//! Invariants: a blob is read and indexed when it is first asked for; a kernel
//! that cannot be read is an error at once, a module that cannot is skipped,
//! because looking a name up must not fail for a module nobody asked for.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use anyhow::{Context, Result, bail};
use object::{Object, ObjectSection};

use super::raw::{self, Btf};
use super::reference::{NameClass, ReferenceBtf};

/// The directory in which a running kernel shows its BTF.
const RUNNING: &str = "/sys/kernel/btf";

/// A blob that is read when needed.
struct Blob {
    /// Module name; `vmlinux` for a base.
    name: Rc<str>,
    from: Origin,
    loaded: OnceCell<Option<Rc<Btf>>>,
}

/// Where a blob's bytes are.
enum Origin {
    /// A file, read when asked for.
    File(PathBuf),
    /// Bytes already read.
    Bytes(Vec<u8>),
    /// A part of the bundled reference.
    Reference(Rc<ReferenceBtf>),
}

impl Blob {
    fn new(name: &str, from: Origin) -> Self {
        Blob { name: name.into(), from, loaded: OnceCell::new() }
    }

    fn bytes(&self) -> Result<Vec<u8>> {
        match &self.from {
            Origin::File(path) => read_file(path),
            Origin::Bytes(bytes) => Ok(bytes.clone()),
            Origin::Reference(reference) => reference.read(&self.name),
        }
    }
}

/// A kernel: its own BTF and its modules'.
struct Kernel {
    base: Rc<Btf>,
    modules: Vec<Blob>,
    /// Tells which module has a name, where that is known without reading them.
    index: Option<Rc<ReferenceBtf>>,
}

/// The kernels whose types a compilation can name, in order of precedence.
#[derive(Default)]
pub struct BtfSources {
    kernels: Vec<Kernel>,
    suggestions: RefCell<Suggestions>,
}

/// What [`BtfSources::similar`] found, by kinds and name. Tens of thousands of names are
/// compared, and each round of inference asks again.
type Suggestions = HashMap<(u32, String), Option<String>>;

thread_local! {
    /// The bundled reference, once it was read: most of the work for a small script.
    static REFERENCE: OnceCell<(Rc<ReferenceBtf>, Rc<Btf>)> = const { OnceCell::new() };
}

/// A blob of one of the sources.
#[derive(Clone)]
pub struct Found {
    /// `None` for the kernel itself, else the module's name.
    pub module: Option<Rc<str>>,
    /// The blob.
    pub btf: Rc<Btf>,
}

impl BtfSources {
    /// No kernel types at all.
    pub fn none() -> Self {
        BtfSources::default()
    }

    /// The bundled reference kernel.
    pub fn reference() -> Result<Self> {
        let (reference, base) = match REFERENCE.with(|known| known.get().cloned()) {
            Some(known) => known,
            None => {
                let reference = Rc::new(ReferenceBtf::open()?);
                let base = Rc::new(Btf::new(reference.read("vmlinux")?, None)?);
                REFERENCE.with(|known| known.get_or_init(|| (reference, base)).clone())
            }
        };
        let modules =
            reference.modules().into_iter().map(|name| Blob::new(name, Origin::Reference(reference.clone()))).collect();
        Ok(BtfSources { kernels: vec![Kernel { base, modules, index: Some(reference) }], ..BtfSources::default() })
    }

    /// The bundled reference's release, if it is among these kernels.
    pub fn reference_release(&self) -> Option<&'static str> {
        self.kernels.iter().any(|k| k.index.is_some()).then(super::reference::release)
    }

    /// The kernel this process runs on.
    pub fn running() -> Result<Self> {
        let path = Path::new(RUNNING).join("vmlinux");
        let base = Rc::new(Btf::new(read_file(&path)?, None)?);
        let mut modules = Vec::new();
        for entry in std::fs::read_dir(RUNNING).with_context(|| format!("cannot read {RUNNING}"))? {
            let entry = entry.with_context(|| format!("cannot read {RUNNING}"))?;
            let name = entry.file_name();
            match name.to_str() {
                Some(name) if name != "vmlinux" => {
                    modules.push(Blob::new(name, Origin::File(entry.path())));
                }
                _ => {}
            }
        }
        modules.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(BtfSources { kernels: vec![Kernel { base, modules, index: None }], ..BtfSources::default() })
    }

    /// The files of `--btf`, in the order given: each is a kernel, or, if it is
    /// split BTF, a module of the kernel given before it.
    pub fn files<P: AsRef<Path>>(paths: &[P]) -> Result<Self> {
        let mut sources = BtfSources::none();
        for path in paths {
            let path = path.as_ref();
            sources.add_file(path).with_context(|| format!("cannot use {} as BTF", path.display()))?;
        }
        Ok(sources)
    }

    fn add_file(&mut self, path: &Path) -> Result<()> {
        let bytes = read_file(path)?;
        if raw::is_split(&bytes)? {
            let Some(kernel) = self.kernels.last_mut() else {
                bail!("it is a module's BTF; give the BTF of its kernel (vmlinux) first");
            };
            Btf::new(bytes.clone(), Some(kernel.base.clone()))?;
            let stem = path.file_name().and_then(|n| n.to_str()).unwrap_or("");
            let name = stem.split('.').next().unwrap_or("").replace('-', "_");
            kernel.modules.push(Blob::new(&name, Origin::Bytes(bytes)));
        } else {
            self.kernels.push(Kernel { base: Rc::new(Btf::new(bytes, None)?), modules: Vec::new(), index: None });
        }
        Ok(())
    }

    /// A kernel from bytes, for tests.
    pub fn from_bytes(base: Vec<u8>, modules: Vec<(&str, Vec<u8>)>) -> Result<Self> {
        Ok(BtfSources {
            kernels: vec![Kernel {
                base: Rc::new(Btf::new(base, None)?),
                modules: modules.into_iter().map(|(name, bytes)| Blob::new(name, Origin::Bytes(bytes))).collect(),
                index: None,
            }],
            ..BtfSources::default()
        })
    }

    /// Whether there is any kernel to ask.
    pub fn is_empty(&self) -> bool {
        self.kernels.is_empty()
    }

    /// The kernels themselves, without modules.
    pub fn bases(&self) -> impl Iterator<Item = Found> + '_ {
        self.kernels.iter().map(|k| Found { module: None, btf: k.base.clone() })
    }

    /// All modules, read one by one as the iterator advances.
    pub fn modules(&self) -> impl Iterator<Item = Found> + '_ {
        self.kernels.iter().flat_map(|k| k.modules.iter().filter_map(|blob| load(k, blob)))
    }

    /// All blobs that can define a name: the kernels themselves, then modules,
    /// read one by one as the iterator advances.
    pub fn candidates<'a>(&'a self, class: NameClass, name: &'a str) -> impl Iterator<Item = Found> + 'a {
        let modules = self.kernels.iter().flat_map(move |k| {
            let owner = k.index.as_ref().map(|i| i.module_with(class, name));
            let is_candidate = move |blob: &&Blob| match &owner {
                None => true,
                Some(owner) => owner.as_deref() == Some(&blob.name),
            };
            let candidates = k.modules.iter().filter(is_candidate);
            candidates.filter_map(|blob| load(k, blob))
        });
        self.bases().chain(modules)
    }

    /// Names that begin like this one, of everything that is cheap to list: to
    /// suggest what may have been meant.
    pub fn similar(&self, class: NameClass, kinds: u32, name: &str) -> Option<String> {
        let key = (kinds, name.to_owned());
        if let Some(known) = self.suggestions.borrow().get(&key) {
            return known.clone();
        }
        let found = self.search_similar(class, kinds, name);
        self.suggestions.borrow_mut().insert(key, found.clone());
        found
    }

    fn search_similar(&self, class: NameClass, kinds: u32, name: &str) -> Option<String> {
        self.kernels.iter().find_map(|k| {
            let of_base = k.base.named(kinds).map(|(name, _)| name);
            let listed = k.index.as_ref().map(|i| i.names_like(class, name));
            let listed = listed.unwrap_or_default();
            let of_modules = listed.lines().filter_map(|line| line.split('\t').next());
            crate::ctypes::nearest(name, of_base.chain(of_modules)).map(str::to_owned)
        })
    }

    /// The modules of this name.
    pub fn module<'a>(&'a self, name: &'a str) -> impl Iterator<Item = Found> + 'a {
        self.kernels.iter().flat_map(move |k| {
            k.modules.iter().filter(move |blob| &*blob.name == name).filter_map(|blob| load(k, blob))
        })
    }

    /// Names of all modules, without reading them.
    pub fn module_names(&self) -> impl Iterator<Item = &str> {
        self.kernels.iter().flat_map(|k| k.modules.iter().map(|blob| &*blob.name))
    }
}

fn load(kernel: &Kernel, blob: &Blob) -> Option<Found> {
    let btf = blob.loaded.get_or_init(|| {
        let bytes = blob.bytes().ok()?;
        Btf::new(bytes, Some(kernel.base.clone())).ok().map(Rc::new)
    });
    btf.clone().map(|btf| Found { module: Some(blob.name.clone()), btf })
}

/// Raw BTF from a file that holds just that, or an ELF file with a `.BTF` section.
fn read_file(path: &Path) -> Result<Vec<u8>> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    if !bytes.starts_with(b"\x7fELF") {
        return Ok(bytes);
    }
    let elf = object::File::parse(&*bytes).with_context(|| format!("{} is a damaged ELF file", path.display()))?;
    let Some(section) = elf.section_by_name(".BTF") else {
        bail!("{} is an ELF file without a .BTF section", path.display());
    };
    let data = section.data().with_context(|| format!("cannot read section .BTF of {}", path.display()))?;
    Ok(data.to_vec())
}
