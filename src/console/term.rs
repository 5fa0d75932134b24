//! The terminal: taken over while the console runs, and given back as it was whatever ends it.

use std::io::{self, Stdout, Write as _, stdout};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::thread;

use crossterm::cursor;
use crossterm::event::{
    DisableBracketedPaste, DisableMouseCapture, EnableBracketedPaste, EnableMouseCapture, Event, EventStream,
};
use crossterm::terminal::{
    BeginSynchronizedUpdate, EndSynchronizedUpdate, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode,
    enable_raw_mode,
};
use crossterm::{execute, queue};
use futures::Stream;
use ratatui::backend::CrosstermBackend;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::copy;
use super::msg::Msg;
use super::runtime::{Keys, Stage};

static TAKEN: AtomicBool = AtomicBool::new(false);

/// Holds the terminal; dropping it gives the terminal back.
#[derive(Debug)]
pub struct Held(());

impl Held {
    /// Takes the terminal over: raw mode, the alternate screen, pastes told apart from typing. A panic on this thread
    /// gives it back before it speaks.
    ///
    /// # Errors
    /// When standard output is no terminal.
    pub fn take() -> io::Result<Self> {
        let console = thread::current().id();
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if thread::current().id() == console || !TAKEN.load(Ordering::SeqCst) {
                give_back();
                before(panic);
            } else {
                // A task that fails beside the console must not write over its screen.
                tracing::error!(%panic, "a task of the console panicked");
            }
        }));
        // Held before it is taken: when that fails halfway, what was taken is given back.
        let held = Self(());
        take()?;
        Ok(held)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // The panic hook stays: without a taken terminal it does just what the one before it did.
        give_back();
    }
}

fn take() -> io::Result<()> {
    TAKEN.store(true, Ordering::SeqCst);
    enable_raw_mode()?;
    execute!(stdout(), EnterAlternateScreen, EnableBracketedPaste, cursor::Hide)
}

fn give_back() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        // Nothing more can be done when even this fails: the terminal is gone.
        let _ = execute!(
            stdout(),
            EndSynchronizedUpdate,
            DisableMouseCapture,
            DisableBracketedPaste,
            LeaveAlternateScreen,
            cursor::Show
        );
        let _ = disable_raw_mode();
        let _ = stdout().flush();
    }
}

impl Stage for CrosstermBackend<Stdout> {
    fn begin_frame(&mut self) -> io::Result<()> {
        queue!(self, BeginSynchronizedUpdate)
    }

    fn end_frame(&mut self) -> io::Result<()> {
        execute!(self, EndSynchronizedUpdate)
    }

    fn mouse(&mut self, on: bool) -> io::Result<()> {
        if on { execute!(self, EnableMouseCapture) } else { execute!(self, DisableMouseCapture) }
    }

    fn copy(&mut self, text: &str) -> io::Result<()> {
        let between = copy::Between::from_environment(|name| std::env::var_os(name));
        if let Some(bytes) = copy::osc52(text, between) {
            self.write_all(&bytes)?;
            io::Write::flush(self)?;
        }
        Ok(())
    }

    fn leave(&mut self) -> io::Result<()> {
        give_back();
        Ok(())
    }

    fn come_back(&mut self) -> io::Result<()> {
        take()
    }

    fn suspend(&mut self) -> io::Result<()> {
        give_back();
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::TSTP)?;
        take()
    }
}

/// The terminal's keys. While another program has the terminal nothing here reads it: the thread behind an open stream
/// would take every other key away from that program.
#[derive(Debug)]
pub struct TerminalKeys(Option<EventStream>);

impl TerminalKeys {
    /// Reads from now on.
    pub fn open() -> Self {
        Self(Some(EventStream::new()))
    }
}

impl Stream for TerminalKeys {
    type Item = io::Result<Event>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().map_or(Poll::Pending, |stream| Pin::new(stream).poll_next(context))
    }
}

impl Keys for TerminalKeys {
    fn pause(&mut self) {
        self.0 = None;
    }

    fn go_on(&mut self) {
        self.0 = Some(EventStream::new());
    }
}

/// Tells the console to end when the process is told to: SIGTERM, SIGINT, and SIGHUP when the terminal goes away.
pub fn heed_signals(to: mpsc::Sender<Msg>) -> io::Result<tokio::task::JoinHandle<()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    Ok(tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = hangup.recv() => {}
        }
        // The console may have ended by itself.
        let _ = to.send(Msg::Shutdown).await;
    }))
}
