//! The clients of every context that the console knows. They are shared with tasks, since making them waits for files.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::effect::PlaceId;
use super::places::Connected;
use crate::cloud::profiles::{self, Renewal};
use crate::cloud::{Cloud, CloudError, Context, Guard, cache, inventory};

/// The clients, by the number of their context.
#[derive(Clone, Debug, Default)]
pub struct Clouds {
    all: Arc<Mutex<HashMap<PlaceId, Cloud>>>,
    /// Where what was seen is kept from one time to the next.
    state: PathBuf,
}

impl Clouds {
    /// With those that the console was started with.
    pub fn with(cloud: &Cloud, state: &Path) -> Self {
        let clouds = Self { state: state.to_owned(), ..Self::default() };
        clouds.put(PlaceId::default(), cloud.clone());
        clouds
    }

    fn put(&self, place: PlaceId, cloud: Cloud) {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).insert(place, cloud);
    }

    /// Those of a context, once they were made.
    pub fn get(&self, place: PlaceId) -> Option<Cloud> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).get(&place).cloned()
    }

    /// Makes those of a context, or makes them anew.
    ///
    /// # Errors
    /// No region, or a profile that is none.
    pub async fn connect(&self, place: PlaceId, context: &Context, guard: Arc<Guard>) -> Result<Connected, CloudError> {
        let cloud = Cloud::connect(context, guard).await?;
        let region = cloud.region.clone();
        self.put(place, cloud);
        let kept = cache::load(&self.state, context).map(Box::new);
        Ok(Connected { region, renewal: renewal(context).await, kept })
    }

    /// Whether AWS takes the credentials of a context. That they may not ask who they are says that it knows them.
    ///
    /// # Errors
    /// It does not, or does not answer.
    pub async fn probe(&self, place: PlaceId) -> Result<(), CloudError> {
        let Some(cloud) = self.get(place) else { return Ok(()) };
        match inventory::account(&cloud).await {
            Err(error) if error.is_login || error.class.is_retryable() => Err(error),
            _ => Ok(()),
        }
    }
}

/// How the credentials of a context are renewed.
pub async fn renewal(context: &Context) -> Renewal {
    if context.is_loopback() && context.profile.is_none() {
        return Renewal {
            from: format!("the embedded AWS at {} takes any", context.endpoint_url.as_deref().unwrap_or_default()),
            command: None,
            otherwise: "see that sluice local still runs there".to_owned(),
        };
    }
    // What can't be read is told by whoever needs it.
    let known = profiles::load().await.unwrap_or_default();
    let variable = |name: &str| std::env::var(name).ok();
    profiles::renewal(&known, context.profile.as_deref(), variable)
}
