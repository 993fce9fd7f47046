//! Maps read from user space: entries, per-CPU values combined, sorted.
//!
//! In: a map's descriptor and its description. Out: entries whose values have
//! the layout of one CPU's value. Knows nothing of how they are shown.

use anyhow::{Result, bail};
use btc_payload::layout::{ValueType, fields_layout};
use btc_payload::manifest::{Map, MapKind, key_hash};
use libbpf_rs::libbpf_sys as bpf;
use std::cmp::Ordering;
use std::os::fd::{AsRawFd, BorrowedFd};

/// A map entry. Time series keep one value per CPU, one after the other; all
/// other values are combined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Key bytes.
    pub key: Vec<u8>,
    /// Value bytes.
    pub value: Vec<u8>,
}

/// Is a value kept per CPU?
pub fn is_per_cpu(kind: MapKind) -> bool {
    matches!(kind, MapKind::PerCpuHash | MapKind::PerCpuLruHash | MapKind::PerCpuArray)
}

fn is_array(kind: MapKind) -> bool {
    matches!(kind, MapKind::Array | MapKind::PerCpuArray)
}

/// Bytes of one CPU's value as the kernel copies it: a multiple of eight where
/// there are several.
fn stride(map: &Map) -> usize {
    let size = map.value_size() as usize;
    if is_per_cpu(map.kind) { size.next_multiple_of(8) } else { size }
}

fn copies(map: &Map, cpus: u32) -> usize {
    if is_per_cpu(map.kind) { cpus as usize } else { 1 }
}

/// Processes whose user stacks or addresses are keys of a map.
pub fn user_processes(fd: BorrowedFd<'_>, long: Option<BorrowedFd<'_>>, map: &Map) -> Vec<u32> {
    let places = user_process_offsets(&map.key, 0);
    if places.is_empty() {
        return Vec::new();
    }
    let pid = |key: &[u8], at: u32| crate::event::integer(part(key, at as usize, 4), 4, false) as u32;
    let full = keys(fd, map).into_iter().filter_map(|k| full_key(long, map, k));
    let mut found: Vec<u32> = full.flat_map(|k| places.iter().map(|&at| pid(&k, at)).collect::<Vec<_>>()).collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// Where process ids of user stacks and addresses lie within a value.
pub fn user_process_offsets(ty: &ValueType, base: u32) -> Vec<u32> {
    match ty {
        ValueType::Stack { user: true, .. } => vec![base + 4],
        ValueType::UserSymbol => vec![base + 8],
        ValueType::Tuple(elems) => {
            let (offsets, _) = fields_layout(elems.iter());
            elems.iter().zip(offsets).flat_map(|(t, at)| user_process_offsets(t, base + at)).collect()
        }
        _ => Vec::new(),
    }
}

/// All keys. Entries that vanish meanwhile are no error.
fn keys(fd: BorrowedFd<'_>, map: &Map) -> Vec<Vec<u8>> {
    let size = map.key_size() as usize;
    let (mut found, mut next) = (Vec::new(), vec![0u8; size]);
    let mut last: Option<Vec<u8>> = None;
    // A map that is written to while it is walked may repeat itself forever.
    while found.len() < 1 << 24 {
        let from = last.as_ref().map_or(std::ptr::null(), |k| k.as_ptr());
        // SAFETY: both pointers are null or point at `size` bytes.
        if unsafe { bpf::bpf_map_get_next_key(fd.as_raw_fd(), from.cast(), next.as_mut_ptr().cast()) } != 0 {
            break;
        }
        found.push(next.clone());
        last = Some(next.clone());
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// The key that a kernel's key stands for; `long` is the map of long keys.
fn full_key(long: Option<BorrowedFd<'_>>, map: &Map, key: Vec<u8>) -> Option<Vec<u8>> {
    if !map.hashes_keys() {
        return Some(key);
    }
    let mut full = vec![0u8; map.key.size() as usize];
    // SAFETY: the key has eight bytes, the value the size of the map's keys.
    let r = unsafe { bpf::bpf_map_lookup_elem(long?.as_raw_fd(), key.as_ptr().cast(), full.as_mut_ptr().cast()) };
    (r == 0).then_some(full)
}

/// Removes the long keys of entries that are gone.
pub fn forget_keys(fd: BorrowedFd<'_>, long: BorrowedFd<'_>, keys_map: &Map, map: &Map, cpus: u32) {
    for key in keys(long, keys_map) {
        if raw_value(fd, map, &key, cpus).is_none() {
            // SAFETY: the key has eight bytes. One that is gone already is no error.
            unsafe { bpf::bpf_map_delete_elem(long.as_raw_fd(), key.as_ptr().cast()) };
        }
    }
}

/// The value of a key, all CPUs one after the other.
fn raw_value(fd: BorrowedFd<'_>, map: &Map, key: &[u8], cpus: u32) -> Option<Vec<u8>> {
    let mut value = vec![0u8; stride(map) * copies(map, cpus)];
    // SAFETY: key and value have the sizes of the map.
    let r = unsafe { bpf::bpf_map_lookup_elem(fd.as_raw_fd(), key.as_ptr().cast(), value.as_mut_ptr().cast()) };
    (r == 0).then_some(value)
}

/// Reads all entries, combined and sorted.
pub fn read(fd: BorrowedFd<'_>, long: Option<BorrowedFd<'_>>, map: &Map, cpus: u32) -> Vec<Entry> {
    let mut entries: Vec<Entry> = keys(fd, map)
        .into_iter()
        .filter_map(|key| {
            let raw = raw_value(fd, map, &key, cpus)?;
            Some(Entry { value: combine(&map.value, &raw, stride(map)), key: full_key(long, map, key)? })
        })
        .collect();
    sort(map, &mut entries);
    entries
}

/// The combined value of one key; all zero when there is none.
pub fn read_one(fd: BorrowedFd<'_>, map: &Map, key: &[u8], cpus: u32) -> Vec<u8> {
    let mut whole = if map.hashes_keys() { key_hash(key).to_le_bytes().to_vec() } else { key.to_vec() };
    whole.resize(map.key_size() as usize, 0);
    match raw_value(fd, map, &whole, cpus) {
        Some(raw) => combine(&map.value, &raw, stride(map)),
        None => vec![0; map.value_size() as usize],
    }
}

/// Sums of a per-CPU array of counters.
pub fn read_counters(fd: BorrowedFd<'_>, count: u32, cpus: u32) -> Vec<u64> {
    (0..count)
        .map(|i| {
            let mut value = vec![0u8; 8 * cpus as usize];
            // SAFETY: the key has four bytes, the value eight per possible CPU.
            let r =
                unsafe { bpf::bpf_map_lookup_elem(fd.as_raw_fd(), (&raw const i).cast(), value.as_mut_ptr().cast()) };
            if r != 0 { 0 } else { value.chunks_exact(8).map(|c| word(c, 0)).fold(0, u64::wrapping_add) }
        })
        .collect()
}

/// Removes all entries.
pub fn clear(fd: BorrowedFd<'_>, map: &Map, cpus: u32) -> Result<()> {
    if is_array(map.kind) {
        return zero(fd, map, cpus);
    }
    for key in keys(fd, map) {
        // SAFETY: the key has the size of the map's keys.
        let r = unsafe { bpf::bpf_map_delete_elem(fd.as_raw_fd(), key.as_ptr().cast()) };
        if r != 0 && r != -libc::ENOENT {
            bail!("cannot clear {}: {}", map.name, std::io::Error::from_raw_os_error(-r));
        }
    }
    Ok(())
}

/// Sets all values to zero.
pub fn zero(fd: BorrowedFd<'_>, map: &Map, cpus: u32) -> Result<()> {
    let zeros = vec![0u8; stride(map) * copies(map, cpus)];
    for key in keys(fd, map) {
        // BPF_EXIST: what was deleted meanwhile does not come back.
        let flags = u64::from(if is_array(map.kind) { bpf::BPF_ANY } else { bpf::BPF_EXIST });
        // SAFETY: key and value have the sizes of the map.
        let r = unsafe { bpf::bpf_map_update_elem(fd.as_raw_fd(), key.as_ptr().cast(), zeros.as_ptr().cast(), flags) };
        if r != 0 && r != -libc::ENOENT {
            bail!("cannot zero {}: {}", map.name, std::io::Error::from_raw_os_error(-r));
        }
    }
    Ok(())
}

/// Sets an array of one 64-bit word.
pub fn set_word(fd: BorrowedFd<'_>, value: u64) -> std::io::Result<()> {
    let key = 0u32;
    let (key, value) = ((&raw const key).cast(), (&raw const value).cast());
    // SAFETY: the key has four bytes, the value eight.
    let r = unsafe { bpf::bpf_map_update_elem(fd.as_raw_fd(), key, value, u64::from(bpf::BPF_ANY)) };
    if r < 0 { Err(std::io::Error::from_raw_os_error(-r)) } else { Ok(()) }
}

/// The 64-bit word at an offset; 0 beyond the end.
pub fn word(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).map_or(0, |b| {
        let mut w = [0u8; 8];
        w.copy_from_slice(b);
        u64::from_le_bytes(w)
    })
}

/// Combines the values of all CPUs.
fn combine(ty: &ValueType, raw: &[u8], stride: usize) -> Vec<u8> {
    use ValueType::*;
    let size = ty.size() as usize;
    let mut parts = raw.chunks_exact(stride.max(1));
    let Some(first) = parts.next() else { return raw.to_vec() };
    let mut out = first[..size.min(first.len())].to_vec();
    for part in parts {
        match ty {
            Count | Sum { .. } | Avg { .. } | Stats { .. } | Hist { .. } | Lhist { .. } => {
                for at in (0..size).step_by(8) {
                    let sum = word(&out, at).wrapping_add(word(part, at));
                    out[at..at + 8].copy_from_slice(&sum.to_le_bytes());
                }
            }
            Min { signed } => extreme(&mut out, part, *signed, Ordering::Less),
            Max { signed } => extreme(&mut out, part, *signed, Ordering::Greater),
            Tseries { .. } => out.extend_from_slice(&part[..size]),
            // Other values have no meaning per CPU; the first one that is set stands.
            _ if out.iter().all(|&b| b == 0) => out.copy_from_slice(&part[..size]),
            _ => {}
        }
    }
    out
}

fn extreme(out: &mut [u8], part: &[u8], signed: bool, wanted: Ordering) {
    let (ours, theirs) = (word(out, 0), word(part, 0));
    let order = if signed { (theirs as i64).cmp(&(ours as i64)) } else { theirs.cmp(&ours) };
    if word(part, 8) != 0 && (word(out, 8) == 0 || order == wanted) {
        out[..16].copy_from_slice(&part[..16]);
    }
}

/// Sorts by value, ascending, where values have an order, then by key.
pub fn sort(map: &Map, entries: &mut [Entry]) {
    entries
        .sort_by(|a, b| compare_values(&map.value, &a.value, &b.value).then_with(|| compare(&map.key, &a.key, &b.key)));
}

fn compare_values(ty: &ValueType, a: &[u8], b: &[u8]) -> Ordering {
    use ValueType::*;
    let total = |v: &[u8]| (0..v.len() / 8).map(|i| word(v, i * 8)).fold(0u64, u64::wrapping_add);
    match ty {
        Int { .. } | Bool | Enum { .. } | Pointer => compare(ty, a, b),
        Count => word(a, 0).cmp(&word(b, 0)),
        Sum { signed } | Min { signed } | Max { signed } => order(word(a, 0), word(b, 0), *signed),
        Avg { signed } | Stats { signed } => order(average(a, *signed), average(b, *signed), *signed),
        Hist { .. } | Lhist { .. } => total(a).cmp(&total(b)),
        _ => Ordering::Equal,
    }
}

fn order(a: u64, b: u64, signed: bool) -> Ordering {
    if signed { (a as i64).cmp(&(b as i64)) } else { a.cmp(&b) }
}

/// Total divided by count.
pub fn average(value: &[u8], signed: bool) -> u64 {
    match (word(value, 0), word(value, 8)) {
        (_, 0) => 0,
        (total, count) if signed => (total as i64).wrapping_div(count as i64) as u64,
        (total, count) => total / count,
    }
}

/// Order of two values of a type.
pub fn compare(ty: &ValueType, a: &[u8], b: &[u8]) -> Ordering {
    use ValueType::*;
    match ty {
        Int { size, signed } | Enum { size, signed, .. } => {
            let get = |v: &[u8]| crate::event::integer(v, u32::from(*size), *signed);
            if *signed { get(a).cmp(&get(b)) } else { (get(a) as u64).cmp(&(get(b) as u64)) }
        }
        Pointer | KernelSymbol | Timestamp { .. } | SyscallName | ProbeName | FunctionName => {
            word(a, 0).cmp(&word(b, 0))
        }
        Tuple(elems) => compare_fields(elems.iter(), a, b),
        Record(elems) => compare_fields(elems.iter().map(|(_, t)| t), a, b),
        Array { elem, len } => {
            let size = elem.size() as usize;
            (0..*len as usize)
                .map(|i| compare(elem, part(a, i * size, size), part(b, i * size, size)))
                .find(|o| o.is_ne())
                .unwrap_or(Ordering::Equal)
        }
        _ => a.cmp(b),
    }
}

fn part(bytes: &[u8], at: usize, len: usize) -> &[u8] {
    bytes.get(at..at + len).unwrap_or(&[])
}

fn compare_fields<'a>(types: impl Iterator<Item = &'a ValueType> + Clone, a: &[u8], b: &[u8]) -> Ordering {
    let (offsets, _) = fields_layout(types.clone());
    types
        .zip(offsets)
        .map(|(t, at)| compare(t, part(a, at as usize, t.size() as usize), part(b, at as usize, t.size() as usize)))
        .find(|o| o.is_ne())
        .unwrap_or(Ordering::Equal)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(w: &[u64]) -> Vec<u8> {
        w.iter().flat_map(|w| w.to_le_bytes()).collect()
    }

    #[test]
    fn cpus_are_combined() {
        assert_eq!(combine(&ValueType::Count, &words(&[3, 4]), 8), words(&[7]));
        assert_eq!(combine(&ValueType::Avg { signed: true }, &words(&[3, 1, 5, 2]), 16), words(&[8, 3]));
        let max = ValueType::Max { signed: true };
        assert_eq!(combine(&max, &words(&[u64::MAX, 1, 0, 0, 7, 1]), 16), words(&[7, 1]));
        let min = ValueType::Min { signed: true };
        assert_eq!(combine(&min, &words(&[5, 1, u64::MAX, 1, 0, 0]), 16), words(&[u64::MAX, 1]));
        let narrow = ValueType::Int { size: 4, signed: false };
        assert_eq!(combine(&narrow, &words(&[0, 9]), 8), 9u32.to_le_bytes());
    }

    #[test]
    fn order_is_by_value_then_key() {
        let map = Map {
            name: "@m".into(),
            symbol: "m".into(),
            role: btc_payload::manifest::MapRole::Script,
            kind: MapKind::Hash,
            key: ValueType::Int { size: 8, signed: true },
            value: ValueType::Int { size: 8, signed: true },
            max_entries: None,
            buckets: None,
        };
        let entry = |k: i64, v: i64| Entry { key: words(&[k as u64]), value: words(&[v as u64]) };
        let mut entries = vec![entry(1, 5), entry(2, -5), entry(-3, 5)];
        sort(&map, &mut entries);
        assert_eq!(entries, [entry(2, -5), entry(-3, 5), entry(1, 5)]);
    }
}
