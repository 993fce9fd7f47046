//! The manifest: what the runtime must know of a script.
//!
//! In: the compiler's result. Out: programs with their attach points
//! unresolved, maps with what their bytes mean, events, parameters, settings and
//! the places in the script that messages name.

use crate::binary::BinaryId;
use crate::event::Event;
use crate::layout::ValueType;
use crate::probe::AttachPoint;
use crate::start::{Buckets, Feature, Slot};
use serde::{Deserialize, Serialize};

/// Index into [`Manifest::maps`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MapId(pub u32);

/// Index into [`Manifest::locations`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LocationId(pub u32);

/// Everything the runtime knows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of the compiler.
    pub compiler: String,
    /// The script.
    pub script: Script,
    /// Programs in the order of the script.
    pub programs: Vec<Program>,
    /// Maps; those of the script first, in order of first use.
    pub maps: Vec<Map>,
    /// Kinds of records.
    pub events: Vec<Event>,
    /// Highest `$N` used, with how it is used.
    pub positional: Vec<Positional>,
    /// `getopt` options.
    pub options: Vec<NamedOption>,
    /// Places in `.rodata` to fill in.
    pub slots: Vec<Slot>,
    /// Instructions to patch before loading.
    pub patches: Vec<Patch>,
    /// Enumerations that values are shown by.
    pub enums: Vec<EnumTable>,
    /// Places in the script.
    pub locations: Vec<Location>,
    /// Settings, as written in the config block and the build's environment: (name, value).
    pub settings: Vec<(String, String)>,
    /// What the kernel must be able to do, and which construct wants it.
    pub requirements: Vec<Requirement>,
}

/// The setting that says that the script was built with `--unsafe`.
pub const UNSAFE: &str = "unsafe";

/// The script itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Script {
    /// Name without directories, as given to the compiler.
    pub name: String,
    /// SHA-256 of the source, in hex.
    pub digest: String,
    /// The comment at its head, without comment signs: what `--help` shows.
    pub about: String,
    /// Licence of the programs.
    pub license: String,
}

/// One BPF program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// Name of its function in the object.
    pub function: String,
    /// Where it attaches; patterns may make this many places.
    pub attach: AttachPoint,
    /// The attach point as the script writes it (`probe` shows it where nothing is expanded).
    pub written: String,
    /// Name given by `name=probe`.
    pub label: Option<String>,
    /// Number of the probe in the script; attach points with commas between them share it.
    pub block: u32,
    /// Does it ask which attach point fired? Then it reads the attach cookie
    /// where the kernel has one, else the `.rodata` word at this offset.
    pub identity_slot: Option<u32>,
    /// Does the program itself compare the process id with the `-p` filter?
    pub filters_pid: bool,
    /// The only build of the traced binary that the program is right for: its
    /// arguments or lines come from debug information read while compiling.
    pub binary: Option<BinaryId>,
    /// Place in the script.
    pub location: LocationId,
}

/// An instruction whose operand is known only on the target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Patch {
    /// Index into [`Manifest::programs`]: for whose attach point it is resolved.
    pub program: u32,
    /// Function of the object that the instruction lies in.
    pub function: String,
    /// Index of the instruction within the function.
    pub instruction: u32,
    /// What to look up.
    pub operand: Operand,
    /// The value compiled in, from the reference; the instruction holds it.
    pub expected: u32,
}

/// A field that holds the offset of its data (`__data_loc`).
pub const DATA_LOC: u32 = 1;
/// A field that holds the distance of its data from its own end (`__rel_loc`).
pub const REL_LOC: u32 = 2;

/// What an operand of a [`Patch`] means. Loads and stores are patched in their
/// offset, all other instructions in their immediate.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Operand {
    /// Offset of a field in the record of the tracepoint; `size` is how many
    /// bytes the program reads (0: the address is passed on). Loads of integers
    /// are patched in their width too when the field has another size there.
    TracepointField { field: String, size: u8 },
    /// How that field lies in the record: 0 as it is, else [`DATA_LOC`] or [`REL_LOC`].
    /// Kernels differ in this for texts; a field without this operand must lie as it is.
    TracepointPlace { field: String },
    /// Offset of an argument of a traced function in the context of
    /// fentry/fexit or a raw tracepoint, found by name in the target's BTF.
    Argument { name: String },
    /// Offset of the return value in the context of fexit.
    ReturnValue,
    /// Offset in `struct pt_regs` of a register: not looked up, stated for `inspect`.
    Register { name: String },
    /// Of where an argument of a static user probe lies, as the binary's notes say.
    UsdtArgument { argument: u8, part: UsdtPart },
}

/// What tells where an argument of a static user probe lies: `base * has_base +
/// index * scale + constant` is the argument, or where it lies in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum UsdtPart {
    /// Offset in `struct pt_regs` of a register.
    Base,
    /// 1, or 0 where there is none.
    HasBase,
    /// Offset in `struct pt_regs` of a second register.
    Index,
    /// What that is multiplied by; 0 where there is none.
    Scale,
    /// A number to add, to be extended from 32 bits.
    Constant,
    /// A number to add to the upper 32 bits.
    High,
    /// Bytes to read from there; 0: the sum itself is the argument.
    Size,
    /// Bits to shift left and back, so that as many remain as the argument has.
    Shift,
    /// 1: its highest bit is a sign.
    Signed,
}

impl UsdtPart {
    /// How many there are.
    pub const COUNT: usize = UsdtPart::Signed as usize + 1;
}

/// Kind of a BPF map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MapKind {
    /// Hash.
    Hash,
    /// Hash with eviction.
    LruHash,
    /// Hash, a value per CPU.
    PerCpuHash,
    /// Per-CPU hash with eviction.
    PerCpuLruHash,
    /// Array.
    Array,
    /// Array, a value per CPU.
    PerCpuArray,
    /// Ring buffer.
    RingBuffer,
    /// A data section of the object, which libbpf makes an array of one element.
    Section,
}

impl MapKind {
    /// `enum bpf_map_type` (linux/bpf.h).
    pub fn bpf_map_type(self) -> u32 {
        match self {
            MapKind::Hash => 1,
            MapKind::Array | MapKind::Section => 2,
            MapKind::PerCpuHash => 5,
            MapKind::PerCpuArray => 6,
            MapKind::LruHash => 9,
            MapKind::PerCpuLruHash => 10,
            MapKind::RingBuffer => 27,
        }
    }
}

/// What a map is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MapRole {
    /// `@name` of the script: printed at the end.
    Script,
    /// The ring that records go through.
    Events,
    /// Scratch memory of programs: [`SCRATCH_SLOTS`] slots a CPU.
    Scratch,
    /// Per-CPU counters of what was lost; index by [`LossCounter`].
    Losses,
    /// Read-only data.
    ReadOnlyData,
    /// One word that programs look at first: when it is not zero, they return at once.
    Gate,
    /// The keys of a map whose keys are too long for some kernels, see [`Map::hashes_keys`].
    Keys(MapId),
}

impl MapRole {
    /// Is the map a data section of the object, and not one of its map definitions?
    pub fn is_section(self) -> bool {
        matches!(self, MapRole::ReadOnlyData | MapRole::Gate)
    }
}

/// Section, and name in libbpf, of the map with the role [`MapRole::Gate`].
pub const DATA_SYMBOL: &str = ".data.gate";

/// Longest key of a hash map that every kernel accepts. Linux 5.10 refuses keys
/// that do not fit a BPF program's stack.
pub const LONGEST_KEY: u32 = 512;

/// The hash under which a long key is stored. It is taken over 64-bit words,
/// the last one filled up with zeros; programs compute the same.
pub fn key_hash(key: &[u8]) -> u64 {
    key.chunks(8).fold(0, |hash, chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        let mixed = (hash ^ u64::from_le_bytes(word)).wrapping_mul(KEY_HASH_FACTOR);
        mixed ^ (mixed >> 32)
    })
}

/// Multiplier of [`key_hash`]: 2^64 divided by the golden ratio, made odd.
pub const KEY_HASH_FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

/// Slots of scratch memory a CPU: one running program and what may interrupt it.
pub const SCRATCH_SLOTS: u32 = 4;

/// Index into the map of losses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum LossCounter {
    /// Records that found no room in the ring.
    Events = 0,
    /// Probes that were skipped because no scratch slot was free.
    Scratch = 1,
    /// Updates that a full map refused.
    MapFull = 2,
}

/// Number of [`LossCounter`]s.
pub const LOSS_COUNTERS: u32 = 3;

/// A map.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Map {
    /// As the script writes it, with `@`; internal ones have a plain name.
    pub name: String,
    /// Name in the object.
    pub symbol: String,
    /// What it is for.
    pub role: MapRole,
    /// Kind in the kernel.
    pub kind: MapKind,
    /// Key; [`ValueType::Unit`] for scalar maps, which are stored under an 8-byte zero.
    pub key: ValueType,
    /// Value.
    pub value: ValueType,
    /// Entries, when stated by the script; else the setting `max_map_keys`.
    pub max_entries: Option<u32>,
    /// Arguments of its histograms that the run gives. Then `value` is the largest that can
    /// be, and what they make of it counts.
    pub buckets: Option<Buckets>,
}

impl Map {
    /// Is the map stored under the hashes of its keys? Then its keys are 8 bytes
    /// ([`key_hash`]), and the map of role [`MapRole::Keys`] holds the keys by their
    /// hashes. Chance of confusion: one in 2^40 for a thousand keys.
    pub fn hashes_keys(&self) -> bool {
        use MapKind::*;
        let hash = matches!(self.kind, Hash | LruHash | PerCpuHash | PerCpuLruHash);
        hash && self.role == MapRole::Script && self.key.size() > LONGEST_KEY
    }

    /// Bytes of a key in the kernel.
    pub fn key_size(&self) -> u32 {
        if self.hashes_keys() {
            return 8;
        }
        match (self.kind, &self.key) {
            (MapKind::Array | MapKind::PerCpuArray | MapKind::Section, _) => 4,
            (MapKind::RingBuffer, _) => 0,
            (_, ValueType::Unit) => 8,
            (_, k) => k.size(),
        }
    }

    /// Bytes of a value in the kernel, per CPU where the map is.
    pub fn value_size(&self) -> u32 {
        match self.kind {
            MapKind::RingBuffer => 0,
            _ => self.value.size().max(1),
        }
    }
}

/// How a positional parameter is used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Positional {
    /// As a number.
    pub number: bool,
    /// As text.
    pub text: bool,
    /// In an attach point.
    pub probe: bool,
}

/// A `getopt` option.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedOption {
    /// Without the dashes.
    pub name: String,
    /// Type and default.
    pub default: OptionValue,
    /// What `--help` says.
    pub help: String,
}

/// Type and value of an option.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OptionValue {
    /// Number.
    Int(i64),
    /// Text.
    Text(String),
    /// Given or not.
    Bool(bool),
}

/// Names of the values of an enumeration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnumTable {
    /// Tag of the kernel's enumeration: its values are those of the target.
    pub kernel: Option<String>,
    /// Value and name, sorted by value.
    pub values: Vec<(i64, String)>,
}

/// A place in the script.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Location {
    /// File, as given to the compiler.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1.
    pub column: u32,
    /// The source text that it names, on one line.
    pub text: String,
}

/// Something the kernel must be able to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requirement {
    /// What.
    pub feature: Feature,
    /// Which construct wants it, such as "for over a map".
    pub construct: String,
    /// Where.
    pub location: LocationId,
}
