//! HTTP/1.1, as much as it takes to get a file: one request for each connection, an answer of bounded shape.
//!
//! Waiting is done in short pieces, so that a stop is seen and a server that says nothing is left.

use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::tls;
use super::url::Url;
use crate::Cause;

/// Most bytes of an answer's head.
const HEAD: usize = 64 << 10;
/// How often an answer may send us elsewhere.
const REDIRECTS: usize = 8;
/// How long one wait is.
const SLICE: Duration = Duration::from_millis(250);
const CONNECT: Duration = Duration::from_secs(15);

/// How to get files.
pub struct Agent<'a> {
    /// Certificates that vouch for servers: a file, else the host's.
    pub authorities: Option<&'a std::path::Path>,
    /// The proxy for `http://` and that for `https://`, `http://HOST:PORT`.
    pub proxies: (Option<Url>, Option<Url>),
    /// Whether a host is reached without them. Asked anew for each address that an answer sends us to.
    pub direct: &'a dyn Fn(&str) -> bool,
    /// A server may be silent for so long.
    pub idle: Duration,
    /// Becomes true when it shall end.
    pub stop: &'static AtomicBool,
    /// Whoever has a registry to ask.
    pub registry: RefCell<Option<Access>>,
}

/// How a registry is asked.
#[derive(Debug, Clone)]
pub struct Access {
    /// Forms of answers that are understood.
    pub accept: &'static str,
    /// The registry: nobody else is shown the token.
    pub registry: Url,
    /// What is had from it.
    pub repository: String,
    /// What shows that we may.
    pub token: Option<String>,
}

/// What an answer's head says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Head {
    /// Status.
    pub status: u16,
    /// Bytes of the body.
    pub length: Option<u64>,
    /// The body comes in chunks.
    pub chunked: bool,
    /// Where else to look.
    pub location: Option<String>,
    /// What identifies these bytes: an ETag that is strong, else a time.
    pub validator: Option<String>,
    /// Of a part: its first byte, and how many there are in all.
    pub range: Option<(u64, Option<u64>)>,
    /// How to show that one may (WWW-Authenticate).
    pub challenge: Option<String>,
}

/// An answer.
pub struct Answer {
    /// Its head.
    pub head: Head,
    /// Its body.
    pub body: Body,
}

impl Agent<'_> {
    /// Asks for `url` from byte `from` on; `validator`: only if it is still the same, else for all of it.
    pub fn get(&self, url: &Url, from: u64, validator: Option<&str>) -> Result<Answer, Cause> {
        let (first, mut url, mut is_renewed) = (url, url.clone(), false);
        for _ in 0..=REDIRECTS {
            let mut answer = self.ask(&url, from, validator)?;
            // A registry wants a token, or another one than ours of some minutes ago.
            if answer.head.status == 401
                && !std::mem::replace(&mut is_renewed, true)
                && let Some(challenge) = answer.head.challenge.take()
                && self.renew(&url, &challenge)?
            {
                url = first.clone();
                continue;
            }
            match (answer.head.status, &answer.head.location) {
                (301 | 302 | 303 | 307 | 308, Some(location)) => {
                    let next = url.join(location).map_err(Cause::Why)?;
                    if url.secure && !next.secure {
                        return Err(Cause::Why("the server sends us from https to http"));
                    }
                    url = next;
                }
                (200 | 206, _) => return Ok(answer),
                (status, _) => return Err(Cause::Said(format!("the server says {status}{}", reason(status)))),
            }
        }
        Err(Cause::Why("the server sends us in circles"))
    }

    /// Gets a token for the registry that said `challenge` at `url`; `false`: it is none.
    fn renew(&self, url: &Url, challenge: &str) -> Result<bool, Cause> {
        // Not there while we ask for the token: who gives it out wants none.
        let Some(mut access) = self.registry.take() else { return Ok(false) };
        let ours = access.registry.authority() == url.authority();
        access.token = None;
        let token = if ours { super::oci::token(self, &access, challenge).map(|token| access.token = Some(token)) } else { Ok(()) };
        self.registry.replace(Some(access));
        token.map(|()| ours)
    }

    fn ask(&self, url: &Url, from: u64, validator: Option<&str>) -> Result<Answer, Cause> {
        let (mut stream, absolute) = self.connect(url)?;
        let target = if absolute { url.to_string() } else { url.path.clone() };
        let mut request = format!(
            "GET {target} HTTP/1.1\r\nHost: {}\r\nUser-Agent: hostel\r\nAccept-Encoding: identity\r\nConnection: close\r\nAccept: ",
            url.authority()
        );
        let registry = self.registry.borrow();
        request.push_str(registry.as_ref().map_or("*/*", |access| access.accept));
        request.push_str("\r\n");
        if let Some(token) =
            registry.as_ref().filter(|access| access.registry.authority() == url.authority()).and_then(|access| access.token.as_ref())
        {
            request.push_str(&format!("Authorization: Bearer {token}\r\n"));
        }
        drop(registry);
        if from > 0 {
            request.push_str(&format!("Range: bytes={from}-\r\n"));
            if let Some(validator) = validator {
                request.push_str(&format!("If-Range: {validator}\r\n"));
            }
        }
        request.push_str("\r\n");
        stream.write_all(request.as_bytes()).and_then(|()| stream.flush())?;
        let (head, rest) = self.head(&mut stream)?;
        let kind = match (head.chunked, head.length) {
            (true, _) => Kind::Chunked { left: 0, begun: false, ended: false },
            (false, Some(left)) => Kind::Length { left },
            (false, None) => Kind::UntilClosed,
        };
        Ok(Answer { head, body: Body { stream, rest, at: 0, kind } })
    }

    /// A connection, and whether a proxy wants whole addresses on it.
    fn connect(&self, url: &Url) -> Result<(Stream, bool), Cause> {
        let proxy = if url.secure { &self.proxies.1 } else { &self.proxies.0 };
        let proxy = proxy.as_ref().filter(|_| !(self.direct)(&url.host));
        let to = proxy.unwrap_or(url);
        let socket = self.socket(&to.host, to.port)?;
        let mut wire = Wire { socket, idle: self.idle, stop: self.stop };
        if !url.secure {
            return Ok((Stream::Plain(wire), proxy.is_some()));
        }
        if proxy.is_some() {
            let place = if url.host.contains(':') { format!("[{}]:{}", url.host, url.port) } else { format!("{}:{}", url.host, url.port) };
            wire.write_all(format!("CONNECT {place} HTTP/1.1\r\nHost: {place}\r\nUser-Agent: hostel\r\n\r\n").as_bytes())?;
            let (head, _) = self.head(&mut wire)?;
            if head.status != 200 {
                return Err(Cause::Said(format!("the proxy says {}{}", head.status, reason(head.status))));
            }
        }
        Ok((Stream::Tls(tls::connect(wire, &url.host, self.authorities)?), false))
    }

    fn socket(&self, host: &str, port: u16) -> Result<TcpStream, Cause> {
        let addresses = (host, port).to_socket_addrs().map_err(|_| Cause::Said(format!("there is no host {host}")))?;
        let mut last = Cause::Said(format!("there is no host {host}"));
        for address in addresses {
            if self.stop.load(Ordering::Relaxed) {
                return Err(Cause::Os(Errno::CANCELED));
            }
            match TcpStream::connect_timeout(&address, CONNECT.min(self.idle)) {
                Ok(socket) => {
                    socket.set_read_timeout(Some(SLICE))?;
                    socket.set_write_timeout(Some(self.idle))?;
                    return Ok(socket);
                }
                Err(e) if e.kind() == io::ErrorKind::TimedOut => last = Cause::Os(Errno::TIMEDOUT),
                Err(e) => last = e.into(),
            }
        }
        Err(last)
    }

    /// Reads an answer's head, and what came with it of the body.
    fn head(&self, stream: &mut impl Read) -> Result<(Head, Vec<u8>), Cause> {
        let mut bytes = Vec::new();
        let mut room = [0u8; 4096];
        loop {
            if let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
                let head = parse_head(&bytes[..end]).map_err(Cause::Why)?;
                if (100..200).contains(&head.status) {
                    bytes.drain(..end + 4);
                    continue;
                }
                return Ok((head, bytes.split_off(end + 4)));
            }
            if bytes.len() > HEAD {
                return Err(Cause::Why("the server's answer has no end of its head"));
            }
            match stream.read(&mut room)? {
                0 => return Err(Cause::Why("the server ended the connection without an answer")),
                n => bytes.extend_from_slice(&room[..n]),
            }
        }
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        401 => " (Unauthorized)",
        403 => " (Forbidden)",
        404 => " (Not Found)",
        407 => " (Proxy Authentication Required)",
        416 => " (Range Not Satisfiable)",
        429 => " (Too Many Requests)",
        500 => " (Internal Server Error)",
        503 => " (Service Unavailable)",
        _ => "",
    }
}

/// Reads an answer's head, without the empty line that ends it.
pub fn parse_head(bytes: &[u8]) -> Result<Head, &'static str> {
    const BAD: &str = "the server's answer is not HTTP";
    let mut lines = bytes.split(|b| *b == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let status = lines.next().and_then(|line| line.strip_prefix(b"HTTP/1.")).ok_or(BAD)?;
    let digits = status.get(2..5).filter(|d| d.iter().all(u8::is_ascii_digit)).ok_or(BAD)?;
    let mut head = Head { status: digits.iter().fold(0, |n, d| n * 10 + u16::from(d - b'0')), ..Head::default() };
    let mut modified = None;
    for line in lines {
        let colon = line.iter().position(|b| *b == b':').ok_or(BAD)?;
        let (name, value) = (line[..colon].to_ascii_lowercase(), line[colon + 1..].trim_ascii());
        // What is used again in a request must not bring lines of its own.
        let value = std::str::from_utf8(value).ok().filter(|v| !v.chars().any(char::is_control));
        match (&name[..], value) {
            (b"content-length", Some(value)) => {
                let length = super::decimal(value).ok_or(BAD)?;
                if head.length.is_some_and(|other| other != length) {
                    return Err("the server says two lengths of one answer");
                }
                head.length = Some(length);
            }
            (b"transfer-encoding", Some(value)) if value.eq_ignore_ascii_case("chunked") => head.chunked = true,
            (b"transfer-encoding", _) => return Err("the server encodes its answer in a way that was not asked for"),
            (b"location", Some(value)) => head.location = Some(value.to_owned()),
            // Of several the one that nobody in particular can answer.
            (b"www-authenticate", Some(value))
                if head.challenge.is_none() || value.get(..7).is_some_and(|word| word.eq_ignore_ascii_case("bearer ")) =>
            {
                head.challenge = Some(value.to_owned());
            }
            (b"etag", Some(value)) if value.starts_with('"') => head.validator = Some(value.to_owned()),
            (b"last-modified", Some(value)) => modified = Some(value.to_owned()),
            (b"content-range", Some(value)) => {
                let (first, rest) = value.strip_prefix("bytes ").and_then(|v| v.split_once('-')).ok_or(BAD)?;
                let (_, total) = rest.split_once('/').ok_or(BAD)?;
                head.range = Some((super::decimal(first).ok_or(BAD)?, super::decimal(total)));
            }
            (b"content-length" | b"content-range", None) => return Err(BAD),
            _ => {}
        }
    }
    head.validator = head.validator.or(modified);
    Ok(head)
}

/// A socket that waits in slices.
pub(super) struct Wire {
    socket: TcpStream,
    idle: Duration,
    stop: &'static AtomicBool,
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let begun = Instant::now();
        loop {
            match self.socket.read(buffer) {
                Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted) => {
                    if self.stop.load(Ordering::Relaxed) {
                        return Err(Errno::CANCELED.into());
                    }
                    if begun.elapsed() > self.idle {
                        return Err(Errno::TIMEDOUT.into());
                    }
                }
                other => return other,
            }
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

enum Stream {
    Plain(Wire),
    Tls(tls::Stream),
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(wire) => wire.read(buffer),
            Stream::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(wire) => wire.write(bytes),
            Stream::Tls(stream) => stream.write(bytes),
        }
    }
    fn flush(&mut self) -> io::Result<()> {
        match self {
            Stream::Plain(wire) => wire.flush(),
            Stream::Tls(stream) => stream.flush(),
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Length { left: u64 },
    Chunked { left: u64, begun: bool, ended: bool },
    UntilClosed,
}

/// An answer's body. A connection that ends before it does is an error.
pub struct Body {
    stream: Stream,
    rest: Vec<u8>,
    at: usize,
    kind: Kind,
}

impl Body {
    fn raw(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at < self.rest.len() {
            let n = buffer.len().min(self.rest.len() - self.at);
            buffer[..n].copy_from_slice(&self.rest[self.at..self.at + n]);
            self.at += n;
            return Ok(n);
        }
        self.stream.read(buffer)
    }

    /// A line of the chunks' frame.
    fn line(&mut self) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        let mut byte = [0u8];
        loop {
            if self.raw(&mut byte)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            match byte[0] {
                b'\n' => return Ok(line),
                b'\r' => {}
                b if line.len() < 1024 => line.push(b),
                _ => return Err(io::ErrorKind::InvalidData.into()),
            }
        }
    }

    fn next_chunk(&mut self, begun: bool) -> io::Result<u64> {
        if begun && !self.line()?.is_empty() {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let line = self.line()?;
        let digits = line.split(|b| *b == b';').next().unwrap_or_default().trim_ascii();
        let text = std::str::from_utf8(digits).ok().filter(|t| !t.is_empty() && t.bytes().all(|b| b.is_ascii_hexdigit()));
        let size = text.and_then(|t| u64::from_str_radix(t, 16).ok()).ok_or(io::ErrorKind::InvalidData)?;
        if size == 0 {
            // Trailers, up to an empty line.
            for _ in 0..64 {
                if self.line()?.is_empty() {
                    return Ok(0);
                }
            }
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(size)
    }
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = match self.kind {
            Kind::UntilClosed => u64::MAX,
            Kind::Length { left } => left,
            Kind::Chunked { ended: true, .. } => 0,
            Kind::Chunked { left: 0, begun, .. } => {
                let size = self.next_chunk(begun)?;
                self.kind = Kind::Chunked { left: size, begun: true, ended: size == 0 };
                size
            }
            Kind::Chunked { left, .. } => left,
        };
        let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        if wanted == 0 {
            return Ok(0);
        }
        let n = self.raw(&mut buffer[..wanted])?;
        match &mut self.kind {
            Kind::UntilClosed => {}
            Kind::Length { left } | Kind::Chunked { left, .. } => {
                if n == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                *left -= n as u64;
            }
        }
        Ok(n)
    }
}
