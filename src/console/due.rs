//! What is due to be asked of AWS: only what is on screen, and no oftener than it changes or costs.

use super::app::{App, Screen};
use super::backup;
use super::columns::{Arranged, KNOWN_OF_NAMES, List, Named};
use super::effect::Effect;
use super::filter::Verdict;
use super::form::Name;
use super::replica;
use crate::jobs::JobId;
use crate::jobs::spec::Spec;

/// How often it is asked who the credentials belong to while that is not known, or while they end soon, ms.
const IDENTIFY_MS: i64 = 60_000;
/// How often lists are asked for, ms.
const LIST_MS: i64 = 5000;
/// How often a row of a list that stayed as it was is described, ms: its age is a warning from 15 s on.
const CALM_MS: i64 = 10_000;
/// How often while something is being changed, ms.
const CHANGING_MS: i64 = 1000;
/// How often the shards of a table's changes are listed, ms: `DescribeStream` is ten a second for the account.
const SHARDS_MS: i64 = 15_000;
/// So many tables are described all, for sorting and for the form; of more, those on screen.
const FEW: usize = 100;
/// So many tables or streams are described at once because a filter or an order must know them: they take their turn in the
/// budget, and the next follow when these are there.
const PAGE: usize = 20;
/// A description of that age, ms, still tells how large a table is: AWS counts about every six hours.
const DESCRIBED_MS: i64 = 3_600_000;
/// So many are asked about in CloudWatch at once for the same reason: two metrics each, 500 a call.
const MEASURED_PAGE: usize = 200;
/// How long the form waits for the next letter before it looks at the source, ms.
const TYPING_MS: i64 = 500;

impl App {
    /// The questions whose time has come.
    pub(super) fn due(&mut self) -> Vec<Effect> {
        if let Some(mut effects) = self.due_while_lost() {
            if !self.visiting {
                effects.extend(self.due_beside());
            }
            return effects;
        }
        let mut effects = Vec::new();
        if self.visiting {
            // Beside the one at hand, a context is listed and nothing else.
            match self.screen {
                Screen::Tables => self.due_tables(&mut effects),
                Screen::Streams => self.due_streams(&mut effects),
                _ => {}
            }
            return effects;
        }
        if self.identified_ms.is_none_or(|at| self.now_ms - at >= self.identify_every()) {
            self.identified_ms = Some(self.now_ms);
            effects.push(Effect::Identify);
        }
        if let Some(table) = self.table_in_palette() {
            self.due_description(&table, &mut effects);
        }
        match self.screen.clone() {
            Screen::Tables => self.due_tables(&mut effects),
            Screen::Streams => self.due_streams(&mut effects),
            Screen::Restore => {
                self.due_tables(&mut effects);
                self.due_streams(&mut effects);
                self.due_look(&mut effects);
            }
            Screen::Table(name) => self.due_table(&name, &mut effects),
            Screen::Job(id) => {
                self.due_table_shards(&id, &mut effects);
                self.due_past(&id, &mut effects);
                // Of a job elsewhere nothing is asked here, where another table may have that name.
                let table = self.job(&id).and_then(|job| self.table_of_job(job).ok()).map(str::to_owned);
                if let Some(table) = table {
                    self.due_table(&table, &mut effects);
                }
            }
            Screen::Backup | Screen::Replica | Screen::EventTables => self.due_tables(&mut effects),
            Screen::Playback => effects.extend(super::playback::due(self)),
            Screen::Replay => self.due_streams(&mut effects),
            Screen::Stream(name) | Screen::Mappings(name) => self.due_stream(&name, &mut effects),
            Screen::Jobs | Screen::Dead(_) | Screen::Autoscale(_) | Screen::Tail(..) => {}
        }
        effects.extend(self.due_beside());
        effects.extend(self.due_to_keep());
        effects
    }

    /// Who the credentials belong to does not change; when they end is looked at oftener the nearer it is, since asking may
    /// start a program or a login service.
    fn identify_every(&self) -> i64 {
        let ends_soon = self.credentials_expire_ms.is_some_and(|at| at - self.now_ms < 15 * IDENTIFY_MS);
        if self.account.is_none() || ends_soon { IDENTIFY_MS } else { 10 * IDENTIFY_MS }
    }

    /// Names are listed; of the tables, those on screen are described, and of few all: a thousand tables are a page of
    /// names for each hundred and a description for each row.
    fn due_tables(&mut self, effects: &mut Vec<Effect>) {
        let names = self.table_names.rows.as_ref().map_or(0, Vec::len);
        // ListTables gives a hundred names a call.
        let every = LIST_MS * (names as i64 / 100 + 1);
        if self.table_names.is_due(self.now_ms, every) {
            self.table_names.asked_ms = Some(self.now_ms);
            self.table_names.request = self.next_request();
            effects.push(Effect::ListTables(self.table_names.request));
        }
        let minutes_due = self.table_minutes_ms.is_none_or(|at| self.now_ms - at >= self.minutes_every());
        // Which rows are on screen follows from all of them: not found out for nothing at each tick.
        let visible = match self.screen {
            Screen::Tables if minutes_due || self.descriptions_due() => self.visible_tables(),
            _ => Vec::new(),
        };
        self.due_descriptions(&visible, effects);
        let seen = !visible.is_empty() && self.tables.rows.is_some();
        if seen && minutes_due {
            self.table_minutes_ms = Some(self.now_ms);
            effects.push(Effect::LoadTableMinutes(visible, self.now_ms - 8 * 60_000, self.now_ms));
        }
        let is_filtered = self.screen == Screen::Tables && !self.tables_list.filter.is_empty();
        if is_filtered && self.tables_measuring_ms.is_none_or(|at| self.now_ms - at >= LIST_MS) {
            let unmeasured =
                self.arranged_tables().unknown.into_iter().filter(|row| row.is_here && row.table.is_some());
            let page: Vec<String> = unmeasured.take(MEASURED_PAGE).map(|row| row.name.to_owned()).collect();
            if !page.is_empty() {
                self.tables_measuring_ms = Some(self.now_ms);
                effects.push(Effect::LoadTableMinutes(page, self.now_ms - 8 * 60_000, self.now_ms));
            }
        }
    }

    /// The next tables that the filter or the order on screen must know, and that are not described yet.
    fn undescribed_tables(&self) -> Vec<String> {
        if self.screen != Screen::Tables {
            return Vec::new();
        }
        let is_sorted_by_known = KNOWN_OF_NAMES.contains(&List::Tables.sorted_by(&self.tables_list).name);
        let filter = self.tables_list.filter.filter();
        if is_sorted_by_known && !filter.compares_more_than(&KNOWN_OF_NAMES) {
            return Vec::new();
        }
        // What was kept from another day is described anew; what its name alone rules out is not.
        let is_old = |name: &&String| self.described_at_ms(name).is_none_or(|at| self.now_ms - at >= DESCRIBED_MS);
        let names = self.table_names.rows.iter().flatten();
        let old = names.filter(is_old).filter(|name| filter.verdict(&Named(name)) != Verdict::No);
        old.take(PAGE).cloned().collect()
    }

    /// The same of the streams.
    fn undescribed_streams(&self) -> Vec<String> {
        if self.screen != Screen::Streams {
            return Vec::new();
        }
        let Arranged { rows, unknown } = self.arranged_streams();
        let is_sorted_by_known = KNOWN_OF_NAMES.contains(&List::Streams.sorted_by(&self.streams_list).name);
        let rows = rows.into_iter().filter(|_| !is_sorted_by_known);
        let undescribed = unknown.into_iter().chain(rows).filter(|row| row.is_here && row.stream.status.is_empty());
        undescribed.take(PAGE).map(|row| row.stream.name.clone()).collect()
    }

    /// Asks for what is to be described: what is visible again and again, what the form names, of few tables all once.
    fn due_descriptions(&mut self, visible: &[String], effects: &mut Vec<Effect>) {
        if !self.descriptions_due() {
            return;
        }
        let Some(names) = &self.table_names.rows else { return };
        let mut wanted: Vec<String> =
            visible.iter().filter(|name| self.is_description_old(name, CALM_MS)).cloned().collect();
        let typed = match self.screen {
            Screen::Restore => self.form.as_ref().map(|form| form.value(Name::Table)),
            Screen::Replica => self.replica_form.as_ref().map(|form| form.value(replica::Name::Source)),
            Screen::Backup => self.backup_form.as_ref().map(|form| form.value(backup::Name::Table)),
            _ => None,
        };
        let few = if names.len() <= FEW { names.as_slice() } else { &[] };
        let unknown = few.iter().map(String::as_str).chain(typed).filter(|name| {
            !self.described.contains_key(*name) && names.binary_search_by(|known| known.as_str().cmp(name)).is_ok()
        });
        let unknown: Vec<String> = unknown.map(str::to_owned).chain(self.undescribed_tables()).collect();
        for name in unknown {
            if !wanted.contains(&name) {
                wanted.push(name);
            }
        }
        if wanted.is_empty() {
            return;
        }
        self.tables.asked_ms = Some(self.now_ms);
        self.tables.request = self.next_request();
        effects.push(Effect::LoadTables(self.tables.request, wanted));
    }

    fn descriptions_due(&self) -> bool {
        // What failed is not asked for again at once.
        let every = if self.trouble.is_some() { LIST_MS } else { TYPING_MS };
        self.tables.is_due(self.now_ms, every)
    }

    /// Whether a table is to be described again; one that was as the time before is after `calm_ms`.
    fn is_description_old(&self, name: &str, calm_ms: i64) -> bool {
        let Some(last) = self.described.get(name) else { return true };
        let is_changing = self.table(name).is_some_and(|table| table.status != "ACTIVE");
        let every = match last.is_same {
            _ if is_changing => CHANGING_MS,
            true => calm_ms,
            false => LIST_MS,
        };
        self.now_ms - last.at_ms >= every
    }

    fn due_streams(&mut self, effects: &mut Vec<Effect>) {
        let rows = self.streams.rows.as_deref().unwrap_or_default();
        // DescribeStreamSummary for each: FORMATS.md 4 has the limits.
        let every = LIST_MS.max(rows.len().min(FEW) as i64 * 100);
        let is_due = self.streams.is_due(self.now_ms, every);
        let minutes_due = self.stream_minutes_ms.is_none_or(|at| self.now_ms - at >= self.minutes_every());
        // Which rows are on screen follows from all of them: not found out for nothing at each tick.
        let names = if is_due || minutes_due { self.visible_streams() } else { Vec::new() };
        if is_due {
            self.streams.asked_ms = Some(self.now_ms);
            self.streams.request = self.next_request();
            let more: Vec<String> =
                self.undescribed_streams().into_iter().filter(|name| !names.contains(name)).collect();
            effects.push(Effect::LoadStreams(self.streams.request, [names.as_slice(), more.as_slice()].concat()));
        }
        let is_filtered = self.screen == Screen::Streams && !self.streams_list.filter.is_empty();
        if is_filtered && self.streams_measuring_ms.is_none_or(|at| self.now_ms - at >= LIST_MS) {
            let unmeasured =
                self.arranged_streams().unknown.into_iter().filter(|row| row.is_here && !row.stream.status.is_empty());
            let page: Vec<String> = unmeasured.take(MEASURED_PAGE / 2).map(|row| row.stream.name.clone()).collect();
            if !page.is_empty() {
                self.streams_measuring_ms = Some(self.now_ms);
                effects.push(Effect::LoadStreamMinutes(page, self.now_ms - 8 * 60_000, self.now_ms));
            }
        }
        if !names.is_empty() && minutes_due {
            self.stream_minutes_ms = Some(self.now_ms);
            effects.push(Effect::LoadStreamMinutes(names, self.now_ms - 8 * 60_000, self.now_ms));
        }
    }

    /// What the screen of one table or of a job on it needs.
    fn due_table(&mut self, table: &str, effects: &mut Vec<Effect>) {
        self.due_description(table, effects);
        self.due_chart(effects);
    }

    fn due_description(&mut self, table: &str, effects: &mut Vec<Effect>) {
        let asked = self.table_asked.as_ref().filter(|(name, _)| name == table).map(|(_, at)| *at);
        if self.is_description_old(table, LIST_MS) && asked.is_none_or(|at| self.now_ms - at >= CHANGING_MS) {
            self.table_asked = Some((table.to_owned(), self.now_ms));
            effects.push(Effect::LoadTable(table.to_owned()));
        }
    }

    /// The family of the shards that a replica is read from.
    fn due_table_shards(&mut self, id: &JobId, effects: &mut Vec<Effect>) {
        let Some(job) = self.job(id).filter(|job| job.state.is_live() && self.is_here(&job.context)) else { return };
        let Spec::Replicate(replicate) = &job.spec else { return };
        let table = replicate.table.clone();
        let asked = self.table_shards_asked.as_ref().filter(|(of, _)| of == id).map(|(_, at)| *at);
        if asked.is_none_or(|at| self.now_ms - at >= SHARDS_MS) {
            self.table_shards_asked = Some((id.clone(), self.now_ms));
            effects.push(Effect::LoadTableShards(id.clone(), table));
        }
    }

    fn due_look(&mut self, effects: &mut Vec<Effect>) {
        let now = self.now_ms;
        let request = self.next_request();
        let can = self.form.as_ref().is_some_and(|form| form.can_be_looked_at(self.known()));
        let Some(form) = &mut self.form else { return };
        if form.changed_ms.is_some_and(|at| now - at >= TYPING_MS) {
            form.changed_ms = None;
            if can {
                let spec = form.restore();
                form.is_looked_at = true;
                self.look_request = request;
                effects.push(Effect::Look(request, Box::new(spec)));
            }
        }
    }
}
