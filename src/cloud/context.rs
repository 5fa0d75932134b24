//! Contexts (profile, region, endpoint) and the SDK clients that act in one.

use std::sync::Arc;
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use serde::{Deserialize, Serialize};

use super::error::{Class, CloudError};
use super::guard::Guard;

/// Where a command acts. What is `None` comes from the AWS environment and files, as the AWS CLI reads them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Context {
    /// Profile of the AWS configuration files.
    pub profile: Option<String>,
    /// Region, such as `eu-west-1`.
    pub region: Option<String>,
    /// Endpoint for every service, such as `http://127.0.0.1:4566`.
    pub endpoint_url: Option<String>,
}

impl Context {
    /// The context with the profile that the environment names, where none was asked for: what is written down of it must
    /// mean the same to whoever reads it. Keys of the environment win over its profile, as for the AWS CLI, and an endpoint
    /// on this machine asks for no credentials.
    #[must_use]
    pub fn settled(self, environment: impl Fn(&str) -> Option<String>) -> Self {
        let has = |name: &str| environment(name).filter(|value| !value.is_empty());
        if self.profile.is_some() || self.is_loopback() || has("AWS_ACCESS_KEY_ID").is_some() {
            return self;
        }
        Self { profile: has("AWS_PROFILE"), ..self }
    }

    /// True when both surely mean the same profile, region and endpoint, so that what was done in one may be undone in the
    /// other. No profile is the default one.
    pub fn is_surely(&self, other: &Self) -> bool {
        self.endpoint_url == other.endpoint_url && self.region == other.region && self.has_profile_of(other)
    }

    /// True when both act as the same profile; none is the default one.
    pub fn has_profile_of(&self, other: &Self) -> bool {
        let name = |context: &Self| context.profile.clone().unwrap_or_else(|| "default".to_owned());
        name(self) == name(other)
    }

    /// True when both may mean the same account and region: no more is said by one that leaves something open. For what must
    /// not run twice; for what is changed on the strength of it see [`Self::is_surely`].
    pub fn is_same_place(&self, other: &Self) -> bool {
        let same = |a: Option<&String>, b: Option<&String>| a.is_none() || b.is_none() || a == b;
        self.endpoint_url == other.endpoint_url
            && same(self.region.as_ref(), other.region.as_ref())
            && same(self.profile.as_ref(), other.profile.as_ref())
    }

    /// True when the endpoint is on this machine: then made-up credentials do, as the embedded AWS checks none.
    pub fn is_loopback(&self) -> bool {
        self.endpoint_url.as_deref().is_some_and(|url| {
            let host = url.split("://").nth(1).unwrap_or(url);
            host.starts_with("127.") || host.starts_with("localhost") || host.starts_with("[::1]")
        })
    }
}

/// Clients that act in one [`Context`], each behind the same [`Guard`].
#[derive(Clone, Debug)]
pub struct Cloud {
    /// What was asked for.
    pub context: Context,
    /// The region that came of it.
    pub region: String,
    /// DynamoDB for inventory and control: the SDK retries.
    pub dynamodb: aws_sdk_dynamodb::Client,
    /// Kinesis for inventory and control: the SDK retries.
    pub kinesis: aws_sdk_kinesis::Client,
    /// The streams of tables' changes, to list their shards: the SDK retries.
    pub table_streams: aws_sdk_dynamodbstreams::Client,
    /// S3; the SDK retries.
    pub s3: aws_sdk_s3::Client,
    /// CloudWatch; the SDK retries.
    pub cloudwatch: aws_sdk_cloudwatch::Client,
    /// SNS, to tell of what the autoscaler did; the SDK retries.
    pub sns: aws_sdk_sns::Client,
    /// STS, for the account in the header.
    pub sts: aws_sdk_sts::Client,
    /// Lambda, for the event source mappings of a stream; the SDK retries.
    pub lambda: aws_sdk_lambda::Client,
    /// IAM, asked before a job begins what its credentials may do; the SDK retries.
    pub iam: aws_sdk_iam::Client,
    /// Clients for records in bulk: no SDK retries, since `flow` has the one backoff.
    pub bulk: Bulk,
    /// What every change passes.
    pub guard: Arc<Guard>,
    /// Where the credentials come from, for their expiry in the header.
    pub credentials: Option<aws_credential_types::provider::SharedCredentialsProvider>,
}

/// Clients without SDK retries.
#[derive(Clone, Debug)]
pub struct Bulk {
    /// `BatchWriteItem`, `PutItem`, `BatchGetItem`.
    pub dynamodb: aws_sdk_dynamodb::Client,
    /// `PutRecords`, `GetRecords`.
    pub kinesis: aws_sdk_kinesis::Client,
    /// `GetRecords` of the streams of tables' changes.
    pub table_streams: aws_sdk_dynamodbstreams::Client,
}

/// How long a connection may take: three tries stay under ten seconds.
const CONNECT: Duration = Duration::from_millis(2500);
/// How long one try of a request may take.
const ATTEMPT: Duration = Duration::from_secs(30);

impl Cloud {
    /// How much is asked of AWS, and the rate of questions.
    pub fn budget(&self) -> &Arc<super::Budget> {
        self.guard.budget()
    }

    /// The context with its region settled: what is written down where the region must not depend on who reads it.
    pub fn place(&self) -> Context {
        Context { region: Some(self.region.clone()), ..self.context.clone() }
    }

    /// Clients for `context`. Sends nothing: credentials are looked up with the first request.
    ///
    /// # Errors
    /// [`Class::Invalid`] when no region is set anywhere.
    pub async fn connect(context: &Context, guard: Arc<Guard>) -> Result<Self, CloudError> {
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .retry_config(RetryConfig::standard().with_max_attempts(3).with_initial_backoff(Duration::from_millis(200)))
            .timeout_config(
                TimeoutConfig::builder().connect_timeout(CONNECT).operation_attempt_timeout(ATTEMPT).build(),
            );
        if let Some(profile) = &context.profile {
            loader = loader.profile_name(profile);
        }
        if let Some(region) = &context.region {
            loader = loader.region(Region::new(region.clone()));
        } else if context.is_loopback() && std::env::var_os("AWS_REGION").is_none() {
            loader = loader.region(Region::new("us-east-1"));
        }
        if let Some(url) = &context.endpoint_url {
            loader = loader.endpoint_url(url);
        }
        if context.is_loopback() && context.profile.is_none() && std::env::var_os("AWS_ACCESS_KEY_ID").is_none() {
            loader = loader.credentials_provider(Credentials::new("local", "local", None, None, "loopback endpoint"));
        }
        let config = loader.load().await;
        let Some(region) = config.region().map(ToString::to_string) else {
            return Err(CloudError::new(
                Class::Invalid,
                "no AWS region is set",
                "pass --region, or set AWS_REGION or a region in the profile",
            ));
        };
        Ok(Self::from_config(context.clone(), region, &config, guard))
    }

    fn from_config(context: Context, region: String, config: &SdkConfig, guard: Arc<Guard>) -> Self {
        let dynamodb = |retry: RetryConfig| {
            aws_sdk_dynamodb::Client::from_conf(
                aws_sdk_dynamodb::config::Builder::from(config)
                    .retry_config(retry)
                    .interceptor(guard.interceptor())
                    .build(),
            )
        };
        let kinesis = |retry: RetryConfig| {
            aws_sdk_kinesis::Client::from_conf(
                aws_sdk_kinesis::config::Builder::from(config)
                    .retry_config(retry)
                    .interceptor(guard.interceptor())
                    .build(),
            )
        };
        let table_streams = |retry: RetryConfig| {
            aws_sdk_dynamodbstreams::Client::from_conf(
                aws_sdk_dynamodbstreams::config::Builder::from(config)
                    .retry_config(retry)
                    .interceptor(guard.interceptor())
                    .build(),
            )
        };
        let retried = config.retry_config().cloned().unwrap_or_else(RetryConfig::standard);
        Self {
            region,
            dynamodb: dynamodb(retried.clone()),
            kinesis: kinesis(retried.clone()),
            table_streams: table_streams(retried),
            s3: aws_sdk_s3::Client::from_conf(
                aws_sdk_s3::config::Builder::from(config)
                    .force_path_style(context.endpoint_url.is_some())
                    .interceptor(guard.interceptor())
                    .build(),
            ),
            cloudwatch: aws_sdk_cloudwatch::Client::from_conf(
                aws_sdk_cloudwatch::config::Builder::from(config).interceptor(guard.interceptor()).build(),
            ),
            sns: aws_sdk_sns::Client::from_conf(
                aws_sdk_sns::config::Builder::from(config).interceptor(guard.interceptor()).build(),
            ),
            sts: aws_sdk_sts::Client::new(config),
            lambda: aws_sdk_lambda::Client::from_conf(
                aws_sdk_lambda::config::Builder::from(config).interceptor(guard.interceptor()).build(),
            ),
            iam: aws_sdk_iam::Client::from_conf(
                aws_sdk_iam::config::Builder::from(config).interceptor(guard.interceptor()).build(),
            ),
            bulk: Bulk {
                dynamodb: dynamodb(RetryConfig::disabled()),
                kinesis: kinesis(RetryConfig::disabled()),
                table_streams: table_streams(RetryConfig::disabled()),
            },
            credentials: config.credentials_provider(),
            context,
            guard,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(profile: Option<&str>, region: &str) -> Context {
        Context { profile: profile.map(str::to_owned), region: Some(region.to_owned()), endpoint_url: None }
    }

    #[test]
    fn the_environments_profile_is_written_down_unless_its_keys_win_or_nobody_asks_for_any() {
        let settled = |context: Context, environment: &[(&str, &str)]| {
            let of = |name: &str| environment.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
            context.settled(of).profile
        };
        let prod = ("AWS_PROFILE", "prod");
        assert_eq!(settled(context(None, "r"), &[prod]).as_deref(), Some("prod"));
        assert_eq!(settled(context(Some("dev"), "r"), &[prod]).as_deref(), Some("dev"));
        assert_eq!(settled(context(None, "r"), &[("AWS_PROFILE", "")]), None);
        assert_eq!(settled(context(None, "r"), &[prod, ("AWS_ACCESS_KEY_ID", "AKIA")]), None);
        let local = Context { endpoint_url: Some("http://127.0.0.1:4566".into()), ..Context::default() };
        assert_eq!(settled(local, &[prod]), None);
    }

    #[test]
    fn no_profile_is_the_default_one_and_no_other() {
        let none = context(None, "eu-west-1");
        assert!(none.is_surely(&context(Some("default"), "eu-west-1")));
        assert!(!none.is_surely(&context(Some("prod"), "eu-west-1")));
        assert!(!none.is_surely(&context(None, "us-east-1")));
        assert!(!none.is_surely(&Context::default()));
        // What must not run twice is found also where one of them leaves it open.
        assert!(none.is_same_place(&context(Some("prod"), "eu-west-1")) && none.is_same_place(&Context::default()));
    }
}
