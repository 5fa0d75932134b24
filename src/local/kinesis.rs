//! Kinesis, behind the gateway's limits.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Response};

use super::faults::Faults;
use super::metrics::Metrics;
use super::{Body, full};

/// Being built.
pub struct Kinesis;

impl Kinesis {
    /// An account without streams.
    pub fn new(_limits: bool, _metrics: Arc<Metrics>, _faults: Arc<Faults>) -> Self {
        Self
    }

    /// Answers one operation.
    #[allow(clippy::unused_async)]
    pub async fn handle(&self, _operation: &str, _headers: &HeaderMap, _body: Bytes) -> Response<Body> {
        Response::new(full(""))
    }
}
