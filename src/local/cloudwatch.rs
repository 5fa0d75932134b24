//! The `CloudWatch` calls that Sluicegate uses.

use std::sync::Arc;

use bytes::Bytes;
use http::Response;

use super::metrics::Metrics;
use super::{Body, full};

/// Being built.
pub struct CloudWatch;

impl CloudWatch {
    /// `CloudWatch` over the gateway's metrics.
    pub fn new(_metrics: Arc<Metrics>) -> Self {
        Self
    }

    /// Answers one request.
    #[allow(clippy::unused_async)]
    pub async fn handle(&self, _parts: &http::request::Parts, _body: Bytes) -> Response<Body> {
        Response::new(full(""))
    }
}
