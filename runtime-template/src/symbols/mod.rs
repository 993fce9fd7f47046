//! Addresses to names: kernel and user.

pub mod demangle;
pub mod kernel;
pub mod user;
