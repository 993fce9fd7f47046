//! btc.
fn main() {}
