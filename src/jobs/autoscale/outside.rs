//! What lies outside of AWS's capacity: the webhook that may forbid a change, and whoever is told of decisions.

use std::process::Stdio;
use std::time::Duration;

use aws_smithy_runtime_api::client::http::{HttpConnector as _, HttpConnectorSettings};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use serde::Serialize;
use tokio::io::AsyncWriteExt as _;

use crate::capacity::config::Config;
use crate::cloud::{Class, CloudError};
use crate::jobs::JobId;
use crate::jobs::journal::{Decided, Decision, to_json};
use crate::jobs::worker::Session;

/// The longest subject that SNS takes, characters.
const SUBJECT: usize = 100;

/// What is sent to a command and to SNS.
#[derive(Debug, Serialize)]
pub(super) struct Told<'a> {
    job: &'a JobId,
    region: &'a str,
    dry_run: bool,
    decisions: &'a [Decision],
}

impl Decision {
    /// True for what somebody else should hear of.
    pub(super) fn is_told(&self) -> bool {
        matches!(self.decided, Decided::Raised | Decided::Lowered | Decided::Refused | Decided::Failed)
    }
}

/// The webhook and the notifications of one autoscaler.
pub(super) struct Outside<'a> {
    session: &'a Session<'a>,
    config: &'a Config,
}

impl<'a> Outside<'a> {
    pub(super) fn new(session: &'a Session<'a>, config: &'a Config) -> Self {
        Self { session, config }
    }

    /// Asks the webhook; `None` is a yes, else why not.
    pub(super) async fn gate(&self) -> Option<String> {
        let url = self.config.webhook.as_deref()?;
        match tokio::time::timeout(self.config.patience, get(url)).await {
            Ok(Ok(status)) if (200..300).contains(&status) => None,
            Ok(Ok(status)) => Some(format!("the webhook answered {status}")),
            Ok(Err(why)) => Some(format!("the webhook could not be asked: {why}")),
            Err(_) => Some(format!("the webhook did not answer within {}", in_words(self.config.patience))),
        }
    }

    /// Tells of decisions. Who can't be told is noted; the autoscaler goes on.
    pub(super) async fn tell(&self, decisions: &[Decision]) {
        if decisions.is_empty() {
            return;
        }
        let (job, region) = (&self.session.job.id, self.session.cloud.region.as_str());
        let body = to_json(&Told { job, region, dry_run: self.config.dry_run, decisions });
        if !self.config.command.is_empty()
            && let Err(why) = self.run(&body).await
        {
            self.session.note("warn", &format!("{} could not be told: {why}", self.config.command[0]));
        }
        if let Some(arn) = &self.config.sns {
            let subject: String = format!("sluice: {} in {region}", counted(decisions)).chars().take(SUBJECT).collect();
            let sent = self.session.cloud.sns.publish().topic_arn(arn).subject(subject).message(&body).send().await;
            match sent.map_err(|error| CloudError::of(&format!("publish to {arn}"), &error)) {
                Err(error) if error.class != Class::DryRun => self.session.note("warn", &error.to_string()),
                _ => {}
            }
        }
    }

    /// Runs the command with `body` on its stdin, for as long as it may take.
    async fn run(&self, body: &str) -> Result<(), String> {
        let [program, arguments @ ..] = self.config.command.as_slice() else { return Ok(()) };
        let mut child = tokio::process::Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| error.to_string())?;
        let talk = async {
            if let Some(mut stdin) = child.stdin.take() {
                // One that reads nothing has its reasons; how it ends is what counts.
                let _ = stdin.write_all(body.as_bytes()).await;
            }
            child.wait().await
        };
        match tokio::time::timeout(self.config.patience, talk).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(format!("it ended with {status}")),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("it was ended after {}", in_words(self.config.patience))),
        }
    }
}

fn in_words(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

/// `2 raised, 1 refused`.
fn counted(decisions: &[Decision]) -> String {
    let kinds = [Decided::Raised, Decided::Lowered, Decided::Refused, Decided::Failed];
    let counts = kinds.map(|kind| (kind, decisions.iter().filter(|d| d.decided == kind).count()));
    let words: Vec<String> =
        counts.iter().filter(|(_, n)| *n > 0).map(|(kind, n)| format!("{n} {}", kind.as_str())).collect();
    words.join(", ")
}

/// The status that `url` answers to a GET. The same client as the SDKs', so that http and https both work, with the
/// system's certificates.
async fn get(url: &str) -> Result<u16, String> {
    let connector = aws_smithy_http_client::default_connector(&HttpConnectorSettings::default(), None)
        .ok_or("this build has no TLS")?;
    let request = HttpRequest::get(url).map_err(|error| error.to_string())?;
    match connector.call(request).await {
        Ok(response) => Ok(response.status().as_u16()),
        Err(error) => {
            // Its own words are general: what happened is at the bottom.
            let mut cause: &dyn std::error::Error = &error;
            while let Some(next) = cause.source() {
                cause = next;
            }
            Err(cause.to_string())
        }
    }
}
