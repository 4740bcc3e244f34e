//! The tools of a server: listed in the order of their registration, found by name.

use super::{Definition, Tool};
use crate::server::BuildError;

/// Longest tool name.
const NAME_BYTES: usize = 64;

#[derive(Default)]
pub(crate) struct Registry {
    tools: Vec<Box<dyn Tool>>,
    /// Positions in `tools`, sorted by name.
    by_name: Vec<usize>,
}

impl Registry {
    /// Checks names and schemas, and indexes the tools.
    pub(crate) fn new(tools: Vec<Box<dyn Tool>>) -> Result<Self, BuildError> {
        tools.iter().try_for_each(|tool| check(tool.definition()))?;
        let name = |&at: &usize| tools[at].definition().name.as_ref();
        let mut by_name: Vec<usize> = (0..tools.len()).collect();
        by_name.sort_by_key(name);
        match by_name
            .windows(2)
            .find(|pair| name(&pair[0]) == name(&pair[1]))
        {
            Some(pair) => Err(BuildError::DuplicateTool(name(&pair[0]).to_owned())),
            None => Ok(Self { tools, by_name }),
        }
    }

    pub(crate) fn find(&self, name: &str) -> Option<&dyn Tool> {
        let at = self
            .by_name
            .binary_search_by_key(&name, |&at| self.name(at))
            .ok()?;
        Some(self.tools[self.by_name[at]].as_ref())
    }

    pub(crate) fn definitions(&self) -> impl Iterator<Item = &Definition> {
        self.tools.iter().map(|tool| tool.definition())
    }

    fn name(&self, at: usize) -> &str {
        &self.tools[at].definition().name
    }
}

fn check(definition: &Definition) -> Result<(), BuildError> {
    let name = definition.name.as_ref();
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"_./-".contains(&byte);
    if !(1..=NAME_BYTES).contains(&name.len()) || !name.bytes().all(valid) {
        return Err(BuildError::ToolName(name.to_owned()));
    }
    #[derive(serde::Deserialize)]
    struct Root<'a> {
        #[serde(rename = "type", borrow)]
        kind: Option<std::borrow::Cow<'a, str>>,
    }
    match serde_json::from_str::<Root<'_>>(definition.input_schema.get()) {
        Ok(Root { kind: Some(kind) }) if kind == "object" => Ok(()),
        _ => Err(BuildError::InputSchema(name.to_owned())),
    }
}
