//! The memory that all shards of a consumer share for pages on their way.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The largest page of `GetRecords`, bytes: 10 MiB (FORMATS.md 4).
pub(super) const PAGE: usize = 10 << 20;

/// Bytes are counted in units of 1 KiB, so that they fit a permit's count.
const UNIT: usize = 1 << 10;

/// Room for so many bytes of pages.
#[derive(Clone, Debug)]
pub(super) struct Room {
    units: Arc<Semaphore>,
    most: u32,
}

/// Room that is taken until this is dropped.
#[derive(Debug)]
pub struct Taken(Option<OwnedSemaphorePermit>);

impl Room {
    /// Room for `bytes`, and for one page of the largest kind in any case.
    pub fn new(bytes: usize) -> Self {
        let most = (bytes.max(PAGE) / UNIT).min(u32::MAX as usize) as u32;
        Self { units: Arc::new(Semaphore::new(most as usize)), most }
    }

    /// Takes room for `bytes`; waits for it, in turn.
    pub async fn reserve(&self, bytes: usize) -> Taken {
        let units = (bytes.div_ceil(UNIT)).clamp(1, self.most as usize) as u32;
        // Nobody closes it: there is room sooner or later.
        Taken(Arc::clone(&self.units).acquire_many_owned(units).await.ok())
    }

    /// Bytes that are free.
    #[cfg(test)]
    pub fn free(&self) -> usize {
        self.units.available_permits() * UNIT
    }
}

impl Taken {
    /// What turned out to be `bytes` keeps no more than that; more is not taken, since whoever waits for more while
    /// holding some may wait for ever.
    #[must_use]
    pub fn shrunk_to(mut self, bytes: usize) -> Self {
        if let Some(permit) = &mut self.0 {
            let spare = permit.num_permits().saturating_sub(bytes.div_ceil(UNIT));
            drop(permit.split(spare));
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn what_a_page_does_not_need_is_free_again() {
        let room = Room::new(64 << 20);
        let page = room.reserve(PAGE).now_or_never().unwrap();
        assert_eq!(room.free(), 54 << 20);
        let page = page.shrunk_to(1_000);
        assert_eq!(room.free(), (64 << 20) - 1024);
        drop(page);
        assert_eq!(room.free(), 64 << 20);
    }

    #[test]
    fn two_hundred_shards_of_ten_mebibytes_hold_no_more_than_there_is_room_for() {
        let room = Room::new(64 << 20);
        let pages: Vec<Taken> = (0..200).filter_map(|_| room.reserve(PAGE).now_or_never()).collect();
        assert_eq!(pages.len(), 6);
    }

    #[test]
    fn a_page_fits_even_where_little_is_allowed() {
        let room = Room::new(1);
        assert!(room.reserve(PAGE).now_or_never().is_some());
        let room = Room::new(16 << 20);
        assert!(room.reserve(100 << 20).now_or_never().is_some());
    }
}
