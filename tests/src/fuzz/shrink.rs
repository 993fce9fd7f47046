//! Makes a failing program small: leaves out halves, quarters, ... of its parts,
//! then of the statements of each block, while it fails in the same way.
//!
//! A smaller program need not be valid any more; then it fails in another way
//! and is not taken.

use super::{Node, Script};

/// The smallest program found for which `fails` holds.
pub fn shrink(script: &Script, fails: &mut dyn FnMut(&Script) -> bool) -> Script {
    let mut best = script.clone();
    loop {
        let before = best.text().len();
        best.parts = halve(&best.parts.clone(), &mut |parts| fails(&Script { parts: parts.to_vec(), ..best.clone() }));
        for n in 0..best.parts.len() {
            let part = best.parts[n].clone();
            let mut with = best.clone();
            let items = halve(&part.items, &mut |items| {
                with.parts[n].items = items.to_vec();
                fails(&with)
            });
            with.parts[n].items = items;
            let body = nodes(&part.body, &mut |body| {
                with.parts[n].body = body.to_vec();
                fails(&with)
            });
            with.parts[n].body = body;
            best = with;
        }
        if best.text().len() >= before {
            return best;
        }
    }
}

/// Leaves out what is not needed, in pieces that get smaller.
fn halve<T: Clone>(list: &[T], fails: &mut dyn FnMut(&[T]) -> bool) -> Vec<T> {
    let mut best = list.to_vec();
    let mut piece = best.len().div_ceil(2);
    while piece > 0 {
        let mut at = 0;
        while at < best.len() {
            let mut without = best.clone();
            without.drain(at..(at + piece).min(best.len()));
            if fails(&without) { best = without } else { at += piece }
        }
        piece /= 2;
    }
    best
}

fn nodes(list: &[Node], fails: &mut dyn FnMut(&[Node]) -> bool) -> Vec<Node> {
    let mut best = halve(list, fails);
    for n in 0..best.len() {
        let Node::Blocks(blocks) = best[n].clone() else { continue };
        // Its first block in place of it all.
        let mut flat = best.clone();
        flat.splice(n..=n, blocks[0].1.clone());
        if fails(&flat) {
            return nodes(&flat, fails);
        }
        let mut with = best.clone();
        let arms = halve(&blocks, &mut |arms| {
            with[n] = Node::Blocks(arms.to_vec());
            !arms.is_empty() && fails(&with)
        });
        with[n] = Node::Blocks(arms.clone());
        for (arm, (head, body)) in arms.iter().enumerate() {
            let mut arms = match &with[n] {
                Node::Blocks(arms) => arms.clone(),
                Node::Line(_) => continue,
            };
            let small = nodes(body, &mut |body| {
                let mut with = with.clone();
                let mut arms = arms.clone();
                arms[arm] = (head.clone(), body.to_vec());
                with[n] = Node::Blocks(arms);
                fails(&with)
            });
            arms[arm].1 = small;
            with[n] = Node::Blocks(arms);
        }
        best = with;
    }
    best
}

#[cfg(test)]
mod tests {
    use super::super::{Dialect, generate};
    use super::*;

    #[test]
    fn keeps_only_what_fails() {
        for seed in 0..20 {
            let script = generate(seed, Dialect::Full, 4, 8);
            let Some(line) = script.text().lines().find(|l| l.contains("printf(")).map(|l| l.trim().to_owned()) else {
                continue;
            };
            let small = shrink(&script, &mut |s| s.text().contains(&line));
            assert!(small.text().contains(&line));
            assert!(small.text().lines().count() <= 5, "{}", small.text());
        }
    }
}
