//! The pre-flight: IAM is asked what the credentials at hand may do, before a job writes anything.

use std::time::Duration;

use aws_sdk_iam::types::PolicyEvaluationDecisionType as Decision;

use super::{On, Place, Policy};
use crate::cloud::{Class, Cloud, CloudError};

/// How long the whole question may take: a job does not wait longer for what it can do without.
const PATIENCE: Duration = Duration::from_secs(8);

/// An action that the credentials may not do.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Missing {
    /// Such as `dynamodb:BatchWriteItem`.
    pub action: String,
    /// The ARN.
    pub resource: String,
}

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} on {}", self.action, self.resource)
    }
}

/// What came of a pre-flight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Checked {
    /// Everything is granted.
    Granted,
    /// These are not.
    Missing(Vec<Missing>),
    /// IAM could not be asked; why.
    Unknown(String),
}

/// Asks IAM whether whoever `cloud` acts as may do what `policy` lists. Never fails: what can't be known is
/// [`Checked::Unknown`].
pub async fn check(cloud: &Cloud, policy: &Policy) -> Checked {
    match tokio::time::timeout(PATIENCE, ask(cloud, policy)).await {
        Ok(Ok(missing)) if missing.is_empty() => Checked::Granted,
        Ok(Ok(missing)) => Checked::Missing(missing),
        Ok(Err(why)) => Checked::Unknown(why),
        Err(_) => Checked::Unknown(format!("no answer within {} seconds", PATIENCE.as_secs())),
    }
}

async fn ask(cloud: &Cloud, policy: &Policy) -> Result<Vec<Missing>, String> {
    let (place, caller) = Place::ask(cloud).await.map_err(|error| error.to_string())?;
    let Some(principal) = principal(cloud, &caller).await? else { return Ok(Vec::new()) };
    let mut missing = Vec::new();
    for statement in &policy.statements {
        let resources: Vec<String> = statement.on.iter().filter_map(|on| example(&place, on)).collect();
        if resources.is_empty() {
            continue;
        }
        let mut marker = None;
        loop {
            cloud.budget().turn().await;
            let page = cloud
                .iam
                .simulate_principal_policy()
                .policy_source_arn(&principal)
                .set_action_names(Some(statement.actions.iter().map(|action| (*action).to_owned()).collect()))
                .set_resource_arns(Some(resources.clone()))
                .set_marker(marker)
                .send()
                .await
                .map_err(|e| said(&CloudError::of("ask IAM what the credentials may do", &e)))?;
            for result in page.evaluation_results() {
                // A condition whose value the simulation does not know decides nothing.
                if !is_denied(result.eval_decision()) || !result.missing_context_values().is_empty() {
                    continue;
                }
                let action = result.eval_action_name().to_owned();
                let denied = result.resource_specific_results().iter();
                let denied: Vec<&str> = denied
                    .filter(|r| is_denied(r.eval_resource_decision()))
                    .map(aws_sdk_iam::types::ResourceSpecificResult::eval_resource_name)
                    .collect();
                let whole = result.eval_resource_name().unwrap_or("*");
                let denied = if denied.is_empty() { vec![whole] } else { denied };
                missing.extend(
                    denied
                        .into_iter()
                        .map(|resource| Missing { action: action.clone(), resource: resource.to_owned() }),
                );
            }
            marker = page.marker.filter(|_| page.is_truncated);
            if marker.is_none() {
                break;
            }
        }
    }
    missing.sort();
    missing.dedup();
    Ok(missing)
}

/// One resource of `on` that is sure to be needed; `None` where only some of many are, which a narrower policy may well
/// name, and of IAM itself, which would only say that it could not be asked.
fn example(place: &Place, on: &On) -> Option<String> {
    match on {
        On::AnyTable | On::Indexes(_) | On::Changes(_) | On::Consumers(_) | On::Mappings | On::Roles => None,
        On::Stream(stream) if stream == "*" => None,
        On::Objects(_, prefix) if !prefix.is_empty() => Some(place.arn(on).trim_end_matches('*').to_owned()),
        on => Some(place.arn(on)),
    }
}

fn is_denied(decision: &Decision) -> bool {
    !matches!(decision, Decision::Allowed)
}

/// Why not, in as few words as will do.
fn said(error: &CloudError) -> String {
    match error.class {
        Class::Auth => "iam:SimulatePrincipalPolicy is not granted".to_owned(),
        _ => error.what.clone(),
    }
}

/// What IAM knows the caller by; `None` for the account itself, which may do everything.
async fn principal(cloud: &Cloud, caller: &str) -> Result<Option<String>, String> {
    let parts: Vec<&str> = caller.splitn(6, ':').collect();
    let [_, partition, service, _, account, resource] = parts.as_slice() else {
        return Err(format!("{caller:?} is no principal"));
    };
    match (*service, *resource) {
        (_, "root") => Ok(None),
        ("sts", session) if session.starts_with("assumed-role/") => {
            let role = session.split('/').nth(1).unwrap_or_default();
            // A session does not name its role's path, which single sign-on uses: IAM is asked for it.
            let known = cloud.iam.get_role().role_name(role).send().await;
            let arn = known.ok().and_then(|reply| reply.role).map(|role| role.arn);
            Ok(Some(arn.unwrap_or_else(|| format!("arn:{partition}:iam::{account}:role/{role}"))))
        }
        ("iam", _) => Ok(Some(caller.to_owned())),
        _ => Err(format!("the permissions of {caller} can't be simulated")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_narrower_policy_may_name_is_not_asked_for() {
        let place = Place::unknown("eu-west-1");
        assert_eq!(example(&place, &On::AnyTable), None);
        assert_eq!(example(&place, &On::Roles), None);
        assert_eq!(
            example(&place, &On::Objects("b".into(), "h/x.csv".into())),
            Some("arn:aws:s3:::b/h/x.csv".to_owned())
        );
        assert_eq!(example(&place, &On::Everything), Some("*".to_owned()));
    }
}
