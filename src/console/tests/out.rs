//! What leaves the console: files, pictures, the clipboard.

use super::*;
use crate::console::export::{Content, Export, Format, Sheet};
use crate::jobs::AutoscaleSpec;
use crate::jobs::journal::{Decided, Decision};

fn exports(tester: &Tester) -> Vec<Export> {
    let did = tester.did().into_iter();
    did.filter_map(|effect| if let Effect::Export(export) = effect { Some(export) } else { None }).collect()
}

fn copies(tester: &Tester) -> Vec<String> {
    let did = tester.did().into_iter();
    did.filter_map(|effect| if let Effect::Copy(text) = effect { Some(text) } else { None }).collect()
}

fn sheet(export: &Export) -> &Sheet {
    match &export.content {
        Content::Sheet(sheet) => sheet,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_list_is_written_with_its_filter_its_sort_and_exact_numbers() {
    let mut tester = Tester::watching(Screen::Tables, Mode::Normal, (120, 40));
    tester.press("/ es enter s s s E").await;
    tester.sees("tables-20261121140327.csv").await;
    tester.press("enter").await;
    let written = exports(&tester);
    assert_eq!(written.len(), 1);
    assert_eq!((written[0].format, written[0].replaces.clone()), (Format::Csv, Vec::new()));
    let sheet = sheet(&written[0]);
    let names: Vec<_> = sheet.rows.iter().map(|row| row[0].as_str().unwrap()).collect();
    assert_eq!(names, ["quotes", "sessions"]);
    assert_eq!(sheet.rows[0][2], 1_200_000);
}

#[tokio::test]
async fn the_ending_of_the_name_says_how_and_a_wrong_one_is_told() {
    let mut tester = Tester::watching(Screen::Jobs, Mode::Normal, (120, 40));
    tester.press("E ctrl-u jobs.xls enter").await;
    tester.sees("it ends in .csv, .json, .svg, .txt").await;
    tester.press("ctrl-u jobs.html enter").await;
    tester.sees("open one first").await;
    tester.press("ctrl-u jobs.json enter").await;
    let written = exports(&tester);
    assert_eq!((written[0].format, written[0].path.to_str()), (Format::Json, Some("/jobs.json")));
    assert_eq!(sheet(&written[0]).rows.len(), 2);
}

#[tokio::test]
async fn a_jobs_samples_come_from_the_journal_for_the_window_on_screen() {
    let mut tester = Tester::watching(r7f3a(), Mode::Normal, (120, 40));
    tester.press("E enter").await;
    let written = exports(&tester);
    let app = &tester.runtime.app;
    let span = app.span();
    assert_eq!(written[0].content, Content::Samples(JobId("r-7f3a".into()), span.from_ms, span.to_ms));
    tester.press("d E enter").await;
    assert_eq!(exports(&tester)[0].content, Content::Letters(JobId("r-7f3a".into())));
}

#[tokio::test]
async fn a_chart_is_written_point_by_point() {
    let mut tester = Tester::watching(Screen::Tables, Mode::Normal, (120, 40));
    tester.press("enter E enter").await;
    let written = exports(&tester);
    let sheet = sheet(&written[0]);
    assert_eq!(sheet.columns, ["chart", "line", "at", "value"]);
    assert!(sheet.rows.iter().any(|row| row[1] == "provisioned" && row[3] == 130.0), "{:?}", sheet.rows.first());
}

#[tokio::test]
async fn what_was_never_measured_is_no_0_in_a_file() {
    let mut tester = Tester::watching(Screen::Tables, Mode::Normal, (120, 40));
    tester.look().await;
    let used = |tester: &Tester| {
        let export = exports(tester).remove(0);
        let of = |row: &Vec<serde_json::Value>| {
            (row[0].as_str().unwrap().to_owned(), row[4].is_null(), row[7].is_null(), row[5].is_null())
        };
        sheet(&export).rows.iter().map(of).collect::<Vec<_>>()
    };
    tester.press("E enter").await;
    let row = |name: &str, used: bool, refused: bool, provisioned: bool| (name.to_owned(), used, refused, provisioned);
    let all = [
        row("historical", false, false, false),
        row("quotes", false, false, false),
        row("sessions", false, false, true),
    ];
    assert_eq!(used(&tester), all);
    // A job of ours writes the first: that is known without CloudWatch.
    tester.runtime.app.tables_measured_ms.clear();
    tester.press("E enter").await;
    let all =
        [row("historical", false, false, false), row("quotes", true, true, false), row("sessions", true, true, true)];
    assert_eq!(used(&tester), all);
}

#[tokio::test]
async fn mappings_are_written_as_the_screen_has_them_and_with_their_retries() {
    let mut tester = Tester::watching(Screen::Mappings("restore".into()), Mode::Normal, (120, 30));
    tester.sees("put-requests").await;
    tester.press("E enter").await;
    let export = exports(&tester).remove(0);
    let retries = sheet(&export).columns.iter().position(|name| *name == "retries").unwrap();
    let told = |export: &Export| {
        let of = |row: &Vec<serde_json::Value>| (row[1].as_str().unwrap().to_owned(), row[retries].clone());
        sheet(export).rows.iter().map(of).collect::<Vec<_>>()
    };
    assert_eq!(told(&export), [("u-2".to_owned(), 3.into()), ("u-1".to_owned(), 3.into())]);
    if let Some(Ok(all)) = &mut tester.runtime.app.at_stream.mappings {
        all[0].0.retries = None;
    }
    tester.press("/ p u t enter E enter").await;
    assert_eq!(told(&exports(&tester)[0]), [("u-1".to_owned(), "for ever".into())]);
}

#[tokio::test]
async fn a_dry_runs_raise_is_told_from_a_raise() {
    let id = JobId("a-12ab".into());
    let rules = "[[table]]\nname = \"historical\"\n[table.write]\nmax = 500\n";
    let mut job = fixture::job("a-12ab", State::Running);
    job.spec = Spec::Autoscale(AutoscaleSpec { rules: rules.into(), ..AutoscaleSpec::default() });
    let decision = |number, dry_run| Decision {
        number,
        context: fixture::context(),
        job: id.clone(),
        at_ms: NOW_MS,
        last_ms: NOW_MS,
        times: 1,
        table: "historical".into(),
        index: None,
        direction: "write".into(),
        decided: Decided::Raised,
        from: 130,
        to: 195,
        consumed: 128.0,
        reason: "over 90 % used".into(),
        dry_run,
    };
    let mut tester = Tester::open(Screen::Autoscale(id.clone()), Mode::Normal, (120, 40));
    tester.send(Msg::Jobs(vec![job], Vec::new()));
    tester.send(Msg::Decisions(vec![decision(1, false), decision(2, true)]));
    tester.sees("raised*").await;
    tester.press("E enter").await;
    let export = exports(&tester).remove(0);
    let sheet = sheet(&export);
    assert_eq!(sheet.columns[3..5], ["decided", "dry_run"]);
    let told: Vec<_> = sheet.rows.iter().map(|row| (row[3].as_str().unwrap(), row[4].as_bool().unwrap())).collect();
    assert_eq!(told, [("raised", true), ("raised", false)]);
}

#[tokio::test]
async fn a_file_that_is_there_is_asked_about() {
    let mut tester = Tester::watching(Screen::Jobs, Mode::ReadOnly, (120, 40));
    tester.press("E enter").await;
    let mut export = exports(&tester).remove(0);
    export.replaces = vec![export.path.clone(), export.path.with_file_name("jobs-1.svg")];
    tester.send(Msg::FileExists(Box::new(export)));
    tester.sees("Replace 2 files").await;
    tester.sees("/jobs-1.svg").await;
    tester.sees("what was in them is lost").await;
    tester.press("n").await;
    assert_eq!(exports(&tester), []);
    tester.press("E enter").await;
    let mut export = exports(&tester).remove(0);
    export.replaces = vec![export.path.clone()];
    tester.send(Msg::FileExists(Box::new(export.clone())));
    tester.sees("what was in it is lost").await;
    tester.press("y").await;
    assert_eq!(exports(&tester), [export]);
    tester.send(Msg::Told("wrote 2 rows to /jobs.csv".into()));
    tester.sees("wrote 2 rows to /jobs.csv").await;
}

#[tokio::test]
async fn the_screen_is_a_picture_without_the_prompt() {
    let mut tester = Tester::watching(r7f3a(), Mode::Normal, (120, 40));
    tester.press("ctrl-p").await;
    tester.sees("screen-20261121140327.svg").await;
    tester.press("enter").await;
    let Content::Text(svg) = &exports(&tester)[0].content else { panic!() };
    assert_eq!(crate::console::picture::xml_fault(svg), None);
    assert!(svg.contains(">restore<") || svg.contains("restore"), "{svg}");
    assert!(!svg.contains("write to"));
    tester.press("ctrl-p ctrl-u screen.txt enter").await;
    let Content::Text(text) = &exports(&tester)[0].content else { panic!() };
    assert!(text.contains("r-7f3a") && text.lines().count() == 40);
}

#[tokio::test]
async fn a_form_has_no_rows_but_has_a_picture() {
    let mut tester = Tester::watching(Screen::Tables, Mode::Normal, (120, 40));
    tester.press("R ctrl-p enter").await;
    assert_eq!(exports(&tester)[0].format, Format::Svg);
}

#[tokio::test]
async fn names_and_records_are_copied_exactly_though_the_screen_escapes_them() {
    let mut tester = Tester::watching(Screen::Tables, Mode::Normal, (120, 40));
    tester.press("down y Y").await;
    assert_eq!(
        copies(&tester),
        ["quotes", "aws dynamodb describe-table --table-name quotes --profile prod --region eu-west-1"]
    );
    tester.press("2 y").await;
    assert_eq!(copies(&tester), ["arn:aws:kinesis:eu-west-1:111122223333:stream/restore"]);
    tester.press("3 y enter d").await;
    assert_eq!(copies(&tester), ["r-7f3a"]);
    tester.send(two_letters());
    tester.press("down Y").await;
    assert_eq!(copies(&tester), ["[]"]);
    // The first is no text: it can't be copied exactly.
    tester.press("up Y").await;
    assert_eq!(copies(&tester), [""; 0]);
    tester.sees("can't be copied exactly").await;
}

#[tokio::test]
async fn over_a_text_it_is_the_text_that_is_copied() {
    let mut tester = Tester::watching(Screen::Tables, Mode::Normal, (120, 40));
    tester.press("? y").await;
    let keys = copies(&tester).remove(0);
    assert!(keys.starts_with("tables (here)\n") && keys.contains("restore a backup into the table"), "{keys}");
    tester.press("esc f1 / l a g enter y").await;
    let words = copies(&tester).remove(0);
    assert!(words.contains("lag ") && !words.contains("quotes"), "{words}");
}

#[tokio::test]
async fn over_a_whole_record_it_is_the_record_that_is_copied() {
    let mut tester = Tester::watching(r7f3a(), Mode::Normal, (120, 40));
    tester.press("d").await;
    tester.send(two_letters());
    tester.press("down enter").await;
    tester.sees("as it came").await;
    tester.press("y").await;
    assert_eq!(copies(&tester), ["[]"]);
    tester.press("esc up enter y").await;
    assert_eq!(copies(&tester), [""; 0]);
    tester.sees("can't be copied exactly").await;
}

#[tokio::test]
async fn a_record_of_a_mebibyte_is_opened_read_to_its_end_and_broken_anew_for_another_screen() {
    let mut tester = Tester::watching(r7f3a(), Mode::Normal, (80, 24));
    tester.press("d").await;
    let Msg::Letters(id, mut letters, total) = two_letters() else { panic!() };
    letters[0].letter.payload = format!("{}the end of it", "x".repeat(1 << 20)).into();
    tester.send(Msg::Letters(id, letters, total));
    tester.press("enter").await;
    tester.sees("bytes     1,048,589").await;
    tester.misses("the end of it").await;
    tester.press("G").await;
    tester.sees("the end of it").await;
    tester.runtime.terminal_mut().backend_mut().resize(40, 12);
    tester.keys.unbounded_send(Ok(Event::Resize(40, 12))).unwrap();
    tester.press("home").await;
    tester.sees("reason    not base64").await;
    tester.press("G").await;
    tester.sees("the end of it").await;
}

#[tokio::test]
async fn what_is_typed_and_what_is_wrong_with_it_are_in_sight_on_a_small_screen() {
    for size in [(80, 24), (40, 12)] {
        let mut tester = Tester::watching(Screen::Jobs, Mode::Normal, size);
        tester
            .press("E ctrl-u /home/op/exports/of/the/night/of/the/great/move/to/the/new/account/jobs.xls enter")
            .await;
        let screen = tester.look().await;
        let lines: Vec<&str> = screen.lines().collect();
        let cursor = tester.runtime.terminal().backend().cursor_position();
        let line = lines[usize::from(cursor.y)];
        assert!(line.starts_with(" file: …") && line.ends_with("/account/jobs.xls"), "{line:?} of\n{screen}");
        assert_eq!(usize::from(cursor.x), line.chars().count());
        // All that is wrong with it, above.
        let wrong = lines[usize::from(cursor.y) - if size.0 == 80 { 1 } else { 2 }..usize::from(cursor.y)].concat();
        assert_eq!(wrong.trim_start(), "it ends in .csv, .json, .svg, .txt, or for a job's report in .html or .md");
        tester.press("ctrl-a").await;
        let screen = tester.look().await;
        let line = screen.lines().nth(usize::from(cursor.y)).unwrap();
        assert!(line.starts_with(" file: /home/op/exports") && line.ends_with('…'), "{line:?} of\n{screen}");
        assert_eq!(tester.runtime.terminal().backend().cursor_position().x, 7);
    }
}

#[tokio::test]
async fn a_question_is_answered_and_not_copied_over() {
    let mut tester = Tester::watching(r7f3a(), Mode::Normal, (120, 40));
    tester.press("+ y").await;
    assert_eq!(copies(&tester), [""; 0]);
}

#[tokio::test]
async fn a_jobs_report_has_a_key_of_its_own() {
    let mut tester = Tester::watching(r7f3a(), Mode::ReadOnly, (120, 40));
    tester.press("o").await;
    tester.sees("r-7f3a-20261121140327.html").await;
    tester.press("enter").await;
    let written = exports(&tester);
    assert_eq!(written[0].content, Content::Report(JobId("r-7f3a".into())));
    assert_eq!(written[0].format, Format::Report(crate::report::Format::Html));
}
