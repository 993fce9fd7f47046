//! A large script of what is hard on the verifier and the stack.
//!
//! Input: the number of probes. Output: the script, seven lines for each: maps of
//! ten keys, tuples of tuples, long texts, chains of kernel structs, loops.

use std::fmt::Write as _;

/// What the probes do in turn; `#` is the number of the probe.
const BODIES: &[&[&str]] = &[
    &[
        "@ten#[pid, tid, cpu, comm, uid, gid, 7, \"key\", (int8)-1, #] = count();",
        "@ten#[1, 2, 0, \"x\", 3, 4, 7, \"longer key\", (int8)2, #] = count();",
        "$n = len(\"0123456789\") + #;",
        "if ($n > 1000000) { printf(\"never %d\\n\", $n); }",
        "print((#, \"ten keys\"));",
    ],
    &[
        "$t = ((1, (\"a\", 2)), (int16)#, ((\"b\", (3, true)), 4));",
        "@tuple#[$t.0, $t.1] = $t.2;",
        "$same = $t.0 == (1, (\"a\", 2));",
        "@tuple#[(5, (\"c\", 6)), (int16)1] = ((\"d\", (7, $same)), 8);",
        "print(($t, @tuple#[$t.0, $t.1].0.1));",
    ],
    &[
        "$s = \"a text that is long enough to need more than a few words of memory, and then some more of it\";",
        "@text#[$s, comm] = $s;",
        "@text#[\"short\", \"key\"] = strcontains($s, \"few words\") ? $s : \"not in it\";",
        "if ($s == \"another\" || strncmp($s, \"a text\", 6) != 0) { print(\"never\"); }",
        "printf(\"%d %s %.6s\\n\", #, $s, @text#[$s, comm]);",
    ],
    &[
        "$task = curtask;",
        "$up = $task->real_parent->real_parent->real_parent->real_parent;",
        "$file = $task->files->fdt->fd[0];",
        "@chain# = ($up->pid >= 0, $task->mm->mm_users.counter > 0, $task->nsproxy->pid_ns_for_children->level);",
        "printf(\"%d %d\\n\", #, $task->group_leader->tgid == pid || $file != 0);",
    ],
    &[
        "$sum = 0; $bits = (uint8)#;",
        "for ($i : 0..40) { if ($i % 3 == 0) { continue; } $sum += $i * #; if ($sum > 100000) { break; } }",
        "$left = 20; while ($left > 0) { $left--; $bits ^= (uint8)$left; @loop#[$left & 3] = max($bits); }",
        "unroll(5) { $sum = $sum * 3 + 1; @h# = hist($sum); @l# = lhist($sum, 0, 1000, 100); }",
        "if ($sum > 500) { @s# = stats($sum); } else if ($sum > 50) { @s# = stats(1); } else { @s# = stats(0); }",
    ],
];

/// The script.
pub fn large(probes: usize) -> String {
    let mut out = String::new();
    for number in 0..probes {
        let _ = writeln!(out, "begin {{");
        for line in BODIES[number % BODIES.len()] {
            let _ = writeln!(out, "  {}", line.replace('#', &number.to_string()));
        }
        let _ = writeln!(out, "}}");
    }
    out
}
