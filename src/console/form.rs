//! The restore form: fields with their errors, and the plan that follows from them.

use tui_input::Input;

use super::measure::Measured;
use super::widget::quantity::{count, duration, exact};
use crate::backup::Format;
use crate::cloud::inventory::{Stream, Table, nearest};
use crate::cloud::price;
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
    /// Cap on items per second.
    Rate,
    /// Cap on consumed WCU.
    MaxWcu,
    /// Leave items alone whose key exists.
    OnlyNew,
}

/// One field.
#[derive(Clone, Debug)]
pub struct Field {
    /// Which.
    pub name: Name,
    /// What stands before it.
    pub label: &'static str,
    /// What stands in it while it is empty.
    pub hint: &'static str,
    /// What was typed.
    pub input: Input,
}

/// A restore that is being written down.
#[derive(Clone, Debug)]
pub struct RestoreForm {
    /// The fields, top to bottom.
    pub fields: Vec<Field>,
    /// The field that is typed into.
    pub at: usize,
    /// What the source holds, once it was looked at.
    pub measured: Option<Result<Measured, String>>,
    /// When the source was changed without having been looked at since, ms since epoch.
    pub changed_ms: Option<i64>,
}

/// What a restore will take, as far as it can be known before.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plan {
    /// Files or objects.
    pub files: u64,
    /// Bytes as stored.
    pub bytes: u64,
    /// Items, about.
    pub items: Option<f64>,
    /// Write capacity that they take in the table alone, WCU, about.
    pub wcu: Option<f64>,
    /// WCU that the table has each second; `None` on demand or unknown.
    pub provisioned: Option<f64>,
    /// How long it takes at that capacity, ms, about.
    pub time_ms: Option<f64>,
    /// What the table's capacity costs for that time, US dollars.
    pub dollars: Option<f64>,
}

impl RestoreForm {
    /// An empty form; `table` and `stream` when they are known already.
    pub fn new(table: Option<&str>, stream: Option<&str>) -> Self {
        let field = |name, label, hint, value: &str| Field { name, label, hint, input: Input::new(value.to_owned()) };
        Self {
            fields: vec![
                field(Name::Source, "source", "s3://bucket/prefix, a file or a folder", ""),
                field(Name::Table, "table", "the table that is written", table.unwrap_or_default()),
                field(Name::Stream, "stream", "none: straight into the table", stream.unwrap_or_default()),
                field(Name::Format, "format", "auto csv64 csv jsonl", "auto"),
                field(Name::Rate, "rate, items/s", "as fast as the table takes them", ""),
                field(Name::MaxWcu, "at most WCU", "all that the table has", ""),
                field(Name::OnlyNew, "only new keys", "yes or no", "no"),
            ],
            at: 0,
            measured: None,
            changed_ms: None,
        }
    }

    /// What was typed into a field, without spaces around it.
    pub fn value(&self, name: Name) -> &str {
        self.fields.iter().find(|f| f.name == name).map_or("", |f| f.input.value().trim())
    }

    /// What is wrong with a field now, in words.
    pub fn error(&self, name: Name, tables: Option<&[Table]>, streams: Option<&[Stream]>) -> Option<String> {
        let value = self.value(name);
        let number = |what: &str| match value.parse::<f64>() {
            _ if value.is_empty() => None,
            Ok(n) if n > 0.0 && n.is_finite() => None,
            _ => Some(format!("{what} is a number above 0, or nothing")),
        };
        match name {
            Name::Source if value.is_empty() => Some("where is the backup?".to_owned()),
            Name::Source => self.measured.as_ref().and_then(|m| m.as_ref().err()).cloned(),
            Name::Table if value.is_empty() => Some("which table?".to_owned()),
            Name::Table => {
                let names: Vec<String> = tables?.iter().map(|t| t.name.clone()).collect();
                (!names.iter().any(|n| n == value))
                    .then(|| format!("there is no such table: {}", nearest(value, &names)))
            }
            Name::Stream if value.is_empty() => None,
            Name::Stream => {
                let names: Vec<String> = streams?.iter().map(|s| s.name.clone()).collect();
                (!names.iter().any(|n| n == value))
                    .then(|| format!("there is no such stream: {}", nearest(value, &names)))
            }
            Name::Format => self.format().err(),
            Name::Rate => number("the rate"),
            Name::MaxWcu => number("the cap"),
            Name::OnlyNew => (!matches!(value, "yes" | "no" | "y" | "n")).then(|| "yes or no".to_owned()),
        }
    }

    /// The first field with an error.
    pub fn first_error(&self, tables: Option<&[Table]>, streams: Option<&[Stream]>) -> Option<(usize, String)> {
        self.fields.iter().enumerate().find_map(|(i, f)| Some((i, self.error(f.name, tables, streams)?)))
    }

    fn format(&self) -> Result<Option<Format>, String> {
        match self.value(Name::Format) {
            "" | "auto" => Ok(None),
            text => serde_json::from_value(serde_json::Value::String(text.to_owned()))
                .map(Some)
                .map_err(|_| format!("{text:?} is no format: auto csv64 csv jsonl")),
        }
    }

    /// True when items whose key exists are left alone.
    pub fn only_new(&self) -> bool {
        self.value(Name::OnlyNew).starts_with('y')
    }

    /// The job that the form describes. Call it once there are no errors.
    pub fn spec(&self) -> Spec {
        Spec::Restore(RestoreSpec {
            source: SourceSpec {
                sources: vec![self.value(Name::Source).to_owned()],
                format: self.format().ok().flatten(),
                ..SourceSpec::default()
            },
            table: self.value(Name::Table).to_owned(),
            stream: Some(self.value(Name::Stream)).filter(|s| !s.is_empty()).map(str::to_owned),
            rate: self.value(Name::Rate).parse().ok(),
            max_wcu: self.value(Name::MaxWcu).parse().ok(),
            if_not_exists: self.only_new(),
            ..RestoreSpec::default()
        })
    }

    /// The plan, when the source was measured.
    pub fn plan(&self, tables: Option<&[Table]>) -> Option<Plan> {
        let measured = *self.measured.as_ref()?.as_ref().ok()?;
        let items = measured.line_bytes.filter(|b| *b > 0.0).map(|b| measured.bytes as f64 / b);
        // A line is never shorter than its item, base64 a third longer: an upper bound of the WCU.
        let each = measured.line_bytes.map(|b| (b * 0.75 / 1024.0).ceil().max(1.0));
        let wcu = items.zip(each).map(|(n, each)| n * each);
        let table = tables.and_then(|tables| tables.iter().find(|t| t.name == self.value(Name::Table)));
        let provisioned = table.and_then(|t| t.provisioned).map(|p| p.write as f64);
        let cap = self.value(Name::MaxWcu).parse::<f64>().ok();
        let speed = provisioned.map(|p| cap.map_or(p, |cap| cap.min(p)));
        let by_capacity = wcu.zip(speed).filter(|(_, s)| *s > 0.0).map(|(wcu, s)| wcu / s * 1000.0);
        let by_rate = items.zip(self.value(Name::Rate).parse::<f64>().ok()).map(|(n, rate)| n / rate * 1000.0);
        let time_ms = match (by_capacity, by_rate) {
            (Some(a), Some(b)) => Some(a.max(b)),
            (a, b) => a.or(b),
        };
        let dollars =
            time_ms.zip(provisioned).map(|(ms, wcu)| ms / 3_600_000.0 * price::write_dollars_per_hour(wcu as u64));
        Some(Plan { files: measured.files, bytes: measured.bytes, items, wcu, provisioned, time_ms, dollars })
    }
}

impl Plan {
    /// The plan as names and values.
    pub fn lines(&self) -> Vec<(&'static str, String)> {
        let about = |n: Option<f64>, unknown: &str| n.map_or(unknown.to_owned(), |n| format!("about {}", count(n)));
        vec![
            ("files", exact(self.files)),
            ("bytes", super::widget::quantity::bytes(self.bytes as f64)),
            ("items", about(self.items, "unknown until read")),
            ("WCU", about(self.wcu, "unknown until read")),
            ("table's WCU/s", self.provisioned.map_or("no fixed".to_owned(), |p| exact(p as u64))),
            ("time at that", self.time_ms.map_or("unknown".to_owned(), |ms| format!("about {}", duration(ms)))),
            ("cost of that", self.dollars.map_or("unknown".to_owned(), |d| format!("about ${d:.2}"))),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::fixture;

    fn filled(fields: &[(Name, &str)]) -> RestoreForm {
        let mut form = RestoreForm::new(None, None);
        for (name, value) in fields {
            form.fields.iter_mut().find(|f| f.name == *name).unwrap().input = Input::new((*value).to_owned());
        }
        form
    }

    #[test]
    fn an_unknown_table_is_answered_with_the_nearest() {
        let tables = fixture::tables();
        let form = filled(&[(Name::Table, "historcal")]);
        assert_eq!(
            form.error(Name::Table, Some(&tables), None).unwrap(),
            "there is no such table: did you mean historical?"
        );
        assert_eq!(form.error(Name::Table, None, None), None, "nothing is wrong while the tables are not known");
    }

    #[test]
    fn numbers_formats_and_answers_are_checked_while_typing() {
        let form =
            filled(&[(Name::Rate, "fast"), (Name::Format, "xml"), (Name::OnlyNew, "maybe"), (Name::MaxWcu, "0")]);
        for name in [Name::Rate, Name::Format, Name::OnlyNew, Name::MaxWcu, Name::Source] {
            assert!(form.error(name, None, None).is_some(), "{name:?}");
        }
    }

    #[test]
    fn the_plan_tells_time_and_cost_at_the_tables_capacity() {
        let tables = fixture::tables();
        let mut form = filled(&[(Name::Source, "s3://b/k"), (Name::Table, "historical")]);
        assert_eq!(form.plan(Some(&tables)), None);
        form.measured = Some(Ok(Measured { files: 1, bytes: 13_000_000, line_bytes: Some(260.0) }));
        let plan = form.plan(Some(&tables)).unwrap();
        assert_eq!(plan.items, Some(50_000.0));
        assert_eq!(plan.wcu, Some(50_000.0));
        assert_eq!(plan.provisioned, Some(130.0));
        assert_eq!(plan.lines()[5], ("time at that", "about 6m 25s".to_owned()));
    }

    #[test]
    fn a_form_without_errors_is_a_job() {
        let tables = fixture::tables();
        let mut form = filled(&[
            (Name::Source, " s3://b/k "),
            (Name::Table, "historical"),
            (Name::Rate, "100"),
            (Name::OnlyNew, "yes"),
            (Name::Format, "csv64"),
        ]);
        form.measured = Some(Ok(Measured::default()));
        assert_eq!(form.first_error(Some(&tables), Some(&[])), None);
        let Spec::Restore(spec) = form.spec() else { panic!("no restore") };
        assert_eq!(spec.source.sources, ["s3://b/k"]);
        assert_eq!((spec.stream, spec.rate, spec.if_not_exists), (None, Some(100.0), true));
        assert_eq!(spec.source.format, Some(Format::Csv64));
    }
}
