//! Being told of changes.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::error::ClientError;
use super::http::{Headers, Http};
use super::message::write;
use super::peer::Peer;
use super::{Client, Transport};
use crate::mcp::Era;

/// What one wants to be told of, through [`super::Options::on_event`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listen {
    /// Changes of the list of tools.
    pub tools: bool,
    /// Changes of the list of prompts.
    pub prompts: bool,
    /// Changes of the list of resources.
    pub resources: bool,
    /// Changes of these resources.
    pub uris: Vec<String>,
}

/// A subscription of the modern era; dropped, it ends. Legacy sessions tell until they end.
#[derive(Debug)]
pub struct Listening(Option<JoinHandle<ClientError>>);

impl Listening {
    /// Waits until the subscription has broken off for good, and says why.
    pub async fn ended(&mut self) -> ClientError {
        match &mut self.0 {
            Some(task) => task.await.unwrap_or(ClientError::Closed),
            None => std::future::pending().await,
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

impl Client {
    /// Subscribes; returns when the server has agreed. A subscription that breaks off is made
    /// again, as often as `reconnect_count` allows.
    pub async fn listen(&self, to: &Listen) -> Result<Listening, ClientError> {
        if self.era() == Era::Legacy {
            for uri in &to.uris {
                self.request("resources/subscribe", json!({"uri": uri}))
                    .await?;
            }
            return Ok(Listening(None));
        }
        let mut wanted = json!({});
        for (name, wants) in [
            ("toolsListChanged", to.tools),
            ("promptsListChanged", to.prompts),
            ("resourcesListChanged", to.resources),
        ] {
            if wants {
                wanted[name] = true.into();
            }
        }
        if !to.uris.is_empty() {
            wanted["resourceSubscriptions"] = json!(to.uris);
        }
        let Transport::Http(http) = &self.transport else {
            return Err(ClientError::Era("subscriptions/listen over stdio"));
        };
        let params = self.stamp(0, METHOD, &json!({"notifications": wanted}));
        let headers = self.headers(METHOD, &params)?;
        let (agreed, first) = oneshot::channel();
        let task = keep(self.peer.clone(), http.clone(), params, headers, agreed);
        let mut task = tokio::spawn(task);
        let time = Duration::from_millis(self.peer.options.limits.request_ms);
        let late = || ClientError::late(METHOD, "request_ms");
        let outcome = timeout(time, async {
            tokio::select! {
                biased;
                Ok(()) = first => Ok(()),
                ended = &mut task => Err(ended.unwrap_or(ClientError::Closed)),
            }
        });
        let outcome = outcome.await.unwrap_or_else(|_| Err(late()));
        let listening = Listening(Some(task));
        outcome.map(|()| listening)
    }
}

const METHOD: &str = "subscriptions/listen";

/// Holds a subscription up; returns why it could not be held.
async fn keep(
    peer: Arc<Peer>,
    http: Arc<Http>,
    params: Value,
    headers: Headers,
    agreed: oneshot::Sender<()>,
) -> ClientError {
    let mut agreed = Some(agreed);
    let mut tries = 0;
    loop {
        let waiting = match peer.register() {
            Ok(waiting) => waiting,
            Err(error) => return error,
        };
        let body = write(Some(waiting.id), METHOD, &params);
        let request = http.request(&peer, waiting.id, body, headers.clone());
        tokio::pin!(request);
        let error = loop {
            tokio::select! {
                outcome = &mut request => break outcome.err().unwrap_or(ClientError::Closed),
                () = waiting.life.notified() => {
                    tries = 0;
                    if let Some(agreed) = agreed.take() {
                        // Who no longer waits has dropped the subscription.
                        let _ = agreed.send(());
                    }
                }
            }
        };
        let passing = matches!(error, ClientError::Closed | ClientError::Unreachable(_));
        if !passing || agreed.is_some() || tries == peer.options.limits.reconnect_count {
            return error;
        }
        tries += 1;
        sleep(Duration::from_millis(peer.options.limits.retry_ms)).await;
    }
}
