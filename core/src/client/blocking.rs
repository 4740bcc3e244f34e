//! The client for programs that are not on tokio.

use tokio::runtime::{Builder, Runtime};

use super::{Client, ClientError, Options, Target};

/// A client with a runtime of its own. Streams and the server's questions are looked after while a
/// call runs, and not in between.
pub struct Blocking {
    runtime: Runtime,
    client: Client,
}

impl Blocking {
    /// Begins a conversation.
    pub fn connect(target: &Target, options: Options) -> Result<Self, ClientError> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| ClientError::Unreachable(error.to_string()))?;
        let client = runtime.block_on(Client::connect(target, options))?;
        Ok(Self { runtime, client })
    }

    /// Runs what `work` makes of the client: `it.run(async |client| client.ping().await)`.
    pub fn run<T>(&self, work: impl AsyncFnOnce(&Client) -> T) -> T {
        self.runtime.block_on(work(&self.client))
    }

    /// Ends the conversation.
    pub fn close(mut self) {
        self.runtime.block_on(self.client.close());
    }
}
