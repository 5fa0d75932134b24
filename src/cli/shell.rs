//! What a shell and `man` need: completions and the manual page, both made from the tree of commands.

use std::path::PathBuf;

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::args::Cli;
use super::complete;
use super::print;
use super::report::{Exit, Report};

/// Which shell.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell that is to complete.
    pub shell: Shell,
}

/// Prints completions.
pub fn completions(args: &CompletionsArgs) -> Result<Exit, Report> {
    let name = args.shell.to_string();
    let shell = complete::SHELLS;
    let Some(shell) = shell.completer(&name) else {
        return Err(Report::bad_arguments(
            format!("{name} is not completed"),
            "bash, elvish, fish, powershell and zsh are",
        ));
    };
    // As it was called: by its name, or, where that was a path, from anywhere.
    let called = std::env::args().next().unwrap_or_else(|| "sluice".to_owned());
    let completer = if called.contains('/') {
        std::path::absolute(&called).unwrap_or_else(|_| called.into())
    } else {
        called.into()
    };
    let mut script = Vec::new();
    shell
        .write_registration(complete::VARIABLE, "sluice", "sluice", &completer.to_string_lossy(), &mut script)
        .map_err(|error| Report::failed(format!("could not write the script: {error}"), ""))?;
    print::line(String::from_utf8_lossy(&script).trim_end())?;
    Ok(Exit::Done)
}

/// Where the manual goes.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// Write a page for each command into this folder, such as /usr/local/share/man/man1, instead of printing them all.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

/// What the tree of commands can't say, in roff.
const BEYOND: &str = r#".SH "EXIT STATUS"
.TP
0
done
.TP
1
failed
.TP
2
the arguments are wrong
.TP
3
done, with dead letters: sluice dead list JOB
.TP
4
verify found differences
.TP
130
interrupted; it can be resumed
.SH ENVIRONMENT
.TP
AWS_PROFILE, AWS_REGION, AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, I...R
as the AWS CLI reads them
.TP
SLUICE_STATE_DIR
where jobs are kept, as \-\-state\-dir
.TP
SLUICE_API_RATE
questions to AWS a second, as \-\-api\-rate
.TP
SLUICE_THEME, NO_COLOR, SLUICE_ASCII
the console's colours, none of them, and no Unicode
.TP
SLUICE_LOG
what is logged, as a tracing filter
.TP
TABLE_NAME, BACKUP_FILE_BUCKET, FILE, KINESIS_STREAM
the options of the same name of restore and backup
.SH FILES
sluice info names every path: state folder and journal, config.toml, keymap.toml, autoscale.toml.
"#;

/// Prints the manual, a page for `sluice` followed by one for each command; or writes each into a file of its own.
pub fn man(args: &ManArgs) -> Result<Exit, Report> {
    let mut root = Cli::command().disable_help_subcommand(true);
    root.build();
    let mut all = Vec::new();
    collect(&root, &mut all);
    let mut text = Vec::new();
    let failed = |error: std::io::Error| Report::failed(format!("could not render the manual: {error}"), "");
    for (i, command) in all.into_iter().enumerate() {
        let page = clap_mangen::Man::new(command);
        let name = page.get_filename();
        let mut rendered = Vec::new();
        page.render(&mut rendered).map_err(failed)?;
        if i == 0 {
            rendered.extend_from_slice(BEYOND.as_bytes());
        }
        match &args.out {
            None => {
                if i > 0 {
                    text.push(b'\n');
                }
                text.append(&mut rendered);
            }
            Some(folder) => {
                let written =
                    std::fs::create_dir_all(folder).and_then(|()| std::fs::write(folder.join(&name), &rendered));
                written.map_err(|error| {
                    Report::failed(
                        format!("{} could not be written: {error}", folder.join(&name).display()),
                        "choose another folder",
                    )
                })?;
                print::line(&folder.join(&name).display().to_string())?;
            }
        }
    }
    if args.out.is_none() {
        print::line(String::from_utf8_lossy(&text).trim_end())?;
    }
    Ok(Exit::Done)
}

/// A command and all that are below it, without the hidden ones.
fn collect(command: &clap::Command, all: &mut Vec<clap::Command>) {
    all.push(command.clone());
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        collect(below, all);
    }
}
