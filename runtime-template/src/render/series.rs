//! Time series: values per interval, as a plot or as JSON.
//!
//! In: the ring buffers of all CPUs, one after the other. Out: one point per
//! interval that holds something, in order of time.

use super::Renderer;
use super::text::{push_fraction, push_int};
use crate::maps::word;
use btc_payload::layout::{SERIES_BUCKET, SeriesAgg, ValueType};
use std::collections::BTreeMap;

/// Columns between the two frame lines of a plot.
const WIDTH: usize = 51;
/// Columns before the frame.
const LABEL: usize = 19;

/// Combines the CPUs' buckets: value and count by epoch.
fn points(bytes: &[u8], agg: SeriesAgg, signed: bool, buckets: u32) -> Vec<(u64, i64)> {
    let mut merged: BTreeMap<u64, (i64, u64)> = BTreeMap::new();
    for b in bytes.chunks_exact(SERIES_BUCKET as usize) {
        let (epoch, value, count) = (word(b, 0), word(b, 8) as i64, word(b, 16));
        if count == 0 {
            continue;
        }
        let less = |a: i64, b: i64| if signed { a < b } else { (a as u64) < b as u64 };
        merged
            .entry(epoch)
            .and_modify(|(v, n)| {
                match agg {
                    SeriesAgg::Avg | SeriesAgg::Sum => *v = v.wrapping_add(value),
                    SeriesAgg::Min if less(value, *v) => *v = value,
                    SeriesAgg::Max if less(*v, value) => *v = value,
                    SeriesAgg::Last => *v = value,
                    _ => {}
                }
                *n += count;
            })
            .or_insert((value, count));
    }
    let skip = merged.len().saturating_sub(buckets as usize);
    let mean = |v: i64, n: u64| if signed { v.wrapping_div(n as i64) } else { (v as u64 / n) as i64 };
    merged
        .into_iter()
        .skip(skip)
        .map(|(epoch, (v, n))| (epoch, if agg == SeriesAgg::Avg { mean(v, n) } else { v }))
        .collect()
}

impl Renderer<'_> {
    fn series(&self, ty: &ValueType, bytes: &[u8]) -> Vec<(i64, i64)> {
        let ValueType::Tseries { interval_ns, buckets, agg, signed } = *ty else { return Vec::new() };
        let start = |epoch: u64| epoch.wrapping_mul(interval_ns) as i64;
        points(bytes, agg, signed, buckets).into_iter().map(|(epoch, v)| (start(epoch), v)).collect()
    }

    /// Appends a plot with one line per interval.
    pub fn series_text(&self, out: &mut Vec<u8>, ty: &ValueType, bytes: &[u8]) {
        let points = self.series(ty, bytes);
        let (Some(min), Some(max)) = (points.iter().map(|p| p.1).min(), points.iter().map(|p| p.1).max()) else {
            return;
        };
        let (low, high) = if min == max { (min - 1, max + 1) } else { (min, max) };
        let bounds = |out: &mut Vec<u8>| {
            let start = out.len();
            out.resize(start + LABEL, b' ');
            push_int(out, low, true);
            let mut last = Vec::new();
            push_int(&mut last, high, true);
            out.resize((start + LABEL + WIDTH + 2 - last.len()).max(out.len() + 1), b' ');
            out.extend_from_slice(&last);
            out.push(b'\n');
        };
        bounds(out);
        out.extend_from_slice(b"hh:mm:ss.ns        |");
        out.extend(std::iter::repeat_n(b'_', WIDTH));
        out.extend_from_slice(b"|\n");
        for &(at, value) in &points {
            super::time::format(out, "%H:%M:%S.", at);
            push_fraction(out, at.rem_euclid(1_000_000_000) as u64, 9);
            let span = (i128::from(high) - i128::from(low)).max(1);
            let column = (i128::from(value) - i128::from(low)) * (WIDTH as i128 - 1) / span;
            out.extend_from_slice(b" |");
            for i in 0..WIDTH as i128 {
                out.push(if i == column { b'*' } else { b' ' });
            }
            out.extend_from_slice(b"| ");
            push_int(out, value, true);
            out.push(b'\n');
        }
        out.extend(std::iter::repeat_n(b' ', LABEL));
        out.push(b'v');
        out.extend(std::iter::repeat_n(b'_', WIDTH));
        out.extend_from_slice(b"v\n");
        bounds(out);
    }

    /// Appends an array of objects.
    pub fn series_json(&self, out: &mut Vec<u8>, ty: &ValueType, bytes: &[u8]) {
        out.push(b'[');
        for (i, &(at, value)) in self.series(ty, bytes).iter().enumerate() {
            out.extend_from_slice(if i == 0 { b"{\"interval_start\":\"" } else { b",{\"interval_start\":\"" });
            super::time::format(out, "%Y-%m-%d %H:%M:%S.", at);
            push_fraction(out, at.rem_euclid(1_000_000_000) as u64, 9);
            out.extend_from_slice(b"\",\"value\":");
            push_int(out, value, true);
            out.push(b'}');
        }
        out.push(b']');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::tests::renderer;
    use btc_payload::manifest::Manifest;

    fn bytes(buckets: &[[u64; 3]]) -> Vec<u8> {
        buckets.iter().flatten().flat_map(|w| w.to_le_bytes()).collect()
    }

    #[test]
    fn cpus_are_merged_by_interval() {
        let b = bytes(&[[5, 10, 1], [6, 3, 1], [0, 0, 0], [5, 4, 2]]);
        assert_eq!(points(&b, SeriesAgg::Sum, true, 9), [(5, 14), (6, 3)]);
        assert_eq!(points(&b, SeriesAgg::Avg, true, 9), [(5, 4), (6, 3)]);
        assert_eq!(points(&b, SeriesAgg::Max, true, 1), [(6, 3)]);
    }

    #[test]
    fn plot() {
        let manifest = Manifest::default();
        let ty = ValueType::Tseries { interval_ns: 1_000_000_000, buckets: 2, agg: SeriesAgg::Last, signed: true };
        let mut out = Vec::new();
        renderer(&manifest).series_text(&mut out, &ty, &bytes(&[[7, 5, 1]]));
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], format!("{}4{}6", " ".repeat(19), " ".repeat(51)));
        assert!(lines[2].ends_with(&format!("07.000000000 |{}*{}| 5", " ".repeat(25), " ".repeat(25))));
    }
}
