//! Control flow: blocks, `if`, loops.

use cranelift_codegen::ir::InstBuilder;

use super::{Block, Bool, FuncBuilder, Value};

/// An `if` under construction.
#[derive(Debug)]
#[must_use = "close it with end_if"]
pub struct If {
    otherwise: Option<Block>,
    end: Block,
}

/// A loop under construction. `continue` jumps to `header` (or to a block of
/// the caller's that steps first), `break` to `exit`.
#[derive(Debug)]
#[must_use = "close it with end_loop"]
pub struct Loop {
    /// Where the condition is computed.
    pub header: Block,
    /// Where the code after the loop starts.
    pub exit: Block,
}

impl FuncBuilder<'_> {
    /// A new block, not yet sealed.
    pub fn create_block(&mut self) -> Block {
        Block(self.inner.create_block())
    }

    /// Continues emission in `block`.
    pub fn switch_to(&mut self, block: Block) {
        self.inner.switch_to_block(block.0);
    }

    /// States that all jumps to `block` have been emitted. Blocks left unsealed
    /// are sealed at the end of the function; early is faster.
    pub fn seal(&mut self, block: Block) {
        self.inner.seal_block(block.0);
    }

    /// Goes on to `block`.
    pub fn jump(&mut self, block: Block) {
        self.inner.ins().jump(block.0, &[]);
        self.start_unreachable();
    }

    /// Goes on to `yes` if the condition holds, else to `no`.
    pub fn branch(&mut self, cond: Bool, yes: Block, no: Block) {
        self.inner.ins().brif(cond.0, yes.0, &[], no.0, &[]);
        self.start_unreachable();
    }

    /// Returns from the function.
    pub fn ret(&mut self, value: Value) {
        self.inner.ins().return_(&[value.0]);
        self.start_unreachable();
    }

    /// Returns a constant.
    pub fn ret_const(&mut self, value: i64) {
        let value = self.iconst(value);
        self.ret(value);
    }

    /// Whether nothing emitted here can run (after a jump, say).
    pub fn is_unreachable(&self) -> bool {
        self.inner.is_unreachable()
    }

    /// Opens `if cond`.
    pub fn begin_if(&mut self, cond: Bool) -> If {
        let (then, otherwise, end) = (self.create_block(), self.create_block(), self.create_block());
        self.branch(cond, then, otherwise);
        self.enter_sealed(then);
        self.inner.seal_block(otherwise.0);
        If { otherwise: Some(otherwise), end }
    }

    /// Ends the first arm, opens the second.
    pub fn begin_else(&mut self, open: &mut If) {
        let otherwise = open.otherwise.take().expect("an if has one else");
        self.jump(open.end);
        self.switch_to(otherwise);
    }

    /// Closes an `if`, with or without `else`.
    pub fn end_if(&mut self, mut open: If) {
        if open.otherwise.is_some() {
            self.begin_else(&mut open);
        }
        self.jump(open.end);
        self.enter_sealed(open.end);
    }

    /// Opens a loop and stands in its header, where the condition belongs.
    pub fn begin_loop(&mut self) -> Loop {
        let open = Loop { header: self.create_block(), exit: self.create_block() };
        self.jump(open.header);
        self.switch_to(open.header);
        open
    }

    /// Leaves the loop unless `cond` holds, and stands in the body.
    ///
    /// Tests the negated condition with the exit first: the optimiser loses
    /// track of a loop whose exit block it visits before the body, and then
    /// hoists no invariants out of it.
    pub fn loop_while(&mut self, open: &Loop, cond: Bool) {
        let body = self.create_block();
        let done = self.negate(cond);
        self.branch(done, open.exit, body);
        self.enter_sealed(body);
    }

    /// Closes the loop: back to the header, and on after the exit.
    pub fn end_loop(&mut self, open: Loop) {
        self.jump(open.header);
        self.inner.seal_block(open.header.0);
        self.enter_sealed(open.exit);
    }

    fn enter_sealed(&mut self, block: Block) {
        self.inner.seal_block(block.0);
        self.inner.switch_to_block(block.0);
    }

    fn start_unreachable(&mut self) {
        let block = self.create_block();
        self.enter_sealed(block);
    }
}
