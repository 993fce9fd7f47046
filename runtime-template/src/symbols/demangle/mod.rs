//! Names of functions as their source has them.
//!
//! In: a symbol. Out: the name in C++ or Rust; the symbol itself when it is not
//! mangled, or in a way that is not understood. No crate does it: those that know
//! everything would add a tenth to the executable.

mod cpp;
mod rust;

/// A symbol's name as written in the source; the name itself when it is not mangled.
pub fn demangle(symbol: &str) -> String {
    full(symbol).unwrap_or_else(|| symbol.to_string())
}

/// Does a symbol, demangled, match what a script asks for? Without parameters
/// every overload does.
pub fn matches(symbol: &str, wanted: &str) -> bool {
    let Some(name) = full(symbol) else { return symbol == wanted };
    if wanted.contains('(') {
        return name == wanted;
    }
    let bare = cpp::bare(symbol).unwrap_or(name);
    btc_payload::probe::pattern_matches(wanted, &bare)
}

fn full(symbol: &str) -> Option<String> {
    if let Some(rest) = symbol.strip_prefix("_R") {
        return rust::v0(rest);
    }
    let (name, clone) = cpp::name(symbol)?;
    Some(rust::legacy(&name).unwrap_or(name + &clone))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (symbol, want) in [
            ("main", "main"),
            ("_ZN5fixns4overEi", "fixns::over(int)"),
            ("_ZN5fixns4overEd", "fixns::over(double)"),
            ("_ZN5fixns7Counter4bumpEv", "fixns::Counter::bump()"),
            ("_Z3addii", "add(int, int)"),
            ("_Z1fPKcRSs", "f(char const*, std::string&)"),
            ("_ZN1AC1Ev", "A::A()"),
            ("_ZN1AD2Ev", "A::~A()"),
            ("_Z1fIiEvT_", "void f<int>(int)"),
            ("_Z1fP1AS0_", "f(A*, A*)"),
            ("_ZN4core3fmt5write17h0123456789abcdefE", "core::fmt::write"),
            ("_ZN1AclEv.cold", "A::operator()() [clone .cold]"),
            ("_Z", "_Z"),
        ] {
            assert_eq!(demangle(symbol), want);
        }
    }

    #[test]
    fn matching_overloads() {
        assert!(matches("_ZN5fixns4overEi", "fixns::over"));
        assert!(matches("_ZN5fixns4overEi", "fixns::over(int)"));
        assert!(!matches("_ZN5fixns4overEd", "fixns::over(int)"));
        assert!(!matches("_ZN5fixns5over2Ei", "fixns::over"));
        assert!(matches("_ZN1AclEv", "A::operator()"));
    }
}
