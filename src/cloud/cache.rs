//! What was last seen of a context, kept in a file: the console's first frame and a shell's completion have names before
//! AWS has answered.
//!
//! One JSON file a context below the state folder, replaced whole and never in part. It holds what `ListTables`,
//! `DescribeTable` and `DescribeStreamSummary` say, and no credentials. A file that can't be read, or that another version
//! wrote, counts as none: everything in it can be asked for again.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::context::Context;
use super::inventory::{Stream, Table};

/// The shape of the file; another one is not read.
const VERSION: u32 = 1;

/// Tables and streams of one context, as they were seen last.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Inventory {
    /// When the names of the tables were listed, ms since epoch; 0 is never.
    pub tables_ms: i64,
    /// When the names of the streams were listed, ms since epoch; 0 is never.
    pub streams_ms: i64,
    /// The AWS account, where it was asked for.
    pub account: Option<String>,
    /// The region that the context came to.
    pub region: String,
    /// Names of all tables, sorted.
    pub tables: Vec<String>,
    /// Those that were described, sorted by name.
    pub described: Vec<Table>,
    /// All streams, sorted by name; of some only the name is known. Without their shards.
    pub streams: Vec<Stream>,
}

impl Inventory {
    /// When its older half was listed, ms since epoch; 0 where a half never was.
    pub fn at_ms(&self) -> i64 {
        self.tables_ms.min(self.streams_ms)
    }

    /// Takes in a list of all tables. What was known of those that are gone is forgotten.
    pub fn list_tables(&mut self, mut names: Vec<String>, now_ms: i64) {
        names.sort();
        self.described.retain(|table| names.binary_search(&table.name).is_ok());
        self.tables = names;
        self.tables_ms = now_ms;
    }

    /// Takes in descriptions of some tables.
    pub fn describe_tables(&mut self, tables: impl IntoIterator<Item = Table>) {
        for table in tables {
            match self.described.binary_search_by(|known| known.name.cmp(&table.name)) {
                Ok(at) => self.described[at] = table,
                Err(at) => self.described.insert(at, table),
            }
        }
    }

    /// Takes in a list of all streams. Those that are known keep what was known of them.
    pub fn list_streams(&mut self, mut names: Vec<String>, now_ms: i64) {
        names.sort();
        let mut known = std::mem::take(&mut self.streams).into_iter().peekable();
        for name in names {
            while known.next_if(|stream| stream.name < name).is_some() {}
            self.streams.push(known.next_if(|stream| stream.name == name).unwrap_or_else(|| Stream::named(name)));
        }
        self.streams_ms = now_ms;
    }

    /// Takes in descriptions of some streams.
    pub fn describe_streams(&mut self, streams: impl IntoIterator<Item = Stream>) {
        for stream in streams {
            let stream = Stream { open: stream.open_shards(), shards: Vec::new(), ..stream };
            match self.streams.binary_search_by(|known| known.name.cmp(&stream.name)) {
                Ok(at) => self.streams[at] = stream,
                Err(at) => self.streams.insert(at, stream),
            }
        }
    }
}

/// The file, with what tells whether it is meant.
#[derive(Serialize, Deserialize)]
struct Kept<I> {
    version: u32,
    context: Context,
    inventory: I,
}

/// What was last seen of `context`, as it was asked for ([`super::Cloud::context`], not its place: the region may be left
/// to the environment, which counts with it).
pub fn load(state: &Path, context: &Context) -> Option<Inventory> {
    let whole = fs::read(path(state, context)).ok()?;
    let kept: Kept<Inventory> = serde_json::from_slice(&whole).ok()?;
    // The name of the file is a hash: two contexts may share it.
    (kept.version == VERSION && kept.context == settled(context, &of_environment)).then_some(kept.inventory)
}

/// Replaces what is kept of `context`. A reader finds the old file or the new one, never a part of one.
///
/// # Errors
/// As the file system gives them: nothing depends on it, a caller may log them and go on.
pub fn store(state: &Path, context: &Context, inventory: &Inventory) -> io::Result<()> {
    let path = path(state, context);
    let folder = path.parent().unwrap_or(state);
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let kept = Kept { version: VERSION, context: settled(context, &of_environment), inventory };
    let whole = serde_json::to_vec(&kept)?;
    let mut file = tempfile::Builder::new()
        .prefix(".inventory-")
        .permissions(fs::Permissions::from_mode(0o600))
        .tempfile_in(folder)?;
    io::Write::write_all(&mut file, &whole)?;
    file.persist(path).map(drop).map_err(|error| error.error)
}

/// Changes what is kept of `context`: what `change` leaves alone stays as another process stored it last.
///
/// # Errors
/// As [`store`].
pub fn update(state: &Path, context: &Context, change: impl FnOnce(&mut Inventory)) -> io::Result<()> {
    let mut inventory = load(state, context).unwrap_or_default();
    change(&mut inventory);
    store(state, context, &inventory)
}

/// Where what is kept of `context` lies.
pub fn path(state: &Path, context: &Context) -> PathBuf {
    path_of(state, &settled(context, &of_environment), &of_environment)
}

fn path_of(state: &Path, settled: &Context, environment: &dyn Fn(&str) -> Option<String>) -> PathBuf {
    // Credentials of the environment make another account of the same context; only a hash of their public half is used.
    let key = environment("AWS_ACCESS_KEY_ID").filter(|_| settled.profile.is_none()).unwrap_or_default();
    let words = serde_json::to_string(&(settled, key)).unwrap_or_default();
    state.join("cache").join(format!("inventory-{:016x}.json", xxh3_64(words.as_bytes())))
}

/// The context with what the environment adds to it, in the order of the AWS SDK.
fn settled(context: &Context, environment: &dyn Fn(&str) -> Option<String>) -> Context {
    Context {
        profile: context.profile.clone().or_else(|| environment("AWS_PROFILE")),
        region: context
            .region
            .clone()
            .or_else(|| environment("AWS_REGION"))
            .or_else(|| environment("AWS_DEFAULT_REGION")),
        endpoint_url: context.endpoint_url.clone(),
    }
}

fn of_environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloud::inventory::{Index, Provisioned};
    use crate::item::{KeyAttr, KeyKind, KeySchema};

    fn table(name: &str) -> Table {
        let provisioned = Some(Provisioned { read: 10, write: 130, ..Provisioned::default() });
        Table {
            name: name.into(),
            status: "ACTIVE".into(),
            items: 31_200,
            bytes: 9_400_000,
            provisioned,
            indexes: vec![Index { name: "GSI_1".into(), status: "ACTIVE".into(), provisioned }],
            stream: Some("NEW_IMAGE".into()),
            key: KeySchema { partition: KeyAttr { name: "id".into(), kind: KeyKind::S }, sort: None },
        }
    }

    fn here() -> Context {
        Context { endpoint_url: Some("http://127.0.0.1:1".into()), ..Context::default() }
    }

    fn seen() -> Inventory {
        let mut inventory = Inventory { region: "eu-west-1".into(), ..Inventory::default() };
        inventory.list_tables(vec!["quotes".into(), "historical".into()], 7);
        inventory.describe_tables([table("quotes")]);
        inventory.list_streams(vec!["restore".into()], 9);
        inventory
    }

    #[test]
    fn what_was_stored_is_loaded_for_the_same_context_alone() {
        let state = tempfile::tempdir().unwrap();
        assert_eq!(load(state.path(), &here()), None);
        store(state.path(), &here(), &seen()).unwrap();
        assert_eq!(load(state.path(), &here()), Some(seen()));
        let elsewhere = Context { region: Some("us-west-2".into()), ..here() };
        assert_eq!(load(state.path(), &elsewhere), None);
        assert_eq!(seen().at_ms(), 7);
    }

    #[test]
    fn a_file_that_is_torn_or_of_another_version_counts_as_none() {
        let state = tempfile::tempdir().unwrap();
        store(state.path(), &here(), &seen()).unwrap();
        let path = path(state.path(), &here());
        let whole = fs::read_to_string(&path).unwrap();
        fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        assert_eq!(load(state.path(), &here()), None);
        fs::write(&path, whole.replace("\"version\":1", "\"version\":2")).unwrap();
        assert_eq!(load(state.path(), &here()), None);
        fs::write(&path, whole).unwrap();
        assert!(load(state.path(), &here()).is_some());
    }

    #[test]
    fn only_its_owner_can_read_the_file_and_nothing_else_is_left_beside_it() {
        let state = tempfile::tempdir().unwrap();
        store(state.path(), &here(), &seen()).unwrap();
        store(state.path(), &here(), &seen()).unwrap();
        let path = path(state.path(), &here());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_list_forgets_what_is_gone_and_keeps_what_is_known_of_the_rest() {
        let mut inventory = seen();
        inventory.describe_tables([table("historical")]);
        inventory.describe_streams([Stream { status: "ACTIVE".into(), ..Stream::named("restore".into()) }]);
        inventory.list_tables(vec!["new".into(), "quotes".into()], 20);
        inventory.list_streams(vec!["other".into(), "restore".into(), "zulu".into()], 21);
        assert_eq!(inventory.tables, ["new", "quotes"]);
        assert_eq!(inventory.described, [table("quotes")]);
        let streams: Vec<_> = inventory.streams.iter().map(|s| (s.name.as_str(), s.status.as_str())).collect();
        assert_eq!(streams, [("other", ""), ("restore", "ACTIVE"), ("zulu", "")]);
        assert_eq!(inventory.at_ms(), 20);
    }

    #[test]
    fn one_command_changes_its_half_and_leaves_the_other() {
        let state = tempfile::tempdir().unwrap();
        store(state.path(), &here(), &seen()).unwrap();
        update(state.path(), &here(), |inventory| inventory.list_streams(Vec::new(), 30)).unwrap();
        let now = load(state.path(), &here()).unwrap();
        assert_eq!((now.streams.len(), now.tables.len()), (0, 2));
    }

    #[test]
    fn the_environment_names_the_context_where_no_option_does() {
        let environment = |name: &str| match name {
            "AWS_PROFILE" => Some("prod".to_owned()),
            "AWS_DEFAULT_REGION" => Some("eu-west-1".to_owned()),
            "AWS_ACCESS_KEY_ID" => Some("AKIDEXAMPLE".to_owned()),
            _ => None,
        };
        let context = settled(&Context::default(), &environment);
        assert_eq!((context.profile.as_deref(), context.region.as_deref()), (Some("prod"), Some("eu-west-1")));
        let region = Context { region: Some("us-east-1".into()), ..Context::default() };
        assert_eq!(settled(&region, &environment).region.as_deref(), Some("us-east-1"));
        let state = Path::new("state");
        let of = |profile: Option<&str>, environment: &dyn Fn(&str) -> Option<String>| {
            path_of(state, &Context { profile: profile.map(Into::into), ..Context::default() }, environment)
        };
        assert_ne!(of(None, &environment), of(None, &|_| None), "other credentials may be another account's");
        assert_eq!(of(Some("prod"), &environment), of(Some("prod"), &|_| None), "a profile brings its own");
    }

    #[test]
    fn the_file_holds_no_secret() {
        let state = tempfile::tempdir().unwrap();
        let context = Context { profile: Some("prod".into()), ..here() };
        store(state.path(), &context, &seen()).unwrap();
        let whole = fs::read_to_string(path(state.path(), &context)).unwrap().to_lowercase();
        assert!(
            !["secret", "token", "password", "access_key", "akid"].iter().any(|word| whole.contains(word)),
            "{whole}"
        );
    }
}
