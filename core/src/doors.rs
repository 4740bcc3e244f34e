//! The sockets that a node listens on: bound before its shards begin, so that a start that cannot
//! succeed fails with words.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use ninefold_runtime::net::listen;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, sockopt};

use crate::net::Speech;
use crate::node::{NodeConfig, NodeError};
use crate::server::Server;

const LISTEN: &str = "--listen";
const LINES: &str = "--listen-lines";
const ADMIN: &str = "--admin";
const UNIX: &str = "--listen-unix";
const UNIX_HTTP: &str = "--listen-unix-http";
const PAIR: &str = "--sse-2024";

/// Connections to a Unix socket that may wait to be accepted; the kernel caps it at `somaxconn`.
const BACKLOG: i32 = 4096;
/// Who may connect to a Unix socket: its owner.
const OWNER_ONLY: u32 = 0o600;

/// A socket that a shard accepts on, and what is spoken there.
pub(crate) struct Listener {
    pub(crate) socket: OwnedFd,
    pub(crate) speech: Speech,
}

/// All listeners of a node.
pub(crate) struct Doors {
    /// Those of each shard.
    pub(crate) shards: Vec<Vec<Listener>>,
    /// Where HTTP is served.
    pub(crate) address: SocketAddr,
    /// Where lines are served over TCP.
    pub(crate) lines: Option<SocketAddr>,
    pub(crate) admin: Option<(std::net::TcpListener, SocketAddr)>,
    pub(crate) socket_files: Vec<SocketFile>,
}

/// Where an authorization is wanted, nothing is served on which it could not be kept: only HTTP
/// carries a token with every request.
///
/// # Errors
/// [`NodeError::NoTokens`].
pub(crate) fn require_tokens(server: &Server, config: &NodeConfig) -> Result<(), NodeError> {
    let without = [
        (config.lines.is_some(), LINES),
        (config.unix.is_some(), UNIX),
        (config.sse_2024, PAIR),
    ];
    match without.into_iter().find(|&(wanted, _)| wanted) {
        Some((_, flag)) if server.access().is_some() => Err(NodeError::NoTokens { flag }),
        _ => Ok(()),
    }
}

/// With SO_REUSEPORT alone, a second node of the same user would quietly share the port.
///
/// # Errors
/// [`NodeError::Taken`], [`NodeError::Listen`].
pub(crate) fn require_free(config: &NodeConfig) -> Result<(), NodeError> {
    let all = [(Some(config.listen), LISTEN), (config.lines, LINES)];
    for (address, flag) in all {
        if let Some(address) = address.filter(|it| it.port() != 0) {
            bind(address, flag, false)?;
        }
    }
    Ok(())
}

impl Doors {
    /// Opens what `config` asks for, one listener of each kind a shard.
    ///
    /// # Errors
    /// [`NodeError`] names the first that cannot be had.
    pub(crate) fn open(config: &NodeConfig, shards: usize) -> Result<Self, NodeError> {
        let mut doors = Self {
            shards: (0..shards).map(|_| Vec::new()).collect(),
            address: config.listen,
            lines: None,
            admin: None,
            socket_files: Vec::new(),
        };
        doors.address = doors.open_port(config.listen, LISTEN, Speech::Http)?;
        if let Some(address) = config.lines {
            doors.lines = Some(doors.open_port(address, LINES, Speech::Lines)?);
        }
        let files = [
            (&config.unix, UNIX, Speech::Lines),
            (&config.unix_http, UNIX_HTTP, Speech::Http),
        ];
        for (path, flag, speech) in files {
            if let Some(path) = path {
                doors.open_file(path, flag, speech)?;
            }
        }
        doors.admin = config.admin.map(bind_admin).transpose()?;
        Ok(doors)
    }

    /// One listener a shard on one port; the kernel spreads connections over them.
    fn open_port(
        &mut self,
        address: SocketAddr,
        flag: &'static str,
        speech: Speech,
    ) -> Result<SocketAddr, NodeError> {
        let mut bound = address;
        for (shard, listeners) in self.shards.iter_mut().enumerate() {
            let listener = bind(bound, flag, true)?;
            if shard == 0 {
                bound = bound_to(&listener, address, flag)?;
            }
            if speech == Speech::Lines {
                // Lines may be silent for long: the kernel finds out about peers that have gone.
                // One that cannot is a peer found later, by its write deadline.
                let _ = sockopt::set_socket_keepalive(&listener, true);
            }
            listeners.push(Listener {
                socket: listener.into(),
                speech,
            });
        }
        Ok(bound)
    }

    /// One socket, which every shard accepts on.
    fn open_file(
        &mut self,
        path: &Path,
        flag: &'static str,
        speech: Speech,
    ) -> Result<(), NodeError> {
        let refuse = |why: String| NodeError::Unix {
            path: path.to_owned(),
            flag,
            why,
        };
        let (socket, file) = SocketFile::open(path).map_err(refuse)?;
        self.socket_files.push(file);
        for listeners in &mut self.shards {
            let socket = socket
                .try_clone()
                .map_err(|error| refuse(error.to_string()))?;
            listeners.push(Listener { socket, speech });
        }
        Ok(())
    }
}

fn bind(
    address: SocketAddr,
    flag: &'static str,
    shared: bool,
) -> Result<std::net::TcpListener, NodeError> {
    listen(address, shared).map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => NodeError::Taken { address, flag },
        _ => NodeError::Listen {
            address,
            flag,
            error,
        },
    })
}

/// The address that `listener` has got, which has been asked for `address`.
fn bound_to(
    listener: &std::net::TcpListener,
    address: SocketAddr,
    flag: &'static str,
) -> Result<SocketAddr, NodeError> {
    listener.local_addr().map_err(|error| NodeError::Listen {
        address,
        flag,
        error,
    })
}

/// The admin listener, which shares its port with nobody.
fn bind_admin(address: SocketAddr) -> Result<(std::net::TcpListener, SocketAddr), NodeError> {
    let listener = bind(address, ADMIN, false)?;
    let bound = bound_to(&listener, address, ADMIN)?;
    Ok((listener, bound))
}

/// The file of a Unix socket that this process listens on; removed when dropped, if it is still
/// ours. It goes before its socket is closed: until then no other file can have its inode.
pub(crate) struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl SocketFile {
    /// Listens at `path`, in place of a socket that nobody listens on any more, if there is one.
    ///
    /// # Errors
    /// What is in the way, and what to do.
    fn open(path: &Path) -> Result<(OwnedFd, Self), String> {
        clear(path)?;
        let says = |error: rustix::io::Errno| io::Error::from(error).to_string();
        let address = SocketAddrUnix::new(path).map_err(|error| {
            let why = says(error);
            format!("{why}; a path of at most 107 bytes is needed")
        })?;
        let (family, kind) = (AddressFamily::UNIX, SocketType::STREAM);
        let socket = rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, None);
        let socket = socket.map_err(says)?;
        rustix::net::bind(&socket, &address).map_err(says)?;
        // Before it listens, nobody can connect: there is no moment in which others may.
        let only = fs::Permissions::from_mode(OWNER_ONLY);
        let file = fs::set_permissions(path, only)
            .and_then(|()| fs::symlink_metadata(path))
            .map_err(|error| error.to_string())?;
        rustix::net::listen(&socket, BACKLOG).map_err(says)?;
        let file = Self {
            path: path.to_owned(),
            device: file.dev(),
            inode: file.ino(),
        };
        Ok((socket, file))
    }
}

/// Removes a socket at `path` that nobody listens on.
fn clear(path: &Path) -> Result<(), String> {
    let Ok(there) = fs::symlink_metadata(path) else {
        return Ok(());
    };
    if !there.file_type().is_socket() {
        return Err("something that is no socket is there; choose another path".to_owned());
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            tracing::info!(?path, "took the place of a socket that nobody listens on");
            fs::remove_file(path).map_err(|error| error.to_string())
        }
        Ok(_) => Err("somebody listens there; choose another path, or stop that one".to_owned()),
        Err(error) => Err(format!(
            "it cannot be told whether somebody listens there ({error}); remove it, or choose \
             another path"
        )),
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|it| it.dev() == self.device && it.ino() == self.inode);
        if ours && let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(path = ?self.path, %error, "a socket file stays behind");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_file_is_its_owners_and_goes_with_him() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mcp.sock");
        let (socket, file) = SocketFile::open(&path).unwrap();
        let mode = fs::symlink_metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, OWNER_ONLY);
        let why = SocketFile::open(&path).err().unwrap();
        assert!(why.contains("somebody listens there"), "{why}");
        fs::remove_file(&path).unwrap();
        let (newer_socket, newer) = SocketFile::open(&path).unwrap();
        drop(file);
        assert!(path.exists(), "the file is the newer one's");
        // A process that was killed leaves its file behind.
        drop((socket, newer_socket));
        std::mem::forget(newer);
        let (_socket, last) = SocketFile::open(&path).unwrap();
        drop(last);
        assert!(!path.exists());
    }

    #[test]
    fn what_is_no_socket_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "precious").unwrap();
        let why = SocketFile::open(&path).err().unwrap();
        assert!(why.contains("no socket"), "{why}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
        let long = folder.path().join("x".repeat(200));
        let why = SocketFile::open(&long).err().unwrap();
        assert!(why.contains("107 bytes"), "{why}");
    }
}
