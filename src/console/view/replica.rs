//! A replica as a job: how far it follows, when its time runs out, what changes, and what drifted.
//!
//! ```text
//! ├ changes/s ─────────── 15m ─┬ shards ──────── lag ─┬ replica ────────────────────────┤
//! │ put                        │ 00001       closed    │ lag            1.2 s            │
//! │ removed                    │ └ 00004     12.3 s    │ time to trim   22h 10m          │
//! │                            │   00005      0 s      │ drift          3 of 1.01M keys  │
//! │                            │                       │ modified       31.2k    120/s   │
//! ```

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::charts::{self, Titled};
use super::job::pane;
use super::stream::drawn;
use super::streams::BEHIND_MS;
use crate::console::app::App;
use crate::console::history::History;
use crate::console::keymap::{Action, Scope};
use crate::console::widget::chart::{Series, Shape};
use crate::console::widget::quantity::{clock, count, duration, exact, percent, rate};
use crate::console::widget::text::{clip, shown, wrap};
use crate::console::widget::{write, write_right};
use crate::jobs::journal::{ChangeCounts, ChangeKind, Job, ReplicaSample, State};
use crate::jobs::spec::{Kind, Spec, VerifySpec};
use crate::jobs::{Audited, ReplicateSpec};

/// Under this the time to trim is pressing, ms: two hours.
const PRESSING_MS: u64 = 2 * 3_600_000;
/// From this width on, columns, shards have their own pane.
const WIDE: u16 = 100;

/// Draws it in the place of the charts. False when the job keeps no replica.
pub fn draw(buf: &mut Buffer, area: Rect, app: &App, job: &Job) -> bool {
    if job.kind() != Kind::Replicate {
        return false;
    }
    let empty = History::default();
    let past = app.histories.get(&job.id).unwrap_or(&empty);
    let has_shards = past.newest.as_ref().is_some_and(|sample| !sample.shards.is_empty());
    let panes: &[Constraint] = if area.width >= WIDE && has_shards {
        &[Constraint::Fill(9), Constraint::Fill(7), Constraint::Length(46)]
    } else {
        &[Constraint::Fill(1), Constraint::Length(42)]
    };
    let areas = Layout::horizontal(panes.iter().copied()).split(area);
    for titled in charts(app, job).iter().flatten() {
        let inner = pane(buf, areas[0], app, &titled.title, charts::time_line(app), false);
        charts::draw(buf, inner, app, &titled.chart);
    }
    if let [_, middle, _] = &*areas {
        let inner = pane(buf, *middle, app, "shards", Line::raw(" lag "), true);
        draw_shards(buf, inner, app, job, past);
    }
    let inner = pane(buf, areas[areas.len() - 1], app, "replica", Line::default(), true);
    for (row, fact) in facts(app, job, past, usize::from(inner.width)).iter().enumerate() {
        fact.draw(buf, inner, row as u16, app);
    }
    true
}

/// What a replica's chart shows; `None` when the job keeps no replica.
pub(super) fn charts<'a>(app: &'a App, job: &Job) -> Option<Vec<Titled<'a>>> {
    if job.kind() != Kind::Replicate {
        return None;
    }
    let empty = History::default();
    let past = app.histories.get(&job.id).unwrap_or(&empty);
    let span = app.span_of_job(job);
    let from = span.from_ms;
    let line = |name, style, points| Series { name, style, shape: Shape::Line(past.gap_ms()), points };
    let series = vec![
        line("read", app.theme.dim, past.rates(from, |c| c.read as f64)),
        line("removed", Style::new(), past.rates(from, |c| c.deleted as f64)),
        line("put", app.theme.accent, past.rates(from, |c| c.written as f64)),
    ];
    Some(vec![Titled {
        title: "changes/s".to_owned(),
        chart: charts::framed(app, span, series, None, charts::no_sample(app, job)),
    }])
}

/// The shards that it reads, and how far each is behind; those furthest behind when there is no room for all.
fn draw_shards(buf: &mut Buffer, area: Rect, app: &App, job: &Job, past: &History) {
    let theme = &app.theme;
    let Some(sample) = &past.newest else { return };
    let rows = app.replica_shards(job, &sample.shards);
    let room = usize::from(area.height);
    let worst = rows.iter().filter_map(|row| row.lag_ms).max().unwrap_or_default();
    let hidden = rows.len().saturating_sub(room);
    let first = if hidden == 0 {
        0
    } else {
        // The one furthest behind is among those to see.
        let at = rows.iter().position(|row| row.lag_ms == Some(worst)).unwrap_or_default();
        at.saturating_sub(room / 2).min(hidden + 1)
    };
    let shown_rows = if hidden == 0 { room } else { room.saturating_sub(1) };
    for (n, row) in rows.iter().skip(first).take(shown_rows).enumerate() {
        let style = match row.lag_ms {
            None => theme.dim,
            Some(ms) if ms >= BEHIND_MS => theme.warn,
            Some(_) => Style::new(),
        };
        let branch = drawn(&row.branch, theme.glyphs.braille);
        let lag = match row.lag_ms {
            None => format!("{} ", row.life.as_str()),
            Some(0) => "0 s ".to_owned(),
            Some(ms) => format!("{} ", duration(ms as f64)),
        };
        // A shard's name is long: its lag stands clear of it.
        let room = usize::from(area.width).saturating_sub(lag.chars().count() + 1);
        let name = clip(&format!(" {branch}{}", shown(&row.name)), room);
        write(buf, area, n as u16, &Line::styled(name, style));
        write_right(buf, area, n as u16, &Line::styled(lag, style));
    }
    if hidden > 0 {
        let more = rows.len() - shown_rows;
        let words = format!(" … {more} more, worst {}", duration(worst as f64));
        write(buf, area, area.height - 1, &Line::styled(words, theme.dim));
    }
}

/// A line of the pane on the right.
enum Fact {
    /// A name, a value, and something beside it.
    Value(&'static str, String, Style),
    /// Words across.
    Words(String, Style),
}

impl Fact {
    fn draw(&self, buf: &mut Buffer, area: Rect, row: u16, app: &App) {
        match self {
            Self::Value(name, value, style) => {
                let name = Span::styled(format!(" {name:<13} "), app.theme.dim);
                write(buf, area, row, &Line::from(vec![name, Span::styled(value.clone(), *style)]));
            }
            Self::Words(words, style) => write(buf, area, row, &Line::styled(format!(" {words}"), *style)),
        }
    }
}

/// The lag, and the time to trim: what is said of a replica where there is room for nothing else.
pub fn essentials(app: &App, job: &Job) -> Vec<(String, Style)> {
    let past = app.histories.get(&job.id).filter(|_| job.kind() == Kind::Replicate);
    let Some(past) = past else { return Vec::new() };
    let lag = past.worst_lag_ms().map(|ms| {
        let style = if ms >= BEHIND_MS { app.theme.warn } else { Style::new() };
        (format!("lag {}", duration(ms as f64)), style)
    });
    let trim = past.newest.as_ref().and_then(|sample| sample.replica.as_ref());
    let trim = trim.map(|replica| (format!("{} to trim", duration(replica.trim_ms as f64)), trim_style(app, replica)));
    lag.into_iter().chain(trim).collect()
}

fn trim_style(app: &App, replica: &ReplicaSample) -> Style {
    if replica.trim_ms < PRESSING_MS { app.theme.bad } else { Style::new() }
}

fn facts(app: &App, job: &Job, past: &History, width: usize) -> Vec<Fact> {
    let theme = &app.theme;
    let plain = Style::new();
    let mut facts = Vec::new();
    let Some(sample) = &past.newest else {
        return vec![Fact::Words("nothing was read yet".to_owned(), theme.dim)];
    };
    if let Some(lag) = past.worst_lag_ms() {
        let style = if lag >= BEHIND_MS { theme.warn } else { plain };
        facts.push(Fact::Value("lag", duration(lag as f64), style));
    }
    let none = ReplicaSample::default();
    let replica = sample.replica.as_ref();
    if let Some(replica) = replica {
        facts.push(Fact::Value("time to trim", duration(replica.trim_ms as f64), trim_style(app, replica)));
    }
    let replica = replica.unwrap_or(&none);
    if let Some(gap) = &replica.gap {
        facts.extend(wrap(&shown(gap), width.saturating_sub(2)).into_iter().map(|words| Fact::Words(words, theme.bad)));
    }
    if let Some((read, total)) = replica.bootstrap {
        let share = format!("{} % of about {} items", percent(read.min(total), total.max(1)), count(total as f64));
        facts.push(Fact::Value("bootstrap", share, theme.accent));
    }
    facts.extend(audit_facts(app, job));
    facts.extend(kinds(past, &replica.changes, job.state == State::Running));
    facts
}

/// What was changed, by kind: in all, and each second.
fn kinds(past: &History, changes: &ChangeCounts, runs: bool) -> Vec<Fact> {
    let kind = |(name, of): ChangeKind| {
        let speed = past.change_rate(of).filter(|_| runs).map_or(String::new(), |speed| format!("{}/s", rate(speed)));
        Fact::Value(name, format!("{:>13}  {speed:>8}", exact(of(changes))), Style::new())
    };
    changes.kinds().map(kind).collect()
}

/// What drifted, and how much was looked at.
fn audit_facts(app: &App, job: &Job) -> Vec<Fact> {
    let theme = &app.theme;
    let Spec::Replicate(spec) = &job.spec else { return Vec::new() };
    let Some(audit) = app.audits.get(&job.id) else {
        let words = if spec.audit_rcu.is_some() { "not audited yet" } else { "not audited (--audit-rcu)" };
        return vec![Fact::Value("drift", words.to_owned(), theme.dim)];
    };
    let drift = audit.drift();
    let helps = match against_drift(app, job, spec) {
        Some((key, Action::Repair)) => format!("; {key} repairs"),
        Some((key, _)) => format!("; {key} compares"),
        None => String::new(),
    };
    let mut facts = vec![match (drift, audit.before) {
        // Proven only once a pass was through.
        (0, Some(_)) => Fact::Value("drift", "none".to_owned(), theme.good),
        (0, None) => Fact::Value("drift", "none so far".to_owned(), Style::new()),
        _ => Fact::Value("drift", format!("{} keys{helps}", count(drift as f64)), theme.bad),
    }];
    facts.push(Fact::Value("audited", audited_words(audit), Style::new()));
    if let (Some(before), Some(ended)) = (audit.before, audit.ended_ms) {
        let found = if before.drift() == 0 { "none".to_owned() } else { count(before.drift() as f64) };
        let words = format!("{found} in {} keys, {}", count(before.checked as f64), clock(ended));
        facts.push(Fact::Value("pass before", words, theme.dim));
    }
    facts
}

/// The key that helps against drift, and what it does: of a replica both ways only a person knows which side is right.
fn against_drift(app: &App, job: &Job, spec: &ReplicateSpec) -> Option<(String, Action)> {
    let can = |repair| VerifySpec::of_replica(&job.id, spec, repair).is_ok();
    let action = if can(true) { Action::Repair } else { Action::Verify };
    let key = app.keymap.chord(Scope::Job, action).filter(|_| can(false))?;
    Some((key, action))
}

fn audited_words(audit: &Audited) -> String {
    format!(
        "{} %, {} keys since {}",
        (audit.share() * 100.0).floor(),
        count(audit.found.checked as f64),
        clock(audit.began_ms)
    )
}

/// What is pressing about a replica, with the key that helps.
pub fn hint(app: &App, job: &Job) -> Option<String> {
    let past = app.histories.get(&job.id)?;
    let replica = past.newest.as_ref()?.replica.as_ref()?;
    if let Some(gap) = &replica.gap {
        return Some(shown(gap));
    }
    if replica.trim_ms < PRESSING_MS {
        let helps = match app.table_of_job(job) {
            Ok(_) => format!("{} raises what the replica takes", app.keymap.chord(Scope::Job, Action::Raise)?),
            Err(why) => why,
        };
        return Some(format!(
            "in {} the oldest change that is not in the replica leaves the stream and is lost to it: {helps}",
            duration(replica.trim_ms as f64)
        ));
    }
    let drift = app.audits.get(&job.id).map_or(0, Audited::drift);
    let Spec::Replicate(spec) = &job.spec else { return None };
    if drift == 0 {
        return None;
    }
    let helps = match against_drift(app, job, spec) {
        Some((key, Action::Repair)) => format!(": {key} repairs them"),
        Some((key, _)) => format!(": {key} compares both tables, and what is right is yours to write"),
        None => String::new(),
    };
    Some(format!("the audit found {} keys that drifted{helps}", exact(drift)))
}
