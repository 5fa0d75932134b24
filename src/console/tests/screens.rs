//! Every screen, from one list: each opened by keys in a world that holds everything, and each where there is nothing,
//! where nothing is known yet, and where nothing can be read.

use std::fmt::Write as _;

use super::*;

/// The sizes that every screen is made for.
pub(super) const FOUR_SIZES: [(u16, u16); 4] = [(120, 40), (80, 24), (40, 12), (1, 1)];

/// Each screen and what lies over one, with the keys that lead there from the list of tables.
const SCREENS: &[(&str, &str)] = &[
    ("the tables", "down"),
    ("a table", ": table space quotes enter down"),
    ("the streams", "2"),
    ("a stream", ": stream space restore enter"),
    ("the mappings of a stream", ": lambda space restore enter"),
    ("a tail", ": tail space restore enter"),
    ("the jobs", "3"),
    ("a restore", ": job space r-7f3a enter"),
    ("a put worker", ": job space w-19ab enter"),
    ("a replica", ": job space c-11aa enter"),
    ("a verify", ": job space v-1a2b enter"),
    ("an autoscaler", "A"),
    ("the dead letters", ": letters space r-7f3a enter"),
    ("the restore form", ": restore space into space quotes enter s3://b/k"),
    ("the backup form", ": backup space quotes enter s3://backups"),
    ("the replica form", ": replicate space quotes enter copy"),
    ("the event tables", "4"),
    ("the scrubber", "4 enter left left [ right right ]"),
    ("the replay form", "4 enter enter"),
    ("a question", ": job space r-7f3a enter +"),
    ("a typed line", "G k ="),
    ("the log of a job", ": job space r-7f3a enter l"),
    ("what stands out", ": job space r-7f3a enter n"),
    ("a decision", "A enter"),
    ("the help", "?"),
    ("the words on screen", "f1"),
    ("the palette", ": quo"),
    ("the choice of a context", "P"),
];

/// A console on one of [`SCREENS`], drawn in Unicode or in ASCII.
pub(super) async fn opened(title: &str, unicode: bool, size: (u16, u16)) -> Tester {
    let (_, keys) = SCREENS.iter().find(|(known, _)| *known == title).unwrap();
    let holds = Holds::Everything(Arc::new(fixture::events()));
    let mut tester = Tester::over(holds, Screen::Tables, Mode::Normal, size);
    tester.runtime.app.themes.unicode = unicode;
    tester.runtime.app.draw_in_theme();
    tester.send(Msg::Jobs(world::jobs(), Vec::new()));
    tester.look().await;
    tester.press(keys).await;
    // What a form looks at is looked at once nothing more is typed.
    tester.pass(600).await;
    tester
}

/// All of them.
pub(super) fn titles() -> impl Iterator<Item = &'static str> {
    SCREENS.iter().map(|(title, _)| *title)
}

#[tokio::test]
async fn the_list_of_screens_leaves_none_out() {
    let mut seen: Vec<std::mem::Discriminant<Screen>> = Vec::new();
    for title in titles() {
        let tester = opened(title, true, (120, 40)).await;
        seen.push(std::mem::discriminant(&tester.runtime.app.screen));
    }
    for screen in all_screens() {
        assert!(seen.contains(&std::mem::discriminant(&screen)), "none of the list leads to {screen:?}");
    }
}

macro_rules! snapshots {
    ($name:ident, $title:expr) => {
        #[tokio::test]
        async fn $name() {
            for size in FOUR_SIZES {
                let mut tester = opened($title, true, size).await;
                let drawn = tester.look().await;
                insta::assert_snapshot!(format!("{}_{}x{}", stringify!($name), size.0, size.1), drawn);
            }
        }
    };
}

snapshots!(an_autoscaler, "an autoscaler");
snapshots!(a_put_worker, "a put worker");
snapshots!(a_replica, "a replica");
snapshots!(a_verify, "a verify");
snapshots!(the_backup_form, "the backup form");

/// Every screen there is; of tables, streams and jobs one that is unknown.
fn all_screens() -> Vec<Screen> {
    let id = || JobId("r-none".into());
    let all = vec![
        Screen::Tables,
        Screen::Streams,
        Screen::Jobs,
        Screen::Table("none".into()),
        Screen::Job(id()),
        Screen::Dead(id()),
        Screen::Restore,
        Screen::Autoscale(id()),
        Screen::Backup,
        Screen::Replica,
        Screen::EventTables,
        Screen::Playback,
        Screen::Replay,
        Screen::Stream("none".into()),
        Screen::Mappings("none".into()),
        Screen::Tail("none".into(), None),
    ];
    for screen in &all {
        // A new screen does not compile before it has its place in the list above.
        match screen {
            Screen::Tables
            | Screen::Streams
            | Screen::Jobs
            | Screen::Table(_)
            | Screen::Job(_)
            | Screen::Dead(_)
            | Screen::Restore
            | Screen::Autoscale(_)
            | Screen::Backup
            | Screen::Replica
            | Screen::EventTables
            | Screen::Playback
            | Screen::Replay
            | Screen::Stream(_)
            | Screen::Mappings(_)
            | Screen::Tail(..) => {}
        }
    }
    all
}

/// On a screen of which there is nothing.
fn empty(screen: &Screen, size: (u16, u16)) -> Tester {
    let tester = Tester::bare(Holds::Nothing, screen, size);
    tester.send(Msg::Jobs(Vec::new(), Vec::new()));
    if let Screen::Dead(id) = screen {
        tester.send(Msg::Letters(id.clone(), Vec::new(), 0));
    }
    tester
}

#[tokio::test]
async fn an_empty_screen_says_what_to_do_next() {
    for screen in all_screens() {
        let mut tester = empty(&screen, (120, 30));
        tester.look().await;
        let drawn = tester.look().await;
        let body: Vec<&str> = drawn.lines().skip(2).collect();
        let body = body.join("\n");
        let next = ["sluice ", "esc", "goes back", "follows", "starts", "s for", "opens", "…"];
        assert!(next.iter().any(|step| body.contains(step)), "{screen:?} says no next step:\n{drawn}");
    }
}

/// What a screen says between its header and its hint, with equal lines that follow each other as one.
fn body(drawn: &str, (width, height): (u16, u16)) -> String {
    let header = if width >= 60 && height >= 15 { 2 } else { usize::from(height >= 8) };
    let lines: Vec<&str> = drawn.lines().skip(header).collect();
    // What is below the last frame, or the last gap, are hint and keys, which have snapshots of their own.
    let frame = lines.iter().rposition(|line| line.starts_with('└')).map(|at| at + 1);
    let gap = lines.iter().rposition(|line| line.is_empty()).filter(|_| header == 2);
    let end = frame.or(gap).unwrap_or(lines.len() - usize::from(height >= 4));
    let mut out = String::new();
    for same in lines[..end].chunk_by(|one, next| one == next) {
        writeln!(out, "{}", same[0]).unwrap();
        if same.len() > 1 {
            writeln!(out, "    ({} more like this)", same.len() - 1).unwrap();
        }
    }
    out
}

/// All screens in one text.
async fn all_of(size: (u16, u16), open: impl Fn(&Screen, (u16, u16)) -> Tester) -> String {
    let mut out = String::new();
    for screen in all_screens() {
        let mut tester = open(&screen, size);
        tester.look().await;
        let drawn = tester.look().await;
        writeln!(out, "== {screen:?}\n{}", body(&drawn, size)).unwrap();
    }
    out
}

#[tokio::test]
async fn what_every_screen_says_where_there_is_nothing() {
    for size in FOUR_SIZES {
        insta::assert_snapshot!(format!("empty_{}x{}", size.0, size.1), all_of(size, empty).await);
    }
}

#[tokio::test]
async fn what_every_screen_says_before_anything_is_known() {
    for size in FOUR_SIZES {
        let loading = all_of(size, |screen, size| Tester::bare(Holds::Silence, screen, size)).await;
        insta::assert_snapshot!(format!("loading_{}x{}", size.0, size.1), loading);
    }
}

#[tokio::test]
async fn what_every_screen_says_where_nothing_can_be_read() {
    let error = || CloudError::new(Class::Transient, "no answer from the endpoint", "check the network");
    for size in FOUR_SIZES {
        let failed = all_of(size, |screen, size| {
            let tester = Tester::bare(Holds::Failure(error()), screen, size);
            // The watcher says it of the jobs, whatever is on screen.
            tester.send(Msg::JournalLost(world::JOURNAL_LOST.into()));
            tester
        });
        insta::assert_snapshot!(format!("failed_{}x{}", size.0, size.1), failed.await);
    }
}

#[tokio::test]
async fn in_ascii_every_screen_is_ascii_but_for_what_it_was_told() {
    for title in titles() {
        let mut tester = opened(title, false, (120, 40)).await;
        for size in [(400, 120), (120, 40), (80, 24), (40, 12), (1, 1)] {
            tester.resize(size).await;
            let drawn = tester.screen();
            // Nothing in this world has a name that is not ASCII.
            let strange: String = drawn.lines().filter(|line| !line.is_ascii()).collect();
            assert_eq!(strange, "", "{title} at {size:?}");
        }
    }
}

#[tokio::test]
async fn in_ascii_what_aws_told_is_shown_as_it_is() {
    let mut tester = Tester::open(Screen::Jobs, Mode::Normal, (120, 40));
    tester.runtime.app.themes.unicode = false;
    tester.runtime.app.draw_in_theme();
    let mut job = fixture::job("r-7f3a", State::Running);
    let Spec::Restore(spec) = &mut job.spec else { panic!("no restore") };
    spec.table = "größe-日本".into();
    tester.send(Msg::Jobs(vec![job], Vec::new()));
    tester.sees("größe-日 本").await;
}
