//! What every test here starts from: the binary with a state folder of its own, an embedded AWS, and a way to wait.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use sluicegate::cloud::{Cloud, Context, Guard};
use tempfile::TempDir;

/// How a run of the binary ended.
#[derive(Debug)]
pub struct Ended {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Ended {
    /// The last line of stdout, as JSON.
    pub fn last_json(&self) -> serde_json::Value {
        let line = self.out.lines().last().unwrap_or_else(|| panic!("nothing on stdout: {self:?}"));
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{line:?} is no JSON: {error}"))
    }

    /// Itself, once it is sure that it ended with `code`.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.out, self.err);
        self
    }
}

/// `sluice` with a state folder of its own, acting on `endpoint`.
#[derive(Debug)]
pub struct Sluice {
    pub state: TempDir,
    endpoint: Option<String>,
}

impl Sluice {
    pub fn new() -> Self {
        Self { state: TempDir::new().expect("a temporary folder"), endpoint: None }
    }

    pub fn at(endpoint: &str) -> Self {
        Self { endpoint: Some(endpoint.to_owned()), ..Self::new() }
    }

    /// A command that sees nothing of this machine's AWS files and variables.
    pub fn command(&self) -> Command {
        let mut command = bare();
        command.env("SLUICE_STATE_DIR", self.state.path());
        if let Some(endpoint) = &self.endpoint {
            command.args(["--endpoint-url", endpoint]);
        }
        command
    }

    pub fn run(&self, args: &[&str]) -> Ended {
        ended(self.command().args(args))
    }

    pub fn start(&self, args: &[&str]) -> Child {
        self.command().args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts")
    }
}

fn bare() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sluice"));
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("AWS_") || ["TABLE_NAME", "BACKUP_FILE_BUCKET", "FILE", "KINESIS_STREAM"].contains(&&*name)
        {
            command.env_remove(name);
        }
    }
    command.env("AWS_CONFIG_FILE", "/dev/null").env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null");
    command.env("AWS_EC2_METADATA_DISABLED", "true").stdin(Stdio::null());
    command
}

pub fn ended(command: &mut Command) -> Ended {
    let output = command.output().expect("the binary starts");
    Ended {
        code: code(output.status),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// The exit code, or 128 and the signal as a shell has it.
fn code(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt as _;
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default())
}

/// An embedded AWS in a process of its own, ended with the test.
#[derive(Debug)]
pub struct Server {
    child: Child,
    pub endpoint: String,
}

impl Server {
    pub fn start(args: &[&str]) -> Self {
        let mut child = bare()
            .args(["local", "--listen", "127.0.0.1:0"])
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let mut ready = String::new();
        let stdout = child.stdout.as_mut().expect("stdout is piped");
        BufReader::new(stdout).read_line(&mut ready).expect("stdout is text");
        let Ok(ready) = serde_json::from_str::<serde_json::Value>(&ready) else {
            let mut said = String::new();
            child.stderr.take().expect("stderr is piped").read_to_string(&mut said).expect("stderr is text");
            panic!("the server printed {ready:?} instead of its endpoint: {said}");
        };
        let endpoint = ready["endpoint"].as_str().expect("the endpoint is text").to_owned();
        Self { child, endpoint }
    }

    /// Asks it to stop, and returns its exit code.
    pub fn stop(mut self) -> i32 {
        signal(self.child.id(), "TERM");
        code(self.child.wait().expect("the server ends"))
    }

    pub fn cloud(&self) -> Cloud {
        let context = Context { endpoint_url: Some(self.endpoint.clone()), ..Context::default() };
        block_on(Cloud::connect(&context, Guard::open())).expect("a loopback endpoint has a region")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Already gone after `stop`.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a signal by name, as a person would.
pub fn signal(pid: u32, name: &str) {
    let sent = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status().expect("kill is there");
    assert!(sent.success(), "no process {pid} to signal");
}

/// Runs a future on the one runtime of all tests: clients keep their connections on it.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    static RUNTIME: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| tokio::runtime::Runtime::new().expect("a runtime")).block_on(future)
}

/// Looks until `look` finds something. It gives up after many looks, only so that a broken test ends.
#[track_caller]
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    for _ in 0..6_000 {
        if let Some(found) = look() {
            return found;
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
    panic!("waited in vain until {what}");
}

/// A backup of `items` as the original wrote it: base64 of each item, `\n` between rows.
pub fn write_csv64(path: &Path, items: impl IntoIterator<Item = String>) {
    use base64::Engine as _;
    let rows: Vec<String> = items.into_iter().map(|item| base64::prelude::BASE64_STANDARD.encode(item)).collect();
    std::fs::write(path, rows.join("\n")).expect("the temporary folder can be written");
}

/// An item like the historical data's: key `id`, a time and a rate.
pub fn item(n: usize) -> String {
    format!(
        r#"{{"updated_at":{{"N":"{}"}},"id":{{"S":"id-{n}\n"}},"rate":{{"N":"0.{}1"}}}}"#,
        1_447_203_612 + n,
        n % 977
    )
}

/// A table with key `id` S.
pub fn create_table(cloud: &Cloud, name: &str, wcu: i64) {
    use aws_sdk_dynamodb::types::{
        AttributeDefinition, KeySchemaElement, KeyType, ProvisionedThroughput, ScalarAttributeType, TableStatus,
    };
    block_on(async {
        cloud
            .dynamodb
            .create_table()
            .table_name(name)
            .key_schema(
                KeySchemaElement::builder().attribute_name("id").key_type(KeyType::Hash).build().expect("whole"),
            )
            .attribute_definitions(
                AttributeDefinition::builder()
                    .attribute_name("id")
                    .attribute_type(ScalarAttributeType::S)
                    .build()
                    .expect("whole"),
            )
            .provisioned_throughput(
                ProvisionedThroughput::builder()
                    .read_capacity_units(1_000)
                    .write_capacity_units(wcu)
                    .build()
                    .expect("whole"),
            )
            .send()
            .await
            .expect("the table is made");
    });
    until("the table is active", || {
        let described = block_on(cloud.dynamodb.describe_table().table_name(name).send()).ok()?;
        (described.table?.table_status? == TableStatus::Active).then_some(())
    });
}

/// A stream of `shards`.
pub fn create_stream(cloud: &Cloud, name: &str, shards: i32) {
    use aws_sdk_kinesis::types::StreamStatus;
    block_on(cloud.kinesis.create_stream().stream_name(name).shard_count(shards).send()).expect("the stream is made");
    until("the stream is active", || {
        let described = block_on(cloud.kinesis.describe_stream_summary().stream_name(name).send()).ok()?;
        (described.stream_description_summary?.stream_status == StreamStatus::Active).then_some(())
    });
}

/// How many items the table holds, counted by the service.
pub fn count(cloud: &Cloud, table: &str) -> u64 {
    use aws_sdk_dynamodb::operation::scan::ScanError;
    use aws_sdk_dynamodb::types::Select;
    let (mut items, mut after) = (0, None);
    loop {
        let page = until("the table gives a page", || {
            let scan = cloud.dynamodb.scan().table_name(table).select(Select::Count).consistent_read(true);
            match block_on(scan.set_exclusive_start_key(after.clone()).send()) {
                Ok(page) => Some(page),
                // Who looks again and again uses up what the table has to give.
                Err(error)
                    if error
                        .as_service_error()
                        .is_some_and(ScanError::is_provisioned_throughput_exceeded_exception) =>
                {
                    None
                }
                Err(error) => panic!("the table can't be read: {error:?}"),
            }
        });
        items += page.count as u64;
        after = page.last_evaluated_key;
        if after.is_none() {
            return items;
        }
    }
}
