//! Bytes to a peer and back until it closes, and the answers in them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::cases::Heard;

/// A peer that neither answers nor closes for so long has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// One answer.
#[derive(Debug)]
pub(crate) struct Answer {
    status: u16,
    bodiless: bool,
    /// The text that `echo` answered.
    pub(crate) text: Option<String>,
    /// It says that the connection ends.
    pub(crate) closes: bool,
}

impl Answer {
    pub(crate) fn heard(&self) -> Heard {
        const KNOWN: [&str; 4] = ["first", "second", "hidden", "marker"];
        let text = self.text.as_deref();
        match KNOWN.into_iter().find(|known| text == Some(known)) {
            Some(text) => Heard::Text(text),
            None if self.bodiless => Heard::Bodiless(self.status),
            None => Heard::Status(self.status),
        }
    }
}

/// Sends `bytes` in pieces of `size`; everything that comes back until the peer closes.
pub(crate) fn exchange(to: SocketAddr, bytes: &[u8], size: usize) -> Vec<u8> {
    let mut stream = TcpStream::connect_timeout(&to, PATIENCE).expect("a connection");
    stream.set_nodelay(true).expect("TCP_NODELAY");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    for piece in bytes.chunks(size) {
        // Who is refused early is not read to the end.
        if stream.write_all(piece).is_err() {
            break;
        }
    }
    let (mut got, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return got,
            Ok(n) => got.extend_from_slice(&buffer[..n]),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return got,
            Err(error) => {
                let shown = String::from_utf8_lossy(bytes);
                panic!("{error}: neither answered nor closed: {shown}, got {got:?}")
            }
        }
    }
}

/// The answers in `bytes`, interim ones left out; `bodiless` says which have no body.
pub(crate) fn answers(mut bytes: &[u8], bodiless: &[bool]) -> Vec<Answer> {
    let mut answers = Vec::new();
    while !bytes.is_empty() {
        if !bytes.starts_with(b"HTTP/") {
            // nginx answers what it takes for HTTP/0.9 without a head; the node must not.
            answers.push(Answer {
                status: 0,
                bodiless: false,
                text: None,
                closes: true,
            });
            return answers;
        }
        let mut table = [httparse::EMPTY_HEADER; 32];
        let mut response = httparse::Response::new(&mut table);
        let Ok(httparse::Status::Complete(head)) = response.parse(bytes) else {
            panic!("no answer: {}", String::from_utf8_lossy(bytes));
        };
        let field = |name: &str| {
            let fields = response.headers.iter();
            let found = fields.filter(|it| it.name.eq_ignore_ascii_case(name));
            let mut value = found.map(|it| String::from_utf8_lossy(it.value).trim().to_owned());
            value.next_back()
        };
        let status = response.code.expect("a status");
        let none = bodiless.get(answers.len()).copied().unwrap_or(false);
        let rest = &bytes[head..];
        let (body, length) = match field("content-length") {
            _ if none || status < 200 => (Vec::new(), 0),
            Some(length) => {
                let length: usize = length.parse().expect("a length");
                // A proxy that closes may cut its last answer.
                let length = length.min(rest.len());
                (rest[..length].to_vec(), length)
            }
            None if field("transfer-encoding").is_some() => panic!("a stream for an answer"),
            None => (rest.to_vec(), rest.len()),
        };
        bytes = &rest[length..];
        if status >= 200 {
            let json: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
            let text = json["result"]["content"][0]["text"].as_str();
            answers.push(Answer {
                status,
                bodiless: none,
                text: text.map(str::to_owned),
                closes: field("connection").is_some_and(|it| it.eq_ignore_ascii_case("close")),
            });
        }
    }
    answers
}
