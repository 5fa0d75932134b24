//! What is due to be asked of AWS: only what is on screen, and no oftener than it changes or costs.

use super::app::{App, Screen, WINDOWS};
use super::effect::Effect;
use super::form::Name;

/// How often lists are asked for, ms.
const LIST_MS: i64 = 5000;
/// How often while something is being changed, ms.
const CHANGING_MS: i64 = 1000;
/// How long the form waits for the next letter before it looks at the source, ms.
const TYPING_MS: i64 = 500;

impl App {
    /// The questions whose time has come.
    pub(super) fn due(&mut self) -> Vec<Effect> {
        let mut effects = Vec::new();
        if self.identified_ms.is_none_or(|at| self.now_ms - at >= 60_000) {
            self.identified_ms = Some(self.now_ms);
            effects.push(Effect::Identify);
        }
        match self.screen.clone() {
            Screen::Tables => self.due_tables(&mut effects),
            Screen::Streams => self.due_streams(&mut effects),
            Screen::Restore => {
                self.due_tables(&mut effects);
                self.due_streams(&mut effects);
                self.due_measure(&mut effects);
            }
            Screen::Job(id) => {
                if let Some(table) = self.job(&id).map(|job| job.spec.table().to_owned()) {
                    self.due_job_table(&table, &mut effects);
                }
            }
            Screen::Jobs | Screen::Dead(_) | Screen::Autoscale(_) => {}
        }
        effects
    }

    /// CloudWatch charges for each metric asked for (us-east-1: $0.01 per 1,000); the embedded one doesn't.
    fn minutes_every(&self) -> i64 {
        if self.place.context.is_loopback() { 5000 } else { 30_000 }
    }

    fn due_tables(&mut self, effects: &mut Vec<Effect>) {
        let rows = self.tables.rows.as_deref().unwrap_or_default();
        let changing = rows.iter().any(|table| table.status != "ACTIVE");
        // A hundred tables are a hundred DescribeTable calls: at most about ten a second.
        let every = if changing { CHANGING_MS } else { LIST_MS }.max(rows.len() as i64 * 100);
        let names: Vec<String> = rows.iter().map(|table| table.name.clone()).collect();
        if self.tables.is_due(self.now_ms, every) {
            self.tables.asked_ms = Some(self.now_ms);
            self.tables.request = self.next_request();
            effects.push(Effect::LoadTables(self.tables.request));
        }
        if !names.is_empty() && self.table_minutes_ms.is_none_or(|at| self.now_ms - at >= self.minutes_every()) {
            self.table_minutes_ms = Some(self.now_ms);
            effects.push(Effect::LoadTableMinutes(names, self.now_ms - 8 * 60_000, self.now_ms));
        }
    }

    fn due_streams(&mut self, effects: &mut Vec<Effect>) {
        let rows = self.streams.rows.as_deref().unwrap_or_default();
        let names: Vec<String> = rows.iter().map(|stream| stream.name.clone()).collect();
        // ListShards and DescribeStreamSummary for each: FORMATS.md 4 has the limits.
        if self.streams.is_due(self.now_ms, LIST_MS.max(rows.len() as i64 * 200)) {
            self.streams.asked_ms = Some(self.now_ms);
            self.streams.request = self.next_request();
            effects.push(Effect::LoadStreams(self.streams.request));
        }
        if !names.is_empty() && self.stream_minutes_ms.is_none_or(|at| self.now_ms - at >= self.minutes_every()) {
            self.stream_minutes_ms = Some(self.now_ms);
            effects.push(Effect::LoadStreamMinutes(names, self.now_ms - 8 * 60_000, self.now_ms));
        }
    }

    fn due_job_table(&mut self, table: &str, effects: &mut Vec<Effect>) {
        let changing = self.table(table).is_some_and(|table| table.status != "ACTIVE");
        let every = if changing { CHANGING_MS } else { LIST_MS };
        if self.table_asked_ms.is_none_or(|at| self.now_ms - at >= every) {
            self.table_asked_ms = Some(self.now_ms);
            effects.push(Effect::LoadTable(table.to_owned()));
        }
        if self.table_minutes_ms.is_none_or(|at| self.now_ms - at >= self.minutes_every()) {
            self.table_minutes_ms = Some(self.now_ms);
            let from = self.chart_end(table) - WINDOWS[self.window % WINDOWS.len()] - 60_000;
            effects.push(Effect::LoadTableMinutes(vec![table.to_owned()], from, self.now_ms));
        }
    }

    /// What the charts of the job on screen end at: now, when they were frozen, or when the job ended.
    fn chart_end(&self, table: &str) -> i64 {
        let Screen::Job(id) = &self.screen else { return self.now_ms };
        self.job(id).filter(|job| job.spec.table() == table).map_or(self.now_ms, |job| self.window_end(job))
    }

    fn due_measure(&mut self, effects: &mut Vec<Effect>) {
        let now = self.now_ms;
        let request = self.next_request();
        let Some(form) = &mut self.form else { return };
        let source = form.value(Name::Source).to_owned();
        if form.changed_ms.is_some_and(|at| now - at >= TYPING_MS) {
            form.changed_ms = None;
            if !source.is_empty() {
                self.measure_request = request;
                effects.push(Effect::Measure(request, source));
            }
        }
    }
}
