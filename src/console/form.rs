//! The restore form: fields with their errors, and the plan that follows from them.

use std::time::Duration;

use jiff::Timestamp;

use super::widget::form::{Field, Fields};
use super::widget::quantity::dollars;
use crate::backup::Format;
use crate::capacity::Decreases;
use crate::cloud::inventory::{Stream, Table, nearest};
use crate::cloud::price;
use crate::jobs::plan::{Facts, Plan, PlanError, grouped, span};
use crate::jobs::spec::{RestoreSpec, SourceSpec, Spec};

/// Which field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    /// Files, a folder or `s3://…`.
    Source,
    /// The table written.
    Table,
    /// The stream it goes through; empty writes directly.
    Stream,
    /// The files' format; `auto` finds out.
    Format,
    /// A chain of exports is applied up to then.
    Until,
    /// In which time it is to be done.
    Within,
    /// Raise the capacity to what that needs.
    Bump,
    /// Cap on items per second.
    Rate,
    /// Cap on consumed WCU.
    MaxWcu,
    /// Share of the capacity that is left to others.
    Leave,
    /// Leave items alone whose key exists.
    OnlyNew,
    /// How many parts of the source are read at once.
    Producers,
}

impl Name {
    /// True when another value means that source, table or stream must be looked at anew.
    pub fn is_looked_at(self) -> bool {
        matches!(self, Self::Source | Self::Table | Self::Stream | Self::Format | Self::Until)
    }
}

/// Why there is no plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unseen {
    /// The field that it is about.
    pub name: Name,
    /// A sentence that fits under the field.
    pub words: String,
}

impl From<PlanError> for Unseen {
    fn from(error: PlanError) -> Self {
        let name = if matches!(error, PlanError::Cloud(_)) { Name::Table } else { Name::Source };
        Self { name, words: error.to_string() }
    }
}

/// A restore that is being written down.
#[derive(Clone, Debug)]
pub struct RestoreForm {
    /// What is typed.
    pub fields: Fields<Name>,
    /// What a plan is computed from, once it was looked at.
    pub looked: Option<Result<Box<Facts>, Unseen>>,
    /// When what is looked at was changed without having been looked at since, ms since epoch.
    pub changed_ms: Option<i64>,
    /// True while it is being looked at.
    pub is_looked_at: bool,
}

/// What the console knows of the account: a form is checked against it. `None` is not known yet.
#[derive(Clone, Copy, Debug, Default)]
pub struct Known<'a> {
    /// The names of all tables.
    pub table_names: Option<&'a [String]>,
    /// Tables that were described.
    pub tables: Option<&'a [Table]>,
    /// The streams.
    pub streams: Option<&'a [Stream]>,
}

impl Known<'_> {
    fn table(&self, name: &str) -> Option<&Table> {
        self.tables?.iter().find(|table| table.name == name)
    }
}

impl RestoreForm {
    /// An empty form; `table` and `stream` when they are known already.
    pub fn new(table: Option<&str>, stream: Option<&str>) -> Self {
        Self {
            fields: Fields::new(
                vec![
                    Field::new(Name::Source, "source", "s3://bucket/prefix, a file or a folder", ""),
                    Field::new(Name::Table, "table", "the table that is written", table.unwrap_or_default()),
                    Field::new(Name::Stream, "stream", "none: straight into the table", stream.unwrap_or_default()),
                    Field::new(Name::Format, "format", "auto csv64 csv jsonl export", "auto"),
                    Field::new(Name::Until, "until", "all of it; of a chain of exports, a time", ""),
                    Field::new(Name::Within, "within", "as long as it takes, or 2h", ""),
                    Field::new(Name::Bump, "bump", "yes or no", "no"),
                    Field::new(Name::Rate, "rate, items/s", "as fast as the table takes them", ""),
                    Field::new(Name::MaxWcu, "at most WCU", "all that the table has", ""),
                    Field::new(Name::Leave, "leave to others", "nothing, or 20%", ""),
                    Field::new(Name::OnlyNew, "only new keys", "yes or no", "no"),
                    Field::new(Name::Producers, "producers", "one for each processor", ""),
                ],
                0,
            ),
            looked: None,
            changed_ms: None,
            is_looked_at: false,
        }
    }

    /// What was typed into a field, without spaces around it.
    pub fn value(&self, name: Name) -> &str {
        self.fields.value(name)
    }

    /// What was seen is of something else now: it is looked at anew.
    pub fn unseen(&mut self, now_ms: i64) {
        self.looked = None;
        self.is_looked_at = false;
        self.changed_ms = Some(now_ms);
    }

    /// True when source, table and stream could be looked at.
    pub fn can_be_looked_at(&self, known: Known<'_>) -> bool {
        let wrong = |name| self.error(name, known).is_some();
        !self.fields.all.iter().any(|field| field.name.is_looked_at() && wrong(field.name))
    }

    /// What is wrong with a field now, in words.
    pub fn error(&self, name: Name, known: Known<'_>) -> Option<String> {
        self.own_error(name, known).or_else(|| self.unseen_error(name)).or_else(|| self.bump_error(name, known))
    }

    fn own_error(&self, name: Name, known: Known<'_>) -> Option<String> {
        let value = self.value(name);
        let number = |what: &str| match value.parse::<f64>() {
            _ if value.is_empty() => None,
            Ok(n) if n > 0.0 && n.is_finite() => None,
            _ => Some(format!("{what} is a number above 0, or nothing")),
        };
        match name {
            Name::Source if value.is_empty() => Some("where is the backup?".to_owned()),
            Name::Table if value.is_empty() => Some("which table?".to_owned()),
            Name::Table => {
                let names = known.table_names?;
                (!names.iter().any(|n| n == value))
                    .then(|| format!("there is no such table: {}", nearest(value, names)))
            }
            Name::Stream if value.is_empty() => None,
            Name::Stream => {
                let names: Vec<String> = known.streams?.iter().map(|s| s.name.clone()).collect();
                (!names.iter().any(|n| n == value))
                    .then(|| format!("there is no such stream: {}", nearest(value, &names)))
            }
            Name::Source => None,
            Name::Format => self.format().err(),
            Name::Until => self.until().err(),
            Name::Within => self.within().err(),
            Name::Rate => number("the rate"),
            Name::MaxWcu => number("the cap"),
            Name::Leave => self.leave().err(),
            Name::Producers => self.producers().err(),
            Name::Bump | Name::OnlyNew => (!matches!(value, "yes" | "no" | "y" | "n")).then(|| "yes or no".to_owned()),
        }
    }

    fn unseen_error(&self, name: Name) -> Option<String> {
        let unseen = self.looked.as_ref()?.as_ref().err()?;
        (unseen.name == name).then(|| unseen.words.clone())
    }

    /// Why the capacity can't be raised to what the time needs.
    fn bump_error(&self, name: Name, known: Known<'_>) -> Option<String> {
        if name != Name::Bump || !self.bumps() {
            return None;
        }
        if self.within().ok().flatten().is_none() {
            return Some("say in which time it is to be done: within".to_owned());
        }
        let Some(plan) = self.plan(known) else { return Some("the plan is not known yet: it says to what".to_owned()) };
        let within = plan.within.as_ref().filter(|within| !within.suffices)?;
        match within.obstacles.first() {
            Some(obstacle) => Some(obstacle.clone()),
            None if plan.provisioned.is_none() => Some("the table is on demand: there is nothing to raise".to_owned()),
            None => None,
        }
    }

    /// The first field with an error.
    pub fn first_error(&self, known: Known<'_>) -> Option<(usize, String)> {
        self.fields.first_error(|name| self.error(name, known))
    }

    fn format(&self) -> Result<Option<Format>, String> {
        match self.value(Name::Format) {
            "" | "auto" => Ok(None),
            text => serde_json::from_value(serde_json::Value::String(text.to_owned()))
                .map(Some)
                .map_err(|_| format!("{text:?} is no format: auto csv64 csv jsonl export")),
        }
    }

    fn until(&self) -> Result<Option<Timestamp>, String> {
        match self.value(Name::Until) {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| "a time such as 2026-11-20T14:03:00Z".to_owned()),
        }
    }

    fn within(&self) -> Result<Option<Duration>, String> {
        match self.value(Name::Within) {
            "" => Ok(None),
            text => match humantime::parse_duration(text) {
                Ok(time) if time.as_secs() > 0 => Ok(Some(time)),
                _ => Err("a time such as 2h, 90m or 2h 30m".to_owned()),
            },
        }
    }

    fn leave(&self) -> Result<Option<f64>, String> {
        let text = self.value(Name::Leave);
        if text.is_empty() {
            return Ok(None);
        }
        let share = match text.strip_suffix('%') {
            Some(percent) => percent.trim().parse::<f64>().map(|n| n / 100.0),
            None => text.parse(),
        };
        share.ok().filter(|share| (0.0..1.0).contains(share)).map(Some).ok_or_else(|| "a share such as 20%".to_owned())
    }

    fn producers(&self) -> Result<Option<u32>, String> {
        match self.value(Name::Producers) {
            "" => Ok(None),
            text => match text.parse() {
                Ok(n @ 1..=256) => Ok(Some(n)),
                _ => Err("a number from 1 to 256, or nothing".to_owned()),
            },
        }
    }

    /// True when items whose key exists are left alone.
    pub fn only_new(&self) -> bool {
        self.fields.says_yes(Name::OnlyNew)
    }

    /// True when the capacity is raised to what the time needs.
    pub fn bumps(&self) -> bool {
        self.fields.says_yes(Name::Bump)
    }

    /// The restore that the form describes, as far as its fields can be understood, without a raise.
    pub fn restore(&self) -> RestoreSpec {
        RestoreSpec {
            source: SourceSpec {
                sources: vec![self.value(Name::Source).to_owned()],
                format: self.format().ok().flatten(),
                until: self.until().ok().flatten(),
                ..SourceSpec::default()
            },
            table: self.value(Name::Table).to_owned(),
            stream: Some(self.value(Name::Stream)).filter(|s| !s.is_empty()).map(str::to_owned),
            rate: self.value(Name::Rate).parse().ok().filter(|rate: &f64| *rate > 0.0),
            max_wcu: self.value(Name::MaxWcu).parse().ok().filter(|cap: &f64| *cap > 0.0),
            leave: self.leave().ok().flatten(),
            if_not_exists: self.only_new(),
            producers: self.producers().ok().flatten(),
            ..RestoreSpec::default()
        }
    }

    /// The job that the form describes. Call it once there are no errors.
    pub fn spec(&self, known: Known<'_>) -> Spec {
        let raise = if self.bumps() { self.plan(known).and_then(|plan| plan.raise()) } else { None };
        Spec::Restore(RestoreSpec { raise, ..self.restore() })
    }

    /// The plan, once source and table were looked at.
    pub fn plan(&self, known: Known<'_>) -> Option<Plan> {
        let mut facts = Facts::clone(self.looked.as_ref()?.as_ref().ok()?);
        if let Some(table) = known.table(self.value(Name::Table)) {
            facts = facts.at_capacity_of(table);
        }
        Some(facts.plan(&self.restore(), self.within().ok().flatten()))
    }
}

/// What of a plan is asked about before a restore starts; with `bump`, what is raised.
pub fn facts_of(plan: &Plan, bump: bool, table: Option<&Table>, now_ms: i64) -> Vec<(&'static str, String)> {
    let about = |is: bool| if is { "about " } else { "" };
    let time = plan.seconds.map_or_else(|| "unknown".to_owned(), span);
    let mut facts = vec![
        ("items", format!("{}{}", about(!plan.exact), grouped(plan.items))),
        ("WCU", format!("{}{} in the table", about(plan.sampled), grouped(plan.wcu.ceil() as u64))),
        ("time", format!("{}{time} at the present capacity; limit: {}", about(plan.sampled), plan.limit_in_words)),
    ];
    if let Some(within) = &plan.within {
        let wanted = span(within.seconds as f64);
        let words = match (within.suffices, bump) {
            (true, _) => format!("{wanted}: the present capacity is enough"),
            (false, true) => format!("{wanted}: at {} WCU", grouped(within.table)),
            (false, false) => format!("{wanted} is not to be had at the present capacity"),
        };
        facts.push(("within", words));
    }
    for (index, from, to) in if bump { plan.raises() } else { Vec::new() } {
        let what = index.as_ref().map_or_else(|| plan.table.clone(), |name| format!("index {name}"));
        let hour = price::write_dollars_per_hour(to) - price::write_dollars_per_hour(from);
        let has = table.and_then(|table| match &index {
            None => table.provisioned,
            Some(name) => table.indexes.iter().find(|i| i.name == *name).and_then(|i| i.provisioned),
        });
        let left = has.map(|has| format!("; decreases: {}", Decreases::from(has).left(now_ms))).unwrap_or_default();
        facts.push((
            "raise",
            format!(
                "{what} from {} to {} WCU, +{}/h, given back at the end{left}",
                grouped(from),
                grouped(to),
                dollars(hour)
            ),
        ));
    }
    facts.push(("adds", format!("${:.2} to the bill (list prices of {})", plan.cost.total, plan.cost.region)));
    facts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::fixture;

    fn known<'a>(tables: &'a [Table], names: &'a [String]) -> Known<'a> {
        Known { table_names: Some(names), tables: Some(tables), streams: Some(&[]) }
    }

    fn names() -> Vec<String> {
        fixture::tables().into_iter().map(|table| table.name).collect()
    }

    fn filled(fields: &[(Name, &str)]) -> RestoreForm {
        let mut form = RestoreForm::new(None, None);
        for (name, value) in fields {
            form.fields.set(*name, *value);
        }
        form
    }

    fn seen(fields: &[(Name, &str)]) -> RestoreForm {
        let mut form = filled(&[(Name::Source, "s3://b/k"), (Name::Table, "historical")]);
        for (name, value) in fields {
            form.fields.set(*name, *value);
        }
        form.looked = Some(Ok(Box::new(fixture::facts(&form.restore()))));
        form
    }

    #[test]
    fn an_unknown_table_is_answered_with_the_nearest() {
        let tables = fixture::tables();
        let form = filled(&[(Name::Table, "historcal")]);
        assert_eq!(
            form.error(Name::Table, known(&tables, &names())).unwrap(),
            "there is no such table: did you mean historical?"
        );
        assert_eq!(form.error(Name::Table, Known::default()), None, "nothing is wrong while the tables are not known");
    }

    #[test]
    fn numbers_formats_times_and_answers_are_checked_while_typing() {
        let wrong = [
            (Name::Rate, "fast"),
            (Name::Format, "xml"),
            (Name::OnlyNew, "maybe"),
            (Name::MaxWcu, "0"),
            (Name::Until, "yesterday"),
            (Name::Within, "soon"),
            (Name::Leave, "120%"),
            (Name::Producers, "0"),
            (Name::Bump, "perhaps"),
        ];
        let form = filled(&wrong);
        for name in wrong.map(|(name, _)| name).into_iter().chain([Name::Source]) {
            assert!(form.error(name, Known::default()).is_some(), "{name:?}");
        }
        let right = seen(&[
            (Name::Rate, "100"),
            (Name::Format, "export"),
            (Name::Until, "2026-11-20T14:03:00Z"),
            (Name::Within, "2h 30m"),
            (Name::Leave, "20%"),
            (Name::Producers, "8"),
        ]);
        assert_eq!(right.first_error(Known::default()), None);
        let spec = right.restore();
        assert_eq!((spec.leave, spec.producers, spec.source.format), (Some(0.2), Some(8), Some(Format::Export)));
        assert!(spec.source.until.is_some());
    }

    #[test]
    fn the_plan_tells_time_at_the_capacity_that_the_table_has_now() {
        let mut tables = fixture::tables();
        let form = seen(&[]);
        assert_eq!(filled(&[]).plan(known(&tables, &names())), None);
        let plan = form.plan(known(&tables, &names())).unwrap();
        assert_eq!((plan.items, plan.wcu, plan.provisioned), (50_000, 50_000.0, Some(130)));
        assert_eq!(plan.seconds.map(span).unwrap(), "6m 25s");
        tables[0].provisioned.as_mut().unwrap().write = 1_300;
        assert_eq!(form.plan(known(&tables, &names())).unwrap().seconds.map(span).unwrap(), "39s");
    }

    #[test]
    fn a_bump_needs_a_time_and_raises_to_what_it_takes() {
        let tables = fixture::tables();
        let error = |form: &RestoreForm| form.error(Name::Bump, known(&tables, &names()));
        assert!(error(&seen(&[(Name::Bump, "yes")])).unwrap().contains("in which time"));
        let form = seen(&[(Name::Bump, "yes"), (Name::Within, "100s")]);
        assert_eq!(error(&form), None);
        let Spec::Restore(spec) = form.spec(known(&tables, &names())) else { panic!("no restore") };
        assert_eq!(spec.raise.unwrap().table, 500);
        let facts = facts_of(&form.plan(known(&tables, &names())).unwrap(), true, Some(&tables[0]), 0);
        let raise = &facts.iter().find(|(name, _)| *name == "raise").unwrap().1;
        assert!(raise.starts_with("historical from 130 to 500 WCU, +$0.24"), "{raise}");
        assert!(raise.contains("decreases: "), "{raise}");
        let enough = seen(&[(Name::Bump, "yes"), (Name::Within, "2h")]);
        let Spec::Restore(spec) = enough.spec(known(&tables, &names())) else { panic!("no restore") };
        assert_eq!(spec.raise, None, "what is enough is not raised");
        let never = seen(&[(Name::Bump, "yes"), (Name::Within, "1s")]);
        assert!(error(&never).unwrap().contains("AWS gives 40,000 at most"));
    }

    #[test]
    fn what_could_not_be_looked_at_is_said_under_its_field() {
        let mut form = filled(&[(Name::Source, "/no/such"), (Name::Table, "historical")]);
        form.looked = Some(Err(Unseen { name: Name::Source, words: "/no/such does not exist".into() }));
        assert_eq!(form.error(Name::Source, Known::default()).unwrap(), "/no/such does not exist");
        assert_eq!(form.error(Name::Table, Known::default()), None);
        assert!(form.plan(Known::default()).is_none());
    }

    #[test]
    fn a_form_without_errors_is_a_job() {
        let tables = fixture::tables();
        let form =
            seen(&[(Name::Source, " s3://b/k "), (Name::Rate, "100"), (Name::OnlyNew, "yes"), (Name::Format, "csv64")]);
        assert_eq!(form.first_error(known(&tables, &names())), None);
        let Spec::Restore(spec) = form.spec(known(&tables, &names())) else { panic!("no restore") };
        assert_eq!(spec.source.sources, ["s3://b/k"]);
        assert_eq!((spec.stream, spec.rate, spec.if_not_exists), (None, Some(100.0), true));
        assert_eq!(spec.source.format, Some(Format::Csv64));
    }
}
