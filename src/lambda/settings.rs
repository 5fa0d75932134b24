//! What a function is told by its environment.

use std::fmt;
use std::str::FromStr;

use super::letters::Letterbox;
use super::pump::Store;
use crate::cloud::Context;
use crate::event::SlotLength;

/// Which handler a function runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Handler {
    /// Put requests of a Kinesis stream into their tables.
    Put,
    /// Events of a Kinesis stream into the buffer.
    Pump,
    /// The buffer into the event table.
    Scan,
    /// Changes of a table into another one.
    Replicate,
    /// HTTP requests onto a Kinesis stream.
    Track,
}

impl Handler {
    const ALL: [Self; 5] = [Self::Put, Self::Pump, Self::Scan, Self::Replicate, Self::Track];

    /// As `SLUICE_HANDLER` spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Pump => "pump",
            Self::Scan => "scan",
            Self::Replicate => "replicate",
            Self::Track => "track",
        }
    }
}

impl fmt::Display for Handler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Handler {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|handler| handler.as_str() == text).ok_or_else(|| {
            let all = Self::ALL.map(Self::as_str).join(", ");
            format!("SLUICE_HANDLER is {text:?}: set it to one of {all}")
        })
    }
}

/// A function's settings, all of them from environment variables.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Settings {
    /// `SLUICE_HANDLER`.
    pub handler: Handler,
    /// `AWS_LAMBDA_FUNCTION_NAME`.
    pub function: String,
    /// `SLUICE_DEAD_LETTERS`, for handlers of streams.
    pub letters: Option<Letterbox>,
    /// `SLUICE_MAX_WCU`: what one process of the function uses of a table at most, WCU.
    pub max_wcu: Option<f64>,
    /// `SLUICE_TARGET_TABLE` and where it is, for `replicate`.
    pub target: Option<Target>,
    /// `SLUICE_BUFFER_TABLE` and `SLUICE_EVENT_TABLE`, for `pump` and `scan`.
    pub store: Option<Store>,
    /// `SLUICE_SLOT`, for `scan`; `None` is what the event table was begun with.
    pub slots: Option<SlotLength>,
    /// `SLUICE_STREAM_ARN`, for `scan`: with it, the watermark is published.
    pub source: Option<String>,
    /// `SLUICE_STREAM`, for `track`.
    pub stream: Option<String>,
    /// `SLUICE_SKIP_EXPIRED`: deletes of items that expired are left out.
    pub skip_expired: bool,
    /// Where the function itself acts: `AWS_ENDPOINT_URL`, and the region that Lambda sets.
    pub context: Context,
}

/// The table that a replica is made in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// Its name.
    pub table: String,
    /// Where it is.
    pub context: Context,
}

impl Settings {
    /// Reads the settings; `var` looks a variable up.
    ///
    /// # Errors
    /// Which variable is missing or wrong, and what to set it to.
    pub fn read(var: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let var = |name: &str| var(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        let needed = |name: &str, what: &str| var(name).ok_or_else(|| format!("{name} is not set: {what}"));
        let handler: Handler = needed("SLUICE_HANDLER", "it says which handler the function runs")?.parse()?;
        let letters = var("SLUICE_DEAD_LETTERS").map(|address| Letterbox::parse(&address)).transpose()?;
        let keeps_letters = matches!(handler, Handler::Put | Handler::Pump | Handler::Replicate);
        if keeps_letters && letters.is_none() {
            return Err(
                "SLUICE_DEAD_LETTERS is not set: a record that can never succeed is kept there, s3://bucket/prefix"
                    .to_owned(),
            );
        }
        let max_wcu = match var("SLUICE_MAX_WCU") {
            None => None,
            Some(text) => match text.parse::<f64>() {
                Ok(wcu) if wcu.is_finite() && wcu > 0.0 => Some(wcu),
                _ => return Err(format!("SLUICE_MAX_WCU is {text:?}: set it to a number above 0, or leave it out")),
            },
        };
        let skip_expired = match var("SLUICE_SKIP_EXPIRED").as_deref() {
            None | Some("false") => false,
            Some("true") => true,
            Some(other) => return Err(format!("SLUICE_SKIP_EXPIRED is {other:?}: set it to true or false")),
        };
        let context = Context { profile: None, region: None, endpoint_url: var("AWS_ENDPOINT_URL") };
        let store = match handler {
            Handler::Pump | Handler::Scan => Some(Store {
                buffer: needed("SLUICE_BUFFER_TABLE", "the buffer of the event store")?,
                events: needed("SLUICE_EVENT_TABLE", "the event table")?,
            }),
            _ => None,
        };
        let slots = var("SLUICE_SLOT").map(|text| text.parse()).transpose();
        let slots = slots.map_err(|error: String| format!("SLUICE_SLOT is wrong: {error}"))?;
        let source = var("SLUICE_STREAM_ARN");
        let stream = match handler {
            Handler::Track => Some(needed("SLUICE_STREAM", "the stream that requests become records of")?),
            _ => None,
        };
        let target = match handler {
            Handler::Replicate => Some(Target {
                table: needed("SLUICE_TARGET_TABLE", "the table that the replica is made in")?,
                context: Context {
                    profile: None,
                    region: var("SLUICE_TARGET_REGION"),
                    endpoint_url: var("SLUICE_TARGET_ENDPOINT").or_else(|| context.endpoint_url.clone()),
                },
            }),
            _ => None,
        };
        let function = var("AWS_LAMBDA_FUNCTION_NAME").unwrap_or_else(|| "sluice-lambda".to_owned());
        Ok(Self { handler, function, letters, max_wcu, target, store, slots, source, stream, skip_expired, context })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Settings, String> {
        Settings::read(|name| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn a_missing_or_wrong_variable_is_named_with_what_to_set_it_to() {
        assert!(read(&[]).unwrap_err().contains("SLUICE_HANDLER is not set"));
        assert!(read(&[("SLUICE_HANDLER", "puts")]).unwrap_err().contains("one of put, "));
        assert!(read(&[("SLUICE_HANDLER", "put")]).unwrap_err().contains("SLUICE_DEAD_LETTERS"));
        let letters = ("SLUICE_DEAD_LETTERS", "s3://b/p");
        assert!(read(&[("SLUICE_HANDLER", "put"), ("SLUICE_DEAD_LETTERS", "b")]).unwrap_err().contains("s3://"));
        assert!(read(&[("SLUICE_HANDLER", "replicate"), letters]).unwrap_err().contains("SLUICE_TARGET_TABLE"));
        assert!(read(&[("SLUICE_HANDLER", "pump"), letters]).unwrap_err().contains("SLUICE_BUFFER_TABLE"));
        assert!(read(&[("SLUICE_HANDLER", "track")]).unwrap_err().contains("SLUICE_STREAM"));
        let slot = [("SLUICE_HANDLER", "track"), ("SLUICE_STREAM", "s"), ("SLUICE_SLOT", "7s")];
        assert!(read(&slot).unwrap_err().contains("SLUICE_SLOT"));
        for wrong in ["0", "-1", "many", "inf"] {
            let refused = read(&[("SLUICE_HANDLER", "put"), letters, ("SLUICE_MAX_WCU", wrong)]).unwrap_err();
            assert!(refused.contains("SLUICE_MAX_WCU"), "{refused}");
        }
    }

    #[test]
    fn the_template_sets_only_what_is_read_and_deploys_every_handler() {
        let (template, here) = (include_str!("../../deploy/template.yaml"), include_str!("settings.rs"));
        let set = template
            .lines()
            .filter_map(|line| line.trim().split_once(": "))
            .filter(|(name, _)| name.starts_with("SLUICE_"));
        let mut handlers = Vec::new();
        for (name, value) in set {
            assert!(
                here.contains(&format!("(\"{name}\"")) || name == "SLUICE_STATE_DIR",
                "{name} is set and never read"
            );
            if name == "SLUICE_HANDLER" {
                handlers.push(value.parse::<Handler>().unwrap());
            }
        }
        assert_eq!(handlers, Handler::ALL);
    }

    #[test]
    fn a_target_is_where_the_function_is_unless_told_otherwise() {
        let common =
            [("SLUICE_HANDLER", "replicate"), ("SLUICE_DEAD_LETTERS", "s3://b/p"), ("SLUICE_TARGET_TABLE", "t")];
        let here = read(&[&common[..], &[("AWS_ENDPOINT_URL", "http://127.0.0.1:1")]].concat()).unwrap();
        assert_eq!(here.target.unwrap().context.endpoint_url.as_deref(), Some("http://127.0.0.1:1"));
        let there = read(&[&common[..], &[("SLUICE_TARGET_REGION", "eu-west-1")]].concat()).unwrap();
        assert_eq!(there.target.unwrap().context.region.as_deref(), Some("eu-west-1"));
        assert_eq!(there.context.region, None);
    }
}
