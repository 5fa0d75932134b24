//! The choice of a context: a profile of the AWS configuration files, and one region or several. Characters filter the side
//! that is typed into, tab goes to the other, space marks regions, enter goes there.

use std::collections::BTreeSet;

use tui_input::Input;

use super::app::{App, Overlay, Place};
use super::effect::Effect;
use super::keymap::Action;
use super::listing::Listing;
use crate::cloud::Context;
use crate::cloud::profiles::{Profile, REGIONS};

/// Which side is typed into.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Side {
    /// Profiles.
    #[default]
    Profiles,
    /// Regions.
    Regions,
}

/// The choice while it is made.
#[derive(Clone, Debug, Default)]
pub struct Picker {
    /// The side that is typed into.
    pub side: Side,
    /// What was typed there.
    pub input: Input,
    /// The selected profile, by its label.
    pub profiles: Listing,
    /// The selected region.
    pub regions: Listing,
    /// Regions to list side by side.
    pub marked: BTreeSet<String>,
}

/// A profile that can be chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// As the list names it.
    pub label: String,
    /// The profile; `None` is what the environment says.
    pub profile: Option<String>,
    /// The region that it acts in by itself.
    pub region: Option<String>,
    /// The account, where the profile tells it.
    pub account: Option<String>,
    /// Where its credentials come from, in a word.
    pub origin: &'static str,
}

/// What stands for no profile.
const ENVIRONMENT: &str = "(environment)";

impl App {
    /// Opens the choice, on the side of profiles or of regions.
    pub fn choose_context(&mut self, side: Side) -> Vec<Effect> {
        let mut picker = Picker { side, ..Picker::default() };
        picker.profiles.selected = Some(label_of(&self.place));
        picker.regions.selected = Some(self.place.region.clone());
        if self.is_many() {
            picker.marked = self.all_seen().iter().map(|seen| seen.place.region.clone()).collect();
        }
        self.overlay = Some(Overlay::Contexts(Box::new(picker)));
        // Read each time: a profile may have been added meanwhile.
        vec![Effect::LoadProfiles]
    }

    /// Goes to a profile, in its own region or else the one at hand.
    ///
    /// # Errors
    /// No such profile, with the nearest.
    pub fn go_to_profile(&mut self, name: &str) -> Result<Vec<Effect>, String> {
        if let Some(Ok(profiles)) = &self.profiles
            && !profiles.iter().any(|profile| profile.name == name)
        {
            let known: Vec<&str> = profiles.iter().map(|profile| profile.name.as_str()).collect();
            return Err(format!("there is no profile {name:?}{}", super::chord::nearest(name, &known)));
        }
        let region = self.region_of(Some(name)).unwrap_or_else(|| self.place.region.clone());
        Ok(self.enter(&[self.context_in(Some(name.to_owned()), region)]))
    }

    /// Goes to regions of the profile at hand: the first is stood in, the others are listed beside it.
    ///
    /// # Errors
    /// What is no region.
    pub fn go_to_regions(&mut self, regions: &[&str]) -> Result<Vec<Effect>, String> {
        if let Some(wrong) = regions.iter().find(|region| !is_region(region)) {
            return Err(format!("{wrong:?} is no region{}", super::chord::nearest(wrong, &REGIONS)));
        }
        let profile = self.place.context.profile.clone();
        let contexts: Vec<Context> =
            regions.iter().map(|region| self.context_in(profile.clone(), (*region).to_owned())).collect();
        Ok(self.enter(&contexts))
    }

    /// An endpoint that the console was started with holds for every context.
    fn context_in(&self, profile: Option<String>, region: String) -> Context {
        Context { profile, region: Some(region), endpoint_url: self.place.context.endpoint_url.clone() }
    }

    fn region_of(&self, profile: Option<&str>) -> Option<String> {
        self.profiles.as_ref()?.as_ref().ok()?.iter().find(|known| Some(known.name.as_str()) == profile)?.region.clone()
    }

    /// The profiles that can be chosen, those that the filter leaves.
    pub fn profile_choices(&self, picker: &Picker) -> Vec<Choice> {
        let mut all: Vec<Choice> = self.profiles.iter().flatten().flatten().map(choice).collect();
        let places = std::iter::once(&self.place).chain(self.places.iter().map(|known| &known.place));
        for place in places {
            let label = label_of(place);
            if !all.iter().any(|choice| choice.label == label) {
                let region = Some(place.region.clone());
                let profile = place.context.profile.clone();
                all.insert(0, Choice { label, profile, region, account: None, origin: "" });
            }
        }
        let typed = if picker.side == Side::Profiles { picker.input.value() } else { "" };
        all.retain(|choice| {
            let account = choice.account.as_deref().unwrap_or_default();
            contains(&choice.label, typed) || !typed.is_empty() && account.contains(typed)
        });
        all
    }

    /// The regions that can be chosen: those at hand and marked first, then the profile's, `config.toml`'s, all others.
    pub fn region_choices(&self, picker: &Picker) -> Vec<String> {
        let typed = if picker.side == Side::Regions { picker.input.value().trim() } else { "" };
        let mut all: Vec<String> = vec![self.place.region.clone()];
        all.extend(picker.marked.iter().cloned());
        all.extend(self.chosen_profile(picker).and_then(|choice| choice.region));
        all.extend(self.regions.iter().cloned());
        all.extend(self.places.iter().map(|known| known.place.region.clone()));
        all.extend(REGIONS.iter().map(|region| (*region).to_owned()));
        let mut seen = BTreeSet::new();
        all.retain(|region| !region.is_empty() && contains(region, typed) && seen.insert(region.clone()));
        // A region that is newer than this program, or of another partition.
        if is_region(typed) && !all.iter().any(|region| region == typed) {
            all.push(typed.to_owned());
        }
        all
    }

    /// The selected profile.
    pub fn chosen_profile(&self, picker: &Picker) -> Option<Choice> {
        let choices = self.profile_choices(picker);
        let at = picker.profiles.index(choices.iter().map(|choice| choice.label.as_str()));
        choices.get(at).cloned()
    }

    fn chosen_region(&self, picker: &Picker) -> Option<String> {
        let choices = self.region_choices(picker);
        choices.get(picker.regions.index(choices.iter().map(String::as_str))).cloned()
    }
}

fn contains(name: &str, typed: &str) -> bool {
    name.to_lowercase().contains(&typed.trim().to_lowercase())
}

/// `eu-west-1`, `us-gov-east-1`, `cn-north-1`: what an endpoint's name is made of.
fn is_region(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let (Some(last), true) = (parts.last(), parts.len() >= 3) else { return false };
    last.parse::<u8>().is_ok()
        && parts[..parts.len() - 1].iter().all(|part| !part.is_empty() && part.chars().all(|c| c.is_ascii_lowercase()))
}

fn label_of(place: &Place) -> String {
    place.context.profile.clone().unwrap_or_else(|| ENVIRONMENT.to_owned())
}

fn choice(profile: &Profile) -> Choice {
    use crate::cloud::profiles::Origin;
    Choice {
        label: profile.name.clone(),
        profile: Some(profile.name.clone()),
        region: profile.region.clone(),
        account: profile.account.clone(),
        origin: match profile.origin {
            Origin::Sso(_) => "single sign-on",
            Origin::Role { .. } => "role",
            Origin::WebIdentity(_) => "web identity",
            Origin::Process(_) => "program",
            Origin::Keys { temporary: true } => "temporary keys",
            Origin::Keys { temporary: false } => "keys",
            Origin::Unsaid => "",
        },
    }
}

/// A key while the choice is open.
pub(super) fn act(app: &mut App, mut picker: Box<Picker>, action: Action) -> Vec<Effect> {
    match action {
        Action::Back => return Vec::new(),
        Action::Next | Action::Previous => other_side(app, &mut picker),
        Action::Up => step(app, &mut picker, -1),
        Action::Down => step(app, &mut picker, 1),
        Action::PageUp => step(app, &mut picker, -10),
        Action::PageDown => step(app, &mut picker, 10),
        Action::First => step(app, &mut picker, isize::MIN + 1),
        Action::Last => step(app, &mut picker, isize::MAX / 2),
        Action::Mark if picker.side == Side::Profiles => other_side(app, &mut picker),
        Action::Mark => {
            if let Some(region) = app.chosen_region(&picker) {
                if !picker.marked.remove(&region) {
                    picker.marked.insert(region.clone());
                }
                picker.regions.selected = Some(region);
                picker.input = Input::default();
            }
        }
        Action::Accept => return accept(app, picker),
        _ => {}
    }
    app.overlay = Some(Overlay::Contexts(picker));
    Vec::new()
}

/// Types into the other side; what was found by typing stays selected on the one that is left.
fn other_side(app: &App, picker: &mut Picker) {
    match picker.side {
        Side::Profiles => picker.profiles.selected = app.chosen_profile(picker).map(|choice| choice.label),
        Side::Regions => picker.regions.selected = app.chosen_region(picker),
    }
    picker.side = if picker.side == Side::Profiles { Side::Regions } else { Side::Profiles };
    picker.input = Input::default();
}

fn step(app: &App, picker: &mut Picker, rows: isize) {
    match picker.side {
        Side::Profiles => {
            let names: Vec<String> = app.profile_choices(picker).into_iter().map(|choice| choice.label).collect();
            picker.profiles.step(&names, rows);
        }
        Side::Regions => {
            let names = app.region_choices(picker);
            picker.regions.step(&names, rows);
        }
    }
}

/// Enter: the chosen profile, in the marked regions, else in the selected one, else in its own.
fn accept(app: &mut App, picker: Box<Picker>) -> Vec<Effect> {
    let Some(choice) = app.chosen_profile(&picker) else {
        app.overlay = Some(Overlay::Contexts(picker));
        app.say("no profile is named so", true);
        return Vec::new();
    };
    let selected = match picker.side {
        // A profile is gone to in its own region, unless regions were marked.
        Side::Profiles if choice.label == label_of(&app.place) => Some(app.place.region.clone()),
        Side::Profiles => choice.region.clone().or_else(|| Some(app.place.region.clone())),
        Side::Regions => app.chosen_region(&picker),
    };
    let mut regions: Vec<String> = picker.marked.iter().cloned().collect();
    if regions.is_empty() {
        let Some(region) = selected else {
            app.overlay = Some(Overlay::Contexts(picker));
            app.say("that is no region: eu-west-1 is one", true);
            return Vec::new();
        };
        regions.push(region);
    }
    // Among several, the one at hand stays at hand.
    regions.sort_by_key(|region| *region != app.place.region);
    let contexts: Vec<Context> =
        regions.into_iter().map(|region| app.context_in(choice.profile.clone(), region)).collect();
    app.enter(&contexts)
}

#[cfg(test)]
#[path = "context_tests.rs"]
mod tests;
