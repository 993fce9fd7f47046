//! The executable: everything is in the library, so that a generated crate can
//! hand it a payload of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    btc_runtime::main(btc_runtime::payload::own())
}
