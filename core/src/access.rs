//! The options by which a command gets access to a server: a token, or a way to one.

use std::env;
use std::fs;
use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::{Args, ValueEnum};
use ninefold::client::{Auth, ClientError, FileStore, Grant, Options};

/// Largest file with a secret, a key or certificates that is read.
const FILE_BYTES_MAX: u64 = 1 << 20;

#[derive(Debug, Args)]
#[command(next_help_heading = "Access")]
pub(crate) struct Access {
    /// Send this token; with it, none is got. Better in the variable: others see arguments.
    #[arg(long, env = "NINEFOLD_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// When somebody is asked to sign in in a browser.
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = SignIn::Auto)]
    sign_in: SignIn,
    /// Open the browser too, not only print where to go.
    #[arg(long)]
    open: bool,
    /// Port of this host that the browser comes back to [default: any free one].
    #[arg(
        long,
        value_name = "PORT",
        default_value_t = 0,
        hide_default_value = true
    )]
    redirect_port: u16,
    /// Ask for this scope too; may be given more than once [default: what the server names].
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<String>,
    /// Id of a client that is registered at the authorization server [default: registers itself].
    #[arg(long, value_name = "ID", env = "NINEFOLD_CLIENT_ID")]
    client_id: Option<String>,
    /// File with the secret of that client; `-` is stdin.
    #[arg(long, value_name = "FILE", requires = "client_id")]
    client_secret_file: Option<PathBuf>,
    /// File with the key of that client, PEM with PKCS #8 (P-256 or RSA).
    #[arg(long, value_name = "FILE")]
    client_key_file: Option<PathBuf>,
    /// The authorization server that knows that client; no other is shown its id.
    #[arg(long, value_name = "URL", requires = "client_id")]
    issuer: Option<String>,
    /// Where this client's metadata document is published, an id in itself.
    #[arg(long, value_name = "URL")]
    client_metadata_url: Option<String>,
    /// Get the token for the client itself, not for a person.
    #[arg(long)]
    client_credentials: bool,
    /// File for tokens and registrations, mode 0600; `none` forgets them
    /// [default: ninefold/credentials.json in the user's folder of state].
    #[arg(long, value_name = "FILE", env = "NINEFOLD_CREDENTIALS")]
    credentials: Option<PathBuf>,
    /// Go to addresses of private networks too when the server names them.
    #[arg(long)]
    allow_private: bool,
    /// File with root certificates, PEM, that are believed besides those of this host.
    #[arg(long, value_name = "FILE", env = "NINEFOLD_CA_FILE")]
    ca_file: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum SignIn {
    /// If stderr is a terminal, or with --open.
    Auto,
    /// Also where nobody may be looking.
    Always,
    /// The server's refusal is an error.
    Never,
}

impl Access {
    /// Adds to the options of a client what gives it access.
    pub(crate) fn apply(&self, mut options: Options) -> Result<Options, ClientError> {
        if let Some(path) = &self.ca_file {
            let named = |why| ClientError::Option(format!("{}: {why}", path.display()));
            options = options
                .root_certificates(&read(path)?)
                .map_err(|error| named(error.to_string()))?;
        }
        // A variable that is set to nothing gives no token.
        let token = self.token.as_deref().map(str::trim);
        if let Some(token) = token.filter(|it| !it.is_empty()) {
            return Ok(options.token(token));
        }
        Ok(options.auth(self.auth()?))
    }

    fn auth(&self) -> Result<Auth, ClientError> {
        let scopes: Vec<_> = self.scopes.iter().map(String::as_str).collect();
        let mut auth = Auth::new("ninefold").scopes(&scopes);
        if let Some(id) = &self.client_id {
            auth = auth.client_id(id);
        }
        if let Some(path) = &self.client_secret_file {
            let secret = String::from_utf8(read(path)?);
            let secret = secret.map_err(|_| option(path, "the secret is no text"))?;
            auth = auth.client_secret(secret.trim_end_matches(['\r', '\n']));
            if self.issuer.is_none() {
                eprintln!(
                    "ninefold: warning: the secret goes to whichever authorization server the \
                     server names first: --issuer says which one it is for"
                );
            }
        }
        if let Some(path) = &self.client_key_file {
            auth = auth.private_key(&read(path)?)?;
        }
        if let Some(issuer) = &self.issuer {
            auth = auth.issuer(issuer);
        }
        if let Some(url) = &self.client_metadata_url {
            auth = auth.client_metadata_url(url)?;
        }
        if self.client_credentials {
            auth = auth.grant(Grant::Client);
        }
        if self.allow_private {
            auth = auth.allow_private();
        }
        let somebody = match self.sign_in {
            SignIn::Always => true,
            SignIn::Never => false,
            SignIn::Auto => self.open || io::stderr().is_terminal(),
        };
        if somebody {
            let open = self.open;
            auth = auth.sign_in_here(self.redirect_port, move |url| show(url, open));
        }
        if let Some(path) = self.credentials() {
            auth = auth.store(FileStore::new(path));
        }
        Ok(auth)
    }

    /// Where credentials are kept, unless they are not, or nobody says where this user's files are.
    fn credentials(&self) -> Option<PathBuf> {
        if let Some(path) = &self.credentials {
            return (path.as_os_str() != "none").then(|| path.clone());
        }
        let folder = |name| {
            env::var_os(name)
                .map(PathBuf::from)
                .filter(|it| it.is_absolute())
        };
        let state = folder("XDG_STATE_HOME");
        let state = state.or_else(|| folder("HOME").map(|it| it.join(".local/state")))?;
        Some(state.join("ninefold/credentials.json"))
    }
}

fn option(path: &Path, why: &str) -> ClientError {
    ClientError::Option(format!("{}: {why}", path.display()))
}

fn read(path: &Path) -> Result<Vec<u8>, ClientError> {
    let opened: io::Result<Box<dyn Read>> = match path.as_os_str() == "-" {
        true => Ok(Box::new(io::stdin())),
        false => fs::File::open(path).map(|it| Box::new(it) as Box<dyn Read>),
    };
    let mut bytes = Vec::new();
    let read = opened.and_then(|it| it.take(FILE_BYTES_MAX).read_to_end(&mut bytes));
    read.map_err(|error| option(path, &error.to_string()))?;
    Ok(bytes)
}

/// Tells where to sign in. The URL was checked: it is https, or of this host.
fn show(url: &str, open: bool) {
    let plain: String = url.chars().filter(|c| !c.is_control()).collect();
    eprintln!("To give access, sign in at\n\n  {plain}\n");
    if open {
        let mut browser = Command::new("xdg-open");
        let quiet = browser
            .arg(&plain)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        if let Err(error) = quiet.stderr(Stdio::null()).spawn() {
            eprintln!("ninefold: cannot open a browser with xdg-open: {error}");
        }
    }
}
