//! Opens a table of BigQuery as a replica: looks at it, or makes it, and its dataset, from the source's key and a sample.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::access::Access;
use super::append::channel;
use super::column::{Columns, Keeps, log};
use super::name::TableId;
use super::service::{MADE, Making, Service};
use super::sink::{BigQueryReplica, unfit};
use crate::cloud::{Class, CloudError, Guard};
use crate::flow::{Backoff, Clock, Patience};
use crate::item::KeySchema;

/// What a replica in BigQuery is.
#[derive(Clone, Debug)]
pub struct Options {
    /// The table.
    pub table: TableId,
    /// What it keeps.
    pub keeps: Keeps,
    /// The JSON column that attributes go into that have no column of their own; `None` adds a column for each.
    pub unknown_into: Option<String>,
    /// Where the dataset is made if it is not there, such as `EU`; `None` is BigQuery's default.
    pub location: Option<String>,
    /// How old what a query sees may be at most; `None` is BigQuery's default, always fresh.
    pub max_staleness: Option<Duration>,
    /// The source table's name, for the description of a table that is made.
    pub source: String,
    /// The source table's key.
    pub key: KeySchema,
    /// Seeds the jitter of the backoffs.
    pub seed: u64,
}

/// Opens the replica. `sample` gives some of the source's items: it is asked only when the table is to be made.
///
/// # Errors
/// What the table is does not fit ([`super::Conflict`], in words), or BigQuery can't be asked.
pub async fn open<F, Sampled>(
    options: Options,
    access: &Access,
    guard: Arc<Guard>,
    clock: Arc<dyn Clock>,
    sample: F,
) -> Result<BigQueryReplica, CloudError>
where
    F: FnOnce() -> Sampled,
    Sampled: Future<Output = Result<Vec<Bytes>, CloudError>>,
{
    let Options { table, keeps, unknown_into, location, max_staleness, source, key, seed } = options;
    let service = Service::new(access, table, guard)?;
    let borne = Borne { clock: Arc::clone(&clock), seed };
    let unknown = unknown_into.as_deref();
    let found = borne.ask(|| service.get_table()).await?;
    let columns = if let Some(table) = found {
        let there = Columns::existing(&table, &key, unknown, keeps).map_err(|conflict| unfit(&service, &conflict))?;
        match unknown {
            Some(name) if there.named(name).is_none() => {
                let grown = there.with_unknown(name);
                shown(borne.ask(|| service.set_columns(&grown, table["etag"].as_str())).await)?;
                grown
            }
            _ => there,
        }
    } else {
        let columns =
            Columns::made(&key, &sample().await?, unknown, keeps).map_err(|conflict| unfit(&service, &conflict))?;
        if borne.ask(|| service.dataset()).await?.is_none() {
            shown(borne.ask(|| service.make_dataset(location.as_deref())).await)?;
        }
        let staleness = max_staleness.map(interval);
        let kept = if keeps == Keeps::Log { "Log of the changes of the DynamoDB table " } else { MADE };
        let making = Making {
            description: format!("{kept}{source}, written by sluice replicate"),
            max_staleness: staleness.as_deref().filter(|_| keeps == Keeps::Rows),
            by_day_of: (keeps == Keeps::Log).then_some(log::TIME),
        };
        shown(borne.ask(|| service.make_table(&columns, &making)).await)?;
        columns
    };
    let channel = channel(&service)?;
    Ok(BigQueryReplica::start(service, channel, columns, key, unknown_into, clock, seed))
}

/// What a dry run shows counts as done.
fn shown(done: Result<(), CloudError>) -> Result<(), CloudError> {
    match done {
        Err(error) if error.class != Class::DryRun => Err(error),
        _ => Ok(()),
    }
}

/// An INTERVAL as BigQuery writes it: `Y-M D H:M:S`.
fn interval(duration: Duration) -> String {
    let seconds = duration.as_secs();
    format!("0-0 0 {}:{}:{}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

struct Borne {
    clock: Arc<dyn Clock>,
    seed: u64,
}

impl Borne {
    /// Asks until there is an answer, or a few seconds have passed.
    async fn ask<T, Asked: Future<Output = Result<T, CloudError>>>(
        &self,
        ask: impl Fn() -> Asked,
    ) -> Result<T, CloudError> {
        let patience = Patience::default();
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2), self.seed);
        loop {
            let asked = self.clock.now();
            match ask().await {
                Err(error) if error.class.is_retryable() && !patience.is_over(asked, self.clock.now()) => {
                    self.clock.sleep(backoff.wait()).await;
                }
                reply => return reply,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn staleness_is_written_as_an_interval() {
        assert_eq!(interval(Duration::from_mins(15)), "0-0 0 0:15:0");
        assert_eq!(interval(Duration::from_secs(90_061)), "0-0 0 25:1:1");
    }
}
