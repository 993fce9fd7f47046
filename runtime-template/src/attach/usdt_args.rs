//! Where the arguments of a static user probe lie.
//!
//! In: an operand as the assembler writes it, `-4@8(%rbx,%rcx,2)`: size, sign, `@`,
//! then a constant, a register, or memory. Out: numbers that are patched into the
//! program, which computes `base * has_base + index * scale + constant`, reads what
//! lies there if it is memory, and cuts that to its size.

use btc_payload::manifest::UsdtPart;

/// A number for each [`UsdtPart`], in its order.
pub type Numbers = [u32; UsdtPart::COUNT];

/// The registers of `struct pt_regs` (arch/x86/include/uapi/asm/ptrace.h) in its
/// order, 8 bytes each; without their `r`, except for those with a number.
const REGISTERS: &str = "r15 r14 r13 r12 bp bx r11 r10 r9 r8 ax cx dx si di - ip - - sp";

/// Takes an operand apart. `symbol` knows the link-time addresses of the binary's
/// symbols, `place` is that of the probe: what is addressed relative to the
/// instruction pointer is as far from the probe in memory as in the file.
pub fn parse(text: &str, symbol: impl Fn(&str) -> Option<u64>, place: u64) -> Option<Numbers> {
    let (size, operand) = text.split_once('@').unwrap_or(("8", text));
    let size: i32 = size.parse().ok()?;
    let bytes = size.unsigned_abs();
    if !matches!(bytes, 1 | 2 | 4 | 8) {
        return None;
    }
    let (mut numbers, mut constant) = ([0; UsdtPart::COUNT], 0i64);
    let mut set = |part: UsdtPart, value: u32| numbers[part as usize] = value;
    set(UsdtPart::Shift, 64 - 8 * bytes);
    set(UsdtPart::Signed, u32::from(size < 0));
    if let Some(number) = operand.strip_prefix('$') {
        constant = integer(number)?;
    } else if operand.starts_with('%') {
        set(UsdtPart::Base, register(operand)?);
        set(UsdtPart::HasBase, 1);
    } else {
        set(UsdtPart::Size, bytes);
        let (front, inside) = match operand.split_once('(') {
            Some((front, inside)) => (front, inside.strip_suffix(')')?),
            None => (operand, ""),
        };
        let mut parts = inside.split(',');
        let base = parts.next().unwrap_or("");
        if !base.is_empty() {
            set(UsdtPart::Base, register(base)?);
            set(UsdtPart::HasBase, 1);
        }
        if let Some(index) = parts.next() {
            set(UsdtPart::Index, register(index)?);
            set(UsdtPart::Scale, parts.next().map_or(Some(1), |s| s.parse().ok())?);
        }
        let mut named = false;
        // Terms are split before their signs; a name has none.
        let mut rest = front;
        while !rest.is_empty() {
            let end = rest.char_indices().skip(1).find(|(_, c)| matches!(c, '+' | '-')).map_or(rest.len(), |(i, _)| i);
            let (term, next) = rest.split_at(end);
            let value = match integer(term) {
                Some(number) => number,
                None => {
                    named = true;
                    symbol(term.trim_start_matches('+'))? as i64
                }
            };
            constant = constant.checked_add(value)?;
            rest = next;
        }
        if base == "%rip" {
            // Without a name it counts from the next instruction, whose place is not known.
            constant = constant.checked_sub(if named { place as i64 } else { return None })?;
        }
    }
    // Instructions have 32 bits of constant, which they extend.
    numbers[UsdtPart::Constant as usize] = constant as u32;
    numbers[UsdtPart::High as usize] = (constant.wrapping_sub(i64::from(constant as i32)) >> 32) as u32;
    Some(numbers)
}

/// Decimal or hexadecimal, with a sign.
fn integer(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.trim_start_matches('+')),
    };
    let value = match digits.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok()? as i64,
        None => digits.parse().ok()?,
    };
    if negative { value.checked_neg() } else { Some(value) }
}

/// Offset in `struct pt_regs` of a register by any of its names: rax, eax, ax, al.
fn register(name: &str) -> Option<u32> {
    let name = name.strip_prefix('%')?;
    let bare = match name.as_bytes() {
        [b'r', b'0'..=b'9', ..] => name.trim_end_matches(['d', 'w', 'b']).to_string(),
        [b'a'..=b'd', b'l'] => format!("{}x", &name[..1]),
        [_, _, b'l'] => name[..2].to_string(),
        _ => name.trim_start_matches(['r', 'e']).to_string(),
    };
    let index = REGISTERS.split(' ').position(|r| r == bare)?;
    Some(index as u32 * 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(text: &str) -> Option<Numbers> {
        parse(text, |name| (name == "table").then_some(0x5000), 0x1000)
    }

    /// Base, has base, index, scale, constant, high, size, shift, signed.
    #[test]
    fn operands() {
        for (text, want) in [
            ("-4@$-7", [0, 0, 0, 0, -7i32 as u32, 0, 0, 32, 1]),
            ("8@$0x10", [0, 0, 0, 0, 16, 0, 0, 0, 0]),
            ("4@$4294967295", [0, 0, 0, 0, u32::MAX, 1, 0, 32, 0]),
            ("8@$-579005069656919568", [0, 0, 0, 0, 0xf3f2f1f0, 0xf7f6f5f5, 0, 0, 0]),
            ("-1@%al", [80, 1, 0, 0, 0, 0, 0, 56, 1]),
            ("2@%r13w", [16, 1, 0, 0, 0, 0, 0, 48, 0]),
            ("1@%sil", [104, 1, 0, 0, 0, 0, 0, 56, 0]),
            ("8@%rsp", [152, 1, 0, 0, 0, 0, 0, 0, 0]),
            ("-4@%ebp", [32, 1, 0, 0, 0, 0, 0, 32, 1]),
            ("%rdi", [112, 1, 0, 0, 0, 0, 0, 0, 0]),
            ("-4@(%rbx)", [40, 1, 0, 0, 0, 0, 4, 32, 1]),
            ("8@-136(%rbp)", [32, 1, 0, 0, -136i32 as u32, 0, 8, 0, 0]),
            ("1@8(%rax,%rcx,4)", [80, 1, 88, 4, 8, 0, 1, 56, 0]),
            ("8@16(,%r8,8)", [0, 0, 72, 8, 16, 0, 8, 0, 0]),
            ("4@(%rdi,%rsi)", [112, 1, 104, 1, 0, 0, 4, 32, 0]),
            ("4@table(%rip)", [128, 1, 0, 0, 0x4000, 0, 4, 32, 0]),
            ("4@44+table(%rip)", [128, 1, 0, 0, 0x402c, 0, 4, 32, 0]),
            ("4@table-4(%rip)", [128, 1, 0, 0, 0x3ffc, 0, 4, 32, 0]),
            ("8@table", [0, 0, 0, 0, 0x5000, 0, 8, 0, 0]),
        ] {
            assert_eq!(numbers(text), Some(want), "{text}");
        }
        let bad = [
            "8@%xmm0",
            "8f@%xmm0",
            "3@%eax",
            "8@8(%rip)",
            "8@other(%rip)",
            "8@$99999999999999999999",
            "@",
            "8@%",
            "8@(",
            "8@%ah",
            "8@é+1(%rbx)",
            "8@$-0x8000000000000000",
            "8@0x7fffffffffffffff+1",
        ];
        for text in bad {
            assert_eq!(numbers(text), None, "{text}");
        }
    }
}
