//! The keys that the screen names: each does what is said of it, where it is said.

use super::*;
use crate::cloud::Context;
use crate::console::app::{Overlay, Text};
use crate::flow::Limit;
use crate::jobs::Binding;
use crate::jobs::spec::{PlaybackSpec, WorkSpec};

/// A put worker at work, on screen; one table binds it, or its source does.
fn a_put_worker(limit: Limit) -> Tester {
    let id = JobId("w-1".into());
    let spec = Spec::Work(WorkSpec { stream: "puts".into(), ..WorkSpec::default() });
    let tester = Tester::open(Screen::Job(id.clone()), Mode::Normal, (160, 40));
    tester.send(Msg::Jobs(vec![Job { spec, ..fixture::job("w-1", State::Running) }], Vec::new()));
    let mut samples = fixture::samples();
    if let Some(last) = samples.last_mut() {
        last.binding = Some(Binding { limit, ..fixture::binding() });
    }
    tester.send(Msg::Samples(id, samples, 1000));
    tester
}

#[tokio::test]
async fn plus_raises_the_table_that_holds_a_put_worker_back() {
    let mut tester = a_put_worker(Limit::Table { wcu: Some(130.0) });
    tester.sees("+ raises it to 195").await;
    tester.sees("more WCU").await;
    tester.press("+").await;
    tester.sees("Raise the write capacity of historical").await;
    tester.press("y").await;
    let resource = Resource::Table("historical".into());
    assert_eq!(tester.changed(), [Effect::SetCapacity { resource, from: 130, to: 195, job: None }]);
}

#[tokio::test]
async fn a_put_worker_that_no_table_holds_back_has_no_capacity_to_raise_and_says_so() {
    let mut tester = a_put_worker(Limit::Source);
    tester.misses("raises it to").await;
    tester.misses("more WCU").await;
    for key in ["+", "-", "=", "u", "i"] {
        tester.press(key).await;
        tester.sees("no table holds w-1 back now").await;
        tester.pass(13_000).await;
    }
    assert_eq!(tester.changed(), []);
}

#[tokio::test]
async fn no_key_is_named_for_the_capacity_of_a_job_that_acts_elsewhere() {
    let mut tester = Tester::watching(r7f3a(), Mode::Normal, (160, 40));
    tester.sees("+ raises it to 195").await;
    let context = Context { region: Some("us-west-2".into()), ..fixture::context() };
    tester.send(Msg::Jobs(vec![Job { context, ..fixture::job("r-7f3a", State::Running) }], Vec::new()));
    tester.sees("r-7f3a acts elsewhere (us-west-2): open sluice there").await;
    tester.misses("raises it to").await;
    tester.misses("more WCU").await;
    tester.press("+ y i").await;
    assert_eq!((tester.changed(), &tester.runtime.app.screen), (vec![], &r7f3a()));
}

/// The list of jobs with these, or the screen of the only one.
fn with_jobs(screen: Screen, jobs: Vec<Job>) -> Tester {
    let tester = Tester::open(screen, Mode::Normal, (160, 30));
    tester.send(Msg::Jobs(jobs, Vec::new()));
    tester
}

#[tokio::test]
async fn the_job_that_is_said_to_be_taken_up_again_is_the_one_that_the_key_acts_on() {
    let states = [("r-1111", State::Running), ("r-2222", State::Interrupted), ("r-3333", State::Failed)];
    let mut tester = with_jobs(Screen::Jobs, states.into_iter().map(|(id, state)| fixture::job(id, state)).collect());
    tester.sees("r-2222 is interrupted").await;
    tester.sees(". Select it: p takes it up again").await;
    tester.press("down").await;
    tester.sees("r-2222 is interrupted").await;
    tester.sees("%; p takes it up again").await;
    tester.press("down").await;
    tester.sees("r-3333 is failed").await;
    tester.press("p").await;
    tester.sees("Take r-3333 up again where its last checkpoint was").await;
}

#[tokio::test]
async fn a_job_without_a_checkpoint_is_started_over_and_said_so() {
    let verify = || Job {
        spec: Spec::Verify(crate::jobs::VerifySpec { table: "historical".into(), ..Default::default() }),
        ..fixture::job("v-1a2b", State::Interrupted)
    };
    let mut tester = with_jobs(Screen::Jobs, vec![verify()]);
    tester.sees("p starts it over").await;
    let mut tester = with_jobs(Screen::Job(JobId("v-1a2b".into())), vec![verify()]);
    tester.sees("p starts it over, from its beginning").await;
    tester.misses("checkpoint").await;
    tester.press("p").await;
    tester.sees("Start v-1a2b over, from its beginning").await;
    tester.press("y").await;
    assert_eq!(tester.changed(), [Effect::Resume(JobId("v-1a2b".into()))]);
}

#[tokio::test]
async fn a_playback_to_standard_output_is_not_offered_to_be_taken_up() {
    let playback = || Job {
        spec: Spec::Playback(PlaybackSpec { events: "events".into(), sink: "-".into(), ..PlaybackSpec::default() }),
        ..fixture::job("y-1a2b", State::Failed)
    };
    let mut tester = with_jobs(Screen::Jobs, vec![playback()]);
    tester.misses("takes it up again").await;
    let mut tester = with_jobs(Screen::Job(JobId("y-1a2b".into())), vec![playback()]);
    tester.sees("start it anew, from the time of the last line").await;
    tester.misses("takes it up").await;
    tester.press("p y").await;
    tester.sees("y-1a2b is failed: what went to standard output can't be gone on with").await;
    assert_eq!(tester.changed(), []);
}

fn raised(resource: Resource, region: &str) -> Bump {
    Bump {
        number: 1,
        context: Context { region: Some(region.into()), ..fixture::context() },
        resource,
        before: 65,
        after: 130,
        from: 65,
        at_ms: NOW_MS,
        job: None,
    }
}

#[tokio::test]
async fn what_was_raised_is_named_on_its_own_list_with_the_row_that_the_key_acts_on() {
    let mut tester = Tester::open(Screen::Tables, Mode::Normal, (120, 30));
    let (quotes, stream) = (Resource::Table("quotes".into()), Resource::Stream("restore".into()));
    // Neither what is elsewhere, nor what another list holds.
    let others = vec![raised(quotes.clone(), "us-west-2"), raised(stream, "eu-west-1")];
    tester.send(Msg::Jobs(Vec::new(), others.clone()));
    tester.misses("gives it back").await;
    tester.press("2").await;
    tester.sees("stream restore was raised from 65 to 130 shards; u gives it back").await;
    tester.send(Msg::Jobs(Vec::new(), [others, vec![raised(quotes, "eu-west-1")]].concat()));
    tester.press("1 home").await;
    tester.sees("table quotes was raised from 65 to 130 WCU. Select it: u gives it back").await;
    tester.press("down").await;
    tester.sees("table quotes was raised from 65 to 130 WCU; u gives it back").await;
}

#[tokio::test]
async fn a_text_is_scrolled_to_its_end_and_from_there_at_once_back() {
    let mut tester = Tester::watching(r7f3a(), Mode::Normal, (80, 24));
    let note = |n| crate::jobs::journal::Note {
        number: n,
        at_ms: NOW_MS + n * 1000,
        level: "info".into(),
        words: format!("note <{n}> of many, in words that are so long that a line has no room for all of them"),
    };
    tester.send(Msg::Notes(JobId("r-7f3a".into()), (1..=60).map(note).collect()));
    tester.press("l").await;
    tester.sees("<60>").await;
    tester.press("home").await;
    tester.misses("<60>").await;
    for keys in ["G", "g e"] {
        tester.press("home").await;
        tester.press(keys).await;
        tester.sees("room for all of them").await;
        tester.sees("<60>").await;
    }
    tester.press("k k").await;
    tester.misses("<60>").await;
    // One long line is scrolled as the lines that it is wrapped into.
    let words = (0..2_000).map(|n| format!("word{n}")).collect::<Vec<_>>().join(" ");
    tester.runtime.app.overlay = Some(Overlay::Text(Text::new("event", vec![words])));
    tester.press("G").await;
    tester.sees("word1999").await;
}

#[tokio::test]
async fn over_a_text_the_help_that_its_footer_names_is_opened() {
    let mut tester = Tester::watching(r7f3a(), Mode::Normal, (120, 40));
    tester.press("l ?").await;
    tester.sees("job (here)").await;
    tester.press("esc").await;
    tester.misses("job (here)").await;
    assert_eq!(tester.runtime.app.screen, r7f3a());
}

#[tokio::test]
async fn where_something_is_typed_no_key_is_named_that_would_be_typed_too() {
    let mut tester = Tester::watching(Screen::Tables, Mode::Normal, (120, 40));
    tester.sees("1 Tables   2 Streams").await;
    for (keys, has_words) in [("R", true), ("B", true), ("M", true), ("/", false), ("P", false)] {
        tester.press(keys).await;
        let screen = tester.look().await;
        let tabs = screen.lines().nth(1).unwrap_or_default();
        assert!(tabs.contains("Tables     Streams") && !tabs.contains("2 Streams"), "{keys}: {tabs}");
        assert!(!tabs.contains("help") && !tabs.contains("palette"), "{keys}: {tabs}");
        assert_eq!(tabs.contains("f1 words"), has_words, "{keys}: {tabs}");
        if has_words {
            tester.press("f1").await;
            tester.sees("on this screen").await;
            tester.press("?").await;
            tester.sees("form (here)").await;
            tester.press("esc").await;
        }
        tester.press("esc").await;
        assert_eq!(tester.runtime.app.screen, Screen::Tables, "{keys}");
    }
    // The palette lies over the rest of the line.
    tester.press(":").await;
    tester.misses("palette   ? help").await;
}

#[tokio::test]
async fn words_name_the_keys_of_the_persons_own_keymap() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let own = "[job]\npause = [\"K\"]\nraise = [\"U\"]\ncancel = [\"D\"]\n[tables]\ngive_back = [\"W\"]\n\
               [global]\nback = [\"ctrl-b\"]\n[palette]\naccept = [\"ctrl-y\"]\n";
    std::fs::write(file.path(), own).unwrap();
    let mut tester = Tester::watching(r7f3a(), Mode::Normal, (200, 40));
    tester.runtime.app.keymap = keymap::load(Some(file.path())).unwrap();
    for (keys, words) in [
        ("K", "resume (K) lets it go on where it stopped"),
        ("-", "raise it again (U): a lowered table"),
        ("v", "it changes nothing; cancel (D) ends it"),
    ] {
        tester.press(keys).await;
        tester.sees(words).await;
        tester.press("n").await;
    }
    tester.press("d").await;
    tester.send(Msg::Letters(JobId("r-7f3a".into()), Vec::new(), 0));
    tester.sees("sluice dead list r-7f3a --all").await;
    tester.sees("ctrl-b goes back").await;
    tester.press("1 home down +").await;
    tester.sees("give back (W) sets it back").await;
    tester.press("n :").await;
    tester.sees("ctrl-y runs it, tab completes it").await;
}
