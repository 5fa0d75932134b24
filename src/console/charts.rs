//! The window of the charts, and what CloudWatch knows of it: which period is asked for, what is still to be asked.

use super::app::{App, Screen};
use super::effect::{ChartQuestion, Effect, PastQuestion, Request};
use super::history::{GAP_MS, SECOND_MS};
use crate::cloud::metrics::{self, Point};
use crate::flow::Counters;
use crate::jobs::JobId;
use crate::jobs::journal::Sample;

/// How often AWS gives a new value of provisioned capacity, ms, at the slowest.
const PROVISIONED_MS: i64 = 5 * 60_000;

/// What CloudWatch knows of a table or an index over a window: sums of each period, and the capacity in it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lines {
    /// Write capacity consumed in each period, WCU.
    pub written: Vec<Point>,
    /// Read capacity consumed in each period, RCU.
    pub read: Vec<Point>,
    /// Writes refused in each period.
    pub writes_refused: Vec<Point>,
    /// Reads refused in each period.
    pub reads_refused: Vec<Point>,
    /// Provisioned write capacity, WCU.
    pub write_provisioned: Vec<Point>,
    /// Provisioned read capacity, RCU.
    pub read_provisioned: Vec<Point>,
}

/// What CloudWatch knows of a table and its indexes over a window.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TableChart {
    /// The table.
    pub table: String,
    /// Length of a period, ms.
    pub period_ms: i64,
    /// The table itself (`None`) and its indexes.
    pub of: Vec<(Option<String>, Lines)>,
}

impl TableChart {
    /// The lines of the table itself or of an index.
    pub fn lines(&self, index: Option<&str>) -> Option<&Lines> {
        self.of.iter().find(|(of, _)| of.as_deref() == index).map(|(_, lines)| lines)
    }

    /// Sums of periods as units a second. The period that is still going on is left out: its sum is not whole.
    pub fn per_second(&self, sums: &[Point], now_ms: i64) -> Vec<Point> {
        let seconds = self.period_ms as f64 / 1000.0;
        let whole = sums.iter().filter(|(at, _)| at + self.period_ms <= now_ms);
        whole.map(|(at, sum)| (*at, sum / seconds)).collect()
    }

    /// How long a value of provisioned capacity holds until the next, ms.
    pub fn provisioned_holds_ms(&self) -> i64 {
        self.period_ms.max(PROVISIONED_MS)
    }

    /// How the lines of all that use the table are called: by the length of their period.
    pub fn all_name(&self) -> &'static str {
        match self.period_ms / 60_000 {
            0 | 1 => "all/min",
            5 => "all/5m",
            15 => "all/15m",
            _ => "all/h",
        }
    }
}

/// What our own jobs did to a table, all of them together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ours {
    /// How much each second: a point in each second in which one of them has one.
    pub points: Vec<Point>,
    /// Points further apart than this, ms, have a gap between them.
    pub gap_ms: i64,
}

/// What the charts on screen show: whose, how long, and up to when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shown {
    table: String,
    window_ms: i64,
    /// `None` goes on with time.
    end_ms: Option<i64>,
    indexes: usize,
}

impl App {
    /// CloudWatch charges for each metric asked for; the embedded one doesn't.
    pub(super) fn minutes_every(&self) -> i64 {
        if self.place.context.is_loopback() { 5000 } else { 30_000 }
    }

    /// The question whose answer the charts on screen need, when its time has come.
    pub(super) fn due_chart(&mut self, effects: &mut Vec<Effect>) {
        let table = match &self.screen {
            Screen::Table(name) => name.clone(),
            Screen::Job(id) => {
                let Some(job) = self.job(id).filter(|job| self.is_here(&job.context)) else { return };
                job.spec.table_here().to_owned()
            }
            _ => return,
        };
        let span = self.span();
        let (window_ms, end_ms) = (span.window_ms(), (span.to_ms != self.now_ms).then_some(span.to_ms));
        if table.is_empty() {
            return;
        }
        let described = self.table(&table);
        let indexes: Vec<String> =
            described.map(|t| t.indexes.iter().map(|index| index.name.clone()).collect()).unwrap_or_default();
        let shown = Shown { table: table.clone(), window_ms, end_ms, indexes: indexes.len() };
        let to_ms = end_ms.unwrap_or(self.now_ms);
        let period_s = metrics::period_s(to_ms - window_ms, to_ms, self.now_ms);
        // A minute is known a minute or two after it ended, and not better later.
        let is_past = self.now_ms - to_ms > 10 * 60_000;
        let every = self.minutes_every().max(i64::from(period_s) * 100);
        if let Some((before, at)) = &self.chart_asked
            && *before == shown
            && (is_past || self.now_ms - at < every)
        {
            return;
        }
        self.chart_asked = Some((shown, self.now_ms));
        self.chart_request = self.next_request();
        let period_ms = i64::from(period_s) * 1000;
        let from_ms = (to_ms - window_ms).div_euclid(period_ms) * period_ms;
        let question = ChartQuestion { table, indexes, from_ms, to_ms, period_s };
        effects.push(Effect::LoadChart(self.chart_request, question));
    }

    /// The part of a long past that is on screen, closer than the whole of it is kept; with as much to each side, so that a
    /// step to the side needs no question.
    pub(super) fn due_past(&mut self, id: &JobId, effects: &mut Vec<Effect>) {
        let span = self.span();
        let Some(step_ms) = self.histories.get(id).and_then(|past| past.wants(span.from_ms, span.to_ms)) else {
            return;
        };
        let beside = span.window_ms() / 2;
        let (from_ms, to_ms) = (span.from_ms - beside, span.to_ms + beside);
        let question = PastQuestion { job: id.clone(), from_ms, to_ms, step_ms };
        if self.past_asked.as_ref().is_some_and(|(_, asked)| *asked == question) {
            return;
        }
        let request = self.next_request();
        self.past_asked = Some((request, question.clone()));
        effects.push(Effect::LoadPast(request, question));
    }

    /// A part of a past was read.
    pub(super) fn took_past(&mut self, request: Request, of: &PastQuestion, answer: Result<Vec<Sample>, String>) {
        if self.past_asked.as_ref().is_none_or(|(asked, _)| *asked != request) {
            return;
        }
        match (answer, self.histories.get_mut(&of.job)) {
            (Ok(samples), Some(past)) => past.take_detail(of.from_ms, of.to_ms, of.step_ms, &samples),
            (Err(words), _) => self.say(words, true),
            (Ok(_), None) => {}
        }
    }

    /// What our own jobs did to `table` from `from_ms` on: all of them together. An old past is kept in steps, and each job
    /// in its own: what it did within a step counts wherever another job has a point there.
    pub fn ours(&self, table: &str, from_ms: i64, of: impl Fn(&Counters) -> f64) -> Ours {
        let jobs =
            self.jobs.iter().flatten().filter(|job| job.spec.table_here() == table && self.is_here(&job.context));
        let (mut moments, mut all, mut gap_ms) = (Vec::new(), Vec::new(), GAP_MS);
        for job in jobs {
            let Some(past) = self.histories.get(&job.id) else { continue };
            let mut paces = past.paces(from_ms, &of);
            let Some(&(_, last, rate)) = paces.last() else { continue };
            gap_ms = gap_ms.max(past.gap_ms());
            moments.extend(paces.iter().map(|(_, at, _)| *at));
            if job.state.is_live() {
                // Its next sample is still to come; another job's may be here already.
                paces.push((last, last + GAP_MS, rate));
            }
            all.push(paces);
        }
        moments.sort_unstable();
        moments.dedup_by_key(|at| at.div_euclid(SECOND_MS));
        let mut points: Vec<Point> = moments.into_iter().map(|at| (at, 0.0)).collect();
        for paces in all {
            let mut paces = paces.into_iter().peekable();
            for (at, sum) in &mut points {
                while paces.next_if(|(_, until, _)| *until < *at).is_some() {}
                let Some((since, _, rate)) = paces.peek() else { break };
                if *since < *at {
                    *sum += rate;
                }
            }
        }
        Ours { points, gap_ms }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::app::Place;
    use crate::console::history::History;
    use crate::console::theme::Theme;
    use crate::console::view::charts::on_screen;
    use crate::console::widget::chart::Shape;
    use crate::console::{fixture, keymap};
    use crate::jobs::journal::State;

    /// The table `historical` on screen, and the given pasts of jobs that write it: each with its state.
    fn written_by(pasts: Vec<(State, History)>) -> App {
        let place = Place { region: "eu-west-1".into(), context: fixture::context(), ..Place::default() };
        let screen = Screen::Table("historical".into());
        let mut app = App::new(place, keymap::load(None).unwrap(), Theme::plain(true), screen, fixture::NOW_MS);
        app.tables.rows = Some(fixture::tables());
        let mut jobs = Vec::new();
        for (n, (state, past)) in pasts.into_iter().enumerate() {
            let job = fixture::job(&format!("r-{n}"), state);
            app.histories.insert(job.id.clone(), past);
            jobs.push(job);
        }
        app.jobs = Some(jobs);
        app
    }

    /// `wcu` a second over the half hour before `until_ms`, sampled every `step_ms` with its last sample there.
    fn past(wcu: f64, step_ms: i64, until_ms: i64) -> History {
        let mut past = History::default();
        let from_ms = until_ms - 1_800_000 / step_ms * step_ms;
        let sample = |at_ms: i64| {
            let counters = Counters { wcu: wcu * (at_ms - from_ms) as f64 / 1000.0, ..Counters::default() };
            Sample { at_ms, counters, ..Sample::default() }
        };
        past.extend_by((from_ms..=until_ms).step_by(step_ms as usize).map(sample).collect(), step_ms);
        past
    }

    #[test]
    fn what_jobs_did_together_is_their_sum_also_where_each_is_kept_in_steps_of_its_own() {
        let now = fixture::NOW_MS;
        let pasts = [past(100.0, 16_000, now - 9_000), past(30.0, 7_000, now - 6_000), past(0.0, 1_000, now - 9_000)];
        let app = written_by(pasts.map(|past| (State::Done, past)).into());
        let charts = on_screen(&app);
        let ours = charts[0].chart.series.iter().find(|series| series.name == "ours").unwrap();
        assert_eq!(ours.shape, Shape::Line(5_000 + 2 * 16_000));
        let (begun, ended) = (now - 1_780_000, now - 9_000);
        let together: Vec<f64> =
            ours.points.iter().filter(|(at, _)| (begun..=ended).contains(at)).map(|(_, rate)| *rate).collect();
        assert!(together.len() > 1_700, "{}", together.len());
        assert!(together.iter().all(|rate| (rate - 130.0).abs() < 1e-6), "{together:?}");
        assert_eq!(ours.points.last().unwrap().0, now - 6_000);
        // Then only the second was there.
        assert!((ours.points.last().unwrap().1 - 30.0).abs() < 1e-6, "{:?}", ours.points.last());
    }

    #[test]
    fn a_running_job_whose_next_sample_is_still_to_come_goes_on_as_it_did() {
        let now = fixture::NOW_MS;
        let app = |state| written_by(vec![(state, past(100.0, 1_000, now - 1_300)), (state, past(30.0, 1_000, now))]);
        let newest = |app: &App| app.ours("historical", now - 60_000, |c| c.wcu).points.last().unwrap().1.round();
        assert_eq!((newest(&app(State::Running)), newest(&app(State::Done))), (130.0, 30.0));
    }

    #[test]
    fn a_period_that_is_not_over_is_no_point_and_a_missing_one_is_no_zero() {
        let chart = TableChart { period_ms: 60_000, ..TableChart::default() };
        let sums = [(0, 600.0), (120_000, 1_200.0), (180_000, 6.0)];
        assert_eq!(chart.per_second(&sums, 200_000), [(0, 10.0), (120_000, 20.0)]);
    }
}
