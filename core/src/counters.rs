//! What one shard counts while it answers: it alone writes, the control plane reads by copy.

use ninefold_runtime::stats::Counter;

use crate::mcp::Era;
use crate::rpc::Code;

macro_rules! counters {
    ($(#[doc = $help:literal] $name:ident,)+) => {
        /// Counters of one shard's service, each growing from zero.
        #[derive(Debug, Default)]
        pub struct Counters { $(#[doc = $help] pub $name: Counter,)+ }

        impl Counters {
            /// Calls `f` with the name, the help text and the value of each counter.
            pub fn each(&self, f: &mut dyn FnMut(&'static str, &'static str, u64)) {
                $(f(stringify!($name), $help, self.$name.get());)+
            }
        }
    };
}

counters! {
    /// Modern `tools/call`.
    modern_tools_call,
    /// Modern `tools/list`.
    modern_tools_list,
    /// Modern `server/discover`.
    modern_discover,
    /// Modern notifications.
    modern_notification,
    /// Any other modern request.
    modern_other,
    /// Legacy `tools/call`.
    legacy_tools_call,
    /// Legacy `tools/list`.
    legacy_tools_list,
    /// Legacy `initialize`.
    legacy_initialize,
    /// Legacy `ping`.
    legacy_ping,
    /// Legacy notifications and responses.
    legacy_notification,
    /// Any other legacy request.
    legacy_other,
    /// Requests to end a session.
    session_delete,
    /// Answers with -32700.
    error_parse,
    /// Answers with -32600.
    error_invalid_request,
    /// Answers with -32601.
    error_method_not_found,
    /// Answers with -32602.
    error_invalid_params,
    /// Answers with -32603.
    error_internal,
    /// Answers with -32000.
    error_transport,
    /// Answers with -32001.
    error_session_not_found,
    /// Answers with -32002.
    error_resource_not_found,
    /// Answers with -32021.
    error_missing_capability,
    /// Answers with -32020.
    error_header_mismatch,
    /// Answers with -32022.
    error_unsupported_version,
    /// Requests that could not be framed.
    refused_framing,
    /// Requests that did not arrive in time.
    refused_late,
    /// Requests for whose bytes there was no room.
    refused_memory,
    /// Requests to an unknown path.
    refused_path,
    /// Requests with a verb that is not served.
    refused_verb,
    /// Requests with a foreign Host.
    refused_host,
    /// Requests with a foreign Origin.
    refused_origin,
    /// Bodies that are not `application/json`.
    refused_content_type,
    /// Clients that do not take both kinds of answer.
    refused_accept,
    /// Requests without a Bearer token, where one is required.
    refused_token_missing,
    /// Requests that name their token as none may.
    refused_token_malformed,
    /// Tokens that had expired.
    refused_token_expired,
    /// Tokens that were not valid yet.
    refused_token_not_yet_valid,
    /// Tokens for another server.
    refused_token_audience,
    /// Tokens of another issuer.
    refused_token_issuer,
    /// Tokens whose signature was not good, or of an algorithm that is not allowed.
    refused_token_signature,
    /// Tokens signed by a key that their issuer does not publish.
    refused_token_unknown_key,
    /// Tokens that are none, and API keys that nobody has.
    refused_token_unknown,
    /// Tokens that could not be judged, because their issuer's keys were not at hand.
    refused_token_no_keys,
    /// Requests whose token lacks a scope.
    refused_scope,
    /// Requests for a session of somebody else.
    refused_owner,
    /// Calls beyond the rate of their client.
    refused_rate,
    /// Requests refused because sessions were full or busy.
    refused_session_capacity,
    /// Calls whose arguments did not fit the tool.
    tool_arguments_refused,
    /// Tools that panicked.
    tool_panic,
    /// Tools stopped at their deadline.
    tool_late,
    /// Tool results over the limit of their size.
    tool_output_over_limit,
    /// Tool results whose structured content does not fit the tool's outputSchema.
    tool_output_unfit,
}

pub(crate) fn bump(counter: &Counter) {
    counter.add(1);
}

/// What a request was, for metrics and logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `tools/call`
    ToolsCall,
    /// `tools/list`
    ToolsList,
    /// `server/discover`
    Discover,
    /// `initialize`
    Initialize,
    /// `ping`
    Ping,
    /// A notification, or a response.
    Notification,
    /// End of a session.
    SessionDelete,
    /// Any other method.
    Other,
    /// Refused before it was known what it was.
    Refused,
}

impl Kind {
    /// Label of this kind.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ToolsCall => "tools_call",
            Self::ToolsList => "tools_list",
            Self::Discover => "discover",
            Self::Initialize => "initialize",
            Self::Ping => "ping",
            Self::Notification => "notification",
            Self::SessionDelete => "session_delete",
            Self::Other => "other",
            Self::Refused => "refused",
        }
    }

    pub(crate) fn of(method: &str) -> Self {
        match method {
            "tools/call" => Self::ToolsCall,
            "tools/list" => Self::ToolsList,
            "server/discover" => Self::Discover,
            "initialize" => Self::Initialize,
            "ping" => Self::Ping,
            _ => Self::Other,
        }
    }
}

impl Counters {
    pub(crate) fn request(&self, era: Era, kind: Kind) {
        bump(match (era, kind) {
            (Era::Modern, Kind::ToolsCall) => &self.modern_tools_call,
            (Era::Modern, Kind::ToolsList) => &self.modern_tools_list,
            (Era::Modern, Kind::Discover) => &self.modern_discover,
            (Era::Modern, Kind::Notification) => &self.modern_notification,
            (Era::Modern, _) => &self.modern_other,
            (Era::Legacy, Kind::ToolsCall) => &self.legacy_tools_call,
            (Era::Legacy, Kind::ToolsList) => &self.legacy_tools_list,
            (Era::Legacy, Kind::Initialize) => &self.legacy_initialize,
            (Era::Legacy, Kind::Ping) => &self.legacy_ping,
            (Era::Legacy, Kind::Notification) => &self.legacy_notification,
            (Era::Legacy, _) => &self.legacy_other,
        });
    }

    pub(crate) fn error(&self, code: Code) {
        bump(match code {
            Code::ParseError => &self.error_parse,
            Code::InvalidRequest => &self.error_invalid_request,
            Code::MethodNotFound => &self.error_method_not_found,
            Code::InvalidParams => &self.error_invalid_params,
            Code::Internal => &self.error_internal,
            Code::Transport => &self.error_transport,
            Code::SessionNotFound => &self.error_session_not_found,
            Code::ResourceNotFound => &self.error_resource_not_found,
            Code::MissingCapability => &self.error_missing_capability,
            Code::HeaderMismatch => &self.error_header_mismatch,
            Code::UnsupportedVersion => &self.error_unsupported_version,
        });
    }
}
