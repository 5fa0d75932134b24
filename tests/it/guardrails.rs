//! `config.toml` guards contexts for the real binary's commands as it does for the console.

use std::fs;

use sluicegate::capacity::Resource;
use sluicegate::jobs::journal::State;
use sluicegate::jobs::{Journal, RestoreSpec, Spec};

use crate::running::{Ended, Server, Sluice, block_on, create_table, ended, until};

const READ_ONLY: &str = "[contexts.prod]\nprofile = \"local\"\nread_only = true\n";

/// `sluice` with that `config.toml`, and whatever else is passed.
fn guarded(sluice: &Sluice, config: &str, args: &[&str]) -> Ended {
    let folder = sluice.state.path().join("config");
    fs::create_dir_all(folder.join("sluicegate")).unwrap();
    fs::write(folder.join("sluicegate").join("config.toml"), config).unwrap();
    ended(sluice.command().env("XDG_CONFIG_HOME", &folder).args(args))
}

fn write_capacity(server: &Server) -> i64 {
    let cloud = server.cloud();
    let table = block_on(cloud.dynamodb.describe_table().table_name("quotes").send()).unwrap().table.unwrap();
    table.provisioned_throughput.unwrap().write_capacity_units.unwrap()
}

#[test]
fn a_read_only_context_refuses_a_change_whatever_yes_says_and_tells_what_lifts_it() {
    let server = Server::start(&[]);
    create_table(&server.cloud(), "quotes", 10);
    let sluice = Sluice::at(&server.endpoint);
    let raise = ["capacity", "quotes", "--write", "20", "--yes"];
    let refused = guarded(&sluice, READ_ONLY, &raise).expect(1);
    assert!(refused.err.contains("read-only") && refused.err.contains("--read-write"), "{}", refused.err);
    assert_eq!(write_capacity(&server), 10);
    // Reading goes on, and a dry run shows what it would send.
    guarded(&sluice, READ_ONLY, &["tables"]).expect(0);
    let dry = guarded(&sluice, READ_ONLY, &["capacity", "quotes", "--write", "20", "--dry-run"]);
    assert!(dry.out.contains("aws dynamodb update-table"), "{dry:?}");
    assert_eq!(write_capacity(&server), 10);
    // An option that is stricter wins over the word that lifts it.
    guarded(&sluice, READ_ONLY, &["--read-write", "--read-only", "tables"]).expect(2);
    guarded(&sluice, READ_ONLY, &["--read-write", "capacity", "quotes", "--write", "20", "--yes"]).expect(0);
    until("AWS has made the change", || (write_capacity(&server) == 20).then_some(()));
}

#[test]
fn a_rule_for_another_account_does_not_guard_and_one_for_this_does() {
    let server = Server::start(&[]);
    create_table(&server.cloud(), "quotes", 10);
    let sluice = Sluice::at(&server.endpoint);
    let rule = |account: &str| format!("[contexts.prod]\naccount = \"{account}\"\nread_only = true\n");
    let raise = |to: &'static str| ["capacity", "quotes", "--write", to, "--yes"];
    guarded(&sluice, &rule("1111-2222-3333"), &raise("20")).expect(0);
    until("AWS has made the change", || (write_capacity(&server) == 20).then_some(()));
    // The account of the embedded AWS.
    guarded(&sluice, &rule("0000-0000-0000"), &raise("30")).expect(1);
    until("AWS has made the change", || (write_capacity(&server) == 20).then_some(()));
}

#[test]
fn a_raise_above_the_most_needs_its_name_typed_whatever_yes_says() {
    let server = Server::start(&[]);
    create_table(&server.cloud(), "quotes", 10);
    let sluice = Sluice::at(&server.endpoint);
    let config = "[contexts.prod]\nregion = \"*\"\nmax_write_capacity = 15\n";
    let refused = guarded(&sluice, config, &["capacity", "quotes", "--write", "20", "--yes"]).expect(1);
    assert!(refused.err.contains("above the 15 of max_write_capacity"), "{}", refused.err);
    assert_eq!(write_capacity(&server), 10);
    guarded(&sluice, config, &["capacity", "quotes", "--write", "15", "--yes"]).expect(0);
    until("AWS has made the change", || (write_capacity(&server) == 15).then_some(()));
}

#[test]
fn an_undoing_that_raises_above_the_most_needs_its_name_typed_whatever_yes_says() {
    let server = Server::start(&[]);
    create_table(&server.cloud(), "quotes", 20);
    let sluice = Sluice::at(&server.endpoint);
    guarded(&sluice, "", &["capacity", "quotes", "--write", "10", "--yes"]).expect(0);
    until("AWS has made the change", || (write_capacity(&server) == 10).then_some(()));
    let line = sluice.run(&["audit", "--json"]).expect(0).last_json();
    assert_eq!(line["outcome"], "done", "{line}");
    let undo = ["audit", "--undo", &line["number"].to_string(), "--yes"];
    let config = "[contexts.prod]\nregion = \"*\"\nmax_write_capacity = 15\n";
    let refused = guarded(&sluice, config, &undo).expect(1);
    assert!(refused.err.contains("20 WCU for table quotes is above the 15 of max_write_capacity"), "{}", refused.err);
    assert_eq!(write_capacity(&server), 10);
    guarded(&sluice, "", &undo).expect(0);
    until("AWS has made the change", || (write_capacity(&server) == 20).then_some(()));
}

#[test]
fn a_job_is_told_nothing_where_its_context_is_read_only_and_a_dry_run_tells_what_it_would() {
    let sluice = Sluice::new();
    let journal = Journal::open(&sluice.state.path().join("journal.sqlite")).unwrap();
    let spec = Spec::Restore(RestoreSpec { table: "quotes".into(), ..RestoreSpec::default() });
    let context = sluicegate::cloud::Context {
        profile: Some("prod".into()),
        region: Some("eu-west-1".into()),
        ..sluicegate::cloud::Context::default()
    };
    let id = journal.create_job(&spec, &context, None).unwrap();
    let config = "[contexts.production]\nprofile = \"prod\"\nread_only = true\n";
    for command in [&["pause", &id.0][..], &["cancel", &id.0], &["rate", &id.0, "5"]] {
        let refused = guarded(&sluice, config, command).expect(1);
        assert!(refused.err.contains("[contexts.production]"), "{command:?}: {}", refused.err);
        let dry = guarded(&sluice, config, &[command, &["--dry-run"][..]].concat()).expect(0);
        assert!(dry.out.contains(&format!("sluice {} {id}", command[0])), "{command:?}: {}", dry.out);
    }
    let job = journal.job(&id).unwrap();
    assert_eq!((job.control, job.rate), (sluicegate::jobs::journal::Control::Run, None));
    guarded(&sluice, config, &["--read-write", "pause", &id.0]).expect(0);
    assert_eq!(journal.job(&id).unwrap().control, sluicegate::jobs::journal::Control::Pause);
    // What was refused or only shown is no change: the audit has the one that was made, and by which command.
    let audit = sluice.run(&["audit", "--job", &id.0, "--commands"]).expect(0).out;
    assert_eq!(audit.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>(), [format!("sluice pause {id}")]);
    assert!(audit.contains(" prod eu-west-1"), "{audit}");
}

#[test]
fn a_configuration_that_can_not_be_understood_stops_every_command_that_acts() {
    let sluice = Sluice::at("http://127.0.0.1:9");
    let wrong = "[contexts.prod]\nprofile = \"local\"\nreadonly = true\n";
    for command in [&["tables"][..], &["capacity", "quotes", "--write", "20", "--yes"]] {
        let ended = guarded(&sluice, wrong, command).expect(2);
        assert!(
            ended.err.contains("config.toml:3: there is no key \"readonly\": did you mean read_only?"),
            "{}",
            ended.err
        );
    }
    // What only shows this machine goes on.
    guarded(&sluice, wrong, &["jobs"]).expect(0);
    guarded(&sluice, wrong, &["keymap"]).expect(0);
}

#[test]
fn what_a_dead_job_raised_in_a_guarded_context_is_not_given_back_from_another() {
    let server = Server::start(&[]);
    create_table(&server.cloud(), "quotes", 20);
    let sluice = Sluice::at(&server.endpoint);
    let context = sluicegate::cloud::Context {
        profile: Some("vault".into()),
        region: Some("us-east-1".into()),
        endpoint_url: Some(server.endpoint.clone()),
    };
    let journal = Journal::open(&sluice.state.path().join("journal.sqlite")).unwrap();
    let spec = Spec::Restore(RestoreSpec { table: "quotes".into(), ..RestoreSpec::default() });
    let id = journal.create_job(&spec, &context, None).unwrap();
    journal.set_state(&id, State::Interrupted).unwrap();
    journal.remember_bump(&context, &Resource::Table("quotes".into()), 10, 20, Some(&id)).unwrap();
    let config = "[contexts.vault]\nprofile = \"vault\"\nread_only = true\n";
    let told = guarded(&sluice, config, &["jobs", "--yes"]).expect(0);
    assert!(told.err.contains("read-only: table quotes keeps what it was raised to"), "{}", told.err);
    let told = guarded(&sluice, config, &["capacity", "--give-back", "--yes"]).expect(1);
    assert!(told.err.contains("[contexts.vault] of config.toml is read_only"), "{}", told.err);
    assert_eq!(write_capacity(&server), 20);
    assert_eq!(journal.open_bumps().unwrap().len(), 1, "it stays owed");
    // Without a terminal and without a yes nothing is given back either.
    let refused = guarded(&sluice, "", &["capacity", "--give-back"]).expect(2);
    assert!(refused.err.contains("--yes"), "{}", refused.err);
    assert_eq!(write_capacity(&server), 20);
}

#[test]
fn a_repair_is_refused_where_the_replica_is_read_only_and_its_source_is_not() {
    let server = Server::start(&[]);
    for table in ["quotes", "copy"] {
        create_table(&server.cloud(), table, 10);
    }
    let sluice = Sluice::at(&server.endpoint);
    let config = "[contexts.vault]\nprofile = \"vault\"\nread_only = true\n";
    let repair = ["verify", "-t", "quotes", "--replica", "copy", "--to-profile", "vault", "--repair", "--yes"];
    let refused = guarded(&sluice, config, &repair).expect(1);
    assert!(refused.err.contains("read-only mode refuses"), "{}", refused.err);
}
