//! Which tools can be called as tasks in 2025-11-25, as they were listed last.

use std::collections::HashMap;
use std::sync::Mutex;

use serde_json::Value;

use super::peer::lock;
use crate::tool::TaskSupport;

/// What each tool of the last list says; the limits of lists bound it.
#[derive(Default)]
pub(crate) struct Supports(Mutex<HashMap<String, TaskSupport>>);

impl Supports {
    /// Learns from a list of tools, in the place of what was known.
    pub(crate) fn learn(&self, tools: &[Value]) {
        let known = tools.iter().filter_map(|tool| {
            let support = match tool["execution"]["taskSupport"].as_str() {
                Some("optional") => TaskSupport::Optional,
                Some("required") => TaskSupport::Required,
                _ => TaskSupport::Forbidden,
            };
            Some((tool["name"].as_str()?.to_owned(), support))
        });
        let known = known.collect();
        *lock(&self.0) = known;
    }

    /// What `tool` says; `None` of one that was not listed.
    pub(crate) fn of(&self, tool: &str) -> Option<TaskSupport> {
        lock(&self.0).get(tool).copied()
    }
}
