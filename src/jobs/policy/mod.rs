//! What a job may have to do in AWS, and nothing else: its least-privilege policy, and whether the credentials at hand
//! grant it.
//!
//! ```text
//!   Spec ──of──▶ statements (actions, on what) ──json──▶ the policy that `sluice iam` prints
//!                          └──check: SimulatePrincipalPolicy──▶ what is missing, before anything is written
//! ```

mod check;
mod of;

pub use check::{Checked, Missing, check};
pub use of::{Extras, changes_of_capacity, console, playback, track};

use std::collections::BTreeMap;

use serde::Serialize;

use crate::cloud::{Cloud, CloudError};

/// What an action is allowed on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum On {
    /// A table.
    Table(String),
    /// Every table: a stream's put requests name theirs.
    AnyTable,
    /// The indexes of a table.
    Indexes(String),
    /// The stream of a table's changes.
    Changes(String),
    /// A Kinesis stream.
    Stream(String),
    /// The consumers of a Kinesis stream that are registered for enhanced fan-out.
    Consumers(String),
    /// A bucket itself.
    Bucket(String),
    /// The objects of a bucket below a prefix.
    Objects(String, String),
    /// An SNS topic, by its ARN.
    Topic(String),
    /// The Lambda event source mappings of the account.
    Mappings,
    /// The roles of the account.
    Roles,
    /// Everything: AWS knows no resources for these actions.
    Everything,
}

/// Some actions on some resources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// What it is for, in one word.
    pub sid: &'static str,
    /// IAM actions, such as `dynamodb:PutItem`.
    pub actions: Vec<&'static str>,
    /// What they are allowed on.
    pub on: Vec<On>,
}

/// The least that a job needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// In the order of the job's work.
    pub statements: Vec<Statement>,
}

/// Where ARNs point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// `aws`, `aws-cn`, `aws-us-gov`.
    pub partition: String,
    /// Such as `eu-west-1`.
    pub region: String,
    /// The account; `None` where it could not be asked: `*`.
    pub account: Option<String>,
}

impl Place {
    /// Where `cloud` acts, and the ARN of whoever acts there, as STS tells it.
    ///
    /// # Errors
    /// STS can't be asked: [`Place::unknown`] is what is left.
    pub async fn ask(cloud: &Cloud) -> Result<(Self, String), CloudError> {
        let identity = cloud.sts.get_caller_identity().send().await;
        let identity = identity.map_err(|e| CloudError::of("ask who the credentials are", &e))?;
        let arn = identity.arn.unwrap_or_default();
        let partition = arn.split(':').nth(1).filter(|p| !p.is_empty()).unwrap_or("aws").to_owned();
        let account = identity.account.filter(|account| !account.is_empty());
        Ok((Self { partition, region: cloud.region.clone(), account }, arn))
    }

    /// Where an account is not known.
    pub fn unknown(region: &str) -> Self {
        let partition = match region {
            region if region.starts_with("cn-") => "aws-cn",
            region if region.starts_with("us-gov-") => "aws-us-gov",
            _ => "aws",
        };
        Self { partition: partition.to_owned(), region: region.to_owned(), account: None }
    }

    /// The ARN of a resource; with `*` for what is not known.
    pub fn arn(&self, on: &On) -> String {
        let Self { partition, region, account } = self;
        let account = account.as_deref().unwrap_or("*");
        let dynamodb = |what: &str| format!("arn:{partition}:dynamodb:{region}:{account}:table/{what}");
        match on {
            // A table of another account is named by its ARN.
            On::Table(table) if table.starts_with("arn:") => table.clone(),
            On::Table(table) => dynamodb(table),
            On::AnyTable => dynamodb("*"),
            On::Indexes(table) => dynamodb(&format!("{table}/index/*")),
            On::Changes(table) => dynamodb(&format!("{table}/stream/*")),
            On::Stream(stream) => format!("arn:{partition}:kinesis:{region}:{account}:stream/{stream}"),
            On::Consumers(stream) => format!("arn:{partition}:kinesis:{region}:{account}:stream/{stream}/consumer/*"),
            On::Bucket(bucket) => format!("arn:{partition}:s3:::{bucket}"),
            On::Objects(bucket, prefix) => format!("arn:{partition}:s3:::{bucket}/{prefix}*"),
            On::Topic(arn) => arn.clone(),
            On::Mappings => format!("arn:{partition}:lambda:{region}:{account}:event-source-mapping:*"),
            On::Roles => format!("arn:{partition}:iam::{account}:role/*"),
            On::Everything => "*".to_owned(),
        }
    }
}

impl Policy {
    /// Adds a statement; actions on the same resources are put together.
    pub(super) fn allow(&mut self, sid: &'static str, on: &[On], actions: &[&'static str]) {
        if let Some(same) = self.statements.iter_mut().find(|statement| statement.on == on) {
            same.actions.extend(actions);
            same.actions.sort_unstable();
            same.actions.dedup();
            return;
        }
        let mut actions = actions.to_vec();
        actions.sort_unstable();
        self.statements.push(Statement { sid, actions, on: on.to_vec() });
    }

    /// Every action that it allows, sorted.
    pub fn actions(&self) -> Vec<&'static str> {
        let mut actions: Vec<&'static str> = self.statements.iter().flat_map(|s| s.actions.clone()).collect();
        actions.sort_unstable();
        actions.dedup();
        actions
    }

    /// The policy document.
    pub fn document(&self, place: &Place) -> Document {
        // Statement IDs are unique in a document (IAM JSON policy reference, Sid).
        let mut used: BTreeMap<&str, usize> = BTreeMap::new();
        let written = |statement: &Statement| {
            let times = used.entry(statement.sid).or_default();
            *times += 1;
            Written {
                sid: if *times == 1 { statement.sid.to_owned() } else { format!("{}{times}", statement.sid) },
                effect: "Allow",
                action: statement.actions.clone(),
                resource: statement.on.iter().map(|on| place.arn(on)).collect(),
            }
        };
        Document { version: "2012-10-17", statement: self.statements.iter().map(written).collect() }
    }
}

/// A policy as IAM takes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Document {
    version: &'static str,
    statement: Vec<Written>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Written {
    sid: String,
    effect: &'static str,
    action: Vec<&'static str>,
    resource: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arns_hold_what_is_known_and_a_star_for_what_is_not() {
        let known = Place { account: Some("111122223333".into()), ..Place::unknown("eu-west-1") };
        assert_eq!(known.arn(&On::Table("t".into())), "arn:aws:dynamodb:eu-west-1:111122223333:table/t");
        assert_eq!(known.arn(&On::Objects("b".into(), "p/".into())), "arn:aws:s3:::b/p/*");
        let unknown = Place::unknown("cn-north-1");
        assert_eq!(unknown.arn(&On::Stream("s".into())), "arn:aws-cn:kinesis:cn-north-1:*:stream/s");
        let far = "arn:aws:dynamodb:eu-west-1:444455556666:table/t";
        assert_eq!(known.arn(&On::Table(far.into())), far);
    }

    #[test]
    fn a_statement_has_a_name_of_its_own_and_each_action_once() {
        let mut policy = Policy::default();
        policy.allow("Read", &[On::Bucket("b".into())], &["s3:ListBucket"]);
        policy.allow("Read", &[On::Bucket("c".into())], &["s3:ListBucket"]);
        policy.allow("Again", &[On::Bucket("b".into())], &["s3:ListBucket"]);
        let json = serde_json::to_value(policy.document(&Place::unknown("eu-west-1"))).unwrap();
        let sids: Vec<&str> =
            json["Statement"].as_array().unwrap().iter().map(|s| s["Sid"].as_str().unwrap()).collect();
        assert_eq!(sids, ["Read", "Read2"]);
        assert_eq!(json["Statement"][0]["Action"], serde_json::json!(["s3:ListBucket"]));
    }
}
