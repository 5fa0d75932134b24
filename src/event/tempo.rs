//! Tempo: when each event is due, so that they come as they happened, times a speed.

use std::time::Duration;

use hdrhistogram::Histogram;
use jiff::Timestamp;

/// Keeps time open loop: each event is due by its own time after the first one's, so that lateness never adds up.
#[derive(Clone, Debug)]
pub struct Tempo {
    speed: f64,
    /// The time of the event that was first, and the clock's then.
    began: Option<(Timestamp, Duration)>,
    /// How late events were, µs.
    late: Histogram<u64>,
}

/// How late events were played.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Lateness {
    /// Events that were paced.
    pub events: u64,
    /// The middle one, ms.
    pub median_ms: f64,
    /// One in a hundred was later than that, ms.
    pub p99_ms: f64,
    /// The worst, ms.
    pub worst_ms: f64,
}

/// The largest lateness that is told apart, µs: an hour.
const LATEST: u64 = 3_600_000_000;

impl Tempo {
    /// `speed` times as fast as they happened.
    ///
    /// # Panics
    /// Never: the histogram's bounds are constants that hold.
    pub fn new(speed: f64) -> Self {
        let late = Histogram::new_with_max(LATEST, 3).expect("the bounds are constants that hold");
        Self { speed, began: None, late }
    }

    /// How long to wait until an event of `time` is due, when the clock says `now`. The first one is due at once.
    pub fn wait(&mut self, time: Timestamp, now: Duration) -> Duration {
        let (first, began) = *self.began.get_or_insert((time, now));
        (began + self.since(first, time)).saturating_sub(now)
    }

    /// An event of `time` is played when the clock says `now`.
    pub fn played(&mut self, time: Timestamp, now: Duration) {
        if let Some((first, began)) = self.began {
            let late = now.saturating_sub(began + self.since(first, time));
            self.late.saturating_record(u64::try_from(late.as_micros()).unwrap_or(LATEST));
        }
    }

    /// Time stood still (paused, or nothing more was complete): the next event is due at once, and all after it from then.
    pub fn begin_again(&mut self) {
        self.began = None;
    }

    /// How late events were so far.
    pub fn lateness(&self) -> Lateness {
        let ms = |us: u64| us as f64 / 1000.0;
        Lateness {
            events: self.late.len(),
            median_ms: ms(self.late.value_at_quantile(0.5)),
            p99_ms: ms(self.late.value_at_quantile(0.99)),
            worst_ms: ms(self.late.max()),
        }
    }

    fn since(&self, first: Timestamp, time: Timestamp) -> Duration {
        let micros = (time.as_microsecond() - first.as_microsecond()).max(0);
        Duration::try_from_secs_f64(micros as f64 / 1e6 / self.speed).unwrap_or(Duration::MAX / 4)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        format!("2018-03-04T14:00:{text}Z").parse().unwrap()
    }

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn events_are_due_by_their_own_time_times_the_speed() {
        let mut tempo = Tempo::new(10.0);
        assert_eq!(tempo.wait(at("00"), ms(5000)), ms(0));
        assert_eq!(tempo.wait(at("01"), ms(5000)), ms(100));
        assert_eq!(tempo.wait(at("01.5"), ms(5100)), ms(50));
        let mut slow = Tempo::new(0.1);
        slow.wait(at("00"), ms(0));
        assert_eq!(slow.wait(at("00.25"), ms(0)), ms(2500));
    }

    #[test]
    fn lateness_is_measured_and_never_adds_up() {
        let mut tempo = Tempo::new(1.0);
        tempo.wait(at("00"), ms(0));
        tempo.played(at("00"), ms(0));
        // This one was held up for 30 ms: the next is due when it would have been without that.
        assert_eq!(tempo.wait(at("01"), ms(0)), ms(1000));
        tempo.played(at("01"), ms(1030));
        assert_eq!(tempo.wait(at("02"), ms(1030)), ms(970));
        tempo.played(at("02"), ms(2000));
        let late = tempo.lateness();
        assert_eq!((late.events, late.median_ms), (3, 0.0));
        assert!((29.9..30.1).contains(&late.worst_ms), "{late:?}");
    }

    #[test]
    fn after_a_pause_it_goes_on_from_the_next_event() {
        let mut tempo = Tempo::new(1.0);
        tempo.wait(at("00"), ms(0));
        tempo.begin_again();
        assert_eq!(tempo.wait(at("30"), ms(99_000)), ms(0));
        assert_eq!(tempo.wait(at("31"), ms(99_000)), ms(1000));
    }
}
