//! The beginning of a conversation, in one era or the other.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::error::ClientError;
use super::http::Session;
use super::options::EraChoice;
use super::peer::lock;
use super::{Client, ServerInfo, Transport};
use crate::mcp::{Era, LEGACY, MODERN, Version};

const SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";

/// Errors that only a modern server sends.
const MODERN_CODES: std::ops::RangeInclusive<i64> = -32022..=-32020;
const UNSUPPORTED_VERSION: i64 = -32022;

impl Client {
    pub(super) async fn begin(&self) -> Result<(), ClientError> {
        let choice = self.peer.options.era;
        if choice != EraChoice::Legacy {
            match self.discover().await {
                Err(error) if choice == EraChoice::Auto && self.is_legacy(&error) => {}
                outcome => return outcome,
            }
        }
        self.initialize().await
    }

    /// Whether the failure of the first modern request means that the server is a legacy one.
    // [mcp:stdio-fallback]
    fn is_legacy(&self, error: &ClientError) -> bool {
        match error {
            ClientError::Rpc { code, .. } => !MODERN_CODES.contains(code),
            ClientError::Status { status, .. } => matches!(status, 400 | 404 | 405 | 406 | 415),
            ClientError::Late { .. } => matches!(self.transport, Transport::Stdio(_)),
            ClientError::Version(_) => true,
            _ => false,
        }
    }

    async fn discover(&self) -> Result<(), ClientError> {
        self.speak(Version::V2026_07_28);
        let mut found = self.probe().await;
        if let Err(ClientError::Rpc {
            code: UNSUPPORTED_VERSION,
            data: Some(data),
            ..
        }) = &found
            && common(&data["supported"])
        {
            found = self.probe().await;
        }
        let result = found?;
        if !common(&result["supportedVersions"]) {
            return Err(ClientError::Version(
                result["supportedVersions"].to_string(),
            ));
        }
        *lock(&self.server) = ServerInfo {
            version: Version::V2026_07_28,
            info: result["_meta"][SERVER_INFO].clone(),
            capabilities: result["capabilities"].clone(),
            instructions: result["instructions"].as_str().map(str::to_owned),
        };
        Ok(())
    }

    async fn probe(&self) -> Result<Value, ClientError> {
        let request = self.request("server/discover", json!({}));
        if let Transport::Http(_) = self.transport {
            return request.await;
        }
        let time = Duration::from_millis(self.peer.options.limits.probe_ms);
        let late = ClientError::late("server/discover", "probe_ms");
        timeout(time, request).await.unwrap_or(Err(late))
    }

    /// Opens a session, and its stream if there is somebody to tell or to ask.
    // [mcp:init-first] [mcp:init-version-offer]
    pub(super) async fn initialize(&self) -> Result<(), ClientError> {
        if let Transport::Http(http) = &self.transport {
            self.end_stream();
            http.set_session(Session::default());
        }
        self.speak(Version::V2025_11_25);
        let options = &self.peer.options;
        let params = json!({
            "protocolVersion": Version::V2025_11_25.as_str(),
            "capabilities": options.capabilities,
            "clientInfo": options.info,
        });
        let (result, session) = self.once("initialize", &params, Default::default()).await?;
        let named = result["protocolVersion"].as_str().unwrap_or_default();
        let Some(version) = Version::find(LEGACY, named.as_bytes()) else {
            return Err(ClientError::Version(format!("`{named}`")));
        };
        let capabilities = result["capabilities"].clone();
        let logs = capabilities.get("logging").is_some();
        *lock(&self.server) = ServerInfo {
            version,
            info: result["serverInfo"].clone(),
            capabilities,
            instructions: result["instructions"].as_str().map(str::to_owned),
        };
        if let Transport::Http(http) = &self.transport {
            http.set_session(Session {
                id: session,
                version: Some(version.as_str()),
            });
        }
        // [mcp:init-done]
        self.notify("notifications/initialized", &Value::Null)
            .await?;
        if options.told.is_some() || !options.handlers.is_empty() {
            self.open_stream().await;
        }
        if let Some(level) = options.log_level.as_ref().filter(|_| logs) {
            let params = json!({"level": level});
            self.once("logging/setLevel", &params, Default::default())
                .await?;
        }
        Ok(())
    }

    async fn open_stream(&self) {
        if let Transport::Http(http) = &self.transport {
            let (sender, open) = oneshot::channel();
            let stream = tokio::spawn(http.clone().stream(self.peer.clone(), sender));
            *lock(&self.stream) = Some(stream);
            let time = Duration::from_millis(self.peer.options.limits.stream_open_ms);
            // A server that opens it late is not waited for.
            let _ = timeout(time, open).await;
        }
    }

    fn speak(&self, version: Version) {
        lock(&self.server).version = version;
    }

    /// Refuses what only one era has.
    // [mcp:init-agreed]
    pub(super) fn only(&self, era: Era, method: &'static str) -> Result<(), ClientError> {
        if self.era() == era {
            Ok(())
        } else {
            Err(ClientError::Era(method))
        }
    }
}

/// Whether a list of versions has a modern one that is known here.
fn common(versions: &Value) -> bool {
    let mut named = versions.as_array().into_iter().flatten();
    named.any(|it| {
        let name = it.as_str().unwrap_or_default();
        Version::find(MODERN, name.as_bytes()).is_some()
    })
}
