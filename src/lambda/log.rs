//! The function's log: a line of JSON for each event on stdout, which Lambda hands to CloudWatch Logs.

use std::fmt;

use jiff::Timestamp;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

use crate::cloud::guard::{Change, Witness};

/// Starts logging; `SLUICE_LOG` chooses what, as everywhere.
pub(super) fn start() {
    let usual = "sluicegate=info,lambda_runtime=warn,warn";
    let filter = EnvFilter::try_from_env("SLUICE_LOG").unwrap_or_else(|_| EnvFilter::new(usual));
    let logging = tracing_subscriber::fmt().with_ansi(false).with_env_filter(filter).with_writer(std::io::stdout);
    // A test may have begun one before: then that one takes the lines.
    let _ = logging.event_format(Json).try_init();
}

/// Events as JSON: time, level, the invocation that they belong to, and their own fields.
#[derive(Clone, Copy, Debug)]
struct Json;

struct Fields(Map<String, Value>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name().to_owned(), Value::from(format!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), Value::from(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name().to_owned(), Value::from(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.insert(field.name().to_owned(), Value::from(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.insert(field.name().to_owned(), Value::from(value));
    }
}

impl<S, N> FormatEvent<S, N> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut fields = Fields(Map::new());
        event.record(&mut fields);
        let Fields(mut line) = fields;
        line.insert("time".to_owned(), Value::from(Timestamp::now().to_string()));
        line.insert("level".to_owned(), Value::from(event.metadata().level().as_str()));
        // The runtime's span names the invocation.
        let span = context.lookup_current();
        let extensions = span.as_ref().map(|span| span.extensions());
        if let Some(within) = extensions.as_ref().and_then(|extensions| extensions.get::<FormattedFields<N>>()) {
            line.insert("invocation".to_owned(), Value::from(within.fields.as_str()));
        }
        writeln!(out, "{}", Value::Object(line))
    }
}

/// The audit of a function is its log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Log;

impl Witness for Log {
    fn sending(&self, change: &Change) -> Option<i64> {
        tracing::info!(service = change.service, operation = change.operation, target = change.target, "change");
        None
    }

    fn would_send(&self, change: &Change) {
        tracing::info!(service = change.service, operation = change.operation, target = change.target, "not sent");
    }
}
