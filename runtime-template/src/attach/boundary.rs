//! Where a breakpoint does no harm: where an instruction begins that the kernel knows.
//!
//! In: the code of a function and an offset in it. Out: does an instruction begin
//! there? A breakpoint in the middle of one changes what the traced program does,
//! and the kernel does not look for it (kernel/events/uprobes.c).
//! On x86-64 instructions are walked from the function's start; only their lengths
//! are known here.

/// Does an instruction of this function begin at the offset? None: it cannot be told.
#[cfg(target_arch = "x86_64")]
pub fn begins(code: &[u8], offset: usize) -> Option<bool> {
    let mut at = 0;
    while at < offset {
        at += length(code.get(at..)?)?;
    }
    Some(at == offset)
}

/// Does an instruction begin at the offset? All have one size.
#[cfg(not(target_arch = "x86_64"))]
pub fn begins(_: &[u8], offset: usize) -> Option<bool> {
    Some(offset % 4 == 0)
}

/// Does the kernel take the first instruction for another one, and so change what the
/// program does? It looks at the opcode alone for jumps and `nop`, which it emulates
/// (branch_setup_xol_ops, arch/x86/kernel/uprobes.c; 6.18 still does). Behind the
/// prefixes of AVX the same numbers mean other things: `vpcmpeqd` is `je`.
#[cfg(target_arch = "x86_64")]
pub fn mistaken(code: &[u8]) -> bool {
    // Only these prefixes may stand before: of a segment, of short addresses.
    let before = |b: &&u8| matches!(b, 0x26 | 0x2e | 0x36 | 0x3e | 0x64 | 0x65 | 0x67);
    let code = &code[code.iter().take_while(before).count()..];
    let opcode = match code.first() {
        Some(0xc5) => 2,
        Some(0xc4) => 3,
        Some(0x62) => 4,
        _ => return false,
    };
    matches!(code.get(opcode), Some(0x70..=0x7f | 0x90 | 0xe8 | 0xe9 | 0xeb))
}

/// Does the kernel take the first instruction for another one?
#[cfg(not(target_arch = "x86_64"))]
pub fn mistaken(_: &[u8]) -> bool {
    false
}

/// What follows an opcode of one byte, by its value (Intel SDM volume 2, appendix A):
/// `m` ModRM; `1` `2` `3` `4` so many bytes; `z` 2 or 4 bytes; `v` 2, 4 or 8 bytes;
/// `o` an address; `b` ModRM and a byte; `w` ModRM and 2 or 4 bytes; `t` `T` as `b`
/// `w`, but only for two of eight; `.` nothing; `x` there is no such instruction.
#[cfg(target_arch = "x86_64")]
const ONE_BYTE: &[u8; 256] = b"\
    mmmm1zxxmmmm1zxxmmmm1zxxmmmm1zxxmmmm1zxxmmmm1zxxmmmm1zxxmmmm1zxx\
    xxxxxxxxxxxxxxxx................xxxmxxxxzw1b....1111111111111111\
    bwxbmmmmmmmmmmmm..........x.....oooo....1z......11111111vvvvvvvv\
    bb2.xxbw3.2..1x.mmmmxxx.mmmmmmmm1111111144x1....x.xx..tT......mm";

/// The same behind `0f`.
#[cfg(target_arch = "x86_64")]
const TWO_BYTES: &[u8; 256] = b"\
    mmmmx.....x.xm.bmmmmmmmmmmmmmmmmmmmmxxxxmmmmmmmm......x.xxxxxxxx\
    mmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmbbbbmmm.mmmmmmmm\
    4444444444444444mmmmmmmmmmmmmmmm...mbmxx...mbmmmmmmmmmmmmmbmmmmm\
    mmbmbbbm........mmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmm";

/// Length of the first instruction.
#[cfg(target_arch = "x86_64")]
fn length(code: &[u8]) -> Option<usize> {
    let byte = |at: usize| code.get(at).copied();
    let (mut at, mut narrow, mut short_address, mut wide) = (0, false, false, false);
    loop {
        match byte(at)? {
            0x66 => narrow = true,
            0x67 => short_address = true,
            0xf0 | 0xf2 | 0xf3 | 0x26 | 0x2e | 0x36 | 0x3e | 0x64 | 0x65 => {}
            _ => break,
        }
        at += 1;
    }
    // REX
    if byte(at)? & 0xf0 == 0x40 {
        wide = byte(at)? & 8 != 0;
        at += 1;
    }
    // Which table, and where the opcode is. VEX and EVEX name the table by number.
    let (map, opcode) = match (byte(at)?, byte(at + 1)) {
        (0x0f, Some(0x38)) => (2, at + 2),
        (0x0f, Some(0x3a)) => (3, at + 2),
        (0x0f, _) => (1, at + 1),
        (0xc5, _) => (1, at + 2),
        (0xc4, Some(map)) => (map & 0x1f, at + 3),
        (0x62, Some(map)) => (map & 7, at + 4),
        _ => (0, at),
    };
    let operands = match map {
        0 => ONE_BYTE[usize::from(byte(opcode)?)],
        1 => TWO_BYTES[usize::from(byte(opcode)?)],
        3 => b'b',
        _ => b'm',
    };
    let z = if narrow { 2 } else { 4 };
    let (modrm, mut immediate) = match operands {
        b'.' => (false, 0),
        b'm' => (true, 0),
        b'b' | b't' => (true, 1),
        b'w' | b'T' => (true, z),
        b'z' => (false, z),
        b'v' => (false, if wide { 8 } else { z }),
        b'o' => (false, if short_address { 4 } else { 8 }),
        b'1'..=b'4' => (false, usize::from(operands - b'0')),
        _ => return None,
    };
    let mut end = opcode + 1;
    if modrm {
        let m = byte(end)?;
        end += 1;
        // `test` has the constant, `not`, `neg`, `mul` and `div` have none.
        if matches!(operands, b't' | b'T') && m >> 3 & 7 > 1 {
            immediate = 0;
        }
        let (mode, mut base) = (m >> 6, m & 7);
        if mode != 3 && base == 4 {
            base = byte(end)? & 7;
            end += 1;
        }
        end += match mode {
            0 if base == 5 => 4,
            1 => 1,
            2 => 4,
            _ => 0,
        };
    }
    Some(end + immediate)
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;

    #[test]
    fn instructions_that_the_kernel_mistakes() {
        // vpcmpeqd, vpcmpeqb, vpbroadcastb (EVEX), vpor, vzeroupper
        for code in ["c5f976c0", "c4e17974c0", "62f27d287ac6", "c5f9ebc1", "c5f877", "67c5fa7f07"] {
            assert!(mistaken(&bytes(code)), "{code}");
        }
        // vmovd, vpxor, je, nop, call, endbr64
        for code in ["c5f96ec6", "c5f9efc0", "7402", "90", "e811223344", "f30f1efa", "c5", ""] {
            assert!(!mistaken(&bytes(code)), "{code}");
        }
    }

    fn bytes(code: &str) -> Vec<u8> {
        (0..code.len())
            .step_by(2)
            .map(|i| u8::from_str_radix(&code[i..i + 2], 16).expect("two hexadecimal digits"))
            .collect()
    }

    #[test]
    fn lengths() {
        for code in [
            "55",
            "f30f1efa",
            "4889e5",
            "897dfc",
            "48b81122334455667788",
            "b811223344",
            "66b81122",
            "488d0511223344",
            "8b84b511223344",
            "8b04ad11223344",
            "8b042511223344",
            "f6450801",
            "f75508",
            "f7c111223344",
            "66f7c11122",
            "e811223344",
            "0f8411223344",
            "7405",
            "c21000",
            "c8100000",
            "a11122334455667788",
            "67a111223344",
            "c5f877",
            "c5fd6f4708",
            "c4e37d190701",
            "c4e2791800",
            "62f1fe486f4701",
            "62f37d483f460501",
            "660f3a0fc108",
            "660f3800c1",
            "0fa2",
            "0fbae004",
            "f0480fb10f",
            "64488b042528000000",
            "ff2511223344",
            "6690",
            "0f0b",
        ] {
            let bytes = bytes(code);
            let padded: Vec<u8> = bytes.iter().copied().chain([0x90; 16]).collect();
            assert_eq!(length(&padded), Some(bytes.len()), "{code}");
            (0..bytes.len()).for_each(|cut| _ = length(&bytes[..cut]));
        }
        assert_eq!(length(&[0x06]), None);
        let code = [0x55, 0x48, 0x89, 0xe5, 0x06];
        assert_eq!(
            [0, 1, 2, 4, 5].map(|at| begins(&code, at)),
            [Some(true), Some(true), Some(false), Some(true), None]
        );
    }
}
