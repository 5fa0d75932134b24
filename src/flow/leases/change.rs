//! A conditional change of one lease: what it expects, what it sets. Pure; the table and the tests' memory both apply it.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;

use super::row::{self, Lease, LeaseCheckpoint};

/// What a lease must be like for a change to apply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Owner and counter are these still: nobody renewed or took it since it was looked at.
    Unmoved {
        /// The owner.
        owner: Option<String>,
        /// The counter.
        counter: u64,
    },
    /// This worker is the one that still finishes what it began.
    Leaving(String),
}

/// What becomes of a worker's name in a lease.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Worker {
    /// It stays.
    #[default]
    Same,
    /// It is taken out.
    Nobody,
    /// This one comes in.
    Is(String),
}

impl Worker {
    fn apply(&self, to: &mut Option<String>) {
        match self {
            Self::Same => {}
            Self::Nobody => *to = None,
            Self::Is(worker) => *to = Some(worker.clone()),
        }
    }
}

/// A change of one lease.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Its shard.
    pub shard: String,
    /// When it applies.
    pub expected: Expected,
    /// The new counter.
    pub counter: Option<u64>,
    /// The new owner.
    pub owner: Worker,
    /// Who finishes before the owner begins.
    pub leaving: Worker,
    /// The new checkpoint, and the place within the aggregate there.
    pub checkpoint: Option<(LeaseCheckpoint, u64)>,
    /// Owners since the last checkpoint.
    pub switches: Option<u64>,
    /// The shards that came from it.
    pub children: Vec<String>,
    /// What is read of it, KB/s.
    pub kb_per_second: Option<f64>,
}

impl Change {
    /// A change of `lease` that sets nothing yet, and applies while the lease is as it was seen.
    fn of(lease: &Lease) -> Self {
        Self {
            shard: lease.shard.clone(),
            expected: Expected::Unmoved { owner: lease.owner.clone(), counter: lease.counter },
            counter: None,
            owner: Worker::Same,
            leaving: Worker::Same,
            checkpoint: None,
            switches: None,
            children: Vec::new(),
            kb_per_second: None,
        }
    }

    /// Its owner says that it lives.
    pub fn renew(lease: &Lease) -> Self {
        Self { counter: Some(lease.counter + 1), ..Self::of(lease) }
    }

    /// `me` takes it; `leaving` is who is asked to finish first.
    pub fn take(lease: &Lease, me: &str, leaving: Option<&str>) -> Self {
        Self {
            counter: Some(lease.counter + 1),
            owner: Worker::Is(me.to_owned()),
            leaving: leaving.map_or(Worker::Nobody, |worker| Worker::Is(worker.to_owned())),
            switches: Some(lease.switches + 1),
            ..Self::of(lease)
        }
    }

    /// Its owner gives it up.
    pub fn give_up(lease: &Lease) -> Self {
        Self { owner: Worker::Nobody, leaving: Worker::Nobody, ..Self::renew(lease) }
    }

    /// `me`, which was asked to, has finished: the new owner may begin.
    pub fn handed_over(lease: &Lease, me: &str) -> Self {
        Self { expected: Expected::Leaving(me.to_owned()), leaving: Worker::Nobody, ..Self::of(lease) }
    }

    /// The same, with how far the shard was run.
    #[must_use]
    pub fn at(self, checkpoint: Option<(LeaseCheckpoint, u64)>) -> Self {
        let switches = if checkpoint.is_some() { Some(0) } else { self.switches };
        Self { checkpoint, switches, ..self }
    }

    /// Whether it applies to `lease` as it is now.
    pub fn applies(&self, lease: &Lease) -> bool {
        match &self.expected {
            Expected::Unmoved { owner, counter } => lease.owner == *owner && lease.counter == *counter,
            Expected::Leaving(worker) => lease.leaving.as_ref() == Some(worker),
        }
    }

    /// What becomes of `lease`.
    pub fn apply(&self, lease: &mut Lease) {
        if let Some(counter) = self.counter {
            lease.counter = counter;
        }
        self.owner.apply(&mut lease.owner);
        self.leaving.apply(&mut lease.leaving);
        if let Some((checkpoint, sub)) = &self.checkpoint {
            lease.checkpoint = checkpoint.clone();
            lease.sub = *sub;
        }
        if let Some(switches) = self.switches {
            lease.switches = switches;
        }
        if !self.children.is_empty() {
            lease.children.clone_from(&self.children);
        }
        if let Some(kb) = self.kb_per_second {
            lease.kb_per_second = kb;
        }
    }

    /// The same as `UpdateItem` says it.
    pub(super) fn expression(&self) -> Expression {
        let mut expression = Expression::default();
        let text = |text: &str| AttributeValue::S(text.to_owned());
        match &self.expected {
            Expected::Unmoved { owner, counter } => {
                let counter = expression.is(row::COUNTER, AttributeValue::N(counter.to_string()));
                let owner = match owner {
                    Some(owner) => expression.is(row::OWNER, text(owner)),
                    None => format!("attribute_not_exists({})", expression.name(row::OWNER)),
                };
                expression.condition = format!("{counter} AND {owner}");
            }
            Expected::Leaving(worker) => expression.condition = expression.is(row::LEAVING, text(worker)),
        }
        let number = |n: u64| AttributeValue::N(n.to_string());
        expression.set(row::COUNTER, self.counter.map(number));
        expression.set_worker(row::OWNER, &self.owner);
        expression.set_worker(row::LEAVING, &self.leaving);
        let checkpoint = self.checkpoint.as_ref();
        expression.set(row::CHECKPOINT, checkpoint.map(|(at, _)| text(&at.to_string())));
        expression.set(row::SUB, checkpoint.map(|(_, sub)| number(*sub)));
        expression.set(row::SWITCHES, self.switches.map(number));
        expression.set(row::CHILDREN, (!self.children.is_empty()).then(|| AttributeValue::Ss(self.children.clone())));
        expression.set(row::KB, self.kb_per_second.map(|kb| AttributeValue::N(format!("{kb:.1}"))));
        expression
    }
}

/// The parts of an `UpdateItem`.
#[derive(Debug, Default)]
pub(super) struct Expression {
    pub condition: String,
    pub names: HashMap<String, String>,
    pub values: HashMap<String, AttributeValue>,
    sets: Vec<String>,
    removes: Vec<String>,
}

impl Expression {
    fn name(&mut self, name: &str) -> String {
        let short = format!("#{name}");
        self.names.insert(short.clone(), name.to_owned());
        short
    }

    fn value(&mut self, value: AttributeValue) -> String {
        let short = format!(":v{}", self.values.len());
        self.values.insert(short.clone(), value);
        short
    }

    fn is(&mut self, name: &str, value: AttributeValue) -> String {
        format!("{} = {}", self.name(name), self.value(value))
    }

    /// `None` leaves the attribute alone.
    fn set(&mut self, name: &str, value: Option<AttributeValue>) {
        if let Some(value) = value {
            let set = self.is(name, value);
            self.sets.push(set);
        }
    }

    fn set_worker(&mut self, name: &str, worker: &Worker) {
        match worker {
            Worker::Same => {}
            Worker::Nobody => {
                let name = self.name(name);
                self.removes.push(name);
            }
            Worker::Is(worker) => self.set(name, Some(AttributeValue::S(worker.clone()))),
        }
    }

    pub fn update(&self) -> String {
        let part = |word: &str, parts: &[String]| {
            if parts.is_empty() { String::new() } else { format!("{word} {} ", parts.join(", ")) }
        };
        (part("SET", &self.sets) + &part("REMOVE", &self.removes)).trim_end().to_owned()
    }
}
