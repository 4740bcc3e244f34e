//! What every result of an era carries, added in this one place.

use super::{Era, META_SERVER, META_SUBSCRIPTION};
use crate::rpc::write;

/// The member that says a result is whole.
pub(crate) const COMPLETE: &str = r#""resultType":"complete""#;

/// How long clients may keep a list that they are not told about when it changes.
const LIST_TTL_MS: &str = "300000";

/// The members that close the results of one server.
#[derive(Debug)]
pub(crate) struct Stamp {
    server_info: String,
    /// `_meta` with the server's name, and the brace behind it.
    modern_end: Vec<u8>,
}

impl Stamp {
    pub(crate) fn new(server_info: &str) -> Self {
        let mut modern_end = br#","_meta":{"#.to_vec();
        write::string(&mut modern_end, META_SERVER);
        modern_end.push(b':');
        modern_end.extend_from_slice(server_info.as_bytes());
        modern_end.extend_from_slice(b"}}");
        Self {
            server_info: server_info.to_owned(),
            modern_end,
        }
    }

    /// Closes a result object that already has a member.
    pub(crate) fn close(&self, era: Era, out: &mut Vec<u8>) {
        self.close_as(era, "complete", out);
    }

    /// Closes a result object that clients may cache for long, whoever they are.
    // [mcp:cache-hints] [mcp:cache-pages]
    pub(crate) fn close_cacheable(&self, era: Era, out: &mut Vec<u8>) {
        if era == Era::Modern {
            let caching = [r#","ttlMs":"#, LIST_TTL_MS, r#","cacheScope":"public""#].concat();
            out.extend_from_slice(caching.as_bytes());
        }
        self.close(era, out);
    }

    /// Closes a result object that must not be kept: a function has just made it.
    pub(crate) fn close_fresh(&self, era: Era, out: &mut Vec<u8>) {
        if era == Era::Modern {
            out.extend_from_slice(br#","ttlMs":0,"cacheScope":"private""#);
        }
        self.close(era, out);
    }

    /// Closes a result object that asks the client to call again with answers.
    pub(crate) fn close_input_required(&self, out: &mut Vec<u8>) {
        self.close_as(Era::Modern, "input_required", out);
    }

    /// Closes a result object that tells of a new task.
    pub(crate) fn close_task(&self, out: &mut Vec<u8>) {
        self.close_as(Era::Modern, "task", out);
    }

    /// Writes a whole result that only agrees.
    pub(crate) fn agree(&self, out: &mut Vec<u8>) {
        out.push(b'{');
        out.extend_from_slice(COMPLETE.as_bytes());
        out.extend_from_slice(&self.modern_end);
    }

    /// The whole result that ends the subscription called `id`, as JSON.
    pub(crate) fn subscription_end(&self, id: &str) -> String {
        let info = &self.server_info;
        format!(r#"{{{COMPLETE},"_meta":{{"{META_SUBSCRIPTION}":{id},"{META_SERVER}":{info}}}}}"#)
    }

    // [mcp:result-type]
    fn close_as(&self, era: Era, result_type: &str, out: &mut Vec<u8>) {
        if era == Era::Modern {
            out.extend_from_slice(br#","resultType":""#);
            out.extend_from_slice(result_type.as_bytes());
            out.push(b'"');
            out.extend_from_slice(&self.modern_end);
        } else {
            out.push(b'}');
        }
    }
}
