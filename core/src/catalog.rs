//! What a server offers, checked and indexed, its lists written out; and the editions of it, one
//! after the other, as features come and go at run time.
//!
//! An edition knows the next one once there is one. A shard holds the edition it uses and looks
//! for the next with one atomic load a request; nobody waits for anybody.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::features::Features;
use crate::mcp::rounds::Secrets;
use crate::mcp::{Era, Stamp};
use crate::prompt::PromptEntry;
use crate::resource::{Reader, ResourceEntry, Variables};
use crate::server::{BuildError, json};
use crate::tool::Registry;

/// A list that comes in pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listed {
    Tools,
    Resources,
    Templates,
    Prompts,
}

impl Listed {
    /// The member of the result that holds the list.
    pub(crate) fn member(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Resources => "resources",
            Self::Templates => "resourceTemplates",
            Self::Prompts => "prompts",
        }
    }
}

/// The pages of one list, ready to be sent: whole results, without the last brace of the answer.
struct Pages {
    legacy: Vec<Vec<u8>>,
    modern: Vec<Vec<u8>>,
}

/// Everything that one edition offers.
pub(crate) struct Catalog {
    pub(crate) tools: Registry,
    features: Features,
    /// Positions in `features`, by URI and by name.
    resources: HashMap<String, usize>,
    prompts: HashMap<String, usize>,
    lists: [Pages; 4],
}

impl Catalog {
    pub(crate) fn new(
        mut features: Features,
        stamp: &Stamp,
        secrets: &Secrets,
        page_entries: usize,
    ) -> Result<Self, BuildError> {
        if let Some(mistake) = features.mistake.take() {
            return Err(mistake);
        }
        let tools = Registry::new(&features.tools)?;
        check(&features)?;
        let pages = |list: Listed, entries: Vec<String>| {
            let page = |era| pages(list, era, &entries, stamp, secrets, page_entries);
            Pages {
                legacy: page(Era::Legacy),
                modern: page(Era::Modern),
            }
        };
        let resources = features.resources.iter().map(|it| json(&it.definition));
        let templates = features.templates.iter().map(|it| json(&it.definition));
        let prompts = features.prompts.iter().map(|it| json(&it.definition));
        let lists = [
            pages(Listed::Tools, tools.definitions().map(json).collect()),
            pages(Listed::Resources, resources.collect()),
            pages(Listed::Templates, templates.collect()),
            pages(Listed::Prompts, prompts.collect()),
        ];
        let uri = |(at, it): (usize, &Arc<ResourceEntry>)| (it.definition.key().to_owned(), at);
        let name = |(at, it): (usize, &Arc<PromptEntry>)| (it.definition.name.to_string(), at);
        Ok(Self {
            resources: features.resources.iter().enumerate().map(uri).collect(),
            prompts: features.prompts.iter().enumerate().map(name).collect(),
            tools,
            features,
            lists,
        })
    }

    /// A page of a list; `None` when there is none of that number.
    // [mcp:tools-list] [mcp:resources-list] [mcp:prompts-list]
    pub(crate) fn page(&self, list: Listed, era: Era, number: usize) -> Option<&[u8]> {
        let pages = &self.lists[list as usize];
        let pages = match era {
            Era::Legacy => &pages.legacy,
            Era::Modern => &pages.modern,
        };
        pages.get(number).map(Vec::as_slice)
    }

    pub(crate) fn features(&self) -> &Features {
        &self.features
    }

    pub(crate) fn prompt(&self, name: &str) -> Option<&Arc<PromptEntry>> {
        self.features.prompts.get(*self.prompts.get(name)?)
    }

    /// Who reads `uri`, with what its variables stand for and the media type it has by default.
    pub(crate) fn reader(
        &self,
        uri: &str,
    ) -> Option<(&Reader, Variables, Option<&std::borrow::Cow<'static, str>>)> {
        let at = self.resources.get(uri);
        if let Some(entry) = at.and_then(|&at| self.features.resources.get(at)) {
            let ResourceEntry { definition, reader } = &**entry;
            return Some((reader, Variables::default(), definition.default_mime_type()));
        }
        self.features.templates.iter().find_map(|entry| {
            let variables = entry.pattern.matches(uri)?;
            Some((
                &entry.reader,
                variables,
                entry.definition.default_mime_type(),
            ))
        })
    }
}

/// Names and URIs are given once, and completers are for something that exists.
fn check(features: &Features) -> Result<(), BuildError> {
    let mut uris: Vec<_> = features
        .resources
        .iter()
        .map(|it| it.definition.key())
        .collect();
    uris.extend(features.templates.iter().map(|it| it.definition.key()));
    if let Some(twice) = duplicate(uris) {
        return Err(BuildError::DuplicateResource(twice));
    }
    let prompts = features.prompts.iter();
    if let Some(twice) = duplicate(prompts.map(|it| it.definition.name.as_ref()).collect()) {
        return Err(BuildError::DuplicatePrompt(twice));
    }
    for completer in &features.completers {
        let known = if completer.is_prompt {
            let mut prompts = features.prompts.iter();
            prompts.any(|it| {
                let mut arguments = it.definition.arguments.iter();
                it.definition.name == completer.of
                    && arguments.any(|it| it.name == completer.argument)
            })
        } else {
            let mut templates = features.templates.iter();
            templates.any(|it| {
                it.definition.key() == completer.of && it.pattern.has(&completer.argument)
            })
        };
        if !known {
            return Err(BuildError::Completer {
                of: completer.of.clone(),
                argument: completer.argument.clone(),
            });
        }
    }
    Ok(())
}

fn duplicate(mut names: Vec<&str>) -> Option<String> {
    names.sort_unstable();
    let pair = names.windows(2).find(|pair| pair[0] == pair[1])?;
    Some(pair[0].to_owned())
}

fn pages(
    list: Listed,
    era: Era,
    entries: &[String],
    stamp: &Stamp,
    secrets: &Secrets,
    page_entries: usize,
) -> Vec<Vec<u8>> {
    let mut chunks: Vec<_> = entries.chunks(page_entries).collect();
    if chunks.is_empty() {
        chunks.push(&[]);
    }
    let last = chunks.len() - 1;
    let page = |(number, chunk): (usize, &[String])| {
        let mut out = format!("{{\"{}\":[{}]", list.member(), chunk.join(",")).into_bytes();
        if number < last {
            let cursor = secrets.cursor(list, number + 1);
            out.extend_from_slice(format!(r#","nextCursor":"{cursor}""#).as_bytes());
        }
        stamp.close_cacheable(era, &mut out);
        out
    };
    chunks.into_iter().enumerate().map(page).collect()
}

/// One edition, and the way to the next.
pub(crate) struct Edition {
    pub(crate) catalog: Catalog,
    next: OnceLock<Arc<Edition>>,
}

impl Edition {
    pub(crate) fn new(catalog: Catalog) -> Arc<Self> {
        Arc::new(Self {
            catalog,
            next: OnceLock::new(),
        })
    }
}

/// The edition that a shard uses. The shard counts its uses itself, so that the requests of
/// different shards do not meet at one counter.
pub(crate) struct Held(pub(crate) Arc<Edition>);

impl Held {
    /// The newest edition, if this is not it.
    pub(crate) fn newer(&self) -> Option<Self> {
        let mut newest = self.0.next.get()?;
        while let Some(next) = newest.next.get() {
            newest = next;
        }
        Some(Self(newest.clone()))
    }
}

impl Deref for Held {
    type Target = Edition;

    fn deref(&self) -> &Edition {
        &self.0
    }
}

impl Drop for Edition {
    /// One after the other: a long row of editions dropped from within would fill the stack.
    fn drop(&mut self) {
        let mut next = self.next.take();
        while let Some(mut edition) = next.and_then(Arc::into_inner) {
            next = edition.next.take();
        }
    }
}

/// The newest edition, for those who make the next one. The lock is theirs; no request takes it.
pub(crate) struct Press(Mutex<Arc<Edition>>);

impl Press {
    pub(crate) fn new(first: Arc<Edition>) -> Self {
        Self(Mutex::new(first))
    }

    pub(crate) fn newest(&self) -> Arc<Edition> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Makes the next edition from what the newest offers; `make` says `None` for no change.
    pub(crate) fn publish<E>(
        &self,
        make: impl FnOnce(&Catalog) -> Result<Option<Catalog>, E>,
    ) -> Result<bool, E> {
        let mut newest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(catalog) = make(&newest.catalog)? else {
            return Ok(false);
        };
        let next = Edition::new(catalog);
        newest.next.get_or_init(|| next.clone());
        *newest = next;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::Server;
    use crate::tool::NoArguments;

    #[test]
    fn a_shard_that_was_away_finds_the_newest_edition_and_frees_the_others() {
        let server = Server::builder("t", "1").build().unwrap();
        let held = Held(server.edition());
        assert!(held.newer().is_none());
        // More than the stack has room for, if each edition dropped the next from within.
        for _ in 0..20_000 {
            let added = Features::new().tool("x", "", |NoArguments {}| ());
            server.add(added).unwrap();
            assert!(server.remove_tool("x"));
        }
        let newest = held.newer().unwrap();
        assert!(newest.newer().is_none());
        let second = Arc::downgrade(held.0.next.get().unwrap());
        drop(held);
        assert_eq!(second.strong_count(), 0);
        assert_eq!(newest.catalog.tools.definitions().count(), 0);
    }
}
