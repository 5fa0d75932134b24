//! `sluice pause`, `resume`, `cancel` and `rate`: controls that the job's worker reads from the journal.

use clap::Args;
use serde_json::json;

use super::report::{Exit, Report};
use super::session::Session;
use super::{guarded, print};
use crate::jobs::JobId;
use crate::jobs::journal::{Control, Job, State};

/// A job.
#[derive(Debug, Args)]
pub struct JobArgs {
    /// The job, as `sluice jobs` names it.
    #[arg(add = super::complete::live_jobs())]
    pub id: String,
}

/// A job and its cap.
#[derive(Debug, Args)]
pub struct RateArgs {
    /// The job, as `sluice jobs` names it.
    #[arg(add = super::complete::live_jobs())]
    pub id: String,
    /// Items per second; `off` lifts the cap.
    #[arg(value_name = "N", value_parser = cap)]
    pub cap: Cap,
}

/// Items per second at most, or no cap.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cap(pub Option<f64>);

fn cap(text: &str) -> Result<Cap, String> {
    if text == "off" {
        return Ok(Cap(None));
    }
    per_second(text).map(|rate| Cap(Some(rate)))
}

/// A rate above zero, from an argument.
pub fn per_second(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate.is_finite() && rate > 0.0 => Ok(rate),
        _ => Err("not a number above zero".to_owned()),
    }
}

/// `20%`, or `0.2`.
pub fn share(text: &str) -> Result<f64, String> {
    let parsed = match text.strip_suffix('%') {
        Some(percent) => percent.trim().parse::<f64>().map(|n| n / 100.0),
        None => text.parse(),
    };
    parsed.ok().filter(|share| (0.0..1.0).contains(share)).ok_or_else(|| format!("{text:?} is no share: write 20%"))
}

/// What a job that writes a table is held to.
#[derive(Clone, Debug, Default, Args)]
pub struct Brakes {
    /// Write at most so many items per second.
    #[arg(long, value_name = "N", value_parser = per_second)]
    pub rate: Option<f64>,
    /// Consume at most so much write capacity of the table that is written, WCU.
    #[arg(long, value_name = "WCU", value_parser = per_second)]
    pub max_wcu: Option<f64>,
    /// Leave this share of that table's write capacity to others, such as 20%.
    #[arg(long, value_name = "SHARE", value_parser = share)]
    pub leave: Option<f64>,
}

/// Lets a job write nothing until it is resumed.
pub fn pause(args: &JobArgs, session: &Session) -> Result<Exit, Report> {
    control(args, session, Control::Pause, "pauses")
}

/// Lets a paused job go on.
pub fn resume(args: &JobArgs, session: &Session) -> Result<Exit, Report> {
    control(args, session, Control::Run, "goes on")
}

/// Stops a job for good.
pub fn cancel(args: &JobArgs, session: &Session) -> Result<Exit, Report> {
    let journal = session.journal()?;
    let job = journal.job(&JobId(args.id.clone()))?;
    if !job.state.can_resume() || journal.is_alive(&job.id) {
        return control(args, session, Control::Cancel, "stops for good");
    }
    // No worker is there to hear it.
    if let Some(exit) = guarded::may_tell(session, &journal, &job, "cancel", "")? {
        return Ok(exit);
    }
    journal.set_state(&job.id, State::Cancelled)?;
    told(&job, "is cancelled", session)
}

/// Caps a job.
pub fn rate(args: &RateArgs, session: &Session) -> Result<Exit, Report> {
    let journal = session.journal()?;
    let job = live(&journal.job(&JobId(args.id.clone()))?)?;
    let said = args.cap.0.map_or("off".to_owned(), |rate| rate.to_string());
    if let Some(exit) = guarded::may_tell(session, &journal, &job, "rate", &said)? {
        return Ok(exit);
    }
    journal.set_rate(&job.id, args.cap.0)?;
    let words = match args.cap.0 {
        Some(rate) => format!("is capped at {rate} items/s"),
        None => "is no longer capped".to_owned(),
    };
    told(&job, &words, session)
}

fn control(args: &JobArgs, session: &Session, control: Control, words: &str) -> Result<Exit, Report> {
    let journal = session.journal()?;
    let job = live(&journal.job(&JobId(args.id.clone()))?)?;
    let command = match control {
        Control::Run => "resume",
        Control::Pause => "pause",
        Control::Cancel => "cancel",
    };
    if let Some(exit) = guarded::may_tell(session, &journal, &job, command, "")? {
        return Ok(exit);
    }
    journal.set_control(&job.id, control)?;
    told(&job, words, session)
}

/// The job, if a worker has it in hand.
fn live(job: &Job) -> Result<Job, Report> {
    if job.state.is_live() {
        return Ok(job.clone());
    }
    let hint = if job.state.can_resume() {
        format!("take it up again with: {}", job.kind().again(&job.id))
    } else {
        "it has ended".to_owned()
    };
    Err(Report::failed(format!("job {} is {}: no worker runs it", job.id, job.state.as_str()), hint))
}

fn told(job: &Job, words: &str, session: &Session) -> Result<Exit, Report> {
    let row = json!({ "job": job.id, "kind": job.kind(), "said": words });
    print::said(session, &format!("{} {} {words}", job.kind(), job.id), &row)?;
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cap_is_above_zero_or_off() {
        assert_eq!(cap("250"), Ok(Cap(Some(250.0))));
        assert_eq!(cap("off"), Ok(Cap(None)));
        for wrong in ["0", "-3", "NaN", "inf", "many"] {
            assert!(cap(wrong).is_err(), "{wrong}");
        }
    }
}
