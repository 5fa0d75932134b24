//! Which job needs what. A test runs the jobs against the embedded AWS and holds these lists against what was asked for.

use super::{On, Policy};
use crate::backup::Location;
use crate::capacity::config;
use crate::jobs::replicate::{Bootstrap, ReplicaTarget, ReplicateSpec};
use crate::jobs::spec::{
    AutoscaleSpec, BackupSpec, LoadSpec, PlaybackSpec, PumpSpec, RestoreSpec, SourceSpec, Spec, VerifySpec, WorkSpec,
};

/// What a command does around its job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extras {
    /// Makes its tables first.
    pub creates_tables: bool,
    /// Changes capacity, and gives it back.
    pub changes_capacity: bool,
}

impl Policy {
    /// What the job needs.
    pub fn of(spec: &Spec, extras: Extras) -> Self {
        let mut policy = Self::default();
        match spec {
            Spec::Restore(spec) => policy.restore(spec, extras),
            Spec::Verify(spec) => policy.verify(spec),
            Spec::Backup(spec) => policy.backup(spec),
            Spec::Autoscale(spec) => policy.autoscale(spec),
            Spec::Work(spec) => policy.work(spec),
            Spec::Load(spec) => policy.load(spec),
            Spec::Pump(spec) => policy.pump(spec, extras),
            Spec::Playback(spec) => policy.playback(spec),
            Spec::Replicate(spec) => policy.replicate(spec),
            // Nothing runs.
            Spec::Letters(_) => return policy,
        }
        policy.pre_flight();
        policy
    }

    /// The question that this list itself is for.
    fn pre_flight(&mut self) {
        self.allow("PreFlight", &[On::Roles], &["iam:GetRole", "iam:SimulatePrincipalPolicy"]);
    }

    fn source(&mut self, source: &SourceSpec) {
        for location in source.sources.iter().filter_map(|source| source.parse().ok()) {
            if let Location::S3 { bucket, key } = location {
                self.allow("ListTheBackup", &[On::Bucket(bucket.clone())], &["s3:ListBucket"]);
                // An export's data lies beside its manifest, a glob's objects below its fixed part.
                let fixed = key.split(['*', '?', '[', '{']).next().unwrap_or_default().to_owned();
                let folder = match fixed.find("AWSDynamoDB") {
                    Some(at) => fixed[..at + "AWSDynamoDB".len()].to_owned(),
                    None => fixed,
                };
                self.allow("ReadTheBackup", &[On::Objects(bucket, folder)], &["s3:GetObject"]);
            }
        }
    }

    fn restore(&mut self, spec: &RestoreSpec, extras: Extras) {
        self.source(&spec.source);
        let table = [On::Table(spec.table.clone())];
        self.allow("Table", &table, &["dynamodb:DescribeTable"]);
        if extras.creates_tables {
            self.allow(
                "Table",
                &table,
                &["dynamodb:CreateTable", "dynamodb:DescribeTimeToLive", "dynamodb:UpdateTimeToLive"],
            );
        }
        if spec.raise.is_some() || extras.changes_capacity {
            self.allow("Table", &table, &["dynamodb:UpdateTable"]);
        }
        if let Some(stream) = &spec.stream {
            self.put_onto(stream);
            if !spec.no_workers {
                self.read_from(stream);
            }
        }
        if !spec.no_workers {
            self.write(&table);
            if spec.leave.is_some() {
                self.metrics();
            }
        }
    }

    /// What a writer needs: batches, and single requests for what has a condition or was refused in a batch.
    fn write(&mut self, on: &[On]) {
        self.allow("Table", on, &["dynamodb:BatchWriteItem", "dynamodb:DeleteItem", "dynamodb:PutItem"]);
    }

    fn put_onto(&mut self, stream: &str) {
        let on = [On::Stream(stream.to_owned())];
        self.allow("Stream", &on, &["kinesis:DescribeStreamSummary", "kinesis:ListShards", "kinesis:PutRecords"]);
    }

    fn read_from(&mut self, stream: &str) {
        let on = [On::Stream(stream.to_owned())];
        let actions =
            ["kinesis:DescribeStreamSummary", "kinesis:GetRecords", "kinesis:GetShardIterator", "kinesis:ListShards"];
        self.allow("Stream", &on, &actions);
    }

    fn metrics(&mut self) {
        self.allow("Metrics", &[On::Everything], &["cloudwatch:GetMetricData"]);
    }

    fn verify(&mut self, spec: &VerifySpec) {
        self.source(&spec.source);
        let on = [On::Table(spec.table.clone())];
        // A sample asks for its keys; all of a table is scanned, and what changed meanwhile asked for once more.
        let read: &[&str] = if spec.sample.is_some() {
            &["dynamodb:BatchGetItem", "dynamodb:DescribeTable"]
        } else {
            &["dynamodb:BatchGetItem", "dynamodb:DescribeTable", "dynamodb:Scan"]
        };
        self.allow("Table", &on, read);
        // A replica elsewhere is another account's or region's to grant.
        if let Some(replica) = spec.replica.as_ref().filter(|replica| replica.target.is_beside_its_source()) {
            let of_replica = [On::Table(replica.target.table.clone())];
            self.allow("Replica", &of_replica, read);
            if replica.repair {
                self.allow("Replica", &of_replica, &["dynamodb:DeleteItem", "dynamodb:PutItem"]);
            }
            if replica.keeps_expired {
                self.allow("Table", &on, &["dynamodb:DescribeTimeToLive"]);
            }
        }
    }

    fn backup(&mut self, spec: &BackupSpec) {
        let on = [On::Table(spec.table.clone())];
        self.allow("Table", &on, &["dynamodb:DescribeTable", "dynamodb:Scan"]);
        if let Ok(Location::S3 { bucket, key }) = spec.to.parse() {
            self.allow("SeeTheBucket", &[On::Bucket(bucket.clone())], &["s3:ListBucket"]);
            let mut actions = vec!["s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject"];
            if spec.format == crate::backup::Format::Export {
                // A cancelled export takes its objects away.
                actions.push("s3:DeleteObject");
            }
            self.allow("WriteTheBackup", &[On::Objects(bucket, key)], &actions);
        }
    }

    fn autoscale(&mut self, spec: &AutoscaleSpec) {
        // Which tables the rules mean shows only from their names.
        self.allow("Tables", &[On::AnyTable], &["dynamodb:DescribeTable", "dynamodb:UpdateTable"]);
        self.allow("List", &[On::Everything], &["dynamodb:ListTables"]);
        self.metrics();
        if let Some(topic) = config::parse(&spec.rules).ok().and_then(|config| config.sns) {
            self.allow("Tell", &[On::Topic(topic)], &["sns:Publish"]);
        }
    }

    fn work(&mut self, spec: &WorkSpec) {
        if spec.fan_out.is_some() {
            // Its shards send their records: nothing is polled.
            let on = [On::Stream(spec.stream.clone())];
            let actions = [
                "kinesis:DescribeStreamConsumer",
                "kinesis:DescribeStreamSummary",
                "kinesis:ListShards",
                "kinesis:RegisterStreamConsumer",
            ];
            self.allow("Stream", &on, &actions);
            let actions = ["kinesis:DescribeStreamConsumer", "kinesis:SubscribeToShard"];
            self.allow("FanOut", &[On::Consumers(spec.stream.clone())], &actions);
        } else {
            self.read_from(&spec.stream);
        }
        // Its requests name their tables.
        self.allow("Tables", &[On::AnyTable], &["dynamodb:DescribeTable"]);
        self.write(&[On::AnyTable]);
        if let Some(table) = &spec.lease_table {
            let actions = [
                "dynamodb:CreateTable",
                "dynamodb:DeleteItem",
                "dynamodb:DescribeTable",
                "dynamodb:PutItem",
                "dynamodb:Scan",
                "dynamodb:UpdateItem",
            ];
            self.allow("Leases", &[On::Table(table.clone())], &actions);
        }
    }

    fn replicate(&mut self, spec: &ReplicateSpec) {
        self.side(&spec.table, spec.two_way.is_some(), spec.may_change_stream || spec.switch_stream);
        // BigQuery's columns are decided by a sample.
        let samples = matches!(spec.target, ReplicaTarget::BigQuery(_));
        if spec.bootstrap == Bootstrap::Scan || spec.rebootstrap || samples {
            self.allow("Table", &[On::Table(spec.table.clone())], &["dynamodb:Scan"]);
        }
        let ReplicaTarget::Table(target) = &spec.target else { return };
        // The audit reads both sides, and asks for what differs by its keys.
        let audits = spec.audit_rcu.is_some() && !spec.until_caught_up;
        if audits {
            let source = [On::Table(spec.table.clone())];
            self.allow("Table", &source, &["dynamodb:BatchGetItem", "dynamodb:Scan"]);
            if spec.skip_ttl_deletes {
                self.allow("Table", &source, &["dynamodb:DescribeTimeToLive"]);
            }
        }
        let on = [On::Table(target.table.clone())];
        if spec.create {
            let source = [On::Table(spec.table.clone())];
            self.allow("Table", &source, &["dynamodb:DescribeTimeToLive", "dynamodb:ListTagsOfResource"]);
        }
        // In another account or region the credentials of that place count, which are asked when they are used.
        if !target.is_beside_its_source() {
            return;
        }
        let mut actions =
            vec!["dynamodb:BatchWriteItem", "dynamodb:DeleteItem", "dynamodb:DescribeTable", "dynamodb:PutItem"];
        if spec.create {
            actions.extend(["dynamodb:CreateTable", "dynamodb:TagResource", "dynamodb:UpdateTimeToLive"]);
        }
        if spec.rebootstrap {
            // What the source does not have is found here, and asked for there.
            actions.push("dynamodb:Scan");
            self.allow("Table", &[On::Table(spec.table.clone())], &["dynamodb:BatchGetItem"]);
        }
        if audits {
            actions.extend(["dynamodb:BatchGetItem", "dynamodb:Scan"]);
        }
        actions.sort_unstable();
        actions.dedup();
        self.allow("Replica", &on, &actions);
        if spec.leave.is_some() {
            self.metrics();
        }
        if spec.two_way.is_some() {
            self.side(&target.table, true, spec.may_change_stream || spec.switch_stream);
        }
    }

    /// A table whose changes are read.
    fn side(&mut self, table: &str, two_way: bool, may_change_stream: bool) {
        let mut actions = vec!["dynamodb:DescribeTable"];
        if may_change_stream {
            actions.push("dynamodb:UpdateTable");
        }
        if two_way {
            actions.extend(["dynamodb:DeleteItem", "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem"]);
        }
        self.allow("Table", &[On::Table(table.to_owned())], &actions);
        let actions = ["dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator"];
        self.allow("Changes", &[On::Changes(table.to_owned())], &actions);
    }

    fn load(&mut self, spec: &LoadSpec) {
        self.put_onto(&spec.stream);
    }

    fn pump(&mut self, spec: &PumpSpec, extras: Extras) {
        self.read_from(&spec.stream);
        let (buffer, events) = (On::Table(spec.buffer.clone()), On::Table(spec.events.clone()));
        let both = [buffer.clone(), events.clone()];
        // Rows of the buffer go once their events are stored; what a batch was refused for is written and deleted singly.
        let actions = ["dynamodb:BatchWriteItem", "dynamodb:DeleteItem", "dynamodb:DescribeTable", "dynamodb:PutItem"];
        self.allow("Tables", &both, &actions);
        if extras.creates_tables {
            self.allow("Tables", &both, &["dynamodb:CreateTable"]);
        }
        self.allow("Buffer", &[buffer], &["dynamodb:Scan"]);
        // Where the shards were read to, the slot length and the watermark are in the event table.
        self.allow("Events", &[events], &["dynamodb:GetItem", "dynamodb:Query", "dynamodb:UpdateItem"]);
    }

    fn playback(&mut self, spec: &PlaybackSpec) {
        let onto = spec.sink.strip_prefix("stream:").or_else(|| spec.sink.strip_prefix("puts:"));
        let (stream, table) = match onto.map(|onto| onto.split_once('/').map_or((onto, None), |(s, t)| (s, Some(t)))) {
            Some((stream, table)) => (Some(stream), table),
            None => (None, None),
        };
        self.play(&spec.events, stream, table);
    }

    fn play(&mut self, events: &str, stream: Option<&str>, table: Option<&str>) {
        self.allow("Events", &[On::Table(events.to_owned())], &["dynamodb:DescribeTable"]);
        // The original's layout is read by its local index.
        let on = [On::Table(events.to_owned()), On::Indexes(events.to_owned())];
        self.allow("ReadEvents", &on, &["dynamodb:Query"]);
        if let Some(stream) = stream {
            self.put_onto(stream);
        }
        if let Some(table) = table {
            self.allow("PutInto", &[On::Table(table.to_owned())], &["dynamodb:DescribeTable"]);
        }
    }
}

/// What `sluice playback` of an event table needs, onto a stream, as put requests for a table.
pub fn playback(events: &str, stream: Option<&str>, table: Option<&str>) -> Policy {
    let mut policy = Policy::default();
    policy.play(events, stream, table);
    policy.pre_flight();
    policy
}

/// What `sluice track` needs.
pub fn track(stream: &str) -> Policy {
    let mut policy = Policy::default();
    policy.put_onto(stream);
    policy
}

/// What `sluice capacity` needs to change and give back the capacity of a table or the shards of a stream.
pub fn changes_of_capacity(table: Option<&str>, stream: Option<&str>) -> Policy {
    let mut policy = Policy::default();
    if let Some(table) = table {
        let on = [On::Table(table.to_owned())];
        policy.allow("Table", &on, &["dynamodb:DescribeTable", "dynamodb:UpdateTable"]);
    }
    if let Some(stream) = stream {
        let actions = ["kinesis:DescribeStreamSummary", "kinesis:ListShards", "kinesis:UpdateShardCount"];
        policy.allow("Stream", &[On::Stream(stream.to_owned())], &actions);
    }
    policy
}

/// What the console needs to look at everything and change nothing; records of streams only with `tail`.
pub fn console(tail: bool) -> Policy {
    let mut policy = Policy::default();
    let actions = [
        "cloudwatch:GetMetricData",
        "dynamodb:DescribeTable",
        "dynamodb:ListTables",
        "kinesis:DescribeStreamSummary",
        "kinesis:ListShards",
        "kinesis:ListStreams",
        "lambda:ListEventSourceMappings",
    ];
    policy.allow("Look", &[On::Everything], &actions);
    if tail {
        policy.allow("Tail", &[On::Stream("*".to_owned())], &["kinesis:GetRecords", "kinesis:GetShardIterator"]);
    }
    policy
}

#[cfg(test)]
mod tests {
    use super::*;

    fn restore(source: &str) -> RestoreSpec {
        let source = SourceSpec { sources: vec![source.into()], ..SourceSpec::default() };
        RestoreSpec { source, table: "t".into(), ..RestoreSpec::default() }
    }

    fn actions(spec: RestoreSpec) -> Vec<&'static str> {
        Policy::of(&Spec::Restore(spec), Extras::default()).actions()
    }

    #[test]
    fn each_option_brings_the_actions_that_it_needs_and_no_others() {
        let direct = actions(restore("/b.csv"));
        assert!(!direct.iter().any(|a| a.starts_with("s3:") || a.starts_with("kinesis:")), "{direct:?}");
        assert!(!direct.contains(&"dynamodb:UpdateTable"));
        let produced = actions(RestoreSpec { stream: Some("s".into()), no_workers: true, ..restore("s3://b/h/x.csv") });
        assert!(!produced.contains(&"dynamodb:BatchWriteItem") && !produced.contains(&"kinesis:GetRecords"));
        assert!(produced.contains(&"kinesis:PutRecords") && produced.contains(&"s3:GetObject"));
        assert!(actions(RestoreSpec { leave: Some(0.2), ..restore("/b.csv") }).contains(&"cloudwatch:GetMetricData"));
    }

    #[test]
    fn a_worker_that_is_sent_its_records_may_not_poll_them() {
        let spec = |fan_out: Option<&str>| {
            Spec::Work(WorkSpec { stream: "s".into(), fan_out: fan_out.map(str::to_owned), ..WorkSpec::default() })
        };
        let sent = Policy::of(&spec(Some("c")), Extras::default()).actions();
        assert!(sent.contains(&"kinesis:SubscribeToShard") && !sent.contains(&"kinesis:GetRecords"), "{sent:?}");
        let polled = Policy::of(&spec(None), Extras::default()).actions();
        assert!(polled.contains(&"kinesis:GetRecords") && !polled.contains(&"kinesis:SubscribeToShard"), "{polled:?}");
    }

    #[test]
    fn objects_are_allowed_below_what_was_named() {
        let on = |source: &str| {
            let policy = Policy::of(&Spec::Restore(restore(source)), Extras::default());
            let read = policy.statements.iter().find(|s| s.actions == ["s3:GetObject"]).unwrap();
            read.on[0].clone()
        };
        assert_eq!(on("s3://b/h/x.csv"), On::Objects("b".into(), "h/x.csv".into()));
        assert_eq!(on("s3://b/h/*.csv"), On::Objects("b".into(), "h/".into()));
        assert_eq!(on("s3://b/e/AWSDynamoDB/01-a/"), On::Objects("b".into(), "e/AWSDynamoDB".into()));
    }
}
