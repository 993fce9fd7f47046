//! Text to syntax tree; knows no types.

pub mod ast;
pub mod c;
pub mod format;
pub mod parse;
pub mod print;

/// Where the `#!` line stands, which may follow blanks and comments.
fn shebang(text: &str) -> Option<std::ops::Range<usize>> {
    let mut rest = text.trim_start();
    loop {
        rest = if rest.starts_with("//") {
            rest.split_once('\n')?.1
        } else if let Some(comment) = rest.strip_prefix("/*") {
            comment.split_once("*/")?.1
        } else {
            break;
        };
        rest = rest.trim_start();
    }
    let start = text.len() - rest.len();
    rest.starts_with("#!").then(|| start..start + rest.find('\n').unwrap_or(rest.len()))
}

#[cfg(test)]
mod tests {
    use super::shebang;

    #[test]
    fn a_shebang_may_follow_comments() {
        assert_eq!(shebang("#!/bin/x"), Some(0..8));
        assert_eq!(shebang("// a\n/* b\n */ #!x\nbegin {}"), Some(14..17));
        assert_eq!(shebang("begin {}\n#!x"), None);
        assert_eq!(shebang("/* #!x"), None);
        assert_eq!(shebang("// #!x"), None);
    }
}
