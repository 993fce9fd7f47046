//! The machine that tracers run on: where its registers lie.
//!
//! In: nothing. Out: offsets in `struct pt_regs`, which kprobes, uprobes and perf
//! events see as their context. A leaf: adding a machine means adding a table.

/// What lowering must know of a machine.
#[derive(Debug)]
pub struct Target {
    /// Name as `uname -m` prints it.
    pub name: &'static str,
    /// Offsets in `struct pt_regs` of the registers that carry arguments.
    pub arguments: &'static [u32],
    /// Offset of the register that carries the return value.
    pub result: u32,
    /// Offset of the instruction pointer.
    pub instruction_pointer: u32,
    /// Offset of the stack pointer.
    pub stack_pointer: u32,
    /// Bytes between the stack pointer at a function's entry and its first stack argument.
    pub stack_arguments: u32,
    /// Names for `reg()`.
    pub registers: &'static [(&'static str, u32)],
    /// How to see whether user code was interrupted: offset of a register, mask;
    /// user mode if `register & mask` is `equals`.
    pub user_mode: UserMode,
}

/// See [`Target::user_mode`].
#[derive(Debug)]
pub struct UserMode {
    /// Offset of the register.
    pub register: u32,
    /// Bits that tell.
    pub mask: i64,
    /// Their value in user mode.
    pub equals: i64,
}

/// `struct pt_regs` of `arch/x86/include/uapi/asm/ptrace.h`: 8 bytes each, in this order.
pub static X86_64: Target = Target {
    name: "x86_64",
    arguments: &[112, 104, 96, 88, 72, 64],
    result: 80,
    instruction_pointer: 128,
    stack_pointer: 152,
    // The return address lies at the stack pointer.
    stack_arguments: 8,
    registers: &[
        ("r15", 0),
        ("r14", 8),
        ("r13", 16),
        ("r12", 24),
        ("bp", 32),
        ("bx", 40),
        ("r11", 48),
        ("r10", 56),
        ("r9", 64),
        ("r8", 72),
        ("ax", 80),
        ("cx", 88),
        ("dx", 96),
        ("si", 104),
        ("di", 112),
        ("orig_ax", 120),
        ("ip", 128),
        ("cs", 136),
        ("flags", 144),
        ("sp", 152),
        ("ss", 160),
    ],
    // The two low bits of CS are the privilege level.
    user_mode: UserMode { register: 136, mask: 3, equals: 3 },
};

impl Target {
    /// Offset of a register by its name for `reg()`.
    pub fn register(&self, name: &str) -> Option<u32> {
        self.registers.iter().find(|r| r.0 == name).map(|r| r.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_agree_with_names() {
        let by_name = ["di", "si", "dx", "cx", "r8", "r9"].map(|n| X86_64.register(n).unwrap());
        assert_eq!(by_name, X86_64.arguments);
        assert_eq!(X86_64.register("sp"), Some(X86_64.stack_pointer));
        assert_eq!(X86_64.register("ip"), Some(X86_64.instruction_pointer));
        assert_eq!(X86_64.register("xyz"), None);
    }
}
