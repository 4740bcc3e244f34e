//! The pages that a person was sent to and that are not done yet, by their ids.

use std::collections::VecDeque;
use std::sync::Mutex;

use super::limits::{VISIT_COUNT, VISIT_ID_BYTES};
use super::peer::lock;

/// Ids of elicitations by URL, the oldest first.
#[derive(Default)]
pub(crate) struct Visits(Mutex<VecDeque<String>>);

impl Visits {
    /// Keeps an id, in the place of the oldest if there are too many.
    pub(crate) fn begin(&self, id: &str) {
        let mut ids = lock(&self.0);
        if id.len() > VISIT_ID_BYTES || ids.iter().any(|it| it == id) {
            return;
        }
        if ids.len() >= VISIT_COUNT {
            ids.pop_front();
        }
        ids.push_back(id.to_owned());
    }

    /// Forgets an id; whether it was known.
    pub(crate) fn end(&self, id: &str) -> bool {
        let mut ids = lock(&self.0);
        let at = ids.iter().position(|it| it == id);
        at.and_then(|at| ids.remove(at)).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_known_once_and_the_oldest_makes_room() {
        let visits = Visits::default();
        visits.begin("a");
        visits.begin("a");
        assert!(visits.end("a") && !visits.end("a"), "once");
        visits.begin(&"x".repeat(VISIT_ID_BYTES + 1));
        assert!(!visits.end(&"x".repeat(VISIT_ID_BYTES + 1)), "too long");
        for n in 0..=VISIT_COUNT {
            visits.begin(&n.to_string());
        }
        assert!(!visits.end("0") && visits.end("1"), "the oldest went");
        assert!(visits.end(&VISIT_COUNT.to_string()));
    }
}
