//! Access to servers that want a token: OAuth 2.1 as the protocol's Authorization chapter profiles
//! it, for both eras.
//!
//! A request carries the token that is held. When it is refused, `challenge` reads why, `metadata`
//! finds out who gives out tokens for the server, `identity` settles who this client is there,
//! `sign_in` asks a person if need be, and `token` gets what is then kept in a `store`. Everything
//! on the way is named by somebody who may be an attacker: `place` and `fetch` are the only way
//! out. What signs and hides is in `keys`.

mod challenge;
mod error;
mod fetch;
mod identity;
mod keys;
mod metadata;
mod options;
mod place;
mod sign_in;
mod store;
mod token;

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};

use hyper::header::AUTHORIZATION;
use hyper::{HeaderMap, Uri};
use rustls::pki_types::CertificateDer;
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use tokio::task::spawn_blocking;

use super::limits::Limits;
use super::peer::{Busy, lock};
pub(crate) use challenge::Challenge;
use challenge::Scheme;
pub use error::AuthError;
use fetch::Fetch;
use identity::Identity;
use keys::Key;
use metadata::{Issuer, Site, discover};
pub use options::{Auth, Grant};
use place::{Places, is_loopback};
pub use store::{FileStore, MemoryStore, Store};
use token::{DPOP, Token, Wish, header};

/// A token as requests carry it.
pub(crate) struct Ticket {
    token: Token,
    key: Option<Key>,
}

impl Ticket {
    pub(crate) fn scheme(&self) -> Scheme {
        match self.key {
            Some(_) => Scheme::Dpop,
            None => Scheme::Bearer,
        }
    }
}

/// Gets tokens for one server and renews them.
pub(crate) struct Authorizer {
    auth: Auth,
    server: Uri,
    limits: Limits,
    fetch: Fetch,
    ticket: Mutex<Option<Arc<Ticket>>>,
    /// What the server wants in proofs (RFC 9449, section 9).
    nonce: Mutex<Option<String>>,
    loaded: OnceCell<()>,
    renewal: tokio::sync::Mutex<Renewal>,
    /// While a person is asked, a request is not late.
    busy: Arc<AtomicUsize>,
}

/// What only the one renewal under way looks at.
#[derive(Default)]
struct Renewal {
    /// Where the server has said that its metadata is.
    metadata: Option<String>,
    /// The authorization server to which the given client id belongs.
    bound: Option<String>,
}

impl Authorizer {
    pub(crate) fn new(
        auth: Auth,
        server: Uri,
        extra: Vec<CertificateDer<'static>>,
        limits: Limits,
        busy: Arc<AtomicUsize>,
    ) -> Self {
        let places = Places::of(&server, auth.private);
        Self {
            fetch: Fetch::new(places, extra, limits.clone()),
            auth,
            server,
            limits,
            ticket: Mutex::default(),
            nonce: Mutex::default(),
            loaded: OnceCell::new(),
            renewal: tokio::sync::Mutex::default(),
            busy,
        }
    }

    /// Whether nobody on the way can read along: tokens go nowhere else (OAuth 2.1, section 1.5).
    fn is_private(&self) -> bool {
        self.server.scheme_str() == Some("https") || is_loopback(&self.server)
    }

    /// What a request is to carry; renewed if it is known to be over. Whatever goes wrong is no
    /// matter before the server refuses the request: it may want no token.
    pub(crate) async fn ticket(&self) -> Option<Arc<Ticket>> {
        let loaded = || self.loaded.get_or_try_init(|| self.load());
        if !self.is_private() || loaded().await.is_err() {
            return None;
        }
        let held = self.held();
        // Nobody is asked to sign in because of a clock: that the server refuses comes first.
        let alone = |it: &Token| it.refresh.is_some() || self.auth.grant != Grant::Person;
        let over = |it: &Arc<Ticket>| it.token.is_over() && alone(&it.token);
        if held.as_ref().is_some_and(over) {
            // The refusal may say what has changed; renewing with that is tried again, and told.
            let _ = self.renew(held.as_ref(), &Challenge::default(), 0).await;
            return self.held();
        }
        held
    }

    fn held(&self) -> Option<Arc<Ticket>> {
        lock(&self.ticket).clone()
    }

    /// Adds the token to a request.
    // [mcp:auth-bearer]
    pub(crate) fn stamp(
        &self,
        ticket: &Ticket,
        method: &str,
        headers: &mut HeaderMap,
    ) -> Result<(), AuthError> {
        let access = &ticket.token.access;
        let Some(key) = &ticket.key else {
            headers.insert(AUTHORIZATION, header(format!("Bearer {access}"))?);
            return Ok(());
        };
        let nonce = lock(&self.nonce).clone();
        let url = self.server.to_string();
        let proof = key.proof(method, &url, Some(access), nonce.as_deref())?;
        headers.insert(AUTHORIZATION, header(format!("DPoP {access}"))?);
        headers.insert(DPOP, header(proof)?);
        Ok(())
    }

    /// Remembers what the server wants in the next proof.
    pub(crate) fn heed(&self, headers: &HeaderMap) {
        let nonce = headers.get("dpop-nonce").and_then(|it| it.to_str().ok());
        if let Some(nonce) = nonce {
            *lock(&self.nonce) = Some(nonce.to_owned());
        }
    }

    /// Gets another token than `used`, which was refused; `tries` is how often this was done for
    /// the same request. One renewal runs at a time: who waited for it tries with what it brought.
    pub(crate) async fn renew(
        &self,
        used: Option<&Arc<Ticket>>,
        challenge: &Challenge,
        tries: usize,
    ) -> Result<(), AuthError> {
        if !self.is_private() {
            return Err(AuthError::Plain(self.server.to_string()));
        }
        self.loaded.get_or_try_init(|| self.load()).await?;
        let mut renewal = self.renewal.lock().await;
        let held = self.held();
        if held.as_ref().map(Arc::as_ptr) != used.map(Arc::as_ptr) {
            return Ok(());
        }
        if matches!(self.auth.grant, Grant::Assertion(_)) && self.auth.issuer.is_none() {
            return Err(AuthError::Option(
                "an assertion is for one authorization server: give its issuer too".to_owned(),
            ));
        }
        let _asking = Busy::new(&self.busy);
        if let Some(url) = &challenge.metadata {
            renewal.metadata = Some(url.clone());
        }
        let known = held.as_ref().map(|it| it.token.issuer.as_str());
        let named = renewal.metadata.as_deref();
        let mut site = discover(&self.fetch, &self.server, named, known).await;
        let remembered = named.is_some() && challenge.metadata.is_none();
        if remembered && matches!(site, Err(AuthError::Fetch { .. })) {
            // It has moved, maybe; where it is by default it can be found without being told.
            let moved = discover(&self.fetch, &self.server, None, known).await;
            if moved.is_ok() {
                site = moved;
                renewal.metadata = None;
            }
        }
        let site = site?;
        self.keep_to_issuer(&mut renewal, known, &site.issuer)?;
        // A token of another authorization server, or for another resource, has no say in the next.
        let held = held
            .filter(|it| it.token.issuer == site.issuer.id && it.token.resource == site.resource);
        let before = held.as_ref().map_or(&[][..], |it| &it.token.scopes);
        let scopes = self.scopes(&site, challenge, before)?;
        let more = scopes.len() > before.len();
        if challenge.wants_more() && tries > 0 && !more {
            return Err(AuthError::StillRefused(scopes.join(" ")));
        }
        let key = self.key(&site, challenge, held.as_deref())?;
        let refreshed = match &held {
            Some(held) if tries == 0 && !challenge.wants_more() => {
                self.refresh(&site, &held.token, key.as_ref()).await?
            }
            _ => None,
        };
        let token = match refreshed {
            Some(token) => token,
            None => self.obtain(&site, &scopes, key.as_ref()).await?,
        };
        let metadata = renewal.metadata.clone();
        self.hold(Token { metadata, ..token }, key).await
    }

    /// A client id is shown to the authorization server it is for, and to no other; so is what
    /// vouches for the client, or for a person.
    // [mcp:auth-registration]
    fn keep_to_issuer(
        &self,
        renewal: &mut Renewal,
        known: Option<&str>,
        issuer: &Issuer,
    ) -> Result<(), AuthError> {
        let given = self.auth.issuer.as_deref();
        let vouched = given.is_some() && self.auth.grant != Grant::Person;
        if self.auth.client_id.is_none() && !vouched {
            return Ok(());
        }
        let bound = given.or(renewal.bound.as_deref()).or(known);
        match bound.filter(|it| *it != issuer.id) {
            Some(was) => Err(AuthError::IssuerChanged {
                was: was.to_owned(),
                now: issuer.id.clone(),
            }),
            None => {
                renewal.bound = Some(issuer.id.clone());
                Ok(())
            }
        }
    }

    /// What is asked for: everything that was asked for before, and what is wanted now. That is
    /// what the challenge says, else what the resource names, else nothing in particular.
    // [mcp:auth-challenge]
    fn scopes(
        &self,
        site: &Site,
        challenge: &Challenge,
        before: &[String],
    ) -> Result<Vec<String>, AuthError> {
        let mut scopes = before.to_vec();
        let mut add = |wanted: &[String]| {
            for scope in wanted {
                if !scopes.contains(scope) {
                    scopes.push(scope.clone());
                }
            }
        };
        add(&self.auth.scopes);
        match challenge.scopes.is_empty() {
            false => add(&challenge.scopes),
            true if self.auth.scopes.is_empty() && before.is_empty() => add(&site.scopes),
            true => {}
        }
        let offline = "offline_access";
        let lasting = self.auth.grant == Grant::Person
            && site.issuer.has("scopes_supported", offline)
            && !scopes.is_empty()
            && !scopes.iter().any(|it| it == offline);
        if lasting {
            scopes.push(offline.to_owned());
        }
        match scopes.len() > self.limits.scope_count {
            true => Err(AuthError::SignIn(
                "more scopes are wanted than the limit scope_count allows".to_owned(),
            )),
            false => Ok(scopes),
        }
    }

    /// The key to which the next token is bound, where server and authorization server want one.
    fn key(
        &self,
        site: &Site,
        challenge: &Challenge,
        held: Option<&Ticket>,
    ) -> Result<Option<Key>, AuthError> {
        if let Some(text) = held.and_then(|it| it.token.key.as_deref()) {
            return Key::from_text(text).map(Some);
        }
        let known = site
            .issuer
            .has("dpop_signing_alg_values_supported", "ES256");
        match (challenge.dpop || site.dpop) && known {
            true => Key::fresh().map(Some),
            false => Ok(None),
        }
    }

    /// A token in place of `old`, if its refresh token is still good for one.
    // [mcp:auth-storage]
    async fn refresh(
        &self,
        site: &Site,
        old: &Token,
        key: Option<&Key>,
    ) -> Result<Option<Token>, AuthError> {
        let Some(refresh) = &old.refresh else {
            return Ok(None);
        };
        let Some(identity) = self.known_as(&old.client_id, &site.issuer).await? else {
            return Ok(None);
        };
        let wish = Wish {
            site,
            identity: &identity,
            grant: &self.auth.grant,
            scopes: &old.scopes,
            key,
        };
        let pairs = vec![("grant_type", "refresh_token"), ("refresh_token", refresh)];
        match wish.ask(&self.fetch, &pairs, false).await {
            Ok(mut new) => {
                // Where none is given the old one stays (RFC 6749, section 6).
                new.refresh = new.refresh.or_else(|| old.refresh.clone());
                Ok(Some(new))
            }
            Err(AuthError::Refused { code, .. }) => {
                self.doubt(&identity, &site.issuer, &code).await?;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Forgets a registration that the authorization server no longer knows.
    async fn doubt(
        &self,
        identity: &Identity,
        issuer: &Issuer,
        code: &str,
    ) -> Result<(), AuthError> {
        match identity.by_itself && matches!(code, "invalid_client" | "unauthorized_client") {
            true => self.keep(identity::kept_under(&issuer.id), None).await,
            false => Ok(()),
        }
    }

    /// A token by the right that the options name.
    async fn obtain(
        &self,
        site: &Site,
        scopes: &[String],
        key: Option<&Key>,
    ) -> Result<Token, AuthError> {
        if self.auth.grant == Grant::Person {
            return self.ask_person(site, scopes, key).await;
        }
        let given = identity::given(&self.auth, &site.issuer);
        let known = given.or_else(|| identity::documented(&self.auth, &site.issuer));
        let identity = known.ok_or_else(|| AuthError::NoClient(site.issuer.id.clone()))?;
        let wish = Wish {
            site,
            identity: &identity,
            grant: &self.auth.grant,
            scopes,
            key,
        };
        const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
        let exchanged;
        let pairs = match &self.auth.grant {
            Grant::Assertion(it) => vec![("grant_type", JWT_BEARER), ("assertion", it.as_str())],
            Grant::Organization {
                token_endpoint,
                client_id,
                id_token,
            } => {
                let to = token_endpoint;
                exchanged = token::exchange(&self.fetch, site, to, client_id, id_token).await?;
                vec![
                    ("grant_type", JWT_BEARER),
                    ("assertion", exchanged.as_str()),
                ]
            }
            Grant::Client | Grant::Person => vec![("grant_type", "client_credentials")],
        };
        wish.ask(&self.fetch, &pairs, true).await
    }

    // [mcp:auth-pkce]
    async fn ask_person(
        &self,
        site: &Site,
        scopes: &[String],
        key: Option<&Key>,
    ) -> Result<Token, AuthError> {
        let issuer = &site.issuer;
        if !issuer.has("code_challenge_methods_supported", "S256") {
            return Err(AuthError::NoPkce(issuer.id.clone()));
        }
        let Some(sign_in) = &self.auth.sign_in else {
            return Err(AuthError::NoSignIn(issuer.id.clone()));
        };
        let (back, waiting) = sign_in.ready().await?;
        let identity = self.introduce(issuer, &back).await?;
        let (fetch, id, limits) = (&self.fetch, identity.id.as_str(), &self.limits);
        let code = waiting.code(fetch, site, id, &back, scopes, limits).await?;
        let wish = Wish {
            site,
            identity: &identity,
            grant: &self.auth.grant,
            scopes,
            key,
        };
        let pairs = vec![
            ("grant_type", "authorization_code"),
            ("code", code.code.as_str()),
            ("redirect_uri", back.as_str()),
            ("code_verifier", code.verifier.as_str()),
        ];
        let outcome = wish.ask(&self.fetch, &pairs, false).await;
        if let Err(AuthError::Refused { code, .. }) = &outcome {
            self.doubt(&identity, issuer, code).await?;
        }
        outcome
    }

    /// Who this client is to an authorization server at which a person signs in.
    // [mcp:auth-registration]
    async fn introduce(&self, issuer: &Issuer, back: &str) -> Result<Identity, AuthError> {
        let given = identity::given(&self.auth, issuer);
        if let Some(known) = given.or_else(|| identity::documented(&self.auth, issuer)) {
            return Ok(known);
        }
        let under = identity::kept_under(&issuer.id);
        if let Some(kept) = identity::kept(self.kept(under.clone()).await?, Some(back)) {
            return Ok(kept);
        }
        let (identity, kept) = identity::register(&self.fetch, &self.auth, issuer, back).await?;
        self.keep(under, Some(kept)).await?;
        Ok(identity)
    }

    /// Who `id` is, which a token was given to.
    async fn known_as(&self, id: &str, issuer: &Issuer) -> Result<Option<Identity>, AuthError> {
        let given = identity::given(&self.auth, issuer);
        let known = given.or_else(|| identity::documented(&self.auth, issuer));
        let known = match known {
            Some(known) => Some(known),
            None => {
                let kept = self.kept(identity::kept_under(&issuer.id)).await?;
                identity::kept(kept, None)
            }
        };
        Ok(known.filter(|it| it.id == id))
    }

    async fn hold(&self, token: Token, key: Option<Key>) -> Result<(), AuthError> {
        let kept = json!(token);
        // A token that is bound brings the key along.
        let key = key.filter(|_| token.key.is_some());
        *lock(&self.ticket) = Some(Arc::new(Ticket { token, key }));
        self.keep(self.token_under(), Some(kept)).await
    }

    fn token_under(&self) -> String {
        format!("token {}", self.server)
    }

    /// Takes up the token of an earlier client, if it is one that this client could have got.
    async fn load(&self) -> Result<(), AuthError> {
        let Some(kept) = self.kept(self.token_under()).await? else {
            return Ok(());
        };
        // What an older release has kept, in another form, is got anew.
        let Ok(token) = serde_json::from_value::<Token>(kept) else {
            return Ok(());
        };
        let same = |wanted: &Option<String>, found: &str| {
            wanted.as_ref().is_none_or(|wanted| wanted == found)
        };
        let enough = self.auth.scopes.iter().all(|it| token.scopes.contains(it));
        let ours = token.grant == self.auth.grant.kind()
            && same(&self.auth.client_id, &token.client_id)
            && same(&self.auth.issuer, &token.issuer);
        if enough && ours {
            let key = token.key.as_deref().map(Key::from_text).transpose()?;
            self.renewal.lock().await.metadata = token.metadata.clone();
            *lock(&self.ticket) = Some(Arc::new(Ticket { token, key }));
        }
        Ok(())
    }

    async fn kept(&self, key: String) -> Result<Option<Value>, AuthError> {
        let store = self.auth.store.clone();
        let read = spawn_blocking(move || store.get(&key)).await;
        read.unwrap_or_else(|error| Err(AuthError::Store(error.to_string())))
    }

    async fn keep(&self, key: String, value: Option<Value>) -> Result<(), AuthError> {
        let store = self.auth.store.clone();
        let written = spawn_blocking(move || store.set(&key, value)).await;
        written.unwrap_or_else(|error| Err(AuthError::Store(error.to_string())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn tokens_go_over_tls_or_stay_on_this_host() {
        for (url, good) in [
            ("https://mcp.example/mcp", true),
            ("http://127.0.0.1:8000/mcp", true),
            ("http://[::1]/mcp", true),
            ("http://localhost/mcp", true),
            ("http://192.0.2.1/mcp", false),
            ("http://10.0.0.1/mcp", false),
            ("http://mcp.example/mcp", false),
        ] {
            let token = Token {
                issuer: "https://as.example".to_owned(),
                resource: url.to_owned(),
                client_id: "mine".to_owned(),
                access: "secret".to_owned(),
                refresh: None,
                expires_s: None,
                scopes: Vec::new(),
                key: None,
                metadata: None,
                grant: Grant::Person.kind().to_owned(),
            };
            let store = MemoryStore::default();
            let server: Uri = url.parse().unwrap();
            store
                .set(&format!("token {server}"), Some(json!(token)))
                .unwrap();
            let auth = Auth::new("test").store(store);
            let busy = Arc::default();
            let authorizer = Authorizer::new(auth, server, Vec::new(), Limits::default(), busy);
            let ticket = authorizer.ticket().await;
            assert_eq!(ticket.is_some(), good, "{url}");
            if !good {
                let renewed = authorizer.renew(None, &Challenge::default(), 0).await;
                assert!(matches!(renewed, Err(AuthError::Plain(_))), "{renewed:?}");
            }
        }
    }
}
