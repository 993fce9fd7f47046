//! Binaries and the files that hold their debug information.
//!
//! In: the path of an ELF file, directories of debug files. Out: its DWARF
//! sections, decompressed, and its identity. Looked for, in this order: in the
//! file itself, by build id, by the name in `.gnu_debuglink`. What several
//! debug files share (`.gnu_debugaltlink`, made by dwz) is read as well.

use super::Reader;
use super::split::Parts;
use btc_payload::binary::BinaryId;
use gimli::LittleEndian;
use object::read::elf::{FileHeader as _, ProgramHeader as _};
use object::{CompressionFormat, Object, ObjectSection};
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// Where distributions install debug files.
const DEBUG_DIR: &str = "/usr/lib/debug";

/// Largest section that is decompressed: a damaged header may state any size.
const MAX_SECTION: u64 = 1 << 32;

/// A binary's identity, code ranges and debug information.
pub(super) struct Loaded {
    pub id: BinaryId,
    pub dwarf: gimli::Dwarf<Reader>,
    pub parts: Parts,
    /// Name and range of its functions, sorted by address.
    pub functions: Vec<(u64, u64, String)>,
}

/// Reads a binary; `Err` says what is missing.
pub(super) fn load(path: &Path, dirs: &[PathBuf]) -> Result<Loaded, String> {
    let bytes = read(path)?;
    let dirs = &around(path, dirs);
    let elf = parse(&bytes, path)?;
    let id = identity(&bytes).ok_or_else(|| format!("{} is no 64-bit ELF file", path.display()))?;
    let functions = functions(&elf);
    if elf.section_by_name(".debug_info").is_some() {
        let parts = Parts::of(path, path, dirs)?;
        return Ok(Loaded { id, dwarf: dwarf(&elf, path, dirs)?, parts, functions });
    }
    for candidate in candidates(&elf, path, dirs) {
        let Ok(bytes) = std::fs::read(&candidate) else { continue };
        let debug = parse(&bytes, &candidate)?;
        let same = identity(&bytes).is_some_and(|other| other == id) || !matches!(id, BinaryId::BuildId(_));
        if same && debug.section_by_name(".debug_info").is_some() {
            let functions = if functions.is_empty() { self::functions(&debug) } else { functions };
            let parts = Parts::of(path, &candidate, dirs)?;
            return Ok(Loaded { id, dwarf: dwarf(&debug, &candidate, dirs)?, parts, functions });
        }
    }
    let split = if elf.section_by_name(".gnu_debugdata").is_some() { "; .gnu_debugdata holds names only" } else { "" };
    Err(format!("{} has no debug information{split}", path.display()))
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|e| format!("cannot read {}: {e}", path.display()))
}

pub(super) fn parse<'a>(bytes: &'a [u8], path: &Path) -> Result<object::File<'a>, String> {
    let elf = object::File::parse(bytes).map_err(|_| format!("{} is no ELF file", path.display()))?;
    if elf.is_little_endian() && elf.is_64() { Ok(elf) } else { Err(format!("{} is not for x86_64", path.display())) }
}

/// As the runtime computes it: by segments.
fn identity(bytes: &[u8]) -> Option<BinaryId> {
    let header = object::elf::FileHeader64::<object::LittleEndian>::parse(bytes).ok()?;
    let endian = header.endian().ok()?;
    let segments = header.program_headers(endian, bytes).ok()?;
    let content = |wanted: object::elf::ProgramType, flags: object::elf::ProgramFlags| {
        let hit = move |s: &&object::elf::ProgramHeader64<object::LittleEndian>| {
            s.p_type(endian) == wanted && s.p_flags(endian) & flags == flags
        };
        segments.iter().filter(hit).filter_map(move |s| s.data(endian, bytes).ok())
    };
    Some(BinaryId::of(
        content(object::elf::PT_NOTE, object::elf::ProgramFlags(0)),
        content(object::elf::PT_LOAD, object::elf::PF_X),
    ))
}

fn functions(elf: &object::File<'_>) -> Vec<(u64, u64, String)> {
    use object::ObjectSymbol;
    let mut out: Vec<_> = elf
        .symbols()
        .chain(elf.dynamic_symbols())
        .filter(|s| s.kind() == object::SymbolKind::Text && s.address() != 0 && !s.is_undefined())
        .filter_map(|s| Some((s.address(), s.size(), s.name().ok()?.to_string())))
        .collect();
    out.sort();
    out.dedup_by_key(|f| f.0);
    out
}

/// Where the debug information of a stripped binary may lie.
fn candidates(elf: &object::File<'_>, path: &Path, dirs: &[PathBuf]) -> Vec<PathBuf> {
    let roots: Vec<PathBuf> = dirs.iter().cloned().chain([PathBuf::from(DEBUG_DIR)]).collect();
    let mut out = Vec::new();
    if let Ok(Some(id)) = elf.build_id() {
        out.extend(roots.iter().filter_map(|root| by_build_id(root, id)));
    }
    if let Ok(Some((name, _))) = elf.gnu_debuglink() {
        let name = String::from_utf8_lossy(name).into_owned();
        let real = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
        let parent = real.parent().unwrap_or(Path::new("/"));
        let below = parent.strip_prefix("/").unwrap_or(parent);
        out.extend([parent.join(&name), parent.join(".debug").join(&name)]);
        out.extend(roots.iter().flat_map(|root| [root.join(below).join(&name), root.join(&name)]));
    }
    if let Some(name) = path.file_name() {
        out.extend(dirs.iter().flat_map(|dir| {
            let mut debug = name.to_os_string();
            debug.push(".debug");
            [dir.join(debug), dir.join(name)]
        }));
    }
    out
}

/// Directories of debug files: a relative one is looked for here, then beside the binary.
fn around(path: &Path, dirs: &[PathBuf]) -> Vec<PathBuf> {
    let beside = path.parent().unwrap_or(Path::new(""));
    dirs.iter().cloned().chain(dirs.iter().filter(|d| d.is_relative()).map(|d| beside.join(d))).collect()
}

fn by_build_id(root: &Path, id: &[u8]) -> Option<PathBuf> {
    let hex: String = id.iter().map(|b| format!("{b:02x}")).collect();
    (hex.len() > 2).then(|| root.join(".build-id").join(&hex[..2]).join(format!("{}.debug", &hex[2..])))
}

fn dwarf(elf: &object::File<'_>, path: &Path, dirs: &[PathBuf]) -> Result<gimli::Dwarf<Reader>, String> {
    let mut dwarf = gimli::Dwarf::load(|id| section(elf, id.name(), path))?;
    if let Ok(Some((name, id))) = elf.gnu_debugaltlink() {
        let name = String::from_utf8_lossy(name).into_owned();
        let beside = path.parent().unwrap_or(Path::new("/")).join(&name);
        let roots = dirs.iter().cloned().chain([PathBuf::from(DEBUG_DIR)]);
        let places = std::iter::once(beside).chain(roots.filter_map(|root| by_build_id(&root, id)));
        let shared = places.into_iter().find(|p| p.is_file());
        let shared = shared.ok_or_else(|| format!("{} refers to {name}, which is not there", path.display()))?;
        let bytes = read(&shared)?;
        let elf = parse(&bytes, &shared)?;
        dwarf.load_sup(|id| section(&elf, id.name(), &shared))?;
    }
    Ok(dwarf)
}

/// A section's bytes; none are as good as no section. Object files have a section of
/// one name for each type that may occur twice: one behind the other, as linked.
pub(super) fn section(elf: &object::File<'_>, name: &str, path: &Path) -> Result<Reader, String> {
    let bad = |why: String| format!("section {name} of {}: {why}", path.display());
    let mut bytes = Vec::new();
    for section in elf.sections().filter(|s| s.name() == Ok(name)) {
        let found = section.compressed_data().map_err(|e| bad(e.to_string()))?;
        let size = usize::try_from(found.uncompressed_size.min(MAX_SECTION)).unwrap_or(usize::MAX);
        match found.format {
            CompressionFormat::None => bytes.extend_from_slice(found.data),
            CompressionFormat::Zlib => bytes.extend(
                miniz_oxide::inflate::decompress_to_vec_zlib_with_limit(found.data, size)
                    .map_err(|e| bad(e.to_string()))?,
            ),
            CompressionFormat::Zstandard => {
                bytes.extend(zstd::bulk::decompress(found.data, size).map_err(|e| bad(e.to_string()))?)
            }
            other => return Err(bad(format!("unknown compression {other:?}"))),
        }
    }
    Ok(Reader::new(Rc::from(bytes), LittleEndian))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_directories_are_also_those_beside_the_binary() {
        let dirs = ["debug", "/usr/debug"].map(PathBuf::from);
        assert_eq!(around(Path::new("/bin/x"), &dirs), ["debug", "/usr/debug", "/bin/debug"].map(PathBuf::from));
    }
}
