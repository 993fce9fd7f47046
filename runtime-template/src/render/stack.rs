//! Stacks: addresses to frames, a line each, inlined functions above the one they are in.

use super::Renderer;
use super::number::{push_hex, push_u64};
use super::text::push_pointer;
use crate::event::integer;
use crate::maps::word;
use btc_payload::layout::{STACK_HEADER, StackMode};

/// A stack taken from its bytes.
pub struct Frames {
    addresses: Vec<u64>,
    pid: u32,
    user: bool,
    mode: StackMode,
}

impl Frames {
    /// Reads header and addresses; a zero address ends the stack.
    pub fn new(bytes: &[u8], user: bool, mode: StackMode) -> Frames {
        let count = integer(bytes, 4, false) as usize;
        let pid = integer(bytes.get(4..).unwrap_or(&[]), 4, false) as u32;
        let body = bytes.get(STACK_HEADER as usize..).unwrap_or(&[]);
        let addresses: Vec<u64> =
            (0..count.min(body.len() / 8)).map(|i| word(body, i * 8)).take_while(|&a| a != 0).collect();
        Frames { addresses, pid, user, mode }
    }

    /// Addresses in the kernel, for resolving many stacks at once.
    pub fn kernel_addresses(&self) -> impl Iterator<Item = u64> + '_ {
        self.addresses.iter().copied().filter(|_| !self.user && self.mode != StackMode::Raw)
    }
}

impl Renderer<'_> {
    /// Appends a stack: a newline, then a line per frame.
    pub fn stack(&mut self, out: &mut Vec<u8>, frames: &Frames, indent: &[u8]) {
        out.push(b'\n');
        self.kernel.prepare(frames.kernel_addresses());
        for (depth, &address) in frames.addresses.iter().enumerate() {
            match frames.mode {
                StackMode::Raw => {
                    push_hex(out, address);
                    out.push(b'\n');
                }
                StackMode::BuildId => self.build_id_frame(out, frames, address),
                StackMode::Bpftrace | StackMode::Perf if frames.user => {
                    self.user_frame(out, frames, depth, address, indent);
                }
                StackMode::Bpftrace | StackMode::Perf => self.kernel_frame(out, frames.mode, address, indent),
            }
        }
    }

    fn kernel_frame(&mut self, out: &mut Vec<u8>, mode: StackMode, address: u64, indent: &[u8]) {
        push_start(out, mode, address, indent);
        match self.kernel.name(address) {
            Some((name, offset)) => push_symbol(out, &name, offset),
            None => push_pointer(out, address),
        }
        out.push(b'\n');
    }

    /// A line for the function, above it one for each that was inlined into it.
    fn user_frame(&mut self, out: &mut Vec<u8>, frames: &Frames, depth: usize, address: u64, indent: &[u8]) {
        // Where a call returns to may be another line, or another function if the call
        // does not return: callers are looked up by the call's last byte.
        let back = (depth > 0 && address > 0) as u64;
        let found = self.user.frame(frames.pid, address - back);
        let perf = frames.mode == StackMode::Perf;
        for (name, place) in found.inlined.iter().rev() {
            push_start(out, frames.mode, address, indent);
            out.extend_from_slice(if perf { b"" } else { b"[inlined] " });
            out.extend_from_slice(name.as_bytes());
            match perf {
                true => out.extend_from_slice(b" (inlined)"),
                false => push_place(out, place.as_deref()),
            }
            out.push(b'\n');
        }
        push_start(out, frames.mode, address, indent);
        match &found.name {
            Some(name) => push_symbol(out, name, found.offset + back),
            None => push_pointer(out, address),
        }
        match perf {
            true => {
                out.extend_from_slice(b" (");
                out.extend_from_slice(found.module.as_deref().unwrap_or("[unknown]").as_bytes());
                out.push(b')');
            }
            false => push_place(out, found.place.as_deref()),
        }
        out.push(b'\n');
    }

    fn build_id_frame(&mut self, out: &mut Vec<u8>, frames: &Frames, address: u64) {
        match self.user.build_id(frames.pid, address) {
            Some((id, offset)) => {
                for b in id {
                    super::text::push_byte(out, b);
                }
                out.push(b' ');
                push_pointer(out, offset);
            }
            None => push_pointer(out, address),
        }
        out.push(b'\n');
    }
}

/// What a line begins with: perf shows the address in front.
fn push_start(out: &mut Vec<u8>, mode: StackMode, address: u64, indent: &[u8]) {
    if mode != StackMode::Perf {
        return out.extend_from_slice(indent);
    }
    out.push(b'\t');
    push_hex(out, address);
    out.push(b' ');
}

fn push_place(out: &mut Vec<u8>, place: Option<&str>) {
    if let Some(place) = place {
        out.push(b'@');
        out.extend_from_slice(place.as_bytes());
    }
}

fn push_symbol(out: &mut Vec<u8>, name: &str, offset: u64) {
    out.extend_from_slice(name.as_bytes());
    out.push(b'+');
    push_u64(out, offset);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::tests::renderer;
    use btc_payload::manifest::Manifest;

    fn bytes(pid: u32, addresses: &[u64]) -> Vec<u8> {
        let mut out = (addresses.len() as u32).to_le_bytes().to_vec();
        out.extend_from_slice(&pid.to_le_bytes());
        out.extend_from_slice(&[0; 8]);
        out.extend(addresses.iter().flat_map(|a| a.to_le_bytes()));
        out
    }

    #[test]
    fn modes() {
        let manifest = Manifest::default();
        let show = |mode, user| {
            let mut out = Vec::new();
            let frames = Frames::new(&bytes(1, &[0x10, 0x20, 0, 0x30]), user, mode);
            renderer(&manifest).stack(&mut out, &frames, b"        ");
            String::from_utf8(out).unwrap()
        };
        assert_eq!(show(StackMode::Raw, false), "\n10\n20\n");
        assert_eq!(show(StackMode::BuildId, true), "\n0x10\n0x20\n");
        assert_eq!(show(StackMode::Bpftrace, true), "\n        0x10\n        0x20\n");
        assert_eq!(show(StackMode::Perf, true), "\n\t10 0x10 ([unknown])\n\t20 0x20 ([unknown])\n");
    }

    #[test]
    fn counts_beyond_the_bytes_are_cut() {
        let mut b = bytes(0, &[1, 2]);
        b[0] = 200;
        assert_eq!(Frames::new(&b, false, StackMode::Raw).addresses, [1, 2]);
        assert!(Frames::new(&[], false, StackMode::Raw).addresses.is_empty());
    }
}
