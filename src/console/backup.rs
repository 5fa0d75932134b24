//! The backup form: fields with their errors, the plan that follows from them, and the question before it starts.

use tui_input::Input;

use super::app::{App, Screen};
use super::confirm::{Confirm, Token};
use super::effect::Effect;
use super::widget::form::{Field, Fields};
use super::widget::quantity::{bytes, count, duration};
use crate::backup::Format;
use crate::cloud::inventory::{Table, nearest};
use crate::jobs::backup::read_budget;
use crate::jobs::spec::{BackupSpec, Spec};

/// Which field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    /// The table that is read.
    Table,
    /// A file, a folder or `s3://…`.
    To,
    /// The files' shape.
    Format,
    /// Cap on consumed RCU.
    Budget,
    /// Compressed.
    Gzip,
}

/// A backup that is being written down.
#[derive(Clone, Debug)]
pub struct BackupForm {
    /// What is typed.
    pub fields: Fields<Name>,
}

/// What a page takes for each 4 KiB read with strong consistency, RCU ("Read and write operations" of the `DynamoDB`
/// developer guide).
const BYTES_PER_RCU: f64 = 4096.0;

impl BackupForm {
    /// A form for `table`, at the one field that has no default.
    pub fn new(table: &str) -> Self {
        let fields = vec![
            Field::new(Name::Table, "table", "the table that is read", table),
            Field::new(Name::To, "to", "s3://bucket, a folder or a file", ""),
            Field::new(Name::Format, "format", "csv64 jsonl export", "csv64"),
            Field::new(Name::Budget, "RCU a second", "half of what the table has", ""),
            Field::new(Name::Gzip, "gzip", "yes or no", "yes"),
        ];
        Self { fields: Fields::new(fields, 1) }
    }

    /// What was typed into a field, without spaces around it.
    pub fn value(&self, name: Name) -> &str {
        self.fields.value(name)
    }

    /// What is wrong with a field now, in words.
    pub fn error(&self, name: Name, tables: Option<&[String]>) -> Option<String> {
        let value = self.value(name);
        match name {
            Name::Table if value.is_empty() => Some("which table?".to_owned()),
            Name::Table => {
                let names = tables?;
                (!names.iter().any(|n| n == value))
                    .then(|| format!("there is no such table: {}", nearest(value, names)))
            }
            Name::To if value.is_empty() => Some("where to?".to_owned()),
            Name::To if value == "-" || value == "s3://" => {
                Some("a file, a folder (with / at its end) or s3://bucket/prefix/".to_owned())
            }
            Name::Format => self.format().is_none().then(|| format!("{value:?} is none: csv64 jsonl export")),
            Name::Budget => match value.parse::<f64>() {
                _ if value.is_empty() => None,
                Ok(n) if n > 0.0 && n.is_finite() => None,
                _ => Some("a number above 0, or nothing".to_owned()),
            },
            Name::Gzip => (!matches!(value, "yes" | "no" | "y" | "n")).then(|| "yes or no".to_owned()),
            Name::To => None,
        }
    }

    fn format(&self) -> Option<Format> {
        self.value(Name::Format).parse().ok().filter(|format| *format != Format::Csv)
    }

    /// The job that the form describes. Call it once there are no errors.
    pub fn spec(&self) -> BackupSpec {
        BackupSpec {
            table: self.value(Name::Table).to_owned(),
            to: self.value(Name::To).to_owned(),
            format: self.format().unwrap_or_default(),
            segments: None,
            read_budget: self.value(Name::Budget).parse().ok(),
            gzip: self.fields.says_yes(Name::Gzip),
            eventually_consistent: false,
        }
    }

    /// What it will take, as names and values: as far as AWS's last count of the table goes.
    pub fn plan(&self, tables: Option<&[Table]>) -> Vec<(&'static str, String)> {
        let table = tables.and_then(|tables| tables.iter().find(|t| t.name == self.value(Name::Table)));
        let Some(table) = table else { return Vec::new() };
        let rcu = (table.bytes as f64 / BYTES_PER_RCU).ceil();
        let budget = read_budget(table, self.value(Name::Budget).parse().ok());
        vec![
            ("items", format!("about {}", count(table.items as f64))),
            ("bytes", format!("about {}", bytes(table.bytes as f64))),
            ("RCU", format!("about {}", count(rcu))),
            ("table's RCU/s", table.provisioned.map_or("on demand".to_owned(), |p| count(p.read as f64))),
            ("of that", budget.map_or("no cap".to_owned(), count)),
            (
                "time at that",
                budget.map_or("as fast as it goes".to_owned(), |b| format!("about {}", duration(rcu / b * 1000.0))),
            ),
        ]
    }
}

/// Shows the form for the table at hand; what was typed before stays.
pub(super) fn open(app: &mut App, table: Option<String>) -> Vec<Effect> {
    let form = app.backup_form.get_or_insert_with(|| BackupForm::new(""));
    if let Some(table) = table {
        form.fields.set(Name::Table, table);
    }
    app.go(Screen::Backup)
}

/// Enter on the form: the first error is shown, or what would start.
pub(super) fn review(app: &mut App) {
    let (names, tables) = (app.table_names.rows.as_deref(), app.tables.rows.as_deref());
    let Some(form) = &app.backup_form else { return };
    if let Some((at, error)) = form.fields.first_error(|name| form.error(name, names)) {
        return app.wrong_field(at, error);
    }
    let spec = Spec::Backup(form.spec());
    let mut facts = vec![("backup", spec.title())];
    facts.extend(form.plan(tables));
    let question = Confirm {
        title: "Start this backup".to_owned(),
        facts,
        undo: format!("{} ends it and removes what it wrote; the table is only read", app.cancel_key()),
        token: Token::Again,
        typed: Input::default(),
        effect: Effect::Start { spec: Box::new(spec), parent: None, at: None },
    };
    super::keys::ask(app, question);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::fixture;

    fn filled(fields: &[(Name, &str)]) -> BackupForm {
        let mut form = BackupForm::new("historical");
        for (name, value) in fields {
            form.fields.set(*name, *value);
        }
        form
    }

    #[test]
    fn each_field_says_what_is_wrong_while_it_is_typed() {
        let tables: Vec<String> = fixture::tables().into_iter().map(|table| table.name).collect();
        let form =
            filled(&[(Name::Table, "historcal"), (Name::Format, "csv"), (Name::Budget, "-1"), (Name::Gzip, "perhaps")]);
        for name in [Name::Table, Name::To, Name::Format, Name::Budget, Name::Gzip] {
            assert!(form.error(name, Some(&tables)).is_some(), "{name:?}");
        }
        assert!(form.error(Name::Table, Some(&tables)).unwrap().contains("historical"));
        let right = filled(&[(Name::To, "s3://backups"), (Name::Budget, "25")]);
        for name in [Name::Table, Name::To, Name::Format, Name::Budget, Name::Gzip] {
            assert_eq!(right.error(name, Some(&tables)), None, "{name:?}");
        }
        let spec = right.spec();
        assert_eq!((spec.to.as_str(), spec.read_budget, spec.gzip), ("s3://backups", Some(25.0), true));
    }

    #[test]
    fn the_plan_tells_the_time_at_the_budget() {
        let mut tables = fixture::tables();
        let table = tables.iter_mut().find(|t| t.name == "historical").unwrap();
        (table.items, table.bytes) = (50_000, 4096 * 6000);
        let plan = filled(&[(Name::Budget, "100")]).plan(Some(&tables));
        assert!(plan.contains(&("RCU", format!("about {}", count(6000.0)))), "{plan:?}");
        assert!(plan.contains(&("time at that", format!("about {}", duration(60_000.0)))), "{plan:?}");
    }
}
