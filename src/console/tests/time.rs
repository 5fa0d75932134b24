//! The time that charts show: zoomed, panned, held, pointed at, and the same on every screen.

use super::*;
use crate::console::effect::ChartQuestion;
use crate::console::range::End;

/// A restore that ran for two hours with a pause of ten minutes, and ended half an hour ago.
fn past_run() -> (Job, Vec<crate::jobs::journal::Sample>) {
    let mut job = fixture::job("r-0a11", State::Done);
    let from = NOW_MS - 9_000_000;
    job.started_ms = Some(from);
    job.ended_ms = Some(NOW_MS - 1_800_000);
    let seconds = (0..7_200_i64).filter(|s| !(3_000..3_600).contains(s));
    let samples = seconds.map(|s| {
        let mut sample = fixture::sample_at(from + s * 1000);
        // It was refused a lot for a minute, and raised after that.
        sample.counters.throttled = (s.clamp(1_200, 1_260) - 1_200) as u64 * 41;
        sample.provisioned_wcu = Some(if s < 2_000 { 130.0 } else { 195.0 });
        sample
    });
    (job, samples.collect())
}

pub(super) fn ended(size: (u16, u16)) -> Tester {
    let tester = Tester::open(Screen::Jobs, Mode::Normal, size);
    let (job, samples) = past_run();
    tester.send(Msg::Jobs(vec![job.clone(), fixture::job("r-7f3a", State::Running)], Vec::new()));
    tester.send(Msg::Samples(job.id, samples, 1000));
    tester.send(Msg::Samples(JobId("r-7f3a".into()), fixture::samples(), 1000));
    tester
}

fn questions(tester: &Tester) -> Vec<ChartQuestion> {
    let asked = tester.did().into_iter().filter_map(|effect| match effect {
        Effect::LoadChart(_, question) => Some(question),
        _ => None,
    });
    asked.collect()
}

#[tokio::test]
async fn an_ended_job_opens_on_its_whole_run_and_is_zoomed_and_panned_within_it() {
    let mut tester = ended((120, 40));
    tester.press("enter").await;
    tester.sees("whole run, 1h 59m").await;
    // 14:03:27 less 2 h 30 m, and less half an hour.
    tester.sees("11:33").await;
    tester.sees("13:33").await;
    tester.press("z").await;
    tester.sees("that is its whole run").await;
    tester.press("Z").await;
    tester.sees("its last 1h").await;
    tester.press("{").await;
    tester.sees("12:03 → 13:03").await;
    tester.press("{ { {").await;
    tester.sees("11:33 → 12:33").await;
    tester.press("{").await;
    tester.sees("there is nothing before this").await;
    tester.press("} } }").await;
    tester.sees("its last 1h").await;
    tester.press("shift-left").await;
    tester.sees("12:03 → 13:03").await;
    tester.press("L").await;
    tester.sees("whole run").await;
}

#[tokio::test]
async fn leaving_a_job_for_its_table_shows_the_same_minutes() {
    let mut tester = ended((120, 40));
    tester.press("enter Z { i").await;
    tester.sees("table historical").await;
    tester.sees("12:03 → 13:03").await;
    let asked = questions(&tester);
    let last = asked.last().unwrap();
    assert_eq!((last.to_ms - NOW_MS + 1000) / 60_000, -60, "{last:?}");
    tester.press("esc").await;
    tester.sees("12:03 → 13:03").await;
    // A list is the present again, and so is the next job.
    tester.press("3 down enter").await;
    tester.sees("live").await;
    tester.misses("12:03 →").await;
}

#[tokio::test]
async fn frozen_charts_say_since_when_and_go_on_where_time_is() {
    let mut tester = Tester::watching(r7f3a(), Mode::Normal, (120, 40));
    tester.press("f").await;
    tester.sees("frozen since 14:03:27").await;
    tester.pass(60_000).await;
    tester.sees("frozen since 14:03:27").await;
    tester.press("f").await;
    tester.sees("live").await;
    tester.misses("frozen").await;
}

#[tokio::test]
async fn panning_back_asks_cloudwatch_for_those_minutes_and_on_ends_live() {
    let mut tester = Tester::watching(Screen::Tables, Mode::Normal, (120, 40));
    tester.press("enter").await;
    tester.sees("1h live").await;
    tester.did();
    tester.press("{").await;
    tester.sees("12:33 → 13:33").await;
    tester.pass(1000).await;
    let asked = questions(&tester);
    assert_eq!(asked.last().map(|q| q.to_ms), Some(NOW_MS - 1_800_000), "{asked:?}");
    tester.pass(30_000).await;
    assert_eq!(questions(&tester), [], "what is past does not change");
    tester.press("}").await;
    tester.sees("13:03 → 14:03").await;
    tester.press("}").await;
    tester.sees("1h live").await;
}

#[tokio::test]
async fn the_crosshair_tells_every_lines_value_at_its_moment_in_every_chart() {
    let mut tester = ended((120, 40));
    tester.press("enter c").await;
    tester.sees("13:33:26").await;
    let screen = tester.screen();
    assert_eq!(screen.matches("13:33:26").count(), 2, "both charts mark the moment\n{screen}");
    tester.press("left left").await;
    // No less than a dot of the window at once.
    assert!(tester.runtime.app.time.cursor_ms < Some(NOW_MS - 1_801_000 - 2 * 17_000));
    tester.press("right right c").await;
    assert_eq!(tester.runtime.app.time.cursor_ms, None);
    tester.press("c esc").await;
    tester.sees("r-0a11").await;
    assert_eq!(tester.runtime.app.time.cursor_ms, None, "esc takes it off before it leaves");
    tester.press("esc").await;
    tester.sees("jobs 2").await;
}

#[tokio::test]
async fn what_stands_out_is_marked_listed_and_gone_through() {
    let mut tester = ended((120, 40));
    tester.press("enter").await;
    for mark in ["▾", "◆", "○"] {
        tester.sees(mark).await;
    }
    tester.press("[").await;
    tester.sees("no worker for 10m").await;
    tester.press("[").await;
    tester.sees("capacity went from 130 to 195, not by this job").await;
    tester.press("[").await;
    tester.sees("2,460 writes refused within").await;
    tester.press("[").await;
    tester.sees("nothing stands out before this").await;
    tester.press("n").await;
    tester.sees("what stands out").await;
    tester.sees("restart").await;
    tester.press("esc esc Z Z").await;
    assert_eq!(tester.runtime.app.time.end, End::Live);
    // Out of the window: the window comes along.
    tester.press("[ [").await;
    let span = tester.runtime.app.span();
    assert!(tester.runtime.app.time.cursor_ms.is_some_and(|at| span.contains(at)));
    tester.sees("capacity went from").await;
}

#[tokio::test]
async fn a_weeks_run_is_read_closer_where_it_is_looked_at() {
    let mut tester = Tester::open(Screen::Jobs, Mode::Normal, (120, 40));
    let (mut job, _) = past_run();
    let week = 7 * 86_400_000;
    job.started_ms = Some(NOW_MS - week);
    job.ended_ms = Some(NOW_MS);
    let samples = (0..4_096).map(|n| fixture::sample_at(NOW_MS - week + n * (week / 4_096)));
    tester.send(Msg::Jobs(vec![job.clone()], Vec::new()));
    tester.send(Msg::Samples(job.id.clone(), samples.collect(), week / 4_096));
    tester.press("enter").await;
    tester.sees("whole run, 6d 23h").await;
    let asked = |tester: &Tester| {
        let did = tester.did().into_iter();
        did.filter_map(|effect| if let Effect::LoadPast(_, q) = effect { Some(q) } else { None }).collect::<Vec<_>>()
    };
    assert_eq!(asked(&tester), [], "the whole is fine enough as it is");
    tester.press("Z Z Z Z").await;
    let closer = asked(&tester);
    assert!(closer.len() >= 2, "{closer:?}");
    let last = closer.last().unwrap();
    assert!(last.step_ms < 10_000 && last.to_ms - last.from_ms >= 3_600_000, "{last:?}");
    let past = &tester.runtime.app.histories[&job.id];
    assert!(past.seconds.len() <= crate::console::history::MOST);
    tester.sees("100").await;
    // A step to the side is within what was read.
    tester.press("{").await;
    assert_eq!(asked(&tester), []);
}

#[tokio::test]
async fn the_scrubber_opens_on_the_minutes_that_the_charts_are_held_at() {
    let mut tester = Tester::watching(Screen::Tables, Mode::Normal, (120, 40));
    tester.press("enter { esc p").await;
    let scrubber = tester.runtime.app.scrubber.as_ref().unwrap();
    assert_eq!((scrubber.from_us, scrubber.span_us()), ((NOW_MS - 5_400_000) * 1000, 3_600_000_000));
}
