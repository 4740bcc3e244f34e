//! What results are made of: content blocks, contents of resources, icons.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use crate::resource::Resource;

/// Text or bytes that are known for ever or made for one answer.
type Text = Cow<'static, str>;

/// What else programs may want to know, by keys such as `example.com/name`.
pub type Meta = serde_json::Map<String, serde_json::Value>;

/// One block of a tool's result or of a prompt's message.
#[derive(Clone, Debug, PartialEq)]
pub struct Content {
    block: Block,
    annotations: Option<Annotations>,
    meta: Meta,
}

#[derive(Clone, Debug, PartialEq)]
enum Block {
    Text(Text),
    Image(Cow<'static, [u8]>, Text),
    Audio(Cow<'static, [u8]>, Text),
    Resource(Contents),
    Link(Box<Resource>),
}

impl Content {
    /// A text block.
    pub fn text(text: impl Into<Text>) -> Self {
        Block::Text(text.into()).into()
    }

    /// An image of the media type `mime_type`; the bytes of its file, sent as base64.
    // [mcp:prompts-content]
    pub fn image(data: impl Into<Cow<'static, [u8]>>, mime_type: impl Into<Text>) -> Self {
        Block::Image(data.into(), mime_type.into()).into()
    }

    /// Sound of the media type `mime_type`; the bytes of its file, sent as base64.
    pub fn audio(data: impl Into<Cow<'static, [u8]>>, mime_type: impl Into<Text>) -> Self {
        Block::Audio(data.into(), mime_type.into()).into()
    }

    /// The contents of a resource.
    pub fn resource(contents: Contents) -> Self {
        Block::Resource(contents).into()
    }

    /// A resource that the client may read.
    pub fn link(resource: Resource) -> Self {
        Block::Link(Box::new(resource)).into()
    }

    /// Adds hints for clients.
    #[must_use]
    pub fn annotations(mut self, annotations: Annotations) -> Self {
        match self.block {
            // A link is annotated as the resource that it shows.
            Block::Link(resource) => Self::link(resource.annotations(annotations)),
            _ => {
                self.annotations = Some(annotations);
                self
            }
        }
    }

    /// Adds to `_meta`, under a key such as `example.com/name`.
    #[must_use]
    pub fn meta(mut self, key: impl Into<String>, value: impl Into<serde_json::Value>) -> Self {
        match self.block {
            Block::Link(resource) => Self::link(resource.meta(key, value)),
            _ => {
                self.meta.insert(key.into(), value.into());
                self
            }
        }
    }

    /// Its text, if it is text and nothing else.
    pub(crate) fn plain_text(&self) -> Option<&str> {
        match &self.block {
            Block::Text(text) if self.annotations.is_none() && self.meta.is_empty() => Some(text),
            _ => None,
        }
    }
}

impl From<Block> for Content {
    fn from(block: Block) -> Self {
        Self {
            block,
            annotations: None,
            meta: Meta::new(),
        }
    }
}

impl From<Contents> for Content {
    fn from(contents: Contents) -> Self {
        Self::resource(contents)
    }
}

impl From<String> for Content {
    fn from(text: String) -> Self {
        Self::text(text)
    }
}

impl From<&'static str> for Content {
    fn from(text: &'static str) -> Self {
        Self::text(text)
    }
}

impl Serialize for Content {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(tag = "type", rename_all = "snake_case")]
        enum Wire<'a> {
            Text {
                text: &'a str,
            },
            Image {
                data: String,
                #[serde(rename = "mimeType")]
                mime_type: &'a str,
            },
            Audio {
                data: String,
                #[serde(rename = "mimeType")]
                mime_type: &'a str,
            },
            Resource {
                resource: &'a Contents,
            },
            ResourceLink(&'a Resource),
        }
        #[derive(Serialize)]
        struct Whole<'a> {
            #[serde(flatten)]
            wire: Wire<'a>,
            #[serde(skip_serializing_if = "Option::is_none")]
            annotations: &'a Option<Annotations>,
            #[serde(rename = "_meta", skip_serializing_if = "Meta::is_empty")]
            meta: &'a Meta,
        }
        let wire = match &self.block {
            Block::Text(text) => Wire::Text { text },
            Block::Image(data, mime_type) => Wire::Image {
                data: STANDARD.encode(data),
                mime_type,
            },
            Block::Audio(data, mime_type) => Wire::Audio {
                data: STANDARD.encode(data),
                mime_type,
            },
            Block::Resource(resource) => Wire::Resource { resource },
            Block::Link(resource) => Wire::ResourceLink(resource),
        };
        let (annotations, meta) = (&self.annotations, &self.meta);
        Whole {
            wire,
            annotations,
            meta,
        }
        .serialize(serializer)
    }
}

/// What a resource holds: text or bytes, under the URI that was read unless it names another.
#[derive(Clone, Debug, PartialEq)]
pub struct Contents {
    uri: Option<Text>,
    mime_type: Option<Text>,
    body: Body,
    meta: Meta,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Body {
    Text(Text),
    Blob(Cow<'static, [u8]>),
}

impl Contents {
    /// Text.
    pub fn text(text: impl Into<Text>) -> Self {
        Self::of(Body::Text(text.into()))
    }

    /// Bytes, sent as base64.
    // [mcp:resources-binary]
    pub fn blob(bytes: impl Into<Cow<'static, [u8]>>) -> Self {
        Self::of(Body::Blob(bytes.into()))
    }

    fn of(body: Body) -> Self {
        Self {
            uri: None,
            mime_type: None,
            body,
            meta: Meta::new(),
        }
    }

    /// Names the URI of what is held; needed where no URI was read, as in an embedded resource.
    #[must_use]
    pub fn at(mut self, uri: impl Into<Text>) -> Self {
        self.uri = Some(uri.into());
        self
    }

    /// Names the media type.
    #[must_use]
    pub fn mime_type(mut self, mime_type: impl Into<Text>) -> Self {
        self.mime_type = Some(mime_type.into());
        self
    }

    /// Adds to `_meta`, under a key such as `example.com/name`.
    #[must_use]
    pub fn meta(mut self, key: impl Into<String>, value: impl Into<serde_json::Value>) -> Self {
        self.meta.insert(key.into(), value.into());
        self
    }

    /// Fills in what was left open: the URI that was read and the media type of its definition.
    pub(crate) fn or(mut self, uri: &str, mime_type: Option<&Text>) -> Self {
        self.uri.get_or_insert_with(|| uri.to_owned().into());
        self.mime_type = self.mime_type.or_else(|| mime_type.cloned());
        self
    }
}

impl Serialize for Contents {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("uri", self.uri.as_deref().unwrap_or_default())?;
        if let Some(mime_type) = &self.mime_type {
            map.serialize_entry("mimeType", mime_type)?;
        }
        match &self.body {
            Body::Text(text) => map.serialize_entry("text", text)?,
            Body::Blob(bytes) => map.serialize_entry("blob", &STANDARD.encode(bytes))?,
        }
        if !self.meta.is_empty() {
            map.serialize_entry("_meta", &self.meta)?;
        }
        map.end()
    }
}

/// Whose words a message of a prompt are, or whom an annotation is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The person.
    User,
    /// The model.
    Assistant,
}

/// An icon of a tool, a resource or a prompt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Icon {
    src: Text,
    #[serde(skip_serializing_if = "Option::is_none")]
    mime_type: Option<Text>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sizes: Vec<Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    theme: Option<Theme>,
}

/// The background that an icon is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Theme {
    /// A light one.
    Light,
    /// A dark one.
    Dark,
}

impl Icon {
    /// The icon at `src`, an `https:` or `data:` URI.
    pub fn new(src: impl Into<Text>) -> Self {
        Self {
            src: src.into(),
            mime_type: None,
            sizes: Vec::new(),
            theme: None,
        }
    }

    /// Names the media type.
    #[must_use]
    pub fn mime_type(mut self, mime_type: impl Into<Text>) -> Self {
        self.mime_type = Some(mime_type.into());
        self
    }

    /// Names the background that it is made for.
    #[must_use]
    pub fn theme(mut self, theme: Theme) -> Self {
        self.theme = Some(theme);
        self
    }

    /// Adds a size, such as `48x48` or `any`.
    #[must_use]
    pub fn size(mut self, size: impl Into<Text>) -> Self {
        self.sizes.push(size.into());
        self
    }
}

/// Hints for clients about content or a resource.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Annotations {
    /// Whom it is for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub audience: Vec<Role>,
    /// From 0, dispensable, to 1, required.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<f64>,
    /// When it last changed, in ISO 8601.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_modified: Option<Text>,
}

impl Annotations {
    /// No hints.
    pub fn new() -> Self {
        Self::default()
    }

    /// Says that it is for `role`, beside whom it is for already.
    #[must_use]
    pub fn audience(mut self, role: Role) -> Self {
        self.audience.push(role);
        self
    }

    /// Says how much it matters, from 0, dispensable, to 1, required; what lies outside is taken
    /// for the nearer end, and what is no number for nothing said.
    #[must_use]
    pub fn priority(mut self, priority: f64) -> Self {
        self.priority = (!priority.is_nan()).then(|| priority.clamp(0.0, 1.0));
        self
    }

    /// Says when it last changed, in ISO 8601.
    #[must_use]
    pub fn last_modified(mut self, when: impl Into<Text>) -> Self {
        self.last_modified = Some(when.into());
        self
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{json, to_value};

    use super::*;

    #[test]
    fn blocks_have_the_shapes_of_the_schema() {
        // [mcp:prompts-content]
        let embedded = Contents::text("t").at("a:b").mime_type("text/plain");
        for (content, wanted) in [
            (Content::text("x"), json!({"type": "text", "text": "x"})),
            (
                Content::image(&b"\x01"[..], "image/png"),
                json!({"type": "image", "data": "AQ==", "mimeType": "image/png"}),
            ),
            (
                Content::audio(vec![2], "audio/wav"),
                json!({"type": "audio", "data": "Ag==", "mimeType": "audio/wav"}),
            ),
            (
                embedded.into(),
                json!({"type": "resource", "resource":
                    {"uri": "a:b", "mimeType": "text/plain", "text": "t"}}),
            ),
            (
                Content::link(Resource::new("a:b", "n")),
                json!({"type": "resource_link", "uri": "a:b", "name": "n"}),
            ),
        ] {
            assert_eq!(to_value(content).unwrap(), wanted);
        }
    }

    #[test]
    fn hints_and_meta_stand_where_the_schema_has_them() {
        let hints = || {
            Annotations::new()
                .audience(Role::User)
                .priority(7.0)
                .last_modified("2026-07-28T00:00:00Z")
        };
        let shown = json!({"audience": ["user"], "priority": 1.0,
            "lastModified": "2026-07-28T00:00:00Z"});
        let meta = json!({"example.com/k": 1});
        let embedded = Contents::text("t").at("a:b").meta("example.com/k", 1);
        for content in [
            Content::text("x"),
            Content::image(&b"\x01"[..], "image/png"),
            Content::audio(&b"\x01"[..], "audio/wav"),
            Content::link(Resource::new("a:b", "n")),
            embedded.into(),
        ] {
            let annotated = content.annotations(hints()).meta("example.com/k", 1);
            assert_eq!(annotated.plain_text(), None);
            let found = to_value(annotated).unwrap();
            assert_eq!((&found["annotations"], &found["_meta"]), (&shown, &meta));
            if found["type"] == "resource" {
                assert_eq!(found["resource"]["_meta"], meta);
            }
        }
        let icon = Icon::new("https://example.com/i.svg").theme(Theme::Dark);
        let wanted = json!({"src": "https://example.com/i.svg", "theme": "dark"});
        assert_eq!(to_value(icon).unwrap(), wanted);
    }
}
