//! Shards of a stream: which one a hash belongs to, who descends from whom, and how sequence numbers name a record.

use ferrokinesis::sequence::{self, MAX_SEQ_IX, SeqObj};
use ferrokinesis::types::{HashKeyRange, SequenceNumberRange, Shard};
use md5::{Digest, Md5};

use super::wire::ChildShard;

/// The 128-bit hash that routes `partition_key`: its MD5.
pub(super) fn hash_of(partition_key: &str) -> u128 {
    u128::from_be_bytes(Md5::digest(partition_key.as_bytes()).into())
}

/// Whether nothing is routed to `shard` any more.
pub(super) fn is_closed(shard: &Shard) -> bool {
    shard.sequence_number_range.ending_sequence_number.is_some()
}

/// When `shard` was made, ms since epoch, whole seconds.
pub(super) fn created_ms(shard: &Shard) -> u64 {
    sequence::parse_sequence(&shard.sequence_number_range.starting_sequence_number)
        .map_or(0, |number| number.shard_create_time)
}

/// When `shard` was closed, ms since epoch, whole seconds.
pub(super) fn closed_ms(shard: &Shard) -> Option<u64> {
    let ending = shard.sequence_number_range.ending_sequence_number.as_ref()?;
    sequence::parse_sequence(ending).ok()?.seq_time
}

/// The open shards of a stream, by hash.
#[derive(Debug)]
pub(super) struct Routes(Vec<Route>);

/// One open shard.
#[derive(Debug, Clone)]
pub(super) struct Route {
    from: u128,
    to: u128,
    pub(super) shard: usize,
    pub(super) shard_id: String,
    pub(super) created_ms: u64,
}

impl Routes {
    pub(super) fn of(shards: &[Shard]) -> Self {
        let mut routes: Vec<Route> = shards
            .iter()
            .enumerate()
            .filter(|(_, shard)| !is_closed(shard))
            .map(|(index, shard)| Route {
                from: shard.hash_key_range.start_u128(),
                to: shard.hash_key_range.end_u128(),
                shard: index,
                shard_id: shard.shard_id.clone(),
                created_ms: created_ms(shard),
            })
            .collect();
        routes.sort_unstable_by_key(|route| route.from);
        Self(routes)
    }

    /// The shard that takes `hash`.
    pub(super) fn find(&self, hash: u128) -> Option<&Route> {
        let after = self.0.partition_point(|route| route.from <= hash);
        self.0.get(after.checked_sub(1)?).filter(|route| hash <= route.to)
    }
}

/// The sequence number of the record at `position` of a shard. Positions count from 0, sequence numbers from 1: a
/// shard's own starting number has 0.
pub(super) fn sequence_number(shard: usize, created_ms: u64, position: u64, arrival_ms: u64) -> String {
    numbered(shard, created_ms, position + 1, arrival_ms.max(created_ms))
}

fn numbered(shard: usize, created_ms: u64, index: u64, at_ms: u64) -> String {
    sequence::stringify_sequence(&SeqObj {
        shard_create_time: created_ms,
        seq_ix: Some(index),
        byte1: None,
        seq_time: Some(at_ms),
        seq_rand: None,
        shard_ix: shard as i64,
        version: 2,
    })
}

/// The shard (its index) and the position that `number` names, for a shard's starting number the first. `None` when it
/// is no sequence number.
pub(super) fn position_of(number: &str) -> Option<(i64, u64)> {
    let parsed = sequence::parse_sequence(number).ok()?;
    Some((parsed.shard_ix, parsed.seq_ix?.saturating_sub(1)))
}

/// Whether `number` was given out by `shard`, rather than by one of the same index in an earlier stream of its name.
pub(super) fn is_of(number: &str, shard: &Shard) -> bool {
    sequence::parse_sequence(number).is_ok_and(|parsed| parsed.shard_create_time == created_ms(shard))
}

/// Whether `number` names a shard's start rather than a record.
pub(super) fn is_start(number: &str) -> bool {
    sequence::parse_sequence(number).is_ok_and(|parsed| parsed.seq_ix == Some(0))
}

/// The shards that take over from `shards[parent]`.
pub(super) fn children(shards: &[Shard], parent: usize) -> Vec<ChildShard> {
    let id = Some(&shards[parent].shard_id);
    let descends =
        |shard: &&Shard| shard.parent_shard_id.as_ref() == id || shard.adjacent_parent_shard_id.as_ref() == id;
    let child = |shard: &Shard| ChildShard {
        shard_id: shard.shard_id.clone(),
        parent_shards: shard.parent_shard_id.iter().chain(&shard.adjacent_parent_shard_id).cloned().collect(),
        hash_key_range: shard.hash_key_range.clone(),
    };
    shards.iter().filter(descends).map(child).collect()
}

/// Splits and merges the open shards until `target` even ones are left, as `UpdateShardCount` with uniform scaling
/// does: every change is a split in two or a merge of two, so that lineage and order by key hold all the way.
pub(super) fn reshard(shards: &mut Vec<Shard>, target: u32, now_ms: u64) {
    let starts = even_starts(shards, target);
    for start in &starts {
        let inside = |shard: &Shard| {
            let range = &shard.hash_key_range;
            !is_closed(shard) && range.start_u128() < *start && *start <= range.end_u128()
        };
        if let Some(parent) = shards.iter().position(inside) {
            let range = shards[parent].hash_key_range.clone();
            let lower = (range.start_u128(), start - 1);
            let upper = (*start, range.end_u128());
            replace(shards, &[parent], &[lower, upper], now_ms);
        }
    }
    loop {
        let mut open: Vec<usize> = (0..shards.len()).filter(|index| !is_closed(&shards[*index])).collect();
        open.sort_unstable_by_key(|index| shards[*index].hash_key_range.start_u128());
        let pair = open.windows(2).find(|pair| !starts.contains(&shards[pair[1]].hash_key_range.start_u128()));
        let Some(pair) = pair else { break };
        let (left, right) = (pair[0], pair[1]);
        let merged = (shards[left].hash_key_range.start_u128(), shards[right].hash_key_range.end_u128());
        replace(shards, &[left, right], &[merged], now_ms);
    }
}

/// Where `target` even shards start. A start that differs from one of today's by rounding only is today's, so that no
/// shard of a few hashes is split off.
fn even_starts(shards: &[Shard], target: u32) -> Vec<u128> {
    let target = u128::from(target.max(1));
    let step = u128::MAX / target;
    let open = || shards.iter().filter(|shard| !is_closed(shard)).map(|shard| shard.hash_key_range.start_u128());
    let rounding = target + open().count() as u128;
    (0..target).map(|n| n * step).map(|even| open().find(|is| is.abs_diff(even) <= rounding).unwrap_or(even)).collect()
}

/// Closes `parents` and appends their `children`, given by the hashes they take.
fn replace(shards: &mut Vec<Shard>, parents: &[usize], children: &[(u128, u128)], now_ms: u64) {
    let mut born_ms = now_ms;
    for parent in parents {
        let created_ms = created_ms(&shards[*parent]);
        // A child's numbers are greater than its parents', whose creation is known to the second only.
        born_ms = born_ms.max(created_ms) + 1000;
        shards[*parent].sequence_number_range.ending_sequence_number =
            Some(numbered(*parent, created_ms, MAX_SEQ_IX, now_ms.max(created_ms)));
    }
    for (from, to) in children {
        let index = shards.len();
        shards.push(Shard {
            shard_id: sequence::shard_id_name(index as i64),
            hash_key_range: HashKeyRange::new(from.to_string(), to.to_string()),
            sequence_number_range: SequenceNumberRange {
                starting_sequence_number: numbered(index, born_ms, 0, born_ms),
                ending_sequence_number: None,
            },
            parent_shard_id: parents.first().map(|parent| shards[*parent].shard_id.clone()),
            adjacent_parent_shard_id: parents.get(1).map(|parent| shards[*parent].shard_id.clone()),
        });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn even(count: u32) -> Vec<Shard> {
        let whole = Shard {
            shard_id: sequence::shard_id_name(0),
            hash_key_range: HashKeyRange::new("0".into(), u128::MAX.to_string()),
            sequence_number_range: SequenceNumberRange {
                starting_sequence_number: numbered(0, 1_600_000_000_000, 0, 1_600_000_000_000),
                ending_sequence_number: None,
            },
            parent_shard_id: None,
            adjacent_parent_shard_id: None,
        };
        let mut shards = vec![whole];
        reshard(&mut shards, count, 1_600_000_000_000);
        shards
    }

    fn open(shards: &[Shard]) -> Vec<(u128, u128)> {
        let mut ranges: Vec<_> = shards
            .iter()
            .filter(|shard| !is_closed(shard))
            .map(|shard| (shard.hash_key_range.start_u128(), shard.hash_key_range.end_u128()))
            .collect();
        ranges.sort_unstable();
        ranges
    }

    #[test]
    fn the_partition_key_is_routed_by_its_md5() {
        assert_eq!(format!("{:032x}", hash_of("a")), "0cc175b9c0f1b6a831c399e269772661");
    }

    #[test]
    fn doubling_splits_each_shard_and_halving_merges_neighbours() {
        let mut shards = even(4);
        let before = shards.len();
        reshard(&mut shards, 8, 1_600_000_100_000);
        assert_eq!(shards.len() - before, 8);
        assert!(shards[before..].iter().all(|shard| shard.adjacent_parent_shard_id.is_none()));
        let before = shards.len();
        reshard(&mut shards, 4, 1_600_000_200_000);
        assert_eq!(shards.len() - before, 4);
        assert!(shards[before..].iter().all(|shard| shard.adjacent_parent_shard_id.is_some()));
    }

    #[test]
    fn the_children_of_a_split_know_their_parent_and_those_of_a_merge_both() {
        let mut shards = even(2);
        let parent = shards.iter().position(|shard| !is_closed(shard)).unwrap();
        reshard(&mut shards, 4, 1_600_000_100_000);
        let of_split = children(&shards, parent);
        assert_eq!(of_split.len(), 2);
        assert!(of_split.iter().all(|child| child.parent_shards == [shards[parent].shard_id.clone()]));
        let parent = shards.iter().position(|shard| !is_closed(shard)).unwrap();
        reshard(&mut shards, 2, 1_600_000_200_000);
        assert_eq!(children(&shards, parent)[0].parent_shards.len(), 2);
    }

    proptest! {
        #[test]
        fn any_resharding_covers_every_hash_once_evenly_and_numbers_grow(from in 1u32..12, to in 1u32..12) {
            let mut shards = even(from);
            reshard(&mut shards, to, 1_600_000_100_000);
            let ranges = open(&shards);
            prop_assert_eq!(ranges.len(), to as usize);
            prop_assert_eq!(ranges[0].0, 0);
            prop_assert_eq!(ranges[ranges.len() - 1].1, u128::MAX);
            for pair in ranges.windows(2) {
                prop_assert_eq!(pair[0].1 + 1, pair[1].0);
            }
            let sizes: Vec<u128> = ranges.iter().map(|(from, to)| to - from).collect();
            let (least, most) = (sizes.iter().min().unwrap(), sizes.iter().max().unwrap());
            prop_assert!(most - least <= 64);
            for shard in &shards {
                for parent in shard.parent_shard_id.iter().chain(&shard.adjacent_parent_shard_id) {
                    let parent = shards.iter().find(|shard| shard.shard_id == *parent).unwrap();
                    prop_assert!(is_closed(parent));
                    prop_assert!(created_ms(parent) < created_ms(shard));
                }
            }
        }

        #[test]
        fn a_sequence_number_names_its_record(shard in 0usize..100, position in 0u64..1 << 40, later in 0u64..1 << 32) {
            let created = 1_600_000_000_000;
            let number = sequence_number(shard, created, position, created + later);
            prop_assert_eq!(position_of(&number), Some((shard as i64, position)));
            let next = sequence_number(shard, created, position + 1, created + later);
            prop_assert!((number.len(), &number) < (next.len(), &next));
        }

        #[test]
        fn each_hash_has_one_route(count in 1u32..20, hash: u128) {
            let shards = even(count);
            let routes = Routes::of(&shards);
            let range = &shards[routes.find(hash).unwrap().shard].hash_key_range;
            prop_assert!(range.start_u128() <= hash && hash <= range.end_u128());
        }
    }
}
