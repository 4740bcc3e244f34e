//! The tools of a server: listed in the order of their registration, found by name.

use std::sync::Arc;

use super::{Definition, Structure, Tool, root_type};
use crate::limits::TOOL_NAME_BYTES;
use crate::mcp::headers::{Mirrored, mirrored};
use crate::server::BuildError;

/// A tool and what of its arguments is mirrored in headers.
pub(crate) struct ToolEntry {
    pub(crate) tool: Arc<dyn Tool>,
    pub(crate) mirrored: Vec<Mirrored>,
    /// What its structured content is held to.
    pub(crate) structure: Option<Arc<Structure>>,
}

#[derive(Default)]
pub(crate) struct Registry {
    tools: Vec<ToolEntry>,
    /// Positions in `tools`, sorted by name.
    by_name: Vec<usize>,
}

impl Registry {
    /// Checks names and schemas, and indexes the tools.
    pub(crate) fn new(tools: &[Arc<dyn Tool>]) -> Result<Self, BuildError> {
        let tools: Vec<_> = tools.iter().map(entry).collect::<Result<_, _>>()?;
        let name = |&at: &usize| tools[at].tool.definition().name.as_ref();
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

    pub(crate) fn find(&self, name: &str) -> Option<&ToolEntry> {
        let at = self
            .by_name
            .binary_search_by_key(&name, |&at| self.name(at))
            .ok()?;
        Some(&self.tools[self.by_name[at]])
    }

    pub(crate) fn definitions(&self) -> impl Iterator<Item = &Definition> {
        self.tools.iter().map(|entry| entry.tool.definition())
    }

    fn name(&self, at: usize) -> &str {
        &self.tools[at].tool.definition().name
    }
}

fn entry(tool: &Arc<dyn Tool>) -> Result<ToolEntry, BuildError> {
    let definition = tool.definition();
    let name = definition.name.as_ref();
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"_./-".contains(&byte);
    if !(1..=TOOL_NAME_BYTES).contains(&name.len()) || !name.bytes().all(valid) {
        return Err(BuildError::ToolName(name.to_owned()));
    }
    let text = definition.input_schema.get();
    if root_type(text).is_none_or(|kind| kind != "object") {
        return Err(BuildError::InputSchema(name.to_owned()));
    }
    Ok(ToolEntry {
        tool: tool.clone(),
        structure: Structure::of(definition)?,
        mirrored: mirrored(text)
            .map_err(|what| BuildError::MirroredHeader(name.to_owned(), what))?,
    })
}
