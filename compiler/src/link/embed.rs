//! Puts a payload into a runtime executable, and finds it again.
//!
//! In: a static executable with a slot note (below) and the payload. Out: the
//! same executable with the payload in a `PT_LOAD` of its own, which the kernel
//! maps like any other part of it.
//! Invariants: no byte of the runtime moves, so nothing in it needs relocating;
//! the payload starts at a multiple of eight; the same input gives the same bytes.
//!
//! The slot note is a retained static of the runtime in section `.note.btc`: an
//! ELF note (`btc`, type 1) that holds `delta`, `len` and a reserved word, 64
//! bits each; `delta` is the payload's address minus the note's. It is aligned to eight bytes, so linkers give it a `PT_NOTE` of its own: a
//! spare program header, which becomes the `PT_LOAD`. A payload appended behind
//! the sections, or in a section without a segment, does not survive `strip`,
//! `llvm-strip`, `sstrip` and signing; one in a segment with a section does.

use anyhow::{Context as _, Result, bail, ensure};
use object::elf::{self, FileHeader64, ProgramHeader64, SectionHeader64};
use object::pod::bytes_of;
use object::read::elf::{FileHeader as _, SectionHeader as _};
use object::{LittleEndian as LE, SectionIndex};

/// Section of the slot note in the runtime.
const SLOT_SECTION: &str = ".note.btc";
/// Section that the payload gets; strip keeps segments that sections describe.
const PAYLOAD_SECTION: &[u8] = b".btc.payload";
/// Note header: sizes of name and content, type, name.
const SLOT_HEADER: [u8; 16] = [4, 0, 0, 0, 24, 0, 0, 0, 1, 0, 0, 0, b'b', b't', b'c', 0];
/// Bytes of the note with its content.
const SLOT_SIZE: usize = SLOT_HEADER.len() + 24;
/// Alignment of payload and tables within the file.
const ALIGN: usize = 8;

type Header = FileHeader64<LE>;
type Segment = ProgramHeader64<LE>;
type Section = SectionHeader64<LE>;

/// Puts `payload` into `template`.
pub fn link(template: &[u8], payload: &[u8]) -> Result<Vec<u8>> {
    ensure!(!payload.is_empty(), "internal error: empty payload");
    let elf = Elf::parse(template).context("the runtime executable cannot be read")?;
    let slot = elf.slot().context("the runtime executable has no usable slot for the payload")?;
    ensure!(slot.len == 0, "the runtime executable carries a payload already");
    let spare = elf.spare_segment(&slot)?;

    let mut out = template.to_vec();
    pad(&mut out);
    let (offset, address) = (out.len(), elf.free_address(out.len() as u64)?);
    out.extend_from_slice(payload);
    elf.append_sections(&mut out, address, offset, payload.len())?;

    let segment = load_segment(elf.page_size(), address, offset, payload.len());
    let at = elf.header.e_phoff.get(LE) as usize + spare * size_of::<Segment>();
    overwrite(&mut out, at, bytes_of(&segment))?;
    let delta = address - slot.address;
    overwrite(&mut out, slot.offset + 16, &delta.to_le_bytes())?;
    overwrite(&mut out, slot.offset + 24, &(payload.len() as u64).to_le_bytes())?;
    Ok(out)
}

/// The payload of an executable that [`link`] made; `None` for a bare runtime.
pub fn payload_of(executable: &[u8]) -> Result<Option<&[u8]>> {
    let elf = Elf::parse(executable)?;
    let slot = elf.slot().context("this executable was not made by btc")?;
    if slot.len == 0 {
        return Ok(None);
    }
    let address = slot.address.wrapping_add(slot.delta);
    let bytes = elf.segments.iter().find_map(|s| {
        let within = usize::try_from(address.checked_sub(s.p_vaddr.get(LE))?).ok()?;
        let len = usize::try_from(slot.len).ok()?;
        let loaded = s.p_type.get(LE) == elf::PT_LOAD && s.p_filesz.get(LE) >= (within.checked_add(len)? as u64);
        let start = usize::try_from(s.p_offset.get(LE)).ok()?.checked_add(within)?;
        executable.get(start..start.checked_add(len)?).filter(|_| loaded)
    });
    bytes.context("the payload lies outside of the file").map(Some)
}

/// Where the slot note lies and what it holds.
struct Slot {
    /// In the file.
    offset: usize,
    /// In memory.
    address: u64,
    delta: u64,
    len: u64,
}

/// A parsed executable.
struct Elf<'a> {
    data: &'a [u8],
    header: &'a Header,
    segments: &'a [Segment],
    sections: object::read::elf::SectionTable<'a, Header>,
}

impl<'a> Elf<'a> {
    fn parse(data: &'a [u8]) -> Result<Self> {
        let header = Header::parse(data)?;
        ensure!(header.is_little_endian(), "big-endian executables are not supported");
        let segments = header.program_headers(LE, data)?;
        let sections = header.sections(LE, data)?;
        Ok(Elf { data, header, segments, sections })
    }

    /// Finds and checks the slot note.
    fn slot(&self) -> Result<Slot> {
        let (_, section) =
            self.sections.section_by_name(LE, SLOT_SECTION.as_bytes()).with_context(|| format!("no {SLOT_SECTION}"))?;
        let note = section.data(LE, self.data)?;
        ensure!(note.len() == SLOT_SIZE && note.starts_with(&SLOT_HEADER), "{SLOT_SECTION} holds something else");
        let word = |at: usize| -> u64 { note[at..at + 8].iter().rev().fold(0, |n, &b| n << 8 | u64::from(b)) };
        Ok(Slot {
            offset: section.sh_offset(LE) as usize,
            address: section.sh_addr(LE),
            delta: word(16),
            len: word(24),
        })
    }

    /// The program header that can become the payload's: the note's own, behind
    /// all `PT_LOAD`s, because the kernel wants those in ascending order.
    fn spare_segment(&self, slot: &Slot) -> Result<usize> {
        let covers = |s: &Segment| {
            let (start, size) = (s.p_vaddr.get(LE), s.p_memsz.get(LE));
            s.p_type.get(LE) == elf::PT_NOTE && (start..start.saturating_add(size)).contains(&slot.address)
        };
        let Some(spare) = self.segments.iter().position(covers) else {
            bail!("the runtime executable has no program header to spare (no PT_NOTE for {SLOT_SECTION})");
        };
        let last_load = self.segments.iter().rposition(|s| s.p_type.get(LE) == elf::PT_LOAD);
        ensure!(last_load.is_some_and(|l| l < spare), "the runtime executable has a PT_LOAD behind its notes");
        Ok(spare)
    }

    /// Alignment of its loaded segments; at least a page.
    fn page_size(&self) -> u64 {
        self.loads().map(|s| s.p_align.get(LE)).fold(4096, u64::max)
    }

    fn loads(&self) -> impl Iterator<Item = &Segment> {
        self.segments.iter().filter(|s| s.p_type.get(LE) == elf::PT_LOAD)
    }

    /// First address above all segments that is `offset` modulo the page size,
    /// as the kernel wants it.
    fn free_address(&self, offset: u64) -> Result<u64> {
        let page = self.page_size();
        ensure!(page.is_power_of_two(), "the runtime executable has a strange alignment ({page})");
        let ends = self.loads().map(|s| s.p_vaddr.get(LE).checked_add(s.p_memsz.get(LE)));
        let end = ends.max().flatten().and_then(|end| end.checked_next_multiple_of(page));
        end.and_then(|end| end.checked_add(offset % page)).context("the runtime executable fills the address space")
    }

    /// Appends a section name table and a section header table with one section more.
    fn append_sections(&self, out: &mut Vec<u8>, address: u64, offset: usize, len: usize) -> Result<()> {
        let names_index = self.header.e_shstrndx.get(LE).0;
        let names = self.sections.section(SectionIndex(names_index.into()))?;
        let mut strings = names.data(LE, self.data)?.to_vec();
        let name = u32::try_from(strings.len())?;
        strings.extend_from_slice(PAYLOAD_SECTION);
        strings.push(0);
        let mut headers: Vec<Section> = self.sections.iter().copied().collect();
        let count = u16::try_from(headers.len() + 1)?;
        ensure!(count < elf::SHN_LORESERVE, "the runtime executable has too many sections");

        let names = &mut headers[usize::from(names_index)];
        names.sh_offset.set(LE, out.len() as u64);
        names.sh_size.set(LE, strings.len() as u64);
        headers.push(payload_section(name, address, offset, len));
        out.extend_from_slice(&strings);
        pad(out);
        let mut header = *self.header;
        header.e_shoff.set(LE, out.len() as u64);
        header.e_shnum.set(LE, count);
        overwrite(out, 0, bytes_of(&header))?;
        headers.iter().for_each(|h| out.extend_from_slice(bytes_of(h)));
        Ok(())
    }
}

fn load_segment(page: u64, address: u64, offset: usize, len: usize) -> Segment {
    use object::endian::{U32, U64};
    let (address, len) = (U64::new(LE, address), U64::new(LE, len as u64));
    Segment {
        p_type: U32::new(LE, elf::PT_LOAD),
        p_flags: U32::new(LE, elf::PF_R),
        p_offset: U64::new(LE, offset as u64),
        p_vaddr: address,
        p_paddr: address,
        p_filesz: len,
        p_memsz: len,
        p_align: U64::new(LE, page),
    }
}

fn payload_section(name: u32, address: u64, offset: usize, len: usize) -> Section {
    use object::endian::{U32, U64};
    Section {
        sh_name: U32::new(LE, name),
        sh_type: U32::new(LE, elf::SHT_PROGBITS),
        sh_flags: U64::new(LE, elf::SHF_ALLOC),
        sh_addr: U64::new(LE, address),
        sh_offset: U64::new(LE, offset as u64),
        sh_size: U64::new(LE, len as u64),
        sh_link: U32::new(LE, 0),
        sh_info: U32::new(LE, 0),
        sh_addralign: U64::new(LE, ALIGN as u64),
        sh_entsize: U64::new(LE, 0),
    }
}

fn pad(out: &mut Vec<u8>) {
    out.resize(out.len().next_multiple_of(ALIGN), 0);
}

/// Replaces bytes of `out`; fails where the headers of a damaged file lead outside.
fn overwrite(out: &mut [u8], at: usize, bytes: &[u8]) -> Result<()> {
    let place = at.checked_add(bytes.len()).and_then(|end| out.get_mut(at..end));
    place.context("the runtime executable is damaged")?.copy_from_slice(bytes);
    Ok(())
}
