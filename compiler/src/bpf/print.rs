//! BPF code as text, in the notation of LLVM and of the verifier's log.
//!
//! Works from the encoded instructions, so that it also tells when the encoder
//! is wrong. Jump targets get labels, relocated instructions their symbol.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::clif::{Module, Symbol, SymbolId};
use crate::helper::Helper;

use super::Code;
use super::insn::{self, ALU_OPS, AluOp, Insn, JmpOp, class};

/// How to name the numbers of symbols.
type Namer<'a> = dyn Fn(Symbol) -> Option<String> + 'a;

/// What to print where the code of a source location starts.
type Source<'a> = dyn Fn(u32) -> Option<String> + 'a;

/// A function's code, ready to print.
pub struct Listing<'a> {
    code: &'a Code,
    module: &'a Module,
    name: &'a Namer<'a>,
    source: Option<&'a Source<'a>>,
}

impl<'a> Listing<'a> {
    /// Prints `code`; `name` may give a symbol a better name than its number.
    pub fn new(code: &'a Code, module: &'a Module, name: &'a Namer<'a>) -> Self {
        Listing { code, module, name, source: None }
    }

    /// Also prints what `source` makes of each source location, as a comment.
    #[must_use]
    pub fn with_source(mut self, source: &'a Source<'a>) -> Self {
        self.source = Some(source);
        self
    }

    /// The comment before instruction `at`.
    fn source_at(&self, at: usize) -> Option<String> {
        let line = self.code.lines.iter().find(|line| line.insn == at)?;
        self.source.and_then(|source| source(line.srcloc))
    }

    fn symbol(&self, id: SymbolId) -> String {
        let Some(symbol) = self.module.symbols.get(id) else {
            return format!("symbol {}", id.0);
        };
        if let Some(name) = (self.name)(symbol) {
            return name;
        }
        match symbol {
            Symbol::Subprog(func) if (func.0 as usize) < self.module.funcs.len() => self.module.func(func).name.clone(),
            _ => symbol.to_string(),
        }
    }
}

impl fmt::Display for Listing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let insns = &self.code.insns;
        let labels = labels(insns);
        let relocs: BTreeMap<usize, SymbolId> =
            self.code.relocs.iter().map(|reloc| (reloc.insn, reloc.symbol)).collect();
        let mut at = 0;
        while at < insns.len() {
            if let Some(label) = labels.get(&(at as i64)) {
                writeln!(f, "L{label}:")?;
            }
            if let Some(text) = self.source_at(at) {
                writeln!(f, "; {text}")?;
            }
            let symbol = relocs.get(&at).map(|&id| self.symbol(id));
            let second = insns.get(at + 1).copied();
            let text = instruction(insns[at], second, symbol.as_deref(), &|off| {
                let target = at as i64 + 1 + i64::from(off);
                labels.get(&target).map_or_else(|| format!("{off:+}"), |label| format!("L{label}"))
            });
            writeln!(f, "{at:5}: {text}")?;
            at += if insns[at].opcode == insn::LD_IMM64 { 2 } else { 1 };
        }
        Ok(())
    }
}

/// The targets of jumps, numbered in order.
fn labels(insns: &[Insn]) -> BTreeMap<i64, usize> {
    let targets: BTreeSet<i64> = insns
        .iter()
        .enumerate()
        .filter(|(_, insn)| is_jump(**insn))
        .map(|(at, insn)| at as i64 + 1 + i64::from(insn.off))
        .collect();
    targets.into_iter().zip(0..).collect()
}

fn is_jump(insn: Insn) -> bool {
    matches!(insn.class(), class::JMP | class::JMP32) && insn.opcode != insn::CALL && insn.opcode != insn::EXIT
}

fn instruction(insn: Insn, second: Option<Insn>, symbol: Option<&str>, target: &dyn Fn(i16) -> String) -> String {
    let comment = symbol.map(|symbol| format!("  ; {symbol}")).unwrap_or_default();
    let text = match insn.class() {
        class::ALU | class::ALU64 => alu(insn),
        class::JMP | class::JMP32 => return jump(insn, symbol, target),
        class::LD => match symbol {
            Some(symbol) => return format!("r{} = {symbol} ll", insn.dst),
            None => format!("r{} = {:#x} ll", insn.dst, imm64(insn, second)),
        },
        class::LDX => format!("r{} = {}", insn.dst, memory(insn, insn.src)),
        class::ST => format!("{} = {}", memory(insn, insn.dst), insn.imm),
        _ if insn.opcode & 0xe0 == insn::MODE_ATOMIC => atomic(insn),
        _ => format!("{} = r{}", memory(insn, insn.dst), insn.src),
    };
    text + &comment
}

fn imm64(first: Insn, second: Option<Insn>) -> u64 {
    let high = second.map_or(0, |second| second.imm as u32);
    u64::from(high) << 32 | u64::from(first.imm as u32)
}

fn memory(insn: Insn, base: u8) -> String {
    let ty = match insn.opcode & 0x18 {
        0x00 => "u32",
        0x08 => "u16",
        0x10 => "u8",
        _ => "u64",
    };
    let sign = if insn.off < 0 { '-' } else { '+' };
    format!("*({ty} *)(r{base} {sign} {})", insn.off.unsigned_abs())
}

fn alu(insn: Insn) -> String {
    let wide = insn.class() == class::ALU64;
    let prefix = if wide { 'r' } else { 'w' };
    let dst = format!("{prefix}{}", insn.dst);
    let src = match insn.opcode & insn::SRC_X {
        0 => insn.imm.to_string(),
        _ => format!("{prefix}{}", insn.src),
    };
    let Some(&op) = ALU_OPS.get(usize::from(insn.opcode >> 4)) else {
        return format!("unknown {:#04x}", insn.opcode);
    };
    let sign = match op {
        AluOp::Neg => return format!("{dst} = -{dst}"),
        AluOp::End => return format!("r{0} = be{1} r{0}", insn.dst, insn.imm),
        AluOp::Mov => "",
        AluOp::Add => "+",
        AluOp::Sub => "-",
        AluOp::Mul => "*",
        AluOp::Div => "/",
        AluOp::Or => "|",
        AluOp::And => "&",
        AluOp::Lsh => "<<",
        AluOp::Rsh => ">>",
        AluOp::Mod => "%",
        AluOp::Xor => "^",
        AluOp::Arsh => "s>>",
    };
    format!("{dst} {sign}= {src}")
}

fn atomic(insn: Insn) -> String {
    let place = memory(insn, insn.dst);
    let src = insn.src;
    match insn.imm {
        insn::ATOMIC_XCHG => format!("r{src} = xchg({place}, r{src})"),
        insn::ATOMIC_CMPXCHG => format!("r0 = cmpxchg({place}, r0, r{src})"),
        imm => {
            let name = match imm & !insn::ATOMIC_FETCH {
                0x00 => "+=",
                0x40 => "|=",
                0x50 => "&=",
                0xa0 => "^=",
                _ => "?=",
            };
            match imm & insn::ATOMIC_FETCH {
                0 => format!("lock {place} {name} r{src}"),
                _ => format!("r{src} = fetch {place} {name} r{src}"),
            }
        }
    }
}

fn jump(insn: Insn, symbol: Option<&str>, target: &dyn Fn(i16) -> String) -> String {
    match insn.opcode {
        insn::EXIT => return "exit".to_owned(),
        insn::JA => return format!("goto {}", target(insn.off)),
        insn::CALL => {
            let helper = || Helper::by_id(insn.imm as u32).map(|row| format!("bpf_{}", row.name));
            return match symbol {
                Some(symbol) => format!("call {symbol}"),
                None => format!("call {}", helper().unwrap_or_else(|| insn.imm.to_string())),
            };
        }
        _ => {}
    }
    let prefix = if insn.class() == class::JMP { 'r' } else { 'w' };
    let right = match insn.opcode & insn::SRC_X {
        0 => insn.imm.to_string(),
        _ => format!("{prefix}{}", insn.src),
    };
    let sign = match JmpOp::from_bits(insn.opcode & 0xf0) {
        Some(JmpOp::Eq) => "==",
        Some(JmpOp::Ne) => "!=",
        Some(JmpOp::Gt) => ">",
        Some(JmpOp::Ge) => ">=",
        Some(JmpOp::Lt) => "<",
        Some(JmpOp::Le) => "<=",
        Some(JmpOp::Sgt) => "s>",
        Some(JmpOp::Sge) => "s>=",
        Some(JmpOp::Slt) => "s<",
        Some(JmpOp::Sle) => "s<=",
        None => "?",
    };
    format!("if {prefix}{} {sign} {right} goto {}", insn.dst, target(insn.off))
}
