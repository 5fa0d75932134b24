//! The Lambda host: the logic of `flow` and `event` as functions of event source mappings.
//!
//! ```text
//!   Kinesis ───────▶ put, pump ─┐                    ┌─▶ batchItemFailures: from here on, once more
//!   table's stream ▶ replicate ─┴▶ Batch ─▶ doors ───┼─▶ dead letters in S3
//!   schedule ──────▶ scan ─────────────────▶ (warm)  └─▶ metrics in the log
//!   HTTP ──────────▶ track ─▶ Kinesis
//! ```
//!
//! `docs`: `deploy/README.md`.

mod batch;
mod door;
pub mod embedded;
mod gate;
mod host;
mod letters;
mod log;
mod message;
mod pump;
mod put;
mod replicate;
mod scan;
mod settings;
mod track;

use std::process::ExitCode;
use std::sync::Arc;

use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use serde_json::value::RawValue;

use host::Host;
use settings::Settings;

/// Runs the function until Lambda ends it.
pub fn main() -> ExitCode {
    log::start();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&format!("could not start: {error}")),
    };
    runtime.block_on(run())
}

async fn run() -> ExitCode {
    if std::env::var_os("AWS_LAMBDA_RUNTIME_API").is_none() {
        return failed(
            "AWS_LAMBDA_RUNTIME_API is not set: this program is run by AWS Lambda (see deploy/README.md); on a machine of \
             your own, sluice does the same",
        );
    }
    let settings = match Settings::read(|name| std::env::var(name).ok()) {
        Ok(settings) => settings,
        Err(error) => return failed(&error),
    };
    let host = match Host::new(settings).await {
        Ok(host) => Arc::new(host),
        Err(error) => return failed(&error.to_string()),
    };
    let served = lambda_runtime::run(service_fn(move |event: LambdaEvent<Box<RawValue>>| {
        let host = Arc::clone(&host);
        async move {
            let (payload, context) = event.into_parts();
            host.handle(payload, &context).await.map_err(|error| Diagnostic {
                error_type: format!("{:?}", error.class),
                error_message: error.to_string(),
            })
        }
    }));
    match served.await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error.to_string()),
    }
}

fn failed(why: &str) -> ExitCode {
    tracing::error!("{why}");
    ExitCode::FAILURE
}
