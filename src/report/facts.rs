//! What the journal knows of a job, as the blocks of its report.

use serde_json::Value;

use super::chart::{Chart, Series};
use super::history::{Bin, History};
use super::page::{Block, Page, Table};
use super::text::{clip, moment};
use crate::jobs::journal::{AuditFilter, Ending, Job, State};
use crate::jobs::plan::{bytes, grouped, span};
use crate::jobs::{JobId, Journal, JournalError, Kind, Standing};

/// Reasons of dead letters that are told, and letters of each.
const REASONS: usize = 20;
const EACH: usize = 3;
/// Characters of a dead letter, of a note and of a request that are shown.
const SHOWN: usize = 300;
/// Notes, decisions and changes that are shown: the newest.
const NOTES: usize = 500;
const CHANGES: usize = 200;
/// Lines of the audit that are looked through for what others changed: the newest.
const LOOKED_THROUGH: usize = 20_000;
/// Stretches of what held a job up, one after the other.
const STRETCHES: usize = 40;

/// The page of job `id`.
pub fn page(journal: &Journal, id: &JobId, now_ms: i64) -> Result<Page, JournalError> {
    let job = journal.job(id)?;
    let mut page = Page { title: format!("{} {id}: {}", job.kind(), job.spec.title()), ..Page::default() };
    about(&job, now_ms, &mut page);
    if let Some(history) = history(journal, &job)? {
        limits(&history, &mut page);
        charts(&job, &history, &mut page);
    }
    replica(journal, &job, now_ms, &mut page)?;
    proofs(journal, &job, &mut page)?;
    changes(journal, &job, &mut page)?;
    decisions(journal, &job, &mut page)?;
    letters(journal, &job, &mut page)?;
    notes(journal, &job, &mut page)?;
    told(&job, &mut page);
    page.text(format!(
        "Made by sluice {} at {} UTC from the journal {}. All times are UTC.",
        env!("CARGO_PKG_VERSION"),
        moment(now_ms),
        journal.path().display()
    ));
    Ok(page)
}

fn history(journal: &Journal, job: &Job) -> Result<Option<History>, JournalError> {
    let Some((first, last)) = journal.sample_span(&job.id)? else { return Ok(None) };
    let mut history = History::new(job.created_ms, first, last);
    journal.each_sample(&job.id, |sample| history.take(sample))?;
    Ok(Some(history))
}

fn about(job: &Job, now_ms: i64, page: &mut Page) {
    let running = if job.state.is_live() { job.started_ms.map_or(0, |at| now_ms - at) } else { 0 };
    let seconds = (job.active_ms + running).max(0) as f64 / 1_000.0;
    let context = &job.context;
    let or = |text: &Option<String>, otherwise: &str| text.clone().unwrap_or_else(|| otherwise.to_owned());
    let mut facts = vec![
        ("job".to_owned(), format!("{} ({})", job.id, job.kind())),
        ("state".to_owned(), job.state.as_str().to_owned()),
        (
            "where".to_owned(),
            format!(
                "profile {}, region {}, endpoint {}",
                or(&context.profile, "of the environment"),
                or(&context.region, "of the profile"),
                or(&context.endpoint_url, "AWS")
            ),
        ),
        ("written down".to_owned(), moment(job.created_ms)),
    ];
    let mut fact = |name: &str, value: String| facts.push((name.to_owned(), value));
    if let Some(at) = job.started_ms {
        fact(if job.runs > 1 { "last begun" } else { "begun" }, moment(at));
    }
    if let Some(at) = job.ended_ms {
        fact("ended", moment(at));
    }
    let runs = if job.runs == 1 { "one run".to_owned() } else { format!("{} runs", job.runs) };
    fact("time at work", format!("{} in {runs}", span(seconds)));
    let counters = &job.counters;
    let done = job.spec.settled(counters);
    if seconds > 0.0 && done > 0 {
        fact("mean rate", format!("{:.1} records/s", done as f64 / seconds));
    }
    if let Some(parent) = &job.parent {
        fact("belongs to", parent.to_string());
    }
    page.blocks.push(Block::Facts(facts));
    if !job.message.is_empty() {
        let words = job.message.clone();
        page.blocks.push(if job.state == State::Failed { Block::Warning(words) } else { Block::Text(words) });
    }
    if job.state.is_live() {
        page.text(format!("It is {}: this is how it stood at {} UTC.", job.state.as_str(), moment(now_ms)));
    }
    totals(job, page);
}

fn totals(job: &Job, page: &mut Page) {
    let c = &job.counters;
    let mut table = Table::new(&[("what", false), ("total", true)]);
    let mut count = |what: &str, number: u64| {
        if number > 0 || matches!(what, "read" | "written" | "dead letters") {
            table.row([what.to_owned(), grouped(number)]);
        }
    };
    count("in the source", job.total.unwrap_or_default());
    count("read", c.read);
    count("taken by the stream", c.on_stream);
    count("written", c.written);
    count("of these: a later version took its place", c.replaced);
    count("deleted", c.deleted);
    count("left out on purpose", c.skipped);
    count("dead letters", c.dead);
    count("sent again", c.retried);
    count("refused for want of capacity", c.throttled);
    if c.bytes > 0 {
        table.row(["bytes read".to_owned(), bytes(c.bytes as f64)]);
    }
    for (what, units) in [("WCU consumed", c.wcu), ("RCU consumed", c.rcu)] {
        if units > 0.0 {
            table.row([what.to_owned(), format!("{units:.1}")]);
        }
    }
    page.heading("Totals");
    page.blocks.push(Block::Table(table));
    if job.kind() == Kind::Restore && job.state == State::Done {
        let settled = job.spec.settled(c);
        if settled == c.read {
            let there = if c.written == 0 && c.on_stream > 0 { "on the stream" } else { "written, deleted" };
            page.text(format!("Every record that was read is accounted for: {there}, left out, or a dead letter."));
        } else {
            let words = format!("{} were read and {} are accounted for.", grouped(c.read), grouped(settled));
            page.blocks.push(Block::Warning(words));
        }
    }
}

fn limits(history: &History, page: &mut Page) {
    let all = history.limited();
    if all.is_empty() {
        return;
    }
    page.heading("What held it up");
    let whole: f64 = all.iter().map(|(_, ms)| ms).sum();
    let mut table = Table::new(&[("limit", false), ("time", true), ("share", true)]);
    for (limit, ms) in all {
        table.row([limit, span(ms / 1_000.0), format!("{:.0} %", ms / whole * 100.0)]);
    }
    page.blocks.push(Block::Table(table));
    let mut stretches = history.stretches();
    if stretches.len() > 1 {
        // The longest ones, in the order of time.
        let left_out = stretches.len().saturating_sub(STRETCHES);
        if left_out > 0 {
            stretches.sort_by_key(|stretch| stretch.from_ms - stretch.to_ms);
            stretches.truncate(STRETCHES);
            stretches.sort_by_key(|stretch| stretch.from_ms);
        }
        let mut table = Table::new(&[("from", false), ("for", true), ("limit", false)]);
        for stretch in stretches {
            let seconds = (stretch.to_ms - stretch.from_ms) as f64 / 1_000.0;
            table.row([moment(stretch.from_ms), span(seconds), stretch.limit]);
        }
        page.blocks.push(Block::Table(table));
        if left_out > 0 {
            page.text(format!("{left_out} shorter stretches are left out."));
        }
    }
    if history.gaps > 0 {
        let times = if history.gaps == 1 { "once".to_owned() } else { format!("{} times", history.gaps) };
        page.text(format!(
            "No worker ran {times}, for {} in all: the charts show a gap there.",
            span(history.gap_ms as f64 / 1_000.0)
        ));
    }
}

fn charts(job: &Job, history: &History, page: &mut Page) {
    let chart = |title: &str, unit: &'static str, series: Vec<Series>| Chart {
        title: format!("{title}, {} to {} UTC", moment(history.from_ms), moment(history.to_ms)),
        unit,
        from_ms: history.from_ms,
        to_ms: history.to_ms,
        series,
        marks: None,
    };
    let has = |of: &dyn Fn(&Bin) -> bool| history.bins.iter().any(of);
    let line = |name: &str, values| Series { name: name.to_owned(), is_step: false, values };
    let mut records = Vec::new();
    for (name, of) in [
        ("read", (|bin| bin.read) as fn(&Bin) -> f64),
        ("on stream", |bin| bin.on_stream),
        ("written", |bin| bin.written),
    ] {
        if name == "read" || has(&|bin| of(bin) > 0.0) {
            records.push(line(name, history.per_second(of)));
        }
    }
    page.heading("Charts");
    let seconds = history.bin_ms() / 1_000.0;
    let width = if seconds < 60.0 { format!("{seconds:.1} s") } else { span(seconds) };
    page.text(format!(
        "Each point is the mean of {width}, as far as a worker ran in it; a lag and a capacity are the highest of it."
    ));
    let mut add = |chart: Chart| page.blocks.push(Block::Chart(Box::new(chart)));
    add(chart("Records", "records/s", records));
    if has(&|bin| bin.lag_ms.is_some()) {
        let lag = history.values(|bin| bin.lag_ms.map(|ms| ms as f64 / 1_000.0));
        let title = if job.kind() == Kind::Replicate { "Replica lag" } else { "Shard lag" };
        add(chart(title, "seconds", vec![line("the furthest behind", lag)]));
    }
    if has(&|bin| bin.wcu > 0.0 || bin.provisioned.is_some()) {
        let mut series = vec![line("consumed by this job", history.per_second(|bin| bin.wcu))];
        if has(&|bin| bin.provisioned.is_some()) {
            let values = history.values(|bin| bin.provisioned);
            series.push(Series { name: "provisioned".to_owned(), is_step: true, values });
        }
        let throttled = history.moments(|bin| bin.throttled > 0.0);
        let marks = (!throttled.is_empty()).then_some(("throttled", throttled));
        add(Chart { marks, ..chart("Write capacity", "WCU", series) });
    }
    if has(&|bin| bin.rcu > 0.0) {
        let read = history.per_second(|bin| bin.rcu);
        add(chart("Read capacity", "RCU", vec![line("consumed by this job", read)]));
    }
}

/// How a replica follows, what it was given, and what its own audit found.
fn replica(journal: &Journal, job: &Job, now_ms: i64, page: &mut Page) -> Result<(), JournalError> {
    let Standing { at_ms: Some(at_ms), replica: Some(replica), .. } = Standing::of(journal, job, now_ms)? else {
        return Ok(());
    };
    page.heading("Replica");
    page.text(format!("As it was at {} UTC.", moment(at_ms)));
    let facts = replica.facts(moment).into_iter().map(|(name, value)| (name.trim().to_owned(), value));
    page.blocks.push(Block::Facts(facts.collect()));
    Ok(())
}

/// The verify that belongs to the job, or what this one found if it is one.
fn proofs(journal: &Journal, job: &Job, page: &mut Page) -> Result<(), JournalError> {
    let all = journal.jobs()?;
    // One that was run by hand belongs to it as well: the same source and the same table, after the job had begun.
    let is_by_hand = |one: &Job| {
        one.kind() == Kind::Verify
            && job.kind() == Kind::Restore
            && one.created_ms >= job.created_ms
            && one.spec.table() == job.spec.table()
            && one.spec.sources() == job.spec.sources()
            && one.context.is_same_place(&job.context)
    };
    let is_its = |one: &Job| one.kind() == Kind::Verify && (one.parent.as_ref() == Some(&job.id) || one.id == job.id);
    let of_it = all.iter().filter(|one| is_its(one) || is_by_hand(one));
    for verify in of_it {
        page.heading(&format!("Proof: verify {}", verify.id));
        let found: Value =
            verify.report.as_deref().and_then(|line| serde_json::from_str(line).ok()).unwrap_or_default();
        let mut facts = vec![("state".to_owned(), verify.state.as_str().to_owned())];
        if let Some(at) = verify.ended_ms {
            facts.push(("ended".to_owned(), moment(at)));
        }
        for name in ["checked", "equal", "missing", "extra", "different", "changed", "dead", "skipped", "repaired"] {
            if let Some(count) = found[name].as_u64() {
                facts.push((name.to_owned(), grouped(count)));
            }
        }
        for (field, name) in [
            ("digest_source", "digest of the source"),
            ("digest_table", "digest of the table"),
            ("confidence", "what a sample tells"),
        ] {
            if let Some(text) = found[field].as_str() {
                facts.push((name.to_owned(), text.to_owned()));
            }
        }
        page.blocks.push(Block::Facts(facts));
        if verify.id != job.id && !verify.message.is_empty() {
            page.text(verify.message.clone());
        }
    }
    Ok(())
}

fn changes(journal: &Journal, job: &Job, page: &mut Page) -> Result<(), JournalError> {
    let own = AuditFilter { job: Some(job.id.clone()), ..AuditFilter::default() };
    let mut lines = journal.audit_of(&own, CHANGES + 1)?;
    let mut left_out = lines.len() > CHANGES;
    lines.truncate(CHANGES);
    // What others did meanwhile to the capacity of what it uses.
    let until = job.ended_ms.unwrap_or(i64::MAX);
    for target in
        [Some(job.spec.table()), job.spec.reads_stream()].into_iter().flatten().filter(|name| !name.is_empty())
    {
        let filter =
            AuditFilter { since_ms: Some(job.created_ms), target: Some(target.to_owned()), ..AuditFilter::default() };
        // Narrowed down before it is cut: what came after the job would take the place of what came with it.
        let mut of_others = journal.audit_of(&filter, LOOKED_THROUGH)?;
        left_out |= of_others.len() == LOOKED_THROUGH;
        of_others.retain(|line| {
            line.job.as_ref() != Some(&job.id)
                && line.at_ms <= until
                && matches!(line.change.operation.as_str(), "UpdateTable" | "UpdateShardCount")
                && line.context.is_same_place(&job.context)
        });
        left_out |= of_others.len() > CHANGES;
        lines.extend(of_others.into_iter().take(CHANGES));
    }
    lines.retain(|line| !line.is_refused());
    if lines.is_empty() {
        return Ok(());
    }
    lines.sort_by_key(|line| line.number);
    lines.dedup_by_key(|line| line.number);
    page.heading("What was changed");
    if left_out {
        page.text(format!(
            "The newest: {CHANGES} of this job and {CHANGES} of others to what it uses, at most. \
             More: sluice audit -n N --job {}",
            job.id
        ));
    }
    let mut table = Table::new(&[
        ("when", false),
        ("by", false),
        ("request", false),
        ("of", false),
        ("what", false),
        ("before", false),
    ]);
    for line in lines {
        let request = if line.change.request.is_empty() {
            "records in bulk: the totals count them".to_owned()
        } else {
            clip(&line.change.request, SHOWN)
        };
        let by = match &line.job {
            Some(id) if *id == job.id => "this job".to_owned(),
            Some(id) => id.to_string(),
            None => line.who,
        };
        let before = line.change.before.map(|before| clip(&before, SHOWN)).unwrap_or_default();
        table.row([moment(line.at_ms), by, line.change.operation, line.change.target, request, before]);
    }
    page.blocks.push(Block::Table(table));
    Ok(())
}

fn decisions(journal: &Journal, job: &Job, page: &mut Page) -> Result<(), JournalError> {
    if job.kind() != Kind::Autoscale {
        return Ok(());
    }
    let mut decisions = journal.decisions(Some(&job.id), 0, NOTES + 1)?;
    page.heading("What it decided");
    if decisions.len() > NOTES {
        decisions.drain(..decisions.len() - NOTES);
        page.text(format!("The newest {NOTES} decisions. More: sluice autoscale --log --lines N --job {}", job.id));
    }
    let mut table = Table::new(&[
        ("when", false),
        ("of", false),
        ("direction", false),
        ("decided", false),
        ("from", true),
        ("to", true),
        ("used/s", true),
        ("why", false),
    ]);
    for one in decisions {
        let dry = if one.dry_run && one.decided.is_change() { " (dry run: not sent)" } else { "" };
        table.row([
            moment(one.at_ms),
            one.resource().to_string(),
            one.direction,
            format!("{}{dry}", one.decided.as_str()),
            grouped(one.from),
            grouped(one.to),
            format!("{:.1}", one.consumed),
            one.reason,
        ]);
    }
    page.blocks.push(Block::Table(table));
    Ok(())
}

fn letters(journal: &Journal, job: &Job, page: &mut Page) -> Result<(), JournalError> {
    let (reasons, all) = journal.letter_reasons(&job.id, REASONS)?;
    if reasons.is_empty() {
        return Ok(());
    }
    page.heading("Dead letters");
    let mut table = Table::new(&[("reason", false), ("letters", true), ("still open", true)]);
    for (reason, letters, open) in &reasons {
        table.row([clip(reason, SHOWN), grouped(*letters), grouped(*open)]);
    }
    page.blocks.push(Block::Table(table));
    if all > reasons.len() as u64 {
        page.text(format!("{} more reasons: sluice dead list {}", all - reasons.len() as u64, job.id));
    }
    page.text(format!("The first {EACH} of each:"));
    let mut table =
        Table::new(&[("number", true), ("where", false), ("became", false), ("reason", false), ("bytes", false)]);
    for (reason, _, _) in &reasons {
        for dead in journal.letters_of_reason(&job.id, reason, EACH)? {
            let letter = &dead.letter;
            let place = match (&letter.shard, letter.line, letter.offset) {
                (Some(shard), _, _) => format!("{}, {shard}", letter.source),
                (None, Some(line), _) => format!("{}:{line}", letter.source),
                (None, None, Some(offset)) => format!("{}, byte {offset}", letter.source),
                (None, None, None) => letter.source.clone(),
            };
            let became = dead.fate.map_or("open", |fate| match fate.ending {
                Ending::Replayed => "replayed",
                Ending::Dropped => "dropped",
            });
            let payload = clip(&String::from_utf8_lossy(&letter.payload), SHOWN);
            table.row([dead.number.to_string(), place, became.to_owned(), clip(reason, SHOWN), payload]);
        }
    }
    page.blocks.push(Block::Table(table));
    Ok(())
}

fn notes(journal: &Journal, job: &Job, page: &mut Page) -> Result<(), JournalError> {
    let notes = journal.last_notes(&job.id, NOTES)?;
    if notes.is_empty() {
        return Ok(());
    }
    page.heading("What happened");
    let all = journal.note_count(&job.id)?;
    if all > notes.len() as u64 {
        page.text(format!("The newest {} of {} notes.", notes.len(), grouped(all)));
    }
    let mut table = Table::new(&[("when", false), ("", false), ("what", false)]);
    for note in notes {
        let level = if note.level == "info" { String::new() } else { note.level };
        table.row([moment(note.at_ms), level, clip(&note.words, SHOWN * 4)]);
    }
    page.blocks.push(Block::Table(table));
    Ok(())
}

/// Every option that it was begun with and that is not left at nothing.
fn told(job: &Job, page: &mut Page) {
    let Ok(Value::Object(options)) = serde_json::to_value(&job.spec) else { return };
    let said = |value: &Value| match value {
        Value::Null | Value::Bool(false) => None,
        Value::Array(list) if list.is_empty() => None,
        Value::Object(fields) if fields.is_empty() => None,
        Value::String(text) if text.is_empty() => None,
        Value::String(text) => Some(clip(text, SHOWN * 4)),
        Value::Bool(true) => Some("yes".to_owned()),
        other => Some(clip(&other.to_string(), SHOWN * 4)),
    };
    let options = options.iter().filter(|(name, _)| *name != "kind");
    let mut facts: Vec<(String, String)> =
        options.filter_map(|(name, value)| Some((name.replace('_', " "), said(value)?))).collect();
    if let Some(rate) = job.rate {
        facts.push(("cap set while it ran".to_owned(), format!("{rate} items/s")));
    }
    page.heading("What it was told");
    page.blocks.push(Block::Facts(facts));
}
