//! Addresses to names: kernel and user.

pub mod debugfile;
pub mod demangle;
pub mod kernel;
pub mod user;
