//! The builder of one function: entry, variables, symbols, calls.
//!
//! Invariant: after a terminator (`jump`, `branch`, `ret`) the builder stands
//! in a fresh unreachable block, so that a caller may go on emitting; the
//! mid-end removes what nobody reaches.

use std::collections::BTreeMap;

use cranelift_codegen::ir::{self, InstBuilder, types::I64};
use cranelift_codegen::isa::{CallConv, TargetFrontendConfig};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};

use super::memory::StackPool;
use super::{FuncId, Mem, Module, Namespace, Ptr, Symbol, Value, Var};
use crate::helper::Helper;

/// All functions of our dialect: `params` words in, one word out.
pub(super) fn signature(params: usize) -> ir::Signature {
    let mut signature = ir::Signature::new(CallConv::Fast);
    signature.params.resize(params, ir::AbiParam::new(I64));
    signature.returns.push(ir::AbiParam::new(I64));
    signature
}

/// Runs `body` over a builder for `id` and stores the result in the module.
pub(super) fn define<E>(
    module: &mut Module,
    id: FuncId,
    body: impl FnOnce(&mut FuncBuilder<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let mut func = module.func(id).ir.clone();
    let mut context = FunctionBuilderContext::new();
    let mut inner = FunctionBuilder::new(&mut func, &mut context);
    let entry = inner.create_block();
    inner.append_block_params_for_function_params(entry);
    inner.switch_to_block(entry);
    inner.seal_block(entry);
    let params = inner.block_params(entry).to_vec();
    let mut builder = FuncBuilder {
        inner,
        module: &mut *module,
        params,
        stack: StackPool::default(),
        functions: BTreeMap::new(),
        globals: BTreeMap::new(),
    };
    body(&mut builder)?;
    let FuncBuilder { inner, stack, .. } = builder;
    finish(inner);
    let place = &mut module.funcs[id.0 as usize];
    place.ir = func;
    place.slot_names = stack.into_names();
    Ok(())
}

/// Closes a function: a body that falls off its end returns zero.
fn finish(mut inner: FunctionBuilder<'_>) {
    let zero = inner.ins().iconst(I64, 0);
    inner.ins().return_(&[zero]);
    inner.seal_all_blocks();
    // The configuration serves stack maps only, which we do not use.
    inner.finalize(TargetFrontendConfig {
        default_call_conv: CallConv::Fast,
        pointer_width: target_lexicon::PointerWidth::U64,
        page_size_align_log2: 12,
    });
}

/// Emits the code of one function. See [`Module::define`].
pub struct FuncBuilder<'a> {
    pub(super) inner: FunctionBuilder<'a>,
    pub(super) stack: StackPool,
    module: &'a mut Module,
    params: Vec<ir::Value>,
    functions: BTreeMap<(u32, u32), ir::FuncRef>,
    globals: BTreeMap<(u32, u32), ir::GlobalValue>,
}

impl<'a> FuncBuilder<'a> {
    /// The module, to declare and define further functions.
    pub fn module(&mut self) -> &mut Module {
        self.module
    }

    /// Parameter `index` of the function.
    pub fn param(&self, index: usize) -> Value {
        Value(self.params[index])
    }

    /// Parameter 0 as a program's context.
    pub fn ctx(&self) -> Ptr {
        Ptr { base: self.params[0], offset: 0, mem: Mem::Ctx }
    }

    /// Attributes the code emitted from now on to a source location; the
    /// meaning of the number is the caller's (`u32::MAX` means none).
    pub fn set_srcloc(&mut self, id: u32) {
        self.inner.set_srcloc(ir::SourceLoc::new(id));
    }

    /// A new local variable. Reading it before any assignment gives zero.
    pub fn var(&mut self) -> Var {
        Var(self.inner.declare_var(I64))
    }

    /// The variable's current value.
    pub fn get(&mut self, var: Var) -> Value {
        Value(self.inner.use_var(var.0))
    }

    /// Assigns to the variable.
    pub fn set(&mut self, var: Var, value: Value) {
        self.inner.def_var(var.0, value.0);
    }

    /// A constant.
    pub fn iconst(&mut self, value: i64) -> Value {
        Value(self.inner.ins().iconst(I64, value))
    }

    /// The value of `value` if it is a constant already now.
    pub fn as_const(&self, value: Value) -> Option<i64> {
        let dfg = &self.inner.func.dfg;
        let inst = dfg.value_def(value.0).inst()?;
        match dfg.insts[inst] {
            ir::InstructionData::UnaryImm { opcode: ir::Opcode::Iconst, imm } => Some(imm.bits()),
            _ => None,
        }
    }

    /// The value of a symbol: an address, an offset or a constant.
    pub fn symbol(&mut self, symbol: Symbol) -> Value {
        let id = self.module.symbols.intern(symbol);
        let key = (symbol.namespace() as u32, id.0);
        let global = match self.globals.get(&key) {
            Some(&global) => global,
            None => {
                let global = self.declare_global(key);
                self.globals.insert(key, global);
                global
            }
        };
        Value(self.inner.ins().symbol_value(I64, global))
    }

    /// The address of a map, for helpers.
    pub fn map(&mut self, index: u32) -> Value {
        self.symbol(Symbol::Map(index))
    }

    /// The address of a byte in `.rodata`, as memory to read.
    pub fn rodata(&mut self, offset: u32) -> Ptr {
        let base = self.symbol(Symbol::Rodata(offset));
        self.pointer(Mem::Rodata, base)
    }

    /// The address of a byte in `.data`, which others may change at any time.
    pub fn data(&mut self, offset: u32) -> Ptr {
        let base = self.symbol(Symbol::Data(offset));
        self.pointer(Mem::Bpf, base)
    }

    /// A constant that the optimiser cannot see.
    pub fn opaque(&mut self, value: i64) -> Value {
        self.symbol(Symbol::Opaque(value))
    }

    /// A copy of `value` about which the optimiser knows nothing. It costs no
    /// instruction. Use it on a value that is compared against a bound *and*
    /// used as an index, and use only the copy from then on: otherwise the
    /// optimiser may recompute the index in a way that old verifiers do not
    /// connect with the check. Also to keep a CO-RE access below its guard.
    pub fn barrier(&mut self, value: Value) -> Value {
        self.call_named((Namespace::Barrier as u32, 0), &[value])
    }

    /// Calls a helper; the result is its return value.
    pub fn call_helper(&mut self, helper: Helper, args: &[Value]) -> Value {
        assert_eq!(args.len(), helper.arity(), "arguments of bpf_{}", helper.name());
        self.call_named((Namespace::Helper as u32, helper.id()), args)
    }

    /// Calls a function of this module.
    pub fn call_subprog(&mut self, func: FuncId, args: &[Value]) -> Value {
        let params = self.module.func(func).ir.signature.params.len();
        assert_eq!(args.len(), params, "arguments of {}", self.module.func(func).name);
        let id = self.module.symbols.intern(Symbol::Subprog(func));
        self.call_named((Namespace::Subprog as u32, id.0), args)
    }

    /// Calls a kernel function by its number in the caller's table of names.
    pub fn call_kfunc(&mut self, ksym: u32, args: &[Value]) -> Value {
        assert!(args.len() <= 5, "BPF passes at most five arguments");
        let id = self.module.symbols.intern(Symbol::Ksym(ksym));
        self.call_named((Namespace::Ksym as u32, id.0), args)
    }

    /// Calls a function of an imported object by its number in the caller's table.
    pub fn call_imported(&mut self, function: u32, args: &[Value]) -> Value {
        assert!(args.len() <= 5, "BPF passes at most five arguments");
        let id = self.module.symbols.intern(Symbol::Imported(function));
        self.call_named((Namespace::Imported as u32, id.0), args)
    }

    fn call_named(&mut self, key: (u32, u32), args: &[Value]) -> Value {
        let function = match self.functions.get(&key) {
            Some(&function) => function,
            None => {
                let function = self.declare_function(key, args.len());
                self.functions.insert(key, function);
                function
            }
        };
        let args: Vec<ir::Value> = args.iter().map(|arg| arg.0).collect();
        let call = self.inner.ins().call(function, &args);
        Value(self.inner.inst_results(call)[0])
    }

    fn declare_function(&mut self, key: (u32, u32), params: usize) -> ir::FuncRef {
        let name = self.external_name(key);
        let signature = self.inner.import_signature(signature(params));
        self.inner.import_function(ir::ExtFuncData { name, signature, colocated: false, patchable: false })
    }

    fn declare_global(&mut self, key: (u32, u32)) -> ir::GlobalValue {
        let name = self.external_name(key);
        self.inner.create_global_value(ir::GlobalValueData::Symbol {
            name,
            offset: 0.into(),
            colocated: false,
            tls: false,
        })
    }

    fn external_name(&mut self, (namespace, index): (u32, u32)) -> ir::ExternalName {
        let name = ir::UserExternalName { namespace, index };
        ir::ExternalName::user(self.inner.func.declare_imported_user_function(name))
    }
}
