//! Who we are to Google, and where its services answer.

use google_cloud_auth::credentials::{
    Builder, CacheableResource, Credentials, external_account, impersonated, service_account, user_account,
};
use http::{Extensions, HeaderMap};
use serde_json::Value as Json;

use crate::cloud::{Class, CloudError};

/// All that a replica does is of this scope ("OAuth 2.0 scopes for Google APIs").
const SCOPE: &str = "https://www.googleapis.com/auth/bigquery";

/// Where BigQuery answers, and as whom it is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// The REST API, such as `http://127.0.0.1:9050`; `None` is Google's.
    pub rest: Option<String>,
    /// The Storage Write API (gRPC); `None` is Google's.
    pub grpc: Option<String>,
    /// A file with credentials; `None` is what the environment has (Application Default Credentials).
    pub credentials: Option<String>,
}

/// Google's own.
const REST: &str = "https://bigquery.googleapis.com";
const GRPC: &str = "https://bigquerystorage.googleapis.com";

impl Access {
    /// The REST API's endpoint, without a slash at its end.
    pub(super) fn rest(&self) -> String {
        whole(self.rest.as_deref().unwrap_or(REST))
    }

    /// The Storage Write API's endpoint.
    pub(super) fn grpc(&self) -> String {
        whole(self.grpc.as_deref().unwrap_or(GRPC))
    }
}

/// `host:port`, as Google's own tools write an emulator's address, is plain HTTP.
fn whole(endpoint: &str) -> String {
    let endpoint = endpoint.trim_end_matches('/');
    if endpoint.contains("://") { endpoint.to_owned() } else { format!("http://{endpoint}") }
}

/// Makes the headers that carry our credentials. A plain HTTP endpoint is an emulator's and is sent none.
#[derive(Clone, Debug)]
pub(super) struct Identity(Option<Credentials>);

impl Identity {
    /// Of `access`; nothing is asked of Google yet.
    pub fn of(access: &Access) -> Result<Self, CloudError> {
        if [access.rest(), access.grpc()].iter().all(|endpoint| endpoint.starts_with("http://")) {
            return Ok(Self(None));
        }
        let built = match &access.credentials {
            None => Builder::default()
                .with_scopes([SCOPE])
                .build()
                .map_err(|error| unusable("found no usable Google credentials", &innermost(&error), ""))?,
            Some(path) => of_file(path)?,
        };
        Ok(Self(Some(built)))
    }

    /// The headers of a request to `endpoint`.
    pub async fn headers(&self, endpoint: &str) -> Result<HeaderMap, CloudError> {
        let Some(credentials) = self.0.as_ref().filter(|_| !endpoint.starts_with("http://")) else {
            return Ok(HeaderMap::new());
        };
        match credentials.headers(Extensions::new()).await {
            Ok(CacheableResource::New { data, .. }) => Ok(data),
            Ok(CacheableResource::NotModified) => Ok(HeaderMap::new()),
            Err(error) if error.is_transient() => Err(CloudError::new(
                Class::Transient,
                format!("could not get a token of Google: {}", innermost(&error)),
                "",
            )),
            Err(error) => Err(unusable("Google refused the credentials", &innermost(&error), "")),
        }
    }
}

fn of_file(path: &str) -> Result<Credentials, CloudError> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| unusable("could not read the Google credentials", &error.to_string(), path))?;
    // What is wrong with the file is told without its content, which is secret.
    let json: Json = serde_json::from_str(&text).map_err(|error| {
        unusable("could not read the Google credentials", &format!("no JSON at line {}", error.line()), path)
    })?;
    let kind = json["type"].as_str().unwrap_or_default().to_owned();
    let built = match kind.as_str() {
        "service_account" => service_account::Builder::new(json)
            .with_access_specifier(service_account::AccessSpecifier::from_scopes([SCOPE]))
            .build(),
        "external_account" => external_account::Builder::new(json).with_scopes([SCOPE]).build(),
        "authorized_user" => user_account::Builder::new(json).with_scopes([SCOPE]).build(),
        "impersonated_service_account" => impersonated::Builder::new(json).with_scopes([SCOPE]).build(),
        other => {
            let what = format!("its type is {other:?}, no kind of credentials that is known");
            return Err(unusable("could not use the Google credentials", &what, path));
        }
    };
    built.map_err(|error| unusable("could not use the Google credentials", &innermost(&error), path))
}

fn unusable(what: &str, why: &str, path: &str) -> CloudError {
    let of = if path.is_empty() { String::new() } else { format!(" of {path}") };
    CloudError::new(
        Class::Auth,
        format!("{what}{of}: {why}"),
        "name a file (--google-credentials, or GOOGLE_APPLICATION_CREDENTIALS): a service account's key, or the configuration \
         of workload identity federation, which takes this machine's AWS credentials; or log in (gcloud auth \
         application-default login)",
    )
}

/// What it comes down to: the layers above only say that it did.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut last = error;
    while let Some(cause) = last.source() {
        last = cause;
    }
    last.to_string()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn an_emulator_is_named_as_google_names_it_and_needs_no_credentials() {
        let access = Access {
            rest: Some("127.0.0.1:9050".into()),
            grpc: Some("http://localhost:9060/".into()),
            credentials: Some("/nowhere".into()),
        };
        assert_eq!((access.rest(), access.grpc()), ("http://127.0.0.1:9050".into(), "http://localhost:9060".into()));
        assert!(Identity::of(&access).unwrap().0.is_none());
        assert_eq!(Access::default().rest(), REST);
    }

    #[test]
    fn a_file_of_no_use_is_told_without_what_is_in_it() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(br#"{"type":"s3cret-kind","private_key":"s3cret"#).unwrap();
        let of =
            |path: &str| Identity::of(&Access { credentials: Some(path.into()), ..Access::default() }).unwrap_err();
        let error = of(file.path().to_str().unwrap());
        assert_eq!(error.class, Class::Auth);
        assert!(!error.to_string().contains("s3cret"), "{error}");
        assert!(of("/nowhere.json").to_string().contains("/nowhere.json"));
    }
}
