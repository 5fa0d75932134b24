//! Reads of the scrubber, done outside of it: tables are opened once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;

use super::scrubber::LATEST_US;
use super::{Answer, HourSummary, Question, What};
use crate::cloud::{Cloud, CloudError};
use crate::event::read::EventRead;
use crate::event::{Filter, Range, Reach, around};
use crate::jobs::playback::open;

/// Hours of the directory that are asked for at once.
const AT_ONCE: usize = 8;
/// Events that are read on each side of the playhead, and how far they are looked for.
const REACH: Reach = Reach { most: 60, page: 60, hours: 48, looked_at: 5_000 };
/// Rows read at once where most are left out.
const FILTERED_PAGE: u32 = 1_000;

/// Event tables that were opened, by name.
#[derive(Clone, Default)]
pub struct Readers(Arc<Mutex<HashMap<String, Arc<dyn EventRead>>>>);

impl Readers {
    /// Reads what `question` asks for.
    ///
    /// # Errors
    /// The table is none, or can't be read.
    pub async fn answer(&self, cloud: &Cloud, question: Question) -> Result<Answer, CloudError> {
        answer(self.reader(cloud, &question.table).await?, question.what).await
    }

    async fn reader(&self, cloud: &Cloud, table: &str) -> Result<Arc<dyn EventRead>, CloudError> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(table).cloned();
        if let Some(reader) = known {
            return Ok(reader);
        }
        let reader = open(cloud, table, None).await?;
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(table.to_owned(), Arc::clone(&reader));
        Ok(reader)
    }
}

/// Reads `what` of an event table.
pub(in crate::console) async fn answer(read: Arc<dyn EventRead>, what: What) -> Result<Answer, CloudError> {
    match what {
        What::Watermark => Ok(Answer::Watermark(read.layout(), read.watermark().await?)),
        What::Hours { hours, slots } => {
            let read = &read;
            let counted = stream::iter(hours)
                .map(|hour| async move { Ok::<_, CloudError>(HourSummary::of(hour, read.hour(hour).await?, slots)) })
                .buffered(AT_ONCE);
            Ok(Answer::Hours(counted.try_collect().await?))
        }
        What::Around { at, filter: text } => {
            let filter = Filter::new(&text);
            let all =
                Range::new(Timestamp::UNIX_EPOCH, super::time(LATEST_US)).expect("the epoch is before the year 9999");
            let reach = if text.is_empty() { REACH } else { Reach { page: FILTERED_PAGE, ..REACH } };
            let found = around(read.as_ref(), all, at, reach, |event| filter.wants(event)).await?;
            Ok(Answer::Around(Box::new(found)))
        }
    }
}
