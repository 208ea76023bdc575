//! The strategies that this program knows, by name.
//!
//! What it promises: a name means one strategy; Flink's names are understood; a name that the settings or a declaration
//! hold but this release does not know never stops the scheduler (it falls back). What it must not do: choose places.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::domain::{Rejection, Settings, StrategyName};

use super::strategies::{AnyFit, LeastUtilization, MostUtilization};
use super::strategy::Strategy;

/// Flink's `taskmanager.load-balance.mode` and what it is called here.
const FLINK_ALIASES: [(&str, &str); 3] =
    [("NONE", "any_fit"), ("SLOTS", "least_utilization"), ("MIN_RESOURCES", "most_utilization")];

/// Strategies by name. Cheap to clone.
#[derive(Clone)]
pub struct Registry {
    strategies: BTreeMap<&'static str, Arc<dyn Strategy>>,
    fallback: Arc<dyn Strategy>,
}

impl Default for Registry {
    /// The strategies that come with the program.
    fn default() -> Self {
        let fallback: Arc<dyn Strategy> = Arc::new(LeastUtilization);
        let mut registry = Self { strategies: BTreeMap::new(), fallback: Arc::clone(&fallback) };
        registry.register(fallback);
        registry.register(Arc::new(AnyFit));
        registry.register(Arc::new(MostUtilization));
        registry
    }
}

impl Registry {
    /// Adds a strategy, or replaces the one of the same name.
    pub fn register(&mut self, strategy: Arc<dyn Strategy>) {
        self.strategies.insert(strategy.name(), strategy);
    }

    /// The strategy of that name, or of Flink's name.
    pub fn get(&self, name: &StrategyName) -> Option<&dyn Strategy> {
        let alias = FLINK_ALIASES.iter().find(|(flink, _)| *flink == name.as_str()).map(|(_, ours)| *ours);
        self.strategies.get(alias.unwrap_or(name.as_str())).map(Arc::as_ref)
    }

    /// All names, Flink's not included, in order.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.strategies.keys().copied()
    }

    /// The strategy of a request, or of the settings if the request names none.
    ///
    /// # Errors
    /// `InvalidCommand` if the request names one that is not known.
    pub fn requested(
        &self,
        wanted: Option<&StrategyName>,
        settings: &Settings,
    ) -> Result<&dyn Strategy, Rejection> {
        match wanted {
            None => Ok(self.standing(None, settings)),
            Some(name) => self.get(name).ok_or_else(|| {
                let known = self.names().collect::<Vec<_>>().join(", ");
                let problem = format!("`{name}` is not known here; known are {known}");
                Rejection::InvalidCommand { field: "strategy".to_owned(), problem }
            }),
        }
    }

    /// The strategy of a declaration that stands: its own, that of the settings, or `least_utilization`, the first of
    /// them that is known here.
    pub fn standing(&self, wanted: Option<&StrategyName>, settings: &Settings) -> &dyn Strategy {
        let wanted = wanted.and_then(|name| self.get(name));
        wanted.or_else(|| self.get(&settings.strategy)).unwrap_or(self.fallback.as_ref())
    }
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> StrategyName {
        StrategyName::new(text).unwrap()
    }

    #[test]
    fn flinks_modes_mean_our_strategies() {
        let registry = Registry::default();
        for (flink, ours) in FLINK_ALIASES {
            assert_eq!(registry.get(&name(flink)).unwrap().name(), ours);
            assert_eq!(registry.get(&name(ours)).unwrap().name(), ours);
        }
    }

    #[test]
    fn an_unknown_strategy_is_refused_in_a_request_and_replaced_in_a_declaration() {
        let (registry, settings) = (Registry::default(), Settings::default());
        let unknown = name("from_a_later_release");
        assert!(registry.requested(Some(&unknown), &settings).is_err());
        assert_eq!(registry.standing(Some(&unknown), &settings).name(), "least_utilization");
    }
}
