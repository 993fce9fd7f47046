//! Kernel addresses to names, from `/proc/kallsyms`.
//!
//! In: addresses. Out: symbol and offset. The file is 5 MB of text that takes
//! the kernel tens of milliseconds to print, so a set of addresses is resolved
//! in one pass that keeps nothing but the answers; only when questions keep
//! coming is the whole table read into memory.

use crate::target::functions::each_kernel_symbol;
use std::collections::HashMap;

/// Passes over the file before the table is kept.
const PASSES: u32 = 3;

/// A resolved address: symbol and distance from it.
pub type Resolved = Option<(Box<str>, u64)>;

/// See the head of this file.
#[derive(Default)]
pub struct KernelSymbols {
    answers: HashMap<u64, Resolved>,
    passes: u32,
    /// Address and position of the name in `names`, sorted.
    table: Vec<(u64, u32)>,
    names: String,
}

impl KernelSymbols {
    /// Resolves addresses that will be asked for soon, in one pass.
    pub fn prepare(&mut self, addresses: impl Iterator<Item = u64>) {
        let mut wanted: Vec<u64> = addresses.filter(|a| !self.answers.contains_key(a)).collect();
        wanted.sort_unstable();
        wanted.dedup();
        if wanted.is_empty() {
            return;
        }
        self.passes += 1;
        if self.passes > PASSES {
            self.read_table();
            for a in wanted {
                let found = self.search(a);
                self.answers.insert(a, found);
            }
            return;
        }
        // Nearest symbol at or below each address. A symbol is noted at the
        // first wanted address above it only; a sweep carries it upwards.
        let mut best: Vec<Option<(u64, Box<str>)>> = vec![None; wanted.len()];
        let pass = each_kernel_symbol(&mut |address, kind, name, _| {
            let at = wanted.partition_point(|&w| w < address);
            if is_code(kind) && at < wanted.len() && best[at].as_ref().is_none_or(|b| b.0 < address) {
                best[at] = Some((address, name.into()));
            }
            true
        });
        if pass.is_err() {
            best.fill(None);
        }
        let mut carried: Option<(u64, Box<str>)> = None;
        for (address, found) in wanted.into_iter().zip(best) {
            if found.as_ref().is_some_and(|f| carried.as_ref().is_none_or(|c| c.0 < f.0)) {
                carried = found;
            }
            let answer = carried.as_ref().filter(|c| c.0 != 0).map(|(start, name)| (name.clone(), address - start));
            self.answers.insert(address, answer);
        }
    }

    /// Symbol of an address.
    pub fn name(&mut self, address: u64) -> Resolved {
        if !self.answers.contains_key(&address) {
            self.prepare(std::iter::once(address));
        }
        self.answers.get(&address).cloned().flatten()
    }

    fn read_table(&mut self) {
        if !self.table.is_empty() {
            return;
        }
        let (table, names) = (&mut self.table, &mut self.names);
        let read = each_kernel_symbol(&mut |address, kind, name, _| {
            if is_code(kind) && address != 0 {
                table.push((address, names.len() as u32));
                names.push_str(name);
                names.push('\n');
            }
            true
        });
        if read.is_err() {
            table.clear();
        }
        // Stable: of several names of one address the first one stays first.
        table.sort_by_key(|t| t.0);
        table.dedup_by_key(|t| t.0);
    }

    fn search(&self, address: u64) -> Resolved {
        let (start, name) = *self.table.get(self.table.partition_point(|t| t.0 <= address).checked_sub(1)?)?;
        let name = self.names.get(name as usize..)?.lines().next()?;
        Some((name.into(), address - start))
    }
}

fn is_code(kind: u8) -> bool {
    matches!(kind, b't' | b'T' | b'w' | b'W')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_search() {
        let symbols =
            KernelSymbols { table: vec![(100, 0), (200, 2)], names: "a\nbc\n".into(), ..KernelSymbols::default() };
        assert_eq!(symbols.search(150), Some(("a".into(), 50)));
        assert_eq!(symbols.search(200), Some(("bc".into(), 0)));
        assert_eq!(symbols.search(99), None);
    }
}
