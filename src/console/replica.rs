//! Replicas: the form that starts one, the plan that follows from it, and the questions before one is compared or
//! repaired.

use tui_input::Input;

use super::app::{App, Screen};
use super::confirm::{Confirm, Token};
use super::effect::Effect;
use super::keymap::{Action, Scope};
use super::widget::form::{Field, Fields};
use super::widget::quantity::{bytes, count, duration, rate};
use crate::cloud::inventory::{Table, nearest};
use crate::cloud::streams::{family, short};
use crate::jobs::journal::{Job, ShardSample};
use crate::jobs::replicate::plan::{self, Plan};
use crate::jobs::replicate::source::{Changes, Needed};
use crate::jobs::replicate::{Bootstrap, ReplicaTarget, ReplicateSpec, TableTarget};
use crate::jobs::spec::{Spec, VerifySpec};

/// Which field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    /// The table whose changes are read.
    Source,
    /// The replica.
    To,
    /// Its region.
    Region,
    /// The profile that reaches it.
    Profile,
    /// Its endpoint.
    Endpoint,
    /// Whether the replica is made.
    Create,
    /// What of the items that are there.
    Bootstrap,
    /// Cap on consumed WCU.
    MaxWcu,
    /// What the audit may read, RCU.
    Audit,
}

/// A replica that is being written down.
#[derive(Clone, Debug)]
pub struct ReplicaForm {
    /// What is typed.
    pub fields: Fields<Name>,
}

/// What a form is checked against: the names of all tables, and the tables that were described.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// `None` while they are not known.
    pub names: Option<&'a [String]>,
    /// Those that were described.
    pub tables: &'a [Table],
}

/// What the audit reads when nobody says, RCU a second.
const AUDIT: &str = "5";

impl ReplicaForm {
    /// A form for `table`, at the one field that has no default.
    pub fn new(table: &str) -> Self {
        let fields = vec![
            Field::new(Name::Source, "source", "the table whose changes are read", table),
            Field::new(Name::To, "to table", "the replica", ""),
            Field::new(Name::Region, "to region", "the source's", ""),
            Field::new(Name::Profile, "to profile", "the source's", ""),
            Field::new(Name::Endpoint, "to endpoint", "the source's, or of that region", ""),
            Field::new(Name::Create, "create it", "yes or no", "yes"),
            Field::new(Name::Bootstrap, "bootstrap", "scan or none", "scan"),
            Field::new(Name::MaxWcu, "at most WCU", "all that the replica has", ""),
            Field::new(Name::Audit, "audit, RCU/s", "no audit", AUDIT),
        ];
        Self { fields: Fields::new(fields, 1) }
    }

    /// What was typed into a field, without spaces around it.
    pub fn value(&self, name: Name) -> &str {
        self.fields.value(name)
    }

    /// True when the replica is where its source is.
    fn is_here(&self) -> bool {
        [Name::Region, Name::Profile, Name::Endpoint].into_iter().all(|name| self.value(name).is_empty())
    }

    /// What is wrong with a field now, in words.
    pub fn error(&self, name: Name, known: Known<'_>) -> Option<String> {
        let value = self.value(name);
        match name {
            Name::Source if value.is_empty() => Some("which table?".to_owned()),
            Name::Source => {
                let names = known.names?;
                (!names.iter().any(|n| n == value))
                    .then(|| format!("there is no such table: {}", nearest(value, names)))
            }
            Name::To if value.is_empty() => Some("into which table?".to_owned()),
            Name::To if self.is_here() && value == self.value(Name::Source) => {
                Some("a table is no replica of itself: another name, or another region".to_owned())
            }
            // Of a table elsewhere nothing is known: the job says it.
            Name::To if self.is_here() && !self.fields.says_yes(Name::Create) => {
                let names = known.names?;
                (!names.iter().any(|n| n == value))
                    .then(|| format!("it is not there: create it, or {}", nearest(value, names)))
            }
            Name::Endpoint if !value.is_empty() && !value.starts_with("http://") && !value.starts_with("https://") => {
                Some("a URL such as http://127.0.0.1:4566".to_owned())
            }
            Name::Create => (!matches!(value, "yes" | "no" | "y" | "n")).then(|| "yes or no".to_owned()),
            Name::Bootstrap => self.bootstrap().is_none().then(|| "scan (copy what is there) or none".to_owned()),
            Name::MaxWcu | Name::Audit => match value.parse::<f64>() {
                _ if value.is_empty() => None,
                Ok(n) if n > 0.0 && n.is_finite() => None,
                _ => Some("a number above 0, or nothing".to_owned()),
            },
            Name::To | Name::Region | Name::Profile | Name::Endpoint => None,
        }
    }

    fn bootstrap(&self) -> Option<Bootstrap> {
        match self.value(Name::Bootstrap) {
            "scan" => Some(Bootstrap::Scan),
            "none" => Some(Bootstrap::None),
            _ => None,
        }
    }

    /// The job that the form describes. Call it once there are no errors.
    pub fn spec(&self) -> ReplicateSpec {
        let said = |name| Some(self.value(name).to_owned()).filter(|text| !text.is_empty());
        ReplicateSpec {
            table: self.value(Name::Source).to_owned(),
            target: ReplicaTarget::Table(TableTarget {
                table: self.value(Name::To).to_owned(),
                region: said(Name::Region),
                profile: said(Name::Profile),
                endpoint_url: said(Name::Endpoint),
            }),
            create: self.fields.says_yes(Name::Create),
            bootstrap: self.bootstrap().unwrap_or_default(),
            max_wcu: self.value(Name::MaxWcu).parse().ok(),
            audit_rcu: self.value(Name::Audit).parse().ok(),
            // The review said what is done to it.
            may_change_stream: true,
            ..ReplicateSpec::default()
        }
    }

    /// What it will take, as far as AWS's last count of the tables goes; `None` until the source was described.
    pub fn plan(&self, known: Known<'_>) -> Option<Plan> {
        let table = |name: &str| known.tables.iter().find(|table| table.name == name);
        let source = table(self.value(Name::Source))?;
        // Of a table elsewhere nothing is known here.
        let target = table(self.value(Name::To)).filter(|_| self.is_here());
        let spec = self.spec();
        let mut plan = plan::of(&spec, source, target, false);
        plan.streams.extend(needed(source, &spec).in_words(&source.name));
        Some(plan)
    }
}

/// What has to be done to the source's stream.
fn needed(source: &Table, spec: &ReplicateSpec) -> Needed {
    Changes { arn: None, view: source.stream.clone() }.needed(spec)
}

/// A plan as names and values.
pub fn figures(plan: &Plan) -> Vec<(&'static str, String)> {
    let seconds = |seconds: f64| duration(seconds * 1000.0);
    let mut figures = vec![
        ("items", format!("about {}", count(plan.items as f64))),
        ("bytes", format!("about {}", bytes(plan.bytes as f64))),
    ];
    if !plan.bootstrap {
        figures.push(("bootstrap", "none".to_owned()));
        return figures;
    }
    let budget = plan.read_budget.map_or("no cap".to_owned(), |rcu| format!("{} RCU/s", rate(rcu)));
    figures.push(("reads", format!("{} RCU at {budget}", count(plan.rcu))));
    figures.push(("reading takes", format!("about {}", seconds(plan.read_seconds))));
    if let Some(capacity) = plan.write_capacity {
        figures.push(("writes", format!("{} WCU at {} WCU/s", count(plan.wcu), rate(capacity))));
        figures.push(("writing takes", format!("about {}", seconds(plan.write_seconds))));
    }
    figures.push(("a change stays", "24 h on the stream".to_owned()));
    figures
}

impl App {
    /// What the form of a replica is checked against.
    pub(super) fn known_to_replicas(&self) -> Known<'_> {
        Known { names: self.table_names.rows.as_deref(), tables: self.tables.rows.as_deref().unwrap_or_default() }
    }
}

/// A shard of a replica's source on screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardRow {
    /// What stands before its name: its place in its family.
    pub branch: String,
    /// Its name, without what all names begin with.
    pub name: String,
    /// How far behind its tip it is read, ms; `None` for one that is not read now.
    pub lag_ms: Option<u64>,
    /// What it is while it is not read.
    pub life: ShardLife,
}

/// What a shard is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShardLife {
    /// It is read.
    Read,
    /// It is read once its parents are.
    Waits,
    /// It was read to its end.
    Done,
}

impl ShardLife {
    /// As the screen spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Waits => "waits",
            Self::Done => "done",
        }
    }
}

impl App {
    /// The shards of a replica's source: as a family once they were listed, else those that its job reads.
    pub fn replica_shards(&self, job: &Job, read: &[ShardSample]) -> Vec<ShardRow> {
        let row = |branch: String, id: &str, life| {
            let lag_ms = read.iter().find(|shard| shard.shard == id).map(|shard| shard.lag_ms);
            ShardRow {
                branch,
                name: short(id).to_owned(),
                lag_ms,
                life: if lag_ms.is_some() { ShardLife::Read } else { life },
            }
        };
        let Some(shards) = self.table_shards.get(&job.id).filter(|shards| !shards.is_empty()) else {
            return read.iter().map(|shard| row(String::new(), &shard.shard, ShardLife::Read)).collect();
        };
        let is_read = |id: &str| read.iter().any(|shard| shard.shard == id);
        // A child waits while one of its forebears is read; any other that is not read was read before.
        let parent = |id: &str| shards.iter().find(|shard| shard.id == id).and_then(|shard| shard.parent.as_deref());
        let waits = |id: &str| std::iter::successors(parent(id), |id| parent(id)).any(is_read);
        let tree = family(shards);
        tree.into_iter()
            .map(|relative| {
                let id = &shards[relative.shard].id;
                row(relative.branch, id, if waits(id) { ShardLife::Waits } else { ShardLife::Done })
            })
            .collect()
    }
}

/// Shows the form for the table at hand; what was typed before stays.
pub(super) fn open(app: &mut App, table: Option<String>) -> Vec<Effect> {
    let form = app.replica_form.get_or_insert_with(|| ReplicaForm::new(""));
    if let Some(table) = table {
        form.fields.set(Name::Source, table);
    }
    app.go(Screen::Replica)
}

/// Enter on the form: the first error is shown, or what would start.
pub(super) fn review(app: &mut App) {
    let known = app.known_to_replicas();
    let Some(form) = &app.replica_form else { return };
    if let Some((at, error)) = form.fields.first_error(|name| form.error(name, known)) {
        return app.wrong_field(at, error);
    }
    let mut replicate = form.spec();
    let source = known.tables.iter().find(|table| table.name == replicate.table);
    // The review says that it is switched.
    replicate.switch_stream = source.is_some_and(|source| matches!(needed(source, &replicate), Needed::Switch { .. }));
    let mut facts = vec![("replicate", replicate.title())];
    if let Some(plan) = form.plan(known) {
        facts.extend(figures(&plan));
        facts.extend(plan.streams.iter().map(|words| ("stream", words.clone())));
        facts.extend(plan.warnings.iter().map(|words| ("beware", words.clone())));
    }
    // What else reads the stream loses its place.
    let token = if replicate.switch_stream { Token::Name(replicate.table.clone()) } else { Token::Again };
    facts.push(("overwrites", format!("items of the same keys in {}", replicate.target)));
    let question = Confirm {
        title: "Start this replica".to_owned(),
        facts,
        undo: format!("{} ends it; what it wrote stays, and the source's stream stays on", app.cancel_key()),
        token,
        typed: Input::default(),
        effect: Effect::Start { spec: Box::new(Spec::Replicate(replicate)), parent: None, at: None },
    };
    super::keys::ask(app, question);
}

/// Asks whether to compare a replica with its source.
pub(super) fn ask_verify(app: &mut App, job: &Job, replicate: &ReplicateSpec) {
    let spec = match VerifySpec::of_replica(&job.id, replicate, false) {
        Ok(spec) => spec,
        Err(words) => return app.say(words, true),
    };
    let question = Confirm {
        title: "Compare the replica with its source, key by key".to_owned(),
        facts: vec![
            ("verify", Spec::Verify(spec.clone()).title()),
            ("reads", "the whole of both tables, each at half of its read capacity".to_owned()),
            ("counts", "what differs for longer than the replica lags".to_owned()),
        ],
        undo: format!("it changes nothing; {} ends it", app.cancel_key()),
        token: Token::Yes,
        typed: Input::default(),
        effect: Effect::Start {
            spec: Box::new(Spec::Verify(spec)),
            parent: Some(job.id.clone()),
            at: Some(job.context.clone()),
        },
    };
    super::keys::ask(app, question);
}

/// Asks whether to repair what drifted: what the job's own audit listed, or what a verify found.
pub(super) fn ask_repair(app: &mut App) {
    let Some(job) = app.selected_job().and_then(|id| app.job(&id)).cloned() else { return };
    let (spec, drift) = match &job.spec {
        Spec::Replicate(replicate) => {
            let drift = app.audits.get(&job.id).map_or(0, crate::jobs::Audited::drift);
            if drift == 0 {
                let verify = app.keymap.chord(Scope::Job, Action::Verify).unwrap_or_default();
                let words = format!("the audit of {} has found no drift so far: {verify} compares all", job.id);
                return app.say(words, true);
            }
            match VerifySpec::of_replica(&job.id, replicate, true) {
                Ok(mut spec) => {
                    spec.replica.iter_mut().for_each(|replica| replica.listed = true);
                    (spec, drift)
                }
                Err(words) => return app.say(words, true),
            }
        }
        Spec::Verify(spec @ VerifySpec { replica: Some(replica), .. }) => {
            if job.state.is_live() {
                return app.say(format!("{} still compares: repair what it found once it is done", job.id), true);
            }
            // What it is the replica of is known to the job that keeps it: there it is seen whether it may be repaired.
            if let Some(Err(words)) = replica.job.as_ref().and_then(|id| match &app.job(id)?.spec {
                Spec::Replicate(replicate) => Some(VerifySpec::of_replica(id, replicate, true)),
                _ => None,
            }) {
                return app.say(words, true);
            }
            let report: serde_json::Value =
                job.report.as_deref().and_then(|report| serde_json::from_str(report).ok()).unwrap_or_default();
            let of = |field: &str| report[field].as_u64().unwrap_or_default();
            let drift = of("missing") + of("extra") + of("different");
            if drift == 0 {
                return app.say(format!("{} found no difference: there is nothing to repair", job.id), true);
            }
            let mut spec = spec.clone();
            spec.replica.iter_mut().for_each(|replica| replica.repair = true);
            (spec, drift)
        }
        _ => return app.say(format!("{} is a {}: a replica can be repaired", job.id, job.kind()), true),
    };
    let Some(replica) = spec.replica.clone() else { return };
    let looks = if replica.listed { "at the keys that the audit listed" } else { "at all keys of both tables" };
    let parent = replica.job.clone();
    let question = Confirm {
        title: format!("Repair the replica {}", replica.target.table),
        facts: vec![
            ("drift", format!("{} keys when they were compared", count(drift as f64))),
            ("looks", format!("{looks} once more; what agrees by then is left alone")),
            ("puts", "what is missing or different, as the source has it then".to_owned()),
            ("deletes", "what the source does not have".to_owned()),
            ("never", "what somebody else writes meanwhile".to_owned()),
        ],
        undo: "it can't be undone: what the replica held is overwritten".to_owned(),
        token: Token::Name(replica.target.table.clone()),
        typed: Input::default(),
        effect: Effect::Start { spec: Box::new(Spec::Verify(spec)), parent, at: Some(job.context) },
    };
    super::keys::ask(app, question);
}

#[cfg(test)]
#[path = "replica_tests.rs"]
pub(super) mod tests;
