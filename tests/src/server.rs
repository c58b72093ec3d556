//! A server of files for one test, on a port of its own of the loopback interface.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How a file is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// As it should be, parts too.
    Well,
    /// The connection ends after so many bytes, each time.
    Cut(usize),
    /// The same, and whoever comes again gets all from the start.
    CutWithoutParts(usize),
    /// The same, and it is another file then.
    CutAndChange(usize),
    /// The same, and who comes again has to have asked for a token right before.
    CutAndAsk(usize),
    /// In chunks, without a length.
    Chunks,
    /// A piece each 20 ms.
    Slow,
    /// Nothing after the head.
    Silent,
    /// Sends elsewhere.
    Redirect(&'static str),
    /// The connection ends at once.
    Nothing,
    /// A head that does not end.
    EndlessHead,
    /// No HTTP.
    Garbage,
    /// Only to who shows the token `hello`; others are sent to `/token` for it.
    Token,
}

type Files = Arc<Mutex<BTreeMap<String, (Vec<u8>, Manner)>>>;

/// It ends with the process.
pub struct Server {
    /// `http://127.0.0.1:PORT`
    pub address: String,
    files: Files,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Begins to listen.
    pub fn start() -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
        let address = format!("http://{}", listener.local_addr().expect("address"));
        let (files, seen): (Files, Arc<Mutex<Vec<String>>>) = Default::default();
        let (served, log) = (files.clone(), seen.clone());
        std::thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let (files, log) = (served.clone(), log.clone());
                std::thread::spawn(move || serve(socket, &files, &log));
            }
        });
        Server { address, files, seen }
    }
    /// Has these bytes from now on.
    pub fn put(&self, path: &str, bytes: impl Into<Vec<u8>>, manner: Manner) {
        self.files.lock().expect("files").insert(path.into(), (bytes.into(), manner));
    }
    /// Requests so far: the first line, and what part was asked for.
    pub fn seen(&self) -> Vec<String> {
        std::mem::take(&mut self.seen.lock().expect("log"))
    }
}

fn serve(socket: TcpStream, files: &Files, log: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(socket.try_clone().expect("clone"));
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 || line.trim().is_empty() {
            break;
        }
        head.push(line.trim().to_owned());
    }
    let path = head.first().and_then(|l| l.split(' ').nth(1)).unwrap_or("").to_owned();
    let range = head.iter().find_map(|l| l.strip_prefix("Range: bytes=")).and_then(|r| r.trim_end_matches('-').parse::<usize>().ok());
    let if_range = head.iter().any(|l| l.starts_with("If-Range: \"tag\""));
    let mut log = log.lock().expect("log");
    let has_asked = log.last().is_some_and(|last| last.starts_with("/token"));
    log.push(format!("{path} {range:?} {if_range}"));
    drop(log);
    let (bytes, manner) = match files.lock().expect("files").get(&path) {
        Some(found) => found.clone(),
        None => return drop((&socket).write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")),
    };
    let refused = match manner {
        Manner::Token => !head.iter().any(|l| l == "Authorization: Bearer hello"),
        Manner::CutAndAsk(_) => range.is_some() && !has_asked,
        _ => false,
    };
    if refused {
        let host = head.iter().find_map(|l| l.strip_prefix("Host: ")).unwrap_or_default();
        let challenge = format!("Www-Authenticate: Bearer realm=\"http://{host}/token\",service=\"a b\",scope=\"x\"");
        return drop((&socket).write_all(format!("HTTP/1.1 401 Unauthorized\r\n{challenge}\r\nContent-Length: 0\r\n\r\n").as_bytes()));
    }
    let _ = answer(&socket, &bytes, manner, range);
}

fn answer(mut socket: &TcpStream, bytes: &[u8], manner: Manner, range: Option<usize>) -> std::io::Result<()> {
    let parts = !matches!(manner, Manner::CutWithoutParts(_) | Manner::CutAndChange(_));
    let from = range.filter(|_| parts).unwrap_or(0);
    let tag = if matches!(manner, Manner::CutAndChange(_)) && range.is_some() { "other" } else { "tag" };
    let head = |more: &str| {
        let status = if range.is_some() && parts { "206 Partial Content" } else { "200 OK" };
        let part =
            if range.is_some() && parts { format!("Content-Range: bytes {from}-{}/{}\r\n", bytes.len() - 1, bytes.len()) } else { String::new() };
        format!("HTTP/1.1 {status}\r\nETag: \"{tag}\"\r\n{part}{more}\r\n")
    };
    let whole = head(&format!("Content-Length: {}\r\n", bytes.len() - from));
    let rest = &bytes[from..];
    match manner {
        Manner::Well | Manner::Token => socket.write_all(&[whole.as_bytes(), rest].concat()),
        Manner::Cut(n) | Manner::CutAndAsk(n) | Manner::CutWithoutParts(n) | Manner::CutAndChange(n) => {
            // Without parts it has to come further each time.
            let n = if parts { n } else { n + range.unwrap_or(0) };
            socket.write_all(&[whole.as_bytes(), &rest[..n.min(rest.len())]].concat())
        }
        Manner::Chunks => {
            socket.write_all(head("Transfer-Encoding: chunked\r\n").as_bytes())?;
            for piece in rest.chunks(40_000) {
                socket.write_all(format!("{:x};x=y\r\n", piece.len()).as_bytes())?;
                socket.write_all(piece)?;
                socket.write_all(b"\r\n")?;
            }
            socket.write_all(b"0\r\nX: trailer\r\n\r\n")
        }
        Manner::Slow => {
            socket.write_all(whole.as_bytes())?;
            for piece in rest.chunks(16384) {
                std::thread::sleep(Duration::from_millis(20));
                socket.write_all(piece)?;
            }
            Ok(())
        }
        Manner::Silent => {
            socket.write_all(&[whole.as_bytes(), &rest[..1000]].concat())?;
            std::thread::sleep(Duration::from_secs(30));
            Ok(())
        }
        Manner::Redirect(to) => socket.write_all(format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n").as_bytes()),
        Manner::Nothing => Ok(()),
        Manner::EndlessHead => {
            socket.write_all(b"HTTP/1.1 200 OK\r\n")?;
            (0..100_000).try_for_each(|n| socket.write_all(format!("X-{n}: yyyyyyyyyyyyyyyy\r\n").as_bytes()))
        }
        Manner::Garbage => socket.write_all(b"SSH-2.0-OpenSSH\r\n\r\n"),
    }
}
