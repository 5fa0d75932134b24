//! Playback: events of the event table, in order, to a file or a stream.

use super::spec::PlaybackSpec;
use super::worker::{End, JobError, Session};

pub(super) async fn run(_session: &Session<'_>, _spec: &PlaybackSpec) -> Result<End, JobError> {
    Err(JobError::Unfit("not built yet".to_owned()))
}
