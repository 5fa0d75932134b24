//! The profiles of the AWS configuration files, as the SDK's own parser reads them: where each acts, where its credentials
//! come from, and which command renews them. And the regions that AWS has.

use std::collections::BTreeMap;

use aws_runtime::env_config::file::EnvConfigFiles;
use aws_runtime::env_config::section::EnvConfigSections;
use aws_runtime::env_config::source;
use aws_types::os_shim_internal::{Env, Fs};

use super::error::{Class, CloudError};

/// The regions of AWS's commercial partition, by their names' order. Source: the AWS General Reference's list of `DynamoDB`
/// endpoints, as of 2026; a region that is newer, or of another partition, can be typed.
pub const REGIONS: [&str; 34] = [
    "af-south-1",
    "ap-east-1",
    "ap-east-2",
    "ap-northeast-1",
    "ap-northeast-2",
    "ap-northeast-3",
    "ap-south-1",
    "ap-south-2",
    "ap-southeast-1",
    "ap-southeast-2",
    "ap-southeast-3",
    "ap-southeast-4",
    "ap-southeast-5",
    "ap-southeast-6",
    "ap-southeast-7",
    "ca-central-1",
    "ca-west-1",
    "eu-central-1",
    "eu-central-2",
    "eu-north-1",
    "eu-south-1",
    "eu-south-2",
    "eu-west-1",
    "eu-west-2",
    "eu-west-3",
    "il-central-1",
    "me-central-1",
    "me-south-1",
    "mx-central-1",
    "sa-east-1",
    "us-east-1",
    "us-east-2",
    "us-west-1",
    "us-west-2",
];

/// How deep one profile may lean on another for its credentials.
const DEEPEST: usize = 8;

/// Where a profile's credentials come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// Single sign-on, with its session's name where it has one.
    Sso(Option<String>),
    /// A role that is assumed with the credentials of another profile, or of a named source.
    Role {
        /// The role's ARN.
        arn: String,
        /// The profile whose credentials assume it.
        via: Option<String>,
        /// `Environment`, `Ec2InstanceMetadata` or `EcsContainer`.
        source: Option<String>,
    },
    /// A role that is assumed with a web identity token.
    WebIdentity(String),
    /// A program that prints them.
    Process(String),
    /// Keys in the files.
    Keys {
        /// They have a session token, so that they expire.
        temporary: bool,
    },
    /// The profile says nothing of credentials.
    #[default]
    Unsaid,
}

/// A profile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// Its name.
    pub name: String,
    /// The region it acts in.
    pub region: Option<String>,
    /// The account, where the profile itself tells it.
    pub account: Option<String>,
    /// Where its credentials come from.
    pub origin: Origin,
}

/// How credentials are renewed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Renewal {
    /// Where they come from, in words.
    pub from: String,
    /// The command that renews them, where there is one.
    pub command: Option<String>,
    /// What to do where no command does it.
    pub otherwise: String,
}

/// The profiles of the files that the environment names, by name.
///
/// # Errors
/// [`Class::Invalid`] for a file that can't be read or understood.
pub async fn load() -> Result<Vec<Profile>, CloudError> {
    read(&Env::real(), &Fs::real()).await
}

async fn read(env: &Env, fs: &Fs) -> Result<Vec<Profile>, CloudError> {
    let wrong = |error: &dyn std::error::Error| {
        let why = error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {source}"));
        CloudError::new(
            Class::Invalid,
            format!("the AWS configuration files can't be read ({why})"),
            "mend ~/.aws/config or ~/.aws/credentials, or the files that AWS_CONFIG_FILE and \
             AWS_SHARED_CREDENTIALS_FILE name",
        )
    };
    let source = source::load(env, fs, &EnvConfigFiles::default()).await.map_err(|error| wrong(&error))?;
    let sections = EnvConfigSections::parse(source).map_err(|error| wrong(&error))?;
    let mut profiles: Vec<Profile> = sections.profiles().filter_map(|name| profile(&sections, name)).collect();
    profiles.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(profiles)
}

fn profile(sections: &EnvConfigSections, name: &str) -> Option<Profile> {
    let said = sections.get_profile(name)?;
    let of = |key: &str| said.get(key).map(str::to_owned).filter(|value| !value.is_empty());
    let session = of("sso_session");
    // In the order in which the SDK looks: a role over single sign-on over keys over a program.
    let origin = match of("role_arn") {
        Some(arn) if of("web_identity_token_file").is_some() => Origin::WebIdentity(arn),
        Some(arn) => Origin::Role { arn, via: of("source_profile"), source: of("credential_source") },
        None if session.is_some() || of("sso_start_url").is_some() => Origin::Sso(session),
        None if of("aws_access_key_id").is_some() => Origin::Keys { temporary: of("aws_session_token").is_some() },
        None => of("credential_process").map_or(Origin::Unsaid, Origin::Process),
    };
    let account = of("sso_account_id").or_else(|| match &origin {
        // arn:aws:iam::111122223333:role/name
        Origin::Role { arn, .. } | Origin::WebIdentity(arn) => arn.split(':').nth(4).map(str::to_owned),
        _ => None,
    });
    Some(Profile { name: name.to_owned(), region: of("region"), account, origin })
}

/// How the credentials of `profile` are renewed; of none, how those of the environment are. `variable` is the environment.
pub fn renewal(profiles: &[Profile], profile: Option<&str>, variable: impl Fn(&str) -> Option<String>) -> Renewal {
    let by_name: BTreeMap<&str, &Profile> = profiles.iter().map(|one| (one.name.as_str(), one)).collect();
    let has = |name: &str| variable(name).is_some_and(|value| !value.is_empty());
    // A profile that was asked for by name wins over keys of the environment, which win over AWS_PROFILE.
    if profile.is_none() && has("AWS_ACCESS_KEY_ID") {
        return Renewal {
            from: "they are this shell's AWS_ACCESS_KEY_ID".to_owned(),
            command: None,
            otherwise: "a running program keeps its environment: quit (jobs go on), set new ones, start sluice again"
                .to_owned(),
        };
    }
    let named = profile.map(str::to_owned).or_else(|| variable("AWS_PROFILE").filter(|name| !name.is_empty()));
    let first = named.as_deref().unwrap_or("default");
    let mut chain = Vec::new();
    let mut name = first;
    for _ in 0..DEEPEST {
        chain.push(name);
        match by_name.get(name).map(|one| &one.origin) {
            Some(Origin::Role { via: Some(via), .. }) if via != name => name = via,
            _ => break,
        }
    }
    let by = if chain.len() > 1 {
        format!("profile {first} assumes its role with profile {name}, and ")
    } else {
        String::new()
    };
    let renewal = |from: String, command: Option<String>, otherwise: &str| Renewal {
        from: format!("{by}{from}"),
        command,
        otherwise: otherwise.to_owned(),
    };
    let as_word = |name: &str| {
        let is_plain = name.chars().all(|c| c.is_ascii_alphanumeric() || "-_./@+".contains(c));
        if is_plain { name.to_owned() } else { format!("'{}'", name.replace('\'', r"'\''")) }
    };
    match by_name.get(name).map_or(&Origin::Unsaid, |one| &one.origin) {
        Origin::Sso(_) => renewal(
            format!("profile {name} signs in by single sign-on"),
            Some(format!("aws sso login --profile {}", as_word(name))),
            "",
        ),
        Origin::Process(command) => renewal(
            format!("profile {name} gets them from the program {command}"),
            None,
            "run that program in a shell: it says what it needs",
        ),
        Origin::Keys { temporary: true } => renewal(
            format!("profile {name} has temporary keys in ~/.aws/credentials"),
            None,
            "put new ones there, from where these came (aws sts get-session-token, or your own tool)",
        ),
        Origin::Keys { temporary: false } => renewal(
            format!("profile {name} has keys in ~/.aws/credentials"),
            Some(format!("aws configure --profile {}", as_word(name))),
            "",
        ),
        Origin::Role { arn, source, .. } => renewal(
            format!("profile {name} assumes {arn}"),
            Some(format!("aws sts get-caller-identity --profile {}", as_word(name))),
            match source.as_deref() {
                Some("Ec2InstanceMetadata") => "its source is the instance's role: see that it has one",
                Some("EcsContainer") => "its source is the container's role: see that it has one",
                _ => {
                    "its source is this shell's AWS_ACCESS_KEY_ID: quit (jobs go on), set new ones, start sluice again"
                }
            },
        ),
        Origin::WebIdentity(arn) => renewal(
            format!("profile {name} assumes {arn} with a web identity token"),
            None,
            "see that the token's file is renewed (web_identity_token_file)",
        ),
        Origin::Unsaid
            if has("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") || has("AWS_CONTAINER_CREDENTIALS_FULL_URI") =>
        {
            renewal("they come from the container".to_owned(), None, "it renews them by itself")
        }
        Origin::Unsaid if by_name.contains_key(name) || named.is_some() => renewal(
            format!("profile {name} says nothing of credentials"),
            Some(format!("aws configure sso --profile {}", as_word(name))),
            "",
        ),
        Origin::Unsaid => renewal(
            "no profile and no environment variable says where credentials come from".to_owned(),
            Some("aws configure sso".to_owned()),
            "or start sluice with --profile",
        ),
    }
}

impl Renewal {
    /// What to do, in one sentence.
    pub fn to_do(&self) -> String {
        match (&self.command, self.otherwise.as_str()) {
            (Some(command), "") => format!("run: {command}"),
            (Some(command), otherwise) => format!("run: {command} ({otherwise})"),
            (None, otherwise) => otherwise.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = "
[default]
region = us-east-1

[profile prod]
sso_session = corp
sso_account_id = 111122223333
sso_role_name = Admin
region = eu-west-1

[sso-session corp]
sso_start_url = https://corp.awsapps.com/start
sso_region = eu-west-1

[profile deploy]
role_arn = arn:aws:iam::444455556666:role/deploy
source_profile = prod

[profile tool]
credential_process = /opt/bin/creds --for tool

[profile web]
role_arn = arn:aws:iam::444455556666:role/web
web_identity_token_file = /var/token
";
    const CREDENTIALS: &str = "
[keys]
aws_access_key_id = AKIA
aws_secret_access_key = s

[session]
aws_access_key_id = ASIA
aws_secret_access_key = s
aws_session_token = t
";

    async fn profiles() -> Vec<Profile> {
        let env =
            Env::from_slice(&[("HOME", "/home/me"), ("AWS_CONFIG_FILE", "/c"), ("AWS_SHARED_CREDENTIALS_FILE", "/k")]);
        read(&env, &Fs::from_slice(&[("/c", CONFIG), ("/k", CREDENTIALS)])).await.unwrap()
    }

    #[tokio::test]
    async fn profiles_are_read_as_the_sdk_reads_them() {
        let profiles = profiles().await;
        let names: Vec<&str> = profiles.iter().map(|profile| profile.name.as_str()).collect();
        assert_eq!(names, ["default", "deploy", "keys", "prod", "session", "tool", "web"]);
        let of = |name: &str| profiles.iter().find(|profile| profile.name == name).unwrap();
        assert_eq!(of("prod").region.as_deref(), Some("eu-west-1"));
        assert_eq!(of("prod").account.as_deref(), Some("111122223333"));
        assert_eq!(of("prod").origin, Origin::Sso(Some("corp".into())));
        assert_eq!(of("deploy").account.as_deref(), Some("444455556666"));
        assert_eq!(of("session").origin, Origin::Keys { temporary: true });
        assert_eq!(of("tool").origin, Origin::Process("/opt/bin/creds --for tool".into()));
        assert_eq!(of("default").origin, Origin::Unsaid);
    }

    #[tokio::test]
    async fn each_origin_has_its_own_way_to_be_renewed() {
        let profiles = profiles().await;
        let of = |name: &str| renewal(&profiles, Some(name), |_| None);
        assert_eq!(of("prod").to_do(), "run: aws sso login --profile prod");
        let deploy = of("deploy");
        assert!(deploy.from.starts_with("profile deploy assumes its role with profile prod"), "{deploy:?}");
        assert_eq!(deploy.to_do(), "run: aws sso login --profile prod", "the role itself needs no login");
        assert!(of("tool").from.contains("/opt/bin/creds --for tool") && of("tool").command.is_none());
        assert!(of("session").to_do().contains("get-session-token"));
        assert_eq!(of("keys").to_do(), "run: aws configure --profile keys");
        assert!(of("web").to_do().contains("web_identity_token_file"));
        assert!(of("nobody").to_do().contains("aws configure sso --profile nobody"));
    }

    #[tokio::test]
    async fn keys_of_the_environment_can_not_change_while_it_runs() {
        let profiles = profiles().await;
        let keys = |name: &str| (name == "AWS_ACCESS_KEY_ID").then(|| "AKIA".to_owned());
        assert!(renewal(&profiles, None, keys).to_do().contains("quit (jobs go on)"));
        assert_eq!(renewal(&profiles, Some("prod"), keys).to_do(), "run: aws sso login --profile prod");
        let named = |name: &str| (name == "AWS_PROFILE").then(|| "prod".to_owned());
        assert_eq!(renewal(&profiles, None, named).to_do(), "run: aws sso login --profile prod");
    }

    #[tokio::test]
    async fn profiles_that_lean_on_each_other_in_a_circle_end() {
        let env = Env::from_slice(&[("HOME", "/h"), ("AWS_CONFIG_FILE", "/c")]);
        let text = "[profile a]\nrole_arn = arn:aws:iam::1:role/a\nsource_profile = b\n\
                    [profile b]\nrole_arn = arn:aws:iam::1:role/b\nsource_profile = a\n";
        let profiles = read(&env, &Fs::from_slice(&[("/c", text)])).await.unwrap();
        assert!(renewal(&profiles, Some("a"), |_| None).from.contains("assumes"));
    }

    #[tokio::test]
    async fn a_file_that_is_no_configuration_is_told_with_what_to_do() {
        let env = Env::from_slice(&[("HOME", "/h"), ("AWS_CONFIG_FILE", "/c")]);
        let error = read(&env, &Fs::from_slice(&[("/c", "[profile\nregion = x\n")])).await.unwrap_err();
        assert!(error.to_string().contains("AWS_CONFIG_FILE"), "{error}");
    }
}
