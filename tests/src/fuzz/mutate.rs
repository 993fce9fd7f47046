//! Breaks scripts: by words, by characters, and by pieces of other scripts.
//!
//! Input: a script, another one, random numbers. Output: what is left of it,
//! seldom valid. The same numbers give the same result.

use super::random::Random;

/// What is put in between.
const SPLICES: &[&str] = &[
    "(",
    ")",
    "{",
    "}",
    "[",
    "]",
    "@",
    "$",
    "\"",
    "/",
    "*",
    "->",
    ".",
    "==",
    "-",
    "0",
    "18446744073709551615",
    "9223372036854775808",
    "-1",
    "1e30",
    "0x",
    "comm",
    "args",
    "retval",
    "kstack",
    "count()",
    "hist(1)",
    "lhist(1, 9, 3, 0)",
    "(1, \"a\")",
    "(a=1)",
    "str(0)",
    "buf(0, 99999)",
    "struct task_struct",
    "(struct task_struct *)",
    "(uint8[8])",
    "nosuch",
    ";",
    "? 1 : 2",
    "while (1) {}",
    "for ($i : 0..10) {}",
    "for ($kv : @a) {}",
    "unroll(100) {}",
    "delete(@a)",
    "BEGIN",
    "kprobe:f",
    "uprobe:/bin/sh:*",
    "macro",
    "import",
    "config = {",
    "let",
    "sizeof(",
    "typeof(",
    "&",
    "$1",
    "++",
    "\u{e9}",
];

/// Characters that mean something, or should not.
const CHARACTERS: &[char] = &[
    '(',
    ')',
    '{',
    '}',
    '"',
    '\'',
    '\\',
    '@',
    '$',
    '/',
    '*',
    '#',
    '0',
    'x',
    '\n',
    '\0',
    '\u{7f}',
    '\u{e9}',
    '\u{10ffff}',
];

/// A broken form of `script`; pieces of `other` may come into it.
pub fn mutate(script: &str, other: &str, random: &mut Random) -> String {
    match random.below(10) {
        0..=1 => characters(script, random),
        2 => graft(script, other, random),
        3 => {
            let words = words(script, random);
            characters(&words, random)
        }
        _ => words(script, random),
    }
}

/// Splits a script into words, numbers, spaces and single other characters.
fn tokens(script: &str) -> Vec<String> {
    let mut list: Vec<String> = Vec::new();
    let mut within = false;
    for c in script.chars() {
        let word = c.is_alphanumeric() || c == '_';
        match list.last_mut() {
            Some(last) if word && within => last.push(c),
            _ => list.push(c.to_string()),
        }
        within = word;
    }
    list
}

/// Takes out, doubles, swaps and puts in words.
fn words(script: &str, random: &mut Random) -> String {
    let mut list = tokens(script);
    for _ in 0..1 + random.below(3) {
        let (at, other) = (random.below(list.len()), random.below(list.len()));
        if list.is_empty() {
            break;
        }
        match random.below(24) {
            0 => list.truncate(at),
            1 => drop(list.drain(..at)),
            2..=5 => drop(list.remove(at)),
            6..=8 => list.insert(at, list[other].clone()),
            9..=12 => list.swap(at, other),
            13..=16 => list.insert(at, (*random.pick(SPLICES)).to_owned()),
            // A run of words twice, or elsewhere.
            17..=18 => {
                let run = list[at..(at + 1 + random.below(30)).min(list.len())].to_vec();
                list.splice(other..other, run);
            }
            // Another word of the script in place of a word.
            19..=21 => list[at] = list[other].clone(),
            _ => list[at] = (*random.pick(SPLICES)).to_owned(),
        }
    }
    list.concat()
}

/// Changes single characters.
fn characters(script: &str, random: &mut Random) -> String {
    let mut list: Vec<char> = script.chars().collect();
    for _ in 0..1 + random.below(4) {
        let (at, other) = (random.below(list.len()), random.below(list.len()));
        if list.is_empty() {
            break;
        }
        match random.below(6) {
            0 => drop(list.remove(at)),
            1 => list.insert(at, *random.pick(CHARACTERS)),
            2 => list[at] = *random.pick(CHARACTERS),
            3 => list.insert(at, list[other]),
            4 => list.swap(at, other),
            // The lowest bits: another letter, digit or sign.
            _ => list[at] = char::from_u32(list[at] as u32 ^ (1 << random.below(5))).unwrap_or('?'),
        }
    }
    list.into_iter().collect()
}

/// Puts a piece of another script in place of one of this.
fn graft(script: &str, other: &str, random: &mut Random) -> String {
    let (mut list, from) = (tokens(script), tokens(other));
    let at = random.below(list.len() + 1).min(list.len());
    let end = (at + random.below(20)).min(list.len());
    let start = random.below(from.len() + 1).min(from.len());
    let piece = from[start..(start + 1 + random.below(40)).min(from.len())].to_vec();
    list.splice(at..end, piece);
    list.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_the_whole_script() {
        let script = "begin { @a_1[\"x y\"] = 0x10; }\n";
        assert_eq!(tokens(script).concat(), script);
        assert_eq!(tokens("a_1 ++2")[..], ["a_1", " ", "+", "+", "2"]);
    }

    #[test]
    fn any_script_can_be_broken() {
        for script in ["", "x", "\u{e9}", "begin { print(1); }"] {
            for seed in 0..500 {
                let make = || mutate(script, "end { exit(); }", &mut Random::new(seed));
                assert_eq!(make(), make());
            }
        }
    }
}
