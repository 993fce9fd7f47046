//! Types that the script itself defines, by name.
//!
//! In: what the C front end parsed. Out: ids.
//! Invariants: a script's definition hides the kernel's of the same name; a
//! forward declaration and its later definition share one id, so pointers made
//! in between see the definition; defining the same thing twice is fine, as
//! headers are included twice, defining something else is an error.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::lookup::TagKind;
use super::{CEnum, CKind, CType, CTypeId, Composite, Origin, TypeStore};

/// Names the script gave to types.
#[derive(Default)]
pub(super) struct Names {
    tags: RefCell<BTreeMap<Rc<str>, CTypeId>>,
    typedefs: RefCell<BTreeMap<Rc<str>, CTypeId>>,
    enumerators: RefCell<BTreeMap<Rc<str>, (CTypeId, i64)>>,
    /// Structs and unions whose bodies are being read.
    open: RefCell<Vec<CTypeId>>,
}

/// A name was defined before, as something else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redefinition {
    /// The name.
    pub name: Rc<str>,
    /// What it was before.
    pub previous: CTypeId,
}

impl TypeStore {
    /// `struct NAME` or `union NAME` without a body: the script's type of that
    /// name, which may still be a forward declaration. A lookup through the
    /// store resolves it to the kernel's definition if the script has none.
    pub fn declare_composite(&self, name: &str, union: bool) -> Result<CTypeId, Redefinition> {
        if let Some(&id) = self.names.tags.borrow().get(name) {
            let kind = self.get(id).kind.clone();
            return match kind {
                CKind::Composite(c) if c.union == union => Ok(id),
                CKind::Forward { union: u, .. } if u == union => Ok(id),
                _ => Err(redefinition(name, id)),
            };
        }
        let name: Rc<str> = name.into();
        let id = self.add_script(CKind::Forward { name: name.clone(), union });
        self.names.tags.borrow_mut().insert(name, id);
        Ok(id)
    }

    /// The body of a declared struct or union begins: until it ends the name stands
    /// for this unfinished type, also where the kernel has one of the name.
    pub fn open_definition(&self, id: CTypeId) {
        self.names.open.borrow_mut().push(id);
    }

    /// The body ends.
    pub fn close_definition(&self, id: CTypeId) {
        self.names.open.borrow_mut().retain(|&open| open != id);
    }

    /// Is the body of this type being read?
    pub(super) fn is_open(&self, id: CTypeId) -> bool {
        self.names.open.borrow().contains(&id)
    }

    /// A struct or union with a body; anonymous if it has no name.
    pub fn define_composite(&self, composite: Composite) -> Result<CTypeId, Redefinition> {
        let Some(name) = composite.name.clone() else {
            return Ok(self.add_script(CKind::Composite(composite)));
        };
        let known = self.names.tags.borrow().get(&name).copied();
        let union = composite.union;
        let kind = CKind::Composite(composite);
        match known {
            None => {
                let id = self.add_script(kind);
                self.names.tags.borrow_mut().insert(name, id);
                Ok(id)
            }
            Some(id) => match &self.get(id).kind {
                CKind::Forward { union: u, .. } if *u == union => {
                    self.complete(id, kind);
                    Ok(id)
                }
                old if *old == kind => Ok(id),
                _ => Err(redefinition(&name, id)),
            },
        }
    }

    /// Puts the definition where the forward declaration was.
    fn complete(&self, id: CTypeId, kind: CKind) {
        let mut script = self.inner.script.borrow_mut();
        if let Some(slot) = script.get_mut(id.0 as usize) {
            *slot = Rc::new(CType { kind, origin: Origin::Script });
        }
    }

    /// Gives a struct that was added without members, because they may point
    /// back at it, what it consists of.
    pub fn complete_struct(&self, id: CTypeId, composite: Composite) {
        self.complete(id, CKind::Composite(composite));
    }

    /// An enumeration; its values become constants.
    pub fn define_enum(&self, definition: CEnum) -> Result<CTypeId, Redefinition> {
        let known = match &definition.name {
            Some(name) => self.names.tags.borrow().get(name).copied(),
            None => None,
        };
        if let Some(id) = known {
            return match &self.get(id).kind {
                CKind::Enum(old) if *old == definition => Ok(id),
                _ => Err(redefinition(definition.name.as_deref().unwrap_or(""), id)),
            };
        }
        let taken = definition.values.iter().find_map(|(name, _)| {
            let id = self.names.enumerators.borrow().get(name)?.0;
            Some(redefinition(name, id))
        });
        if let Some(error) = taken {
            return Err(error);
        }
        let id = self.add_script(CKind::Enum(definition.clone()));
        if let Some(name) = definition.name {
            self.names.tags.borrow_mut().insert(name, id);
        }
        let mut enumerators = self.names.enumerators.borrow_mut();
        for (name, value) in definition.values {
            enumerators.insert(name, (id, value));
        }
        Ok(id)
    }

    /// `typedef TARGET NAME`. It may repeat or replace a built-in or kernel name.
    pub fn define_typedef(&self, name: &str, target: CTypeId) -> Result<CTypeId, Redefinition> {
        if let Some(&id) = self.names.typedefs.borrow().get(name) {
            return match &self.get(id).kind {
                CKind::Typedef { target: old, .. } if *old == target => Ok(id),
                _ => Err(redefinition(name, id)),
            };
        }
        let name: Rc<str> = name.into();
        let id = self.add_script(CKind::Typedef { name: name.clone(), target });
        self.names.typedefs.borrow_mut().insert(name, id);
        Ok(id)
    }

    /// The script's struct, union or enum of this name.
    pub(super) fn script_tag(&self, name: &str, tag: TagKind) -> Option<CTypeId> {
        let id = *self.names.tags.borrow().get(name)?;
        tag.matches(&self.get(id).kind).then_some(id)
    }

    pub(super) fn script_typedef(&self, name: &str) -> Option<CTypeId> {
        self.names.typedefs.borrow().get(name).copied()
    }

    pub(super) fn script_enumerator(&self, name: &str) -> Option<(CTypeId, i64)> {
        self.names.enumerators.borrow().get(name).copied()
    }

    /// All type names of the script, for suggestions.
    pub(super) fn script_names(&self) -> Vec<Rc<str>> {
        let tags = self.names.tags.borrow();
        let typedefs = self.names.typedefs.borrow();
        tags.keys().chain(typedefs.keys()).cloned().collect()
    }

    /// All enumerators of the script, for suggestions.
    pub(super) fn script_enumerators(&self) -> Vec<Rc<str>> {
        self.names.enumerators.borrow().keys().cloned().collect()
    }
}

fn redefinition(name: &str, previous: CTypeId) -> Redefinition {
    Redefinition { name: name.into(), previous }
}
