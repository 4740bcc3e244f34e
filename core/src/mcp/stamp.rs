//! What every result of an era carries, added in this one place.

use super::Era;
use crate::rpc::write;

/// How long clients may keep a list: tools do not change while the node runs.
const TTL_MS: &str = "3600000";

/// The members that close the results of one server.
#[derive(Debug)]
pub(crate) struct Stamp {
    modern: Vec<u8>,
}

impl Stamp {
    pub(crate) fn new(server_info: &str) -> Self {
        let mut modern = br#","resultType":"complete","_meta":{"#.to_vec();
        write::string(&mut modern, "io.modelcontextprotocol/serverInfo");
        modern.push(b':');
        modern.extend_from_slice(server_info.as_bytes());
        modern.extend_from_slice(b"}}");
        Self { modern }
    }

    /// Closes a result object that already has a member.
    pub(crate) fn close(&self, era: Era, out: &mut Vec<u8>) {
        out.extend_from_slice(match era {
            Era::Legacy => b"}",
            Era::Modern => &self.modern,
        });
    }

    /// Closes a result object that clients may cache.
    pub(crate) fn close_cacheable(&self, era: Era, out: &mut Vec<u8>) {
        if era == Era::Modern {
            let caching = [r#","ttlMs":"#, TTL_MS, r#","cacheScope":"public""#].concat();
            out.extend_from_slice(caching.as_bytes());
        }
        self.close(era, out);
    }
}
