//! The macros that a script and its headers left behind.
//!
//! In: the table as it stands when everything is read. Out: for a name in the
//! script, its definition or the text it expands to.
//! Invariants: expansion ends, also of macros that name each other; looking a
//! name up never changes what another name means.

use std::cell::RefCell;
use std::rc::Rc;

use super::HeaderOracle;
use super::expand::{Expander, Macro, Source};
use super::lex;
use super::token::Token;
use crate::diagnostic::Diagnostic;
use crate::span::Span;

/// Tokens one use in a script may expand to; the text is parsed again.
const MOST_TOKENS: usize = 100_000;

/// A macro, for people and for the parser of the script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MacroDef {
    /// Name.
    pub name: String,
    /// Parameters, for a macro that takes some; `Some` of none for `NAME()`.
    pub params: Option<Vec<String>>,
    /// The last parameter takes all arguments that are left.
    pub variadic: bool,
    /// Replacement as written, unexpanded.
    pub body: String,
    /// Where it is defined; `None` for what btc or the bundled tables define.
    pub span: Option<Span>,
}

/// All macros of a compilation.
pub struct Macros {
    expander: RefCell<Expander>,
    tables: Tables,
}

/// The bundled constants of the headers that were included.
#[derive(Clone)]
pub(super) struct Tables {
    pub(super) oracle: Rc<dyn HeaderOracle>,
    /// Headers in the order in which they were included.
    pub(super) headers: Vec<String>,
}

impl Tables {
    /// The first header that gives the name a value decides.
    pub(super) fn constant(&self, name: &str) -> Option<String> {
        self.headers.iter().find_map(|header| self.oracle.constant(header, name))
    }
}

/// No tokens but those of the macros.
impl Source for Tables {
    fn token(&mut self, _: &mut Expander) -> Token {
        Token::end(Span::default())
    }

    fn place(&self, _: Span) -> (String, u32) {
        (String::new(), 0)
    }

    fn constant(&mut self, name: &str) -> Option<String> {
        Tables::constant(self, name)
    }
}

impl Macros {
    pub(super) fn new(expander: Expander, tables: Tables) -> Macros {
        Macros { expander: RefCell::new(expander), tables }
    }

    /// The macro of this name.
    pub fn lookup(&self, name: &str) -> Option<MacroDef> {
        let mut expander = self.expander.borrow_mut();
        let sym = expander.interner.intern(name);
        let found = expander.find(sym, &mut self.tables.clone())?;
        Some(describe(&expander, name, &found))
    }

    /// Names of the macros that the script and the user's headers define,
    /// sorted, for suggestions and dumps.
    pub fn names(&self) -> Vec<String> {
        let expander = self.expander.borrow();
        let own = expander.macros.iter().filter(|(_, m)| m.span.is_some());
        let mut names: Vec<String> = own.map(|(&sym, _)| expander.interner.text(sym).to_string()).collect();
        names.sort();
        names
    }

    /// The headers that were answered from tables and BTF, in order.
    pub fn table_headers(&self) -> &[String] {
        &self.tables.headers
    }

    /// The text that a use of a macro expands to, completely expanded: `name`
    /// alone, or with the texts of its arguments. Text of the script's language
    /// (`$x`, `@m[1]`) passes through unchanged. `at` is the use.
    pub fn expand_to_text(&self, name: &str, args: Option<&[&str]>, at: Span) -> Result<String, Box<Diagnostic>> {
        let mut expander = self.expander.borrow_mut();
        let text = match args {
            None => name.to_string(),
            Some(args) => format!("{name}({})", args.join(", ")),
        };
        expander.restart(MOST_TOKENS);
        let mut tokens = lex::tokens(&text, at, &mut expander.interner);
        expander.mark_variables(&mut tokens);
        let mut source = self.tables.clone();
        let expanded = expander.expand(tokens, &mut source);
        match expander.problems.pop() {
            Some(problem) => Err(Box::new(problem)),
            None => Ok(expander.to_text(&expanded)),
        }
    }
}

fn describe(expander: &Expander, name: &str, found: &Macro) -> MacroDef {
    let body: Vec<Token> = found.body.iter().map(|b| b.token).collect();
    let text = |sym: &_| expander.interner.text(*sym).to_string();
    MacroDef {
        name: name.to_string(),
        params: found.params.as_ref().map(|p| p.iter().map(text).collect()),
        variadic: found.variadic,
        body: expander.to_text(&body),
        span: found.span,
    }
}
