//! Records of the ring: bytes to fields, bounds-checked.
//!
//! In: the bytes of one record and the manifest's events. Out: which event it
//! is and the bytes of each field. A record that is too short is refused.

use btc_payload::event::{Event, EventId, RECORD_HEADER};

/// Where the fields of each kind of record lie, computed once.
pub struct Layouts {
    layouts: Vec<(Vec<(usize, usize)>, usize)>,
}

impl Layouts {
    /// Of all events of a script.
    pub fn new(events: &[Event]) -> Layouts {
        let layouts = events
            .iter()
            .map(|e| {
                let (offsets, size) = e.layout();
                let fields = offsets.iter().zip(&e.fields).map(|(&o, f)| (o as usize, f.size() as usize)).collect();
                (fields, size as usize)
            })
            .collect();
        Layouts { layouts }
    }

    /// The event of a record. `None`: unknown, or too short.
    pub fn identify(&self, record: &[u8]) -> Option<EventId> {
        let id = record.get(..4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))?;
        let (fields, size) = self.layouts.get(id as usize)?;
        // The last field may be cut: strings are sent as long as they are.
        let needed = fields.last().map_or(RECORD_HEADER as usize, |f| f.0);
        (record.len() >= needed.min(*size)).then_some(EventId(id))
    }

    /// Bytes of a field; shorter than its type when the record ends before.
    pub fn field<'r>(&self, event: EventId, record: &'r [u8], index: usize) -> &'r [u8] {
        let Some(&(at, size)) = self.layouts.get(event.0 as usize).and_then(|l| l.0.get(index)) else { return &[] };
        record.get(at..record.len().min(at + size)).unwrap_or(&[])
    }

    /// Offset of a field in the record.
    pub fn offset(&self, event: EventId, index: usize) -> usize {
        self.layouts.get(event.0 as usize).and_then(|l| l.0.get(index)).map_or(0, |f| f.0)
    }

    /// Number of fields.
    pub fn count(&self, event: EventId) -> usize {
        self.layouts.get(event.0 as usize).map_or(0, |l| l.0.len())
    }
}

/// An integer of up to eight bytes, extended to 64 bits.
pub fn integer(bytes: &[u8], size: u32, signed: bool) -> i64 {
    let mut wide = [0u8; 8];
    let n = bytes.len().min(size as usize).min(8);
    wide[..n].copy_from_slice(&bytes[..n]);
    let value = i64::from_le_bytes(wide);
    if !signed || n == 0 || n == 8 {
        return value;
    }
    let shift = 64 - 8 * n as u32;
    value << shift >> shift
}

#[cfg(test)]
mod tests {
    use super::*;
    use btc_payload::event::Action;
    use btc_payload::layout::ValueType;
    use btc_payload::manifest::LocationId;

    #[test]
    fn integers() {
        assert_eq!(integer(&[0xff], 1, true), -1);
        assert_eq!(integer(&[0xff], 1, false), 255);
        assert_eq!(integer(&[0, 0x80], 2, true), -32768);
        assert_eq!(integer(&[1, 2], 8, true), 0x201);
        assert_eq!(integer(&[], 8, true), 0);
    }

    #[test]
    fn short_records_are_refused_or_cut() {
        let event = Event {
            action: Action::Print,
            fields: vec![ValueType::Int { size: 8, signed: true }, ValueType::Str { size: 16 }],
            location: LocationId(0),
        };
        let layouts = Layouts::new(&[event]);
        let mut record = vec![0u8; 8];
        record.extend_from_slice(&7u64.to_le_bytes());
        assert_eq!(layouts.identify(&record[..8]), None);
        assert_eq!(layouts.identify(&[9, 0, 0, 0, 0, 0, 0, 0]), None);
        record.extend_from_slice(b"abc\0");
        let id = layouts.identify(&record).unwrap();
        assert_eq!(layouts.field(id, &record, 0), 7u64.to_le_bytes());
        assert_eq!(layouts.field(id, &record, 1), b"abc\0");
        assert_eq!(layouts.field(id, &record, 2), b"");
    }
}
