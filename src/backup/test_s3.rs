//! S3 on a folder, over HTTP on loopback, for this folder's tests.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;

use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;

use crate::local::s3::S3;

/// A bucket `bucket` and a client for it. Its folder goes with it.
pub(super) struct TestS3 {
    pub(super) client: aws_sdk_s3::Client,
    folder: tempfile::TempDir,
}

impl TestS3 {
    pub(super) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("bucket")).unwrap();
        let service = Arc::new(S3::new(folder.path()).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let s3 = Arc::clone(&service);
                tokio::spawn(async move {
                    let service = service_fn(move |request| {
                        let s3 = Arc::clone(&s3);
                        async move { Ok::<_, Infallible>(s3.handle(request).await) }
                    });
                    let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                    let _ = server.serve_connection(TokioIo::new(socket), service).await;
                });
            }
        });
        Self { client: client(&endpoint), folder }
    }

    /// Where the object is on disk.
    pub(super) fn path(&self, key: &str) -> PathBuf {
        self.folder.path().join("bucket").join(key)
    }

    pub(super) async fn put(&self, key: &str, bytes: &[u8]) {
        self.client.put_object().bucket("bucket").key(key).body(bytes.to_vec().into()).send().await.unwrap();
    }
}

/// A client of an S3 on loopback.
pub(super) fn client(endpoint: &str) -> aws_sdk_s3::Client {
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("local", "local", None, None, "test"))
        .endpoint_url(endpoint)
        .force_path_style(true)
        .build();
    aws_sdk_s3::Client::from_conf(config)
}
