//! Reads the packs of stdlib/reference/data piece by piece.
//!
//! In: a pack, as stdlib/reference/pack.py writes it. Out: entries by name.
//! Invariants: opening decompresses the index alone; reading an entry
//! decompresses its group, and the last group is kept, because neighbours in a
//! pack are asked for together.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use anyhow::{Context, Result, bail};

const MAGIC: &[u8] = b"btcpack1";

/// Largest group accepted; the largest there is holds a kernel's BTF.
const MAX_GROUP: usize = 64 << 20;

/// Where an entry is.
#[derive(Clone, Copy)]
struct Place {
    group: usize,
    group_len: usize,
    offset: usize,
    len: usize,
}

/// An open pack.
pub struct Pack {
    body: &'static [u8],
    index: BTreeMap<String, Place>,
    /// Offset and contents of the group read last.
    last: RefCell<Option<(usize, Rc<Vec<u8>>)>>,
}

/// Memory of a fresh group is allocated once, at the size the frame states.
fn decompress(frame: &[u8]) -> Result<Vec<u8>> {
    let size = zstd::zstd_safe::get_frame_content_size(frame).ok().flatten();
    match size {
        Some(size) if size <= MAX_GROUP as u64 => {
            zstd::bulk::decompress(frame, size as usize).context("damaged reference data")
        }
        _ => bail!("damaged reference data: a group without a credible size"),
    }
}

impl Pack {
    /// Opens a pack.
    pub fn open(bytes: &'static [u8]) -> Result<Pack> {
        let rest = bytes.strip_prefix(MAGIC).context("not a reference pack")?;
        let (len, rest) = rest.split_first_chunk().context("truncated reference pack")?;
        let len = u32::from_le_bytes(*len) as usize;
        let (index, body) = rest.split_at_checked(len).context("truncated reference pack")?;
        let text = String::from_utf8(decompress(index)?).context("damaged reference index")?;
        let index = text.lines().map(parse_line).collect::<Option<_>>();
        Ok(Pack { body, index: index.context("damaged reference index")?, last: RefCell::default() })
    }

    /// Names of all entries in the order of the pack: reading them in this order
    /// decompresses each group once.
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<_> = self.index.iter().collect();
        names.sort_by_key(|(_, place)| (place.group, place.offset));
        names.into_iter().map(|(name, _)| name.as_str()).collect()
    }

    /// The bytes of an entry; `None` if there is none of that name.
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let Some(&place) = self.index.get(name) else {
            return Ok(None);
        };
        let group = self.group(place)?;
        if place.offset == 0 && place.len == group.len() && place.len > MAX_KEPT {
            // The only entry of a large group: hand the memory over.
            return Ok(Some(Rc::try_unwrap(group).unwrap_or_else(|g| g.to_vec())));
        }
        let entry = group.get(place.offset..place.offset + place.len);
        Ok(Some(entry.context("damaged reference index")?.to_vec()))
    }

    /// An entry that is text.
    pub fn text(&self, name: &str) -> Result<Option<String>> {
        let bytes = self.read(name)?;
        let text = bytes.map(String::from_utf8).transpose();
        text.context("reference text is not UTF-8")
    }

    fn group(&self, place: Place) -> Result<Rc<Vec<u8>>> {
        if let Some((at, group)) = &*self.last.borrow()
            && *at == place.group
        {
            return Ok(group.clone());
        }
        let frame = self.body.get(place.group..place.group + place.group_len);
        let group = Rc::new(decompress(frame.context("truncated reference pack")?)?);
        if group.len() <= MAX_KEPT {
            *self.last.borrow_mut() = Some((place.group, group.clone()));
        }
        Ok(group)
    }
}

/// Larger groups are not kept: they hold one entry, whose reader keeps it.
const MAX_KEPT: usize = 1 << 20;

fn parse_line(line: &str) -> Option<(String, Place)> {
    let mut columns = line.split('\t');
    let name = columns.next()?.to_owned();
    let mut number = || columns.next()?.parse().ok();
    let place = Place { group: number()?, group_len: number()?, offset: number()?, len: number()? };
    Some((name, place))
}
