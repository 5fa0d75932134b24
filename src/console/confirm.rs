//! A question before anything changes: what is there now, what will be, what it costs, how to undo it.

use tui_input::Input;

use super::effect::Effect;
use super::keymap::{Action, Keys};
use super::widget::quantity::{self, dollars, exact};
use crate::capacity::{Left, Resource, shards};
use crate::cloud::price;
use crate::jobs::journal::{Bump, Control, Job};
use crate::jobs::spec::{JobId, Kind};

/// What has to be typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    /// One key.
    Yes,
    /// The key that reviewed a form, again.
    Again,
    /// The name of what is overwritten or lost, in full.
    Name(String),
}

/// A question.
#[derive(Clone, Debug)]
pub struct Confirm {
    /// What will be done.
    pub title: String,
    /// Names and values: before, after, cost.
    pub facts: Vec<(&'static str, String)>,
    /// How to undo it, or that it can't be.
    pub undo: String,
    /// What has to be typed.
    pub token: Token,
    /// What was typed so far.
    pub typed: Input,
    /// What is done then.
    pub effect: Effect,
}

impl Confirm {
    /// True when what had to be typed was typed.
    pub fn is_given(&self) -> bool {
        match &self.token {
            Token::Yes | Token::Again => true,
            Token::Name(name) => self.typed.value() == name,
        }
    }

    /// Whether to change the capacity of `resource`, of which so many decreases are `left`; `keys` are those of its screen.
    pub fn capacity(
        resource: &Resource,
        from: u64,
        to: u64,
        left: Option<Left>,
        job: Option<&JobId>,
        keys: Keys<'_>,
    ) -> Self {
        let unit = resource.unit();
        let mut facts;
        if let Resource::Stream(_) = resource {
            let steps = shards::in_words(from, &shards::steps(from, to));
            facts = vec![
                ("now", format!("{} shards", exact(from))),
                ("then", format!("{} shards", exact(to))),
                (
                    "costs",
                    format!(
                        "{}/h, now {}/h (${:.3} a shard-hour, {} list price)",
                        dollars(price::shard_dollars_per_hour(to)),
                        dollars(price::shard_dollars_per_hour(from)),
                        price::shard_dollars_per_hour(1),
                        price::prices().region
                    ),
                ),
                ("AWS takes", format!("at most double, at least half a call; {} calls in 24 h", shards::CHANGES_A_DAY)),
                ("this is", steps),
            ];
        } else {
            let (before, after) = (price::write_dollars_per_hour(from), price::write_dollars_per_hour(to));
            let difference = after - before;
            let sign = if difference < 0.0 { "-" } else { "+" };
            facts = vec![
                ("now", format!("{} WCU   {}/h", exact(from), dollars(before))),
                ("then", format!("{} WCU   {}/h", exact(to), dollars(after))),
                (
                    "difference",
                    format!(
                        "{sign}{}/h (us-east-1 on-page price of {})",
                        dollars(difference.abs()),
                        // What a WCU costs is known to the cent's thousandth.
                        format_args!("${:.5} per WCU-hour", price::write_dollars_per_hour(1))
                    ),
                ),
            ];
        }
        if let Some(left) = left {
            // A raise is given back with one: worth knowing before.
            facts.push(("decreases", left.to_string()));
        }
        let undo = match job {
            Some(id) if to > from => format!("it is given back when {id} ends"),
            Some(_) => {
                let raise = keys.named("raise it again", Action::Raise);
                format!("{raise}: a lowered table stays lowered when the job ends")
            }
            None if to > from => {
                format!("what it was is remembered: {} sets it back", keys.named("give back", Action::GiveBack))
            }
            None => keys.named("raise it again", Action::Raise),
        };
        let what = match resource {
            Resource::Table(name) => format!("write capacity of {name}"),
            Resource::Index { .. } => format!("write capacity of {resource}"),
            Resource::Stream(name) => format!("{unit} of {name}"),
        };
        Self {
            title: format!("{} the {what}", if to > from { "Raise" } else { "Lower" }),
            facts,
            undo,
            token: Token::Yes,
            typed: Input::default(),
            effect: Effect::SetCapacity { resource: resource.clone(), from, to, job: job.cloned() },
        }
    }

    /// Whether to give capacity back; `lefts` are the decreases left of each, where they are known.
    pub fn give_back(bumps: Vec<Bump>, lefts: &[Option<Left>], keys: Keys<'_>) -> Self {
        let mut facts = Vec::new();
        let mut saved = 0.0;
        for (bump, left) in bumps.iter().zip(lefts) {
            let Bump { resource, before, after, .. } = bump;
            let by = bump.job.as_ref().map_or(String::new(), |job| format!(", raised for {job}"));
            facts.push((
                "give back",
                format!("{resource}: {} to {} {}{by}", exact(*after), exact(*before), resource.unit()),
            ));
            if resource.table().is_some() {
                saved += price::write_dollars_per_hour(*after) - price::write_dollars_per_hour(*before);
            }
            if let Some(left) = left {
                facts.push(("decreases", left.to_string()));
            }
        }
        facts.push(("saves", format!("{}/h", dollars(saved))));
        Self {
            title: match bumps.as_slice() {
                [one] => format!("Give back what {} was raised by", one.resource),
                _ => "Give back what was raised".to_owned(),
            },
            facts,
            undo: format!("{} raises it again", keys.named("more", Action::Raise)),
            token: Token::Yes,
            typed: Input::default(),
            effect: Effect::GiveBack(bumps),
        }
    }

    /// Whether to pause a job, let it go on, or end it.
    pub fn control(job: &Job, control: Control, keys: Keys<'_>) -> Self {
        let counters = &job.counters;
        let mut facts = vec![("now", format!("{}, {} written", job.state.as_str(), exact(counters.written)))];
        let (title, undo) = match control {
            Control::Run => {
                (format!("Let {} go on", job.id), format!("{} stops it again", keys.named("pause", Action::Pause)))
            }
            Control::Pause => {
                facts.push(("then", "nothing is written; the table's capacity stays bought".to_owned()));
                let resume = keys.named("resume", Action::Pause);
                (format!("Pause {}", job.id), format!("{resume} lets it go on where it stopped"))
            }
            Control::Cancel => {
                let left = job.total.map(|total| total.saturating_sub(counters.read));
                let left = left.map_or(String::new(), |n| format!(", about {} records unread", quantity::exact(n)));
                let kept =
                    if job.kind() == Kind::Backup { "what it wrote is removed" } else { "what is written stays" };
                facts.push(("then", format!("ended for good{left}; {kept}")));
                let undo = format!("can't be undone: a new {} starts from the beginning", job.kind());
                (format!("Cancel {}", job.id), undo)
            }
        };
        Self {
            title,
            facts,
            undo,
            token: Token::Yes,
            typed: Input::default(),
            effect: Effect::Control(job.id.clone(), control),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::keymap::{self, Scope};

    #[test]
    fn a_raise_shows_before_after_and_dollars_an_hour() {
        let (keymap, table) = (keymap::load(None).unwrap(), Resource::Table("historical".into()));
        let keys = keymap.keys(Scope::Tables);
        let question = Confirm::capacity(&table, 130, 195, None, Some(&JobId("r-7f3a".into())), keys);
        let text: Vec<String> = question.facts.iter().map(|(name, value)| format!("{name} {value}")).collect();
        assert_eq!(text[0], "now 130 WCU   $0.0845/h");
        assert_eq!(text[1], "then 195 WCU   $0.1268/h");
        assert!(text[2].starts_with("difference +$0.0423/h"), "{}", text[2]);
        assert_eq!(question.undo, "it is given back when r-7f3a ends");
    }

    #[test]
    fn a_name_must_be_typed_in_full() {
        let keymap = keymap::load(None).unwrap();
        let table = Resource::Table("t".into());
        let mut question = Confirm::capacity(&table, 1, 2, None, None, keymap.keys(Scope::Tables));
        assert!(question.is_given());
        question.token = Token::Name("historical".into());
        assert!(!question.is_given());
        question.typed = Input::new("historica".into());
        assert!(!question.is_given());
        question.typed = Input::new("historical".into());
        assert!(question.is_given());
    }
}
