//! The keys that the screen names: each does what is said of it, where it is said.

use super::*;
use crate::cloud::Context;
use crate::flow::Limit;
use crate::jobs::Binding;
use crate::jobs::spec::WorkSpec;

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
