//! The store over the fixture kernel in tests/fixtures/btf, and over nothing.

use super::*;

const KERNEL: &[u8] = include_bytes!("../../../tests/fixtures/btf/kernel.btf");
const MODULE: &[u8] = include_bytes!("../../../tests/fixtures/btf/module.btf");

fn kernel() -> TypeStore {
    let module = vec![("module", MODULE.to_vec())];
    TypeStore::new(BtfSources::from_bytes(KERNEL.to_vec(), module).expect("the fixture"))
}

fn path(store: &TypeStore, ty: CTypeId, name: &str) -> (Vec<u32>, u32, Option<u8>, String) {
    let f = store.field(ty, name).expect(name);
    (f.indices, f.bit_offset, f.bit_width, store.name_of(f.ty))
}

#[test]
fn kernel_types_are_decoded_when_asked_for() {
    let store = kernel();
    let task = store.find_struct("task").expect("struct task");
    assert_eq!(store.decoded(), 0);
    assert_eq!(store.size_of(task), Some(120));
    assert!(store.is_kernel(task));
    assert_eq!(store.decoded(), 1);
    assert_eq!(store.align_of(task), 8);
}

#[test]
fn fields_are_found_through_anonymous_members_and_modifiers() {
    let store = kernel();
    let task = store.find_struct("task").expect("struct task");
    assert_eq!(path(&store, task, "state"), (vec![0], 0, None, "enum state".into()));
    assert_eq!(path(&store, task, "pid"), (vec![1], 32, None, "pid_t".into()));
    assert_eq!(path(&store, task, "comm"), (vec![2], 64, None, "char[16]".into()));
    assert_eq!(path(&store, task, "parent"), (vec![3], 192, None, "struct task *".into()));
    assert_eq!(path(&store, task, "gid"), (vec![6, 1, 1], 480, None, "u32".into()));
    let callback = "int (*)(struct task *, char *, ...)";
    assert_eq!(path(&store, task, "callback"), (vec![11], 832, None, callback.into()));
    let flags = store.field(task, "flags").expect("flags").ty;
    assert_eq!(path(&store, flags, "wide"), (vec![3], 15, Some(40), "u64".into()));
    assert!(store.field(task, "nothing").is_none());
    assert_eq!(store.similar_field(task, "gidd").as_deref(), Some("gid"));
    assert_eq!(store.field_names(task).len(), 16);
}

#[test]
fn equal_integers_have_equal_ids_wherever_they_come_from() {
    let store = kernel();
    let task = store.find_struct("task").expect("struct task");
    let raw = store.field(task, "raw").expect("raw").ty;
    assert_eq!(store.name_of(raw), "u64");
    assert_eq!(store.resolve(raw), store.integer("unsigned long long").expect("an integer"));
    assert_eq!(store.int(8, false), store.integer("unsigned long").expect("an integer"));
    assert_ne!(store.int(1, true), store.integer("char").expect("an integer"));
    let int = store.integer("int").expect("an integer");
    assert_eq!(store.pointer_to(int), store.pointer_to(int));
    assert_eq!(store.array_of(int, 4), store.array_of(int, 4));
    assert_ne!(store.array_of(int, 4), store.array_of(int, 5));
}

#[test]
fn a_forward_declaration_leads_to_the_definition_in_a_module() {
    let store = kernel();
    let task = store.find_struct("task").expect("struct task");
    let device = store.field(task, "device").expect("device").ty;
    let CKind::Pointer(to) = store.get(device).kind else {
        panic!("not a pointer");
    };
    assert!(matches!(store.get(to).kind, CKind::Forward { .. }));
    assert_eq!(store.name_of(to), "struct device");
    assert_eq!(store.size_of(to), Some(16));
    assert_eq!(path(&store, to, "owner").1, 64);
}

#[test]
fn enumerators_and_functions_are_found_by_name() {
    let store = kernel();
    assert_eq!(store.find_enumerator("DEAD").map(|e| e.1), Some(128));
    assert_eq!(store.find_enumerator("HUGE").map(|e| e.1), Some(0x1234_5678_9abc));
    assert_eq!(store.find_enumerator("NEGATIVE").map(|e| e.1), Some(-3));
    assert_eq!(store.find_enumerator("ALIVE"), None);
    let read = store.find_func("task_read", None).expect("task_read");
    assert_eq!(read.module, None);
    let signature = store.signature(read.ty).expect("a signature");
    assert_eq!(store.name_of(signature.ret), "long");
    assert_eq!(signature.params[0].0.as_deref(), Some("task"));
    assert_eq!(store.name_of(signature.params[2].1), "unsigned long");
    let open = store.find_func("device_open", None).expect("device_open");
    assert_eq!(open.module.as_deref(), Some("module"));
    assert!(store.find_func("device_open", Some("vmlinux")).is_none());
    assert_eq!(store.similar_func("task_raed").as_deref(), Some("task_read"));
}

#[test]
fn the_script_hides_the_kernel() {
    let store = kernel();
    let forward = store.declare_composite("task", false).expect("a declaration");
    let through = store.pointer_to(forward);
    assert_eq!(store.size_of(forward), Some(120), "the kernel's until defined");
    let field = FieldDecl {
        name: Some("mine".into()),
        ty: store.find_tagless("u16").expect("u16"),
        bit_width: None,
        align: None,
        packed: false,
    };
    let mine = store.lay_out(Some("task".into()), &[field], &Layout::default()).expect("a layout");
    let defined = store.define_composite(mine.clone()).expect("a definition");
    assert_eq!(defined, forward);
    assert_eq!(store.size_of(defined), Some(2));
    assert!(!store.is_kernel(defined));
    assert_eq!(store.name_of(through), "struct task *");
    assert_eq!(store.find_tagless("task"), Some(defined));
    assert_eq!(store.define_composite(mine.clone()), Ok(defined), "twice the same");
    let other = Composite { size: 4, ..mine };
    assert!(store.define_composite(other).is_err());
    assert!(store.declare_composite("task", true).is_err());
}

#[test]
fn names_work_without_any_kernel() {
    let store = TypeStore::new(BtfSources::none());
    for (name, size) in [("size_t", 8), ("__u64", 8), ("u32", 4), ("bool", 1), ("pid_t", 4)] {
        let id = store.find_tagless(name).expect(name);
        assert_eq!(store.size_of(id), Some(size), "{name}");
        assert_eq!(store.name_of(id), name);
    }
    assert_eq!(store.find_tagless("size_t"), store.find_typedef("size_t"));
    assert!(store.find_tagless("task").is_none());
    assert!(store.size_of(CTypeId::VOID).is_none());
    let values = vec![("A".into(), 1), ("B".into(), 2)];
    let definition = CEnum { name: None, size: 4, signed: false, values };
    store.define_enum(definition.clone()).expect("an enum");
    assert_eq!(store.find_enumerator("B").map(|e| e.1), Some(2));
    assert!(store.define_enum(definition).is_err(), "A is taken");
}

#[test]
fn damaged_btf_is_an_error_or_harmless() {
    assert!(BtfSources::from_bytes(b"\x7fnot btf".to_vec(), vec![]).is_err());
    for cut in 0..KERNEL.len() {
        assert!(BtfSources::from_bytes(KERNEL[..cut].to_vec(), vec![]).is_err());
    }
    for at in 24..KERNEL.len() {
        let mut bytes = KERNEL.to_vec();
        bytes[at] ^= 0x55;
        let Ok(sources) = BtfSources::from_bytes(bytes, vec![]) else {
            continue;
        };
        let store = TypeStore::new(sources);
        let _ = store.find_enumerator("DEAD");
        if let Some(task) = store.find_struct("task") {
            let _ = store.field(task, "gid");
            let _ = (store.size_of(task), store.align_of(task));
            for name in store.field_names(task) {
                let field = store.field(task, &name).expect("a listed field");
                let _ = (store.name_of(field.ty), store.size_of(field.ty));
            }
        }
    }
}

#[test]
fn files_are_kernels_or_modules_of_the_kernel_before() {
    let dir = tempfile::tempdir().expect("a directory");
    let write = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).expect("a file");
        path
    };
    let (base, split) = (write("vmlinux", KERNEL), write("my-module.btf", MODULE));
    let store = TypeStore::new(BtfSources::files(&[&base, &split]).expect("both"));
    let open = store.find_func("device_open", None).expect("device_open");
    assert_eq!(open.module.as_deref(), Some("my_module"));
    assert!(store.find_func("device_open", Some("my_module")).is_some());
    assert!(BtfSources::files(&[&split]).is_err(), "a module without its kernel");
    assert!(BtfSources::files(&[write("text", b"not BTF")]).is_err());
    assert!(BtfSources::files(&[dir.path().join("missing")]).is_err());
}

#[test]
fn types_that_contain_themselves_end() {
    // The anonymous union of struct task, with its first member made the union itself.
    let mut bytes = KERNEL.to_vec();
    let word = |at: usize| u32::from_le_bytes(KERNEL[at..at + 4].try_into().expect("4 bytes"));
    let is_union = |at: &usize| word(*at) == 0 && word(at + 4) == 5 << 24 | 2 && word(at + 8) == 8;
    let at = (24..KERNEL.len() - 12).step_by(4).find(is_union).expect("the union");
    for member in [0, 1] {
        bytes[at + 12 + 12 * member..][..4].copy_from_slice(&[0; 4]);
        bytes[at + 16 + 12 * member..][..4].copy_from_slice(&23u32.to_le_bytes());
    }
    let store = TypeStore::new(BtfSources::from_bytes(bytes, vec![]).expect("the fixture"));
    let task = store.find_struct("task").expect("struct task");
    assert!(store.field(task, "gid").is_none());
    assert!(store.field_names(task).len() < 20);
    assert_eq!(store.align_of(task), 8);
}
