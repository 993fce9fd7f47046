//! Values as JSON, and the lines that carry them.

use super::number::{push_i64, push_u64};
use super::text::{buffer, field, push_int, slice, string};
use super::{Renderer, hist, stack};
use crate::event::integer;
use crate::maps::{average, word};
use btc_payload::layout::{ValueType, fields_layout};

/// Appends a quoted string.
pub fn push_string(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    push_body(out, text);
    out.push(b'"');
}

fn push_body(out: &mut Vec<u8>, text: &[u8]) {
    for &b in text {
        match b {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\t' => out.extend_from_slice(b"\\t"),
            b'\r' => out.extend_from_slice(b"\\r"),
            8 => out.extend_from_slice(b"\\b"),
            12 => out.extend_from_slice(b"\\f"),
            0..0x20 => {
                out.extend_from_slice(b"\\u00");
                super::text::push_byte(out, b);
            }
            _ => out.push(b),
        }
    }
}

/// Appends an unsigned number; those that many readers would take for negative
/// are strings.
pub fn push_unsigned(out: &mut Vec<u8>, value: u64) {
    if value >= i64::MAX as u64 {
        out.push(b'"');
        push_u64(out, value);
        out.push(b'"');
    } else {
        push_u64(out, value);
    }
}

/// Appends the start of a line: everything before the data.
pub fn open(out: &mut Vec<u8>, kind: &str) {
    out.extend_from_slice(b"{\"type\": \"");
    out.extend_from_slice(kind.as_bytes());
    out.extend_from_slice(b"\", \"data\": ");
}

/// Appends the end of a line.
pub fn close(out: &mut Vec<u8>) {
    out.extend_from_slice(b"}\n");
}

/// Appends a whole line with a string as its data.
pub fn line(out: &mut Vec<u8>, kind: &str, text: &[u8]) {
    open(out, kind);
    push_string(out, text);
    close(out);
}

/// `type` of a line that shows a map of such values.
pub fn kind(ty: &ValueType) -> &'static str {
    match ty {
        ValueType::Avg { .. } | ValueType::Stats { .. } => "stats",
        ValueType::Hist { .. } | ValueType::Lhist { .. } => "hist",
        ValueType::Tseries { .. } => "tseries",
        _ => "map",
    }
}

impl Renderer<'_> {
    /// Appends a value.
    pub fn json(&mut self, out: &mut Vec<u8>, ty: &ValueType, bytes: &[u8]) {
        use ValueType::*;
        match ty {
            Int { size, signed: true } => push_i64(out, integer(bytes, (*size).into(), true)),
            Int { size, signed: false } => push_unsigned(out, integer(bytes, (*size).into(), false) as u64),
            Bool | Opaque { .. } => self.text(out, ty, bytes),
            Pointer | Count => push_unsigned(out, word(bytes, 0)),
            Sum { signed } | Min { signed } | Max { signed } => push_number(out, word(bytes, 0), *signed),
            Avg { signed } => push_number(out, average(bytes, *signed), *signed),
            Stats { signed } => self.stats(out, bytes, *signed, 1),
            Hist { .. } | Lhist { .. } => hist::json(out, ty, bytes, 1),
            Tseries { .. } => self.series_json(out, ty, bytes),
            // Names are for people.
            Enum { size, signed, .. } => push_number(out, integer(bytes, (*size).into(), *signed) as u64, *signed),
            Str { size } => {
                let (text, cut) = string(bytes, *size);
                out.push(b'"');
                push_body(out, text);
                if cut {
                    push_body(out, self.trailer.as_bytes());
                }
                out.push(b'"');
            }
            Buf { .. } => push_list(out, buffer(bytes).iter().map(|&b| u64::from(b))),
            Array { elem, len } => {
                self.json_list(out, (0..*len).map(|i| (elem.as_ref(), slice(bytes, i * elem.size(), elem.size()))))
            }
            Tuple(elems) => {
                let (offsets, _) = fields_layout(elems.iter());
                self.json_list(out, elems.iter().zip(offsets).map(|(t, at)| (t, slice(bytes, at, t.size()))));
            }
            Record(elems) => {
                let (offsets, _) = fields_layout(elems.iter().map(|(_, t)| t));
                let fields = elems.iter().zip(offsets).map(|((n, t), at)| (n.as_str(), t, at, None));
                self.json_object(out, bytes, fields);
            }
            Struct(s) => {
                self.json_object(out, bytes, s.fields.iter().map(|f| (f.name.as_str(), &f.ty, f.offset, f.bits)));
            }
            Parameter { index } => match super::text::parameter(self.parameter(*index)) {
                Ok((number, signed)) => super::text::push_int(out, number, signed),
                Err(text) => push_string(out, text.as_bytes()),
            },
            _ => {
                let mut text = Vec::new();
                self.text(&mut text, ty, bytes);
                push_string(out, &text);
            }
        }
    }

    fn json_list<'b>(&mut self, out: &mut Vec<u8>, items: impl Iterator<Item = (&'b ValueType, &'b [u8])>) {
        out.push(b'[');
        for (i, (ty, bytes)) in items.enumerate() {
            if i > 0 {
                out.push(b',');
            }
            self.json(out, ty, bytes);
        }
        out.push(b']');
    }

    fn json_object<'t>(
        &mut self,
        out: &mut Vec<u8>,
        bytes: &[u8],
        fields: impl Iterator<Item = (&'t str, &'t ValueType, u32, Option<(u8, u8)>)>,
    ) {
        out.push(b'{');
        for (i, (name, ty, at, bits)) in fields.enumerate() {
            if i > 0 {
                out.extend_from_slice(b", ");
            }
            push_string(out, name.as_bytes());
            out.extend_from_slice(b": ");
            let part = slice(bytes, at, ty.size());
            match field(part, bits) {
                Some(value) => self.json(out, ty, &value.to_le_bytes()),
                None => self.json(out, ty, part),
            }
        }
        out.push(b'}');
    }

    /// Appends a key as a quoted string, in the compact form that keys have.
    pub fn json_key(&mut self, out: &mut Vec<u8>, ty: &ValueType, bytes: &[u8]) {
        let mut text = Vec::new();
        match ty {
            ValueType::Tuple(elems) => self.compact_list(&mut text, elems, bytes),
            _ => self.compact(&mut text, ty, bytes),
        }
        push_string(out, &text);
    }

    fn compact_list(&mut self, out: &mut Vec<u8>, elems: &[ValueType], bytes: &[u8]) {
        let (offsets, _) = fields_layout(elems.iter());
        for (i, (t, at)) in elems.iter().zip(offsets).enumerate() {
            if i > 0 {
                out.push(b',');
            }
            self.compact(out, t, slice(bytes, at, t.size()));
        }
    }

    fn compact(&mut self, out: &mut Vec<u8>, ty: &ValueType, bytes: &[u8]) {
        match ty {
            ValueType::Tuple(elems) => {
                out.push(b'(');
                self.compact_list(out, elems, bytes);
                out.push(b')');
            }
            ValueType::Record(elems) => {
                let (offsets, _) = fields_layout(elems.iter().map(|(_, t)| t));
                out.push(b'{');
                for (i, ((name, t), at)) in elems.iter().zip(offsets).enumerate() {
                    out.extend_from_slice(if i == 0 { b"." } else { b",." });
                    out.extend_from_slice(name.as_bytes());
                    out.push(b'=');
                    self.compact(out, t, slice(bytes, at, t.size()));
                }
                out.push(b'}');
            }
            ValueType::Stack { user, mode, .. } => {
                let frames = stack::Frames::new(bytes, *user, *mode);
                self.stack(out, &frames, b"");
            }
            _ => self.text(out, ty, bytes),
        }
    }
}

fn push_number(out: &mut Vec<u8>, value: u64, signed: bool) {
    if signed { push_int(out, value as i64, true) } else { push_unsigned(out, value) }
}

fn push_list(out: &mut Vec<u8>, values: impl Iterator<Item = u64>) {
    out.push(b'[');
    for (i, v) in values.enumerate() {
        if i > 0 {
            out.push(b',');
        }
        push_u64(out, v);
    }
    out.push(b']');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::tests::renderer;
    use btc_payload::layout::EnumId;
    use btc_payload::manifest::Manifest;

    fn show(ty: &ValueType, bytes: &[u8], key: bool) -> String {
        let manifest = Manifest::default();
        let (mut out, mut r) = (Vec::new(), renderer(&manifest));
        if key {
            r.json_key(&mut out, ty, bytes)
        } else {
            r.json(&mut out, ty, bytes)
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn values() {
        let byte = ValueType::Int { size: 1, signed: true };
        assert_eq!(show(&byte, &[0xff], false), "-1");
        let one = ValueType::Enum { table: EnumId(0), size: 4, signed: true };
        assert_eq!(show(&one, &[1, 0, 0, 0], false), "1");
        assert_eq!(show(&ValueType::Int { size: 8, signed: false }, &[0xff; 8], false), "\"18446744073709551615\"");
        assert_eq!(show(&ValueType::Str { size: 8 }, b"a\"\n\x01\0", false), r#""a\"\n\u0001""#);
        assert_eq!(show(&ValueType::Buf { size: 2 }, &[2, 0, 0, 0, 97, 1], false), "[97,1]");
        let tuple = ValueType::Tuple(vec![byte.clone(), ValueType::Bool]);
        assert_eq!(show(&tuple, &[1, 1], false), "[1,true]");
        let record = ValueType::Record(vec![("a".into(), byte.clone()), ("b".into(), byte)]);
        assert_eq!(show(&record, &[1, 2], false), r#"{"a": 1, "b": 2}"#);
    }

    #[test]
    fn keys_are_compact() {
        let byte = ValueType::Int { size: 1, signed: true };
        let inner = ValueType::Tuple(vec![byte.clone(), byte.clone()]);
        let tuple = ValueType::Tuple(vec![byte.clone(), inner]);
        assert_eq!(show(&tuple, &[1, 2, 3], true), "\"1,(2,3)\"");
        let record = ValueType::Record(vec![("a".into(), byte.clone()), ("b".into(), byte)]);
        assert_eq!(show(&record, &[1, 2], true), "\"{.a=1,.b=2}\"");
    }
}
