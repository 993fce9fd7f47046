//! Types as C spells them, for messages, `--emit` and listings.

use super::store::MAX_CHAIN;
use super::{CKind, CTypeId, Composite, TypeStore};

impl TypeStore {
    /// The C spelling of a type: `struct task_struct *`, `char[16]`,
    /// `int (*)(struct file *, int)`.
    pub fn name_of(&self, id: CTypeId) -> String {
        self.declaration(id, "")
    }

    /// The C declaration of something of a type: `char comm[16]`.
    pub fn declaration(&self, id: CTypeId, name: &str) -> String {
        self.declare(id, name.to_owned(), 0)
    }

    /// Works from the name outwards, as C declarators do.
    fn declare(&self, id: CTypeId, inner: String, depth: usize) -> String {
        if depth > MAX_CHAIN {
            return format!("...{inner}");
        }
        let base = match &self.get(id).kind {
            CKind::Pointer(to) => {
                let suffixed = matches!(self.get(*to).kind, CKind::Array { .. } | CKind::Function(_));
                let inner = if suffixed { format!("(*{inner})") } else { format!("*{inner}") };
                return self.declare(*to, inner, depth + 1);
            }
            CKind::Array { elem, len } => {
                return self.declare(*elem, format!("{inner}[{len}]"), depth + 1);
            }
            CKind::Function(signature) => {
                let mut params: Vec<_> = signature
                    .params
                    .iter()
                    .map(|(name, ty)| {
                        let name = name.as_deref().unwrap_or("").to_owned();
                        self.declare(*ty, name, depth + 1)
                    })
                    .collect();
                if signature.variadic {
                    params.push("...".to_owned());
                } else if params.is_empty() {
                    params.push("void".to_owned());
                }
                let inner = format!("{inner}({})", params.join(", "));
                return self.declare(signature.ret, inner, depth + 1);
            }
            CKind::Void => "void".to_owned(),
            CKind::Int(int) => int.name.to_string(),
            CKind::Float { name, .. } | CKind::Typedef { name, .. } => name.to_string(),
            CKind::Composite(composite) => composite_name(composite),
            CKind::Forward { name, union } => format!("{} {name}", tag(*union)),
            CKind::Enum(e) => format!("enum {}", e.name.as_deref().unwrap_or("(anonymous)")),
        };
        match inner.as_bytes().first() {
            None => base,
            Some(b'[') => base + &inner,
            Some(_) => base + " " + &inner,
        }
    }
}

fn tag(union: bool) -> &'static str {
    if union { "union" } else { "struct" }
}

fn composite_name(composite: &Composite) -> String {
    let name = composite.name.as_deref().unwrap_or("(anonymous)");
    format!("{} {name}", tag(composite.union))
}
