//! Ids that carry their own route: any shard can find the actor, nobody can guess or read it.
//!
//! An id is 32 bytes, written as 43 characters of URL-safe base64: one AES block over shard, slot,
//! generation and four zero bytes, then 16 random bytes. The block hides the route; the random
//! bytes are the secret that the actor compares, so a forged route meets an actor that refuses it.

use aes::Aes128;
use aes::cipher::{Array, BlockCipherDecrypt, BlockCipherEncrypt, KeyInit};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Length of an id in characters.
const ID_CHARS: usize = 43;

/// The random half of an id; whoever knows it holds the id.
#[derive(Clone, Copy)]
pub(crate) struct Secret([u8; 16]);

impl Secret {
    /// A fresh secret of the system's random source.
    pub(crate) fn fresh() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// Compares in a time that does not depend on where the two differ.
    pub(crate) fn matches(self, other: Self) -> bool {
        let differing = self
            .0
            .iter()
            .zip(other.0)
            .fold(0, |acc, (a, b)| acc | (a ^ b));
        std::hint::black_box(differing) == 0
    }
}

/// Where the actor behind an id is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) shard: u16,
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

/// Writes and reads ids under a key that lives as long as the process.
pub(crate) struct IdCodec(Aes128);

impl IdCodec {
    /// A codec under a fresh key of the system's random source.
    pub(crate) fn fresh() -> Result<Self, getrandom::Error> {
        let mut key = [0; 16];
        getrandom::fill(&mut key)?;
        Ok(Self(Aes128::new(&Array::from(key))))
    }

    /// The id of the actor at `route` that knows `secret`.
    // [mcp:http-session-id]
    pub(crate) fn encode(&self, route: Route, secret: Secret) -> String {
        let mut block = [0; 16];
        block[0..2].copy_from_slice(&route.shard.to_le_bytes());
        block[2..6].copy_from_slice(&route.index.to_le_bytes());
        block[6..10].copy_from_slice(&route.generation.to_le_bytes());
        let mut block = Array::from(block);
        self.0.encrypt_block(&mut block);
        let mut id = [0; 32];
        id[..16].copy_from_slice(&block);
        id[16..].copy_from_slice(&secret.0);
        URL_SAFE_NO_PAD.encode(id)
    }

    /// The route and the secret of an id, if it may be one of ours.
    pub(crate) fn decode(&self, id: &str) -> Option<(Route, Secret)> {
        if id.len() != ID_CHARS {
            return None;
        }
        let mut bytes = [0; 33];
        let length = URL_SAFE_NO_PAD.decode_slice(id, &mut bytes).ok()?;
        let (block, secret) = bytes.get(..length)?.split_at_checked(16)?;
        let secret = Secret(secret.try_into().ok()?);
        let mut block = Array::from(<[u8; 16]>::try_from(block).ok()?);
        self.0.decrypt_block(&mut block);
        if block[10..] != [0; 6] {
            return None;
        }
        let word = |at: usize| Some(u32::from_le_bytes(block[at..at + 4].try_into().ok()?));
        let shard = u16::from_le_bytes([block[0], block[1]]);
        Some((
            Route {
                shard,
                index: word(2)?,
                generation: word(6)?,
            },
            secret,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTE: Route = Route {
        shard: 3,
        index: 70_000,
        generation: 9,
    };

    #[test]
    fn ids_lead_back_to_their_route_and_nowhere_else() {
        // [mcp:http-session-id]
        let codec = IdCodec::fresh().unwrap();
        let secret = Secret::fresh().unwrap();
        let id = codec.encode(ROUTE, secret);
        assert_eq!(id.len(), ID_CHARS);
        let (route, read) = codec.decode(&id).unwrap();
        assert_eq!(route, ROUTE);
        assert!(read.matches(secret));
        assert!(!read.matches(Secret::fresh().unwrap()));
        let other = IdCodec::fresh().unwrap();
        assert!(
            other.decode(&id).is_none(),
            "another key reads another route"
        );
    }

    #[test]
    fn what_is_no_id_is_refused() {
        let codec = IdCodec::fresh().unwrap();
        let id = codec.encode(ROUTE, Secret::fresh().unwrap());
        for wrong in [
            "",
            "x",
            &id[1..],
            &format!("{id}A"),
            &"A".repeat(43),
            &"=".repeat(43),
        ] {
            assert!(codec.decode(wrong).is_none(), "{wrong:?}");
        }
    }
}
