//! The terminal: taken over while the console runs, and given back as it was whatever ends it.

use std::collections::VecDeque;
use std::io::{self, Stdout, Write as _, stdout};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::thread;
use std::time::{Duration, Instant};

use crossterm::cursor;
use crossterm::event::{
    DisableBracketedPaste, DisableMouseCapture, EnableBracketedPaste, EnableMouseCapture, Event, EventStream,
};
use crossterm::terminal::{
    BeginSynchronizedUpdate, Clear, ClearType, EndSynchronizedUpdate, EnterAlternateScreen, LeaveAlternateScreen,
    disable_raw_mode, enable_raw_mode,
};
use crossterm::{execute, queue};
use futures::{Stream, StreamExt as _};
use ratatui::backend::CrosstermBackend;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::background::{Listener, Taken};
use super::copy;
use super::msg::Msg;
use super::runtime::{Keys, Stage};
use super::theme::Background;

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
    // GNU screen has no alternate screen unless told so: what is there would show through, and be left behind.
    execute!(stdout(), EnterAlternateScreen, Clear(ClearType::All), EnableBracketedPaste, cursor::Hide)
}

fn give_back() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        // Nothing more can be done when even this fails: the terminal is gone.
        let _ = execute!(
            stdout(),
            EndSynchronizedUpdate,
            DisableMouseCapture,
            DisableBracketedPaste,
            Clear(ClearType::All),
            cursor::MoveTo(0, 0),
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
pub struct TerminalKeys {
    stream: Option<EventStream>,
    /// Keys that turned out to be keys, oldest first.
    pressed: VecDeque<Event>,
    listener: Listener,
    /// Where an answer goes that comes late.
    late: Option<mpsc::Sender<Msg>>,
    heard: Option<Background>,
}

/// How long the first frame waits for the terminal to say what its background is. One that sits here answers within a few
/// milliseconds; across a slow line the answer changes the theme when it comes.
const ANSWER: Duration = Duration::from_millis(40);

impl TerminalKeys {
    /// Reads from now on.
    pub fn open() -> Self {
        Self {
            stream: Some(EventStream::new()),
            pressed: VecDeque::new(),
            listener: Listener::default(),
            late: None,
            heard: None,
        }
    }

    /// Asks the terminal, which is in raw mode by now, for its background. What is pressed meanwhile is kept; an answer that
    /// takes longer goes to `late`.
    ///
    /// # Errors
    /// When the terminal can't be written to.
    pub async fn ask_background(&mut self, late: mpsc::Sender<Msg>) -> io::Result<Option<Background>> {
        self.listener.ask(&mut stdout(), Instant::now())?;
        let end = tokio::time::sleep(ANSWER);
        tokio::pin!(end);
        while self.heard.is_none() && self.listener.is_listening() {
            let Some(stream) = &mut self.stream else { break };
            tokio::select! {
                event = stream.next() => match event {
                    Some(Ok(event)) => self.sort(event),
                    // What is wrong with it is told where keys are read.
                    _ => break,
                },
                () = &mut end => break,
            }
        }
        self.late = Some(late);
        Ok(self.heard.take())
    }

    /// Tells a key from a part of the terminal's answer.
    fn sort(&mut self, event: Event) {
        match self.listener.take(event, Instant::now()) {
            Taken::Pressed(events) => self.pressed.extend(events),
            Taken::Swallowed => {}
            Taken::Answered(background) => match (&self.late, background) {
                // A mailbox that is full is behind by more than a colour.
                (Some(late), Some(background)) => drop(late.try_send(Msg::Background(background))),
                _ => self.heard = background,
            },
        }
    }
}

impl Stream for TerminalKeys {
    type Item = io::Result<Event>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(event) = self.pressed.pop_front() {
                return Poll::Ready(Some(Ok(event)));
            }
            let Some(stream) = self.stream.as_mut() else { return Poll::Pending };
            match Pin::new(stream).poll_next(context) {
                Poll::Ready(Some(Ok(event))) => self.sort(event),
                other => return other,
            }
        }
    }
}

impl Keys for TerminalKeys {
    fn pause(&mut self) {
        self.stream = None;
    }

    fn go_on(&mut self) {
        self.stream = Some(EventStream::new());
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
