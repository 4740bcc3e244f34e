//! What can go wrong between a client and a server.

use serde_json::Value;

use super::auth::AuthError;

/// Why a request has no result.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// Neither a URL nor a command.
    #[error("`{0}` is neither an http(s) URL nor a command")]
    Target(String),
    /// A limit that is no limit, or a header that is no header.
    #[error("{0}")]
    Option(String),
    /// The server cannot be reached, or started.
    #[error("cannot reach the server: {0}")]
    Unreachable(String),
    /// The server closed the connection, or ended, without an answer.
    #[error("the server closed the connection without an answer")]
    Closed,
    /// No answer within the time of the named limit.
    #[error("no answer to `{method}` within the limit {limit}")]
    Late {
        /// Method of the request.
        method: String,
        /// Name of the limit.
        limit: &'static str,
    },
    /// More came than the named limit allows.
    #[error("the server sent more than the limit {0} allows")]
    TooMuch(&'static str),
    /// What came is no message of the protocol.
    #[error("the server's answer is no message of MCP: {0}")]
    Garbage(String),
    /// The server wants to know who asks.
    #[error(
        "the server refused access with status {status}: {}",
        challenge.as_deref().unwrap_or("it does not say why")
    )]
    Unauthorized {
        /// 401 or 403.
        status: u16,
        /// What `WWW-Authenticate` says.
        challenge: Option<String>,
    },
    /// The server wants a token, and none could be had.
    #[error("no access to the server: {0}")]
    Auth(#[from] AuthError),
    /// The server is elsewhere. Redirects are not followed: what was sent here is not for others.
    #[error("the server answered {status} and points to {location:?}: redirects are not followed")]
    Redirect {
        /// Status of the answer.
        status: u16,
        /// Where it points.
        location: String,
    },
    /// A status that means failure, without a message of the protocol.
    #[error("the server answered with status {status}: {excerpt}")]
    Status {
        /// Status of the answer.
        status: u16,
        /// Beginning of its body.
        excerpt: String,
    },
    /// The session has ended, and so did the one after it.
    #[error("the server has ended the session")]
    SessionGone,
    /// An error of JSON-RPC.
    #[error("the server answered with error {code}: {message}")]
    Rpc {
        /// Its code.
        code: i64,
        /// What it says.
        message: String,
        /// What it says to programs.
        data: Option<Box<Value>>,
    },
    /// Client and server have no version in common.
    #[error("the server speaks no version of the protocol known here, but {0}")]
    Version(String),
    /// The server asked for what nobody here answers.
    #[error("the server asked for `{0}`, which nobody answers here")]
    Unanswered(String),
    /// An argument, by its path, that the server wants repeated in a header and that none can say.
    #[error(
        "the argument `{0}` is {1}: this server takes it between -(2^53 - 1) and 2^53 - 1, as it \
         is repeated in a header"
    )]
    Unmirrored(String, String),
    /// A result of a kind that is not known here.
    #[error("a result of the unknown kind `{0}`")]
    ResultType(String),
    /// A result that breaks what its tool promised when the tools were listed.
    #[error("tool `{tool}`: its structured content does not fit its outputSchema: {why}")]
    Structure {
        /// Name of the tool.
        tool: String,
        /// What does not fit.
        why: String,
    },
    /// A task was wanted of a tool that was not listed as one that can be a task.
    #[error(
        "tool `{0}` cannot be started as a task: its `execution.taskSupport`, as the server last \
         listed it, is neither `optional` nor `required`: call it, or list the tools again if \
         they have changed"
    )]
    NoTask(String),
    /// The task that was waited for has been cancelled.
    #[error("the task was cancelled")]
    TaskCancelled,
    /// Something that the server's era does not have.
    #[error("`{0}` does not exist in the server's era")]
    Era(&'static str),
}

impl ClientError {
    /// True when time ran out.
    pub fn is_late(&self) -> bool {
        matches!(self, Self::Late { .. })
    }

    pub(crate) fn late(method: &str, limit: &'static str) -> Self {
        Self::Late {
            method: method.to_owned(),
            limit,
        }
    }
}
