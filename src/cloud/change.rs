//! A change as the audit keeps it and as a person can repeat it: what it is about, read off the request, and the command
//! that equals it.

use std::future::Future;

use aws_smithy_runtime_api::client::orchestrator::HttpRequest as Request;
use serde::Deserialize;

use super::Context;

/// One change, as the audit keeps it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// `dynamodb`, `kinesis`, `s3`, `cloudwatch`, `bigquery`.
    pub service: String,
    /// The operation, such as `UpdateTable`.
    pub operation: String,
    /// The table, stream or `bucket/key`.
    pub target: String,
    /// The request's body, empty for S3 data. Never holds credentials: those are in headers.
    pub request: String,
    /// The region that it was signed for; `None` where the service has none.
    pub region: Option<String>,
    /// What was there before, as the fields of the request that would set it again; where the sender knew.
    pub before: Option<String>,
    /// The line of the audit whose opposite it is.
    pub undoes: Option<i64>,
}

tokio::task_local! {
    static BEFORE: String;
    static UNDOES: i64;
}

/// Sends a change with what was there before, so that the audit knows what its opposite is.
pub async fn knowing<T>(before: serde_json::Value, send: impl Future<Output = T>) -> T {
    BEFORE.scope(before.to_string(), send).await
}

/// Does what undoes line `number` of the audit.
pub async fn undoing<T>(number: i64, work: impl Future<Output = T>) -> T {
    UNDOES.scope(number, work).await
}

impl Change {
    /// What `request` changes; with its body where it is meant `whole`, else only what it is about.
    pub(super) fn of(service: &str, operation: &str, region: Option<String>, request: &Request, whole: bool) -> Self {
        let body = request.body().bytes().unwrap_or_default();
        let s3 = service == "s3";
        Self {
            service: service.to_owned(),
            operation: operation.to_owned(),
            target: match service {
                "s3" => bucket_and_key(request.uri()),
                // A REST service: what is changed is named by the path, not by the body.
                "lambda" => split(request.uri()).1.rsplit('/').next().unwrap_or_default().to_owned(),
                "sns" => topic_of(body),
                _ if is_bulk(operation) => named_first(body),
                _ => target_of(body),
            },
            request: if whole && !s3 { String::from_utf8_lossy(body).into_owned() } else { String::new() },
            region,
            before: BEFORE.try_with(Clone::clone).ok().filter(|_| whole),
            undoes: UNDOES.try_with(|number| *number).ok(),
        }
    }

    /// Something that a job was told by a person: no request to AWS, but a change all the same. `operation` is the command's
    /// name, `said` what follows the job's.
    pub fn of_job(operation: &str, job: &str, said: &str) -> Self {
        Self {
            service: "sluice".to_owned(),
            operation: operation.to_owned(),
            target: job.to_owned(),
            request: said.to_owned(),
            ..Self::default()
        }
    }

    /// True for a request that has an answer of its own, which the audit keeps: not for records in bulk, which are told
    /// once, nor for what a job was told.
    pub fn is_answered(&self) -> bool {
        self.service != "sluice" && !is_bulk(&self.operation)
    }

    /// The command that equals this request, or a comment that says why there is none.
    pub fn as_aws_command(&self) -> String {
        if let Some(why) = self.no_command() {
            let said = if self.target.is_empty() { &self.request } else { &self.target };
            return format!("# {} {} {said}: {why}", self.service, self.operation);
        }
        let request = quoted(&self.request);
        match self.service.as_str() {
            "s3" => {
                let (bucket, key) = self.target.split_once('/').unwrap_or((&self.target, ""));
                format!("aws s3api {} --bucket {} --key {}", kebab(&self.operation), quoted(bucket), quoted(key))
            }
            "lambda" => {
                let uuid = format!("--uuid {}", self.target);
                format!("aws lambda {} {uuid} --cli-input-json {request}", kebab(&self.operation))
            }
            "sluice" => format!("sluice {} {} {}", self.operation, self.target, self.request).trim_end().to_owned(),
            "bigquery" => as_curl_command(&self.operation, &self.target, &request),
            service => format!("aws {service} {} --cli-input-json {request}", kebab(&self.operation)),
        }
    }

    /// The same, with the options that make it act in `context`.
    pub fn as_aws_command_in(&self, context: &Context) -> String {
        let mut command = self.as_aws_command();
        if !command.starts_with("aws ") {
            return command;
        }
        // What the environment names as a region here it may not name where the command is run.
        let region = self.region.as_ref().or(context.region.as_ref());
        let options = [
            ("--profile", context.profile.as_ref()),
            ("--region", region),
            ("--endpoint-url", context.endpoint_url.as_ref()),
        ];
        for (option, value) in options {
            if let Some(value) = value {
                command = format!("{command} {option} {}", quoted(value));
            }
        }
        command
    }

    /// Why no command equals this request.
    fn no_command(&self) -> Option<&'static str> {
        match (self.service.as_str(), self.operation.as_str()) {
            // A backup's spec is more than options of one command say.
            ("sluice", "start") => Some("begun in the console, no one command; sluice jobs shows what it does"),
            // What needs the bucket and the key alone; the others need a file, its parts, or the number of an upload.
            ("s3", "DeleteObject" | "CreateMultipartUpload") => None,
            ("s3", "PutObject" | "UploadPart") => Some("no command without the bytes, which are not kept"),
            ("s3", _) => Some("no command from its bucket and key alone"),
            ("sluice", _) => None,
            _ if self.request.is_empty() => Some("in bulk, not kept"),
            // SNS takes forms, CloudWatch a format of bytes.
            ("bigquery", _) => None,
            _ if !self.request.starts_with('{') => Some("its request is no JSON"),
            _ => None,
        }
    }
}

/// A word of a shell's command line.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// The call of BigQuery's REST API that equals a request; rows that go over gRPC have none.
fn as_curl_command(operation: &str, target: &str, quoted: &str) -> String {
    let (verb, path) = match operation {
        "AppendRows" => return format!("(gRPC) BigQueryWrite/AppendRows {target} {quoted}"),
        "PatchTable" => ("PATCH", target.to_owned()),
        "InsertAll" => ("POST", format!("{target}/insertAll")),
        _ => ("POST", target.to_owned()),
    };
    format!(
        "curl -X {verb} -H \"Authorization: Bearer $(gcloud auth print-access-token)\" -H 'Content-Type: application/json' \
         'https://bigquery.googleapis.com/bigquery/v2/{path}' -d {quoted}"
    )
}

fn kebab(operation: &str) -> String {
    let mut out = String::new();
    for (i, c) in operation.chars().enumerate() {
        if c.is_ascii_uppercase() && i > 0 {
            out.push('-');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

/// True for operations that write records: a job sends them a million times, and its counters have the counts.
pub(super) fn is_bulk(operation: &str) -> bool {
    matches!(
        operation,
        "BatchWriteItem"
            | "PutItem"
            | "DeleteItem"
            | "UpdateItem"
            | "PutRecords"
            | "PutRecord"
            | "UploadPart"
            | "PutMetricData"
            | "AppendRows"
            | "InsertAll"
    )
}

/// The host of a request, where its URI has one, and its path without the slash before it.
fn split(uri: &str) -> (&str, &str) {
    let uri = uri.split('?').next().unwrap_or_default();
    let (host, path) = uri.split_once("://").map_or(("", uri), |(_, rest)| rest.split_once('/').unwrap_or((rest, "")));
    (host, path.trim_start_matches('/'))
}

/// `bucket/key` of an S3 request, whose bucket is in the path or, on AWS, in the host.
fn bucket_and_key(uri: &str) -> String {
    let (host, path) = split(uri);
    let path = percent_decoded(path);
    let labels: Vec<&str> = host.split('.').collect();
    // A bucket's name may have dots and labels such as these: the service's own is the last.
    let service = labels.iter().rposition(|l| *l == "s3" || l.starts_with("s3-") || l.starts_with("s3express-"));
    match service.filter(|at| *at > 0) {
        Some(at) => format!("{}/{path}", labels[..at].join(".")),
        None => path,
    }
}

fn percent_decoded(text: &str) -> String {
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let code = part.get(..2).and_then(|code| u8::from_str_radix(code, 16).ok());
        match code {
            Some(byte) => bytes.push(byte),
            None => bytes.push(b'%'),
        }
        bytes.extend_from_slice(&part.as_bytes()[if code.is_some() { 2 } else { 0 }..]);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The topic that a form of SNS names.
fn topic_of(form: &[u8]) -> String {
    let form = String::from_utf8_lossy(form);
    form.split('&').find_map(|pair| pair.strip_prefix("TopicArn=")).map(percent_decoded).unwrap_or_default()
}

/// The table or stream that a JSON body is about: that it names at its top, wherever that stands.
fn target_of(body: &[u8]) -> String {
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "PascalCase", default)]
    struct Top {
        table_name: Option<String>,
        stream_name: Option<String>,
        #[serde(rename = "StreamARN")]
        stream_arn: Option<String>,
        resource_arn: Option<String>,
    }
    let top: Top = serde_json::from_slice(body).unwrap_or_default();
    let named = top.table_name.or(top.stream_name).or(top.stream_arn).or(top.resource_arn);
    named.unwrap_or_else(|| named_first(body))
}

/// The table or stream that a JSON body names first. Only its head is looked at: a batch is long, and there are many.
fn named_first(body: &[u8]) -> String {
    let head = String::from_utf8_lossy(&body[..body.len().min(512)]).into_owned();
    for field in
        ["\"TableName\":\"", "\"StreamName\":\"", "\"StreamARN\":\"", "\"RequestItems\":{\"", "\"ResourceArn\":\""]
    {
        if let Some(at) = head.find(field) {
            return head[at + field.len()..].chars().take_while(|c| *c != '"').collect();
        }
    }
    String::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(service: &str, operation: &str, target: &str, request: &str) -> Change {
        let [service, operation, target, request] = [service, operation, target, request].map(str::to_owned);
        Change { service, operation, target, request, ..Change::default() }
    }

    #[test]
    fn a_change_is_written_as_the_aws_command_that_equals_it() {
        let change = change("dynamodb", "UpdateTable", "t", r#"{"TableName":"t's"}"#);
        assert_eq!(change.as_aws_command(), r#"aws dynamodb update-table --cli-input-json '{"TableName":"t'\''s"}'"#);
    }

    #[test]
    fn a_command_acts_where_the_change_is_made() {
        let at = Context { profile: Some("prod".into()), ..Context::default() };
        let signed = Change { region: Some("eu-west-1".into()), ..change("dynamodb", "UpdateTable", "t", "{}") };
        let command = "aws dynamodb update-table --cli-input-json '{}' --profile 'prod' --region 'eu-west-1'";
        assert_eq!(signed.as_aws_command_in(&at), command);
        let local = Context { region: Some("us-east-1".into()), endpoint_url: Some("http://h:1".into()), ..at };
        let unsigned = Change { region: None, ..signed };
        let command = "aws dynamodb update-table --cli-input-json '{}' --profile 'prod' --region 'us-east-1' --endpoint-url 'http://h:1'";
        assert_eq!(unsigned.as_aws_command_in(&local), command);
        // A job is told in the journal, wherever it acts.
        assert_eq!(Change::of_job("pause", "r-7f3a", "").as_aws_command_in(&local), "sluice pause r-7f3a");
    }

    #[test]
    fn what_a_job_is_told_is_written_as_the_command_that_tells_it() {
        assert_eq!(Change::of_job("pause", "r-7f3a", "").as_aws_command(), "sluice pause r-7f3a");
        assert_eq!(Change::of_job("rate", "r-7f3a", "250").as_aws_command(), "sluice rate r-7f3a 250");
    }

    #[test]
    fn what_no_command_equals_is_a_comment() {
        for (change, comment) in [
            (Change::of_job("start", "r-7f3a", "restore quotes"), "# sluice start r-7f3a: begun in the console"),
            (Change::of_job("start", "", "restore quotes"), "# sluice start restore quotes: begun in the console"),
            (change("dynamodb", "BatchWriteItem", "quotes", ""), "# dynamodb BatchWriteItem quotes: in bulk"),
            (change("s3", "PutObject", "b/k", ""), "# s3 PutObject b/k: no command without the bytes"),
            (change("s3", "CompleteMultipartUpload", "b/k", ""), "# s3 CompleteMultipartUpload b/k: no command"),
            (change("sns", "Publish", "arn:t", "Action=Publish"), "# sns Publish arn:t: its request is no JSON"),
        ] {
            let shown = change.as_aws_command_in(&Context { region: Some("eu-west-1".into()), ..Context::default() });
            assert!(shown.starts_with(comment) && !shown.contains("--"), "{shown}");
        }
    }

    #[test]
    fn a_file_that_is_deleted_is_a_whole_command() {
        let delete = change("s3", "DeleteObject", "backups/a b/it's.csv", "");
        assert_eq!(delete.as_aws_command(), r"aws s3api delete-object --bucket 'backups' --key 'a b/it'\''s.csv'");
    }

    #[test]
    fn the_bucket_is_in_the_path_or_in_the_host() {
        for (uri, target) in [
            ("http://127.0.0.1:4566/backups/prefix/key?x-id=PutObject", "backups/prefix/key"),
            ("https://backups.s3.eu-west-1.amazonaws.com/prefix/key?x-id=PutObject", "backups/prefix/key"),
            ("https://my.dotted.bucket.s3.eu-west-1.amazonaws.com/key", "my.dotted.bucket/key"),
            ("https://backups.s3-accelerate.amazonaws.com/key", "backups/key"),
            ("https://backups.s3.dualstack.eu-west-1.amazonaws.com/a%20b/%C3%BC+1", "backups/a b/ü+1"),
            ("https://x--euw1-az1--x-s3.s3express-euw1-az1.eu-west-1.amazonaws.com/k", "x--euw1-az1--x-s3/k"),
            ("https://s3.eu-west-1.amazonaws.com/backups/100%", "backups/100%"),
            ("/backups/key", "backups/key"),
        ] {
            assert_eq!(bucket_and_key(uri), target, "{uri}");
        }
    }

    #[test]
    fn a_change_of_a_mapping_is_named_by_its_path() {
        let mut request = Request::new(aws_smithy_types::body::SdkBody::from(r#"{"Enabled":false}"#));
        request.set_uri("https://lambda.eu-west-1.amazonaws.com/2015-03-31/event-source-mappings/u-1").unwrap();
        let change = Change::of("lambda", "UpdateEventSourceMapping", None, &request, true);
        assert_eq!(
            change.as_aws_command(),
            r#"aws lambda update-event-source-mapping --uuid u-1 --cli-input-json '{"Enabled":false}'"#
        );
    }

    #[test]
    fn the_target_is_the_table_or_stream_named_in_the_body() {
        assert_eq!(named_first(br#"{"RequestItems":{"quotes":[{"#), "quotes");
        assert_eq!(named_first(br#"{"Records":[],"StreamName":"restore"}"#), "restore");
        assert_eq!(
            topic_of(b"Action=Publish&TopicArn=arn%3Aaws%3Asns%3Aeu-west-1%3A1%3At&Message=m"),
            "arn:aws:sns:eu-west-1:1:t"
        );
    }

    #[test]
    fn the_target_is_found_behind_any_number_of_indexes_and_only_at_the_top() {
        let indexes: Vec<_> = (0..20)
            .map(|n| serde_json::json!({ "IndexName": format!("by_attribute_{n}"), "TableName": "of an index" }))
            .collect();
        let body = serde_json::json!({ "GlobalSecondaryIndexes": indexes, "TableName": "quotes" }).to_string();
        assert!(body.find("quotes").unwrap() > 512);
        assert_eq!(target_of(body.as_bytes()), "quotes");
    }
}
