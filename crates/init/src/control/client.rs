//! The other end: asks, and reads what comes back.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use super::{Asked, FRAME_MAX, directories, frame, take_frame, words};

/// A part of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Names and values.
    Record(Vec<(String, String)>),
    /// A job was made.
    Job {
        /// Its number.
        id: u32,
        /// Of which unit.
        unit: String,
    },
    /// Something was not done.
    Refused {
        /// systemctl's exit status.
        status: u8,
        /// Which unit; empty: the request as a whole.
        unit: String,
        /// Why.
        why: String,
    },
    /// A job is over.
    Finished {
        /// Its number.
        id: u32,
        /// Of which unit.
        unit: String,
        /// How it went.
        result: String,
    },
    /// A unit is down again.
    Ended {
        /// Which.
        unit: String,
        /// `inactive` or `failed`.
        state: String,
    },
}

/// A connection to a manager.
#[derive(Debug)]
pub struct Client(UnixStream);

impl Client {
    /// Connects to the manager that runs here; `None`: there is none.
    pub fn connect() -> Option<Client> {
        directories().iter().find_map(|directory| UnixStream::connect(format!("{directory}/control")).ok()).map(Client)
    }

    /// Asks one thing and calls `each` for everything that comes back, until all is said.
    pub fn ask(mut self, asked: &Asked, each: &mut dyn FnMut(Part)) -> Result<(), String> {
        let gone = |e: std::io::Error| format!("talk to the manager: {e}");
        self.0.write_all(&frame(words(asked).join("\0").as_bytes())).map_err(gone)?;
        let mut buffer = Vec::new();
        let mut chunk = [0u8; 8192];
        loop {
            while let Some(body) = take_frame(&mut buffer, FRAME_MAX)? {
                match part(&body) {
                    Some(part) => each(part),
                    None => return Ok(()),
                }
            }
            let n = self.0.read(&mut chunk).map_err(gone)?;
            if n == 0 {
                return Err("the manager hung up before it had said all".to_owned());
            }
            buffer.extend_from_slice(chunk.get(..n).unwrap_or_default());
        }
    }
}

/// One frame; `None` is the last.
fn part(body: &[u8]) -> Option<Part> {
    let (kind, rest) = body.split_first()?;
    let text = String::from_utf8_lossy(rest).into_owned();
    let mut fields = text.split('\0').map(str::to_owned);
    let mut next = || fields.next().unwrap_or_default();
    Some(match kind {
        b'R' => {
            let all: Vec<String> = text.split('\0').map(str::to_owned).collect();
            Part::Record(all.chunks_exact(2).filter_map(|pair| Some((pair.first()?.clone(), pair.get(1)?.clone()))).collect())
        }
        b'J' => Part::Job { id: next().parse().unwrap_or(0), unit: next() },
        b'X' => Part::Refused { status: next().parse().unwrap_or(1), unit: next(), why: next() },
        b'F' => Part::Finished { id: next().parse().unwrap_or(0), unit: next(), result: next() },
        b'E' => Part::Ended { unit: next(), state: next() },
        _ => return None,
    })
}
