use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::*;
use crate::backup::sample::{Moment, chain};
use crate::backup::{Change, Place, Reader, Unfit, check, pieces};
use crate::item::{Checker, Key};

fn wanted(sources: &[&Path], until: Option<Timestamp>) -> Wanted {
    let sources = sources.iter().map(|path| path.display().to_string()).collect();
    Wanted { sources, until, ..Wanted::default() }
}

async fn resolve(sources: &[&Path], until: Option<Timestamp>) -> Result<Set, BackupError> {
    Set::resolve(&wanted(sources, until), None).await
}

/// What went wrong, in words.
async fn refused(sources: &[&Path], until: Option<Timestamp>) -> String {
    resolve(sources, until).await.unwrap_err().to_string()
}

async fn unfit(set: &Set) -> Vec<Unfit> {
    check(set, None, &|_| {}).await.unwrap()
}

/// Applies a set to an empty table.
async fn applied(set: &Set, s3: Option<&aws_sdk_s3::Client>) -> HashMap<Key, u128> {
    let checker = Checker::new(crate::backup::sample::key_schema());
    let mut table = HashMap::new();
    for stage in &set.stages {
        let mut counts = HashMap::new();
        for piece in pieces(&stage.inputs, s3, 1000).await.unwrap() {
            let mut reader = Reader::open_piece(&piece, s3, None, Place::at(piece.from)).await.unwrap();
            while let Some(record) = reader.next().await.unwrap() {
                let item = checker.check(record.json.unwrap()).unwrap();
                match record.change {
                    Change::Put => table.insert(item.key, item.digest),
                    Change::Delete => table.remove(&item.key),
                };
                *counts.entry(piece.input.location.clone()).or_insert(0) += 1;
            }
        }
        for input in &stage.inputs {
            assert_eq!(counts.get(&input.location).copied(), input.items.filter(|items| *items > 0));
        }
    }
    table
}

fn held(moment: &Moment) -> HashMap<Key, u128> {
    let checker = Checker::new(crate::backup::sample::key_schema());
    let items = moment.items.values().map(|item| checker.check(item.clone().into()).unwrap());
    items.map(|item| (item.key, item.digest)).collect()
}

/// A chain of a full export and three increments, in a bucket of its own.
fn sample() -> (tempfile::TempDir, Vec<Moment>) {
    let bucket = tempfile::tempdir().unwrap();
    let moments = chain(bucket.path(), 300, 3, 11).unwrap();
    (bucket, moments)
}

fn edit(file: &Path, from: &str, to: &str) {
    let text = std::fs::read_to_string(file).unwrap();
    assert!(text.contains(from), "{text}");
    std::fs::write(file, text.replace(from, to)).unwrap();
    for checksum in ["md5", "checksum"] {
        // Or it would be told from the checksum alone.
        let _ = std::fs::remove_file(file.with_extension(checksum));
    }
}

fn copied(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let place = to.join(entry.file_name());
        if entry.path().is_dir() { copied(&entry.path(), &place) } else { drop(std::fs::copy(entry.path(), place)) }
    }
}

#[tokio::test]
async fn a_chain_found_under_a_prefix_gives_the_table_as_it_was_at_each_end() {
    let (bucket, moments) = sample();
    let mut tables = Vec::new();
    for (number, moment) in moments.iter().enumerate() {
        let set = resolve(&[bucket.path()], Some(moment.at)).await.unwrap();
        assert_eq!(set.stages.len(), number + 1);
        assert_eq!(set.notes.len(), moments.len() - number - 1, "{:?}", set.notes);
        assert_eq!(set.stages[number].export.as_ref().unwrap().to, moment.at);
        assert_eq!(unfit(&set).await, []);
        assert_eq!(applied(&set, None).await, held(moment));
        tables.push(held(moment));
    }
    assert_ne!(tables[0], tables[1]);
    let set = resolve(&[bucket.path()], None).await.unwrap();
    assert!(set.is_chain() && set.notes.is_empty());
    assert_eq!(set.items(), set.inputs().map(|input| input.items).sum());
    assert_eq!(applied(&set, None).await, tables[3]);
}

#[tokio::test]
async fn a_chain_may_be_a_list_in_any_order_of_folders_and_manifests() {
    let (bucket, moments) = sample();
    let summary = moments[3].folder.join(manifest::SUMMARY);
    let files = moments[1].folder.join(manifest::FILES);
    let list = [&summary, &moments[0].folder, &files, &moments[2].folder, &moments[2].folder];
    let set = resolve(&list.map(PathBuf::as_path), None).await.unwrap();
    let whole = resolve(&[bucket.path()], None).await.unwrap();
    assert_eq!(set.stages, whole.stages);
}

#[tokio::test]
async fn a_copied_export_is_read_where_it_is_now() {
    let (bucket, moments) = sample();
    let copy = tempfile::tempdir().unwrap();
    // The whole chain without what its keys begin with, one export alone, and its files all in one folder.
    copied(&bucket.path().join("nightly/AWSDynamoDB"), &copy.path().join("chain"));
    copied(&moments[0].folder, &copy.path().join("alone"));
    copied(&moments[0].folder, &copy.path().join("flat"));
    copied(&copy.path().join("flat/data"), &copy.path().join("flat"));
    std::fs::remove_dir_all(copy.path().join("flat/data")).unwrap();
    drop(bucket);
    for (folder, moment) in [("chain", &moments[3]), ("alone", &moments[0]), ("flat", &moments[0])] {
        let set = resolve(&[&copy.path().join(folder)], None).await.unwrap();
        assert_eq!(unfit(&set).await, []);
        assert_eq!(applied(&set, None).await, held(moment), "{folder}");
    }
}

#[tokio::test]
async fn only_the_files_of_an_export_are_read_and_what_lies_beside_them_is_told() {
    let (bucket, moments) = sample();
    std::fs::write(moments[0].folder.join("data/stray.json"), "{}\n").unwrap();
    std::fs::create_dir_all(bucket.path().join("nightly/AWSDynamoDB/running")).unwrap();
    std::fs::write(bucket.path().join("nightly/AWSDynamoDB/running/_started"), "").unwrap();
    let set = resolve(&[bucket.path()], None).await.unwrap();
    assert_eq!(applied(&set, None).await, held(&moments[3]));
    assert!(set.notes[0].contains("running is left out") && set.notes[0].contains("running or has failed"));
    assert!(
        set.notes[1].starts_with("1 file that no manifest names is not read") && set.notes[1].ends_with("stray.json")
    );

    let said = refused(&[&bucket.path().join("nightly/AWSDynamoDB/running")], None).await;
    assert!(said.contains("manifest-summary.json: it is not there: the export is still running"), "{said}");
    let stray = moments[0].folder.join("data/stray.json");
    let said = refused(&[bucket.path(), &stray], None).await;
    assert!(said.contains("is an export and") && said.contains("stray.json is none"), "{said}");
}

#[tokio::test]
async fn files_without_a_manifest_are_one_stage_and_have_no_times() {
    let (bucket, moments) = sample();
    let data = moments[0].folder.join("data");
    let set = resolve(&[&data], None).await.unwrap();
    assert_eq!((set.stages.len(), set.inputs().count(), set.items()), (1, 3, None));
    assert!(set.stages[0].export.is_none() && set.bytes().is_some());
    assert_eq!(unfit(&set).await, []);
    let said = refused(&[&data], Some(moments[0].at)).await;
    assert!(said.contains("stops a chain of exports, and there is none in"), "{said}");
    drop(bucket);
}

#[tokio::test]
async fn a_file_that_is_not_what_its_manifest_says_is_unfit_and_the_others_are_not() {
    let (_bucket, moments) = sample();
    let set = resolve(&[&moments[0].folder], None).await.unwrap();
    let files: Vec<PathBuf> = set
        .inputs()
        .map(|input| match &input.location {
            Location::File(path) => path.clone(),
            other => panic!("{other}"),
        })
        .collect();
    let mut bytes = std::fs::read(&files[1]).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&files[1], bytes).unwrap();
    std::fs::remove_file(&files[2]).unwrap();
    let told = std::sync::Mutex::new(Vec::new());
    let found = check(&set, None, &|bytes| told.lock().unwrap().push(bytes)).await.unwrap();
    let of = |file: usize| found.iter().find(|unfit| unfit.location == Location::File(files[file].clone()));
    assert!(of(0).is_none());
    let reason = &of(1).unwrap().reason;
    assert!(reason.contains("its MD5 is") && reason.contains("fetch it again"), "{reason}");
    assert!(of(2).unwrap().reason.contains("it is not there"));
    let told = told.into_inner().unwrap();
    assert!(told.is_sorted());
    assert_eq!(told.last().copied(), set.inputs().take(2).map(|input| input.bytes).sum());

    // It was missing from the beginning: the set says so, and its check too.
    let set = resolve(&[&moments[0].folder], None).await.unwrap();
    assert!(set.notes[0].contains("which is not there"), "{:?}", set.notes);
    assert_eq!(unfit(&set).await, found);
}

#[tokio::test]
async fn a_file_with_another_number_of_items_is_unfit_even_without_an_md5() {
    let (_bucket, moments) = sample();
    let list = moments[0].folder.join(manifest::FILES);
    let text = std::fs::read_to_string(&list).unwrap();
    let lines: Vec<String> = text
        .lines()
        .zip([101, 99, 100])
        .map(|(line, items)| {
            let mut line: serde_json::Value = serde_json::from_str(line).unwrap();
            line.as_object_mut().unwrap().remove("md5Checksum");
            line["itemCount"] = items.into();
            line.to_string()
        })
        .collect();
    std::fs::write(&list, lines.join("\n")).unwrap();
    std::fs::remove_file(list.with_extension("md5")).unwrap();
    let set = resolve(&[&moments[0].folder], None).await.unwrap();
    // A gzip that ends early is found by the count too.
    let Location::File(last) = &set.inputs().last().unwrap().location else { panic!() };
    let bytes = std::fs::read(last).unwrap();
    std::fs::write(last, &bytes[..bytes.len() / 2]).unwrap();
    let set = resolve(&[&moments[0].folder], None).await.unwrap();
    let reasons: Vec<String> = unfit(&set).await.into_iter().map(|unfit| unfit.reason).collect();
    assert_eq!(reasons.len(), 3);
    assert!(reasons[0].starts_with("it holds 100 items and its manifest says 101"), "{reasons:?}");
    assert!(reasons[1].starts_with("it holds 100 items and its manifest says 99"), "{reasons:?}");
    assert!(reasons[2].starts_with("it can't be decompressed"), "{reasons:?}");
}

#[tokio::test]
async fn a_manifest_that_can_not_be_right_is_refused() {
    for (stem, from, to, said) in [
        ("manifest-summary.json", "DYNAMODB_JSON", "ION", "the export is in ION, which is not read"),
        ("manifest-summary.json", "FULL_EXPORT", "HALF_EXPORT", "HALF_EXPORT is no type of export"),
        ("manifest-summary.json", "exportTime", "exprtTime", "it has no exportTime"),
        ("manifest-summary.json", "{", "[", "it is no summary of an export"),
        ("manifest-summary.json", "\"itemCount\":300", "\"itemCount\":301", "counts 301 items and its files 300"),
        ("manifest-files.json", "dataFileS3Key", "dataFile", "line 1: missing field `dataFileS3Key`"),
        ("manifest-files.json", "\"md5Checksum\":\"", "\"md5Checksum\":\"x", "line 1: its md5Checksum is no MD5"),
    ] {
        let (_bucket, moments) = sample();
        edit(&moments[0].folder.join(stem), from, to);
        let error = refused(&[&moments[0].folder], None).await;
        assert!(error.contains(said) && error.contains(stem), "{error}");
    }
    // Whatever it says: when its checksum differs, it is not read.
    let (_bucket, moments) = sample();
    let summary = moments[0].folder.join(manifest::SUMMARY);
    std::fs::write(&summary, std::fs::read_to_string(&summary).unwrap() + " ").unwrap();
    let error = refused(&[&moments[0].folder], None).await;
    assert!(error.contains("it is not what its checksum in"), "{error}");
    std::fs::remove_file(moments[0].folder.join(manifest::FILES)).unwrap();
    std::fs::remove_file(moments[0].folder.join("manifest-summary.md5")).unwrap();
    let error = refused(&[&moments[0].folder], None).await;
    assert!(error.contains("manifest-files.json does not exist"), "{error}");
}

#[tokio::test]
async fn an_export_without_a_type_is_a_full_one() {
    let (_bucket, moments) = sample();
    edit(&moments[0].folder.join(manifest::SUMMARY), "\"exportType\"", "\"was\"");
    let set = resolve(&[&moments[0].folder], None).await.unwrap();
    assert_eq!(set.stages[0].export.as_ref().unwrap().from, None);
}

#[cfg(feature = "local")]
mod s3 {
    use super::*;
    use crate::backup::test_s3::TestS3;

    async fn put_all(s3: &TestS3, folder: &Path, key: &str) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let key = format!("{key}/{}", path.file_name().unwrap().to_string_lossy());
            if path.is_dir() {
                Box::pin(put_all(s3, &path, &key)).await;
            } else {
                s3.put(&key, &std::fs::read(&path).unwrap()).await;
            }
        }
    }

    #[tokio::test]
    async fn a_chain_in_s3_is_found_under_its_prefix_and_by_its_parts() {
        let (bucket, moments) = sample();
        let s3 = TestS3::start().await;
        put_all(&s3, &bucket.path().join("nightly"), "nightly").await;
        put_all(&s3, &bucket.path().join("nightly/AWSDynamoDB"), "copy/of/it").await;
        let id = |moment: &Moment| moment.folder.file_name().unwrap().to_string_lossy().into_owned();
        let parts: Vec<String> =
            moments.iter().map(|moment| format!("s3://bucket/nightly/AWSDynamoDB/{}/", id(moment))).collect();
        let summary = format!("s3://bucket/copy/of/it/{}/manifest-summary.json", id(&moments[0]));
        for (sources, moment) in [
            (vec!["s3://bucket/nightly".to_owned()], &moments[3]),
            (vec!["s3://bucket/nightly/AWSDynamoDB/".to_owned()], &moments[3]),
            (vec!["s3://bucket/copy".to_owned()], &moments[3]),
            (parts, &moments[3]),
            (vec![summary], &moments[0]),
        ] {
            let wanted = Wanted { sources, ..Wanted::default() };
            let set = Set::resolve(&wanted, Some(&s3.client)).await.unwrap();
            let prefix = if wanted.sources[0].contains("copy") { "s3://bucket/copy/" } else { "s3://bucket/nightly/" };
            assert!(set.inputs().all(|input| input.location.to_string().starts_with(prefix)), "{set:?}");
            assert_eq!(check(&set, Some(&s3.client), &|_| {}).await.unwrap(), []);
            assert_eq!(applied(&set, Some(&s3.client)).await, held(moment), "{:?}", wanted.sources);
        }
        // One broken object is unfit, one that was deleted too.
        let wanted = Wanted { sources: vec!["s3://bucket/nightly".to_owned()], ..Wanted::default() };
        let set = Set::resolve(&wanted, Some(&s3.client)).await.unwrap();
        let files: Vec<_> = set.inputs().map(|input| input.location.to_string()).collect();
        let key = |file: &str| file.strip_prefix("s3://bucket/").unwrap().to_owned();
        let mut bytes = std::fs::read(s3.path(&key(&files[0]))).unwrap();
        bytes[100] ^= 1;
        s3.put(&key(&files[0]), &bytes).await;
        s3.client.delete_object().bucket("bucket").key(key(&files[3])).send().await.unwrap();
        let found = check(&set, Some(&s3.client), &|_| {}).await.unwrap();
        let found: Vec<_> = found.iter().map(|unfit| (unfit.location.to_string(), &unfit.reason[..10])).collect();
        assert_eq!(found, [(files[0].clone(), "its MD5 is"), (files[3].clone(), "its manife")]);
    }
}
