//! The port: tells the services apart and carries out the faults that belong to connections.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, BodyStream, Limited, StreamBody};
use hyper::body::{Body as _, Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::access::{self, Access, Protocol};
use super::cloudwatch::CloudWatch;
use super::dynamo::{self, Dynamo};
use super::faults::{Fault, Faults};
use super::iam;
use super::kinesis::Kinesis;
use super::lambda::{self, Lambda};
use super::metrics::Metrics;
use super::s3::S3;
use super::sns::{Published, Sns};
use super::{Body, BoxError, LocalError, Options, full};

/// The largest request that is not S3's, bytes: `BatchWriteItem` takes 16 MiB and JSON is wider than what it counts.
const LARGEST: usize = 32 * 1024 * 1024;
/// How long open requests may go on when the server stops.
const GRACE: Duration = Duration::from_secs(2);
/// How often what happens unasked is done; metrics have 1-minute periods.
const TICK: Duration = Duration::from_secs(20);
/// Targets of the JSON protocols, by service.
const DYNAMODB: &str = "DynamoDB_20120810.";
const STREAMS: &str = "DynamoDBStreams_20120810.";
const KINESIS: &str = "Kinesis_20131202.";
const CLOUDWATCH: &str = "GraniteServiceVersion20100801";

/// A running embedded AWS. Dropping it without [`Local::stop`] ends it without waiting for open requests.
#[derive(Debug)]
pub struct Local {
    endpoint: String,
    s3_folder: PathBuf,
    stop: watch::Sender<bool>,
    accepting: tokio::task::JoinHandle<()>,
    services: Arc<Services>,
    /// Held while the folder of `--data` is served.
    _lock: Option<std::fs::File>,
    /// Removed with everything in it when the server ends.
    _temporary: Option<tempfile::TempDir>,
}

struct Services {
    dynamo: Dynamo,
    kinesis: Kinesis,
    s3: S3,
    cloudwatch: CloudWatch,
    sns: Sns,
    lambda: Lambda,
    access: Access,
    metrics: Arc<Metrics>,
    faults: Arc<Faults>,
}

impl std::fmt::Debug for Services {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Services").field("faults", &self.faults).finish_non_exhaustive()
    }
}

impl Local {
    /// Binds the address and serves until [`Local::stop`].
    pub async fn start(options: Options) -> Result<Self, LocalError> {
        let (folder, temporary) = if let Some(folder) = &options.data {
            (folder.clone(), None)
        } else {
            let temporary = tempfile::Builder::new()
                .prefix("sluice-local-")
                .tempdir()
                .map_err(LocalError::folder(&std::env::temp_dir()))?;
            (temporary.path().to_owned(), Some(temporary))
        };
        let s3_folder = folder.join("s3");
        std::fs::create_dir_all(&s3_folder).map_err(LocalError::folder(&s3_folder))?;
        let lock = options.data.as_deref().map(only_server_of).transpose()?;
        let listener =
            TcpListener::bind(options.listen).await.map_err(|error| LocalError::Listen(options.listen, error))?;
        let address = listener.local_addr().map_err(|error| LocalError::Listen(options.listen, error))?;

        let metrics = Metrics::new();
        let faults = Arc::new(options.faults.clone().seeded(options.seed));
        let services = Arc::new(Services {
            dynamo: Dynamo::open(&options, Arc::clone(&metrics), Arc::clone(&faults)).await?,
            kinesis: Kinesis::new(options.limits, Arc::clone(&metrics), Arc::clone(&faults)),
            s3: S3::new(&s3_folder)?,
            cloudwatch: CloudWatch::new(Arc::clone(&metrics)),
            sns: Sns::default(),
            lambda: Lambda::default(),
            access: Access::new(options.deny.clone()),
            metrics,
            faults,
        });
        let (stop, stopping) = watch::channel(false);
        let accepting = tokio::spawn(accept(listener, Arc::clone(&services), stopping));
        Ok(Self {
            endpoint: format!("http://{address}"),
            s3_folder,
            stop,
            accepting,
            services,
            _lock: lock,
            _temporary: temporary,
        })
    }

    /// Where it serves, such as `http://127.0.0.1:4566`.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The metrics of what passed: a test may add a past that nobody has to wait for.
    pub fn metrics(&self) -> &Metrics {
        &self.services.metrics
    }

    /// What was published to SNS, oldest first.
    pub fn published(&self) -> Vec<Published> {
        self.services.sns.published()
    }

    /// The IAM actions that requests needed since the last call: `dynamodb:PutItem`.
    pub fn take_asked(&self) -> std::collections::BTreeSet<String> {
        self.services.access.take_asked()
    }

    /// The folder whose folders are S3's buckets.
    pub fn s3_folder(&self) -> &Path {
        &self.s3_folder
    }

    /// Stops accepting, lets open requests end, and closes what `--data` keeps.
    pub async fn stop(mut self) -> Result<(), LocalError> {
        self.stop.send_replace(true);
        // It ends by itself within `GRACE`; that it can't be joined would only mean that it ended badly.
        (&mut self.accepting).await.ok();
        self.services.dynamo.close().await
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        self.accepting.abort();
    }
}

/// Two servers would write over each other's settings. The lock goes with the process, however it ends.
fn only_server_of(folder: &Path) -> Result<std::fs::File, LocalError> {
    let path = folder.join("lock");
    let lock = std::fs::File::create(&path).map_err(LocalError::folder(&path))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(std::fs::TryLockError::WouldBlock) => Err(LocalError::InUse(folder.to_owned())),
        Err(std::fs::TryLockError::Error(error)) => Err(LocalError::folder(&path)(error)),
    }
}

async fn accept(listener: TcpListener, services: Arc<Services>, mut stopping: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    let mut ticks = tokio::time::interval(TICK);
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, Arc::clone(&services), stopping.clone()));
                }
                // Out of file descriptors, most likely: connections that end make room.
                Err(error) => {
                    tracing::warn!(%error, "can't accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
            Some(_) = connections.join_next() => {}
            _ = ticks.tick() => services.dynamo.tick(),
            () = told_to_stop(&mut stopping) => break,
        }
    }
    drop(listener);
    let ending = async { while connections.join_next().await.is_some() {} };
    tokio::time::timeout(GRACE, ending).await.ok();
}

/// Ends when the server is to stop, or is gone.
async fn told_to_stop(stopping: &mut watch::Receiver<bool>) {
    stopping.wait_for(|stop| *stop).await.ok();
}

async fn connection(stream: TcpStream, services: Arc<Services>, mut stopping: watch::Receiver<bool>) {
    // Replies are small and waited for: Nagle's delay would be most of their time.
    stream.set_nodelay(true).ok();
    let service = service_fn(move |request| {
        let services = Arc::clone(&services);
        async move { services.answer(request).await }
    });
    let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = told_to_stop(&mut stopping) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended");
    }
}

/// Which service a request is for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Target {
    DynamoDb(String),
    Kinesis(String),
    CloudWatch,
    Lambda,
    /// What no AWS has: its own time, on demand.
    Control,
    Sts,
    S3,
}

/// The connection is dropped without a reply.
#[derive(Debug, thiserror::Error)]
#[error("dropped on demand")]
struct Dropped;

impl Services {
    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Body>, Dropped> {
        if let Some(latency) = self.faults.latency() {
            tokio::time::sleep(latency).await;
        }
        let target = target(request.method(), request.uri().path(), request.headers());
        let touches_data = touches_data(&target, request.method(), request.uri());
        if touches_data && self.faults.roll(Fault::Error) {
            // A connection whose request was not read to its end is closed, and the client may never see the error.
            let mut unread = request.into_body();
            while let Some(Ok(_)) = unread.frame().await {}
            return Ok(internal_error(&target));
        }
        let lost = touches_data && self.faults.roll(Fault::LoseReply);
        let cut = touches_data && self.faults.roll(Fault::Reset);
        let response = self.serve(target, request).await;
        if lost {
            return Err(Dropped);
        }
        Ok(if cut { cut_off(response) } else { response })
    }

    async fn serve(&self, target: Target, request: Request<Incoming>) -> Response<Body> {
        if target == Target::S3 {
            let action = access::of_s3(request.method(), request.uri());
            if !self.access.allows(action) {
                let mut unread = request.into_body();
                while let Some(Ok(_)) = unread.frame().await {}
                return access::denial(Protocol::S3, action, b"");
            }
            return self.s3.handle(request).await;
        }
        if target == Target::Control {
            // Nobody's API: no action allows or denies it.
            return self.dynamo.control(request.uri().path());
        }
        let (parts, body) = request.into_parts();
        let body = match Limited::new(body, LARGEST).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) => return plain(StatusCode::BAD_REQUEST, error.to_string()),
        };
        let (action, protocol) = needed(&target, &parts, &body);
        if !self.access.allows(&action) {
            return access::denial(protocol, &action, &body);
        }
        match target {
            Target::DynamoDb(operation) => self.dynamo.handle(&operation, body).await,
            Target::Kinesis(operation) => self.kinesis.handle(&operation, &parts.headers, body).await,
            Target::Lambda => self.lambda.answer(&parts.method, &parts.uri, &body),
            // STS, IAM, SNS and CloudWatch share the query protocol, told apart by the action.
            Target::Sts if iam::is_meant(&body) => iam::answer(&body, self.access.denied()),
            Target::Sts if is_caller_identity(&body) => caller_identity(),
            Target::Sts if Sns::is_meant(&body) => self.sns.publish(&body),
            _ => self.cloudwatch.handle(&parts, body).await,
        }
    }
}

fn target(method: &Method, path: &str, headers: &HeaderMap) -> Target {
    let named = headers.get("x-amz-target").and_then(|value| value.to_str().ok());
    if let Some(named) = named {
        if let Some(operation) = named.strip_prefix(DYNAMODB).or_else(|| named.strip_prefix(STREAMS)) {
            return Target::DynamoDb(operation.to_owned());
        }
        if let Some(operation) = named.strip_prefix(KINESIS) {
            return Target::Kinesis(operation.to_owned());
        }
        if named.starts_with(CLOUDWATCH) {
            return Target::CloudWatch;
        }
        // An unknown target: DynamoDB's answer to an unknown operation says so.
        return Target::DynamoDb(named.to_owned());
    }
    if path.strip_prefix("/service/").is_some_and(|rest| rest.starts_with(CLOUDWATCH)) {
        return Target::CloudWatch;
    }
    if lambda::is_meant(path) {
        return Target::Lambda;
    }
    if dynamo::is_control(path) {
        return Target::Control;
    }
    let is_form = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"));
    if method == Method::POST && path == "/" && is_form { Target::Sts } else { Target::S3 }
}

/// The IAM action that a request needs, and how its denial would travel.
fn needed(target: &Target, parts: &http::request::Parts, body: &[u8]) -> (String, Protocol) {
    match target {
        Target::DynamoDb(operation) => (format!("dynamodb:{operation}"), Protocol::Json),
        Target::Kinesis(operation) => (format!("kinesis:{operation}"), Protocol::Json),
        Target::Lambda => (lambda::action(&parts.method, parts.uri.path()).to_owned(), Protocol::Json),
        Target::CloudWatch if parts.uri.path().starts_with("/service/") => {
            let operation = parts.uri.path().rsplit('/').next().unwrap_or_default();
            (format!("cloudwatch:{operation}"), Protocol::Cbor)
        }
        Target::CloudWatch => {
            let named = parts.headers.get("x-amz-target").and_then(|value| value.to_str().ok()).unwrap_or_default();
            (format!("cloudwatch:{}", named.rsplit('.').next().unwrap_or_default()), Protocol::Json)
        }
        Target::Sts | Target::S3 | Target::Control => (access::of_query(body), Protocol::Query),
    }
}

/// Faults hit items, records and objects; what sets up tables, streams and buckets is spared.
fn touches_data(target: &Target, method: &Method, uri: &http::Uri) -> bool {
    match target {
        Target::DynamoDb(operation) => dynamo::touches_data(operation),
        Target::Kinesis(operation) => matches!(operation.as_str(), "PutRecord" | "PutRecords" | "GetRecords"),
        Target::S3 => {
            let key = uri.path().trim_start_matches('/').split_once('/').map_or("", |(_, key)| key);
            !key.is_empty() && matches!(*method, Method::GET | Method::PUT | Method::POST)
        }
        Target::CloudWatch | Target::Lambda | Target::Control | Target::Sts => false,
    }
}

fn plain(status: StatusCode, text: String) -> Response<Body> {
    let mut response = Response::new(full(text));
    *response.status_mut() = status;
    response
}

fn internal_error(target: &Target) -> Response<Body> {
    let (kind, body) = match target {
        Target::DynamoDb(_) => (
            "application/x-amz-json-1.0",
            r#"{"__type":"com.amazonaws.dynamodb.v20120810#InternalServerError","message":"Internal server error"}"#,
        ),
        Target::Kinesis(_) => {
            ("application/x-amz-json-1.1", r#"{"__type":"InternalFailure","message":"Internal service failure"}"#)
        }
        _ => (
            "application/xml",
            "<Error><Code>InternalError</Code><Message>We encountered an internal error. Please try again.</Message></Error>",
        ),
    };
    let mut response = plain(StatusCode::INTERNAL_SERVER_ERROR, body.to_owned());
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    response
}

/// Announces the whole reply and ends the connection after half of it.
fn cut_off(response: Response<Body>) -> Response<Body> {
    let (mut parts, body) = response.into_parts();
    let announced = parts.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    let length: u64 = announced.or_else(|| body.size_hint().exact()).unwrap_or(2);
    // An empty reply can't be cut in half: one byte too many is announced.
    parts.headers.insert(header::CONTENT_LENGTH, header::HeaderValue::from(length.max(1)));
    let mut left = (length / 2) as usize;
    let first = BodyStream::new(body).filter_map(move |frame| {
        let kept = frame.ok().and_then(|frame| frame.into_data().ok()).map(|data| data.slice(..data.len().min(left)));
        left -= kept.as_ref().map_or(0, Bytes::len);
        std::future::ready(kept.filter(|data| !data.is_empty()).map(|data| Ok(Frame::data(data))))
    });
    let end = futures::stream::once(std::future::ready(Err::<Frame<Bytes>, BoxError>(Box::new(Dropped))));
    Response::from_parts(parts, StreamBody::new(first.chain(end)).boxed_unsync())
}

fn is_caller_identity(body: &[u8]) -> bool {
    body.split(|byte| *byte == b'&').any(|pair| pair == b"Action=GetCallerIdentity")
}

/// What STS says of whoever asks here.
fn caller_identity() -> Response<Body> {
    let mut response = plain(
        StatusCode::OK,
        format!(
            "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><GetCallerIdentityResult>\
         <Arn>{}</Arn><UserId>AROALOCAL:sluice</UserId><Account>000000000000</Account>\
         </GetCallerIdentityResult><ResponseMetadata><RequestId>00000000-0000-0000-0000-000000000000</RequestId>\
         </ResponseMetadata></GetCallerIdentityResponse>",
            access::SESSION_ARN
        ),
    );
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/xml"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn services_are_told_apart_by_target_header_and_path() {
        let told = |path, pairs: &[_]| target(&Method::POST, path, &headers(pairs));
        assert_eq!(told("/", &[("x-amz-target", "DynamoDB_20120810.PutItem")]), Target::DynamoDb("PutItem".to_owned()));
        assert_eq!(
            told("/", &[("x-amz-target", "DynamoDBStreams_20120810.GetRecords")]),
            Target::DynamoDb("GetRecords".to_owned())
        );
        assert_eq!(
            told("/", &[("x-amz-target", "Kinesis_20131202.PutRecords")]),
            Target::Kinesis("PutRecords".to_owned())
        );
        assert_eq!(told("/service/GraniteServiceVersion20100801/operation/GetMetricData", &[]), Target::CloudWatch);
        assert_eq!(told("/", &[("x-amz-target", "GraniteServiceVersion20100801.GetMetricData")]), Target::CloudWatch);
        assert_eq!(told("/", &[("content-type", "application/x-www-form-urlencoded; charset=utf-8")]), Target::Sts);
        assert_eq!(told("/bucket/key?uploads", &[]), Target::S3);
        assert_eq!(target(&Method::GET, "/", &HeaderMap::new()), Target::S3);
    }

    #[test]
    fn faults_spare_what_sets_up_tables_streams_and_buckets() {
        let hit = |target: Target, method, uri: &'static str| touches_data(&target, &method, &uri.parse().unwrap());
        assert!(hit(Target::DynamoDb("BatchWriteItem".into()), Method::POST, "/"));
        assert!(!hit(Target::DynamoDb("CreateTable".into()), Method::POST, "/"));
        assert!(hit(Target::Kinesis("PutRecords".into()), Method::POST, "/"));
        assert!(!hit(Target::Kinesis("CreateStream".into()), Method::POST, "/"));
        assert!(hit(Target::S3, Method::GET, "/bucket/key"));
        assert!(!hit(Target::S3, Method::PUT, "/bucket"));
        assert!(!hit(Target::S3, Method::PUT, "/bucket/"));
    }

    #[tokio::test]
    async fn a_cut_reply_announces_all_and_breaks_off_after_half() {
        let mut cut = cut_off(Response::new(full("0123456789")));
        assert_eq!(cut.headers()[header::CONTENT_LENGTH], "10");
        let first = cut.body_mut().frame().await.unwrap().unwrap();
        assert_eq!(first.into_data().unwrap(), "01234");
        assert!(cut.body_mut().frame().await.unwrap().is_err());
    }

    #[tokio::test]
    async fn an_empty_reply_is_cut_too() {
        let mut cut = cut_off(Response::new(full("")));
        assert_eq!(cut.headers()[header::CONTENT_LENGTH], "1");
        assert!(cut.body_mut().frame().await.unwrap().is_err());
    }
}
