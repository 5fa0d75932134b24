//! The Lambda host as Lambda sees it: how long a process takes from its start until it asks for its first event, and how
//! many records a second `put` writes in batches of 500, against `sluice local --limits off`.
//!
//! `cargo bench --bench lambda`

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::types::{AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use lambda_simulator::{InvocationBuilder, Simulator, SimulatorPhase};
use serde_json::{Value, json};
use sluicegate::cloud::{Cloud, Context, Guard};
use sluicegate::item::request;

/// Records of a batch: the original's, and the template's default.
const BATCH: usize = 500;
const STARTS: usize = 20;
const BATCHES: usize = 40;

/// A process that ends with its owner.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn function(simulator: &Simulator, endpoint: &str) -> Process {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sluice-lambda"));
    command.env_clear().envs(simulator.lambda_env_vars());
    command.env("AWS_ENDPOINT_URL", endpoint).env("SLUICE_HANDLER", "put");
    command.env("SLUICE_DEAD_LETTERS", "s3://letters/dead").stdin(Stdio::null()).stdout(Stdio::null());
    Process(command.spawn().expect("the function starts"))
}

async fn cold_start(endpoint: &str) -> Duration {
    let simulator = Simulator::builder().build().await.expect("a simulator");
    let began = Instant::now();
    let _process = function(&simulator, endpoint);
    simulator.wait_for_phase(SimulatorPhase::Ready, Duration::from_mins(1)).await.expect("it asks for an event");
    began.elapsed()
}

fn batch(number: usize) -> Value {
    let record = |n: usize| {
        let filling = "x".repeat(230);
        let item = format!(
            r#"{{"id":{{"S":"id-{n}"}},"updated_at":{{"N":"1447203612"}},"rate":{{"N":"0.6550358501120767"}},"f":{{"S":"{filling}"}}}}"#
        );
        json!({
            "kinesis": {
                "partitionKey": "p", "sequenceNumber": n.to_string(), "approximateArrivalTimestamp": 1.0,
                "data": BASE64_STANDARD.encode(request::encode("bench", item.as_bytes())),
            },
            "eventID": format!("shardId-000000000000:{n}"),
            "eventSourceARN": "arn:aws:kinesis:us-east-1:123456789012:stream/bench",
        })
    };
    json!({ "Records": (number * BATCH..(number + 1) * BATCH).map(record).collect::<Vec<_>>() })
}

async fn invoke(simulator: &Simulator, event: Value) -> Duration {
    let invocation = InvocationBuilder::new().payload(event).timeout_ms(60_000).build().expect("it has a payload");
    let began = Instant::now();
    let id = simulator.enqueue(invocation).await;
    let done = simulator.wait_for_invocation_complete(&id, Duration::from_mins(1)).await.expect("it ends");
    let took = began.elapsed();
    assert_eq!(done.response.expect("it is no error").payload, json!({ "batchItemFailures": [] }));
    took
}

async fn create_table(endpoint: &str) {
    let context = Context { endpoint_url: Some(endpoint.to_owned()), ..Context::default() };
    let cloud = Cloud::connect(&context, Guard::open()).await.expect("a loopback endpoint has a region");
    let key = KeySchemaElement::builder().attribute_name("id").key_type(KeyType::Hash).build().expect("whole");
    let id = AttributeDefinition::builder().attribute_name("id").attribute_type(ScalarAttributeType::S);
    let create = cloud.dynamodb.create_table().table_name("bench").billing_mode(BillingMode::PayPerRequest);
    let create = create.key_schema(key).attribute_definitions(id.build().expect("whole"));
    create.send().await.expect("the table is made");
}

fn main() {
    let mut local = Command::new(env!("CARGO_BIN_EXE_sluice"));
    local.args(["local", "--listen", "127.0.0.1:0", "--limits", "off"]).stdout(Stdio::piped());
    let mut local = Process(local.spawn().expect("the embedded AWS starts"));
    let mut ready = String::new();
    BufReader::new(local.0.stdout.take().expect("it is piped")).read_line(&mut ready).expect("it is text");
    let ready: Value = serde_json::from_str(&ready).expect("it says its endpoint");
    let endpoint = ready["endpoint"].as_str().expect("it is text").to_owned();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let mut starts = Vec::new();
        for _ in 0..STARTS {
            starts.push(cold_start(&endpoint).await);
        }
        starts.sort_unstable();
        println!("cold start, {STARTS} times: median {:?}, longest {:?}", starts[STARTS / 2], starts[STARTS - 1]);

        create_table(&endpoint).await;
        let simulator = Simulator::builder().build().await.expect("a simulator");
        let _process = function(&simulator, &endpoint);
        println!("first batch of {BATCH}: {:?}", invoke(&simulator, batch(0)).await);
        let mut took = Duration::ZERO;
        for number in 1..=BATCHES {
            took += invoke(&simulator, batch(number)).await;
        }
        let records = (BATCH * BATCHES) as f64;
        println!(
            "{BATCHES} warm batches of {BATCH}: {:.0} records/s, {:?} a batch",
            records / took.as_secs_f64(),
            took / BATCHES as u32
        );
    });
}
