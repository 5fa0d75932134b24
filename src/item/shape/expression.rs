//! An expression in jq's language, compiled once and computed on many items.

use std::fmt;
use std::sync::Arc;

use jaq_core::data::JustLut;
use jaq_core::load::{Arena, Error, File, Loader};
use jaq_core::{Compiler, Ctx, Filter, Vars, unwrap_valr};
use jaq_json::Val;

use super::ShapeError;
use crate::item::types::Refusal;

/// What jq offers that ends the process, writes to the terminal, reads the environment, or gives another value at the
/// verify than it gave at the restore.
const BEYOND_THE_ITEM: [&str; 6] = ["halt", "halt_error", "stderr", "stderr_empty", "env", "now"];

/// An item as expressions see it: plain JSON, binary as byte strings.
pub(super) type View = Val;

#[derive(Clone)]
pub(super) struct Expression {
    text: Arc<str>,
    filter: Arc<Filter<JustLut<Val>>>,
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Expression").field(&self.text).finish()
    }
}

impl Expression {
    /// Compiles `text`, which `option` gave.
    pub(super) fn new(option: &str, text: &str) -> Result<Self, ShapeError> {
        let said = |what: String| ShapeError(format!("{option} {text:?} is no jq expression: {what}"));
        let arena = Arena::default();
        let defs = jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs());
        let defs = defs.filter(|def| !BEYOND_THE_ITEM.contains(&def.name));
        let modules = Loader::new(defs).load(&arena, File { code: text, path: () }).map_err(|errors| {
            said(errors.into_iter().next().map_or_else(String::new, |(_, error)| wrong(text, error)))
        })?;
        let funs = jaq_core::funs().chain(jaq_std::funs()).chain(jaq_json::funs());
        let funs = funs.filter(|(name, ..)| !BEYOND_THE_ITEM.contains(name));
        let filter = Compiler::default().with_funs(funs).compile(modules).map_err(|errors| {
            let undefined = errors.into_iter().flat_map(|(_, undefined)| undefined).next();
            said(undefined.map_or_else(String::new, |(name, what)| format!("there is no {} {name}", what.as_str())))
        })?;
        Ok(Self { text: text.into(), filter: Arc::new(filter) })
    }

    /// True when one of its values is neither false nor null.
    pub(super) fn is_true(&self, view: &View) -> Result<bool, Refusal> {
        for value in self.values(view) {
            if !matches!(value?, Val::Null | Val::Bool(false)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Its value; `None` when it gives none.
    pub(super) fn value(&self, view: &View) -> Result<Option<Val>, Refusal> {
        let mut values = self.values(view);
        let first = values.next().transpose()?;
        if values.next().is_some() {
            return Err(Refusal::Expression(self.text.to_string(), "it gives more than one value".to_owned()));
        }
        Ok(first)
    }

    fn values<'a>(&'a self, view: &View) -> impl Iterator<Item = Result<Val, Refusal>> + 'a {
        let context = Ctx::<JustLut<Val>>::new(&self.filter.lut, Vars::new([]));
        self.filter.id.run((context, view.clone())).map(|value| {
            unwrap_valr(value)
                .map_err(|error| Refusal::Expression(self.text.to_string(), shortened(&error.to_string())))
        })
    }
}

/// An error may hold the whole item.
fn shortened(words: &str) -> String {
    let mut short: String = words.chars().take(200).collect();
    if short.len() < words.len() {
        short.push('…');
    }
    short
}

fn wrong(text: &str, error: Error<&str>) -> String {
    let near = |at: &str| {
        let at: String = at.chars().take(20).collect();
        if at.is_empty() { "at its end".to_owned() } else { format!("at {at:?}") }
    };
    match error {
        Error::Lex(errors) => errors
            .into_iter()
            .next()
            .map_or_else(|| near(text), |(expected, at)| format!("{} expected {}", expected.as_str(), near(at))),
        Error::Parse(errors) => errors
            .into_iter()
            .next()
            .map_or_else(|| near(text), |(expected, at)| format!("{} expected {}", expected.as_str(), near(at))),
        Error::Io(_) => "it can't load modules".to_owned(),
    }
}
