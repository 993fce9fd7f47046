//! Debug information that was split off a binary (`-gsplit-dwarf`).
//!
//! In: a binary, directories of debug files, what a skeleton unit says of the part it
//! stands for (DWARF 5, section 3.1.2). Out: the part's sections. Looked for, in this
//! order: in the package `BINARY.dwp`, where the compiler wrote it, beside the binary,
//! in the directories. Only a part with the skeleton's id counts.

use super::Reader;
use super::files::{parse, read, section};
use gimli::{DwarfPackage, DwoId, LittleEndian, SectionId};
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// Where parts are looked for.
pub(super) struct Parts {
    package: Option<DwarfPackage<Reader>>,
    /// The binary's directory, then those of debug files.
    dirs: Vec<PathBuf>,
}

impl Parts {
    /// Of a binary whose debug information begins in `debug`.
    pub fn of(binary: &Path, debug: &Path, dirs: &[PathBuf]) -> Result<Parts, String> {
        let beside = |file: &Path| {
            let mut name = file.as_os_str().to_owned();
            name.push(".dwp");
            PathBuf::from(name)
        };
        let named = binary.file_name().map(|name| beside(Path::new(name)));
        let elsewhere = dirs.iter().filter_map(|dir| Some(dir.join(named.as_ref()?)));
        let mut packages = [beside(binary), beside(debug)].into_iter().chain(elsewhere);
        let package = packages.find(|p| p.is_file()).map(|p| package(&p)).transpose()?;
        let own = binary.parent().map(Path::to_path_buf);
        Ok(Parts { package, dirs: own.into_iter().chain(dirs.iter().cloned()).collect() })
    }

    /// The part that belongs to a skeleton: its id, the directory of the compiler, the
    /// file that the compiler wrote there.
    pub fn find(
        &self,
        parent: &gimli::Dwarf<Reader>,
        id: Option<DwoId>,
        directory: &str,
        name: &str,
    ) -> gimli::Result<Option<gimli::Dwarf<Reader>>> {
        let Some(id) = id else { return Ok(None) };
        if let Some(package) = &self.package
            && let Some(part) = package.find_cu(id, parent)?
        {
            return Ok(Some(part));
        }
        let written = Path::new(directory).join(name);
        let bare = Path::new(name).file_name().unwrap_or_default();
        let others = self.dirs.iter().flat_map(|dir| [dir.join(name), dir.join(bare)]);
        for candidate in std::iter::once(written).chain(others) {
            let Ok(mut part) = sections(&candidate) else { continue };
            part.make_dwo(parent);
            if has(&part, id)? {
                return Ok(Some(part));
            }
        }
        Ok(None)
    }
}

fn has(part: &gimli::Dwarf<Reader>, id: DwoId) -> gimli::Result<bool> {
    let mut headers = part.units();
    while let Some(header) = headers.next()? {
        if part.unit(header)?.dwo_id == Some(id) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn sections(path: &Path) -> Result<gimli::Dwarf<Reader>, String> {
    let bytes = read(path)?;
    let elf = parse(&bytes, path)?;
    gimli::Dwarf::load(|id| split_section(&elf, id, path))
}

fn package(path: &Path) -> Result<DwarfPackage<Reader>, String> {
    let bytes = read(path)?;
    let elf = parse(&bytes, path)?;
    let package = DwarfPackage::load(|id| split_section(&elf, id, path).map_err(Failed::Section), empty());
    package.map_err(|e| match e {
        Failed::Section(why) => why,
        Failed::Index(e) => format!("the index of {} is damaged: {e}", path.display()),
    })
}

/// Why a package cannot be read.
enum Failed {
    Section(String),
    Index(gimli::Error),
}

impl From<gimli::Error> for Failed {
    fn from(e: gimli::Error) -> Failed {
        Failed::Index(e)
    }
}

fn split_section(elf: &object::File<'_>, id: SectionId, path: &Path) -> Result<Reader, String> {
    id.dwo_name().map_or_else(|| Ok(empty()), |name| section(elf, name, path))
}

fn empty() -> Reader {
    Reader::new(Rc::from([]), LittleEndian)
}
