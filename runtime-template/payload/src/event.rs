//! Records: what programs send to the tracer through the ring buffer.
//!
//! In: the actions of a script that happen in user space. Out: for each a
//! record with an id and fields, and what to do when it arrives. A record is
//! a [`RECORD_HEADER`] followed by its fields; every record is a multiple of
//! eight bytes, as the ring buffer wants.

use crate::format::Format;
use crate::layout::{ValueType, fields_layout};
use crate::manifest::{LocationId, MapId};
use serde::{Deserialize, Serialize};

/// Bytes before the fields: `u32` [`EventId`], `u32` reserved.
pub const RECORD_HEADER: u32 = 8;

/// Most strings that `join` sends; the rest is left out.
pub const JOIN_MAX: u32 = 16;

/// Index into [`crate::manifest::Manifest::events`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EventId(pub u32);

/// A kind of record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// What to do with it.
    pub action: Action,
    /// Types of its fields, laid out by [`Event::layout`].
    pub fields: Vec<ValueType>,
    /// Where in the script it stands.
    pub location: LocationId,
}

impl Event {
    /// Offset of each field from the start of the record, and the record's size.
    pub fn layout(&self) -> (Vec<u32>, u32) {
        let (offsets, size) = fields_layout(self.fields.iter());
        let size = (RECORD_HEADER + size).next_multiple_of(8);
        (offsets.into_iter().map(|o| o + RECORD_HEADER).collect(), size)
    }
}

/// An operation without a result; the program goes on with one made up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fault {
    /// Division or remainder by zero.
    DivisionByZero,
    /// An index that the array does not have.
    OutOfBounds,
}

impl Fault {
    /// What the user reads, in the words of bpftrace.
    pub fn message(self) -> &'static str {
        match self {
            Fault::DivisionByZero => {
                "Divide or modulo by 0 detected. This can lead to unexpected results. 1 is being used as the result."
            }
            Fault::OutOfBounds => "Array access out of bounds. This can lead to unexpected results.",
        }
    }
}

/// What a record makes the tracer do. `fields` names the fields in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// Prints. Fields: the arguments.
    Printf(Format),
    /// As `Printf`, to stderr, with the location. Fields: the arguments.
    Errorf(Format),
    /// As `Errorf`, silenced by `--no-warnings`.
    Warnf(Format),
    /// Prints one value in the form of its type. Fields: the value.
    Print,
    /// Prints a map. Fields: `u32` top and `u32` div (0: not given).
    PrintMap(MapId),
    /// Prints the value of one entry, which the tracer reads itself (it may be
    /// kept per CPU). Fields: the key.
    PrintMapEntry(MapId),
    /// Empties a map.
    Clear(MapId),
    /// Sets all values of a map to zero.
    Zero(MapId),
    /// Prints the time of day by a `strftime` format.
    Time { format: String },
    /// Prints strings with a separator. Fields: `u32` count, then the strings as an array.
    Join { separator: String },
    /// Prints the content of a file. Fields: the arguments of the path.
    Cat(Format),
    /// Runs a shell command. Fields: the arguments.
    System(Format),
    /// Ends the tracer. Fields: `i64` exit status.
    Exit,
    /// A BPF helper failed (`-k`). Fields: `i64` result.
    HelperError { helper: String },
    /// An operation has no result. Fields: `i64`, unused.
    Fault(Fault),
    /// Removes a watchpoint. Fields: `u64` address.
    Unwatch,
    /// Sets the watchpoint of a program to where the argument of a function points.
    /// Fields: `u64` address.
    Watch {
        /// Index into the manifest's programs.
        program: u32,
        /// Has the process been stopped until the watchpoint is set?
        stopped: bool,
    },
    /// Adds a packet to a capture file. Fields: `u64` nanoseconds, `u32` length, then the bytes.
    SkbOutput { path: String },
    /// An assertion failed: message, location, exit status 1. Fields: none.
    AssertFailed { message: String },
}
