//! IAM, as far as a pre-flight asks it: `SimulatePrincipalPolicy` allows everything that is not denied on demand, and
//! `GetRole` knows the one role that there is.

use std::fmt::Write as _;

use http::{HeaderValue, Response, StatusCode, header};

use super::access::{Denied, ROLE_ARN};
use super::s3::percent_decoded;
use super::{Body, full};

const REQUEST_ID: &str = "00000000-0000-0000-0000-000000000000";

/// True for a request of the query protocol that is IAM's.
pub fn is_meant(body: &[u8]) -> bool {
    body.split(|byte| *byte == b'&').any(|pair| matches!(pair, b"Action=SimulatePrincipalPolicy" | b"Action=GetRole"))
}

/// Answers it.
pub fn answer(body: &[u8], denied: &Denied) -> Response<Body> {
    let form: Vec<(String, String)> = body
        .split(|byte| *byte == b'&')
        .filter_map(|pair| {
            let pair = std::str::from_utf8(pair).ok()?.replace('+', " ");
            let (name, value) = pair.split_once('=')?;
            Some((percent_decoded(name)?, percent_decoded(value)?))
        })
        .collect();
    let one = |name: &str| form.iter().find(|(n, _)| n == name).map_or("", |(_, value)| value.as_str());
    if one("Action") == "GetRole" {
        return match one("RoleName") {
            "local" => xml(
                StatusCode::OK,
                &format!(
                    "<GetRoleResponse xmlns=\"https://iam.amazonaws.com/doc/2010-05-08/\"><GetRoleResult><Role>\
                     <Path>/sluice/</Path><RoleName>local</RoleName><RoleId>AROALOCAL</RoleId><Arn>{ROLE_ARN}</Arn>\
                     <CreateDate>2026-01-01T00:00:00Z</CreateDate></Role></GetRoleResult>{}</GetRoleResponse>",
                    metadata()
                ),
            ),
            other => missing(other),
        };
    }
    if one("PolicySourceArn") != ROLE_ARN {
        return missing(one("PolicySourceArn"));
    }
    let all = |prefix: &'static str| form.iter().filter(move |(name, _)| name.starts_with(prefix)).map(|(_, v)| v);
    let mut results = String::new();
    for action in all("ActionNames.member.") {
        let decision = if denied.denies(action) { "implicitDeny" } else { "allowed" };
        for resource in all("ResourceArns.member.") {
            // Writing into a string can't fail.
            let _ = write!(
                results,
                "<member><EvalActionName>{action}</EvalActionName><EvalResourceName>{resource}</EvalResourceName>\
                 <EvalDecision>{decision}</EvalDecision><MatchedStatements/><MissingContextValues/></member>"
            );
        }
    }
    xml(
        StatusCode::OK,
        &format!(
            "<SimulatePrincipalPolicyResponse xmlns=\"https://iam.amazonaws.com/doc/2010-05-08/\">\
             <SimulatePrincipalPolicyResult><IsTruncated>false</IsTruncated><EvaluationResults>{results}\
             </EvaluationResults></SimulatePrincipalPolicyResult>{}</SimulatePrincipalPolicyResponse>",
            metadata()
        ),
    )
}

fn metadata() -> String {
    format!("<ResponseMetadata><RequestId>{REQUEST_ID}</RequestId></ResponseMetadata>")
}

fn missing(what: &str) -> Response<Body> {
    let what: String = what.chars().filter(|c| !matches!(c, '<' | '>' | '&')).collect();
    xml(
        StatusCode::NOT_FOUND,
        &format!(
            "<ErrorResponse xmlns=\"https://iam.amazonaws.com/doc/2010-05-08/\"><Error><Type>Sender</Type>\
             <Code>NoSuchEntity</Code><Message>{what} cannot be found.</Message></Error>\
             <RequestId>{REQUEST_ID}</RequestId></ErrorResponse>"
        ),
    )
}

fn xml(status: StatusCode, text: &str) -> Response<Body> {
    let mut response = Response::new(full(text.to_owned()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/xml"));
    response
}
