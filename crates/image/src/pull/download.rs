//! One file being downloaded: a stream that goes on where a connection was cut, and knows its sum.

use std::io::{self, Read};
use std::sync::atomic::Ordering;
use std::time::Duration;

use rustix::io::Errno;
use sha2::{Digest, Sha256};

use super::http::{Agent, Body};
use super::url::Url;
use crate::Cause;
use crate::import::Source;
use crate::tar::Fault;

/// Cuts in a row, without much in between, that end it.
const TRIES: u32 = 5;
/// What a connection has to bring for the next cut to count as the first.
const MUCH: u64 = 64 << 10;
/// What asking again does not help against.
const CHANGED: Cause = Cause::Why("it changed on the server while it was downloaded");

const SIZE: Cause = Cause::Why("it has not the size that it is said to have");

/// The stream.
pub struct Download<'a> {
    agent: &'a Agent<'a>,
    url: Url,
    body: Option<Body>,
    at: u64,
    /// Where the last cut was.
    cut_at: u64,
    total: Option<u64>,
    validator: Option<String>,
    tries: u32,
    sum: Sha256,
    /// What the file has to be.
    wanted: Option<[u8; 32]>,
    /// More bytes than this it has not.
    most: u64,
}

impl<'a> Download<'a> {
    /// Begins to get `url`, whose SHA-256 sum has to be `wanted`, if it is known.
    pub fn begin(agent: &'a Agent<'a>, url: &Url, wanted: Option<[u8; 32]>) -> Result<Download<'a>, Cause> {
        let answer = agent.get(url, 0, None)?;
        let total = answer.head.length.filter(|_| !answer.head.chunked);
        let validator = answer.head.validator;
        let body = Some(answer.body);
        Ok(Download { agent, url: url.clone(), body, at: 0, cut_at: 0, total, validator, tries: 0, sum: Sha256::new(), wanted, most: u64::MAX })
    }

    /// The same for what has so many bytes, which others have said of it.
    pub fn of_size(agent: &'a Agent<'a>, url: &Url, wanted: [u8; 32], size: u64) -> Result<Download<'a>, Cause> {
        let download = Download::begin(agent, url, Some(wanted))?;
        if download.total.is_some_and(|total| total != size) {
            return Err(SIZE);
        }
        Ok(Download { most: size, ..download })
    }

    /// Bytes in all, if the server says.
    pub fn total(&self) -> Option<u64> {
        self.total
    }

    /// Asks again, for what is missing.
    fn go_on(&mut self) -> Result<(), Cause> {
        let mut answer = self.agent.get(&self.url, self.at, self.validator.as_deref())?;
        if answer.head.status == 206 {
            let (first, total) = answer.head.range.ok_or(Cause::Why("the server sends a part without saying which"))?;
            if first != self.at || total.is_some() && self.total.is_some() && total != self.total {
                return Err(CHANGED);
            }
        } else {
            // All of it: the server knows no parts, or it is another file now.
            if self.at > 0 && (self.validator.is_none() || answer.head.validator != self.validator) || answer.head.length != self.total {
                return Err(CHANGED);
            }
            let skipped = io::copy(&mut answer.body.by_ref().take(self.at), &mut io::sink())?;
            if skipped < self.at {
                return Err(CHANGED);
            }
        }
        self.body = Some(answer.body);
        Ok(())
    }

    fn pause(&self) -> io::Result<()> {
        for _ in 0..1u32 << self.tries.min(5) {
            if self.agent.stop.load(Ordering::Relaxed) {
                return Err(Errno::CANCELED.into());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }
}

impl Read for Download<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let got = match &mut self.body {
                Some(body) => body.read(buffer).map(Some).map_err(|e| Cause::from(Fault::Io(e))),
                None => self.go_on().map(|()| None),
            };
            match got {
                // A new connection.
                Ok(None) => {}
                Ok(Some(n)) => {
                    self.sum.update(&buffer[..n]);
                    self.at += n as u64;
                    if self.at > self.most {
                        return Err(io::Error::other(SIZE.to_string()));
                    }
                    return Ok(n);
                }
                Err(Cause::Os(Errno::CANCELED)) => return Err(Errno::CANCELED.into()),
                Err(CHANGED) => return Err(io::Error::other(CHANGED.to_string())),
                Err(cause) => {
                    self.body = None;
                    self.tries = if self.at >= self.cut_at + MUCH { 1 } else { self.tries + 1 };
                    self.cut_at = self.at;
                    if self.tries > TRIES {
                        return Err(io::Error::other(format!("the connection was cut too often: {cause}")));
                    }
                    self.pause()?;
                }
            }
        }
    }
}

impl Source for Download<'_> {
    /// Reads what the unpacker had no use for and compares the sum.
    fn finish(&mut self) -> Result<(), Cause> {
        io::copy(self, &mut io::sink()).map_err(Fault::Io)?;
        let is: [u8; 32] = self.sum.clone().finalize().into();
        match self.wanted {
            Some(wanted) if wanted != is => Err(Cause::Why("its SHA-256 sum is not the one that was published for it")),
            _ => Ok(()),
        }
    }
}
