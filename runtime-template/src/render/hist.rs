//! Histograms: bars for people, buckets for programs.

use super::number::{push_i64, push_u64};
use crate::maps::word;
use btc_payload::layout::{ValueType, hist_bounds};

/// Characters of a full bar.
const BAR: u64 = 52;
/// Width of the column of bounds.
const LABEL: usize = 16;
/// Width of the column of counts.
const COUNT: usize = 8;

/// A bucket: bounds (the upper one exclusive) and count.
struct Bucket {
    low: Option<i128>,
    high: Option<i128>,
    count: u64,
}

/// Buckets from the first to the last that holds something.
fn buckets(ty: &ValueType, value: &[u8]) -> Vec<Bucket> {
    let counts: Vec<u64> = (0..value.len() / 8).map(|i| word(value, i * 8)).collect();
    let (Some(first), Some(last)) = (counts.iter().position(|&c| c > 0), counts.iter().rposition(|&c| c > 0)) else {
        return Vec::new();
    };
    (first..=last)
        .map(|i| {
            let (low, high) = bounds(ty, i as u32, counts.len() as u32);
            Bucket { low, high, count: counts[i] }
        })
        .collect()
}

fn bounds(ty: &ValueType, bucket: u32, total: u32) -> (Option<i128>, Option<i128>) {
    match *ty {
        ValueType::Hist { bits } => match hist_bounds(bucket, bits) {
            Some((low, high)) => (Some(low.into()), Some(high.into())),
            None => (None, Some(0)),
        },
        ValueType::Lhist { min, step, .. } => {
            let at = |i: u32| i128::from(min) + i128::from(i) * i128::from(step.max(1));
            match bucket {
                0 => (None, Some(min.into())),
                i if i + 1 == total => (Some(at(i - 1)), None),
                i => (Some(at(i - 1)), Some(at(i))),
            }
        }
        _ => (None, None),
    }
}

/// A bound as bars show it, with a binary unit where it comes out even.
fn push_bound(out: &mut Vec<u8>, ty: &ValueType, bound: i128) {
    const UNITS: &[u8; 7] = b"\0KMGTPE";
    let unit = match *ty {
        ValueType::Hist { bits } => {
            let log = (bound.max(1) as u128).ilog2();
            (log.saturating_sub(u32::from(bits)) / 10) as usize
        }
        // One unit for all bounds of a histogram: its step decides.
        ValueType::Lhist { step, .. } => match step {
            s if s % (1 << 20) == 0 => 2,
            s if s % (1 << 10) == 0 => 1,
            _ => 0,
        },
        _ => 0,
    };
    let scaled = bound >> (10 * unit);
    let even = scaled << (10 * unit) == bound;
    push_i64(out, if even { scaled as i64 } else { bound as i64 });
    if unit > 0 && even && bound != 0 {
        out.push(UNITS[unit]);
    }
}

/// Appends one line per bucket. Counts are shown divided by `div`.
pub fn text(out: &mut Vec<u8>, ty: &ValueType, value: &[u8], div: u64) {
    let mut buckets = buckets(ty, value);
    buckets.iter_mut().for_each(|b| b.count /= div.max(1));
    let max = buckets.iter().map(|b| b.count).max().unwrap_or(0).max(1);
    for b in &buckets {
        let start = out.len();
        out.push(if b.low.is_some() { b'[' } else { b'(' });
        match (b.low, b.high) {
            (Some(low), Some(high)) if high == low + 1 => {
                push_bound(out, ty, low);
                out.push(b']');
            }
            (low, high) => {
                match low {
                    Some(low) => push_bound(out, ty, low),
                    None => out.extend_from_slice(b"..."),
                }
                out.extend_from_slice(b", ");
                match high {
                    Some(high) => push_bound(out, ty, high),
                    None => out.extend_from_slice(b"..."),
                }
                out.push(b')');
            }
        }
        pad(out, start + LABEL);
        let mut count = Vec::new();
        push_u64(&mut count, b.count);
        pad(out, start + LABEL + COUNT.saturating_sub(count.len()));
        out.extend_from_slice(&count);
        out.extend_from_slice(b" |");
        let bar = (u128::from(b.count) * u128::from(BAR) / u128::from(max)) as usize;
        out.extend(std::iter::repeat_n(b'@', bar));
        out.extend(std::iter::repeat_n(b' ', BAR as usize - bar));
        out.extend_from_slice(b"|\n");
    }
}

fn pad(out: &mut Vec<u8>, to: usize) {
    if out.len() < to {
        out.resize(to, b' ');
    }
}

/// Appends an array of objects.
pub fn json(out: &mut Vec<u8>, ty: &ValueType, value: &[u8], div: u64) {
    out.push(b'[');
    for (i, b) in buckets(ty, value).iter().enumerate() {
        out.extend_from_slice(if i == 0 { b"{" } else { b",{" });
        if let Some(low) = b.low {
            out.extend_from_slice(b"\"min\": ");
            push_i64(out, low as i64);
            out.extend_from_slice(b", ");
        }
        if let Some(high) = b.high {
            out.extend_from_slice(b"\"max\": ");
            push_i64(out, (high - 1) as i64);
            out.extend_from_slice(b", ");
        }
        out.extend_from_slice(b"\"count\": ");
        push_u64(out, b.count / div.max(1));
        out.push(b'}');
    }
    out.push(b']');
}

#[cfg(test)]
mod tests {
    use super::*;
    use btc_payload::layout::{hist_bucket, hist_buckets, lhist_buckets};

    fn hist(bits: u8, values: &[i64]) -> (ValueType, Vec<u8>) {
        let mut counts = vec![0u64; hist_buckets(bits) as usize];
        for &v in values {
            counts[hist_bucket(v, bits) as usize] += 1;
        }
        (ValueType::Hist { bits }, counts.iter().flat_map(|c| c.to_le_bytes()).collect())
    }

    fn shown((ty, value): &(ValueType, Vec<u8>)) -> Vec<String> {
        let mut out = Vec::new();
        text(&mut out, ty, value, 1);
        String::from_utf8(out).unwrap().lines().map(str::to_string).collect()
    }

    fn labels(h: &(ValueType, Vec<u8>)) -> Vec<String> {
        shown(h).iter().map(|l| l[..LABEL].trim().to_string()).collect()
    }

    #[test]
    fn bars() {
        let lines = shown(&hist(0, &[0, 1, 2, 3, 5]));
        assert_eq!(lines[0], format!("[0]                    1 |{}{}|", "@".repeat(26), " ".repeat(26)));
        assert_eq!(lines[2], format!("[2, 4)                 2 |{}|", "@".repeat(52)));
        assert_eq!(labels(&hist(0, &[-1, 0, 700, 1025]))[..3], ["(..., 0)", "[0]", "[1]"]);
    }

    #[test]
    fn units() {
        assert_eq!(labels(&hist(0, &[700, 1025])), ["[512, 1K)", "[1K, 2K)"]);
        assert_eq!(labels(&hist(0, &[1 << 62])), ["[4E, 8E)"]);
        assert_eq!(labels(&hist(2, &[1100])), ["[1024, 1280)"]);
        assert_eq!(labels(&hist(2, &[3, 9])), ["[3]", "[4]", "[5]", "[6]", "[7]", "[8, 10)"]);
        assert_eq!(labels(&hist(3, &[1048575])), ["[960K, 1024K)"]);
    }

    fn lhist(min: i64, max: i64, step: i64, at: &[usize]) -> (ValueType, Vec<u8>) {
        let mut counts = vec![0u64; lhist_buckets(min, max, step) as usize];
        for &i in at {
            counts[i] += 1;
        }
        (ValueType::Lhist { min, max, step }, counts.iter().flat_map(|c| c.to_le_bytes()).collect())
    }

    #[test]
    fn linear() {
        assert_eq!(labels(&lhist(0, 10, 5, &[0, 1, 3])), ["(..., 0)", "[0, 5)", "[5, 10)", "[10, ...)"]);
        assert_eq!(labels(&lhist(-1, 9, 1, &[1, 3])), ["[-1]", "[0]", "[1]"]);
        assert_eq!(labels(&lhist(1024, 5120, 512, &[2])), ["[1536, 2048)"]);
        assert_eq!(labels(&lhist(0, 1 << 22, 1 << 20, &[2, 5])).last().unwrap(), "[4M, ...)");
    }

    #[test]
    fn json_buckets() {
        let (ty, value) = hist(0, &[-1, 0, 2]);
        let mut out = Vec::new();
        json(&mut out, &ty, &value, 1);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            r#"[{"max": -1, "count": 1},{"min": 0, "max": 0, "count": 1},{"min": 1, "max": 1, "count": 0},{"min": 2, "max": 3, "count": 1}]"#
        );
    }
}
