//! What each message makes of the state. Pure: what is to be done outside comes back as effects.

use std::collections::HashMap;

use super::app::{App, Described, Minutes, Notice, Overlay, Screen, Text};
use super::columns::Letters;
use super::effect::Effect;
use super::msg::Msg;
use super::spot::Spot;
use super::widget::text::shown;
use crate::cloud::inventory::Table;
use crate::cloud::{Class, CloudError};
use crate::jobs::journal::State;

/// How long a notice stays, ms.
const NOTICE_MS: i64 = 12_000;
/// How far back minutes of CloudWatch are kept, ms.
const KEPT_MS: i64 = 24 * 3_600_000;

impl App {
    pub(super) fn answered<T>(&mut self, answer: Result<T, CloudError>) -> Option<T> {
        match answer {
            Ok(value) => {
                // An answer that was on its way when the credentials were lost says nothing of them.
                if self.lost.is_none() {
                    self.trouble = None;
                }
                Some(value)
            }
            Err(error) => {
                if error.is_login {
                    self.lose_credentials(error);
                } else if matches!(error.class, Class::Auth | Class::Transient | Class::Unknown) {
                    self.trouble = Some(error);
                } else {
                    self.say(error.to_string(), true);
                }
                None
            }
        }
    }

    /// Shows what a dry run would do; several at once one below the other.
    fn would(&mut self, title: &str, lines: Vec<String>) {
        match &mut self.overlay {
            Some(Overlay::Text(known)) if known.title == title => known.add(lines),
            overlay => *overlay = Some(Overlay::Text(Text::new(title, lines))),
        }
    }

    /// The account of the credentials; that they may not be asked for it is no trouble.
    fn account_of(&mut self, answer: Result<String, CloudError>) -> Option<String> {
        match answer {
            Ok(account) => Some(account).filter(|account| !account.is_empty()),
            Err(error) if error.is_login => {
                self.lose_credentials(error);
                None
            }
            Err(_) => None,
        }
    }

    /// A table was described.
    fn describe(&mut self, table: Table) {
        let rows = self.tables.rows.get_or_insert_default();
        let known = rows.binary_search_by(|known| known.name.cmp(&table.name));
        let is_same = known.is_ok_and(|at| rows[at] == table);
        self.described.insert(table.name.clone(), Described { at_ms: self.now_ms, is_same });
        match known {
            Ok(at) => rows[at] = table,
            Err(at) => rows.insert(at, table),
        }
    }

    /// Everything is asked for again without waiting for its turn.
    pub(super) fn ask_again(&mut self) {
        for at_ms in [&mut self.table_names.at_ms, &mut self.streams.at_ms] {
            *at_ms = i64::MIN;
        }
        self.tables.asked_ms = None;
        self.table_names.asked_ms = None;
        self.streams.asked_ms = None;
        self.described.clear();
        self.table_asked = None;
        self.table_minutes_ms = None;
        self.stream_minutes_ms = None;
        self.at_stream.ask_again();
        self.chart_asked = None;
    }
}

fn keep(all: &mut HashMap<String, Minutes>, name: &str, points: Vec<(i64, f64)>, now_ms: i64) {
    let minutes = all.entry(name.to_owned()).or_default();
    minutes.extend(points);
    *minutes = minutes.split_off(&(now_ms - KEPT_MS));
}

/// What `msg` makes of the state, and what is to be done about it.
pub fn update(app: &mut App, msg: Msg) -> Vec<Effect> {
    let was_done = app.done;
    let mut effects = taken(app, msg);
    if let Some(Overlay::Text(text)) = &mut app.overlay {
        text.lay_out(app.size);
    }
    if app.done && !was_done {
        effects.extend(app.due_memory(true));
    }
    effects
}

fn taken(app: &mut App, msg: Msg) -> Vec<Effect> {
    // Only a tick and the mouse may leave the screen as it is.
    if !matches!(msg, Msg::Tick { .. } | Msg::Api(..) | Msg::Mouse(_)) {
        app.dirty = true;
    }
    match msg {
        Msg::At(id, msg) => return super::places::from(app, id, *msg),
        Msg::Connected(id, answer) => return super::places::connected(app, id, answer),
        Msg::Renewed(answer) => return app.tried(answer),
        Msg::Profiles(answer) => app.profiles = Some(answer),
        Msg::Background(background) => {
            app.themes.background = Some(background);
            app.draw_in_theme();
        }
        Msg::Key(key) => return super::keys::pressed(app, &key),
        Msg::Mouse(event) => return super::mouse::act(app, event),
        Msg::Paste(text) => return super::keys::pasted(app, &text),
        Msg::Resized => {}
        Msg::Shutdown => app.done = true,
        Msg::Tick { now_ms, questions } => return tick(app, now_ms, questions),
        Msg::Account(answer) => {
            if let Some(account) = app.account_of(answer) {
                app.account = Some(account);
                return app.guard_here();
            }
        }
        Msg::CredentialsExpire(at_ms) => app.credentials_expire_ms = at_ms,
        Msg::Api(asked, budget) => app.api.take(app.now_ms, asked, budget),
        Msg::TableNames(request, answer) => {
            if request == app.table_names.request {
                app.table_names.asked_ms = None;
                app.table_names.at_ms = app.now_ms;
                if let Some(names) = app.answered(answer) {
                    app.kept.tables_ms = None;
                    if let Some(rows) = &mut app.tables.rows {
                        rows.retain(|table| names.binary_search(&table.name).is_ok());
                    }
                    if names.is_empty() {
                        app.tables.rows = Some(Vec::new());
                    }
                    app.table_names.rows = Some(names);
                    return app.due();
                }
            }
        }
        Msg::Tables(request, answer) => {
            if request == app.tables.request {
                app.tables.asked_ms = None;
                app.tables.at_ms = app.now_ms;
                if let Some(tables) = app.answered(answer) {
                    app.tables.rows.get_or_insert_default();
                    tables.into_iter().for_each(|table| app.describe(table));
                    return app.due();
                }
            }
        }
        Msg::Table(answer) => {
            let is_gone = answer.as_ref().is_err_and(|error| error.class == Class::NotFound);
            if let Some(table) = app.answered(answer) {
                app.reopened_is_there(&Spot::Table(table.name.clone()));
                app.describe(table);
            }
            if is_gone {
                return app.reopened_is_gone(|spot| matches!(spot, Spot::Table(_)));
            }
        }
        Msg::Chart(request, answer) => {
            if request == app.chart_request
                && let Some(chart) = app.answered(answer)
            {
                app.charts.insert(chart.table.clone(), chart);
            }
        }
        Msg::TableMinutes(answer) => {
            for minutes in app.answered(answer).into_iter().flatten() {
                app.tables_measured_ms.insert(minutes.table.clone(), app.now_ms);
                keep(&mut app.consumed, &minutes.table, minutes.consumed, app.now_ms);
                keep(&mut app.throttled, &minutes.table, minutes.throttled, app.now_ms);
            }
        }
        Msg::Streams(request, answer) => {
            if request == app.streams.request {
                app.streams.asked_ms = None;
                app.streams.at_ms = app.now_ms;
                if let Some(mut rows) = app.answered(answer) {
                    app.kept.streams_ms = None;
                    let known = app.streams.rows.take().unwrap_or_default();
                    // What was not on screen is as it was described before.
                    for row in rows.iter_mut().filter(|row| row.status.is_empty()) {
                        if let Some(before) = known.iter().find(|before| before.name == row.name) {
                            row.clone_from(before);
                        }
                    }
                    app.streams.rows = Some(rows);
                    return app.due();
                }
            }
        }
        Msg::Stream(msg) => return super::stream::took(app, msg),
        Msg::StreamMinutes(answer) => {
            for minutes in app.answered(answer).into_iter().flatten() {
                app.streams_measured_ms.insert(minutes.stream.clone(), app.now_ms);
                keep(&mut app.stream_records, &minutes.stream, minutes.records, app.now_ms);
                keep(&mut app.stream_bytes, &minutes.stream, minutes.bytes, app.now_ms);
                keep(&mut app.stream_read, &minutes.stream, minutes.read, app.now_ms);
                keep(&mut app.stream_lag, &minutes.stream, minutes.lag_ms, app.now_ms);
            }
        }
        Msg::Jobs(jobs, bumps) => {
            app.journal_trouble = None;
            for job in &jobs {
                let before = app.job(&job.id).map(|known| known.state);
                if before.is_some_and(State::is_live) && !job.state.is_live() {
                    let is_bad = job.state != State::Done;
                    let message =
                        if job.message.is_empty() { String::new() } else { format!(": {}", shown(&job.message)) };
                    app.notice = Some(Notice {
                        at_ms: app.now_ms,
                        is_bad,
                        words: format!("{} {}{message}", job.id, job.state.as_str()),
                    });
                }
            }
            app.jobs = Some(jobs);
            app.bumps = bumps;
            let mut effects = app.reopened_job_is_known();
            super::raise::ask_owed(app);
            effects.extend(app.due());
            return effects;
        }
        Msg::Samples(id, samples, step_ms) => app.histories.entry(id).or_default().extend_by(samples, step_ms),
        Msg::Past(request, question, answer) => app.took_past(request, &question, answer),
        Msg::Notes(id, notes) => {
            let known = &mut app.histories.entry(id).or_default().notes;
            let last = known.last().map_or(i64::MIN, |note| note.number);
            known.extend(notes.into_iter().filter(|note| note.number > last));
        }
        Msg::Letters(id, letters, total) => {
            app.letters = Some(Letters::new(id, letters, total).after(app.letters.take()));
        }
        Msg::Decisions(decisions) => app.decisions = decisions,
        // Without them the shards are shown as a list.
        Msg::TableShards(id, Ok(shards)) => {
            app.trouble = None;
            app.table_shards.insert(id, shards);
        }
        Msg::TableShards(_, Err(error)) => tracing::debug!(%error, "the shards of a replica's source are not known"),
        Msg::Audited(id, audited) => {
            app.audits.insert(id, audited);
        }
        Msg::Differences(id, lines) => app.differences = Some((id, lines)),
        Msg::Draft(draft) => return vec![Effect::Edit(draft)],
        Msg::Edited(draft) => return vec![Effect::CheckDraft(draft)],
        Msg::JournalLost(words) => app.journal_trouble = Some(words),
        Msg::Looked(request, answer) => {
            if let Some(form) = app.form.as_mut().filter(|_| request == app.look_request) {
                form.looked = Some(answer);
            }
        }
        Msg::Started(id) => {
            app.say(format!("{id} was started; it goes on when the console is closed"), false);
            app.form = None;
            app.backup_form = None;
            app.replica_form = None;
            app.replay_form = None;
            app.behind.retain(|screen| !screen.is_form());
            app.trail.forget_forms();
            if app.screen.is_form() {
                app.screen = app.behind.pop().unwrap_or(Screen::Jobs);
            }
            return app.go_to_job(&id);
        }
        Msg::Done(words) => {
            app.say(words, false);
            // What was changed is looked at again without waiting for its turn.
            app.described.clear();
            app.table_asked = None;
            app.streams.at_ms = i64::MIN;
            app.at_stream.ask_again();
            return app.due();
        }
        Msg::Told(words) => app.say(words, false),
        Msg::FileExists(export) => super::export::ask_replace(app, *export),
        Msg::Refused(words) => app.say(words, true),
        Msg::Playback(request, answer) => return super::playback::answered(app, request, answer),
        Msg::WouldSend(change, context) => {
            let lines = vec![
                format!("{} {} on {}", change.service, change.operation, shown(&change.target)),
                String::new(),
                shown(&change.request),
                String::new(),
                "The same as:".to_owned(),
                shown(&change.as_aws_command_in(&context)),
            ];
            app.would("dry run: this would have been sent", lines);
        }
        Msg::WouldDo(title, lines) => app.would(&title, lines.iter().map(|line| shown(line)).collect()),
    }
    Vec::new()
}

fn tick(app: &mut App, now_ms: i64, questions: u64) -> Vec<Effect> {
    // Everything that a tick alone moves is shown to the second.
    if now_ms / 1000 != app.now_ms / 1000 {
        app.dirty = true;
    }
    app.now_ms = now_ms;
    if app.pending.tick(now_ms) {
        app.dirty = true;
    }
    super::playback::tick(app);
    match app.questions_seen {
        Some((at, seen)) if now_ms - at >= 2000 => {
            app.questions_per_second = questions.saturating_sub(seen) as f64 * 1000.0 / (now_ms - at) as f64;
            app.questions_seen = Some((now_ms, questions));
        }
        Some(_) => {}
        None => app.questions_seen = Some((now_ms, questions)),
    }
    if app.notice.as_ref().is_some_and(|notice| now_ms - notice.at_ms > NOTICE_MS) {
        app.notice = None;
        app.dirty = true;
    }
    let mut effects = app.due();
    effects.extend(app.due_memory(false));
    effects
}
