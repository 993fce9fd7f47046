//! The BPF object as bytes that may still be changed: constants filled in and
//! instructions patched before libbpf sees it.
//!
//! In: the ELF object of the payload. Out: the same, changed. Offsets are
//! checked against the sections: a damaged object is an error, not a panic.

use anyhow::{Context, Result, bail};
use goblin::elf::Elf;
use goblin::elf::section_header::{SHF_EXECINSTR, SHT_PROGBITS};
use std::collections::BTreeMap;
use std::ops::Range;

/// Size of a BPF instruction.
const INSN: usize = 8;
/// Opcode of the 16-byte load of a 64-bit constant.
const LD_IMM64: u8 = 0x18;

/// An object, and where in it things lie.
#[derive(Clone)]
pub struct Image {
    bytes: Vec<u8>,
    rodata: Range<usize>,
    code: Vec<Range<usize>>,
    functions: BTreeMap<String, usize>,
}

impl Image {
    /// Finds code, functions and constants.
    pub fn new(object: &[u8]) -> Result<Image> {
        let elf = Elf::parse(object).context("the payload's object is no ELF file")?;
        let (mut rodata, mut code, mut functions) = (0..0, Vec::new(), BTreeMap::new());
        for s in &elf.section_headers {
            let range = s.sh_offset as usize..(s.sh_offset as usize).saturating_add(s.sh_size as usize);
            if s.sh_type != SHT_PROGBITS || range.end > object.len() {
                continue;
            }
            if elf.shdr_strtab.get_at(s.sh_name) == Some(".rodata") {
                rodata = range;
            } else if s.sh_flags & u64::from(SHF_EXECINSTR) != 0 {
                code.push(range);
            }
        }
        for symbol in elf.syms.iter().filter(|s| s.is_function()) {
            let section = elf.section_headers.get(symbol.st_shndx);
            if let (Some(section), Some(name)) = (section, elf.strtab.get_at(symbol.st_name)) {
                functions.insert(name.to_string(), (section.sh_offset + symbol.st_value) as usize);
            }
        }
        Ok(Image { bytes: object.to_vec(), rodata, code, functions })
    }

    /// The object.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// A part of `.rodata`, for writing.
    pub fn constant(&mut self, offset: u32, size: u32) -> Result<&mut [u8]> {
        let start = self.rodata.start + offset as usize;
        let end = start + size as usize;
        if end > self.rodata.end {
            bail!("the payload is inconsistent: constant at {offset}+{size} lies outside of .rodata");
        }
        Ok(&mut self.bytes[start..end])
    }

    /// Stores a little-endian integer in `.rodata`, cut to the slot.
    pub fn set_int(&mut self, offset: u32, size: u32, value: u64) -> Result<()> {
        let slot = self.constant(offset, size)?;
        let bytes = value.to_le_bytes();
        slot.fill(0);
        let n = slot.len().min(8);
        slot[..n].copy_from_slice(&bytes[..n]);
        Ok(())
    }

    /// Stores text in `.rodata`, filled with NUL, cut so that one NUL remains.
    pub fn set_text(&mut self, offset: u32, size: u32, text: &str) -> Result<()> {
        let slot = self.constant(offset, size)?;
        let n = text.len().min(slot.len().saturating_sub(1));
        slot.fill(0);
        slot[..n].copy_from_slice(&text.as_bytes()[..n]);
        Ok(())
    }

    /// Instruction `index` of a function.
    fn instruction(&mut self, function: &str, index: u32) -> Result<&mut [u8]> {
        let start = *self.functions.get(function).with_context(|| format!("the object has no function {function}"))?;
        let at = start + index as usize * INSN;
        if !self.code.iter().any(|c| c.contains(&at) && at + INSN <= c.end) {
            bail!("the payload is inconsistent: instruction {index} of {function} does not exist");
        }
        Ok(&mut self.bytes[at..at + INSN])
    }

    /// Moves the operand of an instruction from `expected` to `actual`: the
    /// offset of loads and stores, the immediate of all others. With `width`,
    /// a load is made as wide as that many bytes.
    pub fn patch(
        &mut self,
        function: &str,
        index: u32,
        (expected, actual): (u32, u32),
        width: Option<u32>,
    ) -> Result<()> {
        let insn = self.instruction(function, index)?;
        let class = insn[0] & 7;
        if (1..=3).contains(&class) {
            let offset = i32::from(i16::from_le_bytes([insn[2], insn[3]]));
            let moved = offset + actual as i32 - expected as i32;
            let moved = i16::try_from(moved).with_context(|| format!("offset {moved} is too large for a load"))?;
            insn[2..4].copy_from_slice(&moved.to_le_bytes());
            if let Some(width) = width {
                let bits = match width {
                    1 => 0x10,
                    2 => 0x08,
                    4 => 0x00,
                    8 => 0x18,
                    _ => bail!("a field of {width} bytes cannot be loaded as an integer"),
                };
                insn[0] = insn[0] & !0x18 | bits;
            }
        } else {
            let immediate = i32::from_le_bytes([insn[4], insn[5], insn[6], insn[7]]);
            let moved = immediate.wrapping_add(actual as i32).wrapping_sub(expected as i32);
            insn[4..8].copy_from_slice(&moved.to_le_bytes());
        }
        Ok(())
    }

    /// Kernels before 5.12 refuse a program for an atomic operation that
    /// returns the old value even where it is never reached. The compiler put
    /// a way around behind a flag; here the dead instructions are replaced.
    pub fn remove_fetch_atomics(&mut self) {
        for code in self.code.clone() {
            let mut at = code.start;
            while at + INSN <= code.end {
                let insn = &mut self.bytes[at..at + INSN];
                at += if insn[0] == LD_IMM64 { 2 * INSN } else { INSN };
                // Class STX, mode ATOMIC, with the FETCH bit in the immediate.
                if insn[0] & 0xe7 == 0xc3 && insn[4] & 1 != 0 {
                    // r<source> = 0
                    insn.copy_from_slice(&[0xb7, insn[1] >> 4, 0, 0, 0, 0, 0, 0]);
                }
            }
        }
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A minimal relocatable object: `.rodata` of 32 bytes, function `f` in
    /// section `tracepoint` with the given instructions behind one `exit`.
    pub fn object(code: &[[u8; 8]]) -> Vec<u8> {
        let names = b"\0.rodata\0tracepoint\0.symtab\0.strtab\0f\0";
        let name = |s: &str| names.windows(s.len()).position(|w| w == s.as_bytes()).unwrap() as u32;
        let mut out = vec![0u8; 64];
        let mut sections: Vec<[u64; 7]> = vec![[0; 7]];
        let mut add = |out: &mut Vec<u8>, n: &str, kind: u64, flags: u64, data: &[u8], link: u64, entry: u64| {
            out.resize(out.len().next_multiple_of(8), 0);
            sections.push([
                u64::from(name(n)) | kind << 32,
                flags,
                out.len() as u64,
                data.len() as u64,
                link,
                entry,
                8,
            ]);
            out.extend_from_slice(data);
        };
        let text: Vec<u8> = [[0x95, 0, 0, 0, 0, 0, 0, 0]].iter().chain(code).flatten().copied().collect();
        add(&mut out, ".rodata", 1, 2, &[0xee; 32], 0, 0);
        add(&mut out, "tracepoint", 1, 6, &text, 0, 0);
        let mut symbols = vec![0u8; 24];
        symbols.extend_from_slice(&name("\0f\0").wrapping_add(1).to_le_bytes());
        symbols.extend_from_slice(&[0x12, 0, 2, 0]);
        symbols.extend_from_slice(&8u64.to_le_bytes());
        symbols.extend_from_slice(&(text.len() as u64 - 8).to_le_bytes());
        add(&mut out, ".symtab", 2, 0, &symbols, 4, 24);
        add(&mut out, ".strtab", 3, 0, names, 0, 0);
        out.resize(out.len().next_multiple_of(8), 0);
        let table = out.len() as u64;
        for s in &sections {
            let words = [s[0], s[1], 0, s[2], s[3], s[4] | 1 << 32, s[6], s[5]];
            out.extend(words.iter().flat_map(|w| w.to_le_bytes()));
        }
        out[..16].copy_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
        out[16..20].copy_from_slice(&[1, 0, 247, 0]);
        out[20] = 1;
        out[40..48].copy_from_slice(&table.to_le_bytes());
        out[52..64].copy_from_slice(&[64, 0, 0, 0, 0, 0, 64, 0, sections.len() as u8, 0, 4, 0]);
        out
    }

    fn code_of(image: &Image, index: usize) -> Vec<u8> {
        let at = image.functions["f"] + index * 8;
        image.bytes[at..at + 8].to_vec()
    }

    #[test]
    fn constants() {
        let mut image = Image::new(&object(&[])).unwrap();
        image.set_int(8, 4, 0x1122_3344_5566).unwrap();
        image.set_text(16, 4, "abcdef").unwrap();
        assert_eq!(image.constant(6, 8).unwrap(), [0xee, 0xee, 0x66, 0x55, 0x44, 0x33, 0xee, 0xee]);
        assert_eq!(image.constant(16, 5).unwrap(), *b"abc\0\xee");
        assert!(image.set_int(30, 8, 0).is_err());
    }

    #[test]
    fn operands_move() {
        // r1 = *(u64 *)(r1 + 24); r2 += 24
        let code = [[0x79, 0x11, 24, 0, 0, 0, 0, 0], [0x07, 2, 0, 0, 24, 0, 0, 0]];
        let mut image = Image::new(&object(&code)).unwrap();
        image.patch("f", 0, (24, 20), Some(4)).unwrap();
        image.patch("f", 1, (24, 32), None).unwrap();
        assert_eq!(code_of(&image, 0), [0x61, 0x11, 20, 0, 0, 0, 0, 0]);
        assert_eq!(code_of(&image, 1), [0x07, 2, 0, 0, 32, 0, 0, 0]);
        assert!(image.patch("f", 2, (0, 0), None).is_err());
        assert!(image.patch("g", 0, (0, 0), None).is_err());
        assert!(image.patch("f", 0, (24, 20), Some(3)).is_err());
    }

    #[test]
    fn fetching_atomics_vanish_and_others_stay() {
        let code = [
            [0xdb, 0x21, 0, 0, 1, 0, 0, 0], // r2 = fetch_add
            [0xdb, 0x21, 0, 0, 0, 0, 0, 0], // add without fetch
            [0x18, 3, 0, 0, 1, 0, 0, 0],    // 64-bit constant whose second half looks like one
            [0xdb, 0, 0, 0, 1, 0, 0, 0],
            [0xdb, 0x30, 8, 0, 0xf1, 0, 0, 0], // compare and exchange
        ];
        let mut image = Image::new(&object(&code)).unwrap();
        image.remove_fetch_atomics();
        assert_eq!(code_of(&image, 0), [0xb7, 2, 0, 0, 0, 0, 0, 0]);
        assert_eq!(code_of(&image, 1), code[1]);
        assert_eq!(code_of(&image, 3), code[3]);
        assert_eq!(code_of(&image, 4)[..2], [0xb7, 3]);
    }
}
