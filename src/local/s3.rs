//! S3 on a folder.

use std::path::Path;

use http::{Request, Response};
use hyper::body::Incoming;

use super::{Body, LocalError, full};

/// Being built.
pub struct S3;

impl S3 {
    /// S3 whose buckets are the folders in `folder`.
    pub fn new(_folder: &Path) -> Result<Self, LocalError> {
        Ok(Self)
    }

    /// Answers one request.
    #[allow(clippy::unused_async)]
    pub async fn handle(&self, _request: Request<Incoming>) -> Response<Body> {
        Response::new(full(""))
    }
}
