//! The loop: waits until something happens, lets `update` make of it what it does, and draws when that changed
//! anything. Terminal, input and everything outside are injected, so that tests drive this very loop.

use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use crossterm::event::Event;
use futures::{FutureExt as _, Stream, StreamExt as _};
use hdrhistogram::Histogram;
use ratatui::Terminal;
use ratatui::backend::Backend;
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::app::App;
use super::effect::{Draft, Effect};
use super::mouse;
use super::msg::Msg;
use super::update::update;
use super::view;

/// At most 30 frames a second.
pub const FRAME: Duration = Duration::from_millis(33);

/// Does what `update` asked for; answers come as messages.
pub trait Perform {
    /// Begins it, without waiting.
    fn perform(&mut self, effect: Effect);
}

/// A screen that a frame is shown on at once, and that can be left for the shell and come back.
pub trait Stage {
    /// A frame begins: the terminal keeps showing the one before.
    fn begin_frame(&mut self) -> io::Result<()> {
        Ok(())
    }
    /// The frame is whole.
    fn end_frame(&mut self) -> io::Result<()> {
        Ok(())
    }
    /// Asks the terminal to tell what the mouse does, or leaves the mouse to it.
    fn mouse(&mut self, _on: bool) -> io::Result<()> {
        Ok(())
    }
    /// Hands a text to the terminal's clipboard.
    fn copy(&mut self, _text: &str) -> io::Result<()> {
        Ok(())
    }
    /// Gives the terminal back, for another program.
    fn leave(&mut self) -> io::Result<()> {
        Ok(())
    }
    /// Takes the terminal over again.
    fn come_back(&mut self) -> io::Result<()> {
        Ok(())
    }
    /// Stops the process as ctrl-z does; returns when it goes on.
    fn suspend(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Where keys come from.
pub trait Keys: Stream<Item = io::Result<Event>> + Unpin {
    /// Another program has the terminal: its keys are not ours.
    fn pause(&mut self) {}
    /// The terminal is ours again.
    fn go_on(&mut self) {}
}

/// An editor that has the terminal.
struct Editing {
    editor: Child,
    draft: Draft,
}

/// The console while it runs.
pub struct Runtime<B: Backend, I, P> {
    terminal: Terminal<B>,
    /// The state.
    pub app: App,
    input: I,
    mailbox: mpsc::Receiver<Msg>,
    performer: P,
    frame: Duration,
    drawn: Option<Instant>,
    editing: Option<Editing>,
    /// The terminal tells what the mouse does.
    has_mouse: bool,
    /// Frames drawn so far.
    pub frames: u64,
    /// What each took to be made and handed to the terminal, µs.
    took: Histogram<u64>,
}

/// From 1 µs to a minute, to the percent.
fn frame_times() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000, 2).expect("1 µs to a minute with two digits is a histogram")
}

impl<B, I, P> Runtime<B, I, P>
where
    B: Backend + Stage,
    B::Error: Send + Sync + 'static,
    I: Keys,
    P: Perform,
{
    /// A console that is about to begin. `frame` is the shortest time between two frames.
    pub fn new(
        terminal: Terminal<B>,
        app: App,
        input: I,
        mailbox: mpsc::Receiver<Msg>,
        performer: P,
        frame: Duration,
    ) -> io::Result<Self> {
        let mut app = app;
        if let Ok(size) = terminal.size() {
            app.size = (size.width, size.height);
        }
        let mut runtime = Self {
            terminal,
            app,
            input,
            mailbox,
            performer,
            frame,
            drawn: None,
            editing: None,
            has_mouse: false,
            frames: 0,
            took: frame_times(),
        };
        let effects = runtime.app.begin();
        runtime.perform(effects)?;
        Ok(runtime)
    }

    /// The terminal, for tests to read.
    #[cfg(test)]
    pub fn terminal(&self) -> &Terminal<B> {
        &self.terminal
    }

    /// The same, to be resized.
    #[cfg(test)]
    pub fn terminal_mut(&mut self) -> &mut Terminal<B> {
        &mut self.terminal
    }

    /// Runs until the console is left or the input ends.
    pub async fn run(&mut self) -> io::Result<()> {
        while self.step().await? {}
        let took = &self.took;
        tracing::info!(
            frames = self.frames,
            median_us = took.value_at_quantile(0.5),
            p99_us = took.value_at_quantile(0.99),
            longest_us = took.max(),
            "drawn"
        );
        Ok(())
    }

    /// Draws if anything changed and a frame is due, then waits for one thing to happen, and takes whatever else has
    /// happened with it. False when the console is done.
    pub async fn step(&mut self) -> io::Result<bool> {
        if let Some(editing) = &mut self.editing {
            // The terminal and its keys are the editor's; what happens elsewhere goes on, and is drawn afterwards.
            tokio::select! {
                biased;
                ended = editing.editor.wait() => self.edited(ended)?,
                Some(msg) = self.mailbox.recv() => self.on_msg(msg)?,
            }
            return Ok(self.editing.is_some() || !self.app.done);
        }
        let due = self.drawn.map_or_else(Instant::now, |at| at + self.frame);
        if self.app.dirty && due <= Instant::now() {
            self.draw()?;
        }
        let late = self.app.dirty;
        tokio::select! {
            biased;
            event = self.input.next() => self.on_event(event)?,
            Some(msg) = self.mailbox.recv() => self.on_msg(msg)?,
            () = tokio::time::sleep_until(due), if late => {}
        }
        while !self.app.done && self.editing.is_none() {
            if let Some(event) = self.input.next().now_or_never() {
                self.on_event(event)?;
            } else if let Ok(msg) = self.mailbox.try_recv() {
                self.on_msg(msg)?;
            } else {
                break;
            }
        }
        Ok(self.editing.is_some() || !self.app.done)
    }

    /// Draws now.
    pub fn draw(&mut self) -> io::Result<()> {
        self.app.dirty = false;
        self.drawn = Some(Instant::now());
        self.frames += 1;
        let mut drawn = None;
        self.terminal.backend_mut().begin_frame()?;
        let app = &self.app;
        let targets = mouse::collect(|| drawn = Some(self.terminal.draw(|frame| view::draw(frame, app)).map(drop)));
        drawn.transpose().map_err(io::Error::other)?;
        self.app.targets = targets;
        let wants = self.app.wants_mouse();
        if wants != self.has_mouse {
            self.terminal.backend_mut().mouse(wants)?;
            self.has_mouse = wants;
        }
        self.terminal.backend_mut().end_frame()?;
        self.took.saturating_record(self.drawn.map_or(0, |at| at.elapsed().as_micros() as u64));
        Ok(())
    }

    fn on_event(&mut self, event: Option<io::Result<Event>>) -> io::Result<()> {
        match event {
            Some(Ok(Event::Key(key))) => self.on_msg(Msg::Key(key)),
            Some(Ok(Event::Mouse(event))) => self.on_msg(Msg::Mouse(event)),
            Some(Ok(Event::Paste(text))) => self.on_msg(Msg::Paste(text)),
            Some(Ok(Event::Resize(width, height))) => {
                self.app.size = (width, height);
                self.on_msg(Msg::Resized)
            }
            Some(Ok(_)) => Ok(()),
            Some(Err(error)) => Err(error),
            // Without a terminal there is nobody left to show anything to.
            None => self.on_msg(Msg::Shutdown),
        }
    }

    fn on_msg(&mut self, msg: Msg) -> io::Result<()> {
        let effects = update(&mut self.app, msg);
        self.perform(effects)
    }

    fn perform(&mut self, effects: Vec<Effect>) -> io::Result<()> {
        for effect in effects {
            match effect {
                Effect::Suspend => {
                    self.terminal.backend_mut().suspend()?;
                    self.is_back()?;
                }
                Effect::Edit(draft) => self.edit(draft)?,
                Effect::Copy(text) => {
                    self.terminal.backend_mut().copy(&text)?;
                    self.performer.perform(Effect::Copy(text));
                }
                effect => self.performer.perform(effect),
            }
        }
        Ok(())
    }

    /// Hands the terminal to the person's editor.
    fn edit(&mut self, draft: Draft) -> io::Result<()> {
        self.input.pause();
        self.terminal.backend_mut().leave()?;
        // As git and others do: the variable may hold options.
        let mut editor = Command::new("sh");
        editor.arg("-c").arg(format!("{} \"$1\"", draft.editor)).arg("sluice").arg(&draft.path);
        match editor.spawn() {
            Ok(editor) => {
                self.editing = Some(Editing { editor, draft });
                Ok(())
            }
            Err(error) => {
                self.back_from_editor()?;
                self.on_msg(Msg::Refused(format!("the editor {:?} could not be started: {error}", draft.editor)))
            }
        }
    }

    fn edited(&mut self, ended: io::Result<ExitStatus>) -> io::Result<()> {
        let Some(Editing { draft, .. }) = self.editing.take() else { return Ok(()) };
        self.back_from_editor()?;
        let refused = |why: String| {
            Msg::Refused(format!(
                "the editor {:?} {why}: nothing was changed (VISUAL or EDITOR names yours)",
                draft.editor
            ))
        };
        let msg = match ended {
            Ok(status) if status.success() => Msg::Edited(draft),
            Ok(status) => refused(format!("ended with {status}")),
            Err(error) => refused(format!("was lost: {error}")),
        };
        self.on_msg(msg)
    }

    fn back_from_editor(&mut self) -> io::Result<()> {
        self.terminal.backend_mut().come_back()?;
        self.input.go_on();
        self.is_back()
    }

    /// The terminal is ours again: all of it is drawn, at the size that it has by now. Who stands behind another program is not
    /// told that it changed.
    fn is_back(&mut self) -> io::Result<()> {
        self.has_mouse = false;
        let size = self.terminal.size().map_err(io::Error::other)?;
        self.app.size = (size.width, size.height);
        // Not `clear`, which asks the terminal where its cursor is, and fails where no answer comes in time.
        self.terminal.resize(size.into()).map_err(io::Error::other)?;
        self.on_msg(Msg::Resized)
    }
}

impl Stage for ratatui::backend::TestBackend {}
