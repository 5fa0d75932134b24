//! Datasets and tables in memory, and how rows are applied to them.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::{Map, Value as Json, json};

use super::rules::is_column_name;
use crate::bigquery::sequence;

/// A row: columns and what a query shows in them.
pub(super) type Row = Map<String, Json>;

/// An error of the REST API.
#[derive(Debug)]
pub(super) struct Refused {
    pub status: u16,
    pub reason: &'static str,
    pub message: String,
}

impl Refused {
    pub fn new(status: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self { status, reason, message: message.into() }
    }
}

/// All datasets and tables, by `project.dataset` and `project.dataset.table`.
#[derive(Debug, Default)]
pub(super) struct Tables {
    pub datasets: HashMap<String, Json>,
    tables: HashMap<String, Table>,
}

impl Tables {
    pub fn get(&self, name: &str) -> Option<&Table> {
        self.tables.get(name)
    }

    pub fn get_mut(&mut self, name: &str) -> Option<&mut Table> {
        self.tables.get_mut(name)
    }

    /// `tables.insert`, in a dataset that is made if need be by tests only.
    pub fn make(&mut self, name: &str, resource: Json) -> Result<(), Refused> {
        if self.tables.contains_key(name) {
            return Err(Refused::new(409, "duplicate", format!("Already Exists: Table {name}")));
        }
        self.tables.insert(name.to_owned(), Table::of(resource)?);
        Ok(())
    }
}

/// A column.
#[derive(Clone, Debug)]
pub(super) struct Field {
    pub name: String,
    pub kind: String,
    pub repeated: bool,
    pub required: bool,
    /// So many requests do not see it yet.
    pub unseen: u32,
}

/// What BigQuery does with a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ChangeType {
    Upsert,
    Delete,
}

/// The latest row of a primary key.
#[derive(Debug)]
struct Latest {
    sequence: Option<[u64; 4]>,
    /// `None` when it was deleted.
    row: Option<Row>,
}

/// A table.
#[derive(Debug)]
pub(super) struct Table {
    resource: Json,
    version: u64,
    pub fields: Vec<Field>,
    pub key: Vec<String>,
    /// Rows that were inserted without a change type.
    inserted: Vec<Row>,
    /// Rows by primary key.
    latest: BTreeMap<String, Latest>,
    /// Whether its rows carry sequences; `None` before the first.
    sequenced: Option<bool>,
    /// insertIds of late.
    ids: HashSet<String>,
    pub taken: u64,
}

impl Table {
    fn of(resource: Json) -> Result<Self, Refused> {
        let key: Vec<String> = resource["tableConstraints"]["primaryKey"]["columns"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Json::as_str)
            .map(str::to_owned)
            .collect();
        let fields = fields(&resource["schema"])?;
        let invalid = |message: String| Refused::new(400, "invalid", message);
        if key.len() > 16 {
            return Err(invalid("A primary key has at most 16 columns".into()));
        }
        let named = |name: &str| fields.iter().find(|field| field.name.eq_ignore_ascii_case(name));
        for name in &key {
            match named(name) {
                Some(field) if !field.repeated && !matches!(field.kind.as_str(), "JSON" | "RECORD" | "FLOAT") => {}
                Some(field) => return Err(invalid(format!("Primary key column {name} has the type {}", field.kind))),
                None => return Err(invalid(format!("Primary key column {name} does not exist"))),
            }
        }
        for name in resource["clustering"]["fields"].as_array().into_iter().flatten().filter_map(Json::as_str) {
            let clusters = ["STRING", "NUMERIC", "BIGNUMERIC", "INTEGER", "BOOLEAN", "TIMESTAMP"];
            if !named(name).is_some_and(|field| !field.repeated && clusters.contains(&field.kind.as_str())) {
                return Err(invalid(format!("The field specified for clustering cannot be {name}")));
            }
        }
        Ok(Self {
            resource,
            version: 1,
            fields,
            key,
            inserted: Vec::new(),
            latest: BTreeMap::new(),
            sequenced: None,
            ids: HashSet::new(),
            taken: 0,
        })
    }

    /// As `tables.get` gives it.
    pub fn resource(&self) -> Json {
        let mut resource = self.resource.clone();
        resource["kind"] = "bigquery#table".into();
        resource["etag"] = self.etag().into();
        resource
    }

    pub fn etag(&self) -> String {
        format!("v{}", self.version)
    }

    /// `tables.patch` of the schema: columns may be added, NULLABLE or REPEATED, and none changed.
    pub fn patch(&mut self, patch: &Json, if_match: Option<&str>, lag: u32) -> Result<(), Refused> {
        if if_match.is_some_and(|etag| etag != self.etag()) {
            return Err(Refused::new(412, "conditionNotMet", "Precondition check failed."));
        }
        if patch["schema"].is_object() {
            let new = fields(&patch["schema"])?;
            for field in &self.fields {
                match new.iter().find(|other| other.name.eq_ignore_ascii_case(&field.name)) {
                    Some(other) if other.kind == field.kind && other.repeated == field.repeated => {}
                    _ => {
                        let message =
                            format!("Provided Schema does not match Table: field {} is missing or changed", field.name);
                        return Err(Refused::new(400, "invalid", message));
                    }
                }
            }
            for mut field in new {
                if !self.fields.iter().any(|other| other.name.eq_ignore_ascii_case(&field.name)) {
                    if field.required {
                        return Err(Refused::new(400, "invalid", format!("Cannot add required field {}", field.name)));
                    }
                    field.unseen = lag;
                    self.fields.push(field);
                }
            }
        }
        for (name, value) in patch.as_object().into_iter().flatten() {
            self.resource[name.as_str()] = value.clone();
        }
        self.version += 1;
        Ok(())
    }

    /// A request came: those columns that are new are nearer to being seen.
    pub fn asked(&mut self) {
        self.fields.iter_mut().for_each(|field| field.unseen = field.unseen.saturating_sub(1));
    }

    /// The column of this name, as a writer sees it.
    pub fn seen(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.unseen == 0 && field.name.eq_ignore_ascii_case(name))
    }

    /// What `row` lacks that it needs.
    pub fn lacks(&self, row: &Row, change: Option<ChangeType>) -> Option<String> {
        let is_there = |name: &str| row.keys().any(|there| there.eq_ignore_ascii_case(name));
        let needed = self.fields.iter().filter(|field| field.required).map(|field| &field.name);
        let of_key = self.key.iter().filter(|_| change.is_some());
        needed.chain(of_key).find(|name| !is_there(name)).map(|name| format!("Missing required field: {name}"))
    }

    /// Whether rows with or without a sequence may follow those that came.
    pub fn may_follow(&self, sequenced: bool) -> bool {
        self.sequenced.is_none_or(|before| before == sequenced)
    }

    /// Applies a change by the primary key: the larger sequence wins, and of equal ones the later.
    pub fn change(&mut self, row: Row, change: ChangeType, sequence: Option<&str>) {
        self.taken += 1;
        self.sequenced = Some(sequence.is_some());
        let sequence = sequence.and_then(sequence::read);
        let key: Vec<&Json> = self.key.iter().map(|name| row.get(name).unwrap_or(&Json::Null)).collect();
        let key = json!(key).to_string();
        let is_older = self.latest.get(&key).is_some_and(|latest| sequence < latest.sequence);
        if !is_older {
            let row = (change == ChangeType::Upsert).then_some(row);
            self.latest.insert(key, Latest { sequence, row });
        }
    }

    /// Inserts a row, unless one of this insertId came before.
    pub fn insert(&mut self, row: Row, id: Option<&str>) {
        self.taken += 1;
        if id.is_none_or(|id| self.ids.insert(id.to_owned())) {
            self.inserted.push(row);
        }
    }

    /// As a query finds them.
    pub fn rows(&self) -> impl Iterator<Item = Row> {
        self.inserted.iter().chain(self.latest.values().filter_map(|latest| latest.row.as_ref())).cloned()
    }
}

fn fields(schema: &Json) -> Result<Vec<Field>, Refused> {
    let mut names = HashSet::new();
    let mut fields = Vec::new();
    for field in schema["fields"].as_array().into_iter().flatten() {
        let name = field["name"].as_str().unwrap_or_default();
        let invalid = |message: String| Refused::new(400, "invalid", message);
        if !is_column_name(name) {
            return Err(invalid(format!("Invalid field name {name:?}")));
        }
        if !names.insert(name.to_ascii_lowercase()) {
            return Err(invalid(format!("Field {name} already exists in schema")));
        }
        let kind = match field["type"].as_str().unwrap_or_default() {
            "INT64" => "INTEGER",
            "BOOL" => "BOOLEAN",
            "FLOAT64" => "FLOAT",
            kind @ ("STRING" | "NUMERIC" | "BIGNUMERIC" | "INTEGER" | "FLOAT" | "BOOLEAN" | "BYTES" | "JSON"
            | "TIMESTAMP" | "DATE") => kind,
            other => return Err(invalid(format!("Invalid value for type: {other} is not a valid value"))),
        };
        let mode = field["mode"].as_str().unwrap_or("NULLABLE");
        fields.push(Field {
            name: name.to_owned(),
            kind: kind.to_owned(),
            repeated: mode == "REPEATED",
            required: mode == "REQUIRED",
            unseen: 0,
        });
    }
    Ok(fields)
}
