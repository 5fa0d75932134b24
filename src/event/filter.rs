//! Which events are wanted: those whose partition key or payload contains a text.

use regex::bytes::Regex;

use super::Event;

/// A text that is looked for, as it is: no pattern.
#[derive(Clone, Debug)]
pub struct Filter(Option<Regex>);

impl Filter {
    /// Events that contain `text`; an empty one wants all.
    pub fn new(text: &str) -> Self {
        // An escaped text is a pattern always, unless it is longer than any terminal or command line takes.
        Self(Some(text).filter(|text| !text.is_empty()).and_then(|text| Regex::new(&regex::escape(text)).ok()))
    }

    /// True when `event` is wanted.
    pub fn wants(&self, event: &Event) -> bool {
        self.0
            .as_ref()
            .is_none_or(|text| text.is_match(event.partition_key.as_bytes()) || text.is_match(&event.payload))
    }
}

#[cfg(test)]
mod tests {
    use super::super::read::fake::event;
    use super::*;

    #[test]
    fn an_event_is_wanted_when_its_key_or_its_payload_contains_the_text() {
        let event = event("2018-03-04T14:00:00Z", "s", 3);
        for (text, wanted) in
            [("", true), ("key-3", true), ("1.10", true), ("1x10", false), ("KEY", false), ("é", false)]
        {
            assert_eq!(Filter::new(text).wants(&event), wanted, "{text}");
        }
    }
}
