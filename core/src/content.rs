//! What results are made of: content blocks, contents of resources, icons.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use crate::resource::Resource;

/// Text or bytes that are known for ever or made for one answer.
type Text = Cow<'static, str>;

/// One block of a tool's result or of a prompt's message.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Content {
    /// Text.
    Text(Text),
    /// An image, sent as base64.
    Image {
        /// The bytes of the file.
        data: Cow<'static, [u8]>,
        /// Its media type.
        mime_type: Text,
    },
    /// Sound, sent as base64.
    Audio {
        /// The bytes of the file.
        data: Cow<'static, [u8]>,
        /// Its media type.
        mime_type: Text,
    },
    /// The contents of a resource.
    Resource(Contents),
    /// A resource that the client may read.
    Link(Resource),
}

impl Content {
    /// A text block.
    pub fn text(text: impl Into<Text>) -> Self {
        Self::Text(text.into())
    }

    /// An image of the media type `mime_type`.
    // [mcp:prompts-content]
    pub fn image(data: impl Into<Cow<'static, [u8]>>, mime_type: impl Into<Text>) -> Self {
        let (data, mime_type) = (data.into(), mime_type.into());
        Self::Image { data, mime_type }
    }

    /// Sound of the media type `mime_type`.
    pub fn audio(data: impl Into<Cow<'static, [u8]>>, mime_type: impl Into<Text>) -> Self {
        let (data, mime_type) = (data.into(), mime_type.into());
        Self::Audio { data, mime_type }
    }
}

impl From<Contents> for Content {
    fn from(contents: Contents) -> Self {
        Self::Resource(contents)
    }
}

impl From<String> for Content {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<&'static str> for Content {
    fn from(text: &'static str) -> Self {
        Self::Text(text.into())
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
        let wire = match self {
            Self::Text(text) => Wire::Text { text },
            Self::Image { data, mime_type } => Wire::Image {
                data: STANDARD.encode(data),
                mime_type,
            },
            Self::Audio { data, mime_type } => Wire::Audio {
                data: STANDARD.encode(data),
                mime_type,
            },
            Self::Resource(resource) => Wire::Resource { resource },
            Self::Link(resource) => Wire::ResourceLink(resource),
        };
        wire.serialize(serializer)
    }
}

/// What a resource holds: text or bytes, under the URI that was read unless it names another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    uri: Option<Text>,
    mime_type: Option<Text>,
    body: Body,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Body {
    Text(Text),
    Blob(Cow<'static, [u8]>),
}

impl Contents {
    /// Text.
    pub fn text(text: impl Into<Text>) -> Self {
        Self {
            uri: None,
            mime_type: None,
            body: Body::Text(text.into()),
        }
    }

    /// Bytes, sent as base64.
    // [mcp:resources-binary]
    pub fn blob(bytes: impl Into<Cow<'static, [u8]>>) -> Self {
        Self {
            uri: None,
            mime_type: None,
            body: Body::Blob(bytes.into()),
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
}

impl Icon {
    /// The icon at `src`, an `https:` or `data:` URI.
    pub fn new(src: impl Into<Text>) -> Self {
        Self {
            src: src.into(),
            mime_type: None,
            sizes: Vec::new(),
        }
    }

    /// Names the media type.
    #[must_use]
    pub fn mime_type(mut self, mime_type: impl Into<Text>) -> Self {
        self.mime_type = Some(mime_type.into());
        self
    }

    /// Adds a size, such as `48x48` or `any`.
    #[must_use]
    pub fn size(mut self, size: impl Into<Text>) -> Self {
        self.sizes.push(size.into());
        self
    }
}

/// Hints for clients about a resource.
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
                Content::Link(Resource::new("a:b", "n")),
                json!({"type": "resource_link", "uri": "a:b", "name": "n"}),
            ),
        ] {
            assert_eq!(to_value(content).unwrap(), wanted);
        }
    }
}
