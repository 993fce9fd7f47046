//! Addresses to names: kernel and user.

pub mod kernel;
pub mod user;
