//! `sluice info`: what this program is, where it keeps things, and where it would act.

use serde_json::json;

use super::keymap;
use super::print;
use super::report::{Exit, Report};
use super::session::Session;
use crate::cloud::{Cloud, Guard};

/// Prints versions, paths and the context. Sends nothing.
pub async fn run(session: &Session) -> Result<Exit, Report> {
    // Connecting sends nothing: it only settles which region is meant.
    let region = Cloud::connect(&session.context, Guard::open()).await.map(|cloud| cloud.region).ok();
    let journal = session.journal_path();
    let keymap = keymap::users_file();
    if session.global.json {
        print::json(&json!({
            "version": env!("CARGO_PKG_VERSION"), "state_dir": session.state, "journal": journal,
            "journal_exists": journal.exists(), "keymap": keymap, "profile": session.context.profile,
            "region": region, "endpoint_url": session.context.endpoint_url,
        }))?;
        return Ok(Exit::Done);
    }
    let or_none = |text: Option<String>, none: &str| text.unwrap_or_else(|| none.to_owned());
    print::line(&format!("sluice     {}", env!("CARGO_PKG_VERSION")))?;
    print::line(&format!("state      {}", session.state.display()))?;
    print::line(&format!(
        "journal    {}{}",
        journal.display(),
        if journal.exists() { "" } else { " (not there yet: the first job makes it)" }
    ))?;
    print::line(&format!("keymap     {}", or_none(keymap.map(|path| path.display().to_string()), "the shipped one")))?;
    print::line(&format!("profile    {}", or_none(session.context.profile.clone(), "as the AWS environment says")))?;
    print::line(&format!("region     {}", or_none(region, "none is set: pass --region")))?;
    print::line(&format!("endpoint   {}", or_none(session.context.endpoint_url.clone(), "AWS")))?;
    Ok(Exit::Done)
}
