//! Resources and templates of resources: how they present themselves, and who reads them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::future::Future;
use std::sync::Arc;

use serde::Serialize;

use crate::content::{Annotations, Contents, Icon, Meta};
use crate::context::Context;
use crate::mcp::work::Failed;
use crate::tool::{LocalBoxFuture, elsewhere};
use crate::uri_template::UriTemplate;

type Text = Cow<'static, str>;

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct About {
    name: Text,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mime_type: Option<Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    icons: Vec<Icon>,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<Annotations>,
    #[serde(rename = "_meta", skip_serializing_if = "Meta::is_empty")]
    meta: Meta,
}

macro_rules! presented {
    ($(#[$doc:meta])+ $kind:ident { $(#[$key_doc:meta])+ $key:ident: $name:literal }) => {
        $(#[$doc])+
        #[derive(Clone, Debug, PartialEq, Serialize)]
        pub struct $kind {
            #[serde(rename = $name)]
            $key: Text,
            #[serde(flatten)]
            about: About,
        }

        impl $kind {
            $(#[$key_doc])+
            pub fn new($key: impl Into<Text>, name: impl Into<Text>) -> Self {
                let name = name.into();
                Self { $key: $key.into(), about: About { name, ..About::default() } }
            }

            /// Gives a title, for people.
            #[must_use]
            pub fn title(mut self, title: impl Into<Text>) -> Self {
                self.about.title = Some(title.into());
                self
            }

            /// Says what it is, for people and models.
            #[must_use]
            pub fn description(mut self, description: impl Into<Text>) -> Self {
                self.about.description = Some(description.into());
                self
            }

            /// Names the media type; contents that name none have it too.
            #[must_use]
            pub fn mime_type(mut self, mime_type: impl Into<Text>) -> Self {
                self.about.mime_type = Some(mime_type.into());
                self
            }

            /// Adds an icon.
            #[must_use]
            pub fn icon(mut self, icon: Icon) -> Self {
                self.about.icons.push(icon);
                self
            }

            /// Adds hints for clients.
            #[must_use]
            pub fn annotations(mut self, annotations: Annotations) -> Self {
                self.about.annotations = Some(annotations);
                self
            }

            /// Adds to `_meta`, under a key such as `example.com/name`.
            #[must_use]
            pub fn meta(
                mut self,
                key: impl Into<String>,
                value: impl Into<serde_json::Value>,
            ) -> Self {
                self.about.meta.insert(key.into(), value.into());
                self
            }

            pub(crate) fn key(&self) -> &str {
                &self.$key
            }

            pub(crate) fn default_mime_type(&self) -> Option<&Text> {
                self.about.mime_type.as_ref()
            }
        }
    };
}

presented! {
    /// How a resource presents itself in `resources/list`.
    Resource {
        /// The resource at `uri`.
        uri: "uri"
    }
}

presented! {
    /// How a family of resources presents itself in `resources/templates/list`.
    Template {
        /// The resources whose URI has the form `template` (RFC 6570, level 1: `{name}` stands for
        /// one path segment).
        template: "uriTemplate"
    }
}

impl Resource {
    /// Tells the size in bytes.
    #[must_use]
    pub fn size(mut self, bytes: u64) -> Self {
        self.about.size = Some(bytes);
        self
    }
}

/// What the variables of a template stand for in the URI that is read, decoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Variables(pub(crate) BTreeMap<String, String>);

impl Variables {
    /// The value of `name`; empty when the template has no such variable.
    pub fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }
}

/// What came of reading; `Ok(None)` when there is no such resource.
pub(crate) type Reading = Result<Option<Vec<Contents>>, Failed>;

/// What a function that reads may return.
pub trait IntoContents {
    /// The contents; `Ok(None)` says that there is no such resource.
    ///
    /// # Errors
    /// What went wrong, for the client to read.
    fn into_contents(self) -> Result<Option<Vec<Contents>>, String>;
}

impl IntoContents for Contents {
    fn into_contents(self) -> Result<Option<Vec<Contents>>, String> {
        Ok(Some(vec![self]))
    }
}

impl IntoContents for Vec<Contents> {
    fn into_contents(self) -> Result<Option<Vec<Contents>>, String> {
        Ok(Some(self))
    }
}

impl IntoContents for String {
    fn into_contents(self) -> Result<Option<Vec<Contents>>, String> {
        Contents::text(self).into_contents()
    }
}

impl IntoContents for &'static str {
    fn into_contents(self) -> Result<Option<Vec<Contents>>, String> {
        Contents::text(self).into_contents()
    }
}

impl<T: IntoContents> IntoContents for Option<T> {
    fn into_contents(self) -> Result<Option<Vec<Contents>>, String> {
        self.map_or(Ok(None), T::into_contents)
    }
}

impl<T: IntoContents, E: Display> IntoContents for Result<T, E> {
    fn into_contents(self) -> Result<Option<Vec<Contents>>, String> {
        self.map_err(|error| error.to_string())?.into_contents()
    }
}

/// A function that reads resources: at once, or as a future of the shard.
pub(crate) enum Reader {
    Now(Box<dyn Fn(&Variables) -> Reading + Send + Sync>),
    Later(Box<dyn Fn(Variables, Context) -> LocalBoxFuture<'static, Reading> + Send + Sync>),
}

impl Reader {
    /// Reads one resource at once.
    pub(crate) fn one<R: IntoContents>(read: impl Fn() -> R + Send + Sync + 'static) -> Self {
        Self::now(move |_| read())
    }

    /// Reads one resource as a future of the shard.
    pub(crate) fn one_later<R: Future<Output: IntoContents> + 'static>(
        read: impl Fn(Context) -> R + Send + Sync + 'static,
    ) -> Self {
        Self::later(move |_, context| read(context))
    }

    /// Reads one resource on the blocking pool.
    pub(crate) fn one_elsewhere<R: IntoContents>(
        read: impl Fn() -> R + Send + Sync + 'static,
    ) -> Self {
        Self::elsewhere(move |_| read())
    }

    pub(crate) fn now<R: IntoContents>(
        read: impl Fn(&Variables) -> R + Send + Sync + 'static,
    ) -> Self {
        Self::Now(Box::new(move |variables| told(read(variables))))
    }

    pub(crate) fn later<R: Future<Output: IntoContents> + 'static>(
        read: impl Fn(Variables, Context) -> R + Send + Sync + 'static,
    ) -> Self {
        Self::Later(Box::new(move |variables, context| {
            let reading = read(variables, context);
            Box::pin(async { told(reading.await) })
        }))
    }

    pub(crate) fn elsewhere<R: IntoContents>(
        read: impl Fn(&Variables) -> R + Send + Sync + 'static,
    ) -> Self {
        let read = Arc::new(read);
        Self::Later(Box::new(move |variables, _| {
            let read = read.clone();
            Box::pin(async move { elsewhere(move || told(read(&variables))).await? })
        }))
    }
}

fn told(contents: impl IntoContents) -> Reading {
    contents.into_contents().map_err(Failed::saying)
}

/// A resource and who reads it.
pub(crate) struct ResourceEntry {
    pub(crate) definition: Resource,
    pub(crate) reader: Reader,
}

/// A template and who reads what it stands for.
pub(crate) struct TemplateEntry {
    pub(crate) definition: Template,
    pub(crate) pattern: UriTemplate,
    pub(crate) reader: Reader,
}
