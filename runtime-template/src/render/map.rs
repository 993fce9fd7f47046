//! Whole maps, as `print(@x)` and the end of a run show them.

use super::number::push_u64;
use super::text::push_quotient;
use super::{Renderer, hist, json, stack};
use crate::maps::{Entry, average, word};
use btc_payload::layout::{ValueType, fields_layout};
use btc_payload::manifest::Map;

/// Which entries of a map are shown, and how their numbers are scaled.
#[derive(Clone, Copy, Debug, Default)]
pub struct Selection {
    /// The largest so many; 0: all.
    pub top: u32,
    /// Divisor of values; 0: none.
    pub div: u32,
}

impl Selection {
    /// Applies the limit to sorted entries.
    fn of<'e>(&self, entries: &'e [Entry]) -> &'e [Entry] {
        match self.top as usize {
            0 => entries,
            n => &entries[entries.len().saturating_sub(n)..],
        }
    }
}

impl Renderer<'_> {
    /// Appends a map.
    pub fn map(&mut self, out: &mut Vec<u8>, map: &Map, entries: &[Entry], selection: Selection) {
        let shown = selection.of(entries);
        self.prepare_symbols(map, shown);
        if self.is_json() {
            self.map_json(out, map, shown, selection.div)
        } else {
            self.map_text(out, map, shown, selection.div)
        }
    }

    fn map_text(&mut self, out: &mut Vec<u8>, map: &Map, entries: &[Entry], div: u32) {
        for e in entries {
            self.entry_name(out, map, &e.key);
            out.extend_from_slice(if is_block(&map.value) { b":\n" } else { b": " });
            self.divided(out, &map.value, &e.value, div);
            out.push(b'\n');
        }
    }

    /// Appends `@name[key]`.
    pub fn entry_name(&mut self, out: &mut Vec<u8>, map: &Map, key: &[u8]) {
        out.extend_from_slice(map.name.as_bytes());
        if map.key != ValueType::Unit {
            out.push(b'[');
            self.key(out, &map.key, key);
            out.push(b']');
        }
    }

    fn divided(&mut self, out: &mut Vec<u8>, ty: &ValueType, value: &[u8], div: u32) {
        use ValueType::*;
        if div <= 1 {
            return if self.is_json() { self.json(out, ty, value) } else { self.text(out, ty, value) };
        }
        let d = i64::from(div);
        match ty {
            Int { size, signed } => {
                let v = crate::event::integer(value, (*size).into(), *signed);
                super::text::push_int(out, if *signed { v / d } else { (v as u64 / d as u64) as i64 }, *signed);
            }
            Count => push_u64(out, word(value, 0) / d as u64),
            Sum { signed } | Min { signed } | Max { signed } => push_quotient(out, word(value, 0), d, *signed),
            Avg { signed } => push_quotient(out, average(value, *signed), d, *signed),
            Stats { signed } => self.stats(out, value, *signed, d),
            Hist { .. } | Lhist { .. } if self.is_json() => hist::json(out, ty, value, d as u64),
            Hist { .. } | Lhist { .. } => hist::text(out, ty, value, d as u64),
            _ if self.is_json() => self.json(out, ty, value),
            _ => self.text(out, ty, value),
        }
    }

    fn map_json(&mut self, out: &mut Vec<u8>, map: &Map, entries: &[Entry], div: u32) {
        let scalar = map.key == ValueType::Unit;
        if entries.is_empty() {
            return;
        }
        json::open(out, json::kind(&map.value));
        out.push(b'{');
        json::push_string(out, map.name.as_bytes());
        out.extend_from_slice(b": ");
        if scalar {
            self.divided(out, &map.value, &entries[0].value, div);
        } else {
            out.push(b'{');
            for (i, e) in entries.iter().enumerate() {
                if i > 0 {
                    out.extend_from_slice(b", ");
                }
                self.json_key(out, &map.key, &e.key);
                out.extend_from_slice(b": ");
                self.divided(out, &map.value, &e.value, div);
            }
            out.push(b'}');
        }
        out.push(b'}');
        json::close(out);
    }

    /// Resolves the kernel addresses of all entries in one pass.
    fn prepare_symbols(&mut self, map: &Map, entries: &[Entry]) {
        let mut addresses = Vec::new();
        for e in entries {
            collect(&map.key, &e.key, &mut addresses);
            collect(&map.value, &e.value, &mut addresses);
        }
        self.kernel.prepare(addresses.into_iter());
    }
}

/// Is a value shown on lines of its own?
pub fn is_block(value: &ValueType) -> bool {
    matches!(value, ValueType::Hist { .. } | ValueType::Lhist { .. } | ValueType::Tseries { .. })
}

/// Kernel addresses within a value.
fn collect(ty: &ValueType, bytes: &[u8], out: &mut Vec<u64>) {
    match ty {
        ValueType::KernelSymbol => out.push(word(bytes, 0)),
        ValueType::Stack { user, mode, .. } => {
            out.extend(stack::Frames::new(bytes, *user, *mode).kernel_addresses());
        }
        ValueType::Tuple(elems) => {
            let (offsets, _) = fields_layout(elems.iter());
            for (t, at) in elems.iter().zip(offsets) {
                collect(t, super::text::slice(bytes, at, t.size()), out);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::OutputFormat;
    use crate::render::tests::renderer;
    use btc_payload::manifest::{Manifest, MapKind, MapRole};

    fn map(key: ValueType, value: ValueType) -> Map {
        Map {
            name: "@m".into(),
            symbol: "m".into(),
            role: MapRole::Script,
            kind: MapKind::Hash,
            key,
            value,
            max_entries: None,
            buckets: None,
        }
    }

    fn show(m: &Map, entries: &[(u64, u64)], selection: Selection, format: OutputFormat) -> String {
        let manifest = Manifest::default();
        let entries: Vec<Entry> = entries
            .iter()
            .map(|(k, v)| Entry { key: k.to_le_bytes().to_vec(), value: v.to_le_bytes().to_vec() })
            .collect();
        let (mut out, mut r) = (Vec::new(), renderer(&manifest));
        r.format = format;
        r.map(&mut out, m, &entries, selection);
        String::from_utf8(out).unwrap()
    }

    const U64: ValueType = ValueType::Int { size: 8, signed: false };

    #[test]
    fn text() {
        let keyed = map(U64, U64);
        let entries = [(1, 10), (2, 20), (3, 30)];
        assert_eq!(
            show(&keyed, &entries, Selection::default(), OutputFormat::Text),
            "@m[1]: 10\n@m[2]: 20\n@m[3]: 30\n"
        );
        let top = Selection { top: 2, div: 10 };
        assert_eq!(show(&keyed, &entries, top, OutputFormat::Text), "@m[2]: 2\n@m[3]: 3\n");
        assert_eq!(show(&map(ValueType::Unit, U64), &[(0, 5)], Selection::default(), OutputFormat::Text), "@m: 5\n");
        assert_eq!(show(&keyed, &[], Selection::default(), OutputFormat::Text), "");
    }

    #[test]
    fn json() {
        let keyed = map(U64, U64);
        let all = Selection::default();
        assert_eq!(
            show(&keyed, &[(1, 10), (2, 20)], all, OutputFormat::Json),
            "{\"type\": \"map\", \"data\": {\"@m\": {\"1\": 10, \"2\": 20}}}\n"
        );
        assert_eq!(show(&keyed, &[], all, OutputFormat::Json), "");
        let scalar = map(ValueType::Unit, ValueType::Count);
        assert_eq!(show(&scalar, &[(0, 3)], all, OutputFormat::Json), "{\"type\": \"map\", \"data\": {\"@m\": 3}}\n");
    }
}
