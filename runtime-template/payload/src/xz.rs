//! Unpacks xz data, for the symbol tables that some distributions pack into
//! `.gnu_debugdata` of their binaries.
//!
//! In: a .xz file's bytes (format 1.1.0, LZMA2 without other filters). Out: what was
//! packed, or nothing if it is damaged. Checksums are not compared: what is read is an
//! ELF file that is checked on its own. Made small rather than quick.

/// What is unpacked at most: damaged data may go on for ever.
const MOST: usize = 1 << 28;

/// Unpacks a file.
pub fn unpack(file: &[u8]) -> Option<Vec<u8>> {
    let mut input = Input { bytes: file.strip_prefix(b"\xfd7zXZ\0")? };
    let check = match input.take(6)?[1] & 15 {
        0 => 0,
        1 => 4,
        4 => 8,
        10 => 32,
        _ => return None,
    };
    let mut out = Vec::new();
    // A block's header begins with its size; the index, behind the last one, with 0.
    while let size @ 1.. = input.byte()? {
        let header = input.take(usize::from(size) * 4 + 3)?;
        let mut header = Input { bytes: header };
        let flags = header.byte()?;
        for _ in 0..(flags >> 6 & 1) + (flags >> 7) {
            header.number()?;
        }
        // One filter, LZMA2, with its size of dictionary.
        if flags & 3 != 0 || header.number()? != 0x21 {
            return None;
        }
        let before = input.bytes.len();
        unpack_block(&mut input, &mut out)?;
        let padding = (before - input.bytes.len()).wrapping_neg() & 3;
        input.take(padding + check)?;
    }
    Some(out)
}

/// What is still to be read.
struct Input<'a> {
    bytes: &'a [u8],
}

impl<'a> Input<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(count)?;
        self.bytes = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|b| b[0])
    }

    fn word(&mut self) -> Option<usize> {
        self.take(2).map(|b| usize::from(b[0]) << 8 | usize::from(b[1]))
    }

    /// A number of 7 bits per byte.
    fn number(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..63).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 127) << shift;
            if byte < 128 {
                return Some(value);
            }
        }
        None
    }
}

/// Unpacks the chunks of a block.
fn unpack_block(input: &mut Input<'_>, out: &mut Vec<u8>) -> Option<()> {
    let mut model = Model::default();
    let mut dictionary = out.len();
    loop {
        let control = input.byte()?;
        if control == 0 {
            return Some(());
        }
        if control == 1 || control >= 0xe0 {
            dictionary = out.len();
        }
        if control < 0x80 {
            let size = input.word()? + 1;
            out.extend_from_slice(input.take(size)?);
            continue;
        }
        let size = (usize::from(control & 31) << 16 | input.word()?) + 1;
        let packed = input.word()? + 1;
        let properties = if control >= 0xc0 { Some(input.byte()?) } else { None };
        if control >= 0xa0 {
            model = Model { properties: model.properties, ..Model::default() };
        }
        if let Some(p) = properties {
            model.properties = (p % 9, p / 9 % 5, p / 45);
        }
        let end = out.len().checked_add(size).filter(|&end| end <= MOST)?;
        let mut coder = Coder::new(input.take(packed)?)?;
        while out.len() < end {
            model.step(&mut coder, out, dictionary)?;
        }
    }
}

/// The range decoder.
struct Coder<'a> {
    input: Input<'a>,
    range: u32,
    code: u32,
}

impl<'a> Coder<'a> {
    fn new(bytes: &'a [u8]) -> Option<Coder<'a>> {
        let mut input = Input { bytes };
        let first = input.take(5)?;
        Some(Coder { code: u32::from_be_bytes([first[1], first[2], first[3], first[4]]), input, range: u32::MAX })
    }

    fn normalize(&mut self) -> Option<()> {
        if self.range < 1 << 24 {
            self.range <<= 8;
            self.code = self.code << 8 | u32::from(self.input.byte()?);
        }
        Some(())
    }

    /// A bit whose probability adapts: of 0, in 2048ths.
    fn bit(&mut self, probability: &mut u16) -> Option<usize> {
        self.normalize()?;
        let bound = (self.range >> 11) * u32::from(*probability);
        if self.code < bound {
            self.range = bound;
            *probability += (2048 - *probability) >> 5;
            Some(0)
        } else {
            self.range -= bound;
            self.code -= bound;
            *probability -= *probability >> 5;
            Some(1)
        }
    }

    /// Bits without probabilities, highest first.
    fn direct(&mut self, count: usize) -> Option<usize> {
        let mut value = 0;
        for _ in 0..count {
            self.normalize()?;
            self.range >>= 1;
            let one = self.code >= self.range;
            self.code -= if one { self.range } else { 0 };
            value = value << 1 | usize::from(one);
        }
        Some(value)
    }

    /// Bits by a tree of probabilities, highest first.
    fn tree(&mut self, probabilities: &mut [u16], bits: usize) -> Option<usize> {
        let mut node = 1;
        for _ in 0..bits {
            node = node << 1 | self.bit(&mut probabilities[node])?;
        }
        Some(node - (1 << bits))
    }

    /// As [`Coder::tree`], lowest bit first.
    fn reverse_tree(&mut self, probabilities: &mut [u16], bits: usize) -> Option<usize> {
        let (mut node, mut value) = (1, 0);
        for i in 0..bits {
            let bit = self.bit(&mut probabilities[node])?;
            node = node << 1 | bit;
            value |= bit << i;
        }
        Some(value)
    }
}

/// Where probabilities begin in [`Model::all`], and how many there are.
mod at {
    pub const IS_MATCH: usize = 0;
    pub const IS_REP: usize = IS_MATCH + 12 * 16;
    /// Which of the last four distances: three decisions for each state.
    pub const IS_REP_N: usize = IS_REP + 12;
    pub const IS_REP0_LONG: usize = IS_REP_N + 3 * 12;
    pub const SLOT: usize = IS_REP0_LONG + 12 * 16;
    pub const SPECIAL: usize = SLOT + 4 * 64;
    pub const ALIGN: usize = SPECIAL + 128;
    /// Lengths of matches, and of repeated ones behind them.
    pub const LENGTH: usize = ALIGN + 16;
    pub const LENGTH_SIZE: usize = 2 + 2 * 16 * 8 + 256;
    pub const LITERAL: usize = LENGTH + 2 * LENGTH_SIZE;
    /// Literals have up to 4 bits of context (LZMA2 allows no more).
    pub const ALL: usize = LITERAL + 16 * 0x300;
}

/// What the decoder remembers.
struct Model {
    all: Vec<u16>,
    state: usize,
    distances: [usize; 4],
    /// Bits of literal context, of literal position, of position.
    properties: (u8, u8, u8),
}

impl Default for Model {
    fn default() -> Model {
        Model { all: vec![1024; at::ALL], state: 0, distances: [0; 4], properties: (3, 0, 2) }
    }
}

impl Model {
    /// Decodes a literal or a match.
    fn step(&mut self, coder: &mut Coder<'_>, out: &mut Vec<u8>, dictionary: usize) -> Option<()> {
        let position = (out.len() - dictionary) & ((1 << self.properties.2.min(4)) - 1);
        let by_state = self.state * 16 + position;
        if coder.bit(&mut self.all[at::IS_MATCH + by_state])? == 0 {
            return self.literal(coder, out, dictionary);
        }
        let length = if coder.bit(&mut self.all[at::IS_REP + self.state])? == 0 {
            let length = self.length(coder, 0, position)?;
            self.distances.rotate_right(1);
            self.distances[0] = self.distance(coder, length)?;
            self.state = if self.state < 7 { 7 } else { 10 };
            length
        } else {
            let mut which = 0;
            while which < 3 && coder.bit(&mut self.all[at::IS_REP_N + which * 12 + self.state])? == 1 {
                which += 1;
            }
            if which == 0 && coder.bit(&mut self.all[at::IS_REP0_LONG + by_state])? == 0 {
                self.state = if self.state < 7 { 9 } else { 11 };
                1
            } else {
                self.distances[..=which].rotate_right(1);
                let length = self.length(coder, 1, position)?;
                self.state = if self.state < 7 { 8 } else { 11 };
                length
            }
        };
        let from = out.len().checked_sub(self.distances[0] + 1).filter(|&from| from >= dictionary)?;
        // What is copied may be what the copy itself appends.
        (from..from + length).for_each(|i| out.push(out[i]));
        Some(())
    }

    fn literal(&mut self, coder: &mut Coder<'_>, out: &mut Vec<u8>, dictionary: usize) -> Option<()> {
        let (context, low, _) = self.properties;
        let before = if out.len() > dictionary { usize::from(out[out.len() - 1]) } else { 0 };
        let place = (out.len() - dictionary) & ((1 << low) - 1);
        let set = place << context | before >> (8 - context);
        let start = at::LITERAL + set * 0x300;
        let probabilities = self.all.get_mut(start..start + 0x300)?;
        let mut node = 1;
        if self.state >= 7 {
            // Behind a match the byte that would have gone on with it is a hint.
            let at = out.len().checked_sub(self.distances[0] + 1)?;
            let mut expected = usize::from(out[at]);
            while node < 0x100 {
                let hint = expected >> 7 & 1;
                expected <<= 1;
                let bit = coder.bit(&mut probabilities[(1 + hint) * 0x100 + node])?;
                node = node << 1 | bit;
                if bit != hint {
                    break;
                }
            }
        }
        while node < 0x100 {
            node = node << 1 | coder.bit(&mut probabilities[node])?;
        }
        out.push(node as u8);
        self.state = match self.state {
            0..=3 => 0,
            4..=9 => self.state - 3,
            _ => self.state - 6,
        };
        Some(())
    }

    fn length(&mut self, coder: &mut Coder<'_>, which: usize, position: usize) -> Option<usize> {
        let start = at::LENGTH + which * at::LENGTH_SIZE;
        let all = &mut self.all[start..start + at::LENGTH_SIZE];
        if coder.bit(&mut all[0])? == 0 {
            return Some(2 + coder.tree(&mut all[2 + position * 8..], 3)?);
        }
        if coder.bit(&mut all[1])? == 0 {
            return Some(10 + coder.tree(&mut all[2 + 128 + position * 8..], 3)?);
        }
        Some(18 + coder.tree(&mut all[2 + 256..], 8)?)
    }

    fn distance(&mut self, coder: &mut Coder<'_>, length: usize) -> Option<usize> {
        let by_length = (length - 2).min(3);
        let slot = coder.tree(&mut self.all[at::SLOT + by_length * 64..], 6)?;
        if slot < 4 {
            return Some(slot);
        }
        let bits = slot / 2 - 1;
        let base = (2 | slot & 1) << bits;
        Some(if slot < 14 {
            // Trees of all slots lie one behind the other, without their unused first node.
            base + coder.reverse_tree(&mut self.all[at::SPECIAL + base - slot..], bits)?
        } else {
            let high = coder.direct(bits - 4)? << 4;
            base + high + coder.reverse_tree(&mut self.all[at::ALIGN..], 4)?
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::process::{Command, Stdio};

    /// Packs by xz, where that is installed.
    fn pack(data: &[u8], options: &[&str]) -> Option<Vec<u8>> {
        let mut command = Command::new("xz");
        command.args(["-c", "-z", "--format=xz"]).args(options).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().ok()?;
        let mut input = child.stdin.take()?;
        let data = data.to_vec();
        let writer = std::thread::spawn(move || input.write_all(&data));
        let out = child.wait_with_output().ok()?;
        writer.join().ok()?.ok()?;
        out.status.success().then_some(out.stdout)
    }

    #[test]
    fn nothing_and_a_word() {
        // `xz -C none` of "abc" repeated, made by hand from the format's description.
        let mut file = b"\xfd7zXZ\0\0\0\xff\x12\xd9\x41".to_vec();
        file.extend(b"\x02\0\x21\x01\x16\0\0\0\x74\x2f\xe5\xa3");
        file.extend(b"\x01\0\x02abc\x02\0\0d\0\0");
        assert_eq!(unpack(&file), None, "no index");
        file.extend(b"\0");
        assert_eq!(unpack(&file).unwrap(), b"abcd");
        assert_eq!(unpack(b""), None);
    }

    #[test]
    fn what_xz_packs() {
        let program = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let program = &program[..program.len().min(3 << 20)];
        let text = "a line that repeats itself, with a number: ".repeat(3000);
        let noise: Vec<u8> =
            (0..70_000u64).map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8 ^ (i >> 9) as u8).collect();
        for data in [program, text.as_bytes(), &noise, b"x", b""] {
            for options in
                [&["-0"][..], &["-6"], &["-9e"], &["--lzma2=preset=1,lc=0,lp=2,pb=0"], &["--block-size=40000"]]
            {
                let Some(packed) = pack(data, options) else { return };
                assert!(unpack(&packed).as_deref() == Some(data), "{} bytes, {options:?}", data.len());
            }
        }
        let Some(packed) = pack(&program[..20_000], &["-6"]) else { return };
        for cut in (0..packed.len()).step_by(97) {
            unpack(&packed[..cut]);
            let mut bad = packed.clone();
            bad[cut] ^= 0x55;
            unpack(&bad);
        }
    }
}
