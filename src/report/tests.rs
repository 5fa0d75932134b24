use super::*;
use crate::cloud::Context;
use crate::cloud::guard::Change;
use crate::flow::{Counters, Letter};
use crate::jobs::journal::{
    ChangeCounts, Commit, Decided, Decision, ReplicaSample, Sample, ShardSample, State, now_ms,
};
use crate::jobs::{AutoscaleSpec, ReplicateSpec, RestoreSpec, SourceSpec, Spec, VerifySpec};

const HOSTILE: &str = "</td><script>alert(1)</script>|![x](http://evil)\u{1b}[2J`";

/// A restore of 20 s with a gap in its middle, throttles, dead letters that attack the page, and a verify that proves it.
fn restored() -> (tempfile::TempDir, Journal, JobId) {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(&folder.path().join("journal.sqlite")).unwrap();
    let spec = RestoreSpec {
        source: SourceSpec { sources: vec!["s3://b/<x>.csv".into()], ..SourceSpec::default() },
        table: "historical".into(),
        max_wcu: Some(120.0),
        ..RestoreSpec::default()
    };
    let id = journal.create_job(&Spec::Restore(spec), &Context::default(), None).unwrap();
    let begun = now_ms();
    journal.begin(&id, 1).unwrap();
    for second in (1..=10_i64).chain(71..=80) {
        let done = second.min(10) + (second - 70).max(0);
        let counters = Counters {
            read: done as u64 * 130,
            written: done as u64 * 130,
            throttled: if second > 75 { 5 * done as u64 } else { 0 },
            wcu: done as f64 * 130.0,
            ..Counters::default()
        };
        let shards = vec![ShardSample { shard: "s".into(), lag_ms: 900, behind_records: None, records: 1 }];
        let sample = Sample {
            at_ms: begun + second * 1_000,
            counters,
            provisioned_wcu: Some(if second < 70 { 130.0 } else { 195.0 }),
            limit: format!("table write capacity, {second} WCU"),
            shards,
            ..Sample::default()
        };
        let letter = Letter {
            source: "x.csv".into(),
            line: Some(second as u64),
            offset: Some(second as u64),
            shard: None,
            sequence: None,
            reason: if second == 1 { HOSTILE.into() } else { "not base64".into() },
            payload: HOSTILE.into(),
        };
        let letters = if second < 7 { vec![letter] } else { Vec::new() };
        let counters = Counters { dead: second.min(6) as u64, read: counters.read + second.min(6) as u64, ..counters };
        journal
            .commit(&id, &Commit { counters, letters: &letters, sample: Some(&sample), ..Commit::default() })
            .unwrap();
    }
    journal.note(&id, "warn", HOSTILE).unwrap();
    let change = Change {
        service: "dynamodb".into(),
        operation: "UpdateTable".into(),
        target: "historical".into(),
        request: format!("{{\"TableName\":\"{HOSTILE}\"}}"),
        ..Change::default()
    };
    journal.audit(&Context::default(), Some(&id), &change).unwrap();
    journal.audit(&Context::default(), None, &Change { before: Some("what was before".into()), ..change }).unwrap();
    journal.end(&id, State::Done, "", "{}").unwrap();
    let verify = journal.create_job(&Spec::Verify(VerifySpec::default()), &Context::default(), Some(&id)).unwrap();
    let found = r#"{"kind":"verify","checked":2600,"equal":2600,"missing":0,"extra":0,"different":0,"digest_source":"ab12","digest_table":"ab12"}"#;
    journal.end(&verify, State::Done, "", found).unwrap();
    (folder, journal, id)
}

#[test]
fn a_restore_without_workers_accounts_for_what_the_stream_took() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(&folder.path().join("journal.sqlite")).unwrap();
    let spec = RestoreSpec { stream: Some("puts".into()), no_workers: true, ..RestoreSpec::default() };
    let id = journal.create_job(&Spec::Restore(spec), &Context::default(), None).unwrap();
    journal.begin(&id, 1).unwrap();
    let counters = Counters { read: 12, on_stream: 12, ..Counters::default() };
    journal.commit(&id, &Commit { counters, ..Commit::default() }).unwrap();
    journal.end(&id, State::Done, "", "{}").unwrap();
    let text = of_job(&journal, &id, Format::Markdown, "x", now_ms()).unwrap().text;
    assert!(text.contains("accounted for: on the stream, left out, or a dead letter"), "{text}");
}

#[test]
fn a_page_tells_what_a_job_did_what_held_it_up_and_what_proves_it() {
    let (_folder, journal, id) = restored();
    let text = of_job(&journal, &id, Format::Html, "x", now_ms()).unwrap().text;
    for words in [
        "historical ← s3://b/&lt;x&gt;.csv",
        "Every record that was read is accounted for",
        "2,606",
        "table write capacity",
        "No worker ran once",
        "not base64",
        "digest of the table",
        "ab12",
        "2,600",
        "Write capacity, ",
        "▾ throttled",
        "Shard lag",
        "max wcu",
        "UpdateTable",
        "this job",
        "what was before",
    ] {
        assert!(text.contains(words), "{words} is not in {text}");
    }
    assert_eq!(text.matches("<svg").count(), 3);
    assert!(text.contains("Content-Security-Policy") && !text.contains("http-equiv=\"refresh\""));
}

#[test]
fn nothing_of_a_record_or_a_name_is_obeyed_by_a_page() {
    let (_folder, journal, id) = restored();
    let html = of_job(&journal, &id, Format::Html, "x", now_ms()).unwrap().text;
    assert!(!html.contains("<script") && !html.contains('\u{1b}'));
    assert!(html.contains("&lt;script&gt;alert(1)"));
    let markdown = of_job(&journal, &id, Format::Markdown, "x", now_ms()).unwrap().text;
    assert!(!markdown.contains("<script") && !markdown.contains("![x]") && !markdown.contains('\u{1b}'), "{markdown}");
    // What was cut by an unescaped `|` would be a cell too many.
    let cells = |line: &str| line.replace("\\|", "").matches('|').count();
    let hostile: Vec<&str> = markdown.lines().filter(|line| line.contains("alert")).collect();
    let letters: Vec<usize> = hostile.iter().filter(|line| line.contains("x.csv")).map(|line| cells(line)).collect();
    assert_eq!(letters, [6; 4]);
}

#[test]
fn the_first_three_letters_of_each_reason_are_shown_and_all_are_counted() {
    let (_folder, journal, id) = restored();
    let (reasons, all) = journal.letter_reasons(&id, 10).unwrap();
    assert_eq!(all, 2);
    assert_eq!(reasons, [("not base64".to_owned(), 5, 5), (HOSTILE.to_owned(), 1, 1)]);
    let text = of_job(&journal, &id, Format::Markdown, "x", now_ms()).unwrap().text;
    assert_eq!(text.matches("x.csv:").count(), 4);
}

#[test]
fn markdown_links_pictures_that_are_written_beside_it() {
    let (folder, journal, id) = restored();
    let path = folder.path().join("last night.md");
    let report = of_job(&journal, &id, Format::Markdown, "last night", now_ms()).unwrap();
    assert!(report.text.contains("](last%20night-1.svg)"));
    let Saved::Written(written) = report.save(&path, &[]).unwrap() else { panic!("nothing was there") };
    let names: Vec<String> = written.iter().map(|p| p.file_name().unwrap().to_string_lossy().into_owned()).collect();
    assert_eq!(names, ["last night-1.svg", "last night-2.svg", "last night-3.svg", "last night.md"]);
    let picture = std::fs::read_to_string(&written[0]).unwrap();
    assert!(picture.starts_with("<svg xmlns=") && picture.contains("prefers-color-scheme:dark"));
    // The gap: two pieces, not one line across it.
    let line = picture.split("class=\"l0\" d=\"").nth(1).unwrap().split('"').next().unwrap();
    assert_eq!(line.matches('M').count(), 2, "{line}");
}

#[test]
fn what_a_page_leaves_out_it_says_and_a_dry_runs_raise_is_no_raise() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(&folder.path().join("journal.sqlite")).unwrap();
    let spec = AutoscaleSpec { config: "autoscale.toml".into(), rules: String::new(), once: false };
    let id = journal.create_job(&Spec::Autoscale(spec), &Context::default(), None).unwrap();
    let told = |journal: &Journal| of_job(journal, &id, Format::Html, "x", now_ms()).unwrap().text;
    let mut decision = Decision {
        number: 0,
        context: Context::default(),
        job: id.clone(),
        at_ms: now_ms(),
        last_ms: now_ms(),
        times: 1,
        table: "historical".into(),
        index: None,
        direction: "write".into(),
        decided: Decided::Raised,
        from: 0,
        to: 0,
        consumed: 9.0,
        reason: "over 90 % used".into(),
        dry_run: true,
    };
    let change = Change { operation: "UpdateTable".into(), target: "historical".into(), ..Change::default() };
    for n in 0..500 {
        (decision.from, decision.to) = (n, n + 1);
        journal.decide(&decision).unwrap();
    }
    for _ in 0..200 {
        journal.audit(&Context::default(), Some(&id), &change).unwrap();
    }
    let text = told(&journal);
    assert_eq!(text.matches("raised (dry run: not sent)").count(), 500);
    assert!(!text.contains("newest"), "all of it is there");
    (decision.from, decision.to, decision.dry_run) = (500, 501, false);
    journal.decide(&decision).unwrap();
    journal.audit(&Context::default(), Some(&id), &change).unwrap();
    let text = told(&journal);
    assert!(text.contains("The newest 500 decisions.") && text.contains("The newest: 200 of this job"), "{text}");
    assert_eq!((text.matches("raised").count(), text.matches("(dry run").count()), (500, 499));
}

#[test]
fn what_others_changed_during_a_job_is_told_whatever_they_changed_since() {
    let (_folder, journal, id) = restored();
    let late = Change {
        operation: "UpdateTable".into(),
        target: "historical".into(),
        request: "long after it".into(),
        ..Change::default()
    };
    // A moment later than the job's end is one ms later.
    while now_ms() <= journal.job(&id).unwrap().ended_ms.unwrap() {}
    for _ in 0..250 {
        journal.audit(&Context::default(), None, &late).unwrap();
    }
    let text = of_job(&journal, &id, Format::Markdown, "x", now_ms()).unwrap().text;
    assert!(text.contains("what was before") && !text.contains("long after it"), "{text}");
}

#[test]
fn a_replica_tells_how_it_follows_and_that_nobody_audits_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(&folder.path().join("journal.sqlite")).unwrap();
    let id = journal.create_job(&Spec::Replicate(ReplicateSpec::default()), &Context::default(), None).unwrap();
    journal.begin(&id, 1).unwrap();
    let changes = ChangeCounts { modified: 31_200, expired: 7, ..ChangeCounts::default() };
    let replica = ReplicaSample { trim_ms: 79_800_000, changes, gap: Some(HOSTILE.into()), ..ReplicaSample::default() };
    let sample = Sample { at_ms: now_ms(), replica: Some(replica), ..Sample::default() };
    journal.commit(&id, &Commit { sample: Some(&sample), ..Commit::default() }).unwrap();
    let text = of_job(&journal, &id, Format::Html, "x", now_ms()).unwrap().text;
    for words in ["Replica", "22h 10m", "31,200", ">expired<", "not audited"] {
        assert!(text.contains(words), "{words} is not in {text}");
    }
    assert!(!text.contains("<script") && text.contains("&lt;script&gt;alert(1)"));
}

#[test]
fn a_job_that_wrote_no_sample_has_a_report_without_charts() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(&folder.path().join("journal.sqlite")).unwrap();
    let id = journal.create_job(&Spec::Restore(RestoreSpec::default()), &Context::default(), None).unwrap();
    let report = of_job(&journal, &id, Format::Html, "x", now_ms()).unwrap();
    assert!(!report.text.contains("<svg") && report.text.contains("What it was told"));
    assert!(of_job(&journal, &JobId("r-none".into()), Format::Html, "x", now_ms()).is_err());
}

#[test]
fn the_name_of_a_file_says_what_to_write() {
    let of = |name: &str| Format::of_path(Path::new(name));
    assert_eq!([of("a.html"), of("a.HTM")], [Some(Format::Html); 2]);
    assert_eq!([of("a.md"), of("b/a.markdown")], [Some(Format::Markdown); 2]);
    assert_eq!([of("a.pdf"), of("a"), of("-")], [None; 3]);
}
