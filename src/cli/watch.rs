//! `--watch`: the same list again and again.

use std::future::Future;
use std::io::IsTerminal as _;
use std::time::Duration;

use clap::Args;

use super::report::{Exit, Report};
use super::signal::Stop;

/// Repeats a list.
#[derive(Clone, Debug, Default, Args)]
pub struct WatchArgs {
    /// Repeat every so often [every 2s when no time is given]
    #[arg(long, value_name = "EVERY", num_args = 0..=1, default_missing_value = "2s", value_parser = every)]
    pub watch: Option<Duration>,
}

fn every(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(time) if time >= Duration::from_millis(100) => Ok(time),
        Ok(_) => Err("too short: at least 100ms".to_owned()),
        Err(error) => Err(format!("{error}: write it as 2s or 1m")),
    }
}

impl WatchArgs {
    /// Runs `show` once, or until Ctrl-C. On a terminal each round takes the place of the last.
    pub async fn repeat<F, Fut>(&self, json: bool, mut show: F) -> Result<Exit, Report>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<(), Report>>,
    {
        self.repeat_while(json, || {
            let shown = show();
            async { shown.await.map(|()| true) }
        })
        .await
    }

    /// True where each round should be a line: it goes to no terminal.
    pub fn is_piped(&self) -> bool {
        self.watch.is_some() && !std::io::stdout().is_terminal()
    }

    /// The same, until `show` says that there will be no more to see.
    pub async fn repeat_while<F, Fut>(&self, json: bool, mut show: F) -> Result<Exit, Report>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<bool, Report>>,
    {
        let Some(every) = self.watch else {
            show().await?;
            return Ok(Exit::Done);
        };
        let mut stop = Stop::listen()?;
        let mut tick = tokio::time::interval(every);
        let redraws = !json && std::io::stdout().is_terminal();
        loop {
            tokio::select! {
                () = stop.wait() => return Ok(Exit::Done),
                _ = tick.tick() => {
                    if redraws {
                        // Home and clear below: no flash, as a full clear would give.
                        print!("\x1b[H\x1b[J");
                    }
                    tokio::select! {
                        () = stop.wait() => return Ok(Exit::Done),
                        shown = show() => if !shown? {
                            return Ok(Exit::Done);
                        },
                    }
                }
            }
        }
    }
}
