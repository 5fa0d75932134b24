use std::collections::HashSet;

use jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::backup::{Export, Stage};

fn input(name: &str, bytes: u64) -> Input {
    Input::plain(Location::File(name.into()), Some(bytes))
}

/// A stage of files of these sizes, one piece each.
fn stage(sizes: &[u64]) -> StageReading {
    let inputs: Vec<Input> = sizes.iter().enumerate().map(|(n, bytes)| input(&n.to_string(), *bytes)).collect();
    StageReading { increment: false, cuts: (0..inputs.len()).map(|n| Cut(n, 0, None)).collect(), inputs }
}

fn export(from: Option<i64>) -> Stage {
    let export = Export {
        manifest: Location::File("m".into()),
        table_arn: "arn".into(),
        from: from.map(|s| Timestamp::from_second(s).unwrap()),
        to: Timestamp::from_second(1_000).unwrap(),
        items: 1,
    };
    Stage { inputs: vec![input("x", 1)], export: Some(export) }
}

fn refused(spec: &RestoreSpec, stages: Vec<Stage>) -> String {
    refuse(spec, &Set { stages, ..Set::default() }).map_or_else(|e| e.to_string(), |()| String::new())
}

proptest! {
    #[test]
    fn the_parts_of_a_backup_are_disjoint_and_together_the_whole(
        sizes in prop::collection::vec(0u64..1_000, 0..60),
        of in 1u32..12,
    ) {
        let whole = stage(&sizes);
        let mut met = HashSet::new();
        let mut loads = Vec::new();
        for number in 1..=of {
            let mine = deal(&whole, Part { number, of });
            prop_assert_eq!(&mine, &deal(&whole.clone(), Part { number, of }), "every machine finds the same");
            loads.push(mine.iter().map(|cut| sizes[cut.0] + 1).sum::<u64>());
            for cut in mine {
                prop_assert!(met.insert(cut), "{:?} was dealt twice", cut);
            }
        }
        prop_assert_eq!(met.len(), sizes.len());
        let largest = sizes.iter().max().map_or(0, |size| size + 1);
        prop_assert!(loads.iter().max().unwrap() - loads.iter().min().unwrap() <= largest, "{:?}", loads);
    }

    #[test]
    fn strands_begin_every_piece_once(pieces in 0usize..200, strands in 1usize..70) {
        let cuts: Vec<Cut> = (0..pieces).map(|n| Cut(n, 0, None)).collect();
        let mut order = strided(&cuts, strands);
        order.sort_unstable();
        prop_assert_eq!(order, cuts);
    }
}

#[test]
fn strands_begin_far_from_each_other() {
    let cuts: Vec<Cut> = (0..100).map(|n| Cut(n, 0, None)).collect();
    let order: Vec<usize> = strided(&cuts, 4).iter().map(|cut| cut.0).collect();
    assert_eq!(order[..8], [0, 25, 50, 75, 1, 26, 51, 76]);
}

#[test]
fn a_window_gives_each_strand_its_share_and_none_means_one_strand() {
    assert_eq!(strands(16 << 20, None), 16);
    assert_eq!(strands(1 << 10, None), 1);
    assert_eq!(strands(1 << 40, None), 64);
    assert_eq!(strands(1 << 20, Some(100)), 100);
    assert_eq!(strands(0, Some(8)), 1);
}

#[test]
fn pieces_are_kept_by_the_number_of_their_file() {
    let inputs = [input("a", 10), input("b", 20)];
    let piece = |n: usize, from, to| Piece { input: inputs[n].clone(), from, to };
    let pieces = [piece(0, 0, None), piece(1, 0, Some(10)), piece(1, 10, None)];
    let cuts = cuts(&inputs, &pieces);
    assert_eq!(cuts, [Cut(0, 0, None), Cut(1, 0, Some(10)), Cut(1, 10, None)]);
    let stage = StageReading { increment: false, inputs: inputs.to_vec(), cuts };
    assert_eq!((0..3).map(|n| stage.piece(n)).collect::<Vec<_>>(), pieces);
    assert_eq!((0..3).filter_map(|n| stage.stored(n)).collect::<Vec<_>>(), [10, 10, 10]);
    assert_eq!(stage.items(), None);
}

#[test]
fn what_would_do_wrong_is_refused_in_words() {
    let shared = RestoreSpec { part: Some(Part { number: 1, of: 2 }), ..RestoreSpec::default() };
    let chain = || vec![export(None), export(Some(1))];
    assert!(refused(&shared, chain()).contains("not in step"));
    assert_eq!(refused(&shared, vec![export(None)]), "");
    let stdin = vec![Stage { inputs: vec![Input::plain(Location::Stdin, None)], export: None }];
    assert!(refused(&shared, stdin).contains("standard input"));
    let absent = RestoreSpec { if_not_exists: true, ..RestoreSpec::default() };
    assert!(refused(&absent, chain()).contains("oldest version"));
    assert_eq!(refused(&absent, vec![export(None)]), "");
    let alone = RestoreSpec { no_workers: true, ..RestoreSpec::default() };
    assert!(refused(&alone, vec![export(Some(1))]).contains("--no-workers"));
    let mut filtered = RestoreSpec::default();
    filtered.source.shape.filter = Some(".a".into());
    assert!(refused(&filtered, chain()).contains("--filter"));
    assert_eq!(refused(&RestoreSpec::default(), chain()), "");
}
