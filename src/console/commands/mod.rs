//! What can be typed after `:` with arguments. A plain table: an area adds a list of its own to [`COMMANDS`].
//!
//! A command that changes something opens the question that its key opens, filled in: there is no second way.

mod all;
mod known;

use super::app::App;
use super::effect::Effect;
pub use all::COMMANDS;
pub use known::candidates;

/// What became of a command: what is to be done, or what is wrong with it.
pub type Ran = Result<Vec<Effect>, String>;

/// A command.
#[derive(Debug)]
pub struct Command {
    /// As it is typed.
    pub name: &'static str,
    /// What follows it.
    pub arguments: &'static [Argument],
    /// What it does.
    pub help: &'static str,
    /// Does it with the words that follow.
    pub run: fn(&mut App, &[&str]) -> Ran,
}

/// What follows a command.
#[derive(Debug)]
pub struct Argument {
    /// As the usage names it.
    pub name: &'static str,
    /// What it may be.
    pub of: Of,
    /// It may be left out.
    pub is_optional: bool,
}

/// What an argument may be: what it is completed from.
#[derive(Clone, Copy, Debug)]
pub enum Of {
    /// A table.
    Table,
    /// A stream.
    Stream,
    /// A job.
    Job,
    /// An event table.
    EventTable,
    /// Something with a capacity: a table, `table/index`, a stream.
    Resource,
    /// One of these, each with what it means.
    Choice(fn(&App) -> Vec<(String, String)>),
    /// The same, where it may be several words.
    Phrase(fn(&App) -> Vec<(String, String)>),
    /// A number or a text.
    Free,
    /// Everything that follows, spaces and all.
    Rest,
}

impl Argument {
    /// True when all words that follow are it.
    fn takes_all(&self) -> bool {
        matches!(self.of, Of::Rest | Of::Phrase(_))
    }
}

const fn argument(name: &'static str, of: Of) -> Argument {
    Argument { name, of, is_optional: false }
}

const fn optional(name: &'static str, of: Of) -> Argument {
    Argument { name, of, is_optional: true }
}

/// The command of that name.
pub fn command(name: &str) -> Option<&'static Command> {
    COMMANDS.iter().flat_map(|area| area.iter()).find(|command| command.name == name)
}

impl Command {
    /// How it is typed.
    pub fn usage(&self) -> String {
        let arguments = self.arguments.iter().map(|argument| {
            if argument.is_optional { format!(" [{}]", argument.name) } else { format!(" {}", argument.name) }
        });
        format!("{}{}", self.name, arguments.collect::<String>())
    }

    /// How many words it needs.
    fn fewest(&self) -> usize {
        self.arguments.iter().filter(|argument| !argument.is_optional).count()
    }

    /// True when it can be run with nothing after it.
    pub fn needs_nothing(&self) -> bool {
        self.fewest() == 0
    }

    /// What the word at `at` may be; an optional one that is left out is passed over.
    pub fn argument(&self, words: &[&str], at: usize) -> Option<&'static Argument> {
        let skipped = self.arguments.first().is_some_and(|first| {
            first.is_optional && self.arguments.len() > 1 && words.first().is_some_and(|word| *word != first.name)
        });
        let last = self.arguments.last().filter(|last| last.takes_all());
        // While the optional word is typed, it may be either.
        self.arguments.get(at + usize::from(skipped && (at > 0 || words.len() > 1))).or(last)
    }

    /// Runs it with what was typed after it.
    pub fn run(&self, app: &mut App, rest: &str) -> Ran {
        let words: Vec<&str> = rest.split_whitespace().collect();
        let takes_all = self.arguments.last().is_some_and(Argument::takes_all);
        if words.len() < self.fewest() || words.len() > self.arguments.len() && !takes_all {
            return Err(format!("{}: {}", self.usage(), self.help));
        }
        (self.run)(app, &words)
    }
}
