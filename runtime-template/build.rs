//! Keeps the runtime's executable small.
//!
//! In: the profile. Out: arguments of the linker.
//! Tables for unwinding are a tenth of the executable; one that aborts on panic
//! never reads them. Relative relocations, another twentieth, are packed.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=no-unwind-tables.ld");
    let is = |name: &str, value: &str| std::env::var(name).is_ok_and(|v| v == value);
    // Cargo does not tell build scripts what the profile does on panic; nothing
    // here catches one, so in a release both come to the same.
    if !is("PROFILE", "release") || !is("CARGO_CFG_TARGET_OS", "linux") {
        return;
    }
    let here = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
    println!("cargo:rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    println!("cargo:rustc-link-arg-bins=-Wl,-T,{here}/no-unwind-tables.ld");
}
