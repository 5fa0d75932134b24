//! Pieces of a backup on their way to where they are stored, a few at the same time. What counts is what no piece in
//! flight comes before.

use std::collections::BTreeMap;
use std::future::Future;

use serde::{Deserialize, Serialize};
use tokio::task::{JoinError, JoinSet};

use super::Mark;
use crate::backup::error::BackupError;
use crate::backup::location::Location;

/// Pieces in flight at the same time.
const MOST: usize = 3;

/// A stored part of an upload, or data file of an export.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// Its number, from 1.
    pub number: u32,
    /// The data file, as the manifest names it; empty for a part.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Items in a data file.
    #[serde(default)]
    pub rows: u64,
    /// Stored bytes.
    pub bytes: u64,
    /// S3's `ETag`.
    #[serde(default)]
    pub etag: String,
    /// MD5 of a data file, base64; CRC-32 of a part, as S3 told it.
    #[serde(default)]
    pub checksum: String,
}

/// How far a backup is once a piece and all before it are stored.
#[derive(Clone, Debug, Default)]
pub(super) struct After {
    /// Blocks that are stored then, counted since the writer began.
    pub blocks: u64,
    /// The mark then.
    pub mark: Mark,
}

#[derive(Debug)]
pub(super) struct Flight {
    tasks: JoinSet<Result<Piece, BackupError>>,
    flying: BTreeMap<u32, After>,
    /// Stored, but one before it is not yet.
    landed: BTreeMap<u32, Piece>,
    /// All stored pieces, in order.
    stored: Vec<Piece>,
    /// How many of those the journal knows.
    told: usize,
    after: After,
}

impl Flight {
    /// Goes on after `stored`.
    pub fn new(stored: Vec<Piece>, mark: Mark) -> Self {
        let told = stored.len();
        let after = After { blocks: 0, mark };
        Self { tasks: JoinSet::new(), flying: BTreeMap::new(), landed: BTreeMap::new(), stored, told, after }
    }

    /// The number of the next piece.
    pub fn next(&self) -> u32 {
        (self.stored.len() + self.landed.len() + self.tasks.len()) as u32 + 1
    }

    /// Sends a piece off.
    pub fn launch(&mut self, after: After, task: impl Future<Output = Result<Piece, BackupError>> + Send + 'static) {
        self.flying.insert(self.next(), after);
        self.tasks.spawn(task);
    }

    /// Waits until another piece may fly.
    pub async fn room(&mut self, location: &Location) -> Result<(), BackupError> {
        self.until(MOST - 1, location).await
    }

    /// Waits until all have landed.
    pub async fn all(&mut self, location: &Location) -> Result<(), BackupError> {
        self.until(0, location).await
    }

    async fn until(&mut self, most: usize, location: &Location) -> Result<(), BackupError> {
        while self.tasks.len() > most {
            let Some(landed) = self.tasks.join_next().await else { break };
            self.land(landed, location)?;
        }
        Ok(())
    }

    /// What is stored now, without waiting: blocks, the mark, and pieces that were not told before.
    pub fn settle(&mut self, location: &Location) -> Result<(u64, Mark, Vec<Piece>), BackupError> {
        while let Some(landed) = self.tasks.try_join_next() {
            self.land(landed, location)?;
        }
        let fresh = self.stored[self.told..].to_vec();
        self.told = self.stored.len();
        Ok((self.after.blocks, self.after.mark.clone(), fresh))
    }

    /// True when nothing is on its way.
    pub fn is_idle(&self) -> bool {
        self.tasks.is_empty()
    }

    /// All stored pieces, in order.
    pub fn stored(&self) -> &[Piece] {
        &self.stored
    }

    fn land(
        &mut self,
        landed: Result<Result<Piece, BackupError>, JoinError>,
        location: &Location,
    ) -> Result<(), BackupError> {
        let piece = landed.unwrap_or_else(|stopped| {
            Err(BackupError::Stopped { location: location.clone(), cause: std::io::Error::other(stopped) })
        })?;
        self.landed.insert(piece.number, piece);
        while let Some(piece) = self.landed.remove(&(self.stored.len() as u32 + 1)) {
            if let Some(after) = self.flying.remove(&piece.number) {
                self.after = after;
            }
            self.stored.push(piece);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn a_piece_counts_once_all_before_it_are_stored() {
        let place = Location::File("x".into());
        let mut flight = Flight::new(Vec::new(), Mark::default());
        let mut gates = Vec::new();
        for number in 1..=3_u32 {
            assert_eq!(flight.next(), number);
            let (open, gate) = oneshot::channel::<()>();
            gates.push(open);
            let after = After { blocks: u64::from(number) * 10, mark: Mark { rows: number.into(), ..Mark::default() } };
            flight.launch(after, async move {
                let _ = gate.await;
                Ok(Piece { number, ..Piece::default() })
            });
        }
        let (third, second, first) = (gates.pop().unwrap(), gates.pop().unwrap(), gates.pop().unwrap());
        third.send(()).unwrap();
        flight.until(2, &place).await.unwrap();
        assert_eq!(flight.settle(&place).unwrap().0, 0, "two are still in the air before it");
        first.send(()).unwrap();
        flight.until(1, &place).await.unwrap();
        let (blocks, mark, fresh) = flight.settle(&place).unwrap();
        assert_eq!((blocks, mark.rows, fresh.len()), (10, 1, 1));
        second.send(()).unwrap();
        flight.all(&place).await.unwrap();
        let (blocks, mark, fresh) = flight.settle(&place).unwrap();
        assert_eq!((blocks, mark.rows), (30, 3));
        assert_eq!(fresh.iter().map(|piece| piece.number).collect::<Vec<_>>(), [2, 3]);
        assert_eq!(flight.settle(&place).unwrap().2, []);
    }
}
